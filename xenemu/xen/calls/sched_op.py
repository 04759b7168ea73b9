"""sched_op: xen/sched.h."""

from __future__ import annotations

from collections.abc import Sequence

from xenemu._abi import Hypercall, SchedOp
from xenemu.xen.calls.group import Group, u32_array
from xenemu.xen.structs import sched as h


class SchedOpCalls(Group):
    """Scheduling, shutdown and watchdogs.

    Here a call returns at once: a virtual CPU that blocks or polls is marked so, and is woken by
    an event or by the timeout.

    Raises:
        EFAULT: the struct can't be read.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.sched_op

    def yield_(self) -> None:
        """Lets others run."""
        self(SchedOp.yield_)

    def block(self) -> None:
        """Unmasks upcalls and waits for an event, unless one is pending."""
        self(SchedOp.block)

    def shutdown(self, *, reason: int) -> None:
        """Shuts the caller's domain down. The first reason counts, of which 8 bits.

        Struct: sched_shutdown
        """
        self._struct(SchedOp.shutdown, h.sched_shutdown(reason=reason))

    def poll(self, *, ports: Sequence[int], timeout: int = 0) -> None:
        """Waits until one of the ports is pending, or until system time `timeout` (ns; 0: never).

        Struct: sched_poll
        Raises:
            EINVAL: there are more than 128 ports, or one is free or out of range.
        """
        listed = u32_array(ports)
        with self._cpu.memory.argument(listed) as at:
            arg = h.sched_poll(ports=at, nr_ports=len(listed), timeout=timeout)
            self._struct(SchedOp.poll, arg)

    def remote_shutdown(self, *, domain_id: int, reason: int) -> None:
        """Shuts another domain down.

        Struct: sched_remote_shutdown
        Raises:
            ESRCH: there is no such domain.
            EPERM: the caller is not privileged.
        """
        arg = h.sched_remote_shutdown(domain_id=domain_id, reason=reason)
        self._struct(SchedOp.remote_shutdown, arg)

    def shutdown_code(self, *, reason: int) -> None:
        """Says what the reason of the next shutdown will have been.

        Struct: sched_shutdown
        """
        self._struct(SchedOp.shutdown_code, h.sched_shutdown(reason=reason))

    def watchdog(self, *, id: int = 0, timeout: int) -> int:
        """Id 0 starts a watchdog that fires in `timeout` seconds unless it is told again by its
        id; timeout 0 ends it. A domain has two. When one fires, the domain is shut down.

        Struct: sched_watchdog
        Returns: the id of a new watchdog; 4294967268 (ENOSPC in 32 bits) when both run; else 0.
        Raises:
            EINVAL: no watchdog of this id runs.
        """
        return self._struct(SchedOp.watchdog, h.sched_watchdog(id=id, timeout=timeout))

    def pin_override(self, *, pcpu: int) -> None:
        """Pins the caller to a physical CPU for a while; a negative one ends that.

        Struct: sched_pin_override
        Raises:
            EPERM: the caller is not the control domain.
            EINVAL: there is no such CPU.
            EBUSY: another is in force.
        """
        self._struct(SchedOp.pin_override, h.sched_pin_override(pcpu=pcpu))
