/* Structs of event_channel_op: xen/event_channel.h. */
#ifndef XE_XEN_ABI_EVENT_CHANNEL_H
#define XE_XEN_ABI_EVENT_CHANNEL_H

#include <assert.h>
#include <stddef.h>
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

struct xe_evtchn_bind_pirq {
	uint32_t pirq, flags, port;
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

struct xe_evtchn_init_control {
	uint64_t control_gfn;
	uint32_t offset, vcpu;
	uint8_t link_bits, pad[7];
};

struct xe_evtchn_expand_array {
	uint64_t array_gfn;
};

struct xe_evtchn_set_priority {
	uint32_t port, priority;
};

struct xe_evtchn_reset {
	uint16_t dom;
};

union xe_evtchn_arg {
	struct xe_evtchn_bind_interdomain bind_interdomain;
	struct xe_evtchn_bind_virq bind_virq;
	struct xe_evtchn_bind_pirq bind_pirq;
	struct xe_evtchn_port port;
	struct xe_evtchn_status status;
	struct xe_evtchn_alloc_unbound alloc_unbound;
	struct xe_evtchn_bind_ipi bind_ipi;
	struct xe_evtchn_bind_vcpu bind_vcpu;
	struct xe_evtchn_init_control init_control;
	struct xe_evtchn_expand_array expand_array;
	struct xe_evtchn_set_priority set_priority;
	struct xe_evtchn_reset reset;
};

/* The FIFO ABI: an event word a port, a control block a virtual CPU. */
#define XE_FIFO_PENDING (1u << 31)
#define XE_FIFO_MASKED (1u << 30)
#define XE_FIFO_LINKED (1u << 29)
#define XE_FIFO_BUSY (1u << 28)

enum {
	XE_FIFO_LINK_BITS = 17,
	XE_FIFO_PORTS = 1 << XE_FIFO_LINK_BITS,
	XE_FIFO_QUEUES = 16, /* one a priority; 0 the highest */
	XE_FIFO_DEFAULT_PRIORITY = 7,
};

#define XE_FIFO_LINK (XE_FIFO_PORTS - 1u)

struct xe_fifo_control {
	uint32_t ready, pad;
	uint32_t head[XE_FIFO_QUEUES];
};

static_assert(sizeof(struct xe_evtchn_alloc_unbound) == 8, "evtchn_alloc_unbound");
static_assert(sizeof(struct xe_evtchn_bind_interdomain) == 12, "evtchn_bind_interdomain");
static_assert(sizeof(struct xe_evtchn_bind_virq) == 12, "evtchn_bind_virq");
static_assert(sizeof(struct xe_evtchn_bind_pirq) == 12, "evtchn_bind_pirq");
static_assert(sizeof(struct xe_evtchn_status) == 24, "evtchn_status");
static_assert(offsetof(struct xe_evtchn_status, u) == 16, "evtchn_status.u");
static_assert(sizeof(struct xe_evtchn_init_control) == 24, "evtchn_init_control");
static_assert(offsetof(struct xe_evtchn_init_control, link_bits) == 16, "link_bits");
static_assert(sizeof(struct xe_evtchn_expand_array) == 8, "evtchn_expand_array");
static_assert(sizeof(struct xe_evtchn_set_priority) == 8, "evtchn_set_priority");
static_assert(sizeof(union xe_evtchn_arg) == 24, "the largest argument");
static_assert(sizeof(struct xe_fifo_control) == 72, "evtchn_fifo_control_block");
static_assert(offsetof(struct xe_fifo_control, head) == 8, "control block's heads");

#endif
