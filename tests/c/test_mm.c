/* Page types, page tables, TLB: each call and refusal, teardown in any state, and hostile domains at
 * random, with all references recomputed after each step. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xen_check.h"
#include "xen_fix.h"

enum { MMU = 1, UVM = 14, UVM_OTHER = 22, MMUEXT = 26, SELF = 0x7ff0, IO = 0x7ff1, XEN = 0x7ff2 };
enum { PIN1, PIN2, PIN3, PIN4, UNPIN, BASE, USER_BASE = 15, CLEAR, COPY };
enum { RW = 0x67, RO = 0x65, FIRST = 64, POOL = 12 }; /* the pool: pages of a domain to play with */

#define VA(page) (XE_GUEST_BASE + (uint64_t)(page) * 4096)

static xe_mfn mfn_of(struct fix *f, uint32_t d, uint64_t gva)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f->h, d, gva, &ma) == 0);
	return ma >> 12;
}

static uint64_t *slot(struct fix *f, xe_mfn m, unsigned i)
{
	return xe_entries(f->h, m) + i;
}

static int64_t update_as(struct fix *f, uint32_t d, uint64_t ptr, uint64_t val, uint32_t domids)
{
	uint64_t u[2] = {ptr, val};

	xe_assert(xe_guest_write(f->h, d, ARR, u, sizeof(u)) == 0);
	return hc(f, d, MMU, ARR, 1, 0, domids);
}

static int64_t update(struct fix *f, uint32_t d, xe_mfn table, unsigned i, uint64_t val)
{
	return update_as(f, d, table << 12 | i * 8, val, SELF);
}

static int64_t ext_as(struct fix *f, uint32_t d, uint32_t cmd, uint64_t a, uint64_t b,
		      uint32_t domid)
{
	struct xe_mmuext_op o = {.cmd = cmd, .arg1.mfn = a, .arg2.src_mfn = b};

	xe_assert(xe_guest_write(f->h, d, ARR, &o, sizeof(o)) == 0);
	return hc(f, d, MMUEXT, ARR, 1, 0, domid);
}

static int64_t ext(struct fix *f, uint32_t d, uint32_t cmd, uint64_t a)
{
	return ext_as(f, d, cmd, a, 0, SELF);
}

static int64_t set_va(struct fix *f, uint32_t d, uint64_t va, uint64_t pte)
{
	return hc(f, d, UVM, va, pte, 0, 0);
}

static uint64_t type_of(struct fix *f, xe_mfn m)
{
	return f->h->frame[m].type_info & ~XE_PGT_LINEAR_USES;
}

/* Frames of pages FIRST.. of the domain, mapped nowhere and zero. */
static void take_pool(struct fix *f, uint32_t d, xe_mfn *pool)
{
	for (unsigned i = 0; i < POOL; i++) {
		pool[i] = mfn_of(f, d, VA(FIRST + i));
		xe_assert(set_va(f, d, VA(FIRST + i), 0) == 0);
	}
}

static void test_pins(struct fix *f, uint32_t d)
{
	xe_mfn p[POOL], root = f->h->domain[d]->vcpu[0]->cr3;

	take_pool(f, d, p);
	/* writable somewhere: no table */
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW) == 0 &&
		  ext(f, d, PIN1, p[0]) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RO) == 0 && ext(f, d, PIN1, p[0]) == 0);
	xe_assert(ext(f, d, PIN1, p[0]) == -EINVAL && ext(f, d, PIN2, p[0]) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW) == -EBUSY);
	xe_assert(type_of(f, p[0]) == (XE_PGT_LEVEL(1) | XE_PGT_PINNED | XE_PGT_VALIDATED | 1));
	xe_assert(ext(f, d, UNPIN, p[0]) == 0 && ext(f, d, UNPIN, p[0]) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW) == 0);
	xe_assert(ext(f, d, PIN1, 0) == -EINVAL && ext(f, d, PIN1, f->frames) == -EINVAL &&
		  ext(f, d, PIN1, 1ull << 60) == -EINVAL &&
		  ext(f, d, UNPIN, 1ull << 60) == -EINVAL);
	xe_assert(ext(f, d, PIN1, f->h->domain[0]->vcpu[0]->cr3) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), 0) == 0);
	/* four levels at once, from memory; entries as Xen completes them */
	xe_assert(update(f, d, p[3], 300, p[2] << 12 | 0x1) == 0);
	xe_assert(update(f, d, p[3], 256, 0xdead) == 0 &&
		  update(f, d, p[2], 1, p[1] << 12 | 3) == 0);
	xe_assert(update(f, d, p[1], 2, p[0] << 12 | RW) == 0);
	xe_assert(update(f, d, p[0], 3, p[5] << 12 | 3) == 0);
	xe_assert(update(f, d, p[0], 4, p[5] << 12 | RO) == 0 && update(f, d, p[0], 5, 0xff0) == 0);
	xe_assert(ext(f, d, PIN4, p[3]) == 0);
	xe_assert(*slot(f, p[3], 300) == (p[2] << 12 | 0x25) && !*slot(f, p[3], 256));
	xe_assert(*slot(f, p[2], 1) == (p[1] << 12 | 7) && *slot(f, p[1], 2) == (p[0] << 12 | RW));
	xe_assert(*slot(f, p[0], 3) == (p[5] << 12 | 7 | 1ull << 52) &&
		  *slot(f, p[0], 4) == (p[5] << 12 | 0x165) && *slot(f, p[0], 5) == 0xff0);
	xe_assert(type_of(f, p[5]) == (XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1));
	xe_assert(f->h->frame[p[5]].count_info == (XE_PGC_ALLOCATED | 3));
	for (unsigned i = 0; i < 3; i++)
		xe_assert(type_of(f, p[i]) == (XE_PGT_LEVEL(i + 1) | XE_PGT_VALIDATED | 1));
	xen_check(f->h);
	/* lower ones can be pinned besides, and outlive the upper */
	xe_assert(ext(f, d, PIN2, p[1]) == 0 && ext(f, d, UNPIN, p[3]) == 0);
	xe_assert(!(type_of(f, p[2]) & XE_PGT_COUNT) && (type_of(f, p[0]) & XE_PGT_COUNT) == 1);
	xen_check(f->h);
	xe_assert(ext(f, d, UNPIN, p[1]) == 0 && !(type_of(f, p[5]) & XE_PGT_COUNT));
	/* one bad entry far down: what came before it is given back, with its errno */
	xe_assert(update(f, d, p[0], 400, f->frames << 12 | RO) == 0);
	xe_assert(ext(f, d, PIN4, p[3]) == -EPERM && ext(f, d, PIN1, p[0]) == -EPERM);
	xe_assert(update(f, d, p[0], 400, root << 12 | RW) == 0);
	xe_assert(ext(f, d, PIN3, p[2]) == -EBUSY);
	xe_assert(update(f, d, p[0], 400, p[5] << 12 | RW | 0x10) == 0); /* uncached */
	xe_assert(ext(f, d, PIN3, p[2]) == -EINVAL);
	xe_assert(update(f, d, p[0], 400, p[1] << 12 | RW) == 0); /* writes to its own parent */
	xe_assert(ext(f, d, PIN3, p[2]) == -EBUSY && ext(f, d, PIN1, p[0]) == 0);
	xe_assert(ext(f, d, PIN2, p[1]) == -EINVAL && ext(f, d, UNPIN, p[0]) == 0);
	xen_check(f->h);
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(!(type_of(f, p[i]) & XE_PGT_COUNT) &&
			  f->h->frame[p[i]].count_info == (XE_PGC_ALLOCATED | 1));
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(ext(f, d, CLEAR, p[i]) == 0 &&
			  set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
}

static void test_table_flags(struct fix *f, uint32_t d)
{
	static const uint64_t bad[] = {0x80, 0x100, 0x10, 0x8};
	xe_mfn p[POOL];

	take_pool(f, d, p);
	for (unsigned level = 2; level <= 4; level++) {
		for (unsigned i = 0; i < 4; i++) {
			xe_assert(update(f, d, p[1], 5, p[0] << 12 | RW | bad[i]) == 0);
			xe_assert(ext(f, d, PIN1 + level - 1, p[1]) == -EINVAL);
		}
		xe_assert(ext(f, d, CLEAR, p[1]) == 0 && ext(f, d, PIN1 + level - 1, p[1]) == 0);
		for (unsigned i = 0; i < 4; i++)
			xe_assert(update(f, d, p[1], 5, p[0] << 12 | RW | bad[i]) == -EINVAL);
		xe_assert(update(f, d, p[1], 5, p[0] << 12 | 1) == 0);
		xe_assert((type_of(f, p[0]) & XE_PGT_TYPE) == XE_PGT_LEVEL(level - 1));
		/* flags that decide nothing: no references move, but they are completed */
		xe_assert(update(f, d, p[1], 5, p[0] << 12 | 0xe01 | 1ull << 63) == 0);
		xe_assert(*slot(f, p[1], 5) ==
			  (p[0] << 12 | 0xe05 | 1ull << 63 | (level == 4 ? 0x20 : 0)));
		xe_assert(update(f, d, p[1], 5, p[0] << 12 | 0x80 | 5) == -EINVAL &&
			  update(f, d, p[1], 5, p[0] << 12 | 0x100 | 5) == -EINVAL);
		xe_assert(update_as(f, d, p[1] << 12 | 5 * 8 | 2, p[0] << 12 | 3, SELF) == 0);
		xe_assert(update(f, d, p[1], 6, f->h->domain[0]->vcpu[0]->cr3 << 12 | 1) ==
			  -EINVAL);
		xe_assert(update(f, d, p[1], 6, f->frames << 12 | 1) == -EINVAL);
		xe_assert(update(f, d, p[1], 6, 0xabc0) == 0 && *slot(f, p[1], 6) == 0xabc0);
		xen_check(f->h);
		if (level == 4)
			for (unsigned i = 256; i <= 271; i++)
				xe_assert(update(f, d, p[1], i, 0) == -EINVAL);
		xe_assert(ext(f, d, UNPIN, p[1]) == 0 && !(type_of(f, p[0]) & XE_PGT_COUNT));
		xe_assert(ext(f, d, CLEAR, p[1]) == 0);
	}
	/* level 1: the control domain may set cache attributes, but not of Xen's frames */
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW | 0x18) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | 0xee7 | 1ull << 62) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | 0xe67 | 1ull << 62) == 0);
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
	p[0] = mfn_of(f, 0, VA(FIRST));
	xe_assert(set_va(f, 0, VA(FIRST), p[0] << 12 | RW | 0x18) == 0);
	xe_assert(set_va(f, 0, VA(FIRST), info(f, 0).shared_info_mfn << 12 | RW | 8) == -EACCES);
	xe_assert(set_va(f, 0, VA(FIRST), info(f, 0).shared_info_mfn << 12 | RW) == 0);
	xe_assert(set_va(f, 0, VA(FIRST), p[0] << 12 | RW) == 0);
	xen_check(f->h);
}

static void test_linear(struct fix *f, uint32_t d)
{
	xe_mfn p[POOL];

	take_pool(f, d, p);
	for (unsigned level = 2; level <= 4; level++) {
		uint32_t pin = PIN1 + level - 1;

		/* itself: read-only, without a reference, before or after it is a table */
		xe_assert(update(f, d, p[0], 0, p[0] << 12 | RW) == 0);
		xe_assert(ext(f, d, pin, p[0]) == -EINVAL);
		xe_assert(update(f, d, p[0], 0, p[0] << 12 | RO) == 0 && ext(f, d, pin, p[0]) == 0);
		xe_assert(f->h->frame[p[0]].count_info == (XE_PGC_ALLOCATED | 2));
		xe_assert(update(f, d, p[0], 1, p[0] << 12 | RO) == 0 &&
			  update(f, d, p[0], 1, p[0] << 12 | RW) == -EINVAL);
		/* another that is one already; neither way round after that */
		xe_assert(ext(f, d, pin, p[1]) == 0 && ext(f, d, pin, p[2]) == 0);
		xe_assert(update(f, d, p[0], 2, p[1] << 12 | RO) == 0);
		xe_assert(update(f, d, p[1], 2, p[0] << 12 | RO) == -EINVAL);
		xe_assert(update(f, d, p[1], 2, p[2] << 12 | RO) == -EINVAL);
		xe_assert(update(f, d, p[2], 2, p[0] << 12 | RO) == -EINVAL);
		xe_assert(update(f, d, p[2], 2, p[1] << 12 | RO) == 0);
		xen_check(f->h);
		xe_assert(ext(f, d, UNPIN, p[1]) == 0 && ext(f, d, UNPIN, p[0]) == 0);
		xe_assert(type_of(f, p[1]) == (XE_PGT_LEVEL(level) | XE_PGT_VALIDATED | 1));
		xe_assert(update(f, d, p[2], 2, 0) == 0 && !(type_of(f, p[1]) & XE_PGT_COUNT));
		xe_assert(ext(f, d, UNPIN, p[2]) == 0);
		/* a table in the making may use one, too */
		xe_assert(ext(f, d, pin, p[1]) == 0 && update(f, d, p[2], 7, p[1] << 12 | RO) == 0);
		xe_assert(ext(f, d, pin, p[2]) == 0 && ext(f, d, UNPIN, p[1]) == 0);
		xen_check(f->h);
		xe_assert(ext(f, d, UNPIN, p[2]) == 0);
		for (unsigned i = 0; i < 3; i++)
			xe_assert(ext(f, d, CLEAR, p[i]) == 0);
	}
	xen_check(f->h);
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
}

/* Another root, with the kernel's half of the first one. */
static void test_base_pointers(struct fix *f, uint32_t d)
{
	struct xe_vcpu *v = f->h->domain[d]->vcpu[0];
	xe_mfn p[POOL], root = v->cr3;
	uint64_t x = 5;

	take_pool(f, d, p);
	xe_assert(ext(f, d, BASE, root) == 0 && ext(f, d, BASE, 0) == -EINVAL);
	xe_assert(ext(f, d, BASE, f->frames) == -EINVAL &&
		  ext_as(f, d, BASE, root, 0, 77) == -ESRCH);
	xe_assert(ext_as(f, d, COPY, p[0], root, SELF) == 0 && ext(f, d, BASE, p[0]) == 0);
	xe_assert(v->cr3 == p[0] &&
		  type_of(f, root) == (XE_PGT_LEVEL(4) | XE_PGT_PINNED | XE_PGT_VALIDATED | 1));
	xen_check(f->h);
	/* the old one can go; its tables are still in use */
	xe_assert(ext(f, d, UNPIN, root) == 0 && !(type_of(f, root) & XE_PGT_COUNT));
	xe_assert(xe_guest_read(f->h, d, VA(0), &x, 8) == 0);
	xen_check(f->h);
	/* the slot of the direct map cleared: the guest has lost itself */
	xe_assert(ext(f, d, USER_BASE, p[0]) == 0 && v->user_cr3 == p[0]);
	xe_assert(ext(f, d, USER_BASE, p[0]) == 0 && ext(f, d, USER_BASE, p[1]) == 0);
	xe_assert(ext(f, d, USER_BASE, 0) == 0 && !v->user_cr3 &&
		  !(type_of(f, p[1]) & XE_PGT_COUNT));
	xe_assert(ext(f, d, USER_BASE, f->frames) == -EINVAL);
	xe_assert(ext(f, d, USER_BASE, p[2]) == 0);
	xen_check(f->h);
	xe_assert(ext(f, d, BASE, root) == 0 && ext(f, d, PIN4, root) == 0);
	xe_assert(ext(f, d, USER_BASE, 0) == 0 && !(type_of(f, p[0]) & XE_PGT_COUNT));
	xe_assert(ext(f, d, BASE, p[2]) == 0); /* empty */
	xe_assert(xe_guest_read(f->h, d, VA(0), &x, 8) == -EFAULT);
	xe_assert(hc(f, d, MMUEXT, ARR, 1, 0, SELF) == -EFAULT);
	xen_check(f->h);
}

static void test_update_rules(struct fix *f, uint32_t d, uint32_t e)
{
	xe_mfn p[POOL], foreign = mfn_of(f, e, VA(FIRST)), l1;
	uint64_t u[3][2] = {{0}}, root = f->h->domain[d]->vcpu[0]->cr3;
	uint32_t done = 9;

	take_pool(f, d, p);
	l1 = xe_pte_mfn(*slot(f, xe_pte_mfn(*slot(f, xe_pte_mfn(*slot(f, root, 272)), 0)), 0));
	/* commands */
	for (unsigned c = 4; c < 8; c++)
		xe_assert(update_as(f, d, p[0] << 12 | c, 0, SELF) == -ENOSYS);
	xe_assert(update_as(f, d, p[0] << 12 | 8 | 3, 77, SELF) == 0 && *slot(f, p[0], 1) == 77);
	xe_assert(update_as(f, d, p[0] << 12 | 1, 4242, SELF) == 0 &&
		  f->h->frame[p[0]].m2p == 4242);
	xe_assert(update_as(f, d, foreign << 12 | 1, 0, SELF) == -EINVAL);
	xe_assert(update_as(f, d, foreign << 12, 0, SELF) == -EINVAL &&
		  update_as(f, d, f->frames << 12, 0, SELF) == -EINVAL &&
		  update_as(f, d, ~7ull, 0, SELF) == -EINVAL);
	/* accessed and dirty bits kept, or not */
	xe_assert(update(f, d, l1, FIRST, p[0] << 12 | RW) == 0);
	xe_assert(update_as(f, d, l1 << 12 | FIRST * 8 | 2, p[0] << 12 | 7, SELF) == 0 &&
		  *slot(f, l1, FIRST) == (p[0] << 12 | 0x167));
	xe_assert(update_as(f, d, l1 << 12 | FIRST * 8 | 2, p[1] << 12 | 7, SELF) == 0 &&
		  *slot(f, l1, FIRST) == (p[1] << 12 | 0x167));
	xe_assert(update(f, d, l1, FIRST, p[1] << 12 | 7) == 0 &&
		  *slot(f, l1, FIRST) == (p[1] << 12 | 0x107));
	xe_assert(update(f, d, l1, FIRST, l1 << 12 | 7) == -EBUSY &&
		  update(f, d, l1, FIRST, 0) == 0);
	/* domids: own number, absent, not ours, no domain's */
	xe_assert(update_as(f, d, p[0] << 12, 0, d) == -ESRCH &&
		  update_as(f, d, p[0] << 12, 0, 77) == -ESRCH);
	xe_assert(update_as(f, d, p[0] << 12, 0, e) == -EPERM &&
		  update_as(f, d, p[0] << 12, 0, XEN) == -EPERM);
	xe_assert(update_as(f, d, p[0] << 12, 0, IO) == 0 && update(f, d, p[0], 0, 0) == 0);
	xe_assert(update_as(f, d, p[0] << 12, 0, (d + 1) << 16 | SELF) == 0);
	xe_assert(update_as(f, d, foreign << 12, 0, (e + 1) << 16 | SELF) == -EPERM);
	xe_assert(update_as(f, d, p[0] << 12, 0, 78 << 16 | SELF) == -ESRCH &&
		  update_as(f, d, p[0] << 12 | 1, 0, (e + 1) << 16 | SELF) == -EPERM);
	xe_assert(update_as(f, d, l1 << 12 | FIRST * 8, p[0] << 12 | RW, IO) == -EBUSY);
	xe_assert(update_as(f, d, root << 12 | 8, 0, IO) == -EINVAL);
	/* a batch: how many were done, whatever becomes of the count */
	u[0][0] = u[1][0] = p[0] << 12;
	u[2][0] = 4;
	xe_assert(xe_guest_write(f->h, d, ARR, u, sizeof(u)) == 0);
	xe_assert(hc(f, d, MMU, ARR, 3, ARR + 64, SELF) == -ENOSYS);
	xe_assert(xe_guest_read(f->h, d, ARR + 64, &done, 4) == 0 && done == 2);
	xe_assert(hc(f, d, MMU, ARR, 1ull << 32 | 2, BAD, 1ull << 32 | SELF) == 0);
	xe_assert(hc(f, d, MMU, ARR, 1u << 31 | 2, ARR + 64, SELF) == 0);
	xe_assert(xe_guest_read(f->h, d, ARR + 64, &done, 4) == 0 && done == 4);
	xe_assert(hc(f, d, MMU, 0, 1u << 31, 0, 0xfffffff0) == -16);
	xe_assert(hc(f, d, MMUEXT, 0, 1u << 31, 0, 5) == 5);
	xe_assert(hc(f, d, MMU, BAD, 0, ARR + 64, SELF) == 0 &&
		  hc(f, d, MMU, BAD, 1, 0, 77) == -ESRCH);
	xe_assert(hc(f, d, MMU, 0xffff830000000000, 0, 0, SELF) == -EFAULT &&
		  hc(f, d, MMUEXT, 0xffff830000000000, 0, 0, 77) == -EFAULT);
	xe_assert(hc(f, d, MMU, BAD, 1, 0, SELF) == -EFAULT);
	/* the list of requests unmaps itself: the second is not found any more */
	u[0][0] = l1 << 12 | (ARR - XE_GUEST_BASE) / 4096 * 8;
	u[0][1] = u[1][0] = 0;
	xe_assert(xe_guest_write(f->h, d, ARR, u, sizeof(u)) == 0);
	u[1][0] = mfn_of(f, d, ARR);
	xe_assert(hc(f, d, MMU, ARR, 2, VA(1), SELF) == -EFAULT);
	xe_assert(xe_guest_read(f->h, d, VA(1), &done, 4) == 0 && done == 1);
	xe_assert(set_va(f, d, ARR, u[1][0] << 12 | RW) == 0);
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
	xen_check(f->h);
}

static void test_va(struct fix *f, uint32_t d, uint32_t e)
{
	xe_mfn own = mfn_of(f, d, VA(FIRST)), foreign = mfn_of(f, e, VA(FIRST));
	static const uint64_t none[] = {0x7f0000000000, 0xffff830000000000, 0x800000000000, BAD};

	for (unsigned i = 0; i < 4; i++)
		xe_assert(set_va(f, d, none[i], 0) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST) + 123, own << 12 | RO) == 0);
	xe_assert(set_va(f, d, VA(FIRST), foreign << 12 | RO) == -EBUSY);
	xe_assert(set_va(f, d, VA(FIRST), f->frames << 12 | RO) == -EPERM &&
		  set_va(f, d, VA(FIRST), RO) == -EPERM);
	xe_assert(set_va(f, d, VA(FIRST), 0xffffffffffull << 12 | RO) == -EINVAL);
	xe_assert(set_va(f, d, VA(FIRST), (f->h->nframes - 1) << 12 | RO) == -EBUSY); /* free */
	/* flushes: after the change; a mask is read */
	for (uint64_t fl = 0; fl < 8; fl++)
		xe_assert(hc(f, d, UVM, VA(FIRST), own << 12 | RW, fl, 0) == 0);
	xe_assert(hc(f, d, UVM, VA(FIRST), own << 12 | RW, ARR | 1, 0) == 0 &&
		  hc(f, d, UVM, VA(FIRST), own << 12 | RO, BAD | 2, 0) == -EFAULT);
	xe_assert(xe_guest_write(f->h, d, VA(FIRST), &own, 8) == -EFAULT);
	xe_assert(hc(f, d, UVM, VA(FIRST), own << 12 | RW, BAD | 3, 0) == 0);
	xe_assert(hc(f, d, UVM, VA(FIRST), foreign << 12 | RW, BAD | 1, 0) == -EBUSY);
	/* of another domain: the control domain may */
	xe_assert(hc(f, d, UVM_OTHER, VA(FIRST), own << 12 | RW, 0, SELF) == 0);
	xe_assert(hc(f, d, UVM_OTHER, VA(FIRST), 0, 0, d) == -ESRCH &&
		  hc(f, d, UVM_OTHER, VA(FIRST), 0, 0, 77) == -ESRCH);
	xe_assert(hc(f, d, UVM_OTHER, VA(FIRST), 0, 0, e) == -EPERM &&
		  hc(f, d, UVM_OTHER, VA(FIRST), 0, 0, IO) == -EPERM &&
		  hc(f, d, UVM_OTHER, VA(FIRST), 0, 0, XEN) == -EPERM);
	xe_assert(hc(f, 0, UVM_OTHER, VA(FIRST), foreign << 12 | RW, 0, 0x10000 | d) == -EBUSY);
	xe_assert(hc(f, 0, UVM_OTHER, VA(FIRST), foreign << 12 | RW, 0, IO) == -EBUSY);
	xe_assert(hc(f, 0, UVM_OTHER, VA(FIRST), foreign << 12 | RW, 0, e) == 0);
	xe_assert(ext(f, e, PIN1, foreign) == -EINVAL); /* writable elsewhere */
	xen_check(f->h);
	xe_assert(set_va(f, 0, VA(FIRST), 0) == 0);
	xen_check(f->h);
}

/* The first MiB is no RAM: the control domain's to map, uncached, in its own name or DOMID_IO's. */
static void test_low_memory(struct fix *f, uint32_t d)
{
	xe_mfn own = mfn_of(f, 0, VA(FIRST + 40));
	uint64_t *e, v = 7;
	bool rw;

	for (xe_mfn m = 0; m < XE_LOW_FRAMES; m += XE_LOW_FRAMES - 1) {
		xe_assert(set_va(f, d, VA(FIRST + 40), m << 12 | RW) == -EPERM);
		xe_assert(set_va(f, 0, VA(FIRST + 40), m << 12 | RW) == 0);
		xe_assert(mfn_of(f, 0, VA(FIRST + 40)) == m && !f->h->frame[m].count_info);
		xe_assert(!xe_walk(f->h, xe_domain(f->h, 0)->vcpu[0], VA(FIRST + 40), &e, &rw));
		xe_assert((*e & XE_PTE_CACHE) == (XE_PTE_PCD | XE_PTE_PWT));
		xe_assert(xe_guest_write(f->h, 0, VA(FIRST + 40), &v, 8) == 0);
		xe_assert(ext(f, 0, PIN1, m) == -EINVAL);
	}
	xe_assert(hc(f, 0, 22, VA(FIRST + 40), 1 << 12 | RW, 0, XE_ABI_domid_IO) == 0);
	xe_assert(hc(f, 0, 22, VA(FIRST + 40), 1 << 12 | RW, 0, XE_ABI_domid_XEN) == -EPERM);
	xe_assert(hc(f, 0, 22, VA(FIRST + 40), 1 << 12 | RW, 0, d) == -EPERM);
	xe_assert(set_va(f, 0, VA(FIRST + 40), own << 12 | RW) == 0);
	xen_check(f->h);
}

static void test_ext_ops(struct fix *f, uint32_t d, uint32_t e)
{
	struct xe_vcpu *v = f->h->domain[d]->vcpu[0];
	xe_mfn p[POOL], foreign = mfn_of(f, e, VA(FIRST));
	static const uint32_t own[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 18};
	struct xe_mmuext_op o[3] = {{.cmd = 6}, {.cmd = 6}, {.cmd = 99}};
	uint32_t done = 0;

	take_pool(f, d, p);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		xe_assert(ext_as(f, 0, own[i], 0, VA(0), d) == -EPERM);
	xe_assert(ext(f, d, 14, 0) == -ENOSYS && ext(f, d, 21, 0) == -ENOSYS &&
		  ext(f, d, UINT32_MAX, 0) == -ENOSYS && ext_as(f, 0, 99, 0, 0, d) == -ENOSYS);
	xe_assert(ext(f, d, 19, 0) == -EOPNOTSUPP && ext_as(f, 0, 20, 0, 0, d) == -EOPNOTSUPP);
	xe_assert(ext_as(f, d, 6, 0, 0, e) == -EPERM && ext_as(f, d, 6, 0, 0, d) == -ESRCH &&
		  ext_as(f, d, 6, 0, 0, IO) == -EPERM &&
		  ext_as(f, 0, PIN1, p[0], 0, IO) == -EINVAL);
	for (uint32_t c = 6; c <= 11; c++)
		xe_assert(ext_as(f, d, c, 0xffff830000000000, VA(0), SELF) == 0);
	xe_assert(ext_as(f, d, 8, 0, BAD, SELF) == -EINVAL &&
		  ext_as(f, d, 9, 0, 0, SELF) == -EINVAL);
	xe_assert(ext(f, d, 12, 0) == -EACCES && ext(f, d, 18, 0) == -EINVAL);
	xe_assert(ext(f, 0, 12, 0) == 0 && ext(f, 0, 18, 0) == 0);
	xe_assert(ext_as(f, d, 13, VA(3), 8192, SELF) == 0 && v->ldt_ents == 8192 &&
		  v->ldt_base == VA(3));
	xe_assert(ext_as(f, d, 13, VA(3), 8193, SELF) == -EINVAL &&
		  ext_as(f, d, 13, VA(3) + 8, 1, SELF) == -EINVAL &&
		  ext_as(f, d, 13, 0xffff830000000000, 1, SELF) == -EINVAL && v->ldt_ents == 8192);
	xe_assert(ext_as(f, d, 13, 0xffff830000000001, 0, SELF) == 0 && !v->ldt_ents &&
		  !v->ldt_base);
	/* pages */
	*slot(f, p[0], 9) = 99;
	xe_assert(ext_as(f, d, COPY, p[1], p[0], SELF) == 0 && *slot(f, p[1], 9) == 99);
	xe_assert(ext_as(f, d, COPY, p[1], foreign, SELF) == -EINVAL &&
		  ext_as(f, d, COPY, foreign, p[1], SELF) == -EINVAL &&
		  ext_as(f, d, COPY, f->frames, p[1], SELF) == -EINVAL &&
		  ext_as(f, d, COPY, v->cr3, p[1], SELF) == -EINVAL &&
		  ext_as(f, d, COPY, p[2], v->cr3, SELF) == 0);
	xe_assert(ext(f, d, CLEAR, p[1]) == 0 && !*slot(f, p[1], 9));
	xe_assert(ext(f, d, CLEAR, v->cr3) == -EINVAL && ext(f, d, CLEAR, foreign) == -EINVAL &&
		  ext(f, d, CLEAR, f->frames) == -EINVAL && ext(f, d, CLEAR, 0) == -EINVAL);
	/* what the control domain does to others: also pins, until they die */
	xe_assert(ext_as(f, 0, CLEAR, p[0], 0, d) == 0 && !*slot(f, p[0], 9));
	xe_assert(ext_as(f, 0, PIN1, p[0], 0, d) == 0 && ext(f, d, UNPIN, p[0]) == 0);
	xe_assert(xe_guest_write(f->h, d, ARR, o, sizeof(o)) == 0);
	xe_assert(hc(f, d, MMUEXT, ARR, 3, VA(1), SELF) == -ENOSYS);
	xe_assert(xe_guest_read(f->h, d, VA(1), &done, 4) == 0 && done == 2);
	xe_assert(hc(f, d, MMUEXT, ARR, 2, BAD, SELF) == 0);
	xen_check(f->h);
}

/* Whatever refers to what: all goes with the domain, but what others map. */
static void test_teardown(bool release)
{
	struct fix f;
	xe_mfn p[POOL], page, pg;
	uint32_t d;
	uint64_t u;

	start(&f, FRAMES, release);
	for (int way = 0; way < 4; way++) {
		d = guest(&f);
		take_pool(&f, d, p);
		xe_assert(update(&f, d, p[3], 0, p[2] << 12 | RW) == 0);
		xe_assert(update(&f, d, p[3], 1, p[4] << 12 | RW) == 0);
		xe_assert(update(&f, d, p[2], 0, p[1] << 12 | RW) == 0);
		xe_assert(update(&f, d, p[1], 0, p[0] << 12 | RW) == 0);
		xe_assert(update(&f, d, p[0], 0, p[5] << 12 | RW) == 0);
		xe_assert(update(&f, d, p[0], 1, p[3] << 12 | RO) == 0);
		xe_assert(ext(&f, d, PIN4, p[3]) == 0 && ext(&f, d, PIN1, p[0]) == 0);
		if (way & 1) { /* tables given up while they are in use */
			for (unsigned i = 0; i < 6; i++)
				set_arr(&f, d, i, p[i]);
			xe_assert(mem(&f, d, 1, 6, 0, SELF) == 6);
			xe_assert(info(&f, d).tot_pages == PAGES); /* all are referenced yet */
		}
		if (way & 2)
			xe_assert(ext(&f, d, PIN4, p[6]) == 0 && ext(&f, d, BASE, p[6]) == 0);
		else
			xe_assert(ext(&f, d, USER_BASE, p[3]) == 0);
		xen_check(f.h);
		/* the control domain keeps two pages, one of them a table until now */
		page = p[7];
		pg = p[0];
		xe_assert(hc(&f, 0, UVM_OTHER, VA(FIRST), page << 12 | RW, 0, d) == 0);
		xe_assert(hc(&f, 0, UVM_OTHER, VA(FIRST + 1), pg << 12 | RO, 0, d) == 0);
		xe_assert(xe_domain_destroy(f.h, d) == 0);
		xen_check(f.h);
		xe_assert(info(&f, d).dying && info(&f, d).tot_pages == 2);
		xe_assert(!(type_of(&f, pg) & XE_PGT_COUNT));
		/* a zombie's frames can still be had, but nothing of it can be kept */
		xe_assert(hc(&f, 0, UVM_OTHER, VA(FIRST + 2), pg << 12 | RW, 0, d) == 0);
		xe_assert(set_va(&f, 0, VA(FIRST + 2), 0) == 0);
		u = f.h->frame[pg].count_info;
		xe_assert(ext_as(&f, 0, PIN1, pg, 0, d) == -EBUSY); /* names what is gone */
		xe_assert(ext_as(&f, 0, CLEAR, pg, 0, d) == 0);
		xe_assert(ext_as(&f, 0, PIN1, pg, 0, d) == 0 && !(type_of(&f, pg) & XE_PGT_COUNT));
		xe_assert(f.h->frame[pg].count_info == u);
		xen_check(f.h);
		xe_assert(set_va(&f, 0, VA(FIRST + 1), 0) == 0 && info(&f, d).tot_pages == 1);
		xe_assert(set_va(&f, 0, VA(FIRST), 0) == 0 && !info(&f, d).exists);
		xe_assert(xe_host_free_pages(f.h) == f.base);
		xen_check(f.h);
	}
	stop(&f);
}

static void test_grant_entries(struct fix *f, uint32_t d)
{
	struct xe_vcpu *v = f->h->domain[d]->vcpu[0];
	xe_mfn p[POOL], l1;
	uint64_t old, at, pte;

	take_pool(f, d, p);
	l1 = xe_pte_mfn(*slot(f, xe_pte_mfn(*slot(f, xe_pte_mfn(*slot(f, v->cr3, 272)), 0)), 0));
	xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW) == 0);
	xe_assert(xe_get_page_and_type(f->h, p[1], v->domain, XE_PGT_WRITABLE) == 0);
	pte = p[1] << 12 | RW;
	xe_assert(xe_grant_pte_set(f->h, v, VA(FIRST), false, pte, &old) == 0);
	xe_assert(old == (p[0] << 12 | 0x167) &&
		  f->h->frame[p[0]].count_info == (XE_PGC_ALLOCATED | 1));
	xen_check(f->h);
	at = l1 << 12 | FIRST * 8;
	xe_assert(xe_grant_pte_clear(f->h, v, at, true, p[0] << 12 | 3, 0) == -EINVAL &&
		  xe_grant_pte_clear(f->h, v, at, true, p[1] << 12 | 1, 0) == -EINVAL &&
		  xe_grant_pte_clear(f->h, v, at + 4, true, p[1] << 12 | 3, 0) == -EINVAL &&
		  xe_grant_pte_clear(f->h, v, f->frames << 12, true, p[1] << 12 | 3, 0) ==
			  -EINVAL &&
		  xe_grant_pte_clear(f->h, v, p[3] << 12, true, p[1] << 12 | 3, 0) == -EINVAL &&
		  xe_grant_pte_clear(f->h, v, BAD, false, p[1] << 12 | 3, 0) == -EINVAL);
	xe_assert(xe_guest_write(f->h, d, VA(FIRST), &old, 8) == 0);
	/* another entry in its place */
	xe_assert(set_va(f, d, VA(FIRST + 1), p[2] << 12 | RO) == 0);
	xe_assert(xe_grant_pte_move(f->h, v, VA(FIRST), p[1] << 12 | 3, VA(FIRST + 1)) == 0);
	xe_put_page_and_type(f->h, p[1]);
	xe_assert(mfn_of(f, d, VA(FIRST)) == p[2] && !*slot(f, l1, FIRST + 1));
	xen_check(f->h);
	xe_assert(xe_grant_pte_move(f->h, v, VA(FIRST), p[1] << 12 | 3, VA(FIRST)) == -EINVAL);
	xe_assert(!*slot(f, l1, FIRST) && f->h->frame[p[2]].count_info == (XE_PGC_ALLOCATED | 1));
	xe_assert(xe_grant_pte_move(f->h, v, VA(FIRST), 0, BAD) == -EINVAL);
	xe_assert(xe_grant_pte_set(f->h, v, v->cr3 << 12, true, pte, &old) == -EINVAL);
	xen_check(f->h);
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
}

static void test_descriptors(struct fix *f, uint32_t d)
{
	const struct xe_domain *dom = f->h->domain[d];
	xe_mfn p[POOL];
	static const struct {
		uint64_t desc, becomes; /* 0: refused */
	} t[] = {
		{0, 0},
		{0x1234567812345678 & ~(1ull << 47), 0x1234567812345678 & ~(1ull << 47)},
		{0x00cf9a000000ffff, 0x00cffa000000ffff}, /* code, privilege 0 */
		{0x00cff3000000ffff, 0x00cff3000000ffff},
		{0x0000800000000000, 0x0000800000000000}, /* type 0 */
		{0x0000820000000000, 0}, /* LDT */
		{0x00008e0000100000, 0}, /* interrupt gate */
		{0x00008c0000100000, 0x00008c0000130000}, /* call gate to a segment of its own */
		{0x00008c0000040000, 0x00008c0000070000},
		{0x00008c01e0080000, 0}, /* reserved bits; Xen's segments */
		{0x00008c00e0080000, 0},
		{0x00008c00e0330000, 0x00008c00e0330000},
		{0x00008c00e00c0000, 0x00008c00e00f0000}, /* LDT */
	};

	take_pool(f, d, p);
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bool ok = t[i].becomes || !t[i].desc;

		xe_assert(update(f, d, p[0], 511, t[i].desc) == 0);
		xe_assert(xe_get_page_and_type(f->h, p[0], dom, XE_PGT_SEG_DESC) ==
			  (ok ? 0 : -EINVAL));
		if (!ok)
			continue;
		xe_assert(*slot(f, p[0], 511) == t[i].becomes);
		xe_assert(update(f, d, p[0], 511, 0) == -EINVAL &&
			  ext(f, d, PIN1, p[0]) == -EINVAL);
		xe_assert(set_va(f, d, VA(FIRST), p[0] << 12 | RW) == -EBUSY);
		xe_put_page_and_type(f->h, p[0]);
	}
	for (unsigned i = 0; i < POOL; i++)
		xe_assert(ext(f, d, CLEAR, p[i]) == 0 &&
			  set_va(f, d, VA(FIRST + i), p[i] << 12 | RW) == 0);
	xen_check(f->h);
}

/* A log's frames: mapped by who may, through any table, cleared from all when fenced; no tables. */
static void test_log(void)
{
	struct fix f;
	xe_mfn p[POOL], ext0, log, l2, root;
	uint32_t d;
	uint64_t x;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(mem(&f, d, 6, 1, 9, SELF) == 1);
	ext0 = arr(&f, d, 0);
	log = ext0 + 3;
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = d) == 0);
	/* a table in it: no log */
	xe_assert(ext(&f, d, PIN1, log) == 0);
	set_arr(&f, d, 0, ext0);
	xe_assert(ZL(&f, d, REGISTER_LOG, .addr = ARR, .count = 1) == -EPERM);
	xe_assert(ext(&f, d, UNPIN, log) == 0);
	set_arr(&f, d, 0, ext0);
	xe_assert(ZL(&f, d, REGISTER_LOG, .addr = ARR, .count = 1) == 0);
	for (uint32_t c = PIN1; c <= PIN4; c++)
		xe_assert(ext(&f, d, c, log) == -EINVAL);
	/* a level 1 table of its own making, reached by a level 2 of the window */
	take_pool(&f, d, p);
	for (unsigned i = 0; i < 4; i++)
		xe_assert(update(&f, d, p[0], i, (log + i) << 12 | RW) == 0);
	xe_assert(update(&f, d, p[1], 0, log << 12 | RW) == 0); /* pinned, mapped nowhere */
	xe_assert(ext(&f, d, PIN1, p[0]) == 0 && ext(&f, d, PIN1, p[1]) == 0);
	root = f.h->domain[d]->vcpu[0]->cr3;
	l2 = xe_pte_mfn(*slot(&f, xe_pte_mfn(*slot(&f, root, XE_LOG_WINDOW >> 39 & 511)), 0));
	xe_assert(update(&f, d, l2, 7, p[0] << 12 | RW) == 0);
	xe_assert(update(&f, d, l2, 8, log << 12 | RW) == -EINVAL); /* the log as a table */
	xe_assert(xe_guest_write(f.h, d, XE_LOG_WINDOW + (7 << 21), "log", 4) == 0);
	xe_assert(ext(&f, d, CLEAR, log) == 0 && ext_as(&f, d, COPY, p[2], log, SELF) == 0);
	xe_assert(hc(&f, 0, UVM_OTHER, VA(FIRST), log << 12 | RO, 0, d) == -EBUSY);
	xe_assert(ext_as(&f, 0, CLEAR, log, 0, d) == -EINVAL &&
		  ext_as(&f, 0, COPY, p[2], log, d) == -EINVAL);
	xen_check(f.h);
	xe_assert(xe_vzs_fence(f.h, d) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_LOG_WINDOW + (7 << 21), &x, 8) == -EFAULT);
	for (unsigned i = 0; i < 4; i++)
		xe_assert(!*slot(&f, p[0], i));
	xe_assert(!*slot(&f, p[1], 0) && !(type_of(&f, log) & XE_PGT_COUNT));
	xen_check(f.h);
	/* and none comes back */
	xe_assert(update(&f, d, p[0], 0, log << 12 | RO) == -EBUSY &&
		  update_as(&f, d, log << 12, 0, SELF) == -EINVAL);
	xe_assert(update(&f, d, p[2], 0, log << 12 | RO) == 0 && ext(&f, d, PIN1, p[2]) == -EBUSY);
	xe_assert(ext(&f, d, CLEAR, log) == -EINVAL &&
		  ext_as(&f, d, COPY, p[3], log, SELF) == -EINVAL);
	xen_check(f.h);
	xe_assert(xe_domain_destroy(f.h, d) == 0);
	xen_check(f.h);
	stop(&f);
}

/* Two virtual CPUs, shared tables, writes through one address and reads through another. */
static void test_tlb(void)
{
	struct fix f;
	struct xe_domain_config c = {.pages = PAGES, .max_pages = PAGES, .max_vcpus = 2};
	struct xe_vcpu *v[2];
	xe_mfn p[POOL], l1, l2;
	uint32_t d;
	uint64_t x = 1, far = XE_GUEST_BASE + (100 << 21);

	start(&f, FRAMES, true);
	xe_assert(xe_domain_create(f.h, &c, &d) == 0);
	take_pool(&f, d, p);
	v[0] = f.h->domain[d]->vcpu[0];
	v[1] = f.h->domain[d]->vcpu[1];
	l2 = xe_pte_mfn(*slot(&f, xe_pte_mfn(*slot(&f, v[0]->cr3, 272)), 0));
	l1 = xe_pte_mfn(*slot(&f, l2, 0));
	v[1]->cr3 = v[0]->cr3;
	xe_assert(xe_get_page_and_type(f.h, v[1]->cr3, v[1]->domain, XE_PGT_LEVEL(4)) == 0);
	/* the level 1 table twice: a change is seen at both addresses, on both CPUs */
	xe_assert(update(&f, d, l2, 100, l1 << 12 | RW) == 0);
	xe_assert(set_va(&f, d, VA(FIRST), p[0] << 12 | RW) == 0);
	for (int i = 0; i < 2; i++)
		xe_assert(xe_copy_to(f.h, v[i], far + FIRST * 4096, &x, 8) == 0);
	xe_assert(set_va(&f, d, VA(FIRST), p[1] << 12 | RO) == 0);
	for (int i = 0; i < 2; i++)
		xe_assert(xe_copy_from(f.h, v[i], &x, far + FIRST * 4096, 8) == 0 && !x &&
			  xe_copy_to(f.h, v[i], far + FIRST * 4096, &x, 8) == -EFAULT);
	xen_check(f.h);
	/* read-only at level 2 is enough */
	xe_assert(set_va(&f, d, VA(FIRST), p[1] << 12 | RW) == 0);
	xe_assert(xe_copy_to(f.h, v[1], far + FIRST * 4096, &x, 8) == 0);
	xe_assert(update(&f, d, l2, 100, l1 << 12 | RO) == 0);
	xe_assert(xe_copy_to(f.h, v[1], far + FIRST * 4096, &x, 8) == -EFAULT &&
		  xe_copy_from(f.h, v[1], &x, far + FIRST * 4096, 8) == 0);
	xe_assert(update(&f, d, l2, 100, 0) == 0);
	xe_assert(xe_copy_from(f.h, v[1], &x, far + FIRST * 4096, 8) == -EFAULT);
	/* generations run out */
	xe_assert(xe_copy_from(f.h, v[0], &x, VA(0), 8) == 0);
	v[0]->tlb_gen = UINT32_MAX >> 1;
	xe_tlb_flush(v[0]);
	xe_assert(v[0]->tlb_gen == 1 && xe_copy_from(f.h, v[0], &x, VA(0), 8) == 0);
	xen_check(f.h);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

int main(void)
{
	struct fix f;
	uint32_t d, e;

	start(&f, FRAMES, true);
	d = guest(&f);
	e = guest(&f);
	xen_check(f.h);
	test_pins(&f, d);
	test_table_flags(&f, d);
	test_linear(&f, d);
	test_update_rules(&f, d, e);
	test_va(&f, d, e);
	test_low_memory(&f, d);
	test_grant_entries(&f, d);
	test_descriptors(&f, d);
	test_ext_ops(&f, d, e);
	test_base_pointers(&f, e);
	xe_assert(xe_domain_destroy(f.h, e) == 0 && xe_domain_destroy(f.h, d) == 0);
	xen_check(f.h);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	stop(&f);
	test_teardown(true);
	test_teardown(false);
	test_log();
	test_tlb();
	puts("mm: ok");
	return 0;
}
