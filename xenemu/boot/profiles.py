"""Authors' own profiles: loaded into the machine, which gives each its number."""

import errno
from collections.abc import Sequence
from dataclasses import replace

from ozs import Service
from ozs.ftapi import load_profile
from xenemu.boot.services import ServiceSpec
from xenemu.machine import Machine


def with_profiles(
    machine: Machine, specs: Sequence[ServiceSpec], services: Sequence[Service]
) -> tuple[Service, ...]:
    """The services of the specs, under the profiles that these name. OSError: EINVAL for a profile
    that can't be loaded, ENOSPC; what a profile raises comes through."""
    pairs = zip(specs, services, strict=True)
    return tuple(_with_own(machine, spec.own_profile, service) for spec, service in pairs)


def _with_own(machine: Machine, profile: str, service: Service) -> Service:
    if not profile:
        return service
    try:
        wrapper = load_profile(profile, service.port)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    return replace(service, profile=machine.add_wrapper(wrapper.address, wrapper))
