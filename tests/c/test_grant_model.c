/* Three domains that grant to each other and to themselves at random, against a small model: each
 * status, and after each step all flags, pins, and the references of every frame in play.
 *
 * Arguments: seed and steps. What a domain may map at, it maps in its window; a slot may also be
 * overwritten by other means, so that a handle loses its entry. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grant_fix.h"

enum {
	DOMS = 3,
	REFS = 8,   /* 8.. of each domain */
	GRANTED = 5, /* pages of each domain, the last is a page table */
	SLOTS = 24, /* of its window */
	HANDLES = 64,
	FIRST = 8,
};

struct use {
	bool live;
	uint32_t ld, rd, ref, flags, handle; /* indices of domains; flags left to unmap */
};

struct entry {
	struct xe_grant_entry e;
	uint32_t hw, hr, dw, dr, user, frame; /* frame: index */
};

struct model {
	struct fix f;
	uint32_t id[DOMS];
	struct xe_grant_entry *table[DOMS];
	uint64_t mfn[DOMS * GRANTED], refs[DOMS * GRANTED], types[DOMS * GRANTED];
	bool dead[DOMS];
	struct entry entry[DOMS][REFS];
	int slot[DOMS][SLOTS]; /* frame index, -1: empty */
	bool slot_rw[DOMS][SLOTS];
	struct use use[HANDLES];
	uint64_t random;
	unsigned done[4];
};

static uint32_t rnd(struct model *m, uint32_t n)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return (uint32_t)((m->random >> 11) % n);
}

static uint64_t slot_va(uint32_t slot)
{
	return XE_LOG_WINDOW + (uint64_t)slot * 4096;
}

static uint32_t pin_of(const struct entry *e)
{
	return e->hw + (e->hr << 8) + (e->dw << 16) + (e->dr << 24);
}

static void reduce(struct entry *e, bool ro)
{
	if (!pin_of(e))
		e->e.flags &= (uint16_t)~8;
	if (!ro && !e->hw && !e->dw)
		e->e.flags &= (uint16_t)~16;
}

static void add_pins(struct entry *e, uint32_t flags, uint32_t n)
{
	bool ro = flags & RO;

	if (flags & DEV)
		*(ro ? &e->dr : &e->dw) += n;
	if (flags & HOST)
		*(ro ? &e->hr : &e->hw) += n;
}

static void hold(struct model *m, uint32_t frame, bool ro, uint64_t n)
{
	m->refs[frame] += n;
	if (!ro)
		m->types[frame] += n;
}

static bool is_l1(const struct model *m, uint32_t frame)
{
	return frame % GRANTED == GRANTED - 1 && !m->dead[frame / GRANTED];
}

/* Frame index of what an entry names, if it is rd's and there. */
static int frame_of(const struct model *m, uint32_t rd, uint32_t mfn)
{
	for (uint32_t i = rd * GRANTED; i < (rd + 1) * GRANTED; i++)
		if (m->mfn[i] == mfn && m->refs[i])
			return (int)i;
	return -1;
}

static int want_status(struct entry *e, uint32_t ld_id, bool ro, bool map)
{
	bool writers = e->hw || e->dw;

	if (pin_of(e) && (ro || writers))
		return 0;
	if (!pin_of(e) && ((e->e.flags & (map ? 0x103 : 3)) != 1 || e->e.domid != ld_id))
		return -1;
	if (!ro && (e->e.flags & 4))
		return -1;
	e->e.flags |= (uint16_t)(ro ? 8 : 0x18);
	return 0;
}

static int want_map(struct model *m, uint32_t ld, uint32_t rd, uint32_t ref, uint32_t flags,
		    bool bad_va)
{
	struct entry *e = &m->entry[rd][ref];
	bool ro = flags & RO;
	int fr;

	if (!(flags & 3))
		return -3;
	if (pin_of(e) && e->user != ld)
		return -1;
	if (want_status(e, m->id[ld], ro, true))
		return -1;
	if (!pin_of(e)) {
		fr = frame_of(m, rd, e->e.frame);
		if (fr < 0) {
			reduce(e, ro);
			return -9;
		}
		e->user = ld;
		e->frame = (uint32_t)fr;
	}
	add_pins(e, flags, 1);
	if (m->refs[e->frame] && (ro || !is_l1(m, e->frame)) && !((flags & HOST) && bad_va))
		return 0;
	add_pins(e, flags, (uint32_t)-1);
	reduce(e, ro);
	return -1;
}

static void clear_slot(struct model *m, uint32_t d, uint32_t slot)
{
	if (m->slot[d][slot] >= 0)
		hold(m, (uint32_t)m->slot[d][slot], !m->slot_rw[d][slot], (uint64_t)-1);
	m->slot[d][slot] = -1;
}

static void fill_slot(struct model *m, uint32_t d, uint32_t slot, uint32_t frame, bool rw)
{
	hold(m, frame, !rw, 1);
	clear_slot(m, d, slot);
	m->slot[d][slot] = (int)frame;
	m->slot_rw[d][slot] = rw;
}

static uint32_t alive(struct model *m)
{
	uint32_t d;

	do
		d = rnd(m, DOMS);
	while (m->dead[d]);
	return d;
}

static void step_write(struct model *m)
{
	static const uint16_t flags[] = {1, 1, 1, 1, 5, 0, 2, 0x101, 0x19};
	uint32_t d = alive(m), ref = rnd(m, REFS), to = rnd(m, DOMS), page = rnd(m, GRANTED + 1);
	struct entry *e = &m->entry[d][ref];

	if (rnd(m, 3))
		e->e.frame = (uint32_t)m->mfn[d * GRANTED + page % GRANTED];
	else
		e->e.frame = (uint32_t)m->mfn[(d + 1) % DOMS * GRANTED];
	e->e.domid = (uint16_t)m->id[to];
	e->e.flags = flags[rnd(m, sizeof(flags) / sizeof(flags[0]))];
	m->table[d][FIRST + ref] = e->e;
}

static void step_map(struct model *m)
{
	uint32_t ld = alive(m), rd = rnd(m, DOMS), ref = rnd(m, REFS), flags = rnd(m, 8);
	uint32_t slot = rnd(m, SLOTS), i = rnd(m, HANDLES);
	bool bad = !rnd(m, 8), any = !rnd(m, 64);
	int st;

	for (uint32_t k = 0; !any && k < SLOTS && m->slot[ld][slot] >= 0; k++)
		slot = (slot + 1) % SLOTS;

	if (m->use[i].live || (m->dead[rd] && !info(&m->f, m->id[rd]).exists))
		return;
	st = want_map(m, ld, rd, ref, flags, bad);
	if (map_ref(&m->f, m->id[ld], (uint16_t)m->id[rd], FIRST + ref, flags,
		    bad ? 0x7f0000000000 : slot_va(slot)) != st) {
		printf("map %d, expected %d\n", gmap.status, st);
		abort();
	}
	m->done[0] += !st;
	if (st)
		return;
	xe_assert(gmap.dev_bus_addr >> 12 == m->mfn[m->entry[rd][ref].frame]);
	m->use[i] = (struct use){true, ld, rd, ref, flags, gmap.handle};
	if (flags & HOST)
		fill_slot(m, ld, slot, m->entry[rd][ref].frame, !(flags & RO));
	if (flags & DEV)
		hold(m, m->entry[rd][ref].frame, flags & RO, 1);
}

static int want_unmap(struct model *m, struct use *u, bool host, int slot, bool dev, bool bad_dev)
{
	struct entry *e = &m->entry[u->rd][u->ref];
	bool ro = u->flags & RO;
	uint32_t done = 0;

	if (!u->live)
		return -4;
	if (dev && (u->flags & DEV)) {
		if (bad_dev)
			return -6;
		done |= DEV;
	}
	if (host && (u->flags & HOST)) {
		if (m->slot[u->ld][slot] != (int)e->frame || m->slot_rw[u->ld][slot] == ro)
			return -1;
		clear_slot(m, u->ld, (uint32_t)slot);
		done |= HOST;
	}
	if (done & DEV)
		hold(m, e->frame, ro, (uint64_t)-1);
	u->flags &= ~done;
	if (!(u->flags & 3))
		u->live = false;
	if (!done)
		return 0;
	add_pins(e, done | (ro ? RO : 0), (uint32_t)-1);
	reduce(e, ro);
	return 0;
}

static int find_slot(struct model *m, const struct use *u)
{
	uint32_t start = rnd(m, SLOTS);

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t s = (start + i) % SLOTS;

		if (m->slot[u->ld][s] == (int)m->entry[u->rd][u->ref].frame &&
		    m->slot_rw[u->ld][s] != !!(u->flags & RO))
			return (int)s;
	}
	return (int)start;
}

static void step_unmap(struct model *m)
{
	struct use *u = &m->use[rnd(m, HANDLES)];
	bool host = rnd(m, 4), dev = rnd(m, 4), bad = !rnd(m, 10);
	int slot = rnd(m, 5) ? find_slot(m, u) : (int)rnd(m, SLOTS), st;
	uint64_t bus = m->mfn[m->entry[u->rd][u->ref].frame] << 12;

	if (!u->live || (m->dead[u->rd] && !info(&m->f, m->id[u->rd]).exists))
		return; /* that would crash the domain: see test_grant.c */
	st = want_unmap(m, u, host, slot, dev, bad);
	xe_assert(unmap_ref(&m->f, m->id[u->ld], u->handle, host ? slot_va((uint32_t)slot) : 0,
			    dev ? bus + bad : 0) == st);
	m->done[1] += !st;
	if (!u->live)
		xe_assert(unmap_ref(&m->f, m->id[u->ld], u->handle, 0, bus) == -4);
}

/* The slot maps a page of the domain's own, or nothing. */
static void step_overwrite(struct model *m)
{
	uint32_t d = alive(m), slot = rnd(m, SLOTS), frame = d * GRANTED + rnd(m, GRANTED - 1);
	bool fill = rnd(m, 2);

	xe_assert(map(&m->f, m->id[d], slot_va(slot), fill ? m->mfn[frame] : 0) == 0);
	if (fill)
		fill_slot(m, d, slot, frame, true);
	else
		clear_slot(m, d, slot);
	m->done[2]++;
}

static int want_side(struct model *m, uint32_t ld, uint32_t rd, uint32_t ref, bool ro)
{
	struct entry *e = &m->entry[rd][ref];
	int fr;

	if (pin_of(e) && e->user != ld)
		return -1;
	if (pin_of(e) && (ro || e->hw || e->dw)) {
		fr = m->refs[e->frame] && !m->dead[rd] ? 0 : -2;
		if (fr)
			reduce(e, ro);
		return fr;
	}
	if (want_status(e, m->id[ld], ro, false))
		return -1;
	fr = frame_of(m, rd, e->e.frame);
	if (fr >= 0 && !pin_of(e)) {
		e->user = ld;
		e->frame = (uint32_t)fr;
	}
	if (fr < 0 || !m->refs[e->frame]) {
		reduce(e, ro);
		return fr < 0 ? -9 : -1;
	}
	return 0;
}

static void step_copy(struct model *m)
{
	uint32_t d = alive(m), rd = rnd(m, DOMS), ref = rnd(m, REFS);
	struct entry *e = &m->entry[rd][ref];
	struct xe_gnttab_copy_ptr other = OWN(m->mfn[d * GRANTED]), g;
	bool write = rnd(m, 2);
	int st;

	if (m->dead[rd] && !info(&m->f, m->id[rd]).exists)
		return;
	g = GREF(m->id[rd], FIRST + ref);
	st = want_side(m, d, rd, ref, !write);
	if (!st) {
		if (write && is_l1(m, e->frame))
			st = -1;
		reduce(e, !write);
	}
	xe_assert(copy(&m->f, m->id[d], write ? 2 : 1, write ? other : g, 0, write ? g : other, 100,
		       64) == st);
	m->done[3] += !st;
}

static void check(struct model *m)
{
	for (uint32_t d = 0; d < DOMS; d++) {
		const struct xe_domain *dom = m->f.h->domain[m->id[d]];

		for (uint32_t r = 0; dom && r < REFS; r++) {
			const struct entry *e = &m->entry[d][r];

			xe_assert(!memcmp(&m->table[d][FIRST + r], &e->e, sizeof(e->e)));
			xe_assert(xe_grant_active(dom, FIRST + r)->pin == pin_of(e));
		}
	}
	for (uint32_t i = 0; i < DOMS * GRANTED; i++) {
		const struct xe_frame *fr = &m->f.h->frame[m->mfn[i]];

		xe_assert(refs(&m->f, m->mfn[i]) == m->refs[i]);
		if (m->refs[i])
			xe_assert(types(&m->f, m->mfn[i]) == m->types[i] &&
				  fr->owner == m->id[i / GRANTED]);
	}
}

static void begin(struct model *m)
{
	start(&m->f, FRAMES, true);
	for (uint32_t d = 0; d < DOMS; d++) {
		m->id[d] = guest(&m->f);
		m->table[d] = table(&m->f, m->id[d]);
		for (uint32_t i = 0; i < GRANTED; i++) {
			uint32_t k = d * GRANTED + i;

			m->mfn[k] = is_l1(m, k) ? pte_ma(&m->f, m->id[d], VA(20)) >> 12
						: mfn_of(&m->f, m->id[d], VA(20 + i));
			m->refs[k] = refs(&m->f, m->mfn[k]);
			m->types[k] = types(&m->f, m->mfn[k]);
		}
		for (uint32_t s = 0; s < SLOTS; s++)
			m->slot[d][s] = -1;
	}
}

/* What it mapped goes; of its pages, the references that are not its own stay. */
static void kill_domain(struct model *m, uint32_t d, const uint64_t *refs0, const uint64_t *types0)
{
	for (uint32_t i = 0; i < HANDLES; i++) {
		struct use *u = &m->use[i];
		struct entry *e = &m->entry[u->rd][u->ref];

		if (!u->live || u->ld != d)
			continue;
		u->live = false;
		if (m->dead[u->rd] && !info(&m->f, m->id[u->rd]).exists)
			continue;
		if (u->flags & DEV)
			hold(m, e->frame, u->flags & RO, (uint64_t)-1);
		add_pins(e, u->flags, (uint32_t)-1);
		reduce(e, u->flags & RO);
	}
	for (uint32_t s = 0; s < SLOTS; s++)
		clear_slot(m, d, s);
	for (uint32_t i = d * GRANTED; i < (d + 1) * GRANTED; i++) {
		m->refs[i] -= refs0[i];
		m->types[i] -= types0[i];
	}
	m->dead[d] = true;
	xe_assert(xe_domain_destroy(m->f.h, m->id[d]) == 0);
}

static void run(uint64_t seed, uint32_t steps)
{
	static struct model m;
	static uint64_t refs0[DOMS * GRANTED], types0[DOMS * GRANTED];
	uint32_t killed = 0;

	memset(&m, 0, sizeof(m));
	m.random = seed * 0x9e3779b97f4a7c15 + 1;
	begin(&m);
	memcpy(refs0, m.refs, sizeof(refs0));
	memcpy(types0, m.types, sizeof(types0));
	for (uint32_t i = 0; i < steps; i++) {
		uint32_t what = rnd(&m, 400);

		if (what < 60)
			step_write(&m);
		else if (what < 200)
			step_map(&m);
		else if (what < 330)
			step_unmap(&m);
		else if (what < 332)
			step_overwrite(&m);
		else
			step_copy(&m);
		check(&m);
		if (i % 1000 == 0)
			xen_check(m.f.h);
		if (killed < DOMS - 1 && i > steps / DOMS * (killed + 1)) {
			kill_domain(&m, killed++, refs0, types0);
			check(&m);
			xen_check(m.f.h);
		}
	}
	kill_domain(&m, DOMS - 1, refs0, types0);
	for (uint32_t d = 0; d < DOMS; d++)
		xe_assert(!info(&m.f, m.id[d]).exists);
	xe_assert(xe_host_free_pages(m.f.h) == m.f.base);
	if (steps >= 20000)
		xe_assert(m.done[0] > 200 && m.done[1] > 200 && m.done[2] && m.done[3] > 200);
	finish(&m.f);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint32_t steps = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 20000;

	for (uint64_t s = seed; s < seed + (argc > 1 ? 1 : 10); s++)
		run(s, steps);
	puts("grant model");
	return 0;
}
