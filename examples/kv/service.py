"""A key-value store over TCP, whose writes go to a file: an ordinary asyncio program.

A request is a line, and so is its answer:

    ID SET KEY VALUE    ID OK
    ID GET KEY          ID VALUE ..., or ID NONE
    ID DEL KEY          ID OK, or ID NONE
    ID INCR KEY         ID VALUE ..., the new one
    anything else       ID ERROR ..., or - ERROR ... and the end

ID is the client's own name of the request, never used again (an idempotency key). Each answer is in
the journal, together with its effect, before it is sent; a request whose answer is there gets
that answer again and has no other effect. So a service that is started anew, and is sent again what
its predecessor was sent, does everything once and says the same, wherever the predecessor died.

One writer at a time has the journal. Left out: a journal that is ever shortened, values with spaces
in them, keys that expire.
"""

import argparse
import asyncio
import os
import re
from collections import OrderedDict
from pathlib import Path

PORT = 80
JOURNAL = "journal"
MAX_LINE = 1024
REMEMBERED = 65_536  # answers that may still be asked for again
NAME = re.compile(r"[!-~]{1,200}")


class Store:
    """What the journal says: values by key, and the last answers by request."""

    def __init__(self, path: Path) -> None:
        """Opens the journal, or begins it. OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end = 0  # of what has been read
        self.values: dict[str, str] = {}
        self.answers: OrderedDict[str, str] = OrderedDict()

    def close(self) -> None:
        """Nothing more is asked."""
        os.close(self._fd)

    def catch_up(self) -> None:
        """Reads what others wrote. A last line without its end is of a writer that died."""
        size = os.fstat(self._fd).st_size
        if size == self._end:
            return
        data = os.pread(self._fd, size - self._end, self._end)
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].decode("ascii").splitlines():
            self._apply(line)
        self._end += whole
        if whole < len(data):
            os.truncate(self._fd, self._end)

    def _apply(self, line: str) -> None:
        request, answer, *change = line.split("\t")
        self.answers[request] = answer
        if len(self.answers) > REMEMBERED:
            self.answers.popitem(last=False)
        if len(change) == 2:
            self.values[change[0]] = change[1]
        elif change:
            self.values.pop(change[0], None)

    def commit(self, request: str, answer: str, *change: str) -> str:
        """An answer and its effect: key and value, a key that goes, or nothing. The answer."""
        line = "\t".join((request, answer, *change))
        data = (line + "\n").encode("ascii")
        if os.write(self._fd, data) != len(data):
            raise OSError("the journal takes no more")  # the rest of the line never comes
        self._end += len(data)
        self._apply(line)
        return answer

    def answer(self, request: str, command: str, arguments: list[str]) -> str:
        """Carries out a request, unless it was."""
        self.catch_up()
        if request in self.answers:
            return self.answers[request]
        match command, arguments:
            case "SET", [key, value]:
                return self.commit(request, "OK", key, value)
            case "GET", [key]:
                return self.commit(request, self._value(key))
            case "DEL", [key]:
                return self.commit(request, "OK" if key in self.values else "NONE", key)
            case "INCR", [key]:
                return self._add_one(request, key)
        return "ERROR no such command"

    def _value(self, key: str) -> str:
        return f"VALUE {self.values[key]}" if key in self.values else "NONE"

    def _add_one(self, request: str, key: str) -> str:
        value = self.values.get(key, "0")
        if not value.isdecimal():
            return self.commit(request, "ERROR not a number")
        value = str(int(value) + 1)
        return self.commit(request, f"VALUE {value}", key, value)


def parse(line: bytes) -> list[str] | None:
    """The words of a request; None for what is none."""
    if not line.endswith(b"\n") or not line.isascii():
        return None
    words = line.decode("ascii").rstrip("\r\n").split(" ")
    return words if len(words) > 1 and all(map(NAME.fullmatch, words)) else None


async def serve(store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client: its requests in order."""
    try:
        while line := await reader.readline():
            words = parse(line)
            if words is None:
                writer.write(b"- ERROR malformed\n")
                break
            answer = store.answer(words[0], words[1], words[2:])
            writer.write(f"{words[0]} {answer}\n".encode("ascii"))
            await writer.drain()
    except ValueError:  # of readline: no end of the line in sight
        writer.write(b"- ERROR too long\n")
    except OSError:
        pass
    finally:
        writer.close()


async def main(argv: list[str]) -> int:
    """service [--port N] DIRECTORY: serves until it is cancelled."""
    parser = argparse.ArgumentParser(prog="kv", description="key-value store")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--host", default="0.0.0.0")
    options = parser.parse_args(argv)
    store = Store(options.directory / JOURNAL)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(store, reader, writer)

    try:
        server = await asyncio.start_server(client, options.host, options.port, limit=MAX_LINE)
        await server.serve_forever()
    finally:
        store.close()
    return 0
