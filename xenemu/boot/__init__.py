"""The composition root: puts machine, guests, OZS and VZS together."""

from ozs import Profile
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
    default_forwards,
    parse_forward,
    parse_keep,
    parse_passive_ports,
    parse_size,
)
from xenemu.boot.cores import write_atomically
from xenemu.boot.crash import HOWS, parse_crash
from xenemu.boot.kernels import KERNELS, KernelVersion, kernel_version
from xenemu.boot.services import (
    BUILTINS,
    ServiceSpec,
    httpd_arguments,
    parse_service,
)
from xenemu.boot.status import DomainStatus
from xenemu.boot.system import System
from xenemu.boot.timeline import RecoveryTimeline, timeline_of
from xenemu.boot.upgrade import Outcome, Upgrade, UpgradeRequest, UpgradeResult, UpgradeStep
from xenemu.guest import core_lines
from xenemu.vmm import Event

__all__ = [
    "BUILTINS",
    "CONTROL_MEMORY",
    "HOWS",
    "KERNELS",
    "PRIMARY_MEMORY",
    "BootConfig",
    "Capture",
    "DomainStatus",
    "Event",
    "Forward",
    "KernelVersion",
    "Link",
    "Outcome",
    "Profile",
    "RecoveryTimeline",
    "ServiceSpec",
    "System",
    "Timeline",
    "Upgrade",
    "UpgradeRequest",
    "UpgradeResult",
    "UpgradeStep",
    "add_client",
    "as_dict",
    "as_line",
    "collect_rarely",
    "core_lines",
    "default_forwards",
    "httpd_arguments",
    "kernel_version",
    "parse_crash",
    "parse_forward",
    "parse_keep",
    "parse_passive_ports",
    "parse_service",
    "parse_size",
    "run_client",
    "small_config",
    "timeline_of",
    "timelines",
    "write_atomically",
]
