"""Rounds of parallel curl transfers through a booted system, with one crash in each.

    python tests/live/parallel_curl.py [--rounds 20] [--clients 20] [--mib 20] [--seed N]

Boots its own system, runs downloads and then uploads; every sha256 must be right, with no
curl error and no retry. Prints a line a round and a summary; exit 0 or 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

XENEMU = [sys.executable, "-m", "xenemu"]


def boot(root: Path, name: str, log: Path) -> tuple[subprocess.Popen[str], str]:
    with log.open("w") as errors:
        server = subprocess.Popen(
            [*XENEMU, "boot", "--root", str(root), "--forward", "0:80", "--name", name],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("ready "):
            return server, line.split()[1]
    raise SystemExit(f"boot failed: {log.read_text()}")


def wait_protected(name: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        out = subprocess.run(
            [*XENEMU, "list", "--json", "--name", name], capture_output=True, text=True
        )
        if '"backup"' in out.stdout and '"paused"' in out.stdout:
            return
        time.sleep(0.05)
    raise SystemExit("the system is not protected again within 30 s")


def curl(args: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["curl", "-sS", "--fail", "--max-time", "60", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def one_round(
    url: str,
    name: str,
    upload: bool,
    clients: int,
    files: list[Path],
    root: Path,
    kind: str,
    delay: float,
) -> list[str]:
    wanted = [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    started = time.monotonic()
    if upload:
        jobs = [curl(["-T", str(files[i]), f"{url}up{i}"]) for i in range(clients)]
    else:
        jobs = [
            curl(["-o", str(root.parent / f"got{i}"), f"{url}{files[i].name}"])
            for i in range(clients)
        ]
    time.sleep(max(0.0, delay - (time.monotonic() - started)))  # the instant of the fault is random
    running = sum(job.poll() is None for job in jobs)
    crash = subprocess.run([*XENEMU, "crash", kind, "--name", name], capture_output=True, text=True)
    problems = [f"crash: {crash.stderr.strip()}"] if crash.returncode else []
    for i, job in enumerate(jobs):
        out, err = job.communicate()
        if job.returncode:
            problems.append(f"client {i}: curl exit {job.returncode}: {err.decode().strip()}")
            continue
        target = root / f"up{i}" if upload else root.parent / f"got{i}"
        if hashlib.sha256(target.read_bytes()).hexdigest() != wanted[i]:
            problems.append(f"client {i}: wrong bytes")
        if upload and out.decode().split()[:1] != [wanted[i]]:
            problems.append(f"client {i}: wrong answer {out[:80]!r}")
    print(
        f"{'PUT' if upload else 'GET'} crash {kind:6} at {delay * 1e3:6.1f} ms, "
        f"{running:2} running then, {time.monotonic() - started:.2f} s: "
        f"{'; '.join(problems) or 'right'}",
        flush=True,
    )
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--mib", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}")
    bad = 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        source = Path(directory) / "source"
        root.mkdir()
        source.mkdir()
        for i in range(options.clients):
            data = rng.randbytes(options.mib << 20)
            (root / f"f{i}").write_bytes(data)
            (source / f"f{i}").write_bytes(data)
        name = f"live-{options.seed}"
        server, url = boot(root, name, Path(directory) / "log")
        try:
            for upload in (False, True):
                files = [(source if upload else root) / f"f{i}" for i in range(options.clients)]
                for _ in range(options.rounds):
                    wait_protected(name)
                    bad += bool(
                        one_round(
                            url,
                            name,
                            upload,
                            options.clients,
                            files,
                            root,
                            rng.choice(["app", "kernel"]),
                            rng.uniform(0.05, 1.5),
                        )
                    )
        finally:
            subprocess.run([*XENEMU, "stop", "--name", name], capture_output=True)
            server.wait(timeout=20)
            print((Path(directory) / "log").read_text()[-2000:], end="", file=sys.stderr)
    print(f"{2 * options.rounds} rounds, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
