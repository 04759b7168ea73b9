/* event_channel_op: copy in, the operation, copy out.
 *
 * Only a success is copied out; where that faults the operation is done all the same, and the answer
 * is EFAULT, as in Xen.
 * Left out: continuations; no operation is long. */
#include <errno.h>

#include "xen/evtchn.h"

static const struct {
	uint8_t size;
	bool out;
} shape[] = {
	[XE_ABI_evtchn_op_bind_interdomain] = {sizeof(struct xe_evtchn_bind_interdomain), true},
	[XE_ABI_evtchn_op_bind_virq] = {sizeof(struct xe_evtchn_bind_virq), true},
	[XE_ABI_evtchn_op_bind_pirq] = {sizeof(struct xe_evtchn_bind_pirq), true},
	[XE_ABI_evtchn_op_close] = {sizeof(struct xe_evtchn_port), false},
	[XE_ABI_evtchn_op_send] = {sizeof(struct xe_evtchn_port), false},
	[XE_ABI_evtchn_op_status] = {sizeof(struct xe_evtchn_status), true},
	[XE_ABI_evtchn_op_alloc_unbound] = {sizeof(struct xe_evtchn_alloc_unbound), true},
	[XE_ABI_evtchn_op_bind_ipi] = {sizeof(struct xe_evtchn_bind_ipi), true},
	[XE_ABI_evtchn_op_bind_vcpu] = {sizeof(struct xe_evtchn_bind_vcpu), false},
	[XE_ABI_evtchn_op_unmask] = {sizeof(struct xe_evtchn_port), false},
	[XE_ABI_evtchn_op_reset] = {sizeof(struct xe_evtchn_reset), false},
	[XE_ABI_evtchn_op_init_control] = {sizeof(struct xe_evtchn_init_control), true},
	[XE_ABI_evtchn_op_expand_array] = {sizeof(struct xe_evtchn_expand_array), false},
	[XE_ABI_evtchn_op_set_priority] = {sizeof(struct xe_evtchn_set_priority), false},
	[XE_ABI_evtchn_op_reset_cont] = {sizeof(struct xe_evtchn_reset), false},
};

static int64_t run(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t gva)
{
	union xe_evtchn_arg a;
	int r;

	if (cmd >= sizeof(shape) / sizeof(shape[0]))
		return -ENOSYS;
	if (xe_copy_from(h, v, &a, gva, shape[cmd].size))
		return -EFAULT;
	r = xe_evtchn_op(h, v->domain, cmd, &a);
	if (!r && shape[cmd].out)
		r = xe_copy_to(h, v, gva, &a, shape[cmd].size);
	return r;
}

int64_t xe_do_event_channel_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	return run(h, v, (uint32_t)arg[0], arg[1]);
}

/* As it was before 3.2: the command lies before its argument. The whole must be readable. */
int64_t xe_do_event_channel_op_compat(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t op[7];

	if (xe_copy_from(h, v, op, arg[0], sizeof(op)))
		return -EFAULT;
	if (op[0] > XE_ABI_evtchn_op_unmask)
		return -ENOSYS;
	return run(h, v, op[0], arg[0] + sizeof(op[0]));
}
