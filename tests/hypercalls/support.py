"""Places for arguments where a guest should not have them, what is refused, and what it changed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from xenemu import Domain, HypercallError, Machine
from xenemu.xen import PAGE_SIZE

UNMAPPED = 0xDEAD_BEEF_000  # the lower half of a guest's addresses is empty
XEN_VA = 0xFFFF_8300_0000_0000
NOT_CANONICAL = 0x8000_0000_0000
NOWHERE = pytest.mark.parametrize(
    "nowhere", [0, UNMAPPED, XEN_VA, NOT_CANONICAL], ids=["null", "unmapped", "xen", "canonical"]
)
PRESENT_RW, PRESENT_RO = 0x67, 0x65
DOMID_IO, DOMID_XEN, ABSENT = 0x7FF1, 0x7FF2, 77
ABSENT_DOMIDS = pytest.mark.parametrize(
    "absent", [ABSENT, 4095, 4096, DOMID_IO, DOMID_XEN, 0xFFFF], ids=hex
)
JUNK = 0xDEAD_BEEF << 32  # for the upper half of a register of which Xen takes 32 bits
MS = 1_000_000
SECOND = 1000 * MS


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """The hypercall in it answers minus one of these."""
    with pytest.raises(HypercallError) as caught:
        yield
    assert caught.value.errno in codes, str(caught.value)


def raw_of(value: Any) -> bytes:
    """The bytes of a struct."""
    return value if isinstance(value, bytes) else bytes(value)


def placed(domain: Domain, value: Any) -> int:
    """The address of a copy in a page of its own."""
    page = domain.alloc_page()
    domain.write(page, raw_of(value))
    return page


def straddling(domain: Domain, value: Any, mapped: bool = True, first: int = 4) -> int:
    """The address of a copy of which `first` bytes lie in one page, the rest in the next one, which
    may not be mapped."""
    raw = raw_of(value)
    page = domain.memory.alloc_page(2)
    at = page + PAGE_SIZE - first
    domain.write(at, raw)
    if not mapped:
        domain.hypercall.update_va_mapping(page + PAGE_SIZE, 0)
    return at


def read_only(domain: Domain, value: Any) -> int:
    """The address of a copy that the guest may only read."""
    page = placed(domain, value)
    domain.hypercall.update_va_mapping(page, domain.mfn_at(page) << 12 | PRESENT_RO)
    return page


def back(domain: Domain, value: Any, gva: int) -> Any:
    """What lies at gva, as a struct like `value`."""
    return type(value).from_buffer_copy(domain.read(gva, ctypes.sizeof(value)))


def ports_of(machine: Machine, domain: Domain, most: int = 64) -> list[Any]:
    """What its first ports are, by the control domain's word."""
    status = machine.control.hypercall.event_channel_op.status
    return [status(dom=domain.id, port=port) for port in range(most)]


def snapshot(machine: Machine) -> list[Any]:
    """All that the interface shows of all domains, but their frames."""
    return [
        (d.id, d.info, ports_of(machine, d), b"" if d.info.dying else bytes(d.shared_info))
        for d in machine.domains()
    ] + [machine.free_pages]


@contextmanager
def unchanged(machine: Machine) -> Iterator[None]:
    """What happens in it leaves no trace in any domain."""
    before = snapshot(machine)
    yield
    assert snapshot(machine) == before


@contextmanager
def refused_without_effect(machine: Machine, *codes: int) -> Iterator[None]:
    """Both."""
    with unchanged(machine), refused(*codes):
        yield
