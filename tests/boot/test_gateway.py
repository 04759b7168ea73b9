"""The way out of the LAN, live: guests and real servers on loopback, names, refusals, limits."""

import asyncio
import contextlib
import errno
import hashlib
import os
import queue
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xenemu.boot import BootConfig, Forward, ServiceSpec, System, add_client, small_config
from xenemu.boot.config import MIB
from xenemu.boot.names import HostNames
from xenemu.machine import Machine

GATEWAY = "10.0.1.1"
BIG = os.urandom(1 << 20) * 12
SERVES = """
import asyncio

async def main(argv):
    server = await asyncio.start_server(lambda r, w: w.close(), "0.0.0.0", 80)
    await server.serve_forever()
"""


REAL = """
import hashlib, socket, sys, threading

def digest(conn):
    got = hashlib.sha256()
    with conn:
        while data := conn.recv(65536):
            got.update(data)
        conn.sendall(got.digest() + bytes(int(sys.argv[2])))

def reset(conn):
    conn.recv(1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
    conn.close()

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    conn, _ = listener.accept()
    threading.Thread(target=globals()[sys.argv[1]], args=(conn,), daemon=True).start()
"""


@contextlib.contextmanager
def real_server(manner: str, size: int = 0) -> Iterator[int]:
    """A server on 127.0.0.1, in a process of its own; its port.

    `digest` answers, after the end of what it gets, with a digest of that and `size` zeroes.
    """
    argv = [sys.executable, "-c", REAL, manner, str(size)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def live(root: Path, **changes: object) -> System:
    (root / "serves.py").write_text(SERVES)
    values: dict[str, object] = {
        "real": True, "backup": False, "forwards": (Forward(0, 80),),
        "specs": (ServiceSpec(str(root / "serves.py")),),
    }  # fmt: skip
    return System(small_config(root=root, **(values | changes)))


def run(system: System, program: Callable[[], object]) -> list[object]:
    """What an async function returns in a process of the primary's kernel."""
    results: list[object] = []

    async def main(argv: list[str]) -> int:
        results.append(await program())  # type: ignore[misc]
        return 0

    process = system.primary().kernel.spawn(main)
    assert system.run_until(lambda: process.exited, 60)
    assert process.exit_status == 0
    return results


async def outcome(host: str, port: int) -> int:
    """0, or the errno of a connect."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return error.errno or -1
    writer.close()
    return 0


@pytest.mark.parametrize("host", [GATEWAY, "127.0.0.1", "localhost"])
def test_big_transfers_and_half_close(tmp_path: Path, host: str) -> None:
    with real_server("digest", len(BIG)) as port, live(tmp_path) as system:

        async def transfer() -> bytes:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(BIG)
            writer.write_eof()
            data = await reader.read()
            writer.close()
            return data

        system.boot()
        expected = hashlib.sha256(BIG).digest() + bytes(len(BIG))
        assert run(system, transfer) == [expected]


def test_many_at_once_from_several_hosts(tmp_path: Path) -> None:
    with real_server("digest") as port, live(tmp_path) as system:

        async def one(number: int) -> bool:
            reader, writer = await asyncio.open_connection(GATEWAY, port)
            message = b"%d" % number * 1000
            writer.write(message)
            writer.write_eof()
            digest = await reader.readexactly(32)
            writer.transport.abort()
            return digest == hashlib.sha256(message).digest()

        async def main(argv: list[str]) -> int:
            return 0 if all(await asyncio.gather(*map(one, range(30)))) else 1

        system.boot()
        kernels = [system.primary().kernel, add_client(system)]
        processes = [kernel.spawn(main) for kernel in kernels]
        assert system.run_until(lambda: all(each.exited for each in processes), 60)
        assert [each.exit_status for each in processes] == [0, 0]


def test_refusals(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with live(tmp_path) as system:
        system.boot()
        for host in (GATEWAY, "127.0.0.1", "0.0.0.1", "224.0.0.1"):
            assert run(system, lambda host=host: outcome(host, port)) == [errno.ECONNREFUSED]


def test_a_reset_is_a_reset(tmp_path: Path) -> None:
    async def talk() -> int | None:
        reader, writer = await asyncio.open_connection(GATEWAY, port)
        writer.write(b"x")
        try:
            await reader.read()
        except OSError as error:
            return error.errno
        return 0

    with real_server("reset") as port, live(tmp_path) as system:
        system.boot()
        assert run(system, talk) == [errno.ECONNRESET]


def test_no_way_out(tmp_path: Path) -> None:
    with real_server("digest") as port, live(tmp_path, outward=False) as system:

        async def refused_name() -> str:
            try:
                await asyncio.get_running_loop().getaddrinfo("localhost", port)
            except socket.gaierror as error:
                return str(error)
            return ""

        system.boot()
        assert run(system, lambda: outcome(GATEWAY, port)) == [errno.ECONNREFUSED]
        assert "unknown host" in str(run(system, refused_name)[0])


def test_no_way_out_in_virtual_time(tmp_path: Path) -> None:
    with real_server("digest") as port, live(tmp_path, real=False) as system:
        system.boot()
        assert run(system, lambda: outcome(GATEWAY, port)) == [errno.ECONNREFUSED]
        assert system.gateway is not None and system.gateway.names is None


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for config in ({"forwards": (Forward(port, 80),)}, {"passive_ports": (port, port)}):
            with pytest.raises(OSError, match=f"port {port} of 127.0.0.1") as caught:
                live(tmp_path, **config)
            assert caught.value.errno == errno.EADDRINUSE


def test_passive_ports_are_forwarded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = BootConfig(control_memory=4 * MIB, primary_memory=8 * MIB, log=16 * MIB,
                        root=tmp_path, forwards=(), passive_ports=(port, port), backup=False,
                        specs=(ServiceSpec(),))  # fmt: skip
    with System(config) as system:
        assert system.ports == {port: port}


class Lookups:
    """A HostNames whose resolver answers when it is told to."""

    def __init__(self) -> None:
        self.machine = Machine(frames=1024, real=True)
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
        node = self.machine.add_host(0x0A000101)
        self.machine.core.route(node.id)
        self.names = HostNames(self.machine, self._resolve)
        self.got: list[list[str] | OSError] = []

    def _resolve(self, name: str) -> list[str]:
        self.asked.put(name)
        found = self.told.get(timeout=30)
        if isinstance(found, OSError):
            raise found
        return found

    def ask(self, name: str) -> None:
        self.names.lookup(name, self.got.append)

    def wait(self, answers: int) -> None:
        deadline = self.machine.now + 30_000_000_000
        assert self.machine.run_until(lambda: len(self.got) >= answers, deadline)

    def close(self) -> None:
        self.names.close()
        self.machine.close()


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    made = Lookups()
    yield made
    made.close()


def test_a_lookup_does_not_hold_up_the_machine(lookups: Lookups) -> None:
    lookups.ask("a.example")
    assert lookups.asked.get(timeout=30) == "a.example"
    lookups.machine.run(lookups.machine.now + 1_000_000)
    assert lookups.got == []
    lookups.told.put(["192.0.2.1"])
    lookups.wait(1)
    assert lookups.got == [["192.0.2.1"]]


def test_a_name_is_looked_up_once(lookups: Lookups) -> None:
    lookups.told.put(["192.0.2.1", "192.0.2.2"])
    lookups.ask("a.example")
    lookups.ask("a.example")
    lookups.wait(2)
    lookups.ask("a.example")
    assert lookups.got == [["192.0.2.1", "192.0.2.2"]] * 3
    assert lookups.asked.get(timeout=30) == "a.example" and lookups.asked.empty()


def test_loopback_is_the_gateway(lookups: Lookups) -> None:
    lookups.told.put(["127.0.0.1", "127.0.1.1", "192.0.2.1"])
    lookups.ask("me")
    lookups.wait(1)
    assert lookups.got == [[GATEWAY, "192.0.2.1"]]


def test_a_failure_is_not_kept(lookups: Lookups) -> None:
    lookups.told.put(socket.gaierror(socket.EAI_NONAME, "no"))
    lookups.ask("a.example")
    lookups.wait(1)
    assert isinstance(lookups.got[0], socket.gaierror)
    lookups.told.put(["192.0.2.1"])
    lookups.ask("a.example")
    lookups.wait(2)
    assert lookups.got[1] == ["192.0.2.1"]


def test_too_many_lookups(lookups: Lookups) -> None:
    for number in range(257):
        lookups.ask(f"{number}.example")
    assert len(lookups.got) == 1 and isinstance(lookups.got[0], socket.gaierror)
    assert lookups.got[0].errno == socket.EAI_AGAIN
    for _ in range(256):
        lookups.told.put([])


def test_an_answer_after_the_end_is_dropped(lookups: Lookups) -> None:
    lookups.ask("a.example")
    assert lookups.asked.get(timeout=30) == "a.example"
    lookups.names.close()
    lookups.told.put(["192.0.2.1"])
    assert lookups.got == []
