"""Accepts clients: each gets a task, made where its connection was accepted."""

from __future__ import annotations

import argparse
import asyncio
import socket

from xenemu.guest.programs.proxyd.half import Half
from xenemu.guest.programs.proxyd.session import Session

BACKLOG = 100
RETRY_SECONDS = 1.0


class Server:
    """A listening socket and the sessions of its clients."""

    def __init__(self, host: str, port: int, name: str) -> None:
        """Listens from here on, in the running loop. OSError."""
        self._loop = asyncio.get_running_loop()
        self._name = name.encode("ascii")
        self._sessions: set[asyncio.Task[None]] = set()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setblocking(False)
        self._listener.bind((host, port))
        self._listener.listen(BACKLOG)
        self._listen()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()
        return host, port

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """One client; what its task does is done in the context that accept() left."""
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no file descriptors, say
            self._loop.remove_reader(self._listener)
            self._loop.call_later(RETRY_SECONDS, self._listen)
            return
        session = self._loop.create_task(Session(Half(sock), self._name).run())
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def close(self) -> None:
        """Ends all of it."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        sessions = list(self._sessions)
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


async def main(argv: list[str]) -> int:
    """proxyd [--port N] [--host ADDRESS] [--name NAME]: serves until it is cancelled."""
    parser = argparse.ArgumentParser(prog="proxyd", description="HTTP forward proxy")
    parser.add_argument("--port", type=int, default=3128)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--name", default="xenemu", help="in Via")
    options = parser.parse_args(argv)
    server = Server(options.host, options.port, options.name)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.close()
    return 0
