"""A key-value service over TCP, by lines. Its store is a journal: a file that outlives a process.

    GET key                 = value | none
    SET key value [#id]     OK
    INCR key [#id]          = value
    DEL key [#id]           OK | none
    QUIT                    BYE, and the end of the connection
    (else)                  ERR what is wrong

A request that a fault cuts off between its effect and its answer is made again: effects happen at
least once. A write that its client gave an id is answered from the journal when it comes again, so
that one happens once. Left out: a journal is never shortened or mended, ids are never forgotten.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path

PORT = 7000
JOURNAL = "kv.journal"
Change = Callable[[str | None], tuple[str | None, str]]  # of a value: the next one, the answer


class Store:
    """What the journal says. Several processes may have it open: a backup follows its primary."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab+", buffering=0)
        self._at = 0
        self._values: dict[str, str] = {}
        self._answers: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """The value of a key."""
        self._follow()
        return self._values.get(key)

    def change(self, key: str, change: Change, number: str | None) -> str:
        """Changes a value, once for each number; the answer."""
        self._follow()
        if number in self._answers:
            return self._answers[number]
        value, answer = change(self._values.get(key))
        self._file.write(json.dumps([number, key, value, answer]).encode() + b"\n")
        self._follow()
        return answer

    def close(self) -> None:
        """The file."""
        self._file.close()

    def _follow(self) -> None:
        self._file.seek(self._at)
        for line in self._file.readall().splitlines(keepends=True):
            number, key, value, answer = json.loads(line)
            self._at += len(line)
            self._values[key] = value
            if value is None:
                del self._values[key]
            if number is not None:
                self._answers[number] = answer


def increment(value: str | None) -> tuple[str | None, str]:
    """One more; nothing counts as 0."""
    try:
        more = str(int(value or 0) + 1)
    except ValueError:
        return value, "ERR not a number"
    return more, f"= {more}"


def delete(value: str | None) -> tuple[None, str]:
    """Nothing, whatever there was."""
    return None, "none" if value is None else "OK"


def answer(store: Store, line: str) -> str:
    """Of one request, but QUIT."""
    words = line.split()
    number = words.pop() if len(words) > 2 and words[-1].startswith("#") else None
    match words:
        case ["GET", key] if number is None:
            value = store.get(key)
            return "none" if value is None else f"= {value}"
        case ["SET", key, value]:
            return store.change(key, lambda _: (value, "OK"), number)
        case ["INCR", key]:
            return store.change(key, increment, number)
        case ["DEL", key]:
            return store.change(key, delete, number)
    return "ERR no such request"


async def serve(store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client, request by request."""
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            text = line.decode(errors="replace").strip()
            writer.write((answer(store, text) if text != "QUIT" else "BYE").encode() + b"\n")
            await writer.drain()
            if text == "QUIT":
                break
    except ValueError:  # a line beyond the reader's limit
        writer.write(b"ERR too long\n")
    finally:
        writer.close()


async def main(argv: list[str]) -> int:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="kv")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("directory", type=Path, help="where the journal is")
    options = parser.parse_args(argv)
    store = Store(options.directory / JOURNAL)
    server = await asyncio.start_server(
        lambda reader, writer: serve(store, reader, writer), "0.0.0.0", options.port
    )
    async with server:
        await server.serve_forever()
    return 0
