"""domctl: each field of createdomain, the order of checks, and lives with their zombies."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, mfn, u16, u32, u64, va, var
from oracle.topics.base import (
    ABSENT,
    ARG,
    BAD,
    DATA,
    DOMCTL,
    EVENT_CHANNEL_OP,
    MAPPING_OTHERDOMAIN,
    RW,
    SCHED_OP,
    SELF,
)
from oracle.topics.domains import FRAMES, Domains

CREATE, DESTROY, PAUSE, UNPAUSE, INFO, MAX_MEM, MAX_VCPUS = 1, 2, 3, 4, 5, 11, 15
# createdomain: position of a field among its 32-bit words, and what is tried for it
FIELDS = {
    "flags": (5, (1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 2**31)),
    "iommu_opts": (6, (1, 2, 2**31)),
    "max_vcpus": (7, (0, 1, 2, 8192, 8193, 2**31, 2**32 - 1)),
    "max_evtchn_port": (8, (0, 1, 1023, 131071, 131072, 2**31 - 1, 2**31, 2**32 - 1)),
    "max_grant_frames": (9, (0, 1, 8, 65, 2**31, 2**32 - 1)),
    "max_maptrack_frames": (10, (0, 1, 1024, 1025, 2**31, 2**32 - 1)),
    "grant_opts": (11, (0, 1, 2, 3, 4, 0x10, 0x11, 2**31)),
    "vmtrace_size": (12, (1, 4096)),
    "cpupool_id": (13, (1, 2**32 - 1)),
    "emulation_flags": (14, (1, 2, 0x7FF, 2**31)),
    "misc_flags": (15, (1, 2, 2**31)),
}
USUAL = [0, 0x11, 0x22, 0x33, 0x44, 0, 0, 1, 1023, 4, 4, 1, 0, 0, 0, 0]


class Writer(Domains):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.prologue()

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def make(self, domid: int, words: list[int]) -> None:
        self.domctl("createdomain", CREATE, domid, *map(u32, words))
        self.s.show("domain", ARG, 0x808, 2)
        self.s.show("flags", ARG, 0x810 + 20, 4)

    def get(self, domid: int, n: int = 1) -> None:
        """Pages, the last of which is remembered."""
        self.s.put(4, 0, u64(mfn(DATA[0])), *[u64(i) for i in range(1, n)])
        self.s.call(
            f"populate {domid:#x} {n}",
            12,
            6,
            self.arg(u64(va(4)), u64(n), u32(0), u32(0), u16(domid), u16(0), u32(0)),
        )
        self.s.load(FRAMES + domid, 4, 0)

    def map(self, domid: int, page: int, flags: int = RW, by: int | None = None) -> None:
        entry = (var(FRAMES + domid) << 12) + flags
        owner = domid if by is None else by
        self.s.call(f"map at {page}", MAPPING_OTHERDOMAIN, va(page), entry, 2, owner)


def domains() -> Script:
    w = Writer()
    order_of_checks(w)
    fields(w)
    names(w)
    pauses(w)
    limits(w)
    zombies(w)
    shutdowns(w)
    return w.s


def order_of_checks(w: Writer) -> None:
    """Address, version, domain, operation: which one is told of."""
    for cmd in (0, CREATE, DESTROY, INFO, 6, 9, 12, 13, 24, 27, 60, 99, 9999, 2**31, 2**32 - 1):
        for version in (0, 0x14, 0x15, 0x16):
            for domid in (ABSENT, 0x7FF0, 0xFFFF):
                if cmd == CREATE and version == 0x15:
                    continue
                w.s.write(ARG, 0x40, bytes(144))
                op = w.arg(u32(cmd), u32(version), u64(domid))
                w.s.call(f"{cmd:#x}, version {version:#x}, {domid:#x}", DOMCTL, op)
    for place in (Expr(add=BAD), va(4, 0xFF8), Expr(), Expr(add=0xFFFF_8300_0000_0000)):
        w.s.call("bad address", DOMCTL, place)


def fields(w: Writer) -> None:
    for name, (at, values) in FIELDS.items():
        for value in values:
            if name == "flags" and value in (1, 2):  # as a machine with HVM, or without, would say
                continue
            words = list(USUAL)
            words[at] = value
            w.s.print(f"{name} = {value:#x}", at)
            w.make(1, words)
            w.show_info(1)
            w.domctl("destroy", DESTROY, 1)


def names(w: Writer) -> None:
    """Which ids there may be, and which is taken if any will do."""
    for domid in (0, 1, 1, 3, 0, 0, 4095, 0x7FF0, 0x7FF1, 0x7FF4, 0x8000, 0xFFFF):
        w.make(domid, USUAL)
    for domid in (0, 1, 2, 3, 4, 5, ABSENT, 4095, 0x7FF0, 0xFFFF):
        if domid:
            w.show_info(domid)
    for domid in (1, 2, 3, 4, 5, 4095):
        w.domctl("setdomainhandle", 17, domid, *[u32(0x1000 + domid)] * 4)
        w.show_info(domid)
        w.domctl("destroy", DESTROY, domid)
        w.domctl("destroy again", DESTROY, domid)
    for cmd in (DESTROY, PAUSE, UNPAUSE, 17):
        for domid in (0, SELF, 0x7FF1, 0x7FF2):
            if cmd != 17 or domid:
                w.domctl(f"operation {cmd}", cmd, domid)


def pauses(w: Writer) -> None:
    """They nest, and the domain is born with one."""
    w.make(1, USUAL)
    for cmd in (PAUSE, UNPAUSE, UNPAUSE, UNPAUSE, PAUSE, PAUSE, UNPAUSE, UNPAUSE, UNPAUSE):
        w.domctl(f"operation {cmd}", cmd, 1)
        w.show_info(1)
    w.domctl("max_vcpus", MAX_VCPUS, 1, u32(1))
    for cmd in (PAUSE, UNPAUSE, UNPAUSE):
        w.domctl(f"operation {cmd}", cmd, 1)
        w.show_info(1)
    w.s.call("reset, running", EVENT_CHANNEL_OP, 10, w.arg(u16(1)))
    w.domctl("pause", PAUSE, 1)
    w.s.call("reset, paused", EVENT_CHANNEL_OP, 10, w.arg(u16(1)))
    w.domctl("destroy", DESTROY, 1)


def limits(w: Writer) -> None:
    w.make(1, [*USUAL[:7], 2, *USUAL[8:]])
    for n in (0, 1, 3, 2**32 - 1, 2, 2):
        w.domctl(f"max_vcpus {n}", MAX_VCPUS, 1, u32(n))
        w.show_info(1)
    w.get(1)
    for kb in (3, 4, 11, 64, 0, 2**40, 2**63, 2**64 - 1, 64):
        w.domctl(f"max_mem {kb}", MAX_MEM, 1, u64(kb))
        w.show_info(1)
        w.get(1, 4)
    w.show_info(1)
    w.get(1, 20)
    w.show_info(1)
    for domid in (ABSENT, SELF, 0x7FF1):
        w.domctl("max_mem", MAX_MEM, domid, u64(64))
        w.domctl("max_vcpus", MAX_VCPUS, domid, u32(1))
    w.domctl("destroy", DESTROY, 1)
    w.show_info(1)


def zombies(w: Writer) -> None:
    """What is still mapped keeps it; what one can do with a dying domain."""
    w.make(1, USUAL)
    w.domctl("max_mem", MAX_MEM, 1, u64(64))
    w.get(1, 3)
    for by in (None, SELF, 2, 0x7FF1, ABSENT):
        w.map(1, 32, by=by)
    w.map(1, 33, 0x65)
    w.show_info(1)
    w.s.call("port", EVENT_CHANNEL_OP, 6, w.arg(u16(1), u16(0), u32(0)))
    w.s.call("bound", EVENT_CHANNEL_OP, 0, w.arg(u16(1), u16(0), u32(1), u32(0)))
    w.domctl("destroy", DESTROY, 1)
    w.show_info(1)
    for cmd in (DESTROY, PAUSE, UNPAUSE, MAX_MEM, MAX_VCPUS):
        w.domctl(f"operation {cmd}", cmd, 1, u64(4))
    w.make(1, USUAL)
    w.get(1)
    w.s.call("port", EVENT_CHANNEL_OP, 6, w.arg(u16(1), u16(0), u32(0)))
    w.s.call("its status", EVENT_CHANNEL_OP, 5, w.arg(u16(SELF), u16(0), u32(1)))
    w.s.dump("struct", ARG, 0x40, 24)
    w.s.call("send", EVENT_CHANNEL_OP, 4, w.arg(u32(1)))
    w.s.call("current_reservation", 12, 3, w.arg(u16(1)))
    w.map(1, 34)
    w.s.call("shut down", SCHED_OP, 4, w.arg(u16(1), u16(0), u32(3)))
    w.map_back(32)
    w.show_info(1)
    w.map_back(33)
    w.show_info(1)
    w.map(1, 35)
    w.map_back(35)
    w.map_back(34)
    w.show_info(1)
    w.s.call("close", EVENT_CHANNEL_OP, 3, w.arg(u32(1)))


def shutdowns(w: Writer) -> None:
    for reason in (0, 1, 2, 3, 4, 5, 6, 255, 256, 2**32 - 1):
        w.make(2, USUAL)
        w.domctl("max_vcpus", MAX_VCPUS, 2, u32(1))
        w.s.call(f"reason {reason:#x}", SCHED_OP, 4, w.arg(u16(2), u16(0), u32(reason)))
        w.show_info(2)
        w.s.call("again", SCHED_OP, 4, w.arg(u16(2), u16(0), u32(1)))
        w.show_info(2)
        w.domctl("resumedomain", 27, 2)
        w.show_info(2)
        w.domctl("destroy", DESTROY, 2)
    for domid in (0x7FF1, ABSENT, 0xFFFF):
        w.s.call(f"of {domid:#x}", SCHED_OP, 4, w.arg(u16(domid), u16(0), u32(0)))
