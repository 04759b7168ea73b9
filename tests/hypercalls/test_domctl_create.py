"""domctl: createdomain, max_vcpus, max_mem; the argument, the version, the right."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypercalls.support import (
    ABSENT,
    ABSENT_DOMIDS,
    NOWHERE,
    back,
    placed,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DomainFlag, DomctlOp
from xenemu.xen.structs import domctl as h

VERSION = h.XEN_DOMCTL_INTERFACE_VERSION
KERNEL_OPS = [op for op in DomctlOp if op != DomctlOp.createdomain]


def struct_for(op: int, domain: int, version: int = VERSION) -> Any:
    return h.xen_domctl(cmd=op, interface_version=version, domain=domain)


def creation(domain: int = 0) -> Any:
    """A struct that creates a domain."""
    arg = struct_for(DomctlOp.createdomain, domain)
    config = arg.u.createdomain
    config.max_vcpus = config.grant_opts = 1
    config.max_evtchn_port = 1023
    config.max_grant_frames, config.max_maptrack_frames = 64, 1024
    return arg


# createdomain


def test_a_new_domain_has_nothing_and_is_paused_once(
    xen_machine: Machine, xen_control: Domain
) -> None:
    free = xen_machine.free_pages
    call = xen_control.hypercall.domctl
    domid = call.createdomain(handle=bytes(range(16)), max_vcpus=2, flags=16)
    info = call.getdomaininfo(domain=domid)
    assert (info.tot_pages, info.max_pages, info.nr_online_vcpus) == (0, 0, 0)
    assert info.flags == DomainFlag.paused | DomainFlag.xs_domain
    assert info.max_vcpu_id == 0xFFFF_FFFF
    assert info.handle == bytes(range(16))
    frame = xen_machine.frame(info.shared_info_frame)
    assert (frame.owner, frame.type) == (domid, "writable")
    assert xen_machine.free_pages == free - 1  # that one
    call.unpausedomain(domain=domid)
    with refused(errno.EINVAL):
        call.unpausedomain(domain=domid)
    call.destroydomain(domain=domid)
    assert xen_machine.free_pages == free


def test_it_is_told_what_it_got(xen_control: Domain) -> None:
    arg = creation()
    at = placed(xen_control, arg)
    assert xen_control.hypercall.raw(36, at) == 0
    got = back(xen_control, arg, at)
    assert got.domain == 1
    assert got.u.createdomain.flags == 8  # shadow tables of its own kind: none for PV


def test_ids_are_given_in_turn(xen_control: Domain) -> None:
    call = xen_control.hypercall.domctl
    assert [call.createdomain() for _ in range(3)] == [1, 2, 3]
    call.destroydomain(domain=2)
    assert call.createdomain() == 4
    assert call.createdomain(domain=2) == 2
    assert call.createdomain(domain=4095) == 4095
    assert call.createdomain() == 5


@pytest.mark.parametrize("asked", [0, 0x7FF0, 0x7FF1, 0x7FFF, 0xFFFF], ids=hex)
def test_ids_that_ask_for_any(xen_control: Domain, asked: int) -> None:
    assert xen_control.hypercall.domctl.createdomain(domain=asked) == 1


def test_an_id_that_is_taken(xen_control: Domain, xen_domain: Domain) -> None:
    with refused(errno.EEXIST):
        xen_control.hypercall.domctl.createdomain(domain=xen_domain.id)
    with refused(errno.EEXIST):  # before all else
        xen_control.hypercall.domctl.createdomain(domain=xen_domain.id, flags=1 << 31)


@pytest.mark.parametrize("domain", [4096, 0x7FEF], ids=hex)
def test_an_id_beyond_the_emulated_machines(xen_control: Domain, domain: int) -> None:
    with refused(errno.ENOMEM):
        xen_control.hypercall.domctl.createdomain(domain=domain)


def test_an_id_that_is_a_zombies(xen_control: Domain, xen_domain: Domain) -> None:
    page = xen_control.alloc_page()
    xen_control.hypercall.update_va_mapping_otherdomain(
        page, xen_domain.mfn(9) << 12 | 0x65, domid=xen_domain.id
    )
    xen_domain.destroy()
    with refused(errno.EEXIST):
        xen_control.hypercall.domctl.createdomain(domain=xen_domain.id)
    xen_control.hypercall.update_va_mapping(page, 0)
    assert xen_control.hypercall.domctl.createdomain(domain=xen_domain.id) == xen_domain.id


def test_no_room_for_shared_info(xen_machine: Machine, xen_control: Domain) -> None:
    hog = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    hog.hypercall.memory_op.increase_reservation(nr_extents=1)
    while xen_machine.free_pages >= 512 and hog.hypercall.memory_op.increase_reservation(
        extent_order=9
    ):
        pass
    while hog.hypercall.memory_op.increase_reservation():
        pass
    with refused(errno.ENOMEM):
        xen_control.hypercall.domctl.createdomain()
    assert [d.id for d in xen_machine.domains()] == [0, hog.id]


CONFIGS: list[tuple[dict[str, int], int]] = [
    ({"flags": 256}, errno.EINVAL),
    *(({"flags": 1 << bit}, 0 if bit in (3, 4) else errno.EINVAL) for bit in range(8)),
    ({"iommu_opts": 1}, errno.EINVAL),
    ({"max_vcpus": 0}, errno.EINVAL),
    ({"max_vcpus": 128}, 0),
    ({"max_vcpus": 8192}, 0),
    ({"max_vcpus": 8193}, errno.EINVAL),
    ({"max_evtchn_port": 0}, 0),
    ({"max_evtchn_port": 0xFFFF_FFFF}, 0),
    ({"max_grant_frames": 0}, errno.EINVAL),
    ({"max_grant_frames": -1}, 0),
    ({"max_grant_frames": 64}, 0),
    ({"max_grant_frames": 65}, errno.EINVAL),
    ({"max_maptrack_frames": 0}, 0),
    ({"max_maptrack_frames": -1}, 0),
    ({"max_maptrack_frames": 1025}, errno.EINVAL),
    ({"grant_opts": 0}, errno.EINVAL),
    ({"grant_opts": 2}, 0),
    ({"grant_opts": 3}, errno.EINVAL),
    ({"grant_opts": 17}, errno.EINVAL),
    ({"vmtrace_size": 4096}, errno.EINVAL),
    ({"cpupool_id": 1}, errno.ESRCH),
    ({"emulation_flags": 1}, errno.EOPNOTSUPP),
    ({"emulation_flags": 1 << 8}, 0),
    ({"emulation_flags": 1 << 11}, errno.EINVAL),
    ({"misc_flags": 1}, 0),
    ({"misc_flags": 2}, errno.EINVAL),
]


@pytest.mark.parametrize(("config", "code"), CONFIGS, ids=lambda x: str(x))
def test_what_a_domain_may_be(
    xen_machine: Machine, xen_control: Domain, config: dict[str, int], code: int
) -> None:
    free = xen_machine.free_pages
    if not code:
        domid = xen_control.hypercall.domctl.createdomain(**config)  # type: ignore[arg-type]
        assert xen_machine.domain(domid).info.paused
        return
    with refused(code):
        xen_control.hypercall.domctl.createdomain(**config)  # type: ignore[arg-type]
    assert xen_machine.domains() == [xen_control]
    assert xen_machine.free_pages == free


def test_a_refused_creation_takes_an_id_too(xen_control: Domain) -> None:
    with refused(errno.EINVAL):
        xen_control.hypercall.domctl.createdomain(max_vcpus=0)
    assert xen_control.hypercall.domctl.createdomain() == 2


# max_vcpus, max_mem


def test_virtual_cpus(xen_control: Domain) -> None:
    call = xen_control.hypercall.domctl
    domid = call.createdomain(max_vcpus=3)
    with refused(errno.ESRCH):
        call.getvcpuinfo(domain=domid, vcpu=2)
    for n in 0, 2, 4, 0xFFFF_FFFF:
        with refused(errno.EINVAL):
            call.max_vcpus(domain=domid, max=n)
    call.max_vcpus(domain=domid, max=3)
    call.max_vcpus(domain=domid, max=3)
    info = call.getdomaininfo(domain=domid)
    assert (info.max_vcpu_id, info.nr_online_vcpus) == (2, 0)
    assert not call.getvcpuinfo(domain=domid, vcpu=2).online
    with refused(errno.EINVAL):
        call.getvcpuinfo(domain=domid, vcpu=3)


def test_more_virtual_cpus_than_there_can_be(xen_control: Domain) -> None:
    domid = xen_control.hypercall.domctl.createdomain(max_vcpus=129)
    with refused(errno.ENOMEM):
        xen_control.hypercall.domctl.max_vcpus(domain=domid, max=129)
    assert xen_control.hypercall.domctl.getdomaininfo(domain=domid).max_vcpu_id == 127


def test_max_vcpus_of_oneself(xen_control: Domain) -> None:
    with refused(errno.EINVAL):
        xen_control.hypercall.domctl.max_vcpus(domain=0, max=1)


@pytest.mark.parametrize(
    ("kib", "pages"),
    [(0, 0), (3, 0), (4, 1), (1 << 20, 1 << 18), ((1 << 64) - 1, (1 << 32) - 1)],
)
def test_max_mem(xen_control: Domain, xen_domain: Domain, kib: int, pages: int) -> None:
    xen_control.hypercall.domctl.max_mem(domain=xen_domain.id, max_memkb=kib)
    assert xen_domain.info.max_pages == pages
    assert xen_domain.info.tot_pages == 1024
    got = xen_domain.hypercall.memory_op.increase_reservation()
    assert len(got) == (1 if pages > 1024 else 0)


def test_a_domain_is_built_by_hypercalls(xen_machine: Machine, xen_control: Domain) -> None:
    call = xen_control.hypercall
    domid = call.domctl.createdomain()
    call.domctl.max_vcpus(domain=domid, max=1)
    assert call.memory_op.populate_physmap([0], domid=domid) == ()
    call.domctl.max_mem(domain=domid, max_memkb=8)
    frames = call.memory_op.populate_physmap([0, 1, 2], domid=domid)
    assert len(frames) == 2
    assert call.domctl.getdomaininfo(domain=domid).tot_pages == 2
    page = xen_control.alloc_page()
    call.update_va_mapping_otherdomain(page, frames[0] << 12 | 0x67, domid=domid)
    xen_control.write(page, b"kernel")
    assert xen_machine.read_frame(frames[0], 0, 6) == b"kernel"
    port = call.event_channel_op.alloc_unbound(dom=domid, remote_dom=0)
    assert call.event_channel_op.bind_interdomain(remote_dom=domid, remote_port=port) > 0


# the argument


@NOWHERE
def test_an_argument_that_lies_nowhere(
    xen_control: Domain, xen_domain: Domain, nowhere: int
) -> None:
    for caller in xen_control, xen_domain:
        assert caller.hypercall.raw(36, nowhere) == -errno.EFAULT


def test_an_argument_across_pages(xen_control: Domain) -> None:
    arg = creation()
    at = straddling(xen_control, arg, first=40)
    assert xen_control.hypercall.raw(36, at) == 0
    assert back(xen_control, arg, at).domain == 1
    assert (
        xen_control.hypercall.raw(36, straddling(xen_control, arg, mapped=False)) == -errno.EFAULT
    )
    with refused(errno.ESRCH):
        xen_control.hypercall.domctl.pausedomain(domain=2)


def test_a_read_only_argument_is_carried_out(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    at = read_only(xen_control, creation())
    assert xen_control.hypercall.raw(36, at) == -errno.EFAULT
    assert [d.id for d in xen_machine.domains()] == [0, 1, 2]
    info = read_only(xen_control, struct_for(DomctlOp.getdomaininfo, xen_domain.id))
    assert xen_control.hypercall.raw(36, info) == -errno.EFAULT
    pause = read_only(xen_control, struct_for(DomctlOp.pausedomain, xen_domain.id))
    assert xen_control.hypercall.raw(36, pause) == 0  # nothing is written back
    assert xen_domain.info.paused


@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1, VERSION | 1 << 31], ids=hex)
def test_another_version_comes_before_all_else(
    xen_control: Domain, xen_domain: Domain, version: int
) -> None:
    for caller in xen_control, xen_domain:
        for op, domain in (DomctlOp.createdomain, 0), (DomctlOp.pausedomain, ABSENT), (9999, 0):
            with refused(errno.EACCES):
                caller.hypercall.domctl(struct_for(op, domain, version))


@pytest.mark.parametrize("op", KERNEL_OPS, ids=lambda op: op.name)
def test_an_absent_domain_comes_before_the_right(
    xen_control: Domain, xen_domain: Domain, op: DomctlOp
) -> None:
    for caller in xen_control, xen_domain:
        with refused(errno.ESRCH):
            caller.hypercall.domctl(struct_for(op, ABSENT))


@ABSENT_DOMIDS
def test_domains_that_can_not_be(xen_control: Domain, absent: int) -> None:
    with refused(errno.ESRCH):
        xen_control.hypercall.domctl.pausedomain(domain=absent)
    with refused(errno.EINVAL if absent >= 0x7FF0 else errno.ESRCH):
        xen_control.hypercall.domctl.getdomaininfo(domain=absent)


def test_domid_self_is_no_domain(xen_control: Domain) -> None:
    with refused(errno.ESRCH):
        xen_control.hypercall.domctl.max_mem(domain=0x7FF0, max_memkb=4)


@pytest.mark.parametrize("op", DomctlOp, ids=lambda op: op.name)
def test_an_unprivileged_caller(xen_machine: Machine, xen_domain: Domain, op: DomctlOp) -> None:
    victim = xen_machine.create_domain()
    before = victim.info
    for domain in victim.id, xen_domain.id, 0:
        with refused(errno.EPERM):
            xen_domain.hypercall.domctl(struct_for(op, domain))
    assert victim.info == before
    assert len(xen_machine.domains()) == 3


@pytest.mark.parametrize("op", [0, 6, 26, 30, 49, 70, 87, 9999, 0xFFFF_FFFF])
def test_no_such_operation(xen_control: Domain, op: int) -> None:
    with refused(errno.ENOSYS):
        xen_control.hypercall.domctl(struct_for(op, 0))
    with refused(errno.ESRCH):
        xen_control.hypercall.domctl(struct_for(op, ABSENT))
