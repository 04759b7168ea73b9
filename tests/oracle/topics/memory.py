"""memory_op: reservations of the caller and of domain 1, whose limit is 64 pages."""

from __future__ import annotations

from oracle.script import Expr, Field, Value, mfn, u16, u32, u64, va, var
from oracle.topics.base import (
    ABSENT,
    ARG,
    ARRAY,
    BAD,
    MEMORY_OP,
    RW,
    SELF,
    UPDATE_VA_MAPPING,
    VICTIMS,
    Topic,
)

BASE, FRESH = 201, 210  # variables: tot_pages at the start, frames that were got


class Memory(Topic):
    def prologue(self) -> None:
        self.map_view()
        self.tag_pages()
        self.create_domain(1, 256, 1)
        self.s.call("maximum_gpfn", MEMORY_OP, 14, self.s.put(ARG, 0, u16(SELF)))
        self.measure()
        self.s.let(BASE, var(0))

    def measure(self) -> None:
        """tot_pages, into variable 0; not shown: the number is the machine's."""
        self.s.put(ARG, 0, u16(SELF))
        self.s.call("?", MEMORY_OP, 3, va(ARG))

    def show(self) -> None:
        self.measure()
        self.s.let(202, var(0), "-", var(BASE))
        self.s.print("change of tot_pages", var(202))
        self.s.call("current_reservation 1", MEMORY_OP, 3, self.s.put(ARG, 0, u16(1)))

    def reservation(self, array: Value, n: Value, order: int, domid: int) -> list[Field]:
        flags = self.mostly(0, 1, 16, 32, 64, 0x100, 0x10000, 0x30000, odds=8)
        return [u64(array), u64(n), u32(order), u32(flags), u16(domid), u16(0), u32(0)]

    def array(self, n: int) -> Value:
        return self.mostly(va(ARRAY), Expr(), va(ARRAY, 0xFF8), Expr(add=BAD), odds=12) if n else va(ARRAY)

    def order(self) -> int:
        return self.mostly(self.random.choice((0, 0, 0, 1, 2)), 3, 9, 10, 18, 30, 63, 64, 2**32 - 1, odds=8)

    def who(self) -> int:
        return self.random.choice((SELF, SELF, SELF, 0, 1, 1, 1, ABSENT, 0x7FF1))

    def step(self) -> None:
        makers = {
            self.decrease: 4,
            self.increase: 4,
            self.populate: 4,
            self.exchange: 3,
            self.unmap: 3,
            self.map_fresh: 2,
            self.ask: 2,
            self.physmap: 2,
            self.others: 1,
        }
        self.random.choices(list(makers), list(makers.values()))[0]()
        self.show()

    def decrease(self) -> None:
        n = self.random.choice((1, 1, 2, 3))
        for i in range(n):
            frame = self.mostly(mfn(self.random.choice(VICTIMS)), Expr(add=2**40), Expr(add=2**63), var(FRESH), odds=6)
            self.s.put(ARRAY, i * 8, u64(frame))
        fields = self.reservation(self.array(n), n, self.mostly(0, 1, 9, 30, odds=10), self.mostly(SELF, 0, 1, ABSENT))
        self.s.call("decrease_reservation", MEMORY_OP, 1, self.arg(*fields))
        self.s.dump("struct", ARG, 0x40 + 8, 24)

    def increase(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 3))
        fields = self.reservation(self.array(n), n, self.order(), self.who())
        self.s.call("increase_reservation", MEMORY_OP, 0, self.arg(*fields))
        self.s.dump("struct", ARG, 0x40 + 8, 24)
        self.s.load(FRESH, ARRAY, 0)

    def populate(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 3))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(self.random.choice((4000, 0, 1, 50, 20000))))
        fields = self.reservation(self.array(n), n, self.order(), self.mostly(1, self.who(), odds=2))
        self.s.call("populate_physmap", MEMORY_OP, 6, self.arg(*fields))
        self.s.dump("struct", ARG, 0x40 + 8, 24)

    def exchange(self) -> None:
        r = self.random
        n = r.choice((1, 1, 2))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(self.mostly(mfn(r.choice(VICTIMS)), Expr(add=2**40))))
            self.s.put(ARRAY, 0x100 + i * 8, u64(r.choice((100, 101, 4000))))
        order = self.mostly(0, 1, 9, 30, odds=10)
        into = self.reservation(va(ARRAY), self.mostly(n, 0, n + 1, odds=10), order, self.mostly(SELF, 0, 1, ABSENT))
        out = self.reservation(va(ARRAY, 0x100), self.mostly(n, 0, n + 1, odds=10), order, self.mostly(SELF, 0, 1, ABSENT, odds=20))
        done = self.mostly(0, 1, 2, 2**63, odds=12)
        self.s.call("exchange", MEMORY_OP, 11, self.arg(*into, *out, u64(done)))
        self.s.show("nr_exchanged", ARG, 0x40 + 64)

    def unmap(self) -> None:
        page = self.random.choice(VICTIMS)
        to = self.random.choice((Expr(), (mfn(page) << 12) + RW))
        self.s.call("remap", UPDATE_VA_MAPPING, va(page), to, 2)
        self.show_entry(page)

    def map_fresh(self) -> None:
        page = self.random.choice(VICTIMS)
        self.s.call("map fresh", UPDATE_VA_MAPPING, va(page), (var(FRESH) << 12) + RW, 2)
        self.s.show("flags", 60, page * 8, 8, 0x800_0000_0000_0F9F)
        self.s.call("unmap", UPDATE_VA_MAPPING, va(page), 0, 2)

    def ask(self) -> None:
        cmd = self.random.choice((4, 14))
        domid = self.random.choice((1, ABSENT, 0x7FF1) if cmd == 4 else (1, SELF, ABSENT))
        self.s.call(f"ask {cmd}", MEMORY_OP, cmd, self.arg(u16(domid)))

    def physmap(self) -> None:
        r = self.random
        domid = self.mostly(SELF, 1, ABSENT)
        if r.randrange(2):
            head = (u16(domid), u16(r.choice((0, 1))), u32(r.choice((0, 1, 2, 3, 4, 5, 9))), u64(0), u64(100))
            self.s.call("add_to_physmap", MEMORY_OP, 7, self.arg(*head))
        else:
            self.s.call("remove_from_physmap", MEMORY_OP, 15, self.arg(u16(domid), u16(0), u32(0), u64(100)))

    def others(self) -> None:
        cmd = self.random.choice((8, 13, 16, 17, 18, 19, 20, 21, 22, 29, 30, 60))
        self.s.write(ARG, 0x40, bytes(64))
        self.s.call(f"memory_op {cmd}", MEMORY_OP, cmd, self.arg(u16(self.mostly(ABSENT, SELF))))
