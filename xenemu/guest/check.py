"""`check`: whether a service answers, seen from another machine."""

from __future__ import annotations

import asyncio
import errno
import os

from xenemu.guest.errors import failure

TIMEOUT_SECONDS = 5.0
DEFAULT_PORT = 80
MAX_LINE = 256
USAGE = "usage: check ADDRESS [PORT] [PATH]"


def parse(argv: list[str]) -> tuple[str, int, str]:
    """Address, port, and path ("": only connect); ValueError on bad usage."""
    words = list(argv)
    path = words.pop() if words and words[-1].startswith("/") else ""
    address, port = words if len(words) == 2 else (*words, str(DEFAULT_PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(port)
    return address, int(port), path


async def probe(address: str, port: int, path: str) -> str:
    """What the service did, in a word. OSError: as connect; EPROTO, or EIO for 400 and above."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        if not path:
            return "accepts"
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        line = (await reader.read(MAX_LINE)).partition(b"\r\n")[0].decode("ascii", "replace")
    finally:
        writer.close()
    protocol, _, answer = line.partition(" ")
    status = answer[:3]
    if not protocol.startswith("HTTP/") or not status.isdecimal():
        raise OSError(errno.EPROTO, f"not HTTP: {line[:60]!r}" if line else "no answer")
    if int(status) >= 400:
        raise OSError(errno.EIO, answer)
    return answer


async def check(argv: list[str]) -> int:
    """check ADDRESS [PORT] [PATH]: connects; with PATH, GET of it must end below 400."""
    try:
        address, port, path = parse(argv)
    except ValueError:
        print(USAGE)
        return 2
    status = 1
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answer = await probe(address, port, path)
        status = 0
    except OSError as error:
        late = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        answer = failure(error if error.errno else late)
    print(f"check {' '.join(argv)}: {answer}")
    return status
