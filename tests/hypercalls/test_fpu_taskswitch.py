"""fpu_taskswitch: whether the next use of the FPU traps."""

from __future__ import annotations

from errno import ESRCH

import pytest
from hypercalls.support import JUNK
from hypercalls.tables import registers, two_cpus

from xenemu import Domain, Machine
from xenemu._abi import Hypercall

NR = Hypercall.fpu_taskswitch
TS = 8  # of CR0


@pytest.mark.parametrize(
    ("value", "traps"),
    [(0, False), (1, True), (2, True), (0xFFFF_FFFF, True), (JUNK, False), (JUNK | 1, True)],
    ids=hex,
)
@pytest.mark.parametrize("before", [0, 1])
def test_it_traps(
    xen_machine: Machine, xen_domain: Domain, before: int, value: int, traps: bool
) -> None:
    xen_domain.hypercall(NR, before)
    context = registers(xen_machine, xen_domain)
    assert xen_domain.hypercall(NR, value) == 0
    context.ctrlreg[0] = context.ctrlreg[0] & ~TS | (TS if traps else 0)
    assert bytes(registers(xen_machine, xen_domain)) == bytes(context)


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, 1)
    assert [registers(xen_machine, domain, n).ctrlreg[0] & TS for n in (0, 1)] == [0, TS]


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, 1) == -ESRCH
