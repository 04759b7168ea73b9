/* The guest kernel's socket calls: the north-side wrapper around TCP.
 *
 * One xe_sockets is one host's socket layer. Without an attached log, or on ports that
 * are not protected, calls go straight to TCP. Results as in tcp.h.
 */
#ifndef XE_NET_SOCKET_H
#define XE_NET_SOCKET_H

#include "net/nsw.h"
#include "net/tcp.h"

struct xe_sockets {
	struct xe_tcp *tcp;
	struct xe_nsw nsw;
	struct xe_nsw_conn *conn;     /* by socket */
	uint32_t max_socks;
	uint8_t protected_port[65536 / 8];
	bool replaying;               /* some connection may be */
	xe_ns looked_at;
};

int xe_sockets_init(struct xe_sockets *s,
		    const struct xe_tcp_config *cfg); /* 0, -ENOMEM, -EINVAL */
void xe_sockets_fini(struct xe_sockets *s);
void xe_sockets_protect(struct xe_sockets *s, uint16_t port, bool on);

int xe_sock_accept(struct xe_sockets *s, int listener);
long xe_sock_send(struct xe_sockets *s, int sock, const void *buf, size_t n, xe_ns now);
long xe_sock_recv(struct xe_sockets *s, int sock, void *buf, size_t n, xe_ns now);
int xe_sock_shutdown(struct xe_sockets *s, int sock, xe_ns now);
int xe_sock_close(struct xe_sockets *s, int sock, xe_ns now);
/* The kernel cleans up after a dead process: the service did not ask for this. */
int xe_sock_drop(struct xe_sockets *s, int sock, xe_ns now);
/* The kernel's timer interrupt. */
void xe_sockets_tick(struct xe_sockets *s, xe_ns now);
unsigned xe_sock_poll(const struct xe_sockets *s, int sock);

#endif
