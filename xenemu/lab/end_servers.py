"""End servers of the proxy's scenarios: ordinary asyncio programs on hosts of their own.

What a server answers is told by the path, and whatever it is asked twice is a complaint in the
run's report: each request of a scenario has a path of its own.

    /bytes/SEED/SIZE    content(SEED, SIZE) by Content-Length; /chunked/, /until-end/: by chunks and
                        trailers, or by the end of the stream; /last/: by length, then the end
    /count/NAME         how many requests this server has been asked, this one counted
    /PATH with a body   its SHA-256

Left out: everything that a real server does besides.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from xenemu.lab.clients import Report
from xenemu.lab.services import content, serve_echo

HTTP_PORT, ECHO_PORT = 80, 7
CHUNK = 5000
TRAILERS = b"X-Checksum: none\r\n"
Program = Callable[[list[str]], Coroutine[Any, Any, int]]
EndServer = Callable[[Report], Program]


@dataclass(slots=True)
class Asked:
    """What an end server has been asked."""

    report: Report
    paths: list[str] = field(default_factory=list)

    def note(self, path: str) -> int:
        """A request; how many there are now."""
        if path in self.paths:
            self.report.wrong.append(f"an end server was asked twice for {path}")
        self.paths.append(path)
        return len(self.paths)


async def read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    """The body of a request."""
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", "0")))
    data = b""
    while size := int(await reader.readline(), 16):
        data += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readline() != b"\r\n":
        pass
    return data


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """First line and fields of a message."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return first, dict(line.lower().split(": ", 1) for line in lines if line)


def chunked(data: bytes) -> bytes:
    """A body in chunks, with trailers."""
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + TRAILERS + b"\r\n"


def answer(path: str, number: int, body: bytes) -> tuple[bytes, bytes, bool]:
    """Fields, body as it goes out, and if the stream ends after it."""
    kind, *rest = path.strip("/").split("/")
    if body:
        data = hashlib.sha256(body).hexdigest().encode()
    elif kind == "count":
        data = f"{number} {rest[0]}".encode()
    else:
        data = content(int(rest[0]), int(rest[1]))
    if kind == "chunked":
        return b"Transfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n", chunked(data), False
    if kind == "until-end":
        return b"", data, True
    return b"Content-Length: %d\r\n" % len(data), data, kind == "last"


def web(report: Report) -> Program:
    """An HTTP/1.1 server with persistent connections."""
    asked = Asked(report)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = False
        while not last:
            try:
                first, fields = await read_head(reader)
            except asyncio.IncompleteReadError as error:
                report.check("an end server's input", error.partial, b"")
                break
            method, path, _ = first.split()
            if fields.get("expect") == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await read_body(reader, fields)
            framing, data, last = answer(path, asked.note(path), body)
            last = last or fields.get("connection") == "close"
            head = b"HTTP/1.1 200 OK\r\n" + framing + (b"Connection: close\r\n" if last else b"")
            writer.write(head + b"\r\n" + (b"" if method == "HEAD" else data))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return server(serve, HTTP_PORT, report)


def echo(report: Report) -> Program:
    """services.echo, which knows what it is to be sent."""
    return server(serve_echo, ECHO_PORT, report)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def server(serve: Serve, port: int, report: Report) -> Program:
    """A program; a connection that does not last is a complaint."""

    async def reported(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            report.broken.append(f"end server: {type(error).__name__}: {error}")
            writer.close()

    async def program(argv: list[str]) -> int:
        listening = await asyncio.start_server(reported, "0.0.0.0", port)
        await listening.serve_forever()
        return 0

    return program
