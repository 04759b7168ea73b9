/* The log of a pair as memory: registration, the right to map it, transfer, release.
 *
 * A registered log is a list of 2 MiB extents of one domain, `log_owner`. The pair holds a reference
 * on that domain (the "+1") and one on every frame, so the log outlives its owner. Each frame is
 * tagged with its pair. The right to map it: the owner has it, but not while it is fenced; the
 * recorded backup has it while it recovers and after it asked for the log.
 *
 * Invariants: frame.log == tag exactly for the frames of the pair's extents; extents > 0 exactly
 * if the references are held. The pair owns the array of extents.
 * Left out: what is in the log. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

bool xe_log_may_map(struct xe_host *h, const struct xe_domain *d, const struct xe_frame *f)
{
	const struct xe_pair *p;

	xe_assert(f->log);
	p = &h->pair[f->log - 1];
	if (p->state == XE_PAIR_RECOVERING)
		return d->id == p->backup && p->log_granted;
	return d->id == f->owner;
}

/* Memory, neither a page or descriptor table nor a frame of Xen's, nor ever mapped by grant. */
static bool is_plain(const struct xe_frame *f)
{
	return !(f->count_info & XE_PGC_XEN_HEAP) && !(f->flags & XE_FRAME_GRANTED) &&
	       (!(f->type_info & XE_PGT_COUNT) || (f->type_info & XE_PGT_TYPE) == XE_PGT_WRITABLE);
}

static int check_extent(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn)
{
	if (mfn % XE_CHUNK_FRAMES || mfn >= h->nframes || h->nframes - mfn < XE_CHUNK_FRAMES)
		return -EINVAL;
	for (xe_mfn m = mfn; m < mfn + XE_CHUNK_FRAMES; m++) {
		const struct xe_frame *f = &h->frame[m];

		if (!(f->count_info & XE_PGC_ALLOCATED) || f->owner != d->id || !is_plain(f))
			return -EPERM;
		if (f->log)
			return -EINVAL;
	}
	return 0;
}

static void tag_extent(struct xe_host *h, xe_mfn mfn, uint8_t tag)
{
	for (xe_mfn m = mfn; m < mfn + XE_CHUNK_FRAMES; m++)
		h->frame[m].log = tag;
}

/* Tags as it checks, so that a repeated extent is found; undone if one is bad. */
static int claim_extents(struct xe_host *h, struct xe_domain *d, struct xe_pair *p,
			 const xe_mfn *mfn, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int r = check_extent(h, d, mfn[i]);

		if (r) {
			while (i-- > 0)
				tag_extent(h, mfn[i], 0);
			return r;
		}
		tag_extent(h, mfn[i], xe_pair_tag(h, p));
	}
	return 0;
}

int xe_log_register(struct xe_host *h, struct xe_domain *d, struct xe_pair *p,
		    const struct xe_zl_arg *a)
{
	xe_mfn *mfn = NULL;
	int r = -EINVAL;

	if (!a->count || a->count > XE_MAX_EXTENTS)
		goto out;
	r = -ENOMEM;
	mfn = calloc(a->count, sizeof(*mfn));
	if (!mfn)
		goto out;
	r = xe_copy_from(h, h->current, mfn, a->addr, a->count * sizeof(*mfn));
	if (!r)
		r = claim_extents(h, d, p, mfn, a->count);
	if (r)
		goto out;
	for (uint32_t i = 0; i < a->count; i++) {
		for (unsigned j = 0; j < XE_CHUNK_FRAMES; j++) {
			bool got = xe_get_page(h, mfn[i] + j, d);

			xe_assert(got);
		}
	}
	xe_get_domain(d);
	p->log_owner = d->id;
	p->extent = mfn;
	p->extents = a->count;
	xe_queue_vmm(h, d, XE_VMM_LOG_REGISTERED, a->count, 0);
	return 0;
out:
	free(mfn);
	return r;
}

/* With too little room the count that is needed is returned with EINVAL. */
int xe_log_get(struct xe_host *h, struct xe_pair *p, struct xe_zl_arg *a)
{
	uint32_t room = a->count;
	int r;

	if (!p->extents)
		return -ENOENT;
	a->count = p->extents;
	if (room < p->extents)
		return -EINVAL;
	r = xe_copy_to(h, h->current, a->addr, p->extent, p->extents * sizeof(*p->extent));
	if (!r)
		p->log_granted = true;
	return r;
}

/* `to` becomes the owner: its references are taken before the old ones are dropped. */
void xe_log_transfer(struct xe_host *h, struct xe_pair *p, struct xe_domain *to)
{
	struct xe_domain *from;
	uint64_t pages = (uint64_t)p->extents * XE_CHUNK_FRAMES;

	if (!p->extents)
		return;
	from = h->domain[p->log_owner];
	xe_get_domain(to);
	to->max_pages += pages;
	for (uint32_t i = 0; i < p->extents; i++) {
		for (xe_mfn m = p->extent[i]; m < p->extent[i] + XE_CHUNK_FRAMES; m++) {
			bool got;

			xe_assign_frame(h, m, to);
			got = xe_get_page(h, m, to);
			xe_assert(got);
			xe_put_page(h, m);
		}
	}
	from->max_pages -= from->max_pages < pages ? from->max_pages : pages;
	p->log_owner = to->id;
	xe_put_domain(h, from);
}

void xe_log_release(struct xe_host *h, struct xe_pair *p)
{
	struct xe_domain *owner;

	if (!p->extents)
		return;
	owner = h->domain[p->log_owner];
	for (uint32_t i = 0; i < p->extents; i++) {
		tag_extent(h, p->extent[i], 0);
		for (xe_mfn m = p->extent[i]; m < p->extent[i] + XE_CHUNK_FRAMES; m++)
			xe_put_page(h, m);
	}
	free(p->extent);
	p->extent = NULL;
	p->extents = 0;
	xe_put_domain(h, owner);
	xe_frames_flush(h);
}
