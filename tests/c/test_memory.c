/* memory_op and the frame allocator: reservations of all orders, exchange, queries, claims; then random
 * calls of two domains, after each of which every frame is accounted for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "xen_check.h"
#include "xen_fix.h"

#define SELF 0x7ff0
#define XEN_VA 0xffff830000000000ull
#define OUT (ARR + 0x2000)

static int64_t res(struct fix *f, uint32_t d, uint64_t cmd, uint64_t list, uint64_t n,
		   uint32_t order, uint32_t flags, uint16_t dom)
{
	struct xe_memory_reservation r = {list, n, order, flags, dom, {0}};

	return op(f, d, 12, cmd, &r, sizeof(r));
}

static uint64_t pages(struct fix *f, uint32_t d)
{
	return info(f, d).tot_pages;
}

/* No extent that is free lies below where one of its order is looked for. */
static void check_chunk(const struct xe_host *h, uint64_t c)
{
	const struct xe_chunk *k = &h->chunk[c];
	uint32_t n = 0;

	for (unsigned w = 0; w < XE_CHUNK_WORDS; w++)
		n += (uint32_t)__builtin_popcountll(k->free[w]);
	xe_assert(n == k->nfree);
	for (unsigned o = 0; o < XE_EXTENT_ORDER && c < h->low[o]; o++) {
		for (unsigned i = 0; i < XE_CHUNK_FRAMES; i += 1u << o) {
			unsigned free = 0;

			for (unsigned j = i; j < i + (1u << o); j++)
				free += k->free[j / 64] >> j % 64 & 1;
			xe_assert(free < 1u << o);
		}
	}
}

static void check_frames(struct fix *f)
{
	uint64_t claimed = 0;

	xen_check(f->h);
	for (uint64_t c = 0; c < f->h->nchunks; c++)
		check_chunk(f->h, c);
	for (uint32_t d = 0; d < f->h->top; d++)
		claimed += f->h->domain[d] ? f->h->domain[d]->claimed : 0;
	xe_assert(claimed == f->h->claimed && claimed <= f->h->nfree);
}

static void test_orders(void)
{
	struct fix f;
	uint32_t d;
	uint64_t n;

	start(&f, FRAMES, true);
	d = guest(&f);
	f.h->domain[d]->max_pages = f.h->domain[0]->max_pages = 1 << 20;
	for (uint32_t dom = 0; dom <= d; dom += d) {
		uint32_t max = dom ? 9 : XE_MAX_ORDER;

		n = pages(&f, dom);
		for (uint32_t o = 0; o <= max && 2ull << o < FRAMES; o++) {
			xe_assert(res(&f, dom, 0, ARR, 1, o, 0, SELF) == 1);
			xe_assert(arr(&f, dom, 0) % (1u << o) == 0);
			xe_assert(pages(&f, dom) == n + (1u << o));
			check_frames(&f);
			xe_assert(res(&f, dom, 1, ARR, 1, o, 0, SELF) == 1 && pages(&f, dom) == n);
		}
		for (uint32_t cmd = 0; cmd <= 6; cmd += cmd ? 5 : 1)
			xe_assert(res(&f, dom, cmd, ARR, 1, max + 1, 0, SELF) == 0 &&
				  res(&f, dom, cmd, ARR, 1, UINT32_MAX, 0, SELF) == 0);
	}
	/* small extents come from the lowest place, a hole is found again */
	xe_assert(res(&f, d, 0, ARR, 4, 3, 0, SELF) == 4);
	n = arr(&f, d, 1);
	set_arr(&f, d, 8, n);
	xe_assert(res(&f, d, 1, ARR + 64, 1, 3, 0, SELF) == 1);
	xe_assert(res(&f, d, 0, ARR + 64, 1, 3, 0, SELF) == 1 && arr(&f, d, 8) == n);
	check_frames(&f);
	/* until none is left */
	n = xe_host_free_pages(f.h);
	while (res(&f, d, 0, 0, 1, 9, 0, SELF) == 1)
		n -= 512;
	for (uint32_t o = 8; o < 9; o--)
		while (res(&f, d, 0, 0, 1, o, 0, SELF) == 1)
			n -= 1ull << o;
	xe_assert(!n && !xe_host_free_pages(f.h));
	check_frames(&f);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	check_frames(&f);
	stop(&f);
}

static void test_reservation(void)
{
	struct fix f;
	uint32_t d;
	uint64_t n, m;

	start(&f, FRAMES, true);
	d = guest(&f);
	n = pages(&f, d);
	/* no list: only increase can do without */
	xe_assert(res(&f, d, 0, 0, 2, 0, 0, SELF) == 2 && pages(&f, d) == n + 2);
	xe_assert(res(&f, d, 6, 0, 2, 0, 0, SELF) == 0 && res(&f, d, 1, 0, 2, 0, 0, SELF) == 0);
	/* a list that can't be written keeps the page, but does not count it */
	xe_assert(res(&f, d, 0, BAD, 2, 0, 0, SELF) == 0 && pages(&f, d) == n + 3);
	xe_assert(res(&f, d, 6, BAD, 2, 0, 0, SELF) == 0 && res(&f, d, 1, BAD, 2, 0, 0, SELF) == 0);
	xe_assert(res(&f, d, 0, XEN_VA, 2, 0, 0, SELF) == 0 && pages(&f, d) == n + 3);
	n += 3;
	/* goes on where it was broken off */
	xe_assert(res(&f, d, 0 | 1 << 6, ARR, 2, 0, 0, SELF) == 2 && pages(&f, d) == ++n);
	xe_assert(res(&f, d, 0 | 5 << 6, ARR, 2, 0, 0, SELF) == 5 && pages(&f, d) == n);
	xe_assert(hc(&f, d, 12, 0 | 7 << 6, BAD, 0, 0) == 7 &&
		  res(&f, d, 0, ARR, 1ull << 26, 0, 0, SELF) == 0 &&
		  res(&f, d, 0, ARR, 1ull << 32, 0, 0, SELF) == 0);
	/* address bits; the machine has 2^26 bytes */
	xe_assert(res(&f, d, 0, ARR, 1, 0, 12, SELF) == 0 &&
		  res(&f, d, 0, ARR, 1, 0, 1, SELF) == 0 &&
		  res(&f, d, 0, ARR, 1, 0, 13, SELF) == 0);
	xe_assert(res(&f, d, 0, ARR, 1, 0, 25, SELF) == 1 && arr(&f, d, 0) < 1 << 13);
	xe_assert(res(&f, d, 0, ARR, 1, 9, 25, SELF) == 1 && arr(&f, d, 0) + 512 <= 1 << 13);
	xe_assert(res(&f, d, 0, ARR, 1, 0, 32, SELF) == 1 &&
		  res(&f, d, 0, ARR, 1, 0, 64, SELF) == 1);
	/* nodes: (n + 1) << 8, 1 << 17 exactly that */
	xe_assert(res(&f, 0, 0, ARR, 1, 0, 1 << 8, SELF) == 0); /* over its maximum */
	f.h->domain[0]->max_pages += 100;
	xe_assert(res(&f, 0, 0, ARR, 1, 0, 1 << 8, SELF) == 1 &&
		  res(&f, 0, 0, ARR, 1, 0, 1 << 8 | 1 << 17, SELF) == 1 &&
		  res(&f, 0, 0, ARR, 1, 0, 2 << 8, SELF) == 1 &&
		  res(&f, 0, 0, ARR, 1, 0, 2 << 8 | 1 << 17, SELF) == 0 &&
		  res(&f, 0, 0, ARR, 1, 0, 201 << 8, SELF) == 0 &&
		  res(&f, 0, 0, ARR, 1, 0, 4 << 8 | 1 << 18, SELF) == 1);
	xe_assert(res(&f, d, 0, ARR, 1, 0, 201 << 8, SELF) == 1 &&
		  res(&f, d, 0, ARR, 1, 0, 2 << 8 | 1 << 17, SELF) == 0);
	/* on demand: of no effect on another PV domain, not for oneself */
	n = pages(&f, d);
	xe_assert(res(&f, d, 6, ARR, 1, 0, 1 << 16, SELF) == 0 &&
		  res(&f, 0, 6, ARR, 2, 18, 1 << 16, (uint16_t)d) == 2 &&
		  res(&f, d, 0, ARR, 1, 0, 1 << 16, SELF) == 1 && pages(&f, d) == n + 1);
	/* whose */
	xe_assert(res(&f, d, 0, ARR, 1, 0, 0, 0) == 0 && res(&f, d, 1, ARR, 1, 0, 0, 0) == 0 &&
		  res(&f, 0, 0, ARR, 1, 0, 0, 0x7ff1) == 0 && res(&f, 0, 0, ARR, 1, 0, 0, 77) == 0);
	xe_assert(res(&f, 0, 0, ARR, 1, 0, 0, (uint16_t)d) == 1 && pages(&f, d) == n + 2);
	m = arr(&f, 0, 0);
	xe_assert(res(&f, d, 1, ARR, 0, 0, 0, SELF) == 0);
	set_arr(&f, d, 0, m);
	set_arr(&f, d, 1, UINT64_MAX);
	xe_assert(res(&f, d, 1, ARR, 2, 0, 0, SELF) == 1 && pages(&f, d) == n + 1);
	set_arr(&f, d, 0, 1); /* domain 0's */
	xe_assert(res(&f, d, 1, ARR, 1, 0, 0, SELF) == 0);
	set_arr(&f, d, 0, info(&f, d).shared_info_mfn);
	n = pages(&f, d);
	xe_assert(res(&f, d, 1, ARR, 1, 0, 0, SELF) == 1 && pages(&f, d) == n && f.h->domain[d]);
	check_frames(&f);
	/* populate sets M2P */
	set_arr(&f, d, 0, 5000);
	xe_assert(res(&f, d, 6, ARR, 1, 2, 0, SELF) == 1);
	m = arr(&f, d, 0);
	for (unsigned i = 0; i < 4; i++)
		xe_assert(f.h->frame[m + i].m2p == 5000 + i);
	/* a page table stays as long as it is used */
	set_arr(&f, d, 0, f.h->domain[d]->vcpu[0]->cr3);
	n = pages(&f, d);
	xe_assert(res(&f, d, 1, ARR, 1, 0, 0, SELF) == 1 &&
		  res(&f, d, 1, ARR, 1, 0, 0, SELF) == 1 && pages(&f, d) == n);
	xe_assert(xe_domain_destroy(f.h, d) == 0);
	check_frames(&f);
	stop(&f);
}

static int64_t exchange(struct fix *f, uint32_t d, struct xe_memory_exchange *x)
{
	return op(f, d, 12, 11, x, sizeof(*x));
}

static struct xe_memory_exchange swap(uint64_t n_in, uint32_t in, uint64_t n_out, uint32_t out)
{
	return (struct xe_memory_exchange){
		.in = {.extent_start = ARR, .nr_extents = n_in, .extent_order = in, .domid = SELF},
		.out = {.extent_start = OUT,
			.nr_extents = n_out,
			.extent_order = out,
			.domid = SELF},
	};
}

#define FAILS(x, e, n) xe_assert(exchange(&f, d, &(x)) == (e) && (x).nr_exchanged == (n))

static void test_exchange(void)
{
	struct fix f;
	struct xe_memory_exchange x;
	uint32_t d;
	uint64_t n, old, m, pfn = 900;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(res(&f, d, 0, ARR, 8, 0, 0, SELF) == 8);
	n = pages(&f, d);
	x = swap(1, 0, 1, 0);
	old = arr(&f, d, 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, old) == 0);
	FAILS(x, -EINVAL, 0); /* mapped */
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0) == 0 && xe_guest_write(f.h, d, OUT, &pfn, 8) == 0);
	FAILS(x, 0, 1);
	xe_assert(xe_guest_read(f.h, d, OUT, &m, 8) == 0 && m != old && f.h->frame[m].m2p == pfn &&
		  f.h->frame[m].owner == d && pages(&f, d) == n);
	check_frames(&f);
	FAILS(x, 0, 1); /* all done already */
	x.nr_exchanged = 2;
	FAILS(x, -EINVAL, 2);
	/* sizes and orders */
	x = swap(1, 0, 2, 0);
	FAILS(x, -EINVAL, 0);
	x = swap(1ull << 60, 9, 1ull << 60, 9);
	FAILS(x, -EINVAL, 0);
	x = swap(1, 10, 1, 10);
	FAILS(x, -EPERM, 0);
	x = swap(0, 0, 0, 0);
	FAILS(x, 0, 0);
	x = swap(1, 0, 1, 0);
	x.out.domid = (uint16_t)d;
	FAILS(x, -EINVAL, 0);
	x.in.domid = (uint16_t)d;
	FAILS(x, -EINVAL, 0); /* the old frame is gone */
	x.in.domid = x.out.domid = 0;
	FAILS(x, -EPERM, 0);
	x.in.domid = x.out.domid = 0x7ff1;
	FAILS(x, -ESRCH, 0);
	xe_assert(hc(&f, d, 12, 11, BAD, 0, 0) == -EFAULT &&
		  hc(&f, d, 12, 11 | 64, ARG, 0, 0) == -EINVAL);
	x = swap(1, 0, 1, 0);
	x.in.extent_start = BAD;
	FAILS(x, -EFAULT, 0);
	x.in.extent_start = XEN_VA;
	FAILS(x, -EFAULT, 0);
	x = swap(1, 0, 1, 0);
	x.out.extent_start = XEN_VA;
	FAILS(x, -EFAULT, 0);
	/* flags: nothing is lost by a failure */
	set_arr(&f, d, 0, m);
	x = swap(1, 0, 1, 0);
	x.out.mem_flags = 12;
	FAILS(x, -ENOMEM, 0);
	x.out.mem_flags = 2 << 8 | 1 << 17;
	FAILS(x, -EINVAL, 0);
	set_arr(&f, d, 9, m);
	x = swap(2, 0, 1, 1);
	set_arr(&f, d, 1, m); /* the same twice */
	FAILS(x, -EINVAL, 0);
	xe_assert(f.h->frame[m].owner == d && f.h->frame[m].count_info == (XE_PGC_ALLOCATED | 1));
	set_arr(&f, d, 0, info(&f, d).shared_info_mfn);
	x = swap(1, 0, 1, 0);
	FAILS(x, -EINVAL, 0);
	check_frames(&f);
	/* four pages to one extent and back; a bad chunk leaves those before it done */
	xe_assert(res(&f, d, 0, ARR, 4, 0, 0, SELF) == 4);
	x = swap(4, 0, 1, 2);
	FAILS(x, 0, 4);
	xe_assert(xe_guest_read(f.h, d, OUT, &m, 8) == 0 && m % 4 == 0);
	set_arr(&f, d, 0, m);
	x = swap(1, 2, 4, 0);
	FAILS(x, 0, 1);
	n = pages(&f, d);
	xe_assert(res(&f, d, 0, ARR, 6, 0, 0, SELF) == 6 && pages(&f, d) == n + 6);
	set_arr(&f, d, 4, UINT64_MAX);
	x = swap(6, 0, 3, 1);
	FAILS(x, -EINVAL, 4);
	xe_assert(pages(&f, d) == n + 6);
	check_frames(&f);
	/* where the answer can't be written it is done nevertheless */
	set_arr(&f, d, 0, arr(&f, d, 5));
	x = swap(1, 0, 1, 0);
	x.out.extent_start = BAD;
	FAILS(x, -EFAULT, 0);
	FAILS(x, -EINVAL, 0);
	xe_assert(pages(&f, d) == n + 6);
	check_frames(&f);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static int64_t ask(struct fix *f, uint32_t d, uint32_t cmd, uint16_t dom)
{
	return op(f, d, 12, cmd, &dom, sizeof(dom));
}

static void test_queries(void)
{
	struct fix f;
	uint32_t d;
	struct xe_shared_info *s;
	struct xe_machphys_mapping m;
	struct xe_machphys_mfn_list l = {.max_extents = 100, .extent_start = ARR};

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(hc(&f, d, 12, 2, 0, 0, 0) == FRAMES &&
		  hc(&f, d, 12, 2 | 64, 0, 0, 0) == -EINVAL &&
		  hc(&f, d, 12, 2 | 1ull << 32, 0, 0, 0) == -EINVAL);
	xe_assert(ask(&f, d, 3, SELF) == PAGES && ask(&f, d, 4, SELF) == PAGES + LOG_PAGES);
	xe_assert(ask(&f, 0, 3, (uint16_t)d) == PAGES && ask(&f, d, 3, 0) == -EPERM &&
		  ask(&f, 0, 3, 0x7ff2) == -ESRCH && ask(&f, 0, 3, 77) == -ESRCH &&
		  hc(&f, d, 12, 3, BAD, 0, 0) == -EFAULT && ask(&f, d, 3 | 64, SELF) == -EINVAL);
	s = xe_shared_info(f.h, f.h->domain[d]);
	s->arch.max_pfn = 0;
	xe_assert(ask(&f, d, 14, SELF) == 0);
	s->arch.max_pfn = 1234;
	xe_assert(ask(&f, d, 14, SELF) == 1233);
	/* M2P */
	xe_assert(op(&f, 0, 12, 12, &m, sizeof(m)) == 0 && m.v_start == 0xffff800000000000ull &&
		  m.v_end == 0xffff804000000000ull && m.max_mfn == FRAMES - 1);
	xe_assert(op(&f, d, 12, 12, &m, sizeof(m)) == 0 && m.max_mfn == (1ull << 35) - 1);
	xe_assert(hc(&f, d, 12, 12, BAD, 0, 0) == -EFAULT &&
		  hc(&f, d, 12, 12 | 64, ARG, 0, 0) == -ENOSYS);
	xe_assert(op(&f, d, 12, 5, &l, sizeof(l)) == 0 && l.nr_extents == 1 && !arr(&f, d, 0));
	l.max_extents = 0;
	xe_assert(op(&f, d, 12, 5, &l, sizeof(l)) == 0 && l.nr_extents == 0);
	l = (struct xe_machphys_mfn_list){.max_extents = 1, .extent_start = BAD};
	xe_assert(op(&f, d, 12, 5, &l, sizeof(l)) == -EFAULT &&
		  hc(&f, d, 12, 25, BAD, 0, 0) == -EOPNOTSUPP);
	/* of no meaning to PV */
	struct xe_add_to_physmap a = {.domid = SELF, .space = 4};
	struct xe_add_to_physmap_batch b = {.domid = SELF, .space = 3};
	struct xe_remove_from_physmap r = {.domid = SELF};
	struct xe_pod_target p = {.domid = SELF};
	struct xe_mem_access_op ac = {.domid = SELF};
	struct xe_vnuma_topology_info v = {.domid = SELF};
	struct xe_reserved_device_memory_map rd = {.nr_entries = 5};
	struct xe_mem_acquire_resource q = {.domid = SELF, .type = 3, .nr_frames = 1};

	xe_assert(op(&f, d, 12, 7, &a, sizeof(a)) == -ENOSYS &&
		  op(&f, d, 12, 23, &b, sizeof(b)) == -EOPNOTSUPP);
	a.space = b.space = 0;
	xe_assert(op(&f, d, 12, 7, &a, sizeof(a)) == -EACCES &&
		  op(&f, d, 12, 23, &b, sizeof(b)) == -EACCES &&
		  op(&f, d, 12, 15, &r, sizeof(r)) == -EACCES);
	a.domid = b.domid = r.domid = 77;
	xe_assert(op(&f, d, 12, 7, &a, sizeof(a)) == -ESRCH &&
		  op(&f, d, 12, 23, &b, sizeof(b)) == -ESRCH &&
		  op(&f, d, 12, 15, &r, sizeof(r)) == -ESRCH);
	xe_assert(hc(&f, d, 12, 7 | 64, BAD, 0, 0) == -EFAULT &&
		  hc(&f, d, 12, 7 | 65536 << 6, BAD, 0, 0) == -EDOM &&
		  hc(&f, d, 12, 15 | 64, ARG, 0, 0) == -EINVAL &&
		  hc(&f, d, 12, 23, BAD, 0, 0) == -EFAULT);
	xe_assert(op(&f, d, 12, 16, &p, sizeof(p)) == -EINVAL &&
		  op(&f, d, 12, 17, &p, sizeof(p)) == -EINVAL);
	p.domid = 77;
	xe_assert(op(&f, d, 12, 16, &p, sizeof(p)) == -ESRCH &&
		  hc(&f, d, 12, 17, BAD, 0, 0) == -EFAULT);
	xe_assert(hc(&f, d, 12, 18, 0, 0, 0) == 0 && hc(&f, d, 12, 19, 0, 0, 0) == 0 &&
		  hc(&f, d, 12, 20, 0, 0, 0) == -ENOSYS && hc(&f, d, 12, 22, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 12, 8, 0, 0, 0) == -ENOSYS && hc(&f, d, 12, 63, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 12, 18 | 64, 0, 0, 0) == -ENOSYS);
	xe_assert(op(&f, d, 12, 21, &ac, sizeof(ac)) == -ESRCH &&
		  hc(&f, d, 12, 21, BAD, 0, 0) == -EFAULT);
	ac.domid = (uint16_t)d;
	xe_assert(op(&f, d, 12, 21, &ac, sizeof(ac)) == -EPERM &&
		  op(&f, 0, 12, 21, &ac, sizeof(ac)) == -EINVAL);
	xe_assert(op(&f, d, 12, 26, &v, sizeof(v)) == -EOPNOTSUPP &&
		  hc(&f, d, 12, 26, BAD, 0, 0) == -EFAULT);
	v.domid = 0;
	xe_assert(op(&f, d, 12, 26, &v, sizeof(v)) == -EPERM && (v.pad = 1) &&
		  op(&f, d, 12, 26, &v, sizeof(v)) == -EINVAL);
	xe_assert(op(&f, d, 12, 27, &rd, sizeof(rd)) == 0 && !rd.nr_entries &&
		  hc(&f, d, 12, 27, BAD, 0, 0) == -EFAULT);
	rd.flags = 2;
	xe_assert(op(&f, d, 12, 27, &rd, sizeof(rd)) == -EINVAL);
	xe_assert(op(&f, 0, 12, 28, &q, sizeof(q)) == -ESRCH &&
		  hc(&f, 0, 12, 28, BAD, 0, 0) == -EFAULT);
	stop(&f);
}

static int64_t acquire(struct fix *f, uint32_t d, uint16_t dom, uint16_t type, uint32_t id,
		       uint32_t n, uint64_t first, uint64_t list)
{
	struct xe_mem_acquire_resource q = {dom, type, id, n, 0, first, list};
	int64_t r = op(f, d, 12, 28, &q, sizeof(q));

	return r || list ? r : q.nr_frames;
}

/* The grant table of another domain, as the control domain may have it. */
static void test_resources(void)
{
	struct fix f;
	uint8_t o[144];
	uint16_t e;
	uint32_t d;
	struct xe_mem_acquire_resource pad = {
		.type = 1, .nr_frames = 1, .pad = 1, .frame_list = ARR};

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(create(&f, 0, o) == 0); /* of up to 4 frames */
	e = o[8];
	xe_assert(acquire(&f, 0, SELF, 1, 0, 1, 0, ARR) == -ESRCH &&
		  acquire(&f, 0, 0, 1, 0, 1, 0, ARR) == -EPERM &&
		  acquire(&f, 0, 999, 1, 0, 1, 0, ARR) == -ESRCH &&
		  acquire(&f, d, e, 1, 0, 1, 0, ARR) == -EPERM);
	xe_assert(acquire(&f, 0, e, 1, 0, 0, 0, 0) == 4 &&
		  acquire(&f, 0, e, 1, 0, 1, 0, 0) == -EINVAL &&
		  acquire(&f, 0, e, 1, 1, 0, 0, 0) == 1);
	xe_assert(acquire(&f, 0, e, 1, 0, 1, 0, ARR) == 0 &&
		  acquire(&f, 0, e, 1, 0, 4, 0, ARR + 64) == 0 && arr(&f, 0, 0) == arr(&f, 0, 8) &&
		  f.h->frame[arr(&f, 0, 11)].owner == e);
	xe_assert(acquire(&f, 0, e, 1, 0, 1, 3, ARR) == 0 && arr(&f, 0, 0) == arr(&f, 0, 11));
	xe_assert(acquire(&f, 0, e, 1, 0, 5, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 0, 1, 4, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 0, 0, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 1, 1, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 2, 1, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 0, 0, 1, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 2, 0, 1, 0, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 3, 0, 1, 0, ARR) == -EOPNOTSUPP &&
		  acquire(&f, 0, e, 3, 0, 0, 0, 0) == (uint32_t)-EOPNOTSUPP);
	xe_assert(acquire(&f, 0, e, 1, 0, 1, 1ull << 32, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 0, 2, UINT32_MAX, ARR) == -EINVAL &&
		  acquire(&f, 0, e, 1, 0, 1, 0, BAD) == -EFAULT);
	pad.domid = e;
	xe_assert(op(&f, 0, 12, 28, &pad, sizeof(pad)) == -EINVAL);
	check_frames(&f);
	xe_assert(xe_domain_destroy(f.h, e) == 0);
	check_frames(&f);
	stop(&f);
}

static void test_maps(void)
{
	struct fix f;
	uint32_t d;
	uint8_t e[60], back[60] = {0};
	struct xe_memory_map m = {.nr_entries = 9, .buffer = ARR};
	struct xe_foreign_memory_map s = {.domid = SELF, .map = {.nr_entries = 3, .buffer = ARR}};

	start(&f, FRAMES, true);
	d = guest(&f);
	for (unsigned i = 0; i < sizeof(e); i++)
		e[i] = (uint8_t)i;
	xe_assert(op(&f, d, 12, 9, &m, sizeof(m)) == -ENOSYS &&
		  hc(&f, d, 12, 9, BAD, 0, 0) == -EFAULT);
	xe_assert(xe_guest_write(f.h, d, ARR, e, 60) == 0 && op(&f, d, 12, 13, &s, sizeof(s)) == 0);
	m.buffer = OUT;
	xe_assert(op(&f, d, 12, 9, &m, sizeof(m)) == 0 && m.nr_entries == 3);
	xe_assert(xe_guest_read(f.h, d, OUT, back, 60) == 0 && !memcmp(e, back, 60));
	m.nr_entries = 1;
	xe_assert(op(&f, d, 12, 9, &m, sizeof(m)) == 0 && m.nr_entries == 1);
	m.buffer = BAD;
	xe_assert(op(&f, d, 12, 9, &m, sizeof(m)) == -EFAULT);
	s.map.nr_entries = 1025;
	xe_assert(op(&f, d, 12, 13, &s, sizeof(s)) == -EINVAL);
	s.map.nr_entries = 1;
	s.map.buffer = BAD;
	xe_assert(op(&f, d, 12, 13, &s, sizeof(s)) == -EFAULT &&
		  hc(&f, d, 12, 13, BAD, 0, 0) == -EFAULT);
	s.domid = 0;
	xe_assert(op(&f, d, 12, 13, &s, sizeof(s)) == -EPERM);
	s.domid = 77;
	xe_assert(op(&f, d, 12, 13, &s, sizeof(s)) == -ESRCH);
	s = (struct xe_foreign_memory_map){.domid = (uint16_t)d};
	xe_assert(op(&f, 0, 12, 13, &s, sizeof(s)) == 0 &&
		  op(&f, d, 12, 9, &m, sizeof(m)) == -ENOSYS);
	/* the machine's own */
	m = (struct xe_memory_map){0};
	xe_assert(op(&f, d, 12, 10, &m, sizeof(m)) == -EPERM &&
		  op(&f, 0, 12, 10, &m, sizeof(m)) == 0 && m.nr_entries == 1);
	m = (struct xe_memory_map){.nr_entries = 1, .buffer = ARR};
	xe_assert(op(&f, 0, 12, 10, &m, sizeof(m)) == -EINVAL);
	m.nr_entries = 5;
	xe_assert(op(&f, 0, 12, 10, &m, sizeof(m)) == 0 && m.nr_entries == 1 && !arr(&f, 0, 0) &&
		  arr(&f, 0, 1) == (uint64_t)FRAMES * 4096 && (uint32_t)arr(&f, 0, 2) == 1);
	m = (struct xe_memory_map){.nr_entries = 5, .buffer = BAD};
	xe_assert(op(&f, 0, 12, 10, &m, sizeof(m)) == -EFAULT &&
		  hc(&f, 0, 12, 10, BAD, 0, 0) == -EFAULT);
	stop(&f);
}

static void test_claims(void)
{
	struct fix f;
	uint8_t o[144];
	uint32_t d, e;
	uint64_t n;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(create(&f, 0, o) == 0);
	e = o[8];
	xe_assert(res(&f, 0, 24, 0, 10, 0, 0, (uint16_t)e) == -EINVAL); /* more than it may have */
	f.h->domain[e]->max_pages = 1 << 20;
	xe_assert(res(&f, 0, 24, ARR, 10, 0, 0, (uint16_t)e) == -EINVAL &&
		  res(&f, 0, 24, 0, 10, 1, 0, (uint16_t)e) == -EINVAL &&
		  res(&f, 0, 24, 0, 10, 0, 1, (uint16_t)e) == -EINVAL &&
		  res(&f, 0, 24, 0, 10, 0, 0, SELF) == -EINVAL &&
		  res(&f, 0, 24, 0, 10, 0, 0, 77) == -EINVAL &&
		  res(&f, d, 24, 0, 10, 0, 0, (uint16_t)e) == -EPERM &&
		  hc(&f, 0, 12, 24, BAD, 0, 0) == -EFAULT &&
		  res(&f, 0, 24 | 64, 0, 10, 0, 0, (uint16_t)e) == -EINVAL &&
		  res(&f, 0, 24, 0, 1ull << 32, 0, 0, (uint16_t)e) == -EINVAL &&
		  res(&f, 0, 24, 0, 1 << 20, 0, 0, (uint16_t)e) == -ENOMEM);
	n = xe_host_free_pages(f.h);
	xe_assert(res(&f, 0, 24, 0, n, 0, 0, (uint16_t)e) == 0 && f.h->domain[e]->claimed == n);
	xe_assert(res(&f, 0, 24, 0, n, 0, 0, (uint16_t)e) == -EINVAL);
	xe_assert(res(&f, d, 0, ARR, 1, 0, 0, SELF) == 0); /* all of it is another's */
	xe_assert(res(&f, 0, 0, ARR, 3, 0, 0, (uint16_t)e) == 3 &&
		  f.h->domain[e]->claimed == n - 3);
	check_frames(&f);
	xe_assert(res(&f, 0, 24, 0, 0, 0, 0, (uint16_t)e) == 0 && !f.h->claimed &&
		  res(&f, d, 0, ARR, 1, 0, 0, SELF) == 1);
	xe_assert(res(&f, 0, 24, 0, 3, 0, 0, (uint16_t)e) == -EINVAL && /* it has them */
		  res(&f, 0, 24, 0, 4, 0, 0, (uint16_t)e) == 0 && f.h->claimed == 1);
	xe_assert(xe_domain_destroy(f.h, e) == 0 && !f.h->claimed);
	check_frames(&f);
	stop(&f);
}

static uint64_t random_below(uint64_t *s, uint64_t n)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return (*s >> 33) % n;
}

/* Two domains take, give up, populate, exchange and map what they can name. */
static void test_random(uint64_t seed)
{
	struct fix f;
	uint32_t d[2];
	uint64_t s = seed * 2654435761u + 1;

#define RND(n) random_below(&s, n)
	start(&f, FRAMES, seed & 1);
	d[0] = guest(&f);
	d[1] = guest(&f);
	for (int step = 0; step < 1500; step++) {
		uint32_t who = d[RND(2)], cmd = (uint32_t[]){0, 1, 6, 1, 11, 99}[RND(6)];
		uint32_t o = (uint32_t)RND(10);
		uint64_t n = 1 + RND(4);
		struct xe_memory_exchange x = swap(n << o, 0, n, o);

		for (unsigned i = 0; i < 8; i++)
			set_arr(&f, who, i, RND(20) ? RND(FRAMES) : RND(UINT64_MAX));
		if (cmd == 11) {
			for (uint64_t i = 0; i < n << o && i < 256; i++)
				set_arr(&f, who, (unsigned)i, RND(FRAMES));
			if (RND(2))
				res(&f, who, 0, ARR, 4, 0, 0, SELF);
			if (RND(2))
				x = swap(n, 0, n, 0);
			exchange(&f, who, &x);
		} else if (cmd == 99) {
			map(&f, who, XE_LOG_WINDOW + RND(64) * 4096, RND(3) ? arr(&f, who, 0) : 0);
		} else {
			res(&f, who, cmd, RND(9) ? ARR : BAD, n, o,
			    (uint32_t)(RND(3) ? 0 : RND(40)), (uint16_t)(RND(5) ? SELF : RND(4)));
		}
		if (step % 16 == 0)
			check_frames(&f);
		if (step % 500 == 499) {
			xe_assert(xe_domain_destroy(f.h, d[step / 500 % 2]) == 0);
			check_frames(&f);
			d[step / 500 % 2] = guest(&f);
		}
	}
	xe_assert(xe_domain_destroy(f.h, d[0]) == 0 && xe_domain_destroy(f.h, d[1]) == 0);
	check_frames(&f);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	stop(&f);
#undef RND
}

int main(void)
{
	test_orders();
	test_reservation();
	test_exchange();
	test_queries();
	test_resources();
	test_maps();
	test_claims();
	for (uint64_t seed = 1; seed <= 6; seed++)
		test_random(seed);
	puts("memory: ok");
	return 0;
}
