/* zeroloss_op(cmd, struct xe_zl_arg *): copies the argument in and out around the decision.
 *
 * Invariant: the argument is known to be writable before anything is decided, so that a transition
 * that was committed is also answered. Left out: the decisions (xen/pair.c). */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

int64_t xe_do_zeroloss_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_zl_arg a;
	int64_t r;

	if (arg[0] > XE_ABI_zl_UNREGISTER_WRAPPER)
		return -ENOSYS;
	r = xe_copy_arg(h, v, &a, arg[1], sizeof(a));
	if (r)
		return r;
	r = xe_zl_op(h, v->domain, (uint32_t)arg[0], &a);
	if (xe_copy_to(h, v, arg[1], &a, sizeof(a)))
		r = -EFAULT;
	return r;
}
