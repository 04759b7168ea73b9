"""What the VMM exposes to the VZS: pairs, paths, signals, effects. Never the machine itself."""

from collections.abc import Callable
from typing import Protocol

from xenemu._abi import TcpFeature, ZlSignal
from xenemu.machine import VmmEvent
from xenemu.vmm.types import DomainInfo, Event, PairInfo, PairState, WrapperEvent

EventHandler = Callable[[VmmEvent, int, int, int], None]
WrapperHandler = Callable[[WrapperEvent, int, int, int], None]


class Backend(Protocol):
    """The part of the machine that the VMM stands on."""

    @property
    def now(self) -> int: ...
    @property
    def clock(self) -> int: ...
    def pair_info(self, domid: int) -> dict[str, int] | None: ...
    def domain_info(self, domid: int) -> dict[str, int]: ...
    def domain_ids(self) -> list[int]: ...
    def free_pages(self) -> int: ...
    def vzs_signal(self, domid: int, bits: int) -> None: ...
    def vzs_complete(self, primary: int, status: int) -> None: ...
    def vzs_fence(self, primary: int) -> None: ...
    def vzs_restart(self, primary: int) -> None: ...
    def vzs_try(self, primary: int) -> None: ...
    def vzs_accept(self, primary: int) -> None: ...
    def vzs_roll_back(self, primary: int, status: int) -> None: ...
    def vzs_fence_backup(self, primary: int) -> None: ...
    def vzs_boot_backup(self, primary: int) -> int: ...
    def vzs_give_up(self, primary: int) -> None: ...
    def vzs_set_next_ip(self, domid: int, ip: int) -> None: ...
    def vzs_forget_backup(self, primary: int) -> None: ...
    def heartbeat_arm(self, domid: int, on: bool) -> None: ...
    def path_set(self, ip: int, domid: int) -> None: ...
    def path_clear(self, ip: int) -> None: ...
    def path_lookup(self, ip: int) -> int: ...
    def pause(self, domid: int) -> None: ...
    def unpause(self, domid: int) -> None: ...
    def log_info(self, domid: int) -> dict[str, int]: ...


class Toolstack(Protocol):
    """What boot does for the VMM: the VZS decides, boot knows kernels and screens."""

    def start_kernel(self, domid: int, primary: int) -> None:
        """Builds the kernel of the backup `domid` of `primary` and starts it (it is unpaused).

        Raises OSError when it cannot.
        """

    def destroy_domain(self, domid: int) -> None:
        """Ends a domain: its kernel, its processes, its frames. OSError(ESRCH) if unknown."""

    def differ(self, domid: int, other: int) -> bool:
        """They do not run the same versions of kernel and service."""

    def promote(self, primary: int, backup: int) -> None:
        """A backup that is booted for `primary` from now on gets the versions of `backup`."""

    def emit(self, event: Event) -> None:
        """Puts an event into the log that people see."""

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        """Runs `callback` after `delay` ns of machine time."""


class Vmm:
    """The VMM as the VZS sees it. Every call may raise OSError with the errno of the C core."""

    def __init__(self, backend: Backend, toolstack: Toolstack) -> None:
        self._backend = backend
        self._toolstack = toolstack
        self._handlers: list[EventHandler] = []
        self._wrapper_handlers: list[WrapperHandler] = []

    @property
    def now(self) -> int:
        """Machine time in nanoseconds."""
        return self._backend.now

    # events
    def subscribe(self, handler: EventHandler) -> None:
        """`handler(event, node, a, b)` runs for each VMM event, in order."""
        self._handlers.append(handler)

    def deliver(self, event: VmmEvent, node: int, a: int, b: int) -> None:
        """One event of the C core; called by whoever drives the machine."""
        for handler in self._handlers:
            handler(event, node, a, b)

    def subscribe_wrapper(self, handler: WrapperHandler) -> None:
        """`handler(event, node, a, b)` runs for each event of a south-side wrapper."""
        self._wrapper_handlers.append(handler)

    def deliver_wrapper(self, event: WrapperEvent, node: int, a: int, b: int) -> None:
        """One wrapper event of the C core; called by whoever drives the machine."""
        for handler in self._wrapper_handlers:
            handler(event, node, a, b)

    def emit(self, name: str, domid: int, **details: int | str) -> None:
        """Says in the event log that something happened."""
        self._toolstack.emit(Event(self._backend.clock, name, domid, details))

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        """Runs `callback` after `delay` ns of machine time."""
        self._toolstack.call_later(delay, callback)

    # pairs
    def pair(self, domid: int) -> PairInfo | None:
        """The pair that `domid` is primary or backup of."""
        info = self._backend.pair_info(domid)
        if info is None:
            return None
        return PairInfo(
            state=PairState(info["state"]),
            primary=info["primary"],
            backup=info["backup"],
            backup_booted=bool(info["backup_booted"]),
            features=TcpFeature(info["features"]),
            old_primary=info["old_primary"],
            ip=info["ip"],
            backup_has_primary_ip=bool(info["backup_has_primary_ip"]),
            extents=info["extents"],
        )

    def signal(self, domid: int, bits: ZlSignal) -> None:
        """ORs signal bits into a domain's word and sends it VIRQ_ZEROLOSS."""
        self._backend.vzs_signal(domid, int(bits))

    def complete(self, primary: int, status: int = 0) -> None:
        """Ends the transition under way; `status` is 0 or a negative errno."""
        self._backend.vzs_complete(primary, status)

    def fence(self, primary: int) -> None:
        """Stops a primary and takes its log away: its pair is recovering now."""
        self._backend.vzs_fence(primary)

    def restart(self, primary: int) -> None:
        """The service of a primary whose kernel lives is to start again and to recover in place.
        OSError: EBUSY in a transition, ENOENT without a log."""
        self._backend.vzs_restart(primary)

    def try_backup(self, primary: int) -> None:
        """Pauses a quiesced primary while its backup is tried. OSError: EBUSY while connections are
        unprotected, EAGAIN while the last replay is not over, ENOMEM."""
        self._backend.vzs_try(primary)

    def accept(self, primary: int) -> None:
        """The backup that was tried stays: the primary is fenced now."""
        self._backend.vzs_accept(primary)

    def roll_back(self, primary: int, status: int) -> None:
        """The primary goes on, its call fails with `status` (a negative errno); the backup is
        fenced and forgotten. OSError(ESRCH) when the primary is gone."""
        self._backend.vzs_roll_back(primary, status)

    def fence_backup(self, primary: int) -> None:
        """Stops a backup that was to take over, takes the log away from it, and forgets it."""
        self._backend.vzs_fence_backup(primary)

    def boot_backup(self, primary: int) -> int:
        """A new backup domain on behalf of a fenced primary that has none; it has no kernel yet."""
        return self._backend.vzs_boot_backup(primary)

    def give_up(self, primary: int) -> None:
        """Ends the pair of a fenced primary without a backup: its connections are reset."""
        self._backend.vzs_give_up(primary)

    def set_next_ip(self, domid: int, ip: int) -> None:
        """The address that GET_IP answers to the domain next."""
        self._backend.vzs_set_next_ip(domid, ip)

    def forget_backup(self, primary: int) -> None:
        """Gives a backup up: the pair is granted again, without a backup."""
        self._backend.vzs_forget_backup(primary)

    def heartbeat_arm(self, domid: int, on: bool = True) -> None:
        """Switches the heartbeat checker of a domain."""
        self._backend.heartbeat_arm(domid, on)

    # net_schedule_list
    def path_set(self, ip: int, domid: int) -> None:
        """Packets for `ip` go to `domid` from now on."""
        self._backend.path_set(ip, domid)

    def path_clear(self, ip: int) -> None:
        """Packets for `ip` go nowhere."""
        self._backend.path_clear(ip)

    def path_lookup(self, ip: int) -> int:
        """The domain that gets the packets for `ip`; OSError(ENOENT)."""
        return self._backend.path_lookup(ip)

    # domains
    def domain(self, domid: int) -> DomainInfo:
        """A domain's state; OSError(ESRCH)."""
        info = self._backend.domain_info(domid)
        return DomainInfo(
            domid=info["domid"],
            generation=info["generation"],
            pause_count=info["pause_count"],
            dying=bool(info["dying"]),
            runnable=bool(info["runnable"]),
            crashed=bool(info["crashed"]),
            tot_pages=info["tot_pages"],
            refs=info["refs"],
            ip=info["ip"],
            own_ip=info["own_ip"],
            heartbeats=info["heartbeats"],
        )

    def domain_ids(self) -> list[int]:
        """Domains that exist, zombies included."""
        return self._backend.domain_ids()

    def free_pages(self) -> int:
        """Machine frames that nobody has."""
        return self._backend.free_pages()

    def start_kernel(self, domid: int, primary: int) -> None:
        """Builds and starts the kernel of a backup (by boot)."""
        self._toolstack.start_kernel(domid, primary)

    def differ(self, domid: int, other: int) -> bool:
        """They do not run the same versions of kernel and service (by boot)."""
        return self._toolstack.differ(domid, other)

    def promote(self, primary: int, backup: int) -> None:
        """Backups of `primary` are of the versions of `backup` from now on (by boot)."""
        self._toolstack.promote(primary, backup)

    def pause(self, domid: int) -> None:
        """Takes a domain off the run queue; nests."""
        self._backend.pause(domid)

    def unpause(self, domid: int) -> None:
        """One pause less; OSError(EINVAL) at zero."""
        self._backend.unpause(domid)

    def destroy(self, domid: int) -> None:
        """Ends a domain; its log frames stay while they are referred to."""
        self._toolstack.destroy_domain(domid)

    def log_info(self, domid: int) -> dict[str, int]:
        """Counters of the pair's log; OSError(ENOENT) without one."""
        return self._backend.log_info(domid)
