/* One direction of a link: when does a packet arrive, if it does.
 *
 * Invariants: arrivals of packets that were not reordered are in sending order;
 * every packet draws the same number of random values, so one packet's fate
 * does not depend on another configuration value than its own rates.
 * Left out: it holds no packets; jitter; corruption.
 */
#include "net/link.h"

#include <stdbool.h>
#include <string.h>

enum {
	PPM = 1000000,
	DEFAULT_QUEUE = 1 << 20,
};

void xe_link_init(struct xe_link *l, const struct xe_link_config *cfg, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->cfg = *cfg;
	l->rng.state = seed;
	if (l->cfg.queue_bytes == 0)
		l->cfg.queue_bytes = DEFAULT_QUEUE;
	if (l->cfg.reorder_delay == 0)
		l->cfg.reorder_delay = 4 * cfg->delay + XE_MS;
}

static xe_ns wire_time(const struct xe_link *l, uint64_t bytes)
{
	uint64_t bps = l->cfg.bits_per_second, bits = bytes * 8;

	if (bps == 0)
		return 0;
	return bits / bps * XE_SECOND + (xe_ns)((unsigned __int128)(bits % bps) * XE_SECOND / bps);
}

static bool chance(struct xe_link *l, uint32_t ppm)
{
	return xe_rng_below(&l->rng, PPM) < ppm;
}

int xe_link_send(struct xe_link *l, size_t len, xe_ns now, xe_ns arrival[2])
{
	xe_ns start = l->busy_until > now ? l->busy_until : now;
	bool lost = chance(l, l->cfg.loss_ppm);
	bool reordered = chance(l, l->cfg.reorder_ppm);
	bool duplicated = chance(l, l->cfg.duplicate_ppm);
	xe_ns extra = xe_rng_below(&l->rng, l->cfg.reorder_delay + 1);
	xe_ns took = wire_time(l, len);

	l->packets++;
	l->bytes += len;
	if (start > now && start - now + took > wire_time(l, l->cfg.queue_bytes)) {
		l->dropped++;
		return 0;
	}
	l->busy_until = start + took;
	if (lost) {
		l->lost++;
		return 0;
	}
	arrival[0] = l->busy_until + l->cfg.delay;
	if (reordered) {
		l->reordered++;
		arrival[0] += l->cfg.reorder_delay;
	}
	if (!duplicated)
		return 1;
	l->duplicated++;
	arrival[1] = arrival[0] + extra;
	return 2;
}
