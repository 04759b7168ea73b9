"""event_channel_op and its old form: arguments where they should not be, unknown sub-operations,
registers with junk; the dying."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSYS, ESRCH
from typing import Any

import pytest
from hypercalls.support import (
    JUNK,
    NOWHERE,
    PRESENT_RO,
    back,
    placed,
    raw_of,
    read_only,
    refused_without_effect,
    straddling,
    unchanged,
)

from xenemu import Domain, Machine
from xenemu._abi import EvtchnOp, Hypercall
from xenemu.xen import DOMID_SELF, PAGE_SIZE, EvtchnStat, structs

h = structs.event_channel
OP, COMPAT = Hypercall.event_channel_op, Hypercall.event_channel_op_compat
COMPAT_SIZE = 28

# A call of each sub-operation that succeeds on a domain with the ports of `guest`, and whether
# its struct is written back.
CALLS: dict[EvtchnOp, tuple[Any, bool]] = {
    EvtchnOp.alloc_unbound: (h.evtchn_alloc_unbound(dom=DOMID_SELF, remote_dom=7), True),
    EvtchnOp.bind_interdomain: (
        h.evtchn_bind_interdomain(remote_dom=DOMID_SELF, remote_port=1),
        True,
    ),
    EvtchnOp.bind_virq: (h.evtchn_bind_virq(virq=3), True),
    EvtchnOp.bind_ipi: (h.evtchn_bind_ipi(vcpu=0), True),
    EvtchnOp.close: (h.evtchn_close(port=2), False),
    EvtchnOp.send: (h.evtchn_send(port=2), False),
    EvtchnOp.status: (h.evtchn_status(dom=DOMID_SELF, port=2), True),
    EvtchnOp.bind_vcpu: (h.evtchn_bind_vcpu(port=1, vcpu=0), False),
    EvtchnOp.unmask: (h.evtchn_unmask(port=2), False),
    EvtchnOp.reset: (h.evtchn_reset(dom=DOMID_SELF), False),
}
EACH = pytest.mark.parametrize("op", CALLS, ids=lambda op: op.name)
WRITTEN = pytest.mark.parametrize("op", [o for o in CALLS if CALLS[o][1]], ids=lambda op: op.name)
ALL = pytest.mark.parametrize("op", EvtchnOp, ids=lambda op: op.name)
OLD = [op for op in CALLS if op <= EvtchnOp.unmask]


@pytest.fixture
def guest(xen_domain: Domain) -> Domain:
    """Port 1 is unbound and waits for the domain itself; port 2 is an IPI."""
    op = xen_domain.hypercall.event_channel_op
    assert op.alloc_unbound(remote_dom=DOMID_SELF) == 1
    assert op.bind_ipi(vcpu=0) == 2
    return xen_domain


def copy_of(op: EvtchnOp) -> Any:
    return type(CALLS[op][0]).from_buffer_copy(CALLS[op][0])


@ALL
@NOWHERE
def test_no_argument(xen_machine: Machine, guest: Domain, op: EvtchnOp, nowhere: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        guest.hypercall.event_channel_op(op, nowhere)


@ALL
def test_an_argument_of_which_the_end_is_not_mapped(
    xen_machine: Machine, guest: Domain, op: EvtchnOp
) -> None:
    at = straddling(guest, bytes(24), mapped=False, first=1)
    with refused_without_effect(xen_machine, EFAULT):
        guest.hypercall.event_channel_op(op, at)


@EACH
def test_an_argument_across_two_pages(guest: Domain, op: EvtchnOp) -> None:
    arg = copy_of(op)
    expected = copy_of(op)
    at = straddling(guest, arg, first=len(raw_of(arg)) // 2)
    assert guest.hypercall.event_channel_op(op, at) == 0
    if op == EvtchnOp.status:
        expected.status = EvtchnStat.ipi
    elif hasattr(expected, "local_port"):
        expected.local_port = 3
    elif CALLS[op][1]:
        expected.port = 3
    assert raw_of(back(guest, arg, at)) == raw_of(expected)


@WRITTEN
def test_an_answer_that_can_not_be_written_is_a_fault_after_the_deed(
    guest: Domain, op: EvtchnOp
) -> None:
    at = read_only(guest, copy_of(op))
    assert guest.hypercall.raw(OP, op, at) == -EFAULT
    status = guest.hypercall.event_channel_op.status(port=3).status
    assert (status == EvtchnStat.closed) == (op == EvtchnOp.status)


@WRITTEN
def test_a_refusal_writes_nothing(xen_machine: Machine, guest: Domain, op: EvtchnOp) -> None:
    arg = type(CALLS[op][0]).from_buffer_copy(b"\xff" * len(raw_of(CALLS[op][0])))
    at = read_only(guest, arg)
    refused = (ESRCH, EINVAL, 2)  # not EFAULT: the answer is not written
    with refused_without_effect(xen_machine, *refused):
        guest.hypercall.event_channel_op(op, at)
    assert raw_of(back(guest, arg, at)) == raw_of(arg)


@pytest.mark.parametrize("op", [o for o in CALLS if not CALLS[o][1]], ids=lambda op: op.name)
def test_an_argument_that_is_only_read_may_be_read_only(guest: Domain, op: EvtchnOp) -> None:
    assert guest.hypercall.event_channel_op(op, read_only(guest, copy_of(op))) == 0


@EACH
def test_the_upper_half_of_the_sub_operation_does_not_count(guest: Domain, op: EvtchnOp) -> None:
    assert guest.hypercall.raw(OP, JUNK | op, placed(guest, copy_of(op))) == 0


@pytest.mark.parametrize("op", [15, 16, 99, 255, 1 << 31, 0xFFFF_FFFF])
def test_no_such_sub_operation(xen_machine: Machine, guest: Domain, op: int) -> None:
    unknown = xen_machine.counters["unknown_hypercalls"]
    with refused_without_effect(xen_machine, ENOSYS):
        guest.hypercall.event_channel_op(op, placed(guest, bytes(32)))
    assert xen_machine.counters["unknown_hypercalls"] == unknown + 1


def test_the_dying_make_no_calls(xen_machine: Machine, zombie: Domain) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        zombie.hypercall(OP, EvtchnOp.bind_ipi, zombie.memory.base)


# event_channel_op_compat: the sub-operation lies before its struct


def old(op: int, arg: Any) -> bytes:
    return (op.to_bytes(4, "little") + raw_of(arg)).ljust(COMPAT_SIZE, b"\0")


@pytest.mark.parametrize("op", OLD, ids=lambda op: op.name)
def test_the_old_form_does_the_same(xen_machine: Machine, op: EvtchnOp) -> None:
    results = []
    for compat in (False, True):
        domain = xen_machine.create_domain()
        domain.hypercall.event_channel_op.alloc_unbound(remote_dom=DOMID_SELF)
        domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
        arg = copy_of(op)
        at = placed(domain, old(op, arg))
        call = (COMPAT, at) if compat else (OP, op, at + 4)
        assert domain.hypercall.raw(*call) == 0
        ports = [domain.hypercall.event_channel_op.status(port=p).status for p in range(8)]
        results.append((domain.read(at, COMPAT_SIZE), ports, domain.pending_ports()))
    assert results[0] == results[1]


@pytest.mark.parametrize("op", [10, 11, 12, 13, 14, 15, 99, 0xFFFF_FFFF])
def test_the_old_form_has_no_newer_sub_operation(
    xen_machine: Machine, guest: Domain, op: int
) -> None:
    at = placed(guest, old(op, b""))
    with refused_without_effect(xen_machine, ENOSYS):
        guest.hypercall(COMPAT, at)


@NOWHERE
def test_the_old_form_without_an_argument(
    xen_machine: Machine, guest: Domain, nowhere: int
) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        guest.hypercall(COMPAT, nowhere)


def test_the_old_form_reads_the_whole_union(xen_machine: Machine, guest: Domain) -> None:
    raw = old(EvtchnOp.send, h.evtchn_send(port=2))
    at = straddling(guest, raw, mapped=False, first=COMPAT_SIZE - 1)
    with refused_without_effect(xen_machine, EFAULT):
        guest.hypercall(COMPAT, at)
    assert guest.hypercall(COMPAT, straddling(guest, raw, first=6)) == 0
    assert guest.pending_ports() == [2]


def test_the_old_form_writes_back_the_struct_alone(guest: Domain) -> None:
    """Where the answer can be written and what follows it can not."""
    raw = old(EvtchnOp.bind_ipi, h.evtchn_bind_ipi(vcpu=0))
    at = straddling(guest, raw, first=12)
    second = at - at % PAGE_SIZE + PAGE_SIZE
    mfn = guest.mfn_at(second)
    guest.hypercall.update_va_mapping(second, mfn << 12 | PRESENT_RO)
    assert guest.hypercall(COMPAT, at) == 0
    assert guest.read(at + 8, 4) == (3).to_bytes(4, "little")


def test_the_old_form_answers_as_the_new_one(xen_machine: Machine, guest: Domain) -> None:
    raw = old(EvtchnOp.send, h.evtchn_send(port=4096))
    at = placed(guest, raw)
    with unchanged(xen_machine):
        assert guest.hypercall.raw(COMPAT, at) == -EINVAL
