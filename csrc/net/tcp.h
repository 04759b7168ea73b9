/* Guest TCP: a sans-I/O TCP over IPv4 (RFC 9293, 6298, 5681, 7323, 5961).
 *
 * One xe_tcp is one host's stack. Packets go in with xe_tcp_input and come out
 * of xe_tcp_dispatch; time is an argument. A stack has `max_socks` sockets,
 * named 0..max_socks-1; all memory is reserved at creation (send and receive
 * rings in one sparse mapping), nothing is allocated afterwards.
 *
 * Same machine, other seed: other initial sequence numbers, timestamp offsets
 * and ephemeral ports.
 */
#ifndef XE_NET_TCP_H
#define XE_NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"

struct xe_tcp;

enum { XE_TCP_PORT_FIRST = 32768, XE_TCP_PORT_LAST = 60999 }; /* ephemeral ones */

struct xe_tcp_config {
	uint32_t max_socks;   /* power of two; default 1024 when 0 */
	uint32_t snd_buf;     /* bytes, power of two; default 256 KiB when 0 */
	uint32_t rcv_buf;     /* bytes, power of two; default 256 KiB when 0 */
	uint16_t mss;         /* default XE_MTU - 40 */
	bool no_timestamps, no_wscale;
	xe_ns rto_min;        /* default 200 ms, as Linux; RTO max 60 s */
	xe_ns msl;            /* default 30 s */
	uint64_t seed;
};

/* readiness bits */
enum {
	XE_READABLE = 1,      /* data, EOF, an error, or a connection to accept */
	XE_WRITABLE = 2,      /* space to send, or connected, or an error */
	XE_HANGUP = 4,        /* reset, timed out, or both directions closed */
};

enum xe_tcp_state {
	XE_TCP_CLOSED,
	XE_TCP_LISTEN,
	XE_TCP_SYN_SENT,
	XE_TCP_SYN_RCVD,
	XE_TCP_ESTABLISHED,
	XE_TCP_FIN_WAIT_1,
	XE_TCP_FIN_WAIT_2,
	XE_TCP_CLOSE_WAIT,
	XE_TCP_CLOSING,
	XE_TCP_LAST_ACK,
	XE_TCP_TIME_WAIT,
};

struct xe_tcp_info {
	enum xe_tcp_state state;
	uint32_t local_addr, peer_addr;
	uint16_t local_port, peer_port;
	uint32_t rcv_queued, snd_queued; /* bytes in the rings */
	uint32_t cwnd, ssthresh, rto_ms, srtt_us;
	uint32_t retransmits;
};

int xe_tcp_create(struct xe_tcp **out, const struct xe_tcp_config *cfg); /* 0, -ENOMEM, -EINVAL */
void xe_tcp_destroy(struct xe_tcp *t);

/* ifconfig: the stack's address. Connections keep the one they have. Packets to
 * another address than the stack's own are dropped, unless a connection has it. */
void xe_tcp_set_addr(struct xe_tcp *t, uint32_t addr);
uint32_t xe_tcp_addr(const struct xe_tcp *t);

/* Socket calls: >= 0 or -errno. Sockets: -EBADF for one that is not open. */
int xe_tcp_listen(struct xe_tcp *t, uint16_t port,
		  int backlog);  /* socket; -EADDRINUSE, -EMFILE; port 0: chosen */
int xe_tcp_accept(struct xe_tcp *t, int listener);                /* socket; -EAGAIN */
int xe_tcp_accept_this(struct xe_tcp *t, int listener, int sock); /* out of turn; -EAGAIN */
int xe_tcp_connect(struct xe_tcp *t, uint32_t addr, uint16_t port, uint16_t local_port,
		   xe_ns now); /* socket, in SYN_SENT */
int xe_tcp_connected(struct xe_tcp *t, int sock); /* 0, -EINPROGRESS, -ECONNREFUSED, -ETIMEDOUT */
long xe_tcp_send(struct xe_tcp *t, int sock, const void *buf, size_t n,
		 xe_ns now); /* -EAGAIN, -EPIPE, -ECONNRESET, -ETIMEDOUT */
long xe_tcp_recv(struct xe_tcp *t, int sock, void *buf, size_t n,
		 xe_ns now); /* 0 at EOF; -EAGAIN, -ECONNRESET ... */
int xe_tcp_shutdown(struct xe_tcp *t, int sock,
		    xe_ns now); /* sends FIN after what is queued; -ENOTCONN */
/* The handle is gone; the connection finishes in the background. Unread data:
 * RST (RFC 9293 3.6.1, as Linux). A closed listener resets what is in its queue. */
int xe_tcp_close(struct xe_tcp *t, int sock, xe_ns now);
int xe_tcp_abort(struct xe_tcp *t, int sock, xe_ns now); /* RST */
int xe_tcp_reset(struct xe_tcp *t, int sock, xe_ns now); /* RST; the handle stays, in error */
unsigned xe_tcp_poll(const struct xe_tcp *t, int sock); /* readiness bits now */

/* A gateway's stack: a connection request to any address, and to a port without a listener, is
 * held. xe_tcp_next_ready names it once, as a socket of the caller's, in SYN_RCVD and not
 * answered until xe_tcp_admit; xe_tcp_abort refuses it. */
void xe_tcp_hold_requests(struct xe_tcp *t);
bool xe_tcp_is_held(const struct xe_tcp *t, int sock);
int xe_tcp_admit(struct xe_tcp *t, int sock); /* -EINVAL: not held, or over */
int xe_tcp_info(const struct xe_tcp *t, int sock, struct xe_tcp_info *info);
/* The socket (accepted or not) of a 4-tuple, or -ENOENT. */
int xe_tcp_find(const struct xe_tcp *t, uint32_t local_addr, uint16_t local_port,
		uint32_t peer_addr, uint16_t peer_port);

/* A socket with these names and no connection behind it: in CLOSED, without an error. -EMFILE. */
int xe_tcp_ghost(struct xe_tcp *t, uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		 uint16_t peer_port);
/* A connection that nobody has a handle of any more ends at once, without a word to its peer. */
void xe_tcp_forget(struct xe_tcp *t, uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		   uint16_t peer_port);

/* The network side. */
void xe_tcp_input(struct xe_tcp *t, uint8_t *packet, size_t len, bool verified, xe_ns now);
size_t xe_tcp_dispatch(struct xe_tcp *t, uint8_t *buf, size_t cap,
		       xe_ns now); /* next packet, 0: none */
xe_ns xe_tcp_poll_at(const struct xe_tcp *t); /* next deadline or XE_NEVER */
void xe_tcp_timers(struct xe_tcp *t, xe_ns now); /* runs what is due */

/* Next socket whose readiness gained a bit since it was last returned; its bits
 * in *mask; -1: none. */
int xe_tcp_next_ready(struct xe_tcp *t, unsigned *mask);
void xe_tcp_poke(struct xe_tcp *t, int sock); /* it will be returned once more, whatever its bits */
bool xe_tcp_has_ready(const struct xe_tcp *t);

struct xe_tcp_counters {
	uint64_t rx, tx, bad, no_socket, unacceptable, retransmits, resets_sent, dup_acks,
		out_of_order, paws, backlog_drops, challenge_acks;
};
const struct xe_tcp_counters *xe_tcp_counters(const struct xe_tcp *t);

#endif
