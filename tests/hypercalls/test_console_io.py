"""console_io."""

from __future__ import annotations

from errno import E2BIG, EFAULT, ENOSYS, EPERM, ESRCH

import pytest
from hypercalls.support import (
    JUNK,
    NOWHERE,
    placed,
    read_only,
    refused,
    refused_without_effect,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import ConsoleOp, Hypercall
from xenemu.xen import PAGE_SIZE

RING = 4096
WRITE, READ = ConsoleOp.write, ConsoleOp.read
NR = Hypercall.console_io


@pytest.fixture
def page(xen_domain: Domain) -> int:
    """The address of a text in a page of its own."""
    return placed(xen_domain, b"some text")


def test_what_is_written_is_read_once(xen_domain: Domain) -> None:
    xen_domain.hypercall.console_io.write("one\n")
    xen_domain.hypercall.console_io.write(b"\x00\xff\x1b")
    assert xen_domain.console() == b"one\n\x00\xff\x1b"
    assert xen_domain.console() == b""


def test_each_domain_has_its_own(xen_control: Domain, xen_domain: Domain) -> None:
    xen_domain.hypercall.console_io.write("guest")
    xen_control.hypercall.console_io.write("control")
    assert (xen_control.console(), xen_domain.console()) == (b"control", b"guest")


@pytest.mark.parametrize("n", [0, 1, 126, 127, 128, 254, 255, RING - 1, RING])
def test_a_text_of_any_length(xen_domain: Domain, n: int) -> None:
    text = bytes(i % 251 for i in range(n))
    xen_domain.hypercall.console_io.write(text)
    assert xen_domain.console() == text


@pytest.mark.parametrize("n", [RING + 1, 3 * RING + 5])
def test_the_last_of_it_is_kept(xen_domain: Domain, n: int) -> None:
    text = bytes(i % 251 for i in range(n))
    xen_domain.hypercall.console_io.write(text)
    assert xen_domain.console() == text[-RING:]


def test_the_last_of_several_writes_is_kept(xen_domain: Domain) -> None:
    for i in range(1000):
        xen_domain.hypercall.console_io.write(f"line {i}\n")
    text = "".join(f"line {i}\n" for i in range(1000)).encode()
    assert xen_domain.console() == text[-RING:]


def test_a_text_across_pages(xen_domain: Domain) -> None:
    at = straddling(xen_domain, b"across the end", first=6)
    assert xen_domain.hypercall.console_io(WRITE, 14, at) == 0
    assert xen_domain.console() == b"across the end"


def test_a_text_may_be_read_only(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.console_io(WRITE, 4, read_only(xen_domain, b"text")) == 0
    assert xen_domain.console() == b"text"


@NOWHERE
def test_no_text(xen_domain: Domain, nowhere: int) -> None:
    with refused(EFAULT):
        xen_domain.hypercall.console_io(WRITE, 1, nowhere)
    assert xen_domain.console() == b""


@NOWHERE
def test_of_nothing_the_address_is_not_looked_at(xen_domain: Domain, nowhere: int) -> None:
    assert xen_domain.hypercall.console_io(WRITE, 0, nowhere) == 0


@pytest.mark.parametrize(("first", "written"), [(126, 0), (127, 127), (300, 254)])
@pytest.mark.parametrize("count", [1000, 0xFFFF_FFFF])
def test_whole_chunks_before_an_unreadable_byte_are_written(
    xen_domain: Domain, first: int, written: int, count: int
) -> None:
    """Xen's chunks are of 127 bytes."""
    at = straddling(xen_domain, b"x" * first, mapped=False, first=first)
    with refused(EFAULT):
        xen_domain.hypercall.console_io(WRITE, count, at)
    assert xen_domain.console() == b"x" * written


def test_upper_halves_of_registers_do_not_count(
    xen_control: Domain, xen_domain: Domain, page: int
) -> None:
    assert xen_domain.hypercall.raw(NR, JUNK | WRITE, JUNK | 9, page, JUNK, JUNK) == 0
    assert xen_domain.console() == b"some text"
    assert xen_control.hypercall.raw(NR, JUNK | READ, JUNK | 9, xen_control.memory.base) == 0


def test_nobody_types(xen_control: Domain) -> None:
    assert xen_control.hypercall.console_io.read(100) == b""
    xen_control.hypercall.console_io.write("output")
    assert xen_control.hypercall.console_io.read(PAGE_SIZE) == b""


@NOWHERE
def test_what_reads_nothing_needs_no_place(xen_control: Domain, nowhere: int) -> None:
    for count in (0, 1, 0x7FFF_FFFF):
        assert xen_control.hypercall.console_io(READ, count, nowhere) == 0


@pytest.mark.parametrize("count", [1 << 31, 0xFFFF_FFFF], ids=hex)
def test_too_much_to_read(xen_control: Domain, count: int) -> None:
    with refused(E2BIG):
        xen_control.hypercall.console_io(READ, count, xen_control.memory.base)


@pytest.mark.parametrize("op", [READ, 2, 99, 0xFFFF_FFFF], ids=str)
def test_others_only_write(xen_machine: Machine, xen_domain: Domain, page: int, op: int) -> None:
    eperms = xen_machine.counters["eperms"]
    with refused_without_effect(xen_machine, EPERM):
        xen_domain.hypercall.console_io(op, 4, page)
    assert xen_machine.counters["eperms"] == eperms + 1
    assert xen_domain.read(page, 9) == b"some text"


@pytest.mark.parametrize("op", [2, 99, 0xFFFF_FFFF])
def test_no_such_command(xen_machine: Machine, xen_control: Domain, op: int) -> None:
    with refused_without_effect(xen_machine, ENOSYS):
        xen_control.hypercall.console_io(op, 0, 0)


def test_the_dying_write_nothing(zombie: Domain) -> None:
    with refused(ESRCH):
        zombie.hypercall.console_io(WRITE, 1, zombie.memory.base)
