"""A second virtual CPU: what it may be given before it runs, and what can be told to it. It never
runs: nothing here would bear that."""

from __future__ import annotations

from oracle.script import Expr, Field, Script, Vcpus, mfn, table, u32, u64, va
from oracle.scripts.cpu import Writer as CpuWriter
from oracle.topics.base import ARG, RO, SHARED, UPDATE_VA_MAPPING, VCPU_OP

CONTEXT = 12  # page of the context, which goes on in the next
INITIALISE, UP, DOWN, IS_UP = 0, 1, 2, 3
# Offsets in vcpu_guest_context.
FLAGS, CS, SS, GDT_FRAMES, GDT_ENTRIES = 512, 520 + 136, 520 + 160, 4832, 4960
LDT_BASE, LDT_ENTRIES, CR3, DEBUG, CALLBACK, ASSIST, FS_BASE = (
    4816,
    4824,
    4984 + 24,
    5048,
    5112,
    5136,
    5144,
)
SIZE = 5168
IN_KERNEL, FPU_VALID, ONLINE = 4, 1, 32


class Writer(CpuWriter):
    vcpus = 3

    def context(self, *changes: tuple[int, Field]) -> None:
        """The usual one, with these fields otherwise."""
        for page, size in ((CONTEXT, 4096), (CONTEXT + 1, SIZE - 4096)):
            self.s.write(page, 0, bytes(size))
        usual = ((FLAGS, u64(IN_KERNEL)), (CS, u64(0xE033)), (SS, u64(0xE02B)))
        for offset, field in (*usual, (CR3, u64(table(4) << 12)), *changes):
            self.s.put(CONTEXT + offset // 4096, offset % 4096, field)

    def initialise(self, label: str, *changes: tuple[int, Field], vcpu: int = 1) -> None:
        self.context(*changes)
        self.s.call(f"initialise, {label}", VCPU_OP, INITIALISE, vcpu, va(CONTEXT))
        self.s.call("is_up", VCPU_OP, IS_UP, vcpu, 0)


def smp() -> Script:
    w = Writer()
    assert isinstance(w.s.ops[0], Vcpus)
    w.map_shared_info()
    w.s.dump("vcpu_info 1", SHARED, 64, 16)
    for cmd in (UP, DOWN, IS_UP, 4, 6, 7, 8, 9, 14, 99):
        w.s.write(ARG, 0x40, bytes(64))
        w.s.call(f"vcpu_op {cmd} before", VCPU_OP, cmd, 1, va(ARG, 0x40))
    w.s.show("runstate", ARG, 0x40, 4)
    refused(w)
    w.s.call("GDT read-only", UPDATE_VA_MAPPING, va(14), (mfn(14) << 12) + RO, 2)
    w.s.call("GDT nowhere", UPDATE_VA_MAPPING, va(14), 0, 2)
    w.initialise("with a GDT", (GDT_ENTRIES, u64(512)), (GDT_FRAMES, u64(mfn(14))))
    w.s.call("GDT back", UPDATE_VA_MAPPING, va(14), (mfn(14) << 12) + 0x67, 2)
    w.initialise("again")
    w.initialise("of the one that runs", vcpu=0)
    w.initialise("a third", vcpu=2)
    w.initialise("again", vcpu=2)
    for cmd in (DOWN, IS_UP, 4, 6, 7, 8, 9, 14):
        w.s.write(ARG, 0x40, bytes(64))
        w.s.call(f"vcpu_op {cmd} after", VCPU_OP, cmd, 1, va(ARG, 0x40))
    for place in (va(50), va(50, 8), va(50, 0xFFF), Expr(add=2**63)):
        w.s.call("runstate area", VCPU_OP, 5, 1, w.arg(u64(place)))
        w.s.call("time area", VCPU_OP, 13, 1, w.arg(u64(place)))
    w.s.call("vcpu_info", VCPU_OP, 10, 1, w.arg(u64(mfn(51)), u32(64), u32(0)))
    w.s.dump("vcpu_info", 51, 64, 16)
    w.s.call("vcpu_info again", VCPU_OP, 10, 1, w.arg(u64(mfn(51)), u32(64), u32(0)))
    return w.s


def refused(w: Writer) -> None:
    """Contexts that it is not made of. None of these may leave anything behind."""
    for name, root in (("a page", mfn(8)), ("no frame", Expr(add=2**30)), ("none", Expr())):
        w.initialise(f"root: {name}", (CR3, u64(root << 12)))
    w.initialise("root: a table of level 3", (CR3, u64(table(3) << 12)))
    for entries in (1, 512, 513, 7168, 7169, 8192, 2**32):
        w.initialise(f"GDT of {entries}, no frame", (GDT_ENTRIES, u64(entries)))
        frame = (GDT_FRAMES, u64(mfn(8)))
        w.initialise(f"GDT of {entries}, a page", (GDT_ENTRIES, u64(entries)), frame)
    for entries in (1, 8192, 8193, 2**32):
        for base in (0, 8, 2**47, 0xFFFF_8300_0000_0000, 4096):
            bad_root = (CR3, u64(mfn(8) << 12))
            fields = ((LDT_ENTRIES, u64(entries)), (LDT_BASE, u64(base)), bad_root)
            w.initialise(f"LDT of {entries} at {base:#x}", *fields)
    for name, offset in (
        ("callback", CALLBACK),
        ("fs", FS_BASE),
        ("dr0", DEBUG),
        ("dr7", DEBUG + 56),
    ):
        for value in (2**47, 0xFFFF_8300_0000_0000, 2**63, 2**64 - 1):
            bad_root = (CR3, u64(mfn(8) << 12))
            w.initialise(f"{name} {value:#x}", (offset, u64(value)), bad_root)
    for flags in (0, FPU_VALID, ONLINE, 2**31, 2**63):
        w.initialise(f"flags {flags:#x}", (FLAGS, u64(flags)), (CR3, u64(mfn(8) << 12)))
    w.s.call("initialise, bad address", VCPU_OP, INITIALISE, 1, 0xDEADBEEF000)
    w.s.call("initialise, its end not there", VCPU_OP, INITIALISE, 1, va(63))
