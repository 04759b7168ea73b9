"""The key-value store's profile alone: whatever the pieces, the same pairs are removed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from kv import profile

REQUESTS = [b"1 SET a 1\n", b"2 INCR a\n", b"3 GET a\n", b"4 NO\n", b"5 DEL a\n", b"\n"]
ANSWERS = [
    b"1 OK\n",
    b"2 VALUE 2\n",
    b"3 VALUE 2\n",
    b"4 ERROR no such command\n",
    b"5 OK\n",
    b"- ERROR malformed\n",
]


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


def lines_of(removed: list[tuple[int, int]], lines: list[bytes]) -> list[tuple[int, int]]:
    """Each range as its first line and the one after its last."""
    begins = {begin: i for i, (begin, _) in enumerate(ranges(lines))}
    ends = {end: i + 1 for i, (_, end) in enumerate(ranges(lines))}
    return [(begins[begin], ends[end]) for begin, end in removed]


@pytest.mark.parametrize("seed", range(50))
def test_what_finds_no_room_goes_with_the_next(seed: int) -> None:
    generator = random.Random(seed)
    room = iter([generator.random() < 0.5 for _ in range(18)])
    connection = Connection(iter(lambda: next(room, True), None))
    exchange(connection, REQUESTS, forever(1000))
    removed = lines_of(connection.requests, REQUESTS)
    assert removed == lines_of(connection.responses, ANSWERS)  # pair by pair
    assert all(first[1] <= second[0] for first, second in pairwise(removed))


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
        call.connection = Connection(forever(True))
        call.bytes, call.length = lambda n: b"x\n"[:n], 2
        assert profile.read(call) == profile.write(call) == result  # type: ignore[arg-type]
