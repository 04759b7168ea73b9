/* mmu_update and update_va_mapping: changes of page table entries, each checked before it is made.
 *
 * What an entry holds is taken by pte.c or pagetype.c before the entry is written, and what the old
 * one held is dropped after. Bits that decide nothing (accessed, dirty, available, global, user, NX)
 * change without either. Two domains may be named: whose tables are changed, and whose frames the
 * new entries of level 1 are to map; the control domain may name any, others only themselves.
 *
 * Invariants: the references that entries hold equal the entries; the TLBs of a domain hold nothing
 * of an entry that is gone.
 * Left out: continuations, which no call needs; their arguments are understood. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { CMD_MASK = 7 };

#define PREEMPTED (1u << 31)
/* Bits of an entry that a guest may not change without a check; GLOBAL only above level 1. */
#define CHECKED_BITS (XE_PTE_MFN | XE_PTE_PRESENT | XE_PTE_RW | XE_PTE_CACHE)

static int mod_entry(struct xe_host *h, struct xe_domain *d, uint32_t owner, xe_mfn table,
		     uint64_t *slot, uint64_t new, bool keep_ad)
{
	unsigned level = xe_table_level(&h->frame[table]);
	uint64_t old = *slot, ad = keep_ad ? old & XE_PTE_AD : 0;
	uint64_t checked = level == 1 ? CHECKED_BITS : CHECKED_BITS | XE_PTE_GLOBAL;
	int r = 0;

	if (xe_is_xen_slot(level, (size_t)(slot - xe_entries(h, table))))
		return -EINVAL;
	if (new & XE_PTE_PRESENT) {
		new = xe_adjust_entry(level, new);
		if (!((old ^ new) & checked)) {
			*slot = new | ad;
			return 0;
		}
		r = level == 1 ? xe_get_l1_entry(h, d, owner, new)
			       : xe_get_table_entry(h, table, new);
		if (r)
			return r;
		if (level == 1)
			new = xe_uncache_io(new);
	}
	*slot = new | ad;
	if (!(old & XE_PTE_PRESENT))
		return 0;
	xe_tlb_flush_all(d);
	if (level == 1)
		xe_put_l1_entry(h, old);
	else
		xe_put_table_entry(h, table, old);
	return 0;
}

/* ---- mmu_update ---- */

int xe_page_owner(const struct xe_host *h, const struct xe_domain *cur, uint16_t domid,
		  uint32_t *owner)
{
	*owner = domid == XE_ABI_domid_SELF ? cur->id : domid;
	if (domid == cur->id) /* that is no foreign domain, says Xen */
		return -ESRCH;
	if (domid == XE_ABI_domid_SELF || domid == XE_ABI_domid_IO || domid == XE_ABI_domid_XEN)
		return 0;
	return xe_domain(h, domid) ? 0 : -ESRCH;
}

int xe_mmu_batch_begin(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6],
		       struct xe_mmu_batch *b)
{
	*b = (struct xe_mmu_batch){
		.gva = arg[0],
		.done_gva = arg[2],
		.count = (uint32_t)arg[1] & ~PREEMPTED,
	};
	if (((uint32_t)arg[1] & PREEMPTED) && arg[2] &&
	    xe_copy_from(h, v, &b->done, arg[2], sizeof(b->done)))
		b->done = 0;
	return xe_addr_ok(arg[0]) ? 0 : -EFAULT;
}

/* A place for the count that can't be written is no error. */
void xe_mmu_batch_end(struct xe_host *h, struct xe_vcpu *v, const struct xe_mmu_batch *b)
{
	if (b->done_gva)
		(void)xe_copy_to(h, v, b->done_gva, &b->done, sizeof(b->done));
}

/* The call that would finish an interrupted one: it has nothing left to do but to say this. */
bool xe_mmu_batch_is_rest(const uint64_t arg[6])
{
	return (uint32_t)arg[1] == PREEMPTED && !arg[0];
}

static bool may_name(const struct xe_domain *cur, uint32_t owner)
{
	return owner == cur->id || cur->privileged;
}

/* Writes to a page that is no table: plain memory, if it can be had writable now. */
static int write_data(struct xe_host *h, xe_mfn mfn, uint64_t *slot, uint64_t val)
{
	if (xe_get_page_type(h, mfn, XE_PGT_WRITABLE))
		return -EINVAL;
	*slot = val;
	xe_put_page_type(h, mfn);
	return 0;
}

static int update_page(struct xe_host *h, struct xe_domain *pt, uint32_t owner, uint64_t maddr,
		       uint64_t val, bool keep_ad)
{
	xe_mfn mfn = maddr >> XE_PAGE_SHIFT;
	const struct xe_frame *f = &h->frame[mfn];
	uint64_t *slot = (uint64_t *)(void *)(h->memory + maddr);
	unsigned level = f->type_info & XE_PGT_COUNT ? xe_table_level(f) : 0;

	if (f->log && !xe_log_may_map(h, pt, f))
		return -EINVAL;
	if (level < 1 || level > 4)
		return write_data(h, mfn, slot, val);
	if (level > 1 && owner != pt->id)
		return -EINVAL;
	return mod_entry(h, pt, owner, mfn, slot, val, keep_ad);
}

static int update_entry(struct xe_host *h, const struct xe_domain *cur, struct xe_domain *pt,
			uint32_t owner, const struct xe_mmu_update *u)
{
	uint64_t maddr = u->ptr & ~(uint64_t)CMD_MASK;
	bool keep_ad = (u->ptr & CMD_MASK) == XE_ABI_mmu_PT_UPDATE_PRESERVE_AD;
	int r;

	if ((owner != XE_ABI_domid_IO && !may_name(cur, owner)) || !may_name(cur, pt->id))
		return -EPERM;
	if (!xe_get_page(h, maddr >> XE_PAGE_SHIFT, pt))
		return -EINVAL;
	r = update_page(h, pt, owner, maddr, u->val, keep_ad);
	xe_put_page(h, maddr >> XE_PAGE_SHIFT);
	return r;
}

static int update_m2p(struct xe_host *h, const struct xe_domain *cur, const struct xe_domain *pt,
		      uint32_t owner, const struct xe_mmu_update *u)
{
	xe_mfn mfn = u->ptr >> XE_PAGE_SHIFT;

	if (pt != cur || (owner != XE_ABI_domid_IO && !may_name(cur, owner)))
		return -EPERM;
	if (!xe_get_any_page(h, mfn))
		return -EINVAL;
	if (h->frame[mfn].owner != owner) {
		xe_put_page(h, mfn);
		return -EINVAL;
	}
	h->frame[mfn].m2p = (uint32_t)u->val;
	xe_put_page(h, mfn);
	return 0;
}

static int update_one(struct xe_host *h, const struct xe_domain *cur, struct xe_domain *pt,
		      uint32_t owner, const struct xe_mmu_update *u)
{
	switch (u->ptr & CMD_MASK) {
	case XE_ABI_mmu_NORMAL_PT_UPDATE:
	case XE_ABI_mmu_PT_UPDATE_PRESERVE_AD:
	case XE_ABI_mmu_PT_UPDATE_NO_TRANSLATE:
		return update_entry(h, cur, pt, owner, u);
	case XE_ABI_mmu_MACHPHYS_UPDATE:
		return update_m2p(h, cur, pt, owner, u);
	default:
		return -ENOSYS;
	}
}

static int update_all(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *pt, uint32_t owner,
		      struct xe_mmu_batch *b)
{
	for (uint32_t i = 0; i < b->count; i++, b->done++) {
		struct xe_mmu_update u;
		int r = xe_copy_from(h, v, &u, b->gva + i * sizeof(u), sizeof(u));

		if (!r)
			r = update_one(h, v->domain, pt, owner, &u);
		if (r)
			return r;
	}
	return 0;
}

int64_t xe_do_mmu_update(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t domids = (uint32_t)arg[3], owner;
	struct xe_domain *pt = domids >> 16 ? xe_domain(h, (domids >> 16) - 1) : v->domain;
	struct xe_mmu_batch b;
	int r = xe_mmu_batch_begin(h, v, arg, &b);

	if (xe_mmu_batch_is_rest(arg))
		return (int32_t)domids;
	if (r)
		return r;
	if (!pt)
		return -ESRCH;
	r = pt != v->domain && !pt->nvcpus ? -EINVAL : 0;
	if (!r)
		r = xe_page_owner(h, v->domain, (uint16_t)domids, &owner);
	if (!r)
		r = update_all(h, v, pt, owner, &b);
	xe_mmu_batch_end(h, v, &b);
	return r;
}

/* ---- update_va_mapping ---- */

int xe_check_vcpumask(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	uint64_t mask[XE_MAX_VCPUS / 64];

	return xe_copy_from(h, v, mask, gva, (v->domain->max_vcpus + 63) / 64 * sizeof(mask[0]));
}

/* What the guest wants flushed is so already: only its mask of vcpus is looked at. */
static int flush(struct xe_host *h, struct xe_vcpu *v, uint64_t flags)
{
	uint64_t type = flags & XE_ABI_uvmf_FLUSHTYPE_MASK;
	uint64_t mask = flags & ~(uint64_t)XE_ABI_uvmf_FLUSHTYPE_MASK;

	if (type != XE_ABI_uvmf_TLB_FLUSH && type != XE_ABI_uvmf_INVLPG)
		return 0;
	return mask && mask != XE_ABI_uvmf_ALL ? xe_check_vcpumask(h, v, mask) : 0;
}

static int update_va(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6], uint32_t owner)
{
	struct xe_domain *d = v->domain;
	uint64_t *slot;
	xe_mfn table;
	bool rw;
	int r;

	if (!may_name(d, owner))
		return -EPERM;
	if (xe_walk(h, v, arg[0], &slot, &rw))
		return -EINVAL;
	table = (xe_mfn)((uint8_t *)slot - h->memory) >> XE_PAGE_SHIFT;
	if (xe_table_level(&h->frame[table]) != 1) /* reached through a linear entry */
		return -EINVAL;
	r = mod_entry(h, d, owner, table, slot, arg[1], false);
	return r ? r : flush(h, v, arg[2]);
}

int64_t xe_do_update_va_mapping(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return update_va(h, v, arg, v->domain->id);
}

int64_t xe_do_update_va_mapping_otherdomain(struct xe_host *h, struct xe_vcpu *v,
					    const uint64_t arg[6])
{
	uint32_t owner;
	int r = xe_page_owner(h, v->domain, (uint16_t)arg[3], &owner);

	return r ? r : update_va(h, v, arg, owner);
}

/* ---- logs ---- */

/* Clears the entries of that log in all level 1 tables of the domain. */
void xe_unmap_log(struct xe_host *h, struct xe_domain *d, uint8_t log)
{
	xe_assert(log);
	for (xe_mfn m = d->first_frame; m; m = h->frame[m].next) {
		uint64_t *e = xe_entries(h, m);

		if (xe_table_level(&h->frame[m]) != 1 || !(h->frame[m].type_info & XE_PGT_COUNT))
			continue;
		for (unsigned i = 0; i < XE_PTES; i++) {
			uint64_t old = e[i];

			if (!(old & XE_PTE_PRESENT) || h->frame[xe_pte_mfn(old)].log != log)
				continue;
			e[i] = 0;
			xe_put_l1_entry(h, old);
		}
	}
	xe_tlb_flush_all(d);
}
