"""Hypercalls that are known but not served: what they refuse, and in which order they look."""

from __future__ import annotations

from oracle.script import Expr, Field, Script, u16, u32, u64, va
from oracle.topics.base import ABSENT, ARG, BAD, SELF

PLATFORM_OP, PHYSDEV_OP_COMPAT, XENOPROF_OP, PHYSDEV_OP, HVM_OP, SYSCTL = 7, 19, 31, 33, 34, 35
KEXEC_OP, XENPMU_OP, DM_OP, HYPFS_OP, MCA, PAGING_DOMCTL_CONT = 37, 40, 41, 42, 48, 49
NONE = (11, 27, 38, 39, 43, 44, 45, 46, 47, 50, 51, 52, 53, 54, *range(56, 64), 64, 1000)
DOMIDS = (SELF, 0, ABSENT, 0xFFFF)
ZEROES = [u64(0)] * 40
XENTRACE, SET_IOPL, SET_IOBITMAP = 11, 6, 7
PHYSDEV_OPS = (*range(5, 18), *range(19, 22), *range(23, 32), 18, 22, 32, 99)


class Writer:
    def __init__(self) -> None:
        self.s = Script()

    def arg(self, *fields: Field) -> Expr:
        return self.s.put(ARG, 0x40, *fields)

    def path(self, raw: bytes) -> Expr:
        self.s.write(ARG, 0x40, raw + bytes(8))
        return va(ARG, 0x40)


def unserved() -> Script:
    w = Writer()
    for nr in NONE:
        w.s.call(f"hypercall {nr}", nr, 0, 0, 0)
    hvm(w)
    versions(w)
    host(w)
    hypfs(w)
    physdev(w)
    return w.s


def hvm(w: Writer) -> None:
    for op in (*range(32), 2**31, 2**32, 2**32 + 1, 2**64 - 1):
        for where, gva in (("bad", BAD), ("null", 0)):
            w.s.call(f"hvm_op {op:#x}, {where} address", HVM_OP, op, gva)
        for domid in DOMIDS:
            for index in (0, 38, 39):
                at = w.arg(u16(domid), u16(0), u32(index), *ZEROES)
                w.s.call(f"hvm_op {op:#x} {domid:#x} {index}", HVM_OP, op, at)
    for event in (0, 0xFFF, 0x1000, 0xFFFF):
        for n in (0, 28, 29, 0xFFFF):
            at = w.arg(u16(event), u16(n), *ZEROES)
            w.s.call(f"xentrace {event:#x} {n}", HVM_OP, XENTRACE, at)
    for n in (0, 1, 2, 3, 2**31, 2**32, 2**32 + 1, 2**32 - 1):
        for domid in (*DOMIDS, 2**16, 2**16 + ABSENT):
            w.s.call(f"dm_op {domid:#x} {n:#x}, bad address", DM_OP, domid, n, BAD)
            w.s.call(f"dm_op {domid:#x} {n:#x}", DM_OP, domid, n, w.arg(*ZEROES))


def versions(w: Writer) -> None:
    known = {PLATFORM_OP: 0x0300_0001, SYSCTL: 0x15, PAGING_DOMCTL_CONT: 0x15}
    for nr in (PLATFORM_OP, SYSCTL, MCA, PAGING_DOMCTL_CONT):
        w.s.call(f"{nr}, bad address", nr, BAD)
        for version in (0, 0x14, 0x15, 0x16, 0x0300_0000, 0x0300_0001):
            for cmd in (0, 77, 9999, 2**31):
                if known.get(nr) == version and cmd == 0:
                    continue
                at = w.arg(u32(cmd), u32(version), *ZEROES)
                w.s.call(f"{nr} {version:#x} {cmd:#x}", nr, at)
    for version in (0x15, 0x14):
        for cmd in (10, 1):
            for domid in DOMIDS:
                at = w.arg(u32(cmd), u32(version), u16(domid), u16(0), u32(0), *ZEROES)
                w.s.call(f"shadow {version:#x} {cmd} {domid:#x}", PAGING_DOMCTL_CONT, at)


def host(w: Writer) -> None:
    for op in (0, 1, 2, 6, 99, 2**31, 2**32):
        w.s.call(f"xenpmu_op {op:#x}", XENPMU_OP, op, BAD)
    for op in (*range(20), 2**31, 2**32, 2**32 + 17, 2**32 - 1):
        w.s.call(f"xenoprof_op {op:#x}", XENOPROF_OP, op, BAD)
    for op in (*range(9), 99, 2**32, 2**32 + 3, 2**63):
        w.s.call(f"kexec_op {op:#x}", KEXEC_OP, op, BAD)


def hypfs(w: Writer) -> None:
    for args in ((0, 0, 0, 0), (BAD, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)):
        w.s.call("hypfs version", HYPFS_OP, 2**32, *args)
    for cmd in (1, 2, 3, 2**32 + 2, 2**32 - 1):
        for path in (b"/\0", b"/x\0", b"x\0", b"\0", b"/", b"//\0", b"/\0\0", b""):
            at = w.path(path)
            w.s.call(f"hypfs {cmd:#x} {path!r}", HYPFS_OP, cmd, at, len(path), va(ARG, 0x200), 0)
        for n in (1024, 1025, 2**32 + 2, 2**63):
            w.s.call(f"hypfs {cmd:#x}, {n:#x} bytes", HYPFS_OP, cmd, w.path(b"/\0"), n, 0, 0)
            w.s.call(f"hypfs {cmd:#x}, {n:#x} bad", HYPFS_OP, cmd, BAD, n, 0, 0)


def physdev(w: Writer) -> None:
    w.s.call("physdev_op_compat, bad address", PHYSDEV_OP_COMPAT, BAD)
    for op in (*PHYSDEV_OPS, 2**32 + 6):
        w.s.call(f"physdev_op {op}, bad address", PHYSDEV_OP, op, BAD)
    for level in (0, 1, 3, 4, 2**31, 2**32 - 1):
        fields = (u32(level), u32(0), u64(0))
        w.s.call(f"iopl {level}", PHYSDEV_OP, SET_IOPL, w.arg(*fields))
        at = w.arg(u32(SET_IOPL), u32(0), *fields)
        w.s.call(f"old iopl {level}", PHYSDEV_OP_COMPAT, at)
    for n in (0, 1, 65535, 65536, 65537, 2**32 - 1):
        for at in (0, BAD, 2**47, 0xFFFF_8300_0000_0000, va(50)):
            fields = (u64(at), u32(n), u32(0))
            w.s.call(f"io bitmap {n} {at}", PHYSDEV_OP, SET_IOBITMAP, w.arg(*fields))
    w.s.call("no io bitmap", PHYSDEV_OP, SET_IOBITMAP, w.arg(u64(0), u64(0)))
    w.s.call("no iopl", PHYSDEV_OP, SET_IOPL, w.arg(u64(0)))
