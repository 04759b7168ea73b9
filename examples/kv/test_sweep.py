"""The service with faults in its client's way: a few here, `xenemu sweep` does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenemu.lab.forks import ForkServer, Outcome, workspace
from xenemu.lab.plan import Plan
from xenemu.lab.point import Fault

SCENARIO = Path(__file__).with_name("scenario.py")
KINDS = [(Fault("app"), Fault("kernel")), (Fault("upgrade"),)]


def sweep(name: str, kinds: tuple[Fault, ...], at: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for task in Plan((f"{SCENARIO}:{name}",), ("clean", "lossy"), kinds, at, faults=24).tasks():
        with workspace() as root:
            ForkServer(task.course, root).run(task.choose, outcomes.append)
    return outcomes


@pytest.mark.parametrize("at", ["events", "calls"])
@pytest.mark.parametrize("kinds", KINDS)
def test_each_write_happens_once(kinds: tuple[Fault, ...], at: str) -> None:
    outcomes = sweep("KV", kinds, at)
    assert len([outcome for outcome in outcomes if outcome.point.faults]) == 24
    assert [str(outcome) for outcome in outcomes if outcome.failures] == []


def test_without_ids_a_write_may_happen_twice() -> None:
    """Or else the test above looks at nothing."""
    outcomes = sweep("WITHOUT_IDS", KINDS[0], "calls")
    assert not outcomes[0].failures  # without a fault
    assert [outcome for outcome in outcomes if outcome.failures]
