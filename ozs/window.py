"""The log window: guest addresses at which the log's frames are mapped.

A guest knows its own tables only by walking them: the root's page, from start_info, names the
next level by machine frame; which of the tables' pages that is, the P2M says. The entries
themselves are changed by mmu_update, 4 KiB each (PV has no large pages).
"""

import errno
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ozs.zeroloss import argument, domain_of
from xenemu._abi import DOMID_SELF, Hypercall
from xenemu.guest import GUEST_BASE, Domain, Kernel

LOG_WINDOW = 0xFFFF_C900_0000_0000  # XE_LOG_WINDOW
PAGE = 4096
EXTENT_ORDER = 9
EXTENT_PAGES = 1 << EXTENT_ORDER
EXTENT_BYTES = EXTENT_PAGES * PAGE
ENTRIES = 512
PTE_MFN = 0x000F_FFFF_FFFF_F000
PTE_PRESENT_RW = 0x63  # present, writable, accessed, dirty
BATCH = 4  # extents a hypercall
# The struct mmu_update (ptr, val) of an extent's entries, as one number of 512 lanes of 16 bytes:
# lane i of STEPS is what entry i has more than entry 0; ONES has a 1 in each lane.
LANE = struct.Struct("<QQ")
STEPS = int.from_bytes(b"".join(LANE.pack(8 * i, PAGE * i) for i in range(ENTRIES)), "little")
ONES = int.from_bytes(LANE.pack(1, 0) * ENTRIES, "little")

START_INFO = struct.Struct("<32xQ48xQQQ")  # nr_pages, pt_base, nr_pt_frames, mfn_list


@dataclass(frozen=True, slots=True)
class StartInfo:
    """What the domain builder tells a kernel of its pages, out of struct start_info."""

    nr_pages: int
    pt_base: int  # guest address of the root; the other tables come after it
    nr_pt_frames: int
    mfn_list: int  # guest address of the P2M

    @classmethod
    def read(cls, domain: Domain) -> "StartInfo":
        """That of a kernel that starts. OSError."""
        return cls(*START_INFO.unpack(domain.guest_read(domain.start_info_gva, START_INFO.size)))


def extent_updates(table: int, mfn: int) -> bytes:
    """The updates that map an extent whose first frame is `mfn` by a whole level 1 table."""
    first = table * PAGE | (mfn * PAGE | PTE_PRESENT_RW) << 64
    return (STEPS + first * ONES).to_bytes(LANE.size * ENTRIES, "little")


class LogWindow:
    """Maps log extents into the window of one kernel."""

    def __init__(self, kernel: Kernel, start_info: StartInfo) -> None:
        self._kernel = kernel
        self._node = domain_of(kernel)
        self._start = start_info
        self._tables: list[int] = []

    def map(self, mfns: Sequence[int]) -> None:
        """Maps extents (their first frames) one after the other from LOG_WINDOW on.

        Raises OSError as mmu_update does, or EFAULT where the window is too small.
        """
        tables = self._level1(len(mfns))
        for at in range(0, len(mfns), BATCH):
            batch = mfns[at : at + BATCH]
            updates = b"".join(map(extent_updates, tables[at : at + len(batch)], batch))
            self._mmu_update(updates)

    def extent_mfns(self, count: int) -> list[int]:
        """Machine frames of the extents that are mapped, by walking our own tables."""
        translate = self._node.guest_translate
        return [translate(LOG_WINDOW + i * EXTENT_BYTES) // PAGE for i in range(count)]

    def _mmu_update(self, updates: bytes) -> None:
        count = len(updates) // LANE.size
        with argument(self._kernel, len(updates)) as address:
            self._node.guest_write(address, updates)
            self._node.hypercall(Hypercall.mmu_update, address, count, 0, DOMID_SELF)

    def _level1(self, count: int) -> list[int]:
        """Machine frames of the first `count` level 1 tables of the window (one an extent)."""
        if len(self._tables) < count:
            self._tables = self._walk(count)
        return self._tables

    def _walk(self, count: int) -> list[int]:
        start, read = self._start, self._node.guest_read
        root = (start.pt_base - GUEST_BASE) // PAGE
        mfns = array("Q", read(start.mfn_list + 8 * root, 8 * start.nr_pt_frames))

        def entries(table: int, index: int, n: int = 1) -> list[int]:
            page = start.pt_base + mfns.index(table) * PAGE
            raw = read(page + 8 * index, 8 * n)
            found = [(value & PTE_MFN) // PAGE for value in array("Q", raw)]
            if 0 in found:
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
            return found

        level3 = entries(mfns[0], LOG_WINDOW >> 39 & 511)[0]
        tables: list[int] = []
        for level2 in entries(level3, LOG_WINDOW >> 30 & 511, -(-count // ENTRIES)):
            tables += entries(level2, 0, min(ENTRIES, count - len(tables)))
        return tables
