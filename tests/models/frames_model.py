"""What Xen does with machine frames, by its public headers and the rules in its mm.h, in Python.

A frame has an owner, references and uses of one type. References: the owner's allocation, each
mapping, each pin, each entry of a page table that is in use. Uses: each writable mapping (type
writable), each pin and each entry of the table above (type of that level). The type changes
without uses only. A frame goes with its last reference; a domain that was destroyed goes with
its last frame. Answers are 0, a count, or a negative errno.

Frames that a domain has beside the tracked ones are only counted. Tables of level 4 are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EBUSY, EEXIST, EINVAL, EPERM, ESRCH

PRESENT, RW, USER, CACHE, GLOBAL, KERNEL = 1, 2, 4, 0x98, 0x100, 1 << 52
MFN = 0x000F_FFFF_FFFF_F000
WRITABLE = 7
UNKNOWN_PFN = 0xFFFF_FFFF
MAX_PAUSES = 255


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


class FramesModel:
    def __init__(self, nframes: int) -> None:
        self.nframes = nframes
        self.frames: dict[int, Frame] = {}
        self.doms: dict[int, Dom] = {}
        self.lent: set[tuple[int, int]] = set()  # (domain, frame) by privileged ones

    def owned(self, domid: int) -> int:
        return sum(f.owner == domid for f in self.frames.values())

    def pages(self, domid: int) -> int:
        return self.doms[domid].others + self.owned(domid)

    def may(self, caller: int, target: int) -> bool:
        return caller == target or self.doms[caller].privileged

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

    # calls

    def foreign(self, caller: int, named: int | None) -> int:
        """The domain that a call names as owner of frames; negative: none such."""
        if named is None:
            return caller
        return -ESRCH if named == caller or named not in self.doms else named

    def map(self, caller: int, slot: int, pte: int, named: int | None = None) -> int:
        """update_va_mapping, or _otherdomain."""
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner):
            return -EPERM
        slots = self.doms[caller].slots
        old = slots[slot]
        if pte & PRESENT:
            pte = adjusted(1, pte)
            if (old ^ pte) & (MFN | PRESENT | RW | CACHE):
                result = self.get_mapping(caller, owner, pte)
                if result:
                    return result
            else:
                old = 0
        slots[slot] = pte
        self.put_mapping(old)
        return 0

    def mmu_update(
        self, caller: int, mfn: int, i: int, val: int, named: int | None, tables: int | None
    ) -> int:
        """One entry, or one word of a page that is no table."""
        pt = caller if tables is None else tables
        if pt not in self.doms:
            return -ESRCH
        if not self.doms[pt].has_vcpus:
            return -EINVAL
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner) or not self.may(caller, pt):
            return -EPERM
        f = self.frames.get(mfn)
        if f is None or f.owner != pt:
            return -EINVAL
        if not f.uses or f.type == WRITABLE:
            f.words[i] = val
            return 0
        if f.type > 1 and owner != pt:
            return -EINVAL
        old = f.words.get(i, 0)
        if val & PRESENT:
            val = adjusted(f.type, val)
            checked = MFN | PRESENT | RW | CACHE | (GLOBAL if f.type > 1 else 0)
            if not (old ^ val) & checked:
                f.words[i] = val
                return 0
            result = self.get_entry(mfn, val, owner)
            if result:
                return result
            if caller != pt:
                self.lent.add((pt, mfn_of(val)))
        f.words[i] = val
        if old & PRESENT:
            self.put_entry(mfn, old)
        return 0

    def set_pfn(self, caller: int, mfn: int, pfn: int, named: int | None) -> int:
        """mmu_update of the machine-to-physical table."""
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner):
            return -EPERM
        if mfn not in self.frames or self.frames[mfn].owner != owner:
            return -EINVAL
        self.frames[mfn].pfn = pfn
        return 0

    def pin(self, caller: int, level: int, mfn: int, named: int | None) -> int:
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner):
            return -EPERM
        if not self.get_page(mfn, owner):
            return -EINVAL
        f = self.frames[mfn]
        result = self.get_type(mfn, level)
        if not result and not f.pinned and not self.doms[owner].dying:
            f.pinned = True
            return 0
        if not result:
            self.put_type(mfn)
            result = -EINVAL if f.pinned else 0
        self.put_page(mfn)
        return result

    def unpin(self, caller: int, mfn: int, named: int | None) -> int:
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner):
            return -EPERM
        f = self.frames.get(mfn)
        if f is None or f.owner != owner or not f.pinned:
            return -EINVAL
        self.drop_pin(mfn)
        return 0

    def drop_pin(self, mfn: int) -> None:
        self.frames[mfn].pinned = False
        self.put_type(mfn)
        self.put_page(mfn)

    def clear(self, caller: int, mfn: int, named: int | None) -> int:
        owner = self.foreign(caller, named)
        if owner < 0:
            return owner
        if not self.may(caller, owner):
            return -EPERM
        f = self.frames.get(mfn)
        if f is None or f.owner != owner or (f.uses and f.type != WRITABLE):
            return -EINVAL
        f.words.clear()
        return 0

    def room(self, caller: int, target: int, n: int, free: int) -> int:
        """How many of n frames the reservation of `target` can grow by."""
        d = self.doms.get(target)
        if d is None or d.dying or not self.may(caller, target):
            return 0
        return max(0, min(n, d.max_pages - self.pages(target), free))

    def give(self, target: int, mfn: int, pfn: int = UNKNOWN_PFN) -> None:
        """The frame that it grew by."""
        assert mfn not in self.frames
        self.frames[mfn] = Frame(target, pfn)

    def decrease(self, caller: int, target: int, mfn: int) -> int:
        f = self.frames.get(mfn)
        if target not in self.doms or not self.may(caller, target):
            return 0
        if f is None or f.owner != target:
            return 0
        self.deallocate(mfn)
        return 1

    def deallocate(self, mfn: int) -> None:
        f = self.frames[mfn]
        if f.allocated:
            f.allocated = False
            self.put_page(mfn)

    def exchange(self, caller: int, target: int, mfn: int) -> int:
        """Of one frame, which goes if the answer is 0: another one is to be given then."""
        if target not in self.doms:
            return -ESRCH
        if not self.may(caller, target):
            return -EPERM
        f = self.frames.get(mfn)
        if f is None or f.owner != target or not f.allocated or f.refs != 1:
            return -EINVAL
        del self.frames[mfn]
        return 0

    def domctl(self, caller: int, target: int) -> int:
        """What all calls on domains answer first."""
        if target not in self.doms:
            return -ESRCH
        return 0 if self.doms[caller].privileged else -EPERM

    def create(self, caller: int, domid: int) -> int:
        if not self.doms[caller].privileged:
            return -EPERM
        if domid in self.doms:
            return -EEXIST
        self.doms[domid] = Dom(False, others=0, max_pages=0, pauses=1, has_vcpus=False)
        return 0

    def destroy(self, domid: int) -> None:
        d = self.doms[domid]
        if d.dying:
            return
        d.dying, d.others = True, 0
        for i, pte in enumerate(d.slots):
            d.slots[i] = 0
            self.put_mapping(pte)
        mine = [mfn for mfn, f in self.frames.items() if f.owner == domid]
        for mfn in mine:
            if mfn in self.frames and self.frames[mfn].pinned:
                self.drop_pin(mfn)
        for mfn in mine:
            if mfn in self.frames:
                self.deallocate(mfn)
        if domid in self.doms:
            self.bury(domid)

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
