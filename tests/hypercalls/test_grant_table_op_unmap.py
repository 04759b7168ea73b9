"""grant_table_op: unmap_grant_ref, unmap_and_replace, handles, and domains that die."""

from __future__ import annotations

from errno import EBUSY

import pytest
from hypercalls.grants import (
    ACCESS,
    DEVICE,
    ENTRIES,
    HOST,
    REF,
    RO,
    WRITING,
    Pair,
    Table,
    map_status,
    pair_of,
    pte_address,
    pte_of,
    references,
    status,
)
from hypercalls.support import NOT_CANONICAL, PRESENT_RW, UNMAPPED, XEN_VA, refused

from xenemu import Domain, Machine
from xenemu.xen import PAGE_SIZE, GrantMap, GrantStatus, Shutdown, structs


@pytest.fixture
def pair(xen_machine: Machine, xen_domain: Domain) -> Pair:
    return pair_of(xen_machine, xen_domain)


# handles and unmaps


def test_handles_count_up_and_a_free_one_is_last_in_the_line(pair: Pair) -> None:
    assert [pair.map(DEVICE) for _ in range(3)] == [0, 1, 2]
    pair.unmap(1, bus=pair.mfn << 12)
    assert [pair.map(DEVICE) for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("handle", [1, 255, 256, 0xFFFF_FFFF], ids=hex)
def test_there_is_no_such_handle(pair: Pair, handle: int) -> None:
    with status(GrantStatus.bad_handle):
        pair.unmap(handle)
    pair.map()
    with status(GrantStatus.bad_handle):
        pair.unmap(handle)
    assert pair.mapper.read(pair.at, 7) == b"granted"


def test_a_handle_is_good_once(pair: Pair) -> None:
    handle = pair.map()
    pair.unmap(handle)
    with status(GrantStatus.bad_handle):
        pair.unmap(handle)


def test_a_handle_is_its_domains(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map()
    op = pair.granter.hypercall.grant_table_op
    with status(GrantStatus.bad_handle):
        op.unmap_grant_ref(host_addr=pair.at, handle=handle)
    assert references(xen_machine, pair.mfn) == (3, 2)


def test_both_uses_of_a_handle_go_one_by_one(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map(HOST | DEVICE)
    pair.unmap(handle, at=0)
    assert references(xen_machine, pair.mfn) == (4, 3)
    pair.unmap(handle)
    assert references(xen_machine, pair.mfn) == (3, 2)
    assert pair.table.flags(REF) == WRITING
    with pytest.raises(OSError, match="Bad address"):
        pair.mapper.read(pair.at, 1)
    pair.unmap(handle, at=0, bus=pair.mfn << 12)
    with status(GrantStatus.bad_handle):
        pair.unmap(handle)


def test_another_bus_address_is_refused(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map(HOST | DEVICE)
    with status(GrantStatus.bad_dev_addr):
        pair.unmap(handle, bus=(pair.mfn << 12) + 1)
    assert references(xen_machine, pair.mfn) == (4, 3)


@pytest.mark.parametrize("where", ["elsewhere", "nowhere", "own page", "read-only twin"])
def test_it_is_not_mapped_there(xen_machine: Machine, pair: Pair, where: str) -> None:
    handle = pair.map()
    twin = pair.mapper.alloc_page()
    pair.map(HOST | RO, at=twin)
    spare = pair.mapper.alloc_page()
    pair.mapper.hypercall.update_va_mapping(spare, 0)
    at = {
        "elsewhere": spare,
        "nowhere": UNMAPPED,
        "own page": pair.mapper.alloc_page(),
        "read-only twin": twin,
    }[where]
    before = references(xen_machine, pair.mfn)
    with status(GrantStatus.general_error):
        pair.unmap(handle, at=at)
    assert references(xen_machine, pair.mfn) == before
    assert pair.table.flags(REF) == WRITING


def test_all_handles(xen_machine: Machine) -> None:
    """1024 frames of 256 handles; an entry has 128 readers, so there must be many entries."""
    most, refs, many = 1024 * 256, 2048, 1 << 13
    granter, mapper = xen_machine.create_domain(), xen_machine.create_domain()
    table = Table(granter, refs // ENTRIES)
    page = granter.alloc_page()
    for ref in range(refs):
        table.grant(ref, mapper, page)
    kind = structs.grant_table.gnttab_map_grant_ref
    at = mapper.memory.alloc_page(many * 32 // PAGE_SIZE)
    entries = (kind(flags=DEVICE | RO, ref=i % refs, dom=granter.id) for i in range(many))
    array = b"".join(map(bytes, entries))
    for _ in range(most // many):
        mapper.write(at, array)
        assert mapper.hypercall.grant_table_op(0, at, many) == 0
    last = [mapper.memory.read_struct(kind, at + (many - i) * 32) for i in (2, 1)]
    assert (last[0].status, last[0].handle) == (0, most - 1)
    assert last[1].status == GrantStatus.no_space  # 255 is the list's tail, which stays
    assert map_status(mapper, granter, 0, 0, DEVICE) == GrantStatus.no_space
    op = mapper.hypercall.grant_table_op
    op.unmap_grant_ref(host_addr=0, handle=77, dev_bus_addr=granter.mfn_at(page) << 12)
    assert op.map_grant_ref(host_addr=0, flags=DEVICE, ref=0, dom=granter.id).handle == 255
    assert map_status(mapper, granter, 0, 0, DEVICE) == GrantStatus.no_space


# deaths


def test_a_granter_that_dies_stays_until_the_unmap(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map()
    pair.granter.destroy()
    assert pair.granter.info.dying
    assert pair.granter.info.tot_pages == 1
    assert pair.mapper.read(pair.at, 7) == b"granted"
    pair.unmap(handle)
    assert not pair.granter.exists


def test_a_mapping_of_a_dying_domains_page_can_be_repeated(
    xen_machine: Machine, pair: Pair
) -> None:
    pair.map()
    pair.granter.destroy()
    pair.map(at=pair.mapper.alloc_page())
    assert references(xen_machine, pair.mfn) == (2, 2)


def test_a_mapper_that_dies_gives_all_back(xen_machine: Machine, pair: Pair) -> None:
    pair.map(HOST | DEVICE)
    pair.map(DEVICE | RO)
    pair.mapper.destroy()
    assert not pair.mapper.exists
    assert references(xen_machine, pair.mfn) == (2, 1)
    assert pair.table.flags(REF) == ACCESS


def test_a_lost_mapping_keeps_its_handle(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map()
    pair.mapper.hypercall.update_va_mapping(pair.at, 0)
    assert references(xen_machine, pair.mfn) == (2, 1)
    assert pair.table.flags(REF) == WRITING
    with status(GrantStatus.general_error):
        pair.unmap(handle)


def test_an_unmap_for_a_domain_that_is_gone_crashes_the_caller(
    xen_machine: Machine, pair: Pair
) -> None:
    handle = pair.map()
    pair.mapper.hypercall.update_va_mapping(pair.at, 0)
    pair.granter.destroy()
    assert not pair.granter.exists
    with status(GrantStatus.bad_domain):
        pair.unmap(handle)
    assert pair.mapper.info.shutdown_code == Shutdown.crash


def test_a_grant_is_no_right_to_map_by_other_means(xen_machine: Machine, pair: Pair) -> None:
    pair.map()
    with refused(EBUSY):
        pair.mapper.hypercall.update_va_mapping(
            pair.mapper.alloc_page(), pair.mfn << 12 | PRESENT_RW
        )
    assert references(xen_machine, pair.mfn) == (3, 2)


# unmap_and_replace


def replace(pair: Pair, handle: int, new: int, at: int | None = None) -> None:
    op = pair.mapper.hypercall.grant_table_op
    at = pair.at if at is None else at
    op.unmap_and_replace(host_addr=at, new_addr=new, handle=handle)


def test_what_is_mapped_elsewhere_comes_in_its_place(xen_machine: Machine, pair: Pair) -> None:
    handle, new = pair.map(), pair.mapper.alloc_page()
    pair.mapper.write(new, b"own")
    own = pair.mapper.mfn_at(new)
    replace(pair, handle, new)
    assert pair.mapper.read(pair.at, 3) == b"own"
    assert references(xen_machine, own) == (2, 1)
    assert pte_of(xen_machine, pair.mapper, new) == 0
    assert references(xen_machine, pair.mfn) == (2, 1)
    assert pair.table.flags(REF) == ACCESS
    with status(GrantStatus.bad_handle):
        replace(pair, handle, new)


def test_without_an_address_it_is_an_unmap(xen_machine: Machine, pair: Pair) -> None:
    replace(pair, pair.map(), 0)
    assert pte_of(xen_machine, pair.mapper, pair.at) == 0
    assert references(xen_machine, pair.mfn) == (2, 1)


def test_without_the_first_address_nothing_happens(xen_machine: Machine, pair: Pair) -> None:
    replace(pair, pair.map(), pair.mapper.alloc_page(), at=0)
    assert references(xen_machine, pair.mfn) == (3, 2)


def test_a_device_keeps_its_use(xen_machine: Machine, pair: Pair) -> None:
    handle = pair.map(HOST | DEVICE)
    replace(pair, handle, pair.mapper.alloc_page())
    assert references(xen_machine, pair.mfn) == (3, 2)
    pair.unmap(handle, bus=pair.mfn << 12)
    assert references(xen_machine, pair.mfn) == (2, 1)


@pytest.mark.parametrize("new", [UNMAPPED, XEN_VA, NOT_CANONICAL], ids=hex)
def test_nothing_can_come_from_there(xen_machine: Machine, pair: Pair, new: int) -> None:
    handle = pair.map()
    with status(GrantStatus.general_error):
        replace(pair, handle, new)
    assert pair.mapper.read(pair.at, 7) == b"granted"
    assert references(xen_machine, pair.mfn) == (3, 2)


def test_another_frame_is_not_replaced_and_the_new_address_is_empty_then(
    xen_machine: Machine, pair: Pair
) -> None:
    """Xen has taken that one already."""
    handle, own, new = pair.map(), pair.mapper.alloc_page(), pair.mapper.alloc_page()
    moved = pair.mapper.mfn_at(new)
    with status(GrantStatus.general_error):
        replace(pair, handle, new, at=own)
    assert references(xen_machine, pair.mapper.mfn_at(own)) == (2, 1)
    assert references(xen_machine, moved) == (1, 0)
    assert pte_of(xen_machine, pair.mapper, new) == 0
    assert references(xen_machine, pair.mfn) == (3, 2)


def test_an_entry_named_by_machine_address_is_not_replaced(
    xen_machine: Machine, pair: Pair
) -> None:
    at = pte_address(xen_machine, pair.mapper, pair.at)
    handle = pair.map(HOST | GrantMap.contains_pte, at=at)
    with status(GrantStatus.general_error):
        replace(pair, handle, pair.mapper.alloc_page(), at=at)
    assert references(xen_machine, pair.mfn) == (3, 2)


@pytest.mark.parametrize("handle", [0, 7, 0xFFFF_FFFF], ids=hex)
def test_no_such_handle_is_replaced(pair: Pair, handle: int) -> None:
    with status(GrantStatus.bad_handle):
        replace(pair, handle, pair.mapper.alloc_page())
