/* Segments going out: data, FIN, SYN, pure ACKs, probes, resets.
 *
 * Invariants: snd_una <= snd_nxt <= snd_max; nothing beyond what the peer's
 * window allows but probes and retransmissions of the first segment; when
 * something is outstanding a retransmission timer runs, and when something
 * waits with nothing outstanding, the persist timer.
 * A socket is on the `out` list while it may have something to send; it leaves
 * the list when it turns out to have nothing.
 * Left out: Nagle (off), pacing, PSH other than at the end of what is queued.
 */
#include "net/tcp_internal.h"

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void queue_reply(struct xe_tcp *t, const struct xe_segment *seg)
{
	if (t->replies_head - t->replies_tail > t->replies_mask)
		return;
	t->replies[t->replies_head++ & t->replies_mask] = *seg;
	if (seg->flags & XE_RST)
		t->count.resets_sent++;
}

void xe_reply_rst(struct xe_tcp *t, const struct xe_packet *p)
{
	struct xe_segment r = {
		.saddr = p->seg.daddr,
		.daddr = p->seg.saddr,
		.sport = p->seg.dport,
		.dport = p->seg.sport,
		.flags = XE_RST,
	};

	if (p->seg.flags & XE_RST)
		return;
	if (p->seg.flags & XE_ACK) {
		r.seq = p->seg.ack;
	} else {
		r.flags |= XE_ACK;
		r.ack = p->seg.seq + p->payload_len + (p->seg.flags & XE_SYN ? 1 : 0) +
			(p->seg.flags & XE_FIN ? 1 : 0);
	}
	queue_reply(t, &r);
}

/* Sequence number of a segment without data: as far as was sent, but inside the
 * peer's window (a probe goes beyond it). */
static uint32_t bare_seq(const struct xe_sock *s)
{
	uint32_t edge = s->snd_una + s->snd_wnd, seq = s->snd_max;

	if (xe_seq_gt(seq, edge))
		seq = edge;
	return xe_seq_gt(s->iss + 1, seq) && s->snd_una == s->iss ? s->iss + 1 : seq;
}

static void fill(const struct xe_sock *s, struct xe_segment *seg, uint8_t flags, uint32_t seq,
		 xe_ns now)
{
	*seg = (struct xe_segment){
		.saddr = s->laddr,
		.daddr = s->raddr,
		.sport = s->lport,
		.dport = s->rport,
		.seq = seq,
		.flags = flags,
		.ack = flags & XE_ACK ? s->rcv_nxt : 0,
		.opt = {.has_ts = s->ts_on,
			.tsval = xe_sock_ts(s, now),
			.tsecr = flags & XE_ACK ? s->ts_recent : 0},
	};
}

void xe_sock_send_rst(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	struct xe_segment seg;

	if (s->state == XE_TCP_SYN_SENT || s->state == XE_TCP_CLOSED)
		return;
	fill(s, &seg, XE_RST | XE_ACK, bare_seq(s), now);
	queue_reply(t, &seg);
}

uint32_t xe_sock_fin_end(const struct xe_sock *s)
{
	return s->snd_end + (s->fin_queued ? 1 : 0);
}

static void ack_is_sent(struct xe_tcp *t, struct xe_sock *s)
{
	s->ack_now = false;
	if (s->delack_at != XE_NEVER)
		xe_timer_delack(t, s, XE_NEVER);
}

static size_t emit(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, uint32_t seq,
		   uint32_t len, uint8_t flags, xe_ns now)
{
	struct xe_segment seg;
	size_t n;

	if (len > 0 && seq + len == s->snd_end)
		flags |= XE_PSH;
	fill(s, &seg, flags | XE_ACK, seq, now);
	seg.window = xe_sock_window(t, s);
	if (len > 0)
		xe_ring_get(xe_sock_snd_ring(t, s), t->cfg.snd_buf, seq,
			    buf + xe_wire_header_len(&seg), len);
	n = xe_wire_build(buf, cap, &seg, NULL, len);
	xe_assert(n > 0);
	ack_is_sent(t, s);
	return n;
}

static size_t emit_syn(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, xe_ns now)
{
	bool answer = s->state == XE_TCP_SYN_RCVD;
	struct xe_segment seg;

	fill(s, &seg, answer ? XE_SYN | XE_ACK : XE_SYN, s->iss, now);
	seg.window = (uint16_t)min32(
		t->cfg.rcv_buf - (s->ws_on && s->rcv_scale ? t->cfg.rcv_buf / 16 : 0), 65535);
	seg.opt.mss = t->cfg.mss;
	seg.opt.has_wscale = s->ws_on;
	seg.opt.wscale = s->rcv_scale;
	if (s->snd_max == s->iss) {
		s->snd_nxt = s->snd_max = s->iss + 1;
		xe_cc_sent(s, now);
	} else {
		s->retransmits++;
		t->count.retransmits++;
		s->rtt_active = false;
	}
	if (s->timer != XE_TM_REXMIT)
		xe_timer_set(t, s, XE_TM_REXMIT, now + xe_cc_rto(s));
	s->syn_now = false;
	if (answer)
		ack_is_sent(t, s);
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

/* Data and FIN at `seq`; does the bookkeeping of what was sent. */
static size_t emit_data(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, uint32_t seq,
			uint32_t len, bool fin, xe_ns now)
{
	uint32_t end = seq + len + fin;

	if (xe_seq_lt(seq, s->snd_max)) {
		s->retransmits++;
		t->count.retransmits++;
		if (s->rtt_active && xe_seq_lt(seq, s->rtt_seq))
			s->rtt_active = false;
	}
	if (xe_seq_gt(end, s->snd_max)) {
		s->snd_max = end;
		xe_cc_sent(s, now);
	}
	s->last_send = now;
	return emit(t, s, buf, cap, seq, len, fin ? XE_FIN : 0, now);
}

/* Length to send at snd_nxt now, and whether FIN goes with it. */
static uint32_t sendable(struct xe_sock *s, bool *fin)
{
	uint32_t in_flight = s->snd_nxt - s->snd_una, cwnd = xe_cc_window(s);
	uint32_t window = min32(cwnd, s->snd_wnd), usable, avail, len;

	*fin = false;
	if (s->snd_nxt == xe_sock_fin_end(s))
		return 0;
	usable = window > in_flight ? window - in_flight : 0;
	avail = s->snd_end - s->snd_nxt;
	len = min32(min32(avail, usable), s->mss);
	if (cwnd <= s->snd_wnd && usable < min32(avail + 1, s->mss))
		s->cwnd_limited = true;
	if (len < s->mss && len < avail && (cwnd < s->snd_wnd || len < s->max_wnd / 2))
		return 0;
	*fin = s->fin_queued && len == avail && usable > len;
	return len;
}

static size_t send_new(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, xe_ns now)
{
	bool fin, idle = s->snd_nxt == s->snd_una;
	uint32_t len, seq = s->snd_nxt;

	if (idle && s->snd_max == s->snd_una && now - s->last_send > s->rto)
		s->cwnd = min32(s->cwnd, 10u * s->mss); /* RFC 5681 4.1 */
	if (idle)
		s->cwnd_limited = false;
	len = sendable(s, &fin);
	if (len == 0 && !fin) {
		if (idle && seq != xe_sock_fin_end(s) && s->timer != XE_TM_PERSIST) {
			s->backoff = s->retries = 0;
			xe_timer_set(t, s, XE_TM_PERSIST, now + xe_cc_rto(s));
		}
		return 0;
	}
	s->snd_nxt = seq + len + fin;
	if (s->timer != XE_TM_REXMIT) {
		if (s->timer == XE_TM_PERSIST)
			s->backoff = s->retries = 0;
		xe_timer_set(t, s, XE_TM_REXMIT, now + xe_cc_rto(s));
	}
	return emit_data(t, s, buf, cap, seq, len, fin, now);
}

/* The first unacknowledged segment again (fast retransmit), or a probe of a
 * window that is closed or too small: `most` bytes at snd_una. */
static size_t send_first(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap,
			 uint32_t end, uint32_t most, xe_ns now)
{
	uint32_t avail = min32(end - s->snd_una, s->snd_end - s->snd_una);
	uint32_t len = min32(avail, most);
	bool fin = s->fin_queued && s->snd_una + len == s->snd_end &&
		   (len == 0 || xe_seq_gt(end, s->snd_end));

	if (s->snd_una == end || (len == 0 && !fin))
		return 0;
	return emit_data(t, s, buf, cap, s->snd_una, len, fin, now);
}

static size_t send_special(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, xe_ns now)
{
	size_t n = 0;

	if (s->rexmit_now) {
		s->rexmit_now = false;
		n = send_first(t, s, buf, cap, s->snd_max, s->mss, now);
	} else if (s->probe_now) {
		s->probe_now = false;
		n = send_first(t, s, buf, cap, xe_sock_fin_end(s),
			       min32(s->snd_wnd ? s->snd_wnd : 1, s->mss), now);
	}
	return n;
}

static size_t sock_output(struct xe_tcp *t, struct xe_sock *s, uint8_t *buf, size_t cap, xe_ns now)
{
	size_t n = 0;

	if (s->syn_now)
		return emit_syn(t, s, buf, cap, now);
	if (s->state == XE_TCP_SYN_SENT)
		return 0;
	if (s->state != XE_TCP_SYN_RCVD && s->state != XE_TCP_TIME_WAIT) {
		n = send_special(t, s, buf, cap, now);
		if (n == 0)
			n = send_new(t, s, buf, cap, now);
	}
	if (n == 0 && s->ack_now)
		n = emit(t, s, buf, cap, bare_seq(s), 0, 0, now);
	return n;
}

static size_t dispatch_reply(struct xe_tcp *t, uint8_t *buf, size_t cap)
{
	const struct xe_segment *seg = &t->replies[t->replies_tail & t->replies_mask];

	if (t->replies_tail == t->replies_head)
		return 0;
	t->replies_tail++;
	return xe_wire_build(buf, cap, seg, NULL, 0);
}

size_t xe_tcp_dispatch(struct xe_tcp *t, uint8_t *buf, size_t cap, xe_ns now)
{
	size_t n;

	xe_assert(cap >= (size_t)t->cfg.mss + XE_TCP_HEADERS);
	n = dispatch_reply(t, buf, cap);
	while (n == 0 && t->out.head != XE_NIL) {
		struct xe_sock *s = &t->socks[t->out.head];

		n = sock_output(t, s, buf, cap, now);
		xe_list_remove(t, &t->out, s, XE_L_OUT);
		if (n > 0)
			xe_list_push(t, &t->out, s, XE_L_OUT);
	}
	if (n > 0)
		t->count.tx++;
	return n;
}
