/* North-side wrapper: one connection; see nsw.h.
 *
 * Owns the NSW half of every slot. What a connection reads again in a replay lies at read_at:
 * records say how much was read at once, cuts what is passed over. All that is read from the log
 * is bounded and chains are walked a bounded number of steps: a log that another kernel
 * corrupted costs its connections, nothing else.
 */
#include "net/nsw.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "net/nsw_internal.h"

void xe_nsw_raise_flag(struct xe_nsw *n, const struct wr_conn *c, uint32_t flag)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);

	COMMIT(n, slot->nsw_flags, XE_LOG_LOAD(slot->nsw_flags) | flag);
}

/* The replay is over for those who only wait for that: a trial. */
void xe_nsw_check_replayed(struct xe_nsw *n, struct wr_conn *c)
{
	if (!c->unsettled || c->diverged || c->read_at < c->read_line ||
	    c->written < c->sent_line || !xe_still_ours(n, c))
		return;
	c->unsettled = false;
	xe_nsw_raise_flag(n, c, XE_LOG_REPLAYED);
}

/* ---- beginning ---- */

/* What it has of the time before the fault. `ring`: the slot with its session's removals. */
int xe_nsw_prepare(struct xe_nsw *n, struct wr_conn *c, struct xe_log_slot *ring)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);
	struct xe_record_cursor at = {.block = XE_LOG_NONE};
	struct xe_cut_set *shown;
	struct xe_log_record r;
	uint64_t end = 0;
	int rc;

	xe_cuts_free(&c->cuts);
	rc = xe_cuts_load(n, &c->cuts, slot, ring);
	shown = &c->cuts.set[XE_CUTS_SHOWN];
	c->replaying = true;
	c->reads = c->dates = c->listens = at;
	c->tail_block = XE_LOG_NONE;
	while (xe_nsw_next_record(n, slot, &at, UINT32_MAX, &r)) {
		c->tail_block = at.block;
		if (r.kind == XE_RECORD_READ)
			c->read_line = end = xe_cut_advance(shown, end, r.size);
	}
	shown->next = 0;
	if (rc)
		c->diverged = true;
	return rc;
}

/* SSW has drawn the lines, or it is a ghost. */
void xe_nsw_begin_replay(struct xe_nsw *n, struct wr_conn *c)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);

	c->replaying = true;
	c->last_gate = XE_LOG_LOAD(slot->sent_max);
	c->block = slot->first_block;
	c->block_base = slot->first_base;
	c->line = c->ghost ? XE_LOG_LOAD(slot->rcv_logged) : XE_LOG_LOAD(slot->replay_line);
	c->unsettled = c->ghost || slot->trial;
	c->drop_line = c->ghost ? UINT64_MAX : slot->drop_line;
	c->sent_line = c->ghost ? 0 : slot->sent_line;
	c->drop_crc = slot->drop_crc;
	c->sent_crc = slot->sent_crc;
	c->read_at = xe_cut_skip(&c->cuts.set[XE_CUT_INPUT], 0);
	if (c->read_line > c->line)
		c->read_line = c->line;
	xe_nsw_pass_over(n, c);
}

/* SSW remembers the marks that it has passed; the one that it may have just reached is set again. */
void xe_nsw_keep_marks(struct xe_nsw *n, struct wr_conn *c)
{
	struct xe_log_slot *slot = xe_slot_of(n, c);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->old_marks; i++) {
		if (c->old_mark[i] < c->drop_line) {
			c->old_mark[kept++] = c->old_mark[i];
		} else if (c->old_mark[i] == c->drop_line) {
			PUT(n, slot->mark[0], c->drop_line);
			COMMIT(n, slot->marks, 1);
		}
	}
	c->old_marks = kept;
}

static void note_old_marks(struct wr_conn *c, const struct xe_log_slot *slot)
{
	uint64_t marks = XE_LOG_LOAD(slot->marks);

	c->old_marks = marks < XE_LOG_MARKS ? (uint32_t)marks : XE_LOG_MARKS;
	memcpy(c->old_mark, slot->mark, sizeof(c->old_mark));
}

/* Nothing of this half is valid before nsw_incarnation is written. */
static void bind_slot(struct xe_nsw *n, struct wr_conn *c, struct xe_log_slot *slot)
{
	uint32_t removed = XE_LOG_LOAD(slot->removed);

	xe_nsw_clear_half(n, slot);
	COMMIT(n, xe_log_chain(slot)->records, 0);
	PUT(n, xe_log_chain(slot)->compacted, removed);
	PUT(n, slot->root, c->root);
	PUT(n, slot->root_incarnation, c->root_incarnation);
	PUT(n, slot->order, c->order);
}

static void start_half(struct xe_nsw *n, struct wr_conn *c, struct xe_log_slot *slot,
		       uint32_t keeps)
{
	COMMIT(n, slot->removals,
	       c->removed_before); /* others are not in effect: nobody waits for them */
	COMMIT(n, slot->marks, 0);
	PUT(n, slot->nsw_incarnation, c->incarnation);
	PUT(n, slot->nsw_generation, n->generation);
	PUT(n, slot->nsw_close_at, 0);
	COMMIT(n, slot->out_written, c->written);
	COMMIT(n, slot->replayed, 0);
	COMMIT(n, slot->nsw_flags, XE_LOG_ACCEPTED | (XE_LOG_LOAD(slot->nsw_flags) & keeps));
}

static void forget(struct xe_nsw *n, struct wr_conn *c, uint32_t slot)
{
	xe_nsw_leave(n, c);
	xe_cuts_free(&c->cuts);
	memset(c, 0, sizeof(*c));
	c->slot = slot;
	c->root = c->next = c->last = XE_LOG_NONE;
	c->reads.block = c->dates.block = c->listens.block = c->tail_block = XE_LOG_NONE;
	c->incarnation = xe_log_slot(&n->log, slot)->incarnation;
	c->logged = true;
}

static void join_session(struct xe_nsw *n, struct wr_conn *c, struct wr_conn *root, uint32_t order)
{
	c->root = root->slot;
	c->root_incarnation = root->incarnation;
	c->order = order;
	if (root != c)
		xe_nsw_join(n, root, c);
	else
		c->listed = true;
}

void xe_nsw_open(struct xe_nsw *n, uint32_t i, int sock, struct wr_conn *root, uint32_t order)
{
	struct xe_log_slot *slot = xe_log_slot(&n->log, i);
	struct wr_conn *c = &n->conn[i];
	bool member = c->listed && !c->claimed && c->incarnation == slot->incarnation && root &&
		      c->root == root->slot;
	bool bound = xe_slot_bound(slot), ghost = XE_LOG_LOAD(slot->state) == XE_LOG_GHOST;
	bool replays = slot->replay_generation == n->generation || ghost;
	uint32_t keeps = 0;

	if (!member) {
		forget(n, c, i);
		if (root)
			join_session(n, c, root, order);
	}
	c->nsw = n;
	c->sock = sock;
	c->claimed = true;
	c->ghost = ghost;
	c->role = slot->role;
	c->opened = c->role == XE_LOG_CLIENT_SIDE;
	c->removed_before = XE_LOG_LOAD(slot->removed);
	c->next_order += c->next_order == 0;
	if (bound && (member || replays)) {
		keeps = XE_LOG_UNRECORDED; /* what is missing stays missing */
		note_old_marks(c, slot);
		if (member && root == c)
			xe_nsw_begin_session(n, c);
		else if (!member)
			xe_nsw_prepare(n, c, NULL);
	}
	if (replays && (c->opened || ghost))
		xe_nsw_begin_replay(n, c);
	COMMIT(n, slot->nsw_flags, XE_LOG_LOAD(slot->nsw_flags) & keeps);
	if (!keeps)
		bind_slot(n, c, slot);
	start_half(n, c, slot, keeps);
	if (c->opened)
		xe_nsw_keep_marks(n, c);
	if (c->root != XE_LOG_NONE && c->opened) {
		xe_nsw_load_record(n, c);
		if (c->loaded && c->record.kind == XE_RECORD_OPENED)
			c->loaded = false;
		else if (!c->loaded)
			xe_nsw_note_input(n, c, XE_RECORD_OPENED, 0);
	}
	xe_nsw_check_replayed(n, c);
}

struct wr_conn *xe_nsw_accept(struct xe_nsw *n, int sock, uint32_t local_addr, uint16_t local_port,
			      uint32_t peer_addr, uint16_t peer_port)
{
	uint32_t i = XE_LOG_NONE;

	if (n->attached)
		i = xe_log_find(&n->log, local_addr, local_port, peer_addr, peer_port);
	if (i == XE_LOG_NONE)
		return NULL;
	xe_nsw_open(n, i, sock, NULL, 0);
	return &n->conn[i];
}

/* ---- reads ---- */

static bool next_block(const struct xe_nsw *n, struct wr_conn *c)
{
	const struct xe_log_slot *slot = xe_slot_of(n, c);

	if (c->block >= n->log.blocks || ++c->blocks_walked > n->log.blocks) /* a cycle */
		return false;
	c->block = *xe_log_block_link(&n->log, c->block);
	c->block_base += XE_LOG_BLOCK;
	if (c->block_base == slot->hole_from && slot->hole_to > slot->hole_from)
		c->block_base = slot->hole_to;
	return true;
}

static int copy_logged(struct xe_nsw *n, struct wr_conn *c, uint8_t *buf, size_t want)
{
	size_t done = 0;

	while (done < want) {
		uint64_t in = c->read_at - c->block_base;
		size_t run = want - done;

		if (c->read_at < c->block_base)
			return -EBADMSG;
		if (in >= XE_LOG_BLOCK) {
			if (!next_block(n, c))
				return -EBADMSG;
			continue;
		}
		if (c->block >= n->log.blocks)
			return -EBADMSG;
		if (run > XE_LOG_BLOCK - in)
			run = (size_t)(XE_LOG_BLOCK - in);
		memcpy(buf + done, xe_log_block(&n->log, c->block) + in, run);
		done += run;
		c->read_at += run;
	}
	return 0;
}

/* Zeros where nobody looks at what it was. */
static int copy_input(struct xe_nsw *n, struct wr_conn *c, uint8_t *buf, size_t want)
{
	while (want > 0) {
		const struct xe_cut_range *filler =
			xe_cut_at(&c->cuts.set[XE_CUT_FILLER], c->read_at);
		bool within = filler && filler->from <= c->read_at;
		size_t run = want;

		if (filler && run > (within ? filler->to : filler->from) - c->read_at)
			run = (size_t)((within ? filler->to : filler->from) - c->read_at);
		if (within) {
			memset(buf, 0, run);
			c->read_at += run;
		} else if (copy_logged(n, c, buf, run) < 0) {
			return -EBADMSG;
		}
		buf += run;
		want -= run;
	}
	return 0;
}

/* What was read next the last time; what is removed of it is passed over. */
void xe_nsw_load_record(struct xe_nsw *n, struct wr_conn *c)
{
	const uint32_t input = 1u << XE_RECORD_READ | 1u << XE_RECORD_EOF | 1u << XE_RECORD_ERROR |
			       1u << XE_RECORD_OPENED;
	struct xe_log_record *r = &c->record;

	while (!c->loaded && !c->at_end) {
		uint64_t from = c->record_at;

		if (!xe_nsw_next_record(n, xe_slot_of(n, c), &c->reads, input, r) ||
		    (r->kind == XE_RECORD_READ && r->size == 0)) {
			c->at_end = true;
			return;
		}
		if (r->kind == XE_RECORD_READ) {
			c->record_end = c->record_at =
				xe_cut_advance(&c->cuts.set[XE_CUTS_SHOWN], from, r->size);
			if (xe_cut_skip(&c->cuts.set[XE_CUT_INPUT], c->read_at) >= c->record_end)
				continue;
		}
		c->loaded = true;
	}
}

/* Output that was written before the next input was read. */
static uint64_t gate_of(const struct xe_nsw *n, const struct wr_conn *c)
{
	if (XE_LOG_LOAD(xe_slot_of(n, c)->nsw_flags) & XE_LOG_UNRECORDED)
		return 0;
	return c->loaded && c->record.out_written < c->last_gate ? c->record.out_written
								 : c->last_gate;
}

static enum xe_nsw_source not_yet(struct wr_conn *c, struct wr_conn *root)
{
	c->waits = true;
	if (root)
		root->someone_waits = true;
	return XE_NOT_YET;
}

enum xe_nsw_source xe_nsw_source(struct xe_nsw *n, struct wr_conn *c)
{
	struct wr_conn *root = xe_nsw_root(n, c);

	if (!c->logged || (c->opened && !c->replaying && !(root && root->in_order)))
		return XE_FROM_TCP;
	if (!c->opened)
		return not_yet(c, root);
	if (xe_still_ours(n, c)) {
		if (c->replaying)
			xe_nsw_load_record(n, c);
		if (c->replaying && c->written < gate_of(n, c))
			return not_yet(c, root);
		if (!xe_nsw_in_turn(n, root, c))
			return not_yet(c, root);
	}
	if (c->read_at < c->line || (c->loaded && c->record.kind == XE_RECORD_ERROR))
		return XE_FROM_LOG;
	if (c->ghost) {
		uint8_t fins = xe_slot_of(n, c)->fins;

		if (fins & XE_LOG_PEER_RST)
			return XE_FROM_LOG;
		return fins & XE_LOG_PEER_FIN ? XE_FROM_TCP : not_yet(c, root);
	}
	c->replaying = c->loaded;
	return XE_FROM_TCP;
}

bool xe_nsw_patience(struct xe_nsw *n, struct wr_conn *c, xe_ns now)
{
	struct wr_conn *root = xe_nsw_root(n, c);

	if (xe_nsw_source(n, c) != XE_NOT_YET) {
		c->waits_since = 0;
		return false;
	}
	if (c->waits_since == 0)
		c->waits_since = now;
	if (now - c->waits_since < XE_NSW_PATIENCE)
		return false;
	c->last_gate = 0;
	if (root)
		root->in_order = false;
	return true;
}

int xe_nsw_logged_error(const struct wr_conn *c)
{
	switch (c->record.size) {
	case ETIMEDOUT:
	case EPIPE:
	case ECONNREFUSED:
	case ECONNABORTED:
	case EHOSTUNREACH:
		return -(int)c->record.size;
	default:
		return -ECONNRESET;
	}
}

/* The most that is fed at once: to the end of the record, and not across what is removed. */
static size_t limit_of(struct wr_conn *c, size_t n_bytes)
{
	const struct xe_cut_range *gone = xe_cut_at(&c->cuts.set[XE_CUT_INPUT], c->read_at);
	uint64_t end = c->line;

	if (c->loaded && c->record.kind == XE_RECORD_READ && c->record_end < end)
		end = c->record_end;
	if (gone && gone->from < end)
		end = gone->from;
	return n_bytes < end - c->read_at ? n_bytes : (size_t)(end - c->read_at);
}

long xe_nsw_feed(struct xe_nsw *n, struct wr_conn *c, void *buf, size_t n_bytes)
{
	enum xe_nsw_source source = n_bytes ? xe_nsw_source(n, c) : XE_FROM_TCP;
	bool recorded = c->loaded && c->record.kind == XE_RECORD_READ;

	if (source == XE_NOT_YET)
		return -EAGAIN;
	if (source == XE_FROM_TCP)
		return 0;
	if (!xe_may_record(n, c)) /* over: its blocks may be another connection's */
		return -EBADMSG;
	if (c->loaded && c->record.kind == XE_RECORD_ERROR) {
		c->loaded = false;
		return xe_nsw_logged_error(c);
	}
	if (c->read_at >= c->line) { /* a ghost that was reset */
		xe_nsw_record(n, c, -ECONNRESET);
		return -ECONNRESET;
	}
	n_bytes = limit_of(c, n_bytes);
	if (copy_input(n, c, buf, n_bytes) < 0) {
		n->corrupt++;
		return -EBADMSG;
	}
	c->read_at = xe_cut_skip(&c->cuts.set[XE_CUT_INPUT], c->read_at);
	n->reads_replayed++;
	n->bytes_fed += n_bytes;
	COMMIT(n, xe_slot_of(n, c)->replayed, c->read_at);
	xe_nsw_check_replayed(n, c);
	if (!recorded)
		xe_nsw_note_input(n, c, XE_RECORD_READ, (uint32_t)n_bytes);
	else if (c->read_at >= c->record_end)
		c->loaded = false;
	return (long)n_bytes;
}

/* What is new: records of before are used up. */
void xe_nsw_note_input(struct xe_nsw *n, struct wr_conn *c, uint32_t kind, uint32_t size)
{
	struct xe_log_record r = {
		.size = size, .kind = kind, .sequence = n->sequence++, .out_written = c->written};

	if (!xe_may_record(n, c))
		return;
	xe_nsw_append(n, c, &r);
	xe_nsw_cursor_to_end(n, c, &c->reads);
	c->loaded = false;
}

/* The end of the stream is told again by TCP itself, and not recorded again. */
void xe_nsw_record(struct xe_nsw *n, struct wr_conn *c, long result)
{
	uint32_t kind = result > 0 ? XE_RECORD_READ : result == 0 ? XE_RECORD_EOF : XE_RECORD_ERROR;

	if (result == -EAGAIN)
		return;
	if (result > 0)
		c->read_at += (uint64_t)result;
	if (c->loaded && c->record.kind == kind && kind != XE_RECORD_READ)
		c->loaded = false;
	else
		xe_nsw_note_input(n, c, kind, (uint32_t)(result < 0 ? -result : result));
}
