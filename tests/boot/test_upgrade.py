"""Upgrades under clients, in virtual time: what they see, what is rolled back, what interrupts."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from xenemu.boot import (
    Link,
    Outcome,
    ServiceSpec,
    System,
    UpgradeRequest,
    UpgradeResult,
    UpgradeStep,
    add_client,
    httpd_arguments,
    small_config,
)
from xenemu.guest import Process

MS = 1_000_000
SIZE = 512 << 10
DATA = bytes(i * 7 % 251 for i in range(SIZE))
LINK = Link(bits_per_second=20_000_000, delay_ns=2 * MS)
SERVICE = """
import asyncio

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 {status} X\\r\\nContent-Length: 0\\r\\n\\r\\n")
    writer.close()

async def main(argv):
    await asyncio.sleep({delay})
    await (await asyncio.start_server(serve, "0.0.0.0", {port})).serve_forever()
"""


def made(root: Path) -> Path:
    """A directory with the file; its time is part of the answer."""
    root.mkdir()
    (root / "data").write_bytes(DATA)
    os.utime(root / "data", (0, 1_000_000_000))
    return root


@pytest.fixture
def system(tmp_path: Path):
    root = made(tmp_path / "old")
    with System(small_config(root=root, seed=3)) as system:
        system.boot()
        yield system


@pytest.fixture
def new_root(tmp_path: Path) -> tuple[str, ...]:
    """Arguments of the file server with another root that holds the same, and more."""
    root = made(tmp_path / "new")
    (root / "more").write_bytes(b"")
    return httpd_arguments(root)


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "version.py"
    path.write_text(text)
    return str(path)


def service(tmp_path: Path, status: int = 200, delay: float = 0, port: int = 80) -> str:
    return program(tmp_path, SERVICE.format(status=status, delay=delay, port=port))


class Client:
    """One connection: `gets` downloads one after the other, or one upload."""

    def __init__(self, system: System, gets: int = 1, upload: bytes = b"") -> None:
        self.got: list[bytes] = []
        self.sent = self.connections = 0
        self.process: Process = add_client(system, link=LINK).spawn(
            self._put if upload else self._get
        )
        self._gets, self._upload = gets, upload

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection("10.0.0.1", 80)

    async def _get(self, argv: list[str]) -> int:
        reader, writer = await self._connect()
        for _ in range(self._gets):
            writer.write(b"GET /data HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            self.got.append(await reader.readexactly(SIZE))
        writer.close()
        return 0

    async def _put(self, argv: list[str]) -> int:
        reader, writer = await self._connect()
        head = f"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self._upload)}\r\n\r\n"
        writer.write(head.encode())
        for at in range(0, len(self._upload), 8192):
            writer.write(self._upload[at : at + 8192])
            await writer.drain()
        self.got.append(await reader.readline())
        writer.close()
        return 0

    def right(self, system: System) -> bool:
        """It ends, without an error, over one connection."""
        assert system.run_until(lambda: self.process.exited, 120)
        return self.process.exit_status == 0 and self.connections == 1


def upgrade(
    system: System, request: UpgradeRequest, on_step=lambda step: None, seconds: float = 200
) -> UpgradeResult:
    results: list[UpgradeResult] = []
    system.upgrade(request, on_step, results.append)
    assert system.run_until(lambda: bool(results), seconds)
    return results[0]


def runs(system: System) -> str:
    return str(system.versions.of(system.primary().domid).service)


def test_a_running_download_does_not_notice(system: System, new_root: tuple[str, ...]) -> None:
    client = Client(system, gets=3)
    system.run_for(0.1)
    steps: list[UpgradeStep] = []
    request = UpgradeRequest(arguments=new_root, check="/more")
    result = upgrade(system, request, steps.append)
    assert (result.outcome, result.reason, result.primary) == (Outcome.UPGRADED, "", 2)
    assert not client.process.exited
    assert [step.text.split()[0] for step in steps] == ["zlctl"] * 2 + ["service", "check"] + [
        "zlctl"
    ] * 2
    assert tuple(steps) == result.steps and all(s.begin <= s.end for s in steps)
    assert client.right(system) and client.got == [DATA] * 3
    assert system.protected() and result.backup == system.backup().domid
    assert runs(system).endswith(new_root[-1])
    assert system.versions.of(result.backup) == system.versions.of(result.primary)


def test_a_running_upload_does_not_notice(system: System, new_root: tuple[str, ...]) -> None:
    client = Client(system, upload=DATA)
    system.run_for(0.1)
    assert upgrade(system, UpgradeRequest(arguments=new_root)).outcome is Outcome.UPGRADED
    assert not client.process.exited
    assert client.right(system) and client.got[0].startswith(b"HTTP/1.1 200")
    assert (Path(new_root[-1]) / "up").read_bytes() == DATA


@pytest.mark.parametrize("kernels", [("2.6",), ("2.6", "2.4")])
@pytest.mark.parametrize("upload", [b"", DATA])
def test_a_kernel_is_replaced(system: System, kernels: tuple[str, ...], upload: bytes) -> None:
    client = Client(system, upload=upload, gets=2)
    for kernel in kernels:
        system.run_for(0.05)
        result = upgrade(system, UpgradeRequest(kernel=kernel))
        assert (result.outcome, result.reason) == (Outcome.UPGRADED, "")
        assert system.run_command(result.primary, ["uname"]) == (0, f"d{result.primary} {kernel}")
        assert system.versions.of(result.backup).kernel.name == kernel
    assert not client.process.exited
    assert client.right(system)


def test_a_service_and_a_kernel_at_once(system: System, new_root: tuple[str, ...]) -> None:
    client = Client(system)
    system.run_for(0.05)
    result = upgrade(system, UpgradeRequest(kernel="2.6", arguments=new_root, check="/more"))
    assert result.outcome is Outcome.UPGRADED
    assert str(system.versions.of(result.primary)).endswith(f"{new_root[-1]} on kernel 2.6")
    assert client.right(system)


def test_a_changed_module_is_loaded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "upgraded"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "answer.py").write_text("HEAD = b'HTTP/1.1 500 X'\n")
    answer = "from upgraded.answer import HEAD\n"
    fixed = 'b"HTTP/1.1 200 X'
    text = SERVICE.format(status=200, delay=0, port=80).replace(fixed, 'HEAD + b"')
    (package / "server.py").write_text(answer + text)
    monkeypatch.syspath_prepend(tmp_path)
    config = small_config(root=tmp_path, specs=(ServiceSpec("upgraded.server", ()),))
    with System(config) as system:
        system.boot()
        request = UpgradeRequest(reload=True, check="/")
        assert "500" in upgrade(system, request).reason
        # in the same second, as long as before
        (package / "answer.py").write_text("HEAD = b'HTTP/1.1 200 X'\n")
        assert upgrade(system, request).outcome is Outcome.UPGRADED
        # What a backup of the old version loads is the old version, whatever the disk says now.
        (package / "answer.py").write_text("raise RuntimeError('bad build')\n")
        result = upgrade(system, request)
        assert result.outcome is Outcome.ROLLED_BACK and "bad build" in result.reason
        assert result.backup
        system.crash("app")
        assert system.run_until(system.protected, 30)
        assert system.run_command(0, ["check", "10.0.0.1", "/"])[0] == 0


BROKEN = {
    "raises": ("raise RuntimeError('bad build')", "EIO: RuntimeError: bad build"),
    "ends": ("async def main(argv): return 3", "EIO: it ended with status 3"),
    "no entry": ("", "AttributeError"),
    "never listens": (
        SERVICE.format(status=200, delay=1e6, port=80),
        "ETIMEDOUT: it does not listen on port 80 in 10 s",
    ),
    "listens elsewhere": (SERVICE.format(status=200, delay=0, port=81), "port 80"),
    "fails its check": (SERVICE.format(status=500, delay=0, port=80), "EIO: 500 X"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_version_is_rolled_back(system: System, tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    before = runs(system)
    client = Client(system, gets=60)
    system.run_for(0.1)
    result = upgrade(system, UpgradeRequest(program=program(tmp_path, text), check="/"))
    assert result.outcome is Outcome.ROLLED_BACK and reason in result.reason
    assert result.primary == 1 and result.backup and system.protected()
    assert runs(system) == before == str(system.versions.of(result.backup).service)
    assert client.right(system) and set(client.got) == {DATA}
    assert "fault" not in [event.name for event in system.log.since()]
    assert upgrade(system, UpgradeRequest(reload=True)).outcome is Outcome.UPGRADED


def test_a_kernel_without_timestamps_is_refused(system: System) -> None:
    client = Client(system, gets=2)
    system.run_for(0.1)
    result = upgrade(system, UpgradeRequest(kernel="2.0"))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.reason == "kernel 2.0: its TCP lacks TIMESTAMPS|WINDOW_SCALE"
    assert result.primary == 1 and system.versions.of(result.backup).kernel.name == "2.4"
    assert client.right(system)


def test_one_at_a_time(system: System) -> None:
    results: list[UpgradeResult] = []
    system.upgrade(UpgradeRequest(), done=results.append)
    with pytest.raises(OSError) as caught:
        system.upgrade(UpgradeRequest())
    assert caught.value.errno == errno.EBUSY
    assert system.run_until(lambda: bool(results), 30)
    assert upgrade(system, UpgradeRequest()).outcome is Outcome.UPGRADED


def test_what_can_not_begin(system: System, tmp_path: Path) -> None:
    def refused(host: System, request: UpgradeRequest) -> int | None:
        with pytest.raises(OSError) as caught:
            host.upgrade(request)
        return caught.value.errno

    assert refused(system, UpgradeRequest(kernel="9")) == errno.EINVAL
    assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
    assert refused(system, UpgradeRequest()) == errno.EBUSY
    with System(small_config(root=tmp_path, backup=False)) as alone:
        alone.boot()
        assert refused(alone, UpgradeRequest()) == errno.EINVAL


def test_by_hand_step_by_step(system: System, new_root: tuple[str, ...]) -> None:
    client = Client(system)
    system.run_for(0.1)
    for domid, words, status in [
        (1, "zlctl wakeup-backup", 0),
        (1, "zlctl change-backup-ip own", 0),
        (2, "service restart no.such.module", 1),
        (2, "service status", 1),
        (0, "check 10.0.0.2", 1),
        (2, f"service restart xenemu.guest.programs.httpd {' '.join(new_root)}", 0),
        (2, "service status", 0),
        (0, "check 10.0.0.2 80 /more", 0),
        (0, "check 10.0.0.2 /nothing", 1),
        (1, "zlctl change-backup-ip primary", 0),
        (1, "zlctl migrate", 0),
    ]:
        found, output = system.run_command(domid, words.split())
        assert found == status, f"{words}: {output}"
    assert system.primary().domid == 2 and runs(system).endswith(new_root[-1])
    assert system.run_until(system.protected, 30)
    assert client.right(system) and client.got == [DATA]
    assert "fault" not in [event.name for event in system.log.since()]


def test_a_kernel_by_hand(system: System) -> None:
    client = Client(system, gets=3)
    system.run_for(0.1)
    assert system.run_command(1, ["reboot", "2.6"])[0] == 1  # the primary
    assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
    assert system.run_command(2, ["reboot", "9.9"])[0] == 1
    assert system.run_command(2, ["reboot", "2.6"])[0] == 0
    assert system.run_until(lambda: not system.protected(), 1)
    assert system.run_until(system.protected, 30)
    assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
    assert system.run_command(1, ["zlctl", "migrate"])[0] == 0
    new = system.primary().domid
    assert system.run_command(new, ["uname"]) == (0, f"d{new} 2.6")
    assert client.right(system)


STEPS = range(6)


@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize("what", ["app", "kernel", "backup"])
def test_a_fault_at_a_step(system: System, new_root: tuple[str, ...], what: str, at: int) -> None:
    client = Client(system, gets=4)
    system.run_for(0.1)
    count = 0

    def crash(step: UpgradeStep) -> None:
        nonlocal count
        if count == at:
            system.crash(what)
        count += 1

    result = upgrade(system, UpgradeRequest(arguments=new_root, check="/more"), crash)
    assert result.outcome is not Outcome.UPGRADED and result.reason
    assert result.backup and system.protected()
    if what == "backup" and at < 5:
        assert (result.outcome, result.primary) == (Outcome.ROLLED_BACK, 1)
    if what != "backup":
        assert result.outcome is Outcome.INTERRUPTED and f"d{result.primary} took over" in (
            result.reason
        )
    assert client.right(system) and client.got == [DATA] * 4
    assert upgrade(system, UpgradeRequest(reload=True)).outcome is Outcome.UPGRADED


@pytest.mark.parametrize("delay", [0.5, 1e6])
def test_the_primary_dies_while_the_new_version_starts(
    system: System, tmp_path: Path, new_root: tuple[str, ...], delay: float
) -> None:
    """A backup of the old version takes over."""
    before = runs(system)
    slow = f"""
import asyncio
from xenemu.guest.programs import httpd

async def main(argv):
    await asyncio.sleep({delay})
    return await httpd.main(argv)
"""
    client = Client(system, gets=4)
    system.run_for(0.1)
    results: list[UpgradeResult] = []
    new = program(tmp_path, slow)
    system.upgrade(UpgradeRequest(program=new), done=results.append)
    system.run_for(0.2)
    system.crash("kernel")
    assert system.run_until(lambda: bool(results), 100)
    (result,) = results
    assert result.outcome is Outcome.INTERRUPTED and "kernel fault of d1" in result.reason
    assert runs(system) == before
    assert client.right(system) and client.got == [DATA] * 4
    assert upgrade(system, UpgradeRequest(arguments=new_root)).outcome is Outcome.UPGRADED


def test_a_recovery_boots_the_kernel_of_the_fenced_primary(system: System) -> None:
    """A kernel that was chosen for the next backup is not for one that recovers."""
    assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
    system.exec(2, ["reboot", "2.6"], lambda status, output: None)
    system.crash("kernel")
    assert system.run_until(lambda: system.primary().domid != 1, 60)
    assert system.run_until(system.protected, 60)
    assert upgrade(system, UpgradeRequest()).outcome is Outcome.UPGRADED


def test_the_same_seed_gives_the_same_trace(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)

    def run() -> int:
        with System(small_config(root=tmp_path, seed=5)) as system:
            system.boot()
            client = Client(system)
            system.run_for(0.05)
            upgrade(system, UpgradeRequest(reload=True, check="/data"))
            assert client.right(system)
            return system.machine.core.trace_hash

    assert run() == run()
