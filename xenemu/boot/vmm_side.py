"""The VMM's side of the machine: its work goes to the VZS, and its effects come back here."""

from collections.abc import Callable

from vzs import EventLog
from xenemu.boot.versions import Versions
from xenemu.machine import HostNode, Machine, WorkKind
from xenemu.vmm import Event, Vmm, VmmEvent, WrapperEvent


class Timers:
    """Timers outside every guest: those of the gateway's node, which has no kernel."""

    def __init__(self, gateway: HostNode) -> None:
        self._gateway = gateway
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 1

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        """Runs `callback` after `delay` ns of machine time."""
        self._callbacks[self._next] = callback
        self._gateway.arm_timer(self._next, self._gateway.now + delay)
        self._next += 1

    # NodeHandler
    def work(self, kind: int, arg: int, a: int, b: int) -> None:
        """A timer is due."""
        callback = self._callbacks.pop(arg, None) if kind == WorkKind.TIMER else None
        if callback is not None:
            callback()

    def runnable(self) -> bool:
        """There are no processes."""
        return False

    def run(self) -> None:
        """Nothing to run."""

    def bury(self) -> None:
        """The machine is closed."""
        self._callbacks.clear()


class HostToolstack:
    """xenemu.vmm.Toolstack on a machine."""

    def __init__(
        self,
        machine: Machine,
        timers: Timers,
        log: EventLog,
        start: Callable[[int, int], None],
        ended: Callable[[int], None],
    ) -> None:
        """`start(domid, primary)` builds a kernel; `ended(domid)` hears of a destroyed domain."""
        self._machine = machine
        self._timers = timers
        self._log = log
        self._start = start
        self._ended = ended
        self.versions: Versions | None = None  # it stands on the Vmm that stands on this

    def differ(self, domid: int, other: int) -> bool:
        """They do not run the same versions."""
        return self.versions is not None and self.versions.differ(domid, other)

    def promote(self, primary: int, backup: int) -> None:
        """Backups of `primary` get the versions of `backup`."""
        if self.versions is not None:
            self.versions.promote(primary, backup)

    def start_kernel(self, domid: int, primary: int) -> None:
        """Builds the kernel of a backup. OSError."""
        self._start(domid, primary)

    def destroy_domain(self, domid: int) -> None:
        """Ends a domain and its kernel. OSError(ESRCH)."""
        self._machine.detach(domid)
        self._machine.core.destroy_domain(domid)
        self._ended(domid)

    def emit(self, event: Event) -> None:
        """Into the event log."""
        self._log.append(event)

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        """After `delay` ns of machine time."""
        self._timers.call_later(delay, callback)


class VmmWork:
    """xenemu.machine.VmmHandler that feeds a Vmm."""

    def __init__(self, vmm: Vmm) -> None:
        self._vmm = vmm

    def work(self, kind: int, node: int, arg: int, a: int, b: int) -> None:
        """One item of VMM or wrapper work."""
        if kind == WorkKind.VMM:
            self._vmm.deliver(VmmEvent(arg), node, a, b)
        elif arg in WrapperEvent.__members__.values():
            self._vmm.deliver_wrapper(WrapperEvent(arg), node, a, b)
