"""Bodies, connections and tunnels through the proxy, on loopback."""

import asyncio
import random
import socket

import pytest
from proxy_world import OK, VIA, Proxy, ask, run, says

from xenemu.guest.programs.proxyd.session import MAX_KEPT

BIG = random.Random(5).randbytes(400_000)


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


def test_idle_connections_are_bounded() -> None:
    """The one that was used longest ago goes."""

    async def body(made: Proxy) -> None:
        left: list[int] = []

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                while True:
                    await made.head(number, reader)
                    writer.write(OK)
            finally:
                left.append(number)

        made.script = script
        reader, writer = await made.connect()
        ends = [await asyncio.start_server(made.ends, "127.0.0.1", 0) for _ in range(MAX_KEPT + 2)]
        ports = [end.sockets[0].getsockname()[1] for end in ends]
        for port in (*ports[:2], ports[0], *ports[2:]):
            writer.write(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % port)
            await reader.readuntil(b"ok")
        while len(left) < 2:
            await asyncio.sleep(0.01)
        assert left == [1, 0]
        for end in ends:
            end.close()

    run(body)
