"""`zeroloss_op` as a guest kernel issues it: the argument struct, and one typed call."""

import contextlib
import errno
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xenemu._abi import DOMID_SELF, Hypercall, ZlOp
from xenemu.guest import Domain, Kernel

# struct xe_zl_arg (csrc/base/abi.h): domid, status, value, addr, count, pad.
ARGUMENT = struct.Struct("<IiQQII")
MFN_BYTES = 8
MAX_EXTENTS = 4096


def domain_of(kernel: Kernel) -> Domain:
    """The kernel's domain; OSError(ENOSYS) on an ordinary host."""
    if not isinstance(kernel.node, Domain):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return kernel.node


@contextlib.contextmanager
def argument(kernel: Kernel, size: int) -> Iterator[int]:
    """Guest address of `size` bytes for the arguments of one hypercall."""
    if kernel.args is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    with kernel.args.alloc(size) as buffer:
        yield buffer.gva


@dataclass(frozen=True, slots=True)
class ZlResult:
    """What came back: the hypercall's result and the struct's fields."""

    result: int
    domid: int
    status: int
    value: int
    mfns: tuple[int, ...]


def zeroloss_op(
    kernel: Kernel,
    op: ZlOp,
    *,
    domid: int = DOMID_SELF,
    value: int = 0,
    mfns: Sequence[int] = (),
    room: int = 0,
) -> ZlResult:
    """One zeroloss_op. `mfns` is handed in, up to `room` machine frame numbers are handed out.

    Raises OSError with the errno that the hypercall answers.
    """
    count = max(len(mfns), room)
    domain = domain_of(kernel)
    with argument(kernel, ARGUMENT.size + count * MFN_BYTES) as address:
        array_at = address + ARGUMENT.size
        head = ARGUMENT.pack(domid, 0, value, array_at if count else 0, count, 0)
        domain.guest_write(address, head + array("Q", mfns).tobytes())
        result = domain.hypercall(Hypercall.zeroloss_op, op, address)
        out = ARGUMENT.unpack(domain.guest_read(address, ARGUMENT.size))
        got: array[int] = array("Q")
        if room:
            got.frombytes(domain.guest_read(array_at, min(out[4], room) * MFN_BYTES))
    return ZlResult(result, out[0], out[1], out[2], tuple(got))
