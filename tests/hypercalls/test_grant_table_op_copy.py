"""grant_table_op: copy."""

from __future__ import annotations

from typing import Any

import pytest
from hypercalls.grants import (
    ACCESS,
    ENTRIES,
    HOST,
    READ_ONLY,
    READING,
    REF,
    RO,
    Pair,
    pair_of,
    pte_address,
    references,
    status,
)
from hypercalls.support import ABSENT_DOMIDS

from xenemu import Domain, Machine
from xenemu.xen import DOMID_SELF, PAGE_SIZE, GrantFlag, GrantOp, GrantStatus, structs

copy_struct = structs.grant_table.gnttab_copy
SOURCE, DEST = 1, 2  # flags: that is a grant


@pytest.fixture
def pair(xen_machine: Machine, xen_domain: Domain) -> Pair:
    return pair_of(xen_machine, xen_domain)


def own(domain: Domain, data: bytes = b"") -> tuple[int, int]:
    """A page of its own: address and frame."""
    page = domain.alloc_page()
    domain.write(page, data)
    return page, domain.mfn_at(page)


def copy(pair: Pair, **sides: int) -> None:
    """By the mapper; 7 bytes unless it says otherwise."""
    pair.mapper.hypercall.grant_table_op.copy(**{"len": 7, **sides})


def settled(machine: Machine, pair: Pair, flags: int = ACCESS) -> bool:
    """The grant is not in use."""
    return references(machine, pair.mfn) == (2, 1) and pair.table.flags(REF) == flags


def test_from_a_grant(xen_machine: Machine, pair: Pair) -> None:
    page, mfn = own(pair.mapper)
    copy(pair, source_domid=pair.granter.id, source_ref=REF, dest_gmfn=mfn, dest_offset=100)
    assert pair.mapper.read(page + 99, 9) == b"\0granted\0"
    assert settled(xen_machine, pair)
    assert references(xen_machine, mfn) == (2, 1)


def test_to_a_grant(xen_machine: Machine, pair: Pair) -> None:
    _, mfn = own(pair.mapper, b"mine!!!")
    copy(pair, source_gmfn=mfn, dest_domid=pair.granter.id, dest_ref=REF, dest_offset=2)
    assert pair.granter.read(pair.page, 10) == b"grmine!!!\0"
    assert settled(xen_machine, pair)


def test_from_a_read_only_grant(xen_machine: Machine, pair: Pair) -> None:
    pair.table.grant(REF, pair.mapper, pair.page, READ_ONLY)
    page, mfn = own(pair.mapper)
    copy(pair, source_domid=pair.granter.id, source_ref=REF, dest_gmfn=mfn)
    assert pair.mapper.read(page, 7) == b"granted"
    with status(GrantStatus.general_error):
        copy(pair, source_gmfn=mfn, dest_domid=pair.granter.id, dest_ref=REF)
    assert settled(xen_machine, pair, READ_ONLY)


def test_between_two_grants(xen_machine: Machine, pair: Pair) -> None:
    other = pair.granter.alloc_page()
    pair.table.grant(9, pair.mapper, other)
    granter = pair.granter.id
    copy(pair, source_domid=granter, source_ref=REF, dest_domid=granter, dest_ref=9)
    assert pair.granter.read(other, 7) == b"granted"
    assert settled(xen_machine, pair)
    assert pair.table.flags(9) == ACCESS


def test_between_grants_of_two_domains(xen_machine: Machine, pair: Pair) -> None:
    third = pair_of(xen_machine, xen_machine.create_domain())
    third.table.grant(REF, pair.mapper, third.page)
    third.granter.write(third.page, b"thirds!")
    copy(
        pair,
        source_domid=third.granter.id,
        source_ref=REF,
        dest_domid=pair.granter.id,
        dest_ref=REF,
    )
    assert pair.granter.read(pair.page, 7) == b"thirds!"
    assert settled(xen_machine, pair)
    assert settled(xen_machine, third)


def test_between_two_pages_of_its_own(pair: Pair) -> None:
    _, one = own(pair.mapper, b"one two")
    page, two = own(pair.mapper)
    copy(pair, source_gmfn=one, dest_gmfn=two)
    assert pair.mapper.read(page, 7) == b"one two"


@pytest.mark.parametrize(
    ("source", "dest", "n", "expected"),
    [(0, 8, 24, b"01234567" * 4), (8, 0, 8, b"89abcdef89abcdef"), (0, 0, 16, b"0123456789abcdef")],
    ids=["up", "down", "in place"],
)
def test_an_overlap_is_copied_upwards_by_words(
    pair: Pair, source: int, dest: int, n: int, expected: bytes
) -> None:
    page, mfn = own(pair.mapper, b"0123456789abcdef")
    copy(pair, source_gmfn=mfn, dest_gmfn=mfn, source_offset=source, dest_offset=dest, len=n)
    assert pair.mapper.read(page, len(expected)) == expected


def test_oneself_is_a_granter_too(pair: Pair) -> None:
    pair.table.grant(9, pair.granter, pair.page)
    page, mfn = own(pair.granter)
    for domid in (DOMID_SELF, pair.granter.id):
        pair.granter.write(page, bytes(7))
        pair.granter.hypercall.grant_table_op.copy(
            source_domid=domid, source_ref=9, dest_gmfn=mfn, len=7
        )
        assert pair.granter.read(page, 7) == b"granted"


def test_a_grant_in_use_stays_so(pair: Pair) -> None:
    handle = pair.map(HOST | RO)
    _, mfn = own(pair.mapper, b"written")
    copy(pair, source_gmfn=mfn, dest_domid=pair.granter.id, dest_ref=REF)
    assert pair.mapper.read(pair.at, 7) == b"written"
    assert pair.table.flags(REF) == READING
    pair.unmap(handle)
    assert pair.table.flags(REF) == ACCESS


def test_whole_pages(pair: Pair) -> None:
    data = bytes(range(256)) * 16
    _, mfn = own(pair.mapper, data)
    copy(pair, source_gmfn=mfn, dest_domid=pair.granter.id, dest_ref=REF, len=PAGE_SIZE)
    assert pair.granter.read(pair.page, PAGE_SIZE) == data


@pytest.mark.parametrize(
    ("source", "dest", "n"),
    [(0, 1, 4096), (1, 0, 4096), (4097, 0, 0), (0, 65535, 0), (4095, 0, 2), (0, 0, 65535)],
    ids=str,
)
def test_no_further_than_the_page(
    xen_machine: Machine, pair: Pair, source: int, dest: int, n: int
) -> None:
    _, mfn = own(pair.mapper, bytes(4096))
    with status(GrantStatus.bad_copy_arg):
        copy(
            pair,
            source_gmfn=mfn,
            source_offset=source,
            dest_domid=pair.granter.id,
            dest_ref=REF,
            dest_offset=dest,
            len=n,
        )
    assert pair.granter.read(pair.page, 7) == b"granted"
    assert settled(xen_machine, pair)


def test_nothing_may_be_copied_at_the_end(pair: Pair) -> None:
    _, mfn = own(pair.mapper)
    copy(pair, source_gmfn=mfn, dest_gmfn=mfn, source_offset=4096, dest_offset=4096, len=0)


# what is refused: the grant as source and as destination

SIDES = pytest.mark.parametrize("side", ["source", "dest"])


def copy_grant(pair: Pair, side: str, domid: int | None = None, ref: int = REF) -> None:
    """To or from a page of the mapper's own."""
    _, mfn = own(pair.mapper)
    other = "dest" if side == "source" else "source"
    domid = pair.granter.id if domid is None else domid
    copy(pair, **{f"{side}_domid": domid, f"{side}_ref": ref, f"{other}_gmfn": mfn})


@SIDES
@ABSENT_DOMIDS
def test_there_is_no_such_domain(pair: Pair, side: str, absent: int) -> None:
    with status(GrantStatus.bad_domain):
        copy_grant(pair, side, absent)


@SIDES
@pytest.mark.parametrize("ref", [ENTRIES, 0xFFFF_FFFF], ids=hex)
def test_there_is_no_such_reference(pair: Pair, side: str, ref: int) -> None:
    with status(GrantStatus.bad_gntref):
        copy_grant(pair, side, ref=ref)


@SIDES
@pytest.mark.parametrize("entry", [0, GrantFlag.accept_transfer, 3], ids=hex)
def test_the_entry_does_not_grant_it(
    xen_machine: Machine, pair: Pair, side: str, entry: int
) -> None:
    pair.table.grant(REF, pair.mapper, pair.page, entry)
    with status(GrantStatus.general_error):
        copy_grant(pair, side)
    assert settled(xen_machine, pair, entry)


@SIDES
def test_the_grant_is_another_domains(xen_machine: Machine, pair: Pair, side: str) -> None:
    pair.table.grant(REF, xen_machine.control, pair.page)
    with status(GrantStatus.general_error):
        copy_grant(pair, side)
    assert settled(xen_machine, pair)


@SIDES
def test_a_grant_that_another_has_mapped(xen_machine: Machine, pair: Pair, side: str) -> None:
    pair.map()
    third = xen_machine.create_domain()
    pair.table.grant(REF, third, pair.page)
    pair.mapper = third
    with status(GrantStatus.general_error):
        copy_grant(pair, side)
    assert references(xen_machine, pair.mfn) == (3, 2)


@SIDES
@pytest.mark.parametrize("mfn", [0, 64 << 8, 0xFFFF_FFFF], ids=hex)
def test_the_frame_is_not_the_granters(pair: Pair, side: str, mfn: int) -> None:
    pair.table.put(REF, ACCESS, pair.mapper.id, mfn)
    with status(GrantStatus.bad_page):
        copy_grant(pair, side)
    assert pair.table.flags(REF) == ACCESS


@SIDES
def test_only_oneself_is_named_with_a_frame(xen_control: Domain, pair: Pair, side: str) -> None:
    for caller, domid in ((pair.mapper, pair.mapper.id), (xen_control, pair.granter.id)):
        _, mfn = own(caller)
        frames = {"source_gmfn": mfn, "dest_gmfn": mfn, f"{side}_domid": domid}
        with status(GrantStatus.permission_denied):
            caller.hypercall.grant_table_op.copy(**{"len": 7, **frames})


@SIDES
@pytest.mark.parametrize("mfn", [0, 64 << 8, (1 << 64) - 1], ids=hex)
def test_a_frame_that_is_not_its_own(pair: Pair, side: str, mfn: int) -> None:
    _, mine = own(pair.mapper)
    for frame in (mfn, pair.mfn):
        with status(GrantStatus.bad_page):
            copy(pair, **{"source_gmfn": mine, "dest_gmfn": mine, f"{side}_gmfn": frame})


def test_a_page_table_is_read_but_not_written(xen_machine: Machine, pair: Pair) -> None:
    _, mine = own(pair.mapper)
    tables = pte_address(xen_machine, pair.mapper, pair.at) >> 12
    copy(pair, source_gmfn=tables, dest_gmfn=mine)
    with status(GrantStatus.general_error):
        copy(pair, source_gmfn=mine, dest_gmfn=tables)
    granted = pte_address(xen_machine, pair.granter, pair.page) >> 12
    pair.table.put(REF, ACCESS, pair.mapper.id, granted)
    copy_grant(pair, "source")
    with status(GrantStatus.general_error):
        copy_grant(pair, "dest")
    assert pair.table.flags(REF) == ACCESS
    assert xen_machine.frame(granted).type == "l1"


def test_a_sub_page_grant_is_copied(pair: Pair) -> None:
    pair.table.grant(REF, pair.mapper, pair.page, ACCESS | GrantFlag.sub_page)
    copy_grant(pair, "source")


@SIDES
def test_of_a_dying_domain_nothing_is_copied(pair: Pair, side: str) -> None:
    handle = pair.map()
    pair.granter.destroy()
    with status(GrantStatus.bad_domain):
        copy_grant(pair, side)
    assert pair.mapper.read(pair.at, 7) == b"granted"
    pair.unmap(handle)
    assert not pair.granter.exists


# several


def element(pair: Pair, page: int, offset: int, n: int = 7) -> Any:
    """From the grant to a page of the mapper's own."""
    entry = copy_struct(flags=SOURCE, len=n)
    entry.source.u.ref, entry.source.domid = REF, pair.granter.id
    entry.dest.u.gmfn, entry.dest.domid = pair.mapper.mfn_at(page), DOMID_SELF
    entry.dest.offset = offset
    return entry


def test_one_that_fails_does_not_end_it(xen_machine: Machine, pair: Pair) -> None:
    page = pair.mapper.alloc_page()
    entries = [element(pair, page, 0), element(pair, page, 8, 9999), element(pair, page, 16)]
    got = pair.mapper.hypercall.grant_table_op.batch(GrantOp.copy, entries)
    assert got == [GrantStatus.okay, GrantStatus.bad_copy_arg, GrantStatus.okay]
    assert pair.mapper.read(page, 23) == b"granted" + bytes(9) + b"granted"
    assert settled(xen_machine, pair)


def test_both_sides_stay_acquired_from_one_to_the_next(pair: Pair) -> None:
    """So the entry may go meanwhile: here the first copy overwrites it."""
    pair.table.grant(9, pair.mapper, pair.page, READ_ONLY)
    pair.table.put(10, ACCESS, pair.mapper.id, pair.table.mfns[0])
    entries = []
    for _ in range(2):
        entry = copy_struct(flags=SOURCE | DEST, len=8)
        entry.source.u.ref, entry.source.domid = 9, pair.granter.id
        entry.dest.u.ref, entry.dest.domid = 10, pair.granter.id
        entry.source.offset = entry.dest.offset = 9 * 8
        entries.append(entry)
    got = pair.mapper.hypercall.grant_table_op.batch(GrantOp.copy, entries)
    assert got == [GrantStatus.okay, GrantStatus.okay]
    assert pair.table.flags(9) == 0
    assert pair.mapper.hypercall.grant_table_op.batch(GrantOp.copy, entries[:1]) == [
        GrantStatus.general_error
    ]
