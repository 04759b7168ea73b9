"""event_channel_op: xen/event_channel.h."""

from __future__ import annotations

from dataclasses import dataclass

from xenemu._abi import DOMID_SELF, EvtchnOp, EvtchnStat, Hypercall
from xenemu.xen.calls.group import Group
from xenemu.xen.structs import event_channel as h


@dataclass(frozen=True, slots=True)
class PortStatus:
    """What a port is. `dom` and `port`: its remote end, `virq`, `pirq`: what it is bound to;
    None where it has none."""

    status: EvtchnStat
    vcpu: int
    dom: int | None = None
    port: int | None = None
    virq: int | None = None
    pirq: int | None = None


class EventChannelOp(Group):
    """Event channels: ports of a domain on which it is told of something.

    Port 0 is never used. `DOMID_SELF` names the caller.

    Raises:
        EFAULT: the struct can't be read or written.
        ENOMEM: there would be a port, but Xen's own memory is at its end.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.event_channel_op

    def alloc_unbound(self, *, dom: int = DOMID_SELF, remote_dom: int) -> int:
        """Makes a port in `dom` to which `remote_dom` may bind. `remote_dom` need not exist.

        Struct: evtchn_alloc_unbound
        Returns: the port, the lowest free one.
        Raises:
            ESRCH: there is no domain `dom`.
            EPERM: `dom` is another domain and the caller is not privileged.
            ENOSPC: no port is free.
        """
        arg = h.evtchn_alloc_unbound(dom=dom, remote_dom=remote_dom)
        self._struct(EvtchnOp.alloc_unbound, arg)
        return int(arg.port)

    def bind_interdomain(self, *, remote_dom: int, remote_port: int) -> int:
        """Connects a new port of the caller to an unbound port that waits for the caller, and
        makes the new one pending.

        Struct: evtchn_bind_interdomain
        Returns: the local port.
        Raises:
            ESRCH: there is no domain `remote_dom`.
            EINVAL: the remote port is out of range, not unbound, or meant for another domain.
            ENOSPC: no port is free.
        """
        arg = h.evtchn_bind_interdomain(remote_dom=remote_dom, remote_port=remote_port)
        self._struct(EvtchnOp.bind_interdomain, arg)
        return int(arg.local_port)

    def bind_virq(self, *, virq: int, vcpu: int = 0) -> int:
        """Binds a virtual interrupt to a new port.

        Struct: evtchn_bind_virq
        Returns: the port.
        Raises:
            EINVAL: there is no such virq, or it is global and `vcpu` is not 0.
            ENOENT: there is no such virtual CPU.
            EEXIST: it is bound already.
            ENOSPC: no port is free.
        """
        arg = h.evtchn_bind_virq(virq=virq, vcpu=vcpu)
        self._struct(EvtchnOp.bind_virq, arg)
        return int(arg.port)

    def bind_pirq(self, *, pirq: int, flags: int = 0) -> int:
        """Binds a physical interrupt to a new port. No domain here has any.

        Struct: evtchn_bind_pirq
        Returns: the port.
        Raises:
            EINVAL: there is no such interrupt.
            EPERM: the domain has no access to it.
            EEXIST: it is bound already.
        """
        arg = h.evtchn_bind_pirq(pirq=pirq, flags=flags)
        self._struct(EvtchnOp.bind_pirq, arg)
        return int(arg.port)

    def bind_ipi(self, *, vcpu: int) -> int:
        """Makes a port on which virtual CPUs interrupt `vcpu`.

        Struct: evtchn_bind_ipi
        Returns: the port.
        Raises:
            ENOENT: there is no such virtual CPU.
            ENOSPC: no port is free.
        """
        arg = h.evtchn_bind_ipi(vcpu=vcpu)
        self._struct(EvtchnOp.bind_ipi, arg)
        return int(arg.port)

    def close(self, *, port: int) -> None:
        """Frees a port. The remote end of a connection becomes unbound.

        Struct: evtchn_close
        Raises:
            EINVAL: the port is free or out of range.
        """
        self._struct(EvtchnOp.close, h.evtchn_close(port=port))

    def send(self, *, port: int) -> None:
        """Makes the remote end pending, or the port of an IPI. On an unbound port nothing happens.

        Struct: evtchn_send
        Raises:
            EINVAL: the port is free, out of range, or bound to a virq or pirq.
        """
        self._struct(EvtchnOp.send, h.evtchn_send(port=port))

    def status(self, *, dom: int = DOMID_SELF, port: int) -> PortStatus:
        """What a port is. A free one is `EvtchnStat.closed`.

        Struct: evtchn_status
        Returns: a PortStatus.
        Raises:
            ESRCH: there is no domain `dom`.
            EINVAL: the port is out of range.
            EPERM: `dom` is another domain and the caller is not privileged.
        """
        arg = h.evtchn_status(dom=dom, port=port)
        self._struct(EvtchnOp.status, arg)
        kind = EvtchnStat(arg.status)
        u = arg.u
        if kind == EvtchnStat.unbound:
            return PortStatus(kind, arg.vcpu, dom=u.unbound.dom)
        if kind == EvtchnStat.interdomain:
            return PortStatus(kind, arg.vcpu, dom=u.interdomain.dom, port=u.interdomain.port)
        if kind == EvtchnStat.virq:
            return PortStatus(kind, arg.vcpu, virq=u.virq)
        if kind == EvtchnStat.pirq:
            return PortStatus(kind, arg.vcpu, pirq=u.pirq)
        return PortStatus(kind, arg.vcpu)

    def bind_vcpu(self, *, port: int, vcpu: int) -> None:
        """Says which virtual CPU is told of events on a port.

        Struct: evtchn_bind_vcpu
        Raises:
            ENOENT: there is no such virtual CPU.
            EINVAL: the port is free or out of range, or it is an IPI or a virq of one CPU.
        """
        self._struct(EvtchnOp.bind_vcpu, h.evtchn_bind_vcpu(port=port, vcpu=vcpu))

    def unmask(self, *, port: int) -> None:
        """Clears the port's mask bit; the upcall that it held back is made.

        Struct: evtchn_unmask
        Raises:
            EINVAL: the port is out of range.
        """
        self._struct(EvtchnOp.unmask, h.evtchn_unmask(port=port))

    def reset(self, *, dom: int = DOMID_SELF) -> None:
        """Closes all ports of a domain.

        Struct: evtchn_reset
        Raises:
            ESRCH: there is no domain `dom`.
            EPERM: `dom` is another domain and the caller is not privileged.
            EINVAL: `dom` is another domain that is not paused.
        """
        self._struct(EvtchnOp.reset, h.evtchn_reset(dom=dom))

    def init_control(self, *, control_gfn: int, offset: int, vcpu: int) -> int:
        """Gives a virtual CPU a FIFO control block (the FIFO ABI of event channels).

        Struct: evtchn_init_control
        Returns: link_bits.
        Raises:
            ENOENT: there is no such virtual CPU.
            EINVAL: the frame is not the domain's, or the offset is misplaced; or it has one.
        """
        arg = h.evtchn_init_control(control_gfn=control_gfn, offset=offset, vcpu=vcpu)
        self._struct(EvtchnOp.init_control, arg)
        return int(arg.link_bits)

    def expand_array(self, *, array_gfn: int) -> None:
        """Adds a page of event words (the FIFO ABI).

        Struct: evtchn_expand_array
        Raises:
            EOPNOTSUPP: the domain does not use the FIFO ABI.
            EINVAL: the frame is not the domain's.
            ENOSPC: the array is as large as can be.
        """
        self._struct(EvtchnOp.expand_array, h.evtchn_expand_array(array_gfn=array_gfn))

    def set_priority(self, *, port: int, priority: int) -> None:
        """The priority of a port's events, 0 (first) to 15 (the FIFO ABI).

        Struct: evtchn_set_priority
        Raises:
            EINVAL: the port is out of range, or there is no such priority.
            ENOSYS: the domain does not use the FIFO ABI.
            EACCES: the port is free.
        """
        self._struct(EvtchnOp.set_priority, h.evtchn_set_priority(port=port, priority=priority))
