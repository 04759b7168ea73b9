/* What the parts of the relay share.
 *
 * relay.c      slots, pumps, forwarded ports
 * relay_out.c  connections that guests open
 */
#ifndef XE_HOST_RELAY_INTERNAL_H
#define XE_HOST_RELAY_INTERNAL_H

#include "base/assert.h"
#include "base/limits.h"
#include "host/relay.h"

enum {
	XE_PIPE_SIZE = 256 << 10,
	XE_PIPE_KEEP = 64 << 10,      /* a freed pipe keeps this much resident */
	XE_PIPE_CHUNK = 64 << 10,     /* one read: small enough for the cache */
	XE_PUMP_BUDGET = 1 << 20,     /* bytes an event moves */
	XE_ACCEPT_BUDGET = 64,        /* connections an event accepts */
	XE_RELAY_SOCKS = 1 << 20,     /* gateway socket numbers, bounded by this */
	XE_RELAY_CONNECTIONS = 1 << 20,
};

struct xe_pipe {
	uint8_t *buf;
	uint32_t head, len;
	uint32_t high;      /* end of what was ever touched in this use */
	bool eof;           /* the source ended */
	bool shut;          /* and the sink was told */
};

struct xe_slot {
	int fd, sock;       /* fd -1: free */
	uint32_t generation;
	uint32_t next_free;
	bool outward;       /* opened by a guest */
	bool connecting;    /* outward: the real socket is not connected yet */
	bool connected;     /* the gateway socket is */
	bool can_read, can_write;
	bool host_error;    /* epoll reported an error of fd */
	bool guest_hangup;
	bool queued;
	struct xe_pipe up, down; /* to the guest, to the host */
};

struct xe_listener {
	int fd;
	uint32_t guest_addr;
	uint16_t guest_port;
	bool ready;         /* may have connections to accept */
	bool starved;       /* the process was out of descriptors or memory */
};

struct xe_relay {
	struct xe_tcp *gateway;
	int epoll_fd;
	bool routes;             /* guests may open connections */
	uint32_t max, free_slot; /* free_slot == max: none */
	uint32_t outward;        /* slots that guests opened */
	uint32_t listener_count;
	uint32_t queue_head, queue_len;
	uint32_t *queue;         /* slots with work left, a ring of `max` */
	struct xe_slot *slots;
	uint32_t *slot_of_sock;  /* slot + 1; 0: none; sparse */
	uint8_t *arena;
	xe_ns last;              /* time of the last call */
	struct xe_relay_counters counters;
	struct xe_listener listeners[XE_MAX_LISTENERS];
};

/* relay.c */
/* One more connection may be had, opened by a guest or not. */
bool xe_slot_available(const struct xe_relay *r, bool outward);
/* A slot for a real socket and a gateway socket (-1: not yet). */
struct xe_slot *xe_slot_take(struct xe_relay *r, int fd, int sock, bool outward);
/* epoll reports on the real socket from now on. */
int xe_slot_watch(struct xe_relay *r, const struct xe_slot *s);
void xe_slot_refuse(struct xe_relay *r, struct xe_slot *s, xe_ns now);

/* relay_out.c */
/* A held request of the gateway's stack: connects to where it wants to. */
void xe_out_open(struct xe_relay *r, int sock, xe_ns now);
/* Is the real socket connected? Admits the request then, refuses it if it never will be. */
bool xe_out_connected(struct xe_relay *r, struct xe_slot *s, xe_ns now);

#endif
