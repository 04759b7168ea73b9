"""Guest memory for hypercall arguments: a stack of short-lived buffers.

The area lies in the kernel's linear map, at ARG_BASE. Hypercalls are synchronous, so a
buffer lives for one `with`; they nest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xenemu.machine import Domain

GUEST_BASE = 0xFFFF_8800_0000_0000  # XE_GUEST_BASE: pseudo-physical page p is at + p * 4096
ARG_BASE = GUEST_BASE + (1 << 20)
ARG_SIZE = 256 * 1024


class Buffer:
    """A piece of guest memory; `gva` is its guest address."""

    __slots__ = ("_area", "gva", "size")

    def __init__(self, area: ArgumentArea, gva: int, size: int) -> None:
        self._area = area
        self.gva = gva
        self.size = size

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._area.release(self)

    def read(self) -> bytes:
        """Its bytes now."""
        return self._area.domain.guest_read(self.gva, self.size)


class ArgumentArea:
    """The allocator."""

    def __init__(self, domain: Domain, base: int = ARG_BASE, size: int = ARG_SIZE) -> None:
        self.domain = domain
        self._base = base
        self._end = base + size
        self._top = base

    def alloc(self, size: int) -> Buffer:
        """`size` bytes, 8-aligned, with what was there before; MemoryError."""
        gva = self._top
        top = gva + ((size + 7) & ~7)
        if size < 0 or top > self._end:
            raise MemoryError(f"{size} bytes of hypercall arguments")
        self._top = top
        return Buffer(self, gva, size)

    def put(self, data: bytes) -> Buffer:
        """A buffer that holds `data`."""
        buffer = self.alloc(len(data))
        self.domain.guest_write(buffer.gva, data)
        return buffer

    def release(self, buffer: Buffer) -> None:
        """Frees a buffer and those made after it."""
        assert self._base <= buffer.gva <= self._top
        self._top = buffer.gva
