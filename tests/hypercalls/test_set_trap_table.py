"""set_trap_table: the guest's handlers of traps."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ESRCH
from typing import Any

import pytest
from hypercalls.support import (
    UNMAPPED,
    XEN_VA,
    placed,
    raw_of,
    read_only,
    refused,
    straddling,
)
from hypercalls.tables import registers, two_cpus, vain

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import TrapInfo, structs

NR = Hypercall.set_trap_table
NOT_CANONICAL = [1 << 47, 0x7FFF_FFFF_FFFF + 1, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63]
SOME = [TrapInfo(14, 4, 0xE033, 0x1000), TrapInfo(3, 3, 0xE033, 0x2000)]


def trap(machine: Machine, domain: Domain, vector: int, vcpu: int = 0) -> tuple[int, ...]:
    """Vector, flags, cs and address of an entry."""
    t = registers(machine, domain, vcpu).trap_ctxt[vector]
    return t.vector, t.flags, t.cs, t.address


def listed(*traps: TrapInfo) -> bytes:
    """With the empty one at the end."""
    ends = (*traps, TrapInfo(0, 0, 0, 0))
    infos = [structs.xen.trap_info(t.vector, t.flags, t.cs, t.address) for t in ends]
    return b"".join(map(raw_of, infos))


def test_entries_are_set_and_the_others_stay(xen_machine: Machine, xen_domain: Domain) -> None:
    call = xen_domain.hypercall.set_trap_table
    call(SOME)
    call([TrapInfo(3, 0, 0xE033, 0x3000)])
    assert trap(xen_machine, xen_domain, 14) == (14, 4, 0xE033, 0x1000)
    assert trap(xen_machine, xen_domain, 3) == (3, 0, 0xE033, 0x3000)
    assert trap(xen_machine, xen_domain, 4) == (0, 0, 0, 0)


@pytest.mark.parametrize("vector", [0, 2, 0x80, 255])
@pytest.mark.parametrize("flags", [0, 3, 4, 255])
def test_any_vector_and_flags(
    xen_machine: Machine, xen_domain: Domain, vector: int, flags: int
) -> None:
    xen_domain.hypercall.set_trap_table([TrapInfo(vector, flags, 0xE033, 0x1000)])
    assert trap(xen_machine, xen_domain, vector) == (vector, flags, 0xE033, 0x1000)


@pytest.mark.parametrize("address", [1, 0x7FFF_FFFF_FFFF, XEN_VA, 2**64 - 1], ids=hex)
def test_any_canonical_address(xen_machine: Machine, xen_domain: Domain, address: int) -> None:
    xen_domain.hypercall.set_trap_table([TrapInfo(6, 0, 0xE033, address)])
    assert trap(xen_machine, xen_domain, 6)[3] == address


@pytest.mark.parametrize(("cs", "stored"), [(0, 3), (0xE030, 0xE033), (0x11, 0x13), (7, 7)])
def test_no_handler_runs_in_another_ring(
    xen_machine: Machine, xen_domain: Domain, cs: int, stored: int
) -> None:
    xen_domain.hypercall.set_trap_table([TrapInfo(6, 0, cs, 0x1000)])
    assert trap(xen_machine, xen_domain, 6)[2] == stored


def test_of_two_for_a_vector_the_last_counts(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.set_trap_table([TrapInfo(6, 0, 3, 1), TrapInfo(6, 1, 3, 2)])
    assert trap(xen_machine, xen_domain, 6) == (6, 1, 3, 2)


def test_nothing_clears_the_table(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.set_trap_table(SOME)
    xen_domain.hypercall.set_trap_table(None)
    assert not any(t.address for t in registers(xen_machine, xen_domain).trap_ctxt)


def test_an_empty_list_changes_nothing(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall.set_trap_table(SOME)
    before = bytes(registers(xen_machine, xen_domain))
    xen_domain.hypercall.set_trap_table([])
    assert bytes(registers(xen_machine, xen_domain)) == before


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall.set_trap_table(SOME)
    assert trap(xen_machine, domain, 14, vcpu=0) == (0, 0, 0, 0)
    assert trap(xen_machine, domain, 14, vcpu=1) == (14, 4, 0xE033, 0x1000)


@pytest.mark.parametrize("address", NOT_CANONICAL, ids=hex)
def test_an_address_that_is_not_canonical_after_those_before_it(
    xen_machine: Machine, xen_domain: Domain, address: int
) -> None:
    bad, after = TrapInfo(5, 0, 3, address), TrapInfo(6, 0, 3, 1)
    with refused(EINVAL):
        xen_domain.hypercall.set_trap_table([*SOME, bad, after])
    assert trap(xen_machine, xen_domain, 14)[3] == 0x1000
    assert [trap(xen_machine, xen_domain, n)[3] for n in (5, 6)] == [0, 0]


@pytest.mark.parametrize("nowhere", [UNMAPPED, XEN_VA, 1 << 47], ids=hex)
def test_no_table_is_there(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, nowhere)


@pytest.mark.parametrize("first", [1, 8, 15])
def test_an_entry_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, first: int
) -> None:
    at = straddling(xen_domain, listed(SOME[0])[:first], mapped=False, first=first)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, at)


def test_without_an_end_it_is_a_fault_after_the_entries(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    at = straddling(xen_domain, listed(*SOME)[:32], mapped=False, first=32)
    with refused(EFAULT):
        xen_domain.hypercall(NR, at)
    assert trap(xen_machine, xen_domain, 3)[3] == 0x2000


@pytest.mark.parametrize("first", [4, 16, 24])
def test_a_table_across_two_pages(xen_machine: Machine, xen_domain: Domain, first: int) -> None:
    xen_domain.hypercall(NR, straddling(xen_domain, listed(*SOME), first=first))
    assert [trap(xen_machine, xen_domain, n)[3] for n in (14, 3)] == [0x1000, 0x2000]


def test_it_may_be_read_only(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_domain.hypercall(NR, read_only(xen_domain, listed(*SOME)))
    assert trap(xen_machine, xen_domain, 3)[3] == 0x2000


def test_a_long_table(xen_machine: Machine, xen_domain: Domain) -> None:
    traps = [TrapInfo(n % 256, 0, 3, n + 1) for n in range(1000)]
    xen_domain.hypercall(NR, straddling(xen_domain, listed(*traps), first=2000))
    assert trap(xen_machine, xen_domain, 255)[3] == 768
    assert trap(xen_machine, xen_domain, 0)[3] == 769


def test_padding_does_not_count(xen_machine: Machine, xen_domain: Domain) -> None:
    raw: Any = bytearray(listed(SOME[0]))
    raw[4:8] = b"\xff" * 4
    xen_domain.hypercall(NR, placed(xen_domain, bytes(raw)))
    assert trap(xen_machine, xen_domain, 14) == (14, 4, 0xE033, 0x1000)


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, UNMAPPED) == -ESRCH
