/* South-side wrapper: what needs no replay goes (removals, see log.h).
 *
 * NSW says what may go, and at which offsets of the output that can be: its marks. Here the output
 * check's state is noted at each mark that it passes, so that a range between two of them can be
 * taken out of the CRC of all that is kept. A removal takes effect when each of its cuts can: input
 * that TCP has acked, output that the peer has. Then payload is freed and `removed` stored, which
 * NSW goes by. One that can't be waits; an impossible one waits for ever, and so do those after it.
 *
 * Nothing of what is read is believed: it is copied once, then checked.
 */
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "net/ssw_internal.h"

enum holds { HOLDS, WAITS, REFUSED };

/* ---- marks ---- */

static bool next_mark(const struct xe_ssw *s, struct xe_conn *c, uint64_t *at)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, c);
	uint64_t marks;

	if (slot->nsw_incarnation != c->incarnation ||
	    (slot->nsw_generation != s->generation && (s->home || c->attach == XE_LIVE)))
		return false;
	marks = XE_LOG_LOAD(slot->marks);
	if (marks - c->marks_seen > XE_LOG_MARKS)
		c->marks_seen = marks - XE_LOG_MARKS;
	*at = slot->mark[c->marks_seen % XE_LOG_MARKS];
	return c->marks_seen != marks;
}

static void note_mark(struct xe_conn *c)
{
	if (c->marks > 0 && c->mark[c->marks - 1].at >= c->crc_at)
		return;
	if (c->marks == XE_SSW_MARKS)
		memmove(c->mark, c->mark + 1, --c->marks * sizeof(*c->mark));
	c->mark[c->marks++] = (struct xe_mark){c->crc_at, c->out_kept, c->out_crc};
}

uint64_t xe_ssw_pass_marks(struct xe_ssw *s, struct xe_conn *c)
{
	uint64_t at;

	for (int i = 0; i < XE_LOG_MARKS && next_mark(s, c, &at); i++) {
		if (at > c->crc_at)
			return at;
		if (at == c->crc_at)
			note_mark(c);
		c->marks_seen++;
	}
	return UINT64_MAX;
}

static bool find_mark(const struct xe_conn *c, uint64_t at, struct xe_mark *mark)
{
	*mark = (struct xe_mark){0, 0, 0};
	for (uint32_t i = 0; at > 0 && i < c->marks; i++) {
		if (c->mark[i].at == at) {
			*mark = c->mark[i];
			return true;
		}
	}
	return at == 0;
}

/* The CRC of what is kept, [from, to) being taken out of it; `after` bytes of it follow `to`. */
static uint32_t without(uint32_t crc, uint64_t after, const struct xe_mark *from,
			const struct xe_mark *to)
{
	return xe_crc32c_shift(from->crc, after) ^ crc ^ xe_crc32c_shift(to->crc, after);
}

static void cut_output(struct xe_conn *c, uint64_t at, uint64_t end)
{
	struct xe_mark from, to;
	uint32_t kept = 0;

	if (!find_mark(c, at, &from) || !find_mark(c, end, &to))
		return; /* inside another cut of this removal */
	for (uint32_t i = 0; i < c->marks; i++) {
		struct xe_mark m = c->mark[i];

		if (m.at > at && m.at < end)
			continue;
		if (m.at >= end) {
			m.crc = without(m.crc, m.kept - to.kept, &from, &to);
			m.kept -= to.kept - from.kept;
		}
		c->mark[kept++] = m;
	}
	c->marks = kept;
	c->out_crc = without(c->out_crc, c->out_kept - to.kept, &from, &to);
	c->out_kept -= to.kept - from.kept;
}

/* ---- input ---- */

static void drop_gone(struct xe_conn *c, uint32_t i)
{
	c->gones--;
	memmove(&c->gone[i], &c->gone[i + 1], (c->gones - i) * sizeof(*c->gone));
}

/* The whole range that is gone around this one. What finds no place is not freed, that is all. */
static struct xe_stretch join_gone(struct xe_conn *c, uint64_t from, uint64_t to)
{
	for (bool more = true; more;) {
		more = false;
		if (from <= c->gone_to) {
			c->gone_to = to > c->gone_to ? to : c->gone_to;
			from = 0;
			to = c->gone_to;
		}
		for (uint32_t i = 0; i < c->gones && !more; i++) {
			if (from > c->gone[i].to || c->gone[i].from > to)
				continue;
			from = from < c->gone[i].from ? from : c->gone[i].from;
			to = to > c->gone[i].to ? to : c->gone[i].to;
			drop_gone(c, i);
			more = true;
		}
	}
	if (from > 0 && c->gones == XE_SSW_GONE)
		drop_gone(c, 0);
	if (from > 0)
		c->gone[c->gones++] = (struct xe_stretch){from, to};
	return (struct xe_stretch){from, to};
}

static void cut_input(struct xe_ssw *s, struct xe_conn *c, uint64_t from, uint64_t to)
{
	struct xe_stretch gone = join_gone(c, from, to);
	uint32_t free_blocks = s->pool.free_count;

	xe_stream_cut(&s->pool, &c->stream, gone.from, gone.to, xe_conn_slot(s, c));
	if (s->pool.free_count > free_blocks && c->squeezed && c->state == XE_CONN_ESTABLISHED &&
	    c->attach == XE_LIVE)
		xe_ssw_due(s, c, XE_DUE_UPDATE);
}

/* Input that no TCP, and no peer, will need again. */
static uint64_t settled_input(const struct xe_conn *c)
{
	uint64_t upto = c->rcv_logged;

	if (c->state == XE_CONN_GHOST)
		return upto;
	upto = upto < c->ack_sent ? upto : c->ack_sent;
	return c->recovered && c->tcp_ack < upto ? c->tcp_ack : upto;
}

/* ---- removals ---- */

static struct xe_conn *cut_conn(const struct xe_ssw *s, const struct xe_log_cut *cut)
{
	struct xe_conn *c = &s->conn[cut->slot];

	if (c->incarnation != cut->incarnation || (!xe_conn_open(c) && c->state != XE_CONN_GHOST))
		return NULL; /* there is nothing of it any more */
	return c;
}

static enum holds output_holds(struct xe_ssw *s, struct xe_conn *c, const struct xe_log_cut *cut)
{
	struct xe_mark mark;

	if (c->state == XE_CONN_GHOST)
		return HOLDS;
	xe_ssw_pass_marks(s, c);
	if (cut->to > c->crc_at)
		return WAITS;
	return find_mark(c, cut->from, &mark) && find_mark(c, cut->to, &mark) ? HOLDS : REFUSED;
}

static enum holds holds(struct xe_ssw *s, const struct xe_conn *root, const struct xe_log_cut *cut)
{
	struct xe_conn *c;

	if (cut->slot >= s->log.slots)
		return REFUSED;
	c = cut_conn(s, cut);
	if (!c)
		return HOLDS;
	if (xe_ssw_root(s, c) != root)
		return REFUSED;
	if (cut->kind == XE_CUT_WHOLE) {
		if (c == root)
			return REFUSED;
		return c->state == XE_CONN_GHOST ? HOLDS : WAITS;
	}
	if (cut->from >= cut->to)
		return REFUSED;
	switch (cut->kind) {
	case XE_CUT_INPUT:
	case XE_CUT_FILLER:
		return cut->to <= settled_input(c) ? HOLDS : WAITS;
	case XE_CUT_OUTPUT:
	case XE_CUT_BLIND:
		return output_holds(s, c, cut);
	default:
		return REFUSED;
	}
}

static void apply(struct xe_ssw *s, const struct xe_log_cut *cut, xe_ns now)
{
	struct xe_conn *c = cut_conn(s, cut);

	if (!c)
		return;
	if (cut->kind == XE_CUT_WHOLE)
		xe_ssw_lay(s, c, now);
	else if (cut->kind == XE_CUT_INPUT || cut->kind == XE_CUT_FILLER)
		cut_input(s, c, cut->from, cut->to);
	else if (c->state != XE_CONN_GHOST)
		cut_output(c, cut->from, cut->to);
}

static enum holds take_removal(struct xe_ssw *s, struct xe_conn *root, xe_ns now)
{
	const struct xe_log_slot *slot = xe_conn_slot(s, root);
	uint32_t block =
		*(const volatile uint32_t *)&slot->removal[root->removed % XE_LOG_REMOVALS];
	struct xe_log_removal removal;

	if (block >= s->log.record_blocks)
		return REFUSED;
	memcpy(&removal, xe_log_records(&s->log, block), sizeof(removal));
	if (removal.cuts > XE_LOG_CUTS)
		return REFUSED;
	for (uint32_t i = 0; i < removal.cuts; i++) {
		enum holds h = holds(s, root, &removal.cut[i]);

		if (h != HOLDS)
			return h;
	}
	for (uint32_t i = 0; i < removal.cuts; i++)
		apply(s, &removal.cut[i], now);
	return HOLDS;
}

void xe_ssw_trim(struct xe_ssw *s, struct xe_conn *root, bool any_generation, xe_ns now)
{
	struct xe_log_slot *slot = xe_conn_slot(s, root);

	if (s->home || root->unprotected || xe_ssw_root(s, root) != root ||
	    (!any_generation && slot->nsw_generation != s->generation))
		return;
	for (int i = 0; i < XE_LOG_REMOVALS; i++) {
		uint32_t waiting = XE_LOG_LOAD(slot->removals) - root->removed;
		enum holds h;

		if (waiting == 0 || waiting > XE_LOG_REMOVALS)
			return;
		h = take_removal(s, root, now);
		s->count.removals_refused += h == REFUSED;
		if (h != HOLDS)
			return;
		s->count.removals++;
		XE_LOG_COMMIT(slot->removed, ++root->removed);
	}
}

static bool is_under_way(const struct xe_ssw *s, const struct xe_log_removal *removal)
{
	for (uint32_t i = 0; i < removal->cuts && i < XE_LOG_CUTS; i++) {
		const struct xe_log_cut cut = removal->cut[i];
		const struct xe_conn *c = cut.slot < s->log.slots ? cut_conn(s, &cut) : NULL;

		if (c && (cut.kind == XE_CUT_OUTPUT || cut.kind == XE_CUT_BLIND) &&
		    c->peer_acked < cut.to && cut.to <= c->sent_max)
			return true;
	}
	return false;
}

bool xe_ssw_trim_awaits_ack(const struct xe_ssw *s, const struct xe_conn *c)
{
	const struct xe_conn *root = xe_ssw_root(s, c);
	const struct xe_log_slot *slot;
	uint32_t removals;

	if (!root || s->home || root->attach == XE_LIVE)
		return false;
	slot = xe_conn_slot(s, root);
	removals = XE_LOG_LOAD(slot->removals);
	for (uint32_t i = root->removed; i != removals; i++) {
		uint32_t block = slot->removal[i % XE_LOG_REMOVALS];

		if (removals - i > XE_LOG_REMOVALS || block >= s->log.record_blocks)
			return false;
		if (is_under_way(s, (const void *)xe_log_records(&s->log, block)))
			return true;
	}
	return false;
}

void xe_ssw_trim_all(struct xe_ssw *s, bool any_generation, xe_ns now)
{
	for (uint32_t i = 0; i < s->log.slots; i++) {
		if (xe_ssw_root(s, &s->conn[i]) == &s->conn[i])
			xe_ssw_trim(s, &s->conn[i], any_generation, now);
	}
}

void xe_ssw_trim_due(struct xe_ssw *s, const struct xe_conn *c)
{
	struct xe_conn *root = xe_ssw_root(s, c);

	if (root && XE_LOG_LOAD(xe_conn_slot(s, root)->removals) != root->removed)
		xe_ssw_due(s, root, XE_DUE_TRIM);
}
