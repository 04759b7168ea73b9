"""domctl: lives and deaths of domains 1 to 4, with their pages mapped and their ports bound."""

from __future__ import annotations

from oracle.script import Expr, Value, mfn, u16, u32, u64, va, var
from oracle.topics.base import (
    ABSENT,
    ARG,
    ARRAY,
    BAD,
    DATA,
    DOMCTL,
    DOMCTL_VERSION,
    EVENT_CHANNEL_OP,
    MAPPING_OTHERDOMAIN,
    MEMORY_OP,
    RW,
    SCHED_OP,
    SELF,
    VICTIMS,
    Topic,
)

INFO = 0x800 + 16  # of getdomaininfo, in the page of arguments
FRAMES = 220  # variable 220 + n: the last page that domain n got


class Domains(Topic):
    def prologue(self) -> None:
        self.tag_pages()

    def reset(self) -> None:
        for page in VICTIMS[:4]:
            self.map_back(page)
        for domid in range(1, 5):
            self.domctl("destroy", 2, domid)
            self.s.let(FRAMES + domid, mfn(DATA[0]))
        self.s.call("reset", EVENT_CHANNEL_OP, 10, self.s.put(ARG, 0x40, u16(SELF)))

    def who(self) -> int:
        r = self.random
        return self.mostly(r.randrange(1, 4), 0, SELF, ABSENT, 0xFFF, 0x7FF2, 0xFFFF, odds=12)

    def step(self) -> None:
        self.pick(
            {
                self.create: 5,
                self.destroy: 2,
                self.pause: 3,
                self.limits: 4,
                self.info: 4,
                self.populate: 4,
                self.map_foreign: 3,
                self.ports: 2,
                self.remote_shutdown: 1,
                self.others: 2,
            }
        )

    def create(self) -> None:
        r = self.random
        flags = self.mostly(0, 4, 8, 0x20, 0x40, 0x80, 0x100, 0x10000, 2**31, odds=6)
        vcpus = self.mostly(r.choice((1, 2)), 0, 8192, 8193, 2**32 - 1)
        ports = self.mostly(1023, 0, 1, 4095, 2**31 - 1, 2**32 - 1, odds=5)
        grants = self.mostly(4, 0, 1, 8, 65, 2**32 - 1, odds=6)
        track = self.mostly(4, 0, 1, 1024, 2**32 - 1, odds=6)
        opts = self.mostly(1, 0, 2, 3, 0x11, odds=8)
        domid = self.mostly(r.randrange(1, 4), self.who())
        head = (u32(self.mostly(0, 1)), *[u32(0x11111111)] * 4, u32(flags), u32(0), u32(vcpus))
        tail = (u32(ports), u32(grants), u32(track), u32(opts), u32(0), u32(0))
        arch = (u32(self.mostly(0, 1, 0x7FF, odds=10)), u32(self.mostly(0, 1, 2, odds=15)))
        self.domctl("createdomain", 1, domid, *head, *tail, *arch)
        self.s.show("domain", ARG, 0x808, 2)
        self.show_info(domid)

    def show_info(self, domid: int) -> None:
        self.domctl("getdomaininfo", 5, domid)
        self.s.dump("domain to shr_pages", ARG, INFO, 40)
        self.s.dump("paged_pages", ARG, INFO + 40, 8)
        self.s.dump("vcpus to cpupool", ARG, INFO + 64, 32)

    def info(self) -> None:
        domid = self.random.choice((1, 2, 3, 4, ABSENT, 0x7FF0, 0x7FF2, 0xFFFF))
        self.show_info(domid)

    def destroy(self) -> None:
        """Its page is not named any more: who has that frame then is the allocator's affair."""
        domid = self.who()
        self.domctl("destroydomain", 2, domid)
        if domid in range(1, 5):
            self.s.let(FRAMES + domid, mfn(DATA[0]))
        self.show_info(self.random.randrange(1, 4))

    def pause(self) -> None:
        self.domctl(*self.random.choice((("pause", 3), ("unpause", 4))), self.who())

    def limits(self) -> None:
        r = self.random
        if r.randrange(2):
            domid = self.mostly(r.randrange(1, 4), ABSENT)
            self.domctl("max_mem", 11, domid, u64(r.choice((0, 4, 64, 67, 256, 2**40))))
        else:
            self.domctl(
                "max_vcpus", 15, self.who() or 1, u32(r.choice((0, 1, 1, 2, 2, 9, 2**32 - 1)))
            )

    def populate(self) -> None:
        r = self.random
        domid, n = r.randrange(1, 4), r.choice((1, 1, 2, 20))
        for i in range(n):
            self.s.put(ARRAY, i * 8, u64(i if i else mfn(DATA[0])))  # where it fails, that stays
        cmd = r.choice((6, 6, 6, 0, 1))
        fields = (u64(va(ARRAY)), u64(n), u32(self.mostly(0, 1, 2)), u32(0), u64(domid))
        self.s.call(f"memory_op {cmd} {domid}", MEMORY_OP, cmd, self.arg(*fields))
        if cmd == 6:
            self.s.load(FRAMES + domid, ARRAY, 0)
        self.s.call("current_reservation", MEMORY_OP, 3, self.s.put(ARG, 0x40, u16(domid)))

    def map_foreign(self) -> None:
        r = self.random
        domid, page = r.randrange(1, 4), r.choice(VICTIMS[:4])
        entry: Value = (var(FRAMES + domid) << 12) + RW
        by = self.mostly(domid, SELF, r.randrange(1, 4), ABSENT)
        self.s.call("map foreign", MAPPING_OTHERDOMAIN, va(page), entry, 2, by)
        if r.randrange(2):
            self.s.call("drop foreign", 14, va(page), 0, 2)
        self.show_info(domid)

    def ports(self) -> None:
        r = self.random
        domid = r.randrange(1, 4)
        cmd, fields = r.choice(
            (
                (6, (u16(domid), u16(0), u32(99))),
                (0, (u16(domid), u16(0), u32(r.choice((1, 2))), u32(99))),
                (5, (u16(r.choice((SELF, domid))), u16(0), u32(1))),
                (10, (u16(domid),)),
                (4, (u32(1),)),
            )
        )
        self.s.write(ARG, 0x40, bytes(32))
        self.s.call(f"event_channel_op {cmd}", EVENT_CHANNEL_OP, cmd, self.arg(*fields))
        self.s.dump("struct", ARG, 0x40, 24)

    def remote_shutdown(self) -> None:
        r = self.random
        domid = self.mostly(r.randrange(1, 4), ABSENT)
        fields = (u16(domid), u16(0), u32(r.choice((0, 1, 2, 3, 4, 5, 6, 255, 256))))
        self.s.call("remote_shutdown", SCHED_OP, 4, self.arg(*fields))
        self.show_info(domid)

    def others(self) -> None:
        r = self.random
        match r.randrange(5):
            case 0:
                self.domctl("setdomainhandle", 17, r.randrange(1, 4), *[u32(r.getrandbits(32))] * 4)
            case 1:
                self.domctl("unknown", r.choice((0, 99, 9999, 2**31)), self.who())
            case 2:
                self.domctl("resumedomain", 27, r.randrange(1, 4))
            case 3:
                head = (
                    u32(r.choice((1, 2, 3, 4, 5))),
                    u32(r.choice((0, 0x14, 0x16, DOMCTL_VERSION))),
                )
                self.s.call("version", DOMCTL, self.s.put(ARG, 0x40, *head, u64(ABSENT)))
            case 4:
                self.s.call("bad", DOMCTL, Expr(add=BAD))
