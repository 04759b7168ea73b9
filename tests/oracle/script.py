"""Scripts: sequences of hypercalls that run on real Xen and on xenemu alike.

A script works on 64 pages of a control domain and on variables. It is a list of operations; those
that show something give one line each, and two machines are compared line by line. Addresses are
the same on both, machine frames are not: a script names them (`mfn(3)`) and never shows them.

    s = Script()
    arg = s.put(3, 0, u16(SELF), u16(SELF), u32(0))
    s.call("alloc_unbound", 32, 6, arg)
    s.show("its port", 3, 4, 4)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

PAGE_SIZE = 4096
PAGES = 64
VIRT_BASE = 0xFFFF_8800_0000_0000
FIRST_PFN = 0x200  # of the pages; entry 0 of a level 1 table
VARIABLES = 256  # 0: result of the last call
MAX_DUMP = 512
MASK = 2**64 - 1
KINDS = ("", "va", "mfn", "pte", "v", "info")
SHARED_INFO = 0  # info(0): machine address of shared_info; info(1..4): frames of page 0's tables


def number(value: int) -> bytes:
    """Unsigned LEB128 of a 64-bit number."""
    value &= MASK
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Expr:
    """(base << shift) + add, modulo 2**64."""

    kind: str = ""
    index: int = 0
    shift: int = 0
    add: int = 0

    def __add__(self, other: int) -> Expr:
        return replace(self, add=(self.add + other) & MASK)

    def __lshift__(self, bits: int) -> Expr:
        return replace(self, shift=self.shift + bits, add=self.add << bits & MASK)

    def __str__(self) -> str:
        if not self.kind:
            return f"{self.add:#x}"
        shift = f"<<{self.shift}" if self.shift else ""
        add = f"+{self.add:#x}" if self.add else ""
        return f"{self.kind}({self.index}){shift}{add}"

    def encode(self) -> bytes:
        return b"".join(map(number, (KINDS.index(self.kind), self.index, self.shift, self.add)))


Value = Expr | int


def expr(value: Value) -> Expr:
    return value if isinstance(value, Expr) else Expr(add=value & MASK)


def va(page: int, offset: int = 0) -> Expr:
    return Expr("va", page, add=offset & MASK)


def mfn(page: int) -> Expr:
    return Expr("mfn", page)


def pte(page: int) -> Expr:
    """Machine address of the level 1 entry that maps the page."""
    return Expr("pte", page)


def var(index: int) -> Expr:
    return Expr("v", index)


def info(index: int) -> Expr:
    return Expr("info", index)


def table(level: int) -> Expr:
    """Frame of the table of this level that maps the pages."""
    return info(level)


class Op:
    """One operation."""

    __slots__ = ()

    def encode(self) -> bytes:
        raise NotImplementedError


class Shown(Op):
    """One that gives a line."""

    __slots__ = ()
    label: str


@dataclass(frozen=True, slots=True)
class Vcpus(Op):
    """The first operation, if any: how many virtual CPUs the domain has. Only the first runs."""

    n: int

    def __str__(self) -> str:
        return f"vcpus {self.n}"

    def encode(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Write(Op):
    page: int
    offset: int
    data: bytes

    def __str__(self) -> str:
        return f"write {self.page}+{self.offset:#x} {self.data.hex()}"

    def encode(self) -> bytes:
        head = (1, self.page, self.offset, len(self.data))
        return b"".join(map(number, head)) + self.data


@dataclass(frozen=True, slots=True)
class Store(Op):
    width: int
    page: int
    offset: int
    value: Expr

    def __str__(self) -> str:
        return f"u{8 * self.width} {self.page}+{self.offset:#x} {self.value}"

    def encode(self) -> bytes:
        head = (2, self.width, self.page, self.offset)
        return b"".join(map(number, head)) + self.value.encode()


@dataclass(frozen=True, slots=True)
class Call(Shown):
    label: str
    nr: int
    args: tuple[Expr, ...]
    most: int = 0  # more than 0: again and again until it fails

    def __str__(self) -> str:
        head = f"repeat {self.most}" if self.most else "call"
        return " ".join([head, str(self.nr), *map(str, self.args)])

    def encode(self) -> bytes:
        head = (4, self.most, self.nr) if self.most else (3, self.nr)
        args = (*self.args, *[Expr()] * (5 - len(self.args)))
        return b"".join(map(number, head)) + b"".join(a.encode() for a in args)


@dataclass(frozen=True, slots=True)
class Load(Op):
    var: int
    width: int
    page: int
    offset: int

    def __str__(self) -> str:
        return f"load v({self.var}) u{8 * self.width} {self.page}+{self.offset:#x}"

    def encode(self) -> bytes:
        return b"".join(map(number, (5, self.var, self.width, self.page, self.offset)))


@dataclass(frozen=True, slots=True)
class Show(Shown):
    label: str
    width: int
    page: int
    offset: int
    mask: int = MASK

    def __str__(self) -> str:
        mask = f" & {self.mask:#x}" if self.mask != MASK else ""
        return f"show u{8 * self.width} {self.page}+{self.offset:#x}{mask}"

    def encode(self) -> bytes:
        return b"".join(map(number, (6, self.width, self.page, self.offset, self.mask)))


@dataclass(frozen=True, slots=True)
class Dump(Shown):
    label: str
    page: int
    offset: int
    size: int

    def __str__(self) -> str:
        return f"dump {self.page}+{self.offset:#x} {self.size}"

    def encode(self) -> bytes:
        return b"".join(map(number, (7, self.page, self.offset, self.size)))


CALCULATIONS: dict[str, Callable[[int, int], int]] = {
    "^": lambda a, b: a ^ b,
    "&": lambda a, b: a & b,
    "-": lambda a, b: a - b & MASK,
    "+": lambda a, b: a + b & MASK,
}


@dataclass(frozen=True, slots=True)
class Calc(Op):
    var: int
    a: Expr
    sign: str
    b: Expr

    def __str__(self) -> str:
        return f"let v({self.var}) = {self.a} {self.sign} {self.b}"

    def encode(self) -> bytes:
        head = (8, self.var, ord(self.sign))
        return b"".join(map(number, head)) + self.a.encode() + self.b.encode()


@dataclass(frozen=True, slots=True)
class Print(Shown):
    label: str
    value: Expr

    def __str__(self) -> str:
        return f"print {self.value}"

    def encode(self) -> bytes:
        return number(9) + self.value.encode()


@dataclass(frozen=True, slots=True)
class Field:
    """A number of `width` bytes in a struct."""

    width: int
    value: Value


def u8(value: Value) -> Field:
    return Field(1, value)


def u16(value: Value) -> Field:
    return Field(2, value)


def u32(value: Value) -> Field:
    return Field(4, value)


def u64(value: Value) -> Field:
    return Field(8, value)


@dataclass
class Script:
    """A list of operations, and the way to write one."""

    ops: list[Op] = field(default_factory=list)

    @property
    def vcpus(self) -> int:
        first = self.ops[0] if self.ops else None
        return first.n if isinstance(first, Vcpus) else 1

    def shown(self) -> Iterator[Shown]:
        """The operations that give a line, in order."""
        return (op for op in self.ops if isinstance(op, Shown))

    def encode(self, *, at_once: bool = False) -> bytes:
        """What the guest reads. `at_once`: it flushes each line."""
        return bytes([at_once]) + b"".join(op.encode() for op in self.ops) + b"\0"

    def write(self, page: int, offset: int, data: bytes) -> None:
        assert 0 <= page < PAGES and 0 <= offset <= offset + len(data) <= PAGE_SIZE
        self.ops.append(Write(page, offset, data))

    def put(self, page: int, offset: int, *fields: Field) -> Expr:
        """Packs a struct; its address. Runs of plain numbers become one write."""
        start, plain = offset, b""
        for f in fields:
            if isinstance(f.value, int):
                plain += (f.value & (1 << 8 * f.width) - 1).to_bytes(f.width, "little")
                offset += f.width
                continue
            if plain:
                self.write(page, offset - len(plain), plain)
                plain = b""
            self.ops.append(Store(f.width, page, offset, f.value))
            offset += f.width
        if plain:
            self.write(page, offset - len(plain), plain)
        return va(page, start)

    def call(self, label: str, nr: int, *args: Value, most: int = 0) -> None:
        """A hypercall; shows its result. `most`: until it fails, shows how often it did not."""
        self.ops.append(Call(label, nr, tuple(map(expr, args)), most))

    def load(self, index: int, page: int, offset: int, width: int = 8) -> Expr:
        self.ops.append(Load(index, width, page, offset))
        return var(index)

    def show(self, label: str, page: int, offset: int, width: int = 8, mask: int = MASK) -> None:
        self.ops.append(Show(label, width, page, offset, mask))

    def dump(self, label: str, page: int, offset: int, size: int) -> None:
        assert 0 < size <= MAX_DUMP and offset + size <= PAGE_SIZE
        self.ops.append(Dump(label, page, offset, size))

    def let(self, index: int, a: Value, sign: str = "+", b: Value = 0) -> Expr:
        self.ops.append(Calc(index, expr(a), sign, expr(b)))
        return var(index)

    def print(self, label: str, value: Value) -> None:
        self.ops.append(Print(label, expr(value)))
