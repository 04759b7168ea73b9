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
from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import PairInfo, PairState, Vmm, VmmEvent, WrapperEvent

BOOT_TIMEOUT_NS = 20_000_000_000
RETRY_NS = 500_000_000
RECOVERY_TIMEOUT_NS = 30_000_000_000
WRAPPER_EVENTS = {
    WrapperEvent.UNPROTECTED: "connection-unprotected",
    WrapperEvent.RESET: "connection-reset",
    WrapperEvent.DIVERGED: "connection-diverged",
    WrapperEvent.REESTABLISHED: "connections-reestablished",
    WrapperEvent.FIRST_BYTE: "first-byte",
}


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """How recoveries go, and what becomes of former primaries."""

    diagnosis: DiagnosisPolicy = DiagnosisPolicy()
    boots: int = 3  # backups that one recovery may boot by itself


@dataclass(slots=True)
class Recovery:
    """One recovery under way. `kind`: None for a migration; `attempt` numbers its backups."""

    kind: FaultKind | None
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
        self.diagnosis = Diagnosis(vmm, policy.diagnosis)
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
        if event is WrapperEvent.REESTABLISHED:
            pair = self._vmm.pair(node)
            if pair is not None and pair.state is PairState.RECOVERING and node == pair.backup:
                self._vmm.signal(node, ZlSignal.COMPLETE)

    def recover(self, pair: PairInfo, kind: FaultKind) -> None:
        """The primary of `pair` has failed: a backup takes over."""
        under_way = self._recoveries.get(pair.primary)
        if pair.state is PairState.RECOVERING:
            if under_way is not None and kind is FaultKind.KERNEL:
                under_way.kind = kind  # it is worse than was known
            return
        if pair.backup or pair.extents:
            self._fence(pair, kind)
        else:
            self._unprotected(pair, kind)

    def migrate(self, primary: int) -> None:
        """A quiesced primary hands over: like a recovery, but nothing is wrong with it."""
        pair = self._vmm.pair(primary)
        if pair is not None and pair.state is PairState.MIGRATING:
            self._fence(pair, None)

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
        if pair.state is PairState.RECOVERING:
            self.backup_failed(pair.primary, "the backup failed too")
            return
        called = pair.state in (PairState.BOOTING, PairState.CHANGING_IP, PairState.MIGRATING)
        if called:
            self._vmm.complete(pair.primary, -errno.EIO)
        if pair.state is not PairState.BOOTING:  # else forgotten with that
            self._vmm.forget_backup(pair.primary)
        self._vmm.destroy(pair.backup)
        if not called:
            # FAILED unasked for: the primary's OZS has no backup any more and boots another.
            self._vmm.signal(pair.primary, ZlSignal.FAILED)

    def _backup_gone(self, primary: int, backup: int) -> None:
        """Somebody destroyed the backup; C has forgotten it."""
        self._vmm.emit("backup-lost", backup, kind="destroyed")
        recovery = self._recoveries.get(primary)
        pair = self._vmm.pair(primary)
        if pair is None or pair.backup:
            return
        if recovery is not None:
            self._hold_path(pair)
            self._boot(primary, recovery)
        else:
            self._vmm.signal(primary, ZlSignal.FAILED)

    def _fence(self, pair: PairInfo, kind: FaultKind | None) -> None:
        recovery = Recovery(kind, readdress=pair.state is PairState.CHANGING_IP)
        self._recoveries[pair.primary] = recovery
        self._vmm.fence(pair.primary)
        self._vmm.emit("fenced", pair.primary)
        if pair.backup_booted:
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
        self._bound(primary, recovery, RECOVERY_TIMEOUT_NS, "not done in time")

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
        self.diagnosis.retire(old, new, kind)

    def _unprotected(self, pair: PairInfo, kind: FaultKind) -> None:
        """Nobody can take over: said loudly; the protected connections fail."""
        self._vmm.emit(
            "no-backup", pair.primary, kind=kind.name.lower(), lost="all protected connections"
        )
        self._vmm.path_clear(pair.ip)
        if kind is FaultKind.KERNEL:
            self._vmm.destroy(pair.primary)
            self._vmm.emit("destroyed", pair.primary)
