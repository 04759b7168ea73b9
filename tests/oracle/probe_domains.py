"""The second half of probe.py: memory, grants, domains. `answers()` runs all of it."""

from __future__ import annotations

from oracle.emulated import gva
from oracle.probe import ARG, BAD, FRAMES, SELF, XEN_VA, Cpu

DOMCTL = gva(22)
INFO = (("H", 0), ("I", 4), ("Q", 8), ("Q", 16), ("I", 64), ("i", 68))  # of getdomaininfo
TABLE = gva(1)  # where the grant table is mapped


class Memory(Cpu):
    """memory_op."""

    def reservation(
        self, domid: int, n: int, order: int, *, at: int = gva(ARG), start: int = FRAMES
    ) -> int:
        return self.put("QQIIHHI", start, n, order, 0, domid, 0, 0, at=at)

    def memory(self, cmd: int, domid: int, n: int, order: int = 0, *, start: int = FRAMES) -> int:
        return self.call(12, cmd, self.reservation(domid, n, order, start=start))

    def ask(self, name: str, cmd: int, domid: int) -> None:
        self.say(f"mem.{name}", self.call(12, cmd, self.put("H", domid)))

    def frames(self, *frames: int) -> None:
        self.put(f"{len(frames)}Q", *frames, at=FRAMES)

    def reservations(self) -> None:
        self.say("mem.maximum_ram_page>0", int(self.call(12, 2) > 0))
        self.ask("current_reservation self", 3, SELF)
        self.ask("maximum_reservation self", 4, SELF)
        self.ask("maximum_gpfn self", 14, SELF)
        self.ask("current_reservation absent", 3, 77)
        self.frames(self.mfn(8))
        self.say("mem.decrease while mapped", self.memory(1, SELF, 1))
        self.say("mem.unmap", self.update(gva(9), 0))
        self.frames(self.mfn(9))
        self.say("mem.decrease unmapped", self.memory(1, SELF, 1))
        self.say("mem.decrease again same", self.memory(1, SELF, 1))
        self.ask("current_reservation", 3, SELF)
        self.frames(0)
        self.say("mem.increase 1", self.memory(0, SELF, 1))
        fresh = self.get("Q", at=FRAMES)
        self.say("mem.map new frame", self.update(gva(9), fresh << 12 | 0x67))
        self.say("mem.map frame not ours (mfn 1)", self.update(gva(10), 1 << 12 | 0x67))
        self.say("mem.map mfn huge", self.update(gva(10), 0xF_FFFF_FFFF << 12 | 0x67))
        self.say("mem.map badva", self.update(0x7F00_0000_0000, 0))
        self.say("mem.map xen va", self.update(XEN_VA, 0))
        self.say("mem.increase 0", self.memory(0, SELF, 0))
        self.say("mem.increase absent dom", self.memory(0, 77, 1))
        self.say("mem.increase order30", self.memory(0, SELF, 1, 30))
        self.frames(4000)
        self.say("mem.populate_physmap pfn4000", self.memory(6, SELF, 1))
        self.say("mem.badptr", self.call(12, 0, BAD))
        physmap = self.put("HHIQQ", SELF, 0, 0, 0, 100)
        self.say("mem.add_to_physmap PV shinfo", self.call(12, 7, physmap))
        self.exchange("mismatch", SELF, 2)
        self.exchange("absent", 77, 1)
        self.say("mem.cmd 60", self.call(12, 60))

    def exchange(self, name: str, domid: int, out: int) -> None:
        self.reservation(domid, 1, 0)
        self.reservation(domid, out, 0, at=gva(ARG, 32))
        self.put("Q", 0, at=gva(ARG, 64))
        self.say(f"mem.exchange {name}", self.call(12, 11, gva(ARG)))


class Grants(Memory):
    """grant_table_op, of the domain to itself."""

    def grant(self, cmd: int, fmt: str, *values: int, count: int = 1) -> int:
        return self.call(20, cmd, self.put(fmt, *values), count)

    def signed(self, offset: int) -> int:
        return self.get("h", offset)

    def entry(self, ref: int, domid: int, frame: int, flags: int) -> None:
        self.put("HHI", flags, domid, frame, at=TABLE + 8 * ref)

    def setup(self, name: str, domid: int, n: int) -> None:
        r = self.grant(2, "HHIhHIQ", domid, 0, n, 0, 0, 0, FRAMES)
        self.say(f"gr.setup_table {name}", r, self.signed(8))

    def map(self, name: str, domid: int, ref: int, flags: int) -> int:
        r = self.grant(0, "QIIHhIQ", gva(4), flags, ref, domid, 0, 0, 0)
        handle = self.get("I", 20)
        self.lines.append(f"@ gr.map {name} = {r} st {self.signed(18)} handle {handle}")
        return handle

    def unmap(self, name: str, handle: int) -> None:
        r = self.grant(1, "QQIhH", gva(4), 0, handle, 0, 0)
        self.say(f"gr.unmap {name}", r, self.signed(20))

    def grant_flags(self, when: str) -> None:
        self.lines.append(f"@ gr.flags after {when} {self.get('H', 64, TABLE):#x}")

    def copy(self, name: str, source: int, offset: int, to: int, n: int, *, by_ref: bool) -> None:
        domid, flags = (0, 1) if by_ref else (SELF, 0)
        dest = self.mfn(5), SELF, to
        r = self.grant(5, "QHHIQHHIHHhH", source, domid, offset, 0, *dest, 0, n, flags, 0, 0)
        self.say(f"gr.copy {name}", r, self.signed(36))

    def transfer(self, name: str, frame: int, domid: int, ref: int) -> None:
        r = self.grant(4, "QHHIhHI", frame, domid, 0, ref, 0, 0, 0)
        self.say(f"gr.transfer {name}", r, self.signed(16))

    def grants(self) -> None:
        r = self.grant(6, "HHIIhH", SELF, 0, 0, 0, 0, 0)
        frames, most = self.get("I", 4), self.get("I", 8)
        self.lines.append(f"@ gr.query_size = {r} nr {frames} max {most} st {self.signed(12)}")
        r = self.grant(6, "HHIIhH", 77, 0, frames, most, 0, 0)
        self.say("gr.query_size absent", r, self.signed(12))
        self.say("gr.query_size count2", self.call(20, 6, gva(ARG), 2))
        self.setup("1", SELF, 1)
        table = self.get("Q", at=FRAMES)
        self.say("gr.map table frame", self.update(TABLE, table << 12 | 0x67))
        self.setup("1000", SELF, 1000)
        self.setup("absent", 77, 1)
        self.entry(8, 0, self.mfn(2), 1)
        self.entry(9, 0, self.mfn(3), 5)
        self.entry(10, 3, self.mfn(3), 1)
        self.entry(11, 0, 1, 1)
        self.maps()
        self.copies()
        self.others()

    def maps(self) -> None:
        self.map("self rw", SELF, 8, 2)
        handle = self.map("dom0 rw", 0, 8, 2)
        self.grant_flags("map")
        self.unmap("ok", handle)
        self.unmap("again", handle)
        self.unmap("bad handle", 9999)
        self.grant_flags("unmap")
        self.map("ro entry rw request", 0, 9, 2)
        self.unmap("ro", self.map("ro entry ro", 0, 9, 6))
        self.map("granted to dom3", 0, 10, 2)
        self.map("free entry", 0, 12, 2)
        self.map("frame not ours", 0, 11, 2)
        self.map("ref 100000", 0, 100000, 2)
        self.map("dom absent", 77, 8, 2)
        self.map("no flags", 0, 8, 0)

    def copies(self) -> None:
        self.put("B", 0x5A, at=gva(2, 7))
        self.copy("gmfn->gmfn", self.mfn(2), 0, 0, 64, by_ref=False)
        self.say("gr.copied", 0, self.get("B", 7, gva(5)))
        self.copy("gref->gmfn", 8, 0, 128, 64, by_ref=True)
        self.copy("gref of dom3", 10, 0, 0, 64, by_ref=True)
        self.copy("bad ref", 100000, 0, 0, 64, by_ref=True)
        self.copy("len overflow", self.mfn(2), 4000, 0, 200, by_ref=False)
        self.copy("len 0", self.mfn(2), 0, 0, 0, by_ref=False)
        self.transfer("absent", self.mfn(6), 77, 0)
        self.transfer("self", self.mfn(6), 0, 8)
        self.transfer("bad page", 1, 0, 8)

    def others(self) -> None:
        r = self.grant(10, "HHI", SELF, 0, 0)
        self.say("gr.get_version", r, self.get("I", 4))
        r = self.grant(8, "I", 3)
        self.say("gr.set_version 3", r, self.get("I"))
        self.say("gr.cmd 99", self.call(20, 99, gva(ARG), 1))
        self.say("gr.map badptr", self.call(20, 0, BAD, 1))
        self.say("gr.map count -1", self.call(20, 0, gva(ARG), 0xFFFF_FFFF))
        self.say("gr.map count 0", self.call(20, 0, gva(ARG), 0))


class Domains(Grants):
    """domctl: the life of a domain, with its page mapped and its port bound."""

    def domctl(self, cmd: int, domid: int) -> int:
        """Its union keeps what was there."""
        return self.call(36, self.put("IIHHHH", cmd, 0x15, domid, 0, 0, 0, at=DOMCTL))

    def clear(self) -> None:
        self.put("144x", at=DOMCTL)

    def create(self, domid: int) -> int:
        self.clear()
        self.put("IIIII", 1, 1023, 4, 4, 1, at=DOMCTL + 16 + 28)
        return self.domctl(1, domid)

    def info(self, name: str, domid: int) -> None:
        self.clear()
        r = self.domctl(5, domid)
        values = [self.get(fmt, 16 + at, DOMCTL) for fmt, at in INFO]
        self.lines.append(
            f"@ domctl info{name} = {r} dom {values[0]} flags {values[1]:#x} tot {values[2]} "
            f"max {values[3]} online {values[4]} maxvcpuid {values[5]}"
        )

    def say_domctl(self, name: str, cmd: int, domid: int) -> None:
        self.say(f"domctl {name}", self.domctl(cmd, domid))

    def limit(self, name: str, cmd: int, domid: int, value: int) -> None:
        self.clear()
        self.put("Q", value, at=DOMCTL + 16)
        self.say_domctl(name, cmd, domid)

    def domains(self) -> None:
        self.clear()
        bad = self.put("IIH", 5, 1, 0, at=DOMCTL)
        self.say("domctl bad version", self.call(36, bad))
        self.say("domctl badptr", self.call(36, BAD))
        for name, cmd in ("pause", 3), ("unpause", 4):
            self.say_domctl(f"{name} absent", cmd, 77)
            self.say_domctl(f"{name} self", cmd, 0)
        self.say_domctl("destroy self", 2, 0)
        self.say_domctl("destroy absent", 2, 77)
        self.info(" 0", 0)
        self.info(" 77", 77)
        r = self.create(0)
        d = self.get("H", 8, DOMCTL)
        self.say("domctl create (domain=0 asks any)", r, d)
        self.info(" new", d)
        self.say("domctl create existing id", self.create(d))
        self.populate(d)
        self.pauses(d)
        self.die(d)

    def populate(self, d: int) -> None:
        self.frames(0)
        self.say("mem.populate new dom before max_mem", self.memory(6, d, 1))
        self.limit("max_mem 64K", 11, d, 64)
        self.frames(0, 1)
        self.say("mem.populate new dom 2", self.memory(6, d, 2))
        many = self.put("32Q", *range(2, 34), at=gva(23))
        self.say("mem.populate new dom 32 over max", self.memory(6, d, 32, start=many))
        self.info("", d)
        self.limit("max_mem below tot", 11, d, 4)
        self.info("", d)

    def pauses(self, d: int) -> None:
        self.say_domctl("unpause no vcpu", 4, d)
        self.limit("max_vcpus 1", 15, d, 1)
        self.limit("max_vcpus 2", 15, d, 2)
        self.info(" vcpu", d)
        for name, cmd in (
            ("pause", 3),
            ("pause again", 3),
            *[("unpause", 4)] * 3,
            ("unpause extra", 4),
        ):
            self.say_domctl(name, cmd, d)
        self.info("", d)

    def die(self, d: int) -> None:
        port = self.alloc_unbound("ev.alloc_unbound in new dom", d, 0)
        local = self.bind_interdomain("new dom", d, port, out=True)
        entry = self.get("Q", at=FRAMES) << 12 | 0x67
        name = "map foreign page via update_va_mapping (ours? no)"
        self.say(name, self.update(gva(11), entry))
        r = self.call(22, gva(11), entry, 2, d)
        self.say("update_va_mapping_otherdomain foreign", r)
        self.say("sched.remote_shutdown d", self.call(29, 4, self.put("HHI", d, 0, 3)))
        self.info(" crashed", d)
        while self.say("domctl destroy", self.domctl(2, d)) in (-85, -11):
            pass
        self.info(" zombie (page still mapped)", d)
        self.say_domctl("destroy 2nd", 2, d)
        self.status("local end after destroy", local)
        self.say("drop foreign mapping", self.update(gva(11), 0))
        self.info(" after drop", d)
        self.say_domctl("cmd 9999", 9999, 0)


def answers() -> list[str]:
    """All 230 lines, and the two that mark beginning and end."""
    guest = Domains()
    guest.say("map shinfo", guest.update(gva(0), guest.xen.shared_info() | 0x67))
    guest.cpu()
    guest.events()
    guest.sched()
    guest.reservations()
    guest.grants()
    guest.domains()
    return ["@BEGIN", *guest.lines, "@END"]
