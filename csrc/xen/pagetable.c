/* Guest virtual memory: the walk of the four levels, a small TLB, copies in and out.
 *
 * The tables lie in the guest's frames but only hypercalls write them (they are mapped read-only),
 * so what they hold was checked and the TLB is exact as long as mmu.c invalidates what it changes.
 *
 * Invariants: a table entry that is present names a frame of the table. A copy translates every
 * page before it moves a byte: it is done wholly or not at all.
 * A vcpu owns its TLB. Left out: large pages, NX, user/supervisor, accessed/dirty bits. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

/* The level 1 entry for gva; -EFAULT where a table is missing. *rw: writable at levels 4 to 2. */
int xe_walk(struct xe_host *h, const struct xe_vcpu *v, uint64_t gva, uint64_t **l1e, bool *rw)
{
	xe_mfn mfn = v->cr3;
	uint64_t sign = gva >> 47;

	if (!mfn || (sign != 0 && sign != 0x1ffff))
		return -EFAULT;
	*rw = true;
	for (int shift = 39;; shift -= 9) {
		uint64_t *e;

		xe_assert(mfn < h->nframes);
		e = (uint64_t *)(void *)xe_frame_ptr(h, mfn) + (gva >> shift & (XE_PTES - 1));
		if (shift == XE_PAGE_SHIFT) {
			*l1e = e;
			return 0;
		}
		if (!(*e & XE_PTE_PRESENT))
			return -EFAULT;
		*rw = *rw && (*e & XE_PTE_RW);
		mfn = (*e & XE_PTE_MFN) >> XE_PAGE_SHIFT;
	}
}

void xe_tlb_flush(struct xe_vcpu *v)
{
	memset(v->tlb, 0xff, sizeof(v->tlb));
}

void xe_tlb_flush_all(struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		xe_tlb_flush(d->vcpu[i]);
}

void xe_tlb_invalidate(struct xe_domain *d, uint64_t gva)
{
	uint64_t vpn = gva >> XE_PAGE_SHIFT;

	for (uint32_t i = 0; i < d->nvcpus; i++)
		d->vcpu[i]->tlb[vpn & (XE_TLB_SIZE - 1)].vpn = UINT64_MAX;
}

/* Into the TLB. */
static __attribute__((noinline)) int fill(struct xe_host *h, struct xe_vcpu *v, uint64_t gva,
					  struct xe_tlb_entry *t)
{
	uint64_t *l1e;
	bool rw;

	if (xe_walk(h, v, gva, &l1e, &rw) || !(*l1e & XE_PTE_PRESENT))
		return -EFAULT;
	t->vpn = gva >> XE_PAGE_SHIFT;
	t->pte = rw ? *l1e : *l1e & ~XE_PTE_RW;
	return 0;
}

static inline int translate(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, bool write,
			    uint8_t **p)
{
	uint64_t vpn = gva >> XE_PAGE_SHIFT;
	struct xe_tlb_entry *t = &v->tlb[vpn & (XE_TLB_SIZE - 1)];

	if (t->vpn != vpn && fill(h, v, gva, t))
		return -EFAULT;
	if (write && !(t->pte & XE_PTE_RW))
		return -EFAULT;
	*p = h->memory + (t->pte & XE_PTE_MFN) + (gva & (XE_PAGE_SIZE - 1));
	return 0;
}

static size_t in_page(uint64_t gva, size_t n)
{
	size_t left = XE_PAGE_SIZE - (gva & (XE_PAGE_SIZE - 1));

	return n < left ? n : left;
}

static int check(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n, bool write)
{
	uint8_t *p;

	if (gva + n < gva)
		return -EFAULT;
	while (n) {
		size_t k = in_page(gva, n);

		if (translate(h, v, gva, write, &p))
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

static int copy(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint8_t *buf, size_t n,
		bool write)
{
	if (n > in_page(gva, n) && check(h, v, gva, n, write))
		return -EFAULT;
	if (!h->seen_len) { /* for the trace */
		h->seen_gva = gva;
		h->seen_len = n < XE_TRACE_SEEN ? (uint32_t)n : XE_TRACE_SEEN;
	}
	while (n) {
		size_t k = in_page(gva, n);
		uint8_t *p;

		if (translate(h, v, gva, write, &p))
			return -EFAULT;
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
	uint8_t *p;

	return in_page(gva, n) == n && !translate(h, v, gva, false, &p) ? p : NULL;
}

int xe_copy_from(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n)
{
	return copy(h, v, gva, buf, n, false);
}

int xe_copy_to(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, const void *buf, size_t n)
{
	return copy(h, v, gva, (uint8_t *)(uintptr_t)buf, n, true);
}

int xe_guest_read(struct xe_host *h, uint32_t domid, uint64_t gva, void *buf, size_t n)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	return d && d->nvcpus ? copy(h, d->vcpu[0], gva, buf, n, false) : -EFAULT;
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

	if (!d || !d->nvcpus || xe_walk(h, d->vcpu[0], gva, &l1e, &rw) || !(*l1e & XE_PTE_PRESENT))
		return -EFAULT;
	*maddr = (*l1e & XE_PTE_MFN) | (gva & (XE_PAGE_SIZE - 1));
	return 0;
}
