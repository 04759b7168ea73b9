"""The client side of the proxy's scenarios; end server number N is at SERVERS[N].

As in clients.py: every byte is checked, and nothing is connected twice for the same thing. The
paths tell the end servers what to answer (end_servers.py), and each is asked for once.
"""

import asyncio
import hashlib

from xenemu.lab.clients import (
    FILE,
    OTHER,
    SIZE,
    SMALL,
    UPLOAD,
    Report,
    Stream,
    close,
    connect,
    exchange,
)
from xenemu.lab.end_servers import ECHO_PORT, chunked, read_head
from xenemu.lab.services import content

SERVERS = ("10.0.1.18", "10.0.1.19")
COUNTED = 12  # requests of `dynamic` on each connection
CLIENTS = 3  # connections of `dynamic`


class Proxied:
    """One connection to the proxy."""

    def __init__(self, stream: Stream, report: Report) -> None:
        self.stream = stream
        self.reader, self.writer = stream
        self.report = report

    def send(self, method: str, server: int, path: str, body: bytes = b"", **fields: str) -> None:
        """One request."""
        host = SERVERS[server]
        lines = [f"{method} http://{host}/{path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self, what: str, expected: bytes, head: bool = False) -> None:
        """An answer: 200, and this body in whatever framing."""
        first, fields = await read_head(self.reader)
        self.report.check(f"{what}: status", first.encode(), b"HTTP/1.1 200 OK")
        if head:
            return
        if fields.get("transfer-encoding") == "chunked":
            expected = chunked(expected)
            got = await self.reader.readexactly(len(expected))
        elif "content-length" in fields:
            got = await self.reader.readexactly(int(fields["content-length"]))
        else:
            got = await self.reader.read()
        self.report.check(what, got, expected)

    async def get(self, server: int, path: str, expected: bytes) -> None:
        """GET, all of it."""
        self.send("GET", server, path)
        await self.answer(path, expected)

    async def count(self, server: int, name: str, number: int) -> None:
        """The number of this request at its server."""
        await self.get(server, f"count/{name}", f"{number} {name}".encode())


async def static(seed: int, report: Report) -> None:
    """One download."""
    http = Proxied(await connect(), report)
    file = content(seed + FILE, SIZE)
    http.send("GET", 0, f"bytes/{seed + FILE}/{SIZE}", Connection="close")
    await http.answer("GET", file)
    await close(http.stream, report)


async def dynamic(seed: int, report: Report) -> None:
    """Several connections; of each all requests, but for the order among them, are counted once.
    Server 0 is asked by one connection only, so its every answer is known."""

    async def other(number: int) -> None:
        http = Proxied(await connect(), report)
        for turn in range(COUNTED):
            name = f"{number}-{turn}"
            http.send("POST", 1, f"count/{name}", Content_Length="0")
            first, fields = await read_head(http.reader)
            report.check("status", first.encode(), b"HTTP/1.1 200 OK")
            got = await http.reader.readexactly(int(fields["content-length"]))
            count, _, whose = got.decode().partition(" ")
            report.check("the request counted", whose.encode(), name.encode())
            counts.append(int(count))
        http.writer.close()
        await http.writer.wait_closed()

    counts: list[int] = []
    http = Proxied(await connect(), report)
    others = [asyncio.create_task(other(number)) for number in range(1, CLIENTS)]
    for turn in range(COUNTED):
        await http.count(0, f"0-{turn}", turn + 1)
    http.writer.close()
    await http.writer.wait_closed()
    await asyncio.gather(*others)
    wanted = list(range(1, 1 + COUNTED * (CLIENTS - 1)))
    report.check("counts", bytes(sorted(counts)), bytes(wanted))


async def keep_alive(seed: int, report: Report) -> None:
    """Requests of all kinds to both servers on one connection, some of them pipelined."""
    file, small = content(seed + FILE, SIZE), content(seed + OTHER, SMALL)
    upload = content(seed + UPLOAD, SIZE)
    digest = hashlib.sha256(upload).hexdigest().encode()
    http = Proxied(await connect(), report)
    await http.get(0, f"bytes/{seed + OTHER}/{SMALL}", small)
    await http.get(1, f"chunked/{seed + FILE}/{SIZE}", file)
    http.send("HEAD", 0, f"bytes/{seed + FILE}/{SIZE}")
    await http.answer("HEAD", b"", head=True)
    http.send("PUT", 1, "up", upload, Content_Length=str(SIZE))
    await http.answer("PUT", digest)
    http.send("POST", 0, "chunks", chunked(upload), Transfer_Encoding="chunked")
    await http.answer("POST", digest)
    await http.get(0, f"last/{seed + OTHER}/{SMALL}", small)  # its server closes, we go on
    http.send("PUT", 0, "asked-for", Content_Length=str(SIZE), Expect="100-continue")
    first, _ = await read_head(http.reader)
    report.check("interim answer", first.encode(), b"HTTP/1.1 100 Continue")
    http.writer.write(upload)
    await http.answer("PUT that waits", digest)
    for turn in range(4):
        http.send("GET", turn % 2, f"chunked/{seed + turn}/{9 * SMALL}")
    http.send("GET", 0, f"until-end/{seed + FILE}/{SIZE}")
    for turn in range(4):
        await http.answer("pipelined GET", content(seed + turn, 9 * SMALL))
    await http.answer("last GET", file)
    await close(http.stream, report)


async def tunnel(seed: int, report: Report) -> None:
    """Full duplex through a tunnel, and a request to the other server beside it."""
    reader, writer = stream = await connect()
    writer.write(f"CONNECT {SERVERS[1]}:{ECHO_PORT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    first, _ = await read_head(reader)
    report.check("CONNECT", first.encode(), b"HTTP/1.1 200 Connection established")
    beside = asyncio.create_task(static(seed, report))
    await exchange(seed, SIZE, stream, report)
    await beside
