/* North-side wrapper: what is removed; see nsw.h and log.h.
 *
 * In a replay, a connection's cuts are those that its chain shows as records and those of its
 * session's ring that are in effect. Live, what a handler removes is staged until it returns;
 * then it goes into the ring as one removal, or waits in the root's memory, merged with what waits
 * there, until the ring has room and the session's replay is over. A fault before that only
 * replays more.
 *
 * Invariants: a removal's block is written before its index, the index before `removals`; an end
 * of output that a waiting removal needs is not pushed out of the ring of marks.
 * Owns the rings and the marks. Left out: a removal, once in the ring, is not taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/nsw_internal.h"

/* ---- in a replay ---- */

static int by_kind_and_place(const void *left, const void *right)
{
	const struct xe_log_cut *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->from < b->from ? -1 : a->from > b->from;
}

static uint32_t put(struct xe_log_cut *cut, uint32_t count, uint32_t most,
		    const struct xe_log_cut *c)
{
	if (c->kind >= XE_CUT_SETS || c->from >= c->to || count == most)
		return 0;
	if (cut)
		cut[count] = *c;
	return 1;
}

/* From the chain and the ring; with NULL they are only counted. */
static uint32_t gather(struct xe_nsw *n, struct xe_log_slot *slot, struct xe_log_slot *ring,
		       struct xe_log_cut *cut, uint32_t most)
{
	struct xe_record_cursor at = {.block = XE_LOG_NONE};
	struct xe_log_record r;
	uint32_t compacted = ring ? xe_log_chain(ring)->compacted : 0, count = 0;
	uint32_t held = ring ? XE_LOG_LOAD(ring->removed) - compacted : 0;

	while (xe_nsw_next_record(n, slot, &at, 1u << XE_RECORD_CUT, &r)) {
		struct xe_log_cut c = {.kind = r.size, .from = r.sequence, .to = r.out_written};

		count += put(cut, count, most, &c);
		c.kind = XE_CUTS_SHOWN;
		if (r.size == XE_CUT_INPUT)
			count += put(cut, count, most, &c);
	}
	for (uint32_t i = 0; held <= XE_LOG_REMOVALS && i < held; i++) {
		uint32_t block = ring->removal[(compacted + i) % XE_LOG_REMOVALS];
		struct xe_log_removal removal;

		if (block >= n->log.record_blocks)
			continue;
		memcpy(&removal, xe_log_records(&n->log, block), sizeof(removal));
		for (uint32_t k = 0; k < removal.cuts && k < XE_LOG_CUTS; k++) {
			const struct xe_log_cut *c = &removal.cut[k];

			if (c->slot < n->log.slots && xe_log_slot(&n->log, c->slot) == slot &&
			    c->incarnation == slot->incarnation && c->kind != XE_CUTS_SHOWN)
				count += put(cut, count, most, c);
		}
	}
	return count;
}

static void merge(struct xe_cuts *cuts, const struct xe_log_cut *cut, uint32_t count)
{
	struct xe_cut_range *r = cuts->memory;

	for (uint32_t i = 0; i < count; i++) {
		struct xe_cut_set *set = &cuts->set[cut[i].kind];

		if (set->count > 0 && cut[i].from <= r[-1].to) {
			if (r[-1].to < cut[i].to)
				r[-1].to = cut[i].to;
			continue;
		}
		if (set->count == 0)
			set->range = r;
		set->count++;
		*r++ = (struct xe_cut_range){cut[i].from, cut[i].to};
	}
}

int xe_cuts_load(struct xe_nsw *n, struct xe_cuts *cuts, struct xe_log_slot *slot,
		 struct xe_log_slot *ring)
{
	uint32_t most = n->log.record_blocks * (uint32_t)XE_RECORDS_PER_BLOCK;
	uint32_t count = gather(n, slot, ring, NULL, most);
	struct xe_log_cut *cut;

	memset(cuts, 0, sizeof(*cuts));
	if (count == 0)
		return 0;
	cut = calloc(count, sizeof(*cut));
	cuts->memory = calloc(count, sizeof(*cuts->memory));
	if (!cut || !cuts->memory) {
		free(cut);
		xe_cuts_free(cuts);
		return -ENOMEM;
	}
	count = gather(n, slot, ring, cut, count);
	qsort(cut, count, sizeof(*cut), by_kind_and_place);
	merge(cuts, cut, count);
	free(cut);
	return 0;
}

void xe_cuts_free(struct xe_cuts *cuts)
{
	free(cuts->memory);
	memset(cuts, 0, sizeof(*cuts));
}

const struct xe_cut_range *xe_cut_at(struct xe_cut_set *set, uint64_t at)
{
	while (set->next < set->count && set->range[set->next].to <= at)
		set->next++;
	return set->next < set->count ? &set->range[set->next] : NULL;
}

bool xe_cut_covers(const struct xe_cut_set *set, uint64_t from, uint64_t to)
{
	for (uint32_t i = 0; i < set->count; i++) {
		if (set->range[i].from <= from && to <= set->range[i].to)
			return true;
	}
	return false;
}

uint64_t xe_cut_skip(struct xe_cut_set *set, uint64_t at)
{
	const struct xe_cut_range *r = xe_cut_at(set, at);

	return r && r->from <= at ? r->to : at;
}

uint64_t xe_cut_advance(struct xe_cut_set *set, uint64_t at, uint64_t n)
{
	const struct xe_cut_range *r;

	at = xe_cut_skip(set, at);
	while ((r = xe_cut_at(set, at)) && n > r->from - at) {
		n -= r->from - at;
		at = r->to;
	}
	return at + n;
}

/* ---- marks ---- */

static bool needs(const struct xe_log_removal *removal, const struct wr_conn *c, uint64_t mark)
{
	for (uint32_t i = 0; i < removal->cuts && i < XE_LOG_CUTS; i++) {
		const struct xe_log_cut *cut = &removal->cut[i];

		if (cut->slot == c->slot && (cut->from == mark || cut->to == mark) &&
		    (cut->kind == XE_CUT_OUTPUT || cut->kind == XE_CUT_BLIND))
			return true;
	}
	return false;
}

/* A removal that waits, here or in the ring, begins or ends there. */
static bool is_needed(const struct xe_nsw *n, const struct wr_conn *c, uint64_t mark)
{
	const struct wr_conn *root = &n->conn[c->root];
	struct xe_log_slot *ring = xe_slot_of(n, root);
	uint32_t removals = XE_LOG_LOAD(ring->removals);

	if (needs(&root->pending, c, mark) || needs(&n->staged, c, mark))
		return true;
	for (uint32_t i = XE_LOG_LOAD(ring->removed); i != removals; i++) {
		uint32_t block = ring->removal[i % XE_LOG_REMOVALS];

		if (removals - i > XE_LOG_REMOVALS || block >= n->log.record_blocks)
			return false;
		if (needs((const void *)xe_log_records(&n->log, block), c, mark))
			return true;
	}
	return false;
}

static bool is_mark(const struct xe_nsw *n, const struct wr_conn *c, uint64_t at)
{
	const struct xe_log_slot *slot = xe_slot_of(n, c);
	uint64_t marks = XE_LOG_LOAD(slot->marks);

	for (uint64_t i = 0; i < marks && i < XE_LOG_MARKS; i++) {
		if (slot->mark[i] == at)
			return true;
	}
	for (uint32_t i = 0; i < c->old_marks; i++) {
		if (c->old_mark[i] == at)
			return true;
	}
	return at == 0;
}

/* SSW keeps as many of before the fault as of later; then those are gone. Whether they may be. */
static bool give_up_old_marks(const struct xe_nsw *n, struct wr_conn *c)
{
	for (uint32_t i = 0; i < c->old_marks; i++) {
		if (is_needed(n, c, c->old_mark[i]))
			return false;
	}
	c->old_marks = 0;
	return true;
}

int xe_nsw_mark(struct xe_nsw *n, struct wr_conn *c)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);
	uint64_t marks, evicted;

	if (!xe_may_record(n, c) || !xe_nsw_root(n, c))
		return -EINVAL;
	if (is_mark(n, c, c->written))
		return 0;
	if (c->written <
	    c->drop_line) /* SSW does not see it again: it only knows those of before */
		return -ENOSPC;
	marks = XE_LOG_LOAD(slot->marks);
	evicted = slot->mark[marks % XE_LOG_MARKS];
	if (marks >= XE_LOG_MARKS && (evicted > XE_LOG_LOAD(slot->peer_acked) ||
				      is_needed(n, c, evicted) || !give_up_old_marks(n, c)))
		return -ENOSPC;
	PUT(n, slot->mark[marks % XE_LOG_MARKS], c->written);
	COMMIT(n, slot->marks, marks + 1);
	return 0;
}

/* ---- removing ---- */

static bool joins(const struct xe_log_cut *a, const struct xe_log_cut *b)
{
	return a->slot == b->slot && a->kind == b->kind && a->from <= b->to && b->from <= a->to;
}

/* Also what it makes superfluous goes. 0, -ENOSPC. */
static int add(struct xe_log_removal *to, struct xe_log_cut cut)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < to->cuts; i++) {
		const struct xe_log_cut *c = &to->cut[i];

		if (joins(c, &cut)) {
			cut.from = c->from < cut.from ? c->from : cut.from;
			cut.to = c->to > cut.to ? c->to : cut.to;
		} else if (cut.kind != XE_CUT_WHOLE || c->slot != cut.slot) {
			to->cut[kept++] = *c;
		}
	}
	to->cuts = kept;
	if (kept == XE_LOG_CUTS)
		return -ENOSPC;
	to->cut[to->cuts++] = cut;
	return 0;
}

static bool is_input(enum xe_log_cut_kind kind)
{
	return kind == XE_CUT_INPUT || kind == XE_CUT_FILLER;
}

static int check_cut(struct xe_nsw *n, const struct wr_conn *c, enum xe_log_cut_kind kind,
		     uint64_t from, uint64_t to)
{
	const struct wr_conn *root = xe_nsw_root(n, c);

	if (!root || !xe_may_record(n, c) || !xe_may_record(n, root) ||
	    (n->staged.cuts > 0 && n->staged_root != root->slot))
		return -EINVAL;
	if (from == 0 && to == WR_ALL) /* one half of it; a root stays */
		return c != root && (kind == XE_CUT_INPUT || kind == XE_CUT_OUTPUT) ? 0 : -EINVAL;
	if (from >= to || to > (is_input(kind) ? c->read_at : c->written))
		return -EINVAL;
	return is_input(kind) || (is_mark(n, c, from) && is_mark(n, c, to)) ? 0 : -EINVAL;
}

/* What waits and what was staged, in one; -ENOSPC. */
static int join_waiting(const struct xe_nsw *n, const struct wr_conn *root,
			struct xe_log_removal *all)
{
	*all = root->pending;
	for (uint32_t i = 0; i < n->staged.cuts; i++) {
		if (add(all, n->staged.cut[i]) != 0)
			return -ENOSPC;
	}
	return 0;
}

int xe_nsw_cut(struct xe_nsw *n, struct wr_conn *c, enum xe_log_cut_kind kind, uint64_t from,
	       uint64_t to)
{
	struct xe_log_cut cut = {.slot = c->slot, .incarnation = c->incarnation, .kind = kind};
	struct xe_log_removal all;
	int rc;

	/* elided already: a replay elides it again */
	if (from == to || xe_cut_covers(&c->cuts.set[kind], from, to))
		return 0;
	cut.from = from;
	cut.to = to;
	rc = check_cut(n, c, kind, from, to);
	if (rc == 0) {
		n->staged_root = c->root;
		rc = add(&n->staged, cut);
	}
	if (rc == 0 && n->conn[n->staged_root].pending.cuts + n->staged.cuts > XE_LOG_CUTS)
		rc = join_waiting(n, &n->conn[n->staged_root], &all);
	n->staged_wrong |= rc != 0;
	return rc;
}

/* Both halves of a connection, to WR_ALL, are the whole of it; one alone is none. */
static bool join_halves(struct xe_log_removal *staged)
{
	for (uint32_t i = 0; i < staged->cuts; i++) {
		struct xe_log_cut c = staged->cut[i];
		bool other = false;

		if (c.to != WR_ALL || c.kind == XE_CUT_WHOLE)
			continue;
		for (uint32_t k = 0; k < staged->cuts; k++)
			other |= k != i && staged->cut[k].slot == c.slot &&
				 staged->cut[k].to == WR_ALL;
		if (!other)
			return false;
		c.kind = XE_CUT_WHOLE;
		c.from = c.to = 0;
		add(staged, c);
		i = (uint32_t)-1; /* from the start: it is another list */
	}
	return true;
}

static bool push(struct xe_nsw *n, struct wr_conn *root, const struct xe_log_removal *removal)
{
	struct xe_log_slot *ring = xe_slot_of(n, root);
	uint32_t removals = XE_LOG_LOAD(ring->removals), block;

	if (removals - xe_log_chain(ring)->compacted >= XE_LOG_REMOVALS)
		xe_nsw_compact(n, root);
	if (removals - xe_log_chain(ring)->compacted >= XE_LOG_REMOVALS)
		return false;
	block = xe_nsw_take_block(n);
	if (block == XE_LOG_NONE)
		return false;
	PUT(n, *(struct xe_log_removal *)(void *)xe_log_records(&n->log, block), *removal);
	PUT(n, ring->removal[removals % XE_LOG_REMOVALS], block);
	COMMIT(n, ring->removals, removals + 1);
	return true;
}

void xe_nsw_handled(struct xe_nsw *n, struct wr_conn *c)
{
	struct wr_conn *root = xe_nsw_root(n, c);
	struct xe_log_removal all;

	if (root && n->staged.cuts > 0 && !n->staged_wrong && n->staged_root == root->slot &&
	    join_halves(&n->staged) && join_waiting(n, root, &all) == 0)
		root->pending = all;
	n->staged.cuts = 0;
	n->staged_wrong = false;
	if (root && root->pending.cuts > 0 && xe_may_record(n, root) &&
	    (!root->in_order || (xe_nsw_in_turn(n, root, NULL) && !root->in_order)) &&
	    push(n, root, &root->pending))
		root->pending.cuts = 0;
}
