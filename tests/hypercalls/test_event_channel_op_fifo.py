"""event_channel_op: the FIFO ABI (init_control, expand_array, set_priority), reset, reset_cont."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EBUSY, EFAULT, EINVAL, ENOENT, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ESRCH

import pytest
from hypercalls.support import (
    ABSENT_DOMIDS,
    mask,
    read_only,
    refused,
    refused_without_effect,
)

from xenemu import Domain, Machine
from xenemu._abi import EvtchnOp
from xenemu.xen import DOMID_SELF, EvtchnStat, Virq, structs

PENDING, MASKED, LINKED = 1 << 31, 1 << 30, 1 << 29
BLOCK = structs.event_channel.evtchn_fifo_control_block
LAST = 4096 - 72  # the last place for a control block in its page
WORDS = 1024


class Fifo:
    """A domain of two virtual CPUs with a control block for each and an array of one page."""

    def __init__(self, machine: Machine) -> None:
        self.domain = machine.create_domain(vcpus=2)
        self.op = self.domain.hypercall.event_channel_op
        self.control = [self.domain.alloc_page() for _ in range(2)]
        for vcpu, page in enumerate(self.control):
            mfn = self.domain.mfn_at(page)
            assert self.op.init_control(control_gfn=mfn, offset=8 * vcpu, vcpu=vcpu) == 17
        self.array = self.domain.alloc_page()
        self.op.expand_array(array_gfn=self.domain.mfn_at(self.array))

    def block(self, vcpu: int = 0) -> tuple[int, list[int]]:
        """Ready bits, and the head of each queue."""
        at = self.control[vcpu] + 8 * vcpu
        block = self.domain.memory.read_struct(BLOCK, at)
        return block.ready, list(block.head)

    def word(self, port: int) -> int:
        return int.from_bytes(self.domain.read(self.array + 4 * port, 4), "little")

    def set_word(self, port: int, word: int) -> None:
        self.domain.write(self.array + 4 * port, word.to_bytes(4, "little"))


@pytest.fixture
def fifo(xen_machine: Machine) -> Fifo:
    return Fifo(xen_machine)


@contextmanager
def same_frame(machine: Machine, mfn: int) -> Iterator[None]:
    before = machine.frame(mfn)
    yield
    assert machine.frame(mfn) == before


# delivery


def test_an_event_is_linked_at_the_head_of_its_queue(fifo: Fifo) -> None:
    port = fifo.op.bind_ipi(vcpu=0)
    fifo.op.send(port=port)
    ready, heads = fifo.block()
    assert fifo.word(port) == PENDING | LINKED
    assert (ready, heads[7]) == (1 << 7, port)
    info = fifo.domain.shared_info
    assert info.vcpu_info[0].evtchn_upcall_pending == 1
    assert not any(info.evtchn_pending)


def test_later_events_are_linked_behind(fifo: Fifo) -> None:
    ports = [fifo.op.bind_ipi(vcpu=0) for _ in range(3)]
    for port in ports:
        fifo.op.send(port=port)
    assert [fifo.word(p) for p in ports] == [
        PENDING | LINKED | ports[1],
        PENDING | LINKED | ports[2],
        PENDING | LINKED,
    ]
    assert [fifo.domain.take_event() for _ in range(4)] == [*ports, None]


def test_each_virtual_cpu_has_its_queues(fifo: Fifo) -> None:
    port = fifo.op.bind_ipi(vcpu=1)
    fifo.op.send(port=port)
    assert fifo.block(0) == (0, [0] * 16)
    assert fifo.block(1)[0] == 1 << 7


def test_a_masked_event_is_not_linked_until_it_is_unmasked(fifo: Fifo) -> None:
    port = fifo.op.bind_ipi(vcpu=0)
    fifo.set_word(port, MASKED)
    fifo.op.send(port=port)
    assert (fifo.word(port), fifo.block()[0]) == (PENDING | MASKED, 0)
    fifo.op.unmask(port=port)
    assert (fifo.word(port), fifo.block()[0]) == (PENDING | LINKED, 1 << 7)


def test_closing_clears_pending_and_leaves_the_link(fifo: Fifo) -> None:
    port = fifo.op.bind_ipi(vcpu=0)
    fifo.op.send(port=port)
    fifo.op.close(port=port)
    assert fifo.word(port) == LINKED
    assert fifo.op.bind_ipi(vcpu=0) == port + 1  # one that is linked is not free
    assert fifo.domain.take_event() is None
    assert fifo.op.bind_ipi(vcpu=0) == port


def test_the_toolstack_limits_the_ports_of_this_abi_too(fifo: Fifo) -> None:
    while (port := fifo.op.alloc_unbound(remote_dom=0)) != 4095:
        assert port < 4095
    with refused(ENOSPC):  # the toolstack gave it 4095
        fifo.op.alloc_unbound(remote_dom=0)


def test_what_was_pending_before_is_pending_in_the_first_page(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain()
    op = domain.hypercall.event_channel_op
    port = op.bind_ipi(vcpu=0)
    mask(domain, port)
    op.send(port=port)
    control, array = domain.alloc_page(), domain.alloc_page()
    op.init_control(control_gfn=domain.mfn_at(control), offset=0, vcpu=0)
    op.expand_array(array_gfn=domain.mfn_at(array))
    word = int.from_bytes(domain.read(array + 4 * port, 4), "little")
    assert word == PENDING | LINKED
    assert domain.memory.read_struct(BLOCK, control).head[7] == port


def test_an_event_without_a_word_is_kept_for_it(fifo: Fifo) -> None:
    while (port := fifo.op.bind_ipi(vcpu=0)) < WORDS + 1:
        assert port < WORDS + 1
    fifo.op.send(port=port)
    assert fifo.block() == (0, [0] * 16)
    page = fifo.domain.alloc_page()
    fifo.op.expand_array(array_gfn=fifo.domain.mfn_at(page))
    assert fifo.block()[1][7] == port
    word = int.from_bytes(fifo.domain.read(page + 4, 4), "little")
    assert word == PENDING | LINKED


# init_control


@pytest.mark.parametrize("offset", [0, 8, LAST])
def test_a_control_block_holds_its_page(
    xen_machine: Machine, xen_domain: Domain, offset: int
) -> None:
    mfn = xen_domain.mfn_at(xen_domain.alloc_page())
    before = xen_machine.frame(mfn)
    xen_domain.hypercall.event_channel_op.init_control(control_gfn=mfn, offset=offset, vcpu=0)
    frame = xen_machine.frame(mfn)
    assert (frame.type, frame.count) == ("writable", before.count + 1)
    assert frame.type_count == before.type_count + 1


@pytest.mark.parametrize(
    ("offset", "vcpu", "code"),
    [
        (LAST + 1, 0, EINVAL),
        (LAST + 8, 0, EINVAL),
        (4, 0, EINVAL),
        (1, 0, EINVAL),
        (4096, 0, EINVAL),
        (0xFFFF_FFF8, 0, EINVAL),
        (0, 1, ENOENT),
        (1, 0xFFFF_FFFF, ENOENT),
    ],
)
def test_a_misplaced_control_block_is_refused(
    xen_machine: Machine, xen_domain: Domain, offset: int, vcpu: int, code: int
) -> None:
    mfn = xen_domain.mfn_at(xen_domain.alloc_page())
    op = xen_domain.hypercall.event_channel_op
    with same_frame(xen_machine, mfn), refused_without_effect(xen_machine, code):
        op.init_control(control_gfn=mfn, offset=offset, vcpu=vcpu)
    with refused(EOPNOTSUPP):
        op.expand_array(array_gfn=mfn)


def bad_frame(machine: Machine, domain: Domain, kind: str) -> int:
    if kind == "foreign":
        return machine.control.mfn(9)
    if kind == "page-table":
        return int(domain.mfn_at(domain.start_info.pt_base))
    return {"beyond-memory": 1 << 40, "last": (1 << 64) - 1, "free": 16383}[kind]


BAD_FRAMES = pytest.mark.parametrize(
    "kind", ["foreign", "page-table", "beyond-memory", "last", "free"]
)


@BAD_FRAMES
def test_a_control_block_lies_in_a_writable_page_of_the_caller(
    xen_machine: Machine, xen_domain: Domain, kind: str
) -> None:
    mfn = bad_frame(xen_machine, xen_domain, kind)
    with refused_without_effect(xen_machine, EINVAL):
        xen_domain.hypercall.event_channel_op.init_control(control_gfn=mfn, offset=0, vcpu=0)


def test_a_virtual_cpu_has_one_control_block(xen_machine: Machine, fifo: Fifo) -> None:
    mfn = fifo.domain.mfn_at(fifo.domain.alloc_page())
    with same_frame(xen_machine, mfn), refused_without_effect(xen_machine, EINVAL):
        fifo.op.init_control(control_gfn=mfn, offset=0, vcpu=1)


def test_link_bits_that_can_not_be_written_are_a_fault_after_the_deed(xen_domain: Domain) -> None:
    mfn = xen_domain.mfn_at(xen_domain.alloc_page())
    arg = structs.event_channel.evtchn_init_control(control_gfn=mfn)
    op = xen_domain.hypercall.event_channel_op
    with refused(EFAULT):
        op(EvtchnOp.init_control, read_only(xen_domain, arg))
    op.expand_array(array_gfn=xen_domain.mfn_at(xen_domain.alloc_page()))


# expand_array


@BAD_FRAMES
def test_the_array_lies_in_writable_pages_of_the_caller(
    xen_machine: Machine, fifo: Fifo, kind: str
) -> None:
    mfn = bad_frame(xen_machine, fifo.domain, kind)
    with refused_without_effect(xen_machine, EINVAL):
        fifo.op.expand_array(array_gfn=mfn)


def test_no_array_with_two_levels(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = xen_domain.mfn_at(xen_domain.alloc_page())
    with same_frame(xen_machine, mfn), refused_without_effect(xen_machine, EOPNOTSUPP):
        xen_domain.hypercall.event_channel_op.expand_array(array_gfn=mfn)


def test_the_array_has_words_for_all_ports_and_no_more(xen_machine: Machine, fifo: Fifo) -> None:
    mfn = fifo.domain.mfn_at(fifo.domain.alloc_page())
    for _ in range(127):
        fifo.op.expand_array(array_gfn=mfn)  # nothing forbids the same page
    with same_frame(xen_machine, mfn), refused_without_effect(xen_machine, ENOSPC):
        fifo.op.expand_array(array_gfn=mfn)


# set_priority


@pytest.mark.parametrize("priority", [0, 8, 15])
def test_later_events_are_linked_by_their_priority(fifo: Fifo, priority: int) -> None:
    port = fifo.op.bind_ipi(vcpu=0)
    fifo.op.set_priority(port=port, priority=priority)
    fifo.op.send(port=port)
    ready, heads = fifo.block()
    assert (ready, heads[priority]) == (1 << priority, port)


def test_the_first_priority_is_served_first(fifo: Fifo) -> None:
    ports = [fifo.op.bind_ipi(vcpu=0) for _ in range(3)]
    for port, priority in zip(ports, (15, 3, 0), strict=True):
        fifo.op.set_priority(port=port, priority=priority)
        fifo.op.send(port=port)
    assert [fifo.domain.take_event() for _ in ports] == ports[::-1]


@pytest.mark.parametrize(
    ("port", "priority", "code"),
    [
        (1, 16, EINVAL),
        (1, 0xFFFF_FFFF, EINVAL),
        (64, 0, EINVAL),
        (1 << 17, 0, EINVAL),
        (2, 0, EACCES),
        (2, 16, EACCES),
        (0, 0, EACCES),
    ],
)
def test_no_such_priority_or_port(
    xen_machine: Machine, fifo: Fifo, port: int, priority: int, code: int
) -> None:
    assert fifo.op.bind_ipi(vcpu=0) == 1
    with refused_without_effect(xen_machine, code):
        fifo.op.set_priority(port=port, priority=priority)
    fifo.op.send(port=1)
    assert fifo.block()[0] == 1 << 7


@pytest.mark.parametrize(("port", "code"), [(1, ENOSYS), (2, ENOSYS), (64, EINVAL)])
def test_no_priorities_with_two_levels(
    xen_machine: Machine, xen_domain: Domain, port: int, code: int
) -> None:
    xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    with refused_without_effect(xen_machine, code):
        xen_domain.hypercall.event_channel_op.set_priority(port=port, priority=99)


# reset


def open_some(domain: Domain, peer: Domain) -> None:
    op = domain.hypercall.event_channel_op
    peer_port = peer.hypercall.event_channel_op.alloc_unbound(remote_dom=domain.id)
    op.bind_interdomain(remote_dom=peer.id, remote_port=peer_port)
    op.bind_virq(virq=Virq.TIMER)
    op.send(port=op.bind_ipi(vcpu=0))
    op.alloc_unbound(remote_dom=0)


@pytest.mark.parametrize("domid", ["self", "own"])
def test_reset_closes_all_ports_of_the_caller(
    xen_machine: Machine, xen_domain: Domain, domid: str
) -> None:
    peer = xen_machine.create_domain()
    open_some(xen_domain, peer)
    op = xen_domain.hypercall.event_channel_op
    op.reset(dom=DOMID_SELF if domid == "self" else xen_domain.id)
    assert {op.status(port=p).status for p in range(64)} == {EvtchnStat.closed}
    assert xen_domain.pending_ports() == []
    assert peer.hypercall.event_channel_op.status(port=1).status == EvtchnStat.unbound
    assert op.bind_virq(virq=Virq.TIMER) == 1


def test_the_control_domain_resets_a_paused_domain(xen_machine: Machine, fifo: Fifo) -> None:
    op = xen_machine.control.hypercall.event_channel_op
    fifo.op.bind_ipi(vcpu=0)
    with refused_without_effect(xen_machine, EINVAL):
        op.reset(dom=fifo.domain.id)
    fifo.domain.pause()
    op.reset(dom=fifo.domain.id)
    fifo.domain.unpause()
    assert fifo.op.status(port=1).status == EvtchnStat.closed


def test_reset_gives_back_the_pages_of_the_fifo_abi(xen_machine: Machine, fifo: Fifo) -> None:
    port = fifo.op.bind_ipi(vcpu=0)
    pages = [*fifo.control, fifo.array]
    mfns = [fifo.domain.mfn_at(page) for page in pages]
    held = [xen_machine.frame(mfn).count for mfn in mfns]
    fifo.op.reset()
    assert [xen_machine.frame(mfn).count for mfn in mfns] == [n - 1 for n in held]
    assert fifo.op.bind_ipi(vcpu=0) == port
    fifo.op.send(port=port)
    assert fifo.domain.pending_ports() == [port]  # two levels again


@ABSENT_DOMIDS
@pytest.mark.parametrize("op", [EvtchnOp.reset, EvtchnOp.reset_cont])
def test_no_reset_of_an_absent_domain(xen_machine: Machine, absent: int, op: EvtchnOp) -> None:
    arg = structs.event_channel.evtchn_reset(dom=absent)
    with refused_without_effect(xen_machine, ESRCH):
        xen_machine.control.hypercall.event_channel_op(op, arg)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("op", [EvtchnOp.reset, EvtchnOp.reset_cont])
def test_no_reset_of_another_domain_by_the_unprivileged(
    xen_machine: Machine, xen_domain: Domain, paused: bool, op: EvtchnOp
) -> None:
    peer = xen_machine.create_domain(paused=paused)
    open_some(peer, xen_domain)
    arg = structs.event_channel.evtchn_reset(dom=peer.id)
    with refused_without_effect(xen_machine, EPERM):
        xen_domain.hypercall.event_channel_op(op, arg)


def test_there_is_no_broken_off_reset_to_go_on_with(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    arg = structs.event_channel.evtchn_reset(dom=DOMID_SELF)
    with refused_without_effect(xen_machine, EBUSY):
        xen_domain.hypercall.event_channel_op(EvtchnOp.reset_cont, arg)
