"""Names of a guest: dotted quads, the kernel's hosts table, and what the kernel looks up.

A kernel can look names up under the real clock only; what can't wait (socket.getaddrinfo) does
without.
"""

from __future__ import annotations

import socket as host
from typing import TYPE_CHECKING, Any

from xenemu.guest.socket import ip_text

if TYPE_CHECKING:
    from xenemu.guest.kernel import Kernel
    from xenemu.guest.process import Process

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
    text = check_query(name, family, type)
    address = known_address(kernel, text, flags)
    if address is None:
        raise host.gaierror(host.EAI_NONAME, f"unknown host {text!r}")
    return answer([address], port)


async def resolve(
    process: Process,
    name: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    flags: int = 0,
) -> list[Any]:
    """As getaddrinfo, but a name may be looked up. It is other gaierrors then, too."""
    kernel = process.kernel
    text = check_query(name, family, type)
    address = known_address(kernel, text, flags)
    if address is not None:
        return answer([address], port)
    if kernel.lookup is None or flags & host.AI_NUMERICHOST:
        raise host.gaierror(host.EAI_NONAME, f"unknown host {text!r}")
    waiter = process.loop.create_future()

    def found(result: list[str] | OSError) -> None:
        if process.exited or waiter.done():
            return
        if isinstance(result, OSError):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)

    kernel.lookup(text, found)
    return answer(await waiter, port)


def check_query(name: bytes | str | None, family: int, type: int) -> str:
    """The name, of a query that can be answered; gaierror."""
    if family not in (0, host.AF_INET):
        raise host.gaierror(host.EAI_FAMILY, "only IPv4")
    if type not in (0, host.SOCK_STREAM):
        raise host.gaierror(host.EAI_SOCKTYPE, "only TCP")
    return name.decode("ascii", "replace") if isinstance(name, bytes) else name or ""


def known_address(kernel: Kernel, name: str, flags: int) -> str | None:
    """The address of a name that needs no lookup."""
    if not name:
        return "0.0.0.0" if flags & host.AI_PASSIVE else "127.0.0.1"
    if name in kernel.hosts:
        return ip_text(kernel.hosts[name])
    try:
        return host.inet_ntoa(host.inet_aton(name))
    except OSError:
        return None


def answer(addresses: list[str], port: bytes | str | int | None) -> list[AddrInfo]:
    """What getaddrinfo returns; gaierror for a port that is no number."""
    try:
        number = int(port or 0)
    except ValueError:
        raise host.gaierror(host.EAI_SERVICE, f"unknown service {port!r}") from None
    return [
        (host.AF_INET, host.SOCK_STREAM, host.IPPROTO_TCP, "", (address, number))
        for address in addresses
    ]


def getnameinfo(kernel: Kernel, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """The address and port as text; a name of the hosts table unless NI_NUMERICHOST."""
    address = str(sockaddr[0])
    if not flags & host.NI_NUMERICHOST:
        for name, ip in kernel.hosts.items():
            if ip_text(ip) == address:
                return name, str(sockaddr[1])
    return address, str(sockaddr[1])
