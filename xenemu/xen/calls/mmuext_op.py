"""mmuext_op: xen/xen.h."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence

from xenemu._abi import DOMID_SELF, Hypercall, MmuextOp
from xenemu.xen.calls.group import Call, struct_array
from xenemu.xen.structs import Structure
from xenemu.xen.structs.xen import mmuext_op


class MmuextOpCalls(Call):
    """Pins page tables, changes the root, flushes.

    Raises:
        EFAULT: the operations can't be read.
        ESRCH: there is no domain `foreigndom`.
        EPERM: it is another domain and the caller is not privileged, or the operation is for the
            caller's own domain only.
        ENOSYS: there is no such operation.
    """

    __slots__ = ()
    nr = Hypercall.mmuext_op

    def __call__(self, ops: Iterable[Structure], *, foreigndom: int = DOMID_SELF) -> int:
        """Does operations, `structs.xen.mmuext_op`, in order. An exception's `done` says how many
        were done before.

        Struct: mmuext_op
        Returns: how many were done: all.
        """
        items = list(ops)
        if not items:
            return self._cpu(self.nr, 0, 0, 0, foreigndom)
        done = ctypes.c_uint32()
        memory = self._cpu.memory
        with memory.argument(struct_array(items)) as at, memory.argument(done) as done_at:
            result = self._cpu.raw(self.nr, at, len(items), done_at, foreigndom)
        failed: int = items[min(done.value, len(items) - 1)].cmd
        try:
            name = MmuextOp(failed).name
        except ValueError:
            name = str(failed)
        self._raise(failed, name, result, done.value)
        return done.value

    def _frame(self, cmd: MmuextOp, mfn: int, foreigndom: int = DOMID_SELF) -> None:
        op = mmuext_op(cmd=cmd)
        op.arg1.mfn = mfn
        self((op,), foreigndom=foreigndom)

    def pin_table(self, level: int, *, mfn: int, foreigndom: int = DOMID_SELF) -> None:
        """Makes a frame a page table of this level, 1 to 4, until it is unpinned.

        Struct: mmuext_op
        Raises:
            EINVAL: the frame is not the domain's, is pinned, or holds what such a table may not;
                or it is in use as another type.
        """
        if not 1 <= level <= 4:
            raise ValueError(f"no page table has level {level}")
        self._frame(MmuextOp(MmuextOp.PIN_L1_TABLE + level - 1), mfn, foreigndom)

    def unpin_table(self, *, mfn: int, foreigndom: int = DOMID_SELF) -> None:
        """Takes a pin back.

        Struct: mmuext_op
        Raises:
            EINVAL: the frame is not the domain's, or not pinned.
        """
        self._frame(MmuextOp.UNPIN_TABLE, mfn, foreigndom)

    def new_baseptr(self, *, mfn: int) -> None:
        """The caller's page tables start at this frame from now on.

        Struct: mmuext_op
        Raises:
            EINVAL: the frame is not the caller's, or can't be a table of level 4.
        """
        self._frame(MmuextOp.NEW_BASEPTR, mfn)

    def new_user_baseptr(self, *, mfn: int) -> None:
        """Likewise, while it runs user code; 0: none.

        Struct: mmuext_op
        Raises:
            EINVAL: the frame is not the caller's, or can't be a table of level 4.
        """
        self._frame(MmuextOp.NEW_USER_BASEPTR, mfn)

    def _flush(self, cmd: MmuextOp, address: int = 0, vcpus: Sequence[int] | None = None) -> None:
        op = mmuext_op(cmd=cmd)
        op.arg1.linear_addr = address
        if vcpus is None:
            self((op,))
            return
        bits = sum(1 << v for v in set(vcpus))
        with self._cpu.memory.argument(bits.to_bytes(16, "little")) as at:
            op.arg2.vcpumask = at
            self((op,))

    def tlb_flush_local(self) -> None:
        """Flushes the caller's TLB.

        Struct: mmuext_op
        """
        self._flush(MmuextOp.TLB_FLUSH_LOCAL)

    def tlb_flush_multi(self, *, vcpus: Sequence[int]) -> None:
        """Flushes those of some virtual CPUs.

        Struct: mmuext_op
        Raises:
            EINVAL: the bitmap of virtual CPUs can't be read.
        """
        self._flush(MmuextOp.TLB_FLUSH_MULTI, vcpus=vcpus)

    def tlb_flush_all(self) -> None:
        """Flushes those of all virtual CPUs of the domain.

        Struct: mmuext_op
        """
        self._flush(MmuextOp.TLB_FLUSH_ALL)

    def invlpg_local(self, *, linear_addr: int) -> None:
        """Flushes one page of the caller's TLB.

        Struct: mmuext_op
        """
        self._flush(MmuextOp.INVLPG_LOCAL, linear_addr)

    def invlpg_multi(self, *, linear_addr: int, vcpus: Sequence[int]) -> None:
        """Likewise of some virtual CPUs.

        Struct: mmuext_op
        Raises:
            EINVAL: the bitmap of virtual CPUs can't be read.
        """
        self._flush(MmuextOp.INVLPG_MULTI, linear_addr, vcpus)

    def invlpg_all(self, *, linear_addr: int) -> None:
        """Likewise of all virtual CPUs of the domain.

        Struct: mmuext_op
        """
        self._flush(MmuextOp.INVLPG_ALL, linear_addr)

    def flush_cache(self) -> None:
        """Writes caches back; for domains that have devices.

        Struct: mmuext_op
        Raises:
            EACCES: the domain has no device.
        """
        self._flush(MmuextOp.FLUSH_CACHE)

    def flush_cache_global(self) -> None:
        """Likewise on all CPUs.

        Struct: mmuext_op
        Raises:
            EINVAL: the domain has no device.
        """
        self._flush(MmuextOp.FLUSH_CACHE_GLOBAL)

    def set_ldt(self, *, linear_addr: int, nr_ents: int) -> None:
        """The caller's local descriptor table; no entries: none.

        Struct: mmuext_op
        Raises:
            EINVAL: the address is not page-aligned or not a guest's, or there are over 8192.
        """
        op = mmuext_op(cmd=MmuextOp.SET_LDT)
        op.arg1.linear_addr, op.arg2.nr_ents = linear_addr, nr_ents
        self((op,))

    def clear_page(self, *, mfn: int, foreigndom: int = DOMID_SELF) -> None:
        """Fills a frame with zeros.

        Struct: mmuext_op
        Raises:
            EINVAL: the frame is not the domain's, or not writable.
        """
        self._frame(MmuextOp.CLEAR_PAGE, mfn, foreigndom)

    def copy_page(self, *, mfn: int, src_mfn: int, foreigndom: int = DOMID_SELF) -> None:
        """Copies a frame to `mfn`.

        Struct: mmuext_op
        Raises:
            EINVAL: a frame is not the domain's, or `mfn` is not writable.
        """
        op = mmuext_op(cmd=MmuextOp.COPY_PAGE)
        op.arg1.mfn, op.arg2.src_mfn = mfn, src_mfn
        self((op,), foreigndom=foreigndom)

    def mark_super(self, *, mfn: int) -> None:
        """Was for superpages of PV guests.

        Struct: mmuext_op
        Raises:
            EOPNOTSUPP: always.
        """
        self._frame(MmuextOp.MARK_SUPER, mfn)

    def unmark_super(self, *, mfn: int) -> None:
        """Was for superpages of PV guests.

        Struct: mmuext_op
        Raises:
            EOPNOTSUPP: always.
        """
        self._frame(MmuextOp.UNMARK_SUPER, mfn)
