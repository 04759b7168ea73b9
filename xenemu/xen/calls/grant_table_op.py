"""grant_table_op, version 1: xen/grant_table.h."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xenemu._abi import DOMID_SELF, GrantCopy, GrantOp, GrantStatus, Hypercall
from xenemu.machine.errors import HypercallError
from xenemu.xen.calls.group import Group, struct_array, u64_array
from xenemu.xen.structs import Structure
from xenemu.xen.structs import grant_table as h

_NEAREST = {
    GrantStatus.bad_domain: errno.ESRCH,
    GrantStatus.permission_denied: errno.EPERM,
    GrantStatus.eagain: errno.EAGAIN,
    GrantStatus.no_space: errno.ENOSPC,
}


class GrantError(HypercallError):
    """The call answered 0, but the entry has a status that is not okay. `errno` is the nearest."""

    status: GrantStatus

    def __str__(self) -> str:
        return f"{self.name}: GNTST_{self.status.name}"


def grant_error(op: GrantOp, status: int) -> GrantError:
    """The exception for an entry's status."""
    known = GrantStatus(status)
    code = _NEAREST.get(known, errno.EINVAL)
    error = GrantError(code, os.strerror(code))
    error.nr, error.op, error.status = Hypercall.grant_table_op, op, known
    error.name = f"grant_table_op.{op.name}"
    return error


@dataclass(frozen=True, slots=True)
class GrantMapping:
    """A granted frame that is mapped; `handle` is for the unmap."""

    handle: int
    dev_bus_addr: int


@dataclass(frozen=True, slots=True)
class GrantTableSize:
    """Frames that a domain's grant table has, and may have."""

    nr_frames: int
    max_nr_frames: int


class GrantTableOp(Group):
    """Grants: a domain lets another map, copy or take frames of its own.

    A sub-operation works on an array of entries and answers 0; each entry has a status. Methods
    for one entry raise `GrantError`, whose `status` is that of the entry. `batch` does many.

    Raises:
        EFAULT: the entries can't be read or written.
        EINVAL: there are more than 2**31 - 1 entries.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.grant_table_op

    def batch(self, op: int, entries: Sequence[Structure]) -> list[GrantStatus]:
        """A sub-operation on many entries, `structs.grant_table.gnttab_*` all of one kind, whose
        out fields are filled in.

        Returns: their statuses.
        """
        if not entries:
            self(op, 0, 0)
            return []
        array = struct_array(list(entries))
        try:
            self(op, array, len(array))
        finally:
            for entry, after in zip(entries, array, strict=True):
                ctypes.memmove(
                    ctypes.addressof(entry), ctypes.addressof(after), ctypes.sizeof(after)
                )
        statuses: list[Any] = [entry.status for entry in array]
        return [GrantStatus(s) for s in statuses]

    def _one(self, op: GrantOp, entry: Structure) -> None:
        """The operation on one entry."""
        self(op, entry, 1)
        status: int = entry.status
        if status:
            raise grant_error(op, status)

    def map_grant_ref(self, *, host_addr: int, flags: int, ref: int, dom: int) -> GrantMapping:
        """Maps a granted frame at `host_addr`; flags are GrantMap bits.

        Struct: gnttab_map_grant_ref
        Returns: a GrantMapping.
        Raises:
            GNTST_bad_domain: there is no domain `dom`, or it is named by DOMID_SELF.
            GNTST_bad_gntref: there is no such reference, or no flags say how to map.
            GNTST_general_error: the entry is free, for another domain, or read-only; or nothing
                can be mapped at this address.
            GNTST_bad_page: the frame is not the granter's.
            GNTST_no_space: the caller has no handle left.
        """
        entry = h.gnttab_map_grant_ref(host_addr=host_addr, flags=flags, ref=ref, dom=dom)
        self._one(GrantOp.map_grant_ref, entry)
        return GrantMapping(entry.handle, entry.dev_bus_addr)

    def unmap_grant_ref(self, *, host_addr: int, handle: int, dev_bus_addr: int = 0) -> None:
        """Unmaps it. An address of 0 leaves that mapping as it is.

        Struct: gnttab_unmap_grant_ref
        Raises:
            GNTST_bad_handle: there is no such handle, or it is not mapped so any more.
            GNTST_general_error: another frame is mapped at this address, or none can be.
            GNTST_bad_domain: there is no such domain any more; the caller crashes.
            GNTST_bad_dev_addr: the bus address is another one.
        """
        entry = h.gnttab_unmap_grant_ref(
            host_addr=host_addr, dev_bus_addr=dev_bus_addr, handle=handle
        )
        self._one(GrantOp.unmap_grant_ref, entry)

    def unmap_and_replace(self, *, host_addr: int, new_addr: int, handle: int) -> None:
        """Unmaps it and moves there what is mapped at `new_addr`.

        Struct: gnttab_unmap_and_replace
        Raises:
            GNTST_bad_handle: there is no such handle.
            GNTST_general_error: another frame is mapped there, or one of the addresses can't be.
        """
        entry = h.gnttab_unmap_and_replace(host_addr=host_addr, new_addr=new_addr, handle=handle)
        self._one(GrantOp.unmap_and_replace, entry)

    def setup_table(self, *, dom: int = DOMID_SELF, nr_frames: int) -> tuple[int, ...]:
        """Makes the grant table at least so many frames large.

        Struct: gnttab_setup_table
        Returns: its first `nr_frames` machine frames.
        Raises:
            GNTST_bad_domain: there is no such domain.
            GNTST_permission_denied: it is another domain and the caller is not privileged.
            GNTST_general_error: the table can't be so large.
            GNTST_bad_virt_addr: the list of frames can't be written.
            EINVAL: there is not exactly one entry (`batch`).
        """
        frames = u64_array((0,) * nr_frames)
        with self._cpu.memory.argument(frames) as at:
            entry = h.gnttab_setup_table(dom=dom, nr_frames=nr_frames, frame_list=at)
            self._one(GrantOp.setup_table, entry)
        return tuple(frames)

    def query_size(self, *, dom: int = DOMID_SELF) -> GrantTableSize:
        """How large a grant table is and can be.

        Struct: gnttab_query_size
        Returns: a GrantTableSize.
        Raises:
            EINVAL: there is not exactly one entry (`batch`).
            GNTST_bad_domain: there is no such domain.
            GNTST_permission_denied: it is another domain and the caller is not privileged.
        """
        entry = h.gnttab_query_size(dom=dom)
        self._one(GrantOp.query_size, entry)
        return GrantTableSize(entry.nr_frames, entry.max_nr_frames)

    def copy(
        self,
        *,
        source_domid: int = DOMID_SELF,
        source_ref: int | None = None,
        source_gmfn: int | None = None,
        source_offset: int = 0,
        dest_domid: int = DOMID_SELF,
        dest_ref: int | None = None,
        dest_gmfn: int | None = None,
        dest_offset: int = 0,
        len: int,
    ) -> None:
        """Copies bytes between two frames, each named by a grant reference or by machine frame.

        Struct: gnttab_copy
        Raises:
            GNTST_bad_domain: there is no such domain.
            GNTST_bad_gntref: there is no such reference.
            GNTST_general_error: the grant does not allow it.
            GNTST_permission_denied: another domain's frame is named by frame number.
            GNTST_bad_page: the frame is not that domain's.
            GNTST_bad_copy_arg: the bytes cross the end of a page.
        """
        entry = h.gnttab_copy(len=len)
        for end, domid, ref, gmfn, offset, flag in (
            (entry.source, source_domid, source_ref, source_gmfn, source_offset,
             GrantCopy.source_gref),
            (entry.dest, dest_domid, dest_ref, dest_gmfn, dest_offset, GrantCopy.dest_gref),
        ):  # fmt: skip
            end.domid, end.offset = domid, offset
            if ref is not None:
                end.u.ref = ref
                entry.flags |= flag
            else:
                end.u.gmfn = gmfn or 0
        self._one(GrantOp.copy, entry)

    def transfer(self, *, mfn: int, domid: int, ref: int) -> None:
        """Gives a frame of the caller away, to a domain that accepts it with reference `ref`.

        Struct: gnttab_transfer
        Raises:
            GNTST_bad_page: the frame is not the caller's, or it is mapped or otherwise in use.
            GNTST_bad_domain: there is no such domain; the frame is lost, as in the next case.
            GNTST_general_error: the domain does not accept it, or can't take more memory.
        """
        self._one(GrantOp.transfer, h.gnttab_transfer(mfn=mfn, domid=domid, ref=ref))

    def dump_table(self, *, dom: int = DOMID_SELF) -> None:
        """Wrote a domain's grants to Xen's console, once.

        Struct: gnttab_dump_table
        Raises:
            ENOSYS: always.
        """
        self._one(GrantOp.dump_table, h.gnttab_dump_table(dom=dom))

    def set_version(self, *, version: int) -> int:
        """Chooses the version of the caller's grant entries; here there is version 1.

        Struct: gnttab_set_version
        Returns: the version in force.
        Raises:
            EINVAL: there is no such version.
            ENOSYS: this version is not offered.
        """
        entry = h.gnttab_set_version(version=version)
        self(GrantOp.set_version, entry, 1)
        return int(entry.version)

    def get_version(self, *, dom: int = DOMID_SELF) -> int:
        """The version of a domain's grant entries.

        Struct: gnttab_get_version
        Returns: the version.
        Raises:
            ESRCH: there is no such domain.
            EPERM: it is another domain and the caller is not privileged.
        """
        entry = h.gnttab_get_version(dom=dom)
        self(GrantOp.get_version, entry, 1)
        return int(entry.version)

    def swap_grant_ref(self, *, ref_a: int, ref_b: int) -> None:
        """Swaps two entries of the caller's table, which must not be in use.

        Struct: gnttab_swap_grant_ref
        Raises:
            GNTST_bad_gntref: there is no such reference.
            GNTST_eagain: an entry is in use.
        """
        self._one(GrantOp.swap_grant_ref, h.gnttab_swap_grant_ref(ref_a=ref_a, ref_b=ref_b))

    def cache_flush(self, *, dev_bus_addr: int, offset: int, length: int, op: int) -> None:
        """Cleans or invalidates caches of part of a frame.

        Struct: gnttab_cache_flush
        Raises:
            EINVAL: the part is not one of a page, there is no such operation, or the frame is
                neither the caller's nor granted to it.
            EPERM: the frame is free.
            EOPNOTSUPP: caches can't be invalidated without being cleaned.
        """
        entry = h.gnttab_cache_flush(offset=offset, length=length, op=op)
        entry.a.dev_bus_addr = dev_bus_addr
        self(GrantOp.cache_flush, entry, 1)
