"""Authors' own profiles: loaded into the machine, which gives each its number."""

import errno
from dataclasses import replace

from ozs import Service
from ozs.ftapi import load_profile
from xenemu.machine import Machine


def with_profile(machine: Machine, service: Service) -> Service:
    """The service under its author's profile, if it has one. OSError: EINVAL for one that can't be
    loaded, ENOSPC; what a profile raises comes through."""
    if not service.own:
        return service
    try:
        wrapper = load_profile(service.own, service.port)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    return replace(service, profile=machine.add_wrapper(wrapper.address, wrapper))
