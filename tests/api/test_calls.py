"""Typed calls marshal their structs: one successful and one failing way through each hypercall
that this core serves in full already."""

import pytest

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import EvtchnOp
from xenemu.xen import DOMID_SELF, DomainFlag, EvtchnStat, MmuUpdate, Shutdown, Virq, structs


def test_ports(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.event_channel_op
    other = xen_machine.create_domain()
    port = op.alloc_unbound(remote_dom=other.id)
    status = op.status(port=port)
    assert (status.status, status.dom) == (EvtchnStat.unbound, other.id)
    local = other.hypercall.event_channel_op.bind_interdomain(
        remote_dom=xen_domain.id, remote_port=port
    )
    status = op.status(port=port)
    assert (status.status, status.dom, status.port) == (EvtchnStat.interdomain, other.id, local)
    virq = op.bind_virq(virq=Virq.TIMER)
    assert op.status(port=virq).virq == Virq.TIMER
    op.close(port=virq)
    assert op.status(port=virq).status == EvtchnStat.closed
    with pytest.raises(HypercallError, match="EINVAL"):
        op.close(port=virq)
    ipi = op.bind_ipi(vcpu=0)
    assert op.status(port=ipi).status == EvtchnStat.ipi
    op.reset()
    assert op.status(port=ipi).status == EvtchnStat.closed


def test_a_group_takes_any_argument(xen_domain: Domain) -> None:
    op = xen_domain.hypercall.event_channel_op
    arg = structs.event_channel.evtchn_alloc_unbound(dom=DOMID_SELF, remote_dom=0)
    assert op(EvtchnOp.alloc_unbound, arg) == 0
    assert arg.port == 1
    assert op(EvtchnOp.close, (1).to_bytes(4, "little")) == 0
    with pytest.raises(HypercallError, match=r"event_channel_op.close: EFAULT"):
        op(EvtchnOp.close, 0xDEAD_0000)
    with pytest.raises(HypercallError, match=r"event_channel_op.77: ENOSYS"):
        op(77)


def test_reservations(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(max_memory_mib=8)
    op = domain.hypercall.memory_op
    assert (op.current_reservation(), op.maximum_reservation()) == (1024, 2048)
    frames = op.increase_reservation(nr_extents=3)
    assert [xen_machine.frame(f).owner for f in frames] == [domain.id] * 3
    assert op.decrease_reservation(frames) == 3
    assert op.decrease_reservation(frames) == 0
    (frame,) = op.populate_physmap((5000,))
    assert xen_machine.frame(frame).pfn == 5000
    assert op.increase_reservation(nr_extents=1, domid=77) == ()
    with pytest.raises(ProcessLookupError):
        xen_machine.control.hypercall.memory_op.current_reservation(domid=77)


def test_the_control_domain_makes_a_domain(xen_machine: Machine) -> None:
    op = xen_machine.control.hypercall.domctl
    domid = op.createdomain(max_vcpus=1)
    info = op.getdomaininfo(domain=domid)
    assert (info.domain, info.tot_pages, info.paused) == (domid, 0, True)
    op.max_mem(domain=domid, max_memkb=64)
    op.max_vcpus(domain=domid, max=1)
    assert op.getdomaininfo(domain=domid).max_pages == 16
    frames = xen_machine.control.hypercall.memory_op.populate_physmap(range(20), domid=domid)
    assert len(frames) == 16
    assert xen_machine.domain(domid).info.tot_pages == 16
    op.unpausedomain(domain=domid)
    with pytest.raises(HypercallError, match=r"domctl.unpausedomain: EINVAL"):
        op.unpausedomain(domain=domid)
    op.destroydomain(domain=domid)
    with pytest.raises(ProcessLookupError):
        op.pausedomain(domain=domid)


def test_shutdown(xen_domain: Domain) -> None:
    xen_domain.hypercall.sched_op.shutdown(reason=Shutdown.reboot)
    info = xen_domain.info
    assert DomainFlag.shutdown in info.flags
    assert info.shutdown_code == Shutdown.reboot


def test_page_tables(xen_machine: Machine, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    frame = xen_domain.mfn_at(page)
    request = (frame << 12 | MmuUpdate.MACHPHYS_UPDATE, 4242)
    assert xen_domain.hypercall.mmu_update([request, request]) == 2
    assert xen_domain.pfn_of(frame) == 4242
    with pytest.raises(HypercallError, match="mmu_update: EINVAL") as refused:
        xen_domain.hypercall.mmu_update([request, (0x1000, 0)])
    assert refused.value.done == 1
    xen_domain.hypercall.update_va_mapping(page, 0)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(page, 1)


def test_versions(xen_domain: Domain, xen_control: Domain) -> None:
    op = xen_domain.hypercall.xen_version
    assert op.version() == (4, 17)
    assert op.extraversion() == ".7"
    assert op.pagesize() == 4096
    assert op.get_features() >> 11 & 1 == 0
    assert xen_control.hypercall.xen_version.get_features() >> 11 & 1 == 1
    with pytest.raises(HypercallError, match=r"get_features: EINVAL"):
        op.get_features(submap_idx=1)


def test_the_console(xen_control: Domain) -> None:
    xen_control.hypercall.console_io.write("hello\n")
    xen_control.hypercall.console_io.write(b"there\n")
    assert xen_control.console() == b"hello\nthere\n"
    assert xen_control.console() == b""


def test_multicall(xen_domain: Domain) -> None:
    calls = [(17, 0), (60,), (32, 99, 0), (13, 0, 0)]
    assert xen_domain.hypercall.multicall(calls) == [4 << 16 | 17, -38, -38, -22]
    assert xen_domain.hypercall.multicall([]) == []


def test_zeroloss_op(xen_domain: Domain) -> None:
    result = xen_domain.hypercall.zeroloss_op(17)  # GET_SIGNAL
    assert (result.result, result.value) == (0, 0)
    with pytest.raises(PermissionError):
        xen_domain.hypercall.zeroloss_op(0, domid=0)
