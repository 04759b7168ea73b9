"""FTP as a protected service of a whole host, and what that asks of the host."""

import time
from pathlib import Path

import pytest

from ozs import Profile
from ozs.ftapi import lib
from xenemu.boot import Link, ServiceSpec, System, add_client, small_config
from xenemu.guest import DEFAULT_EPOCH
from xenemu.lab.clients import Report
from xenemu.lab.ftp_clients import login


def test_profiles_have_the_numbers_of_the_header() -> None:
    numbers = [lib.WR_PROFILE_PLAIN, lib.WR_PROFILE_HTTP, lib.WR_PROFILE_FTP, lib.WR_PROFILE_PROXY]
    assert numbers == list(Profile)


def ftp_host(root: Path, **changes: object) -> System:
    (root / "file").write_bytes(b"0123456789" * 20_000)
    return System(small_config(root=root, specs=(ServiceSpec("ftp"),), **changes))


@pytest.mark.parametrize("what", ["app", "kernel"])
def test_an_ftp_session_outlives_its_server(tmp_path: Path, what: str) -> None:
    report = Report()

    async def client(argv: list[str]) -> int:
        ftp = await login(report)
        for _ in range(3):
            await ftp.check("file", b"0123456789" * 20_000)
        await ftp.quit()
        return 0

    with ftp_host(tmp_path) as system:
        system.boot()
        slow = Link(bits_per_second=10_000_000, delay_ns=1_000_000)
        process = add_client(system, link=slow).spawn(client)
        system.run_for(0.2)
        assert not process.exited
        system.crash(what)
        assert system.run_until(lambda: process.exited, 60)
        assert (process.exit_status, report.wrong, report.broken) == (0, [], [])


def test_passive_transfers_get_their_ports_from_the_range(tmp_path: Path) -> None:
    ports: list[int] = []

    async def client(argv: list[str]) -> int:
        ftp = await login(Report())
        for _ in range(2):
            ports.append(int((await ftp.command("EPSV", 229, "")).split("|")[3]))
        await ftp.quit()
        return 0

    with ftp_host(tmp_path, passive_ports=(30000, 30001)) as system:
        system.boot()
        process = add_client(system).spawn(client)
        assert system.run_until(lambda: process.exited, 10) and process.exit_status == 0
    assert len(ports) == 2 and set(ports) <= {30000, 30001}


def test_the_wall_clock_is_the_real_one_in_real_time_only(tmp_path: Path) -> None:
    before = int(time.time())
    with System(small_config(root=tmp_path, real=True, forwards=())) as system:
        epochs = {guest.kernel.epoch for guest in system.guests.values()}
    assert len(epochs) == 1 and before <= epochs.pop() <= time.time()
    with System(small_config(root=tmp_path)) as system:
        assert {guest.kernel.epoch for guest in system.guests.values()} == {DEFAULT_EPOCH}
