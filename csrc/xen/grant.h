/* Inside of the grant tables, shared by grant.c, grant_map.c and grant_copy.c.
 *
 * A domain's grants: the shared table that it writes, for each entry what is in use of it (active),
 * and what the domain itself has mapped (maptrack; an index there is a handle). */
#ifndef XE_XEN_GRANT_H
#define XE_XEN_GRANT_H

#include "xen/abi/grant_table.h"
#include "xen/internal.h"

enum {
	XE_GRANTS_PER_FRAME = XE_PAGE_SIZE / sizeof(struct xe_grant_entry),
	XE_MAPTRACK_PER_FRAME = 256, /* as many as Xen's: seen in the order of handles */
};

/* Four counters of what uses an entry; none goes over 128. */
#define XE_PIN_HOST_W 1u
#define XE_PIN_HOST_R (1u << 8)
#define XE_PIN_DEV_W (1u << 16)
#define XE_PIN_DEV_R (1u << 24)
#define XE_PIN_WRITERS 0x00ff00ffu

struct xe_grant_active {
	uint32_t pin; /* 0: the rest is stale */
	uint32_t mfn;
	uint16_t domid; /* that uses it */
};

struct xe_maptrack {
	uint32_t ref; /* of a free one: the next free handle */
	uint16_t flags; /* GNTMAP_*, 0: free */
	uint16_t domid;
	uint32_t vcpu; /* on whose list it is when free */
	uint32_t generation; /* of the granting domain */
};

struct xe_grant_table {
	uint32_t nframes; /* of the shared table */
	xe_mfn frame[XE_GRANT_FRAMES];
	struct xe_grant_active *active[XE_GRANT_FRAMES];
	uint32_t maptrack_limit; /* no handle is as high */
	struct xe_maptrack *maptrack[XE_MAPTRACK_FRAMES];
};

/* grant.c. The ref must be below xe_grant_entries(d). */
struct xe_grant_table *xe_grant_table(struct xe_domain *d); /* made if need be; NULL: no memory */
uint32_t xe_grant_entries(const struct xe_domain *d);
/* NULL: the table was never set up, so the entry is zero. */
struct xe_grant_entry *xe_grant_shared(struct xe_host *h, const struct xe_domain *d, uint32_t ref);
struct xe_grant_active *xe_grant_active(const struct xe_domain *d, uint32_t ref);
/* Sets the entry's reading (and writing) flags if it grants that to domid; a status. */
int xe_grant_set_status(struct xe_grant_entry *e, const struct xe_grant_active *a, bool readonly,
			bool map, uint32_t domid);
void xe_grant_reduce_status(struct xe_grant_entry *e, const struct xe_grant_active *a,
			    bool readonly);
/* A reference on d's frame, unless it is part of a log. */
bool xe_grant_get_frame(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn);

/* grant_map.c, grant_copy.c: one entry of an array; its status. */
int xe_grant_map(struct xe_host *h, struct xe_vcpu *v, struct xe_gnttab_map *op);
int xe_grant_unmap(struct xe_host *h, struct xe_vcpu *v, const struct xe_gnttab_unmap *op);
int xe_grant_replace(struct xe_host *h, struct xe_vcpu *v, const struct xe_gnttab_replace *op);
int xe_grant_transfer(struct xe_host *h, struct xe_domain *d, const struct xe_gnttab_transfer *op);
int64_t xe_grant_copy(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint32_t count);

#endif
