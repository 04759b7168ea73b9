"""Event channels against a model: up to five domains with up to three virtual CPUs.

In `default` about 5000 steps. pytest --hypothesis-profile=long tests/models/test_event_channels.py
makes up to 160,000 in some minutes, others each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercalls.support import PRESENT_RO, PRESENT_RW, bring_up, map_frame, write_bit
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from models.event_channels import (
    BUCKET,
    DOM_EXC,
    PORTS,
    SELF,
    TIMER,
    VIRQS,
    Cpu,
    Dom,
    Model,
    Port,
    Refused,
)

from xenemu import Domain, HypercallError, Machine
from xenemu.xen import Shutdown
from xenemu.xen.structs.xen import shared_info, vcpu_info

MOST_DOMAINS, MOST_VCPUS = 5, 3
INFO_SIZE = 64
ANY = st.integers(0, 99)  # an index into whatever there is
VIRQ = st.sampled_from([0, 0, 1, 3, 3, 7, 12, 13, VIRQS - 1, VIRQS, 1 << 31])
VCPU = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1 << 31])


class EventChannels(RuleBasedStateMachine):
    """Real domains and their models have the same ids."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(memory_mib=16, control_memory_mib=1)
        self.model = Model()
        self.domains: dict[int, Domain] = {}
        self.shared: dict[int, int] = {}  # where each domain has its shared_info
        self.infos: dict[tuple[int, int], int] = {}  # frames of vcpu_infos that were moved
        self.views: dict[int, int] = {}  # where domain 0 has a frame of another
        self.tainted: set[int] = set()  # domains that have set pending bits themselves

    def teardown(self) -> None:
        self.machine.close()

    @property
    def control(self) -> Domain:
        return self.machine.control

    # what a rule chooses

    def caller(self, n: int) -> tuple[Dom, int]:
        """A virtual CPU that can make a call."""
        able = [
            (dom, vcpu)
            for dom in self.model.doms.values()
            if dom.runs
            for vcpu, cpu in enumerate(dom.cpus)
            if cpu.up
        ]
        return able[n % len(able)]

    def domid(self, n: int) -> int:
        ids = [*self.model.doms, *self.model.doms, SELF, SELF, 77, 0xFFFF]
        return ids[n % len(ids)]

    def port(self, domid: int, n: int) -> int:
        dom = self.model.doms.get(domid)
        if dom and dom.ports and n % 8:
            ports = list(dom.ports)
            return ports[-(n - n // 8) % len(ports)]
        odd = [0, PORTS, 0xFFFF_FFFF, 1, 2, 3] + ([dom.valid - 1, dom.valid] if dom else [])
        return odd[n // 8 % len(odd)]

    def guests(self) -> list[Dom]:
        return [dom for dom in self.model.doms.values() if dom.id]

    # both do the same

    def agree(
        self, who: tuple[Dom, int], model: Callable[[], Any], real: Callable[[Any], Any]
    ) -> Any:
        """The answer of both."""
        dom, vcpu = who
        dom.cpus[vcpu].wake()  # who calls runs
        want: Any
        got: Any
        try:
            want = model()
        except Refused as refusal:
            want = refusal.code, "refused"
        try:
            got = real(self.domains[dom.id].vcpu(vcpu).hypercall)
        except HypercallError as error:
            got = error.errno, "refused"
        assert got == want
        return got

    def add(self, vcpus: int, privileged: bool) -> None:
        domain = self.machine.create_domain(1, vcpus=vcpus, privileged=privileged)
        self.adopt(domain, vcpus, privileged)

    def adopt(self, domain: Domain, vcpus: int, privileged: bool) -> None:
        for n in range(vcpus):
            if n:
                bring_up(domain, n)
            domain.hypercall.vcpu_op.stop_periodic_timer(vcpuid=n)
        infos = domain.shared_info.vcpu_info
        cpus = [Cpu(masked=bool(infos[n].evtchn_upcall_mask)) for n in range(vcpus)]
        self.model.doms[domain.id] = Dom(domain.id, privileged, cpus)
        self.domains[domain.id] = domain
        self.shared[domain.id] = map_frame(domain, domain.info.shared_info_frame)

    @initialize(
        vcpus=st.lists(st.integers(1, MOST_VCPUS), min_size=2, max_size=2), wide=st.booleans()
    )
    def begin(self, vcpus: list[int], wide: bool) -> None:
        """Domain 0 hears DOM_EXC; the others have a channel to it and one between them, a timer
        and an IPI; if `wide`, in two words."""
        self.machine.run_for(1)
        self.adopt(self.control, 1, True)
        self.free = self.machine.free_pages
        for n in vcpus:
            self.add(n, False)
        dom0, first, second = self.model.doms.values()
        self.virq((dom0, 0), DOM_EXC, 0)
        for dom in (first, second):
            self.channel((dom, 0), (dom0, 0))
            self.virq((dom, 0), TIMER, 0)
            self.ipi((dom, 0), len(dom.cpus) - 1)
            for port in range(4, BUCKET + 2) if wide else ():
                self.ipi((dom, 0), 0)
                if port < BUCKET - 2:
                    self.op_on_port((dom, 0), "close", port)
        self.channel((first, 0), (second, 0))

    # domains

    @precondition(lambda self: len(self.model.doms) < MOST_DOMAINS)
    @rule(vcpus=st.integers(1, MOST_VCPUS), privileged=st.booleans())
    def create(self, vcpus: int, privileged: bool) -> None:
        self.add(vcpus, privileged)

    @precondition(lambda self: any(not dom.dying for dom in self.guests()))
    @rule(n=ANY)
    def destroy(self, n: int) -> None:
        living = [dom for dom in self.guests() if not dom.dying]
        dom = living[n % len(living)]
        self.model.destroy(dom)
        self.domains[dom.id].destroy()
        if not dom.held:
            self.forget(dom.id)

    def forget(self, domid: int) -> None:
        del self.domains[domid], self.shared[domid]
        self.tainted.discard(domid)
        self.infos = {at: mfn for at, mfn in self.infos.items() if at[0] != domid}

    @precondition(lambda self: any(not d.dying and not d.held for d in self.guests()))
    @rule(n=ANY)
    def hold(self, n: int) -> None:
        """Domain 0 maps a frame of another, which will be a zombie when it is destroyed."""
        able = [dom for dom in self.guests() if not dom.dying and not dom.held]
        dom = able[n % len(able)]
        page = self.control.gva(100 + dom.id)
        entry = self.domains[dom.id].mfn(9) << 12 | PRESENT_RO
        self.views[dom.id] = self.control.mfn_at(page)
        self.control.hypercall.update_va_mapping_otherdomain(page, entry, 0, domid=dom.id)
        dom.held = True

    @precondition(lambda self: any(dom.held for dom in self.guests()))
    @rule(n=ANY)
    def release(self, n: int) -> None:
        able = [dom for dom in self.guests() if dom.held]
        dom = able[n % len(able)]
        page, mfn = self.control.gva(100 + dom.id), self.views.pop(dom.id)
        self.control.hypercall.update_va_mapping(page, mfn << 12 | PRESENT_RW)
        self.model.release(dom)
        if dom.dying:
            self.forget(dom.id)

    @precondition(lambda self: self.guests())
    @rule(n=ANY, pause=st.booleans())
    def pause(self, n: int, pause: bool) -> None:
        dom = self.guests()[n % len(self.guests())]
        if pause or dom.paused:
            dom.paused += 1 if pause else -1
            domctl = self.control.hypercall.domctl
            (domctl.pausedomain if pause else domctl.unpausedomain)(domain=dom.id)

    @precondition(lambda self: self.guests())
    @rule(n=ANY)
    def shut_down(self, n: int) -> None:
        dom = self.guests()[n % len(self.guests())]
        self.model.shut_down(dom)
        self.control.hypercall.sched_op.remote_shutdown(domain_id=dom.id, reason=Shutdown.reboot)

    @precondition(lambda self: any(dom.shut and not dom.dying for dom in self.guests()))
    @rule(n=ANY)
    def resume(self, n: int) -> None:
        able = [dom for dom in self.guests() if dom.shut and not dom.dying]
        dom = able[n % len(able)]
        dom.shut = False
        self.control.hypercall.domctl.resumedomain(domain=dom.id)

    # event_channel_op

    @rule(who=ANY, n=ANY, to=ANY)
    def alloc_unbound(self, who: int, n: int, to: int) -> None:
        caller, domid, remote = self.caller(who), self.domid(n), self.domid(to)
        self.agree(
            caller,
            lambda: self.model.alloc_unbound(caller[0], domid, remote),
            lambda call: call.event_channel_op.alloc_unbound(dom=domid, remote_dom=remote),
        )

    @rule(who=ANY, n=ANY, port=ANY)
    def bind_interdomain(self, who: int, n: int, port: int) -> None:
        caller, domid = self.caller(who), self.domid(n)
        remote = self.port(domid, port)
        self.agree(
            caller,
            lambda: self.model.bind_interdomain(caller[0], domid, remote),
            lambda call: call.event_channel_op.bind_interdomain(
                remote_dom=domid, remote_port=remote
            ),
        )

    def channel(self, first: tuple[Dom, int], second: tuple[Dom, int]) -> None:
        port = self.agree(
            first,
            lambda: self.model.alloc_unbound(first[0], SELF, second[0].id),
            lambda call: call.event_channel_op.alloc_unbound(remote_dom=second[0].id),
        )
        self.agree(
            second,
            lambda: self.model.bind_interdomain(second[0], first[0].id, port),
            lambda call: call.event_channel_op.bind_interdomain(
                remote_dom=first[0].id, remote_port=port
            ),
        )

    @rule(a=ANY, b=ANY, loop=st.booleans())
    def connect(self, a: int, b: int, loop: bool) -> None:
        first = self.caller(a)
        self.channel(first, first if loop else self.caller(b))

    def virq(self, caller: tuple[Dom, int], virq: int, vcpu: int) -> None:
        self.agree(
            caller,
            lambda: self.model.bind_virq(caller[0], virq, vcpu),
            lambda call: call.event_channel_op.bind_virq(virq=virq, vcpu=vcpu),
        )

    @rule(who=ANY, virq=VIRQ, vcpu=VCPU)
    def bind_virq(self, who: int, virq: int, vcpu: int) -> None:
        self.virq(self.caller(who), virq, vcpu)

    def ipi(self, caller: tuple[Dom, int], vcpu: int) -> None:
        self.agree(
            caller,
            lambda: self.model.bind_ipi(caller[0], vcpu),
            lambda call: call.event_channel_op.bind_ipi(vcpu=vcpu),
        )

    @rule(who=ANY, vcpu=VCPU)
    def bind_ipi(self, who: int, vcpu: int) -> None:
        self.ipi(self.caller(who), vcpu)

    @rule(who=ANY, n=ANY, vcpu=VCPU)
    def bind_vcpu(self, who: int, n: int, vcpu: int) -> None:
        caller = self.caller(who)
        port = self.port(caller[0].id, n)
        self.agree(
            caller,
            lambda: self.model.bind_vcpu(caller[0], port, vcpu),
            lambda call: call.event_channel_op.bind_vcpu(port=port, vcpu=vcpu),
        )

    def op_on_port(self, caller: tuple[Dom, int], op: str, port: int) -> None:
        self.agree(
            caller,
            lambda: getattr(self.model, op)(caller[0], port),
            lambda call: getattr(call.event_channel_op, op)(port=port),
        )

    @rule(who=ANY, n=ANY, op=st.sampled_from(["close", "unmask", "unmask"]))
    def on_port(self, who: int, n: int, op: str) -> None:
        caller = self.caller(who)
        self.op_on_port(caller, op, self.port(caller[0].id, n))

    @rule(who=ANY, ns=st.lists(ANY, min_size=1, max_size=5))
    def send(self, who: int, ns: list[int]) -> None:
        caller = self.caller(who)
        for n in ns:
            self.op_on_port(caller, "send", self.port(caller[0].id, n))

    @rule(who=ANY, n=ANY, port=ANY)
    def status(self, who: int, n: int, port: int) -> None:
        caller, domid = self.caller(who), self.domid(n)
        asked = self.port(caller[0].id if domid == SELF else domid, port)
        self.agree(
            caller,
            lambda: self.model.status(caller[0], domid, asked),
            lambda call: as_port(call.event_channel_op.status(dom=domid, port=asked)),
        )

    @rule(who=ANY, n=ANY)
    def reset(self, who: int, n: int) -> None:
        caller, domid = self.caller(who), self.domid(n)
        self.agree(
            caller,
            lambda: self.model.reset(caller[0], domid),
            lambda call: call.event_channel_op.reset(dom=domid),
        )

    # what else makes or takes events

    @rule(who=ANY)
    def ring(self, who: int) -> None:
        """A timer that is past."""
        caller = self.caller(who)
        self.agree(
            caller,
            lambda: self.model.raise_virq(caller[0], caller[1], TIMER),
            lambda call: call.set_timer_op(1),
        )

    @rule(who=ANY)
    def block(self, who: int) -> None:
        caller = self.caller(who)
        if caller[0].id:  # domain 0 is the one that looks
            self.agree(
                caller,
                lambda: self.model.block(caller[0].cpus[caller[1]]),
                lambda call: call.sched_op.block(),
            )

    @rule(who=ANY, ns=st.lists(ANY, min_size=1, max_size=3))
    def poll(self, who: int, ns: list[int]) -> None:
        dom, vcpu = caller = self.caller(who)
        ports = [self.port(dom.id, n) for n in ns]
        if dom.id:
            self.agree(
                caller,
                lambda: self.model.poll(dom, dom.cpus[vcpu], ports),
                lambda call: call.sched_op.poll(ports=ports),
            )

    @rule(who=ANY, ns=st.lists(ANY, min_size=1, max_size=2))
    def sleep_on(self, who: int, ns: list[int]) -> None:
        """As a kernel polls: on masked ports of which the events are taken, without upcalls."""
        dom, vcpu = self.caller(who)
        for n in ns:
            port = self.port(dom.id, n) % PORTS
            self.write(dom, "mask", port, True)
            self.write(dom, "pending", port, False)
        self.write_upcall_mask(dom, vcpu, True)
        self.poll(who, ns)

    @rule(who=ANY, vcpu=st.integers(0, MOST_VCPUS - 1))
    def move_info(self, who: int, vcpu: int) -> None:
        dom, own = caller = self.caller(who)
        if vcpu >= len(dom.cpus):
            return
        mfn = self.domains[dom.id].mfn(20 + vcpu)
        self.agree(
            caller,
            lambda: self.model.move_info(dom.cpus[own], dom.cpus[vcpu]),
            lambda call: call.vcpu_op.register_vcpu_info(vcpuid=vcpu, mfn=mfn, offset=128),
        )
        if dom.cpus[vcpu].moved:
            self.infos[dom.id, vcpu] = mfn

    @rule(who=ANY, vcpu=st.integers(1, MOST_VCPUS - 1), up=st.booleans())
    def switch(self, who: int, vcpu: int, up: bool) -> None:
        dom, _ = caller = self.caller(who)
        if vcpu < len(dom.cpus) and (up or sum(cpu.up for cpu in dom.cpus) > 1):
            self.agree(
                caller,
                lambda: setattr(dom.cpus[vcpu], "up", up),
                lambda call: (call.vcpu_op.up if up else call.vcpu_op.down)(vcpuid=vcpu),
            )

    @rule(who=ANY)
    def take(self, who: int) -> None:
        dom, _ = self.caller(who)
        if dom.id not in self.tainted:
            assert self.domains[dom.id].take_event() == self.model.take_event(dom)

    def write(self, dom: Dom, kind: str, port: int, on: bool) -> None:
        bits = dom.mask if kind == "mask" else dom.pending
        (bits.add if on else bits.discard)(port)
        at = self.shared[dom.id] + getattr(shared_info, f"evtchn_{kind}").offset
        write_bit(self.domains[dom.id], at, port, on)

    @rule(who=ANY, n=ANY, kind=st.sampled_from(["mask", "mask", "pending"]), on=st.booleans())
    def scribble(self, who: int, n: int, kind: str, on: bool) -> None:
        """A guest writes to its bitmaps what it likes."""
        dom, _ = self.caller(who)
        self.write(dom, kind, self.port(dom.id, n) % PORTS, on)
        if kind == "pending" and on:
            self.tainted.add(dom.id)

    def write_upcall_mask(self, dom: Dom, vcpu: int, on: bool) -> None:
        dom.cpus[vcpu].masked = on
        domain, info = self.domains[dom.id], self.shared[dom.id] + INFO_SIZE * vcpu
        if dom.cpus[vcpu].moved:
            info = domain.gva(20 + vcpu) + 128
        domain.write(info + vcpu_info.evtchn_upcall_mask.offset, bytes([on]))

    @rule(who=ANY, on=st.booleans())
    def mask_upcalls(self, who: int, on: bool) -> None:
        self.write_upcall_mask(*self.caller(who), on)

    # what must hold after each step

    def info_of(self, dom: Dom, vcpu: int, info: Any) -> Any:
        if not dom.cpus[vcpu].moved:
            return info.vcpu_info[vcpu]
        raw = self.machine.read_frame(self.infos[dom.id, vcpu], 128, INFO_SIZE)
        return vcpu_info.from_buffer_copy(raw)

    @invariant()
    def the_same_domains(self) -> None:
        assert {domain.id for domain in self.machine.domains()} == set(self.model.doms)
        assert {d.id for d in self.machine.domains() if d.info.dying} == {
            dom.id for dom in self.model.doms.values() if dom.dying
        }
        if len(self.model.doms) == 1 and not self.views:
            assert self.machine.free_pages == self.free

    @invariant()
    def the_same_ports(self) -> None:
        status = self.control.hypercall.event_channel_op.status
        for dom in self.model.doms.values():
            for port in {0, 1, 2, 3, *dom.ports, dom.valid - 1}:
                if port < dom.valid:
                    got = as_port(status(dom=dom.id, port=port))
                    assert got == dom.ports.get(port, Port("closed")), (dom.id, port)

    @invariant()
    def both_ends_name_each_other(self) -> None:
        for dom in self.model.doms.values():
            for port, end in dom.ports.items():
                if end.kind == "interdomain":
                    assert end.dom is not None and end.port is not None
                    other = self.model.doms[end.dom].ports[end.port]
                    assert (other.kind, other.dom, other.port) == ("interdomain", dom.id, port)

    @invariant()
    def the_same_bits(self) -> None:
        for dom in self.model.doms.values():
            if dom.dying:
                continue
            info = self.domains[dom.id].shared_info
            assert bits(info.evtchn_pending) == dom.pending, dom.id
            assert bits(info.evtchn_mask) == dom.mask, dom.id
            ready = sorted(dom.pending - dom.mask)
            assert self.domains[dom.id].pending_ports() == ready

    @invariant()
    def the_same_virtual_cpus(self) -> None:
        for dom in self.model.doms.values():
            if dom.dying:
                continue
            info = self.domains[dom.id].shared_info
            for n, cpu in enumerate(dom.cpus):
                own = self.info_of(dom, n, info)
                told = own.evtchn_upcall_pending, own.evtchn_pending_sel, own.evtchn_upcall_mask
                assert told == (cpu.upcall, cpu.selector, cpu.masked), (dom.id, n)
                state = self.control.hypercall.domctl.getvcpuinfo(domain=dom.id, vcpu=n)
                assert (state.blocked, state.online) == (cpu.blocked, cpu.up), (dom.id, n)

    @invariant()
    def frames_are_their_owners(self) -> None:
        for dom in self.model.doms.values():
            if not dom.dying:
                frame = self.machine.frame(self.domains[dom.id].info.shared_info_frame)
                assert (frame.owner, frame.allocated) == (dom.id, True)
        for (domid, _), mfn in self.infos.items():
            if not self.model.doms[domid].dying:
                assert self.machine.frame(mfn).owner == domid


def bits(words: Any) -> set[int]:
    return {i * 64 + b for i, word in enumerate(words) if word for b in range(64) if word >> b & 1}


def as_port(status: Any) -> Port:
    return Port(status.status.name, status.vcpu, status.dom, status.port, status.virq)


TestEventChannels = EventChannels.TestCase
