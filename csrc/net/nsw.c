/* North-side wrapper; see nsw.h.
 *
 * Owns the NSW half of every slot and the arena of records; the free list is kernel
 * memory. All that is read from the log is bounded and chains are walked a bounded number
 * of steps: a log that another kernel corrupted costs its connections, nothing else.
 * Every store into the log goes through PUT or COMMIT, so that a test can end the writer at each.
 *
 * Left out on purpose: the order of reads across the connections of a session. It is
 * recorded (sequence, out_written), not enforced: a plain server has none.
 */
#include "net/nsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"

#ifdef XE_STORE_POINTS
static void stored(const struct xe_nsw *n)
{
	if (n->stop && ++n->stop->stores == n->stop->at)
		n->stop->reached(n->stop->ctx);
}
#else
#define stored(n) ((void)(n))
#endif

#define PUT(n, field, value)       \
	do {                       \
		(field) = (value); \
		stored(n);         \
	} while (0)
#define COMMIT(n, field, value)              \
	do {                                 \
		XE_LOG_COMMIT(field, value); \
		stored(n);                   \
	} while (0)

/* ---- record arena ---- */

static void release_chain(struct xe_nsw *n, struct xe_log_slot *slot)
{
	uint32_t block = xe_log_chain(slot)->first;

	for (uint32_t i = 0; block < n->log.record_blocks && i < n->log.record_blocks; i++) {
		if (n->free_count == n->log.record_blocks)
			break;
		n->free[n->free_count++] = block;
		block = *xe_log_record_link(&n->log, block);
	}
	PUT(n, xe_log_chain(slot)->first, XE_LOG_NONE);
}

static void sweep(struct xe_nsw *n)
{
	for (uint32_t i = 0; i < n->log.slots; i++) {
		struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (xe_log_chain(slot)->first != XE_LOG_NONE &&
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
	PUT(n, *xe_log_record_link(&n->log, block), XE_LOG_NONE);
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
		uint32_t *link = &xe_log_chain(slot)->first;
		uint64_t left = XE_LOG_LOAD(xe_log_chain(slot)->records);

		if (XE_LOG_LOAD(slot->state) == XE_LOG_FREE)
			left = 0;
		while (left > 0 && *link < n->log.record_blocks && !used[*link]) {
			used[*link] = 1;
			link = xe_log_record_link(&n->log, *link);
			left -= left < XE_RECORDS_PER_BLOCK ? left : XE_RECORDS_PER_BLOCK;
		}
		if (*link != XE_LOG_NONE) /* unused, shared or in a cycle: no part of the chain */
			PUT(n, *link, XE_LOG_NONE);
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

/* The number of records, at most what the arena holds: the memory is not trusted. */
static uint64_t records_of(const struct xe_nsw *n, struct xe_log_slot *slot)
{
	uint64_t most = (uint64_t)n->log.record_blocks * XE_RECORDS_PER_BLOCK;
	uint64_t records = XE_LOG_LOAD(xe_log_chain(slot)->records);

	return records < most ? records : most;
}

static void raise_flag(struct xe_nsw *n, const struct xe_nsw_conn *c, uint32_t flag)
{
	struct xe_log_slot *slot = slot_of(n, c);

	COMMIT(n, slot->nsw_flags, XE_LOG_LOAD(slot->nsw_flags) | flag);
}

/* The replay is over for those who only wait for that: a trial. */
static void check_replayed(struct xe_nsw *n, struct xe_nsw_conn *c)
{
	if (!c->unsettled || c->diverged || c->read_at < c->read_line ||
	    c->written < c->sent_line || !still_ours(n, c))
		return;
	c->unsettled = false;
	raise_flag(n, c, XE_LOG_REPLAYED);
}

static uint64_t bytes_read(const struct xe_log_record *r, uint32_t records)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < records; i++)
		bytes += r[i].kind == XE_RECORD_READ ? r[i].size : 0;
	return bytes;
}

static void begin_replay(struct xe_nsw *n, struct xe_nsw_conn *c, struct xe_log_slot *slot)
{
	uint64_t records;

	c->line = XE_LOG_LOAD(slot->replay_line);
	c->drop_line = slot->drop_line;
	c->drop_crc = slot->drop_crc;
	c->sent_line = slot->sent_line;
	c->sent_crc = slot->sent_crc;
	c->block = slot->first_block;
	if (slot->nsw_incarnation != c->incarnation) { /* never accepted before the fault */
		release_chain(n, slot);
		COMMIT(n, xe_log_chain(slot)->records, 0);
	}
	c->replaying = true;
	c->unsettled = slot->trial;
	c->last_gate = XE_LOG_LOAD(slot->sent_max);
	records = records_of(n, slot);
	for (uint32_t block = xe_log_chain(slot)->first; block < n->log.record_blocks && records > 0;
	     block = *xe_log_record_link(&n->log, block)) {
		uint32_t held = records < XE_RECORDS_PER_BLOCK ? (uint32_t)records
							       : XE_RECORDS_PER_BLOCK;

		c->tail_block = block;
		c->read_line += bytes_read(xe_log_records(&n->log, block), held);
		records -= held;
	}
	if (c->read_line > c->line)
		c->read_line = c->line;
}

void xe_nsw_accept(struct xe_nsw *n, struct xe_nsw_conn *c, uint32_t local_addr,
		   uint16_t local_port, uint32_t peer_addr, uint16_t peer_port)
{
	struct xe_log_slot *slot;
	uint32_t keeps = 0;

	memset(c, 0, sizeof(*c));
	if (!n->attached)
		return;
	c->slot = xe_log_find(&n->log, local_addr, local_port, peer_addr, peer_port);
	if (c->slot == XE_LOG_NONE)
		return;
	c->logged = true;
	slot = slot_of(n, c);
	c->incarnation = slot->incarnation;
	c->reads.block = c->dates.block = c->tail_block = XE_LOG_NONE;
	if (slot->replay_generation == n->generation) {
		begin_replay(n, c, slot);
		keeps = XE_LOG_UNRECORDED; /* what is missing stays missing */
	} else {
		release_chain(n, slot);
		COMMIT(n, xe_log_chain(slot)->records, 0);
	}
	COMMIT(n, slot->nsw_flags, XE_LOG_LOAD(slot->nsw_flags) & keeps);
	PUT(n, slot->nsw_incarnation, c->incarnation);
	PUT(n, slot->nsw_generation, n->generation);
	PUT(n, slot->nsw_close_at, 0);
	COMMIT(n, slot->out_written, 0);
	COMMIT(n, slot->replayed, 0);
	COMMIT(n, slot->nsw_flags, XE_LOG_ACCEPTED | (XE_LOG_LOAD(slot->nsw_flags) & keeps));
	check_replayed(n, c);
}

/* ---- records ---- */

/* Moves on to the next record of these kinds (bits); whether there is one. */
static bool next_record(const struct xe_nsw *n, const struct xe_nsw_conn *c,
			struct xe_record_cursor *at, uint32_t kinds, struct xe_log_record *r)
{
	struct xe_log_slot *slot = slot_of(n, c);
	uint64_t records = records_of(n, slot);

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

static void append_record(struct xe_nsw *n, struct xe_nsw_conn *c, const struct xe_log_record *r)
{
	struct xe_log_slot *slot = slot_of(n, c);
	uint64_t count = records_of(n, slot);
	uint32_t flags = XE_LOG_LOAD(slot->nsw_flags);

	if (flags & XE_LOG_UNRECORDED)
		return;
	if (count % XE_RECORDS_PER_BLOCK == 0) {
		uint32_t block = take_block(n);

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

/* ---- reads ---- */

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

/* What was read next the last time, and when. */
static void load_record(const struct xe_nsw *n, struct xe_nsw_conn *c)
{
	const uint32_t input = 1u << XE_RECORD_READ | 1u << XE_RECORD_EOF;
	struct xe_log_record r;

	if (c->record_left > 0 || c->at_end)
		return;
	c->gate = c->last_gate;
	if (XE_LOG_LOAD(slot_of(n, c)->nsw_flags) & XE_LOG_UNRECORDED)
		c->gate = 0;
	c->at_end = true;
	if (!next_record(n, c, &c->reads, input, &r))
		return;
	if (r.out_written < c->gate)
		c->gate = r.out_written;
	if (r.kind == XE_RECORD_READ && r.size > 0) {
		c->record_left = r.size;
		c->at_end = false;
	}
}

enum xe_nsw_source xe_nsw_source(const struct xe_nsw *n, struct xe_nsw_conn *c)
{
	if (!c->logged || !c->replaying)
		return XE_FROM_TCP;
	if (still_ours(n, c)) {
		load_record(n, c);
		if (c->written < c->gate)
			return XE_NOT_YET;
	}
	if (c->read_at < c->line)
		return XE_FROM_LOG;
	c->replaying = !c->at_end;
	return XE_FROM_TCP;
}

bool xe_nsw_patience(const struct xe_nsw *n, struct xe_nsw_conn *c, xe_ns now)
{
	if (xe_nsw_source(n, c) != XE_NOT_YET) {
		c->waits_since = 0;
		return false;
	}
	if (c->waits_since == 0)
		c->waits_since = now;
	if (now - c->waits_since < XE_NSW_PATIENCE)
		return false;
	c->gate = c->last_gate = 0;
	return true;
}

long xe_nsw_feed(struct xe_nsw *n, struct xe_nsw_conn *c, void *buf, size_t n_bytes)
{
	enum xe_nsw_source source = n_bytes ? xe_nsw_source(n, c) : XE_FROM_TCP;
	uint64_t left = c->line - c->read_at;
	bool recorded = c->record_left > 0;
	long got;

	if (source == XE_NOT_YET)
		return -EAGAIN;
	if (source == XE_FROM_TCP)
		return 0;
	if (!may_record(n, c)) /* over: its blocks may be another connection's */
		return -EBADMSG;
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
	COMMIT(n, slot_of(n, c)->replayed, c->read_at);
	check_replayed(n, c);
	if (recorded)
		c->record_left -= (uint32_t)got;
	else
		xe_nsw_record(n, c, got);
	return got;
}

/* What TCP serves an earlier generation cannot have read: its records are used up, but for
 * the end of the stream, which is then told again. */
void xe_nsw_record(struct xe_nsw *n, struct xe_nsw_conn *c, long result)
{
	struct xe_log_record r = {.sequence = n->sequence++, .out_written = c->written};

	if (!may_record(n, c) || result == -EAGAIN)
		return;
	r.kind = result > 0 ? XE_RECORD_READ : result == 0 ? XE_RECORD_EOF : XE_RECORD_ERROR;
	r.size = (uint32_t)(result < 0 ? -result : result);
	append_record(n, c, &r);
	c->reads.index = records_of(n, slot_of(n, c));
	c->reads.block = c->tail_block;
}

/* ---- writes and close ---- */

/* The date that the service wrote here before the fault, or, the first time, its own, recorded
 * before anybody sees it. */
static void settle_date(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *text)
{
	struct xe_log_record r = {.kind = XE_RECORD_DATE, .out_written = c->written};

	memcpy(c->date, text, XE_HTTP_DATE);
	c->date_left = XE_HTTP_DATE;
	if (!may_record(n, c))
		return;
	while (next_record(n, c, &c->dates, 1u << XE_RECORD_DATE, &r)) {
		if (r.out_written == c->written && r.sequence <= XE_HTTP_LAST_SECOND) {
			xe_http_format_date(c->date, (int64_t)r.sequence);
			n->dates_replayed++;
			return;
		}
	}
	r = (struct xe_log_record){.kind = XE_RECORD_DATE, .out_written = c->written};
	r.sequence = (uint64_t)xe_http_date(text);
	append_record(n, c, &r);
	c->dates.index = records_of(n, slot_of(n, c));
	c->dates.block = c->tail_block;
}

size_t xe_nsw_piece(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *buf, size_t n_bytes,
		    const uint8_t **bytes)
{
	if (c->scanned == 0) {
		bool date;

		c->scanned = xe_http_scan(&c->http, buf, n_bytes, &date);
		if (c->scanned == 0) {
			settle_date(n, c, buf);
			c->scanned = xe_http_scan(&c->http, c->date, XE_HTTP_DATE, NULL);
		}
	}
	*bytes = c->date_left > 0 ? c->date + XE_HTTP_DATE - c->date_left : buf;
	return n_bytes < c->scanned ? n_bytes : c->scanned;
}

/* The next offset at which the output is compared; UINT64_MAX: it is not any more. */
static uint64_t next_line(const struct xe_nsw_conn *c)
{
	if (c->written < c->drop_line)
		return c->drop_line;
	return c->written < c->sent_line ? c->sent_line : UINT64_MAX;
}

size_t xe_nsw_drop(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *bytes, size_t n_bytes)
{
	uint64_t left;

	if (!xe_nsw_can_write(c))
		return 0;
	left = c->drop_line - c->written;
	if (n_bytes > left)
		n_bytes = (size_t)left;
	n->writes_dropped++;
	n->bytes_dropped += n_bytes;
	xe_nsw_wrote(n, c, bytes, n_bytes);
	return n_bytes;
}

static void compare(struct xe_nsw *n, struct xe_nsw_conn *c, uint64_t line, uint32_t crc)
{
	if (c->diverged || c->written != line || c->crc == crc || !still_ours(n, c))
		return;
	c->diverged = true;
	raise_flag(n, c, XE_LOG_DIVERGED);
}

void xe_nsw_wrote(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *bytes, size_t n_bytes)
{
	uint64_t end = c->written + n_bytes;

	c->scanned -= n_bytes < c->scanned ? n_bytes : c->scanned;
	c->date_left -= n_bytes < c->date_left ? (uint8_t)n_bytes : c->date_left;
	while (c->written < end) {
		uint64_t line = next_line(c);
		size_t run = (size_t)((line < end ? line : end) - c->written);

		if (line == UINT64_MAX) {
			c->written = end;
			break;
		}
		c->crc = xe_crc32c(c->crc, bytes, run);
		bytes += run;
		c->written += run;
		compare(n, c, c->drop_line, c->drop_crc);
		compare(n, c, c->sent_line, c->sent_crc);
	}
	if (still_ours(n, c))
		COMMIT(n, slot_of(n, c)->out_written, c->written);
	check_replayed(n, c);
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
		PUT(n, slot->nsw_close_at, c->written);
	COMMIT(n, slot->nsw_flags, flags | XE_LOG_CLOSED | (all ? XE_LOG_ABORTED : 0));
}
