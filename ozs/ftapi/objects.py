"""What handlers in Python are given: a packet or a socket call, and its connection.

They are views of what C owns. A Packet or a Call is good until its handler returns, a Connection
until its session ends; none is to be kept longer.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from ozs.ftapi.binding import WR_ALL, ffi, lib
from xenemu.guest import Kernel, current_process


class Side(enum.IntEnum):
    """Who opened the connection."""

    CLIENT = lib.WR_CLIENT_SIDE
    SERVER = lib.WR_SERVER_SIDE


class Verdict(enum.IntEnum):
    """What becomes of a packet."""

    PASS = lib.WR_PASS
    DROP = lib.WR_DROP


class PacketKind(enum.IntEnum):
    """A packet's, by what it does first: RST, SYN, FIN, else ACK."""

    REC_SYN = lib.WR_REC_SYN
    REC_SAA = lib.WR_REC_SAA
    REC_ACK = lib.WR_REC_ACK
    REC_FIN = lib.WR_REC_FIN
    REC_RST = lib.WR_REC_RST
    SND_SYN = lib.WR_SND_SYN
    SND_SAA = lib.WR_SND_SAA
    SND_ACK = lib.WR_SND_ACK
    SND_FIN = lib.WR_SND_FIN
    SND_RST = lib.WR_SND_RST


class CallKind(enum.IntEnum):
    """A socket call."""

    READ = lib.WR_READ
    WRITE = lib.WR_WRITE
    CLOSE = lib.WR_CLOSE


_CODE = {Side.CLIENT: "c", Side.SERVER: "s"}
_NEVER = {(Side.CLIENT, PacketKind.REC_SAA), (Side.CLIENT, PacketKind.SND_SYN),
          (Side.SERVER, PacketKind.REC_SYN), (Side.SERVER, PacketKind.SND_SAA)}  # fmt: skip


def operation(side: Side, kind: PacketKind) -> Any:
    """The stock operation of a kind of packet, cs_rec_syn and so on. ValueError: there is none."""
    if (side, kind) in _NEVER:
        raise ValueError(f"no {kind.name} on the {side.name.lower()} side")
    return getattr(lib, f"{_CODE[side]}s_{kind.name.lower()}")


def checked(result: int) -> int:
    """A result of the API, or its OSError."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class States:
    """The dicts of a wrapper's connections. A new connection is one whose wr_state is zero."""

    def __init__(self) -> None:
        self.sessions = False  # of the wrapper
        self._next = 1
        self._of: WeakKeyDictionary[object, dict[int, tuple[int, dict[str, Any]]]] = (
            WeakKeyDictionary()
        )

    def _home(self) -> dict[int, tuple[int, dict[str, Any]]]:
        """By address, of the kernel that runs: with it they go."""
        owner: States | Kernel = self
        try:
            owner = current_process().kernel
        except RuntimeError:
            pass
        return self._of.setdefault(owner, {})

    def of(self, conn: Any) -> dict[str, Any]:
        """The dict of a connection."""
        number = ffi.cast("uint64_t *", lib.wr_state(conn))
        key, home = int(ffi.cast("uintptr_t", number)), self._home()
        known = home.get(key)
        if known is None or known[0] != number[0]:
            number[0], self._next = self._next, self._next + 1
            known = home[key] = (number[0], {})
        return known[1]

    def over(self, conn: Any) -> None:
        """The service has closed it. Dicts go when it has closed all of the session."""
        root = lib.wr_root(conn)
        session = [root]
        while (conn := lib.wr_next(session[-1])) != ffi.NULL:
            session.append(conn)
        if all(lib.wr_closed(conn) for conn in session):
            home = self._home()
            for conn in session:
                home.pop(int(ffi.cast("uintptr_t", lib.wr_state(conn))), None)

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))


class Connection:
    """A protected connection, as the north side knows it. Offsets are those of its streams.

    Requests are what a client-side connection receives and a server-side one sends.
    """

    __slots__ = ("_states", "c")

    def __init__(self, c: Any, states: States) -> None:
        self.c = c  # struct wr_conn *
        self._states = states

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and bool(self.c == other.c)

    def __hash__(self) -> int:
        return hash(self.c)

    @property
    def side(self) -> Side:
        """Who opened it."""
        return Side(lib.wr_side_of(self.c))

    @property
    def read_so_far(self) -> int:
        """Offset of the next byte that the service reads."""
        return int(lib.wr_read_so_far(self.c))

    @property
    def written_so_far(self) -> int:
        """Offset of the next byte that it writes."""
        return int(lib.wr_written_so_far(self.c))

    @property
    def closed(self) -> bool:
        """By the service."""
        return bool(lib.wr_closed(self.c))

    @property
    def state(self) -> dict[str, Any]:
        """The handlers' own, empty at first: in a replay, too, which fills it again."""
        return self._states.of(self.c)

    @property
    def root(self) -> Connection:
        """The session's."""
        return Connection(lib.wr_root(self.c), self._states)

    def session(self) -> Iterator[Connection]:
        """The root, then the others in the order in which they came."""
        conn = lib.wr_root(self.c)
        while conn != ffi.NULL:
            yield Connection(conn, self._states)
            conn = lib.wr_next(conn)

    def mark(self) -> bool:
        """A removable range of the output may begin or end here. False: not now."""
        self._need_sessions()
        return bool(lib.as_mark(self.c) == 0)

    def remove_request(self, begin: int = 0, end: int = WR_ALL) -> bool:
        """[begin, end) of the requests is not to be replayed. What one handler removes in one
        session goes together. OSError EINVAL: not a mark, or not there; False: no room for it."""
        return self._cut(lib.as_remove_request, begin, end)

    def remove_response(self, begin: int = 0, end: int = WR_ALL) -> bool:
        """[begin, end) of the responses, as remove_request."""
        return self._cut(lib.as_remove_response, begin, end)

    def elide_request(self, begin: int, end: int) -> bool:
        """Bytes that nobody looks at: a replay has zeros there, uncompared. As remove_request."""
        return self._cut(lib.as_elide_request, begin, end)

    def elide_response(self, begin: int, end: int) -> bool:
        """The same of the responses."""
        return self._cut(lib.as_elide_response, begin, end)

    def _cut(self, operation: Any, begin: int, end: int) -> bool:
        self._need_sessions()
        result = operation(self.c, begin, end)
        return result != -errno.ENOSPC and checked(result) >= 0

    def _need_sessions(self) -> None:
        if not self._states.sessions:
            raise ValueError("a wrapper without sessions() keeps all of its connections")


class Packet:
    """A packet that passes the south side."""

    __slots__ = ("c", "kind", "result", "side")

    def __init__(self, c: Any, side: Side, kind: PacketKind) -> None:
        self.c = c  # struct wr_packet *
        self.side = side
        self.kind = kind
        self.result: int | None = None  # of the operation, if it was called

    def stock(self) -> Verdict:
        """What wr_plain would do with it."""
        self.result = Verdict(operation(self.side, self.kind)(self.c))
        return self.result


class Call:
    """A socket call that passes the north side."""

    __slots__ = ("c", "connection", "ended", "kind", "result", "side")

    def __init__(self, c: Any, side: Side, kind: CallKind, states: States) -> None:
        self.c = c  # struct wr_call *
        self.side = side
        self.kind = kind
        self.connection = Connection(lib.wr_connection(c), states)
        self.result: int | None = None  # of the last read() or write()
        self.ended = False  # close() was called

    @property
    def length(self) -> int:
        """Of the service's buffer: what is to be written, or may be read at most."""
        return int(lib.wr_length(self.c))

    def bytes(self, n: int) -> bytes:
        """The first n bytes: written, or, after read(), read."""
        if not 0 <= n <= self.length:
            raise ValueError(f"{n} bytes of {self.length}")
        return bytes(ffi.buffer(lib.wr_bytes(self.c), n)) if n else b""

    @property
    def all(self) -> bool:
        """Of a close: of both directions."""
        return bool(lib.wr_ends(self.c))

    def read(self) -> int:
        """cn_read_request or sn_read_response: bytes, 0 at the end of the stream, or -errno."""
        operation = lib.sn_read_response if self.side else lib.cn_read_request
        self.result = int(operation(self.c))
        return self.result

    def write(self, n: int | None = None) -> int:
        """cn_write_response or sn_write_request of n bytes (all): those taken, or -errno."""
        operation = lib.sn_write_request if self.side else lib.cn_write_response
        self.result = int(operation(self.c, self.length if n is None else n))
        return self.result

    def date(self) -> None:
        """An HTTP date comes next in the output: as_volatile_date."""
        checked(lib.as_volatile_date(self.c))

    def close(self) -> None:
        """wr_close: the service wants its FIN to go out."""
        lib.wr_close(self.c)
        self.ended = True
