"""mmu_update: where its requests lie, counts, the rest of a call that was broken off, domains."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, EPERM, ESRCH

import pytest
from hypercalls.support import (
    ABSENT,
    DOMID_IO,
    DOMID_XEN,
    JUNK,
    NOWHERE,
    UNMAPPED,
    XEN_VA,
    placed,
    read_only,
    refused,
    straddling,
)
from hypercalls.tables import (
    NO_FRAME,
    RO,
    RW,
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

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, MmuUpdate
from xenemu.xen import DOMID_SELF, structs

NR = Hypercall.mmu_update
REST = 1 << 31  # of a count: a call goes on
M2P = MmuUpdate.MACHPHYS_UPDATE


@pytest.fixture
def frame(xen_domain: Domain) -> int:
    """One of the domain's, mapped nowhere."""
    return free_frame(xen_domain)


def requests(*pairs: tuple[int, int]) -> bytes:
    return b"".join(bytes(structs.xen.mmu_update(*pair)) for pair in pairs)


# where the requests lie


@NOWHERE
def test_no_requests_are_there(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, nowhere, 1, 0, DOMID_SELF)


@pytest.mark.parametrize("n", [1, 8, 15])
def test_a_request_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, frame: int, n: int
) -> None:
    at = straddling(xen_domain, requests((ptr(frame), 5))[:n], mapped=False, first=n)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, at, 1, 0, DOMID_SELF)


def test_a_request_across_two_pages(xen_machine: Machine, xen_domain: Domain, frame: int) -> None:
    at = straddling(xen_domain, requests((ptr(frame), 5), (ptr(frame, 1), 6)), first=24)
    assert xen_domain.hypercall(NR, at, 2, 0, DOMID_SELF) == 0
    assert [entry(xen_machine, frame, n) for n in (0, 1)] == [5, 6]


def test_requests_may_be_read_only(xen_machine: Machine, xen_domain: Domain, frame: int) -> None:
    at = read_only(xen_domain, requests((ptr(frame), 5)))
    assert xen_domain.hypercall(NR, at, 1, 0, DOMID_SELF) == 0
    assert entry(xen_machine, frame, 0) == 5


def test_the_first_that_can_not_be_read_ends_it(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    at = straddling(xen_domain, requests((ptr(frame), 5)), mapped=False, first=16)
    done = xen_domain.alloc(4)
    assert xen_domain.hypercall.raw(NR, at, 3, done, DOMID_SELF) == -EFAULT
    assert xen_domain.read(done, 4) == b"\1\0\0\0"
    assert entry(xen_machine, frame, 0) == 5


@pytest.mark.parametrize(
    ("at", "answer"),
    [(0, 0), (UNMAPPED, 0), (XEN_VA, -EFAULT), (0x8000_0000_0000, -EFAULT)],
    ids=["null", "unmapped", "xen", "canonical"],
)
def test_of_no_requests_the_address_may_be_no_guests(
    xen_domain: Domain, at: int, answer: int
) -> None:
    assert xen_domain.hypercall.raw(NR, at, 0, 0, DOMID_SELF) == answer


def test_xens_address_comes_before_the_domains(xen_domain: Domain) -> None:
    with refused(EFAULT):
        xen_domain.hypercall(NR, XEN_VA, 0, 0, ABSENT)
    with refused(ESRCH):
        xen_domain.hypercall(NR, UNMAPPED, 1, 0, ABSENT)


# how many were done


@pytest.mark.parametrize("place", ["null", "unmapped", "read-only", "xen"])
def test_a_count_that_can_not_be_written_is_no_error(
    xen_machine: Machine, xen_domain: Domain, frame: int, place: str
) -> None:
    at = placed(xen_domain, requests((ptr(frame), 5)))
    page = read_only(xen_domain, b"\7")
    done = {"null": 0, "unmapped": UNMAPPED, "read-only": page, "xen": XEN_VA}[place]
    assert xen_domain.hypercall(NR, at, 1, done, DOMID_SELF) == 0
    assert entry(xen_machine, frame, 0) == 5
    assert xen_domain.read(page, 4) == b"\7\0\0\0"


def test_the_count_has_32_bits(xen_machine: Machine, xen_domain: Domain, frame: int) -> None:
    at = placed(xen_domain, requests((ptr(frame), 5), (ptr(frame, 1), 6)))
    done = placed(xen_domain, b"\xff" * 8)
    assert xen_domain.hypercall(NR, at, JUNK | 1, done, JUNK | DOMID_SELF) == 0
    assert xen_domain.read(done, 8) == b"\1\0\0\0\xff\xff\xff\xff"
    assert [entry(xen_machine, frame, n) for n in (0, 1)] == [5, 0]


def test_a_huge_count_ends_where_memory_does(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    at = straddling(xen_domain, requests((ptr(frame), 5)) * 256, mapped=False, first=4096)
    done = xen_domain.alloc(4)
    for count in (REST - 1, 2**32 - 1):
        assert xen_domain.hypercall.raw(NR, at, count, done, DOMID_SELF) == -EFAULT
    assert int.from_bytes(xen_domain.read(done, 4), "little") == 256 + 256  # it goes on


def test_the_rest_of_a_call_adds_to_what_was_done(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    at = placed(xen_domain, requests((ptr(frame), 5)))
    done = placed(xen_domain, b"\x09\0\0\0")
    assert xen_domain.hypercall(NR, at, REST | 1, done, DOMID_SELF) == 0
    assert xen_domain.read(done, 4) == b"\x0a\0\0\0"
    assert xen_domain.hypercall(NR, at, REST | 1, UNMAPPED, DOMID_SELF) == 0


@pytest.mark.parametrize("answer", [0, 5, -EINVAL, DOMID_SELF])
def test_the_end_of_a_call_only_answers(xen_domain: Domain, answer: int) -> None:
    assert xen_domain.hypercall.raw(NR, 0, REST, 0, answer & 0xFFFF_FFFF) == answer


# whose frames: the lower half of the last argument


@pytest.mark.parametrize("named", [ABSENT, 4095, 4096, 0x7FEF, 0x7FF3, 0x7FFF, 0xFFFF], ids=hex)
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_there_is_no_such_domain(
    xen_machine: Machine, xen_domain: Domain, named: int, privileged: bool
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    at = placed(caller, requests((ptr(caller.mfn(5)), 1)))
    with untouched(xen_machine, xen_domain), refused(ESRCH):
        caller.hypercall(NR, at, 1, 0, named)
    assert entry(xen_machine, caller.mfn(5), 0) == 0


def test_the_callers_own_number_is_no_other_domain(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    for caller in (xen_machine.control, xen_domain):
        with untouched(xen_machine, xen_domain), refused(ESRCH):
            caller.hypercall.mmu_update([(ptr(caller.mfn(5)), 1)], foreigndom=caller.id)


@pytest.mark.parametrize("cmd", [0, 1, 2, 3])
def test_a_guest_names_no_other_domain(
    xen_machine: Machine, xen_domain: Domain, frame: int, cmd: int
) -> None:
    other = xen_machine.create_domain()
    for domid in (other.id, 0, DOMID_XEN):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EPERM):
            xen_domain.hypercall.mmu_update([(ptr(frame, 0, cmd), 5)], foreigndom=domid)


def test_what_is_no_memory_may_be_named(xen_machine: Machine, xen_domain: Domain) -> None:
    """By anybody; there is nothing of it that a guest may map."""
    page = xen_domain.alloc_page()
    table, index = table_for(xen_machine, xen_domain, page)
    mfn = xen_domain.mfn_at(page)
    call = xen_domain.hypercall.mmu_update
    assert call([(ptr(table, index), 0)], foreigndom=DOMID_IO) == 1
    for pte, code in ((mfn << 12 | RO, EBUSY), (1 << 12 | RO, EPERM)):
        with vain(xen_machine, xen_domain, code):
            call([(ptr(table, index), pte)], foreigndom=DOMID_IO)
    for request in ((ptr(root_of(xen_domain), 5), 0), (ptr(mfn, 0, M2P), 5)):
        with vain(xen_machine, xen_domain, EINVAL):
            call([request], foreigndom=DOMID_IO)


def test_the_control_domain_maps_frames_of_a_guest(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frame: int
) -> None:
    table, index = table_for(xen_machine, xen_control, xen_control.alloc_page())
    call = xen_control.hypercall.mmu_update
    assert call([(ptr(table, index), frame << 12 | RW)], foreigndom=xen_domain.id) == 1
    assert uses(xen_machine, frame) == (2, "writable", 1)
    with untouched(xen_machine, xen_domain), refused(EBUSY):
        call([(ptr(table, index), xen_control.mfn(5) << 12 | RW)], foreigndom=xen_domain.id)
    assert call([(ptr(table, index), 0)]) == 1
    assert uses(xen_machine, frame) == (1, "none", 0)


def test_tables_above_level_1_hold_the_callers_own_only(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    theirs = read_only_frame(xen_domain)
    for level in (2, 3, 4):
        table = pinned_table(xen_control, level)
        with untouched(xen_machine, xen_domain), refused(EINVAL):
            xen_control.hypercall.mmu_update(
                [(ptr(table), theirs << 12 | RW)], foreigndom=xen_domain.id
            )
        with untouched(xen_machine, xen_domain), refused(EINVAL):
            update(xen_control, table, 0, theirs << 12 | RW)


def test_the_control_domain_says_what_a_guests_frame_is_to_it(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frame: int
) -> None:
    call = xen_control.hypercall.mmu_update
    assert call([(ptr(frame, 0, M2P), 4711)], foreigndom=xen_domain.id) == 1
    assert xen_machine.frame(frame).pfn == 4711
    for mfn in (xen_control.mfn(5), NO_FRAME, 1):
        with untouched(xen_machine, xen_domain), refused(EINVAL):
            call([(ptr(mfn, 0, M2P), 1)], foreigndom=xen_domain.id)


# whose tables: the upper half, plus 1


def test_the_caller_may_name_itself_as_their_owner(
    xen_machine: Machine, xen_domain: Domain, frame: int
) -> None:
    assert xen_domain.hypercall.mmu_update([(ptr(frame), 5)], pt_owner=xen_domain.id) == 1
    assert entry(xen_machine, frame, 0) == 5


def test_the_control_domain_changes_a_guests_tables(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frame: int
) -> None:
    page = xen_domain.alloc_page()
    table, index = table_for(xen_machine, xen_domain, page)
    call = xen_control.hypercall.mmu_update
    old = xen_domain.mfn_at(page)
    request = (ptr(table, index), frame << 12 | RO)
    assert call([request], foreigndom=xen_domain.id, pt_owner=xen_domain.id) == 1
    assert xen_domain.mfn_at(page) == frame
    assert uses(xen_machine, frame) == (2, "none", 0)
    assert uses(xen_machine, old) == (1, "none", 0)


def test_and_its_memory_and_higher_tables(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frame: int
) -> None:
    table, below = pinned_table(xen_domain, 2), read_only_frame(xen_domain)
    call = xen_control.hypercall.mmu_update
    both = [(ptr(frame), 5), (ptr(table), below << 12 | RW)]
    assert call(both, foreigndom=xen_domain.id, pt_owner=xen_domain.id) == 2
    assert (entry(xen_machine, frame, 0), uses(xen_machine, below)) == (5, (3, "l1", 1))
    with vain(xen_machine, xen_domain, EINVAL):  # the frames are the caller's now
        call([(ptr(table, 1), below << 12 | RW)], pt_owner=xen_domain.id)


@pytest.mark.parametrize("cmd", [0, 1, 2, 3])
def test_a_guest_changes_no_tables_of_others(
    xen_machine: Machine, xen_domain: Domain, cmd: int
) -> None:
    other = xen_machine.create_domain()
    for owner in (other, xen_machine.control):
        requested = [(ptr(owner.mfn(5), 0, cmd), 5)]
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EPERM):
            xen_domain.hypercall.mmu_update(requested, pt_owner=owner.id)


def test_not_what_a_guests_frames_are_to_it_by_way_of_its_tables(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frame: int
) -> None:
    with vain(xen_machine, xen_domain, EPERM):
        xen_control.hypercall.mmu_update(
            [(ptr(frame, 0, M2P), 1)], foreigndom=xen_domain.id, pt_owner=xen_domain.id
        )


@pytest.mark.parametrize("owner", [ABSENT, 4095, 0x7FEF, DOMID_SELF, DOMID_IO, 0xFFFE], ids=hex)
def test_the_owner_of_tables_is_a_domain(
    xen_machine: Machine, xen_domain: Domain, frame: int, owner: int
) -> None:
    with vain(xen_machine, xen_domain, ESRCH):
        xen_domain.hypercall.mmu_update([(ptr(frame), 5)], pt_owner=owner)


def test_one_without_virtual_cpus_has_no_tables(xen_machine: Machine, xen_control: Domain) -> None:
    domid = xen_control.hypercall.domctl.createdomain(max_vcpus=1)
    for caller in (xen_control, xen_machine.create_domain()):
        with refused(EINVAL):
            caller.hypercall.mmu_update([(ptr(caller.mfn(5)), 5)], pt_owner=domid)


def test_a_dying_caller(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, UNMAPPED, 0, 0, DOMID_SELF) == -ESRCH
