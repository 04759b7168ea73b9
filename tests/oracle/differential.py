"""Random sequences of hypercalls on real Xen and on xenemu: where do they differ?

    python tests/oracle/differential.py --topic event --seed 3 --calls 20000
    python tests/oracle/differential.py --replay FILE

Each run of real Xen takes a prologue and many episodes; the first line that differs in an episode
counts. A difference of a new kind is made as short as it gets, by leaving out steps, and printed
as a script with both answers. Ends with 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle.emulated import emulate
from oracle.real import RealXen, RealXenFailed, RealXenMissing, find_real_xen
from oracle.script import Call, Dump, Op, Script, Show, Shown
from oracle.text import Line, parse, render, script_of, with_answers
from oracle.topics import TOPICS, Topic

Steps = list[list[Op]]
Kind = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """A prologue and episodes of steps; the first step of an episode resets."""

    prologue: list[Op]
    episodes: list[Steps]

    def script(self) -> Script:
        steps = (op for episode in self.episodes for step in episode for op in step)
        return Script([*self.prologue, *steps])


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an episode's lines begin to differ."""

    episode: int
    step: int
    op: Shown
    real: str
    emulated: str

    @property
    def kind(self) -> Kind:
        """Those of one kind are worth one look."""
        label = self.op.label.split(" 0x")[0]
        return (label, self.real, self.emulated) if isinstance(self.op, Call) else (label, "", "")


def generate(topic: Topic, calls: int, episode_steps: int) -> Run:
    """As many whole episodes as make this number of calls."""
    topic.prologue()
    prologue, topic.s.ops = topic.s.ops, []
    episodes: list[Steps] = []
    while calls > 0:
        steps: Steps = []
        for make in [topic.reset, *[topic.step] * episode_steps]:
            make()
            calls -= sum(isinstance(op, Shown) and op.label != "?" for op in topic.s.ops) > 0
            steps.append(topic.s.ops)
            topic.s.ops = []
        episodes.append(steps)
    return Run(prologue, episodes)


def differences(run: Run, real: Iterable[str], emulated: Iterable[str]) -> Iterator[Difference]:
    """The first one of each episode, after its reset, which may have to put right what the episode
    before left different. A label `?` says that lines are not to be compared."""
    lines = zip(real, emulated, strict=False)
    prologue = [op for op in run.prologue if isinstance(op, Shown)]
    for shown, (a, b) in zip(prologue, lines, strict=False):
        if a != b and shown.label != "?":
            yield Difference(-1, 0, shown, a, b)
    for e, episode in enumerate(run.episodes):
        found = False
        for i, step in enumerate(episode):
            for op in step:
                if not isinstance(op, Shown):
                    continue
                a, b = next(lines, ("", ""))
                if a != b and op.label != "?" and i and not found:
                    found = True
                    yield Difference(e, i, op, a, b)


class Differential:
    """Runs, compares, minimises."""

    def __init__(self, xen: RealXen) -> None:
        self.xen = xen

    def compare(self, run: Run) -> list[Difference]:
        """RealXenFailed: real Xen, or the domain, did not survive it, but here it did."""
        script = run.script()
        emulated = emulate(script)
        return list(differences(run, self.real(script, len(emulated)), emulated))

    def real(self, script: Script, n: int) -> list[str]:
        """Real Xen's lines; fewer than there are if it crashes the domain after n of them."""
        try:
            return self.xen.run(script)
        except RealXenFailed:
            pass
        try:
            return self.xen.run(script, at_once=True)
        except RealXenFailed as e:
            if len(e.lines) == n:
                return e.lines
            raise

    def which_differ(self, run: Run, kind: Kind, candidates: Sequence[Steps]) -> list[bool]:
        """Which of these, as episodes of one run, still differ in this way."""
        try:
            found = self.compare(Run(run.prologue, [[run.episodes[0][0], *c] for c in candidates]))
        except RealXenFailed:
            return [False] * len(candidates)
        differ = {d.episode for d in found if d.kind == kind}
        return [n in differ for n in range(len(candidates))]

    def minimise(self, run: Run, difference: Difference, rounds: int) -> Steps:
        """An episode that still differs in this way, by leaving out what can be left out."""
        steps = run.episodes[difference.episode][1 : difference.step + 1]
        for _ in range(rounds):
            last = len(steps) - 1
            alone = [steps[:n] + steps[n + 1 :] for n in range(last)]
            tails = [steps[last - n :] for n in (0, 1, 2, 4, 8) if n < last]
            differ = self.which_differ(run, difference.kind, [*tails, *alone])
            if any(differ[: len(tails)]):
                steps = tails[differ.index(True)]
                continue
            free = [n for n, yes in enumerate(differ[len(tails) :]) if yes]
            if not free:
                break
            steps = self.without(run, difference.kind, steps, free)
        return steps

    def without(self, run: Run, kind: Kind, steps: Steps, free: list[int]) -> Steps:
        """Leaves out as many as possible of the steps that can each be left out."""
        groups = [free[i::n] for n in (1, 2, 4) for i in range(n)] + [free[:1]]
        candidates = [[s for n, s in enumerate(steps) if n not in group] for group in groups]
        differ = self.which_differ(run, kind, candidates)
        return next((c for c, yes in zip(candidates, differ, strict=True) if yes), candidates[-1])

    def report(self, run: Run, difference: Difference, rounds: int) -> str:
        """A script with both answers where they differ; what else it would show is left out."""
        if difference.episode < 0:
            return ""
        steps = self.minimise(run, difference, rounds)
        whole = Run(run.prologue, [[run.episodes[0][0], *steps]]).script()
        mine = emulate(whole)
        real = self.real(whole, len(mine))
        out = []
        skip = len(whole.ops) - sum(map(len, steps))
        both = zip(with_answers(whole.ops, real), with_answers(whole.ops, mine), strict=True)
        for n, (line, other) in enumerate(both):
            different = line.answer != other.answer
            if n >= skip and (different or not isinstance(line.op, Show | Dump)):
                out.append(str(line) + (f"   <== xenemu: {other.answer}" if different else ""))
        return "\n".join(out)


def replay(xen: RealXen, path: Path) -> int:
    """Runs a script on both and prints it with real Xen's answers; 1 if xenemu's differ."""
    lines = parse(path.read_text(encoding="utf-8"))
    script = script_of(lines)
    emulated = emulate(script)
    real = Differential(xen).real(script, len(emulated))
    theirs: list[Line] = list(with_answers(script.ops, real))
    different = 0
    for line, mine in zip(theirs, with_answers(script.ops, emulated), strict=True):
        same = line.answer == mine.answer
        different += not same
        print(render([line]).rstrip() + ("" if same else f"   <== xenemu: {mine.answer}"))
    return int(different > 0)


class Search:
    """Runs of growing seeds until calls or time are used up; differences by kind."""

    def __init__(self, xen: RealXen, args: argparse.Namespace) -> None:
        self.tool = Differential(xen)
        self.args = args
        self.topics = list(TOPICS) if args.topic == "all" else [args.topic]
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.calls = 0

    def run(self) -> int:
        """1 if there was a difference."""
        started, seed = time.monotonic(), self.args.seed
        while self.more(time.monotonic() - started):
            self.one(seed)
            seed += 1
        print(f"{self.calls} calls, {len(self.seen)} kinds of differences")
        for key, n in self.seen.most_common():
            print(f"{n:6} {' | '.join(key)}")
        return int(bool(self.seen))

    def more(self, elapsed_s: float) -> bool:
        if self.args.seconds:
            return elapsed_s < float(self.args.seconds)
        return self.calls < int(self.args.calls)

    def one(self, seed: int) -> None:
        name = self.topics[seed % len(self.topics)]
        topic = TOPICS[name](Random(f"{name} {seed}"))
        run = generate(topic, self.args.per_run, self.args.episode)
        self.calls += self.args.per_run
        try:
            found = self.tool.compare(run)
        except RealXenFailed as e:
            self.seen[name, "lost"] += 1
            print(f"== {name}, seed {seed}: {e}", flush=True)
            return
        for difference in found:
            self.note(f"{name}, seed {seed}", run, difference, (name, *difference.kind))

    def note(self, where: str, run: Run, difference: Difference, key: tuple[str, ...]) -> None:
        self.seen[key] += 1
        if self.seen[key] > 1 or len(self.seen) > self.args.most:
            return
        answers = f"{difference.real}, xenemu {difference.emulated}"
        print(f"== {where}: {difference.op.label}: {answers}", flush=True)
        if self.args.minimise:
            print(self.tool.report(run, difference, self.args.minimise), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--topic", choices=[*TOPICS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--seconds", type=float, help="instead of a number of calls")
    parser.add_argument("--per-run", type=int, default=2000, help="calls of one boot of real Xen")
    parser.add_argument("--episode", type=int, default=40, help="steps of an episode")
    parser.add_argument("--minimise", type=int, default=6, help="rounds for one difference")
    parser.add_argument("--most", type=int, default=20, help="differences to show")
    parser.add_argument("--replay", type=Path, help="a script as text: both answers")
    args = parser.parse_args()
    try:
        xen = find_real_xen()
    except RealXenMissing as e:
        parser.exit(2, f"real Xen can't be run here: {e}\n")
    return replay(xen, args.replay) if args.replay else Search(xen, args).run()


if __name__ == "__main__":
    sys.exit(main())
