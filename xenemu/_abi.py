"""The ABI's constants. Made from csrc/base/abi.def by tools/gen_abi.py: do not edit."""

from enum import IntEnum, IntFlag

DOMID_SELF = 0x7FF0
DOMID_IO = 0x7FF1  # owner of memory that is no RAM
DOMID_XEN = 0x7FF2


class Hypercall(IntEnum):
    mmu_update = 1
    memory_op = 12
    multicall = 13
    update_va_mapping = 14
    xen_version = 17
    console_io = 18
    sched_op = 29
    event_channel_op = 32
    domctl = 36
    zeroloss_op = 55  # __HYPERVISOR_arch_7: the framework's own calls
    set_trap_table = 0
    set_gdt = 2
    stack_switch = 3
    set_callbacks = 4
    fpu_taskswitch = 5
    sched_op_compat = 6
    platform_op = 7
    set_debugreg = 8
    get_debugreg = 9
    update_descriptor = 10
    set_timer_op = 15
    event_channel_op_compat = 16
    physdev_op_compat = 19
    grant_table_op = 20
    vm_assist = 21
    update_va_mapping_otherdomain = 22
    iret = 23
    vcpu_op = 24
    set_segment_base = 25
    mmuext_op = 26
    xsm_op = 27
    nmi_op = 28
    callback_op = 30
    xenoprof_op = 31
    physdev_op = 33
    hvm_op = 34
    sysctl = 35
    kexec_op = 37
    argo_op = 39
    xenpmu_op = 40
    dm_op = 41
    hypfs_op = 42
    mca = 48
    paging_domctl_cont = 49  # __HYPERVISOR_arch_1: the rest of a broken-off shadow_op


class Virq(IntEnum):
    TIMER = 0  # the guest's timer interrupt
    DOM_EXC = 3
    ZEROLOSS = 23  # VIRQ_ARCH_7: a signal from the VZS to an OZS


class ZlOp(IntEnum):
    INSTALL_GRANT = 0  # control: domid may boot a backup (sys_ins_auth)
    BOOT_BACKUP = 1  # primary: create and boot the backup; domid returned
    BOOT_DONE = 2  # backup: OS, OZS and service are up; value = TCP features
    CHANGE_BACKUP_IP = 3  # primary: value 1 = the primary's address, 0 = its own
    GET_IP = 4  # backup: the address to take is returned in value
    IP_SET = 5  # backup: value = the address that it now has
    SUSPEND_BACKUP = 6  # primary
    WAKEUP_BACKUP = 7  # primary
    MIGRATE = 8  # primary: hand the service over to the backup
    QUIESCED = 9  # primary: nothing is in flight inside it
    REPORT_FAULT = 10  # primary: value = fault kind
    REGISTER_HEARTBEAT = 11  # value = mfn of the caller's heartbeat page
    REGISTER_LOG = 12  # primary: count mfns at addr, first frame of each 2 MiB extent, in order
    GET_LOG = 13  # recorded backup while recovering: count and mfns at addr returned
    REGISTER_WRAPPER = 14  # value = port to protect (wr_create) | profile << 16; profile 0: plain
    START_REPLAY = 15  # recovering backup: re-establish the logged connections
    RECOVERY_DONE = 16  # recovering backup: it is the primary now
    GET_SIGNAL = 17  # any: value = pending zl_signal bits, cleared
    UNREGISTER_WRAPPER = 18  # value = port


class ZlSignal(IntFlag):
    CHANGE_IP = 1  # backup: fetch the address with GET_IP and set it
    RECOVER = 2  # backup: map the log and replay
    COMPLETE = 4  # primary: the call it waits for is done
    QUIESCE = 8  # primary: finish what is in flight, then QUIESCED
    READDRESS = 16  # old primary: fetch another address with GET_IP and set it
    RESTART = 64  # primary: start the service again and replay
    FAILED = 32  # primary: the call it waits for failed; see status


class TcpFeature(IntFlag):
    TIMESTAMPS = 1  # RFC 7323; value of BOOT_BACKUP and BOOT_DONE
    WINDOW_SCALE = 2  # RFC 7323


class FaultKind(IntEnum):
    APP = 1  # a protected process ended unasked
    KERNEL = 2  # no heartbeat for two timer periods


class EvtchnOp(IntEnum):
    bind_interdomain = 0
    bind_virq = 1
    bind_pirq = 2
    close = 3
    send = 4
    status = 5
    alloc_unbound = 6
    bind_ipi = 7
    bind_vcpu = 8
    unmask = 9
    reset = 10
    init_control = 11
    expand_array = 12
    set_priority = 13
    reset_cont = 14


class SchedOp(IntEnum):
    yield_ = 0
    block = 1
    shutdown = 2
    poll = 3
    remote_shutdown = 4
    shutdown_code = 5
    watchdog = 6
    pin_override = 7


class MemoryOp(IntEnum):
    increase_reservation = 0
    decrease_reservation = 1
    maximum_ram_page = 2
    current_reservation = 3
    maximum_reservation = 4
    machphys_mfn_list = 5
    populate_physmap = 6
    add_to_physmap = 7
    memory_map = 9
    machine_memory_map = 10
    exchange = 11
    machphys_mapping = 12
    set_memory_map = 13
    maximum_gpfn = 14
    remove_from_physmap = 15
    set_pod_target = 16
    get_pod_target = 17
    get_sharing_freed_pages = 18
    get_sharing_shared_pages = 19
    paging_op = 20
    access_op = 21
    sharing_op = 22
    add_to_physmap_batch = 23
    claim_pages = 24
    machphys_compat_mfn_list = 25
    get_vnumainfo = 26
    reserved_device_memory_map = 27
    acquire_resource = 28


class GrantOp(IntEnum):
    map_grant_ref = 0
    unmap_grant_ref = 1
    setup_table = 2
    dump_table = 3
    transfer = 4
    copy = 5
    query_size = 6
    unmap_and_replace = 7
    set_version = 8
    get_status_frames = 9
    get_version = 10
    swap_grant_ref = 11
    cache_flush = 12


class VcpuOp(IntEnum):
    initialise = 0
    up = 1
    down = 2
    is_up = 3
    get_runstate_info = 4
    register_runstate_memory_area = 5
    set_periodic_timer = 6
    stop_periodic_timer = 7
    set_singleshot_timer = 8
    stop_singleshot_timer = 9
    register_vcpu_info = 10
    send_nmi = 11
    get_physid = 12
    register_vcpu_time_memory_area = 13


class MmuextOp(IntEnum):
    PIN_L1_TABLE = 0
    PIN_L2_TABLE = 1
    PIN_L3_TABLE = 2
    PIN_L4_TABLE = 3
    UNPIN_TABLE = 4
    NEW_BASEPTR = 5
    TLB_FLUSH_LOCAL = 6
    INVLPG_LOCAL = 7
    TLB_FLUSH_MULTI = 8
    INVLPG_MULTI = 9
    TLB_FLUSH_ALL = 10
    INVLPG_ALL = 11
    FLUSH_CACHE = 12
    SET_LDT = 13
    NEW_USER_BASEPTR = 15
    CLEAR_PAGE = 16
    COPY_PAGE = 17
    FLUSH_CACHE_GLOBAL = 18
    MARK_SUPER = 19
    UNMARK_SUPER = 20


class DomctlOp(IntEnum):
    createdomain = 1
    destroydomain = 2
    pausedomain = 3
    unpausedomain = 4
    getdomaininfo = 5
    setvcpuaffinity = 9
    shadow_op = 10
    max_mem = 11
    setvcpucontext = 12
    getvcpucontext = 13
    getvcpuinfo = 14
    max_vcpus = 15
    scheduler_op = 16
    setdomainhandle = 17
    setdebugging = 18
    irq_permission = 19
    iomem_permission = 20
    ioport_permission = 21
    hypercall_init = 22
    soft_reset_cont = 23
    settimeoffset = 24
    getvcpuaffinity = 25
    real_mode_area = 26
    resumedomain = 27
    sendtrigger = 28
    subscribe = 29
    gethvmcontext = 33
    sethvmcontext = 34
    set_address_size = 35
    get_address_size = 36
    assign_device = 37
    bind_pt_irq = 38
    memory_mapping = 39
    ioport_mapping = 40
    set_ext_vcpucontext = 42
    get_ext_vcpucontext = 43
    set_opt_feature = 44
    test_assign_device = 45
    set_target = 46
    deassign_device = 47
    unbind_pt_irq = 48
    get_device_group = 50
    debug_op = 54
    gethvmcontext_partial = 55
    vm_event_op = 56
    mem_sharing_op = 57
    gettscinfo = 59
    settscinfo = 60
    getpageframeinfo3 = 61
    setvcpuextstate = 62
    getvcpuextstate = 63
    set_access_required = 64
    audit_p2m = 65
    set_virq_handler = 66
    set_broken_page_p2m = 67
    setnodeaffinity = 68
    getnodeaffinity = 69
    cacheflush = 71
    get_vcpu_msrs = 72
    set_vcpu_msrs = 73
    setvnumainfo = 74
    psr_cmt_op = 75
    monitor_op = 77
    psr_alloc = 78
    soft_reset = 79
    vuart_op = 81
    get_cpu_policy = 82
    set_cpu_policy = 83
    vmtrace_op = 84
    get_paging_mempool_size = 85
    set_paging_mempool_size = 86
    gdbsx_guestmemio = 1000
    gdbsx_pausevcpu = 1001
    gdbsx_unpausevcpu = 1002
    gdbsx_domstatus = 1003


class XenVersionOp(IntEnum):
    version = 0
    extraversion = 1
    compile_info = 2
    capabilities = 3
    changeset = 4
    platform_parameters = 5
    get_features = 6
    pagesize = 7
    guest_handle = 8
    commandline = 9
    build_id = 10


class ConsoleOp(IntEnum):
    write = 0
    read = 1


class CallbackOp(IntEnum):
    register = 0
    unregister = 1


class VmAssistOp(IntEnum):
    enable = 0
    disable = 1


class Shutdown(IntEnum):
    poweroff = 0
    reboot = 1
    suspend = 2
    crash = 3
    watchdog = 4
    soft_reset = 5


class MmuUpdate(IntEnum):
    NORMAL_PT_UPDATE = 0  # low bits of mmu_update.ptr: checked *ptr = val
    MACHPHYS_UPDATE = 1  # the frame's pseudo-physical number = val
    PT_UPDATE_PRESERVE_AD = 2  # checked *ptr = val | accessed and dirty bits of *ptr
    PT_UPDATE_NO_TRANSLATE = 3  # as NORMAL_PT_UPDATE


class UpdateVaFlags(IntFlag):
    NONE = 0  # flags of update_va_mapping, or a pointer to a mask of vcpus
    TLB_FLUSH = 1
    INVLPG = 2
    FLUSHTYPE_MASK = 3
    ALL = 4  # on all vcpus; else this one


class GrantFlag(IntFlag):
    type_mask = 3
    invalid = 0  # a type: grants nothing
    permit_access = 1  # a type: domid may use the frame
    accept_transfer = 2  # a type: domid may transfer a frame to this entry
    readonly = 1 << 2
    reading = 1 << 3  # in use; set and cleared by the hypervisor
    writing = 1 << 4  # likewise, writable
    sub_page = 1 << 8
    transfer_committed = 4  # of an accept_transfer entry
    transfer_completed = 8  # likewise


class GrantMap(IntFlag):
    device_map = 1 << 0
    host_map = 1 << 1
    readonly = 1 << 2
    application_map = 1 << 3
    contains_pte = 1 << 4  # host_addr is the machine address of a page table entry


class GrantCopy(IntFlag):
    source_gref = 1
    dest_gref = 2


class GrantStatus(IntEnum):
    okay = 0
    general_error = -1
    bad_domain = -2
    bad_gntref = -3
    bad_handle = -4
    bad_virt_addr = -5
    bad_dev_addr = -6
    no_device_space = -7
    permission_denied = -8
    bad_page = -9
    bad_copy_arg = -10
    address_too_big = -11
    eagain = -12
    no_space = -13


class EvtchnStat(IntEnum):
    closed = 0  # free
    unbound = 1  # waits for its remote domain
    interdomain = 2  # connected
    pirq = 3
    virq = 4
    ipi = 5


class SingleShot(IntFlag):
    future = 1  # VCPU_SSHOTTMR_future: without effect in 4.17


class RunState(IntEnum):
    running = 0  # RUNSTATE_running
    runnable = 1  # RUNSTATE_runnable
    blocked = 2  # RUNSTATE_blocked
    offline = 3  # RUNSTATE_offline


class DomainFlag(IntFlag):
    dying = 0x1  # XEN_DOMINF_dying
    hvm_guest = 0x2
    shutdown = 0x4
    paused = 0x8  # by control software
    blocked = 0x10  # waits for an event
    running = 0x20
    debugged = 0x40
    xs_domain = 0x80
    hap = 0x100


class VmAssistType(IntEnum):
    segments_4gb = 0
    segments_4gb_notify = 1
    writable_pagetables = 2
    pae_extended_cr3 = 3
    architectural_iopl = 4
    runstate_update_flag = 5
    m2p_strict = 32


class CallbackType(IntEnum):
    event = 0
    failsafe = 1
    syscall = 2
    nmi = 4
    sysenter = 5
    syscall32 = 7


class MapSpace(IntEnum):
    shared_info = 0  # XENMAPSPACE_shared_info
    grant_table = 1
    gmfn = 2
    gmfn_range = 3
    gmfn_foreign = 4


class Feature(IntEnum):
    writable_page_tables = 0  # bit numbers: XENFEAT_*
    mmu_pt_update_preserve_ad = 5
    highmem_assist = 6
    gnttab_map_avail_bits = 7
    dom0 = 11
    memory_op_vnode_supported = 13
