"""Software ageing: the service moves to its fresh backup on a schedule.

By the same machinery as an upgrade, with nothing replaced: the backup has served nobody since it
was booted, and the next one is booted anew. What does not work out is tried again at the next turn.
"""

from typing import TYPE_CHECKING

from xenemu.boot.upgrade import UpgradeRequest

if TYPE_CHECKING:
    from xenemu.boot.system import System

NS = 1_000_000_000


class Rejuvenation:
    """Moves every `seconds` of machine time, from its creation on."""

    def __init__(self, system: "System", seconds: float) -> None:
        self._system = system
        self._every = int(seconds * NS)
        self._arm()

    def _arm(self) -> None:
        self._system.vmm.call_later(self._every, self._turn)

    def _turn(self) -> None:
        self._arm()
        try:
            self._system.upgrade(UpgradeRequest())
        except OSError as error:  # an upgrade or a recovery is under way
            reason = error.strerror or ""
            self._system.vmm.emit("not-rejuvenated", 0, errno=error.errno or 0, reason=reason)
