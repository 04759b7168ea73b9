/* Guest virtual memory: the walk of the four levels, a small TLB, copies in and out.
 *
 * The tables lie in the guest's frames but only hypercalls write them (they are mapped read-only),
 * so what they hold was checked. Whatever takes away or changes a present entry empties the TLBs of
 * the domain, so they are exact: a guest's own flushes have nothing to do.
 *
 * Invariants: an entry of a table that is present names a frame; without USER it is Xen's own, which
 * a guest, its kernel too, can't use. A copy translates every
 * page before it moves a byte: it is done wholly or not at all.
 * A vcpu owns its TLB; entries of an older generation are empty. Left out: large pages, NX,
 * user mode and so its root, accessed/dirty bits. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

static bool is_usable(uint64_t pte)
{
	return (pte & (XE_PTE_PRESENT | XE_PTE_USER)) == (XE_PTE_PRESENT | XE_PTE_USER);
}

/* The level 1 entry for gva; -EFAULT where a table is missing. *rw: writable at levels 4 to 2. */
int xe_walk(struct xe_host *h, const struct xe_vcpu *v, uint64_t gva, uint64_t **l1e, bool *rw)
{
	xe_mfn mfn = v->cr3;

	if (!mfn || !xe_addr_ok(gva))
		return -EFAULT;
	*rw = true;
	for (int shift = 39;; shift -= 9) {
		uint64_t *e;

		xe_assert(mfn < h->nframes);
		e = xe_entries(h, mfn) + (gva >> shift & (XE_PTES - 1));
		if (shift == XE_PAGE_SHIFT) {
			*l1e = e;
			return 0;
		}
		if (!is_usable(*e))
			return -EFAULT;
		*rw = *rw && (*e & XE_PTE_RW);
		mfn = xe_pte_mfn(*e);
	}
}

void xe_tlb_flush(struct xe_vcpu *v)
{
	v->tlb_gen = (v->tlb_gen + 1) & (UINT32_MAX >> 1);
	if (v->tlb_gen)
		return;
	memset(v->tlb, 0, sizeof(v->tlb));
	v->tlb_gen = 1;
}

void xe_tlb_flush_all(struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		xe_tlb_flush(d->vcpu[i]);
}

static int fill_tlb(struct xe_host *h, const struct xe_vcpu *v, uint64_t gva,
		    struct xe_tlb_entry *t)
{
	uint64_t *l1e;
	bool rw;

	if (xe_walk(h, v, gva, &l1e, &rw) || !is_usable(*l1e))
		return -EFAULT;
	t->vpn = gva >> XE_PAGE_SHIFT;
	t->mfn = (uint32_t)xe_pte_mfn(*l1e);
	t->tag = v->tlb_gen << 1 | (rw && (*l1e & XE_PTE_RW));
	return 0;
}

/* NULL where it can't be read, or written. */
static inline uint8_t *translate(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, bool write)
{
	uint64_t vpn = gva >> XE_PAGE_SHIFT;
	struct xe_tlb_entry *t = &v->tlb[vpn & (XE_TLB_SIZE - 1)];

	if ((t->vpn != vpn || t->tag >> 1 != v->tlb_gen) && fill_tlb(h, v, gva, t))
		return NULL;
	if (write && !(t->tag & 1))
		return NULL;
	return xe_frame_ptr(h, t->mfn) + (gva & (XE_PAGE_SIZE - 1));
}

static size_t in_page(uint64_t gva, size_t n)
{
	size_t left = XE_PAGE_SIZE - (gva & (XE_PAGE_SIZE - 1));

	return n < left ? n : left;
}

static int check(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n, bool write)
{
	if (gva + n < gva)
		return -EFAULT;
	while (n) {
		size_t k = in_page(gva, n);

		if (!translate(h, v, gva, write))
			return -EFAULT;
		gva += k;
		n -= k;
	}
	return 0;
}

int xe_check_writable(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n)
{
	return check(h, v, gva, n, true);
}

/* For the trace: what a hypercall copies first is its argument. */
static inline void note(struct xe_host *h, uint64_t gva, size_t n)
{
	if (h->seen_len || !h->current)
		return;
	h->seen_gva = gva;
	h->seen_len = n < XE_TRACE_SEEN ? (uint32_t)n : XE_TRACE_SEEN;
}

static int copy_pages(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint8_t *buf, size_t n,
		      bool write)
{
	if (check(h, v, gva, n, write))
		return -EFAULT;
	note(h, gva, n);
	while (n) {
		size_t k = in_page(gva, n);
		uint8_t *p = translate(h, v, gva, write);

		xe_assert(p);
		if (write)
			memcpy(p, buf, k);
		else
			memcpy(buf, p, k);
		gva += k;
		buf += k;
		n -= k;
	}
	return 0;
}

const uint8_t *xe_peek(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n)
{
	return in_page(gva, n) == n ? translate(h, v, gva, false) : NULL;
}

int xe_copy_from(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n)
{
	const uint8_t *p;

	if (n > in_page(gva, n))
		return copy_pages(h, v, gva, buf, n, false);
	if (!n)
		return 0;
	p = translate(h, v, gva, false);
	if (!p)
		return -EFAULT;
	note(h, gva, n);
	memcpy(buf, p, n);
	return 0;
}

int xe_copy_to(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, const void *buf, size_t n)
{
	uint8_t *p;

	if (n > in_page(gva, n))
		return copy_pages(h, v, gva, (uint8_t *)(uintptr_t)buf, n, true);
	if (!n)
		return 0;
	p = translate(h, v, gva, true);
	if (!p)
		return -EFAULT;
	note(h, gva, n);
	memcpy(p, buf, n);
	return 0;
}

int xe_guest_read(struct xe_host *h, uint32_t domid, uint64_t gva, void *buf, size_t n)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	return d && d->nvcpus ? xe_copy_from(h, d->vcpu[0], buf, gva, n) : -EFAULT;
}

int xe_guest_write(struct xe_host *h, uint32_t domid, uint64_t gva, const void *buf, size_t n)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	return d && d->nvcpus ? xe_copy_to(h, d->vcpu[0], gva, buf, n) : -EFAULT;
}

/* Always the tables themselves, never the TLB. */
int xe_guest_translate(struct xe_host *h, uint32_t domid, uint64_t gva, uint64_t *maddr)
{
	struct xe_domain *d = xe_live_domain(h, domid);
	uint64_t *l1e;
	bool rw;

	if (!d || !d->nvcpus || xe_walk(h, d->vcpu[0], gva, &l1e, &rw) || !is_usable(*l1e))
		return -EFAULT;
	*maddr = (*l1e & XE_PTE_MFN) | (gva & (XE_PAGE_SIZE - 1));
	return 0;
}
