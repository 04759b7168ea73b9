"""What a hypercall that fails raises: OSError with Xen's errno, and what was called.

Each class also is Python's own for that errno, where there is one, so that both
`except PermissionError` and `except HypercallError` work.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum

from xenemu._abi import (
    CallbackOp,
    ConsoleOp,
    EvtchnOp,
    GrantOp,
    Hypercall,
    MemoryOp,
    SchedOp,
    VcpuOp,
    VmAssistOp,
    XenVersionOp,
    ZlOp,
)

# Of the hypercalls whose first argument is the sub-operation.
SUB_OPS: dict[int, type[IntEnum]] = {
    Hypercall.event_channel_op: EvtchnOp,
    Hypercall.sched_op: SchedOp,
    Hypercall.memory_op: MemoryOp,
    Hypercall.grant_table_op: GrantOp,
    Hypercall.vcpu_op: VcpuOp,
    Hypercall.xen_version: XenVersionOp,
    Hypercall.console_io: ConsoleOp,
    Hypercall.callback_op: CallbackOp,
    Hypercall.vm_assist: VmAssistOp,
    Hypercall.zeroloss_op: ZlOp,
}


class HypercallError(OSError):
    """A hypercall answered a negative errno. Also raised for errnos without a class here."""

    nr: int = -1  # the hypercall's number
    op: int | None = None  # its sub-operation; None: it has none, or that lies in a struct
    name: str = ""  # of both: "event_channel_op.bind_virq"
    done: int = 0  # entries of a batch that were done (mmu_update, mmuext_op)

    def __str__(self) -> str:
        code = self.errno or 0
        name = "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, code)
        return f"{self.name}: {name}: {self.strerror}"


class HypercallPermissionError(HypercallError, PermissionError):
    """EPERM or EACCES: the caller has no right to this."""


class HypercallLookupError(HypercallError, ProcessLookupError):
    """ESRCH: there is no such domain."""


class HypercallNotFoundError(HypercallError, FileNotFoundError):
    """ENOENT: there is no such virtual CPU, frame or entry."""


class HypercallExistsError(HypercallError, FileExistsError):
    """EEXIST: it is there already."""


class HypercallAgainError(HypercallError, BlockingIOError):
    """EAGAIN: not now."""


class HypercallInvalidError(HypercallError):
    """EINVAL: an argument makes no sense, or not in this state."""


class HypercallFaultError(HypercallError):
    """EFAULT: an argument lies where the caller has no memory."""


class HypercallUnknownError(HypercallError):
    """ENOSYS: no such hypercall or sub-operation."""


class HypercallBusyError(HypercallError):
    """EBUSY: the frame or domain is in use."""


class HypercallNoSpaceError(HypercallError):
    """ENOSPC: no port or entry is free."""


class HypercallMemoryError(HypercallError):
    """ENOMEM or E2BIG: more than there is."""


class HypercallUnsupportedError(HypercallError):
    """EOPNOTSUPP: Xen knows it but does not do it for this domain."""


_CLASSES: dict[int, type[HypercallError]] = {
    errno.EPERM: HypercallPermissionError,
    errno.EACCES: HypercallPermissionError,
    errno.ESRCH: HypercallLookupError,
    errno.ENOENT: HypercallNotFoundError,
    errno.EEXIST: HypercallExistsError,
    errno.EAGAIN: HypercallAgainError,
    errno.EINVAL: HypercallInvalidError,
    errno.EFAULT: HypercallFaultError,
    errno.ENOSYS: HypercallUnknownError,
    errno.EBUSY: HypercallBusyError,
    errno.ENOSPC: HypercallNoSpaceError,
    errno.ENOMEM: HypercallMemoryError,
    errno.E2BIG: HypercallMemoryError,
    errno.EOPNOTSUPP: HypercallUnsupportedError,
}


def name_of(nr: int, op: int | None) -> str:
    """ "sched_op.block", "mmu_update", "hypercall 60", "memory_op.99"."""
    try:
        call = Hypercall(nr).name
    except ValueError:
        return f"hypercall {nr}"
    if op is None:
        return call
    try:
        return f"{call}.{SUB_OPS[nr](op).name}"
    except (KeyError, ValueError):
        return f"{call}.{op}"


def error_of(nr: int, first: int, code: int) -> HypercallError:
    """The exception for hypercall `nr` with this first argument that answered -`code`."""
    op = first if nr in SUB_OPS else None
    return named_error(nr, op, name_of(nr, op), code)


def named_error(nr: int, op: int | None, name: str, code: int) -> HypercallError:
    """Likewise, for a sub-operation that lies in a struct."""
    error = _CLASSES.get(code, HypercallError)(code, os.strerror(code))
    error.nr, error.op, error.name = nr, op, name
    return error
