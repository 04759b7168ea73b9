"""Protocol manager: what an OZS does when the VZS signals it (VIRQ_ZEROLOSS).

The interrupt handler only fetches the bits; completions are handed to the waiting system call,
everything else to the kernel thread `ozsd`, which may wait (for `ifconfig`, for a replay).
"""

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable

from ozs.syscalls import Completion, os_error
from ozs.zeroloss import zeroloss_op
from xenemu._abi import Virq, ZlOp, ZlSignal
from xenemu.guest import Kernel, ip_text

Action = Callable[[], Awaitable[None]]


class ProtocolManager:
    """Turns signals into actions, one after the other."""

    def __init__(self, kernel: Kernel, completion: Completion, note: Callable[..., None]) -> None:
        self._kernel = kernel
        self._completion = completion
        self._note = note
        self._pending: deque[ZlSignal] = deque()
        self._wake: asyncio.Event | None = None
        self._actions: list[tuple[ZlSignal, Action]] = [
            (ZlSignal.CHANGE_IP | ZlSignal.READDRESS, self.change_ip),
            (ZlSignal.QUIESCE, self._quiesce),
        ]

    def install(self) -> None:
        """Binds the interrupt and starts the thread; signals sent before are looked for at once."""
        self._kernel.register_irq(Virq.ZEROLOSS, self._interrupt)
        self._kernel.spawn(self._main, name="ozsd")
        self._interrupt()

    def on(self, bits: ZlSignal, action: Action) -> None:
        """`action` runs in the thread when one of `bits` is signalled, after those before it."""
        self._actions.append((bits, action))

    def post(self, bits: ZlSignal) -> None:
        """Hands bits to the thread, as if the VZS had signalled them."""
        self._pending.append(bits)
        if self._wake is not None:
            self._wake.set()

    def _interrupt(self) -> None:
        signals = zeroloss_op(self._kernel, ZlOp.GET_SIGNAL)
        bits = ZlSignal(signals.value)
        if bits & ZlSignal.COMPLETE and self._completion.answer(0):
            bits &= ~ZlSignal.COMPLETE
        if bits & ZlSignal.FAILED and self._completion.answer(signals.status or -errno.EIO):
            bits &= ~ZlSignal.FAILED
        if bits:
            self.post(bits)

    async def _main(self, _argv: list[str]) -> None:
        self._wake = asyncio.Event()
        while True:
            while self._pending:
                await self._act(self._pending.popleft())
            self._wake.clear()
            await self._wake.wait()

    async def _act(self, bits: ZlSignal) -> None:
        for wanted, action in self._actions:
            if not bits & wanted:
                continue
            try:
                await action()
            except OSError as error:
                self._note("signal-failed", signal=str(wanted), errno=error.errno or 0)

    async def change_ip(self) -> None:
        """Fetches the address from the VZS, has `ifconfig` set it, and says so."""
        address = zeroloss_op(self._kernel, ZlOp.GET_IP).value
        status, output = await self._kernel.execute(["ifconfig", "eth0", ip_text(address)])
        if status:
            raise os_error(errno.EIO, f"ifconfig: {output.strip()}")
        zeroloss_op(self._kernel, ZlOp.IP_SET, value=address)

    async def _quiesce(self) -> None:
        # Processes step atomically and this thread is one of them: nothing else is half done.
        zeroloss_op(self._kernel, ZlOp.QUIESCED)
