/* The run queue: domains that are neither paused, blocked, down nor dying, in round-robin order.
 *
 * Invariants: d->queued says whether d is on the queue; whatever changes a domain's run state calls
 * xe_sched_update. Left out: time slices, weights: what runs costs virtual time elsewhere. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

static void remove_from_queue(struct xe_host *h, const struct xe_domain *d)
{
	uint32_t i = 0;

	while (i < h->nrunq && h->runq[i] != d->id)
		i++;
	xe_assert(i < h->nrunq);
	h->nrunq--;
	memmove(&h->runq[i], &h->runq[i + 1], (h->nrunq - i) * sizeof(h->runq[0]));
}

static bool has_work(const struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		if (d->vcpu[i]->online && !d->vcpu[i]->blocked)
			return true;
	return false;
}

void xe_sched_update(struct xe_host *h, struct xe_domain *d)
{
	bool runs = xe_domain_runnable(d), want = runs && has_work(d);

	if (runs != d->runs) {
		d->runs = runs;
		xe_domain_changed(h, d->id);
	}
	if (want == d->queued)
		return;
	d->queued = want;
	if (want)
		h->runq[h->nrunq++] = d->id;
	else
		remove_from_queue(h, d);
}

int xe_sched_next(struct xe_host *h)
{
	uint32_t id;

	if (!h->nrunq)
		return -1;
	id = h->runq[0];
	memmove(&h->runq[0], &h->runq[1], (h->nrunq - 1) * sizeof(h->runq[0]));
	h->runq[h->nrunq - 1] = id;
	return (int)id;
}

/* Waits for an event; one that is pending already is not waited for. */
static int block(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_domain *d = v->domain;
	struct xe_shared_info *s = xe_shared_info(h, d);

	if (s)
		s->vcpu[0].upcall_mask = 0;
	if (!s || !s->vcpu[0].upcall_pending) {
		v->blocked = true;
		xe_sched_update(h, d);
	}
	return 0;
}

/* A crash is a kernel fault that needs no heartbeat to be seen. */
static int domain_shutdown(struct xe_host *h, struct xe_domain *d, uint32_t reason)
{
	if (d->shutdown_code != XE_SHUTDOWN_NONE)
		return 0;
	d->shutdown_code = reason & 0xff;
	if (d->shutdown_code == XE_SHUTDOWN_CRASH)
		xe_report_fault(h, d, XE_ABI_fault_KERNEL);
	xe_sched_update(h, d);
	xe_send_virq(h, 0, XE_ABI_virq_DOM_EXC);
	return 0;
}

int64_t xe_do_sched_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t reason;

	switch (arg[0]) {
	case 0:
		return 0;
	case 1:
		return block(h, v);
	case 2:
		if (xe_copy_from(h, v, &reason, arg[1], sizeof(reason)))
			return -EFAULT;
		return domain_shutdown(h, v->domain, reason);
	default:
		return -ENOSYS;
	}
}
