"""xen/vcpu.h."""

from xenemu.xen.structs.layout import HANDLE, I32, U32, U64, array, struct, union

vcpu_runstate_info = struct(
    "vcpu_runstate_info", state=I32, state_entry_time=U64, time=array(U64, 4)
)
vcpu_register_runstate_memory_area = struct(
    "vcpu_register_runstate_memory_area", addr=union(h=HANDLE, v=U64, p=U64)
)
vcpu_set_periodic_timer = struct("vcpu_set_periodic_timer", period_ns=U64)
vcpu_set_singleshot_timer = struct("vcpu_set_singleshot_timer", timeout_abs_ns=U64, flags=U32)
vcpu_register_vcpu_info = struct("vcpu_register_vcpu_info", mfn=U64, offset=U32, rsvd=U32)
vcpu_get_physid = struct("vcpu_get_physid", phys_id=U64)
vcpu_register_time_memory_area = struct(
    "vcpu_register_time_memory_area", addr=union(h=HANDLE, v=U64, p=U64)
)
