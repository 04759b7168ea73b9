/* Descriptor tables: set_gdt and update_descriptor. Which descriptors may be in them: descriptor.c.
 *
 * A page of descriptors has the type seg_desc while a virtual CPU has it in its GDT; it gets that type
 * only if all its 512 descriptors are harmless, and then only update_descriptor changes it.
 *
 * Invariants: gdt_frame[0..] of a vcpu's gdt_ents are referenced and typed; the vcpu holds that.
 * Left out: the LDT, which mmuext_op sets. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { GDT_ENTRIES = 14 * 512 };

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
