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
	s->claim_until = XE_NEVER;
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

int xe_ssw_protect(struct xe_ssw *s, uint16_t port, const struct wr *w)
{
	uint32_t i = 0;

	if (!w) {
		if (s->registered[port])
			s->registered[port] = 0;
		return 0;
	}
	while (i < s->knowns && s->known[i] != w)
		i++;
	if (i == XE_SSW_WRAPPERS)
		return -ENOSPC;
	s->known[i] = w;
	s->knowns = i < s->knowns ? s->knowns : i + 1;
	s->registered[port] = (uint8_t)(i + 1);
	return 0;
}

void xe_ssw_wrappers(struct xe_ssw *s, const struct wr *const *profile)
{
	s->profile = profile;
}

const struct wr *xe_ssw_wrapper(const struct xe_ssw *s, uint16_t port)
{
	uint8_t profile;

	if (s->registered[port])
		return s->known[s->registered[port] - 1];
	profile = XE_LOG_LOAD(*xe_log_port(&s->log, port));
	return s->profile && profile < WR_PROFILES ? s->profile[profile] : NULL;
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
	s->entries[c->local_port]--;
	xe_stream_free(&s->pool, &c->stream);
	xe_stream_free(&s->pool, &c->out);
	xe_ssw_settle(s, c);
	memset(c, 0, sizeof(*c));
	c->incarnation = incarnation;
	c->queued = queued;
}

static bool awaits_tcp(const struct xe_conn *c)
{
	return xe_conn_open(c) && c->attach != XE_LIVE && !c->unprotected;
}

void xe_ssw_settle(struct xe_ssw *s, struct xe_conn *c)
{
	if (!awaits_tcp(c))
		return;
	if (c->paced) {
		xe_assert(s->faking > 0);
		s->faking--;
	}
	c->paced = false;
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

struct xe_conn *xe_ssw_alloc(struct xe_ssw *s, const struct xe_tuple *t, const struct wr *wr,
			     xe_ns now)
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
			c->wr = wr;
			c->local_addr = t->local_addr;
			c->local_port = t->local_port;
			c->peer_addr = t->peer_addr;
			c->peer_port = t->peer_port;
			xe_stream_init(&c->stream);
			xe_stream_init(&c->out);
			hash_insert(s, c);
			s->entries[c->local_port]++;
			return c;
		}
	}
	return NULL;
}

/* A new connection in this entry, whatever was in it before. */
static void begin(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	XE_LOG_COMMIT(xe_conn_slot(s, c)->state, XE_LOG_FREE);
	xe_stream_free(&s->pool, &c->stream);
	xe_stream_free(&s->pool, &c->out);
	c->attach = XE_LIVE;
	c->incarnation++;
	c->has_syn = c->recovered = c->unprotected = c->early_fin = false;
	c->refused = c->squeezed = c->lacking = false;
	c->fins = 0;
	c->due = 0;
	c->ranges = 0;
	c->inject = (struct xe_stretch){0, 0};
	c->crc_at = c->check_line = c->verified = c->replay_line = 0;
	c->out_crc = c->removed = 0;
	c->out_kept = c->marks_seen = c->gone_to = 0;
	c->marks = c->gones = 0;
	c->rcv_logged = c->ack_sent = c->sent_max = c->peer_acked = 0;
	c->spoke_at = now;
	if (s->look_at == XE_NEVER)
		s->look_at = now + XE_SSW_LOOK;
}

/* What both SYNs said; TCP's shift is its own until there is none. */
static void agree(struct xe_conn *c, const struct xe_segment *peer, const struct xe_segment *own)
{
	c->mss = peer->opt.mss ? peer->opt.mss : 536;
	c->syn_window = c->peer_window = peer->window;
	c->max_window = peer->window;
	c->options = 0;
	c->peer_wscale = c->own_wscale = 0;
	if (peer->opt.has_wscale && own->opt.has_wscale) {
		c->options |= XE_LOG_OPT_WSCALE;
		c->peer_wscale = peer->opt.wscale;
		c->own_wscale = own->opt.wscale;
	}
	if (peer->opt.has_ts && own->opt.has_ts)
		c->options |= XE_LOG_OPT_TS;
	c->right_edge = c->told_edge = own->window;
}

static void write_slot(struct xe_ssw *s, struct xe_conn *c, enum xe_log_state state)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	slot->incarnation = c->incarnation;
	slot->local_addr = c->local_addr;
	slot->local_port = c->local_port;
	slot->peer_addr = c->peer_addr;
	slot->peer_port = c->peer_port;
	slot->role = c->role;
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
	slot->first_base = slot->hole_from = slot->hole_to = 0;
	slot->replay_generation = 0;
	slot->drop_line = 0;
	slot->drop_crc = 0;
	XE_LOG_COMMIT(slot->removed, 0);
	XE_LOG_COMMIT(slot->replay_line, 0);
	XE_LOG_COMMIT(slot->rcv_logged, 0);
	XE_LOG_COMMIT(slot->ack_sent, 0);
	XE_LOG_COMMIT(slot->sent_max, 0);
	XE_LOG_COMMIT(slot->peer_acked, 0);
	XE_LOG_COMMIT(slot->state, state);
}

void xe_ssw_open(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *synack, xe_ns now)
{
	struct xe_segment syn = {.opt = c->syn_opt, .window = c->syn_win};

	begin(s, c, now);
	c->state = XE_CONN_SYN_RCVD;
	c->role = XE_LOG_CLIENT_SIDE;
	c->peer_isn = c->syn_seq;
	c->own_isn = synack->seq;
	agree(c, &syn, synack);
	c->tcp_wscale = c->own_wscale;
	c->ts_recent =
		synack->opt.tsecr; /* of the SYN that TCP took: there may have been several */
	c->ts_recent_at = now;
	c->own_tsval = synack->opt.tsval;
	write_slot(s, c, XE_LOG_SYN_RCVD);
}

void xe_ssw_open_active(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *syn,
			xe_ns now)
{
	begin(s, c, now);
	c->state = XE_CONN_SYN_SENT;
	c->role = XE_LOG_SERVER_SIDE;
	c->own_isn = syn->seq;
	c->peer_isn = 0;
	c->syn_opt = syn->opt;
	c->syn_win = syn->window;
	c->own_tsval = syn->opt.tsval;
	c->ts_recent = 0;
	c->options = syn->opt.has_ts ? XE_LOG_OPT_TS : 0; /* to be stamped */
	c->own_wscale = c->tcp_wscale = syn->opt.wscale;
	c->peer_wscale = 0;
	c->mss = c->syn_window = c->peer_window = 0;
	c->max_window = 0;
	c->right_edge = c->told_edge = syn->window;
	write_slot(s, c, XE_LOG_SYN_SENT);
}

void xe_ssw_answered(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *synack,
		     xe_ns now)
{
	struct xe_segment syn = {.opt = c->syn_opt, .window = c->syn_win};
	struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint8_t tcp_wscale = c->tcp_wscale;

	xe_assert(c->state == XE_CONN_SYN_SENT);
	c->state = XE_CONN_ESTABLISHED;
	c->peer_isn = synack->seq;
	agree(c, synack, &syn);
	c->tcp_wscale = (c->options & XE_LOG_OPT_WSCALE) ? tcp_wscale : 0;
	c->ts_recent = synack->opt.tsval;
	c->ts_recent_at = now;
	slot->peer_isn = c->peer_isn;
	slot->mss = c->mss;
	slot->syn_window = c->syn_window;
	slot->peer_wscale = c->peer_wscale;
	slot->own_wscale = c->own_wscale;
	slot->options = c->options;
	slot->peer_tsval = c->ts_recent;
	slot->peer_window = c->peer_window;
	if (!c->unprotected)
		XE_LOG_COMMIT(slot->state, XE_LOG_ESTABLISHED);
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

		info->ghosts += c->state == XE_CONN_GHOST;
		if (!xe_conn_open(c))
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
