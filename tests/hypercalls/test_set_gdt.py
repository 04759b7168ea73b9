"""set_gdt: the guest's global descriptor table."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, ESRCH

import pytest
from hypercalls.support import (
    JUNK,
    UNMAPPED,
    XEN_VA,
    placed,
    read_only,
    refused,
    straddling,
)
from hypercalls.tables import (
    NO_FRAME,
    RW,
    entry,
    free_frame,
    pinned_table,
    read_only_frame,
    registers,
    root_of,
    two_cpus,
    untouched,
    update,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen.calls.group import u64_array

NR = Hypercall.set_gdt
MOST = 14 * 512
CODE, DATA = 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF
GATE, GATE_TO_XEN = 0x0000_EC00_E033_0000, 0x0000_EC00_E008_0000
TSS, LDT, INTERRUPT = 0x0000_8900_0000_0067, 0x0000_8200_0000_0000, 0x0000_8E00_0000_0000
DPL = 0x0000_6000_0000_0000


def gdt(machine: Machine, domain: Domain, vcpu: int = 0) -> tuple[list[int], int]:
    """Its frames and how many entries there are."""
    c = registers(machine, domain, vcpu)
    return [f for f in c.gdt_frames if f], c.gdt_ents


@pytest.fixture
def frames(xen_domain: Domain) -> list[int]:
    """Fourteen of zeroes that may become descriptor pages."""
    return [read_only_frame(xen_domain) for _ in range(14)]


# what is set


@pytest.mark.parametrize(
    ("entries", "pages"), [(1, 1), (512, 1), (513, 2), (1024, 2), (MOST - 511, 14), (MOST, 14)]
)
def test_a_table(
    xen_machine: Machine, xen_domain: Domain, frames: list[int], entries: int, pages: int
) -> None:
    xen_domain.hypercall.set_gdt(frames, entries=entries)
    assert gdt(xen_machine, xen_domain) == (frames[:pages], entries)
    for n, mfn in enumerate(frames):
        assert uses(xen_machine, mfn) == ((3, "seg_desc", 1) if n < pages else (2, "none", 0))


def test_another_gives_the_first_back(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    xen_domain.hypercall.set_gdt(frames, entries=1024)
    xen_domain.hypercall.set_gdt(frames[1:], entries=1)
    assert gdt(xen_machine, xen_domain) == (frames[1:2], 1)
    assert [uses(xen_machine, mfn) for mfn in frames[:2]] == [(2, "none", 0), (3, "seg_desc", 1)]


def test_no_entries_give_it_back_whatever_the_list(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    for at in (UNMAPPED, XEN_VA, 0):
        xen_domain.hypercall.set_gdt(frames, entries=512)
        assert xen_domain.hypercall(NR, at, 0) == 0
        assert gdt(xen_machine, xen_domain) == ([], 0)
        assert uses(xen_machine, frames[0]) == (2, "none", 0)


def test_a_frame_may_be_in_it_twice(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    xen_domain.hypercall.set_gdt(frames[:1] * 3, entries=MOST // 7)
    assert uses(xen_machine, frames[0]) == (4, "seg_desc", 2)


def test_a_frame_that_is_mapped_nowhere(xen_machine: Machine, xen_domain: Domain) -> None:
    mfn = free_frame(xen_domain)
    xen_domain.hypercall.set_gdt([mfn], entries=1)
    assert uses(xen_machine, mfn) == (2, "seg_desc", 1)


def test_virtual_cpus_have_one_each(xen_machine: Machine) -> None:
    domain = two_cpus(xen_machine)
    one, two = read_only_frame(domain), read_only_frame(domain)
    domain.hypercall.set_gdt([one], entries=8)
    domain.vcpu(1).hypercall.set_gdt([one, two], entries=520)
    assert gdt(xen_machine, domain, 0) == ([one], 8)
    assert gdt(xen_machine, domain, 1) == ([one, two], 520)
    assert uses(xen_machine, one) == (4, "seg_desc", 2)
    domain.hypercall(NR, 0, 0)
    assert uses(xen_machine, one) == (3, "seg_desc", 1)


def test_it_goes_with_the_domain(xen_machine: Machine) -> None:
    free = xen_machine.free_pages
    domain = xen_machine.create_domain()
    domain.hypercall.set_gdt([read_only_frame(domain)], entries=512)
    domain.destroy()
    assert xen_machine.free_pages == free


# what may be in it


@pytest.mark.parametrize(
    ("descriptor", "stored"),
    [
        (CODE, CODE | DPL),
        (DATA, DATA | DPL),
        (DATA | DPL, DATA | DPL),
        (GATE, 0x0000_8C00_E033_0000),
        (0x0000_EC00_0008_0000, 0x0000_8C00_000B_0000),
        (0x1234_7FFF_FFFF_FFFF, 0x1234_7FFF_FFFF_FFFF),  # not present
        (0x0000_8000_0000_0005, 0x0000_8000_0000_0005),
    ],
    ids=hex,
)
def test_privilege_is_lowered(
    xen_machine: Machine, xen_domain: Domain, frames: list[int], descriptor: int, stored: int
) -> None:
    update(xen_domain, frames[0], 511, descriptor)
    xen_domain.hypercall.set_gdt(frames, entries=1)
    assert entry(xen_machine, frames[0], 511) == stored


@pytest.mark.parametrize(
    "descriptor",
    [TSS, LDT, INTERRUPT, GATE_TO_XEN, GATE | 1 << 32, 0x0000_8F00_0000_0000],
    ids=hex,
)
def test_descriptors_that_no_guest_has(
    xen_machine: Machine, xen_domain: Domain, frames: list[int], descriptor: int
) -> None:
    """Also beyond the entries, and in the last page."""
    update(xen_domain, frames[2], 511, descriptor)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.set_gdt(frames, entries=1025)


# what is refused


@pytest.mark.parametrize("entries", [MOST + 1, 8192, 1 << 31, 2**32 - 1])
@pytest.mark.parametrize("at", ["list", "unmapped"])
def test_too_many_entries(
    xen_machine: Machine, xen_domain: Domain, frames: list[int], entries: int, at: str
) -> None:
    """Whatever the list."""
    where = placed(xen_domain, bytes(u64_array(frames))) if at == "list" else UNMAPPED
    xen_domain.hypercall.set_gdt(frames, entries=512)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall(NR, where, entries)


def test_frames_that_can_be_none(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    other, gone = xen_machine.create_domain(), xen_machine.create_domain()
    free = gone.mfn(7)
    gone.destroy()
    mapped = xen_domain.mfn_at(xen_domain.alloc_page())
    mine = [mapped, root_of(xen_domain), pinned_table(xen_domain, 1)]
    xens = [xen_domain.info.shared_info_frame, 0, 1, 255, 16384, NO_FRAME, 2**52, 2**64 - 1]
    xen_domain.hypercall.set_gdt(frames, entries=512)
    for mfn in (*mine, *xens, other.mfn(7), free, xen_machine.control.mfn(7)):
        for at in (0, 1, 2):
            listed = [*frames[:at], mfn, *frames[at + 1 : 3]]
            with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
                xen_domain.hypercall.set_gdt(listed, entries=1536)


def test_a_privileged_caller_has_its_own_frames_too(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, frames: list[int]
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_control.hypercall.set_gdt(frames, entries=512)


def test_pages_of_it_are_not_writable(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    xen_domain.hypercall.set_gdt(frames, entries=512)
    with vain(xen_machine, xen_domain, EBUSY):
        xen_domain.hypercall.update_va_mapping(xen_domain.gva(1), frames[0] << 12 | RW)
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall.mmuext_op.pin_table(1, mfn=frames[0])


# where the list lies


@pytest.mark.parametrize("nowhere", [0, UNMAPPED, XEN_VA, 1 << 47], ids=hex)
def test_no_list_is_there(xen_machine: Machine, xen_domain: Domain, nowhere: int) -> None:
    for entries in (1, MOST):
        with vain(xen_machine, xen_domain, EFAULT):
            xen_domain.hypercall(NR, nowhere, entries)


def test_a_list_of_which_the_end_is_not_mapped(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    raw = bytes(u64_array(frames))
    at = straddling(xen_domain, raw[:8], mapped=False, first=8)
    with vain(xen_machine, xen_domain, EFAULT):
        xen_domain.hypercall(NR, at, 513)
    assert xen_domain.hypercall(NR, at, 512) == 0


def test_a_list_across_pages_and_read_only(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    raw = bytes(u64_array(frames))
    assert xen_domain.hypercall(NR, straddling(xen_domain, raw, first=20), MOST) == 0
    assert gdt(xen_machine, xen_domain) == (frames, MOST)
    assert xen_domain.hypercall(NR, read_only(xen_domain, raw), 512) == 0


def test_the_number_has_32_bits(
    xen_machine: Machine, xen_domain: Domain, frames: list[int]
) -> None:
    at = placed(xen_domain, bytes(u64_array(frames)))
    assert xen_domain.hypercall(NR, at, JUNK | 512) == 0
    assert gdt(xen_machine, xen_domain) == (frames[:1], 512)


def test_a_dying_caller(xen_domain: Domain) -> None:
    xen_domain.destroy()
    with refused(ESRCH):
        xen_domain.hypercall(NR, 0, 0)
