"""The whole system in virtual time: fig. 7, failovers, what the commands do."""

import asyncio
import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenemu._abi import TcpFeature
from xenemu.boot import KernelVersion, Link, System, add_client, run_client, small_config, timelines

MS = 1_000_000
SIZE = 256 << 10


@contextlib.contextmanager
def booted(root: Path, **changes: object) -> Iterator[System]:
    with System(small_config(root=root, **changes)) as system:
        system.boot()
        yield system


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(bytes(i * 7 % 251 for i in range(SIZE)))
    return tmp_path


class Fetch:
    """A client that fetches /data, and sees what it sees."""

    def __init__(self) -> None:
        self.received = bytearray()

    async def __call__(self, argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(b"GET /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while data := await reader.read(65536):
            self.received += data
        writer.close()
        return 0

    @property
    def body(self) -> bytes:
        return bytes(self.received).partition(b"\r\n\r\n")[2]


def names(system: System) -> list[str]:
    return [event.name for event in system.log.since()]


def test_boot_goes_through_figure_7(root: Path) -> None:
    with System(small_config(root=root)) as system:
        lines: list[str] = []
        system.boot(lines.append)
        assert system.protected()
        wanted = ["grant-installed", "backup-created", "backup-booted", "backup-suspended"]
        assert [name for name in names(system) if name in wanted] == wanted
        assert [line.split()[-1] for line in lines if "zlctl" in line] == [
            "1", "boot-backup", "change-backup-ip", "suspend-backup",
        ]  # fmt: skip
        roles = {status.role: status for status in system.list()}
        assert set(roles) == {"control", "primary", "backup"}
        assert roles["backup"].state == "paused"
        assert roles["backup"].ip == roles["primary"].ip == "10.0.0.1"
        system.run_for(0.05)
        assert system.list()[1].heartbeats > 0


def test_no_backup_leaves_it_to_the_administrator(root: Path) -> None:
    with booted(root, backup=False) as system:
        assert not system.protected()
        assert system.run_command(1, ["zlctl", "boot-backup"])[0] == 1
        assert system.run_command(0, ["zlctl", "ins-auth", "1"]) == (0, "")
        assert system.run_command(1, ["zlctl", "boot-backup"]) == (0, "domain 2")


@pytest.mark.parametrize("kind", ["app", "kernel"])
def test_a_fetch_outlives_two_crashes(root: Path, kind: str) -> None:
    with booted(root) as system:
        client = add_client(system, link=Link(bits_per_second=20_000_000, delay_ns=5 * MS))
        fetch = Fetch()
        process = client.spawn(fetch)
        for share in (0.1, 0.6):
            assert system.run_until(lambda s=share: len(fetch.received) > s * SIZE, 30)
            assert system.run_until(system.protected, 30)
            system.crash(kind)
        assert system.run_until(lambda: process.exited, 60)
        assert process.exit_status == 0
        assert fetch.body == (root / "data").read_bytes()
        assert system.run_until(system.protected, 30)
        lines = timelines(system.log.since())
        assert len(lines) == 2
        steps = [name for name, _ in lines[0].steps]
        assert steps[0] == "detection" and "replay" in steps and "first byte" in steps


def test_after_an_application_fault_the_old_primary_is_kept_apart(root: Path) -> None:
    with booted(root) as system:
        old = system.crash("app")
        assert system.run_until(lambda: "kept-for-diagnosis" in names(system), 30)
        system.run_for(0.1)
        status = {s.id: s for s in system.list()}[old]
        assert (status.role, status.state) == ("retired", "running")
        assert status.ip not in ("10.0.0.1",)


def test_after_a_kernel_fault_the_old_primary_is_destroyed(root: Path) -> None:
    with booted(root) as system:
        old = system.crash("kernel")
        assert system.run_until(lambda: "destroyed" in names(system), 30)
        assert old not in [s.id for s in system.list()]


def test_a_fault_without_a_backup_is_loud(root: Path) -> None:
    with booted(root, backup=False) as system:
        assert system.run_command(0, ["zlctl", "ins-auth", "1"])[0] == 0
        system.crash("app")
        system.run_for(0.2)
        assert "no-backup" in names(system)


def test_a_lost_backup_is_replaced(root: Path) -> None:
    with booted(root) as system:
        assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
        system.crash("backup")
        assert system.run_until(lambda: "backup-lost" in names(system), 5)
        assert system.run_until(system.protected, 30)


def test_frames_return_after_recoveries(root: Path) -> None:
    with booted(root) as system:
        base = system.machine.core.free_pages()
        for _ in range(3):
            system.crash("kernel")
            assert system.run_until(lambda: not system.protected(), 5)
            assert system.run_until(system.protected, 30)
        assert system.machine.core.free_pages() == base


def test_the_same_seed_gives_the_same_trace(root: Path) -> None:
    def run() -> int:
        with booted(root, seed=7) as system:
            client = add_client(system, link=Link(delay_ns=MS, loss_ppm=10_000))
            fetch = Fetch()
            process = client.spawn(fetch)
            system.run_until(lambda: len(fetch.received) > 20_000, 30)
            system.crash("app")
            system.run_until(lambda: process.exited, 60)
            assert fetch.body == (root / "data").read_bytes()
            return system.machine.core.trace_hash

    assert run() == run()


def test_find_and_pause(root: Path) -> None:
    with booted(root) as system:
        assert [system.find(n) for n in ("control", "1", "d2", "backup")] == [0, 1, 2, 2]
        with pytest.raises(OSError, match="no domain") as caught:
            system.find("nobody")
        assert caught.value.errno == errno.ESRCH
        system.pause(1)
        system.unpause(1)
        with pytest.raises(OSError) as caught:
            system.unpause(1)
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("lacks", list(TcpFeature))
def test_a_backup_whose_tcp_lacks_a_feature_is_refused_at_boot_up(
    root: Path, lacks: TcpFeature
) -> None:
    every = TcpFeature.TIMESTAMPS | TcpFeature.WINDOW_SCALE
    with System(small_config(root=root)) as system:
        system.versions.choose(1, KernelVersion("test", tcp=every & ~lacks))
        with pytest.raises(OSError, match="not supported"):
            system.boot()
        refused = next(e for e in system.log.since() if e.name == "backup-refused")
        assert refused.details["lacks"] == lacks.name
        assert system.machine.core.domain_ids() == [0, 1]


def test_a_paused_primary_is_not_taken_for_dead(root: Path) -> None:
    with booted(root) as system:
        system.pause(1)
        system.run_for(1)
        system.unpause(1)
        system.run_for(1)
        assert "fault" not in names(system)
        assert system.protected()


def test_commands_in_guests(root: Path) -> None:
    with booted(root) as system:
        status, output = system.run_command(1, ["ps"])
        assert status == 0 and "httpd" in output
        assert system.run_command(1, ["nonsense"])[0] == 127
        assert system.run_command(1, ["zlctl", "nonsense"])[0] == 2
        with pytest.raises(OSError) as caught:
            system.run_command(2, ["ps"])
        assert caught.value.errno == errno.EAGAIN


def test_run_client_says_when_it_takes_too_long(root: Path) -> None:
    async def forever(argv: list[str]) -> int:
        await asyncio.sleep(1000)
        return 0

    with booted(root) as system:
        assert run_client(system, add_client(system), forever, 0.1) == -1


def test_migration_moves_a_running_fetch_and_answers_its_caller(root: Path) -> None:
    data = bytes(range(256)) * 4096
    (root / "big").write_bytes(data)
    got: list[bytes] = []

    async def fetch(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got.append(await reader.read())
        writer.close()
        return 0

    with System(small_config(root=root)) as system:
        system.boot()
        kernel = add_client(system, link=Link(bits_per_second=100_000_000, delay_ns=1_000_000))
        process = kernel.spawn(fetch)
        system.run_for(0.02)
        first = system.primary().domid
        assert system.run_command(first, ["zlctl", "wakeup-backup"])[0] == 0
        assert system.run_command(first, ["zlctl", "migrate"]) == (0, "")
        assert system.primary().domid != first
        assert system.run_until(lambda: process.exited, 30)
        assert got[0].endswith(data)
        assert "fault" not in names(system)


def test_the_host_keeps_its_own_clock_after_a_recovery(root: Path) -> None:
    before = (time.perf_counter, time.monotonic, time.time)
    with System(small_config(root=root)) as system:
        system.boot()
        system.crash("app")
        assert system.run_until(system.protected, 10)
        assert (time.perf_counter, time.monotonic, time.time) == before
