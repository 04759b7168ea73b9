"""sched_op poll."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EFAULT, EINVAL

import pytest
from hypercalls.support import (
    MS,
    NOT_CANONICAL,
    UNMAPPED,
    XEN_VA,
    bring_up,
    mask,
    mask_upcalls,
    placed,
    refused_without_effect,
    straddling,
)

from xenemu import Machine
from xenemu._abi import SchedOp
from xenemu.xen import RunState, structs

poll_arg = structs.sched.sched_poll


class Poller:
    """A domain of two virtual CPUs; the first polls on `ports`, two IPIs to it; the other sends."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.domain = machine.create_domain(vcpus=2)
        bring_up(self.domain, 1)
        mask_upcalls(self.domain, on=False)
        bind = self.domain.hypercall.event_channel_op.bind_ipi
        self.ports = [bind(vcpu=0), bind(vcpu=0)]
        for port in self.ports:
            mask(self.domain, port)  # as who polls does: no upcalls

    def poll(self, ports: Sequence[int], timeout: int = 0) -> None:
        self.domain.hypercall.sched_op.poll(ports=ports, timeout=timeout)

    def poll_at(self, at: int, n: int, timeout: int = 0) -> int:
        """Of n ports that lie at an address."""
        arg = poll_arg(ports=at, nr_ports=n, timeout=timeout)
        return self.domain.hypercall.sched_op(SchedOp.poll, arg)

    def send(self, port: int) -> None:
        self.domain.vcpu(1).hypercall.event_channel_op.send(port=port)

    @property
    def waits(self) -> bool:
        control = self.machine.control.hypercall
        return bool(control.domctl.getvcpuinfo(domain=self.domain.id, vcpu=0).blocked)


@pytest.fixture
def poller(xen_machine: Machine) -> Poller:
    return Poller(xen_machine)


def words(*ports: int) -> bytes:
    return b"".join(port.to_bytes(4, "little") for port in ports)


def test_an_event_on_the_port_ends_it_although_that_is_masked(poller: Poller) -> None:
    poller.poll(poller.ports[:1])
    assert poller.waits
    poller.send(poller.ports[0])
    assert not poller.waits
    assert poller.domain.shared_info.vcpu_info[0].evtchn_upcall_pending == 0


def test_an_event_on_another_port_does_not(poller: Poller) -> None:
    poller.poll(poller.ports[:1])
    poller.send(poller.ports[1])
    assert poller.waits


def test_an_upcall_does_whatever_its_port(poller: Poller) -> None:
    mask(poller.domain, poller.ports[1], on=False)
    poller.poll(poller.ports[:1])
    poller.send(poller.ports[1])
    assert not poller.waits


def test_of_several_ports_any_event_of_the_domain_ends_it(poller: Poller) -> None:
    third = poller.domain.hypercall.event_channel_op.bind_ipi(vcpu=1)
    poller.poll(poller.ports)
    poller.send(third)
    assert not poller.waits


def test_a_pending_port_needs_no_waiting(poller: Poller) -> None:
    poller.send(poller.ports[1])
    poller.poll(poller.ports)
    assert not poller.waits


def test_an_upcall_that_is_due_needs_none_unless_it_is_masked(poller: Poller) -> None:
    mask(poller.domain, poller.ports[1], on=False)
    poller.send(poller.ports[1])
    poller.poll(poller.ports[:1])
    assert not poller.waits
    mask_upcalls(poller.domain)
    poller.poll(poller.ports[:1])
    assert poller.waits
    assert poller.domain.shared_info.vcpu_info[0].evtchn_upcall_mask == 1


def test_the_timeout_ends_it_to_the_nanosecond(xen_machine: Machine, poller: Poller) -> None:
    poller.poll(poller.ports, timeout=50 * MS)
    xen_machine.run_for(0.049999999)
    assert poller.waits
    xen_machine.run_for(0.000000001)
    assert not poller.waits
    times = poller.domain.hypercall.vcpu_op.get_runstate_info(vcpuid=0).time
    assert times[RunState.blocked] == 50 * MS


def test_without_a_timeout_it_waits_for_ever(xen_machine: Machine, poller: Poller) -> None:
    poller.poll(poller.ports)
    xen_machine.run_for(3600)
    assert poller.waits


@pytest.mark.parametrize("timeout", [1, 5 * MS, 1 << 63, (1 << 64) - 1])
def test_a_time_that_has_passed_or_is_negative_needs_no_waiting(
    xen_machine: Machine, poller: Poller, timeout: int
) -> None:
    xen_machine.run_for(0.005)
    poller.poll(poller.ports, timeout=timeout)
    assert not poller.waits


def test_no_ports_at_all_is_a_sleep(xen_machine: Machine, poller: Poller) -> None:
    assert poller.poll_at(0, 0, timeout=5 * MS) == 0
    assert poller.waits
    xen_machine.run_for(0.005)
    assert not poller.waits


def test_a_poll_that_has_ended_leaves_no_timer(xen_machine: Machine, poller: Poller) -> None:
    poller.poll(poller.ports, timeout=5 * MS)
    poller.send(poller.ports[0])
    poller.domain.take_event()
    poller.domain.hypercall.sched_op.block()
    xen_machine.run_for(1)
    assert poller.waits


def test_128_ports_can_be_polled(poller: Poller) -> None:
    poller.send(poller.ports[1])
    poller.poll([poller.ports[0]] * 127 + [poller.ports[1]])
    assert not poller.waits


@pytest.mark.parametrize("count", [129, 4096, 1 << 31, 0xFFFF_FFFF])
@pytest.mark.parametrize("at", [UNMAPPED, XEN_VA, 0])
def test_no_more_ports_and_they_are_not_looked_at(
    xen_machine: Machine, poller: Poller, count: int, at: int
) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        poller.poll_at(at, count)
    assert not poller.waits


@pytest.mark.parametrize("port", [0, 3, 63, 64, 4095, 4096, 0xFFFF_FFFF])
def test_each_port_must_be_there(xen_machine: Machine, poller: Poller, port: int) -> None:
    for ports in ([port], [poller.ports[0], port]):
        with refused_without_effect(xen_machine, EINVAL):
            poller.poll(ports, timeout=1)
        assert not poller.waits


def test_what_is_pending_is_found_before_what_is_wrong(poller: Poller) -> None:
    poller.send(poller.ports[0])
    poller.poll([poller.ports[0], 4096])
    at = straddling(poller.domain, words(poller.ports[0], 1), mapped=False, first=4)
    assert poller.poll_at(at, 2) == 0


def test_an_upcall_is_found_before_the_ports_are_read(poller: Poller) -> None:
    mask(poller.domain, poller.ports[1], on=False)
    poller.send(poller.ports[1])
    assert poller.poll_at(UNMAPPED, 1) == 0
    with refused_without_effect(poller.machine, EFAULT):
        poller.poll_at(XEN_VA, 1)  # what can be no guest's is looked at first


@pytest.mark.parametrize("at", [UNMAPPED, XEN_VA, NOT_CANONICAL, 0], ids=hex)
def test_the_ports_must_be_readable(xen_machine: Machine, poller: Poller, at: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        poller.poll_at(at, 1)
    assert not poller.waits


@pytest.mark.parametrize("at", [XEN_VA, NOT_CANONICAL], ids=hex)
def test_no_ports_in_xens_memory_is_a_fault(xen_machine: Machine, poller: Poller, at: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        poller.poll_at(at, 0)


def test_ports_across_two_pages(xen_machine: Machine, poller: Poller) -> None:
    listed = words(*poller.ports)
    poller.poll_at(straddling(poller.domain, listed, first=6), 2)
    assert poller.waits
    poller.send(poller.ports[1])
    for first in (4, 6):
        at = straddling(poller.domain, words(poller.ports[0], 1), mapped=False, first=first)
        with refused_without_effect(xen_machine, EFAULT):
            poller.poll_at(at, 2)


def test_closing_the_port_does_not_end_it(poller: Poller) -> None:
    poller.poll(poller.ports[:1])
    poller.domain.vcpu(1).hypercall.event_channel_op.close(port=poller.ports[0])
    assert poller.waits


def test_both_virtual_cpus_may_poll_on_one_port(xen_machine: Machine, poller: Poller) -> None:
    local = poller.domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
    mask(poller.domain, local)
    control = xen_machine.control.hypercall.event_channel_op
    port = control.bind_interdomain(remote_dom=poller.domain.id, remote_port=local)
    at = placed(poller.domain, words(local))
    arg = poll_arg(ports=at, nr_ports=1)
    for vcpu in (0, 1):
        poller.domain.vcpu(vcpu).hypercall.sched_op(SchedOp.poll, arg)
    state = xen_machine.control.hypercall.domctl.getvcpuinfo
    assert [state(domain=poller.domain.id, vcpu=n).blocked for n in (0, 1)] == [True, True]
    control.send(port=port)
    assert [state(domain=poller.domain.id, vcpu=n).blocked for n in (0, 1)] == [False, False]
