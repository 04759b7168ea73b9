"""Service manager: one protected service of a kernel, its process and its version.

It starts the service, sees it listen, and replaces it by another version. A process that it stops
itself is no fault; one that is watched and ends otherwise is (health.py). What it does goes on by
the kernel's events and timers, whether or not somebody waits for it.
"""

import asyncio
import errno
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ozs.health import HealthMonitor
from ozs.syscalls import os_error
from ozs.wrappers import Profile
from xenemu.guest import Kernel, Process, module_name

NS = 1_000_000_000
STOP_SECONDS = 5.0
START_SECONDS = 10.0
OWN = "xenemu"  # the host's own package is never loaded twice


@dataclass(frozen=True, slots=True)
class ServiceVersion:
    """What runs: a program as Kernel.spawn takes it, its arguments, and the modules that each
    process has for itself. None: the program's whole package; of xenemu's own, its module.

    `sources`: of these modules, as the first process of this version found them; the others load
    the same, whatever is on the disk by then.
    """

    program: str
    arguments: tuple[str, ...] = ()
    private: tuple[str, ...] | None = None
    sources: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def anew(self) -> "ServiceVersion":
        """The same, with its modules as they are on the disk now."""
        return replace(self, sources={})

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of those modules, with all below them."""
        if self.private is not None:
            return self.private
        name = module_name(self.program)
        package = name.partition(".")[0]
        return (name if package == OWN else package,)

    def __str__(self) -> str:
        return " ".join((self.program, *self.arguments))


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a kernel: its name there, what runs, where it listens, and the profile by which
    that is protected: a Profile, or the number of an author's own."""

    name: str
    version: ServiceVersion
    port: int = 80
    profile: int = Profile.PLAIN


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What `service status` shows; `state`: up, starting or down, and then the reason."""

    name: str
    state: str
    version: ServiceVersion
    reason: str = ""


class ServiceManager:
    """Owns the process of a service. One replacement at a time."""

    def __init__(
        self,
        kernel: Kernel,
        service: Service,
        health: HealthMonitor,
        note: Callable[..., None],
        on_up: Callable[[], None],
    ) -> None:
        """`on_up` runs whenever a process of the service has opened its port."""
        self.version = service.version  # the one that listened last
        self.process: Process | None = None
        self.up = False
        self.failure: tuple[int, str] | None = None  # why it is down: errno and reason
        self._kernel = kernel
        self._service = service
        self._health = health
        self._note = note
        self._on_up = on_up
        self._starting: ServiceVersion | None = None
        self._last_line = ""
        self._waiters: list[asyncio.Future[None]] = []
        kernel.listen_hooks.append(self._listens)

    @property
    def service(self) -> Service:
        """The service, with the version that listened last."""
        return replace(self._service, version=self.version)

    def status(self) -> ServiceStatus:
        """What runs, or is being started, or was the last to run."""
        name = self._service.name
        if self._starting is not None:
            return ServiceStatus(name, "starting", self._starting)
        if self.up:
            return ServiceStatus(name, "up", self.version)
        return ServiceStatus(name, "down", self.version, self.failure[1] if self.failure else "")

    def start(self) -> None:
        """Starts the service, for as long as it takes. Its end is a fault from now on."""
        self._starting = self.version
        self._health.protect(self._spawn().pid)

    async def restart(
        self,
        version: ServiceVersion | None = None,
        *,
        seconds: float = START_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        """Stops what runs and starts `version` (None: the one before, anew); returns when it
        listens, and is watched from then on. `stop_seconds` 0: what runs is killed.

        Raises OSError: EBUSY while it starts already, EIO with the last line of its output when
        it ends before it listens, ETIMEDOUT when it does not listen in `seconds`: it is killed.
        """
        if self._starting is not None:
            raise os_error(errno.EBUSY, "the service is being started")
        self._starting = version or self.version.anew()
        self.up = False
        self.failure = None
        old = self.process
        if old is None or old.exited:
            self._begin(seconds)
        else:
            self._stop(old, stop_seconds, lambda: self._begin(seconds))
        await self.wait()

    async def wait(self) -> None:
        """Returns when the service listens; raises the OSError because of which it does not."""
        while not self.up:
            if self._starting is None:
                raise OSError(*self.failure or (errno.ESRCH, "it was not started"))
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _stop(self, process: Process, seconds: float, then: Callable[[], None]) -> None:
        self._health.forget(process.pid)
        process.on_exit.remove(self._ended)
        process.on_exit.append(lambda _: then())
        if not seconds:
            self._kernel.sig_exit(process.pid, signal.SIGKILL)
            return
        self._kernel.stop(process.pid)

        def late() -> None:
            if not process.exited:
                self._kernel.sig_exit(process.pid, signal.SIGKILL)

        self._after(seconds, late)

    def _begin(self, seconds: float) -> None:
        process = self._spawn()

        def late() -> None:
            if self.process is process and self._starting is not None:
                reason = f"it does not listen on port {self._service.port} in {seconds:g} s"
                self._fail(errno.ETIMEDOUT, reason)
                self._kernel.sig_exit(process.pid, signal.SIGKILL)

        self._after(seconds, late)

    def _spawn(self) -> Process:
        version = self._starting
        assert version is not None
        self._last_line = ""
        process = self._kernel.spawn(
            version.program,
            version.arguments,
            private=version.modules,
            sources=version.sources,
            output=self._output,
        )
        self.process = process
        process.on_exit.append(self._ended)
        return process

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._kernel.call_at(self._kernel.node.now + int(seconds * NS), callback)

    def _output(self, line: str) -> None:
        process = self.process
        assert process is not None
        self._last_line = line.strip() or self._last_line
        self._kernel.report(f"{process.name}[{process.pid}]: {line}")

    def _listens(self, process: Process, port: int) -> None:
        if process is not self.process or port != self._service.port or self._starting is None:
            return
        self.version, self._starting = self._starting, None
        self.up = True
        self._health.protect(process.pid)
        self._note("service-up", service=self._service.name)
        self._on_up()
        self._wake()

    def _ended(self, process: Process) -> None:
        if process is not self.process or self.failure is not None:
            return
        self._fail(errno.EIO, self._last_line or f"it ended with status {process.exit_status}")

    def _fail(self, number: int, reason: str) -> None:
        if self._starting is not None:
            self._note("service-not-started", service=self._service.name, reason=reason)
        self.up = False
        self._starting = None
        self.failure = (number, reason)
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.get_loop().call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
