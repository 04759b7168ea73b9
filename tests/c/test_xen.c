/* The host: frames, zombies, page walks, event channels, pairs, recoveries; all by hypercalls
 * whose arguments go through guest memory. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/abi.h"
#include "base/assert.h"
#include "xen/host.h"

enum { FRAMES = 16384, PAGES = 1024, EXTENTS = 2, LOG_PAGES = EXTENTS * 512 };

#define ARG (XE_GUEST_BASE + 0x1ff0) /* crosses a page */
#define ARR (XE_GUEST_BASE + 0x3000)
#define BAD 0xdeadbeef000ull
#define ZL(f, d, cmd, ...) zl(f, d, XE_ABI_zl_##cmd, &(struct xe_zl_arg){__VA_ARGS__})

struct fix {
	struct xe_host *h;
	uint8_t *mem;
	uint64_t frames, base;
	uint32_t p; /* the primary */
};

static void punch(void *ctx, xe_mfn mfn, uint64_t n)
{
	struct fix *f = ctx;

	xe_assert(mfn + n <= f->frames);
	xe_assert(madvise(f->mem + mfn * 4096, n * 4096, MADV_DONTNEED) == 0);
}

static void start(struct fix *f, uint64_t frames, bool release)
{
	struct xe_host_config cfg = {.frames = frames, .release_ctx = f};
	struct xe_domain_config dom0 = {.pages = PAGES, .max_pages = PAGES, .privileged = true};
	uint32_t id = 9;

	f->frames = frames;
	f->mem = mmap(NULL, frames * 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	xe_assert(f->mem != MAP_FAILED);
	cfg.memory = f->mem;
	cfg.release = release ? punch : NULL;
	xe_assert(xe_host_create(&f->h, &cfg) == 0);
	xe_assert(xe_domain_create(f->h, &dom0, &id) == 0 && id == 0);
	xe_assert(xe_domain_unpause(f->h, 0) == 0);
	f->base = xe_host_free_pages(f->h);
}

static void stop(struct fix *f)
{
	xe_host_destroy(f->h);
	munmap(f->mem, f->frames * 4096);
}

static uint32_t guest(struct fix *f)
{
	struct xe_domain_config c = {
		.pages = PAGES, .max_pages = PAGES + LOG_PAGES, .window_pages = LOG_PAGES};
	uint32_t id;

	xe_assert(xe_domain_create(f->h, &c, &id) == 0);
	xe_assert(xe_domain_unpause(f->h, id) == 0);
	return id;
}

static int64_t hc(struct fix *f, uint32_t d, uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
		  uint64_t e)
{
	uint64_t arg[5] = {a, b, c, e};

	return xe_hypercall(f->h, d, nr, arg, 0);
}

static int64_t op(struct fix *f, uint32_t d, uint32_t nr, uint64_t cmd, void *arg, size_t n)
{
	int64_t r;

	xe_assert(xe_guest_write(f->h, d, ARG, arg, n) == 0);
	r = hc(f, d, nr, cmd, ARG, 0, 0);
	xe_assert(xe_guest_read(f->h, d, ARG, arg, n) == 0);
	return r;
}

static int64_t zl(struct fix *f, uint32_t d, uint32_t cmd, struct xe_zl_arg *a)
{
	return op(f, d, 55, cmd, a, sizeof(*a));
}

static int64_t ev(struct fix *f, uint32_t d, uint32_t cmd, uint32_t *a)
{
	return op(f, d, 32, cmd, a, 24);
}

static int64_t domctl(struct fix *f, uint32_t d, uint32_t cmd, uint32_t version, uint16_t target,
		      uint8_t op[144])
{
	int64_t r;

	memcpy(op, &cmd, 4);
	memcpy(op + 4, &version, 4);
	memcpy(op + 8, &target, 2);
	xe_assert(xe_guest_write(f->h, d, ARG, op, 144) == 0);
	r = hc(f, d, 36, ARG, 0, 0, 0);
	xe_assert(xe_guest_read(f->h, d, ARG, op, 144) == 0);
	return r;
}

static int64_t mem(struct fix *f, uint32_t d, uint32_t cmd, uint64_t n, uint32_t order,
		   uint16_t dom)
{
	struct {
		uint64_t start, n;
		uint32_t order, flags;
		uint16_t dom, pad[3];
	} r = {ARR, n, order, 0, dom, {0}};

	return op(f, d, 12, cmd, &r, sizeof(r));
}

static uint64_t arr(struct fix *f, uint32_t d, unsigned i)
{
	uint64_t v;

	xe_assert(xe_guest_read(f->h, d, ARR + i * 8, &v, 8) == 0);
	return v;
}

static void set_arr(struct fix *f, uint32_t d, unsigned i, uint64_t v)
{
	xe_assert(xe_guest_write(f->h, d, ARR + i * 8, &v, 8) == 0);
}

static int64_t map(struct fix *f, uint32_t d, uint64_t va, xe_mfn mfn)
{
	return hc(f, d, 14, va, mfn ? mfn << 12 | 0x67 : 0, 0, 0);
}

static struct xe_domain_info info(struct fix *f, uint32_t d)
{
	struct xe_domain_info i;

	xe_domain_info(f->h, d, &i);
	return i;
}

static struct xe_pair_info pair(struct fix *f, uint32_t d)
{
	struct xe_pair_info i;

	xe_assert(xe_pair_info(f->h, d, &i) == 0);
	return i;
}

/* The next VMM event, skipping upcalls; it must be this one. */
static void expect(struct fix *f, uint32_t event, uint32_t node, uint64_t a)
{
	struct xe_work w;

	do
		xe_assert(xe_host_next_work(f->h, &w));
	while (w.kind == XE_WORK_UPCALL);
	xe_assert(w.kind == XE_WORK_VMM && w.arg == event && w.node == node && w.a == a);
}

static void expect_none(struct fix *f)
{
	struct xe_work w;

	while (xe_host_next_work(f->h, &w))
		xe_assert(w.kind == XE_WORK_UPCALL);
}

static void test_memory(bool release)
{
	struct fix f;
	uint64_t ma, v = 0x1122334455667788, usable, maddr2;
	uint32_t d;
	uint8_t buf[8192], zero[4096] = {0};
	uint16_t dom = 77;

	start(&f, FRAMES, release);
	d = guest(&f);
	usable = info(&f, d).usable_pages;
	xe_assert(info(&f, d).tot_pages == PAGES && info(&f, d).refs == 2 &&
		  info(&f, d).ip == 0x0a000003);
	xe_assert(f.base - xe_host_free_pages(f.h) == PAGES);
	for (uint64_t p = 0; p < PAGES; p++)
		xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + p * 4096, &ma) == 0);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + PAGES * 4096ull, &ma) == -EFAULT);
	xe_assert(xe_guest_translate(f.h, d, 0x0001880000000000ull, &ma) == -EFAULT);
	xe_assert(xe_guest_translate(f.h, d, XE_LOG_WINDOW, &ma) == -EFAULT);
	xe_assert(xe_guest_write(f.h, d, XE_GUEST_BASE + 4092, &v, 8) == 0);
	v = 0;
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + 4092, &v, 8) == 0 &&
		  v == 0x1122334455667788);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + 5, &ma) == 0 && ma % 4096 == 5);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + info(&f, d).p2m_pfn * 4096, &v, 8) == 0 &&
		  v == ma >> 12);
	xe_assert(xe_guest_write(f.h, d, XE_GUEST_BASE + (PAGES - 1) * 4096ull, &v, 8) ==
		  -EFAULT); /* a table */
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + (PAGES - 1) * 4096ull, buf, 8192) ==
		  -EFAULT);
	xe_assert(xe_guest_read(f.h, d, UINT64_MAX - 3, buf, 8) == -EFAULT);
	xe_assert(xe_guest_read(f.h, 33, XE_GUEST_BASE, buf, 8) == -EFAULT);

	/* reservation */
	xe_assert(mem(&f, d, 0, 1, 0, 0x7ff0) == 1);
	xe_assert(mem(&f, d, 0, 1, 30, 0x7ff0) == 0 && mem(&f, d, 0, 1, 0, 77) == 0 &&
		  mem(&f, d, 0, 0, 0, 0x7ff0) == 0);
	xe_assert(mem(&f, d, 0, 1, 0, 0) == -EPERM && hc(&f, d, 12, 0, BAD, 0, 0) == 0);
	xe_assert(hc(&f, d, 12, 60, 0, 0, 0) == -ENOSYS && op(&f, d, 12, 3, &dom, 2) == -ESRCH);
	dom = 0x7ff0;
	xe_assert(op(&f, d, 12, 3, &dom, 2) == PAGES + 1 &&
		  op(&f, d, 12, 4, &dom, 2) == PAGES + LOG_PAGES);
	v = arr(&f, d, 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, v) == 0);
	xe_assert(xe_guest_write(f.h, d, XE_LOG_WINDOW, "dirty", 5) == 0);
	xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 1 &&
		  info(&f, d).tot_pages == PAGES + 1); /* mapped: stays */
	xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0) == 0 && info(&f, d).tot_pages == PAGES);
	xe_assert(xe_guest_read(f.h, d, XE_LOG_WINDOW, buf, 1) == -EFAULT); /* the TLB knows */
	xe_assert(mem(&f, d, 6, 1, 0, 0x7ff0) == 1 && arr(&f, d, 0) == v);
	xe_assert(map(&f, d, XE_LOG_WINDOW, v) == 0 &&
		  xe_guest_read(f.h, d, XE_LOG_WINDOW, buf, 4096) == 0);
	xe_assert(!memcmp(buf, zero, 4096));
	xe_assert(mem(&f, d, 6, 3, 9, 0x7ff0) == 1); /* the second would go over max_pages */
	xe_assert(arr(&f, d, 0) % 512 == 0);

	/* mappings that Xen refuses */
	xe_assert(map(&f, d, 0x7f0000000000, 0) == -EINVAL &&
		  map(&f, d, 0xffff830000000000, 0) == -EINVAL);
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0xfffffffff) == -EPERM);
	xe_assert(xe_guest_translate(f.h, 0, XE_GUEST_BASE, &maddr2) == 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, maddr2 >> 12) == -EBUSY);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + (PAGES - 1) * 4096ull, &ma) == 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, ma >> 12) == -EBUSY); /* a table, writable */
	uint64_t up[2] = {ma, 5};
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == -EINVAL); /* L4 */
	xe_assert(hc(&f, d, 1, ARR, 1, 0, 77) == -ESRCH &&
		  hc(&f, d, 1, BAD, 1, 0, 0x7ff0) == -EFAULT);
	xe_assert(hc(&f, d, 1, ARR, 1, 0, 0) == -EPERM);
	up[0] = 3;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == -EINVAL);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE, &ma) == 0);
	up[0] = ma;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, ARR + 64, 0x7ff0) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE, &v, 8) == 0 && v == 5 &&
		  arr(&f, d, 8) << 32 >> 32 == 1);
	/* the first L1 entry of the direct map: page 0 unmapped through its table */
	uint64_t l1 = info(&f, d).p2m_pfn + (PAGES + LOG_PAGES) * 8 / 4096;
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + l1 * 4096, &ma) == 0);
	up[0] = ma;
	up[1] = 0;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 && hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE, &v, 8) == -EFAULT);
	xe_assert(usable < PAGES && xe_domain_destroy(f.h, d) == 0 &&
		  xe_domain_destroy(f.h, d) == -ESRCH);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	d = guest(&f);
	for (uint64_t p = 0; p < usable; p++) {
		xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + p * 4096, buf, 4096) == 0);
		xe_assert(!memcmp(buf, zero, 4096));
	}
	stop(&f);
}

static void test_evtchn_sched(void)
{
	struct fix f;
	uint32_t d, e, a[6], l1, reason = 3;
	uint8_t o[144];
	char text[8] = {0};
	struct xe_work w;

	start(&f, FRAMES, true);
	d = guest(&f);
	e = guest(&f);
#define EV(dom, cmd, ...) ev(&f, dom, cmd, memcpy(a, (uint32_t[6]){__VA_ARGS__}, 24))
#define SELF2 0x7ff07ff0u
	xe_assert(EV(d, 6, SELF2) == 0 && a[1] == 1);
	xe_assert(EV(0, 6, 0x7ff0u << 16 | 5) == -ESRCH && EV(d, 6, 0x7ff0u << 16) == -EPERM);
	xe_assert(EV(d, 6, 77u << 16 | 0x7ff0) == 0 && a[1] == 2);
	xe_assert(hc(&f, d, 32, 6, BAD, 0, 0) == -EFAULT && EV(d, 99, 0) == -ENOSYS);
	xe_assert(EV(d, 5, 0x7ff0, 1) == 0 && a[2] == 1 && EV(d, 4, 1) == 0);
	xe_assert(EV(d, 0, 0x7ff0, 1) == 0 && a[2] == 3);
	l1 = 3;
	xe_assert(xe_next_pending_port(f.h, d) == 3 && xe_next_pending_port(f.h, d) == -1);
	xe_assert(xe_host_next_work(f.h, &w) && w.kind == XE_WORK_UPCALL && w.node == d);
	xe_assert(EV(d, 0, 0x7ff0, 1) == -EINVAL && EV(d, 0, 0x7ff0, 2) == -EINVAL &&
		  EV(d, 0, 0x7ff0, 60) == -EINVAL);
	xe_assert(EV(d, 0, 0x7ff0, 4096) == -EINVAL && EV(d, 0, 77, 1) == -ESRCH);
	xe_assert(EV(d, 5, 0x7ff0, l1) == 0 && a[2] == 2 && EV(d, 5, 0x7ff0, 60) == 0 && a[2] == 0);
	xe_assert(EV(d, 5, 0x7ff0, 4096) == -EINVAL && EV(d, 5, 0x7ff0, 0) == 0 &&
		  EV(d, 5, 77, 1) == -ESRCH);
	xe_assert(EV(d, 4, l1) == 0 && EV(d, 4, 60) == -EINVAL && EV(d, 4, 4096) == -EINVAL &&
		  EV(d, 4, 0) == -EINVAL);
	xe_assert(xe_next_pending_port(f.h, d) == 1);
	xe_assert(EV(d, 1, 0, 0) == 0 && a[2] == 4 && EV(d, 1, 0, 0) == -EEXIST &&
		  EV(d, 1, 24, 0) == -EINVAL);
	xe_assert(EV(d, 1, 1, 5) == -ENOENT && EV(d, 1, 3, 1) == -EINVAL && EV(d, 1, 3, 0) == 0 &&
		  a[2] == 5);
	xe_assert(EV(d, 4, 4) == -EINVAL && EV(d, 7, 0) == 0 && a[1] == 6 &&
		  EV(d, 7, 9) == -ENOENT && EV(d, 4, 6) == 0);
	xe_assert(EV(d, 8, 6, 0) == -EINVAL && EV(d, 8, 4, 0) == -EINVAL && EV(d, 8, 5, 0) == 0 &&
		  EV(d, 8, l1, 0) == 0);
	xe_assert(EV(d, 8, 60, 9) == -ENOENT && EV(d, 8, 4096, 0) == -EINVAL);
	xe_assert(EV(d, 9, l1) == 0 && EV(d, 9, 60) == 0 && EV(d, 9, 4096) == -EINVAL);
	xe_assert(EV(d, 3, l1) == 0 && EV(d, 3, l1) == -EINVAL && EV(d, 5, 0x7ff0, 1) == 0 &&
		  a[2] == 1);
	xe_assert(EV(d, 3, 0) == -EINVAL && EV(d, 3, 4096) == -EINVAL && EV(d, 10, 77) == -ESRCH);
	xe_assert(EV(0, 10, d) == -EINVAL && EV(d, 10, 0x7ff0) == 0 && EV(d, 5, 0x7ff0, 1) == 0 &&
		  a[2] == 0);
	int n = 0;
	while (EV(d, 6, SELF2) == 0)
		n++;
	xe_assert(n == 4095 && EV(d, 6, SELF2) == -ENOSPC && EV(d, 10, 0x7ff0) == 0);
	/* masked: no upcall until unmasked; then across domains, and the peer's death */
	xe_assert(EV(e, 6, d << 16 | 0x7ff0) == 0 && a[1] == 1 && EV(d, 0, e, 1) == 0 && a[2] == 1);
	expect_none(&f);
	uint64_t mask = 2, sh = XE_GUEST_BASE + info(&f, e).shared_info_pfn * 4096;
	xe_assert(xe_guest_write(f.h, e, sh + 2560, &mask, 8) == 0 && EV(d, 4, 1) == 0);
	xe_assert(!xe_host_next_work(f.h, &w) && xe_next_pending_port(f.h, e) == -1);
	xe_assert(EV(e, 9, 1) == 0 && xe_host_next_work(f.h, &w) && w.node == e &&
		  xe_next_pending_port(f.h, e) == 1);
	/* paused: the upcall comes when it is woken */
	xe_assert(xe_domain_pause(f.h, e) == 0 && EV(d, 4, 1) == 0 && !xe_host_next_work(f.h, &w));
	xe_assert(xe_domain_unpause(f.h, e) == 0 && xe_host_next_work(f.h, &w) && w.node == e);
	xe_assert(xe_domain_unpause(f.h, e) == -EINVAL);
	/* scheduling */
	xe_assert(xe_next_pending_port(f.h, e) == 1 && xe_next_pending_port(f.h, e) == -1);
	xe_assert(hc(&f, e, 29, 1, 0, 0, 0) == 0);
	for (int i = 0; i < 4; i++)
		xe_assert(xe_sched_next(f.h) == (i % 2 ? (int)d : 0));
	xe_assert(EV(d, 4, 1) == 0 && xe_sched_next(f.h) == 0 && xe_sched_next(f.h) == (int)d &&
		  xe_sched_next(f.h) == (int)e);
	xe_assert(hc(&f, d, 29, 0, 0, 0, 0) == 0 && hc(&f, d, 29, 99, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 29, 2, BAD, 0, 0) == -EFAULT);
	expect_none(&f);
	xe_assert(op(&f, e, 29, 2, &reason, 4) == 0 && info(&f, e).crashed &&
		  !info(&f, e).runnable);
	expect(&f, XE_VMM_FAULT, e, XE_ABI_fault_KERNEL);
	xe_assert(xe_domain_destroy(f.h, e) == 0 && EV(d, 5, 0x7ff0, 1) == 0 && a[2] == 1);
	/* domctl */
	memset(o, 0, sizeof(o));
	xe_assert(domctl(&f, 0, 5, 1, 0, o) == -EACCES && domctl(&f, d, 5, 0x15, 0, o) == -EPERM);
	xe_assert(hc(&f, 0, 36, BAD, 0, 0, 0) == -EFAULT &&
		  domctl(&f, 0, 9999, 0x15, 0, o) == -ENOSYS);
	for (uint32_t c = 2; c <= 4; c++)
		xe_assert(domctl(&f, 0, c, 0x15, 0, o) == -EINVAL &&
			  domctl(&f, 0, c, 0x15, 77, o) == -ESRCH);
	xe_assert(domctl(&f, 0, 1, 0x15, 0, o) == 0 && o[8] == e &&
		  domctl(&f, 0, 1, 0x15, e, o) == -EEXIST);
	xe_assert(domctl(&f, 0, 5, 0x15, e, o) == 0 && !memcmp(o + 20, &(uint32_t){0xffff0008}, 4));
	xe_assert(mem(&f, 0, 6, 1, 0, e) == 0);
	memcpy(o + 16, &(uint64_t){64}, 8);
	xe_assert(domctl(&f, 0, 11, 0x15, e, o) == 0 && mem(&f, 0, 6, 2, 0, e) == 2 &&
		  mem(&f, 0, 6, 32, 0, e) == 14);
	xe_assert(domctl(&f, 0, 4, 0x15, e, o) == 0 && domctl(&f, 0, 4, 0x15, e, o) == -EINVAL);
	/* a zombie, kept by a foreign mapping of the control domain */
	uint64_t l1ma, up[2], m = arr(&f, 0, 0);
	xe_assert(map(&f, 0, XE_GUEST_BASE, m) == -EBUSY);
	xe_assert(xe_guest_translate(f.h, 0, XE_GUEST_BASE + (info(&f, 0).p2m_pfn + 2) * 4096,
				     &l1ma) == 0);
	up[0] = l1ma;
	up[1] = m << 12 | 0x67;
	xe_assert(xe_guest_write(f.h, 0, ARR, up, 16) == 0 && hc(&f, 0, 1, ARR, 1, 0, e) == 0);
	xe_assert(domctl(&f, 0, 2, 0x15, e, o) == 0 && domctl(&f, 0, 2, 0x15, e, o) == 0);
	xe_assert(info(&f, e).dying && info(&f, e).tot_pages == 1 &&
		  map(&f, 0, XE_GUEST_BASE, 0) == 0);
	xe_assert(domctl(&f, 0, 5, 0x15, e, o) == -ESRCH);
	/* the rest */
	uint32_t fi[2] = {0, 0};
	xe_assert(hc(&f, d, 17, 0, 0, 0, 0) == 262161 && hc(&f, d, 17, 7, 0, 0, 0) == 4096 &&
		  hc(&f, d, 17, 99, 0, 0, 0) == -ENOSYS);
	xe_assert(op(&f, d, 17, 6, fi, 8) == 0 && (fi[0] = 1) &&
		  op(&f, d, 17, 6, fi, 8) == -EINVAL);
	xe_assert(hc(&f, d, 17, 1, BAD, 0, 0) == -EFAULT && hc(&f, d, 17, 1, ARR, 0, 0) == 0);
	xe_assert(hc(&f, d, 60, 0, 0, 0, 0) == -ENOSYS &&
		  xe_host_counters(f.h)->unknown_hypercalls > 0);
	xe_assert(xe_guest_write(f.h, d, ARR, "hello", 5) == 0 && hc(&f, d, 18, 0, 5, ARR, 0) == 0);
	xe_assert(xe_console_read(f.h, d, text, 8) == 5 && !strcmp(text, "hello"));
	xe_assert(hc(&f, d, 18, 0, 5, BAD, 0) == -EFAULT && hc(&f, d, 18, 99, 0, 0, 0) == -ENOSYS);
	uint64_t mc[4][8] = {{17}, {60}, {32, 0, 99}, {13}};
	xe_assert(xe_guest_write(f.h, d, ARR, mc, sizeof(mc)) == 0 &&
		  hc(&f, d, 13, ARR, 4, 0, 0) == 0);
	xe_assert(arr(&f, d, 1) == 262161 && (int64_t)arr(&f, d, 9) == -ENOSYS &&
		  (int64_t)arr(&f, d, 17) == -ENOSYS);
	xe_assert((int64_t)arr(&f, d, 25) == -EINVAL && hc(&f, d, 13, BAD, 1, 0, 0) == -EFAULT);
	/* paths */
	xe_assert(xe_path_set(f.h, 7, d) == 0 && xe_path_lookup(f.h, 7) == (int)d &&
		  xe_path_set(f.h, 7, 50) == -ESRCH);
	xe_assert(xe_path_clear(f.h, 7) == 0 && xe_path_clear(f.h, 7) == -ENOENT &&
		  xe_path_lookup(f.h, 7) == -ENOENT);
	stop(&f);
}

static void test_heartbeat(void)
{
	struct fix f;
	uint64_t ma, beats = 1;
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(xe_guest_translate(f.h, 0, XE_GUEST_BASE, &ma) == 0);
	xe_assert(ZL(&f, d, REGISTER_HEARTBEAT, .value = ma >> 12) == -EPERM);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE, &ma) == 0);
	xe_assert(ZL(&f, d, REGISTER_HEARTBEAT, .value = ma >> 12) == 0);
	xe_assert(xe_heartbeat_arm(f.h, d, true) == 0 && xe_heartbeat_arm(f.h, 40, true) == -ESRCH);
	for (int i = 0; i < 5; i++, beats++) {
		xe_assert(xe_guest_write(f.h, d, XE_GUEST_BASE, &beats, 8) == 0);
		xe_heartbeat_check(f.h, 0);
	}
	xe_domain_pause(f.h, d);
	for (int i = 0; i < 5; i++)
		xe_heartbeat_check(f.h, 0);
	xe_domain_unpause(f.h, d);
	xe_heartbeat_check(f.h, 0);
	expect_none(&f);
	xe_heartbeat_check(f.h, 0);
	expect(&f, XE_VMM_FAULT, d, XE_ABI_fault_KERNEL);
	xe_heartbeat_check(f.h, 0);
	expect_none(&f);
	xe_assert(info(&f, d).crashed && info(&f, d).heartbeats == 5);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

/* Boots the backup of p up to "suspended with the primary's address". */
static uint32_t protect(struct fix *f, uint32_t p)
{
	struct xe_zl_arg a = {0};
	uint32_t b;

	xe_assert(ZL(f, p, SUSPEND_BACKUP) == -ENOENT && ZL(f, p, MIGRATE) == -ENOENT);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == -ENOENT);
	xe_assert(zl(f, p, XE_ABI_zl_BOOT_BACKUP, &a) == 0);
	b = a.domid;
	expect(f, XE_VMM_BOOT_BACKUP, p, b);
	xe_assert(info(f, b).runnable && info(f, b).tot_pages == PAGES &&
		  pair(f, b).state == XE_PAIR_BOOTING);
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EBUSY && ZL(f, p, SUSPEND_BACKUP) == -EBUSY &&
		  !pair(f, b).backup_booted);
	xe_assert(ZL(f, p, BOOT_DONE) == -EPERM && ZL(f, b, BOOT_DONE, .value = 7) == 0);
	expect(f, XE_VMM_BOOT_DONE, b, 7);
	xe_assert(xe_vzs_complete(f->h, p, 0) == 0 && xe_vzs_complete(f->h, p, 0) == -EINVAL);
	xe_assert(zl(f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && a.value == XE_ABI_zl_signal_COMPLETE);
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EEXIST && ZL(f, b, BOOT_DONE) == -EINVAL);
	xe_assert(ZL(f, p, WAKEUP_BACKUP) == -EINVAL && ZL(f, p, MIGRATE) == -EINVAL);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 2) == -EINVAL);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == 0);
	expect(f, XE_VMM_CHANGE_IP, p, b);
	xe_assert(ZL(f, p, SUSPEND_BACKUP) == -EBUSY && ZL(f, p, GET_IP) == -EPERM &&
		  ZL(f, p, IP_SET) == -EPERM);
	xe_assert(zl(f, b, XE_ABI_zl_GET_IP, &a) == 0 && a.value == pair(f, p).ip);
	xe_assert(ZL(f, b, IP_SET, .value = 1) == -EINVAL &&
		  ZL(f, b, IP_SET, .value = a.value) == 0);
	expect(f, XE_VMM_IP_SET, b, a.value);
	xe_assert(pair(f, p).backup_has_primary_ip && xe_vzs_complete(f->h, p, 0) == 0);
	xe_assert(ZL(f, p, SUSPEND_BACKUP) == 0 && ZL(f, p, SUSPEND_BACKUP) == -EINVAL &&
		  ZL(f, p, MIGRATE) == -EINVAL);
	expect(f, XE_VMM_SUSPENDED, b, 0);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == -EINVAL && !info(f, b).runnable);
	return b;
}

static void register_log(struct fix *f, uint32_t p)
{
	uint64_t x0, x1;

	xe_assert(mem(f, p, 6, EXTENTS, 9, 0x7ff0) == EXTENTS);
	x0 = arr(f, p, 0);
	x1 = arr(f, p, 1);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR) == -EINVAL);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = BAD, .count = EXTENTS) == -EFAULT);
	set_arr(f, p, 1, x0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) ==
		  -EINVAL); /* twice the same */
	set_arr(f, p, 1, x1 + 1);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EINVAL);
	set_arr(f, p, 1, 0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) ==
		  -EPERM); /* not its own */
	set_arr(f, p, 1, x1);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		xe_assert(map(f, p, XE_LOG_WINDOW + i * 4096ull, (i < 512 ? x0 : x1 - 512) + i) ==
			  0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == 0);
	expect(f, XE_VMM_LOG_REGISTERED, p, EXTENTS);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EEXIST &&
		  info(f, p).refs == 3);
	xe_assert(mem(f, p, 1, 1, 9, 0x7ff0) == 0);
	xe_assert(xe_guest_write(f->h, p, XE_LOG_WINDOW + 4090, "the log", 8) == 0);
}

/* Recovers from p to b; the old one is destroyed before or after. */
static void recover(struct fix *f, uint32_t p, uint32_t b, bool early)
{
	struct xe_zl_arg a = {.addr = ARR, .count = 1};
	uint8_t *ext[EXTENTS];
	char text[8];
	uint64_t x[EXTENTS];

	xe_assert(ZL(f, b, GET_LOG) == -EPERM && ZL(f, b, START_REPLAY) == -EPERM &&
		  ZL(f, b, RECOVERY_DONE) == -EPERM);
	xe_assert(xe_vzs_fence(f->h, p) == 0 && xe_vzs_fence(f->h, p) == -EBUSY);
	xe_assert(pair(f, b).state == XE_PAIR_RECOVERING && pair(f, b).old_primary == p &&
		  !info(f, p).runnable);
	xe_assert(xe_guest_read(f->h, p, XE_LOG_WINDOW, text, 8) == -EFAULT &&
		  info(f, p).refs == 3);
	xe_assert(xe_domain_unpause(f->h, b) == 0);
	xe_assert(xe_pair_log_extents(f->h, b, ext, EXTENTS) == EXTENTS &&
		  !memcmp(ext[0] + 4090, "the log", 8));
	for (int i = 0; i < EXTENTS; i++) {
		x[i] = (uint64_t)(ext[i] - f->mem) / 4096;
		xe_assert(map(f, b, XE_LOG_WINDOW, x[i]) == -EBUSY &&
			  map(f, p, XE_LOG_WINDOW, x[i]) == -EBUSY);
	}
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EBUSY && ZL(f, p, MIGRATE) == -EBUSY &&
		  ZL(f, p, GET_LOG) == -EPERM);
	if (early)
		xe_assert(xe_domain_destroy(f->h, p) == 0 && info(f, p).dying &&
			  info(f, p).tot_pages == LOG_PAGES);
	xe_assert(zl(f, b, XE_ABI_zl_GET_LOG, &a) == -EINVAL && a.count == EXTENTS);
	xe_assert(zl(f, b, XE_ABI_zl_GET_LOG, &a) == 0 && arr(f, b, 0) == x[0] &&
		  arr(f, b, 1) == x[1]);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		xe_assert(map(f, b, XE_LOG_WINDOW + i * 4096ull, x[i / 512] + i % 512) == 0);
	xe_assert(xe_guest_read(f->h, b, XE_LOG_WINDOW + 4090, text, 8) == 0 &&
		  !strcmp(text, "the log"));
	xe_assert(ZL(f, b, START_REPLAY, .value = 3) == 0);
	expect(f, XE_VMM_REPLAY_STARTED, b, 3);
	xe_assert(ZL(f, b, RECOVERY_DONE) == 0);
	expect(f, XE_VMM_RECOVERY_DONE, b, p);
	xe_assert(info(f, b).tot_pages == PAGES + LOG_PAGES &&
		  info(f, b).max_pages == PAGES + LOG_PAGES);
	xe_assert(info(f, b).refs == 3 && info(f, b).ip == pair(f, b).ip &&
		  pair(f, b).old_primary == 0);
	xe_assert(pair(f, b).state == XE_PAIR_GRANTED && pair(f, b).primary == b &&
		  pair(f, b).extents == EXTENTS);
	if (early) {
		xe_assert(!info(f, p).exists);
	} else {
		xe_assert(info(f, p).refs == 2 && info(f, p).tot_pages == PAGES &&
			  info(f, p).max_pages == PAGES);
		xe_assert(ZL(f, p, BOOT_BACKUP) == -EPERM &&
			  map(f, p, XE_LOG_WINDOW, x[0]) == -EBUSY);
		xe_assert(xe_domain_destroy(f->h, p) == 0 && !info(f, p).exists);
	}
	xe_assert(xe_guest_read(f->h, b, XE_LOG_WINDOW + 4090, text, 8) == 0 &&
		  !strcmp(text, "the log"));
}

static void test_pair(bool release)
{
	struct fix f;
	struct xe_zl_arg a;
	struct xe_pair_info pi;
	uint32_t p, b, c, v;
	uint16_t ports[4];

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(ZL(&f, p, INSTALL_GRANT, .domid = p) == -EPERM &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = 77) == -ESRCH);
	xe_assert(ZL(&f, p, BOOT_BACKUP) == -EPERM && ZL(&f, p, SUSPEND_BACKUP) == -EPERM &&
		  ZL(&f, p, WAKEUP_BACKUP) == -EPERM);
	xe_assert(ZL(&f, p, CHANGE_BACKUP_IP) == -EPERM && ZL(&f, p, MIGRATE) == -EPERM &&
		  ZL(&f, p, REPORT_FAULT, .value = 1) == -EPERM);
	xe_assert(ZL(&f, p, REGISTER_LOG) == -EPERM &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 80) == -EPERM &&
		  ZL(&f, p, QUIESCED) == -EPERM);
	xe_assert(hc(&f, p, 55, 0, BAD, 0, 0) == -EFAULT &&
		  hc(&f, p, 55, 99, ARG, 0, 0) == -ENOSYS);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0 &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = p) == -EEXIST);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	xe_assert(xe_vzs_fence(f.h, 55) == -ENOENT && xe_pair_info(f.h, 55, &pi) == -ENOENT);
	xe_assert(xe_vzs_fence_backup(f.h, p) == -ENOENT && xe_vzs_give_up(f.h, p) == -ENOENT &&
		  xe_vzs_boot_backup(f.h, p, &b) == -ENOENT);
	register_log(&f, p);
	v = xe_pair_ports_version(f.h, p);
	xe_assert(ZL(&f, p, REGISTER_WRAPPER, .value = 0) == -EINVAL &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 65536) == -EINVAL);
	xe_assert(ZL(&f, p, REGISTER_WRAPPER, .value = 80) == 0 &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 80) == -EEXIST);
	xe_assert(ZL(&f, p, UNREGISTER_WRAPPER, .value = 81) == -ENOENT &&
		  xe_pair_ports_version(f.h, p) != v);
	b = protect(&f, p);
	xe_assert(xe_pair_ports(f.h, b, ports, 4) == 1 && ports[0] == 80);
	/* wake, migrate */
	xe_assert(ZL(&f, p, WAKEUP_BACKUP) == 0 && ZL(&f, p, QUIESCED) == -EINVAL);
	expect(&f, XE_VMM_WOKEN, b, 0);
	xe_assert(ZL(&f, p, MIGRATE) == 0 && ZL(&f, p, WAKEUP_BACKUP) == -EBUSY &&
		  ZL(&f, p, QUIESCED) == 0);
	expect(&f, XE_VMM_MIGRATE, p, b);
	expect(&f, XE_VMM_QUIESCED, p, 0);
	xe_assert(xe_vzs_complete(f.h, p, -EIO) == 0 && pair(&f, p).state == XE_PAIR_AWAKE);
	a = (struct xe_zl_arg){0};
	xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && (a.value & XE_ABI_zl_signal_FAILED) &&
		  a.status == -EIO);
	xe_assert(ZL(&f, p, SUSPEND_BACKUP) == 0);
	expect(&f, XE_VMM_SUSPENDED, b, 0);
	/* a fault, told once; then two recoveries in a row */
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 9) == -EINVAL &&
		  ZL(&f, p, REPORT_FAULT, .value = 1) == 0);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0 &&
		  ZL(&f, 0, REPORT_FAULT, .value = 1) == -EPERM);
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	expect_none(&f);
	recover(&f, p, b, false);
	c = protect(&f, b);
	recover(&f, b, c, true);
	xe_assert(f.base - xe_host_free_pages(f.h) == PAGES + LOG_PAGES);
	/* the backup dies while it recovers: another one takes over from the same primary */
	b = protect(&f, c);
	xe_assert(xe_vzs_fence(f.h, c) == 0 && xe_vzs_boot_backup(f.h, c, &v) == -EEXIST &&
		  xe_vzs_give_up(f.h, c) == -EBUSY);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && pair(&f, c).state == XE_PAIR_RECOVERING);
	expect(&f, XE_VMM_BACKUP_GONE, c, b);
	xe_assert(pair(&f, c).backup == 0 && pair(&f, c).old_primary == c);
	/* one that fails is fenced: it runs no more and has no right to the log */
	xe_assert(xe_vzs_boot_backup(f.h, c, &b) == 0 && info(&f, b).runnable &&
		  ZL(&f, b, BOOT_DONE) == 0 && ZL(&f, b, BOOT_DONE) == -EINVAL);
	expect(&f, XE_VMM_BOOT_DONE, b, 0);
	xe_assert(ZL(&f, b, REPORT_FAULT, .value = 1) == 0);
	expect(&f, XE_VMM_FAULT, b, XE_ABI_fault_APP);
	a = (struct xe_zl_arg){.addr = ARR, .count = EXTENTS};
	xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 &&
		  map(&f, b, XE_LOG_WINDOW, arr(&f, b, 0)) == 0);
	xe_assert(xe_vzs_fence_backup(f.h, c) == 0 && !info(&f, b).runnable &&
		  ZL(&f, b, GET_LOG) == -EPERM);
	xe_assert(xe_guest_read(f.h, b, XE_LOG_WINDOW, &v, sizeof(v)) == -EFAULT &&
		  xe_domain_destroy(f.h, b) == 0);
	/* the primary may go meanwhile: backups are still built like it, the log is kept */
	xe_assert(xe_domain_destroy(f.h, c) == 0 && info(&f, c).dying);
	xe_assert(xe_vzs_boot_backup(f.h, c, &b) == 0 && info(&f, b).tot_pages == PAGES);
	a = (struct xe_zl_arg){.addr = ARR, .count = EXTENTS};
	xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 && ZL(&f, b, RECOVERY_DONE) == 0 &&
		  !info(&f, c).exists && pair(&f, b).extents == EXTENTS);
	expect(&f, XE_VMM_RECOVERY_DONE, b, c);
	/* a fault without a backup, and none can be had: all goes */
	xe_assert(xe_vzs_fence(f.h, b) == 0 && pair(&f, b).backup == 0 &&
		  xe_vzs_give_up(f.h, b) == 0 && xe_pair_info(f.h, b, &pi) == -ENOENT);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && !info(&f, b).exists &&
		  xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	/* without a log: the destroyed primary's id stays taken until the recovery is over */
	p = guest(&f);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	b = protect(&f, p);
	xe_assert(xe_vzs_fence(f.h, p) == 0 && xe_domain_destroy(f.h, p) == 0 && info(&f, p).dying);
	xe_assert(ZL(&f, b, GET_LOG) == -ENOENT && ZL(&f, b, RECOVERY_DONE) == 0 &&
		  !info(&f, p).exists);
	expect(&f, XE_VMM_RECOVERY_DONE, b, p);
	/* the primary goes without recovery: the backup stays as it is, the pair goes */
	c = protect(&f, b);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && xe_pair_info(f.h, c, &pi) == -ENOENT &&
		  info(&f, c).exists);
	xe_assert(xe_domain_destroy(f.h, c) == 0 && xe_host_free_pages(f.h) == f.base);
	/* no memory */
	struct xe_domain_config big = {.pages = f.base / 2 + 1, .max_pages = f.base};
	xe_assert(xe_domain_create(f.h, &big, &p) == 0 &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	xe_assert(ZL(&f, p, BOOT_BACKUP) == -ENOMEM && xe_domain_destroy(f.h, p) == 0 &&
		  xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

/* A migration: the primary waits, the backup may take over when it was accepted. */
static void test_trial(bool release)
{
	struct fix f;
	uint32_t p, b, id;

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	register_log(&f, p);
	for (int round = 0; round < 3; round++) {
		struct xe_zl_arg a = {.addr = ARR, .count = EXTENTS};

		b = protect(&f, p);
		xe_assert(xe_vzs_try(f.h, p) == -EINVAL && ZL(&f, p, WAKEUP_BACKUP) == 0);
		expect(&f, XE_VMM_WOKEN, b, 0);
		xe_assert(ZL(&f, p, MIGRATE) == 0 && xe_vzs_accept(f.h, p) == -ENOENT &&
			  xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
		expect(&f, XE_VMM_MIGRATE, p, b);
		xe_assert(xe_vzs_try(f.h, p) == 0 && !info(&f, p).runnable);
		xe_assert(pair(&f, p).state == XE_PAIR_RECOVERING && pair(&f, p).old_primary == p);
		xe_assert(xe_guest_read(f.h, p, XE_LOG_WINDOW, &id, sizeof(id)) == 0);
		xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 &&
			  map(&f, b, XE_LOG_WINDOW, arr(&f, b, 0)) == 0);
		xe_assert(ZL(&f, b, RECOVERY_DONE) == -EBUSY && ZL(&f, p, RECOVERY_DONE) == -EPERM);
		if (round < 2) { /* sent away: alive, or destroyed already */
			xe_assert(round == 0 || xe_domain_destroy(f.h, b) == 0);
			if (round == 1)
				expect(&f, XE_VMM_BACKUP_GONE, p, b);
			xe_assert(xe_vzs_roll_back(f.h, p, -ECANCELED) == 0 &&
				  info(&f, p).runnable);
			xe_assert(pair(&f, p).state == XE_PAIR_GRANTED && !pair(&f, p).backup &&
				  !pair(&f, p).old_primary);
			a = (struct xe_zl_arg){0};
			xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 &&
				  a.value & XE_ABI_zl_signal_FAILED && a.status == -ECANCELED);
			xe_assert(round == 1 || (!info(&f, b).runnable &&
						 xe_guest_read(f.h, b, XE_LOG_WINDOW, &id,
							       sizeof(id)) == -EFAULT &&
						 xe_domain_destroy(f.h, b) == 0));
			continue;
		}
		xe_assert(xe_vzs_accept(f.h, p) == 0 && xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
		xe_assert(xe_guest_read(f.h, p, XE_LOG_WINDOW, &id, sizeof(id)) == -EFAULT);
		xe_assert(ZL(&f, b, RECOVERY_DONE) == 0 && pair(&f, b).primary == b);
		expect(&f, XE_VMM_RECOVERY_DONE, b, p);
		xe_assert(xe_domain_destroy(f.h, p) == 0);
	}
	/* the primary goes in a trial: there is no way back, and RECOVERY_DONE is all there is */
	p = b;
	b = protect(&f, p);
	xe_assert(ZL(&f, p, WAKEUP_BACKUP) == 0 && ZL(&f, p, MIGRATE) == 0);
	expect(&f, XE_VMM_WOKEN, b, 0);
	expect(&f, XE_VMM_MIGRATE, p, b);
	xe_assert(xe_vzs_try(f.h, p) == 0 && xe_domain_destroy(f.h, p) == 0 &&
		  xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
	xe_assert(ZL(&f, b, GET_LOG, .addr = ARR, .count = EXTENTS) == 0 &&
		  ZL(&f, b, RECOVERY_DONE) == 0 && !info(&f, p).exists);
	expect(&f, XE_VMM_RECOVERY_DONE, b, p);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	stop(&f);
}

/* The service recovers where it was; the backup sleeps on, or is lost meanwhile. */
static void test_in_place(bool release)
{
	struct fix f;
	struct xe_zl_arg a = {0};
	uint32_t p, b;

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(xe_vzs_restart(f.h, p) == -ENOENT && ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	register_log(&f, p);
	b = protect(&f, p);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0 && xe_vzs_restart(f.h, p) == 0 &&
		  xe_vzs_restart(f.h, p) == -EBUSY);
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && a.value & XE_ABI_zl_signal_RESTART);
	xe_assert(info(&f, p).runnable && ZL(&f, p, WAKEUP_BACKUP) == -EBUSY &&
		  ZL(&f, b, START_REPLAY) == -EPERM && ZL(&f, b, GET_LOG) == -EPERM);
	xe_assert(xe_vzs_fence_backup(f.h, p) == -ENOENT && xe_vzs_give_up(f.h, p) == -ENOENT);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0); /* another one */
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	xe_assert(ZL(&f, p, START_REPLAY) == 0 && ZL(&f, p, RECOVERY_DONE) == 0);
	expect(&f, XE_VMM_REPLAY_STARTED, p, 0);
	expect(&f, XE_VMM_RECOVERY_DONE, p, p);
	xe_assert(pair(&f, p).state == XE_PAIR_SUSPENDED && pair(&f, p).backup == b);
	/* the backup goes meanwhile */
	xe_assert(xe_vzs_restart(f.h, p) == 0 && xe_domain_destroy(f.h, b) == 0 &&
		  zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0);
	expect(&f, XE_VMM_BACKUP_GONE, p, b);
	xe_assert(ZL(&f, p, RECOVERY_DONE) == 0 && pair(&f, p).state == XE_PAIR_GRANTED);
	expect(&f, XE_VMM_RECOVERY_DONE, p, p);
	/* left to the backup */
	b = protect(&f, p);
	xe_assert(xe_vzs_restart(f.h, p) == 0);
	recover(&f, p, b, false);
	/* the domain goes meanwhile */
	xe_assert(xe_vzs_restart(f.h, b) == 0 && xe_domain_destroy(f.h, b) == 0);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	stop(&f);
}

static double ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void test_speed(void)
{
	struct fix f;
	struct xe_domain_config c = {
		.pages = 1 << 18, .max_pages = 1 << 18, .window_pages = 1 << 15};
	uint32_t id;
	double t0, t1, t2;

	start(&f, 3 << 18, true);
	t0 = ms();
	xe_assert(xe_domain_create(f.h, &c, &id) == 0);
	t1 = ms();
	xe_assert(xe_domain_destroy(f.h, id) == 0 && xe_host_free_pages(f.h) == f.base);
	t2 = ms();
	printf("1 GiB domain: create %.1f ms, destroy %.1f ms\n", t1 - t0, t2 - t1);
	stop(&f);
}

int main(void)
{
	test_memory(true);
	test_memory(false);
	test_evtchn_sched();
	test_heartbeat();
	test_pair(true);
	test_pair(false);
	test_trial(true);
	test_trial(false);
	test_in_place(true);
	test_in_place(false);
	test_speed();
	puts("xen: ok");
	return 0;
}
