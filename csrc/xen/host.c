/* The host as a whole: creation, the work queue towards the machine, counters.
 *
 * Invariants: work leaves in the order in which it was found; an upcall is queued at most once
 * per domain and is dropped if the domain is paused or gone (waking it queues it anew).
 * The host owns everything but machine memory.
 * Left out: any policy about the work; the machine and the VZS have that. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

int xe_host_create(struct xe_host **out, const struct xe_host_config *cfg)
{
	struct xe_host *h = NULL;
	int r = -EINVAL;

	if (!cfg->memory || cfg->frames <= XE_LOW_FRAMES || cfg->frames > UINT32_MAX)
		goto out;
	r = -ENOMEM;
	h = calloc(1, sizeof(*h));
	if (!h)
		goto out;
	h->memory = cfg->memory;
	h->nframes = cfg->frames;
	h->release = cfg->release;
	h->settle = cfg->settle;
	h->ctx = cfg->ctx;
	xe_trace_init(&h->untold, &h->untold_record, 1, 0);
	h->trace = cfg->trace ? cfg->trace : &h->untold;
	h->changed = cfg->changed ? cfg->changed : &h->unheard;
	h->boot_epoch = cfg->boot_epoch;
	h->work_cap = 64;
	h->work = calloc(h->work_cap, sizeof(*h->work));
	r = h->work ? xe_frames_create(h) : -ENOMEM;
out:
	if (r && h) {
		xe_host_destroy(h);
		h = NULL;
	}
	*out = h;
	return r;
}

void xe_host_destroy(struct xe_host *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->top; i++)
		if (h->domain[i])
			xe_domain_free(h->domain[i]);
	for (unsigned i = 0; i < XE_MAX_PAIRS; i++)
		free(h->pair[i].extent);
	xe_frames_destroy(h);
	free(h->timer);
	free(h->work);
	free(h);
}

uint64_t xe_host_free_pages(const struct xe_host *h)
{
	return h->nfree;
}

uint32_t xe_host_top(const struct xe_host *h)
{
	return h->top;
}

int xe_host_next_changed(struct xe_host *h)
{
	int id = xe_domset_next(&h->changed_domains, 0);

	if (id >= 0)
		xe_domset_remove(&h->changed_domains, (uint32_t)id);
	return id;
}

void xe_host_touch(struct xe_host *h, uint32_t domid)
{
	xe_assert(domid < XE_MAX_DOMAINS);
	xe_domain_changed(h, domid);
}

const struct xe_host_counters *xe_host_counters(const struct xe_host *h)
{
	return &h->counters;
}

static int grow(struct xe_host *h)
{
	struct xe_work *w = calloc(h->work_cap * 2ull, sizeof(*w));

	if (!w)
		return -ENOMEM;
	for (uint32_t i = 0; i < h->work_len; i++)
		w[i] = h->work[(h->work_head + i) & (h->work_cap - 1)];
	free(h->work);
	h->work = w;
	h->work_head = 0;
	h->work_cap *= 2;
	return 0;
}

int xe_queue_work(struct xe_host *h, const struct xe_work *w)
{
	int r = 0;

	if (h->work_len == h->work_cap)
		r = grow(h);
	if (r)
		return r;
	h->work[(h->work_head + h->work_len++) & (h->work_cap - 1)] = *w;
	*h->changed = true;
	return 0;
}

/* A lost event would wedge a pair, so running out of memory here ends the program. */
void xe_queue_vmm(struct xe_host *h, const struct xe_domain *d, enum xe_vmm_event ev, uint64_t a,
		  uint64_t b)
{
	struct xe_work w = {
		.kind = XE_WORK_VMM,
		.node = d->id,
		.generation = d->generation,
		.arg = ev,
		.a = a,
		.b = b,
	};
	int r = xe_queue_work(h, &w);

	xe_assert(!r);
	xe_domain_changed(h, d->id);
}

static bool is_stale_upcall(struct xe_host *h, const struct xe_work *w)
{
	struct xe_domain *d;

	if (w->kind != XE_WORK_UPCALL)
		return false;
	d = xe_live_domain(h, w->node);
	if (!d || d->generation != w->generation)
		return true;
	d->upcall_queued = false;
	return !xe_domain_runnable(d);
}

bool xe_host_next_work(struct xe_host *h, struct xe_work *w)
{
	while (h->work_len) {
		*w = h->work[h->work_head];
		h->work_head = (h->work_head + 1) & (h->work_cap - 1);
		h->work_len--;
		if (!is_stale_upcall(h, w))
			return true;
	}
	return false;
}
