/* What a frame is used as: its type, how often, and the checks before it becomes a page table.
 *
 * type_info is Xen's: type, pinned, validated, count. The type changes only at count 0. A frame gets
 * a table's type when all its present entries could be referenced: those of level 1 by pte.c, those of
 * levels 2 to 4 each with a type reference on the next lower table, which is checked in turn. If one is
 * refused, the others are given back. At count 0 all of them are.
 * A table may have an entry for one of its own level (a linear page table): read-only, for itself
 * without a reference, or for one that is validated already. A table that has such an entry for
 * another can't itself be used so: nothing ever forms a circle.
 *
 * Invariants: a frame whose count is not 0 and whose type is a table's is validated, but while it is on
 * the stack of promote or demote; a type reference is always held beside a page reference, so a frame
 * without references has type count 0. A frame of a log has no type but writable.
 * A table that loses its type can't be reached any more: whoever took it away emptied the TLBs.
 * No recursion: both ways through the levels keep their own short stack.
 * Left out: preemption, and so partial validation. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { LEVELS = 4, MAX_DEPTH = 2 * LEVELS }; /* one linear entry a level at most */

enum {
	SLOT_M2P = 256,
	SLOT_LINEAR = 258,
	SLOT_PER_DOMAIN = 260,
	SLOT_IMAGE = 261,
	SLOT_DIRECT = 262
};

#define XEN_CODE (XE_PTE_PRESENT | XE_PTE_RW | XE_PTE_AD)
#define XEN_DATA (XEN_CODE | XE_PTE_NX)
#define XEN_READ_ONLY (XE_PTE_PRESENT | XE_PTE_ACCESSED | XE_PTE_NX)
#define TABLE_DISALLOW (XE_PTE_CACHE | XE_PTE_GLOBAL)

struct step {
	xe_mfn mfn;
	unsigned i; /* entries below it hold their references */
};

static bool same_type(const struct xe_frame *a, const struct xe_frame *b)
{
	return !((a->type_info ^ b->type_info) & XE_PGT_TYPE);
}

/* ---- giving a type up ---- */

/* Gives back entries from the last to the first; true: *child lost its last use, and comes first. */
static bool put_entries(struct xe_host *h, struct step *s, xe_mfn *child)
{
	const struct xe_frame *table = &h->frame[s->mfn];
	const uint64_t *e = xe_entries(h, s->mfn);
	unsigned level = xe_table_level(table);

	while (s->i) {
		uint64_t pte = e[--s->i];
		struct xe_frame *f = &h->frame[xe_pte_mfn(pte)];

		*child = xe_pte_mfn(pte);
		if (!(pte & XE_PTE_PRESENT) || xe_is_xen_slot(level, s->i) || *child == s->mfn)
			continue;
		if (same_type(f, table))
			f->type_info -= XE_PGT_LINEAR;
		if ((f->type_info & XE_PGT_COUNT) == 1)
			return true;
		f->type_info--;
		xe_put_page(h, *child);
	}
	return false;
}

static void put_l1_entries(struct xe_host *h, const struct step *s)
{
	const uint64_t *e = xe_entries(h, s->mfn);

	for (unsigned i = s->i; i--;)
		xe_put_l1_entry(h, e[i]);
}

/* The one type reference that is left goes, and what the first n entries hold. */
static void demote(struct xe_host *h, xe_mfn mfn, unsigned n)
{
	struct step stack[MAX_DEPTH] = {{mfn, n}};
	unsigned depth = 1;

	while (depth) {
		struct step *s = &stack[depth - 1];
		struct xe_frame *f = &h->frame[s->mfn];
		xe_mfn child;

		f->type_info &= ~XE_PGT_VALIDATED;
		if (xe_table_level(f) == 1) {
			put_l1_entries(h, s);
		} else if (put_entries(h, s, &child)) {
			xe_assert(depth < MAX_DEPTH);
			stack[depth++] = (struct step){child, XE_PTES};
			continue;
		}
		xe_assert((f->type_info & XE_PGT_COUNT) == 1);
		f->type_info--;
		if (--depth)
			xe_put_page(h, s->mfn);
	}
}

void xe_put_last_type(struct xe_host *h, xe_mfn mfn)
{
	if (xe_table_level(&h->frame[mfn]) <= LEVELS)
		demote(h, mfn, XE_PTES);
	else
		h->frame[mfn].type_info--;
}

void xe_put_table_entry(struct xe_host *h, xe_mfn table, uint64_t pte)
{
	xe_mfn mfn = xe_pte_mfn(pte);

	if (!(pte & XE_PTE_PRESENT) || mfn == table)
		return;
	if (same_type(&h->frame[mfn], &h->frame[table]))
		h->frame[mfn].type_info -= XE_PGT_LINEAR;
	xe_put_page_and_type(h, mfn);
}

/* ---- taking a type ---- */

static bool has_linear_entry(const struct xe_host *h, xe_mfn table)
{
	const struct xe_frame *f = &h->frame[table];
	const uint64_t *e = xe_entries(h, table);

	for (unsigned i = 0; i < XE_PTES; i++) {
		xe_mfn mfn = xe_pte_mfn(e[i]);

		if ((e[i] & XE_PTE_PRESENT) && mfn != table &&
		    !xe_is_xen_slot(xe_table_level(f), i) && same_type(&h->frame[mfn], f))
			return true;
	}
	return false;
}

/* `pte` of `table` names a referenced frame of the domain that is no table of the next lower level. */
static int get_linear_entry(struct xe_host *h, xe_mfn table, uint64_t pte)
{
	struct xe_frame *f = &h->frame[xe_pte_mfn(pte)];
	const struct xe_frame *t = &h->frame[table];

	if ((pte & XE_PTE_RW) || !same_type(f, t) || !(f->type_info & XE_PGT_VALIDATED) ||
	    (t->type_info & XE_PGT_LINEAR_USES) ||
	    (f->type_info & XE_PGT_LINEAR_USES) == XE_PGT_LINEAR_USES ||
	    has_linear_entry(h, xe_pte_mfn(pte)))
		return -EINVAL;
	f->type_info += XE_PGT_LINEAR + 1;
	return 0;
}

/* References what `pte` of `table` names: 0, -EINVAL, or 1: the frame is referenced, but is no table
 * yet. */
static int try_table_entry(struct xe_host *h, xe_mfn table, uint64_t pte)
{
	const struct xe_frame *t = &h->frame[table];
	xe_mfn mfn = xe_pte_mfn(pte);
	struct xe_frame *f;
	int r;

	if ((pte & TABLE_DISALLOW) || !xe_get_page(h, mfn, h->domain[t->owner]))
		return -EINVAL;
	f = &h->frame[mfn];
	if (!(f->type_info & XE_PGT_COUNT) && !f->log)
		return 1;
	if ((f->type_info & XE_PGT_COUNT) && xe_table_level(f) == xe_table_level(t) - 1) {
		f->type_info++;
		return 0;
	}
	if (mfn == table) {
		xe_put_page(h, mfn);
		return pte & XE_PTE_RW ? -EINVAL : 0;
	}
	r = get_linear_entry(h, table, pte);
	if (r)
		xe_put_page(h, mfn);
	return r;
}

/* Whether a guest finds the machine-to-physical table there. */
void xe_set_m2p_slot(struct xe_host *h, xe_mfn table, bool there)
{
	xe_entries(h, table)[SLOT_M2P] = there ? XEN_READ_ONLY : 0;
}

/* What is under them lies in frame 0, which is nobody's: a guest sees that they are there, no more. */
void xe_fill_xen_slots(struct xe_host *h, xe_mfn table)
{
	const struct xe_domain *d = h->domain[h->frame[table].owner];
	uint64_t *e = xe_entries(h, table);

	for (unsigned i = XE_PTES / 2; i <= XE_L4_XEN_LAST; i++)
		e[i] = 0;
	xe_set_m2p_slot(h, table, xe_is_m2p_strict(d));
	e[SLOT_LINEAR] = table << XE_PAGE_SHIFT | XEN_DATA;
	e[SLOT_PER_DOMAIN] = e[SLOT_DIRECT] = XEN_DATA;
	e[SLOT_IMAGE] = XEN_CODE;
}

static int get_l1_entries(struct xe_host *h, struct step *s)
{
	const struct xe_domain *d = h->domain[h->frame[s->mfn].owner];
	uint64_t *e = xe_entries(h, s->mfn);

	for (; s->i < XE_PTES; s->i++) {
		int r;

		if (!(e[s->i] & XE_PTE_PRESENT))
			continue;
		r = xe_get_l1_entry(h, d, d->id, e[s->i]);
		if (r)
			return r;
		e[s->i] = xe_uncache_io(xe_adjust_entry(1, e[s->i]));
	}
	return 0;
}

/* From entry s->i on: 0: all are fine; 1: the frame that entry s->i names has to be a table first. */
static int get_entries(struct xe_host *h, struct step *s)
{
	uint64_t *e = xe_entries(h, s->mfn);
	unsigned level = xe_table_level(&h->frame[s->mfn]);

	for (; s->i < XE_PTES; s->i++) {
		int r;

		if (!(e[s->i] & XE_PTE_PRESENT) || xe_is_xen_slot(level, s->i))
			continue;
		r = try_table_entry(h, s->mfn, e[s->i]);
		if (r)
			return r;
		e[s->i] = xe_adjust_entry(level, e[s->i]);
	}
	if (level == 4)
		xe_fill_xen_slots(h, s->mfn);
	return 0;
}

static struct step begin(struct xe_host *h, xe_mfn mfn, unsigned level)
{
	h->frame[mfn].type_info = XE_PGT_LEVEL(level) | 1;
	return (struct step){mfn, 0};
}

/* The table on top of the stack is done, or refused with r; its parent goes on after it. */
static void end(struct xe_host *h, const struct step *s, struct step *parent, int r)
{
	uint64_t *e;

	if (r)
		demote(h, s->mfn, s->i);
	else
		h->frame[s->mfn].type_info |= XE_PGT_VALIDATED;
	if (!parent)
		return;
	if (r) {
		xe_put_page(h, s->mfn);
		return;
	}
	e = xe_entries(h, parent->mfn);
	e[parent->i] = xe_adjust_entry(xe_table_level(&h->frame[parent->mfn]), e[parent->i]);
	parent->i++;
}

/* A frame without a type becomes a table, and so do those under it that are none yet. */
static int promote(struct xe_host *h, xe_mfn mfn, unsigned level)
{
	struct step stack[LEVELS] = {begin(h, mfn, level)};
	unsigned depth = 1;
	int r = 0;

	while (depth) {
		struct step *s = &stack[depth - 1];
		unsigned below = xe_table_level(&h->frame[s->mfn]) - 1;

		if (!r)
			r = below ? get_entries(h, s) : get_l1_entries(h, s);
		if (r > 0) {
			xe_mfn child = xe_pte_mfn(xe_entries(h, s->mfn)[s->i]);

			stack[depth++] = begin(h, child, below);
			r = 0;
			continue;
		}
		end(h, s, --depth ? s - 1 : NULL, r);
	}
	return r;
}

int xe_get_table_entry(struct xe_host *h, xe_mfn table, uint64_t pte)
{
	int r = try_table_entry(h, table, pte);

	if (r > 0) {
		r = promote(h, xe_pte_mfn(pte), xe_table_level(&h->frame[table]) - 1);
		if (r)
			xe_put_page(h, xe_pte_mfn(pte));
	}
	return r;
}

static int check_descriptors(struct xe_host *h, xe_mfn mfn)
{
	uint64_t *desc = xe_entries(h, mfn);

	for (unsigned i = 0; i < XE_PTES; i++)
		if (!xe_check_descriptor(&desc[i]))
			return -EINVAL;
	return 0;
}

int xe_get_new_type(struct xe_host *h, xe_mfn mfn, uint64_t type)
{
	struct xe_frame *f = &h->frame[mfn];

	xe_assert(!(type & ~XE_PGT_TYPE) && (f->count_info & XE_PGC_COUNT));
	if (type != XE_PGT_WRITABLE) {
		if (f->log)
			return -EINVAL;
		if (type != XE_PGT_SEG_DESC)
			return promote(h, mfn, (unsigned)(type >> 61));
		if (check_descriptors(h, mfn))
			return -EINVAL;
	}
	f->type_info = type | XE_PGT_VALIDATED | 1;
	return 0;
}

int xe_get_page_and_type(struct xe_host *h, xe_mfn mfn, const struct xe_domain *d, uint64_t type)
{
	int r = -EINVAL;

	if (!xe_get_page(h, mfn, d))
		return r;
	r = xe_get_page_type(h, mfn, type);
	if (r)
		xe_put_page(h, mfn);
	return r;
}
