"""Xen's hypercalls in Python: an emulated host, its domains, typed calls, structs, errors."""

from xenemu._abi import (
    DOMID_SELF,
    DomainFlag,
    EvtchnStat,
    Feature,
    GrantFlag,
    GrantMap,
    GrantOp,
    GrantStatus,
    Hypercall,
    MmuUpdate,
    RunState,
    Shutdown,
    UpdateVaFlags,
    Virq,
)
from xenemu.machine.errors import HypercallError
from xenemu.xen import structs
from xenemu.xen.calls.cpu import TrapInfo
from xenemu.xen.calls.grant_table_op import GrantError
from xenemu.xen.domain import Domain, Vcpu
from xenemu.xen.hypercalls import Hypercalls
from xenemu.xen.machine import Frame, Machine
from xenemu.xen.memory import PAGE_SIZE, Memory

__all__ = [
    "DOMID_SELF",
    "PAGE_SIZE",
    "Domain",
    "DomainFlag",
    "EvtchnStat",
    "Feature",
    "Frame",
    "GrantError",
    "GrantFlag",
    "GrantMap",
    "GrantOp",
    "GrantStatus",
    "Hypercall",
    "HypercallError",
    "Hypercalls",
    "Machine",
    "Memory",
    "MmuUpdate",
    "RunState",
    "Shutdown",
    "TrapInfo",
    "UpdateVaFlags",
    "Vcpu",
    "Virq",
    "structs",
]
