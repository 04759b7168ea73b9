"""The guest side: a kernel whose processes are ordinary asyncio programs."""

from xenemu.guest._current import current_process, syscall
from xenemu.guest.core import Core, core_lines
from xenemu.guest.errors import failure
from xenemu.guest.kernel import DEFAULT_EPOCH, Kernel
from xenemu.guest.memory import ARG_BASE, GUEST_BASE, ArgumentArea
from xenemu.guest.overlay import module_name
from xenemu.guest.process import Process, ProcessState
from xenemu.guest.socket import GuestSocket, ip_number, ip_text
from xenemu.guest.xen_console import xen_console
from xenemu.machine import Domain, HostNode, Node, extension_path, include_dir

__all__ = [
    "ARG_BASE",
    "DEFAULT_EPOCH",
    "GUEST_BASE",
    "ArgumentArea",
    "Core",
    "Domain",
    "GuestSocket",
    "HostNode",
    "Kernel",
    "Node",
    "Process",
    "ProcessState",
    "core_lines",
    "current_process",
    "extension_path",
    "failure",
    "include_dir",
    "ip_number",
    "ip_text",
    "module_name",
    "syscall",
    "xen_console",
]
