"""What to boot: sizes, addresses, links, clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ozs import Service
from xenemu.boot.kernels import KERNELS, KernelVersion
from xenemu.boot.services import ServiceSpec, check_services

PAGE = 4096
MIB = 1 << 20
EXTENT = 2 * MIB
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CONTROL_IP = 0x0A000064  # 10.0.0.100
SERVICE_IP = 0x0A000001  # 10.0.0.1
GATEWAY_IP = 0x0A000101  # 10.0.1.1
CLIENT_IP = 0x0A000102  # 10.0.1.2, the first of the clients
SERVICE_PORT = 80
CONTROL_MEMORY = 64 * MIB
PRIMARY_MEMORY = 256 * MIB
KEEP_SECONDS = 3600.0
MAX_FORWARDS = 1024
LOCALHOST = "127.0.0.1"  # where clients of forwarded ports reach a service
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Forward:
    """A real TCP port of 127.0.0.1 (0: any), forwarded to a port of the service address."""

    host_port: int
    guest_port: int


@dataclass(frozen=True, slots=True)
class Link:
    """A LAN link of a client, alike both ways. Zeroes: instant and clean."""

    bits_per_second: int = 0
    delay_ns: int = 0
    loss_ppm: int = 0
    reorder_ppm: int = 0
    duplicate_ppm: int = 0


@dataclass(frozen=True, slots=True)
class BootConfig:
    """One emulated host. Sizes in bytes."""

    root: Path = field(default_factory=Path.cwd)
    forwards: tuple[Forward, ...] = (Forward(8080, SERVICE_PORT),)
    control_memory: int = CONTROL_MEMORY
    primary_memory: int = PRIMARY_MEMORY
    log: int = 512 * MIB  # 20 live uploads of 20 MB, with as much again for the next ones
    seed: int = 0
    real: bool = True
    backup: bool = True
    pcap: Path | None = None  # `boot` captures all packets into this pcapng file
    link: Link = Link()
    keep_faulty: float = KEEP_SECONDS  # a former primary, for diagnosis; inf: until the next one
    core_dir: Path | None = None  # a core file of each service that dies of a fault goes there
    same_domain: bool = False  # a service that fails is restarted where it was
    start_seconds: float = 0.0  # that takes so long, in virtual time; in real time what it takes
    rejuvenate: float = 0.0  # the service moves to its backup every so many seconds; 0: never
    kernel: KernelVersion = KERNELS[0]
    specs: tuple[ServiceSpec, ...] = (ServiceSpec(),)  # the services of a primary
    passive_ports: tuple[int, int] | None = None  # first and last: forwarded, for FTP's data
    outward: bool = True  # in real time: guests reach this host and the real network
    max_socks: int = 0  # of each guest's TCP, a power of two; 0: the stack's default (1024)

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that nothing can be built with."""
        if self.control_memory < 4 * MIB or self.primary_memory < 4 * MIB:
            raise ValueError("a domain needs at least 4M")
        if self.control_memory % PAGE or self.primary_memory % PAGE:
            raise ValueError("memory comes in pages of 4K")
        if not EXTENT <= self.log <= 4096 * EXTENT or self.log % EXTENT:
            raise ValueError("the log comes in extents of 2M, 1 to 4096 of them")
        if not 0 <= self.rejuvenate < math.inf or (self.rejuvenate and not self.backup):
            raise ValueError("rejuvenation comes every so many seconds, and needs a backup")
        if not self.keep_faulty >= 0:
            raise ValueError("a faulty domain is kept for 0 seconds or more")
        check_services(self.services)
        self._check_forwards()

    def _check_forwards(self) -> None:
        seen: set[int] = set()
        for forward in self.all_forwards:
            if forward.host_port in seen:
                raise ValueError(f"port {forward.host_port} is forwarded twice")
            seen |= {forward.host_port} - {0}
        if len(self.all_forwards) > MAX_FORWARDS:
            raise ValueError(f"at most {MAX_FORWARDS} ports can be forwarded")

    @property
    def services(self) -> tuple[Service, ...]:
        """What the first primary runs, authors' own profiles apart."""
        address = LOCALHOST if self.real and self.passive_ports else ""
        return tuple(spec.service(self.root, address) for spec in self.specs)

    @property
    def all_forwards(self) -> tuple[Forward, ...]:
        """Those of the passive ports too."""
        if self.passive_ports is None:
            return self.forwards
        low, high = self.passive_ports
        return self.forwards + tuple(Forward(port, port) for port in range(low, high + 1))

    @property
    def keep_ns(self) -> int | None:
        """`keep_faulty` in ns of machine time; None: without a limit."""
        return None if math.isinf(self.keep_faulty) else int(self.keep_faulty * NS)

    @property
    def frames(self) -> int:
        """Machine memory: control, primary, backup, a faulty and a migrated one, the log, room."""
        return (self.control_memory + 4 * self.primary_memory + self.log) // PAGE + 8192


def parse_size(text: str) -> int:
    """Bytes of "64M", "1G", "4096K" or "65536"; ValueError."""
    text = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = text[-1:] if text[-1:] in UNITS else ""
    digits = text.removesuffix(unit) if unit else text
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"not a size: {text!r}")
    return int(digits) * UNITS[unit]


def parse_keep(text: str) -> float:
    """Seconds of "600", "forever" (inf) or "no" (0); ValueError."""
    words = {"forever": math.inf, "no": 0.0}
    if text in words:
        return words[text]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise ValueError(f"not SECONDS, forever or no: {text!r}")
    return seconds


def parse_forward(text: str) -> Forward:
    """HOSTPORT:PORT; ValueError."""
    host, separator, guest = text.partition(":")
    if not separator or not host.isdecimal() or not guest.isdecimal():
        raise ValueError(f"not HOSTPORT:PORT: {text!r}")
    if int(host) > 65535 or not 0 < int(guest) <= 65535:
        raise ValueError(f"no such port: {text!r}")
    return Forward(int(host), int(guest))


def parse_passive_ports(text: str) -> tuple[int, int]:
    """LOW-HIGH; ValueError."""
    low, separator, high = text.partition("-")
    if not separator or not low.isdecimal() or not high.isdecimal():
        raise ValueError(f"not LOW-HIGH: {text!r}")
    if not 0 < int(low) <= int(high) <= 65535:
        raise ValueError(f"no such range of ports: {text!r}")
    return int(low), int(high)


def default_forwards(services: Sequence[Service]) -> tuple[Forward, ...]:
    """Each service's port on the same real port; 8000 higher below 1024, where a user may not."""
    ports = [service.port for service in services]
    return tuple(Forward(port + 8000 if port < 1024 else port, port) for port in ports)
