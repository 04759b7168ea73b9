"""mmu_update, mmuext_op, update_va_mapping: a tower of tables, and each flag at each level."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, Value, mfn, pte, table, u32, u64, va
from oracle.topics.base import (
    ABSENT,
    ARG,
    BAD,
    BUFFER,
    DATA,
    IO,
    MAPPING_OTHERDOMAIN,
    MMU_UPDATE,
    MMUEXT_OP,
    PTE_FLAGS,
    RO,
    RW,
    SELF,
    UPDATE_VA_MAPPING,
    XEN,
)
from oracle.topics.mmu import Mmu

L1, L2, L3, L4 = 32, 33, 34, 35  # pages that are made tables
OTHER, PLAIN = 36, 37
NEW_BASEPTR, SET_LDT, NEW_USER_BASEPTR, UNPIN = 5, 13, 15, 4
OTHERS = (ABSENT, 0, 1, IO, XEN, 0x7FF4, 0xFFFF, SELF | 1 << 16, SELF | 2 << 16, SELF | 78 << 16)


class Writer(Mmu):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.prologue()
        self.create_domain(1, 256, 1)

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def protect_page(self, page: int, flags: int = RO) -> None:
        entry = (mfn(page) << 12) + flags
        self.s.call(f"page {page} by {flags:#x}", UPDATE_VA_MAPPING, va(page), entry, 2)

    def pin_page(self, page: int, level: int, domid: int = SELF) -> None:
        self.s.call(
            f"pin {page} as level {level}",
            MMUEXT_OP,
            self.arg(u32(level - 1), u32(0), u64(mfn(page)), u64(0)),
            *(1, 0, domid),
        )

    def unpin_page(self, page: int) -> None:
        self.ext(UNPIN, mfn(page), 0)

    def link(self, page: int, slot: int, to: Value, flags: int, low: int = 0) -> None:
        entry = (to << 12) + flags if isinstance(to, Expr) else to
        self.update((mfn(page) << 12) + (8 * slot + low), entry)

    def see(self, page: int, *slots: int) -> None:
        self.flush_tlb()
        for slot in slots:
            self.s.show(f"entry {slot} of page {page}", page, 8 * slot, 8, PTE_FLAGS)


def mmu() -> Script:
    w = Writer()
    tower(w)
    flags(w)
    wrong_uses(w)
    new_roots(w)
    mappings(w)
    updates(w)
    extended(w)
    return w.s


def build(w: Writer) -> None:
    """L4 -> L3 -> L2 -> L1 -> a data page, nothing pinned yet."""
    for page in (L1, L2, L3, L4, OTHER):
        w.protect_page(page)
    w.protect_page(PLAIN, RW)
    w.link(L1, 1, mfn(DATA[0]), RW)
    for upper, lower in ((L2, L1), (L3, L2), (L4, L3)):
        w.link(upper, 2, mfn(lower), RW)


def tear_down(w: Writer) -> None:
    for page in (L4, L3, L2, L1, OTHER):
        w.unpin_page(page)
    for page in (L4, L3, L2, L1, OTHER):
        for slot in (0, 1, 2, 3, 511):
            w.link(page, slot, 0, 0)
        w.protect_page(page, RW)
    for page in (L4, L3, L2, L1, OTHER):
        for slot in (0, 1, 2, 3, *range(256, 272), 511):
            w.s.put(page, 8 * slot, u64(0))


def tower(w: Writer) -> None:
    """Pinned from above, from below, and unpinned in each order."""
    build(w)
    for page, level in ((L4, 4), (L1, 1), (L2, 2), (L3, 3), (L4, 4)):
        w.pin_page(page, level)
        for other in (L1, L2, L3, L4):
            w.protect_page(other, RW)
    for page in (L1, L3, L2, L4, L4):
        w.unpin_page(page)
        for other in (L1, L2, L3, L4):
            w.protect_page(other, RW)
            w.protect_page(other)
    for page, level in ((L2, 2), (L1, 2), (L1, 1), (L3, 2), (L3, 4), (L3, 3), (L2, 3)):
        w.pin_page(page, level)
    w.link(L3, 2, 0, 0)
    w.unpin_page(L2)
    w.protect_page(L2, RW)
    w.protect_page(L1, RW)
    w.unpin_page(L1)
    w.protect_page(L1, RW)
    tear_down(w)


def flags(w: Writer) -> None:
    """Each bit of an entry, at each level, of a table that is validated."""
    build(w)
    for page, level in ((L1, 1), (L2, 2), (L3, 3)):
        w.pin_page(page, level)
    w.pin_page(L4, 4)
    w.protect_page(OTHER)
    bits = (*range(1, 12), *range(52, 64))
    targets = {L1: mfn(DATA[1]), L2: mfn(L1), L3: mfn(L2), L4: mfn(L3)}
    for page, to in targets.items():
        for bit in bits:
            w.link(page, 3, to, RW ^ 1 << bit)
            w.see(page, 3)
            w.link(page, 3, to, 1 << bit)
            w.see(page, 3)
        w.link(page, 3, 0, 0)
    for page in targets:
        for slot in (255, 256, 260, 271, 272, 511):
            w.link(page, slot, targets[page], RW)
            w.see(page, *([] if page == L4 and 256 <= slot < 272 else [slot]))
            w.link(page, slot, 0, 0)
    tear_down(w)


def wrong_uses(w: Writer) -> None:
    """Tables where others belong, twice, in themselves; frames that are not there."""
    build(w)
    for page, level in ((L1, 1), (L2, 2), (L3, 3)):
        w.pin_page(page, level)
    for page in (L1, L2, L3):
        for to in (mfn(L1), mfn(L2), mfn(L3), mfn(OTHER), mfn(PLAIN), mfn(page), table(4)):
            for flag in (RW, RO, 1):
                w.link(page, 0, to, flag)
                w.see(page, 0)
        if page != L1:
            w.link(page, 0, Expr(add=2**30), RW)
            w.see(page, 0)
        w.link(page, 0, 0, 0)
    w.link(L2, 0, mfn(L1), RW)
    w.link(L2, 1, mfn(L1), RW)
    w.unpin_page(L1)
    w.link(L2, 0, 0, 0)
    w.protect_page(L1, RW)
    for low in range(1, 8):
        w.link(L1, 1, mfn(DATA[2]), RW, low)
        w.see(L1, 1)
    tear_down(w)


def new_roots(w: Writer) -> None:
    """A root of ours that has what the first has: in use, it can't be unpinned away."""
    w.ext(17, mfn(L4), table(4))
    w.ext(NEW_BASEPTR, mfn(L4), 0)
    w.protect_page(L4)
    w.ext(NEW_BASEPTR, mfn(L4), 0)
    w.pin_page(L4, 4)
    w.protect_page(L4, RW)
    w.unpin_page(L4)
    w.unpin_page(L4)
    w.protect_page(L4, RW)
    w.ext(NEW_BASEPTR, mfn(PLAIN), 0)
    w.ext(NEW_BASEPTR, Expr(add=2**40), 0)
    w.ext(NEW_BASEPTR, table(4), 0)
    w.protect_page(L4, RW)
    w.ext(17, mfn(L4), mfn(DATA[5]))
    for frame in (mfn(PLAIN), Expr(add=2**40), Expr()):
        w.ext(NEW_USER_BASEPTR, frame, 0)
    w.protect_page(L4)
    for slot in range(256, 272):
        w.s.put(L4, 8 * slot, u64(0))
    w.ext(NEW_USER_BASEPTR, mfn(L4), 0)
    w.protect_page(L4, RW)
    w.ext(NEW_USER_BASEPTR, mfn(L4), 0)
    w.ext(NEW_USER_BASEPTR, 0, 0)
    w.protect_page(L4, RW)
    for slot in range(256, 272):
        w.s.put(L4, 8 * slot, u64(0))


def mappings(w: Writer) -> None:
    entry = (mfn(PLAIN) << 12) + RW
    for how in (*range(12), 2**31, 2**63):
        w.s.call(f"how {how:#x}", UPDATE_VA_MAPPING, va(PLAIN), entry, how)
    for how in range(8):
        for mask in (va(BUFFER), Expr(add=BAD)):
            w.s.call(f"how {how} with a mask", UPDATE_VA_MAPPING, va(PLAIN), entry, mask + how)
    places = (0, 0x7FFF_FFFF_F000, 2**47, 2**63, BAD, 0xFFFF_8000_0000_0000, 0xFFFF_8300_0000_0000)
    for place in (*places, 0xFFFF_87FF_FFFF_F000, 0xFFFF_8800_4000_0000, 0xFFFF_FFFF_FFFF_F000):
        w.s.call(f"at {place:#x}", UPDATE_VA_MAPPING, place, entry, 2)
        w.s.call(f"at {place:#x}, none", UPDATE_VA_MAPPING, place, 0, 2)
    for domid in (SELF, *OTHERS):
        label = f"for {domid:#x}"
        for value in (entry, 0, (mfn(DATA[0]) << 12) + RO):
            w.s.call(label, MAPPING_OTHERDOMAIN, va(PLAIN), value, 2, domid)
        w.show_entry(PLAIN)
    w.protect_page(PLAIN, RW)
    for bit in (*range(12), *range(52, 64)):
        w.s.call(f"bit {bit}", UPDATE_VA_MAPPING, va(PLAIN), entry + (1 << bit), 2)
        w.show_entry(PLAIN)
        w.protect_page(PLAIN, RW)


def updates(w: Writer) -> None:
    """Lists: how many were done, what becomes of a bad one, whose they are."""
    for low in range(8):
        w.update(pte(PLAIN) + low, (mfn(PLAIN) << 12) + RW)
        w.show_entry(PLAIN)
        w.update((mfn(PLAIN) << 12) + low, 8)
        w.s.show("data page", PLAIN, 0, 8)
    w.update(pte(PLAIN), (mfn(PLAIN) << 12) + RW)
    for value in (0, 5, 2**31, 2**40):
        w.update((mfn(PLAIN) << 12) + 1, value)
    for ptr in (Expr(add=2**52), Expr(add=2**63), Expr(add=2**52 + 1), Expr(add=2**40)):
        w.update(ptr, 0)
    for domid in (SELF, *OTHERS, 2**31, 2**32 | SELF, SELF << 16 | SELF):
        w.update(pte(PLAIN), (mfn(PLAIN) << 12) + RW, domid)
        w.update((mfn(PLAIN) << 12) + 1, 0, domid)
    good = (u64(pte(PLAIN)), u64((mfn(PLAIN) << 12) + RW))
    bad = (u64(2**52), u64(0))
    for n, entries in enumerate(((good, good, good), (good, bad, good), (bad, good, good))):
        flat = [f for e in entries for f in e]
        for count in (3, 2, 0, 2**31, 2**31 | 3, 2**32 | 2, 2**63):
            for done in (va(BUFFER), Expr(), Expr(add=BAD)):
                w.s.put(BUFFER, 0, u32(77))
                w.s.call(f"list {n} of {count:#x}", MMU_UPDATE, w.arg(*flat), count, done, SELF)
                w.s.show("done", BUFFER, 0, 4)
    for count in (0, 1, 2**31, 2**31 | 1):
        w.s.put(BUFFER, 0, u32(77))
        w.s.call(f"bad list of {count:#x}", MMU_UPDATE, BAD, count, va(BUFFER), SELF)
        w.s.call(f"bad list of {count:#x}", MMU_UPDATE, BAD, count, va(BUFFER), ABSENT)
        w.s.show("done", BUFFER, 0, 4)


def extended(w: Writer) -> None:
    for cmd in (*range(22), 99, 2**31, 2**32 - 1):
        if cmd in (NEW_BASEPTR, 14, 15):
            continue
        for frame in (mfn(PLAIN), Expr(add=2**40)):
            for second in (0, va(BUFFER), Expr(add=BAD), mfn(DATA[6])):
                if cmd != SET_LDT or second != mfn(DATA[6]):
                    w.ext(cmd, frame, second)
        for domid in OTHERS:
            w.ext(cmd, mfn(PLAIN), 0, domid)
        w.protect_page(PLAIN, RW)
    for at, entries in ((va(BUFFER), 1), (va(BUFFER), 8192), (va(BUFFER), 8193), (va(5, 8), 1)):
        w.ext(13, at, entries)
    w.ext(13, Expr(add=0xFFFF_8300_0000_0000), 1)
    w.ext(13, 0, 0)
    for page in (PLAIN, OTHER):
        w.s.put(page, 8, u64(0x1234))
        w.ext(16, mfn(page), 0)
        w.s.show("cleared", page, 8)
        w.ext(17, mfn(page), mfn(DATA[7]))
        w.s.show("copied", page, 0xFF0)
    for count in (0, 1, 2, 2**31, 2**31 | 1, 2**32 | 1):
        for done in (va(BUFFER), Expr(), Expr(add=BAD)):
            w.s.put(BUFFER, 0, u32(77))
            fields = (u32(6), u32(0), u64(0), u64(0), u32(99), u32(0), u64(0), u64(0))
            w.s.call(f"list of {count:#x}", MMUEXT_OP, w.arg(*fields), count, done, SELF)
            w.s.call("bad list", MMUEXT_OP, BAD, count, done, SELF)
            w.s.show("done", BUFFER, 0, 4)
