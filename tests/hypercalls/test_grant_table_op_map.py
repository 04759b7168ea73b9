"""grant_table_op: map_grant_ref and unmap_grant_ref."""

from __future__ import annotations

import pytest
from hypercalls.grants import (
    ACCESS,
    DEVICE,
    ENTRIES,
    HOST,
    READ_ONLY,
    READING,
    REF,
    RO,
    WRITING,
    Pair,
    map_status,
    pair_of,
    pte_address,
    pte_of,
    references,
    status,
)
from hypercalls.support import ABSENT_DOMIDS, NOT_CANONICAL, UNMAPPED, XEN_VA

from xenemu import Domain, Machine
from xenemu.xen import DOMID_SELF, GrantFlag, GrantMap, GrantStatus

PIN_MOST = 128  # uses of one kind of an entry
OTHER = 9


@pytest.fixture
def pair(xen_machine: Machine, xen_domain: Domain) -> Pair:
    return pair_of(xen_machine, xen_domain)


# what a mapping is


def test_a_mapped_page_is_one_memory_for_both(pair: Pair) -> None:
    pair.map()
    assert pair.mapper.read(pair.at, 7) == b"granted"
    pair.mapper.write(pair.at, b"changed")
    assert pair.granter.read(pair.page, 7) == b"changed"


@pytest.mark.parametrize(
    ("flags", "entry", "refs", "uses"),
    [
        (HOST, WRITING, 1, 1),
        (HOST | RO, READING, 1, 0),
        (DEVICE, WRITING, 1, 1),
        (DEVICE | RO, READING, 1, 0),
        (HOST | DEVICE, WRITING, 2, 2),
        (HOST | DEVICE | RO, READING, 2, 0),
    ],
    ids=str,
)
def test_a_mapping_holds_references_and_shows_in_the_entry(
    xen_machine: Machine, pair: Pair, flags: int, entry: int, refs: int, uses: int
) -> None:
    assert references(xen_machine, pair.mfn) == (2, 1)
    handle = pair.map(flags)
    assert references(xen_machine, pair.mfn) == (2 + refs, 1 + uses)
    assert pair.table.flags(REF) == entry
    assert (pair.table.entry(REF).domid, pair.table.entry(REF).frame) == (
        pair.mapper.id,
        pair.mfn,
    )
    pair.unmap(handle, bus=pair.mfn << 12)
    assert references(xen_machine, pair.mfn) == (2, 1)
    assert pair.table.flags(REF) == ACCESS


def test_the_bus_address_is_the_machine_address(pair: Pair) -> None:
    op = pair.mapper.hypercall.grant_table_op
    mapping = op.map_grant_ref(host_addr=0, flags=DEVICE, ref=REF, dom=pair.granter.id)
    assert mapping.dev_bus_addr == pair.mfn << 12


def test_a_read_only_mapping_is_not_written(pair: Pair) -> None:
    pair.table.grant(REF, pair.mapper, pair.page, READ_ONLY)
    pair.map(HOST | RO)
    assert pair.mapper.read(pair.at, 7) == b"granted"
    with pytest.raises(OSError, match="Bad address"):
        pair.mapper.write(pair.at, b"x")


def test_flags_reach_the_page_table_entry(xen_machine: Machine, pair: Pair) -> None:
    pair.map(HOST | 5 << 16)
    kernel = pte_of(xen_machine, pair.mapper, pair.at)
    assert kernel >> 9 & 7 == 5
    assert kernel & 0xFFF & ~0xE04 == 0x63
    other = pair.mapper.alloc_page()
    pair.map(HOST | RO | GrantMap.application_map, at=other)
    user = pte_of(xen_machine, pair.mapper, other)
    assert user & 7 == 5


def test_an_entry_is_named_by_its_machine_address(xen_machine: Machine, pair: Pair) -> None:
    at = pte_address(xen_machine, pair.mapper, pair.at)
    handle = pair.map(HOST | GrantMap.contains_pte, at=at)
    assert pair.mapper.read(pair.at, 7) == b"granted"
    pair.unmap(handle, at=at)
    assert pte_of(xen_machine, pair.mapper, pair.at) == 0


def test_what_was_mapped_there_before_goes(xen_machine: Machine, pair: Pair) -> None:
    at = pair.mapper.alloc_page()
    old = pair.mapper.mfn_at(at)
    assert references(xen_machine, old) == (2, 1)
    pair.map(at=at)
    assert references(xen_machine, old) == (1, 0)


def test_a_domain_maps_its_own_grant(pair: Pair) -> None:
    pair.table.grant(OTHER, pair.granter, pair.page)
    at = pair.granter.alloc_page()
    assert map_status(pair.granter, pair.granter, OTHER, at) == 0
    assert pair.granter.read(at, 7) == b"granted"


def test_a_grant_to_the_control_domain_needs_no_privilege_of_the_granter(
    xen_control: Domain, pair: Pair
) -> None:
    pair.table.grant(OTHER, xen_control, pair.page)
    assert map_status(xen_control, pair.granter, OTHER, xen_control.alloc_page()) == 0


def test_a_page_table_is_granted_for_reading_only(xen_machine: Machine, pair: Pair) -> None:
    table = pte_address(xen_machine, pair.granter, pair.page) >> 12
    pair.table.put(OTHER, ACCESS, pair.mapper.id, table)
    assert map_status(pair.mapper, pair.granter, OTHER, pair.at) == GrantStatus.general_error
    assert pair.table.flags(OTHER) == ACCESS
    assert map_status(pair.mapper, pair.granter, OTHER, pair.at, HOST | RO) == 0
    assert xen_machine.frame(table).type == "l1"


# what is refused


@pytest.mark.parametrize("flags", [0, RO, GrantMap.application_map, 0xFFE0_FFE0], ids=hex)
def test_a_map_says_what_for(pair: Pair, flags: int) -> None:
    with status(GrantStatus.bad_gntref):
        pair.map(flags)


@ABSENT_DOMIDS
def test_there_is_no_such_domain(pair: Pair, absent: int) -> None:
    op = pair.mapper.hypercall.grant_table_op
    with status(GrantStatus.bad_domain):
        op.map_grant_ref(host_addr=pair.at, flags=HOST, ref=REF, dom=absent)


def test_oneself_is_named_by_number_only(pair: Pair) -> None:
    op = pair.mapper.hypercall.grant_table_op
    with status(GrantStatus.bad_domain):
        op.map_grant_ref(host_addr=pair.at, flags=HOST, ref=REF, dom=DOMID_SELF)


@pytest.mark.parametrize("ref", [ENTRIES, 1 << 31, 0xFFFF_FFFF], ids=hex)
def test_there_is_no_such_reference(pair: Pair, ref: int) -> None:
    with status(GrantStatus.bad_gntref):
        pair.map(ref=ref)


@pytest.mark.parametrize(
    ("entry", "flags", "expected"),
    [
        (0, HOST, GrantStatus.general_error),
        (READ_ONLY, HOST, GrantStatus.general_error),
        (READ_ONLY, DEVICE, GrantStatus.general_error),
        (GrantFlag.accept_transfer, HOST, GrantStatus.general_error),
        (3, HOST | RO, GrantStatus.general_error),
        (ACCESS | GrantFlag.sub_page, HOST | RO, GrantStatus.general_error),
    ],
    ids=str,
)
def test_the_entry_does_not_grant_it(
    xen_machine: Machine, pair: Pair, entry: int, flags: int, expected: GrantStatus
) -> None:
    pair.table.grant(REF, pair.mapper, pair.page, entry)
    with status(expected):
        pair.map(flags)
    assert pair.table.flags(REF) == entry
    assert references(xen_machine, pair.mfn) == (2, 1)


def test_the_grant_is_another_domains(xen_machine: Machine, pair: Pair) -> None:
    third = xen_machine.create_domain()
    assert map_status(third, pair.granter, REF, third.alloc_page()) == GrantStatus.general_error
    control = xen_machine.control
    at = control.alloc_page()
    assert map_status(control, pair.granter, REF, at) == GrantStatus.general_error
    assert pair.table.flags(REF) == ACCESS


def test_a_grant_in_use_is_its_users_whatever_the_entry_says(
    xen_machine: Machine, pair: Pair
) -> None:
    pair.map()
    third = xen_machine.create_domain()
    pair.table.grant(REF, third, pair.page)
    assert map_status(third, pair.granter, REF, third.alloc_page()) == GrantStatus.general_error
    pair.map(at=pair.mapper.alloc_page())
    assert references(xen_machine, pair.mfn) == (4, 3)


def test_a_mapping_of_an_entry_in_use_is_of_the_frame_it_had(pair: Pair) -> None:
    pair.map()
    other = pair.granter.alloc_page()
    pair.table.grant(REF, pair.mapper, other, WRITING)
    at = pair.mapper.alloc_page()
    pair.map(at=at)
    assert pair.mapper.read(at, 7) == b"granted"


@pytest.mark.parametrize("frame", ["another's", "absent", "huge"])
def test_the_frame_is_not_the_granters(xen_machine: Machine, pair: Pair, frame: str) -> None:
    mapper_page = pair.mapper.mfn_at(pair.mapper.alloc_page())
    mfn = {"another's": mapper_page, "absent": 64 << 8, "huge": 0xFFFF_FFFF}[frame]
    pair.table.put(REF, ACCESS, pair.mapper.id, mfn)
    with status(GrantStatus.bad_page):
        pair.map()
    assert pair.table.flags(REF) == ACCESS
    assert references(xen_machine, mapper_page) == (2, 1)


@pytest.mark.parametrize("at", [0, UNMAPPED, XEN_VA, NOT_CANONICAL], ids=hex)
def test_nothing_can_be_mapped_there(xen_machine: Machine, pair: Pair, at: int) -> None:
    with status(GrantStatus.general_error):
        pair.map(at=at)
    assert references(xen_machine, pair.mfn) == (2, 1)
    assert pair.table.flags(REF) == ACCESS


@pytest.mark.parametrize("which", ["memory", "foreign", "crooked", "beyond"])
def test_it_is_no_page_table_entry(xen_machine: Machine, pair: Pair, which: str) -> None:
    own = pte_address(xen_machine, pair.mapper, pair.at)
    at = {
        "memory": pair.mapper.mfn_at(pair.mapper.alloc_page()) << 12,
        "foreign": pte_address(xen_machine, pair.granter, pair.page),
        "crooked": own + 4,
        "beyond": 1 << 51,
    }[which]
    before = pte_of(xen_machine, pair.granter, pair.page)
    with status(GrantStatus.general_error):
        pair.map(HOST | GrantMap.contains_pte, at=at)
    assert pte_of(xen_machine, pair.granter, pair.page) == before
    assert pte_of(xen_machine, pair.mapper, pair.at) == 0
    assert references(xen_machine, pair.mfn) == (2, 1)


@pytest.mark.parametrize("flags", [DEVICE, DEVICE | RO], ids=str)
def test_an_entry_has_so_many_uses(pair: Pair, flags: int) -> None:
    for _ in range(PIN_MOST):
        pair.map(flags)
    with status(GrantStatus.general_error):
        pair.map(flags)
    pair.map(HOST | flags & RO)
