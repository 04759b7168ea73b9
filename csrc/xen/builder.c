/* The domain builder: memory, P2M, shared_info and page tables of a new domain.
 *
 * Pseudo-physical layout: the guest's own pages from 0; above them, up to the last initial page,
 * shared_info, the P2M array (one uint64 mfn per page, the guest's from then on) and the page tables
 * (L1 of the direct map, L1 of the log window, L2, L3, one L4). All of it is the domain's own
 * memory and counts in tot_pages. Every page is mapped in the direct map, tables read-only.
 *
 * References after building: 1 allocation + 1 mapping each; tables and shared_info 1 more, which
 * the host holds until the domain is destroyed. No table is ever made or freed later.
 * Left out: a kernel image, start_info, kernel virtual layout; the guest is not machine code. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

struct layout {
	uint64_t shared, p2m, tables;      /* first pfn of each */
	uint64_t l1d, l1w, l2d, l2w, l3d, l3w, l4;
	uint64_t n_l1d, n_l1w, n_l2d, n_l2w, n_l3w;
	uint64_t p2m_entries;
};

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static int lay_out(struct layout *l, uint64_t pages, uint64_t max_pages, uint64_t window)
{
	uint64_t n_p2m, system;

	if (pages > 1ull << 26 || window > (uint64_t)XE_MAX_EXTENTS * XE_PTES)
		return -EINVAL;
	l->p2m_entries = max_pages < pages + window ? max_pages : pages + window;
	n_p2m = div_up(l->p2m_entries * 8, XE_PAGE_SIZE);
	l->n_l1d = div_up(pages, XE_PTES);
	l->n_l1w = div_up(window, XE_PTES);
	l->n_l2d = div_up(l->n_l1d, XE_PTES);
	l->n_l2w = div_up(l->n_l1w, XE_PTES);
	l->n_l3w = window ? 1 : 0;
	system = 1 + n_p2m + l->n_l1d + l->n_l1w + l->n_l2d + l->n_l2w + 1 + l->n_l3w + 1;
	if (system >= pages)
		return -EINVAL;
	l->shared = pages - system;
	l->p2m = l->shared + 1;
	l->tables = l->l1d = l->p2m + n_p2m;
	l->l1w = l->l1d + l->n_l1d;
	l->l2d = l->l1w + l->n_l1w;
	l->l2w = l->l2d + l->n_l2d;
	l->l3d = l->l2w + l->n_l2w;
	l->l3w = l->l3d + 1;
	l->l4 = l->l3w + l->n_l3w;
	xe_assert(l->l4 + 1 == pages);
	return 0;
}

static uint64_t *table(struct xe_host *h, xe_mfn mfn)
{
	return (uint64_t *)(void *)xe_frame_ptr(h, mfn);
}

/* Points the tables from pfn `parent` on at n successive pages from pfn `child` on. */
static void link_pages(struct xe_host *h, const xe_mfn *m, uint64_t parent, uint64_t child,
		       uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		table(h, m[parent + i / XE_PTES])[i % XE_PTES] = m[child + i] << XE_PAGE_SHIFT |
								 XE_PTE_FLAGS_RW;
}

static void map_memory(struct xe_host *h, const xe_mfn *m, const struct layout *l, uint64_t pages)
{
	link_pages(h, m, l->l1d, 0, pages);
	for (uint64_t p = l->tables; p < pages; p++)
		table(h, m[l->l1d + p / XE_PTES])[p % XE_PTES] &= ~XE_PTE_RW;
	link_pages(h, m, l->l2d, l->l1d, l->n_l1d);
	link_pages(h, m, l->l2w, l->l1w, l->n_l1w);
	link_pages(h, m, l->l3d, l->l2d, l->n_l2d);
	link_pages(h, m, l->l3w, l->l2w, l->n_l2w);
	table(h, m[l->l4])[XE_GUEST_BASE >> 39 & 511] = m[l->l3d] << XE_PAGE_SHIFT |
							XE_PTE_FLAGS_RW;
	if (l->n_l3w)
		table(h, m[l->l4])[XE_LOG_WINDOW >> 39 & 511] = m[l->l3w] << XE_PAGE_SHIFT |
								XE_PTE_FLAGS_RW;
}

static uint64_t table_type(const struct layout *l, uint64_t pfn)
{
	if (pfn == l->l4)
		return XE_PGT_LEVEL(4);
	if (pfn >= l->l3d)
		return XE_PGT_LEVEL(3);
	return pfn >= l->l2d ? XE_PGT_LEVEL(2) : XE_PGT_LEVEL(1);
}

static void account_frames(struct xe_host *h, const xe_mfn *m, const struct layout *l,
			   uint64_t pages)
{
	for (uint64_t p = 0; p < pages; p++) {
		struct xe_frame *f = &h->frame[m[p]];

		f->m2p = (uint32_t)p;
		f->count_info = XE_PGC_ALLOCATED | 2;
		f->type_info = XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1;
		if (p >= l->tables) {
			f->count_info = XE_PGC_ALLOCATED | 3;
			f->type_info = table_type(l, p) | XE_PGT_VALIDATED | 1;
			f->flags |= XE_FRAME_SYSTEM;
		} else if (p == l->shared) {
			f->count_info = XE_PGC_ALLOCATED | 3;
			f->flags |= XE_FRAME_SYSTEM;
		}
	}
}

static void write_p2m(struct xe_host *h, const xe_mfn *m, const struct layout *l, uint64_t pages)
{
	for (uint64_t i = 0; i < l->p2m_entries; i++)
		table(h, m[l->p2m + i / XE_PTES])[i % XE_PTES] = i < pages ? m[i] : UINT64_MAX;
}

int xe_build(struct xe_host *h, struct xe_domain *d, uint64_t pages, uint64_t window)
{
	struct layout l;
	xe_mfn *m = NULL;
	int r = lay_out(&l, pages, d->max_pages, window);

	if (r)
		goto out;
	r = pages > h->nfree ? -ENOMEM : 0;
	if (r)
		goto out;
	d->n_tables = pages - l.tables;
	m = malloc(pages * sizeof(*m));
	d->tables = malloc(d->n_tables * sizeof(*m));
	if (!m || !d->tables) {
		d->n_tables = 0;
		r = -ENOMEM;
		goto out;
	}
	r = xe_alloc_frames(h, d, pages, m);
	xe_assert(!r);
	map_memory(h, m, &l, pages);
	account_frames(h, m, &l, pages);
	write_p2m(h, m, &l, pages);
	memcpy(d->tables, m + l.tables, d->n_tables * sizeof(*m));
	d->n_l1 = l.n_l1d + l.n_l1w;
	d->vcpu[0]->cr3 = m[l.l4];
	d->shared_mfn = m[l.shared];
	d->usable_pages = d->shared_pfn = l.shared;
	d->p2m_pfn = l.p2m;
out:
	free(m);
	return r;
}
