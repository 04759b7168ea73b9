"""memory_op: claim_pages, acquire_resource."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypercalls.support import (
    ABSENT,
    DOMID_IO,
    UNMAPPED,
    XEN_VA,
    back,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DOMID_SELF, MemoryOp
from xenemu.xen.structs import memory as h

GRANT_TABLE, IOREQ_SERVER, VMTRACE = 1, 0, 2
SHARED, STATUS = 0, 1


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    return xen_machine.create_domain(memory_mib=1, max_memory_mib=32)


# claims


def test_a_claim_is_for_that_domain_only(
    xen_machine: Machine, xen_control: Domain, guest: Domain
) -> None:
    xen_control.hypercall.domctl.max_mem(domain=0, max_memkb=1 << 20)
    more = 1024
    xen_control.hypercall.memory_op.claim_pages(domid=guest.id, nr_extents=256 + more)
    assert guest.info.outstanding_pages == more
    others = xen_machine.free_pages - more
    got = xen_control.hypercall.memory_op.increase_reservation(extent_order=9, nr_extents=100)
    while len(xen_control.hypercall.memory_op.increase_reservation()) == 1:
        others -= 1
    assert others == 512 * len(got)
    assert xen_machine.free_pages == more
    assert len(guest.hypercall.memory_op.increase_reservation(nr_extents=more + 1)) == more
    assert guest.info.outstanding_pages == 0


def test_a_claim_is_used_up_as_it_takes_pages(xen_control: Domain, guest: Domain) -> None:
    xen_control.hypercall.memory_op.claim_pages(domid=guest.id, nr_extents=256 + 10)
    frames = guest.hypercall.memory_op.increase_reservation(nr_extents=4)
    assert guest.info.outstanding_pages == 6
    assert guest.hypercall.memory_op.decrease_reservation(frames) == 4
    assert guest.info.outstanding_pages == 6  # not claimed again
    guest.hypercall.memory_op.increase_reservation(extent_order=3)
    assert guest.info.outstanding_pages == 0


def test_a_claim_is_given_up_by_zero_and_by_destruction(
    xen_machine: Machine, xen_control: Domain, guest: Domain
) -> None:
    claim = xen_control.hypercall.memory_op.claim_pages
    claim(domid=guest.id, nr_extents=300)
    claim(domid=guest.id, nr_extents=0)
    claim(domid=guest.id, nr_extents=0)
    assert guest.info.outstanding_pages == 0
    claim(domid=guest.id, nr_extents=300)
    guest.destroy()
    other = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    claim(domid=other.id, nr_extents=256 + xen_machine.free_pages)


@pytest.mark.parametrize(
    ("n", "code"),
    [
        (1, errno.EINVAL),
        (256, errno.EINVAL),
        (32 * 256 + 1, errno.EINVAL),
        ((1 << 64) - 1, errno.EINVAL),
    ],
    ids=str,
)
def test_a_claim_of_what_it_has_or_can_not_have(
    xen_control: Domain, guest: Domain, n: int, code: int
) -> None:
    with refused(code):
        xen_control.hypercall.memory_op.claim_pages(domid=guest.id, nr_extents=n)
    assert guest.info.outstanding_pages == 0


def test_more_than_is_free(xen_machine: Machine, xen_control: Domain) -> None:
    guest = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    other = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    claim = xen_control.hypercall.memory_op.claim_pages
    free = xen_machine.free_pages
    claim(domid=other.id, nr_extents=256 + 100)
    with refused(errno.ENOMEM):
        claim(domid=guest.id, nr_extents=256 + free - 99)
    claim(domid=guest.id, nr_extents=256 + free - 100)
    with refused(errno.EINVAL):  # it has one
        claim(domid=guest.id, nr_extents=256 + 1)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"extent_start": 8}, errno.EINVAL),
        ({"extent_order": 1}, errno.EINVAL),
        ({"mem_flags": 1}, errno.EINVAL),
        ({"domid": ABSENT}, errno.EINVAL),
        ({"domid": DOMID_SELF}, errno.EINVAL),
        ({"domid": DOMID_IO}, errno.EINVAL),
    ],
    ids=str,
)
def test_a_claim_that_makes_no_sense(
    xen_control: Domain, guest: Domain, fields: dict[str, int], code: int
) -> None:
    arg = h.xen_memory_reservation(**{"nr_extents": 300, "domid": guest.id, **fields})
    for caller in xen_control, guest:
        with refused(code):
            caller.hypercall.memory_op(MemoryOp.claim_pages, arg)


def test_a_claim_without_a_right(guest: Domain) -> None:
    for domid in guest.id, 0:
        with refused(errno.EPERM):
            guest.hypercall.memory_op.claim_pages(domid=domid, nr_extents=300)


def test_a_zombies_claim_is_given_up_when_it_is_gone(
    xen_machine: Machine, xen_control: Domain, guest: Domain
) -> None:
    call = xen_control.hypercall
    page = xen_control.alloc_page()
    call.update_va_mapping_otherdomain(page, guest.mfn(1) << 12 | 0x65, domid=guest.id)
    guest.destroy()
    call.memory_op.claim_pages(domid=guest.id, nr_extents=300)
    assert guest.info.outstanding_pages == 299
    call.update_va_mapping(page, 0)
    assert not guest.exists
    other = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    call.memory_op.claim_pages(domid=other.id, nr_extents=256 + xen_machine.free_pages)


# the grant table as a resource


def acquire(**fields: int) -> Any:
    return h.xen_mem_acquire_resource(**{"type": GRANT_TABLE, **fields})


def test_the_grant_table(xen_machine: Machine, xen_control: Domain, guest: Domain) -> None:
    call = xen_control.hypercall.memory_op
    first = call.acquire_resource(domid=guest.id, type=GRANT_TABLE, nr_frames=2)
    assert {xen_machine.frame(mfn).owner for mfn in first} == {guest.id}
    assert guest.hypercall.grant_table_op.setup_table(nr_frames=2) == first
    assert (
        call.acquire_resource(domid=guest.id, type=GRANT_TABLE, frame=1, nr_frames=3)[:1]
        == first[1:]
    )


def test_how_much_there_is(xen_control: Domain, guest: Domain) -> None:
    for which, n in (SHARED, 64), (STATUS, 8):
        arg = acquire(domid=guest.id, id=which)
        assert xen_control.hypercall.memory_op(MemoryOp.acquire_resource, arg) == 0
        assert arg.nr_frames == n
    odd = acquire(domid=guest.id, type=9)
    assert xen_control.hypercall.memory_op(MemoryOp.acquire_resource, odd) == 0
    assert odd.nr_frames == (1 << 32) - errno.EOPNOTSUPP  # as Xen has it


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pad": 1}, errno.EINVAL),
        ({"frame": 1 << 32}, errno.EINVAL),
        ({"frame": (1 << 32) - 1, "nr_frames": 2}, errno.EINVAL),
        ({"domid": ABSENT}, errno.ESRCH),
        ({"domid": DOMID_SELF}, errno.ESRCH),
        ({"domid": 0}, errno.EPERM),
        ({"frame_list": 0}, errno.EINVAL),
        ({"frame_list": 0, "nr_frames": 0, "type": IOREQ_SERVER}, errno.EINVAL),
        ({"frame_list": 0, "nr_frames": 0, "type": VMTRACE}, errno.EINVAL),
        ({"frame_list": 0, "nr_frames": 0, "id": 2}, errno.EINVAL),
        ({"nr_frames": 0}, errno.EINVAL),
        ({"nr_frames": 1 << 26}, errno.EINVAL),
        ({"frame": 64}, errno.EINVAL),
        ({"id": STATUS}, errno.EINVAL),
        ({"type": 3}, errno.EOPNOTSUPP),
        ({"frame_list": UNMAPPED}, errno.EFAULT),
        ({"frame_list": XEN_VA}, errno.EFAULT),
    ],
    ids=str,
)
def test_a_resource_that_is_refused(
    xen_control: Domain, guest: Domain, fields: dict[str, int], code: int
) -> None:
    room = xen_control.alloc_page()
    arg = acquire(**{"domid": guest.id, "nr_frames": 1, "frame_list": room, **fields})
    with refused(code):
        xen_control.hypercall.memory_op(MemoryOp.acquire_resource, arg)
    assert xen_control.read(room, 16) == bytes(16)


def test_more_frames_than_there_are(xen_control: Domain, guest: Domain) -> None:
    call = xen_control.hypercall.memory_op
    assert len(set(call.acquire_resource(domid=guest.id, type=GRANT_TABLE, nr_frames=64))) == 64
    with refused(errno.EINVAL):
        call.acquire_resource(domid=guest.id, type=GRANT_TABLE, nr_frames=65)


def test_a_resource_without_a_right(xen_machine: Machine, guest: Domain) -> None:
    other = xen_machine.create_domain()
    for domid in guest.id, other.id, 0:
        with refused(errno.EPERM):
            guest.hypercall.memory_op.acquire_resource(domid=domid, type=GRANT_TABLE, nr_frames=1)


def test_the_size_can_not_be_written(xen_control: Domain, guest: Domain) -> None:
    at = read_only(xen_control, acquire(domid=guest.id))
    with refused(errno.EFAULT):
        xen_control.hypercall.memory_op(MemoryOp.acquire_resource, at)


def test_a_struct_and_a_list_across_pages(xen_control: Domain, guest: Domain) -> None:
    room = straddling(xen_control, bytes(32), first=12)
    arg = acquire(domid=guest.id, nr_frames=4, frame_list=room)
    at = straddling(xen_control, arg, first=9)
    assert xen_control.hypercall.memory_op(MemoryOp.acquire_resource, at) == 0
    assert back(xen_control, arg, at).nr_frames == 4
    frames = xen_control.hypercall.memory_op.acquire_resource(
        domid=guest.id, type=GRANT_TABLE, nr_frames=4
    )
    assert xen_control.read(room, 32) == b"".join(m.to_bytes(8, "little") for m in frames)


def test_it_goes_on_where_it_was_broken_off(xen_control: Domain, guest: Domain) -> None:
    room = xen_control.alloc_page()
    arg = acquire(domid=guest.id, nr_frames=2, frame_list=room)
    assert xen_control.hypercall.memory_op(MemoryOp.acquire_resource | 1 << 6, arg) == 0
    first, second = xen_control.read(room, 8), xen_control.read(room + 8, 8)
    assert first == bytes(8) != second
    with refused(errno.EINVAL):
        xen_control.hypercall.memory_op(MemoryOp.acquire_resource | 2 << 6, arg)
