"""xen/grant_table.h."""

from xenemu.xen.structs.layout import (
    DOMID,
    HANDLE,
    I16,
    PFN,
    U16,
    U32,
    U64,
    struct,
    union,
)

grant_entry_v1 = struct("grant_entry_v1", flags=U16, domid=DOMID, frame=U32)
gnttab_map_grant_ref = struct(
    "gnttab_map_grant_ref",
    host_addr=U64,
    flags=U32,
    ref=U32,
    dom=DOMID,
    status=I16,
    handle=U32,
    dev_bus_addr=U64,
)
gnttab_unmap_grant_ref = struct(
    "gnttab_unmap_grant_ref", host_addr=U64, dev_bus_addr=U64, handle=U32, status=I16
)
gnttab_setup_table = struct(
    "gnttab_setup_table", dom=DOMID, nr_frames=U32, status=I16, frame_list=HANDLE
)
gnttab_dump_table = struct("gnttab_dump_table", dom=DOMID, status=I16)
gnttab_transfer = struct("gnttab_transfer", mfn=PFN, domid=DOMID, ref=U32, status=I16)
gnttab_copy_ptr = struct("gnttab_copy_ptr", u=union(ref=U32, gmfn=PFN), domid=DOMID, offset=U16)
gnttab_copy = struct(
    "gnttab_copy", source=gnttab_copy_ptr, dest=gnttab_copy_ptr, len=U16, flags=U16, status=I16
)
gnttab_query_size = struct(
    "gnttab_query_size", dom=DOMID, nr_frames=U32, max_nr_frames=U32, status=I16
)
gnttab_unmap_and_replace = struct(
    "gnttab_unmap_and_replace", host_addr=U64, new_addr=U64, handle=U32, status=I16
)
gnttab_set_version = struct("gnttab_set_version", version=U32)
gnttab_get_status_frames = struct(
    "gnttab_get_status_frames", nr_frames=U32, dom=DOMID, status=I16, frame_list=HANDLE
)
gnttab_get_version = struct("gnttab_get_version", dom=DOMID, pad=U16, version=U32)
gnttab_swap_grant_ref = struct("gnttab_swap_grant_ref", ref_a=U32, ref_b=U32, status=I16)
gnttab_cache_flush = struct(
    "gnttab_cache_flush", a=union(dev_bus_addr=U64, ref=U32), offset=U16, length=U16, op=U32
)
