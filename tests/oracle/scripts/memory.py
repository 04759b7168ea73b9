"""memory_op: reservations, exchanges, and what else there is, in the order of its checks."""

from __future__ import annotations

from random import Random

from oracle.script import Expr, Field, Script, Value, mfn, u16, u32, u64, va, var
from oracle.topics.base import ABSENT, ARG, ARRAY, BAD, BUFFER, DATA, MEMORY_OP, RW, SELF
from oracle.topics.memory import BASE, DECREASE, EXCHANGE, INCREASE, OWN, POPULATE, Memory

UPDATE = 14  # update_va_mapping
DOMAINS = (SELF, 0, 1, 2, ABSENT, 0x7FEF, 0x7FF1, 0x7FF2, 0x7FF4, 0xFFFF)
NOWHERE = 2**40


class Writer(Memory):
    """Without chance."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.prologue()
        self.reset()

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def op(
        self,
        label: str,
        cmd: Value,
        n: int,
        *,
        order: int = 0,
        flags: int = 0,
        domid: int = SELF,
        array: Value | None = None,
    ) -> None:
        at = va(ARRAY) if array is None else array
        head = (u64(at), u64(n), u32(order), u32(flags))
        op = self.arg(*head, u16(domid), u16(0xAAAA), u32(0xBBBB))
        self.s.call(label, MEMORY_OP, cmd, op)
        self.s.dump("struct", ARG, 0x48, 24)
        self.show()

    def list(self, *frames: Value) -> None:
        for n, frame in enumerate(frames):
            self.s.put(ARRAY, 8 * n, u64(frame))


def memory() -> Script:
    w = Writer()
    asked(w)
    w.s.call("max_mem 256", 36, w.s.put(ARG, 0x800, u32(11), u32(0x15), u64(1), u64(1024)))
    for cmd in (INCREASE, POPULATE):
        taken(w, cmd)
    given(w)
    exchanged(w)
    refused(w)
    physmaps(w)
    return w.s


def asked(w: Writer) -> None:
    for cmd, name in ((3, "current"), (4, "maximum"), (14, "maximum_gpfn")):
        for domid in DOMAINS:
            own = domid in (SELF, 0) or cmd == 14
            label = f"{'?' if own and cmd != 14 else ''}{name} of {domid:#x}"
            w.s.call(label, MEMORY_OP, cmd, w.arg(u16(domid)))
        w.s.call(f"{name}, bad address", MEMORY_OP, cmd, BAD)
    w.s.call("?maximum_ram_page", MEMORY_OP, 2, 0)


def taken(w: Writer, cmd: int) -> None:
    """Pages are got: how many, for whom, of which order, where to."""
    for n in (0, 1, 3):
        for domid in DOMAINS:
            w.list(5, 6, 7)
            w.op(f"{cmd}: {n} for {domid:#x}", cmd, n, domid=domid)
    for order in (1, 2, 8, 9, 18, 19, 20, 30, 31, 32, 63, 64, 2**31, 2**32 - 1):
        if order in (18, 19, 20):  # more than there is, or not: as large as the machine
            continue
        w.list(5)
        w.op(f"{cmd}: order {order}", cmd, 1, order=order)
    for flags in (1, 2, 16, 31, 32, 40, 64, 0xFF, 0x100, 0x10000, 0x20000, 0x30000, 2**31):
        w.list(5)
        w.op(f"{cmd}: flags {flags:#x}", cmd, 1, flags=flags)
    for array in (BAD, Expr(), va(ARRAY, 0xFFC), Expr(add=0xFFFF_8300_0000_0000), Expr(add=2**63)):
        w.op(f"{cmd}: a bad list", cmd, 1, array=array)
    for n in (2**31, 2**32, 2**52, 2**58, 2**63, 2**64 - 1):
        w.op(f"{cmd}: {n:#x} of them", cmd, n, array=BAD, domid=ABSENT)
        w.op(f"{cmd}: {n:#x} of them", cmd, n, array=BAD, order=64)
    for start in (1, 2, 3, 4):
        w.list(5, 6, 7)
        w.op(f"{cmd}: from {start} on", cmd | start << 6, 3)
    w.list(5, 6, 7)
    w.op(f"{cmd}: beyond its limit", cmd, 200, domid=1)


def given(w: Writer) -> None:
    """Pages are given up: mapped or not, whosever, twice."""
    w.reset()
    first, second, third = (w.frame(page) for page in OWN[:3])
    w.list(first)
    w.op("of domain 1's", DECREASE, 1, domid=1)
    w.list(mfn(DATA[0]))
    w.op("for an absent domain", DECREASE, 1, domid=ABSENT)
    w.list(NOWHERE, first)
    w.op("no frame", DECREASE, 2)
    w.list(first, NOWHERE, second)
    w.op("no frame in the middle", DECREASE, 3)
    w.s.call("unmap", UPDATE, va(OWN[0]), 0, 2)
    w.show()
    w.list(second, second)
    w.op("twice", DECREASE, 2)
    w.s.call("unmap", UPDATE, va(OWN[1]), 0, 2)
    w.show()
    w.list(third)
    for order in (1, 9, 30):
        w.op(f"of order {order}", DECREASE, 0, order=order)
    w.op("with flags", DECREASE, 1, flags=0xFFFF_FFFF)
    w.s.call("map again", UPDATE, va(OWN[2]), (third << 12) + RW, 2)
    w.s.call("unmap", UPDATE, va(OWN[2]), 0, 2)
    w.show()
    for array in (BAD, Expr()):
        w.op("a bad list", DECREASE, 1, array=array)


def exchanged(w: Writer) -> None:
    w.lost.update(OWN[:3])
    w.reset()
    for n, (count_in, count_out, order_in, order_out) in enumerate(
        ((1, 2, 0, 0), (2, 1, 0, 0), (1, 1, 1, 0), (1, 1, 0, 1), (0, 0, 0, 0), (2, 1, 0, 1))
    ):
        one_exchange(w, f"{n}", (count_in, order_in), (count_out, order_out))
    for domid in DOMAINS:
        one_exchange(w, f"for {domid:#x}", (1, 0), (1, 0), domids=(domid, domid))
        one_exchange(w, f"out of {domid:#x}", (1, 0), (1, 0), domids=(SELF, domid))
    for order in (10, 18, 31, 32, 63, 64):
        one_exchange(w, f"order {order}", (1, order), (1, order))
    for done in (1, 2, 2**32, 2**63):
        one_exchange(w, f"{done} done", (1, 0), (1, 0), done=done)
    frame = w.frame(OWN[0])
    one_exchange(w, "mapped", (1, 0), (1, 0), frame=frame)
    w.s.call("unmap", UPDATE, va(OWN[0]), 0, 2)
    one_exchange(w, "unmapped", (1, 0), (1, 0), frame=frame)
    fresh = w.s.load(240, BUFFER, 0)
    w.s.call("map the new one", UPDATE, va(OWN[0]), (fresh << 12) + RW, 2)
    w.show_entry(OWN[0])
    w.s.call("unmap", UPDATE, va(OWN[0]), 0, 2)
    one_exchange(w, "bad list", (1, 0), (1, 0), frame=fresh, arrays=(BAD, va(BUFFER)))
    one_exchange(w, "bad list of new ones", (1, 0), (1, 0), frame=NOWHERE, arrays=(va(ARRAY), BAD))


def one_exchange(
    w: Writer,
    label: str,
    give: tuple[int, int],
    take: tuple[int, int],
    *,
    frame: Value = NOWHERE,
    done: int = 0,
    domids: tuple[int, int] = (SELF, SELF),
    arrays: tuple[Value, Value] | None = None,
) -> None:
    w.list(frame, NOWHERE)
    w.s.put(BUFFER, 0, u64(100), u64(101))
    fields: list[Field] = []
    lists = arrays or (va(ARRAY), va(BUFFER))
    for (n, order), domid, array in zip((give, take), domids, lists, strict=True):
        fields += [u64(array), u64(n), u32(order), u32(0), u16(domid), u16(0), u32(0)]
    w.s.call(f"exchange {label}", MEMORY_OP, EXCHANGE, w.arg(*fields, u64(done)))
    w.s.show("nr_exchanged", ARG, 0x80)
    w.show()


def refused(w: Writer) -> None:
    """Unknown ones; bad addresses; what is not for such as us."""
    for cmd in range(64):
        if cmd not in (2, 12, 24):
            w.s.call(f"operation {cmd}, bad address", MEMORY_OP, cmd, BAD)
    for cmd in (2**31, 2**32 - 1, 2**32 + 3, 2**63):
        w.s.call(f"operation {cmd:#x}", MEMORY_OP, cmd, BAD)
    for cmd in (8, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 27, 28, 29, 30):
        w.s.write(ARG, 0x40, bytes(96))
        w.s.put(ARG, 0x40, u16(ABSENT))
        w.s.call(f"operation {cmd} for nobody", MEMORY_OP, cmd, va(ARG, 0x40))
    w.s.call("remember", MEMORY_OP, 3, w.arg(u16(1)))
    w.s.print("pages of domain 1", var(0))
    w.s.let(BASE, var(BASE))


def physmaps(w: Writer) -> None:
    for domid in (SELF, 1, ABSENT, 0x7FF1):
        for space in (0, 1, 2, 3, 4, 5, 6, 2**32 - 1):
            fields = (u16(domid), u16(1), u32(space), u64(0), u64(100))
            w.s.call(f"add_to_physmap {domid:#x} {space}", MEMORY_OP, 7, w.arg(*fields))
        op = w.arg(u16(domid), u16(0), u32(0), u64(100))
        w.s.call(f"remove_from_physmap {domid:#x}", MEMORY_OP, 15, op)
