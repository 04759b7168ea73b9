"""The six system calls: one errno for each call and state, as `zlctl` in a guest shows them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from xenemu.boot import System, small_config

CONTROL, PRIMARY = 0, 1
CALLS = ["boot-backup", "change-backup-ip", "suspend-backup", "wakeup-backup", "migrate"]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(small_config(root=tmp_path, backup=False)) as system:
        system.boot()
        yield system


def call(system: System, domid: int, *words: str) -> str:
    """ "ok", or the errno's name."""
    status, output = system.run_command(domid, ["zlctl", *words])
    assert status in (0, 1), output
    return "ok" if status == 0 else output.split()[2].rstrip(":")


def bring(system: System, state: str) -> None:
    """Leads the pair into a state."""
    steps = {
        "granted": [],
        "awake": ["boot-backup"],
        "ready": ["boot-backup", "change-backup-ip"],
        "suspended": ["boot-backup", "change-backup-ip", "suspend-backup"],
    }
    if state != "none":
        assert call(system, CONTROL, "ins-auth", "1") == "ok"
        for step in steps[state]:
            assert call(system, PRIMARY, step) == "ok", step


@pytest.mark.parametrize("words", CALLS)
def test_without_a_grant(system: System, words: str) -> None:
    assert call(system, PRIMARY, words) == "EPERM"


@pytest.mark.parametrize("words", CALLS)
def test_the_control_domain_is_no_primary(system: System, words: str) -> None:
    bring(system, "granted")
    assert call(system, CONTROL, words) == "EPERM"


def test_only_the_control_domain_grants(system: System) -> None:
    assert call(system, PRIMARY, "ins-auth", "1") == "EPERM"
    assert call(system, CONTROL, "ins-auth", "17") == "ESRCH"
    assert call(system, CONTROL, "ins-auth", "1") == "ok"
    assert call(system, CONTROL, "ins-auth", "1") == "EEXIST"


@pytest.mark.parametrize(
    ("state", "words", "answer"),
    [
        ("granted", "change-backup-ip", "ENOENT"),
        ("granted", "suspend-backup", "ENOENT"),
        ("granted", "wakeup-backup", "ENOENT"),
        ("granted", "migrate", "ENOENT"),
        ("granted", "boot-backup", "ok"),
        ("awake", "boot-backup", "EEXIST"),
        ("awake", "wakeup-backup", "EINVAL"),
        ("awake", "migrate", "EINVAL"),
        ("awake", "suspend-backup", "ok"),
        ("suspended", "boot-backup", "EEXIST"),
        ("suspended", "change-backup-ip", "EINVAL"),
        ("suspended", "suspend-backup", "EINVAL"),
        ("suspended", "migrate", "EINVAL"),
        ("suspended", "wakeup-backup", "ok"),
    ],
)
def test_errno_by_state(system: System, state: str, words: str, answer: str) -> None:
    bring(system, state)
    assert call(system, PRIMARY, words) == answer


def test_a_backup_that_there_is_no_memory_for(tmp_path: Path) -> None:
    config = small_config(root=tmp_path, backup=False)
    with System(config) as system:
        system.boot()
        bring(system, "granted")
        pages = system.machine.core.free_pages() - 16
        system.machine.core.create_domain(
            pages=pages, max_pages=pages, window_pages=0, privileged=False, ip=0
        )
        assert call(system, PRIMARY, "boot-backup") == "ENOMEM"


def test_a_second_call_while_one_runs_is_refused(system: System) -> None:
    bring(system, "granted")
    answers: list[tuple[int, str]] = []
    for words in ("boot-backup", "suspend-backup"):
        system.exec(PRIMARY, ["zlctl", words], lambda status, text: answers.append((status, text)))
    assert system.run_until(lambda: len(answers) == 2, 10)
    assert sorted(status for status, _ in answers) == [0, 1]
    assert any("EBUSY" in text for _, text in answers)


def test_migration_hands_over(system: System) -> None:
    bring(system, "ready")
    system.exec(PRIMARY, ["zlctl", "migrate"], lambda status, text: None)
    assert system.run_until(lambda: system.primary().domid == 2, 10)


def test_usage(system: System) -> None:
    for words in ([], ["ins-auth"], ["ins-auth", "x"], ["migrate", "now"]):
        assert system.run_command(PRIMARY, ["zlctl", *words])[0] == 2
