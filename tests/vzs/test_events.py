"""The event log and the timelines made from it."""

import pytest

from vzs import EventLog, as_dict, as_line, timelines
from xenemu.vmm import Event


def event(time: int, name: str, domid: int = 1) -> Event:
    return Event(time, name, domid, {"kind": "app"})


def test_since_survives_the_limit() -> None:
    log = EventLog(capacity=3)
    for i in range(5):
        log.append(event(i, "x"))
    assert log.count == 5
    assert [e.time for e in log.since()] == [2, 3, 4]
    assert [e.time for e in log.since(4)] == [4]
    assert log.since(5) == []


def test_forms() -> None:
    one = event(1_500_000_000, "fault")
    assert as_dict(one)["domain"] == 1
    assert as_line(one).split() == ["1.500000", "d1", "fault", 'kind="app"']


def test_a_timeline_begins_at_the_crash() -> None:
    steps = ["crash-injected", "fault", "path-switched", "backup-woken", "log-remapped"]
    steps += ["replay-started", "first-byte", "recovery-done"]
    (line,) = timelines(event(i * 10, name) for i, name in enumerate(steps))
    assert [name for name, _ in line.steps][:2] == ["detection", "path switch"]
    assert dict(line.steps)["first byte"] == 60
    assert len(line.lines()) == 7


@pytest.mark.parametrize("second", ["fault", "crash-injected"])
def test_two_recoveries_are_two_timelines(second: str) -> None:
    names = ["fault", "path-switched", second, "fault", "path-switched"]
    assert len(timelines(event(i, n) for i, n in enumerate(names))) in (2, 3)


def test_a_crash_that_nobody_saw_is_no_timeline() -> None:
    assert timelines([event(0, "crash-injected")]) == []
