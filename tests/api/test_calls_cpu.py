"""Typed calls on virtual CPUs: their state, timers, and what Xen does when time passes."""

import pytest

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import CallbackType, VmAssistType
from xenemu.xen import RunState, Shutdown, TrapInfo, Virq, structs

MS = 1_000_000


def test_a_second_virtual_cpu(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    op = domain.hypercall.vcpu_op
    assert [op.is_up(vcpuid=n) for n in (0, 1)] == [True, False]
    with pytest.raises(FileNotFoundError):
        op.is_up(vcpuid=2)
    with pytest.raises(HypercallError, match=r"vcpu_op.up: EINVAL"):
        op.up(vcpuid=1)
    context = structs.xen.vcpu_guest_context(flags=4)
    context.ctrlreg[3] = domain.mfn_at(domain.start_info.pt_base) << 12
    op.initialise(vcpuid=1, ctxt=context)
    with pytest.raises(FileExistsError):
        op.initialise(vcpuid=1, ctxt=context)
    op.up(vcpuid=1)
    assert domain.vcpu(1).hypercall.vcpu_op.is_up(vcpuid=1)
    assert domain.vcpu(1).hypercall.xen_version.version() == (4, 17)
    port = domain.hypercall.event_channel_op.bind_ipi(vcpu=1)
    domain.hypercall.event_channel_op.send(port=port)
    assert domain.shared_info.vcpu_info[1].evtchn_upcall_pending == 1
    op.down(vcpuid=1)
    op.down(vcpuid=0)
    assert domain.info.shutdown_code == Shutdown.poweroff


def test_run_states(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_machine.run_for(2)
    xen_domain.hypercall.sched_op.block()
    xen_machine.run_for(1)
    assert xen_machine.control.hypercall.domctl.getvcpuinfo(domain=xen_domain.id, vcpu=0).blocked
    op = xen_domain.hypercall.vcpu_op
    info = op.get_runstate_info(vcpuid=0)  # who calls runs
    assert info.state == RunState.running
    assert (sum(info.time), info.time[RunState.blocked]) == (3_000 * MS, 1_000 * MS)
    area = xen_domain.alloc(48)
    op.register_runstate_memory_area(vcpuid=0, addr=area)
    copy = xen_domain.memory.read_struct(structs.STRUCTS["vcpu_runstate_info"], area)
    assert copy.time[RunState.blocked] == 1_000 * MS


def test_timers(xen_machine: Machine, xen_domain: Domain) -> None:
    at: list[int] = []
    port = xen_domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    xen_domain.on_event(port, lambda _: at.append(xen_machine.now_ns))
    op = xen_domain.hypercall.vcpu_op
    op.set_periodic_timer(vcpuid=0, period_ns=30 * MS)
    xen_machine.run_for(0.1)
    op.stop_periodic_timer(vcpuid=0)
    assert at == [30 * MS, 60 * MS, 90 * MS]
    op.set_singleshot_timer(vcpuid=0, timeout_abs_ns=150 * MS)
    xen_machine.run_for(0.1)
    xen_domain.hypercall.set_timer_op(250 * MS)
    xen_machine.run_for(0.1)
    assert at[3:] == [150 * MS, 250 * MS]
    xen_domain.hypercall.set_timer_op(350 * MS)
    xen_domain.hypercall.set_timer_op(0)
    op.stop_singleshot_timer(vcpuid=0)
    xen_machine.run_for(0.1)
    assert len(at) == 5
    with pytest.raises(HypercallError, match="EINVAL"):
        op.set_periodic_timer(vcpuid=0, period_ns=1000)


def test_a_poll_times_out(xen_machine: Machine, xen_domain: Domain) -> None:
    port = xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
    op = xen_domain.hypercall.sched_op
    op.poll(ports=[port], timeout=xen_machine.now_ns + 50 * MS)
    state = xen_machine.control.hypercall.domctl.getvcpuinfo
    assert state(domain=xen_domain.id, vcpu=0).blocked
    xen_machine.run_for(0.1)
    assert not state(domain=xen_domain.id, vcpu=0).blocked
    info = xen_domain.hypercall.vcpu_op.get_runstate_info(vcpuid=0)
    assert info.time[RunState.blocked] == 50 * MS
    with pytest.raises(HypercallError, match=r"sched_op.poll: EINVAL"):
        op.poll(ports=[port] * 129)


def test_a_watchdog_bites(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.sched_op
    first, second = op.watchdog(timeout=1), op.watchdog(timeout=2)
    assert (first, second) == (1, 2)
    assert op.watchdog(timeout=2) == 2**32 - 28
    xen_machine.run_for(0.9)
    assert op.watchdog(id=first, timeout=5) == 0
    assert xen_domain.info.shutdown_code is None
    xen_machine.run_for(1.2)
    assert xen_domain.info.shutdown_code == Shutdown.watchdog


def test_control_shuts_down(xen_control: Domain, xen_domain: Domain) -> None:
    with pytest.raises(PermissionError):
        xen_domain.hypercall.sched_op.remote_shutdown(domain_id=0, reason=0)
    op = xen_control.hypercall
    op.sched_op.remote_shutdown(domain_id=xen_domain.id, reason=Shutdown.crash)
    assert xen_domain.info.shutdown_code == Shutdown.crash
    op.domctl.resumedomain(domain=xen_domain.id)
    assert xen_domain.info.shutdown_code is None


def test_registers_of_the_guest(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_domain.hypercall
    call.set_trap_table([TrapInfo(14, 4, 0xE033, 0x1000), TrapInfo(3, 0, 0xE033, 0x2000)])
    call.callback_op.register(type=CallbackType.event, address=xen_domain.gva(1))
    call.set_debugreg(0, xen_domain.gva(2))
    assert call.get_debugreg(0) == xen_domain.gva(2)
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    with pytest.raises(HypercallError, match=r"set_gdt: EINVAL"):
        call.set_gdt([mfn], entries=16)
    call.update_va_mapping(page, mfn << 12 | 0x65)
    call.set_gdt([mfn], entries=16)
    call.vm_assist.enable(type=VmAssistType.runstate_update_flag)

    context = xen_control.hypercall.domctl.getvcpucontext(domain=xen_domain.id, vcpu=0)
    assert (context.trap_ctxt[14].address, context.trap_ctxt[14].flags) == (0x1000, 4)
    assert context.trap_ctxt[3].address == 0x2000
    assert context.event_callback_eip == xen_domain.gva(1)
    assert context.debugreg[0] == xen_domain.gva(2)
    assert (context.gdt_frames[0], context.gdt_ents) == (mfn, 16)
    assert context.vm_assist >> VmAssistType.runstate_update_flag & 1

    call.set_trap_table(None)
    call.vm_assist.disable(type=VmAssistType.runstate_update_flag)
    with pytest.raises(HypercallError, match=r"callback_op.unregister: EINVAL"):
        call.callback_op.unregister(type=CallbackType.event)
    with pytest.raises(HypercallError, match=r"vm_assist.enable: EINVAL"):
        call.vm_assist.enable(type=99)
    with pytest.raises(HypercallError, match=r"get_debugreg: ENODEV"):
        call.get_debugreg(8)
    context = xen_control.hypercall.domctl.getvcpucontext(domain=xen_domain.id, vcpu=0)
    assert (context.trap_ctxt[14].address, context.vm_assist) == (0, 0)


def test_vcpu_info_moves(xen_machine: Machine, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    with pytest.raises(HypercallError, match=r"register_vcpu_info: ENXIO"):
        xen_domain.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=4090)
    xen_domain.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=64)
    port = xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    xen_domain.hypercall.event_channel_op.send(port=port)
    moved = xen_domain.memory.read_struct(structs.STRUCTS["vcpu_info"], page + 64)
    assert moved.evtchn_upcall_pending == 1
    assert moved.evtchn_pending_sel & 1
    assert xen_machine.frame(mfn).type == "writable"
