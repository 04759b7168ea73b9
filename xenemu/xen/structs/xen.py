"""xen/xen.h and xen/arch-x86/xen.h, as an x86-64 PV guest sees them."""

from xenemu.xen.structs.layout import (
    HANDLE,
    I8,
    I32,
    PFN,
    U8,
    U16,
    U32,
    U64,
    ULONG,
    array,
    nested,
    padding,
    struct,
    union,
)

mmu_update = struct("mmu_update", ptr=U64, val=U64)
mmuext_op = struct(
    "mmuext_op",
    cmd=U32,
    arg1=union(mfn=PFN, linear_addr=ULONG),
    arg2=union(nr_ents=U32, vcpumask=HANDLE, src_mfn=PFN),
)
multicall_entry = struct("multicall_entry", op=ULONG, result=ULONG, args=array(ULONG, 6))

vcpu_time_info = struct(
    "vcpu_time_info",
    version=U32,
    pad0=U32,
    tsc_timestamp=U64,
    system_time=U64,
    tsc_to_system_mul=U32,
    tsc_shift=I8,
    flags=U8,
    pad1=array(U8, 2),
)
arch_vcpu_info = struct("arch_vcpu_info", cr2=ULONG, pad=ULONG)
vcpu_info = struct(
    "vcpu_info",
    evtchn_upcall_pending=U8,
    evtchn_upcall_mask=U8,
    evtchn_pending_sel=ULONG,
    arch=arch_vcpu_info,
    time=vcpu_time_info,
)
arch_shared_info = struct(
    "arch_shared_info",
    max_pfn=ULONG,
    pfn_to_mfn_frame_list_list=PFN,
    nmi_reason=ULONG,
    p2m_cr3=ULONG,
    p2m_vaddr=ULONG,
    p2m_generation=ULONG,
)
shared_info = struct(
    "shared_info",
    vcpu_info=array(vcpu_info, 32),
    evtchn_pending=array(ULONG, 64),
    evtchn_mask=array(ULONG, 64),
    wc_version=U32,
    wc_sec=U32,
    wc_nsec=U32,
    wc_sec_hi=U32,
    arch=arch_shared_info,
)
start_info = struct(
    "start_info",
    magic=array(U8, 32),
    nr_pages=ULONG,
    shared_info=ULONG,
    flags=U32,
    store_mfn=PFN,
    store_evtchn=U32,
    console=union(domU=nested(mfn=PFN, evtchn=U32), dom0=nested(info_off=U32, info_size=U32)),
    pt_base=ULONG,
    nr_pt_frames=ULONG,
    mfn_list=ULONG,
    mod_start=ULONG,
    mod_len=ULONG,
    cmd_line=array(U8, 1024),
    first_p2m_pfn=ULONG,
    nr_p2m_frames=ULONG,
)

trap_info = struct("trap_info", vector=U8, flags=U8, cs=U16, address=ULONG)
cpu_user_regs = struct(
    "cpu_user_regs",
    **{f"r{name}": U64 for name in ("15", "14", "13", "12", "bp", "bx", "11", "10", "9", "8")},
    **{f"r{name}": U64 for name in ("ax", "cx", "dx", "si", "di")},
    error_code=U32,
    entry_vector=U32,
    rip=U64,
    cs=U16,
    _pad0=U16,
    saved_upcall_mask=U8,
    _pad1=padding(3),
    rflags=U64,
    rsp=U64,
    ss=U16,
    _pad2=padding(6),
    es=U16,
    _pad3=padding(6),
    ds=U16,
    _pad4=padding(6),
    fs=U16,
    _pad5=padding(6),
    gs=U16,
    _pad6=padding(6),
)
vcpu_guest_context = struct(
    "vcpu_guest_context",
    fpu_ctxt=padding(512),
    flags=ULONG,
    user_regs=cpu_user_regs,
    trap_ctxt=array(trap_info, 256),
    ldt_base=ULONG,
    ldt_ents=ULONG,
    gdt_frames=array(ULONG, 16),
    gdt_ents=ULONG,
    kernel_ss=ULONG,
    kernel_sp=ULONG,
    ctrlreg=array(ULONG, 8),
    debugreg=array(ULONG, 8),
    event_callback_eip=ULONG,
    failsafe_callback_eip=ULONG,
    syscall_callback_eip=ULONG,
    vm_assist=ULONG,
    fs_base=U64,
    gs_base_kernel=U64,
    gs_base_user=U64,
)
xenctl_bitmap = struct("xenctl_bitmap", bitmap=HANDLE, nr_bits=U32)

# xen/callback.h
callback_register = struct("callback_register", type=U16, flags=U16, address=ULONG)
callback_unregister = struct("callback_unregister", type=U16, _unused=U16)

# csrc/base/abi.h: zeroloss_op
zl_arg = nested(domid=U32, status=I32, value=U64, addr=HANDLE, count=U32, pad=U32)
