"""Heads of messages through the proxy, and what it refuses, byte by byte."""

import asyncio

import pytest
from proxy_world import OK, VIA, Proxy, ask, run, says

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
