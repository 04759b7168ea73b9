"""The guest process whose step is running; None outside any step.

One emulated host runs in one thread, so a module variable is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xenemu.guest.process import Process

process: Process | None = None


def current_process() -> Process:
    """The calling guest process; RuntimeError outside one."""
    if process is None:
        raise RuntimeError("no guest process is running")
    return process


def syscall(name: str, *args: object) -> object:
    """Calls the kernel of the running process through its syscall table."""
    caller = current_process()
    return caller.kernel.syscall(caller, name, *args)
