"""The store: what it says, and that a successor says it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from kv.service import JOURNAL, MAX_LINE, Store, parse, serve

REQUESTS = (
    b"1 GET a\n2 SET a x\n3 GET a\n4 INCR n\n5 INCR n\n6 DEL a\n7 DEL a\n8 GET a\n9 INCR s\n"
    b"10 SET s text\n11 INCR s\n12 NOTHING\n13 SET a\n5 INCR n\n"
)
ANSWERS = (
    b"1 NONE\n2 OK\n3 VALUE x\n4 VALUE 1\n5 VALUE 2\n6 OK\n7 NONE\n8 NONE\n9 VALUE 1\n"
    b"10 OK\n11 ERROR not a number\n12 ERROR no such command\n13 ERROR no such command\n5 VALUE 2\n"
)


def run(
    path: Path, body: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    """A client of a service that starts and ends with it."""

    async def main() -> None:
        store = Store(path / JOURNAL)
        over = asyncio.Event()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await serve(store, reader, writer)
            over.set()

        server = await asyncio.start_server(client, "127.0.0.1", 0, limit=MAX_LINE)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        async with asyncio.timeout(20):
            await body(reader, writer)
            writer.close()
            await writer.wait_closed()
            await over.wait()
        server.close()
        store.close()

    asyncio.run(main())


def exchange(path: Path, requests: bytes, cut: int = 1 << 16) -> bytes:
    answers = b""

    async def body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        for at in range(0, len(requests), cut):
            writer.write(requests[at : at + cut])
            await asyncio.sleep(0)
        writer.write_eof()
        answers = await reader.read()

    run(path, body)
    return answers


@pytest.mark.parametrize("cut", [1, 7, 1 << 16])
def test_requests(tmp_path: Path, cut: int) -> None:
    assert exchange(tmp_path, REQUESTS, cut) == ANSWERS


@pytest.mark.parametrize("whole", range(12))
def test_a_successor_repeats_the_answers_and_not_the_effects(tmp_path: Path, whole: int) -> None:
    """Its predecessor died after so many entries of the journal, in the middle of the next."""
    exchange(tmp_path, REQUESTS)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 11
    journal.write_bytes(b"".join(lines[:whole]) + b"".join(lines[whole : whole + 1])[:-1])
    assert exchange(tmp_path, REQUESTS) == ANSWERS
    assert journal.read_bytes() == b"".join(lines)


def test_a_store_sees_what_another_wrote(tmp_path: Path) -> None:
    """A successor that was started before its predecessor wrote anything."""
    waiting, working = Store(tmp_path / JOURNAL), Store(tmp_path / JOURNAL)
    assert working.answer("1", "INCR", ["n"]) == "VALUE 1"
    assert waiting.answer("1", "INCR", ["n"]) == "VALUE 1"
    assert waiting.answer("2", "INCR", ["n"]) == "VALUE 2"
    waiting.close()
    working.close()


@pytest.mark.parametrize(
    "line", [b"\n", b"x\n", b"1  GET\n", b"1 GET a", b"1 G\tT a\n", b"1 GET \xc3\xa4\n"]
)
def test_what_is_no_request(tmp_path: Path, line: bytes) -> None:
    assert parse(line) is None
    assert exchange(tmp_path, b"1 SET a x\n" + line) == b"1 OK\n- ERROR malformed\n"


def test_a_line_that_does_not_end(tmp_path: Path) -> None:
    assert exchange(tmp_path, b"1 SET a " + b"x" * 3 * MAX_LINE) == b"- ERROR too long\n"
