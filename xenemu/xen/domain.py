"""A domain as its tests and the toolstack see it: its hypercalls, memory, events and state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xenemu.machine import WorkKind
from xenemu.xen.hypercalls import Hypercalls
from xenemu.xen.memory import PAGE_SHIFT, PAGE_SIZE, Memory
from xenemu.xen.structs.xen import shared_info, start_info

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xenemu.machine.core import Core
    from xenemu.xen.calls.domctl import DomainInfo
    from xenemu.xen.machine import Machine

EventHandler = Callable[[int], None]


class Vcpu:
    """A virtual CPU of a domain."""

    __slots__ = ("hypercall", "id")

    def __init__(self, core: Core, memory: Memory, domid: int, vcpu: int) -> None:
        self.id = vcpu
        self.hypercall = Hypercalls(core, memory, domid, vcpu)


class Domain:
    """Made by Machine.create_domain. `hypercall` is that of virtual CPU 0.

    `memory` is the domain's own: what lies at the addresses that its page tables map. All its
    pages are mapped in order from `memory.base` on. Methods raise OSError(ESRCH) when the domain
    is gone.
    """

    __slots__ = ("__dict__", "__weakref__", "hypercall")  # this one is looked up fast

    def __init__(self, machine: Machine, core: Core, domid: int) -> None:
        self._machine = machine
        self._core = core
        self.id = domid
        self.memory = Memory(core, domid)
        self._vcpus = [Vcpu(core, self.memory, domid, 0)]
        self.hypercall = self._vcpus[0].hypercall
        self._handlers: dict[int, EventHandler] = {}

    def __repr__(self) -> str:
        return f"<Domain {self.id}>"

    def vcpu(self, n: int) -> Vcpu:
        """Its virtual CPU n. That there is none is found out by a call, which answers ESRCH."""
        while len(self._vcpus) <= n:
            self._vcpus.append(Vcpu(self._core, self.memory, self.id, len(self._vcpus)))
        return self._vcpus[n]

    # memory

    def read(self, gva: int, n: int) -> bytes:
        """n bytes at a guest address; OSError(EFAULT)."""
        return self.memory.read(gva, n)

    def write(self, gva: int, data: Buffer) -> None:
        """Writes at a guest address; OSError(EFAULT)."""
        self.memory.write(gva, data)

    def alloc(self, n: int, align: int = 8) -> int:
        """The address of n bytes of its own that nothing else uses."""
        return self.memory.alloc(n, align)

    def alloc_page(self) -> int:
        """The address of a page of its own."""
        return self.memory.alloc_page()

    def gva(self, pfn: int) -> int:
        """The address of a pseudo-physical page."""
        return self.memory.base + pfn * PAGE_SIZE

    def mfn(self, pfn: int) -> int:
        """The machine frame that is mapped there; OSError(EFAULT)."""
        return self.mfn_at(self.gva(pfn))

    def mfn_at(self, gva: int) -> int:
        """The machine frame that a guest address is in; OSError(EFAULT)."""
        return self.memory.translate(gva) >> PAGE_SHIFT

    def pfn_of(self, mfn: int) -> int:
        """What the machine-to-physical table says of a frame."""
        return self._machine.frame(mfn).pfn

    @property
    def start_info(self) -> Any:
        """A copy of struct start_info, as it lies in the domain's memory now."""
        return self.memory.read_struct(start_info, self.info_of("start_info_gva"))

    @property
    def shared_info(self) -> Any:
        """A copy of struct shared_info, whether the domain has mapped it or not."""
        raw = self._core.frame_read(self.info_of("shared_info_mfn"), 0, PAGE_SIZE)
        return shared_info.from_buffer_copy(raw)

    # events

    def pending_ports(self) -> list[int]:
        """Ports that are pending and not masked; nothing is cleared."""
        info = self.shared_info
        words = zip(info.evtchn_pending, info.evtchn_mask, strict=True)
        return [
            word * 64 + bit
            for word, (pending, mask) in enumerate(words)
            if pending & ~mask
            for bit in range(64)
            if (pending & ~mask) >> bit & 1
        ]

    def take_event(self) -> int | None:
        """A port that was pending and is not any more, as an upcall handler takes it; or None."""
        port = self._core.next_pending_port(self.id)
        return None if port < 0 else port

    def on_event(self, port: int, handler: EventHandler | None) -> None:
        """`handler(port)` is called for events on the port while the machine runs.

        From the first handler on the domain takes its events as a kernel does: those on ports
        without a handler are cleared and forgotten.
        """
        if handler is None:
            self._handlers.pop(port, None)
            return
        self._handlers[port] = handler
        self._machine.serve(self)

    # what the machine calls

    def work(self, kind: int, arg: int, a: int, b: int) -> None:
        """An upcall."""
        if kind != WorkKind.UPCALL:
            return
        while (port := self.take_event()) is not None:
            handler = self._handlers.get(port)
            if handler is not None:
                handler(port)

    def runnable(self) -> bool:
        """False: it has no processes."""
        return False

    def run(self) -> None:
        """Nothing."""

    def bury(self) -> None:
        """Its handlers are called no more."""
        self._handlers.clear()

    # the toolstack

    @property
    def info(self) -> DomainInfo:
        """What domctl getdomaininfo says of it, asked by the control domain."""
        return self._machine.control.hypercall.domctl.getdomaininfo(domain=self.id)

    def console(self) -> bytes:
        """Takes what it wrote with console_io since the last call; only the last 4 KiB are kept."""
        return self._core.console_read(self.id)

    def info_of(self, name: str) -> int:
        """A word of core.domain_info."""
        return self._core.domain_info(self.id)[name]

    @property
    def exists(self) -> bool:
        """It does, perhaps as a zombie."""
        return self.id in self._core.domain_ids()

    def pause(self) -> None:
        """Pauses it once more."""
        self._core.pause(self.id)

    def unpause(self) -> None:
        """Takes one pause back; OSError(EINVAL)."""
        self._core.unpause(self.id)

    def destroy(self) -> None:
        """Destroys it: a zombie until nothing refers to it any more."""
        self._machine.forget(self)
        self._core.destroy_domain(self.id)
