"""Real clients of httpd, FTP and the proxy at once, while services and kernels crash.

    python tests/live/services_every.py [--seconds 300] [--every 2] [--upgrade-every 60]
        [--kernel-every 5] [--ends 3] [--mib 4] [--only KIND,...] [--seed N]

One system with three services. Its clients never pause and never retry: curl and lftp (FTP up and
down, listings), pyftpdlib's ftpbench, curl and wget through the proxy to several end servers, curl
to the file server. Each service in turn crashes, the kernel every --kernel-every-th time, and each
is upgraded in turn. Every byte must be right, no program may fail, every crash and upgrade must be
done, and each end server's log must have one copy of each request. Prints the problems as they
come, and a summary; exit 0 or 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from parallel_curl import XENEMU, wait_protected
from service_clients import KINDS, Client, Place

SERVICES = ("httpd", "ftp", "proxy")
PASSIVE = 60
GATEWAY = "10.0.1.1"  # this host, to guests
LOUD = {"connection-diverged", "connection-reset", "connection-unprotected", "recovery-failed"}


def passive_range() -> str:
    """Ports that are all free, below the host's own ephemeral ones."""
    for low in range(30000, 32700 - PASSIVE, PASSIVE):
        try:
            for port in range(low, low + PASSIVE):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return f"{low}-{low + PASSIVE - 1}"
    raise SystemExit("no free ports")


class EndServers:
    """Processes on loopback."""

    def __init__(self, count: int, work: Path) -> None:
        self.logs = [work / f"end{i}.log" for i in range(count)]
        program = Path(__file__).with_name("end_server.py")
        self.jobs = [
            subprocess.Popen(
                [sys.executable, program, log],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for log in self.logs
        ]  # fmt: skip
        self.urls = [
            f"http://{GATEWAY}:{int(job.stdout.readline())}" for job in self.jobs if job.stdout
        ]

    def stop(self) -> None:
        for job in self.jobs:
            if job.stdin:
                job.stdin.close()
            job.wait(timeout=10)

    def problems(self, asked: dict[str, bytes | None]) -> list[str]:
        """Asked twice, not at all, of another number than was answered, or by half."""
        found: list[str] = []
        seen: Counter[str] = Counter()
        for log in self.logs:
            for line in log.read_text().splitlines():
                kind, *rest = line.split(maxsplit=3)
                if kind == "bad":
                    found.append(f"{log.name}: {line}")
                if kind != "ask":
                    continue
                _, number, path = rest
                seen[path] += 1
                answer = asked.get(path)
                if (
                    path.startswith("/count/")
                    and answer is not None
                    and answer.strip() != number.encode()
                ):
                    found.append(f"{path} was answered {answer!r}, is {number} in {log.name}")
        found += [f"{path} was asked {n} times" for path, n in seen.items() if n > 1]
        found += [f"{path} was never asked" for path in asked if not seen[path]]
        found += [f"{path}: nobody wanted that" for path in seen if path not in asked]
        return found


def boot(
    place: Path, root: Path, name: str, pcap: Path | None
) -> tuple[subprocess.Popen[str], list[str]]:
    """Three services; the URL of each."""
    command = [*XENEMU, "boot", "--root", str(root), "--name", name]
    for service, port in zip(SERVICES, (80, 21, 3128), strict=True):
        command += ["--service", service, "--forward", f"0:{port}"]
    command += ["--passive-ports", passive_range()]
    command += ["--pcap", str(pcap)] if pcap else []
    with (place / "log").open("w") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("ready "):
            return server, line.split()[1:]
    raise SystemExit(f"boot failed: {(place / 'log').read_text()}")


def call(name: str, *arguments: str) -> str:
    """What was wrong with a command."""
    try:
        job = subprocess.run(
            [*XENEMU, *arguments, "--name", name], capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(arguments)}: hangs"
    return f"{' '.join(arguments)}: {job.stderr.strip()}" if job.returncode else ""


class Faults:
    """Crashes and upgrades, one after the other."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def do(self, what: str, *arguments: str) -> None:
        problem = call(self.name, *arguments)
        self.counts[what] += 1
        if problem:
            self.problems.append(problem)
            print(time.strftime("%H:%M:%S"), problem, flush=True)

    def run(self) -> None:
        began = time.monotonic()
        upgrade = began + (self.options.upgrade_every or 1e9)
        crashed, upgraded = itertools.cycle(SERVICES), itertools.cycle(SERVICES)
        for number in itertools.count(1):
            now = time.monotonic()
            if now >= began + self.options.seconds:
                return
            if now >= upgrade:
                wait_protected(self.name)
                self.do("upgrade", "upgrade", "--service", next(upgraded), "--reload", "--no-check")
                upgrade += self.options.upgrade_every
            elif self.options.every:
                patient = ["--every", "1", "--count", "1"]
                if self.options.kernel_every and number % self.options.kernel_every == 0:
                    self.do("kernel", "crash", "kernel", *patient)
                else:
                    service = next(crashed)
                    self.do(service, "crash", "app", "--service", service, *patient)
            time.sleep(max(0.0, now + (self.options.every or 1) - time.monotonic()))


def loud(name: str, keep: Path | None) -> tuple[Counter[str], list[str]]:
    """How often each event was, and those that tell of a loss."""
    job = subprocess.run(
        [*XENEMU, "events", "--json", "--name", name], capture_output=True, text=True
    )
    events = [json.loads(line) for line in job.stdout.splitlines()]
    if keep:
        keep.write_text(job.stdout)
    counts = Counter(str(event.get("name", event.get("event"))) for event in events)
    return counts, [str(e) for e in events if str(e.get("name", e.get("event"))) in LOUD]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--every", type=float, default=2)
    parser.add_argument("--upgrade-every", type=float, default=60)
    parser.add_argument("--kernel-every", type=int, default=5)
    parser.add_argument("--ends", type=int, default=3)
    parser.add_argument("--mib", type=int, default=4)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--events", type=Path, help="a file for what happened")
    parser.add_argument("--pcap", type=Path, help="a file for all packets")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        root = work / "root"
        root.mkdir()
        name = f"services-{options.seed}"
        ends = EndServers(options.ends, work)
        server, urls = boot(work, root, name, options.pcap)
        place = Place(work, root, *urls, ends.urls)
        place.fill(random.Random(options.seed), options.mib)
        stop = threading.Event()
        clients = [Client(kind, place, options.seed, stop) for kind in options.only.split(",")]
        faults = Faults(name, options)
        try:
            wait_protected(name)
            for client in clients:
                client.start()
            faults.run()
        finally:
            stop.set()
            for client in clients:
                client.join()
            counts, lost = loud(name, options.events)
            subprocess.run([*XENEMU, "stop", "--name", name], capture_output=True)
            server.wait(timeout=20)
            ends.stop()
            print((work / "log").read_text()[-2000:], end="", file=sys.stderr)
        more = ends.problems(place.asked) + lost
        for problem in more:
            print(problem)
    problems = len(more) + len(faults.problems) + sum(len(c.problems) for c in clients)
    print(dict(counts))
    print(
        f"seed {options.seed}: "
        f"{', '.join(f'{c.count} {c.kind} (longest {c.longest:.1f} s)' for c in clients)}; "
        f"{len(place.asked)} requests to end servers; "
        f"{', '.join(f'{n} of {what}' for what, n in faults.counts.items())}; {problems} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
