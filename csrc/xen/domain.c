/* Domains: creation, destruction, references, pausing.
 *
 * A domain holds one reference of its own until it is destroyed and one while it owns pages; a
 * registered log holds another. A destroyed domain is a zombie, still visible, until the last
 * one goes; its id is not used again before that.
 *
 * Invariants: h->domain[id] is NULL or a domain with refs > 0. The host owns the structs.
 * shared_info is a frame of Xen's that each domain has from creation on, with a reference of ours:
 * a guest may give up the frame, not take it from us.
 * Left out: domain handles, scheduling parameters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

struct xe_domain *xe_domain(const struct xe_host *h, uint32_t domid)
{
	return domid < XE_MAX_DOMAINS ? h->domain[domid] : NULL;
}

struct xe_domain *xe_live_domain(const struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_domain(h, domid);

	return d && !d->dying ? d : NULL;
}

struct xe_domain *xe_domain_or_self(const struct xe_host *h, struct xe_domain *cur, uint32_t domid)
{
	return domid == XE_ABI_domid_SELF ? cur : xe_domain(h, domid);
}

void xe_get_domain(struct xe_domain *d)
{
	d->refs++;
}

void xe_domain_free(struct xe_domain *d)
{
	xe_grant_domain_free(d);
	xe_vcpus_free(d);
	free(d->evtchn);
	free(d->fifo); /* of a host that ends: the frames go too */
	free(d->e820);
	free(d);
}

static int alloc_shared_info(struct xe_host *h, struct xe_domain *d)
{
	int r = xe_alloc_xenheap(h, d, &d->shared_mfn);
	bool got;

	if (r)
		return r;
	got = xe_get_page(h, d->shared_mfn, d);
	xe_assert(got);
	return 0;
}

void xe_put_domain(struct xe_host *h, struct xe_domain *d)
{
	xe_assert(d->refs > 0);
	if (--d->refs)
		return;
	xe_assert(d->dying && !d->tot_pages && h->domain[d->id] == d);
	h->domain[d->id] = NULL;
	xe_domset_remove(&h->domains, d->id);
	while (h->top && !h->domain[h->top - 1])
		h->top--;
	xe_grant_free_frames(h, d);
	xe_unclaim(h, d);
	xe_domain_free(d);
	xe_send_virq(h, 0, XE_ABI_virq_DOM_EXC);
}

/* A domain without memory and virtual CPUs, paused once. */
int xe_domain_alloc(struct xe_host *h, uint32_t id, uint32_t max_vcpus, struct xe_domain **out)
{
	struct xe_domain *d;

	if (id >= XE_MAX_DOMAINS)
		return -ENOMEM;
	if (h->domain[id])
		return -EEXIST;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->vcpu = calloc(max_vcpus, sizeof(struct xe_vcpu *));
	d->id = id;
	d->refs = 1;
	if (xe_evtchn_init(d) || !d->vcpu || alloc_shared_info(h, d)) {
		xe_domain_free(d);
		return -ENOMEM;
	}
	xe_sched_domain_init(d);
	d->max_vcpus = max_vcpus;
	d->generation = ++h->generations;
	d->pause_count = 1;
	d->shutdown_code = XE_SHUTDOWN_NONE;
	d->max_port = XE_EVTCHNS - 1;
	d->max_grant_frames = XE_GRANT_FRAMES;
	d->max_maptrack_frames = XE_MAPTRACK_FRAMES;
	h->domain[id] = d;
	xe_domset_add(&h->domains, id);
	if (h->top <= id)
		h->top = id + 1;
	*out = d;
	return 0;
}

static int check_config(const struct xe_domain_config *cfg)
{
	if (cfg->max_pages < cfg->pages || cfg->max_vcpus > XE_MAX_VCPUS ||
	    cfg->max_grant_frames > XE_GRANT_FRAMES)
		return -EINVAL;
	if (cfg->cmdline && strnlen(cfg->cmdline, XE_CMDLINE_SIZE) == XE_CMDLINE_SIZE)
		return -EINVAL;
	return 0;
}

static void remember_config(struct xe_domain *d, const struct xe_domain_config *cfg)
{
	d->built = *cfg;
	if (cfg->cmdline)
		strcpy(d->cmdline, cfg->cmdline);
	d->built.cmdline = d->cmdline;
	d->privileged = cfg->privileged;
	d->emulation_flags = cfg->privileged ? XE_EMU_PIT : 0; /* as Xen has it for domain 0 */
	d->max_pages = cfg->max_pages;
	if (cfg->max_grant_frames)
		d->max_grant_frames = cfg->max_grant_frames;
}

static int create_vcpus(struct xe_host *h, struct xe_domain *d)
{
	int r = 0;

	while (!r && d->nvcpus < d->max_vcpus)
		r = xe_vcpu_create(h, d);
	if (r)
		return r;
	d->vcpu[0]->initialised = true;
	xe_vcpu_set_online(h, d->vcpu[0], true);
	xe_update_wallclock(h, d);
	return 0;
}

int xe_domain_create(struct xe_host *h, const struct xe_domain_config *cfg, uint32_t *domid)
{
	struct xe_domain *d;
	uint32_t ip = 0;
	int r = check_config(cfg);

	if (r)
		return r;
	if (!cfg->no_ip) {
		ip = cfg->ip ? cfg->ip : xe_free_ip(h);
		if (!ip)
			return -ENOMEM;
	}
	/* Only the first one ever is domain 0, so that a pair's backup 0 means none. */
	r = xe_domain_alloc(h, xe_domset_free(&h->domains, h->generations ? 1 : 0),
			    cfg->max_vcpus ? cfg->max_vcpus : 1, &d);
	if (r)
		return r;
	remember_config(d, cfg);
	d->ip = d->own_ip = ip;
	r = create_vcpus(h, d);
	if (!r && cfg->pages)
		r = xe_build(h, d, cfg);
	if (r)
		xe_domain_do_destroy(h, d);
	else
		*domid = d->id;
	return r;
}

/* Unpins what is pinned, and gives up the allocations of a list of frames. With our reference a frame
 * stays in its list while others, that only it held, leave. */
static void drop_frames(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	while (mfn) {
		struct xe_frame *f = &h->frame[mfn];
		bool got = xe_get_page(h, mfn, d);
		xe_mfn next;

		xe_assert(got);
		if (f->type_info & XE_PGT_PINNED) {
			f->type_info &= ~XE_PGT_PINNED;
			xe_put_page_and_type(h, mfn);
		}
		xe_drop_allocated(h, mfn);
		next = f->next;
		xe_put_page(h, mfn);
		mfn = next;
	}
}

/* When base pointers and pins are gone, so are all page tables, and what their entries held. */
static void relinquish_memory(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		xe_vcpu_put_context(h, d->vcpu[i]);
	xe_put_page(h, d->shared_mfn);
	d->shared_mfn = 0;
	drop_frames(h, d, d->first_frame);
	drop_frames(h, d, d->first_xenheap);
	xe_frames_flush(h);
}

void xe_domain_do_destroy(struct xe_host *h, struct xe_domain *d)
{
	d->dying = true;
	if (h->current && h->current->domain == d)
		h->current = NULL;
	xe_sched_update(h, d);
	xe_sched_retire(h, d);
	xe_evtchn_retire(h, d);
	xe_vcpus_retire(h, d);
	xe_grant_domain_release(h, d);
	xe_heartbeat_unregister(h, d);
	xe_path_clear_domain(h, d->id);
	xe_pair_domain_gone(h, d);
	xe_unclaim(h, d);
	relinquish_memory(h, d);
	xe_put_domain(h, d);
	xe_send_virq(h, 0, XE_ABI_virq_DOM_EXC);
}

/* Destroying a zombie again is no error, as in Xen. */
int xe_domain_destroy(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_domain(h, domid);

	if (!d)
		return -ESRCH;
	if (!d->dying)
		xe_domain_do_destroy(h, d);
	return 0;
}

int xe_domain_pause(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_domain(h, domid);

	if (!d)
		return -ESRCH;
	d->pause_count++;
	xe_sched_update(h, d);
	return 0;
}

int xe_domain_unpause(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_domain(h, domid);

	if (!d)
		return -ESRCH;
	if (!d->pause_count)
		return -EINVAL;
	if (--d->pause_count == 0 && !d->dying) {
		xe_heartbeat_restart(h, d);
		xe_sched_update(h, d);
		xe_evtchn_kick(h, d);
	}
	return 0;
}

int xe_domain_resume(struct xe_host *h, struct xe_domain *d)
{
	d->shutdown_code = XE_SHUTDOWN_NONE;
	d->shut_down = false;
	d->crashed = d->fault_reported = false;
	xe_heartbeat_restart(h, d);
	xe_sched_update(h, d);
	xe_domain_kick(h, d->id);
	return 0;
}

void xe_domain_kick(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	if (d && xe_domain_runnable(d))
		xe_evtchn_kick(h, d);
}

bool xe_domain_runnable(const struct xe_domain *d)
{
	return !d->dying && !d->pause_count && !d->crashed && !d->shut_down && d->online_vcpus;
}

int xe_domain_info(const struct xe_host *h, uint32_t domid, struct xe_domain_info *out)
{
	const struct xe_domain *d = xe_domain(h, domid);

	memset(out, 0, sizeof(*out));
	out->domid = domid;
	if (!d)
		return -ESRCH;
	*out = (struct xe_domain_info){
		.domid = d->id,
		.generation = d->generation,
		.pause_count = d->pause_count,
		.exists = true,
		.dying = d->dying,
		.runnable = xe_domain_runnable(d),
		.crashed = d->crashed,
		.privileged = d->privileged,
		.tot_pages = d->tot_pages,
		.max_pages = d->max_pages,
		.refs = d->refs,
		.ip = d->ip,
		.own_ip = d->own_ip,
		.heartbeats = xe_heartbeat_count(h, d),
		.max_vcpus = d->max_vcpus,
		.virt_base = d->virt_base,
		.usable_pages = d->usable_pages,
		.p2m_pfn = d->p2m_pfn,
		.start_info_gva =
			d->start_info_pfn ? d->virt_base + (d->start_info_pfn << XE_PAGE_SHIFT) : 0,
		.shared_info_mfn = d->shared_mfn,
	};
	return 0;
}
