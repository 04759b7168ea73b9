"""grant_table_op: arrays of entries where they should not be, of too many, half done."""

from __future__ import annotations

import ctypes
from errno import EFAULT, EINVAL, ESRCH
from typing import Any

import pytest
from hypercalls.grants import ACCESS, DEVICE, HOST, REF, RO, Pair, pair_of, references
from hypercalls.support import (
    JUNK,
    NOT_CANONICAL,
    NOWHERE,
    XEN_VA,
    back,
    placed,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import DOMID_SELF, GrantOp, GrantStatus, structs

h = structs.grant_table
OP = Hypercall.grant_table_op


@pytest.fixture
def pair(xen_machine: Machine, xen_domain: Domain) -> Pair:
    return pair_of(xen_machine, xen_domain)


def copied(pair: Pair) -> Any:
    entry = h.gnttab_copy(len=7, flags=2)
    entry.source.u.gmfn = pair.mapper.mfn_at(pair.mapper.memory.base)
    entry.source.domid = DOMID_SELF
    entry.dest.u.ref, entry.dest.domid = REF, pair.granter.id
    return entry


def entry_of(op: GrantOp, pair: Pair) -> Any:
    """One that gets a status, okay or not, from the mapper's call."""
    return {
        GrantOp.map_grant_ref: lambda: h.gnttab_map_grant_ref(
            flags=DEVICE, ref=REF, dom=pair.granter.id, handle=99
        ),
        GrantOp.unmap_grant_ref: lambda: h.gnttab_unmap_grant_ref(handle=99),
        GrantOp.unmap_and_replace: lambda: h.gnttab_unmap_and_replace(handle=99),
        GrantOp.transfer: lambda: h.gnttab_transfer(mfn=1 << 40),
        GrantOp.copy: lambda: copied(pair),
        GrantOp.swap_grant_ref: lambda: h.gnttab_swap_grant_ref(ref_a=1, ref_b=2),
        GrantOp.setup_table: lambda: h.gnttab_setup_table(dom=DOMID_SELF, nr_frames=0),
        GrantOp.query_size: lambda: h.gnttab_query_size(dom=DOMID_SELF),
        GrantOp.get_status_frames: lambda: h.gnttab_get_status_frames(dom=DOMID_SELF),
    }[op]()


STATUS = {
    GrantOp.map_grant_ref: 0,
    GrantOp.unmap_grant_ref: GrantStatus.bad_handle,
    GrantOp.unmap_and_replace: GrantStatus.bad_handle,
    GrantOp.transfer: GrantStatus.bad_page,
    GrantOp.copy: 0,
    GrantOp.swap_grant_ref: 0,
    GrantOp.setup_table: 0,
    GrantOp.query_size: 0,
    GrantOp.get_status_frames: 0,
}
ARRAYS = list(STATUS)[:6]
EACH = pytest.mark.parametrize("op", STATUS, ids=lambda op: op.name)
ARRAY = pytest.mark.parametrize("op", ARRAYS, ids=lambda op: op.name)
ALL = pytest.mark.parametrize(
    "op", [op for op in GrantOp if op != GrantOp.dump_table], ids=lambda op: op.name
)


def is_settled(machine: Machine, pair: Pair) -> bool:
    return references(machine, pair.mfn) == (2, 1) and pair.table.flags(REF) == ACCESS


@ALL
@NOWHERE
def test_no_entries(xen_machine: Machine, pair: Pair, op: GrantOp, nowhere: int) -> None:
    with refused(EFAULT):
        pair.mapper.hypercall.grant_table_op(op, nowhere, 1)
    assert is_settled(xen_machine, pair)


@ALL
def test_the_end_of_an_entry_is_not_mapped(xen_machine: Machine, pair: Pair, op: GrantOp) -> None:
    at = straddling(pair.mapper, bytes(3), mapped=False, first=3)
    with refused(EFAULT):
        pair.mapper.hypercall.grant_table_op(op, at, 1)
    assert is_settled(xen_machine, pair)


@EACH
def test_an_entry_across_two_pages(pair: Pair, op: GrantOp) -> None:
    entry = entry_of(op, pair)
    entry.status = 77
    at = straddling(pair.mapper, entry, first=ctypes.sizeof(entry) // 2)
    assert pair.mapper.hypercall.grant_table_op(op, at, 1) == 0
    assert back(pair.mapper, entry, at).status == STATUS[op]


@EACH
def test_a_status_that_can_not_be_written_is_a_fault_after_the_deed(
    xen_machine: Machine, pair: Pair, op: GrantOp
) -> None:
    at = read_only(pair.mapper, entry_of(op, pair))
    with refused(EFAULT):
        pair.mapper.hypercall.grant_table_op(op, at, 1)
    if op == GrantOp.map_grant_ref:
        assert references(xen_machine, pair.mfn) == (3, 2)
    else:
        assert is_settled(xen_machine, pair)


def test_only_what_comes_out_is_written(pair: Pair) -> None:
    """Of a map that is all."""
    for op in STATUS:
        entry = entry_of(op, pair)
        expected = type(entry).from_buffer_copy(entry)
        expected.status = STATUS[op]
        if op == GrantOp.map_grant_ref:
            expected.handle, expected.dev_bus_addr = 0, pair.mfn << 12
        elif op == GrantOp.query_size:
            expected.nr_frames, expected.max_nr_frames = 1, 64
        at = placed(pair.mapper, entry)
        assert pair.mapper.hypercall.grant_table_op(op, at, 1) == 0
        assert bytes(back(pair.mapper, entry, at)) == bytes(expected)


def test_a_map_that_fails_leaves_handle_and_address(pair: Pair) -> None:
    entry = h.gnttab_map_grant_ref(
        flags=DEVICE, ref=0, dom=pair.granter.id, handle=99, dev_bus_addr=5
    )
    pair.mapper.hypercall.grant_table_op.batch(GrantOp.map_grant_ref, [entry])
    assert (entry.status, entry.handle, entry.dev_bus_addr) == (-1, 99, 5)


@ARRAY
def test_of_many_all_are_done(pair: Pair, op: GrantOp) -> None:
    entries = [entry_of(op, pair) for _ in range(50)]
    got = pair.mapper.hypercall.grant_table_op.batch(op, entries)
    assert got == [STATUS[op]] * 50


def test_what_comes_before_the_end_of_memory_is_done(xen_machine: Machine, pair: Pair) -> None:
    entry = bytes(entry_of(GrantOp.map_grant_ref, pair))
    at = straddling(pair.mapper, entry * 3, mapped=False, first=96)
    with refused(EFAULT):
        pair.mapper.hypercall.grant_table_op(GrantOp.map_grant_ref, at, 4)
    assert references(xen_machine, pair.mfn) == (5, 4)
    done = pair.mapper.memory.read_struct(h.gnttab_map_grant_ref, at + 64)
    assert (done.status, done.handle) == (0, 2)


def test_a_copy_that_ends_in_a_fault_releases_its_grants(xen_machine: Machine, pair: Pair) -> None:
    at = straddling(pair.mapper, bytes(copied(pair)) * 2, mapped=False, first=80)
    with refused(EFAULT):
        pair.mapper.hypercall.grant_table_op(GrantOp.copy, at, 3)
    assert is_settled(xen_machine, pair)


@ARRAY
def test_a_huge_count_ends_where_memory_does(xen_machine: Machine, pair: Pair, op: GrantOp) -> None:
    with refused(EFAULT):
        at = straddling(pair.mapper, bytes(8), mapped=False, first=8)
        pair.mapper.hypercall.grant_table_op(op, at, 0x7FFF_FFFF)


@ALL
@pytest.mark.parametrize("count", [1 << 31, 0xFFFF_FFFF], ids=hex)
def test_a_count_is_no_negative_number(
    xen_machine: Machine, pair: Pair, op: GrantOp, count: int
) -> None:
    with refused(EINVAL):
        pair.mapper.hypercall.grant_table_op(op, bytes(40), count)
    assert is_settled(xen_machine, pair)


@ARRAY
def test_of_none_only_the_address_is_looked_at(pair: Pair, op: GrantOp) -> None:
    call = pair.mapper.hypercall.grant_table_op
    assert call(op, 0, 0) == 0
    for nowhere in (XEN_VA, NOT_CANONICAL):
        with refused(EFAULT):
            call(op, nowhere, 0)


@EACH
def test_upper_halves_of_registers_do_not_count(pair: Pair, op: GrantOp) -> None:
    entry = entry_of(op, pair)
    at = placed(pair.mapper, entry)
    assert pair.mapper.hypercall.raw(OP, JUNK | op, at, JUNK | 1, JUNK, JUNK) == 0
    assert back(pair.mapper, entry, at).status == STATUS[op]


def test_the_dying_make_no_calls(xen_machine: Machine, pair: Pair) -> None:
    pair.map()
    pair.granter.destroy()
    assert pair.granter.info.dying
    with refused(ESRCH):
        pair.granter.hypercall(OP, GrantOp.swap_grant_ref, pair.at, 1)


def test_entries_are_read_one_after_the_other(pair: Pair) -> None:
    """A map may replace the page where the next entry lies."""
    fresh = h.gnttab_map_grant_ref(
        flags=HOST | RO, ref=0, dom=pair.granter.id, status=77, host_addr=0
    )
    pair.granter.write(pair.page, bytes(64) + bytes(fresh))
    at = placed(pair.mapper, bytes(64))
    first = entry_of(GrantOp.map_grant_ref, pair)
    first.flags, first.host_addr = HOST, at
    pair.mapper.write(at + 32, bytes(first))
    assert pair.mapper.hypercall.grant_table_op(GrantOp.map_grant_ref, at + 32, 2) == 0
    done = pair.mapper.memory.read_struct(h.gnttab_map_grant_ref, at + 32)
    assert (done.status, done.host_addr) == (0, at)
    after = pair.mapper.memory.read_struct(h.gnttab_map_grant_ref, at + 64)
    assert after.status == GrantStatus.general_error
