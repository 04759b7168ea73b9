"""The client side of `kv`: the key-value store of examples/kv, asked for everything once.

Several connections add to one counter; what they got, and what it says in the end, shows a
request that was carried out twice, or not at all.
"""

import asyncio

from xenemu.lab.clients import Report, Stream, close, connect

WRITERS, TURNS = 3, 40
COUNTER = "shared"


async def answered(stream: Stream, report: Report, request: str, expected: str) -> None:
    """The next answer is this one."""
    line = await stream[0].readuntil(b"\n")
    report.check(request, line, f"{request.split()[0]} {expected}\n".encode())


async def ask(stream: Stream, report: Report, request: str, expected: str) -> None:
    """One request and its answer."""
    stream[1].write(f"{request}\n".encode())
    await answered(stream, report, request, expected)


async def writer(number: int, report: Report) -> list[int]:
    """One connection: keys of its own, half of the requests pipelined; what the counter said."""
    stream = await connect()
    said = []
    for turn in range(TURNS):
        name, key = f"{number}-{turn}", f"k{number}"
        await ask(stream, report, f"{name}a SET {key} v{turn}", "OK")
        for rest in (f"b GET {key}", f"c INCR {COUNTER}", f"d DEL {key}", f"e GET {key}"):
            stream[1].write(f"{name}{rest}\n".encode())
        await answered(stream, report, f"{name}b", f"VALUE v{turn}")
        whose, _, value = (await stream[0].readuntil(b"\n")).decode().split()
        report.check("INCR", whose.encode(), f"{name}c".encode())
        said.append(int(value))
        await answered(stream, report, f"{name}d", "OK")
        await answered(stream, report, f"{name}e", "NONE")
    stream[1].write_eof()
    await close(stream, report)
    return said


async def kv(seed: int, report: Report) -> None:
    """All writers at once, and a reader after them."""
    said = await asyncio.gather(*(writer(number, report) for number in range(WRITERS)))
    values = sorted(value for each in said for value in each)
    report.check("values of the counter", bytes(values), bytes(range(1, WRITERS * TURNS + 1)))
    stream = await connect()
    await ask(stream, report, f"last GET {COUNTER}", f"VALUE {WRITERS * TURNS}")
    stream[1].write_eof()
    await close(stream, report)
