/* Changes of page tables by hypercall: every entry that a guest wants is checked first.
 *
 * A present level 1 entry holds one reference on its frame, a writable one also a type reference;
 * both are dropped when the entry goes. A frame may be mapped if the domain owns it, or if it is
 * part of a log to which the domain has a right (log.c decides).
 *
 * Invariants: the references that entries hold equal the entries; a page table never becomes
 * writable to its guest (its type count is never 0).
 * Left out: entries of levels 2 to 4, pinning, mmuext_op: a guest's tables are made by the builder. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { MMU_NORMAL_PT_UPDATE, MMU_MACHPHYS_UPDATE, MMU_PT_UPDATE_PRESERVE_AD };

static xe_mfn pte_mfn(uint64_t pte)
{
	return (pte & XE_PTE_MFN) >> XE_PAGE_SHIFT;
}

static int get_from_entry(struct xe_host *h, struct xe_domain *d, struct xe_domain *fd,
			  uint64_t val)
{
	xe_mfn mfn = pte_mfn(val);
	struct xe_frame *f;
	struct xe_domain *owner = fd;
	int r = 0;

	if (mfn >= h->nframes)
		return -EPERM;
	f = &h->frame[mfn];
	if (f->log) {
		if (!xe_log_may_map(h, d, f))
			return -EBUSY;
		owner = h->domain[f->owner];
	}
	if (!xe_get_page(h, mfn, owner))
		return -EBUSY;
	if (val & XE_PTE_RW)
		r = xe_get_page_type(f, XE_PGT_WRITABLE);
	if (r)
		xe_put_page(h, mfn);
	return r;
}

static void put_entry(struct xe_host *h, uint64_t val)
{
	if (!(val & XE_PTE_PRESENT))
		return;
	if (val & XE_PTE_RW)
		xe_put_page_type(&h->frame[pte_mfn(val)]);
	xe_put_page(h, pte_mfn(val));
}

static int mod_l1_entry(struct xe_host *h, struct xe_domain *d, struct xe_domain *fd,
			uint64_t *slot, uint64_t val)
{
	uint64_t old = *slot;
	int r = 0;

	if (val & XE_PTE_PRESENT)
		r = get_from_entry(h, d, fd, val);
	if (r)
		return r;
	*slot = val;
	put_entry(h, old);
	return 0;
}

static int update_va_mapping(struct xe_host *h, struct xe_vcpu *v, uint64_t va, uint64_t val)
{
	struct xe_domain *d = v->domain;
	uint64_t *l1e;
	bool rw;
	int r;

	if (xe_walk(h, v, va, &l1e, &rw))
		return -EINVAL;
	r = mod_l1_entry(h, d, d, l1e, val);
	xe_tlb_invalidate(d, va);
	return r;
}

/* Writes to a page that is no table: plain memory, if it can be had writable now. */
static int write_data(struct xe_host *h, xe_mfn mfn, uint64_t *slot, uint64_t val)
{
	int r = xe_get_page_type(&h->frame[mfn], XE_PGT_WRITABLE);

	if (r)
		return -EINVAL;
	*slot = val;
	xe_put_page_type(&h->frame[mfn]);
	return 0;
}

static int update_table(struct xe_host *h, struct xe_domain *d, struct xe_domain *fd,
			uint64_t maddr, uint64_t val, bool keep_ad)
{
	xe_mfn mfn = maddr >> XE_PAGE_SHIFT;
	struct xe_frame *f = &h->frame[mfn];
	uint64_t *slot = (uint64_t *)(void *)(h->memory + maddr);
	bool cached = *slot & XE_PTE_PRESENT; /* the TLB holds no entry that was not */
	int r;

	if (!(f->flags & XE_FRAME_SYSTEM) || (f->type_info & XE_PGT_TYPE) == XE_PGT_WRITABLE)
		return write_data(h, mfn, slot, val);
	if ((f->type_info & XE_PGT_TYPE) != XE_PGT_LEVEL(1))
		return -EINVAL;
	if (keep_ad)
		val |= *slot & XE_PTE_AD;
	r = mod_l1_entry(h, d, fd, slot, val);
	if (cached)
		xe_tlb_flush_all(d);
	return r;
}

static int update_one(struct xe_host *h, struct xe_domain *d, struct xe_domain *fd, uint64_t ptr,
		      uint64_t val)
{
	unsigned cmd = ptr & 3;
	uint64_t maddr = ptr & ~3ull;
	xe_mfn mfn = maddr >> XE_PAGE_SHIFT;
	int r = -EINVAL;

	if (cmd > MMU_PT_UPDATE_PRESERVE_AD || (cmd != MMU_MACHPHYS_UPDATE && maddr & 7))
		return -EINVAL;
	if (!xe_get_page(h, mfn, d))
		return -EINVAL;
	if (h->frame[mfn].log && !xe_log_may_map(h, d, &h->frame[mfn]))
		goto out;
	if (cmd == MMU_MACHPHYS_UPDATE) {
		h->frame[mfn].m2p = (uint32_t)val;
		r = 0;
	} else {
		r = update_table(h, d, fd, maddr, val, cmd == MMU_PT_UPDATE_PRESERVE_AD);
	}
out:
	xe_put_page(h, mfn);
	return r;
}

int64_t xe_do_mmu_update(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_domain *d = v->domain;
	struct xe_domain *fd = xe_domain_or_self(h, d, arg[3] & 0xffff);
	uint32_t count = (uint32_t)arg[1], done;
	int r = 0;

	if (arg[3] >> 16)
		return -EPERM;
	if (!fd || fd->dying)
		return -ESRCH;
	if (fd != d && !d->privileged)
		return -EPERM;
	for (done = 0; done < count; done++) {
		struct xe_mmu_update u;

		r = xe_copy_from(h, v, &u, arg[0] + (uint64_t)done * sizeof(u), sizeof(u));
		if (!r)
			r = update_one(h, d, fd, u.ptr, u.val);
		if (r)
			break;
	}
	if (arg[2] && xe_copy_to(h, v, arg[2], &done, sizeof(done)) && !r)
		r = -EFAULT;
	return r;
}

int64_t xe_do_update_va_mapping(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return update_va_mapping(h, v, arg[0], arg[1]);
}

/* Clears the domain's entries; with log != 0 only those of that log. */
static void unmap(struct xe_host *h, struct xe_domain *d, uint8_t log)
{
	for (uint64_t i = 0; i < d->n_l1; i++) {
		uint64_t *t = (uint64_t *)(void *)xe_frame_ptr(h, d->tables[i]);

		for (unsigned j = 0; j < XE_PTES; j++) {
			uint64_t old = t[j];

			if (!(old & XE_PTE_PRESENT) || (log && h->frame[pte_mfn(old)].log != log))
				continue;
			t[j] = 0;
			put_entry(h, old);
		}
	}
	xe_tlb_flush_all(d);
}

void xe_unmap_log(struct xe_host *h, struct xe_domain *d, uint8_t log)
{
	xe_assert(log);
	unmap(h, d, log);
}

void xe_unmap_all(struct xe_host *h, struct xe_domain *d)
{
	unmap(h, d, 0);
}
