"""The machine: runs the C core and hands its work to kernels and the VMM, in a fixed order.

Owns the core and the table of handlers. Work of a domain that was destroyed (its generation
is stale) is dropped; a domain that is paused, dying or crashed is never stepped. Left out on
purpose: any policy, and threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from xenemu.machine.domain import Domain
from xenemu.machine.node import HostNode, Node
from xenemu.machine.work import WorkKind

if TYPE_CHECKING:
    from xenemu._core._machine import Machine as Core

HOST = 0x10000  # XE_NODE_HOST of csrc/base/work.h
RUNS, HANGS = 0, 2  # enum xe_kernel_fault of csrc/machine.h
SLICE_NS = 100_000_000  # run_forever looks at `stop` at least this often


class NodeHandler(Protocol):
    """A guest kernel, as the machine sees it."""

    def work(self, kind: int, arg: int, a: int, b: int) -> None:
        """One item of work of this node."""

    def runnable(self) -> bool:
        """A process could run now."""

    def run(self) -> None:
        """Gives each runnable process one step."""

    def bury(self) -> None:
        """The node is gone: nothing of it runs any more, not even clean-up."""


class VmmHandler(Protocol):
    """The VMM side, as the machine sees it."""

    def work(self, kind: int, node: int, arg: int, a: int, b: int) -> None:
        """WorkKind.VMM or WorkKind.WRAPPER of a node."""


def open_core(*, frames: int, seed: int, real: bool, trace_records: int) -> Core:
    """The C machine. ImportError when the extension was not built."""
    from xenemu._core._machine import Machine as Core

    return Core(frames=frames, seed=seed, real=real, trace_records=trace_records)


class Machine:
    """One emulated machine. ``core`` is for the VMM side and for tests, never for guests."""

    def __init__(
        self,
        *,
        frames: int = 1 << 16,
        seed: int = 0,
        real: bool = False,
        trace_records: int = 65536,
        core: Core | None = None,
    ) -> None:
        if core is None:
            core = open_core(frames=frames, seed=seed, real=real, trace_records=trace_records)
        self.core = core
        self.real = real
        self.seed = seed
        self._handlers: dict[int, NodeHandler] = {}
        self._order: list[tuple[int, NodeHandler]] = []
        self._generations: dict[int, int] = {}
        self._vmm: list[VmmHandler] = []
        self._fds: dict[int, Callable[[], None]] = {}
        self._owners: list[object] = []  # of wrappers that the core uses
        self._closed = False
        self.tap: Callable[[], None] | None = None  # after each run of the core: drains the capture
        self.turn_hook: Callable[[], None] | None = None  # between two things that are atomic

    @property
    def now(self) -> int:
        """Machine time, ns."""
        return self.core.now

    @property
    def closed(self) -> bool:
        """After close()."""
        return self._closed

    def close(self) -> None:
        """Buries every kernel and frees the machine. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for node in list(self._handlers):
            self.detach(node)
        self.core.close()
        self._owners.clear()

    # handles

    def domain(self, domid: int) -> Domain:
        """The handle that the guest kernel of a domain is given."""
        return Domain(self.core, domid)

    def host(self, node: int) -> HostNode:
        """The handle of an ordinary host, from what core.add_host returned."""
        return HostNode(self.core, node)

    def add_host(
        self,
        ip: int,
        *,
        bits_per_second: int = 0,
        delay: int = 0,
        loss_ppm: int = 0,
        reorder_ppm: int = 0,
        duplicate_ppm: int = 0,
        seed: int = 0,
        max_socks: int = 0,
        buffer: int = 0,
    ) -> HostNode:
        """An ordinary host on the LAN (see Machine.add_host of the core for units)."""
        node = self.core.add_host(
            ip,
            bits_per_second=bits_per_second,
            delay=delay,
            loss_ppm=loss_ppm,
            reorder_ppm=reorder_ppm,
            duplicate_ppm=duplicate_ppm,
            seed=seed,
            max_socks=max_socks,
            buffer=buffer,
        )
        return HostNode(self.core, node)

    def add_wrapper(self, address: int, owner: object) -> int:
        """The profile number of an author's `struct wr`, which `owner` holds; both are kept until
        the machine is closed. OSError: ENOSPC."""
        number = self.core.add_wrapper(address)
        self._owners.append(owner)
        return number

    def panic(self, domid: int) -> None:
        """A guest kernel stops dead: core.panic, and its processes never run again."""
        self.core.panic(domid)
        handler = self._handlers.get(domid)
        if handler is not None:
            handler.bury()

    # handlers

    def attach(self, node: int | Node, handler: NodeHandler) -> None:
        """Work of this node goes to `handler`. A handler attached before is buried."""
        number = node if isinstance(node, int) else node.id
        self.detach(number)
        if number < HOST:
            self._generations[number] = self.core.domain_info(number)["generation"]
        self._handlers[number] = handler
        self._order = sorted(self._handlers.items(), key=lambda item: item[0])

    def detach(self, node: int | Node) -> None:
        """Buries the node's handler, if it has one: destroyed domain, rebooted kernel."""
        number = node if isinstance(node, int) else node.id
        handler = self._handlers.pop(number, None)
        self._generations.pop(number, None)
        if handler is not None:
            self._order = sorted(self._handlers.items(), key=lambda item: item[0])
            handler.bury()

    def handler(self, node: int) -> NodeHandler | None:
        """Who is attached to a node."""
        return self._handlers.get(node)

    def attach_vmm(self, handler: VmmHandler) -> None:
        """VMM and wrapper work goes to `handler` (several: in order of attachment)."""
        self._vmm.append(handler)

    def watch_fd(
        self,
        fd: int,
        callback: Callable[[], None] | None,
        *,
        readable: bool = True,
        writable: bool = False,
    ) -> None:
        """Real clock: `callback` runs when fd is ready; None ends the watch."""
        if callback is None:
            self._fds.pop(fd, None)
            self.core.watch_fd(fd, False, False)
        else:
            self._fds[fd] = callback
            self.core.watch_fd(fd, readable, writable)

    # running

    def step(self, until: int, max_events: int = 0) -> bool:
        """One instant with work, then every kernel until all are idle. False: none by `until`, or
        within that many events of the C machine (0: no limit)."""
        self._settle()
        items = self.core.run(until, max_events)
        if self.tap is not None:
            self.tap()
        for kind, node, generation, arg, a, b in items:
            self._dispatch(kind, node, generation, arg, a, b)
        if items:
            self._settle()
        return bool(items)

    def run(self, until: int) -> None:
        """Runs to machine time `until` (ns), all work before it done."""
        while self.step(until) or self.core.now < until:
            pass

    def run_until(self, condition: Callable[[], bool], deadline: int) -> bool:
        """Runs until the condition holds after an instant; False at the deadline (ns)."""
        self._settle()
        while not condition():
            if not self.step(deadline) and self.core.now >= deadline:
                return condition()
        return True

    def run_forever(self, stop: Callable[[], bool]) -> None:
        """Real clock: serves until stop() is true, looked at after each instant."""
        while not stop():
            self.step(self.core.now + SLICE_NS)

    def _dispatch(self, kind: int, node: int, generation: int, arg: int, a: int, b: int) -> None:
        if self.turn_hook is not None:
            self.turn_hook()
        if kind == WorkKind.FD:
            callback = self._fds.get(arg)
            if callback is not None:
                callback()
            return
        if kind in (WorkKind.VMM, WorkKind.WRAPPER):  # of a fenced domain too
            if self._replaced(node, generation):
                return
            for vmm in self._vmm:
                vmm.work(kind, node, arg, a, b)
        if kind == WorkKind.VMM or (node < HOST and not self._live(node, generation)):
            return
        handler = self._handlers.get(node)
        if handler is not None and not self.core.kernel_fault(node):
            handler.work(kind, arg, a, b)

    def _live(self, domid: int, generation: int | None = None) -> bool:
        """The domain exists, is the one attached, and may run."""
        try:
            info = self.core.domain_info(domid)
        except OSError:
            return False
        known = self._generations.get(domid, info["generation"])
        if info["generation"] != known or (generation is not None and generation != known):
            return False
        return bool(info["runnable"])

    def _replaced(self, domid: int, generation: int) -> bool:
        """The domain that the work is about is gone, and its id is another's."""
        known = self._generations.get(domid)
        return known is not None and generation not in (0, known)

    def _steps(self, domid: int) -> bool:
        """Its processes may run; those of a kernel that hangs do."""
        return self._live(domid) and self.core.kernel_fault(domid) in (RUNS, HANGS)

    def _settle(self) -> None:
        """Runs the processes of all kernels, in order of node, until none is runnable."""
        busy = True
        while busy:
            busy = False
            for node, handler in self._order:
                if not handler.runnable():
                    continue
                if self.turn_hook is not None:
                    self.turn_hook()
                if node >= HOST or self._steps(node):
                    handler.run()
                    busy = True
