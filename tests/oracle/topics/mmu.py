"""mmu_update, mmuext_op, update_va_mapping: tables that the script builds from its pages."""

from __future__ import annotations

from oracle.script import Expr, Field, Value, mfn, pte, u32, u64, va
from oracle.topics.base import (
    ABSENT,
    BAD,
    BUFFER,
    DATA,
    IO,
    MAPPING_OTHERDOMAIN,
    MMU_UPDATE,
    MMUEXT_OP,
    RO,
    RW,
    SELF,
    UPDATE_VA_MAPPING,
    VICTIMS,
    XEN,
    Topic,
)

TABLES, ROOTS = VICTIMS[:8], VICTIMS[6:8]
PIN_L1, UNPIN, NEW_BASEPTR, NEW_USER_BASEPTR = 0, 4, 5, 15
SLOTS = (0, 0, 0, 1, 1, 2, 3, 255, 256, 271, 272, 511)


class Mmu(Topic):
    def prologue(self) -> None:
        self.map_view()
        self.tag_pages()
        for page in TABLES:
            self.s.write(page, 0xFF0, bytes(8))

    def reset(self) -> None:
        self.ext(NEW_USER_BASEPTR, 0, 0)
        for page in TABLES:
            self.ext(UNPIN, mfn(page), 0)
            self.s.call("drop", UPDATE_VA_MAPPING, va(page), (mfn(page) << 12) + RO, 2)
        for page in reversed(TABLES):
            for slot in SLOTS:
                self.update((mfn(page) << 12) + 8 * slot, 0)
        for page in (*TABLES, *VICTIMS[8:]):
            self.map_back(page)
        for page in TABLES:
            for slot in (*SLOTS, *range(256, 272)):
                self.s.put(page, 8 * slot, u64(0))

    def page(self) -> int:
        return self.random.choice(TABLES)

    def own_frame(self) -> Expr:
        return mfn(self.random.choice((*TABLES, DATA[0], DATA[1])))

    def frame(self) -> Expr:
        """Now and then one that is not there. A level 1 entry may name such: dom0 maps devices."""
        return self.mostly(self.own_frame(), self.nowhere(), odds=20)

    def nowhere(self) -> Expr:
        return Expr(add=self.random.choice((2**40, 2**52 - 1)))

    def flags(self) -> int:
        r = self.random
        usual = r.choice((RW, RW, RO, 0x61, 0x27, 0x7, 0))
        return self.mostly(
            usual,
            0x1E7,
            0xE7,
            0x167,
            0x63,
            1 << 63 | RW,
            1 << 52 | RW,
            0x67 | 0x600,
            0x7F,
            0x800 | RW,
            odds=6,
        )

    def entry(self) -> Value:
        return self.mostly((self.own_frame() << 12) + self.flags(), Expr(), odds=5)

    def foreign(self) -> int:
        return self.mostly(
            SELF,
            0,
            ABSENT,
            IO,
            XEN,
            1,
            SELF | SELF + 1 << 16,
            SELF | 78 << 16,
            0x7FF0 | 1 << 16,
            odds=15,
        )

    def step(self) -> None:
        self.pick(
            {
                self.protect: 6,
                self.pin: 6,
                self.unpin: 3,
                self.write_entry: 8,
                self.write_own_entry: 2,
                self.several: 1,
                self.odd: 1,
                self.mapping: 3,
                self.flush: 1,
                self.pages: 1,
                self.base: 1,
            }
        )

    def ext(self, cmd: int, arg1: Value, arg2: Value, domid: Value = SELF) -> None:
        op = self.arg(u32(cmd), u32(0), u64(arg1), u64(arg2))
        self.s.call(f"mmuext {cmd}", MMUEXT_OP, op, 1, 0, domid)

    def update(self, ptr: Value, val: Value, domid: Value = SELF) -> None:
        self.s.call("mmu_update", MMU_UPDATE, self.arg(u64(ptr), u64(val)), 1, 0, domid)

    def protect(self) -> None:
        """A page read-only, or no more: what its frame may become."""
        page = self.page()
        flags = self.mostly(RO, RW, odds=3)
        self.s.call("protect", UPDATE_VA_MAPPING, va(page), (mfn(page) << 12) + flags, 2)
        self.show_flags(page)

    def show_flags(self, page: int) -> None:
        self.flush_tlb()
        self.s.show(f"flags of page {page}'s entry", 60, page * 8, 8, 0x8000_0000_0000_0F9F)

    def pin(self) -> None:
        """Roots are of a kind of their own: Xen leaves its entries behind in them."""
        level = self.random.choice((0, 0, 0, 1, 1, 2, 3))
        page = self.random.choice(ROOTS if level == 3 else [p for p in TABLES if p not in ROOTS])
        self.ext(PIN_L1 + level, self.mostly(mfn(page), self.nowhere(), odds=20), 0, self.foreign())

    def unpin(self) -> None:
        self.ext(UNPIN, self.frame(), 0, self.foreign())

    def write_entry(self) -> None:
        slot = self.random.choice(SLOTS)
        low = self.mostly(0, 1, 2, 3, 4, odds=12)
        self.update((self.frame() << 12) + 8 * slot + low, self.entry(), self.foreign())
        self.flush_tlb()
        for page in TABLES:
            self.s.show(f"entries of page {page}", page, 8 * slot, 8, 0x8000_0000_0000_0F9F)

    def write_own_entry(self) -> None:
        """Through the machine address of the entry that maps a page."""
        page = self.random.choice(TABLES)
        self.update(pte(page) + self.mostly(0, 2, 1, odds=4), self.entry())
        self.show_flags(page)
        self.map_back(page)

    def several(self) -> None:
        """A batch that may fail in the middle: how many were done."""
        fields: list[Field] = []
        for _ in range(3):
            fields += [u64((mfn(self.page()) << 12) + 8), u64(self.entry())]
        self.s.put(BUFFER, 0, u32(99))
        done: Value = self.mostly(va(BUFFER), Expr(), Expr(add=BAD), odds=4)
        count = self.mostly(3, 0, 2**31 | 3, 1 << 63 | 3, odds=4)
        self.s.call("mmu_update 3", MMU_UPDATE, self.arg(*fields), count, done, self.foreign())
        self.s.show("done", BUFFER, 0, 4)

    def odd(self) -> None:
        match self.random.randrange(4):
            case 0:
                self.update((self.frame() << 12) + 1, self.random.choice((0, 5, 4242, 2**40)))
            case 1:
                self.ext(self.random.choice((17, 20, 99, 2**31)), self.frame(), 0)
            case 2:
                self.s.call("mmuext bad", MMUEXT_OP, BAD, 1, 0, SELF)
            case 3:
                self.ext(self.random.choice((13, 16)), va(0), self.random.choice((0, 1, 8193)))

    def mapping(self) -> None:
        r = self.random
        page = r.choice(VICTIMS)
        where: Value = self.mostly(
            va(page),
            va(page, 123),
            Expr(add=0x7F00_0000_0000),
            Expr(add=0xFFFF_8300_0000_0000),
            Expr(add=BAD),
            odds=8,
        )
        how: Value = self.mostly(r.choice((0, 1, 2, 6)), 3, 4, 7, 8, va(BUFFER) + 1, odds=6)
        if r.randrange(4):
            self.s.call("update_va_mapping", UPDATE_VA_MAPPING, where, self.entry(), how)
        else:
            domid = self.random.choice((SELF, 0, ABSENT, IO, XEN, 0x17FF0))
            self.s.call(
                "update_va_mapping_otherdomain",
                MAPPING_OTHERDOMAIN,
                where,
                self.entry(),
                how,
                domid,
            )
        self.show_flags(page)

    def flush(self) -> None:
        cmd = self.random.choice((6, 7, 8, 9, 10, 11, 12, 18))
        self.ext(
            cmd,
            self.mostly(va(8), Expr(add=BAD)),
            self.mostly(va(BUFFER), Expr(), odds=4),
            self.foreign(),
        )

    def pages(self) -> None:
        frame = mfn(self.random.choice((*TABLES, DATA[2])))
        if self.random.randrange(2):
            self.ext(16, frame, 0, self.foreign())
        else:
            self.ext(17, frame, self.mostly(mfn(DATA[3]), Expr(add=2**40)), self.foreign())

    def base(self) -> None:
        if self.random.randrange(2):
            root: Value = self.mostly(
                mfn(self.random.choice(ROOTS)), Expr(), self.nowhere(), odds=4
            )
            self.ext(NEW_USER_BASEPTR, root, 0, self.foreign())
        else:
            self.ext(NEW_BASEPTR, self.random.choice((mfn(DATA[4]), Expr(add=2**40))), 0)
