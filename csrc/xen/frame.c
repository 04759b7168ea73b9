/* The frame table: who owns each machine frame, how often it is referenced, of what type it is.
 *
 * Semantics are Xen's: an assigned frame has PGC_allocated and one reference; each mapping, log
 * registration and table link holds another. The frame is freed at its last reference, wherever
 * that is dropped; the owner's tot_pages falls, and its list loses the frame, only then. Types:
 * pagetype.c.
 *
 * Allocation is by chunks of 512 frames with a bitmap each: single frames from the lowest chunk
 * that has any, extents of order 9 from the highest chunk that is wholly free.
 *
 * Invariants: a free frame has no owner, count 0 and its bit set in its chunk; a frame handed out
 * reads as zero. The host owns table and bitmaps, the machine owns the memory itself.
 * Frame 0 is never given out: mfn 0 means "none" everywhere.
 * Left out: orders 1 to 8, NUMA, colouring, scrubbing in idle time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

int xe_frames_create(struct xe_host *h)
{
	h->nchunks = (h->nframes + XE_CHUNK_FRAMES - 1) / XE_CHUNK_FRAMES;
	h->frame = calloc(h->nframes, sizeof(*h->frame));
	h->chunk = calloc(h->nchunks, sizeof(*h->chunk));
	if (!h->frame || !h->chunk)
		return -ENOMEM;
	for (uint64_t c = 0; c < h->nchunks; c++) {
		uint64_t n = h->nframes - c * XE_CHUNK_FRAMES;

		if (n > XE_CHUNK_FRAMES)
			n = XE_CHUNK_FRAMES;
		for (uint64_t i = 0; i < n; i++)
			h->chunk[c].free[i / 64] |= 1ull << (i % 64);
		h->chunk[c].nfree = (uint32_t)n;
	}
	h->chunk[0].free[0] &= ~1ull;
	h->chunk[0].nfree--;
	h->frame[0].owner = XE_NO_DOMAIN;
	h->nfree = h->nframes - 1;
	return 0;
}

void xe_frames_destroy(struct xe_host *h)
{
	free(h->frame);
	free(h->chunk);
}

void xe_frames_flush(struct xe_host *h)
{
	if (h->run_n && h->release)
		h->release(h->release_ctx, h->run_start, h->run_n);
	h->run_n = 0;
}

/* The frame's memory must be zero before it is given out again: by `release`, or by us. */
static void note_freed(struct xe_host *h, xe_mfn mfn)
{
	if (!h->release) {
		h->frame[mfn].flags = XE_FRAME_DIRTY;
		return;
	}
	if (h->run_n && mfn == h->run_start + h->run_n) {
		h->run_n++;
	} else if (h->run_n && mfn + 1 == h->run_start) {
		h->run_start--;
		h->run_n++;
	} else {
		xe_frames_flush(h);
		h->run_start = mfn;
		h->run_n = 1;
	}
}

static uint32_t *list_of(struct xe_domain *d, const struct xe_frame *f)
{
	return f->count_info & XE_PGC_XEN_HEAP ? &d->first_xenheap : &d->first_frame;
}

static void link_frame(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];
	uint32_t *first = list_of(d, f);

	f->prev = 0;
	f->next = *first;
	if (*first)
		h->frame[*first].prev = (uint32_t)mfn;
	*first = (uint32_t)mfn;
}

static void unlink_frame(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];

	if (f->prev)
		h->frame[f->prev].next = f->next;
	else
		*list_of(d, f) = f->next;
	if (f->next)
		h->frame[f->next].prev = f->prev;
	f->next = f->prev = 0;
}

static void give(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];

	xe_assert(!(f->count_info & XE_PGC_COUNT));
	if (f->flags & XE_FRAME_DIRTY)
		memset(xe_frame_ptr(h, mfn), 0, XE_PAGE_SIZE);
	*f = (struct xe_frame){
		.count_info = XE_PGC_ALLOCATED | 1,
		.m2p = UINT32_MAX,
		.owner = (uint16_t)d->id,
	};
	link_frame(h, d, mfn);
}

static void account(struct xe_host *h, struct xe_domain *d, uint64_t n)
{
	if (!d->tot_pages && n)
		xe_get_domain(d);
	d->tot_pages += n;
	h->nfree -= n;
}

/* n single frames, ascending from the lowest chunks; there are as many. */
static void take_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn)
{
	uint64_t got = 0;

	xe_frames_flush(h);
	for (uint64_t c = h->low_chunk; got < n; c++) {
		struct xe_chunk *k = &h->chunk[c];

		xe_assert(c < h->nchunks);
		h->low_chunk = c;
		for (unsigned w = 0; k->nfree && w < XE_CHUNK_WORDS && got < n; w++) {
			while (k->free[w] && got < n) {
				unsigned bit = (unsigned)__builtin_ctzll(k->free[w]);

				k->free[w] &= k->free[w] - 1;
				k->nfree--;
				mfn[got] = c * XE_CHUNK_FRAMES + w * 64 + bit;
				give(h, d, mfn[got++]);
			}
		}
	}
}

/* All or none. */
int xe_alloc_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn)
{
	if (n > h->nfree)
		return -ENOMEM;
	take_frames(h, d, n, mfn);
	account(h, d, n);
	return 0;
}

int xe_alloc_xenheap(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn)
{
	struct xe_frame *f;

	if (!h->nfree)
		return -ENOMEM;
	take_frames(h, d, 1, mfn);
	h->nfree--;
	f = &h->frame[*mfn];
	unlink_frame(h, d, *mfn);
	f->count_info |= XE_PGC_XEN_HEAP;
	f->type_info = XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1;
	link_frame(h, d, *mfn);
	if (!d->xenheap_pages++)
		xe_get_domain(d);
	return 0;
}

/* One extent of 512 machine-contiguous frames. */
int xe_alloc_extent(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn)
{
	uint64_t c = h->nchunks;

	while (c > 0 && h->chunk[c - 1].nfree != XE_CHUNK_FRAMES)
		c--;
	if (!c)
		return -ENOMEM;
	xe_frames_flush(h);
	c--;
	memset(h->chunk[c].free, 0, sizeof(h->chunk[c].free));
	h->chunk[c].nfree = 0;
	*mfn = c * XE_CHUNK_FRAMES;
	for (uint64_t i = 0; i < XE_CHUNK_FRAMES; i++)
		give(h, d, *mfn + i);
	account(h, d, XE_CHUNK_FRAMES);
	return 0;
}

static void lose_page(struct xe_host *h, struct xe_domain *d)
{
	xe_assert(d->tot_pages > 0);
	if (--d->tot_pages == 0)
		xe_put_domain(h, d);
}

static void lose_xenheap(struct xe_host *h, struct xe_domain *d)
{
	xe_assert(d->xenheap_pages > 0);
	if (--d->xenheap_pages == 0)
		xe_put_domain(h, d);
}

void xe_free_frame(struct xe_host *h, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];
	struct xe_chunk *k = &h->chunk[mfn / XE_CHUNK_FRAMES];
	unsigned bit = mfn % XE_CHUNK_FRAMES;
	struct xe_domain *d = h->domain[f->owner];
	bool xenheap = f->count_info & XE_PGC_XEN_HEAP;

	xe_assert((xenheap || !(f->type_info & XE_PGT_COUNT)) && !f->log);
	xe_assert(!(k->free[bit / 64] >> (bit % 64) & 1));
	unlink_frame(h, d, mfn);
	*f = (struct xe_frame){.owner = XE_NO_DOMAIN};
	k->free[bit / 64] |= 1ull << (bit % 64);
	k->nfree++;
	h->nfree++;
	if (mfn / XE_CHUNK_FRAMES < h->low_chunk)
		h->low_chunk = mfn / XE_CHUNK_FRAMES;
	note_freed(h, mfn);
	if (xenheap)
		lose_xenheap(h, d);
	else
		lose_page(h, d);
}

/* Gives up the allocation itself; false if that was done before. */
bool xe_drop_allocated(struct xe_host *h, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];

	if (!(f->count_info & XE_PGC_ALLOCATED))
		return false;
	f->count_info &= ~XE_PGC_ALLOCATED;
	xe_put_page(h, mfn);
	return true;
}

/* Changes the owner of a frame that somebody keeps referenced; it is allocated afterwards. */
void xe_assign_frame(struct xe_host *h, xe_mfn mfn, struct xe_domain *to)
{
	struct xe_frame *f = &h->frame[mfn];
	struct xe_domain *from = h->domain[f->owner];

	xe_assert(f->count_info & XE_PGC_COUNT);
	unlink_frame(h, from, mfn);
	if (!(f->count_info & XE_PGC_ALLOCATED)) {
		f->count_info |= XE_PGC_ALLOCATED;
		f->count_info++;
	}
	f->owner = (uint16_t)to->id;
	link_frame(h, to, mfn);
	f->m2p = UINT32_MAX;
	if (!to->tot_pages)
		xe_get_domain(to);
	to->tot_pages++;
	lose_page(h, from);
}
