/* One direction of a link: serialisation at a bandwidth, delay, and seeded loss,
 * reordering and duplication. It says when a packet arrives; it holds none. */
#ifndef XE_NET_LINK_H
#define XE_NET_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/time.h"

struct xe_link_config {
	uint64_t bits_per_second; /* 0: infinitely fast */
	xe_ns delay;
	xe_ns reorder_delay;      /* extra delay of a reordered packet; 0: 4 * delay + 1 ms */
	uint32_t loss_ppm, reorder_ppm, duplicate_ppm; /* parts per million */
	uint32_t queue_bytes;     /* tail drop above this backlog; 0: 1 MiB */
};

struct xe_link {
	struct xe_link_config cfg;
	struct xe_rng rng;
	xe_ns busy_until;
	uint64_t packets, bytes, lost, dropped, reordered, duplicated;
};

void xe_link_init(struct xe_link *l, const struct xe_link_config *cfg, uint64_t seed);
/* Arrival times of a packet of `len` bytes handed over at `now`: 0 (lost), 1 or 2. */
int xe_link_send(struct xe_link *l, size_t len, xe_ns now, xe_ns arrival[2]);

#endif
