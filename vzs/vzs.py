"""The VMM-layer zero-loss subsystem as a whole."""

from vzs.events import EventLog
from vzs.health import HealthMonitor
from vzs.protocol import ProtocolManager
from vzs.recovery import RecoveryManager, RecoveryPolicy
from xenemu.vmm import Vmm


class Vzs:
    """Protocol manager, health monitor and recovery manager on one VMM."""

    def __init__(self, vmm: Vmm, log: EventLog, policy: RecoveryPolicy | None = None) -> None:
        self.vmm = vmm
        self.log = log
        self.recovery = RecoveryManager(vmm, policy or RecoveryPolicy())
        self.diagnosis = self.recovery.diagnosis
        self.health = HealthMonitor(vmm, self.recovery)
        self.protocol = ProtocolManager(vmm, self.health, self.recovery)
