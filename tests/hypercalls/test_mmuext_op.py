"""mmuext_op: flushes, the local descriptor table, clearing and copying pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EACCES, EBUSY, EINVAL, EOPNOTSUPP

import pytest
from hypercalls.support import UNMAPPED, XEN_VA, placed, read_only, refused, straddling
from hypercalls.tables import (
    NO_FRAME,
    RO,
    RW,
    free_frame,
    operation,
    pinned_table,
    read_only_frame,
    registers,
    root_of,
    second_page,
    tables,
    untouched,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import MmuextOp
from xenemu.xen import DOMID_SELF, PAGE_SIZE

DATA32 = 0x00CF_F200_0000_FFFF  # a flat segment of data


# flushes


@pytest.mark.parametrize(
    "cmd",
    [
        MmuextOp.TLB_FLUSH_LOCAL,
        MmuextOp.TLB_FLUSH_ALL,
        MmuextOp.INVLPG_LOCAL,
        MmuextOp.INVLPG_ALL,
    ],
    ids=lambda cmd: cmd.name,
)
@pytest.mark.parametrize("va", [0, UNMAPPED, XEN_VA, 0x8000_0000_0000], ids=hex)
def test_a_flush_of_any_address(
    xen_machine: Machine, xen_domain: Domain, cmd: int, va: int
) -> None:
    with untouched(xen_machine, xen_domain):
        assert xen_domain.hypercall.mmuext_op([operation(cmd, va, UNMAPPED)]) == 1


@pytest.mark.parametrize("vcpus", [[], [0], [0, 63], range(64)], ids=str)
def test_a_flush_of_some_virtual_cpus(
    xen_machine: Machine, xen_domain: Domain, vcpus: Sequence[int]
) -> None:
    with untouched(xen_machine, xen_domain):
        xen_domain.hypercall.mmuext_op.tlb_flush_multi(vcpus=vcpus)
        xen_domain.hypercall.mmuext_op.invlpg_multi(linear_addr=XEN_VA, vcpus=vcpus)


@pytest.mark.parametrize("cmd", [MmuextOp.TLB_FLUSH_MULTI, MmuextOp.INVLPG_MULTI])
@pytest.mark.parametrize("place", ["null", "unmapped", "xen", "canonical", "straddling"])
def test_a_bitmap_that_can_not_be_read(
    xen_machine: Machine, xen_domain: Domain, cmd: int, place: str
) -> None:
    at = {
        "null": 0,
        "unmapped": UNMAPPED,
        "xen": XEN_VA,
        "canonical": 0x8000_0000_0000,
        "straddling": straddling(xen_domain, bytes(8), mapped=False, first=4),
    }[place]
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op([operation(cmd, xen_domain.gva(1), at)])


@pytest.mark.parametrize("cmd", [MmuextOp.TLB_FLUSH_MULTI, MmuextOp.INVLPG_MULTI])
def test_a_bitmap_read_only_or_across_pages(xen_domain: Domain, cmd: int) -> None:
    for at in (read_only(xen_domain, bytes(8)), straddling(xen_domain, bytes(8))):
        assert xen_domain.hypercall.mmuext_op([operation(cmd, 0, at)]) == 1


def test_a_guest_flushes_no_caches(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.mmuext_op
    with vain(xen_machine, xen_domain, EACCES):
        op.flush_cache()
    with vain(xen_machine, xen_domain, EINVAL):
        op.flush_cache_global()


def test_the_control_domain_does(xen_control: Domain) -> None:
    xen_control.hypercall.mmuext_op.flush_cache()
    xen_control.hypercall.mmuext_op.flush_cache_global()


# the local descriptor table


@pytest.mark.parametrize("entries", [1, 512, 8192])
def test_a_descriptor_table(xen_machine: Machine, xen_domain: Domain, entries: int) -> None:
    page = xen_domain.alloc_page()
    xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=page, nr_ents=entries)
    context = registers(xen_machine, xen_domain)
    assert (context.ldt_base, context.ldt_ents) == (page, entries)
    assert uses(xen_machine, xen_domain.mfn_at(page)) == (2, "writable", 1)  # not yet used


@pytest.mark.parametrize("va", [0, 8, UNMAPPED, XEN_VA + 1, 2**64 - 1], ids=hex)
def test_no_entries_are_none_at_any_address(
    xen_machine: Machine, xen_domain: Domain, va: int
) -> None:
    op = xen_domain.hypercall.mmuext_op
    op.set_ldt(linear_addr=xen_domain.gva(1), nr_ents=5)
    op.set_ldt(linear_addr=va, nr_ents=0)
    context = registers(xen_machine, xen_domain)
    assert (context.ldt_base, context.ldt_ents) == (0, 0)


@pytest.mark.parametrize(
    ("offset", "entries"), [(0, 8193), (0, 2**32 - 1), (8, 1), (1, 8192)], ids=str
)
def test_a_table_that_can_not_be(
    xen_machine: Machine, xen_domain: Domain, offset: int, entries: int
) -> None:
    op = xen_domain.hypercall.mmuext_op
    op.set_ldt(linear_addr=xen_domain.gva(1), nr_ents=5)
    with vain(xen_machine, xen_domain, EINVAL):
        op.set_ldt(linear_addr=xen_domain.gva(2) + offset, nr_ents=entries)


@pytest.mark.parametrize("va", [XEN_VA, 0xFFFF_8000_0000_0000, 0x8000_0000_0000, 1 << 63], ids=hex)
def test_a_table_where_no_guest_has_memory(
    xen_machine: Machine, xen_domain: Domain, va: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=va, nr_ents=1)


@pytest.fixture
def ldt(xen_domain: Domain) -> int:
    """The address of a table of two pages, of which the first is in use: GS was loaded from it."""
    at = xen_domain.memory.alloc_page(2)
    for page in (at, second_page(at)):
        xen_domain.write(page, DATA32.to_bytes(8, "little"))
        xen_domain.hypercall.update_va_mapping(page, xen_domain.mfn_at(page) << 12 | RO)
    xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=at, nr_ents=1024)
    xen_domain.hypercall(25, 3, 7)
    return at


def test_its_pages_are_taken_as_they_are_used(
    xen_machine: Machine, xen_domain: Domain, ldt: int
) -> None:
    frames = [xen_domain.mfn_at(page) for page in (ldt, second_page(ldt))]
    assert [uses(xen_machine, mfn) for mfn in frames] == [(3, "seg_desc", 1), (2, "none", 0)]
    xen_domain.hypercall(25, 3, 512 << 3 | 7)
    assert [uses(xen_machine, mfn) for mfn in frames] == [(3, "seg_desc", 1)] * 2
    with vain(xen_machine, xen_domain, EBUSY):
        xen_domain.hypercall.update_va_mapping(ldt, frames[0] << 12 | RW)


@pytest.mark.parametrize("entries", [0, 512])
def test_they_go_with_it(xen_machine: Machine, xen_domain: Domain, ldt: int, entries: int) -> None:
    xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=ldt, nr_ents=entries)
    assert uses(xen_machine, xen_domain.mfn_at(ldt)) == (2, "none", 0)
    xen_domain.hypercall.update_va_mapping(ldt, xen_domain.mfn_at(ldt) << 12 | RW)


def test_the_same_table_again_keeps_them(
    xen_machine: Machine, xen_domain: Domain, ldt: int
) -> None:
    with untouched(xen_machine, xen_domain):
        xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=ldt, nr_ents=1024)


def test_another_root_gives_them_back(xen_machine: Machine, xen_domain: Domain, ldt: int) -> None:
    op, copy = xen_domain.hypercall.mmuext_op, read_only_frame(xen_domain)
    op.copy_page(mfn=copy, src_mfn=root_of(xen_domain))
    op.new_baseptr(mfn=copy)
    assert uses(xen_machine, xen_domain.mfn_at(ldt)) == (2, "none", 0)
    assert registers(xen_machine, xen_domain).ldt_ents == 1024


def test_they_go_with_the_domain(xen_machine: Machine) -> None:
    free = xen_machine.free_pages
    domain = xen_machine.create_domain()
    at = domain.alloc_page()
    domain.write(at, DATA32.to_bytes(8, "little"))
    domain.hypercall.update_va_mapping(at, domain.mfn_at(at) << 12 | RO)
    domain.hypercall.mmuext_op.set_ldt(linear_addr=at, nr_ents=1)
    domain.hypercall(25, 3, 7)
    domain.destroy()
    assert xen_machine.free_pages == free


# pages


@pytest.fixture
def pages(xen_domain: Domain) -> tuple[int, int]:
    """The addresses of one full of fives and one full of sevens."""
    fives, sevens = xen_domain.alloc_page(), xen_domain.alloc_page()
    xen_domain.write(fives, b"\5" * PAGE_SIZE)
    xen_domain.write(sevens, b"\7" * PAGE_SIZE)
    return fives, sevens


def test_a_page_is_cleared(
    xen_machine: Machine, xen_domain: Domain, pages: tuple[int, int]
) -> None:
    with untouched(xen_machine, xen_domain):
        xen_domain.hypercall.mmuext_op.clear_page(mfn=xen_domain.mfn_at(pages[0]))
    assert xen_domain.read(pages[0], PAGE_SIZE) == bytes(PAGE_SIZE)
    assert xen_domain.read(pages[1], PAGE_SIZE) == b"\7" * PAGE_SIZE


def test_a_page_is_copied(xen_machine: Machine, xen_domain: Domain, pages: tuple[int, int]) -> None:
    with untouched(xen_machine, xen_domain):
        xen_domain.hypercall.mmuext_op.copy_page(
            mfn=xen_domain.mfn_at(pages[0]), src_mfn=xen_domain.mfn_at(pages[1])
        )
    assert xen_domain.read(pages[0], PAGE_SIZE) == b"\7" * PAGE_SIZE


def test_onto_itself_too(xen_domain: Domain, pages: tuple[int, int]) -> None:
    mfn = xen_domain.mfn_at(pages[0])
    xen_domain.hypercall.mmuext_op.copy_page(mfn=mfn, src_mfn=mfn)
    assert xen_domain.read(pages[0], PAGE_SIZE) == b"\5" * PAGE_SIZE


def test_a_table_is_copied_and_one_mapped_nowhere_written(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    table, mfn = tables(xen_domain, 1)[0], free_frame(xen_domain)
    xen_domain.hypercall.mmuext_op.pin_table(1, mfn=table)
    xen_domain.hypercall.mmuext_op.copy_page(mfn=mfn, src_mfn=root_of(xen_domain))
    assert xen_machine.read_frame(mfn) == xen_machine.read_frame(root_of(xen_domain))
    xen_domain.hypercall.mmuext_op.clear_page(mfn=mfn)
    assert xen_machine.read_frame(mfn) == bytes(PAGE_SIZE)
    assert uses(xen_machine, mfn) == (1, "none", 0)


Write = Callable[[Domain, int], None]
CLEAR_AND_COPY = pytest.mark.parametrize(
    "write",
    [
        lambda domain, mfn: domain.hypercall.mmuext_op.clear_page(mfn=mfn),
        lambda domain, mfn: domain.hypercall.mmuext_op.copy_page(mfn=mfn, src_mfn=domain.mfn(3)),
    ],
    ids=["clear", "copy"],
)


@CLEAR_AND_COPY
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_no_table_is_written(
    xen_machine: Machine, xen_domain: Domain, write: Write, level: int
) -> None:
    mfn = pinned_table(xen_domain, level)
    with vain(xen_machine, xen_domain, EINVAL):
        write(xen_domain, mfn)


@CLEAR_AND_COPY
def test_nor_what_is_not_the_domains(
    xen_machine: Machine, xen_domain: Domain, write: Write
) -> None:
    other, descriptors = xen_machine.create_domain(), read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([descriptors], entries=8)
    for mfn in (descriptors, other.mfn(7), 0, 255, NO_FRAME, 2**52 - 1, 2**64 - 1):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            write(xen_domain, mfn)


def test_only_the_domains_own_is_copied(xen_machine: Machine, xen_domain: Domain) -> None:
    mine, other = xen_domain.mfn(7), xen_machine.create_domain()
    for mfn in (other.mfn(7), xen_machine.control.mfn(7), 0, 255, NO_FRAME, 2**64 - 1):
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.copy_page(mfn=mine, src_mfn=mfn)


def test_its_shared_info_is_its_own(xen_machine: Machine, xen_domain: Domain) -> None:
    mine = xen_domain.mfn(7)
    shared = xen_domain.info.shared_info_frame
    xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    xen_domain.hypercall.mmuext_op.copy_page(mfn=mine, src_mfn=shared)
    assert xen_machine.read_frame(mine) == xen_machine.read_frame(shared)
    xen_domain.hypercall.mmuext_op.clear_page(mfn=shared)
    assert bytes(xen_domain.shared_info).strip(b"\0") == b""


def test_the_control_domain_does_it_to_guests(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, pages: tuple[int, int]
) -> None:
    fives, sevens = (xen_domain.mfn_at(page) for page in pages)
    op = xen_control.hypercall.mmuext_op
    op.copy_page(mfn=fives, src_mfn=sevens, foreigndom=xen_domain.id)
    assert xen_domain.read(pages[0], PAGE_SIZE) == b"\7" * PAGE_SIZE
    op.clear_page(mfn=sevens, foreigndom=xen_domain.id)
    assert xen_domain.read(pages[1], PAGE_SIZE) == bytes(PAGE_SIZE)
    for foreigndom, mfn in ((DOMID_SELF, fives), (xen_domain.id, xen_control.mfn(7))):
        with vain(xen_machine, xen_domain, EINVAL):
            op.clear_page(mfn=mfn, foreigndom=foreigndom)
        with vain(xen_machine, xen_domain, EINVAL):
            op.copy_page(mfn=mfn, src_mfn=sevens, foreigndom=foreigndom)


# superpages


@pytest.mark.parametrize("mfn", [0, 512, NO_FRAME, 2**64 - 1], ids=hex)
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_there_are_no_superpages(
    xen_machine: Machine, xen_domain: Domain, mfn: int, privileged: bool
) -> None:
    op = (xen_machine.control if privileged else xen_domain).hypercall.mmuext_op
    for call in (op.mark_super, op.unmark_super):
        with untouched(xen_machine, xen_domain), refused(EOPNOTSUPP):
            call(mfn=mfn)


def test_an_operation_reads_its_argument_from_a_copy(xen_domain: Domain) -> None:
    """The list may lie in what it clears."""
    page = xen_domain.alloc_page()
    op = operation(MmuextOp.CLEAR_PAGE, xen_domain.mfn_at(page))
    xen_domain.write(page, bytes(op) + bytes(operation(99)))
    done = placed(xen_domain, bytes(4))
    answer = xen_domain.hypercall.raw(26, page, 2, done, DOMID_SELF)
    assert answer == -EINVAL  # the second is a pin of frame 0 now
    assert xen_domain.read(done, 4) == b"\1\0\0\0"
