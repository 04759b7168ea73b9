"""Scripts as text, with the answers beside the questions.

    # bind_interdomain to a free port
    write 3+0x0 f07f00003c00000000000000
    call 32 0x0 va(3) -> -22  # bind_interdomain free port
    show u32 3+0x8 -> 0x0  # its local port

One operation a line; those that show something may have `-> answer` (`?`: depends on the machine,
not compared) and a label after `#`. A line that begins with `#` says something to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from oracle.script import (
    KINDS,
    MASK,
    Calc,
    Call,
    Dump,
    Expr,
    Load,
    Op,
    Print,
    Script,
    Show,
    Shown,
    Store,
    Vcpus,
    Write,
)

ANY = "?"
NUMBER = r"(?:0x[0-9a-f]+|\d+)"
EXPR = re.compile(rf"(?:({'|'.join(filter(None, KINDS))})\((\d+)\)(?:<<(\d+))?\+?)?({NUMBER})?")
PLACE = re.compile(rf"(\d+)\+({NUMBER})")


@dataclass(frozen=True, slots=True)
class Line:
    """An operation and its answer; without an operation, a comment."""

    op: Op | None
    answer: str | None = None
    comment: str = ""

    def __str__(self) -> str:
        if self.op is None:
            return f"# {self.comment}".rstrip()
        answer = f" -> {self.answer}" if self.answer is not None else ""
        label = f"  # {self.op.label}" if isinstance(self.op, Shown) and self.op.label else ""
        return f"{self.op}{answer}{label}"


def with_answers(ops: Iterable[Op], answers: Iterable[str]) -> Iterator[Line]:
    """Pairs the operations that show something with their answers, as far as those go."""
    left = iter(answers)
    for op in ops:
        yield Line(op, next(left, None) if isinstance(op, Shown) else None)


def parse_expr(text: str) -> Expr:
    found = EXPR.fullmatch(text)
    if not text or not found:
        raise ValueError(f"no expression: {text}")
    kind, index, shift, add = found.groups()
    return Expr(kind or "", int(index or 0), int(shift or 0), int(add or "0", 0))


def parse_place(text: str) -> tuple[int, int]:
    found = PLACE.fullmatch(text)
    if not found:
        raise ValueError(f"no place: {text}")
    return int(found[1]), int(found[2], 0)


def parse_width(text: str) -> int:
    if text not in ("u8", "u16", "u32", "u64"):
        raise ValueError(f"no width: {text}")
    return int(text[1:]) // 8


def parse_op(text: str, label: str) -> Op:
    """ValueError."""
    word, *rest = text.split()
    match word, rest:
        case "vcpus", [n]:
            return Vcpus(int(n))
        case "write", [place, data]:
            return Write(*parse_place(place), bytes.fromhex(data))
        case "call", [nr, *args]:
            return Call(label, int(nr), tuple(map(parse_expr, args)))
        case "repeat", [most, nr, *args]:
            return Call(label, int(nr), tuple(map(parse_expr, args)), int(most))
        case "load", [name, width, place]:
            return Load(parse_expr(name).index, parse_width(width), *parse_place(place))
        case "show", [width, place]:
            return Show(label, parse_width(width), *parse_place(place), MASK)
        case "show", [width, place, "&", mask]:
            return Show(label, parse_width(width), *parse_place(place), int(mask, 0))
        case "dump", [place, size]:
            return Dump(label, *parse_place(place), int(size))
        case "let", [name, "=", a, sign, b]:
            return Calc(parse_expr(name).index, parse_expr(a), sign, parse_expr(b))
        case "print", [value]:
            return Print(label, parse_expr(value))
        case _, [place, value]:
            return Store(parse_width(word), *parse_place(place), parse_expr(value))
    raise ValueError(f"no operation: {text}")


def parse(text: str) -> list[Line]:
    """ValueError names the line."""
    lines = []
    for n, raw in enumerate(text.splitlines(), 1):
        code, _, comment = map(str.strip, raw.partition("#"))
        if not code:
            if comment:
                lines.append(Line(None, comment=comment))
            continue
        code, arrow, answer = map(str.strip, code.partition("->"))
        try:
            lines.append(Line(parse_op(code, comment), answer if arrow else None))
        except ValueError as e:
            raise ValueError(f"line {n}: {e}") from None
    return lines


def render(lines: Iterable[Line]) -> str:
    return "".join(f"{line}\n" for line in lines)


def script_of(lines: Iterable[Line]) -> Script:
    return Script([line.op for line in lines if line.op is not None])
