/* North-side wrapper: the arena of records, and attaching to a log; see nsw.h.
 *
 * Owns the chains of every slot and the blocks of the rings; the free list is kernel memory.
 * All that is read from the log is bounded and chains are walked a bounded number of steps: a
 * log that another kernel corrupted costs its connections, nothing else.
 *
 * Left out on purpose: what an old kernel had in its rings and was not in effect is not given back
 * before the next attach, since the old kernel may go on (a trial that is rolled back).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/nsw_internal.h"

void xe_nsw_give_block(struct xe_nsw *n, uint32_t block)
{
	if (block < n->log.record_blocks && n->free_count < n->log.record_blocks)
		n->free[n->free_count++] = block;
}

void xe_nsw_give_chain(struct xe_nsw *n, uint32_t first)
{
	uint32_t block = first;

	for (uint32_t i = 0; block < n->log.record_blocks && i < n->log.record_blocks; i++) {
		xe_nsw_give_block(n, block);
		block = *xe_log_record_link(&n->log, block);
	}
}

/* How many blocks the ring of removals holds: those that the chains do not show. */
static uint32_t ring_holds(struct xe_log_slot *slot)
{
	uint32_t held = XE_LOG_LOAD(slot->removals) - xe_log_chain(slot)->compacted;

	return held <= XE_LOG_REMOVALS ? held : 0;
}

void xe_nsw_clear_half(struct xe_nsw *n, struct xe_log_slot *slot)
{
	uint32_t compacted = xe_log_chain(slot)->compacted, held = ring_holds(slot);

	for (uint32_t i = 0; i < held; i++)
		xe_nsw_give_block(n, slot->removal[(compacted + i) % XE_LOG_REMOVALS]);
	COMMIT(n, slot->removals, compacted);
	xe_nsw_give_chain(n, xe_log_chain(slot)->first);
	PUT(n, xe_log_chain(slot)->first, XE_LOG_NONE);
}

static void sweep(struct xe_nsw *n)
{
	for (uint32_t i = 0; i < n->log.slots; i++) {
		struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (!xe_slot_bound(slot) &&
		    (xe_log_chain(slot)->first != XE_LOG_NONE || ring_holds(slot) > 0))
			xe_nsw_clear_half(n, slot);
	}
}

uint32_t xe_nsw_take_block(struct xe_nsw *n)
{
	uint32_t block;

	if (n->free_count == 0)
		sweep(n);
	if (n->free_count == 0)
		return XE_LOG_NONE;
	block = n->free[--n->free_count];
	PUT(n, *xe_log_record_link(&n->log, block), XE_LOG_NONE);
	return block;
}

uint64_t xe_nsw_records(const struct xe_nsw *n, struct xe_log_slot *slot)
{
	uint64_t most = (uint64_t)n->log.record_blocks * XE_RECORDS_PER_BLOCK;
	uint64_t records = XE_LOG_LOAD(xe_log_chain(slot)->records);

	return records < most ? records : most;
}

bool xe_nsw_next_record(const struct xe_nsw *n, struct xe_log_slot *slot,
			struct xe_record_cursor *at, uint32_t kinds, struct xe_log_record *r)
{
	uint64_t records = xe_nsw_records(n, slot);

	while (at->index < records) {
		uint32_t i = (uint32_t)(at->index % XE_RECORDS_PER_BLOCK);

		if (at->index == 0)
			at->block = xe_log_chain(slot)->first;
		else if (i == 0 && at->block < n->log.record_blocks)
			at->block = *xe_log_record_link(&n->log, at->block);
		if (at->block >= n->log.record_blocks)
			return false;
		at->index++;
		*r = xe_log_records(&n->log, at->block)[i];
		if (r->kind < 32 && (kinds >> r->kind & 1))
			return true;
	}
	return false;
}

void xe_nsw_cursor_to_end(const struct xe_nsw *n, struct wr_conn *c, struct xe_record_cursor *at)
{
	at->index = xe_nsw_records(n, xe_slot_of(n, c));
	at->block = c->tail_block;
}

void xe_nsw_append(struct xe_nsw *n, struct wr_conn *c, const struct xe_log_record *r)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);
	uint64_t count = xe_nsw_records(n, slot);
	uint32_t flags = XE_LOG_LOAD(slot->nsw_flags);

	if (flags & XE_LOG_UNRECORDED)
		return;
	if (count % XE_RECORDS_PER_BLOCK == 0) {
		uint32_t block = xe_nsw_take_block(n);

		if (block == XE_LOG_NONE) {
			COMMIT(n, slot->nsw_flags, flags | XE_LOG_UNRECORDED);
			return;
		}
		if (count > 0 && c->tail_block < n->log.record_blocks)
			PUT(n, *xe_log_record_link(&n->log, c->tail_block), block);
		else
			PUT(n, xe_log_chain(slot)->first, block);
		c->tail_block = block;
	}
	if (c->tail_block >= n->log.record_blocks)
		return;
	PUT(n, xe_log_records(&n->log, c->tail_block)[count % XE_RECORDS_PER_BLOCK], *r);
	COMMIT(n, xe_log_chain(slot)->records, count + 1);
}

/* ---- attaching ---- */

#define LAST_SEQUENCE (UINT64_MAX / 2) /* more are never written: a broken log's */

static void note_sequences(struct xe_nsw *n, uint32_t block, uint64_t records)
{
	const struct xe_log_record *r = xe_log_records(&n->log, block);

	for (uint64_t i = 0; i < records && i < XE_RECORDS_PER_BLOCK; i++) {
		if (r[i].kind != XE_RECORD_DATE && r[i].kind != XE_RECORD_CUT &&
		    r[i].sequence >= n->sequence && r[i].sequence < LAST_SEQUENCE)
			n->sequence = r[i].sequence + 1;
	}
}

static void keep_chain(struct xe_nsw *n, struct xe_log_slot *slot, uint8_t *used)
{
	uint32_t *link = &xe_log_chain(slot)->first;
	uint64_t left = XE_LOG_LOAD(xe_log_chain(slot)->records);

	if (XE_LOG_LOAD(slot->state) == XE_LOG_FREE)
		left = 0;
	while (left > 0 && *link < n->log.record_blocks && !used[*link]) {
		used[*link] = 1;
		note_sequences(n, *link, left);
		link = xe_log_record_link(&n->log, *link);
		left -= left < XE_RECORDS_PER_BLOCK ? left : XE_RECORDS_PER_BLOCK;
	}
	if (*link != XE_LOG_NONE) /* unused, shared or in a cycle: no part of the chain */
		PUT(n, *link, XE_LOG_NONE);
}

static void keep_ring(struct xe_nsw *n, struct xe_log_slot *slot, uint8_t *used)
{
	uint32_t compacted = xe_log_chain(slot)->compacted, held = ring_holds(slot);

	if (!xe_slot_bound(slot)) {
		if (held > 0) /* free, and not to be given again */
			COMMIT(n, slot->removals, compacted);
		return;
	}
	for (uint32_t i = 0; i < held; i++) {
		uint32_t block = slot->removal[(compacted + i) % XE_LOG_REMOVALS];

		if (block < n->log.record_blocks)
			used[block] = 1;
	}
}

/* Everything that no live slot's chain or ring holds is free. */
static int rebuild_free_list(struct xe_nsw *n)
{
	uint8_t *used = calloc(n->log.record_blocks, 1);

	n->free = malloc(n->log.record_blocks * sizeof(*n->free));
	if (!used || !n->free) {
		free(used);
		return -ENOMEM;
	}
	n->sequence = 1;
	for (uint32_t i = 0; i < n->log.slots; i++)
		keep_chain(n, xe_log_slot(&n->log, i), used);
	for (uint32_t i = 0; i < n->log.slots; i++)
		keep_ring(n, xe_log_slot(&n->log, i), used);
	n->free_count = 0;
	for (uint32_t i = n->log.record_blocks; i-- > 0;) {
		if (!used[i])
			n->free[n->free_count++] = i;
	}
	free(used);
	return 0;
}

int xe_nsw_attach(struct xe_nsw *n, uint8_t *const *extent, uint32_t extents)
{
	int rc;

	xe_nsw_detach(n);
	rc = xe_log_open(&n->log, extent, extents);
	if (rc)
		return rc;
	rc = xe_log_valid(&n->log) ? rebuild_free_list(n) : -EINVAL;
	if (rc == 0) {
		n->generation = XE_LOG_LOAD(xe_log_head(&n->log)->generation);
		rc = xe_nsw_list_sessions(n);
	}
	if (rc) {
		xe_nsw_detach(n);
		return rc;
	}
	n->attached = true;
	return 0;
}

void xe_nsw_detach(struct xe_nsw *n)
{
	for (uint32_t i = 0; n->conn && i < n->log.slots; i++)
		xe_cuts_free(&n->conn[i].cuts);
	xe_cuts_free(&n->scratch);
	xe_log_close(&n->log);
	free(n->free);
	free(n->conn);
	free(n->next_root);
	n->free = n->next_root = NULL;
	n->conn = NULL;
	n->free_count = 0;
	n->attached = false;
}
