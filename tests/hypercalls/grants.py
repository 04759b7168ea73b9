"""A domain's grant table as the domain sees it, page table entries, and what an entry is refused
with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypercalls.support import PRESENT_RW

from xenemu import Domain, GrantError, Machine
from xenemu.xen import PAGE_SIZE, GrantFlag, GrantMap, GrantStatus, structs

ENTRY = structs.grant_table.grant_entry_v1
ENTRIES = PAGE_SIZE // 8  # of a frame of a table
ACCESS, READ_ONLY = GrantFlag.permit_access, GrantFlag.permit_access | GrantFlag.readonly
READING = GrantFlag.permit_access | GrantFlag.reading
WRITING = READING | GrantFlag.writing
HOST, DEVICE, RO = GrantMap.host_map, GrantMap.device_map, GrantMap.readonly
REF = 8  # of a Pair
MFN = 0x000F_FFFF_FFFF_F000


class Table:
    """The grant table of a domain, mapped."""

    def __init__(self, domain: Domain, frames: int = 1) -> None:
        self.domain = domain
        self.mfns = domain.hypercall.grant_table_op.setup_table(nr_frames=frames)
        self.at = domain.memory.alloc_page(frames)
        for i, mfn in enumerate(self.mfns):
            entry = mfn << 12 | PRESENT_RW
            domain.hypercall.update_va_mapping(self.at + i * PAGE_SIZE, entry)

    def put(self, ref: int, flags: int, domid: int, frame: int) -> None:
        """Writes an entry."""
        self.domain.write(self.at + 8 * ref, ENTRY(flags=flags, domid=domid, frame=frame))

    def grant(self, ref: int, to: Domain, gva: int, flags: int = ACCESS) -> int:
        """Grants the page at gva; its frame."""
        mfn = self.domain.mfn_at(gva)
        self.put(ref, flags, to.id, mfn)
        return mfn

    def entry(self, ref: int) -> Any:
        """A copy of an entry."""
        return self.domain.memory.read_struct(ENTRY, self.at + 8 * ref)

    def flags(self, ref: int) -> int:
        """Those of an entry."""
        return int(self.entry(ref).flags)


@dataclass
class Pair:
    """`granter` grants `page`, whose frame is `mfn`, to `mapper` by REF; `at` is for a mapping."""

    granter: Domain
    mapper: Domain
    table: Table
    page: int
    mfn: int
    at: int

    def map(self, flags: int = HOST, ref: int = REF, at: int | None = None) -> int:
        """A handle."""
        op = self.mapper.hypercall.grant_table_op
        at = self.at if at is None else at
        return op.map_grant_ref(host_addr=at, flags=flags, ref=ref, dom=self.granter.id).handle

    def unmap(self, handle: int, at: int | None = None, bus: int = 0) -> None:
        op = self.mapper.hypercall.grant_table_op
        at = self.at if at is None else at
        op.unmap_grant_ref(host_addr=at, handle=handle, dev_bus_addr=bus)


def pair_of(machine: Machine, granter: Domain) -> Pair:
    """Nothing is mapped yet."""
    mapper, table = machine.create_domain(), Table(granter)
    page, at = granter.alloc_page(), mapper.alloc_page()
    mapper.hypercall.update_va_mapping(at, 0)
    granter.write(page, b"granted")
    return Pair(granter, mapper, table, page, table.grant(REF, mapper, page), at)


@contextmanager
def status(expected: GrantStatus) -> Iterator[None]:
    """The operation in it answers 0, and this status for its entry."""
    with pytest.raises(GrantError) as caught:
        yield
    assert caught.value.status == expected, str(caught.value)


def map_status(mapper: Domain, granter: Domain, ref: int, at: int, flags: int = HOST) -> int:
    """That of a map, which may be 0."""
    op = mapper.hypercall.grant_table_op
    try:
        op.map_grant_ref(host_addr=at, flags=flags, ref=ref, dom=granter.id)
    except GrantError as error:
        return error.status
    return 0


def pte_address(machine: Machine, domain: Domain, gva: int) -> int:
    """The machine address of the page table entry that maps gva."""
    at = domain.mfn_at(domain.start_info.pt_base) << 12
    for shift in (39, 30, 21, 12):
        at = (at & MFN) + 8 * (gva >> shift & 511)
        if shift > 12:
            at = read_word(machine, at)
    return at


def read_word(machine: Machine, at: int) -> int:
    """The 64-bit word at a machine address."""
    return int.from_bytes(machine.read_frame(at >> 12, at & 4095, 8), "little")


def pte_of(machine: Machine, domain: Domain, gva: int) -> int:
    """The entry that maps gva."""
    return read_word(machine, pte_address(machine, domain, gva))


def references(machine: Machine, mfn: int) -> tuple[int, int]:
    """Of a frame: all, and those as writable memory."""
    frame = machine.frame(mfn)
    return frame.count, frame.type_count if frame.type == "writable" else 0
