/* South-side wrapper: creation, connection table, events. See ssw.h.
 *
 * Owns the log's SSW half, the connection table and the payload pool. conn[i] and slot i
 * of the log are one connection. Nothing is allocated after creation; a connection that
 * finds no free entry recycles the oldest half-open one or tombstone, else it stays
 * unprotected.
 */
#include "net/ssw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/ssw_internal.h"

int xe_ssw_create(struct xe_ssw **out, uint8_t *const *extent, uint32_t extents)
{
	struct xe_ssw *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	rc = xe_log_open(&s->log, extent, extents);
	if (rc)
		goto out;
	rc = xe_block_pool_init(&s->pool, &s->log);
	if (rc)
		goto out;
	rc = -ENOMEM;
	s->conn = calloc(s->log.slots, sizeof(*s->conn));
	s->bucket = malloc(s->log.slots * sizeof(*s->bucket));
	s->queue = malloc(s->log.slots * sizeof(*s->queue));
	if (!s->conn || !s->bucket || !s->queue)
		goto out;
	memset(s->bucket, 0xff, s->log.slots * sizeof(*s->bucket));
	xe_log_format(&s->log);
	s->generation = 1;
	s->starved_until = s->reset_again_at = s->look_at = s->tell_again_at = XE_NEVER;
	*out = s;
	return 0;
out:
	xe_ssw_destroy(s);
	return rc;
}

void xe_ssw_destroy(struct xe_ssw *s)
{
	if (!s)
		return;
	xe_ssw_trial_free(s);
	xe_block_pool_fini(&s->pool);
	xe_log_close(&s->log);
	free(s->conn);
	free(s->bucket);
	free(s->queue);
	free(s);
}

void xe_ssw_protect(struct xe_ssw *s, uint16_t port, bool on)
{
	uint8_t bit = (uint8_t)(1u << (port % 8));

	if (on)
		s->protected_port[port / 8] |= bit;
	else
		s->protected_port[port / 8] &= (uint8_t)~bit;
}

struct xe_conn *xe_ssw_find(struct xe_ssw *s, uint32_t local_addr, uint16_t local_port,
			    uint32_t peer_addr, uint16_t peer_port)
{
	uint32_t hash = xe_log_hash(local_addr, local_port, peer_addr, peer_port);
	uint32_t i = s->bucket[hash & (s->log.slots - 1)];

	while (i != XE_LOG_NONE) {
		struct xe_conn *c = &s->conn[i];

		if (c->local_addr == local_addr && c->peer_addr == peer_addr &&
		    c->local_port == local_port && c->peer_port == peer_port)
			return c;
		i = c->hash_next;
	}
	return NULL;
}

static uint32_t conn_bucket(const struct xe_ssw *s, const struct xe_conn *c)
{
	return xe_log_hash(c->local_addr, c->local_port, c->peer_addr, c->peer_port) &
	       (s->log.slots - 1);
}

static void hash_insert(struct xe_ssw *s, struct xe_conn *c)
{
	uint32_t b = conn_bucket(s, c), i = xe_conn_index(s, c);

	c->hash_next = s->bucket[b];
	xe_conn_slot(s, c)->hash_next = c->hash_next;
	s->bucket[b] = i;
	XE_LOG_COMMIT(*xe_log_bucket(&s->log, b), i);
}

static void hash_remove(struct xe_ssw *s, struct xe_conn *c)
{
	uint32_t b = conn_bucket(s, c), i = xe_conn_index(s, c);
	struct xe_conn *before = NULL;

	for (uint32_t at = s->bucket[b]; at != i; at = s->conn[at].hash_next)
		before = &s->conn[at];
	if (before) {
		before->hash_next = c->hash_next;
		xe_conn_slot(s, before)->hash_next = c->hash_next;
	} else {
		s->bucket[b] = c->hash_next;
		XE_LOG_COMMIT(*xe_log_bucket(&s->log, b), c->hash_next);
	}
}

void xe_ssw_free(struct xe_ssw *s, struct xe_conn *c)
{
	uint32_t incarnation = c->incarnation;
	bool queued = c->queued;

	xe_assert(c->state != XE_CONN_FREE);
	XE_LOG_COMMIT(xe_conn_slot(s, c)->state, XE_LOG_FREE);
	hash_remove(s, c);
	xe_stream_free(&s->pool, &c->stream);
	xe_stream_free(&s->pool, &c->out);
	xe_ssw_settle(s, c);
	memset(c, 0, sizeof(*c));
	c->incarnation = incarnation;
	c->queued = queued;
}

static bool awaits_tcp(const struct xe_conn *c)
{
	return (c->state == XE_CONN_SYN_RCVD || c->state == XE_CONN_ESTABLISHED) &&
	       c->attach != XE_LIVE && !c->unprotected;
}

void xe_ssw_settle(struct xe_ssw *s, struct xe_conn *c)
{
	if (!awaits_tcp(c))
		return;
	if (c->attach == XE_FAKING) {
		xe_assert(s->faking > 0);
		s->faking--;
	}
	c->attach = XE_LIVE;
	s->next_fake_at = 0;
	xe_assert(s->to_reestablish > 0);
	if (--s->to_reestablish > 0 || !s->replaying)
		return;
	s->recovering = false;
	xe_ssw_notify(s, XE_SSW_REESTABLISHED, 0, s->count.reestablished);
}

static bool recyclable(const struct xe_conn *c, xe_ns now, int pass)
{
	switch (c->state) {
	case XE_CONN_FREE:
		return true;
	case XE_CONN_TOMBSTONE:
		return pass > 0 || now >= c->tombstone_until;
	case XE_CONN_SYN_SEEN:
	case XE_CONN_SYN_RCVD:
		return pass > 1;
	default:
		return false;
	}
}

struct xe_conn *xe_ssw_alloc(struct xe_ssw *s, const struct xe_segment *seg, xe_ns now)
{
	for (int pass = 0; pass < 3; pass++) {
		for (uint32_t n = 0; n < s->log.slots; n++) {
			struct xe_conn *c = &s->conn[s->cursor++ & (s->log.slots - 1)];

			if (!recyclable(c, now, pass))
				continue;
			if (c->state == XE_CONN_SYN_RCVD) /* its client may yet complete it */
				xe_ssw_notify(s, XE_SSW_UNPROTECTED, XE_LOG_NONE, ENOSPC);
			if (c->state != XE_CONN_FREE)
				xe_ssw_free(s, c);
			c->state = XE_CONN_SYN_SEEN;
			c->local_addr = seg->daddr;
			c->local_port = seg->dport;
			c->peer_addr = seg->saddr;
			c->peer_port = seg->sport;
			xe_stream_init(&c->stream);
			xe_stream_init(&c->out);
			hash_insert(s, c);
			return c;
		}
	}
	return NULL;
}

void xe_ssw_open(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *synack, xe_ns now)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);
	const struct xe_tcp_options *peer = &c->syn_opt, *own = &synack->opt;

	XE_LOG_COMMIT(slot->state, XE_LOG_FREE);
	xe_stream_free(&s->pool, &c->stream);
	xe_stream_free(&s->pool, &c->out);
	c->state = XE_CONN_SYN_RCVD;
	c->attach = XE_LIVE;
	c->incarnation++;
	c->has_syn = c->recovered = c->unprotected = c->early_fin = false;
	c->refused = c->squeezed = c->lacking = false;
	c->fins = 0;
	c->due = 0;
	c->ranges = 0;
	c->inject = (struct xe_stretch){0, 0};
	c->crc_at = c->check_line = c->verified = c->replay_line = 0;
	c->out_crc = 0;
	c->peer_isn = c->syn_seq;
	c->own_isn = synack->seq;
	c->mss = peer->mss ? peer->mss : 536;
	c->syn_window = c->peer_window = c->syn_win;
	c->max_window = c->syn_win;
	c->options = 0;
	c->peer_wscale = c->own_wscale = 0;
	if (peer->has_wscale && own->has_wscale) {
		c->options |= XE_LOG_OPT_WSCALE;
		c->peer_wscale = peer->wscale;
		c->own_wscale = own->wscale;
	}
	c->tcp_wscale = c->own_wscale;
	if (peer->has_ts && own->has_ts)
		c->options |= XE_LOG_OPT_TS;
	c->ts_recent = own->tsecr; /* of the SYN that TCP took: there may have been several */
	c->ts_recent_at = now;
	c->own_tsval = own->tsval;
	c->rcv_logged = c->ack_sent = c->sent_max = c->peer_acked = 0;
	c->right_edge = c->told_edge = synack->window;
	c->spoke_at = now;
	if (s->look_at == XE_NEVER)
		s->look_at = now + XE_SSW_LOOK;

	slot->incarnation = c->incarnation;
	slot->local_addr = c->local_addr;
	slot->local_port = c->local_port;
	slot->peer_addr = c->peer_addr;
	slot->peer_port = c->peer_port;
	slot->peer_isn = c->peer_isn;
	slot->own_isn = c->own_isn;
	slot->mss = c->mss;
	slot->syn_window = c->syn_window;
	slot->peer_wscale = c->peer_wscale;
	slot->own_wscale = c->own_wscale;
	slot->options = c->options;
	slot->fins = 0;
	slot->peer_tsval = c->ts_recent;
	slot->own_tsval = c->own_tsval;
	slot->peer_window = c->peer_window;
	slot->first_block = XE_LOG_NONE;
	slot->replay_generation = 0;
	slot->drop_line = 0;
	slot->drop_crc = 0;
	XE_LOG_COMMIT(slot->replay_line, 0);
	XE_LOG_COMMIT(slot->rcv_logged, 0);
	XE_LOG_COMMIT(slot->ack_sent, 0);
	XE_LOG_COMMIT(slot->sent_max, 0);
	XE_LOG_COMMIT(slot->peer_acked, 0);
	XE_LOG_COMMIT(slot->state, XE_LOG_SYN_RCVD);
}

void xe_ssw_forget_silent(struct xe_ssw *s, xe_ns now)
{
	bool some = false;
	uint64_t at;

	if (now < s->look_at || s->home)
		return;
	s->look_at = XE_NEVER;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->state != XE_CONN_ESTABLISHED && c->state != XE_CONN_SYN_RCVD)
			continue;
		if (c->attach == XE_LIVE && now - c->spoke_at >= XE_SSW_SILENCE &&
		    xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at)) {
			s->count.forgotten++;
			xe_ssw_free(s, c);
			continue;
		}
		some = true;
		if (c->attach == XE_LIVE) /* its service may have closed without a packet */
			xe_ssw_check_closed(s, c, now);
	}
	if (some && s->look_at > now + XE_SSW_LOOK)
		s->look_at = now + XE_SSW_LOOK;
}

void xe_ssw_bury(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	bool known = c->attach == XE_LIVE;

	xe_ssw_settle(s, c);
	c->attach = known ? XE_LIVE : XE_DETACHED;
	XE_LOG_COMMIT(xe_conn_slot(s, c)->state, XE_LOG_FREE);
	xe_stream_free(&s->pool, &c->stream);
	xe_stream_free(&s->pool, &c->out);
	c->state = XE_CONN_TOMBSTONE;
	c->tombstone_until = now + XE_SSW_TOMBSTONE;
	c->ranges = 0;
	c->due &= XE_DUE_FIN_ACK;
}

void xe_ssw_refuse(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	uint64_t next = c->sent_max + ((c->fins & XE_LOG_OWN_FIN_ACKED) ? 1 : 0);
	uint64_t known_end = c->attach == XE_FAKING
				     ? c->fake_line
				     : c->rcv_logged + ((c->fins & XE_LOG_PEER_FIN) ? 1 : 0);
	bool known = c->attach != XE_DETACHED;

	c->reset_seq = c->own_isn + 1 + (uint32_t)next;
	c->kill_seq = c->peer_isn + 1 + (uint32_t)known_end;
	xe_ssw_bury(s, c, now);
	c->refused = true;
	c->resets_left = XE_SSW_RESETS - 1;
	if (s->reset_again_at == XE_NEVER)
		s->reset_again_at = now + XE_SSW_RESET_AGAIN;
	xe_ssw_due(s, c, XE_DUE_RESET | (known ? XE_DUE_KILL : 0));
}

void xe_ssw_reset_again(struct xe_ssw *s, xe_ns now)
{
	bool more = false;

	if (now < s->reset_again_at)
		return;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->state != XE_CONN_TOMBSTONE || !c->refused || c->resets_left == 0)
			continue;
		xe_ssw_due(s, c, XE_DUE_RESET);
		more |= --c->resets_left > 0;
	}
	s->reset_again_at = more ? now + XE_SSW_RESET_AGAIN : XE_NEVER;
}

void xe_ssw_diverged(struct xe_ssw *s, struct xe_conn *c, uint64_t at, xe_ns now)
{
	bool trial = s->home != NULL;

	if (trial && !xe_ssw_trial_diverged(s, c)) /* that is known */
		return;
	s->count.diverged++;
	xe_ssw_notify(s, XE_SSW_DIVERGED, xe_conn_index(s, c), at);
	if (!trial)
		xe_ssw_refuse(s, c, now);
}

bool xe_ssw_close_asked(const struct xe_ssw *s, const struct xe_conn *c, uint32_t flag,
			uint64_t *at)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint32_t flags = XE_LOG_LOAD(slot->nsw_flags);

	*at = slot->nsw_close_at;
	return (flags & flag) && slot->nsw_incarnation == c->incarnation &&
	       slot->nsw_generation == s->generation;
}

bool xe_ssw_over(const struct xe_conn *c)
{
	return (c->fins & XE_LOG_PEER_FIN) && (c->fins & XE_LOG_OWN_FIN_ACKED) &&
	       c->ack_sent > c->peer_fin_at;
}

/* Not only its output. Of a service that a fault has ended, what it did before. */
static bool has_closed(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint64_t at;

	if (c->attach == XE_DETACHED)
		return (XE_LOG_LOAD(slot->nsw_flags) & XE_LOG_ABORTED) &&
		       slot->nsw_incarnation == c->incarnation;
	return xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at);
}

void xe_ssw_check_closed(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	if (s->home || !xe_ssw_over(c))
		return;
	if ((!c->unprotected || xe_ssw_replays(s, c)) && !has_closed(s, c)) { /* it still reads */
		if (s->look_at > now + XE_SSW_LOOK_AGAIN)
			s->look_at = now + XE_SSW_LOOK_AGAIN;
		return;
	}
	xe_ssw_bury(s, c, now);
}

bool xe_ssw_replays(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);

	return c->recovered && c->replay_line > 0 &&
	       (slot->nsw_incarnation != c->incarnation || slot->nsw_generation != s->generation ||
		XE_LOG_LOAD(slot->replayed) < c->replay_line);
}

void xe_ssw_unprotect(struct xe_ssw *s, struct xe_conn *c, int error)
{
	xe_ssw_settle(s, c);
	c->unprotected = true;
	c->ranges = 0;
	c->inject = (struct xe_stretch){0, 0};
	xe_stream_free(&s->pool, &c->out);
	if (!xe_ssw_replays(s, c))
		xe_stream_free(&s->pool, &c->stream);
	XE_LOG_COMMIT(xe_conn_slot(s, c)->state, XE_LOG_UNPROTECTED);
	xe_ssw_notify(s, XE_SSW_UNPROTECTED, xe_conn_index(s, c), (uint64_t)error);
}

void xe_ssw_due(struct xe_ssw *s, struct xe_conn *c, uint16_t what)
{
	c->due |= what;
	if (c->queued)
		return;
	c->queued = true;
	xe_assert(s->queue_count < s->log.slots);
	s->queue[(s->queue_head + s->queue_count++) & (s->log.slots - 1)] = xe_conn_index(s, c);
}

void xe_ssw_notify(struct xe_ssw *s, uint32_t kind, uint32_t slot, uint64_t value)
{
	if (s->event_count == XE_SSW_EVENTS)
		return;
	s->event[(s->event_head + s->event_count++) % XE_SSW_EVENTS] =
		(struct xe_ssw_event){.kind = kind, .slot = slot, .value = value};
}

bool xe_ssw_next_event(struct xe_ssw *s, struct xe_ssw_event *e)
{
	if (s->event_count == 0)
		return false;
	*e = s->event[s->event_head];
	s->event_head = (s->event_head + 1) % XE_SSW_EVENTS;
	s->event_count--;
	return true;
}

void xe_ssw_info(const struct xe_ssw *s, struct xe_ssw_info *info)
{
	memset(info, 0, sizeof(*info));
	for (uint32_t i = 0; i < s->log.slots; i++) {
		const struct xe_conn *c = &s->conn[i];

		if (c->state != XE_CONN_SYN_RCVD && c->state != XE_CONN_ESTABLISHED)
			continue;
		info->connections++;
		info->unprotected += c->unprotected;
		info->detached += c->attach != XE_LIVE;
	}
	info->blocks = s->log.blocks;
	info->blocks_free = s->pool.free_count;
	info->generation = s->generation;
}

const struct xe_ssw_counters *xe_ssw_counters(const struct xe_ssw *s)
{
	return &s->count;
}
