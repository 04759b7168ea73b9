"""What Xen does with machine frames, by its public headers and the rules in its mm.h, in Python.
The calls that do it: frames_calls.py.

A frame has an owner, references and uses of one type. References: the owner's allocation, each
mapping, each pin, each entry of a page table that is in use. Uses: each writable mapping (type
writable), each pin and each entry of the table above (type of that level). The type changes
without uses only. A frame goes with its last reference; a domain that was destroyed goes with
its last frame. Answers are 0, a count, or a negative errno.

Frames that a domain has beside the tracked ones are only counted. Tables of level 4 are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EBUSY, EINVAL, EPERM

PRESENT, RW, USER, CACHE, GLOBAL, KERNEL = 1, 2, 4, 0x98, 0x100, 1 << 52
MFN = 0x000F_FFFF_FFFF_F000
WRITABLE = 7
UNKNOWN_PFN = 0xFFFF_FFFF


@dataclass
class Frame:
    owner: int
    pfn: int = UNKNOWN_PFN
    refs: int = 1
    allocated: bool = True
    type: int = 0  # 1 to 3: page table of that level; of meaning while uses
    uses: int = 0
    linear: int = 0  # of these by other tables of the same level
    pinned: bool = False
    words: dict[int, int] = field(default_factory=dict)


@dataclass
class Dom:
    privileged: bool
    others: int  # pages that are not tracked
    max_pages: int
    slots: list[int] = field(default_factory=list)  # page table entries of its window
    pauses: int = 0
    dying: bool = False
    has_vcpus: bool = True


def mfn_of(pte: int) -> int:
    return (pte & MFN) >> 12


def adjusted(level: int, pte: int) -> int:
    """A present entry, as Xen completes it."""
    if level > 1:
        return pte | USER
    if not pte & USER:
        return pte | USER | KERNEL
    return pte if pte & KERNEL else pte | GLOBAL


class Frames:
    def __init__(self, nframes: int) -> None:
        self.nframes = nframes
        self.frames: dict[int, Frame] = {}
        self.doms: dict[int, Dom] = {}
        self.lent: set[tuple[int, int]] = set()  # (domain, frame) by privileged ones

    def owned(self, domid: int) -> int:
        return sum(f.owner == domid for f in self.frames.values())

    # references and types

    def get_page(self, mfn: int, owner: int) -> bool:
        f = self.frames.get(mfn)
        if f is None or f.owner != owner:
            return False
        f.refs += 1
        return True

    def put_page(self, mfn: int) -> None:
        f = self.frames[mfn]
        f.refs -= 1
        if f.refs:
            return
        assert not f.uses and not f.pinned and not f.allocated
        del self.frames[mfn]
        self.lent = {(domid, lent) for domid, lent in self.lent if lent != mfn}
        self.bury(f.owner)

    def bury(self, domid: int) -> None:
        if self.doms[domid].dying and not self.owned(domid):
            del self.doms[domid]

    def get_type(self, mfn: int, kind: int) -> int:
        f = self.frames[mfn]
        if f.uses:
            if f.type != kind:
                return -EINVAL
            f.uses += 1
            return 0
        if kind == WRITABLE:
            f.type, f.uses = kind, 1
            return 0
        return self.validate(mfn, kind)

    def validate(self, mfn: int, level: int) -> int:
        """It becomes a table if all its entries may be referenced."""
        f = self.frames[mfn]
        f.type, f.uses = level, 1
        held: list[int] = []
        for i in sorted(f.words):
            if not f.words[i] & PRESENT:
                continue
            result = self.get_entry(mfn, f.words[i], f.owner)
            if result:
                for j in held:
                    self.put_entry(mfn, f.words[j])
                f.uses = 0
                return result
            f.words[i] = adjusted(level, f.words[i])
            held.append(i)
        return 0

    def put_type(self, mfn: int) -> None:
        f = self.frames[mfn]
        if f.uses == 1 and f.type != WRITABLE:
            for pte in [w for w in f.words.values() if w & PRESENT]:
                self.put_entry(mfn, pte)
        f.uses -= 1

    # entries

    def get_entry(self, table: int, pte: int, foreign: int) -> int:
        t = self.frames[table]
        if t.type == 1:
            return self.get_mapping(t.owner, foreign, pte)
        return self.get_table(table, pte)

    def put_entry(self, table: int, pte: int) -> None:
        t, mfn = self.frames[table], mfn_of(pte)
        if t.type == 1:
            self.put_mapping(pte)
        elif mfn != table:
            self.frames[mfn].linear -= self.frames[mfn].type == t.type
            self.put_type(mfn)
            self.put_page(mfn)

    def get_mapping(self, mapper: int, foreign: int, pte: int) -> int:
        mfn = mfn_of(pte)
        if mfn >= self.nframes:
            return -EPERM
        f = self.frames.get(mfn)
        if f is None:
            return -EBUSY
        if f.owner != foreign and (foreign == mapper or not self.doms[foreign].privileged):
            return -EBUSY
        f.refs += 1
        if pte & RW and self.get_type(mfn, WRITABLE):
            self.put_page(mfn)
            return -EBUSY
        return 0

    def put_mapping(self, pte: int) -> None:
        if pte & PRESENT:
            if pte & RW:
                self.put_type(mfn_of(pte))
            self.put_page(mfn_of(pte))

    def get_table(self, table: int, pte: int) -> int:
        """What an entry above level 1 names: a table of the next level, or, read-only, one of its
        own level, in chains of one link."""
        t, mfn = self.frames[table], mfn_of(pte)
        if pte & (CACHE | GLOBAL) or not self.get_page(mfn, t.owner):
            return -EINVAL
        f = self.frames[mfn]
        if not f.uses or f.type == t.type - 1:
            result = self.get_type(mfn, t.type - 1)
        elif mfn == table:
            result = -EINVAL if pte & RW else 0
            self.put_page(mfn)  # without a reference
            return result
        elif pte & RW or f.type != t.type or t.linear or self.is_linear(mfn):
            result = -EINVAL
        else:
            f.uses += 1
            f.linear += 1
            result = 0
        if result:
            self.put_page(mfn)
        return result

    def is_linear(self, mfn: int) -> bool:
        f = self.frames[mfn]
        named = [mfn_of(w) for w in f.words.values() if w & PRESENT]
        return any(m != mfn and self.frames[m].type == f.type for m in named)

    # what must hold

    def check(self) -> None:
        """References are what refers, uses are what uses; a domain without a right has only its
        own frames mapped."""
        refs = dict.fromkeys(self.frames, 0)
        uses = dict.fromkeys(self.frames, 0)

        def mapping(d: Dom, domid: int, pte: int) -> None:
            if pte & PRESENT:
                refs[mfn_of(pte)] += 1
                uses[mfn_of(pte)] += bool(pte & RW)
                own = self.frames[mfn_of(pte)].owner == domid
                assert own or d.privileged or (domid, mfn_of(pte)) in self.lent

        for domid, d in self.doms.items():
            for pte in d.slots:
                mapping(d, domid, pte)
        for mfn, f in self.frames.items():
            refs[mfn] += f.allocated + f.pinned
            uses[mfn] += f.pinned
            for pte in f.words.values() if f.uses and f.type != WRITABLE else ():
                if f.type == 1:
                    mapping(self.doms[f.owner], f.owner, pte)
                elif pte & PRESENT and mfn_of(pte) != mfn:
                    refs[mfn_of(pte)] += 1
                    uses[mfn_of(pte)] += 1
        assert refs == {mfn: f.refs for mfn, f in self.frames.items()}
        assert uses == {mfn: f.uses for mfn, f in self.frames.items()}
