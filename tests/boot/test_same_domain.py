"""Recovery in the same domain (6.3.1), under clients in virtual time."""

from pathlib import Path

import pytest

from xenemu.boot import Link, ServiceSpec, System, add_client, small_config
from xenemu.lab.clients import Report
from xenemu.lab.scenarios import SCENARIOS

MS = 1_000_000
LINK = Link(bits_per_second=20_000_000, delay_ns=2 * MS)


class Run:
    """A scenario's client on a system that recovers in place."""

    def __init__(self, root: Path, scenario: str, start_seconds: float = 0.3) -> None:
        chosen = SCENARIOS[scenario]
        for name, data in chosen.files(1).items():
            (root / name).write_bytes(data)
        self.report = Report()
        self.system = System(
            small_config(
                root=root, seed=1, same_domain=True, start_seconds=start_seconds,
                specs=chosen.specs,
            )
        )  # fmt: skip
        self.system.boot()
        kernel = add_client(self.system, link=LINK)
        self.client = kernel.spawn(chosen.program_of(1, self.report))

    def names(self) -> list[str]:
        return [event.name for event in self.system.log.since()]

    def ends_well(self) -> bool:
        assert self.system.run_until(lambda: self.client.exited, 120)
        return (self.client.exit_status, self.report.wrong, self.report.broken) == (0, [], [])


@pytest.mark.parametrize("scenario", ["get", "put", "echo", "keep-alive", "half-close", "read-on"])
@pytest.mark.parametrize("how", ["SIGKILL", "exception"])
def test_the_service_goes_on_where_it_was(tmp_path: Path, scenario: str, how: str) -> None:
    run = Run(tmp_path, scenario)
    with run.system:
        run.system.run_for(0.02)
        backup = run.system.backup().domid
        assert run.system.crash("app", how) == 1
        assert run.ends_well()
        assert run.system.primary().domid == 1 and run.system.backup().domid == backup
        assert {"restart", "recovery-done"} < set(run.names())
        assert "path-switched" not in run.names() and run.system.protected()


def test_it_takes_the_time_that_the_service_takes(tmp_path: Path) -> None:
    run = Run(tmp_path, "get", start_seconds=0.3)
    with run.system:
        run.system.run_for(0.02)
        run.system.crash("app")
        assert run.ends_well()
        times = {event.name: event.time for event in run.system.log.since()}
        assert 300 * MS <= times["recovery-done"] - times["restart"] < 310 * MS


def test_a_second_fault_soon_after_goes_to_the_backup(tmp_path: Path) -> None:
    run = Run(tmp_path, "keep-alive")
    with run.system:
        run.system.run_for(0.02)
        run.system.crash("app")
        assert run.system.run_until(lambda: "recovery-done" in run.names(), 5)
        run.system.run_for(0.01)
        run.system.crash("app")
        assert run.ends_well()
        assert "crash-loop" in run.names() and run.system.primary().domid == 2


@pytest.mark.parametrize("what", ["app", "kernel", "backup"])
@pytest.mark.parametrize("after", [0.1, 0.301, 0.32])
def test_a_fault_while_it_restarts(tmp_path: Path, what: str, after: float) -> None:
    run = Run(tmp_path, "echo")
    with run.system:
        run.system.run_for(0.02)
        run.system.crash("app")
        run.system.run_for(after)
        try:
            run.system.crash(what)
        except OSError:
            assert what == "app"  # it does not run yet
        assert run.ends_well()
        assert run.system.run_until(run.system.protected, 60)


def test_a_service_that_does_not_come_up_again(tmp_path: Path) -> None:
    program = tmp_path / "once.py"
    program.write_text(
        "from pathlib import Path\n"
        "from xenemu.guest.programs import httpd\n"
        f"flag = Path({str(tmp_path / 'flag')!r})\n"
        "async def main(argv):\n"
        "    if flag.exists():\n"
        "        raise RuntimeError('not again')\n"
        "    return await httpd.main(argv)\n"
    )
    run = Run(tmp_path, "get")
    run.system.close()
    with System(
        small_config(root=tmp_path, same_domain=True, specs=(ServiceSpec(str(program)),))
    ) as system:
        system.boot()
        run.system = system
        run.client = add_client(system, link=LINK).spawn(SCENARIOS["get"].program_of(1, run.report))
        system.run_for(0.02)
        (tmp_path / "flag").touch()
        system.crash("app")
        assert run.ends_well()
        assert "not-restarted" in run.names() and system.primary().domid == 2
