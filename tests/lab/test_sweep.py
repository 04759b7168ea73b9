"""A sample of each scenario, and what a plan promises. XENEMU_FAULTS and XENEMU_SEED choose."""

import os
from itertools import islice
from pathlib import Path

import pytest

from xenemu.lab import trial
from xenemu.lab.forks import ForkServer, Outcome, run_alone, workspace
from xenemu.lab.plan import POINTS_OF_A_COURSE, Plan
from xenemu.lab.point import Course, Fault, Point, parse
from xenemu.lab.pool import Pool
from xenemu.lab.scenarios import LINKS, SCENARIOS
from xenemu.lab.services import READ, keep
from xenemu.lab.trial import Trial, Verdict

FAULTS = int(os.environ.get("XENEMU_FAULTS", "40"))
SEED = int(os.environ.get("XENEMU_SEED", "1"))
BOTH = (Fault("app"), Fault("kernel"))


def sweep(plan: Plan) -> list[Outcome]:
    """In this process; AssertionError with the replay command of each failure."""
    outcomes: list[Outcome] = []
    for task in plan.tasks():
        with workspace() as root:
            ForkServer(task.course, root).run(task.choose, outcomes.append)
    failed = [o for o in outcomes if o.failures]
    lines = [f"xenemu sweep --replay {o}\n    " + "\n    ".join(o.failures) for o in failed]
    assert not failed, "\n" + "\n".join(lines)
    return outcomes


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("at", ["events", "calls"])
def test_faults_at_random_instants(scenario: str, at: str) -> None:
    share = max(1, FAULTS // (2 * len(SCENARIOS)))
    outcomes = sweep(Plan((scenario,), tuple(LINKS), BOTH, at, share, seed=SEED))
    points = [o for o in outcomes if o.point.faults]
    assert len(points) == share
    assert all(o.verdict is not None and o.verdict.faults == 1 for o in points)


@pytest.mark.parametrize("scenario", ["keep-alive", "echo"])
def test_repeated_faults(scenario: str) -> None:
    outcomes = sweep(Plan((scenario,), tuple(LINKS), BOTH, faults=8, repeat=3, seed=SEED))
    assert max(o.verdict.faults for o in outcomes if o.verdict is not None) > 1


@pytest.mark.parametrize("kind", ["app", "kernel"])
@pytest.mark.parametrize(("scenario", "index"), [("put", 60), ("read-on", 200), ("read-on", 280)])
def test_nothing_is_left_in_use(
    monkeypatch: pytest.MonkeyPatch, kind: str, scenario: str, index: int
) -> None:
    monkeypatch.setattr(trial, "CLEANUP_EVERY", 1)
    point = Point((Fault(kind),), "events", (index,))
    with workspace() as root:
        assert run_alone(Course(scenario, "clean", 2), point, root).failures == ()


def test_what_is_left_in_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "CLEANUP_EVERY", 1)
    with workspace() as root, Trial(Course("get", "clean", 2), root) as run:
        run._base.blocks += 1
        (failure,) = run.finish().failures
        assert failure.startswith("in use at the end:")


def test_a_stored_file_that_differs_is_reported() -> None:
    with workspace() as root, Trial(Course("put", "clean", 2), root) as run:
        assert run.system.run_until(lambda: (root / "up").exists(), 10)
        (root / "up").write_bytes(b"other")
        assert run.finish().failures == ("the stored up is not what was sent",)


def test_what_was_read_wrong_is_reported_also_when_it_is_read_right_later(tmp_path: Path) -> None:
    with workspace() as root, Trial(Course("read-on", "clean", 2), root) as run:
        keep(root / READ, b"other", False)
        assert run.finish().failures == ("the stored read is not what was sent",)
    for right in (True, False):
        keep(tmp_path / READ, b"%d" % right, right)
    assert (tmp_path / READ).read_bytes() == b"0"


SERVICE_IP = 0x0A000001


def test_a_lost_service_is_a_failure() -> None:
    with workspace() as root, Trial(Course("get", "clean", 2), root) as run:
        run.system.machine.core.path_clear(SERVICE_IP)
        failures = run.finish().failures
    assert any("hangs" in failure for failure in failures), failures


def test_same_seed_same_run_other_seed_another() -> None:
    hashes = []
    for seed in (3, 3, 4):
        with workspace() as root:
            verdict = run_alone(*parse(f"put:lossy:{seed}:app:events:100"), root).verdict
            assert verdict is not None
            hashes.append(verdict.trace_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def calm(events: int) -> Verdict:
    return Verdict((), events, events // 2, 0, events, 1, 1, 0)


def test_a_plan_is_a_function_of_its_seed() -> None:
    def points(seed: int) -> list[str]:
        plan = Plan(("get", "put"), tuple(LINKS), BOTH, faults=90, repeat=2, seed=seed)
        return [
            f"{task.course}:{point}" for task in plan.tasks() for point in task.choose(calm(500))
        ]

    assert len(points(1)) == 90
    assert points(1) == points(1) != points(2)
    assert {text.split(":")[0] for text in points(1)} == {"get", "put"}


def test_shares_add_up() -> None:
    for faults in (1, 7, 99, 1000):
        plan = Plan(("get", "put", "echo"), ("clean",), BOTH, faults=faults)
        tasks = list(plan.tasks())
        assert sum(task.count for task in tasks) == plan.total == faults
        assert max(task.count for task in tasks) <= POINTS_OF_A_COURSE


def test_every_nth_instant_and_no_end() -> None:
    plan = Plan(("get",), ("clean",), BOTH, "calls", every=10)
    (task,) = plan.tasks()
    assert [p.indices for p in task.choose(calm(80))] == [(0,), (10,), (20,), (30,)]
    endless = Plan(("get",), ("clean",), BOTH)
    seeds = [task.course.seed for task in islice(endless.tasks(), 3)]
    assert (endless.total, seeds) == (None, [1, 2, 3])


def test_workers_find_what_one_process_finds() -> None:
    plan = Plan(("get", "put"), ("clean",), BOTH, faults=8, seed=6)
    alone = {str(o): o for o in sweep(plan)}
    with Pool(2) as pool:
        assert {str(o): o for o in pool.run(plan.tasks())} == alone
