"""vcpu_op: xen/vcpu.h."""

from __future__ import annotations

from dataclasses import dataclass

from xenemu._abi import Hypercall, RunState, VcpuOp
from xenemu.xen.calls.group import Call
from xenemu.xen.structs import Structure
from xenemu.xen.structs import vcpu as h


@dataclass(frozen=True, slots=True)
class RunStateInfo:
    """The state of a virtual CPU, since when, and how long it was in each (ns, by RunState)."""

    state: RunState
    state_entry_time: int
    time: tuple[int, int, int, int]


class VcpuOpCalls(Call):
    """Virtual CPUs of the caller's domain.

    Raises:
        ENOENT: there is no such virtual CPU.
        EFAULT: the struct can't be read or written.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.vcpu_op

    def __call__(self, op: int, vcpuid: int, argument: Structure | int = 0) -> int:
        if isinstance(argument, int):
            return self._cpu(self.nr, op, vcpuid, argument)
        with self._cpu.memory.argument(argument) as gva:
            return self._cpu(self.nr, op, vcpuid, gva)

    def initialise(self, *, vcpuid: int, ctxt: Structure) -> None:
        """Gives a virtual CPU its first registers; it is still down.

        Struct: vcpu_guest_context
        Raises:
            EEXIST: it has them already.
            EINVAL: a register is not what a guest may have, or cr3 names no table of level 4; or
                the virtual CPU has no place for its vcpu_info.
            ENOMEM: Xen's own memory is at its end.
        """
        self(VcpuOp.initialise, vcpuid, ctxt)

    def up(self, *, vcpuid: int) -> None:
        """Lets it run.

        Raises:
            EINVAL: it was not initialised.
        """
        self(VcpuOp.up, vcpuid)

    def down(self, *, vcpuid: int) -> None:
        """Stops it. With the last one the domain shuts down."""
        self(VcpuOp.down, vcpuid)

    def is_up(self, *, vcpuid: int) -> bool:
        """Whether it may run.

        Returns: a bool.
        """
        return bool(self(VcpuOp.is_up, vcpuid))

    def get_runstate_info(self, *, vcpuid: int) -> RunStateInfo:
        """Its state and the times that it spent in each.

        Struct: vcpu_runstate_info
        Returns: a RunStateInfo.
        """
        arg = h.vcpu_runstate_info()
        self(VcpuOp.get_runstate_info, vcpuid, arg)
        return RunStateInfo(RunState(arg.state), arg.state_entry_time, tuple(arg.time))

    def register_runstate_memory_area(self, *, vcpuid: int, addr: int) -> None:
        """Where Xen keeps its vcpu_runstate_info up to date: an address of the caller.

        Struct: vcpu_register_runstate_memory_area
        """
        arg = h.vcpu_register_runstate_memory_area()
        arg.addr.v = addr
        self(VcpuOp.register_runstate_memory_area, vcpuid, arg)

    def set_periodic_timer(self, *, vcpuid: int, period_ns: int) -> None:
        """VIRQ_TIMER each period.

        Struct: vcpu_set_periodic_timer
        Raises:
            EINVAL: the period is below 1 ms or beyond all sense.
        """
        self(VcpuOp.set_periodic_timer, vcpuid, h.vcpu_set_periodic_timer(period_ns=period_ns))

    def stop_periodic_timer(self, *, vcpuid: int) -> None:
        """Ends that."""
        self(VcpuOp.stop_periodic_timer, vcpuid)

    def set_singleshot_timer(self, *, vcpuid: int, timeout_abs_ns: int, flags: int = 0) -> None:
        """VIRQ_TIMER once, at a system time; at once if that has passed, whatever the flags say.

        Struct: vcpu_set_singleshot_timer
        Raises:
            EINVAL: it is not the calling virtual CPU.
        """
        arg = h.vcpu_set_singleshot_timer(timeout_abs_ns=timeout_abs_ns, flags=flags)
        self(VcpuOp.set_singleshot_timer, vcpuid, arg)

    def stop_singleshot_timer(self, *, vcpuid: int) -> None:
        """Cancels it.

        Raises:
            EINVAL: it is not the calling virtual CPU.
        """
        self(VcpuOp.stop_singleshot_timer, vcpuid)

    def register_vcpu_info(self, *, vcpuid: int, mfn: int, offset: int) -> None:
        """Moves its vcpu_info into a frame of the domain, for good.

        Struct: vcpu_register_vcpu_info
        Raises:
            ENXIO: it crosses the page, or is not aligned to 8.
            EINVAL: it was moved before, or the frame is not a writable one of the domain; or it is
                another virtual CPU that is up.
        """
        arg = h.vcpu_register_vcpu_info(mfn=mfn, offset=offset)
        self(VcpuOp.register_vcpu_info, vcpuid, arg)

    def send_nmi(self, *, vcpuid: int) -> None:
        """Makes an NMI pending for it."""
        self(VcpuOp.send_nmi, vcpuid)

    def get_physid(self, *, vcpuid: int) -> int:
        """The physical CPU on which a pinned virtual CPU of the control domain runs.

        Struct: vcpu_get_physid
        Returns: APIC id | ACPI id << 32.
        Raises:
            EINVAL: it is not pinned.
        """
        arg = h.vcpu_get_physid()
        self(VcpuOp.get_physid, vcpuid, arg)
        return int(arg.phys_id)

    def register_vcpu_time_memory_area(self, *, vcpuid: int, addr: int) -> None:
        """Where Xen keeps another copy of its vcpu_time_info up to date.

        Struct: vcpu_register_time_memory_area
        """
        arg = h.vcpu_register_time_memory_area()
        arg.addr.v = addr
        self(VcpuOp.register_vcpu_time_memory_area, vcpuid, arg)
