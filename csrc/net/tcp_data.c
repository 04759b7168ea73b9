/* Receive side: reassembly in place, acknowledgement policy, the window.
 *
 * Invariants: rcv_read <= rcv_nxt <= rcv_adv <= rcv_read + rcv_buf (a FIN's
 * sequence number counted with rcv_nxt); rcv_adv, the right edge the peer was
 * told, never moves left; every byte of [rcv_read, rcv_nxt) and of the ranges
 * is the first one that arrived for its sequence number.
 * A scaled window can only name edges in steps of 2^scale from rcv_nxt. It is
 * rounded up, into a 16th of the ring kept back for that; only a peer that
 * sends thousands of odd-sized segments to a reader that never reads uses that
 * up and then sees an edge at most 2^scale - 1 to the left (data up to the old
 * edge is still taken, RFC 7323 2.4).
 * A connection begins with a window of 65535 bytes; it grows by two segments for each one
 * that comes in order, as Linux's does.
 * Left out: SACK, urgent data.
 */
#include <string.h>

#include "net/tcp_internal.h"

uint32_t xe_sock_readable(const struct xe_sock *s)
{
	return s->rcv_nxt - s->rcv_read - (s->fin_rcvd ? 1 : 0);
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t best_edge(const struct xe_tcp *t, const struct xe_sock *s)
{
	uint32_t buf = t->cfg.rcv_buf, keep = s->rcv_scale ? buf / 16 : 0;
	uint32_t edge = s->rcv_read + buf - keep;
	uint32_t most = s->rcv_nxt + min32(65535u << s->rcv_scale, s->rcv_trust);

	return xe_seq_gt(edge, most) ? most : edge;
}

/* Smallest step of the right edge worth telling (RFC 9293 3.8.6.2.2). */
static uint32_t edge_step(const struct xe_tcp *t)
{
	return min32(t->cfg.mss, t->cfg.rcv_buf / 2);
}

uint16_t xe_sock_window(struct xe_tcp *t, struct xe_sock *s)
{
	uint32_t edge = best_edge(t, s), scale = s->rcv_scale, window, wire;

	if (xe_seq_diff(edge, s->rcv_adv) < (int32_t)edge_step(t))
		edge = s->rcv_adv;
	window = edge - s->rcv_nxt;
	wire = (window + (1u << scale) - 1) >> scale;
	if (xe_seq_gt(s->rcv_nxt + (wire << scale), s->rcv_read + t->cfg.rcv_buf))
		wire = window >> scale;
	wire = min32(wire, 65535);
	if (xe_seq_gt(s->rcv_nxt + (wire << scale), s->rcv_adv))
		s->rcv_adv = s->rcv_nxt + (wire << scale);
	s->last_ack = s->rcv_nxt;
	return (uint16_t)wire;
}

bool xe_sock_window_opened(const struct xe_tcp *t, const struct xe_sock *s)
{
	int32_t gain = xe_seq_diff(best_edge(t, s), s->rcv_adv);

	if (s->fin_rcvd || gain < (int32_t)edge_step(t))
		return false;
	return gain >= (int32_t)(t->cfg.rcv_buf / 4) || s->rcv_adv - s->rcv_nxt < 2u * t->cfg.mss;
}

static void store(struct xe_tcp *t, struct xe_sock *s, uint32_t from, uint32_t to,
		  const uint8_t *src)
{
	xe_assert(to - s->rcv_read <= t->cfg.rcv_buf);
	xe_ring_put(xe_sock_rcv_ring(t, s), t->cfg.rcv_buf, from, src, to - from);
}

/* Stores what is missing of [from, to), and enters it into the ranges. */
static bool insert_range(struct xe_tcp *t, struct xe_sock *s, uint32_t from, uint32_t to,
			 const uint8_t *src)
{
	uint32_t i = 0, j, at = from;
	struct xe_range merged = {from, to};

	while (i < s->nranges && xe_seq_lt(s->ranges[i].to, from))
		i++;
	for (j = i; j < s->nranges && xe_seq_le(s->ranges[j].from, to); j++) {
		const struct xe_range *r = &s->ranges[j];

		if (xe_seq_lt(at, r->from))
			store(t, s, at, r->from, src + (at - from));
		if (xe_seq_lt(at, r->to))
			at = r->to;
		if (xe_seq_lt(r->from, merged.from))
			merged.from = r->from;
		if (xe_seq_gt(r->to, merged.to))
			merged.to = r->to;
	}
	if (i == j && s->nranges == XE_TCP_RANGES)
		return false;
	if (xe_seq_lt(at, to))
		store(t, s, at, to, src + (at - from));
	memmove(&s->ranges[i + 1], &s->ranges[j], (s->nranges - j) * sizeof(merged));
	s->ranges[i] = merged;
	s->nranges = s->nranges - (j - i) + 1;
	return true;
}

/* Takes [from, to) at or after rcv_nxt. */
static void take_bytes(struct xe_tcp *t, struct xe_sock *s, uint32_t from, uint32_t to,
		       const uint8_t *src)
{
	if (from == s->rcv_nxt && (s->nranges == 0 || xe_seq_lt(to, s->ranges[0].from))) {
		store(t, s, from, to, src);
		s->rcv_nxt = to;
		if (s->rcv_trust < t->cfg.rcv_buf)
			s->rcv_trust += 2 * s->rcv_mss;
		return;
	}
	if (from != s->rcv_nxt)
		t->count.out_of_order++;
	if (!insert_range(t, s, from, to, src) || s->ranges[0].from != s->rcv_nxt)
		return;
	s->rcv_nxt = s->ranges[0].to;
	s->nranges--;
	memmove(&s->ranges[0], &s->ranges[1], s->nranges * sizeof(s->ranges[0]));
}

static void note_fin(struct xe_sock *s, uint32_t at)
{
	if (s->fin_seen || xe_seq_lt(at, s->rcv_nxt) || xe_seq_ge(at, s->rcv_adv))
		return;
	if (s->nranges > 0 && xe_seq_gt(s->ranges[s->nranges - 1].to, at))
		return;
	s->fin_seen = true;
	s->fin_seq = at;
}

static void take_fin(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (!s->fin_seen || s->fin_rcvd || s->rcv_nxt != s->fin_seq)
		return;
	s->rcv_nxt++;
	s->fin_rcvd = true;
	s->ack_now = true;
	if (s->state == XE_TCP_ESTABLISHED)
		s->state = XE_TCP_CLOSE_WAIT;
	else if (s->state == XE_TCP_FIN_WAIT_1)
		s->state = XE_TCP_CLOSING;
	else
		xe_sock_time_wait(t, s, now);
}

static void acknowledge(struct xe_tcp *t, struct xe_sock *s, bool at_once, xe_ns now)
{
	if (at_once || s->rcv_nxt - s->last_ack >= 2 * s->rcv_mss)
		s->ack_now = true;
	else if (s->delack_at == XE_NEVER)
		xe_timer_delack(t, s, now + XE_TCP_DELACK);
}

static bool receives(const struct xe_sock *s)
{
	return s->state == XE_TCP_ESTABLISHED || s->state == XE_TCP_FIN_WAIT_1 ||
	       s->state == XE_TCP_FIN_WAIT_2;
}

void xe_sock_data(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	uint32_t seq = p->seg.seq + (p->seg.flags & XE_SYN ? 1 : 0);
	uint32_t end = seq + p->payload_len, from = seq, to = end;
	bool fin = p->seg.flags & XE_FIN, odd = s->nranges > 0 || fin;

	if (p->payload_len == 0 && !fin)
		return;
	if (!receives(s)) {
		s->ack_now = true;
		if (s->state == XE_TCP_TIME_WAIT)
			xe_sock_time_wait(t, s, now);
		return;
	}
	if (!s->user && s->parent == XE_NIL && xe_seq_gt(end, s->rcv_nxt)) {
		xe_sock_send_rst(t, s, now); /* nobody will read it */
		xe_sock_finish(t, s, 0);
		return;
	}
	if (p->payload_len > s->rcv_mss)
		s->rcv_mss = p->payload_len;
	if (fin)
		note_fin(s, end);
	if (xe_seq_lt(from, s->rcv_nxt))
		from = s->rcv_nxt;
	if (xe_seq_gt(to, s->rcv_adv))
		to = s->rcv_adv;
	if (s->fin_seen && xe_seq_gt(to, s->fin_seq))
		to = s->fin_seq;
	odd = odd || from != s->rcv_nxt || to != end || xe_seq_ge(from, to);
	if (xe_seq_lt(from, to))
		take_bytes(t, s, from, to, p->data + p->payload + (from - seq));
	acknowledge(t, s, odd, now);
	take_fin(t, s, now);
}
