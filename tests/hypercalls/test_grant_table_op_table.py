"""grant_table_op: the table itself, its size and version, swaps, and what has no effect here."""

from __future__ import annotations

from errno import EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH

import pytest
from hypercalls.grants import (
    ACCESS,
    DEVICE,
    ENTRIES,
    READ_ONLY,
    REF,
    RO,
    Pair,
    Table,
    map_status,
    pair_of,
    status,
)
from hypercalls.support import (
    ABSENT_DOMIDS,
    JUNK,
    PRESENT_RW,
    UNMAPPED,
    read_only,
    refused,
    refused_without_effect,
)

from xenemu import Domain, Machine
from xenemu.xen import DOMID_SELF, GrantOp, GrantStatus, structs
from xenemu.xen.calls.grant_table_op import GrantTableOp

h = structs.grant_table
MOST = 64
SOMEONE = pytest.mark.parametrize(
    "op", [GrantTableOp.query_size, lambda o, dom: o.setup_table(dom=dom, nr_frames=2)],
    ids=["query_size", "setup_table"],
)  # fmt: skip


@pytest.fixture
def op(xen_domain: Domain) -> GrantTableOp:
    return xen_domain.hypercall.grant_table_op


@pytest.fixture
def pair(xen_machine: Machine, xen_domain: Domain) -> Pair:
    return pair_of(xen_machine, xen_domain)


# setup_table, query_size


def test_a_table_begins_with_one_frame(op: GrantTableOp) -> None:
    size = op.query_size()
    assert (size.nr_frames, size.max_nr_frames) == (1, MOST)


def test_a_table_grows_and_does_not_shrink(xen_domain: Domain, op: GrantTableOp) -> None:
    three = op.setup_table(nr_frames=3)
    assert len(set(three)) == 3
    assert op.query_size().nr_frames == 3
    assert op.setup_table(nr_frames=1) == three[:1]
    assert op.setup_table(nr_frames=5)[:3] == three
    assert op.query_size().nr_frames == 5
    assert op.setup_table(nr_frames=0) == ()


def test_its_frames_are_xens_and_shared_writable(
    xen_machine: Machine, xen_domain: Domain, op: GrantTableOp
) -> None:
    before = xen_domain.info.tot_pages
    (mfn,) = op.setup_table(nr_frames=1)
    frame = xen_machine.frame(mfn)
    assert (frame.owner, frame.type, frame.count) == (xen_domain.id, "writable", 1)
    assert xen_domain.info.tot_pages == before
    page = xen_domain.alloc_page()
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | PRESENT_RW)
    assert xen_domain.read(page, 4096) == bytes(4096)


def test_entries_of_a_frame_that_was_added(pair: Pair) -> None:
    pair.granter.hypercall.grant_table_op.setup_table(nr_frames=2)
    assert map_status(pair.mapper, pair.granter, ENTRIES, pair.at) == GrantStatus.general_error
    Table(pair.granter, 2).grant(2 * ENTRIES - 1, pair.mapper, pair.page)
    assert map_status(pair.mapper, pair.granter, 2 * ENTRIES - 1, pair.at) == 0
    assert map_status(pair.mapper, pair.granter, 2 * ENTRIES, 0) == GrantStatus.bad_gntref


def test_a_table_that_was_never_set_up_grants_nothing(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    third = xen_machine.create_domain()
    at = third.alloc_page()
    assert map_status(third, xen_domain, ENTRIES - 1, at) == GrantStatus.general_error
    assert map_status(third, xen_domain, ENTRIES, at) == GrantStatus.bad_gntref


@pytest.mark.parametrize("n", [MOST + 1, 1 << 31, 0xFFFF_FFFF], ids=hex)
def test_there_is_a_most(op: GrantTableOp, n: int) -> None:
    entry = h.gnttab_setup_table(dom=DOMID_SELF, nr_frames=n, frame_list=1 << 47)
    assert op.batch(GrantOp.setup_table, [entry]) != [GrantStatus.okay] if n < MOST else True
    entry.frame_list = 0
    assert op.batch(GrantOp.setup_table, [entry]) == [GrantStatus.general_error]
    assert op.query_size().nr_frames == 1


def test_the_most_can_be_had(op: GrantTableOp) -> None:
    assert len(op.setup_table(nr_frames=MOST)) == MOST


def test_the_most_of_a_domain_is_its_creators(xen_control: Domain) -> None:
    domid = xen_control.hypercall.domctl.createdomain(max_grant_frames=2)
    op = xen_control.hypercall.grant_table_op
    assert op.query_size(dom=domid).max_nr_frames == 2
    with status(GrantStatus.general_error):
        op.setup_table(dom=domid, nr_frames=3)
    assert len(op.setup_table(dom=domid, nr_frames=2)) == 2


def test_there_is_no_memory_for_it(xen_machine: Machine) -> None:
    small = xen_machine.create_domain(memory_mib=1)
    others = xen_machine.create_domain(memory_mib=1, max_memory_mib=64)
    others.hypercall.memory_op.increase_reservation(nr_extents=xen_machine.free_pages - 2)
    with status(GrantStatus.general_error):
        small.hypercall.grant_table_op.setup_table(nr_frames=3)
    assert xen_machine.free_pages == 2
    assert small.hypercall.grant_table_op.query_size().nr_frames == 1
    small.hypercall.grant_table_op.setup_table(nr_frames=2)


@pytest.mark.parametrize("where", ["unmapped", "read-only", "null"])
def test_the_frames_can_not_be_told(xen_domain: Domain, op: GrantTableOp, where: str) -> None:
    at = {"unmapped": UNMAPPED, "read-only": read_only(xen_domain, bytes(8)), "null": 0}[where]
    entry = h.gnttab_setup_table(dom=DOMID_SELF, nr_frames=2, frame_list=at)
    assert op.batch(GrantOp.setup_table, [entry]) == [GrantStatus.bad_virt_addr]
    assert op.query_size().nr_frames == 2


@SOMEONE
def test_anothers_table_is_the_privileged_ones_to_see(
    xen_control: Domain, xen_domain: Domain, op: object
) -> None:
    assert op(xen_control.hypercall.grant_table_op, dom=xen_domain.id)  # type: ignore[operator]
    with status(GrantStatus.permission_denied):
        op(xen_domain.hypercall.grant_table_op, dom=0)  # type: ignore[operator]
    assert op(xen_domain.hypercall.grant_table_op, dom=xen_domain.id)  # type: ignore[operator]


@SOMEONE
@ABSENT_DOMIDS
def test_there_is_no_such_domain(xen_domain: Domain, op: object, absent: int) -> None:
    with status(GrantStatus.bad_domain):
        op(xen_domain.hypercall.grant_table_op, dom=absent)  # type: ignore[operator]


@pytest.mark.parametrize(
    "sub", [GrantOp.setup_table, GrantOp.query_size, GrantOp.get_status_frames], ids=str
)
@pytest.mark.parametrize("count", [0, 2, 1000])
def test_of_these_there_is_one_entry(
    xen_machine: Machine, op: GrantTableOp, sub: GrantOp, count: int
) -> None:
    with refused_without_effect(xen_machine, EINVAL):
        op(sub, bytes(24 * 2), count)


# versions


def test_the_version_is_one(xen_control: Domain, xen_domain: Domain, op: GrantTableOp) -> None:
    assert op.get_version() == 1
    assert op.set_version(version=1) == 1
    assert xen_control.hypercall.grant_table_op.get_version(dom=xen_domain.id) == 1


@pytest.mark.parametrize(
    ("version", "code"), [(2, ENOSYS), (0, EINVAL), (3, EINVAL), (1 << 31, EINVAL)]
)
def test_another_version(op: GrantTableOp, version: int, code: int) -> None:
    entry = h.gnttab_set_version(version=version)
    with refused(code):
        op(GrantOp.set_version, entry, 1)
    assert entry.version == 1  # the one in force


def test_whose_version(xen_domain: Domain, op: GrantTableOp) -> None:
    with refused(EPERM):
        op.get_version(dom=0)
    with refused(ESRCH):
        op.get_version(dom=77)


def test_a_version_needs_no_count(op: GrantTableOp) -> None:
    assert op(GrantOp.get_version, h.gnttab_get_version(dom=DOMID_SELF), 0) == 0
    assert op(GrantOp.set_version, h.gnttab_set_version(version=1), 7) == 0


@pytest.mark.parametrize(
    ("dom", "frames", "expected"),
    [
        (DOMID_SELF, 0, GrantStatus.okay),
        (DOMID_SELF, 1, GrantStatus.general_error),
        (77, 0, GrantStatus.bad_domain),
        (0, 0, GrantStatus.permission_denied),
    ],
)
def test_version_one_has_no_status_frames(
    op: GrantTableOp, dom: int, frames: int, expected: GrantStatus
) -> None:
    entry = h.gnttab_get_status_frames(dom=dom, nr_frames=frames)
    assert op.batch(GrantOp.get_status_frames, [entry]) == [expected]


# swap_grant_ref


def test_two_entries_change_places(pair: Pair) -> None:
    pair.table.grant(9, pair.granter, pair.page, READ_ONLY)
    one, two = bytes(pair.table.entry(REF)), bytes(pair.table.entry(9))
    pair.granter.hypercall.grant_table_op.swap_grant_ref(ref_a=REF, ref_b=9)
    assert (bytes(pair.table.entry(REF)), bytes(pair.table.entry(9))) == (two, one)
    assert map_status(pair.mapper, pair.granter, REF, pair.at) == GrantStatus.general_error
    assert map_status(pair.mapper, pair.granter, 9, pair.at) == 0


def test_an_entry_with_itself(pair: Pair) -> None:
    pair.map()
    pair.granter.hypercall.grant_table_op.swap_grant_ref(ref_a=REF, ref_b=REF)


def test_entries_without_a_table(op: GrantTableOp) -> None:
    op.swap_grant_ref(ref_a=1, ref_b=2)


def test_an_entry_in_use_stays(pair: Pair) -> None:
    pair.map(DEVICE | RO)
    before = bytes(pair.table.entry(REF))
    for refs in ({"ref_a": REF, "ref_b": 9}, {"ref_a": 9, "ref_b": REF}):
        with status(GrantStatus.eagain):
            pair.granter.hypercall.grant_table_op.swap_grant_ref(**refs)
    assert bytes(pair.table.entry(REF)) == before


@pytest.mark.parametrize("refs", [(REF, ENTRIES), (ENTRIES, REF), (1 << 31, 1 << 31)], ids=str)
def test_there_is_no_such_reference(pair: Pair, refs: tuple[int, int]) -> None:
    with status(GrantStatus.bad_gntref):
        pair.granter.hypercall.grant_table_op.swap_grant_ref(ref_a=refs[0], ref_b=refs[1])
    assert pair.table.flags(REF) == ACCESS


# cache_flush, dump_table


@pytest.mark.parametrize(
    ("offset", "length", "what", "code"),
    [
        (0, 4096, 1, 0),
        (4000, 96, 3, 0),
        (0, 0, 1, 0),
        (0, 8, 0, 0),
        (0, 8, 2, EOPNOTSUPP),
        (4096, 0, 1, EINVAL),
        (4000, 97, 1, EINVAL),
        (0, 8, 4, EINVAL),
        (0, 8, 0x8000_0001, EINVAL),
    ],
    ids=str,
)
def test_a_cache(
    xen_domain: Domain, op: GrantTableOp, offset: int, length: int, what: int, code: int
) -> None:
    at = xen_domain.mfn_at(xen_domain.alloc_page()) << 12
    entry = h.gnttab_cache_flush(offset=offset, length=length, op=what)
    entry.a.dev_bus_addr = at
    raw = xen_domain.memory.argument(entry)
    with raw as gva:
        assert xen_domain.hypercall.raw(GrantTableOp.nr, GrantOp.cache_flush, gva, 1) == -code


def test_a_cache_of_anothers_page_is_for_who_has_it_mapped(pair: Pair) -> None:
    flush = pair.mapper.hypercall.grant_table_op.cache_flush
    with refused(EINVAL):
        flush(dev_bus_addr=pair.mfn << 12, offset=0, length=8, op=1)
    handle = pair.map(RO | DEVICE)
    flush(dev_bus_addr=pair.mfn << 12, offset=0, length=8, op=1)
    pair.unmap(handle, bus=pair.mfn << 12)
    with refused(EINVAL):
        flush(dev_bus_addr=pair.mfn << 12, offset=0, length=8, op=1)


def test_a_cache_of_no_ones_page(xen_machine: Machine, op: GrantTableOp) -> None:
    free = (64 << 8) - 1
    assert xen_machine.frame(free).owner is None
    with refused(EPERM):
        op.cache_flush(dev_bus_addr=free << 12, offset=0, length=8, op=1)
    with refused(EINVAL):
        op.cache_flush(dev_bus_addr=64 << 20, offset=0, length=8, op=1)


def test_caches_end_at_the_first_that_is_refused(xen_domain: Domain, op: GrantTableOp) -> None:
    good = h.gnttab_cache_flush(length=8, op=0)
    assert op(GrantOp.cache_flush, bytes(good) * 3, 3) == 0
    bad = h.gnttab_cache_flush(offset=4096)
    with refused(EINVAL):
        op(GrantOp.cache_flush, bytes(good) + bytes(bad) + bytes(good), 3)


def test_the_table_is_not_dumped(op: GrantTableOp) -> None:
    with refused(ENOSYS):
        op.dump_table()


@pytest.mark.parametrize("sub", [13, 14, 100, 0xFFF])
def test_no_such_sub_operation(xen_machine: Machine, op: GrantTableOp, sub: int) -> None:
    unknown = xen_machine.counters["unknown_hypercalls"]
    for more in (0, JUNK):
        with refused_without_effect(xen_machine, ENOSYS):
            op(more | sub, bytes(32), 1)
    assert xen_machine.counters["unknown_hypercalls"] == unknown + 2


def test_an_opaque_part_is_for_cache_flush_only(xen_machine: Machine, op: GrantTableOp) -> None:
    for sub in (*range(12), 13):
        with refused_without_effect(xen_machine, EINVAL):
            op(0x1000 | sub, bytes(32), 1)
