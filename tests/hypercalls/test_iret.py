"""iret: back to where the guest was interrupted. A guest has no stack pointer here, so the frame's
address is an argument."""

from __future__ import annotations

from errno import ESRCH
from typing import Any

import pytest
from hypercalls.support import NOWHERE, UNMAPPED, placed, raw_of, read_only, straddling
from hypercalls.tables import pinned_table, registers, two_cpus, untouched

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, VmAssistType
from xenemu.xen import Shutdown, structs
from xenemu.xen.structs.layout import U64, nested

NR = Hypercall.iret
FRAME = nested(**dict.fromkeys("rax r11 rcx flags rip cs rflags rsp ss".split(), U64))
IF, IOPL, VM, IN_SYSCALL, IN_KERNEL = 0x200, 0x3000, 0x20000, 0x100, 4
USER_CS, KERNEL_CS = 0xE033, 0xE030


def frame(**fields: int) -> Any:
    """Of kernel mode, events unmasked."""
    return FRAME(**{"cs": KERNEL_CS, "ss": 0xE028, "rflags": IF, **fields})


def mask(domain: Domain, vcpu: int = 0) -> int:
    """evtchn_upcall_mask."""
    return int(domain.shared_info.vcpu_info[vcpu].evtchn_upcall_mask)


def test_registers(xen_machine: Machine, xen_domain: Domain) -> None:
    before = registers(xen_machine, xen_domain)
    at = placed(xen_domain, frame(rax=77, r11=11, rcx=12, rip=0x1000, rflags=IF | 1, rsp=5))
    assert xen_domain.hypercall(NR, at) == 77
    after = registers(xen_machine, xen_domain)
    regs = after.user_regs
    assert (regs.rax, regs.r11, regs.rcx) == (77, 11, 12)
    assert (regs.rip, regs.rsp, regs.rflags) == (0x1000, 5, IF | 1)
    assert (regs.cs, regs.ss) == (0xE033, 0xE02B)
    after.user_regs = before.user_regs
    assert bytes(after) == bytes(before)


def test_after_a_system_call_r11_and_rcx_are_the_guests(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    xen_domain.hypercall(NR, placed(xen_domain, frame(r11=11, rcx=12)))
    at = placed(xen_domain, frame(r11=21, rcx=22, rip=9, flags=IN_SYSCALL))
    xen_domain.hypercall(NR, at)
    regs = registers(xen_machine, xen_domain).user_regs
    assert (regs.r11, regs.rcx, regs.rip) == (11, 12, 9)


@pytest.mark.parametrize("rax", [0, 1, 2**63, 2**64 - 38])
def test_rax_is_the_answer_whatever_it_is(xen_domain: Domain, rax: int) -> None:
    answer = xen_domain.hypercall.raw(NR, placed(xen_domain, frame(rax=rax)))
    assert answer & 2**64 - 1 == rax


@pytest.mark.parametrize("rflags", [0, IF, VM, 2**64 - 1 & ~IOPL], ids=hex)
def test_interrupts_stay_enabled_and_the_guests_flag_is_its_mask(
    xen_machine: Machine, xen_domain: Domain, rflags: int
) -> None:
    for before in (0, IF):
        xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=before)))
        xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=rflags)))
        assert registers(xen_machine, xen_domain).user_regs.rflags == rflags & ~VM | IF
        assert mask(xen_domain) == (not rflags & IF)


@pytest.mark.parametrize("iopl", [0, 0x1000, 0x2000, 0x3000], ids=hex)
@pytest.mark.parametrize("architectural", [False, True])
def test_the_io_privilege_is_the_guests_with_the_assist_only(
    xen_machine: Machine, xen_domain: Domain, architectural: bool, iopl: int
) -> None:
    if architectural:
        xen_domain.hypercall.vm_assist.enable(type=VmAssistType.architectural_iopl)
    xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=IF | iopl)))
    shown = registers(xen_machine, xen_domain).user_regs.rflags
    assert shown == IF | (iopl if architectural else 0)


def test_it_stays_as_it_was_without(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.vm_assist.enable(type=VmAssistType.architectural_iopl)
    xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=IF | 0x1000)))
    xen_domain.hypercall.vm_assist.disable(type=VmAssistType.architectural_iopl)
    xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=IF | IOPL)))
    assert registers(xen_machine, xen_domain).user_regs.rflags == IF | 0x1000


def test_unmasked_the_guest_is_told_of_pending_events(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    port = xen_domain.hypercall.event_channel_op.bind_ipi(vcpu=0)
    xen_domain.hypercall.event_channel_op.send(port=port)
    xen_machine.run_for(0.01)  # nobody listens
    taken: list[int] = []
    xen_domain.on_event(port, taken.append)
    xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=0)))
    xen_machine.run_for(0.01)
    assert taken == []
    xen_domain.hypercall(NR, placed(xen_domain, frame(rflags=IF)))
    xen_machine.run_for(0.01)
    assert taken == [port]


def test_to_user_mode(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.mmuext_op.new_user_baseptr(mfn=pinned_table(xen_domain, 4))
    assert registers(xen_machine, xen_domain).flags & IN_KERNEL
    assert xen_domain.hypercall(NR, placed(xen_domain, frame(cs=USER_CS, rax=7))) == 7
    assert not registers(xen_machine, xen_domain).flags & IN_KERNEL
    xen_domain.hypercall(NR, placed(xen_domain, frame()))
    assert registers(xen_machine, xen_domain).flags & IN_KERNEL


def test_user_mode_without_tables_is_the_end(xen_machine: Machine, xen_domain: Domain) -> None:
    at = placed(xen_domain, frame(cs=USER_CS, rax=7))
    assert xen_domain.hypercall.raw(NR, at) == 0
    assert xen_domain.info.shutdown_code == Shutdown.crash


@pytest.mark.parametrize("cs", [0, 1, 2, 0xE031, 0xE032, 4, 8], ids=hex)
def test_other_rings_are_the_kernels(xen_machine: Machine, xen_domain: Domain, cs: int) -> None:
    xen_domain.hypercall(NR, placed(xen_domain, frame(cs=cs)))
    context = registers(xen_machine, xen_domain)
    assert (context.user_regs.cs, context.flags & IN_KERNEL) == (cs | 3, IN_KERNEL)


@NOWHERE
def test_a_frame_that_is_not_there_is_the_end(
    xen_machine: Machine, xen_domain: Domain, nowhere: int
) -> None:
    other = xen_machine.create_domain()
    with untouched(xen_machine, other):
        assert xen_domain.hypercall.raw(NR, nowhere) == 0
    assert xen_domain.info.shutdown_code == Shutdown.crash


@pytest.mark.parametrize("n", [8, 64, 71])
def test_one_of_which_the_end_is_not_mapped_too(xen_domain: Domain, n: int) -> None:
    at = straddling(xen_domain, raw_of(frame())[:n], mapped=False, first=n)
    assert xen_domain.hypercall.raw(NR, at) == 0
    assert xen_domain.info.shutdown_code == Shutdown.crash


def test_one_across_pages_or_read_only(xen_domain: Domain) -> None:
    assert xen_domain.hypercall(NR, straddling(xen_domain, frame(rax=8), first=20)) == 8
    assert xen_domain.hypercall(NR, read_only(xen_domain, frame(rax=9))) == 9
    assert xen_domain.info.shutdown_code is None


def test_it_is_the_last_of_a_multicall(xen_domain: Domain) -> None:
    at = placed(xen_domain, frame(rax=77))
    entry = structs.xen.multicall_entry
    version, iret = entry(op=Hypercall.xen_version), entry(op=NR)
    iret.args[0] = at
    calls = (entry * 3)(version, iret, version)
    with xen_domain.memory.argument(calls) as gva:
        assert xen_domain.hypercall(Hypercall.multicall, gva, 3) == 77
    assert [call.result for call in calls] == [4 << 16 | 17, 77, 0]


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, placed(domain, frame(rip=0x1000, rflags=0)))
    assert [registers(xen_machine, domain, n).user_regs.rip for n in (0, 1)] == [0, 0x1000]
    assert mask(domain, 1) == 1


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, UNMAPPED) == -ESRCH
