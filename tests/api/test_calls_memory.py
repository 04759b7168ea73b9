"""Typed calls on frames, page tables and grants."""

import pytest

from xenemu import Domain, GrantError, HypercallError, Machine
from xenemu.xen import (
    DOMID_SELF,
    PAGE_SIZE,
    GrantFlag,
    GrantMap,
    GrantOp,
    GrantStatus,
    structs,
)
from xenemu.xen.structs.grant_table import gnttab_copy, grant_entry_v1

RW, RO = 0x67, 0x65


def map_table(domain: Domain) -> int:
    """Where the domain has its grant table now."""
    (frame,) = domain.hypercall.grant_table_op.setup_table(nr_frames=1)
    at = domain.alloc_page()
    domain.hypercall.update_va_mapping(at, frame << 12 | RW)
    return at


def grant(domain: Domain, table: int, ref: int, gva: int, to: int, more: int = 0) -> None:
    flags = GrantFlag.permit_access | more
    entry = grant_entry_v1(flags=flags, domid=to, frame=domain.mfn_at(gva))
    domain.write(table + ref * 8, entry)


def flags_of(domain: Domain, table: int, ref: int) -> int:
    return int(domain.memory.read_struct(grant_entry_v1, table + ref * 8).flags)


def test_pages_of_tables(xen_machine: Machine, xen_domain: Domain) -> None:
    op = xen_domain.hypercall.mmuext_op
    page = xen_domain.alloc_page()
    mfn = xen_domain.mfn_at(page)
    with pytest.raises(HypercallError, match=r"mmuext_op.PIN_L1_TABLE: EINVAL") as refused:
        op.pin_table(1, mfn=mfn)
    assert refused.value.done == 0
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RO)
    op.pin_table(1, mfn=mfn)
    frame = xen_machine.frame(mfn)
    assert (frame.type, frame.pinned, frame.validated) == ("l1", True, True)
    with pytest.raises(HypercallError, match=r"update_va_mapping: EBUSY"):
        xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RW)
    op.unpin_table(mfn=mfn)
    xen_domain.hypercall.update_va_mapping(page, mfn << 12 | RW)
    with pytest.raises(ValueError, match="level 5"):
        op.pin_table(5, mfn=mfn)


def test_operations_in_order(xen_domain: Domain) -> None:
    op = xen_domain.hypercall.mmuext_op
    one, two = (xen_domain.alloc_page() for _ in range(2))
    xen_domain.write(one, b"abc")
    op.copy_page(mfn=xen_domain.mfn_at(two), src_mfn=xen_domain.mfn_at(one))
    assert xen_domain.read(two, 3) == b"abc"
    clear = structs.xen.mmuext_op(cmd=16)
    clear.arg1.mfn = xen_domain.mfn_at(one)
    with pytest.raises(HypercallError, match=r"mmuext_op.77: ENOSYS") as refused:
        op([clear, structs.xen.mmuext_op(cmd=77), clear])
    assert refused.value.done == 1
    assert xen_domain.read(one, 3) == bytes(3)
    assert op([]) == 0
    for flush in (op.tlb_flush_local, op.tlb_flush_all):
        flush()
    op.tlb_flush_multi(vcpus=[0])
    op.invlpg_multi(linear_addr=one, vcpus=[0])
    with pytest.raises(HypercallError, match="EOPNOTSUPP"):
        op.mark_super(mfn=clear.arg1.mfn)


def test_a_foreign_frame_by_privilege(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain
) -> None:
    page, mine = xen_domain.alloc_page(), xen_control.alloc_page()
    entry = xen_domain.mfn_at(page) << 12 | RW
    xen_domain.write(page, b"secret")
    with pytest.raises(HypercallError, match="EBUSY"):
        xen_control.hypercall.update_va_mapping(mine, entry)
    xen_control.hypercall.update_va_mapping_otherdomain(mine, entry, domid=xen_domain.id)
    assert xen_control.read(mine, 6) == b"secret"
    xen_domain.destroy()
    assert xen_domain.info.dying and xen_domain.info.tot_pages == 1
    xen_control.hypercall.update_va_mapping(mine, 0)
    assert not xen_domain.exists
    with pytest.raises(PermissionError):
        xen_machine.create_domain().hypercall.update_va_mapping_otherdomain(0, 0, domid=0)


def test_frames_are_exchanged(xen_machine: Machine) -> None:
    domain = xen_machine.create_domain(max_memory_mib=8)
    op = domain.hypercall.memory_op
    old = op.increase_reservation(nr_extents=2)
    done = op.exchange(old, [3000, 3001])
    assert done.nr_exchanged == 2
    assert [xen_machine.frame(f).pfn for f in done.frames] == [3000, 3001]
    with pytest.raises(HypercallError, match=r"memory_op.exchange: EINVAL"):
        op.exchange(done.frames, [1])


def test_a_memory_map_and_a_resource(xen_control: Domain, xen_domain: Domain) -> None:
    entry = bytes(8) + (1 << 20).to_bytes(8, "little") + b"\1\0\0\0"
    with pytest.raises(HypercallError, match=r"memory_map: ENOSYS"):
        xen_domain.hypercall.memory_op.memory_map()
    op = xen_control.hypercall.memory_op
    op.set_memory_map([entry, entry], domid=xen_domain.id)
    assert xen_domain.hypercall.memory_op.memory_map() == (entry, entry)
    assert len(op.machine_memory_map()) >= 1
    table = map_table(xen_domain)
    frames = op.acquire_resource(domid=xen_domain.id, type=1, nr_frames=1)
    assert frames == (xen_domain.mfn_at(table),)


def test_a_grant_is_mapped(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    table, page, at = map_table(xen_domain), xen_domain.alloc_page(), other.alloc_page()
    grant(xen_domain, table, 8, page, other.id)
    xen_domain.write(page, b"shared")
    op = other.hypercall.grant_table_op
    mapping = op.map_grant_ref(host_addr=at, flags=GrantMap.host_map, ref=8, dom=xen_domain.id)
    assert other.read(at, 6) == b"shared"
    other.write(at, b"SHARED")
    assert xen_domain.read(page, 6) == b"SHARED"
    in_use = GrantFlag.permit_access | GrantFlag.reading | GrantFlag.writing
    assert flags_of(xen_domain, table, 8) == in_use
    op.unmap_grant_ref(host_addr=at, handle=mapping.handle)
    assert flags_of(xen_domain, table, 8) == GrantFlag.permit_access
    with pytest.raises(GrantError) as refused:
        op.unmap_grant_ref(host_addr=at, handle=mapping.handle)
    assert refused.value.status == GrantStatus.bad_handle
    with pytest.raises(OSError, match="Bad address"):
        other.read(at, 1)


def test_grants_copy(xen_machine: Machine, xen_domain: Domain) -> None:
    other = xen_machine.create_domain()
    table, page = map_table(xen_domain), xen_domain.alloc_page()
    grant(xen_domain, table, 9, page, other.id, GrantFlag.readonly)
    xen_domain.write(page + 100, b"bytes")
    mine = other.alloc_page()
    op = other.hypercall.grant_table_op
    op.copy(
        source_domid=xen_domain.id,
        source_ref=9,
        source_offset=100,
        dest_gmfn=other.mfn_at(mine),
        dest_offset=7,
        len=5,
    )
    assert other.read(mine + 7, 5) == b"bytes"
    with pytest.raises(GrantError, match="GNTST_general_error"):
        op.copy(source_gmfn=other.mfn_at(mine), dest_domid=xen_domain.id, dest_ref=9, len=1)


def test_a_batch_has_a_status_for_each(xen_domain: Domain) -> None:
    frame = xen_domain.mfn_at(xen_domain.alloc_page())
    entries = [gnttab_copy(len=n) for n in (16, PAGE_SIZE + 1, 0)]
    for entry in entries:
        entry.source.domid = entry.dest.domid = DOMID_SELF
        entry.source.u.gmfn = entry.dest.u.gmfn = frame
    op = xen_domain.hypercall.grant_table_op
    statuses = op.batch(GrantOp.copy, entries)
    assert statuses == [GrantStatus.okay, GrantStatus.bad_copy_arg, GrantStatus.okay]
    assert [entry.status for entry in entries] == [0, -10, 0]
    assert op.batch(GrantOp.copy, []) == []
    with pytest.raises(HypercallError, match=r"grant_table_op.99: ENOSYS"):
        op.batch(99, entries)


def test_sizes_and_versions(xen_domain: Domain) -> None:
    op = xen_domain.hypercall.grant_table_op
    size = op.query_size()
    assert (size.nr_frames, size.max_nr_frames) == (1, 64)
    assert len(op.setup_table(nr_frames=3)) == 3
    assert op.query_size().nr_frames == 3
    assert op.set_version(version=1) == op.get_version() == 1
    with pytest.raises(HypercallError, match=r"set_version: ENOSYS"):
        op.set_version(version=2)
    with pytest.raises(GrantError, match="GNTST_bad_domain"):
        op.query_size(dom=77)
