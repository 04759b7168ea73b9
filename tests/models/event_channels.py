"""What Xen says about event channels, in Python: ports, bits, upcalls, who is woken.

Written from Xen's public headers and documentation, for the ABI of two levels. A refusal raises
Refused; it changes nothing but the number of ports that are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EEXIST, EINVAL, ENOENT, ENOSPC, EPERM, ESRCH

PORTS, BUCKET, VIRQS = 4096, 64, 24
SELF = 0x7FF0
TIMER, DOM_EXC = 0, 3
PER_VCPU = (0, 1, 7, 13)  # TIMER, DEBUG, XENOPROF, XENPMU
ALL_WORDS = (1 << 64) - 1


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Port:
    """`dom`, `port`: the remote end, of which an unbound port has only the first."""

    kind: str
    vcpu: int = 0
    dom: int | None = None
    port: int | None = None
    virq: int | None = None


@dataclass
class Cpu:
    """`polls`: the port that it polls, 0: several; None: it does not poll."""

    masked: bool
    up: bool = True
    upcall: bool = False
    selector: int = 0
    blocked: bool = False
    polls: int | None = None
    moved: bool = False
    virqs: dict[int, int] = field(default_factory=dict)

    def wake(self) -> None:
        self.blocked, self.polls = False, None

    def tell(self) -> None:
        if not self.upcall:
            self.upcall = True
            self.wake()


@dataclass
class Dom:
    id: int
    privileged: bool
    cpus: list[Cpu]
    ports: dict[int, Port] = field(default_factory=dict)
    valid: int = BUCKET
    pending: set[int] = field(default_factory=set)
    mask: set[int] = field(default_factory=set)
    paused: int = 0
    dying: bool = False
    shut: bool = False
    held: bool = False  # a frame of it is mapped by another domain

    @property
    def runs(self) -> bool:
        return not (self.paused or self.dying or self.shut)


class Model:
    """A host. `dom` of an operation is the caller."""

    def __init__(self) -> None:
        self.doms: dict[int, Dom] = {}

    def named(self, caller: Dom, domid: int) -> Dom:
        if domid == SELF:
            return caller
        if domid not in self.doms:
            raise Refused(ESRCH)
        return self.doms[domid]

    # ports

    def free_port(self, dom: Dom) -> int:
        if dom.dying:
            raise Refused(EINVAL)
        port = next((p for p in range(1, PORTS) if p not in dom.ports), None)
        if port is None:
            raise Refused(ENOSPC)
        if port == dom.valid:
            dom.valid += BUCKET
        return port

    @staticmethod
    def used(dom: Dom, port: int) -> Port:
        if port not in dom.ports:
            raise Refused(EINVAL)
        return dom.ports[port]

    def alloc_unbound(self, dom: Dom, domid: int, remote: int) -> int:
        target = self.named(dom, domid)
        port = self.free_port(target)
        if target is not dom and not dom.privileged:
            raise Refused(EPERM)
        target.ports[port] = Port("unbound", dom=dom.id if remote == SELF else remote)
        return port

    def bind_interdomain(self, dom: Dom, domid: int, remote_port: int) -> int:
        peer = self.named(dom, domid)
        port = self.free_port(dom)
        remote = self.used(peer, remote_port)
        if remote.kind != "unbound" or remote.dom != dom.id:
            raise Refused(EINVAL)
        dom.ports[port] = Port("interdomain", dom=peer.id, port=remote_port)
        remote.kind, remote.port = "interdomain", port
        self.raise_port(dom, port)
        return port

    def bind_virq(self, dom: Dom, virq: int, vcpu: int) -> int:
        if virq >= VIRQS or (virq not in PER_VCPU and vcpu):
            raise Refused(EINVAL)
        if vcpu >= len(dom.cpus):
            raise Refused(ENOENT)
        if virq in dom.cpus[vcpu].virqs:
            raise Refused(EEXIST)
        port = self.free_port(dom)
        dom.ports[port] = Port("virq", vcpu=vcpu, virq=virq)
        dom.cpus[vcpu].virqs[virq] = port
        return port

    def bind_ipi(self, dom: Dom, vcpu: int) -> int:
        if vcpu >= len(dom.cpus):
            raise Refused(ENOENT)
        port = self.free_port(dom)
        dom.ports[port] = Port("ipi", vcpu=vcpu)
        return port

    def bind_vcpu(self, dom: Dom, port: int, vcpu: int) -> None:
        if vcpu >= len(dom.cpus):
            raise Refused(ENOENT)
        end = self.used(dom, port)
        if end.kind == "ipi" or end.virq in PER_VCPU:
            raise Refused(EINVAL)
        end.vcpu = vcpu

    def close(self, dom: Dom, port: int) -> None:
        end = self.used(dom, port)
        if end.kind == "interdomain":
            assert end.dom is not None and end.port is not None
            remote = self.doms[end.dom].ports[end.port]
            remote.kind, remote.dom, remote.port = "unbound", dom.id, None
        for cpu in dom.cpus:
            cpu.virqs = {virq: p for virq, p in cpu.virqs.items() if p != port}
        dom.pending.discard(port)
        del dom.ports[port]

    def send(self, dom: Dom, port: int) -> None:
        end = self.used(dom, port)
        if end.kind == "virq":
            raise Refused(EINVAL)
        if end.kind == "ipi":
            self.raise_port(dom, port)
        elif end.kind == "interdomain":
            assert end.dom is not None and end.port is not None
            self.raise_port(self.doms[end.dom], end.port)

    def status(self, dom: Dom, domid: int, port: int) -> Port:
        target = self.named(dom, domid)
        if port >= target.valid:
            raise Refused(EINVAL)
        if target is not dom and not dom.privileged:
            raise Refused(EPERM)
        return target.ports.get(port, Port("closed"))

    def unmask(self, dom: Dom, port: int) -> None:
        if port >= dom.valid:
            raise Refused(EINVAL)
        if port in dom.ports and port in dom.mask:
            dom.mask.discard(port)
            if port in dom.pending:
                self.select(dom, port)

    def reset(self, dom: Dom, domid: int) -> None:
        target = self.named(dom, domid)
        if target is not dom and not dom.privileged:
            raise Refused(EPERM)
        if target is not dom and not target.paused:
            raise Refused(EINVAL)
        self.close_all(target)

    def close_all(self, dom: Dom) -> None:
        for port in list(dom.ports):
            self.close(dom, port)

    # delivery

    def select(self, dom: Dom, port: int) -> None:
        cpu, bit = dom.cpus[dom.ports[port].vcpu], 1 << port // 64
        if not cpu.selector & bit:
            cpu.selector |= bit
            cpu.tell()

    def raise_port(self, dom: Dom, port: int) -> None:
        if port in dom.pending:
            return
        dom.pending.add(port)
        if port not in dom.mask:
            self.select(dom, port)
        for cpu in dom.cpus:
            if cpu.polls in (0, port):
                cpu.wake()

    def raise_virq(self, dom: Dom, vcpu: int, virq: int) -> None:
        if virq in dom.cpus[vcpu].virqs:
            self.raise_port(dom, dom.cpus[vcpu].virqs[virq])

    def take_event(self, dom: Dom) -> int | None:
        """As an upcall handler for all virtual CPUs."""
        ready = dom.pending - dom.mask
        if ready:
            dom.pending.discard(min(ready))
            return min(ready)
        for cpu in dom.cpus:
            cpu.selector, cpu.upcall = 0, False
        return None

    # waiting

    def block(self, cpu: Cpu) -> None:
        cpu.masked = False
        cpu.blocked = not cpu.upcall

    def poll(self, dom: Dom, cpu: Cpu, ports: list[int]) -> None:
        if cpu.upcall and not cpu.masked:
            return
        for port in ports:
            self.used(dom, port)
            if port in dom.pending:
                return
        cpu.blocked, cpu.polls = True, ports[0] if len(ports) == 1 else 0

    def move_info(self, caller: Cpu, cpu: Cpu) -> None:
        if cpu.moved or (cpu is not caller and cpu.up):
            raise Refused(EINVAL)
        cpu.moved, cpu.selector = True, ALL_WORDS
        cpu.tell()

    # domains

    def shut_down(self, dom: Dom) -> None:
        if not dom.shut:
            dom.shut = True
            self.raise_virq(self.doms[0], 0, DOM_EXC)

    def destroy(self, dom: Dom) -> None:
        self.close_all(dom)
        dom.dying = True
        self.raise_virq(self.doms[0], 0, DOM_EXC)
        if not dom.held:
            del self.doms[dom.id]

    def release(self, dom: Dom) -> None:
        """The last mapping of its frame goes."""
        dom.held = False
        if dom.dying:
            del self.doms[dom.id]
            self.raise_virq(self.doms[0], 0, DOM_EXC)
