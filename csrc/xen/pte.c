/* Entries of level 1: what they hold, how Xen completes them, and how grants put theirs in.
 *
 * A present entry holds one reference on its frame, a writable one also a type reference; both are
 * dropped when the entry goes. A frame may be mapped if it belongs to the domain that is named as its
 * owner, if that one has the control domain's right, or, when it is part of a log, if the domain
 * whose table it is has a right to that log (log.c decides).
 *
 * Invariants: the references that entries hold equal the entries; a grant's entry is like any other,
 * only that the grant code took its references.
 * Left out: MMIO but the first MiB, which is empty; cache attributes (the control domain may set
 * them, to no effect). */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

static bool may_map(struct xe_host *h, const struct xe_domain *d, uint32_t owner,
		    const struct xe_frame *f)
{
	const struct xe_domain *o;

	if (f->log)
		return xe_log_may_map(h, d, f);
	if (f->owner == owner || owner == d->id)
		return f->owner == owner;
	o = xe_domain(h, owner);
	return o && o->privileged;
}

/* Frames that are no RAM: whoever has the hardware may map them, and nobody counts it. */
static int map_io(struct xe_host *h, const struct xe_domain *d, uint32_t owner)
{
	const struct xe_domain *o = xe_domain(h, owner);

	if (owner == XE_ABI_domid_IO)
		o = h->current ? h->current->domain : d;
	return o && o->privileged && d->privileged ? 0 : -EPERM;
}

int xe_get_l1_entry(struct xe_host *h, const struct xe_domain *d, uint32_t owner, uint64_t pte)
{
	xe_mfn mfn = xe_pte_mfn(pte);
	bool cached = !(pte & XE_PTE_CACHE), write = pte & XE_PTE_RW;
	const struct xe_frame *f;

	if (!cached && !d->privileged)
		return -EINVAL;
	if (mfn < XE_LOW_FRAMES)
		return map_io(h, d, owner);
	if (mfn >= h->nframes)
		return mfn == XE_PTE_MFN >> XE_PAGE_SHIFT ? -EINVAL : -EPERM;
	if (!xe_get_any_page(h, mfn))
		return -EBUSY;
	f = &h->frame[mfn];
	if (!may_map(h, d, owner, f) || (write && xe_get_page_type(h, mfn, XE_PGT_WRITABLE))) {
		xe_put_page(h, mfn);
		return -EBUSY;
	}
	if (!cached && f->count_info & XE_PGC_XEN_HEAP) {
		xe_put_l1_entry(h, pte);
		return -EACCES;
	}
	return 0;
}

void xe_put_l1_entry(struct xe_host *h, uint64_t pte)
{
	if (!(pte & XE_PTE_PRESENT) || xe_pte_mfn(pte) < XE_LOW_FRAMES)
		return;
	if (pte & XE_PTE_RW)
		xe_put_page_type(h, xe_pte_mfn(pte));
	xe_put_page(h, xe_pte_mfn(pte));
}

/* NULL: no entry of a level 1 table of the caller. */
static uint64_t *find_entry(struct xe_host *h, struct xe_vcpu *v, uint64_t addr,
			    bool is_machine_addr)
{
	const struct xe_frame *f;
	uint64_t *e;
	bool rw;

	if (is_machine_addr) {
		if (addr % sizeof(*e) || addr >> XE_PAGE_SHIFT >= h->nframes)
			return NULL;
		e = (uint64_t *)(void *)(h->memory + addr);
	} else {
		if (xe_walk(h, v, addr, &e, &rw))
			return NULL;
		addr = (uint64_t)((uint8_t *)e - h->memory);
	}
	f = &h->frame[addr >> XE_PAGE_SHIFT];
	if (f->owner != v->domain->id || xe_table_level(f) != 1 || !(f->type_info & XE_PGT_COUNT))
		return NULL;
	return e;
}

static uint64_t replace(struct xe_domain *d, uint64_t *e, uint64_t pte)
{
	uint64_t old = *e;

	*e = pte;
	if (old & XE_PTE_PRESENT)
		xe_tlb_flush_all(d);
	return old;
}

int xe_grant_pte_set(struct xe_host *h, struct xe_vcpu *v, uint64_t addr, bool is_machine_addr,
		     uint64_t pte, uint64_t *old)
{
	uint64_t *e = find_entry(h, v, addr, is_machine_addr);

	if (!e)
		return -EINVAL;
	*old = replace(v->domain, e, xe_adjust_entry(1, pte));
	xe_put_l1_entry(h, *old);
	return 0;
}

int xe_grant_pte_clear(struct xe_host *h, struct xe_vcpu *v, uint64_t addr, bool is_machine_addr,
		       uint64_t want, uint64_t new)
{
	uint64_t *e = find_entry(h, v, addr, is_machine_addr);

	if (!e || ((*e ^ want) & (XE_PTE_MFN | XE_PTE_PRESENT | XE_PTE_RW)))
		return -EINVAL;
	replace(v->domain, e, new);
	return 0;
}

/* `from` is emptied first, as in Xen: it may be what lies at gva, and is lost if that fails. */
int xe_grant_pte_move(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint64_t want,
		      uint64_t from)
{
	uint64_t *e = find_entry(h, v, from, false), pte;
	int r;

	if (!e)
		return -EINVAL;
	pte = replace(v->domain, e, 0);
	r = xe_grant_pte_clear(h, v, gva, false, want, pte);
	if (r)
		xe_put_l1_entry(h, pte);
	return r;
}
