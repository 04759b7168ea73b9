"""Which services a primary runs: built-in ones by name, others by module or file.

A specification is NAME[,KEY=VALUE]...: NAME is httpd, ftp or proxy, or a program as Kernel.spawn
takes it; a comma in a value is written twice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ozs import Profile, Service, ServiceVersion

HTTPD = "xenemu.guest.programs.httpd"
PROFILES = {profile.name.lower(): profile for profile in Profile}
KEYS = ("port", "profile", "name", "arg")

Arguments = Callable[[int, Path, str], tuple[str, ...]]


def httpd_arguments(root: Path, port: int = 80) -> tuple[str, ...]:
    """Of the file server, and of a service that is given no others."""
    return ("--port", str(port), str(root))


@dataclass(frozen=True, slots=True)
class Builtin:
    """A service by name; `arguments` of its port, its files' root, and the address at which clients
    reach it when that is not the domain's ("": it is)."""

    program: str
    port: int
    profile: Profile
    arguments: Arguments


def ftpd_arguments(port: int, root: Path, address: str) -> tuple[str, ...]:
    """Of the FTP server."""
    passive = ("--passive-address", address) if address else ()
    return ("--port", str(port), *passive, str(root))


BUILTINS = {
    "httpd": Builtin(HTTPD, 80, Profile.HTTP, lambda port, root, _: httpd_arguments(root, port)),
    "ftp": Builtin("xenemu.guest.programs.ftpd", 21, Profile.FTP, ftpd_arguments),
    "proxy": Builtin(
        "xenemu.guest.programs.proxyd", 3128, Profile.PROXY,
        lambda port, root, _: ("--port", str(port)),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What is asked for; what is empty is the built-in's own, or the default.

    `arguments` None: PORT and ROOT as httpd takes them. `more`: after those.
    """

    program: str = "httpd"
    arguments: tuple[str, ...] | None = None
    port: int = 0
    profile: Profile | str | None = None  # str: an author's, as load_profile takes it
    name: str = ""
    more: tuple[str, ...] = field(default=())

    def service(self, root: Path, address: str = "") -> Service:
        """The service, on files below `root`; `address`: see Builtin."""
        builtin = BUILTINS.get(self.program)
        if builtin is None:
            name = self.name or default_name(self.program)
            known = Builtin(
                self.program, 80, Profile.PLAIN, lambda port, root, _: httpd_arguments(root, port)
            )
        else:
            name, known = self.name or self.program, builtin
        port = self.port or known.port
        given = known.arguments(port, root, address) if self.arguments is None else self.arguments
        version = ServiceVersion(known.program, given + self.more)
        if isinstance(self.profile, str):
            return Service(name, version, port, own=self.profile)
        return Service(name, version, port, self.profile or known.profile)


def default_name(program: str) -> str:
    """The last part of its module's name: "shop.web:main" is web, "/srv/app.py" is app."""
    path = program.partition(":")[0]
    return Path(path).stem if path.endswith(".py") else path.rpartition(".")[2]


def parse_service(text: str) -> ServiceSpec:
    """NAME[,KEY=VALUE]...; ValueError.

    `arg` is repeatable; a built-in has its own arguments before those.
    """
    program, *items = (part.replace("\0", ",") for part in text.replace(",,", "\0").split(","))
    spec = ServiceSpec(program)
    arguments: list[str] = []
    if not program:
        raise ValueError(f"a service without a name: {text!r}")
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or key not in KEYS:
            raise ValueError(f"not one of {'=, '.join(KEYS)}=: {item!r}")
        match key:
            case "port":
                spec = replace(spec, port=parse_port(value))
            case "profile":
                spec = replace(spec, profile=parse_profile(value))
            case "name":
                spec = replace(spec, name=parse_name(value))
            case "arg":
                arguments.append(value)
    if program in BUILTINS:
        return replace(spec, more=tuple(arguments))
    return replace(spec, arguments=tuple(arguments) or None)


def parse_port(text: str) -> int:
    """1 to 65535; ValueError."""
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise ValueError(f"no such port: {text!r}")
    return int(text)


def parse_profile(text: str) -> Profile | str:
    """A built-in one by name, or an author's as load_profile takes it. ValueError."""
    if text not in PROFILES and not text.partition(":")[2]:
        names = ", ".join(PROFILES)
        raise ValueError(f"no such profile: {text!r} (of {names}, FILE.py:NAME, LIBRARY.so:NAME)")
    return PROFILES.get(text, text)


def parse_name(text: str) -> str:
    """ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", text):
        raise ValueError(f"not a name of letters, digits, _ . and -: {text!r}")
    return text


def check_services(services: Sequence[Service]) -> None:
    """Names and ports are each one's own. ValueError."""
    if not services:
        raise ValueError("there is no service")
    for i, each in enumerate(services):
        for other in services[:i]:
            if each.name == other.name:
                raise ValueError(f"two services are called {each.name}: give one name=...")
            if each.port == other.port:
                raise ValueError(
                    f"{other.name} and {each.name} both have port {each.port}: give one port=..."
                )
