/* What the parts of the north-side wrapper share.
 *
 * nsw.c          one connection: its beginning, what it reads
 * nsw_output.c   what it writes
 * nsw_records.c  the arena of records, chains, attaching
 * nsw_session.c  members of a session, their order, what is claimed
 * nsw_cuts.c     what is removed: cuts in a replay, marks, the ring
 * nsw_compact.c  chains without what was removed
 *
 * Every store into the log goes through PUT or COMMIT, so that a test can end the writer at each.
 */
#ifndef XE_NET_NSW_INTERNAL_H
#define XE_NET_NSW_INTERNAL_H

#include "net/nsw.h"

#ifdef XE_STORE_POINTS
static inline void xe_stored(const struct xe_nsw *n)
{
	if (n->stop && ++n->stop->stores == n->stop->at)
		n->stop->reached(n->stop->ctx);
}
#else
#define xe_stored(n) ((void)(n))
#endif

#define PUT(n, field, value)       \
	do {                       \
		(field) = (value); \
		xe_stored(n);      \
	} while (0)
#define COMMIT(n, field, value)              \
	do {                                 \
		XE_LOG_COMMIT(field, value); \
		xe_stored(n);                \
	} while (0)

static inline struct xe_log_slot *xe_slot_of(const struct xe_nsw *n, const struct wr_conn *c)
{
	return xe_log_slot(&n->log, c->slot);
}
/* The socket may outlive its slot: the connection is over, the handle not yet closed. */
static inline bool xe_still_ours(const struct xe_nsw *n, const struct wr_conn *c)
{
	return n->attached && c->logged && xe_slot_of(n, c)->incarnation == c->incarnation;
}
/* ... and then its record blocks may be another connection's. */
static inline bool xe_may_record(const struct xe_nsw *n, const struct wr_conn *c)
{
	return xe_still_ours(n, c) && XE_LOG_LOAD(xe_slot_of(n, c)->state) != XE_LOG_FREE;
}
/* This half speaks of the connection that the slot holds. */
static inline bool xe_slot_bound(const struct xe_log_slot *slot)
{
	return XE_LOG_LOAD(slot->state) != XE_LOG_FREE &&
	       slot->nsw_incarnation == slot->incarnation;
}
/* nsw_records.c */
uint32_t xe_nsw_take_block(struct xe_nsw *n);
void xe_nsw_give_block(struct xe_nsw *n, uint32_t block);
void xe_nsw_give_chain(struct xe_nsw *n, uint32_t first);
/* Gives the blocks back of a half that speaks of no connection any more. */
void xe_nsw_clear_half(struct xe_nsw *n, struct xe_log_slot *slot);
/* The number of records, at most what the arena holds: the memory is not trusted. */
uint64_t xe_nsw_records(const struct xe_nsw *n, struct xe_log_slot *slot);
/* Moves on to the next record of these kinds (bits); whether there is one. */
bool xe_nsw_next_record(const struct xe_nsw *n, struct xe_log_slot *slot,
			struct xe_record_cursor *at, uint32_t kinds, struct xe_log_record *r);
void xe_nsw_append(struct xe_nsw *n, struct wr_conn *c, const struct xe_log_record *r);
void xe_nsw_cursor_to_end(const struct xe_nsw *n, struct wr_conn *c, struct xe_record_cursor *at);

/* nsw.c: the next record of the input; a member as it was before the fault; an input record. */
void xe_nsw_load_record(struct xe_nsw *n, struct wr_conn *c);
int xe_nsw_prepare(struct xe_nsw *n, struct wr_conn *c, struct xe_log_slot *ring); /* NULL: none */
void xe_nsw_begin_replay(struct xe_nsw *n, struct wr_conn *c);
void xe_nsw_check_replayed(struct xe_nsw *n, struct wr_conn *c);
void xe_nsw_keep_marks(struct xe_nsw *n, struct wr_conn *c);
void xe_nsw_note_input(struct xe_nsw *n, struct wr_conn *c, uint32_t kind, uint32_t size);
int xe_nsw_logged_error(const struct wr_conn *c); /* of the record, if it may be one: -errno */
void xe_nsw_raise_flag(struct xe_nsw *n, const struct wr_conn *c, uint32_t flag);

/* nsw_output.c: output that is removed counts as written as soon as what lies before it is. */
void xe_nsw_pass_over(struct xe_nsw *n, struct wr_conn *c);

/* nsw_session.c */
int xe_nsw_list_sessions(struct xe_nsw *n); /* at attach; 0, -ENOMEM */
void xe_nsw_begin_session(struct xe_nsw *n, struct wr_conn *root);
void xe_nsw_join(struct xe_nsw *n, struct wr_conn *root, struct wr_conn *c);
void xe_nsw_leave(struct xe_nsw *n, struct wr_conn *c);
struct wr_conn *xe_nsw_root(struct xe_nsw *n, const struct wr_conn *c); /* NULL: no session */

/* nsw_cuts.c: those of a connection, its chain's and the ring's; which one an offset lies in, or
 * comes next; the first offset from there on that is kept. */
int xe_cuts_load(struct xe_nsw *n, struct xe_cuts *cuts, struct xe_log_slot *slot,
		 struct xe_log_slot *ring);
void xe_cuts_free(struct xe_cuts *cuts);
const struct xe_cut_range *xe_cut_at(struct xe_cut_set *set, uint64_t at);
uint64_t xe_cut_skip(struct xe_cut_set *set, uint64_t at);
bool xe_cut_covers(const struct xe_cut_set *set, uint64_t from, uint64_t to); /* any offsets */
/* `n` bytes that are not cut further on. */
uint64_t xe_cut_advance(struct xe_cut_set *set, uint64_t at, uint64_t n);

/* nsw_compact.c: makes room in a ring. */
void xe_nsw_compact(struct xe_nsw *n, struct wr_conn *root);

#endif
