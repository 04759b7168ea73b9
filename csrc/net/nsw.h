/* North-side wrapper: between the service's socket calls and TCP, in the guest kernel.
 *
 * It has nothing but the mapped log, so the same code serves a kernel here and a
 * preloaded library. Per connection it decides what a call does: in normal operation TCP
 * does it and the result is recorded; in recovery logged data is fed and output that the
 * client already has is dropped (thesis 2.2; cn_read_request, cn_write_response). Dropped
 * output must be what the client has: its CRC-32C is compared with SSW's.
 */
#ifndef XE_NET_NSW_H
#define XE_NET_NSW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
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

struct xe_nsw_conn {
	bool logged, diverged;
	bool replaying;              /* lines or gates are still ahead */
	bool at_end;                 /* no record of the input is left */
	uint32_t slot, incarnation;
	/* Replay: what is still to be fed and dropped. */
	uint64_t read_at, line;      /* line: L; beyond it TCP serves */
	uint64_t written, drop_line;
	uint64_t read_line;          /* what was read before */
	uint64_t sent_line;          /* what was sent before, to be compared */
	uint32_t crc;                /* of the output up to `written`, as far as it is compared */
	uint32_t drop_crc, sent_crc; /* SSW's */
	bool unsettled;              /* the end of the replay is still to be said */
	uint32_t block;              /* payload block that holds read_at */
	uint64_t block_base;
	uint32_t record_left;        /* bytes left of the read record in replay */
	uint64_t gate;               /* output that was written before the next input was read */
	uint64_t last_gate;          /* the same, of input that was not read: all that was sent */
	xe_ns waits_since;           /* for a gate; 0: does not */
	struct xe_record_cursor reads, dates;
	uint32_t tail_block;
	struct xe_http http;         /* output up to `written` + `scanned` */
	size_t scanned;              /* bytes of a piece that TCP has not taken yet */
	uint8_t date[XE_HTTP_DATE];
	uint8_t date_left;           /* of these, the last ones of a date */
};

struct xe_nsw {
	struct xe_log log;
	bool attached;
	uint32_t generation;
	uint32_t *free;              /* record blocks */
	uint32_t free_count;
	uint64_t sequence;
	uint64_t reads_replayed, writes_dropped, bytes_fed, bytes_dropped, dates_replayed, corrupt;
	struct xe_store_stop *stop;  /* not owned; NULL: none */
};

/* The kernel has mapped the log at these pages. 0, -EINVAL (not a log), -ENOMEM. */
int xe_nsw_attach(struct xe_nsw *n, uint8_t *const *extent, uint32_t extents);
void xe_nsw_detach(struct xe_nsw *n);

/* The service accepted a connection. */
void xe_nsw_accept(struct xe_nsw *n, struct xe_nsw_conn *c, uint32_t local_addr,
		   uint16_t local_port, uint32_t peer_addr, uint16_t peer_port);
/* Who serves the next read. Input is offered once the service has written what it had written, and
 * what was sent of it, when it read that before: one that sees its client's end early may not answer. */
enum xe_nsw_source { XE_FROM_TCP, XE_FROM_LOG, XE_NOT_YET };
enum xe_nsw_source xe_nsw_source(const struct xe_nsw *n, struct xe_nsw_conn *c);
/* Now and then. A gate that does not open in XE_NSW_PATIENCE is given up: what the service then
 * writes is compared with what the client has. Whether a gate was given up. */
bool xe_nsw_patience(const struct xe_nsw *n, struct xe_nsw_conn *c, xe_ns now);
/* Bytes fed from the log, 0: TCP serves this read, -EAGAIN: not yet, -EBADMSG: the log is corrupt. */
long xe_nsw_feed(struct xe_nsw *n, struct xe_nsw_conn *c, void *buf, size_t n_bytes);
/* TCP served a read: `result` bytes, 0 at EOF, or -errno. */
void xe_nsw_record(struct xe_nsw *n, struct xe_nsw_conn *c, long result);
/* Output, n_bytes > 0: how many of it go together, and at *bytes what to write in their place: the
 * same, or a date as it was written before the fault. */
size_t xe_nsw_piece(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *buf, size_t n_bytes,
		    const uint8_t **bytes);
/* How many bytes of a piece the client already has: to be dropped. Sets `diverged` if the whole
 * that was dropped, or in a trial the whole that was sent, is not what it has. */
size_t xe_nsw_drop(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *bytes, size_t n_bytes);
/* TCP took that much of a piece. May set `diverged` as well. */
void xe_nsw_wrote(struct xe_nsw *n, struct xe_nsw_conn *c, const uint8_t *bytes, size_t n_bytes);
/* The service closes its sending side (shutdown), or all of it (close). */
void xe_nsw_close(struct xe_nsw *n, struct xe_nsw_conn *c, bool all);

static inline bool xe_nsw_can_write(const struct xe_nsw_conn *c)
{
	return c->logged && c->written < c->drop_line;
}

#endif
