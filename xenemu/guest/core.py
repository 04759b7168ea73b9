"""Core files: what is left of a process that died of a fault, for people.

At death only what its end takes away is copied, the sockets; the rest lies in the graveyard with
the process. It is put into words when somebody asks, and nothing of the program runs for it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from xenemu.guest import stacks
from xenemu.guest.safe_repr import describe_error, exact_str, safe_repr
from xenemu.guest.socket import GuestSocket, ip_text

if TYPE_CHECKING:
    from xenemu.guest.process import Process

NS = 1_000_000_000
MAX_SOCKETS = 256
MAX_GLOBALS = 100  # of one module
MAX_CHARS = 1 << 19  # of all stacks and modules; what is above is counted
_namespace: Callable[[types.ModuleType], dict[Any, Any]]
_namespace = types.ModuleType.__dict__["__dict__"].__get__  # type: ignore[index]
_CODE = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


@dataclass(frozen=True, slots=True)
class SocketState:
    """A socket at the death of its process. Addresses as (host order, port); None: none yet."""

    fd: int
    state: str
    local: tuple[int, int] | None = None
    peer: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Core:
    """A dead process and what it had open. `time`: machine time of its death, ns."""

    process: Process
    time: int
    sockets: tuple[SocketState, ...]
    more_sockets: int

    @property
    def cause(self) -> str:
        """In one word: the signal, the exception's type, or the exit status."""
        return self.reason.partition(":")[0]

    @property
    def reason(self) -> str:
        """What it died of."""
        process = self.process
        if process.killed_by is not None:
            return _signal_name(process.killed_by)
        if process.error is not None:
            return describe_error(process.error)
        return f"exit {process.exit_status}"

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready. Times in seconds of machine time."""
        process, room = self.process, _Room(MAX_CHARS)
        wall = datetime.fromtimestamp(process.kernel.epoch + self.time / NS, UTC)
        error = process.error if process.killed_by is None else None
        return {
            "domain": process.kernel.name,
            "program": process.name,
            "pid": process.pid,
            "arguments": list(process.argv),
            "reason": self.reason,
            "status": process.exit_status,
            "started": process.started / NS,
            "died": self.time / NS,
            "date": wall.isoformat(timespec="milliseconds"),
            "traceback": [] if error is None else room.take(stacks.of_error(error)),
            "step": room.take(stacks.of_step(process.abandoned_frame)),
            **_tasks(process, room),
            "sockets": [_socket(each) for each in self.sockets],
            "more_sockets": self.more_sockets,
            **_modules(process, room),
        }


def take_core(process: Process) -> Core:
    """The core of a process that is about to die, before its sockets are closed."""
    open_ones = islice(process.fds.items(), MAX_SOCKETS)
    sockets = tuple(_state(fd, sock) for fd, sock in open_ones)
    left = len(process.fds) - len(sockets)
    return Core(process, process.kernel.node.now, sockets, left)


def core_lines(core: dict[str, Any]) -> list[str]:
    """What `as_dict` gives, for people."""
    command = " ".join([core["program"], *core["arguments"]])
    text = [
        f"{command}[{core['pid']}] of {core['domain']}: {core['reason']}",
        f"started at {core['started']:.6f} s, died at {core['died']:.6f} s ({core['date']}), "
        f"status {core['status']}",
    ]
    for title, stack in (("traceback", core["traceback"]), ("died in", core["step"])):
        if stack:
            text += ["", f"{title}:", *stacks.lines(stack)]
    for task in core["tasks"]:
        waits = f", waits for {task['waits']}" if task["waits"] else ""
        text += ["", f"task {task['name']}{waits}:", *stacks.lines(task["stack"])]
    if core["more_tasks"]:
        text += ["", f"and {core['more_tasks']} more tasks"]
    text += ["", "sockets:"]
    for sock in core["sockets"]:
        text.append(f"  {sock['fd']:>4} {sock['state']:<12} {sock['local']:<22} {sock['peer']}")
    if core["more_sockets"]:
        text.append(f"  and {core['more_sockets']} more")
    for name, values in core["modules"].items():
        text += ["", f"module {name}:", *(f"  {key} = {each}" for key, each in values.items())]
    if core["more_modules"]:
        text += ["", f"and {core['more_modules']} more modules"]
    return [line.rstrip() for line in text]


class _Room:
    """What may still be said."""

    def __init__(self, chars: int) -> None:
        self._left = chars

    @property
    def full(self) -> bool:
        return self._left <= 0

    def take(self, part: Any) -> Any:
        """The same part, counted."""
        self._left -= len(json.dumps(part))
        return part


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _state(fd: int, sock: GuestSocket) -> SocketState:
    number, node = sock._sock, sock._node
    if number < 0:
        return SocketState(fd, "UNCONNECTED")
    try:
        ip, port, peer_ip, peer_port = node.socket_names(number)
        state = node.socket_state(number)
    except OSError:
        return SocketState(fd, "GONE")
    return SocketState(fd, state, (ip, port), (peer_ip, peer_port) if peer_port else None)


def _socket(state: SocketState) -> dict[str, Any]:
    def shown(address: tuple[int, int] | None) -> str:
        return "" if address is None else f"{ip_text(address[0])}:{address[1]}"

    return {
        "fd": state.fd, "state": state.state,
        "local": shown(state.local), "peer": shown(state.peer),
    }  # fmt: skip


def _tasks(process: Process, room: _Room) -> dict[str, Any]:
    """The unfinished ones: the loop's, the main task first, then others."""
    loop = process.loop
    unfinished: list[asyncio.Task[Any]] = [task for task in loop.tasks if not task.done()]
    unfinished += stacks.other_tasks(loop)
    shown = []
    for task in unfinished:
        if room.full:
            break
        stack, waits = stacks.of_task(task)
        part = {"name": exact_str(task.get_name()), "waits": waits, "stack": stack}
        shown.append(room.take(part))
    return {"tasks": shown, "more_tasks": len(unfinished) - len(shown)}


def _modules(process: Process, room: _Room) -> dict[str, Any]:
    """The variables of the process's own modules; not what they define or import."""
    own = process.private_modules
    shown = {}
    for name, module in own.items():
        if room.full:
            break
        shown[name] = room.take(_globals(_namespace(module)))
    return {"modules": shown, "more_modules": len(own) - len(shown)}


def _globals(namespace: dict[Any, Any]) -> dict[str, str]:
    names = [name for name in namespace if type(name) is str and not name.startswith("__")]
    variables = [name for name in names if not _is_code(namespace[name])]
    return {name: safe_repr(namespace[name]) for name in variables[:MAX_GLOBALS]}


def _is_code(value: object) -> bool:
    kind = type(value)
    return any(kind is each for each in _CODE) or issubclass(kind, type)
