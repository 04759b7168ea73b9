/* Grant table operations through guest memory, and the state that they leave. */
#ifndef XE_TEST_GRANT_FIX_H
#define XE_TEST_GRANT_FIX_H

#include <string.h>

#include "xen/grant.h"
#include "xen_check.h"
#include "xen_fix.h"

enum {
	MAP = 0,
	UNMAP,
	SETUP,
	DUMP,
	TRANSFER,
	COPY,
	QUERY,
	REPLACE,
	SET_VERSION,
	STATUS_FRAMES,
	GET_VERSION,
	SWAP,
	FLUSH,
	SELF = XE_ABI_domid_SELF,
	DEV = 1,
	HOST = 2,
	RO = 4,
	APP = 8,
	BY_PTE = 16,
};

#define VA(page) (XE_GUEST_BASE + (uint64_t)(page) * 4096)
#define XEN_VA 0xffff830000000000ull
#define PTE_BITS(pte) ((pte) & ~XE_PTE_MFN)

static inline int64_t gr_some(struct fix *f, uint32_t d, uint32_t cmd, void *arg, size_t bytes,
			      uint32_t count)
{
	int64_t r;

	xe_assert(xe_guest_write(f->h, d, ARG, arg, bytes) == 0);
	r = hc(f, d, 20, cmd, ARG, count, 0);
	xe_assert(xe_guest_read(f->h, d, ARG, arg, bytes) == 0);
	return r;
}

static inline int64_t gr(struct fix *f, uint32_t d, uint32_t cmd, void *arg, size_t size,
			 uint32_t count)
{
	return gr_some(f, d, cmd, arg, size * count, count);
}

static inline uint64_t mfn_of(struct fix *f, uint32_t d, uint64_t va)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f->h, d, va, &ma) == 0);
	return ma >> 12;
}

static inline uint64_t *pte(struct fix *f, uint32_t d, uint64_t va)
{
	uint64_t *e;
	bool rw;

	xe_assert(xe_walk(f->h, f->h->domain[d]->vcpu[0], va, &e, &rw) == 0);
	return e;
}

static inline uint64_t pte_ma(struct fix *f, uint32_t d, uint64_t va)
{
	return (uint64_t)((uint8_t *)pte(f, d, va) - f->mem);
}

static inline uint64_t refs(struct fix *f, uint64_t mfn)
{
	return f->h->frame[mfn].count_info & XE_PGC_COUNT;
}

static inline uint64_t types(struct fix *f, uint64_t mfn)
{
	return f->h->frame[mfn].type_info & XE_PGT_COUNT;
}

static inline int setup(struct fix *f, uint32_t cur, uint16_t d, uint32_t n, uint64_t list)
{
	struct xe_gnttab_setup s = {.dom = d, .nr_frames = n, .status = 99, .frame_list = list};

	xe_assert(gr(f, cur, SETUP, &s, sizeof(s), 1) == 0);
	return s.status;
}

/* d's first frame of entries, as d sees it once it has mapped it. */
static inline struct xe_grant_entry *table(struct fix *f, uint32_t d)
{
	xe_assert(setup(f, d, SELF, 1, ARR) == 0);
	return (struct xe_grant_entry *)(void *)(f->mem + arr(f, d, 0) * 4096);
}

static inline void grant(struct xe_grant_entry *e, uint16_t domid, uint64_t frame, uint16_t flags)
{
	*e = (struct xe_grant_entry){.flags = flags, .domid = domid, .frame = (uint32_t)frame};
}

static struct xe_gnttab_map gmap; /* the last that was tried */

static inline int map_ref(struct fix *f, uint32_t d, uint16_t dom, uint32_t ref, uint32_t flags,
			  uint64_t addr)
{
	gmap = (struct xe_gnttab_map){.host_addr = addr, .flags = flags, .ref = ref, .dom = dom};
	gmap.handle = 777;
	gmap.status = 99;
	xe_assert(gr(f, d, MAP, &gmap, sizeof(gmap), 1) == 0);
	xe_assert(gmap.host_addr == addr && gmap.flags == flags && gmap.dom == dom);
	if (gmap.status)
		xe_assert(gmap.handle == 777 && gmap.dev_bus_addr == 0);
	return gmap.status;
}

static inline int unmap_ref(struct fix *f, uint32_t d, uint32_t handle, uint64_t addr, uint64_t dev)
{
	struct xe_gnttab_unmap u = {
		.host_addr = addr, .dev_bus_addr = dev, .handle = handle, .status = 99};

	xe_assert(gr(f, d, UNMAP, &u, sizeof(u), 1) == 0);
	return u.status;
}

static inline int replace(struct fix *f, uint32_t d, uint32_t handle, uint64_t addr, uint64_t new)
{
	struct xe_gnttab_replace u = {
		.host_addr = addr, .new_addr = new, .handle = handle, .status = 99};

	xe_assert(gr(f, d, REPLACE, &u, sizeof(u), 1) == 0);
	return u.status;
}

#define GREF(d, r) ((struct xe_gnttab_copy_ptr){.domid = (uint16_t)(d), .u.gmfn = (r)})
#define OWN(m) ((struct xe_gnttab_copy_ptr){.domid = SELF, .u.gmfn = (m)})

static inline int copy(struct fix *f, uint32_t d, uint16_t flags, struct xe_gnttab_copy_ptr src,
		       uint16_t so, struct xe_gnttab_copy_ptr dst, uint16_t doff, uint16_t len)
{
	struct xe_gnttab_copy c = {
		.source = src, .dest = dst, .len = len, .flags = flags, .status = 99};

	c.source.offset = so;
	c.dest.offset = doff;
	xe_assert(gr(f, d, COPY, &c, sizeof(c), 1) == 0);
	return c.status;
}

static inline int transfer(struct fix *f, uint32_t d, uint64_t mfn, uint16_t dom, uint32_t ref)
{
	struct xe_gnttab_transfer x = {.mfn = mfn, .domid = dom, .ref = ref, .status = 99};

	xe_assert(gr(f, d, TRANSFER, &x, sizeof(x), 1) == 0);
	return x.status;
}

static inline uint64_t new_page(struct fix *f, uint32_t d)
{
	xe_assert(mem(f, d, 0, 1, 0, SELF) == 1);
	return arr(f, d, 0);
}

static inline void finish(struct fix *f)
{
	xen_check(f->h);
	stop(f);
}

#endif
