"""update_descriptor: one descriptor, in a table that is in use or in plain memory."""

from __future__ import annotations

from errno import EINVAL, ESRCH

import pytest
from hypercalls.tables import (
    NO_FRAME,
    entry,
    free_frame,
    pinned_table,
    ptr,
    read_only_frame,
    root_of,
    untouched,
    uses,
    vain,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall

NR = Hypercall.update_descriptor
STORED = [
    (0, 0),
    (0x00AF_9B00_0000_FFFF, 0x00AF_FB00_0000_FFFF),  # code of ring 0
    (0x00CF_B300_0000_FFFF, 0x00CF_F300_0000_FFFF),  # data of ring 1
    (0xFFCF_F3FF_FFFF_FFFF, 0xFFCF_F3FF_FFFF_FFFF),
    (0x0000_1234_5678_9ABC, 0x0000_1234_5678_9ABC),  # not present: anything
    (0xFFFF_7FFF_FFFF_FFFF, 0xFFFF_7FFF_FFFF_FFFF),
    (0x0000_EC00_E033_0000, 0x0000_8C00_E033_0000),  # call gates lose their privilege
    (0x0000_8000_0000_0005, 0x0000_8000_0000_0005),  # no type
    (0xABCD_EC00_0008_1234, 0xABCD_8C00_000B_1234),
    (0x0000_EC00_0000_0000, 0x0000_8C00_0003_0000),
    (0x0000_EC00_DFF8_0000, 0x0000_8C00_DFFB_0000),  # the last of the guest's
    (0x0000_EC00_E00C_0000, 0x0000_8C00_E00F_0000),  # of the LDT
]
REFUSED = [
    0x0000_8900_0000_0067,  # TSS
    0x0000_8B00_0000_0067,
    0x0000_8200_0000_0000,  # LDT
    0x0000_8E00_0000_0000,  # interrupt gate
    0x0000_8F00_0000_0000,  # trap gate
    0x0000_8500_0000_0000,  # task gate
    0x0000_8400_0008_0000,  # call gate of 16 bits
    0x0000_EC01_E033_0000,  # with a parameter
    0x0000_ECFF_E033_0000,
    0x0000_EC00_E000_0000,  # into Xen's segments
    0x0000_EC00_E008_0000,
    0x0000_EC00_E030_0000,
    0x0000_EC00_E02B_0000,
    0x0000_EC00_FFF8_0000,
]


@pytest.fixture
def frame(xen_domain: Domain) -> int:
    """Of the GDT."""
    mfn = read_only_frame(xen_domain)
    xen_domain.hypercall.set_gdt([mfn], entries=512)
    return mfn


@pytest.mark.parametrize(("descriptor", "stored"), STORED, ids=hex)
@pytest.mark.parametrize("index", [0, 511])
def test_a_descriptor_of_the_gdt(
    xen_machine: Machine,
    xen_domain: Domain,
    frame: int,
    index: int,
    descriptor: int,
    stored: int,
) -> None:
    before = uses(xen_machine, frame)
    assert xen_domain.hypercall(NR, ptr(frame, index), descriptor) == 0
    assert uses(xen_machine, frame) == before
    assert entry(xen_machine, frame, index) == stored
    assert entry(xen_machine, frame, 256) == 0


@pytest.mark.parametrize(("descriptor", "stored"), STORED, ids=hex)
def test_likewise_in_plain_memory(
    xen_machine: Machine, xen_domain: Domain, descriptor: int, stored: int
) -> None:
    for mfn in (xen_domain.mfn_at(xen_domain.alloc_page()), free_frame(xen_domain)):
        before = uses(xen_machine, mfn)
        assert xen_domain.hypercall(NR, ptr(mfn, 7), descriptor) == 0
        assert (entry(xen_machine, mfn, 7), uses(xen_machine, mfn)) == (stored, before)


@pytest.mark.parametrize("descriptor", REFUSED, ids=hex)
def test_descriptors_that_no_guest_has(
    xen_machine: Machine, xen_domain: Domain, frame: int, descriptor: int
) -> None:
    data = xen_domain.mfn_at(xen_domain.alloc_page())
    for mfn in (frame, data):
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall(NR, ptr(mfn, 3), descriptor)
        assert entry(xen_machine, mfn, 3) == 0


@pytest.mark.parametrize("offset", range(1, 8))
def test_a_place_that_is_not_aligned(
    xen_machine: Machine, xen_domain: Domain, frame: int, offset: int
) -> None:
    with vain(xen_machine, xen_domain, EINVAL):
        xen_domain.hypercall(NR, ptr(frame) + offset, 0)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_no_page_table_is_written(xen_machine: Machine, xen_domain: Domain, level: int) -> None:
    for mfn in (pinned_table(xen_domain, level), root_of(xen_domain)):
        with vain(xen_machine, xen_domain, EINVAL):
            xen_domain.hypercall(NR, ptr(mfn, 3), 0)


@pytest.mark.parametrize("privileged", [False, True], ids=["guest", "control"])
def test_memory_that_is_not_the_callers(
    xen_machine: Machine, xen_domain: Domain, privileged: bool
) -> None:
    caller = xen_machine.control if privileged else xen_domain
    other, gone = xen_machine.create_domain(), xen_machine.create_domain()
    free = gone.mfn(7)
    gone.destroy()
    for mfn in (other.mfn(7), other.info.shared_info_frame, free, 0, 1, 255, 16384, NO_FRAME):
        with untouched(xen_machine, other), vain(xen_machine, xen_domain, EINVAL):
            caller.hypercall(NR, ptr(mfn), 0)
    for place in (1 << 52, 2**64 - 8):
        with vain(xen_machine, xen_domain, EINVAL):
            caller.hypercall(NR, place, 0)


def test_a_domains_shared_info_is_its_memory(xen_machine: Machine, xen_domain: Domain) -> None:
    shared = xen_domain.info.shared_info_frame
    assert xen_domain.hypercall(NR, ptr(shared, 511), 0x1234) == 0
    assert entry(xen_machine, shared, 511) == 0x1234


def test_a_dying_caller(xen_domain: Domain) -> None:
    mfn = xen_domain.mfn(3)
    xen_domain.destroy()
    assert xen_domain.hypercall.raw(NR, ptr(mfn), 0) == -ESRCH
