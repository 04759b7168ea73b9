/* South-side wrapper, recovery: connections are re-established with a TCP that never saw
 * them, by a handshake that the peer never sees (thesis 2.2).
 *
 * L = the log's end, frozen with the fake SYN; what comes after that is logged and handed to TCP
 * once it is there; where the service opened the connection, its new TCP's SYN is answered. U = what the peer acked, frozen with the SYN/ACK, delta with it. Handshakes are paced: at most XE_SSW_PACE under way, repeated until answered, so
 * a small accept queue is filled no faster than the service empties it.
 */
#include <errno.h>

#include "base/assert.h"
#include "net/ssw_internal.h"

static void restore_slot(struct xe_ssw *s, struct xe_conn *c)
{
	static const uint32_t shown[] = {
		[XE_CONN_SYN_RCVD] = XE_LOG_SYN_RCVD,
		[XE_CONN_SYN_SENT] = XE_LOG_SYN_SENT,
		[XE_CONN_ESTABLISHED] = XE_LOG_ESTABLISHED,
		[XE_CONN_GHOST] = XE_LOG_GHOST,
	};
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	slot->hash_next = c->hash_next;
	if (!xe_conn_open(c) && c->state != XE_CONN_GHOST) {
		XE_LOG_COMMIT(slot->state, XE_LOG_FREE);
		return;
	}
	slot->role = c->role;
	slot->incarnation = c->incarnation;
	slot->local_addr = c->local_addr;
	slot->local_port = c->local_port;
	slot->peer_addr = c->peer_addr;
	slot->peer_port = c->peer_port;
	slot->first_block = c->stream.first;
	slot->first_base = c->stream.start;
	slot->hole_from = c->stream.hole_from;
	slot->hole_to = c->stream.hole_to;
	for (uint32_t b = c->stream.first; b != XE_LOG_NONE; b = s->pool.next[b])
		*xe_log_block_link(&s->log, b) = s->pool.next[b];
	XE_LOG_COMMIT(slot->sent_max, c->sent_max);
	XE_LOG_COMMIT(slot->rcv_logged, c->rcv_logged);
	XE_LOG_COMMIT(slot->removed, c->removed);
	XE_LOG_COMMIT(slot->state, shown[c->state]);
}

void xe_ssw_restore_log(struct xe_ssw *s)
{
	struct xe_log_header *head = xe_log_head(&s->log);

	XE_LOG_COMMIT(head->generation, s->generation);
	head->magic = XE_LOG_MAGIC;
	head->version = XE_LOG_VERSION;
	head->extents = s->log.extents;
	for (uint32_t b = 0; b < s->log.slots; b++)
		XE_LOG_COMMIT(*xe_log_bucket(&s->log, b), s->bucket[b]);
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (s->conn[i].state != XE_CONN_FREE)
			restore_slot(s, &s->conn[i]);
	}
}

static void lose_tcp(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	c->attach = XE_DETACHED;
	c->has_syn = c->paced = false;
	c->due &= XE_DUE_ANSWER | XE_DUE_RESET;
	c->early_fin = c->squeezed = false;
	c->inject = (struct xe_stretch){0, 0};
	if (!xe_conn_open(c))
		return;
	xe_ssw_output_freeze(s, c);
	if (s->home)
		c->marks_seen = 0; /* of the next kernel's */
	if (c->unprotected) {
		xe_ssw_refuse(s, c, now);
		xe_ssw_notify(s, XE_SSW_RESET, xe_conn_index(s, c), ENOSPC);
		return;
	}
	s->to_reestablish++;
	if (c->state == XE_CONN_SYN_SENT && !s->home && xe_ssw_has_closed(s, c))
		xe_ssw_end(s, c, true, now); /* the service had given it up */
}

void xe_ssw_detach(struct xe_ssw *s, xe_ns now)
{
	s->recovering = true;
	s->replaying = false;
	s->faking = 0;
	s->to_reestablish = 0;
	s->starved_until = s->claim_until = XE_NEVER;
	xe_ssw_unsend(s);
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->state == XE_CONN_FREE)
			continue;
		if (c->state != XE_CONN_SYN_SEEN)
			lose_tcp(s, c, now);
		else if (!s->home)
			xe_ssw_free(s, c);
	}
	s->generation++;
	xe_ssw_restore_log(s);
}

/* A TCP that still has the service's old socket (recovery in the same domain): it is in the way. */
static void reset_old_client(struct xe_ssw *s, struct xe_conn *c)
{
	c->kill_seq =
		c->peer_isn + 1 + (uint32_t)c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);
	if (c->state == XE_CONN_SYN_SENT)
		c->tcp_isn = c->recovered ? c->tcp_isn : c->own_isn;
	xe_ssw_due(s, c, c->state == XE_CONN_SYN_SENT ? XE_DUE_REJECT : XE_DUE_KILL);
}

uint32_t xe_ssw_replay(struct xe_ssw *s, xe_ns now)
{
	xe_ssw_trim_all(s, true, now);
	s->replaying = true;
	s->first_byte = true;
	s->replay_cursor = 0;
	s->next_fake_at = 0;
	s->claim_until = now + XE_SSW_CLAIM;
	s->hear_until = now + XE_SSW_HEAR;
	if (s->to_reestablish == 0) {
		s->recovering = false;
		xe_ssw_notify(s, XE_SSW_REESTABLISHED, 0, 0);
	}
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->attach == XE_DETACHED)
			c->retry_at = now;
		if (xe_conn_open(c) && c->role == XE_LOG_SERVER_SIDE && c->attach == XE_DETACHED)
			reset_old_client(s, c);
		if (c->state == XE_CONN_GHOST)
			xe_ssw_ghost_lines(s, c);
	}
	return s->to_reestablish;
}

/* What the service opens itself, or listens for in a session. */
static bool waits_for_service(const struct xe_ssw *s, const struct xe_conn *c)
{
	return c->role == XE_LOG_SERVER_SIDE || !s->registered[c->local_port];
}

void xe_ssw_end_unclaimed(struct xe_ssw *s, xe_ns now)
{
	if (now < s->claim_until)
		return;
	s->claim_until = XE_NEVER;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (!xe_conn_open(c) || c->attach == XE_LIVE || !waits_for_service(s, c))
			continue;
		s->count.unclaimed++;
		if (s->home) {
			xe_ssw_diverged(s, c, c->peer_acked, now);
			continue;
		}
		xe_ssw_refuse(s, c, now);
		xe_ssw_notify(s, XE_SSW_RESET, i, ENOENT);
	}
}

void xe_ssw_give_up(struct xe_ssw *s, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (xe_conn_open(c))
			xe_ssw_refuse(s, c, now);
	}
}

static struct xe_segment segment(const struct xe_conn *c, enum xe_direction to)
{
	struct xe_segment seg = {.flags = XE_ACK};

	if (to == XE_TO_GUEST) {
		seg.saddr = c->peer_addr;
		seg.sport = c->peer_port;
		seg.daddr = c->local_addr;
		seg.dport = c->local_port;
	} else {
		seg.saddr = c->local_addr;
		seg.sport = c->local_port;
		seg.daddr = c->peer_addr;
		seg.dport = c->peer_port;
	}
	seg.opt.has_ts = c->options & XE_LOG_OPT_TS;
	return seg;
}

static size_t fake_syn(struct xe_ssw *s, struct xe_conn *c, uint8_t *buf, size_t cap, xe_ns now)
{
	struct xe_segment seg = segment(c, XE_TO_GUEST);

	if (c->attach == XE_DETACHED) {
		c->paced = !waits_for_service(s, c);
		s->faking += c->paced;
		c->fake_line = c->rcv_logged;
	}
	c->attach = XE_FAKING;
	c->retry_at = now + XE_SSW_RETRY;
	seg.flags = XE_SYN;
	seg.seq = c->peer_isn + (uint32_t)c->fake_line;
	seg.window = c->syn_window;
	seg.opt.mss = c->mss;
	seg.opt.has_wscale = c->options & XE_LOG_OPT_WSCALE;
	seg.opt.wscale = c->peer_wscale;
	seg.opt.tsval = c->ts_recent;
	s->count.fake_syns++;
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

void xe_ssw_restore_synack(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	uint64_t edge = xe_ssw_right_edge(s, c, p->seg.window);

	xe_wire_set_seq(p, c->own_isn);
	xe_ssw_stamp(s, c, p);
	xe_wire_set_wscale(p, c->own_wscale);
	c->squeezed = edge < p->seg.window;
	xe_wire_set_window(p, (uint16_t)edge);
	c->told_edge = edge > c->told_edge ? edge : c->told_edge;
}

/* ... and its SYN, to a peer that may have had the last one's. */
void xe_ssw_restore_syn(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p)
{
	xe_wire_set_seq(p, c->own_isn);
	xe_ssw_stamp(s, c, p);
	xe_wire_set_wscale(p, c->own_wscale);
}

void xe_ssw_reset_old(struct xe_ssw *s, struct xe_conn *c, uint32_t seq, xe_ns now)
{
	s->count.old_resets++;
	c->kill_seq = seq;
	xe_ssw_due(s, c, XE_DUE_KILL);
	c->retry_at = now;
	s->next_fake_at = 0;
}

/* Both ends keep what was agreed; a TCP that does not offer it cannot take the connection over. */
static bool lacks_option(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *syn,
			 xe_ns now)
{
	if ((!(c->options & XE_LOG_OPT_TS) || syn->seg.opt.has_ts) &&
	    (!(c->options & XE_LOG_OPT_WSCALE) || syn->seg.opt.has_wscale))
		return false;
	if (s->home) {
		xe_ssw_diverged(s, c, c->peer_acked, now);
		return true;
	}
	xe_ssw_notify(s, XE_SSW_RESET, xe_conn_index(s, c), EPROTONOSUPPORT);
	xe_ssw_refuse(s, c, now);
	return true;
}

/* The lines between what is replayed and what is new, for the kernel that replays. */
static void write_lines(struct xe_ssw *s, struct xe_conn *c)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	xe_assert(c->crc_at == c->tcp_base);
	c->check_line = c->sent_max;
	c->verified = c->tcp_base;
	c->replay_line = c->fake_line;
	slot->drop_line = c->tcp_base;
	slot->drop_crc = c->out_crc;
	slot->trial = s->home != NULL;
	slot->sent_line = s->home ? c->sent_max : 0;
	slot->sent_crc = s->home ? xe_ssw_output_crc(s, c) : 0;
	slot->replay_generation = s->generation;
	XE_LOG_COMMIT(slot->replay_line, c->fake_line);
}

/* Its SYN or SYN/ACK gives the new TCP's numbers. */
static void take_over(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *syn)
{
	c->tcp_isn = syn->seq;
	c->tcp_base = c->peer_acked;
	c->tcp_sent = c->tcp_base;
	c->delta = c->own_isn + 1 + (uint32_t)c->tcp_base - (c->tcp_isn + 1);
	c->tcp_ts0 = syn->opt.tsval;
	c->ts_delta = c->own_tsval + 1 - c->tcp_ts0;
	c->tcp_wscale = syn->opt.has_wscale ? syn->opt.wscale : 0;
	c->tcp_ack = c->fake_line;
	c->tcp_right = c->fake_line + syn->window;
	if (c->tcp_right > c->right_edge)
		c->right_edge = c->tcp_right;
	c->recovered = true;
	c->marks_seen = 0; /* of the new kernel's */
	c->lacking = c->ranges > 0;
	s->count.reestablished++;
	write_lines(s, c);
	xe_ssw_settle(s, c);
}

enum xe_verdict xe_ssw_reestablished(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				     xe_ns now)
{
	if (p->seg.ack != c->peer_isn + 1 + (uint32_t)c->fake_line)
		return XE_DROP;
	xe_assert(s->to_reestablish > 0);
	if (lacks_option(s, c, p, now))
		return XE_DROP;
	take_over(s, c, &p->seg);
	if (c->rcv_logged > c->fake_line) { /* came since the fake SYN */
		c->inject = (struct xe_stretch){c->fake_line, c->rcv_logged};
		xe_ssw_due(s, c, XE_DUE_INJECT);
	}
	if (c->state == XE_CONN_SYN_RCVD) {
		xe_ssw_restore_synack(s, c, p);
		return XE_PASS;
	}
	xe_ssw_due(s, c, XE_DUE_ACK | XE_DUE_WAKE | ((c->fins & XE_LOG_PEER_FIN) ? XE_DUE_FIN : 0));
	return XE_DROP;
}

enum xe_verdict xe_ssw_claimed(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, xe_ns now)
{
	bool silent = c->state == XE_CONN_SYN_SENT; /* the peer has not answered */

	if (!s->replaying)
		return XE_DROP;
	c->due &= (uint16_t)~(XE_DUE_KILL | XE_DUE_REJECT); /* the old socket is gone */
	c->tcp_isn = p->seg.seq;
	if (!silent && lacks_option(s, c, p, now)) {
		if (c->refused)
			xe_ssw_due(s, c, XE_DUE_REJECT);
		return XE_DROP;
	}
	c->fake_line = c->rcv_logged;
	take_over(s, c, &p->seg);
	if (silent) {
		xe_ssw_restore_syn(s, c, p);
		return XE_PASS;
	}
	xe_ssw_due(s, c, XE_DUE_SAA | ((c->fins & XE_LOG_PEER_FIN) ? XE_DUE_FIN : 0));
	return XE_DROP;
}

/* ---- packets of the wrapper's own ---- */

/* The peer's acks as TCP may hear them now. */
static uint32_t ack_to_guest(const struct xe_conn *c)
{
	uint64_t ack = c->peer_acked < c->tcp_sent ? c->peer_acked : c->tcp_sent;

	ack = ack > c->tcp_base ? ack : c->tcp_base;
	return c->tcp_isn + 1 + (uint32_t)(ack - c->tcp_base);
}

static struct xe_segment guest_segment(const struct xe_conn *c, uint8_t flags, uint64_t offset)
{
	struct xe_segment seg = segment(c, XE_TO_GUEST);

	seg.flags = flags;
	seg.seq = c->peer_isn + 1 + (uint32_t)offset;
	seg.ack = ack_to_guest(c);
	seg.window = c->peer_window;
	seg.opt.tsval = c->ts_recent;
	seg.opt.tsecr = c->tcp_ts0;
	return seg;
}

static size_t to_guest(const struct xe_conn *c, uint8_t flags, uint64_t offset, uint8_t *buf,
		       size_t cap)
{
	struct xe_segment seg = guest_segment(c, flags, offset);

	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

static size_t kill_guest(const struct xe_conn *c, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = guest_segment(c, XE_RST, 0);

	seg.seq = c->kill_seq;
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

/* The answer to the SYN of a TCP that opens the connection again. */
static size_t fake_synack(const struct xe_conn *c, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = segment(c, XE_TO_GUEST);
	uint32_t window = (uint32_t)c->peer_window << c->peer_wscale;

	seg.flags = XE_SYN | XE_ACK;
	seg.seq = c->peer_isn + (uint32_t)c->fake_line;
	seg.ack = c->tcp_isn + 1;
	seg.window = window > 65535 ? 65535 : (uint16_t)window;
	seg.opt.mss = c->mss;
	seg.opt.has_wscale = c->options & XE_LOG_OPT_WSCALE;
	seg.opt.wscale = c->peer_wscale;
	seg.opt.tsval = c->ts_recent;
	seg.opt.tsecr = c->tcp_ts0;
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

static size_t reject(const struct xe_conn *c, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = segment(c, XE_TO_GUEST);

	seg.flags = XE_RST | XE_ACK;
	seg.ack = c->tcp_isn + 1;
	seg.opt.has_ts = false;
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

static size_t inject(struct xe_ssw *s, struct xe_conn *c, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = guest_segment(c, XE_ACK, c->inject.from);
	size_t head = xe_wire_header_len(&seg), n = (size_t)(c->inject.to - c->inject.from);

	n = n < XE_MTU - head ? n : XE_MTU - head;
	xe_assert(head + n <= cap);
	xe_stream_read(&s->pool, &c->stream, c->inject.from, buf + head, n);
	c->inject.from += n;
	s->count.injected_bytes += n;
	if (c->inject.from < c->inject.to)
		xe_ssw_due(s, c, XE_DUE_INJECT);
	return xe_wire_build(buf, cap, &seg, NULL, n);
}

static size_t ack_fin(const struct xe_conn *c, uint64_t peer_end, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = guest_segment(c, XE_ACK, peer_end);

	seg.ack = c->tcp_isn + 1 + (uint32_t)(c->own_fin_at + 1 - c->tcp_base);
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

/* `right`: how far TCP takes payload. */
static size_t to_peer(struct xe_ssw *s, struct xe_conn *c, uint8_t flags, uint64_t ack,
		      uint64_t right, uint8_t *buf, size_t cap)
{
	struct xe_segment seg = segment(c, XE_TO_NETWORK);
	uint64_t seq = c->sent_max + ((c->fins & XE_LOG_OWN_FIN_ACKED) ? 1 : 0);
	uint64_t edge = xe_ssw_right_edge(s, c, right);
	uint64_t window = edge > ack ? (edge - ack) >> c->own_wscale : 0;

	seg.flags = flags;
	seg.seq = flags & XE_RST ? c->reset_seq : c->own_isn + 1 + (uint32_t)seq;
	seg.ack = c->peer_isn + 1 + (uint32_t)ack;
	seg.window = window > 65535 ? 65535 : (uint16_t)window;
	seg.opt.tsval = c->own_tsval;
	seg.opt.tsecr = c->ts_recent;
	if (edge > c->told_edge)
		c->told_edge = edge;
	c->squeezed = edge < right;
	return xe_wire_build(buf, cap, &seg, NULL, 0);
}

static void wake(struct xe_ssw *s, struct xe_conn *c)
{
	if (c->fake_line > c->ack_sent) {
		c->ack_sent = c->fake_line;
		XE_LOG_COMMIT(xe_conn_slot(s, c)->ack_sent, c->ack_sent);
	}
}

/* Builds the packet of one bit of c->due; 0 if there is none to make any more. */
static size_t make(struct xe_ssw *s, struct xe_conn *c, uint16_t what, uint8_t *buf, size_t cap,
		   xe_ns now)
{
	uint64_t peer_end = c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);

	switch (what) {
	case XE_DUE_TRIM:
		xe_ssw_trim(s, c, s->replaying && c->attach == XE_DETACHED, now);
		return 0;
	case XE_DUE_SAA:
		return fake_synack(c, buf, cap);
	case XE_DUE_REJECT:
		return reject(c, buf, cap);
	case XE_DUE_ACK:
		return to_guest(c, XE_ACK, c->fake_line, buf, cap);
	case XE_DUE_FIN:
		return to_guest(c, XE_ACK | XE_FIN, c->peer_fin_at, buf, cap);
	case XE_DUE_KILL:
		return kill_guest(c, buf, cap);
	case XE_DUE_INJECT:
		return c->inject.from < c->inject.to ? inject(s, c, buf, cap) : 0;
	case XE_DUE_HEAR:
		return to_guest(c, XE_ACK, peer_end, buf, cap);
	case XE_DUE_FIN_ACK:
		return ack_fin(c, peer_end, buf, cap);
	case XE_DUE_WAKE:
		wake(s, c);
		return to_peer(s, c, XE_ACK, c->ack_sent, c->tcp_right, buf, cap);
	case XE_DUE_UPDATE:
		return to_peer(s, c, XE_ACK, c->ack_sent, c->right_edge, buf, cap);
	case XE_DUE_RESET:
		return to_peer(s, c, XE_ACK | XE_RST, peer_end, peer_end, buf, cap);
	default:
		s->count.tombstone_answers++;
		return to_peer(s, c, XE_ACK, peer_end, c->tcp_right, buf, cap);
	}
}

static size_t next_due(struct xe_ssw *s, struct xe_conn *c, uint8_t *buf, size_t cap,
		       enum xe_direction *to, xe_ns now)
{
	static const uint16_t order[] = {
		XE_DUE_TRIM,   XE_DUE_SAA,    XE_DUE_REJECT, XE_DUE_ACK,     XE_DUE_WAKE,
		XE_DUE_INJECT, XE_DUE_FIN,    XE_DUE_HEAR,   XE_DUE_FIN_ACK, XE_DUE_RESET,
		XE_DUE_KILL,   XE_DUE_UPDATE, XE_DUE_ANSWER,
	};
	const uint16_t inside = XE_DUE_ACK | XE_DUE_FIN | XE_DUE_KILL | XE_DUE_INJECT |
				XE_DUE_FIN_ACK | XE_DUE_HEAR | XE_DUE_SAA | XE_DUE_REJECT;
	unsigned i = 0;

	while (!(c->due & order[i]))
		i++;
	c->due &= (uint16_t)~order[i];
	*to = order[i] & inside ? XE_TO_GUEST : XE_TO_NETWORK;
	return make(s, c, order[i], buf, cap, now);
}

static struct xe_conn *next_to_fake(struct xe_ssw *s, xe_ns now)
{
	xe_ns next = XE_NEVER;

	if (!s->replaying || s->to_reestablish == 0 || now < s->next_fake_at)
		return NULL;
	for (uint32_t n = 0; n < s->log.slots; n++) {
		struct xe_conn *c = &s->conn[s->replay_cursor & (s->log.slots - 1)];
		bool fakeable = xe_conn_open(c) && c->role == XE_LOG_CLIENT_SIDE;

		s->replay_cursor++;
		if (!fakeable || c->unprotected || c->attach == XE_LIVE)
			continue;
		if (c->attach == XE_DETACHED && s->faking >= XE_SSW_PACE &&
		    !waits_for_service(s, c))
			continue;
		if (c->attach == XE_DETACHED && now < s->hear_until && xe_ssw_trim_awaits_ack(s, c))
			c->retry_at = now + XE_SSW_RETRY;
		if (c->retry_at <= now)
			return c;
		next = c->retry_at < next ? c->retry_at : next;
	}
	s->next_fake_at = next;
	return NULL;
}

size_t xe_ssw_dispatch(struct xe_ssw *s, uint8_t *buf, size_t cap, enum xe_direction *to, xe_ns now)
{
	struct xe_conn *c;

	xe_ssw_relieve(s, now);
	xe_ssw_reset_again(s, now);
	xe_ssw_forget_silent(s, now);
	xe_ssw_end_unclaimed(s, now);
	xe_ssw_look_at_trial(s, now);
	xe_ssw_tell_again(s, now);
	while (s->queue_count > 0) {
		c = &s->conn[s->queue[s->queue_head]];
		while (c->due) {
			size_t len = next_due(s, c, buf, cap, to, now);

			if (len > 0)
				return len;
		}
		c->queued = false;
		s->queue_head = (s->queue_head + 1) & (s->log.slots - 1);
		s->queue_count--;
	}
	c = next_to_fake(s, now);
	if (!c)
		return xe_ssw_next_held(s, buf, cap, to, now);
	*to = XE_TO_GUEST;
	return fake_syn(s, c, buf, cap, now);
}

static xe_ns least(xe_ns a, xe_ns b)
{
	return a < b ? a : b;
}

xe_ns xe_ssw_poll_at(const struct xe_ssw *s)
{
	xe_ns next_at = s->replaying && s->to_reestablish > 0 ? s->next_fake_at : XE_NEVER;

	if (s->queue_count > 0 || (!s->home && s->held))
		return 0;
	next_at = least(next_at, s->reset_again_at);
	if (s->to_reestablish > 0)
		next_at = least(next_at, s->claim_until);
	if (s->home)
		return least(next_at, xe_ssw_trial_poll_at(s));
	next_at = least(next_at, s->tell_again_at);
	return least(least(next_at, s->look_at), s->starved_until);
}
