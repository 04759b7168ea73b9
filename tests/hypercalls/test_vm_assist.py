"""vm_assist: what Xen does for old guests."""

from __future__ import annotations

from errno import EINVAL, ENOSYS, ESRCH

import pytest
from hypercalls.support import JUNK
from hypercalls.tables import registers, two_cpus, untouched, vain

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, VmAssistOp, VmAssistType
from xenemu.xen import RunState, structs

NR = Hypercall.vm_assist
ENABLE, DISABLE = VmAssistOp.enable, VmAssistOp.disable
TYPES = pytest.mark.parametrize("type", VmAssistType, ids=lambda type: type.name)
NO_TYPES = [6, 7, 30, 31, 33, 63, 64, 65, 1 << 31, 0xFFFF_FFFF]


def assists(machine: Machine, domain: Domain) -> int:
    return int(registers(machine, domain).vm_assist)


@TYPES
def test_one_is_switched_on_and_off(
    xen_machine: Machine, xen_domain: Domain, type: VmAssistType
) -> None:
    for _ in range(2):
        xen_domain.hypercall.vm_assist.enable(type=type)
        assert assists(xen_machine, xen_domain) == 1 << type
    for _ in range(2):
        xen_domain.hypercall.vm_assist.disable(type=type)
        assert assists(xen_machine, xen_domain) == 0


@TYPES
def test_the_others_stay(xen_machine: Machine, xen_domain: Domain, type: VmAssistType) -> None:
    every = sum(1 << t for t in VmAssistType)
    for t in VmAssistType:
        xen_domain.hypercall.vm_assist.enable(type=t)
    xen_domain.hypercall.vm_assist.disable(type=type)
    assert assists(xen_machine, xen_domain) == every & ~(1 << type)


@pytest.mark.parametrize("type", NO_TYPES)
@pytest.mark.parametrize("cmd", [ENABLE, DISABLE, 2])
def test_there_is_no_such_assist(
    xen_machine: Machine, xen_domain: Domain, cmd: int, type: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.vm_assist(cmd, type)


@TYPES
@pytest.mark.parametrize("cmd", [2, 3, 99, 1 << 31, 0xFFFF_FFFF])
def test_there_is_no_such_command(
    xen_machine: Machine, xen_domain: Domain, cmd: int, type: VmAssistType
) -> None:
    with vain(xen_machine, xen_domain, ENOSYS):
        xen_domain.hypercall.vm_assist(cmd, type)


def test_registers_have_32_bits(xen_machine: Machine, xen_domain: Domain) -> None:
    assert xen_domain.hypercall(NR, JUNK | ENABLE, JUNK | 5) == 0
    assert assists(xen_machine, xen_domain) == 1 << 5
    assert xen_domain.hypercall(NR, JUNK | DISABLE, 1 << 63 | 5) == 0
    assert assists(xen_machine, xen_domain) == 0


def test_they_are_the_domains(xen_machine: Machine) -> None:
    domain, other = two_cpus(xen_machine), xen_machine.create_domain()
    with untouched(xen_machine, other):
        domain.vcpu(1).hypercall.vm_assist.enable(type=5)
    assert assists(xen_machine, domain) == 1 << 5


# what they do


def test_features_tell_of_page_directories_above_4_gib(xen_domain: Domain) -> None:
    features = xen_domain.hypercall.xen_version.get_features
    before = features()
    xen_domain.hypercall.vm_assist.enable(type=VmAssistType.pae_extended_cr3)
    assert features() == before | 1 << 4
    xen_domain.hypercall.vm_assist.disable(type=VmAssistType.pae_extended_cr3)
    assert features() == before


def test_the_runstate_area_tells_that_it_was_updated(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    """The top bit of state_entry_time is set while Xen writes, never after."""
    xen_domain.hypercall.vm_assist.enable(type=VmAssistType.runstate_update_flag)
    area = xen_domain.alloc(48)
    xen_domain.hypercall.vcpu_op.register_runstate_memory_area(vcpuid=0, addr=area)
    xen_machine.run_for(0.1)
    xen_domain.hypercall.sched_op.block()
    xen_machine.run_for(0.1)
    info = xen_domain.memory.read_struct(structs.STRUCTS["vcpu_runstate_info"], area)
    assert info.state_entry_time >> 63 == 0
    assert info.state in (RunState.running, RunState.blocked)


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, ENABLE, 5) == -ESRCH
