"""The state of a virtual CPU: traps, descriptor table, debug registers, callbacks, assists, timer.

xen/arch-x86/xen.h, xen/callback.h, xen/xen.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xenemu._abi import CallbackOp, Hypercall, VmAssistOp
from xenemu.xen.calls.group import U64_MASK, Call, Group, u64_array
from xenemu.xen.structs import xen as h

MAX_ERRNO = 4095


@dataclass(frozen=True, slots=True)
class TrapInfo:
    """An entry of the virtual interrupt descriptor table. flags: level 0-3, 4 masks events."""

    vector: int
    flags: int
    cs: int
    address: int


class SetTrapTable(Call):
    """The guest's handlers of traps."""

    __slots__ = ()
    nr = Hypercall.set_trap_table

    def __call__(self, traps: Iterable[TrapInfo] | None) -> None:
        """Sets entries; the others stay as they are. None: clears the whole table.

        Struct: trap_info
        Raises:
            EFAULT: the entries can't be read.
            EINVAL: an address is not canonical; the entries before it are set.
        """
        if traps is None:
            self._cpu(self.nr, 0)
            return
        listed = [(t.vector, t.flags, t.cs, t.address) for t in traps]
        with self._cpu.memory.argument((h.trap_info * (len(listed) + 1))(*listed)) as at:
            self._cpu(self.nr, at)


class SetGdt(Call):
    """The guest's global descriptor table."""

    __slots__ = ()
    nr = Hypercall.set_gdt

    def __call__(self, frame_list: Sequence[int], *, entries: int) -> None:
        """512 entries of 8 bytes lie in each frame.

        Raises:
            EINVAL: there are over 7168 entries; or a frame is not the caller's, in use as another
                type, or holds a descriptor that no guest may have.
            EFAULT: the list of frames can't be read.
        """
        with self._cpu.memory.argument(u64_array(frame_list)) as at:
            self._cpu(self.nr, at, entries)


class SetDebugreg(Call):
    """The guest's debug registers, 0 to 7."""

    __slots__ = ()
    nr = Hypercall.set_debugreg

    def __call__(self, reg: int, value: int) -> None:
        """Bits that the CPU holds fixed are fixed.

        Raises:
            ENODEV: there is no such register.
            EPERM: a breakpoint in Xen's memory, general detect, or I/O breakpoints without CR4.DE.
            EINVAL: upper bits of registers 6 and 7 are set.
        """
        self._cpu(self.nr, reg, value)


class GetDebugreg(Call):
    """Likewise."""

    __slots__ = ()
    nr = Hypercall.get_debugreg

    def __call__(self, reg: int) -> int:
        """Registers 4 and 5 are 6 and 7.

        Returns: its value.
        Raises:
            ENODEV: there is no such register.
        """
        result = self._cpu.raw(self.nr, reg)
        if -MAX_ERRNO <= result < 0:
            self._raise(None, "", result)
        return result & U64_MASK


class CallbackOpCalls(Group):
    """Where Xen enters the guest.

    Raises:
        EFAULT: the struct can't be read.
        ENOSYS: there is no such sub-operation or CallbackType.
    """

    __slots__ = ()
    nr = Hypercall.callback_op

    def register(self, *, type: int, address: int, flags: int = 0) -> None:
        """Sets an entry point. Flag 1 masks events on entry.

        Struct: callback_register
        Raises:
            EINVAL: the address is not canonical.
        """
        self._struct(
            CallbackOp.register, h.callback_register(type=type, flags=flags, address=address)
        )

    def unregister(self, *, type: int) -> None:
        """Takes the NMI's entry point away.

        Struct: callback_unregister
        Raises:
            EINVAL: it is another type, which can't be.
        """
        self._struct(CallbackOp.unregister, h.callback_unregister(type=type))


class VmAssist(Group):
    """What Xen does for old guests.

    Raises:
        ENOSYS: there is no such command.
        EINVAL: there is no such VmAssistType for a 64-bit guest.
    """

    __slots__ = ()
    nr = Hypercall.vm_assist

    def enable(self, *, type: int) -> None:
        """Switches one on."""
        self(VmAssistOp.enable, type)

    def disable(self, *, type: int) -> None:
        """Switches one off."""
        self(VmAssistOp.disable, type)


class SetTimerOp(Call):
    """The calling virtual CPU's single-shot timer."""

    __slots__ = ()
    nr = Hypercall.set_timer_op

    def __call__(self, timeout: int) -> None:
        """VIRQ_TIMER at system time `timeout` (ns), at once if that has passed; 0 cancels. A time
        that is negative or over 13 days away counts as in 100 ms."""
        self._cpu(self.nr, timeout & U64_MASK)
