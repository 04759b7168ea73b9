"""The sockets of guest programs: `socket.socket` over the guest TCP.

Non-blocking only: a call that would block raises BlockingIOError whatever the timeout. Left
out: UDP, IPv6, unix sockets, MSG_* flags, out-of-band data, dup. `recv` and `send` are the
only ways to the stack (recv_into, sendmsg and sendall end in them).
"""

from __future__ import annotations

import errno
import os
import socket as host
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from xenemu.guest import _current, session

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xenemu.guest.process import Process

RealSocket = host.socket
type_of = type
_ANY = ("", "0.0.0.0")


def _fail(code: int) -> NoReturn:
    raise OSError(code, os.strerror(code))


def ip_text(ip: int) -> str:
    """Dotted quad of an address in host order."""
    return host.inet_ntoa(ip.to_bytes(4, "big"))


def ip_number(text: str) -> int:
    """Address in host order of a dotted quad; OSError."""
    return int.from_bytes(host.inet_aton(text), "big")


class GuestSocket(RealSocket):
    """A TCP socket of a guest process. Made outside any guest process it is a real socket."""

    _io_refs: int
    _closed: bool

    def __new__(
        cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> GuestSocket:
        if _current.process is None:
            return RealSocket(family, type, proto, fileno)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        if fileno is not None:
            _fail(errno.EBADF)
        if family not in (-1, host.AF_INET):
            _fail(errno.EAFNOSUPPORT)
        if type != -1 and type & 0xF != host.SOCK_STREAM:
            _fail(errno.EPROTONOSUPPORT)
        self._setup(_current.current_process(), -1, None)

    def _setup(self, process: Process, sock: int, bound: tuple[str, int] | None) -> None:
        self._io_refs = 0
        self._closed = False
        self._process = process
        self._node = process.kernel.node
        self._sock = sock  # socket of the stack, -1: none yet
        self._bound = bound
        self._listening = False
        self._timeout: float | None = host.getdefaulttimeout()
        self._options: dict[tuple[int, int], Any] = {}
        self._fd = process.add_fd(self)
        if sock >= 0:
            process.kernel.sockets[sock] = self

    def _call(self, name: str, connected: bool = False) -> int:
        """Before each call: the process lives, the socket is open. The stack's socket."""
        process = self._process
        if process.exited:
            process.check_alive()
            _fail(errno.EBADF)
        if self._closed:
            _fail(errno.EBADF)
        if connected and (self._sock < 0 or self._listening):
            _fail(errno.ENOTCONN)
        hook = process.kernel.socket_call_hook
        if hook is not None:
            hook(process, name, True)
            process.check_alive()
        return self._sock

    def _done(self, name: str) -> None:
        """After each call that reached the stack."""
        hook = self._process.kernel.socket_call_hook
        if hook is not None:
            hook(self._process, name, False)
            self._process.check_alive()

    # opening

    def bind(self, address: Any) -> None:
        """Any address, or the node's own; the port is taken at listen() or connect()."""
        self._call("bind")
        name, port = address[0], int(address[1])
        if self._bound is not None or self._sock >= 0:
            _fail(errno.EINVAL)
        if name not in _ANY and ip_number(name) != self._node.addr:
            _fail(errno.EADDRNOTAVAIL)
        self._bound = (name or "0.0.0.0", port)

    def listen(self, backlog: int = 128, /) -> None:
        """Opens the port; EADDRINUSE. Again: no effect."""
        self._call("listen")
        if self._listening:
            return
        if self._sock >= 0:
            _fail(errno.EINVAL)
        port = self._bound[1] if self._bound is not None else 0
        self._sock = self._node.listen(port, max(1, backlog), session.current())
        self._listening = True
        self._process.kernel.sockets[self._sock] = self
        self._done("listen")
        for hook in self._process.kernel.listen_hooks:
            hook(self._process, port)

    def accept(self) -> tuple[RealSocket, Any]:
        """The next connection and the peer's address."""
        sock = self._call("accept")
        if not self._listening:
            _fail(errno.EINVAL)
        child = self._node.accept(sock)
        session.enter(self._node.session(child))
        conn = RealSocket.__new__(GuestSocket)
        conn._setup(self._process, child, self._bound)
        self._done("accept")
        return conn, conn.getpeername()

    def connect(self, address: Any) -> None:
        """Begins the handshake; BlockingIOError(EINPROGRESS) as a rule."""
        code = self.connect_ex(address)
        if code:
            _fail(code)

    def connect_ex(self, address: Any) -> int:
        """As connect, but returns the errno."""
        sock = self._call("connect")
        if self._listening:
            return errno.EINVAL
        if sock >= 0:
            code = self._node.connected(sock)
            return {0: errno.EISCONN, errno.EINPROGRESS: errno.EALREADY}.get(code, code)
        local_port = self._bound[1] if self._bound is not None else 0
        try:
            self._sock = self._node.connect(
                ip_number(address[0]), int(address[1]), local_port, session.current()
            )
        except OSError as error:
            return error.errno or errno.EIO
        self._process.kernel.sockets[self._sock] = self
        self._process.loop.guest_selector.mark(self._fd)
        self._done("connect")
        return self._node.connected(self._sock)

    # data

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Up to bufsize bytes; b"" at the end of the stream."""
        sock = self._call("recv", connected=True)
        if flags:
            _fail(errno.EOPNOTSUPP)
        data = self._node.recv(sock, bufsize)
        self._done("recv")
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Into a buffer; the bytes received."""
        sock = self._call("recv", connected=True)
        if flags:
            _fail(errno.EOPNOTSUPP)
        view = memoryview(buffer).cast("B")
        n = self._node.recv_into(sock, view[:nbytes] if nbytes else view)
        self._done("recv")
        return n

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Bytes taken by the stack."""
        sock = self._call("send", connected=True)
        n = self._node.send(sock, data)
        self._done("send")
        return n

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """All or BlockingIOError: never waits, so use loop.sock_sendall."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view) :]

    def sendmsg(
        self, buffers: Iterable[Buffer], ancdata: Any = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Several buffers, each by send(); bytes taken."""
        total = 0
        for buffer in buffers:
            size = memoryview(buffer).nbytes
            if not size:
                continue
            try:
                sent = self.send(buffer)
            except BlockingIOError:
                if total:
                    return total
                raise
            total += sent
            if sent < size:
                break
        return total

    def shutdown(self, how: int, /) -> None:
        """SHUT_WR and SHUT_RDWR end the sending direction; SHUT_RD has no effect."""
        sock = self._call("shutdown", connected=True)
        if how != host.SHUT_RD:
            self._node.shutdown(sock)
            self._done("shutdown")

    # closing

    def close(self) -> None:
        """Closes; what is queued is still sent. Nothing happens in a dead process."""
        if self._closed or self._process.exited:
            return
        if self._sock >= 0:
            self._call("close")
        self.release(dropped=False)

    def release(self, *, dropped: bool) -> None:
        """Gives the socket back to the stack, as the service or as the kernel's clean-up."""
        self._closed = True
        self._process.fds.pop(self._fd, None)
        sock, self._sock = self._sock, -1
        if sock >= 0:
            self._process.kernel.sockets.pop(sock, None)
            (self._node.drop_socket if dropped else self._node.close_socket)(sock)

    def detach(self) -> int:
        """Not supported in full: the fd stays open until the process ends."""
        fd, self._fd = self._fd, -1
        self._closed = True
        return fd

    def fileno(self) -> int:
        """A number of the process; -1 after close."""
        return -1 if self._closed else self._fd

    def poll(self) -> int:
        """Readiness bits, for the selector."""
        return self._node.poll(self._sock) if self._sock >= 0 else 0

    # names and options

    def getsockname(self) -> Any:
        """(address, port)"""
        if self._closed:
            _fail(errno.EBADF)
        if self._sock < 0:
            return self._bound or ("0.0.0.0", 0)
        ip, port, _, _ = self._node.socket_names(self._sock)
        if self._listening:
            return (self._bound or ("0.0.0.0", 0))[0], port
        return ip_text(ip), port

    def getpeername(self) -> Any:
        """(address, port); ENOTCONN"""
        if self._closed:
            _fail(errno.EBADF)
        if self._sock < 0 or self._listening:
            _fail(errno.ENOTCONN)
        _, _, ip, port = self._node.socket_names(self._sock)
        return ip_text(ip), port

    def getsockopt(self, level: int, option: int, buflen: int = 0, /) -> Any:
        """SO_ERROR is the handshake's; others are what was set."""
        if (level, option) == (host.SOL_SOCKET, host.SO_ERROR):
            if self._sock < 0 or self._listening:
                return 0
            code = self._node.connected(self._sock)
            return 0 if code == errno.EINPROGRESS else code
        if (level, option) == (host.SOL_SOCKET, host.SO_TYPE):
            return int(host.SOCK_STREAM)
        return self._options.get((level, option), 0)

    def setsockopt(self, level: int, option: int, value: Any, optlen: Any = None, /) -> None:
        """Remembered, without effect on the stack."""
        self._options[level, option] = value

    def setblocking(self, flag: bool, /) -> None:
        """Remembered; calls never block."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None, /) -> None:
        """Remembered; calls never block."""
        self._timeout = value

    def gettimeout(self) -> float | None:
        """What was set."""
        return self._timeout

    def getblocking(self) -> bool:
        """What was set."""
        return self._timeout != 0.0

    @property
    def timeout(self) -> float | None:
        """What was set."""
        return self._timeout

    @property
    def family(self) -> host.AddressFamily:
        """AF_INET"""
        return host.AF_INET

    @property
    def type(self) -> host.SocketKind:
        """SOCK_STREAM"""
        return host.SOCK_STREAM

    @property
    def proto(self) -> int:
        """IPPROTO_TCP"""
        return host.IPPROTO_TCP

    def get_inheritable(self) -> bool:
        """False"""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """No effect."""

    def dup(self) -> NoReturn:
        """Not supported."""
        _fail(errno.EOPNOTSUPP)

    def __repr__(self) -> str:
        return f"<GuestSocket fd={self.fileno()} of {self._process.name}[{self._process.pid}]>"


class SelfPipe:
    """Stands in for a loop's self-pipe: never readable, a write wakes the process."""

    def __init__(self, process: Process, fd: int) -> None:
        self._process = process
        self._fd = fd

    def fileno(self) -> int:
        """A reserved fd of the process."""
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """No effect."""

    def recv(self, n: int) -> NoReturn:
        """Never anything."""
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def send(self, data: bytes) -> int:
        """Wakes the process."""
        self._process.wake()
        return len(data)

    def close(self) -> None:
        """No effect."""
