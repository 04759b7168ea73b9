/* The way between the emulated LAN and the real network: TCP connections spliced in a
 * gateway host's stack on the LAN. Forwarded ports of the real host lead to guests;
 * with a route, guests' connections lead to real servers. No Python per byte.
 *
 * The relay owns its real sockets and the gateway sockets of its connections. It carries
 * half-close both ways, and a reset as a reset. Back-pressure is the rings of both TCPs
 * and one bounded buffer a direction.
 */
#ifndef XE_HOST_RELAY_H
#define XE_HOST_RELAY_H

#include <stdint.h>

#include "base/time.h"
#include "net/tcp.h"

struct xe_relay;

struct xe_relay_counters {
	uint64_t accepted, outward, open, closed, resets_from_guest, resets_from_host, refused,
		bytes_to_guest, bytes_to_host;
	uint64_t turned_away; /* requests of guests that no real connection was tried for */
};

int xe_relay_create(struct xe_relay **out, struct xe_tcp *gateway, int epoll_fd,
		    uint32_t max_connections);
/* The gateway stack must still be there: open connections are reset on both sides. */
void xe_relay_destroy(struct xe_relay *r);
/* Listens on a real address (addresses and ports in host byte order); the real port
 * (host_port 0: any) or -errno. */
int xe_relay_listen(struct xe_relay *r, uint32_t host_addr, uint16_t host_port, uint32_t guest_addr,
		    uint16_t guest_port);
/* Guests reach real servers from now on: the gateway's address and 127.0.0.0/8 are this
 * host's loopback, other addresses are themselves. A request is answered when the real
 * connection stands, and refused with a reset when there will be none. */
void xe_relay_route(struct xe_relay *r);
/* Bounded work: an event moves at most about 1 MiB. xe_relay_pending: some of it is
 * left (or a slot is free again for a connection that waits), so call xe_relay_run
 * soon and do not sleep. */
int xe_relay_pending(const struct xe_relay *r);
void xe_relay_run(struct xe_relay *r, xe_ns now);
/* epoll reported an fd of the relay; data.u64 was made with XE_RELAY_TAG. */
#define XE_RELAY_TAG (1ull << 63)
void xe_relay_fd_event(struct xe_relay *r, uint64_t tag, uint32_t events, xe_ns now);
/* The gateway stack reported readiness of `sock` (xe_tcp_next_ready). */
void xe_relay_sock_event(struct xe_relay *r, int sock, unsigned mask, xe_ns now);
const struct xe_relay_counters *xe_relay_counters(const struct xe_relay *r);

#endif
