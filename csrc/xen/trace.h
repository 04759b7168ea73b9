/* Records of hypercalls: base/trace.h has the format. */
#ifndef XE_XEN_TRACE_H
#define XE_XEN_TRACE_H

#include "xen/internal.h"

void xe_trace_argument(struct xe_host *h, struct xe_trace_record *r, const uint64_t *arg);

/* The head of the record of this call, which is made after it: the caller may be gone then.
 * nr: at most XE_TRACE_NR. */
static inline uint64_t xe_trace_call(const struct xe_vcpu *v, uint64_t nr)
{
	return v->trace_head | nr << 48;
}

/* Its record, but for what the call has copied. Whoever makes it settles a full trace. */
static inline struct xe_trace_record *xe_trace_hypercall(struct xe_host *h, uint64_t head,
							 const uint64_t *arg, int64_t result)
{
	struct xe_trace_record *r = xe_trace_next(h->trace);

	r->head = head;
	r->a[0] = arg[0];
	r->a[1] = arg[1];
	r->a[2] = arg[2];
	r->a[3] = arg[3];
	r->a[4] = arg[4];
	r->a[5] = (uint64_t)result;
	r->time = h->now;
	h->trace->next = r + 1;
	return r;
}

/* A port of the domain became pending. */
static inline void xe_trace_port(struct xe_host *h, const struct xe_domain *d, uint32_t vcpu,
				 uint32_t port)
{
	struct xe_trace_record *r = xe_trace_next(h->trace);

	*r = (struct xe_trace_record){.head = xe_trace_head(d->id, XE_TRACE_EVENT, vcpu, 0),
				      .a = {port}};
	xe_trace_add(h->trace, h->now, r);
}

#endif
