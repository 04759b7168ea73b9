/* Inside the machine: nodes, events, packets. */
#ifndef XE_MACHINE_INTERNAL_H
#define XE_MACHINE_INTERNAL_H

#include "base/domset.h"
#include "host/driver.h"
#include "host/memory.h"
#include "machine.h"
#include "net/ftapi.h"
#include "net/wire.h"

enum {
	XE_NODES = XE_MAX_DOMAINS + XE_MAX_HOSTS,
	XE_EVENTS = 1 << 17,
	XE_PACKETS = 1 << 15,
	XE_PACKET_BYTES = 1536,
	XE_RX_RING = 256,
	XE_PAIRS = 8,
	XE_WORK = 1024,
	XE_FDS = 64,
};

enum xe_event_kind {
	XE_EV_ARRIVE,
	XE_EV_DELIVER,
	XE_EV_TCP,
	XE_EV_TIMER,
	XE_EV_TICK,
	XE_EV_CHECK,
	XE_EV_SSW,
	XE_EV_HOST,
	XE_EV_STALL_OVER
};
enum xe_priority { XE_PRI_NORMAL, XE_PRI_TICK, XE_PRI_CHECK };

struct xe_event {
	xe_ns time;
	uint64_t order;          /* priority << 56 | sequence */
	uint32_t kind, node, arg;
	uint32_t packet;         /* XE_EV_TIMER: the node's generation */
};

struct xe_buffer {
	uint16_t len;
	uint8_t data[XE_PACKET_BYTES - 2];
};

struct xe_node {
	bool used, has_stack, dirty, posted;
	bool running;            /* gets interrupts and packets */
	bool sends;              /* what its processes write goes out */
	enum xe_kernel_fault fault;
	xe_ns stalled_until;
	uint32_t id;             /* domain id or XE_NODE_HOST | index */
	uint32_t generation;
	struct xe_sockets sockets;
	struct xe_link up, down; /* of a host: to the LAN, from it */
	xe_ns timer_at;          /* armed TCP event */
	uint32_t rx[XE_RX_RING]; /* packets for a domain that does not run */
	uint32_t rx_head, rx_count;
};

/* a protected address */
struct xe_guard {
	bool used;
	uint32_t ip, ports_version;
	struct xe_ssw *ssw;
	xe_ns armed_at;
};

enum xe_capture_direction { XE_CAPTURE_RECEIVED, XE_CAPTURE_SENT };

struct xe_capture {
	uint8_t *data;           /* NULL: off */
	size_t used;
	uint64_t dropped;
	bool asked;              /* to be drained, since it was */
};

struct xe_machine {
	struct xe_machine_config cfg;
	struct xe_memory memory;
	struct xe_host *host;
	xe_ns now;
	xe_ns host_timer;        /* when XE_EV_HOST is next due for the host's timers */
	bool running;
	bool unsettled;          /* there may be something for xe_machine_sync to do */
	struct xe_domset stacks; /* domains with one */
	struct xe_event *heap;
	uint32_t heap_count;
	uint64_t sequence;
	xe_ns instant;           /* of the last event, and its priority */
	uint64_t instant_priority;
	bool stopped;            /* by the event limit, with that instant not over */
	struct xe_buffer *buffer;
	uint32_t *free_buffer;
	uint32_t free_buffers;
	struct xe_node node[XE_NODES];
	struct wr *wr[WR_PROFILES]; /* by profile; NULL: none */
	struct xe_guard guard[XE_PAIRS];
	uint32_t guards;
	uint32_t lost[XE_PAIRS]; /* addresses whose pair was given up: answered with resets */
	uint32_t lost_count;
	uint32_t dirty[XE_NODES];
	uint32_t dirty_count;
	struct xe_work work[XE_WORK];
	uint32_t work_count;
	struct xe_driver *driver;
	uint32_t gateway;        /* node of the relay, with a driver */
	bool routes;             /* it is the way off the LAN, too */
	struct xe_trace trace;
	struct xe_store_stop store_stop;
	struct xe_capture capture;
	struct xe_machine_counters count;
};

#define XE_NO_PACKET 0xffffffffu

struct xe_node *xe_node_of(struct xe_machine *m, uint32_t id);
void xe_machine_mark(struct xe_machine *m, struct xe_node *n);
void xe_machine_trace_add(struct xe_machine *m, uint32_t kind, uint32_t node, uint64_t a,
			  uint64_t b, uint64_t c);
void xe_machine_drop(struct xe_machine *m, uint32_t node, enum xe_drop_reason why);
void xe_machine_post(struct xe_machine *m, const struct xe_work *w);
int xe_event_push(struct xe_machine *m, const struct xe_event *e, enum xe_priority priority);
bool xe_event_pop(struct xe_machine *m, struct xe_event *e);
struct xe_guard *xe_guard_of_pair(struct xe_machine *m, uint32_t domid);
/* machine_wrappers.c */
int xe_machine_open_wrappers(struct xe_machine *m);
void xe_machine_close_wrappers(struct xe_machine *m);
void xe_machine_sync_ports(struct xe_machine *m, uint32_t domid);
void xe_machine_stall_over(struct xe_machine *m, const struct xe_event *e);
uint32_t xe_buffer_take(struct xe_machine *m, const uint8_t *data, size_t len);
void xe_buffer_give(struct xe_machine *m, uint32_t i);

/* machine_capture.c; only while it is on */
void xe_capture_add(struct xe_machine *m, uint32_t node, enum xe_capture_direction direction,
		    const uint8_t *packet, size_t len);
bool xe_capture_wants_draining(struct xe_machine *m);

/* network.c */
void xe_network_arrive(struct xe_machine *m, uint32_t packet);
void xe_network_deliver(struct xe_machine *m, struct xe_node *n, uint32_t packet);
/* Sends what stacks and wrappers have to send, until nothing is left at this instant. */
void xe_network_settle(struct xe_machine *m);
/* A reset from an address that no domain has any more. */
void xe_network_resume(struct xe_machine *m, struct xe_node *n);
void xe_network_purge(struct xe_machine *m, struct xe_node *n);
void xe_network_wrapper_events(struct xe_machine *m);

#endif
