"""A download with a fault in it, recovered by the backup and in the same domain (figs. 20-21).

Virtual time: a file over a 100 Mbit/s link of 1 ms; the service is killed after 10 KB, or after
half of the file. `backup`: the suspended backup takes over. `same`: the service is started again
where it was, which is made to take --start seconds (the thesis: 0.3). `start` is that part of what
the fault costs.

Real time: from the crash to the end of the recovery on this machine, with the start of the
service, which takes what it takes, apart.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import common

from xenemu.boot import BootConfig, Forward, Link, System, add_client, collect_rarely, small_config

LINK = Link(bits_per_second=100_000_000, delay_ns=1_000_000)
SIZES = (100_000, 500_000, 1_000_000, 5_000_000)
EARLY = 10_000
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


class Download:
    """A client of an emulated host; `got` bytes of the body so far."""

    def __init__(self, system: System) -> None:
        self.got = 0
        self._system = system
        self.took = 0
        self.process = add_client(system, link=LINK).spawn(self._run)

    async def _run(self, argv: list[str]) -> int:
        began = self._system.now
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while data := await reader.read(65536):
            self.got += len(data)
        self.took = self._system.now - began
        writer.close()
        return 0


def until(system: System, condition: Callable[[], bool], otherwise: str) -> None:
    if not system.run_until(condition, SECONDS):
        raise RuntimeError(otherwise)


def restart_ms(system: System, since: int) -> float:
    """From the order to start the service again to its listening; 0: there was none."""
    at = {event.name: event.time for event in reversed(system.log.since(since))}
    return (at["service-up"] - at["restart"]) / MS if "restart" in at else 0.0


def transfer(root: Path, size: int, fault: int, way: str, start: float) -> tuple[float, float]:
    """Milliseconds of a download, and of the service's start in it. `fault`: after so many bytes;
    0: none."""
    config = small_config(root=root, same_domain=way == "same", start_seconds=start)
    with System(config) as system:
        system.boot()
        since = system.log.count
        download = Download(system)
        if fault:
            until(system, lambda: download.got >= fault, "the download does not begin")
            system.crash("app")
        until(system, lambda: download.process.exited, "the download does not end")
        if download.got != size or download.process.exit_status:
            raise RuntimeError(f"{download.got} of {size} bytes")
        return download.took / MS, restart_ms(system, since)


def transfers(sizes: Sequence[int], start: float) -> list[Transfer]:
    out = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for size in sizes:
            (root / "file").write_bytes(bytes(size))
            common.progress(f"{size} bytes")
            plain, _ = transfer(root, size, 0, "backup", start)
            out.append(Transfer(size, "none", "", plain, 0.0, 0.0))
            for what, fault in (("10 KB", EARLY), ("half", size // 2)):
                for way in WAYS:
                    total, began = transfer(root, size, fault, way, start)
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


def main() -> None:
    parser = common.arguments(__doc__, pairs=False)
    parser.add_argument("--start", type=float, default=0.3, metavar="SECONDS", help="(0.3)")
    parser.add_argument("--runs", type=common.pair_count, default=6, help="in real time (6)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    args = parser.parse_args()
    if not 0 <= args.start <= 5 or min(args.sizes) < 2 * EARLY:
        parser.error(f"--start: 0 to 5; --sizes: at least {2 * EARLY}")
    try:
        virtual = transfers(args.sizes, args.start)
        with collect_rarely():
            real = recoveries(args.runs)
    except (RuntimeError, OSError) as error:
        print(f"bench_transfer: {error}", file=sys.stderr)
        sys.exit(1)
    common.emit(
        "transfer",
        [asdict(each) for each in (*virtual, *real)],
        [],
        f"{table(virtual)}\n\nreal time, medians of {args.runs}\n\n{real_table(real)}",
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
