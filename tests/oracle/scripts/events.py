"""event_channel_op: each operation on a port in each state; the FIFO ABI."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, mfn, u8, u16, u32, u64
from oracle.topics.base import ABSENT, ARG, BAD, EVENT_CHANNEL_OP, IO, SELF, SHARED, XEN
from oracle.topics.events import CON_RING, MASKS, PENDING, Events

PORTS = (*range(12), 63, 64, 127, 128, 4095, 4096, 2**31, 2**32 - 1)
INIT_CONTROL, EXPAND_ARRAY, SET_PRIORITY = 11, 12, 13


class Writer(Events):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.prologue()
        self.reset()

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def setup(self) -> None:
        """Ports 1 to 9: unbound for us, domain 1, nobody; a pair; virqs; an ipi; a closed one."""
        for remote in (SELF, 1, ABSENT, 0):
            self.op("alloc_unbound", 6, u16(SELF), u16(remote), u32(99))
        self.op("bind_interdomain", 0, u16(SELF), u16(0), u32(4), u32(99))
        self.op("bind_virq debug", 1, u32(1), u32(0), u32(99))
        self.op("bind_virq dom_exc", 1, u32(3), u32(0), u32(99))
        self.op("bind_ipi", 7, u32(0), u32(99))
        self.op("bind_ipi", 7, u32(0), u32(99))
        self.op("close", 3, u32(9))
        self.show()

    def ops(self, port: int) -> None:
        self.op(f"status {port}", 5, u16(SELF), u16(0xAAAA), u32(port), u32(9), u32(9), u64(9))
        self.s.dump("struct", ARG, 0x40, 24)
        self.op(f"send {port}", 4, u32(port))
        self.s.show("pending", SHARED, PENDING)
        self.s.dump("vcpu_info", SHARED, 0, 16)
        self.s.put(SHARED, PENDING, u64(0))
        self.s.put(SHARED, 0, u8(0), u8(1), u16(0), u32(0), u64(0))
        self.s.put(SHARED, MASKS, u64(2**64 - 1))
        self.op(f"send masked {port}", 4, u32(port))
        self.s.dump("vcpu_info", SHARED, 0, 16)
        self.op(f"unmask {port}", 9, u32(port))
        self.s.show("mask", SHARED, MASKS)
        self.s.dump("vcpu_info", SHARED, 0, 16)
        self.s.put(SHARED, PENDING, u64(0))
        self.s.put(SHARED, MASKS, u64(0))
        self.s.put(SHARED, 0, u8(0), u8(1), u16(0), u32(0), u64(0))
        for vcpu in (0, 1, 8192, 2**32 - 1):
            self.op(f"bind_vcpu {port} {vcpu}", 8, u32(port), u32(vcpu))

    def binds(self, port: int) -> None:
        for domid in (SELF, 0, 1, 2, ABSENT, IO, XEN, 0xFFFF):
            self.op(
                f"bind_interdomain {domid:#x} {port}", 0, u16(domid), u16(7), u32(port), u32(99)
            )
            self.s.dump("struct", ARG, 0x40, 12)
            self.s.show("pending", SHARED, PENDING)


def events() -> Script:
    w = Writer()
    w.setup()
    for port in PORTS:
        w.ops(port)
    for port in PORTS:
        w.binds(port)
    for port in PORTS:
        w.op(f"close {port}", 3, u32(port))
        w.show()
    everybody(w)
    virqs(w)
    refused(w)
    w.op("alloc_unbound", 6, u16(SELF), u16(SELF), u32(99))
    w.s.call("until it is full", EVENT_CHANNEL_OP, 6, w.arg(u16(SELF), u16(0)), most=5000)
    for port in (4095, 4096):
        w.op(f"send {port}", 4, u32(port))
        w.op(f"close {port}", 3, u32(port))
    w.s.show("pending of the last", SHARED, PENDING + 504)
    w.op("reset", 10, u16(SELF))
    w.op("status after a reset", 5, u16(SELF), u16(0), u32(4095))
    return w.s


def everybody(w: Writer) -> None:
    """Domains that may be named, in each place."""
    names = (SELF, 0, 1, 2, 3, ABSENT, 0x7FEF, IO, XEN, 0x7FF4, 0x8000, 0xFFFF)
    for domid in names:
        for remote in names:
            w.op(f"alloc_unbound {domid:#x} {remote:#x}", 6, u16(domid), u16(remote), u32(99))
            w.s.show("port", ARG, 0x44, 4)
    for domid in names:
        w.op(f"status of {domid:#x}", 5, u16(domid), u16(0), u32(1))
        w.s.dump("struct", ARG, 0x40, 24)
    for domid in names:
        w.op(f"reset {domid:#x}", 10, u16(domid))
    w.op("status after", 5, u16(1), u16(0), u32(1))
    w.s.dump("struct", ARG, 0x40, 24)


def virqs(w: Writer) -> None:
    for virq in (*range(26), 2**31, 2**32 - 1):
        if virq == CON_RING:
            continue
        for vcpu in (1, 8192, 0, 0):
            w.op(f"bind_virq {virq} {vcpu}", 1, u32(virq), u32(vcpu), u32(99))
            w.s.show("port", ARG, 0x48, 4)
    for port in range(1, 20):
        w.op(f"status {port}", 5, u16(SELF), u16(0), u32(port))
        w.s.dump("struct", ARG, 0x40, 24)
        w.op(f"bind_vcpu {port}", 8, u32(port), u32(0))
    for vcpu in (0, 1, 31, 32, 8192, 2**32 - 1):
        w.op(f"bind_ipi {vcpu}", 7, u32(vcpu), u32(99))
        w.s.show("port", ARG, 0x44, 4)
    w.op("reset", 10, u16(SELF))
    w.show()


def refused(w: Writer) -> None:
    for cmd in (*range(16), 99, 2**31, 2**32 - 1, 2**32, 2**32 + 6, 2**63):
        w.s.call(f"operation {cmd}, bad address", EVENT_CHANNEL_OP, cmd, BAD)
    for pirq in (2**31, 2**32 - 1):  # dom0 has the small ones
        for flags in (0, 1, 2, 0xFF):
            w.op(f"bind_pirq {pirq} {flags}", 2, u32(pirq), u32(flags), u32(99))
    for port in (0, 1, 4095, 2**32 - 1):
        for priority in (0, 7, 15, 16):
            w.op(f"set_priority {port} {priority}", SET_PRIORITY, u32(port), u32(priority))
    for frame in (0, 2**40, mfn(40)):
        w.op("expand_array", EXPAND_ARRAY, u64(frame))
    for vcpu, offset in ((1, 0), (2**32 - 1, 0), (0, 4095), (0, 4), (0, 4096 - 64)):
        fields = (u64(2**40), u32(offset), u32(vcpu), u8(0))
        w.op(f"init_control {vcpu} {offset}", INIT_CONTROL, *fields)
        w.s.dump("struct", ARG, 0x40, 24)


def fifo() -> Script:
    """From two levels to FIFO queues, with events of both times."""
    w = Writer()
    w.setup()
    w.op("send before", 4, u32(4))
    control, array = 40, 41
    w.op("init_control", INIT_CONTROL, u64(mfn(control)), u32(0), u32(0), u8(0))
    w.s.dump("struct behind the frame", ARG, 0x48, 16)
    w.op("init_control again", INIT_CONTROL, u64(mfn(control)), u32(0), u32(0), u8(0))
    show_fifo(w, control, array)
    for port in range(1, 9):
        w.op(f"send {port} without an array", 4, u32(port))
        w.op(f"unmask {port}", 9, u32(port))
    for frame in (2**40, 0, mfn(array), mfn(42)):
        w.op("expand_array", EXPAND_ARRAY, u64(frame))
    show_fifo(w, control, array)
    for port in range(1, 9):
        w.op(f"send {port}", 4, u32(port))
        show_fifo(w, control, array)
    for port in (4, 5, 8, 9, 1024, 4096, 2**17, 2**32 - 1):
        for priority in (0, 15, 16):
            w.op(f"set_priority {port} {priority}", SET_PRIORITY, u32(port), u32(priority))
    for port in (4, 8):
        w.op(f"unmask {port}", 9, u32(port))
        w.s.put(array, 4 * port, u32(0))
        w.op(f"send {port}", 4, u32(port))
        show_fifo(w, control, array)
        w.s.put(array, 4 * port, u32(0x4000_0000))
        w.op(f"send masked {port}", 4, u32(port))
        show_fifo(w, control, array)
        w.op(f"unmask {port}", 9, u32(port))
        show_fifo(w, control, array)
    w.s.call("until it is full", EVENT_CHANNEL_OP, 6, w.arg(u16(SELF), u16(0)), most=3000)
    w.op("close", 3, u32(5))
    show_fifo(w, control, array)
    w.op("reset", 10, u16(SELF))
    w.op("alloc_unbound", 6, u16(SELF), u16(SELF), u32(99))
    w.op("bind_interdomain", 0, u16(SELF), u16(0), u32(1), u32(99))
    w.show()
    return w.s


def show_fifo(w: Writer, control: int, array: int) -> None:
    w.s.dump("control", control, 0, 72)
    w.s.dump("array", array, 0, 48)
    w.s.dump("vcpu_info", SHARED, 0, 16)
