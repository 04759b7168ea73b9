"""A scenario for sweeps: one client's writes, each with an id; the journal must have each once.

xenemu sweep examples/kv/scenario.py:KV --every 1
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from kv.service import JOURNAL

from xenemu.lab.clients import Report, close, connect
from xenemu.lab.scenarios import Scenario

ROUNDS = 20


async def client(seed: int, report: Report, ids: bool = True) -> None:
    """Counts, in requests of which two are under way at a time, and looks at what it counted."""
    reader, writer = stream = await connect()
    for i in range(1, ROUNDS + 1):
        first, second = (f" #s{i}", f" #i{i}") if ids else ("", "")
        writer.write(f"SET last {seed + i}{first}\nINCR count{second}\n".encode())
        report.check(f"SET {i}", await reader.readline(), b"OK\n")
        report.check(f"INCR {i}", await reader.readline(), f"= {i}\n".encode())
    writer.write(b"GET last\nGET count\nQUIT\n")
    expected = f"= {seed + ROUNDS}\n= {ROUNDS}\nBYE\n".encode()
    report.check("the rest", await reader.readexactly(len(expected)), expected)
    await close(stream, report)


def journal(seed: int, ids: bool = True) -> dict[str, bytes]:
    """What is in it at the end."""
    entries = []
    for i in range(1, ROUNDS + 1):
        first, second = (f"#s{i}", f"#i{i}") if ids else (None, None)
        entries.append([first, "last", str(seed + i), "OK"])
        entries.append([second, "count", str(i), f"= {i}"])
    return {JOURNAL: b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)}


def no_journal(seed: int) -> dict[str, bytes]:
    """Each run begins with none."""
    return {JOURNAL: b""}


SERVICE = f"{Path(__file__).with_name('service.py')}:main"
KV = Scenario(client, SERVICE, files=no_journal, stored=journal)
WITHOUT_IDS = Scenario(
    partial(client, ids=False), SERVICE, files=no_journal, stored=partial(journal, ids=False)
)
