/* Grants used at once: copy, and transfer of a frame to another domain.
 *
 * A copy has two sides, each a grant or a frame of the caller's. Both stay acquired from one
 * element of the array to the next that names the same, as in Xen. While it is in use a grant is
 * pinned and its flags say so.
 *
 * A transferred frame must be the caller's alone: its only reference is the allocation. From then
 * on it is no longer the caller's, whatever becomes of it. A frame of a log is not transferred,
 * since the log holds a reference on it.
 *
 * Left out: transitive and sub-page grants (version 2). */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/grant.h"

struct side {
	struct xe_domain *domain; /* NULL: none yet */
	uint16_t domid;           /* as named */
	bool writable;            /* it is the destination */
	bool valid, granted;      /* valid: mfn is referenced, and typed if writable */
	union {
		uint32_t ref;
		uint64_t gmfn;
	} u;
	xe_mfn mfn;
};

/* A frame already pinned for this: the pin vouches for it, unless its domain is dying. */
static int get_pinned(struct xe_host *h, const struct xe_domain *rd,
		      const struct xe_grant_active *a)
{
	if (!xe_grant_get_frame(h, rd, a->mfn))
		return XE_ABI_gntst_bad_domain;
	if (!rd->dying)
		return XE_ABI_gntst_okay;
	xe_put_page(h, a->mfn);
	return XE_ABI_gntst_bad_domain;
}

/* An entry that is not pinned yet names the frame. One that is, for less, must still name a frame
 * of rd's, but the copy goes to the frame that is pinned: Xen 4.17.5 does so, later ones refuse. */
static int get_granted(struct xe_host *h, const struct xe_domain *rd, struct xe_grant_active *a,
		       uint32_t mfn, uint32_t domid)
{
	if (!xe_grant_get_frame(h, rd, mfn))
		return XE_ABI_gntst_bad_page;
	if (!a->pin) {
		a->mfn = mfn;
		a->domid = (uint16_t)domid;
		return XE_ABI_gntst_okay;
	}
	xe_put_page(h, mfn);
	return xe_grant_get_frame(h, rd, a->mfn) ? XE_ABI_gntst_okay : XE_ABI_gntst_general_error;
}

/* Pins the grant and takes a reference on its frame. */
static int acquire(struct xe_host *h, struct xe_domain *rd, uint32_t ref, uint32_t domid,
		   bool readonly, xe_mfn *mfn)
{
	uint32_t add = readonly ? XE_PIN_HOST_R : XE_PIN_HOST_W;
	struct xe_grant_entry *e;
	struct xe_grant_active *a;
	int st;

	if (ref >= xe_grant_entries(rd))
		return XE_ABI_gntst_bad_gntref;
	e = xe_grant_shared(h, rd, ref);
	if (!e)
		return XE_ABI_gntst_general_error;
	a = xe_grant_active(rd, ref);
	if (a->pin && (a->domid != domid || (a->pin & add << 7)))
		return XE_ABI_gntst_general_error;
	if (!a->pin || (!readonly && !(a->pin & XE_PIN_WRITERS))) {
		st = xe_grant_set_status(e, a, readonly, false, domid);
		if (st)
			return st;
		st = get_granted(h, rd, a, __atomic_load_n(&e->frame, __ATOMIC_RELAXED), domid);
	} else {
		st = get_pinned(h, rd, a);
	}
	if (st) {
		xe_grant_reduce_status(e, a, readonly);
		return st;
	}
	a->pin += add;
	*mfn = a->mfn;
	return XE_ABI_gntst_okay;
}

static void unpin(struct xe_host *h, struct xe_domain *rd, uint32_t ref, bool readonly)
{
	struct xe_grant_active *a = xe_grant_active(rd, ref);

	a->pin -= readonly ? XE_PIN_HOST_R : XE_PIN_HOST_W;
	xe_grant_reduce_status(xe_grant_shared(h, rd, ref), a, readonly);
}

static void release(struct xe_host *h, struct side *s)
{
	if (s->granted)
		unpin(h, s->domain, s->u.ref, !s->writable);
	if (s->valid && s->writable)
		xe_put_page_and_type(h, s->mfn);
	else if (s->valid)
		xe_put_page(h, s->mfn);
	s->valid = s->granted = false;
}

/* A log is its owner's to copy from and to while it may map it. */
static int get_own(struct xe_host *h, const struct xe_domain *d, uint64_t gmfn)
{
	if (!xe_get_page(h, gmfn, d))
		return XE_ABI_gntst_bad_page;
	if (!h->frame[gmfn].log || xe_log_may_map(h, d, &h->frame[gmfn]))
		return XE_ABI_gntst_okay;
	xe_put_page(h, gmfn);
	return XE_ABI_gntst_bad_page;
}

static bool names(const struct side *s, const struct xe_gnttab_copy_ptr *p, bool grant)
{
	if (!s->valid)
		return false;
	return grant ? s->granted && s->u.ref == p->u.ref : s->u.gmfn == p->u.gmfn;
}

static int claim(struct xe_host *h, struct xe_domain *cur, struct side *s,
		 const struct xe_gnttab_copy_ptr *p, bool grant)
{
	int st;

	if (names(s, p, grant))
		return XE_ABI_gntst_okay;
	release(h, s);
	if (grant) {
		st = acquire(h, s->domain, p->u.ref, cur->id, !s->writable, &s->mfn);
		s->u.ref = p->u.ref;
	} else {
		st = get_own(h, s->domain, p->u.gmfn);
		s->mfn = s->u.gmfn = p->u.gmfn;
	}
	if (st)
		return st;
	s->granted = grant;
	s->valid = !s->writable || !xe_get_page_type(h, s->mfn, XE_PGT_WRITABLE);
	if (s->valid)
		return XE_ABI_gntst_okay;
	release(h, s);
	xe_put_page(h, s->mfn);
	return XE_ABI_gntst_general_error;
}

/* Only DOMID_SELF may name a frame. */
static int find_domain(struct xe_host *h, struct xe_domain *cur, struct side *s, uint16_t domid,
		       bool grant)
{
	if (domid != XE_ABI_domid_SELF && !grant)
		return XE_ABI_gntst_permission_denied;
	s->domain = xe_domain_or_self(h, cur, domid);
	if (!s->domain)
		return XE_ABI_gntst_bad_domain;
	s->domid = domid;
	return XE_ABI_gntst_okay;
}

/* Upwards in words, then bytes: what an overlap gets in Xen. */
static void move(uint8_t *to, const uint8_t *from, size_t n)
{
	uint64_t word;

	if (to <= from || to >= from + n) {
		memmove(to, from, n);
		return;
	}
	for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word), from += sizeof(word)) {
		memcpy(&word, from, sizeof(word));
		memcpy(to, &word, sizeof(word));
	}
	while (n--)
		*to++ = *from++;
}

static int copy_one(struct xe_host *h, struct xe_domain *cur, const struct xe_gnttab_copy *op,
		    struct side *src, struct side *dst)
{
	bool from_grant = op->flags & XE_ABI_gntcopy_source_gref;
	bool to_grant = op->flags & XE_ABI_gntcopy_dest_gref;
	int st = XE_ABI_gntst_okay;

	if (!src->domain || !dst->domain || src->domid != op->source.domid ||
	    dst->domid != op->dest.domid) {
		release(h, src);
		release(h, dst);
		src->domain = dst->domain = NULL;
		st = find_domain(h, cur, src, op->source.domid, from_grant);
		if (!st)
			st = find_domain(h, cur, dst, op->dest.domid, to_grant);
	}
	if (!st)
		st = claim(h, cur, src, &op->source, from_grant);
	if (!st)
		st = claim(h, cur, dst, &op->dest, to_grant);
	if (st)
		return st;
	if (op->source.offset + op->len > XE_PAGE_SIZE || op->dest.offset + op->len > XE_PAGE_SIZE)
		return XE_ABI_gntst_bad_copy_arg;
	move(xe_frame_ptr(h, dst->mfn) + op->dest.offset,
	     xe_frame_ptr(h, src->mfn) + op->source.offset, op->len);
	return XE_ABI_gntst_okay;
}

int64_t xe_grant_copy(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint32_t count)
{
	struct side src = {0}, dst = {.writable = true};
	struct xe_gnttab_copy op;
	int64_t r = 0;

	for (uint32_t i = 0; i < count && !r; i++, gva += sizeof(op)) {
		r = xe_copy_from(h, v, &op, gva, sizeof(op));
		if (r)
			break;
		op.status = (int16_t)copy_one(h, v->domain, &op, &src, &dst);
		if (op.status) {
			release(h, &src);
			release(h, &dst);
		}
		r = xe_copy_to(h, v, gva + offsetof(struct xe_gnttab_copy, status), &op.status,
			       sizeof(op.status));
	}
	release(h, &src);
	release(h, &dst);
	return r;
}

/* Its only reference is d's allocation. */
static bool is_sole(const struct xe_host *h, const struct xe_domain *d, xe_mfn mfn)
{
	const struct xe_frame *f;

	if (mfn >= h->nframes)
		return false;
	f = &h->frame[mfn];
	return f->owner == d->id && !f->log && !(f->count_info & XE_PGC_XEN_HEAP) &&
	       (f->count_info & (XE_PGC_ALLOCATED | XE_PGC_COUNT)) == (XE_PGC_ALLOCATED | 1);
}

/* e waits for a frame of d's with this entry; NULL: not so. */
static struct xe_grant_entry *commit(struct xe_host *h, struct xe_domain *e, uint32_t ref,
				     uint32_t domid)
{
	struct xe_grant_entry *s;
	uint32_t want = XE_ABI_gtf_accept_transfer | domid << 16;

	if (ref >= xe_grant_entries(e))
		return NULL;
	s = xe_grant_shared(h, e, ref);
	if (!s || !__atomic_compare_exchange_n((uint32_t *)(void *)s, &want,
					       want | XE_ABI_gtf_transfer_committed, false,
					       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return NULL;
	return s;
}

static int give(struct xe_host *h, struct xe_domain *d, struct xe_domain *e, xe_mfn mfn,
		uint32_t ref)
{
	struct xe_frame *f = &h->frame[mfn];
	struct xe_grant_entry *s;
	uint32_t pfn;

	if (e->dying || e->tot_pages - (e == d) >= e->max_pages)
		return XE_ABI_gntst_general_error;
	s = commit(h, e, ref, d->id);
	if (!s)
		return XE_ABI_gntst_general_error;
	xe_assign_frame(h, mfn, e);
	pfn = __atomic_load_n(&s->frame, __ATOMIC_RELAXED);
	f->type_info = XE_PGT_WRITABLE | XE_PGT_VALIDATED;
	f->flags = 0;
	f->m2p = pfn;
	__atomic_store_n(&s->frame, (uint32_t)mfn, __ATOMIC_RELAXED);
	__atomic_fetch_or(&s->flags, (uint16_t)XE_ABI_gtf_transfer_completed, __ATOMIC_SEQ_CST);
	return XE_ABI_gntst_okay;
}

int xe_grant_transfer(struct xe_host *h, struct xe_domain *d, const struct xe_gnttab_transfer *op)
{
	struct xe_domain *e;
	int st = XE_ABI_gntst_bad_domain;

	if (!is_sole(h, d, op->mfn))
		return XE_ABI_gntst_bad_page;
	e = xe_domain(h, op->domid);
	if (e)
		st = give(h, d, e, op->mfn, op->ref);
	if (st)
		xe_drop_allocated(h, op->mfn);
	return st;
}
