"""Online maintenance (4.3, figs. 11-12): a service or its kernel is replaced while it serves.

Does what an administrator does, by the same commands in the guests: wakes the backup, gives it its
own address, upgrades and checks it there, gives it the primary's address, and migrates. Until the
migration the primary serves as before. A step that fails rolls back: the backup is destroyed and
the primary's OZS boots another one of the old version. A fault of the primary is recovered as ever,
by the backup under upgrade if it has a service that listens.

Nothing here waits: the procedure is a coroutine that events and timers of the machine resume,
outside every guest's step.
"""

import enum
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ozs import Service
from xenemu.boot.kernels import kernel_version
from xenemu.boot.wait import Wait
from xenemu.guest import ip_text
from xenemu.vmm import Event, PairState

if TYPE_CHECKING:
    from xenemu.boot.system import System

NS = 1_000_000_000
GRACE_NS = 100_000_000  # by then a fault is known
STEP_SECONDS = 45.0  # longer than what any command waits by itself
BOOT_SECONDS = 60.0
MIGRATION_SECONDS = 180.0
PROTECTED_SECONDS = 60.0
GONE = 255  # System.exec: the domain ended under the command; events say why
LOST = frozenset({"recovery-failed", "no-backup"})
RESTS = (PairState.AWAKE, PairState.SUSPENDED, PairState.CHANGING_IP)


class Outcome(enum.StrEnum):
    """How an upgrade ended. Interrupted: by a fault of the primary."""

    UPGRADED = "upgraded"
    ROLLED_BACK = "rolled back"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What is to be another one; None stays. `reload`: the same program, its modules loaded anew.
    Nothing at all: the service moves to its backup.

    `service`: which one, of several; it may be left out where there is one.
    `check`: a path that must answer below 400; "": the service only has to accept; None: no check.
    """

    program: str | None = None
    arguments: tuple[str, ...] | None = None
    kernel: str | None = None
    reload: bool = False
    check: str | None = ""
    service: str = ""

    @property
    def restarts(self) -> bool:
        """The service is restarted."""
        return self.reload or (self.program, self.arguments) != (None, None)


@dataclass(slots=True)
class UpgradeStep:
    """A command in a domain, or a wait; times in ns, `end` 0 while it runs."""

    domid: int
    text: str
    begin: int
    end: int = 0


@dataclass(frozen=True, slots=True)
class UpgradeResult:
    """`primary`: who serves now, 0: nobody; `backup`: its suspended backup, 0: none."""

    outcome: Outcome
    reason: str
    primary: int
    backup: int
    steps: tuple[UpgradeStep, ...]


class RolledBack(Exception):
    """A step failed; the primary goes on."""


class Interrupted(Exception):
    """The primary failed."""


class Upgrade:
    """One upgrade. `result` is None while it runs."""

    def __init__(
        self,
        system: "System",
        request: UpgradeRequest,
        on_step: Callable[[UpgradeStep], None],
        done: Callable[[UpgradeResult], None],
    ) -> None:
        """Begins. Raises OSError (System.upgrade)."""
        self.result: UpgradeResult | None = None
        self._system = system
        self._vmm = system.vmm
        self._request = request
        self._on_step = on_step
        self._done = done
        self._steps: list[UpgradeStep] = []
        self._waits: list[Wait] = []
        self._watch: Callable[[Event], None] = lambda event: None
        self._stop: RolledBack | Interrupted | None = None
        self._migrating = False
        self._fault = ""
        self._reason = ""  # why the VZS rolled a migration back
        if not system.config.backup:
            raise OSError(errno.EINVAL, "without boot's own protection, upgrade by hand")
        if request.kernel is not None:
            kernel_version(request.kernel)
        self.primary = system.primary().domid
        self._services = self._chosen()
        pair = self._vmm.pair(self.primary)
        if pair is None or not pair.backup:
            raise OSError(errno.ENOENT, "there is no backup")
        if pair.state is not PairState.SUSPENDED:
            raise OSError(errno.EBUSY, f"the backup is in use ({pair.state.name.lower()})")
        self._set_backup(pair.backup)
        self._forget = system.listen(self._event)
        self._procedure = self._run()
        self._advance()

    def _chosen(self) -> list[Service]:
        """The services that are to be another version, or at least checked. OSError."""
        ozs, request = self._system.guests[self.primary].ozs, self._request
        if request.service or request.restarts or request.check:
            return [ozs.find_service(request.service).service]
        return [each.service for each in ozs.services.values()]

    # driving

    def _resume(self) -> None:
        self._vmm.call_later(0, self._advance)

    def _advance(self) -> None:
        try:
            self._procedure.send(None)
        except StopIteration:
            pass

    def _wait(self, what: str, seconds: float) -> Wait:
        if self._stop is not None:
            raise self._stop
        wait = Wait(self._resume)
        self._waits = [each for each in self._waits if not each.over] + [wait]
        late = RolledBack(f"{what}: not done in {seconds:g} s")
        self._vmm.call_later(int(seconds * NS), lambda: wait.fail(late))
        return wait

    def _event(self, event: Event) -> None:
        self._watch(event)
        if event.name == "rolled-back":
            self._reason = str(event.details.get("reason", ""))
        if event.name == "fault" and event.domid in (self.primary, self.backup):
            self._fault = self._fault or f"{event.details['kind']} fault of d{event.domid}"
        if event.name == "recovery-done" and event.domid == self.primary:
            self._give_up_backup()  # recovered where it was, beside a backup half upgraded
        if self._migrating:
            return
        if event.name == "fault" and event.domid == self.primary:
            self._interrupt(Interrupted(self._fault))
        elif event.name == "backup-lost" and event.domid == self.backup:
            self._interrupt(RolledBack(f"the backup was lost: {event.details['kind']}"))

    def _interrupt(self, error: RolledBack | Interrupted) -> None:
        self._stop = self._stop or error
        for wait in self._waits:
            wait.fail(error)

    def _set_backup(self, domid: int) -> None:
        lives = domid and domid in self._vmm.domain_ids()
        self.backup = domid
        self._generation = self._vmm.domain(domid).generation if lives else 0

    def _is_backup(self, domid: int) -> bool:
        """It is the domain that was upgraded, not a later one with its number."""
        known = domid in self._vmm.domain_ids() and domid == self.backup
        return known and self._vmm.domain(domid).generation == self._generation

    # the procedure

    async def _run(self) -> None:
        self._vmm.emit("upgrade-started", self.primary, backup=self.backup)
        try:
            if self._request.kernel is not None:
                await self._reboot(self._request.kernel)
            await self._upgrade_backup()
            outcome, reason = await self._migrate()
        except RolledBack as error:
            outcome, reason = Outcome.ROLLED_BACK, str(error)
            self._give_up_backup()
        except Interrupted as error:
            outcome, reason = Outcome.INTERRUPTED, str(error)
        self._migrating = True  # from here on faults are the recovery's alone
        self._stop = None
        await self._protected_again()
        self._finish(outcome, reason)

    async def _upgrade_backup(self) -> None:
        """Figs. 11 and 12 up to the migration."""
        await self._command(self.primary, "zlctl", "wakeup-backup")
        await self._command(self.primary, "zlctl", "change-backup-ip", "own")
        if self._request.restarts:
            await self._command(self.backup, "service", "restart", *self._service())
        if self._request.check is not None:
            address = ip_text(self._vmm.domain(self.backup).ip)
            for service in self._services:
                words = [address, str(service.port), self._request.check]
                await self._command(self._system.control, "check", *filter(None, words))
        await self._command(self.primary, "zlctl", "change-backup-ip", "primary")

    def _service(self) -> tuple[str, ...]:
        """Words of `service restart`."""
        now, several = self._services[0], len(self._system.guests[self.primary].ozs.services) > 1
        program, arguments = self._request.program, self._request.arguments
        if program is None and arguments is None:
            return (now.name,) if several else ()
        named = f"{now.name}=" if several else ""
        words = now.version.arguments if arguments is None else arguments
        return (named + (program or now.version.program), *words)

    async def _reboot(self, version: str) -> None:
        """The backup is destroyed, the primary's OZS boots another one with this kernel."""
        old, created, lacks = self.backup, 0, ""
        await self._command(self.primary, "zlctl", "wakeup-backup")
        booted = self._wait(f"kernel {version}", BOOT_SECONDS)

        def watch(event: Event) -> None:
            nonlocal created, lacks
            if event.name == "backup-created" and event.details["primary"] == self.primary:
                created = event.domid
                self._set_backup(created)
            elif event.name == "backup-refused":
                lacks = f"its TCP lacks {event.details['lacks']}"
            elif event.name == "backup-failed":
                reason = lacks or event.details["error"]
                booted.fail(RolledBack(f"kernel {version}: {reason}"))
            elif event.name == "protected" and event.domid == self.primary:
                booted.answer()

        self._set_backup(0)
        self._watch = watch
        await self._command(old, "reboot", version)
        await booted
        self._watch = lambda event: None

    async def _migrate(self) -> tuple[Outcome, str]:
        """The migration; what it came to. RolledBack when the primary goes on."""
        moved = self._wait("zlctl migrate", MIGRATION_SECONDS)
        fault = ""

        def watch(event: Event) -> None:
            nonlocal fault
            if not moved.over:
                fault = self._fault
            if event.name == "recovery-done" and event.details["old"] == self.primary:
                self._close_step(event.time)
                moved.answer(event.domid)
            elif event.name in LOST and event.domid == self.primary:
                moved.answer(0)

        self._watch = watch
        self._migrating = True
        self._exec(moved, self.primary, ("zlctl", "migrate"), lambda: None)
        new = await moved
        if self._is_backup(new) and not fault:
            return Outcome.UPGRADED, ""
        return Outcome.INTERRUPTED, fault or "the backup did not take over in time"

    def _give_up_backup(self) -> None:
        """The backup that was being upgraded is destroyed, if it is still there."""
        pair = self._vmm.pair(self.primary)
        if pair is not None and pair.primary == self.primary and pair.state in RESTS:
            if self._is_backup(pair.backup):
                self._vmm.destroy(pair.backup)

    async def _protected_again(self) -> None:
        """Waits until whoever is the primary has a suspended backup."""
        if self._system.protected():
            return
        self._begin_step(self.primary, "protected again")
        protected = self._wait("protected again", PROTECTED_SECONDS)

        def watch(event: Event) -> None:
            if self._system.protected() or event.name in LOST:
                protected.answer()

        self._watch = watch
        try:
            await protected
        except RolledBack:
            return
        self._close_step()

    def _finish(self, outcome: Outcome, reason: str) -> None:
        self._forget()
        try:
            primary = self._system.primary().domid
        except OSError:
            primary = 0
        if outcome is Outcome.INTERRUPTED:
            how = "goes on" if primary == self.primary else "took over"
            after = f"d{primary} {how}, with {self._system.versions.of(primary)}"
            reason += f"; {after}" if primary else "; nobody took over"
        backup = self._system.backup().domid if self._system.protected() else 0
        self.result = UpgradeResult(outcome, reason, primary, backup, tuple(self._steps))
        why = {"reason": reason} if reason else {}
        self._vmm.emit("upgrade-ended", primary, outcome=outcome.value, **why)
        self._done(self.result)

    # steps

    async def _command(self, domid: int, *argv: str) -> None:
        """One command; RolledBack when it fails."""
        wait = self._wait(" ".join(argv), STEP_SECONDS)
        self._exec(wait, domid, argv, wait.answer)
        await wait
        self._close_step()

    def _exec(
        self, wait: Wait, domid: int, argv: Sequence[str], succeeded: Callable[[], None]
    ) -> None:
        """Starts a command; `wait` fails with it. Where it could not be started there may be a
        fault that nobody has seen yet: its event comes first."""
        text = " ".join(argv)
        self._begin_step(domid, text)

        def ended(status: int, output: str) -> None:
            if not status:
                succeeded()
            elif status != GONE:
                reason = self._reason or last_line(output) or f"{text}: status {status}"
                wait.fail(RolledBack(reason))

        try:
            self._system.exec(domid, argv, ended)
        except OSError as error:
            reason = f"{text}: {error.strerror}"
            self._vmm.call_later(GRACE_NS, lambda: wait.fail(RolledBack(reason)))

    def _begin_step(self, domid: int, text: str) -> None:
        step = UpgradeStep(domid, text, self._system.machine.core.clock)
        self._steps.append(step)
        self._on_step(step)

    def _close_step(self, time: int = 0) -> None:
        self._steps[-1].end = time or self._system.machine.core.clock


def last_line(output: str) -> str:
    """The last line that says something."""
    return next((line for line in reversed(output.splitlines()) if line.strip()), "")
