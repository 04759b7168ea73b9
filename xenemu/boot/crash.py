"""Kinds of faults that can be injected: what is hit, and how it fails.

`app`: a signal by name (SIGKILL unless told), `exit` (it calls sys_exit(1) itself) or `exception`
(one that its main task does not handle; no frame of the program cleans up). `kernel`: `panic`
(stops dead), `hang` (no interrupts, no packets in; what runs goes on), `stall` or `stall:SECONDS`
(the virtual CPU makes no progress for a while, then goes on). `backup`: `panic` or `hang`; a
suspended backup dies in its sleep and nobody knows before it is woken.
"""

import signal
from dataclasses import dataclass

from xenemu.guest import Kernel

STALL_SECONDS = 1.0
SIGNALS = (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL",
    "SIGSEGV", "SIGSYS", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGXCPU", "SIGXFSZ",
)  # fmt: skip
HOWS: dict[str, tuple[str, ...]] = {
    "app": ("SIGKILL", *(name for name in SIGNALS if name != "SIGKILL"), "exit", "exception"),
    "kernel": ("panic", "hang", "stall"),
    "backup": ("panic", "hang"),
}


class InjectedError(RuntimeError):
    """What `crash app --how exception` raises in the service."""


@dataclass(frozen=True, slots=True)
class Crash:
    """One kind of fault; `seconds` of a stall."""

    what: str
    how: str
    seconds: float = 0.0

    @property
    def signal(self) -> int:
        """The signal's number; KeyError for what is none."""
        return int(signal.Signals[self.how])


def parse_crash(what: str, how: str = "") -> Crash:
    """Checks names; the first `how` of each `what` is its default. ValueError."""
    if what not in HOWS:
        raise ValueError(f"not {', '.join(HOWS)}: {what!r}")
    name, separator, seconds = (how or HOWS[what][0]).partition(":")
    if name not in HOWS[what] or (separator and name != "stall"):
        raise ValueError(f"not {', '.join(HOWS[what])}: {how!r}")
    if name != "stall":
        return Crash(what, name)
    try:
        duration = float(seconds) if separator else STALL_SECONDS
    except ValueError:
        duration = 0.0
    if not 0 < duration < 3600:
        raise ValueError(f"a stall takes more than 0 and less than 3600 seconds: {how!r}")
    return Crash(what, name, duration)


def crash_process(kernel: Kernel, pid: int, crash: Crash) -> None:
    """An `app` fault, in a process."""
    if crash.how == "exit":
        kernel.sys_exit(pid, 1)
    elif crash.how == "exception":
        kernel.die_of(pid, InjectedError("injected"))
    else:
        kernel.sig_exit(pid, crash.signal)
