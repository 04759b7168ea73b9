"""Names of a guest: dotted quads and the kernel's hosts table. No DNS."""

from __future__ import annotations

import socket as host
from typing import TYPE_CHECKING, Any

from xenemu.guest.socket import ip_text

if TYPE_CHECKING:
    from xenemu.guest.kernel import Kernel

AddrInfo = tuple[host.AddressFamily, host.SocketKind, int, str, tuple[str, int]]


def getaddrinfo(
    kernel: Kernel,
    name: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """socket.getaddrinfo for TCP over IPv4; gaierror(EAI_NONAME) for what is unknown."""
    if isinstance(name, bytes):
        name = name.decode("ascii")
    if family not in (0, host.AF_INET):
        raise host.gaierror(host.EAI_FAMILY, "only IPv4")
    if type not in (0, host.SOCK_STREAM):
        raise host.gaierror(host.EAI_SOCKTYPE, "only TCP")
    if not name:
        address = "0.0.0.0" if flags & host.AI_PASSIVE else "127.0.0.1"
    elif name in kernel.hosts:
        address = ip_text(kernel.hosts[name])
    else:
        try:
            address = host.inet_ntoa(host.inet_aton(name))
        except OSError:
            raise host.gaierror(host.EAI_NONAME, f"unknown host {name!r}") from None
    try:
        number = int(port or 0)
    except ValueError:
        raise host.gaierror(host.EAI_SERVICE, f"unknown service {port!r}") from None
    info: AddrInfo = (host.AF_INET, host.SOCK_STREAM, host.IPPROTO_TCP, "", (address, number))
    return [info]


def getnameinfo(kernel: Kernel, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """The address and port as text; a name of the hosts table unless NI_NUMERICHOST."""
    address = str(sockaddr[0])
    if not flags & host.NI_NUMERICHOST:
        for name, ip in kernel.hosts.items():
            if ip_text(ip) == address:
                return name, str(sockaddr[1])
    return address, str(sockaddr[1])
