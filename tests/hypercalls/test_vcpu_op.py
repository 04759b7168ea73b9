"""vcpu_op: initialise, up, down, is_up, send_nmi, get_physid; arguments of all."""

from __future__ import annotations

import ctypes
from errno import EEXIST, EFAULT, EINVAL, ENOENT, ENOSYS
from typing import Any

import pytest
from hypercalls.support import (
    JUNK,
    NOWHERE,
    XEN_VA,
    back,
    bring_up,
    placed,
    raw_of,
    read_only,
    refused,
    refused_without_effect,
    straddling,
    unchanged,
)

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import Hypercall, VcpuOp
from xenemu.xen import DomainFlag, RunState, Shutdown, structs
from xenemu.xen.structs.xen import vcpu_guest_context

h = structs.vcpu
OP = Hypercall.vcpu_op
IN_KERNEL, ONLINE = 4, 32
EACH = pytest.mark.parametrize("op", VcpuOp, ids=lambda op: op.name)
NO_VCPU = pytest.mark.parametrize("vcpuid", [2, 8192, 1 << 31, 0xFFFF_FFFF])

# Structs that are read, and those that are written.
READ: dict[VcpuOp, Any] = {
    VcpuOp.initialise: vcpu_guest_context(),
    VcpuOp.register_runstate_memory_area: h.vcpu_register_runstate_memory_area(),
    VcpuOp.set_periodic_timer: h.vcpu_set_periodic_timer(period_ns=10_000_000),
    VcpuOp.set_singleshot_timer: h.vcpu_set_singleshot_timer(timeout_abs_ns=1 << 40),
    VcpuOp.register_vcpu_info: h.vcpu_register_vcpu_info(),
    VcpuOp.register_vcpu_time_memory_area: h.vcpu_register_time_memory_area(),
}
WRITTEN: dict[VcpuOp, Any] = {
    VcpuOp.get_runstate_info: h.vcpu_runstate_info(),
    VcpuOp.get_physid: h.vcpu_get_physid(),
}


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    """With two virtual CPUs, of which the first is up and the second was never initialised."""
    return xen_machine.create_domain(vcpus=2)


def root(domain: Domain) -> int:
    return int(domain.mfn_at(domain.start_info.pt_base))


def context(domain: Domain, **fields: int) -> Any:
    """What a virtual CPU can be initialised with."""
    new = vcpu_guest_context(**{"flags": IN_KERNEL, **fields})
    new.ctrlreg[3] = root(domain) << 12
    return new


# initialise, up, down, is_up


def test_only_the_first_virtual_cpu_is_up(guest: Domain) -> None:
    op = guest.hypercall.vcpu_op
    assert [op.is_up(vcpuid=n) for n in (0, 1)] == [True, False]
    assert (guest.info.nr_online_vcpus, guest.info.max_vcpu_id) == (1, 1)


def test_an_initialised_virtual_cpu_has_its_registers_and_holds_its_tables(
    xen_machine: Machine, guest: Domain
) -> None:
    new = context(guest)
    new.user_regs.rip, new.user_regs.rdi = 0x1234, 77
    held = xen_machine.frame(root(guest))
    guest.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=new)
    got = xen_machine.control.hypercall.domctl.getvcpucontext(domain=guest.id, vcpu=1)
    assert (got.user_regs.rip, got.user_regs.rdi) == (0x1234, 77)
    assert got.ctrlreg[3] == new.ctrlreg[3]
    frame = xen_machine.frame(root(guest))
    assert (frame.count, frame.type_count) == (held.count + 1, held.type_count + 1)
    assert not guest.hypercall.vcpu_op.is_up(vcpuid=1)


def test_it_may_be_online_at_once(guest: Domain) -> None:
    new = context(guest, flags=IN_KERNEL | ONLINE)
    guest.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=new)
    assert guest.hypercall.vcpu_op.is_up(vcpuid=1)


@pytest.mark.parametrize("vcpuid", [0, 1])
def test_it_is_initialised_once(xen_machine: Machine, guest: Domain, vcpuid: int) -> None:
    bring_up(guest, 1)
    with refused_without_effect(xen_machine, EEXIST):
        guest.hypercall.vcpu_op.initialise(vcpuid=vcpuid, ctxt=vcpu_guest_context())


BAD_REGISTERS = {
    "rip": ("user_regs.rip", 1 << 47),
    "rsp": ("user_regs.rsp", 1 << 47),
    "kernel_sp": ("kernel_sp", 1 << 63),
    "fs_base": ("fs_base", 1 << 47),
    "gs_base_user": ("gs_base_user", 1 << 47),
    "event callback": ("event_callback_eip", 1 << 47),
    "failsafe callback": ("failsafe_callback_eip", 1 << 47),
    "syscall callback": ("syscall_callback_eip", 1 << 47),
    "ldt in xen": ("ldt_base", 0xFFFF_8000_0000_0000),
    "ldt unaligned": ("ldt_base", 8),
    "ldt too long": ("ldt_ents", 8193),
    "gdt too long": ("gdt_ents", 8193),
    "gdt without frames": ("gdt_ents", 1),
    "user mode without a table": ("flags", 0),
    "no cr3": ("ctrlreg.3", 0),
    "cr3 beyond memory": ("ctrlreg.3", 1 << 50),
    "user cr3 beyond memory": ("ctrlreg.1", 1 << 50),
}


@pytest.mark.parametrize(("field", "value"), BAD_REGISTERS.values(), ids=BAD_REGISTERS)
def test_registers_that_no_guest_may_have(
    xen_machine: Machine, guest: Domain, field: str, value: int
) -> None:
    new = context(guest)
    *path, last = field.split(".")
    target = new
    for name in path:
        target = getattr(target, name)
    if last.isdigit():
        target[int(last)] = value
    else:
        setattr(target, last, value)
    before = xen_machine.frame(root(guest))
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=new)
    assert xen_machine.frame(root(guest)) == before
    guest.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=context(guest))


@pytest.mark.parametrize("whose", ["a writable page", "another domain's"])
def test_its_root_table_is_a_table_of_the_domain(
    xen_machine: Machine, guest: Domain, whose: str
) -> None:
    mfn = guest.mfn(9) if whose == "a writable page" else root(xen_machine.control)
    new = context(guest)
    new.ctrlreg[3] = mfn << 12
    before = xen_machine.frame(mfn)
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=new)
    assert xen_machine.frame(mfn) == before


def test_beyond_the_thirty_second_it_needs_a_vcpu_info_first(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=33)
    op = domain.hypercall.vcpu_op
    op.initialise(vcpuid=31, ctxt=context(domain))
    for at in (0, XEN_VA, placed(domain, context(domain))):
        with refused_without_effect(xen_machine, EINVAL):
            domain.hypercall(OP, VcpuOp.initialise, 32, at)
    op.register_vcpu_info(vcpuid=32, mfn=domain.mfn_at(domain.alloc_page()), offset=0)
    op.initialise(vcpuid=32, ctxt=context(domain))


def test_up_lets_it_run_and_down_stops_it(xen_machine: Machine, guest: Domain) -> None:
    bring_up(guest, 1)
    op = guest.vcpu(1).hypercall.vcpu_op
    assert op.is_up(vcpuid=1)
    assert guest.info.nr_online_vcpus == 2
    with unchanged(xen_machine):
        op.up(vcpuid=1)
    op.down(vcpuid=1)
    assert not guest.hypercall.vcpu_op.is_up(vcpuid=1)
    assert guest.info.nr_online_vcpus == 1
    assert op.get_runstate_info(vcpuid=1).state == RunState.offline
    guest.hypercall.vcpu_op.up(vcpuid=1)
    assert op.is_up(vcpuid=1)


def test_what_was_not_initialised_can_not_come_up(xen_machine: Machine, guest: Domain) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.vcpu_op.up(vcpuid=1)


def test_what_is_down_can_go_down(xen_machine: Machine, guest: Domain) -> None:
    with unchanged(xen_machine):
        guest.hypercall.vcpu_op.down(vcpuid=1)


def test_the_last_one_takes_the_domain_with_it_and_stays_up(guest: Domain) -> None:
    guest.hypercall.vcpu_op.down(vcpuid=0)
    assert guest.info.shutdown_code == Shutdown.poweroff
    assert guest.hypercall.vcpu_op.is_up(vcpuid=0)


# send_nmi, get_physid


def test_an_nmi_wakes_a_virtual_cpu(xen_machine: Machine, guest: Domain) -> None:
    bring_up(guest, 1)
    guest.hypercall.sched_op.block()
    op = guest.vcpu(1).hypercall.vcpu_op
    op.send_nmi(vcpuid=0)
    op.send_nmi(vcpuid=0)
    info = xen_machine.control.hypercall.domctl.getvcpuinfo(domain=guest.id, vcpu=0)
    assert not info.blocked
    assert DomainFlag.blocked not in guest.info.flags


@pytest.mark.parametrize("argument", [8, XEN_VA, (1 << 64) - 1])
def test_an_nmi_has_no_argument(xen_machine: Machine, guest: Domain, argument: int) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall(OP, VcpuOp.send_nmi, 1, argument)


def test_only_the_control_domain_is_told_its_processor(xen_machine: Machine, guest: Domain) -> None:
    assert xen_machine.control.hypercall.vcpu_op.get_physid(vcpuid=0) == 0
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.vcpu_op.get_physid(vcpuid=0)
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall(OP, VcpuOp.get_physid, 0, XEN_VA)


# arguments


@EACH
@NO_VCPU
def test_no_such_virtual_cpu(xen_machine: Machine, guest: Domain, op: VcpuOp, vcpuid: int) -> None:
    with refused_without_effect(xen_machine, ENOENT):
        guest.hypercall(OP, op, vcpuid, XEN_VA)


@pytest.mark.parametrize("op", [14, 15, 99, 1 << 31, 0xFFFF_FFFF])
def test_no_such_sub_operation(xen_machine: Machine, guest: Domain, op: int) -> None:
    with refused_without_effect(xen_machine, ENOSYS):
        guest.hypercall(OP, op, 0, placed(guest, bytes(64)))
    with refused_without_effect(xen_machine, ENOENT):
        guest.hypercall(OP, op, 2, 0)


@pytest.mark.parametrize("op", [*READ, *WRITTEN], ids=lambda op: op.name)
@NOWHERE
def test_no_argument(xen_machine: Machine, op: VcpuOp, nowhere: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        xen_machine.control.hypercall(OP, op, 0, nowhere)


@pytest.mark.parametrize("op", [*READ, *WRITTEN], ids=lambda op: op.name)
def test_an_argument_of_which_the_end_is_not_mapped(xen_machine: Machine, op: VcpuOp) -> None:
    control = xen_machine.control
    arg = {**READ, **WRITTEN}[op]
    at = straddling(control, raw_of(arg)[:8], mapped=False, first=ctypes.sizeof(arg) - 1)
    with refused_without_effect(xen_machine, EFAULT):
        control.hypercall(OP, op, 0, at)


@pytest.mark.parametrize("op", [*READ][1:], ids=lambda op: op.name)  # the first is over a page
@pytest.mark.parametrize("where", [read_only, straddling], ids=["read-only", "across-pages"])
def test_an_argument_that_can_be_read(guest: Domain, op: VcpuOp, where: Any) -> None:
    arg = READ[op]
    code = {VcpuOp.register_vcpu_info: -EINVAL}.get(op, 0)  # mfn 0 is not the guest's
    assert guest.hypercall.raw(OP, op, 0, where(guest, arg)) == code


@pytest.mark.parametrize("op", WRITTEN, ids=lambda op: op.name)
def test_an_answer_goes_where_it_can_be_written(xen_machine: Machine, op: VcpuOp) -> None:
    control, arg = xen_machine.control, WRITTEN[op]
    with refused_without_effect(xen_machine, EFAULT):
        control.hypercall(OP, op, 0, read_only(control, arg))
    filled = type(arg).from_buffer_copy(b"\xee" * ctypes.sizeof(arg))
    at = straddling(control, filled)
    assert control.hypercall(OP, op, 0, at) == 0
    assert raw_of(back(control, arg, at)) != raw_of(filled)


@EACH
def test_the_upper_halves_of_registers_do_not_count(guest: Domain, op: VcpuOp) -> None:
    def answer(domain: Domain, junk: int) -> int:
        at = 0 if op == VcpuOp.send_nmi else placed(domain, {**READ, **WRITTEN}.get(op, bytes(8)))
        return domain.hypercall.raw(OP, junk | op, junk, at)

    assert answer(guest, JUNK) == answer(guest, 0)


def test_a_timer_of_another_virtual_cpu_is_refused_before_its_argument_is_read(
    xen_machine: Machine, guest: Domain
) -> None:
    for op in (VcpuOp.set_singleshot_timer, VcpuOp.stop_singleshot_timer):
        with refused_without_effect(xen_machine, EINVAL):
            guest.hypercall(OP, op, 1, XEN_VA)


def test_the_dying_have_no_virtual_cpus(zombie: Domain) -> None:
    with pytest.raises(HypercallError, match="ESRCH"):
        zombie.hypercall.vcpu_op.is_up(vcpuid=0)
    with refused(3):
        zombie.hypercall(OP, VcpuOp.down, 0)
