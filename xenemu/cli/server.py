"""The control socket's server: driven by the machine's loop, never blocks it.

Each connection sends requests, one JSON-RPC line each, and gets a line for each, in order of
completion. Nothing that a client sends ends the server: bad input gets an error, a line that is
too long or output that piles up ends that client's connection.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from xenemu.cli.rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_LINE,
    METHOD_NOT_FOUND,
    RpcError,
    encode,
    error_message,
    parse_request,
)

MAX_CLIENTS = 32
MAX_OUTPUT = 4 << 20
BACKLOG = 16
PROBE_SECONDS = 1.0


class Watcher(Protocol):
    """What watches file descriptors for us: the machine."""

    def watch_fd(
        self,
        fd: int,
        callback: Callable[[], None] | None,
        *,
        readable: bool = True,
        writable: bool = False,
    ) -> None: ...


class Client:
    """One connection."""

    def __init__(self, server: "ControlServer", sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._input = bytearray()
        self._output = bytearray()
        self.closed = False
        self.on_close: list[Callable[[], None]] = []
        sock.setblocking(False)
        self._watch()

    def send(self, message: dict[str, Any]) -> None:
        """Queues a message; a client that doesn't read is cut off."""
        if self.closed:
            return
        self._output += encode(message)
        if len(self._output) > MAX_OUTPUT:
            self.close()
        else:
            self._flush()

    def close(self) -> None:
        """Ends the connection. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._server.forget(self, self._sock.fileno())
        self._sock.close()
        for callback in self.on_close:
            callback()

    def _watch(self) -> None:
        self._server.watcher.watch_fd(
            self._sock.fileno(), self._ready, readable=True, writable=bool(self._output)
        )

    def _flush(self) -> None:
        had = bool(self._output)
        try:
            while self._output:
                del self._output[: self._sock.send(self._output)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if had:
            self._watch()

    def _ready(self) -> None:
        self._flush()
        if self.closed:
            return
        try:
            data = self._sock.recv(MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._input += data
        while not self.closed and (end := self._input.find(b"\n")) >= 0:
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            self._request(line)
        if not self.closed and len(self._input) > MAX_LINE:
            self.send(error_message(None, RpcError(INVALID_REQUEST, "the line is too long")))
            self.close()

    def _request(self, line: bytes) -> None:
        identifier: object = None
        try:
            identifier, method, params = parse_request(line)
            self._server.call(Call(self, identifier), method, params)
        except RpcError as error:
            self.send(error_message(identifier, error))


class Call:
    """One request, answered once, now or later."""

    def __init__(self, client: Client, identifier: object) -> None:
        self.client = client
        self._identifier = identifier

    def result(self, value: object) -> None:
        """The answer."""
        self.client.send({"id": self._identifier, "result": value})

    def notify(self, method: str, params: object) -> None:
        """A notification to the client of this call."""
        self.client.send({"method": method, "params": params})


Method = Callable[[Call, dict[str, Any]], None]


class ControlServer:
    """Listens on a unix socket; methods raise RpcError or answer their Call."""

    def __init__(
        self,
        path: Path,
        watcher: Watcher,
        methods: dict[str, Method],
        listener: socket.socket | None = None,
    ) -> None:
        """`listener`: from `listen(path)`, when the name was taken earlier.

        Raises OSError: EADDRINUSE when a live server has this name.
        """
        self.path = path
        self.watcher = watcher
        self._methods = methods
        self._clients: set[Client] = set()
        self._listener = listener or listen(path)
        info = path.lstat()
        self._identity = (info.st_dev, info.st_ino)
        self.watcher.watch_fd(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Ends all connections and removes the socket, if it still is ours."""
        for client in list(self._clients):
            client.close()
        self.watcher.watch_fd(self._listener.fileno(), None)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            info = self.path.lstat()
            if (info.st_dev, info.st_ino) == self._identity:
                self.path.unlink()

    def call(self, call: Call, method: str, params: dict[str, Any]) -> None:
        """Dispatches a request. RpcError."""
        function = self._methods.get(method)
        if function is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {method!r}")
        try:
            function(call, params)
        except (KeyError, TypeError, ValueError) as error:
            raise RpcError(INVALID_PARAMS, f"bad parameters: {error}") from error

    def forget(self, client: Client, fd: int) -> None:
        """A connection is closed."""
        self._clients.discard(client)
        self.watcher.watch_fd(fd, None)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            sock.close()
            return
        self._clients.add(Client(self, sock))


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600; replaces that of a dead server.

    Raises OSError(EADDRINUSE) when a server answers there, or something else is in the way.
    """
    in_use = OSError(errno.EADDRINUSE, f"{path.stem!r} is running already")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EADDRINUSE, f"{path} is in the way")
        if _is_alive(path):
            raise in_use
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise (in_use if error.errno == errno.EADDRINUSE else error) from None
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
