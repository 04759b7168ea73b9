"""xen/event_channel.h."""

from xenemu.xen.structs.layout import DOMID, PFN, PORT, U8, U32, array, nested, struct, union

evtchn_alloc_unbound = struct("evtchn_alloc_unbound", dom=DOMID, remote_dom=DOMID, port=PORT)
evtchn_bind_interdomain = struct(
    "evtchn_bind_interdomain", remote_dom=DOMID, remote_port=PORT, local_port=PORT
)
evtchn_bind_virq = struct("evtchn_bind_virq", virq=U32, vcpu=U32, port=PORT)
evtchn_bind_pirq = struct("evtchn_bind_pirq", pirq=U32, flags=U32, port=PORT)
evtchn_bind_ipi = struct("evtchn_bind_ipi", vcpu=U32, port=PORT)
evtchn_close = struct("evtchn_close", port=PORT)
evtchn_send = struct("evtchn_send", port=PORT)
evtchn_status = struct(
    "evtchn_status",
    dom=DOMID,
    port=PORT,
    status=U32,
    vcpu=U32,
    u=union(
        unbound=nested(dom=DOMID), interdomain=nested(dom=DOMID, port=PORT), pirq=U32, virq=U32
    ),
)
evtchn_bind_vcpu = struct("evtchn_bind_vcpu", port=PORT, vcpu=U32)
evtchn_unmask = struct("evtchn_unmask", port=PORT)
evtchn_reset = struct("evtchn_reset", dom=DOMID)
evtchn_init_control = struct(
    "evtchn_init_control", control_gfn=PFN, offset=U32, vcpu=U32, link_bits=U8, _pad=array(U8, 7)
)
evtchn_expand_array = struct("evtchn_expand_array", array_gfn=PFN)
evtchn_set_priority = struct("evtchn_set_priority", port=PORT, priority=U32)
evtchn_fifo_control_block = struct(
    "evtchn_fifo_control_block", ready=U32, _rsvd=U32, head=array(U32, 16)
)
