"""Services of the scenarios that do not speak HTTP: small, ordinary asyncio programs.

A connection begins with a header: seed and size of the stream that the client sends. The
service checks that stream too, and its last byte says whether it was right.
"""

import asyncio
import os
import random
import struct
from functools import partial
from pathlib import Path

HEADER = struct.Struct("!QQ")
PORT = 80
CHUNK = 32 * 1024
OTHER_SIZE = 256 * 1024
SHORT_ANSWER = 1000
SLOW_CHUNK, PAUSE = 16 * 1024, 0.003  # bytes, seconds: of who reads slowly, in a replay too
READ = "read"  # the file in which `read_on` keeps its input
RIGHT, WRONG = b"+", b"-"


def content(seed: int, size: int) -> bytes:
    """The bytes that belong to a seed."""
    return random.Random(seed).randbytes(size)


async def serve_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what it gets, while it gets it; then the verdict."""
    seed, size = HEADER.unpack(await reader.readexactly(HEADER.size))
    expected, at, verdict = content(seed, size), 0, RIGHT
    while at < size:
        piece = await reader.read(min(CHUNK, size - at))
        if not piece or piece != expected[at : at + len(piece)]:
            verdict = WRONG
        if not piece:
            break
        at += len(piece)
        writer.write(piece)
        await writer.drain()
    writer.write(verdict)
    await close(writer)


async def serve_after_eof(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as much as it got, backwards, once the client has ended its direction."""
    seed, size = HEADER.unpack(await reader.readexactly(HEADER.size))
    data = await reader.read()
    writer.write(data[::-1])
    writer.write(RIGHT if data == content(seed, size) else WRONG)
    await close(writer)


async def serve_other_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with a stream that each incarnation of the service chooses anew."""
    await reader.readexactly(1)
    seed = int.from_bytes(os.urandom(8), "big")
    writer.write(HEADER.pack(seed, OTHER_SIZE) + content(seed, OTHER_SIZE))
    await writer.drain()
    await close(writer)


def keep(path: Path, data: bytes, right: bool) -> None:
    """Stores what was read. What was read wrong stays, whoever reads it right later."""
    if right and path.exists():
        return
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


async def serve_read_on(
    root: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answers, ends its output, and reads on, slowly; keeps what it has read. A header of size 0
    asks, on another connection, to be told when something is kept."""
    seed, size = HEADER.unpack(await reader.readexactly(HEADER.size))
    path = root / READ
    if not size:
        while not path.exists():
            await asyncio.sleep(PAUSE)
        writer.write(RIGHT)
        await close(writer)
        return
    expected, data = content(seed, size), b""
    writer.write(expected[:SHORT_ANSWER])
    writer.write_eof()
    try:
        while piece := await reader.read(SLOW_CHUNK):
            data += piece
            await asyncio.sleep(PAUSE)
    except OSError as error:
        data += repr(error).encode()
    keep(path, data, data == expected)
    await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    """All is sent, then FIN."""
    writer.close()
    await writer.wait_closed()


async def echo(argv: list[str]) -> int:
    """echo [BACKLOG]: serves until it is cancelled."""
    backlog = int(argv[0]) if argv else 100
    server = await asyncio.start_server(serve_echo, "0.0.0.0", PORT, backlog=backlog)
    await server.serve_forever()
    return 0


async def other_answer(argv: list[str]) -> int:
    """other_answer: serves until it is cancelled."""
    server = await asyncio.start_server(serve_other_answer, "0.0.0.0", PORT)
    await server.serve_forever()
    return 0


async def after_eof(argv: list[str]) -> int:
    """after_eof: serves until it is cancelled."""
    server = await asyncio.start_server(serve_after_eof, "0.0.0.0", PORT)
    await server.serve_forever()
    return 0


async def read_on(argv: list[str]) -> int:
    """read_on ... ROOT: serves until it is cancelled."""
    serve = partial(serve_read_on, Path(argv[-1]))
    server = await asyncio.start_server(serve, "0.0.0.0", PORT, limit=SLOW_CHUNK)
    await server.serve_forever()
    return 0
