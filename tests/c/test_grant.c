/* Grants mapped and unmapped: the answers of real Xen to the same sequences; references, pins,
 * flags, handles, lifetimes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "grant_fix.h"

/* The calls of the probe that real Xen answered as domain 0, in its order. */
static void test_oracle(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	struct xe_gnttab_query_size q = {.dom = SELF};
	struct xe_gnttab_get_version gv = {.dom = SELF};
	struct xe_gnttab_set_version sv = {.version = 3};
	uint64_t page, va = VA(40);

	start(&f, FRAMES, true);
	f.h->domain[0]->max_grant_frames = 8;
	page = mfn_of(&f, 0, VA(20));
	xe_assert(gr(&f, 0, QUERY, &q, sizeof(q), 1) == 0 && q.nr_frames == 1 &&
		  q.max_nr_frames == 8 && q.status == 0);
	q.dom = 77;
	xe_assert(gr(&f, 0, QUERY, &q, sizeof(q), 1) == 0 && q.status == -2);
	xe_assert(gr_some(&f, 0, QUERY, &q, sizeof(q), 2) == -EINVAL);
	t = table(&f, 0);
	xe_assert(map(&f, 0, VA(30), arr(&f, 0, 0)) == 0);
	xe_assert(setup(&f, 0, SELF, 1000, ARR) == -1 && setup(&f, 0, 77, 1, ARR) == -2);
	grant(&t[8], 0, page, 1);
	grant(&t[9], 0, page, 5);
	grant(&t[10], 3, page, 1);
	grant(&t[11], 0, f.frames + 5, 1);
	xe_assert(map_ref(&f, 0, SELF, 8, HOST, va) == -2);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, va) == 0 && gmap.handle == 0 && t[8].flags == 0x19);
	xe_assert(unmap_ref(&f, 0, 0, va, 0) == 0 && unmap_ref(&f, 0, 0, va, 0) == -4);
	xe_assert(unmap_ref(&f, 0, 9999, va, 0) == -4 && t[8].flags == 1);
	xe_assert(map_ref(&f, 0, 0, 9, HOST, va) == -1);
	xe_assert(map_ref(&f, 0, 0, 9, HOST | RO, va) == 0 && gmap.handle == 2);
	xe_assert(t[9].flags == 0xd && unmap_ref(&f, 0, 2, va, 0) == 0 && t[9].flags == 5);
	xe_assert(map_ref(&f, 0, 0, 10, HOST, va) == -1 && map_ref(&f, 0, 0, 12, HOST, va) == -1);
	xe_assert(map_ref(&f, 0, 0, 11, HOST, va) == -9 && t[11].flags == 1);
	xe_assert(map_ref(&f, 0, 0, 100000, HOST, va) == -3 &&
		  map_ref(&f, 0, 77, 8, HOST, va) == -2);
	xe_assert(map_ref(&f, 0, 0, 8, 0, va) == -3);
	f.mem[page * 4096 + 7] = 0x5a;
	xe_assert(copy(&f, 0, 0, OWN(page), 0, OWN(page), 64, 64) == 0);
	xe_assert(f.mem[page * 4096 + 71] == 0x5a);
	xe_assert(copy(&f, 0, 1, GREF(0, 8), 0, OWN(page), 128, 64) == 0);
	xe_assert(copy(&f, 0, 1, GREF(0, 10), 0, OWN(page), 0, 64) == -1);
	xe_assert(copy(&f, 0, 1, GREF(0, 100000), 0, OWN(page), 0, 64) == -3);
	xe_assert(copy(&f, 0, 0, OWN(page), 4000, OWN(page), 0, 200) == -10);
	xe_assert(copy(&f, 0, 0, OWN(page), 0, OWN(page), 0, 0) == 0);
	xe_assert(transfer(&f, 0, page, 77, 0) == -9 && transfer(&f, 0, page, 0, 8) == -9);
	xe_assert(transfer(&f, 0, 0, 0, 8) == -9);
	xe_assert(gr(&f, 0, GET_VERSION, &gv, sizeof(gv), 1) == 0 && gv.version == 1);
	xe_assert(gr(&f, 0, SET_VERSION, &sv, sizeof(sv), 1) == -EINVAL && sv.version == 1);
	xe_assert(hc(&f, 0, 20, 99, ARG, 1, 0) == -ENOSYS &&
		  hc(&f, 0, 20, MAP, BAD, 1, 0) == -EFAULT);
	xe_assert(hc(&f, 0, 20, MAP, ARG, 0xffffffff, 0) == -EINVAL);
	xe_assert(hc(&f, 0, 20, MAP, ARG, 0, 0) == 0);
	finish(&f);
}

/* What entries of page tables look like, and every way to name one. */
static void test_entries(void)
{
	static const struct {
		uint32_t flags;
		uint64_t bits;
		uint16_t shared;
	} as[] = {
		{0x2, 0x8010000000000067, 0x19},     {0x6, 0x8010000000000065, 9},
		{0xa, 0x8000000000000167, 0x19},     {0xe, 0x8000000000000165, 9},
		{0x3, 0x8010000000000067, 0x19},     {0x7, 0x8010000000000065, 9},
		{0x70002, 0x8010000000000e67, 0x19}, {0xffff0002, 0x8010000000000e67, 0x19},
		{0xe2, 0x8010000000000067, 0x19},
	};
	struct fix f;
	struct xe_grant_entry *t;
	uint64_t page, va = VA(40), own, ma;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	grant(&t[8], 0, page, 1);
	xe_assert(refs(&f, page) == 2 && types(&f, page) == 1);
	for (unsigned i = 0; i < sizeof(as) / sizeof(as[0]); i++) {
		unsigned n = as[i].flags & 1 ? 2 : 1, rw = as[i].flags & RO ? 0 : n;

		xe_assert(map_ref(&f, 0, 0, 8, as[i].flags, va) == 0 && gmap.handle == i);
		xe_assert(PTE_BITS(*pte(&f, 0, va)) == as[i].bits && mfn_of(&f, 0, va) == page);
		xe_assert(t[8].flags == as[i].shared && gmap.dev_bus_addr == page << 12);
		xe_assert(refs(&f, page) == 2 + n && types(&f, page) == 1 + rw);
		xe_assert(unmap_ref(&f, 0, i, va, as[i].flags & 1 ? page << 12 : 0) == 0);
		xe_assert(*pte(&f, 0, va) == 0 && t[8].flags == 1);
		xe_assert(refs(&f, page) == 2 && types(&f, page) == 1);
	}
	/* any address in the page; no such tables; handles are used up by failures as well */
	xe_assert(map_ref(&f, 0, 0, 8, HOST, va + 123) == 0 && gmap.handle == 9);
	xe_assert(unmap_ref(&f, 0, 9, va + 5, 0) == 0);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, 0x7f0000000000) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, XEN_VA) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, 0x900000000000) == -1);
	xe_assert(t[8].flags == 1 && refs(&f, page) == 2 && types(&f, page) == 1);
	/* by the machine address of the entry */
	ma = pte_ma(&f, 0, va);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | BY_PTE, ma) == 0 && gmap.handle == 13);
	xe_assert(mfn_of(&f, 0, va) == page);
	xe_assert(unmap_ref(&f, 0, 13, ma + 4, 0) == -1 && unmap_ref(&f, 0, 13, ma + 8, 0) == -1);
	xe_assert(unmap_ref(&f, 0, 13, va, 0) == -1 && replace(&f, 0, 13, ma, VA(41)) == -1);
	xe_assert(unmap_ref(&f, 0, 13, ma, 0) == 0 && unmap_ref(&f, 0, 13, ma, 0) == -4);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | BY_PTE, ma + 4) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | BY_PTE, page << 12) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | BY_PTE, f.frames << 12) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | BY_PTE, ~7ull) == -1);
	/* a linear mapping is not undone by machine address, elsewhere, or where rights differ */
	own = mfn_of(&f, 0, VA(41));
	xe_assert(map_ref(&f, 0, 0, 8, HOST, va) == 0 && gmap.handle == 18);
	xe_assert(unmap_ref(&f, 0, 18, ma, 0) == -1 && unmap_ref(&f, 0, 18, VA(42), 0) == -1);
	xe_assert(hc(&f, 0, 14, VA(41), page << 12 | 0x65, 0, 0) == 0);
	xe_assert(unmap_ref(&f, 0, 18, VA(41), 0) == -1 && t[8].flags == 0x19);
	/* but at another mapping of the same frame it is, as in Xen */
	xe_assert(map(&f, 0, VA(41), page) == 0 && unmap_ref(&f, 0, 18, VA(41), 0) == 0);
	xe_assert(t[8].flags == 1 && mfn_of(&f, 0, va) == page && *pte(&f, 0, VA(41)) == 0);
	xe_assert(refs(&f, page) == 3 && types(&f, page) == 2);
	xe_assert(map(&f, 0, va, 0) == 0 && map(&f, 0, VA(41), own) == 0);
	xe_assert(refs(&f, page) == 2 && types(&f, page) == 1);
	/* an entry that was overwritten: the references went, pin and handle stay */
	own = mfn_of(&f, 0, VA(42));
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(43)) == 0 && gmap.handle == 19);
	xe_assert(map(&f, 0, VA(43), own) == 0 && refs(&f, page) == 2);
	xe_assert(unmap_ref(&f, 0, 19, VA(43), 0) == -1 && unmap_ref(&f, 0, 19, 0, 0) == 0);
	xe_assert(t[8].flags == 0x19 && map(&f, 0, VA(43), page) == 0);
	xe_assert(unmap_ref(&f, 0, 19, VA(43), 0) == 0 && t[8].flags == 1 && refs(&f, page) == 2);
	finish(&f);
}

static void test_partial_unmap(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint64_t page, bus, va = VA(40);

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	bus = page << 12;
	grant(&t[8], 0, page, 1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | DEV, va) == 0 && gmap.handle == 0);
	xe_assert(unmap_ref(&f, 0, 0, va, 0) == 0 && t[8].flags == 0x19);
	xe_assert(unmap_ref(&f, 0, 0, va, 0) == 0); /* only the host's, and it is done */
	xe_assert(unmap_ref(&f, 0, 0, 0, bus + 1) == -6 && refs(&f, page) == 3);
	xe_assert(unmap_ref(&f, 0, 0, va, bus) == 0 && t[8].flags == 1 && refs(&f, page) == 2);
	xe_assert(unmap_ref(&f, 0, 0, 0, bus) == -4);
	xe_assert(map_ref(&f, 0, 0, 8, DEV, 0) == 0 && gmap.handle == 1);
	xe_assert(unmap_ref(&f, 0, 1, va, bus) == 0 && t[8].flags == 1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | DEV, va) == 0 && gmap.handle == 2);
	xe_assert(unmap_ref(&f, 0, 2, va, bus + 4096) == -6 && mfn_of(&f, 0, va) == page);
	xe_assert(unmap_ref(&f, 0, 2, va + 4096, bus) == -1 && refs(&f, page) == 4);
	xe_assert(unmap_ref(&f, 0, 2, va, bus) == 0 && t[8].flags == 1 && refs(&f, page) == 2);
	finish(&f);
}

/* Read-only and writable uses of one entry, also when its owner changes it meanwhile. */
static void test_pins(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint64_t page, l1;
	uint32_t a, b;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	grant(&t[8], 0, page, 1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | RO, VA(40)) == 0 && t[8].flags == 9);
	a = gmap.handle;
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(41)) == 0 && t[8].flags == 0x19);
	b = gmap.handle;
	xe_assert(unmap_ref(&f, 0, b, VA(41), 0) == 0 && t[8].flags == 9);
	t[8].flags |= 4;
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(41)) == -1 && t[8].flags == 0xd);
	t[8].flags = 0; /* can't be ended by its granter */
	xe_assert(map_ref(&f, 0, 0, 8, HOST | RO, VA(41)) == 0 && t[8].flags == 0);
	b = gmap.handle;
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(42)) == 0 && t[8].flags == 0x18);
	xe_assert(unmap_ref(&f, 0, gmap.handle, VA(42), 0) == 0 && t[8].flags == 8);
	xe_assert(unmap_ref(&f, 0, b, VA(41), 0) == 0 && unmap_ref(&f, 0, a, VA(40), 0) == 0);
	xe_assert(t[8].flags == 0 && xe_grant_active(f.h->domain[0], 8)->pin == 0);
	/* types and bits of an entry */
	static const struct {
		uint16_t flags;
		int status;
	} is[] = {{0, -1}, {2, -1}, {3, -1}, {0x101, -1}, {0xe1, 0}, {0xfe01, 0}, {0x8, -1}};

	for (unsigned i = 0; i < sizeof(is) / sizeof(is[0]); i++) {
		grant(&t[8], 0, page, is[i].flags);
		xe_assert(map_ref(&f, 0, 0, 8, DEV, 0) == is[i].status);
		if (!is[i].status)
			xe_assert(unmap_ref(&f, 0, gmap.handle, 0, page << 12) == 0);
		xe_assert(t[8].flags == is[i].flags);
	}
	/* bad frames: the flags are as before */
	grant(&t[8], 0, 0xffffffff, 1);
	xe_assert(map_ref(&f, 0, 0, 8, DEV | RO, 0) == -9 && t[8].flags == 1);
	xe_assert(map_ref(&f, 0, 0, 8, DEV, 0) == -9 && t[8].flags == 1);
	l1 = pte_ma(&f, 0, VA(40)) >> 12;
	grant(&t[8], 0, l1, 1);
	a = (uint32_t)refs(&f, l1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(40)) == -1 && map_ref(&f, 0, 0, 8, DEV, 0) == -1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST | DEV, VA(40)) == -1 && t[8].flags == 1);
	xe_assert(refs(&f, l1) == a && map_ref(&f, 0, 0, 8, HOST | DEV | RO, VA(40)) == 0);
	xe_assert(refs(&f, l1) == a + 2 && unmap_ref(&f, 0, gmap.handle, VA(40), l1 << 12) == 0);
	xe_assert(refs(&f, l1) == a);
	/* the table itself is a frame like others */
	grant(&t[8], 0, arr(&f, 0, 0), 1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(40)) == 0 && t[8].flags == 0x19);
	xe_assert(unmap_ref(&f, 0, gmap.handle, VA(40), 0) == 0 && t[8].flags == 1);
	finish(&f);
}

static void test_counters(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint32_t h[300], n;
	uint64_t page;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	grant(&t[17], 0, page, 1);
	for (n = 0; map_ref(&f, 0, 0, 17, DEV, 0) == 0; n++)
		h[n] = gmap.handle;
	xe_assert(n == 128 && gmap.status == -1 && h[127] == 127);
	xe_assert(copy(&f, 0, 1, GREF(0, 17), 0, OWN(page), 0, 8) == 0);
	xe_assert(map_ref(&f, 0, 0, 17, DEV | RO, 0) == 0 && gmap.handle == 129);
	xe_assert(map_ref(&f, 0, 0, 17, HOST, VA(40)) == 0 && gmap.handle == 130);
	xe_assert(map_ref(&f, 0, 0, 17, HOST | DEV, VA(41)) == -1);
	for (uint32_t i = 0; i < n; i++)
		xe_assert(unmap_ref(&f, 0, h[i], 0, page << 12) == 0);
	xe_assert(unmap_ref(&f, 0, 129, 0, page << 12) == 0 && t[17].flags == 0x19);
	xe_assert(unmap_ref(&f, 0, 130, VA(40), 0) == 0 && t[17].flags == 1);
	/* more handles than a frame of them has: the order of Xen */
	xe_assert(map_ref(&f, 0, 0, 17, DEV, 0) == 0 && gmap.handle == 132);
	xe_assert(unmap_ref(&f, 0, 132, 0, page << 12) == 0);
	grant(&t[18], 0, page, 1);
	grant(&t[19], 0, page, 1);
	for (uint32_t i = 0; i < 300; i++) {
		xe_assert(map_ref(&f, 0, 0, 17 + i % 3, DEV, 0) == 0);
		h[i] = gmap.handle;
	}
	xe_assert(h[0] == 133 && h[123] == 128 && h[124] == 131 && h[125] == 0 && h[299] == 300);
	for (uint32_t i = 0; i < 300; i++)
		xe_assert(unmap_ref(&f, 0, h[i], 0, page << 12) == 0);
	xe_assert(map_ref(&f, 0, 0, 17, DEV, 0) == 0 && gmap.handle == 301);
	xe_assert(unmap_ref(&f, 0, 301, 0, page << 12) == 0 && refs(&f, page) == 2);
	finish(&f);
}

static void test_handle_limit(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	struct xe_domain *d;
	uint64_t page, arg[5] = {MAP, ARG, 1};
	uint32_t n;

	start(&f, FRAMES, true);
	d = f.h->domain[0];
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	for (uint32_t i = 8; i < 12; i++)
		grant(&t[i], 0, page, 1);
	d->max_maptrack_frames = 0;
	xe_assert(map_ref(&f, 0, 0, 8, DEV, 0) == -13);
	d->max_maptrack_frames = 1;
	for (n = 0; map_ref(&f, 0, 0, 8 + n / 100, DEV, 0) == 0; n++)
		xe_assert(gmap.handle == n);
	xe_assert(n == 255 && gmap.status == -13); /* one stays as the end of the list */
	for (n = 0; n < 255; n++)
		xe_assert(unmap_ref(&f, 0, n, 0, page << 12) == 0);
	/* a second virtual CPU has none of its own and takes the first one's: two for one */
	struct xe_vcpu v = {.domain = d, .id = 1, .cr3 = d->vcpu[0]->cr3};
	struct xe_vcpu *both[2] = {d->vcpu[0], &v}, **old = d->vcpu;

	v.maptrack_head = v.maptrack_tail = UINT32_MAX;
	xe_tlb_flush(&v);
	d->vcpu = both;
	d->nvcpus = d->max_vcpus = 2;
	gmap = (struct xe_gnttab_map){.flags = DEV, .ref = 8};
	for (n = 0; n < 2; n++) {
		xe_assert(xe_guest_write(f.h, 0, ARG, &gmap, sizeof(gmap)) == 0);
		xe_assert(xe_vcpu_hypercall(f.h, 0, 1, 20, arg, 0) == 0);
		xe_assert(xe_guest_read(f.h, 0, ARG, &gmap, sizeof(gmap)) == 0);
		xe_assert(gmap.status == 0 && gmap.handle == (n ? 1 : 0));
		xe_assert(d->grants->maptrack[0][gmap.handle].vcpu == 1);
	}
	xe_assert(unmap_ref(&f, 0, 0, 0, page << 12) == 0); /* back to the second one's list */
	xe_assert(unmap_ref(&f, 0, 1, 0, page << 12) == 0 && v.maptrack_tail == 1);
	d->nvcpus = d->max_vcpus = 1;
	d->vcpu = old;
	finish(&f);
}

static void test_replace(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint64_t page, p41, p42, p43;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	p41 = mfn_of(&f, 0, VA(41));
	p42 = mfn_of(&f, 0, VA(42));
	p43 = mfn_of(&f, 0, VA(43));
	grant(&t[8], 0, page, 1);
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(40)) == 0);
	xe_assert(replace(&f, 0, gmap.handle, VA(40), VA(41)) == 0 && t[8].flags == 1);
	xe_assert(mfn_of(&f, 0, VA(40)) == p41 && *pte(&f, 0, VA(41)) == 0);
	xe_assert(refs(&f, p41) == 2 && types(&f, p41) == 1 && refs(&f, page) == 2);
	/* at the wrong place: what was to be moved is gone all the same */
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(41)) == 0);
	xe_assert(replace(&f, 0, gmap.handle, VA(43), VA(42)) == -1);
	xe_assert(*pte(&f, 0, VA(42)) == 0 && mfn_of(&f, 0, VA(43)) == p43);
	xe_assert(refs(&f, p42) == 1 && types(&f, p42) == 0);
	xe_assert(replace(&f, 0, gmap.handle, VA(41), 0x7f0000000000) == -1);
	xe_assert(replace(&f, 0, gmap.handle, 0, VA(43)) == 0 && mfn_of(&f, 0, VA(43)) == p43);
	xe_assert(replace(&f, 0, gmap.handle, VA(41), 0) == 0 && t[8].flags == 1);
	/* by itself: the mapping goes, the pin stays */
	xe_assert(map_ref(&f, 0, 0, 8, HOST, VA(41)) == 0);
	xe_assert(replace(&f, 0, gmap.handle, VA(41), VA(41)) == -1 && t[8].flags == 0x19);
	xe_assert(*pte(&f, 0, VA(41)) == 0 && refs(&f, page) == 2 && types(&f, page) == 1);
	finish(&f);
}

/* A table and mappings of the control domain in a domain that dies, as probed on real Xen. */
static void test_zombie(void)
{
	struct fix f;
	struct xe_grant_entry *e;
	struct xe_gnttab_query_size q;
	uint64_t p[4], tab, bus, own, tot;
	uint32_t d, h[6];
	uint16_t z;

	start(&f, FRAMES, true);
	f.h->domain[0]->max_pages += 4;
	own = mfn_of(&f, 0, VA(30));
	d = guest(&f);
	z = (uint16_t)d;
	e = table(&f, d);
	tab = arr(&f, d, 0);
	for (unsigned i = 0; i < 4; i++) {
		p[i] = mfn_of(&f, d, VA(20 + i));
		grant(&e[8 + i], 0, p[i], 1);
	}
	grant(&e[12], 0, p[0], 5);
	xe_assert(map_ref(&f, 0, z, 8, HOST, VA(40)) == 0 && (h[0] = gmap.handle, true));
	xe_assert(map_ref(&f, 0, z, 9, DEV, 0) == 0 && (h[1] = gmap.handle, true));
	bus = gmap.dev_bus_addr;
	xe_assert(map_ref(&f, 0, z, 10, HOST | RO, VA(41)) == 0 && (h[2] = gmap.handle, true));
	xe_assert(xe_guest_write(f.h, 0, VA(40), "kept", 4) == 0);
	xe_assert(xe_guest_write(f.h, 0, VA(41), "x", 1) == -EFAULT);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && info(&f, d).dying);
	tot = info(&f, d).tot_pages;
	xe_assert(tot == 3 && e[8].flags == 0x19 && e[10].flags == 9);
	/* its table can be asked for, and grows, but is no memory that anybody may map */
	q = (struct xe_gnttab_query_size){.dom = z};
	xe_assert(gr(&f, 0, QUERY, &q, sizeof(q), 1) == 0 && q.nr_frames == 1);
	xe_assert(setup(&f, 0, z, 2, ARR) == 0 && arr(&f, 0, 0) == tab);
	xe_assert(!(f.h->frame[arr(&f, 0, 1)].count_info & XE_PGC_COUNT));
	xen_check(f.h);
	/* grants of frames that are kept still hold */
	xe_assert(map_ref(&f, 0, z, 9, HOST, VA(42)) == 0 && (h[3] = gmap.handle, true));
	xe_assert(map_ref(&f, 0, z, 8, HOST, VA(43)) == 0 && (h[4] = gmap.handle, true));
	xe_assert(map_ref(&f, 0, z, 11, HOST, VA(44)) == -9 && e[11].flags == 1);
	xe_assert(map_ref(&f, 0, z, 12, HOST | RO, VA(44)) == 0 && (h[5] = gmap.handle, true));
	xe_assert(copy(&f, 0, 1, GREF(z, 8), 0, OWN(own), 0, 4) == -2 && e[8].flags == 0x19);
	grant(&e[14], 0, p[0], 1);
	xe_assert(copy(&f, 0, 1, GREF(z, 14), 0, OWN(own), 0, 4) == 0);
	xe_assert(!memcmp(f.mem + own * 4096, "kept", 4));
	grant(&e[22], 0, 1, 2);
	xe_assert(transfer(&f, 0, new_page(&f, 0), z, 22) == -1 && e[22].flags == 2);
	xe_assert(unmap_ref(&f, 0, h[0], VA(40), 0) == 0 && info(&f, d).tot_pages == 3);
	xe_assert(unmap_ref(&f, 0, h[1], 0, bus) == 0 && unmap_ref(&f, 0, h[3], VA(42), 0) == 0);
	xe_assert(info(&f, d).tot_pages == 2);
	xe_assert(unmap_ref(&f, 0, h[4], VA(43), 0) == 0 && unmap_ref(&f, 0, h[5], VA(44), 0) == 0);
	xe_assert(info(&f, d).tot_pages == 1 && e[8].flags == 1 && e[12].flags == 5);
	xe_assert(unmap_ref(&f, 0, h[2], VA(41), 0) == 0 && !info(&f, d).exists);
	f.base = xe_host_free_pages(f.h);
	d = guest(&f);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	finish(&f);
}

/* The domain that maps dies: its uses go, whatever they are. A handle that outlives the granter. */
static void test_death(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint64_t page, n;
	uint32_t a, b, h;

	start(&f, FRAMES, true);
	a = guest(&f);
	b = guest(&f);
	t = table(&f, a);
	n = xe_host_free_pages(f.h);
	page = mfn_of(&f, a, VA(20));
	for (unsigned i = 8; i < 12; i++)
		grant(&t[i], (uint16_t)b, page, 1);
	xe_assert(map_ref(&f, b, (uint16_t)a, 8, HOST | DEV, XE_LOG_WINDOW) == 0);
	xe_assert(map_ref(&f, b, (uint16_t)a, 9, DEV | RO, 0) == 0);
	xe_assert(map_ref(&f, b, (uint16_t)a, 10, HOST | RO, XE_LOG_WINDOW + 4096) == 0);
	xe_assert(map_ref(&f, b, (uint16_t)a, 11, HOST, XE_LOG_WINDOW + 8192) == 0);
	xe_assert(map(&f, b, XE_LOG_WINDOW + 8192, 0) == 0); /* a handle without its entry */
	xe_assert(refs(&f, page) == 6 && types(&f, page) == 3 && t[11].flags == 0x19);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && !info(&f, b).exists);
	xe_assert(refs(&f, page) == 2 && types(&f, page) == 1);
	for (unsigned i = 8; i < 12; i++)
		xe_assert(t[i].flags == 1 && !xe_grant_active(f.h->domain[a], i)->pin);
	b = guest(&f);
	xe_assert(xe_host_free_pages(f.h) == n);
	/* the granter is gone, and another has its number */
	xe_assert(map_ref(&f, b, (uint16_t)a, 8, HOST, XE_LOG_WINDOW) == 0);
	h = gmap.handle;
	xe_assert(map(&f, b, XE_LOG_WINDOW, 0) == 0);
	xe_assert(xe_domain_destroy(f.h, a) == 0 && guest(&f) == a);
	t = table(&f, a);
	grant(&t[8], (uint16_t)b, mfn_of(&f, a, VA(20)), 1);
	xe_assert(map_ref(&f, b, (uint16_t)a, 8, HOST, XE_LOG_WINDOW) == 0);
	xe_assert(!info(&f, b).crashed);
	unmap_ref(&f, b, h, XE_LOG_WINDOW, 0);
	xe_assert(info(&f, b).crashed && t[8].flags == 0x19);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && t[8].flags == 1);
	xe_assert(xe_domain_destroy(f.h, a) == 0 && xe_host_free_pages(f.h) == f.base);
	finish(&f);
}

static void test_memory_out(void)
{
	struct fix f;
	uint64_t used;
	uint32_t d;

	struct xe_domain_config c = {.pages = 64, .max_pages = 64, .max_grant_frames = 65};

	start(&f, FRAMES, true);
	xe_assert(xe_domain_create(f.h, &c, &d) == -EINVAL);
	c.max_grant_frames = 2;
	xe_assert(xe_domain_create(f.h, &c, &d) == 0 && setup(&f, 0, (uint16_t)d, 3, ARR) == -1);
	xe_assert(setup(&f, 0, (uint16_t)d, 2, ARR) == 0 && xe_domain_destroy(f.h, d) == 0);
	d = guest(&f);
	used = f.base - xe_host_free_pages(f.h);
	f.h->domain[0]->max_pages = FRAMES;
	while (xe_host_free_pages(f.h) > 3)
		xe_assert(mem(&f, 0, 0, 1, 0, SELF) == 1);
	xe_assert(setup(&f, d, SELF, 4, ARR) == -1 && xe_host_free_pages(f.h) == 3);
	xe_assert(setup(&f, d, SELF, 3, ARR) == 0 && xe_host_free_pages(f.h) == 0);
	xe_assert(setup(&f, d, SELF, 4, ARR) == -1 && f.h->domain[d]->grants->nframes == 3);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == used + 3);
	finish(&f);
}

/* A log's frames are no grants, and what was granted is no log. */
static void test_log(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	uint32_t p, o;
	uint64_t ext;

	start(&f, FRAMES, true);
	p = guest(&f);
	o = guest(&f);
	t = table(&f, p);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p, .addr = 0x0a000001) == 0);
	xe_assert(mem(&f, p, 0, EXTENTS, 9, SELF) == EXTENTS);
	ext = arr(&f, p, 0);
	grant(&t[8], (uint16_t)o, ext + 3, 1);
	grant(&t[9], (uint16_t)p, ext + 4, 1);
	xe_assert(map_ref(&f, o, (uint16_t)p, 8, DEV, 0) == 0);
	xe_assert(ZL(&f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EPERM);
	xe_assert(unmap_ref(&f, o, gmap.handle, 0, (ext + 3) << 12) == 0);
	xe_assert(ZL(&f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EPERM);
	xe_assert(mem(&f, p, 1, EXTENTS, 9, SELF) == EXTENTS);
	xe_assert(mem(&f, p, 0, EXTENTS, 9, SELF) == EXTENTS);
	ext = arr(&f, p, 0);
	grant(&t[8], (uint16_t)o, ext + 3, 1);
	grant(&t[9], (uint16_t)p, ext + 4, 1);
	xe_assert(ZL(&f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == 0);
	xe_assert(map_ref(&f, o, (uint16_t)p, 8, DEV, 0) == -9 && t[8].flags == 1);
	xe_assert(map_ref(&f, p, (uint16_t)p, 9, HOST, XE_LOG_WINDOW) == -9 && t[9].flags == 1);
	xe_assert(copy(&f, o, 1, GREF(p, 8), 0, OWN(mfn_of(&f, o, VA(20))), 0, 8) == -9);
	xe_assert(copy(&f, p, 0, OWN(ext), 0, OWN(mfn_of(&f, p, VA(20))), 0, 8) == 0);
	xe_assert(transfer(&f, p, ext + 3, (uint16_t)o, 8) == -9);
	finish(&f);
}

int main(void)
{
	test_oracle();
	test_entries();
	test_partial_unmap();
	test_pins();
	test_counters();
	test_handle_limit();
	test_replace();
	test_zombie();
	test_death();
	test_memory_out();
	test_log();
	puts("grant");
	return 0;
}
