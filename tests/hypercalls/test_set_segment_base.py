"""set_segment_base: where FS and GS begin, and the selector of user mode's GS."""

from __future__ import annotations

from errno import EINVAL, ESRCH

import pytest
from hypercalls.support import JUNK, XEN_VA
from hypercalls.tables import RO, entry, read_only_frame, registers, two_cpus, update, vain

from xenemu import Domain, Machine
from xenemu._abi import Hypercall

NR = Hypercall.set_segment_base
FIELDS = ["fs_base", "gs_base_user", "gs_base_kernel"]
FS, GS_USER, GS_KERNEL, GS_USER_SEL = range(4)
BASES = pytest.mark.parametrize("which", [FS, GS_USER, GS_KERNEL], ids=FIELDS)
ACCESSED = 1 << 40
FLAT_CODE32, FLAT_DATA, FLAT_CODE64 = 0xE023, 0xE02B, 0xE033


def segment(base: int, kind: int, present: bool = True) -> int:
    """A descriptor of code or data of that type, or with a bit more: of the system."""
    high = (base & 0xFF00_0000) | base >> 16 & 0xFF | (0xCF_6000 | kind << 8) ^ 0x1000
    return (high | (0x8000 if present else 0)) << 32 | (base & 0xFFFF) << 16 | 0xFFFF


# Index in the table: descriptor, whether it can be loaded into GS.
DESCRIPTORS: dict[int, tuple[int, bool]] = {
    1: (segment(0x1234_5678, 2), True),  # data
    2: (segment(0x2234_5678, 0), True),  # read-only
    3: (segment(0x3234_5678, 8), False),  # code that can only be run
    4: (segment(0x4234_5678, 10), True),
    5: (segment(0x5234_5678, 14), True),  # conforming
    6: (segment(0x6234_5678, 12), False),
    7: (segment(0x7234_5678, 2, present=False), False),
    8: (0x0000_EC00_0000_0000, False),  # a call gate
    9: (0x0000_8000_0000_0000, False),
    20: (segment(0xF234_5678, 7), True),  # expands down
    511: (segment(0x0234_5678, 3), True),
}


def user_gs(machine: Machine, domain: Domain) -> tuple[int, int]:
    """Selector and base."""
    c = registers(machine, domain)
    return c.user_regs.gs, c.gs_base_user


@pytest.fixture
def gdt(xen_domain: Domain) -> int:
    """The frame of a table with those, of which ten are counted."""
    mfn = read_only_frame(xen_domain)
    for index, (descriptor, _) in DESCRIPTORS.items():
        update(xen_domain, mfn, index, descriptor)
    xen_domain.hypercall.set_gdt([mfn], entries=10)
    return mfn


@pytest.fixture
def ldt(xen_domain: Domain) -> int:
    """The address of a local table with the same, of which 21 are counted."""
    page = xen_domain.alloc_page()
    for index, (descriptor, _) in DESCRIPTORS.items():
        xen_domain.write(page + index * 8, descriptor.to_bytes(8, "little"))
    xen_domain.hypercall.update_va_mapping(page, xen_domain.mfn_at(page) << 12 | RO)
    xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=page, nr_ents=21)
    return page


# bases


@BASES
@pytest.mark.parametrize("base", [0, 1, 0x7FFF_FFFF_FFFF, XEN_VA, 2**64 - 1], ids=hex)
def test_a_base_and_no_other(
    xen_machine: Machine, xen_domain: Domain, which: int, base: int
) -> None:
    for n in (FS, GS_USER, GS_KERNEL):
        xen_domain.hypercall(NR, n, 100 + n)
    assert xen_domain.hypercall(NR, which, base) == 0
    context = registers(xen_machine, xen_domain)
    bases = [100, 101, 102]
    bases[which] = base
    assert [getattr(context, field) for field in FIELDS] == bases


@BASES
@pytest.mark.parametrize("base", [1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63], ids=hex)
def test_a_base_that_is_not_canonical(
    xen_machine: Machine, xen_domain: Domain, which: int, base: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall(NR, which, base)


@pytest.mark.parametrize("which", [4, 5, 99, 1 << 31, 0xFFFF_FFFF])
@pytest.mark.parametrize("base", [0, XEN_VA, 1 << 47], ids=hex)
def test_there_is_no_such_base(
    xen_machine: Machine, xen_domain: Domain, which: int, base: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall(NR, which, base)


@pytest.mark.parametrize("which", range(3))
def test_which_has_32_bits(xen_machine: Machine, xen_domain: Domain, which: int) -> None:
    assert xen_domain.hypercall(NR, JUNK | which, 7) == 0
    assert getattr(registers(xen_machine, xen_domain), FIELDS[which]) == 7


def test_it_is_the_calling_virtual_cpus(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    domain.vcpu(1).hypercall(NR, FS, 7)
    assert [registers(xen_machine, domain, n).fs_base for n in (0, 1)] == [0, 7]


# the selector of user mode's GS


@pytest.mark.parametrize("index", DESCRIPTORS)
def test_a_segment_of_the_global_table(
    xen_machine: Machine, xen_domain: Domain, gdt: int, index: int
) -> None:
    """Its whole pages count, not how many entries there are. One that can't be loaded is none."""
    descriptor, loads = DESCRIPTORS[index]
    base = descriptor >> 32 & 0xFF00_0000 | descriptor >> 16 & 0xFF_FFFF
    before = entry(xen_machine, gdt, index)
    assert xen_domain.hypercall(NR, GS_USER_SEL, index << 3) == 0
    assert user_gs(xen_machine, xen_domain) == ((index << 3 | 3, base) if loads else (0, 0))
    assert entry(xen_machine, gdt, index) == before | (ACCESSED if loads else 0)


@pytest.mark.parametrize("index", DESCRIPTORS)
def test_a_segment_of_the_local_table(
    xen_machine: Machine, xen_domain: Domain, ldt: int, index: int
) -> None:
    descriptor, loads = DESCRIPTORS[index]
    base = descriptor >> 32 & 0xFF00_0000 | descriptor >> 16 & 0xFF_FFFF
    loads &= index < 21
    assert xen_domain.hypercall(NR, GS_USER_SEL, index << 3 | 4) == 0
    assert user_gs(xen_machine, xen_domain) == ((index << 3 | 7, base) if loads else (0, 0))


@pytest.mark.parametrize("selector", [0, 1, 2, 3])
def test_the_null_selector(xen_machine: Machine, xen_domain: Domain, selector: int) -> None:
    xen_domain.hypercall(NR, GS_USER, 0x1000)
    xen_domain.hypercall(NR, GS_USER_SEL, selector)
    assert user_gs(xen_machine, xen_domain) == (selector, 0)


@pytest.mark.parametrize("selector", [FLAT_CODE32, FLAT_DATA, FLAT_CODE64], ids=hex)
def test_xens_flat_segments(xen_machine: Machine, xen_domain: Domain, selector: int) -> None:
    for rpl in range(4):
        xen_domain.hypercall(NR, GS_USER, 0x1000)
        xen_domain.hypercall(NR, GS_USER_SEL, selector & ~3 | rpl)
        assert user_gs(xen_machine, xen_domain) == (selector, 0)


@pytest.mark.parametrize(
    "selector",
    [
        8,
        0xFFF,
        0x1008,
        0xDFF8,
        0xE008,
        0xE010,
        0xE018,
        0xE038,
        0xE040,
        0xEFF8,
        0xFFFB,
        4,
        12,
        0xFFFF,
    ],
    ids=hex,
)
def test_a_selector_of_nothing(xen_machine: Machine, xen_domain: Domain, selector: int) -> None:
    xen_domain.hypercall(NR, GS_USER, 0x1000)
    assert xen_domain.hypercall(NR, GS_USER_SEL, selector) == 0
    assert user_gs(xen_machine, xen_domain) == (0, 0)


def test_a_selector_has_16_bits(xen_machine: Machine, xen_domain: Domain, gdt: int) -> None:
    for junk in (0x1_0000, JUNK, 1 << 47):
        xen_domain.hypercall(NR, GS_USER_SEL, 0)
        assert xen_domain.hypercall(NR, JUNK | GS_USER_SEL, junk | 8) == 0
        assert user_gs(xen_machine, xen_domain) == (11, 0x1234_5678)


@pytest.mark.parametrize("kind", ["writable", "unmapped", "forbidden"])
def test_a_local_table_that_can_not_be_had(
    xen_machine: Machine, xen_domain: Domain, kind: str
) -> None:
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    xen_domain.write(page, segment(0x1000, 2).to_bytes(8, "little"))
    if kind == "forbidden":
        xen_domain.write(page + 8, (0x0000_8900_0000_0067).to_bytes(8, "little"))  # a TSS
    if kind != "writable":
        xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RO if kind == "forbidden" else 0)
    xen_domain.hypercall.mmuext_op.set_ldt(linear_addr=page, nr_ents=5)
    assert xen_domain.hypercall(NR, GS_USER_SEL, 7) == 0
    assert user_gs(xen_machine, xen_domain) == (0, 0)
    assert xen_machine.frame(mfn).type == ("writable" if kind == "writable" else "none")


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, FS, 0) == -ESRCH
