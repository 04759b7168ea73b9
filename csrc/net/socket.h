/* The guest kernel's socket calls: the north-side wrapper around TCP.
 *
 * One xe_sockets is one host's socket layer. Without an attached log, or on ports that
 * are not protected, calls go straight to TCP. Results as in tcp.h.
 *
 * A session is named by a token, 0: none. What is listened to and connected with one belongs to it.
 */
#ifndef XE_NET_SOCKET_H
#define XE_NET_SOCKET_H

#include "net/nsw.h"
#include "net/tcp.h"

struct wr;

/* What the wrapper knows of a socket that TCP does not. */
struct xe_sock_entry {
	uint64_t session;            /* that it listens or connects for */
	uint32_t slot;               /* of its connection; XE_LOG_NONE */
	uint32_t order;              /* of a connect */
	uint16_t port;               /* that the log names for it; 0: none */
	bool listens, connecting;    /* connecting: the log is to be told of its session */
};

struct xe_protected_port {
	uint16_t port;
	uint8_t profile;             /* enum wr_profile; 0: free */
};

struct xe_sockets {
	struct xe_tcp *tcp;
	struct xe_nsw nsw;
	struct wr *const *wr; /* wrappers by profile; NULL, or where there is none: plain ones */
	struct xe_sock_entry *entry; /* by socket */
	uint32_t max_socks;
	struct xe_protected_port protected[XE_MAX_PROTECTED_PORTS];
	int listener[XE_MAX_LISTENERS]; /* made by xe_sock_listen */
	uint32_t listeners;
	uint16_t passive_low, passive_high, passive_next; /* low 0: ephemeral ones */
	bool replaying; /* some connection may be */
	xe_ns looked_at;
};

int xe_sockets_init(struct xe_sockets *s,
		    const struct xe_tcp_config *cfg); /* 0, -ENOMEM, -EINVAL */
void xe_sockets_fini(struct xe_sockets *s);
/* Connections of this port are under that wrapper (enum wr_profile); 0: under none. -ENOSPC. */
int xe_sockets_protect(struct xe_sockets *s, uint16_t port, uint8_t profile);
/* Sessions that listen to any port get one of these. -EINVAL; 0 and 0: any. */
int xe_sockets_passive_range(struct xe_sockets *s, uint16_t low, uint16_t high);

/* The session of an accepted connection. */
uint64_t xe_sock_session(const struct xe_sockets *s, int sock);
int xe_sock_listen(struct xe_sockets *s, uint16_t port, int backlog, uint64_t session);
int xe_sock_accept(struct xe_sockets *s, int listener);
int xe_sock_connect(struct xe_sockets *s, uint32_t addr, uint16_t port, uint16_t local_port,
		    uint64_t session, xe_ns now);
int xe_sock_connected(struct xe_sockets *s, int sock);
long xe_sock_send(struct xe_sockets *s, int sock, const void *buf, size_t n, xe_ns now);
long xe_sock_recv(struct xe_sockets *s, int sock, void *buf, size_t n, xe_ns now);
int xe_sock_shutdown(struct xe_sockets *s, int sock, xe_ns now);
int xe_sock_close(struct xe_sockets *s, int sock, xe_ns now);
/* The kernel cleans up after a dead process: the service did not ask for this. */
int xe_sock_drop(struct xe_sockets *s, int sock, xe_ns now);
/* The kernel's timer interrupt. */
void xe_sockets_tick(struct xe_sockets *s, xe_ns now);
unsigned xe_sock_poll(struct xe_sockets *s, int sock);

#endif
