/* Hypercalls that Xen has and we have not: what they refuse, they refuse as Xen does to a PV domain.
 *
 * Each checks argument, version, right and domain in Xen's order; where Xen would then do something,
 * the answer is ENOSYS. These are physical hardware (platform_op, physdev_op, mca, xenpmu, xenoprof),
 * HVM (hvm_op, dm_op), the host's own control (sysctl, kexec, hypfs), and rests of broken-off calls.
 * tmem, argo and xsm_op are not built into Xen either: they are in no table. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "xen/internal.h"

enum {
	SYSCTL_VERSION = 0x15,
	PLATFORM_VERSION = 0x03000001,
	MCA_VERSION = 0x01ecc003,
	OP_SIZE = 136, /* of sysctl and platform_op */
	MCA_SIZE = 48,
	XENOPROF_LAST = 17,
	XENOPROF_GET_BUFFER = 14,
	XENOPROF_INIT_SIZE = 72,
	XENOPROF_BUFFER_SIZE = 24,
	KEXEC_LAST = 6,
	HYPFS_READ = 1,
	HYPFS_WRITE = 2,
	HYPFS_ENTRY_SIZE = 12, /* of what is read, at least */
	HYPFS_PATH_MAX = 1024,
	PHYSDEV_UNMASK_NOTIFY = 4,
	PHYSDEV_SET_IOPL = 6,
	PHYSDEV_SET_IOBITMAP = 7,
	IO_PORTS = 65536,
	DM_MAX_BUFFERS = 2,
};

enum hvm_op {
	HVM_SET_PARAM = 0,
	HVM_GET_PARAM = 1,
	HVM_FLUSH_TLBS = 5,
	HVM_PAGETABLE_DYING = 9,
	HVM_GET_TIME = 10,
	HVM_XENTRACE = 11,
	HVM_GET_MEM_TYPE = 15,
	HVM_UPCALL_VECTOR = 23,
	HVM_VM_EVENT = 24,
	HVM_ALTP2M = 25,
	HVM_PARAMS = 39,
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

/* Its version is 1, and there is nothing in it but the root. */
int64_t xe_do_hypfs_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0];
	uint64_t n = arg[2];
	char path[HYPFS_PATH_MAX];

	if (!v->domain->privileged)
		return -EPERM;
	if (!cmd)
		return arg[1] || n || arg[3] || arg[4] ? -EINVAL : 1;
	if (n > sizeof(path))
		return -EINVAL;
	if (xe_copy_from(h, v, path, arg[1], n))
		return -EFAULT;
	if (!n || memchr(path, 0, n) != path + n - 1 || path[0] != '/')
		return -EINVAL;
	if (path[1])
		return -ENOENT;
	if (cmd == HYPFS_READ)
		return arg[4] < HYPFS_ENTRY_SIZE ? -EINVAL : -ENOSYS;
	return cmd == HYPFS_WRITE ? -EACCES : -EOPNOTSUPP;
}

int64_t xe_do_xenpmu_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	(void)h;
	(void)v;
	(void)arg;
	return -EOPNOTSUPP;
}

/* Who has not begun a profile may begin one or ask for a buffer, and no more. */
int64_t xe_do_xenoprof_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0];
	uint8_t op[XENOPROF_INIT_SIZE];

	if (cmd > XENOPROF_LAST)
		return -EINVAL;
	if (cmd && cmd != XENOPROF_GET_BUFFER)
		return -EPERM;
	return xe_copy_from(h, v, op, arg[1], cmd ? XENOPROF_BUFFER_SIZE : sizeof(op)) ? -EFAULT
										       : -ENOSYS;
}

/* Ports and privilege levels are for machine code, so the right to them is given and means nothing. */
static int physdev(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva)
{
	/* sizes of the structs; 0: no such operation */
	static const uint8_t size[] = {
		[5] = 8,   [6] = 4,   [7] = 16, [8] = 16, [9] = 16, [10] = 8,  [12] = 4, [13] = 40,
		[14] = 8,  [15] = 2,  [16] = 2, [17] = 8, [19] = 2, [20] = 16, [21] = 8, [23] = 8,
		[24] = 16, [25] = 12, [26] = 4, [27] = 4, [28] = 8, [29] = 6,  [30] = 4, [31] = 4,
	};
	uint64_t word[5] = {0};

	if (cmd == PHYSDEV_UNMASK_NOTIFY)
		return 0;
	if (cmd >= sizeof(size) || !size[cmd])
		return -ENOSYS;
	if (xe_copy_from(h, v, word, gva, size[cmd]))
		return -EFAULT;
	if (cmd == PHYSDEV_SET_IOPL)
		return word[0] > 3 ? -EINVAL : 0;
	if (cmd == PHYSDEV_SET_IOBITMAP)
		return !xe_addr_ok(word[0]) || (uint32_t)word[1] > IO_PORTS ? -EINVAL : 0;
	return -ENOSYS;
}

int64_t xe_do_physdev_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return physdev(h, v, (uint32_t)arg[0], arg[1]);
}

int64_t xe_do_physdev_op_compat(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t op[6];

	if (xe_copy_from(h, v, op, arg[0], sizeof(op)))
		return -EFAULT;
	return physdev(h, v, op[0], arg[0] + sizeof(uint64_t));
}

/* Of a domain's own, or of another's: both are PV. The struct begins with the domain. */
static int hvm_of_domain(struct xe_host *h, struct xe_vcpu *v, enum hvm_op op, uint64_t gva)
{
	struct {
		uint16_t domid, pad;
		uint32_t index;
		uint64_t value;
	} p;
	const struct xe_domain *d;

	if (xe_copy_from(h, v, &p, gva, sizeof(p)))
		return -EFAULT;
	if (op <= HVM_GET_PARAM && p.index >= HVM_PARAMS)
		return -EINVAL;
	d = xe_domain_or_self(h, v->domain, p.domid);
	if (!d)
		return -ESRCH;
	if (d == v->domain || op <= HVM_GET_PARAM)
		return -EINVAL;
	if (op == HVM_PAGETABLE_DYING)
		return -EOPNOTSUPP;
	return v->domain->privileged ? -EINVAL : -EPERM;
}

/* A record of the guest's own in Xen's trace, which is not kept: it is as if that were off. */
static int xentrace(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct {
		uint16_t event, bytes;
		uint8_t extra[28];
	} t;

	if (xe_copy_from(h, v, &t, gva, sizeof(t)))
		return -EFAULT;
	return t.bytes > sizeof(t.extra) || t.event >> 12 ? -EINVAL : 0;
}

int64_t xe_do_hvm_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	switch (arg[0]) {
	case HVM_SET_PARAM:
	case HVM_GET_PARAM:
	case HVM_PAGETABLE_DYING:
	case HVM_GET_MEM_TYPE:
		return hvm_of_domain(h, v, (enum hvm_op)arg[0], arg[1]);
	case HVM_GET_TIME:
		return xe_copy_to(h, v, arg[1], &h->now, sizeof(h->now));
	case HVM_XENTRACE:
		return xentrace(h, v, arg[1]);
	case HVM_VM_EVENT: /* nobody waits for it */
		return arg[1] ? -EINVAL : 0;
	case HVM_FLUSH_TLBS:
	case HVM_UPCALL_VECTOR:
		return -EINVAL;
	case HVM_ALTP2M:
		return -EOPNOTSUPP;
	default:
		return -ENOSYS;
	}
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
