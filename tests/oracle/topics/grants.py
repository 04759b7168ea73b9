"""grant_table_op, version 1: the caller and other domains grant to the caller.

Each episode has another such domain, the peer, since one that has died may stay for ever. An entry
that maps a page of the peer is never replaced but by unmapping: Xen crashes a caller that later
unmaps what it had from a domain that is gone.
"""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Value, mfn, pte, u8, u16, u32, u64, va, var
from oracle.topics.base import (
    ABSENT,
    ARG,
    ARRAY,
    BAD,
    DATA,
    GRANT_TABLE_OP,
    MEMORY_OP,
    RO,
    RW,
    SELF,
    TABLE,
    UPDATE_VA_MAPPING,
    VICTIMS,
    Topic,
)

REFS = range(8, 16)
PLACES, ELSEWHERE = VICTIMS[:4], VICTIMS[4]
DEVICE_MAP, HOST_MAP, READONLY, APPLICATION_MAP, CONTAINS_PTE = 1, 2, 4, 8, 16
THEIRS = 2  # page at which the peer's table is mapped
# Variables: the peer's id and four pages, a page of ours, the handle of what is at each place.
PEER, ITS_FRAME, OURS, HANDLE = 229, 230, 240, 241
HOST_LIST, DEVICE_LIST, HANDLES = 6, 7, 16  # pages with what unmaps all that may be mapped
XEN_ADDRESS = 0xFFFF_8300_0000_0000


class Grants(Topic):
    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.from_peer: dict[int, Value] = {}  # place, and by which address it has a peer's page
        self.mapped: list[int] = []  # where something was mapped, maybe, the last one last
        self.dead = False  # the peer was destroyed in this episode

    def prologue(self) -> None:
        self.map_view()
        self.tag_pages()
        table = self.s.put(ARG, 0, u16(SELF), u16(0), u32(2), u32(0), u32(0), u64(va(ARRAY)))
        self.s.call("setup_table", GRANT_TABLE_OP, 2, table, 1)
        frame = self.s.load(200, ARRAY, 0)
        self.s.call("map the table", UPDATE_VA_MAPPING, va(TABLE), (frame << 12) + RW, 2)
        self.s.let(PEER, ABSENT)
        self.list_all()

    def reset(self) -> None:
        self.s.call("unmap all", GRANT_TABLE_OP, 1, va(HOST_LIST), 8 * HANDLES)
        self.s.call("unmap all of devices", GRANT_TABLE_OP, 1, va(DEVICE_LIST), 10 * HANDLES)
        for page in (*PLACES, THEIRS):
            self.map_back(page)
        for ref in REFS:
            self.s.put(TABLE, ref * 8, u64(0))
            self.s.let(HANDLE + ref - REFS[0], 9999)
        self.from_peer.clear()
        self.mapped.clear()
        self.dead = False
        self.make_peer()

    def list_all(self) -> None:
        for handle in range(HANDLES):
            for n, page in enumerate(PLACES):
                for m, address in enumerate((va(page), pte(page))):
                    at = 24 * (8 * handle + 2 * n + m)
                    self.s.put(HOST_LIST, at, u64(address), u64(0), u32(handle), u32(0))
            for n in range(6):
                self.list_device(handle, 4 + n, mfn(DATA[n]))

    def list_device(self, handle: int, n: int, frame: Expr) -> None:
        fields = (u64(0), u64(frame << 12), u32(handle), u32(0))
        self.s.put(DEVICE_LIST, 24 * (10 * handle + n), *fields)

    def make_peer(self) -> None:
        """Another one, with four pages, and its table to write in."""
        self.domctl("destroy", 2, var(PEER))
        self.create_domain(0)
        domid = self.s.load(PEER, ARG, 0x808, 2)
        self.domctl("max_mem", 11, domid, u64(256))
        self.s.put(ARRAY, 0, *[u64(i) for i in range(4)])
        four = (u64(va(ARRAY)), u64(4), u64(0), u64(domid))
        self.s.call("populate", MEMORY_OP, 6, self.s.put(ARG, 0x800, *four))
        for n in range(4):
            frame = self.s.load(ITS_FRAME + n, ARRAY, 8 * n)
            for handle in range(HANDLES):
                self.list_device(handle, n, frame)
        self.map_grant_table(domid, THEIRS)
        self.s.let(OURS, mfn(DATA[0]))

    def op(self, label: str, cmd: int, count: Value, *fields: Field) -> None:
        self.s.call(label, GRANT_TABLE_OP, cmd, self.arg(*fields), count)

    def ref(self) -> int:
        far = (0, 7, 600, 1023, 1024, 4095, 2**32 - 1)
        return self.mostly(self.random.choice(REFS), *far, odds=15)

    def granter(self) -> Value:
        return self.one_of(*(0, var(PEER)) * 4, SELF, ABSENT)

    def somebody(self) -> Value:
        return self.random.choice((SELF, 0, var(PEER), ABSENT, 0x7FF1, 0x7FF2, 0xFFFF))

    def step(self) -> None:
        self.pick(
            {
                self.entry: 4,
                self.its_entry: 4,
                self.map: 7,
                self.unmap: 5,
                self.remap: 1,
                self.replace: 2,
                self.copy: 4,
                self.swap: 1,
                self.transfer: 2,
                self.die: 1,
                self.query: 1,
                self.setup: 1,
                self.others: 1,
            }
        )

    def show_ref(self, ref: int) -> None:
        if ref < 512:
            for page, whose in ((TABLE, "our"), (THEIRS, "its")):
                self.s.show(f"flags and domid of {whose} ref {ref}", page, ref * 8, 4)

    def show_refs(self) -> None:
        for ref in REFS:
            self.show_ref(ref)

    def entry(self) -> None:
        """A guest's own write to an entry."""
        r = self.random
        flags = self.mostly(r.choice((1, 1, 1, 5, 0)), 2, 3, 0x41, 9, 0x19, 0x101, odds=6)
        frame: Value = self.mostly(
            mfn(r.choice(DATA[:6])), mfn(r.choice(VICTIMS)), Expr(add=2**31), odds=8
        )
        fields = (u16(flags), u16(self.one_of(0, 0, 0, var(PEER), 3, SELF)), u32(frame))
        self.s.put(TABLE, r.choice(REFS) * 8, *fields)

    def its_entry(self) -> None:
        r = self.random
        flags = self.mostly(r.choice((1, 1, 5, 2)), 0, 3, 9, 0x41, odds=8)
        frame: Value = self.mostly(var(ITS_FRAME + r.randrange(4)), mfn(DATA[1]), odds=8)
        fields = (u16(flags), u16(self.one_of(0, 0, 0, var(PEER), SELF)), u32(frame))
        self.s.put(THEIRS, r.choice(REFS) * 8, *fields)

    def map(self) -> None:
        r = self.random
        page, ref = self.place(), self.ref()
        granter: Value = self.granter() if page in PLACES else Expr()
        if ref in REFS and r.randrange(3):
            self.valid(ref, granter)
            self.mapped.append(page)
        usual = r.choice((HOST_MAP, HOST_MAP, HOST_MAP | READONLY))
        odd = (0, 1, 3, 7, READONLY, HOST_MAP | APPLICATION_MAP, 0x20 | HOST_MAP, 2**16 | HOST_MAP)
        flags = self.mostly(usual, *odd, odds=5)
        before = () if granter == var(PEER) else (va(page, -8),)
        addresses = (va(page, 8), *before, Expr(add=BAD), Expr(add=XEN_ADDRESS))
        address: Value = self.mostly(va(page), *addresses, odds=12)
        if r.randrange(5) == 0:
            flags |= CONTAINS_PTE
            address = self.mostly(pte(page), pte(page) + 4, Expr(), mfn(page) << 12)
        if granter == var(PEER):
            self.from_peer[page] = address
        head = (u64(address), u32(flags), u32(ref), u16(granter))
        self.op("map_grant_ref", 0, self.mostly(1, 0, 2**32 + 1, odds=40), *head, *[u8(0xEE)] * 14)
        self.s.show("status of map", ARG, 0x40 + 18, 2)
        self.s.show("handle", ARG, 0x40 + 20, 4)
        self.s.load(HANDLE + page - PLACES[0], ARG, 0x40 + 20, 4)
        self.s.show("dev_bus_addr", ARG, 0x40 + 24, 8, 0xFFF)
        self.show_ref(ref)
        self.show_entry(page)

    def valid(self, ref: int, granter: Value) -> None:
        """An entry that lets us map."""
        table, frame = TABLE, mfn(self.random.choice(DATA[:6]))
        if granter == var(PEER):
            table, frame = THEIRS, var(ITS_FRAME + self.random.randrange(4))
        self.s.put(table, ref * 8, u16(self.mostly(1, 5, odds=4)), u16(0), u32(frame))

    def place(self) -> int:
        """Where the entry may be replaced; if there is none, out of the way."""
        free = [page for page in PLACES if page not in self.from_peer]
        return self.random.choice(free) if free else ELSEWHERE

    def handle(self, page: int) -> Value:
        """That of the last mapping at the page, or another."""
        usual: Value = var(HANDLE + page - PLACES[0])
        another = 9 if page in self.from_peer else self.random.randrange(6)
        return self.mostly(usual, another, 100, 2**32 - 1, 4096, odds=8)

    def unmap(self) -> None:
        r = self.random
        page = r.choice(self.mapped[-4:] or PLACES)
        addresses = (pte(page), pte(page), Expr(), va(page, 8), Expr(add=BAD))
        address: Value = self.mostly(va(page), *addresses, odds=4)
        frames = (mfn(DATA[0]) << 12, var(ITS_FRAME) << 12, Expr(add=0x1000))
        bus: Value = self.mostly(Expr(), *frames, odds=6)
        handle = self.handle(page)
        usual = handle == var(HANDLE + page - PLACES[0])
        fields = (u64(address), u64(bus), u32(handle), u16(0xEEEE), u16(0))
        self.op("unmap_grant_ref", 1, 1, *fields)
        if address == self.from_peer.get(page) and bus == Expr() and usual:
            del self.from_peer[page]
        self.s.show("status of unmap", ARG, 0x40 + 20, 2)
        self.show_refs()
        self.show_entry(page)

    def remap(self) -> None:
        """The page's own frame, or nothing, where a grant may be mapped."""
        page = self.place()
        to: Value = self.mostly((mfn(page) << 12) + RW, (mfn(page) << 12) + RO, Expr(), odds=3)
        self.s.call("remap", UPDATE_VA_MAPPING, va(page), to, 2)
        self.show_entry(page)

    def replace(self) -> None:
        page, other = self.random.choice(PLACES), self.random.choice((*PLACES, *VICTIMS))
        if other == page or other in self.from_peer:
            other = ELSEWHERE
        new = self.mostly(va(other), Expr(), va(other if page in self.from_peer else page), odds=4)
        address = (u64(va(page)), u64(new))
        handle = self.handle(page)
        self.op("unmap_and_replace", 7, 1, *address, u32(handle), u16(0xEEEE), u16(0))
        self.s.show("status of replace", ARG, 0x40 + 20, 2)
        self.show_entry(page)
        self.show_entry(other)
        if other not in PLACES:
            self.map_back(other)

    def copy_end(self, by_ref: bool) -> tuple[Field, ...]:
        r = self.random
        what: tuple[Field, ...] = u32(self.ref()), u32(0)
        if not by_ref:
            # When the peer is dead, real Xen may have given its frames to us.
            frames = (Expr(add=2**40), Expr(add=2**40) if self.dead else var(ITS_FRAME))
            what = (u64(self.mostly(mfn(r.choice(DATA[6:12])), *frames, odds=10)),)
        usual: Value = r.choice((0, var(PEER))) if by_ref else SELF
        domid = self.mostly(usual, 0, SELF, var(PEER), ABSENT, odds=8)
        offset = self.mostly(r.choice((0, 64, 4000)), 4095, 4096, 65535, odds=10)
        return *what, u16(domid), u16(offset), u32(0)

    def copy(self) -> None:
        r = self.random
        flags = self.mostly(r.choice((0, 1, 1, 2, 3)), 4, 7)
        length = self.mostly(r.choice((1, 16, 96)), 0, 97, 4096, 65535)
        tail = (u16(length), u16(flags), u16(0xEEEE), u16(0))
        ends = (*self.copy_end(bool(flags & 1)), *self.copy_end(bool(flags & 2)))
        self.op("copy", 5, 1, *ends, *tail)
        self.s.show("status of copy", ARG, 0x40 + 36, 2)
        self.show_refs()

    def swap(self) -> None:
        self.op("swap_grant_ref", 11, 1, u32(self.ref()), u32(self.ref()), u16(0xEEEE), u16(0))
        self.s.show("status of swap", ARG, 0x40 + 8, 2)
        self.show_refs()

    def transfer(self) -> None:
        """A page of ours that nobody else refers to changes hands, or not."""
        one = (u64(va(ARRAY)), u64(1), u64(0), u64(SELF))
        self.s.put(ARRAY, 0, u64(mfn(DATA[0])))
        self.s.call("get a page", MEMORY_OP, 0, self.s.put(ARG, 0x800, *one))
        got = self.s.load(OURS, ARRAY, 0)
        frame: Value = self.mostly(got, mfn(DATA[9]), Expr(add=2**40), odds=6)
        ref, domid = self.ref(), self.one_of(*(var(PEER),) * 8, 0, SELF, ABSENT)
        if ref in REFS and self.random.randrange(3):
            self.s.put(THEIRS, ref * 8, u16(2), u16(0), u32(0))
        fields = (u64(frame), u16(domid), u16(0), u32(ref), u16(0xEEEE), u16(0))
        self.op("transfer", 4, 1, *fields)
        self.s.show("status of transfer", ARG, 0x40 + 16, 2)
        self.show_refs()
        self.s.call("its pages", MEMORY_OP, 3, self.s.put(ARG, 0x800, u16(var(PEER))))

    def die(self) -> None:
        """The peer is destroyed; mappings of its pages keep it."""
        if self.random.randrange(3) == 0:
            self.domctl("destroy", 2, var(PEER))
            self.dead = True
        self.domctl("getdomaininfo", 5, var(PEER))
        self.s.dump("domain to max_pages", ARG, 0x810, 24)

    def query(self) -> None:
        head = (u16(self.somebody()), u16(0), u32(99), u32(99), u16(0xEEEE), u16(0))
        self.op("query_size", 6, self.mostly(1, 0, 2), *head)
        self.s.dump("query_size", ARG, 0x40, 16)
        self.op("get_version", 10, 1, u16(self.somebody()), u16(0xEEEE), u32(99))
        self.s.dump("get_version", ARG, 0x40, 8)

    def setup(self) -> None:
        frames = self.random.choice((0, 1, 2, 3, 4, 8, 9, 2**32 - 1))
        domid = self.mostly(SELF, self.somebody(), odds=3)
        head = (u16(domid), u16(0), u32(frames), u16(0xEEEE), u16(0), u32(0))
        self.op("setup_table", 2, 1, *head, u64(self.mostly(va(ARRAY), Expr(add=BAD))))
        self.s.show("status of setup", ARG, 0x40 + 8, 2)

    def others(self) -> None:
        r = self.random
        match r.randrange(4):
            case 0:
                self.op("set_version", 8, 1, u32(r.choice((0, 3, 1))))
                self.s.dump("set_version", ARG, 0x40, 4)
            case 1:
                head = (u32(1), u16(self.somebody()), u16(0xEEEE), u64(va(ARRAY)))
                self.op("get_status_frames", 9, 1, *head)
                self.s.show("status", ARG, 0x46, 2)
            case 2:
                self.op("unknown", r.choice((13, 99, 2**31, 2**32 - 1)), 1, u64(0))
            case 3:
                fields = (u64(mfn(DATA[0]) << 12), u16(0), u16(64), u32(r.choice((0, 1, 3, 4))))
                self.op("cache_flush", 12, 1, *fields)
