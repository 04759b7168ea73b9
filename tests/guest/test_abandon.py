"""A process or kernel that dies inside its own step: nothing of the step goes on."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world import World

from xenemu.guest import Process, syscall

CALLS = ("bind", "listen", "accept", "recv", "send", "shutdown", "close")
AFTER = tuple(call for call in CALLS if call not in ("bind", "close"))  # those that reach the stack


class Service:
    """Accepts a connection and makes each kind of call; its clean-up would be seen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def __call__(self, argv: list[str]) -> int:
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        conn: Any = None
        try:
            listener.bind(("", 80))
            listener.listen()
            conn, _ = await loop.sock_accept(listener)
            async for data in self.lines(conn):
                await loop.sock_sendall(conn, data)
        finally:
            (self.directory / "finally").write_text("ran")
            if conn is not None:
                conn.close()
            socket.socket().bind(("", 81))
        return 0

    async def lines(self, conn: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(conn, 100):
                yield data
            await loop.sock_sendall(conn, b"over")
            conn.shutdown(socket.SHUT_WR)
            conn.close()
        finally:
            (self.directory / "generator").write_text("ran")


async def sleeper(argv: list[str]) -> int:
    await asyncio.sleep(float(argv[0]))
    return 0


async def talk(argv: list[str]) -> int:
    reader, writer = await asyncio.open_connection("10.0.0.1", 80)
    writer.write(b"hello")
    writer.write_eof()
    try:
        await reader.read()
    except OSError:
        return 1
    finally:
        writer.close()
    return 0


def fault_at(
    world: World, process: Process, call: str, before: bool, fault: Callable[[], None]
) -> list[str]:
    hits: list[str] = []

    def hook(caller: Process, name: str, is_before: bool) -> None:
        if caller is process and (name, is_before) == (call, before) and not hits:
            hits.append(name)
            fault()

    world.server.socket_call_hook = hook
    return hits


@pytest.mark.parametrize("what", ["app", "kernel"])
@pytest.mark.parametrize(
    ("call", "before"), [(c, True) for c in CALLS] + [(c, False) for c in AFTER]
)
def test_a_fault_inside_a_socket_call_abandons_the_step(
    world: World, tmp_path: Path, what: str, call: str, before: bool
) -> None:
    real = (socket.socket, sys.stdout, sys.get_asyncgen_hooks())
    service = [world.server.spawn(Service(tmp_path))]

    def fault() -> None:
        if what == "app":
            world.server.sig_exit(service[0].pid, signal.SIGSEGV)
        else:
            world.machine.detach(world.server.node)

    hits = fault_at(world, service[0], call, before, fault)
    other = world.server.spawn(sleeper, ["0.5"])
    world.client.spawn(talk)
    assert world.until(lambda: bool(hits), 30)
    world.sleep(1)
    assert service[0].exited
    assert service[0].exit_status == (139 if what == "app" else None)
    assert other.exited
    assert list(tmp_path.iterdir()) == []
    assert (socket.socket, sys.stdout, sys.get_asyncgen_hooks()) == real
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert asyncio.run(asyncio.sleep(0, "the host's own loop works")) is not None
    world.server.processes.clear()
    world.server.socket_call_hook = None
    service.clear()
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    later = world.client.spawn(sleeper, ["0"])
    assert world.until(lambda: later.exited, 5)


def test_a_call_of_its_own_that_ends_it_never_returns(world: World) -> None:
    ran: list[str] = []

    async def program(argv: list[str]) -> int:
        try:
            if argv[0] == "kill":
                os.kill(os.getpid(), signal.SIGABRT)
            elif argv[0] == "exit":
                syscall("exit", 3)
            else:
                syscall("panic")
            ran.append("went on")
        finally:
            ran.append("finally")
        return 0

    world.server.syscalls["panic"] = lambda process: world.machine.detach(world.server.node)
    killed, left, last = (world.server.spawn(program, [how]) for how in ("kill", "exit", "panic"))
    world.sleep(1)
    assert (killed.exit_status, left.exit_status, last.exit_status) == (134, 3, None)
    assert last.exited
    assert ran == []


SCRIPT = """
import signal, sys, socket
sys.path[:0] = sys.argv[1:]
from world import World
world = World()
async def program(argv):
    s = socket.socket()
    try:
        s.bind(("", 80)); s.listen()
    finally:
        open("/dev/stderr", "w").write("the finally block ran")
process = world.server.spawn(program)
world.server.socket_call_hook = lambda p, name, before: name == "listen" and (
    world.server.sig_exit(process.pid, signal.SIGKILL))
world.sleep(1)
assert process.exit_status == 137
"""


def test_nothing_runs_when_the_interpreter_ends(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tests), str(tests.parent), str(tests.parents[1])],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
