"""The C machine. Times are integer nanoseconds of machine time; addresses are integers in
host order; a node is a domain id, or HOST | index for an ordinary host on the LAN.
Errors are OSError (its subclass by errno)."""

from collections.abc import Callable
from typing import Self, TypeAlias

from typing_extensions import Buffer

HOST: int

Work: TypeAlias = tuple[int, int, int, int, int, int]  # kind, node, generation, arg, a, b

class Machine:
    def __init__(
        self, *, frames: int, seed: int = 0, real: bool = False, trace_records: int = 65536
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def now(self) -> int: ...
    @property
    def clock(self) -> int:
        """Real time under the real clock, for stamps that people read; else `now`."""
    @property
    def trace_hash(self) -> int: ...
    @property
    def event_index(self) -> int:
        """Events run so far: an instant of a run that can be named again."""
    def run(self, until: int, max_events: int = 0) -> list[Work]:
        """Runs C events up to machine time `until`; returns at the first instant with work for
        Python (that instant's work only), or [] at `until` (virtual: now = until; real: wall time
        reached) or after max_events events (0: no limit), or when the capture wants draining.
        Releases the GIL under the real clock."""

    # packet capture
    def capture(self, on: bool) -> None:
        """Records what each node's TCP sends and is given. OSError(ENOMEM)."""
    def captured(self) -> bytes:
        """Drains the records: each struct "<QIHH" (ns on `clock`, node, 0 received or 1 sent,
        length) and that many bytes of IPv4 packet."""
    @property
    def capture_dropped(self) -> int:
        """Packets that found the buffer full (64 MiB), since the capture was switched on."""

    # domains
    def create_domain(
        self,
        *,
        pages: int,
        max_pages: int,
        window_pages: int,
        privileged: bool,
        ip: int,
        virt_base: int = 0xFFFF_8800_0000_0000,
        kernel_pages: int = 0,
        max_vcpus: int = 1,
        store: bool = False,
        console: bool = False,
        no_ip: bool = False,
        cmdline: bytes = b"",
        max_grant_frames: int = 0,
    ) -> int:
        """A domain, paused once. Page p lies at virt_base + 4096 * p; the P2M, start_info, tables
        and boot stack above the first kernel_pages pages (0: at the end of memory). ip 0: the
        first free one, unless no_ip; store, console: with ports for domain 0 to bind to;
        max_grant_frames 0: Xen's default of 64.
        OSError: EINVAL, ENOMEM."""
    def attach_stack(
        self,
        domid: int,
        *,
        seed: int,
        max_socks: int = 0,
        buffer: int = 0,
        timestamps: bool = True,
        window_scale: bool = True,
    ) -> None:
        """Gives a domain its guest TCP (kernel boot). Rebooting replaces it."""
    def destroy_domain(self, domid: int) -> None: ...
    def pause(self, domid: int) -> None: ...
    def unpause(self, domid: int) -> None: ...
    def panic(self, domid: int) -> None:
        """The kernel of a domain stops dead: no ticks, no packets, no work any more."""
    def hang(self, domid: int) -> None:
        """No interrupt and no packet reaches the kernel; what it still sends goes out."""
    def stall(self, domid: int, until: int) -> None:
        """The domain makes no progress until machine time `until` (ns)."""
    def kernel_fault(self, domid: int) -> int:
        """0 if the kernel runs; 1 panicked, 2 hangs, 3 stalls."""
    def domain_info(self, domid: int) -> dict[str, int]: ...
    def domain_ids(self) -> list[int]: ...
    def console_read(self, domid: int, n: int = 4096) -> bytes:
        """Takes up to n bytes that the domain wrote with console_io."""
    def free_pages(self) -> int: ...
    def hypercall(
        self, domid: int, nr: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0
    ) -> int:
        """The raw result; negative errno on failure (not raised)."""
    def hypercaller(
        self, domid: int, error: Callable[[int, int, int], BaseException], vcpu: int = 0
    ) -> Hypercaller: ...
    def frame_info(self, mfn: int) -> tuple[int, int, int, int]:
        """Owner (0xffff: nobody), count_info, type_info, M2P entry; EINVAL."""
    def frame_read(self, mfn: int, offset: int, n: int) -> bytes:
        """Bytes of a frame, whoever owns it; EINVAL beyond its end."""
    def guest_read(self, domid: int, gva: int, n: int) -> bytes: ...
    def guest_write(self, domid: int, gva: int, data: Buffer) -> None: ...
    def guest_translate(self, domid: int, gva: int) -> int: ...
    def guest_add(self, domid: int, gva: int, n: int) -> None:
        """Adds n to a 64-bit word of guest memory (the heartbeat's plain store)."""
    def next_pending_port(self, domid: int) -> int:
        """A pending, unmasked event channel port, cleared by this call; -1: none."""
    def send_virq(self, domid: int, virq: int) -> None: ...

    # VMM side
    def pair_info(self, domid: int) -> dict[str, int] | None: ...
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
    def log_info(self, domid: int) -> dict[str, int]:
        """Of the wrapper that protects the domain: connections, unprotected, detached (awaiting
        recovery), blocks, blocks_free, bytes_logged, and its counters."""
    def counters(self) -> dict[str, int]: ...

    # guest kernel: the north-side wrapper
    def add_wrapper(self, address: int) -> int: ...
    def nsw_attach(self, domid: int, gva: int, extents: int) -> None:
        """The guest's NSW uses the log mapped at gva; EFAULT where it isn't mapped."""
    @property
    def stores(self) -> int: ...  # of NSW into logs, so far; 0 without XENEMU_STORE_POINTS
    def stop_at_store(self, n: int, callback: Callable[[], object]) -> None: ...
    def nsw_protect(self, domid: int, port: int, profile: int) -> None:
        """Connections of the port are under that wrapper, 0: under none; ENOSPC."""
    def passive_ports(self, domid: int, low: int, high: int) -> None:
        """Where sessions listen that ask for any port; 0, 0: anywhere. EINVAL."""

    # network
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
    ) -> int:
        """An ordinary host on the LAN, its link configured alike both ways; its node."""
    def set_addr(self, node: int, ip: int) -> None: ...
    def addr(self, node: int) -> int: ...
    def arm_timer(self, node: int, token: int, at: int) -> None:
        """XE_WORK_TIMER with this token at machine time `at`; can't be cancelled."""
    def listen(self, node: int, port: int, backlog: int, session: int = 0) -> int: ...
    def accept(self, node: int, sock: int) -> int: ...
    def session(self, node: int, sock: int) -> int:
        """The session of an accepted connection, 0: none."""
    def connect(
        self, node: int, ip: int, port: int, local_port: int = 0, session: int = 0
    ) -> int: ...
    def connected(self, node: int, sock: int) -> int:
        """0, or the errno: EINPROGRESS while the handshake runs."""
    def send(self, node: int, sock: int, data: Buffer) -> int: ...
    def recv(self, node: int, sock: int, n: int) -> bytes: ...
    def recv_into(self, node: int, sock: int, buffer: Buffer) -> int: ...
    def shutdown(self, node: int, sock: int) -> None: ...
    def close_socket(self, node: int, sock: int) -> None: ...
    def drop_socket(self, node: int, sock: int) -> None:
        """Kernel clean-up of a dead process's socket: closed without the service having asked."""
    def poll(self, node: int, sock: int) -> int:
        """1 readable, 2 writable, 4 hang-up."""
    def ready(self, node: int) -> list[tuple[int, int]]:
        """Sockets whose readiness gained a bit since the last call, with their bits."""
    def socket_names(self, node: int, sock: int) -> tuple[int, int, int, int]:
        """Local address and port, peer address and port."""
    def socket_state(self, node: int, sock: int) -> int:
        """enum xe_tcp_state of csrc/net/tcp.h."""

    # the real clock only
    def forward(
        self, gateway: int, host_addr: int, host_port: int, guest_addr: int, guest_port: int
    ) -> int:
        """Host forwarding through host `gateway`; the real port."""
    def route(self, gateway: int) -> None:
        """Real clock: addresses off the LAN, and 127.0.0.0/8, are reached through `gateway`."""
    def watch_fd(self, fd: int, readable: bool, writable: bool) -> None: ...
    @property
    def trace_index(self) -> int: ...  # of the next record
    def trace(self, since: int = 0) -> list[tuple[int, int, int, int, int, int, tuple[int, ...]]]:
        """Records (index, time, kind, node, vcpu, nr, a) of the ring from index `since` on."""
    def trace_records(self, since: int = 0, most: int = 65536) -> tuple[int, int, bytes]:
        """The same as bytes, at most `most`: the first index that the ring still had, the one after
        the last, and records struct "=QIBBH6Q": time, node, kind, vcpu, nr, a."""
    def trace_packets(self, since: int = 0) -> tuple[int, int, bytes]:
        """Packets at hosts, as `trace_records` gives them."""

class Hypercaller:
    """The hypercalls of one virtual CPU."""

    def __new__(
        cls,
        machine: Machine,
        domid: int,
        error: Callable[[int, int, int], BaseException],
        vcpu: int = 0,
    ) -> Self:
        """`error(nr, a1, errno)` makes what is raised."""
    def __call__(
        self, nr: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0, /
    ) -> int:
        """The result; a negative one raises."""
    def raw(
        self, nr: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0, /
    ) -> int:
        """The result, which may be a negative errno."""
    @property
    def domid(self) -> int: ...
    @property
    def vcpu(self) -> int: ...
