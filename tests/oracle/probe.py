"""The calls behind tests/data/xen-4.17.7.txt, in their order, by an emulated control domain.

Real Xen answered them to a guest of 64 MiB with one virtual CPU and eight grant frames. Lines have
that file's form: `@ name = result [out value]`. probe_domains.py has the second half.
"""

from __future__ import annotations

import struct

from oracle.emulated import EmulatedXen, gva

SELF = 0x7FF0
BAD = 0xDEADBEEF000
ARG = 20  # page of argument structs
FRAMES = gva(21)  # array of frames
XEN_VA = 0xFFFF_8300_0000_0000


class Guest:
    """Memory, hypercalls, and the lines that were printed."""

    def __init__(self) -> None:
        self.xen = EmulatedXen()
        self.lines: list[str] = []

    def mfn(self, page: int) -> int:
        return self.xen.frames[page]

    def call(self, nr: int, *args: int) -> int:
        return self.xen.core.hypercall(self.xen.domid, nr, *(a & 2**64 - 1 for a in args))

    def put(self, fmt: str, *values: int, at: int = gva(ARG)) -> int:
        """Packs a struct; its address."""
        self.xen.core.guest_write(self.xen.domid, at, struct.pack(f"<{fmt}", *values))
        return at

    def get(self, fmt: str, offset: int = 0, at: int = gva(ARG)) -> int:
        data = self.xen.core.guest_read(self.xen.domid, at + offset, struct.calcsize(f"<{fmt}"))
        return int(struct.unpack(f"<{fmt}", data)[0])

    def say(self, name: str, result: int, out: int | None = None) -> int:
        more = "" if out is None else f" out {out}"
        self.lines.append(f"@ {name} = {result}{more}")
        return result

    def update(self, address: int, entry: int) -> int:
        """update_va_mapping, flushing."""
        return self.call(14, address, entry, 2)


class Events(Guest):
    """event_channel_op."""

    def event(self, cmd: int, fmt: str, *values: int) -> int:
        return self.call(32, cmd, self.put(fmt, *values))

    def alloc_unbound(self, name: str, domid: int, remote: int) -> int:
        r = self.event(6, "HHI", domid, remote, 0)
        port = self.get("I", 4)
        self.say(name, r, port)
        return port

    def bind_interdomain(self, name: str, domid: int, port: int, *, out: bool = False) -> int:
        r = self.event(0, "HHII", domid, 0, port, 0)
        local = self.get("I", 8)
        self.say(f"ev.bind_interdomain {name}", r, local if out else None)
        return local

    def status(self, name: str, port: int) -> None:
        r = self.event(5, "HHIIIQ", SELF, 0, port, 0, 0, 0)
        self.say(f"ev.status {name}", r, self.get("I", 8))

    def send(self, name: str, port: int) -> None:
        self.say(f"ev.send {name}", self.event(4, "I", port))

    def bind_virq(self, name: str, virq: int, vcpu: int, *, out: bool = False) -> int:
        r = self.event(1, "III", virq, vcpu, 0)
        self.say(f"ev.bind_virq {name}", r, self.get("I", 8) if out else None)
        return self.get("I", 8)

    def bind_vcpu(self, name: str, port: int, vcpu: int = 0) -> None:
        self.say(f"ev.bind_vcpu {name}", self.event(8, "II", port, vcpu))

    def unmask(self, name: str, port: int) -> None:
        self.say(f"ev.unmask {name}", self.event(9, "I", port))

    def close(self, name: str, port: int) -> None:
        self.say(f"ev.close {name}", self.event(3, "I", port))

    def show_shared_info(self, local: int, remote: int) -> None:
        pending, shared = self.get("Q", 2048, gva(0)), gva(0)
        self.lines.append(
            f"@ shinfo pending after bind: local bit={pending >> local & 1} "
            f"remote bit={pending >> remote & 1} upcall_pending={self.get('B', 0, shared)} "
            f"sel={self.get('Q', 8, shared):#x} mask0={self.get('Q', 2560, shared):#x}"
        )

    def events(self) -> None:
        p1 = self.alloc_unbound("ev.alloc_unbound self/self", SELF, SELF)
        self.say("ev.alloc_unbound dom=5 absent", self.event(6, "HHI", 5, 0, 0))
        p77 = self.alloc_unbound("ev.alloc_unbound remote=77 absent", SELF, 77)
        self.say("ev.alloc_unbound badptr", self.call(32, 6, BAD))
        self.status("unbound", p1)
        self.send("unbound", p1)
        l1 = self.bind_interdomain("self", SELF, p1, out=True)
        self.show_shared_info(l1, p1)
        self.bind_interdomain("already bound", SELF, p1)
        self.bind_interdomain("port meant for other dom", SELF, p77)
        self.bind_interdomain("free port", SELF, 60)
        self.bind_interdomain("port 4096", SELF, 4096)
        self.bind_interdomain("dom absent", 77, 4096)
        for name, port in ("interdomain", l1), ("free", 60), ("port 4096", 4096), ("port0", 0):
            self.status(name, port)
        self.say("ev.status dom absent", self.event(5, "HHIIIQ", 77, 0, 1, 0, 0, 0))
        for name, port in ("interdomain", l1), ("free", 60), ("4096", 4096), ("0", 0):
            self.send(name, port)
        pv = self.bind_virq("TIMER", 0, 0, out=True)
        self.bind_virq("TIMER twice", 0, 0)
        self.bind_virq("24", 24, 0)
        self.bind_virq("DEBUG vcpu5", 1, 5)
        self.bind_virq("global vcpu1", 3, 1)
        pg = self.bind_virq("DOM_EXC", 3, 0, out=True)
        self.status("virq", pv)
        self.send("virq", pv)
        pi = self.bind_ipi()
        self.bind_all(pi, pv, pg, l1)
        self.unmask("ok", l1)
        self.unmask("free", 60)
        self.unmask("4096", 4096)
        self.close("interdomain", l1)
        self.close("twice", l1)
        self.status("peer after close", p1)
        self.close("0", 0)
        self.close("4096", 4096)
        self.resets(p1)

    def bind_ipi(self) -> int:
        r = self.event(7, "II", 0, 0)
        port = self.get("I", 4)
        self.say("ev.bind_ipi 0", r, port)
        self.say("ev.bind_ipi vcpu9", self.event(7, "II", 9, 0))
        self.status("ipi", port)
        self.send("ipi", port)
        return port

    def bind_all(self, ipi: int, virq: int, global_virq: int, local: int) -> None:
        self.bind_vcpu("ipi", ipi)
        self.bind_vcpu("percpu virq", virq)
        self.bind_vcpu("global virq", global_virq)
        self.bind_vcpu("interdomain", local)
        self.bind_vcpu("free", 60)
        self.bind_vcpu("bad vcpu", 60, 9)
        self.bind_vcpu("4096", 4096)

    def resets(self, port: int) -> None:
        self.say("ev.reset dom absent", self.event(10, "H", 77))
        self.say("ev.reset self", self.event(10, "H", SELF))
        self.status("after reset", port)
        self.say("ev.cmd 99", self.event(99, "H", SELF))
        n = 0
        while not (r := self.event(6, "HHI", SELF, SELF, 0)):
            n += 1
        self.say("ev.alloc until full", r, n)
        self.say("ev.reset", self.event(10, "H", SELF))


class Cpu(Events):
    """Versions, virtual CPUs, debug registers, multicalls, page tables, scheduling."""

    def cpu(self) -> None:
        for nr in 60, 11:
            self.say(f"hypercall {nr}", self.call(nr))
        for register in 0, 4, 5, 6, 7, 8:
            self.say(f"get_debugreg {register}", self.call(9, register))
        self.say("set_debugreg 4", self.call(8, 4))
        self.say("set_debugreg 0 xen va", self.call(8, 0, XEN_VA))
        self.say("set_debugreg 8", self.call(8, 8))
        self.versions()
        self.vcpus()
        self.multicalls()
        self.mmu_update()
        self.pins()
        self.say("vm_assist 99", self.call(21, 0, 99))

    def versions(self) -> None:
        self.say("version 0", self.call(17, 0))
        self.say("version 7", self.call(17, 7))
        features = self.put("II", 0, 0)
        before = self.get("I", 4)  # which is what was printed
        self.say("version 6 idx0", self.call(17, 6, features), before)
        for index in 1, 9:
            self.say(f"version 6 idx{index}", self.call(17, 6, self.put("II", index, 0)))
        self.say("version 99", self.call(17, 99))
        self.say("version 1 badptr", self.call(17, 1, BAD))
        self.say("console_io 99", self.call(18, 99))
        self.say("console write badptr", self.call(18, 0, 5, BAD))

    def vcpus(self) -> None:
        for name, vcpu in ("0", 0), ("7", 7), ("-1", 0xFFFF_FFFF):
            self.say(f"vcpu is_up {name}", self.call(24, 3, vcpu))
        self.say("vcpu periodic 1us", self.call(24, 6, 0, self.put("Q", 1000)))
        self.say("vcpu cmd 99", self.call(24, 99))
        self.say("vcpu singleshot past+future flag", self.call(24, 8, 0, self.put("QII", 1, 1, 0)))
        self.say("set_timer 0", self.call(15, 0))

    def multicalls(self) -> None:
        entry = "QQ6Q"
        for i, (op, arg) in enumerate(((17, 0), (60, 0), (32, 99))):
            self.put(entry, op, 0, arg, 0, 0, 0, 0, 0, at=gva(ARG, 64 * i))
        self.say("multicall 3", self.call(13, gva(ARG), 3))
        for i in range(3):
            self.say(f"mc{i}", self.get("q", 64 * i + 8))
        self.say("multicall badptr", self.call(13, BAD, 1))

    def mmu_update(self) -> None:
        done = self.put("I", 9, at=gva(ARG, 64))
        before = self.get("I", 64)  # which is what was printed
        r = self.call(1, self.put("QQ", 3, 0), 1, done, SELF)
        self.say("mmu_update cmd3", r, before)
        self.say("mmu_update ptr not ours", self.call(1, self.put("QQ", 0x1000, 0), 1, 0, SELF))
        ptr = self.mfn(12) << 12
        self.say("mmu_update normal on data page", self.call(1, self.put("QQ", ptr, 5), 1, 0, SELF))
        self.put("QQ", ptr | 1, 4242)
        self.say("mmu_update machphys", self.call(1, gva(ARG), 1, 0, SELF))
        self.say("mmu_update absent dom", self.call(1, gva(ARG), 1, 0, 77))

    def mmuext(self, name: str, cmd: int, frame: int) -> None:
        self.say(name, self.call(26, self.put("IIQQ", cmd, 0, frame, 0), 1, 0, SELF))

    def pins(self) -> None:
        page, frame = gva(12), self.mfn(12)
        self.mmuext("mmuext 99", 99, 0)
        self.mmuext("pin L1 while mapped RW", 0, frame)
        self.say("make RO", self.update(page, frame << 12 | 0x65))
        self.mmuext("pin L1", 0, frame)
        self.mmuext("pin L1 twice", 0, frame)
        self.say("remap RW while pinned", self.update(page, frame << 12 | 0x67))
        self.mmuext("unpin", 4, frame)
        self.mmuext("unpin twice", 4, frame)
        self.say("remap RW", self.update(page, frame << 12 | 0x67))
        self.mmuext("pin frame not ours", 0, 1)
        self.mmuext("tlb flush", 6, 1)

    def sched(self) -> None:
        self.say("sched.yield", self.call(29, 0, 0))
        self.poll("free port, past timeout", 1, 1)
        self.poll("129 ports", 1, 129)
        self.poll("0 ports past timeout", 1, 0)
        self.poll("port 4096", 4096, 1)
        self.say("sched.poll badptr", self.call(29, 3, BAD))
        self.watchdog("new t60", 0, 60)
        self.watchdog("poke 1", 1, 60)
        self.watchdog("poke unknown 2", 2, 60)
        self.watchdog("id 9", 9, 60)
        self.watchdog("second", 0, 60)
        self.watchdog("third", 0, 60)
        self.watchdog("stop 1", 1, 0)
        self.watchdog("stop 2", 2, 0)
        self.say("sched.remote_shutdown absent", self.call(29, 4, self.put("HHI", 77, 0, 0)))
        self.say("sched.cmd 99", self.call(29, 99, gva(ARG)))
        self.say("sched.shutdown badptr", self.call(29, 2, BAD))

    def poll(self, name: str, port: int, n: int) -> None:
        ports = self.put("I", port, at=gva(ARG, 64))
        self.say(f"sched.poll {name}", self.call(29, 3, self.put("QIIQ", ports, n, 0, 1)))

    def watchdog(self, name: str, watchdog: int, timeout: int) -> None:
        r = self.call(29, 6, self.put("II", watchdog, timeout))
        self.say(f"sched.watchdog {name}", r)
