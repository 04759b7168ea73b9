"""What becomes of a former primary (4.2.4).

One whose kernel is dead is destroyed. One whose application failed is woken at another address, for
an administrator to look at, for as long as the policy says; the last one only. One that handed its
service over (a migration) stays until its caller has its answer and its successor is protected.
Protection comes before diagnosis: where memory is short for a backup, what is kept goes first.
"""

from dataclasses import dataclass

from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import Vmm, VmmEvent

# A backup is wanted, or soon will be: by then there has to be memory for it.
WANTED = (VmmEvent.FAULT, VmmEvent.MIGRATE, VmmEvent.BACKUP_GONE)


@dataclass(frozen=True, slots=True)
class DiagnosisPolicy:
    """`base` + domain id: the address of a former primary without one of its own.

    `keep_ns`: how long a faulty one is kept; 0: not at all, None: until the next one.
    """

    base: int = 0x0A000200  # 10.0.2.0
    keep_ns: int | None = 3600 * 1_000_000_000


@dataclass(slots=True)
class Kept:
    """A former primary that still lives. `until`: machine time in ns, None without a limit."""

    domid: int
    generation: int
    faulty: bool
    until: int | None
    answered: bool = False  # it has its new address, and whoever called migrate the answer
    relieved: bool = False  # of a migration: its successor is protected, or memory is short


class Diagnosis:
    """Keeps one faulty former primary at most, and one that has migrated."""

    def __init__(self, vmm: Vmm, policy: DiagnosisPolicy) -> None:
        self._vmm = vmm
        self._policy = policy
        self._faulty: Kept | None = None
        self._migrated: Kept | None = None
        self._timed = False
        vmm.subscribe(self.handle)

    def find(self, domid: int) -> Kept | None:
        """How this domain is kept, if it is."""
        for kept in (self._faulty, self._migrated):
            if kept is not None and kept.domid == domid and self._lives(kept):
                return kept
        return None

    def retire(self, old: int, new: int, kind: FaultKind | None) -> None:
        """`new` is the primary now; `old` failed (`kind`), or handed over (None)."""
        if old not in self._vmm.domain_ids():
            return
        faulty = kind is not None
        if kind is FaultKind.KERNEL or (faulty and self._policy.keep_ns == 0):
            self._end(old)
            return
        before = self._faulty if faulty else self._migrated
        if before is not None:
            self._drop(before, "superseded")
        kept = self._keep(old, faulty)
        self._make_room()
        if self._lives(kept):
            self._readdress(kept, new)

    def handle(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """Looks for memory when a backup is wanted, and for what is needed no longer."""
        if event in WANTED:
            self._make_room()
        migrated = self._migrated
        if migrated is None:
            return
        if event is VmmEvent.IP_SET and node == migrated.domid:
            migrated.answered = True
        elif event is VmmEvent.SUSPENDED and self._vmm.pair(node) is not None:
            migrated.relieved = True
        self._dismiss(migrated)

    def _keep(self, domid: int, faulty: bool) -> Kept:
        keep = self._policy.keep_ns if faulty else None
        until = None if keep is None else self._vmm.now + keep
        kept = Kept(domid, self._vmm.domain(domid).generation, faulty, until)
        if faulty:
            self._faulty = kept
            self._arm(kept)
        else:
            self._migrated = kept
        return kept

    def _readdress(self, kept: Kept, new: int) -> None:
        vmm, old = self._vmm, kept.domid
        own, pair = vmm.domain(old).own_ip, vmm.pair(new)
        shared = pair is None or own == pair.ip
        address = self._policy.base + old if shared else own
        vmm.heartbeat_arm(old, False)
        vmm.set_next_ip(old, address)
        vmm.path_set(address, old)
        while vmm.domain(old).pause_count:
            vmm.unpause(old)
        # A former primary that migrated waits for its call to end.
        vmm.signal(old, ZlSignal.READDRESS | (0 if kept.faulty else ZlSignal.COMPLETE))
        vmm.emit("kept-for-diagnosis" if kept.faulty else "kept-until-protected", old)

    def _make_room(self) -> None:
        """What is kept is as large as a backup; without memory left for one it goes."""
        for kept in (self._faulty, self._migrated):
            if kept is None or not self._lives(kept):
                continue
            if self._vmm.free_pages() > self._vmm.domain(kept.domid).tot_pages:  # and shared_info
                return
            if kept.faulty:
                self._drop(kept, "memory")
            else:
                kept.relieved = True
                self._dismiss(kept)

    def _dismiss(self, migrated: Kept) -> None:
        if migrated.answered and migrated.relieved:
            self._drop(migrated, "done")

    def _arm(self, kept: Kept) -> None:
        """One timer at a time, however often primaries fail."""
        if kept.until is not None and not self._timed:
            self._timed = True
            self._vmm.call_later(max(0, kept.until - self._vmm.now), self._due)

    def _due(self) -> None:
        self._timed = False
        kept = self._faulty
        if kept is None or kept.until is None:
            return
        if kept.until <= self._vmm.now:
            self._drop(kept, "expired")
        else:
            self._arm(kept)

    def _drop(self, kept: Kept, reason: str) -> None:
        if kept is self._faulty:
            self._faulty = None
        else:
            self._migrated = None
        if self._lives(kept):
            self._end(kept.domid, reason=reason)

    def _end(self, domid: int, **details: str) -> None:
        self._vmm.destroy(domid)
        self._vmm.emit("destroyed", domid, **details)

    def _lives(self, kept: Kept) -> bool:
        """Nobody else has destroyed it; its id may be another's since."""
        if kept.domid not in self._vmm.domain_ids():
            return False
        return self._vmm.domain(kept.domid).generation == kept.generation
