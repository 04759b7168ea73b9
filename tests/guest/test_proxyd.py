"""The proxy as an ordinary asyncio program on loopback: shapes of messages, byte by byte.

A scripted end server says what a test wants it to say, and keeps what it got.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from xenemu.guest.programs.proxyd.server import Server

BIG = random.Random(5).randbytes(400_000)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
VIA = b"Via: 1.1 px\r\n"


@dataclass
class Proxy:
    """A proxy, an end server, and what came to the server, by connection."""

    server: Server
    end_port: int = 0
    got: list[bytearray] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ending: set[asyncio.Task[None] | None] = field(default_factory=set)
    script: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = (
        None
    )

    def url(self, path: str = "/") -> bytes:
        return f"http://127.0.0.1:{self.end_port}{path}".encode()

    @property
    def host(self) -> bytes:
        return b"Host: 127.0.0.1:%d\r\n" % self.end_port

    async def connect(self) -> Stream:
        stream = await asyncio.open_connection(*self.server.address)
        self.writers.append(stream[1])
        return stream

    async def ends(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.got)
        self.got.append(bytearray())
        self.writers.append(writer)
        self.ending.add(asyncio.current_task())
        assert self.script is not None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self.script(number, reader, writer)
        writer.close()

    async def head(self, number: int, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.got[number] += head
        return head

    async def body(self, number: int, reader: asyncio.StreamReader, size: int) -> bytes:
        data = await reader.readexactly(size)
        self.got[number] += data
        return data


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    made = Proxy(Server("127.0.0.1", 0, "px"))
    end = await asyncio.start_server(made.ends, "127.0.0.1", 0)
    made.end_port = end.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await made.server.close()
        end.close()
        for writer in made.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.gather(*(task for task in made.ending if task), return_exceptions=True)


def run(body: Callable[[Proxy], Awaitable[None]], seconds: float = 30) -> None:
    async def main() -> None:
        async with asyncio.timeout(seconds), proxy() as made:
            await body(made)

    asyncio.run(main())


def says(made: Proxy, *answers: bytes) -> None:
    """Each connection: a head, an answer, ..., and the end."""

    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for answer in answers:
            await made.head(number, reader)
            writer.write(answer)
            await writer.drain()

    made.script = script


async def ask(made: Proxy, request: bytes, cut: int = 0) -> bytes:
    """All that comes, the client's end being sent after its request; `cut`: in such pieces."""
    reader, writer = await made.connect()
    for at in range(0, len(request), cut or len(request)):
        writer.write(request[at : at + (cut or len(request))])
        await asyncio.sleep(0)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


CHUNKS = b"5;x=y\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
# What the server says to a GET, and what the client gets.
ANSWERS = {
    "length": (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + VIA + b"\r\nok"),
    "chunked": (
        b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + CHUNKS,
        b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
        + VIA
        + b"\r\n"
        + CHUNKS,
    ),
    "until the end": (
        b"HTTP/1.1 200 OK\r\n\r\nrest",
        b"HTTP/1.1 200 OK\r\n" + VIA + b"Connection: close\r\n\r\nrest",
    ),
    "of 1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.0 px\r\n\r\nok",
    ),
    "no content": (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n" + VIA + b"\r\n",
    ),
    "not modified": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n" + VIA + b"\r\n",
    ),
    "hints first": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" + VIA + b"\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + VIA + b"\r\nok",
    ),
    "no reason": (
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n" + VIA + b"\r\n",
    ),
    "hop by hop": (
        b"HTTP/1.1 200 OK\r\nconnection: x-a, content-length\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n"
        b"X-B:  2 \r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\nDate: now\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-B: 2\r\nContent-Length: 2\r\nDate: now\r\n" + VIA + b"\r\nok",
    ),
    "folded": (
        b"HTTP/1.1 200 OK\r\nX-A: 1,\r\n\t 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: 1, 2\r\nContent-Length: 2\r\n" + VIA + b"\r\nok",
    ),
    "both framings": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + VIA + b"\r\n0\r\n\r\n",
    ),
    "cut off": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + VIA + b"\r\nshort",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    answer, expected = ANSWERS[name]

    async def body(made: Proxy) -> None:
        says(made, answer)
        assert (
            await ask(made, b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n") == expected
        )

    run(body)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_byte_by_byte(name: str) -> None:
    """Both streams cut everywhere: the same bytes come out."""
    answer, expected = ANSWERS[name]

    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            for byte in answer:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.0005)

        made.script = script
        request = b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n"
        assert await ask(made, request, 1) == expected

    run(body)


BAD_ANSWERS = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/2 200 OK\r\n\r\n",
    b"SSH-2.0-x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nNo Colon\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=lambda a: a[:40].decode())
def test_bad_answers_are_502(answer: bytes) -> None:
    async def body(made: Proxy) -> None:
        says(made, answer)
        got = await ask(made, b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n")
        assert got.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert len(made.got) == 1

    run(body)


@pytest.mark.parametrize(
    ("request_line", "fields", "status"),
    [
        (b"GET / HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nHost: b\r\n", 400),
        (b"GET http://a/#x HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://u:p@a/ HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://a:0/ HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://a:70000/ HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http:/// HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET  http://a/ HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://a/\xff HTTP/1.1", b"Host: a\r\n", 400),
        (b"GET http://a/", b"Host: a\r\n", 400),
        (b"GET http://a/ HTTP/2.0", b"Host: a\r\n", 505),
        (b"GET https://a/ HTTP/1.1", b"Host: a\r\n", 501),
        (b"GET http://a/ HTTP/1.1", b"Host : a\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\n X: 1\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nX: a\rb\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nX: a\0b\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nX: 1\n", 400),
        (b"POST http://a/ HTTP/1.1", b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"POST http://a/ HTTP/1.1", b"Host: a\r\nContent-Length: +1\r\n", 400),
        (
            b"POST http://a/ HTTP/1.1",
            b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (b"POST http://a/ HTTP/1.1", b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        (b"POST http://a/ HTTP/1.0", b"Transfer-Encoding: chunked\r\n", 400),
        (b"CONNECT a HTTP/1.1", b"Host: a\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1", b"Host: a\r\nContent-Length: 3\r\n", 400),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nVia: 1.1 other, 1.1 PX\r\n", 508),
        (b"GET http://a/ HTTP/1.1", b"Host: a\r\nX: " + b"x" * 70_000 + b"\r\n", 431),
        (b"GET http://no.such.invalid/ HTTP/1.1", b"Host: a\r\nConnection: close\r\n", 502),
        (b"OPTIONS http://a HTTP/1.1", b"Host: a\r\nMax-Forwards: 0\r\n", 200),
        (b"TRACE http://a HTTP/1.1", b"Host: a\r\nMax-Forwards: 0\r\n", 501),
    ],
)
def test_what_is_refused(request_line: bytes, fields: bytes, status: int) -> None:
    async def body(made: Proxy) -> None:
        says(made)
        got = await ask(made, request_line + b"\r\n" + fields + b"\r\n")
        assert got.startswith(b"HTTP/1.1 %d " % status), got
        assert got.count(b"HTTP/1.1") == 1 and b"Connection: close" in got
        assert not made.got

    run(body)


def test_what_a_server_gets() -> None:
    async def body(made: Proxy) -> None:
        says(made, OK)
        await ask(
            made,
            b"\r\nGET %s HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n"
            b"TE: trailers\r\nConnection: TE, x-own\r\nX-Own: 1\r\n"
            b"Proxy-Authorization: Basic x\r\nX-Text: caf\xe9\r\nVia: 1.0 other\r\n"
            b"Upgrade: h2c\r\n\r\n" % made.url("/a%20b?c=d"),
        )
        assert made.got == [
            b"GET /a%20b?c=d HTTP/1.1\r\n" + made.host + b"X-Text: caf\xe9\r\nVia: 1.0 other\r\n"
            b"Via: 1.1 px\r\n\r\n"
        ]
        await ask(made, b"GET %s HTTP/1.0\r\nAccept: */*\r\n\r\n" % made.url("?q"))
        assert (
            made.got[1]
            == b"GET /?q HTTP/1.0\r\n" + made.host + b"Accept: */*\r\nVia: 1.0 px\r\n\r\n"
        )
        await ask(
            made,
            b"OPTIONS http://127.0.0.1:%d HTTP/1.1\r\nHost: x\r\nMax-Forwards: 3\r\n"
            b"Connection: close\r\n\r\n" % made.end_port,
        )
        assert made.got[2] == (
            b"OPTIONS * HTTP/1.1\r\n"
            + made.host
            + b"Max-Forwards: 2\r\n"
            + VIA
            + b"Connection: close\r\n\r\n"
        )

    run(body)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_pipelined_requests_on_one_connection(cut: int) -> None:
    async def body(made: Proxy) -> None:
        says(made, OK, OK.replace(b"ok", b"o2"), OK.replace(b"ok", b"o3"))
        get = b"GET %s HTTP/1.1\r\n" + made.host + b"\r\n"
        got = await ask(made, b"".join(get % made.url(f"/{i}") for i in range(3)), cut)
        assert [part[-2:] for part in got.split(b"HTTP/1.1 200 OK")[1:]] == [b"ok", b"o2", b"o3"]
        assert len(made.got) == 1 and made.got[0].count(b"GET /") == 3

    run(body)


def test_head_has_no_body() -> None:
    async def body(made: Proxy) -> None:
        says(made, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", OK)
        head = b"HEAD %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n"
        get = b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n"
        got = await ask(made, head + get)
        assert got == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n" + VIA + b"\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + VIA + b"\r\nok"
        )

    run(body)


BODIES = {
    "length": (b"Content-Length: %d\r\n" % len(BIG), BIG),
    "chunked": (
        b"Transfer-Encoding: chunked\r\n",
        b"%x\r\n%b\r\n3 ; a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" % (len(BIG), BIG),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_upload_and_download_at_once(name: str) -> None:
    """The server echoes while it is sent to: neither direction waits for the other."""
    framing, data = BODIES[name]

    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
            left = len(data)
            while left:
                piece = await reader.read(min(left, 10_000))
                made.got[number] += piece
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
            await reader.read()

        made.script = script
        reader, writer = await made.connect()
        writer.write(b"POST %s HTTP/1.1\r\n" % made.url() + made.host + framing + b"\r\n" + data)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(data)) == data
        writer.close()
        assert made.got[0].endswith(framing + VIA + b"\r\n" + data)

    run(body)


def test_continue_is_asked_for() -> None:
    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            assert b"Expect: 100-continue\r\n" in await made.head(number, reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await made.body(number, reader, 4) == b"data"
            writer.write(OK)
            await reader.read()

        made.script = script
        reader, writer = await made.connect()
        head = b"PUT %s HTTP/1.1\r\n" % made.url() + made.host + b"Expect: 100-continue\r\n"
        writer.write(head + b"Content-Length: 4\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n" + VIA + b"\r\n"
        writer.write(b"data")
        answer = await reader.readuntil(b"ok")
        assert b"Connection: close" not in answer
        writer.close()

    run(body)


@pytest.mark.parametrize("sends_anyway", [True, False])
def test_an_answer_instead_of_continue_ends_the_connection(sends_anyway: bool) -> None:
    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
            made.got[number] += await reader.read()

        made.script = script
        reader, writer = await made.connect()
        head = b"PUT %s HTTP/1.1\r\n" % made.url() + made.host + b"Expect: 100-continue\r\n"
        writer.write(head + b"Content-Length: 4\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 417 No\r\n") and b"Connection: close\r\n" in answer
        if sends_anyway:
            writer.write(b"data")
        writer.close()
        while not made.got[0].endswith(b"data" if sends_anyway else b"\r\n\r\n"):
            await asyncio.sleep(0.01)

    run(body)


def test_a_server_that_closes_idle_connections_is_asked_once_more() -> None:
    """No request is lost, and none that may have an effect is sent twice."""

    async def body(made: Proxy) -> None:
        closed = [asyncio.Event() for _ in range(9)]

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            writer.write(OK)
            await writer.drain()
            writer.close()
            closed[number].set()

        made.script = script
        reader, writer = await made.connect()
        for number in range(3):
            writer.write(b"GET %s HTTP/1.1\r\n" % made.url(f"/{number}") + made.host + b"\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
            await closed[number].wait()
        writer.write(
            b"POST %s HTTP/1.1\r\n" % made.url("/p") + made.host + b"Content-Length: 0\r\n\r\n"
        )
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        heads = [bytes(got).split(b" HTTP")[0] for got in made.got]
        assert heads == [b"GET /0", b"GET /1", b"GET /2", b"POST /p"]

    run(body)


def test_an_unasked_for_408_is_no_answer() -> None:
    async def body(made: Proxy) -> None:
        said = asyncio.Event()

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            writer.write(OK)
            if not number:
                writer.write(
                    b"HTTP/1.1 408 Too Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                )
                await writer.drain()
                said.set()
            else:
                await reader.read()

        made.script = script
        reader, writer = await made.connect()
        for number in range(2):
            writer.write(b"GET %s HTTP/1.1\r\n" % made.url(f"/{number}") + made.host + b"\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
            await said.wait()
        writer.close()

    run(body)


def test_a_post_without_an_answer_is_not_sent_again() -> None:
    async def body(made: Proxy) -> None:
        says(made, b"")
        head = b"POST %s HTTP/1.1\r\n" % made.url() + made.host
        got = await ask(made, head + b"Content-Length: 3\r\n\r\nabc")
        assert got.startswith(b"HTTP/1.1 502 ") and len(made.got) == 1

    run(body)


def test_a_refused_connection_is_502_and_the_client_goes_on() -> None:
    async def body(made: Proxy) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        says(made, OK)
        url = b"http://127.0.0.1:%d/" % port
        got = await ask(
            made,
            b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % url
            + b"GET %s HTTP/1.1\r\n" % made.url()
            + made.host
            + b"\r\n",
        )
        assert got.startswith(b"HTTP/1.1 502 ") and got.endswith(b"\r\nok"), got

    run(body)


def test_a_server_that_answers_early_and_is_gone() -> None:
    """Its answer arrives whole, and the rest of the upload goes nowhere."""

    async def body(made: Proxy) -> None:
        says(made, b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        reader, writer = await made.connect()
        size = 20 * len(BIG)
        writer.write(
            b"PUT %s HTTP/1.1\r\n" % made.url() + made.host + b"Content-Length: %d\r\n\r\n" % size
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
        assert await reader.readexactly(2) == b"no"
        for _ in range(20):
            writer.write(BIG)
            await writer.drain()
        says(made, OK)
        writer.write(b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()

    run(body)


def test_bodies_that_break_off_end_the_request() -> None:
    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            made.got[number] += await reader.read()

        made.script = script
        head = b"PUT %s HTTP/1.1\r\n" % made.url() + made.host
        got = await ask(made, head + b"Content-Length: 9\r\n\r\nabc")
        assert got.startswith(b"HTTP/1.1 502 ") and made.got[0].endswith(b"\r\n\r\nabc")
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        for number, bad in enumerate((b"3\r\nabcde", b"x\r\n", b"-1\r\n", b"3\nabc\r\n"), start=1):
            got = await ask(made, head + chunked + bad + b"0\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 502 "), (bad, got)
            assert not made.got[number].endswith(b"0\r\n\r\n")

    run(body)


@pytest.mark.parametrize("cut", [0, 7])
def test_tunnel_with_half_closes(cut: int) -> None:
    """The client's end comes first, with its bytes sent along with CONNECT; then the answer."""

    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            made.got[number] += await reader.read()
            writer.write(BIG)
            await writer.drain()

        made.script = script
        head = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % made.end_port
        got = await ask(made, head + b"\x16\x03\x01\r\n\r\n" * 9, cut)
        assert got == b"HTTP/1.1 200 Connection established\r\n\r\n" + BIG
        assert made.got == [b"\x16\x03\x01\r\n\r\n" * 9]

    run(body)


def test_tunnel_whose_server_ends_first() -> None:
    async def body(made: Proxy) -> None:
        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(b"bye")
            writer.write_eof()
            made.got[number] += await reader.read()

        made.script = script
        reader, writer = await made.connect()
        writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % made.end_port)
        assert (await reader.read()).endswith(b"\r\n\r\nbye")
        writer.write(BIG)
        writer.write_eof()
        while len(made.got[0]) < len(BIG):
            await asyncio.sleep(0.01)
        assert made.got[0] == BIG
        writer.close()

    run(body)


def test_tunnel_to_nowhere() -> None:
    async def body(made: Proxy) -> None:
        got = await ask(
            made, b"CONNECT no.such.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        )
        assert got.startswith(b"HTTP/1.1 502 ") and got.count(b"HTTP/1.1") == 1
        assert b"Connection: close\r\n" in got

    run(body)


def test_a_client_that_is_gone_takes_its_connections_along() -> None:
    async def body(made: Proxy) -> None:
        over = asyncio.Event()

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    writer.write(BIG)
                    await writer.drain()
            except OSError:
                over.set()

        made.script = script
        reader, writer = await made.connect()
        writer.write(b"GET %s HTTP/1.1\r\n" % made.url() + made.host + b"\r\n")
        await reader.readexactly(1000)
        writer.transport.abort()
        await over.wait()
        while made.server._sessions:
            await asyncio.sleep(0.01)

    run(body)
