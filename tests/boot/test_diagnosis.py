"""A failed primary in virtual time: kept, reachable, its core, its console, its end."""

import asyncio
import contextlib
import errno
import math
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenemu.boot import DomainStatus, Link, System, add_client, run_client, small_config

MS = 1_000_000
HTTPD = "xenemu.guest.programs.httpd"
REQUEST = b"GET /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"x" * 200_000)
    return tmp_path


@contextlib.contextmanager
def booted(root: Path, **changes: object) -> Iterator[System]:
    with System(small_config(root=root, **changes)) as system:
        system.boot()
        yield system


def status(system: System, domid: int) -> DomainStatus | None:
    return {each.id: each for each in system.list()}.get(domid)


def destroyed(system: System) -> list[tuple[int, object]]:
    events = [event for event in system.log.since() if event.name == "destroyed"]
    return [(event.domid, event.details.get("reason")) for event in events]


def fail(system: System, how: str = "SIGKILL") -> int:
    """An application fault, until all is protected again; who had it."""
    old = system.crash("app", how)
    assert system.run_until(lambda: not system.protected(), 5)
    assert system.run_until(system.protected, 30)
    return old


def ps(system: System, domid: int) -> list[str]:
    return system.run_command(domid, ["ps"])[1].splitlines()[1:]


def migrate(system: System) -> int:
    old = system.primary().domid
    assert system.run_command(old, ["zlctl", "wakeup-backup"])[0] == 0
    assert system.run_command(old, ["zlctl", "migrate"]) == (0, "")
    return old


def test_it_is_kept_for_as_long_as_told(root: Path) -> None:
    with booted(root, keep_faulty=2.0) as system:
        base = system.machine.core.free_pages()
        old = fail(system)
        kept = status(system, old)
        assert kept is not None
        assert (kept.role, kept.state, kept.ip) == ("retired", "running", "10.0.2.1")
        assert kept.kept == "faulty"
        system.run_for(1)
        kept = status(system, old)
        assert kept is not None and kept.kept_seconds is not None
        assert 0.9 < kept.kept_seconds <= 1 and destroyed(system) == []
        system.run_for(1)
        assert status(system, old) is None and destroyed(system) == [(old, "expired")]
        assert system.machine.core.free_pages() == base
        assert system.protected()


@pytest.mark.parametrize("keep", [0.0, math.inf])
def test_not_at_all_and_for_ever(root: Path, keep: float) -> None:
    with booted(root, keep_faulty=keep) as system:
        old = fail(system)
        assert (status(system, old) is None) == (keep == 0)
        system.run_for(5)
        first = status(system, old)
        if first is None:
            return
        assert (first.kept, first.kept_seconds) == ("faulty", None)
        second = fail(system)
        assert destroyed(system) == [(old, "superseded")]
        again = status(system, second)
        assert again is not None and again.kept == "faulty"


def test_a_kernel_fault_leaves_what_is_kept_alone(root: Path) -> None:
    with booted(root) as system:
        old = fail(system)
        second = system.crash("kernel")
        assert system.run_until(lambda: (second, None) in destroyed(system), 30)
        assert system.run_until(system.protected, 30)
        assert destroyed(system) == [(second, None)]
        kept = status(system, old)
        assert kept is not None and kept.kept == "faulty"


def ballast(system: System, left: int) -> None:
    """Somebody else's domain, so that `left` pages are free."""
    pages = system.machine.core.free_pages() - left
    system.machine.core.create_domain(
        pages=pages, max_pages=pages, window_pages=0, privileged=False, ip=0
    )


def test_protection_comes_before_diagnosis(root: Path) -> None:
    pages = small_config().primary_memory // 4096
    with booted(root) as system:
        ballast(system, pages - 1)
        old = fail(system)
        assert destroyed(system) == [(old, "memory")]
        assert "kept-for-diagnosis" not in [event.name for event in system.log.since()]


def test_it_yields_to_the_next_recovery(root: Path) -> None:
    pages = small_config().primary_memory // 4096
    with booted(root) as system:
        old = fail(system)
        ballast(system, pages - 1)
        system.run_for(1)
        assert destroyed(system) == []
        system.crash("kernel")
        assert system.run_until(lambda: bool(destroyed(system)), 1)
        assert destroyed(system) == [(old, "memory")]
        assert system.run_until(lambda: not system.protected(), 5)
        assert system.run_until(system.protected, 30)
        events = system.log.since()
        assert not [event for event in events if event.name == "not-protected"]


def test_a_migrated_one_goes_when_its_successor_is_protected(root: Path) -> None:
    with booted(root) as system:
        base = system.machine.core.free_pages()
        faulty = fail(system)
        old = migrate(system)
        assert system.run_until(system.protected, 30)
        system.run_for(0.1)
        assert destroyed(system) == [(old, "done")]
        kept = status(system, faulty)
        assert kept is not None and kept.kept == "faulty"
        system.destroy(faulty)
        assert system.machine.core.free_pages() == base


def test_a_migrated_one_stays_while_its_successor_is_not_protected(root: Path) -> None:
    with booted(root, backup=False) as system:
        assert system.run_command(0, ["zlctl", "ins-auth", "1"])[0] == 0
        assert system.run_command(1, ["zlctl", "boot-backup"])[0] == 0
        assert system.run_command(1, ["zlctl", "change-backup-ip"])[0] == 0
        assert system.run_command(1, ["zlctl", "migrate"]) == (0, "")
        system.run_for(5)
        old = status(system, 1)
        assert old is not None
        assert (old.role, old.kept, old.kept_seconds) == ("retired", "migrated", None)
        assert system.run_command(2, ["zlctl", "boot-backup"])[0] == 0
        assert system.run_command(2, ["zlctl", "change-backup-ip"])[0] == 0
        assert status(system, 1) is not None
        assert system.run_command(2, ["zlctl", "suspend-backup"])[0] == 0
        system.run_for(0.01)
        assert destroyed(system) == [(1, "done")]


def test_it_is_reachable(root: Path) -> None:
    got: list[bytes] = []

    async def fetch(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.2.1", 80)
        writer.write(REQUEST)
        got.append(await reader.read())
        writer.close()
        return 0

    async def refused(argv: list[str]) -> int:
        try:
            await asyncio.open_connection("10.0.2.1", 80)
        except ConnectionRefusedError:
            return 0
        return 1

    with booted(root) as system:
        old = fail(system)
        client = add_client(system, link=Link(delay_ns=MS))
        assert run_client(system, client, refused, 5) == 0
        refusal = (1, "connect: 10.0.2.1:80: Connection refused")
        assert system.run_command(0, ["connect", "10.0.2.1", "80"]) == refusal
        argv = ["run", HTTPD, "--port", "80", str(root)]
        assert system.run_command(old, argv)[0] == 0
        system.run_for(0.1)
        assert system.run_command(0, ["connect", "10.0.2.1", "80"])[0] == 0
        assert run_client(system, client, fetch, 30) == 0
        assert got[0].endswith((root / "data").read_bytes())
        # A fault there is nobody's: no recovery, but a core.
        line = next(each for each in ps(system, old) if "running  " in each and "httpd" in each)
        assert system.run_command(old, ["kill", "-SEGV", line.split()[0]])[0] == 0
        system.run_for(0.1)
        assert system.protected()
        states = [line.split()[1:-3] for line in ps(system, old)]
        assert states[1:] == [["dead", "(SIGKILL)", "httpd"], ["dead", "(SIGSEGV)", "httpd"]]


@pytest.mark.parametrize(
    ("how", "cause"), [("SIGSEGV", "SIGSEGV"), ("exit", "exit 1"), ("exception", "InjectedError")]
)
def test_ps_and_core_of_the_dead_service(root: Path, how: str, cause: str) -> None:
    with booted(root) as system:
        old = fail(system, how)
        ozsd, dead = ps(system, old)
        assert ozsd.split() == ["1", "running", "ozsd"]
        assert f"dead ({cause})" in dead and "httpd --port 80" in dead
        code, text = system.run_command(old, ["core"])
        assert code == 0 and f"of d1: {cause}" in text.splitlines()[0]
        assert "in Process._run" in text and "in main" in text
        assert "LISTEN       0.0.0.0:80" in text
        assert f"module {HTTPD}:" in text and "CHUNK = 262144" in text
        assert system.run_command(old, ["core", "2"])[1] == text
        assert system.run_command(old, ["core", "77"]) == (1, "core: 77: no core of this process")
        assert system.run_command(old, ["core", "x"])[0] == 2
        primary = system.primary().domid
        assert system.run_command(primary, ["core"]) == (1, "core: none")


def test_a_core_has_the_connections_of_its_time_and_outlives_its_domain(root: Path) -> None:
    async def fetch(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(REQUEST)
        await reader.read()
        writer.close()
        return 0

    (root / "data").write_bytes(b"x" * 2_000_000)  # more than a socket takes at once
    with booted(root, keep_faulty=0.0) as system:
        with pytest.raises(OSError, match="no core") as caught:
            system.cores.find()
        assert caught.value.errno == errno.ENOENT
        link = Link(bits_per_second=1_000_000, delay_ns=MS)
        process = add_client(system, link=link).spawn(fetch)
        system.run_for(0.05)
        old = fail(system)
        assert status(system, old) is None
        core = system.cores.find(old).as_dict()
        assert core == system.cores.find(system.find_past("d1"), core["pid"]).as_dict()
        assert (core["reason"], core["died"]) == ("SIGKILL", 0.05)
        states = {(each["state"], each["peer"].partition(":")[0]) for each in core["sockets"]}
        assert ("LISTEN", "") in states and ("ESTABLISHED", "10.0.1.2") in states
        names = [frame["function"] for task in core["tasks"] for frame in task["stack"]]
        assert "RequestHandler.start" in names
        assert system.run_until(lambda: process.exited, 60)
        assert process.exit_status == 0
        with pytest.raises(OSError, match="no core"):
            system.cores.find(99)


def test_core_files(root: Path, tmp_path: Path) -> None:
    directory = tmp_path / "cores"
    directory.mkdir()
    with booted(root, core_dir=directory) as system:
        old = fail(system, "SIGSEGV")
        system.run_for(0.02)
        (path,) = directory.iterdir()
        assert path.name == f"core.d{old}.httpd.2"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == system.run_command(old, ["core"])[1] + "\n"
        names = [event.name for event in system.log.since()]
        assert names.index("recovery-done") < names.index("core-written")
        path.unlink()
        directory.rmdir()
        fail(system)
        system.run_for(0.02)
        (lost,) = [event for event in system.log.since() if event.name == "core-not-written"]
        assert lost.details["error"] == "No such file or directory"


def test_a_core_is_written_at_the_end_at_the_latest(root: Path, tmp_path: Path) -> None:
    directory = tmp_path / "cores"
    directory.mkdir()
    with booted(root, core_dir=directory) as system:
        system.crash("app")
    assert len(list(directory.iterdir())) == 1


def test_destroy(root: Path) -> None:
    with booted(root) as system:
        base = system.machine.core.free_pages()
        old = fail(system)
        for domid in (0, system.primary().domid):
            with pytest.raises(OSError) as caught:
                system.destroy(domid)
            assert caught.value.errno == errno.EBUSY
        with pytest.raises(OSError):
            system.destroy(0, force=True)
        system.destroy(old)
        assert destroyed(system) == [(old, "by hand")]
        assert system.machine.core.free_pages() == base
        before = system.backup().domid
        generation = system.vmm.domain(before).generation
        system.destroy(before)
        assert system.run_until(system.protected, 30)
        assert system.vmm.domain(system.backup().domid).generation != generation
        fail(system)


def test_a_recovery_is_not_disturbed(root: Path) -> None:
    with booted(root) as system:
        old = system.crash("kernel")
        assert system.run_until(lambda: "fenced" in [e.name for e in system.log.since()], 5)
        pair = system.vmm.pair(old)
        if pair is not None and pair.old_primary == old:
            with pytest.raises(OSError, match="recovered") as caught:
                system.destroy(old, force=True)
            assert caught.value.errno == errno.EBUSY
        assert system.run_until(system.protected, 30)


@pytest.mark.parametrize("state", ["suspended", "awake", "no backup", "no grant"])
def test_the_primary_by_force(root: Path, state: str) -> None:
    async def fetch(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(REQUEST)
        try:
            await reader.read()
        except ConnectionResetError:
            return 7
        finally:
            writer.close()
        return 0

    with booted(root, backup=not state.startswith("no ")) as system:
        if state == "awake":
            assert system.run_command(1, ["zlctl", "wakeup-backup"])[0] == 0
        if state == "no backup":
            assert system.run_command(0, ["zlctl", "ins-auth", "1"])[0] == 0
        faulty = fail(system) if state == "suspended" else None
        link = Link(bits_per_second=1_000_000, delay_ns=MS)
        process = add_client(system, link=link).spawn(fetch)
        system.run_for(0.05)
        system.destroy(system.primary().domid, force=True)
        left = [] if faulty is None else [("retired", faulty)]
        assert [(each.role, each.id) for each in system.list()] == [("control", 0), *left]
        if state in ("suspended", "awake"):
            assert system.run_until(lambda: process.exited, 5)
            assert process.exit_status == 7
        system.run_for(30)
        with pytest.raises(OSError):
            system.primary()


def test_console(root: Path) -> None:
    with booted(root, keep_faulty=0.0) as system:
        old = fail(system, "exception")
        lines = [text for _, text in system.consoles.lines(old)]
        assert lines[0] == "httpd[2]: xenemu.boot.crash.InjectedError: injected"
        assert lines[-1] == "httpd[2]: InjectedError: injected (core dumped)"
        assert [text for _, text in system.consoles.lines(old, 1)] == lines[-1:]
        assert system.consoles.lines(old, 0) == []
        assert system.consoles.lines(system.find_past("d1")) == system.consoles.lines(old)
        assert system.consoles.lines(system.primary().domid) == []
        with pytest.raises(OSError) as caught:
            system.consoles.lines(50)
        assert caught.value.errno == errno.ESRCH


def test_a_console_is_bounded_and_another_domain_begins_anew(root: Path) -> None:
    with booted(root) as system:
        kernel = system.guests[1].kernel
        for number in range(1500):
            kernel.report(f"{number} " + "x" * 2000)
        lines = system.consoles.lines(1)
        assert len(lines) == 1000 and lines[-1][1].startswith("1499 ")
        assert all(len(text) <= 1000 for _, text in lines)
        system.crash("kernel")
        assert system.run_until(lambda: (1, None) in destroyed(system), 30)
        system.run_until(lambda: 1 in system.guests, 5)
        if 1 in system.guests:
            assert system.consoles.lines(1) == []


def test_the_same_seed_gives_the_same_trace_with_cores(root: Path, tmp_path: Path) -> None:
    directory = tmp_path / "cores"
    directory.mkdir()

    def run(core_dir: Path | None) -> int:
        with booted(root, seed=7, keep_faulty=0.5, core_dir=core_dir) as system:
            for _ in range(2):
                system.run_for(0.1)
                fail(system)
            system.run_for(1)
            return system.machine.core.trace_hash

    assert run(directory) == run(directory) == run(None)
