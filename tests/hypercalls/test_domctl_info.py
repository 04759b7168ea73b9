"""domctl: what asks about a domain, its virtual CPUs and frames, and what a PV host refuses."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypercalls.frames import unmapped_page
from hypercalls.support import (
    NOT_CANONICAL,
    PRESENT_RO,
    UNMAPPED,
    XEN_VA,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DomainFlag, DomctlOp
from xenemu.xen.structs import domctl as h
from xenemu.xen.structs.xen import vcpu_guest_context


def op_for(cmd: int, domain: int, payload: bytes = b"") -> Any:
    """A struct with these bytes in its union."""
    arg = h.xen_domctl(cmd=cmd, interface_version=h.XEN_DOMCTL_INTERFACE_VERSION, domain=domain)
    arg.u.pad[: len(payload)] = payload
    return arg


def words(*values: int, size: int = 8) -> bytes:
    return b"".join((v & (1 << 8 * size) - 1).to_bytes(size, "little") for v in values)


# getdomaininfo


def test_info_of_a_running_domain(xen_machine: Machine, xen_domain: Domain) -> None:
    two = xen_machine.create_domain(memory_mib=2, max_memory_mib=3, vcpus=2)
    info = two.info
    assert (info.domain, info.tot_pages, info.max_pages) == (two.id, 512, 768)
    assert (info.nr_online_vcpus, info.max_vcpu_id) == (1, 1)
    assert info.flags == DomainFlag(0) and info.shutdown_code is None
    assert xen_machine.frame(info.shared_info_frame).owner == two.id
    assert xen_machine.control.info.flags & DomainFlag.running


def test_the_next_domain_if_there_is_none_of_this_id(
    xen_machine: Machine, xen_control: Domain
) -> None:
    call = xen_control.hypercall.domctl
    for domid in 3, 9, 4095:
        call.createdomain(domain=domid)
    assert [call.getdomaininfo(domain=i).domain for i in (0, 1, 3, 4, 9, 10, 4095)] == [
        0, 3, 3, 9, 9, 4095, 4095,
    ]  # fmt: skip
    call.destroydomain(domain=4095)
    with refused(errno.ESRCH):
        call.getdomaininfo(domain=10)


def test_time_that_a_domain_has_run(xen_machine: Machine, xen_domain: Domain) -> None:
    before = xen_domain.info.cpu_time
    xen_machine.run_for(1)
    xen_domain.pause()
    paused = xen_domain.info.cpu_time
    xen_machine.run_for(1)
    assert xen_domain.info.cpu_time == paused >= before


def test_handle_and_debugging(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    call.setdomainhandle(domain=xen_domain.id, handle=b"0123456789abcdef")
    assert xen_domain.info.handle == b"0123456789abcdef"
    call.setdebugging(domain=xen_domain.id, enable=True)
    assert DomainFlag.debugged in xen_domain.info.flags
    call.setdebugging(domain=xen_domain.id, enable=False)
    assert DomainFlag.debugged not in xen_domain.info.flags


def test_a_time_offset_moves_the_wall_clock(xen_control: Domain, xen_domain: Domain) -> None:
    before = xen_domain.shared_info.wc_sec
    for offset in 100, -7:
        xen_control.hypercall.domctl.settimeoffset(domain=xen_domain.id, time_offset_seconds=offset)
        assert xen_domain.shared_info.wc_sec == (before + offset) % (1 << 32)
        assert xen_domain.shared_info.wc_version % 2 == 0


def test_address_size_and_tsc(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    size = op_for(DomctlOp.get_address_size, xen_domain.id)
    call(size)
    assert size.u.address_size.size == 64
    tsc = op_for(DomctlOp.gettscinfo, xen_domain.id, b"\xff" * 24)
    call(tsc)
    assert bytes(tsc.u.pad)[:24] == words(0, 1_000_000, 1, 0, size=4) + bytes(8)


# virtual CPUs


def test_vcpu_info(xen_machine: Machine, xen_control: Domain) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    call = xen_control.hypercall.domctl
    first, second = (call.getvcpuinfo(domain=domain.id, vcpu=i) for i in (0, 1))
    assert (first.online, second.online) == (True, False)
    assert (first.blocked, first.running, first.cpu) == (False, False, 0)
    domain.hypercall.sched_op.block()
    assert call.getvcpuinfo(domain=domain.id, vcpu=0).blocked
    assert call.getvcpuinfo(domain=0, vcpu=0).running
    for vcpu in 2, 0xFFFF_FFFF:
        with refused(errno.EINVAL):
            call.getvcpuinfo(domain=domain.id, vcpu=vcpu)


def test_a_context_can_be_got_and_set(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    context = call.getvcpucontext(domain=xen_domain.id, vcpu=0)
    assert context.ctrlreg[3] >> 12 == xen_domain.mfn_at(xen_domain.start_info.pt_base)
    context.user_regs.rip = 0x1234
    call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)
    assert call.getvcpucontext(domain=xen_domain.id, vcpu=0).user_regs.rip == 0x1234
    context.ctrlreg[3] = 5 << 12
    with refused(errno.EOPNOTSUPP):  # while it is initialised
        call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)


def test_a_reset_virtual_cpu_gives_up_its_tables(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    call = xen_control.hypercall.domctl
    context = call.getvcpucontext(domain=xen_domain.id, vcpu=0)
    root = context.ctrlreg[3] >> 12
    before = xen_machine.frame(root)
    call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=None)
    assert xen_machine.frame(root).count == before.count - 1
    with refused(errno.ENODATA):
        call.getvcpucontext(domain=xen_domain.id, vcpu=0)
    assert xen_domain.info.nr_online_vcpus == 0
    context.flags |= 1 << 5  # online
    call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)
    assert xen_machine.frame(root) == before
    assert xen_domain.read(xen_domain.gva(1), 1)


@pytest.mark.parametrize("cmd", [DomctlOp.getvcpucontext, DomctlOp.setvcpucontext])
def test_contexts_that_there_are_not(
    xen_control: Domain, xen_domain: Domain, cmd: DomctlOp
) -> None:
    call = xen_control.hypercall.domctl
    for domain, vcpu, at, code in (
        (xen_domain.id, 1, UNMAPPED, errno.EINVAL),
        (0, 0, UNMAPPED, errno.EINVAL),
        (xen_domain.id, 0, UNMAPPED, errno.EFAULT),
        (xen_domain.id, 0, XEN_VA, errno.EFAULT),
    ):
        with refused(code):
            call(op_for(cmd, domain, words(vcpu, 0, size=4) + words(at)))


def test_a_context_across_pages(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    context = call.getvcpucontext(domain=xen_domain.id, vcpu=0)
    room = xen_control.memory.alloc_page(3)
    call(op_for(DomctlOp.getvcpucontext, xen_domain.id, words(0, room + 4000)))
    assert xen_control.read(room + 4000, 5168) == bytes(context)
    for at in read_only(xen_control, bytes(8)), room + 2 * 4096 - 100:
        xen_control.hypercall.update_va_mapping(room + 2 * 4096, 0)
        with refused(errno.EFAULT):
            call(op_for(DomctlOp.getvcpucontext, xen_domain.id, words(0, at)))


def test_a_bad_context_changes_nothing(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    call = xen_control.hypercall.domctl
    good = call.getvcpucontext(domain=xen_domain.id, vcpu=0)
    call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=None)
    data = xen_domain.info.shared_info_frame
    frames = {m: xen_machine.frame(m) for m in (good.ctrlreg[3] >> 12, data)}
    for field, value in (
        ("gdt_ents", 16 * 512 + 1),
        ("ldt_ents", 8193),
        ("event_callback_eip", NOT_CANONICAL),
        ("vm_assist", 1 << 40),
    ):
        context = vcpu_guest_context.from_buffer_copy(good)
        setattr(context, field, value)
        with refused(errno.EINVAL):
            call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)
    for cr3 in data << 12, 0, 1 << 50:
        context = vcpu_guest_context.from_buffer_copy(good)
        context.ctrlreg[3] = cr3
        with refused(errno.EINVAL):
            call.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)
    assert {m: xen_machine.frame(m) for m in frames} == frames
    with refused(errno.ENODATA):
        call.getvcpucontext(domain=xen_domain.id, vcpu=0)


def test_triggers(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    for trigger, vcpu, code in (3, 0, errno.EINVAL), (4, 0, errno.EINVAL), (9, 0, errno.ENOSYS):
        with refused(code):
            call(op_for(DomctlOp.sendtrigger, xen_domain.id, words(trigger, vcpu, size=4)))
    with refused(errno.ESRCH):
        call(op_for(DomctlOp.sendtrigger, xen_domain.id, words(0, 1, size=4)))
    assert call(op_for(DomctlOp.sendtrigger, xen_domain.id, words(0, 0, size=4))) == 0


# frames

TABLE = {level: level << 28 for level in (1, 2, 3, 4)}
PINNED, NO_PAGE = 1 << 31, 15 << 28


def test_types_of_frames(xen_machine: Machine, xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    root = xen_domain.mfn_at(xen_domain.start_info.pt_base)
    page = xen_domain.alloc_page()
    table = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page, table << 12 | PRESENT_RO)
    xen_domain.hypercall.mmuext_op.pin_table(1, mfn=table)
    plain, _ = unmapped_page(xen_domain)
    shared = xen_domain.info.shared_info_frame
    frames = [xen_domain.mfn(9), plain, table, shared, xen_control.mfn(9), 1 << 50, 0]
    assert call.getpageframeinfo3(frames, domain=xen_domain.id) == (
        0, 0, TABLE[1] | PINNED, NO_PAGE, NO_PAGE, NO_PAGE, NO_PAGE,
    )  # fmt: skip
    (info,) = call.getpageframeinfo3([root], domain=xen_domain.id)
    assert info & ~PINNED == TABLE[4]
    assert bool(info & PINNED) == xen_machine.frame(root).pinned


def test_types_of_how_many_frames(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    room = xen_control.memory.alloc_page(2)
    assert call(op_for(DomctlOp.getpageframeinfo3, xen_domain.id, words(1024, room))) == 0
    assert xen_control.read(room, 8 * 1024) == words(NO_PAGE) * 1024
    for n, at, code in (
        (1025, room, errno.E2BIG),
        (1 << 63, room, errno.E2BIG),
        (1, UNMAPPED, errno.EFAULT),
        (1, XEN_VA, errno.EFAULT),
        (1, read_only(xen_control, bytes(8)), errno.EFAULT),
        (2, straddling(xen_control, bytes(16), mapped=False), errno.EFAULT),
    ):
        with refused(code):
            call(op_for(DomctlOp.getpageframeinfo3, xen_domain.id, words(n, at)))
    assert call(op_for(DomctlOp.getpageframeinfo3, xen_domain.id, words(0, UNMAPPED))) == 0


def test_a_hypercall_page(xen_machine: Machine, xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    before = xen_machine.frame(mfn)
    call(op_for(DomctlOp.hypercall_init, xen_domain.id, words(mfn)))
    code = xen_domain.read(page, 4096)
    assert code[24 * 32 : 24 * 32 + 8] == bytes([0x51, 0x41, 0x53, 0xB8, 24, 0, 0, 0])
    assert xen_machine.frame(mfn) == before
    root = xen_domain.mfn_at(xen_domain.start_info.pt_base)
    for bad, code_of in (root, errno.EPERM), (1 << 40, errno.EINVAL), (1, errno.EINVAL):
        with refused(code_of):
            call(op_for(DomctlOp.hypercall_init, xen_domain.id, words(bad)))


# what a PV host refuses


@pytest.mark.parametrize(
    ("cmd", "payload", "code"),
    [
        (DomctlOp.set_address_size, words(32, size=4), errno.EOPNOTSUPP),
        (DomctlOp.set_address_size, words(33, size=4), errno.EINVAL),
        (DomctlOp.set_address_size, words(64, size=4), 0),
        (DomctlOp.set_target, words(77, size=2), errno.ESRCH),
        (DomctlOp.set_target, words(1, size=2), errno.EINVAL),
        (DomctlOp.set_target, words(0, size=2), errno.EOPNOTSUPP),
        (DomctlOp.set_access_required, b"", 0),
        (DomctlOp.subscribe, b"", 0),
        (DomctlOp.settscinfo, b"", 0),
        (DomctlOp.memory_mapping, words(0, 0, 0), errno.EINVAL),
        (DomctlOp.memory_mapping, words(0, 1 << 28, 1), errno.EINVAL),
        (DomctlOp.memory_mapping, words(0, -1, 2), errno.EINVAL),
        (DomctlOp.memory_mapping, words(-1, 1, 2), errno.EINVAL),
        (DomctlOp.setvcpuaffinity, words(5, size=4), errno.ESRCH),
        (DomctlOp.getvcpuaffinity, words(5, size=4), errno.ESRCH),
        (DomctlOp.get_vcpu_msrs, words(5, size=4), errno.ESRCH),
        (DomctlOp.getvcpuextstate, words(5, size=4), errno.ESRCH),
        (DomctlOp.shadow_op, b"", errno.EINVAL),
        (DomctlOp.irq_permission, b"", errno.EPERM),
        (DomctlOp.iomem_permission, b"", errno.EPERM),
        (DomctlOp.ioport_permission, b"", errno.EINVAL),
        (DomctlOp.gethvmcontext, b"", errno.EINVAL),
        (DomctlOp.sethvmcontext, b"", errno.EINVAL),
        (DomctlOp.assign_device, b"", errno.EOPNOTSUPP),
        (DomctlOp.bind_pt_irq, b"", errno.EINVAL),
        (DomctlOp.psr_cmt_op, b"", errno.ENODEV),
        (DomctlOp.soft_reset, b"", errno.EINVAL),
        (DomctlOp.soft_reset_cont, b"", errno.EBUSY),
        (DomctlOp.vmtrace_op, b"", errno.EINVAL),
        (DomctlOp.get_paging_mempool_size, b"", errno.EOPNOTSUPP),
    ],
    ids=lambda x: getattr(x, "name", x.hex() if isinstance(x, bytes) else str(x)),
)
def test_known_and_refused(
    xen_control: Domain, xen_domain: Domain, cmd: DomctlOp, payload: bytes, code: int
) -> None:
    assert xen_domain.id == 1
    before = xen_domain.info
    arg = op_for(cmd, xen_domain.id, payload)
    if code:
        with refused(code):
            xen_control.hypercall.domctl(arg)
    else:
        assert xen_control.hypercall.domctl(arg) == 0
    assert xen_domain.info == before
