"""The hypercalls of one virtual CPU, raw and typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xenemu.machine.core import Hypercaller
from xenemu.machine.errors import error_of
from xenemu.xen.calls.cpu import (
    CallbackOpCalls,
    GetDebugreg,
    SetDebugreg,
    SetGdt,
    SetTimerOp,
    SetTrapTable,
    VmAssist,
)
from xenemu.xen.calls.domctl import Domctl
from xenemu.xen.calls.event_channel_op import EventChannelOp
from xenemu.xen.calls.grant_table_op import GrantTableOp
from xenemu.xen.calls.group import Call
from xenemu.xen.calls.memory_op import MemoryOpCalls
from xenemu.xen.calls.misc import ConsoleIo, Multicall, XenVersion, ZerolossOp
from xenemu.xen.calls.mmu import MmuUpdateCall, UpdateVaMapping, UpdateVaMappingOtherdomain
from xenemu.xen.calls.mmuext_op import MmuextOpCalls
from xenemu.xen.calls.sched_op import SchedOpCalls
from xenemu.xen.calls.vcpu_op import VcpuOpCalls

if TYPE_CHECKING:
    from xenemu.machine.core import Core
    from xenemu.xen.memory import Memory

CALLS: tuple[type[Call], ...] = (
    EventChannelOp,
    SchedOpCalls,
    MemoryOpCalls,
    GrantTableOp,
    Domctl,
    MmuUpdateCall,
    MmuextOpCalls,
    UpdateVaMapping,
    UpdateVaMappingOtherdomain,
    VcpuOpCalls,
    SetTimerOp,
    SetTrapTable,
    SetGdt,
    SetDebugreg,
    GetDebugreg,
    CallbackOpCalls,
    VmAssist,
    ConsoleIo,
    XenVersion,
    Multicall,
    ZerolossOp,
)


class Hypercalls(Hypercaller):
    """`hypercall(nr, *args)` is the result or raises a HypercallError; `hypercall.raw` does not
    raise; `hypercall.event_channel_op.send(port=1)` and so on marshal structs through `memory`."""

    __slots__ = (
        "callback_op",
        "console_io",
        "domctl",
        "event_channel_op",
        "get_debugreg",
        "grant_table_op",
        "memory",
        "memory_op",
        "mmu_update",
        "mmuext_op",
        "multicall",
        "sched_op",
        "set_debugreg",
        "set_gdt",
        "set_timer_op",
        "set_trap_table",
        "update_va_mapping",
        "update_va_mapping_otherdomain",
        "vcpu_op",
        "vm_assist",
        "xen_version",
        "zeroloss_op",
    )

    def __new__(cls, core: Core, memory: Memory, domid: int, vcpu: int = 0) -> Hypercalls:
        return super().__new__(cls, core, domid, error_of, vcpu)

    def __init__(self, core: Core, memory: Memory, domid: int, vcpu: int = 0) -> None:
        self.memory = memory
        self.callback_op = CallbackOpCalls(self)
        self.console_io = ConsoleIo(self)
        self.domctl = Domctl(self)
        self.event_channel_op = EventChannelOp(self)
        self.get_debugreg = GetDebugreg(self)
        self.grant_table_op = GrantTableOp(self)
        self.memory_op = MemoryOpCalls(self)
        self.mmu_update = MmuUpdateCall(self)
        self.mmuext_op = MmuextOpCalls(self)
        self.multicall = Multicall(self)
        self.sched_op = SchedOpCalls(self)
        self.set_debugreg = SetDebugreg(self)
        self.set_gdt = SetGdt(self)
        self.set_timer_op = SetTimerOp(self)
        self.set_trap_table = SetTrapTable(self)
        self.update_va_mapping = UpdateVaMapping(self)
        self.update_va_mapping_otherdomain = UpdateVaMappingOtherdomain(self)
        self.vcpu_op = VcpuOpCalls(self)
        self.vm_assist = VmAssist(self)
        self.xen_version = XenVersion(self)
        self.zeroloss_op = ZerolossOp(self)
