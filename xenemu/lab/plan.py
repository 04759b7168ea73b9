"""Which points a sweep visits: a function of its options and its seed, and of nothing else."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xenemu.lab.point import Course, Fault, Point
from xenemu.lab.trial import Verdict

POINTS_OF_A_COURSE = 50
MIDDLE = 200  # events: longer than an upgrade, or a recovery


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be swept. `faults`: so many random points in all (None: until somebody stops);
    `every`: instead, each n-th instant of one course a scenario and link. `kinds`: of the first
    fault of a run; `later`: of the others, in the middle of what the first one has begun."""

    scenarios: tuple[str, ...]
    links: tuple[str, ...]
    kinds: tuple[Fault, ...]
    at: str = "events"
    faults: int | None = None
    every: int | None = None
    repeat: int = 1
    seed: int = 1
    later: tuple[Fault, ...] = ()

    def tasks(self) -> Iterator["Task"]:
        """Courses, with how many points each; scenarios and links in turn."""
        pairs = [(scenario, link) for scenario in self.scenarios for link in self.links]
        if self.every is not None:
            yield from (Task(self, Course(*pair, self.seed), 0) for pair in pairs)
            return
        left, seed = self.faults, self.seed
        while left is None or left > 0:
            share = POINTS_OF_A_COURSE
            for i, pair in enumerate(pairs):
                if left is not None:
                    share = min(POINTS_OF_A_COURSE, -(-left // (len(pairs) - i)))
                    left -= share
                if share:
                    yield Task(self, Course(*pair, seed), share)
            seed += 1

    @property
    def total(self) -> int | None:
        """Points in all, if that is known beforehand."""
        return self.faults if self.every is None else None


@dataclass(frozen=True, slots=True)
class Task:
    """One course of a plan, and the number of its points."""

    plan: Plan
    course: Course
    count: int

    def choose(self, calm: Verdict) -> Sequence[Point]:
        """The points, given how the run without a fault went."""
        plan, length = self.plan, self.length(calm)
        rng = random.Random(f"{self.course}/{plan.at}/{plan.repeat}")
        if plan.every is not None:
            firsts = list(range(0, length, plan.every))
        else:
            firsts = [rng.randrange(length) for _ in range(self.count)]
        counted = calm.instants("turns" if plan.at == "turns" else "events")
        return [self._point(first, counted, rng) for first in firsts]

    def length(self, calm: Verdict) -> int:
        """Instants of the run."""
        return calm.instants(self.plan.at)

    def _point(self, first: int, length: int, rng: random.Random) -> Point:
        plan = self.plan
        kinds = (plan.kinds, *[plan.later or plan.kinds] * (plan.repeat - 1))
        faults = tuple(rng.choice(each) for each in kinds)
        most = length // plan.repeat + 1
        most = min(most, MIDDLE) if plan.later else most
        later = (rng.randrange(most) for _ in range(plan.repeat - 1))
        return Point(faults, plan.at, (first, *later))
