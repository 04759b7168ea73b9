"""What a kernel may do with the node it runs on: clock, timers, sockets.

A node is a domain or an ordinary host on the LAN; both give the same interface. Times are
integer nanoseconds of machine time, addresses integers in host order. Errors are OSError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xenemu._core._machine import Machine as Core

READABLE = 1
WRITABLE = 2
HANGUP = 4
TCP_STATES = (  # enum xe_tcp_state of csrc/net/tcp.h
    "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2",
    "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT",
)  # fmt: skip


class Node(Protocol):
    """Clock, timers and the guest TCP of one node."""

    @property
    def id(self) -> int: ...
    @property
    def now(self) -> int: ...
    @property
    def is_domain(self) -> bool: ...
    @property
    def addr(self) -> int: ...
    def set_addr(self, ip: int) -> None: ...
    def arm_timer(self, token: int, at: int) -> None: ...
    def listen(self, port: int, backlog: int, session: int = 0) -> int: ...
    def accept(self, sock: int) -> int: ...
    def session(self, sock: int) -> int: ...
    def connect(self, ip: int, port: int, local_port: int = 0, session: int = 0) -> int: ...
    def connected(self, sock: int) -> int: ...
    def send(self, sock: int, data: Buffer) -> int: ...
    def recv(self, sock: int, n: int) -> bytes: ...
    def recv_into(self, sock: int, buffer: Buffer) -> int: ...
    def shutdown(self, sock: int) -> None: ...
    def close_socket(self, sock: int) -> None: ...
    def drop_socket(self, sock: int) -> None: ...
    def poll(self, sock: int) -> int: ...
    def ready(self) -> list[tuple[int, int]]: ...
    def socket_names(self, sock: int) -> tuple[int, int, int, int]: ...
    def socket_state(self, sock: int) -> str: ...


class CoreNode:
    """The common half of Domain and HostNode. Holds the core but never shows it."""

    __slots__ = ("_core", "_id")

    def __init__(self, core: Core, node: int) -> None:
        self._core = core
        self._id = node

    @property
    def id(self) -> int:
        """Domain id, or HOST | index."""
        return self._id

    @property
    def now(self) -> int:
        """Machine time, ns."""
        return self._core.now

    @property
    def addr(self) -> int:
        """The stack's IPv4 address."""
        return self._core.addr(self._id)

    def set_addr(self, ip: int) -> None:
        """What ``ifconfig`` does."""
        self._core.set_addr(self._id, ip)

    def arm_timer(self, token: int, at: int) -> None:
        """WorkKind.TIMER with this token at machine time `at`; can't be cancelled."""
        self._core.arm_timer(self._id, token, at)

    def listen(self, port: int, backlog: int, session: int = 0) -> int:
        """A listening socket; EADDRINUSE, EMFILE. Port 0: the stack chooses. What it accepts is
        of that session."""
        return self._core.listen(self._id, port, backlog, session)

    def accept(self, sock: int) -> int:
        """The next connection of a listener; BlockingIOError when there is none."""
        return self._core.accept(self._id, sock)

    def session(self, sock: int) -> int:
        """The session of an accepted connection: what is opened on its behalf. 0: none."""
        return self._core.session(self._id, sock)

    def connect(self, ip: int, port: int, local_port: int = 0, session: int = 0) -> int:
        """A socket whose handshake has begun; EADDRINUSE. Local port 0: the stack chooses."""
        return self._core.connect(self._id, ip, port, local_port, session)

    def connected(self, sock: int) -> int:
        """0, or the errno: EINPROGRESS while the handshake runs."""
        return self._core.connected(self._id, sock)

    def send(self, sock: int, data: Buffer) -> int:
        """Bytes taken; BlockingIOError, BrokenPipeError, ConnectionResetError."""
        return self._core.send(self._id, sock, data)

    def recv(self, sock: int, n: int) -> bytes:
        """Up to n bytes; b"" at the end of the stream."""
        return self._core.recv(self._id, sock, n)

    def recv_into(self, sock: int, buffer: Buffer) -> int:
        """Bytes put into the buffer; 0 at the end of the stream."""
        return self._core.recv_into(self._id, sock, buffer)

    def shutdown(self, sock: int) -> None:
        """Ends the sending direction after what is queued."""
        self._core.shutdown(self._id, sock)

    def close_socket(self, sock: int) -> None:
        """The service's own close."""
        self._core.close_socket(self._id, sock)

    def drop_socket(self, sock: int) -> None:
        """Kernel clean-up of a dead process's socket."""
        self._core.drop_socket(self._id, sock)

    def poll(self, sock: int) -> int:
        """READABLE | WRITABLE | HANGUP, now."""
        return self._core.poll(self._id, sock)

    def ready(self) -> list[tuple[int, int]]:
        """Sockets whose readiness gained a bit since the last call, with their bits."""
        return self._core.ready(self._id)

    def socket_names(self, sock: int) -> tuple[int, int, int, int]:
        """Local address and port, peer address and port."""
        return self._core.socket_names(self._id, sock)

    def socket_state(self, sock: int) -> str:
        """Its state in RFC 9293."""
        return TCP_STATES[self._core.socket_state(self._id, sock)]


class HostNode(CoreNode):
    """An ordinary host on the LAN: no domain, no hypercalls."""

    __slots__ = ()

    @property
    def is_domain(self) -> bool:
        """False."""
        return False
