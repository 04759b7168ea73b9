"""Specifications of services, and several services on one primary: all are recovered together."""

import asyncio
from pathlib import Path

import pytest

from ozs import Profile, Service, ServiceVersion
from xenemu.boot import (
    Outcome,
    ServiceSpec,
    System,
    UpgradeRequest,
    UpgradeResult,
    add_client,
    default_forwards,
    parse_passive_ports,
    parse_service,
    small_config,
)

SERVICE = "10.0.0.1"
UPPER = """
import asyncio

async def upper(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()

async def main(argv):
    server = await asyncio.start_server(upper, "0.0.0.0", int(argv[0]))
    await server.serve_forever()
"""
DATA = bytes(range(256)) * 4096  # 1 MiB


def test_builtins() -> None:
    root = Path("/srv")
    ftp = parse_service("ftp,arg=--user,arg=bob:a,,b").service(root, "127.0.0.1")
    assert (ftp.name, ftp.port, ftp.profile) == ("ftp", 21, Profile.FTP)
    assert ftp.version.program == "xenemu.guest.programs.ftpd"
    assert ftp.version.arguments == (
        "--port", "21", "--passive-address", "127.0.0.1", "/srv", "--user", "bob:a,b",
    )  # fmt: skip
    reached = parse_service("ftp").service(root)
    assert reached.version.arguments == ("--port", "21", "/srv")
    proxy = parse_service("proxy,port=8000,name=p,profile=plain").service(root)
    assert (proxy.name, proxy.port, proxy.profile) == ("p", 8000, Profile.PLAIN)
    assert proxy.version.arguments == ("--port", "8000")
    httpd = parse_service("httpd").service(root)
    assert (httpd.port, httpd.profile) == (80, Profile.HTTP)
    assert httpd.version.arguments == ("--port", "80", "/srv")


def test_programs() -> None:
    root = Path("/srv")
    own = parse_service("shop.web:main,port=8000").service(root)
    expected = ServiceVersion("shop.web:main", ("--port", "8000", "/srv"))
    assert own == Service("web", expected, 8000, Profile.PLAIN)
    given = parse_service("/srv/app.py:run,arg=a=b,profile=http").service(root)
    assert given == Service("app", ServiceVersion("/srv/app.py:run", ("a=b",)), 80, Profile.HTTP)


@pytest.mark.parametrize(
    "text",
    ["", ",port=1", "x,port=0", "x,port=65536", "x,port=", "x,profile=x", "x,name=a b", "x,a=1",
     "x,port"],
)  # fmt: skip
def test_bad_specifications(text: str) -> None:
    with pytest.raises(ValueError):
        parse_service(text)


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        ((), "no service"),
        ((ServiceSpec(), ServiceSpec()), "called httpd"),
        ((ServiceSpec(), ServiceSpec("m")), "both have port 80"),
    ],
)
def test_bad_sets_of_services(specs: tuple[ServiceSpec, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        small_config(specs=specs)


def test_passive_ports() -> None:
    config = small_config(passive_ports=parse_passive_ports("30000-30002"))
    assert [f.guest_port for f in config.all_forwards] == [80, 30000, 30001, 30002]
    for real, told in ((True, ("--passive-address", "127.0.0.1")), (False, ())):
        config = small_config(
            real=real, specs=(ServiceSpec("ftp"),), passive_ports=(30000, 30002), root=Path("/srv")
        )
        assert config.services[0].version.arguments == ("--port", "21", *told, "/srv")
    for text in ("", "1", "2-1", "0-1", "1-65536", "a-b"):
        with pytest.raises(ValueError):
            parse_passive_ports(text)
    with pytest.raises(ValueError, match="8080 is forwarded twice"):
        small_config(passive_ports=(8080, 8080))
    with pytest.raises(ValueError, match="at most"):
        small_config(passive_ports=(20000, 29999))


def test_default_forwards() -> None:
    services = [ServiceSpec(name).service(Path()) for name in ("httpd", "ftp", "proxy")]
    forwards = [(f.host_port, f.guest_port) for f in default_forwards(services)]
    assert forwards == [(8080, 80), (8021, 21), (3128, 3128)]


def two_services(root: Path, **changes: object) -> System:
    (root / "data").write_bytes(DATA)
    (root / "upper.py").write_text(UPPER)
    upper = ServiceSpec(str(root / "upper.py"), ("7000",), port=7000)
    return System(small_config(root=root, specs=(ServiceSpec(), upper), **changes))


class Talk:
    """A client of both services at once: a download, and lines each of which is answered."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.lines = 0
        self.data = b""
        self.process = add_client(system).spawn(self._main)

    async def _main(self, argv: list[str]) -> int:
        await asyncio.gather(self._get(), self._upper())
        return 0

    async def _get(self) -> None:
        reader, writer = await asyncio.open_connection(SERVICE, 80)
        writer.write(b"GET /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.data = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()

    async def _upper(self) -> None:
        reader, writer = await asyncio.open_connection(SERVICE, 7000)
        for number in range(300):
            writer.write(b"line %d\n" % number)
            assert await reader.readline() == b"LINE %d\n" % number
            self.lines = number + 1
            await asyncio.sleep(0.001)
        writer.close()

    def reach(self, lines: int) -> None:
        assert self.system.run_until(lambda: self.lines >= lines, 20)

    def finish(self) -> None:
        assert self.system.run_until(lambda: self.process.exited, 60)
        assert (self.process.exit_status, self.lines, self.data) == (0, 300, DATA)


@pytest.mark.parametrize("fault", ["httpd", "upper", "kernel"])
@pytest.mark.parametrize("same_domain", [False, True])
def test_both_are_recovered(tmp_path: Path, fault: str, same_domain: bool) -> None:
    with two_services(tmp_path, same_domain=same_domain) as system:
        system.boot()
        talk = Talk(system)
        talk.reach(50)
        before = system.primary().domid
        if fault == "kernel":
            system.crash("kernel")
        else:
            system.crash("app", service=fault)
        talk.reach(200)
        assert (system.primary().domid == before) == (same_domain and fault != "kernel")
        assert system.run_until(system.protected, 30)
        assert system.primary().service_names() == ["httpd", "upper"]
        talk.finish()


def test_a_backup_has_booted_when_all_listen(tmp_path: Path) -> None:
    with two_services(tmp_path) as system:
        system.boot()
        up = [e.details["service"] for e in system.log.since() if e.name == "service-up"]
        names = [e.name for e in system.log.since()]
        assert up[2:] == ["httpd", "upper"]
        assert names.count("backup-booted") == 1
        assert names.index("backup-booted") > len(names) - 1 - names[::-1].index("service-up")


def test_one_that_does_not_start_is_named(tmp_path: Path) -> None:
    with two_services(tmp_path) as system:
        (tmp_path / "upper.py").write_text(
            "import asyncio\ndef main(argv): return asyncio.sleep(99)"
        )
        with pytest.raises(OSError, match="upper does not listen on port 7000"):
            system.boot()


def upgrade(system: System, request: UpgradeRequest) -> UpgradeResult:
    results: list[UpgradeResult] = []
    system.upgrade(request, done=results.append)
    assert system.run_until(lambda: bool(results), 60)
    return results[0]


def test_one_is_upgraded_under_clients_of_both(tmp_path: Path) -> None:
    with two_services(tmp_path) as system:
        system.boot()
        talk = Talk(system)
        talk.reach(20)
        (tmp_path / "upper.py").write_text(UPPER + "\n# another version\n")
        result = upgrade(system, UpgradeRequest(service="upper", reload=True))
        assert (result.outcome, result.reason) == (Outcome.UPGRADED, "")
        steps = [step.text for step in result.steps]
        assert "service restart upper" in steps and "check 10.0.0.2 7000" in steps
        versions = [each.version for each in system.primary().version.services]
        sources = [b"".join(version.sources.values()) for version in versions]
        assert b"another version" in sources[1] and b"another version" not in sources[0]
        talk.finish()


def test_which_one_is_to_be_said(tmp_path: Path) -> None:
    with two_services(tmp_path) as system:
        system.boot()
        with pytest.raises(OSError, match="which one: httpd, upper"):
            system.upgrade(UpgradeRequest(reload=True))
        with pytest.raises(OSError, match="no service 'x'"):
            system.upgrade(UpgradeRequest(service="x", reload=True))
        with pytest.raises(OSError, match="no service 'x'"):
            system.crash("app", service="x")
        assert upgrade(system, UpgradeRequest(kernel="2.6")).outcome is Outcome.UPGRADED
        backup = system.backup().domid
        assert system.run_command(system.primary().domid, ["zlctl", "wakeup-backup"])[0] == 0
        status, output = system.run_command(backup, ["service", "restart"])
        assert status == 1 and "which one" in output
        assert system.run_command(backup, ["service", "restart", "upper", "7000"])[0] == 0
        _, output = system.run_command(backup, ["service", "status"])
        lines = output.splitlines()
        assert lines[0].startswith("httpd: up: ") and lines[1].startswith("upper: up: ")
