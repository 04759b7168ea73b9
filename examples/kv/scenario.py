"""A scenario for sweeps: one client's requests; the journal must have each of them once.

xenemu sweep examples/kv/scenario.py:KV --every 1
"""

from __future__ import annotations

from pathlib import Path

from xenemu.lab.clients import Report, close, connect
from xenemu.lab.scenarios import Scenario

ROUNDS = 20
HERE = Path(__file__).parent
JOURNAL = "journal"  # of service.py


async def client(seed: int, report: Report) -> None:
    """Counts, in requests of which two are under way at a time, and looks at what it counted."""
    reader, writer = stream = await connect()
    for i in range(1, ROUNDS + 1):
        writer.write(f"s{i} SET last {seed + i}\ni{i} INCR count\n".encode())
        report.check(f"SET {i}", await reader.readline(), f"s{i} OK\n".encode())
        report.check(f"INCR {i}", await reader.readline(), f"i{i} VALUE {i}\n".encode())
    writer.write(b"last GET last\n")
    expected = f"last VALUE {seed + ROUNDS}\n".encode()
    report.check("GET", await reader.readline(), expected)
    writer.write_eof()
    await close(stream, report)


def journal(seed: int) -> dict[str, bytes]:
    """What is in it at the end."""
    lines = []
    for i in range(1, ROUNDS + 1):
        lines.append(f"s{i}\tOK\tlast\t{seed + i}\n")
        lines.append(f"i{i}\tVALUE {i}\tcount\t{i}\n")
    lines.append(f"last\tVALUE {seed + ROUNDS}\n")
    return {JOURNAL: "".join(lines).encode()}


def no_journal(seed: int) -> dict[str, bytes]:
    """Each run begins with none."""
    return {JOURNAL: b""}


KV = Scenario(
    client,
    f"{HERE}/service.py",
    files=no_journal,
    stored=journal,
    profile=f"{HERE}/profile.py:kv",
)
