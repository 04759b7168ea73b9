"""mmuext_op: where its operations lie, counts, the rest of a call that was broken off, domains."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from typing import Any

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
    raw_of,
    read_only,
    refused,
    straddling,
)
from hypercalls.tables import (
    free_frame,
    operation,
    pinned_table,
    read_only_frame,
    untouched,
    uses,
    vain,
)

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import Hypercall, MmuextOp
from xenemu.xen import DOMID_SELF

NR = Hypercall.mmuext_op
REST = 1 << 31  # of a count: a call goes on
SIZE = 24
OWN = [op for op in MmuextOp if op in range(5, 14) or op in (15, 18)]
FRAMES = [MmuextOp.PIN_L1_TABLE, MmuextOp.PIN_L4_TABLE, MmuextOp.UNPIN_TABLE]
FRAMES += [MmuextOp.CLEAR_PAGE, MmuextOp.COPY_PAGE]


def several(*ops: Any) -> bytes:
    return b"".join(map(raw_of, ops))


@pytest.fixture
def frame(xen_domain: Domain) -> int:
    """One that may become a table."""
    return read_only_frame(xen_domain)


@pytest.fixture
def pin(frame: int) -> Any:
    return operation(MmuextOp.PIN_L1_TABLE, frame)


# where the operations lie


@NOWHERE
def test_no_operations_are_there(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, nowhere, 1, 0, DOMID_SELF)


@pytest.mark.parametrize("n", [1, 8, 23])
def test_an_operation_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, pin: Any, n: int
) -> None:
    at = straddling(xen_domain, raw_of(pin)[:n], mapped=False, first=n)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, at, 1, 0, DOMID_SELF)


@pytest.mark.parametrize("first", [4, 8, 16, 20])
def test_an_operation_across_two_pages(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any, first: int
) -> None:
    at = straddling(xen_domain, pin, first=first)
    assert xen_domain.hypercall(NR, at, 1, 0, DOMID_SELF) == 0
    assert xen_machine.frame(frame).pinned


def test_operations_may_be_read_only(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any
) -> None:
    assert xen_domain.hypercall(NR, read_only(xen_domain, pin), 1, 0, DOMID_SELF) == 0
    assert xen_machine.frame(frame).pinned


@pytest.mark.parametrize(
    ("at", "answer"),
    [(0, 0), (UNMAPPED, 0), (XEN_VA, -EFAULT), (0x8000_0000_0000, -EFAULT)],
    ids=["null", "unmapped", "xen", "canonical"],
)
def test_of_no_operations_the_address_may_be_no_guests(
    xen_domain: Domain, at: int, answer: int
) -> None:
    assert xen_domain.hypercall.raw(NR, at, 0, 0, DOMID_SELF) == answer


def test_xens_address_comes_before_the_domain_and_that_before_memory(xen_domain: Domain) -> None:
    for at, domid, code in (
        (XEN_VA, ABSENT, EFAULT),
        (UNMAPPED, ABSENT, ESRCH),
        (UNMAPPED, 0, EPERM),
    ):
        with refused(code):
            xen_domain.hypercall(NR, at, 1, 0, domid)


# in order; how many were done


@pytest.mark.parametrize("good", [0, 1, 5])
def test_those_before_a_refused_one_are_done_and_no_others(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any, good: int
) -> None:
    ops = [operation(MmuextOp.TLB_FLUSH_LOCAL)] * good
    with pytest.raises(HypercallError) as caught:
        xen_domain.hypercall.mmuext_op([*ops, operation(99), pin])
    assert (caught.value.errno, caught.value.done) == (ENOSYS, good)
    assert not xen_machine.frame(frame).pinned


def test_the_first_that_can_not_be_read_ends_it(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any
) -> None:
    at = straddling(xen_domain, pin, mapped=False, first=SIZE)
    done = xen_domain.alloc(4)
    assert xen_domain.hypercall.raw(NR, at, 2, done, DOMID_SELF) == -EFAULT
    assert xen_domain.read(done, 4) == b"\1\0\0\0"
    assert xen_machine.frame(frame).pinned


@pytest.mark.parametrize("place", ["null", "unmapped", "read-only", "xen"])
def test_a_count_that_can_not_be_written_is_no_error(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any, place: str
) -> None:
    page = read_only(xen_domain, b"\7")
    done = {"null": 0, "unmapped": UNMAPPED, "read-only": page, "xen": XEN_VA}[place]
    assert xen_domain.hypercall(NR, placed(xen_domain, pin), 1, done, DOMID_SELF) == 0
    assert xen_machine.frame(frame).pinned
    assert xen_domain.read(page, 4) == b"\7\0\0\0"


def test_the_count_has_32_bits(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any
) -> None:
    at = placed(xen_domain, several(pin, operation(99)))
    done = placed(xen_domain, b"\xff" * 8)
    assert xen_domain.hypercall(NR, at, JUNK | 1, done, JUNK | DOMID_SELF) == 0
    assert xen_domain.read(done, 8) == b"\1\0\0\0\xff\xff\xff\xff"


def test_a_huge_count_ends_where_memory_does(xen_domain: Domain) -> None:
    flushes = several(*[operation(MmuextOp.TLB_FLUSH_LOCAL)] * 100)
    at = straddling(xen_domain, flushes, mapped=False, first=len(flushes))
    done = xen_domain.alloc(4)
    assert xen_domain.hypercall.raw(NR, at, REST - 1, done, DOMID_SELF) == -EFAULT
    assert int.from_bytes(xen_domain.read(done, 4), "little") == 100


def test_the_rest_of_a_call_adds_to_what_was_done(xen_domain: Domain, pin: Any) -> None:
    at, done = placed(xen_domain, pin), placed(xen_domain, b"\x09\0\0\0")
    assert xen_domain.hypercall(NR, at, REST | 1, done, DOMID_SELF) == 0
    assert xen_domain.read(done, 4) == b"\x0a\0\0\0"


@pytest.mark.parametrize("answer", [0, 5, -EINVAL, DOMID_SELF])
def test_the_end_of_a_call_only_answers(xen_domain: Domain, answer: int) -> None:
    assert xen_domain.hypercall.raw(NR, 0, REST, 0, answer & 0xFFFF_FFFF) == answer


# unknown ones


@pytest.mark.parametrize("cmd", [14, 21, 99, 255, 1 << 31, 0xFFFF_FFFF])
@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
def test_there_is_no_such_operation(
    xen_machine: Machine, xen_domain: Domain, cmd: int, foreign: bool
) -> None:
    unknown = xen_machine.counters["unknown_hypercalls"]
    caller = xen_machine.control if foreign else xen_domain
    with untouched(xen_machine, xen_domain), refused(ENOSYS):
        caller.hypercall.mmuext_op(
            [operation(cmd)], foreigndom=xen_domain.id if foreign else DOMID_SELF
        )
    assert xen_machine.counters["unknown_hypercalls"] == unknown + 1


def test_what_lies_beside_the_command_does_not_count(
    xen_machine: Machine, xen_domain: Domain, frame: int, pin: Any
) -> None:
    raw = raw_of(pin)
    at = placed(xen_domain, raw[:4] + b"\xff" * 4 + raw[8:16] + b"\xff" * 8)
    assert xen_domain.hypercall(NR, at, 1, 0, DOMID_SELF) == 0
    assert xen_machine.frame(frame).pinned


# domains


@pytest.mark.parametrize("named", [ABSENT, 4095, 4096, 0x7FEF, 0x7FF3, 0xFFFF], ids=hex)
@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
@pytest.mark.parametrize("count", [0, 1])
def test_there_is_no_such_domain(
    xen_machine: Machine, xen_domain: Domain, named: int, privileged: bool, count: int
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    at = placed(caller, operation(MmuextOp.TLB_FLUSH_LOCAL))
    assert caller.hypercall.raw(NR, at, count, 0, named) == -ESRCH


def test_the_callers_own_number_is_no_other_domain(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    for caller in (xen_machine.control, xen_domain):
        with refused(ESRCH):
            caller.hypercall.mmuext_op([operation(MmuextOp.TLB_FLUSH_LOCAL)], foreigndom=caller.id)


@pytest.mark.parametrize("op", MmuextOp, ids=lambda op: op.name)
def test_a_guest_names_no_other_domain(
    xen_machine: Machine, xen_domain: Domain, op: MmuextOp
) -> None:
    other = xen_machine.create_domain()
    for domid in (other.id, 0, DOMID_IO, DOMID_XEN):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EPERM):
            xen_domain.hypercall.mmuext_op([operation(op, other.mfn(5))], foreigndom=domid)


@pytest.mark.parametrize("op", OWN, ids=lambda op: op.name)
def test_what_is_the_callers_own_concerns_no_other(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, op: MmuextOp
) -> None:
    for domid in (xen_domain.id, DOMID_IO, DOMID_XEN):
        with vain(xen_machine, xen_domain, EPERM):
            xen_control.hypercall.mmuext_op(
                [operation(op, xen_control.mfn(5), xen_control.gva(5))], foreigndom=domid
            )


@pytest.mark.parametrize("op", FRAMES, ids=lambda op: op.name)
def test_frames_are_the_named_domains(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, op: MmuextOp
) -> None:
    third = xen_machine.create_domain()
    frames = [pinned_table(third, 1), free_frame(third), free_frame(xen_control), 1]
    for domid in (xen_domain.id, DOMID_IO, DOMID_XEN):
        for mfn in frames:
            with untouched(xen_machine, third, xen_domain), refused(EINVAL):
                xen_control.hypercall.mmuext_op([operation(op, mfn, mfn)], foreigndom=domid)


def test_a_dying_domain_keeps_no_pin(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    """Nobody would take it back."""
    page, theirs = xen_control.alloc_page(), read_only_frame(xen_domain)
    xen_control.hypercall.update_va_mapping_otherdomain(
        page, theirs << 12 | 0x65, domid=xen_domain.id
    )
    xen_domain.destroy()
    xen_control.hypercall.mmuext_op.pin_table(1, mfn=theirs, foreigndom=xen_domain.id)
    assert not xen_machine.frame(theirs).pinned
    assert uses(xen_machine, theirs)[0] == 1
    xen_control.hypercall.update_va_mapping(page, 0)
    assert not xen_domain.exists


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, UNMAPPED, 0, 0, DOMID_SELF) == -ESRCH
