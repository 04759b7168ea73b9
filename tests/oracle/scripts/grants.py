"""grant_table_op, version 1: entries and mappings of each kind, their pins, handles, lists."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, Value, mfn, pte, u16, u32, u64, va
from oracle.topics.base import ABSENT, ARG, ARRAY, BAD, BUFFER, DATA, GRANT_TABLE_OP, SELF, TABLE
from oracle.topics.grants import REFS, Grants

FRAME = mfn(DATA[0])
WHERE = 32  # page at which grants are mapped
ENTRY_FLAGS = (0, 1, 2, 3, 4, 5, 9, 0x19, 0x11, 0x21, 0x41, 0x81, 0x101, 0x8001)
MAP_FLAGS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 18, 32, 34, 64, 66, 2**16 | 2, 2**31 | 2)


class Writer(Grants):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.prologue()

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def host_address(self, page: int) -> Value:
        return va(page)

    def set(self, ref: int, flags: int, domid: int = 0, frame: Value = FRAME) -> None:
        self.s.put(TABLE, ref * 8, u16(flags), u16(domid), u32(frame))

    def map_ref(
        self, label: str, ref: int, flags: int, *, domid: int = 0, at: Value | None = None
    ) -> None:
        where = va(WHERE) if at is None else at
        self.op(
            f"map {label}",
            0,
            1,
            *(u64(where), u32(flags), u32(ref), u16(domid), u16(0xEEEE), u32(2**32 - 1)),
            u64(2**64 - 1),
        )
        self.s.show("status", ARG, 0x52, 2)
        self.s.show("handle", ARG, 0x54, 4)
        self.s.show("dev_bus_addr", ARG, 0x58, 8, 0xFFF)
        self.show_ref(ref)
        self.show_entry(WHERE)

    def unmap_handle(self, label: str, handle: Value, at: Value, bus: Value = 0) -> None:
        self.op(f"unmap {label}", 1, 1, u64(at), u64(bus), u32(handle), u16(0xEEEE), u16(0))
        self.s.show("status", ARG, 0x54, 2)
        self.s.show("flags", TABLE, 64, 4)
        self.show_entry(WHERE)

    def undo(self) -> None:
        """Whatever was mapped last."""
        handle = self.s.load(100, ARG, 0x54, 4)
        self.unmap_handle("device", handle, 0, mfn(DATA[0]) << 12)
        self.unmap_handle("host", handle, va(WHERE))
        self.map_back(WHERE)


def grants() -> Script:
    w = Writer()
    for entry in ENTRY_FLAGS:
        for flags in (2, 6, 3, 1):
            w.set(8, entry)
            w.map_ref(f"{entry:#x} by {flags:#x}", 8, flags)
            w.undo()
    for flags in MAP_FLAGS:
        for entry in (1, 5):
            w.set(8, entry)
            w.map_ref(f"{entry:#x} by {flags:#x}", 8, flags, at=pte(WHERE) if flags & 16 else None)
            w.undo()
    owners(w)
    pins(w)
    handles(w)
    lists(w)
    copies(w)
    swaps(w)
    tables(w)
    refused(w)
    return w.s


def owners(w: Writer) -> None:
    """Whom it is granted to, by whom, and what."""
    for domid in (0, 1, 3, SELF, ABSENT, 0x7FF1, 0xFFFF):
        w.set(8, 1, domid)
        w.map_ref(f"granted to {domid:#x}", 8, 2)
        w.undo()
        w.set(8, 1)
        w.map_ref(f"granted by {domid:#x}", 8, 2, domid=domid)
        w.undo()
    for frame in (2**31, 2**32 - 1, mfn(WHERE), mfn(DATA[1])):
        w.set(8, 1, 0, frame)
        w.map_ref("of a frame", 8, 2)
        w.undo()
    for ref in (0, 7, 511, 512, 1023, 1024, 4095, 4096, 2**31, 2**32 - 1):
        w.map_ref(f"ref {ref}", ref, 2)
        w.undo()
    w.set(8, 1)
    for at in (va(WHERE, 8), va(WHERE, -8), Expr(add=BAD), Expr(add=0xFFFF_8300_0000_0000), Expr()):
        w.map_ref("at an address", 8, 2, at=at)
        w.undo()
    entries = (pte(WHERE) + 4, pte(WHERE) + 1, mfn(WHERE) << 12, Expr(add=2**52), Expr())
    for at in entries:
        w.map_ref("at an entry", 8, 18, at=at)
        w.undo()


def pins(w: Writer) -> None:
    """One entry mapped many times; its flags and the frame's state while they go."""
    w.set(8, 1)
    for page, flags in ((32, 2), (33, 6), (34, 7), (35, 3), (32, 6)):
        w.map_ref(f"at {page} by {flags}", 8, flags, at=va(page))
        w.s.load(110 + page - 32, ARG, 0x54, 4)
    w.set(8, 5)
    w.map_ref("read-only now", 8, 2, at=va(36))
    w.map_ref("read-only now", 8, 6, at=va(36))
    handle = w.s.load(115, ARG, 0x54, 4)
    w.unmap_handle("at another's", handle, va(33))
    w.unmap_handle("of another", w.s.let(116, Expr("v", 111)), va(36))
    for page in (33, 32, 35, 34, 36):
        held = Expr("v", 110 + page - 32) if page < 36 else handle
        w.unmap_handle(f"at {page}", held, va(page))
        w.unmap_handle(f"at {page} again", held, va(page))
        w.unmap_handle(f"at {page} device", held, 0, mfn(DATA[0]) << 12)
        w.map_back(page)


def handles(w: Writer) -> None:
    """Which numbers they have: the last that was freed is the next."""
    for ref in REFS:
        w.set(ref, 1)
    for n, page in enumerate(range(32, 40)):
        w.map_ref("for a handle", REFS[n], 2, at=va(page))
        w.s.load(120 + n, ARG, 0x54, 4)
    for n in (3, 1, 6, 1):
        w.unmap_handle(f"number {n}", Expr("v", 120 + n), va(32 + n))
    for n in (1, 3, 6):
        w.map_ref("for a handle", REFS[n], 2, at=va(32 + n))
        w.s.load(120 + n, ARG, 0x54, 4)
    for n in range(8):
        w.unmap_handle(f"number {n}", Expr("v", 120 + n), va(32 + n))
        w.map_back(32 + n)


def lists(w: Writer) -> None:
    """Several operations in one call; a bad one, or a bad address, among them."""
    w.set(8, 1)
    for n, (ref, flags) in enumerate(((8, 2), (9999, 2), (8, 6), (8, 0))):
        fields = (u32(flags), u32(ref), u16(0), u16(0xEEEE), u32(0xEEEE), u64(0))
        w.s.put(BUFFER, 32 * n, u64(va(32 + n)), *fields)
    for count in (4, 0, 2**32 + 1, 2**31, 2**32 - 1):
        w.s.call(f"map {count}", GRANT_TABLE_OP, 0, va(BUFFER), count)
        for n in range(4):
            w.s.show("status", BUFFER, 32 * n + 18, 2)
            w.s.show("handle", BUFFER, 32 * n + 20, 4)
        w.show_ref(8)
    for n in range(4):
        w.s.load(130, BUFFER, 32 * n + 20, 4)
        w.unmap_handle("one", Expr("v", 130), va(32 + n))
        w.map_back(32 + n)
    w.s.write(7, 0, bytes(4096))
    w.s.call("no page behind", 14, va(8), 0, 2)
    for n in range(2):
        fields = (u32(2), u32(8), u16(0), u16(0xEEEE), u32(0xEEEE), u64(0))
        w.s.put(7, 4032 + 32 * n, u64(va(33 + n)), *fields)
    w.s.call("map 3, the last not there", GRANT_TABLE_OP, 0, va(7, 4032), 3)
    w.s.dump("status and handle", 7, 4032 + 18, 6)
    w.show_ref(8)
    w.map_back(8)


def copies(w: Writer) -> None:
    for ref, flags, domid in ((8, 1, 0), (9, 5, 0), (10, 1, 3), (11, 0, 0), (12, 9, 0), (13, 2, 0)):
        w.set(ref, flags, domid, mfn(20))
    w.s.write(20, 0, bytes(range(256)))
    ends = [(u64(mfn(21)), 0), (u64(2**40), 0), *[(u64(ref), 1) for ref in (8, 9, 10, 11, 12, 13)]]
    for n, (source, s_ref) in enumerate(ends):
        for m, (dest, d_ref) in enumerate(ends):
            one_copy(w, f"{n} to {m}", source, dest, s_ref | d_ref << 1)
            w.s.dump("copied", 20, 64, 8)
    places = ((0, 0, 0), (0, 0, 4096), (1, 0, 4096), (0, 4095, 1), (4095, 0, 2), (0, 0, 4097))
    for offset, to, n in (*places, (4096, 0, 0), (0, 4096, 0), (65535, 0, 1), (0, 0, 65535)):
        one_copy(w, f"{n} at {offset} to {to}", u64(mfn(20)), u64(mfn(21)), 0, offset, to, n)
    w.s.dump("copied", 21, 0, 64)
    for flags in range(16):
        source, dest = (u64(8 if flags & bit else mfn(20)) for bit in (1, 2))
        one_copy(w, f"flags {flags}", source, dest, flags)
    for domid in (0, SELF, 1, ABSENT, 0x7FF1, 0x7FF2):
        one_copy(w, f"from {domid:#x}", u64(mfn(20)), u64(mfn(21)), 0, domids=(domid, SELF))
        one_copy(w, f"into {domid:#x}", u64(mfn(20)), u64(mfn(21)), 0, domids=(SELF, domid))
        one_copy(w, f"ref of {domid:#x}", u64(8), u64(mfn(21)), 1, domids=(domid, SELF))


def one_copy(
    w: Writer,
    label: str,
    source: Field,
    dest: Field,
    flags: int,
    offset: int = 0,
    to: int = 64,
    n: int = 8,
    domids: tuple[int, int] | None = None,
) -> None:
    usual = tuple(0 if flags & bit else SELF for bit in (1, 2))
    a, b = domids or usual
    ends = (source, u16(a), u16(offset), u32(0), dest, u16(b), u16(to), u32(0))
    w.op(f"copy {label}", 5, 1, *ends, u16(n), u16(flags), u16(0xEEEE), u16(0))
    w.s.show("status", ARG, 0x64, 2)
    for ref in (8, 9):
        w.show_ref(ref)


def swaps(w: Writer) -> None:
    w.set(8, 1)
    w.set(9, 5)
    w.map_ref("held", 8, 2)
    for a, b in ((8, 9), (9, 10), (10, 10), (8, 8), (10, 1024), (2**32 - 1, 9), (0, 7), (9, 600)):
        w.op(f"swap {a} {b}", 11, 1, u32(a), u32(b), u16(0xEEEE), u16(0))
        w.s.show("status", ARG, 0x48, 2)
        for ref in (8, 9, 10):
            w.show_ref(ref)
    w.map_ref("held", 8, 2)
    w.undo()


def tables(w: Writer) -> None:
    """Sizes; what setup_table does with its list."""
    for domid in (SELF, 0, 1, ABSENT, 0x7FF1, 0xFFFF):
        head = (u16(domid), u16(0xAAAA), u32(99), u32(99))
        w.op(f"query_size {domid:#x}", 6, 1, *head, u16(0xEEEE), u16(0xBBBB))
        w.s.dump("struct", ARG, 0x40, 16)
        w.op(f"get_version {domid:#x}", 10, 1, u16(domid), u16(0xAAAA), u32(99))
        w.s.dump("struct", ARG, 0x40, 8)
    for domid in (SELF, 1, ABSENT):
        for n in (0, 1, 3, 8, 9, 2**31, 2**32 - 1):
            size = (u16(domid), u16(0xAAAA), u32(n), u16(0xEEEE), u16(0), u32(0))
            w.op(f"setup_table {domid:#x} {n}", 2, 1, *size, u64(va(ARRAY)))
            w.s.show("status", ARG, 0x48, 2)
            w.op("query_size", 6, 1, u16(domid), u16(0), u32(99), u32(99), u16(0), u16(0))
            w.s.dump("struct", ARG, 0x40, 16)
    size = (u16(SELF), u16(0), u32(2), u16(0xEEEE), u16(0), u32(0))
    w.op("setup_table, bad list", 2, 1, *size, u64(BAD))
    w.s.show("status", ARG, 0x48, 2)


def refused(w: Writer) -> None:
    for cmd in (*range(14), 99, 2**31, 2**32 - 1, 2**32, 2**63):
        if cmd == 3:  # dump_table writes on Xen's console
            continue
        for count in (1, 0, 2**31, 2**32 - 1, 2**32):
            w.s.call(f"operation {cmd:#x} count {count:#x}", GRANT_TABLE_OP, cmd, BAD, count)
    for version in (0, 1, 3, 2**32 - 1):
        w.op(f"set_version {version}", 8, 1, u32(version))
        w.s.dump("struct", ARG, 0x40, 4)
    for domid in (0, SELF, 1, ABSENT):
        for frame in (mfn(22), Expr(add=2**40)):
            for ref in (8, 1024):
                fields = (u64(frame), u16(domid), u16(0), u32(ref), u16(0xEEEE), u16(0))
                if domid in (0, SELF, ABSENT):
                    w.op(f"transfer {domid:#x} {ref}", 4, 1, *fields)
                    w.s.show("status", ARG, 0x50, 2)
    for page, other in ((32, 33), (32, 32)):
        w.set(8, 1)
        w.map_ref("to replace", 8, 2)
        held = w.s.load(140, ARG, 0x54, 4)
        for at, by in ((va(34), va(other)), (va(page), Expr(add=BAD)), (va(page), va(other))):
            w.op("unmap_and_replace", 7, 1, u64(at), u64(by), u32(held), u16(0xEEEE), u16(0))
            w.s.show("status", ARG, 0x54, 2)
            w.show_ref(8)
            w.show_entry(page)
            w.show_entry(other)
        w.unmap_handle("after", held, va(page))
        w.map_back(32)
        w.map_back(33)
