"""The kernel versions that a domain can be built with: what differs is their TCP."""

import errno
from dataclasses import dataclass

from xenemu._abi import TcpFeature

RFC7323 = TcpFeature.TIMESTAMPS | TcpFeature.WINDOW_SCALE


@dataclass(frozen=True, slots=True)
class KernelVersion:
    """`tcp`: what connections may use; `buffer`: of a socket, each way, bytes (a power of two)."""

    name: str
    tcp: TcpFeature = RFC7323
    buffer: int = 256 << 10


KERNELS = (
    KernelVersion("2.4"),  # the thesis's, and the default
    KernelVersion("2.6", buffer=1 << 20),  # larger windows, so another window shift
    KernelVersion("2.0", tcp=TcpFeature(0), buffer=64 << 10),  # older than RFC 1323
)


def kernel_version(name: str) -> KernelVersion:
    """The version of that name; OSError(EINVAL)."""
    for version in KERNELS:
        if version.name == name:
            return version
    known = ", ".join(version.name for version in KERNELS)
    raise OSError(errno.EINVAL, f"no kernel {name!r}, there are {known}")
