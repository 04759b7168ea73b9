"""vcpu_op, sched_op, versions, debug registers, callbacks, multicalls; none waits or kills."""

from __future__ import annotations

from oracle.script import Expr, Field, Value, u16, u32, u64, va
from oracle.topics.base import ABSENT, ARG, ARRAY, BAD, BUFFER, SCHED_OP, VCPU_OP, Topic

SET_DEBUGREG, GET_DEBUGREG, MULTICALL, SET_TIMER, VERSION, CONSOLE = 8, 9, 13, 15, 17, 18
VM_ASSIST, NMI_OP, CALLBACK_OP = 21, 28, 30
KERNEL = 0xFFFF_8300_0000_0000


class Cpu(Topic):
    def reset(self) -> None:
        for register in (0, 1, 2, 3, 6, 7):
            self.s.call("clear", SET_DEBUGREG, register, 0)
        for watchdog in (1, 2):
            self.s.call("stop", SCHED_OP, 6, self.s.put(ARG, 0, u32(watchdog), u32(0)))

    def step(self) -> None:
        self.pick(
            {
                self.debugreg: 6,
                self.version: 3,
                self.vcpu: 4,
                self.sched: 4,
                self.callback: 2,
                self.multicall: 2,
                self.others: 2,
            }
        )

    def register(self) -> int:
        return self.mostly(self.random.randrange(8), 8, 9, 2**31, 2**32 - 1, odds=10)

    def debugreg(self) -> None:
        """DR7 never enabled: a breakpoint would be a trap. Its lengths and kinds are free."""
        r = self.random
        value: Value = self.mostly(
            r.choice((0, 0x1234, r.getrandbits(47))), 2**47, KERNEL, 2**64 - 1, 2**63, odds=4
        )
        register = self.register()
        if register in (5, 7):
            value = r.choice((0, 0x400, 0x2000, 0xFFFF0000, 0xF0000, 2**32, 0xD000, 0x2400))
        self.s.call(f"set_debugreg {register:#x}", SET_DEBUGREG, register, value)
        self.s.call("get_debugreg", GET_DEBUGREG, self.register())

    def version(self) -> None:
        cmd = self.mostly(self.random.choice((0, 5, 6, 7, 9)), 11, 99, 2**31, odds=8)
        self.s.write(ARG, 0x40, bytes(64))
        index = self.random.choice((0, 0, 0, 1, 2, 9))
        self.s.call(f"xen_version {cmd}", VERSION, cmd, self.arg(u32(index), u32(0)))
        if cmd == 6:
            self.s.dump("answer", ARG, 0x40, 16)

    def vcpu(self) -> None:
        cmd = self.random.choice((1, 2, 3, 3, 6, 7, 8, 9, 11, 12, 14, 99, 2**31))
        vcpu = self.mostly(0, 1, 31, 4096, 2**32 - 1, odds=5)
        if cmd == 2:
            vcpu = 1  # down would be for ever
        fields: tuple[Field, ...] = (u64(self.junk()), u64(1))
        if cmd == 6:
            fields = (u64(self.random.choice((0, 1, 1000, 999_999, 2**63, 2**64 - 1))),)
        if cmd == 8:
            fields = (u64(1), u32(self.random.choice((0, 1))), u32(0))
        self.s.call(f"vcpu_op {cmd} {vcpu}", VCPU_OP, cmd, vcpu, self.arg(*fields))
        self.s.call("stop periodic", VCPU_OP, 7, 0, 0)

    def sched(self) -> None:
        r = self.random
        match r.randrange(5):
            case 0:
                ports = self.s.put(ARRAY, 0, u32(r.choice((1, 4095, 4096))), u32(2))
                n, timeout = r.choice((0, 1, 2, 128, 129, 2**32 - 1)), r.choice((1, 2))
                fields = (u64(self.mostly(ports, Expr(add=BAD))), u32(n), u32(0), u64(timeout))
                self.s.call("poll", SCHED_OP, 3, self.arg(*fields))
            case 1:
                watchdog = r.choice((0, 0, 1, 2, 3, 9))
                timeout = r.choice((60, 3600, 0) if watchdog else (60, 3600))
                op = self.arg(u32(watchdog), u32(timeout))
                self.s.call("watchdog", SCHED_OP, 6, op)
            case 2:
                self.s.call("remote_shutdown", SCHED_OP, 4, self.arg(u16(ABSENT), u16(0), u32(0)))
            case 3:
                self.s.call("yield", SCHED_OP, 0, 0)
            case 4:
                self.s.call("unknown", SCHED_OP, r.choice((8, 99, 2**31)), 0)

    def callback(self) -> None:
        r = self.random
        kind = r.choice((0, 1, 2, 3, 4, 5, 6, 7, 9, 65535))
        address: Value = self.mostly(va(50), Expr(add=KERNEL), Expr(add=2**63), odds=3)
        if r.randrange(2):
            head = (u16(kind), u16(r.choice((0, 1, 2))), u32(0), u64(address))
            self.s.call(f"callback register {kind}", CALLBACK_OP, 0, self.arg(*head))
        else:
            self.s.call(
                f"callback unregister {kind}",
                CALLBACK_OP,
                self.mostly(1, 2, 99),
                self.arg(u16(kind), u16(0)),
            )

    def multicall(self) -> None:
        r = self.random
        for i in range(3):
            op, arg = r.choice(
                (
                    (VERSION, 0),
                    (VERSION, 7),
                    (60, 0),
                    (MULTICALL, 0),
                    (9, 7),
                    (2**32 + 17, 0),
                    (2**40, 0),
                )
            )
            self.s.put(ARRAY, i * 64, u64(op), u64(0xEEEE), u64(arg), *[u64(0)] * 5)
        count = self.mostly(3, 0, 2**32 + 1, odds=5)
        self.s.call("multicall", MULTICALL, self.mostly(va(ARRAY), Expr(add=BAD)), count)
        for i in range(3):
            self.s.show(f"result {i}", ARRAY, i * 64 + 8)

    def others(self) -> None:
        r = self.random
        match r.randrange(5):
            case 0:
                self.s.call(
                    "vm_assist",
                    VM_ASSIST,
                    r.choice((0, 1, 2, 9)),
                    r.choice((2, 3, 5, 6, 31, 33, 63, 99)),
                )
            case 1:
                self.s.call("set_timer", SET_TIMER, r.choice((0, 2**62)))
            case 2:
                self.s.write(BUFFER, 0, b"\n")
                self.s.call(
                    "console",
                    CONSOLE,
                    r.choice((0, 2, 99)),
                    r.choice((0, 1)),
                    self.mostly(va(BUFFER), Expr(add=BAD), odds=3),
                )
            case 3:
                self.s.call("nmi_op", NMI_OP, r.choice((1, 2, 99)), 0)
            case 4:
                nr = r.choice(
                    (
                        6,
                        11,
                        19,
                        27,
                        31,
                        34,
                        37,
                        38,
                        39,
                        40,
                        41,
                        42,
                        43,
                        44,
                        45,
                        46,
                        47,
                        49,
                        50,
                        51,
                        52,
                        53,
                        54,
                        56,
                        57,
                        62,
                        63,
                        64,
                        1000,
                    )
                )
                self.s.call(f"hypercall {nr}", nr, 0, 0)
