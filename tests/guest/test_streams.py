"""asyncio streams between kernels: echo, flow control, errors, sendfile, determinism."""

import asyncio
import hashlib
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from world import World

DATA = random.Random(3).randbytes(700_000)


async def echo_server(argv: list[str]) -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(100_000):
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "10.0.0.1", 7)
    # Not serve_forever: told to stop, it would wait for its clients from Python 3.12 on.
    await asyncio.get_running_loop().create_future()
    server.close()
    return 0


async def echo_client(argv: list[str]) -> int:
    reader, writer = await asyncio.open_connection("server", 7)

    async def send() -> None:
        writer.write(DATA)
        await writer.drain()
        writer.write_eof()

    task = asyncio.create_task(send())
    answer = await reader.read()
    await task
    writer.close()
    await writer.wait_closed()
    print(hashlib.sha256(answer).hexdigest() == hashlib.sha256(DATA).hexdigest())
    return 0


def run_echo(seed: int) -> tuple[Any, list[str]]:
    world = World(seed)
    world.client.hosts["server"] = world.server.node.addr
    world.server.spawn(echo_server)
    clients = [world.client.spawn(echo_client) for _ in range(3)]
    for client in clients:
        assert world.finish(client) == 0, world.lines
    return world.core.log, world.lines


def test_echo_and_determinism() -> None:
    first, lines = run_echo(4)
    assert [line.rpartition(" ")[2] for line in lines] == ["True"] * 3
    assert run_echo(4) == (first, lines)


def test_refused_and_unknown(world: World) -> None:
    async def client(argv: list[str]) -> int:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("10.0.0.1", 9)
        with pytest.raises(OSError, match="unknown host"):
            await asyncio.open_connection("nowhere", 9)
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(print, "0.0.0.0", 7)
            await asyncio.start_server(print, "0.0.0.0", 7)
        with pytest.raises(OSError, match="[Cc]annot assign|could not bind|attempting to bind"):
            await asyncio.start_server(print, "10.0.0.200", 8)
        return 0

    process = world.client.spawn(client)
    assert world.finish(process) == 0, world.lines


def test_crash_drops_sockets_and_stop_closes_them(world: World) -> None:
    async def client(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 7)
        count = len(await reader.read())
        writer.close()
        await writer.wait_closed()
        return count

    for crash in (True, False):
        server = world.server.spawn(echo_server)
        peer = world.client.spawn(client)
        world.sleep(1)
        world.core.dropped.clear()
        if crash:
            world.server.sig_exit(server.pid, signal.SIGKILL)
            assert {node for node, _ in world.core.dropped} == {world.server.node.id}
            assert len(world.core.dropped) == 2
        else:
            world.server.stop(server.pid)
            assert world.finish(server) == 0
            assert not world.core.dropped
        assert world.finish(peer) == 0
        assert not world.server.sockets


def test_faults_at_socket_calls(world: World) -> None:
    calls: list[tuple[str, bool]] = []

    def hook(process: Any, name: str, before: bool) -> None:
        calls.append((name, before))
        if (name, before) == ("send", True):
            world.server.sig_exit(process.pid, signal.SIGSEGV)

    world.server.socket_call_hook = hook
    server = world.server.spawn(echo_server)
    world.client.hosts["server"] = world.server.node.addr
    world.client.spawn(echo_client)
    assert world.finish(server) == 139
    assert calls[-3:] == [("recv", True), ("recv", False), ("send", True)]


@pytest.mark.parametrize("by_socket", [False, True])
def test_sendfile_to_a_slow_reader(tmp_path: Path, by_socket: bool) -> None:
    world = World(buffer=5000)
    path = tmp_path / "data"
    path.write_bytes(DATA)
    got = bytearray()

    async def server(argv: list[str]) -> int:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"head" * 50_000)
            with path.open("rb") as file:
                assert await loop.sendfile(writer.transport, file, 1000, 600_000) == 600_000
                assert file.tell() == 601_000
            writer.write(b"tail")
            await writer.drain()
            writer.close()
            done.set_result(None)

        listening = await asyncio.start_server(serve, "10.0.0.1", 7)
        await done
        listening.close()
        await asyncio.sleep(60)
        return 0

    async def socket_server(argv: list[str]) -> int:
        import socket

        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.setblocking(False)
        listener.bind(("10.0.0.1", 7))
        listener.listen()
        conn, _ = await loop.sock_accept(listener)
        with conn, path.open("rb") as file:
            await loop.sock_sendall(conn, b"head" * 50_000)
            assert await loop.sock_sendfile(conn, file, 1000, 600_000) == 600_000
            await loop.sock_sendall(conn, b"tail")
        await asyncio.sleep(60)
        return 0

    async def client(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 7)
        while chunk := await reader.read(3000):
            got.extend(chunk)
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        return 0

    world.server.spawn(socket_server if by_socket else server)
    assert world.finish(world.client.spawn(client)) == 0, world.lines
    assert bytes(got) == b"head" * 50_000 + DATA[1000:601_000] + b"tail"
