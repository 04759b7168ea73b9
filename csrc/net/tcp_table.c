/* Sockets of a stack: intrusive lists, demux hash, readiness, the timer heap.
 *
 * Invariants: a socket is at most once on each list; the heap holds a socket
 * exactly if one of its deadlines is not XE_NEVER, under the earlier of the
 * two; a socket is in the hash while it listens or has a connection.
 * Left out: growth; everything is sized at creation.
 */
#include <errno.h>
#include <string.h>

#include "net/tcp_internal.h"

int xe_sock_id(const struct xe_tcp *t, const struct xe_sock *s)
{
	return (int)(s - t->socks);
}

void xe_list_init(struct xe_list *l)
{
	l->head = l->tail = XE_NIL;
}

bool xe_list_has(const struct xe_sock *s, enum xe_list_kind k)
{
	return s->links[k].prev != XE_OFF;
}

void xe_list_push(struct xe_tcp *t, struct xe_list *l, struct xe_sock *s, enum xe_list_kind k)
{
	int id = xe_sock_id(t, s);

	xe_assert(!xe_list_has(s, k));
	s->links[k] = (struct xe_links){l->tail, XE_NIL};
	if (l->tail == XE_NIL)
		l->head = id;
	else
		t->socks[l->tail].links[k].next = id;
	l->tail = id;
}

void xe_list_remove(struct xe_tcp *t, struct xe_list *l, struct xe_sock *s, enum xe_list_kind k)
{
	struct xe_links *n = &s->links[k];

	if (!xe_list_has(s, k))
		return;
	if (n->prev == XE_NIL)
		l->head = n->next;
	else
		t->socks[n->prev].links[k].next = n->next;
	if (n->next == XE_NIL)
		l->tail = n->prev;
	else
		t->socks[n->next].links[k].prev = n->prev;
	n->prev = n->next = XE_OFF;
}

uint64_t xe_tcp_mix(uint64_t secret, uint64_t a, uint64_t b)
{
	struct xe_rng r = {secret ^ a};

	r.state = xe_rng_next(&r) ^ b;
	return xe_rng_next(&r);
}

static struct xe_list *bucket(const struct xe_tcp *t, uint32_t laddr, uint16_t lport,
			      uint32_t raddr, uint16_t rport)
{
	uint64_t h =
		xe_tcp_mix(t->secret, (uint64_t)laddr << 32 | raddr, (uint64_t)lport << 16 | rport);

	return &t->hash[h & t->hash_mask];
}

struct xe_sock *xe_hash_find(const struct xe_tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
			     uint16_t rport)
{
	int32_t i = bucket(t, laddr, lport, raddr, rport)->head;

	for (; i != XE_NIL; i = t->socks[i].links[XE_L_HASH].next) {
		struct xe_sock *s = &t->socks[i];

		if (s->lport == lport && s->rport == rport && s->laddr == laddr &&
		    s->raddr == raddr)
			return s;
	}
	return NULL;
}

void xe_hash_insert(struct xe_tcp *t, struct xe_sock *s)
{
	xe_list_push(t, bucket(t, s->laddr, s->lport, s->raddr, s->rport), s, XE_L_HASH);
}

static void unhash(struct xe_tcp *t, struct xe_sock *s)
{
	xe_list_remove(t, bucket(t, s->laddr, s->lport, s->raddr, s->rport), s, XE_L_HASH);
}

/* The heap of deadlines. */

static void heap_place(struct xe_tcp *t, uint32_t pos, struct xe_heap_entry e)
{
	t->heap[pos] = e;
	t->socks[e.sock].heap_pos = (int32_t)pos;
}

static void heap_fix(struct xe_tcp *t, uint32_t pos, struct xe_heap_entry e)
{
	uint32_t child;

	while (pos > 0 && t->heap[(pos - 1) / 2].at > e.at) {
		heap_place(t, pos, t->heap[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	while ((child = 2 * pos + 1) < t->heap_len) {
		if (child + 1 < t->heap_len && t->heap[child + 1].at < t->heap[child].at)
			child++;
		if (t->heap[child].at >= e.at)
			break;
		heap_place(t, pos, t->heap[child]);
		pos = child;
	}
	heap_place(t, pos, e);
}

static void heap_remove(struct xe_tcp *t, struct xe_sock *s)
{
	uint32_t pos = (uint32_t)s->heap_pos;
	struct xe_heap_entry last = t->heap[--t->heap_len];

	s->heap_pos = XE_NIL;
	if (pos < t->heap_len)
		heap_fix(t, pos, last);
}

static void heap_sync(struct xe_tcp *t, struct xe_sock *s)
{
	xe_ns at = s->timer_at < s->delack_at ? s->timer_at : s->delack_at;
	struct xe_heap_entry e = {at, xe_sock_id(t, s)};

	if (at == XE_NEVER) {
		if (s->heap_pos != XE_NIL)
			heap_remove(t, s);
		return;
	}
	if (s->heap_pos == XE_NIL)
		heap_fix(t, t->heap_len++, e);
	else if (t->heap[s->heap_pos].at != at)
		heap_fix(t, (uint32_t)s->heap_pos, e);
}

void xe_timer_set(struct xe_tcp *t, struct xe_sock *s, enum xe_main_timer kind, xe_ns at)
{
	s->timer = kind;
	s->timer_at = kind == XE_TM_NONE ? XE_NEVER : at;
	heap_sync(t, s);
}

void xe_timer_delack(struct xe_tcp *t, struct xe_sock *s, xe_ns at)
{
	s->delack_at = at;
	heap_sync(t, s);
}

/* Sockets. */

static void sock_reset(struct xe_sock *s)
{
	memset(s, 0, sizeof(*s));
	for (int k = 0; k < XE_L_COUNT; k++)
		s->links[k] = (struct xe_links){XE_OFF, XE_OFF};
	s->heap_pos = s->parent = XE_NIL;
	s->timer_at = s->delack_at = XE_NEVER;
	xe_list_init(&s->embryos);
	xe_list_init(&s->queue);
}

struct xe_sock *xe_sock_alloc(struct xe_tcp *t)
{
	struct xe_sock *s;

	if (t->nfree == 0 && t->timewait.head != XE_NIL)
		xe_sock_finish(t, &t->socks[t->timewait.head], 0);
	if (t->nfree == 0)
		return NULL;
	s = &t->socks[t->free[--t->nfree]];
	sock_reset(s);
	s->used = true;
	return s;
}

void xe_sock_free(struct xe_tcp *t, struct xe_sock *s)
{
	xe_assert(s->used && s->state == XE_TCP_CLOSED && !xe_list_has(s, XE_L_HASH));
	xe_list_remove(t, &t->ready, s, XE_L_READY);
	s->used = s->user = false;
	t->free[t->nfree++] = xe_sock_id(t, s);
}

void xe_sock_finish(struct xe_tcp *t, struct xe_sock *s, int err)
{
	xe_list_remove(t, &t->timewait, s, XE_L_TIMEWAIT);
	xe_list_remove(t, &t->out, s, XE_L_OUT);
	xe_listener_forget(t, s);
	unhash(t, s);
	xe_timer_set(t, s, XE_TM_NONE, XE_NEVER);
	xe_timer_delack(t, s, XE_NEVER);
	s->state = XE_TCP_CLOSED;
	if (s->err == 0)
		s->err = err;
	if (s->user)
		xe_sock_ready(t, s);
	else
		xe_sock_free(t, s);
}

int xe_tcp_ghost(struct xe_tcp *t, uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		 uint16_t peer_port)
{
	struct xe_sock *s = xe_sock_alloc(t);

	if (!s)
		return -EMFILE;
	s->laddr = local_addr;
	s->lport = local_port;
	s->raddr = peer_addr;
	s->rport = peer_port;
	s->state = XE_TCP_CLOSED;
	s->rto = XE_SECOND;
	s->user = s->was_connected = true;
	xe_sock_ready(t, s);
	return xe_sock_id(t, s);
}

void xe_tcp_forget(struct xe_tcp *t, uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		   uint16_t peer_port)
{
	struct xe_sock *s = xe_hash_find(t, local_addr, local_port, peer_addr, peer_port);

	if (s && !s->user && s->parent == XE_NIL)
		xe_sock_finish(t, s, 0);
}

void xe_sock_want_output(struct xe_tcp *t, struct xe_sock *s)
{
	if (!xe_list_has(s, XE_L_OUT))
		xe_list_push(t, &t->out, s, XE_L_OUT);
}

static unsigned connection_mask(const struct xe_tcp *t, const struct xe_sock *s)
{
	unsigned mask = 0;
	uint32_t space = t->cfg.snd_buf - (s->snd_end - s->snd_una);

	if (xe_sock_readable(s) > 0 || s->fin_rcvd)
		mask |= XE_READABLE;
	if (!s->fin_queued && space >= t->cfg.snd_buf / 4)
		mask |= XE_WRITABLE;
	if (s->fin_queued && s->fin_rcvd)
		mask |= XE_HANGUP;
	return mask;
}

unsigned xe_sock_mask(const struct xe_tcp *t, const struct xe_sock *s)
{
	switch (s->state) {
	case XE_TCP_CLOSED:
		return XE_READABLE | XE_WRITABLE | XE_HANGUP;
	case XE_TCP_LISTEN:
		return s->queue.head != XE_NIL ? XE_READABLE : 0;
	case XE_TCP_SYN_SENT:
	case XE_TCP_SYN_RCVD:
		return 0;
	default:
		return connection_mask(t, s);
	}
}

void xe_sock_ready(struct xe_tcp *t, struct xe_sock *s)
{
	unsigned mask;

	if (!s->user)
		return;
	mask = xe_sock_mask(t, s);
	s->seen &= (uint8_t)mask;
	if ((mask & ~(unsigned)s->seen) == 0 && !s->poked)
		xe_list_remove(t, &t->ready, s, XE_L_READY);
	else if (!xe_list_has(s, XE_L_READY))
		xe_list_push(t, &t->ready, s, XE_L_READY);
}

/* Rings. */

uint8_t *xe_sock_snd_ring(const struct xe_tcp *t, const struct xe_sock *s)
{
	return t->rings + (size_t)xe_sock_id(t, s) * ((size_t)t->cfg.snd_buf + t->cfg.rcv_buf);
}

uint8_t *xe_sock_rcv_ring(const struct xe_tcp *t, const struct xe_sock *s)
{
	return xe_sock_snd_ring(t, s) + t->cfg.snd_buf;
}

void xe_ring_put(uint8_t *ring, uint32_t size, uint32_t at, const void *src, uint32_t n)
{
	uint32_t pos = at & (size - 1), first = size - pos < n ? size - pos : n;

	memcpy(ring + pos, src, first);
	memcpy(ring, (const uint8_t *)src + first, n - first);
}

void xe_ring_get(const uint8_t *ring, uint32_t size, uint32_t at, void *dst, uint32_t n)
{
	uint32_t pos = at & (size - 1), first = size - pos < n ? size - pos : n;

	memcpy(dst, ring + pos, first);
	memcpy((uint8_t *)dst + first, ring, n - first);
}

/* Sequence numbers: RFC 6528. */

uint32_t xe_tcp_isn(struct xe_tcp *t, const struct xe_sock *s, xe_ns now)
{
	uint64_t f = xe_tcp_mix(~t->secret, (uint64_t)s->laddr << 32 | s->raddr,
				(uint64_t)s->lport << 16 | s->rport);

	if (t->test_isn_set)
		return t->test_isn;
	return (uint32_t)f + (uint32_t)(now / (4 * XE_US));
}

void xe_sock_init_seq(struct xe_tcp *t, struct xe_sock *s, uint32_t isn)
{
	s->iss = s->snd_una = s->snd_nxt = s->snd_max = s->recover = isn;
	s->snd_end = isn + 1;
	/* One clock for each 4-tuple, so that TIME_WAIT can be left (RFC 6191, 7323 5.4). */
	s->ts_offset = (uint32_t)xe_tcp_mix(t->secret, (uint64_t)s->laddr << 32 | s->raddr,
					    (uint64_t)s->lport << 16 | s->rport);
	s->peer_mss = 536;
	s->rto = XE_SECOND;
	s->syn_now = true;
	s->rcv_trust = 65535;
	s->ts_on = !t->cfg.no_timestamps;
	s->ws_on = !t->cfg.no_wscale;
	while (s->ws_on && s->rcv_scale < 14 && t->cfg.rcv_buf >> s->rcv_scale > 65535)
		s->rcv_scale++;
}

uint32_t xe_sock_ts(const struct xe_sock *s, xe_ns now)
{
	return (uint32_t)(now / XE_MS) + s->ts_offset;
}
