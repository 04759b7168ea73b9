"""A download with a fault in it, recovered by the backup and in the same domain (figs. 20-21).

Virtual time: a file over a 100 Mbit/s link of 1 ms; the service is killed after 10 KB, or after
half of the file. `backup`: the suspended backup takes over. `same`: the service is started again
where it was, which is made to take --start seconds (the thesis: 0.3). `start` is that part of what
the fault costs.

With --through proxy the file comes from an end server on the LAN, which is behind such a link too.
Each fault is tried --times times, with other seeds and 10 us later each time; all files must be
whole, and the end server must have had one connection with one request each time.

Real time: from the crash to the end of the recovery on this machine, with the start of the
service, which takes what it takes, apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import common

from xenemu.boot import (
    BootConfig,
    Forward,
    Link,
    ServiceSpec,
    System,
    add_client,
    collect_rarely,
    small_config,
)

LINK = Link(bits_per_second=100_000_000, delay_ns=1_000_000)
SIZES = (100_000, 500_000, 1_000_000, 5_000_000)
EARLY = 10_000
LATER = 10e-6  # seconds
END_SERVER, END_SERVER_IP = 16, "10.0.1.18"  # its number among the hosts
MS = 1e6
SECONDS = 60.0
WAYS = ("backup", "same")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One download; times in milliseconds of machine time. `start`: of the service."""

    size: int
    fault: str
    recovery: str
    total: float
    added: float
    start: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """Recoveries on this machine; milliseconds of real time."""

    recovery: str
    runs: int
    total: common.Spread
    start: common.Spread


@dataclass(frozen=True, slots=True)
class Proxied:
    """Downloads through the proxy; milliseconds of machine time. `requests`, `connections`: that
    the end servers had in all."""

    size: int
    fault: str
    recovery: str
    times: int
    whole: int
    connections: int
    requests: int
    total: common.Spread
    added: common.Spread
    start: float


class Download:
    """A client of an emulated host; `got` bytes of the body so far."""

    def __init__(self, system: System, body: bytes, port: int, url: str) -> None:
        self.got = 0
        self.wrong = False
        self.took = 0
        self._system, self._body, self._port, self._url = system, memoryview(body), port, url
        self.process = add_client(system, link=LINK).spawn(self._run)

    async def _run(self, argv: list[str]) -> int:
        began = self._system.now
        reader, writer = await asyncio.open_connection("10.0.0.1", self._port)
        writer.write(f"GET {self._url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        while data := await reader.read(65536):
            self.wrong |= data != self._body[self.got : self.got + len(data)]
            self.got += len(data)
        self.took = self._system.now - began
        writer.close()
        return 0

    def whole(self) -> bool:
        """It has ended with all the bytes."""
        right = self.got == len(self._body) and not self.wrong
        return right and self.process.exit_status == 0


class EndServer:
    """A host that answers each request with the same body."""

    def __init__(self, system: System, body: bytes) -> None:
        self.connections = self.requests = 0
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        add_client(system, END_SERVER, LINK).spawn(self._run)

    async def _run(self, argv: list[str]) -> int:
        server = await asyncio.start_server(self._serve, "0.0.0.0", 80)
        await server.serve_forever()
        return 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                writer.write(self._answer)
                await writer.drain()
        writer.close()


def until(system: System, condition: Callable[[], bool], otherwise: str) -> None:
    if not system.run_until(condition, SECONDS):
        raise RuntimeError(otherwise)


def restart_ms(system: System, since: int) -> float:
    """From the order to start the service again to its listening; 0: there was none."""
    at = {event.name: event.time for event in reversed(system.log.since(since))}
    return (at["service-up"] - at["restart"]) / MS if "restart" in at else 0.0


def run(system: System, download: Download, fault: int, later: float = 0.0) -> tuple[float, float]:
    """Milliseconds of a download, and of the service's start in it. `fault`: after so many bytes,
    and then so many seconds later; 0: none."""
    since = system.log.count
    if fault:
        until(system, lambda: download.got >= fault, "the download does not begin")
        system.run_for(later)
        system.crash("app")
    until(system, lambda: download.process.exited, "the download does not end")
    if not download.whole():
        raise RuntimeError(f"the download is not whole: {download.got} bytes")
    return download.took / MS, restart_ms(system, since)


def transfer(root: Path, body: bytes, fault: int, way: str, start: float) -> tuple[float, float]:
    """A download from the file server."""
    with System(small_config(root=root, same_domain=way == "same", start_seconds=start)) as system:
        system.boot()
        return run(system, Download(system, body, 80, "/file"), fault)


def proxied(
    body: bytes, fault: int, way: str, start: float, n: int
) -> tuple[float, float, EndServer]:
    """A download through the proxy; `n` tells the tries apart."""
    config = small_config(
        seed=n, specs=(ServiceSpec("proxy"),), same_domain=way == "same", start_seconds=start
    )
    with System(config) as system:
        system.boot()
        server = EndServer(system, body)
        download = Download(system, body, 3128, f"http://{END_SERVER_IP}/file")
        total, began = run(system, download, fault, n * LATER)
        system.run_for(1.0)  # what else would come to the end server
        return total, began, server


def tries(
    body: bytes, what: str, fault: int, way: str, start: float, times: int, plain: float
) -> Proxied:
    """The same fault, again and again. `plain`: the time without one."""
    totals, added, starts, connections, requests = [], [], [], 0, 0
    for n in range(times):
        common.progress(f"through the proxy, {what}, {way}, {n + 1}")
        total, began, server = proxied(body, fault, way, start, n)
        totals.append(total)
        added.append(total - plain)
        starts.append(began)
        connections += server.connections
        requests += server.requests
    spread = common.Spread.of
    return Proxied(
        len(body), what, way, times, len(totals), connections, requests,
        spread(totals), spread(added), median(starts),
    )  # fmt: skip


def through_proxy(size: int, start: float, times: int) -> list[Proxied]:
    body = random.Random(size).randbytes(size)
    plain, _, _ = proxied(body, 0, "backup", start, 0)
    faults = (("10 KB", EARLY), ("half", size // 2))
    return [tries(body, *fault, way, start, times, plain) for fault in faults for way in WAYS]


def transfers(sizes: Sequence[int], start: float) -> list[Transfer]:
    out = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for size in sizes:
            body = random.Random(size).randbytes(size)
            (root / "file").write_bytes(body)
            common.progress(f"{size} bytes")
            plain, _ = transfer(root, body, 0, "backup", start)
            out.append(Transfer(size, "none", "", plain, 0.0, 0.0))
            for what, fault in (("10 KB", EARLY), ("half", size // 2)):
                for way in WAYS:
                    total, began = transfer(root, body, fault, way, start)
                    out.append(Transfer(size, what, way, total, total - plain, began))
    return out


def crash(system: System) -> tuple[float, float]:
    """One recovery in real time: milliseconds of all of it, and of the service's start."""
    until(system, system.protected, "no backup comes up")
    since, origin = system.log.count, system.machine.core.clock
    system.crash("app")

    def done() -> bool:
        return any(event.name == "recovery-done" for event in system.log.since(since))

    until(system, done, "the recovery is not done")
    at = {event.name: event.time for event in system.log.since(since)}
    return (at["recovery-done"] - origin) / MS, restart_ms(system, since)


def recoveries(runs: int) -> list[Recovery]:
    out = []
    for way in WAYS:
        common.progress(f"real time, {way}")
        config = BootConfig(root=Path("/"), forwards=(Forward(0, 80),), same_domain=way == "same")
        with System(config) as system:
            system.boot()
            samples = []
            for _ in range(runs):
                samples.append(crash(system))
                loop_over = system.now + 10 * 10**9  # another fault before that goes to the backup
                if way == "same":
                    until(system, lambda end=loop_over: system.now >= end, "")  # type: ignore[misc]
        totals, starts = zip(*samples, strict=True)
        spread = common.Spread.of
        out.append(Recovery(way, runs, spread(list(totals)), spread(list(starts))))
    return out


def table(of: Sequence[Transfer]) -> str:
    rows = [("bytes", "fault after", "recovery", "ms", "added", "of that start")]
    for t in of:
        cells = ("", "") if t.fault == "none" else (f"{t.added:.1f}", f"{t.start:.1f}")
        rows.append((f"{t.size}", t.fault, t.recovery, f"{t.total:.1f}", *cells))
    return common.aligned(rows, left={1, 2})


def real_table(of: Sequence[Recovery]) -> str:
    rows = [("recovery", "ms", "of that start", "95 %")]
    for r in of:
        span = f"{r.total.low:.1f} - {r.total.high:.1f}"
        rows.append((r.recovery, f"{r.total.median:.1f}", f"{r.start.median:.1f}", span))
    return common.aligned(rows, left={0})


def proxied_table(of: Sequence[Proxied]) -> str:
    rows = [
        (
            "fault after", "recovery", "times", "whole", "connections", "requests",
            "ms", "min - max", "added", "min - max", "of that start",
        )
    ]  # fmt: skip
    for p in of:
        counts = (p.times, p.whole, p.connections, p.requests)
        cells = [
            cell
            for spread in (p.total, p.added)
            for cell in (f"{spread.median:.1f}", f"{spread.min:.1f} - {spread.max:.1f}")
        ]
        rows.append((p.fault, p.recovery, *map(str, counts), *cells, f"{p.start:.1f}"))
    return common.aligned(rows, left={0, 1})


def report_proxied(of: Sequence[Proxied], as_json: bool) -> None:
    worst = max(of, key=lambda p: max(p.requests, p.connections) / p.times)
    ratio = max(worst.requests, worst.connections) / worst.times
    met = all(p.whole == p.connections == p.requests == p.times for p in of)
    text = "each file is whole, of one connection with one request"
    aim = common.Aim(text, ratio, met, f"{worst.fault}, {worst.recovery}")
    title = f"{of[0].size} bytes through the proxy, {of[0].times} times each"
    rows = [asdict(p) for p in of]
    common.emit("transfer", rows, [aim], f"{title}\n\n{proxied_table(of)}\n", as_json=as_json)


def main() -> None:
    parser = common.arguments(__doc__, pairs=False)
    parser.add_argument("--start", type=float, default=0.3, metavar="SECONDS", help="(0.3)")
    parser.add_argument("--runs", type=common.pair_count, default=6, help="in real time (6)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    parser.add_argument("--through", choices=("proxy",), help="the largest size, and only that")
    parser.add_argument("--times", type=common.pair_count, default=100, help="each fault (100)")
    args = parser.parse_args()
    if not 0 <= args.start <= 5 or min(args.sizes) < 2 * EARLY:
        parser.error(f"--start: 0 to 5; --sizes: at least {2 * EARLY}")
    try:
        if args.through:
            tried = through_proxy(max(args.sizes), args.start, args.times)
            report_proxied(tried, args.json)
            return
        virtual = transfers(args.sizes, args.start)
        with collect_rarely():
            real = recoveries(args.runs)
    except (RuntimeError, OSError) as error:
        print(f"bench_transfer: {error}", file=sys.stderr)
        sys.exit(1)
    common.emit(
        "transfer",
        [*map(asdict, virtual), *map(asdict, real)],
        [],
        f"{table(virtual)}\n\nreal time, medians of {args.runs}\n\n{real_table(real)}",
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
