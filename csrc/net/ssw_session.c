/* South-side wrapper: sessions, and the ghosts in them.
 *
 * Which session a connection belongs to is NSW's word, in memory of the guest: it is read when
 * something has to be decided, each word once, and believed only as far as the connection that it
 * names exists, and names itself as a root. A guest that lies changes how long its own connections
 * are kept, nothing else.
 *
 * A ghost is over for its peer: towards the network it is a tombstone. Its input is kept until the
 * session is over: when its root and all members are, or the root is gone.
 */
#include "base/assert.h"
#include "net/ssw_internal.h"

static uint32_t once(const uint32_t *word)
{
	return *(const volatile uint32_t *)word;
}

static bool in_session(const struct xe_conn *c)
{
	return (xe_conn_open(c) || c->state == XE_CONN_GHOST) && c->wr->sessions;
}

/* The root that NSW names; whether it is one is not looked at. */
static const struct xe_conn *named(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint32_t root, incarnation;

	if (!in_session(c) || once(&slot->nsw_incarnation) != c->incarnation)
		return NULL;
	root = once(&slot->root);
	incarnation = once(&slot->root_incarnation);
	if (root >= s->log.slots || s->conn[root].incarnation != incarnation)
		return NULL;
	return &s->conn[root];
}

struct xe_conn *xe_ssw_root(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_conn *root = named(s, c);

	if (!root || (root != c && named(s, root) != root))
		return NULL;
	return &s->conn[root - s->conn];
}

bool xe_ssw_others(const struct xe_ssw *s, const struct xe_conn *root, const struct xe_conn *c)
{
	if (root != c && xe_conn_open(root))
		return true;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		const struct xe_conn *other = &s->conn[i];

		if (other != c && xe_conn_open(other) && xe_ssw_root(s, other) == root)
			return true;
	}
	return false;
}

void xe_ssw_haunt(struct xe_ssw *s, struct xe_conn *c, bool reset, xe_ns now)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);
	bool known = c->attach == XE_LIVE;

	xe_ssw_settle(s, c);
	c->attach = known ? XE_LIVE : XE_DETACHED;
	xe_stream_free(&s->pool, &c->out);
	c->state = XE_CONN_GHOST;
	c->tombstone_until = now + XE_SSW_TOMBSTONE;
	c->reset = reset;
	c->ranges = 0;
	c->due &= XE_DUE_FIN_ACK | XE_DUE_TRIM;
	XE_LOG_COMMIT(slot->state, XE_LOG_GHOST);
}

void xe_ssw_lay(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	xe_assert(c->state == XE_CONN_GHOST);
	if (c->reset || now >= c->tombstone_until) {
		xe_ssw_free(s, c);
		return;
	}
	XE_LOG_COMMIT(xe_conn_slot(s, c)->state, XE_LOG_FREE);
	xe_stream_free(&s->pool, &c->stream);
	c->state = XE_CONN_TOMBSTONE;
}

void xe_ssw_leave(struct xe_ssw *s, struct xe_conn *c, xe_ns now)
{
	struct xe_conn *root = xe_ssw_root(s, c);

	if (!root || (root != c && xe_ssw_others(s, root, c)))
		return;
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *ghost = &s->conn[i];

		if (ghost->state == XE_CONN_GHOST && ghost != root && ghost != c &&
		    xe_ssw_root(s, ghost) == root)
			xe_ssw_lay(s, ghost, now);
	}
	if (root != c && root->state == XE_CONN_GHOST)
		xe_ssw_lay(s, root, now);
}

void xe_ssw_ghost_lines(struct xe_ssw *s, struct xe_conn *c)
{
	struct xe_log_slot *slot = xe_conn_slot(s, c);

	c->replay_line = c->rcv_logged;
	c->recovered = true;
	slot->drop_line = c->sent_max;
	slot->drop_crc = 0;
	slot->sent_line = 0;
	slot->trial = 0;
	slot->replay_generation = s->generation;
	XE_LOG_COMMIT(slot->replay_line, c->rcv_logged);
}
