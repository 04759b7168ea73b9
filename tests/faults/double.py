"""A run that more than one fault can be placed in: the scenario's client, and its witness."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from faults.scenario import BOUND_SECONDS, SIZE, content, make_client, watch_segments
from xenemu.boot.clients import add_client, small_config
from xenemu.boot.config import MIB
from xenemu.boot.system import System
from xenemu.guest import _current

TARGETS = ("backup app", "backup kernel", "backup hang", "primary app", "primary kernel")


class Run:
    """A booted system and its client; `finish()` is what the client saw amiss."""

    def __init__(self, root: Path, *, seed: int, link: Any, size: int = SIZE) -> None:
        self.root, self.seed, self.size = root, seed, size
        (root / "file").write_bytes(content(seed, size))
        (root / "up").unlink(missing_ok=True)
        self.report: list[str] = []
        self.system = System(small_config(root=root, seed=seed, log=16 * MIB))
        self.core = self.system.machine.core
        self.system.boot()
        self.kernel = add_client(self.system, link=link)
        self.first = self.last_record()
        self.process = self.kernel.spawn(make_client(seed, self.report, size))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.system.close()

    def events(self, count: int) -> None:
        """Runs that many events of the machine, or to the end of the client."""
        end = self.core.event_index + count
        while self.core.event_index < end and not self.process.exited:
            self.system.machine.step(self.system.now + 10**9, end - self.core.event_index)

    def last_record(self) -> int:
        return max((record[0] for record in self.core.trace()), default=0)

    def records(self, since: int) -> list[tuple[Any, ...]]:
        return self.core.trace(since + 1)

    def names(self) -> list[str]:
        return [event.name for event in self.system.log.since()]

    def protected(self) -> bool:
        return self.system.run_until(self.system.protected, 30)

    def finish(self) -> list[str]:
        """Runs to the end of the client; wrong bytes, resets, second handshakes, a hang."""
        if not self.system.run_until(lambda: self.process.exited, BOUND_SECONDS):
            self.report.append("the client hangs")
        self.report += watch_segments(self.system, self.kernel.node.id, self.first)
        up = self.root / "up"
        if not self.report and up.read_bytes() != content(self.seed + 1, self.size):
            self.report.append("the stored upload differs")
        return self.report


def hit(system: System, target: str) -> None:
    """A fault of whoever is primary or backup now, even in the middle of a recovery."""
    who, _, how = target.partition(" ")
    try:
        guest = system.backup() if who == "backup" else system.primary()
        if how == "app" and guest.service is not None:
            guest.kernel.sig_exit(guest.service.pid, signal.SIGKILL)
        elif how == "hang":
            guest.crashed = True
            system.machine.core.hang(guest.domid)
        elif how == "kernel":
            guest.crashed = True
            system.machine.panic(guest.domid)
    except OSError:
        pass  # there is none, or it is dead already


def at_step(run: Run, first: str, step: int, target: str) -> int:
    """`first` fails; at step number `step` of what follows (an entry of the event log, up to the
    new protection) `target` fails too. The number of steps."""
    append: Callable[..., None] = run.system.log.append
    steps = 0
    due = False

    def strike() -> None:
        nonlocal due
        if due and _current.process is None:
            due = False
            hit(run.system, target)

    def counted(event: Any) -> None:
        nonlocal steps, due
        append(event)
        if event.name in ("console", "crash-injected"):
            return
        steps += 1
        due = due or steps == step
        strike()

    run.system.log.append = counted  # type: ignore[method-assign]
    run.system.crash(first)

    def over() -> bool:
        strike()
        return run.process.exited or (steps > step and run.system.protected())

    run.system.machine.run_until(over, run.system.now + 20 * 10**9)
    return steps
