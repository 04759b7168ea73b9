/* memory_op: a domain's reservation of machine memory. The other sub-operations are in
 * memory_exchange.c and memory_info.c.
 *
 * Like Xen, these calls answer how many extents were done, whatever went wrong with the next one;
 * pages of an extent that was half done have changed hands.
 * Invariants: tot_pages never grows over max_pages here. A frame leaves the reservation when its
 * allocation is dropped, but its memory and its count only with the last reference, and until then
 * it may be given up again to no effect. A guest keeps its own P2M: only M2P is set here.
 * A frame of a registered log can't be given up. What Xen shares with the domain may be, to no
 * effect on Xen.
 * Left out: more than one NUMA node, populate-on-demand (of no meaning to PV domains). */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { MAX_EXTENTS = UINT32_MAX >> XE_MEMOP_EXTENT_SHIFT, NODES = 64 };

struct request {
	struct xe_domain *d;
	uint64_t list, first, n;
	uint32_t order, flags;
	uint64_t limit;   /* frames below it are good */
	bool no_such_node;
};

/* The control domain may ask for large extents. */
uint32_t xe_max_order(const struct xe_domain *d)
{
	return d->privileged ? XE_MAX_ORDER : XE_EXTENT_ORDER;
}

/* Which frames mem_flags allow: *limit. -EINVAL where they make no sense. */
int xe_memory_flags(const struct xe_host *h, const struct xe_domain *cur, uint32_t flags,
		    uint64_t *limit, bool *no_such_node)
{
	uint32_t bits = flags & XE_MEMF_ADDRESS_BITS, node = XE_MEMF_NODE(flags);
	bool exact = flags & XE_MEMF_EXACT_NODE;

	*limit = h->nframes;
	*no_such_node = false;
	if (bits && bits < 64 && h->nframes > (1ull << bits) >> XE_PAGE_SHIFT)
		*limit = (1ull << bits) >> XE_PAGE_SHIFT; /* 0 or 1: no frame */
	if (flags & XE_MEMF_VNODE || node == XE_MEMF_NO_NODE)
		return 0;
	if (cur->privileged ? node >= NODES : exact)
		return -EINVAL;
	*no_such_node = node && exact;
	return 0;
}

/* One more extent for the reservation. */
static int add(struct xe_host *h, const struct request *q, xe_mfn *mfn)
{
	struct xe_domain *d = q->d;

	if (q->no_such_node || d->dying)
		return -ENOMEM;
	if (d->tot_pages > d->max_pages || d->max_pages - d->tot_pages < 1ull << q->order)
		return -E2BIG;
	return xe_alloc_pages(h, d, q->order, q->limit, mfn);
}

static int increase(struct xe_host *h, struct xe_vcpu *v, const struct request *q, uint64_t ptr)
{
	xe_mfn mfn;
	int r = add(h, q, &mfn);

	if (!r && q->list)
		r = xe_copy_to(h, v, ptr, &mfn, sizeof(mfn));
	return r;
}

static int populate(struct xe_host *h, struct xe_vcpu *v, const struct request *q, uint64_t ptr)
{
	uint64_t pfn;
	xe_mfn mfn;
	int r = xe_copy_from(h, v, &pfn, ptr, sizeof(pfn));

	if (r)
		return r;
	if (q->flags & XE_MEMF_ON_DEMAND)
		return q->d == v->domain ? -EINVAL : 0;
	r = add(h, q, &mfn);
	if (r)
		return r;
	for (uint64_t i = 0; i < 1ull << q->order; i++)
		h->frame[mfn + i].m2p = (uint32_t)(pfn + i);
	return xe_copy_to(h, v, ptr, &mfn, sizeof(mfn));
}

static int remove_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	int r = 0;

	if (!xe_get_page(h, mfn, d))
		return -ENXIO;
	if (h->frame[mfn].log)
		r = -EBUSY;
	else
		xe_drop_allocated(h, mfn);
	xe_put_page(h, mfn);
	return r;
}

static int decrease(struct xe_host *h, struct xe_vcpu *v, const struct request *q, uint64_t ptr)
{
	xe_mfn mfn;
	int r = xe_copy_from(h, v, &mfn, ptr, sizeof(mfn));

	for (uint64_t i = 0; !r && i < 1ull << q->order; i++)
		r = remove_page(h, q->d, mfn + i);
	return r;
}

static uint64_t do_extents(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd,
			   const struct request *q)
{
	uint64_t i;
	int r = 0;

	for (i = q->first; i < q->n; i++) {
		uint64_t ptr = q->list + i * sizeof(xe_mfn);

		if (cmd == XE_ABI_memory_op_increase_reservation)
			r = increase(h, v, q, ptr);
		else if (cmd == XE_ABI_memory_op_populate_physmap)
			r = populate(h, v, q, ptr);
		else
			r = decrease(h, v, q, ptr);
		if (r)
			break;
	}
	return i;
}

/* first: extents that were done before. */
static int64_t reservation(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t first,
			   uint64_t gva)
{
	struct xe_domain *cur = v->domain;
	struct xe_memory_reservation r;
	struct request q = {.first = first};
	bool on_demand, list_needed = cmd != XE_ABI_memory_op_increase_reservation;

	if (xe_copy_from(h, v, &r, gva, sizeof(r)) || r.nr_extents > MAX_EXTENTS ||
	    first >= r.nr_extents)
		return (int64_t)first;
	q.d = xe_domain_or_self(h, cur, r.domid);
	if (!q.d || xe_memory_flags(h, cur, r.mem_flags, &q.limit, &q.no_such_node))
		return (int64_t)first;
	q.list = r.extent_start;
	q.n = r.nr_extents;
	q.order = r.extent_order;
	q.flags = r.mem_flags;
	on_demand = cmd == XE_ABI_memory_op_populate_physmap && r.mem_flags & XE_MEMF_ON_DEMAND;
	if ((q.d != cur && !cur->privileged) ||
	    ((list_needed || q.list) && !xe_addr_ok(q.list + first * sizeof(xe_mfn))) ||
	    q.order > (on_demand ? XE_MAX_ORDER : xe_max_order(cur)))
		return (int64_t)first;
	return (int64_t)do_extents(h, v, cmd, &q);
}

int64_t xe_do_memory_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = arg[0] & XE_MEMOP_CMD;
	uint64_t first = arg[0] >> XE_MEMOP_EXTENT_SHIFT;

	switch (cmd) {
	case XE_ABI_memory_op_increase_reservation:
	case XE_ABI_memory_op_decrease_reservation:
	case XE_ABI_memory_op_populate_physmap:
		return reservation(h, v, cmd, first, arg[1]);
	case XE_ABI_memory_op_exchange:
		return first ? -EINVAL : xe_memory_exchange(h, v, arg[1]);
	default:
		return xe_memory_info(h, v, cmd, first, arg[1]);
	}
}
