"""update_va_mapping: level 1 entries by their addresses; flushes; what is refused."""

from __future__ import annotations

from errno import EACCES, EBUSY, EFAULT, EINVAL, EPERM, ESRCH

import pytest
from hypercalls.support import UNMAPPED, XEN_VA, placed, refused, straddling
from hypercalls.tables import (
    ACCESSED,
    AVAILABLE,
    DIRTY,
    GLOBAL,
    GUEST_KERNEL,
    NO_FRAME,
    NX,
    PAT,
    PCD,
    PRESENT,
    PWT,
    RO,
    RW,
    USER,
    WRITABLE,
    entry_at,
    pinned_table,
    read_only_frame,
    root_of,
    second_page,
    tables,
    untouched,
    update,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, UpdateVaFlags
from xenemu.xen import PAGE_SIZE

INVLPG, TLB_FLUSH, ALL = UpdateVaFlags.INVLPG, UpdateVaFlags.TLB_FLUSH, UpdateVaFlags.ALL
NO_TABLE = pytest.mark.parametrize(
    "va",
    [0, UNMAPPED, 0x7FFF_FFFF_F000, 0x8000_0000_0000, XEN_VA, 0xFFFF_8000_0000_0000, 2**64 - 4096],
    ids=hex,
)
LOW = pytest.mark.parametrize("mfn", [0, 1, 255])


# what is mapped


def test_a_frame_is_mapped_writable(xen_machine: Machine, xen_domain: Domain) -> None:
    at, page = xen_domain.alloc_page(), xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(at, mfn << 12 | RW)
    xen_domain.write(at, b"both")
    assert xen_domain.read(page, 4) == b"both"
    assert uses(xen_machine, mfn) == (3, "writable", 2)


def test_a_frame_is_mapped_read_only(xen_machine: Machine, xen_domain: Domain) -> None:
    at, page = xen_domain.alloc_page(), xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(at, mfn << 12 | RO)
    xen_domain.write(page, b"seen")
    assert xen_domain.read(at, 4) == b"seen"
    assert uses(xen_machine, mfn) == (3, "writable", 1)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.write(at, b"x")


def test_what_was_mapped_loses_its_references(xen_machine: Machine, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page, 0)
    assert uses(xen_machine, mfn) == (1, "none", 0)
    assert xen_machine.frame(mfn).allocated
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(page, 1)


def test_a_mapping_becomes_read_only_and_writable_again(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    for flags, after in ((RO, (2, "none", 0)), (RW, (2, "writable", 1)), (RW, (2, "writable", 1))):
        xen_domain.hypercall.update_va_mapping(page, mfn << 12 | flags)
        assert uses(xen_machine, mfn) == after


def test_the_offset_in_the_page_does_not_count(xen_machine: Machine, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page + 0xFFF, mfn << 12 | RO)
    assert not entry_at(xen_machine, xen_domain, page) & WRITABLE
    assert xen_domain.mfn_at(page) == mfn


@pytest.mark.parametrize(
    ("flags", "stored"),
    [
        (PRESENT | USER, PRESENT | USER | GLOBAL),
        (PRESENT, PRESENT | USER | GUEST_KERNEL),
        (PRESENT | GLOBAL, PRESENT | USER | GUEST_KERNEL | GLOBAL),
        (PRESENT | USER | GUEST_KERNEL, PRESENT | USER | GUEST_KERNEL),
        (RW | ACCESSED | DIRTY, RW | ACCESSED | DIRTY | GLOBAL),
        (RO | AVAILABLE, RO | AVAILABLE | GLOBAL),
        (RO | NX, RO | NX | GLOBAL),
    ],
    ids=lambda flags: f"{flags:#x}",
)
def test_xen_completes_an_entry(
    xen_machine: Machine, xen_domain: Domain, flags: int, stored: int
) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | flags)
    assert entry_at(xen_machine, xen_domain, page) == mfn << 12 | stored
    assert xen_domain.read(page, 4) == bytes(4)


@pytest.mark.parametrize("pte", [0xABC0, 2**64 - 2, NO_FRAME << 12 | RW & ~PRESENT], ids=hex)
def test_an_entry_that_is_not_present_holds_anything(
    xen_machine: Machine, xen_domain: Domain, pte: int
) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.hypercall.update_va_mapping(page, pte)
    assert entry_at(xen_machine, xen_domain, page) == pte
    assert uses(xen_machine, mfn) == (1, "none", 0)


def test_every_virtual_cpu_sees_it_at_once(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    page, other = domain.alloc_page(), domain.alloc_page()
    domain.write(other, b"other")
    domain.read(page, 8)
    domain.vcpu(1).hypercall.raw(Hypercall.xen_version, 0)
    domain.hypercall.update_va_mapping(page, domain.mfn_at(other) << 12 | RO, UpdateVaFlags.NONE)
    assert domain.read(page, 5) == b"other"


def test_a_table_may_be_mapped_read_only(xen_machine: Machine, xen_domain: Domain) -> None:
    page, root = xen_domain.alloc_page(), root_of(xen_domain)
    before = xen_machine.frame(root).count
    xen_domain.hypercall.update_va_mapping(page, root << 12 | RO)
    assert xen_machine.frame(root).count == before + 1
    assert xen_domain.read(page, PAGE_SIZE) == xen_machine.read_frame(root)


def test_a_domain_maps_its_shared_info(xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    xen_domain.hypercall.update_va_mapping(page, xen_domain.info.shared_info_frame << 12 | RW)
    port = xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    xen_domain.hypercall.event_channel_op.send(port=port)
    assert xen_domain.read(page + 2048, 8) == (1 << port).to_bytes(8, "little")


# what is refused


@NO_TABLE
@pytest.mark.parametrize("val", [0, RW], ids=["none", "low"])
def test_an_address_without_a_level_1_table(
    xen_machine: Machine, xen_domain: Domain, va: int, val: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.update_va_mapping(va, val)


def test_what_a_linear_table_reaches_is_no_level_1_entry(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    """Slot 300 of the root is the root: what it maps are tables, not pages."""
    root = root_of(xen_domain)
    update(xen_domain, root, 300, root << 12 | RO)
    va = 0xFFFF_0000_0000_0000 | 300 << 39
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.update_va_mapping(va | 300 << 30 | 300 << 21, 0)
    assert xen_domain.read(va | 300 << 30 | 300 << 21 | 300 << 12, 8 * 512) == (
        xen_machine.read_frame(root)
    )


@pytest.mark.parametrize("flags", [PWT, PCD, PAT, PWT | PCD | PAT], ids=hex)
def test_a_guest_has_no_cache_attributes(
    xen_machine: Machine, xen_domain: Domain, flags: int
) -> None:
    page = xen_domain.alloc_page()
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.update_va_mapping(page, xen_domain.mfn_at(page) << 12 | RW | flags)


def test_the_control_domain_has_them(xen_machine: Machine, xen_control: Domain) -> None:
    page = xen_control.alloc_page()
    pte = xen_control.mfn_at(page) << 12 | RW | PWT | PCD
    xen_control.hypercall.update_va_mapping(page, pte)
    assert entry_at(xen_machine, xen_control, page) == pte | GLOBAL


def test_but_not_for_frames_of_xens(xen_machine: Machine, xen_control: Domain) -> None:
    page = xen_control.alloc_page()
    shared = xen_control.info.shared_info_frame
    before = uses(xen_machine, shared), entry_at(xen_machine, xen_control, page)
    with refused(EACCES):
        xen_control.hypercall.update_va_mapping(page, shared << 12 | RW | PCD)
    assert (uses(xen_machine, shared), entry_at(xen_machine, xen_control, page)) == before


@pytest.mark.parametrize("mfn", [16384, NO_FRAME, 2**40 - 2], ids=hex)
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_no_such_frame(
    xen_machine: Machine, xen_domain: Domain, mfn: int, privileged: bool
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    page = caller.alloc_page()
    before = entry_at(xen_machine, caller, page)
    with untouched(xen_machine, xen_domain), refused(EPERM):
        caller.hypercall.update_va_mapping(page, mfn << 12 | RW)
    assert entry_at(xen_machine, caller, page) == before


def test_the_frame_number_that_means_none(xen_machine: Machine, xen_domain: Domain) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), 0xFF_FFFF_FFFF << 12 | RO)


@LOW
def test_a_guest_does_not_map_the_first_mib(
    xen_machine: Machine, xen_domain: Domain, mfn: int
) -> None:
    with vain(xen_machine, xen_domain, EPERM):
        xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), mfn << 12 | RW)


@LOW
def test_the_control_domain_does_uncached(
    xen_machine: Machine, xen_control: Domain, mfn: int
) -> None:
    page = xen_control.alloc_page()
    xen_control.hypercall.update_va_mapping(page, mfn << 12 | RW)
    assert xen_control.mfn_at(page) == mfn
    assert entry_at(xen_machine, xen_control, page) & (PWT | PCD) == PWT | PCD
    assert xen_machine.frame(mfn).count == 0
    xen_control.hypercall.update_va_mapping(page, 0)


@pytest.mark.parametrize("flags", [RO, RW], ids=["ro", "rw"])
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_a_frame_of_another_domain(xen_machine: Machine, flags: int, privileged: bool) -> None:
    owner = xen_machine.create_domain()
    caller = xen_machine.control if privileged else xen_machine.create_domain()
    page = caller.alloc_page()
    before = entry_at(xen_machine, caller, page)
    for mfn in (owner.mfn(5), owner.info.shared_info_frame):
        with untouched(xen_machine, owner), refused(EBUSY):
            caller.hypercall.update_va_mapping(page, mfn << 12 | flags)
    assert entry_at(xen_machine, caller, page) == before


def test_a_free_frame(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    mfn = other.mfn(5)
    other.destroy()
    with vain(xen_machine, xen_domain, EBUSY):
        xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), mfn << 12 | RO)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_table_is_not_writable(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    mfn = pinned_table(xen_domain, level)
    with vain(xen_machine, xen_domain, EBUSY):
        xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), mfn << 12 | RW)


def test_descriptors_are_not_writable(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([mfn], entries=1)
    with vain(xen_machine, xen_domain, EBUSY):
        xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), mfn << 12 | RW)


def test_a_table_that_is_one_no_more_is_writable(xen_machine: Machine, xen_domain: Domain) -> None:
    *_, mfn = tables(xen_domain, 2)
    xen_domain.hypercall.mmuext_op.pin_table(2, mfn=mfn)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=mfn)
    xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), mfn << 12 | RW)
    assert uses(xen_machine, mfn) == (3, "writable", 1)


# flushes


@pytest.mark.parametrize("flags", range(8))
def test_flushes(xen_machine: Machine, xen_domain: Domain, flags: int) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.read(page, 1)
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RO, flags)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.write(page, b"x")
    assert xen_domain.read(page, 1) == b"\0"


@pytest.mark.parametrize("flush", [TLB_FLUSH, INVLPG], ids=["tlb", "invlpg"])
def test_a_bitmap_of_virtual_cpus_is_read(xen_domain: Domain, flush: int) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    for bits in (b"", b"\1", b"\xff" * 8):
        at = placed(xen_domain, bits.ljust(8, b"\0"))
        xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RO, at | flush)
    assert xen_domain.mfn_at(page) == mfn


@pytest.mark.parametrize("flush", [TLB_FLUSH, INVLPG], ids=["tlb", "invlpg"])
@pytest.mark.parametrize("nowhere", [8, UNMAPPED, XEN_VA, 1 << 63], ids=hex)
def test_one_that_can_not_be_read_is_a_fault_after_the_deed(
    xen_domain: Domain, flush: int, nowhere: int
) -> None:
    page = xen_domain.alloc_page()
    with refused(EFAULT):
        xen_domain.hypercall.update_va_mapping(page, 0, nowhere | flush)
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(page, 1)


def test_one_is_read_across_pages(xen_domain: Domain) -> None:
    page, at = xen_domain.alloc_page(), straddling(xen_domain, bytes(8))
    xen_domain.hypercall.update_va_mapping(page, 0, at | TLB_FLUSH)
    xen_domain.hypercall.update_va_mapping(second_page(at), 0)
    with refused(EFAULT):
        xen_domain.hypercall.update_va_mapping(page, 0, at | TLB_FLUSH)


@pytest.mark.parametrize("flags", [UNMAPPED, UNMAPPED | 3, ALL, ALL | 3], ids=hex)
def test_none_is_read_without_a_flush(xen_domain: Domain, flags: int) -> None:
    xen_domain.hypercall.update_va_mapping(xen_domain.alloc_page(), 0, flags)


def test_a_refusal_comes_before_the_flush(xen_machine: Machine, xen_domain: Domain) -> None:
    with vain(xen_machine, xen_domain, EPERM):
        xen_domain.hypercall.update_va_mapping(
            xen_domain.alloc_page(), NO_FRAME << 12 | RO, UNMAPPED | TLB_FLUSH
        )


def test_a_dying_domain_has_no_calls(xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    xen_domain.destroy()
    with refused(ESRCH):
        xen_domain.hypercall.update_va_mapping(page, 0)
