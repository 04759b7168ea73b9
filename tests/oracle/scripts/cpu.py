"""What belongs to a virtual CPU, versions, multicalls: each number and register once."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, mfn, table, u8, u16, u32, u64, va
from oracle.topics.base import ABSENT, ARG, ARRAY, BAD, BUFFER, SCHED_OP, SELF, VCPU_OP
from oracle.topics.cpu import (
    CALLBACK_OP,
    CONSOLE,
    GET_DEBUGREG,
    KERNEL,
    MULTICALL,
    NMI_OP,
    SET_DEBUGREG,
    SET_TIMER,
    VERSION,
    VM_ASSIST,
    Cpu,
)

SET_TRAP_TABLE, SET_GDT, UPDATE_DESCRIPTOR, SET_SEGMENT_BASE = 0, 2, 10, 25
GDT, LDT = 42, 43  # pages
LETHAL = {3, 23, 48}  # stack_switch, iret; mca is as the processor is
OWN_TABLE = {1, 12, 13, 14, 15, 18, 20, 24, 26, 29, 30, 32, 36, 55}  # elsewhere, or only ours


class Writer(Cpu):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)


def cpu() -> Script:
    w = Writer()
    w.map_shared_info()
    numbers(w)
    debug_registers(w)
    versions(w)
    virtual_cpus(w)
    schedules(w)
    callbacks(w)
    descriptors(w)
    multicalls(w)
    assists(w)
    selectors(w)
    return w.s


def numbers(w: Writer) -> None:
    for nr in (*range(64), 64, 127, 128, 2**31, 2**32 - 1):
        if nr not in LETHAL | OWN_TABLE | {0, 2, 4, 5, 7, 10, 22, 25, 33, 35}:
            w.s.call(f"hypercall {nr}", nr, 0, 0, 0, 0, 0)


def debug_registers(w: Writer) -> None:
    for register in (*range(9), 15, 2**31, 2**32 - 1, 2**32, 2**32 + 3):
        w.s.call(f"get {register:#x}", GET_DEBUGREG, register)
    addresses = (1, 0x1234_5678, 2**47 - 1, 2**47, KERNEL, KERNEL + 2**43, 2**63, 2**64 - 1)
    for register in (0, 3):
        for value in (*addresses, 0xFFFF_8800_0000_0000, 0):
            w.s.call(f"set {register} to {value:#x}", SET_DEBUGREG, register, value)
            w.s.call(f"get {register}", GET_DEBUGREG, register)
    for register in (4, 6):
        for value in (0, 0xFFFF_0FF0, 0xFFFF_FFFF, 2**32, 0xE00F, 2**64 - 1, 0):
            w.s.call(f"set {register} to {value:#x}", SET_DEBUGREG, register, value)
            w.s.call(f"get {register}", GET_DEBUGREG, register)
    for register in (5, 7):
        for bit in (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 31, 32, 63):
            w.s.call(f"set {register}, bit {bit}", SET_DEBUGREG, register, 1 << bit)
            w.s.call(f"get {register}", GET_DEBUGREG, register)
        w.s.call("clear", SET_DEBUGREG, register, 0)


def versions(w: Writer) -> None:
    for cmd in (*range(14), 99, 2**31, 2**32 - 1, 2**32):
        if cmd != 0:
            w.s.call(f"?xen_version {cmd}, bad address" * 1, VERSION, cmd, BAD)
    sizes = {1: 16, 3: 32}
    for cmd in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11):
        w.s.write(ARG, 0x40, bytes(256))
        own = "?" if cmd == 10 else ""
        w.s.call(f"{own}xen_version {cmd}", VERSION, cmd, va(ARG, 0x40))
        if cmd in sizes:
            w.s.dump("?text", ARG, 0x40, sizes[cmd])
    for index in (0, 1, 2, 2**31):
        w.s.call(f"features {index}", VERSION, 6, w.arg(u32(index), u32(99)))
        w.s.dump("features", ARG, 0x40, 8)
    w.s.call("platform_parameters", VERSION, 5, w.arg(u64(0)))
    w.s.show("virt_start", ARG, 0x40)


def virtual_cpus(w: Writer) -> None:
    for cmd in (*range(16), 99, 2**31, 2**32 - 1):
        for vcpu in (1, 8192, 2**32 - 1):
            w.s.call(f"vcpu_op {cmd} {vcpu}", VCPU_OP, cmd, vcpu, va(ARG, 0x40))
    for cmd in (1, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 99, 2**31, 2**32, 2**32 + 3):
        w.s.call(f"vcpu_op {cmd}, bad address", VCPU_OP, cmd, 0, BAD)
    for period in (0, 1, 999_999, 1_000_000, 2**62, 2**63, 2**64 - 1):
        w.s.call(f"period {period}", VCPU_OP, 6, 0, w.arg(u64(period)))
        w.s.call("stop", VCPU_OP, 7, 0, 0)
    for flags in (0, 1, 2, 3):
        for timeout in (1, 2**62, 2**63, 2**64 - 1):
            op = w.arg(u64(timeout), u32(flags), u32(0))
            w.s.call(f"single shot {timeout} {flags}", VCPU_OP, 8, 0, op)
    w.s.call("stop", VCPU_OP, 9, 0, 0)
    for timeout in (0, 2**40, 2**62, 2**63 - 1, 0):
        w.s.call(f"set_timer {timeout}", SET_TIMER, timeout)
    w.s.call("runstate", VCPU_OP, 4, 0, va(ARG, 0x40))
    w.s.show("state", ARG, 0x40, 4)
    for place in (va(50), va(50, 8), va(50, 0xFF8), Expr(add=BAD), Expr(add=KERNEL), Expr()):
        w.s.call("runstate area", VCPU_OP, 5, 0, w.arg(u64(place)))
        w.s.call("time area", VCPU_OP, 13, 0, w.arg(u64(place)))
    for frame in (2**40, 0, mfn(50)):
        for offset in (0, 1, 4096 - 63, 4096, 2**32 - 1):
            if not (offset == 0 and isinstance(frame, Expr)):
                fields = (u64(frame), u32(offset), u32(0))
                w.s.call("vcpu_info", VCPU_OP, 10, 0, w.arg(*fields))
    w.s.dump("vcpu_info", 0, 0, 16)
    w.s.call("vcpu_info", VCPU_OP, 10, 0, w.arg(u64(mfn(51)), u32(128), u32(0)))
    w.s.dump("vcpu_info", 51, 128, 16)
    w.s.call("vcpu_info again", VCPU_OP, 10, 0, w.arg(u64(mfn(51)), u32(192), u32(0)))


def schedules(w: Writer) -> None:
    for cmd in (2, 3, 4, 5, 6, 7, 8, 9, 99, 2**31, 2**32 - 1, 2**32 + 3):
        w.s.call(f"sched_op {cmd}, bad address", SCHED_OP, cmd, BAD)
    w.s.put(ARRAY, 0, u32(1), u32(4095), u32(4096), u32(0), u32(2**32 - 1))
    for at, n in ((0, 0), (0, 1), (0, 2), (0, 3), (8, 1), (12, 1), (16, 1), (0, 128), (0, 129)):
        for timeout in (1, 2):
            op = w.arg(u64(va(ARRAY, at)), u32(n), u32(0), u64(timeout))
            w.s.call(f"poll {n} at {at}", SCHED_OP, 3, op)
    for n in (0, 1, 129):
        op = w.arg(u64(BAD), u32(n), u32(0), u64(1))
        w.s.call(f"poll {n}, bad list", SCHED_OP, 3, op)
    for watchdog, timeout in (
        *((0, 60), (1, 60), (2, 60), (3, 60), (0, 60), (2, 0), (0, 3600), (0, 60), (1, 0), (1, 0)),
        *((2**32 - 1, 60), (2, 2**32 - 1), (2, 0), (2, 60)),
    ):
        w.s.call(f"watchdog {watchdog} {timeout}", SCHED_OP, 6, w.arg(u32(watchdog), u32(timeout)))
    for cpu in (-1, 0, 1, 4095):
        w.s.call(f"pin_override {cpu}", SCHED_OP, 7, w.arg(u32(cpu)))
    w.s.call("pin_override", SCHED_OP, 7, w.arg(u32(2**32 - 1)))
    w.s.call("remote_shutdown", SCHED_OP, 4, w.arg(u16(ABSENT), u16(0), u32(0)))
    w.s.call("remote_shutdown", SCHED_OP, 4, w.arg(u16(SELF), u16(0), u32(0)))


def callbacks(w: Writer) -> None:
    for kind in (*range(10), 255, 65535):
        for flags in (0, 1, 2):
            for address in (va(50), KERNEL, 2**47, 2**63):
                op = w.arg(u16(kind), u16(flags), u32(0), u64(address))
                w.s.call(f"register {kind} {flags}", CALLBACK_OP, 0, op)
        w.s.call(f"unregister {kind}", CALLBACK_OP, 1, w.arg(u16(kind), u16(0)))
    for cmd in (0, 1, 2, 99, 2**31):
        w.s.call(f"callback_op {cmd}, bad address", CALLBACK_OP, cmd, BAD)
    for cmd in (0, 1, 2, 99):
        for address in (va(50), Expr(add=KERNEL), Expr(add=BAD)):
            w.s.call(f"nmi_op {cmd}", NMI_OP, cmd, w.arg(u64(address), u64(0)))
    w.s.call("nmi_op, bad address", NMI_OP, 0, BAD)
    w.s.call("set_callbacks", 4, KERNEL, va(50), va(50))
    for vector, flags, address in ((300, 0, BAD), (0, 0, 0), (3, 0, KERNEL), (4, 3, 2**63)):
        traps = (u8(vector), u8(flags), u16(0xE033), u32(0), u64(address))
        w.s.call(f"set_trap_table {vector}", SET_TRAP_TABLE, w.arg(*traps, u64(0), u64(0)))
    w.s.call("set_trap_table, bad address", SET_TRAP_TABLE, BAD)
    w.s.call("fpu_taskswitch", 5, 1)
    w.s.call("fpu_taskswitch", 5, 0)


def descriptors(w: Writer) -> None:
    for entries in (0, 1, 512, 513, 7167, 7168, 7169, 8192, 2**31, 2**32 - 1):
        w.s.put(ARRAY, 0, u64(2**40))
        w.s.call(f"set_gdt, {entries} entries of no frame", SET_GDT, va(ARRAY), entries)
        w.s.call(f"set_gdt, {entries} entries, bad address", SET_GDT, BAD, entries)
    for page in (40, 41):
        w.s.put(ARRAY, 0, u64(mfn(page)))
        w.s.call("set_gdt of a page that is mapped", SET_GDT, va(ARRAY), 512)
    w.s.put(ARRAY, 0, u64(table(1)))
    w.s.call("set_gdt of a table", SET_GDT, va(ARRAY), 512)
    segments = (0, 1, 2**47, 0x00CF_9B00_0000_FFFF, 0x00AF_FB00_0000_FFFF, 0x0000_8900_0000_0067)
    for value in segments:
        for place in (mfn(40) << 12, (mfn(40) << 12) + 4, Expr(add=2**52), table(1) << 12):
            w.s.call(f"update_descriptor {value:#x}", UPDATE_DESCRIPTOR, place, value)
    w.s.show("descriptor", 40, 0)
    for which in (0, 1, 2, 3, 4, 99):
        for base in (0, 2**46, 2**47, 2**63):
            if which == 3 and base:  # a selector: it would be loaded
                continue
            w.s.call(f"set_segment_base {which} {base:#x}", SET_SEGMENT_BASE, which, base)
    for which in (0, 1, 2):
        w.s.call(f"set_segment_base {which}", SET_SEGMENT_BASE, which, 0)


def multicalls(w: Writer) -> None:
    entries = (
        (VERSION, 0),
        (60, 0),
        (MULTICALL, 0),
        (VERSION, 99),
        (2**32 + VERSION, 0),
        (2**40, 7),
    )
    for n, (op, first) in enumerate(entries):
        w.s.put(ARRAY, 64 * n, u64(op), u64(0xEEEE), u64(first), *[u64(7)] * 5)
    for count in (0, 1, 6, 2**32, 2**32 + 1):
        w.s.call(f"multicall of {count}", MULTICALL, va(ARRAY), count)
        for n in range(6):
            w.s.dump(f"entry {n}", ARRAY, 64 * n, 64)
    for place in (Expr(add=BAD), Expr(add=KERNEL), Expr()):
        for count in (0, 1, 2**31):
            w.s.call("multicall, bad address", MULTICALL, place, count)
    w.s.call("nothing behind", 14, va(8), 0, 2)
    for n in range(2):
        w.s.put(7, 4096 - 128 + 64 * n, u64(VERSION), u64(0xEEEE), *[u64(0)] * 6)
    w.s.call("multicall into nothing", MULTICALL, va(7, 4096 - 128), 3)
    w.s.dump("entries", 7, 4096 - 128, 128)
    w.map_back(8)


def assists(w: Writer) -> None:
    for cmd in (0, 1, 2, 2**31):
        for kind in (*range(8), 30, 31, 32, 33, 63, 64, 2**31):
            if kind in (0, 1) and cmd == 0:  # segments of 4 GiB are not of this guest
                continue
            w.s.call(f"vm_assist {cmd} {kind}", VM_ASSIST, cmd, kind)
    w.s.put(BUFFER, 0, u8(10))
    for cmd in (0, 2, 3, 99, 2**31):
        for count in (0, 2**31) if cmd else (0,):
            w.s.call(f"console_io {cmd} {count:#x}", CONSOLE, cmd, count, va(BUFFER))
    w.s.call("console_io, bad address", CONSOLE, 0, 1, BAD)
    w.s.call("console_io read, bad address", CONSOLE, 1, 16, BAD)


def selectors(w: Writer) -> None:
    """A descriptor that was loaded is marked so; a page of the LDT that was used is no other's."""
    kinds = (0x00CF_F200, 0x00CF_F000, 0x00CF_F800, 0x00CF_FA00, 0x00CF_FE00, 0x00CF_7200)
    for page in (GDT, LDT):
        for n, kind in enumerate(kinds):
            w.s.put(page, 8 * n, u32(0xFFFF), u32(kind))
        w.s.call("read-only", 14, va(page), (mfn(page) << 12) + 0x65, 2)
    w.s.put(ARRAY, 0, u64(mfn(GDT)))
    w.s.call("set_gdt", SET_GDT, va(ARRAY), 3)
    for entries in (4, 4, 5, 0):
        w.s.call(
            f"set_ldt {entries}", 26, w.arg(u32(13), u32(0), u64(va(LDT)), u64(entries)), 1, 0, SELF
        )
        for n in range(len(kinds)):
            for selector in (8 * n, 8 * n + 4):
                w.s.call(f"GS {selector}", SET_SEGMENT_BASE, 3, selector)
                w.s.show("of the GDT", GDT, 8 * n)
                w.s.show("of the LDT", LDT, 8 * n)
        w.map_back(LDT)
        w.s.call("no more", 14, va(LDT), (mfn(LDT) << 12) + 0x65, 2)
    w.s.call("no GDT", SET_GDT, 0, 0)
    for page in (GDT, LDT):
        w.map_back(page)
    w.s.write(GDT, 0, bytes(8 * len(kinds)))
    for strict in (1, 0):
        w.s.call("m2p_strict", VM_ASSIST, 1 - strict, 32)
        w.s.call("read-only", 14, va(GDT), (mfn(GDT) << 12) + 0x65, 2)
        for cmd in (3, 15):  # pin level 4; the root of user mode
            w.s.call(
                f"mmuext_op {cmd}", 26, w.arg(u32(cmd), u32(0), u64(mfn(GDT)), u64(0)), 1, 0, SELF
            )
            w.s.show("M2P", GDT, 8 * 256, 8, 1)
        w.s.call("no user mode", 26, w.arg(u32(15), u32(0), u64(0), u64(0)), 1, 0, SELF)
        w.s.call("unpin", 26, w.arg(u32(4), u32(0), u64(mfn(GDT)), u64(0)), 1, 0, SELF)
        w.map_back(GDT)
