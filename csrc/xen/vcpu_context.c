/* What a virtual CPU starts with: vcpu_op's initialise, and the control domain's word for it.
 *
 * Checked as Xen checks it: addresses that no x86-64 CPU takes, tables that aren't the domain's. Page
 * tables and the frames of the GDT are referenced, the rest is kept for who runs the vcpu.
 *
 * Invariants: an initialised vcpu has a root of its own and a context, which it owns, unless the
 * builder made it. Left out: 32-bit guests; registers are not fixed up as a CPU would want them. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

enum {
	GDT_ENTRIES_A_FRAME = 512,
	MAX_GDT_ENTRIES = 14 * GDT_ENTRIES_A_FRAME,
	MAX_LDT_ENTRIES = 8192
};

#define VM_ASSISTS 0x100000037ull /* that a 64-bit PV guest may ask for */

static bool is_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

static bool addresses_ok(const struct xe_vcpu_context *c)
{
	const uint64_t va[] = {
		c->regs.rip,       c->regs.rsp,         c->kernel_sp,
		c->fs_base,        c->gs_base_kernel,   c->gs_base_user,
		c->event_callback, c->syscall_callback, c->failsafe_callback,
	};

	for (size_t i = 0; i < sizeof(va) / sizeof(va[0]); i++)
		if (!is_canonical(va[i]))
			return false;
	for (size_t i = 0; i < XE_TRAPS; i++)
		if (!is_canonical(c->trap[i].address))
			return false;
	return true;
}

static bool descriptors_ok(const struct xe_vcpu_context *c)
{
	return xe_is_guest_address(c->ldt_base) && c->ldt_base % XE_PAGE_SIZE == 0 &&
	       c->ldt_ents <= MAX_LDT_ENTRIES && c->gdt_ents <= XE_GDT_FRAMES * GDT_ENTRIES_A_FRAME;
}

/* What can't be changed any more. */
static bool is_same(const struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	const struct xe_vcpu_context *old = v->context;
	uint64_t user = v->user_cr3 << XE_PAGE_SHIFT;

	if (c->ctrlreg[3] != v->cr3 << XE_PAGE_SHIFT || c->ctrlreg[1] != user ||
	    (!user && !(c->flags & XE_VGCF_IN_KERNEL)))
		return false;
	if (c->gdt_ents != (old ? old->gdt_ents : 0) || c->ldt_ents != (old ? old->ldt_ents : 0))
		return false;
	for (size_t i = 0; i < (c->gdt_ents + GDT_ENTRIES_A_FRAME - 1) / GDT_ENTRIES_A_FRAME; i++)
		if (c->gdt_frame[i] != old->gdt_frame[i])
			return false;
	return !c->ldt_ents || c->ldt_base == old->ldt_base;
}

static void put_gdt(struct xe_host *h, const struct xe_vcpu_context *c, uint64_t n)
{
	while (n--)
		xe_put_page_and_type(h, c->gdt_frame[n]);
}

static uint64_t gdt_frames(const struct xe_vcpu_context *c)
{
	return (c->gdt_ents + GDT_ENTRIES_A_FRAME - 1) / GDT_ENTRIES_A_FRAME;
}

static int get_gdt(struct xe_host *h, const struct xe_domain *d, const struct xe_vcpu_context *c)
{
	if (c->gdt_ents > MAX_GDT_ENTRIES)
		return -EINVAL;
	for (uint64_t i = 0; i < gdt_frames(c); i++) {
		if (c->gdt_frame[i] >= h->nframes ||
		    xe_get_page_and_type(h, c->gdt_frame[i], d, XE_PGT_SEG_DESC)) {
			put_gdt(h, c, i);
			return -EINVAL;
		}
	}
	return 0;
}

static int get_root(struct xe_host *h, const struct xe_domain *d, uint64_t cr3, xe_mfn *root)
{
	xe_mfn mfn = cr3 >> XE_PAGE_SHIFT;

	if (mfn >= h->nframes || xe_get_page_and_type(h, mfn, d, XE_PGT_LEVEL(4)))
		return -EINVAL;
	*root = mfn;
	return 0;
}

static int take_tables(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	int r = get_gdt(h, v->domain, c);

	if (r)
		return r;
	r = get_root(h, v->domain, c->ctrlreg[3], &v->cr3);
	if (r)
		goto gdt;
	if (c->ctrlreg[1])
		r = get_root(h, v->domain, c->ctrlreg[1], &v->user_cr3);
	if (!r)
		return 0;
	xe_put_page_and_type(h, v->cr3);
	v->cr3 = 0;
gdt:
	put_gdt(h, c, gdt_frames(c));
	return r;
}

void xe_vcpu_put_context(struct xe_host *h, struct xe_vcpu *v)
{
	if (!v->context)
		return;
	put_gdt(h, v->context, gdt_frames(v->context));
	v->context->gdt_ents = 0;
}

static int take_context(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	struct xe_vcpu_context *own = malloc(sizeof(*own));
	int r = own ? take_tables(h, v, c) : -ENOMEM;

	if (r) {
		free(own);
		return r;
	}
	xe_assert(!v->context);
	v->context = own;
	v->initialised = true;
	xe_tlb_flush(v);
	if (v->id == 0)
		xe_update_wallclock(h, v->domain);
	return 0;
}

int xe_vcpu_set_context(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	int r = 0;

	if (!addresses_ok(c) || !descriptors_ok(c) || (v->id == 0 && c->vm_assist & ~VM_ASSISTS))
		return -EINVAL;
	if (v->initialised) {
		if (!is_same(v, c))
			return -EOPNOTSUPP;
	} else if (!(c->flags & XE_VGCF_IN_KERNEL) && !c->ctrlreg[1]) {
		return -EINVAL;
	} else {
		r = take_context(h, v, c);
	}
	if (r)
		return r;
	if (v->context)
		*v->context = *c;
	xe_vcpu_set_online(h, v, c->flags & XE_VGCF_ONLINE);
	return 0;
}
