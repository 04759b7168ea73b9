"""Real curl transfers, always some of them running, through one upgrade after another.

    python tests/live/upgrade_every.py [--upgrades 200] [--broken-every 10] [--mib 100] [--seed N]

Downloads, uploads, and several requests on one connection, never retried. Every sha256 must be
right, no curl may fail, and a client that asks again and again must need one connection. Each
upgrade loads the service anew; every tenth is to a version that raises at import, and must be
rolled back. Prints how long a download stood still in each upgrade (the longest gap between two
reads), median and most; exit 0 or 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from parallel_curl import XENEMU, boot, curl, wait_protected

DOWNLOADS, UPLOADS = 3, 2
REQUESTS = 20  # on one connection
Gap = tuple[float, float]  # when it began, and ended
BROKEN = "raise RuntimeError('a bad build')\n"


class Client(threading.Thread):
    """Does one kind of thing again and again."""

    def __init__(self, stop: threading.Event, transfer: Callable[[Client], str]) -> None:
        super().__init__()
        self.stop, self.transfer = stop, transfer
        self.count = 0
        self.gaps: list[Gap] = []
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            problem = self.transfer(self)
            self.count += 1
            if problem:
                self.problems.append(problem)

    def read(self, pipe: int) -> str:
        """The sha256 of all that comes; notes the gaps."""
        digest, before = hashlib.sha256(), 0.0
        while data := os.read(pipe, 1 << 16):
            now = time.monotonic()
            if before:
                self.gaps.append((before, now))
            before = now
            digest.update(data)
        return digest.hexdigest()


def download(url: str, wanted: str) -> Callable[[Client], str]:
    def transfer(client: Client) -> str:
        job = curl(["-N", url])
        assert job.stdout is not None
        got = client.read(job.stdout.fileno())
        return judged(job, got == wanted)

    return transfer


def upload(url: str, source: Path, wanted: str) -> Callable[[Client], str]:
    def transfer(client: Client) -> str:
        job = curl(["-T", str(source), url])
        assert job.stdout is not None
        return judged(job, job.stdout.read().decode().strip() == wanted)

    return transfer


def keep_alive(url: str, wanted: str) -> Callable[[Client], str]:
    def transfer(client: Client) -> str:
        job = curl(["-w", "%{stderr}%{num_connects}\n", *[url] * REQUESTS])
        assert job.stdout is not None
        right = hashlib.sha256(job.stdout.read()).hexdigest() == wanted
        _, errors = job.communicate()
        connects = [int(line) for line in errors.split()] if not job.returncode else []
        return judged(job, right and sum(connects) == 1, errors)

    return transfer


def judged(job: subprocess.Popen[bytes], right: bool, errors: bytes | None = None) -> str:
    errors = job.communicate()[1] if errors is None else errors
    if job.returncode:
        return f"curl exit {job.returncode}: {errors.decode().strip()}"
    return "" if right else "wrong bytes, or more than one connection"


def upgrade(name: str, broken: Path | None) -> tuple[float, float, str]:
    """When it began and ended, and what was wrong with it."""
    what = ["--service", str(broken)] if broken else ["--reload"]
    began = time.monotonic()
    job = subprocess.run(
        [*XENEMU, "upgrade", *what, "--json", "--name", name], capture_output=True, text=True
    )
    ended = time.monotonic()
    last = job.stdout.splitlines()[-1] if job.stdout else "{}"
    outcome = json.loads(last).get("outcome", job.stderr.strip())
    wanted = "rolled back" if broken else "upgraded"
    return began, ended, "" if outcome == wanted else f"{outcome}: {job.stderr.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrades", type=int, default=200)
    parser.add_argument("--broken-every", type=int, default=10)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        root.mkdir()
        broken = Path(directory) / "broken.py"
        broken.write_text(BROKEN)
        large, small = rng.randbytes(options.mib << 20), rng.randbytes(1 << 20)
        (root / "large").write_bytes(large)
        (root / "small").write_bytes(small)
        small_sum = hashlib.sha256(small).hexdigest()
        name = f"upgrades-{options.seed}"
        server, url = boot(root, name, Path(directory) / "log")
        stop = threading.Event()
        large_sum = hashlib.sha256(large).hexdigest()
        clients = [Client(stop, download(url + "large", large_sum)) for _ in range(DOWNLOADS)]
        for i in range(UPLOADS):
            clients.append(Client(stop, upload(f"{url}up{i}", root / "small", small_sum)))
        many_sum = hashlib.sha256(small * REQUESTS).hexdigest()
        clients.append(Client(stop, keep_alive(url + "small", many_sum)))
        upgrades: list[tuple[float, float, str]] = []
        try:
            wait_protected(name)
            for client in clients:
                client.start()
            for number in range(1, options.upgrades + 1):
                bad = options.broken_every and number % options.broken_every == 0
                upgrades.append(upgrade(name, broken if bad else None))
        finally:
            stop.set()
            for client in clients:
                client.join()
            subprocess.run([*XENEMU, "stop", "--name", name], capture_output=True)
            server.wait(timeout=20)
            print((Path(directory) / "log").read_text()[-2000:], end="", file=sys.stderr)
    problems = [f"client {i}: {p}" for i, c in enumerate(clients) for p in c.problems]
    problems += [f"upgrade {i}: {p}" for i, (_, _, p) in enumerate(upgrades, 1) if p]
    for problem in problems:
        print(problem)
    gaps = [gap for client in clients for gap in client.gaps]
    still = [
        max((e - b for b, e in gaps if e > began and b < ended), default=0.0) * 1000
        for began, ended, _ in upgrades
    ]
    took = [ended - began for began, ended, _ in upgrades]
    print(
        f"{sum(c.count for c in clients)} transfers, {len(upgrades)} upgrades of "
        f"{statistics.median(took):.2f} s (median); a download stood still for "
        f"{statistics.median(still):.1f} ms (median), {max(still):.1f} ms (most); "
        f"{len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
