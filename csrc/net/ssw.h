/* South-side wrapper: between a domain's TCP and the network, on the VMM's side of the vif.
 *
 * A pure filter: a packet in, a verdict out, edits in place; packets of its own come out
 * of xe_ssw_dispatch. One xe_ssw serves one protected address through all its failovers.
 * Its state is VMM memory; the log gets a copy and the payload. docs: ARCHITECTURE.md,
 * "The way of one packet". Thesis: chapter 2, 4.2.2, 4.2.4.
 */
#ifndef XE_NET_SSW_H
#define XE_NET_SSW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "net/log.h"

struct wr;
struct xe_ssw;

enum xe_verdict { XE_PASS, XE_DROP };
enum xe_direction { XE_TO_GUEST, XE_TO_NETWORK };

enum xe_ssw_event_kind {
	XE_SSW_UNPROTECTED = 1, /* a = slot (XE_LOG_NONE: no slot), b = errno: no room */
	XE_SSW_RESET,           /* a = slot, b = errno: not to be had again, reset at a fault */
	XE_SSW_DIVERGED, /* a = slot, b = offset of the output: the replay writes something else */
	XE_SSW_REESTABLISHED, /* a = connections: all are re-established */
	XE_SSW_FIRST_BYTE, /* a = slot: first payload out after a recovery */
	XE_SSW_HINT, /* a = slot: a FIN or RST that the service did not ask for */
	XE_SSW_REPLAYED, /* a trial: all that was served before is served again */
};

struct xe_ssw_event {
	uint32_t kind, slot;
	uint64_t value;
};

struct xe_ssw_counters {
	uint64_t in, out, malformed, not_believed, unlogged_drops, overwritten_bytes, bytes_logged,
		fins_held, rsts_held, acks_beyond_log, acks_clamped, fake_syns, reestablished,
		tombstone_answers, unknown_dropped, starved, injected_bytes, old_resets, diverged,
		forgotten, unclaimed, removals, removals_refused;
};

struct xe_ssw_info {
	uint32_t connections, unprotected, detached, blocks, blocks_free, generation, ghosts;
};

/* Formats the log in these mapped extents. 0, -EINVAL, -ENOMEM. */
int xe_ssw_create(struct xe_ssw **out, uint8_t *const *extent, uint32_t extents);
void xe_ssw_destroy(struct xe_ssw *s);
/* Connections of this port come under the wrapper; NULL: new ones do not. A wrapper outlives `s`.
 * -ENOSPC: too many wrappers. */
int xe_ssw_protect(struct xe_ssw *s, uint16_t port, const struct wr *w);
/* WR_PROFILES wrappers, for the ports that the log names; NULL: none. */
void xe_ssw_wrappers(struct xe_ssw *s, const struct wr *const *profile);

/* A packet from the network to the guest and back, checksums not yet looked at. */
enum xe_verdict xe_ssw_ingress(struct xe_ssw *s, uint8_t *packet, size_t len, xe_ns now);
enum xe_verdict xe_ssw_egress(struct xe_ssw *s, uint8_t *packet, size_t len, xe_ns now);
/* The wrapper's own next packet, 0: none. */
size_t xe_ssw_dispatch(struct xe_ssw *s, uint8_t *buf, size_t cap, enum xe_direction *to,
		       xe_ns now);
xe_ns xe_ssw_poll_at(const struct xe_ssw *s); /* when dispatch has more to do */

/* The old domain is fenced: no TCP knows the connections until xe_ssw_replay. */
void xe_ssw_detach(struct xe_ssw *s, xe_ns now);
/* A new TCP is there: re-establish; the number of connections to do. */
uint32_t xe_ssw_replay(struct xe_ssw *s, xe_ns now);

/* Like xe_ssw_detach, but the old domain only waits: the next TCP is tried. -EBUSY while no TCP is
 * there or a connection is unprotected, -EAGAIN while output of one is still compared, -ENOMEM. It
 * ends with one of the other two: the new TCP stays, or the old one goes on as if nothing had been. */
int xe_ssw_try(struct xe_ssw *s, xe_ns now);
void xe_ssw_accept(struct xe_ssw *s, xe_ns now);
void xe_ssw_roll_back(struct xe_ssw *s, xe_ns now);
bool xe_ssw_trying(const struct xe_ssw *s);

/* No TCP will ever be there again: every connection is reset. */
void xe_ssw_give_up(struct xe_ssw *s, xe_ns now);

bool xe_ssw_next_event(struct xe_ssw *s, struct xe_ssw_event *e);
void xe_ssw_info(const struct xe_ssw *s, struct xe_ssw_info *info);
const struct xe_ssw_counters *xe_ssw_counters(const struct xe_ssw *s);

#endif
