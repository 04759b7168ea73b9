"""start_info as a kernel reads it, and the log window's tables found through the P2M."""

import errno
import struct
from collections.abc import Iterator

import pytest

from ozs.window import EXTENT_PAGES, LOG_WINDOW, PAGE, LogWindow, StartInfo
from xenemu._abi import DOMID_SELF, Hypercall
from xenemu.guest import GUEST_BASE, Kernel
from xenemu.machine import Domain, Machine

EXTENTS = 3
XENMEM_POPULATE_PHYSMAP = 6
SIF_VIRT_P2M_4TOOLS, SIF_DOM0 = 0x10, 3
LINE = b"root=/dev/xvda ro"


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine(frames=16384, seed=3)
    yield machine
    machine.close()


def create(machine: Machine, window: int, **options: int | bytes) -> Domain:
    domid = machine.core.create_domain(
        pages=1024, max_pages=1024 + window, window_pages=window, ip=0,
        **{"privileged": False, **options},
    )  # fmt: skip
    machine.core.unpause(domid)
    return machine.domain(domid)


def word(domain: Domain, gva: int) -> int:
    return struct.unpack("<Q", domain.guest_read(gva, 8))[0]


def populate(domain: Domain, count: int) -> list[int]:
    arg, listed = GUEST_BASE + PAGE, GUEST_BASE + 2 * PAGE
    domain.guest_write(listed, struct.pack(f"<{count}Q", *range(1024, 1024 + count)))
    domain.guest_write(arg, struct.pack("<QQIIHHI", listed, count, 9, 0, DOMID_SELF, 0, 0))
    assert domain.hypercall(Hypercall.memory_op, XENMEM_POPULATE_PHYSMAP, arg) == count
    return [word(domain, listed + 8 * i) for i in range(count)]


def test_the_window_maps_extents(machine: Machine) -> None:
    domain = create(machine, EXTENTS * EXTENT_PAGES)
    start = StartInfo.read(domain)
    window = LogWindow(Kernel(domain, "d", 1, lambda line: None), start)
    mfns = populate(domain, EXTENTS)
    window.map(mfns)
    assert window.extent_mfns(EXTENTS) == mfns
    last = EXTENTS * EXTENT_PAGES * PAGE - PAGE
    domain.guest_write(LOG_WINDOW + last, b"log")
    assert domain.guest_translate(LOG_WINDOW + last) // PAGE == mfns[-1] + EXTENT_PAGES - 1


@pytest.mark.parametrize("pages", [0, EXTENT_PAGES])
def test_a_window_that_is_too_small(machine: Machine, pages: int) -> None:
    domain = create(machine, pages)
    window = LogWindow(Kernel(domain, "d", 1, lambda line: None), StartInfo.read(domain))
    with pytest.raises(OSError) as raised:
        window.map([1, 2])
    assert raised.value.errno == errno.EFAULT


@pytest.mark.parametrize("base", [0, 0xFFFF_FFFF_8000_0000, GUEST_BASE])
def test_start_info_lies_where_the_kernel_is_linked(machine: Machine, base: int) -> None:
    domain = create(machine, 0, virt_base=base, kernel_pages=256, cmdline=LINE, store=True)
    info, start = machine.core.domain_info(domain.id), StartInfo.read(domain)
    gva = domain.start_info_gva
    assert start.nr_pages == 1024
    assert start.mfn_list == base + 256 * PAGE
    assert gva == base + 258 * PAGE
    assert start.pt_base == gva + 3 * PAGE  # after the xenstore and console pages
    assert domain.guest_read(gva, 15) == b"xen-3.0-x86_64\0"
    assert word(domain, gva + 40) == info["shared_info_mfn"] * PAGE
    assert word(domain, gva + 48) == SIF_VIRT_P2M_4TOOLS
    assert word(domain, gva + 56) * PAGE == domain.guest_translate(gva + PAGE)
    assert word(domain, gva + 64) == 1
    assert domain.guest_read(gva + 128, len(LINE) + 1) == LINE + b"\0"
    for pfn in (0, 300, 1023):
        mfn = domain.guest_translate(base + pfn * PAGE) // PAGE
        assert word(domain, start.mfn_list + 8 * pfn) == mfn


def test_the_control_domain_has_no_rings(machine: Machine) -> None:
    domain = create(machine, 0, privileged=True)
    gva = domain.start_info_gva
    assert word(domain, gva + 48) == SIF_DOM0
    assert StartInfo.read(domain).pt_base == gva + PAGE


def test_what_the_builder_refuses(machine: Machine) -> None:
    free = machine.core.free_pages()
    for options in (
        {"virt_base": 0xFFFF_8000_0000_0000},
        {"virt_base": 5},
        {"kernel_pages": 1024},
        {"max_vcpus": 129},
        {"cmdline": b"x" * 1024},
    ):
        with pytest.raises(OSError) as raised:
            create(machine, 0, **options)
        assert raised.value.errno == errno.EINVAL
    with pytest.raises(ValueError, match="NUL"):
        create(machine, 0, cmdline=b"a\0b")
    assert machine.core.free_pages() == free


def test_a_domain_without_an_address(machine: Machine) -> None:
    info = machine.core.domain_info(create(machine, 0, no_ip=True, max_vcpus=4).id)
    assert (info["ip"], info["own_ip"], info["max_vcpus"]) == (0, 0, 4)
