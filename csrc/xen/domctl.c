/* domctl: the control domain's calls on domains.
 *
 * Checked in this order, as in Xen: argument (EFAULT), version (EACCES), domain (ESRCH), right (EPERM),
 * the call itself. A domain made here has no memory and no virtual CPU; the machine's own builder is
 * xe_domain_create. Its id is the next one after the last that was given, not the lowest.
 *
 * Every call is over when it answers: there are no continuations, and a destroyed domain is a zombie at
 * once. Left out, with the answer that a PV domain gets from real Xen where that is a refusal (see
 * `refused`): HVM, passed-through devices, NUMA, CPU affinity and pools, memory access, tracing, MSRs
 * and CPU policies; those that Xen would do answer ENOSYS. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

enum {
	FIRST_RESERVED_DOMID = XE_ABI_domid_SELF,
	MAX_PV_VCPUS = 8192,
	MAX_PAUSES = 255,
	KNOWN_FLAGS = 0xff,
	OTHER_FLAGS = KNOWN_FLAGS & ~(XE_CDF_OOS_OFF | XE_CDF_XS_DOMAIN), /* of HVM, IOMMU, ... */
};

static const int16_t refused[] = {
	[XE_ABI_domctl_shadow_op] = -EINVAL,
	[XE_ABI_domctl_scheduler_op] = -EINVAL,
	[XE_ABI_domctl_irq_permission] = -EPERM,
	[XE_ABI_domctl_iomem_permission] = -EPERM,
	[XE_ABI_domctl_ioport_permission] = -EINVAL,
	[XE_ABI_domctl_soft_reset_cont] = -EBUSY,
	[XE_ABI_domctl_gethvmcontext] = -EINVAL,
	[XE_ABI_domctl_sethvmcontext] = -EINVAL,
	[XE_ABI_domctl_assign_device] = -EOPNOTSUPP,
	[XE_ABI_domctl_bind_pt_irq] = -EINVAL,
	[XE_ABI_domctl_ioport_mapping] = -EOPNOTSUPP,
	[XE_ABI_domctl_test_assign_device] = -EOPNOTSUPP,
	[XE_ABI_domctl_deassign_device] = -EOPNOTSUPP,
	[XE_ABI_domctl_unbind_pt_irq] = -EINVAL,
	[XE_ABI_domctl_get_device_group] = -EOPNOTSUPP,
	[XE_ABI_domctl_debug_op] = -EINVAL,
	[XE_ABI_domctl_gethvmcontext_partial] = -EINVAL,
	[XE_ABI_domctl_vm_event_op] = -EINVAL,
	[XE_ABI_domctl_set_broken_page_p2m] = -EINVAL,
	[XE_ABI_domctl_setnodeaffinity] = -EINVAL,
	[XE_ABI_domctl_setvnumainfo] = -EINVAL,
	[XE_ABI_domctl_psr_cmt_op] = -ENODEV,
	[XE_ABI_domctl_monitor_op] = -EOPNOTSUPP,
	[XE_ABI_domctl_psr_alloc] = -ENODEV,
	[XE_ABI_domctl_soft_reset] = -EINVAL,
	[XE_ABI_domctl_vmtrace_op] = -EINVAL,
	[XE_ABI_domctl_get_paging_mempool_size] = -EOPNOTSUPP,
	[XE_ABI_domctl_set_paging_mempool_size] = -EOPNOTSUPP,
};

/* What a domain may be on a machine without HVM, IOMMU, vPMU, tboot and other CPU pools. */
static int check_create(const struct xe_domctl_create *c)
{
	if (c->flags & ~(uint32_t)KNOWN_FLAGS || c->flags & OTHER_FLAGS || c->grant_opts & ~15u ||
	    c->iommu_opts || c->vmtrace_size || c->max_vcpus < 1 || c->max_vcpus > MAX_PV_VCPUS ||
	    c->arch.misc_flags & ~XE_MSR_RELAXED || c->arch.emulation_flags & ~XE_EMU_ALL)
		return -EINVAL;
	if (c->arch.emulation_flags & ~XE_EMU_PIT)
		return -EOPNOTSUPP;
	if (c->grant_opts < 1 || c->grant_opts > 2 || c->max_grant_frames == 0 ||
	    c->max_grant_frames > XE_GRANT_FRAMES || c->max_maptrack_frames > XE_MAPTRACK_FRAMES)
		return -EINVAL;
	return c->cpupool_id ? -ESRCH : 0;
}

static int choose_id(struct xe_host *h, uint32_t asked, uint32_t *id)
{
	if (asked && asked < FIRST_RESERVED_DOMID) {
		*id = asked;
		return xe_domain(h, asked) ? -EEXIST : 0;
	}
	*id = xe_domset_free(&h->domains, h->rover + 1);
	if (*id == XE_MAX_DOMAINS)
		*id = xe_domset_free(&h->domains, 1);
	if (*id == XE_MAX_DOMAINS)
		return -ENOMEM;
	h->rover = *id;
	return 0;
}

static int create(struct xe_host *h, struct xe_domctl *op)
{
	struct xe_domctl_create *c = &op->u.create;
	struct xe_domain *d;
	uint32_t id;
	int r = choose_id(h, op->domain, &id);

	if (!r)
		r = check_create(c);
	if (!r)
		r = xe_domain_alloc(h, id, c->max_vcpus, &d);
	if (r)
		return r;
	c->flags |= XE_CDF_OOS_OFF;
	memcpy(d->handle, c->handle, sizeof(d->handle));
	d->create_flags = c->flags;
	d->emulation_flags = c->arch.emulation_flags;
	d->max_port = c->max_evtchn_port < INT32_MAX ? c->max_evtchn_port : INT32_MAX;
	if (c->max_grant_frames > 0)
		d->max_grant_frames = (uint32_t)c->max_grant_frames;
	if (c->max_maptrack_frames >= 0)
		d->max_maptrack_frames = (uint32_t)c->max_maptrack_frames;
	op->domain = (uint16_t)d->id;
	return 0;
}

static int pause(struct xe_host *h, struct xe_domain *d)
{
	return d->pause_count < MAX_PAUSES ? xe_domain_pause(h, d->id) : -EOVERFLOW;
}

/* All of them, as many as it was created for. */
static int set_vcpus(struct xe_host *h, struct xe_domain *d, uint32_t max)
{
	int r = max == d->max_vcpus ? 0 : -EINVAL;

	while (!r && d->nvcpus < max)
		r = d->nvcpus < XE_MAX_VCPUS ? xe_vcpu_create(h, d) : -ENOMEM;
	return r;
}

static int set_target(struct xe_host *h, const struct xe_domain *d, uint32_t target)
{
	const struct xe_domain *e = xe_domain(h, target);

	if (!e)
		return -ESRCH;
	return d == e ? -EINVAL : -EOPNOTSUPP; /* a PV domain is no device model's target */
}

static int memory_mapping(const struct xe_domctl *op)
{
	uint64_t gfn = op->u.memory_mapping.first_gfn, mfn = op->u.memory_mapping.first_mfn;
	uint64_t n = op->u.memory_mapping.nr_mfns, last = mfn + n - 1;

	return last < mfn || (mfn | last) >> 28 || gfn + n - 1 < gfn ? -EINVAL : 0;
}

static int address_size(uint32_t bits)
{
	return bits == 64 ? 0 : bits == 32 ? -EOPNOTSUPP : -EINVAL;
}

/* On the domain as a whole; the rest is in domctl_info.c. */
static int on_domain(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d,
		     struct xe_domctl *op, bool *copy)
{
	bool self = d == v->domain;

	switch (op->cmd) {
	case XE_ABI_domctl_destroydomain:
		return self ? -EINVAL : xe_domain_destroy(h, d->id);
	case XE_ABI_domctl_pausedomain:
		return self ? -EINVAL : pause(h, d);
	case XE_ABI_domctl_unpausedomain:
		return xe_domain_unpause(h, d->id);
	case XE_ABI_domctl_resumedomain:
		return self ? -EINVAL : xe_domain_resume(h, d);
	case XE_ABI_domctl_max_mem:
		d->max_pages = op->u.max_memkb >> 2 < UINT32_MAX ? op->u.max_memkb >> 2
								 : UINT32_MAX;
		return 0;
	case XE_ABI_domctl_max_vcpus:
		return self ? -EINVAL : set_vcpus(h, d, op->u.max_vcpus);
	case XE_ABI_domctl_setdomainhandle:
		memcpy(d->handle, op->u.handle, sizeof(d->handle));
		return 0;
	case XE_ABI_domctl_setdebugging:
		if (!self)
			d->debugged = op->u.debug;
		return self ? -EINVAL : 0;
	case XE_ABI_domctl_settimeoffset:
		d->time_offset_s = op->u.time_offset_s;
		xe_update_wallclock(h, d);
		return 0;
	case XE_ABI_domctl_subscribe:
		d->suspend_port = op->u.port;
		return 0;
	case XE_ABI_domctl_set_address_size:
		return address_size(op->u.address_size);
	case XE_ABI_domctl_set_access_required:
		return self ? -EPERM : 0; /* of no meaning to a PV domain */
	case XE_ABI_domctl_set_target:
		return set_target(h, d, op->u.target);
	case XE_ABI_domctl_memory_mapping:
		return memory_mapping(op);
	case XE_ABI_domctl_settscinfo:
		return self ? -EINVAL : 0; /* the TSC is machine time, for all */
	default:
		return xe_domctl_info(h, v, d, op, copy);
	}
}

/* *copy: the guest gets the argument back. */
static int domctl(struct xe_host *h, struct xe_vcpu *v, struct xe_domctl *op, bool *copy)
{
	bool is_info = op->cmd == XE_ABI_domctl_getdomaininfo;
	struct xe_domain *d = NULL;
	int r;

	if (op->version != XE_DOMCTL_VERSION)
		return -EACCES;
	if (op->cmd != XE_ABI_domctl_createdomain) {
		d = xe_domain(h, op->domain);
		if (!d && is_info && op->domain >= FIRST_RESERVED_DOMID)
			return -EINVAL;
		if (!d && is_info) /* the next one, for who lists them all */
			d = xe_domain(h, (uint32_t)xe_domset_next(&h->domains, op->domain));
		if (!d)
			return -ESRCH;
	}
	if (!v->domain->privileged)
		return -EPERM;
	*copy = op->cmd == XE_ABI_domctl_createdomain;
	if (!d)
		return create(h, op);
	r = on_domain(h, v, d, op, copy);
	if (r == -ENOSYS && op->cmd < sizeof(refused) / sizeof(refused[0]) && refused[op->cmd])
		r = refused[op->cmd];
	return r;
}

int64_t xe_do_domctl(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_domctl op;
	bool copy = false;
	int r;

	if (xe_copy_from(h, v, &op, arg[0], sizeof(op)))
		return -EFAULT;
	r = domctl(h, v, &op, &copy);
	if (!r && copy && xe_copy_to(h, v, arg[0], &op, sizeof(op)))
		return -EFAULT;
	return r;
}
