"""stack_switch: the stack on which the guest's kernel is entered."""

from __future__ import annotations

from errno import ESRCH

import pytest
from hypercalls.support import UNMAPPED, XEN_VA
from hypercalls.tables import registers, two_cpus

from xenemu import Domain, Machine
from xenemu._abi import Hypercall

NR = Hypercall.stack_switch


@pytest.mark.parametrize("sp", [0, UNMAPPED, XEN_VA, 1 << 47, 2**64 - 1], ids=hex)
def test_any_address(xen_machine: Machine, xen_domain: Domain, sp: int) -> None:
    """It is looked at when it is used."""
    assert xen_domain.hypercall(NR, 0xE02B, sp) == 0
    context = registers(xen_machine, xen_domain)
    assert (context.kernel_ss, context.kernel_sp) == (0xE02B, sp)


@pytest.mark.parametrize(("ss", "stored"), [(0, 3), (0xE028, 0xE02B), (0x11, 0x13), (7, 7)])
def test_any_selector_of_the_guests_ring(
    xen_machine: Machine, xen_domain: Domain, ss: int, stored: int
) -> None:
    xen_domain.hypercall(NR, ss, 8)
    assert registers(xen_machine, xen_domain).kernel_ss == stored


def test_nothing_else_changes(xen_machine: Machine, xen_domain: Domain) -> None:
    before = registers(xen_machine, xen_domain)
    xen_domain.hypercall(NR, 0x10, 0x2000)
    after = registers(xen_machine, xen_domain)
    after.kernel_ss, after.kernel_sp = before.kernel_ss, before.kernel_sp
    assert bytes(after) == bytes(before)


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, 0xE02B, 0x2000)
    assert registers(xen_machine, domain, 0).kernel_sp == 0
    assert registers(xen_machine, domain, 1).kernel_sp == 0x2000


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, 0, 0) == -ESRCH
