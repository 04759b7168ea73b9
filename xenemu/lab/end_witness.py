"""The witness at an end server: as witness.py, at the end server's own interface.

Besides, no request is there twice, on whatever connections: those of a scenario are all different.
"""

import re

from xenemu.lab.witness import Witness

REQUEST = re.compile(rb"[A-Z]+ /\S* HTTP/1\.\d\r\n")


class EndWitness(Witness):
    """Follows the connections of services to one end server's node."""

    def __init__(self, node: int, in_order: bool) -> None:
        """As Witness."""
        super().__init__(node, in_order, "end server")

    def verdict(self) -> tuple[list[str], list[str]]:
        """As of the client's witness, and requests that came more than once."""
        wrong, broken = super().verdict()
        seen: set[bytes] = set()
        for connection in self.connections:
            requests = b"" if connection.received is None else connection.received.data
            for request in REQUEST.findall(requests):
                if request in seen:
                    wrong.append(f"{connection.name}: again {request.decode('latin-1').strip()}")
                seen.add(request)
        return wrong, broken
