"""A machine beside its model, for test_event_channels: what both do, and how a guest's memory says
what the model says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercalls.support import bring_up, map_frame, write_bit
from hypothesis.stateful import RuleBasedStateMachine
from models.event_channels import PORTS, SELF, Cpu, Dom, Model, Port, Refused

from xenemu import Domain, HypercallError, Machine
from xenemu.xen.structs.xen import shared_info, vcpu_info

INFO_SIZE = 64


def bits(words: Any) -> set[int]:
    return {i * 64 + b for i, word in enumerate(words) if word for b in range(64) if word >> b & 1}


def as_port(status: Any) -> Port:
    return Port(status.status.name, status.vcpu, status.dom, status.port, status.virq)


class EventChannelHost(RuleBasedStateMachine):
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

    def forget(self, domid: int) -> None:
        del self.domains[domid], self.shared[domid]
        self.tainted.discard(domid)
        self.infos = {at: mfn for at, mfn in self.infos.items() if at[0] != domid}

    # calls

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

    def virq(self, caller: tuple[Dom, int], virq: int, vcpu: int) -> None:
        self.agree(
            caller,
            lambda: self.model.bind_virq(caller[0], virq, vcpu),
            lambda call: call.event_channel_op.bind_virq(virq=virq, vcpu=vcpu),
        )

    def ipi(self, caller: tuple[Dom, int], vcpu: int) -> None:
        self.agree(
            caller,
            lambda: self.model.bind_ipi(caller[0], vcpu),
            lambda call: call.event_channel_op.bind_ipi(vcpu=vcpu),
        )

    def op_on_port(self, caller: tuple[Dom, int], op: str, port: int) -> None:
        self.agree(
            caller,
            lambda: getattr(self.model, op)(caller[0], port),
            lambda call: getattr(call.event_channel_op, op)(port=port),
        )

    # guest memory

    def write(self, dom: Dom, kind: str, port: int, on: bool) -> None:
        bits = dom.mask if kind == "mask" else dom.pending
        (bits.add if on else bits.discard)(port)
        at = self.shared[dom.id] + getattr(shared_info, f"evtchn_{kind}").offset
        write_bit(self.domains[dom.id], at, port, on)

    def write_upcall_mask(self, dom: Dom, vcpu: int, on: bool) -> None:
        dom.cpus[vcpu].masked = on
        domain, info = self.domains[dom.id], self.shared[dom.id] + INFO_SIZE * vcpu
        if dom.cpus[vcpu].moved:
            info = domain.gva(20 + vcpu) + 128
        domain.write(info + vcpu_info.evtchn_upcall_mask.offset, bytes([on]))

    def info_of(self, dom: Dom, vcpu: int, info: Any) -> Any:
        if not dom.cpus[vcpu].moved:
            return info.vcpu_info[vcpu]
        raw = self.machine.read_frame(self.infos[dom.id, vcpu], 128, INFO_SIZE)
        return vcpu_info.from_buffer_copy(raw)
