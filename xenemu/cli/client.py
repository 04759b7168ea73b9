"""The control socket's client, as the commands use it."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from xenemu.cli.rpc import encode, parse_answer

TIMEOUT_SECONDS = 120.0


class ControlClient:
    """A connection to a running `boot`. Errors are OSError with a message for people."""

    def __init__(self, path: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        """Raises ConnectionRefusedError when nobody listens."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout)
        self._buffer = bytearray()
        try:
            self._sock.connect(str(path))
        except OSError as error:
            self._sock.close()
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                message = f"no emulated host {path.stem!r} is running"
                raise ConnectionRefusedError(errno.ECONNREFUSED, message) from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._sock.close()

    def call(
        self,
        method: str,
        notified: Callable[[dict[str, Any]], None] = lambda params: None,
        /,
        **params: Any,
    ) -> Any:
        """The result of a request; OSError when it is an error. `notified` gets the parameters of
        notifications that come before it."""
        self._sock.sendall(encode({"id": 1, "method": method, "params": params}))
        for message in self._messages():
            if "method" in message:
                notified(message["params"])
            if message.get("id") == 1 and "result" in message:
                return message["result"]
            if "error" in message:
                raise self._error(message["error"])
        raise ConnectionResetError(errno.ECONNRESET, "the emulated host ended")

    def notifications(self) -> Iterator[dict[str, Any]]:
        """Parameters of the notifications that follow, until the server ends."""
        self._sock.settimeout(None)
        for message in self._messages():
            if "method" in message:
                yield message["params"]

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while (end := self._buffer.find(b"\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                try:
                    yield parse_answer(line)
                except ValueError:
                    raise OSError(errno.EPROTO, "the emulated host answers nonsense") from None
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                raise TimeoutError(errno.ETIMEDOUT, "the emulated host does not answer") from None
            if not data:
                return
            self._buffer += data

    @staticmethod
    def _error(error: dict[str, Any]) -> OSError:
        data = error.get("data")
        number = data.get("number", errno.EIO) if isinstance(data, dict) else errno.EINVAL
        message = str(error.get("message", "")) or os.strerror(number)
        return OSError(number, message)
