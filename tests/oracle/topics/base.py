"""What the generators share: a layout of the script's pages, and plausible arguments.

A topic makes a prologue, and episodes of steps; a step is a few operations that make sense alone,
so that any of them can be left out. Never made: what would kill the guest (its code, stack and
start pages given away, events unmasked, shutdown, iret), what depends on time, and frame numbers
in what is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from oracle.script import (
    MASK,
    Expr,
    Field,
    Script,
    Value,
    Vcpus,
    expr,
    mfn,
    table,
    u16,
    u32,
    u64,
    va,
)

MMU_UPDATE, MEMORY_OP, UPDATE_VA_MAPPING, GRANT_TABLE_OP = 1, 12, 14, 20
MAPPING_OTHERDOMAIN = 22
VCPU_OP, MMUEXT_OP, SCHED_OP, EVENT_CHANNEL_OP, DOMCTL = 24, 26, 29, 32, 36
SELF, IO, XEN = 0x7FF0, 0x7FF1, 0x7FF2
ABSENT = 77
BAD = 0xDEADBEEF000
RW, RO = 0x67, 0x65
DOMCTL_VERSION = 0x15
TLB_FLUSH_LOCAL = 6

SHARED, TABLE, ARG, ARRAY, BUFFER, VIEW = 0, 1, 3, 4, 5, 60
DATA = range(8, 32)  # each with its number in it
VICTIMS = range(32, 48)  # what happens to them is shown, or nothing
SCRATCH = 255  # a variable
TAG = 0xFF0  # offset of that number; it is no present page table entry
PTE_FLAGS = 0x8000_0000_0000_0F9F  # without accessed, dirty and frame


T = TypeVar("T")


class Topic:
    """Makes steps from a generator of random numbers."""

    vcpus = 1

    def __init__(self, random: Random) -> None:
        self.random = random
        self.s = Script([Vcpus(self.vcpus)] if self.vcpus > 1 else [])

    def prologue(self) -> None:
        """What all episodes need."""

    def reset(self) -> None:
        """Between episodes: back to a known state."""

    def step(self) -> None:
        raise NotImplementedError

    # pieces

    def one_of(self, *choices: Value) -> Value:
        return self.random.choice(choices)

    def mostly(self, usual: T, *other: T, odds: int = 8) -> T:
        """The usual one, or (one time in `odds`) one of the others."""
        return usual if self.random.randrange(odds) else self.random.choice(other)

    def pick(self, weights: dict[Callable[[], None], int]) -> None:
        self.random.choices(list(weights), list(weights.values()))[0]()

    def domid(self) -> int:
        return self.random.choice((SELF, SELF, SELF, 0, 0, 1, 1, 2, ABSENT, IO, XEN, 0x7FF4))

    def own(self) -> int:
        return self.mostly(SELF, 0, 1, ABSENT)

    def arg(self, *fields: Field) -> Expr:
        """A struct in the page of arguments; now and then its address is bad."""
        return self.mostly(self.s.put(ARG, 0x40, *fields), Expr(add=BAD), odds=60)

    def map_shared_info(self) -> None:
        self.s.call("map shared_info", UPDATE_VA_MAPPING, va(SHARED), Expr("info", 0, 0, RW), 2)

    def map_view(self) -> None:
        """The level 1 table of the script's pages, to look at."""
        self.s.call("map view", UPDATE_VA_MAPPING, va(VIEW), (table(1) << 12) + RO, 2)

    def tag_pages(self) -> None:
        for page in (*DATA, *VICTIMS):
            self.s.put(page, TAG, u64(0xC0DE_0000 + 16 * page))

    def flush_tlb(self) -> None:
        """What the processor still has from before is no answer."""
        op = self.s.put(ARG, 0x700, u64(TLB_FLUSH_LOCAL), u64(0), u64(0))
        self.s.call("flush", MMUEXT_OP, op, 1, 0, SELF)

    def show_entry(self, page: int) -> None:
        """The flags of the entry that maps the page, and which frame that is."""
        self.flush_tlb()
        self.s.show(f"flags of page {page}'s entry", VIEW, page * 8, 8, PTE_FLAGS)
        self.s.show(f"tag in page {page}", page, TAG)

    def map_back(self, page: int) -> None:
        self.s.call("map back", UPDATE_VA_MAPPING, va(page), (mfn(page) << 12) + RW, 2)

    def create_domain(self, domid: int, max_kb: int = 0, vcpus: int = 0) -> None:
        """A domain beside us, as domctl makes them: it never runs."""
        create = (*[u32(0)] * 7, u32(1), u32(1023), u32(4), u32(4), u32(1))
        self.domctl("createdomain", 1, domid, *create)
        if max_kb:
            self.domctl("max_mem", 11, domid, u64(max_kb))
        if vcpus:
            self.domctl("max_vcpus", 15, domid, u32(vcpus))

    def map_grant_table(self, domid: Value, page: int) -> None:
        """Another domain's, by acquire_resource."""
        one = (u16(domid), u16(1), u32(0), u32(1), u32(0), u64(0), u64(va(ARRAY)))
        self.s.call("acquire_resource", MEMORY_OP, 28, self.s.put(ARG, 0x800, *one))
        frame = self.s.load(SCRATCH, ARRAY, 0)
        entry = (frame << 12) + RW
        self.s.call("map its table", MAPPING_OTHERDOMAIN, va(page), entry, 2, domid)

    def map_shared_info_of(self, domid: int, page: int) -> None:
        self.domctl("getdomaininfo", 5, domid)
        entry = (self.s.load(SCRATCH, ARG, 0x810 + 48) << 12) + RW
        self.s.call("map its shared_info", MAPPING_OTHERDOMAIN, va(page), entry, 2, domid)

    def domctl(self, label: str, cmd: int, domid: Value, *fields: Field) -> None:
        self.s.write(ARG, 0x800, bytes(144))
        head = (u32(cmd), u32(DOMCTL_VERSION), u64(domid))
        self.s.call(f"{label} {expr(domid)}", DOMCTL, self.s.put(ARG, 0x800, *head, *fields))

    def junk(self) -> int:
        r = self.random
        return r.choice((0, 1, 2, 3, 7, 63, 64, 4095, 4096, 2**31, 2**32 - 1, 2**63, MASK))
