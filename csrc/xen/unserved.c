/* Hypercalls that Xen has and we have not: what they refuse, they refuse as Xen does to a PV domain.
 *
 * Each checks argument, version, right and domain in Xen's order; where Xen would then do something,
 * the answer is ENOSYS. These are physical hardware (platform_op, physdev_op, mca, xenpmu, xenoprof),
 * HVM (hvm_op, dm_op), the host's own control (sysctl, kexec, hypfs), and rests of broken-off calls.
 * tmem, argo and xsm_op are not built into Xen either: they are in no table. */
#include <errno.h>
#include <stddef.h>

#include "xen/internal.h"

enum {
	SYSCTL_VERSION = 0x15,
	PLATFORM_VERSION = 0x03000001,
	MCA_VERSION = 0x01ecc003,
	OP_SIZE = 136, /* of sysctl and platform_op */
	MCA_SIZE = 48,
	XENOPROF_LAST = 17,
	XENOPROF_INIT_SIZE = 72,
	KEXEC_LAST = 6,
	HVMOP_GET_PARAM = 1,
	DM_MAX_BUFFERS = 2,
};

/* The common start: a number and the version of the interface. */
static int check_version(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t size,
			 uint32_t version)
{
	uint32_t op[OP_SIZE / 4];

	if (xe_copy_from(h, v, op, gva, size))
		return -EFAULT;
	return op[1] == version ? 0 : -EACCES;
}

static int64_t control_op(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint32_t version)
{
	int r = check_version(h, v, gva, OP_SIZE, version);

	if (!r)
		r = v->domain->privileged ? -ENOSYS : -EPERM;
	return r;
}

int64_t xe_do_platform_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return control_op(h, v, arg[0], PLATFORM_VERSION);
}

int64_t xe_do_sysctl(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return control_op(h, v, arg[0], SYSCTL_VERSION);
}

int64_t xe_do_mca(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	int r = v->domain->privileged ? 0 : -EPERM;

	if (!r)
		r = check_version(h, v, arg[0], MCA_SIZE, MCA_VERSION);
	return r ? r : -EINVAL;
}

/* What Xen does not know it takes for done. */
int64_t xe_do_kexec_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint64_t op;

	if (!v->domain->privileged)
		return -EPERM;
	if (arg[0] > KEXEC_LAST)
		return 0;
	return xe_copy_from(h, v, &op, arg[1], sizeof(op)) ? -EFAULT : -ENOSYS;
}

/* Its version is 1, and there is nothing in it. */
int64_t xe_do_hypfs_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	if (!v->domain->privileged)
		return -EPERM;
	if ((uint32_t)arg[0])
		return -EOPNOTSUPP;
	return arg[1] || arg[2] || arg[3] || arg[4] ? -EINVAL : 1;
}

int64_t xe_do_xenpmu_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	(void)v;
	(void)arg;
	return -EOPNOTSUPP;
}

/* Who has not begun a profile may begin one, and no more. */
int64_t xe_do_xenoprof_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint8_t init[XENOPROF_INIT_SIZE];

	if ((uint32_t)arg[0] > XENOPROF_LAST)
		return -EINVAL;
	if ((uint32_t)arg[0])
		return -EPERM;
	return xe_copy_from(h, v, init, arg[1], sizeof(init)) ? -EFAULT : -ENOSYS;
}

int64_t xe_do_physdev_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	(void)v;
	(void)arg;
	return -ENOSYS;
}

int64_t xe_do_physdev_op_compat(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint8_t op[24];

	return xe_copy_from(h, v, op, arg[0], sizeof(op)) ? -EFAULT : -ENOSYS;
}

/* set_param and get_param are for HVM domains. */
int64_t xe_do_hvm_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct {
		uint16_t domid, pad;
		uint32_t index;
		uint64_t value;
	} p;

	if (arg[0] > HVMOP_GET_PARAM)
		return -ENOSYS;
	if (xe_copy_from(h, v, &p, arg[1], sizeof(p)))
		return -EFAULT;
	return xe_domain_or_self(h, v->domain, p.domid) ? -EINVAL : -ESRCH;
}

int64_t xe_do_dm_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t n = (uint32_t)arg[1];
	uint64_t buffers[2 * DM_MAX_BUFFERS];
	const struct xe_domain *d = xe_domain(h, arg[0] & 0xffff);

	if (n > DM_MAX_BUFFERS)
		return -E2BIG;
	if (xe_copy_from(h, v, buffers, arg[2], n * 16))
		return -EFAULT;
	if (!d)
		return -ESRCH;
	return d == v->domain ? -EPERM : -EINVAL;
}

/* The rest of a shadow_op: no PV domain has one. */
int64_t xe_do_paging_domctl_cont(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_domctl op;

	if (xe_copy_from(h, v, &op, arg[0], sizeof(op)))
		return -EFAULT;
	if (op.version != XE_DOMCTL_VERSION || op.cmd != XE_ABI_domctl_shadow_op)
		return -EOPNOTSUPP;
	if (!xe_domain(h, op.domain))
		return -ESRCH;
	return v->domain->privileged ? -EINVAL : -EPERM;
}
