"""Values that the VMM hands to the VZS."""

import enum
from dataclasses import dataclass

from xenemu._abi import TcpFeature


class WrapperEvent(enum.IntEnum):
    """What the south-side wrapper tells (csrc/net/ssw.h, enum xe_ssw_event_kind)."""

    UNPROTECTED = 1
    RESET = 2
    DIVERGED = 3
    REESTABLISHED = 4
    FIRST_BYTE = 5
    HINT = 6
    REPLAYED = 7


class PairState(enum.IntEnum):
    """State of a protection pair (csrc/xen/host.h, enum xe_pair_state)."""

    NONE = 0
    GRANTED = 1
    BOOTING = 2
    AWAKE = 3
    CHANGING_IP = 4
    SUSPENDED = 5
    MIGRATING = 6
    RECOVERING = 7


@dataclass(frozen=True, slots=True)
class PairInfo:
    """One backup-grant table entry. Addresses in host order; domain 0: none."""

    state: PairState
    primary: int
    backup: int
    backup_booted: bool
    features: TcpFeature
    old_primary: int
    ip: int
    backup_has_primary_ip: bool
    extents: int


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """A domain as the VMM sees it."""

    domid: int
    generation: int
    pause_count: int
    dying: bool
    runnable: bool
    crashed: bool
    tot_pages: int
    refs: int
    ip: int
    own_ip: int
    heartbeats: int


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the event log. `time` is machine time in nanoseconds."""

    time: int
    name: str
    domid: int
    details: dict[str, int | str]
