/* What the parts of the TCP stack share. Not for users of tcp.h, but for tests.
 *
 * tcp.c         socket calls, creation
 * tcp_table.c   sockets, intrusive lists, demux hash, readiness, the timer heap
 * tcp_listen.c  ports, listeners and passive opens
 * tcp_input.c   segment arrival
 * tcp_data.c    receive side: reassembly, acknowledgement policy, window
 * tcp_output.c  segments going out
 * tcp_cc.c      round-trip time, congestion control
 * tcp_timer.c   what happens at deadlines
 */
#ifndef XE_NET_TCP_INTERNAL_H
#define XE_NET_TCP_INTERNAL_H

#include "base/assert.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/seq.h"
#include "net/tcp.h"
#include "net/wire.h"

enum {
	XE_TCP_RANGES = 32,
	XE_TCP_HEADERS = 40,
	XE_TCP_TS_SPACE = 12,
	XE_TCP_RETRIES = 15,
	XE_TCP_SYN_RETRIES = 6,
	XE_TCP_CHALLENGES = 10, /* per socket and XE_TCP_CHALLENGE_TIME */
	XE_NIL = -1, /* no socket: end of a list */
	XE_OFF = -2, /* link of a socket that is not on the list */
};

#define XE_TCP_DELACK (40 * XE_MS)
#define XE_TCP_RTO_MAX (60 * XE_SECOND)
#define XE_TCP_CHALLENGE_TIME (100 * XE_MS)
#define XE_TCP_PAWS_IDLE (24 * 86400 * XE_SECOND)

/* The lists a socket can be on, each with its own pair of links. */
enum xe_list_kind { XE_L_OUT, XE_L_READY, XE_L_HASH, XE_L_TIMEWAIT, XE_L_LISTENER, XE_L_COUNT };

struct xe_links {
	int32_t prev, next;
};

struct xe_list {
	int32_t head, tail;
};

enum xe_main_timer { XE_TM_NONE, XE_TM_REXMIT, XE_TM_PERSIST, XE_TM_TIMEWAIT, XE_TM_FIN2 };

struct xe_range {
	uint32_t from, to; /* sequence numbers [from, to) */
};

struct xe_sock {
	struct xe_links links[XE_L_COUNT];
	uint32_t laddr, raddr;
	uint16_t lport, rport;
	uint8_t state;        /* enum xe_tcp_state */
	uint8_t timer;        /* enum xe_main_timer */
	bool used;            /* the handle number is taken */
	bool user;            /* the application has the handle */
	bool passive;
	bool held;            /* a request that is not answered yet */
	bool was_connected;
	bool fin_queued;      /* our FIN is at snd_end */
	bool fin_seen;        /* peer's FIN is at fin_seq, maybe out of order */
	bool fin_rcvd;        /* ... and everything before it is here */
	bool ts_on, ws_on;
	bool syn_now, ack_now, rexmit_now, probe_now;
	bool in_recovery, first_partial, cwnd_limited, rtt_active, rtt_known;
	uint8_t snd_scale, rcv_scale;
	uint8_t seen;         /* readiness bits reported and still set */
	bool poked;           /* on the ready list whatever the bits */
	uint8_t retries, backoff, dup_acks, challenges;
	int err;              /* why it died */

	/* Send side. The byte of sequence number q is at ring[q & mask]. */
	uint32_t iss, snd_una, snd_nxt, snd_max, snd_end;
	uint32_t snd_wnd, snd_wl1, snd_wl2, max_wnd;
	uint16_t peer_mss, mss; /* mss: payload of a full segment */
	uint32_t cwnd, ssthresh, recover, ca_acked;
	uint32_t rtt_seq, rtt_ts;
	xe_ns rtt_at, last_send;
	xe_ns srtt, rttvar, rto;
	uint32_t retransmits;

	/* Receive side, same placement. [rcv_read, rcv_nxt) is readable. */
	uint32_t irs, rcv_nxt, rcv_read, rcv_adv, last_ack, fin_seq;
	uint32_t rcv_mss;     /* largest payload seen */
	uint32_t rcv_trust;   /* bytes that the peer may send ahead; grows as it sends */
	uint32_t ts_recent, ts_offset;
	xe_ns ts_recent_at;
	uint32_t nranges;
	struct xe_range ranges[XE_TCP_RANGES]; /* sorted, disjoint, not adjacent, after rcv_nxt */

	/* Timers. */
	xe_ns timer_at, delack_at, challenge_at;
	int32_t heap_pos;     /* XE_NIL: no deadline */

	/* Listeners, and their children. */
	int32_t parent;
	struct xe_list embryos, queue;
	uint32_t backlog, children;
};

struct xe_heap_entry {
	xe_ns at;
	int32_t sock;
};

struct xe_tcp {
	struct xe_tcp_config cfg;
	struct xe_tcp_counters count;
	struct xe_rng rng;
	uint64_t secret;
	uint32_t addr;
	uint32_t nlisteners;
	bool holds;           /* requests that no listener takes */
	bool test_isn_set;    /* tests only: every ISN is test_isn */
	uint32_t test_isn;
	struct xe_sock *socks;
	uint8_t *rings;       /* per socket: send ring, receive ring */
	size_t rings_len;
	int32_t *free;        /* stack of free handle numbers */
	uint32_t nfree;
	struct xe_list *hash;
	uint32_t hash_mask;
	struct xe_list out, ready, timewait;
	struct xe_heap_entry *heap;
	uint32_t heap_len;
	struct xe_segment *replies; /* FIFO of segments of no socket */
	uint32_t replies_mask, replies_head, replies_tail;
};

/* tcp_table.c */
int xe_sock_id(const struct xe_tcp *t, const struct xe_sock *s);
void xe_list_init(struct xe_list *l);
void xe_list_push(struct xe_tcp *t, struct xe_list *l, struct xe_sock *s, enum xe_list_kind k);
void xe_list_remove(struct xe_tcp *t, struct xe_list *l, struct xe_sock *s, enum xe_list_kind k);
bool xe_list_has(const struct xe_sock *s, enum xe_list_kind k);
struct xe_sock *xe_hash_find(const struct xe_tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
			     uint16_t rport);
void xe_hash_insert(struct xe_tcp *t, struct xe_sock *s);
struct xe_sock *xe_sock_alloc(struct xe_tcp *t);
void xe_sock_finish(struct xe_tcp *t, struct xe_sock *s,
		    int err); /* connection over; frees if no user */
void xe_sock_free(struct xe_tcp *t, struct xe_sock *s);
void xe_sock_want_output(struct xe_tcp *t, struct xe_sock *s);
void xe_sock_ready(struct xe_tcp *t, struct xe_sock *s); /* readiness may have changed */
unsigned xe_sock_mask(const struct xe_tcp *t, const struct xe_sock *s);
void xe_timer_set(struct xe_tcp *t, struct xe_sock *s, enum xe_main_timer kind, xe_ns at);
void xe_timer_delack(struct xe_tcp *t, struct xe_sock *s, xe_ns at);
uint8_t *xe_sock_snd_ring(const struct xe_tcp *t, const struct xe_sock *s);
uint8_t *xe_sock_rcv_ring(const struct xe_tcp *t, const struct xe_sock *s);
void xe_ring_put(uint8_t *ring, uint32_t size, uint32_t at, const void *src, uint32_t n);
void xe_ring_get(const uint8_t *ring, uint32_t size, uint32_t at, void *dst, uint32_t n);
uint64_t xe_tcp_mix(uint64_t secret, uint64_t a, uint64_t b);
uint32_t xe_tcp_isn(struct xe_tcp *t, const struct xe_sock *s, xe_ns now);
void xe_sock_init_seq(struct xe_tcp *t, struct xe_sock *s, uint32_t isn);
uint32_t xe_sock_ts(const struct xe_sock *s, xe_ns now);

/* tcp_listen.c */
int xe_tcp_choose_port(struct xe_tcp *t, uint32_t raddr, uint16_t rport);
void xe_listener_input(struct xe_tcp *t, struct xe_sock *l, const struct xe_packet *p,
		       const uint32_t *isn, xe_ns now);
void xe_request_input(struct xe_tcp *t, const struct xe_packet *p, const uint32_t *isn, xe_ns now);
void xe_request_again(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p);
void xe_listener_established(struct xe_tcp *t, struct xe_sock *s);
void xe_listener_forget(struct xe_tcp *t, struct xe_sock *s); /* child dies or is accepted */
void xe_listener_close(struct xe_tcp *t, struct xe_sock *l, xe_ns now);

/* tcp_input.c */
void xe_sock_take_syn(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now);
void xe_sock_time_wait(struct xe_tcp *t, struct xe_sock *s, xe_ns now);

/* tcp_data.c */
void xe_sock_data(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now);
uint16_t xe_sock_window(struct xe_tcp *t,
			struct xe_sock *s); /* to put into a segment; moves rcv_adv */
bool xe_sock_window_opened(const struct xe_tcp *t, const struct xe_sock *s);
uint32_t xe_sock_readable(const struct xe_sock *s);

/* tcp_output.c */
void xe_reply_rst(struct xe_tcp *t, const struct xe_packet *p);
void xe_sock_send_rst(struct xe_tcp *t, struct xe_sock *s, xe_ns now);
uint32_t xe_sock_fin_end(const struct xe_sock *s); /* end of what may be sent, FIN included */

/* tcp_cc.c */
void xe_cc_init(struct xe_tcp *t, struct xe_sock *s);
void xe_cc_sample(struct xe_tcp *t, struct xe_sock *s, xe_ns rtt);
void xe_cc_ack(struct xe_tcp *t, struct xe_sock *s, uint32_t ack, const struct xe_packet *p,
	       xe_ns now);
void xe_cc_dup_ack(struct xe_tcp *t, struct xe_sock *s);
void xe_cc_timeout(struct xe_sock *s);
void xe_cc_sent(struct xe_sock *s, xe_ns now);
uint32_t xe_cc_window(const struct xe_sock *s);
xe_ns xe_cc_rto(const struct xe_sock *s);

#endif
