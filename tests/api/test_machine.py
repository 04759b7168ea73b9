"""xenemu.Machine, its domains, memory, events and time."""

import subprocess
import sys

import pytest

from xenemu import Domain, Machine
from xenemu.xen import PAGE_SIZE, Virq


def test_control_is_domain_0_and_the_only_privileged_one(xen_machine: Machine) -> None:
    assert xen_machine.control is xen_machine.domain(0)
    guest = xen_machine.create_domain()
    assert guest.id == 1
    xen_machine.control.hypercall.domctl.pausedomain(domain=guest.id)
    assert guest.info.paused
    with pytest.raises(PermissionError, match=r"domctl.pausedomain: EPERM"):
        guest.hypercall.domctl.pausedomain(domain=0)


def test_a_closed_machine(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain()
    xen_machine.close()
    xen_machine.close()
    with pytest.raises(ValueError, match="closed"):
        domain.hypercall(17, 0)
    with pytest.raises(ValueError, match="closed"):
        domain.read(domain.gva(0), 1)


def test_too_large_a_domain_is_refused_and_leaves_nothing(xen_machine: Machine) -> None:
    free = xen_machine.free_pages
    with pytest.raises(OSError, match="memory") as refused:
        xen_machine.create_domain(memory_mib=100)
    assert refused.value.errno == 12
    assert xen_machine.free_pages == free


def test_a_domain_is_built_as_a_pv_guest(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(memory_mib=2, cmdline="console=hvc0")
    start, info = domain.start_info, domain.info
    assert bytes(start.magic).startswith(b"xen-3.0-x86_64\0")
    assert bytes(start.cmd_line).startswith(b"console=hvc0\0")
    assert start.nr_pages == info.tot_pages == 512
    assert start.shared_info == info.shared_info_frame * PAGE_SIZE
    assert domain.mfn(3) == int.from_bytes(domain.read(start.mfn_list + 24, 8), "little")
    assert domain.pfn_of(domain.mfn(3)) == 3


def test_a_domain_at_another_base(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(virt_base=0xFFFF_FFFF_8000_0000)
    assert domain.gva(1) == 0xFFFF_FFFF_8000_1000
    assert domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0) == 1


def test_memory_runs_out(xen_domain: Domain) -> None:
    first = xen_domain.alloc_page()
    assert first % PAGE_SIZE == 0
    xen_domain.write(first, b"x" * PAGE_SIZE)
    with pytest.raises(MemoryError):
        xen_domain.alloc(8 << 20)
    second = xen_domain.alloc(16)
    assert second == first + PAGE_SIZE
    with pytest.raises(OSError, match="Bad address"):
        xen_domain.read(0xDEAD_0000, 1)


def test_arguments_are_freed_again(xen_domain: Domain) -> None:
    top = xen_domain.memory.top
    for _ in range(3):
        xen_domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
        with pytest.raises(FileExistsError):
            for _ in range(2):
                xen_domain.hypercall.event_channel_op.bind_virq(virq=Virq.TIMER)
    assert xen_domain.memory.top == top


def test_frames(xen_machine: Machine, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    frame = xen_machine.frame(mfn)
    assert (frame.owner, frame.type, frame.type_count) == (xen_domain.id, "writable", 1)
    assert frame.allocated
    xen_domain.write(page, b"abc")
    assert xen_machine.read_frame(mfn, 0, 3) == b"abc"
    root = xen_domain.start_info.pt_base
    assert xen_machine.frame(xen_domain.mfn_at(root)).type == "l4"
    with pytest.raises(OSError, match="Invalid"):
        xen_machine.frame(1 << 40)


def test_events_reach_handlers_in_order(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    got: list[int] = []
    for _ in range(3):
        port = other.hypercall.event_channel_op.alloc_unbound(remote_dom=xen_domain.id)
        other.on_event(port, got.append)
        local = xen_domain.hypercall.event_channel_op.bind_interdomain(
            remote_dom=other.id, remote_port=port
        )
        xen_domain.hypercall.event_channel_op.send(port=local)
    assert other.pending_ports() == [1, 2, 3]
    assert got == []
    other.pause()
    xen_machine.run_for(1)
    assert got == []
    other.unpause()
    xen_machine.run_for(0)
    assert got == [1, 2, 3]
    assert other.pending_ports() == []
    assert xen_domain.take_event() == 1
    assert xen_domain.pending_ports() == [2, 3]


def test_a_destroyed_domain(xen_machine: Machine, xen_domain: Domain) -> None:
    free = xen_machine.free_pages
    gone = xen_machine.create_domain()
    gone.on_event(1, lambda port: None)
    gone.destroy()
    assert not gone.exists
    assert xen_machine.free_pages == free
    with pytest.raises(ProcessLookupError):
        gone.hypercall(17, 0)
    with pytest.raises(ProcessLookupError):
        xen_machine.domain(gone.id)
    again = xen_machine.create_domain()
    assert again.id == gone.id and again is not gone
    assert xen_machine.domains() == [xen_machine.control, xen_domain, again]


def test_many_domains() -> None:
    with Machine(memory_mib=700) as machine:
        domains = [machine.create_domain(memory_mib=1) for _ in range(400)]
        assert domains[-1].id == 400
        assert len(machine.domains()) == 401


def test_time_passes_only_when_told(xen_machine: Machine) -> None:
    now = xen_machine.now_ns
    xen_machine.create_domain().hypercall.sched_op.yield_()
    assert xen_machine.now_ns == now
    xen_machine.run_for(1.5)
    assert xen_machine.now_ns == now + 1_500_000_000
    assert not xen_machine.run_until(lambda: False, timeout=0.25)
    assert xen_machine.now_ns == now + 1_750_000_000


def test_the_same_calls_give_the_same_run() -> None:
    def run() -> tuple[int, dict[str, int]]:
        with Machine(seed=7) as machine:
            domain = machine.create_domain()
            domain.hypercall.event_channel_op.alloc_unbound(remote_dom=0)
            machine.run_for(0.5)
            return machine.now_ns, machine.counters

    assert run() == run()


def test_the_package_is_light() -> None:
    code = (
        "import sys, xenemu, xenemu.pytest_plugin;"
        "print([m for m in sys.modules if m.startswith('xenemu.') and 'plugin' not in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
