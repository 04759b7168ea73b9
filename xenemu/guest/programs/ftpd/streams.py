"""The connections of an FTP session: the control connection's lines, data connections' bytes.

Everything is read and written at once or waited for in one place (`ready`), and a session is
one task. So what it does is a function of the order in which its reads gave something, and
neither of when that was nor of how its output drains: the session can be lived through again.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

CHUNK = 256 * 1024
LINE = 4096  # bytes of a command
WAITING = 64  # commands that are read ahead during a transfer
URGENT = (b"\xff\xf4", b"\xff\xf2")  # Telnet's IP and DM, which may precede ABOR (RFC 959, 4.1.3)


class Aborted(Exception):
    """ABOR, or the client is gone, in the middle of a transfer."""


async def ready(reads: Sequence[socket.socket], writes: Sequence[socket.socket] = ()) -> None:
    """Waits until one of the sockets can be read or written."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    try:
        for sock in reads:
            loop.add_reader(sock, wake)
        for sock in writes:
            loop.add_writer(sock, wake)
        await future
    finally:
        for sock in reads:
            loop.remove_reader(sock)
        for sock in writes:
            loop.remove_writer(sock)


class Control:
    """Commands in, replies out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.throttles: dict[str, object] = {}  # aioftp fills it; there are no limits here
        self._in, self._out = bytearray(), bytearray()
        self._lines: deque[bytes | None] = deque()  # None: one that was too long
        self._overlong = False
        self._ended = False
        self._abort = False

    # replies

    def reply(self, code: str, lines: str | Iterable[str] = "", plain: bool = False) -> None:
        """Queues a reply. `plain`: the lines between the first and the last have no code."""
        *first, last = [lines] if isinstance(lines, str) else list(lines)
        for number, line in enumerate(first):
            start = " " if plain and number else f"{code}-"
            self._queue(start + line)
        self._queue(f"{code} {last}")

    def _queue(self, line: str) -> None:
        text = line.replace("\r", "?").replace("\n", "?")
        self._out += text.encode("utf-8", "surrogateescape") + b"\r\n"

    async def flush(self) -> None:
        """TCP has all replies; OSError."""
        while self._out:
            try:
                del self._out[: self.sock.send(self._out)]
            except BlockingIOError:
                await ready([], [self.sock])

    # commands

    def poll(self) -> bool:
        """Reads what there is, without waiting. True if that was something, or the end."""
        try:
            data = self.sock.recv(LINE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._ended = not data
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            self._add(bytes(self._in[:end]))
            del self._in[: end + 1]
        if len(self._in) > LINE:
            self._in.clear()
            self._overlong = True
        return True

    def _add(self, line: bytes) -> None:
        while line.startswith(URGENT):
            line = line[2:]
        line = line.removesuffix(b"\r")
        if self._overlong or len(line) > LINE:
            self._lines.append(None)
        else:
            self._lines.append(line)
        self._overlong = False

    async def command(self) -> tuple[str, str] | None:
        """The next command, in lower case, and what follows it; ("", "") for a line that is too
        long; None at the end."""
        while not self._lines:
            if self._ended:
                return None
            if not self.poll():
                await ready([self.sock])
        line = self._lines.popleft()
        if line is None:
            return "", ""
        name, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
        return name.lower(), rest

    # during a transfer

    def watched(self) -> list[socket.socket]:
        """What to wait for besides the transfer's own."""
        return [] if self._ended or len(self._lines) >= WAITING else [self.sock]

    def wants_abort(self) -> bool:
        """ABOR was sent, which is then answered for; or the client has ended, and nothing else
        waits."""
        if self.watched():
            self.poll()
        for line in self._lines:
            if line is not None and line.strip().upper() == b"ABOR":
                self._lines.remove(line)
                self._abort = True
                break
        return self._abort or (self._ended and not self._lines)

    def check(self) -> None:
        """Aborted"""
        if self.wants_abort():
            raise Aborted

    def take_abort(self) -> bool:
        """An ABOR is to be answered."""
        taken, self._abort = self._abort, False
        return taken


class Endpoint(Protocol):
    """Where the next data connection comes from."""

    async def open(self, control: Control) -> socket.socket:
        """The connection; Aborted, OSError."""

    def close(self) -> None:
        """It is not wanted any more."""


class Passive:
    """PASV and EPSV: a listener for one connection, from the client's own address."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setblocking(False)
            self._listener.bind(("0.0.0.0", 0))
            self._listener.listen(1)
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]

    async def open(self, control: Control) -> socket.socket:
        """The client's connection."""
        try:
            while True:
                control.check()
                try:
                    # what accept() puts into the context is not the session's
                    sock, peer = contextvars.copy_context().run(self._listener.accept)
                except BlockingIOError:
                    await ready([self._listener, *control.watched()])
                    continue
                sock.setblocking(False)
                if peer[0] == self._peer:
                    return sock
                sock.close()
        finally:
            self._listener.close()

    def close(self) -> None:
        """The port is free again."""
        self._listener.close()


@dataclass(frozen=True, slots=True)
class Active:
    """PORT and EPRT: the client listens."""

    address: tuple[str, int]

    async def open(self, control: Control) -> socket.socket:
        """A connection to the client."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            while (code := sock.connect_ex(self.address)) not in (0, errno.EISCONN):
                if code not in (errno.EINPROGRESS, errno.EALREADY):
                    raise OSError(code, os.strerror(code))
                control.check()
                await ready(control.watched(), [sock])
        except (OSError, Aborted):
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Nothing was opened."""


class Sender:
    """Sends a stream, as far as the client wants it.

    The client's ways to stop it are looked for before each send, and the last byte goes by
    itself: so a stream that was cut short and one that was not differ in what was read before
    the last send, and nothing is read after it. An ABOR takes effect when the connection takes
    no more, or all is sent: then no byte that was sent before is missing the next time.
    """

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self._control, self._sock = control, sock
        self._aborted = False

    async def send(self, pieces: Iterable[bytes]) -> None:
        """All of them; Aborted, OSError."""
        last = b""
        for piece in pieces:
            await self._put(last + piece[:-1])
            last = piece[-1:]
            await asyncio.sleep(0)
        await self._put(last)
        if self._aborted:
            raise Aborted

    async def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._aborted = self._aborted or self._control.wants_abort()
            self._look()
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                if self._aborted:
                    raise Aborted from None
                await ready([self._sock, *self._control.watched()], [self._sock])

    def _look(self) -> None:
        """What the client sends is nothing to us; when it ends, it wants no more."""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionAbortedError("the client has closed the connection")


async def receive(control: Control, sock: socket.socket, write: Callable[[bytes], None]) -> None:
    """A stream up to its end; Aborted, OSError."""
    while True:
        control.check()
        try:
            data = sock.recv(CHUNK)
        except BlockingIOError:
            await ready([sock, *control.watched()])
            continue
        if not data:
            return
        write(data)
        await asyncio.sleep(0)
