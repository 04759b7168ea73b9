"""get_debugreg: a debug register of the calling virtual CPU."""

from __future__ import annotations

from errno import ENODEV, ESRCH

import pytest
from hypercalls.support import JUNK, refused
from hypercalls.tables import registers, root_of, two_cpus, untouched

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import structs

NR = Hypercall.get_debugreg
DR6_FIXED, DR7_FIXED = 0xFFFF_0FF0, 0x400
FIRST = [0, 0, 0, 0, DR6_FIXED, DR7_FIXED, DR6_FIXED, DR7_FIXED]
CR4_DE = 8


def test_at_first(xen_machine: Machine, xen_domain: Domain) -> None:
    assert [xen_domain.hypercall.get_debugreg(reg) for reg in range(8)] == FIRST
    shown = list(registers(xen_machine, xen_domain).debugreg)
    assert shown == [0, 0, 0, 0, 0, 0, DR6_FIXED, DR7_FIXED]


@pytest.mark.parametrize("value", [2**64 - 1, 2**64 - 19, 2**64 - 4096, 2**64 - 4097], ids=hex)
def test_an_address_may_look_like_an_errno(xen_domain: Domain, value: int) -> None:
    xen_domain.hypercall.set_debugreg(0, value)
    assert xen_domain.hypercall.raw(NR, 0) & 2**64 - 1 == value


@pytest.mark.parametrize(("alias", "reg"), [(4, 6), (5, 7)])
def test_two_have_other_names(xen_domain: Domain, alias: int, reg: int) -> None:
    xen_domain.hypercall.set_debugreg(reg, 3)
    assert xen_domain.hypercall.get_debugreg(alias) == xen_domain.hypercall.get_debugreg(reg)
    assert xen_domain.hypercall.get_debugreg(alias) & 3 == 3


def test_but_not_with_debugging_extensions(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    context = structs.xen.vcpu_guest_context(flags=4)
    context.ctrlreg[3], context.ctrlreg[4] = root_of(domain) << 12, CR4_DE
    domain.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=context)
    domain.hypercall.vcpu_op.up(vcpuid=1)
    for reg in (4, 5):
        with refused(ENODEV):
            domain.vcpu(1).hypercall.get_debugreg(reg)
    assert domain.vcpu(1).hypercall.get_debugreg(6) == DR6_FIXED


@pytest.mark.parametrize("reg", [8, 9, 255, 1 << 31, 0xFFFF_FFFF], ids=hex)
def test_there_is_no_such_register(xen_domain: Domain, reg: int) -> None:
    with refused(ENODEV):
        xen_domain.hypercall.get_debugreg(reg)


def test_the_number_has_32_bits(xen_domain: Domain) -> None:
    assert [xen_domain.hypercall.get_debugreg(JUNK | reg) for reg in range(8)] == FIRST


def test_reading_changes_nothing(xen_machine: Machine, xen_domain: Domain) -> None:
    with untouched(xen_machine, xen_domain):
        for reg in range(10):
            xen_domain.hypercall.raw(NR, reg)


def test_virtual_cpus_have_their_own(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    for reg in (0, 1, 2, 3, 6, 7):
        domain.vcpu(1).hypercall.set_debugreg(reg, 5)
    assert [domain.hypercall.get_debugreg(reg) for reg in range(8)] == FIRST
    assert domain.vcpu(1).hypercall.get_debugreg(0) == 5


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, 0) == -ESRCH
