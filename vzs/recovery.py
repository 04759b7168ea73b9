"""Recovery manager of the VMM (4.2.4, fig. 10).

Fence first, then: change the network path, wake the backup, signal it. When the backup says
that it is the primary now, C has moved the log to it; this manager disposes of the old domain:
a dead kernel is destroyed, a live one gets another address and path for diagnosis. Its new
backup is booted by the new primary's OZS, through the same calls as the first (fig. 7).
A fault while the backup still boots waits for it (C fences no booting pair).
"""

import errno
from dataclasses import dataclass

from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import PairInfo, PairState, Vmm, VmmEvent, WrapperEvent

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
    """`diagnosis_base` + domain id: the address of a live former primary without one of its own."""

    diagnosis_base: int = 0x0A000200  # 10.0.2.0
    keep_for_diagnosis: bool = True


class RecoveryManager:
    """Carries out failovers and migrations."""

    def __init__(self, vmm: Vmm, policy: RecoveryPolicy) -> None:
        self._vmm = vmm
        self._policy = policy
        self._kinds: dict[int, FaultKind | None] = {}  # old primary -> why it was left
        self._waiting: dict[int, FaultKind] = {}  # faulty primary whose backup boots
        self._diagnosed: int | None = None
        vmm.subscribe(self.handle)
        vmm.subscribe_wrapper(self.handle_wrapper)

    def handle(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """The backup's reports."""
        if event is VmmEvent.REPLAY_STARTED:
            connections = self._vmm.log_info(node)["connections"]
            self._vmm.emit("replay-started", node, connections=connections)
        elif event is VmmEvent.RECOVERY_DONE:
            self._done(node, a)

    def handle_wrapper(self, event: WrapperEvent, node: int, a: int, b: int) -> None:
        """Logs what the south-side wrapper did; hints are left out (they decide nothing)."""
        name = WRAPPER_EVENTS.get(event)
        if name is not None:
            self._vmm.emit(name, node, a=a, b=b)
        if event is WrapperEvent.REESTABLISHED:
            pair = self._vmm.pair(node)
            if pair is not None and pair.state is PairState.RECOVERING:
                self._vmm.signal(pair.backup, ZlSignal.COMPLETE)

    def recover(self, pair: PairInfo, kind: FaultKind) -> None:
        """The primary of `pair` has failed: its backup takes over, if there is one."""
        self._drop_diagnosed()
        if pair.state is PairState.BOOTING:
            self._waiting[pair.primary] = kind
            self._vmm.emit("waiting-for-backup", pair.primary)
        elif pair.backup:
            self._switch(pair, kind)
        else:
            self._unprotected(pair, kind)

    def backup_ready(self, primary: int) -> None:
        """The backup has booted, or failed to: a fault that waited for it goes on."""
        kind = self._waiting.pop(primary, None)
        pair = self._vmm.pair(primary)
        if kind is not None and pair is not None:
            self.recover(pair, kind)

    def migrate(self, primary: int) -> None:
        """A quiesced primary hands over: like a recovery, but nothing is wrong with it."""
        pair = self._vmm.pair(primary)
        if pair is not None and pair.backup:
            self._drop_diagnosed()
            self._switch(pair, None)

    def backup_lost(self, pair: PairInfo, kind: FaultKind) -> None:
        """The backup has failed. If it was recovering, its clients are lost with it."""
        self._vmm.emit("backup-lost", pair.backup, kind=kind.name.lower())
        if pair.state is PairState.RECOVERING:
            self._vmm.emit("recovery-failed", pair.backup, reason="the backup failed too")
            self._vmm.destroy(pair.backup)
            self._vmm.path_clear(pair.ip)
            self._vmm.destroy(pair.primary)
            return
        called = pair.state in (PairState.BOOTING, PairState.CHANGING_IP, PairState.MIGRATING)
        if called:
            self._vmm.complete(pair.primary, -errno.EIO)
        self._vmm.destroy(pair.backup)  # C forgets it with that
        if not called:
            # FAILED unasked for: the primary's OZS has no backup any more and boots another.
            self._vmm.signal(pair.primary, ZlSignal.FAILED)
        self.backup_ready(pair.primary)

    def _switch(self, pair: PairInfo, kind: FaultKind | None) -> None:
        vmm, old, new = self._vmm, pair.primary, pair.backup
        self._kinds[old] = kind
        vmm.fence(old)
        vmm.emit("fenced", old)
        vmm.path_set(pair.ip, new)
        vmm.emit("path-switched", new)
        bits = ZlSignal.RECOVER
        if not pair.backup_has_primary_ip:
            vmm.set_next_ip(new, pair.ip)
            bits |= ZlSignal.CHANGE_IP
        while vmm.domain(new).pause_count:
            vmm.unpause(new)
        vmm.heartbeat_arm(new, True)
        vmm.emit("backup-woken", new)
        vmm.signal(new, bits)
        vmm.call_later(RECOVERY_TIMEOUT_NS, lambda: self._expire(old, new))

    def _expire(self, old: int, new: int) -> None:
        pair = self._vmm.pair(new)
        recovering = pair is not None and pair.state is PairState.RECOVERING
        if recovering and pair is not None and pair.backup == new and old in self._kinds:
            self._vmm.emit("recovery-failed", new, reason="not done in time")

    def _done(self, new: int, old: int) -> None:
        kind = self._kinds.pop(old, FaultKind.KERNEL)
        self._vmm.emit("recovery-done", new, old=old)
        self._vmm.heartbeat_arm(new, True)
        if old not in self._vmm.domain_ids():
            return
        if kind is FaultKind.KERNEL or not self._policy.keep_for_diagnosis:
            self._vmm.destroy(old)
            self._vmm.emit("destroyed", old)
            return
        own = self._vmm.domain(old).own_ip
        pair = self._vmm.pair(new)
        shared = pair is None or own == pair.ip
        address = self._policy.diagnosis_base + old if shared else own
        self._vmm.heartbeat_arm(old, False)
        self._vmm.set_next_ip(old, address)
        self._vmm.path_set(address, old)
        while self._vmm.domain(old).pause_count:
            self._vmm.unpause(old)
        migrated = kind is None  # the former primary waits for its call to end
        self._vmm.signal(old, ZlSignal.READDRESS | (ZlSignal.COMPLETE if migrated else 0))
        self._diagnosed = old
        self._vmm.emit("kept-for-diagnosis", old)

    def _drop_diagnosed(self) -> None:
        old, self._diagnosed = self._diagnosed, None
        if old is not None and old in self._vmm.domain_ids():
            self._vmm.destroy(old)
            self._vmm.emit("destroyed", old)

    def _unprotected(self, pair: PairInfo, kind: FaultKind) -> None:
        """Nobody can take over: said loudly; the protected connections fail."""
        self._vmm.emit(
            "no-backup", pair.primary, kind=kind.name.lower(), lost="all protected connections"
        )
        self._vmm.path_clear(pair.ip)
        if kind is FaultKind.KERNEL:
            self._vmm.destroy(pair.primary)
            self._vmm.emit("destroyed", pair.primary)
