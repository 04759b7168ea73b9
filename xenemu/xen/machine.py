"""The emulated Xen host for people who write code against its hypercalls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from xenemu.machine import Machine as Host
from xenemu.xen.domain import Domain
from xenemu.xen.memory import PAGE_SIZE

MIB = 1 << 20
SECOND = 1_000_000_000
GUEST_BASE = 0xFFFF_8800_0000_0000  # XE_GUEST_BASE of csrc/xen/host.h
NOBODY = 0xFFFF

PGC_ALLOCATED = 1 << 63
COUNT = (1 << 57) - 1
TYPE_COUNT = (1 << 40) - 1  # above it: uses as a linear page table
TYPES = ("none", "l1", "l2", "l3", "l4", "seg_desc", "shared", "writable")
PINNED, VALIDATED = 1 << 59, 1 << 58


@dataclass(frozen=True, slots=True)
class Frame:
    """A machine frame: its owner's domid, references, and what it is used as at the moment.

    `count` includes the owner's own reference, while `allocated`. `type` is one of "none", "l1"
    to "l4", "seg_desc", "shared", "writable". `pfn` is its entry of the machine-to-physical table.
    """

    mfn: int
    owner: int | None
    allocated: bool
    count: int
    type: str
    type_count: int
    pinned: bool
    validated: bool
    pfn: int


class Machine:
    """An emulated Xen host of `memory_mib` MiB with a control domain, domain 0.

    Time is machine time: it passes in `run_for` only. The same seed and the same calls give the
    same run. A context manager: its end frees everything.
    """

    def __init__(self, memory_mib: int = 64, seed: int = 0, *, control_memory_mib: int = 4) -> None:
        self._host = Host(frames=memory_mib * MIB // PAGE_SIZE, seed=seed)
        self._core = self._host.core
        self._domains: dict[int, tuple[int, Domain]] = {}
        try:
            self.control = self.create_domain(control_memory_mib, privileged=True)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees it. Idempotent; calls after it raise ValueError."""
        self._host.close()

    # domains

    def create_domain(
        self,
        memory_mib: int = 4,
        privileged: bool = False,
        vcpus: int = 1,
        *,
        max_memory_mib: int | None = None,
        paused: bool = False,
        virt_base: int = GUEST_BASE,
        cmdline: str = "",
    ) -> Domain:
        """A domain with memory, page tables, start_info and shared_info, as a toolstack builds it.

        Page p is mapped at virt_base + 4096 * p. The first of its `vcpus` is up. It runs, unless
        `paused`. OSError: EINVAL, ENOMEM.
        """
        pages = memory_mib * MIB // PAGE_SIZE
        limit = pages if max_memory_mib is None else max_memory_mib * MIB // PAGE_SIZE
        domid = self._core.create_domain(
            pages=pages,
            max_pages=limit,
            window_pages=0,
            privileged=privileged,
            ip=0,
            no_ip=True,
            max_vcpus=vcpus,
            virt_base=virt_base,
            cmdline=cmdline.encode(),
        )
        if not paused:
            self._core.unpause(domid)
        return self.domain(domid)

    def domain(self, domid: int) -> Domain:
        """The domain of this id, also one that was made by domctl; OSError(ESRCH)."""
        generation: int = self._core.domain_info(domid)["generation"]
        known = self._domains.get(domid)
        if known is None or known[0] != generation:
            known = self._domains[domid] = (generation, Domain(self, self._core, domid))
        return known[1]

    def domains(self) -> list[Domain]:
        """All that exist, zombies too, by id."""
        return [self.domain(domid) for domid in self._core.domain_ids()]

    def serve(self, domain: Domain) -> None:
        """Upcalls go to the domain's handlers from now on."""
        if self._host.handler(domain.id) is not domain:
            self._host.attach(domain.id, domain)

    def forget(self, domain: Domain) -> None:
        """No upcalls any more."""
        if self._host.handler(domain.id) is domain:
            self._host.detach(domain.id)

    # time

    @property
    def now_ns(self) -> int:
        """Machine time, which is Xen's system time (ns)."""
        return self._host.now

    def run_for(self, seconds: float = 0) -> None:
        """Lets machine time pass: timers fire, events are handed to handlers."""
        self._host.run(self.now_ns + round(seconds * SECOND))

    def run_until(self, condition: Callable[[], bool], timeout: float = 10) -> bool:
        """Runs until the condition holds; False if it does not within so many seconds."""
        return self._host.run_until(condition, self.now_ns + round(timeout * SECOND))

    # what tests look at

    def frame(self, mfn: int) -> Frame:
        """What Xen knows of a frame; OSError(EINVAL)."""
        owner, count, kind, pfn = self._core.frame_info(mfn)
        return Frame(
            mfn=mfn,
            owner=None if owner == NOBODY else owner,
            allocated=bool(count & PGC_ALLOCATED),
            count=count & COUNT,
            type=TYPES[kind >> 61] if kind & TYPE_COUNT else "none",
            type_count=kind & TYPE_COUNT,
            pinned=bool(kind & PINNED),
            validated=bool(kind & VALIDATED),
            pfn=pfn,
        )

    def read_frame(self, mfn: int, offset: int = 0, n: int = PAGE_SIZE) -> bytes:
        """Bytes of a frame, whoever owns it; OSError(EINVAL) beyond its end."""
        return self._core.frame_read(mfn, offset, min(n, PAGE_SIZE - offset))

    @property
    def counters(self) -> dict[str, int]:
        """hypercalls, unknown_hypercalls, efaults, eperms and others, so far."""
        return self._core.counters()

    @property
    def free_pages(self) -> int:
        """Frames that no domain has."""
        return self._core.free_pages()
