"""Event channels against a model: up to five domains with up to three virtual CPUs.

In `default` about 5000 steps. pytest --hypothesis-profile=long tests/models/test_event_channels.py
makes up to 160,000 in some minutes, others each time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypercalls.support import PRESENT_RO, PRESENT_RW
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from models.event_channel_host import EventChannelHost, as_port, bits
from models.event_channels import (
    BUCKET,
    DOM_EXC,
    PORTS,
    SELF,
    TIMER,
    VIRQS,
    Port,
)

from xenemu.xen import Shutdown

MOST_DOMAINS, MOST_VCPUS = 5, 3
TRAFFIC = 20
ANY = st.integers(0, 99)  # an index into whatever there is
VIRQ = st.sampled_from([0, 0, 1, 3, 3, 7, 12, 13, VIRQS - 1, VIRQS, 1 << 31])
VCPU = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1 << 31])


class EventChannels(EventChannelHost):
    """What domains do, in any order."""

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
        fill = range(1, BUCKET - 2 if wide else 1)
        for dom in (first, second):
            for _ in fill:
                self.ipi((dom, 0), 0)
            self.channel((dom, 0), (dom0, 0))
            self.virq((dom, 0), TIMER, 0)
            self.ipi((dom, 0), len(dom.cpus) - 1)
        self.channel((first, 0), (second, 0))
        for dom in (first, second):
            for port in fill:
                self.op_on_port((dom, 0), "close", port)

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
        self.take(0)
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
        dom = self.model.doms.get(domid, caller[0])
        waiting = [p for p, end in dom.ports.items() if end.kind == "unbound"]
        remote = waiting[port % len(waiting)] if waiting and port % 3 else self.port(domid, port)
        self.agree(
            caller,
            lambda: self.model.bind_interdomain(caller[0], domid, remote),
            lambda call: call.event_channel_op.bind_interdomain(
                remote_dom=domid, remote_port=remote
            ),
        )

    @rule(a=ANY, b=ANY, loop=st.booleans())
    def connect(self, a: int, b: int, loop: bool) -> None:
        first = self.caller(a)
        self.channel(first, first if loop else self.caller(b))

    @rule(who=ANY, virq=VIRQ, vcpu=VCPU)
    def bind_virq(self, who: int, virq: int, vcpu: int) -> None:
        self.virq(self.caller(who), virq, vcpu)

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
        for _ in range(who % 4 + 1 if dom.id not in self.tainted else 0):
            assert self.domains[dom.id].take_event() == self.model.take_event(dom)

    @rule(who=ANY, n=ANY, kind=st.sampled_from(["mask", "mask", "pending"]), on=st.booleans())
    def scribble(self, who: int, n: int, kind: str, on: bool) -> None:
        """A guest writes to its bitmaps what it likes."""
        dom, _ = self.caller(who)
        self.write(dom, kind, self.port(dom.id, n) % PORTS, on)
        if kind == "pending" and on:
            self.tainted.add(dom.id)

    @rule(who=ANY, on=st.booleans())
    def mask_upcalls(self, who: int, on: bool) -> None:
        self.write_upcall_mask(*self.caller(who), on)

    @rule(seed=st.integers(0, 1 << 32))
    def traffic(self, seed: int) -> None:
        """Much of what changes no port."""
        rng = Random(seed)

        def n() -> int:
            return rng.randrange(1000)

        acts: list[Callable[[], None]] = [
            lambda: self.send(n(), [n(), n()]),
            lambda: self.sleep_on(n(), [n()] * rng.randrange(1, 3)),
            lambda: self.poll(n(), [n(), n()]),
            lambda: self.block(n()),
            lambda: self.take(n()),
            lambda: self.on_port(n(), n(), "unmask"),
            lambda: self.scribble(n(), n(), "mask", n() % 4 == 0),
            lambda: self.mask_upcalls(n(), n() % 4 == 0),
            lambda: self.ring(n()),
        ]
        for act in rng.choices(acts, weights=(6, 3, 1, 1, 3, 1, 2, 1, 1), k=TRAFFIC):
            act()
            self.the_same_bits()
            self.the_same_virtual_cpus()

    # what must hold after each step

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


TestEventChannels = EventChannels.TestCase
