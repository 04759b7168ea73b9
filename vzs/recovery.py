"""Recovery manager of the VMM (4.2.4, fig. 10).

Fence first, then: change the network path, wake the backup, signal it. When the backup says
that it is the primary now, C has moved the log to it, and the old domain is retired
(diagnosis.py). Its new backup is booted by the new primary's OZS, through the same calls as the
first (fig. 7).

A fault is fenced at once, whether there is a backup or not; the log stays. A backup that still
boots takes over when it is up. Where there is none, or it fails too, this manager boots one on
behalf of the fenced primary. After `boots` of them the connections are given up, loudly. While
nobody has the address its path names the fenced primary, so that SSW still sees what peers send.
"""

import errno
from dataclasses import dataclass

from vzs.diagnosis import Diagnosis, DiagnosisPolicy
from vzs.restart import RestartPolicy, Restarts
from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import PairInfo, PairState, Vmm, VmmEvent, WrapperEvent

BOOT_TIMEOUT_NS = 20_000_000_000
RETRY_NS = 500_000_000
RECOVERY_TIMEOUT_NS = 30_000_000_000
TRIAL_TIMEOUT_NS = 5_000_000_000  # the service stands still for as long
COMPARE_TIMEOUT_NS, COMPARE_RETRY_NS = 5_000_000_000, 10_000_000  # it does not
WRAPPER_EVENTS = {
    WrapperEvent.UNPROTECTED: "connection-unprotected",
    WrapperEvent.RESET: "connection-reset",
    WrapperEvent.DIVERGED: "connection-diverged",
    WrapperEvent.REESTABLISHED: "connections-reestablished",
    WrapperEvent.FIRST_BYTE: "first-byte",
    WrapperEvent.REPLAYED: "replayed",
}


REFUSED = {
    errno.EBUSY: "some connections are not protected",
    errno.EAGAIN: "the output of some connections is still compared after a recovery",
}
UNTRIED = "its version is another one, and has not been tried"


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """How recoveries go, and what becomes of former primaries."""

    diagnosis: DiagnosisPolicy = DiagnosisPolicy()
    restart: RestartPolicy = RestartPolicy()
    boots: int = 3  # backups that one recovery may boot by itself


@dataclass(slots=True)
class Recovery:
    """One recovery under way. `kind`: None for a migration; `attempt` numbers its backups.
    `trial`: the primary is healthy, and goes on if the backup does not do. `in_place`: the service
    is started again where it was."""

    kind: FaultKind | None
    trial: bool = False
    in_place: bool = False
    reestablished: bool = False
    readdress: bool = False  # the backup's address was being changed
    boots: int = 0
    attempt: int = 0
    taking_over: bool = False


class RecoveryManager:
    """Carries out failovers and migrations."""

    def __init__(self, vmm: Vmm, policy: RecoveryPolicy) -> None:
        self._vmm = vmm
        self._policy = policy
        self._recoveries: dict[int, Recovery] = {}  # by fenced primary
        self._quiesced_at: dict[int, int] = {}  # a primary that can't be left yet: since when
        self.diagnosis = Diagnosis(vmm, policy.diagnosis)
        self._restarts = Restarts(vmm, policy.restart)
        vmm.subscribe(self.handle)
        vmm.subscribe_wrapper(self.handle_wrapper)

    def handle(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """The backup's reports."""
        if event is VmmEvent.REPLAY_STARTED:
            connections = self._vmm.log_info(node)["connections"]
            self._vmm.emit("replay-started", node, connections=connections)
        elif event is VmmEvent.RECOVERY_DONE:
            self._done(node, a)
        elif event is VmmEvent.BACKUP_GONE:
            self._backup_gone(node, a)

    def handle_wrapper(self, event: WrapperEvent, node: int, a: int, b: int) -> None:
        """Logs what the south-side wrapper did; hints are left out (they decide nothing)."""
        name = WRAPPER_EVENTS.get(event)
        if name is not None:
            self._vmm.emit(name, node, a=a, b=b)
        pair = self._vmm.pair(node)
        recovery = None if pair is None else self._recoveries.get(pair.primary)
        if pair is None or recovery is None:
            return
        if node != (pair.primary if recovery.in_place else pair.backup):
            return
        if event is WrapperEvent.REESTABLISHED:
            recovery.reestablished = True
            if not recovery.trial:
                self._vmm.signal(node, ZlSignal.COMPLETE)
        elif event is WrapperEvent.REPLAYED and recovery.trial:
            self._vmm.promote(pair.primary, pair.backup)
            self._accept(pair, recovery)
        elif event is WrapperEvent.DIVERGED and recovery.trial:
            self.backup_failed(pair.primary, f"connection {a} diverges at byte {b} of its output")

    def recover(self, pair: PairInfo, kind: FaultKind) -> None:
        """The primary of `pair` has failed: a backup takes over, or its service is restarted."""
        under_way = self._recoveries.get(pair.primary)
        if under_way is not None:
            self._fails_again(pair, under_way, kind)
        elif self._restarts.begin(pair, kind):
            recovery = self._recoveries[pair.primary] = Recovery(kind, in_place=True)
            after = self._restarts.policy.up_ns
            self._bound(pair.primary, recovery, after, "the service is not up again in time")
        elif pair.backup or pair.extents:
            self._fence(pair, kind)
        else:
            self._unprotected(pair, kind)

    def _fails_again(self, pair: PairInfo, recovery: Recovery, kind: FaultKind) -> None:
        if recovery.in_place:
            reason = "it died again" if kind is FaultKind.APP else "its kernel died"
            self._leave(pair, kind, reason)
        elif recovery.trial:
            recovery.kind = kind
            self._accept(pair, recovery)  # nobody to go back to
            if self._vmm.differ(pair.primary, pair.backup):
                self.backup_failed(pair.primary, UNTRIED)
        elif kind is FaultKind.KERNEL:
            recovery.kind = kind  # it is worse than was known

    def _leave(self, pair: PairInfo, kind: FaultKind, reason: str) -> None:
        """A service that does not recover in place leaves that to the backup."""
        self._vmm.emit("not-restarted", pair.primary, reason=reason)
        self._fence(pair, kind)

    def migrate(self, primary: int) -> None:
        """A quiesced primary hands over. It waits: until the backup has shown that it goes on where
        the primary stopped nothing new leaves, and the primary can go on instead."""
        pair = self._vmm.pair(primary)
        if pair is None or pair.state is not PairState.MIGRATING:
            return
        try:
            self._vmm.try_backup(primary)
        except OSError as error:
            self._can_not_try(primary, error.errno or errno.EIO)
            return
        self._quiesced_at.clear()
        self._vmm.emit("quiet", primary)
        recovery = self._recoveries[primary] = Recovery(None, trial=True)
        self._hand_over(primary, recovery)

    def _can_not_try(self, primary: int, number: int) -> None:
        """What still compares an earlier recovery's output gets a while: the primary serves on."""
        vmm = self._vmm
        since = self._quiesced_at.setdefault(primary, vmm.now)
        if number == errno.EAGAIN and vmm.now - since < COMPARE_TIMEOUT_NS:
            vmm.call_later(COMPARE_RETRY_NS, lambda: self._quiesce_again(primary))
            return
        self._quiesced_at.clear()
        reason = REFUSED.get(number, errno.errorcode.get(number, str(number)))
        vmm.emit("rolled-back", primary, reason=reason)
        vmm.complete(primary, -number)

    def _quiesce_again(self, primary: int) -> None:
        pair = self._vmm.pair(primary)
        if pair is not None and pair.primary == primary and pair.state is PairState.MIGRATING:
            self._vmm.signal(primary, ZlSignal.QUIESCE)

    def backup_ready(self, primary: int) -> None:
        """The backup has booted: a recovery that waited for it goes on."""
        recovery = self._recoveries.get(primary)
        if recovery is not None and not recovery.taking_over:
            self._hand_over(primary, recovery)

    def backup_failed(self, primary: int, reason: str) -> None:
        """The backup of a recovery can't take over: it is fenced and another one is tried."""
        recovery = self._recoveries[primary]
        pair = self._vmm.pair(primary)
        assert pair is not None
        if recovery.in_place:
            self._leave(pair, FaultKind.APP, reason)
            return
        if recovery.trial and self._roll_back(pair, reason):
            return
        self._vmm.emit("recovery-restarted", pair.backup, reason=reason)
        self._vmm.fence_backup(primary)
        self._vmm.emit("fenced", pair.backup)
        self._hold_path(pair)
        self._vmm.destroy(pair.backup)
        self._vmm.emit("destroyed", pair.backup)
        self._boot(primary, recovery)

    def backup_lost(self, pair: PairInfo, kind: FaultKind) -> None:
        """The backup has failed: a recovery goes on with another, else the primary gets one."""
        self._vmm.emit("backup-lost", pair.backup, kind=kind.name.lower())
        recovery = self._recoveries.get(pair.primary)
        if recovery is not None and not recovery.in_place:
            self.backup_failed(pair.primary, "the backup failed too")
            return
        called = pair.state in (PairState.BOOTING, PairState.CHANGING_IP, PairState.MIGRATING)
        if called:
            self._vmm.complete(pair.primary, -errno.EIO)
        if pair.state is not PairState.BOOTING:  # else forgotten with that
            self._vmm.forget_backup(pair.primary)
        self._vmm.destroy(pair.backup)
        if not called and recovery is None:
            # FAILED unasked for: the primary's OZS has no backup any more and boots another.
            self._vmm.signal(pair.primary, ZlSignal.FAILED)

    def _backup_gone(self, primary: int, backup: int) -> None:
        """Somebody destroyed the backup; C has forgotten it."""
        self._vmm.emit("backup-lost", backup, kind="destroyed")
        recovery = self._recoveries.get(primary)
        pair = self._vmm.pair(primary)
        if pair is None or pair.backup or (recovery is not None and recovery.in_place):
            return
        if recovery is not None:
            if recovery.trial and self._roll_back(pair, "the backup was destroyed"):
                return
            self._hold_path(pair)
            self._boot(primary, recovery)
        else:
            self._vmm.signal(primary, ZlSignal.FAILED)

    def _accept(self, pair: PairInfo, recovery: Recovery) -> None:
        """From here on there is no way back."""
        recovery.trial = False
        self._vmm.accept(pair.primary)
        self._vmm.emit("fenced", pair.primary)
        if recovery.reestablished:
            self._vmm.signal(pair.backup, ZlSignal.COMPLETE)

    def _roll_back(self, pair: PairInfo, reason: str) -> bool:
        """The primary goes on. False when it is gone: then this is a recovery like any other."""
        try:
            self._vmm.roll_back(pair.primary, -errno.ECANCELED)
        except OSError:
            self._recoveries[pair.primary].trial = False
            return False
        del self._recoveries[pair.primary]
        self._vmm.heartbeat_arm(pair.primary, True)
        self._vmm.emit("rolled-back", pair.primary, reason=reason)
        if pair.backup:
            self._vmm.destroy(pair.backup)
            self._vmm.emit("destroyed", pair.backup)
        return True

    def _fence(self, pair: PairInfo, kind: FaultKind) -> None:
        recovery = Recovery(kind, readdress=pair.state is PairState.CHANGING_IP)
        self._recoveries[pair.primary] = recovery
        self._vmm.fence(pair.primary)
        self._vmm.emit("fenced", pair.primary)
        if pair.backup and self._vmm.differ(pair.primary, pair.backup):
            self.backup_failed(pair.primary, UNTRIED)
        elif pair.backup_booted:
            self._hand_over(pair.primary, recovery)
        elif pair.backup:
            self._vmm.emit("waiting-for-backup", pair.primary)
            self._bound(pair.primary, recovery, BOOT_TIMEOUT_NS, "the backup does not boot")
        else:
            self._boot(pair.primary, recovery)

    def _hand_over(self, primary: int, recovery: Recovery) -> None:
        vmm = self._vmm
        pair = vmm.pair(primary)
        assert pair is not None
        new = pair.backup
        recovery.taking_over = True
        vmm.path_set(pair.ip, new)
        vmm.emit("path-switched", new)
        bits = ZlSignal.RECOVER
        if not pair.backup_has_primary_ip or recovery.readdress:
            vmm.set_next_ip(new, pair.ip)
            bits |= ZlSignal.CHANGE_IP
        while vmm.domain(new).pause_count:
            vmm.unpause(new)
        vmm.heartbeat_arm(new, True)
        vmm.emit("backup-woken", new)
        vmm.signal(new, bits)
        after = TRIAL_TIMEOUT_NS if recovery.trial else RECOVERY_TIMEOUT_NS
        self._bound(primary, recovery, after, "the replay is not done in time")

    def _boot(self, primary: int, recovery: Recovery) -> None:
        """A backup on behalf of the fenced primary; when it can't be had, again after a while."""
        vmm = self._vmm
        recovery.readdress = recovery.taking_over = False
        recovery.attempt += 1
        recovery.boots += 1
        if recovery.boots > self._policy.boots:
            self._give_up(primary)
            return
        backup = 0
        try:
            backup = vmm.boot_backup(primary)
            vmm.emit("backup-created", backup, primary=primary)
            vmm.start_kernel(backup, primary)
            vmm.heartbeat_arm(backup, True)
        except OSError as error:
            number = error.errno or errno.EIO
            vmm.emit("backup-failed", backup, error=errno.errorcode.get(number, str(number)))
            if backup:
                vmm.fence_backup(primary)
                vmm.destroy(backup)
            attempt = recovery.attempt
            vmm.call_later(RETRY_NS, lambda: self._retry(primary, recovery, attempt))
        else:
            self._bound(primary, recovery, BOOT_TIMEOUT_NS, "the backup does not boot")

    def _retry(self, primary: int, recovery: Recovery, attempt: int) -> None:
        if self._recoveries.get(primary) is recovery and recovery.attempt == attempt:
            self._boot(primary, recovery)

    def _bound(self, primary: int, recovery: Recovery, after: int, reason: str) -> None:
        """If the same backup is still at the same thing after a while, another one is tried."""
        mine = (recovery.attempt, recovery.taking_over)

        def expire() -> None:
            current = self._recoveries.get(primary)
            if current is recovery and (recovery.attempt, recovery.taking_over) == mine:
                self.backup_failed(primary, reason)

        self._vmm.call_later(after, expire)

    def _hold_path(self, pair: PairInfo) -> None:
        """Nobody has the address: its packets end at the fenced primary, through SSW."""
        if pair.primary in self._vmm.domain_ids() and not self._vmm.domain(pair.primary).dying:
            self._vmm.path_set(pair.ip, pair.primary)

    def _give_up(self, primary: int) -> None:
        del self._recoveries[primary]
        connections = self._vmm.log_info(primary)["connections"]
        self._vmm.emit(
            "recovery-failed", primary, reason="no backup can be had", connections=connections
        )
        self._vmm.give_up(primary)
        self._vmm.destroy(primary)
        self._vmm.emit("destroyed", primary)

    def _done(self, new: int, old: int) -> None:
        recovery = self._recoveries.pop(old, None)
        kind = FaultKind.KERNEL if recovery is None else recovery.kind
        self._vmm.emit("recovery-done", new, old=old)
        self._vmm.heartbeat_arm(new, True)
        if old != new:
            self.diagnosis.retire(old, new, kind)
            return
        pair = self._vmm.pair(new)
        if pair is not None and not pair.backup:  # it was lost meanwhile
            self._vmm.signal(new, ZlSignal.FAILED)

    def _unprotected(self, pair: PairInfo, kind: FaultKind) -> None:
        """Nobody can take over: said loudly; the protected connections fail."""
        self._vmm.emit(
            "no-backup", pair.primary, kind=kind.name.lower(), lost="all protected connections"
        )
        self._vmm.path_clear(pair.ip)
        if kind is FaultKind.KERNEL:
            self._vmm.destroy(pair.primary)
            self._vmm.emit("destroyed", pair.primary)
