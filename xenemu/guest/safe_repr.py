"""Short texts of a dead program's values, made without running any of its code.

Types are compared by identity and read through `type`'s own slots: a class may define `__repr__`,
`__class__`, `__eq__`, `__getattr__`, and so may its metaclass. Values of built-in types are shown,
at most two containers deep; of all others, type and address.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from itertools import islice
from typing import Any

from xenemu.guest.loop import GuestFuture, GuestTask
from xenemu.guest.socket import GuestSocket

MAX_DEPTH = 2
MAX_ITEMS = 8
MAX_CHARS = 80  # of one string
MAX_TOTAL = 300
MAX_BITS = 256

_qualname = type.__dict__["__qualname__"].__get__
_module = type.__dict__["__module__"].__get__
_args = BaseException.__dict__["args"].__get__
_SEQUENCES: tuple[tuple[type, str, str], ...] = (
    (tuple, "(", ")"), (list, "[", "]"), (set, "{", "}"),
    (frozenset, "frozenset({", "})"), (deque, "deque([", "])"),
)  # fmt: skip
_PLAIN = (bool, float, complex, type(None), type(Ellipsis), type(NotImplemented))


def exact_str(value: object) -> str:
    """A string that is nothing more than that; "?" for all else."""
    return value if type(value) is str else "?"


def type_name(kind: type) -> str:
    """Module and qualified name; builtins without their module."""
    name, module = exact_str(_qualname(kind)), exact_str(_module(kind))
    return name if module == "builtins" else f"{module}.{name}"


def describe_error(error: BaseException) -> str:
    """An exception's type and arguments."""
    args: tuple[Any, ...] = _args(error)
    name = type_name(type(error)).rpartition(".")[2]
    if not args:
        return name
    only = args[0] if len(args) == 1 else args
    if type(only) is str and only.isprintable():
        return f"{name}: {_cut(only, MAX_TOTAL)}"
    return f"{name}: {safe_repr(only)}"


def safe_repr(value: object) -> str:
    """At most MAX_TOTAL characters."""
    return _cut(_text(value, MAX_DEPTH), MAX_TOTAL)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits <= MAX_BITS else f"<int of {bits} bits>"
    if kind is str or kind is bytes or kind is bytearray:
        more = len(value) - MAX_CHARS
        return repr(value[:MAX_CHARS]) + (f" and {more} more" if more > 0 else "")
    if any(kind is plain for plain in _PLAIN):
        return repr(value)
    if kind is dict:
        return _dict(value, depth)
    for sequence, opening, closing in _SEQUENCES:
        if kind is sequence:
            return opening + _items(value, depth) + closing
    return _opaque(value, kind)


def _items(value: Any, depth: int) -> str:
    if not depth and value:
        return "..."
    shown = [_text(item, depth - 1) for item in islice(value, MAX_ITEMS)]
    return ", ".join(shown) + _rest(len(value))


def _dict(value: dict[Any, Any], depth: int) -> str:
    if not depth and value:
        return "{...}"
    pairs = islice(value.items(), MAX_ITEMS)
    shown = [f"{_text(key, depth - 1)}: {_text(item, depth - 1)}" for key, item in pairs]
    return "{" + ", ".join(shown) + _rest(len(value)) + "}"


def _rest(size: int) -> str:
    return f", and {size - MAX_ITEMS} more" if size > MAX_ITEMS else ""


def _opaque(value: Any, kind: type) -> str:
    if kind is types.FunctionType:
        return f"<function {exact_str(value.__qualname__)}>"
    if kind is type:
        return f"<class {type_name(value)}>"
    if kind is types.CoroutineType:
        return f"<coroutine {value.cr_code.co_qualname}>"
    if kind is GuestFuture or kind is GuestTask or kind is asyncio.Task:
        name = value.number if kind is GuestFuture else exact_str(value.get_name())
        return f"<{kind.__name__} {name} {'done' if value.done() else 'pending'}>"
    if kind is GuestSocket:
        return f"<GuestSocket fd={value._fd}>"
    return f"<{type_name(kind)} at {id(value):#x}>"
