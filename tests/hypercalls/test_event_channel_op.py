"""event_channel_op: alloc_unbound, bind_interdomain, send, close, status."""

from __future__ import annotations

from errno import EINVAL, ENOSPC, EPERM, ESRCH

import pytest
from hypercalls.support import (
    ABSENT,
    ABSENT_DOMIDS,
    is_pending,
    mask,
    ports_of,
    refused_without_effect,
    unchanged,
)

from xenemu import Domain, Machine
from xenemu.xen import DOMID_SELF, EvtchnStat, Virq

PORTS = 4096
OUT_OF_RANGE = pytest.mark.parametrize("port", [64, PORTS, 1 << 31, 0xFFFF_FFFF], ids=hex)


@pytest.fixture
def peer(xen_machine: Machine) -> Domain:
    return xen_machine.create_domain()


@pytest.fixture
def ends(xen_domain: Domain, peer: Domain) -> tuple[int, int]:
    """A channel between xen_domain and peer, with nothing pending."""
    port = xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=peer.id)
    local = peer.hypercall.event_channel_op.bind_interdomain(
        remote_dom=xen_domain.id, remote_port=port
    )
    assert peer.take_event() == local
    return port, local


def fill(domain: Domain) -> None:
    """Takes all its ports."""
    alloc = domain.hypercall.event_channel_op.alloc_unbound
    assert [alloc(remote_dom=0) for _ in range(1, PORTS)] == list(range(1, PORTS))


# alloc_unbound


def test_the_lowest_free_port_is_allocated(xen_domain: Domain) -> None:
    op = xen_domain.hypercall.event_channel_op
    assert [op.alloc_unbound(remote_dom=0) for _ in range(70)] == list(range(1, 71))
    for port in (68, 3, 40):
        op.close(port=port)
    assert [op.alloc_unbound(remote_dom=0) for _ in range(4)] == [3, 40, 68, 71]


@pytest.mark.parametrize("remote", [0, ABSENT, 0xFFFF], ids=["control", "absent", "no-domid"])
def test_an_unbound_port_waits_for_whomever_it_names(xen_domain: Domain, remote: int) -> None:
    op = xen_domain.hypercall.event_channel_op
    status = op.status(port=op.alloc_unbound(remote_dom=remote))
    assert (status.status, status.dom, status.vcpu) == (EvtchnStat.unbound, remote, 0)


def test_self_is_the_caller_also_for_another_domain(
    xen_control: Domain, xen_domain: Domain
) -> None:
    op = xen_control.hypercall.event_channel_op
    port = op.alloc_unbound(dom=xen_domain.id, remote_dom=DOMID_SELF)
    assert xen_domain.hypercall.event_channel_op.status(port=port).dom == 0


def test_a_domain_may_name_itself_by_its_id(xen_domain: Domain) -> None:
    op = xen_domain.hypercall.event_channel_op
    assert op.alloc_unbound(dom=xen_domain.id, remote_dom=DOMID_SELF) == 1
    assert op.status(dom=xen_domain.id, port=1).dom == xen_domain.id


@ABSENT_DOMIDS
def test_no_port_in_an_absent_domain(xen_machine: Machine, absent: int) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        xen_machine.control.hypercall.event_channel_op.alloc_unbound(dom=absent, remote_dom=0)


def test_no_port_in_another_domain_for_the_unprivileged(
    xen_machine: Machine, xen_domain: Domain, peer: Domain
) -> None:
    with refused_without_effect(xen_machine, EPERM):
        xen_domain.hypercall.event_channel_op.alloc_unbound(dom=peer.id, remote_dom=0)


def test_no_port_in_a_full_domain_is_found_before_a_lack_of_rights(
    xen_machine: Machine, xen_domain: Domain, peer: Domain
) -> None:
    fill(peer)
    for caller in (peer, xen_machine.control, xen_domain):
        with refused_without_effect(xen_machine, ENOSPC):
            caller.hypercall.event_channel_op.alloc_unbound(dom=peer.id, remote_dom=0)


def test_a_domain_has_no_more_ports_than_it_was_created_for(xen_machine: Machine) -> None:
    hypercall = xen_machine.control.hypercall
    domid = hypercall.domctl.createdomain(max_evtchn_port=3)
    op = hypercall.event_channel_op
    ports = [op.alloc_unbound(dom=domid, remote_dom=0) for _ in range(3)]
    assert ports == [1, 2, 3]
    with refused_without_effect(xen_machine, ENOSPC):
        op.alloc_unbound(dom=domid, remote_dom=0)


def test_no_port_in_a_dying_domain(
    xen_machine: Machine, xen_domain: Domain, zombie: Domain
) -> None:
    for caller in (xen_machine.control, xen_domain):
        with refused_without_effect(xen_machine, EINVAL):
            caller.hypercall.event_channel_op.alloc_unbound(dom=zombie.id, remote_dom=0)


# bind_interdomain


def test_binding_connects_both_ends(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    port, local = ends
    status = xen_domain.hypercall.event_channel_op.status(port=port)
    assert (status.status, status.dom, status.port) == (EvtchnStat.interdomain, peer.id, local)
    status = peer.hypercall.event_channel_op.status(port=local)
    assert (status.status, status.dom, status.port) == (
        EvtchnStat.interdomain,
        xen_domain.id,
        port,
    )


def test_binding_makes_the_local_end_pending_and_not_the_remote(
    xen_domain: Domain, peer: Domain
) -> None:
    port = xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=peer.id)
    xen_domain.hypercall.event_channel_op.send(port=port)  # dropped
    local = peer.hypercall.event_channel_op.bind_interdomain(
        remote_dom=xen_domain.id, remote_port=port
    )
    info = peer.shared_info
    assert is_pending(peer, local)
    assert not any(xen_domain.shared_info.evtchn_pending)
    assert info.vcpu_info[0].evtchn_upcall_pending == 1
    assert info.vcpu_info[0].evtchn_pending_sel == 1


@pytest.mark.parametrize("by_id", [False, True], ids=["self", "id"])
def test_a_domain_connects_to_itself(xen_domain: Domain, by_id: bool) -> None:
    op = xen_domain.hypercall.event_channel_op
    port = op.alloc_unbound(remote_dom=DOMID_SELF)
    local = op.bind_interdomain(remote_dom=xen_domain.id if by_id else DOMID_SELF, remote_port=port)
    assert xen_domain.take_event() == local
    op.send(port=local)
    assert xen_domain.pending_ports() == [port]
    op.close(port=port)
    assert op.status(port=local).status == EvtchnStat.unbound
    assert op.status(port=local).dom == xen_domain.id


@pytest.mark.parametrize(
    ("remote_port", "why"),
    [
        (1, "meant for another"),
        (2, "bound"),
        (3, "virq"),
        (4, "ipi"),
        (5, "free"),
        (0, "reserved"),
        (64, "not there yet"),
        (PORTS, "beyond all"),
        (0xFFFF_FFFF, "beyond all"),
    ],
)
def test_only_an_unbound_port_that_waits_for_the_caller_can_be_bound_to(
    xen_machine: Machine, xen_domain: Domain, peer: Domain, remote_port: int, why: str
) -> None:
    op = xen_domain.hypercall.event_channel_op
    assert op.alloc_unbound(remote_dom=0) == 1
    assert op.alloc_unbound(remote_dom=peer.id) == 2
    bind = peer.hypercall.event_channel_op.bind_interdomain
    bind(remote_dom=xen_domain.id, remote_port=2)
    assert (op.bind_virq(virq=Virq.TIMER), op.bind_ipi(vcpu=0)) == (3, 4)
    with refused_without_effect(xen_machine, EINVAL):
        bind(remote_dom=xen_domain.id, remote_port=remote_port)


@ABSENT_DOMIDS
def test_no_binding_to_an_absent_domain(
    xen_machine: Machine, xen_domain: Domain, absent: int
) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        xen_domain.hypercall.event_channel_op.bind_interdomain(remote_dom=absent, remote_port=1)


def test_no_binding_to_a_dying_domain(
    xen_machine: Machine, xen_domain: Domain, zombie: Domain
) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.bind_interdomain(remote_dom=zombie.id, remote_port=1)


def test_a_full_domain_can_not_bind(xen_machine: Machine, xen_domain: Domain, peer: Domain) -> None:
    port = peer.hypercall.event_channel_op.alloc_unbound(remote_dom=xen_domain.id)
    fill(xen_domain)
    with refused_without_effect(xen_machine, ENOSPC):
        xen_domain.hypercall.event_channel_op.bind_interdomain(remote_dom=peer.id, remote_port=port)


# send


def test_an_event_reaches_the_other_end_only(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    port, local = ends
    peer.hypercall.event_channel_op.send(port=local)
    assert (xen_domain.pending_ports(), peer.pending_ports()) == ([port], [])
    info = xen_domain.shared_info.vcpu_info[0]
    assert (info.evtchn_upcall_pending, info.evtchn_pending_sel) == (1, 1)


def test_the_second_event_adds_nothing(
    xen_machine: Machine, peer: Domain, ends: tuple[int, int]
) -> None:
    peer.hypercall.event_channel_op.send(port=ends[1])
    with unchanged(xen_machine):
        peer.hypercall.event_channel_op.send(port=ends[1])


def test_a_masked_port_becomes_pending_without_an_upcall(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    mask(xen_domain, ends[0])
    peer.hypercall.event_channel_op.send(port=ends[1])
    info = xen_domain.shared_info.vcpu_info[0]
    assert is_pending(xen_domain, ends[0])
    assert xen_domain.pending_ports() == []
    assert (info.evtchn_upcall_pending, info.evtchn_pending_sel) == (0, 0)


def test_an_event_to_a_paused_domain_waits_for_it(
    xen_machine: Machine, xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    got: list[int] = []
    xen_domain.on_event(ends[0], got.append)
    xen_domain.pause()
    peer.hypercall.event_channel_op.send(port=ends[1])
    xen_machine.run_for(1)
    assert (xen_domain.pending_ports(), got) == ([ends[0]], [])
    xen_domain.unpause()
    xen_machine.run_for(0)
    assert got == [ends[0]]


def test_an_event_on_an_unbound_port_is_dropped(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.event_channel_op
    port = op.alloc_unbound(remote_dom=0)
    with unchanged(xen_machine):
        op.send(port=port)


@pytest.mark.parametrize("port", [0, 2, 64, PORTS, 0xFFFF_FFFF])
def test_no_event_on_a_port_that_is_free_or_out_of_range(
    xen_machine: Machine, xen_domain: Domain, port: int
) -> None:
    xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.send(port=port)


# close


def test_closing_frees_the_port_and_leaves_the_other_end_unbound(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    peer.hypercall.event_channel_op.close(port=ends[1])
    op = xen_domain.hypercall.event_channel_op
    assert peer.hypercall.event_channel_op.status(port=ends[1]).status == EvtchnStat.closed
    status = op.status(port=ends[0])
    assert (status.status, status.dom) == (EvtchnStat.unbound, peer.id)
    again = peer.hypercall.event_channel_op.bind_interdomain(
        remote_dom=xen_domain.id, remote_port=ends[0]
    )
    assert op.status(port=ends[0]).port == again


def test_closing_clears_the_pending_bit_and_no_more(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    mask(xen_domain, ends[0])
    peer.hypercall.event_channel_op.send(port=ends[1])
    xen_domain.hypercall.event_channel_op.close(port=ends[0])
    assert not is_pending(xen_domain, ends[0])
    assert xen_domain.shared_info.evtchn_mask[0] >> ends[0] & 1


def test_closing_one_end_leaves_an_event_pending_at_the_other(
    xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    peer.hypercall.event_channel_op.send(port=ends[1])
    peer.hypercall.event_channel_op.close(port=ends[1])
    assert xen_domain.pending_ports() == [ends[0]]


def test_a_closed_port_forgets_its_virtual_cpu(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    op = domain.hypercall.event_channel_op
    op.bind_vcpu(port=op.alloc_unbound(remote_dom=0), vcpu=1)
    op.close(port=1)
    assert op.status(port=1).vcpu == 0


@OUT_OF_RANGE
def test_no_port_out_of_range_can_be_closed(
    xen_machine: Machine, xen_domain: Domain, port: int
) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.close(port=port)


@pytest.mark.parametrize("port", [0, 1])
def test_no_free_port_can_be_closed(xen_machine: Machine, xen_domain: Domain, port: int) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.close(port=port)


def test_a_destroyed_domain_leaves_its_channels_unbound(
    xen_machine: Machine, xen_domain: Domain, peer: Domain, ends: tuple[int, int]
) -> None:
    gone = peer.id
    peer.destroy()
    status = xen_domain.hypercall.event_channel_op.status(port=ends[0])
    assert (status.status, status.dom) == (EvtchnStat.unbound, gone)
    with unchanged(xen_machine):
        xen_domain.hypercall.event_channel_op.send(port=ends[0])


# status


def test_the_status_of_each_kind_of_port(xen_domain: Domain, ends: tuple[int, int]) -> None:
    op = xen_domain.hypercall.event_channel_op
    op.alloc_unbound(remote_dom=0)
    op.bind_virq(virq=Virq.DOM_EXC)
    op.bind_ipi(vcpu=0)
    kinds = [op.status(port=port).status.name for port in range(6)]
    assert kinds == ["closed", "interdomain", "unbound", "virq", "ipi", "closed"]
    assert op.status(port=3).virq == Virq.DOM_EXC


def test_the_control_domain_sees_all_ports_of_others(
    xen_machine: Machine, xen_domain: Domain, ends: tuple[int, int]
) -> None:
    own = [xen_domain.hypercall.event_channel_op.status(port=p) for p in range(64)]
    assert ports_of(xen_machine, xen_domain) == own


def test_the_status_of_a_dying_domain_is_closed(xen_machine: Machine, zombie: Domain) -> None:
    assert {s.status for s in ports_of(xen_machine, zombie)} == {EvtchnStat.closed}


@OUT_OF_RANGE
def test_no_status_of_a_port_out_of_range(
    xen_machine: Machine, xen_domain: Domain, port: int
) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.status(port=port)


@ABSENT_DOMIDS
def test_no_status_in_an_absent_domain(xen_machine: Machine, absent: int) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        xen_machine.control.hypercall.event_channel_op.status(dom=absent, port=1)


@pytest.mark.parametrize(("port", "code"), [(1, EPERM), (PORTS, EINVAL)])
def test_no_status_in_another_domain_for_the_unprivileged(
    xen_machine: Machine, xen_domain: Domain, peer: Domain, port: int, code: int
) -> None:
    with refused_without_effect(xen_machine, code):
        xen_domain.hypercall.event_channel_op.status(dom=peer.id, port=port)
