"""xen/memory.h."""

from xenemu.xen.structs.layout import DOMID, HANDLE, PFN, U16, U32, U64, ULONG, struct, union

xen_memory_reservation = struct(
    "xen_memory_reservation",
    extent_start=HANDLE,
    nr_extents=ULONG,
    extent_order=U32,
    mem_flags=U32,
    domid=DOMID,
)
xen_memory_exchange = struct(
    "xen_memory_exchange",
    **{"in": xen_memory_reservation},
    out=xen_memory_reservation,
    nr_exchanged=ULONG,
)
xen_memory_domain = struct("xen_memory_domain", domid=DOMID)
xen_machphys_mfn_list = struct(
    "xen_machphys_mfn_list", max_extents=U32, extent_start=HANDLE, nr_extents=U32
)
xen_machphys_mapping = struct("xen_machphys_mapping", v_start=ULONG, v_end=ULONG, max_mfn=ULONG)
xen_add_to_physmap = struct(
    "xen_add_to_physmap", domid=DOMID, size=U16, space=U32, idx=ULONG, gpfn=PFN
)
xen_add_to_physmap_batch = struct(
    "xen_add_to_physmap_batch",
    domid=DOMID,
    space=U16,
    size=U16,
    u=union(foreign_domid=DOMID, res0=U16),
    idxs=HANDLE,
    gpfns=HANDLE,
    errs=HANDLE,
)
xen_remove_from_physmap = struct("xen_remove_from_physmap", domid=DOMID, gpfn=PFN)
xen_memory_map = struct("xen_memory_map", nr_entries=U32, buffer=HANDLE)
xen_foreign_memory_map = struct("xen_foreign_memory_map", domid=DOMID, map=xen_memory_map)
xen_pod_target = struct(
    "xen_pod_target",
    target_pages=U64,
    tot_pages=U64,
    pod_cache_pages=U64,
    pod_entries=U64,
    domid=DOMID,
)
xen_mem_acquire_resource = struct(
    "xen_mem_acquire_resource",
    domid=DOMID,
    type=U16,
    id=U32,
    nr_frames=U32,
    pad=U32,
    frame=U64,
    frame_list=HANDLE,
)
xen_vnuma_topology_info = struct(
    "xen_vnuma_topology_info",
    domid=DOMID,
    pad=U16,
    nr_vnodes=U32,
    nr_vcpus=U32,
    nr_vmemranges=U32,
    vdistance=HANDLE,
    vcpu_to_vnode=HANDLE,
    vmemrange=HANDLE,
)
