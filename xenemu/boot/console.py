"""What guests print: a ring of lines for each domain.

That of a domain that is gone stays until another domain gets its id.
"""

import errno
from collections import deque
from collections.abc import Iterable

LINES = 1000
MAX_CHARS = 1000  # of a line
Line = tuple[int, str]  # ns since boot, as the event log's; text


class Consoles:
    """The consoles of all domains."""

    def __init__(self) -> None:
        self._rings: dict[int, deque[Line]] = {}

    def start(self, domid: int) -> None:
        """A new domain: nothing printed yet."""
        self._rings[domid] = deque(maxlen=LINES)

    def append(self, domid: int, time: int, text: str) -> None:
        """A line."""
        self._rings[domid].append((time, text[:MAX_CHARS]))

    def domain_ids(self) -> Iterable[int]:
        """Domains that have printed, or could have."""
        return self._rings.keys()

    def lines(self, domid: int, last: int = LINES) -> list[Line]:
        """The last ones; OSError(ESRCH) when there never was such a domain."""
        if domid not in self._rings:
            raise OSError(errno.ESRCH, f"no domain d{domid}")
        return list(self._rings[domid])[-last:] if last else []
