/* What the machine itself puts into the trace; hypercalls are recorded where they are made. */
#include "machine_internal.h"

void xe_machine_trace_add(struct xe_machine *m, uint32_t kind, uint32_t node, uint64_t a,
			  uint64_t b, uint64_t c)
{
	struct xe_trace_record *r = xe_trace_next(&m->trace);

	*r = (struct xe_trace_record){.head = xe_trace_head(node, kind, 0, 0), .a = {a, b, c}};
	xe_trace_add(&m->trace, m->now, r);
}

const struct xe_trace *xe_machine_trace(const struct xe_machine *m)
{
	return &m->trace;
}

void xe_machine_drop(struct xe_machine *m, uint32_t node, enum xe_drop_reason why)
{
	m->count.drops[why]++;
	xe_machine_trace_add(m, XE_TRACE_DROP, node, why, 0, 0);
}
