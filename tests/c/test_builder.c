/* The builder: what lies where, what start_info says, and the references of every frame, recomputed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/internal.h"
#include "xen_fix.h"

enum { BASE_PAGES = 640 };

static uint32_t build(struct fix *f, const struct xe_domain_config *c)
{
	uint32_t id;

	xe_assert(xe_domain_create(f->h, c, &id) == 0);
	return id;
}

static int refused(struct fix *f, const struct xe_domain_config *c)
{
	uint64_t free_pages = xe_host_free_pages(f->h);
	uint32_t id = 4711, top = xe_host_top(f->h);
	int r = xe_domain_create(f->h, c, &id);

	xe_assert(r && id == 4711 && xe_host_free_pages(f->h) == free_pages &&
		  xe_host_top(f->h) == top);
	return r;
}

static uint64_t pte(struct fix *f, xe_mfn mfn, unsigned i)
{
	uint64_t e;

	memcpy(&e, f->mem + mfn * 4096 + i * 8, 8);
	return e;
}

static xe_mfn mfn_at(struct fix *f, uint32_t d, uint64_t gva)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f->h, d, gva, &ma) == 0);
	return ma >> 12;
}

/* Walks all tables from the root: references and types that each frame should have. */
struct refs {
	uint64_t *page, *type;
	uint8_t *level;
};

static void walk(struct fix *f, struct refs *r, xe_mfn root)
{
	xe_mfn todo[4096];
	unsigned n = 1;

	todo[0] = root;
	r->level[root] = 4;
	for (unsigned at = 0; at < n; at++) {
		for (unsigned i = 0; i < 512; i++) {
			uint64_t e = pte(f, todo[at], i);
			xe_mfn m = (e & XE_PTE_MFN) >> 12;
			uint8_t level = r->level[todo[at]];

			if (!(e & XE_PTE_PRESENT) || xe_is_xen_slot(level, i))
				continue;
			xe_assert(m && m < f->frames && (e & XE_PTE_FLAGS_RO) == XE_PTE_FLAGS_RO);
			r->page[m]++;
			if (level > 1 || e & XE_PTE_RW)
				r->type[m]++;
			if (level == 1)
				continue;
			xe_assert(!r->level[m] && n < 4096);
			r->level[m] = level - 1;
			todo[n++] = m;
		}
	}
}

static void check_refs(struct fix *f, uint32_t d, uint64_t tables)
{
	struct xe_domain *dom = f->h->domain[d];
	xe_mfn root = dom->vcpu[0]->cr3;
	struct refs r = {calloc(f->frames, 8), calloc(f->frames, 8), calloc(f->frames, 1)};
	uint64_t owned = 0, found = 0;

	walk(f, &r, root);
	r.page[root] += 2; /* pinned, and a base */
	r.type[root] += 2;
	for (xe_mfn m = 1; m < f->frames; m++) {
		const struct xe_frame *fr = &f->h->frame[m];
		uint64_t level = r.level[m];

		if (fr->owner != d || m == dom->shared_mfn) {
			xe_assert(!r.page[m] && !level);
			continue;
		}
		owned++;
		found += level != 0;
		xe_assert(fr->count_info == (XE_PGC_ALLOCATED | (1 + r.page[m])));
		xe_assert(fr->type_info ==
			  ((level ? XE_PGT_LEVEL(level) : XE_PGT_WRITABLE) | XE_PGT_VALIDATED |
			   (m == root ? XE_PGT_PINNED : 0) | r.type[m]));
		xe_assert(r.type[m] == (m == root ? 2 : 1));
	}
	xe_assert(owned == dom->tot_pages && found == tables && !r.page[dom->shared_mfn]);
	free(r.page);
	free(r.type);
	free(r.level);
}

static void check_shared(struct fix *f, uint32_t d)
{
	xe_mfn m = info(f, d).shared_info_mfn;
	const struct xe_frame *fr = &f->h->frame[m];
	const struct xe_shared_info *s = (const void *)(f->mem + m * 4096);
	uint8_t zero[4096] = {0};

	xe_assert(fr->owner == d && fr->count_info == (XE_PGC_ALLOCATED | XE_PGC_XEN_HEAP | 2));
	xe_assert(fr->type_info == (XE_PGT_WRITABLE | XE_PGT_VALIDATED | 1));
	for (unsigned i = 0; i < 32; i++) {
		xe_assert(s->vcpu[i].upcall_mask == 1 && !s->vcpu[i].upcall_pending);
		xe_assert(!s->vcpu[i].pending_sel && !s->vcpu[i].arch.cr2);
	}
	xe_assert(!memcmp(s->pending, zero, 1024) && !memcmp(&s->arch, zero, sizeof(s->arch)));
}

/* All fields, and that all is where they say. */
static void check_layout(struct fix *f, uint32_t d, const struct xe_domain_config *c, uint64_t base)
{
	struct xe_domain_info i = info(f, d);
	struct xe_start_info s = start_info(f, d);
	uint64_t rings = c->privileged ? 0 : 2, p2m = (c->pages * 8 + 4095) / 4096, end, gva, mfn;
	uint8_t page[4096], zero[4096] = {0};

	xe_assert(i.tot_pages == c->pages && i.virt_base == base && i.usable_pages == i.p2m_pfn);
	xe_assert(!strcmp(s.magic, "xen-3.0-x86_64") && s.nr_pages == c->pages);
	xe_assert(s.shared_info == i.shared_info_mfn << 12 &&
		  s.mfn_list == base + i.p2m_pfn * 4096);
	xe_assert(i.start_info_gva == s.mfn_list + p2m * 4096);
	xe_assert(s.pt_base == i.start_info_gva + (1 + rings) * 4096);
	xe_assert(!s.mod_start && !s.mod_len && !s.nr_p2m_frames && !s.pad0 && !s.pad1);
	xe_assert(!strcmp(s.cmd_line, c->cmdline ? c->cmdline : ""));
	end = (s.pt_base - base) / 4096 + s.nr_pt_frames + 1;
	if (c->kernel_pages)
		xe_assert(i.usable_pages == c->kernel_pages && end + 128 <= c->pages);
	else
		xe_assert(end == c->pages);
	for (uint64_t p = 0; p < c->pages; p++) {
		bool table = p * 4096 + base >= s.pt_base &&
			     p * 4096 + base < s.pt_base + s.nr_pt_frames * 4096;

		gva = base + p * 4096;
		xe_assert(xe_guest_read(f->h, d, s.mfn_list + p * 8, &mfn, 8) == 0);
		xe_assert(mfn_at(f, d, gva) == mfn && f->h->frame[mfn].m2p == p);
		xe_assert(xe_guest_write(f->h, d, gva + 4095, zero, 1) == (table ? -EFAULT : 0));
	}
	xe_assert(mfn_at(f, d, s.pt_base) == f->h->domain[d]->vcpu[0]->cr3);
	if (c->privileged) {
		xe_assert(s.flags == 3 && !s.store_mfn && !s.store_evtchn &&
			  !s.console.dom0.info_off && !s.console.dom0.info_size);
		xe_assert(s.first_p2m_pfn == c->pages);
	} else {
		gva = i.start_info_gva + 4096;
		xe_assert(s.flags == 0x10 && !s.first_p2m_pfn);
		xe_assert(s.store_mfn == mfn_at(f, d, gva));
		xe_assert(s.console.domu.mfn == mfn_at(f, d, gva + 4096));
		xe_assert(xe_guest_read(f->h, d, gva, page, 4096) == 0 &&
			  !memcmp(page, zero, 4096));
		xe_assert(xe_guest_read(f->h, d, gva + 4096, page, 4096) == 0 &&
			  !memcmp(page, zero, 4096));
	}
	check_refs(f, d, s.nr_pt_frames);
	check_shared(f, d);
}

static void test_layouts(bool release)
{
	static const struct {
		uint64_t base, va, tables; /* of 640 pages, without a window */
	} at[] = {
		{0, XE_GUEST_BASE, 5},
		{XE_BASE_ZERO, 0, 5},
		{0xffffffff80000000, 0xffffffff80000000, 5},
		{0x400000, 0x400000, 5},
		{0x1ff000, 0x1ff000, 6}, /* three tables of level 1 */
		{0x3ffff000, 0x3ffff000, 7}, /* 1 + 2, two of level 2 */
		{0x7ffffff000, 0x7ffffff000, 8}, /* two of each */
		{0x7fffffd80000, 0x7fffffd80000, 5}, /* to the end of the lower half */
		{0xffff880000000000, XE_GUEST_BASE, 5},
		{0xffffffffffd80000, 0xffffffffffd80000, 5}, /* to the very end */
	};
	struct fix f;

	start(&f, FRAMES, release);
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		for (unsigned k = 0; k < 8; k++) {
			struct xe_domain_config c = {
				.pages = BASE_PAGES,
				.max_pages = BASE_PAGES,
				.window_pages = k & 1 ? 700 : 0,
				.virt_base = at[i].base,
				.kernel_pages = k & 2 ? 300 : 0,
				.privileged = k & 4,
				.cmdline = k & 2 ? "root=/dev/xvda ro" : NULL,
			};
			uint32_t d = build(&f, &c);

			check_layout(&f, d, &c, at[i].va);
			xe_assert(start_info(&f, d).nr_pt_frames == at[i].tables + (k & 1 ? 4 : 0));
			xe_assert(xe_domain_destroy(f.h, d) == 0 &&
				  xe_host_free_pages(f.h) == f.base);
		}
	}
	stop(&f);
}

static void test_refused(void)
{
	char line[1025];
	uint64_t all;
	struct fix f;

	start(&f, FRAMES, false);
#define BUILT(...) refused(&f, &(struct xe_domain_config){__VA_ARGS__})
#define REFUSED(...) BUILT(.pages = BASE_PAGES, .max_pages = BASE_PAGES, __VA_ARGS__)
	xe_assert(REFUSED(.virt_base = 0x1800) == -EINVAL);
	xe_assert(REFUSED(.virt_base = 0x7fffffd81000) == -EINVAL); /* into the hole */
	xe_assert(REFUSED(.virt_base = 0x800000000000) == -EINVAL &&
		  REFUSED(.virt_base = 0xfffe800000000000) == -EINVAL);
	xe_assert(REFUSED(.virt_base = 0xffff800000000000) == -EINVAL && /* Xen's */
		  REFUSED(.virt_base = 0xffff87fffffff000) == -EINVAL &&
		  REFUSED(.virt_base = 0xffff830000000000) == -EINVAL);
	xe_assert(REFUSED(.virt_base = 0xffffffffffd81000) == -EINVAL); /* wraps */
	xe_assert(REFUSED(.virt_base = XE_LOG_WINDOW, .window_pages = 1) == -EINVAL &&
		  REFUSED(.virt_base = XE_LOG_WINDOW - 4096, .window_pages = 1) == -EINVAL);
	xe_assert(REFUSED(.window_pages = 512 * 4096 + 1) == -EINVAL);
	xe_assert(REFUSED(.kernel_pages = 641) == -EINVAL &&
		  REFUSED(.kernel_pages = UINT64_MAX) == -EINVAL &&
		  REFUSED(.kernel_pages = 640 - 128 - 10) == -EINVAL);
	xe_assert(REFUSED(.max_vcpus = XE_MAX_VCPUS + 1) == -EINVAL);
	xe_assert(BUILT(.pages = 640, .max_pages = 639) == -EINVAL);
	xe_assert(BUILT(.pages = 1, .max_pages = 1) == -EINVAL);
	xe_assert(BUILT(.pages = (1ull << 26) + 1, .max_pages = UINT64_MAX) == -EINVAL &&
		  BUILT(.pages = UINT64_MAX, .max_pages = UINT64_MAX) == -EINVAL);
	memset(line, 'x', 1024);
	line[1024] = 0;
	xe_assert(REFUSED(.cmdline = line) == -EINVAL);
	line[1023] = 0;
	struct xe_domain_config longest = {.pages = 640, .max_pages = 640, .cmdline = line};
	check_layout(&f, build(&f, &longest), &longest, XE_GUEST_BASE);

	/* all that is free, but one frame is shared_info */
	all = xe_host_free_pages(f.h) - 1;
	xe_assert(BUILT(.pages = all + 1, .max_pages = all + 1) == -ENOMEM);
	xe_assert(BUILT(.pages = 1 << 26, .max_pages = 1 << 26) == -ENOMEM);
	struct xe_domain_config most = {.pages = all, .max_pages = all};
	check_layout(&f, build(&f, &most), &most, XE_GUEST_BASE);
	xe_assert(!xe_host_free_pages(f.h));
	xe_assert(BUILT(.no_ip = true) == -ENOMEM);
	stop(&f);
}

static void test_smallest(void)
{
	struct xe_domain_config c = {.pages = 10, .max_pages = 10};
	struct fix f;

	start(&f, FRAMES, true);
	check_layout(&f, build(&f, &c), &c, XE_GUEST_BASE); /* 1 + 1 + 2 + 4 + 1, one to use */
	c.pages = 9;
	xe_assert(refused(&f, &c) == -EINVAL);
	c = (struct xe_domain_config){0};
	xe_assert(info(&f, build(&f, &c)).start_info_gva == 0);
	stop(&f);
}

/* More domains than there are addresses, with several virtual CPUs and ports. */
static void test_many(void)
{
	struct xe_domain_config c = {.pages = 16, .max_pages = 16, .max_vcpus = 3, .no_ip = true};
	struct fix f;
	uint32_t d, st[6] = {0x7ff0, 1};

	start(&f, FRAMES, true);
	for (uint32_t i = 1; i <= 500; i++) {
		xe_assert(build(&f, &c) == i);
		xe_assert(info(&f, i).ip == 0 && info(&f, i).own_ip == 0);
		xe_assert(info(&f, i).max_vcpus == 3 && f.h->domain[i]->nvcpus == 3);
		xe_assert(f.h->domain[i]->vcpu[0]->online && !f.h->domain[i]->vcpu[1]->online);
	}
	for (uint32_t i = 1; i <= 500; i++)
		xe_assert(xe_domain_destroy(f.h, i) == 0);
	xe_assert(xe_host_free_pages(f.h) == f.base && xe_host_top(f.h) == 1);

	c = (struct xe_domain_config){
		.pages = 640, .max_pages = 640, .console = true, .store = true};
	d = build(&f, &c);
	xe_assert(xe_domain_unpause(f.h, d) == 0);
	xe_assert(start_info(&f, d).store_evtchn == 1 &&
		  start_info(&f, d).console.domu.evtchn == 2);
	xe_assert(ev(&f, d, 5, st) == 0 && st[2] == 1 && st[4] == 0);
	st[0] = d, st[1] = 2, st[2] = 0;
	xe_assert(ev(&f, 0, 0, st) == 0); /* domain 0 binds to the console */
	c.privileged = true;
	d = build(&f, &c);
	xe_assert(!start_info(&f, d).store_evtchn && !f.h->domain[d]->evtchn[1].state);
	stop(&f);
}

/* shared_info can be mapped, also given up, and stays ours until the domain goes. */
static void test_shared(bool give_up)
{
	struct fix f;
	uint32_t d, st[6] = {0x7ff0 | 0x7ff0u << 16};
	xe_mfn m;
	uint8_t byte = 1;
	uint64_t word;

	start(&f, FRAMES, true);
	d = guest(&f);
	m = start_info(&f, d).shared_info >> 12;
	xe_assert(map(&f, d, XE_LOG_WINDOW, m) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_LOG_WINDOW + 1, &byte, 1) == 0 && byte == 1);
	set_arr(&f, d, 0, m);
	if (give_up)
		xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 1 && info(&f, d).tot_pages == PAGES);
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0) == 0 && f.h->frame[m].owner == d);
	xe_assert(ev(&f, d, 6, st) == 0 && st[1] == 1);
	st[0] = 0x7ff0;
	xe_assert(ev(&f, d, 0, st) == 0); /* which makes its port pending */
	xe_assert(map(&f, d, XE_LOG_WINDOW, m) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_LOG_WINDOW + 2048, &word, 8) == 0 && word == 4);
	xe_assert(map(&f, 0, XE_GUEST_BASE, m) == -EBUSY);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

/* A backup is built like its primary. */
static void test_backup(void)
{
	struct xe_domain_config c = {
		.pages = PAGES,
		.max_pages = PAGES + LOG_PAGES,
		.window_pages = LOG_PAGES,
		.virt_base = 0xffffffff80000000,
		.kernel_pages = 200,
		.max_vcpus = 2,
		.cmdline = "quiet",
	};
	struct fix f;
	struct xe_zl_arg a;
	uint32_t p, b;

	start(&f, FRAMES, true);
	p = build(&f, &c);
	c.cmdline = NULL;
	a = (struct xe_zl_arg){.domid = (uint16_t)p};
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = (uint16_t)p) == 0);
	xe_assert(f.h->pair[0].primary == p);
	xe_assert(xe_zl_op(f.h, f.h->domain[p], XE_ABI_zl_BOOT_BACKUP, &a) == 0);
	b = a.domid;
	c.cmdline = "quiet";
	xe_assert(b != p && info(&f, b).max_pages == PAGES && info(&f, b).max_vcpus == 2);
	xe_assert(info(&f, b).own_ip && info(&f, b).own_ip != info(&f, p).own_ip);
	check_layout(&f, b, &c, 0xffffffff80000000);
	c = (struct xe_domain_config){.pages = 640, .max_pages = 640, .no_ip = true};
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = (uint16_t)build(&f, &c)) == -EINVAL);
	stop(&f);
}

int main(void)
{
	test_layouts(true);
	test_layouts(false);
	test_refused();
	test_smallest();
	test_many();
	test_shared(false);
	test_shared(true);
	test_backup();
	puts("builder: ok");
	return 0;
}
