"""Every kind of fault, during a download and during an upload; many in a row; none too small."""

from pathlib import Path

import pytest

from faults.double import Run
from faults.scenario import CLEAN, LOSSY
from xenemu.boot.crash import HOWS, parse_crash
from xenemu.guest import Process

KINDS = [(what, how) for what, hows in HOWS.items() for how in hows]
SHORT = ("stall:0.001", "stall:0.009")  # below two ticks: nobody notices
DURING = {"GET": 0.02, "PUT": 0.05}  # seconds after the client starts


@pytest.mark.parametrize("during", DURING)
@pytest.mark.parametrize(("what", "how"), KINDS)
def test_each_kind(tmp_path: Path, what: str, how: str, during: str) -> None:
    with Run(tmp_path, seed=3, link=CLEAN) as run:
        run.system.run_for(DURING[during])
        domid = run.system.crash(what, how)
        assert run.finish() == []
        assert run.protected()
        if what != "backup":
            assert run.system.primary().domid != domid
            assert run.names().count("recovery-done") == 1


@pytest.mark.parametrize("how", SHORT)
def test_a_short_stall_is_no_fault(tmp_path: Path, how: str) -> None:
    with Run(tmp_path, seed=4, link=CLEAN) as run:
        for _ in range(3):
            run.system.run_for(0.015)
            run.system.crash("kernel", how)
        assert run.finish() == []
        assert "fault" not in run.names()


@pytest.mark.parametrize("how", ["stall:0.019", "stall:0.02", "stall:0.021", "stall:0.3"])
def test_a_false_alarm_loses_nothing_and_what_wakes_says_nothing(tmp_path: Path, how: str) -> None:
    """The stall ends about when, or after, it is taken for dead."""
    with Run(tmp_path, seed=5, link=LOSSY) as run:
        run.system.run_for(0.025)
        old = run.system.crash("kernel", how)
        assert run.system.run_until(
            lambda: "fenced" in run.names() or run.process.exited, seconds=1
        )
        since = run.last_record()
        assert run.finish() == []
        if "fenced" in run.names():
            assert [r for r in run.records(since) if r[2] == 2 and r[3] == old] == []


@pytest.mark.parametrize("what", ["app", "kernel"])
def test_a_suspended_backup_that_is_dead_is_found_out(tmp_path: Path, what: str) -> None:
    for how in HOWS["backup"]:
        with Run(tmp_path, seed=6, link=CLEAN) as run:
            run.system.run_for(0.02)
            run.system.crash("backup", how)
            run.system.run_for(0.01)
            assert "fault" not in run.names()
            run.system.crash(what)
            assert run.finish() == []
            assert run.protected()
            assert run.names().count("recovery-restarted") == 1


@pytest.mark.parametrize("link", [CLEAN, LOSSY])
def test_ten_faults_within_one_transfer(tmp_path: Path, link: object) -> None:
    kinds = [("app", "SIGKILL"), ("kernel", "panic"), ("kernel", "hang"), ("app", "exit"),
             ("kernel", "stall")] * 2  # fmt: skip
    with Run(tmp_path, seed=7, link=link, size=4 << 20) as run:
        free = None
        for what, how in kinds:
            run.system.run_for(0.02)
            assert not run.process.exited
            run.system.crash(what, how)
            assert run.protected()
            assert not run.process.exited
            if what == "kernel":
                free = free or run.system.machine.core.free_pages()
                assert run.system.machine.core.free_pages() == free
        assert run.finish() == []
        assert run.names().count("recovery-done") == 10


@pytest.mark.parametrize(
    ("what", "how"),
    [("app", "panic"), ("kernel", "SIGKILL"), ("backup", "stall"), ("x", ""), ("app", "SIGCHLD"),
     ("kernel", "stall:0"), ("kernel", "stall:x"), ("kernel", "panic:1")],
)  # fmt: skip
def test_unknown_kinds(what: str, how: str) -> None:
    with pytest.raises(ValueError):
        parse_crash(what, how)


def crash_at_call(run: Run, number: int, before: bool, what: str, how: str) -> list[str]:
    """At that socket call of the service; the calls so far."""
    guest = run.system.primary()
    calls: list[str] = []

    def hook(caller: Process, name: str, is_before: bool) -> None:
        if caller is guest.service and is_before is before:
            calls.append(name)
            if len(calls) == number:
                run.system.crash(what, how)

    guest.kernel.socket_call_hook = hook
    return calls


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("what", "how"), [("app", "SIGSEGV"), ("app", "exit"), ("kernel", "panic"), ("kernel", "hang")]
)
def test_at_socket_calls_of_the_service(tmp_path: Path, what: str, how: str, before: bool) -> None:
    for number in range(1, 30, 4):
        with Run(tmp_path, seed=8, link=CLEAN) as run:
            calls = crash_at_call(run, number, before, what, how)
            assert run.finish() == [], number
            assert len(calls) >= number
            assert run.protected()


@pytest.mark.parametrize(
    ("what", "how"), [("kernel", "hang"), ("kernel", "stall"), ("app", "exit")]
)
def test_the_same_seed_gives_the_same_trace(tmp_path: Path, what: str, how: str) -> None:
    def once() -> int:
        with Run(tmp_path, seed=9, link=LOSSY) as run:
            run.events(300)
            run.system.crash(what, how)
            assert run.finish() == []
            return run.core.trace_hash

    assert once() == once()
