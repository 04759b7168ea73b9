"""mmu_update: level 1 entries, plain memory, the machine-to-physical table, batches."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, ENOSYS, EPERM

import pytest
from hypercalls.support import UNMAPPED, refused
from hypercalls.tables import (
    ACCESSED,
    AVAILABLE,
    DIRTY,
    GLOBAL,
    NO_FRAME,
    NX,
    PCD,
    PRESENT,
    RO,
    RW,
    USER,
    WRITABLE,
    entry,
    free_frame,
    pinned_table,
    ptr,
    read_only_frame,
    root_of,
    table_for,
    untouched,
    update,
    uses,
    vain,
)

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import MmuUpdate
from xenemu.xen import PAGE_SIZE

WRITES = pytest.mark.parametrize(
    "cmd",
    [
        MmuUpdate.NORMAL_PT_UPDATE,
        MmuUpdate.PT_UPDATE_PRESERVE_AD,
        MmuUpdate.PT_UPDATE_NO_TRANSLATE,
    ],
    ids=lambda cmd: cmd.name,
)


@pytest.fixture
def place(xen_machine: Machine, xen_domain: Domain) -> tuple[int, int]:
    """Table and index of the level 1 entry of an address where nothing is mapped."""
    page = xen_domain.alloc_page()
    xen_domain.hypercall.update_va_mapping(page, 0)
    return table_for(xen_machine, xen_domain, page)


@pytest.fixture
def frame(xen_domain: Domain) -> int:
    """One of the domain's, mapped nowhere."""
    return free_frame(xen_domain)


# level 1


@WRITES
@pytest.mark.parametrize(
    ("flags", "after"), [(RW, (2, "writable", 1)), (RO, (2, "none", 0))], ids=["rw", "ro"]
)
def test_an_entry_is_written(
    xen_machine: Machine,
    xen_domain: Domain,
    place: tuple[int, int],
    frame: int,
    cmd: int,
    flags: int,
    after: tuple[int, str, int],
) -> None:
    assert update(xen_domain, *place, frame << 12 | flags, cmd) == 1
    assert entry(xen_machine, *place) == frame << 12 | flags | GLOBAL
    assert uses(xen_machine, frame) == after
    assert update(xen_domain, *place, 0, cmd) == 1
    preserved = ACCESSED | DIRTY if cmd == MmuUpdate.PT_UPDATE_PRESERVE_AD else 0
    assert entry(xen_machine, *place) == flags & preserved
    assert uses(xen_machine, frame) == (1, "none", 0)


def test_an_entry_of_a_table_that_is_not_in_use_but_pinned(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    table = pinned_table(xen_domain, 1)
    update(xen_domain, table, 511, frame << 12 | RW)
    assert uses(xen_machine, frame) == (2, "writable", 1)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=table)
    assert uses(xen_machine, frame) == (1, "none", 0)


@pytest.mark.parametrize("same", [True, False], ids=["same frame", "other frame"])
def test_accessed_and_dirty_bits_are_preserved(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int, same: bool
) -> None:
    update(xen_domain, *place, frame << 12 | RW | ACCESSED | DIRTY)
    other = frame if same else free_frame(xen_domain)
    plain = other << 12 | PRESENT | WRITABLE | USER
    update(xen_domain, *place, plain, MmuUpdate.PT_UPDATE_PRESERVE_AD)
    assert entry(xen_machine, *place) == plain | ACCESSED | DIRTY | GLOBAL
    update(xen_domain, *place, plain)
    assert entry(xen_machine, *place) == plain | GLOBAL


def test_flags_that_decide_nothing_move_no_reference(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int
) -> None:
    update(xen_domain, *place, frame << 12 | RW)
    before = uses(xen_machine, frame)
    for flags in (AVAILABLE, NX, ACCESSED | DIRTY, GLOBAL):
        update(xen_domain, *place, frame << 12 | PRESENT | WRITABLE | USER | flags)
        assert uses(xen_machine, frame) == before


@WRITES
@pytest.mark.parametrize(
    ("pte", "code"),
    [
        (NO_FRAME << 12 | RO, EPERM),
        (16384 << 12 | RW, EPERM),
        (0xFF_FFFF_FFFF << 12 | RO, EINVAL),
        (255 << 12 | RO, EPERM),
        (RO, EPERM),
        (400 << 12 | RW | PCD, EINVAL),
    ],
    ids=["beyond", "end", "none", "first mib", "frame 0", "uncached"],
)
def test_an_entry_is_refused(
    xen_machine: Machine,
    xen_domain: Domain,
    place: tuple[int, int],
    cmd: int,
    pte: int,
    code: int,
) -> None:
    with vain(xen_machine, xen_domain, code):
        update(xen_domain, *place, pte, cmd)


@pytest.mark.parametrize("flags", [RO, RW], ids=["ro", "rw"])
def test_frames_of_others_are_refused(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], flags: int
) -> None:
    other, gone = xen_machine.create_domain(), xen_machine.create_domain()
    free = gone.mfn(7)
    gone.destroy()
    for mfn in (other.mfn(7), other.info.shared_info_frame, free, xen_machine.control.mfn(7)):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EBUSY):
            update(xen_domain, *place, mfn << 12 | flags)


@pytest.mark.parametrize("kind", ["root", "l1", "itself", "descriptors"])
def test_frames_in_use_as_another_type_are_not_mapped_writable(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], kind: str
) -> None:
    descriptors = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([descriptors], entries=8)
    mfn = {
        "root": root_of(xen_domain),
        "l1": pinned_table(xen_domain, 1),
        "itself": place[0],
        "descriptors": descriptors,
    }[kind]
    with vain(xen_machine, xen_domain, EBUSY):
        update(xen_domain, *place, mfn << 12 | RW)
    assert update(xen_domain, *place, mfn << 12 | RO) == 1


def test_an_old_entry_stays_where_the_new_one_is_refused(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int
) -> None:
    update(xen_domain, *place, frame << 12 | RW)
    with vain(xen_machine, xen_domain, EBUSY):
        update(xen_domain, *place, place[0] << 12 | RW)
    assert entry(xen_machine, *place) == frame << 12 | RW | GLOBAL


# plain memory


@WRITES
def test_a_word_of_a_page_that_is_no_table(
    xen_machine: Machine, xen_domain: Domain, cmd: int
) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    before = uses(xen_machine, mfn)
    update(xen_domain, mfn, 511, 0x0123_4567_89AB_CDEF, cmd)
    assert xen_domain.read(page + 4088, 8) == bytes.fromhex("efcdab8967452301")
    assert uses(xen_machine, mfn) == before


def test_a_page_that_is_mapped_nowhere(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = free_frame(xen_domain)
    update(xen_domain, mfn, 3, 77)
    assert entry(xen_machine, mfn, 3) == 77
    assert uses(xen_machine, mfn) == (1, "none", 0)


def test_a_page_of_descriptors_is_not_written(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([mfn], entries=8)
    with vain(xen_machine, xen_domain, EINVAL):
        update(xen_domain, mfn, 0, 0)


@WRITES
@pytest.mark.parametrize("kind", ["other", "free", "beyond", "first mib", "xen's", "top"])
def test_memory_that_is_not_the_domains(
    xen_machine: Machine, xen_domain: Domain, cmd: int, kind: str
) -> None:
    other, gone = xen_machine.create_domain(), xen_machine.create_domain()
    free = gone.mfn(7)
    gone.destroy()
    mfn = {
        "other": other.mfn(7),
        "free": free,
        "beyond": NO_FRAME,
        "first mib": 1,
        "xen's": other.info.shared_info_frame,
        "top": 2**52 - 1,
    }[kind]
    with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
        update(xen_domain, mfn, 0, 0, cmd)


# the machine-to-physical table


@pytest.mark.parametrize("pfn", [0, 4242, 0xFFFF_FFFF])
def test_what_a_frame_is_to_the_guest(
    xen_machine: Machine, xen_domain: Domain, frame: int, pfn: int
) -> None:
    assert update(xen_domain, frame, 0, pfn, MmuUpdate.MACHPHYS_UPDATE) == 1
    assert xen_machine.frame(frame).pfn == xen_domain.pfn_of(frame) == pfn
    assert uses(xen_machine, frame) == (1, "none", 0)


def test_the_offset_in_the_frame_does_not_count(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    update(xen_domain, frame, 300, 9, MmuUpdate.MACHPHYS_UPDATE)
    assert xen_machine.frame(frame).pfn == 9
    assert xen_machine.read_frame(frame) == bytes(PAGE_SIZE)


def test_frames_of_others_have_their_own(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    shared = other.info.shared_info_frame
    for mfn in (other.mfn(7), xen_machine.control.mfn(7), shared, 1, NO_FRAME, 2**52 - 1):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            update(xen_domain, mfn, 0, 9, MmuUpdate.MACHPHYS_UPDATE)


# commands and batches


@pytest.mark.parametrize("cmd", [4, 5, 6, 7])
def test_there_is_no_such_command(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], cmd: int
) -> None:
    with vain(xen_machine, xen_domain, ENOSYS):
        update(xen_domain, *place, 0, cmd)


def test_requests_are_done_in_order(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int
) -> None:
    requests = [(ptr(*place), frame << 12 | flags) for flags in (RW, RO, RW)]
    assert xen_domain.hypercall.mmu_update([*requests, (ptr(frame, 0, 1), 5)]) == 4
    assert uses(xen_machine, frame) == (2, "writable", 1)
    assert xen_machine.frame(frame).pfn == 5


@pytest.mark.parametrize("good", [0, 1, 3])
def test_those_before_a_refused_one_are_done_and_no_others(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int, good: int
) -> None:
    table, index = place
    requests = [(ptr(frame, n), 100 + n) for n in range(good)]
    requests += [(ptr(table, index), NO_FRAME << 12 | RO), (ptr(frame, 8), 200)]
    with pytest.raises(HypercallError) as caught:
        xen_domain.hypercall.mmu_update(requests)
    assert (caught.value.errno, caught.value.done) == (EPERM, good)
    words = [entry(xen_machine, frame, n) for n in range(9)]
    assert words == [100 + n for n in range(good)] + [0] * (9 - good)


def test_no_requests(xen_machine: Machine, xen_domain: Domain) -> None:
    with untouched(xen_machine, xen_domain):
        assert xen_domain.hypercall.mmu_update([]) == 0


def test_two_hundred_requests(xen_machine: Machine, xen_domain: Domain, frame: int) -> None:
    requests = [(ptr(frame, n), n) for n in range(200)]
    assert xen_domain.hypercall.mmu_update(requests) == 200
    assert [entry(xen_machine, frame, n) for n in range(200)] == list(range(200))


def test_a_change_is_seen_at_once_everywhere(
    xen_machine: Machine, xen_domain: Domain, place: tuple[int, int], frame: int
) -> None:
    """Also by the copies of later requests: the list loses its page."""
    page = xen_domain.alloc_page()
    requests = [(ptr(*table_for(xen_machine, xen_domain, page)), 0), (ptr(frame), 5)]
    raw = b"".join(word.to_bytes(8, "little") for pair in requests for word in pair)
    xen_domain.write(page, raw)
    done = xen_domain.alloc(4)
    assert xen_domain.hypercall.raw(1, page, 2, done, 0x7FF0) == -EFAULT
    assert xen_domain.read(done, 4) == b"\1\0\0\0"
    assert entry(xen_machine, frame, 0) == 0
    with refused(EFAULT):
        xen_domain.hypercall(1, UNMAPPED, 1, 0, 0x7FF0)
