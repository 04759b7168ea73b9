/* South-side wrapper, a log that is full (rule: never a silent loss, never a dead-lock).
 *
 * The window that peers are told ends where the free blocks do. What finds no room is
 * dropped as if the network had lost it. If nothing was given back for XE_SSW_STARVE, the
 * largest holder goes on unprotected, with an event, and its blocks are free. A connection
 * whose payload is still replayed from the log, or whose output is still compared, is not
 * chosen.
 */
#include <errno.h>

#include "net/ssw_internal.h"

uint64_t xe_ssw_right_edge(const struct xe_ssw *s, const struct xe_conn *c, uint64_t right)
{
	uint64_t held = c->stream.end > c->rcv_logged ? c->stream.end - c->rcv_logged : 0;
	uint64_t limit = c->rcv_logged + held + (uint64_t)s->pool.free_count * XE_LOG_BLOCK;
	uint64_t home = xe_ssw_home_edge(s, c);

	limit = limit < home ? limit : home;
	if (c->unprotected || right <= limit)
		return right;
	return limit > c->told_edge ? limit : c->told_edge; /* never to the left */
}

void xe_ssw_starve(struct xe_ssw *s, xe_ns now)
{
	s->count.starved++;
	if (s->starved_until == XE_NEVER)
		s->starved_until = now + XE_SSW_STARVE;
}

static struct xe_conn *largest_holder(struct xe_ssw *s)
{
	struct xe_conn *best = NULL;
	uint32_t most = 0;

	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];
		uint32_t held = c->stream.blocks + c->out.blocks;

		if ((!xe_conn_open(c) && c->state != XE_CONN_GHOST) ||
		    (xe_conn_open(c) && c->attach != XE_LIVE) || c->unprotected || held <= most ||
		    c->verified < c->check_line || xe_ssw_replays(s, c))
			continue;
		best = c;
		most = held;
	}
	return best;
}

/* Peers that were told of a small window hear of the larger one. */
static void tell_room(struct xe_ssw *s)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		struct xe_conn *c = &s->conn[i];

		if (c->squeezed && c->state == XE_CONN_ESTABLISHED && c->attach == XE_LIVE)
			xe_ssw_due(s, c, XE_DUE_UPDATE);
	}
}

void xe_ssw_relieve(struct xe_ssw *s, xe_ns now)
{
	struct xe_conn *c;

	if (now < s->starved_until || s->home)
		return;
	s->starved_until = XE_NEVER;
	if (s->pool.free_count == 0)
		xe_ssw_trim_all(s, false, now);
	if (s->pool.free_count == 0) {
		c = largest_holder(s);
		if (c)
			xe_ssw_unprotect(s, c, ENOSPC, now);
		else
			s->starved_until = now + XE_SSW_STARVE;
	}
	if (s->pool.free_count > 0)
		tell_room(s);
}
