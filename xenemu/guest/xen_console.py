"""The console of a domain's kernel: the hypervisor's, by console_io."""

import contextlib
import errno
import os
from collections.abc import Callable

from xenemu._abi import ConsoleOp, Hypercall
from xenemu.guest.kernel import Kernel
from xenemu.machine import Domain

LINE_BYTES = 4000  # the hypervisor's ring has room for 4096


def xen_console(kernel: Kernel, written: Callable[[], None]) -> Callable[[str], None]:
    """What writes a line to the console of the kernel's domain, then calls `written`.

    OSError(ENOSYS) on an ordinary host. A domain that is gone writes nothing.
    """
    node, args = kernel.node, kernel.args
    if args is None or not isinstance(node, Domain):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def write(line: str) -> None:
        data = line.encode(errors="replace")[:LINE_BYTES] + b"\n"
        with contextlib.suppress(OSError), args.put(data) as text:
            node.hypercall(Hypercall.console_io, ConsoleOp.write, len(data), text.gva)
            written()

    return write
