/* Connections that guests open to real servers, as a user-space router gives them.
 *
 * The gateway's stack holds a request to any address. A real socket connects to where
 * it leads, without waiting; when it is connected the request is admitted, and the slot
 * is like any other from then on. Before that nothing can have been said by either side.
 *
 * Invariants: a held request is given a slot or refused at once, so none is forgotten;
 * until the request is admitted, the guest has seen nothing of this host.
 * Left out: telling a guest why (a refusal, no route and a timeout are all a reset);
 * filtering: what the emulator's user can reach, its guests can.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/relay_internal.h"

void xe_relay_route(struct xe_relay *r)
{
	r->routes = true;
	xe_tcp_hold_requests(r->gateway);
}

/* Where a guest's destination is, 0: nowhere (this network, multicast, reserved). */
static uint32_t xe_out_address(const struct xe_relay *r, uint32_t addr)
{
	if (addr == xe_tcp_addr(r->gateway))
		return INADDR_LOOPBACK;
	return addr >> 24 == 0 || addr >> 28 >= 14 ? 0 : addr;
}

/* A real socket that connects, or is connected; -errno. */
static int xe_out_connect(uint32_t addr, uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(addr),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)) || errno == EINPROGRESS)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

void xe_out_open(struct xe_relay *r, int sock, xe_ns now)
{
	struct xe_tcp_info info;
	uint32_t addr = 0;
	int fd = -1;

	if (!xe_tcp_info(r->gateway, sock, &info) && info.state == XE_TCP_SYN_RCVD)
		addr = xe_out_address(r, info.local_addr);
	if (addr && xe_slot_available(r, true))
		fd = xe_out_connect(addr, info.local_port);
	if (fd < 0) {
		r->counters.turned_away++;
		xe_tcp_abort(r->gateway, sock, now);
		return;
	}
	struct xe_slot *s = xe_slot_take(r, fd, sock, true);

	r->counters.outward++;
	if (xe_slot_watch(r, s))
		xe_slot_refuse(r, s, now);
}

bool xe_out_connected(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (s->host_error || s->guest_hangup) {
		xe_slot_refuse(r, s, now);
		return false;
	}
	if (!s->can_write)
		return false;
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) || err ||
	    xe_tcp_admit(r->gateway, s->sock)) {
		xe_slot_refuse(r, s, now);
		return false;
	}
	s->connecting = false;
	return true;
}
