/* South-side wrapper, guest to network: record what was promised, hold back what the
 * service did not ask for, translate the numbers of a TCP that took over.
 */
#include <errno.h>

#include "net/ssw_internal.h"

void xe_ssw_stamp(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	uint32_t tsval = p->seg.opt.tsval + (c->recovered ? c->ts_delta : 0);

	if (!(c->options & XE_LOG_OPT_TS) || !p->seg.opt.has_ts)
		return;
	if (xe_seq_gt(tsval, c->own_tsval)) {
		c->own_tsval = tsval;
		xe_conn_slot(s, c)->own_tsval = tsval;
	}
	if (c->recovered)
		xe_wire_set_tsval(p, c->own_tsval);
}

/* The entry of the connection that TCP's answer begins: that of an earlier one of this 4-tuple, which
 * is over for TCP, but whose session may need it. */
static struct xe_conn *begin_anew(struct xe_ssw *s, struct xe_conn *old, xe_ns now)
{
	struct xe_tuple t = {old->local_addr, old->peer_addr, old->local_port, old->peer_port};
	const struct xe_conn *root = xe_conn_open(old) ? xe_ssw_root(s, old) : NULL;
	struct xe_conn *c;

	if (!root || old->unprotected)
		return old;
	if (!xe_ssw_others(s, root, old)) {
		xe_ssw_leave(s, old, now);
		return old;
	}
	old->has_syn = false;
	xe_ssw_end(s, old, !xe_ssw_over(old), now);
	c = xe_ssw_alloc(s, &t, old->wr, now);
	if (!c)
		return NULL;
	c->syn_seq = old->syn_seq;
	c->syn_opt = old->syn_opt;
	c->syn_win = old->syn_win;
	return c;
}

static enum xe_verdict open_anew(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				 xe_ns now)
{
	c = begin_anew(s, c, now);
	if (!c) {
		xe_ssw_notify(s, XE_SSW_UNPROTECTED, XE_LOG_NONE, ENOSPC);
		return XE_PASS;
	}
	xe_ssw_open(s, c, &p->seg, now);
	xe_ssw_stamp(s, c, p);
	c->has_syn = false;
	return XE_PASS;
}

static enum xe_verdict send_synack(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				   xe_ns now)
{
	xe_wire_strip_syn_options(p, false);
	if (c->attach == XE_FAKING)
		return xe_ssw_reestablished(s, c, p, now);
	if (c->has_syn && p->seg.ack == c->syn_seq + 1) {
		bool again = c->state == XE_CONN_SYN_RCVD && !c->recovered &&
			     c->own_isn == p->seg.seq && c->peer_isn == c->syn_seq;

		if (!again)
			return open_anew(s, c, p, now);
		xe_ssw_stamp(s, c, p);
		c->has_syn = false;
		return XE_PASS;
	}
	if (c->state == XE_CONN_SYN_SEEN) /* to another SYN: the peer's own comes again */
		return XE_DROP;
	if (!c->recovered || p->seg.seq != c->tcp_isn) {
		if (!c->recovered && p->seg.seq == c->own_isn)
			xe_ssw_stamp(s, c, p);
		return XE_PASS;
	}
	if (c->state != XE_CONN_SYN_RCVD) { /* our third step was lost */
		xe_ssw_due(s, c, XE_DUE_ACK);
		return XE_DROP;
	}
	xe_ssw_restore_synack(s, c, p);
	return XE_PASS;
}

/* Nobody took it from the listener, and that was closed (NSW says so before TCP knows). */
static bool never_taken(const struct xe_ssw *s, const struct xe_conn *c)
{
	return c->role == XE_LOG_CLIENT_SIDE && !s->registered[c->local_port] &&
	       XE_LOG_LOAD(*xe_log_port(&s->log, c->local_port)) == 0 &&
	       xe_conn_slot(s, c)->nsw_incarnation != c->incarnation;
}

static enum xe_verdict send_reset(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				  xe_ns now)
{
	uint64_t at;

	if (c->state == XE_CONN_SYN_SEEN) /* refused: no listener, or none yet */
		return s->recovering || s->home ||
				       XE_LOG_LOAD(*xe_log_port(&s->log, c->local_port)) != 0
			       ? XE_DROP
			       : XE_PASS;
	if (c->state == XE_CONN_SYN_SENT) /* to a stray: the peer's old connection, perhaps */
		return s->home ? XE_DROP : XE_PASS;
	if (!c->unprotected && xe_ssw_close_asked(s, c, XE_LOG_DIVERGED, &at)) {
		xe_ssw_diverged(s, c, c->tcp_base, now);
		return XE_DROP;
	}
	if (s->home && xe_ssw_over(c)) /* TCP is through with it: to a stray */
		return XE_DROP;
	if (s->home) { /* the old service had not done that */
		xe_ssw_diverged(s, c, c->sent_max, now);
		return XE_DROP;
	}
	if (!c->unprotected && !xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at) &&
	    !never_taken(s, c)) {
		s->count.rsts_held++;
		xe_ssw_notify(s, XE_SSW_HINT, xe_conn_index(s, c), 0);
		return XE_DROP;
	}
	if (c->recovered)
		xe_wire_set_seq(p, p->seg.seq + c->delta);
	xe_ssw_stamp(s, c, p);
	if (xe_conn_open(c))
		xe_ssw_end(s, c, true, now);
	return XE_PASS;
}

/* A socket that TCP still has of a connection that is over for the peer. */
static enum xe_verdict send_buried(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p)
{
	bool stray = (p->seg.flags & XE_RST) && !c->has_syn; /* it answers one that comes late */

	if (!c->refused && !c->recovered)
		return stray ? XE_DROP : XE_PASS;
	if (!c->refused && !c->has_syn)
		return XE_DROP;
	if (p->seg.flags & XE_RST)
		return XE_DROP;
	c->kill_seq = p->seg.ack; /* our reset, or a new SYN, did not fit: this is the number */
	xe_ssw_due(s, c, XE_DUE_KILL);
	return XE_DROP;
}

static bool fin_allowed(struct xe_ssw *s, struct xe_conn *c, uint64_t at, xe_ns now)
{
	uint64_t asked;

	if (c->unprotected)
		return true;
	if (!xe_ssw_close_asked(s, c, XE_LOG_CLOSED, &asked) || asked != at) {
		s->count.fins_held++;
		xe_ssw_notify(s, XE_SSW_HINT, xe_conn_index(s, c), at);
		return false;
	}
	if (at < c->sent_max || ((c->fins & XE_LOG_OWN_FIN) && at != c->own_fin_at)) {
		xe_ssw_diverged(s, c, at, now);
		return false;
	}
	return true;
}

static void note_sent(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
		      uint64_t offset)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint64_t end = offset + p->payload_len;

	if (p->payload_len && end > c->sent_max) {
		c->sent_max = end;
		XE_LOG_COMMIT(slot->sent_max, end);
	}
	if (p->seg.flags & XE_FIN) {
		c->own_fin_at = end;
		slot->own_fin_at = end;
		c->fins |= XE_LOG_OWN_FIN;
		slot->fins = c->fins;
	}
}

/* The peer may send as far as the log has room. What another TCP has acked stays acked: all of it
 * is logged. */
static void limit_window(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, uint64_t ack,
			 uint64_t right)
{
	uint64_t edge = xe_ssw_right_edge(s, c, right);
	bool behind = c->recovered && ack < c->ack_sent;

	c->squeezed = edge < right;
	if (behind) {
		ack = c->ack_sent;
		xe_wire_set_ack(p, c->peer_isn + 1 + (uint32_t)ack);
	}
	if (c->squeezed || behind)
		xe_wire_set_window(p, (uint16_t)(edge > ack ? (edge - ack) >> c->tcp_wscale : 0));
	if (edge > c->told_edge)
		c->told_edge = edge;
}

static bool note_ack_sent(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	uint64_t top = c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);
	int64_t ack = xe_conn_in_offset(c, p->seg.ack);
	uint64_t right;

	if (c->unprotected && ack > (int64_t)top)
		c->rcv_logged = top = (uint64_t)ack;
	if (ack < 0 || (uint64_t)ack > top) {
		s->count.acks_beyond_log++;
		return false;
	}
	right = (uint64_t)ack + ((uint64_t)p->seg.window << c->tcp_wscale);
	if (c->recovered) {
		c->tcp_ack = (uint64_t)ack > c->tcp_ack ? (uint64_t)ack : c->tcp_ack;
		c->tcp_right = right > c->tcp_right ? right : c->tcp_right;
	}
	if (right > c->right_edge)
		c->right_edge = right;
	limit_window(s, c, p, (uint64_t)ack, right);
	if ((uint64_t)ack > c->ack_sent) {
		c->ack_sent = (uint64_t)ack;
		XE_LOG_COMMIT(xe_conn_slot(s, c)->ack_sent, c->ack_sent);
	}
	return true;
}

static void translate(struct xe_conn *c, struct xe_packet *p)
{
	uint64_t visible_next = c->sent_max + ((c->fins & XE_LOG_OWN_FIN_ACKED) ? 1 : 0);
	bool bare = p->payload_len == 0 && !(p->seg.flags & (XE_FIN | XE_SYN | XE_RST));

	if (bare && c->tcp_sent < visible_next)
		xe_wire_set_seq(p, c->own_isn + 1 + (uint32_t)visible_next);
	else
		xe_wire_set_seq(p, p->seg.seq + c->delta);
	if (c->tcp_wscale != c->own_wscale) {
		uint32_t window = (uint32_t)p->seg.window << c->tcp_wscale >> c->own_wscale;

		xe_wire_set_window(p, window > 65535 ? 65535 : (uint16_t)window);
	}
}

/* Nothing leaves that could not be sent again, or that differs from what was sent before. */
static enum xe_verdict check_output(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
				    uint64_t start, xe_ns now)
{
	if (xe_ssw_output_check(s, c, p, start, now) == XE_DROP)
		return XE_DROP;
	if (s->home && (start + p->payload_len > c->sent_max ||
			((p->seg.flags & XE_FIN) && !(c->fins & XE_LOG_OWN_FIN)))) {
		xe_ssw_hold(s, p->data, p->len, XE_TO_NETWORK);
		return XE_DROP;
	}
	if (!p->payload_len || start + p->payload_len <= c->sent_max)
		return XE_PASS;
	if (start > c->sent_max) /* what is between did not pass: TCP sends it again */
		return XE_DROP;
	if (xe_ssw_output_keep(s, c, p, start)) {
		xe_ssw_starve(s, now);
		return XE_DROP;
	}
	return XE_PASS;
}

static enum xe_verdict send_segment(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				    xe_ns now)
{
	uint32_t seq = c->recovered ? p->seg.seq + c->delta : p->seg.seq;
	int64_t offset = xe_conn_out_offset(c, seq);
	uint64_t end;

	if (offset < 0 || c->state == XE_CONN_SYN_SENT)
		return XE_DROP;
	end = (uint64_t)offset + p->payload_len;
	if (p->payload_len && (c->fins & XE_LOG_OWN_FIN) && end > c->own_fin_at) {
		if (!c->unprotected) /* nothing follows a FIN */
			xe_ssw_diverged(s, c, c->own_fin_at, now);
		return XE_DROP;
	}
	if (!note_ack_sent(s, c, p)) /* first: TCP takes what it offers, even if this is held */
		return XE_DROP;
	if ((p->seg.flags & XE_FIN) && !fin_allowed(s, c, end, now))
		return XE_DROP;
	if (!c->unprotected && check_output(s, c, p, (uint64_t)offset, now) == XE_DROP)
		return XE_DROP;
	if (c->recovered) {
		uint64_t sent = end + ((p->seg.flags & XE_FIN) ? 1 : 0);

		c->tcp_sent = sent > c->tcp_sent ? sent : c->tcp_sent;
		if (s->first_byte && p->payload_len) {
			s->first_byte = false;
			xe_ssw_notify(s, XE_SSW_FIRST_BYTE, xe_conn_index(s, c), end);
		}
	}
	note_sent(s, c, p, (uint64_t)offset);
	xe_ssw_stamp(s, c, p);
	if (c->recovered && (p->seg.flags & XE_FIN) && (c->fins & XE_LOG_OWN_FIN_ACKED)) {
		xe_ssw_due(s, c, XE_DUE_FIN_ACK); /* the peer has it and may be gone */
		xe_ssw_check_closed(s, c, now);
		return XE_DROP;
	}
	if (c->recovered)
		translate(c, p);
	xe_ssw_check_closed(s, c, now);
	return XE_PASS;
}

/* ---- the service opens a connection ---- */

/* The entry of an earlier one, as far as it is in the way of this SYN. */
static enum xe_verdict make_way(struct xe_ssw *s, struct xe_conn **c, const struct xe_segment *syn,
				xe_ns now)
{
	struct xe_conn *old = *c;

	if (!old || old->state == XE_CONN_GHOST) {
		*c = NULL;
		return XE_PASS;
	}
	if (old->state == XE_CONN_TOMBSTONE && old->refused && old->tcp_isn == syn->seq) {
		xe_ssw_due(s, old, XE_DUE_REJECT);
		return XE_DROP;
	}
	if (xe_conn_open(old) && old->role == XE_LOG_CLIENT_SIDE) /* TCP has it */
		return XE_DROP;
	if (xe_conn_open(old) &&
	    (old->attach != XE_LIVE || syn->seq == (old->recovered ? old->tcp_isn : old->own_isn)))
		return XE_PASS;
	*c = NULL;
	if (s->home) /* nothing is final */
		return XE_PASS;
	if (xe_conn_open(old)) /* TCP has given it up without a word */
		xe_ssw_end(s, old, true, now);
	else
		xe_ssw_free(s, old);
	return XE_PASS;
}

static enum xe_verdict syn_again(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	if (c->state == XE_CONN_SYN_SENT) {
		xe_ssw_restore_syn(s, c, p);
		return XE_PASS;
	}
	if (!c->recovered) /* the peer's answer is on its way */
		return XE_PASS;
	xe_ssw_due(s, c, XE_DUE_SAA); /* our answer was lost */
	return XE_DROP;
}

enum wr_verdict ss_snd_syn(struct wr_packet *w)
{
	struct xe_ssw *s = w->ssw;
	struct xe_packet *p = w->packet;
	struct xe_conn *c = w->conn;
	struct xe_tuple t = {p->seg.saddr, p->seg.daddr, p->seg.sport, p->seg.dport};

	if (make_way(s, &c, &p->seg, w->now) == XE_DROP)
		return WR_DROP;
	xe_wire_strip_syn_options(p, false);
	if (c) {
		c->spoke_at = w->now;
		return (enum wr_verdict)(c->attach == XE_LIVE ? syn_again(s, c, p)
							      : xe_ssw_claimed(s, c, p, w->now));
	}
	if (s->home) { /* the old service had not done that */
		xe_ssw_hold(s, p->data, p->len, XE_TO_NETWORK);
		return WR_DROP;
	}
	c = xe_ssw_alloc(s, &t, w->wr, w->now);
	if (!c) { /* no entry: unprotected from the start */
		xe_ssw_notify(s, XE_SSW_UNPROTECTED, XE_LOG_NONE, ENOSPC);
		return WR_PASS;
	}
	xe_ssw_open_active(s, c, &p->seg, w->now);
	return WR_PASS;
}

static enum xe_verdict send_syn(struct xe_ssw *s, struct xe_packet *p, xe_ns now)
{
	const struct wr *wr = xe_ssw_wrapper(s, p->seg.sport);
	struct xe_conn *c = xe_ssw_find(s, p->seg.saddr, p->seg.sport, p->seg.daddr, p->seg.dport);

	if (!wr && c && (xe_conn_open(c) || c->refused))
		wr = c->wr;
	if (!wr && c && c->state == XE_CONN_TOMBSTONE)
		xe_ssw_free(s, c);
	return wr ? xe_ssw_handle(s, c, wr, WR_SERVER_SIDE, WR_SND_SYN, p, now) : XE_PASS;
}

/* ---- operations ---- */

enum wr_verdict cs_snd_saa(struct wr_packet *w)
{
	return w->conn ? (enum wr_verdict)send_synack(w->ssw, w->conn, w->packet, w->now) : WR_PASS;
}

static enum wr_verdict snd_segment(struct wr_packet *w)
{
	return w->conn ? (enum wr_verdict)send_segment(w->ssw, w->conn, w->packet, w->now)
		       : WR_PASS;
}

static enum wr_verdict snd_reset(struct wr_packet *w)
{
	return w->conn ? (enum wr_verdict)send_reset(w->ssw, w->conn, w->packet, w->now) : WR_PASS;
}

enum wr_verdict cs_snd_ack(struct wr_packet *w)
{
	return snd_segment(w);
}

enum wr_verdict ss_snd_ack(struct wr_packet *w)
{
	return snd_segment(w);
}

enum wr_verdict cs_snd_fin(struct wr_packet *w)
{
	return snd_segment(w);
}

enum wr_verdict ss_snd_fin(struct wr_packet *w)
{
	return snd_segment(w);
}

enum wr_verdict cs_snd_rst(struct wr_packet *w)
{
	return snd_reset(w);
}

enum wr_verdict ss_snd_rst(struct wr_packet *w)
{
	return snd_reset(w);
}

/* ---- which it is ---- */

static enum xe_verdict send_other(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				  xe_ns now)
{
	uint8_t flags = p->seg.flags;
	enum wr_packet_kind kind = flags & XE_RST   ? WR_SND_RST
				   : flags & XE_FIN ? WR_SND_FIN
						    : WR_SND_ACK;

	if (c->attach == XE_FAKING) { /* e.g. RST: no listener yet; the fake SYN is sent again */
		if ((flags & (XE_ACK | XE_RST)) == XE_ACK)
			xe_ssw_reset_old(s, c, p->seg.ack, now);
		return XE_DROP;
	}
	if (xe_conn_ended(c))
		return send_buried(s, c, p);
	if (c->state == XE_CONN_SYN_SEEN && kind != WR_SND_RST)
		return XE_PASS;
	return xe_ssw_handle(s, c, c->wr, (enum wr_side)c->role, kind, p, now);
}

enum xe_verdict xe_ssw_egress(struct xe_ssw *s, uint8_t *packet, size_t len, xe_ns now)
{
	struct xe_packet p;
	struct xe_conn *c;

	s->count.out++;
	if (xe_wire_parse(&p, packet, len, false))
		return XE_DROP;
	if ((p.seg.flags & (XE_SYN | XE_ACK | XE_RST)) == XE_SYN)
		return send_syn(s, &p, now);
	if (!xe_ssw_is_protected(s, p.seg.sport)) /* in a trial it may be the old TCP's */
		return s->home && (p.seg.flags & XE_RST) ? XE_DROP : XE_PASS;
	c = xe_ssw_find(s, p.seg.saddr, p.seg.sport, p.seg.daddr, p.seg.dport);
	if (!c)
		return (s->recovering || s->home) && (p.seg.flags & XE_RST) ? XE_DROP : XE_PASS;
	if (c->attach == XE_DETACHED) {
		if (s->replaying && xe_conn_open(c) && c->role == XE_LOG_SERVER_SIDE &&
		    (p.seg.flags & (XE_SYN | XE_ACK | XE_RST)) == XE_ACK)
			xe_ssw_reset_old(s, c, p.seg.ack, now);
		return XE_DROP;
	}
	c->spoke_at = now;
	if ((p.seg.flags & (XE_SYN | XE_ACK)) == (XE_SYN | XE_ACK) &&
	    (c->role == XE_LOG_CLIENT_SIDE || c->has_syn))
		return xe_ssw_handle(s, c, c->wr, WR_CLIENT_SIDE, WR_SND_SAA, &p, now);
	return send_other(s, c, &p, now);
}
