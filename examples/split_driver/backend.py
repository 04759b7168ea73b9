"""The driver domain's half: it maps the frontend's ring and serves sectors from a bytearray."""

from __future__ import annotations

from split_driver.frontend import Connection
from split_driver.ring import FAILED, NO_SECTOR, OK, READ, SECTOR, SLOTS, WRITE, Ring, Slot

from xenemu import Domain, GrantError
from xenemu.xen import GrantMap


class Backend:
    def __init__(self, domain: Domain, connection: Connection, disk: bytearray) -> None:
        self._domain = domain
        self._frontend = connection.domid
        self._disk = disk
        self._at = domain.alloc_page()  # the ring is mapped in place of this page
        self._mapping = domain.hypercall.grant_table_op.map_grant_ref(
            host_addr=self._at, flags=GrantMap.host_map, ref=connection.ring_ref, dom=self._frontend
        )
        self._ring = Ring(domain, self._at)
        self._buffer = domain.alloc_page()
        self._port = domain.hypercall.event_channel_op.bind_interdomain(
            remote_dom=self._frontend, remote_port=connection.port
        )
        domain.on_event(self._port, self._on_event)

    def close(self) -> None:
        """Lets go of everything of the frontend's."""
        self._domain.on_event(self._port, None)
        self._domain.hypercall.event_channel_op.close(port=self._port)
        self._domain.hypercall.grant_table_op.unmap_grant_ref(
            host_addr=self._at, handle=self._mapping.handle
        )

    def _on_event(self, port: int) -> None:
        served = 0
        # The ring is the frontend's memory: it may claim anything, but no more than a ringful.
        while served < SLOTS and self._ring.responses != self._ring.requests:
            request = self._ring.slot(self._ring.responses)
            status = self._serve(request)
            self._ring.put_response(Slot(status, request.sector, request.ref))
            served += 1
        if served:
            self._domain.hypercall.event_channel_op.send(port=self._port)

    def _serve(self, request: Slot) -> int:
        start = request.sector * SECTOR
        if start + SECTOR > len(self._disk):
            return NO_SECTOR
        if request.code not in (READ, WRITE):
            return FAILED
        mine = self._domain.mfn_at(self._buffer)
        copy = self._domain.hypercall.grant_table_op.copy
        try:
            if request.code == WRITE:
                copy(
                    source_domid=self._frontend, source_ref=request.ref, dest_gmfn=mine, len=SECTOR
                )
                self._disk[start : start + SECTOR] = self._domain.read(self._buffer, SECTOR)
            else:
                self._domain.write(self._buffer, self._disk[start : start + SECTOR])
                copy(source_gmfn=mine, dest_domid=self._frontend, dest_ref=request.ref, len=SECTOR)
        except GrantError:
            return FAILED
        return OK
