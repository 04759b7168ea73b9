"""Hypercalls on the frames of frames_model, and what they answer: 0, a count, a negative errno."""

from __future__ import annotations

from errno import EEXIST, EINVAL, EPERM, ESRCH

from models.frames_model import (
    CACHE,
    GLOBAL,
    MFN,
    PRESENT,
    RW,
    UNKNOWN_PFN,
    WRITABLE,
    Dom,
    Frame,
    Frames,
    adjusted,
    mfn_of,
)


class FramesModel(Frames):
    """`named`: the domain whose frames a call names, None: the caller's own."""

    def pages(self, domid: int) -> int:
        return self.doms[domid].others + self.owned(domid)

    def may(self, caller: int, target: int) -> bool:
        return caller == target or self.doms[caller].privileged

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
