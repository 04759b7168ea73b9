"""A guest's view of its own domain: hypercalls, its own memory, its own stack; nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xenemu.machine.errors import error_of
from xenemu.machine.node import CoreNode

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xenemu._core._machine import Machine as Core


class Domain(CoreNode):
    """What a guest kernel is given. Methods are those of the core, for this domain only."""

    __slots__ = ("hypercall",)

    def __init__(self, core: Core, domid: int) -> None:
        super().__init__(core, domid)
        # The hypercalls of virtual CPU 0: `hypercall(nr, *args)` is the result, not negative, or
        # raises a HypercallError.
        self.hypercall = core.hypercaller(domid, error_of)

    @property
    def is_domain(self) -> bool:
        """True."""
        return True

    @property
    def start_info_gva(self) -> int:
        """Guest address of struct start_info, what a kernel finds in rsi."""
        return self._core.domain_info(self._id)["start_info_gva"]

    def guest_read(self, gva: int, n: int) -> bytes:
        """n bytes at guest address gva, through the guest's page tables; EFAULT."""
        return self._core.guest_read(self._id, gva, n)

    def guest_write(self, gva: int, data: Buffer) -> None:
        """Writes at guest address gva; EFAULT."""
        self._core.guest_write(self._id, gva, data)

    def guest_translate(self, gva: int) -> int:
        """Machine address of a guest address, by walking the guest's tables; EFAULT."""
        return self._core.guest_translate(self._id, gva)

    def guest_add(self, gva: int, n: int) -> None:
        """Adds n to a 64-bit word: the heartbeat's plain store."""
        self._core.guest_add(self._id, gva, n)

    def next_pending_port(self) -> int:
        """A pending, unmasked event channel port, cleared by this call; -1: none."""
        return self._core.next_pending_port(self._id)

    def nsw_attach(self, gva: int, extents: int) -> None:
        """The kernel's north-side wrapper uses the log mapped at gva; EFAULT."""
        self._core.nsw_attach(self._id, gva, extents)

    def nsw_protect(self, port: int, profile: int) -> None:
        """Socket calls on connections of this port pass the wrapper of this profile (enum
        wr_profile in csrc/net/ftapi.h), 0: none any more. ENOSPC."""
        self._core.nsw_protect(self._id, port, profile)

    def passive_ports(self, low: int, high: int) -> None:
        """What a session that listens to any port gets is one of these; 0, 0: any. EINVAL."""
        self._core.passive_ports(self._id, low, high)
