"""The proxy as a whole: its output as a function of its input, real curl, on the emulated LAN."""

import asyncio
import contextvars
import random
import shutil
from pathlib import Path

import pytest
from proxy_world import VIA, Proxy, run
from test_on_core import CoreWorld
from world import World

from xenemu.guest import ip_number
from xenemu.guest.socket import GuestSocket
from xenemu.lab import end_servers
from xenemu.lab.clients import Report

BIG = random.Random(5).randbytes(400_000)
BODY = random.Random(6).randbytes(30_000)
CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (
    b"1f40\r\n%b\r\n5;x\r\nhello\r\n0\r\n\r\n" % BIG[:8000]
)


@pytest.mark.parametrize("seed", range(12))
def test_output_is_a_function_of_the_input_streams(seed: int) -> None:
    """Whatever the cuts and the pauses of client and servers, both get the same bytes."""

    async def body(made: Proxy) -> None:
        rng = random.Random(seed)

        async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
            while data:
                size = rng.choice((1, 2, 7, 100, 5000))
                writer.write(data[:size])
                data = data[size:]
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await made.head(number, reader)
            await trickle(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * (number == 1) + CHUNKED_ANSWER)
            if number == 1:
                made.got[number] += await reader.readexactly(len(BODY))
            await made.head(number, reader)

        made.script = script
        requests = b"GET %s HTTP/1.1\r\n" % made.url("/1") + made.host + b"\r\n"
        requests += b"POST %s HTTP/1.1\r\n" % made.url("/2") + made.host
        requests += b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        requests += b"GET %s HTTP/1.1\r\n" % made.url("/3") + made.host
        requests += b"Connection: close\r\n\r\n"
        reader, writer = await made.connect()
        sending = asyncio.create_task(trickle(writer, requests))
        answers = await reader.read()
        await sending
        head = CHUNKED_ANSWER[: CHUNKED_ANSWER.index(b"\r\n\r\n") + 2] + VIA
        tail = CHUNKED_ANSWER[CHUNKED_ANSWER.index(b"\r\n\r\n") + 2 :]
        proceed = b"HTTP/1.1 100 Continue\r\n" + VIA + b"\r\n"
        last = head + b"Connection: close\r\n" + tail  # asked for again: the second server left
        assert answers == head + tail + proceed + head + tail + last
        assert [bytes(got).count(b"HTTP/1.1") for got in made.got] == [1, 2, 1]
        assert made.got[1].startswith(b"POST /2 HTTP/1.1\r\n") and BODY in made.got[1]

    run(body)


CURL = shutil.which("curl")


async def curl(made: Proxy, *arguments: str) -> bytes:
    """What real curl prints; it must succeed."""
    assert CURL is not None, "curl is not installed"
    host, port = made.server.address
    process = await asyncio.create_subprocess_exec(
        CURL, "-sSq", "--fail", "--max-time", "20", "-x", f"http://{host}:{port}", *arguments,
        stdout=asyncio.subprocess.PIPE, env={"no_proxy": ""},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


def test_curl(tmp_path: Path) -> None:
    """Downloads on one connection, an upload that waits for 100, tunnels."""

    async def body(made: Proxy) -> None:
        big = tmp_path / "big"
        big.write_bytes(BIG * 4)

        async def script(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            while True:
                head = (await made.head(number, reader)).lower()
                if b"expect: 100-continue" in head:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                data = BIG
                if head.startswith(b"put"):
                    data = await reader.readexactly(len(BIG) * 4)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                await writer.drain()

        made.script = script
        url = made.url("/a").decode()
        assert await curl(made, url, url + "b", url + "c") == BIG * 3
        assert len(made.got) == 1  # kept, by the client and by the proxy
        assert await curl(made, "-T", str(big), "-H", "Expect: 100-continue", url) == BIG * 4
        assert await curl(made, "-p", url, url + "d") == BIG * 2
        assert len(made.got) == 3 and b"Via" not in made.got[2]
        assert b"".join(bytes(got) for got in made.got).count(b"HTTP/1.1\r\n") == 6

    run(body)


async def ask_by_name(name: str, count: int, pause: float) -> None:
    """Requests one after the other, each to another end server."""
    reader, writer = await asyncio.open_connection("10.0.0.1", 3128)
    for turn in range(count):
        host = ("one", "two")[turn % 2]
        path = f"http://{host}/count/{name}-{turn}"
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        first, fields = await end_servers.read_head(reader)
        assert first == "HTTP/1.1 200 OK"
        body = await reader.readexactly(int(fields["content-length"]))
        assert body.endswith(f" {name}-{turn}".encode())
        await asyncio.sleep(pause)
    writer.close()
    await writer.wait_closed()


def test_connections_are_opened_in_the_context_of_the_accept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is accepted and what is opened for it is one session, also when many are mixed."""
    session: contextvars.ContextVar[str] = contextvars.ContextVar("session", default="none")
    opened: list[str] = []
    accept, connect = GuestSocket.accept, GuestSocket.connect_ex

    def accepting(self: GuestSocket) -> tuple[object, tuple[str, int]]:
        sock, peer = accept(self)
        session.set(f"{peer[1]}")
        return sock, peer

    def connecting(self: GuestSocket, address: object) -> int:
        opened.append(session.get())
        return connect(self, address)

    report = Report()
    for number, name in enumerate(("one", "two")):
        kernel = world.host(f"10.0.0.2{number}", name)
        kernel.spawn(end_servers.web(report))
        world.server.hosts[name] = ip_number(f"10.0.0.2{number}")
    world.server.spawn("xenemu.guest.programs.proxyd")
    world.sleep(0.1)

    async def clients(argv: list[str]) -> int:
        await asyncio.gather(*(ask_by_name(str(n), 4, 0.002 * n) for n in range(3)))
        return 0

    client = world.client.spawn(clients)
    monkeypatch.setattr(GuestSocket, "accept", accepting)
    monkeypatch.setattr(GuestSocket, "connect_ex", connecting)
    assert world.finish(client) == 0, world.lines
    of_clients = [each for each in opened if each != "none"]
    assert len(set(of_clients)) == 3  # the clients' own connects are of no session
    assert all(of_clients.count(each) == 4 for each in of_clients)
    assert not report.wrong and not report.broken and not world.lines


def test_no_answer_from_a_name_that_is_not_there(world: World) -> None:
    world.server.hosts["gone"] = ip_number("10.0.0.20")
    world.host("10.0.0.20", "gone")
    world.server.spawn("xenemu.guest.programs.proxyd", ["--port", "8080"])
    world.sleep(0.1)
    statuses: list[str] = []

    async def client(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 8080)
        for host in ("gone", "unknown", "[::1]"):
            writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            first, fields = await end_servers.read_head(reader)
            await reader.readexactly(int(fields["content-length"]))
            statuses.append(first.split()[1])
        writer.close()
        return 0

    assert world.finish(world.client.spawn(client)) == 0, world.lines
    assert statuses == ["502"] * 3


def test_a_server_that_is_not_there_is_504_when_tcp_says_so() -> None:
    """Over the C machine: the proxy has no clock of its own, the kernel's TCP has one."""
    world = CoreWorld()
    world.server.spawn("xenemu.guest.programs.proxyd")

    async def client(argv: list[str]) -> int:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("10.0.0.1", 3128)
        writer.write(b"GET http://10.0.0.77/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        return 0

    assert world.finish(world.client.spawn(client), 600) == 0, world.lines
    world.machine.close()
