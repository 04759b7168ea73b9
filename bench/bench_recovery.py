"""How long a recovery takes with 1 to 10,000 live connections, in real time, step by step.

A whole system (domains, VZS, OZS, wrappers) under the real clock, its log touched beforehand.
The service holds every connection and sends back what it gets; the clients are sockets of
emulated hosts, without a program of their own. Each connection has had an answer. Then the
service, or the kernel under it, is crashed, and before anything else happens every client has
sent a request. The same connections live through every run.

detection    crash to its report: at once for a process, the second missed tick for a kernel
switch       fence, network path, waking the backup
remap        the backup maps the log
replay       connections are re-established with the backup's TCP
first byte   crash to the first payload to any client
answered     crash to the last client's answer
total        crash to the backup being the primary: log, address, grant are its own

Then the same of one connection with a history: an FTP session that has fetched 1,000 files, and an
HTTP connection with 10,000 requests, beside one of one (histories.py); `answered` is that to a
request sent at the crash.

Everything shares one CPU: the clients too.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import common
import histories
from histories import Result as History

from xenemu.boot import BootConfig, Forward, ServiceSpec, System, collect_rarely
from xenemu.machine import HANGUP, READABLE, WRITABLE, WorkKind
from xenemu.vmm import Event

COUNTS = (1, 10, 100, 1000, 10_000)
FILES, REQUESTS = (1, 1000), (1, 10_000)
KINDS = ("app", "kernel")
STEPS = ("detection", "switch", "remap", "replay", "first byte", "answered", "total")
SERVICE_IP, CLIENT_IP, PORT = 0x0A000001, 0x0A000102, 80
BACKLOG = 128  # of the service, as usual
PER_HOST = 2000
AT_ONCE = 64  # connections being opened
REQUEST = bytes(range(64))
LOG_WINDOW = 0xFFFF_C900_0000_0000
MIB = 1 << 20
SECONDS = 60.0
CAUGHT_UP_NS = 1_000_000
AIM_CONNECTIONS, AIM_MS = 1000, 1000.0
AIM_HISTORY = 1.5


class Clients:
    """One LAN host's connections: each sends requests and counts what comes back."""

    def __init__(self, system: System, number: int, count: int) -> None:
        self._host = system.machine.add_host(
            CLIENT_IP + number, seed=number + 1, max_socks=power_of_two(count), buffer=4096
        )
        self.count = count
        self.connected = 0
        self.answered = 0  # of the requests that are out
        self.failed = 0
        self._missing: dict[int, int] = {}  # socket -> bytes that are still to come
        self._opening: set[int] = set()
        system.machine.attach(self._host, self)

    def open(self, count: int) -> None:
        """Begins `count` connections; each sends a request when it is there."""
        self._opening |= {self._host.connect(SERVICE_IP, PORT) for _ in range(count)}

    def ask(self) -> None:
        """A request on every connection."""
        self.answered = 0
        for sock in self._missing:
            self._ask(sock)

    def _ask(self, sock: int) -> None:
        if self._host.send(sock, REQUEST) != len(REQUEST):
            raise RuntimeError("a client's send buffer is full")
        self._missing[sock] = len(REQUEST)

    def work(self, kind: int, arg: int, a: int, b: int) -> None:
        if kind != WorkKind.SOCKETS:
            return
        for sock, bits in self._host.ready():
            if bits & HANGUP:
                self.failed += 1
            elif sock in self._opening:
                if bits & WRITABLE:
                    self._opening.remove(sock)
                    self.connected += 1
                    self._ask(sock)
            elif bits & READABLE:
                self._read(sock)

    def _read(self, sock: int) -> None:
        missing = self._missing[sock]
        got = self._host.recv(sock, missing + 1)
        if got != REQUEST[len(REQUEST) - missing :][: len(got)] or not got:
            self.failed += 1
        self._missing[sock] = missing - len(got)
        if missing == len(got):
            self.answered += 1

    def runnable(self) -> bool:
        return False

    def run(self) -> None:
        """Nothing runs here."""

    def bury(self) -> None:
        """Nothing is kept."""


def power_of_two(n: int) -> int:
    return 1 << max(4, (n - 1).bit_length())


class Scene:
    """A protected system with `count` connections that have each had an answer."""

    def __init__(self, count: int, log: int) -> None:
        config = BootConfig(
            root=Path("/"),
            forwards=(Forward(0, PORT),),  # the real clock waits for a forwarded port
            log=log,
            specs=(
                ServiceSpec(str(common.BENCH / "programs" / "hold.py"), (str(PORT), str(BACKLOG))),
            ),
            max_socks=power_of_two(2 * count + 64),
        )
        self.count = count
        self.system = System(config)
        try:
            self.system.boot()
            self._touch_log(log)
            self.clients = [
                Clients(self.system, number, min(PER_HOST, count - first))
                for number, first in enumerate(range(0, count, PER_HOST))
            ]
            for clients in self.clients:
                self._open(clients)
        except BaseException:
            self.system.close()
            raise

    def _touch_log(self, log: int) -> None:
        core, primary = self.system.machine.core, self.system.primary().domid
        for at in range(0, log, MIB):
            core.guest_read(primary, LOG_WINDOW + at, MIB)

    def _open(self, clients: Clients) -> None:
        for first in range(0, clients.count, AT_ONCE):
            end = min(first + AT_ONCE, clients.count)
            clients.open(end - first)
            self.wait(lambda end=end: clients.answered == end, "the connections are not served")  # type: ignore[misc]

    def wait(self, condition: common.Condition, otherwise: str) -> None:
        """Runs until the condition holds; RuntimeError if not, or if a client was failed."""
        met = self.system.run_until(condition, SECONDS)
        failed = sum(c.failed for c in self.clients)
        if failed:
            raise RuntimeError(f"{failed} of {self.count} connections failed")
        if not met:
            raise RuntimeError(otherwise)

    def crash(self, kind: str) -> dict[str, float]:
        """One fault and its recovery; milliseconds of each step."""
        system, core = self.system, self.system.machine.core
        self.wait(system.protected, "no backup comes up")
        gc.collect()
        self.wait(lambda: core.clock - core.now < CAUGHT_UP_NS, "the machine lags behind")
        since, origin = system.log.count, core.clock
        system.crash(kind)
        for clients in self.clients:
            clients.ask()
        self.wait(
            lambda: sum(c.answered for c in self.clients) == self.count, "not all are answered"
        )
        answered = core.clock - origin
        self.wait(lambda: happened(system, since, "recovery-done"), "the recovery is not done")
        return steps_of(system.log.since(since), origin, answered)

    def close(self) -> None:
        self.system.close()


def happened(system: System, since: int, name: str) -> bool:
    return any(event.name == name for event in system.log.since(since))


def steps_of(events: Sequence[Event], origin: int, answered: int) -> dict[str, float]:
    """Milliseconds of each step."""
    at = {event.name: event.time for event in reversed(events)}  # the first of each name
    ends = {
        "detection": (origin, at["fault"]),
        "switch": (at["fault"], at["backup-woken"]),
        "remap": (at["backup-woken"], at["log-remapped"]),
        "replay": (at["log-remapped"], at["connections-reestablished"]),
        "first byte": (origin, at["first-byte"]),
        "answered": (origin, origin + answered),
        "total": (origin, at["recovery-done"]),
    }
    return {name: (end - start) / 1e6 for name, (start, end) in ends.items()}


@dataclass(frozen=True, slots=True)
class Result:
    """Recoveries of one kind with so many connections; times in milliseconds."""

    connections: int
    kind: str
    runs: int
    steps: dict[str, common.Spread]
    against_one: float  # median total against that of the smallest number of connections


def measure(counts: Sequence[int], runs: int, log: int) -> list[Result]:
    results: list[Result] = []
    base: dict[str, float] = {}
    for count in counts:
        scene = Scene(count, log)
        try:
            samples: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
            for run in range(runs):
                for kind in KINDS:
                    common.progress(f"{count} connections, run {run + 1}, {kind}")
                    samples[kind].append(scene.crash(kind))
        finally:
            scene.close()
        for kind, of in samples.items():
            steps = {name: common.Spread.of([one[name] for one in of]) for name in STEPS}
            total = steps["total"].median
            base.setdefault(kind, total)
            results.append(Result(count, kind, runs, steps, total / base[kind]))
    return results


def aims(results: Sequence[Result]) -> list[common.Aim]:
    of = [r for r in results if r.connections == AIM_CONNECTIONS]
    if not of:
        return []
    worst = max(of, key=lambda r: max(r.steps["total"].median, r.steps["answered"].median))
    measured = max(worst.steps["total"].median, worst.steps["answered"].median)
    text = f"{AIM_CONNECTIONS} connections recovered and answered within {AIM_MS:.0f} ms"
    return [common.Aim(text, measured, measured <= AIM_MS, f"{worst.kind} fault, ms")]


def measure_histories(files: Sequence[int], requests: Sequence[int], runs: int) -> list[History]:
    kinds = ((histories.FILES, files), (histories.REQUESTS, requests), (histories.PLAIN, requests))
    return [
        result
        for kind, lengths in kinds
        if lengths
        for result in histories.measure(kind, lengths, runs, KINDS, steps_of)
    ]


def history_aims(results: Sequence[History]) -> list[common.Aim]:
    of = [r for r in results if r.history != histories.PLAIN.name and r.length > 1]
    if not of:
        return []
    worst = max(of, key=lambda r: r.ratio.median)
    measured = worst.ratio.median
    text = f"a long history is answered within {AIM_HISTORY} of the time of a short one"
    at = f"{worst.length} {worst.history}, {worst.kind} fault"
    return [common.Aim(text, measured, measured <= AIM_HISTORY, at)]


def history_table(results: Sequence[History]) -> str:
    rows = [("history", "length", "fault", "replay", "total", "answered", "against short", "95 %")]
    for r in results:
        rows.append(
            (
                r.history,
                f"{r.length}",
                r.kind,
                *(f"{r.steps[name].median:.1f}" for name in ("replay", "total", "answered")),
                f"{r.ratio.median:.2f}",
                f"{r.ratio.low:.2f} - {r.ratio.high:.2f}",
            )
        )
    return common.aligned(rows, left={0, 2})


def table(results: Sequence[Result]) -> str:
    rows = [("connections", "fault", *STEPS, "total 95 %", "against one")]
    for r in results:
        total = r.steps["total"]
        rows.append(
            (
                f"{r.connections}",
                r.kind,
                *(f"{r.steps[name].median:.1f}" for name in STEPS),
                f"{total.low:.1f} - {total.high:.1f}",
                f"{r.against_one:.2f}",
            )
        )
    return common.aligned(rows, left={1})


def main() -> None:
    parser = common.arguments(__doc__, pairs=False)
    parser.add_argument(
        "--connections",
        type=positive,
        nargs="*",
        default=COUNTS,
        metavar="N",
        help="numbers of live connections (1 10 100 1000 10000)",
    )
    for name, default in (("files", FILES), ("requests", REQUESTS)):
        parser.add_argument(
            f"--{name}",
            type=positive,
            nargs="*",
            default=default,
            metavar="N",
            help=f"lengths of histories ({default[0]} {default[1]})",
        )
    parser.add_argument("--runs", type=common.pair_count, default=6, help="faults of each kind (6)")
    parser.add_argument("--log", type=positive, default=512, metavar="MIB", help="log (512)")
    args = parser.parse_args()
    if max(args.connections, default=0) > PER_HOST * 30:
        parser.error("--connections: at most 60000")
    if args.log % 2:
        parser.error("--log: extents of 2 MiB")
    try:
        with collect_rarely():  # as xenemu boot does
            results = measure(args.connections, args.runs, args.log * MIB)
            long = measure_histories(args.files, args.requests, args.runs)
    except (RuntimeError, OSError) as error:
        print(f"bench_recovery: {error}", file=sys.stderr)
        sys.exit(1)
    text = [f"{args.runs} faults of each kind, milliseconds, medians"]
    text += [table(results)] if results else []
    text += [history_table(long)] if long else []
    common.emit(
        "recovery",
        [asdict(r) for r in results],
        aims(results) + history_aims(long),
        "\n\n".join(text),
        extra={"histories": [asdict(r) for r in long]},
        as_json=args.json,
    )


def positive(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return n


if __name__ == "__main__":
    main()
