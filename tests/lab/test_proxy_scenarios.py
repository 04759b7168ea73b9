"""The proxy's scenarios without faults."""

import pytest

from xenemu.lab.forks import workspace
from xenemu.lab.point import Course
from xenemu.lab.scenarios import LINKS, UNPROTECTED
from xenemu.lab.trial import Trial


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("scenario", UNPROTECTED)
def test_without_faults(scenario: str, link: str) -> None:
    with workspace() as root, Trial(Course(scenario, link, 3), root) as run:
        assert run.finish().failures == ()
        assert sum(len(w.connections) for w in run.end_witnesses) > 0
