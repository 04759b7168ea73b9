"""What the typed hypercalls have in common: arguments through guest memory, results as values.

The docstring of a public method is also its page in docs/hypercalls.md: what it does; `Struct:`
the C structs; `Returns:`; `Raises:` one errno a line with its condition.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from xenemu._abi import Hypercall
from xenemu.machine.errors import named_error

if TYPE_CHECKING:
    from xenemu.xen.hypercalls import Hypercalls
    from xenemu.xen.structs import Structure

U64_MASK = (1 << 64) - 1


def u64_array(values: Iterable[int]) -> Any:
    """A C array of 64-bit words."""
    items = [v & U64_MASK for v in values]
    return (ctypes.c_uint64 * len(items))(*items)


def u32_array(values: Iterable[int]) -> Any:
    """A C array of 32-bit words."""
    items = [v & 0xFFFF_FFFF for v in values]
    return (ctypes.c_uint32 * len(items))(*items)


def struct_array(items: list[Any]) -> Any:
    """A C array of copies of these structs, which are all of one kind and at least one."""
    return (type(items[0]) * len(items))(*items)


def text(field: Any) -> str:
    """A C string in an array of bytes."""
    return bytes(field).split(b"\0", 1)[0].decode("utf-8", "replace")


class Call:
    """One hypercall, of one virtual CPU."""

    __slots__ = ("_cpu",)
    nr: ClassVar[Hypercall]

    def __init__(self, cpu: Hypercalls) -> None:
        self._cpu = cpu

    def _raise(self, op: int | None, name: str, result: int, done: int = 0) -> None:
        """Raises for a negative result of a call whose sub-operation lies in a struct."""
        if result < 0:
            name = f"{self.nr.name}.{name}" if name else self.nr.name
            error = named_error(self.nr, op, name, -result)
            error.done = done
            raise error


class Group(Call):
    """A hypercall whose first argument is the sub-operation.

    Calling the group makes any of them: `group(op, argument, ...)`. An argument is an integer,
    or a struct (a ctypes object, in and out) or bytes, which are put into guest memory.
    """

    __slots__ = ()

    def __call__(self, op: int, argument: Any = 0, *more: int) -> int:
        if isinstance(argument, int):
            return self._cpu(self.nr, op, argument, *more)
        with self._cpu.memory.argument(argument) as gva:
            return self._cpu(self.nr, op, gva, *more)

    def _struct(self, op: int, struct: Structure) -> int:
        """nr(op, &struct)."""
        with self._cpu.memory.argument(struct) as gva:
            return self._cpu(self.nr, op, gva)
