/* A host in memory, and hypercalls whose arguments go through guest memory. */
#ifndef XE_TEST_XEN_FIX_H
#define XE_TEST_XEN_FIX_H

#include <string.h>
#include <sys/mman.h>

#include "base/abi.h"
#include "base/assert.h"
#include "xen/host.h"
#include "xen/public.h"

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

static inline void punch(void *ctx, xe_mfn mfn, uint64_t n)
{
	struct fix *f = ctx;

	xe_assert(mfn + n <= f->frames);
	xe_assert(madvise(f->mem + mfn * 4096, n * 4096, MADV_DONTNEED) == 0);
}

static inline void start(struct fix *f, uint64_t frames, bool release)
{
	struct xe_host_config cfg = {.frames = frames, .ctx = f};
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

static inline void stop(struct fix *f)
{
	xe_host_destroy(f->h);
	munmap(f->mem, f->frames * 4096);
}

static inline uint32_t guest(struct fix *f)
{
	struct xe_domain_config c = {
		.pages = PAGES, .max_pages = PAGES + LOG_PAGES, .window_pages = LOG_PAGES};
	uint32_t id;

	xe_assert(xe_domain_create(f->h, &c, &id) == 0);
	xe_assert(xe_domain_unpause(f->h, id) == 0);
	return id;
}

static inline int64_t hc(struct fix *f, uint32_t d, uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			 uint64_t e)
{
	uint64_t arg[5] = {a, b, c, e};

	return xe_hypercall(f->h, d, nr, arg, 0);
}

static inline int64_t op(struct fix *f, uint32_t d, uint32_t nr, uint64_t cmd, void *arg, size_t n)
{
	int64_t r;

	xe_assert(xe_guest_write(f->h, d, ARG, arg, n) == 0);
	r = hc(f, d, nr, cmd, ARG, 0, 0);
	xe_assert(xe_guest_read(f->h, d, ARG, arg, n) == 0);
	return r;
}

static inline int64_t zl(struct fix *f, uint32_t d, uint32_t cmd, struct xe_zl_arg *a)
{
	return op(f, d, 55, cmd, a, sizeof(*a));
}

static inline int64_t ev(struct fix *f, uint32_t d, uint32_t cmd, uint32_t *a)
{
	return op(f, d, 32, cmd, a, 24);
}

static inline int64_t domctl(struct fix *f, uint32_t d, uint32_t cmd, uint32_t version,
			     uint16_t target, uint8_t op[144])
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

/* An empty domain with one vcpu and Xen's usual limits; its id in op. */
static inline int64_t create(struct fix *f, uint16_t id, uint8_t op[144])
{
	uint32_t c[16] = {[7] = 1, 1023, 4, 4, 1};

	memset(op, 0, 144);
	memcpy(op + 16, c, sizeof(c));
	return domctl(f, 0, 1, 0x15, id, op);
}

static inline int64_t mem(struct fix *f, uint32_t d, uint32_t cmd, uint64_t n, uint32_t order,
			  uint16_t dom)
{
	struct {
		uint64_t start, n;
		uint32_t order, flags;
		uint16_t dom, pad[3];
	} r = {ARR, n, order, 0, dom, {0}};

	return op(f, d, 12, cmd, &r, sizeof(r));
}

static inline uint64_t arr(struct fix *f, uint32_t d, unsigned i)
{
	uint64_t v;

	xe_assert(xe_guest_read(f->h, d, ARR + i * 8, &v, 8) == 0);
	return v;
}

static inline void set_arr(struct fix *f, uint32_t d, unsigned i, uint64_t v)
{
	xe_assert(xe_guest_write(f->h, d, ARR + i * 8, &v, 8) == 0);
}

static inline int64_t map(struct fix *f, uint32_t d, uint64_t va, xe_mfn mfn)
{
	return hc(f, d, 14, va, mfn ? mfn << 12 | 0x67 : 0, 0, 0);
}

static inline struct xe_domain_info info(struct fix *f, uint32_t d)
{
	struct xe_domain_info i;

	xe_domain_info(f->h, d, &i);
	return i;
}

static inline struct xe_start_info start_info(struct fix *f, uint32_t d)
{
	struct xe_start_info s;

	xe_assert(xe_guest_read(f->h, d, info(f, d).start_info_gva, &s, sizeof(s)) == 0);
	return s;
}

/* Guest address of the i-th page table, the root being the first. */
static inline uint64_t table_gva(struct fix *f, uint32_t d, unsigned i)
{
	return start_info(f, d).pt_base + i * 4096ull;
}

static inline struct xe_pair_info pair(struct fix *f, uint32_t d)
{
	struct xe_pair_info i;

	xe_assert(xe_pair_info(f->h, d, &i) == 0);
	return i;
}

/* The next VMM event, skipping upcalls; it must be this one. */
static inline void expect(struct fix *f, uint32_t event, uint32_t node, uint64_t a)
{
	struct xe_work w;

	do
		xe_assert(xe_host_next_work(f->h, &w));
	while (w.kind == XE_WORK_UPCALL);
	xe_assert(w.kind == XE_WORK_VMM && w.arg == event && w.node == node && w.a == a);
}

static inline void expect_none(struct fix *f)
{
	struct xe_work w;

	while (xe_host_next_work(f->h, &w))
		xe_assert(w.kind == XE_WORK_UPCALL);
}

#endif
