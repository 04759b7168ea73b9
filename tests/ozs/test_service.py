"""The service manager: what it starts and stops, what it says, and what is no fault."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozs import ServiceVersion
from xenemu.boot import System, small_config

PRIMARY, BACKUP = 1, 2
LISTENS = """
import asyncio

async def main(argv):
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "0.0.0.0", 80)
    {tail}
"""
SERVES = LISTENS.format(tail="await server.serve_forever()")
STUBBORN = LISTENS.format(
    tail="""
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
"""
)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(small_config(root=tmp_path)) as system:
        system.boot()
        assert system.run_command(PRIMARY, ["zlctl", "wakeup-backup"])[0] == 0
        yield system


def version(tmp_path: Path, text: str, name: str = "served.py") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def restart(system: System, *words: str, domid: int = BACKUP) -> tuple[int, str]:
    return system.run_command(domid, ["service", "restart", *words])


def names(system: System) -> list[str]:
    return [event.name for event in system.log.since()]


def test_the_same_again_is_another_process(system: System) -> None:
    guest = system.guests[BACKUP]
    before = guest.service
    assert before is not None
    assert restart(system) == (0, "")
    assert guest.service is not before and before.exit_status == 0
    status, output = system.run_command(BACKUP, ["service", "status"])
    assert status == 0 and output.startswith("up: xenemu.guest.programs.httpd --port 80 ")
    assert "fault" not in names(system)


def test_the_new_process_is_watched(system: System) -> None:
    assert restart(system)[0] == 0
    service = system.guests[BACKUP].service
    assert service is not None
    system.guests[BACKUP].kernel.sig_exit(service.pid, signal.SIGKILL)
    assert system.run_until(lambda: "backup-lost" in names(system), 1)


def test_arguments_stay_unless_given(system: System, tmp_path: Path) -> None:
    old = system.guests[BACKUP].version.service.arguments
    new = version(tmp_path, SERVES)
    assert restart(system, new)[0] == 0
    assert system.guests[BACKUP].version.service == ServiceVersion(new, old)
    assert restart(system, new, "a", "b")[0] == 0
    assert system.guests[BACKUP].version.service == ServiceVersion(new, ("a", "b"))


def test_one_that_does_not_stop_is_killed_without_a_fault(system: System, tmp_path: Path) -> None:
    assert restart(system, version(tmp_path, STUBBORN))[0] == 0
    stubborn = system.guests[BACKUP].service
    assert stubborn is not None
    began = system.now
    assert restart(system, "xenemu.guest.programs.httpd") == (0, "")
    assert stubborn.killed_by == signal.SIGKILL
    assert 4e9 < system.now - began < 6e9
    assert "fault" not in names(system)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def main(", "EIO: SyntaxError: '(' was never closed"),
        ("async def main(argv): print('no disk'); return 4", "EIO: no disk"),
        ("async def main(argv): return 4", "EIO: it ended with status 4"),
        ("import asyncio\ndef main(argv): return asyncio.sleep(99)", "ETIMEDOUT: it does not"),
    ],
)
def test_one_that_does_not_start(system: System, tmp_path: Path, text: str, reason: str) -> None:
    before = system.guests[BACKUP].version
    status, output = restart(system, version(tmp_path, text))
    assert status == 1 and output.startswith(f"service restart: {reason}")
    status, output = system.run_command(BACKUP, ["service", "status"])
    assert status == 1 and output.startswith("down: ")
    assert system.guests[BACKUP].version == before
    assert "fault" not in names(system)
    assert restart(system) == (0, "")


def test_a_backup_without_a_service_does_not_take_over(system: System, tmp_path: Path) -> None:
    assert restart(system, version(tmp_path, "async def main(argv): return 4"))[0] == 1
    began = system.now
    system.crash("kernel")
    assert system.run_until(system.protected, 30)
    assert system.now - began < 1e9
    assert system.guests[system.primary().domid].version.services == system.config.services


def test_two_at_once(system: System, tmp_path: Path) -> None:
    results: list[tuple[int, str]] = []
    slow = version(tmp_path, SERVES.replace("    server", "    await asyncio.sleep(1)\n    server"))
    for _ in range(2):
        argv = ["service", "restart", slow]
        system.exec(BACKUP, argv, lambda status, output: results.append((status, output)))
    assert system.run_until(lambda: len(results) == 2, 10)
    assert results[0][0] == 1 and "EBUSY" in results[0][1]
    assert results[1] == (0, "")


def test_it_goes_on_when_its_caller_is_killed(system: System, tmp_path: Path) -> None:
    guest = system.guests[BACKUP]
    slow = version(tmp_path, SERVES.replace("    server", "    await asyncio.sleep(1)\n    server"))
    system.exec(BACKUP, ["service", "restart", slow], lambda status, output: None)
    system.run_for(0.1)
    caller = next(p for p in guest.kernel.processes.values() if p.name == "service")
    guest.kernel.sig_exit(caller.pid, signal.SIGKILL)
    assert system.run_until(lambda: guest.ozs.service_up, 5)
    assert guest.version.service.program == slow


def test_only_in_a_backup(system: System) -> None:
    status, output = restart(system, domid=PRIMARY)
    assert status == 1 and "EBUSY" in output
    assert restart(system, domid=0)[0] == 1
    assert system.run_command(0, ["service", "status"])[0] == 1
    assert system.run_command(BACKUP, ["service"])[0] == 2


def test_what_is_loaded_anew() -> None:
    assert ServiceVersion("shop.web.app:main").modules == ("shop",)
    assert ServiceVersion("xenemu.guest.programs.httpd").modules == ("xenemu.guest.programs.httpd",)
    assert ServiceVersion("/srv/app.py:run").modules == ("app",)
    assert ServiceVersion("shop", private=("a", "b")).modules == ("a", "b")
