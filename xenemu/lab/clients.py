"""The client side of the scenarios: ordinary asyncio programs that check every byte they get.

None of them connects twice for the same thing: whatever happens to the service, the one
connection must do.
"""

import asyncio
import errno
import hashlib
import os.path
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from xenemu.lab.services import HEADER, PORT, RIGHT, SHORT_ANSWER, content

SERVICE = "10.0.0.1"
SIZE = 256 * 1024
SMALL = 1000
FIRST_PORT = 20_000
IDLE = 200  # connections of `idle`
AT_ONCE = 4  # connects at a time: fewer than the service's backlog
WORKERS, TURNS = 24, 4  # of `many`: fixed local ports, connections on each of them
PORT_WAIT = 0.001  # seconds
TURN_PAUSE = 0.02  # what the link still holds of the old connection has arrived
FILE, OTHER, UPLOAD = 0, 1, 2  # seeds, added to that of the run


@dataclass(slots=True)
class Report:
    """What a client found: bytes that are wrong, and connections that did not last."""

    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, what: str, got: bytes, expected: bytes) -> None:
        """Notes where two byte strings differ."""
        if got != expected:
            same = len(os.path.commonprefix([got, expected]))
            self.wrong.append(f"{what}: {len(got)} of {len(expected)} bytes, right up to {same}")


Client = Callable[[int, Report], Awaitable[None]]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def close(stream: Stream, report: Report) -> None:
    """The service's end of the stream, then our own."""
    reader, writer = stream
    report.check("after the end", await reader.read(), b"")
    writer.close()
    await writer.wait_closed()


class Http:
    """One HTTP/1.1 connection."""

    def __init__(self, stream: Stream, report: Report) -> None:
        self.stream = stream
        self.reader, self.writer = stream
        self.report = report

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """One request."""
        lines = [f"{method} /{path} HTTP/1.1", f"Host: {SERVICE}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "PUT":
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self, status: int, body: bool = True) -> bytes:
        """The body of an answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.report.check("status", first.split()[1].encode(), str(status).encode())
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        return await self.reader.readexactly(int(headers["content-length"]) if body else 0)

    async def get(self, path: str, expected: bytes, **headers: str) -> None:
        """GET, all of it."""
        self.send("GET", path, b"", headers)
        self.report.check(f"GET {path}", await self.answer(200), expected)

    async def put(self, path: str, body: bytes, **headers: str) -> None:
        """PUT; the service answers the SHA-256 of what it stored."""
        self.send("PUT", path, body, headers)
        await self.writer.drain()
        digest = hashlib.sha256(body).hexdigest().encode() + b"\n"
        self.report.check(f"PUT {path}", await self.answer(200), digest)


async def connect(local_port: int = 0) -> Stream:
    """A connection to the service; waits until a local port that was asked for is free."""
    local = ("0.0.0.0", local_port) if local_port else None
    while True:
        try:
            return await asyncio.open_connection(SERVICE, PORT, local_addr=local)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        await asyncio.sleep(PORT_WAIT)


async def get(seed: int, report: Report) -> None:
    """One download."""
    http = Http(await connect(), report)
    await http.get("file", content(seed + FILE, SIZE), Connection="close")
    await close(http.stream, report)


async def put(seed: int, report: Report) -> None:
    """One upload."""
    http = Http(await connect(), report)
    await http.put("up", content(seed + UPLOAD, SIZE), Connection="close")
    await close(http.stream, report)


async def keep_alive(seed: int, report: Report) -> None:
    """Requests of all kinds on one connection, the last two pipelined."""
    file, upload = content(seed + FILE, SIZE), content(seed + UPLOAD, SIZE)
    other = content(seed + OTHER, SMALL)
    http = Http(await connect(), report)
    await http.get("small", other)
    await http.get("file", file)
    http.send("HEAD", "file", b"", {})
    await http.answer(200, body=False)
    await http.put("up", upload)
    http.send("GET", "file", b"", {"Range": "bytes=100000-100999"})
    report.check("range", await http.answer(206), file[100_000:101_000])
    await http.put("little", other)
    http.send("GET", "nothing", b"", {})
    await http.answer(404)
    http.send("GET", "file", b"", {})
    http.send("GET", "small", b"", {"Connection": "close"})
    report.check("pipelined GET", await http.answer(200), file)
    report.check("last GET", await http.answer(200), other)
    await close(http.stream, report)


async def exchange(seed: int, size: int, stream: Stream, report: Report) -> None:
    """Full duplex with `services.echo`: writes all the time, and reads what comes back."""
    reader, writer = stream
    data = content(seed, size)

    async def write() -> None:
        writer.write(HEADER.pack(seed, size))
        for at in range(0, size, 16_384):
            writer.write(data[at : at + 16_384])
            await writer.drain()

    writing = asyncio.create_task(write())
    report.check("echo", await reader.readexactly(size), data)
    await writing
    report.check("verdict of the service", await reader.readexactly(1), RIGHT)
    await close(stream, report)


async def echo(seed: int, report: Report) -> None:
    """One full-duplex connection."""
    await exchange(seed, SIZE, await connect(), report)


async def half_close(seed: int, report: Report) -> None:
    """Everything is sent, and FIN, before the service says anything."""
    reader, writer = stream = await connect()
    data = content(seed, SIZE)
    writer.write(HEADER.pack(seed, SIZE) + data)
    writer.write_eof()
    report.check("answer", await reader.readexactly(SIZE), data[::-1])
    report.check("verdict of the service", await reader.readexactly(1), RIGHT)
    await close(stream, report)


async def read_on(seed: int, report: Report) -> None:
    """The service ends its stream long before we end ours: when it has read that, it can tell
    us on another connection only."""
    reader, writer = await connect()
    data = content(seed + UPLOAD, SIZE)

    async def write() -> None:
        writer.write(HEADER.pack(seed + UPLOAD, SIZE))
        for at in range(0, SIZE, 16_384):
            writer.write(data[at : at + 16_384])
            await writer.drain()
        writer.write_eof()

    writing = asyncio.create_task(write())
    report.check("answer", await reader.read(), data[:SHORT_ANSWER])
    await writing
    writer.close()
    await writer.wait_closed()
    reader, writer = stream = await connect()
    writer.write(HEADER.pack(seed + UPLOAD, 0))
    report.check("what the service says", await reader.readexactly(1), RIGHT)
    await close(stream, report)


async def other_answer(seed: int, report: Report) -> None:
    """Whatever comes is of one incarnation of the service, also when the connection breaks."""
    reader, writer = stream = await connect()
    writer.write(b"?")
    got = b""
    try:
        while piece := await reader.read(SIZE):
            got += piece
    finally:
        if len(got) > HEADER.size:
            answer, size = HEADER.unpack_from(got)
            whole = content(answer, size)
            report.check("answer", got[HEADER.size :], whole[: len(got) - HEADER.size])
    report.check("its size", b"%d" % len(got), b"%d" % (HEADER.size + size))
    await close(stream, report)


async def idle(seed: int, report: Report) -> None:
    """Many connections that wait for the last of them, and then each say a little."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def opened() -> Stream:
        async with gate:
            return await connect()

    streams = await asyncio.gather(*(opened() for _ in range(IDLE)))
    await asyncio.sleep(0.1)
    each = (exchange(seed + i, SMALL, stream, report) for i, stream in enumerate(streams))
    await asyncio.gather(*each)


async def many(seed: int, report: Report) -> None:
    """Connections that come and go all the time, each local port used again and again."""

    async def worker(number: int) -> None:
        for turn in range(TURNS):
            stream = await connect(FIRST_PORT + number)
            await exchange(seed + number * TURNS + turn, 3 * SMALL, stream, report)
            await asyncio.sleep(TURN_PAUSE)

    await asyncio.gather(*(worker(number) for number in range(WORKERS)))
