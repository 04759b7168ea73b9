"""A level-triggered selector over guest sockets.

State: registered keys, and the candidates: fds that may be ready. An fd becomes a candidate by
an edge from the stack (`mark`) and when it is registered or modified; `select` polls the
candidates only and forgets those that are not ready. So idle connections cost nothing.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping
from typing import Any

from xenemu.machine import HANGUP, READABLE, WRITABLE

_EVENTS = tuple(
    (selectors.EVENT_READ if bits & (READABLE | HANGUP) else 0)
    | (selectors.EVENT_WRITE if bits & (WRITABLE | HANGUP) else 0)
    for bits in range(8)
)


class GuestSelector(selectors.BaseSelector):
    """`poll(fd)` gives the readiness bits of an fd of the process."""

    def __init__(self, poll: Callable[[int], int]) -> None:
        self._poll = poll
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._candidates: dict[int, None] = {}

    def mark(self, fd: int) -> bool:
        """The stack says that fd gained readiness. True if someone waits for fd."""
        if fd not in self._keys:
            return False
        self._candidates[fd] = None
        return True

    def mark_all(self) -> bool:
        """Polls everything again. True if someone waits."""
        self._candidates.update(dict.fromkeys(self._keys))
        return bool(self._candidates)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Adds an fd, or an object that has one; KeyError if it is there already."""
        fd = _fd_of(fileobj)
        if fd in self._keys:
            raise KeyError(f"fd {fd} is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._candidates[fd] = None
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Removes an fd; KeyError if it is not there."""
        fd = _fd_of(fileobj)
        self._candidates.pop(fd, None)
        return self._keys.pop(fd)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Changes what is waited for."""
        fd = _fd_of(fileobj)
        if fd not in self._keys:
            raise KeyError(f"fd {fd} is not registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._candidates[fd] = None
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The ready keys, in the order in which they became candidates. Never waits."""
        ready = []
        for fd in list(self._candidates):
            key = self._keys[fd]
            events = _EVENTS[self._poll(fd) & 7] & key.events
            if events:
                ready.append((key, events))
            else:
                del self._candidates[fd]
        return ready

    def pending(self) -> bool:
        """Something is ready now: the loop must run again at this instant."""
        for fd in list(self._candidates):
            if _EVENTS[self._poll(fd) & 7] & self._keys[fd].events:
                return True
            del self._candidates[fd]
        return False

    def close(self) -> None:
        """Forgets everything."""
        self._keys.clear()
        self._candidates.clear()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The key of an fd; KeyError."""
        return self._keys[_fd_of(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Keys by fd."""
        return self._keys


def _fd_of(fileobj: Any) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(fd, int) or fd < 0:
        raise ValueError(f"bad fd {fd!r}")
    return fd
