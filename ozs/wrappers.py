"""Registration of wrappers: `wr_create` (table 2) makes a port a protected one."""

import enum
import errno

from ozs.syscalls import os_error
from ozs.zeroloss import domain_of, zeroloss_op
from xenemu._abi import ZlOp
from xenemu.guest import Kernel


class Profile(enum.IntEnum):
    """The built-in profiles, which say what is done to a port's connections: enum wr_profile
    (csrc/net/ftapi.h). Authors' own have other numbers."""

    PLAIN = 1
    HTTP = 2
    FTP = 3
    PROXY = 4


def registration(port: int, profile: int) -> int:
    """The value of REGISTER_WRAPPER."""
    return port | profile << 16


class Wrappers:
    """The ports whose connections survive this domain."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._ports: dict[int, int] = {}  # and their profiles
        self._registered = False

    @property
    def ports(self) -> frozenset[int]:
        """Protected ports."""
        return frozenset(self._ports)

    def wr_create(self, port: int, profile: int = Profile.PLAIN) -> None:
        """Protects a port: NSW in this kernel, SSW by the VMM once `register` was called.

        Raises OSError: EEXIST for a port that is protected already, EINVAL for a bad one.
        """
        if not 0 < port < 65536:
            raise os_error(errno.EINVAL, f"port {port}")
        if port in self._ports:
            raise os_error(errno.EEXIST, f"port {port} is protected already")
        if self._registered:
            value = registration(port, profile)
            zeroloss_op(self._kernel, ZlOp.REGISTER_WRAPPER, value=value)
        domain_of(self._kernel).nsw_protect(port, profile)
        self._ports[port] = profile

    def register(self) -> None:
        """Primary with a grant: tells the VMM the ports created so far and from now on. OSError."""
        if not self._registered:
            for port, profile in sorted(self._ports.items()):
                value = registration(port, profile)
                zeroloss_op(self._kernel, ZlOp.REGISTER_WRAPPER, value=value)
        self._registered = True

    def inherit(self) -> None:
        """Recovered: the VMM knows the ports already, from the old primary."""
        self._registered = True

    def remove(self, port: int) -> None:
        """New connections of the port are not protected any more. ENOENT if it is none."""
        if port not in self._ports:
            raise os_error(errno.ENOENT, f"port {port} is not protected")
        if self._registered:
            zeroloss_op(self._kernel, ZlOp.UNREGISTER_WRAPPER, value=port)
        domain_of(self._kernel).nsw_protect(port, 0)
        del self._ports[port]
