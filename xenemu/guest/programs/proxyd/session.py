"""One client's connection: its requests in order, and the connections that they need.

State: the client's half, and halves of end servers that may take another request, by host and
port. A request goes over one of these only if it may be sent twice, since the server may be
about to close; it is sent once more, on a new connection, when the server closes instead of
answering. All others get a new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

from xenemu.guest.programs.proxyd.half import Half, TooLong, Truncated
from xenemu.guest.programs.proxyd.message import (
    CHUNKED,
    UNTIL_END,
    Answer,
    Refusal,
    Request,
    chunk_size,
    parse_answer,
    parse_request,
    refusal_text,
)

MAX_HEAD = 64 * 1024
MAX_CHUNK_LINE = 4096
MAX_KEPT = 8  # idle connections to end servers
LINGER = 1 << 20  # bytes read and dropped after the end of our output
CONTINUE, REQUEST_TIMEOUT = 100, 408
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Send = Callable[[bytes], Awaitable[None]]


class ClientLost(Exception):
    """The client can't be answered any more."""


async def read_head(half: Half) -> list[bytes]:
    """The lines of a head without their ends; none at the end of the input. Truncated, TooLong;
    Refusal(400) of a line that does not end in CRLF."""
    lines: list[bytes] = []
    left = MAX_HEAD
    while line := await half.line(left):
        left -= len(line)
        if line == b"\r\n":
            if lines:
                return lines
            continue  # RFC 9112, 2.2
        if not line.endswith(b"\r\n"):
            raise Refusal(400, "a line does not end in CRLF")
        lines.append(line[:-2])
    if lines:
        raise Truncated
    return lines


class Unanswered(Refusal):
    """The server has ended its stream, or reset it, and said nothing."""


class Relay:
    """Copies bodies from a half to where `send` brings them."""

    def __init__(self, source: Half, send: Send) -> None:
        self._source, self._send = source, send

    async def body(self, body: int) -> None:
        """One body with its framing. Truncated; Refusal of what is no chunk."""
        if body == CHUNKED:
            await self._chunks()
        elif body == UNTIL_END:
            await self.rest()
            if self._source.reset:
                raise Truncated
        else:
            await self._counted(b"", body)

    async def rest(self) -> None:
        """Up to the end of the input."""
        while piece := await self._source.piece():
            await self._send(piece)

    async def _counted(self, head: bytes, size: int) -> bytes:
        """Sends so many bytes after `head`; the last two."""
        last = b""
        while size:
            piece = await self._source.piece(size)
            if not piece:
                raise Truncated
            size -= len(piece)
            last = (last + piece)[-2:]
            await self._send(head + piece)
            head = b""
        return last

    async def _chunks(self) -> None:
        while size := chunk_size(line := await self._line()):
            if await self._counted(line, size + 2) != b"\r\n":
                raise Refusal(400, "malformed chunk")
        end, left = line, MAX_HEAD
        while line != b"\r\n":
            line = await self._line()
            left -= len(line)
            if not line.endswith(b"\r\n") or left < 0:
                raise Refusal(400, "malformed trailers")
            end += line
        await self._send(end)

    async def _line(self) -> bytes:
        try:
            line = await self._source.line(MAX_CHUNK_LINE)
        except TooLong:
            raise Refusal(400, "a line of a chunked body is too long") from None
        if not line:
            raise Truncated
        return line


async def nowhere(data: bytes) -> None:
    """For what nobody wants."""


@contextlib.asynccontextmanager
async def meanwhile(work: Coroutine[None, None, bool]) -> AsyncIterator[asyncio.Task[bool]]:
    """A task beside the block, which is to await it; it ends with the block in any case."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class Session:
    """Serves one client."""

    def __init__(self, client: Half, name: bytes) -> None:
        """`name`: the proxy's, in Via."""
        self._client, self._name = client, name
        self._kept: dict[tuple[str, int], Half] = {}
        self._open: list[Half] = [client]

    async def run(self) -> None:
        """Until the client's end, or until its connection can't go on."""
        try:
            while await self._one():
                pass
            for half in self._open[1:]:
                self._close(half)
            self._client.end()
            await self._client.discard(LINGER)
        except ClientLost:
            pass
        finally:
            for half in self._open:
                half.close()

    async def _one(self) -> bool:
        """One request; False after the last one."""
        try:
            lines = await read_head(self._client)
            if not lines:
                return False
            request = parse_request(lines, self._name)
        except Truncated:
            return False
        except TooLong:
            return await self._refuse(Refusal(431, "the head is too long"), b"", True)
        except Refusal as refusal:
            return await self._refuse(refusal, b"", True)
        if request.method == b"CONNECT":
            return await self._tunnel(request)
        return await self._forward(request)

    async def _say(self, data: bytes) -> None:
        await self._client.send(data)
        if self._client.lost:
            raise ClientLost

    async def _refuse(self, refusal: Refusal, method: bytes, close: bool) -> bool:
        await self._say(refusal_text(refusal, method, close))
        return not close

    # connections to end servers

    async def _connect(self, host: str, port: int) -> Half:
        """A new connection. Refusal."""
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Refusal(502, f"unknown host {host}") from None
        status = 502
        for family, kind, protocol, _, address in infos:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                status = 504 if isinstance(error, TimeoutError) else 502
                sock.close()
                continue
            half = Half(sock)
            self._open.append(half)
            return half
        raise Refusal(status, f"no connection to {host}:{port}")

    def _close(self, half: Half) -> None:
        self._open.remove(half)
        half.close()

    def _keep(self, request: Request, half: Half) -> None:
        if len(self._kept) == MAX_KEPT:
            self._close(self._kept.pop(next(iter(self._kept))))
        self._kept[request.host, request.port] = half

    # requests

    async def _forward(self, request: Request) -> bool:
        """Request to the server, answer to the client; False if the connection ends with it."""
        server, answer = await self._asked(request)
        if server is None:
            try:
                server = await self._connect(request.host, request.port)
            except Refusal as refusal:
                return await self._refuse_unsent(refusal, request)
            await server.send(request.head)
        async with meanwhile(self._upload(server, request)) as upload:
            again, usable = await self._exchange(server, request, answer)
            if not again:
                self._client.end()
            whole = await upload
        if usable and whole and not server.lost:
            self._keep(request, server)
        else:
            self._close(server)
        return again and whole

    async def _asked(self, request: Request) -> tuple[Half | None, Answer | None]:
        """A server that was connected already, has got the request, and begins to answer."""
        server = self._kept.pop((request.host, request.port), None)
        if server is None:
            return None, None
        if request.repeatable:
            await server.send(request.head)
            try:
                answer = await self._answer(server, request)
            except Unanswered:
                answer = None
            if answer is not None and answer.status != REQUEST_TIMEOUT:
                return server, answer
        self._close(server)
        return None, None

    async def _upload(self, server: Half, request: Request) -> bool:
        """The request's body; False if it does not end as it should: that ends what the server
        gets, and with it the exchange."""
        try:
            await Relay(self._client, server.send).body(request.body)
        except (Truncated, Refusal):
            server.end()
            return False
        return True

    async def _exchange(
        self, server: Half, request: Request, answer: Answer | None
    ) -> tuple[bool, bool]:
        """Passes the answer on, `answer` if its head was read before. If the client's connection
        can go on, and if the server's can, as far as the answer is concerned."""
        continued = False
        try:
            answer = answer or await self._answer(server, request)
            while answer.status < 200:
                continued = continued or answer.status == CONTINUE
                if request.minor:
                    await self._say(answer.head + b"\r\n")
                answer = await self._answer(server, request)
        except Refusal as refusal:
            close = request.close or request.expects and not continued
            return await self._refuse(refusal, request.method, close), False
        # A client that was not asked for its body may send it, or not.
        close = request.close or request.expects and not continued or answer.body == UNTIL_END
        await self._say(answer.head + (b"Connection: close\r\n\r\n" if close else b"\r\n"))
        try:
            await Relay(server, self._say).body(answer.body)
        except (Truncated, Refusal):
            return False, False
        return not close, not answer.close

    async def _answer(self, server: Half, request: Request) -> Answer:
        """The next head of the server. Unanswered, Refusal."""
        try:
            lines = await read_head(server)
            if not lines:
                raise Unanswered(502, "the server closed the connection without an answer")
            return parse_answer(lines, request, self._name)
        except (Truncated, TooLong):
            raise Refusal(502, "malformed answer") from None
        except Refusal as refusal:
            raise refusal if refusal.status == 502 else Refusal(502, refusal.why) from None

    async def _refuse_unsent(self, refusal: Refusal, request: Request) -> bool:
        """No server wants the body; a client that waits before it sends it may never do so."""
        close = request.close or request.expects
        await self._refuse(refusal, request.method, close)
        if close:
            return False
        try:
            await Relay(self._client, nowhere).body(request.body)
        except (Truncated, Refusal):
            return False
        return True

    # tunnels

    async def _tunnel(self, request: Request) -> bool:
        """CONNECT: both directions, each until its end."""
        try:
            server = await self._connect(request.host, request.port)
        except Refusal as refusal:
            return await self._refuse(refusal, b"", True)  # what follows need not be HTTP
        await self._say(ESTABLISHED)
        async with meanwhile(self._outward(server)) as outward:
            await Relay(server, self._say).rest()
            self._client.end()
            await outward
        return False

    async def _outward(self, server: Half) -> bool:
        await Relay(self._client, server.send).rest()
        server.end()
        return True
