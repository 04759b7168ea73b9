/* North-side wrapper: chains without what was removed; see nsw_cuts.c.
 *
 * The other chain of a slot is built beside the one in use and becomes it with one store
 * (`active`); a session's root comes last, with the number of removals that the chains show by
 * then. Dying in between leaves cuts that are both shown and in the ring, which is the same.
 *
 * Only for a session whose replay is over: all records have been used. While no removal of this
 * generation has been put into effect an old kernel may still go on (a trial): then what was in
 * use is not given back.
 */
#include <errno.h>
#include <string.h>

#include "net/nsw_internal.h"

struct chain_writer {
	struct xe_nsw *n;
	uint32_t first, last;
	uint64_t records;
	bool failed;
};

static void write_record(struct chain_writer *w, const struct xe_log_record *r)
{
	struct xe_nsw *n = w->n;

	if (w->failed)
		return;
	if (w->records % XE_RECORDS_PER_BLOCK == 0) {
		uint32_t block = xe_nsw_take_block(n);

		if (block == XE_LOG_NONE) {
			w->failed = true;
			return;
		}
		if (w->records == 0)
			w->first = block;
		else
			PUT(n, *xe_log_record_link(&n->log, w->last), block);
		w->last = block;
	}
	PUT(n, xe_log_records(&n->log, w->last)[w->records++ % XE_RECORDS_PER_BLOCK], *r);
}

static void write_cuts(struct chain_writer *w, struct xe_cuts *cuts)
{
	for (uint32_t kind = XE_CUT_INPUT; kind <= XE_CUT_BLIND; kind++) {
		const struct xe_cut_set *set = &cuts->set[kind];
		const struct xe_cut_set *gone =
			&cuts->set[kind == XE_CUT_FILLER ? XE_CUT_INPUT : XE_CUT_OUTPUT];

		for (uint32_t i = 0; i < set->count; i++) {
			struct xe_log_record r = {.size = kind, .kind = XE_RECORD_CUT};

			r.sequence = set->range[i].from;
			r.out_written = set->range[i].to;
			if ((kind == XE_CUT_FILLER || kind == XE_CUT_BLIND) &&
			    xe_cut_covers(gone, r.sequence, r.out_written))
				continue;
			write_record(w, &r);
		}
	}
}

/* Bytes of [from, to) that are kept; *first is where the first of them is. */
static uint64_t kept_bytes(struct xe_cut_set *gone, uint64_t from, uint64_t to, uint64_t *first)
{
	uint64_t kept = 0;

	*first = from = xe_cut_skip(gone, from);
	while (from < to) {
		const struct xe_cut_range *r = xe_cut_at(gone, from);
		uint64_t end = r && r->from < to ? r->from : to;

		kept += end - from;
		from = xe_cut_skip(gone, end);
	}
	return kept;
}

static bool is_gone(struct xe_nsw *n, struct xe_cuts *cuts, const struct xe_log_record *r)
{
	if (r->kind == XE_RECORD_CUT)
		return true;
	if (r->kind == XE_RECORD_LISTEN && XE_LOG_LOAD(*xe_log_port(&n->log, (uint16_t)r->size)))
		return false; /* still open: the next data connection is made there */
	return (r->kind == XE_RECORD_DATE || r->kind == XE_RECORD_LISTEN) &&
	       xe_cut_covers(&cuts->set[XE_CUT_OUTPUT], r->out_written, r->out_written + 1);
}

static void rewrite(struct chain_writer *w, struct xe_cuts *cuts, struct xe_log_slot *slot)
{
	struct xe_record_cursor at = {.block = XE_LOG_NONE};
	struct xe_log_record r, read = {0}; /* read: one that may still grow */
	uint64_t place = 0, first = 0, filler_end = 0;

	while (xe_nsw_next_record(w->n, slot, &at, UINT32_MAX, &r)) {
		if (r.kind == XE_RECORD_READ) {
			uint64_t from = place;

			place = xe_cut_advance(&cuts->set[XE_CUTS_SHOWN], from, r.size);
			r.size =
				(uint32_t)kept_bytes(&cuts->set[XE_CUT_INPUT], from, place, &first);
			if (r.size == 0)
				continue;
			if (read.size > 0 && place <= filler_end &&
			    r.size <= UINT32_MAX - read.size) {
				read.size += r.size;
				continue;
			}
		} else if (is_gone(w->n, cuts, &r)) {
			continue;
		}
		if (read.size > 0)
			write_record(w, &read);
		read.size = 0;
		if (r.kind == XE_RECORD_READ &&
		    xe_cut_covers(&cuts->set[XE_CUT_FILLER], first, place)) {
			read = r;
			filler_end = xe_cut_at(&cuts->set[XE_CUT_FILLER], first)->to;
		} else {
			write_record(w, &r);
		}
	}
	if (read.size > 0)
		write_record(w, &read);
}

/* The old kernel may still go on with it. */
static bool was_in_use(const struct xe_nsw *n, const struct wr_conn *root)
{
	return XE_LOG_LOAD(xe_slot_of(n, root)->removed) == root->removed_before;
}

/* 0, or nothing has happened: -ENOSPC, -ENOMEM. */
static int compact_chain(struct xe_nsw *n, struct wr_conn *c, struct wr_conn *root)
{
	struct xe_log_slot *slot = xe_slot_of(n, c), *ring = xe_slot_of(n, root);
	struct xe_log_chain *old = xe_log_chain(slot), *new;
	struct chain_writer w = {.n = n, .first = XE_LOG_NONE, .last = XE_LOG_NONE};
	uint32_t removed = XE_LOG_LOAD(ring->removed), other = !(XE_LOG_LOAD(slot->active) & 1);
	int rc = xe_cuts_load(n, &n->scratch, slot, ring);

	if (rc)
		return rc;
	write_cuts(&w, &n->scratch);
	rewrite(&w, &n->scratch, slot);
	xe_cuts_free(&n->scratch);
	if (w.failed) {
		xe_nsw_give_chain(n, w.first);
		return -ENOSPC;
	}
	new = &slot->chain[other];
	PUT(n, new->first, w.first);
	PUT(n, new->compacted, slot == ring ? removed : 0);
	COMMIT(n, new->records, w.records);
	COMMIT(n, slot->active, other);
	if (!was_in_use(n, root))
		xe_nsw_give_chain(n, old->first);
	PUT(n, old->first, XE_LOG_NONE);
	c->tail_block = w.last;
	xe_nsw_cursor_to_end(n, c, &c->reads);
	c->dates = c->listens = c->reads;
	return 0;
}

static bool is_cut(const struct xe_nsw *n, const struct xe_log_slot *ring, uint32_t from,
		   uint32_t to, const struct wr_conn *c)
{
	for (uint32_t i = from; i != to; i++) {
		uint32_t block = ring->removal[i % XE_LOG_REMOVALS];
		const struct xe_log_removal *removal;

		if (block >= n->log.record_blocks)
			continue;
		removal = (const void *)xe_log_records(&n->log, block);
		for (uint32_t k = 0; k < removal->cuts && k < XE_LOG_CUTS; k++) {
			if (removal->cut[k].slot == c->slot)
				return true;
		}
	}
	return false;
}

void xe_nsw_compact(struct xe_nsw *n, struct wr_conn *root)
{
	struct xe_log_slot *ring = xe_slot_of(n, root);
	struct wr_conn *c = root;
	uint32_t compacted = xe_log_chain(ring)->compacted, removed = XE_LOG_LOAD(ring->removed);
	bool in_use = was_in_use(n, root);

	if (removed == compacted || removed - compacted > XE_LOG_REMOVALS)
		return;
	while ((c = xe_nsw_next_member(n, c))) {
		if (is_cut(n, ring, compacted, removed, c) && compact_chain(n, c, root) != 0)
			return;
	}
	if (compact_chain(n, root, root) != 0)
		return;
	n->compactions++;
	for (uint32_t i = compacted; !in_use && i != removed; i++)
		xe_nsw_give_block(n, ring->removal[i % XE_LOG_REMOVALS]);
}
