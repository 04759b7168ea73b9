/* South-side wrapper: how connections end.
 *
 * By a reset an entry is free at once; when both FINs are acked and the service has closed, it is a
 * tombstone for 2 MSL; one of a session that lives is a ghost first (ssw_session.c). What can't go
 * on is refused: ended loudly, both ways. An unprotected one goes on, until the next fault.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "net/ssw_internal.h"

/* Its session ended without it, or never named it. */
static void forget_ghost(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	if (!s->recovering && now >= c->tombstone_until && !xe_ssw_root(s, c))
		xe_ssw_lay(s, c, now);
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

		if (c->state == XE_CONN_GHOST) {
			forget_ghost(s, c, now);
			some = true;
			continue;
		}
		if (!xe_conn_open(c))
			continue;
		if (c->attach == XE_LIVE && now - c->spoke_at >= XE_SSW_SILENCE &&
		    xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at)) {
			s->count.forgotten++;
			xe_ssw_end(s, c, true, now);
			some |= c->state == XE_CONN_GHOST;
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

	xe_ssw_leave(s, c, now);
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
bool xe_ssw_has_closed(const struct xe_ssw *s, const struct xe_conn *c)
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
	if ((!c->unprotected || xe_ssw_replays(s, c)) &&
	    !xe_ssw_has_closed(s, c)) { /* it still reads */
		if (s->look_at > now + XE_SSW_LOOK_AGAIN)
			s->look_at = now + XE_SSW_LOOK_AGAIN;
		return;
	}
	xe_ssw_end(s, c, false, now);
}

bool xe_ssw_replays(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint64_t at;

	if (c->state == XE_CONN_GHOST && xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at))
		return false; /* closed again */
	return c->recovered && c->replay_line > 0 &&
	       (slot->nsw_incarnation != c->incarnation || slot->nsw_generation != s->generation ||
		XE_LOG_LOAD(slot->replayed) < c->replay_line);
}

void xe_ssw_end(struct xe_ssw *s, struct xe_conn *c, bool reset, xe_ns now)
{
	struct xe_conn *root = c->unprotected ? NULL : xe_ssw_root(s, c);
	bool unnamed = c->state == XE_CONN_SYN_SENT && c->wr->sessions && c->attach == XE_LIVE &&
		       xe_conn_slot(s, c)->nsw_incarnation != c->incarnation;

	if (unnamed || (root && xe_ssw_others(s, root, c))) {
		xe_ssw_haunt(s, c, reset, now);
		if (root)
			xe_ssw_due(s, root, XE_DUE_TRIM);
		return;
	}
	xe_ssw_leave(s, c, now);
	if (reset)
		xe_ssw_free(s, c);
	else
		xe_ssw_bury(s, c, now);
}

static void unprotect_one(struct xe_ssw *s, struct xe_conn *c, int error)
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

static void unprotect_member(struct xe_ssw *s, struct xe_conn *c, int error, xe_ns now)
{
	if (xe_conn_open(c) && c->attach != XE_LIVE) { /* no TCP has it: it can't go on */
		xe_ssw_refuse(s, c, now);
		xe_ssw_notify(s, XE_SSW_RESET, xe_conn_index(s, c), (uint64_t)error);
	} else if (xe_conn_open(c) && !c->unprotected) {
		unprotect_one(s, c, error);
	} else if (c->state == XE_CONN_GHOST && !xe_ssw_replays(s, c)) {
		xe_ssw_lay(s, c, now);
	}
}

void xe_ssw_unprotect(struct xe_ssw *s, struct xe_conn *c, int error, xe_ns now)
{
	struct xe_conn *root = xe_ssw_root(s, c);

	for (uint32_t i = 0; root && i < s->log.slots; i++) {
		struct xe_conn *other = &s->conn[i];

		if (other != c && other != root && xe_ssw_root(s, other) == root)
			unprotect_member(s, other, error, now);
	}
	if (root && root != c)
		unprotect_member(s, c, error, now);
	unprotect_member(s, root ? root : c, error, now);
}
