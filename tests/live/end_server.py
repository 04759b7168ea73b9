"""A real end server for the proxy: HTTP/1.1 on a loopback port, which logs what it is asked.

    python tests/live/end_server.py LOG

Prints its port; ends with its stdin. Every line of LOG is written before the answer begins:

    open N              a connection
    ask N NUMBER PATH   a whole request, body included: it is the NUMBERth of this server
    bad N WHY           a connection that did not end between two requests, or made no sense

    GET /bytes/SEED/SIZE/...    content(SEED, SIZE)
    GET /chunked/SEED/SIZE/...  the same, in chunks
    GET /count/...              the NUMBER of this request: it differs each time
    PUT, POST                   SHA-256 of the body
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import sys
from pathlib import Path

CHUNK = 40_000


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


class EndServer:
    """Numbers connections and requests, each once."""

    def __init__(self, log: Path) -> None:
        self.log = log.open("w", buffering=1)
        self.connections = itertools.count(1)
        self.requests = itertools.count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self.connections)
        print("open", number, file=self.log)
        try:
            while head := await self.head(reader):
                body = await self.body(reader, head)
                method, path, _ = head[0].split()
                request = next(self.requests)
                print("ask", number, request, path, file=self.log)
                writer.write(self.answer(method, path, request, body))
                await writer.drain()
        except (OSError, ValueError, EOFError) as error:
            print("bad", number, repr(error), file=self.log)
        finally:
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> list[str]:
        """The lines of a request's head; none at the end."""
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return []

    async def body(self, reader: asyncio.StreamReader, head: list[str]) -> bytes:
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        if "transfer-encoding" in fields:
            raise ValueError("no client of ours sends chunks")
        return await reader.readexactly(int(fields.get("content-length", "0")))

    def answer(self, method: str, path: str, request: int, body: bytes) -> bytes:
        kind, *rest = path.strip("/").split("/")
        if method in ("PUT", "POST"):
            data = hashlib.sha256(body).hexdigest().encode()
        elif kind == "count":
            data = b"%d\n" % request
        else:
            data = content(int(rest[0]), int(rest[1]))
        if kind != "chunked":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def main(log: Path) -> None:
    server = await asyncio.start_server(EndServer(log).serve, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
