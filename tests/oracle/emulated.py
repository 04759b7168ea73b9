"""Runs scripts in the control domain of an emulated host."""

from __future__ import annotations

import errno
import struct

from oracle.script import (
    CALCULATIONS,
    FIRST_PFN,
    MASK,
    PAGE_SIZE,
    VARIABLES,
    VIRT_BASE,
    Calc,
    Call,
    Dump,
    Expr,
    Load,
    Op,
    Print,
    Script,
    Show,
    Store,
    Write,
)
from xenemu.machine import Machine

MACHINE_FRAMES = 512 * 256
DOMAIN_PAGES = 64 * 256
SHARED_INFO, PT_BASE = 40, 88  # in start_info
PTE_MFN = 0x000F_FFFF_FFFF_F000


def emulate(script: Script) -> list[str]:
    """The script's lines, on a machine of its own."""
    return EmulatedXen(script.vcpus).run(script)


def gva(page: int, offset: int = 0) -> int:
    return VIRT_BASE + (FIRST_PFN + page) * PAGE_SIZE + offset


class EmulatedXen:
    """A host and its control domain."""

    def __init__(self, vcpus: int = 1) -> None:
        self.machine = Machine(frames=MACHINE_FRAMES)
        self.core = self.machine.core
        self.domid = self.core.create_domain(
            pages=DOMAIN_PAGES,
            max_pages=2**32 - 1,
            window_pages=0,
            privileged=True,
            ip=0,
            no_ip=True,
            max_grant_frames=8,
            max_vcpus=vcpus,
        )
        self.core.unpause(self.domid)
        self.var = [0] * VARIABLES
        self.start = self.core.domain_info(self.domid)["start_info_gva"]
        self.tables: dict[int, int] = {}
        self.mask_events()
        self.frames = [self.frame(FIRST_PFN + page) for page in range(64)]

    def mask_events(self) -> None:
        """Real Xen starts a kernel with its events masked; xenemu's own kernels find them open."""
        mine = self.frame(FIRST_PFN)
        for frame in (self.shared_info() // PAGE_SIZE, mine):
            assert self.core.hypercall(self.domid, 14, gva(0), frame * PAGE_SIZE | 0x67, 2) == 0
            if frame != mine:
                self.write(0, 1, b"\1")

    def frame(self, pfn: int) -> int:
        """The frame that the direct map has there."""
        return self.core.guest_translate(self.domid, VIRT_BASE + pfn * PAGE_SIZE) // PAGE_SIZE

    def table(self, level: int) -> int:
        """The frame of the table of this level that maps page 0, as the tables were made."""
        if not self.tables:
            first = (self.word(self.start + PT_BASE) - VIRT_BASE) // PAGE_SIZE
            n = self.word(self.start + PT_BASE + 8)
            pfns = {self.frame(pfn): pfn for pfn in range(first, first + n)}
            self.tables[4] = mfn = self.frame(first)
            for above in range(4, 1, -1):
                slot = gva(0) >> 12 + 9 * (above - 1) & 511
                entry = VIRT_BASE + pfns[mfn] * PAGE_SIZE + 8 * slot
                mfn = (self.word(entry) & PTE_MFN) // PAGE_SIZE
                self.tables[above - 1] = mfn
        return self.tables[level]

    def word(self, address: int) -> int:
        return int.from_bytes(self.core.guest_read(self.domid, address, 8), "little")

    def base(self, e: Expr) -> int:
        match e.kind:
            case "":
                return 0
            case "va":
                return gva(e.index)
            case "mfn":
                return self.frames[e.index]
            case "v":
                return self.var[e.index]
            case "pte":
                return self.table(1) * PAGE_SIZE + (FIRST_PFN + e.index & 511) * 8
        return self.table(e.index) if e.index else self.shared_info()

    def shared_info(self) -> int:
        """Its machine address."""
        return self.word(self.start + SHARED_INFO)

    def value(self, e: Expr) -> int:
        return (self.base(e) << e.shift) + e.add & MASK

    def read(self, address: int, n: int) -> bytes | None:
        """None: it faults."""
        try:
            return self.core.guest_read(self.domid, address, n)
        except OSError as e:
            assert e.errno == errno.EFAULT
            return None

    def write(self, page: int, offset: int, data: bytes) -> None:
        try:
            self.core.guest_write(self.domid, gva(page, offset), data)
        except OSError as e:
            assert e.errno == errno.EFAULT

    def call(self, op: Call) -> str:
        done = 0
        while True:
            args = [self.value(a) for a in op.args]
            result = self.core.hypercall(self.domid, op.nr, *args)
            self.var[0] = result & MASK
            if not op.most:
                return str(result)
            if result < 0 or (done := done + 1) >= op.most:
                return f"{done} {result}"

    def run(self, script: Script) -> list[str]:
        """The script's lines; up to the call for which the domain was crashed, if there is one."""
        lines = []
        for op in script.ops:
            line = self.step(op)
            if isinstance(op, Call) and self.core.domain_info(self.domid)["crashed"]:
                break
            if line is not None:
                lines.append(line)
        return lines

    def step(self, op: Op) -> str | None:
        match op:
            case Write():
                self.write(op.page, op.offset, op.data)
            case Store():
                data = struct.pack("<Q", self.value(op.value))
                self.write(op.page, op.offset, data[: op.width])
            case Load():
                read = self.read(gva(op.page, op.offset), op.width)
                self.var[op.var] = int.from_bytes(read or b"", "little")
            case Calc():
                a, b = self.value(op.a), self.value(op.b)
                self.var[op.var] = CALCULATIONS[op.sign](a, b)
            case Call():
                return self.call(op)
            case Show():
                read = self.read(gva(op.page, op.offset), op.width)
                return "fault" if read is None else hex(int.from_bytes(read, "little") & op.mask)
            case Dump():
                read = self.read(gva(op.page, op.offset), op.size)
                return "fault" if read is None else read.hex()
            case Print():
                return hex(self.value(op.value))
        return None
