/* The invariants of a host's frames, recomputed from scratch: who refers to each frame and how, its
 * type, the lists of its owner, and that TLBs hold only what a walk would find.
 *
 * Sources of references: allocations, entries of all page tables, pins, base pointers, shared_info,
 * heartbeat pages, registered logs. */
#ifndef XE_TEST_XEN_CHECK_H
#define XE_TEST_XEN_CHECK_H

#include <stdlib.h>

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

	xe_assert(mfn && mfn < h->nframes && f->owner != XE_NO_DOMAIN && d);
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

static inline void count_domain(const struct xe_host *h, struct xen_refs *r,
				const struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++) {
		xe_mfn base[2] = {d->vcpu[i]->cr3, d->vcpu[i]->user_cr3};

		for (int k = 0; k < 2; k++) {
			if (!base[k])
				continue;
			r[base[k]].page++;
			add_type(&r[base[k]], XE_PGT_LEVEL(4));
		}
	}
	if (d->shared_mfn)
		r[d->shared_mfn].page++;
	if (d->hb_mfn)
		r[d->hb_mfn].page++;
	(void)h;
}

static inline void count_refs(const struct xe_host *h, struct xen_refs *r)
{
	for (xe_mfn m = 1; m < h->nframes; m++) {
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
		if (h->domain[i])
			count_domain(h, r, h->domain[i]);
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
	xe_assert(is_free == !r->page && (is_free || h->domain[f->owner]));
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
	uint64_t used = 1;

	xe_assert(r);
	count_refs(h, r);
	for (xe_mfn m = 1; m < h->nframes; m++)
		check_frame(h, &r[m], m);
	for (uint32_t i = 0; i < h->top; i++) {
		const struct xe_domain *d = h->domain[i];

		if (!d)
			continue;
		xe_assert(check_list(h, d, d->first_frame, false) == d->tot_pages);
		xe_assert(check_list(h, d, d->first_xenheap, true) == d->xenheap_pages);
		used += d->tot_pages + d->xenheap_pages;
		for (uint32_t k = 0; k < d->nvcpus; k++)
			check_tlb(h, d->vcpu[k]);
	}
	xe_assert(used + h->nfree == h->nframes);
	free(r);
}

#endif
