/* South-side wrapper, trial of a TCP that is to take over while the old one waits (4.3).
 *
 * While nothing is wrong with the old domain, what the new one says is believed only when its
 * service has read all that the old one had read, and written again all that was sent. Until then
 * the peers see nothing that the old TCP could not go on from: no new byte, no FIN, no larger
 * window, no new connection leaves; what the new TCP says too early is held. Then the new one is
 * accepted, or the old one goes on: with what the peers have sent and acked meanwhile.
 *
 * Removals wait until it is over. Invariant: home != NULL while a trial runs; then it holds each connection as the old TCP knows it,
 * and its slot; no connection comes, and none goes. The old NSW's half of a slot is as it was when
 * the old kernel goes on: of a slot that is free, too, if it has records that are to be freed.
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
	bool served;   /* the old service had accepted it */
	bool diverged; /* since the trial began */
};

enum { PORTS = 65536 };

static void end(struct xe_ssw *s)
{
	free(s->home);
	free(s->home_of);
	free(s->home_ports);
	s->home = NULL;
	s->home_of = NULL;
	s->home_ports = NULL;
}

static struct xe_home *home_of(const struct xe_ssw *s, uint32_t i)
{
	return &s->home[s->home_of[i]];
}

static bool in_use(const struct xe_ssw *s, uint32_t i)
{
	return s->conn[i].state != XE_CONN_FREE ||
	       xe_log_chain(xe_log_slot(&s->log, i))->first != XE_LOG_NONE;
}

static uint32_t count_in_use(const struct xe_ssw *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->log.slots; i++)
		n += in_use(s, i);
	return n;
}

static bool says_replayed(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);

	return (XE_LOG_LOAD(slot->nsw_flags) & XE_LOG_REPLAYED) &&
	       slot->nsw_incarnation == c->incarnation && slot->nsw_generation == s->generation;
}

/* The old TCP knows all, and has said again what another one before it had sent: what is acked
 * meanwhile can't be compared any more. */
static int may_wait(const struct xe_ssw *s)
{
	bool compares = false;

	if (s->home || s->recovering)
		return -EBUSY;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		const struct xe_conn *c = &s->conn[i];

		if (!xe_conn_open(c))
			continue;
		if (c->unprotected)
			return -EBUSY;
		compares |= c->verified < c->check_line && !says_replayed(s, c);
	}
	return compares ? -EAGAIN : 0;
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

	memcpy(s->home_ports, xe_log_at(&s->log, s->log.ports_at), PORTS);
	for (uint32_t i = 0; i < s->log.slots; i++) {
		s->home_of[i] = XE_LOG_NONE;
		if (!in_use(s, i))
			continue;
		s->home_of[i] = (uint32_t)(home - s->home);
		home->conn = s->conn[i];
		home->slot = *xe_log_slot(&s->log, i);
		home->served = served(s, &s->conn[i]);
		home->diverged = false;
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
	int rc = may_wait(s);

	if (rc)
		return rc;
	xe_ssw_trial_free(s);
	s->home = malloc((count_in_use(s) + 1) * sizeof(*s->home));
	s->home_of = malloc(s->log.slots * sizeof(*s->home_of));
	s->home_ports = malloc(PORTS);
	s->held = malloc(HELD * sizeof(*s->held));
	if (!s->home || !s->home_of || !s->home_ports || !s->held) {
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

bool xe_ssw_trial_diverged(struct xe_ssw *s, const struct xe_conn *c)
{
	struct xe_home *home = home_of(s, xe_conn_index(s, c));
	bool news = !home->diverged;

	home->diverged = true;
	return news;
}

uint64_t xe_ssw_home_edge(const struct xe_ssw *s, const struct xe_conn *c)
{
	return s->home ? home_of(s, xe_conn_index(s, c))->conn.right_edge : UINT64_MAX;
}

static bool replayed(const struct xe_ssw *s, uint32_t i)
{
	const struct xe_conn *c = &s->conn[i];
	bool live = c->state == XE_CONN_ESTABLISHED || c->state == XE_CONN_SYN_RCVD;

	return !live || !home_of(s, i)->served || says_replayed(s, c);
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

/* What could not be decided, or said, while nothing was final. */
static void settle_all(struct xe_ssw *s, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->attach != XE_LIVE ||
		    (c->state != XE_CONN_ESTABLISHED && c->state != XE_CONN_SYN_RCVD))
			continue;
		xe_ssw_check_closed(s, c, now);
		if (c->squeezed && c->state == XE_CONN_ESTABLISHED)
			xe_ssw_due(s, c, XE_DUE_UPDATE);
	}
}

void xe_ssw_accept(struct xe_ssw *s, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->state == XE_CONN_SYN_SEEN) /* the old TCP had not answered it */
			xe_ssw_free(s, c);
		else if (xe_conn_open(c) && home_of(s, i)->diverged)
			xe_ssw_refuse(s, c, now);
	}
	end(s);
	settle_all(s, now);
}

/* The old TCP's numbers; one that never took over from another is like one that did. */
static void number(struct xe_conn *c, const struct xe_conn *h)
{
	uint64_t fin = (h->fins & XE_LOG_OWN_FIN) ? 1 : 0;

	c->delta = h->recovered ? h->delta : 0;
	c->ts_delta = (h->recovered ? h->ts_delta : 0) + 1; /* the new one's were later by that */
	c->tcp_isn = h->recovered ? h->tcp_isn : h->own_isn;
	c->tcp_ts0 = h->recovered ? h->tcp_ts0 : h->own_tsval - (1u << 30);
	c->tcp_base = h->recovered ? h->tcp_base : 0;
	c->tcp_sent = h->recovered ? h->tcp_sent : h->sent_max + fin;
	c->tcp_ack = h->recovered ? h->tcp_ack : h->ack_sent;
	c->tcp_right = h->recovered ? h->tcp_right : h->right_edge;
	c->tcp_wscale = h->tcp_wscale;
	c->fake_line = h->recovered ? h->fake_line : 0;
	c->right_edge = h->right_edge;
	c->recovered = true;
}

/* What TCP may have missed, as far as it has acked, and what came since. */
static void tell(struct xe_ssw *s, struct xe_conn *c)
{
	uint64_t from = c->tcp_ack < c->rcv_logged ? c->tcp_ack : c->rcv_logged;
	uint16_t due = XE_DUE_HEAR;

	c->inject = (struct xe_stretch){from, c->rcv_logged};
	if (from < c->rcv_logged)
		due |= XE_DUE_INJECT;
	if (c->fins & XE_LOG_PEER_FIN)
		due |= XE_DUE_FIN;
	if (c->fins & XE_LOG_OWN_FIN_ACKED)
		due |= XE_DUE_FIN_ACK;
	xe_ssw_due(s, c, due);
}

void xe_ssw_tell_again(struct xe_ssw *s, xe_ns now)
{
	if (now < s->tell_again_at || s->home)
		return;
	s->tell_again_at = XE_NEVER;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->state != XE_CONN_ESTABLISHED || c->attach != XE_LIVE || c->unprotected ||
		    !c->recovered || c->tcp_ack >= c->ack_sent)
			continue;
		tell(s, c);
		s->tell_again_at = now + XE_SSW_TELL_AGAIN;
	}
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
	c->replay_line = home->conn.replay_line;
	c->check_line = home->conn.check_line;
	c->verified = home->conn.verified > c->crc_at ? home->conn.verified : c->crc_at;
	xe_ssw_output_acked(s, c);
}

static void ghost_goes_home(struct xe_ssw *s, struct xe_conn *c, const struct xe_home *home)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	c->recovered = home->conn.recovered;
	c->replay_line = home->conn.replay_line;
	slot->replay_generation = home->slot.replay_generation;
	slot->drop_line = home->slot.drop_line;
	slot->drop_crc = home->slot.drop_crc;
	slot->sent_line = home->slot.sent_line;
	slot->trial = home->slot.trial;
	XE_LOG_COMMIT(slot->replay_line, XE_LOG_LOAD(home->slot.replay_line));
}

static void go_home(struct xe_ssw *s, struct xe_conn *c, const struct xe_home *home)
{
	const struct xe_conn *h = &home->conn;
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	memcpy(&slot->nsw_flags, &home->slot.nsw_flags,
	       sizeof(*slot) - offsetof(struct xe_log_slot, nsw_flags));
	if (c->state == XE_CONN_FREE)
		return;
	c->attach = h->attach;
	c->has_syn = h->has_syn; /* the old TCP may yet answer it */
	if (c->state == XE_CONN_GHOST)
		ghost_goes_home(s, c, home);
	if (xe_conn_ended(c) || c->state == XE_CONN_SYN_SEEN)
		return;
	c->marks_seen = h->marks_seen;
	restore_lines(s, c, home);
	number(c, h);
	if (h->early_fin && !c->early_fin && !(c->fins & XE_LOG_PEER_FIN)) {
		c->early_fin = true;
		c->early_fin_at = h->early_fin_at;
		xe_ssw_note_fin(s, c, h->early_fin_at);
	}
	c->squeezed = h->squeezed;
	c->lacking = c->ranges > 0;
	if (c->state == XE_CONN_ESTABLISHED) /* else the old TCP waits for the peer, too */
		tell(s, c);
}

void xe_ssw_roll_back(struct xe_ssw *s, xe_ns now)
{
	s->generation = s->home_generation;
	s->recovering = s->replaying = s->first_byte = false;
	s->claim_until = XE_NEVER;
	s->faking = s->to_reestablish = 0;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (s->home_of[i] != XE_LOG_NONE)
			go_home(s, &s->conn[i], home_of(s, i));
	}
	memcpy(xe_log_at(&s->log, s->log.ports_at), s->home_ports, PORTS);
	xe_ssw_restore_log(s);
	s->tell_again_at = now + XE_SSW_TELL_AGAIN;
	xe_ssw_unsend(s);
	end(s);
	settle_all(s, now);
}
