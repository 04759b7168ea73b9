"""A guest's page tables and registers as the interface shows them, and that they did not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypercalls.support import PRESENT_RO, PRESENT_RW, refused

from xenemu import Domain, Machine
from xenemu._abi import MmuextOp, MmuUpdate
from xenemu.xen import PAGE_SIZE, structs

RO, RW = PRESENT_RO, PRESENT_RW
PRESENT, WRITABLE, USER, PWT, PCD, ACCESSED, DIRTY, PAT, GLOBAL = (1 << n for n in range(9))
PSE = PAT  # above level 1
AVAILABLE, NX, GUEST_KERNEL = 0xE00, 1 << 63, 1 << 52
UPPER = pytest.mark.parametrize("level", [2, 3, 4])
EVERY = pytest.mark.parametrize("level", [1, 2, 3, 4])
PINS = MmuextOp.PIN_L1_TABLE, MmuextOp.PIN_L2_TABLE, MmuextOp.PIN_L3_TABLE, MmuextOp.PIN_L4_TABLE
NO_FRAME = 1 << 28  # more than any machine here has
XEN_SLOTS = range(256, 272)


def registers(machine: Machine, domain: Domain, vcpu: int = 0) -> Any:
    """A copy of a virtual CPU's vcpu_guest_context."""
    return machine.control.hypercall.domctl.getvcpucontext(domain=domain.id, vcpu=vcpu)


def root_of(domain: Domain) -> int:
    """The frame of the level 4 table that the domain was built with."""
    return domain.mfn_at(domain.start_info.pt_base)


def entry(machine: Machine, table: int, index: int) -> int:
    """What a table, or a page of 8-byte words, has at an index."""
    return int.from_bytes(machine.read_frame(table, index * 8, 8), "little")


def table_for(machine: Machine, domain: Domain, va: int, level: int = 1) -> tuple[int, int]:
    """The built tables' frame of that level for an address, and the index in it."""
    table = root_of(domain)
    for above in range(4, level, -1):
        table = frame_in(entry(machine, table, index_of(va, above)))
    return table, index_of(va, level)


def entry_at(machine: Machine, domain: Domain, va: int) -> int:
    """The level 1 entry of an address."""
    return entry(machine, *table_for(machine, domain, va))


def index_of(va: int, level: int) -> int:
    """Of its entry in a table."""
    return va >> (9 * level + 3) & 511


def frame_in(pte: int) -> int:
    """That it names."""
    return pte >> 12 & 0xFF_FFFF_FFFF


def ptr(table: int, index: int = 0, cmd: int = MmuUpdate.NORMAL_PT_UPDATE) -> int:
    """As mmu_update wants it."""
    return table << 12 | index << 3 | cmd


def update(domain: Domain, table: int, index: int, pte: int, cmd: int = 0) -> int:
    """One mmu_update."""
    return domain.hypercall.mmu_update([(ptr(table, index, cmd), pte)])


def read_only_frame(domain: Domain) -> int:
    """A frame of zeroes that the domain may make a table of."""
    page = domain.alloc_page()
    mfn = domain.mfn_at(page)
    domain.hypercall.update_va_mapping(page, mfn << 12 | RO)
    return mfn


def free_frame(domain: Domain) -> int:
    """The domain's, mapped nowhere."""
    page = domain.alloc_page()
    mfn = domain.mfn_at(page)
    domain.hypercall.update_va_mapping(page, 0)
    return mfn


def tables(domain: Domain, level: int = 4) -> list[int]:
    """Unpinned frames, of level 1 first, each the first entry of the next, up to that level."""
    made = [read_only_frame(domain) for _ in range(level)]
    for below, table in zip(made, made[1:], strict=False):
        update(domain, table, 0, below << 12 | RW)
    return made


def pinned_table(domain: Domain, level: int) -> int:
    """An empty one."""
    mfn = read_only_frame(domain)
    domain.hypercall.mmuext_op.pin_table(level, mfn=mfn)
    return mfn


def operation(cmd: int, arg1: int = 0, arg2: int = 0) -> Any:
    """A struct mmuext_op."""
    op = structs.xen.mmuext_op(cmd=cmd)
    op.arg1.mfn, op.arg2.src_mfn = arg1, arg2
    return op


def uses(machine: Machine, mfn: int) -> tuple[int, str, int]:
    """References, type, uses as such."""
    frame = machine.frame(mfn)
    return frame.count, frame.type, frame.type_count


def state_of(machine: Machine, domain: Domain) -> list[Any]:
    """A domain's frames with references and types, its tables, its virtual CPU's registers."""
    start = domain.start_info
    p2m = domain.read(start.mfn_list, start.nr_pages * 8)
    mfns = [int.from_bytes(p2m[n : n + 8], "little") for n in range(0, len(p2m), 8)]
    frames = [machine.frame(mfn) for mfn in mfns]
    frames = [replace(f, validated=f.validated and f.type != "none") for f in frames]
    held = [machine.read_frame(f.mfn) for f in frames if f.type not in ("none", "writable")]
    return [frames, held, bytes(registers(machine, domain)), machine.free_pages]


@contextmanager
def untouched(machine: Machine, *domains: Domain) -> Iterator[None]:
    """What happens in it leaves frames, tables and registers as they were."""
    before = [state_of(machine, domain) for domain in domains]
    yield
    assert [state_of(machine, domain) for domain in domains] == before


@contextmanager
def vain(machine: Machine, domain: Domain, *codes: int) -> Iterator[None]:
    """The hypercall in it answers minus one of these, and the domain is as before."""
    with untouched(machine, domain), refused(*codes):
        yield


def second_page(va: int) -> int:
    """The address of the page after."""
    return va - va % PAGE_SIZE + PAGE_SIZE


def two_cpus(machine: Machine) -> Domain:
    """A domain whose second virtual CPU is up too, with the page tables of the first."""
    domain = machine.create_domain(vcpus=2)
    context = structs.xen.vcpu_guest_context(flags=4)  # in kernel mode
    context.ctrlreg[3] = root_of(domain) << 12
    domain.hypercall.vcpu_op.initialise(vcpuid=1, ctxt=context)
    domain.hypercall.vcpu_op.up(vcpuid=1)
    return domain
