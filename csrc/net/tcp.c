/* The socket calls of the guest TCP, and a stack's creation.
 *
 * Invariants: `user` is true from the moment the application gets a handle to
 * the moment it closes it; calls on a handle without it give -EBADF. A handle
 * number is free again when neither application nor connection needs it.
 * Left out: keepalive, linger, per-socket options.
 */
#include "net/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "net/tcp_internal.h"

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

static void set_defaults(struct xe_tcp_config *c)
{
	if (c->max_socks == 0)
		c->max_socks = 1024;
	if (c->snd_buf == 0)
		c->snd_buf = 256 << 10;
	if (c->rcv_buf == 0)
		c->rcv_buf = 256 << 10;
	if (c->mss == 0)
		c->mss = XE_MTU - XE_TCP_HEADERS;
	if (c->rto_min == 0)
		c->rto_min = 200 * XE_MS;
	if (c->msl == 0)
		c->msl = 30 * XE_SECOND;
}

static bool is_valid(const struct xe_tcp_config *c)
{
	return is_power_of_two(c->max_socks) && c->max_socks <= 1u << 20 &&
	       is_power_of_two(c->snd_buf) && c->snd_buf >= 256 && c->snd_buf <= 1u << 28 &&
	       is_power_of_two(c->rcv_buf) && c->rcv_buf >= 256 && c->rcv_buf <= 1u << 28 &&
	       c->mss >= 64 && c->mss <= 65495;
}

static int allocate(struct xe_tcp *t)
{
	uint32_t n = t->cfg.max_socks, buckets = 2 * n;
	uint32_t replies = buckets < 256 ? 256 : buckets;

	t->hash_mask = buckets - 1;
	t->replies_mask = replies - 1;
	t->rings_len = (size_t)n * ((size_t)t->cfg.snd_buf + t->cfg.rcv_buf);
	t->socks = calloc(n, sizeof(*t->socks));
	t->free = calloc(n, sizeof(*t->free));
	t->hash = calloc(buckets, sizeof(*t->hash));
	t->heap = calloc(n, sizeof(*t->heap));
	t->replies = calloc(replies, sizeof(*t->replies));
	t->rings = mmap(NULL, t->rings_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->rings == MAP_FAILED)
		t->rings = NULL;
	if (!t->socks || !t->free || !t->hash || !t->heap || !t->replies || !t->rings)
		return -ENOMEM;
	for (uint32_t i = 0; i < buckets; i++)
		xe_list_init(&t->hash[i]);
	for (uint32_t i = 0; i < n; i++)
		t->free[t->nfree++] = (int32_t)(n - 1 - i);
	return 0;
}

int xe_tcp_create(struct xe_tcp **out, const struct xe_tcp_config *cfg)
{
	struct xe_tcp_config c = *cfg;
	struct xe_tcp *t;

	set_defaults(&c);
	if (!is_valid(&c))
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->cfg = c;
	t->rng.state = c.seed;
	t->secret = xe_rng_next(&t->rng);
	xe_list_init(&t->out);
	xe_list_init(&t->ready);
	xe_list_init(&t->timewait);
	if (allocate(t) < 0) {
		xe_tcp_destroy(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void xe_tcp_destroy(struct xe_tcp *t)
{
	if (!t)
		return;
	if (t->rings)
		munmap(t->rings, t->rings_len);
	free(t->socks);
	free(t->free);
	free(t->hash);
	free(t->heap);
	free(t->replies);
	free(t);
}

void xe_tcp_set_addr(struct xe_tcp *t, uint32_t addr)
{
	t->addr = addr;
}

uint32_t xe_tcp_addr(const struct xe_tcp *t)
{
	return t->addr;
}

const struct xe_tcp_counters *xe_tcp_counters(const struct xe_tcp *t)
{
	return &t->count;
}

/* The socket of an open handle, or NULL. */
static struct xe_sock *get(const struct xe_tcp *t, int sock)
{
	if (sock < 0 || (uint32_t)sock >= t->cfg.max_socks || !t->socks[sock].user)
		return NULL;
	return &t->socks[sock];
}

/* Also one that waits to be accepted: what xe_tcp_find names. */
static struct xe_sock *get_any(const struct xe_tcp *t, int sock)
{
	if (sock < 0 || (uint32_t)sock >= t->cfg.max_socks || !t->socks[sock].used)
		return NULL;
	if (!t->socks[sock].user && t->socks[sock].parent == XE_NIL)
		return NULL;
	return &t->socks[sock];
}

int xe_tcp_connect(struct xe_tcp *t, uint32_t addr, uint16_t port, uint16_t local_port, xe_ns now)
{
	int chosen = local_port ? local_port : xe_tcp_choose_port(t, addr, port);
	struct xe_sock *s;

	if (t->addr == 0)
		return -EADDRNOTAVAIL;
	if (addr == 0 || port == 0)
		return -EINVAL;
	if (chosen < 0)
		return chosen;
	if (xe_hash_find(t, 0, (uint16_t)chosen, 0, 0) ||
	    xe_hash_find(t, t->addr, (uint16_t)chosen, addr, port))
		return -EADDRINUSE;
	s = xe_sock_alloc(t);
	if (!s)
		return -EMFILE;
	s->user = true;
	s->laddr = t->addr;
	s->lport = (uint16_t)chosen;
	s->raddr = addr;
	s->rport = port;
	s->state = XE_TCP_SYN_SENT;
	xe_hash_insert(t, s);
	xe_sock_init_seq(t, s, xe_tcp_isn(t, s, now));
	xe_sock_want_output(t, s);
	return xe_sock_id(t, s);
}

int xe_tcp_connected(struct xe_tcp *t, int sock)
{
	const struct xe_sock *s = get(t, sock);

	if (!s)
		return -EBADF;
	if (s->state == XE_TCP_LISTEN)
		return -EINVAL;
	if (s->err)
		return -s->err;
	return s->was_connected ? 0 : -EINPROGRESS;
}

/* 0, or why the socket cannot send or receive data at all. */
static int check_connected(const struct xe_sock *s)
{
	if (s->state == XE_TCP_LISTEN)
		return -ENOTCONN;
	if (s->err)
		return -s->err;
	return s->was_connected ? 0 : -EAGAIN;
}

long xe_tcp_send(struct xe_tcp *t, int sock, const void *buf, size_t n, xe_ns now)
{
	struct xe_sock *s = get(t, sock);
	uint32_t space;
	int rc;

	(void)now;
	if (!s)
		return -EBADF;
	rc = check_connected(s);
	if (rc < 0)
		return rc;
	if (s->fin_queued || s->state == XE_TCP_CLOSED)
		return -EPIPE;
	space = t->cfg.snd_buf - (s->snd_end - s->snd_una);
	if (n > space)
		n = space;
	if (n == 0)
		return space == 0 ? -EAGAIN : 0;
	xe_ring_put(xe_sock_snd_ring(t, s), t->cfg.snd_buf, s->snd_end, buf, (uint32_t)n);
	s->snd_end += (uint32_t)n;
	xe_sock_want_output(t, s);
	xe_sock_ready(t, s);
	return (long)n;
}

long xe_tcp_recv(struct xe_tcp *t, int sock, void *buf, size_t n, xe_ns now)
{
	struct xe_sock *s = get(t, sock);
	uint32_t have;
	int rc;

	(void)now;
	if (!s)
		return -EBADF;
	rc = check_connected(s);
	have = s->was_connected ? xe_sock_readable(s) : 0;
	if (have == 0 && (rc < 0 || n == 0))
		return rc;
	if (have == 0)
		return s->fin_rcvd || s->state == XE_TCP_CLOSED ? 0 : -EAGAIN;
	if (n > have)
		n = have;
	xe_ring_get(xe_sock_rcv_ring(t, s), t->cfg.rcv_buf, s->rcv_read, buf, (uint32_t)n);
	s->rcv_read += (uint32_t)n;
	if (s->state != XE_TCP_CLOSED && xe_sock_window_opened(t, s)) {
		s->ack_now = true;
		xe_sock_want_output(t, s);
	}
	xe_sock_ready(t, s);
	return (long)n;
}

static void queue_fin(struct xe_tcp *t, struct xe_sock *s)
{
	if (s->fin_queued)
		return;
	s->fin_queued = true;
	if (s->state == XE_TCP_ESTABLISHED)
		s->state = XE_TCP_FIN_WAIT_1;
	else
		s->state = XE_TCP_LAST_ACK;
	xe_sock_want_output(t, s);
	xe_sock_ready(t, s);
}

int xe_tcp_shutdown(struct xe_tcp *t, int sock, xe_ns now)
{
	struct xe_sock *s = get(t, sock);

	(void)now;
	if (!s)
		return -EBADF;
	if (!s->was_connected || s->state == XE_TCP_CLOSED)
		return -ENOTCONN;
	queue_fin(t, s);
	return 0;
}

/* Ends the connection at once; the socket is the application's no more. */
static void drop(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (s->state != XE_TCP_TIME_WAIT)
		xe_sock_send_rst(t, s, now);
	xe_sock_finish(t, s, ECONNABORTED);
}

static void orphan(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	queue_fin(t, s);
	if (s->state == XE_TCP_FIN_WAIT_2)
		xe_timer_set(t, s, XE_TM_FIN2, now + 2 * t->cfg.msl);
	else if (s->state == XE_TCP_TIME_WAIT)
		xe_list_push(t, &t->timewait, s, XE_L_TIMEWAIT);
}

int xe_tcp_close(struct xe_tcp *t, int sock, xe_ns now)
{
	struct xe_sock *s = get(t, sock);

	if (!s)
		return -EBADF;
	xe_list_remove(t, &t->ready, s, XE_L_READY);
	s->user = false;
	if (s->state == XE_TCP_LISTEN) {
		xe_listener_close(t, s, now);
		xe_sock_finish(t, s, 0);
	} else if (s->state == XE_TCP_CLOSED) {
		xe_sock_free(t, s);
	} else if (!s->was_connected || xe_sock_readable(s) > 0) {
		drop(t, s, now);
	} else {
		orphan(t, s, now);
	}
	return 0;
}

int xe_tcp_abort(struct xe_tcp *t, int sock, xe_ns now)
{
	struct xe_sock *s = get_any(t, sock);

	if (!s)
		return -EBADF;
	if (s->state == XE_TCP_LISTEN || s->state == XE_TCP_CLOSED)
		return xe_tcp_close(t, sock, now);
	xe_list_remove(t, &t->ready, s, XE_L_READY);
	s->user = false;
	drop(t, s, now);
	return 0;
}

int xe_tcp_reset(struct xe_tcp *t, int sock, xe_ns now)
{
	struct xe_sock *s = get(t, sock);

	if (!s)
		return -EBADF;
	if (!s->was_connected || s->state == XE_TCP_CLOSED)
		return -ENOTCONN;
	drop(t, s, now);
	return 0;
}

unsigned xe_tcp_poll(const struct xe_tcp *t, int sock)
{
	const struct xe_sock *s = get_any(t, sock);

	return s ? xe_sock_mask(t, s) : 0;
}

int xe_tcp_info(const struct xe_tcp *t, int sock, struct xe_tcp_info *info)
{
	const struct xe_sock *s = get_any(t, sock);
	bool open;

	if (!s)
		return -EBADF;
	open = s->was_connected;
	*info = (struct xe_tcp_info){
		.state = (enum xe_tcp_state)s->state,
		.local_addr = s->laddr,
		.peer_addr = s->raddr,
		.local_port = s->lport,
		.peer_port = s->rport,
		.rcv_queued = open ? xe_sock_readable(s) : 0,
		.snd_queued = open && xe_seq_gt(s->snd_end, s->snd_una) ? s->snd_end - s->snd_una
									: 0,
		.cwnd = s->cwnd,
		.ssthresh = s->ssthresh,
		.rto_ms = (uint32_t)(xe_cc_rto(s) / XE_MS),
		.srtt_us = (uint32_t)(s->srtt / XE_US),
		.retransmits = s->retransmits,
	};
	return 0;
}

int xe_tcp_find(const struct xe_tcp *t, uint32_t local_addr, uint16_t local_port,
		uint32_t peer_addr, uint16_t peer_port)
{
	const struct xe_sock *s = xe_hash_find(t, local_addr, local_port, peer_addr, peer_port);

	if (!s || (!s->user && s->parent == XE_NIL))
		return -ENOENT;
	return xe_sock_id(t, s);
}

int xe_tcp_next_ready(struct xe_tcp *t, unsigned *mask)
{
	struct xe_sock *s;

	if (t->ready.head == XE_NIL)
		return -1;
	s = &t->socks[t->ready.head];
	xe_list_remove(t, &t->ready, s, XE_L_READY);
	*mask = xe_sock_mask(t, s);
	s->seen = (uint8_t)*mask;
	s->poked = false;
	return xe_sock_id(t, s);
}

void xe_tcp_poke(struct xe_tcp *t, int sock)
{
	struct xe_sock *s = get(t, sock);

	if (!s)
		return;
	s->poked = true;
	xe_sock_ready(t, s);
}

bool xe_tcp_has_ready(const struct xe_tcp *t)
{
	return t->ready.head != XE_NIL;
}
