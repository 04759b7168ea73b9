"""Random calls on frames and domains, each answer and each frame compared with frames_model.

Thorough: pytest tests/models/test_frames.py --hypothesis-profile=long (over 100,000 steps).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from models.frames_calls import FramesModel
from models.frames_model import PRESENT, UNKNOWN_PFN, Dom, Frame, mfn_of

from xenemu import Domain, HypercallError, Machine
from xenemu._abi import Hypercall, MmuUpdate
from xenemu.xen.machine import TYPES

WINDOW, GUESTS, ROOM = 5, 3, 8
MEMORY_MIB = 16
KIB_PER_PAGE = 4
ABSENT = 4000
FLAGS = (0x67, 0x67, 0x65, 0x65, 0x63, 0x61, 0x165, 0)

numbers = st.integers(0, 2**10)
flags = st.sampled_from(FLAGS)
words = st.integers(0, 2)
named = st.one_of(st.none(), st.none(), numbers)


def answer(call: Callable[[], object]) -> int:
    """0, or what it was refused with."""
    try:
        call()
    except HypercallError as error:
        return -(error.errno or 0)
    return 0


class Frames(RuleBasedStateMachine):
    @initialize()
    def boot(self) -> None:
        self.machine = Machine(memory_mib=MEMORY_MIB, control_memory_mib=1)
        self.model = FramesModel(MEMORY_MIB << 20 >> 12)
        self.free = self.machine.free_pages
        self.domains: dict[int, Domain] = {}
        self.windows: dict[int, list[int]] = {}
        self.add(self.machine.control, True)
        self.create(privileged=False)
        self.create(privileged=True)

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        for domid in sorted(self.model.doms, reverse=True):
            if domid in self.model.doms and domid:
                self.machine.control.hypercall.domctl.destroydomain(domain=domid)
                self.model.destroy(domid)
        for mfn in [m for m, f in self.model.frames.items() if f.owner == 0 and f.pinned]:
            self.model.unpin(0, mfn, None)
            self.machine.control.hypercall.mmuext_op.unpin_table(mfn=mfn)
        for slot in range(WINDOW):
            self.write_slot(self.machine.control, slot, 0, None)
        self.frames_are_the_models()
        assert list(self.model.doms) == [0]
        self.machine.close()

    def add(self, domain: Domain, privileged: bool) -> None:
        pages = domain.info.tot_pages
        self.machine.control.hypercall.domctl.max_mem(
            domain=domain.id, max_memkb=(pages + ROOM) * KIB_PER_PAGE
        )
        window = [domain.alloc_page() for _ in range(WINDOW)]
        mfns = [domain.mfn_at(page) for page in window]
        slots = [mfn << 12 | 0x67 for mfn in mfns]
        self.model.doms[domain.id] = Dom(privileged, pages - WINDOW, pages + ROOM, slots)
        for mfn in mfns:
            pfn = domain.pfn_of(mfn)
            self.model.frames[mfn] = Frame(domain.id, pfn, refs=2, type=7, uses=1)
        self.domains[domain.id] = domain
        self.windows[domain.id] = window

    # choices

    def live(self) -> list[int]:
        return [domid for domid, d in self.model.doms.items() if d.slots and not d.dying]

    def caller(self, n: int) -> Domain:
        live = self.live()
        return self.domains[live[n % len(live)]]

    def any_domid(self, n: int) -> int:
        """Of a domain, a zombie or none."""
        domids = [*self.model.doms, ABSENT]
        return domids[n % len(domids)]

    def name(self, n: int | None) -> int | None:
        return None if n is None else self.any_domid(n)

    def mfn(self, n: int, owner: int | None = None) -> int:
        """Mostly of a frame of the owner, else of any frame of the model, or of none."""
        mfns = [*sorted(self.model.frames), self.model.nframes + 1]
        mine = [m for m in mfns[:-1] if self.model.frames[m].owner == owner]
        if mine and n % 4:
            mfns = mine
        return mfns[n // 4 % len(mfns)]

    def tables(self, *levels: int) -> list[int]:
        frames = self.model.frames
        return [m for m in sorted(frames) if frames[m].uses and frames[m].type in levels]

    # page tables

    def write_slot(self, domain: Domain, slot: int, pte: int, owner: int | None) -> None:
        va = self.windows[domain.id][slot]
        expected = self.model.map(domain.id, slot, pte, owner)
        if owner is None:
            got = domain.hypercall.raw(Hypercall.update_va_mapping, va, pte, 2)
        else:
            nr = Hypercall.update_va_mapping_otherdomain
            got = domain.hypercall.raw(nr, va, pte, 2, owner)
        assert got == expected

    @rule(n=numbers, slot=st.integers(0, WINDOW - 1), frame=numbers, flags=flags, owner=named)
    def map(self, n: int, slot: int, frame: int, flags: int, owner: int | None) -> None:
        domain, named = self.caller(n), self.name(owner)
        mfn = self.mfn(frame, domain.id if named is None else named)
        self.write_slot(domain, slot, mfn << 12 | flags, named)

    @rule(n=numbers, slot=st.integers(0, WINDOW - 1), flags=flags)
    def map_a_frame_of_another(self, n: int, slot: int, flags: int) -> None:
        mfn = self.mfn(n)
        frame = self.model.frames.get(mfn)
        owner = None if frame is None else frame.owner
        self.write_slot(self.caller(n), slot, mfn << 12 | flags, owner)

    @rule(n=numbers, slot=st.integers(0, WINDOW - 1))
    def unmap(self, n: int, slot: int) -> None:
        self.write_slot(self.caller(n), slot, 0, None)

    @rule(n=numbers, frame=numbers, level=st.integers(1, 3))
    def make_a_table(self, n: int, frame: int, level: int) -> None:
        domain = self.caller(n)
        mfn = self.mfn(frame, domain.id)
        for slot, pte in enumerate(self.model.doms[domain.id].slots):
            if pte & PRESENT and mfn_of(pte) == mfn:
                self.write_slot(domain, slot, mfn << 12 | 0x65, None)
        self.pin(n, level, frame, None)

    def update(
        self, domain: Domain, mfn: int, word: int, val: int, owner: int | None, tables: int | None
    ) -> None:
        expected = self.model.mmu_update(domain.id, mfn, word, val, owner, tables)
        got = answer(
            lambda: domain.hypercall.mmu_update(
                [(mfn << 12 | word << 3, val)],
                foreigndom=0x7FF0 if owner is None else owner,
                pt_owner=tables,
            )
        )
        assert got == expected

    @rule(n=numbers, table=numbers, word=words, frame=numbers, flags=flags, owner=named, pt=named)
    def write_an_entry(
        self,
        n: int,
        table: int,
        word: int,
        frame: int,
        flags: int,
        owner: int | None,
        pt: int | None,
    ) -> None:
        val = self.mfn(frame) << 12 | flags
        domain, named, tables = self.caller(n), self.name(owner), self.name(pt)
        mfn = self.mfn(table, domain.id if tables is None else tables)
        self.update(domain, mfn, word, val, named, tables)

    @precondition(lambda self: self.tables(1, 2, 3))
    @rule(n=numbers, word=words, frame=numbers, flags=flags, foreign=st.booleans())
    def write_an_entry_of_a_table(
        self, n: int, word: int, frame: int, flags: int, foreign: bool
    ) -> None:
        tables = self.tables(1, 2, 3)
        table = tables[n % len(tables)]
        domain = self.domains[self.model.frames[table].owner]
        mfn = self.mfn(frame, domain.id)
        owner = self.model.frames[mfn].owner if foreign and mfn in self.model.frames else None
        self.update(domain, table, word, mfn << 12 | flags, owner, None)

    @precondition(lambda self: self.tables(2, 3))
    @rule(n=numbers, word=words, other=numbers, flags=flags)
    def link_tables(self, n: int, word: int, other: int, flags: int) -> None:
        upper, all_tables = self.tables(2, 3), self.tables(1, 2, 3)
        table, mfn = upper[n % len(upper)], all_tables[other % len(all_tables)]
        domain = self.domains[self.model.frames[table].owner]
        self.update(domain, table, word, mfn << 12 | flags, None, None)

    @rule(n=numbers, frame=numbers, pfn=st.integers(0, 2**31), owner=named)
    def set_pfn(self, n: int, frame: int, pfn: int, owner: int | None) -> None:
        domain, named = self.caller(n), self.name(owner)
        mfn = self.mfn(frame, domain.id if named is None else named)
        expected = self.model.set_pfn(domain.id, mfn, pfn, named)
        got = answer(
            lambda: domain.hypercall.mmu_update(
                [(mfn << 12 | MmuUpdate.MACHPHYS_UPDATE, pfn)],
                foreigndom=0x7FF0 if named is None else named,
            )
        )
        assert got == expected

    @rule(n=numbers, level=st.integers(1, 3), frame=numbers, owner=named)
    def pin(self, n: int, level: int, frame: int, owner: int | None) -> None:
        domain, named = self.caller(n), self.name(owner)
        mfn = self.mfn(frame, domain.id if named is None else named)
        expected = self.model.pin(domain.id, level, mfn, named)
        call = domain.hypercall.mmuext_op.pin_table
        foreign = 0x7FF0 if named is None else named
        assert answer(lambda: call(level, mfn=mfn, foreigndom=foreign)) == expected

    @rule(n=numbers, frame=numbers, owner=named)
    def unpin(self, n: int, frame: int, owner: int | None) -> None:
        domain, named = self.caller(n), self.name(owner)
        mfn = self.mfn(frame, domain.id if named is None else named)
        expected = self.model.unpin(domain.id, mfn, named)
        call = domain.hypercall.mmuext_op.unpin_table
        foreign = 0x7FF0 if named is None else named
        assert answer(lambda: call(mfn=mfn, foreigndom=foreign)) == expected

    @rule(n=numbers, frame=numbers, owner=named)
    def clear_page(self, n: int, frame: int, owner: int | None) -> None:
        domain, named = self.caller(n), self.name(owner)
        mfn = self.mfn(frame, domain.id if named is None else named)
        expected = self.model.clear(domain.id, mfn, named)
        call = domain.hypercall.mmuext_op.clear_page
        foreign = 0x7FF0 if named is None else named
        assert answer(lambda: call(mfn=mfn, foreigndom=foreign)) == expected

    @rule(n=numbers, slot=st.integers(0, WINDOW - 1), word=words, frame=numbers, flags=flags)
    def write_memory(self, n: int, slot: int, word: int, frame: int, flags: int) -> None:
        domain = self.caller(n)
        pte = self.model.doms[domain.id].slots[slot]
        val = self.mfn(frame, domain.id) << 12 | flags
        at = self.windows[domain.id][slot] + 8 * word
        try:
            domain.write(at, val.to_bytes(8, "little"))
        except OSError as error:
            assert error.errno == errno.EFAULT
            assert pte & 3 != 3
        else:
            assert pte & 3 == 3
            self.model.frames[mfn_of(pte)].words[word] = val

    # reservations

    @rule(n=numbers, whom=numbers, count=st.integers(1, 6), pfn=st.one_of(st.none(), numbers))
    def grow(self, n: int, whom: int, count: int, pfn: int | None) -> None:
        domain, domid = self.caller(n), self.any_domid(whom)
        room = self.model.room(domain.id, domid, count, self.machine.free_pages)
        call = domain.hypercall.memory_op
        if pfn is None:
            frames = call.increase_reservation(nr_extents=count, domid=domid)
        else:
            frames = call.populate_physmap(range(pfn, pfn + count), domid=domid)
        assert len(frames) == room
        for i, mfn in enumerate(frames):
            self.model.give(domid, mfn, UNKNOWN_PFN if pfn is None else pfn + i)

    @rule(n=numbers, whom=numbers, frame=numbers, own=st.booleans())
    def decrease(self, n: int, whom: int, frame: int, own: bool) -> None:
        domain = self.caller(n)
        domid = domain.id if own else self.any_domid(whom)
        mfn = self.mfn(frame, domid)
        expected = self.model.decrease(domain.id, domid, mfn)
        assert domain.hypercall.memory_op.decrease_reservation([mfn], domid=domid) == expected

    @rule(n=numbers, whom=numbers, frame=numbers, own=st.booleans(), pfn=numbers)
    def exchange(self, n: int, whom: int, frame: int, own: bool, pfn: int) -> None:
        domain = self.caller(n)
        domid = domain.id if own else self.any_domid(whom)
        mfn = self.mfn(frame, domid)
        expected = self.model.exchange(domain.id, domid, mfn)
        new: list[int] = []
        call = domain.hypercall.memory_op.exchange
        got = answer(lambda: new.extend(call([mfn], [pfn], in_domid=domid, out_domid=domid).frames))
        assert got == expected
        for given in new:
            self.model.give(domid, given, pfn)

    # domains

    @precondition(lambda self: len(self.live()) <= GUESTS)
    @rule(privileged=st.booleans())
    def create(self, privileged: bool) -> None:
        domain = self.machine.create_domain(memory_mib=1, privileged=privileged)
        assert domain.id == min(i for i in range(9999) if i not in self.model.doms)
        self.add(domain, privileged)

    @rule(n=numbers, domid=st.integers(1, 60))
    def create_by_hypercall(self, n: int, domid: int) -> None:
        domain = self.caller(n)
        if self.machine.free_pages == 0 or domid > 12:
            return
        expected = self.model.create(domain.id, domid)
        call = domain.hypercall.domctl.createdomain
        assert answer(lambda: call(domain=domid)) == expected

    @rule(n=numbers, whom=numbers, pages=st.integers(240, 300))
    def max_mem(self, n: int, whom: int, pages: int) -> None:
        domain, domid = self.caller(n), self.any_domid(whom)
        expected = self.model.domctl(domain.id, domid)
        call = domain.hypercall.domctl.max_mem
        assert answer(lambda: call(domain=domid, max_memkb=pages * KIB_PER_PAGE)) == expected
        if not expected:
            self.model.doms[domid].max_pages = pages

    @rule(n=numbers, whom=numbers, resume=st.booleans())
    def pause(self, n: int, whom: int, resume: bool) -> None:
        domain, domid = self.caller(n), self.any_domid(whom)
        expected = self.model.domctl(domain.id, domid)
        d = self.model.doms.get(domid)
        if not expected and d is not None:
            if d.pauses == 0 if resume else domain.id == domid:
                expected = -errno.EINVAL
            else:
                d.pauses += -1 if resume else 1
        call = domain.hypercall.domctl
        do = call.unpausedomain if resume else call.pausedomain
        assert answer(lambda: do(domain=domid)) == expected

    @rule(n=numbers, whom=numbers, sure=st.integers(0, 2))
    def destroy(self, n: int, whom: int, sure: int) -> None:
        domain, domid = self.caller(n), self.any_domid(whom)
        if domid == 0 or sure:
            return
        expected = self.model.domctl(domain.id, domid)
        if not expected and domain.id == domid:
            expected = -errno.EINVAL
        call = domain.hypercall.domctl.destroydomain
        assert answer(lambda: call(domain=domid)) == expected
        if not expected:
            self.model.destroy(domid)

    # what must hold after each step

    @invariant()
    def frames_are_the_models(self) -> None:
        self.model.check()
        for mfn, f in self.model.frames.items():
            real = self.machine.frame(mfn)
            assert (real.owner, real.allocated, real.count) == (f.owner, f.allocated, f.refs)
            assert real.type == (TYPES[f.type] if f.uses else "none")
            assert (real.type_count, real.pinned) == (f.uses, f.pinned)
            assert real.pfn == f.pfn
            if f.words:
                data = self.machine.read_frame(mfn, 0, 24)
                for word in f.words:
                    got = int.from_bytes(data[8 * word : 8 * word + 8], "little")
                    assert got == f.words[word]

    @invariant()
    def domains_are_the_models(self) -> None:
        used = 0
        for domid, d in self.model.doms.items():
            info = self.machine.control.hypercall.domctl.getdomaininfo(domain=domid)
            assert info.domain == domid
            assert (info.tot_pages, info.max_pages) == (self.model.pages(domid), d.max_pages)
            assert (info.paused, info.dying) == (d.pauses > 0, d.dying)
            used += info.tot_pages + (not d.dying)  # its shared_info
        assert self.free + self.free_control() - used == self.machine.free_pages
        assert sorted(self.model.doms) == [d.id for d in self.machine.domains()]

    def free_control(self) -> int:
        """What domain 0 had at first."""
        return (1 << 20 >> 12) + 1

    @invariant()
    def windows_are_the_models(self) -> None:
        for domid in self.live():
            for slot, pte in enumerate(self.model.doms[domid].slots):
                try:
                    mfn = self.domains[domid].mfn_at(self.windows[domid][slot])
                except OSError:
                    assert not pte & PRESENT
                else:
                    assert pte & PRESENT and mfn == mfn_of(pte)


TestFrames = Frames.TestCase
