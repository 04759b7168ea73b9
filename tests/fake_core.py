"""An in-memory stand-in for the C machine: pipes with a delay for TCP, one event heap.

Enough for the guest kernel's tests: sockets between nodes, timers, ticks, event channels,
guest memory; virtual clock. No loss, no segments, no page tables.
"""

import errno
import heapq
import os
import struct
from dataclasses import dataclass, field
from typing import Any

HOST = 0x10000
MS = 1_000_000
READABLE, WRITABLE, HANGUP = 1, 2, 4
SOCKETS, TIMER, TICK, UPCALL = 1, 2, 3, 4


def fail(code: int) -> Any:
    raise OSError(code, os.strerror(code))


@dataclass
class Sock:
    node: int
    number: int
    local: tuple[int, int]
    peer: tuple[int, int] = (0, 0)
    other: "Sock | None" = None
    listening: bool = False
    state: int = 0  # as connected(): 0 or an errno
    queue: list["Sock"] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    in_flight: int = 0
    eof: bool = False
    reset: bool = False
    sent_fin: bool = False
    seen: int = 0  # readiness bits reported
    session: int = 0


@dataclass
class NodeState:
    ip: int
    generation: int = 0
    paused: bool = False
    socks: dict[int, Sock] = field(default_factory=dict)
    next_sock: int = 0
    next_port: int = 40000
    memory: dict[int, int] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    bound: dict[int, int] = field(default_factory=dict)


class FakeCore:
    def __init__(self, *, delay: int = MS, buffer: int = 65536) -> None:
        self.now = 0
        self.delay, self.buffer = delay, buffer
        self.nodes: dict[int, NodeState] = {}
        self.heap: list[Any] = []
        self.sequence = 0
        self.work: list[tuple[int, int, int, int, int, int]] = []
        self.log: list[Any] = []  # the trace
        self.dropped: list[tuple[int, int]] = []
        self.closed = False
        self.session_ports: set[int] = set()  # what is accepted there begins a session
        self.sessions = 0
        self.opened: list[tuple[str, int, int]] = []  # listen or connect, port, session

    def close(self) -> None:
        self.closed = True

    def _at(self, when: int, action: Any, *args: Any) -> None:
        self.sequence += 1
        heapq.heappush(self.heap, (max(when, self.now), self.sequence, action, args))

    def _add(self, kind: int, node: int, arg: int = 0) -> None:
        state = self.nodes.get(node)
        if state is not None and not state.paused:
            item = (kind, node, state.generation, arg, 0, 0)
            if kind != SOCKETS or item not in self.work:
                self.work.append(item)

    def run(self, until: int, max_events: int = 0) -> list[Any]:
        while not self.work and self.heap and self.heap[0][0] <= until:
            self.now = self.heap[0][0]
            while self.heap and self.heap[0][0] == self.now:
                _, _, action, args = heapq.heappop(self.heap)
                action(*args)
        if not self.work:
            self.now = max(self.now, until)
        work, self.work = self.work, []
        return work

    # nodes

    def add_host(self, ip: int, **_: int) -> int:
        node = HOST | len(self.nodes)
        self.nodes[node] = NodeState(ip)
        return node

    def add_domain(self, ip: int) -> int:
        node = 1 + len(self.nodes)
        self.nodes[node] = NodeState(ip, generation=100 + node)
        self._at(self.now + 10 * MS, self._tick, node)
        return node

    def _tick(self, node: int) -> None:
        self._add(TICK, node)
        self._at(self.now + 10 * MS, self._tick, node)

    def domain_info(self, domid: int) -> dict[str, int]:
        if domid not in self.nodes:
            fail(errno.ESRCH)
        state = self.nodes[domid]
        return {"generation": state.generation, "runnable": int(not state.paused)}

    def kernel_fault(self, node: int) -> int:
        return 0

    def pause(self, domid: int) -> None:
        self.nodes[domid].paused = True

    def unpause(self, domid: int) -> None:
        self.nodes[domid].paused = False

    def set_addr(self, node: int, ip: int) -> None:
        self.nodes[node].ip = ip

    def addr(self, node: int) -> int:
        return self.nodes[node].ip

    def arm_timer(self, node: int, token: int, at: int) -> None:
        self._at(at, self._add, TIMER, node, token)

    # memory and events

    def guest_read(self, domid: int, gva: int, n: int) -> bytes:
        memory = self.nodes[domid].memory
        return bytes(memory.get(gva + i, 0) for i in range(n))

    def guest_write(self, domid: int, gva: int, data: bytes) -> None:
        self.nodes[domid].memory.update((gva + i, byte) for i, byte in enumerate(data))

    def hypercaller(self, domid: int, error: Any, vcpu: int = 0) -> Any:
        def call(nr: int, *args: int) -> int:
            result = self.hypercall(domid, nr, *args)
            if result < 0:
                raise error(nr, args[0], -result)
            return result

        return call

    def hypercall(self, domid: int, nr: int, *args: int) -> int:
        if nr != 32 or args[0] != 1:
            return -errno.ENOSYS
        virq, vcpu, _ = struct.unpack("<III", self.guest_read(domid, args[1], 12))
        bound = self.nodes[domid].bound
        if vcpu or virq in bound:
            return -errno.EEXIST
        bound[virq] = 1 + len(bound)
        self.guest_write(domid, args[1], struct.pack("<III", virq, vcpu, bound[virq]))
        return 0

    def send_virq(self, domid: int, virq: int) -> None:
        self.nodes[domid].pending.append(self.nodes[domid].bound[virq])
        self._at(self.now, self._add, UPCALL, domid)

    def next_pending_port(self, domid: int) -> int:
        pending = self.nodes[domid].pending
        return pending.pop(0) if pending else -1

    # sockets

    def _new(self, node: int, local: tuple[int, int]) -> Sock:
        state = self.nodes[node]
        sock = Sock(node, state.next_sock, local)
        state.socks[sock.number] = sock
        state.next_sock += 1
        return sock

    def _get(self, node: int, number: int) -> Sock:
        sock = self.nodes[node].socks.get(number)
        return sock if sock is not None else fail(errno.EBADF)

    def listen(self, node: int, port: int, backlog: int, session: int = 0) -> int:
        state = self.nodes[node]
        if not port:
            state.next_port += 1
            port = state.next_port
        if any(s.listening and s.local[1] == port for s in state.socks.values()):
            fail(errno.EADDRINUSE)
        sock = self._new(node, (state.ip, port))
        sock.listening, sock.session = True, session
        self.opened.append(("listen", port, session))
        return sock.number

    def accept(self, node: int, sock: int) -> int:
        listener = self._get(node, sock)
        child = listener.queue.pop(0) if listener.queue else fail(errno.EAGAIN)
        child.session = listener.session
        if listener.local[1] in self.session_ports:
            self.sessions += 1
            child.session = self.sessions
        return int(child.number)

    def session(self, node: int, sock: int) -> int:
        return self._get(node, sock).session

    def connect(self, node: int, ip: int, port: int, local_port: int = 0, session: int = 0) -> int:
        state = self.nodes[node]
        state.next_port += not local_port
        sock = self._new(node, (state.ip, local_port or state.next_port))
        sock.peer, sock.state = (ip, port), errno.EINPROGRESS
        self.opened.append(("connect", port, session))
        self._at(self.now + self.delay, self._syn, sock)
        return sock.number

    def _syn(self, sock: Sock) -> None:
        for number, state in self.nodes.items():
            if state.ip != sock.peer[0] or state.paused:
                continue
            for listener in list(state.socks.values()):
                if listener.listening and listener.local[1] == sock.peer[1]:
                    child = self._new(number, sock.peer)
                    child.peer, child.other, sock.other = sock.local, sock, child
                    listener.queue.append(child)
                    self._changed(listener)
                    self._at(self.now + self.delay, self._established, sock)
                    return
        self._at(self.now + self.delay, self._refused, sock)

    def _established(self, sock: Sock) -> None:
        sock.state = 0
        self._changed(sock)

    def _refused(self, sock: Sock) -> None:
        sock.state, sock.reset = errno.ECONNREFUSED, True
        self._changed(sock)

    def connected(self, node: int, sock: int) -> int:
        return self._get(node, sock).state

    def send(self, node: int, number: int, data: Any) -> int:
        sock = self._get(node, number)
        if sock.reset:
            fail(errno.ECONNRESET)
        if sock.sent_fin:
            fail(errno.EPIPE)
        if sock.state or sock.other is None:
            fail(errno.EAGAIN)
        other: Any = sock.other
        room = self.buffer - len(other.received) - sock.in_flight
        piece = bytes(memoryview(data).cast("B")[: max(0, room)])
        if not piece and len(data):
            fail(errno.EAGAIN)
        sock.in_flight += len(piece)
        sock.seen &= self._bits(sock)
        self.log.append((self.now, sock.node, number, piece[:16], len(piece)))
        self._at(self.now + self.delay, self._arrive, sock, piece)
        return len(piece)

    def _arrive(self, sock: Sock, piece: bytes) -> None:
        assert sock.other is not None
        sock.in_flight -= len(piece)
        sock.other.received += piece
        self._changed(sock.other)

    def recv(self, node: int, number: int, n: int) -> bytes:
        sock = self._get(node, number)
        if not sock.received:
            if sock.reset:
                fail(sock.state or errno.ECONNRESET)
            return b"" if sock.eof else fail(errno.EAGAIN)
        data = bytes(sock.received[:n])
        del sock.received[:n]
        sock.seen &= self._bits(sock)
        if sock.other is not None:
            self._at(self.now + self.delay, self._changed, sock.other)
        return data

    def recv_into(self, node: int, sock: int, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(node, sock, len(view))
        view[: len(data)] = data
        return len(data)

    def shutdown(self, node: int, number: int) -> None:
        sock = self._get(node, number)
        if not sock.sent_fin:
            sock.sent_fin = True
            self._at(self.now + self.delay, self._fin, sock)

    def _fin(self, sock: Sock) -> None:
        if sock.other is not None:
            sock.other.eof = True
            self._changed(sock.other)

    def close_socket(self, node: int, number: int) -> None:
        sock = self._get(node, number)
        if not sock.listening:
            self.shutdown(node, number)
        del self.nodes[node].socks[number]

    def drop_socket(self, node: int, number: int) -> None:
        self.dropped.append((node, number))
        self.close_socket(node, number)

    def _bits(self, sock: Sock) -> int:
        if sock.listening:
            return READABLE if sock.queue else 0
        if sock.reset:
            return READABLE | WRITABLE | HANGUP
        bits = READABLE if sock.received or sock.eof else 0
        if not sock.state and sock.other is not None:
            if len(sock.other.received) + sock.in_flight < self.buffer:
                bits |= WRITABLE
        return bits

    def poll(self, node: int, sock: int) -> int:
        return self._bits(self._get(node, sock))

    def _changed(self, sock: Sock) -> None:
        if self._bits(sock) & ~sock.seen or sock.listening:
            self._add(SOCKETS, sock.node)

    def ready(self, node: int) -> list[tuple[int, int]]:
        found = []
        for sock in self.nodes[node].socks.values():
            bits = self._bits(sock)
            if bits & ~sock.seen or (sock.listening and bits):
                found.append((sock.number, bits))
            sock.seen = bits
        return found

    def socket_names(self, node: int, sock: int) -> tuple[int, int, int, int]:
        each = self._get(node, sock)
        return (*each.local, *each.peer)

    def socket_state(self, node: int, sock: int) -> int:
        each = self._get(node, sock)
        return 1 if each.listening else 2 if each.state == errno.EINPROGRESS else 4
