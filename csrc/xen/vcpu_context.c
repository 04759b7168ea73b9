/* The state of a virtual CPU as a whole: vcpu_op's initialise, and the control domain's calls for it.
 *
 * Checked as Xen checks it: addresses that no x86-64 CPU takes, tables that aren't the domain's. What
 * an initialised vcpu has referenced (root tables, GDT, LDT) can't be changed in this way any more.
 *
 * Invariants: an initialised vcpu has a root table. References on its tables are the vcpu's.
 * Left out: 32-bit guests; the FPU's state is kept, not looked at. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

#define CR0 0x80050033ull
#define CR0_TS 8ull
#define RFLAGS_IF 0x200ull

enum { MAX_LDT_ENTRIES = 8192 };

static bool addresses_ok(const struct xe_vcpu_context *c)
{
	const uint64_t va[] = {
		c->regs.rip,       c->regs.rsp,         c->kernel_sp,
		c->fs_base,        c->gs_base_kernel,   c->gs_base_user,
		c->event_callback, c->syscall_callback, c->failsafe_callback,
	};

	for (size_t i = 0; i < sizeof(va) / sizeof(va[0]); i++)
		if (!xe_canonical(va[i]))
			return false;
	for (size_t i = 0; i < XE_TRAPS; i++)
		if (!xe_canonical(c->trap[i].address))
			return false;
	return true;
}

static int check(const struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	if (!addresses_ok(c) || !xe_addr_ok(c->ldt_base) || c->ldt_base % XE_PAGE_SIZE ||
	    c->ldt_ents > MAX_LDT_ENTRIES || (v->id == 0 && c->vm_assist & ~xe_vm_assists()) ||
	    c->gdt_ents > XE_GDT_FRAMES * 512ull)
		return -EINVAL;
	return 0;
}

/* Of what is referenced. */
static bool is_same(const struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	const struct xe_vcpu_context *old = &v->cpu.c;

	if (c->ctrlreg[3] != v->cr3 << XE_PAGE_SHIFT ||
	    c->ctrlreg[1] != v->user_cr3 << XE_PAGE_SHIFT ||
	    (!v->user_cr3 && !(c->flags & XE_VGCF_IN_KERNEL)) || c->gdt_ents != old->gdt_ents ||
	    c->ldt_ents != v->ldt_ents || (v->ldt_ents && c->ldt_base != v->ldt_base))
		return false;
	for (size_t i = 0; i < (c->gdt_ents + 511) / 512; i++)
		if (c->gdt_frame[i] != old->gdt_frame[i])
			return false;
	return true;
}

static int take_root(struct xe_host *h, struct xe_vcpu *v, xe_mfn *root, uint64_t cr3)
{
	xe_mfn mfn = cr3 >> XE_PAGE_SHIFT;
	int r = xe_get_root(h, v->domain, mfn, root == &v->user_cr3);

	if (!r)
		*root = mfn;
	return r ? -EINVAL : 0;
}

void xe_vcpu_put_context(struct xe_host *h, struct xe_vcpu *v)
{
	xe_drop_gdt(h, v);
	xe_drop_ldt(h, v);
	xe_drop_base_pointers(h, v);
}

static int take_tables(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	int r = xe_set_gdt(h, v, c->gdt_frame, c->gdt_ents);

	if (!r)
		r = take_root(h, v, &v->cr3, c->ctrlreg[3]);
	if (!r && c->ctrlreg[1])
		r = take_root(h, v, &v->user_cr3, c->ctrlreg[1]);
	if (r)
		xe_vcpu_put_context(h, v);
	return r;
}

/* Registers and whatever else is neither referenced nor checked. */
static void take_state(struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	struct xe_vcpu_context *own = &v->cpu.c, old = *own;

	*own = *c;
	own->gdt_ents = old.gdt_ents;
	for (unsigned i = 0; i < XE_GDT_FRAMES; i++)
		own->gdt_frame[i] = old.gdt_frame[i];
	own->regs.cs = xe_guest_selector(c->regs.cs);
	own->regs.ss = xe_guest_selector(c->regs.ss);
	own->regs.rflags |= RFLAGS_IF;
	own->kernel_ss |= 3;
	for (unsigned i = 0; i < XE_TRAPS; i++)
		own->trap[i].cs = xe_guest_selector(c->trap[i].cs);
	own->ctrlreg[0] = (c->ctrlreg[0] & CR0_TS) | CR0;
	own->ctrlreg[4] = xe_guest_cr4(c->ctrlreg[4]);
	for (unsigned i = 0; i < 8; i++)
		own->debugreg[i] = 0;
	xe_cpu_init_debug(v);
	for (unsigned i = 0; i < 8; i++)
		if (i != 4 && i != 5)
			xe_set_debugreg(v, i, c->debugreg[i]); /* or not */
}

int xe_vcpu_set_context(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c)
{
	int r = check(v, c);

	if (r)
		return r;
	if (v->initialised && !is_same(v, c))
		return -EOPNOTSUPP;
	if (!v->initialised) {
		if (!(c->flags & XE_VGCF_IN_KERNEL) && !c->ctrlreg[1])
			return -EINVAL;
		if (v->id == 0)
			v->domain->vm_assist = c->vm_assist;
		r = take_tables(h, v, c);
		if (r)
			return r;
		v->ldt_ents = (uint32_t)c->ldt_ents;
		v->ldt_base = c->ldt_ents ? c->ldt_base : 0;
		v->initialised = true;
		xe_tlb_flush(v);
		if (v->id == 0)
			xe_update_wallclock(h, v->domain);
	}
	take_state(v, c);
	xe_vcpu_set_online(h, v, c->flags & XE_VGCF_ONLINE);
	return 0;
}

void xe_vcpu_get_context(const struct xe_vcpu *v, struct xe_vcpu_context *c)
{
	*c = v->cpu.c;
	c->flags &= ~(uint64_t)XE_VGCF_ONLINE;
	c->flags |= v->online ? XE_VGCF_ONLINE : 0;
	c->ctrlreg[3] = v->cr3 << XE_PAGE_SHIFT;
	c->ctrlreg[1] = v->user_cr3 << XE_PAGE_SHIFT;
	c->ldt_base = v->ldt_base;
	c->ldt_ents = v->ldt_ents;
	c->vm_assist = v->domain->vm_assist;
}

/* As it was before it was initialised. */
void xe_vcpu_reset(struct xe_host *h, struct xe_vcpu *v)
{
	xe_vcpu_put_context(h, v);
	v->initialised = false;
	xe_vcpu_set_online(h, v, false);
	xe_vcpu_unblock(h, v);
}

void xe_cpu_init(struct xe_vcpu *v)
{
	v->cpu.c.flags = XE_VGCF_IN_KERNEL;
	v->cpu.c.ctrlreg[0] = CR0;
	v->cpu.c.ctrlreg[4] = xe_guest_cr4(0);
	xe_cpu_init_debug(v);
}
