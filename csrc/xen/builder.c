/* The domain builder: memory, P2M, start_info, page tables and shared_info of a new domain.
 *
 * Pseudo-physical pages, all mapped at virt_base + pfn * 4096, tables read-only, in Xen's order:
 *   0               kernel image and whatever the kernel makes of these pages
 *   kernel_pages    P2M (one uint64 mfn a page, the guest's from then on), start_info,
 *                   xenstore page, console page (neither in a privileged domain),
 *                   page tables: the root, then levels 3, 2, 1; each first those of the direct map,
 *                   then those of the log window, whose level 1 is empty; boot stack
 *   to the end      free: at least 512 KiB
 * With kernel_pages 0 the first part is as large as can be and nothing is free above the stack.
 * A kernel would be entered with rsi at start_info, rsp at the end of the boot stack, vcpu 0's cr3.
 * shared_info is a frame of Xen's, not one of these pages, and is not mapped.
 *
 * References are those that hypercalls would have left: 1 allocation and 1 mapping each; a table
 * has 1 more and a type count of 1 from the entry that points to it, the root 2 of both, being
 * pinned and the base of vcpu 0.
 * Left out: loading a kernel image or module, a mapping that is smaller than the domain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { PADDING = (512 << 10) / XE_PAGE_SIZE, UNBOUND = 1 };

/* Addresses and the tables of levels 1 to 3 that map them. */
struct range {
	uint64_t va, pages;
	uint64_t first[4], n[4]; /* by level: first pfn, number */
};

struct layout {
	uint64_t p2m, start_info, store, console, root, stack, end; /* pfns */
	struct range direct, window;
};

static unsigned shift_of(unsigned level) /* of what an entry of this level maps */
{
	return XE_PAGE_SHIFT + 9 * (level - 1);
}

static uint64_t last_of(const struct range *r)
{
	return r->va + (r->pages << XE_PAGE_SHIFT) - 1;
}

static unsigned slot(uint64_t va, unsigned level)
{
	return va >> shift_of(level) & (XE_PTES - 1);
}

/* Canonical, in one half, and clear of Xen's own slots and of the log window's. */
static int check_direct(const struct range *r, bool window)
{
	uint64_t last = last_of(r), half = r->va >> 47;

	if (r->va % XE_PAGE_SIZE || last < r->va || last >> 47 != half)
		return -EINVAL;
	if (half && (half != 0x1ffff || slot(r->va, 4) <= XE_L4_XEN_LAST))
		return -EINVAL;
	if (window && slot(r->va, 4) <= slot(XE_LOG_WINDOW, 4) &&
	    slot(last, 4) >= slot(XE_LOG_WINDOW, 4))
		return -EINVAL;
	return 0;
}

static void count_tables(struct range *r)
{
	for (unsigned level = 1; r->pages && level <= 3; level++) {
		unsigned shift = shift_of(level + 1);

		r->n[level] = (last_of(r) >> shift) - (r->va >> shift) + 1;
	}
}

static void place(struct layout *l, uint64_t kernel, bool rings)
{
	uint64_t p = kernel;

	l->p2m = p;
	p += (l->direct.pages + XE_PTES - 1) / XE_PTES;
	l->start_info = p++;
	if (rings) {
		l->store = p++;
		l->console = p++;
	}
	l->root = p++;
	for (unsigned level = 3; level; level--) {
		l->direct.first[level] = p;
		p += l->direct.n[level];
		l->window.first[level] = p;
		p += l->window.n[level];
	}
	l->stack = p++;
	l->end = p;
}

static int lay_out(struct layout *l, const struct xe_domain_config *cfg)
{
	uint64_t base = cfg->virt_base ? cfg->virt_base : XE_GUEST_BASE;
	uint64_t kernel = cfg->kernel_pages;
	int r;

	if (cfg->pages > 1ull << 26 || kernel > cfg->pages ||
	    cfg->window_pages > (uint64_t)XE_MAX_EXTENTS * XE_PTES)
		return -EINVAL;
	*l = (struct layout){
		.direct = {.va = base == XE_BASE_ZERO ? 0 : base, .pages = cfg->pages},
		.window = {.va = XE_LOG_WINDOW, .pages = cfg->window_pages},
	};
	r = check_direct(&l->direct, cfg->window_pages);
	if (r)
		return r;
	count_tables(&l->direct);
	count_tables(&l->window);
	place(l, kernel, !cfg->privileged);
	if (kernel)
		return l->end + PADDING > cfg->pages ? -EINVAL : 0;
	if (l->end >= cfg->pages)
		return -EINVAL;
	place(l, cfg->pages - l->end, !cfg->privileged);
	return 0;
}

/* n pages from pfn `child` on, in the tables from pfn `parent` on, from entry `at` of the first. */
static void link_pages(struct xe_host *h, const xe_mfn *m, uint64_t parent, uint64_t at,
		       uint64_t child, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++, at++)
		xe_entries(h, m[parent + at / XE_PTES])[at % XE_PTES] =
			m[child + i] << XE_PAGE_SHIFT | XE_PTE_FLAGS_RW;
}

static void link_tables(struct xe_host *h, const xe_mfn *m, const struct layout *l,
			const struct range *r)
{
	for (unsigned level = 1; level <= 3; level++)
		link_pages(h, m, level == 3 ? l->root : r->first[level + 1], slot(r->va, level + 1),
			   r->first[level], r->n[level]);
}

static void map_memory(struct xe_host *h, const xe_mfn *m, const struct layout *l)
{
	const struct range *r = &l->direct;
	uint64_t at = slot(r->va, 1);

	link_pages(h, m, r->first[1], at, 0, r->pages);
	for (uint64_t p = l->root; p < l->stack; p++)
		xe_entries(h, m[r->first[1] + (at + p) / XE_PTES])[(at + p) % XE_PTES] &=
			~XE_PTE_RW;
	link_tables(h, m, l, r);
	link_tables(h, m, l, &l->window);
	xe_fill_xen_slots(h, m[l->root]);
	xe_set_m2p_slot(h, m[l->root], true);
}

static unsigned level_of(const struct layout *l, uint64_t pfn)
{
	unsigned level = 4;

	while (level > 1 && pfn >= l->direct.first[level - 1])
		level--;
	return level;
}

static void account_frames(struct xe_host *h, const xe_mfn *m, const struct layout *l)
{
	for (uint64_t p = 0; p < l->direct.pages; p++) {
		struct xe_frame *f = &h->frame[m[p]];

		f->m2p = (uint32_t)p;
		f->count_info = XE_PGC_ALLOCATED | 2;
		f->type_info = XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1;
	}
	for (uint64_t p = l->root; p < l->stack; p++) {
		struct xe_frame *f = &h->frame[m[p]];

		f->count_info = XE_PGC_ALLOCATED | 3;
		f->type_info = XE_PGT_LEVEL(level_of(l, p)) | XE_PGT_VALIDATED | 1;
	}
	h->frame[m[l->root]].count_info++;
	h->frame[m[l->root]].type_info = XE_PGT_LEVEL(4) | XE_PGT_PINNED | XE_PGT_VALIDATED | 2;
}

static void write_p2m(struct xe_host *h, const xe_mfn *m, const struct layout *l)
{
	for (uint64_t i = 0; i < l->direct.pages; i++)
		xe_entries(h, m[l->p2m + i / XE_PTES])[i % XE_PTES] = m[i];
}

/* A port for the other end in domain 0 to bind to. */
static uint32_t alloc_port(struct xe_domain *d)
{
	uint32_t port = 1;

	while (d->evtchn[port].state)
		port++;
	d->evtchn[port] = (struct xe_evtchn){.state = UNBOUND, .remote_dom = 0};
	return port;
}

static void write_start_info(struct xe_host *h, struct xe_domain *d, const xe_mfn *m,
			     const struct layout *l, const struct xe_domain_config *cfg)
{
	struct xe_start_info *s = (struct xe_start_info *)(void *)xe_entries(h, m[l->start_info]);
	uint64_t base = l->direct.va;

	*s = (struct xe_start_info){
		.magic = "xen-3.0-x86_64",
		.nr_pages = l->direct.pages,
		.shared_info = d->shared_mfn << XE_PAGE_SHIFT,
		.flags = XE_SIF_VIRT_P2M_4TOOLS,
		.pt_base = base + (l->root << XE_PAGE_SHIFT),
		.nr_pt_frames = l->stack - l->root,
		.mfn_list = base + (l->p2m << XE_PAGE_SHIFT),
	};
	memcpy(s->cmd_line, d->cmdline, sizeof(s->cmd_line));
	if (cfg->privileged) {
		s->flags = XE_SIF_PRIVILEGED | XE_SIF_INITDOMAIN;
		s->first_p2m_pfn = l->direct.pages;
		return;
	}
	s->store_mfn = m[l->store];
	s->store_evtchn = cfg->store ? alloc_port(d) : 0;
	s->console.domu.mfn = m[l->console];
	s->console.domu.evtchn = cfg->console ? alloc_port(d) : 0;
}

/* Until the guest unmasks them. */
static void mask_upcalls(struct xe_host *h, const struct xe_domain *d)
{
	struct xe_shared_info *s = xe_shared_info(h, d);

	for (unsigned i = 0; i < XE_LEGACY_VCPUS; i++)
		s->vcpu[i].upcall_mask = 1;
}

int xe_build(struct xe_host *h, struct xe_domain *d, const struct xe_domain_config *cfg)
{
	struct layout l;
	xe_mfn *m = NULL;
	int r = lay_out(&l, cfg);

	xe_assert(d->shared_mfn && d->nvcpus && !d->tot_pages);
	if (r)
		goto out;
	r = -ENOMEM;
	if (cfg->pages > h->nfree)
		goto out;
	m = malloc(cfg->pages * sizeof(*m));
	if (!m)
		goto out;
	r = xe_alloc_frames(h, d, cfg->pages, m);
	xe_assert(!r);
	map_memory(h, m, &l);
	account_frames(h, m, &l);
	write_p2m(h, m, &l);
	write_start_info(h, d, m, &l, cfg);
	mask_upcalls(h, d);
	d->vcpu[0]->cr3 = m[l.root];
	d->virt_base = l.direct.va;
	d->usable_pages = d->p2m_pfn = l.p2m;
	d->start_info_pfn = l.start_info;
out:
	free(m);
	return r;
}
