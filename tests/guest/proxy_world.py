"""The proxy as an ordinary asyncio program on loopback, with an end server that has a script."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from xenemu.guest.programs.proxyd.server import Server

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
