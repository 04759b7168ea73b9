"""event_channel_op, with two domains beside the caller."""

from __future__ import annotations

from oracle.script import Expr, Field, Value, u8, u16, u32, u64
from oracle.topics.base import ABSENT, ARG, EVENT_CHANNEL_OP, SELF, SHARED, VCPU_OP, Topic

PENDING, MASKS = 2048, 2560
THEIRS = 6  # page at which domain 1's shared_info is mapped
CON_RING = 8  # Xen's own messages would raise it


class Events(Topic):
    vcpus = 2  # the second never runs

    def prologue(self) -> None:
        self.map_shared_info()
        self.s.call("stop the periodic timer", VCPU_OP, 7, 0, 0)
        for domid in (1, 2):
            self.create_domain(domid, 256, 1)
        self.map_shared_info_of(1, THEIRS)

    def reset(self) -> None:
        for domid in (SELF, 1, 2):
            self.op("reset", 10, u16(domid))
        for offset in (PENDING, MASKS):
            for page in (SHARED, THEIRS):
                self.s.write(page, offset, bytes(16))
        for vcpu in (0, 64):
            for page in (SHARED, THEIRS):
                self.s.write(page, vcpu, bytes([0, 1]) + bytes(14))

    def op(self, label: str, cmd: int, *fields: Field) -> None:
        self.s.write(ARG, 0x40, bytes(32))
        self.s.call(label, EVENT_CHANNEL_OP, cmd, self.arg(*fields))

    def port(self) -> Value:
        r = self.random
        if r.randrange(12) == 0:
            return r.choice((0, 0, 63, 64, 100, 1023, 1024, 4095, 4096, 2**31, 2**32 - 1))
        return r.randrange(1, 8)

    def vcpu(self) -> int:
        return self.mostly(self.random.choice((0, 1)), 2, 31, 32, 2**32 - 1)

    def dom(self) -> int:
        return self.random.choice((SELF, SELF, SELF, 0, 1, 1, 2, ABSENT, 0x7FF1, 0x7FF2))

    def show(self, *extra: tuple[int, int]) -> None:
        self.s.dump("struct", ARG, 0x40, 24)
        self.s.show("pending", SHARED, PENDING)
        self.s.show("mask", SHARED, MASKS)
        self.s.dump("vcpu_info", SHARED, 0, 16)
        self.s.dump("vcpu_info 1", SHARED, 64, 16)
        self.s.show("pending in domain 1", THEIRS, PENDING)
        self.s.dump("vcpu_info in domain 1", THEIRS, 0, 16)

    def step(self) -> None:
        self.pick(
            {
                self.alloc_unbound: 4,
                self.bind_interdomain: 5,
                self.bind_virq: 2,
                self.bind_ipi: 2,
                self.close: 3,
                self.send: 5,
                self.status: 3,
                self.bind_vcpu: 2,
                self.unmask: 3,
                self.shared_bits: 4,
                self.others: 1,
            }
        )
        self.show()

    def alloc_unbound(self) -> None:
        self.op("alloc_unbound", 6, u16(self.mostly(self.own(), 1, 2)), u16(self.dom()), u32(99))

    def bind_interdomain(self) -> None:
        self.op("bind_interdomain", 0, u16(self.dom()), u16(0), u32(self.port()), u32(99))

    def bind_virq(self) -> None:
        virq = self.random.choice([v for v in range(24) if v != CON_RING])
        virq = self.mostly(virq, 24, 2**32 - 1)
        self.op("bind_virq", 1, u32(virq), u32(self.vcpu()), u32(99))

    def bind_ipi(self) -> None:
        self.op("bind_ipi", 7, u32(self.vcpu()), u32(99))

    def close(self) -> None:
        self.op("close", 3, u32(self.port()))

    def send(self) -> None:
        self.op("send", 4, u32(self.port()))

    def status(self) -> None:
        self.op("status", 5, u16(self.dom()), u16(0xAAAA), u32(self.port()))

    def bind_vcpu(self) -> None:
        self.op("bind_vcpu", 8, u32(self.port()), u32(self.vcpu()))

    def unmask(self) -> None:
        self.op("unmask", 9, u32(self.port()))

    def shared_bits(self) -> None:
        """What a guest does in shared_info: masks ports, takes events."""
        r = self.random
        offset = r.choice((PENDING, MASKS, MASKS))
        self.s.put(SHARED, offset, u8(r.choice((0, 0, 0xFF, r.randrange(256)))))
        if r.randrange(2):
            self.s.put(SHARED, 0, u8(r.choice((0, 0, 1))), u8(1))
            self.s.put(SHARED, 8, u64(r.choice((0, 0, 1, 2))))

    def others(self) -> None:
        r = self.random
        match r.randrange(5):
            case 0:
                self.op("bind_pirq", 2, u32(r.choice((0, 1, 2**31, 2**32 - 1))), u32(0), u32(99))
            case 1:
                self.op("reset", 10, u16(r.choice((SELF, 0, 1, 2, ABSENT))))
            case 2:
                self.op("set_priority", 13, u32(self.port()), u32(r.choice((0, 7, 15, 16, 99))))
            case 3:
                gfn: Value = r.choice((Expr(), Expr(add=2**40)))
                self.op("expand_array", 12, u64(gfn))
            case 4:
                self.op("unknown", r.choice((14, 15, 99, 2**31, 2**32 - 1)), u32(0))
