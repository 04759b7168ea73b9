/* Two hostile domains and the control domain do to page tables whatever they can, at random; all
 * references are recomputed after each step. The last seed printed is the one that failed: with it as
 * argument, and XE_TRACE=1 set, the steps are printed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "xen_check.h"
#include "xen_fix.h"

enum { SELF = 0x7ff0, RW = 0x67, RO = 0x65, FIRST = 64, POOL = 7, SMALL = 256, WINDOW = 512 };
enum { OPS = 16 };

struct guest {
	uint32_t id;
	xe_mfn pool[POOL]; /* of pages FIRST.., unmapped at first */
	xe_mfn root;
};

struct world {
	struct fix f;
	struct xe_rng rng;
	struct guest g[2];
	uint64_t done[OPS]; /* how often each succeeded */
};

static uint64_t below(struct world *w, uint64_t n)
{
	return xe_rng_below(&w->rng, n);
}

static uint64_t one_of(struct world *w, const uint64_t *v, unsigned n)
{
	return v[below(w, n)];
}

static void make(struct world *w, struct guest *g)
{
	struct xe_domain_config c = {
		.pages = SMALL, .max_pages = SMALL + 4, .window_pages = WINDOW, .no_ip = true};

	xe_assert(xe_domain_create(w->f.h, &c, &g->id) == 0);
	g->root = w->f.h->domain[g->id]->vcpu[0]->cr3;
	for (unsigned i = 0; i < POOL; i++) {
		uint64_t va = XE_GUEST_BASE + (FIRST + i) * 4096ull, ma;

		xe_assert(xe_guest_translate(w->f.h, g->id, va, &ma) == 0);
		xe_assert(hc(&w->f, g->id, 14, va, 0, 0, 0) == 0);
		g->pool[i] = ma >> 12;
	}
}

static void destroy(struct world *w, struct guest *g)
{
	xe_assert(xe_domain_destroy(w->f.h, g->id) == 0);
	xen_check(w->f.h);
	make(w, g);
}

static xe_mfn frame(struct world *w)
{
	const struct guest *g = &w->g[below(w, 2)];

	switch (below(w, 12)) {
	case 0:
		return g->root;
	case 1:
		return below(w, w->f.frames + 2);
	default:
		return g->pool[below(w, POOL)];
	}
}

static xe_mfn own_frame(struct world *w, const struct guest *g)
{
	return below(w, 10) ? g->pool[below(w, POOL)] : frame(w);
}

static uint64_t entry(struct world *w, const struct guest *g)
{
	static const uint64_t flags[] = {RW,   RO, RW,    RO,   RO,
					 0x61, 0,  0x167, 0xe7, 0x8000000000000067};

	return own_frame(w, g) << 12 | one_of(w, flags, sizeof(flags) / sizeof(flags[0]));
}

static uint64_t entry_address(struct world *w, const struct guest *g)
{
	static const uint64_t slots[] = {0, 0, 0, 1, 1, 2, 272, 258, 402, 511};
	static const uint64_t cmds[] = {0, 0, 0, 0, 2, 3, 1, 5};

	return own_frame(w, g) << 12 | one_of(w, slots, 10) * 8 | one_of(w, cmds, 8);
}

static uint64_t va(struct world *w)
{
	uint64_t base = below(w, 2) ? XE_GUEST_BASE + FIRST * 4096 : XE_LOG_WINDOW;

	return base + below(w, POOL) * 4096;
}

/* Hypercalls whose argument lies in memory: done by d, on its own behalf or as the control domain. */
static int64_t with_arg(struct world *w, uint32_t d, uint32_t nr, const void *arg, size_t n,
			uint32_t domid)
{
	if (xe_guest_write(w->f.h, d, ARR, arg, n))
		return -EFAULT; /* it has lost its page */
	return hc(&w->f, d, nr, ARR, 1, 0, domid);
}

static int64_t ext(struct world *w, uint32_t d, uint32_t cmd, uint64_t a, uint64_t b,
		   uint32_t domid)
{
	struct xe_mmuext_op o = {.cmd = cmd, .arg1.mfn = a, .arg2.src_mfn = b};

	return with_arg(w, d, 26, &o, sizeof(o), domid);
}

static int64_t update(struct world *w, uint32_t d, uint64_t ptr, uint64_t val, uint32_t domids)
{
	uint64_t u[2] = {ptr, val};

	return with_arg(w, d, 1, u, sizeof(u), domids);
}

static int64_t reserve(struct world *w, struct guest *g, uint32_t cmd)
{
	unsigned i = (unsigned)below(w, POOL);
	struct xe_memory_reservation r = {.extent_start = ARR, .nr_extents = 1, .domid = SELF};
	uint64_t x = cmd == 1 ? g->pool[i] : 7;
	int64_t n;

	if (xe_guest_write(w->f.h, g->id, ARR, &x, 8) ||
	    xe_guest_write(w->f.h, g->id, ARR + 64, &r, sizeof(r)))
		return -EFAULT;
	n = hc(&w->f, g->id, 12, cmd, ARR + 64, 0, 0);
	if (n == 1 && cmd != 1)
		xe_assert(xe_guest_read(w->f.h, g->id, ARR, &g->pool[i], 8) == 0);
	return n == 1 ? 0 : -ENOMEM;
}

static int64_t grant_entry(struct world *w, const struct guest *g)
{
	struct xe_vcpu *v = w->f.h->domain[g->id]->vcpu[0];
	xe_mfn m = frame(w);
	bool rw = below(w, 2);
	uint64_t pte = m << 12 | (rw ? RW : RO), old;
	int r = -EINVAL;

	if (!xe_get_any_page(w->f.h, m))
		return r;
	if (rw)
		r = xe_get_page_type(w->f.h, m, XE_PGT_WRITABLE);
	if (rw && r) {
		xe_put_page(w->f.h, m);
		return r;
	}
	r = below(w, 2) ? xe_grant_pte_set(w->f.h, v, va(w), false, pte, &old)
			: xe_grant_pte_set(w->f.h, v, entry_address(w, g), true, pte, &old);
	if (r)
		xe_put_l1_entry(w->f.h, pte);
	return r;
}

static int64_t ungrant(struct world *w, const struct guest *g)
{
	struct xe_vcpu *v = w->f.h->domain[g->id]->vcpu[0];
	uint64_t at = va(w), *e, pte;
	bool rw;

	if (xe_walk(w->f.h, v, at, &e, &rw) || !(*e & XE_PTE_PRESENT))
		return -EINVAL;
	pte = *e;
	if (below(w, 2))
		return xe_grant_pte_move(w->f.h, v, at, pte, va(w))
			       ? -EINVAL
			       : (xe_put_l1_entry(w->f.h, pte), 0);
	if (xe_grant_pte_clear(w->f.h, v, at, false, pte, 0))
		return -EINVAL;
	xe_put_l1_entry(w->f.h, pte);
	return 0;
}

/* A read-only entry for another table of the same level. */
static int64_t link_alike(struct world *w, const struct guest *g)
{
	xe_mfn from = own_frame(w, g), to = own_frame(w, g);
	uint32_t pin = (uint32_t)below(w, 3) + 1;

	(void)ext(w, g->id, pin, from, 0, SELF);
	(void)ext(w, g->id, pin, to, 0, SELF);
	return update(w, g->id, from << 12 | below(w, 4) * 8, to << 12 | RO, SELF);
}

static int64_t act(struct world *w, unsigned op)
{
	struct guest *g = &w->g[below(w, 2)];
	uint32_t id = g->id, pt = (id + 1) << 16;

	switch (op) {
	case 0:
		return update(w, id, entry_address(w, g), entry(w, g), SELF);
	case 1:
		return ext(w, id, (uint32_t)below(w, 4), own_frame(w, g), 0, SELF);
	case 2:
		return ext(w, id, 4, own_frame(w, g), 0, SELF);
	case 3:
		return hc(&w->f, id, 14, va(w), below(w, 4) ? entry(w, g) : 0, 0, 0);
	case 4: /* another root, or what was one: with the kernel's half, so that it lives on */
		return ext(w, id, 17, own_frame(w, g), g->root, SELF);
	case 5:
		return ext(w, id, below(w, 3) ? 15 : 5, own_frame(w, g), 0, SELF);
	case 6:
		return ext(w, id, 16, own_frame(w, g), 0, SELF);
	case 7:
		return ext(w, id, 17, own_frame(w, g), own_frame(w, g), SELF);
	case 8:
		return update(w, 0, entry_address(w, g), entry(w, g),
			      pt | (below(w, 2) ? SELF : id));
	case 9:
		return hc(&w->f, 0, 22, va(w), entry(w, g), 0, id);
	case 10:
		return ext(w, 0, (uint32_t)below(w, 5), own_frame(w, g), 0, id);
	case 11:
		return reserve(w, g, 1);
	case 12:
		return reserve(w, g, below(w, 2) ? 0 : 6);
	case 13:
		return below(w, 2) ? grant_entry(w, g) : ungrant(w, g);
	case 14:
		return link_alike(w, g);
	default:
		if (below(w, 40))
			return -EAGAIN;
		destroy(w, g);
		return 0;
	}
}

/* Fills the TLB. */
static void look(struct world *w)
{
	uint64_t x;

	for (unsigned i = 0; i < 4; i++)
		(void)xe_guest_read(w->f.h, w->g[below(w, 2)].id, va(w), &x, 8);
}

/* A guest that can't make calls any more is replaced. */
static void replace_lost(struct world *w)
{
	uint8_t x = 0;

	for (unsigned i = 0; i < 2; i++)
		if (xe_guest_write(w->f.h, w->g[i].id, ARR, &x, 1))
			destroy(w, &w->g[i]);
}

static void run(uint64_t seed, unsigned steps, bool release, uint64_t *done)
{
	struct world w = {.rng = {seed}};
	unsigned step = 0;

	start(&w.f, 3072, release);
	make(&w, &w.g[0]);
	make(&w, &w.g[1]);
	printf("seed %lu\n", seed);
	fflush(stdout);
	for (; step < steps; step++) {
		unsigned op = (unsigned)below(&w, OPS);

		look(&w);
		if (getenv("XE_TRACE"))
			fprintf(stderr, "seed %lu step %u op %u\n", seed, step, op);
		w.done[op] += act(&w, op) == 0;
		xen_check(w.f.h);
		replace_lost(&w);
	}
	/* all that either domain owns goes, but what the other keeps mapped */
	xe_assert(xe_domain_destroy(w.f.h, w.g[0].id) == 0 &&
		  xe_domain_destroy(w.f.h, w.g[1].id) == 0);
	xen_check(w.f.h);
	for (unsigned p = 0; p < POOL; p++)
		hc(&w.f, 0, 14, XE_GUEST_BASE + (FIRST + p) * 4096ull, 0, 0, 0);
	xen_check(w.f.h);
	for (unsigned i = 0; i < OPS; i++)
		done[i] += w.done[i];
	stop(&w.f);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, done[OPS] = {0};
	unsigned seeds = argc > 2 ? (unsigned)atoi(argv[2]) : 12;

	for (unsigned i = 0; i < seeds; i++)
		run(seed + i, 2000, i % 2, done);
	for (unsigned i = 0; i < OPS; i++) {
		printf("op %u: %lu\n", i, done[i]);
		xe_assert(seeds < 12 || done[i] > 20);
	}
	puts("mm_random: ok");
	return 0;
}
