/* Virtual CPUs: creation and lookup.
 *
 * Invariants: d->vcpu[0..nvcpus-1] exist as long as the domain; the domain owns them. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

int xe_vcpu_create(struct xe_host *h, struct xe_domain *d)
{
	struct xe_vcpu *v;

	(void)h;
	xe_assert(d->nvcpus < d->max_vcpus);
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->domain = d;
	v->id = d->nvcpus;
	v->trace_head = xe_trace_head(d->id, XE_TRACE_HYPERCALL, v->id, 0);
	xe_tlb_flush(v);
	d->vcpu[d->nvcpus++] = v;
	return 0;
}

void xe_vcpus_free(struct xe_domain *d)
{
	while (d->nvcpus)
		free(d->vcpu[--d->nvcpus]);
	free(d->vcpu);
	d->vcpu = NULL;
}

struct xe_vcpu *xe_vcpu(const struct xe_domain *d, uint32_t id)
{
	return id < d->nvcpus ? d->vcpu[id] : NULL;
}
