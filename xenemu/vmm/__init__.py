"""What the VMM exposes to the VZS."""

from xenemu.machine import VmmEvent
from xenemu.vmm.types import DomainInfo, Event, PairInfo, PairState, WrapperEvent
from xenemu.vmm.vmm import Backend, Toolstack, Vmm

__all__ = [
    "Backend",
    "DomainInfo",
    "Event",
    "PairInfo",
    "PairState",
    "Toolstack",
    "Vmm",
    "VmmEvent",
    "WrapperEvent",
]
