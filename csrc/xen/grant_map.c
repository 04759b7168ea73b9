/* Grants as mapped: map_grant_ref, unmap_grant_ref, unmap_and_replace, and their handles.
 *
 * A mapping is for the host (a level 1 entry, which holds a page reference and, if writable, a type
 * reference), for a device (the same references, held by the handle), or both. Free handles are on
 * a list of each vcpu: taken at its head, put back at its tail, also by a map that fails, and the
 * last one stays as the tail; so handles come in Xen's order.
 *
 * A guest may remove or replace the entry by other means: its references go then, but the handle
 * and the pin stay until the domain dies. So a handle may outlive the granting domain, and names it
 * by its generation.
 *
 * Invariants: a domain's pins equal the uses that maptracks of all domains record, see grant.c.
 * Left out: MMIO frames, IOMMU, cache attributes. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/grant.h"

#define NO_HANDLE UINT32_MAX
#define USES (uint32_t)(XE_ABI_gntmap_device_map | XE_ABI_gntmap_host_map)
#define PTE_NX (1ull << 63)
#define PTE_AVAIL(flags) ((uint64_t)((flags) >> 16 & 7) << 9)

static struct xe_maptrack *track(const struct xe_domain *d, uint32_t handle)
{
	xe_assert(handle < d->grants->maptrack_limit);
	return &d->grants->maptrack[handle / XE_MAPTRACK_PER_FRAME][handle % XE_MAPTRACK_PER_FRAME];
}

/* From v's list, for `to`; the last of a list is never taken. */
static uint32_t take_handle(struct xe_vcpu *v, const struct xe_vcpu *to)
{
	uint32_t handle = v->maptrack_head;

	if (handle == v->maptrack_tail)
		return NO_HANDLE;
	v->maptrack_head = track(v->domain, handle)->ref;
	track(v->domain, handle)->vcpu = to->id;
	return handle;
}

static void put_handle(struct xe_domain *d, uint32_t handle)
{
	struct xe_maptrack *m = track(d, handle);
	struct xe_vcpu *v = d->vcpu[m->vcpu];

	m->ref = NO_HANDLE;
	track(d, v->maptrack_tail)->ref = handle;
	v->maptrack_tail = handle;
}

/* A frame more of handles: the first is the result, the others go to the list's head. */
static uint32_t add_handles(struct xe_vcpu *v)
{
	struct xe_grant_table *t = v->domain->grants;
	uint32_t n = t->maptrack_limit / XE_MAPTRACK_PER_FRAME, handle = t->maptrack_limit;
	struct xe_maptrack *m;

	if (n >= v->domain->max_maptrack_frames)
		return NO_HANDLE;
	m = calloc(XE_MAPTRACK_PER_FRAME, sizeof(*m));
	if (!m)
		return NO_HANDLE;
	for (uint32_t i = 0; i < XE_MAPTRACK_PER_FRAME; i++) {
		m[i].ref = handle + i + 1;
		m[i].vcpu = v->id;
	}
	m[XE_MAPTRACK_PER_FRAME - 1].ref = v->maptrack_head;
	if (v->maptrack_tail == NO_HANDLE)
		v->maptrack_tail = handle + XE_MAPTRACK_PER_FRAME - 1;
	v->maptrack_head = handle + 1;
	t->maptrack[n] = m;
	t->maptrack_limit += XE_MAPTRACK_PER_FRAME;
	return handle;
}

/* From another vcpu; Xen begins with a random one, here it is the next. */
static uint32_t steal_handle(struct xe_vcpu *v)
{
	const struct xe_domain *d = v->domain;
	uint32_t handle = NO_HANDLE;

	for (uint32_t i = 1; i <= d->nvcpus && handle == NO_HANDLE; i++)
		handle = take_handle(d->vcpu[(v->id + i) % d->nvcpus], v);
	return handle;
}

static uint32_t get_handle(struct xe_vcpu *v)
{
	uint32_t handle;

	if (!xe_grant_table(v->domain))
		return NO_HANDLE;
	handle = take_handle(v, v);
	if (handle == NO_HANDLE)
		handle = add_handles(v);
	if (handle != NO_HANDLE)
		return handle;
	if (v->maptrack_tail == NO_HANDLE) { /* a list begins with a tail that is never taken */
		handle = steal_handle(v);
		if (handle == NO_HANDLE)
			return NO_HANDLE;
		track(v->domain, handle)->ref = NO_HANDLE;
		v->maptrack_head = v->maptrack_tail = handle;
	}
	return steal_handle(v);
}

static bool is_readonly(uint32_t flags)
{
	return flags & XE_ABI_gntmap_readonly;
}

/* What these uses add to an entry's pin. */
static uint32_t pins(uint32_t uses, bool readonly)
{
	uint32_t pin = 0;

	if (uses & XE_ABI_gntmap_device_map)
		pin += readonly ? XE_PIN_DEV_R : XE_PIN_DEV_W;
	if (uses & XE_ABI_gntmap_host_map)
		pin += readonly ? XE_PIN_HOST_R : XE_PIN_HOST_W;
	return pin;
}

static void put_frame(struct xe_host *h, xe_mfn mfn, bool readonly)
{
	if (readonly)
		xe_put_page(h, mfn);
	else
		xe_put_page_and_type(h, mfn);
}

/* n references, with the writable type if that is wanted; all or none. */
static bool get_frames(struct xe_host *h, const struct xe_domain *rd, xe_mfn mfn, uint32_t n,
		       bool readonly)
{
	for (uint32_t got = 0; got < n; got++) {
		if (readonly ? xe_grant_get_frame(h, rd, mfn)
			     : !xe_get_page_and_type(h, mfn, rd, XE_PGT_WRITABLE))
			continue;
		while (got--)
			put_frame(h, mfn, readonly);
		return false;
	}
	return true;
}

/* `uses` go, with n references: the entry first, as its domain may go with the frame. */
static void release(struct xe_host *h, struct xe_domain *rd, uint32_t ref, uint32_t uses,
		    uint32_t n, bool readonly)
{
	struct xe_grant_active *a = xe_grant_active(rd, ref);
	xe_mfn mfn = a->mfn;

	a->pin -= pins(uses, readonly);
	xe_grant_reduce_status(xe_grant_shared(h, rd, ref), a, readonly);
	while (n--)
		put_frame(h, mfn, readonly);
}

/* The entry grants this to ld, and its flags say so from now on; the pin is added. */
static int pin_entry(struct xe_host *h, const struct xe_domain *ld, struct xe_domain *rd,
		     uint32_t ref, uint32_t add, bool readonly)
{
	struct xe_grant_entry *e = xe_grant_shared(h, rd, ref);
	struct xe_grant_active *a;
	uint32_t mfn;
	int st = XE_ABI_gntst_okay;

	if (!e)
		return XE_ABI_gntst_general_error;
	a = xe_grant_active(rd, ref);
	if (a->pin && (a->domid != ld->id || (a->pin & add << 7)))
		return XE_ABI_gntst_general_error;
	if (!a->pin || (!readonly && !(a->pin & XE_PIN_WRITERS)))
		st = xe_grant_set_status(e, a, readonly, true, ld->id);
	if (st)
		return st;
	if (!a->pin) {
		mfn = __atomic_load_n(&e->frame, __ATOMIC_RELAXED);
		if (!xe_grant_get_frame(h, rd, mfn)) {
			xe_grant_reduce_status(e, a, readonly);
			return XE_ABI_gntst_bad_page;
		}
		xe_put_page(h, mfn);
		a->mfn = mfn;
		a->domid = (uint16_t)ld->id;
	}
	a->pin += add;
	return XE_ABI_gntst_okay;
}

/* Xen makes it the guest kernel's, or, with the user bit, any's: see xe_adjust_entry. */
static uint64_t pte_of(xe_mfn mfn, uint32_t flags)
{
	return mfn << XE_PAGE_SHIFT | XE_PTE_PRESENT | XE_PTE_AD | PTE_NX |
	       (is_readonly(flags) ? 0 : XE_PTE_RW) |
	       (flags & XE_ABI_gntmap_application_map ? XE_PTE_USER : 0) | PTE_AVAIL(flags);
}

static int map_ref(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *rd,
		   const struct xe_gnttab_map *op, xe_mfn *mfn)
{
	uint32_t uses = op->flags & USES, n = (uint32_t)__builtin_popcount(uses);
	bool readonly = is_readonly(op->flags), by_pte = op->flags & XE_ABI_gntmap_contains_pte;
	uint64_t old;
	int st;

	if (op->ref >= xe_grant_entries(rd))
		return XE_ABI_gntst_bad_gntref;
	st = pin_entry(h, v->domain, rd, op->ref, pins(uses, readonly), readonly);
	if (st)
		return st;
	*mfn = xe_grant_active(rd, op->ref)->mfn;
	if (h->frame[*mfn].log || !get_frames(h, rd, *mfn, n, readonly)) {
		release(h, rd, op->ref, uses, 0, readonly);
		return XE_ABI_gntst_general_error;
	}
	if ((uses & XE_ABI_gntmap_host_map) &&
	    xe_grant_pte_set(h, v, op->host_addr, by_pte, pte_of(*mfn, op->flags), &old)) {
		release(h, rd, op->ref, uses, n, readonly);
		return XE_ABI_gntst_general_error;
	}
	h->frame[*mfn].flags |= XE_FRAME_GRANTED;
	return XE_ABI_gntst_okay;
}

int xe_grant_map(struct xe_host *h, struct xe_vcpu *v, struct xe_gnttab_map *op)
{
	struct xe_domain *rd;
	uint32_t handle;
	xe_mfn mfn;
	int st;

	if (!(op->flags & USES))
		return XE_ABI_gntst_bad_gntref;
	rd = xe_domain(h, op->dom);
	if (!rd)
		return XE_ABI_gntst_bad_domain;
	handle = get_handle(v);
	if (handle == NO_HANDLE)
		return XE_ABI_gntst_no_space;
	st = map_ref(h, v, rd, op, &mfn);
	if (st) {
		put_handle(v->domain, handle);
		return st;
	}
	*track(v->domain, handle) = (struct xe_maptrack){
		.ref = op->ref,
		.flags = (uint16_t)op->flags,
		.domid = op->dom,
		.vcpu = track(v->domain, handle)->vcpu,
		.generation = rd->generation,
	};
	op->handle = handle;
	op->dev_bus_addr = mfn << XE_PAGE_SHIFT;
	return XE_ABI_gntst_okay;
}

/* NULL: no such domain any more, or another one. */
static struct xe_domain *granter(const struct xe_host *h, const struct xe_maptrack *m)
{
	struct xe_domain *rd = xe_domain(h, m->domid);

	return rd && rd->generation == m->generation ? rd : NULL;
}

/* The entry at `addr` goes; the one at `new_addr`, if that is given, is moved there. */
static int unmap_host(struct xe_host *h, struct xe_vcpu *v, const struct xe_maptrack *m, xe_mfn mfn,
		      uint64_t addr, uint64_t new_addr)
{
	bool by_pte = m->flags & XE_ABI_gntmap_contains_pte;
	uint64_t want = mfn << XE_PAGE_SHIFT | XE_PTE_PRESENT |
			(is_readonly(m->flags) ? 0 : XE_PTE_RW);

	if (!new_addr)
		return xe_grant_pte_clear(h, v, addr, by_pte, want, 0);
	return by_pte ? -EINVAL : xe_grant_pte_move(h, v, addr, want, new_addr);
}

struct unmap {
	uint64_t host_addr, dev_bus_addr, new_addr;
	uint32_t handle;
};

static int unmap(struct xe_host *h, struct xe_vcpu *v, const struct unmap *u)
{
	struct xe_domain *d = v->domain, *rd;
	struct xe_maptrack *m;
	uint32_t done = 0, ref;
	bool readonly;
	xe_mfn mfn;

	if (!d->grants || u->handle >= d->grants->maptrack_limit)
		return XE_ABI_gntst_bad_handle;
	m = track(d, u->handle);
	if (!m->flags)
		return XE_ABI_gntst_bad_handle;
	rd = granter(h, m);
	if (!rd) {
		xe_domain_crash(h, d);
		return XE_ABI_gntst_bad_domain;
	}
	ref = m->ref;
	readonly = is_readonly(m->flags);
	mfn = xe_grant_active(rd, ref)->mfn;
	if (u->dev_bus_addr && (m->flags & XE_ABI_gntmap_device_map)) {
		if (u->dev_bus_addr != mfn << XE_PAGE_SHIFT)
			return XE_ABI_gntst_bad_dev_addr;
		done |= XE_ABI_gntmap_device_map;
	}
	if (u->host_addr && (m->flags & XE_ABI_gntmap_host_map)) {
		if (unmap_host(h, v, m, mfn, u->host_addr, u->new_addr))
			return XE_ABI_gntst_general_error;
		done |= XE_ABI_gntmap_host_map;
	}
	m->flags &= (uint16_t)~done;
	if (!(m->flags & USES)) {
		m->flags = 0;
		put_handle(d, u->handle);
	}
	if (done)
		release(h, rd, ref, done, (uint32_t)__builtin_popcount(done), readonly);
	return XE_ABI_gntst_okay;
}

int xe_grant_unmap(struct xe_host *h, struct xe_vcpu *v, const struct xe_gnttab_unmap *op)
{
	return unmap(h, v,
		     &(struct unmap){
			     .host_addr = op->host_addr,
			     .dev_bus_addr = op->dev_bus_addr,
			     .handle = op->handle,
		     });
}

int xe_grant_replace(struct xe_host *h, struct xe_vcpu *v, const struct xe_gnttab_replace *op)
{
	return unmap(h, v,
		     &(struct unmap){
			     .host_addr = op->host_addr,
			     .new_addr = op->new_addr,
			     .handle = op->handle,
		     });
}

/* What a dying domain has mapped. Its page tables drop their references themselves. */
void xe_grant_domain_release(struct xe_host *h, struct xe_domain *d)
{
	struct xe_grant_table *t = d->grants;

	xe_assert(d->dying);
	while (t && t->maptrack_limit) {
		struct xe_maptrack *page;

		t->maptrack_limit -= XE_MAPTRACK_PER_FRAME;
		page = t->maptrack[t->maptrack_limit / XE_MAPTRACK_PER_FRAME];
		for (uint32_t i = XE_MAPTRACK_PER_FRAME; i-- > 0;) {
			struct xe_domain *rd = page[i].flags ? granter(h, &page[i]) : NULL;
			uint32_t flags = page[i].flags;

			if (rd)
				release(h, rd, page[i].ref, flags,
					flags & XE_ABI_gntmap_device_map ? 1 : 0,
					is_readonly(flags));
		}
		free(page);
		t->maptrack[t->maptrack_limit / XE_MAPTRACK_PER_FRAME] = NULL;
	}
}
