"""A second fault while the first is being recovered from: at every step, of backup and primary.

XENEMU_STRIDE=1 places one at each step and each event; the default skips some.
"""

import os
from pathlib import Path

import pytest

from faults.double import TARGETS, Run, at_step, hit
from faults.scenario import CLEAN, LOSSY

STRIDE = int(os.environ.get("XENEMU_STRIDE", "0"))
SEED = 3


def steps_of(root: Path, first: str, link: object) -> int:
    with Run(root, seed=SEED, link=link) as run:
        run.events(200)
        return at_step(run, first, 0, "")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("first", ["app", "kernel"])
def test_a_second_fault_at_each_step(tmp_path: Path, first: str, target: str) -> None:
    failed = []
    for step in range(1, steps_of(tmp_path, first, CLEAN) + 1, STRIDE or 2):
        with Run(tmp_path, seed=SEED, link=CLEAN) as run:
            run.events(200)
            at_step(run, first, step, target)
            problems = run.finish() or ([] if run.protected() else ["not protected again"])
            if problems:
                failed.append((step, problems))
    assert not failed


@pytest.mark.parametrize("target", TARGETS)
def test_a_second_fault_at_each_event(tmp_path: Path, target: str) -> None:
    """From the crash of the kernel until some time after the recovery."""
    with Run(tmp_path, seed=SEED, link=LOSSY) as run:
        run.events(200)
        base = run.core.event_index
        run.system.crash("kernel")
        assert run.system.run_until(lambda: "recovery-done" in run.names(), 10)
        length = run.core.event_index - base + 50
    failed = []
    for event in range(0, length, STRIDE or 11):
        with Run(tmp_path, seed=SEED, link=LOSSY) as run:
            run.events(200)
            run.system.crash("kernel")
            run.events(event)
            hit(run.system, target)
            problems = run.finish() or ([] if run.protected() else ["not protected again"])
            if problems:
                failed.append((event, problems))
    assert not failed


def test_a_recovery_that_always_fails_is_given_up_loudly(tmp_path: Path) -> None:
    with Run(tmp_path, seed=SEED, link=CLEAN) as run:
        run.system.run_for(0.02)
        run.system.crash("kernel")
        for boots in range(4):
            assert run.system.run_until(lambda n=boots: run.names().count("backup-woken") > n, 5)
            hit(run.system, "backup kernel")
        assert run.system.run_until(lambda: "recovery-failed" in run.names(), 5)
        event = next(e for e in run.system.log.since() if e.name == "recovery-failed")
        assert event.details["connections"] == 1
        assert run.system.run_until(lambda: run.process.exited, 20)
        assert "a reset reached the client" in run.finish()
        assert run.names().count("recovery-restarted") == 4
        assert run.core.domain_ids() == [run.system.control]


def test_both_domains_and_the_next_backup_fail_at_once(tmp_path: Path) -> None:
    with Run(tmp_path, seed=SEED, link=CLEAN) as run:
        run.system.run_for(0.02)
        run.system.crash("backup")
        run.system.crash("kernel")
        created = run.names().count("backup-created")
        assert run.system.run_until(lambda: run.names().count("backup-created") > created, 5)
        hit(run.system, "backup kernel")
        assert run.finish() == []
        assert run.protected()


def test_a_destroyed_backup_is_replaced(tmp_path: Path) -> None:
    """By somebody's domctl: asleep, and while it takes over."""
    with Run(tmp_path, seed=SEED, link=CLEAN) as run:
        run.system.run_for(0.02)
        run.core.destroy_domain(run.system.backup().domid)
        assert run.protected()
        run.system.crash("kernel")
        assert run.system.run_until(lambda: "backup-woken" in run.names(), 5)
        run.core.destroy_domain(run.system.backup().domid)
        assert run.finish() == []
        assert run.protected()


BOOT_STEPS = ("boot-backup", "change-backup-ip", "suspend-backup", "wakeup-backup", "migrate")


@pytest.mark.parametrize("what", ["app", "kernel", "backup"])
@pytest.mark.parametrize("during", BOOT_STEPS)
def test_a_fault_at_every_step_of_figure_7_and_of_a_migration(
    tmp_path: Path, during: str, what: str
) -> None:
    """The call has been made; the fault comes at once, or when it is half done."""
    for delay in (0.0, 0.0005, 0.005):
        with Run(tmp_path, seed=SEED, link=CLEAN) as run:
            system = run.system
            system.run_for(0.02)
            primary = system.primary().domid
            if during != "wakeup-backup":
                assert system.run_command(primary, ["zlctl", "wakeup-backup"])[0] == 0
            if during == "boot-backup":
                run.core.destroy_domain(system.backup().domid)
                assert system.run_until(lambda: "backup-lost" in run.names(), 5)
            else:
                system.exec(primary, ["zlctl", during], lambda status, output: None)
            system.run_for(delay)
            hit(
                system,
                {"app": "primary app", "kernel": "primary kernel"}.get(what, "backup kernel"),
            )
            assert run.finish() == [], (delay, run.names()[-40:])
            assert run.protected(), delay


def test_references_return_to_base_after_a_recovery_that_was_restarted(tmp_path: Path) -> None:
    with Run(tmp_path, seed=SEED, link=CLEAN) as run:
        core = run.core
        primary = run.system.primary().domid
        base = (core.free_pages(), core.domain_info(primary)["refs"])
        run.system.run_for(0.02)
        for target in ("backup kernel", "backup app", "backup hang"):
            woken = run.names().count("backup-woken")
            run.system.crash("kernel")
            assert run.system.run_until(lambda n=woken: run.names().count("backup-woken") > n, 5)
            hit(run.system, target)
            assert run.protected()
            new = run.system.primary().domid
            assert (core.free_pages(), core.domain_info(new)["refs"]) == base
        assert run.finish() == []
        run.system.run_for(130)  # TIME_WAIT and tombstones expire
        log = core.log_info(run.system.primary().domid)
        assert (log["connections"], log["blocks"] - log["blocks_free"]) == (0, 0)
