"""set_debugreg: the guest's debug registers, as get_debugreg and the context show them."""

from __future__ import annotations

from errno import EINVAL, ENODEV, EPERM, ESRCH

import pytest
from hypercalls.support import JUNK, XEN_VA, refused
from hypercalls.tables import registers, root_of, two_cpus, vain

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import structs

SET, GET = Hypercall.set_debugreg, Hypercall.get_debugreg
DR6_FIXED, DR7_FIXED = 0xFFFF_0FF0, 0x400
ADDRESSES = range(4)
CR4_DE = 8
NONE = [8, 9, 255, 0x7FFF_FFFF, 1 << 31, 0xFFFF_FFFF]


@pytest.fixture
def with_extensions(xen_machine: Machine) -> Domain:
    """A domain whose virtual CPU 1 has debugging extensions, for breakpoints on I/O."""
    domain = xen_machine.create_domain(vcpus=2)
    context = structs.xen.vcpu_guest_context(flags=4)
    context.ctrlreg[3] = root_of(domain) << 12
    context.ctrlreg[4] = CR4_DE
    domain.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=context)
    domain.hypercall.vcpu_op.up(vcpuid=1)
    return domain


# addresses


@pytest.mark.parametrize("reg", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    [0, 1, 0x7FFF_FFFF_FFFF, 0xFFFF_8800_0000_0000, 2**64 - 1, 2**64 - 19, 2**64 - 4095],
    ids=hex,
)
def test_a_breakpoint_is_at_any_address_of_the_guest(
    xen_machine: Machine, xen_domain: Domain, reg: int, value: int
) -> None:
    """Also at one that looks like an errno."""
    xen_domain.hypercall.set_debugreg(reg, value)
    assert xen_domain.hypercall.raw(GET, reg) & (1 << 64) - 1 == value
    assert registers(xen_machine, xen_domain).debugreg[reg] == value


@pytest.mark.parametrize("reg", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    [1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 0xFFFF_8000_0000_0000, XEN_VA, 0xFFFF_87FF_FFFF_FFFF],
    ids=hex,
)
def test_but_not_at_xens(xen_machine: Machine, xen_domain: Domain, reg: int, value: int) -> None:
    xen_domain.hypercall.set_debugreg(reg, 0x1234)
    with vain(xen_machine, xen_domain, EPERM):
        xen_domain.hypercall.set_debugreg(reg, value)


# status and control


@pytest.mark.parametrize("reg", [4, 6])
@pytest.mark.parametrize(
    ("value", "stored"),
    [(0, DR6_FIXED), (0xFFFF_FFFF, 0xFFFF_EFFF), (0x1000, DR6_FIXED), (0xE00F, 0xFFFF_EFFF)],
    ids=hex,
)
def test_status(
    xen_machine: Machine, xen_domain: Domain, reg: int, value: int, stored: int
) -> None:
    xen_domain.hypercall.set_debugreg(reg, value)
    assert [xen_domain.hypercall.get_debugreg(r) for r in (4, 6)] == [stored] * 2
    assert registers(xen_machine, xen_domain).debugreg[6] == stored


@pytest.mark.parametrize("reg", [5, 7])
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0, DR7_FIXED),
        (0xFF, 0x4FF),
        (0x1_0001, 0x1_0401),
        (0xD800, DR7_FIXED),
        (0x300, 0x700),
        (0xFFFF_0000, 0xFFFF_0400),
        (0x2_0000, 0x2_0400),  # I/O, but none is active
        (0x22_2200 & ~0x2000, 0x22_0600),
    ],
    ids=hex,
)
def test_control(
    xen_machine: Machine, xen_domain: Domain, reg: int, value: int, stored: int
) -> None:
    xen_domain.hypercall.set_debugreg(reg, value)
    assert [xen_domain.hypercall.get_debugreg(r) for r in (5, 7)] == [stored] * 2
    assert registers(xen_machine, xen_domain).debugreg[7] == stored


@pytest.mark.parametrize("reg", [5, 7])
@pytest.mark.parametrize("value", [0x2000, 0xFFFF_FFFF, 0xF800], ids=hex)
def test_no_general_detect(xen_machine: Machine, xen_domain: Domain, reg: int, value: int) -> None:
    xen_domain.hypercall.set_debugreg(7, 0x401)
    with vain(xen_machine, xen_domain, EPERM):
        xen_domain.hypercall.set_debugreg(reg, value)


@pytest.mark.parametrize("reg", [5, 7])
@pytest.mark.parametrize("which", range(4))
def test_no_io_breakpoint_while_any_is_active(
    xen_machine: Machine, xen_domain: Domain, reg: int, which: int
) -> None:
    io = 2 << 16 + 4 * which
    for active in (1 << n for n in range(8)):
        with vain(xen_machine, xen_domain, EPERM):
            xen_domain.hypercall.set_debugreg(reg, io | active)
    xen_domain.hypercall.set_debugreg(reg, io)
    assert xen_domain.hypercall.get_debugreg(7) == io | DR7_FIXED


@pytest.mark.parametrize("reg", [4, 5, 6, 7])
@pytest.mark.parametrize("value", [1 << 32, 1 << 63, 2**64 - 1, 0x2000 | 1 << 40], ids=hex)
def test_their_upper_halves_are_zero(
    xen_machine: Machine, xen_domain: Domain, reg: int, value: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.set_debugreg(reg, value)


# debugging extensions


def test_with_extensions_there_is_no_register_4_or_5(
    xen_machine: Machine, with_extensions: Domain
) -> None:
    call = with_extensions.vcpu(1).hypercall
    for reg in (4, 5):
        for value in (0, 1 << 32):
            with vain(xen_machine, with_extensions, ENODEV):
                call.set_debugreg(reg, value)
        with_extensions.hypercall.set_debugreg(reg, 0)  # the other CPU has none


def test_and_there_are_io_breakpoints(xen_machine: Machine, with_extensions: Domain) -> None:
    call = with_extensions.vcpu(1).hypercall
    call.set_debugreg(7, 0x2_0003)
    assert call.get_debugreg(7) == 0x2_0403
    assert registers(xen_machine, with_extensions, 1).debugreg[7] == 0x2_0403
    with refused(EPERM):
        with_extensions.hypercall.set_debugreg(7, 0x2_0003)


def test_a_guest_has_only_some_bits_of_cr4(xen_machine: Machine) -> None:
    """Time stamps, debugging, segment bases and extended state; the rest is Xen's."""
    domain = xen_machine.create_domain(vcpus=2)
    context = structs.xen.vcpu_guest_context(flags=4)
    context.ctrlreg[3] = root_of(domain) << 12
    context.ctrlreg[4] = 2**64 - 1
    domain.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=context)
    assert registers(xen_machine, domain, 1).ctrlreg[4] == 0x5_066C
    assert registers(xen_machine, domain, 0).ctrlreg[4] == 0x660


# registers


@pytest.mark.parametrize("reg", NONE, ids=hex)
def test_there_is_no_such_register(xen_machine: Machine, xen_domain: Domain, reg: int) -> None:
    for value in (0, XEN_VA):
        with vain(xen_machine, xen_domain, ENODEV):
            xen_domain.hypercall.set_debugreg(reg, value)


@pytest.mark.parametrize("reg", range(8))
def test_the_number_has_32_bits(xen_domain: Domain, reg: int) -> None:
    assert xen_domain.hypercall.raw(SET, JUNK | reg, 3) == 0
    assert xen_domain.hypercall.raw(GET, JUNK | reg) == xen_domain.hypercall.get_debugreg(reg)
    assert xen_domain.hypercall.get_debugreg(reg) & 3 == 3


def test_virtual_cpus_have_their_own(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    for reg in (0, 1, 2, 3, 6, 7):
        domain.vcpu(1).hypercall.set_debugreg(reg, 5)
    values = [domain.hypercall.get_debugreg(reg) for reg in range(8)]
    assert values == [0, 0, 0, 0, DR6_FIXED, DR7_FIXED, DR6_FIXED, DR7_FIXED]


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(SET, 0, 1) == -ESRCH
