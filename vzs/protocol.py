"""Protocol manager: effects and completions of the calls that C has already decided.

C owns the backup-grant table and answers each `zeroloss_op` synchronously with its errno; what
is left is to do what was granted, to wait for the other domain, and to say so to the caller
(fig. 7 of the thesis, the project's design of 4.2.1).
"""

import errno

from vzs.health import HealthMonitor
from vzs.recovery import RecoveryManager
from xenemu._abi import TcpFeature, ZlSignal
from xenemu.vmm import PairState, Vmm, VmmEvent

BOOT_TIMEOUT_NS = 20_000_000_000
CHANGE_IP_TIMEOUT_NS = 5_000_000_000


class ProtocolManager:
    """Boots backups, moves addresses, completes the callers' waits."""

    def __init__(self, vmm: Vmm, health: HealthMonitor, recovery: RecoveryManager) -> None:
        self._vmm = vmm
        self._health = health
        self._recovery = recovery
        self._transition = 0
        self._table = {
            VmmEvent.GRANT_INSTALLED: self._grant_installed,
            VmmEvent.LOG_REGISTERED: self._log_registered,
            VmmEvent.BOOT_BACKUP: self._boot_backup,
            VmmEvent.BOOT_DONE: self._boot_done,
            VmmEvent.CHANGE_IP: self._change_ip,
            VmmEvent.IP_SET: self._ip_set,
            VmmEvent.SUSPENDED: self._suspended,
            VmmEvent.WOKEN: self._woken,
            VmmEvent.MIGRATE: self._migrate,
            VmmEvent.QUIESCED: self._quiesced,
        }
        vmm.subscribe(self.handle)

    def handle(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """One event of the C core; others than this manager's are left alone."""
        handler = self._table.get(event)
        if handler is not None:
            handler(node, a, b)

    def _grant_installed(self, primary: int, _a: int, _b: int) -> None:
        self._vmm.emit("grant-installed", primary)
        if self._vmm.pair(primary) is not None:
            self._health.watch(primary)

    def _log_registered(self, primary: int, extents: int, _b: int) -> None:
        self._vmm.emit("log-registered", primary, extents=extents)

    def _boot_backup(self, primary: int, backup: int, _b: int) -> None:
        if not self._is(primary, backup, PairState.BOOTING, PairState.RECOVERING):
            return
        self._vmm.emit("backup-created", backup, primary=primary)
        try:
            self._vmm.start_kernel(backup, primary)
            self._health.watch(backup)
        except OSError as error:
            self._give_up(primary, backup, error.errno or errno.EIO)
            return
        self._bound(primary, backup, PairState.BOOTING, BOOT_TIMEOUT_NS)

    def _boot_done(self, backup: int, features: int, _b: int) -> None:
        pair = self._vmm.pair(backup)
        self._vmm.emit("backup-booted", backup)
        if pair is None or pair.backup != backup:
            return
        lacks = pair.features & ~TcpFeature(features)
        if lacks:  # found out now, not at the fault
            names = "|".join(feature.name or "" for feature in lacks)
            self._vmm.emit("backup-refused", backup, lacks=names)
            self._give_up(pair.primary, backup, errno.EOPNOTSUPP)
            return
        if pair.state is PairState.BOOTING:
            self._transition += 1
            self._vmm.complete(pair.primary)
        elif pair.state is PairState.RECOVERING:
            self._recovery.backup_ready(pair.primary)

    def _change_ip(self, primary: int, backup: int, _b: int) -> None:
        # C has set the address that GET_IP answers.
        if not self._is(primary, backup, PairState.CHANGING_IP):
            return
        self._vmm.emit("change-ip", backup)
        self._vmm.signal(backup, ZlSignal.CHANGE_IP)
        self._bound(primary, backup, PairState.CHANGING_IP, CHANGE_IP_TIMEOUT_NS)

    def _ip_set(self, domid: int, address: int, _b: int) -> None:
        self._vmm.emit("ip-set", domid, ip=dotted(address))
        pair = self._vmm.pair(domid)
        if pair is None or pair.backup != domid:
            return
        if address != pair.ip:
            self._vmm.path_set(address, domid)
        if pair.state is PairState.CHANGING_IP:
            self._transition += 1
            self._vmm.complete(pair.primary)

    def _suspended(self, backup: int, _a: int, _b: int) -> None:
        self._vmm.emit("backup-suspended", backup)

    def _woken(self, backup: int, _a: int, _b: int) -> None:
        self._vmm.emit("backup-awake", backup)
        if self._vmm.pair(backup) is not None:
            self._health.watch(backup)

    def _migrate(self, primary: int, backup: int, _b: int) -> None:
        self._vmm.emit("migrate", primary)
        if self._is(primary, backup, PairState.MIGRATING):
            self._vmm.signal(primary, ZlSignal.QUIESCE)

    def _quiesced(self, primary: int, _a: int, _b: int) -> None:
        self._vmm.emit("quiesced", primary)
        self._recovery.migrate(primary)

    def _is(self, primary: int, backup: int, *states: PairState) -> bool:
        """What the event says is still so: a fault may have been handled since it was queued."""
        pair = self._vmm.pair(primary)
        return pair is not None and pair.backup == backup and pair.state in states

    def _give_up(self, primary: int, backup: int, number: int) -> None:
        """A backup that cannot be had: C forgets it, the caller is told, it is destroyed."""
        symbol = errno.errorcode.get(number, str(number))
        self._vmm.emit("backup-failed", backup, error=symbol)
        pair = self._vmm.pair(primary)
        if pair is not None and pair.state is PairState.RECOVERING:
            self._recovery.backup_failed(primary, f"the backup can't be had: {symbol}")
            return
        self._transition += 1
        self._vmm.complete(primary, -number)
        if backup in self._vmm.domain_ids():
            self._vmm.destroy(backup)

    def _bound(self, primary: int, backup: int, state: PairState, after: int) -> None:
        """If the pair is still in `state` after a while, the transition has failed."""
        self._transition += 1
        mine = self._transition

        def expire() -> None:
            pair = self._vmm.pair(primary)
            if mine != self._transition or pair is None or pair.state is not state:
                return
            if state is PairState.BOOTING:
                self._give_up(primary, backup, errno.ETIMEDOUT)
            else:
                self._vmm.emit("change-ip-failed", backup)
                self._transition += 1
                self._vmm.complete(primary, -errno.ETIMEDOUT)

        self._vmm.call_later(after, expire)


def dotted(address: int) -> str:
    """An address in host order as a dotted quad."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
