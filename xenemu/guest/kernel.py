"""A guest kernel: processes, a syscall table, signals, interrupts, sockets' clean-up.

Owns its processes and what it got from its Domain (or LAN host) handle; knows nothing of the
machine behind it. `sys_exit` and `sig_exit` are the two callers of `do_exit` that an OZS
instruments (thesis 4.2.3). Left out: memory management of processes, files, users.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from xenemu._abi import Hypercall
from xenemu.guest.core import Core, take_core
from xenemu.guest.memory import ArgumentArea
from xenemu.guest.overlay import module_name
from xenemu.guest.process import Process, Program
from xenemu.guest.socket import GuestSocket
from xenemu.machine import Domain, Node, WorkKind

EVTCHNOP_BIND_VIRQ = 1  # xen/event_channel.h
_BIND_VIRQ = struct.Struct("<III")  # virq, vcpu, port (out)
MAX_CORES = 8
DEFAULT_EPOCH = 1_104_537_600  # wall clock at machine time 0: 2005-01-01

ExitHook = Callable[[Process, int], None]
SocketCallHook = Callable[[Process, str, bool], None]
CoreHook = Callable[[Core], None]
ListenHook = Callable[[Process, int], None]
Lookup = Callable[[str, Callable[[list[str] | OSError], None]], None]


class Kernel:
    """The kernel of a domain, or of an ordinary host (then without interrupts)."""

    def __init__(
        self,
        node: Node,
        name: str,
        seed: int = 0,
        console: Callable[[str], None] | None = None,
        *,
        version: str = "",
        epoch: int = DEFAULT_EPOCH,
    ) -> None:
        """`version` is what `uname` shows, `epoch` the wall clock at machine time 0."""
        from xenemu.guest.commands import COMMANDS, install_syscalls

        self.node = node
        self.name = name
        self.seed = seed
        self.version = version
        self.epoch = epoch
        self.console = console
        self.processes: dict[int, Process] = {}
        self.sockets: dict[int, GuestSocket] = {}
        self.hosts: dict[str, int] = {}
        self.lookup: Lookup | None = None  # names that are not in `hosts`; None: no DNS
        self.syscalls: dict[str, Callable[..., Any]] = {}
        self.commands: dict[str, Program] = dict(COMMANDS)
        self.sys_exit_hooks: list[ExitHook] = []
        self.sig_exit_hooks: list[ExitHook] = []
        self.timer_handlers: list[Callable[[], None]] = []
        self.wrapper_handlers: list[Callable[[int, int, int], None]] = []
        self.socket_call_hook: SocketCallHook | None = None
        self.cores: deque[Core] = deque(maxlen=MAX_CORES)
        self.core_hook: CoreHook | None = None
        self.listen_hooks: list[ListenHook] = []  # a process has opened this port
        self.args = ArgumentArea(node) if isinstance(node, Domain) else None
        self._ports: dict[int, Callable[[], None]] = {}
        self._queue: deque[Process] = deque()
        self._timers: dict[int, Callable[[], None]] = {}
        self._next_token = 1
        self._next_pid = 1
        self._buried = False
        install_syscalls(self)

    # processes

    def spawn(
        self,
        program: Program,
        argv: Sequence[str] = (),
        *,
        name: str | None = None,
        private: tuple[str, ...] | None = None,
        sources: dict[str, bytes] | None = None,
        output: Callable[[str], None] | None = None,
    ) -> Process:
        """Starts a process; it runs when the machine steps.

        `program` is "package.module" or "package.module:function" (default `main`), a path
        ending in .py, or an `async def main(argv) -> int`. `argv` has no program name in it.
        Modules whose names are in `private`, or below them, are loaded anew for this process
        (default: the program's own module), from `sources`, by path, and what is not in there from
        the disk into it. `output` gets the lines that it prints
        (default: the console).
        """
        if self._buried:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        own = private or ()
        if isinstance(program, str):
            short = name or module_name(program).rpartition(".")[2]
            own = (module_name(program),) if private is None else private
        else:
            short = name or str(getattr(program, "__name__", "process"))
        pid = self._next_pid
        self._next_pid += 1
        process = Process(
            self, pid, program, argv, name=short, private=own,
            sources={} if sources is None else sources,
            output=output or (lambda line: self.report(f"{short}[{pid}]: {line}")),
        )  # fmt: skip
        self.processes[pid] = process
        return process

    async def execute(self, argv: Sequence[str]) -> tuple[int, str]:
        """Runs a command of this guest; (exit status, output). Awaited on any loop."""
        lines: list[str] = []
        process = self.start_command(argv, lines.append)
        status = 127 if process is None else await process.wait()
        return status, "".join(line + "\n" for line in lines)

    def start_command(self, argv: Sequence[str], output: Callable[[str], None]) -> Process | None:
        """Starts a command; None (and a line) if there is none of that name."""
        program = self.commands.get(argv[0]) if argv else None
        if program is None:
            output(f"{argv[0] if argv else ''}: command not found")
            return None
        return self.spawn(program, argv[1:], name=argv[0], output=output)

    def process(self, pid: int) -> Process:
        """A live process; ProcessLookupError (ESRCH)."""
        process = self.processes.get(pid)
        if process is None or process.exited:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return process

    def stop(self, pid: int) -> None:
        """Tells a process to stop: what it does with status 0 after that is no fault."""
        self.process(pid).request_stop()

    def kill(self, pid: int, signal: int) -> None:
        """A signal: the program's own handler, or its end. 0 only checks."""
        process = self.process(pid)
        if signal and not process.deliver(signal):
            self.sig_exit(pid, signal)

    def sys_exit(self, pid: int, status: int) -> None:
        """A process ends itself. Inside its own step a clean end (told to stop, status 0) unwinds
        the step; any other abandons it when the call that led here is over."""
        process = self.process(pid)
        if process.stepping and process.stop_requested and not status:
            raise SystemExit(status)  # comes back here when its step is over
        for hook in self.sys_exit_hooks:
            hook(process, status)
        self.do_exit(process, status)

    def die_of(self, pid: int, error: Exception) -> None:
        """An exception that the main task does not handle and nothing cleans up after."""
        self.process(pid).write_error(error)
        self.sys_exit(pid, 1)

    def sig_exit(self, pid: int, signal: int) -> None:
        """The kernel ends a process by a signal; its status is 128 + signal."""
        process = self.process(pid)
        status = 128 + int(signal)
        for hook in self.sig_exit_hooks:
            hook(process, status)
        self.do_exit(process, status, killed_by=int(signal))

    def do_exit(self, process: Process, status: int, killed_by: int | None = None) -> None:
        """The end of a process and of its sockets."""
        if process.exited:
            return
        clean = status == 0 and process.stop_requested and killed_by is None
        core = take_core(process) if process.dumps_core and not clean else None
        process.end(status, killed_by, clean=clean)
        if core is not None:
            self._dumped(core)
        for callback in process.on_exit:
            callback(process)

    def core(self, pid: int | None = None) -> Core:
        """The last core, of that process if a pid is given; ProcessLookupError (ESRCH)."""
        for core in reversed(self.cores):
            if pid in (None, core.process.pid):
                return core
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def _dumped(self, core: Core) -> None:
        self.cores.append(core)
        process = core.process
        self.report(f"{process.name}[{process.pid}]: {core.reason} (core dumped)")
        if self.core_hook is not None:
            self.core_hook(core)

    def syscall(self, process: Process, name: str, *args: Any) -> Any:
        """A call of `process` through the table; ENOSYS. It does not return to a dead one."""
        function = self.syscalls.get(name)
        if function is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
        result = function(process, *args)
        process.check_alive()
        return result

    def report(self, line: str) -> None:
        """A line on the console."""
        if self.console is not None:
            self.console(line)

    # interrupts

    def register_irq(self, virq: int, handler: Callable[[], None]) -> int:
        """Binds a VIRQ of this domain to `handler`; its event channel port."""
        _, (_, _, port) = self.hypercall(
            Hypercall.event_channel_op, EVTCHNOP_BIND_VIRQ, _BIND_VIRQ, virq, 0, 0
        )
        self._ports[port] = handler
        return int(port)

    def hypercall(
        self, nr: int, op: int, layout: struct.Struct, *fields: Any
    ) -> tuple[int, tuple[Any, ...]]:
        """nr(op, address of a struct in guest memory): result, the struct afterwards.

        OSError of its errno; ENOSYS on an ordinary host.
        """
        if self.args is None or not isinstance(self.node, Domain):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        with self.args.put(layout.pack(*fields)) as argument:
            result = self.node.hypercall(nr, op, argument.gva)
            return result, layout.unpack(argument.read())

    def call_at(self, at: int, callback: Callable[[], None]) -> None:
        """Calls back at machine time `at` (ns), outside any process; can't be cancelled."""
        token = self._next_token
        self._next_token += 1
        self._timers[token] = callback
        self.node.arm_timer(token, at)

    # called by the machine

    def work(self, kind: int, arg: int, a: int, b: int) -> None:
        """One item of work of this node."""
        if self._buried:
            return
        if kind == WorkKind.SOCKETS:
            self._sockets_ready()
        elif kind == WorkKind.TIMER:
            callback = self._timers.pop(arg, None)
            if callback is not None:
                callback()
        elif kind == WorkKind.TICK:
            self._tick()
        elif kind == WorkKind.UPCALL:
            self._upcall()
        elif kind == WorkKind.WRAPPER:
            for handler in self.wrapper_handlers:
                handler(arg, a, b)

    def runnable(self) -> bool:
        """A process could run now."""
        return bool(self._queue)

    def run(self) -> None:
        """One step of each process that is runnable now, first come first served."""
        for _ in range(len(self._queue)):
            if not self._queue:  # a step may have buried this kernel
                return
            self._queue.popleft().step()

    def bury(self) -> None:
        """The node is gone. Its processes stay in the graveyard, untouched."""
        self._buried = True
        for process in self.processes.values():
            if not process.exited:
                process.bury()
        self._queue.clear()
        self._timers.clear()

    def enqueue(self, process: Process) -> None:
        """A process has something to do."""
        self._queue.append(process)

    def _tick(self) -> None:
        for handler in self.timer_handlers:
            handler()
        # Work of a paused domain is dropped: catch up with what it missed.
        self._sockets_ready()
        for process in self.processes.values():
            if not process.exited:
                process.loop.timer_due()

    def _sockets_ready(self) -> None:
        for number, _ in self.node.ready():
            sock = self.sockets.get(number)
            if sock is not None and sock._process.loop.guest_selector.mark(sock.fileno()):
                sock._process.wake()

    def _upcall(self) -> None:
        node = self.node
        assert isinstance(node, Domain)
        while (port := node.next_pending_port()) >= 0:
            handler = self._ports.get(port)
            if handler is not None:
                handler()
