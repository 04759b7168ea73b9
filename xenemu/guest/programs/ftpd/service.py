"""The FTP service as a program: arguments, and a task for each client."""

from __future__ import annotations

import argparse
import asyncio
import socket
from ipaddress import IPv4Address
from pathlib import Path

from xenemu.guest.programs.ftpd.server import Server
from xenemu.guest.programs.ftpd.streams import ready

BACKLOG = 128
RETRY = 0.1  # seconds, when there are no more descriptors


def user(text: str) -> tuple[str, str]:
    """NAME:PASSWORD"""
    name, colon, password = text.partition(":")
    if not name or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:PASSWORD")
    return name, password


def address(text: str) -> str:
    """A.B.C.D"""
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from None


async def main(argv: list[str]) -> int:
    """ftpd [options] ROOT: serves until it is cancelled."""
    parser = argparse.ArgumentParser(prog="ftpd", description="FTP file server")
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=21)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument(
        "--user", type=user, action="append", default=[], metavar="NAME:PASSWORD",
        help="instead of anonymous; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--passive-address", type=address, metavar="A.B.C.D",
        help="in the replies to PASV, when clients reach the service at another address",
    )  # fmt: skip
    options = parser.parse_args(argv)
    server = Server(options.root, dict(options.user), options.passive_address)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(BACKLOG)
        await serve(listener, server)
    return 0


async def serve(listener: socket.socket, server: Server) -> None:
    """A task for each client."""
    sessions: dict[asyncio.Task[None], None] = {}
    try:
        while True:
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                await ready([listener])
                continue
            except OSError:
                await asyncio.sleep(RETRY)
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ABOR may be urgent
            task = asyncio.create_task(server.session(sock, peer[:2]))
            sessions[task] = None
            task.add_done_callback(sessions.pop)
    finally:
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
