/* The hypercall table. Each xe_do_X, in csrc/xen, copies its argument in, does the typed operation,
 * copies out.
 *
 * Numbers, structs and errno values are Xen's. Unknown numbers and sub-operations: ENOSYS, counted.
 * Left out: continuations; every call here is short. */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

/* In, and certain to be writable for the way out. */
int xe_copy_arg(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n)
{
	if (xe_check_writable(h, v, gva, n))
		return -EFAULT;
	return xe_copy_from(h, v, buf, gva, n);
}

static xe_hypercall_fn *const table[] = {
	[XE_ABI_hypercall_mmu_update] = xe_do_mmu_update,
	[XE_ABI_hypercall_memory_op] = xe_do_memory_op,
	[XE_ABI_hypercall_update_va_mapping] = xe_do_update_va_mapping,
	[XE_ABI_hypercall_update_va_mapping_otherdomain] = xe_do_update_va_mapping_otherdomain,
	[XE_ABI_hypercall_mmuext_op] = xe_do_mmuext_op,
	[XE_ABI_hypercall_xen_version] = xe_do_xen_version,
	[XE_ABI_hypercall_console_io] = xe_do_console_io,
	[XE_ABI_hypercall_sched_op] = xe_do_sched_op,
	[XE_ABI_hypercall_event_channel_op] = xe_do_event_channel_op,
	[XE_ABI_hypercall_domctl] = xe_do_domctl,
	[XE_ABI_hypercall_zeroloss_op] = xe_do_zeroloss_op,
};

static int64_t dispatch(struct xe_host *h, struct xe_vcpu *v, uint64_t nr, const uint64_t arg[6])
{
	int64_t r = -ENOSYS;

	h->counters.hypercalls++;
	if (nr < sizeof(table) / sizeof(table[0]) && table[nr])
		r = table[nr](h, v, arg);
	if (r == -ENOSYS)
		h->counters.unknown_hypercalls++;
	else if (r == -EFAULT)
		h->counters.efaults++;
	else if (r == -EPERM)
		h->counters.eperms++;
	return r;
}

/* Not in the table: a multicall inside one is refused, as in Xen. */
static int64_t do_multicall(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	for (uint32_t i = 0; i < (uint32_t)arg[1]; i++) {
		uint64_t gva = arg[0] + i * sizeof(struct xe_multicall_entry);
		struct xe_multicall_entry e;

		if (xe_copy_arg(h, v, &e, gva, sizeof(e)))
			return -EFAULT;
		e.result = e.op == XE_ABI_hypercall_multicall
				   ? (uint64_t)-EINVAL
				   : (uint64_t)dispatch(h, v, e.op, e.args);
		if (xe_copy_to(h, v, gva, &e, sizeof(e)))
			return -EFAULT;
	}
	return 0;
}

int64_t xe_vcpu_hypercall(struct xe_host *h, uint32_t domid, uint32_t vcpu, uint32_t nr,
			  const uint64_t arg[5], xe_ns now)
{
	struct xe_domain *d = xe_live_domain(h, domid);
	struct xe_vcpu *v = d ? xe_vcpu(d, vcpu) : NULL;
	uint64_t a[6] = {0};
	int64_t r;

	if (!v)
		return -ESRCH;
	h->now = now;
	h->current = v;
	memcpy(a, arg, 5 * sizeof(a[0]));
	if (nr == XE_ABI_hypercall_multicall) {
		h->counters.hypercalls++;
		r = do_multicall(h, v, a);
		h->counters.efaults += r == -EFAULT;
	} else {
		r = dispatch(h, v, nr, a);
	}
	h->current = NULL;
	xe_frames_flush(h);
	return r;
}

int64_t xe_hypercall(struct xe_host *h, uint32_t domid, uint32_t nr, const uint64_t arg[5],
		     xe_ns now)
{
	return xe_vcpu_hypercall(h, domid, 0, nr, arg, now);
}
