"""update_va_mapping_otherdomain: level 1 entries for frames of the domain that is named."""

from __future__ import annotations

from errno import EACCES, EBUSY, EFAULT, EINVAL, EPERM, ESRCH

import pytest
from hypercalls.support import (
    ABSENT,
    DOMID_IO,
    DOMID_XEN,
    JUNK,
    UNMAPPED,
    XEN_VA,
    refused,
)
from hypercalls.tables import (
    GLOBAL,
    NO_FRAME,
    PCD,
    RO,
    RW,
    entry_at,
    pinned_table,
    untouched,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, UpdateVaFlags
from xenemu.xen import DOMID_SELF

NR = Hypercall.update_va_mapping_otherdomain
BOTH = pytest.mark.parametrize("flags", [RO, RW], ids=["ro", "rw"])


@pytest.fixture
def page(xen_control: Domain) -> int:
    """An address of the control domain's."""
    return xen_control.alloc_page()


@pytest.fixture
def frame(xen_domain: Domain) -> int:
    """A frame of the guest's, mapped once, writable."""
    return xen_domain.mfn_at(xen_domain.alloc_page())


# what is mapped


def test_the_control_domain_maps_a_guests_frame(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int
) -> None:
    theirs = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(theirs)
    xen_control.hypercall.update_va_mapping_otherdomain(page, mfn << 12 | RW, domid=xen_domain.id)
    xen_control.write(page, b"shared")
    assert xen_domain.read(theirs, 6) == b"shared"
    assert uses(xen_machine, mfn) == (3, "writable", 2)
    assert xen_machine.frame(mfn).owner == xen_domain.id
    assert entry_at(xen_machine, xen_control, page) == mfn << 12 | RW | GLOBAL


def test_read_only_it_has_no_use_as_writable(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int, frame: int
) -> None:
    xen_control.hypercall.update_va_mapping_otherdomain(page, frame << 12 | RO, domid=xen_domain.id)
    assert uses(xen_machine, frame) == (3, "writable", 1)


@pytest.mark.parametrize("other", [False, True], ids=["own call", "this call"])
def test_an_entry_goes_by_either_call(
    xen_machine: Machine,
    xen_control: Domain,
    xen_domain: Domain,
    page: int,
    frame: int,
    other: bool,
) -> None:
    call = xen_control.hypercall
    call.update_va_mapping_otherdomain(page, frame << 12 | RW, domid=xen_domain.id)
    if other:
        call.update_va_mapping_otherdomain(page, 0, domid=xen_domain.id)
    else:
        call.update_va_mapping(page, 0)
    assert uses(xen_machine, frame) == (2, "writable", 1)


def test_a_guests_table_is_mapped_read_only(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int
) -> None:
    mfn = pinned_table(xen_domain, 1)
    call = xen_control.hypercall.update_va_mapping_otherdomain
    call(page, mfn << 12 | RO, domid=xen_domain.id)
    with untouched(xen_machine, xen_domain), refused(EBUSY):
        call(page, mfn << 12 | RW, domid=xen_domain.id)


def test_a_mapped_frame_outlives_its_domain(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int, frame: int
) -> None:
    free = xen_machine.free_pages
    call = xen_control.hypercall.update_va_mapping_otherdomain
    call(page, frame << 12 | RO, domid=xen_domain.id)
    tot_pages = xen_domain.info.tot_pages
    xen_domain.destroy()
    assert (xen_domain.info.dying, xen_domain.info.tot_pages) == (True, 1)
    assert xen_machine.free_pages > free + tot_pages - 2
    assert uses(xen_machine, frame)[0] == 1
    call(xen_control.alloc_page(), frame << 12 | RO, domid=xen_domain.id)  # what dies has a frame
    assert uses(xen_machine, frame)[0] == 2


def test_the_last_mapping_ends_a_dead_domain(
    xen_control: Domain, xen_domain: Domain, page: int, frame: int
) -> None:
    call = xen_control.hypercall.update_va_mapping_otherdomain
    call(page, frame << 12 | RO, domid=xen_domain.id)
    xen_domain.destroy()
    call(page, 0, domid=xen_domain.id)
    assert not xen_domain.exists
    with refused(ESRCH):
        call(page, 0, domid=xen_domain.id)


def test_a_privileged_owner_stands_for_any(
    xen_machine: Machine, xen_control: Domain, page: int, frame: int
) -> None:
    """Its right to the frame counts, not whose the frame is."""
    second = xen_machine.create_domain(privileged=True)
    xen_control.hypercall.update_va_mapping_otherdomain(page, frame << 12 | RO, domid=second.id)
    assert uses(xen_machine, frame)[0] == 3


# DOMID_SELF, DOMID_IO, DOMID_XEN


@pytest.mark.parametrize("junk", [0, 0x10000, JUNK], ids=hex)
def test_self_is_the_caller(xen_machine: Machine, xen_domain: Domain, junk: int) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    args = (page, mfn << 12 | RO, UpdateVaFlags.INVLPG, DOMID_SELF | junk)
    assert xen_domain.hypercall.raw(NR, *args) == 0
    assert uses(xen_machine, mfn) == (2, "none", 0)


def test_self_maps_no_frame_of_another(
    xen_machine: Machine, xen_control: Domain, page: int, frame: int
) -> None:
    with vain(xen_machine, xen_machine.domain(1), EBUSY):
        xen_control.hypercall.update_va_mapping_otherdomain(
            page, frame << 12 | RO, domid=DOMID_SELF
        )


def test_io_is_what_is_no_memory(xen_machine: Machine, xen_control: Domain, page: int) -> None:
    call = xen_control.hypercall.update_va_mapping_otherdomain
    call(page, 1 << 12 | RW, domid=DOMID_IO)
    assert xen_control.mfn_at(page) == 1
    call(page, 0, domid=DOMID_IO)
    assert xen_machine.frame(1).count == 0


def test_it_is_no_memory_of_a_guests(
    xen_control: Domain, xen_domain: Domain, page: int, frame: int
) -> None:
    call = xen_control.hypercall.update_va_mapping_otherdomain
    with refused(EPERM):
        call(page, 1 << 12 | RW, domid=xen_domain.id)
    for domid in (DOMID_IO, DOMID_XEN):
        with refused(EBUSY):
            call(page, frame << 12 | RW, domid=domid)


def test_nor_of_xens(xen_control: Domain, page: int) -> None:
    with refused(EPERM):
        xen_control.hypercall.update_va_mapping_otherdomain(page, 1 << 12 | RW, domid=DOMID_XEN)


# what is refused


@pytest.mark.parametrize("domid", [ABSENT, 4095, 4096, 0x7FEF, 0x7FF3, 0x7FFF, 0xFFFF], ids=hex)
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_there_is_no_such_domain(
    xen_machine: Machine, xen_domain: Domain, domid: int, privileged: bool
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    with untouched(xen_machine, xen_domain), refused(ESRCH):
        caller.hypercall.update_va_mapping_otherdomain(caller.gva(1), 0, domid=domid)


@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_the_callers_own_number_is_no_other_domain(
    xen_machine: Machine, xen_domain: Domain, privileged: bool
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    for domid in (caller.id, caller.id | JUNK):
        args = (caller.gva(1), 0, 0, domid)
        assert caller.hypercall.raw(NR, *args) == -ESRCH


@pytest.mark.parametrize("named", ["other", "io", "xen"])
@pytest.mark.parametrize("va", ["mapped", "unmapped"])
def test_a_guest_has_no_right(
    xen_machine: Machine, xen_domain: Domain, named: str, va: str
) -> None:
    other = xen_machine.create_domain()
    domid = {"other": other.id, "io": DOMID_IO, "xen": DOMID_XEN}[named]
    at = xen_domain.alloc_page() if va == "mapped" else UNMAPPED
    for pte in (0, other.mfn(5) << 12 | RO):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EPERM):
            xen_domain.hypercall.update_va_mapping_otherdomain(at, pte, domid=domid)


@BOTH
def test_the_frame_is_not_the_named_domains(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int, flags: int
) -> None:
    third = xen_machine.create_domain()
    before = entry_at(xen_machine, xen_control, page)
    for mfn in (third.mfn(5), xen_control.mfn(5)):
        with untouched(xen_machine, xen_domain, third), refused(EBUSY):
            xen_control.hypercall.update_va_mapping_otherdomain(
                page, mfn << 12 | flags, domid=xen_domain.id
            )
    assert entry_at(xen_machine, xen_control, page) == before


@pytest.mark.parametrize("va", [0, UNMAPPED, XEN_VA, 0x8000_0000_0000], ids=hex)
def test_the_address_is_the_callers(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, va: int, frame: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_control.hypercall.update_va_mapping_otherdomain(
            va, frame << 12 | RO, domid=xen_domain.id
        )


@pytest.mark.parametrize(
    ("mfn", "code"), [(NO_FRAME, EPERM), (0xFF_FFFF_FFFF, EINVAL)], ids=["beyond", "none"]
)
def test_there_is_no_such_frame(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int, mfn: int, code: int
) -> None:
    with vain(xen_machine, xen_domain, code):
        xen_control.hypercall.update_va_mapping_otherdomain(
            page, mfn << 12 | RW, domid=xen_domain.id
        )


def test_a_frame_of_xens_is_not_mapped_uncached(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int
) -> None:
    shared = xen_domain.info.shared_info_frame
    call = xen_control.hypercall.update_va_mapping_otherdomain
    call(page, shared << 12 | RW, domid=xen_domain.id)
    with vain(xen_machine, xen_domain, EACCES):
        call(page, shared << 12 | RW | PCD, domid=xen_domain.id)


def test_a_bitmap_that_can_not_be_read_is_a_fault_after_the_deed(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, page: int, frame: int
) -> None:
    with refused(EFAULT):
        xen_control.hypercall.update_va_mapping_otherdomain(
            page, frame << 12 | RO, UNMAPPED | UpdateVaFlags.TLB_FLUSH, domid=xen_domain.id
        )
    assert xen_control.mfn_at(page) == frame
    assert uses(xen_machine, frame)[0] == 3


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, 0, 0, 0, DOMID_SELF) == -ESRCH
