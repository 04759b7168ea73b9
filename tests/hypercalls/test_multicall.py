"""multicall."""

from __future__ import annotations

import ctypes
import struct
from errno import EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from typing import Any

import pytest
from hypercalls.support import (
    JUNK,
    NOT_CANONICAL,
    NOWHERE,
    PRESENT_RW,
    XEN_VA,
    back,
    placed,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import PAGE_SIZE, Shutdown, structs

Nr = Hypercall
ENTRY = structs.xen.multicall_entry
SIZE = ctypes.sizeof(ENTRY)
VERSION = 4 << 16 | 17
EXTRAVERSION, PAGESIZE = 1, 7


def calls(*entries: tuple[int, ...]) -> Any:
    array = (ENTRY * len(entries))()
    for entry, (nr, *args) in zip(array, entries, strict=True):
        entry.op, entry.result = nr, 0x5555
        entry.args[: len(args)] = args
    return array


def results(domain: Domain, at: int, n: int) -> list[int]:
    """Those in memory, signed."""
    array = back(domain, (ENTRY * n)(), at)
    return [r - (1 << 64) if r >> 63 else r for r in (e.result for e in array)]


def test_an_entry_has_room_for_a_number_a_result_and_six_arguments() -> None:
    assert SIZE == 64


def test_results_are_in_order(xen_domain: Domain) -> None:
    got = xen_domain.hypercall.multicall(
        [(Nr.xen_version, 0), (60,), (Nr.xen_version, PAGESIZE), (Nr.sysctl, 0)]
    )
    assert got == [VERSION, -ENOSYS, PAGE_SIZE, -EFAULT]


def test_each_call_gets_its_arguments(xen_domain: Domain) -> None:
    at = placed(xen_domain, b"one two three")
    write = (Nr.console_io, 0)
    assert xen_domain.hypercall.multicall(
        [(*write, 4, at), (*write, 5, at + 8), (*write, 3, at + 4)]
    ) == [0, 0, 0]
    assert xen_domain.console() == b"one threetwo"


def test_five_arguments(xen_domain: Domain) -> None:
    """hypfs_op looks at its fifth; the sixth is nobody's."""
    control = xen_domain._machine.control
    got = control.hypercall.multicall(
        [
            (Nr.hypfs_op, 0, 0, 0, 0, 0),
            (Nr.hypfs_op, 0, 0, 0, 0, 1),
            (Nr.hypfs_op, 0, 0, 0, 0, 0, 1),
        ]
    )
    assert got == [1, -EINVAL, 1]


def test_a_call_sees_what_the_ones_before_have_done(xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    other = xen_domain.mfn_at(xen_domain.alloc_page())
    map_call = (Nr.update_va_mapping, page, other << 12 | PRESENT_RW, 2)
    assert xen_domain.hypercall.multicall(
        [(Nr.update_va_mapping, page, 0, 2), (Nr.xen_version, EXTRAVERSION, page), map_call,
         (Nr.xen_version, EXTRAVERSION, page)]
    ) == [0, -EFAULT, 0, 0]  # fmt: skip
    assert xen_domain.read(page, 3) == b".7\0"


def test_64_calls(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.multicall([(Nr.xen_version, 0)] * 64) == [VERSION] * 64


def test_only_results_are_written(xen_domain: Domain) -> None:
    array = calls((Nr.xen_version, PAGESIZE, 0, 3, 4, 5, 6), (99, 1, 2, 3))
    at = placed(xen_domain, bytes(array) + b"\xee" * 8)
    assert xen_domain.hypercall(Nr.multicall, at, 2) == 0
    array[0].result, array[1].result = PAGE_SIZE, (1 << 64) - ENOSYS
    assert xen_domain.read(at, 2 * SIZE + 8) == bytes(array) + b"\xee" * 8


def test_each_call_is_counted(xen_machine: Machine, xen_domain: Domain) -> None:
    before = xen_machine.counters
    xen_domain.hypercall.multicall([(Nr.xen_version, 0), (60,), (Nr.console_io, 1), (60,)])
    after = xen_machine.counters
    more = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert more == {"hypercalls": 5, "unknown_hypercalls": 2, "eperms": 1}


def test_a_multicall_inside_is_refused(xen_domain: Domain) -> None:
    inner = placed(xen_domain, calls((Nr.console_io, 0, 1, xen_domain.memory.base)))
    got = xen_domain.hypercall.multicall([(Nr.multicall, inner, 1), (Nr.xen_version, 0)])
    assert got == [-EINVAL, VERSION]
    assert xen_domain.console() == b""
    assert results(xen_domain, inner, 1) == [0x5555]


def test_rights_are_the_callers(xen_machine: Machine, xen_domain: Domain) -> None:
    arg = structs.domctl.xen_domctl(cmd=3, interface_version=0x15, domain=0)
    at = placed(xen_domain, arg)
    assert xen_domain.hypercall.multicall([(Nr.domctl, at)]) == [-EPERM]
    assert not xen_machine.control.info.paused


@pytest.mark.parametrize("nr", [JUNK | Nr.xen_version, 1 << 32, 64, (1 << 64) - 1], ids=hex)
def test_all_of_the_number_counts(xen_domain: Domain, nr: int) -> None:
    assert xen_domain.hypercall.multicall([(nr, 0)]) == [-ENOSYS]


def test_upper_halves_of_arguments_are_each_calls_own_affair(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.multicall([(Nr.xen_version, JUNK)]) == [VERSION]


# how many


def test_none(xen_domain: Domain) -> None:
    assert xen_domain.hypercall(Nr.multicall, 0, 0) == 0
    assert xen_domain.hypercall(Nr.multicall, xen_domain.memory.base, 1 << 32) == 0


@pytest.mark.parametrize("at", [XEN_VA, NOT_CANONICAL], ids=hex)
def test_none_where_no_guest_has_memory(xen_domain: Domain, at: int) -> None:
    with refused(EFAULT):
        xen_domain.hypercall(Nr.multicall, at, 0)


def test_the_upper_half_of_the_count_does_not_count(xen_domain: Domain) -> None:
    at = placed(xen_domain, calls((Nr.xen_version, 0), (Nr.xen_version, 0)))
    assert xen_domain.hypercall(Nr.multicall, at, JUNK | 1, JUNK, JUNK) == 0
    assert results(xen_domain, at, 2) == [VERSION, 0x5555]


@pytest.mark.parametrize("count", [3, 1000, 0x7FFF_FFFF, 1 << 31, 0xFFFF_FFFF])
def test_what_comes_before_the_end_of_memory_is_done(xen_domain: Domain, count: int) -> None:
    array = bytes(calls(*[(Nr.xen_version, 0)] * 2))
    at = straddling(xen_domain, array, mapped=False, first=len(array))
    with refused(EFAULT):
        xen_domain.hypercall(Nr.multicall, at, count)
    assert results(xen_domain, at, 2) == [VERSION, VERSION]


# where


@NOWHERE
def test_no_calls(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    before = xen_machine.counters
    with refused(EFAULT):
        xen_domain.hypercall(Nr.multicall, nowhere, 1)
    after = xen_machine.counters
    assert after["hypercalls"] == before["hypercalls"] + 1
    assert after["efaults"] == before["efaults"] + 1


@pytest.mark.parametrize("first", [1, 8, 63])
def test_half_a_call_is_not_made(xen_domain: Domain, first: int) -> None:
    text = placed(xen_domain, b"x")
    array = bytes(calls((Nr.console_io, 0, 1, text)))
    at = straddling(xen_domain, array[:first], mapped=False, first=first)
    with refused(EFAULT):
        xen_domain.hypercall(Nr.multicall, at, 1)
    assert xen_domain.console() == b""


@pytest.mark.parametrize("first", [4, 12, 32, 63])
def test_a_call_across_two_pages(xen_domain: Domain, first: int) -> None:
    at = straddling(xen_domain, calls((Nr.xen_version, 0)), first=first)
    assert xen_domain.hypercall(Nr.multicall, at, 1) == 0
    assert results(xen_domain, at, 1) == [VERSION]


def test_a_result_that_can_not_be_written_is_a_fault_after_the_deed(xen_domain: Domain) -> None:
    text = placed(xen_domain, b"ab")
    at = read_only(xen_domain, calls(*[(Nr.console_io, 0, 1, text + i) for i in range(2)]))
    with refused(EFAULT):
        xen_domain.hypercall(Nr.multicall, at, 2)
    assert xen_domain.console() == b"a"


# iret


def frame(cs: int = 0xE030, rax: int = 7) -> bytes:
    """What iret takes from the stack: into the kernel, with events on."""
    return struct.pack("<9Q", rax, 0, 0, 0, 0x1234, cs, 0x200, 0x5678, 0xE02B)


def test_an_iret_is_the_last(xen_domain: Domain) -> None:
    at = placed(xen_domain, frame())
    array = placed(xen_domain, calls((Nr.xen_version, 0), (Nr.iret, at), (Nr.xen_version, 0)))
    assert xen_domain.hypercall.raw(Nr.multicall, array, 3) == 7
    assert results(xen_domain, array, 3) == [VERSION, 7, 0x5555]


@pytest.mark.parametrize(
    ("rax", "expected"), [(0x1_2345_6789, 0x2345_6789), (0xFFFF_FFFF, -1), ((1 << 64) - 3, -3)]
)
def test_the_multicalls_result_is_32_bits_of_it(
    xen_domain: Domain, rax: int, expected: int
) -> None:
    at = placed(xen_domain, frame(rax=rax))
    array = placed(xen_domain, calls((Nr.iret, at)))
    assert xen_domain.hypercall.raw(Nr.multicall, array, 1) == expected
    assert back(xen_domain, ENTRY(), array).result == rax


def test_an_iret_without_a_frame_is_the_domains_end(xen_domain: Domain) -> None:
    array = placed(xen_domain, calls((Nr.iret, XEN_VA), (Nr.xen_version, 0)))
    xen_domain.hypercall.raw(Nr.multicall, array, 2)
    assert xen_domain.info.shutdown_code == Shutdown.crash
    assert results(xen_domain, array, 2)[1] == 0x5555


def test_the_dying_make_no_calls(zombie: Domain) -> None:
    with refused(ESRCH):
        zombie.hypercall(Nr.multicall, zombie.memory.base, 0)
