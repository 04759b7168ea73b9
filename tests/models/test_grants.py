"""Random grant operations of several domains, each status, entry and frame compared with
grants_model.

Thorough: pytest tests/models/test_grants.py --hypothesis-profile=long (over 100,000 steps).
"""

from __future__ import annotations

from errno import EBUSY, EINVAL
from typing import Any

from hypercalls.grants import Table, pte_address
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from models.grants_model import BY_PTE, DEVICE, SELF, Dom, Entry, Frame, GrantsModel

from xenemu import Domain, Machine
from xenemu._abi import GrantOp, Hypercall
from xenemu.xen import Shutdown, structs

h = structs.grant_table
WINDOW, GUESTS, ROOM, REFS = 4, 3, 3, 6
FIRST = 8
MEMORY_MIB = 16
ABSENT = 77
UNMAPPED = 0xDEAD_BEEF_000
RW, READ = 0x67, 0x65

numbers = st.integers(0, 2**10)
slots = st.integers(0, WINDOW - 1)
refs = st.sampled_from([*range(FIRST, FIRST + REFS)] * 4 + [0, 511, 512, 1023, 1024, 2**32 - 1])
flags = st.sampled_from([1, 1, 1, 1, 5, 2, 2, 0, 3, 0x101, 0x19, 9, 6, 14])
uses = st.sampled_from([2, 2, 2, 6, 6, 1, 5, 3, 3, 7, 18, 22, 19, 0, 4, 16])
ends = st.tuples(st.booleans(), numbers, refs, numbers)  # of a copy: by reference?, ...


class Grants(RuleBasedStateMachine):
    @initialize(frames=st.integers(1, 2))
    def boot(self, frames: int) -> None:
        self.machine = Machine(memory_mib=MEMORY_MIB, control_memory_mib=1)
        self.free = self.machine.free_pages
        self.model = GrantsModel()
        self.domains: dict[int, Domain] = {}
        self.tables: dict[int, Table] = {}
        self.windows: dict[int, list[int]] = {}
        self.add(self.machine.control, frames)
        self.create(frames)
        self.create(3 - frames)

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        for dom in list(self.model.doms.values()):
            if dom.id and not dom.dying:
                self.kill(dom)
        for slot in range(WINDOW):
            self.remap_slot(self.model.doms[0], slot, None)
        for handle in list(self.model.doms[0].uses):
            use = self.model.doms[0].uses[handle]
            if self.model.is_there(use.granter) and use.flags & DEVICE:
                self.unmap_handle(self.model.doms[0], handle, None, self.model.mfn_of(use) << 12)
        self.model.collect()
        self.everything_is_the_models()
        assert list(self.model.doms) == [0]
        self.machine.close()

    def add(self, domain: Domain, frames: int) -> None:
        pages = domain.info.tot_pages
        self.machine.control.hypercall.domctl.max_mem(
            domain=domain.id, max_memkb=4 * (pages + ROOM)
        )
        dom = Dom(domain.id, ROOM, frames)
        self.tables[domain.id] = Table(domain, frames)
        window = [domain.alloc_page() for _ in range(WINDOW)]
        for i, page in enumerate(window):
            mfn = domain.mfn_at(page)
            self.model.frames[mfn] = Frame(domain.id, data=i + 1)
            domain.write(page, bytes([i + 1]))
            dom.slots.append((mfn, True))
        spare = domain.alloc_page()
        mfn = domain.mfn_at(spare)
        domain.hypercall.update_va_mapping(spare, 0)
        domain.hypercall.mmuext_op.pin_table(1, mfn=mfn)
        self.model.frames[mfn] = Frame(domain.id, table=True)
        self.model.doms[domain.id] = dom
        self.domains[domain.id], self.windows[domain.id] = domain, window
        for other in self.model.doms.values():
            for one, two in ((dom, other), (other, dom)):
                if not other.dying and not self.model.pins(one, FIRST + two.id % REFS):
                    mine = [m for m in self.model.frames if self.model.owned(m, one)]
                    entry = Entry(1, two.id, mine[two.id % len(mine)])
                    self.put(one, FIRST + two.id % REFS, entry)

    # choices

    def caller(self, n: int) -> Dom:
        live = [dom for dom in self.model.doms.values() if not dom.dying]
        return live[n % len(live)]

    def domid(self, n: int) -> int:
        """Of a domain, a zombie, or (seldom) none."""
        domids = [*self.model.doms] * 4 + [ABSENT, SELF]
        return domids[n % len(domids)]

    def mfn(self, n: int, owner: int | None = None) -> int:
        """Mostly of a frame of the owner's, else of any that is known."""
        mfns = sorted(self.model.frames)
        mine = [m for m in mfns if self.model.frames[m].owner == owner]
        mfns = mine if mine and n % 4 else mfns
        return mfns[n // 4 % len(mfns)]

    def user(self, n: int) -> Dom:
        """Mostly one that has something mapped."""
        users = [dom for dom in self.model.doms.values() if dom.uses]
        return users[n // 5 % len(users)] if users and n % 5 else self.caller(n)

    def named_ref(self, dom: Dom, n: int, ref: int) -> tuple[int, int]:
        """A domain and a reference: mostly what is granted to the caller."""
        granted = [
            (owner.id, r)
            for owner in self.model.doms.values()
            for r, entry in owner.entries.items()
            if entry.flags & 3 == 1 and entry.domid == dom.id
        ]
        return granted[n // 4 % len(granted)] if granted and n % 4 else (self.domid(n), ref)

    def handle(self, dom: Dom, n: int) -> int:
        """Of a use; seldom one that is free, or never was."""
        handles = [*dom.uses] * 6 + [*list(dom.free)[-1:], dom.limit, 2**32 - 1]
        return handles[n % len(handles)]

    def slot_of(self, dom: Dom, handle: int, n: int) -> int:
        """Mostly one where the handle is mapped."""
        use = dom.uses.get(handle)
        if use is not None and n % 5 and self.model.is_there(use.granter):
            wanted = (self.model.mfn_of(use), not use.ro)
            fit = [i for i, slot in enumerate(dom.slots) if slot == wanted]
            if fit:
                return fit[n % len(fit)]
        return n % WINDOW

    def address(self, dom: Dom, slot: int, by_pte: bool) -> int:
        page = self.windows[dom.id][slot]
        if by_pte:
            return pte_address(self.machine, self.domains[dom.id], page)
        return page

    def one(self, dom: Dom, op: GrantOp, entry: Any) -> int:
        """The status of an operation on one entry."""
        (status,) = self.domains[dom.id].hypercall.grant_table_op.batch(op, [entry])
        return int(status)

    # entries

    @rule(n=numbers, ref=refs, flags=flags, to=numbers, frame=numbers)
    def write_entry(self, n: int, ref: int, flags: int, to: int, frame: int) -> None:
        dom = self.caller(n)
        ref %= 512 * dom.frames
        entry = dom.entry(ref)
        entry.flags, entry.domid = flags, self.domid(to)
        entry.frame = self.mfn(frame, dom.id) if frame % 16 else 2**32 - 1 - frame
        self.tables[dom.id].put(ref, entry.flags, entry.domid, entry.frame)

    @rule(n=numbers, to=numbers, ref=refs, frame=numbers, more=st.sampled_from([0, 0, 4]))
    def grant(self, n: int, to: int, ref: int, frame: int, more: int) -> None:
        """To a domain that is there, unless the entry is in use."""
        dom = self.caller(n)
        if ref < FIRST + REFS and not self.model.pins(dom, ref):
            self.put(dom, ref, Entry(1 | more, self.caller(to).id, self.mfn(frame | 1, dom.id)))

    def put(self, dom: Dom, ref: int, entry: Entry) -> None:
        dom.entries[ref] = entry
        self.tables[dom.id].put(ref, entry.flags, entry.domid, entry.frame)

    @rule(n=numbers, a=refs, b=refs)
    def swap(self, n: int, a: int, b: int) -> None:
        dom = self.caller(n)
        expected = self.model.swap(dom, a, b)
        entry = h.gnttab_swap_grant_ref(ref_a=a, ref_b=b)
        assert self.one(dom, GrantOp.swap_grant_ref, entry) == expected

    # map, unmap

    def map_ref(self, dom: Dom, domid: int, ref: int, flags: int, slot: int | None) -> None:
        by_pte = bool(flags & BY_PTE)
        at = UNMAPPED if slot is None else self.address(dom, slot, by_pte)
        expected = self.model.map(dom, domid, ref, flags, slot)
        entry = h.gnttab_map_grant_ref(host_addr=at, flags=flags, ref=ref, dom=domid)
        status = self.one(dom, GrantOp.map_grant_ref, entry)
        if expected < 0:
            assert status == expected
            return
        assert (status, entry.handle) == (0, expected)
        assert entry.dev_bus_addr == self.model.mfn_of(dom.uses[expected]) << 12

    @rule(n=numbers, to=numbers, ref=refs, flags=uses, slot=slots, bad=st.integers(0, 9))
    def map(self, n: int, to: int, ref: int, flags: int, slot: int, bad: int) -> None:
        self.map_ref(self.caller(n), self.domid(to), ref, flags, None if bad == 0 else slot)

    @rule(n=numbers, entry=numbers, flags=uses, slot=slots)
    def map_what_is_granted(self, n: int, entry: int, flags: int, slot: int) -> None:
        dom = self.caller(n)
        domid, ref = self.named_ref(dom, entry | 1, FIRST)
        owner = self.model.doms.get(domid)
        if owner is not None:
            self.map_ref(dom, domid, ref, flags | owner.entry(ref).flags & 4, slot)

    def unmap_handle(self, dom: Dom, handle: int, slot: int | None, bus: int) -> None:
        use = dom.uses.get(handle)
        by_pte = use is not None and bool(use.flags & BY_PTE)
        at = 0 if slot is None else self.address(dom, slot, by_pte)
        expected = self.model.unmap(dom, handle, slot, bus)
        entry = h.gnttab_unmap_grant_ref(host_addr=at, dev_bus_addr=bus, handle=handle)
        assert self.one(dom, GrantOp.unmap_grant_ref, entry) == expected

    def bus_of(self, dom: Dom, handle: int, n: int) -> int:
        use = dom.uses.get(handle)
        if use is None or n % 3 == 0 or not self.model.is_there(use.granter):
            return 0
        return (self.model.mfn_of(use) << 12) + (n % 7 == 0)

    @rule(n=numbers, which=numbers, where=numbers, bus=numbers)
    def unmap(self, n: int, which: int, where: int, bus: int) -> None:
        dom = self.user(n)
        handle = self.handle(dom, which)
        slot = None if where % 6 == 0 else self.slot_of(dom, handle, where)
        self.unmap_handle(dom, handle, slot, self.bus_of(dom, handle, bus))

    @rule(n=numbers, which=numbers, where=numbers, new=st.one_of(st.none(), slots))
    def replace(self, n: int, which: int, where: int, new: int | None) -> None:
        dom = self.user(n)
        handle = self.handle(dom, which)
        slot = self.slot_of(dom, handle, where)
        use = dom.uses.get(handle)
        by_pte = use is not None and bool(use.flags & BY_PTE)
        entry = h.gnttab_unmap_and_replace(
            host_addr=self.address(dom, slot, by_pte),
            new_addr=0 if new is None else self.address(dom, new, False),
            handle=handle,
        )
        expected = self.model.unmap(dom, handle, slot, 0, new)
        assert self.one(dom, GrantOp.unmap_and_replace, entry) == expected

    # copies, transfers, caches

    @rule(n=numbers, ends=st.tuples(ends, ends))
    def copy(self, n: int, ends: tuple[tuple[bool, int, int, int], ...]) -> None:
        dom = self.caller(n)
        entry = h.gnttab_copy(len=1)
        sides: list[tuple[int, int | None, int]] = []
        for end, flag, (by_ref, whom, ref, frame) in zip(
            (entry.source, entry.dest), (1, 2), ends, strict=True
        ):
            named, ref = self.named_ref(dom, whom, ref)
            mfn = self.mfn(frame, dom.id)
            if by_ref:
                sides.append((named, ref, 0))
                end.u.ref = ref
                entry.flags |= flag
            else:
                named = SELF if whom % 8 else named
                sides.append((named, None, mfn))
                end.u.gmfn = mfn
            end.domid = named
        expected = self.model.copy(dom, sides)
        assert self.one(dom, GrantOp.copy, entry) == expected

    @precondition(lambda self: self.machine.free_pages > 0)
    @rule(n=numbers)
    def new_page(self, n: int) -> None:
        """One that is mapped nowhere."""
        dom = self.caller(n)
        mfns = self.domains[dom.id].hypercall.memory_op.increase_reservation(nr_extents=1)
        assert len(mfns) == (dom.room > 0)
        for mfn in mfns:
            dom.room -= 1
            self.model.frames[mfn] = Frame(dom.id)

    @rule(n=numbers, frame=numbers, to=numbers, ref=refs, ready=st.booleans())
    def transfer(self, n: int, frame: int, to: int, ref: int, ready: bool) -> None:
        dom, domid = self.caller(n), self.domid(to)
        taker = self.model.doms.get(domid)
        if ready and taker is not None and not taker.dying and ref < FIRST + REFS:
            if not self.model.pins(taker, ref):
                self.put(taker, ref, Entry(2, dom.id, 4321))
        alone = [m for m in self.model.frames if self.model.references(m)[0] == 1]
        mfn = alone[frame % len(alone)] if alone and frame % 5 else self.mfn(frame, dom.id)
        pfn = None if taker is None else taker.entry(ref).frame
        expected = self.model.transfer(dom, mfn, domid, ref)
        entry = h.gnttab_transfer(mfn=mfn, domid=domid, ref=ref)
        assert self.one(dom, GrantOp.transfer, entry) == expected
        if expected == 0:
            assert self.machine.frame(mfn).pfn == pfn

    @rule(n=numbers, frame=numbers)
    def flush(self, n: int, frame: int) -> None:
        dom, mfn = self.caller(n), self.mfn(frame)
        entry = h.gnttab_cache_flush(length=8, op=1)
        entry.a.dev_bus_addr = mfn << 12
        cpu = self.domains[dom.id].hypercall
        with cpu.memory.argument(entry) as at:
            got = cpu.raw(Hypercall.grant_table_op, GrantOp.cache_flush, at, 1)
        assert got == (0 if self.model.may_flush(dom, mfn) else -EINVAL)

    # memory

    def remap_slot(self, dom: Dom, slot: int, new: tuple[int, bool] | None) -> None:
        pte = 0 if new is None else new[0] << 12 | (RW if new[1] else READ)
        may = self.model.remap(dom, slot, new)
        va = self.windows[dom.id][slot]
        got = self.domains[dom.id].hypercall.raw(Hypercall.update_va_mapping, va, pte, 2)
        assert got == (0 if may else -EBUSY)

    @rule(n=numbers, slot=slots, frame=numbers, rw=st.booleans(), empty=st.booleans())
    def remap(self, n: int, slot: int, frame: int, rw: bool, empty: bool) -> None:
        dom = self.caller(n)
        self.remap_slot(dom, slot, None if empty else (self.mfn(frame, dom.id), rw))

    @rule(n=numbers, slot=slots, data=st.integers(0, 255))
    def write_memory(self, n: int, slot: int, data: int) -> None:
        dom = self.caller(n)
        mapped = dom.slots[slot]
        try:
            self.domains[dom.id].write(self.windows[dom.id][slot], bytes([data]))
        except OSError:
            assert mapped is None or not mapped[1]
        else:
            assert mapped is not None and mapped[1]
            self.model.frames[mapped[0]].data = data

    # domains

    @precondition(lambda self: sum(not d.dying for d in self.model.doms.values()) <= GUESTS)
    @rule(frames=st.integers(1, 2))
    def create(self, frames: int) -> None:
        domain = self.machine.create_domain(memory_mib=1)
        assert domain.id not in self.model.doms
        self.add(domain, frames)

    def kill(self, dom: Dom) -> None:
        self.model.destroy(dom)
        self.machine.control.hypercall.domctl.destroydomain(domain=dom.id)
        self.model.collect()

    @rule(n=numbers, sure=st.integers(0, 3))
    def destroy(self, n: int, sure: int) -> None:
        dom = self.caller(n)
        if dom.id and sure == 0:
            self.kill(dom)

    # what must hold after each step

    @invariant()
    def everything_is_the_models(self) -> None:
        self.model.collect()
        self.model.check()
        assert sorted(self.model.doms) == [d.id for d in self.machine.domains()]
        for mfn, f in self.model.frames.items():
            real = self.machine.frame(mfn)
            count, writable = self.model.references(mfn)
            assert (real.owner, real.allocated, real.count) == (f.owner, f.allocated, count)
            assert (real.type == "l1", real.pinned) == (f.table, f.table)
            if not f.table:
                assert real.type_count == writable
            assert self.machine.read_frame(mfn, 0, 1)[0] == f.data
        for dom in self.model.doms.values():
            self.compare_table(dom)
            self.compare_window(dom)

    def compare_table(self, dom: Dom) -> None:
        for ref, entry in dom.entries.items():
            if ref >= 512 * dom.frames:
                continue
            table = self.tables[dom.id].mfns[ref // 512]
            raw = self.machine.read_frame(table, ref % 512 * 8, 8)
            real = h.grant_entry_v1.from_buffer_copy(raw)
            assert (real.flags, real.domid, real.frame) == (entry.flags, entry.domid, entry.frame)

    def compare_window(self, dom: Dom) -> None:
        info = self.domains[dom.id].info
        assert info.dying == dom.dying
        assert (info.shutdown_code == Shutdown.crash) == dom.crashed
        for slot, page in zip(dom.slots, self.windows[dom.id], strict=False):
            try:
                mfn = self.domains[dom.id].mfn_at(page)
            except OSError:
                assert slot is None
            else:
                assert slot is not None and mfn == slot[0]


TestGrants = Grants.TestCase
