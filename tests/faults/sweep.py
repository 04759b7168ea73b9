"""Faults at random instants of the scenario; each failure with the command that replays it.

    python tests/faults/sweep.py --count 500 [--seed N] [--links clean,lossy]
    python tests/faults/sweep.py --replay clean:SEED:KIND:EVENT

Runs are in virtual time. Ends 0 if every property held, else 1.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scenario import CLEAN, LOSSY, Result, run

LINKS = {"clean": CLEAN, "lossy": LOSSY}
SEEDS = 8  # runs without a fault that are measured once each


def points(root: Path, link: str, count: int, seed: int) -> Iterator[tuple[int, str, int]]:
    """(run seed, kind, event) of each fault; uniform over the events of the run."""
    rng = random.Random(f"{seed}/{link}")
    lengths: dict[int, int] = {}
    for _ in range(count):
        run_seed = seed + rng.randrange(SEEDS)
        if run_seed not in lengths:
            lengths[run_seed] = run(root, run_seed, LINKS[link], None, 0).events
        yield run_seed, rng.choice(("app", "kernel")), rng.randrange(lengths[run_seed])


def replay_command(link: str, seed: int, kind: str, event: int) -> str:
    return f"python tests/faults/sweep.py --replay {link}:{seed}:{kind}:{event}"


def sweep(root: Path, link: str, count: int, seed: int) -> Iterator[tuple[str, Result]]:
    """Each run's replay command and result."""
    for run_seed, kind, event in points(root, link, count, seed):
        yield (
            replay_command(link, run_seed, kind, event),
            run(root, run_seed, LINKS[link], kind, event),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--links", default="clean,lossy")
    parser.add_argument("--replay")
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        if options.replay:
            link, seed, kind, event = options.replay.split(":")
            result = run(root, int(seed), LINKS[link], kind, int(event))
            print(result)
            return 1 if result.failures else 0
        for link in options.links.split(","):
            began, worst, failed = time.monotonic(), 0.0, 0
            for command, result in sweep(root, link, options.count, options.seed):
                worst = max(worst, result.seconds)
                if result.failures:
                    failed += 1
                    print(f"{command}\n    {'; '.join(result.failures)}", flush=True)
            rate = options.count / (time.monotonic() - began)
            print(
                f"{link}: {options.count} faults, {failed} violated a property, longest run "
                f"{worst:.3f} s of machine time, {rate:.1f} faults/s",
                flush=True,
            )
            bad += failed
    return 1 if bad else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # dead guests stay in their graveyard: nothing of them may run now
