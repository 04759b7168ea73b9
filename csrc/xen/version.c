/* xen_version: what this hypervisor says it is, Xen 4.17.7. */
#include <errno.h>

#include "xen/internal.h"

enum { VERSION_4_17 = 4 << 16 | 17 };

int64_t xe_do_xen_version(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct {
		uint32_t idx, map;
	} f;
	static const char extra[16] = ".7";

	switch (arg[0]) {
	case 0:
		return VERSION_4_17;
	case 1:
		return xe_copy_to(h, v, arg[1], extra, sizeof(extra));
	case 6:
		if (xe_copy_arg(h, v, &f, arg[1], sizeof(f)))
			return -EFAULT;
		if (f.idx)
			return -EINVAL;
		f.map = 1u << 5 | (v->domain->privileged ? 1u << 11 : 0); /* preserve_ad, dom0 */
		return xe_copy_to(h, v, arg[1], &f, sizeof(f));
	case 7:
		return XE_PAGE_SIZE;
	default:
		return -ENOSYS;
	}
}
