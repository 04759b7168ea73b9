/* vcpu_op and set_timer_op.
 *
 * Nothing is pending in the guest's memory when these answer but what the call itself raised: a timer
 * that is past fires before the answer. Left out: HVM, physical processors. */
#include <errno.h>
#include <stdlib.h>

#include "xen/evtchn.h"

#define MAX_PERIOD (UINT64_MAX >> 2)
#define FAR_AWAY (1ull << 50) /* older Linux kernels mean "none": 13 days */
#define FAR_AWAY_ANSWER (100 * XE_MS)

/* 5 KB, too much for the stack of a host. */
static int initialise(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v, uint64_t gva)
{
	struct xe_vcpu_context *c;
	int r;

	if (!xe_vcpu_info(h, v))
		return -EINVAL;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = xe_copy_from(h, cur, c, gva, sizeof(*c));
	if (!r)
		r = v->initialised ? -EEXIST : xe_vcpu_set_context(h, v, c);
	free(c);
	return r;
}

static int up(struct xe_host *h, struct xe_vcpu *v)
{
	if (!v->initialised)
		return -EINVAL;
	xe_vcpu_set_online(h, v, true);
	return 0;
}

/* The last one takes the domain with it, and stays up. */
static int down(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_domain *d = v->domain;

	if (d->online_vcpus == v->online)
		xe_domain_shutdown(h, d, XE_SHUTDOWN_POWEROFF);
	else
		xe_vcpu_set_online(h, v, false);
	return 0;
}

static int get_runstate(struct xe_host *h, struct xe_vcpu *cur, const struct xe_vcpu *v,
			uint64_t gva)
{
	struct xe_runstate_info r;

	xe_runstate_get(h, v, &r);
	return xe_copy_to(h, cur, gva, &r, sizeof(r));
}

/* The area lies in the address space of v; that it is not there is found out later, by nobody. */
static int register_runstate(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v,
			     const struct xe_vcpu_area *op)
{
	struct xe_runstate_info r;

	if (!xe_is_guest_address(op->gva))
		return -EFAULT;
	v->runstate_gva = op->gva;
	xe_runstate_get(v == cur ? NULL : h, v, &r);
	xe_copy_to(h, cur, op->gva, &r, sizeof(r));
	return 0;
}

static int register_time(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_area *op)
{
	if (!xe_is_guest_address(op->gva))
		return -EFAULT;
	v->time_gva = op->gva;
	xe_update_time(h, v);
	return 0;
}

static int set_periodic(struct xe_host *h, struct xe_vcpu *v, uint64_t period)
{
	if (period && (period < XE_MS || period > MAX_PERIOD))
		return -EINVAL;
	xe_host_timer_stop(h, &v->periodic);
	v->period = period;
	if (period)
		xe_vcpu_tick(h, v);
	return 0;
}

static int move_info(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v,
		     const struct xe_register_vcpu_info *op)
{
	struct xe_vcpu_info *new, old = {.upcall_mask = 1};
	int r;

	if (op->offset > XE_PAGE_SIZE - sizeof(old) || op->offset % 8)
		return -ENXIO;
	if (v->info_mfn || (v != cur && v->online))
		return -EINVAL;
	r = xe_get_given_page(h, v->domain, op->mfn);
	if (r)
		return r;
	if (xe_vcpu_info(h, v))
		old = *xe_vcpu_info(h, v);
	v->info_mfn = op->mfn;
	v->info_offset = op->offset;
	new = xe_vcpu_info(h, v);
	*new = old;
	new->pending_sel = UINT64_MAX; /* so that nothing is lost */
	xe_vcpu_upcall(h, v);
	xe_queue_upcall(h, v->domain);
	return 0;
}

static int physid(struct xe_host *h, struct xe_vcpu *cur, const struct xe_vcpu *v, uint64_t gva)
{
	const struct xe_vcpu_physid id = {0};

	if (v->domain->id != 0) /* only its vcpus are pinned: to the one processor */
		return -EINVAL;
	return xe_copy_to(h, cur, gva, &id, sizeof(id));
}

union vcpu_arg {
	struct xe_vcpu_area area;
	struct xe_vcpu_set_periodic set_periodic;
	struct xe_vcpu_set_singleshot set_singleshot;
	struct xe_register_vcpu_info register_info;
};

static int own_timer(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v,
		     const struct xe_vcpu_set_singleshot *op)
{
	if (v != cur)
		return -EINVAL;
	if (op)
		xe_host_timer_set(h, &v->singleshot, xe_signed_time(op->at));
	else
		xe_host_timer_stop(h, &v->singleshot);
	return 0;
}

static int with_argument(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v, uint32_t cmd,
			 const union vcpu_arg *a)
{
	switch (cmd) {
	case XE_ABI_vcpu_op_register_runstate_memory_area:
		return register_runstate(h, cur, v, &a->area);
	case XE_ABI_vcpu_op_set_periodic_timer:
		return a->set_periodic.period ? set_periodic(h, v, a->set_periodic.period)
					      : -EINVAL;
	case XE_ABI_vcpu_op_set_singleshot_timer:
		return own_timer(h, cur, v, &a->set_singleshot);
	case XE_ABI_vcpu_op_register_vcpu_info: {
		int r = move_info(h, cur, v, &a->register_info);

		xe_update_time(h, v);
		return r;
	}
	case XE_ABI_vcpu_op_register_vcpu_time_memory_area:
		return register_time(h, v, &a->area);
	default:
		return -ENOSYS;
	}
}

static int without_argument(struct xe_host *h, struct xe_vcpu *cur, struct xe_vcpu *v, uint32_t cmd,
			    uint64_t gva)
{
	switch (cmd) {
	case XE_ABI_vcpu_op_initialise:
		return initialise(h, cur, v, gva);
	case XE_ABI_vcpu_op_up:
		return up(h, v);
	case XE_ABI_vcpu_op_down:
		return down(h, v);
	case XE_ABI_vcpu_op_is_up:
		return v->online;
	case XE_ABI_vcpu_op_get_runstate_info:
		return get_runstate(h, cur, v, gva);
	case XE_ABI_vcpu_op_stop_periodic_timer:
		return set_periodic(h, v, 0);
	case XE_ABI_vcpu_op_stop_singleshot_timer:
		return own_timer(h, cur, v, NULL);
	case XE_ABI_vcpu_op_send_nmi:
		if (gva)
			return -EINVAL;
		v->nmi_pending = true;
		xe_vcpu_unblock(h, v);
		return 0;
	case XE_ABI_vcpu_op_get_physid:
		return physid(h, cur, v, gva);
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_vcpu_op(struct xe_host *h, struct xe_vcpu *cur, const uint64_t arg[6])
{
	static const uint8_t size[] = {
		[XE_ABI_vcpu_op_register_runstate_memory_area] = sizeof(struct xe_vcpu_area),
		[XE_ABI_vcpu_op_set_periodic_timer] = sizeof(struct xe_vcpu_set_periodic),
		[XE_ABI_vcpu_op_set_singleshot_timer] = sizeof(struct xe_vcpu_set_singleshot),
		[XE_ABI_vcpu_op_register_vcpu_info] = sizeof(struct xe_register_vcpu_info),
		[XE_ABI_vcpu_op_register_vcpu_time_memory_area] = sizeof(struct xe_vcpu_area),
	};
	struct xe_vcpu *v = xe_vcpu(cur->domain, (uint32_t)arg[1]);
	uint32_t cmd = (uint32_t)arg[0];
	union vcpu_arg a;

	if (!v)
		return -ENOENT;
	if (cmd >= sizeof(size))
		return -ENOSYS;
	if (!size[cmd])
		return without_argument(h, cur, v, cmd, arg[2]);
	if (cmd == XE_ABI_vcpu_op_set_singleshot_timer && v != cur)
		return -EINVAL; /* before its argument is looked at */
	if (xe_copy_from(h, cur, &a, arg[2], size[cmd]))
		return -EFAULT;
	return with_argument(h, cur, v, cmd, &a);
}

/* A time that is absurdly far, either way, is answered soon, as Xen does for old Linux kernels. */
int64_t xe_do_set_timer_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint64_t at = arg[0];
	bool far = at >> 63 || (at > h->now && at - h->now >= FAR_AWAY);

	if (!at)
		xe_host_timer_stop(h, &v->singleshot);
	else
		xe_host_timer_set(h, &v->singleshot, far ? h->now + FAR_AWAY_ANSWER : at);
	return 0;
}
