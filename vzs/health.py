"""Health monitor of the VMM: arms the heartbeat checker and decides what a fault means.

C compares the heartbeat pages at each timer tick (4.2.3, fig. 9); this module says which
domains are watched, and what to do when the checker, or an OZS, reports one.
"""

from vzs.recovery import RecoveryManager
from xenemu._abi import FaultKind
from xenemu.vmm import Vmm, VmmEvent


class HealthMonitor:
    """Decides on VmmEvent.FAULT."""

    def __init__(self, vmm: Vmm, recovery: RecoveryManager) -> None:
        self._vmm = vmm
        self._recovery = recovery
        vmm.subscribe(self.handle)

    def watch(self, domid: int) -> None:
        """The checker looks at this domain's heartbeat from now on."""
        self._vmm.heartbeat_arm(domid, True)

    def handle(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """Routes a fault: a primary is recovered, a backup replaced, others only said."""
        if event is not VmmEvent.FAULT:
            return
        kind = FaultKind(a)
        self._vmm.emit("fault", node, kind=kind.name.lower())
        pair = self._vmm.pair(node)
        if pair is None:
            return
        if node == pair.backup:
            self._recovery.backup_lost(pair, kind)
        elif node == pair.primary:
            self._recovery.recover(pair, kind)
