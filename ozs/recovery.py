"""Recovery manager and the log buffer (4.2.2, 4.2.4).

The log is memory of the first primary. A primary allocates it, maps it, and registers the
machine addresses that it finds by walking its own tables. A recovering backup gets those by
hypercall, maps the very same frames, and has FT-TCP replay them.
"""

import asyncio
import errno
import struct
from array import array
from collections.abc import Callable

from ozs.syscalls import Completion, os_error
from ozs.window import EXTENT_ORDER, EXTENT_PAGES, LOG_WINDOW, LogWindow, StartInfo
from ozs.zeroloss import MAX_EXTENTS, argument, domain_of, zeroloss_op
from xenemu._abi import DOMID_SELF, Hypercall, ZlOp
from xenemu.guest import Kernel

XENMEM_POPULATE_PHYSMAP = 6
RESERVATION = struct.Struct("<QQIIHHI")  # struct xen_memory_reservation
REPLAY_SECONDS = 20.0


class RecoveryManager:
    """The log of one kernel: its own, or the one that it takes over."""

    def __init__(
        self,
        kernel: Kernel,
        start_info: StartInfo,
        completion: Completion,
        note: Callable[..., None],
    ) -> None:
        self._kernel = kernel
        self._completion = completion
        self._start = start_info
        self._note = note
        self._window = LogWindow(kernel, start_info)
        self.extents = 0

    def allocate(self, extents: int) -> None:
        """Primary: allocates and maps a log of that many 2 MiB extents.

        Raises OSError: ENOMEM when the domain may not have that much memory.
        """
        self._window.map(self._populate(extents))
        self.extents = extents

    def register(self) -> None:
        """Primary with a grant: registers the log's machine addresses. OSError."""
        mfns = self._window.extent_mfns(self.extents)
        zeroloss_op(self._kernel, ZlOp.REGISTER_LOG, mfns=mfns)
        self.attach()

    async def take_over(self) -> None:
        """Backup: maps the old primary's frames, has them replayed, and becomes the primary.

        The VZS says COMPLETE when the connections are re-established. If it does not in time the
        rest goes on while this domain is the primary already: late is better than never.
        """
        got = zeroloss_op(self._kernel, ZlOp.GET_LOG, room=MAX_EXTENTS)
        self._window.map(got.mfns)
        self._note("log-remapped", extents=len(got.mfns))
        self.extents = len(got.mfns)
        self.attach()
        await self.replay()

    def attach(self) -> None:
        """NSW works on the mapped log, in its generation of now. OSError."""
        domain_of(self._kernel).nsw_attach(LOG_WINDOW, self.extents)

    async def replay(self) -> None:
        """Has the log replayed by a service that listens."""
        waiter = self._completion.arm()
        zeroloss_op(self._kernel, ZlOp.START_REPLAY)
        try:
            await asyncio.wait_for(waiter, REPLAY_SECONDS)
        except TimeoutError:
            self._note("replay-late")
        finally:
            self._completion.disarm()
        zeroloss_op(self._kernel, ZlOp.RECOVERY_DONE)

    def _populate(self, extents: int) -> tuple[int, ...]:
        """Asks Xen for extents above the initial pages; their first machine frames."""
        node = domain_of(self._kernel)
        first = self._start.nr_pages
        pfns = array("Q", (first + i * EXTENT_PAGES for i in range(extents)))
        size = RESERVATION.size + len(pfns) * 8
        with argument(self._kernel, size) as address:
            listed = address + RESERVATION.size
            head = RESERVATION.pack(listed, extents, EXTENT_ORDER, 0, DOMID_SELF, 0, 0)
            node.guest_write(address, head + pfns.tobytes())
            done = node.hypercall(Hypercall.memory_op, XENMEM_POPULATE_PHYSMAP, address)
            if done != extents:
                raise os_error(errno.ENOMEM, f"{done} of {extents} log extents")
            return tuple(array("Q", node.guest_read(listed, len(pfns) * 8)))
