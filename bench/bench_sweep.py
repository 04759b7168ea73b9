"""How many points a second `xenemu sweep` tries, on each core, by scenario.

A point is one whole run of a scenario with its fault. Compared are the time of a point with a
job for each core and that with one job: 1 is what jobs that share nothing would reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import common

SCENARIOS = ("get", "put", "echo", "keep-alive", "half-close", "idle", "many")
PAIRS = 4  # whole sweeps: few
TIMEOUT_SECONDS = 600


def sweep(scenario: str, link: str, faults: int, jobs: int, seed: int) -> dict[str, Any]:
    """The sweep's own report. RuntimeError if a property was violated or it did not run."""
    command = [sys.executable, "-m", "xenemu", "sweep", scenario, "--link", link, "--json"]
    command += ["--faults", str(faults), "--jobs", str(jobs), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=directory, timeout=TIMEOUT_SECONDS
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {tail(done)}")
    report: dict[str, Any] = json.loads(done.stdout)
    if report["points"] < faults:
        raise RuntimeError(f"{scenario}: {report['points']} of {faults} points")
    return report


def tail(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-500:]


class Timed:
    """Nanoseconds of a point on one core; each sample has other faults, the same for all jobs."""

    def __init__(self, scenario: str, link: str, faults: int, jobs: int) -> None:
        self._of = (scenario, link, faults, jobs)
        self._seed = 0

    def __call__(self) -> float:
        self._seed += 1
        report = sweep(*self._of, self._seed)
        return float(1e9 * report["seconds"] * report["jobs"] / report["points"])


def main() -> None:
    parser = common.arguments(__doc__)
    parser.set_defaults(pairs=PAIRS)
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, metavar="NAME")
    parser.add_argument("--link", default="clean", help="clean or lossy (clean)")
    parser.add_argument("--faults", type=int, default=40, help="points of one sweep (40)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    results = []
    try:
        for scenario in args.scenarios:
            common.progress(scenario)
            results.append(
                common.compare(
                    f"{scenario}, {args.jobs} jobs",
                    Timed(scenario, args.link, args.faults, args.jobs),
                    "1 job",
                    Timed(scenario, args.link, args.faults, 1),
                    pairs=args.pairs,
                )
            )
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"bench_sweep: {error}", file=sys.stderr)
        sys.exit(1)
    rates = {
        scenario: {"jobs": args.jobs, "points_per_second_and_core": 1e9 / c.what_ns,
                   "with_one_job": 1e9 / c.against_ns}
        for scenario, c in zip(args.scenarios, results, strict=True)
    }  # fmt: skip
    notes = [
        f"{name}: {rate['points_per_second_and_core']:.1f} points a second and core with"
        f" {rate['jobs']} jobs, {rate['with_one_job']:.1f} with one"
        for name, rate in rates.items()
    ]
    common.report("sweep", results, [], notes=notes, extra={"rates": rates}, as_json=args.json)


if __name__ == "__main__":
    main()
