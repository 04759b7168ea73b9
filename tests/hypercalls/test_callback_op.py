"""callback_op: where Xen enters the guest."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSYS, ESRCH
from typing import Any

import pytest
from hypercalls.support import JUNK, NOWHERE, UNMAPPED, XEN_VA, placed, read_only, straddling
from hypercalls.tables import registers, two_cpus, untouched, vain

from xenemu import Domain, Machine
from xenemu._abi import CallbackOp, CallbackType, Hypercall
from xenemu.xen import structs

NR = Hypercall.callback_op
TYPES = pytest.mark.parametrize("type", CallbackType, ids=lambda type: type.name)
SHOWN = {
    CallbackType.event: "event_callback_eip",
    CallbackType.failsafe: "failsafe_callback_eip",
    CallbackType.syscall: "syscall_callback_eip",
}
MASKS = {CallbackType.failsafe: 8, CallbackType.syscall: 16}  # of vcpu_guest_context.flags
NO_TYPES = [3, 6, 8, 99, 0xFFFF]
NOT_CANONICAL = [1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63]


def address_of(context: Any, type: CallbackType) -> int | None:
    """What is registered, where the context has it."""
    if type == CallbackType.nmi:
        return int(context.trap_ctxt[2].address)
    return int(getattr(context, SHOWN[type])) if type in SHOWN else None


@TYPES
@pytest.mark.parametrize("address", [1, 0x7FFF_FFFF_FFFF, XEN_VA, 2**64 - 1], ids=hex)
def test_an_entry_point(
    xen_machine: Machine, xen_domain: Domain, type: CallbackType, address: int
) -> None:
    before = registers(xen_machine, xen_domain)
    xen_domain.hypercall.callback_op.register(type=type, address=address)
    after = registers(xen_machine, xen_domain)
    for other in CallbackType:
        was = address_of(before, other)
        assert address_of(after, other) == (address if other == type and was is not None else was)


@TYPES
@pytest.mark.parametrize("flags", [0, 1, 2, 3, 0xFFFF])
def test_the_first_flag_masks_events(
    xen_machine: Machine, xen_domain: Domain, type: CallbackType, flags: int
) -> None:
    register = xen_domain.hypercall.callback_op.register
    for earlier in (0, 1):
        register(type=type, address=1, flags=earlier)
        register(type=type, address=1, flags=flags)
        masks = registers(xen_machine, xen_domain).flags & (8 | 16)
        assert masks == (MASKS.get(type, 0) if flags & 1 else 0)


def test_an_nmis_is_a_trap(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.callback_op.register(type=CallbackType.nmi, address=0x4000)
    trap = registers(xen_machine, xen_domain).trap_ctxt[2]
    assert (trap.vector, trap.flags, trap.cs, trap.address) == (2, 4, 0xE033, 0x4000)


def test_and_is_taken_back(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.callback_op
    op.register(type=CallbackType.nmi, address=0x4000)
    for _ in range(2):
        op.unregister(type=CallbackType.nmi)
        assert bytes(registers(xen_machine, xen_domain).trap_ctxt[2]) == bytes(16)


@pytest.mark.parametrize("type", [t for t in CallbackType if t != CallbackType.nmi])
def test_others_are_not(xen_machine: Machine, xen_domain: Domain, type: CallbackType) -> None:
    op = xen_domain.hypercall.callback_op
    op.register(type=type, address=0x4000, flags=1)
    with vain(xen_machine, xen_domain, EINVAL):
        op.unregister(type=type)


@pytest.mark.parametrize("type", NO_TYPES)
def test_there_is_no_such_type(xen_machine: Machine, xen_domain: Domain, type: int) -> None:
    op = xen_domain.hypercall.callback_op
    with vain(xen_machine, xen_domain, ENOSYS):
        op.register(type=type, address=1)
    with vain(xen_machine, xen_domain, ENOSYS):
        op.unregister(type=type)


@pytest.mark.parametrize("type", [*CallbackType, *NO_TYPES])
@pytest.mark.parametrize("address", NOT_CANONICAL, ids=hex)
def test_an_address_that_is_not_canonical(
    xen_machine: Machine, xen_domain: Domain, type: int, address: int
) -> None:
    """Before the type is looked at."""
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.callback_op.register(type=type, address=address)


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    for type in CallbackType:
        domain.vcpu(1).hypercall.callback_op.register(type=type, address=0x4000, flags=1)
    for type in (*SHOWN, CallbackType.nmi):
        assert address_of(registers(xen_machine, domain, 0), type) == 0
        assert address_of(registers(xen_machine, domain, 1), type) == 0x4000


# hostile arguments


@NOWHERE
@pytest.mark.parametrize("op", CallbackOp, ids=lambda op: op.name)
def test_no_argument(
    xen_machine: Machine, xen_domain: Domain, op: CallbackOp, nowhere: int
) -> None:
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall.callback_op(op, nowhere)


@pytest.mark.parametrize(("op", "n"), [(0, 15), (0, 8), (0, 4), (1, 3), (1, 2)])
def test_an_argument_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, op: int, n: int
) -> None:
    at = straddling(xen_domain, (4).to_bytes(n, "little"), mapped=False, first=n)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall.callback_op(op, at)


@pytest.mark.parametrize("first", [1, 2, 8, 15])
def test_arguments_across_pages_and_read_only(
    xen_machine: Machine, xen_domain: Domain, first: int
) -> None:
    call = xen_domain.hypercall.callback_op
    arg = structs.xen.callback_register(type=4, address=0x4000)
    call(CallbackOp.register, straddling(xen_domain, arg, first=first))
    assert registers(xen_machine, xen_domain).trap_ctxt[2].address == 0x4000
    call(CallbackOp.unregister, read_only(xen_domain, structs.xen.callback_unregister(type=4)))
    assert registers(xen_machine, xen_domain).trap_ctxt[2].address == 0
    call(CallbackOp.register, read_only(xen_domain, arg))
    assert registers(xen_machine, xen_domain).trap_ctxt[2].address == 0x4000


def test_what_is_not_a_field_does_not_count(xen_machine: Machine, xen_domain: Domain) -> None:
    raw = bytearray(bytes(structs.xen.callback_register(type=4, address=0x4000)))
    raw[4:8] = b"\xff" * 4
    xen_domain.hypercall(NR, JUNK | CallbackOp.register, placed(xen_domain, bytes(raw)))
    assert registers(xen_machine, xen_domain).trap_ctxt[2].address == 0x4000
    xen_domain.hypercall(
        NR, JUNK | CallbackOp.unregister, placed(xen_domain, b"\4\0\xff\xff" + b"\xff" * 12)
    )
    assert registers(xen_machine, xen_domain).trap_ctxt[2].address == 0


@pytest.mark.parametrize("op", [2, 3, 99, 1 << 31, 0xFFFF_FFFF])
def test_there_is_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    for at in (UNMAPPED, 0, xen_domain.alloc(16)):
        with vain(xen_machine, xen_domain, ENOSYS):
            xen_domain.hypercall.callback_op(op, at)


def test_a_dying_caller(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    xen_domain.destroy()
    with untouched(xen_machine, other):
        assert xen_domain.hypercall.raw(NR, CallbackOp.register, UNMAPPED) == -ESRCH
