"""The OS-layer zero-loss subsystem as a whole, installed in one kernel."""

import asyncio
import enum
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ozs.health import HealthMonitor
from ozs.heartbeat import HeartbeatGenerator
from ozs.protocol import ProtocolManager
from ozs.recovery import RecoveryManager
from ozs.service import Service, ServiceManager, ServiceStatus, ServiceVersion
from ozs.service_command import service_command
from ozs.syscalls import Completion, SystemCalls, os_error
from ozs.window import EXTENT_BYTES, StartInfo
from ozs.wrappers import Wrappers
from ozs.zeroloss import zeroloss_op
from ozs.zlctl import zlctl
from xenemu._abi import FaultKind, TcpFeature, ZlOp, ZlSignal
from xenemu.guest import GUEST_BASE, Kernel, Process

Note = Callable[..., None]
HEARTBEAT_PAGE = GUEST_BASE + (2 << 20)  # above the area of hypercall arguments
ATTEMPTS = 3
RETRY_SECONDS = 0.5


class Role(enum.StrEnum):
    """What a domain is to the framework."""

    CONTROL = "control"
    PRIMARY = "primary"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class OzsConfig:
    """`log_bytes` counts for a primary only; `protect_again`: boot a backup after a recovery.

    `start_seconds`: what a restarted service is made to take, besides what it takes.
    `tcp_features`: what the kernel's TCP can; a backup must be able to do what its primary can.
    """

    role: Role
    start_info: StartInfo
    heartbeat_page: int = HEARTBEAT_PAGE
    log_bytes: int = 0
    protect_again: bool = True
    start_seconds: float = 0.0
    tcp_features: TcpFeature = TcpFeature.TIMESTAMPS | TcpFeature.WINDOW_SCALE


class Ozs:
    """All parts of OZS in one kernel. Raises OSError where the VMM refuses a part."""

    def __init__(self, kernel: Kernel, config: OzsConfig, note: Note) -> None:
        """`note(name, **details)` is the kernel's line in the event log."""
        self.kernel = kernel
        self.config = config
        self.role = config.role
        self._note = note
        self._registered = False
        self._protector: Process | None = None
        self._booted = False
        self._taking_over = False
        self.services: dict[str, ServiceManager] = {}
        self.completion = Completion()
        self.syscalls = SystemCalls(
            kernel, self.completion, self._prepare, config.tcp_features, self._backup_lost
        )
        self.syscalls.install()
        self.wrappers = Wrappers(kernel)
        self.health = HealthMonitor(kernel, note)
        self.recovery = RecoveryManager(kernel, config.start_info, self.completion, note)
        self.protocol = ProtocolManager(kernel, self.completion, note)
        self.protocol.on(ZlSignal.RECOVER, self._recover)
        self.protocol.on(ZlSignal.RESTART, self._restart)
        self.protocol.on(ZlSignal.FAILED, self._failed)
        if config.role is not Role.CONTROL:
            self.heartbeat = HeartbeatGenerator(kernel, config.heartbeat_page)
        kernel.commands.update(zlctl=zlctl, service=service_command)
        kernel.syscalls.update(
            service_status=lambda _process: self.service_status(),
            service_restart=lambda _process, name="", version=None: self.restart_service(
                name, version
            ),
        )
        if config.role is Role.PRIMARY:
            self.recovery.allocate(config.log_bytes // EXTENT_BYTES)
        self.protocol.install()

    def run_services(self, services: Sequence[Service]) -> None:
        """Starts the services; they and their ports are protected from now on. OSError.

        When all listen, a backup says BOOT_DONE.
        """
        for service in services:
            self.wrappers.wr_create(service.port, service.profile)
            self.services[service.name] = ServiceManager(
                self.kernel, service, self.health, self._note, self._service_up
            )
        for manager in self.services.values():
            manager.start()

    @property
    def service_up(self) -> bool:
        """All services listen; false where there are none."""
        return bool(self.services) and all(each.up for each in self.services.values())

    def service_status(self) -> list[ServiceStatus]:
        """Of all services, in order."""
        return [each.status() for each in self.services.values()]

    def find_service(self, name: str = "") -> ServiceManager:
        """A service by name, or the only one. OSError: ENOENT, EINVAL where there are several."""
        if not self.services:
            raise os_error(errno.ENOENT, "no service runs here")
        if not name and len(self.services) > 1:
            raise os_error(errno.EINVAL, f"which one: {', '.join(self.services)}?")
        found = self.services.get(name) if name else next(iter(self.services.values()))
        if found is None:
            raise os_error(errno.ENOENT, f"no service {name!r} runs here")
        return found

    async def restart_service(self, name: str = "", version: ServiceVersion | None = None) -> None:
        """By hand, in a backup that takes nothing over. OSError as ServiceManager.restart and
        find_service; EBUSY elsewhere, since it would end the clients' connections."""
        service = self.find_service(name)
        if self.role is not Role.BACKUP or self._taking_over:
            raise os_error(errno.EBUSY, "clients are connected to it; upgrade the backup")
        await service.restart(version)

    def _service_up(self) -> None:
        if self.role is Role.BACKUP and self.service_up and not self._booted:
            self._booted = True
            zeroloss_op(self.kernel, ZlOp.BOOT_DONE, value=self.config.tcp_features)

    async def boot_up(self) -> int:
        """The primary's part of fig. 7; the backup's domain id. OSError."""
        backup = await self.syscalls.boot_backup_server()
        await self.syscalls.change_backup_ip(True)
        self.syscalls.suspend_backup_server()
        self._note("protected", backup=backup)
        return backup

    def _prepare(self) -> None:
        """Registers the log and the wrappers once: the VMM takes them from a granted primary only.

        Without a grant (EPERM) the same errno is what the system call answers.
        """
        if self._registered or not self.recovery.extents:
            return
        self.recovery.register()
        self.wrappers.register()
        self._registered = True

    async def _recover(self) -> None:
        try:
            for service in self.services.values():
                await service.wait()
        except OSError:
            zeroloss_op(self.kernel, ZlOp.REPORT_FAULT, value=FaultKind.APP)
            raise
        self._taking_over = True
        await self.recovery.take_over()
        self.wrappers.inherit()
        self._registered = True
        self.role = Role.PRIMARY
        self._protect_again()

    async def _restart(self) -> None:
        """A service has died, and is to recover here (6.3.1). No TCP has the connections of the
        others either: all begin anew, for one replay. One that does not come up again, or ends
        before it has replayed all, is a fault as well."""
        self.recovery.attach()  # before a new connection is accepted
        await asyncio.sleep(self.config.start_seconds)
        restarts = [each.restart(each.version, stop_seconds=0.0) for each in self.services.values()]
        try:
            await asyncio.gather(*restarts)
        except OSError:
            zeroloss_op(self.kernel, ZlOp.REPORT_FAULT, value=FaultKind.APP)
            raise
        await self.recovery.replay()

    async def _failed(self) -> None:
        self._backup_lost()

    def _backup_lost(self) -> None:
        if self.role is Role.PRIMARY:
            self._protect_again()

    def _protect_again(self) -> None:
        if not self.config.protect_again:
            return
        if self._protector is None or self._protector.exited:
            self._protector = self.kernel.spawn(self._protect, name="ozs-protect")

    async def _protect(self, _argv: list[str]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self.boot_up()
            except OSError as error:
                reason = error.strerror or ""
                self._note("not-protected", errno=error.errno or 0, reason=reason, attempt=attempt)
                if error.errno == errno.EPERM:  # not the primary any more
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
