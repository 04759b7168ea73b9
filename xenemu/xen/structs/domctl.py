"""xen/domctl.h, interface version 0x15: the sub-operations of a PV host."""

from xenemu.xen.structs.layout import (
    DOMID,
    HANDLE,
    I32,
    I64,
    PFN,
    U8,
    U16,
    U32,
    U64,
    array,
    padding,
    struct,
    union,
)
from xenemu.xen.structs.xen import xenctl_bitmap

XEN_DOMCTL_INTERFACE_VERSION = 0x15

xen_arch_domainconfig = struct("xen_arch_domainconfig", emulation_flags=U32, misc_flags=U32)
xen_domctl_createdomain = struct(
    "xen_domctl_createdomain",
    ssidref=U32,
    handle=array(U8, 16),
    flags=U32,
    iommu_opts=U32,
    max_vcpus=U32,
    max_evtchn_port=U32,
    max_grant_frames=I32,
    max_maptrack_frames=I32,
    grant_opts=U32,
    vmtrace_size=U32,
    cpupool_id=U32,
    arch=xen_arch_domainconfig,
)
xen_domctl_getdomaininfo = struct(
    "xen_domctl_getdomaininfo",
    domain=DOMID,
    pad1=U16,
    flags=U32,
    tot_pages=U64,
    max_pages=U64,
    outstanding_pages=U64,
    shr_pages=U64,
    paged_pages=U64,
    shared_info_frame=PFN,
    cpu_time=U64,
    nr_online_vcpus=U32,
    max_vcpu_id=U32,
    ssidref=U32,
    handle=array(U8, 16),
    cpupool=U32,
    gpaddr_bits=U8,
    pad2=padding(7),
    arch_config=xen_arch_domainconfig,
)
xen_domctl_max_mem = struct("xen_domctl_max_mem", max_memkb=U64)
xen_domctl_max_vcpus = struct("xen_domctl_max_vcpus", max=U32)
xen_domctl_vcpucontext = struct("xen_domctl_vcpucontext", vcpu=U32, ctxt=HANDLE)
xen_domctl_getvcpuinfo = struct(
    "xen_domctl_getvcpuinfo",
    vcpu=U32,
    online=U8,
    blocked=U8,
    running=U8,
    cpu_time=U64,
    cpu=U32,
)
xen_domctl_vcpuaffinity = struct(
    "xen_domctl_vcpuaffinity",
    vcpu=U32,
    flags=U32,
    cpumap_hard=xenctl_bitmap,
    cpumap_soft=xenctl_bitmap,
)
xen_domctl_setdomainhandle = struct("xen_domctl_setdomainhandle", handle=array(U8, 16))
xen_domctl_setdebugging = struct("xen_domctl_setdebugging", enable=U8)
xen_domctl_settimeoffset = struct("xen_domctl_settimeoffset", time_offset_seconds=I64)
xen_domctl_address_size = struct("xen_domctl_address_size", size=U32)
xen_domctl_getpageframeinfo3 = struct("xen_domctl_getpageframeinfo3", num=U64, array=HANDLE)
xen_domctl = struct(
    "xen_domctl",
    cmd=U32,
    interface_version=U32,
    domain=DOMID,
    _pad=array(U16, 3),
    u=union(
        createdomain=xen_domctl_createdomain,
        getdomaininfo=xen_domctl_getdomaininfo,
        max_mem=xen_domctl_max_mem,
        max_vcpus=xen_domctl_max_vcpus,
        vcpucontext=xen_domctl_vcpucontext,
        getvcpuinfo=xen_domctl_getvcpuinfo,
        vcpuaffinity=xen_domctl_vcpuaffinity,
        setdomainhandle=xen_domctl_setdomainhandle,
        setdebugging=xen_domctl_setdebugging,
        settimeoffset=xen_domctl_settimeoffset,
        address_size=xen_domctl_address_size,
        getpageframeinfo3=xen_domctl_getpageframeinfo3,
        pad=padding(128),
    ),
)
