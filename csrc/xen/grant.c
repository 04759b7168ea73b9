/* grant_table_op, version 1: the shared tables, their sizes, and the hypercall itself.
 *
 * A table exists from its first use on; before that it answers as Xen's, which starts with one
 * frame of zeroes. Its frames are ours, shared writable with the domain: the guest may change an
 * entry at any time, so each is read once and its flags are changed by compare-and-swap. The frames
 * outlive the domain's other memory, so that a zombie's grants can still be unmapped, and go with
 * its last reference.
 *
 * Invariants: active[i] exists exactly for i < nframes; an entry's pin counts what maptracks of all
 * domains, and copies under way, use of it. The domain owns its xe_grant_table.
 * Left out: version 2 (as if made with grant_opts 1), MMIO frames, IOMMU. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/grant.h"

#define OP_MASK 0xfffu /* bits above it are a continuation's, of cache_flush only */

enum { CACHE_CLEAN = 1, CACHE_INVAL = 2, CAS_TRIES = 5 };

struct xe_grant_table *xe_grant_table(struct xe_domain *d)
{
	if (!d->grants)
		d->grants = calloc(1, sizeof(*d->grants));
	return d->grants;
}

static uint32_t nr_frames(const struct xe_domain *d)
{
	return d->grants && d->grants->nframes ? d->grants->nframes : 1;
}

uint32_t xe_grant_entries(const struct xe_domain *d)
{
	return nr_frames(d) * XE_GRANTS_PER_FRAME;
}

struct xe_grant_entry *xe_grant_shared(struct xe_host *h, const struct xe_domain *d, uint32_t ref)
{
	xe_mfn mfn;

	xe_assert(ref < xe_grant_entries(d));
	if (!d->grants || !d->grants->nframes)
		return NULL;
	mfn = d->grants->frame[ref / XE_GRANTS_PER_FRAME];
	return (struct xe_grant_entry *)(void *)xe_frame_ptr(h, mfn) + ref % XE_GRANTS_PER_FRAME;
}

struct xe_grant_active *xe_grant_active(const struct xe_domain *d, uint32_t ref)
{
	xe_assert(d->grants && ref / XE_GRANTS_PER_FRAME < d->grants->nframes);
	return &d->grants->active[ref / XE_GRANTS_PER_FRAME][ref % XE_GRANTS_PER_FRAME];
}

/* Flags and domid are one word, changed as one. */
static uint32_t *word_of(struct xe_grant_entry *e)
{
	return (uint32_t *)(void *)e;
}

int xe_grant_set_status(struct xe_grant_entry *e, const struct xe_grant_active *a, bool readonly,
			bool map, uint32_t domid)
{
	uint32_t mask = XE_ABI_gtf_type_mask | (map ? XE_ABI_gtf_sub_page : 0);
	uint32_t set = XE_ABI_gtf_reading | (readonly ? 0 : XE_ABI_gtf_writing);
	uint32_t old = __atomic_load_n(word_of(e), __ATOMIC_RELAXED);

	for (int i = 0; i < CAS_TRIES; i++) {
		if (!a->pin && ((old & mask) != XE_ABI_gtf_permit_access || old >> 16 != domid))
			break;
		if (!readonly && (old & XE_ABI_gtf_readonly))
			break;
		if (__atomic_compare_exchange_n(word_of(e), &old, old | set, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return XE_ABI_gntst_okay;
	}
	return XE_ABI_gntst_general_error;
}

void xe_grant_reduce_status(struct xe_grant_entry *e, const struct xe_grant_active *a,
			    bool readonly)
{
	unsigned clear = a->pin ? 0 : XE_ABI_gtf_reading;

	if (!readonly && !(a->pin & XE_PIN_WRITERS))
		clear |= XE_ABI_gtf_writing;
	if (clear)
		__atomic_fetch_and(&e->flags, (uint16_t)~clear, __ATOMIC_SEQ_CST);
}

bool xe_grant_get_frame(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn)
{
	if (!xe_get_page(h, mfn, d))
		return false;
	if (!h->frame[mfn].log)
		return true;
	xe_put_page(h, mfn);
	return false;
}

static void remove_frame(struct xe_host *h, struct xe_grant_table *t, uint32_t i)
{
	xe_free_kept(h, t->frame[i]);
	free(t->active[i]);
	t->active[i] = NULL;
}

/* The frames of a zombie's table are never its to map. */
static int add_frame(struct xe_host *h, struct xe_domain *d, uint32_t i)
{
	struct xe_grant_table *t = d->grants;
	int r;

	t->active[i] = calloc(XE_GRANTS_PER_FRAME, sizeof(**t->active));
	if (!t->active[i])
		return -ENOMEM;
	r = xe_alloc_xenheap(h, d, &t->frame[i]);
	if (r) {
		free(t->active[i]);
		t->active[i] = NULL;
		return r;
	}
	h->frame[t->frame[i]].flags |= XE_FRAME_KEPT;
	if (d->dying)
		xe_drop_allocated(h, t->frame[i]);
	return 0;
}

static int grow(struct xe_host *h, struct xe_domain *d, uint32_t n)
{
	struct xe_grant_table *t = xe_grant_table(d);
	uint32_t i;

	if (!t)
		return -ENOMEM;
	xe_assert(n <= XE_GRANT_FRAMES);
	for (i = t->nframes; i < n; i++) {
		if (add_frame(h, d, i))
			break;
	}
	if (i >= n) {
		t->nframes = i;
		return 0;
	}
	while (i-- > t->nframes) {
		xe_drop_allocated(h, t->frame[i]);
		remove_frame(h, t, i);
	}
	return -ENOMEM;
}

void xe_grant_free_frames(struct xe_host *h, struct xe_domain *d)
{
	struct xe_grant_table *t = d->grants;

	while (t && t->nframes)
		remove_frame(h, t, --t->nframes);
}

void xe_grant_domain_free(struct xe_domain *d)
{
	struct xe_grant_table *t = d->grants;

	if (!t)
		return;
	for (uint32_t i = 0; i < t->nframes; i++)
		free(t->active[i]);
	for (uint32_t i = 0; i < t->maptrack_limit / XE_MAPTRACK_PER_FRAME; i++)
		free(t->maptrack[i]);
	free(t);
	d->grants = NULL;
}

int xe_grant_table_frames(struct xe_host *h, struct xe_domain *d, uint64_t first, uint32_t n,
			  xe_mfn *mfn)
{
	if (first + n > d->max_grant_frames)
		return -EINVAL;
	if (grow(h, d, (uint32_t)first + n))
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		mfn[i] = d->grants->frame[first + i];
	return 0;
}

/* The domain whose table the caller wants to see or grow; a status. */
static int target(struct xe_host *h, struct xe_domain *cur, uint32_t domid, struct xe_domain **d)
{
	*d = xe_domain_or_self(h, cur, domid);
	if (!*d)
		return XE_ABI_gntst_bad_domain;
	return *d == cur || cur->privileged ? XE_ABI_gntst_okay : XE_ABI_gntst_permission_denied;
}

static int setup_table(struct xe_host *h, struct xe_vcpu *v, const struct xe_gnttab_setup *op)
{
	struct xe_domain *d;
	int st = target(h, v->domain, op->dom, &d);

	if (st)
		return st;
	if (op->nr_frames > d->max_grant_frames)
		return XE_ABI_gntst_general_error;
	if (op->nr_frames && grow(h, d, op->nr_frames))
		return XE_ABI_gntst_general_error;
	for (uint32_t i = 0; i < op->nr_frames; i++)
		if (xe_copy_to(h, v, op->frame_list + i * 8ull, &d->grants->frame[i], 8))
			st = XE_ABI_gntst_bad_virt_addr;
	return st;
}

static int64_t do_setup_table(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_gnttab_setup op;

	if (xe_copy_from(h, v, &op, gva, sizeof(op)) || !xe_addr_ok(op.frame_list))
		return -EFAULT;
	op.status = (int16_t)setup_table(h, v, &op);
	return xe_copy_to(h, v, gva + offsetof(struct xe_gnttab_setup, status), &op.status,
			  sizeof(op.status));
}

static int64_t query_size(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_gnttab_query_size op;
	struct xe_domain *d;

	if (xe_copy_from(h, v, &op, gva, sizeof(op)))
		return -EFAULT;
	op.status = (int16_t)target(h, v->domain, op.dom, &d);
	if (!op.status) {
		op.nr_frames = nr_frames(d);
		op.max_nr_frames = d->max_grant_frames;
	}
	return xe_copy_to(h, v, gva, &op, sizeof(op));
}

/* A table of version 1 has no status frames. */
static int64_t get_status_frames(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_gnttab_status_frames op;
	struct xe_domain *d;

	if (xe_copy_from(h, v, &op, gva, sizeof(op)) || !xe_addr_ok(op.frame_list))
		return -EFAULT;
	op.status = (int16_t)target(h, v->domain, op.dom, &d);
	if (!op.status && op.nr_frames)
		op.status = XE_ABI_gntst_general_error;
	return xe_copy_to(h, v, gva + offsetof(struct xe_gnttab_status_frames, status), &op.status,
			  sizeof(op.status));
}

static int64_t set_version(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_gnttab_set_version op;
	int64_t r = -EINVAL;

	if (xe_copy_from(h, v, &op, gva, sizeof(op)))
		return -EFAULT;
	if (op.version == 1)
		r = 0;
	else if (op.version == 2)
		r = -ENOSYS;
	op.version = 1;
	return xe_copy_to(h, v, gva, &op, sizeof(op)) ? -EFAULT : r;
}

static int64_t get_version(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_gnttab_get_version op;
	struct xe_domain *d;

	if (xe_copy_from(h, v, &op, gva, sizeof(op)))
		return -EFAULT;
	switch (target(h, v->domain, op.dom, &d)) {
	case XE_ABI_gntst_bad_domain:
		return -ESRCH;
	case XE_ABI_gntst_permission_denied:
		return -EPERM;
	}
	op.version = 1;
	return xe_copy_to(h, v, gva + offsetof(struct xe_gnttab_get_version, version), &op.version,
			  sizeof(op.version));
}

static int swap(struct xe_host *h, struct xe_domain *d, const struct xe_gnttab_swap *op)
{
	struct xe_grant_entry *a, *b, old;

	if (op->ref_a >= xe_grant_entries(d) || op->ref_b >= xe_grant_entries(d))
		return XE_ABI_gntst_bad_gntref;
	a = xe_grant_shared(h, d, op->ref_a);
	b = xe_grant_shared(h, d, op->ref_b);
	if (!a || a == b)
		return XE_ABI_gntst_okay;
	if (xe_grant_active(d, op->ref_a)->pin || xe_grant_active(d, op->ref_b)->pin)
		return XE_ABI_gntst_eagain;
	old = *a;
	*a = *b;
	*b = old;
	return XE_ABI_gntst_okay;
}

/* Whether d uses the frame through an entry of the owner's table, from entry `ref` on. */
static bool is_granted(const struct xe_domain *owner, const struct xe_domain *d, xe_mfn mfn,
		       uint32_t ref)
{
	if (!owner->grants)
		return false;
	for (; ref < owner->grants->nframes * XE_GRANTS_PER_FRAME; ref++) {
		const struct xe_grant_active *a = xe_grant_active(owner, ref);

		if (a->pin && a->domid == d->id && a->mfn == mfn)
			return true;
	}
	return false;
}

/* There is no cache: the checks only. */
static int flush_one(struct xe_host *h, const struct xe_domain *d,
		     const struct xe_gnttab_cache_flush *op, uint32_t from)
{
	xe_mfn mfn = op->dev_bus_addr >> XE_PAGE_SHIFT;
	const struct xe_frame *f;

	if (op->offset >= XE_PAGE_SIZE || op->offset + op->length > XE_PAGE_SIZE ||
	    op->op & ~(uint32_t)(CACHE_CLEAN | CACHE_INVAL))
		return -EINVAL;
	if (!op->length || !op->op)
		return from ? -EILSEQ : 0;
	if (mfn >= h->nframes)
		return -EINVAL;
	f = &h->frame[mfn];
	if (!(f->count_info & XE_PGC_COUNT))
		return -EPERM;
	if (f->owner != d->id && !is_granted(h->domain[f->owner], d, mfn, from))
		return -EINVAL;
	return op->op == CACHE_INVAL ? -EOPNOTSUPP : 0;
}

static int64_t cache_flush(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint32_t count,
			   uint32_t from)
{
	struct xe_gnttab_cache_flush op;
	int r = 0;

	for (uint32_t i = 0; i < count && !r; i++) {
		if (xe_copy_from(h, v, &op, gva + i * sizeof(op), sizeof(op)))
			return -EFAULT;
		r = flush_one(h, v->domain, &op, from);
		from = 0;
	}
	return r;
}

union array_op {
	struct xe_gnttab_map map;
	struct xe_gnttab_unmap unmap;
	struct xe_gnttab_replace replace;
	struct xe_gnttab_transfer transfer;
	struct xe_gnttab_swap swap;
};

/* What of an element is copied back: all of a map, else the status. */
struct array_layout {
	uint32_t size, out, out_size;
};

static const struct array_layout layout[] = {
#define STATUS_OF(type) {sizeof(type), offsetof(type, status), sizeof(int16_t)}
	[XE_ABI_grant_op_map_grant_ref] = {sizeof(struct xe_gnttab_map), 0,
					   sizeof(struct xe_gnttab_map)},
	[XE_ABI_grant_op_unmap_grant_ref] = STATUS_OF(struct xe_gnttab_unmap),
	[XE_ABI_grant_op_unmap_and_replace] = STATUS_OF(struct xe_gnttab_replace),
	[XE_ABI_grant_op_transfer] = STATUS_OF(struct xe_gnttab_transfer),
	[XE_ABI_grant_op_swap_grant_ref] = STATUS_OF(struct xe_gnttab_swap),
#undef STATUS_OF
};

static void do_element(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, union array_op *op)
{
	switch (cmd) {
	case XE_ABI_grant_op_map_grant_ref:
		op->map.status = (int16_t)xe_grant_map(h, v, &op->map);
		break;
	case XE_ABI_grant_op_unmap_grant_ref:
		op->unmap.status = (int16_t)xe_grant_unmap(h, v, &op->unmap);
		break;
	case XE_ABI_grant_op_unmap_and_replace:
		op->replace.status = (int16_t)xe_grant_replace(h, v, &op->replace);
		break;
	case XE_ABI_grant_op_transfer:
		op->transfer.status = (int16_t)xe_grant_transfer(h, v->domain, &op->transfer);
		break;
	default:
		op->swap.status = (int16_t)swap(h, v->domain, &op->swap);
	}
}

static int64_t do_array(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva,
			uint32_t count)
{
	const struct array_layout *l = &layout[cmd];

	for (uint32_t i = 0; i < count; i++, gva += l->size) {
		union array_op op;

		if (xe_copy_from(h, v, &op, gva, l->size))
			return -EFAULT;
		do_element(h, v, cmd, &op);
		if (xe_copy_to(h, v, gva + l->out, (const uint8_t *)&op + l->out, l->out_size))
			return -EFAULT;
	}
	return 0;
}

int64_t xe_do_grant_table_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0] & OP_MASK, more = (uint32_t)arg[0] & ~OP_MASK;
	uint32_t count = (uint32_t)arg[2];
	uint64_t gva = arg[1];

	if ((int32_t)count < 0 || (more && cmd != XE_ABI_grant_op_cache_flush))
		return -EINVAL;
	switch (cmd) {
	case XE_ABI_grant_op_map_grant_ref:
	case XE_ABI_grant_op_unmap_grant_ref:
	case XE_ABI_grant_op_unmap_and_replace:
	case XE_ABI_grant_op_transfer:
	case XE_ABI_grant_op_swap_grant_ref:
		return xe_addr_ok(gva) ? do_array(h, v, cmd, gva, count) : -EFAULT;
	case XE_ABI_grant_op_copy:
		return xe_addr_ok(gva) ? xe_grant_copy(h, v, gva, count) : -EFAULT;
	case XE_ABI_grant_op_cache_flush:
		return xe_addr_ok(gva) ? cache_flush(h, v, gva, count, more) : -EFAULT;
	case XE_ABI_grant_op_setup_table:
		return count == 1 ? do_setup_table(h, v, gva) : -EINVAL;
	case XE_ABI_grant_op_query_size:
		return count == 1 ? query_size(h, v, gva) : -EINVAL;
	case XE_ABI_grant_op_get_status_frames:
		return count == 1 ? get_status_frames(h, v, gva) : -EINVAL;
	case XE_ABI_grant_op_set_version:
		return set_version(h, v, gva);
	case XE_ABI_grant_op_get_version:
		return get_version(h, v, gva);
	default:
		return -ENOSYS; /* dump_table too */
	}
}
