"""set_timer_op, and vcpu_op's timers."""

from __future__ import annotations

from errno import EINVAL

import pytest
from hypercalls.support import (
    MS,
    SECOND,
    bring_up,
    refused_without_effect,
    unchanged,
)

from xenemu import Domain, Machine
from xenemu._abi import VcpuOp
from xenemu.xen import RunState, Virq, structs

FAR = 1 << 50  # 13 days
HOUR = 3600 * SECOND
MAX_PERIOD = (1 << 64) - 1 >> 2
U64_MAX = (1 << 64) - 1


class Clock:
    """When a domain with two virtual CPUs had VIRQ_TIMER (ns), on each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.domain = machine.create_domain(vcpus=2)
        bring_up(self.domain, 1)
        self.rang: list[tuple[int, int]] = []
        self.op = [self.domain.vcpu(n).hypercall.vcpu_op for n in (0, 1)]
        for n in (0, 1):
            port = self.domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER, vcpu=n)
            self.domain.on_event(port, lambda _, n=n: self.rang.append((n, machine.now_ns)))
            self.op[n].stop_periodic_timer(vcpuid=n)

    def set(self, at: int, vcpu: int = 0) -> None:
        self.domain.vcpu(vcpu).hypercall.set_timer_op(at)

    def run(self, ns: int) -> list[tuple[int, int]]:
        """What rings in this time: (virtual CPU, when)."""
        self.machine.run_for(ns / SECOND)
        rang, self.rang[:] = list(self.rang), []
        return rang


@pytest.fixture
def clock(xen_machine: Machine) -> Clock:
    return Clock(xen_machine)


# set_timer_op


def test_a_timer_rings_once_and_to_the_nanosecond(clock: Clock) -> None:
    clock.set(1001)
    assert clock.run(1000) == []
    assert clock.run(1) == [(0, 1001)]
    assert clock.run(SECOND) == []


def test_a_later_call_replaces_it(clock: Clock) -> None:
    clock.set(1000)
    clock.set(5000)
    clock.set(3000)
    assert clock.run(SECOND) == [(0, 3000)]


def test_zero_cancels_it(clock: Clock) -> None:
    clock.set(1000)
    clock.set(0)
    assert clock.run(SECOND) == []


@pytest.mark.parametrize("at", [1, 4 * MS, 5 * MS])
def test_a_time_that_has_come_rings_before_the_answer(clock: Clock, at: int) -> None:
    clock.run(5 * MS)
    clock.set(at)
    assert len(clock.domain.pending_ports()) == 1
    assert clock.run(0) == [(0, 5 * MS)]


@pytest.mark.parametrize("at", [1 << 63, U64_MAX, MS + FAR, MS + FAR + 1, (1 << 63) - 1], ids=hex)
def test_an_absurd_time_is_in_100_ms(clock: Clock, at: int) -> None:
    clock.run(MS)
    clock.set(at)
    assert clock.domain.pending_ports() == []
    assert clock.run(SECOND) == [(0, 101 * MS)]


def test_a_time_just_below_that_is_not(clock: Clock) -> None:
    clock.run(MS)
    clock.set(MS + FAR - 1)
    assert clock.run(HOUR) == []


def test_each_virtual_cpu_has_its_own(clock: Clock) -> None:
    clock.set(2000, vcpu=0)
    clock.set(1000, vcpu=1)
    assert clock.run(SECOND) == [(1, 1000), (0, 2000)]


def test_a_timer_that_nobody_hears_is_lost(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.set_timer_op(1000)
    xen_machine.run_for(0.001)
    xen_domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    assert xen_domain.pending_ports() == []


def test_it_wakes_who_is_blocked(clock: Clock) -> None:
    clock.domain.hypercall.sched_op.block()
    clock.domain.hypercall.set_timer_op(7 * MS)  # who calls runs
    clock.domain.hypercall.sched_op.block()
    assert clock.run(10 * MS) == [(0, 7 * MS)]
    times = clock.op[1].get_runstate_info(vcpuid=0).time
    assert times[RunState.blocked] == 7 * MS


def test_it_rings_for_a_paused_domain(clock: Clock) -> None:
    clock.set(1000)
    clock.domain.pause()
    assert clock.run(MS) == []
    assert len(clock.domain.pending_ports()) == 1
    clock.domain.unpause()
    assert clock.run(0) == [(0, MS)]


def test_a_destroyed_domain_has_no_timers(xen_machine: Machine, clock: Clock) -> None:
    clock.set(1000)
    clock.domain.destroy()
    xen_machine.run_for(1)
    assert clock.rang == []


# vcpu_op set_singleshot_timer, stop_singleshot_timer


@pytest.mark.parametrize("flags", [0, 1, 0xFFFF_FFFF])
def test_a_single_shot_is_the_same_timer(clock: Clock, flags: int) -> None:
    clock.set(1000)
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=2000, flags=flags)
    assert clock.run(MS) == [(0, 2000)]
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=3 * MS, flags=flags)
    clock.set(0)
    assert clock.run(10 * MS) == []


@pytest.mark.parametrize("at", [0, 1, 5 * MS - 1, 5 * MS, 1 << 63, U64_MAX])
@pytest.mark.parametrize("flags", [0, 1])
def test_a_single_shot_that_has_passed_or_is_negative_rings_at_once(
    clock: Clock, at: int, flags: int
) -> None:
    clock.set(7 * MS)
    clock.run(5 * MS)
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=at, flags=flags)
    assert clock.run(SECOND) == [(0, 5 * MS)]


def test_a_far_single_shot_is_far(clock: Clock) -> None:
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=FAR + HOUR)
    assert clock.run(SECOND) == []
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=HOUR)
    assert clock.run(HOUR) == [(0, HOUR)]


def test_a_single_shot_can_be_stopped(clock: Clock) -> None:
    clock.op[0].set_singleshot_timer(vcpuid=0, timeout_abs_ns=MS)
    for _ in range(2):
        clock.op[0].stop_singleshot_timer(vcpuid=0)
    assert clock.run(SECOND) == []


def test_only_the_caller_has_a_single_shot(xen_machine: Machine, clock: Clock) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        clock.op[0].set_singleshot_timer(vcpuid=1, timeout_abs_ns=0)
    clock.set(MS, vcpu=1)
    with refused_without_effect(xen_machine, EINVAL):
        clock.op[0].stop_singleshot_timer(vcpuid=1)
    assert clock.run(2 * MS) == [(1, MS)]


# vcpu_op set_periodic_timer, stop_periodic_timer


def test_without_a_word_it_is_10_ms(xen_machine: Machine, xen_domain: Domain) -> None:
    rang: list[int] = []
    port = xen_domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    xen_domain.on_event(port, lambda _: rang.append(xen_machine.now_ns))
    xen_machine.run_for(0.035)
    assert rang == [10 * MS, 20 * MS, 30 * MS]


@pytest.mark.parametrize("caller", [0, 1])
def test_any_virtual_cpu_sets_the_period_of_any(clock: Clock, caller: int) -> None:
    clock.op[caller].set_periodic_timer(vcpuid=1, period_ns=2 * MS)
    assert clock.run(7 * MS) == [(1, 2 * MS), (1, 4 * MS), (1, 6 * MS)]
    clock.op[caller].stop_periodic_timer(vcpuid=1)
    assert clock.run(7 * MS) == []


@pytest.mark.parametrize("period", [0, 1, MS - 1, MAX_PERIOD + 1, 1 << 63, U64_MAX])
def test_a_period_is_a_millisecond_at_least_and_not_absurd(
    xen_machine: Machine, clock: Clock, period: int
) -> None:
    clock.op[0].set_periodic_timer(vcpuid=0, period_ns=5 * MS)
    with refused_without_effect(xen_machine, EINVAL):
        clock.op[0].set_periodic_timer(vcpuid=0, period_ns=period)
    assert clock.run(12 * MS) == [(0, 5 * MS), (0, 10 * MS)]


@pytest.mark.parametrize("period", [MS, MAX_PERIOD])
def test_the_shortest_and_the_longest_period(clock: Clock, period: int) -> None:
    clock.op[0].set_periodic_timer(vcpuid=0, period_ns=period)
    assert len(clock.run(5 * MS)) == (5 if period == MS else 0)


def test_who_is_blocked_has_no_ticks_and_one_afterwards(clock: Clock) -> None:
    clock.op[0].set_periodic_timer(vcpuid=0, period_ns=MS)
    clock.domain.hypercall.sched_op.block()
    assert clock.run(10 * MS) == []
    clock.domain.hypercall.sched_op.yield_()
    assert clock.run(0) == [(0, 10 * MS)]
    assert clock.run(2 * MS) == [(0, 11 * MS), (0, 12 * MS)]


def test_both_timers_ring(clock: Clock) -> None:
    clock.op[0].set_periodic_timer(vcpuid=0, period_ns=3 * MS)
    clock.set(5 * MS)
    assert clock.run(7 * MS) == [(0, 3 * MS), (0, 5 * MS), (0, 6 * MS)]


def test_raw_registers(clock: Clock) -> None:
    """Of the call's registers only the first counts; all its 64 bits do."""
    assert clock.domain.hypercall.raw(15, 1 << 32, U64_MAX, U64_MAX) == 0
    assert clock.run(1 << 32) == [(0, 1 << 32)]
    arg = structs.vcpu.vcpu_set_singleshot_timer(timeout_abs_ns=(1 << 32) + MS)
    with unchanged(clock.machine):
        assert clock.op[0](VcpuOp.set_singleshot_timer, 0, arg) == 0
    assert clock.run(MS) == [(0, (1 << 32) + MS)]
