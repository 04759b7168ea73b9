"""What a guest program opens on behalf of a client is opened in that client's session."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from world import World

FRONT, BACK, OTHER = 21, 9, 7
Program = Callable[[list[str]], Coroutine[Any, Any, int]]


async def ask(address: str, port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text)
    await writer.drain()
    if not text.startswith(b"GET"):  # aiohttp takes the end for a client that left
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks the back end in a task of its own, and listens to a port for data."""

    async def data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await ask("back", BACK, b"data"))  # what it accepts is of the session
        writer.close()

    text = await reader.read()
    listener = await asyncio.start_server(data, "0.0.0.0", 0)
    answer = await asyncio.create_task(ask("back", BACK, text))
    port = listener.sockets[0].getsockname()[1]
    writer.write(answer + await ask("front", port, b""))
    listener.close()
    writer.close()


async def by_streams(argv: list[str]) -> int:
    await asyncio.start_server(relay, "0.0.0.0", int(argv[1]))
    await asyncio.get_running_loop().create_future()
    return 0


class Relay(asyncio.Protocol):
    """The same by callbacks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self.reader)
        loop = asyncio.get_running_loop()
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)
        self.task = loop.create_task(relay(self.reader, self.writer))

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def eof_received(self) -> bool:
        self.reader.feed_eof()
        return True


async def by_protocol(argv: list[str]) -> int:
    loop = asyncio.get_running_loop()
    await loop.create_server(Relay, "0.0.0.0", int(argv[1]))
    await loop.create_future()
    return 0


async def by_aiohttp(argv: list[str]) -> int:
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        async def data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await ask("back", BACK, b"data"))
            writer.close()

        listener = await asyncio.start_server(data, "0.0.0.0", 0)
        answer = await asyncio.create_task(ask("back", BACK, b"http"))
        answer += await ask("front", listener.sockets[0].getsockname()[1], b"")
        listener.close()
        return web.Response(body=answer)

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", int(argv[1])).start()
    await asyncio.get_running_loop().create_future()
    return 0


async def echo(argv: list[str]) -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    await asyncio.start_server(serve, "0.0.0.0", BACK)
    await asyncio.get_running_loop().create_future()
    return 0


async def client(argv: list[str]) -> int:
    request = b"GET / HTTP/1.0\r\n\r\n" if argv[2] == "http" else argv[2].encode()
    answer = await ask("front", int(argv[1]), request)
    return 0 if answer.endswith(argv[2].encode() + b"data") else 1


@pytest.mark.parametrize("program", [by_streams, by_protocol, by_aiohttp])
def test_opened_for_a_client(program: Program) -> None:
    world = World()
    world.core.session_ports.add(FRONT)
    back = world.host("10.0.0.5", "back")
    for kernel in (world.client, world.server):
        kernel.hosts |= {"front": world.server.node.addr, "back": back.node.addr}
    back.spawn(echo)
    for port in (FRONT, OTHER):
        world.server.spawn(program, ["server", str(port)])
    texts = ["http"] * 3 if program is by_aiohttp else ["one", "two", "three"]
    clients = [world.client.spawn(client, ["client", str(FRONT), text]) for text in texts]
    assert [world.finish(c) for c in clients] == [0, 0, 0], world.lines
    assert world.core.sessions == 3
    made = [o for o in world.core.opened if o[2]]
    for session in (1, 2, 3):
        kinds = sorted((kind, port == BACK) for kind, port, s in made if s == session)
        own = ("connect", False), ("connect", True), ("connect", True), ("listen", False)
        assert kinds == list(own)
    before = len(world.core.opened)
    world.finish(world.client.spawn(client, ["client", str(OTHER), texts[0]]))
    assert not any(session for _, _, session in world.core.opened[before:])
