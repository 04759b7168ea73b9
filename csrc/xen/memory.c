/* memory_op: a domain's reservation of machine memory.
 *
 * Like Xen, the calls answer how many extents were done, and 0 where nothing could be.
 * Invariants: tot_pages never grows over max_pages here. A frame leaves the reservation when its
 * allocation is dropped, but its memory and its count only with the last reference.
 * A guest keeps its own P2M: only M2P is set here. A frame of a registered log can't be given up.
 * Left out: orders other than 0 and 9, exchange, address bits and NUMA flags. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum {
	INCREASE = 0,
	DECREASE = 1,
	MAXIMUM_RAM_PAGE = 2,
	CURRENT_RESERVATION = 3,
	MAXIMUM_RESERVATION = 4,
	POPULATE = 6,
	MAXIMUM_GPFN = 14,
};

static bool add_extent(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d, uint64_t ptr,
		       uint32_t order, bool populate)
{
	uint64_t pfn = 0;
	xe_mfn mfn;
	int r;

	if (d->tot_pages + (1ull << order) > d->max_pages)
		return false;
	if (populate && xe_copy_from(h, v, &pfn, ptr, sizeof(pfn)))
		return false;
	if (ptr && xe_check_writable(h, v, ptr, sizeof(mfn)))
		return false;
	r = order ? xe_alloc_extent(h, d, &mfn) : xe_alloc_frames(h, d, 1, &mfn);
	if (r)
		return false;
	for (uint64_t i = 0; populate && i < 1ull << order; i++)
		h->frame[mfn + i].m2p = (uint32_t)(pfn + i);
	if (ptr) {
		r = xe_copy_to(h, v, ptr, &mfn, sizeof(mfn));
		xe_assert(!r);
	}
	return true;
}

static bool remove_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	bool done = false;

	if (!xe_get_page(h, mfn, d))
		return false;
	if (!h->frame[mfn].log)
		done = xe_drop_allocated(h, mfn);
	xe_put_page(h, mfn);
	return done;
}

static bool remove_extent(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d, uint64_t ptr,
			  uint32_t order)
{
	xe_mfn mfn;

	if (xe_copy_from(h, v, &mfn, ptr, sizeof(mfn)))
		return false;
	if (mfn >= h->nframes)
		return false;
	for (uint64_t i = 0; i < 1ull << order; i++)
		if (!remove_page(h, d, mfn + i))
			return false;
	return true;
}

static int64_t reservation(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd,
			   const struct xe_memory_reservation *r)
{
	struct xe_domain *cur = v->domain;
	struct xe_domain *d = xe_domain_or_self(h, cur, r->domid);
	uint64_t done;

	if (!d || d->dying || (r->extent_order && r->extent_order != XE_EXTENT_ORDER))
		return 0;
	if (d != cur && !cur->privileged)
		return -EPERM;
	for (done = 0; done < r->nr_extents; done++) {
		uint64_t ptr = r->extent_start ? r->extent_start + done * 8 : 0;
		bool ok = cmd == DECREASE
				  ? remove_extent(h, v, d, ptr, r->extent_order)
				  : add_extent(h, v, d, ptr, r->extent_order, cmd == POPULATE);

		if (!ok)
			break;
	}
	return (int64_t)done;
}

static int64_t query(struct xe_host *h, struct xe_domain *cur, uint32_t cmd, uint32_t domid)
{
	struct xe_domain *d;

	if (cmd == MAXIMUM_RAM_PAGE)
		return (int64_t)(h->nframes - 1);
	d = xe_domain_or_self(h, cur, domid);
	if (!d)
		return -ESRCH;
	if (d != cur && !cur->privileged)
		return -EPERM;
	if (cmd == CURRENT_RESERVATION)
		return (int64_t)d->tot_pages;
	if (cmd == MAXIMUM_RESERVATION)
		return (int64_t)d->max_pages;
	xe_assert(cmd == MAXIMUM_GPFN);
	return 0; /* as Xen answers for a PV guest */
}

int64_t xe_do_memory_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_memory_reservation r;
	uint16_t domid = XE_ABI_domid_SELF;

	switch (arg[0]) {
	case INCREASE:
	case DECREASE:
	case POPULATE:
		if (xe_copy_from(h, v, &r, arg[1], sizeof(r)))
			return 0; /* none done, says Xen */
		return reservation(h, v, (uint32_t)arg[0], &r);
	case CURRENT_RESERVATION:
	case MAXIMUM_RESERVATION:
	case MAXIMUM_GPFN:
		if (xe_copy_from(h, v, &domid, arg[1], sizeof(domid)))
			return -EFAULT;
		return query(h, v->domain, (uint32_t)arg[0], domid);
	case MAXIMUM_RAM_PAGE:
		return query(h, v->domain, (uint32_t)arg[0], domid);
	default:
		return -ENOSYS;
	}
}
