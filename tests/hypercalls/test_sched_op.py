"""sched_op and sched_op_compat: yield, block, shutdown, shutdown_code, remote_shutdown, watchdog,
pin_override; hostile arguments."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, ENOSPC, ENOSYS, EPERM, ESRCH
from typing import Any

import pytest
from hypercalls.support import (
    ABSENT_DOMIDS,
    JUNK,
    NOWHERE,
    mask_upcalls,
    placed,
    raw_of,
    read_only,
    refused,
    refused_without_effect,
    straddling,
    unchanged,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, SchedOp
from xenemu.xen import DOMID_SELF, DomainFlag, RunState, Shutdown, Virq, structs

h = structs.sched
OP, COMPAT = Hypercall.sched_op, Hypercall.sched_op_compat
REASONS = pytest.mark.parametrize("reason", [*Shutdown, 77, 0xFF], ids=str)

# Of each sub-operation that has an argument one that succeeds.
ARGUMENTS: dict[SchedOp, Any] = {
    SchedOp.shutdown: h.sched_shutdown(reason=1),
    SchedOp.poll: h.sched_poll(timeout=1),
    SchedOp.remote_shutdown: h.sched_remote_shutdown(domain_id=1, reason=1),
    SchedOp.shutdown_code: h.sched_shutdown(reason=1),
    SchedOp.watchdog: h.sched_watchdog(timeout=9),
    SchedOp.pin_override: h.sched_pin_override(pcpu=0),
}
WITH_ARGUMENT = pytest.mark.parametrize("op", ARGUMENTS, ids=lambda op: op.name)


def blocked(machine: Machine, domain: Domain, vcpu: int = 0) -> bool:
    info = machine.control.hypercall.domctl.getvcpuinfo(domain=domain.id, vcpu=vcpu)
    return bool(info.blocked)


# yield, block


def test_yield_changes_nothing(xen_machine: Machine, xen_domain: Domain) -> None:
    with unchanged(xen_machine):
        xen_domain.hypercall.sched_op.yield_()
    assert not blocked(xen_machine, xen_domain)


def test_block_waits_for_an_event_and_takes_them_again(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    mask_upcalls(xen_domain)
    xen_domain.hypercall.sched_op.block()
    assert blocked(xen_machine, xen_domain)
    assert xen_domain.shared_info.vcpu_info[0].evtchn_upcall_mask == 0
    xen_machine.run_for(1)
    assert blocked(xen_machine, xen_domain)
    assert DomainFlag.blocked in xen_domain.info.flags


def test_block_does_not_wait_when_an_upcall_is_due(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    op = xen_domain.hypercall.event_channel_op
    mask_upcalls(xen_domain)
    op.send(port=op.bind_ipi(vcpu=0))
    xen_domain.hypercall.sched_op.block()
    assert not blocked(xen_machine, xen_domain)
    assert xen_domain.shared_info.vcpu_info[0].evtchn_upcall_mask == 0


def test_an_event_for_the_virtual_cpu_ends_a_block(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    op = xen_domain.hypercall.event_channel_op
    port = op.alloc_unbound(remote_dom=0)
    control = xen_machine.control.hypercall.event_channel_op
    local = control.bind_interdomain(remote_dom=xen_domain.id, remote_port=port)
    xen_domain.hypercall.sched_op.block()
    xen_machine.run_for(0.5)
    control.send(port=local)
    assert not blocked(xen_machine, xen_domain)
    times = xen_domain.hypercall.vcpu_op.get_runstate_info(vcpuid=0).time
    assert times[RunState.blocked] == 500_000_000


def test_an_event_for_another_virtual_cpu_does_not(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    op = domain.hypercall.event_channel_op
    port = op.alloc_unbound(remote_dom=0)
    op.bind_vcpu(port=port, vcpu=1)
    control = xen_machine.control.hypercall.event_channel_op
    local = control.bind_interdomain(remote_dom=domain.id, remote_port=port)
    domain.hypercall.sched_op.block()
    control.send(port=local)
    assert domain.pending_ports() == [port]
    assert blocked(xen_machine, domain)


def test_who_is_paused_blocks_and_is_woken_all_the_same(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    xen_domain.hypercall.set_timer_op(1000)
    xen_domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    xen_domain.hypercall.sched_op.block()
    xen_domain.pause()
    xen_machine.run_for(0.001)
    assert not blocked(xen_machine, xen_domain)
    assert xen_domain.info.paused


# shutdown


@REASONS
def test_shutdown_stops_the_domain_and_tells_the_control_domain(
    xen_machine: Machine, xen_domain: Domain, reason: int
) -> None:
    control = xen_machine.control
    port = control.hypercall.event_channel_op.bind_virq(virq=Virq.DOM_EXC)
    xen_domain.hypercall.sched_op.shutdown(reason=reason)
    info = xen_domain.info
    assert (info.shutdown_code, info.dying) == (reason, False)
    assert control.take_event() == port


def test_eight_bits_of_the_reason_count(xen_domain: Domain) -> None:
    xen_domain.hypercall.sched_op.shutdown(reason=0xABCD_EF02)
    assert xen_domain.info.shutdown_code == 2


def test_the_first_reason_counts_until_it_is_resumed(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    op = xen_domain.hypercall.sched_op
    op.shutdown(reason=Shutdown.suspend)
    with unchanged(xen_machine):
        op.shutdown(reason=Shutdown.crash)
    xen_machine.control.hypercall.domctl.resumedomain(domain=xen_domain.id)
    assert xen_domain.info.shutdown_code is None
    op.shutdown(reason=Shutdown.crash)
    assert xen_domain.info.shutdown_code == Shutdown.crash


@REASONS
def test_a_code_said_beforehand_is_the_one_that_counts(xen_domain: Domain, reason: int) -> None:
    op = xen_domain.hypercall.sched_op
    op.shutdown_code(reason=reason)
    assert xen_domain.info.shutdown_code is None
    op.shutdown_code(reason=Shutdown.watchdog)
    op.shutdown(reason=Shutdown.reboot)
    assert xen_domain.info.shutdown_code == reason


# remote_shutdown


@REASONS
def test_the_control_domain_shuts_others_down(
    xen_machine: Machine, xen_domain: Domain, reason: int
) -> None:
    op = xen_machine.control.hypercall
    port = op.event_channel_op.bind_virq(virq=Virq.DOM_EXC)
    op.sched_op.remote_shutdown(domain_id=xen_domain.id, reason=reason | 0x100)
    assert xen_domain.info.shutdown_code == reason
    assert xen_machine.control.take_event() == port
    with unchanged(xen_machine):
        op.sched_op.remote_shutdown(domain_id=xen_domain.id, reason=3)


def test_nobody_else_does(xen_machine: Machine, xen_domain: Domain) -> None:
    peer = xen_machine.create_domain()
    for target in (peer, xen_domain, xen_machine.control):
        with refused_without_effect(xen_machine, EPERM):
            xen_domain.hypercall.sched_op.remote_shutdown(domain_id=target.id, reason=0)


@ABSENT_DOMIDS
def test_nobody_is_shut_down_who_is_not_there(
    xen_machine: Machine, xen_domain: Domain, absent: int
) -> None:
    for caller in (xen_machine.control, xen_domain):
        with refused_without_effect(xen_machine, ESRCH):
            caller.hypercall.sched_op.remote_shutdown(domain_id=absent, reason=0)


def test_self_names_nobody(xen_machine: Machine) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        xen_machine.control.hypercall.sched_op.remote_shutdown(domain_id=DOMID_SELF, reason=0)


def test_the_dying_can_be_shut_down(xen_machine: Machine, zombie: Domain) -> None:
    op = xen_machine.control.hypercall.sched_op
    op.remote_shutdown(domain_id=zombie.id, reason=Shutdown.crash)
    assert zombie.info.shutdown_code == Shutdown.crash


# watchdog


def test_a_watchdog_bites_unless_it_is_told_again(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.sched_op
    assert op.watchdog(timeout=2) == 1
    for _ in range(5):
        xen_machine.run_for(1.9)
        assert op.watchdog(id=1, timeout=2) == 0
    xen_machine.run_for(1.9)
    assert xen_domain.info.shutdown_code is None
    xen_machine.run_for(0.1)
    assert xen_domain.info.shutdown_code == Shutdown.watchdog


def test_there_are_two_watchdogs(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.sched_op
    assert [op.watchdog(timeout=60), op.watchdog(timeout=60)] == [1, 2]
    with unchanged(xen_machine):
        assert op.watchdog(timeout=60) == 2**32 - ENOSPC
    assert op.watchdog(id=1, timeout=0) == 0
    assert op.watchdog(timeout=60) == 1


def test_a_watchdog_that_was_ended_does_not_bite(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.sched_op
    op.watchdog(timeout=1)
    op.watchdog(id=1, timeout=0)
    xen_machine.run_for(2)
    assert xen_domain.info.shutdown_code is None


def test_a_new_watchdog_of_no_time_bites_at_once(xen_domain: Domain) -> None:
    xen_domain.hypercall.sched_op.watchdog(timeout=0)
    assert xen_domain.info.shutdown_code == Shutdown.watchdog


def test_a_watchdog_bites_a_domain_that_is_paused(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.sched_op.watchdog(timeout=1)
    xen_domain.pause()
    xen_machine.run_for(1)
    assert xen_domain.info.shutdown_code == Shutdown.watchdog


@pytest.mark.parametrize("timeout", [0, 1])
@pytest.mark.parametrize("dog", [1, 2, 3, 9, 0xFFFF_FFFF])
def test_no_such_watchdog(xen_machine: Machine, xen_domain: Domain, dog: int, timeout: int) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.sched_op.watchdog(id=dog, timeout=timeout)
    assert xen_domain.hypercall.sched_op.watchdog(timeout=0xFFFF_FFFF) == 1


# pin_override


def test_the_control_domain_pins_itself_once(xen_control: Domain) -> None:
    op = xen_control.hypercall.sched_op
    with refused(EINVAL):
        op.pin_override(pcpu=-1)
    op.pin_override(pcpu=0)
    with refused(EBUSY):
        op.pin_override(pcpu=0)
    op.pin_override(pcpu=-7)
    op.pin_override(pcpu=0)


@pytest.mark.parametrize("pcpu", [1, 63, 255, 256, 4095, 4096, (1 << 31) - 1])
def test_there_is_one_processor(xen_control: Domain, pcpu: int) -> None:
    with refused(EINVAL):
        xen_control.hypercall.sched_op.pin_override(pcpu=pcpu)


@pytest.mark.parametrize("privileged", [False, True])
def test_only_domain_0_pins_itself_whatever_its_argument(
    xen_machine: Machine, privileged: bool
) -> None:
    domain = xen_machine.create_domain(privileged=privileged)
    with refused_without_effect(xen_machine, EPERM):
        domain.hypercall.sched_op.pin_override(pcpu=0)
    with refused_without_effect(xen_machine, EPERM):
        domain.hypercall.sched_op(SchedOp.pin_override, 0)


# arguments


@WITH_ARGUMENT
@NOWHERE
def test_no_argument(xen_machine: Machine, xen_domain: Domain, op: SchedOp, nowhere: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        xen_machine.control.hypercall.sched_op(op, nowhere)


@WITH_ARGUMENT
def test_an_argument_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, op: SchedOp
) -> None:
    arg = ARGUMENTS[op]
    at = straddling(xen_machine.control, arg, mapped=False, first=len(raw_of(arg)) - 1)
    with refused_without_effect(xen_machine, EFAULT):
        xen_machine.control.hypercall.sched_op(op, at)


@WITH_ARGUMENT
@pytest.mark.parametrize("where", [read_only, straddling], ids=["read-only", "across-pages"])
def test_an_argument_that_can_be_read(
    xen_machine: Machine, xen_domain: Domain, op: SchedOp, where: Any
) -> None:
    control = xen_machine.control
    assert control.hypercall.sched_op(op, where(control, ARGUMENTS[op])) in (0, 1)


@pytest.mark.parametrize("op", SchedOp, ids=lambda op: op.name)
def test_the_upper_half_of_the_sub_operation_does_not_count(
    xen_machine: Machine, xen_domain: Domain, op: SchedOp
) -> None:
    control = xen_machine.control
    at = placed(control, ARGUMENTS.get(op, bytes(8)))
    assert control.hypercall.raw(OP, JUNK | op, at) in (0, 1)


@pytest.mark.parametrize("op", [8, 9, 99, 1 << 31, 0xFFFF_FFFF])
def test_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    with refused_without_effect(xen_machine, ENOSYS):
        xen_domain.hypercall.sched_op(op, placed(xen_domain, bytes(32)))


# sched_op_compat: yield, block, shutdown, whose argument is the reason


def test_the_old_form_yields_blocks_and_shuts_down(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    assert xen_domain.hypercall(COMPAT, SchedOp.yield_, 0xDEAD) == 0
    assert not blocked(xen_machine, xen_domain)
    assert xen_domain.hypercall(COMPAT, JUNK | SchedOp.block, 0xDEAD) == 0
    assert blocked(xen_machine, xen_domain)
    assert xen_domain.hypercall(COMPAT, SchedOp.shutdown, JUNK | 0x105) == 0
    assert xen_domain.info.shutdown_code == Shutdown.soft_reset


@pytest.mark.parametrize("op", [3, 4, 5, 6, 7, 99, 0xFFFF_FFFF])
def test_the_old_form_does_no_more(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    with refused_without_effect(xen_machine, ENOSYS):
        xen_domain.hypercall(COMPAT, op, placed(xen_domain, bytes(32)))
