"""Commands for an administrator who looks at a guest: core, run, connect."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xenemu.guest._current import syscall
from xenemu.guest.core import core_lines

if TYPE_CHECKING:
    from xenemu.guest.kernel import Kernel
    from xenemu.guest.process import Process

CONNECT_SECONDS = 5.0


def install_syscalls(kernel: Kernel) -> None:
    """The calls that the commands need."""

    def core(process: Process, pid: int | None) -> list[str]:
        return core_lines(kernel.core(pid).as_dict())

    def run(process: Process, program: str, argv: Sequence[str]) -> int:
        started = kernel.spawn(program, argv)
        started.dumps_core = True
        return started.pid

    kernel.syscalls.update(core=core, run=run)


async def core(argv: list[str]) -> int:
    """core [PID]: what is left of a process that died of a fault; default: the last one."""
    if len(argv) > 1 or not all(word.isdecimal() for word in argv):
        print("usage: core [PID]")
        return 2
    try:
        found: Any = syscall("core", int(argv[0]) if argv else None)
    except ProcessLookupError:
        print(f"core: {argv[0]}: no core of this process" if argv else "core: none")
        return 1
    print("\n".join(found))
    return 0


async def run(argv: list[str]) -> int:
    """run PROGRAM [ARGUMENT]...: starts package.module or a .py file, and does not wait."""
    if not argv:
        print("usage: run PROGRAM [ARGUMENT]...")
        return 2
    print(f"pid {syscall('run', argv[0], argv[1:])}")
    return 0


async def connect(argv: list[str]) -> int:
    """connect ADDRESS PORT: whether something listens there."""
    if len(argv) != 2 or not argv[1].isdecimal():
        print("usage: connect ADDRESS PORT")
        return 2
    address, port = argv[0], int(argv[1])
    try:
        opening = asyncio.open_connection(address, port)
        _, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
    except TimeoutError:
        print(f"connect: {address}:{port}: {os.strerror(errno.ETIMEDOUT)}")
        return 1
    except OSError as error:
        print(f"connect: {address}:{port}: {os.strerror(error.errno or errno.EIO)}")
        return 1
    writer.close()
    print(f"{address}:{port} is open")
    return 0


COMMANDS = {"core": core, "run": run, "connect": connect}
