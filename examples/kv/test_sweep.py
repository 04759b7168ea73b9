"""The service with faults in its client's way: a few here, `xenemu sweep` does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenemu.lab.forks import ForkServer, Outcome, workspace
from xenemu.lab.plan import Plan
from xenemu.lab.point import Fault

SCENARIO = Path(__file__).with_name("scenario.py")
KINDS = [(Fault("app"), Fault("kernel")), (Fault("upgrade"),)]


def sweep(scenario: Path, kinds: tuple[Fault, ...], at: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for task in Plan((f"{scenario}:KV",), ("clean", "lossy"), kinds, at, faults=24).tasks():
        with workspace() as root:
            ForkServer(task.course, root).run(task.choose, outcomes.append)
    return outcomes


@pytest.mark.parametrize("at", ["events", "calls"])
@pytest.mark.parametrize("kinds", KINDS)
def test_each_write_happens_once(kinds: tuple[Fault, ...], at: str) -> None:
    outcomes = sweep(SCENARIO, kinds, at)
    assert len([outcome for outcome in outcomes if outcome.point.faults]) == 24
    assert [str(outcome) for outcome in outcomes if outcome.failures] == []


def test_a_service_that_forgets_its_answers_is_found_out(tmp_path: Path) -> None:
    """Or else the test above looks at nothing."""
    for name in ("scenario.py", "profile.py", "service.py"):
        text = SCENARIO.with_name(name).read_text(encoding="utf-8")
        if name == "service.py":
            assert text.count("if request in self.answers:") == 1
            text = text.replace("if request in self.answers:", "if False:")
        (tmp_path / name).write_text(text, encoding="utf-8")
    outcomes = sweep(tmp_path / "scenario.py", KINDS[0], "calls")
    assert not outcomes[0].failures  # without a fault
    assert [outcome for outcome in outcomes if outcome.failures]
