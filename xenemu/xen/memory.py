"""A domain's own memory: reads and writes through its page tables, and room to put things.

The room is the domain's usable pages: what `alloc` gives lies at their beginning and stays, the
arguments of a hypercall lie at their end, as a stack, while it runs. Page 0 is not used, so that
no address is null.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xenemu.machine.core import Core

PAGE_SIZE = 4096
PAGE_SHIFT = 12

S = TypeVar("S", bound=ctypes.Structure)


class Memory:
    """Of one domain. Addresses are guest virtual addresses."""

    def __init__(self, core: Core, domid: int) -> None:
        info = core.domain_info(domid)
        self._core = core
        self._domid = domid
        self.base: int = info["virt_base"]
        pages: int = info["usable_pages"]
        self._next = self.base + min(pages, 1) * PAGE_SIZE
        self._top = self.base + pages * PAGE_SIZE

    def read(self, gva: int, n: int) -> bytes:
        """n bytes; OSError(EFAULT) where nothing is mapped."""
        return self._core.guest_read(self._domid, gva, n)

    def write(self, gva: int, data: Buffer) -> None:
        """OSError(EFAULT) where nothing is mapped, or read-only."""
        self._core.guest_write(self._domid, gva, data)

    def read_struct(self, kind: type[S], gva: int) -> S:
        """A copy of the struct at gva."""
        return kind.from_buffer_copy(self.read(gva, ctypes.sizeof(kind)))

    def alloc(self, n: int, align: int = 8) -> int:
        """The address of n bytes of its own, zero at first; they are never freed. MemoryError."""
        gva = (self._next + align - 1) & -align
        if n < 0 or gva + n > self._top:
            raise MemoryError(f"{n} bytes of domain {self._domid}")
        self._next = gva + n
        return gva

    def alloc_page(self, n: int = 1) -> int:
        """The address of n whole pages."""
        return self.alloc(n * PAGE_SIZE, PAGE_SIZE)

    def translate(self, gva: int) -> int:
        """Machine address; OSError(EFAULT)."""
        return self._core.guest_translate(self._domid, gva)

    def argument(self, value: Any) -> Argument:
        """`with memory.argument(value) as gva`: there lies a ctypes object, which has what lies
        there afterwards, or bytes."""
        return Argument(self, value)

    def push(self, n: int) -> int:
        """n bytes for the arguments of a hypercall, 8-aligned."""
        gva = (self._top - n) & -8
        if gva < self._next:
            raise MemoryError(f"{n} bytes of hypercall arguments in domain {self._domid}")
        self._top = gva
        return gva

    def pop(self, top: int) -> None:
        """Frees what was pushed since the stack was as high as `top`."""
        self._top = top

    @property
    def top(self) -> int:
        """How high the stack is; for `pop`."""
        return self._top


class Argument:
    """See Memory.argument."""

    __slots__ = ("_gva", "_memory", "_top", "_value")

    def __init__(self, memory: Memory, value: Any) -> None:
        self._memory = memory
        self._value = value
        self._top = memory.top
        self._gva = 0

    def __enter__(self) -> int:
        value = self._value
        n = len(value) if isinstance(value, bytes) else ctypes.sizeof(value)
        self._gva = self._memory.push(n)
        try:
            self._memory.write(self._gva, value)
        except OSError:
            self._memory.pop(self._top)
            raise
        return self._gva

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        value = self._value
        self._memory.pop(self._top)
        if isinstance(value, bytes):
            return
        n = ctypes.sizeof(value)
        try:
            ctypes.memmove(ctypes.addressof(value), self._memory.read(self._gva, n), n)
        except OSError:
            if error is None:
                raise
