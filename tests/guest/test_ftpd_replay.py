"""A session that is lived through again: the same reads in the same order give the same output,
whenever they come and however the output drains.

The first run is recorded: what each read of the service gave, in which order, and how much it
had written to each connection by then. In the second there is nobody but the service: reads are
served in that order, each as soon as as much is written; what it writes is taken at once. Where
the record is cut, as by a fault, data connections end as soon as as much is written as before.
"""

import asyncio
import errno
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_core import READABLE, SOCKETS, WRITABLE, FakeCore, fail
from world import World

from xenemu.lab.clients import Report
from xenemu.lab.ftp_clients import Ftp, Listener, login, upload

SERVER = 1
CONTROL = 1  # the socket of the first control connection: 0 listens
BIG = random.Random(3).randbytes(700_000)
PROGRAM = "xenemu.guest.programs.ftpd"
STEPS = 12


@dataclass(frozen=True)
class Event:
    """What a call gave: bytes read, an errno, or the peer of a new connection."""

    kind: str
    sock: int
    result: Any
    written: dict[int, int]  # to each connection


class Recorded(FakeCore):
    """The first run."""

    def __init__(self) -> None:
        super().__init__(buffer=40_000)
        self.events: list[Event] = []
        self.sent: dict[int, bytearray] = {}
        self.ports: list[int] = []

    def note(self, kind: str, sock: int, result: Any) -> None:
        written = {each: len(data) for each, data in self.sent.items()}
        self.events.append(Event(kind, sock, result, written))

    def listen(self, node: int, port: int, backlog: int, session: int = 0) -> int:
        sock = super().listen(node, port, backlog)
        if node == SERVER:
            self.ports.append(self._get(node, sock).local[1])
        return sock

    def accept(self, node: int, sock: int) -> int:
        child = super().accept(node, sock)
        if node == SERVER:
            self.note("accept", sock, self._get(node, child).peer)
        return child

    def connected(self, node: int, sock: int) -> int:
        code = super().connected(node, sock)
        if node == SERVER and code != errno.EINPROGRESS:
            self.note("connected", sock, (code, self._get(node, sock).local))
        return code

    def recv(self, node: int, number: int, n: int) -> bytes:
        try:
            data = super().recv(node, number, n)
        except OSError as error:
            if node == SERVER and error.errno != errno.EAGAIN:
                self.note("error", number, error.errno)
            raise
        if node == SERVER:
            self.note("read", number, data)
        return data

    def send(self, node: int, number: int, data: Any) -> int:
        n = super().send(node, number, data)
        if node == SERVER:
            self.sent.setdefault(number, bytearray()).extend(memoryview(data)[:n])
        return n


class Replayed(FakeCore):
    """The second run. `room`: what a connection takes beyond what it took the first time."""

    def __init__(self, first: Recorded, room: int, piece: int, events: int) -> None:
        super().__init__()
        self.left = list(first.events[:events])
        self.cut = first.events[events].written if events < len(first.events) else None
        self.ports = list(first.ports)
        self.first, self.room, self.piece = first, room, piece
        self.sent: dict[int, bytearray] = {}

    def _next(self, sock: int) -> Event | None:
        written = len(self.sent.get(sock, b""))
        here = self._get(SERVER, sock)
        open_data = sock > CONTROL and not here.listening and not here.state
        if not self.left and self.cut is not None and open_data:
            done = written >= self.cut.get(sock, 0)
            return Event("read", sock, b"", {}) if done else None
        event = self.left[0] if self.left else None
        mine = event is not None and event.sock == sock
        return event if mine and written >= event.written.get(sock, 0) else None

    def take(self, sock: int, *kinds: str) -> Event:
        event = self._next(sock)
        if event is None or event.kind not in kinds:
            fail(errno.EAGAIN)
        self._add(SOCKETS, SERVER)
        return self.left.pop(0) if self.left else event

    def listen(self, node: int, port: int, backlog: int, session: int = 0) -> int:
        assert not port or port == self.ports[0]
        return super().listen(node, self.ports.pop(0), backlog)

    def accept(self, node: int, sock: int) -> int:
        event = self.take(sock, "accept")
        child = self._new(node, self._get(node, sock).local)
        child.peer = event.result
        return child.number

    def connected(self, node: int, sock: int) -> int:
        event = self._next(sock)
        if event is None or event.kind != "connected":
            return errno.EINPROGRESS if self._get(node, sock).state else 0
        code, self._get(node, sock).local = self.take(sock, "connected").result
        self._get(node, sock).state = code
        return int(code)

    def _syn(self, sock: Any) -> None:
        self._add(SOCKETS, SERVER)

    def recv(self, node: int, number: int, n: int) -> bytes:
        event = self.take(number, "read", "error")
        if event.kind == "error":
            fail(event.result)
        assert len(event.result) <= n
        return bytes(event.result)

    def send(self, node: int, number: int, data: Any) -> int:
        sent = self.sent.setdefault(number, bytearray())
        room = len(self.first.sent.get(number, b"")) + self.room - len(sent)
        piece = bytes(data)[: min(self.piece, room)]
        if not piece:
            fail(errno.EAGAIN)
        sent += piece
        self._add(SOCKETS, SERVER)
        return len(piece)

    def close_socket(self, node: int, number: int) -> None:
        del self.nodes[node].socks[number]

    def _bits(self, sock: Any) -> int:
        bits = READABLE if self._next(sock.number) is not None else 0
        waits = sock.listening or (sock.state and not bits)
        return bits | (0 if waits else WRITABLE)

    def ready(self, node: int) -> list[tuple[int, int]]:
        return [(sock.number, self._bits(sock)) for sock in self.nodes[node].socks.values()]


class Person:
    """Does things in a session, some of them rudely."""

    def __init__(self, ftp: Ftp, seed: int) -> None:
        self.ftp = ftp
        self.random = random.Random(seed)
        self.names = 0

    async def pause(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0, 0.0005, 0.002, 0.01)))

    async def act(self) -> None:
        actions = (
            self.look, self.list, self.retr, self.retr, self.retr_and_stop, self.stor,
            self.stor_and_stop, self.active, self.refused,
        )  # fmt: skip
        for _ in range(STEPS):
            await self.random.choice(actions)()
        self.send("QUIT")
        while await self.ftp.reader.read(10_000):
            pass
        self.ftp.writer.close()

    def send(self, *lines: str) -> None:
        self.ftp.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def replies(self, *codes: int) -> None:
        for code in codes:
            line = await self.ftp.reader.readuntil(b"\r\n")
            assert line.startswith(b"%d " % code), (code, line)

    async def look(self) -> None:
        self.send("NOOP", "PWD", "SIZE big", "NOPE")
        await self.replies(200, 257, 213, 500)

    async def open(self, *lines: str) -> Any:
        stream = await self.ftp.passive(self.random.random() < 0.5)
        await self.pause()
        self.send(*lines)
        await self.replies(150)
        return stream

    async def list(self) -> None:
        reader, writer = await self.open("LIST big")
        assert (await reader.read()).endswith(b" big\r\n")
        writer.close()
        await self.replies(226)

    async def retr(self) -> None:
        at = self.random.choice((0, 1, 650_000, 699_999, 700_000))
        self.send(f"REST {at}")
        await self.replies(350)
        early = self.random.choice(((), ("NOOP", "PWD")))
        reader, writer = await self.open("RETR big", *early)
        await self.pause()
        assert await reader.read() == BIG[at:]
        writer.close()
        await self.replies(226, *((200, 257) if early else ()))

    async def retr_and_stop(self) -> None:
        reader, writer = await self.open("RETR big")
        await reader.readexactly(self.random.choice((1, 1000, 100_000, 600_000)))
        if self.random.random() < 0.5:
            writer.transport.pause_reading()
            await self.pause()
            self.send("NOOP", "ABOR")
            await self.any_end(b"200 ", 2)
            writer.transport.resume_reading()
            while await reader.read(50_000):
                pass
            writer.close()
        else:
            writer.close()
            await self.any_end(b"", 1)

    async def any_end(self, after: bytes, count: int) -> None:
        """426 or 226 for the transfer, as it happened; then what comes after."""
        seen = [await self.ftp.reader.readuntil(b"\r\n") for _ in range(count)]
        assert seen[0][:4] in (b"426 ", b"226 "), seen
        if after:
            last = await self.ftp.reader.readuntil(b"\r\n")
            assert {seen[1][:4], last[:4]} == {after, b"226 "}, (seen, last)

    async def stor(self) -> None:
        self.names += 1
        command = self.random.choice((f"STOR new{self.names}", "APPE log"))
        data = self.random.randbytes(self.random.choice((0, 1, 5000, 200_000)))
        stream = await self.open(command)
        await self.pause()
        await upload(stream, data, self.ftp.report)
        await self.replies(226)

    async def stor_and_stop(self) -> None:
        self.names += 1
        _, writer = await self.open(f"STOR half{self.names}")
        writer.write(b"x" * self.random.choice((0, 10, 30_000)))
        await self.pause()
        self.send("ABOR")
        await self.pause()
        writer.close()
        await self.any_end(b"", 2)

    async def active(self) -> None:
        async with Listener(self.ftp.report) as listener:
            reader, writer = await self.ftp.active(listener, "RETR big", extended=True)
            assert await reader.read() == BIG
            writer.close()
        await self.ftp.reply(226)

    async def refused(self) -> None:
        self.send("EPRT |1|10.0.0.9|4000|", "LIST")
        await self.replies(200, 150, 425)


def first_run(root: Path, seed: int) -> Recorded:
    world = recorded_world(Recorded())
    world.server.spawn(PROGRAM, [str(root)])
    world.sleep(0.1)

    async def client(argv: list[str]) -> int:
        report = Report()
        ftp = await login(report)
        await Person(ftp, seed).act()
        assert not report.wrong
        return 0

    assert world.finish(world.client.spawn(client), 600) == 0, world.lines
    world.sleep(1)
    assert not world.lines
    world.machine.close()
    core: Recorded = world.core
    return core


def recorded_world(core: FakeCore) -> World:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("world.FakeCore", lambda: core)
        return World()


def second_run(root: Path, again: Replayed) -> None:
    world = recorded_world(again)
    world.server.spawn(PROGRAM, [str(root)])
    world.sleep(5)
    assert not world.lines and not again.left
    world.machine.close()


@pytest.mark.parametrize("seed", range(12))
def test_same_reads_same_output(tmp_path: Path, seed: int) -> None:
    (tmp_path / "big").write_bytes(BIG)
    first = first_run(tmp_path, seed)
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    for room, piece in ((1 << 30, 1 << 30), (40_000, 3000), (40_000, 1 << 30)):
        again = Replayed(first, room, piece, len(first.events))
        second_run(tmp_path, again)
        assert set(again.sent) == set(first.sent)
        assert again.sent[CONTROL] == first.sent[CONTROL]
        for sock, sent in first.sent.items():
            assert again.sent[sock].startswith(sent)
        assert files == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}


@pytest.mark.parametrize("seed", range(12))
def test_cut_record(tmp_path: Path, seed: int) -> None:
    (tmp_path / "big").write_bytes(BIG)
    first = first_run(tmp_path, seed)
    for events in random.Random(seed).sample(range(1, len(first.events)), 12):
        again = Replayed(first, 40_000, 1 << 30, events)
        second_run(tmp_path, again)
        for sock, written in first.events[events].written.items():
            assert again.sent[sock][:written] == first.sent[sock][:written]
