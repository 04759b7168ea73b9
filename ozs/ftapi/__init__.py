"""The FT API for authors of services: the C functions by their names, and objects around them."""

from ozs.ftapi.binding import WR_ALL, declarations, ffi, lib
from ozs.ftapi.objects import Call, CallKind, Connection, Packet, PacketKind, Side, Verdict
from ozs.ftapi.profile import load_profile
from ozs.ftapi.wrapper import Wrapper
from xenemu.guest import include_dir

__all__ = [
    "WR_ALL",
    "Call",
    "CallKind",
    "Connection",
    "Packet",
    "PacketKind",
    "Side",
    "Verdict",
    "Wrapper",
    "declarations",
    "ffi",
    "include_dir",
    "lib",
    "load_profile",
]
