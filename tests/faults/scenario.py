"""A client that fetches, stores and fetches 256 KiB on one connection, and what it must not see.

The witness is the client alone: its bytes, and the segments that cross its own link, read
from the trace by a parser of its own (flags, addresses), not by the implementation's records.
"""

import asyncio
import hashlib
import random

from xenemu.boot.config import Link
from xenemu.boot.system import System

SIZE = 256 * 1024
SERVICE = "10.0.0.1"
SERVICE_IP = 0x0A000001
BOUND_SECONDS = 120.0
PACKET_IN, PACKET_OUT = 1, 2
SYN, RST = 0x02, 0x04

CLEAN = Link(bits_per_second=100_000_000, delay_ns=2_000_000)
LOSSY = Link(
    bits_per_second=100_000_000,
    delay_ns=2_000_000,
    loss_ppm=10_000,
    reorder_ppm=10_000,
    duplicate_ppm=10_000,
)


def content(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


async def read_response(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    assert status.split()[1] in ("200", "201", "204"), status
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return await reader.readexactly(int(headers["content-length"]))


def make_client(seed: int, report: list[str], size: int = SIZE):
    """Connects once: GET, PUT and GET again on one keep-alive connection."""

    async def client(argv: list[str]) -> int:
        data, upload = content(seed, size), content(seed + 1, size)
        try:
            reader, writer = await asyncio.open_connection(SERVICE, 80)
            writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            if await read_response(reader) != data:
                report.append("GET: wrong bytes")
            writer.write(b"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(upload)
            answer = await read_response(reader)
            if answer.decode().split()[0] != hashlib.sha256(upload).hexdigest():
                report.append(f"PUT: wrong sha256 {answer!r}")
            writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if await read_response(reader) != data:
                report.append("second GET: wrong bytes")
            if await reader.read() != b"":
                report.append("bytes after the last response")
            writer.close()
            await writer.wait_closed()
        except (OSError, AssertionError, asyncio.IncompleteReadError) as e:
            report.append(f"client: {type(e).__name__}: {e}")
            return 1
        return 0

    return client


def watch_segments(system: System, node: int, since: int) -> list[str]:
    """Resets and repeated handshakes among the segments that reached the client."""
    records = system.machine.core.trace(since)
    answers: dict[int, set[int]] = {}
    problems = []
    for _, _, kind, at, _, _, (a, b, *_) in records:
        if at != node or kind != PACKET_IN:
            continue
        flags, seq = a >> 32, b >> 32
        if flags & RST:
            problems.append("a reset reached the client")
        if flags & SYN:
            answers.setdefault(node, set()).add(seq)
    if any(len(seqs) > 1 for seqs in answers.values()):
        problems.append("the client saw two handshakes")
    return problems
