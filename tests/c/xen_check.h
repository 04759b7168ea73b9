/* The invariants of a host's frames, recomputed from scratch: who refers to each frame and how, its
 * type, the lists of its owner, and that TLBs hold only what a walk would find.
 *
 * Sources of references: allocations, entries of all page tables, pins, base pointers, GDTs,
 * shared_info, vcpu_info and pages of event channels, heartbeat pages, registered logs, devices that
 * use grants. */
#ifndef XE_TEST_XEN_CHECK_H
#define XE_TEST_XEN_CHECK_H

#include <stdlib.h>

#include "xen/evtchn.h"
#include "xen/grant.h"
#include "xen/internal.h"

struct xen_refs {
	uint64_t page, type, linear; /* references; those of types that are linear entries */
	uint64_t links; /* linear entries in it, for others */
	uint64_t kind; /* the type that they need, 0: any */
};

static inline bool is_table(const struct xe_frame *f)
{
	return (f->type_info & XE_PGT_COUNT) && xe_table_level(f) >= 1 && xe_table_level(f) <= 4;
}

static inline void add_type(struct xen_refs *r, uint64_t kind)
{
	xe_assert(!r->kind || r->kind == kind);
	r->kind = kind;
	r->type++;
}

static inline void count_l1_entry(const struct xe_host *h, struct xen_refs *r, xe_mfn table,
				  uint64_t pte)
{
	const struct xe_domain *d = h->domain[h->frame[table].owner];
	xe_mfn mfn = xe_pte_mfn(pte);
	const struct xe_frame *f = &h->frame[mfn];

	xe_assert(mfn < h->nframes && f->owner != XE_NO_DOMAIN && d);
	if (mfn < XE_LOW_FRAMES) {
		xe_assert(d->privileged);
		return;
	}
	xe_assert(!f->log || xe_log_may_map((struct xe_host *)(uintptr_t)h, d, f));
	r[mfn].page++;
	if (pte & XE_PTE_RW)
		add_type(&r[mfn], XE_PGT_WRITABLE);
}

static inline void count_table(const struct xe_host *h, struct xen_refs *r, xe_mfn table)
{
	const struct xe_frame *t = &h->frame[table];
	const uint64_t *e = xe_entries(h, table);
	unsigned level = xe_table_level(t);

	for (unsigned i = 0; i < XE_PTES; i++) {
		xe_mfn mfn = xe_pte_mfn(e[i]);
		const struct xe_frame *f = &h->frame[mfn];

		if (xe_is_xen_slot(level, i))
			xe_assert(!(e[i] & XE_PTE_USER) && (!mfn || mfn == table));
		if (!(e[i] & XE_PTE_PRESENT) || xe_is_xen_slot(level, i))
			continue;
		if (level == 1) {
			count_l1_entry(h, r, table, e[i]);
			continue;
		}
		xe_assert(mfn && mfn < h->nframes && f->owner == t->owner && is_table(f));
		if (xe_table_level(f) == level)
			xe_assert(!(e[i] & XE_PTE_RW));
		else
			xe_assert(xe_table_level(f) == level - 1);
		if (mfn == table)
			continue;
		r[mfn].page++;
		add_type(&r[mfn], f->type_info & XE_PGT_TYPE);
		r[mfn].linear += xe_table_level(f) == level;
		r[table].links += xe_table_level(f) == level;
	}
}

static inline void count_fifo(struct xen_refs *r, const struct xe_domain *d)
{
	for (uint32_t i = 0; d->fifo && i < d->fifo->npages; i++) {
		r[d->fifo->page[i]].page++;
		add_type(&r[d->fifo->page[i]], XE_PGT_WRITABLE);
	}
	for (uint32_t i = 0; d->fifo && i < d->max_vcpus; i++) {
		xe_mfn mfn = d->fifo->vcpu[i].mfn;

		if (mfn) {
			r[mfn].page++;
			add_type(&r[mfn], XE_PGT_WRITABLE);
		}
	}
}

static inline void count_domain(const struct xe_host *h, struct xen_refs *r,
				const struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++) {
		const struct xe_vcpu *v = d->vcpu[i];
		xe_mfn base[2] = {v->cr3, v->user_cr3};

		for (uint64_t k = 0; k < (v->cpu.c.gdt_ents + 511) / 512; k++) {
			r[v->cpu.c.gdt_frame[k]].page++;
			add_type(&r[v->cpu.c.gdt_frame[k]], XE_PGT_SEG_DESC);
		}
		for (unsigned k = 0; k < XE_LDT_FRAMES; k++) {
			if (!v->ldt_frame[k])
				continue;
			r[v->ldt_frame[k]].page++;
			add_type(&r[v->ldt_frame[k]], XE_PGT_SEG_DESC);
		}
		if (v->info_mfn) {
			r[v->info_mfn].page++;
			add_type(&r[v->info_mfn], XE_PGT_WRITABLE);
		}

		for (int k = 0; k < 2; k++) {
			if (!base[k])
				continue;
			r[base[k]].page++;
			add_type(&r[base[k]], XE_PGT_LEVEL(4));
		}
	}
	count_fifo(r, d);
	if (d->shared_mfn)
		r[d->shared_mfn].page++;
	if (d->hb_mfn)
		r[d->hb_mfn].page++;
	(void)h;
}

/* The mapping that a handle of d stands for, and its granter; NULL: none, or that one is gone. */
static inline const struct xe_maptrack *grant_use(const struct xe_host *h,
						  const struct xe_domain *d, uint32_t handle,
						  const struct xe_domain **granter)
{
	const struct xe_maptrack *m =
		&d->grants
			 ->maptrack[handle / XE_MAPTRACK_PER_FRAME][handle % XE_MAPTRACK_PER_FRAME];

	*granter = m->flags ? xe_domain(h, m->domid) : NULL;
	return *granter && (*granter)->generation == m->generation ? m : NULL;
}

/* Handles of device mappings hold what entries of page tables hold of the others. */
static inline void count_grants(const struct xe_host *h, struct xen_refs *r,
				const struct xe_domain *d)
{
	for (uint32_t i = 0; d->grants && i < d->grants->maptrack_limit; i++) {
		const struct xe_domain *granter;
		const struct xe_maptrack *m = grant_use(h, d, i, &granter);
		uint32_t mfn;

		if (!m || !(m->flags & XE_ABI_gntmap_device_map))
			continue;
		mfn = xe_grant_active(granter, m->ref)->mfn;
		r[mfn].page++;
		if (!(m->flags & XE_ABI_gntmap_readonly))
			add_type(&r[mfn], XE_PGT_WRITABLE);
	}
}

/* Each entry's pin is the sum of what handles of all domains use of it. */
static inline void check_pins(const struct xe_host *h, const struct xe_domain *d)
{
	uint32_t n = d->grants ? d->grants->nframes * XE_GRANTS_PER_FRAME : 0;
	uint32_t *pin = calloc(n + 1, sizeof(*pin));

	xe_assert(pin);
	for (uint32_t k = 0; n && k < h->top; k++) {
		const struct xe_domain *user = h->domain[k], *granter;

		for (uint32_t i = 0; user && user->grants && i < user->grants->maptrack_limit;
		     i++) {
			const struct xe_maptrack *m = grant_use(h, user, i, &granter);
			bool ro = m && m->flags & XE_ABI_gntmap_readonly;

			if (!m || granter != d)
				continue;
			xe_assert(m->ref < n && xe_grant_active(d, m->ref)->domid == user->id);
			if (m->flags & XE_ABI_gntmap_device_map)
				pin[m->ref] += ro ? XE_PIN_DEV_R : XE_PIN_DEV_W;
			if (m->flags & XE_ABI_gntmap_host_map)
				pin[m->ref] += ro ? XE_PIN_HOST_R : XE_PIN_HOST_W;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		xe_assert(xe_grant_active(d, i)->pin == pin[i]);
	free(pin);
}

/* Frames of a dead domain's grant table that are nobody's any more, but not free yet. */
static inline uint64_t kept_frames(const struct xe_host *h, const struct xe_domain *d)
{
	uint64_t n = 0;

	for (uint32_t i = 0; d->grants && i < d->grants->nframes; i++) {
		const struct xe_frame *f = &h->frame[d->grants->frame[i]];

		xe_assert(f->flags & XE_FRAME_KEPT);
		n += !(f->count_info & XE_PGC_COUNT);
	}
	return n;
}

static inline void count_refs(const struct xe_host *h, struct xen_refs *r)
{
	for (xe_mfn m = XE_LOW_FRAMES; m < h->nframes; m++) {
		const struct xe_frame *f = &h->frame[m];

		r[m].page += f->count_info & XE_PGC_ALLOCATED ? 1 : 0;
		if (f->count_info & XE_PGC_XEN_HEAP)
			add_type(&r[m], XE_PGT_WRITABLE);
		if (f->type_info & XE_PGT_PINNED) {
			xe_assert(is_table(f));
			r[m].page++;
			add_type(&r[m], f->type_info & XE_PGT_TYPE);
		}
		if (is_table(f))
			count_table(h, r, m);
	}
	for (uint32_t i = 0; i < h->top; i++)
		if (h->domain[i]) {
			count_domain(h, r, h->domain[i]);
			count_grants(h, r, h->domain[i]);
		}
	for (unsigned i = 0; i < XE_MAX_PAIRS; i++)
		for (uint32_t k = 0; k < h->pair[i].extents; k++)
			for (xe_mfn m = 0; m < XE_CHUNK_FRAMES; m++)
				r[h->pair[i].extent[k] + m].page++;
}

static inline void check_frame(const struct xe_host *h, const struct xen_refs *r, xe_mfn m)
{
	const struct xe_frame *f = &h->frame[m];
	const struct xe_chunk *c = &h->chunk[m / XE_CHUNK_FRAMES];
	bool is_free = c->free[m % XE_CHUNK_FRAMES / 64] >> (m % 64) & 1;

	xe_assert((f->count_info & XE_PGC_COUNT) == r->page);
	xe_assert((f->type_info & XE_PGT_COUNT) == r->type);
	xe_assert((f->type_info & XE_PGT_LINEAR_USES) / XE_PGT_LINEAR == r->linear);
	xe_assert(!r->linear || !r->links);
	xe_assert(r->page ? !is_free && h->domain[f->owner]
			  : is_free || (f->flags & XE_FRAME_KEPT));
	if (is_free)
		xe_assert(!f->type_info && !f->count_info && !f->log);
	if (r->type)
		xe_assert((f->type_info & XE_PGT_VALIDATED) &&
			  (f->type_info & XE_PGT_TYPE) == r->kind);
	if (f->log && r->type)
		xe_assert(r->kind == XE_PGT_WRITABLE);
}

static inline uint64_t check_list(const struct xe_host *h, const struct xe_domain *d,
				  uint32_t first, bool xenheap)
{
	uint64_t n = 0;

	for (uint32_t m = first, prev = 0; m; prev = m, m = h->frame[m].next, n++) {
		const struct xe_frame *f = &h->frame[m];

		xe_assert(n < h->nframes && f->owner == d->id && f->prev == prev);
		xe_assert(!(f->count_info & XE_PGC_XEN_HEAP) == !xenheap);
	}
	return n;
}

static inline void check_tlb(struct xe_host *h, const struct xe_vcpu *v)
{
	for (unsigned i = 0; i < XE_TLB_SIZE; i++) {
		const struct xe_tlb_entry *t = &v->tlb[i];
		uint64_t *e;
		bool rw;

		if (t->tag >> 1 != v->tlb_gen)
			continue;
		xe_assert(!xe_walk(h, v, t->vpn << XE_PAGE_SHIFT, &e, &rw));
		xe_assert((*e & XE_PTE_PRESENT) && xe_pte_mfn(*e) == t->mfn);
		xe_assert((t->tag & 1) == (rw && (*e & XE_PTE_RW)));
	}
}

static inline void xen_check(struct xe_host *h)
{
	struct xen_refs *r = calloc(h->nframes, sizeof(*r));
	uint64_t used = XE_LOW_FRAMES;

	xe_assert(r);
	count_refs(h, r);
	for (xe_mfn m = XE_LOW_FRAMES; m < h->nframes; m++)
		check_frame(h, &r[m], m);
	for (uint32_t i = 0; i < h->top; i++) {
		const struct xe_domain *d = h->domain[i];

		if (!d)
			continue;
		xe_assert(check_list(h, d, d->first_frame, false) == d->tot_pages);
		xe_assert(check_list(h, d, d->first_xenheap, true) == d->xenheap_pages);
		used += d->tot_pages + d->xenheap_pages + kept_frames(h, d);
		check_pins(h, d);
		for (uint32_t k = 0; k < d->nvcpus; k++)
			check_tlb(h, d->vcpu[k]);
	}
	xe_assert(used + h->nfree == h->nframes);
	free(r);
}

#endif
