/* The hypercall table. Each xe_do_X, in csrc/xen, copies its argument in, does the typed operation,
 * copies out.
 *
 * Numbers, structs and errno values are Xen's. Unknown numbers and sub-operations: ENOSYS, counted.
 * Left out: continuations; every call here is short. */
#include <errno.h>
#include <stddef.h>

#include "xen/internal.h"
#include "xen/trace.h"

/* In, and certain to be writable for the way out. */
int xe_copy_arg(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n)
{
	if (xe_check_writable(h, v, gva, n))
		return -EFAULT;
	return xe_copy_from(h, v, buf, gva, n);
}

enum { TABLE = 64 }; /* below XE_TRACE_NR */

static xe_hypercall_fn *const table[TABLE] = {
	[XE_ABI_hypercall_set_trap_table] = xe_do_set_trap_table,
	[XE_ABI_hypercall_mmu_update] = xe_do_mmu_update,
	[XE_ABI_hypercall_set_gdt] = xe_do_set_gdt,
	[XE_ABI_hypercall_stack_switch] = xe_do_stack_switch,
	[XE_ABI_hypercall_set_callbacks] = xe_do_set_callbacks,
	[XE_ABI_hypercall_fpu_taskswitch] = xe_do_fpu_taskswitch,
	[XE_ABI_hypercall_sched_op_compat] = xe_do_sched_op_compat,
	[XE_ABI_hypercall_platform_op] = xe_do_platform_op,
	[XE_ABI_hypercall_set_debugreg] = xe_do_set_debugreg,
	[XE_ABI_hypercall_get_debugreg] = xe_do_get_debugreg,
	[XE_ABI_hypercall_update_descriptor] = xe_do_update_descriptor,
	[XE_ABI_hypercall_memory_op] = xe_do_memory_op,
	[XE_ABI_hypercall_update_va_mapping] = xe_do_update_va_mapping,
	[XE_ABI_hypercall_set_timer_op] = xe_do_set_timer_op,
	[XE_ABI_hypercall_event_channel_op_compat] = xe_do_event_channel_op_compat,
	[XE_ABI_hypercall_xen_version] = xe_do_xen_version,
	[XE_ABI_hypercall_console_io] = xe_do_console_io,
	[XE_ABI_hypercall_physdev_op_compat] = xe_do_physdev_op_compat,
	[XE_ABI_hypercall_grant_table_op] = xe_do_grant_table_op,
	[XE_ABI_hypercall_vm_assist] = xe_do_vm_assist,
	[XE_ABI_hypercall_update_va_mapping_otherdomain] = xe_do_update_va_mapping_otherdomain,
	[XE_ABI_hypercall_iret] = xe_do_iret,
	[XE_ABI_hypercall_vcpu_op] = xe_do_vcpu_op,
	[XE_ABI_hypercall_set_segment_base] = xe_do_set_segment_base,
	[XE_ABI_hypercall_mmuext_op] = xe_do_mmuext_op,
	[XE_ABI_hypercall_nmi_op] = xe_do_nmi_op,
	[XE_ABI_hypercall_sched_op] = xe_do_sched_op,
	[XE_ABI_hypercall_callback_op] = xe_do_callback_op,
	[XE_ABI_hypercall_xenoprof_op] = xe_do_xenoprof_op,
	[XE_ABI_hypercall_event_channel_op] = xe_do_event_channel_op,
	[XE_ABI_hypercall_physdev_op] = xe_do_physdev_op,
	[XE_ABI_hypercall_hvm_op] = xe_do_hvm_op,
	[XE_ABI_hypercall_sysctl] = xe_do_sysctl,
	[XE_ABI_hypercall_domctl] = xe_do_domctl,
	[XE_ABI_hypercall_kexec_op] = xe_do_kexec_op,
	[XE_ABI_hypercall_xenpmu_op] = xe_do_xenpmu_op,
	[XE_ABI_hypercall_dm_op] = xe_do_dm_op,
	[XE_ABI_hypercall_hypfs_op] = xe_do_hypfs_op,
	[XE_ABI_hypercall_mca] = xe_do_mca,
	[XE_ABI_hypercall_paging_domctl_cont] = xe_do_paging_domctl_cont,
	[XE_ABI_hypercall_zeroloss_op] = xe_do_zeroloss_op,
};

static void count_error(struct xe_host *h, int64_t r)
{
	if (r == -ENOSYS)
		h->counters.unknown_hypercalls++;
	else if (r == -EFAULT)
		h->counters.efaults++;
	else if (r == -EPERM)
		h->counters.eperms++;
}

/* The record is not all that there is to do. */
static inline bool is_rare(const struct xe_host *h, int64_t r)
{
	return r < 0 || h->seen_len || xe_trace_full(h->trace);
}

static void complete(struct xe_host *h, struct xe_trace_record *t, const uint64_t *arg, int64_t r)
{
	if (r < 0)
		count_error(h, r);
	if (h->seen_len)
		xe_trace_argument(h, t, arg);
	h->seen_len = 0;
	if (xe_trace_full(h->trace))
		xe_trace_settle(h->trace);
}

static int64_t dispatch(struct xe_host *h, struct xe_vcpu *v, uint64_t nr, const uint64_t *arg)
{
	uint64_t head = xe_trace_call(v, nr < XE_TRACE_NR ? nr : XE_TRACE_NR);
	struct xe_trace_record *t;
	int64_t r = -ENOSYS;

	h->counters.hypercalls++;
	if (nr < TABLE && table[nr])
		r = table[nr](h, v, arg);
	t = xe_trace_hypercall(h, head, arg, r);
	if (is_rare(h, r))
		complete(h, t, arg, r);
	return r;
}

/* Not in the table: its entries have records of their own, and a multicall inside one is refused, as
 * in Xen. Only results are written back. An iret is the last call, and its result that of the
 * multicall. */
static int64_t do_multicall(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint64_t gva = arg[0];

	if (!xe_addr_ok(gva))
		return -EFAULT;
	for (uint32_t n = (uint32_t)arg[1]; n; n--, gva += sizeof(struct xe_multicall_entry)) {
		struct xe_multicall_entry e;
		int r;

		if (xe_copy_from(h, v, &e, gva, sizeof(e)))
			return -EFAULT;
		h->seen_len = 0;
		e.result = e.op == XE_ABI_hypercall_multicall
				   ? (uint64_t)-EINVAL
				   : (uint64_t)dispatch(h, v, e.op, e.args);
		r = xe_copy_to(h, v, gva + offsetof(struct xe_multicall_entry, result), &e.result,
			       sizeof(e.result));
		if (e.op == XE_ABI_hypercall_iret)
			return (int32_t)e.result; /* as wide as Xen's */
		if (r)
			return r;
	}
	return 0;
}

static int64_t multicall(struct xe_host *h, struct xe_vcpu *v, const uint64_t *arg)
{
	uint64_t head = xe_trace_call(v, XE_ABI_hypercall_multicall);
	struct xe_trace_record *t;
	int64_t r;

	h->counters.hypercalls++;
	r = do_multicall(h, v, arg);
	h->seen_len = 0; /* the entries have records of their own */
	t = xe_trace_hypercall(h, head, arg, r);
	complete(h, t, arg, r == -EFAULT ? r : 0);
	return r;
}

/* The hypercall is over. */
static int64_t leave(struct xe_host *h, int64_t r)
{
	h->current = NULL;
	if (h->run_n)
		xe_frames_flush(h);
	if (*h->changed && h->settle)
		h->settle(h->ctx);
	return r;
}

static __attribute__((noinline)) int64_t finish(struct xe_host *h, struct xe_trace_record *t,
						const uint64_t *arg, int64_t r)
{
	complete(h, t, arg, r);
	return leave(h, r);
}

/* Of a vcpu that was blocked, and of a number that is not in the table. */
static __attribute__((noinline)) int64_t rare_call(struct xe_host *h, struct xe_vcpu *v,
						   uint64_t nr, const uint64_t *arg)
{
	int64_t r;

	if (v->blocked)
		xe_vcpu_unblock(h, v); /* what calls runs */
	h->current = v;
	r = nr == XE_ABI_hypercall_multicall ? multicall(h, v, arg) : dispatch(h, v, nr, arg);
	return leave(h, r);
}

/* No hypercall has more than five arguments. All that is rare is apart and called last, so that the
 * common way needs few registers and looks at each thing once. */
int64_t xe_vcpu_hypercall(struct xe_host *h, uint32_t domid, uint32_t vcpu, uint32_t nr,
			  const uint64_t arg[5], xe_ns now)
{
	struct xe_domain *d = domid < XE_MAX_DOMAINS ? h->domain[domid] : NULL;
	struct xe_trace_record *t;
	struct xe_vcpu *v;
	uint64_t head;
	int64_t r;

	if (!d || d->dying || vcpu >= d->nvcpus)
		return leave(h, -ESRCH);
	v = d->vcpu[vcpu];
	if (now > h->now)
		h->now = now;
	if (v->blocked || nr >= TABLE || !table[nr])
		return rare_call(h, v, nr, arg);
	h->current = v;
	h->counters.hypercalls++;
	head = xe_trace_call(v, nr);
	r = table[nr](h, v, arg);
	t = xe_trace_hypercall(h, head, arg, r);
	if (is_rare(h, r) || h->run_n || *h->changed)
		return finish(h, t, arg, r);
	h->current = NULL;
	return r;
}

int64_t xe_hypercall(struct xe_host *h, uint32_t domid, uint32_t nr, const uint64_t arg[5],
		     xe_ns now)
{
	return xe_vcpu_hypercall(h, domid, 0, nr, arg, now);
}
