/* memory_op exchange: frames are swapped for others of another contiguity.
 *
 * Chunk by chunk, a chunk being the larger of the two extents: its frames are stolen from the domain,
 * as many are taken from the free ones, and only then the old ones are freed and the new ones given.
 * Only a frame that nothing but its allocation refers to can be exchanged (EINVAL).
 *
 * Invariants: a chunk that fails leaves the domain's frames as they were; tot_pages is the same after
 * each chunk. Between the steps the frames of a chunk are linked through xe_frame.next, 0 the end.
 * Left out: nothing. */
#include <errno.h>
#include <stddef.h>

#include "base/assert.h"
#include "xen/internal.h"

struct exchange {
	struct xe_domain *d;
	struct xe_memory_exchange *x;
	uint32_t in_per_chunk, out_per_chunk; /* shifts: extents of a chunk */
	uint64_t limit;
	bool no_such_node;
	uint32_t in_list, out_list; /* frames; extents by their first frame */
};

static int check_sizes(const struct xe_memory_exchange *x)
{
	const struct xe_memory_reservation *in = &x->in, *out = &x->out;

	if (x->nr_exchanged > in->nr_extents || in->domid != out->domid ||
	    UINT64_MAX >> in->extent_order < in->nr_extents ||
	    UINT64_MAX >> out->extent_order < out->nr_extents ||
	    in->nr_extents << in->extent_order != out->nr_extents << out->extent_order)
		return -EINVAL;
	return 0;
}

static uint32_t pop(struct xe_host *h, uint32_t *list)
{
	uint32_t mfn = *list;

	if (mfn)
		*list = h->frame[mfn].next;
	return mfn;
}

static void push(struct xe_host *h, uint32_t *list, xe_mfn mfn)
{
	h->frame[mfn].next = *list;
	*list = (uint32_t)mfn;
}

static int steal_chunk(struct xe_host *h, struct xe_vcpu *v, struct exchange *e, uint64_t chunk)
{
	const struct xe_memory_reservation *in = &e->x->in;
	uint64_t first = chunk << e->in_per_chunk;

	for (uint64_t j = first; j < first + (1ull << e->in_per_chunk); j++) {
		xe_mfn mfn;

		if (xe_copy_from(h, v, &mfn, in->extent_start + j * sizeof(mfn), sizeof(mfn)))
			return -EFAULT;
		for (uint64_t k = 0; k < 1ull << in->extent_order; k++) {
			int r = xe_steal_page(h, e->d, mfn + k);

			if (r)
				return r;
			push(h, &e->in_list, mfn + k);
		}
	}
	return 0;
}

static int take_chunk(struct xe_host *h, struct exchange *e)
{
	for (uint64_t j = 0; j < 1ull << e->out_per_chunk; j++) {
		xe_mfn mfn;

		if (e->no_such_node ||
		    xe_take_pages(h, NULL, e->x->out.extent_order, e->limit, &mfn))
			return -ENOMEM;
		push(h, &e->out_list, mfn);
	}
	return 0;
}

static void undo_chunk(struct xe_host *h, struct exchange *e)
{
	uint32_t mfn;

	while ((mfn = pop(h, &e->in_list)))
		xe_return_page(h, e->d, mfn);
	while ((mfn = pop(h, &e->out_list)))
		xe_untake_pages(h, mfn, e->x->out.extent_order);
}

/* Can't fail any more but for the addresses at which the guest wants to know. */
static int give_chunk(struct xe_host *h, struct xe_vcpu *v, struct exchange *e, uint64_t chunk)
{
	uint32_t order = e->x->out.extent_order, mfn;
	uint64_t ptr = e->x->out.extent_start + (chunk << e->out_per_chunk) * sizeof(xe_mfn);
	int r = 0;

	while ((mfn = pop(h, &e->in_list)))
		xe_free_stolen(h, e->d, mfn);
	for (; (mfn = pop(h, &e->out_list)); ptr += sizeof(xe_mfn)) {
		xe_mfn wide = mfn;
		uint64_t pfn;

		xe_give_pages(h, e->d, mfn, order);
		if (xe_copy_from(h, v, &pfn, ptr, sizeof(pfn))) {
			r = -EFAULT;
			continue;
		}
		for (uint64_t i = 0; i < 1ull << order; i++)
			h->frame[mfn + i].m2p = (uint32_t)(pfn + i);
		if (xe_copy_to(h, v, ptr, &wide, sizeof(wide)))
			r = -EFAULT;
	}
	return r;
}

static int do_chunk(struct xe_host *h, struct xe_vcpu *v, struct exchange *e, uint64_t chunk)
{
	int r = steal_chunk(h, v, e, chunk);

	if (!r)
		r = take_chunk(h, e);
	if (r) {
		undo_chunk(h, e);
		return r;
	}
	return give_chunk(h, v, e, chunk);
}

static int prepare(struct xe_host *h, const struct xe_domain *cur, struct exchange *e)
{
	const struct xe_memory_reservation *in = &e->x->in, *out = &e->x->out;
	uint64_t done = e->x->nr_exchanged, out_done;

	if (in->extent_order <= out->extent_order) {
		e->in_per_chunk = out->extent_order - in->extent_order;
		out_done = done >> e->in_per_chunk;
	} else {
		e->out_per_chunk = in->extent_order - out->extent_order;
		out_done = done << e->out_per_chunk;
	}
	if (!xe_addr_ok(in->extent_start + done * sizeof(xe_mfn)) ||
	    !xe_addr_ok(out->extent_start + out_done * sizeof(xe_mfn)))
		return -EFAULT;
	return xe_memory_flags(h, cur, out->mem_flags, &e->limit, &e->no_such_node);
}

static int exchange(struct xe_host *h, struct xe_vcpu *v, struct xe_memory_exchange *x)
{
	struct xe_domain *cur = v->domain;
	struct exchange e = {.x = x};
	int r = prepare(h, cur, &e);

	if (r)
		return r;
	e.d = xe_domain_or_self(h, cur, x->in.domid);
	if (!e.d)
		return -ESRCH;
	if (e.d != cur && !cur->privileged)
		return -EPERM;
	for (uint64_t i = x->nr_exchanged >> e.in_per_chunk;
	     !r && i < x->in.nr_extents >> e.in_per_chunk; i++) {
		r = do_chunk(h, v, &e, i);
		x->nr_exchanged = (r ? i : i + 1) << e.in_per_chunk;
	}
	xe_assert(!e.in_list && !e.out_list);
	if (!r)
		x->nr_exchanged = x->in.nr_extents;
	return r;
}

int64_t xe_memory_exchange(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_memory_exchange x;
	uint32_t max = xe_max_order(v->domain);
	int r;

	if (xe_copy_from(h, v, &x, gva, sizeof(x)))
		return -EFAULT;
	if (x.in.extent_order > max || x.out.extent_order > max)
		r = -EPERM;
	else
		r = check_sizes(&x);
	if (!r && x.nr_exchanged == x.in.nr_extents)
		return 0;
	if (!r)
		r = exchange(h, v, &x);
	if (xe_copy_to(h, v, gva + offsetof(struct xe_memory_exchange, nr_exchanged),
		       &x.nr_exchanged, sizeof(x.nr_exchanged)))
		return -EFAULT;
	return r;
}
