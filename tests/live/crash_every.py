"""Real curl transfers, always some of them running, while the service crashes again and again.

    python tests/live/crash_every.py [--seconds 300] [--clients 10] [--mib 20] [--every 1]
        [--kind app|kernel] [--seed N]

Each client downloads and uploads in turn, one connection each, never retried. Every sha256 must
be right and no curl may fail. Prints a summary; exit 0 or 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from parallel_curl import XENEMU, boot, curl, wait_protected


class Client(threading.Thread):
    """Downloads and uploads one file until the time is over."""

    def __init__(self, number: int, url: str, root: Path, until: float) -> None:
        super().__init__()
        self.number, self.url, self.root, self.until = number, url, root, until
        self.wanted = hashlib.sha256((root / f"f{number}").read_bytes()).hexdigest()
        self.spans: list[tuple[float, float]] = []
        self.problems: list[str] = []

    def run(self) -> None:
        upload = bool(self.number % 2)
        while time.monotonic() < self.until:
            began = time.monotonic()
            self.transfer(upload)
            self.spans.append((began, time.monotonic()))
            upload = not upload

    def transfer(self, upload: bool) -> None:
        source = self.root / f"f{self.number}"
        target = (
            self.root / f"up{self.number}" if upload else self.root.parent / f"got{self.number}"
        )
        target.unlink(missing_ok=True)
        if upload:
            job = curl(["-T", str(source), f"{self.url}{target.name}"])
        else:
            job = curl(["-o", str(target), f"{self.url}{source.name}"])
        out, err = job.communicate()
        if job.returncode:
            self.problems.append(f"curl exit {job.returncode}: {err.decode().strip()}")
        elif hashlib.sha256(target.read_bytes()).hexdigest() != self.wanted:
            self.problems.append("wrong bytes")
        elif upload and out.decode().split()[:1] != [self.wanted]:
            self.problems.append(f"wrong answer {out[:80]!r}")


def idle_seconds(spans: list[tuple[float, float]], began: float, ended: float) -> float:
    """Time between two instants in which nobody transferred anything."""
    idle, at = 0.0, began
    for start, end in sorted(spans):
        idle += max(0.0, min(start, ended) - at)
        at = max(at, end)
    return idle + max(0.0, ended - at)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--mib", type=int, default=20)
    parser.add_argument("--every", type=float, default=1)
    parser.add_argument("--kind", choices=["app", "kernel"], default="app")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        root.mkdir()
        for i in range(options.clients):
            (root / f"f{i}").write_bytes(rng.randbytes(options.mib << 20))
        name = f"every-{options.seed}"
        server, url = boot(root, name, Path(directory) / "log")
        try:
            wait_protected(name)
            crash = [*XENEMU, "crash", options.kind, "--every", str(options.every)]
            count = ["--count", str(int(options.seconds / options.every)), "--json"]
            began = time.monotonic()
            until = began + options.seconds
            clients = [Client(i, url, root, until) for i in range(options.clients)]
            for client in clients:
                client.start()
            crashed = subprocess.run(
                [*crash, *count, "--name", name], capture_output=True, text=True
            )
            for client in clients:
                client.join()
            crashes = sum(bool(json.loads(line)) for line in crashed.stdout.splitlines())
        finally:
            subprocess.run([*XENEMU, "stop", "--name", name], capture_output=True)
            server.wait(timeout=20)
            print((Path(directory) / "log").read_text()[-2000:], end="", file=sys.stderr)
    problems = [f"client {c.number}: {p}" for c in clients for p in c.problems]
    if crashed.returncode:
        problems.append(f"crash: {crashed.stderr.strip()}")
    for problem in problems:
        print(problem)
    spans = [span for client in clients for span in client.spans]
    print(
        f"{len(spans)} transfers of {options.mib} MiB, {crashes} crashes of the {options.kind}, "
        f"{idle_seconds(spans, began, until):.2f} of {options.seconds:g} s without a transfer, "
        f"longest {max(end - start for start, end in spans):.2f} s, {len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
