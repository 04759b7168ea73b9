/* The calls of a virtual CPU on its own state, and the small ones: xen_version, console_io, multicall. */
#include <errno.h>
#include <stdio.h>

#include "xen_check.h"
#include "xen_fix.h"

#define NONCANONICAL 0x8000000000000000ull
#define XEN_VA 0xffff830000000000ull

static struct xe_cpu *cpu(struct fix *f, uint32_t d)
{
	return &f->h->domain[d]->vcpu[0]->cpu;
}

static uint64_t mfn_of(struct fix *f, uint32_t d, uint64_t gva)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f->h, d, gva, &ma) == 0);
	return ma >> 12;
}

static void test_traps(void)
{
	struct fix f;
	struct xe_trap_info t[3] = {{3, 3, 0x10, 0, 0x1000}, {255, 0, 0, 0, XEN_VA}};
	struct xe_callback_register r = {.address = 0x4000};
	uint64_t nmi[2] = {0x5000};
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(op(&f, d, 0, 0, t, sizeof(t)) == 0); /* argument 0 is the table: NULL clears */
	xe_assert(xe_guest_write(f.h, d, ARR, t, sizeof(t)) == 0 &&
		  hc(&f, d, 0, ARR, 0, 0, 0) == 0);
	xe_assert(cpu(&f, d)->c.trap[3].cs == 0x13 && cpu(&f, d)->c.trap[3].flags == 3 &&
		  cpu(&f, d)->c.trap[3].address == 0x1000 &&
		  cpu(&f, d)->c.trap[255].address == XEN_VA);
	t[1].address = NONCANONICAL;
	t[0].address = 0x2000;
	xe_assert(xe_guest_write(f.h, d, ARR, t, sizeof(t)) == 0 &&
		  hc(&f, d, 0, ARR, 0, 0, 0) == -EINVAL);
	xe_assert(cpu(&f, d)->c.trap[3].address == 0x2000 && hc(&f, d, 0, BAD, 0, 0, 0) == -EFAULT);
	xe_assert(hc(&f, d, 0, 0, 0, 0, 0) == 0 && !cpu(&f, d)->c.trap[3].address);
	/* callbacks, by type */
	static const int reg[] = {0, 0, 0, -ENOSYS, 0, 0, -ENOSYS, 0, -ENOSYS};
	for (uint16_t i = 0; i < 9; i++) {
		struct xe_callback_unregister u = {.type = i};

		r.type = i;
		r.flags = 0xffff;
		xe_assert(op(&f, d, 30, 0, &r, sizeof(r)) == reg[i]);
		xe_assert(i == 4 ? cpu(&f, d)->c.trap[2].address == 0x4000 : true);
		xe_assert(op(&f, d, 30, 1, &u, sizeof(u)) == (reg[i]   ? -ENOSYS
							      : i == 4 ? 0
								       : -EINVAL));
	}
	xe_assert(cpu(&f, d)->c.event_callback == 0x4000 &&
		  cpu(&f, d)->c.failsafe_callback == 0x4000 &&
		  cpu(&f, d)->c.syscall_callback == 0x4000 && cpu(&f, d)->syscall32 == 0x4000 &&
		  cpu(&f, d)->sysenter == 0x4000 && (cpu(&f, d)->c.flags & 24) == 24 &&
		  cpu(&f, d)->sysenter_masks && cpu(&f, d)->syscall32_masks &&
		  !cpu(&f, d)->c.trap[2].address);
	r = (struct xe_callback_register){.type = 99, .address = NONCANONICAL};
	xe_assert(op(&f, d, 30, 0, &r, sizeof(r)) == -EINVAL &&
		  hc(&f, d, 30, 0, BAD, 0, 0) == -EFAULT &&
		  hc(&f, d, 30, 1, BAD, 0, 0) == -EFAULT && hc(&f, d, 30, 2, 0, 0, 0) == -ENOSYS);
	xe_assert(hc(&f, d, 4, 1, NONCANONICAL, 3, 0) == 0 && cpu(&f, d)->c.event_callback == 1 &&
		  cpu(&f, d)->c.failsafe_callback == 0x4000 &&
		  cpu(&f, d)->c.syscall_callback == 3 && (cpu(&f, d)->c.flags & 24) == 8);
	/* NMI */
	xe_assert(op(&f, d, 28, 0, nmi, sizeof(nmi)) == 0 &&
		  cpu(&f, d)->c.trap[2].address == 0x5000 && cpu(&f, d)->c.trap[2].flags == 4);
	nmi[0] = NONCANONICAL;
	xe_assert(op(&f, d, 28, 0, nmi, sizeof(nmi)) == -EINVAL &&
		  hc(&f, d, 28, 0, BAD, 0, 0) == -EFAULT && hc(&f, d, 28, 1, 0, 0, 0) == 0 &&
		  !cpu(&f, d)->c.trap[2].address && hc(&f, d, 28, 2, 0, 0, 0) == -ENOSYS);
	/* stack, FPU, segments' bases */
	xe_assert(hc(&f, d, 3, 0x10, NONCANONICAL, 0, 0) == 0 && cpu(&f, d)->c.kernel_ss == 0x13 &&
		  cpu(&f, d)->c.kernel_sp == NONCANONICAL);
	xe_assert(hc(&f, d, 5, 1, 0, 0, 0) == 0 && cpu(&f, d)->c.ctrlreg[0] & 8 &&
		  hc(&f, d, 5, 1ull << 32, 0, 0, 0) == 0 && !(cpu(&f, d)->c.ctrlreg[0] & 8));
	for (uint64_t i = 0; i < 3; i++)
		xe_assert(hc(&f, d, 25, i, XEN_VA + i, 0, 0) == 0 &&
			  hc(&f, d, 25, i, NONCANONICAL, 0, 0) == -EINVAL);
	xe_assert(cpu(&f, d)->c.fs_base == XEN_VA && cpu(&f, d)->c.gs_base_user == XEN_VA + 1 &&
		  cpu(&f, d)->c.gs_base_kernel == XEN_VA + 2);
	xe_assert(hc(&f, d, 25, 3, 0xffffe028, 0, 0) == 0 && cpu(&f, d)->c.regs.gs == 0xe02b &&
		  !cpu(&f, d)->c.gs_base_user && hc(&f, d, 25, 3, 3, 0, 0) == 0 &&
		  cpu(&f, d)->c.regs.gs == 3 && hc(&f, d, 25, 3, 0x10, 0, 0) == 0 &&
		  !cpu(&f, d)->c.regs.gs && hc(&f, d, 25, 4, 0, 0, 0) == -EINVAL &&
		  hc(&f, d, 25, 1ull << 32, 5, 0, 0) == 0 && cpu(&f, d)->c.fs_base == 5);
	/* assists are of the domain */
	for (uint64_t i = 0; i < 70; i++) {
		bool there = i < 6 || i == 32;

		xe_assert(hc(&f, d, 21, 0, i, 0, 0) == (there ? 0 : -EINVAL));
		xe_assert(!there || f.h->domain[d]->vm_assist & 1ull << i);
		xe_assert(hc(&f, d, 21, 2, i, 0, 0) == (there ? -ENOSYS : -EINVAL));
		xe_assert(hc(&f, d, 21, 1, i, 0, 0) == (there ? 0 : -EINVAL) &&
			  !f.h->domain[d]->vm_assist);
	}
	stop(&f);
}

#define DR(reg, value, result) xe_assert(hc(&f, d, 8, reg, value, 0, 0) == (result))
#define IS(reg, value) xe_assert((uint64_t)hc(&f, d, 9, reg, 0, 0, 0) == (value))

static void test_debugregs(void)
{
	struct fix f;
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	for (uint64_t i = 0; i < 4; i++)
		IS(i, 0);
	IS(4, 0xffff0ff0);
	IS(5, 0x400);
	IS(6, 0xffff0ff0);
	IS(7, 0x400);
	IS(8, (uint64_t)-ENODEV);
	IS(UINT64_MAX, (uint64_t)-ENODEV);
	DR(0, 0x1234, 0);
	IS(0, 0x1234);
	IS(1ull << 32, 0x1234); /* an int in Xen */
	DR(1, UINT64_MAX - 7, 0);
	IS(1, UINT64_MAX - 7);
	DR(2, NONCANONICAL, -EPERM);
	DR(2, 0xffff7fffffffffffull, -EPERM);
	DR(2, 0xffff800000000000ull, -EPERM);
	DR(2, 0xffff880000000000ull, 0);
	DR(6, 0, 0);
	IS(6, 0xffff0ff0);
	DR(6, UINT32_MAX, 0);
	IS(6, 0xffffefff);
	DR(6, 1ull << 32, -EINVAL);
	DR(4, 1, 0);
	IS(6, 0xffff0ff1);
	DR(7, 1, 0);
	IS(7, 0x401);
	DR(7, UINT32_MAX, -EPERM);
	DR(7, 0x2000, -EPERM);
	DR(7, 0x20000, 0); /* an I/O breakpoint, not active */
	IS(7, 0x20400);
	DR(7, 0x20002, -EPERM);
	IS(7, 0x20400);
	DR(7, 0xd800, 0);
	IS(7, 0x400);
	DR(5, 3, 0);
	IS(7, 0x403);
	DR(7, 1ull << 32, -EINVAL);
	DR(8, 0, -ENODEV);
	DR(UINT64_MAX, 0, -ENODEV);
	cpu(&f, d)->c.ctrlreg[4] |= 8; /* debugging extensions */
	DR(4, 0, -ENODEV);
	DR(5, 0, -ENODEV);
	IS(4, (uint64_t)-ENODEV);
	IS(5, (uint64_t)-ENODEV);
	DR(7, 0x20003, 0);
	IS(7, 0x20403);
	stop(&f);
}

static void set_gdt_frames(struct fix *f, uint32_t d, uint64_t a, uint64_t b)
{
	set_arr(f, d, 0, a);
	set_arr(f, d, 1, b);
}

/* One operation of mmuext_op. */
static int64_t arr_op(struct fix *f, uint32_t d, const uint64_t op[3])
{
	for (unsigned i = 0; i < 3; i++)
		set_arr(f, d, i, op[i]);
	return hc(f, d, 26, ARR, 1, 0, XE_ABI_domid_SELF);
}

#define PAGE (XE_GUEST_BASE + 0x9000)
#define DESC(at, value, result) xe_assert(hc(&f, d, 10, at, value, 0, 0) == (result))

static uint64_t entry(struct fix *f, uint32_t d, unsigned i)
{
	uint64_t v;

	xe_assert(xe_guest_read(f->h, d, PAGE + i * 8, &v, 8) == 0);
	return v;
}

static void test_descriptors(void)
{
	struct fix f;
	uint32_t d;
	uint64_t m, ma, v = 0x00cf9b000000ffff, tss = 0x0000890000000000;

	start(&f, FRAMES, true);
	d = guest(&f);
	m = mfn_of(&f, d, PAGE);
	ma = m << 12;
	set_gdt_frames(&f, d, m, 1ull << 40);
	xe_assert(hc(&f, d, 2, ARR, 512, 0, 0) == -EINVAL); /* mapped writable */
	xe_assert(xe_guest_write(f.h, d, PAGE + 8, &tss, 8) == 0 &&
		  hc(&f, d, 14, PAGE, ma | 0x65, 0, 0) == 0);
	xe_assert(hc(&f, d, 2, ARR, 512, 0, 0) == -EINVAL); /* no segment for a guest */
	xe_assert(hc(&f, d, 14, PAGE, ma | 0x67, 0, 0) == 0 &&
		  xe_guest_write(f.h, d, PAGE + 8, &v, 8) == 0 &&
		  hc(&f, d, 14, PAGE, ma | 0x65, 0, 0) == 0);
	xe_assert(hc(&f, d, 2, ARR, 512, 0, 0) == 0 && cpu(&f, d)->c.gdt_ents == 512 &&
		  cpu(&f, d)->c.gdt_frame[0] == m && entry(&f, d, 1) == 0x00cffb000000ffff);
	xe_assert(hc(&f, d, 2, ARR, 512, 0, 0) == 0 && hc(&f, d, 2, ARR, 513, 0, 0) == -EINVAL &&
		  hc(&f, d, 2, ARR, 7169, 0, 0) == -EINVAL &&
		  hc(&f, d, 2, ARR, UINT32_MAX, 0, 0) == -EINVAL &&
		  hc(&f, d, 2, BAD, 1, 0, 0) == -EFAULT && cpu(&f, d)->c.gdt_ents == 512);
	xe_assert(hc(&f, d, 14, PAGE, ma | 0x67, 0, 0) == -EBUSY);
	set_gdt_frames(&f, d, 1, 0); /* domain 0's */
	xe_assert(hc(&f, d, 2, ARR, 1, 0, 0) == -EINVAL);
	/* descriptors one by one */
	DESC(ma + 8, 0x00cffb000000ffff, 0);
	DESC(ma + 16, 0x00cf9b000000ffff, 0);
	xe_assert(entry(&f, d, 2) == 0x00cffb000000ffff);
	DESC(ma + 4, 0, -EINVAL);
	DESC(ma + 24, tss, -EINVAL);
	DESC(ma + 24, 0x0000820000000000, -EINVAL); /* LDT */
	DESC(ma + 24, 0x00008e0000000000, -EINVAL); /* interrupt gate */
	DESC(ma + 24, 0x00008c00e0300000, -EINVAL); /* gate into Xen */
	DESC(ma + 24, 0x0000ec00e0080000, -EINVAL);
	DESC(ma + 24, 0x0000ec01e0330000, -EINVAL);
	DESC(ma + 24, 0x0000ec0000000000, 0);
	xe_assert(entry(&f, d, 3) == 0x00008c0000030000);
	DESC(ma + 24, 0x0000ec00e0330000, 0);
	xe_assert(entry(&f, d, 3) == 0x00008c00e0330000);
	DESC(ma + 40, 0x0000800000000000, 0);
	DESC(ma + 40, 0x00affb000000ffff, 0);
	DESC(ma + 48, 0x0000123456789abc, 0);
	xe_assert(entry(&f, d, 6) == 0x0000123456789abc);
	/* of other pages */
	DESC((mfn_of(&f, d, PAGE + 4096) << 12) + 8, 0x1234, 0);
	xe_assert(entry(&f, d, 513) == 0x1234);
	DESC(f.h->domain[d]->vcpu[0]->cr3 << 12, 0, -EINVAL);
	DESC(mfn_of(&f, 0, XE_GUEST_BASE) << 12, 0, -EINVAL);
	DESC(1ull << 50, 0, -EINVAL);
	DESC((f.h->domain[d]->shared_mfn << 12) + 3000, 0, 0);
	xen_check(f.h);
	/* none any more; then a domain dies with one */
	xe_assert(hc(&f, d, 2, BAD, 0, 0, 0) == 0 && hc(&f, d, 14, PAGE, ma | 0x67, 0, 0) == 0 &&
		  hc(&f, d, 14, PAGE, ma | 0x65, 0, 0) == 0);
	set_gdt_frames(&f, d, m, m);
	xe_assert(hc(&f, d, 2, ARR, 1024, 0, 0) == 0 &&
		  (f.h->frame[m].type_info & XE_PGT_COUNT) == 2);
	xen_check(f.h);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static bool load(struct fix *f, uint32_t d, uint16_t selector, uint64_t base)
{
	xe_assert(hc(f, d, 25, 3, selector, 0, 0) == 0);
	xe_assert(cpu(f, d)->c.gs_base_user == base);
	return cpu(f, d)->c.regs.gs == (selector | 3);
}

/* The base of the user's GS is what its segment says; pages of the LDT are taken as they are used. */
static void test_selectors(void)
{
	struct fix f;
	uint64_t v[] = {0x12cff2345678ffff, 0x12cff8345678ffff}, m, ma;
	uint64_t op[3] = {13, PAGE + 4096, 514}, pin[3] = {5};
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	m = mfn_of(&f, d, PAGE);
	ma = mfn_of(&f, d, PAGE + 4096);
	xe_assert(xe_guest_write(f.h, d, PAGE + 8, v, 16) == 0 &&
		  xe_guest_write(f.h, d, PAGE + 4096, v, 16) == 0);
	xe_assert(hc(&f, d, 14, PAGE, m << 12 | 0x65, 0, 0) == 0);
	set_gdt_frames(&f, d, m, 0);
	xe_assert(!load(&f, d, 8, 0) && hc(&f, d, 2, ARR, 1, 0, 0) == 0);
	xe_assert(load(&f, d, 8, 0x12345678) && entry(&f, d, 1) == 0x12cff3345678ffff);
	xe_assert(!load(&f, d, 16, 0) && !load(&f, d, 24, 0) && !load(&f, d, 4096, 0));
	xe_assert(!load(&f, d, 4, 0) && arr_op(&f, d, op) == 0 &&
		  !load(&f, d, 4, 0)); /* writable */
	xe_assert(hc(&f, d, 14, PAGE + 4096, ma << 12 | 0x65, 0, 0) == 0 &&
		  f.h->frame[ma].count_info == (XE_PGC_ALLOCATED | 2));
	xe_assert(load(&f, d, 4, 0x12345678) && load(&f, d, 4, 0x12345678) &&
		  f.h->frame[ma].count_info == (XE_PGC_ALLOCATED | 3) && !load(&f, d, 12, 0));
	xe_assert(!load(&f, d, 4100, 0) && !load(&f, d, 514 * 8 + 4, 0)); /* writable; behind it */
	xen_check(f.h);
	xe_assert(arr_op(&f, d, op) == 0 && f.h->frame[ma].count_info == (XE_PGC_ALLOCATED | 3));
	pin[1] = f.h->domain[d]->vcpu[0]->cr3;
	xe_assert(arr_op(&f, d, pin) == 0 && f.h->frame[ma].count_info == (XE_PGC_ALLOCATED | 3));
	op[2]--;
	xe_assert(arr_op(&f, d, op) == 0 && f.h->frame[ma].count_info == (XE_PGC_ALLOCATED | 2));
	xe_assert(load(&f, d, 4, 0x12345678));
	xen_check(f.h);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static void test_iret(void)
{
	struct fix f;
	struct xe_iret_context i = {
		.rax = 77, .rip = 0x1000, .cs = 0xe030, .rflags = 0x3200, .rsp = 5, .ss = 0xe028};
	struct xe_shared_info *s;
	uint64_t mc[3][8] = {{17}, {23, 0, ARR}, {17}};
	uint32_t d, e;

	start(&f, FRAMES, true);
	d = guest(&f);
	e = guest(&f);
	s = xe_shared_info(f.h, f.h->domain[d]);
	s->vcpu[0].upcall_mask = 1;
	xe_assert(xe_guest_write(f.h, d, ARR, &i, sizeof(i)) == 0 &&
		  hc(&f, d, 23, ARR, 0, 0, 0) == 77);
	xe_assert(!s->vcpu[0].upcall_mask && cpu(&f, d)->c.regs.rip == 0x1000 &&
		  cpu(&f, d)->c.regs.cs == 0xe033 && cpu(&f, d)->c.regs.rflags == 0x200 &&
		  cpu(&f, d)->c.regs.ss == 0xe02b);
	i.rflags = 0;
	xe_assert(xe_guest_write(f.h, d, ARR, &i, sizeof(i)) == 0 &&
		  hc(&f, d, 23, ARR, 0, 0, 0) == 77 && s->vcpu[0].upcall_mask);
	/* the last of a multicall */
	xe_assert(xe_guest_write(f.h, d, ARR + 512, mc, sizeof(mc)) == 0 &&
		  hc(&f, d, 13, ARR + 512, 3, 0, 0) == 77);
	xe_assert(arr(&f, d, 65) == 262161 && arr(&f, d, 73) == 77 && arr(&f, d, 81) == 0);
	/* to user mode without tables; from nowhere */
	i.cs = 0xe033;
	xe_assert(xe_guest_write(f.h, d, ARR, &i, sizeof(i)) == 0 &&
		  hc(&f, d, 23, ARR, 0, 0, 0) == 0 && !info(&f, d).runnable &&
		  f.h->domain[d]->shutdown_code == XE_SHUTDOWN_CRASH);
	xe_assert(hc(&f, e, 23, BAD, 0, 0, 0) == 0 && !info(&f, e).runnable);
	stop(&f);
}

static void test_version(void)
{
	struct fix f;
	uint8_t b[1030], *c = b;
	uint32_t d, fi[2] = {0, 0};
	uint64_t start_va;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(hc(&f, d, 17, 0, 0, 0, 0) == 262161 &&
		  hc(&f, d, 17, 1ull << 32, 0, 0, 0) == 262161 &&
		  hc(&f, d, 17, 11, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 17, UINT64_MAX, 0, 0, 0) == -ENOSYS);
	static const uint32_t size[] = {0, 16, 144, 1024, 64, 8, 0, 0, 16, 1024};
	for (uint32_t i = 1; i < 10; i++) {
		uint32_t want = size[i];

		if (!want)
			continue;
		memset(b, 0x55, sizeof(b));
		xe_assert(xe_guest_write(f.h, 0, ARR, b, sizeof(b)) == 0 &&
			  hc(&f, 0, 17, i, ARR, 0, 0) == 0);
		xe_assert(xe_guest_read(f.h, 0, ARR, b, sizeof(b)) == 0 && b[want - 1] != 0x55 &&
			  b[want] == 0x55);
		xe_assert(hc(&f, 0, 17, i, BAD, 0, 0) == -EFAULT);
	}
	xe_assert(hc(&f, d, 17, 1, ARR, 0, 0) == 0 && xe_guest_read(f.h, d, ARR, c, 16) == 0 &&
		  !strcmp((char *)c, ".7"));
	xe_assert(hc(&f, d, 17, 3, ARR, 0, 0) == 0 && xe_guest_read(f.h, d, ARR, c, 16) == 0 &&
		  !strcmp((char *)c, "xen-3.0-x86_64 "));
	xe_assert(hc(&f, d, 17, 5, ARR, 0, 0) == 0 &&
		  xe_guest_read(f.h, d, ARR, &start_va, 8) == 0 &&
		  start_va == 0xffff800000000000ull);
	xe_assert(op(&f, 0, 17, 6, fi, 8) == 0 && fi[1] == 0x228e0 &&
		  op(&f, d, 17, 6, fi, 8) == 0 && fi[1] == 0x220e0);
	xe_assert(hc(&f, d, 21, 0, 3, 0, 0) == 0 && op(&f, d, 17, 6, fi, 8) == 0 &&
		  fi[1] == 0x220f0);
	fi[0] = 1;
	xe_assert(op(&f, d, 17, 6, fi, 8) == -EINVAL && hc(&f, d, 17, 6, BAD, 0, 0) == -EFAULT);
	xe_assert(hc(&f, d, 17, 7, 0, 0, 0) == 4096 && hc(&f, d, 17, 7, ARR, 0, 0) == -EINVAL);
	/* for the control domain only */
	xe_assert(hc(&f, d, 17, 9, ARR, 0, 0) == 0 && xe_guest_read(f.h, d, ARR, c, 9) == 0 &&
		  !strcmp((char *)c, "<denied>") && hc(&f, d, 17, 10, 0, 0, 0) == -EPERM);
	fi[0] = 0;
	xe_assert(hc(&f, 0, 17, 10, 0, 0, 0) == 20 && hc(&f, 0, 17, 10, BAD, 0, 0) == -EFAULT &&
		  op(&f, 0, 17, 10, fi, 4) == -EINVAL && (fi[0] = 19) &&
		  op(&f, 0, 17, 10, fi, 4) == -ENOBUFS);
	set_arr(&f, 0, 0, 20);
	xe_assert(hc(&f, 0, 17, 10, ARR, 0, 0) == 20 &&
		  xe_guest_read(f.h, 0, ARR + 4, c, 20) == 0 && !memcmp(c, "xenemu", 6));
	stop(&f);
}

static void test_console(void)
{
	struct fix f;
	uint8_t b[300], back[5000];
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)i;
	xe_assert(xe_guest_write(f.h, d, ARR, b, 300) == 0 && hc(&f, d, 18, 0, 300, ARR, 0) == 0);
	xe_assert(xe_console_read(f.h, d, back, 200) == 200 &&
		  xe_console_read(f.h, d, back + 200, 200) == 100 && !memcmp(b, back, 300));
	/* what came before the end of memory is written */
	uint64_t end = XE_GUEST_BASE + PAGES * 4096ull;
	xe_assert(hc(&f, d, 18, 0, 300, end - 200, 0) == -EFAULT &&
		  xe_console_read(f.h, d, back, 5000) == 127);
	xe_assert(hc(&f, d, 18, 0, 0, BAD, 0) == 0 && hc(&f, d, 18, 0, 1ull << 32, BAD, 0) == 0 &&
		  hc(&f, d, 18, 0, 1, BAD, 0) == -EFAULT);
	for (int i = 0; i < 40; i++)
		xe_assert(hc(&f, d, 18, 0, 300, ARR, 0) == 0);
	xe_assert(xe_console_read(f.h, d, back, 5000) == 4096 && back[4095] == (uint8_t)299);
	xe_assert(hc(&f, d, 18, 1, 10, ARR, 0) == -EPERM && hc(&f, d, 18, 9, 0, 0, 0) == -EPERM);
	xe_assert(hc(&f, 0, 18, 1, 10, ARR, 0) == 0 &&
		  hc(&f, 0, 18, 1, 0x80000000, ARR, 0) == -E2BIG &&
		  hc(&f, 0, 18, 2, 0, 0, 0) == -ENOSYS);
	stop(&f);
}

static void test_multicall(void)
{
	struct fix f;
	uint32_t d;
	uint64_t e[4][8] = {{13, 0, ARR, 1}, {1ull << 32 | 17}, {17}, {60}}, back[4][8], n;

	start(&f, FRAMES, true);
	d = guest(&f);
	e[2][5] = 9;
	n = xe_host_counters(f.h)->unknown_hypercalls;
	xe_assert(xe_guest_write(f.h, d, ARR, e, sizeof(e)) == 0 &&
		  hc(&f, d, 13, ARR, 4, 0, 0) == 0);
	xe_assert(xe_guest_read(f.h, d, ARR, back, sizeof(back)) == 0 &&
		  (int64_t)back[0][1] == -EINVAL && (int64_t)back[1][1] == -ENOSYS &&
		  back[2][1] == 262161 && (int64_t)back[3][1] == -ENOSYS);
	for (unsigned i = 0; i < 4; i++) {
		back[i][1] = 0;
		xe_assert(!memcmp(back[i], e[i], sizeof(e[i])));
	}
	xe_assert(xe_host_counters(f.h)->unknown_hypercalls == n + 2);
	xe_assert(hc(&f, d, 13, BAD, 0, 0, 0) == 0 && hc(&f, d, 13, BAD, 1ull << 32, 0, 0) == 0 &&
		  hc(&f, d, 13, BAD, UINT32_MAX, 0, 0) == -EFAULT &&
		  hc(&f, d, 13, XEN_VA, 0, 0, 0) == -EFAULT);
	/* up to the end of memory; into a page that can only be read, where the call is made */
	uint64_t end = XE_GUEST_BASE + PAGES * 4096ull, ma = mfn_of(&f, d, ARR) << 12;
	struct xe_vcpu *v = f.h->domain[d]->vcpu[0];
	xe_assert(!xe_check_writable(f.h, v, end - 128, 128) &&
		  xe_guest_write(f.h, d, end - 128, e[2], 64) == 0 &&
		  xe_guest_write(f.h, d, end - 64, e[2], 64) == 0);
	xe_assert(hc(&f, d, 13, end - 128, 3, 0, 0) == -EFAULT &&
		  xe_guest_read(f.h, d, end - 128, back, 128) == 0 && back[0][1] == 262161 &&
		  back[1][1] == 262161);
	uint64_t stack[8] = {3, 0, 0x10, 0x4444};
	xe_assert(xe_guest_write(f.h, d, ARR, stack, 64) == 0 &&
		  hc(&f, d, 14, ARR, ma | 0x65, 0, 0) == 0 &&
		  hc(&f, d, 13, ARR, 2, 0, 0) == -EFAULT && cpu(&f, d)->c.kernel_sp == 0x4444);
	stop(&f);
}

int main(void)
{
	test_traps();
	test_debugregs();
	test_descriptors();
	test_selectors();
	test_iret();
	test_version();
	test_console();
	test_multicall();
	puts("cpu state: ok");
	return 0;
}
