"""`xenemu sweep`: faults at chosen instants of the built-in scenarios, judged by a witness."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from xenemu.cli.app import complain, json_option, leave, main, say
from xenemu.lab.forks import Outcome, record, run_alone, workspace
from xenemu.lab.plan import Plan
from xenemu.lab.point import (
    HOWS,
    SAME_DOMAIN,
    UPGRADE,
    WHENS,
    Fault,
    can_stop_at_stores,
    parse,
)
from xenemu.lab.pool import Pool
from xenemu.lab.scenarios import LINKS, SCENARIOS, scenario_of
from xenemu.lab.versions import VERSIONS

FAULTS = 1000  # when nothing says how many


def replay_command(outcome: Outcome) -> str:
    """What runs a point again, by itself."""
    return f"xenemu sweep --replay {outcome}"


@dataclass(slots=True)
class Tally:
    """What a sweep has found so far."""

    jobs: int
    began: float = field(default_factory=time.monotonic)
    points: int = 0
    lost: int = 0
    longest_ns: int = 0
    failed: list[Outcome] = field(default_factory=list)
    by_course: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """One outcome more; the run without a fault is no point."""
        if outcome.failures:
            self.failed.append(outcome)
        if not outcome.point.faults:
            return
        self.points += 1
        name = f"{outcome.course.scenario} {outcome.course.link}"
        self.by_course[name] = self.by_course.get(name, 0) + 1
        if outcome.verdict is not None:
            self.lost += outcome.verdict.lost
            self.longest_ns = max(self.longest_ns, outcome.verdict.time)

    @property
    def rate(self) -> float:
        """Points a second, of each job."""
        return self.points / max(1e-9, time.monotonic() - self.began) / self.jobs

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "points": self.points,
            "points_by_course": dict(sorted(self.by_course.items())),
            "lost_loudly": self.lost,
            "longest_run_ns": self.longest_ns,
            "seconds": round(time.monotonic() - self.began, 3),
            "jobs": self.jobs,
            "points_per_second_and_job": round(self.rate, 2),
            "violations": [
                {"point": str(o), "replay": replay_command(o), "failures": list(o.failures)}
                for o in self.failed
            ],
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        for name, count in sorted(self.by_course.items()):
            bad = sum(f"{o.course.scenario} {o.course.link}" == name for o in self.failed)
            yield f"{name:<18} {count:7} points  {bad:5} violated a property"
        yield (
            f"{self.points} points, {len(self.failed)} violations, {self.lost} lost loudly, "
            f"longest run {self.longest_ns / 1e9:.3f} s of machine time, "
            f"{self.rate:.1f} points/s on each of {self.jobs} jobs"
        )


def kinds_of(kind: str, how: str | None) -> tuple[Fault, ...]:
    """The faults that the options name; click.UsageError."""
    whats = {"both": ("app", "kernel"), "any": tuple(HOWS)}.get(kind, (kind,))
    hows = HOWS | {UPGRADE: VERSIONS}
    if how == "any":
        return tuple(Fault(what, each) for what in whats for each in hows[what])
    try:
        return tuple(Fault.parse(f"{what}.{how}" if how else what) for what in whats)
    except ValueError as error:
        raise click.UsageError(f"--how: {error}") from None


@contextmanager
def progress(total: int | None, seconds: float | None) -> Iterator[Any]:
    """A function to call with the tally; a bar on a terminal, nothing else elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("sweep", total=seconds if total is None else total)

        def show(tally: Tally) -> None:
            text = f"{tally.points} points, {tally.rate * tally.jobs:.1f}/s"
            if tally.failed:
                text += f", [red]{len(tally.failed)} violations[/red]"
            done = time.monotonic() - began if total is None else tally.points
            bar.update(task, completed=done, description=text)

        yield show


def replay(text: str, pcap: Path | None, as_json: bool) -> int:
    """One point by itself; 0 if every property held. OSError."""
    try:
        course, point = parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--replay") from None
    require_stores(point.at)
    with workspace() as directory:
        outcome = run_alone(course, point, directory)
    if pcap is not None:  # the same run again
        with workspace() as directory:
            record(course, point, directory, pcap)
    verdict = outcome.verdict
    assert verdict is not None
    if as_json:
        fields = {name: getattr(verdict, name) for name in verdict.__slots__}
        say(json.dumps({"point": str(outcome), **fields}))
    else:
        say(
            f"{outcome}: {verdict.faults} faults, {verdict.events} events, "
            f"{verdict.time / 1e9:.6f} s of machine time, trace {verdict.trace_hash:016x}"
            + (", lost loudly" if verdict.lost else "")
        )
        for failure in verdict.failures:
            say(f"    {failure}")
    return 1 if verdict.failures else 0


def require_stores(at: str) -> None:
    """click.UsageError when this core can't do `--at stores`."""
    if at == "stores" and not can_stop_at_stores():
        raise click.UsageError("--at stores needs a core that is built to stop at them")


def run_plan(plan: Plan, jobs: int, seconds: float | None, fail_fast: bool, as_json: bool) -> int:
    """All of a plan, or what of it the time allows; 0 if every property held."""
    interrupted = False
    with Pool(jobs) as pool, progress(plan.total, seconds) as show:
        tally = Tally(jobs)
        end = float("inf") if seconds is None else tally.began + seconds
        tasks = takewhile(lambda task: time.monotonic() < end, plan.tasks())
        try:
            for outcome in pool.run(tasks):
                tally.add(outcome)
                show(tally)
                if outcome.failures and not as_json:
                    say("\n    ".join((replay_command(outcome), *outcome.failures)))
                if time.monotonic() >= end or (fail_fast and outcome.failures):
                    break
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest does not take long
            interrupted = True
    if as_json:
        say(json.dumps({**tally.as_dict(), "interrupted": interrupted}, indent=2))
    else:
        for line in tally.lines():
            say(line)
    return 130 if interrupted else 1 if tally.failed else 0


@main.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--link", type=click.Choice([*LINKS, "both"]), default="both", show_default=True)
@click.option("--faults", type=click.IntRange(1), help=f"Random points, in all [{FAULTS}].")
@click.option("--every", type=click.IntRange(1), help="Instead: each N-th instant of one run.")
@click.option("--at", type=click.Choice(WHENS), default="events", show_default=True)
@click.option(
    "--kind",
    type=click.Choice(["app", "kernel", "backup", "both", "any", UPGRADE]),
    default="both",
    show_default=True,
    help="both: app and kernel; any: the sleeping backup too.",
)
@click.option(
    "--how",
    metavar="HOW",
    help=f"panic, hang, stall; SIGNAL, exit, exception; of an upgrade {', '.join(VERSIONS)}; any.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    help="Faults in each run. After an upgrade, and in the same domain, faults of any kind come in "
    "the middle of it.",
)
@click.option(
    "--recover",
    type=click.Choice(["backup", SAME_DOMAIN]),
    default="backup",
    show_default=True,
    help="Where a service that fails goes on.",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes [one for each CPU].")
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), help="Stop after that much time.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first violation.")
@click.option("--replay", "replayed", metavar="POINT", help="One point, as a failure names it.")
@click.option(
    "--pcap",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --replay: every node's packets, as pcapng.",
)
@json_option
def sweep(
    scenarios: tuple[str, ...],
    link: str,
    faults: int | None,
    every: int | None,
    at: str,
    kind: str,
    how: str | None,
    repeat: int,
    recover: str,
    jobs: int | None,
    seed: int,
    seconds: float | None,
    fail_fast: bool,
    replayed: str | None,
    pcap: Path | None,
    as_json: bool,
) -> None:
    """Faults at chosen instants of the built-in scenarios, all of them or those named.

    Scenarios: get, put, echo, keep-alive, half-close, read-on, other-answer, idle, many, kv;
    ftp- retr, stor, list, two-files, active; proxy- static, dynamic, keepalive, connect; your own
    is FILE.py:NAME. Ends with 1 if any property was violated, and says for each how to replay it;
    with 130 after Ctrl-C. Of repeated faults that left nobody to take over, which the host says
    loudly, only wrong bytes are violations.
    """
    for name in scenarios:
        try:
            scenario_of(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if replayed is not None and (scenarios or faults or every or seconds):
        raise click.UsageError("--replay runs one point: nothing else chooses any")
    if pcap is not None and replayed is None:
        raise click.UsageError("--pcap goes with --replay")
    if every is not None and faults is not None:
        raise click.UsageError("either --every or --faults")
    require_stores(at)
    if every is None and faults is None and seconds is None:
        faults = FAULTS
    names = scenarios or tuple(SCENARIOS)
    same = recover == SAME_DOMAIN
    plan = Plan(
        tuple(f"{name}/{SAME_DOMAIN}" for name in names) if same else names,
        tuple(LINKS) if link == "both" else (link,),
        kinds_of(kind, how), at, faults, every, repeat, seed,
        later=kinds_of("any", "any") if same or kind == UPGRADE else (),
    )  # fmt: skip
    try:
        if replayed is not None:
            status = replay(replayed, pcap, as_json)
        else:
            status = run_plan(plan, jobs or os.cpu_count() or 1, seconds, fail_fast, as_json)
    except OSError as error:
        complain(error)
        status = 1
    leave(status)
