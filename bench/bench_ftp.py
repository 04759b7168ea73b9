"""Many FTP downloads at the same time, and a fault when the last of them has 1 MB (fig. 22).

Virtual time: all clients share a link of 100 Mbit/s and 1 ms (two of them beyond 250 clients); the
run with the fault against one without. Each client has had one small file before. How many data
commands the new service was fed again is what the service itself says; it must not be more than
were pending.

Real time: hosts without links, files of 3 MB; from the crash until the new service's TCP has sent
something on the last of the data connections, and until the end of the recovery.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import common
from ftp_load import LARGE, SMALL, SMALL_SIZE, Fault, Load

from xenemu.boot import Link, collect_rarely
from xenemu.lab.services import content

COUNTS = (70, 500)
REAL_SIZE = 3_000_000  # at most: more takes minutes with 500 clients
LINK = Link(bits_per_second=100_000_000, delay_ns=1_000_000)


@dataclass(frozen=True, slots=True)
class Run:
    """Downloads in virtual time, with a fault and without; milliseconds."""

    clients: int
    size: int
    total: float
    without: float
    ratio: float
    pending: int
    fed: int
    resumed: float
    recovered: float


@dataclass(frozen=True, slots=True)
class RealRun:
    """Faults in real time; milliseconds."""

    clients: int
    runs: int
    pending: int
    fed: int
    resumed: common.Spread
    recovered: common.Spread


def virtual(root: Path, clients: int, size: int, before: int, kind: str) -> Run:
    """All files, once with a fault in the middle."""
    times = []
    fault = None
    for with_fault in (False, True):
        common.progress(f"{clients} clients, {'a' if with_fault else 'no'} fault")
        with Load(root, clients, size, before, LINK, real=False, seed=clients) as load:
            began = load.system.now
            if with_fault:
                load.all_have_enough()
                fault = load.crash(kind)
            load.all_done()
            times.append((load.system.now - began) / 1e6)
    assert fault is not None
    without, total = times
    return Run(
        clients, size, total, without, total / without,
        fault.pending, fault.fed, fault.resumed, fault.recovered,
    )  # fmt: skip


def real(root: Path, clients: int, size: int, before: int, kind: str, runs: int) -> RealRun:
    """Each run is a host of its own, which ends when all downloads go on."""
    faults: list[Fault] = []
    for run in range(runs):
        common.progress(f"{clients} clients, real time, run {run + 1}")
        with Load(root, clients, size, before, Link(), real=True, seed=run) as load:
            load.all_have_enough()
            faults.append(load.crash(kind))
    return RealRun(
        clients, runs,
        sum(fault.pending for fault in faults), sum(fault.fed for fault in faults),
        common.Spread.of([fault.resumed for fault in faults]),
        common.Spread.of([fault.recovered for fault in faults]),
    )  # fmt: skip


def virtual_table(of: Sequence[Run]) -> str:
    rows = [("clients", "bytes each", "s", "without", "ratio", "pending", "fed", "resumed, ms")]
    for r in of:
        rows.append(
            (
                f"{r.clients}",
                f"{r.size}",
                f"{r.total / 1e3:.2f}",
                f"{r.without / 1e3:.2f}",
                f"{r.ratio:.3f}",
                f"{r.pending}",
                f"{r.fed}",
                f"{r.resumed:.1f}",
            )
        )
    return common.aligned(rows, left=set())


def real_table(of: Sequence[RealRun]) -> str:
    rows = [("clients", "pending", "fed", "resumed, ms", "95 %", "recovered, ms", "95 %")]
    for r in of:
        rows.append(
            (
                f"{r.clients}",
                f"{r.pending}",
                f"{r.fed}",
                f"{r.resumed.median:.1f}",
                f"{r.resumed.low:.1f} - {r.resumed.high:.1f}",
                f"{r.recovered.median:.1f}",
                f"{r.recovered.low:.1f} - {r.recovered.high:.1f}",
            )
        )
    return common.aligned(rows, left=set())


def aims(runs: Sequence[Run | RealRun]) -> list[common.Aim]:
    if not runs:
        return []
    text = "no more data commands are replayed than were pending"
    worst = max(runs, key=lambda run: run.fed / run.pending)
    measured = worst.fed / worst.pending
    return [common.Aim(text, measured, measured <= 1, f"{worst.clients} clients")]


def main() -> None:
    parser = common.arguments(__doc__, pairs=False)
    parser.add_argument(
        "--clients", type=int, nargs="+", default=COUNTS, metavar="N", help="(70 500)"
    )
    parser.add_argument("--size", type=int, default=20_000_000, metavar="BYTES", help="(20000000)")
    parser.add_argument("--before", type=int, default=1, metavar="N", help="small files before (1)")
    parser.add_argument("--fault", choices=("app", "kernel"), default="app")
    parser.add_argument("--runs", type=common.pair_count, default=6, help="in real time (6)")
    parser.add_argument("--only", choices=("virtual", "real"), help="one of the two halves")
    args = parser.parse_args()
    if not 1 <= min(args.clients) <= max(args.clients) <= 1000 or args.size < 1000:
        parser.error("--clients: 1 to 1000; --size: at least 1000")
    runs: list[Run] = []
    real_runs: list[RealRun] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        large, smaller = root / LARGE, min(args.size, REAL_SIZE)
        (root / SMALL).write_bytes(content(2, SMALL_SIZE))
        try:
            with collect_rarely():
                for n in args.clients:
                    if args.only != "real":
                        large.write_bytes(content(1, args.size))
                        runs.append(virtual(root, n, args.size, args.before, args.fault))
                    if args.only != "virtual":
                        large.write_bytes(content(1, smaller))
                        real_runs.append(real(root, n, smaller, args.before, args.fault, args.runs))
        except (RuntimeError, OSError) as error:
            common.progress("")
            print(f"bench_ftp: {error}", file=sys.stderr)
            sys.exit(1)
    text = []
    if runs:
        text.append(f"virtual time, {args.fault} fault\n\n{virtual_table(runs)}\n")
    if real_runs:
        text.append(
            f"real time, medians of {args.runs}, {args.fault} fault\n\n{real_table(real_runs)}\n"
        )
    common.emit(
        "ftp",
        [*map(asdict, runs), *map(asdict, real_runs)],
        aims([*runs, *real_runs]),
        "\n".join(text),
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
