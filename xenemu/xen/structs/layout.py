"""How the structs of Xen's public headers are written down here: by name, fields in order.

A struct is a ctypes class of exactly Xen's layout on x86-64 and is known in STRUCTS by its C
name. Guest handles are 64-bit guest addresses.
"""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

U8 = ctypes.c_uint8
U16 = ctypes.c_uint16
U32 = ctypes.c_uint32
U64 = ctypes.c_uint64
I8 = ctypes.c_int8
I16 = ctypes.c_int16
I32 = ctypes.c_int32
I64 = ctypes.c_int64

DOMID = U16
PORT = U32
HANDLE = U64  # XEN_GUEST_HANDLE: a guest address
PFN = U64
ULONG = U64

Structure: TypeAlias = ctypes.LittleEndianStructure
Layout: TypeAlias = "type[Any]"  # a ctypes type

STRUCTS: dict[str, type[Structure]] = {}


def struct(name: str, /, **fields: Layout) -> Layout:
    """`struct name` of Xen's headers."""
    made = type(name, (Structure,), {"_fields_": list(fields.items())})
    STRUCTS[name] = made
    return made


def nested(**fields: Layout) -> Layout:
    """A struct without a name of its own, in another."""
    return type("nested", (Structure,), {"_fields_": list(fields.items())})


def union(**fields: Layout) -> Layout:
    """A union in a struct."""
    return type("union", (ctypes.Union,), {"_fields_": list(fields.items())})


def array(element: Layout, n: int) -> Layout:
    """n elements."""
    made: Layout = element * n
    return made


def padding(n: int) -> Layout:
    """n bytes without a meaning."""
    return array(U8, n)


def fields_of(kind: type[Any]) -> tuple[str, ...]:
    """The fields' names, in order; those of a nested struct or union as `outer.inner`."""
    names: list[str] = []
    for name, inner, *_ in getattr(kind, "_fields_", ()):
        nested_names = fields_of(inner) if isinstance(inner, type) else ()
        names += [f"{name}.{n}" for n in nested_names] or [name]
    return tuple(names)
