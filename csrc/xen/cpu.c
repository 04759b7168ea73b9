/* The calls of a virtual CPU on its own state: traps, callbacks, stack, debug registers, FPU, iret.
 *
 * The state is a vcpu_guest_context and what has no place in one (struct xe_cpu). No guest here is
 * machine code, so nothing acts on it; it is checked as Xen checks it and can be read back.
 *
 * Invariants: addresses in it are canonical; selectors have ring 3; the fixed bits of DR6 and DR7 are
 * as hardware has them. Left out: delivery of traps and NMIs, so an NMI that is sent only waits.
 * Descriptor tables are in segment.c, the state as a whole in vcpu_context.c. */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

#define DR6_FIXED 0xffff0ff0ull
#define DR6_ZERO 0x1000ull
#define DR7_FIXED 0x400ull
#define DR7_ZERO 0xd800ull
#define DR7_GENERAL_DETECT 0x2000ull
#define DR7_ACTIVE 0xffull
#define CR4_FIXED 0x660ull /* PAE, MCE, OSFXSR, OSXMMEXCPT, as Xen has them */
#define CR4_DE 8ull
#define CR4_GUEST 0x5000cull /* TSD, DE, FSGSBASE, OSXSAVE */
#define RFLAGS_IF 0x200ull
#define RFLAGS_IOPL 0x3000ull
#define RFLAGS_VM 0x20000ull
#define VM_ASSISTS 0x10000003full
#define M2P_STRICT (1ull << XE_ABI_vm_assist_type_m2p_strict)
#define ARCHITECTURAL_IOPL (1ull << XE_ABI_vm_assist_type_architectural_iopl)

#define FAILSAFE_MASKS 8ull /* of vcpu_guest_context.flags */
#define SYSCALL_MASKS 16ull

#define TRAP_SYSCALL 256u /* of regs.entry_vector */

enum { TRAP_NMI = 2, CR0_TS = 8, DR_IO = 2, IN_SYSCALL = 1 << 8 };
enum { EVENT, FAILSAFE, SYSCALL, NMI = 4, SYSENTER = 5, SYSCALL32 = 7, MASK_EVENTS = 1 };
enum { SEGBASE_FS, SEGBASE_GS_USER, SEGBASE_GS_KERNEL, SEGBASE_GS_USER_SEL };

void xe_cpu_init_debug(struct xe_vcpu *v)
{
	v->cpu.c.debugreg[6] = DR6_FIXED;
	v->cpu.c.debugreg[7] = DR7_FIXED;
}

/* Of what a guest wants there. */
uint64_t xe_guest_cr4(uint64_t cr4)
{
	return (cr4 & CR4_GUEST) | CR4_FIXED;
}

static bool has_debug_extensions(const struct xe_vcpu *v)
{
	return v->cpu.c.ctrlreg[4] & CR4_DE;
}

/* No ring but 3 is the guest's. */
uint16_t xe_guest_selector(uint64_t selector)
{
	return (uint16_t)(selector | 3);
}

uint64_t xe_vm_assists(void)
{
	return VM_ASSISTS;
}

bool xe_is_m2p_strict(const struct xe_domain *d)
{
	return d->vm_assist & M2P_STRICT;
}

int64_t xe_do_set_trap_table(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_trap_info t;

	if (!arg[0]) {
		memset(v->cpu.c.trap, 0, sizeof(v->cpu.c.trap));
		return 0;
	}
	for (uint64_t gva = arg[0];; gva += sizeof(t)) {
		if (xe_copy_from(h, v, &t, gva, sizeof(t)))
			return -EFAULT;
		if (!t.address)
			return 0;
		if (!xe_canonical(t.address))
			return -EINVAL;
		t.cs = xe_guest_selector(t.cs);
		v->cpu.c.trap[t.vector] = t;
	}
}

static int register_nmi(struct xe_vcpu *v, uint64_t address)
{
	if (!xe_canonical(address))
		return -EINVAL;
	v->cpu.c.trap[TRAP_NMI] = (struct xe_trap_info){
		.vector = TRAP_NMI,
		.flags = 4,
		.cs = 0xe033,
		.address = address,
	};
	return 0;
}

static void set_flag(uint64_t *flags, uint64_t bit, bool on)
{
	*flags = on ? *flags | bit : *flags & ~bit;
}

static int register_callback(struct xe_vcpu *v, uint32_t type, uint32_t flags, uint64_t address)
{
	struct xe_vcpu_context *c = &v->cpu.c;
	bool mask = flags & MASK_EVENTS;

	if (!xe_canonical(address))
		return -EINVAL;
	switch (type) {
	case EVENT:
		c->event_callback = address;
		return 0;
	case FAILSAFE:
		c->failsafe_callback = address;
		set_flag(&c->flags, FAILSAFE_MASKS, mask);
		return 0;
	case SYSCALL:
		c->syscall_callback = address;
		set_flag(&c->flags, SYSCALL_MASKS, mask);
		return 0;
	case SYSCALL32:
		v->cpu.syscall32 = address;
		v->cpu.syscall32_masks = mask;
		return 0;
	case SYSENTER:
		v->cpu.sysenter = address;
		v->cpu.sysenter_masks = mask;
		return 0;
	case NMI:
		return register_nmi(v, address);
	default:
		return -ENOSYS;
	}
}

static void unregister_nmi(struct xe_vcpu *v)
{
	memset(&v->cpu.c.trap[TRAP_NMI], 0, sizeof(v->cpu.c.trap[TRAP_NMI]));
}

static int unregister_callback(struct xe_vcpu *v, uint32_t type)
{
	switch (type) {
	case EVENT:
	case FAILSAFE:
	case SYSCALL:
	case SYSCALL32:
	case SYSENTER:
		return -EINVAL;
	case NMI:
		unregister_nmi(v);
		return 0;
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_callback_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_callback_unregister u;
	struct xe_callback_register r;

	switch ((uint32_t)arg[0]) {
	case XE_ABI_callback_op_register:
		if (xe_copy_from(h, v, &r, arg[1], sizeof(r)))
			return -EFAULT;
		return register_callback(v, r.type, r.flags, r.address);
	case XE_ABI_callback_op_unregister:
		if (xe_copy_from(h, v, &u, arg[1], sizeof(u)))
			return -EFAULT;
		return unregister_callback(v, u.type);
	default:
		return -ENOSYS;
	}
}

/* Answers 0 also where it takes none of the addresses, as Xen does. */
int64_t xe_do_set_callbacks(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	register_callback(v, EVENT, 0, arg[0]);
	register_callback(v, FAILSAFE, 0, arg[1]);
	register_callback(v, SYSCALL, 0, arg[2]);
	return 0;
}

int64_t xe_do_nmi_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_nmi_callback cb;

	switch ((uint32_t)arg[0]) {
	case 0:
		if (xe_copy_from(h, v, &cb, arg[1], sizeof(cb)))
			return -EFAULT;
		return register_nmi(v, cb.handler_address);
	case 1:
		unregister_nmi(v);
		return 0;
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_stack_switch(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	v->cpu.c.kernel_ss = arg[0] | 3;
	v->cpu.c.kernel_sp = arg[1];
	return 0;
}

int64_t xe_do_fpu_taskswitch(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	set_flag(&v->cpu.c.ctrlreg[0], CR0_TS, (uint32_t)arg[0] != 0);
	return 0;
}

static int set_dr7(struct xe_vcpu *v, uint64_t value)
{
	value = (value & ~DR7_ZERO) | DR7_FIXED;
	if (value & DR7_GENERAL_DETECT)
		return -EPERM;
	for (unsigned i = 16; value & DR7_ACTIVE && i < 32; i += 4)
		if ((value >> i & 3) == DR_IO && !has_debug_extensions(v))
			return -EPERM;
	v->cpu.c.debugreg[7] = value;
	return 0;
}

/* 4 and 5 are other names of 6 and 7, or none. */
static bool has_debugreg(const struct xe_vcpu *v, uint32_t reg)
{
	return reg <= 7 && ((reg != 4 && reg != 5) || !has_debug_extensions(v));
}

int xe_set_debugreg(struct xe_vcpu *v, uint32_t reg, uint64_t value)
{
	if (!has_debugreg(v, reg))
		return -ENODEV;
	if (reg < 4) {
		if (!xe_addr_ok(value))
			return -EPERM;
		v->cpu.c.debugreg[reg] = value;
		return 0;
	}
	if (value >> 32)
		return -EINVAL;
	if (reg % 2)
		return set_dr7(v, value);
	v->cpu.c.debugreg[6] = (value & ~DR6_ZERO) | DR6_FIXED;
	return 0;
}

int64_t xe_do_set_debugreg(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	return xe_set_debugreg(v, (uint32_t)arg[0], arg[1]);
}

int64_t xe_do_get_debugreg(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t reg = (uint32_t)arg[0];

	(void)h;
	if (!has_debugreg(v, reg))
		return -ENODEV;
	return (int64_t)v->cpu.c.debugreg[reg == 4 || reg == 5 ? reg + 2 : reg];
}

/* One that can't be loaded is as 0. */
static void load_user_gs(struct xe_host *h, struct xe_vcpu *v, uint16_t selector)
{
	uint64_t base = 0;

	if (selector > 3) {
		selector = xe_guest_selector(selector);
		if (!xe_load_selector(h, v, selector, &base))
			selector = 0;
	}
	v->cpu.c.regs.gs = selector;
	v->cpu.c.gs_base_user = base;
}

int64_t xe_do_set_segment_base(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t which = (uint32_t)arg[0];
	uint64_t base = arg[1];

	if (which == SEGBASE_GS_USER_SEL) {
		load_user_gs(h, v, (uint16_t)base);
		return 0;
	}
	if (which > SEGBASE_GS_USER_SEL || !xe_canonical(base))
		return -EINVAL;
	if (which == SEGBASE_FS)
		v->cpu.c.fs_base = base;
	else if (which == SEGBASE_GS_USER)
		v->cpu.c.gs_base_user = base;
	else
		v->cpu.c.gs_base_kernel = base;
	return 0;
}

int64_t xe_do_vm_assist(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0], type = (uint32_t)arg[1];

	(void)h;
	if (type > 63 || !(VM_ASSISTS >> type & 1))
		return -EINVAL;
	if (cmd > 1)
		return -ENOSYS;
	set_flag(&v->domain->vm_assist, 1ull << type, cmd == 0);
	return 0;
}

static void set_upcall_mask(struct xe_host *h, struct xe_vcpu *v, bool masked)
{
	struct xe_vcpu_info *i = xe_vcpu_info(h, v);

	if (i)
		i->upcall_mask = masked;
	if (!masked)
		xe_evtchn_kick(h, v->domain);
}

/* Guests have no registers here, so the address of the frame on the stack is an argument. A frame that
 * can't be had, or a way to user mode without tables for it, is the end of the domain. */
int64_t xe_do_iret(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_user_regs *regs = &v->cpu.c.regs;
	struct xe_iret_context i;
	uint64_t iopl; /* virtual: kept beside the real one, which is 0 */
	bool to_user;

	if (xe_copy_from(h, v, &i, arg[0], sizeof(i)) ||
	    ((to_user = (i.cs & 3) == 3) && !v->user_cr3)) {
		xe_domain_crash(h, v->domain);
		return 0;
	}
	set_flag(&v->cpu.c.flags, XE_VGCF_IN_KERNEL, !to_user);
	iopl = (v->domain->vm_assist & ARCHITECTURAL_IOPL ? i.rflags : regs->rflags) & RFLAGS_IOPL;
	regs->rax = i.rax;
	regs->rip = i.rip;
	regs->cs = xe_guest_selector(i.cs);
	regs->rflags = (i.rflags & ~(RFLAGS_IOPL | RFLAGS_VM)) | iopl | RFLAGS_IF;
	regs->rsp = i.rsp;
	regs->ss = xe_guest_selector(i.ss);
	if (!(i.flags & IN_SYSCALL)) {
		regs->entry_vector &= ~TRAP_SYSCALL;
		regs->r11 = i.r11;
		regs->rcx = i.rcx;
	}
	set_upcall_mask(h, v, !(i.rflags & RFLAGS_IF));
	return (int64_t)i.rax;
}
