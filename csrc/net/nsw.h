/* North-side wrapper: between the service's socket calls and TCP, in the guest kernel.
 *
 * It has nothing but the mapped log, so the same code serves a kernel here and a
 * preloaded library. Per connection it decides what a call does: in normal operation TCP
 * does it and the result is recorded; in recovery logged data is fed and output that the
 * client already has is dropped (thesis 2.2; cn_read_request, cn_write_response). Dropped
 * output must be what the client has: its CRC-32C is compared with SSW's.
 *
 * A connection is known by its slot, from accept or connect on until its session ends: it may
 * outlive its socket. Of a session, input is served in the order in which it was read.
 */
#ifndef XE_NET_NSW_H
#define XE_NET_NSW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "net/ftapi.h"
#include "net/http.h"
#include "net/log.h"

/* A build for tests (XE_STORE_POINTS) counts NSW's stores into the log and calls `reached` right after
 * store number `at`: a place for the kernel to die at. */
struct xe_store_stop {
	uint64_t stores, at;
	void (*reached)(void *ctx);
	void *ctx;
};

#define XE_NSW_PATIENCE (10 * XE_SECOND)

struct xe_record_cursor {
	uint64_t index;              /* records before it are used up */
	uint32_t block;              /* of the record before it */
};

struct xe_cut_range {
	uint64_t from, to;
};

/* Cuts of one kind, sorted and disjoint, looked at with offsets that only grow. */
struct xe_cut_set {
	struct xe_cut_range *range;
	uint32_t count, next;
};

/* Sets by enum xe_log_cut_kind, and those that the chain's records do not show any more. */
enum { XE_CUTS_SHOWN = 0, XE_CUT_SETS = XE_CUT_BLIND + 1 };

struct xe_cuts {
	struct xe_cut_set set[XE_CUT_SETS];
	struct xe_cut_range *memory;
};

struct wr_conn {
	struct xe_nsw *nsw;          /* of the call that runs */
	bool logged, diverged;
	bool listed;                 /* member of a session */
	bool claimed;                /* the service has it, or had */
	bool opened;                 /* accepted; or the service knows that it is connected */
	bool closed;                 /* by the service */
	bool ghost;
	bool waits;                  /* its input was not offered */
	bool replaying;              /* lines or gates are still ahead */
	bool at_end;                 /* no record of the input is left */
	bool loaded;                 /* `record` is the next one */
	bool unsettled;              /* the end of the replay is still to be said */
	uint8_t role;                /* enum xe_log_role */
	uint8_t profile;             /* enum wr_profile */
	int sock;                    /* -1: closed, or not yet the service's */
	int error;                   /* of the connect; -errno */
	uint32_t slot, incarnation;
	/* Session; of the root only: the last line. */
	uint32_t root, root_incarnation, order, next; /* slots */
	uint32_t last, next_order, removed_before;
	bool in_order, someone_waits; /* in_order: some records of the session are ahead */
	/* Replay: what is still to be fed and dropped. */
	uint64_t read_at, line;      /* line: L; beyond it TCP serves */
	uint64_t written, drop_line;
	uint64_t read_line;          /* what was read before */
	uint64_t sent_line;          /* what was sent before, to be compared */
	uint32_t crc;                /* of the output up to `written`, as far as it is compared */
	uint32_t drop_crc, sent_crc; /* SSW's */
	uint32_t block;              /* payload block that holds read_at, or comes before it */
	uint32_t blocks_walked;
	uint64_t block_base;
	struct xe_log_record record;
	uint64_t record_at, record_end; /* where the record after it begins; of a read: its end */
	uint64_t last_gate;          /* all that was sent: so much is written before new input */
	xe_ns waits_since;           /* for a gate; 0: does not */
	struct xe_record_cursor reads, dates, listens;
	struct xe_cuts cuts;
	uint32_t tail_block;
	uint8_t date[XE_HTTP_DATE];
	uint8_t date_left;           /* of these, the last ones of a date */
	uint64_t old_mark[XE_LOG_MARKS]; /* SSW knows these, below drop_line */
	uint32_t old_marks;
	alignas(16) uint8_t state[WR_STATE];
	struct xe_log_removal pending; /* of a root: removals that found no room in its ring */
};

struct xe_nsw {
	struct xe_log log;
	bool attached;
	uint32_t generation;
	uint32_t *free;              /* record blocks */
	uint32_t free_count;
	struct wr_conn *conn;        /* by slot */
	uint32_t roots; /* of sessions before the fault, not yet accepted; by `next_root` */
	uint32_t *next_root; /* by slot */
	bool orphans; /* connects that their session did not get to know of */
	uint64_t sequence;
	struct xe_log_removal staged; /* by the handler that runs */
	uint32_t staged_root;
	bool staged_wrong;
	struct xe_cuts scratch;      /* of the chain that is compacted */
	uint64_t reads_replayed, writes_dropped, bytes_fed, bytes_dropped, dates_replayed, corrupt,
		ghosts_replayed, claims, compactions;
	struct xe_store_stop *stop; /* not owned; NULL: none */
};

/* The kernel has mapped the log at these pages. 0, -EINVAL (not a log), -ENOMEM. */
int xe_nsw_attach(struct xe_nsw *n, uint8_t *const *extent, uint32_t extents);
void xe_nsw_detach(struct xe_nsw *n);

/* ---- nsw.c: one connection ---- */

/* The service has the connection of this 4-tuple now, without a session; NULL: not in the log. */
struct wr_conn *xe_nsw_accept(struct xe_nsw *n, int sock, uint32_t local_addr, uint16_t local_port,
			      uint32_t peer_addr, uint16_t peer_port);
/* The same by its slot; `root`: its session's root, itself, or NULL. */
void xe_nsw_open(struct xe_nsw *n, uint32_t slot, int sock, struct wr_conn *root, uint32_t order);
/* Who serves the next read. Input is offered once the service has written what it had written, and
 * what was sent of it, when it read that before: one that sees its client's end early may not answer. */
enum xe_nsw_source { XE_FROM_TCP, XE_FROM_LOG, XE_NOT_YET };
enum xe_nsw_source xe_nsw_source(struct xe_nsw *n, struct wr_conn *c);
/* Now and then. A gate that does not open in XE_NSW_PATIENCE is given up: what the service then
 * writes is compared with what the client has. Whether a gate was given up. */
bool xe_nsw_patience(struct xe_nsw *n, struct wr_conn *c, xe_ns now);
/* Bytes fed from the log, 0: TCP serves this read (of a ghost: the end), -EAGAIN: not yet, -EBADMSG:
 * the log is corrupt, or the error that was read before. */
long xe_nsw_feed(struct xe_nsw *n, struct wr_conn *c, void *buf, size_t n_bytes);
/* TCP served a read: `result` bytes, 0 at EOF, or -errno. */
void xe_nsw_record(struct xe_nsw *n, struct wr_conn *c, long result);
/* A date comes next in the output: the one to be written in its place is in c->date. */
void xe_nsw_date(struct xe_nsw *n, struct wr_conn *c, const uint8_t text[XE_HTTP_DATE]);
/* How many bytes of the output the client already has: to be dropped. Sets `diverged` if the whole
 * that was dropped, or in a trial the whole that was sent, is not what it has. */
size_t xe_nsw_drop(struct xe_nsw *n, struct wr_conn *c, const uint8_t *bytes, size_t n_bytes);
/* TCP took that much. May set `diverged` as well. */
void xe_nsw_wrote(struct xe_nsw *n, struct wr_conn *c, const uint8_t *bytes, size_t n_bytes);
/* The service closes its sending side (shutdown), or all of it (close). */
void xe_nsw_close(struct xe_nsw *n, struct wr_conn *c, bool all);

static inline bool xe_nsw_can_write(const struct wr_conn *c)
{
	return c->logged && c->opened && c->written < c->drop_line;
}

/* ---- nsw_session.c ---- */

/* The root of its session, or itself. */
struct wr_conn *xe_nsw_root_of(struct xe_nsw *n, struct wr_conn *c);
uint64_t xe_nsw_token(const struct wr_conn *root);
/* The root of a session that still can be replayed; NULL. */
struct wr_conn *xe_nsw_session(struct xe_nsw *n, uint64_t token);
/* The next member, NULL: no more. Begins with the root. */
struct wr_conn *xe_nsw_next_member(struct xe_nsw *n, const struct wr_conn *c);
/* In a replay: the member that the service gets from its next accept on this port (root NULL: a
 * root that is a ghost), or from a connect to this address. NULL: a new connection. */
struct wr_conn *xe_nsw_to_accept(struct xe_nsw *n, struct wr_conn *root, uint16_t port);
struct wr_conn *xe_nsw_to_connect(struct xe_nsw *n, struct wr_conn *root, uint32_t addr,
				  uint16_t port);
/* The slot of a connect whose session the log does not name, for want of time; XE_LOG_NONE. */
uint32_t xe_nsw_orphan(struct xe_nsw *n, const struct wr_conn *root, uint32_t addr, uint16_t port);
/* Whether nothing that was read before is to be served before this; NULL: before what is new. */
bool xe_nsw_in_turn(struct xe_nsw *n, struct wr_conn *root, struct wr_conn *c);
/* A connect's end, told to the service: its result, or -EINPROGRESS for `result` came too early. */
int xe_nsw_connected(struct xe_nsw *n, struct wr_conn *c, int result);
bool xe_nsw_connect_is_due(struct xe_nsw *n, struct wr_conn *c, int result);
/* The port that the session listened to at this place; 0: none is logged. Or it is new. */
uint16_t xe_nsw_logged_port(struct xe_nsw *n, struct wr_conn *root);
void xe_nsw_listens(struct xe_nsw *n, struct wr_conn *root, uint16_t port);
/* One bit for each port that is named, or that a connection in the log has: a replay may need it. */
enum { XE_NSW_PORTS = 65536 / 8 };
void xe_nsw_held_ports(const struct xe_nsw *n, uint8_t held[XE_NSW_PORTS]);
/* Before a port is used: its wrapper, 0: none any more. */
void xe_nsw_name_port(struct xe_nsw *n, uint16_t port, uint8_t profile);

/* ---- nsw_cuts.c, nsw_compact.c ---- */

int xe_nsw_mark(struct xe_nsw *n, struct wr_conn *c);
/* Removes, or elides, with the end of the handler. 0, -EINVAL, -ENOSPC: nothing of it goes. */
int xe_nsw_cut(struct xe_nsw *n, struct wr_conn *c, enum xe_log_cut_kind kind, uint64_t from,
	       uint64_t to);
/* The handler has returned. */
void xe_nsw_handled(struct xe_nsw *n, struct wr_conn *c);

#endif
