"""A wrapper of an author's own: handlers in Python where that costs no packet anything, else in C.

A Wrapper owns its struct wr and the callbacks in it: it must live as long as the machine that
it is added to, and belongs to that one. What a handler raises is a bug of the profile: the
traceback is printed and kept, and all goes on. What the handler's operation has done counts, so
that no byte is lost; without one the call answers EIO, and the packet is dropped.
"""

from __future__ import annotations

import _thread
import errno
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from ozs.ftapi.binding import ffi, lib
from ozs.ftapi.objects import (
    Call,
    CallKind,
    Packet,
    PacketKind,
    Side,
    States,
    Verdict,
    checked,
    operation,
)

PacketHandler = Callable[[Packet], int]
CallHandler = Callable[[Call], int | None]
P = TypeVar("P", bound=PacketHandler)
C = TypeVar("C", bound=CallHandler)

KEPT_ERRORS = 16
_SEGMENTS = (PacketKind.REC_ACK, PacketKind.SND_ACK)


class Wrapper:
    """A protected port. `c` is its struct wr."""

    def __init__(self, port: int, *, sessions: bool = False) -> None:
        """wr_create; `sessions`: see sessions(). ValueError: no such port."""
        if not 0 < port < 65536:
            raise ValueError(f"no such port: {port}")
        self.port = port
        self.errors: deque[str] = deque(maxlen=KEPT_ERRORS)  # tracebacks of handlers
        self.failures = 0  # handlers that raised, all in all
        self.states = States()
        self._callbacks: dict[tuple[Side, int, bool], Any] = {}
        self._kept: list[object] = []
        self._done: int | None = None  # by the handler that has just failed
        out = ffi.new("struct wr **")
        checked(lib.wr_create(out, port))
        self.c = ffi.gc(out[0], lib.wr_destroy)
        if sessions:
            self.sessions()

    @property
    def address(self) -> int:
        """Of its struct wr."""
        return int(ffi.cast("uintptr_t", self.c))

    def plain(self) -> Wrapper:
        """wr_plain: every operation, where there is no handler yet. Itself."""
        checked(lib.wr_plain(self.c))
        return self

    def sessions(self) -> Wrapper:
        """wr_sessions: what the service opens for a connection is protected with it, and parts
        can be removed. Itself."""
        lib.wr_sessions(self.c)
        self.states.sessions = True
        return self

    def keep(self, thing: object) -> None:
        """Something that C handlers need lives as long as this wrapper."""
        self._kept.append(thing)

    # handlers in Python; each takes the place of the stock operation

    def on_read(self, side: Side = Side.CLIENT) -> Callable[[C], C]:
        """The service reads; the handler answers as Call.read."""
        return self._on_call(side, CallKind.READ)

    def on_write(self, side: Side = Side.CLIENT) -> Callable[[C], C]:
        """The service writes; the handler answers as Call.write."""
        return self._on_call(side, CallKind.WRITE)

    def on_close(self, side: Side = Side.CLIENT) -> Callable[[C], C]:
        """The service closes its sending side, or all. Without a Call.close no FIN goes out."""
        return self._on_call(side, CallKind.CLOSE)

    def on_syn(self, side: Side = Side.CLIENT) -> Callable[[P], P]:
        """A SYN came from a client, or goes to a server."""
        kind = PacketKind.SND_SYN if side is Side.SERVER else PacketKind.REC_SYN
        return self.on_packet(side, kind)

    def on_fin(self, side: Side = Side.CLIENT, *, sent: bool = False) -> Callable[[P], P]:
        """A FIN came, or is sent."""
        return self.on_packet(side, PacketKind.SND_FIN if sent else PacketKind.REC_FIN)

    def on_rst(self, side: Side = Side.CLIENT, *, sent: bool = False) -> Callable[[P], P]:
        """A RST came, or is sent."""
        return self.on_packet(side, PacketKind.SND_RST if sent else PacketKind.REC_RST)

    def on_packet(self, side: Side, kind: PacketKind) -> Callable[[P], P]:
        """Any kind but data segments: ValueError, since no Python runs for each of those. So does
        a kind that this side never sees."""
        operation(side, kind)
        if kind in _SEGMENTS:
            raise ValueError(f"{kind.name}: only operations and handlers in C run per segment")

        def install(handler: P) -> P:
            def run(c: Any, _context: Any) -> int:
                packet = Packet(c, side, kind)
                with self._keeps_result(packet):
                    return int(Verdict(handler(packet)))

            self._put(side, kind, run, Verdict.DROP)
            return handler

        return install

    def _on_call(self, side: Side, kind: CallKind) -> Callable[[C], C]:
        def install(handler: C) -> C:
            def run(c: Any, _context: Any) -> int:
                call = Call(c, side, kind, self.states)
                if kind is CallKind.CLOSE:
                    return self._close(handler, call)
                with self._keeps_result(call):
                    result = handler(call)
                    if result is None:
                        raise TypeError(f"the {kind.name} handler gave no result")
                    return result

            self._put(side, kind, run, -errno.EIO)
            return handler

        return install

    def _close(self, handler: CallHandler, call: Call) -> int:
        try:
            handler(call)
        except BaseException:
            if not call.ended:  # a peer is not to wait for ever because of a bug
                call.close()
            raise
        finally:
            if call.all:
                self.states.over(call.connection.c)
        return 0

    # handlers in C

    def install(self, side: Side, kind: PacketKind | CallKind, handler: Any) -> None:
        """wr_ins_ssw or wr_ins_nsw of a C function (cffi): a stock operation, or an author's own.
        OSError: EEXIST, EINVAL."""
        if isinstance(kind, CallKind):
            checked(lib.wr_ins_nsw(self.c, side, kind, handler, ffi.NULL))
        else:
            checked(lib.wr_ins_ssw(self.c, side, kind, handler, ffi.NULL))

    def uninstall(self, side: Side, kind: PacketKind | CallKind) -> None:
        """wr_unins_ssw or wr_unins_nsw. OSError ENOENT."""
        call = isinstance(kind, CallKind)
        checked((lib.wr_unins_nsw if call else lib.wr_unins_ssw)(self.c, side, kind))
        self._callbacks.pop((side, kind, call), None)

    def _put(self, side: Side, kind: PacketKind | CallKind, run: Any, error: int) -> None:
        call = isinstance(kind, CallKind)
        key = (side, int(kind), call)
        if key in self._callbacks:
            raise OSError(errno.EEXIST, f"{kind.name} has a handler already")
        # A stock operation gives way; cffi keeps what C calls alive as long as we keep it.
        (lib.wr_unins_nsw if call else lib.wr_unins_ssw)(self.c, side, kind)
        shape = "wr_nsw_handler *" if call else "wr_ssw_handler *"
        handler = ffi.callback(shape, run, error=error, onerror=self._failed)
        self.install(side, kind, handler)
        self._callbacks[key] = handler

    @contextmanager
    def _keeps_result(self, what: Call | Packet) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._done = what.result
            raise

    def _failed(self, kind: Any, error: BaseException, where: TracebackType | None) -> Any:
        """cffi tells of an exception that it can't hand on through C; what C gets in its place."""
        done, self._done = self._done, None
        if issubclass(kind, KeyboardInterrupt):
            _thread.interrupt_main()
            return done
        text = "".join(traceback.format_exception(kind, error, where))
        self.failures += 1
        self.errors.append(text)
        print(f"port {self.port}: a handler of its wrapper failed\n{text}", file=sys.stderr, end="")
        return done
