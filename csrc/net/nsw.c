/* North-side wrapper; see nsw.h.
 *
 * Owns the NSW half of every slot and the arena of read records; the free list is kernel
 * memory. All that is read from the log is bounded and chains are walked a bounded number
 * of steps: a log that another kernel corrupted costs its connections, nothing else.
 *
 * Left out on purpose: the order of reads across the connections of a session. It is
 * recorded (sequence, out_written), not enforced: a plain server has none.
 */
#include "net/nsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* ---- record arena ---- */

static void release_chain(struct xe_nsw *n, struct xe_log_slot *slot)
{
	uint32_t block = slot->first_record;

	for (uint32_t i = 0; block < n->log.record_blocks && i < n->log.record_blocks; i++) {
		if (n->free_count == n->log.record_blocks)
			break;
		n->free[n->free_count++] = block;
		block = *xe_log_record_link(&n->log, block);
	}
	slot->first_record = XE_LOG_NONE;
}

static void sweep(struct xe_nsw *n)
{
	for (uint32_t i = 0; i < n->log.slots; i++) {
		struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (slot->first_record != XE_LOG_NONE &&
		    (XE_LOG_LOAD(slot->state) == XE_LOG_FREE ||
		     slot->nsw_incarnation != slot->incarnation))
			release_chain(n, slot);
	}
}

static uint32_t take_block(struct xe_nsw *n)
{
	uint32_t block;

	if (n->free_count == 0)
		sweep(n);
	if (n->free_count == 0)
		return XE_LOG_NONE;
	block = n->free[--n->free_count];
	*xe_log_record_link(&n->log, block) = XE_LOG_NONE;
	return block;
}

/* Everything that no live slot's chain holds is free. */
static int rebuild_free_list(struct xe_nsw *n)
{
	uint8_t *used = calloc(n->log.record_blocks, 1);

	n->free = malloc(n->log.record_blocks * sizeof(*n->free));
	if (!used || !n->free) {
		free(used);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n->log.slots; i++) {
		struct xe_log_slot *slot = xe_log_slot(&n->log, i);
		uint32_t *link = &slot->first_record;

		if (XE_LOG_LOAD(slot->state) == XE_LOG_FREE) {
			slot->first_record = XE_LOG_NONE;
			continue;
		}
		while (*link < n->log.record_blocks && !used[*link]) {
			used[*link] = 1;
			link = xe_log_record_link(&n->log, *link);
		}
		*link = XE_LOG_NONE; /* a cycle or a shared block would be freed twice */
	}
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
	if (rc) {
		xe_nsw_detach(n);
		return rc;
	}
	n->generation = XE_LOG_LOAD(xe_log_head(&n->log)->generation);
	n->attached = true;
	return 0;
}

void xe_nsw_detach(struct xe_nsw *n)
{
	xe_log_close(&n->log);
	free(n->free);
	n->free = NULL;
	n->free_count = 0;
	n->attached = false;
}

/* ---- accept ---- */

static struct xe_log_slot *slot_of(const struct xe_nsw *n, const struct xe_nsw_conn *c)
{
	return xe_log_slot(&n->log, c->slot);
}

/* The socket may outlive its slot: the connection is over, the handle not yet closed. */
static bool still_ours(const struct xe_nsw *n, const struct xe_nsw_conn *c)
{
	return n->attached && c->logged && slot_of(n, c)->incarnation == c->incarnation;
}

/* ... and then its record blocks may be another connection's. */
static bool may_record(const struct xe_nsw *n, const struct xe_nsw_conn *c)
{
	return still_ours(n, c) && XE_LOG_LOAD(slot_of(n, c)->state) != XE_LOG_FREE;
}

static void begin_replay(struct xe_nsw *n, struct xe_nsw_conn *c, struct xe_log_slot *slot)
{
	c->line = XE_LOG_LOAD(slot->replay_line);
	c->drop_line = slot->drop_line;
	c->block = slot->first_block;
	if (slot->nsw_incarnation != c->incarnation) { /* never accepted before the fault */
		release_chain(n, slot);
		XE_LOG_COMMIT(slot->records, 0);
	}
	c->cursor_block = slot->first_record;
	c->tail_block = slot->first_record;
}

void xe_nsw_accept(struct xe_nsw *n, struct xe_nsw_conn *c, uint32_t local_addr,
		   uint16_t local_port, uint32_t peer_addr, uint16_t peer_port)
{
	struct xe_log_slot *slot;

	memset(c, 0, sizeof(*c));
	if (!n->attached)
		return;
	c->slot = xe_log_find(&n->log, local_addr, local_port, peer_addr, peer_port);
	if (c->slot == XE_LOG_NONE)
		return;
	c->logged = true;
	slot = slot_of(n, c);
	c->incarnation = slot->incarnation;
	c->cursor_block = c->tail_block = XE_LOG_NONE;
	if (slot->replay_generation == n->generation) {
		begin_replay(n, c, slot);
	} else {
		release_chain(n, slot);
		XE_LOG_COMMIT(slot->records, 0);
	}
	XE_LOG_COMMIT(slot->nsw_flags, 0);
	slot->nsw_incarnation = c->incarnation;
	slot->nsw_generation = n->generation;
	slot->nsw_close_at = 0;
	XE_LOG_COMMIT(slot->out_written, 0);
	XE_LOG_COMMIT(slot->nsw_flags, XE_LOG_ACCEPTED);
}

/* ---- reads ---- */

/* Moves on to the next record in replay; its size, 0: none (sizes are free then). */
static uint32_t next_record(struct xe_nsw *n, struct xe_nsw_conn *c)
{
	struct xe_log_slot *slot = slot_of(n, c);

	while (c->replayed < XE_LOG_LOAD(slot->records)) {
		uint32_t i = (uint32_t)(c->replayed % XE_RECORDS_PER_BLOCK);
		struct xe_log_record r;

		if (i == 0 && c->replayed > 0 && c->cursor_block < n->log.record_blocks)
			c->cursor_block = *xe_log_record_link(&n->log, c->cursor_block);
		if (c->cursor_block >= n->log.record_blocks)
			return 0;
		c->tail_block = c->cursor_block;
		r = xe_log_records(&n->log, c->cursor_block)[i];
		c->replayed++;
		if (r.kind == XE_RECORD_READ && r.size > 0)
			return r.size;
	}
	return 0;
}

static long copy_logged(struct xe_nsw *n, struct xe_nsw_conn *c, uint8_t *buf, size_t want)
{
	size_t done = 0;

	while (done < want) {
		uint64_t in = c->read_at - c->block_base;
		size_t run = want - done;

		if (in == XE_LOG_BLOCK) {
			if (c->block >= n->log.blocks ||
			    c->block_base / XE_LOG_BLOCK >= n->log.blocks) /* a cycle */
				return -EBADMSG;
			c->block = *xe_log_block_link(&n->log, c->block);
			c->block_base += XE_LOG_BLOCK;
			in = 0;
		}
		if (c->block >= n->log.blocks)
			return -EBADMSG;
		if (run > XE_LOG_BLOCK - in)
			run = (size_t)(XE_LOG_BLOCK - in);
		memcpy(buf + done, xe_log_block(&n->log, c->block) + in, run);
		done += run;
		c->read_at += run;
	}
	return (long)done;
}

long xe_nsw_feed(struct xe_nsw *n, struct xe_nsw_conn *c, void *buf, size_t n_bytes)
{
	uint64_t left = c->line - c->read_at;
	bool recorded;
	long got;

	if (!xe_nsw_can_read(c) || n_bytes == 0)
		return 0;
	if (!still_ours(n, c))
		return -EBADMSG;
	if (c->record_left == 0)
		c->record_left = next_record(n, c);
	recorded = c->record_left > 0;
	if (recorded && n_bytes > c->record_left)
		n_bytes = c->record_left;
	if (n_bytes > left)
		n_bytes = (size_t)left;
	got = copy_logged(n, c, buf, n_bytes);
	if (got < 0) {
		n->corrupt++;
		return got;
	}
	n->reads_replayed++;
	n->bytes_fed += (uint64_t)got;
	if (recorded)
		c->record_left -= (uint32_t)got;
	else
		xe_nsw_record(n, c, got);
	return got;
}

static void append_record(struct xe_nsw *n, struct xe_nsw_conn *c, const struct xe_log_record *r)
{
	struct xe_log_slot *slot = slot_of(n, c);
	uint64_t count = XE_LOG_LOAD(slot->records);

	if (XE_LOG_LOAD(slot->nsw_flags) & XE_LOG_UNRECORDED)
		return;
	if (count % XE_RECORDS_PER_BLOCK == 0) {
		uint32_t block = take_block(n);

		if (block == XE_LOG_NONE) {
			XE_LOG_COMMIT(slot->nsw_flags,
				      XE_LOG_LOAD(slot->nsw_flags) | XE_LOG_UNRECORDED);
			return;
		}
		if (c->tail_block < n->log.record_blocks)
			*xe_log_record_link(&n->log, c->tail_block) = block;
		else
			slot->first_record = block;
		c->tail_block = c->cursor_block = block;
	}
	if (c->tail_block >= n->log.record_blocks)
		return;
	xe_log_records(&n->log, c->tail_block)[count % XE_RECORDS_PER_BLOCK] = *r;
	XE_LOG_COMMIT(slot->records, count + 1);
	c->replayed = count + 1;
}

void xe_nsw_record(struct xe_nsw *n, struct xe_nsw_conn *c, long result)
{
	struct xe_log_record r = {.sequence = n->sequence++, .out_written = c->written};

	if (!may_record(n, c) || result == -EAGAIN)
		return;
	r.kind = result > 0 ? XE_RECORD_READ : result == 0 ? XE_RECORD_EOF : XE_RECORD_ERROR;
	r.size = (uint32_t)(result < 0 ? -result : result);
	if (c->replayed < XE_LOG_LOAD(slot_of(n, c)->records) && next_record(n, c) > 0)
		return; /* TCP serves what an earlier generation read: it has its record */
	append_record(n, c, &r);
}

/* ---- writes and close ---- */

size_t xe_nsw_drop(struct xe_nsw *n, struct xe_nsw_conn *c, size_t n_bytes)
{
	uint64_t left;

	if (!xe_nsw_can_write(c))
		return 0;
	left = c->drop_line - c->written;
	if (n_bytes > left)
		n_bytes = (size_t)left;
	n->writes_dropped++;
	n->bytes_dropped += n_bytes;
	xe_nsw_wrote(n, c, n_bytes);
	return n_bytes;
}

void xe_nsw_wrote(struct xe_nsw *n, struct xe_nsw_conn *c, size_t n_bytes)
{
	c->written += n_bytes;
	if (still_ours(n, c))
		XE_LOG_COMMIT(slot_of(n, c)->out_written, c->written);
}

void xe_nsw_close(struct xe_nsw *n, struct xe_nsw_conn *c, bool all)
{
	struct xe_log_slot *slot;
	uint32_t flags;

	if (!still_ours(n, c))
		return;
	slot = slot_of(n, c);
	flags = XE_LOG_LOAD(slot->nsw_flags);
	if (!(flags & XE_LOG_CLOSED))
		slot->nsw_close_at = c->written;
	XE_LOG_COMMIT(slot->nsw_flags, flags | XE_LOG_CLOSED | (all ? XE_LOG_ABORTED : 0));
}
