"""nmi_op, the old form of callback_op for NMIs."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSYS, ESRCH

import pytest
from hypercalls.support import JUNK, NOWHERE, UNMAPPED, XEN_VA, placed, read_only, straddling
from hypercalls.tables import registers, two_cpus, vain

from xenemu import Domain, Machine
from xenemu._abi import CallbackType, Hypercall

NR = Hypercall.nmi_op
REGISTER, UNREGISTER = 0, 1


def handler(address: int, pad: int = 0) -> bytes:
    return address.to_bytes(8, "little") + pad.to_bytes(8, "little")


def trap(machine: Machine, domain: Domain, vcpu: int = 0) -> tuple[int, ...]:
    t = registers(machine, domain, vcpu).trap_ctxt[2]
    return t.vector, t.flags, t.cs, t.address


@pytest.mark.parametrize("address", [1, XEN_VA, 2**64 - 1], ids=hex)
def test_a_handler(xen_machine: Machine, xen_domain: Domain, address: int) -> None:
    for _ in range(2):
        xen_domain.hypercall(NR, REGISTER, placed(xen_domain, handler(address, 2**64 - 1)))
        assert trap(xen_machine, xen_domain) == (2, 4, 0xE033, address)


@pytest.mark.parametrize("argument", [0, UNMAPPED, XEN_VA], ids=hex)
def test_it_is_taken_back_whatever_the_argument(
    xen_machine: Machine, xen_domain: Domain, argument: int
) -> None:
    xen_domain.hypercall.callback_op.register(type=CallbackType.nmi, address=1)
    for _ in range(2):
        assert xen_domain.hypercall(NR, UNREGISTER, argument) == 0
        assert trap(xen_machine, xen_domain) == (0, 0, 0, 0)


@pytest.mark.parametrize("address", [1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63], ids=hex)
def test_an_address_that_is_not_canonical(
    xen_machine: Machine, xen_domain: Domain, address: int
) -> None:
    xen_domain.hypercall(NR, REGISTER, placed(xen_domain, handler(1)))
    at = placed(xen_domain, handler(address))
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall(NR, REGISTER, at)


@NOWHERE
def test_no_argument(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, REGISTER, nowhere)


@pytest.mark.parametrize("n", [1, 8, 15])
def test_an_argument_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, n: int
) -> None:
    at = straddling(xen_domain, handler(1)[:n], mapped=False, first=n)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, REGISTER, at)


def test_an_argument_across_pages_and_read_only(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall(NR, REGISTER, straddling(xen_domain, handler(0x1234_5678), first=4))
    assert trap(xen_machine, xen_domain)[3] == 0x1234_5678
    xen_domain.hypercall(NR, JUNK | REGISTER, read_only(xen_domain, handler(7)))
    assert trap(xen_machine, xen_domain)[3] == 7
    xen_domain.hypercall(NR, JUNK | UNREGISTER)
    assert trap(xen_machine, xen_domain)[3] == 0


@pytest.mark.parametrize("op", [2, 3, 99, 1 << 31, 0xFFFF_FFFF])
def test_there_is_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    with vain(xen_machine, xen_domain, ENOSYS):
        xen_domain.hypercall(NR, op, UNMAPPED)


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, REGISTER, placed(domain, handler(1)))
    assert (trap(xen_machine, domain, 0)[3], trap(xen_machine, domain, 1)[3]) == (0, 1)
    domain.hypercall(NR, UNREGISTER)
    assert trap(xen_machine, domain, 1)[3] == 1


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, UNREGISTER) == -ESRCH
