"""vcpu_op: run states, and what Xen keeps up to date in the guest's memory: runstate area,
time area, vcpu_info."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFAULT, EINVAL, ENXIO
from typing import Any

import pytest
from hypercalls.support import (
    MS,
    NOT_CANONICAL,
    PRESENT_RW,
    UNMAPPED,
    XEN_VA,
    bring_up,
    read_only,
    refused,
    refused_without_effect,
    straddling,
)

from xenemu import Domain, Machine
from xenemu.xen import PAGE_SIZE, RunState, Shutdown, structs
from xenemu.xen.structs.xen import vcpu_info, vcpu_time_info

RUNSTATE = structs.vcpu.vcpu_runstate_info
LAST = PAGE_SIZE - 64


@pytest.fixture
def guest(xen_machine: Machine) -> Domain:
    """With two virtual CPUs that are up."""
    domain = xen_machine.create_domain(vcpus=2)
    bring_up(domain, 1)
    return domain


def area(domain: Domain, at: int) -> Any:
    return domain.memory.read_struct(RUNSTATE, at)


# run states


def test_the_times_of_all_states_add_up_to_its_age(xen_machine: Machine, guest: Domain) -> None:
    steps = [
        (1, lambda: guest.hypercall.sched_op.block()),
        (2, lambda: guest.hypercall.sched_op.yield_()),
        (4, guest.pause),
        (8, guest.unpause),
        (16, lambda: guest.hypercall.sched_op.shutdown(reason=Shutdown.suspend)),
        (32, lambda: None),
    ]
    for ms, step in steps:
        xen_machine.run_for(ms / 1000)
        step()
    info = guest.vcpu(1).hypercall.vcpu_op.get_runstate_info(vcpuid=0)
    assert (info.state, info.state_entry_time) == (RunState.offline, 31 * MS)
    assert info.time == (1 * MS + 4 * MS + 16 * MS, 0, 2 * MS, 8 * MS + 32 * MS)


def test_blocked_counts_before_paused(xen_machine: Machine, guest: Domain) -> None:
    guest.hypercall.sched_op.block()
    guest.pause()
    xen_machine.run_for(0.001)
    info = guest.vcpu(1).hypercall.vcpu_op.get_runstate_info(vcpuid=0)
    assert (info.state, info.time[RunState.blocked]) == (RunState.blocked, MS)


def test_what_is_down_is_offline(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=2)
    xen_machine.run_for(0.003)
    info = domain.hypercall.vcpu_op.get_runstate_info(vcpuid=1)
    assert (info.state, info.time) == (RunState.offline, (0, 0, 0, 3 * MS))


# register_runstate_memory_area


@pytest.mark.parametrize("vcpuid", [0, 1])
def test_the_runstate_area_is_written_at_once(
    xen_machine: Machine, guest: Domain, vcpuid: int
) -> None:
    xen_machine.run_for(0.001)
    at = guest.alloc(48)
    guest.hypercall.vcpu_op.register_runstate_memory_area(vcpuid=vcpuid, addr=at)
    copy = area(guest, at)
    assert (copy.state, copy.state_entry_time) == (RunState.running, 0)
    # of another one up to now, of the caller up to when it began to run
    assert list(copy.time) == [vcpuid * MS, 0, 0, 0]


def test_the_runstate_area_is_written_when_the_state_changes(
    xen_machine: Machine, guest: Domain
) -> None:
    at = guest.alloc(48)
    guest.hypercall.vcpu_op.register_runstate_memory_area(vcpuid=0, addr=at)
    xen_machine.run_for(0.002)
    assert area(guest, at).time[RunState.running] == 0
    guest.hypercall.sched_op.block()
    copy = area(guest, at)
    assert (copy.state, copy.state_entry_time) == (RunState.blocked, 2 * MS)
    assert list(copy.time) == [2 * MS, 0, 0, 0]


def test_the_last_area_is_the_one_that_is_written(xen_machine: Machine, guest: Domain) -> None:
    first, second = guest.alloc(48), guest.alloc(48)
    for at in (first, second):
        guest.hypercall.vcpu_op.register_runstate_memory_area(vcpuid=0, addr=at)
    xen_machine.run_for(0.001)
    guest.hypercall.sched_op.block()
    assert area(guest, first).state == RunState.running
    assert area(guest, second).state == RunState.blocked


@pytest.mark.parametrize("where", ["unmapped", "null", "read-only", "end of the mapped"])
def test_an_area_that_can_not_be_written_is_accepted_and_forgotten(
    xen_machine: Machine, guest: Domain, where: str
) -> None:
    at = {
        "unmapped": lambda: UNMAPPED,
        "null": lambda: 0,
        "read-only": lambda: read_only(guest, bytes(48)),
        "end of the mapped": lambda: straddling(guest, bytes(48), mapped=False, first=40),
    }[where]()
    op = guest.hypercall.vcpu_op
    op.register_runstate_memory_area(vcpuid=0, addr=at)
    op.register_vcpu_time_memory_area(vcpuid=0, addr=at)
    xen_machine.run_for(0.001)
    guest.hypercall.sched_op.block()
    guest.hypercall.sched_op.yield_()
    assert op.get_runstate_info(vcpuid=0).state == RunState.running
    if where == "read-only":
        assert guest.read(at, 48) == bytes(48)


@pytest.mark.parametrize("at", [XEN_VA, NOT_CANONICAL, 0xFFFF_8000_0000_0000], ids=hex)
def test_an_area_that_no_guest_can_have(xen_machine: Machine, guest: Domain, at: int) -> None:
    op = guest.hypercall.vcpu_op
    kept = guest.alloc(48)
    op.register_runstate_memory_area(vcpuid=0, addr=kept)
    with refused_without_effect(xen_machine, EFAULT):
        op.register_runstate_memory_area(vcpuid=0, addr=at)
    with refused_without_effect(xen_machine, EFAULT):
        op.register_vcpu_time_memory_area(vcpuid=0, addr=at)
    guest.hypercall.sched_op.block()
    assert area(guest, kept).state == RunState.blocked


# register_vcpu_time_memory_area


def test_the_time_area_has_what_vcpu_info_has(xen_machine: Machine, guest: Domain) -> None:
    xen_machine.run_for(0.001)
    at = guest.alloc(32)
    guest.hypercall.vcpu_op.register_vcpu_time_memory_area(vcpuid=0, addr=at)
    copy = guest.memory.read_struct(vcpu_time_info, at)
    assert bytes(copy) == bytes(guest.shared_info.vcpu_info[0].time)
    assert (copy.system_time, copy.version % 2) == (MS, 0)
    version = copy.version
    guest.pause()
    xen_machine.run_for(0.001)
    guest.unpause()
    copy = guest.memory.read_struct(vcpu_time_info, at)
    assert bytes(copy) == bytes(guest.shared_info.vcpu_info[0].time)
    assert (copy.system_time, copy.version) == (2 * MS, version + 2)


def test_time_is_told_of_another_virtual_cpu(xen_machine: Machine, guest: Domain) -> None:
    xen_machine.run_for(0.005)
    at = guest.alloc(32)
    guest.hypercall.vcpu_op.register_vcpu_time_memory_area(vcpuid=1, addr=at)
    assert guest.memory.read_struct(vcpu_time_info, at).system_time == 5 * MS
    assert guest.shared_info.vcpu_info[1].time.system_time == 5 * MS


# register_vcpu_info


@contextmanager
def same_frame(machine: Machine, mfn: int) -> Iterator[None]:
    before = machine.frame(mfn)
    yield
    assert machine.frame(mfn) == before


@pytest.mark.parametrize("offset", [0, 8, LAST])
def test_vcpu_info_moves_with_what_it_has(xen_machine: Machine, guest: Domain, offset: int) -> None:
    op = guest.hypercall.event_channel_op
    page = guest.alloc_page()
    mfn = guest.mfn_at(page)
    old, held = guest.shared_info.vcpu_info[0], xen_machine.frame(mfn)
    guest.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=offset)
    new = guest.memory.read_struct(vcpu_info, page + offset)
    assert new.evtchn_upcall_mask == old.evtchn_upcall_mask == 1
    assert (new.evtchn_upcall_pending, new.evtchn_pending_sel) == (1, (1 << 64) - 1)
    assert new.time.version == old.time.version + 2
    frame = xen_machine.frame(mfn)
    assert (frame.type, frame.count) == ("writable", held.count + 1)
    assert frame.type_count == held.type_count + 1
    # from now on events are told there
    guest.take_event()
    port = op.bind_ipi(vcpu=0)
    op.send(port=port)
    new = guest.memory.read_struct(vcpu_info, page + offset)
    assert (new.evtchn_upcall_pending, new.evtchn_pending_sel) == (1, 1)
    assert guest.shared_info.vcpu_info[0].evtchn_upcall_pending == 0


def test_a_virtual_cpu_without_one_starts_with_upcalls_masked(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(vcpus=40)
    page = domain.alloc_page()
    domain.write(page, b"\xee" * 64)
    domain.hypercall.vcpu_op.register_vcpu_info(vcpuid=39, mfn=domain.mfn_at(page), offset=0)
    new = domain.memory.read_struct(vcpu_info, page)
    assert (new.evtchn_upcall_mask, new.evtchn_upcall_pending) == (1, 1)
    assert new.arch.cr2 == 0


@pytest.mark.parametrize("offset", [LAST + 1, LAST + 8, 4, 1, PAGE_SIZE, 0xFFFF_FFF8])
def test_vcpu_info_lies_in_one_page_aligned_to_8(
    xen_machine: Machine, guest: Domain, offset: int
) -> None:
    mfn = guest.mfn_at(guest.alloc_page())
    with same_frame(xen_machine, mfn), refused(ENXIO):
        guest.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=offset)


@pytest.mark.parametrize("kind", ["foreign", "page-table", "beyond", "last", "free"])
def test_vcpu_info_lies_in_a_writable_page_of_the_domain(
    xen_machine: Machine, guest: Domain, kind: str
) -> None:
    mfn = {
        "foreign": lambda: xen_machine.control.mfn(9),
        "page-table": lambda: guest.mfn_at(guest.start_info.pt_base),
        "beyond": lambda: 1 << 40,
        "last": lambda: (1 << 64) - 1,
        "free": lambda: 16383,
    }[kind]()
    old = guest.shared_info.vcpu_info[0]
    with refused(EINVAL):
        guest.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=0)
    new = guest.shared_info.vcpu_info[0]
    assert new.time.version == old.time.version + 2  # a refusal tells the time, too
    assert new.evtchn_pending_sel == old.evtchn_pending_sel == 0


def test_vcpu_info_moves_once(xen_machine: Machine, guest: Domain) -> None:
    mfns = [guest.mfn_at(guest.alloc_page()) for _ in range(2)]
    op = guest.hypercall.vcpu_op
    op.register_vcpu_info(vcpuid=0, mfn=mfns[0], offset=0)
    for mfn in mfns:
        with same_frame(xen_machine, mfn), refused(EINVAL):
            op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=64)


def test_that_of_another_moves_only_while_that_is_down(xen_machine: Machine, guest: Domain) -> None:
    mfn = guest.mfn_at(guest.alloc_page())
    op = guest.hypercall.vcpu_op
    with same_frame(xen_machine, mfn), refused(EINVAL):
        op.register_vcpu_info(vcpuid=1, mfn=mfn, offset=0)
    op.down(vcpuid=1)
    op.register_vcpu_info(vcpuid=1, mfn=mfn, offset=0)


def test_its_page_can_be_no_table_and_goes_with_the_domain(
    xen_machine: Machine, guest: Domain
) -> None:
    page = guest.alloc_page()
    mfn = guest.mfn_at(page)
    guest.hypercall.vcpu_op.register_vcpu_info(vcpuid=0, mfn=mfn, offset=0)
    guest.hypercall.update_va_mapping(page, 0)
    with refused(EINVAL):
        guest.hypercall.mmuext_op.pin_table(1, mfn=mfn)
    guest.hypercall.update_va_mapping(page, mfn << 12 | PRESENT_RW)
    guest.destroy()
    assert not guest.exists
    assert xen_machine.frame(mfn).owner is None
