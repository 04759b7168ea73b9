"""memory_op: increase_reservation, decrease_reservation, populate_physmap.

These answer how many extents were done, never an errno."""

from __future__ import annotations

import pytest
from hypercalls.frames import unmapped_page
from hypercalls.support import (
    ABSENT_DOMIDS,
    NOWHERE,
    PRESENT_RW,
    placed,
    read_only,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DOMID_SELF, MemoryOp
from xenemu.xen.structs.memory import xen_memory_reservation

INCREASE, DECREASE, POPULATE = (
    MemoryOp.increase_reservation,
    MemoryOp.decrease_reservation,
    MemoryOp.populate_physmap,
)
ALL = pytest.mark.parametrize("op", [INCREASE, DECREASE, POPULATE], ids=lambda op: op.name)
MOST = 0xFFFF_FFFF >> 6  # extents that a call can go on after


def change(
    domain: Domain,
    op: int,
    extents: list[int] | int,
    n: int | None = None,
    order: int = 0,
    flags: int = 0,
    domid: int = DOMID_SELF,
    first: int = 0,
) -> int:
    """Makes the call with a list, or with the address of one."""
    if isinstance(extents, int):
        at = extents
    else:
        n = len(extents) if n is None else n
        at = placed(domain, b"".join(e.to_bytes(8, "little") for e in extents))
    arg = xen_memory_reservation(
        extent_start=at, nr_extents=n, extent_order=order, mem_flags=flags, domid=domid
    )
    return domain.hypercall.memory_op(op | first << 6, arg)


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    """May have as much memory again as it has."""
    return xen_machine.create_domain(memory_mib=4, max_memory_mib=8)


def pages(domain: Domain) -> int:
    return domain.hypercall.memory_op.current_reservation()


# success


def test_increase_gives_frames_that_are_the_domains(xen_machine: Machine, guest: Domain) -> None:
    before, free = pages(guest), xen_machine.free_pages
    frames = guest.hypercall.memory_op.increase_reservation(nr_extents=3)
    assert len(set(frames)) == 3
    for mfn in frames:
        frame = xen_machine.frame(mfn)
        assert (frame.owner, frame.count, frame.type) == (guest.id, 1, "none")
        assert frame.allocated
        assert xen_machine.read_frame(mfn) == bytes(4096)
    assert pages(guest) == before + 3
    assert xen_machine.free_pages == free - 3


@pytest.mark.parametrize("order", range(10))
def test_an_extent_is_aligned_and_whole(xen_machine: Machine, guest: Domain, order: int) -> None:
    (mfn,) = guest.hypercall.memory_op.increase_reservation(extent_order=order)
    assert mfn % (1 << order) == 0
    assert {xen_machine.frame(mfn + i).owner for i in range(1 << order)} == {guest.id}
    assert guest.hypercall.memory_op.decrease_reservation([mfn], extent_order=order) == 1
    assert {xen_machine.frame(mfn + i).owner for i in range(1 << order)} == {None}


def test_increase_can_do_without_a_list(guest: Domain) -> None:
    before = pages(guest)
    assert change(guest, INCREASE, 0, n=5) == 5
    assert pages(guest) == before + 5


def test_populate_sets_the_machine_to_physical_table(guest: Domain) -> None:
    first, second = guest.hypercall.memory_op.populate_physmap([5000, 6000], extent_order=1)
    mfns = first, first + 1, second, second + 1
    assert [guest.pfn_of(mfn) for mfn in mfns] == [5000, 5001, 6000, 6001]


def test_a_frame_that_was_given_can_be_mapped(guest: Domain) -> None:
    (mfn,) = guest.hypercall.memory_op.increase_reservation()
    page = guest.alloc_page()
    guest.hypercall.update_va_mapping(page, mfn << 12 | PRESENT_RW)
    assert guest.mfn_at(page) == mfn
    guest.write(page, b"mine")


def test_decrease_frees_an_unmapped_frame(xen_machine: Machine, guest: Domain) -> None:
    mfn, _ = unmapped_page(guest)
    before = pages(guest)
    assert guest.hypercall.memory_op.decrease_reservation([mfn]) == 1
    assert xen_machine.frame(mfn).owner is None
    assert pages(guest) == before - 1
    assert guest.hypercall.memory_op.decrease_reservation([mfn]) == 0


def test_a_mapped_frame_goes_with_its_last_mapping(xen_machine: Machine, guest: Domain) -> None:
    page = guest.alloc_page()
    mfn = guest.mfn_at(page)
    before = pages(guest)
    assert guest.hypercall.memory_op.decrease_reservation([mfn]) == 1
    frame = xen_machine.frame(mfn)
    assert (frame.owner, frame.allocated, frame.count) == (guest.id, False, 1)
    assert guest.hypercall.memory_op.decrease_reservation([mfn]) == 1  # again: no effect
    assert xen_machine.frame(mfn) == frame
    assert pages(guest) == before
    guest.hypercall.update_va_mapping(page, 0)
    assert xen_machine.frame(mfn).owner is None
    assert pages(guest) == before - 1


def test_memory_that_comes_back_is_zero(xen_machine: Machine, guest: Domain) -> None:
    page = guest.alloc_page()
    mfn = guest.mfn_at(page)
    guest.write(page, b"secret")
    guest.hypercall.update_va_mapping(page, 0)
    guest.hypercall.memory_op.decrease_reservation([mfn])
    assert mfn in guest.hypercall.memory_op.increase_reservation(nr_extents=1024)
    assert xen_machine.read_frame(mfn) == bytes(4096)


def test_the_root_page_table_outlives_its_allocation(xen_machine: Machine, guest: Domain) -> None:
    root = guest.mfn_at(guest.start_info.pt_base)
    assert guest.hypercall.memory_op.decrease_reservation([root]) == 1
    assert xen_machine.frame(root).type == "l4"
    assert guest.read(guest.alloc_page(), 1) == b"\0"


def test_the_control_domain_changes_others(
    xen_machine: Machine, xen_control: Domain, guest: Domain
) -> None:
    before = pages(guest)
    call = xen_control.hypercall.memory_op
    (mfn,) = call.increase_reservation(domid=guest.id)
    assert xen_machine.frame(mfn).owner == guest.id
    assert call.populate_physmap([7], domid=guest.id) != ()
    assert pages(guest) == before + 2
    assert call.decrease_reservation([mfn], domid=guest.id) == 1
    assert pages(guest) == before + 1


@ALL
def test_no_extents_are_done_at_once(guest: Domain, op: MemoryOp) -> None:
    assert change(guest, op, []) == 0


# not done


def test_not_more_than_the_maximum(guest: Domain) -> None:
    assert change(guest, INCREASE, 0, n=1025) == 1024
    assert pages(guest) == guest.hypercall.memory_op.maximum_reservation()
    assert change(guest, POPULATE, [1]) == 0


def test_not_more_than_the_machine_has(xen_machine: Machine, xen_control: Domain) -> None:
    guest = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    free = xen_machine.free_pages
    assert change(guest, INCREASE, 0, n=free + 1) == free
    assert xen_machine.free_pages == 0
    guest.destroy()
    assert xen_machine.free_pages > free


@ALL
@ABSENT_DOMIDS
def test_an_absent_domain(xen_control: Domain, op: MemoryOp, absent: int) -> None:
    assert change(xen_control, op, [9], domid=absent) == 0


@ALL
def test_another_domain_without_a_right(xen_machine: Machine, guest: Domain, op: MemoryOp) -> None:
    other = xen_machine.create_domain(max_memory_mib=8)
    before = pages(other)
    assert change(guest, op, [other.mfn(1)], domid=other.id) == 0
    assert change(guest, op, [other.mfn(1)], domid=0) == 0
    assert pages(other) == before


def test_a_dying_domain_gets_nothing(xen_control: Domain, guest: Domain) -> None:
    mfn, page = guest.mfn_at(guest.alloc_page()), xen_control.alloc_page()
    xen_control.hypercall.update_va_mapping_otherdomain(
        page, mfn << 12 | PRESENT_RW, domid=guest.id
    )
    guest.destroy()
    for op in INCREASE, POPULATE:
        assert change(xen_control, op, [1], domid=guest.id) == 0
    assert change(xen_control, DECREASE, [mfn], domid=guest.id) == 1  # given up already
    assert guest.info.tot_pages == 1
    xen_control.hypercall.update_va_mapping(page, 0)
    assert not guest.exists


@pytest.mark.parametrize("order", [10, 18, 30, 63, 0xFFFF_FFFF])
@ALL
def test_an_excessive_order(guest: Domain, op: MemoryOp, order: int) -> None:
    before = pages(guest)
    assert change(guest, op, [1], order=order) == 0
    assert pages(guest) == before


def test_the_control_domain_may_have_larger_extents(xen_machine: Machine) -> None:
    control = xen_machine.control
    control.hypercall.domctl.max_mem(domain=0, max_memkb=1 << 20)
    (mfn,) = control.hypercall.memory_op.increase_reservation(extent_order=12)
    assert mfn % (1 << 12) == 0
    assert control.hypercall.memory_op.increase_reservation(extent_order=18) == ()  # too large
    assert control.hypercall.memory_op.increase_reservation(extent_order=19) == ()
    assert control.hypercall.memory_op.decrease_reservation([mfn], extent_order=12) == 1


@pytest.mark.parametrize("n", [MOST + 1, 1 << 32, (1 << 32) + 1, (1 << 64) - 1], ids=hex)
@ALL
def test_more_extents_than_a_call_can_count(guest: Domain, op: MemoryOp, n: int) -> None:
    assert change(guest, op, [1], n=n) == 0


def test_the_most_extents_that_a_call_can_count(guest: Domain) -> None:
    assert change(guest, INCREASE, 0, n=MOST) == 1024


@pytest.mark.parametrize("mfn", [0, 1 << 40, (1 << 64) - 1, 16383, 16384], ids=hex)
def test_what_is_no_frame_of_the_domain_is_not_given_up(
    xen_machine: Machine, guest: Domain, mfn: int
) -> None:
    good, _ = unmapped_page(guest)
    assert change(guest, DECREASE, [good, mfn, good]) == 1
    assert xen_machine.frame(good).owner is None


def test_frames_of_others_are_not_given_up(xen_machine: Machine, guest: Domain) -> None:
    other = xen_machine.create_domain()
    for mfn in xen_machine.control.mfn(1), other.mfn(1), other.info.shared_info_frame:
        before = xen_machine.frame(mfn)
        assert change(guest, DECREASE, [mfn]) == 0
        assert xen_machine.frame(mfn) == before


def test_xens_own_frame_is_given_up_to_no_effect(xen_machine: Machine, guest: Domain) -> None:
    mfn = guest.info.shared_info_frame
    before = pages(guest)
    assert change(guest, DECREASE, [mfn]) == 1
    assert xen_machine.frame(mfn).owner == guest.id
    assert guest.info.shared_info_frame == mfn
    assert pages(guest) == before


def test_an_extent_that_was_half_done(xen_machine: Machine, guest: Domain) -> None:
    (mfn,) = guest.hypercall.memory_op.increase_reservation(extent_order=2)
    assert change(guest, DECREASE, [mfn + 2]) == 1
    before = pages(guest)
    assert change(guest, DECREASE, [mfn], order=2) == 0
    assert pages(guest) == before - 2
    assert [xen_machine.frame(mfn + i).owner for i in range(4)] == [None, None, None, guest.id]


# mem_flags


@pytest.mark.parametrize("bits", [1, 11, 12, 13], ids=str)
def test_too_few_address_bits(guest: Domain, bits: int) -> None:
    assert change(guest, INCREASE, [0], flags=bits) == 0


@pytest.mark.parametrize("bits", [24, 25, 26, 31, 64, 255], ids=str)
def test_frames_below_a_limit(xen_machine: Machine, bits: int) -> None:
    guest = xen_machine.create_domain(memory_mib=1, max_memory_mib=2)
    frames = guest.hypercall.memory_op.increase_reservation(nr_extents=4, mem_flags=bits)
    assert len(frames) == 4
    assert all(mfn << 12 < 1 << bits for mfn in frames)


NODE = pytest.mark.parametrize(
    ("flags", "privileged", "plain"),
    [
        (1 << 8, 1, 1),
        (1 << 8 | 1 << 17, 1, 0),
        (2 << 8, 1, 1),  # no such node: any
        (2 << 8 | 1 << 17, 0, 0),
        (201 << 8, 0, 1),  # no node can be that
        (201 << 8 | 1 << 18, 1, 1),  # a virtual one
        (1 << 17, 1, 1),
    ],
    ids=lambda x: hex(x),
)


@NODE
def test_nodes(
    xen_machine: Machine, guest: Domain, flags: int, privileged: int, plain: int
) -> None:
    xen_machine.control.hypercall.domctl.max_mem(domain=0, max_memkb=1 << 20)
    assert change(xen_machine.control, INCREASE, [0], flags=flags) == privileged
    assert change(guest, INCREASE, [0], flags=flags) == plain


def test_populate_on_demand(xen_control: Domain, guest: Domain) -> None:
    before = pages(guest)
    assert change(guest, POPULATE, [1], flags=1 << 16) == 0
    assert change(xen_control, POPULATE, [1, 2], order=18, flags=1 << 16, domid=guest.id) == 2
    assert change(xen_control, POPULATE, [1], order=19, flags=1 << 16, domid=guest.id) == 0
    assert pages(guest) == before


# addresses


@ALL
@NOWHERE
def test_the_struct_lies_nowhere(guest: Domain, op: MemoryOp, nowhere: int) -> None:
    assert guest.hypercall.raw(12, op, nowhere) == 0
    assert guest.hypercall.raw(12, op | 7 << 6, nowhere) == 7


@pytest.mark.parametrize("op", [DECREASE, POPULATE], ids=lambda op: op.name)
@NOWHERE
def test_the_list_lies_nowhere(guest: Domain, op: MemoryOp, nowhere: int) -> None:
    before = pages(guest)
    assert change(guest, op, nowhere, n=1) == 0
    assert pages(guest) == before


@pytest.mark.parametrize(("nowhere", "kept"), [(0xDEAD_BEEF_000, 1), (0xFFFF_8300_0000_0000, 0)])
def test_increase_keeps_a_frame_that_it_can_not_tell(
    guest: Domain, nowhere: int, kept: int
) -> None:
    before = pages(guest)
    assert change(guest, INCREASE, nowhere, n=3) == 0
    assert pages(guest) == before + kept


@pytest.mark.parametrize("op", [INCREASE, POPULATE], ids=lambda op: op.name)
def test_the_list_is_read_only(guest: Domain, op: MemoryOp) -> None:
    before = pages(guest)
    assert change(guest, op, read_only(guest, bytes(64)), n=3) == 0
    assert pages(guest) == before + 1  # it has it, and does not know


def test_a_list_that_ends_on_an_unmapped_page(guest: Domain) -> None:
    at = straddling(guest, bytes(64), mapped=False, first=24)
    before = pages(guest)
    assert change(guest, POPULATE, at, n=8) == 3
    assert pages(guest) == before + 3
    assert change(guest, INCREASE, at, n=8) == 3
    assert pages(guest) == before + 3 + 4


@pytest.mark.parametrize("first", [1, 8, 16, 31])
def test_a_list_and_a_struct_across_pages(guest: Domain, first: int) -> None:
    at = straddling(guest, bytes(64), first=first)
    arg = xen_memory_reservation(extent_start=at, nr_extents=8, domid=DOMID_SELF)
    assert guest.hypercall.raw(12, INCREASE, straddling(guest, arg, first=first)) == 8
    assert len({guest.read(at + 8 * i, 8) for i in range(8)}) == 8


@ALL
def test_a_struct_of_which_half_is_mapped(guest: Domain, op: MemoryOp) -> None:
    arg = xen_memory_reservation(nr_extents=1, domid=DOMID_SELF)
    assert guest.hypercall.raw(12, op, straddling(guest, arg, mapped=False)) == 0


# the number of the call


def test_it_goes_on_where_it_was_broken_off(guest: Domain) -> None:
    before = pages(guest)
    assert change(guest, INCREASE, [1, 1, 1], first=1) == 3
    assert pages(guest) == before + 2
    assert change(guest, INCREASE, [1, 1, 1], first=3) == 3
    assert change(guest, INCREASE, [1, 1, 1], first=1 << 57) == 1 << 57
    assert pages(guest) == before + 2


def test_junk_above_a_domid_is_no_part_of_it(guest: Domain) -> None:
    raw = bytearray(bytes(xen_memory_reservation(nr_extents=1, domid=DOMID_SELF)))
    raw[26:32] = b"\xff" * 6
    assert guest.hypercall.raw(12, INCREASE, placed(guest, bytes(raw))) == 1
