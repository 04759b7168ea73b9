/* Structs of event_channel_op: xen/event_channel.h. */
#ifndef XE_XEN_ABI_EVENT_CHANNEL_H
#define XE_XEN_ABI_EVENT_CHANNEL_H

#include <assert.h>
#include <stdint.h>

struct xe_evtchn_alloc_unbound {
	uint16_t dom, remote_dom;
	uint32_t port;
};

struct xe_evtchn_bind_interdomain {
	uint16_t remote_dom, pad;
	uint32_t remote_port, local_port;
};

struct xe_evtchn_bind_virq {
	uint32_t virq, vcpu, port;
};

struct xe_evtchn_bind_ipi {
	uint32_t vcpu, port;
};

struct xe_evtchn_bind_vcpu {
	uint32_t port, vcpu;
};

struct xe_evtchn_port {
	uint32_t port; /* close, send, unmask */
};

struct xe_evtchn_status {
	uint16_t dom, pad;
	uint32_t port, status, vcpu;
	union {
		struct {
			uint16_t dom;
		} unbound;
		struct {
			uint16_t dom, pad;
			uint32_t port;
		} interdomain;
		uint32_t virq;
	} u;
};

static_assert(sizeof(struct xe_evtchn_alloc_unbound) == 8, "evtchn_alloc_unbound");
static_assert(sizeof(struct xe_evtchn_bind_interdomain) == 12, "evtchn_bind_interdomain");
static_assert(sizeof(struct xe_evtchn_bind_virq) == 12, "evtchn_bind_virq");
static_assert(sizeof(struct xe_evtchn_status) == 24, "evtchn_status");

#endif
