"""domctl: pausing, shutting down and resuming, destruction and zombies."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypercalls.support import PRESENT_RO, PRESENT_RW, refused

from xenemu import Domain, Machine
from xenemu._abi import DomainFlag, DomctlOp, EvtchnStat, SchedOp, Shutdown, Virq
from xenemu.xen.structs import domctl as h
from xenemu.xen.structs.sched import sched_remote_shutdown


def look_at(control: Domain, domain: Domain, mfn: int, flags: int = PRESENT_RO) -> int:
    """Maps a frame of the domain in the control domain; where."""
    page = control.alloc_page()
    control.hypercall.update_va_mapping_otherdomain(page, mfn << 12 | flags, domid=domain.id)
    return page


# pausing


def test_pauses_are_counted(xen_machine: Machine, xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    got: list[int] = []
    port = xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    xen_domain.on_event(port, got.append)
    xen_domain.hypercall.event_channel_op.send(port=port)
    call.pausedomain(domain=xen_domain.id)
    call.pausedomain(domain=xen_domain.id)
    call.unpausedomain(domain=xen_domain.id)
    assert xen_domain.info.paused
    xen_machine.run_for(1)
    assert got == []
    call.unpausedomain(domain=xen_domain.id)
    assert not xen_domain.info.paused
    xen_machine.run_for(0)
    assert got == [port]
    with refused(errno.EINVAL):
        call.unpausedomain(domain=xen_domain.id)


def test_255_pauses_at_most(xen_control: Domain, xen_domain: Domain) -> None:
    call = xen_control.hypercall.domctl
    for _ in range(255):
        call.pausedomain(domain=xen_domain.id)
    with refused(errno.EOVERFLOW):
        call.pausedomain(domain=xen_domain.id)
    for _ in range(255):
        call.unpausedomain(domain=xen_domain.id)
    assert not xen_domain.info.paused


@pytest.mark.parametrize(
    "op",
    [
        DomctlOp.pausedomain,
        DomctlOp.unpausedomain,
        DomctlOp.destroydomain,
        DomctlOp.resumedomain,
        DomctlOp.setdebugging,
        DomctlOp.settscinfo,
        DomctlOp.gettscinfo,
    ],
    ids=lambda op: op.name,
)
def test_not_of_oneself(xen_control: Domain, op: DomctlOp) -> None:
    before = xen_control.info
    with refused(errno.EINVAL):
        xen_control.hypercall.domctl(
            h.xen_domctl(cmd=op, interface_version=h.XEN_DOMCTL_INTERFACE_VERSION, domain=0)
        )
    assert xen_control.info == before


# shutdown and resumption


@pytest.mark.parametrize("reason", [Shutdown.poweroff, Shutdown.suspend, Shutdown.crash])
def test_a_domain_that_was_shut_down_runs_again_after_resume(
    xen_control: Domain, xen_domain: Domain, reason: Shutdown
) -> None:
    xen_control.hypercall.sched_op(
        SchedOp.remote_shutdown, sched_remote_shutdown(domain_id=xen_domain.id, reason=reason)
    )
    info = xen_domain.info
    assert info.shutdown_code == reason and DomainFlag.shutdown in info.flags
    xen_control.hypercall.domctl.resumedomain(domain=xen_domain.id)
    assert xen_domain.info.shutdown_code is None
    xen_control.hypercall.domctl.resumedomain(domain=xen_domain.id)  # no error


# destruction


def test_a_domain_that_nothing_refers_to_is_gone_at_once(
    xen_machine: Machine, xen_control: Domain
) -> None:
    free = xen_machine.free_pages
    domain = xen_machine.create_domain()
    port = xen_control.hypercall.event_channel_op.bind_virq(virq=Virq.DOM_EXC)
    xen_control.hypercall.domctl.destroydomain(domain=domain.id)
    assert not domain.exists
    assert xen_machine.free_pages == free
    assert xen_control.pending_ports() == [port]
    with refused(errno.ESRCH):
        xen_control.hypercall.domctl.destroydomain(domain=domain.id)


def test_a_zombie_has_what_is_still_mapped(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    page = xen_domain.alloc_page()
    xen_domain.write(page, b"last words")
    mfns = xen_domain.mfn_at(page), xen_domain.mfn(9)
    views = [look_at(xen_control, xen_domain, mfn, PRESENT_RW) for mfn in mfns]
    port = xen_control.hypercall.event_channel_op.bind_virq(virq=Virq.DOM_EXC)
    xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    info = xen_domain.info
    assert info.dying and info.tot_pages == 2
    assert xen_control.read(views[0], 10) == b"last words"
    frame = xen_machine.frame(mfns[0])
    assert (frame.owner, frame.allocated, frame.count) == (xen_domain.id, False, 1)
    assert xen_control.take_event() == port
    xen_control.hypercall.update_va_mapping(views[0], 0)
    assert xen_domain.info.tot_pages == 1
    xen_control.hypercall.update_va_mapping(views[1], 0)
    assert not xen_domain.exists
    assert xen_control.take_event() == port  # again, when it is gone


def test_a_zombie_can_be_destroyed_again(xen_control: Domain, xen_domain: Domain) -> None:
    page = look_at(xen_control, xen_domain, xen_domain.mfn(9))
    for _ in range(3):
        xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    assert xen_domain.info.tot_pages == 1
    xen_control.hypercall.update_va_mapping(page, 0)
    assert not xen_domain.exists


def test_a_zombie_makes_no_calls(xen_control: Domain, xen_domain: Domain) -> None:
    look_at(xen_control, xen_domain, xen_domain.mfn(9))
    xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    with refused(errno.ESRCH):
        xen_domain.hypercall(17, 0)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(xen_domain.gva(1), 1)


def pauses(control: Domain, domid: int) -> None:
    control.hypercall.domctl.pausedomain(domain=domid)
    control.hypercall.domctl.unpausedomain(domain=domid)


def makes_its_virtual_cpus(control: Domain, domid: int) -> None:
    control.hypercall.domctl.max_vcpus(domain=domid, max=1)


def changes_its_maximum(control: Domain, domid: int) -> None:
    control.hypercall.domctl.max_mem(domain=domid, max_memkb=1 << 20)
    assert control.hypercall.memory_op.increase_reservation(domid=domid) == ()


def resets_a_virtual_cpu(control: Domain, domid: int) -> None:
    control.hypercall.domctl.max_vcpus(domain=domid, max=1)
    control.hypercall.domctl.setvcpucontext(domain=domid, vcpu=0, ctxt=None)


def offsets_its_clock(control: Domain, domid: int) -> None:
    control.hypercall.domctl.settimeoffset(domain=domid, time_offset_seconds=-3600)


def resumes(control: Domain, domid: int) -> None:
    control.hypercall.domctl.resumedomain(domain=domid)


@pytest.mark.parametrize(
    "act",
    [
        pauses,
        makes_its_virtual_cpus,
        changes_its_maximum,
        resets_a_virtual_cpu,
        offsets_its_clock,
        resumes,
    ],
    ids=lambda f: f.__name__,
)
def test_a_zombie_stays_one(
    xen_machine: Machine, xen_control: Domain, act: Callable[[Domain, int], None]
) -> None:
    free = xen_machine.free_pages
    call = xen_control.hypercall
    domid = call.domctl.createdomain()
    call.domctl.max_mem(domain=domid, max_memkb=4)
    (mfn,) = call.memory_op.increase_reservation(domid=domid)
    page = look_at(xen_control, xen_machine.domain(domid), mfn)
    call.domctl.destroydomain(domain=domid)
    act(xen_control, domid)
    assert call.domctl.getdomaininfo(domain=domid).dying
    call.update_va_mapping(page, 0)
    with refused(errno.ESRCH):
        call.domctl.pausedomain(domain=domid)
    assert xen_machine.free_pages == free


def test_no_vcpu_of_a_zombie_gets_a_context(xen_control: Domain, xen_domain: Domain) -> None:
    context = xen_control.hypercall.domctl.getvcpucontext(domain=xen_domain.id, vcpu=0)
    look_at(xen_control, xen_domain, xen_domain.mfn(9))
    xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    with refused(errno.EINVAL):
        xen_control.hypercall.domctl.setvcpucontext(domain=xen_domain.id, vcpu=0, ctxt=context)


def test_page_tables_and_pins_go_with_their_domain(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    free = xen_machine.free_pages
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | PRESENT_RO)
    xen_domain.hypercall.mmuext_op.pin_table(1, mfn=mfn)
    root = xen_domain.mfn_at(xen_domain.start_info.pt_base)
    view = look_at(xen_control, xen_domain, root)
    assert xen_machine.frame(root).type == "l4"
    xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    assert xen_machine.frame(mfn).owner is None
    frame = xen_machine.frame(root)
    assert (frame.type, frame.count, frame.allocated) == ("none", 1, False)
    xen_control.hypercall.update_va_mapping(view, 0)
    assert xen_machine.free_pages == free + 1024 + 1  # its shared_info


def test_the_peers_ports_are_unbound(xen_control: Domain, xen_domain: Domain) -> None:
    port = xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
    mine = xen_control.hypercall.event_channel_op.bind_interdomain(
        remote_dom=xen_domain.id, remote_port=port
    )
    xen_control.hypercall.domctl.destroydomain(domain=xen_domain.id)
    status = xen_control.hypercall.event_channel_op.status(port=mine)
    assert status.status == EvtchnStat.unbound


def test_the_domains_own_mappings_of_others_are_dropped(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    granter = xen_machine.create_domain()
    helper = xen_machine.create_domain(privileged=True)
    page = helper.alloc_page()
    mfn = granter.mfn(9)
    before = xen_machine.frame(mfn)
    helper.hypercall.update_va_mapping_otherdomain(page, mfn << 12 | PRESENT_RW, domid=granter.id)
    assert xen_machine.frame(mfn).count == before.count + 1
    assert xen_machine.frame(mfn).type_count == before.type_count + 1
    xen_control.hypercall.domctl.destroydomain(domain=helper.id)
    assert xen_machine.frame(mfn) == before


def test_two_zombies_that_hold_each_other_are_freed(
    xen_machine: Machine, xen_control: Domain
) -> None:
    free = xen_machine.free_pages
    pair = [xen_machine.create_domain(privileged=True) for _ in range(2)]
    for a, b in (pair, pair[::-1]):
        page = a.alloc_page()
        a.hypercall.update_va_mapping_otherdomain(page, b.mfn(9) << 12 | PRESENT_RW, domid=b.id)
    xen_control.hypercall.domctl.destroydomain(domain=pair[0].id)
    assert pair[0].info.tot_pages == 1
    xen_control.hypercall.domctl.destroydomain(domain=pair[1].id)
    assert [d.exists for d in pair] == [False, False]
    assert xen_machine.free_pages == free
