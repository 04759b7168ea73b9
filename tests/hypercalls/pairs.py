"""Protection pairs without a VZS: domains with addresses, brought into a state by hypercalls and by
what the VZS would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypercalls.support import PRESENT_RW, refused

from xenemu._abi import ZlOp
from xenemu.machine import Machine as Host
from xenemu.machine import WorkKind
from xenemu.machine.work import VmmEvent
from xenemu.vmm.types import PairState
from xenemu.xen import GrantFlag, Hypercalls, Memory
from xenemu.xen.calls.misc import ZerolossResult

PAGES = 256
EXTENT = 512  # frames of one
ORDER = 9
FRAMES = 1 << 15


class Guest:
    """A domain that makes hypercalls."""

    def __init__(self, host: Host, domid: int) -> None:
        self.core, self.id = host.core, domid
        self.memory = Memory(self.core, domid)
        self.hypercall = Hypercalls(self.core, self.memory, domid)

    def zl(self, op: int, **fields: Any) -> ZerolossResult:
        return self.hypercall.zeroloss_op(op, **fields)

    def state(self) -> dict[str, int]:
        """What the core says of it; OSError(ESRCH)."""
        return self.core.domain_info(self.id)

    def signals(self) -> tuple[int, int]:
        """Fetches the bits and the status."""
        got = self.zl(ZlOp.GET_SIGNAL)
        return got.value, got.status

    def alloc_page(self) -> int:
        return self.memory.alloc_page()

    def write(self, gva: int, data: bytes) -> None:
        self.memory.write(gva, data)

    def mfn_at(self, gva: int) -> int:
        return self.memory.translate(gva) >> 12

    def map(self, mfn: int) -> int:
        """Where it has mapped a frame."""
        at = self.alloc_page()
        self.hypercall.update_va_mapping(at, mfn << 12 | PRESENT_RW)
        return at

    def more(self, extents: int) -> tuple[int, ...]:
        """Memory for a log: the first frame of each extent."""
        op = self.hypercall.memory_op
        return tuple(op.increase_reservation(nr_extents=extents, extent_order=ORDER))


class World:
    """A control domain, a primary (perhaps of no pair), and its backup, once there is one."""

    def __init__(self) -> None:
        self.host = Host(frames=FRAMES)
        self.core = self.host.core
        self.control = self.create(privileged=True)
        self.primary = self.create()
        self.backup: Guest
        self.log: tuple[int, ...] = ()  # its extents

    def create(self, *, privileged: bool = False, ip: bool = True) -> Guest:
        domid = self.core.create_domain(
            pages=PAGES,
            max_pages=PAGES + 8 * EXTENT,
            window_pages=0,
            privileged=privileged,
            ip=0,
            no_ip=not ip,
        )
        self.core.unpause(domid)
        return Guest(self.host, domid)

    def pair(self, guest: Guest | None = None) -> dict[str, int] | None:
        return self.core.pair_info((guest or self.primary).id)

    def status(self) -> PairState:
        pair = self.pair()
        return PairState(pair["state"]) if pair else PairState.NONE

    def events(self) -> list[tuple[VmmEvent, int, int]]:
        """What the VZS was told since the last call: event, domain, a."""
        told = []
        while work := self.core.run(self.core.now):
            told += [w for w in work if w[0] == WorkKind.VMM]
        return [(VmmEvent(arg), node, a) for _, node, _, arg, a, _ in told]

    # the way of a pair

    def granted(self) -> None:
        self.control.zl(ZlOp.INSTALL_GRANT, domid=self.primary.id)

    def booting(self) -> None:
        self.granted()
        self.backup = Guest(self.host, self.primary.zl(ZlOp.BOOT_BACKUP, value=3).domid)

    def awake(self) -> None:
        self.booting()
        self.backup.zl(ZlOp.BOOT_DONE, value=3)
        self.core.vzs_complete(self.primary.id, 0)

    def changing(self, primarys: int = 1) -> None:
        self.awake()
        self.primary.zl(ZlOp.CHANGE_BACKUP_IP, value=primarys)

    def ready(self) -> None:
        """Awake, with the primary's address."""
        self.changing()
        self.backup.zl(ZlOp.IP_SET, value=self.backup.zl(ZlOp.GET_IP).value)
        self.core.vzs_complete(self.primary.id, 0)

    def suspended(self) -> None:
        self.ready()
        self.primary.zl(ZlOp.SUSPEND_BACKUP)

    def migrating(self) -> None:
        self.ready()
        self.primary.zl(ZlOp.MIGRATE)

    def recovering(self) -> None:
        self.suspended()
        self.core.vzs_fence(self.primary.id)
        self.core.unpause(self.backup.id)

    def protect(self, extents: int = 1) -> None:
        """With a log and a port."""
        self.log = self.primary.more(extents)
        self.primary.zl(ZlOp.REGISTER_LOG, mfns=self.log)
        self.primary.zl(ZlOp.REGISTER_WRAPPER, value=80)

    def restarting(self) -> None:
        """In the same domain."""
        self.suspended()
        self.protect()
        self.core.vzs_restart(self.primary.id)

    def trying(self) -> None:
        self.migrating()
        self.protect()
        self.core.vzs_try(self.primary.id)

    def none(self) -> None:
        """No pair."""


WAYS: dict[str, Callable[[World], None]] = {
    "none": World.none,
    "granted": World.granted,
    "booting": World.booting,
    "awake": World.awake,
    "ready": World.ready,
    "changing": World.changing,
    "suspended": World.suspended,
    "migrating": World.migrating,
    "recovering": World.recovering,
    "restarting": World.restarting,
    "trying": World.trying,
}


def world(way: str) -> World:
    made = World()
    WAYS[way](made)
    made.events()
    made.primary.signals()
    return made


@contextmanager
def refused_and_unchanged(w: World, *codes: int) -> Iterator[None]:
    """Nobody's state is another, and the VZS hears nothing."""

    def look() -> Any:
        domains = {i: w.core.domain_info(i) for i in w.core.domain_ids()}
        return w.pair(), domains, w.core.free_pages()

    before = look()
    with refused(*codes):
        yield
    assert look() == before
    assert w.events() == []


ACCESS = GrantFlag.permit_access
