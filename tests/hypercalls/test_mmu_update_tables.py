"""mmu_update of tables of levels 2 to 4: what entries take and give back, Xen's own slots, linear
tables."""

from __future__ import annotations

from errno import EBUSY, EINVAL, EPERM

import pytest
from hypercalls.tables import (
    ACCESSED,
    AVAILABLE,
    DIRTY,
    GLOBAL,
    NO_FRAME,
    NX,
    PCD,
    PRESENT,
    PSE,
    PWT,
    RO,
    RW,
    UPPER,
    USER,
    XEN_SLOTS,
    entry,
    free_frame,
    index_of,
    pinned_table,
    read_only_frame,
    root_of,
    table_for,
    tables,
    untouched,
    update,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import MmuUpdate
from xenemu.xen import PAGE_SIZE

FREE = 5  # an index that nobody has
FAR = 0xFFFF_9900_0000_0000  # an address without a table of level 3


# what an entry takes


@UPPER
def test_a_page_of_zeroes_becomes_a_table(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table, below = pinned_table(xen_domain, level), read_only_frame(xen_domain)
    update(xen_domain, table, FREE, below << 12 | RW)
    assert uses(xen_machine, below) == (3, f"l{level - 1}", 1)
    assert xen_machine.frame(below).validated
    assert not xen_machine.frame(below).pinned
    assert entry(xen_machine, table, FREE) == below << 12 | RW


@UPPER
def test_all_below_it_become_tables(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    *_, table = made = tables(xen_domain, level - 1)
    data = free_frame(xen_domain)
    update(xen_domain, made[0], 9, data << 12 | RW)
    top = pinned_table(xen_domain, level)
    update(xen_domain, top, FREE, table << 12 | RW)
    assert [uses(xen_machine, mfn)[1:] for mfn in made] == [(f"l{n}", 1) for n in range(1, level)]
    assert uses(xen_machine, data) == (2, "writable", 1)
    update(xen_domain, top, FREE, 0)
    assert [uses(xen_machine, mfn) for mfn in made] == [(2, "none", 0)] * (level - 1)
    assert uses(xen_machine, data) == (1, "none", 0)


@UPPER
def test_what_is_a_table_already_is_used_once_more(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table, below = pinned_table(xen_domain, level), pinned_table(xen_domain, level - 1)
    for n in range(3):
        update(xen_domain, table, n, below << 12 | RW)
    assert uses(xen_machine, below) == (6, f"l{level - 1}", 4)
    update(xen_domain, table, 0, 0)
    assert uses(xen_machine, below) == (5, f"l{level - 1}", 3)


@UPPER
def test_a_table_goes_for_another(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    table, old, new = (read_only_frame(xen_domain) for _ in range(3))
    update(xen_domain, table, FREE, old << 12 | RW)
    xen_domain.hypercall.mmuext_op.pin_table(level, mfn=table)
    update(xen_domain, table, FREE, new << 12 | RW)
    assert uses(xen_machine, old) == (2, "none", 0)
    assert uses(xen_machine, new) == (3, f"l{level - 1}", 1)


@UPPER
@pytest.mark.parametrize("flags", [PRESENT, RO, RO | DIRTY | AVAILABLE | NX, RO | 0x7F << 52])
def test_flags_that_decide_nothing(
    xen_machine: Machine, xen_domain: Domain, level: int, flags: int
) -> None:
    table, below = pinned_table(xen_domain, level), read_only_frame(xen_domain)
    update(xen_domain, table, FREE, below << 12 | flags)
    completed = flags | USER | (ACCESSED if level == 4 else 0)
    assert entry(xen_machine, table, FREE) == below << 12 | completed
    before = uses(xen_machine, below)
    update(xen_domain, table, FREE, below << 12 | flags ^ (NX | AVAILABLE))
    assert uses(xen_machine, below) == before


@UPPER
def test_accessed_and_dirty_bits_are_preserved(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table, below = pinned_table(xen_domain, level), read_only_frame(xen_domain)
    update(xen_domain, table, FREE, below << 12 | RO | ACCESSED | DIRTY)
    update(xen_domain, table, FREE, below << 12 | PRESENT | USER, MmuUpdate.PT_UPDATE_PRESERVE_AD)
    assert entry(xen_machine, table, FREE) == below << 12 | PRESENT | USER | ACCESSED | DIRTY


@UPPER
def test_an_entry_that_is_not_present_holds_anything(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table = pinned_table(xen_domain, level)
    update(xen_domain, table, FREE, 2**64 - 2)
    assert entry(xen_machine, table, FREE) == 2**64 - 2


# what is refused


@UPPER
@pytest.mark.parametrize("flag", [PWT, PCD, PSE, GLOBAL], ids=["pwt", "pcd", "pse", "global"])
@pytest.mark.parametrize("present", [False, True], ids=["new", "changed"])
def test_flags_that_no_table_has(
    xen_machine: Machine, xen_domain: Domain, level: int, flag: int, present: bool
) -> None:
    table, below = pinned_table(xen_domain, level), read_only_frame(xen_domain)
    if present:
        update(xen_domain, table, FREE, below << 12 | RW)
    with vain(xen_machine, xen_domain, EINVAL):
        update(xen_domain, table, FREE, below << 12 | RW | flag)


@UPPER
def test_frames_that_can_be_no_table(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    table, other = pinned_table(xen_domain, level), xen_machine.create_domain()
    descriptors = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([descriptors], entries=8)
    wrong = [pinned_table(xen_domain, n) for n in range(1, 5) if n not in (level, level - 1)]
    mapped = xen_domain.mfn_at(xen_domain.alloc_page())
    shared = xen_domain.info.shared_info_frame
    nobodys = [0, 1, NO_FRAME, 0xFF_FFFF_FFFF, other.mfn(5), xen_machine.control.mfn(5)]
    for mfn in (descriptors, *wrong, mapped, shared, *nobodys):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            update(xen_domain, table, FREE, mfn << 12 | RW)


@UPPER
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("beyond", EPERM),
        ("other", EBUSY),
        ("its table", EBUSY),
        ("uncached", EINVAL),
        ("first mib", EPERM),
    ],
)
def test_one_bad_entry_far_below_refuses_all(
    xen_machine: Machine, xen_domain: Domain, level: int, kind: str, code: int
) -> None:
    """With its own errno; what was taken until then is given back."""
    *_, table = made = tables(xen_domain, level - 1)
    top = pinned_table(xen_domain, level)
    update(xen_domain, made[0], 0, free_frame(xen_domain) << 12 | RW)
    pte = {
        "beyond": NO_FRAME << 12 | RO,
        "other": xen_machine.control.mfn(5) << 12 | RO,
        "its table": table << 12 | RW,
        "uncached": free_frame(xen_domain) << 12 | RO | PCD,
        "first mib": 1 << 12 | RO,
    }[kind]
    update(xen_domain, made[0], 511, pte)
    with vain(xen_machine, xen_domain, code):
        update(xen_domain, top, FREE, table << 12 | RW)


def test_a_table_that_maps_itself_writable_is_none(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    table, below = pinned_table(xen_domain, 2), read_only_frame(xen_domain)
    update(xen_domain, below, 0, below << 12 | RW)
    with vain(xen_machine, xen_domain, EBUSY):
        update(xen_domain, table, FREE, below << 12 | RW)
    update(xen_domain, below, 0, below << 12 | RO)
    update(xen_domain, table, FREE, below << 12 | RW)
    assert uses(xen_machine, below) == (4, "l1", 1)


@pytest.mark.parametrize("slot", XEN_SLOTS)
@pytest.mark.parametrize("pinned", [False, True], ids=["root", "pinned"])
def test_xens_slots_of_the_root_are_not_written(
    xen_machine: Machine, xen_domain: Domain, slot: int, pinned: bool
) -> None:
    table = pinned_table(xen_domain, 4) if pinned else root_of(xen_domain)
    for pte in (0, read_only_frame(xen_domain) << 12 | RW, entry(xen_machine, table, slot)):
        with vain(xen_machine, xen_domain, EINVAL):
            update(xen_domain, table, slot, pte)


@pytest.mark.parametrize("slot", [0, 255, 272, 511])
def test_those_beside_them_are(xen_machine: Machine, xen_domain: Domain, slot: int) -> None:
    table, below = pinned_table(xen_domain, 4), read_only_frame(xen_domain)
    update(xen_domain, table, slot, below << 12 | RW)
    assert uses(xen_machine, below) == (3, "l3", 1)


@pytest.mark.parametrize("level", [2, 3])
def test_other_levels_have_none(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    table, below = pinned_table(xen_domain, level), read_only_frame(xen_domain)
    update(xen_domain, table, XEN_SLOTS[0], below << 12 | RW)
    assert uses(xen_machine, below) == (3, f"l{level - 1}", 1)


# tables in use


def test_a_new_tree_maps_at_once(xen_machine: Machine, xen_domain: Domain) -> None:
    *_, l3 = made = tables(xen_domain, 3)
    page = xen_domain.alloc_page()
    xen_domain.write(page, b"far")
    update(xen_domain, made[0], 1, xen_domain.mfn_at(page) << 12 | RW)
    update(xen_domain, root_of(xen_domain), index_of(FAR, 4), l3 << 12 | RW)
    assert xen_domain.read(FAR + PAGE_SIZE, 3) == b"far"
    xen_domain.write(FAR + PAGE_SIZE, b"FAR")
    assert xen_domain.read(page, 3) == b"FAR"
    xen_domain.hypercall.update_va_mapping(FAR + 2 * PAGE_SIZE, xen_domain.mfn_at(page) << 12 | RO)
    assert xen_domain.read(FAR + 2 * PAGE_SIZE, 3) == b"FAR"
    update(xen_domain, root_of(xen_domain), index_of(FAR, 4), 0)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(FAR + PAGE_SIZE, 3)


@UPPER
def test_without_rw_above_nothing_is_writable(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    page = xen_domain.alloc_page()
    table, index = table_for(xen_machine, xen_domain, page, level)
    pte = entry(xen_machine, table, index)
    update(xen_domain, table, index, pte & ~RW | RO)
    assert xen_domain.read(page, 1) == b"\0"
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.write(page, b"x")


# linear tables


@UPPER
def test_a_table_names_itself_read_only_without_a_reference(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table = pinned_table(xen_domain, level)
    before = uses(xen_machine, table)
    update(xen_domain, table, FREE, table << 12 | RO)
    assert uses(xen_machine, table) == before
    with vain(xen_machine, xen_domain, EINVAL):
        update(xen_domain, table, FREE + 1, table << 12 | RW)
    update(xen_domain, table, FREE, 0)
    assert uses(xen_machine, table) == before


@UPPER
def test_a_table_names_another_of_its_level(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    table, other = pinned_table(xen_domain, level), pinned_table(xen_domain, level)
    with vain(xen_machine, xen_domain, EINVAL):
        update(xen_domain, table, FREE, other << 12 | RW)
    count = xen_machine.frame(other).count
    update(xen_domain, table, FREE, other << 12 | RO)
    assert xen_machine.frame(other).count == count + 1
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=other)
    assert xen_machine.frame(other).type == f"l{level}"  # its use here keeps it
    update(xen_domain, table, FREE, 0)
    assert uses(xen_machine, other) == (2, "none", 0)


@UPPER
def test_linear_tables_do_not_chain(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    one, two, three = (pinned_table(xen_domain, level) for _ in range(3))
    update(xen_domain, one, FREE, two << 12 | RO)
    for table, named in ((two, one), (two, three), (three, one)):
        with vain(xen_machine, xen_domain, EINVAL):
            update(xen_domain, table, FREE, named << 12 | RO)
    update(xen_domain, one, FREE, 0)
    update(xen_domain, two, FREE, three << 12 | RO)
    assert entry(xen_machine, two, FREE) & PRESENT
