"""Guests: a kernel, its OZS and the service, put into a domain."""

from collections.abc import Callable
from dataclasses import dataclass

from ozs import Ozs, OzsConfig, Role, StartInfo
from xenemu._abi import TcpFeature
from xenemu.boot.config import PAGE, SERVICE_PORT, TCP_FEATURES, BootConfig
from xenemu.guest import Kernel, Process
from xenemu.machine import Machine

Note = Callable[..., None]


@dataclass(slots=True)
class Guest:
    """One domain's software."""

    domid: int
    kernel: Kernel
    ozs: Ozs
    service: Process | None
    crashed: bool = False

    @property
    def failed(self) -> bool:
        """Its service ended, or its kernel is dead."""
        return self.crashed or (self.service is not None and self.service.exited)


def build_guest(machine: Machine, config: BootConfig, domid: int, role: Role, note: Note) -> Guest:
    """Starts the kernel of a domain: stack, processes, OZS; not for the control domain: service.

    Raises OSError where the VMM refuses something (memory for the log, say).
    """
    info = machine.core.domain_info(domid)
    seed = config.seed * 1000 + info["generation"]
    features = config.backup_tcp if role is Role.BACKUP else TCP_FEATURES
    machine.core.attach_stack(
        domid,
        seed=seed,
        max_socks=config.max_socks,
        timestamps=TcpFeature.TIMESTAMPS in features,
        window_scale=TcpFeature.WINDOW_SCALE in features,
    )
    machine.core.path_set(info["ip"], domid)
    kernel = Kernel(
        machine.domain(domid),
        f"d{domid}",
        seed,
        console=lambda line: note(domid, "console", line=line),
    )
    machine.attach(domid, kernel)
    ozs = Ozs(
        kernel,
        OzsConfig(
            role=role,
            start_info=StartInfo(pages=info["tot_pages"]),
            log_bytes=config.log,
            protect_again=config.backup,
            tcp_features=features,
        ),
        lambda name, **details: note(domid, name, **details),
    )
    service = None
    if role is not Role.CONTROL:
        service = kernel.spawn(config.program, config.service_argv)
        ozs.protect_service(service, SERVICE_PORT)
    return Guest(domid, kernel, ozs, service)


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
