"""Same-domain recovery (6.3.1): a service that fails is started again where it was.

That is for an application fault of a primary whose kernel lives, and for one fault in a while: a
service that fails again soon after is in a crash loop, and its backup takes over.
"""

from dataclasses import dataclass

from xenemu._abi import FaultKind
from xenemu.vmm import PairInfo, Vmm

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`same_domain`: at all; `loop_ns`: so long after a fault another one is a crash loop;
    `up_ns`: the service is up and has replayed by then."""

    same_domain: bool = False
    loop_ns: int = 10 * SECOND
    up_ns: int = 15 * SECOND


class Restarts:
    """Decides which services recover in place."""

    def __init__(self, vmm: Vmm, policy: RestartPolicy) -> None:
        self._vmm = vmm
        self.policy = policy
        self._failed_at: dict[int, int] = {}  # machine time in ns, by domain

    def begin(self, pair: PairInfo, kind: FaultKind) -> bool:
        """Tells a primary to start its service again; False when that is not the way."""
        vmm, primary = self._vmm, pair.primary
        if not self.policy.same_domain or kind is not FaultKind.APP:
            return False
        before = self._failed_at.get(primary)
        self._failed_at = {primary: vmm.now}
        if before is not None and vmm.now - before < self.policy.loop_ns:
            vmm.emit("crash-loop", primary, after=f"{(vmm.now - before) / SECOND:.3f} s")
            return False
        try:
            vmm.restart(primary)
        except OSError:  # in a transition, or without a log
            return False
        vmm.emit("restart", primary)
        return True
