"""set_callbacks, the old form of callback_op: event, failsafe and syscall entry points at once."""

from __future__ import annotations

from errno import ESRCH

import pytest
from hypercalls.support import XEN_VA
from hypercalls.tables import registers, two_cpus

from xenemu import Domain, Machine
from xenemu._abi import CallbackType, Hypercall

NR = Hypercall.set_callbacks
NOT_CANONICAL = [1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63]


def callbacks(machine: Machine, domain: Domain, vcpu: int = 0) -> tuple[int, int, int]:
    c = registers(machine, domain, vcpu)
    return c.event_callback_eip, c.failsafe_callback_eip, c.syscall_callback_eip


@pytest.mark.parametrize("addresses", [(1, 2, 3), (XEN_VA, 0, 2**64 - 1), (0, 0, 0)])
def test_all_three_are_set(
    xen_machine: Machine, xen_domain: Domain, addresses: tuple[int, int, int]
) -> None:
    assert xen_domain.hypercall(NR, *addresses) == 0
    assert callbacks(xen_machine, xen_domain) == addresses


@pytest.mark.parametrize("bad", NOT_CANONICAL, ids=hex)
@pytest.mark.parametrize("which", range(3))
def test_one_that_is_not_canonical_stays_as_it_was_without_an_error(
    xen_machine: Machine, xen_domain: Domain, which: int, bad: int
) -> None:
    xen_domain.hypercall(NR, 1, 2, 3)
    addresses = [11, 12, 13]
    addresses[which] = bad
    assert xen_domain.hypercall(NR, *addresses) == 0
    addresses[which] = which + 1
    assert callbacks(xen_machine, xen_domain) == tuple(addresses)


def test_events_are_not_masked_any_more(xen_machine: Machine, xen_domain: Domain) -> None:
    for type in (CallbackType.failsafe, CallbackType.syscall):
        xen_domain.hypercall.callback_op.register(type=type, address=1, flags=1)
    assert registers(xen_machine, xen_domain).flags & 24 == 24
    xen_domain.hypercall(NR, 1, 2, 1 << 63)
    assert registers(xen_machine, xen_domain).flags & 24 == 16  # of syscall nothing was set
    xen_domain.hypercall(NR, 1, 2, 3)
    assert registers(xen_machine, xen_domain).flags & 24 == 0


def test_they_are_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, 1, 2, 3)
    assert callbacks(xen_machine, domain, 0) == (0, 0, 0)
    assert callbacks(xen_machine, domain, 1) == (1, 2, 3)


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, 1, 2, 3) == -ESRCH
