"""Records of the trace, read for people: which hypercall, with which arguments and which answer.

The record's format is csrc/base/trace.h's; what each hypercall means is in trace_table.py.
"""

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from xenemu import _abi
from xenemu._abi import Hypercall
from xenemu.boot.trace_table import OWN_NAME, SHAPES, Shape
from xenemu.machine import VmmEvent, WorkKind
from xenemu.vmm import WrapperEvent

RECORD = struct.Struct("=QIBBH6Q")  # struct xe_trace_record
HOST = 0x10000  # node: a host, not a domain
STRUCT = 1 << 15
DOMIDS = {0x7FF0: "SELF", 0x7FF1: "IO", 0x7FF2: "XEN", 0x7FF3: "COW", 0x7FF4: "INVALID"}
PORT_STATES = ("closed", "unbound", "interdomain", "pirq", "virq", "ipi")
TCP_FLAGS = ((2, "SYN"), (1, "FIN"), (4, "RST"), (16, "ACK"))
DROPS = ("", "link", "no-route", "spoofed", "ssw-in", "ssw-out", "paused", "no-room")
FAULTS = ("runs", "panicked", "hangs", "stalls")
NAMED: dict[str, type[IntEnum]] = {
    "v": _abi.Virq, "r": _abi.Shutdown, "m": _abi.MmuextOp, "c": _abi.DomctlOp,
    "g": _abi.GrantStatus,
}  # fmt: skip


class Kind(IntEnum):
    """enum xe_trace_kind."""

    PACKET_IN = 1
    PACKET_OUT = 2
    HYPERCALL = 3
    WORK = 4
    FENCE = 5
    FAULT = 6
    PATH = 7
    DROP = 8
    FAKE = 9
    EVENT = 10


KINDS = ("hypercall", "event", "packet", "drop", "state", "vmm", "work")
KIND_OF = {
    Kind.PACKET_IN: "packet", Kind.PACKET_OUT: "packet", Kind.FAKE: "packet",
    Kind.HYPERCALL: "hypercall", Kind.FENCE: "state", Kind.FAULT: "state", Kind.PATH: "state",
    Kind.DROP: "drop", Kind.EVENT: "event", Kind.WORK: "work",
}  # fmt: skip
WORK_KIND = {WorkKind.UPCALL: "event", WorkKind.VMM: "vmm", WorkKind.WRAPPER: "vmm"}

Values = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One record. `time` in ns of the machine's clock, `kind` one of KINDS; `name` says what
    happened, `answers` are what a hypercall wrote back. `result`: of a hypercall, else None."""

    index: int
    time: int
    kind: str
    node: int
    vcpu: int
    name: str
    values: Values
    answers: Values
    result: int | None = None

    @property
    def domain(self) -> int | None:
        """The domain; None for a host."""
        return None if self.node & HOST else self.node

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        who: Values = {"host": self.node & ~HOST} if self.node & HOST else {"domain": self.node}
        out: dict[str, Any] = {"index": self.index, "time": self.time, "kind": self.kind, **who}
        if self.kind in ("hypercall", "event"):
            out["vcpu"] = self.vcpu
        out |= {"name": self.name, "values": self.values}
        if self.result is not None:
            out |= {"answers": self.answers, "result": self.result}
            if error := error_name(self.result):
                out["errno"] = error
        return out

    def line(self) -> str:
        """For people: seconds, domain and virtual CPU, what."""
        who = f"host{self.node & ~HOST}" if self.node & HOST else f"d{self.node}"
        if self.kind in ("hypercall", "event"):
            who += f"v{self.vcpu}"
        words = [self.name, *(f"{name}={value}" for name, value in self.values.items())]
        if self.result is not None:
            words.append(self._answer(self.result))
        return f"{self.time / 1e9:12.6f} {who:<6} {' '.join(words)}"

    def _answer(self, result: int) -> str:
        answers = " ".join(f"{name} {value}" for name, value in self.answers.items())
        if result == 0 and answers:
            return f"-> {answers}"
        error = error_name(result)
        shown = f"-{error}" if error else str(result)
        return f"= {shown} -> {answers}" if answers and not error else f"= {shown}"


def error_name(result: int) -> str:
    """The errno that a negative result is; "" for none."""
    return errno.errorcode.get(-result, "") if result < 0 else ""


def decode(first: int, records: bytes) -> Iterator[Decoded]:
    """The records of `core.trace_records`, the first of them with that index."""
    for index, fields in enumerate(RECORD.iter_unpack(records), first):
        time, node, kind, vcpu, nr, *a = fields
        if kind == Kind.HYPERCALL:
            name, values, answers, result = _hypercall(nr, a)
            yield Decoded(index, time, "hypercall", node, vcpu, name, values, answers, result)
        else:
            shown, name, values = _other(kind, a)
            yield Decoded(index, time, shown, node, vcpu, name, values, {})


# ---- hypercalls ----


def _hypercall(nr: int, a: list[int]) -> tuple[str, Values, Values, int]:
    result = _signed(a[5], 8)
    number = nr & ~STRUCT
    try:
        call = Hypercall(number)
    except ValueError:
        name = "hypercall" if number == STRUCT - 1 else f"hypercall_{number}"
        return name, {f"arg{i}": hex(value) for i, value in enumerate(a[:5]) if value}, {}, result
    shape = SHAPES.get(call, Shape(("arg1:x8", "arg2:x8", "arg3:x8", "arg4:x8", "arg5:x8")))
    name, values, answers = _struct(shape, a) if nr & STRUCT else _registers(shape, a)
    return f"{call.name} {name}".rstrip(), values, answers, result


def _registers(shape: Shape, a: list[int]) -> tuple[str, Values, Values]:
    layout = " ".join(shape.registers)
    values, _ = _fields(layout, struct.pack("=5Q", *a[:5]))
    if shape.ops is None:
        return "", values, {}
    values.pop("op")
    return _op_name(shape.ops, a[0]), values, {}


def _struct(shape: Shape, a: list[int]) -> tuple[str, Values, Values]:
    low, high = a[0] & 0xFFFFFFFF, a[0] >> 32
    seen = struct.pack("=3Q", *a[2:5])
    name = "" if shape.ops is None else _op_name(shape.ops, low)
    values: Values = {}
    if shape.low:
        values[shape.low] = low
    if shape.high:
        values[shape.high] = DOMIDS.get(high, high) if shape.high == "foreigndom" else high
    fields, answers = _fields(shape.layouts.get(name, shape.layout), seen)
    if OWN_NAME in fields:
        name = str(fields.pop(OWN_NAME))
        rest, answers = _fields(shape.layouts.get(name, ""), seen[16:])
        fields |= rest
    return name, fields | values if shape.low else values | fields, answers


def _op_name(ops: type[IntEnum], value: int) -> str:
    try:
        return ops(value).name.rstrip("_")
    except ValueError:
        return f"op_{value}"


def _fields(layout: str, data: bytes) -> tuple[Values, Values]:
    """The fields of a layout that `data` has, and those that are answers."""
    values: Values = {}
    answers: Values = {}
    for name, is_answer, kind, place in _places(layout):
        into = answers if is_answer else values
        into[name] = _value(kind, data[place])
    return values, answers


@cache
def _places(layout: str) -> tuple[tuple[str, bool, str, slice], ...]:
    """Name, whether it is an answer, kind and bytes of each field."""
    places = []
    at = 0
    for word in layout.split():
        if word.startswith("_"):
            at += int(word[1:])
            continue
        name, _, kind = word.partition(":")
        size = int(kind[1:])
        places.append((name.lstrip(">"), name.startswith(">"), kind[0], slice(at, at + size)))
        at += size
    return tuple(places)


def _value(kind: str, data: bytes) -> int | str:
    value = int.from_bytes(data, "little")
    if kind == "x":
        return hex(value)
    if kind in "ig":
        value = _signed(value, len(data))
    if kind == "d":
        return DOMIDS.get(value, value)
    if kind == "p":
        return PORT_STATES[value] if value < len(PORT_STATES) else value
    if kind == "t":
        return repr(data.split(b"\0")[0].decode("ascii", "backslashreplace"))
    if kind in NAMED:
        try:
            return NAMED[kind](value).name
        except ValueError:
            return value
    return value


def _signed(value: int, size: int) -> int:
    return value - (1 << size * 8) if value >> (size * 8 - 1) else value


# ---- the rest ----


def _other(kind: int, a: list[int]) -> tuple[str, str, Values]:
    try:
        what = Kind(kind)
    except ValueError:
        return "work", f"record_{kind}", {f"a{i}": hex(value) for i, value in enumerate(a)}
    if what in (Kind.PACKET_IN, Kind.PACKET_OUT, Kind.FAKE):
        return "packet", what.name.lower().replace("_", "-"), _packet(a)
    if what is Kind.WORK:
        return _work(a)
    values: Values = {}
    if what is Kind.EVENT:
        values["port"] = a[0]
        return "event", "pending", values
    if what is Kind.DROP:
        values["reason"] = DROPS[a[0]] if a[0] < len(DROPS) else a[0]
    elif what is Kind.FAULT:
        values["kernel"] = FAULTS[a[0]] if a[0] < len(FAULTS) else a[0]
    elif what is Kind.PATH:
        values["address"] = _address(a[0])
    return KIND_OF[what], what.name.lower(), values


def _packet(a: list[int]) -> Values:
    bits = a[0] >> 32
    flags = ",".join(name for bit, name in TCP_FLAGS if bits & bit)
    return {
        "from": (a[2] >> 16) & 0xFFFF,
        "to": f"{_address(a[2] >> 32)}:{a[2] & 0xFFFF}",
        "flags": flags,
        "seq": a[1] >> 32,
        "ack": a[1] & 0xFFFFFFFF,
        "payload": a[0] & 0xFFFFFFFF,
    }


def _work(a: list[int]) -> tuple[str, str, Values]:
    number, arg = a[0] >> 32, a[0] & 0xFFFFFFFF
    try:
        kind = WorkKind(number)
    except ValueError:
        return "work", f"work_{number}", {"arg": arg}
    shown = WORK_KIND.get(kind, "work")
    if kind is WorkKind.VMM:
        return shown, f"vmm {_op_name(VmmEvent, arg).lower()}", {"a": a[1]}
    if kind is WorkKind.WRAPPER:
        return shown, f"wrapper {_op_name(WrapperEvent, arg).lower()}", {"a": a[1], "b": a[2]}
    name = kind.name.lower()
    return shown, name, {"arg": arg} if arg else {}


def _address(value: int) -> str:
    return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))
