/* The trace: a ring of what happened, and under the virtual clock a hash of all of it.
 *
 * A record's stamp is for people; what is hashed is machine time.
 */
#include "machine_internal.h"

static uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * 0x9e3779b97f4a7c15u;
	return hash ^ (hash >> 29);
}

void xe_machine_trace_add(struct xe_machine *m, uint32_t kind, uint32_t node, uint64_t a,
			  uint64_t b, uint64_t c)
{
	struct xe_trace_record *r = &m->trace[m->traced & (m->cfg.trace_records - 1)];
	uint64_t hash = m->count.trace_hash;

	*r = (struct xe_trace_record){m->traced++, xe_machine_clock(m), kind, node, a, b, c};
	if (m->cfg.real) /* two real runs never agree */
		return;
	hash = mix(mix(hash, m->now), (uint64_t)kind << 32 | node);
	m->count.trace_hash = mix(mix(mix(hash, a), b), c);
}

const struct xe_trace_record *xe_machine_trace(const struct xe_machine *m, uint64_t since,
					       uint64_t *first, uint64_t *count, uint32_t *mask)
{
	uint64_t oldest = m->traced > m->cfg.trace_records ? m->traced - m->cfg.trace_records : 0;

	*first = since > oldest ? since : oldest;
	*count = m->traced > *first ? m->traced - *first : 0;
	*mask = m->cfg.trace_records - 1;
	return m->trace;
}

void xe_machine_drop(struct xe_machine *m, uint32_t node, enum xe_drop_reason why)
{
	m->count.drops[why]++;
	xe_machine_trace_add(m, XE_TRACE_DROP, node, why, 0, 0);
}
