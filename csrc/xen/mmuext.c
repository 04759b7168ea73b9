/* mmuext_op: pinning of page tables, base pointers, flushes, whole pages.
 *
 * A pin is a page and a type reference that the guest holds, once a page; a base pointer holds the
 * same. TLBs are exact (pagetable.c) and there are no caches, so of flushes only the rights and
 * arguments are checked. Frames of another domain may be named by the control domain.
 *
 * Invariants: a frame that is pinned has a page table's type.
 * Left out: the LDT's pages, which are taken as they are used (segment.c). */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { MAX_LDT_ENTRIES = 8192 };

static xe_mfn set_base(struct xe_vcpu *v, xe_mfn *base, xe_mfn mfn)
{
	xe_mfn old = *base;

	*base = mfn;
	xe_tlb_flush(v);
	return old;
}

void xe_drop_base_pointers(struct xe_host *h, struct xe_vcpu *v)
{
	xe_mfn old = set_base(v, &v->cr3, 0);

	if (old)
		xe_put_page_and_type(h, old);
	old = set_base(v, &v->user_cr3, 0);
	if (old)
		xe_put_page_and_type(h, old);
}

/* A table becomes one of the kernel's, which have M2P, or of user mode; the assist says who sees to it. */
int xe_get_root(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn, bool user)
{
	int r = xe_get_page_and_type(h, mfn, d, XE_PGT_LEVEL(4));

	if (!r && user == xe_is_m2p_strict(d))
		xe_set_m2p_slot(h, mfn, !user);
	return r;
}

/* mfn 0 is no user table. */
static int new_base(struct xe_host *h, struct xe_vcpu *v, xe_mfn *base, xe_mfn mfn)
{
	xe_mfn old;
	int r = 0;

	if (mfn == *base)
		return 0;
	if (mfn || base == &v->cr3)
		r = xe_get_root(h, v->domain, mfn, base == &v->user_cr3);
	if (r)
		return r;
	if (base == &v->cr3)
		xe_drop_ldt(h, v);
	old = set_base(v, base, mfn);
	if (old)
		xe_put_page_and_type(h, old);
	return 0;
}

/* A dying domain keeps no pin: its teardown is over. */
static int pin(struct xe_host *h, const struct xe_domain *o, xe_mfn mfn, unsigned level)
{
	struct xe_frame *f;
	int r = -EINVAL;

	if (!o || !xe_get_page(h, mfn, o))
		return r;
	f = &h->frame[mfn];
	r = xe_get_page_type(h, mfn, XE_PGT_LEVEL(level));
	if (r) {
		xe_put_page(h, mfn);
		return r;
	}
	if (f->type_info & XE_PGT_PINNED)
		r = -EINVAL;
	else if (!o->dying)
		f->type_info |= XE_PGT_PINNED;
	if (r || o->dying)
		xe_put_page_and_type(h, mfn);
	return r;
}

static int unpin(struct xe_host *h, const struct xe_domain *o, xe_mfn mfn)
{
	if (!o || !xe_get_page(h, mfn, o))
		return -EINVAL;
	if (!(h->frame[mfn].type_info & XE_PGT_PINNED)) {
		xe_put_page(h, mfn);
		return -EINVAL;
	}
	h->frame[mfn].type_info &= ~XE_PGT_PINNED;
	xe_put_page_and_type(h, mfn);
	xe_put_page(h, mfn);
	return 0;
}

/* A page of o, not of a log to which cur has no right. */
static bool get_data(struct xe_host *h, const struct xe_domain *cur, const struct xe_domain *o,
		     xe_mfn mfn)
{
	const struct xe_frame *f;

	if (!o || !xe_get_page(h, mfn, o))
		return false;
	f = &h->frame[mfn];
	if (!f->log || xe_log_may_map(h, cur, f))
		return true;
	xe_put_page(h, mfn);
	return false;
}

static bool get_data_writable(struct xe_host *h, const struct xe_domain *cur,
			      const struct xe_domain *o, xe_mfn mfn)
{
	if (!get_data(h, cur, o, mfn))
		return false;
	if (!xe_get_page_type(h, mfn, XE_PGT_WRITABLE))
		return true;
	xe_put_page(h, mfn);
	return false;
}

static int clear_page(struct xe_host *h, const struct xe_domain *cur, const struct xe_domain *o,
		      xe_mfn mfn)
{
	if (!get_data_writable(h, cur, o, mfn))
		return -EINVAL;
	memset(xe_frame_ptr(h, mfn), 0, XE_PAGE_SIZE);
	xe_put_page_and_type(h, mfn);
	return 0;
}

static int copy_page(struct xe_host *h, const struct xe_domain *cur, const struct xe_domain *o,
		     xe_mfn to, xe_mfn from)
{
	int r = -EINVAL;

	if (!get_data(h, cur, o, from))
		return r;
	if (get_data_writable(h, cur, o, to)) {
		memmove(xe_frame_ptr(h, to), xe_frame_ptr(h, from), XE_PAGE_SIZE);
		xe_put_page_and_type(h, to);
		r = 0;
	}
	xe_put_page(h, from);
	return r;
}

static int set_ldt(struct xe_host *h, struct xe_vcpu *v, uint64_t base, uint32_t entries)
{
	if (!entries)
		base = 0;
	if (entries > MAX_LDT_ENTRIES || base % XE_PAGE_SIZE || !xe_addr_ok(base))
		return -EINVAL;
	if (base == v->ldt_base && entries == v->ldt_ents)
		return 0;
	xe_drop_ldt(h, v);
	v->ldt_base = base;
	v->ldt_ents = entries;
	return 0;
}

static int flush_cache(const struct xe_domain *d, int refusal)
{
	return d->privileged ? 0 : refusal;
}

/* What concerns the calling vcpu, not frames. */
static int own_op(struct xe_host *h, struct xe_vcpu *v, const struct xe_mmuext_op *op)
{
	switch (op->cmd) {
	case XE_ABI_mmuext_NEW_BASEPTR:
		return new_base(h, v, &v->cr3, op->arg1.mfn);
	case XE_ABI_mmuext_NEW_USER_BASEPTR:
		return new_base(h, v, &v->user_cr3, op->arg1.mfn);
	case XE_ABI_mmuext_TLB_FLUSH_MULTI:
	case XE_ABI_mmuext_INVLPG_MULTI:
		return xe_check_vcpumask(h, v, op->arg2.vcpumask) ? -EINVAL : 0;
	case XE_ABI_mmuext_FLUSH_CACHE:
		return flush_cache(v->domain, -EACCES);
	case XE_ABI_mmuext_FLUSH_CACHE_GLOBAL:
		return flush_cache(v->domain, -EINVAL);
	case XE_ABI_mmuext_SET_LDT:
		return set_ldt(h, v, op->arg1.linear_addr, op->arg2.nr_ents);
	default:
		return 0; /* flushes of TLBs */
	}
}

static int do_op(struct xe_host *h, struct xe_vcpu *v, uint32_t owner,
		 const struct xe_mmuext_op *op)
{
	const struct xe_domain *o = xe_domain(h, owner);

	switch (op->cmd) {
	case XE_ABI_mmuext_PIN_L1_TABLE:
	case XE_ABI_mmuext_PIN_L2_TABLE:
	case XE_ABI_mmuext_PIN_L3_TABLE:
	case XE_ABI_mmuext_PIN_L4_TABLE:
		return pin(h, o, op->arg1.mfn, op->cmd - XE_ABI_mmuext_PIN_L1_TABLE + 1);
	case XE_ABI_mmuext_UNPIN_TABLE:
		return unpin(h, o, op->arg1.mfn);
	case XE_ABI_mmuext_CLEAR_PAGE:
		return clear_page(h, v->domain, o, op->arg1.mfn);
	case XE_ABI_mmuext_COPY_PAGE:
		return copy_page(h, v->domain, o, op->arg1.mfn, op->arg2.src_mfn);
	case XE_ABI_mmuext_NEW_BASEPTR:
	case XE_ABI_mmuext_NEW_USER_BASEPTR:
	case XE_ABI_mmuext_TLB_FLUSH_LOCAL:
	case XE_ABI_mmuext_TLB_FLUSH_MULTI:
	case XE_ABI_mmuext_TLB_FLUSH_ALL:
	case XE_ABI_mmuext_INVLPG_LOCAL:
	case XE_ABI_mmuext_INVLPG_MULTI:
	case XE_ABI_mmuext_INVLPG_ALL:
	case XE_ABI_mmuext_FLUSH_CACHE:
	case XE_ABI_mmuext_FLUSH_CACHE_GLOBAL:
	case XE_ABI_mmuext_SET_LDT:
		return o == v->domain ? own_op(h, v, op) : -EPERM;
	case XE_ABI_mmuext_MARK_SUPER:
	case XE_ABI_mmuext_UNMARK_SUPER:
		return -EOPNOTSUPP;
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_mmuext_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_mmu_batch b;
	uint32_t owner;
	int r = xe_mmu_batch_begin(h, v, arg, &b);

	if (xe_mmu_batch_is_rest(arg))
		return (int32_t)arg[3];
	if (!r)
		r = xe_page_owner(h, v->domain, (uint16_t)arg[3], &owner);
	if (!r && owner != v->domain->id && !v->domain->privileged)
		r = -EPERM;
	if (r)
		return r;
	for (uint32_t i = 0; i < b.count && !r; i++) {
		struct xe_mmuext_op op;

		r = xe_copy_from(h, v, &op, b.gva + i * sizeof(op), sizeof(op));
		if (!r)
			r = do_op(h, v, owner, &op);
		b.done += !r;
	}
	xe_mmu_batch_end(h, v, &b);
	return r;
}
