"""Moves to the fresh backup on a schedule, under clients in virtual time."""

from pathlib import Path

import pytest

from xenemu.boot import Link, System, add_client, small_config
from xenemu.lab.clients import Report
from xenemu.lab.scenarios import SCENARIOS

LINK = Link(bits_per_second=5_000_000, delay_ns=2_000_000)


@pytest.mark.parametrize("scenario", ["keep-alive", "put", "echo"])
def test_clients_do_not_notice(tmp_path: Path, scenario: str) -> None:
    chosen, report = SCENARIOS[scenario], Report()
    for name, data in chosen.files(1).items():
        (tmp_path / name).write_bytes(data)
    config = small_config(root=tmp_path, rejuvenate=0.1, specs=chosen.specs)
    with System(config) as system:
        system.boot()
        began = system.now
        client = add_client(system, link=LINK).spawn(chosen.program_of(1, report))
        assert system.run_until(lambda: client.exited, 60)
        assert (client.exit_status, report.wrong, report.broken) == (0, [], [])
        events = [e for e in system.log.since() if e.time > began]
        turns = (system.now - began) // 100_000_000
        moved = [e for e in events if e.name == "upgrade-ended"]
        assert len(moved) == turns >= 4
        assert {e.details["outcome"] for e in moved} == {"upgraded"}
        assert system.run_until(system.protected, 1)


def test_a_turn_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    with System(small_config(root=tmp_path, rejuvenate=1.0)) as system:
        system.boot()
        system.pause(system.backup().domid)
        assert system.run_command(system.primary().domid, ["zlctl", "wakeup-backup"])[0] == 0
        system.run_for(1.0)
        assert [e.details["reason"] for e in system.log.since() if e.name == "not-rejuvenated"]


def test_it_needs_a_backup(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backup"):
        small_config(root=tmp_path, rejuvenate=1.0, backup=False)
