"""grant_table_op: transfer."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypercalls.grants import DEVICE, ENTRIES, REF, RO, Table, map_status, pte_address, status
from hypercalls.support import ABSENT_DOMIDS, PRESENT_RW

from xenemu import Domain, Machine
from xenemu.xen import GrantFlag, GrantOp, GrantStatus, structs

ACCEPT = GrantFlag.accept_transfer
DONE = ACCEPT | GrantFlag.transfer_committed | GrantFlag.transfer_completed
PFN = 3333


@dataclass
class Gift:
    """`giver` has a frame that is mapped nowhere; `taker` accepts one by REF."""

    giver: Domain
    taker: Domain
    table: Table
    mfn: int

    def give(self, mfn: int | None = None, domid: int | None = None, ref: int = REF) -> None:
        mfn, domid = self.mfn if mfn is None else mfn, self.taker.id if domid is None else domid
        self.giver.hypercall.grant_table_op.transfer(mfn=mfn, domid=domid, ref=ref)


@pytest.fixture
def gift(xen_machine: Machine) -> Gift:
    giver = xen_machine.create_domain(max_memory_mib=5)
    taker = xen_machine.create_domain(max_memory_mib=5)
    (mfn,) = giver.hypercall.memory_op.increase_reservation(nr_extents=1)
    table = Table(taker)
    table.put(REF, ACCEPT, giver.id, PFN)
    return Gift(giver, taker, table, mfn)


def pages(*domains: Domain) -> list[int]:
    return [domain.info.tot_pages for domain in domains]


def test_the_frame_is_the_takers_and_its_entry_says_which(xen_machine: Machine, gift: Gift) -> None:
    page = gift.giver.alloc_page()
    gift.giver.hypercall.update_va_mapping(page, gift.mfn << 12 | PRESENT_RW)
    gift.giver.write(page, b"present")
    gift.giver.hypercall.update_va_mapping(page, 0)
    before = pages(gift.giver, gift.taker)
    gift.give()
    assert pages(gift.giver, gift.taker) == [before[0] - 1, before[1] + 1]
    entry = gift.table.entry(REF)
    assert (entry.flags, entry.domid, entry.frame) == (DONE, gift.giver.id, gift.mfn)
    frame = xen_machine.frame(gift.mfn)
    assert (frame.owner, frame.count, frame.allocated) == (gift.taker.id, 1, True)
    assert (frame.type_count, frame.pfn) == (0, PFN)
    assert xen_machine.read_frame(gift.mfn, 0, 7) == b"present"
    at = gift.taker.alloc_page()
    gift.taker.hypercall.update_va_mapping(at, gift.mfn << 12 | PRESENT_RW)
    assert gift.taker.read(at, 7) == b"present"


def test_a_gift_to_oneself_at_the_limit(xen_machine: Machine, gift: Gift) -> None:
    table = Table(gift.giver)
    table.put(REF, ACCEPT, gift.giver.id, PFN)
    (before,) = pages(gift.giver)
    xen_machine.control.hypercall.domctl.max_mem(domain=gift.giver.id, max_memkb=before * 4)
    gift.give(domid=gift.giver.id)
    assert pages(gift.giver) == [before]
    assert table.flags(REF) == DONE


def test_an_entry_takes_one_frame(xen_machine: Machine, gift: Gift) -> None:
    gift.give()
    (second,) = gift.giver.hypercall.memory_op.increase_reservation(nr_extents=1)
    with status(GrantStatus.general_error):
        gift.give(second)
    assert xen_machine.frame(second).owner is None
    assert gift.table.entry(REF).frame == gift.mfn


# What the frame does not leave its owner for.


@pytest.mark.parametrize(
    "which", ["mapped", "another's", "table", "page table", "absent", "huge", "low"]
)
def test_a_frame_that_is_not_its_own_alone(xen_machine: Machine, gift: Gift, which: str) -> None:
    giver = gift.giver
    mfn = {
        "mapped": giver.mfn_at(giver.alloc_page()),
        "another's": gift.taker.hypercall.memory_op.increase_reservation(nr_extents=1)[0],
        "table": Table(giver).mfns[0],
        "page table": pte_address(xen_machine, giver, giver.memory.base) >> 12,
        "absent": 64 << 8,
        "huge": (1 << 64) - 1,
        "low": 0,
    }[which]
    before = pages(giver, gift.taker)
    with status(GrantStatus.bad_page):
        gift.give(mfn)
    assert pages(giver, gift.taker) == before
    assert gift.table.flags(REF) == ACCEPT


def test_a_granted_frame_that_is_mapped(xen_machine: Machine, gift: Gift) -> None:
    table = Table(gift.giver)
    table.put(REF, GrantFlag.permit_access, gift.taker.id, gift.mfn)
    assert map_status(gift.taker, gift.giver, REF, 0, DEVICE | RO) == 0
    with status(GrantStatus.bad_page):
        gift.give()
    assert xen_machine.frame(gift.mfn).owner == gift.giver.id


# What it is lost for: Xen has taken it before it looks for the taker.


def assert_lost(machine: Machine, gift: Gift, before: list[int]) -> None:
    assert pages(gift.giver) == [before[0] - 1]
    assert machine.frame(gift.mfn).owner is None
    with status(GrantStatus.bad_page):
        gift.give()


@ABSENT_DOMIDS
def test_there_is_no_such_domain(xen_machine: Machine, gift: Gift, absent: int) -> None:
    before, free = pages(gift.giver), xen_machine.free_pages
    with status(GrantStatus.bad_domain):
        gift.give(domid=absent)
    assert_lost(xen_machine, gift, before)
    assert xen_machine.free_pages == free + 1


def test_oneself_is_named_by_number_only(xen_machine: Machine, gift: Gift) -> None:
    before = pages(gift.giver)
    with status(GrantStatus.bad_domain):
        gift.give(domid=0x7FF0)
    assert_lost(xen_machine, gift, before)


@pytest.mark.parametrize(
    "flags",
    [0, 1, 3, ACCEPT | GrantFlag.transfer_committed, ACCEPT | 8, ACCEPT | 0x100, DONE],
    ids=hex,
)
def test_the_entry_does_not_accept(xen_machine: Machine, gift: Gift, flags: int) -> None:
    gift.table.put(REF, flags, gift.giver.id, PFN)
    before = pages(gift.giver, gift.taker)
    with status(GrantStatus.general_error):
        gift.give()
    assert_lost(xen_machine, gift, before)
    assert pages(gift.taker) == before[1:]
    assert (gift.table.flags(REF), gift.table.entry(REF).frame) == (flags, PFN)


def test_the_entry_waits_for_another_domain(xen_machine: Machine, gift: Gift) -> None:
    gift.table.put(REF, ACCEPT, 0, PFN)
    before = pages(gift.giver)
    with status(GrantStatus.general_error):
        gift.give()
    assert_lost(xen_machine, gift, before)


@pytest.mark.parametrize("ref", [ENTRIES, 0xFFFF_FFFF], ids=hex)
def test_there_is_no_such_reference(xen_machine: Machine, gift: Gift, ref: int) -> None:
    before = pages(gift.giver)
    with status(GrantStatus.general_error):
        gift.give(ref=ref)
    assert_lost(xen_machine, gift, before)


def test_the_taker_has_all_that_it_may_have(xen_machine: Machine, gift: Gift) -> None:
    before = pages(gift.giver, gift.taker)
    xen_machine.control.hypercall.domctl.max_mem(domain=gift.taker.id, max_memkb=before[1] * 4)
    with status(GrantStatus.general_error):
        gift.give()
    assert_lost(xen_machine, gift, before)
    assert gift.table.flags(REF) == ACCEPT


def test_the_taker_is_dying(xen_machine: Machine, gift: Gift) -> None:
    held = xen_machine.control.alloc_page()
    entry = gift.taker.mfn_at(gift.taker.memory.base) << 12 | PRESENT_RW
    xen_machine.control.hypercall.update_va_mapping_otherdomain(held, entry, domid=gift.taker.id)
    gift.taker.destroy()
    before = pages(gift.giver)
    with status(GrantStatus.general_error):
        gift.give()
    assert_lost(xen_machine, gift, before)
    assert gift.taker.info.tot_pages == 1


def test_several(xen_machine: Machine, gift: Gift) -> None:
    frames = gift.giver.hypercall.memory_op.increase_reservation(nr_extents=3)
    for i, taken in enumerate((True, False, True)):
        gift.table.put(20 + i, ACCEPT if taken else 0, gift.giver.id, PFN + i)
    kind = structs.grant_table.gnttab_transfer
    entries = [kind(mfn=m, domid=gift.taker.id, ref=20 + i) for i, m in enumerate(frames)]
    got = gift.giver.hypercall.grant_table_op.batch(GrantOp.transfer, entries)
    assert got == [GrantStatus.okay, GrantStatus.general_error, GrantStatus.okay]
    owners = [xen_machine.frame(mfn).owner for mfn in frames]
    assert owners == [gift.taker.id, None, gift.taker.id]
