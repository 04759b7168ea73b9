"""The composition root: one machine, its domains, OZS in each, the VZS, and the way in.

The only place that knows both halves of the framework. A System is driven by whoever calls
`run_until` or `run_forever`; under the virtual clock that is a test, under the real one the CLI.
"""

import errno
import functools
import importlib
import os
from collections.abc import Callable, Sequence

from ozs import Role
from vzs import DiagnosisPolicy, EventLog, RecoveryPolicy, RestartPolicy, Vzs, describe
from xenemu.boot.config import CONTROL_IP, SERVICE_IP, BootConfig
from xenemu.boot.console import Consoles
from xenemu.boot.cores import Cores
from xenemu.boot.crash import Crash, crash_process, parse_crash
from xenemu.boot.destroy import destroy
from xenemu.boot.gateway import Gateway
from xenemu.boot.guests import Guest, GuestVersion, boot_epoch, build_guest, create_domain
from xenemu.boot.profiles import with_profile
from xenemu.boot.recorder import Recorder
from xenemu.boot.rejuvenate import Rejuvenation
from xenemu.boot.status import DomainStatus, collect
from xenemu.boot.upgrade import Upgrade, UpgradeRequest, UpgradeResult, UpgradeStep
from xenemu.boot.versions import Versions
from xenemu.boot.vmm_side import HostToolstack, Timers, VmmWork
from xenemu.guest import Kernel
from xenemu.machine import HOST, Machine
from xenemu.vmm import Event, PairState, Vmm

NS = 1_000_000_000
BOOT_SECONDS = 60.0
Done = Callable[[int, str], None]
Listener = Callable[[Event], None]


class System:
    """An emulated Xen host. Use as a context manager, or call `close`."""

    def __init__(self, config: BootConfig) -> None:
        """Creates machine, control and primary; raises OSError (ENOMEM, EADDRINUSE, ...)."""
        importlib.import_module("aiohttp.web")  # slow; not inside a guest's first step
        self.config = config
        self.log = EventLog()
        self.guests: dict[int, Guest] = {}
        self.ports: dict[int, int] = {}  # guest port -> real port
        self.consoles = Consoles()
        self.cores = Cores(config.core_dir, self._note)
        self._listeners: list[Listener] = []
        self._published = 0
        self._running: dict[int, list[Done]] = {}
        self._upgrade: Upgrade | None = None
        self.gateway: Gateway | None = None
        self._epoch = boot_epoch(config)
        self.machine = Machine(frames=config.frames, seed=config.seed, real=config.real)
        self.recorder = Recorder(self.machine, self.log)
        try:
            self._assemble()
        except BaseException:
            self.close()
            raise

    def _assemble(self) -> None:
        config, machine = self.config, self.machine
        self.gateway = Gateway(machine, config)
        self.ports = self.gateway.ports
        timers = Timers(self.gateway.node)
        machine.attach(self.gateway.node, timers)
        toolstack = HostToolstack(machine, timers, self.log, self._start_backup, self._ended)
        self.vmm = Vmm(machine.core, toolstack)
        policy = RecoveryPolicy(
            DiagnosisPolicy(keep_ns=config.keep_ns), RestartPolicy(same_domain=config.same_domain)
        )
        self.versions = toolstack.versions = Versions(self.vmm, self.guests)
        self.vzs = Vzs(self.vmm, self.log, policy)
        machine.attach_vmm(VmmWork(self.vmm))
        self.control = create_domain(machine, config.control_memory, privileged=True, ip=CONTROL_IP)
        first = create_domain(machine, config.primary_memory, log=config.log, ip=SERVICE_IP)
        services = tuple(with_profile(machine, service) for service in config.services)
        version = GuestVersion(services, config.kernel)
        self._build(self.control, Role.CONTROL, version)
        self._build(first, Role.PRIMARY, version)
        self._first = first

    def __enter__(self) -> "System":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything. Idempotent."""
        self.cores.write()
        if self.gateway is not None:
            self.gateway.close()
        self.machine.close()
        self.guests.clear()

    # running

    @property
    def now(self) -> int:
        """Machine time, ns."""
        return self.machine.now

    def listen(self, listener: Listener) -> Callable[[], None]:
        """`listener` gets each event from now on, outside every guest's step, until the returned
        function is called."""
        self._publish()
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._publish()
                self._listeners.remove(listener)

        return forget

    def _publish(self) -> None:
        self.recorder.follow()
        if self.cores.due(self.now) and not self._recovering():
            self.cores.write()
        if self._published == self.log.count:
            return
        events = self.log.since(self._published)
        self._published = self.log.count
        for event in events:
            for listener in list(self._listeners):
                listener(event)

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Runs until the condition holds; False after that much machine time."""

        def met() -> bool:
            self._publish()
            return condition()

        return self.machine.run_until(met, self.now + int(seconds * NS))

    def step(self, until: int, max_events: int = 0) -> None:
        """Machine.step; then listeners hear of what has happened."""
        self.machine.step(until, max_events)
        self._publish()

    def run_for(self, seconds: float) -> None:
        """Runs that much machine time."""
        self.run_until(lambda: False, seconds)

    def run_forever(self, stop: Callable[[], bool]) -> None:
        """Serves until stop() is true."""

        def stopped() -> bool:
            self._publish()
            return stop()

        self.machine.run_forever(stopped)

    # fig. 7

    def boot(self, report: Callable[[str], None] = lambda line: None) -> None:
        """Boots up to the protected state, through the real system calls of the guests.

        `report` gets a line for each step. Raises OSError: ETIMEDOUT, or EIO when a step fails.
        """
        primary = self.guests[self._first]
        if not self.run_until(lambda: primary.ozs.service_up or primary.failed, BOOT_SECONDS):
            late = next(each for each in primary.ozs.services.values() if not each.up).service
            raise OSError(errno.ETIMEDOUT, f"{late.name} does not listen on port {late.port}")
        if primary.failed:
            raise OSError(errno.EIO, "a service of the primary ended: " + self._last_console())
        report(self._line(self._first, "service is up"))
        if not self.config.backup:
            return
        self._step(report, self.control, ["zlctl", "ins-auth", str(self._first)])
        for step in ("boot-backup", "change-backup-ip", "suspend-backup"):
            self._step(report, self._first, ["zlctl", step])
        if self.config.rejuvenate:
            Rejuvenation(self, self.config.rejuvenate)

    def _step(self, report: Callable[[str], None], domid: int, argv: Sequence[str]) -> None:
        report(self._line(domid, " ".join(argv)))

        def show(event: Event) -> None:
            report(self._line(event.domid, describe(event), event.time))

        forget = self.listen(show)
        try:
            status, output = self.run_command(domid, argv)
            self.machine.run(self.now)  # what the command's last call has started
        finally:
            forget()
        if status:
            raise OSError(errno.EIO, output.strip() or f"{argv[1]} failed")

    def _line(self, domid: int, text: str, time: int | None = None) -> str:
        stamp = self.machine.core.clock if time is None else time
        return f"{stamp / 1e6:10.3f} ms  d{domid}  {text}"

    def _last_console(self) -> str:
        lines = [str(e.details["line"]) for e in self.log.since() if e.name == "console"]
        return lines[-1] if lines else "no output"

    # what the commands do

    def primary(self) -> Guest:
        """The current primary; OSError(ESRCH) when there is none."""
        return self._guest("primary")

    def backup(self) -> Guest:
        """The backup of a pair; OSError(ESRCH) when there is none."""
        return self._guest("backup")

    def _guest(self, role: str) -> Guest:
        for domid, guest in sorted(self.guests.items()):
            if self._role(domid) == role:
                return guest
        raise OSError(errno.ESRCH, f"there is no {role}")

    def protected(self) -> bool:
        """A healthy primary has a suspended backup."""
        try:
            primary = self.primary()
        except OSError:
            return False
        pair = self.vmm.pair(primary.domid)
        healthy = not primary.failed and not self.machine.core.kernel_fault(primary.domid)
        return healthy and pair is not None and pair.state.name == "SUSPENDED"

    def crash(self, what: str, how: str = "", service: str = "") -> int:
        """Injects a fault (xenemu.boot.crash); the domain that got it.

        `what`: app (`service`, or the first) or kernel of the current primary, or backup.
        ValueError for an unknown kind; OSError: ESRCH when what is to crash does not run, ENOENT
        for an unknown service.
        """
        crash = parse_crash(what, how)
        guest = self.backup() if what == "backup" else self.primary()
        pair = self.vmm.pair(guest.domid)
        manager = guest.ozs.find_service(service or next(iter(guest.ozs.services), ""))
        fenced = pair is not None and pair.old_primary == guest.domid
        dead = guest.failed if what == "app" else guest.crashed
        if fenced or dead or self.machine.core.kernel_fault(guest.domid):
            raise OSError(errno.ESRCH, f"the {what} to crash does not run")
        self.vmm.emit("crash-injected", guest.domid, kind=what, how=crash.how)
        if what == "app":
            assert manager.process is not None
            crash_process(guest.kernel, manager.process.pid, crash)
        else:
            self._crash_kernel(guest, crash)
        return guest.domid

    def _crash_kernel(self, guest: Guest, crash: Crash) -> None:
        if crash.how == "stall":
            self.machine.core.stall(guest.domid, self.now + int(crash.seconds * NS))
            return
        guest.crashed = True
        if crash.how == "hang":
            self.machine.core.hang(guest.domid)
        else:
            self.machine.panic(guest.domid)
        self._fail_commands(guest.domid, "kernel crashed")

    def list(self) -> list[DomainStatus]:
        """All domains, zombies included."""
        kept = self.vzs.diagnosis.find
        names = {domid: guest.service_names() for domid, guest in self.guests.items()}
        return collect(self.machine.core, self._role, kept, names, self.now)

    def find(self, name: str) -> int:
        """A domain by id, or by role; OSError(ESRCH)."""
        for domid in self.vmm.domain_ids():
            if name in (str(domid), f"d{domid}", self._role(domid)):
                return domid
        raise OSError(errno.ESRCH, f"no domain {name!r}")

    def find_past(self, name: str) -> int:
        """As `find`, but one that is gone has its id and its name still."""
        for domid in self.consoles.domain_ids():
            if name in (str(domid), f"d{domid}"):
                return domid
        return self.find(name)

    def destroy(self, domid: int, *, force: bool = False) -> None:
        """Ends a domain; the primary, and its pair with it, by `force` only. OSError(EBUSY...)."""
        destroy(self.vmm, domid, self._role(domid), force=force)

    def pause(self, domid: int) -> None:
        """One pause more. OSError."""
        self.vmm.pause(domid)
        self.vmm.emit("paused", domid)

    def unpause(self, domid: int) -> None:
        """One pause less. OSError(EINVAL) at zero."""
        if not self.vmm.domain(domid).pause_count:
            raise OSError(errno.EINVAL, "the domain is not paused")
        self.vmm.unpause(domid)
        self.vmm.emit("unpaused", domid)

    def exec(self, domid: int, argv: Sequence[str], done: Done) -> None:
        """Starts a command in a guest; `done(status, output)` at its end. OSError(ESRCH...)."""
        guest = self.guests.get(domid)
        if guest is None or guest.crashed:
            raise OSError(errno.ESRCH, "no kernel runs in this domain")
        if not self.vmm.domain(domid).runnable:
            raise OSError(errno.EAGAIN, "the domain is not running")
        lines: list[str] = []
        process = guest.kernel.start_command(argv, lines.append)
        if process is None:
            done(127, "\n".join(lines))
            return
        waiting = self._running.setdefault(domid, [])
        waiting.append(done)

        def ended(_: object) -> None:
            if done in waiting:
                waiting.remove(done)
                done(process.exit_status or 0, "\n".join(lines))

        process.on_exit.append(ended)

    def run_command(self, domid: int, argv: Sequence[str]) -> tuple[int, str]:
        """`exec`, and runs the machine until it is done: (status, output). OSError(ETIMEDOUT)."""
        results: list[tuple[int, str]] = []
        self.exec(domid, argv, lambda status, output: results.append((status, output)))
        if not self.run_until(lambda: bool(results), BOOT_SECONDS):
            raise OSError(errno.ETIMEDOUT, f"{' '.join(argv)}: {os.strerror(errno.ETIMEDOUT)}")
        return results[0]

    def upgrade(
        self,
        request: UpgradeRequest,
        step: Callable[[UpgradeStep], None] = lambda step: None,
        done: Callable[[UpgradeResult], None] = lambda result: None,
    ) -> Upgrade:
        """Starts an upgrade (4.3); `step` hears of each step, `done` of the end.

        OSError: EBUSY while another one runs or the backup is in use, ENOENT without a backup,
        EINVAL for an unknown kernel, or where the backup is left to the administrator.
        """
        if self._upgrade is not None and self._upgrade.result is None:
            raise OSError(errno.EBUSY, "an upgrade is under way")
        self._upgrade = Upgrade(self, request, step, done)
        return self._upgrade

    def node_name(self, node: int) -> str:
        """A domain's or a host's."""
        if node < HOST:
            return f"d{node}"
        handler = self.machine.handler(node)
        return handler.name if isinstance(handler, Kernel) else "gateway"

    # for the VMM's side

    def _build(self, domid: int, role: Role, version: GuestVersion) -> None:
        self.consoles.start(domid)
        guest = build_guest(
            self.machine, self.config, domid, role, self._note, version, self._epoch
        )
        if self.gateway is not None and self.gateway.names is not None:
            guest.kernel.lookup = self.gateway.names.lookup
        guest.kernel.core_hook = functools.partial(self.cores.take, domid)
        guest.kernel.syscalls["reboot"] = lambda _process, name="": self.versions.reboot(
            domid, name
        )
        self.guests[domid] = guest

    def _start_backup(self, domid: int, primary: int) -> None:
        self._build(domid, Role.BACKUP, self.versions.for_backup(primary))

    def _ended(self, domid: int) -> None:
        guest = self.guests.pop(domid, None)
        if guest is not None:
            self.versions.ended(guest)
        self._fail_commands(domid, "domain destroyed")

    def _fail_commands(self, domid: int, why: str) -> None:
        for done in self._running.pop(domid, []):
            done(255, why)

    def _note(self, domid: int, name: str, **details: int | str) -> None:
        time = self.machine.core.clock
        if name == "console":
            self.consoles.append(domid, time, str(details["line"]))
        self.log.append(Event(time, name, domid, details))

    def _recovering(self) -> bool:
        pairs = map(self.vmm.pair, self.vmm.domain_ids())
        return any(pair is not None and pair.state is PairState.RECOVERING for pair in pairs)

    def _role(self, domid: int) -> str:
        if domid == self.control:
            return "control"
        pair = self.vmm.pair(domid)
        if pair is None:
            kept = self.vzs.diagnosis.find(domid) is not None
            granted = any(self.vmm.pair(other) for other in self.vmm.domain_ids())
            return "primary" if domid == self._first and not (granted or kept) else "retired"
        return "primary" if domid == pair.primary else "backup"
