"""mmuext_op: pin and unpin of tables of all levels, and what base pointers do to them."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, EPERM

import pytest
from hypercalls.support import UNMAPPED, placed, refused
from hypercalls.tables import (
    EVERY,
    NO_FRAME,
    PCD,
    PSE,
    RO,
    RW,
    UPPER,
    XEN_SLOTS,
    entry,
    free_frame,
    operation,
    pinned_table,
    read_only_frame,
    registers,
    root_of,
    tables,
    untouched,
    update,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, MmuextOp, VmAssistType
from xenemu.xen import DOMID_SELF

M2P_SLOT = XEN_SLOTS[0]


@pytest.fixture
def roots(xen_domain: Domain) -> tuple[int, int]:
    """The root in use, and a frame with a copy of it that is no table yet."""
    root, copy = root_of(xen_domain), read_only_frame(xen_domain)
    xen_domain.hypercall.mmuext_op.copy_page(mfn=copy, src_mfn=root)
    return root, copy


# pin


@EVERY
def test_a_page_of_zeroes_is_pinned(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    mfn = read_only_frame(xen_domain)
    xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    frame = xen_machine.frame(mfn)
    assert (frame.pinned, frame.validated) == (True, True)
    assert uses(xen_machine, mfn) == (3, f"l{level}", 1)


@EVERY
def test_unpinned_it_is_no_table(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    mfn = pinned_table(xen_domain, level)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=mfn)
    assert uses(xen_machine, mfn) == (2, "none", 0)
    assert not xen_machine.frame(mfn).pinned


@EVERY
def test_pinning_a_tree_makes_tables_of_all_below(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    data, made = free_frame(xen_domain), tables(xen_domain, level)
    update(xen_domain, made[0], 100, data << 12 | RW)
    xen_domain.hypercall.mmuext_op.pin_table(level, mfn=made[-1])
    for n, mfn in enumerate(made, 1):
        assert uses(xen_machine, mfn) == (3, f"l{n}", 1)
        assert xen_machine.frame(mfn).pinned == (n == level)
    assert uses(xen_machine, data) == (2, "writable", 1)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=made[-1])
    assert [uses(xen_machine, mfn) for mfn in made] == [(2, "none", 0)] * level
    assert uses(xen_machine, data) == (1, "none", 0)


@UPPER
def test_a_table_outlives_what_it_is_below_if_pinned_too(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    op, made = xen_domain.hypercall.mmuext_op, tables(xen_domain, level)
    op.pin_table(level, mfn=made[-1])
    op.pin_table(level - 1, mfn=made[-2])
    assert uses(xen_machine, made[-2]) == (4, f"l{level - 1}", 2)
    op.unpin_table(mfn=made[-1])
    assert uses(xen_machine, made[-2]) == (3, f"l{level - 1}", 1)
    op.unpin_table(mfn=made[-2])
    assert uses(xen_machine, made[-2]) == (2, "none", 0)


def test_xen_has_its_slots_in_a_pinned_root(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = read_only_frame(xen_domain)
    update(xen_domain, mfn, XEN_SLOTS[0], 0xDEAD000)
    xen_domain.hypercall.mmuext_op.pin_table(4, mfn=mfn)
    root = root_of(xen_domain)
    for slot in XEN_SLOTS:
        mine, builders = entry(xen_machine, mfn, slot), entry(xen_machine, root, slot)
        assert mine == builders or slot in (M2P_SLOT, 258)  # that one names the table


@EVERY
def test_entries_that_are_not_present_hold_anything(
    xen_machine: Machine, xen_domain: Domain, level: int
) -> None:
    mfn = read_only_frame(xen_domain)
    update(xen_domain, mfn, 7, 2**64 - 2)
    xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    assert entry(xen_machine, mfn, 7) == 2**64 - 2


@UPPER
def test_a_table_with_itself_in_it(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    mfn = read_only_frame(xen_domain)
    update(xen_domain, mfn, 3, mfn << 12 | RW)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    update(xen_domain, mfn, 3, mfn << 12 | RO)
    xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    assert uses(xen_machine, mfn) == (3, f"l{level}", 1)


@EVERY
def test_no_page_is_pinned_twice(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    mfn = pinned_table(xen_domain, level)
    for again in (1, 2, 3, 4):
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.pin_table(again, mfn=mfn)


@EVERY
def test_pages_that_can_not_be_pinned(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    other, gone = xen_machine.create_domain(), xen_machine.create_domain()
    free = gone.mfn(7)
    gone.destroy()
    writable = xen_domain.mfn_at(xen_domain.alloc_page())
    descriptors = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([descriptors], entries=8)
    mine = [writable, descriptors, xen_domain.info.shared_info_frame]
    for mfn in (*mine, other.mfn(7), free, xen_machine.control.mfn(7), 0, 1, 255):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    for mfn in (16384, NO_FRAME, 2**40 - 1, 2**52, 2**64 - 1):
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)


@UPPER
@pytest.mark.parametrize("flag", [PCD, PSE], ids=["pcd", "pse"])
def test_entries_that_no_table_has(
    xen_machine: Machine, xen_domain: Domain, level: int, flag: int
) -> None:
    mfn = read_only_frame(xen_domain)
    update(xen_domain, mfn, 0, read_only_frame(xen_domain) << 12 | RW)
    update(xen_domain, mfn, 1, read_only_frame(xen_domain) << 12 | RW | flag)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)


@EVERY
@pytest.mark.parametrize(
    ("pte", "code"),
    [(NO_FRAME << 12 | RO, EPERM), (1 << 12 | RO, EPERM), ("table", EBUSY), ("other", EBUSY)],
    ids=["beyond", "first mib", "root", "other"],
)
def test_a_bad_entry_of_level_1_has_its_own_errno(
    xen_machine: Machine, xen_domain: Domain, level: int, pte: int | str, code: int
) -> None:
    made = tables(xen_domain, level)
    if pte == "table":
        pte = root_of(xen_domain) << 12 | RW
    elif pte == "other":
        pte = xen_machine.control.mfn(7) << 12 | RO
    assert isinstance(pte, int)
    update(xen_domain, made[0], 511, pte)
    with vain(xen_machine, xen_domain, code):
        xen_domain.hypercall.mmuext_op.pin_table(level, mfn=made[-1])


@UPPER
def test_a_level_that_is_left_out(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    below = pinned_table(xen_domain, level)
    mfn = read_only_frame(xen_domain)
    update(xen_domain, mfn, 0, below << 12 | RW)
    wrong = [n for n in (2, 3, 4) if n not in (level, level + 1)]
    for n in wrong:
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.pin_table(n, mfn=mfn)


# the slot of the machine-to-physical table, which the kernel reads and user mode may not


@pytest.fixture(params=[False, True], ids=["lax", "strict"])
def strict(request: pytest.FixtureRequest, xen_domain: Domain) -> bool:
    """Whether Xen sees to it as a table is pinned, and not as the kernel uses it."""
    if request.param:
        xen_domain.hypercall.vm_assist.enable(type=VmAssistType.m2p_strict)
    return bool(request.param)


def test_a_pinned_root_has_it_by_the_assist(
    xen_machine: Machine, xen_domain: Domain, strict: bool
) -> None:
    assert entry(xen_machine, root_of(xen_domain), M2P_SLOT)
    assert bool(entry(xen_machine, pinned_table(xen_domain, 4), M2P_SLOT)) == strict


def test_a_root_of_the_kernels_has_it(
    xen_machine: Machine, xen_domain: Domain, strict: bool, roots: tuple[int, int]
) -> None:
    xen_domain.hypercall.mmuext_op.new_baseptr(mfn=roots[1])
    assert entry(xen_machine, roots[1], M2P_SLOT)


def test_one_of_user_mode_has_it_not(
    xen_machine: Machine, xen_domain: Domain, strict: bool
) -> None:
    mfn = pinned_table(xen_domain, 4)
    xen_domain.hypercall.mmuext_op.new_user_baseptr(mfn=mfn)
    assert entry(xen_machine, mfn, M2P_SLOT) == 0


# unpin


def test_pages_that_are_not_pinned(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    theirs = pinned_table(other, 1)
    *_, top = made = tables(xen_domain, 2)
    xen_domain.hypercall.mmuext_op.pin_table(2, mfn=top)
    mine = [made[0], xen_domain.mfn_at(xen_domain.alloc_page()), free_frame(xen_domain)]
    for mfn in (*mine, theirs, 0, 1, NO_FRAME, 2**64 - 1):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall.mmuext_op.unpin_table(mfn=mfn)


def test_no_page_is_unpinned_twice(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = pinned_table(xen_domain, 1)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=mfn)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op.unpin_table(mfn=mfn)


def test_the_root_in_use_stays_a_table(xen_machine: Machine, xen_domain: Domain) -> None:
    root = root_of(xen_domain)
    before = uses(xen_machine, root)
    xen_domain.hypercall.mmuext_op.unpin_table(mfn=root)
    assert uses(xen_machine, root) == (before[0] - 1, "l4", before[2] - 1)
    assert xen_domain.read(xen_domain.gva(1), 1)


# the control domain does it for others


@EVERY
def test_the_control_domain_pins_and_unpins_for_a_guest(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, level: int
) -> None:
    mfn = read_only_frame(xen_domain)
    op = xen_control.hypercall.mmuext_op
    op.pin_table(level, mfn=mfn, foreigndom=xen_domain.id)
    assert xen_machine.frame(mfn).pinned
    with vain(xen_machine, xen_domain, EINVAL):
        op.unpin_table(mfn=mfn, foreigndom=DOMID_SELF)
    op.unpin_table(mfn=mfn, foreigndom=xen_domain.id)
    assert uses(xen_machine, mfn) == (2, "none", 0)


def test_pins_go_with_their_domain(xen_machine: Machine, xen_domain: Domain) -> None:
    free = xen_machine.free_pages
    other = xen_machine.create_domain()
    for level in (1, 2, 3, 4):
        *_, top = tables(other, level)
        other.hypercall.mmuext_op.pin_table(level, mfn=top)
    other.destroy()
    assert not other.exists
    assert xen_machine.free_pages == free


# base pointers


def test_another_root(xen_machine: Machine, xen_domain: Domain, roots: tuple[int, int]) -> None:
    root, copy = roots
    before = uses(xen_machine, root)
    xen_domain.hypercall.mmuext_op.new_baseptr(mfn=copy)
    assert registers(xen_machine, xen_domain).ctrlreg[3] == copy << 12
    assert uses(xen_machine, copy) == (3, "l4", 1)
    assert uses(xen_machine, root) == (before[0] - 1, "l4", before[2] - 1)
    assert xen_domain.hypercall.xen_version.version() == (4, 17)


def test_the_old_one_may_go(
    xen_machine: Machine, xen_domain: Domain, roots: tuple[int, int]
) -> None:
    root, copy = roots
    op = xen_domain.hypercall.mmuext_op
    op.new_baseptr(mfn=copy)
    op.unpin_table(mfn=root)
    assert uses(xen_machine, root)[1:] == ("none", 0)
    assert xen_domain.hypercall.xen_version.version() == (4, 17)


def test_the_same_root_again_changes_nothing(
    xen_machine: Machine, xen_domain: Domain, roots: tuple[int, int]
) -> None:
    with untouched(xen_machine, xen_domain):
        xen_domain.hypercall.mmuext_op.new_baseptr(mfn=roots[0])


def test_an_empty_root_leaves_the_guest_without_memory(xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    at = placed(xen_domain, operation(MmuextOp.NEW_BASEPTR, pinned_table(xen_domain, 4)))
    assert xen_domain.hypercall.raw(Hypercall.mmuext_op, at, 1, 0, DOMID_SELF) == 0
    assert xen_domain.hypercall.raw(Hypercall.mmuext_op, at, 1, 0, DOMID_SELF) == -EFAULT
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(page, 1)


def test_the_root_of_user_mode(xen_machine: Machine, xen_domain: Domain) -> None:
    first, second = read_only_frame(xen_domain), read_only_frame(xen_domain)
    op = xen_domain.hypercall.mmuext_op
    for mfn in (first, first, second):
        op.new_user_baseptr(mfn=mfn)
        assert registers(xen_machine, xen_domain).ctrlreg[1] == mfn << 12
        assert uses(xen_machine, mfn) == (3, "l4", 1)
    assert uses(xen_machine, first) == (2, "none", 0)
    op.new_user_baseptr(mfn=0)
    assert registers(xen_machine, xen_domain).ctrlreg[1] == 0
    assert uses(xen_machine, second) == (2, "none", 0)


@pytest.mark.parametrize("user", [False, True], ids=["kernel", "user"])
def test_what_can_be_no_root(xen_machine: Machine, xen_domain: Domain, user: bool) -> None:
    op, other = xen_domain.hypercall.mmuext_op, xen_machine.create_domain()
    call = op.new_user_baseptr if user else op.new_baseptr
    wrong = [pinned_table(xen_domain, level) for level in (1, 2, 3)]
    wrong += [xen_domain.mfn_at(xen_domain.alloc_page()), root_of(other), 1, NO_FRAME, 2**64 - 1]
    for mfn in (*wrong, *([] if user else [0])):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            call(mfn=mfn)


@pytest.mark.parametrize("user", [False, True], ids=["kernel", "user"])
def test_a_root_with_a_bad_entry(xen_machine: Machine, xen_domain: Domain, user: bool) -> None:
    op, made = xen_domain.hypercall.mmuext_op, tables(xen_domain, 4)
    update(xen_domain, made[0], 0, NO_FRAME << 12 | RO)
    with vain(xen_machine, xen_domain, EPERM):
        (op.new_user_baseptr if user else op.new_baseptr)(mfn=made[-1])


def test_no_flush_is_needed_after_it(xen_domain: Domain, roots: tuple[int, int]) -> None:
    """What the old root mapped is not to be had by the new one."""
    *_, l3 = tables(xen_domain, 3)
    update(xen_domain, roots[0], 300, l3 << 12 | RW)
    va = 0xFFFF_0000_0000_0000 | 300 << 39
    xen_domain.hypercall.update_va_mapping(va, xen_domain.mfn(1) << 12 | RO)
    assert xen_domain.read(va, 8) == xen_domain.read(xen_domain.gva(1), 8)
    xen_domain.hypercall.mmuext_op.new_baseptr(mfn=roots[1])
    with refused(EINVAL):
        xen_domain.hypercall.update_va_mapping(va, 0)
    for address in (va, UNMAPPED):
        with pytest.raises(OSError, match="Bad address"):
            xen_domain.read(address, 8)
