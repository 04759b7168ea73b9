"""Health monitor (4.2.3, fig. 8): sees protected processes end unasked.

It hooks the two callers of do_exit, sys_exit and sig_exit, not do_exit itself.
"""

from collections.abc import Callable

from ozs.zeroloss import zeroloss_op
from xenemu._abi import FaultKind, ZlOp
from xenemu.guest import Kernel, Process


class HealthMonitor:
    """Reports the end of a protected process as an application fault."""

    def __init__(self, kernel: Kernel, note: Callable[..., None]) -> None:
        self._kernel = kernel
        self._note = note
        self._protected: set[int] = set()
        kernel.sys_exit_hooks.append(self._on_exit)
        kernel.sig_exit_hooks.append(self._on_exit)

    def protect(self, pid: int) -> None:
        """The end of this process is a fault from now on, and leaves a core."""
        self._protected.add(pid)
        self._kernel.process(pid).dumps_core = True

    def forget(self, pid: int) -> None:
        """The end of this process is no fault any more."""
        self._protected.discard(pid)

    @property
    def protected(self) -> frozenset[int]:
        """Process ids under watch."""
        return frozenset(self._protected)

    def _on_exit(self, process: Process, status: int) -> None:
        if process.pid not in self._protected:
            return
        self._protected.discard(process.pid)
        if process.stop_requested and status == 0:
            self._note("service-stopped", pid=process.pid, program=process.name)
            return
        self._note("service-ended", pid=process.pid, program=process.name, status=status)
        try:
            zeroloss_op(self._kernel, ZlOp.REPORT_FAULT, value=FaultKind.APP)
        except OSError as error:
            self._note("fault-not-reported", errno=error.errno or 0)
