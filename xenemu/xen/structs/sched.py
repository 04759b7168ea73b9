"""xen/sched.h."""

from xenemu.xen.structs.layout import DOMID, HANDLE, I32, U32, U64, struct

sched_shutdown = struct("sched_shutdown", reason=U32)
sched_poll = struct("sched_poll", ports=HANDLE, nr_ports=U32, timeout=U64)
sched_remote_shutdown = struct("sched_remote_shutdown", domain_id=DOMID, reason=U32)
sched_watchdog = struct("sched_watchdog", id=U32, timeout=U32)
sched_pin_override = struct("sched_pin_override", pcpu=I32)
