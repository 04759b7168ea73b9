"""The machine as Python sees it; the only package that knows the C core."""

from xenemu.machine.domain import Domain
from xenemu.machine.errors import HypercallError
from xenemu.machine.library import extension_path, include_dir
from xenemu.machine.machine import HOST, Machine, NodeHandler, VmmHandler
from xenemu.machine.node import HANGUP, READABLE, WRITABLE, HostNode, Node
from xenemu.machine.work import VmmEvent, WorkKind

__all__ = [
    "HANGUP",
    "HOST",
    "READABLE",
    "WRITABLE",
    "Domain",
    "HostNode",
    "HypercallError",
    "Machine",
    "Node",
    "NodeHandler",
    "VmmEvent",
    "VmmHandler",
    "WorkKind",
    "extension_path",
    "include_dir",
]
