"""What traced hypercalls look like: one entry a hypercall, from Xen's public headers.

A layout is the beginning of the argument's struct as the trace has it (24 bytes at most), one word
a field: `name:TYPE`, or `_N` for N bytes of padding. TYPE is a letter and the size in bytes: u
unsigned, i signed, x hexadecimal, t text, or what has names: d domain, v VIRQ, r reason of a
shutdown, p state of a port, g status of a grant operation, m mmuext_op, c domctl. A field
that the call answers begins with `>`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from xenemu import _abi
from xenemu._abi import Hypercall


@dataclass(frozen=True, slots=True)
class Shape:
    """A hypercall. `registers` names its arguments when they are no struct (layout of fields of 8
    bytes); `low` and `high` those beside a struct."""

    registers: tuple[str, ...] = ()
    ops: type[IntEnum] | None = None  # of the first register or `low`
    low: str = ""
    high: str = ""
    layouts: Mapping[str, str] = field(default_factory=dict)  # by the name of the operation
    layout: str = ""  # of those that have none of their own


EVENT_CHANNEL = {
    "bind_interdomain": "remote_dom:d2 _2 remote_port:u4 >port:u4",
    "bind_virq": "virq:v4 vcpu:u4 >port:u4",
    "bind_pirq": "pirq:u4 flags:x4 >port:u4",
    "close": "port:u4",
    "send": "port:u4",
    "status": "dom:d2 _2 port:u4 >status:p4 >vcpu:u4 >u:x8",
    "alloc_unbound": "dom:d2 remote_dom:d2 >port:u4",
    "bind_ipi": "vcpu:u4 >port:u4",
    "bind_vcpu": "port:u4 vcpu:u4",
    "unmask": "port:u4",
    "reset": "dom:d2",
    "init_control": "control_gfn:x8 offset:u4 vcpu:u4 >link_bits:u1",
    "expand_array": "array_gfn:x8",
    "set_priority": "port:u4 priority:u4",
}
SCHED = {
    "shutdown": "reason:r4",
    "poll": "ports:x8 nr_ports:u4 _4 timeout:u8",
    "remote_shutdown": "domain_id:d2 _2 reason:r4",
    "watchdog": "id:u4 timeout:u4",
    "pin_override": "pcpu:i4",
}
RESERVATION = "extent_start:x8 nr_extents:u8 extent_order:u4 mem_flags:x4"
MEMORY = {
    "increase_reservation": RESERVATION,
    "decrease_reservation": RESERVATION,
    "populate_physmap": RESERVATION,
    "claim_pages": RESERVATION,
    "exchange": RESERVATION,
    "current_reservation": "domid:d2",
    "maximum_reservation": "domid:d2",
    "maximum_gpfn": "domid:d2",
    "machphys_mfn_list": "max_extents:u4 _4 extent_start:x8 >nr_extents:u4",
    "machphys_compat_mfn_list": "max_extents:u4 _4 extent_start:x8 >nr_extents:u4",
    "machphys_mapping": ">v_start:x8 >v_end:x8 >max_mfn:x8",
    "add_to_physmap": "domid:d2 size:u2 space:u4 idx:u8 gpfn:x8",
    "add_to_physmap_batch": "domid:d2 space:u2 size:u2 foreign:d2 idxs:x8 gpfns:x8",
    "remove_from_physmap": "domid:d2 _6 gpfn:x8",
    "memory_map": ">nr_entries:u4 _4 buffer:x8",
    "machine_memory_map": ">nr_entries:u4 _4 buffer:x8",
    "set_memory_map": "domid:d2 _6 nr_entries:u4 _4 buffer:x8",
    "set_pod_target": "target_pages:u8 >tot_pages:u8 >pod_cache_pages:u8",
    "get_pod_target": "target_pages:u8 >tot_pages:u8 >pod_cache_pages:u8",
    "acquire_resource": "domid:d2 type:u2 id:u4 nr_frames:u4 _4 frame:u8",
}
GRANT = {
    "map_grant_ref": "host_addr:x8 flags:x4 ref:u4 dom:d2 >status:g2 >handle:u4",
    "unmap_grant_ref": "host_addr:x8 dev_bus_addr:x8 handle:u4 >status:g2",
    "setup_table": "dom:d2 _2 nr_frames:u4 >status:g2 _6 frame_list:x8",
    "dump_table": "dom:d2 >status:g2",
    "transfer": "mfn:x8 domid:d2 _2 ref:u4 >status:g2",
    "copy": "source:x8 source_dom:d2 source_offset:u2 _4 dest:x8",
    "query_size": "dom:d2 _2 >nr_frames:u4 >max_nr_frames:u4 >status:g2",
    "unmap_and_replace": "host_addr:x8 new_addr:x8 handle:u4 >status:g2",
    "set_version": "version:u4",
    "get_status_frames": "nr_frames:u4 dom:d2 >status:g2 frame_list:x8",
    "get_version": "dom:d2 _2 >version:u4",
    "swap_grant_ref": "ref_a:u4 ref_b:u4 >status:g2",
}
VCPU = {
    "get_runstate_info": ">state:i4 _4 >state_entry_time:u8 >running:u8",
    "register_runstate_memory_area": "addr:x8",
    "set_periodic_timer": "period_ns:u8",
    "set_singleshot_timer": "timeout_abs_ns:u8 flags:x4",
    "register_vcpu_info": "mfn:x8 offset:u4",
    "get_physid": ">phys_id:x8",
    "register_vcpu_time_memory_area": "addr:x8",
}
DOMCTL = {
    "max_mem": "max_memkb:u8",
    "max_vcpus": "max:u4",
    "createdomain": "ssidref:x4",
    "getdomaininfo": ">domain:u2 _2 >flags:x4",
}
VERSION = {
    "extraversion": ">text:t24",
    "compile_info": ">compiler:t24",
    "capabilities": ">text:t24",
    "changeset": ">text:t24",
    "platform_parameters": ">virt_start:x8",
    "get_features": "submap_idx:u4 >submap:x4",
    "guest_handle": ">handle:x16",
    "commandline": ">text:t24",
}
CALLBACK = {
    "register": "type:u2 flags:x2 _4 address:x8",
    "unregister": "type:u2",
}

OWN_NAME = "cmd"  # a domctl, an mmuext_op: the operation stands in the struct

SHAPES: dict[Hypercall, Shape] = {
    Hypercall.set_trap_table: Shape(("table:x8",)),
    Hypercall.mmu_update: Shape(
        ("req:x8", "count:u8", "success_count:x8", "foreigndom:u8"),
        low="count", high="foreigndom", layout="ptr:x8 val:x8",
    ),
    Hypercall.set_gdt: Shape(("frame_list:x8", "entries:u8"), low="entries"),
    Hypercall.stack_switch: Shape(("ss:x8", "esp:x8")),
    Hypercall.set_callbacks: Shape(("event:x8", "failsafe:x8", "syscall:x8")),
    Hypercall.fpu_taskswitch: Shape(("set:u8",)),
    Hypercall.platform_op: Shape(("op:x8",)),
    Hypercall.set_debugreg: Shape(("reg:u8", "value:x8")),
    Hypercall.get_debugreg: Shape(("reg:u8",)),
    Hypercall.update_descriptor: Shape(("maddr:x8", "desc:x8")),
    Hypercall.memory_op: Shape(("op:u8", "arg:x8"), _abi.MemoryOp, layouts=MEMORY),
    Hypercall.multicall: Shape(("call_list:x8", "nr_calls:u8")),
    Hypercall.update_va_mapping: Shape(("va:x8", "val:x8", "flags:x8")),
    Hypercall.set_timer_op: Shape(("timeout:u8",)),
    Hypercall.xen_version: Shape(("op:u8", "arg:x8"), _abi.XenVersionOp, layouts=VERSION),
    Hypercall.console_io: Shape(
        ("op:u8", "count:u8", "buffer:x8"), _abi.ConsoleOp, high="count", layout="text:t24"
    ),
    Hypercall.grant_table_op: Shape(
        ("op:u8", "uop:x8", "count:u8"), _abi.GrantOp, high="count", layouts=GRANT
    ),
    Hypercall.vm_assist: Shape(("op:u8", "type:u8"), _abi.VmAssistOp),
    Hypercall.update_va_mapping_otherdomain: Shape(("va:x8", "val:x8", "flags:x8", "domid:d8")),
    Hypercall.iret: Shape(),
    Hypercall.vcpu_op: Shape(
        ("op:u8", "vcpuid:u8", "extra_args:x8"), _abi.VcpuOp, high="vcpuid", layouts=VCPU
    ),
    Hypercall.set_segment_base: Shape(("which:u8", "base:x8")),
    Hypercall.mmuext_op: Shape(
        ("op:x8", "count:u8", "success_count:x8", "foreigndom:u8"),
        low="count", high="foreigndom", layout="cmd:m4 _4 arg1:x8 arg2:x8",
    ),
    Hypercall.nmi_op: Shape(("op:u8", "arg:x8")),
    Hypercall.sched_op: Shape(("op:u8", "arg:x8"), _abi.SchedOp, layouts=SCHED),
    Hypercall.callback_op: Shape(("op:u8", "arg:x8"), _abi.CallbackOp, layouts=CALLBACK),
    Hypercall.event_channel_op: Shape(
        ("op:u8", "arg:x8"), _abi.EvtchnOp, layouts=EVENT_CHANNEL
    ),
    Hypercall.sysctl: Shape(("op:x8",)),
    Hypercall.domctl: Shape(
        ("op:x8",), layouts=DOMCTL, layout="cmd:c4 version:x4 domain:d2 _6"
    ),
    Hypercall.zeroloss_op: Shape(
        ("op:u8", "arg:x8"), _abi.ZlOp, layout="domid:d4 status:i4 value:x8 addr:x8"
    ),
}  # fmt: skip
