"""memory_op: reservations of the caller and of domain 1, whose limit is 64 pages.

Which frames an allocator hands out is its own affair. So a frame that was given up is never named
again, and each episode begins with victims that are fresh.
"""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Value, mfn, u16, u32, u64, va, var
from oracle.topics.base import (
    ABSENT,
    ARG,
    ARRAY,
    BAD,
    BUFFER,
    DATA,
    MEMORY_OP,
    PTE_FLAGS,
    RW,
    SELF,
    TAG,
    UPDATE_VA_MAPPING,
    VICTIMS,
    VIEW,
    Topic,
)

BASE, NOW, FRESH = 201, 202, 210  # variables: tot_pages at the start, now; a frame that was got
OWN = VICTIMS[:6]
FRAME = 220  # variable 220 + n: the frame of victim n
POPULATE, INCREASE, DECREASE, EXCHANGE = 6, 0, 1, 11


class Memory(Topic):
    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.lost: set[int] = set()

    def prologue(self) -> None:
        self.map_view()
        self.tag_pages()
        for page in OWN:
            self.s.let(self.name(page), mfn(page))

    def name(self, page: int) -> int:
        return FRAME + page - OWN[0]

    def frame(self, page: int) -> Expr:
        return var(self.name(page))

    def reset(self) -> None:
        self.domctl("destroy", 2, 1)
        self.create_domain(1, 256, 1)
        self.s.let(FRESH, mfn(DATA[0]))
        for page in OWN:
            self.s.call("unmap", UPDATE_VA_MAPPING, va(page), 0, 2)
            one = [u64(va(ARRAY)), u64(1), u64(0), u64(SELF)]
            self.s.put(ARRAY, 0, u64(self.frame(page)))
            if page not in self.lost:
                self.s.call("give up", MEMORY_OP, DECREASE, self.s.put(ARG, 0, *one))
            self.s.call("get", MEMORY_OP, INCREASE, self.s.put(ARG, 0, *one))
            self.s.load(self.name(page), ARRAY, 0)
            self.s.call("map", UPDATE_VA_MAPPING, va(page), (self.frame(page) << 12) + RW, 2)
            self.s.put(page, TAG, u64(0xC0DE_0000 + 16 * page))
        self.lost.clear()
        self.measure()
        self.s.let(BASE, var(0))

    def measure(self) -> None:
        """tot_pages, into variable 0; not shown: the number is the machine's."""
        self.s.put(ARG, 0, u16(SELF))
        self.s.call("?", MEMORY_OP, 3, va(ARG))

    def show(self) -> None:
        self.measure()
        self.s.let(NOW, var(0), "-", var(BASE))
        self.s.print("change of tot_pages", var(NOW))
        self.s.call("current_reservation 1", MEMORY_OP, 3, self.s.put(ARG, 0, u16(1)))

    def reservation(self, array: Value, n: Value, order: int, domid: int) -> list[Field]:
        flags = self.mostly(0, 16, 32, 64, 0x100, 0x10000, odds=8)
        return [u64(array), u64(n), u32(order), u32(flags), u16(domid), u16(0), u32(0)]

    def array(self, n: int) -> Value:
        bad: tuple[Value, ...] = (Expr(), va(ARRAY, 0xFF8), Expr(add=BAD))
        return self.mostly(va(ARRAY), *bad, odds=12) if n else va(ARRAY)

    def order(self) -> int:
        large = (3, 9, 10, 18, 30, 63, 64, 2**32 - 1)
        return self.mostly(self.random.choice((0, 0, 0, 1, 2)), *large, odds=10)

    def who(self) -> int:
        return self.random.choice((SELF, SELF, SELF, 0, 1, 1, 1, ABSENT, 0x7FF1))

    def step(self) -> None:
        self.pick(
            {
                self.decrease: 4,
                self.increase: 4,
                self.populate: 4,
                self.exchange: 3,
                self.remap: 3,
                self.map_fresh: 2,
                self.ask: 2,
                self.physmap: 2,
                self.others: 1,
            }
        )
        self.show()

    def lose(self) -> Value:
        """A frame to give up, or one that can't be."""
        kept = [page for page in OWN if page not in self.lost]
        if not kept or self.random.randrange(5) == 0:
            return self.random.choice((Expr(add=2**40), Expr(add=2**63), Expr(add=2**64 - 1)))
        page = self.random.choice(kept)
        self.lost.add(page)
        return self.frame(page)

    def decrease(self) -> None:
        n = self.random.choice((1, 1, 2, 3))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(self.lose()))
        domid = self.mostly(SELF, 0, 1, ABSENT)
        array = self.mostly(va(ARRAY), Expr(add=BAD), odds=12)
        fields = self.reservation(array, n, self.mostly(0, 30, 64, odds=10), domid)
        self.s.call("decrease_reservation", MEMORY_OP, DECREASE, self.arg(*fields))
        self.s.dump("struct", ARG, 0x48, 24)

    def increase(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 3))
        domid = self.who()
        self.s.put(ARRAY, 0, u64(mfn(DATA[0])))  # where it fails, that stays
        fields = self.reservation(self.array(n), n, self.order(), domid)
        self.s.call("increase_reservation", MEMORY_OP, INCREASE, self.arg(*fields))
        self.s.dump("struct", ARG, 0x48, 24)
        self.s.load(FRESH, ARRAY, 0)

    def populate(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 3))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(self.random.choice((4000, 0, 1, 50, 20000))))
        domid = self.mostly(1, self.who(), odds=2)
        fields = self.reservation(self.array(n), n, self.order(), domid)
        self.s.call("populate_physmap", MEMORY_OP, POPULATE, self.arg(*fields))
        self.s.dump("struct", ARG, 0x48, 24)

    def exchange(self) -> None:
        """Of pages that are mapped and of such that are not."""
        n = self.random.choice((1, 1, 2))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(self.lose()))
            self.s.put(BUFFER, i * 8, u64(self.random.choice((100, 101, 4000))))
        order, domid = self.mostly(0, 30, odds=10), self.mostly(SELF, 0, 1, ABSENT)
        into = self.reservation(va(ARRAY), self.mostly(n, 0, n + 1, odds=10), order, domid)
        again = self.mostly(domid, SELF, ABSENT, odds=10)
        out = self.reservation(va(BUFFER), self.mostly(n, 0, n + 1, odds=10), order, again)
        done = self.mostly(0, 1, 2, 2**63, odds=12)
        self.s.call("exchange", MEMORY_OP, EXCHANGE, self.arg(*into, *out, u64(done)))
        self.s.show("nr_exchanged", ARG, 0x40 + 64)

    def remap(self) -> None:
        page = self.random.choice(OWN)
        to = [Expr(), *[(self.frame(page) << 12) + RW] * (page not in self.lost)]
        self.s.call("remap", UPDATE_VA_MAPPING, va(page), self.random.choice(to), 2)
        self.show_entry(page)

    def map_fresh(self) -> None:
        page = self.random.choice(OWN)
        self.s.call("map fresh", UPDATE_VA_MAPPING, va(page), (var(FRESH) << 12) + RW, 2)
        self.s.show("its flags", VIEW, page * 8, 8, PTE_FLAGS)
        self.s.call("unmap", UPDATE_VA_MAPPING, va(page), 0, 2)

    def ask(self) -> None:
        cmd = self.random.choice((4, 14))
        domid = self.random.choice((1, ABSENT, 0x7FF1) if cmd == 4 else (1, SELF, ABSENT))
        self.s.call(f"ask {cmd}", MEMORY_OP, cmd, self.arg(u16(domid)))

    def physmap(self) -> None:
        r = self.random
        domid = self.mostly(SELF, 1, ABSENT)
        if r.randrange(2):
            space = u32(r.choice((0, 1, 2, 3, 4, 5, 9)))
            head = (u16(domid), u16(r.choice((0, 1))), space, u64(0), u64(100))
            self.s.call("add_to_physmap", MEMORY_OP, 7, self.arg(*head))
        else:
            fields = (u16(domid), u16(0), u32(0), u64(100))
            self.s.call("remove_from_physmap", MEMORY_OP, 15, self.arg(*fields))

    def others(self) -> None:
        cmd = self.random.choice((8, 13, 16, 17, 18, 19, 20, 21, 22, 29, 30, 60))
        self.s.write(ARG, 0x40, bytes(64))
        domid = u16(self.mostly(ABSENT, SELF))
        self.s.call(f"memory_op {cmd}", MEMORY_OP, cmd, self.arg(domid))
