"""memory_op: what asks about memory, memory maps, and what a PV domain is refused."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypercalls.support import (
    ABSENT,
    ABSENT_DOMIDS,
    NOWHERE,
    UNMAPPED,
    XEN_VA,
    back,
    placed,
    read_only,
    refused,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import DOMID_SELF, MemoryOp
from xenemu.xen.structs import memory as h
from xenemu.xen.structs.layout import Structure

RESERVATIONS = pytest.mark.parametrize(
    "op",
    [MemoryOp.current_reservation, MemoryOp.maximum_reservation, MemoryOp.maximum_gpfn],
    ids=lambda op: op.name,
)
E820 = [bytes(8) + (1 << 20).to_bytes(8, "little") + b"\1\0\0\0", b"r" * 20]


# reservations


def test_reservations(xen_machine: Machine) -> None:
    guest = xen_machine.create_domain(memory_mib=2, max_memory_mib=3)
    for caller, domid in (guest, DOMID_SELF), (guest, guest.id), (xen_machine.control, guest.id):
        call = caller.hypercall.memory_op
        assert call.current_reservation(domid=domid) == 512
        assert call.maximum_reservation(domid=domid) == 768


def test_a_maximum_below_what_it_has(xen_control: Domain, xen_domain: Domain) -> None:
    xen_control.hypercall.domctl.max_mem(domain=xen_domain.id, max_memkb=7)
    assert xen_domain.hypercall.memory_op.maximum_reservation() == 1
    assert xen_domain.hypercall.memory_op.current_reservation() == 1024


def test_a_zombies_reservation(xen_control: Domain, xen_domain: Domain) -> None:
    page, mfn = xen_control.alloc_page(), xen_domain.mfn(1)
    xen_control.hypercall.update_va_mapping_otherdomain(page, mfn << 12 | 0x65, domid=xen_domain.id)
    xen_domain.destroy()
    assert xen_control.hypercall.memory_op.current_reservation(domid=xen_domain.id) == 1


def test_maximum_gpfn_is_what_the_guest_says(xen_control: Domain, xen_domain: Domain) -> None:
    page = xen_domain.alloc_page()
    xen_domain.hypercall.update_va_mapping(page, xen_domain.info.shared_info_frame << 12 | 0x67)
    arch = type(xen_domain.shared_info).arch.offset
    assert xen_domain.hypercall.memory_op.maximum_gpfn() == 0
    xen_domain.write(page + arch, (1234).to_bytes(8, "little"))
    assert xen_domain.shared_info.arch.max_pfn == 1234
    assert xen_domain.hypercall.memory_op.maximum_gpfn() == 1233
    assert xen_control.hypercall.memory_op.maximum_gpfn(domid=xen_domain.id) == 1233


@RESERVATIONS
@ABSENT_DOMIDS
def test_reservations_of_an_absent_domain(xen_domain: Domain, op: MemoryOp, absent: int) -> None:
    with refused(errno.ESRCH):
        xen_domain.hypercall.memory_op(op, h.xen_memory_domain(domid=absent))


@RESERVATIONS
def test_reservations_of_another_domain(xen_domain: Domain, op: MemoryOp) -> None:
    with refused(errno.EPERM):
        xen_domain.hypercall.memory_op(op, h.xen_memory_domain(domid=0))


def test_maximum_ram_page(xen_machine: Machine, xen_domain: Domain) -> None:
    last = xen_domain.hypercall.memory_op.maximum_ram_page()
    assert last == 64 << 20 >> 12
    xen_machine.frame(last - 1)
    with pytest.raises(OSError, match="Invalid"):
        xen_machine.frame(last)


# the machine-to-physical table


def test_machphys_mapping(xen_control: Domain, xen_domain: Domain) -> None:
    for domain, entries in (xen_control, 1 << 14), (xen_domain, 1 << 35):
        table = domain.hypercall.memory_op.machphys_mapping()
        assert (table.v_start, table.v_end) == (0xFFFF_8000_0000_0000, 0xFFFF_8040_0000_0000)
        assert table.max_mfn == entries - 1


@pytest.mark.parametrize("room", [0, 1, 100])
def test_machphys_mfn_list(xen_domain: Domain, room: int) -> None:
    assert xen_domain.hypercall.memory_op.machphys_mfn_list(max_extents=room) == (0,)[:room]


def test_machphys_mfn_list_at_a_bad_place(xen_domain: Domain) -> None:
    for at in UNMAPPED, read_only(xen_domain, bytes(8)):
        arg = h.xen_machphys_mfn_list(max_extents=1, extent_start=at)
        with refused(errno.EFAULT):
            xen_domain.hypercall.memory_op(MemoryOp.machphys_mfn_list, arg)


def test_machphys_compat_mfn_list(xen_domain: Domain) -> None:
    with refused(errno.EOPNOTSUPP):
        xen_domain.hypercall.memory_op(MemoryOp.machphys_compat_mfn_list, UNMAPPED)


# memory maps


def test_a_map_that_was_set_is_there(xen_control: Domain, xen_domain: Domain) -> None:
    with refused(errno.ENOSYS):
        xen_domain.hypercall.memory_op.memory_map()
    xen_control.hypercall.memory_op.set_memory_map(E820, domid=xen_domain.id)
    assert xen_domain.hypercall.memory_op.memory_map() == tuple(E820)
    assert xen_domain.hypercall.memory_op.memory_map(nr_entries=1) == tuple(E820[:1])
    with refused(errno.ENOSYS):
        xen_control.hypercall.memory_op.memory_map()
    xen_domain.hypercall.memory_op.set_memory_map(E820[1:])
    assert xen_domain.hypercall.memory_op.memory_map() == tuple(E820[1:])
    xen_domain.hypercall.memory_op.set_memory_map([])
    with refused(errno.ENOSYS):
        xen_domain.hypercall.memory_op.memory_map()


def test_the_largest_map(xen_domain: Domain) -> None:
    entries = [i.to_bytes(20, "little") for i in range(1024)]
    xen_domain.hypercall.memory_op.set_memory_map(entries)
    assert xen_domain.hypercall.memory_op.memory_map(nr_entries=1024) == tuple(entries)
    with refused(errno.EINVAL):
        xen_domain.hypercall.memory_op.set_memory_map([*entries, bytes(20)])
    assert len(xen_domain.hypercall.memory_op.memory_map(nr_entries=2000)) == 1024


def set_map(n: int, at: int, domid: int = DOMID_SELF) -> Any:
    arg = h.xen_foreign_memory_map(domid=domid)
    arg.map.nr_entries, arg.map.buffer = n, at
    return arg


@pytest.mark.parametrize(
    ("arg", "code"),
    [
        (set_map(1025, UNMAPPED, ABSENT), errno.EINVAL),
        (set_map(0xFFFF_FFFF, UNMAPPED), errno.EINVAL),
        (set_map(1, UNMAPPED, ABSENT), errno.ESRCH),
        (set_map(1, UNMAPPED, 0), errno.EPERM),
        (set_map(1, UNMAPPED), errno.EFAULT),
        (set_map(1, XEN_VA), errno.EFAULT),
    ],
    ids=["many first", "many", "absent", "another's", "nowhere", "xen's"],
)
def test_a_map_that_is_refused_leaves_the_old_one(xen_domain: Domain, arg: Any, code: int) -> None:
    xen_domain.hypercall.memory_op.set_memory_map(E820)
    with refused(code):
        xen_domain.hypercall.memory_op(MemoryOp.set_memory_map, arg)
    assert xen_domain.hypercall.memory_op.memory_map() == tuple(E820)


def test_no_room_for_the_map(xen_domain: Domain) -> None:
    xen_domain.hypercall.memory_op.set_memory_map(E820)
    for at in UNMAPPED, read_only(xen_domain, bytes(40)), straddling(xen_domain, bytes(40), False):
        with refused(errno.EFAULT):
            xen_domain.hypercall.memory_op(
                MemoryOp.memory_map, h.xen_memory_map(nr_entries=2, buffer=at)
            )
    whole = straddling(xen_domain, bytes(40), first=5)
    arg = h.xen_memory_map(nr_entries=2, buffer=whole)
    assert xen_domain.hypercall.memory_op(MemoryOp.memory_map, arg) == 0
    assert xen_domain.read(whole, 40) == b"".join(E820)


def test_the_machines_map(xen_control: Domain, xen_domain: Domain) -> None:
    (ram,) = xen_control.hypercall.memory_op.machine_memory_map()
    assert ram == bytes(8) + (64 << 20).to_bytes(8, "little") + b"\1\0\0\0"
    arg = h.xen_memory_map(nr_entries=0, buffer=0)  # how many there are
    assert xen_control.hypercall.memory_op(MemoryOp.machine_memory_map, arg) == 0
    assert arg.nr_entries == 1
    with refused(errno.EPERM):
        xen_domain.hypercall.memory_op.machine_memory_map()
    with refused(errno.EINVAL):
        xen_control.hypercall.memory_op.machine_memory_map(nr_entries=1)
    with refused(errno.EFAULT):
        arg = h.xen_memory_map(nr_entries=9, buffer=UNMAPPED)
        xen_control.hypercall.memory_op(MemoryOp.machine_memory_map, arg)


# what a PV domain is refused


def device_map(flags: int, at: int) -> bytes:
    """xen_reserved_device_memory_map"""
    return b"".join([flags.to_bytes(4, "little"), b"\5\0\0\0", at.to_bytes(8, "little"), bytes(8)])


def access(domid: int) -> bytes:
    """xen_mem_access_op"""
    return bytes(2) + domid.to_bytes(2, "little") + bytes(28)


REFUSALS = [
    (MemoryOp.add_to_physmap, h.xen_add_to_physmap(domid=DOMID_SELF), errno.EACCES),
    (MemoryOp.add_to_physmap, h.xen_add_to_physmap(domid=0, space=1), errno.EACCES),
    (MemoryOp.add_to_physmap, h.xen_add_to_physmap(domid=ABSENT), errno.ESRCH),
    (MemoryOp.add_to_physmap, h.xen_add_to_physmap(domid=ABSENT, space=4), errno.ENOSYS),
    (MemoryOp.add_to_physmap_batch, h.xen_add_to_physmap_batch(domid=DOMID_SELF), errno.EACCES),
    (MemoryOp.add_to_physmap_batch, h.xen_add_to_physmap_batch(domid=ABSENT), errno.ESRCH),
    (
        MemoryOp.add_to_physmap_batch,
        h.xen_add_to_physmap_batch(domid=ABSENT, space=3),
        errno.EOPNOTSUPP,
    ),
    (MemoryOp.remove_from_physmap, h.xen_remove_from_physmap(domid=DOMID_SELF), errno.EACCES),
    (MemoryOp.remove_from_physmap, h.xen_remove_from_physmap(domid=0), errno.EACCES),
    (MemoryOp.remove_from_physmap, h.xen_remove_from_physmap(domid=ABSENT), errno.ESRCH),
    (MemoryOp.set_pod_target, h.xen_pod_target(domid=DOMID_SELF), errno.EINVAL),
    (MemoryOp.get_pod_target, h.xen_pod_target(domid=DOMID_SELF), errno.EINVAL),
    (MemoryOp.set_pod_target, h.xen_pod_target(domid=ABSENT), errno.ESRCH),
    (MemoryOp.get_pod_target, h.xen_pod_target(domid=ABSENT), errno.ESRCH),
    (MemoryOp.access_op, access(DOMID_SELF), errno.ESRCH),
    (MemoryOp.access_op, access(ABSENT), errno.ESRCH),
    (MemoryOp.access_op, access(1), errno.EPERM),
    (MemoryOp.access_op, access(0), errno.EINVAL),
    (MemoryOp.get_vnumainfo, h.xen_vnuma_topology_info(domid=DOMID_SELF), errno.EOPNOTSUPP),
    (MemoryOp.get_vnumainfo, h.xen_vnuma_topology_info(domid=ABSENT), errno.ESRCH),
    (MemoryOp.get_vnumainfo, h.xen_vnuma_topology_info(domid=0), errno.EPERM),
    (MemoryOp.get_vnumainfo, h.xen_vnuma_topology_info(domid=ABSENT, pad=1), errno.EINVAL),
    (MemoryOp.reserved_device_memory_map, device_map(2, 0), errno.EINVAL),
    (MemoryOp.reserved_device_memory_map, device_map(2, XEN_VA), errno.EFAULT),
    (MemoryOp.paging_op, bytes(64), errno.ENOSYS),
    (MemoryOp.sharing_op, bytes(64), errno.ENOSYS),
]


@pytest.mark.parametrize(
    ("op", "arg", "code"), REFUSALS, ids=[f"{op.name}-{i}" for i, (op, *_) in enumerate(REFUSALS)]
)
def test_refusals(xen_domain: Domain, op: MemoryOp, arg: Structure, code: int) -> None:
    assert xen_domain.id == 1
    with refused(code):
        xen_domain.hypercall.memory_op(op, arg)


def test_no_device_has_reserved_memory(xen_domain: Domain) -> None:
    at = placed(xen_domain, device_map(1, 0))
    assert xen_domain.hypercall.memory_op(MemoryOp.reserved_device_memory_map, at) == 0
    assert xen_domain.read(at + 4, 4) == bytes(4)


def test_nothing_is_shared(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.memory_op(MemoryOp.get_sharing_freed_pages) == 0
    assert xen_domain.hypercall.memory_op(MemoryOp.get_sharing_shared_pages) == 0


# numbers and addresses

WITH_A_STRUCT = [
    MemoryOp.current_reservation,
    MemoryOp.maximum_reservation,
    MemoryOp.maximum_gpfn,
    MemoryOp.machphys_mfn_list,
    MemoryOp.machphys_mapping,
    MemoryOp.add_to_physmap,
    MemoryOp.add_to_physmap_batch,
    MemoryOp.remove_from_physmap,
    MemoryOp.memory_map,
    MemoryOp.machine_memory_map,
    MemoryOp.set_memory_map,
    MemoryOp.set_pod_target,
    MemoryOp.get_pod_target,
    MemoryOp.access_op,
    MemoryOp.claim_pages,
    MemoryOp.get_vnumainfo,
    MemoryOp.reserved_device_memory_map,
    MemoryOp.acquire_resource,
]


@pytest.mark.parametrize("op", WITH_A_STRUCT, ids=lambda op: op.name)
@NOWHERE
def test_a_struct_that_lies_nowhere(xen_control: Domain, op: MemoryOp, nowhere: int) -> None:
    with refused(errno.EFAULT):
        xen_control.hypercall.memory_op(op, nowhere)


@pytest.mark.parametrize(
    ("op", "arg"),
    [
        (MemoryOp.machphys_mfn_list, h.xen_machphys_mfn_list()),
        (MemoryOp.machphys_mapping, h.xen_machphys_mapping()),
        (MemoryOp.memory_map, h.xen_memory_map()),
        (MemoryOp.machine_memory_map, h.xen_memory_map()),
        (MemoryOp.reserved_device_memory_map, device_map(1, 0)),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_a_struct_for_results(xen_control: Domain, op: MemoryOp, arg: Structure) -> None:
    xen_control.hypercall.memory_op.set_memory_map(E820)
    with refused(errno.EFAULT):
        xen_control.hypercall.memory_op(op, read_only(xen_control, arg))
    with refused(errno.EFAULT):
        xen_control.hypercall.memory_op(op, straddling(xen_control, arg, mapped=False))
    assert xen_control.hypercall.memory_op(op, straddling(xen_control, arg)) == 0


def test_a_domid_across_pages(xen_domain: Domain) -> None:
    arg = h.xen_memory_domain(domid=DOMID_SELF)
    at = straddling(xen_domain, arg, first=1)
    assert back(xen_domain, arg, at).domid == DOMID_SELF
    assert xen_domain.hypercall.memory_op(MemoryOp.current_reservation, at) == 1024


FOR_THE_START = {  # sub-operations that say so if they can't go on somewhere
    **dict.fromkeys(
        [
            MemoryOp.exchange,
            MemoryOp.maximum_ram_page,
            MemoryOp.current_reservation,
            MemoryOp.maximum_reservation,
            MemoryOp.maximum_gpfn,
            MemoryOp.remove_from_physmap,
            MemoryOp.claim_pages,
            MemoryOp.get_vnumainfo,
            MemoryOp.reserved_device_memory_map,
        ],
        errno.EINVAL,
    ),
    MemoryOp.add_to_physmap: errno.EDOM,
    MemoryOp.add_to_physmap_batch: errno.EDOM,
    MemoryOp.machphys_mapping: errno.ENOSYS,
    MemoryOp.memory_map: errno.ENOSYS,
    MemoryOp.get_sharing_freed_pages: errno.ENOSYS,
}


@pytest.mark.parametrize(("op", "code"), FOR_THE_START.items(), ids=lambda x: str(x))
def test_bits_above_the_number(xen_domain: Domain, op: MemoryOp, code: int) -> None:
    for junk in 1 << 22, 1 << 32, 1 << 63:
        with refused(code):
            xen_domain.hypercall.memory_op(op | junk, UNMAPPED)


@pytest.mark.parametrize("op", [8, 29, 30, 40, 62, 63, 63 | 1 << 32], ids=hex)
def test_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    before = xen_machine.counters["unknown_hypercalls"]
    with refused(errno.ENOSYS):
        xen_domain.hypercall.memory_op(op, UNMAPPED)
    assert xen_machine.counters["unknown_hypercalls"] == before + 1
