"""Which client's session a task of a guest program works for.

Accepting a connection of a protected session begins it; tasks inherit it (a context variable), and
what they listen to and connect to is made on its behalf.
"""

from contextvars import ContextVar

_session: ContextVar[int] = ContextVar("xenemu_guest_session", default=0)


def enter(token: int) -> None:
    """What is opened from now on, here and in tasks made here, belongs to this session; 0: none."""
    _session.set(token)


def current() -> int:
    """The session's token, 0: none."""
    return _session.get()
