"""Grants as Xen's public header and its documentation have them, in Python.

A domain's table has entries that it writes; `flags` also says whether an entry is in use. A use of
an entry is a handle of the domain that has it mapped: for its page tables (HOST), for a device
(DEVICE), or both. References of a frame are not counted but added up: the owner's allocation, a
pin, each slot of a window that maps it, each device use. So are the pins of an entry. A frame
without references goes, and a domain that was destroyed with its last one.

Answers are 0 or a GNTST_* status.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

DEVICE, HOST, RO, BY_PTE = 1, 2, 4, 16
READING, WRITING, READ_ONLY, SUB_PAGE = 8, 16, 4, 0x100
TYPE, ACCESS, ACCEPT, COMMITTED, COMPLETED = 3, 1, 2, 4, 8
ERROR, BAD_DOMAIN, BAD_REF, BAD_HANDLE, BAD_BUS = -1, -2, -3, -4, -6
DENIED, BAD_PAGE, AGAIN = -8, -9, -12
SELF = 0x7FF0
PIN_MOST, ENTRIES, HANDLES = 128, 512, 256


@dataclass
class Frame:
    owner: int
    allocated: bool = True
    table: bool = False  # pinned as a page table: never writable
    data: int = 0  # its first byte


@dataclass
class Entry:
    flags: int = 0
    domid: int = 0
    frame: int = 0
    user: int = 0  # of an entry in use: who, and of which frame
    mfn: int = 0
    copies: list[bool] = field(default_factory=list)  # under way: read-only or not


@dataclass
class Use:
    granter: Dom
    ref: int
    flags: int

    @property
    def ro(self) -> bool:
        return bool(self.flags & RO)


@dataclass(eq=False)
class Dom:
    id: int
    room: int  # pages that it may still take
    frames: int = 1  # of its table
    dying: bool = False
    crashed: bool = False
    entries: dict[int, Entry] = field(default_factory=dict)
    uses: dict[int, Use] = field(default_factory=dict)  # by handle
    free: deque[int] = field(default_factory=deque)  # handles, the last is never taken
    limit: int = 0  # no handle is as high
    slots: list[tuple[int, bool] | None] = field(default_factory=list)  # frame, writable

    def entry(self, ref: int) -> Entry:
        return self.entries.setdefault(ref, Entry())

    def take_handle(self) -> int:
        if len(self.free) > 1:
            return self.free.popleft()
        first, self.limit = self.limit, self.limit + HANDLES
        self.free.extendleft(range(self.limit - 1, first, -1))
        return first


class GrantsModel:
    def __init__(self) -> None:
        self.frames: dict[int, Frame] = {}
        self.doms: dict[int, Dom] = {}

    # what is added up

    def all_uses(self) -> Iterator[tuple[Dom, Use]]:
        for dom in self.doms.values():
            for use in dom.uses.values():
                yield dom, use

    def references(self, mfn: int) -> tuple[int, int]:
        """Of a frame: all, and those as writable memory."""
        frame = self.frames[mfn]
        count, writable = frame.allocated + frame.table, 0
        for dom in self.doms.values():
            mapped = [slot for slot in dom.slots if slot and slot[0] == mfn]
            count += len(mapped)
            writable += sum(rw for _, rw in mapped)
        for _, use in self.all_uses():
            if use.flags & DEVICE and self.is_there(use.granter) and self.mfn_of(use) == mfn:
                count += 1
                writable += not use.ro
        return count, writable

    def mfn_of(self, use: Use) -> int:
        return use.granter.entry(use.ref).mfn

    def pins(self, granter: Dom, ref: int) -> list[tuple[int, bool]]:
        """What uses an entry: (HOST or DEVICE, read-only)."""
        pins = [
            (kind, use.ro)
            for _, use in self.all_uses()
            if use.granter is granter and use.ref == ref
            for kind in (HOST, DEVICE)
            if use.flags & kind
        ]
        return pins + [(HOST, ro) for ro in granter.entry(ref).copies]

    def is_there(self, dom: Dom) -> bool:
        return self.doms.get(dom.id) is dom

    def owned(self, mfn: int, dom: Dom) -> bool:
        return mfn in self.frames and self.frames[mfn].owner == dom.id

    def collect(self) -> None:
        """What has no reference goes."""
        for mfn in [m for m in self.frames if not self.references(m)[0]]:
            del self.frames[mfn]
        owners = {frame.owner for frame in self.frames.values()}
        for dom in [d for d in self.doms.values() if d.dying and d.id not in owners]:
            del self.doms[dom.id]

    # entries

    def may(self, dom: Dom, granter: Dom, ref: int, kinds: int, ro: bool) -> bool:
        """An entry that is in use is only its user's, and has so many uses of each kind."""
        pins = self.pins(granter, ref)
        if pins and granter.entry(ref).user != dom.id:
            return False
        kind_pins = [pins.count((kind, ro)) for kind in (HOST, DEVICE) if kinds & kind]
        return all(n < PIN_MOST for n in kind_pins)

    def is_new(self, granter: Dom, ref: int, ro: bool) -> bool:
        """The entry is not used so yet."""
        pins = self.pins(granter, ref)
        return not pins or (not ro and all(is_ro for _, is_ro in pins))

    def mark(self, dom: Dom, granter: Dom, ref: int, ro: bool, mask: int) -> bool:
        """The entry's flags say that it is used, if it grants that."""
        entry = granter.entry(ref)
        if not self.pins(granter, ref):
            if entry.flags & mask != ACCESS or entry.domid != dom.id:
                return False
        if not ro and entry.flags & READ_ONLY:
            return False
        entry.flags |= READING if ro else READING | WRITING
        return True

    def unmark(self, granter: Dom, ref: int, ro: bool) -> None:
        entry, pins = granter.entry(ref), self.pins(granter, ref)
        if not pins:
            entry.flags &= ~READING
        if not ro and all(is_ro for _, is_ro in pins):
            entry.flags &= ~WRITING

    # map, unmap

    def map(self, dom: Dom, domid: int, ref: int, flags: int, slot: int | None) -> int:
        """The handle, or a status. `slot` None: nothing can be mapped there."""
        if not flags & (HOST | DEVICE):
            return BAD_REF
        granter = self.doms.get(domid)
        if granter is None:
            return BAD_DOMAIN
        handle = dom.take_handle()
        status = self.map_entry(dom, granter, ref, flags, slot)
        if status:
            dom.free.append(handle)
            return status
        mfn = granter.entry(ref).mfn
        dom.uses[handle] = Use(granter, ref, flags)
        if flags & HOST:
            assert slot is not None
            dom.slots[slot] = (mfn, not flags & RO)
        return handle

    def map_entry(self, dom: Dom, granter: Dom, ref: int, flags: int, slot: int | None) -> int:
        ro = bool(flags & RO)
        if ref >= granter.frames * ENTRIES:
            return BAD_REF
        entry = granter.entry(ref)
        if not self.may(dom, granter, ref, flags, ro):
            return ERROR
        new = self.is_new(granter, ref, ro)
        if new and not self.mark(dom, granter, ref, ro, TYPE | SUB_PAGE):
            return ERROR
        if not self.pins(granter, ref):
            if not self.owned(entry.frame, granter):
                self.unmark(granter, ref, ro)
                return BAD_PAGE
            entry.user, entry.mfn = dom.id, entry.frame
        usable = self.owned(entry.mfn, granter) and (ro or not self.frames[entry.mfn].table)
        if usable and (slot is not None or not flags & HOST):
            return 0
        self.unmark(granter, ref, ro)
        return ERROR

    def unmap(
        self, dom: Dom, handle: int, slot: int | None, bus: int, new: int | None = None
    ) -> int:
        """`slot` None: no address. `new` is what comes in its place, if that is wanted."""
        use = dom.uses.get(handle)
        if use is None:
            return BAD_HANDLE
        if not self.is_there(use.granter):
            dom.crashed = True
            return BAD_DOMAIN
        mfn, done = self.mfn_of(use), 0
        if bus and use.flags & DEVICE:
            if bus != mfn << 12:
                return BAD_BUS
            done |= DEVICE
        if slot is not None and use.flags & HOST:
            moved = None
            if new is not None:
                if use.flags & BY_PTE:
                    return ERROR
                moved, dom.slots[new] = dom.slots[new], None  # and lost, if the rest fails
            if dom.slots[slot] != (mfn, not use.ro):
                return ERROR
            dom.slots[slot] = moved
            done |= HOST
        use.flags &= ~done
        if not use.flags & (HOST | DEVICE):
            del dom.uses[handle]
            dom.free.append(handle)
        if done:
            self.unmark(use.granter, use.ref, use.ro)
        return 0

    # copy: a side is (domid, reference) or (domid, None) with a frame

    def acquire(self, dom: Dom, granter: Dom, ref: int, ro: bool) -> int:
        if ref >= granter.frames * ENTRIES:
            return BAD_REF
        entry = granter.entry(ref)
        if not self.may(dom, granter, ref, HOST, ro):
            return ERROR
        status = 0
        if self.is_new(granter, ref, ro):
            if not self.mark(dom, granter, ref, ro, TYPE):
                return ERROR
            if not self.owned(entry.frame, granter):
                status = BAD_PAGE
            elif not self.pins(granter, ref):
                entry.user, entry.mfn = dom.id, entry.frame
            elif not self.owned(entry.mfn, granter):
                status = ERROR
        elif granter.dying or not self.owned(entry.mfn, granter):
            status = BAD_DOMAIN
        if status:
            self.unmark(granter, ref, ro)
        else:
            entry.copies.append(ro)
        return status

    def release(self, granter: Dom, ref: int, ro: bool) -> None:
        granter.entry(ref).copies.remove(ro)
        self.unmark(granter, ref, ro)

    def copy(self, dom: Dom, sides: list[tuple[int, int | None, int]]) -> int:
        """Of a byte, from the first side to the second; each (domid, ref or None, frame)."""
        granters: list[Dom] = []
        for domid, ref, _ in sides:
            if domid != SELF and ref is None:
                return DENIED
            granter = dom if domid == SELF else self.doms.get(domid)
            if granter is None:
                return BAD_DOMAIN
            granters.append(granter)
        mfns: list[int] = []
        held: list[tuple[Dom, int, bool]] = []
        status = 0
        for granter, (_, ref, mfn), ro in zip(granters, sides, (True, False), strict=True):
            if ref is None:
                status = 0 if self.owned(mfn, dom) else BAD_PAGE
            else:
                status = self.acquire(dom, granter, ref, ro)
                if not status:
                    held.append((granter, ref, ro))
                    mfn = granter.entry(ref).mfn
            if not status and not ro and self.frames[mfn].table:
                status = ERROR
            if status:
                break
            mfns.append(mfn)
        if not status:
            self.frames[mfns[1]].data = self.frames[mfns[0]].data
        for granter, ref, ro in held:
            self.release(granter, ref, ro)
        return status

    # transfer, swap, cache_flush

    def transfer(self, dom: Dom, mfn: int, domid: int, ref: int) -> int:
        frame = self.frames.get(mfn)
        if not self.owned(mfn, dom) or frame is None or self.references(mfn)[0] != 1:
            return BAD_PAGE
        if not frame.allocated:
            return BAD_PAGE
        taker = self.doms.get(domid)
        status = BAD_DOMAIN if taker is None else self.accept(dom, taker, ref)
        dom.room += 1
        if status or taker is None:
            frame.allocated = False
            return status
        taker.room -= 1
        taker.entry(ref).frame = mfn
        frame.owner = taker.id
        return 0

    def accept(self, dom: Dom, taker: Dom, ref: int) -> int:
        if taker.dying or taker.room + (taker is dom) <= 0:
            return ERROR
        entry = taker.entry(ref)
        if ref >= taker.frames * ENTRIES or entry.flags != ACCEPT or entry.domid != dom.id:
            return ERROR
        entry.flags |= COMMITTED | COMPLETED
        return 0

    def swap(self, dom: Dom, a: int, b: int) -> int:
        if max(a, b) >= dom.frames * ENTRIES:
            return BAD_REF
        if a == b:
            return 0
        if self.pins(dom, a) or self.pins(dom, b):
            return AGAIN
        one, two = dom.entry(a), dom.entry(b)
        dom.entries[a], dom.entries[b] = two, one
        return 0

    def may_flush(self, dom: Dom, mfn: int) -> bool:
        """Its own frame, or one that is granted to it and in use."""
        owner = self.doms[self.frames[mfn].owner]
        return owner is dom or any(
            entry.user == dom.id and entry.mfn == mfn and self.pins(owner, ref)
            for ref, entry in list(owner.entries.items())
        )

    # page tables by other means, deaths

    def remap(self, dom: Dom, slot: int, new: tuple[int, bool] | None) -> bool:
        """update_va_mapping; whether it may."""
        if new is not None and new != dom.slots[slot]:
            mfn, rw = new
            if not self.owned(mfn, dom) or (rw and self.frames[mfn].table):
                return False
        dom.slots[slot] = new
        return True

    def destroy(self, dom: Dom) -> None:
        dom.dying, dom.slots = True, []
        uses, dom.uses = dom.uses, {}
        for use in uses.values():
            if self.is_there(use.granter):
                self.unmark(use.granter, use.ref, use.ro)
        for frame in self.frames.values():
            if frame.owner == dom.id:
                frame.allocated = frame.table = False

    # what must hold

    def check(self) -> None:
        for dom in self.doms.values():
            foreign = [s[0] for s in dom.slots if s and not self.owned(s[0], dom)]
            granted = [
                self.mfn_of(use)
                for use in dom.uses.values()
                if use.flags & HOST and self.is_there(use.granter)
            ]
            for mfn in set(foreign):
                assert foreign.count(mfn) <= granted.count(mfn), "mapped without a right"
            assert not any(entry.copies for entry in dom.entries.values())
        assert all(self.references(mfn)[0] for mfn in self.frames)
