"""A guest process: a program, its loop, its file descriptors, its view of the library.

It runs in steps of a few loop iterations each, each step in a greenlet, with its overlay on.
Its end:
  - told to stop and status 0: tasks are cancelled in the order of their creation, sockets
    closed, the loop closed;
  - anything else is a crash: the kernel drops its sockets, and the loop is left as it is. No
    `finally` of it may run, so the process stays in `graveyard` for ever. If it died inside its
    own step (its own call, or a hook of one) that step is abandoned: its greenlet is switched
    away from and never resumed, and lies in the graveyard with it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import io
import random
import signal
import socket as host
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from xenemu.guest import _current
from xenemu.guest.loop import GuestLoop
from xenemu.guest.overlay import Overlay, PrivateModules, load
from xenemu.guest.socket import GuestSocket

if TYPE_CHECKING:
    from xenemu.guest.kernel import Kernel

Program = str | Callable[[list[str]], Any]

MAX_STEPS_AT_ONE_INSTANT = 100_000
MAX_ITERATIONS = 16  # of one step: switching between processes costs more than an iteration
MAX_STEPS_OF_EXIT = 10_000
FIRST_FD = 3

graveyard: dict[int, Process] = {}  # every process that has not ended cleanly, by id()


class ProcessState(Enum):
    """Where a process is in its life."""

    RUNNING = "running"
    EXITED = "exited"


class OutputStream(io.TextIOBase):
    """stdout and stderr of a process: whole lines go to `write_line`."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._rest = ""

    def writable(self) -> bool:
        """True"""
        return True

    def write(self, text: str) -> int:
        """Buffers up to the next newline."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def finish(self) -> None:
        """Writes an unfinished last line."""
        if self._rest:
            self._write_line(self._rest)
            self._rest = ""


class Process:
    """One process of a guest kernel; made by Kernel.spawn."""

    def __init__(
        self,
        kernel: Kernel,
        pid: int,
        program: Program,
        argv: Sequence[str],
        *,
        name: str,
        private: tuple[str, ...],
        sources: dict[str, bytes],
        output: Callable[[str], None],
    ) -> None:
        self.kernel = kernel
        self.pid = pid
        self.name = name
        self.argv = list(argv)
        self.program = program
        self.state = ProcessState.RUNNING
        self.exit_status: int | None = None
        self.killed_by: int | None = None
        self.error: BaseException | None = None  # that its main task did not handle
        self.started = kernel.node.now
        self.dumps_core = False
        self.stop_requested = False
        self.on_exit: list[Callable[[Process], None]] = []
        self.queued = False
        self.fds: dict[int, GuestSocket] = {}
        self.random = random.Random(f"{kernel.seed}/{kernel.name}/{name}/{pid}")
        self.stream = OutputStream(output)
        self._next_fd = FIRST_FD
        self._instant = -1
        self._steps = 0
        self._stepping = False
        self._step: greenlet | None = None  # the one under way, or abandoned
        self._modules = PrivateModules(private)
        self.sources = sources  # of its private modules, by path
        self.loop = GuestLoop(self)
        self._overlay = Overlay(self)
        graveyard[id(self)] = self
        self._main: asyncio.Task[Any] = self.loop.create_task(self._run(), name="main")

    @property
    def exited(self) -> bool:
        """It has ended."""
        return self.state is ProcessState.EXITED

    async def _run(self) -> Any:
        entry = load(self.program) if isinstance(self.program, str) else self.program
        return await entry(list(self.argv))

    @property
    def abandoned_frame(self) -> FrameType | None:
        """Where it was when it died inside its own step."""
        return self._step.gr_frame if self.exited and self._step is not None else None

    @property
    def private_modules(self) -> dict[str, ModuleType]:
        """Its own copies of modules, by name."""
        return self._modules.modules

    # scheduling

    def wake(self) -> None:
        """Something to do: into the kernel's queue."""
        if not self.queued and self.state is ProcessState.RUNNING:
            self.queued = True
            if not self._stepping:  # else step() does it
                self.kernel.enqueue(self)

    def arm_timer(self, at: int) -> None:
        """Wakes the loop at machine time `at`."""
        self.kernel.call_at(at, self.loop.timer_due)

    def step(self) -> None:
        """A few iterations of the loop, then the end of the process if that is due."""
        if self.exited:
            return
        status = self._iterate()
        if self._killed():
            return
        again = self.queued
        if status is None and self._main.done():
            status = self._main_status()
        if status is None and self.loop.stop_called:
            status = 0
        if status is not None:
            self.kernel.sys_exit(self.pid, status)
        elif self._steps > MAX_STEPS_AT_ONE_INSTANT:
            self.kernel.report(f"{self.name}[{self.pid}]: livelock, killed")
            self.kernel.sig_exit(self.pid, signal.SIGXCPU)
        else:
            if again:
                self.kernel.enqueue(self)
            self.loop.after_step()

    def _killed(self) -> bool:
        """It was killed inside its own step."""
        return self.exited

    def _iterate(self) -> int | None:
        """Iterations while there is work, at most MAX_ITERATIONS, under the overlay.

        The status if SystemExit was raised.
        """
        now = self.kernel.node.now
        if now != self._instant:
            self._instant = now
            self._steps = 0
        self._enter()
        hooks = sys.get_asyncgen_hooks()
        outer = asyncio._get_running_loop()
        self._stepping = True
        self._step = greenlet(self._iterations)
        try:
            status: int | None = self._step.switch()
        finally:
            self._stepping = False
            self._leave()
        if self._step.dead:
            self._step = None
        else:  # abandoned inside an iteration, which has left its marks
            task = asyncio.current_task(self.loop)
            if task is not None:
                asyncio.tasks._leave_task(self.loop, task)
            asyncio._set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)
        return status

    def _iterations(self) -> int | None:
        try:
            for _ in range(MAX_ITERATIONS):
                self._steps += 1
                self.queued = False
                self.loop.step()
                if not self.queued or self.exited or self._main.done():
                    break
        except SystemExit as error:
            return self._system_exit_status(error)
        return None

    def _enter(self) -> None:
        """The process's view of the library is on, and it is the current process."""
        assert _current.process is None
        _current.process = self
        self._overlay.enter()
        self._modules.enter()

    def _leave(self) -> None:
        """The host's view again."""
        self._modules.leave()
        self._overlay.leave()
        _current.process = None

    @contextlib.contextmanager
    def patched_pipe(self, *pair: Any) -> Iterator[None]:
        """While the loop is made: socketpair() gives `pair`."""
        real = host.socketpair
        host.socketpair = lambda *args, **kwargs: pair
        try:
            yield
        finally:
            host.socketpair = real

    def _system_exit_status(self, error: SystemExit) -> int:
        if self._main.done() and not self._main.cancelled():
            self._main.exception()  # marks it as retrieved
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        self.stream.write(f"{error.code}\n")
        return 1

    def _main_status(self) -> int:
        if self._main.cancelled():
            return 0 if self.stop_requested else 1
        error = self._main.exception()
        if error is None:
            result = self._main.result()
            return result & 0xFF if isinstance(result, int) else 0
        self.write_error(error)
        return 1

    def is_private(self, name: str) -> bool:
        """A module of this name is loaded for this process alone."""
        return self._modules.matches(name)

    # called by the kernel

    @property
    def stepping(self) -> bool:
        """The caller is inside this process's own step."""
        return self._stepping

    def check_alive(self) -> None:
        """Never returns if the process died inside this step of its own: the step is abandoned."""
        step = self._step
        if self.exited and step is not None and getcurrent() is step:
            assert step.parent is not None
            step.parent.switch(None)
            raise AssertionError("a dead process was resumed")

    def request_stop(self) -> None:
        """Tells the program to end: its SIGTERM handler, or its main task is cancelled."""
        self.stop_requested = True
        if not self.deliver(signal.SIGTERM):
            self.loop.call_soon(self._main.cancel)

    def write_error(self, error: BaseException) -> None:
        """The exception that ends it: a traceback on its stderr."""
        self.error = error
        self.stream.write("".join(traceback.format_exception(error)))

    def deliver(self, sig: int) -> bool:
        """Runs the program's handler of a signal, if it has one."""
        handler = self.loop.signal_handlers.get(int(sig))
        if handler is None:
            return False
        self.loop.call_soon(handler)
        return True

    def end(self, status: int, killed_by: int | None, *, clean: bool) -> None:
        """The end (do_exit). Clean only from outside its step."""
        assert not self.exited
        if clean and not self._stepping:
            self._unwind()
            self.state = ProcessState.EXITED
            self.loop.close()
            graveyard.pop(id(self), None)
        self.exit_status = status
        self.killed_by = killed_by
        self.state = ProcessState.EXITED
        for sock in sorted(self.fds.values(), key=lambda each: each.fileno()):
            sock.release(dropped=not clean)
        self.stream.finish()

    def bury(self) -> None:
        """The kernel is dead: nothing happens any more, not even clean-up."""
        self.state = ProcessState.EXITED

    def _unwind(self) -> None:
        """Cancels what is left, in order of creation, and runs until all is done."""
        for task in list(self.loop.tasks):
            if not task.done():
                task.cancel()
                for _ in range(MAX_STEPS_OF_EXIT):
                    if self._iterate() is not None or task.done():
                        break
        self._iterate()

    # for the loop and the sockets

    def add_fd(self, sock: GuestSocket) -> int:
        """A number for a new socket; never used twice."""
        fd = self._next_fd
        self._next_fd += 1
        self.fds[fd] = sock
        return fd

    def poll_fd(self, fd: int) -> int:
        """Readiness bits of an fd; 0 for one that isn't a socket."""
        sock = self.fds.get(fd)
        return 0 if sock is None else sock.poll()

    async def wait(self) -> int:
        """Exit status, when it has ended; for a caller on any loop of this thread."""
        if not self.exited:
            future = asyncio.get_running_loop().create_future()

            def ended(process: Process) -> None:
                if not future.done():
                    future.set_result(None)

            self.on_exit.append(ended)
            await future
        return self.exit_status or 0

    def __repr__(self) -> str:
        return f"<Process {self.name}[{self.pid}] {self.state.value} {self.exit_status}>"


def _silence() -> None:
    """The interpreter ends: one reference too many keeps it from destroying the dead, whose
    coroutines it would unwind."""
    for process in graveyard.values():
        process.bury()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(graveyard))


atexit.register(_silence)
