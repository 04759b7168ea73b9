"""The guest's half of a small block driver: it has pages and a ring, and asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from split_driver.grants import GrantTable
from split_driver.ring import OK, READ, SECTOR, SLOTS, WRITE, Ring, Slot

from xenemu import Domain

Done = Callable[[int, bytes], None]  # status, what was read


@dataclass(frozen=True)
class Connection:
    """What a frontend tells its backend, in Xen through xenstore."""

    domid: int
    ring_ref: int
    port: int


class Frontend:
    def __init__(self, domain: Domain, backend: int) -> None:
        self._domain = domain
        self._backend = backend
        self._grants = GrantTable(domain)
        ring = domain.alloc_page()
        self._ring = Ring(domain, ring)
        self._ring_ref = self._grants.grant(ring, backend)
        self._port = domain.hypercall.event_channel_op.alloc_unbound(remote_dom=backend)
        self._buffers = [domain.alloc_page() for _ in range(SLOTS)]
        self._waiting: dict[int, tuple[int, Done]] = {}  # request: grant of its page, who waits
        self._answered = 0
        domain.on_event(self._port, self._on_event)

    @property
    def connection(self) -> Connection:
        return Connection(self._domain.id, self._ring_ref, self._port)

    def read(self, sector: int, done: Done) -> None:
        """`done` gets the status and the sector's bytes. BlockingIOError: the ring is full."""
        self._request(READ, sector, bytes(SECTOR), done)

    def write(self, sector: int, data: bytes, done: Done) -> None:
        """`done` gets the status. BlockingIOError: the ring is full."""
        self._request(WRITE, sector, data.ljust(SECTOR, b"\0"), done)

    def _request(self, op: int, sector: int, data: bytes, done: Done) -> None:
        n = self._ring.requests
        if n - self._answered == SLOTS:
            raise BlockingIOError("the ring is full")
        buffer = self._buffers[n % SLOTS]
        self._domain.write(buffer, data[:SECTOR])
        # The backend writes into the page for a read, and only reads it for a write.
        ref = self._grants.grant(buffer, self._backend, readonly=op == WRITE)
        self._waiting[n] = ref, done
        self._ring.put_request(Slot(op, sector, ref))
        self._domain.hypercall.event_channel_op.send(port=self._port)

    def _on_event(self, port: int) -> None:
        while self._answered < self._ring.responses and self._answered in self._waiting:
            n = self._answered
            ref, done = self._waiting.pop(n)
            status = self._ring.slot(n).code
            self._answered += 1
            self._grants.end(ref)
            data = self._domain.read(self._buffers[n % SLOTS], SECTOR) if status == OK else b""
            done(status, data)
