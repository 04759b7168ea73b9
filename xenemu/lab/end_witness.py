"""The witness of connections that the service opened: to a client, or to an end server.

By the packets at their own interface, as witness.py does for those that the client opened:

  - one SYN of the service, one SYN/ACK; a service that takes over goes on where the other was
  - no reset, either way; each byte is the same each time; acks, timestamps and FINs as there
  - at an end server no request is there twice, on whatever connections: those of a scenario are
    all different
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from xenemu.lab.witness import ACK, RST, SYN, Connection, Segment, Stream, Witness

REQUEST = re.compile(rb"[A-Z]+ /\S* HTTP/1\.\d\r\n")


@dataclass(slots=True)
class Accepted(Connection):
    """A connection that the service opened. `sent`: of who accepted it."""

    answered: bool = False

    def client_says(self, segment: Segment) -> None:
        """A segment of who accepted it."""
        if segment.flags & SYN:
            if not self.answered:
                self.sent.isn = segment.seq
            elif self.sent.isn != segment.seq:
                self._complain(self.broken, "two handshakes")
            self.answered = True
        super(Accepted, self).client_says(segment)

    def _handshake(self, segment: Segment) -> None:
        assert self.received is not None
        if segment.flags & ACK or segment.seq != self.received.isn:
            self._complain(self.broken, "a second SYN of the service")

    def end(self) -> None:
        """Nothing more will come."""
        if not self.answered:
            self._complain(self.broken, "no handshake")
            return
        super(Accepted, self).end()


@dataclass(slots=True)
class AtEndServer(Accepted):
    """One that an end server accepted."""

    own: ClassVar[str] = "end server"


class BothWays(Witness):
    """Follows the connections of one node with services, whoever opened them."""

    accepted: ClassVar[type[Accepted]] = Accepted

    def _receiver(self, segment: Segment) -> Connection | None:
        key = (segment.destination_port, segment.source, segment.source_port)
        known = self._open.get(key)
        if segment.flags & (SYN | ACK | RST) != SYN:
            return known
        again = known is not None and known.over and not self._of(known, segment)
        if known is None or again:
            name = (
                f"{self.accepted.own}'s port {segment.destination_port} from {segment.source_port}"
            )
            reused = known is not None
            known = self.accepted(name, Stream(0), self._in_order, reused, Stream(segment.seq))
            self._open[key] = known
            self.connections.append(known)
        return known

    @staticmethod
    def _of(connection: Connection, segment: Segment) -> bool:
        """The SYN is the one that began the connection."""
        return connection.received is not None and connection.received.isn == segment.seq


class EndWitness(BothWays):
    """Follows the connections of services to one end server's node."""

    accepted = AtEndServer

    def verdict(self) -> tuple[list[str], list[str]]:
        """As of the client's witness, and requests that came more than once."""
        wrong, broken = super().verdict()
        seen: set[bytes] = set()
        for connection in self.connections:
            assert connection.received is not None
            for request in REQUEST.findall(connection.received.data):
                if request in seen:
                    wrong.append(f"{connection.name}: again {request.decode('latin-1').strip()}")
                seen.add(request)
        return wrong, broken
