/* Segment arrival (RFC 9293 3.10.7, RFC 5961, RFC 7323).
 *
 * Invariants: a segment changes a synchronised connection only after PAWS, the
 * window check and the check of its ACK; what fails is counted and dropped.
 * A socket may be gone after each step that can end the connection; its state
 * is XE_TCP_CLOSED then.
 * One leniency, as Linux: an empty segment exactly at the right edge of the
 * window is looked at for its ACK (a peer that filled the window and lost a
 * segment sends nothing else).
 * Left out: urgent pointer, ECN, data on SYN segments of LISTEN.
 */
#include <errno.h>

#include "net/tcp_internal.h"

static uint32_t seg_len(const struct xe_packet *p)
{
	return p->payload_len + (p->seg.flags & XE_SYN ? 1u : 0u) +
	       (p->seg.flags & XE_FIN ? 1u : 0u);
}

/* An ACK that the peer's segment does not deserve but may help it; limited. */
static void challenge(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (now - s->challenge_at >= XE_TCP_CHALLENGE_TIME) {
		s->challenge_at = now;
		s->challenges = 0;
	}
	if (s->challenges == XE_TCP_CHALLENGES)
		return;
	s->challenges++;
	t->count.challenge_acks++;
	s->ack_now = true;
}

void xe_sock_take_syn(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	const struct xe_tcp_options *o = &p->seg.opt;
	uint32_t window;

	s->irs = p->seg.seq;
	s->rcv_nxt = s->rcv_read = s->last_ack = s->irs + 1;
	s->peer_mss = o->mss ? o->mss : 536;
	s->ws_on = s->ws_on && o->has_wscale;
	if (s->ws_on)
		s->snd_scale = o->wscale;
	window = t->cfg.rcv_buf - (s->ws_on && s->rcv_scale ? t->cfg.rcv_buf / 16 : 0);
	if (!s->ws_on)
		s->rcv_scale = 0;
	s->rcv_adv = s->rcv_nxt + (window < 65535 ? window : 65535);
	s->ts_on = s->ts_on && o->has_ts;
	s->ts_recent = s->ts_on ? o->tsval : 0;
	s->ts_recent_at = now;
	s->snd_wnd = s->max_wnd = p->seg.window;
	s->snd_wl1 = p->seg.seq;
	s->snd_wl2 = s->iss;
	xe_cc_init(t, s);
}

void xe_sock_time_wait(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	s->state = XE_TCP_TIME_WAIT;
	xe_timer_set(t, s, XE_TM_TIMEWAIT, now + 2 * t->cfg.msl);
	xe_list_remove(t, &t->timewait, s, XE_L_TIMEWAIT);
	if (!s->user && s->parent == XE_NIL)
		xe_list_push(t, &t->timewait, s, XE_L_TIMEWAIT);
}

static void syn_sent_input(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p,
			   xe_ns now)
{
	bool ack = p->seg.flags & XE_ACK;

	if (ack && (xe_seq_le(p->seg.ack, s->iss) || xe_seq_gt(p->seg.ack, s->snd_max))) {
		t->count.unacceptable++;
		xe_reply_rst(t, p);
		return;
	}
	if (p->seg.flags & XE_RST) {
		if (ack)
			xe_sock_finish(t, s, ECONNREFUSED);
		return;
	}
	if (!(p->seg.flags & XE_SYN)) {
		t->count.unacceptable++;
		return;
	}
	xe_sock_take_syn(t, s, p, now);
	if (!ack) {
		s->state = XE_TCP_SYN_RCVD; /* simultaneous open */
		s->syn_now = true;
		return;
	}
	xe_cc_ack(t, s, p->seg.ack, p, now);
	s->snd_una = s->snd_wl2 = p->seg.ack;
	s->state = XE_TCP_ESTABLISHED;
	s->was_connected = true;
	s->syn_now = false;
	s->ack_now = true;
	xe_timer_set(t, s, XE_TM_NONE, XE_NEVER);
	xe_sock_data(t, s, p, now);
}

static bool paws_rejects(const struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	return s->ts_on && p->seg.opt.has_ts && !(p->seg.flags & XE_RST) &&
	       xe_seq_lt(p->seg.opt.tsval, s->ts_recent) &&
	       now - s->ts_recent_at < XE_TCP_PAWS_IDLE;
}

/* RFC 9293 3.10.7.4, against the window that was advertised. */
static bool acceptable(const struct xe_sock *s, const struct xe_packet *p)
{
	uint32_t window = s->rcv_adv - s->rcv_nxt, len = seg_len(p);
	uint32_t first = p->seg.seq - s->rcv_nxt;

	if (first == 0) /* with a closed window: for its ACK or RST, data is trimmed */
		return true;
	if (first < window)
		return true;
	if (len == 0)
		return first == window && !(p->seg.flags & XE_RST);
	return first + len - 1 < window && xe_seq_lt(p->seg.seq, s->rcv_nxt);
}

/* Both ends probed a closed window at once, and both probes were taken: each end's ACKs lie one
 * before what the other expects, and nothing would go on. Such an ACK is looked at if it frees
 * something. */
static bool answers_probe(const struct xe_sock *s, const struct xe_packet *p)
{
	return (p->seg.flags & (XE_SYN | XE_FIN | XE_RST | XE_ACK)) == XE_ACK &&
	       p->payload_len == 0 && p->seg.seq + 1 == s->rcv_nxt &&
	       (!s->ts_on || p->seg.opt.has_ts) && s->state >= XE_TCP_ESTABLISHED &&
	       xe_seq_gt(p->seg.ack, s->snd_una) && xe_seq_le(p->seg.ack, s->snd_max);
}

static void reset(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	if (p->seg.seq != s->rcv_nxt)
		challenge(t, s, now);
	else if (s->state == XE_TCP_SYN_RCVD)
		xe_sock_finish(t, s, ECONNREFUSED);
	else if (s->state == XE_TCP_TIME_WAIT)
		xe_sock_finish(t, s, 0);
	else
		xe_sock_finish(t, s, ECONNRESET);
}

/* Whether the segment may go on to its ACK. */
static bool check_segment(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	uint8_t flags = p->seg.flags;

	if (s->state == XE_TCP_SYN_RCVD && (flags & (XE_SYN | XE_ACK | XE_RST)) == XE_SYN &&
	    p->seg.seq == s->irs) {
		s->syn_now = true;
		return false;
	}
	if (paws_rejects(s, p, now)) {
		t->count.paws++;
		if (seg_len(p) > 0)
			s->ack_now = true;
		else
			challenge(t, s, now);
		return false;
	}
	if ((flags & (XE_SYN | XE_RST)) == XE_SYN) {
		challenge(t, s, now);
		return false;
	}
	if (!acceptable(s, p)) {
		t->count.unacceptable++;
		if (flags & XE_RST)
			return false;
		if (answers_probe(s, p))
			return true;
		if (seg_len(p) > 0)
			s->ack_now = true;
		else
			challenge(t, s, now);
		if (s->state == XE_TCP_TIME_WAIT && (flags & XE_FIN))
			xe_sock_time_wait(t, s, now);
		return false;
	}
	if (flags & XE_RST) {
		reset(t, s, p, now);
		return false;
	}
	if (!(flags & XE_ACK) || (s->ts_on && !p->seg.opt.has_ts)) {
		t->count.unacceptable++;
		return false;
	}
	return true;
}

static void take_timestamp(struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	if (!s->ts_on || xe_seq_gt(p->seg.seq, s->last_ack))
		return;
	if (xe_seq_lt(p->seg.opt.tsval, s->ts_recent) && now - s->ts_recent_at < XE_TCP_PAWS_IDLE)
		return;
	s->ts_recent = p->seg.opt.tsval;
	s->ts_recent_at = now;
}

static bool syn_rcvd_ack(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p)
{
	if (xe_seq_le(p->seg.ack, s->snd_una) || xe_seq_gt(p->seg.ack, s->snd_max)) {
		t->count.unacceptable++;
		xe_reply_rst(t, p);
		return false;
	}
	xe_listener_established(t, s);
	s->state = XE_TCP_ESTABLISHED;
	s->was_connected = true;
	s->syn_now = false;
	s->snd_wnd = (uint32_t)p->seg.window << s->snd_scale;
	s->max_wnd = s->snd_wnd;
	s->snd_wl1 = p->seg.seq;
	s->snd_wl2 = p->seg.ack;
	return true;
}

static void update_window(struct xe_sock *s, const struct xe_packet *p)
{
	uint32_t window = (uint32_t)p->seg.window << s->snd_scale;

	if (xe_seq_gt(s->snd_wl1, p->seg.seq) ||
	    (s->snd_wl1 == p->seg.seq && xe_seq_gt(s->snd_wl2, p->seg.ack)))
		return;
	s->snd_wnd = window;
	s->snd_wl1 = p->seg.seq;
	s->snd_wl2 = p->seg.ack;
	if (window > s->max_wnd)
		s->max_wnd = window;
}

static void advance(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	uint32_t ack = p->seg.ack;
	bool partial = s->in_recovery && xe_seq_lt(ack, s->recover), restart = true;

	xe_cc_ack(t, s, ack, p, now);
	s->snd_una = ack;
	if (xe_seq_lt(s->snd_nxt, ack))
		s->snd_nxt = ack;
	if (partial) { /* RFC 6582: only the first partial ACK restarts the timer */
		restart = s->first_partial;
		s->first_partial = false;
	}
	if (s->snd_una == s->snd_max)
		xe_timer_set(t, s, XE_TM_NONE, XE_NEVER);
	else if (restart || s->timer != XE_TM_REXMIT)
		xe_timer_set(t, s, XE_TM_REXMIT, now + xe_cc_rto(s));
}

static void fin_acked(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (s->state == XE_TCP_FIN_WAIT_1) {
		s->state = XE_TCP_FIN_WAIT_2;
		if (!s->user)
			xe_timer_set(t, s, XE_TM_FIN2, now + 2 * t->cfg.msl);
	} else if (s->state == XE_TCP_CLOSING) {
		xe_sock_time_wait(t, s, now);
	} else if (s->state == XE_TCP_LAST_ACK) {
		xe_sock_finish(t, s, 0);
	}
}

/* Whether the segment's text may be looked at. */
static bool take_ack(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	uint32_t ack = p->seg.ack, window = (uint32_t)p->seg.window << s->snd_scale;

	if (s->state == XE_TCP_SYN_RCVD && !syn_rcvd_ack(t, s, p))
		return false;
	if (xe_seq_gt(ack, s->snd_max) || xe_seq_lt(ack, s->snd_una - s->max_wnd)) {
		t->count.unacceptable++;
		challenge(t, s, now); /* RFC 5961 5.2 */
		return false;
	}
	take_timestamp(s, p, now);
	if (s->timer == XE_TM_PERSIST && s->user)
		s->retries = 0;
	if (xe_seq_gt(ack, s->snd_una))
		advance(t, s, p, now);
	else if (ack == s->snd_una && seg_len(p) == 0 && window == s->snd_wnd &&
		 s->snd_max != s->snd_una && s->timer == XE_TM_REXMIT)
		xe_cc_dup_ack(t, s);
	if (xe_seq_ge(ack, s->snd_una))
		update_window(s, p);
	if (s->fin_queued && s->snd_una == s->snd_end + 1)
		fin_acked(t, s, now);
	return s->state != XE_TCP_CLOSED;
}

static void segment_input(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p, xe_ns now)
{
	if (s->held && s->state == XE_TCP_SYN_RCVD)
		xe_request_again(t, s, p);
	else if (s->state == XE_TCP_SYN_SENT)
		syn_sent_input(t, s, p, now);
	else if (check_segment(t, s, p, now) && take_ack(t, s, p, now))
		xe_sock_data(t, s, p, now);
}

/* RFC 9293 3.10.7.4, RFC 6191: may this SYN begin a new connection? */
static bool reuses_time_wait(const struct xe_sock *s, const struct xe_packet *p)
{
	if (s->state != XE_TCP_TIME_WAIT || (p->seg.flags & (XE_SYN | XE_ACK | XE_RST)) != XE_SYN)
		return false;
	if (s->ts_on && p->seg.opt.has_ts && p->seg.opt.tsval != s->ts_recent)
		return xe_seq_gt(p->seg.opt.tsval, s->ts_recent);
	return xe_seq_gt(p->seg.seq, s->rcv_nxt);
}

static void no_connection(struct xe_tcp *t, const struct xe_packet *p, const uint32_t *isn,
			  xe_ns now)
{
	struct xe_sock *l = NULL;

	if (p->seg.daddr == t->addr)
		l = xe_hash_find(t, 0, p->seg.dport, 0, 0);
	if (l) {
		xe_listener_input(t, l, p, isn, now);
		return;
	}
	if (t->holds && (p->seg.flags & (XE_SYN | XE_ACK | XE_FIN | XE_RST)) == XE_SYN) {
		xe_request_input(t, p, isn, now);
		return;
	}
	if (p->seg.daddr == t->addr || t->holds)
		xe_reply_rst(t, p);
	t->count.no_socket++;
}

void xe_tcp_input(struct xe_tcp *t, uint8_t *packet, size_t len, bool verified, xe_ns now)
{
	struct xe_packet p;
	struct xe_sock *s;
	uint32_t isn;

	t->count.rx++;
	if (xe_wire_parse(&p, packet, len, !verified) < 0) {
		t->count.bad++;
		return;
	}
	s = xe_hash_find(t, p.seg.daddr, p.seg.dport, p.seg.saddr, p.seg.sport);
	if (!s || s->state == XE_TCP_LISTEN) {
		no_connection(t, &p, NULL, now);
		return;
	}
	if (reuses_time_wait(s, &p)) {
		isn = s->snd_max + 65536 + 2;
		xe_sock_finish(t, s, 0);
		no_connection(t, &p, &isn, now);
		return;
	}
	segment_input(t, s, &p, now);
	if (s->state == XE_TCP_CLOSED)
		return;
	xe_sock_want_output(t, s);
	xe_sock_ready(t, s);
}
