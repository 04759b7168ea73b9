"""Which ends of a process are faults."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenemu.boot import System, small_config


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(small_config(root=tmp_path)) as system:
        system.boot()
        yield system


def faults(system: System) -> int:
    system.run_for(0.5)
    return [event.name for event in system.log.since()].count("fault")


def test_killed(system: System) -> None:
    guest = system.guests[1]
    assert guest.service is not None
    guest.kernel.sig_exit(guest.service.pid, signal.SIGKILL)
    assert faults(system) == 1


def test_exits_by_itself(system: System) -> None:
    guest = system.guests[1]
    assert guest.service is not None
    guest.kernel.sys_exit(guest.service.pid, 0)
    assert faults(system) == 1


def test_told_to_stop(system: System) -> None:
    guest = system.guests[1]
    assert guest.service is not None
    guest.kernel.stop(guest.service.pid)
    assert faults(system) == 0


def test_another_process(system: System) -> None:
    async def fails(argv: list[str]) -> int:
        return 3

    system.guests[1].kernel.spawn(fails)
    assert faults(system) == 0
