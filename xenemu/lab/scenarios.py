"""The built-in scenarios: a client side, a service, and what must be there at the end."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xenemu.boot import Link, ServiceSpec
from xenemu.boot.services import parse_profile
from xenemu.lab import clients, end_servers, ftp_clients, kv_client, proxy_clients
from xenemu.lab.clients import FILE, OTHER, SIZE, SMALL, UPLOAD, Client, Report
from xenemu.lab.end_servers import EndServer
from xenemu.lab.services import PORT, READ, content

Files = Callable[[int], dict[str, bytes]]
RATE, DELAY_NS = 100_000_000, 2_000_000

LINKS = {
    "clean": Link(bits_per_second=RATE, delay_ns=DELAY_NS),
    "lossy": Link(
        bits_per_second=RATE,
        delay_ns=DELAY_NS,
        loss_ppm=10_000,
        reorder_ppm=10_000,
        duplicate_ppm=10_000,
    ),
}


def no_files(seed: int) -> dict[str, bytes]:
    """Nothing on the disk."""
    return {}


def served(seed: int) -> dict[str, bytes]:
    """A large and a small file."""
    return {"file": content(seed + FILE, SIZE), "small": content(seed + OTHER, SMALL)}


def one_upload(seed: int) -> dict[str, bytes]:
    """What `put` stores."""
    return {"up": content(seed + UPLOAD, SIZE)}


def one_reading(seed: int) -> dict[str, bytes]:
    """What the service of `read-on` keeps."""
    return {READ: content(seed + UPLOAD, SIZE)}


def two_uploads(seed: int) -> dict[str, bytes]:
    """What `keep-alive` stores."""
    return one_upload(seed) | {"little": content(seed + OTHER, SMALL)}


def many_uploads(seed: int) -> dict[str, bytes]:
    """What `ftp-many` stores."""
    return {f"up{n}": ftp_clients.upload_of(seed, n) for n in range(ftp_clients.SESSIONS)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A client and its service: `program`, `arguments` and `port` as in ServiceSpec. `profile`: its
    own ("") or as `boot --service` takes one. `beside`: more services of the same domain; faults
    hit the first. `diverges`: the service answers differently each time, so a connection may be
    reset, with an event; never a wrong byte."""

    client: Client
    program: str = "httpd"
    arguments: tuple[str, ...] | None = None
    files: Files = no_files
    stored: Files = no_files
    diverges: bool = False
    port: int = 0
    profile: str = ""
    beside: tuple[ServiceSpec, ...] = ()
    servers: tuple[EndServer, ...] = ()  # on hosts of their own, at proxy_clients.SERVERS

    @property
    def specs(self) -> tuple[ServiceSpec, ...]:
        """The services of the domain."""
        profile = parse_profile(self.profile) if self.profile else None
        return (ServiceSpec(self.program, self.arguments, self.port, profile), *self.beside)

    def program_of(self, seed: int, report: Report) -> Callable[[list[str]], object]:
        """The client as a guest program; it ends with 1 when its connection did not last."""

        async def client(argv: list[str]) -> int:
            try:
                await self.client(seed, report)
            except (OSError, asyncio.IncompleteReadError) as error:
                report.broken.append(f"client: {type(error).__name__}: {error}")
                return 1
            return 0

        return client


ECHO = "xenemu.lab.services:echo"
KV = Path(__file__).parents[2] / "examples" / "kv"
SCENARIOS = {
    "get": Scenario(clients.get, files=served),
    "put": Scenario(clients.put, stored=one_upload),
    "echo": Scenario(clients.echo, ECHO, ()),
    "keep-alive": Scenario(clients.keep_alive, files=served, stored=two_uploads),
    "half-close": Scenario(clients.half_close, "xenemu.lab.services:after_eof", ()),
    "read-on": Scenario(clients.read_on, "xenemu.lab.services:read_on", stored=one_reading),
    "other-answer": Scenario(
        clients.other_answer, "xenemu.lab.services:other_answer", (), diverges=True
    ),
    "idle": Scenario(clients.idle, ECHO, ("5",)),
    "many": Scenario(clients.many, ECHO, ()),
    "kv": Scenario(kv_client.kv, f"{KV}/service.py", profile=f"{KV}/profile.py:kv"),
}

WEB, WEBS = (end_servers.web,), (end_servers.web, end_servers.web)
TUNNEL = (end_servers.web, end_servers.echo)
SCENARIOS |= {
    name: Scenario(client, "proxy", port=PORT, servers=servers)
    for name, client, servers in (
        ("proxy-static", proxy_clients.static, WEB),
        ("proxy-dynamic", proxy_clients.dynamic, WEBS),
        ("proxy-keepalive", proxy_clients.keep_alive, WEBS),
        ("proxy-connect", proxy_clients.tunnel, TUNNEL),
    )
} | {
    "ftp-retr": Scenario(ftp_clients.retr, "ftp", files=served),
    "ftp-stor": Scenario(ftp_clients.stor, "ftp", stored=one_upload),
    "ftp-list": Scenario(ftp_clients.listings, "ftp", files=served),
    "ftp-two-files": Scenario(ftp_clients.two_files, "ftp", files=served, stored=one_upload),
    "ftp-active": Scenario(ftp_clients.active, "ftp", files=served, stored=one_upload),
    "ftp-long": Scenario(ftp_clients.long, "ftp", files=served),
    "ftp-many": Scenario(ftp_clients.many, "ftp", files=served, stored=many_uploads),
}


@cache
def scenario_of(name: str) -> Scenario:
    """A built-in one, or the Scenario NAME of FILE.py:NAME. ValueError."""
    path, _, own = name.rpartition(":")
    if not path.endswith(".py"):
        if name not in SCENARIOS:
            raise ValueError(f"no scenario {name!r}: {', '.join(SCENARIOS)}, or FILE.py:NAME")
        return SCENARIOS[name]
    spec = importlib.util.spec_from_file_location(f"scenario_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        scenario = getattr(module, own)
    except (OSError, ImportError, AttributeError) as error:
        raise ValueError(f"no scenario {name!r}: {error}") from error
    if not isinstance(scenario, Scenario):
        raise ValueError(f"{name} is no Scenario")
    return scenario
