"""memory_op: xen/memory.h."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xenemu._abi import DOMID_SELF, Hypercall, MemoryOp
from xenemu.xen.calls.group import Group, u64_array
from xenemu.xen.structs import memory as h


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange has done: machine frames that were given, input extents exchanged."""

    frames: tuple[int, ...]
    nr_exchanged: int


@dataclass(frozen=True, slots=True)
class MachphysMapping:
    """Where a guest sees the machine-to-physical table, and its last entry."""

    v_start: int
    v_end: int
    max_mfn: int


class MemoryOpCalls(Group):
    """A domain's reservation of machine memory.

    What changes a reservation answers how many extents were done, which may be fewer than asked
    for, also 0: an absent domain, an unreadable argument and an excessive order are no errors.

    Raises:
        EFAULT: the struct can't be read or written (not where extents are counted).
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.memory_op

    def _extents(
        self, op: int, extents: Sequence[int], count: int, order: int, flags: int, domid: int
    ) -> tuple[int, tuple[int, ...]]:
        listed = u64_array(extents)
        with self._cpu.memory.argument(listed) as at:
            arg = h.xen_memory_reservation(
                extent_start=at if extents else 0,
                nr_extents=count,
                extent_order=order,
                mem_flags=flags,
                domid=domid,
            )
            done = self._struct(op, arg)
        return done, tuple(listed)

    def increase_reservation(
        self,
        *,
        nr_extents: int = 1,
        extent_order: int = 0,
        mem_flags: int = 0,
        domid: int = DOMID_SELF,
    ) -> tuple[int, ...]:
        """Allocates extents of 2**extent_order frames.

        Struct: xen_memory_reservation
        Returns: the first machine frame of each that was allocated.
        """
        done, frames = self._extents(
            MemoryOp.increase_reservation,
            (0,) * nr_extents,
            nr_extents,
            extent_order,
            mem_flags,
            domid,
        )
        return frames[:done]

    def decrease_reservation(
        self, extent_start: Sequence[int], *, extent_order: int = 0, domid: int = DOMID_SELF
    ) -> int:
        """Gives up extents, named by their first machine frame. A frame that is still mapped
        somewhere goes with its last reference.

        Struct: xen_memory_reservation
        Returns: how many were given up.
        """
        return self._extents(
            MemoryOp.decrease_reservation,
            extent_start,
            len(extent_start),
            extent_order,
            0,
            domid,
        )[0]

    def populate_physmap(
        self,
        extent_start: Sequence[int],
        *,
        extent_order: int = 0,
        mem_flags: int = 0,
        domid: int = DOMID_SELF,
    ) -> tuple[int, ...]:
        """Allocates an extent for each of these pseudo-physical frame numbers.

        Struct: xen_memory_reservation
        Returns: the first machine frame of each that was allocated.
        """
        done, frames = self._extents(
            MemoryOp.populate_physmap,
            extent_start,
            len(extent_start),
            extent_order,
            mem_flags,
            domid,
        )
        return frames[:done]

    def exchange(
        self,
        in_extents: Sequence[int],
        out_extents: Sequence[int],
        *,
        in_order: int = 0,
        out_order: int = 0,
        mem_flags: int = 0,
        in_domid: int = DOMID_SELF,
        out_domid: int = DOMID_SELF,
    ) -> Exchanged:
        """Exchanges frames of the caller, named by machine frame, for others that take the
        pseudo-physical places `out_extents`.

        Struct: xen_memory_exchange
        Returns: an Exchanged.
        Raises:
            EPERM: an order is above what the caller may use.
            EINVAL: the sizes or the domains differ, or a frame is not the domain's or is in use.
            ESRCH: there is no such domain.
            ENOMEM: no such extents are free.
        """
        ins, outs = u64_array(in_extents), u64_array(out_extents)
        memory = self._cpu.memory
        with memory.argument(ins) as in_at, memory.argument(outs) as out_at:
            arg = h.xen_memory_exchange()
            side = getattr(arg, "in")
            side.extent_start, side.nr_extents = in_at, len(ins)
            side.extent_order, side.domid = in_order, in_domid
            arg.out.extent_start, arg.out.nr_extents = out_at, len(outs)
            arg.out.extent_order, arg.out.domid = out_order, out_domid
            arg.out.mem_flags = mem_flags
            self._struct(MemoryOp.exchange, arg)
        return Exchanged(tuple(outs), arg.nr_exchanged)

    def maximum_ram_page(self) -> int:
        """The last machine frame that is memory.

        Returns: its number.
        """
        return self(MemoryOp.maximum_ram_page)

    def _of_domain(self, op: int, domid: int) -> int:
        return self._struct(op, h.xen_memory_domain(domid=domid))

    def current_reservation(self, *, domid: int = DOMID_SELF) -> int:
        """How many frames a domain has.

        Struct: xen_memory_domain
        Returns: their number.
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
        """
        return self._of_domain(MemoryOp.current_reservation, domid)

    def maximum_reservation(self, *, domid: int = DOMID_SELF) -> int:
        """How many frames a domain may have.

        Struct: xen_memory_domain
        Returns: their number.
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
        """
        return self._of_domain(MemoryOp.maximum_reservation, domid)

    def maximum_gpfn(self, *, domid: int = DOMID_SELF) -> int:
        """The last pseudo-physical frame in use, as far as Xen knows: for a PV domain, what its
        shared_info says.

        Struct: xen_memory_domain
        Returns: its number.
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
        """
        return self._of_domain(MemoryOp.maximum_gpfn, domid)

    def machphys_mapping(self) -> MachphysMapping:
        """Where the machine-to-physical table lies.

        Struct: xen_machphys_mapping
        Returns: a MachphysMapping.
        """
        arg = h.xen_machphys_mapping()
        self._struct(MemoryOp.machphys_mapping, arg)
        return MachphysMapping(arg.v_start, arg.v_end, arg.max_mfn)

    def machphys_mfn_list(self, *, max_extents: int) -> tuple[int, ...]:
        """The machine frames of the machine-to-physical table, one for each 2 MiB of it.

        Struct: xen_machphys_mfn_list
        Returns: at most `max_extents` machine frames.
        """
        listed = u64_array((0,) * max_extents)
        with self._cpu.memory.argument(listed) as at:
            arg = h.xen_machphys_mfn_list(max_extents=max_extents, extent_start=at)
            self._struct(MemoryOp.machphys_mfn_list, arg)
        return tuple(listed)[: arg.nr_extents]

    def add_to_physmap(
        self, *, domid: int = DOMID_SELF, space: int, idx: int = 0, gpfn: int = 0, size: int = 0
    ) -> None:
        """Puts a page of Xen's into a translated domain's physical memory. No domain here is one.

        Struct: xen_add_to_physmap
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
            EACCES: the domain is a PV one.
        """
        self._struct(
            MemoryOp.add_to_physmap,
            h.xen_add_to_physmap(domid=domid, size=size, space=space, idx=idx, gpfn=gpfn),
        )

    def remove_from_physmap(self, *, domid: int = DOMID_SELF, gpfn: int) -> None:
        """Takes a page out of a translated domain's physical memory. No domain here is one.

        Struct: xen_remove_from_physmap
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
            EACCES: the domain is a PV one.
        """
        arg = h.xen_remove_from_physmap(domid=domid, gpfn=gpfn)
        self._struct(MemoryOp.remove_from_physmap, arg)

    def memory_map(self, *, nr_entries: int = 32) -> tuple[bytes, ...]:
        """The domain's E820 map, if the toolstack has set one.

        Struct: xen_memory_map
        Returns: entries of 20 bytes.
        Raises:
            ENOSYS: none was set.
        """
        return self._e820(MemoryOp.memory_map, nr_entries)

    def machine_memory_map(self, *, nr_entries: int = 128) -> tuple[bytes, ...]:
        """The machine's E820 map.

        Struct: xen_memory_map
        Returns: entries of 20 bytes.
        Raises:
            EPERM: the caller is not privileged.
            EINVAL: there are more entries than asked for.
        """
        return self._e820(MemoryOp.machine_memory_map, nr_entries)

    def _e820(self, op: int, nr_entries: int) -> tuple[bytes, ...]:
        room = u64_array((0,) * ((nr_entries * 20 + 7) // 8))
        with self._cpu.memory.argument(room) as at:
            arg = h.xen_memory_map(nr_entries=nr_entries, buffer=at)
            self._struct(op, arg)
        raw = bytes(room)
        return tuple(raw[i * 20 : i * 20 + 20] for i in range(arg.nr_entries))

    def set_memory_map(self, entries: Iterable[bytes], *, domid: int = DOMID_SELF) -> None:
        """Sets a domain's E820 map, from entries of 20 bytes.

        Struct: xen_foreign_memory_map
        Raises:
            EINVAL: there are too many entries.
            ENOMEM: Xen's own memory is at its end.
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
        """
        listed = [bytes(e) for e in entries]
        with self._cpu.memory.argument(b"".join(listed)) as at:
            arg = h.xen_foreign_memory_map(domid=domid)
            arg.map.nr_entries, arg.map.buffer = len(listed), at
            self._struct(MemoryOp.set_memory_map, arg)

    def claim_pages(self, *, nr_extents: int, domid: int) -> None:
        """Sets frames aside for a domain that is being built.

        Struct: xen_memory_reservation
        Raises:
            EPERM: the caller is not privileged.
            EINVAL: there is no such domain, or it has that much already, or a claim.
            ENOMEM: so much is not free.
        """
        arg = h.xen_memory_reservation(nr_extents=nr_extents, domid=domid)
        self._struct(MemoryOp.claim_pages, arg)

    def acquire_resource(
        self, *, domid: int, type: int, id: int = 0, frame: int = 0, nr_frames: int
    ) -> tuple[int, ...]:
        """Lists frames of Xen's that belong to a domain, such as its grant table. With
        `nr_frames` 0 nothing is listed.

        Struct: xen_mem_acquire_resource
        Returns: machine frames.
        Raises:
            ESRCH: there is no such domain.
            EPERM: the caller is not privileged, or it is the caller.
            EOPNOTSUPP: a PV domain has no such resource.
            EINVAL: there is no such resource, or it can't have such frames.
            ENOMEM: its table can't grow for want of memory.
        """
        listed = u64_array((0,) * nr_frames)
        with self._cpu.memory.argument(listed) as at:
            arg = h.xen_mem_acquire_resource(
                domid=domid,
                type=type,
                id=id,
                nr_frames=nr_frames,
                frame=frame,
                frame_list=at if nr_frames else 0,
            )
            self._struct(MemoryOp.acquire_resource, arg)
        return tuple(listed)
