"""Guests: a kernel, its OZS and the service, put into a domain."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ozs import Ozs, OzsConfig, Role, Service, ServiceVersion, StartInfo
from xenemu._abi import TcpFeature
from xenemu.boot.config import PAGE, BootConfig
from xenemu.boot.kernels import KernelVersion
from xenemu.guest import DEFAULT_EPOCH, Kernel, Process, xen_console
from xenemu.machine import Machine

Note = Callable[..., None]


@dataclass(frozen=True, slots=True)
class GuestVersion:
    """What a domain runs. A backup runs what its primary does, unless it is being upgraded."""

    services: tuple[Service, ...]
    kernel: KernelVersion

    @property
    def service(self) -> ServiceVersion:
        """The first service's."""
        return self.services[0].version

    def __str__(self) -> str:
        services = " + ".join(str(each.version) for each in self.services)
        return f"{services} on kernel {self.kernel.name}"


@dataclass(slots=True)
class Guest:
    """One domain's software."""

    domid: int
    kernel: Kernel
    ozs: Ozs
    kernel_version: KernelVersion
    crashed: bool = False

    @property
    def service(self) -> Process | None:
        """The first service's process; None in the control domain."""
        return next((each.process for each in self.ozs.services.values()), None)

    def service_names(self) -> list[str]:
        """Of its services; one that does not listen is in brackets."""
        services = self.ozs.services.items()
        dead = [each.process is None or each.process.exited for _, each in services]
        return [
            f"[{name}]" if gone or self.crashed or not each.up else name
            for gone, (name, each) in zip(dead, services, strict=True)
        ]

    @property
    def failed(self) -> bool:
        """One of its services ended, or its kernel is dead."""
        processes = [each.process for each in self.ozs.services.values()]
        return self.crashed or any(each is not None and each.exited for each in processes)

    @property
    def version(self) -> GuestVersion:
        """What runs there."""
        services = tuple(each.service for each in self.ozs.services.values())
        return GuestVersion(services, self.kernel_version)


def boot_epoch(config: BootConfig) -> int:
    """The wall clock, in s, at machine time 0 of a host that is booted now: in real time the real
    one's, since what services leave on the disk outlives this host."""
    return int(time.time()) if config.real else DEFAULT_EPOCH


def build_guest(
    machine: Machine,
    config: BootConfig,
    domid: int,
    role: Role,
    note: Note,
    version: GuestVersion,
    epoch: int,
) -> Guest:
    """Starts the kernel of a domain: stack, processes, OZS; not for the control domain: services.

    `epoch` is the wall clock at machine time 0, the same for all kernels that follow each other.
    Raises OSError where the VMM refuses something (memory for the log, say).
    """
    info = machine.core.domain_info(domid)
    seed = config.seed * 1000 + info["generation"]
    features = version.kernel.tcp
    machine.core.attach_stack(
        domid,
        seed=seed,
        max_socks=config.max_socks,
        buffer=version.kernel.buffer,
        timestamps=TcpFeature.TIMESTAMPS in features,
        window_scale=TcpFeature.WINDOW_SCALE in features,
    )
    machine.core.path_set(info["ip"], domid)
    kernel = Kernel(
        machine.domain(domid),
        f"d{domid}",
        seed,
        version=version.kernel.name,
        epoch=epoch,
    )
    kernel.console = xen_console(kernel, lambda: _note_console(machine, domid, note))
    machine.attach(domid, kernel)
    ozs = Ozs(
        kernel,
        OzsConfig(
            role=role,
            start_info=StartInfo.read(machine.domain(domid)),
            log_bytes=config.log,
            protect_again=config.backup,
            start_seconds=0.0 if config.real else config.start_seconds,
            tcp_features=features,
        ),
        lambda name, **details: note(domid, name, **details),
    )
    if role is not Role.CONTROL:
        machine.domain(domid).passive_ports(*config.passive_ports or (0, 0))
        ozs.run_services(version.services)
    return Guest(domid, kernel, ozs, version.kernel)


def _note_console(machine: Machine, domid: int, note: Note) -> None:
    written = machine.core.console_read(domid).decode(errors="replace")
    for line in written.removesuffix("\n").split("\n"):
        note(domid, "console", line=line)


def create_domain(
    machine: Machine, memory: int, *, log: int = 0, privileged: bool = False, ip: int
) -> int:
    """A domain of `memory` bytes that may grow by `log` bytes; unpaused, without software."""
    pages, window = memory // PAGE, log // PAGE
    domid = machine.core.create_domain(
        pages=pages,
        max_pages=pages + window,
        window_pages=window,
        privileged=privileged,
        ip=ip,
    )
    machine.core.unpause(domid)
    return domid
