"""Scenarios that no sweep has: the proxy's without faults, the key-value store's with some."""

import pytest

from xenemu.lab.forks import run_alone, workspace
from xenemu.lab.point import Course, Fault, Point
from xenemu.lab.scenarios import LINKS, SCENARIOS
from xenemu.lab.trial import Trial


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(
    "scenario", [name for name, each in SCENARIOS.items() if each.servers or name == "kv"]
)
def test_without_faults(scenario: str, link: str) -> None:
    with workspace() as root, Trial(Course(scenario, link, 3), root) as run:
        assert run.finish().failures == ()
        assert all(witness.connections for witness in run.end_witnesses)


@pytest.mark.parametrize("kind", ["app", "kernel"])
@pytest.mark.parametrize("link", LINKS)
def test_kv_does_everything_once_whatever_dies(kind: str, link: str) -> None:
    points = tuple(Point((Fault(kind),), "events", (index,)) for index in range(40, 1200, 149))
    for point in points:
        with workspace() as root:
            outcome = run_alone(Course("kv", link, 4), point, root)
            assert outcome.failures == (), str(point)
            assert outcome.verdict is not None and outcome.verdict.faults == 1


def test_a_lost_fin_is_waited_for() -> None:
    """The last one to an end server is lost here, when the client has ended already."""
    with workspace() as root, Trial(Course("proxy-keepalive", "lossy", 10), root) as run:
        assert run.finish().failures == ()
