"""The page that frontend and backend share.

    0   u32  requests made so far (the frontend writes)
    4   u32  requests answered so far (the backend writes)
    64  8 slots of 16 bytes; request n is in slot n % 8, its answer takes its place:
        u32 operation or status, u32 sector, u32 grant reference of the data page, u32 0

Each side writes a slot before it counts it, and counts with free-running numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xenemu import Domain

READ, WRITE = 0, 1
OK, FAILED, NO_SECTOR = 0, 1, 2
SLOTS = 8
SECTOR = 512

_COUNT = struct.Struct("<I")
_SLOT = struct.Struct("<IIII")
_FIRST_SLOT = 64


@dataclass(frozen=True)
class Slot:
    code: int  # READ or WRITE, then OK, FAILED or NO_SECTOR
    sector: int
    ref: int


class Ring:
    """One side's view: the page at `gva` of `domain`."""

    def __init__(self, domain: Domain, gva: int) -> None:
        self._domain = domain
        self._gva = gva

    def _count(self, offset: int) -> int:
        (n,) = _COUNT.unpack(self._domain.read(self._gva + offset, 4))
        return int(n)

    @property
    def requests(self) -> int:
        return self._count(0)

    @property
    def responses(self) -> int:
        return self._count(4)

    def _slot(self, n: int) -> int:
        return self._gva + _FIRST_SLOT + n % SLOTS * _SLOT.size

    def slot(self, n: int) -> Slot:
        code, sector, ref, _ = _SLOT.unpack(self._domain.read(self._slot(n), _SLOT.size))
        return Slot(code, sector, ref)

    def _put(self, n: int, slot: Slot, counter: int) -> None:
        self._domain.write(self._slot(n), _SLOT.pack(slot.code, slot.sector, slot.ref, 0))
        self._domain.write(self._gva + counter, _COUNT.pack(n + 1 & 0xFFFF_FFFF))

    def put_request(self, slot: Slot) -> None:
        self._put(self.requests, slot, 0)

    def put_response(self, slot: Slot) -> None:
        self._put(self.responses, slot, 4)
