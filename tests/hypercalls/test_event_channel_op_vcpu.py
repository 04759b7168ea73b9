"""event_channel_op: bind_virq, bind_ipi, bind_pirq, bind_vcpu, unmask."""

from __future__ import annotations

from errno import EEXIST, EINVAL, ENOENT, ENOSPC, EPERM

import pytest
from hypercalls.support import MS, is_pending, mask, refused_without_effect, unchanged

from xenemu import Domain, Machine
from xenemu.xen import EvtchnStat, Shutdown, Virq

GLOBAL = [n for n in range(24) if n not in (0, 1, 7, 13)]
PER_VCPU = [0, 1, 7, 13]  # TIMER, DEBUG, XENOPROF, XENPMU
NO_VCPU = pytest.mark.parametrize("vcpu", [2, 128, 8192, 0xFFFF_FFFF])


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    """With two virtual CPUs."""
    return xen_machine.create_domain(vcpus=2)


def told(domain: Domain) -> list[tuple[int, int]]:
    """upcall_pending and pending_sel of each of two virtual CPUs."""
    cpus = domain.shared_info.vcpu_info[:2]
    return [(c.evtchn_upcall_pending, c.evtchn_pending_sel) for c in cpus]


# bind_virq


@pytest.mark.parametrize("virq", range(24))
def test_each_virq_can_be_bound_once_and_again_after_a_close(
    xen_machine: Machine, guest: Domain, virq: int
) -> None:
    op = guest.hypercall.event_channel_op
    port = op.bind_virq(virq=virq)
    assert (op.status(port=port).status, op.status(port=port).virq) == (EvtchnStat.virq, virq)
    with refused_without_effect(xen_machine, EEXIST):
        op.bind_virq(virq=virq)
    op.close(port=port)
    assert op.bind_virq(virq=virq) == port


@pytest.mark.parametrize("virq", PER_VCPU)
def test_a_virq_of_one_virtual_cpu_is_bound_on_each(guest: Domain, virq: int) -> None:
    op = guest.hypercall.event_channel_op
    ports = [op.bind_virq(virq=virq, vcpu=n) for n in (1, 0)]
    assert ports == [1, 2]
    assert [op.status(port=p).vcpu for p in ports] == [1, 0]


@pytest.mark.parametrize("virq", GLOBAL)
def test_a_global_virq_is_bound_on_the_first_virtual_cpu_only(
    xen_machine: Machine, guest: Domain, virq: int
) -> None:
    for vcpu in (1, 99):
        with refused_without_effect(xen_machine, EINVAL):
            guest.hypercall.event_channel_op.bind_virq(virq=virq, vcpu=vcpu)


@pytest.mark.parametrize("virq", [24, 255, 256, 1 << 31, 0xFFFF_FFFF])
def test_no_such_virq(xen_machine: Machine, guest: Domain, virq: int) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.event_channel_op.bind_virq(virq=virq)


@NO_VCPU
def test_no_virq_for_an_absent_virtual_cpu(xen_machine: Machine, guest: Domain, vcpu: int) -> None:
    with refused_without_effect(xen_machine, ENOENT):
        guest.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER, vcpu=vcpu)


def test_a_virq_is_bound_already_before_a_port_is_looked_for(
    xen_machine: Machine, guest: Domain
) -> None:
    op = guest.hypercall.event_channel_op
    op.bind_virq(virq=Virq.TIMER)
    while (port := op.bind_ipi(vcpu=0)) != 4095:
        assert port < 4095
    with refused_without_effect(xen_machine, EEXIST):
        op.bind_virq(virq=Virq.TIMER)
    with refused_without_effect(xen_machine, ENOSPC):
        op.bind_virq(virq=Virq.DOM_EXC)
    with refused_without_effect(xen_machine, ENOSPC):
        op.bind_ipi(vcpu=0)


def test_a_virq_is_raised_for_its_virtual_cpu(xen_machine: Machine, guest: Domain) -> None:
    port = guest.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    guest.hypercall.set_timer_op(5 * MS)
    xen_machine.run_for(0.005)
    assert guest.pending_ports() == [port]
    assert told(guest) == [(1, 1), (0, 0)]


def test_a_global_virq_is_raised_where_its_port_was_bound_to(
    xen_machine: Machine, guest: Domain
) -> None:
    control = xen_machine.create_domain(privileged=True, vcpus=2)
    op = xen_machine.control.hypercall.event_channel_op
    port = op.bind_virq(virq=Virq.DOM_EXC)
    other = control.hypercall.event_channel_op.bind_virq(virq=Virq.DOM_EXC)
    guest.hypercall.sched_op.shutdown(reason=Shutdown.poweroff)
    assert is_pending(xen_machine.control, port)
    assert not is_pending(control, other)  # domain 0 alone is told


def test_no_event_is_sent_on_a_virq(xen_machine: Machine, guest: Domain) -> None:
    op = guest.hypercall.event_channel_op
    port = op.bind_virq(virq=Virq.TIMER)
    with refused_without_effect(xen_machine, EINVAL):
        op.send(port=port)


# bind_ipi


@pytest.mark.parametrize("vcpu", [0, 1])
def test_an_ipi_is_told_to_its_virtual_cpu_alone(guest: Domain, vcpu: int) -> None:
    op = guest.hypercall.event_channel_op
    port = op.bind_ipi(vcpu=vcpu)
    status = op.status(port=port)
    assert (status.status, status.vcpu) == (EvtchnStat.ipi, vcpu)
    assert told(guest) == [(0, 0), (0, 0)]
    op.send(port=port)
    assert guest.pending_ports() == [port]
    assert told(guest)[vcpu] == (1, 1)
    assert told(guest)[1 - vcpu] == (0, 0)


@NO_VCPU
def test_no_ipi_to_an_absent_virtual_cpu(xen_machine: Machine, guest: Domain, vcpu: int) -> None:
    with refused_without_effect(xen_machine, ENOENT):
        guest.hypercall.event_channel_op.bind_ipi(vcpu=vcpu)


# bind_pirq


@pytest.mark.parametrize(
    ("pirq", "code"), [(0, EPERM), (16, EPERM), (1 << 16, EINVAL), (0xFFFF_FFFF, EINVAL)]
)
def test_no_guest_has_a_physical_interrupt(
    xen_machine: Machine, guest: Domain, pirq: int, code: int
) -> None:
    for flags in (0, 1, 0xFFFF_FFFF):
        with refused_without_effect(xen_machine, code):
            guest.hypercall.event_channel_op.bind_pirq(pirq=pirq, flags=flags)


# bind_vcpu


def test_an_event_is_told_to_the_virtual_cpu_that_the_port_was_bound_to(
    xen_domain: Domain, guest: Domain
) -> None:
    op = guest.hypercall.event_channel_op
    port = op.alloc_unbound(remote_dom=xen_domain.id)
    op.bind_vcpu(port=port, vcpu=1)
    local = xen_domain.hypercall.event_channel_op.bind_interdomain(
        remote_dom=guest.id, remote_port=port
    )
    assert op.status(port=port).vcpu == 1
    xen_domain.hypercall.event_channel_op.send(port=local)
    assert told(guest) == [(0, 0), (1, 1)]
    op.bind_vcpu(port=port, vcpu=0)
    assert told(guest) == [(0, 0), (1, 1)]  # only later events
    assert guest.take_event() == port
    xen_domain.hypercall.event_channel_op.send(port=local)
    assert told(guest)[0] == (1, 1)


def test_a_global_virq_may_change_its_virtual_cpu(guest: Domain) -> None:
    op = guest.hypercall.event_channel_op
    port = op.bind_virq(virq=Virq.DOM_EXC)
    op.bind_vcpu(port=port, vcpu=1)
    assert op.status(port=port).vcpu == 1
    op.close(port=port)
    assert op.bind_virq(virq=Virq.DOM_EXC) == port
    assert op.status(port=port).vcpu == 0


@pytest.mark.parametrize("port", [1, 2, 3, 0, 64, 4096, 0xFFFF_FFFF])
def test_a_port_that_has_its_virtual_cpu_keeps_it(
    xen_machine: Machine, guest: Domain, port: int
) -> None:
    op = guest.hypercall.event_channel_op
    assert (op.bind_ipi(vcpu=0), op.bind_virq(virq=Virq.TIMER)) == (1, 2)  # and 3 is free
    for vcpu in (0, 1):
        with refused_without_effect(xen_machine, EINVAL):
            op.bind_vcpu(port=port, vcpu=vcpu)


@NO_VCPU
def test_no_port_is_bound_to_an_absent_virtual_cpu(
    xen_machine: Machine, guest: Domain, vcpu: int
) -> None:
    op = guest.hypercall.event_channel_op
    for port in (op.alloc_unbound(remote_dom=0), 4096):
        with refused_without_effect(xen_machine, ENOENT):
            op.bind_vcpu(port=port, vcpu=vcpu)


# unmask


def test_unmasking_makes_the_upcall_that_was_held_back(guest: Domain) -> None:
    op = guest.hypercall.event_channel_op
    port = op.bind_ipi(vcpu=1)
    mask(guest, port)
    op.send(port=port)
    assert told(guest) == [(0, 0), (0, 0)]
    op.unmask(port=port)
    assert guest.pending_ports() == [port]
    assert told(guest) == [(0, 0), (1, 1)]


def test_unmasking_without_an_event_makes_none(guest: Domain) -> None:
    port = guest.hypercall.event_channel_op.bind_ipi(vcpu=0)
    mask(guest, port)
    guest.hypercall.event_channel_op.unmask(port=port)
    assert (guest.pending_ports(), told(guest)) == ([], [(0, 0), (0, 0)])
    assert not any(guest.shared_info.evtchn_mask)


def test_unmasking_what_is_not_masked_changes_nothing(xen_machine: Machine, guest: Domain) -> None:
    port = guest.hypercall.event_channel_op.bind_ipi(vcpu=0)
    with unchanged(xen_machine):
        guest.hypercall.event_channel_op.unmask(port=port)


@pytest.mark.parametrize("port", [0, 7, 63])
def test_a_free_port_stays_masked(xen_machine: Machine, guest: Domain, port: int) -> None:
    mask(guest, port)
    with unchanged(xen_machine):
        guest.hypercall.event_channel_op.unmask(port=port)


@pytest.mark.parametrize("port", [64, 4095, 4096, 0xFFFF_FFFF])
def test_no_port_out_of_range_is_unmasked(xen_machine: Machine, guest: Domain, port: int) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        guest.hypercall.event_channel_op.unmask(port=port)
