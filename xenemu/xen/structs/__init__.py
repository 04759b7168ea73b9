"""The structs of Xen's public headers as ctypes classes; STRUCTS has them by their C names."""

from xenemu.xen.structs import (
    domctl,
    event_channel,
    grant_table,
    memory,
    sched,
    vcpu,
    version,
    xen,
)
from xenemu.xen.structs.layout import STRUCTS, Structure

__all__ = [
    "STRUCTS",
    "Structure",
    "domctl",
    "event_channel",
    "grant_table",
    "memory",
    "sched",
    "vcpu",
    "version",
    "xen",
]
