"""memory_op exchange."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypercalls.frames import unmapped_page
from hypercalls.support import (
    ABSENT_DOMIDS,
    NOWHERE,
    PRESENT_RO,
    PRESENT_RW,
    UNMAPPED,
    XEN_VA,
    back,
    placed,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DOMID_SELF, MemoryOp
from xenemu.xen import Frame
from xenemu.xen.structs.memory import xen_memory_exchange

EXCHANGE = MemoryOp.exchange


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    return xen_machine.create_domain(memory_mib=4, max_memory_mib=8)


@pytest.fixture
def frames(guest: Domain) -> tuple[int, ...]:
    """Eight frames of the guest that are not mapped."""
    return guest.hypercall.memory_op.increase_reservation(nr_extents=8)


def words(values: Sequence[int]) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values)


def request(
    guest: Domain,
    ins: Sequence[int] | int,
    outs: Sequence[int] | int,
    *,
    n_in: int | None = None,
    n_out: int | None = None,
    in_order: int = 0,
    out_order: int = 0,
    flags: int = 0,
    domid: int = DOMID_SELF,
    done: int = 0,
) -> Any:
    """The struct, whose lists may be given by their address."""
    arg = xen_memory_exchange(nr_exchanged=done)
    for side, listed, n, order in (
        (getattr(arg, "in"), ins, n_in, in_order),
        (arg.out, outs, n_out, out_order),
    ):
        count = 1 if isinstance(listed, int) else len(listed)
        side.extent_start = (
            listed if isinstance(listed, int) else placed(guest, words(listed) or bytes(8))
        )
        side.nr_extents = count if n is None else n
        side.extent_order, side.domid = order, domid
    arg.out.mem_flags = flags
    return arg


def looks(machine: Machine, frames: Sequence[int]) -> list[Frame]:
    return [machine.frame(mfn) for mfn in frames]


def fails(domain: Domain, arg: Any, code: int, done: int = 0) -> None:
    with refused(code):
        domain.hypercall.memory_op(EXCHANGE, arg)
    assert arg.nr_exchanged == done


# success


def test_a_frame_for_another(xen_machine: Machine, guest: Domain, frames: tuple[int, ...]) -> None:
    before = guest.info.tot_pages
    done = guest.hypercall.memory_op.exchange(frames[:1], [900])
    (new,) = done.frames
    assert done.nr_exchanged == 1 and new != frames[0]
    assert (guest.pfn_of(new), xen_machine.frame(new).owner) == (900, guest.id)
    assert (xen_machine.frame(new).count, xen_machine.frame(new).type) == (1, "none")
    assert xen_machine.frame(frames[0]).owner is None
    assert guest.info.tot_pages == before
    assert xen_machine.read_frame(new) == bytes(4096)


@pytest.mark.parametrize("order", range(1, 10))
def test_small_ones_for_a_large_one_and_back(
    xen_machine: Machine, xen_control: Domain, order: int
) -> None:
    xen_control.hypercall.domctl.max_mem(domain=0, max_memkb=1 << 20)
    call = xen_control.hypercall.memory_op
    old = call.increase_reservation(nr_extents=1 << order)
    before = xen_control.info.tot_pages
    (large,) = call.exchange(old, [1 << 20], out_order=order).frames
    assert large % (1 << order) == 0
    assert [xen_control.pfn_of(large + i) for i in range(1 << order)] == [
        (1 << 20) + i for i in range(1 << order)
    ]
    done = call.exchange([large], range(1 << order), in_order=order)
    assert done.nr_exchanged == 1 and len(set(done.frames)) == 1 << order
    assert all(xen_control.pfn_of(mfn) == i for i, mfn in enumerate(done.frames))
    assert xen_control.info.tot_pages == before


def test_exchange_at_the_maximum(xen_machine: Machine) -> None:
    guest = xen_machine.create_domain(memory_mib=1)
    mfn, page = unmapped_page(guest)
    (new,) = guest.hypercall.memory_op.exchange([mfn], [3]).frames
    guest.hypercall.update_va_mapping(page, new << 12 | PRESENT_RW)
    guest.write(page, b"x")


def test_the_control_domain_for_another(
    xen_machine: Machine, xen_control: Domain, guest: Domain, frames: tuple[int, ...]
) -> None:
    (new,) = xen_control.hypercall.memory_op.exchange(
        frames[:1], [77], in_domid=guest.id, out_domid=guest.id
    ).frames
    assert xen_machine.frame(new).owner == guest.id
    assert guest.pfn_of(new) == 77


@pytest.mark.parametrize("bits", [25, 26, 64])
def test_frames_below_a_limit(guest: Domain, frames: tuple[int, ...], bits: int) -> None:
    done = guest.hypercall.memory_op.exchange(frames, range(8), mem_flags=bits)
    assert all(mfn << 12 < 1 << bits for mfn in done.frames)


def test_nothing_is_left_to_do(guest: Domain, frames: tuple[int, ...]) -> None:
    arg = request(guest, UNMAPPED, UNMAPPED, done=1)
    assert guest.hypercall.memory_op(EXCHANGE, arg) == 0
    empty = request(guest, [], [])
    assert guest.hypercall.memory_op(EXCHANGE, empty) == 0


def test_it_goes_on_where_it_was_broken_off(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    arg = request(guest, frames[:4], [1, 2], out_order=1, done=2)
    assert guest.hypercall.memory_op(EXCHANGE, arg) == 0
    assert arg.nr_exchanged == 4
    assert [f.owner for f in looks(xen_machine, frames[:4])] == [guest.id, guest.id, None, None]


# what can't be exchanged, and stays as it is


def referenced(kind: str, guest: Domain, control: Domain) -> int:
    """A frame of the guest that something refers to."""
    page = guest.alloc_page()
    mfn = guest.mfn_at(page)
    if kind == "mapped":
        return mfn
    if kind == "root":
        return guest.mfn_at(guest.start_info.pt_base)
    if kind == "xen's":
        return guest.info.shared_info_frame
    guest.hypercall.update_va_mapping(page, 0)
    if kind == "pinned":
        guest.hypercall.mmuext_op.pin_table(1, mfn=mfn)
    if kind == "mapped by another":
        at = control.alloc_page()
        control.hypercall.update_va_mapping_otherdomain(at, mfn << 12 | PRESENT_RO, domid=guest.id)
    if kind == "gone":
        guest.hypercall.memory_op.decrease_reservation([mfn])
    return mfn


@pytest.mark.parametrize("kind", ["mapped", "root", "xen's", "pinned", "mapped by another", "gone"])
def test_a_referenced_frame(
    xen_machine: Machine, xen_control: Domain, guest: Domain, kind: str
) -> None:
    mfn = referenced(kind, guest, xen_control)
    before, free = xen_machine.frame(mfn), xen_machine.free_pages
    fails(guest, request(guest, [mfn], [3]), errno.EINVAL)
    assert xen_machine.frame(mfn) == before
    assert xen_machine.free_pages == free


@pytest.mark.parametrize("mfn", [0, 1 << 14, 1 << 40, (1 << 64) - 1], ids=hex)
def test_no_frame(guest: Domain, mfn: int) -> None:
    fails(guest, request(guest, [mfn], [3]), errno.EINVAL)


def test_another_domains_frame(xen_machine: Machine, guest: Domain) -> None:
    other = xen_machine.create_domain()
    mfn, _ = unmapped_page(other)
    fails(guest, request(guest, [mfn], [3]), errno.EINVAL)
    assert xen_machine.frame(mfn).owner == other.id


def test_the_same_frame_twice(xen_machine: Machine, guest: Domain, frames: tuple[int, ...]) -> None:
    before = looks(xen_machine, frames)
    fails(guest, request(guest, [frames[0], frames[0]], [3], out_order=1), errno.EINVAL)
    assert looks(xen_machine, frames) == before


def test_a_chunk_that_fails_is_as_before_and_those_before_it_are_done(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    before, total = looks(xen_machine, frames), guest.info.tot_pages
    arg = request(guest, [*frames[:5], 1 << 30], [1, 2, 3], out_order=1)
    fails(guest, arg, errno.EINVAL, done=4)
    first, second, third = struct.unpack("<3Q", guest.read(arg.out.extent_start, 24))
    assert [guest.pfn_of(first), guest.pfn_of(second + 1), third] == [1, 3, 3]
    assert looks(xen_machine, frames)[4:] == before[4:]
    assert guest.info.tot_pages == total


@pytest.mark.parametrize("flags", [1, 11, 12], ids=str)
def test_no_frames_below_such_a_limit(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...], flags: int
) -> None:
    before = looks(xen_machine, frames)
    fails(guest, request(guest, frames[:1], [3], flags=flags), errno.ENOMEM)
    assert looks(xen_machine, frames) == before


def test_no_frames_left(xen_machine: Machine, guest: Domain, frames: tuple[int, ...]) -> None:
    xen_machine.control.hypercall.domctl.max_mem(domain=guest.id, max_memkb=1 << 20)
    guest.hypercall.memory_op.increase_reservation(nr_extents=8)
    hog = xen_machine.create_domain(memory_mib=1, max_memory_mib=1 << 10)
    arg = request(guest, frames[:1], [3])
    while hog.hypercall.memory_op.increase_reservation(extent_order=9):
        pass
    while hog.hypercall.memory_op.increase_reservation():
        pass
    assert xen_machine.free_pages == 0
    before = looks(xen_machine, frames)
    fails(guest, arg, errno.ENOMEM)
    assert looks(xen_machine, frames) == before


def test_an_unprivileged_caller_names_an_exact_node(guest: Domain, frames: tuple[int, ...]) -> None:
    fails(guest, request(guest, frames[:1], [3], flags=1 << 8 | 1 << 17), errno.EINVAL)


def test_a_node_that_is_not_there(xen_control: Domain) -> None:
    mfn, _ = unmapped_page(xen_control)
    fails(xen_control, request(xen_control, [mfn], [3], flags=2 << 8 | 1 << 17), errno.ENOMEM)
    fails(xen_control, request(xen_control, [mfn], [3], flags=201 << 8), errno.EINVAL)


# sizes and domains


@pytest.mark.parametrize(
    ("sizes", "code"),
    [
        ({"n_out": 2}, errno.EINVAL),
        ({"n_in": 2}, errno.EINVAL),
        ({"out_order": 1}, errno.EINVAL),
        ({"n_in": 1 << 60, "n_out": 1 << 60, "in_order": 9, "out_order": 9}, errno.EINVAL),
        ({"n_in": 1 << 63, "n_out": 0, "in_order": 1}, errno.EINVAL),
        ({"done": 2}, errno.EINVAL),
        ({"in_order": 10, "out_order": 10}, errno.EPERM),
        ({"in_order": 0xFFFF_FFFF}, errno.EPERM),
        ({"out_order": 64}, errno.EPERM),
        ({"in_order": 10, "done": 2}, errno.EPERM),  # orders first
    ],
    ids=str,
)
def test_sizes(
    xen_machine: Machine,
    guest: Domain,
    frames: tuple[int, ...],
    sizes: dict[str, int],
    code: int,
) -> None:
    before = looks(xen_machine, frames)
    arg = request(guest, frames[:1], [3], **sizes)
    fails(guest, arg, code, done=sizes.get("done", 0))
    assert looks(xen_machine, frames) == before


def test_two_domains(xen_control: Domain, guest: Domain) -> None:
    with refused(errno.EINVAL):
        xen_control.hypercall.memory_op.exchange([1], [2], in_domid=guest.id, out_domid=0)
    with refused(errno.EINVAL):  # though it is the same
        guest.hypercall.memory_op.exchange([1], [2], out_domid=guest.id)


@ABSENT_DOMIDS
def test_an_absent_domain(xen_control: Domain, guest: Domain, absent: int) -> None:
    for caller in xen_control, guest:
        fails(caller, request(caller, [1], [2], domid=absent), errno.ESRCH)


def test_another_domain_without_a_right(guest: Domain) -> None:
    fails(guest, request(guest, [1], [2], domid=0), errno.EPERM)


def test_a_dying_domain(xen_control: Domain, guest: Domain) -> None:
    mfn, page = guest.mfn_at(guest.alloc_page()), xen_control.alloc_page()
    xen_control.hypercall.update_va_mapping_otherdomain(
        page, mfn << 12 | PRESENT_RW, domid=guest.id
    )
    guest.destroy()
    fails(xen_control, request(xen_control, [mfn], [2], domid=guest.id), errno.EINVAL)
    assert guest.info.tot_pages == 1


# addresses


@NOWHERE
def test_the_struct_lies_nowhere(guest: Domain, nowhere: int) -> None:
    assert guest.hypercall.raw(12, EXCHANGE, nowhere) == -errno.EFAULT


@pytest.mark.parametrize("nowhere", [0, UNMAPPED, XEN_VA], ids=hex)
def test_a_list_lies_nowhere(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...], nowhere: int
) -> None:
    before = looks(xen_machine, frames)
    fails(guest, request(guest, nowhere, [3]), errno.EFAULT)
    assert looks(xen_machine, frames) == before


def test_xens_addresses_are_refused_before_anything_is_done(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    before = looks(xen_machine, frames)
    fails(guest, request(guest, frames[:1], XEN_VA), errno.EFAULT)
    assert looks(xen_machine, frames) == before


def test_done_although_the_guest_can_not_be_told(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    before = guest.info.tot_pages
    for mfn, outs in (frames[0], UNMAPPED), (frames[7], read_only(guest, words([4]))):
        fails(guest, request(guest, [mfn], outs), errno.EFAULT)
        assert xen_machine.frame(mfn).owner is None
    assert guest.info.tot_pages == before


def test_an_in_list_that_ends_on_an_unmapped_page(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    at = straddling(guest, words(frames), mapped=False, first=16)
    before = looks(xen_machine, frames)
    fails(guest, request(guest, at, [1, 2], n_in=4, out_order=1), errno.EFAULT, done=2)
    assert looks(xen_machine, frames)[2:] == before[2:]


def test_a_struct_across_pages(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    arg = request(guest, frames[:1], [3])
    at = straddling(guest, arg, first=64)
    assert guest.hypercall.raw(12, EXCHANGE, at) == 0
    assert back(guest, arg, at).nr_exchanged == 1
    half = straddling(guest, arg, mapped=False, first=64)
    assert guest.hypercall.raw(12, EXCHANGE, half) == -errno.EFAULT
    assert xen_machine.frame(frames[1]).owner == guest.id


def test_a_read_only_struct_is_carried_out(
    xen_machine: Machine, guest: Domain, frames: tuple[int, ...]
) -> None:
    at = read_only(guest, request(guest, frames[:1], [3]))
    assert guest.hypercall.raw(12, EXCHANGE, at) == -errno.EFAULT
    assert xen_machine.frame(frames[0]).owner is None
    refused_one = read_only(guest, request(guest, frames[1:2], [3], in_order=10))
    assert guest.hypercall.raw(12, EXCHANGE, refused_one) == -errno.EFAULT


def test_bits_above_the_number(guest: Domain, frames: tuple[int, ...]) -> None:
    for junk in 1 << 6, 1 << 32, 1 << 63:
        with refused(errno.EINVAL):
            guest.hypercall.memory_op(EXCHANGE | junk, request(guest, frames[:1], [3]))
