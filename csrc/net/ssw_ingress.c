/* South-side wrapper, network to guest: believe, log, translate.
 *
 * Rule 1 log before ack: payload is in the log before TCP sees it.
 * Rule 2 SSW believes only what TCP would believe; new payload that it does not believe
 *        is dropped, so nothing reaches the service unlogged.
 * Rule 3 first write wins: bytes that were logged replace those in the packet.
 */
#include <errno.h>

#include "base/assert.h"
#include "net/ssw_internal.h"

/* ---- payload ---- */

static uint32_t range_after(const struct xe_conn *c, uint64_t at)
{
	uint32_t i = 0;

	while (i < c->ranges && c->range[i].to <= at)
		i++;
	return i;
}

static bool range_fits(const struct xe_conn *c, uint64_t from, uint64_t to)
{
	for (uint32_t i = 0; i < c->ranges; i++) {
		if (c->range[i].from <= to && from <= c->range[i].to)
			return true;
	}
	return c->ranges < XE_SSW_RANGES;
}

/* Notes [from, to) as logged; it fits (range_fits). Ranges are sorted and disjoint,
 * all beyond rcv_logged. */
static void range_add(struct xe_conn *c, uint64_t from, uint64_t to)
{
	uint32_t i = 0, j;

	while (i < c->ranges && c->range[i].to < from)
		i++;
	j = i;
	while (j < c->ranges && c->range[j].from <= to) {
		from = from < c->range[j].from ? from : c->range[j].from;
		to = to > c->range[j].to ? to : c->range[j].to;
		j++;
	}
	if (i == j) {
		xe_assert(c->ranges < XE_SSW_RANGES);
		for (uint32_t k = c->ranges; k > i; k--)
			c->range[k] = c->range[k - 1];
		c->ranges++;
	} else {
		for (uint32_t k = j; k < c->ranges; k++)
			c->range[i + 1 + k - j] = c->range[k];
		c->ranges -= j - i - 1;
	}
	c->range[i] = (struct xe_stretch){from, to};
}

/* Logged before this TCP came: the peer will not send it again soon, so TCP gets it from us. */
static void inject(struct xe_ssw *s, struct xe_conn *c, struct xe_stretch r)
{
	if (c->inject.from == c->inject.to)
		c->inject = r;
	else
		c->inject.to = r.to;
	xe_ssw_due(s, c, XE_DUE_INJECT);
}

static void commit_logged(struct xe_ssw *s, struct xe_conn *c, uint64_t end)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	while (c->ranges && c->range[0].from <= end) {
		if (c->lacking && c->attach == XE_LIVE && c->range[0].to > end)
			inject(s, c, c->range[0]);
		end = end > c->range[0].to ? end : c->range[0].to;
		c->ranges--;
		for (uint32_t k = 0; k < c->ranges; k++)
			c->range[k] = c->range[k + 1];
	}
	if (c->ranges == 0)
		c->lacking = false;
	c->rcv_logged = end;
	XE_LOG_COMMIT(slot->rcv_logged, end);
}

static void overwrite(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, uint64_t start,
		      uint64_t from, uint64_t to)
{
	uint8_t bytes[XE_MTU];

	s->count.overwritten_bytes += to - from;
	while (from < to) { /* a packet may be longer than an MTU */
		size_t n = to - from < sizeof(bytes) ? (size_t)(to - from) : sizeof(bytes);

		xe_stream_read(&s->pool, &c->stream, from, bytes, n);
		xe_wire_set_payload(p, (size_t)(from - start), bytes, n);
		from += n;
	}
}

/* A packet that changes nothing here, but that TCP may look at: of what was logged TCP may
 * lack all that it has not acked. */
static void keep_logged(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, int64_t offset)
{
	int64_t from = offset > (int64_t)c->ack_sent ? offset : (int64_t)c->ack_sent;
	int64_t to = offset + p->payload_len;

	to = to < (int64_t)c->rcv_logged ? to : (int64_t)c->rcv_logged;
	if (!c->unprotected && from < to)
		overwrite(s, c, p, (uint64_t)offset, (uint64_t)from, (uint64_t)to);
}

/* Where the packet brings nothing new: [at, end of it), reading the log's tail at most. */
static uint64_t merge_logged(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
			     uint64_t start, uint64_t end)
{
	uint64_t from = start > c->ack_sent ? start : c->ack_sent;
	uint64_t to = end < c->rcv_logged ? end : c->rcv_logged;

	if (from < to)
		overwrite(s, c, p, start, from, to);
	return start > c->rcv_logged ? start : c->rcv_logged;
}

/* Logs [at, end) of the payload whose first byte is at offset `start`. */
static void log_new(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, uint64_t start,
		    uint64_t at, uint64_t end)
{
	const uint8_t *payload = p->data + p->payload;

	while (at < end) {
		uint32_t i = range_after(c, at);
		uint64_t stop = end;

		if (i < c->ranges && c->range[i].from <= at) {
			stop = c->range[i].to < end ? c->range[i].to : end;
			overwrite(s, c, p, start, at, stop);
		} else {
			if (i < c->ranges && c->range[i].from < end)
				stop = c->range[i].from;
			xe_stream_write(&s->pool, &c->stream, at, payload + (at - start),
					(size_t)(stop - at));
			s->count.bytes_logged += stop - at;
		}
		at = stop;
	}
}

static enum xe_verdict take_payload(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				    int64_t offset, xe_ns now)
{
	uint64_t start, end, at;

	if (offset < 0) /* begins before the stream: nothing new can be told apart */
		return p->payload_len + offset > 0 ? XE_DROP : XE_PASS;
	start = (uint64_t)offset;
	end = start + p->payload_len;
	if (end > c->right_edge)
		end = c->right_edge;
	if (c->early_fin && end > c->early_fin_at) {
		if (c->recovered) /* this TCP may not know to stop there */
			return XE_DROP;
		end = c->early_fin_at;
	}
	at = merge_logged(s, c, p, start, end);
	if (at >= end)
		return XE_PASS;
	if (xe_stream_reserve(&s->pool, &c->stream, end, xe_conn_slot(s, c))) {
		xe_ssw_starve(s, now); /* the peer sends it again */
		return XE_DROP;
	}
	if (at > c->rcv_logged) {
		if (!range_fits(c, at, end)) {
			s->count.unlogged_drops++;
			return XE_DROP;
		}
		log_new(s, c, p, start, at, end);
		range_add(c, at, end);
		return XE_PASS;
	}
	log_new(s, c, p, start, at, end);
	commit_logged(s, c, end);
	return XE_PASS;
}

/* ---- header values ---- */

static bool paws_ok(const struct xe_conn *c, const struct xe_segment *seg, xe_ns now)
{
	if (!(c->options & XE_LOG_OPT_TS))
		return true;
	return seg->opt.has_ts && (xe_seq_ge(seg->opt.tsval, c->ts_recent) ||
				   now - c->ts_recent_at >= XE_SSW_PAWS_IDLE);
}

static void note_ack(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *seg,
		     uint64_t ack)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint64_t data = ack;

	if ((c->fins & XE_LOG_OWN_FIN) && ack == c->own_fin_at + 1) {
		data = c->own_fin_at;
		c->fins |= XE_LOG_OWN_FIN_ACKED;
		slot->fins = c->fins;
	}
	if (data > c->peer_acked) {
		c->peer_acked = data;
		XE_LOG_COMMIT(slot->peer_acked, data);
		xe_ssw_output_acked(s, c);
		if (c->wr->sessions)
			xe_ssw_trim_due(s, c);
	}
	if (data == c->peer_acked) {
		uint32_t window = (uint32_t)seg->window << c->peer_wscale;

		c->max_window = window > c->max_window ? window : c->max_window;
		c->peer_window = seg->window;
		slot->peer_window = seg->window;
	}
	if (c->state == XE_CONN_SYN_RCVD) {
		c->state = XE_CONN_ESTABLISHED;
		if (!c->unprotected)
			XE_LOG_COMMIT(slot->state, XE_LOG_ESTABLISHED);
	}
}

/* RFC 9293 3.10.7.4 and RFC 5961 5.2: an ack that TCP takes. */
static bool ack_ok(const struct xe_conn *c, int64_t ack)
{
	int64_t top = (int64_t)c->sent_max + ((c->fins & XE_LOG_OWN_FIN) ? 1 : 0);
	int64_t reach = c->max_window;

	return ack <= top && ack >= (int64_t)c->peer_acked - reach && ack >= 0;
}

static void note_timestamp(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *seg,
			   int64_t offset, xe_ns now)
{
	if (!(c->options & XE_LOG_OPT_TS) || !seg->opt.has_ts || offset > (int64_t)c->ack_sent)
		return;
	c->ts_recent_at = now;
	if (seg->opt.tsval != c->ts_recent) { /* it passed PAWS */
		c->ts_recent = seg->opt.tsval;
		xe_conn_slot(s, c)->peer_tsval = c->ts_recent;
	}
}

void xe_ssw_note_fin(struct xe_ssw *s, struct xe_conn *c, uint64_t at)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	if ((c->fins & XE_LOG_PEER_FIN) || at != c->rcv_logged)
		return;
	c->early_fin = false;
	c->peer_fin_at = at;
	slot->peer_fin_at = at;
	c->fins |= XE_LOG_PEER_FIN;
	slot->fins = c->fins;
}

/* ---- to the new TCP's numbers ---- */

static void translate(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	int64_t ack = xe_conn_out_offset(c, p->seg.ack), to = ack;
	int64_t seq = xe_conn_in_offset(c, p->seg.seq);

	if (to > (int64_t)c->tcp_sent)
		to = (int64_t)c->tcp_sent;
	if (to < (int64_t)c->tcp_base)
		to = (int64_t)c->tcp_base;
	if (to != ack) {
		uint64_t window = p->seg.window;

		s->count.acks_clamped++;
		if (ack > to) /* the right edge is kept */
			window += (uint64_t)(ack - to) >> c->peer_wscale;
		xe_wire_set_window(p, window > 65535 ? 65535 : (uint16_t)window);
	}
	xe_wire_set_ack(p, c->tcp_isn + 1 + (uint32_t)(to - (int64_t)c->tcp_base));
	if (p->seg.opt.has_ts) {
		uint32_t tsecr = p->seg.opt.tsecr - c->ts_delta;

		xe_wire_set_tsecr(p, xe_seq_lt(tsecr, c->tcp_ts0) ? c->tcp_ts0 : tsecr);
	}
	if (p->payload_len == 0 && !(p->seg.flags & (XE_SYN | XE_FIN | XE_RST)) &&
	    seq >= (int64_t)c->tcp_right) {
		uint64_t at = c->tcp_right > c->tcp_ack ? c->tcp_right - 1 : c->tcp_ack;

		xe_wire_set_seq(p, c->peer_isn + 1 + (uint32_t)at);
	}
}

/* ---- one packet ---- */

static bool reset_believed(const struct xe_conn *c, const struct xe_segment *seg)
{
	uint64_t next = c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);

	if (c->state == XE_CONN_SYN_SENT)
		return (seg->flags & XE_ACK) && seg->ack == c->own_isn + 1;
	return seg->seq == c->peer_isn + 1 + (uint32_t)next;
}

static void end_by_reset(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	if (c->state == XE_CONN_SYN_SENT && c->attach != XE_LIVE) {
		xe_ssw_free(s, c); /* the service, which has not heard of it, connects anew */
		return;
	}
	c->fins |= XE_LOG_PEER_RST;
	xe_conn_slot(s, c)->fins = c->fins;
	xe_ssw_end(s, c, true, now);
}

static enum xe_verdict take_reset(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				  xe_ns now)
{
	bool exact = reset_believed(c, &p->seg), live = c->attach == XE_LIVE;

	if (s->home || c->attach == XE_FAKING) /* as if it were lost */
		return XE_DROP;
	if (!c->unprotected && xe_ssw_over(c)) /* a stray was answered; the service still reads */
		return XE_DROP;
	if (live && c->recovered)
		translate(s, c, p);
	if (exact)
		end_by_reset(s, c, now);
	return live ? XE_PASS : XE_DROP;
}

/* As in TIME_WAIT (RFC 6191): not a SYN that was on its way since before the connection. */
static bool begins_anew(const struct xe_conn *c, const struct xe_segment *syn)
{
	uint64_t next = c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);

	if ((c->options & XE_LOG_OPT_TS) && syn->opt.has_ts && syn->opt.tsval != c->ts_recent)
		return xe_seq_gt(syn->opt.tsval, c->ts_recent);
	return xe_seq_gt(syn->seq, c->peer_isn + 1 + (uint32_t)next);
}

static bool old_syn(const struct xe_conn *c, const struct xe_segment *syn)
{
	if (c->attach != XE_LIVE)
		return !c->refused && (!xe_conn_ended(c) || !begins_anew(c, syn));
	/* its new TCP, in TIME_WAIT, may know older time stamps only */
	return !c->refused && c->recovered && (c->fins & XE_LOG_PEER_FIN) &&
	       (c->fins & XE_LOG_OWN_FIN_ACKED) && !begins_anew(c, syn);
}

/* The entry that this SYN may become the connection of; NULL: there is none. */
static struct xe_conn *syn_entry(struct xe_ssw *s, const struct wr_packet *w, struct xe_conn *c)
{
	const struct xe_segment *seg = &w->packet->seg;
	struct xe_tuple t = {seg->daddr, seg->saddr, seg->dport, seg->sport};

	if (c && c->state == XE_CONN_GHOST)
		c = NULL;
	if (c && (c->attach != XE_LIVE || c->refused)) {
		xe_ssw_free(s, c);
		c = NULL;
	}
	if (!c)
		c = xe_ssw_alloc(s, &t, w->wr, w->now);
	else
		c->wr = w->wr;
	return c;
}

enum wr_verdict cs_rec_syn(struct wr_packet *w)
{
	struct xe_ssw *s = w->ssw;
	struct xe_packet *p = w->packet;
	struct xe_conn *c = w->conn;

	xe_wire_strip_syn_options(p, false);
	if (c && old_syn(c, &p->seg))
		return WR_DROP;
	c = syn_entry(s, w, c);
	if (!c) { /* no entry: unprotected from the start */
		xe_ssw_notify(s, XE_SSW_UNPROTECTED, XE_LOG_NONE, ENOSPC);
		return WR_PASS;
	}
	if (c->recovered && c->state == XE_CONN_SYN_RCVD && p->seg.seq == c->peer_isn)
		return WR_PASS;
	c->has_syn = true;
	c->syn_seq = p->seg.seq;
	c->syn_opt = p->seg.opt;
	c->syn_win = p->seg.window;
	return WR_PASS;
}

/* A challenge ACK tells the exact number (RFC 5961); an older ack may come after a newer one. */
static void reset_at(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *seg)
{
	int64_t ack = xe_conn_out_offset(c, seg->ack);

	if (seg->flags & XE_RST || !(seg->flags & XE_ACK))
		return;
	if (ack > (int64_t)c->peer_acked && ack <= (int64_t)c->sent_max + 1)
		c->peer_acked = (uint64_t)ack;
	c->reset_seq = c->own_isn + 1 + (uint32_t)c->peer_acked;
	xe_ssw_due(s, c, XE_DUE_RESET);
}

static enum xe_verdict take_tombstone(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	if (c->refused) {
		reset_at(s, c, &p->seg);
		return XE_DROP;
	}
	if (p->seg.flags & XE_RST) /* TCP is to wait on (RFC 1337) */
		return XE_DROP;
	if (!c->recovered && c->attach == XE_LIVE)
		return XE_PASS; /* its own TCP still knows */
	if (p->seg.flags & XE_FIN)
		xe_ssw_due(s, c, XE_DUE_ANSWER);
	return XE_DROP;
}

/* A FIN before bytes that already came is none, as in TCP. */
static bool logged_beyond(const struct xe_conn *c, int64_t at)
{
	return c->ranges > 0 && (int64_t)c->range[c->ranges - 1].to > at;
}

/* Whether the stream ends there. */
static bool fin_believed(const struct xe_conn *c, int64_t at)
{
	if (c->fins & XE_LOG_PEER_FIN)
		return at == (int64_t)c->peer_fin_at;
	return c->early_fin && at == (int64_t)c->early_fin_at;
}

static enum xe_verdict take_segment(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				    xe_ns now)
{
	int64_t offset = xe_conn_in_offset(c, p->seg.seq);
	int64_t ack = xe_conn_out_offset(c, p->seg.ack);
	int64_t end = offset + p->payload_len;
	int64_t next = (int64_t)c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);
	int64_t last = end + ((p->seg.flags & XE_FIN) ? 1 : 0);
	bool fresh = end > (int64_t)c->rcv_logged && p->payload_len > 0 && !c->unprotected;
	int64_t edge = (int64_t)c->right_edge;
	bool acceptable = offset < next ? last > next && last <= edge
					: offset < edge || (offset == edge && last == offset);

	if (last > 0 && (uint64_t)last > xe_ssw_home_edge(s, c)) /* as if it were lost */
		return XE_DROP;
	if (!paws_ok(c, &p->seg, now) || (p->seg.flags & (XE_SYN | XE_ACK)) != XE_ACK ||
	    !ack_ok(c, ack)) {
		s->count.not_believed++;
		keep_logged(s, c, p, offset);
		if (!ack_ok(c, ack) && (c->recovered || last > next))
			return XE_DROP; /* the clamp would make it a good one; TCP may think it is */
		if (c->recovered && last > next)
			return XE_DROP;
		return fresh ? XE_DROP : XE_PASS;
	}
	if (!acceptable) { /* TCP answers what lies outside; of what lies inside it takes nothing new */
		s->count.not_believed++;
		keep_logged(s, c, p, offset);
		if (c->recovered && offset > edge) /* it would be moved into TCP's window */
			return XE_DROP;
		return fresh && offset < edge ? XE_DROP : XE_PASS;
	}
	if (p->payload_len && !c->unprotected) {
		if (c->fins & XE_LOG_PEER_FIN) {
			if (fresh)
				return XE_DROP;
		} else if (take_payload(s, c, p, offset, now) == XE_DROP) {
			return XE_DROP;
		}
	} else if (c->unprotected && end > (int64_t)c->rcv_logged &&
		   offset <= (int64_t)c->rcv_logged) {
		c->rcv_logged = (uint64_t)end;
	}
	note_timestamp(s, c, &p->seg, offset, now);
	note_ack(s, c, &p->seg, (uint64_t)ack);
	if ((p->seg.flags & XE_FIN) && !c->early_fin && end >= (int64_t)c->rcv_logged &&
	    end < (int64_t)c->right_edge && !logged_beyond(c, end)) { /* the first one holds */
		c->early_fin = true;
		c->early_fin_at = (uint64_t)end;
	}
	if (c->early_fin)
		xe_ssw_note_fin(s, c, c->early_fin_at);
	if ((p->seg.flags & XE_FIN) && !fin_believed(c, end)) /* a new TCP may know less */
		xe_wire_set_flags(p, p->seg.flags & (uint8_t)~XE_FIN);
	if (c->attach != XE_FAKING)
		xe_ssw_check_closed(s, c, now);
	return XE_PASS;
}

/* ---- operations ---- */

static enum wr_verdict rec_segment(struct wr_packet *w)
{
	struct xe_conn *c = w->conn;

	if (!c)
		return WR_PASS;
	if (c->state == XE_CONN_SYN_SENT) /* TCP answers an old one's ack by a reset */
		return c->attach == XE_LIVE && !c->recovered ? WR_PASS : WR_DROP;
	if (take_segment(w->ssw, c, w->packet, w->now) == XE_DROP || c->attach != XE_LIVE)
		return WR_DROP;
	if (c->recovered)
		translate(w->ssw, c, w->packet);
	return WR_PASS;
}

enum wr_verdict cs_rec_ack(struct wr_packet *w)
{
	return rec_segment(w);
}

enum wr_verdict ss_rec_ack(struct wr_packet *w)
{
	return rec_segment(w);
}

enum wr_verdict cs_rec_fin(struct wr_packet *w)
{
	return rec_segment(w);
}

enum wr_verdict ss_rec_fin(struct wr_packet *w)
{
	return rec_segment(w);
}

static enum wr_verdict rec_reset(struct wr_packet *w)
{
	if (!w->conn)
		return WR_PASS;
	return (enum wr_verdict)take_reset(w->ssw, w->conn, w->packet, w->now);
}

enum wr_verdict cs_rec_rst(struct wr_packet *w)
{
	return rec_reset(w);
}

enum wr_verdict ss_rec_rst(struct wr_packet *w)
{
	return rec_reset(w);
}

enum wr_verdict ss_rec_saa(struct wr_packet *w)
{
	struct xe_conn *c = w->conn;
	struct xe_packet *p = w->packet;

	if (!c)
		return WR_PASS;
	xe_wire_strip_syn_options(p, false);
	if (c->state != XE_CONN_SYN_SENT)
		return rec_segment(w);
	if (p->seg.ack != c->own_isn + 1 || p->payload_len > 0 || (p->seg.flags & XE_FIN)) {
		w->ssw->count.not_believed++;
		return WR_DROP;
	}
	if (w->ssw->home) /* as if it were lost */
		return WR_DROP;
	xe_ssw_answered(w->ssw, c, &p->seg, w->now);
	if (c->attach != XE_LIVE)
		return WR_DROP;
	if (c->recovered)
		translate(w->ssw, c, p);
	return WR_PASS;
}

/* ---- which it is ---- */

static bool is_syn(const struct xe_segment *seg)
{
	return (seg->flags & (XE_SYN | XE_ACK | XE_RST)) == XE_SYN;
}

static enum wr_packet_kind kind_of(const struct xe_conn *c, uint8_t flags)
{
	if (flags & XE_RST)
		return WR_REC_RST;
	if ((flags & (XE_SYN | XE_ACK)) == (XE_SYN | XE_ACK) && c->role == XE_LOG_SERVER_SIDE)
		return WR_REC_SAA;
	return flags & XE_FIN ? WR_REC_FIN : WR_REC_ACK;
}

static enum xe_verdict take_syn(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, xe_ns now)
{
	const struct wr *wr = xe_ssw_wrapper(s, p->seg.dport);

	if (!wr && c)
		wr = c->wr;
	return wr ? xe_ssw_handle(s, c, wr, WR_CLIENT_SIDE, WR_REC_SYN, p, now) : XE_PASS;
}

enum xe_verdict xe_ssw_ingress(struct xe_ssw *s, uint8_t *packet, size_t len, xe_ns now)
{
	struct xe_packet p;
	struct xe_conn *c;
	bool syn;

	s->count.in++;
	if (xe_wire_parse(&p, packet, len, true)) {
		s->count.malformed++;
		return XE_DROP;
	}
	syn = is_syn(&p.seg);
	if (s->home && syn) {
		xe_ssw_hold(s, packet, len, XE_TO_GUEST);
		return XE_DROP;
	}
	if (!xe_ssw_is_protected(s, p.seg.dport) && !(syn && xe_ssw_wrapper(s, p.seg.dport)))
		return XE_PASS;
	if (p.seg.flags & XE_URG)
		xe_wire_set_flags(&p, p.seg.flags & (uint8_t)~XE_URG);
	c = xe_ssw_find(s, p.seg.daddr, p.seg.dport, p.seg.saddr, p.seg.sport);
	if (syn && (!c || c->role == XE_LOG_CLIENT_SIDE || xe_conn_ended(c)))
		return take_syn(s, c, &p, now);
	if (!c) {
		if (!s->recovering)
			return XE_PASS;
		s->count.unknown_dropped++;
		return XE_DROP;
	}
	if (xe_conn_ended(c))
		return take_tombstone(s, c, &p);
	if (c->state == XE_CONN_SYN_SEEN)
		return XE_PASS;
	return xe_ssw_handle(s, c, c->wr, (enum wr_side)c->role, kind_of(c, p.seg.flags), &p, now);
}
