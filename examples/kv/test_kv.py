"""Tests of the key-value service and of its profile, each alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kv import profile
from kv.service import Store, answer, serve

REQUESTS = [b"SET a 1\n", b"INCR a #1\n", b"GET a\n", b"\n", b"DEL a\n", b"GET a\n"]
ANSWERS = [b"OK\n", b"= 2\n", b"= 2\n", b"ERR no such request\n", b"OK\n", b"none\n"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "journal")
    yield store
    store.close()


def test_answers(store: Store) -> None:
    answers = [answer(store, request.decode()) for request in REQUESTS]
    assert answers == [line.decode().rstrip("\n") for line in ANSWERS]
    assert answer(store, "SET a word") == "OK"
    assert answer(store, "INCR a") == "ERR not a number"
    assert answer(store, "DEL b") == "none"
    assert [answer(store, "INCR c"), answer(store, "INCR c")] == ["= 1", "= 2"]


def test_a_write_with_an_id_happens_once(store: Store, tmp_path: Path) -> None:
    assert answer(store, "INCR a #1") == "= 1"
    assert answer(store, "INCR a #1") == "= 1"
    assert answer(store, "INCR a #2") == "= 2"
    after = Store(tmp_path / "journal")  # of the process that takes over
    assert answer(after, "INCR a #2") == "= 2"
    assert answer(after, "SET a 5 #3") == "OK"
    assert answer(after, "SET a 6 #3") == "OK"
    assert answer(after, "GET a") == "= 5"
    after.close()


def test_a_write_without_an_id_happens_at_least_once(store: Store) -> None:
    assert [answer(store, "INCR a"), answer(store, "INCR a")] == ["= 1", "= 2"]


def test_a_backup_follows_its_primary(store: Store, tmp_path: Path) -> None:
    backup = Store(tmp_path / "journal")
    for turn in range(1, 4):
        assert answer(store, "INCR a") == f"= {turn}"
        assert answer(backup, "GET a") == f"= {turn}"
    assert answer(backup, "DEL a") == "OK"
    assert answer(store, "GET a") == "none"
    backup.close()


def test_a_connection(store: Store) -> None:
    async def talk() -> bytes:
        server = await asyncio.start_server(lambda r, w: serve(store, r, w), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"".join(REQUESTS) + b"QUIT\nGET a\n")
            answers = await reader.read()
            writer.close()
            return answers

    assert asyncio.run(talk()) == b"".join(ANSWERS) + b"BYE\n"


def test_a_line_that_is_too_long(store: Store) -> None:
    async def talk() -> bytes:
        server = await asyncio.start_server(lambda r, w: serve(store, r, w), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * (1 << 17))
            answers = await reader.readline()
            writer.close()
            return answers

    assert asyncio.run(talk()) == b"ERR too long\n"


class Connection:
    """A connection, and its wrapper's removals. Marks and removals find room as `room` says."""

    def __init__(self, room: Iterator[bool]) -> None:
        self.state: dict[str, Any] = {}
        self.read_so_far = self.written_so_far = 0
        self.requests: list[tuple[int, int]] = []
        self.responses: list[tuple[int, int]] = []
        self.marks = {0}
        self._room = room

    def mark(self) -> bool:
        if next(self._room):
            self.marks.add(self.written_so_far)
            return True
        return False

    def remove_request(self, begin: int, end: int) -> bool:
        assert begin < end <= self.read_so_far
        self.requests.append((begin, end))
        if next(self._room):
            return True
        self.requests.pop()
        return False

    def remove_response(self, begin: int, end: int) -> bool:
        assert begin < end <= self.written_so_far
        assert {begin, end} <= self.marks
        self.responses.append((begin, end))
        if next(self._room):
            return True
        self.requests.pop(), self.responses.pop()
        return False


class Call:
    def __init__(self, connection: Connection, data: bytes, most: int) -> None:
        self.connection, self._data, self._most = connection, data, most
        self.length = len(data)

    def bytes(self, n: int) -> bytes:
        return self._data[:n]

    def read(self) -> int:
        self.connection.read_so_far += self.length
        return self.length

    def write(self, n: int) -> int:
        taken = min(n, self._most)
        self.connection.written_so_far += taken
        return taken


def exchange(connection: Connection, pieces: list[bytes], most: Iterator[int]) -> None:
    """The service reads those pieces and answers each request as it gets it whole."""
    answers, lines = iter(ANSWERS), b""
    for piece in pieces:
        profile.read(Call(connection, piece, 0))  # type: ignore[arg-type]
        lines += piece
        out = b""
        while b"\n" in lines:
            _, _, lines = lines.partition(b"\n")
            out += next(answers)
        while out:
            n = profile.write(Call(connection, out, next(most)))  # type: ignore[arg-type]
            assert n > 0
            out = out[n:]


def ranges(lines: list[bytes]) -> list[tuple[int, int]]:
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    return list(zip([0, *ends], ends, strict=False))


def forever(value: Any) -> Iterator[Any]:
    while True:
        yield value


@pytest.mark.parametrize("seed", range(50))
def test_each_pair_is_removed_however_it_is_cut(seed: int) -> None:
    generator, stream = random.Random(seed), b"".join(REQUESTS)
    cuts = sorted(generator.sample(range(1, len(stream)), seed % 9))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    connection = Connection(forever(True))
    exchange(connection, pieces, iter(lambda: generator.randint(1, 6), None))
    assert connection.requests == ranges(REQUESTS)
    assert connection.responses == ranges(ANSWERS)


@pytest.mark.parametrize("seed", range(50))
def test_what_finds_no_room_goes_with_the_next(seed: int) -> None:
    generator = random.Random(seed)
    room = iter([generator.random() < 0.5 for _ in range(18)])
    connection = Connection(iter(lambda: next(room, True), None))
    exchange(connection, REQUESTS, forever(1000))
    for removed, lines in ((connection.requests, REQUESTS), (connection.responses, ANSWERS)):
        ends = [0, *(end for _, end in removed)]
        assert [begin for begin, _ in removed] == ends[:-1]  # without a gap
        assert set(ends) <= {0, *(end for _, end in ranges(lines))}
    assert len(connection.requests) == len(connection.responses)


def test_a_replay_goes_on_where_the_removed_part_ends() -> None:
    connection = Connection(forever(True))
    connection.read_so_far, connection.written_so_far = 100, 200
    connection.marks.add(200)
    exchange(connection, [b"".join(REQUESTS)], forever(1000))
    assert connection.requests[0] == (100, 100 + len(REQUESTS[0]))
    assert connection.responses[0] == (200, 200 + len(ANSWERS[0]))


def test_the_end_of_the_stream_and_errors_pass() -> None:
    for result in (0, -11):
        call = SimpleNamespace(read=lambda r=result: r, write=lambda n, r=result: r)
        call.bytes, call.length = lambda n: b"x\n"[:n], 2
        assert profile.read(call) == profile.write(call) == result  # type: ignore[arg-type]
