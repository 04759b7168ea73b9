"""One half of a relay: a connection, read on demand.

Errors are in order: what came before a reset is read first, and a failed write stops further
writes without touching the input.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

CHUNK = 64 * 1024


class Truncated(Exception):
    """The input ended within a message."""


class TooLong(Exception):
    """A line is longer than it may be."""


class Half:
    """A connected socket. `lost`: a write failed, and the rest of the output is dropped. `reset`:
    the input ended by an error."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over."""
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._buffer = bytearray()
        self._ended = False
        self.lost = False
        self.reset = False

    async def _more(self) -> bool:
        """Reads once, whatever there is; False at the end of the input."""
        if self._ended:
            return False
        data = b""
        try:
            data = await self._loop.sock_recv(self._sock, CHUNK)
        except OSError:
            self.reset = True
        self._buffer += data
        self._ended = not data
        return not self._ended

    async def line(self, limit: int) -> bytes:
        """Up to and with the next LF; b"" at the end. Truncated, TooLong."""
        start = 0
        while (end := self._buffer.find(b"\n", start, limit)) < 0:
            start = len(self._buffer)
            if start >= limit:
                raise TooLong
            if not await self._more():
                if self._buffer:
                    raise Truncated
                return b""
        return self._take(end + 1)

    async def piece(self, most: int = CHUNK) -> bytes:
        """At least one byte, at most `most`; b"" at the end."""
        if not self._buffer:
            await self._more()
        return self._take(min(most, CHUNK))

    def _take(self, most: int) -> bytes:
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    async def send(self, data: bytes) -> None:
        """All of it, or `lost`."""
        if self.lost or not data:
            return
        try:
            await self._loop.sock_sendall(self._sock, data)
        except OSError:
            self.lost = True

    async def discard(self, most: int) -> None:
        """Reads to the end, or so many bytes."""
        while most > 0 and (data := await self.piece(most)):
            most -= len(data)

    def end(self) -> None:
        """Ends the output."""
        if not self.lost:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        self.lost = True

    def close(self) -> None:
        """Ends both directions."""
        self._sock.close()
