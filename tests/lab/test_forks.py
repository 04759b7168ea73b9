"""A fork server's children are what runs from the beginning would be; the disk is theirs alone."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from xenemu.lab.forks import Disk, ForkServer, Outcome, own_open_files, run_alone, workspace
from xenemu.lab.point import Course, Fault, Point, can_stop_at_stores, parse
from xenemu.lab.scenarios import SCENARIOS

STORES = pytest.param(
    "stores",
    marks=pytest.mark.skipif(
        not can_stop_at_stores(), reason="lacks a core built with XENEMU_STORE_POINTS=1"
    ),
)


def forked(course: Course, points: Sequence[Point]) -> list[Outcome]:
    """In a process of its own, as a worker is: a server freezes and forks."""
    outcomes: list[Outcome] = []
    with workspace() as root:
        ForkServer(course, root).run(lambda calm: points, outcomes.append)
    return outcomes


@pytest.mark.parametrize("scenario", ["put", "echo", "keep-alive"])
@pytest.mark.parametrize("at", ["events", "calls", "turns", STORES])
def test_a_child_is_what_a_run_from_the_beginning_is(scenario: str, at: str) -> None:
    course = Course(scenario, "lossy", 3)
    points = [
        Point((Fault("app"),), at, (40,)),
        Point((Fault("kernel"),), at, (40,)),
        Point((Fault("kernel"),), at, (201,)),
        Point((Fault("app"), Fault("kernel")), at, (207, 300)),
    ]
    calm, *outcomes = forked(course, points)
    assert len(outcomes) == len(points)
    for outcome in [calm, *outcomes]:
        with workspace() as root:
            alone = run_alone(course, outcome.point, root)
        assert outcome.verdict is not None, outcome.error
        assert alone == outcome
    hashes = {o.verdict.trace_hash for o in [calm, *outcomes] if o.verdict is not None}
    assert len(hashes) == len(points) + 1


def test_a_child_goes_on_in_the_step_that_it_is_in() -> None:
    """The service asks for the running loop in it, which a fork forgets."""
    points = [Point((Fault("backup"),), "calls", (index,)) for index in range(4, 24)]
    for outcome in forked(Course("ftp-retr", "clean", 50), points):
        assert outcome.failures == (), str(outcome)


def test_an_outcome_names_what_replays_it() -> None:
    course, point = (
        Course("get", "clean", 2),
        Point((Fault("app"), Fault("kernel")), "calls", (3, 9)),
    )
    text = str(Outcome(course, point, None, "why"))
    assert text == "get:clean:2:app+kernel:calls:3+9"
    assert parse(text) == (course, point)
    assert parse("get:clean:2:app.SIGSEGV:events:1+2")[1].faults == (Fault("app", "SIGSEGV"),) * 2
    assert parse("get:clean:2:none:events:0") == (course, Point())


@pytest.mark.parametrize(
    "text",
    [
        "", "get:clean:2:app:events", "git:clean:2:app:events:1", "get:dirty:2:app:events:1",
        "get:clean:two:app:events:1", "get:clean:2:disk:events:1", "get:clean:2:app.hang:events:1",
        "get:clean:2:app:steps:1", "get:clean:2:app:events:-1", "get:clean:2:app+app:events:1",
    ],
)  # fmt: skip
def test_points_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_a_death_of_the_emulator_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fault, "inject", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    _, outcome = forked(Course("get", "clean", 1), [Point((Fault("app"),), "events", (20,))])
    assert outcome.failures == ("the emulator died: SIGKILL",)


def test_an_error_in_a_child_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fault: Fault, system: object) -> None:
        raise OSError(5, "broken here")

    monkeypatch.setattr(Fault, "inject", fail)
    _, outcome = forked(Course("get", "clean", 1), [Point((Fault("app"),), "events", (20,))])
    assert "broken here" in outcome.error


def test_the_disk_goes_back_to_its_mark(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("kept", "replaced", "removed"):
        (root / name).write_text(name)
    disk = Disk(root)
    for _ in range(2):
        disk.mark()
        (root / "new").write_text("new")
        (root / "removed").unlink()
        other = tmp_path / "other"
        other.write_text("other")
        other.replace(root / "replaced")
        disk.restore()
        assert {p.name: p.read_text() for p in root.iterdir()} == {
            name: name for name in ("kept", "replaced", "removed")
        }
    (root / "kept").unlink()
    (root / "later").write_text("later")
    disk.mark()
    (root / "later").unlink()
    disk.restore()
    assert sorted(p.name for p in root.iterdir()) == ["later", "removed", "replaced"]


def test_what_was_appended_is_cut_off_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root)
    with (root / "journal").open("ab", buffering=0) as journal:
        for line in (b"one\n", b"two\n"):
            journal.write(line)
            disk.mark()
            child = os.fork()
            if child == 0:
                try:
                    own_open_files(root)
                    journal.write(b"lost\n")  # as another process of the child sees it
                    right = (root / "journal").read_bytes().endswith(line + b"lost\n")
                finally:
                    os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
            disk.restore()
    assert (root / "journal").read_bytes() == b"one\ntwo\n"


def test_a_child_writes_into_copies(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"before")
    child = os.fork()
    if child == 0:
        try:
            own_open_files(tmp_path)
            os.write(fd, b" and after")
            right = os.pread(fd, 100, 0) == b"before and after"
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.pread(fd, 100, 0) == b"before"
    assert os.lseek(fd, 0, os.SEEK_CUR) == 6
    os.close(fd)


@pytest.mark.parametrize("at", ["events", "calls", "turns", STORES])
def test_who_is_told_to_end_ends(at: str) -> None:
    course = Course("put", "clean", 2)
    points = [Point((Fault("app"),), at, (index,)) for index in (20, 20, 30)]
    reported: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        reported.append(outcome)
        if outcome.point.faults:
            raise BrokenPipeError

    with workspace() as root, pytest.raises(BrokenPipeError):
        ForkServer(course, root).run(lambda calm: points, report)
    assert len(reported) == 2


def test_a_scenario_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from xenemu.lab.scenarios import SCENARIOS\nOWN = SCENARIOS['get']\nNONE = 1\n"
    )
    course, point = Course(f"{file}:OWN", "clean", 2), Point((Fault("app"),), "events", (7,))
    assert course.played is SCENARIOS["get"]
    assert parse(str(Outcome(course, point, None))) == (course, point)
    assert Course(f"{file}:OWN/same-domain", "clean", 2).same_domain
    for name in (f"{file}:NONE", f"{file}:MISSING", f"{tmp_path}/none.py:OWN", "none"):
        with pytest.raises(ValueError, match=name):
            Course(name, "clean", 2)
