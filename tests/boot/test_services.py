"""Several services on one primary: how they are named, and that none is lost with another."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozs import Profile, Service, ServiceVersion
from ozs.ftapi import lib
from xenemu.boot import (
    BootConfig,
    Outcome,
    ServiceSpec,
    System,
    UpgradeRequest,
    UpgradeResult,
    add_client,
    parse_service,
    small_config,
)
from xenemu.boot.config import parse_passive_ports
from xenemu.guest import DEFAULT_EPOCH, Kernel, Process
from xenemu.lab.clients import Report
from xenemu.lab.ftp_clients import login

ADDRESS, PORT = "10.0.0.1", 7000
SIZE = 200_000
WORDS = 40
PROGRAM = """
import asyncio

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()

async def main(argv):
    server = await asyncio.start_server(serve, "0.0.0.0", int(argv[0]))
    await server.serve_forever()
"""
PROFILE = """
import pathlib

def counting(wrapper):
    wrapper.plain()

    @wrapper.on_write()
    def write(call):
        with open(pathlib.Path(__file__).with_name("writes"), "a") as file:
            file.write("write\\n")
        return call.write()

def failing(wrapper):
    raise OSError(28, "no room")
"""


# specifications


def test_a_built_in_brings_its_port_profile_and_arguments(tmp_path: Path) -> None:
    root = str(tmp_path)
    programs = "xenemu.guest.programs"
    assert [parse_service(name).service(tmp_path) for name in ("httpd", "ftp", "proxy")] == [
        Service(
            "httpd", ServiceVersion(f"{programs}.httpd", ("--port", "80", root)), 80, Profile.HTTP
        ),
        Service("ftp", ServiceVersion(f"{programs}.ftpd", ("--port", "21", root)), 21, Profile.FTP),
        Service(
            "proxy", ServiceVersion(f"{programs}.proxyd", ("--port", "3128")), 3128, Profile.PROXY
        ),
    ]


def test_what_is_said_of_a_service(tmp_path: Path) -> None:
    spec = parse_service("shop.web:run,port=8000,profile=http,name=shop,arg=a,,b,arg=c")
    assert spec.service(tmp_path) == Service(
        "shop", ServiceVersion("shop.web:run", ("a,b", "c")), 8000, Profile.HTTP
    )
    plain = parse_service("shop.web:run").service(tmp_path)
    version = ServiceVersion("shop.web:run", ("--port", "80", str(tmp_path)))
    assert plain == Service("web", version, 80, Profile.PLAIN)
    more = parse_service("ftp,port=2121,arg=--user,arg=me:secret").service(tmp_path)
    assert more.version.arguments == ("--port", "2121", str(tmp_path), "--user", "me:secret")
    assert parse_service("kv,profile=./mine.py:counting").own_profile == "./mine.py:counting"
    assert parse_service("/srv/app.py:run").service(tmp_path).name == "app"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "without a name"), (",port=1", "without a name"), ("x,port=0", "'0'"),
        ("x,port=70000", "'70000'"), ("x,colour=red", "'colour=red'"), ("x,8000", "'8000'"),
        ("x,profile=fast", "'fast'"), ("x,name=a b", "'a b'"), ("x,name=", "''"),
    ],
)  # fmt: skip
def test_bad_specifications(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_service(text)


@pytest.mark.parametrize(
    ("specs", "wrong"),
    [
        ((), "no service"),
        (("httpd", "httpd,port=81"), "two services are called httpd"),
        (("httpd", "a:main"), "httpd and a both have port 80"),
    ],
)
def test_services_that_are_in_each_others_way(specs: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        BootConfig(specs=tuple(map(parse_service, specs)))


def test_passive_ports_are_forwarded_and_told_to_the_ftp_server(tmp_path: Path) -> None:
    specs, ports = (ServiceSpec("ftp"),), parse_passive_ports("30000-30002")
    config = BootConfig(root=tmp_path, forwards=(), specs=specs, passive_ports=ports)
    assert [(each.host_port, each.guest_port) for each in config.all_forwards] == [
        (30000, 30000), (30001, 30001), (30002, 30002)
    ]  # fmt: skip
    assert config.services[0].version.arguments[2:4] == ("--passive-address", "127.0.0.1")
    for bad in ("1", "2-1", "0-9", "1-70000", "a-b", "-"):
        with pytest.raises(ValueError, match=bad):
            parse_passive_ports(bad)


def test_profiles_have_the_numbers_of_the_header() -> None:
    numbers = [lib.WR_PROFILE_PLAIN, lib.WR_PROFILE_HTTP, lib.WR_PROFILE_FTP, lib.WR_PROFILE_PROXY]
    assert numbers == list(Profile)


# together


class Fetch:
    """One download from httpd."""

    body = b""

    async def __call__(self, argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection(ADDRESS, 80)
        writer.write(b"GET /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return 0


async def talk(argv: list[str]) -> int:
    """One conversation with PROGRAM; 1 for a wrong answer."""
    reader, writer = await asyncio.open_connection(ADDRESS, PORT)
    for i in range(WORDS):
        writer.write(f"word {i}\n".encode())
        if await reader.readline() != f"WORD {i}\n".encode():
            return 1
        await asyncio.sleep(0.005)
    writer.close()
    return 0


class Both:
    """A host with httpd and PROGRAM, and a client of each."""

    def __init__(self, root: Path, **changes: object) -> None:
        self.data = bytes(i * 7 % 251 for i in range(SIZE))
        (root / "data").write_bytes(self.data)
        program = root / "upper.py"
        program.write_text(PROGRAM)
        specs = (ServiceSpec(), ServiceSpec(str(program), (str(PORT),), PORT))
        self.system = System(small_config(root=root, specs=specs, **changes))
        self.fetch = Fetch()
        self.clients: list[Process] = []

    def start(self) -> None:
        """Boots, and lets the clients get half way."""
        self.system.boot()
        slow = self.system.config.link.__class__(bits_per_second=10_000_000, delay_ns=1_000_000)
        kernels: list[Kernel] = [add_client(self.system, n, link=slow) for n in range(2)]
        self.clients = [kernels[0].spawn(self.fetch), kernels[1].spawn(talk)]
        self.system.run_for(0.06)
        assert not any(client.exited for client in self.clients)

    def end(self) -> None:
        """Both clients got everything, and the host is protected again."""
        system = self.system
        assert system.run_until(lambda: all(each.exited for each in self.clients), 60)
        assert [each.exit_status for each in self.clients] == [0, 0]
        assert self.fetch.body == self.data
        assert system.run_until(system.protected, 60)
        lost = {"connection-reset", "connection-diverged", "connection-unprotected"}
        assert not lost & {event.name for event in system.log.since()}


@contextlib.contextmanager
def both(root: Path, **changes: object) -> Iterator[Both]:
    started = Both(root, **changes)
    with started.system:
        started.start()
        yield started


@pytest.mark.parametrize("service", ["httpd", "upper"])
def test_a_fault_of_one_service_ends_no_connection(tmp_path: Path, service: str) -> None:
    with both(tmp_path) as host:
        assert host.system.crash("app", "", service) == 1
        host.end()
        assert host.system.primary().domid != 1


def test_a_fault_of_the_kernel_ends_no_connection(tmp_path: Path) -> None:
    with both(tmp_path) as host:
        host.system.crash("kernel")
        host.end()


@pytest.mark.parametrize("service", ["httpd", "upper"])
def test_all_services_begin_anew_where_one_failed(tmp_path: Path, service: str) -> None:
    with both(tmp_path, same_domain=True) as host:
        old = [each.process for each in host.system.guests[1].ozs.services.values()]
        host.system.crash("app", "", service)
        host.end()
        new = [each.process for each in host.system.guests[1].ozs.services.values()]
        assert host.system.primary().domid == 1
        assert all(a is not b for a, b in zip(old, new, strict=True))


def test_one_of_several_is_upgraded(tmp_path: Path) -> None:
    results: list[UpgradeResult] = []
    with both(tmp_path) as host:
        program = tmp_path / "upper.py"
        program.write_text(PROGRAM + "# another version\n")
        host.system.upgrade(UpgradeRequest(service="upper", reload=True), done=results.append)
        assert host.system.run_until(lambda: bool(results), 60)
        assert results[0].outcome is Outcome.UPGRADED, results[0].reason
        commands = [step.text for step in results[0].steps]
        assert "service restart upper" in commands
        host.end()


def test_an_upgrade_of_several_must_say_which(tmp_path: Path) -> None:
    with both(tmp_path) as host:
        with pytest.raises(OSError, match="which one: httpd, upper"):
            host.system.upgrade(UpgradeRequest(program="other"))
        with pytest.raises(OSError, match="no service 'ftp'"):
            host.system.upgrade(UpgradeRequest(service="ftp", reload=True))
        with pytest.raises(OSError, match="no service 'ftp'"):
            host.system.crash("app", "", "ftp")
        host.end()


def test_administrators_see_all_services(tmp_path: Path) -> None:
    with both(tmp_path) as host:
        status, output = host.system.run_command(1, ["service", "status"])
        assert status == 0
        assert [line.split()[:2] for line in output.splitlines()] == [
            ["httpd:", "up:"], ["upper:", "up:"]
        ]  # fmt: skip
        listed = {each.id: each.services for each in host.system.list()}
        assert listed[1] == ["httpd", "upper"] and listed[host.system.control] == []


def test_a_service_that_does_not_listen_is_named(tmp_path: Path) -> None:
    program = tmp_path / "upper.py"
    program.write_text(PROGRAM)
    specs = (ServiceSpec(), ServiceSpec(str(program), ("7001",), PORT))
    with System(small_config(root=tmp_path, specs=specs)) as system:
        with pytest.raises(OSError, match="upper does not listen on port 7000"):
            system.boot()


# profiles


def with_profile(root: Path, profile: str) -> System:
    program, own = root / "upper.py", root / "own.py"
    program.write_text(PROGRAM)
    own.write_text(PROFILE)
    spec = ServiceSpec(str(program), (str(PORT),), PORT, profile.replace("own.py", str(own)))
    return System(small_config(root=root, specs=(spec,)))


def test_an_authors_profile_is_what_its_port_is_under(tmp_path: Path) -> None:
    with with_profile(tmp_path, "own.py:counting") as system:
        system.boot()
        client = add_client(system).spawn(talk)
        system.run_for(0.1)
        assert system.crash("kernel") == 1
        assert system.run_until(lambda: client.exited, 60) and client.exit_status == 0
        writes = (tmp_path / "writes").read_text().splitlines()
        assert len(writes) > WORDS  # those of the replay too


@pytest.mark.parametrize(
    ("profile", "wrong"),
    [
        ("own.py:nothing", "can't load the profile"), ("nowhere.py:x", "can't load the profile"),
        ("own.py:failing", "no room"),
    ],
)  # fmt: skip
def test_a_profile_that_can_not_be_used(tmp_path: Path, profile: str, wrong: str) -> None:
    with pytest.raises(OSError, match=wrong):
        with_profile(tmp_path, profile)


# FTP


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
        slow = system.config.link.__class__(bits_per_second=10_000_000, delay_ns=1_000_000)
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


# the wall clock


def test_the_wall_clock_is_the_real_one_in_real_time_only(tmp_path: Path) -> None:
    before = int(time.time())
    with System(small_config(root=tmp_path, real=True, forwards=())) as system:
        epochs = {guest.kernel.epoch for guest in system.guests.values()}
    assert len(epochs) == 1 and before <= epochs.pop() <= time.time()
    with System(small_config(root=tmp_path)) as system:
        assert {guest.kernel.epoch for guest in system.guests.values()} == {DEFAULT_EPOCH}
