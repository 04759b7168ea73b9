"""Heartbeat generator (4.2.3, fig. 9): one plain store at each timer interrupt."""

from ozs.window import PAGE
from ozs.zeroloss import domain_of, zeroloss_op
from xenemu._abi import ZlOp
from xenemu.guest import Kernel


class HeartbeatGenerator:
    """Counts timer interrupts on a page that the VMM watches. No hypercall per beat."""

    def __init__(self, kernel: Kernel, page: int) -> None:
        """`page`: guest address of a page of the kernel's own, given over to this."""
        self._node = domain_of(kernel)
        self._page = page
        self._node.guest_write(page, bytes(8))
        mfn = self._node.guest_translate(page) // PAGE
        zeroloss_op(kernel, ZlOp.REGISTER_HEARTBEAT, value=mfn)
        kernel.timer_handlers.append(self._beat)

    def _beat(self) -> None:
        self._node.guest_add(self._page, 1)
