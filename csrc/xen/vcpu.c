/* Virtual CPUs: creation, where their vcpu_info lies, run states, time.
 *
 * Each has a CPU of its own: it runs unless it is blocked, down, or its domain may not run, so it is
 * never just "runnable". A vcpu that is both blocked and down counts as blocked, as in Xen. Time is
 * told to a guest when a vcpu comes to run: system_time and the TSC are machine time in ns, so what
 * it computes from them is exact for ever.
 *
 * Invariants: d->vcpu[0..nvcpus-1] exist as long as the domain, which owns them; online_vcpus and
 * ready_vcpus count them. The times of a vcpu's run states, with the present one's, add up to its
 * age. The periodic timer is armed only while the vcpu runs and would be heard.
 * Left out: processors, affinity. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

#define TICK (10 * XE_MS) /* what Xen gives a PV guest that asks for nothing else */

static void fire_event(struct xe_host *h, void *owner)
{
	xe_send_vcpu_virq(h, owner, XE_ABI_virq_TIMER);
}

static void fire_tick(struct xe_host *h, void *owner)
{
	xe_vcpu_tick(h, owner);
}

int xe_vcpu_create(struct xe_host *h, struct xe_domain *d)
{
	struct xe_vcpu *v;

	xe_assert(d->nvcpus < d->max_vcpus);
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->domain = d;
	v->id = d->nvcpus;
	v->trace_head = xe_trace_head(d->id, XE_TRACE_HYPERCALL, v->id, 0);
	v->runstate = XE_OFFLINE;
	v->runstate_since = h->now;
	v->period = TICK;
	v->last_tick = h->now;
	xe_host_timer_init(&v->singleshot, fire_event, v);
	xe_host_timer_init(&v->periodic, fire_tick, v);
	xe_host_timer_init(&v->poll_timeout, xe_poll_over, v);
	v->maptrack_head = v->maptrack_tail = UINT32_MAX;
	xe_tlb_flush(v);
	xe_cpu_init(v);
	d->vcpu[d->nvcpus++] = v;
	xe_update_time(h, v);
	return 0;
}

void xe_vcpus_retire(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++) {
		struct xe_vcpu *v = d->vcpu[i];

		xe_host_timer_stop(h, &v->singleshot);
		xe_host_timer_stop(h, &v->periodic);
		xe_host_timer_stop(h, &v->poll_timeout);
		if (v->info_mfn)
			xe_put_page_and_type(h, v->info_mfn);
		v->info_mfn = 0;
		xe_vcpu_put_context(h, v);
	}
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

/* A page that d gave us to write to. It is not ours to write any more once it is part of a log, which
 * outlives d's right to it, or somebody else's. */
uint8_t *xe_given_page(const struct xe_host *h, const struct xe_domain *d, xe_mfn mfn)
{
	const struct xe_frame *f = &h->frame[mfn];

	return f->owner == d->id && !f->log ? xe_frame_ptr(h, mfn) : NULL;
}

int xe_get_given_page(struct xe_host *h, const struct xe_domain *d, uint64_t mfn)
{
	if (mfn >= h->nframes || h->frame[mfn].log ||
	    xe_get_page_and_type(h, mfn, d, XE_PGT_WRITABLE))
		return -EINVAL;
	return 0;
}

struct xe_vcpu_info *xe_vcpu_info(const struct xe_host *h, const struct xe_vcpu *v)
{
	struct xe_shared_info *s;
	uint8_t *page;

	if (v->info_mfn) {
		page = xe_given_page(h, v->domain, v->info_mfn);
		return page ? (struct xe_vcpu_info *)(void *)(page + v->info_offset) : NULL;
	}
	s = xe_shared_info(h, v->domain);
	return s && v->id < XE_LEGACY_VCPUS ? &s->vcpu[v->id] : NULL;
}

/* ---- run states ---- */

static uint8_t runstate_of(const struct xe_vcpu *v)
{
	if (v->blocked)
		return XE_BLOCKED;
	return v->online && xe_domain_runnable(v->domain) ? XE_RUNNING : XE_OFFLINE;
}

static xe_ns in_state(const struct xe_host *h, const struct xe_vcpu *v)
{
	return h->now > v->runstate_since ? h->now - v->runstate_since : 0;
}

void xe_runstate_get(const struct xe_host *h, const struct xe_vcpu *v, struct xe_runstate_info *r)
{
	*r = (struct xe_runstate_info){.state = v->runstate, .since = v->runstate_since};
	for (int i = 0; i < XE_RUNSTATES; i++)
		r->time[i] = v->runstate_time[i];
	if (h)
		r->time[v->runstate] += in_state(h, v);
}

/* Nobody can hear it: ticks that it would have had are forgotten, its rhythm is not. */
static void start_ticking(struct xe_host *h, struct xe_vcpu *v)
{
	xe_ns next = v->last_tick + v->period;

	if (v->period && v->runstate == XE_RUNNING && v->virq_port[XE_ABI_virq_TIMER])
		xe_host_timer_arm(h, &v->periodic, next > h->now ? next : h->now);
}

void xe_vcpu_hears_ticks(struct xe_host *h, struct xe_vcpu *v)
{
	if (v->period && h->now > v->last_tick)
		v->last_tick += (h->now - v->last_tick) / v->period * v->period;
	start_ticking(h, v);
}

void xe_vcpu_tick(struct xe_host *h, struct xe_vcpu *v)
{
	bool due = h->now >= v->last_tick + v->period;

	if (due)
		v->last_tick = h->now;
	start_ticking(h, v);
	if (due)
		xe_send_vcpu_virq(h, v, XE_ABI_virq_TIMER);
}

static void tell_runstate(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_runstate_info r;

	xe_runstate_get(NULL, v, &r);
	xe_copy_to(h, v, v->runstate_gva, &r, sizeof(r));
}

/* Does nothing that could change a run state: what is due is left to timers. */
void xe_runstate_update(struct xe_host *h, struct xe_vcpu *v)
{
	uint8_t state = runstate_of(v);

	if (state == v->runstate)
		return;
	v->runstate_time[v->runstate] += in_state(h, v);
	v->runstate = state;
	v->runstate_since = h->now;
	if (v->runstate_gva)
		tell_runstate(h, v);
	if (state == XE_RUNNING) {
		xe_update_time(h, v);
		start_ticking(h, v);
	} else {
		xe_host_timer_stop(h, &v->periodic);
	}
}

static void changed(struct xe_host *h, struct xe_vcpu *v, bool was_ready)
{
	struct xe_domain *d = v->domain;
	bool ready = v->online && !v->blocked;

	d->ready_vcpus += ready;
	d->ready_vcpus -= was_ready;
	xe_runstate_update(h, v);
	xe_sched_queue(h, d);
}

void xe_vcpu_set_online(struct xe_host *h, struct xe_vcpu *v, bool online)
{
	bool was_ready = v->online && !v->blocked;

	if (v->online == online)
		return;
	v->online = online;
	v->domain->online_vcpus += online ? 1 : -1u;
	changed(h, v, was_ready);
}

void xe_vcpu_set_blocked(struct xe_host *h, struct xe_vcpu *v, bool blocked)
{
	bool was_ready = v->online && !v->blocked;

	if (v->blocked == blocked)
		return;
	v->blocked = blocked;
	changed(h, v, was_ready);
}

/* ---- time ---- */

static uint32_t next_version(uint32_t version)
{
	return ((version + 1) | 1) + 1;
}

void xe_update_time(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_vcpu_info *i = xe_vcpu_info(h, v);
	struct xe_vcpu_time_info t = {
		.tsc_timestamp = h->now,
		.system_time = h->now,
		.tsc_to_system_mul = 1u << 31, /* half a nanosecond, twice */
		.tsc_shift = 1,
		.flags = 1, /* the same on all vcpus */
	};

	if (!i)
		return;
	t.version = next_version(i->time.version);
	i->time = t;
	if (v->time_gva)
		xe_copy_to(h, v, v->time_gva, &t, sizeof(t));
}

void xe_update_wallclock(struct xe_host *h, struct xe_domain *d)
{
	struct xe_shared_info *s = xe_shared_info(h, d);
	uint64_t sec = h->boot_epoch + (uint64_t)d->time_offset_s;

	if (!s)
		return;
	s->wc_sec = (uint32_t)sec;
	s->wc_sec_hi = (uint32_t)(sec >> 32);
	s->wc_nsec = 0;
	s->wc_version = next_version(s->wc_version);
}
