"""The composition root: puts machine, guests, OZS and VZS together."""

from vzs import Timeline, as_dict, as_line, timelines
from xenemu.boot.capture import Capture
from xenemu.boot.clients import add_client, run_client, small_config
from xenemu.boot.collector import collect_rarely
from xenemu.boot.config import (
    CONTROL_MEMORY,
    PRIMARY_MEMORY,
    BootConfig,
    Forward,
    Link,
    parse_forward,
    parse_keep,
    parse_size,
)
from xenemu.boot.cores import write_atomically
from xenemu.boot.crash import HOWS, parse_crash
from xenemu.boot.status import DomainStatus
from xenemu.boot.system import System
from xenemu.boot.timeline import RecoveryTimeline, timeline_of
from xenemu.guest import core_lines

__all__ = [
    "CONTROL_MEMORY",
    "HOWS",
    "PRIMARY_MEMORY",
    "BootConfig",
    "Capture",
    "DomainStatus",
    "Forward",
    "Link",
    "RecoveryTimeline",
    "System",
    "Timeline",
    "add_client",
    "as_dict",
    "as_line",
    "collect_rarely",
    "core_lines",
    "parse_crash",
    "parse_forward",
    "parse_keep",
    "parse_size",
    "run_client",
    "small_config",
    "timeline_of",
    "timelines",
    "write_atomically",
]
