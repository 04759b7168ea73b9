"""mmu_update, update_va_mapping, update_va_mapping_otherdomain: xen/xen.h."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from xenemu._abi import DOMID_SELF, Hypercall, UpdateVaFlags
from xenemu.xen.calls.group import U64_MASK, Call
from xenemu.xen.structs.xen import mmu_update


class MmuUpdateCall(Call):
    """Writes entries of page tables, and of the machine-to-physical table."""

    __slots__ = ()
    nr = Hypercall.mmu_update

    def __call__(
        self,
        requests: Iterable[tuple[int, int]],
        *,
        foreigndom: int = DOMID_SELF,
        pt_owner: int | None = None,
    ) -> int:
        """Does requests `(ptr, val)` in order: ptr is the machine address of an 8-byte entry with
        an MmuUpdate in its low bits. The frames that entries name are `foreigndom`'s, the tables
        the caller's or `pt_owner`'s. An exception's `done` says how many were done before.

        Struct: mmu_update
        Returns: how many were done: all.
        Raises:
            EFAULT: the requests can't be read.
            ESRCH: there is no such domain.
            EPERM: another domain's frames or tables, and the caller is not privileged; or a frame
                that no domain has.
            EINVAL: the table is not the caller's; or the entry is not what its level may hold: a
                table of another level, flags that no guest may set.
            EBUSY: the frame named is another domain's, free, or in use as another type.
            EACCES: a frame of Xen's is to be mapped uncached.
            ENOSYS: there is no such command.
        """
        pairs = [(ptr & U64_MASK, val & U64_MASK) for ptr, val in requests]
        array = (mmu_update * len(pairs))(*pairs)
        done = ctypes.c_uint32()
        owners = foreigndom | (0 if pt_owner is None else pt_owner + 1) << 16
        memory = self._cpu.memory
        with memory.argument(array) as at, memory.argument(done) as done_at:
            result = self._cpu.raw(self.nr, at, len(pairs), done_at, owners)
        self._raise(None, "", result, done.value)
        return done.value


class UpdateVaMapping(Call):
    """Writes the level 1 entry of an address of the caller."""

    __slots__ = ()
    nr = Hypercall.update_va_mapping

    def __call__(self, va: int, val: int, flags: int = UpdateVaFlags.INVLPG) -> None:
        """Flags say what is flushed of the TLB: UpdateVaFlags.

        Raises:
            EINVAL: the address has no level 1 table of the caller; or the entry is not what a
                guest may set.
            EPERM: the frame named is not memory.
            EBUSY: the frame named is another domain's, free, or in use as another type.
            EACCES: a frame of Xen's is to be mapped uncached.
            EFAULT: the bitmap of virtual CPUs can't be read.
        """
        self._cpu(self.nr, va, val, flags)


class UpdateVaMappingOtherdomain(Call):
    """Likewise, to a frame of another domain."""

    __slots__ = ()
    nr = Hypercall.update_va_mapping_otherdomain

    def __call__(self, va: int, val: int, flags: int = UpdateVaFlags.INVLPG, *, domid: int) -> None:
        """The frame in the entry is `domid`'s.

        Raises:
            ESRCH: there is no such domain.
            EPERM: the caller is not privileged.
            EINVAL: the address has no level 1 table of the caller; or the entry is not what a
                guest may set.
            EBUSY: the frame is not `domid`'s, or in use as another type.
            EFAULT: the bitmap of virtual CPUs can't be read.
        """
        self._cpu(self.nr, va, val, flags, domid)
