"""Sweeps that begin upgrades, and that recover in the same domain."""

import pytest

from xenemu.boot import Outcome, UpgradeResult
from xenemu.lab import trial
from xenemu.lab.forks import ForkServer, run_alone, workspace
from xenemu.lab.forks import Outcome as Result
from xenemu.lab.plan import MIDDLE, Plan
from xenemu.lab.point import HOWS, Course, Fault, Point, parse
from xenemu.lab.trial import Trial
from xenemu.lab.versions import VERSIONS

CRASHES = tuple(Fault(what, how) for what in HOWS for how in HOWS[what])
UPGRADES = tuple(Fault("upgrade", how) for how in VERSIONS)


def sweep(plan: Plan) -> list[Result]:
    outcomes: list[Result] = []
    for task in plan.tasks():
        with workspace() as root:
            ForkServer(task.course, root).run(task.choose, outcomes.append)
    assert [(str(o), o.failures) for o in outcomes if o.failures] == []
    return [o for o in outcomes if o.point.faults]


@pytest.mark.parametrize("scenario", ["get", "put", "keep-alive", "many"])
@pytest.mark.parametrize("repeat", [1, 2])
def test_upgrades_at_random_instants(scenario: str, repeat: int) -> None:
    plan = Plan((scenario,), ("clean", "lossy"), UPGRADES, faults=8, repeat=repeat, later=CRASHES)
    points = [outcome.point for outcome in sweep(plan)]
    assert len(points) == 8 and all(p.faults[0].what == "upgrade" for p in points)
    assert all(p.faults[1].what in HOWS and p.indices[1] < MIDDLE for p in points if repeat > 1)


@pytest.mark.parametrize("scenario", ["put", "echo", "read-on"])
def test_faults_in_recoveries_in_the_same_domain(scenario: str) -> None:
    kinds = tuple(Fault("app", how) for how in HOWS["app"])
    same = (f"{scenario}/same-domain",)
    outcomes = sweep(Plan(same, ("clean", "lossy"), kinds, faults=6, repeat=2, later=CRASHES))
    assert all(o.verdict is not None and o.verdict.faults >= 1 for o in outcomes)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_left_in_use(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(trial, "CLEANUP_EVERY", 1)
    point = Point((Fault("upgrade", version),), "events", (300,))
    with workspace() as root:
        assert run_alone(Course("keep-alive", "clean", 2), point, root).failures == ()


@pytest.mark.parametrize(
    ("version", "outcome"),
    [("reload", Outcome.ROLLED_BACK), ("deaf", Outcome.UPGRADED), ("raises", None)],
)
def test_an_upgrade_that_ends_otherwise_is_reported(
    monkeypatch: pytest.MonkeyPatch, version: str, outcome: Outcome | None
) -> None:
    with workspace() as root, Trial(Course("get", "clean", 2), root) as run:
        point = Point((Fault("upgrade", version),), "events", (150,))
        run.advance([point], lambda arrived: True)
        assert run._upgraded is not None
        upgrade = run._upgraded.upgrade
        ended = UpgradeResult(outcome, "said so", 1, 2, ()) if outcome else None
        run.system.run_until(lambda: upgrade.result is not None, 60)
        upgrade.result = ended
        monkeypatch.setattr(trial, "UPGRADE_SECONDS", 0.1)
        (failure,) = run.finish().failures
    wanted = f"upgrade ({version}): {outcome}: said so" if outcome else "the upgrade does not end"
    assert failure == wanted


@pytest.mark.parametrize(
    "text", ["get:clean:1:upgrade.deaf+kernel:events:1+2", "put/same-domain:lossy:3:app:calls:7"]
)
def test_a_point_is_what_its_text_says(text: str) -> None:
    course, point = parse(text)
    assert f"{course}:{point}" == text
    assert course.same_domain == ("same-domain" in text)


@pytest.mark.parametrize(
    "text", ["get:clean:1:upgrade.none:events:1", "get/elsewhere:clean:1:app:events:1"]
)
def test_there_is_no_such_point(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
