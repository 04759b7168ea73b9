/* memory_op: what asks about memory, and what a PV domain is refused.
 *
 * Served: reservations and their limits, M2P, memory maps, claims. Known and refused as real Xen
 * refuses a PV domain: changes of a physmap that Xen would keep (EACCES), populate-on-demand
 * (EINVAL), access rights (EINVAL), vNUMA (EOPNOTSUPP); paging and sharing of pages are not built in
 * (ENOSYS). Our M2P lies outside of machine memory, so its extents are gaps, mfn 0, to whom asks.
 *
 * Invariants: the domain owns its memory map. h->claimed is the sum of all d->claimed. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

#define M2P_END 0xffff804000000000ull

enum { M2P_ENTRIES_PER_EXTENT = XE_EXTENT_SIZE / 8 };

/* The domain, of which only the control domain may name another than itself. */
static int get_target(struct xe_host *h, struct xe_domain *cur, uint32_t domid,
		      struct xe_domain **d)
{
	*d = xe_domain_or_self(h, cur, domid);
	if (!*d)
		return -ESRCH;
	return *d != cur && !cur->privileged ? -EPERM : 0;
}

static int64_t query(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva)
{
	const struct xe_shared_info *s;
	struct xe_domain *d;
	uint16_t domid;
	int r = xe_copy_from(h, v, &domid, gva, sizeof(domid));

	if (!r)
		r = get_target(h, v->domain, domid, &d);
	if (r)
		return r;
	if (cmd == XE_ABI_memory_op_current_reservation)
		return (int64_t)d->tot_pages;
	if (cmd == XE_ABI_memory_op_maximum_reservation)
		return (int64_t)d->max_pages;
	s = xe_shared_info(h, d);
	return s && s->arch.max_pfn ? (int64_t)(s->arch.max_pfn - 1) : 0; /* as the guest says */
}

static int64_t machphys_list(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	uint64_t n = (h->nframes + M2P_ENTRIES_PER_EXTENT - 1) / M2P_ENTRIES_PER_EXTENT;
	struct xe_machphys_mfn_list l;
	xe_mfn gap = 0;

	if (xe_copy_from(h, v, &l, gva, sizeof(l)))
		return -EFAULT;
	l.nr_extents = l.max_extents < n ? l.max_extents : (uint32_t)n;
	for (uint32_t i = 0; i < l.nr_extents; i++)
		if (xe_copy_to(h, v, l.extent_start + i * sizeof(gap), &gap, sizeof(gap)))
			return -EFAULT;
	return xe_copy_to(h, v, gva, &l, sizeof(l));
}

static int64_t machphys_mapping(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_machphys_mapping m = {
		.v_start = XE_HYPERVISOR_START,
		.v_end = M2P_END,
		.max_mfn = (M2P_END - XE_HYPERVISOR_START) / 8 - 1,
	};

	if (v->domain->id == 0)
		m.max_mfn = h->nframes - 1;
	return xe_copy_to(h, v, gva, &m, sizeof(m));
}

static int64_t physmap(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t first,
		       uint64_t gva)
{
	union {
		struct xe_add_to_physmap add;
		struct xe_add_to_physmap_batch batch;
		struct xe_remove_from_physmap remove;
	} a;
	bool batch = cmd == XE_ABI_memory_op_add_to_physmap_batch;
	bool remove = cmd == XE_ABI_memory_op_remove_from_physmap;
	size_t size = batch ? sizeof(a.batch) : remove ? sizeof(a.remove) : sizeof(a.add);

	if (first && (remove || first > UINT16_MAX))
		return remove ? -EINVAL : -EDOM;
	if (xe_copy_from(h, v, &a, gva, size))
		return -EFAULT;
	if (!batch && !remove && a.add.space == 4) /* gmfn_foreign */
		return -ENOSYS;
	if (batch && a.batch.space == 3) /* gmfn_range */
		return -EOPNOTSUPP;
	return xe_domain_or_self(h, v->domain, a.add.domid) ? -EACCES : -ESRCH;
}

static int64_t set_memory_map(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_foreign_memory_map m;
	struct xe_domain *d;
	uint8_t *e820;
	int r = xe_copy_from(h, v, &m, gva, sizeof(m));

	if (!r && m.map.nr_entries > XE_E820_MAX)
		r = -EINVAL;
	if (!r)
		r = get_target(h, v->domain, m.domid, &d);
	if (r)
		return r;
	e820 = malloc(m.map.nr_entries * XE_E820_SIZE + 1u);
	if (!e820)
		return -ENOMEM;
	if (xe_copy_from(h, v, e820, m.map.buffer, m.map.nr_entries * XE_E820_SIZE)) {
		free(e820);
		return -EFAULT;
	}
	free(d->e820);
	d->e820 = e820;
	d->n_e820 = m.map.nr_entries;
	return 0;
}

static int64_t memory_map(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	const struct xe_domain *d = v->domain;
	struct xe_memory_map m;

	if (xe_copy_from(h, v, &m, gva, sizeof(m)))
		return -EFAULT;
	if (!d->n_e820)
		return -ENOSYS;
	if (m.nr_entries > d->n_e820)
		m.nr_entries = d->n_e820;
	if (xe_copy_to(h, v, m.buffer, d->e820, m.nr_entries * XE_E820_SIZE))
		return -EFAULT;
	return xe_copy_to(h, v, gva, &m, sizeof(m));
}

/* All RAM, from 0. */
static int64_t machine_memory_map(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	uint64_t size = h->nframes << XE_PAGE_SHIFT;
	uint32_t type = XE_E820_RAM;
	uint8_t entry[XE_E820_SIZE] = {0};
	struct xe_memory_map m;

	if (!v->domain->privileged)
		return -EPERM;
	if (xe_copy_from(h, v, &m, gva, sizeof(m)))
		return -EFAULT;
	memcpy(entry + 8, &size, sizeof(size));
	memcpy(entry + 16, &type, sizeof(type));
	if (m.buffer && m.nr_entries < 2) /* Xen wants room for what lies behind */
		return -EINVAL;
	if (m.buffer && xe_copy_to(h, v, m.buffer, entry, sizeof(entry)))
		return -EFAULT;
	m.nr_entries = 1;
	return xe_copy_to(h, v, gva, &m, sizeof(m));
}

void xe_unclaim(struct xe_host *h, struct xe_domain *d)
{
	xe_assert(h->claimed >= d->claimed);
	h->claimed -= d->claimed;
	d->claimed = 0;
}

/* So that the domain, and nobody else, can get up to `pages` in all; a zombie keeps its claim until
 * it is gone. */
static int claim(struct xe_host *h, struct xe_domain *d, uint64_t pages)
{
	uint64_t more = pages - d->tot_pages;

	if (!pages) {
		xe_unclaim(h, d);
		return 0;
	}
	if (d->claimed || pages <= d->tot_pages || pages > d->max_pages)
		return -EINVAL;
	if (more > h->nfree - h->claimed)
		return -ENOMEM;
	d->claimed = more;
	h->claimed += more;
	return 0;
}

static int64_t claim_pages(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_memory_reservation r;
	struct xe_domain *d;

	if (xe_copy_from(h, v, &r, gva, sizeof(r)))
		return -EFAULT;
	d = xe_domain(h, r.domid);
	if (r.extent_start || r.extent_order || r.mem_flags || !d)
		return -EINVAL;
	if (!v->domain->privileged)
		return -EPERM;
	return claim(h, d, r.nr_extents);
}

static int64_t pod_target(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_pod_target t;

	if (xe_copy_from(h, v, &t, gva, sizeof(t)))
		return -EFAULT;
	return xe_domain_or_self(h, v->domain, t.domid) ? -EINVAL : -ESRCH;
}

static int64_t access_op(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_mem_access_op a;
	struct xe_domain *d;

	if (xe_copy_from(h, v, &a, gva, sizeof(a)))
		return -EFAULT;
	d = xe_domain(h, a.domid);
	if (!d)
		return -ESRCH;
	return d == v->domain ? -EPERM : -EINVAL;
}

static int64_t vnuma_info(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_vnuma_topology_info t;
	struct xe_domain *d;
	int r = xe_copy_from(h, v, &t, gva, sizeof(t));

	if (!r && t.pad)
		r = -EINVAL;
	if (!r)
		r = get_target(h, v->domain, t.domid, &d);
	return r ? r : -EOPNOTSUPP;
}

/* There is none. */
static int64_t reserved_device_memory(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_reserved_device_memory_map m;

	if (xe_copy_from(h, v, &m, gva, sizeof(m)) || !xe_addr_ok(m.buffer))
		return -EFAULT;
	if (m.flags & ~1u)
		return -EINVAL;
	m.nr_entries = 0;
	return xe_copy_to(h, v, gva, &m, sizeof(m));
}

/* How many frames the resource has, 0: there is none such. Of what it does not know Xen gives the size
 * as a negative errno, for unsigned. */
static uint32_t resource_size(const struct xe_domain *d, const struct xe_mem_acquire_resource *a)
{
	if (a->type > XE_RESOURCE_VMTRACE)
		return (uint32_t)-EOPNOTSUPP;
	if (a->type != XE_RESOURCE_GRANT_TABLE || a->id > 1)
		return 0;
	return a->id == 0 ? d->max_grant_frames : (d->max_grant_frames + 7) / 8; /* of statuses */
}

static int get_frames(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d,
		      const struct xe_mem_acquire_resource *a)
{
	for (uint32_t done = 0; done < a->nr_frames;) {
		uint32_t n = a->nr_frames - done;
		xe_mfn mfn[32];
		int r;

		n = n < 32 ? n : 32;
		r = xe_grant_table_frames(h, d, a->frame + done, n, mfn);
		if (r)
			return r;
		if (xe_copy_to(h, v, a->frame_list + done * sizeof(mfn[0]), mfn,
			       n * sizeof(mfn[0])))
			return -EFAULT;
		done += n;
	}
	return 0;
}

/* Of the resources a PV domain has only its grant table, of version 1. */
static int64_t acquire_resource(struct xe_host *h, struct xe_vcpu *v, uint64_t first, uint64_t gva)
{
	struct xe_mem_acquire_resource a;
	struct xe_domain *d;
	uint32_t size;

	if (xe_copy_from(h, v, &a, gva, sizeof(a)))
		return -EFAULT;
	if (a.pad || a.frame >> 32 || (a.frame + a.nr_frames) >> 32)
		return -EINVAL;
	d = xe_domain(h, a.domid);
	if (!d)
		return -ESRCH;
	if (d == v->domain || !v->domain->privileged)
		return -EPERM;
	size = resource_size(d, &a);
	if (!size || (!a.frame_list && (a.nr_frames || first)))
		return -EINVAL;
	if (!a.frame_list)
		return xe_copy_to(h, v, gva + offsetof(struct xe_mem_acquire_resource, nr_frames),
				  &size, sizeof(size));
	if (first >= a.nr_frames || a.nr_frames > UINT32_MAX >> XE_MEMOP_EXTENT_SHIFT)
		return -EINVAL;
	if (a.type != XE_RESOURCE_GRANT_TABLE)
		return -EOPNOTSUPP;
	a.nr_frames -= (uint32_t)first;
	a.frame += first;
	a.frame_list += first * sizeof(xe_mfn);
	return a.id ? -EINVAL : get_frames(h, v, d, &a);
}

/* Without the calls that may go on where they were broken off. */
static int64_t whole(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva)
{
	switch (cmd) {
	case XE_ABI_memory_op_maximum_ram_page:
		return (int64_t)h->nframes;
	case XE_ABI_memory_op_current_reservation:
	case XE_ABI_memory_op_maximum_reservation:
	case XE_ABI_memory_op_maximum_gpfn:
		return query(h, v, cmd, gva);
	case XE_ABI_memory_op_claim_pages:
		return claim_pages(h, v, gva);
	case XE_ABI_memory_op_get_vnumainfo:
		return vnuma_info(h, v, gva);
	case XE_ABI_memory_op_reserved_device_memory_map:
		return reserved_device_memory(h, v, gva);
	default:
		return -ENOSYS;
	}
}

/* Those of the architecture, for which the bits above the number are part of it. */
static int64_t arch(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva)
{
	switch (cmd) {
	case XE_ABI_memory_op_machphys_mfn_list:
		return machphys_list(h, v, gva);
	case XE_ABI_memory_op_machphys_mapping:
		return machphys_mapping(h, v, gva);
	case XE_ABI_memory_op_machphys_compat_mfn_list:
		return -EOPNOTSUPP;
	case XE_ABI_memory_op_memory_map:
		return memory_map(h, v, gva);
	case XE_ABI_memory_op_machine_memory_map:
		return machine_memory_map(h, v, gva);
	case XE_ABI_memory_op_set_memory_map:
		return set_memory_map(h, v, gva);
	case XE_ABI_memory_op_set_pod_target:
	case XE_ABI_memory_op_get_pod_target:
		return pod_target(h, v, gva);
	case XE_ABI_memory_op_get_sharing_freed_pages:
	case XE_ABI_memory_op_get_sharing_shared_pages:
		return 0;
	default:
		return -ENOSYS;
	}
}

int64_t xe_memory_info(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t first,
		       uint64_t gva)
{
	switch (cmd) {
	case XE_ABI_memory_op_add_to_physmap:
	case XE_ABI_memory_op_add_to_physmap_batch:
	case XE_ABI_memory_op_remove_from_physmap:
		return physmap(h, v, cmd, first, gva);
	case XE_ABI_memory_op_access_op:
		return access_op(h, v, gva);
	case XE_ABI_memory_op_acquire_resource:
		return acquire_resource(h, v, first, gva);
	case XE_ABI_memory_op_maximum_ram_page:
	case XE_ABI_memory_op_current_reservation:
	case XE_ABI_memory_op_maximum_reservation:
	case XE_ABI_memory_op_maximum_gpfn:
	case XE_ABI_memory_op_claim_pages:
	case XE_ABI_memory_op_get_vnumainfo:
	case XE_ABI_memory_op_reserved_device_memory_map:
		return first ? -EINVAL : whole(h, v, cmd, gva);
	default:
		return first ? -ENOSYS : arch(h, v, cmd, gva);
	}
}
