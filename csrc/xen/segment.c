/* Descriptor tables: set_gdt, update_descriptor, selectors. Which descriptors may be in them:
 * descriptor.c.
 *
 * A page of descriptors has the type seg_desc while a virtual CPU has it in its GDT, or in its LDT and
 * has used it; it gets that type only if all its 512 descriptors are harmless, and then only
 * update_descriptor changes it.
 *
 * Invariants: gdt_frame[0..] of a vcpu's gdt_ents, and each ldt_frame, are referenced and typed; the
 * vcpu holds that. Left out: mmuext_op sets the LDT. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { GDT_ENTRIES = 14 * 512, IN_LDT = 4 };
enum { FLAT_CS32 = 0xe023, FLAT_DS = 0xe02b, FLAT_CS64 = 0xe033 }; /* Xen's, for all guests */

static uint64_t gdt_pages(uint64_t entries)
{
	return (entries + 511) / 512;
}

void xe_drop_gdt(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_vcpu_context *c = &v->cpu.c;

	for (unsigned i = 0; i < gdt_pages(c->gdt_ents); i++) {
		xe_put_page_and_type(h, c->gdt_frame[i]);
		c->gdt_frame[i] = 0;
	}
	c->gdt_ents = 0;
}

int xe_set_gdt(struct xe_host *h, struct xe_vcpu *v, const xe_mfn *mfn, uint64_t entries)
{
	struct xe_vcpu_context *c = &v->cpu.c;
	uint64_t n = gdt_pages(entries);

	if (entries > GDT_ENTRIES)
		return -EINVAL;
	for (uint64_t i = 0; i < n; i++) {
		if (mfn[i] < h->nframes && !h->frame[mfn[i]].log &&
		    !xe_get_page_and_type(h, mfn[i], v->domain, XE_PGT_SEG_DESC))
			continue;
		while (i-- > 0)
			xe_put_page_and_type(h, mfn[i]);
		return -EINVAL;
	}
	xe_drop_gdt(h, v);
	c->gdt_ents = entries;
	for (uint64_t i = 0; i < n; i++)
		c->gdt_frame[i] = mfn[i];
	return 0;
}

int64_t xe_do_set_gdt(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t entries = (uint32_t)arg[1];
	xe_mfn mfn[XE_GDT_FRAMES];

	if (entries > GDT_ENTRIES)
		return -EINVAL;
	if (xe_copy_from(h, v, mfn, arg[0], gdt_pages(entries) * sizeof(mfn[0])))
		return -EFAULT;
	return xe_set_gdt(h, v, mfn, entries);
}

void xe_drop_ldt(struct xe_host *h, struct xe_vcpu *v)
{
	for (unsigned i = 0; i < XE_LDT_FRAMES; i++) {
		if (v->ldt_frame[i])
			xe_put_page_and_type(h, v->ldt_frame[i]);
		v->ldt_frame[i] = 0;
	}
}

/* Page i of the LDT, which is taken when it is first used; 0: it can't be. */
static xe_mfn ldt_page(struct xe_host *h, struct xe_vcpu *v, unsigned i)
{
	uint64_t *e;
	bool rw;

	if (v->ldt_frame[i])
		return v->ldt_frame[i];
	if (xe_walk(h, v, v->ldt_base + i * XE_PAGE_SIZE, &e, &rw) || !(*e & XE_PTE_PRESENT) ||
	    xe_get_page_and_type(h, xe_pte_mfn(*e), v->domain, XE_PGT_SEG_DESC))
		return 0;
	v->ldt_frame[i] = xe_pte_mfn(*e);
	return v->ldt_frame[i];
}

/* NULL: none of the guest's. */
static uint64_t *find_descriptor(struct xe_host *h, struct xe_vcpu *v, uint16_t selector)
{
	const struct xe_vcpu_context *c = &v->cpu.c;
	unsigned i = selector >> 3;
	xe_mfn mfn = 0;

	if (selector & IN_LDT)
		mfn = i < v->ldt_ents ? ldt_page(h, v, i / XE_PTES) : 0;
	else if (i / XE_PTES < gdt_pages(c->gdt_ents))
		mfn = c->gdt_frame[i / XE_PTES];
	return mfn ? xe_entries(h, mfn) + i % XE_PTES : NULL;
}

/* Where the segment begins; false: the selector, which is not null, can't be loaded. */
bool xe_load_selector(struct xe_host *h, struct xe_vcpu *v, uint16_t selector, uint64_t *base)
{
	uint64_t *desc = find_descriptor(h, v, selector);

	if (selector == FLAT_CS32 || selector == FLAT_DS || selector == FLAT_CS64) {
		*base = 0;
		return true;
	}
	return desc && xe_load_descriptor(desc, base);
}

int64_t xe_do_update_descriptor(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint64_t maddr = arg[0], descriptor = arg[1], type = XE_PGT_WRITABLE;
	xe_mfn mfn = maddr >> XE_PAGE_SHIFT;
	int r;

	if (maddr % sizeof(descriptor) || !xe_check_descriptor(&descriptor) ||
	    !xe_get_page(h, mfn, v->domain))
		return -EINVAL;
	if ((h->frame[mfn].type_info & XE_PGT_TYPE) == XE_PGT_SEG_DESC)
		type = XE_PGT_SEG_DESC;
	xe_put_page(h, mfn);
	if (h->frame[mfn].log && !xe_log_may_map(h, v->domain, &h->frame[mfn]))
		return -EINVAL;
	r = xe_get_page_and_type(h, mfn, v->domain, type);
	if (r)
		return -EINVAL;
	*(uint64_t *)(void *)(h->memory + maddr) = descriptor;
	xe_put_page_and_type(h, mfn);
	return 0;
}
