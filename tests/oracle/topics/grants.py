"""grant_table_op, version 1: the caller grants to itself, and domain 1 is there to be named."""

from __future__ import annotations

from oracle.script import Expr, Field, Value, mfn, pte, u8, u16, u32, u64, va
from oracle.topics.base import (
    ABSENT,
    ARG,
    ARRAY,
    BAD,
    DATA,
    GRANT_TABLE_OP,
    RO,
    RW,
    SELF,
    TABLE,
    UPDATE_VA_MAPPING,
    VICTIMS,
    Topic,
)

REFS = range(8, 16)
DEVICE_MAP, HOST_MAP, READONLY, APPLICATION_MAP, CONTAINS_PTE = 1, 2, 4, 8, 16


class Grants(Topic):
    def prologue(self) -> None:
        self.map_view()
        self.tag_pages()
        self.create_domain(1, 256, 1)
        table = self.s.put(ARG, 0, u16(SELF), u16(0), u32(2), u32(0), u32(0), u64(va(ARRAY)))
        self.s.call("setup_table", GRANT_TABLE_OP, 2, table, 1)
        frame = self.s.load(200, ARRAY, 0)
        self.s.call("map the table", UPDATE_VA_MAPPING, va(TABLE), (frame << 12) + RW, 2)

    def reset(self) -> None:
        for handle in range(12):
            for page in list(VICTIMS)[:4]:
                self.s.put(
                    ARG,
                    24 * 4 * handle + (page & 3) * 24,
                    u64(va(page)),
                    u64(0),
                    u32(handle),
                    u32(0),
                )
        self.s.call("unmap all", GRANT_TABLE_OP, 1, va(ARG), 48)
        for page in list(VICTIMS)[:4]:
            self.map_back(page)
        for ref in REFS:
            self.s.put(TABLE, ref * 8, u64(0))

    def op(self, label: str, cmd: int, count: Value, *fields: Field) -> None:
        self.s.call(label, GRANT_TABLE_OP, cmd, self.arg(*fields), count)

    def ref(self) -> int:
        r = self.random
        return (
            r.choice((0, 7, 600, 1023, 1024, 4095, 2**32 - 1))
            if r.randrange(15) == 0
            else r.choice(REFS)
        )

    def victim(self) -> int:
        return self.random.choice(list(VICTIMS)[:4])

    def flags(self) -> int:
        r = self.random
        usual = r.choice((HOST_MAP, HOST_MAP, HOST_MAP | READONLY))
        return self.mostly(
            usual,
            0,
            DEVICE_MAP,
            DEVICE_MAP | HOST_MAP,
            HOST_MAP | DEVICE_MAP | READONLY,
            HOST_MAP | APPLICATION_MAP,
            READONLY,
            0x20 | HOST_MAP,
            0x10000 | HOST_MAP,
            odds=5,
        )

    def step(self) -> None:
        self.pick(
            {
                self.entry: 5,
                self.map: 6,
                self.unmap: 5,
                self.remap: 2,
                self.replace: 1,
                self.copy: 3,
                self.swap: 1,
                self.transfer: 1,
                self.query: 1,
                self.setup: 1,
                self.others: 1,
            }
        )

    def show_ref(self, ref: int) -> None:
        if ref < 512:
            self.s.show(f"flags and domid of ref {ref}", TABLE, ref * 8, 4)

    def entry(self) -> None:
        """The guest's own write to an entry."""
        r = self.random
        ref = r.choice(REFS)
        flags = self.mostly(r.choice((1, 1, 1, 5, 0)), 2, 3, 0x41, 9, 0x19, 0x101, odds=6)
        frame: Value = self.mostly(
            mfn(r.choice(list(DATA)[:6])), mfn(r.choice(VICTIMS)), Expr(add=2**31), odds=8
        )
        self.s.put(TABLE, ref * 8, u16(flags), u16(self.mostly(0, 1, 3, SELF)), u32(frame))

    def host_address(self, page: int) -> Value:
        return self.mostly(
            va(page),
            va(page, 8),
            va(page, -8),
            Expr(add=BAD),
            Expr(add=0xFFFF_8300_0000_0000),
            odds=12,
        )

    def map(self) -> None:
        page, ref, flags = self.victim(), self.ref(), self.flags()
        address = self.host_address(page)
        if self.random.randrange(5) == 0:
            flags, address = (
                flags | CONTAINS_PTE,
                self.mostly(pte(page), pte(page) + 4, Expr(add=0), mfn(page) << 12),
            )
        head = (u64(address), u32(flags), u32(ref), u16(self.mostly(0, SELF, 1, ABSENT, odds=6)))
        self.op("map_grant_ref", 0, self.mostly(1, 0, 2**32 + 1, odds=40), *head, *[u8(0xEE)] * 14)
        self.s.show("status", ARG, 0x40 + 18, 2)
        self.s.show("handle", ARG, 0x40 + 20, 4)
        self.s.show("dev_bus_addr", ARG, 0x40 + 24, 8, 0xFFF)
        self.show_ref(ref)
        self.show_entry(page)

    def handle(self) -> Value:
        return self.mostly(self.random.randrange(6), 100, 2**32 - 1, 4096, odds=15)

    def unmap(self) -> None:
        page = self.victim()
        address: Value = self.mostly(
            va(page), pte(page), Expr(), va(page, 8), Expr(add=BAD), odds=5
        )
        bus: Value = self.mostly(Expr(), mfn(DATA[0]) << 12, Expr(add=0x1000), odds=8)
        self.op(
            "unmap_grant_ref", 1, 1, u64(address), u64(bus), u32(self.handle()), u16(0xEEEE), u16(0)
        )
        self.s.show("status", ARG, 0x40 + 20, 2)
        for ref in REFS:
            self.show_ref(ref)
        self.show_entry(page)

    def remap(self) -> None:
        """The page's own frame, or nothing, where a grant may be mapped."""
        page = self.victim()
        to: Value = self.mostly((mfn(page) << 12) + RW, (mfn(page) << 12) + RO, Expr(), odds=3)
        self.s.call("remap", UPDATE_VA_MAPPING, va(page), to, 2)
        self.show_entry(page)

    def replace(self) -> None:
        page, other = self.victim(), self.random.choice(VICTIMS)
        address = (u64(va(page)), u64(self.mostly(va(other), Expr(), va(page), odds=4)))
        self.op("unmap_and_replace", 7, 1, *address, u32(self.handle()), u16(0xEEEE), u16(0))
        self.s.show("status", ARG, 0x40 + 20, 2)
        self.show_entry(page)
        self.show_entry(other)
        self.map_back(other)

    def copy_end(self, by_ref: bool) -> tuple[Field, ...]:
        r = self.random
        what: tuple[Field, ...] = u32(self.ref()), u32(0)
        if not by_ref:
            frame: Value = self.mostly(mfn(r.choice(list(DATA)[6:12])), Expr(add=2**40), odds=20)
            what = (u64(frame),)
        domid = self.mostly(0 if by_ref else SELF, 0, SELF, 1, ABSENT, odds=8)
        offset = self.mostly(r.choice((0, 64, 4000)), 4095, 4096, 65535, odds=10)
        return *what, u16(domid), u16(offset), u32(0)

    def copy(self) -> None:
        r = self.random
        flags = r.choice((0, 1, 1, 2, 3))
        length = self.mostly(r.choice((1, 16, 96)), 0, 97, 4096, 65535)
        tail = (u16(length), u16(self.mostly(flags, flags | 4)), u16(0xEEEE), u16(0))
        self.op(
            "copy", 5, 1, *self.copy_end(bool(flags & 1)), *self.copy_end(bool(flags & 2)), *tail
        )
        self.s.show("status", ARG, 0x40 + 36, 2)
        for ref in REFS:
            self.show_ref(ref)

    def swap(self) -> None:
        a, b = self.ref(), self.ref()
        self.op("swap_grant_ref", 11, 1, u32(a), u32(b), u16(0xEEEE), u16(0))
        self.s.show("status", ARG, 0x40 + 8, 2)
        for ref in REFS:
            self.show_ref(ref)

    def transfer(self) -> None:
        domid = self.random.choice((0, SELF, ABSENT))
        frame: Value = self.random.choice((mfn(DATA[9]), Expr(add=2**40)))
        self.op(
            "transfer", 4, 1, u64(frame), u16(domid), u16(0), u32(self.ref()), u16(0xEEEE), u16(0)
        )
        self.s.show("status", ARG, 0x40 + 16, 2)

    def query(self) -> None:
        self.op(
            "query_size",
            6,
            self.mostly(1, 0, 2),
            u16(self.domid()),
            u16(0),
            u32(99),
            u32(99),
            u16(0xEEEE),
            u16(0),
        )
        self.s.dump("query_size", ARG, 0x40, 16)
        self.op("get_version", 10, 1, u16(self.domid()), u16(0xEEEE), u32(99))
        self.s.dump("get_version", ARG, 0x40, 8)

    def setup(self) -> None:
        frames = self.random.choice((0, 1, 2, 3, 4, 8, 9, 2**32 - 1))
        head = (u16(self.own()), u16(0), u32(frames), u16(0xEEEE), u16(0), u32(0))
        self.op("setup_table", 2, 1, *head, u64(self.mostly(va(ARRAY), Expr(add=BAD))))
        self.s.show("status", ARG, 0x40 + 8, 2)

    def others(self) -> None:
        match self.random.randrange(4):
            case 0:
                self.op("set_version", 8, 1, u32(self.random.choice((0, 3, 1))))
                self.s.dump("set_version", ARG, 0x40, 4)
            case 1:
                head = (u32(1), u16(self.own()), u16(0xEEEE), u64(va(ARRAY)))
                self.op("get_status_frames", 9, 1, *head)
                self.s.show("status", ARG, 0x46, 2)
            case 2:
                self.op("unknown", self.random.choice((13, 99, 2**31, 2**32 - 1)), 1, u64(0))
            case 3:
                self.op(
                    "cache_flush",
                    12,
                    1,
                    u64(mfn(DATA[0]) << 12),
                    u16(0),
                    u16(64),
                    u32(self.random.choice((0, 1, 3, 4))),
                )
