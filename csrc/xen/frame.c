/* The frame table: who owns each machine frame, how often it is referenced, of what type it is.
 *
 * Semantics are Xen's: an assigned frame has PGC_allocated and one reference; each mapping, log
 * registration and table link holds another. The frame is freed at its last reference, wherever
 * that is dropped; the owner's tot_pages falls, and its list loses the frame, only then. Types:
 * pagetype.c.
 *
 * Allocation is by chunks of 512 frames with a bitmap each: single frames and extents of orders 1 to
 * 8 from the lowest place that fits, aligned; from order 9 on from the highest chunks that are wholly
 * free. h->low[order] tells from which chunk on to look, so that a full machine costs nothing.
 *
 * A stolen frame is nobody's, without being free: it waits for xe_return_page or xe_free_stolen, and
 * still counts in the tot_pages of whom it was stolen from.
 *
 * Invariants: a free frame has no owner, count 0 and its bit set in its chunk; a frame handed out
 * reads as zero. The host owns table and bitmaps, the machine owns the memory itself.
 * The first MiB is never given out, as on a PC: so mfn 0 means "none" everywhere.
 * Left out: NUMA, colouring, scrubbing in idle time. */
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
	for (uint64_t i = 0; i < XE_LOW_FRAMES; i++) {
		h->chunk[0].free[i / 64] &= ~(1ull << (i % 64));
		h->frame[i].owner = XE_ABI_domid_IO;
	}
	h->chunk[0].nfree -= XE_LOW_FRAMES;
	h->nfree = h->nframes - XE_LOW_FRAMES;
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
		h->release(h->ctx, h->run_start, h->run_n);
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
	uint64_t claimed = n < d->claimed ? n : d->claimed;

	if (!d->tot_pages && n)
		xe_get_domain(d);
	d->tot_pages += n;
	d->claimed -= claimed;
	h->claimed -= claimed;
}

/* What others have claimed is not d's to take. */
static bool may_take(const struct xe_host *h, const struct xe_domain *d, uint64_t n)
{
	return n <= h->nfree && (h->claimed + n <= h->nfree || (d && d->claimed >= n));
}

/* n single frames, ascending from the lowest chunks; there are as many. */
static void take_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn)
{
	uint64_t got = 0;

	xe_frames_flush(h);
	for (uint64_t c = h->low[0]; got < n; c++) {
		struct xe_chunk *k = &h->chunk[c];

		xe_assert(c < h->nchunks);
		h->low[0] = c;
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
	h->nfree -= n;
}

/* All or none. */
int xe_alloc_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn)
{
	if (!may_take(h, d, n))
		return -ENOMEM;
	take_frames(h, d, n, mfn);
	account(h, d, n);
	return 0;
}

int xe_alloc_xenheap(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn)
{
	struct xe_frame *f;

	if (!may_take(h, NULL, 1))
		return -ENOMEM;
	take_frames(h, d, 1, mfn);
	f = &h->frame[*mfn];
	unlink_frame(h, d, *mfn);
	f->count_info |= XE_PGC_XEN_HEAP;
	f->type_info = XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1;
	link_frame(h, d, *mfn);
	if (!d->xenheap_pages++)
		xe_get_domain(d);
	return 0;
}

/* The bits of a word at which a free run of 1 << order frames starts, aligned; order <= 6. */
static uint64_t starts(uint64_t free, unsigned order)
{
	static const uint64_t aligned[] = {
		UINT64_MAX,
		0x5555555555555555ull,
		0x1111111111111111ull,
		0x0101010101010101ull,
		0x0001000100010001ull,
		0x0000000100000001ull,
		1,
	};

	for (unsigned o = 0; o < order; o++)
		free &= free >> (1u << o);
	return free & aligned[order];
}

/* Where in the chunk a free run of an order below 9 is, -1: nowhere. */
static int find_run(const struct xe_chunk *k, unsigned order)
{
	unsigned words = order <= 6 ? 1 : 1u << (order - 6);

	for (unsigned w = 0; w < XE_CHUNK_WORDS; w += words) {
		uint64_t bits = k->free[w];

		for (unsigned i = 1; i < words; i++)
			bits &= k->free[w + i];
		bits = starts(bits, order < 6 ? order : 6);
		if (bits)
			return (int)(w * 64 + (unsigned)__builtin_ctzll(bits));
	}
	return -1;
}

static int find_small(struct xe_host *h, unsigned order, xe_mfn *mfn)
{
	for (uint64_t c = h->low[order]; c < h->nchunks; c++) {
		const struct xe_chunk *k = &h->chunk[c];
		int at = k->nfree >> order ? find_run(k, order) : -1;

		h->low[order] = c;
		if (at >= 0) {
			*mfn = c * XE_CHUNK_FRAMES + (unsigned)at;
			return 0;
		}
	}
	return -ENOMEM;
}

static bool chunks_are_free(const struct xe_host *h, uint64_t c, uint64_t n)
{
	while (n && h->chunk[c].nfree == XE_CHUNK_FRAMES)
		c++, n--;
	return !n;
}

static int find_large(const struct xe_host *h, unsigned order, uint64_t limit, xe_mfn *mfn)
{
	uint64_t n = 1ull << (order - XE_EXTENT_ORDER);
	uint64_t c = limit / XE_CHUNK_FRAMES & ~(n - 1);

	for (; c >= n; c -= n) {
		if (chunks_are_free(h, c - n, n)) {
			*mfn = (c - n) * XE_CHUNK_FRAMES;
			return 0;
		}
	}
	return -ENOMEM;
}

static void set_free(struct xe_host *h, xe_mfn mfn, uint64_t n, bool free)
{
	for (; n; n--, mfn++) {
		struct xe_chunk *k = &h->chunk[mfn / XE_CHUNK_FRAMES];
		unsigned bit = mfn % XE_CHUNK_FRAMES;

		xe_assert((k->free[bit / 64] >> (bit % 64) & 1) == !free);
		k->free[bit / 64] ^= 1ull << (bit % 64);
		k->nfree += free ? 1 : -1u;
		h->nfree += free ? 1 : -1ull;
	}
}

/* 1 << order frames, aligned, all below `limit`; nobody's until xe_give_pages, for the account of d. */
int xe_take_pages(struct xe_host *h, const struct xe_domain *d, unsigned order, uint64_t limit,
		  xe_mfn *mfn)
{
	uint64_t n = 1ull << order;
	int r;

	xe_assert(order <= XE_MAX_ORDER);
	if (limit > h->nframes)
		limit = h->nframes;
	if (!may_take(h, d, n))
		return -ENOMEM;
	r = order < XE_EXTENT_ORDER ? find_small(h, order, mfn) : find_large(h, order, limit, mfn);
	if (r || *mfn + n > limit)
		return -ENOMEM;
	xe_frames_flush(h);
	set_free(h, *mfn, n, false);
	return 0;
}

void xe_give_pages(struct xe_host *h, struct xe_domain *d, xe_mfn mfn, unsigned order)
{
	for (uint64_t i = 0; i < 1ull << order; i++)
		give(h, d, mfn + i);
	account(h, d, 1ull << order);
}

static void look_from(struct xe_host *h, uint64_t chunk)
{
	for (unsigned o = 0; o < XE_EXTENT_ORDER; o++)
		h->low[o] = chunk < h->low[o] ? chunk : h->low[o];
}

void xe_untake_pages(struct xe_host *h, xe_mfn mfn, unsigned order)
{
	set_free(h, mfn, 1ull << order, true);
	look_from(h, mfn / XE_CHUNK_FRAMES);
}

int xe_alloc_pages(struct xe_host *h, struct xe_domain *d, unsigned order, uint64_t limit,
		   xe_mfn *mfn)
{
	int r = xe_take_pages(h, d, order, limit, mfn);

	if (!r)
		xe_give_pages(h, d, *mfn, order);
	return r;
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

static void give_back(struct xe_host *h, xe_mfn mfn)
{
	h->frame[mfn] = (struct xe_frame){.owner = XE_NO_DOMAIN};
	xe_untake_pages(h, mfn, 0);
	note_freed(h, mfn);
}

void xe_free_kept(struct xe_host *h, xe_mfn mfn)
{
	const struct xe_frame *f = &h->frame[mfn];

	xe_assert((f->flags & XE_FRAME_KEPT) && !(f->count_info & XE_PGC_COUNT));
	give_back(h, mfn);
}

void xe_free_frame(struct xe_host *h, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];
	struct xe_domain *d = h->domain[f->owner];
	bool xenheap = f->count_info & XE_PGC_XEN_HEAP;

	xe_assert((xenheap || !(f->type_info & XE_PGT_COUNT)) && !f->log);
	unlink_frame(h, d, mfn);
	if (f->flags & XE_FRAME_KEPT)
		*f = (struct xe_frame){.owner = XE_NO_DOMAIN, .flags = XE_FRAME_KEPT};
	else
		give_back(h, mfn);
	if (xenheap)
		lose_xenheap(h, d);
	else
		lose_page(h, d);
}

/* Takes a frame from d that nobody but d's reservation refers to. */
int xe_steal_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	struct xe_frame *f;

	if (mfn >= h->nframes)
		return -EINVAL;
	f = &h->frame[mfn];
	if (f->owner != d->id || f->log || f->count_info != (XE_PGC_ALLOCATED | 1))
		return -EINVAL;
	xe_assert(!(f->type_info & XE_PGT_COUNT));
	unlink_frame(h, d, mfn);
	*f = (struct xe_frame){.owner = XE_NO_DOMAIN, .m2p = f->m2p};
	return 0;
}

void xe_return_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];

	f->count_info = XE_PGC_ALLOCATED | 1;
	f->owner = (uint16_t)d->id;
	link_frame(h, d, mfn);
}

void xe_free_stolen(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	give_back(h, mfn);
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

int xe_frame_info(const struct xe_host *h, xe_mfn mfn, struct xe_frame_info *out)
{
	const struct xe_frame *f;

	if (mfn >= h->nframes)
		return -EINVAL;
	f = &h->frame[mfn];
	*out = (struct xe_frame_info){f->owner, f->count_info, f->type_info, f->m2p};
	if (!f->count_info && !f->owner)
		out->owner = XE_NO_DOMAIN; /* never used */
	return 0;
}

int xe_frame_read(const struct xe_host *h, xe_mfn mfn, size_t offset, void *buf, size_t n)
{
	if (mfn >= h->nframes || offset > XE_PAGE_SIZE || n > XE_PAGE_SIZE - offset)
		return -EINVAL;
	memcpy(buf, xe_frame_ptr(h, mfn) + offset, n);
	return 0;
}
