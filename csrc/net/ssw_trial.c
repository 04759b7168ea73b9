/* South-side wrapper, trial of a TCP that is to take over while the old one waits (4.3).
 *
 * While nothing is wrong with the old domain, what the new one says is believed only when its
 * service has read all that the old one had read, and written again all that was sent. Until then
 * the peers see nothing that the old TCP could not go on from: no new byte, no FIN, no larger
 * window, no new connection leaves; what the new TCP says too early is held. Then the new one is
 * accepted, or the old one goes on: with what the peers have sent and acked meanwhile.
 *
 * Invariant: home != NULL while a trial runs; then it holds each connection as the old TCP knows it,
 * and its slot; no connection comes, and none goes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/ssw_internal.h"

enum { HELD = 512, HELD_BYTES = 1536 };

struct xe_held {
	enum xe_direction to;
	size_t len;
	uint8_t data[HELD_BYTES];
};

struct xe_home {
	struct xe_conn conn;
	struct xe_log_slot slot;
	bool served; /* the old service had accepted it */
};

static void end(struct xe_ssw *s)
{
	free(s->home);
	free(s->home_of);
	s->home = NULL;
	s->home_of = NULL;
}

static struct xe_home *home_of(const struct xe_ssw *s, uint32_t i)
{
	return &s->home[s->home_of[i]];
}

static uint32_t in_use(const struct xe_ssw *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->log.slots; i++)
		n += s->conn[i].state != XE_CONN_FREE;
	return n;
}

static bool served(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);

	return (XE_LOG_LOAD(slot->nsw_flags) & XE_LOG_ACCEPTED) &&
	       slot->nsw_incarnation == c->incarnation && slot->nsw_generation == s->generation;
}

static void remember(struct xe_ssw *s)
{
	struct xe_home *home = s->home;

	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (s->conn[i].state == XE_CONN_FREE)
			continue;
		s->home_of[i] = (uint32_t)(home - s->home);
		home->conn = s->conn[i];
		home->slot = *xe_log_slot(&s->log, i);
		home->served = served(s, &s->conn[i]);
		home++;
	}
}

void xe_ssw_trial_free(struct xe_ssw *s)
{
	end(s);
	free(s->held);
	s->held = NULL;
	s->held_at = s->held_count = 0;
}

int xe_ssw_try(struct xe_ssw *s, xe_ns now)
{
	struct xe_ssw_info info;

	xe_ssw_info(s, &info);
	if (s->home || s->recovering || info.unprotected > 0)
		return -EBUSY;
	xe_ssw_trial_free(s);
	s->home = malloc((in_use(s) + 1) * sizeof(*s->home));
	s->home_of = malloc(s->log.slots * sizeof(*s->home_of));
	s->held = malloc(HELD * sizeof(*s->held));
	if (!s->home || !s->home_of || !s->held) {
		xe_ssw_trial_free(s);
		return -ENOMEM;
	}
	remember(s);
	s->home_generation = s->generation;
	s->tried = false;
	s->look_again_at = now;
	xe_ssw_detach(s, now);
	return 0;
}

bool xe_ssw_trying(const struct xe_ssw *s)
{
	return s->home != NULL;
}

void xe_ssw_hold(struct xe_ssw *s, const uint8_t *packet, size_t len, enum xe_direction to)
{
	struct xe_held *held = &s->held[s->held_count];

	if (s->held_count == HELD || len > HELD_BYTES)
		return; /* as if it were lost */
	held->to = to;
	held->len = len;
	memcpy(held->data, packet, len);
	s->held_count++;
}

void xe_ssw_unsend(struct xe_ssw *s)
{
	for (uint32_t i = 0; i < s->held_count; i++) {
		if (s->held[i].to == XE_TO_NETWORK)
			s->held[i].len = 0;
	}
}

/* What was held goes the way that it would have gone, now that it is known who is there. */
size_t xe_ssw_next_held(struct xe_ssw *s, uint8_t *buf, size_t cap, enum xe_direction *to,
			xe_ns now)
{
	while (!s->home && s->held_at < s->held_count) {
		struct xe_held *held = &s->held[s->held_at++];
		enum xe_verdict verdict;

		xe_assert(held->len <= cap);
		memcpy(buf, held->data, held->len);
		verdict = held->to == XE_TO_GUEST ? xe_ssw_ingress(s, buf, held->len, now)
						  : xe_ssw_egress(s, buf, held->len, now);
		*to = held->to;
		if (verdict == XE_PASS)
			return held->len;
	}
	if (!s->home && s->held)
		xe_ssw_trial_free(s);
	return 0;
}

uint64_t xe_ssw_home_edge(const struct xe_ssw *s, const struct xe_conn *c)
{
	return s->home ? home_of(s, xe_conn_index(s, c))->conn.right_edge : UINT64_MAX;
}

static bool replayed(const struct xe_ssw *s, uint32_t i)
{
	const struct xe_conn *c = &s->conn[i];
	const struct xe_log_slot *slot = xe_conn_slot(s, c);

	if ((c->state != XE_CONN_ESTABLISHED && c->state != XE_CONN_SYN_RCVD) ||
	    !home_of(s, i)->served)
		return true;
	return (XE_LOG_LOAD(slot->nsw_flags) & XE_LOG_REPLAYED) &&
	       slot->nsw_incarnation == c->incarnation && slot->nsw_generation == s->generation;
}

xe_ns xe_ssw_trial_poll_at(const struct xe_ssw *s)
{
	bool due = s->home && !s->tried && s->replaying && !s->recovering;

	return due ? s->look_again_at : XE_NEVER;
}

void xe_ssw_look_at_trial(struct xe_ssw *s, xe_ns now)
{
	if (now < xe_ssw_trial_poll_at(s))
		return;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (replayed(s, i))
			continue;
		s->look_again_at = now + XE_SSW_TRIAL_LOOK;
		return;
	}
	s->tried = true;
	xe_ssw_notify(s, XE_SSW_REPLAYED, 0, 0);
}

/* What could not be decided while nothing was final. */
static void settle_all(struct xe_ssw *s, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->attach == XE_LIVE &&
		    (c->state == XE_CONN_ESTABLISHED || c->state == XE_CONN_SYN_RCVD))
			xe_ssw_check_closed(s, c, now);
	}
}

void xe_ssw_accept(struct xe_ssw *s, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (s->conn[i].state == XE_CONN_SYN_SEEN) /* the old TCP had not answered it */
			xe_ssw_free(s, &s->conn[i]);
	}
	end(s);
	settle_all(s, now);
}

/* The old TCP's numbers; one that never took over from another is like one that did. */
static void number(struct xe_conn *c, const struct xe_conn *h)
{
	uint64_t fin = (h->fins & XE_LOG_OWN_FIN) ? 1 : 0;

	c->delta = h->recovered ? h->delta : 0;
	c->ts_delta =
		(h->recovered ? h->ts_delta : 0) + 1; /* the peer may have seen the new TCP's */
	c->tcp_isn = h->recovered ? h->tcp_isn : h->own_isn;
	c->tcp_ts0 = h->recovered ? h->tcp_ts0 : h->own_tsval - (1u << 30);
	c->tcp_base = h->recovered ? h->tcp_base : 0;
	c->tcp_sent = h->recovered ? h->tcp_sent : h->sent_max + fin;
	c->tcp_ack = h->recovered ? h->tcp_ack : h->ack_sent;
	c->tcp_right = h->recovered ? h->tcp_right : h->right_edge;
	c->tcp_wscale = h->tcp_wscale;
	c->right_edge = h->right_edge;
	c->recovered = true;
}

/* All that the old TCP may have missed: what it had not acked, and what came since. */
static void tell(struct xe_ssw *s, struct xe_conn *c, const struct xe_conn *h)
{
	uint64_t from = h->ack_sent < h->rcv_logged ? h->ack_sent : h->rcv_logged;
	uint16_t due = XE_DUE_HEAR;

	c->lacking = c->ranges > 0;
	c->inject = (struct xe_stretch){from, c->rcv_logged};
	if (from < c->rcv_logged)
		due |= XE_DUE_INJECT;
	if (c->fins & XE_LOG_PEER_FIN)
		due |= XE_DUE_FIN;
	if (c->fins & XE_LOG_OWN_FIN_ACKED)
		due |= XE_DUE_FIN_ACK;
	xe_ssw_due(s, c, due);
}

static void restore_lines(struct xe_ssw *s, struct xe_conn *c, const struct xe_home *home)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	slot->replay_generation = home->slot.replay_generation;
	slot->drop_line = home->slot.drop_line;
	slot->drop_crc = home->slot.drop_crc;
	slot->sent_line = home->slot.sent_line;
	slot->sent_crc = home->slot.sent_crc;
	slot->trial = home->slot.trial;
	XE_LOG_COMMIT(slot->replay_line, XE_LOG_LOAD(home->slot.replay_line));
	memcpy(&slot->nsw_flags, &home->slot.nsw_flags,
	       sizeof(*slot) - offsetof(struct xe_log_slot, nsw_flags));
	c->replay_line = home->conn.replay_line;
	c->check_line = home->conn.check_line;
	c->verified = home->conn.verified > c->crc_at ? home->conn.verified : c->crc_at;
	xe_ssw_output_acked(s, c);
}

static void go_home(struct xe_ssw *s, struct xe_conn *c, const struct xe_home *home)
{
	const struct xe_conn *h = &home->conn;

	c->attach = h->attach;
	if (c->state == XE_CONN_TOMBSTONE || c->state == XE_CONN_SYN_SEEN)
		return;
	restore_lines(s, c, home);
	number(c, h);
	if (h->early_fin && !c->early_fin && !(c->fins & XE_LOG_PEER_FIN)) {
		c->early_fin = true;
		c->early_fin_at = h->early_fin_at;
		xe_ssw_note_fin(s, c, h->early_fin_at);
	}
	tell(s, c, h);
}

void xe_ssw_roll_back(struct xe_ssw *s, xe_ns now)
{
	s->generation = s->home_generation;
	XE_LOG_COMMIT(xe_log_head(&s->log)->generation, s->generation);
	s->recovering = s->replaying = s->first_byte = false;
	s->faking = s->to_reestablish = 0;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (s->conn[i].state != XE_CONN_FREE)
			go_home(s, &s->conn[i], home_of(s, i));
	}
	xe_ssw_unsend(s);
	end(s);
	settle_all(s, now);
}
