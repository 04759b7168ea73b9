/* Grants used at once, and the small operations: copy, transfer, swap, sizes, versions, bad
 * arguments. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "grant_fix.h"

static void test_copy(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	struct xe_gnttab_copy c[3];
	uint64_t a, b, l1, tab;
	uint8_t *pa, *pb;
	uint32_t h;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	tab = arr(&f, 0, 0);
	a = mfn_of(&f, 0, VA(20));
	b = mfn_of(&f, 0, VA(21));
	pa = f.mem + a * 4096;
	pb = f.mem + b * 4096;
	l1 = pte_ma(&f, 0, VA(40)) >> 12;
	/* overlaps: upwards in words, then bytes */
	for (uint8_t i = 0; i < 64; i++)
		pa[i] = i;
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(a), 3, 40) == 0);
	xe_assert(!memcmp(pa, "\0\1\2\0\1\2\3\4\5\6\7\5\6\7\x0b\x0c\x0d\x0e\x0f\x0d\x0e\x0f", 22));
	xe_assert(copy(&f, 0, 0, OWN(a), 5, OWN(a), 0, 4) == 0 && !memcmp(pa, "\2\3\4\5\1", 5));
	/* who may name what */
	xe_assert(copy(&f, 0, 0, GREF(0, a), 0, OWN(b), 0, 8) == -8);
	xe_assert(copy(&f, 0, 0, OWN(a), 0, GREF(0, b), 0, 8) == -8);
	xe_assert(copy(&f, 0, 0, GREF(77, a), 0, OWN(b), 0, 8) == -8);
	xe_assert(copy(&f, 0, 1, GREF(77, 8), 0, OWN(b), 0, 8) == -2);
	xe_assert(copy(&f, 0, 2, OWN(a), 0, GREF(77, 8), 0, 8) == -2);
	xe_assert(copy(&f, 0, 0, OWN(0), 0, OWN(b), 0, 8) == -9);
	xe_assert(copy(&f, 0, 0, OWN(0xffffffffff), 0, OWN(b), 0, 8) == -9);
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(0), 0, 8) == -9);
	xe_assert(copy(&f, 0, 0x8000, OWN(a), 0, OWN(b), 0, 8) == 0);
	/* offsets and lengths */
	xe_assert(copy(&f, 0, 0, OWN(a), 4096, OWN(b), 0, 0) == 0);
	xe_assert(copy(&f, 0, 0, OWN(a), 4097, OWN(b), 0, 0) == -10);
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(b), 0, 4096) == 0 && !memcmp(pa, pb, 4096));
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(b), 0, 4097) == -10);
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(b), 1, 4096) == -10);
	xe_assert(copy(&f, 0, 0, OWN(a), 65535, OWN(b), 65535, 65535) == -10);
	xe_assert(refs(&f, a) == 2 && types(&f, a) == 1 && refs(&f, b) == 2 && types(&f, b) == 1);
	/* by reference */
	grant(&t[8], 0, a, 1);
	grant(&t[9], 0, a, 5);
	grant(&t[10], 0, b, 1);
	grant(&t[11], 3, b, 1);
	grant(&t[12], 0, 0, 1);
	pa[0] = 0x42;
	xe_assert(copy(&f, 0, 3, GREF(0, 8), 0, GREF(0, 10), 0, 64) == 0 && pb[0] == 0x42);
	xe_assert(t[8].flags == 1 && t[10].flags == 1);
	xe_assert(copy(&f, 0, 3, GREF(0, 8), 0, GREF(0, 9), 0, 8) == -1 && t[9].flags == 5);
	xe_assert(copy(&f, 0, 3, GREF(SELF, 8), 0, GREF(SELF, 10), 0, 8) == 0);
	xe_assert(copy(&f, 0, 1, GREF(0, 11), 0, OWN(b), 0, 8) == -1);
	xe_assert(copy(&f, 0, 1, GREF(0, 12), 0, OWN(b), 0, 8) == -9 && t[12].flags == 1);
	xe_assert(copy(&f, 0, 1, GREF(0, 512), 0, OWN(b), 0, 8) == -3);
	xe_assert(copy(&f, 0, 1, GREF(0, 511), 0, OWN(b), 0, 8) == -1);
	grant(&t[13], 0, a, 0x101);
	xe_assert(copy(&f, 0, 1, GREF(0, 13), 0, OWN(b), 0, 8) == 0);
	grant(&t[13], 0, a, 2);
	xe_assert(copy(&f, 0, 1, GREF(0, 13), 0, OWN(b), 0, 8) == -1);
	/* a page table can be read */
	xe_assert(copy(&f, 0, 0, OWN(l1), 0, OWN(b), 0, 4096) == 0);
	xe_assert(copy(&f, 0, 0, OWN(a), 0, OWN(l1), 0, 8) == -1);
	grant(&t[13], 0, l1, 1);
	xe_assert(copy(&f, 0, 2, OWN(a), 0, GREF(0, 13), 0, 8) == -1 && t[13].flags == 1);
	/* the flags while a copy runs, as it copies them */
	grant(&t[14], 0, tab, 1);
	xe_assert(copy(&f, 0, 1, GREF(0, 14), 14 * 8, OWN(b), 0, 2) == 0 && pb[0] == 9);
	xe_assert(t[14].flags == 1);
	/* a side stays acquired: its entry is overwritten by the first element */
	for (int i = 0; i < 3; i++)
		c[i] = (struct xe_gnttab_copy){
			.source = GREF(0, 8), .dest = OWN(tab), .len = 2, .flags = 1, .status = 99};
	c[0].dest.offset = c[1].dest.offset = c[2].dest.offset = 8 * 8;
	pa[0] = pa[1] = 0;
	xe_assert(gr(&f, 0, COPY, c, sizeof(c[0]), 3) == 0 && t[8].flags == 0);
	xe_assert(!c[0].status && !c[1].status && !c[2].status);
	/* a frame number that equals a reference in use is taken for it, in Xen as well */
	grant(&t[8], 0, a, 1);
	for (unsigned i = 0; i < 3; i++)
		c[i] = (struct xe_gnttab_copy){.source = OWN(i == 2 ? FRAMES : 8),
					       .dest = OWN(b),
					       .len = 2,
					       .flags = i ? 0 : 1};
	c[1].dest.offset = 100;
	pa[0] = 0x77;
	pb[100] = 0;
	xe_assert(gr(&f, 0, COPY, c, sizeof(c[0]), 3) == 0);
	xe_assert(!c[0].status && !c[1].status && c[2].status == -9 && t[8].flags == 1);
	xe_assert(pb[100] == 0x77);
	/* an entry that is mapped read-only meanwhile, and changed */
	grant(&t[16], 0, a, 1);
	xe_assert(map_ref(&f, 0, 0, 16, HOST | RO, VA(40)) == 0);
	h = gmap.handle;
	t[16].frame = (uint32_t)b;
	pa[0] = 0xa;
	pb[0] = 0xb;
	pb[1] = 0xc;
	xe_assert(copy(&f, 0, 1, GREF(0, 16), 0, OWN(b), 2, 1) == 0 && pb[2] == 0xa);
	xe_assert(copy(&f, 0, 2, OWN(b), 1, GREF(0, 16), 0, 1) == 0 && pa[0] == 0xc &&
		  pb[0] == 0xb);
	t[16].frame = 0;
	xe_assert(copy(&f, 0, 2, OWN(b), 1, GREF(0, 16), 0, 1) == -9 && t[16].flags == 9);
	t[16].frame = (uint32_t)a;
	t[16].flags = 0x1d;
	xe_assert(copy(&f, 0, 2, OWN(b), 1, GREF(0, 16), 0, 1) == -1 && t[16].flags == 0x1d);
	t[16].flags = 0;
	xe_assert(copy(&f, 0, 1, GREF(0, 16), 0, OWN(b), 2, 1) == 0 && t[16].flags == 0);
	xe_assert(copy(&f, 0, 2, OWN(b), 1, GREF(0, 16), 0, 1) == 0 && t[16].flags == 8);
	xe_assert(unmap_ref(&f, 0, h, VA(40), 0) == 0 && t[16].flags == 0);
	xe_assert(refs(&f, a) == 2 && types(&f, a) == 1 && refs(&f, b) == 2 && types(&f, b) == 1);
	finish(&f);
}

static void test_transfer(void)
{
	struct fix f;
	struct xe_grant_entry *t, *e;
	struct xe_gnttab_transfer x[3];
	uint64_t m, tab, tot;
	uint32_t d;

	start(&f, FRAMES, true);
	f.h->domain[0]->max_pages += 20;
	d = guest(&f);
	t = table(&f, 0);
	tab = arr(&f, 0, 0);
	m = new_page(&f, 0);
	tot = info(&f, 0).tot_pages;
	xe_assert(transfer(&f, 0, mfn_of(&f, 0, VA(20)), 0, 20) == -9);
	xe_assert(transfer(&f, 0, mfn_of(&f, d, VA(20)), 0, 20) == -9);
	xe_assert(transfer(&f, 0, 0xffffffffffff, 0, 20) == -9 &&
		  transfer(&f, 0, tab, 0, 20) == -9);
	xe_assert(info(&f, 0).tot_pages == tot);
	/* what it can't go to, it is lost to */
	xe_assert(transfer(&f, 0, m, 77, 20) == -2 && info(&f, 0).tot_pages == tot - 1);
	xe_assert(transfer(&f, 0, m, 77, 20) == -9);
	grant(&t[20], 0, 123, 2);
	static const struct {
		uint16_t flags, by, to;
		uint32_t ref;
		int status;
	} lost[] = {{0, 0, 0, 20, -1},  {0x12, 0, 0, 20, -1}, {1, 0, 0, 20, -1}, {2, 1, 0, 20, -1},
		    {2, 0, 0, 600, -1}, {2, 0, SELF, 20, -2}, {2, 0, 1, 20, -1}};

	for (unsigned i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
		uint64_t now = xe_host_free_pages(f.h);

		m = new_page(&f, 0);
		grant(&t[20], lost[i].by, 123, lost[i].flags);
		xe_assert(transfer(&f, 0, m, lost[i].to, lost[i].ref) == lost[i].status);
		xe_assert(t[20].flags == lost[i].flags && info(&f, 0).tot_pages == tot - 1);
		xe_assert(xe_host_free_pages(f.h) == now);
	}
	/* to oneself */
	m = new_page(&f, 0);
	grant(&t[20], 0, 123, 2);
	xe_assert(transfer(&f, 0, m, 0, 20) == 0 && info(&f, 0).tot_pages == tot);
	xe_assert(t[20].flags == 0xe && t[20].frame == m && f.h->frame[m].m2p == 123);
	xe_assert(transfer(&f, 0, m, 0, 20) == -1 && info(&f, 0).tot_pages == tot - 1);
	/* to another: it can map it from now on */
	e = table(&f, d);
	m = new_page(&f, 0);
	memcpy(f.mem + m * 4096, "content", 7);
	grant(&e[20], 0, 999, 2);
	xe_assert(transfer(&f, 0, m, (uint16_t)d, 20) == 0 && info(&f, d).tot_pages == PAGES + 1);
	xe_assert(info(&f, 0).tot_pages == tot - 1 && f.h->frame[m].m2p == 999);
	xe_assert(e[20].flags == 0xe && e[20].frame == m && map(&f, 0, VA(40), m) != 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, m) == 0);
	xe_assert(!memcmp(f.mem + (mfn_of(&f, d, XE_LOG_WINDOW) << 12), "content", 7));
	/* no room */
	f.h->domain[d]->max_pages = PAGES + 1;
	grant(&e[21], 0, 999, 2);
	xe_assert(transfer(&f, 0, new_page(&f, 0), (uint16_t)d, 21) == -1 && e[21].flags == 2);
	xe_assert(info(&f, d).tot_pages == PAGES + 1);
	/* an array, the last of which fails */
	for (unsigned i = 0; i < 3; i++) {
		x[i] = (struct xe_gnttab_transfer){.mfn = new_page(&f, 0), .ref = 21 + i};
		grant(&t[21 + i], i == 2 ? 5 : 0, 100 + i, 2);
	}
	xe_assert(gr(&f, 0, TRANSFER, x, sizeof(x[0]), 3) == 0);
	xe_assert(!x[0].status && !x[1].status && x[2].status == -1);
	finish(&f);
}

static void test_small_ops(void)
{
	struct fix f;
	struct xe_grant_entry *t, *e;
	struct xe_gnttab_swap s[3] = {{16, 17, 99, 0}, {16, 16, 99, 0}, {16, 600, 99, 0}};
	struct xe_gnttab_cache_flush c = {.length = 8, .op = 1};
	struct xe_gnttab_get_version gv = {.dom = 0};
	struct xe_gnttab_set_version sv = {.version = 1};
	struct xe_gnttab_status_frames sf = {.dom = SELF, .status = 99};
	struct xe_gnttab_query_size q = {.dom = 0};
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	/* before the table is set up all its entries are zero */
	xe_assert(gr(&f, 0, SWAP, s, sizeof(s[0]), 1) == 0 && s[0].status == 0);
	xe_assert(map_ref(&f, d, 0, 511, DEV, 0) == -1 && map_ref(&f, d, 0, 512, DEV, 0) == -3);
	xe_assert(copy(&f, d, 1, GREF(0, 511), 0, OWN(mfn_of(&f, d, VA(20))), 0, 8) == -1);
	xe_assert(transfer(&f, 0, new_page(&f, d), (uint16_t)d, 8) == -9);
	xe_assert(!f.h->domain[0]->grants || !f.h->domain[0]->grants->nframes);
	t = table(&f, 0);
	e = table(&f, d);
	/* swap */
	grant(&t[16], 1, 2, 3);
	grant(&t[17], 4, 5, 6);
	xe_assert(gr(&f, 0, SWAP, s, sizeof(s[0]), 3) == 0);
	xe_assert(s[0].status == 0 && s[1].status == 0 && s[2].status == -3);
	xe_assert(t[16].domid == 4 && t[16].frame == 5 && t[16].flags == 6 && t[17].domid == 1);
	grant(&t[16], 0, mfn_of(&f, 0, VA(20)), 1);
	xe_assert(map_ref(&f, 0, 0, 16, DEV | RO, 0) == 0);
	s[1] = (struct xe_gnttab_swap){17, 16, 99, 0};
	s[2] = (struct xe_gnttab_swap){16, 16, 99, 0};
	xe_assert(gr(&f, 0, SWAP, s, sizeof(s[0]), 3) == 0);
	xe_assert(s[0].status == -12 && s[1].status == -12 && s[2].status == 0);
	/* cache */
#define FLUSHED(number) (gr(&f, 0, number, &c, sizeof(c), 1))
	c.dev_bus_addr = mfn_of(&f, d, VA(20)) << 12;
	grant(&e[8], 0, c.dev_bus_addr >> 12, 1);
	xe_assert(FLUSHED(FLUSH) == -EINVAL && map_ref(&f, 0, (uint16_t)d, 8, HOST, VA(40)) == 0);
	xe_assert(FLUSHED(FLUSH) == 0 && FLUSHED(0x100c) == -EINVAL);
	c.op = 2;
	xe_assert(FLUSHED(FLUSH) == -EOPNOTSUPP);
	c.op = 3;
	xe_assert(FLUSHED(FLUSH) == 0);
	c.op = 4;
	xe_assert(FLUSHED(FLUSH) == -EINVAL);
	c.op = 1u << 31 | 1;
	xe_assert(FLUSHED(FLUSH) == -EINVAL);
	c.op = 0;
	xe_assert(FLUSHED(FLUSH) == 0 && FLUSHED(0x100c) == -EILSEQ);
	c.op = 1;
	c.offset = 4000;
	c.length = 97;
	xe_assert(FLUSHED(FLUSH) == -EINVAL);
	c.length = 96;
	xe_assert(FLUSHED(FLUSH) == 0);
	c.offset = 4096;
	c.length = 0;
	xe_assert(FLUSHED(FLUSH) == -EINVAL);
	c.offset = 0;
	c.length = 4096;
	c.dev_bus_addr = 0xfffffffff000;
	xe_assert(FLUSHED(FLUSH) == -EINVAL);
	c.dev_bus_addr = 0;
	xe_assert(FLUSHED(FLUSH) == -EPERM);
	c.dev_bus_addr = mfn_of(&f, 0, VA(20)) << 12;
	xe_assert(FLUSHED(FLUSH) == 0 && hc(&f, 0, 20, FLUSH, BAD, 1, 0) == -EFAULT);
	/* versions */
	xe_assert(gr_some(&f, 0, SET_VERSION, &sv, sizeof(sv), 7) == 0 && sv.version == 1);
	sv.version = 2;
	xe_assert(gr(&f, 0, SET_VERSION, &sv, sizeof(sv), 1) == -ENOSYS && sv.version == 1);
	sv.version = 0;
	xe_assert(gr(&f, 0, SET_VERSION, &sv, sizeof(sv), 1) == -EINVAL && sv.version == 1);
	xe_assert(gr(&f, d, GET_VERSION, &gv, sizeof(gv), 1) == -EPERM);
	gv.dom = 77;
	xe_assert(gr(&f, d, GET_VERSION, &gv, sizeof(gv), 1) == -ESRCH);
	gv.dom = (uint16_t)d;
	xe_assert(gr_some(&f, 0, GET_VERSION, &gv, sizeof(gv), 3) == 0 && gv.version == 1);
	xe_assert(gr(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 1) == 0 && sf.status == 0);
	sf.nr_frames = 1;
	xe_assert(gr(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 1) == 0 && sf.status == -1);
	sf.dom = 0;
	xe_assert(gr(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 1) == 0 && sf.status == -8);
	sf.dom = 77;
	xe_assert(gr(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 1) == 0 && sf.status == -2);
	xe_assert(gr_some(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 2) == -EINVAL);
	sf.frame_list = XEN_VA;
	xe_assert(gr(&f, d, STATUS_FRAMES, &sf, sizeof(sf), 1) == -EFAULT);
	/* sizes, and whose */
	xe_assert(gr(&f, d, QUERY, &q, sizeof(q), 1) == 0 && q.status == -8 && q.nr_frames == 0);
	xe_assert(setup(&f, d, 0, 1, ARR) == -8 && setup(&f, d, SELF, 65, ARR) == -1);
	xe_assert(setup(&f, d, SELF, 0, ARR) == 0 && setup(&f, d, SELF, 2, ARR) == 0);
	xe_assert(f.mem + arr(&f, d, 0) * 4096 == (uint8_t *)e && arr(&f, d, 1) != arr(&f, d, 0));
	xe_assert(map(&f, d, XE_LOG_WINDOW, arr(&f, d, 1)) == 0);
	q.dom = (uint16_t)d;
	xe_assert(gr(&f, 0, QUERY, &q, sizeof(q), 1) == 0 && q.nr_frames == 2 &&
		  q.max_nr_frames == 64);
	xe_assert(setup(&f, d, SELF, 1, BAD) == -5 && setup(&f, d, SELF, 64, ARR) == 0);
	xe_assert(map_ref(&f, 0, (uint16_t)d, 64 * 512 - 1, DEV, 0) == -1);
	xe_assert(map_ref(&f, 0, (uint16_t)d, 64 * 512, DEV, 0) == -3);
	finish(&f);
}

static void test_arguments(void)
{
	struct fix f;
	struct xe_grant_entry *t;
	struct xe_gnttab_map m[2];
	struct xe_gnttab_setup s = {.dom = SELF, .nr_frames = 1, .frame_list = XEN_VA};
	uint64_t last = VA(50) - sizeof(m[0]), page, keep;

	start(&f, FRAMES, true);
	t = table(&f, 0);
	page = mfn_of(&f, 0, VA(20));
	grant(&t[8], 0, page, 1);
	for (uint32_t cmd = 0; cmd < 16; cmd++) {
		bool known = cmd <= FLUSH && cmd != DUMP;

		xe_assert(hc(&f, 0, 20, cmd, BAD, 1, 0) == (known ? -EFAULT : -ENOSYS));
		xe_assert(hc(&f, 0, 20, cmd, XEN_VA, 1, 0) == (known ? -EFAULT : -ENOSYS));
		xe_assert(hc(&f, 0, 20, cmd, ARG, 1u << 31, 0) == -EINVAL);
		if (cmd != FLUSH)
			xe_assert(hc(&f, 0, 20, cmd | 0x1000, ARG, 1, 0) == -EINVAL);
	}
	for (uint32_t cmd = 0; cmd <= FLUSH; cmd++) {
		bool array = cmd <= UNMAP || cmd == TRANSFER || cmd == COPY || cmd == REPLACE ||
			     cmd >= SWAP;

		if (!array)
			continue;
		xe_assert(hc(&f, 0, 20, cmd, 0, 0, 0) == 0);
		xe_assert(hc(&f, 0, 20, cmd, XEN_VA, 0, 0) == -EFAULT);
		xe_assert(hc(&f, 0, 20, cmd, 0x900000000000, 0, 0) == -EFAULT);
	}
	xe_assert(hc(&f, 0, 20, QUERY, ARG, 0, 0) == -EINVAL);
	xe_assert(hc(&f, 0, 20, SETUP, ARG, 2, 0) == -EINVAL);
	xe_assert(gr(&f, 0, SETUP, &s, sizeof(s), 1) == -EFAULT);
	/* upper halves are not looked at */
	xe_assert(hc(&f, 0, 20, 1ull << 32 | MAP, ARG, 1ull << 32, 0) == 0);
	/* the second element lies where nothing is: the first is done */
	keep = mfn_of(&f, 0, VA(50));
	m[0] = (struct xe_gnttab_map){.flags = DEV, .ref = 8, .status = 99};
	xe_assert(xe_guest_write(f.h, 0, last, m, sizeof(m[0])) == 0 && map(&f, 0, VA(50), 0) == 0);
	xe_assert(hc(&f, 0, 20, MAP, last, 2, 0) == -EFAULT);
	xe_assert(xe_guest_read(f.h, 0, last, m, sizeof(m[0])) == 0 && m[0].status == 0);
	xe_assert(unmap_ref(&f, 0, m[0].handle, 0, page << 12) == 0);
	/* nor can the answer be written: it is mapped */
	xe_assert(map(&f, 0, VA(50), keep) == 0);
	xe_assert(hc(&f, 0, 14, VA(49), mfn_of(&f, 0, VA(49)) << 12 | 0x65, 0, 0) == 0);
	xe_assert(hc(&f, 0, 20, MAP, last, 1, 0) == -EFAULT && t[8].flags == 0x19);
	xe_assert(f.h->domain[0]->grants->maptrack[0][1].flags == DEV);
	finish(&f);
}

int main(void)
{
	test_copy();
	test_transfer();
	test_small_ops();
	test_arguments();
	puts("grant use");
	return 0;
}
