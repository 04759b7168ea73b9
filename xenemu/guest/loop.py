"""The event loop of a guest process: asyncio's own, over a fake selector and machine time.

Stepped with `stop(); run_forever()`: exactly one iteration. Every way to give it work
(call_soon, call_at, a socket's edge) wakes the process in its kernel's queue. No threads, no
self-pipe, no subprocesses; tasks and futures hash by sequence number, so that sets of them
have one order.
"""

from __future__ import annotations

import asyncio
import heapq
import io
import math
import socket as host
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, NoReturn

from xenemu.guest.resolver import getnameinfo, resolve
from xenemu.guest.selector import GuestSelector
from xenemu.guest.socket import SelfPipe

if TYPE_CHECKING:
    from xenemu.guest.process import Process

NS = 1_000_000_000
SENDFILE_CHUNK = 256 * 1024
_SELF_PIPE_FDS = (0, 1)


class GuestTask(asyncio.Task[Any]):
    """A task hashed by its number in the loop."""

    def __init__(self, number: int, coro: Any, **kwargs: Any) -> None:
        self.number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class GuestFuture(asyncio.Future[Any]):
    """A future hashed by its number in the loop."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class GuestLoop(asyncio.SelectorEventLoop):
    """The loop of one guest process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.guest_selector = GuestSelector(process.poll_fd)
        self.stop_called = False
        self.signal_handlers: dict[int, Callable[[], object]] = {}
        self.tasks: list[GuestTask] = []  # strong references; pruned of done ones
        self._prune_at = 64
        self._number = 0
        self._node = process.kernel.node
        self._deadlines: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._armed: int | None = None
        with process.patched_pipe(*(SelfPipe(process, fd) for fd in _SELF_PIPE_FDS)):
            super().__init__(self.guest_selector)

    def step(self) -> None:
        """One iteration. Only SystemExit and KeyboardInterrupt leave it."""
        super().stop()
        super().run_forever()

    def time(self) -> float:
        """Machine time in seconds."""
        return self._node.now / NS

    def stop(self) -> None:
        """The program ends its loop: the process exits after this step."""
        self.stop_called = True
        self.process.wake()

    # waking the process

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio."""
        process = self.process
        if not process.queued:
            process.wake()
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As call_soon: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio; arms the node's timer when this deadline is the first."""
        handle = super().call_at(when, callback, *args, context=context)
        self._number += 1
        heapq.heappush(self._deadlines, (when, self._number, handle))
        self._arm(when)
        return handle

    def _arm(self, when: float) -> None:
        now = self._node.now
        at = max(math.ceil(when * NS), now) if when < 1e9 else now + 10**18
        if self._armed is None or at < self._armed:
            self._armed = at
            if at <= now:
                self.process.wake()
            else:
                self.process.arm_timer(at)

    def timer_due(self) -> None:
        """The node's timer (or a tick after a pause): wakes the process when one is due."""
        if self._armed is not None and self._armed <= self._node.now:
            self.process.wake()

    def after_step(self) -> None:
        """Arms the next deadline, wakes again for sockets still ready, forgets done tasks."""
        now = self._node.now
        if self._armed is not None and self._armed <= now:
            self._armed = None
            heap = self._deadlines
            while heap and not _to_come(heap[0][2]):
                heapq.heappop(heap)
            if heap:
                self._arm(heap[0][0])
        if self.guest_selector.pending():
            self.process.wake()
        if len(self.tasks) >= self._prune_at:
            self.tasks = [task for task in self.tasks if not task.done()]
            self._prune_at = max(64, 2 * len(self.tasks))

    # futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a number."""
        self._number += 1
        return GuestFuture(self._number, self)

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        """A task with a number, referenced until it is done."""
        self._number += 1
        name = kwargs.pop("name", None)
        task = GuestTask(
            self._number, coro, loop=self, name=name or f"Task-{self._number}", **kwargs
        )
        self.tasks.append(task)
        return task

    # what would leave the process

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Names are looked up where the kernel can."""
        return await resolve(self.process, host, port, family, type, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Without DNS."""
        return getnameinfo(self.process.kernel, sockaddr, flags)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Inline: a guest process has one thread."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its result
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def set_default_executor(self, executor: Any) -> None:
        """No effect."""

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Any, *args: Any
    ) -> None:
        """Signals of the guest kernel, never of the host."""
        self.signal_handlers[int(sig)] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        """True if there was one."""
        return self.signal_handlers.pop(int(sig), None) is not None

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("a guest process can't start a host process")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("a guest process can't start a host process")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Silent once the process is dead."""
        if not self.process.exited:
            super().call_exception_handler(context)

    # files (asyncio's own fallback sends wrong bytes to slow readers on CPython 3.12+)

    async def sendfile(
        self,
        transport: Any,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Reads and writes by chunks, each a bytes object of its own; bytes sent."""
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        writer = _SendfileProtocol(self, transport)
        try:
            total = 0
            for chunk in _chunks(file, offset, count):
                await writer.drain()
                transport.write(chunk)
                total += len(chunk)
            await writer.drain()
            return total
        finally:
            writer.restore()

    async def sock_sendfile(
        self,
        sock: host.socket,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> int:
        """Reads and sends by chunks; bytes sent."""
        total = 0
        for chunk in _chunks(file, offset, count):
            await self.sock_sendall(sock, chunk)
            total += len(chunk)
        return total


def _chunks(file: io.BufferedIOBase, offset: int, count: int | None) -> Any:
    """Pieces of a file; leaves its position after the last piece."""
    file.seek(offset)
    while count is None or count > 0:
        chunk = file.read(SENDFILE_CHUNK if count is None else min(SENDFILE_CHUNK, count))
        if not chunk:
            return
        if count is not None:
            count -= len(chunk)
        yield chunk


class _SendfileProtocol(asyncio.Protocol):
    """Takes a transport's flow control while a file is sent, then gives it back."""

    def __init__(self, loop: GuestLoop, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._reading = transport.is_reading()
        self._high = transport.get_write_buffer_limits()[1]
        self._paused = False  # by the transport, while this protocol was its own
        self._waiter: asyncio.Future[Any] | None = None
        self._lost: Exception | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def drain(self) -> None:
        """Waits while more than the high-water mark is queued; the transport is paused then."""
        while self._lost is None and self._transport.get_write_buffer_size() > self._high:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._lost is not None:
            raise self._lost
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        if self._paused:
            self._paused = False
        else:
            self._protocol.resume_writing()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionError("Connection closed by peer")
        self._paused = False
        self._wake()
        self._protocol.connection_lost(exc)

    def eof_received(self) -> bool | None:
        result: bool | None = self._protocol.eof_received()
        return result

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def restore(self) -> None:
        """The transport belongs to its own protocol again."""
        if self._lost is not None:
            return
        self._transport.set_protocol(self._protocol)
        if self._paused:
            self._protocol.pause_writing()
        if self._reading and not self._transport.is_closing():
            self._transport.resume_reading()


def _to_come(timer: asyncio.TimerHandle) -> bool:
    """asyncio has not run it yet: one made in this step can be due at this instant."""
    scheduled: bool = timer._scheduled  # type: ignore[attr-defined]
    return scheduled and not timer.cancelled()
