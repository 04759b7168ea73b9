/* sched_op, and the run queue: domains that may run and have a virtual CPU that can, in round-robin
 * order.
 *
 * block and poll answer 0 at once and leave the vcpu blocked: it is the machine that then runs
 * something else. A vcpu is woken by an event for it, or for a port that it polls, never by another
 * event of its domain. A domain that crashes, by itself, by another's word or by its watchdog, is a
 * kernel fault that needs no heartbeat to be seen.
 *
 * Invariants: a domain is linked between run_first and run_last exactly if d->queued; whatever
 * changes a domain's run state calls xe_sched_update. A vcpu's bit in d->polling is set only while
 * it is blocked. The run queue is the host's.
 * Left out: time slices, weights: what runs costs virtual time elsewhere. One processor to pin to. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { MAX_POLL = 128 };

/* ---- the run queue ---- */

static void append(struct xe_host *h, struct xe_domain *d)
{
	d->run_prev = h->run_last;
	d->run_next = NULL;
	if (h->run_last)
		h->run_last->run_next = d;
	else
		h->run_first = d;
	h->run_last = d;
}

static void unlink_domain(struct xe_host *h, struct xe_domain *d)
{
	if (d->run_prev)
		d->run_prev->run_next = d->run_next;
	else
		h->run_first = d->run_next;
	if (d->run_next)
		d->run_next->run_prev = d->run_prev;
	else
		h->run_last = d->run_prev;
}

void xe_sched_queue(struct xe_host *h, struct xe_domain *d)
{
	bool runs = xe_domain_runnable(d), want = runs && d->ready_vcpus;

	if (runs != d->runs) {
		d->runs = runs;
		xe_domain_changed(h, d->id);
	}
	if (want == d->queued)
		return;
	d->queued = want;
	if (want)
		append(h, d);
	else
		unlink_domain(h, d);
}

void xe_sched_update(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		xe_runstate_update(h, d->vcpu[i]);
	xe_sched_queue(h, d);
}

int xe_sched_next(struct xe_host *h)
{
	struct xe_domain *d = h->run_first;

	if (!d)
		return -1;
	unlink_domain(h, d);
	append(h, d);
	return (int)d->id;
}

/* ---- shutdown ---- */

void xe_domain_shutdown(struct xe_host *h, struct xe_domain *d, uint8_t reason)
{
	if (d->shutdown_code == XE_SHUTDOWN_NONE)
		d->shutdown_code = reason;
	if (d->shut_down)
		return;
	d->shut_down = true;
	if (d->shutdown_code == XE_SHUTDOWN_CRASH || d->shutdown_code == XE_SHUTDOWN_WATCHDOG)
		xe_report_fault(h, d, XE_ABI_fault_KERNEL);
	xe_sched_update(h, d);
	if (d->shutdown_code == XE_SHUTDOWN_SUSPEND && d->suspend_port)
		xe_evtchn_send(h, d, d->suspend_port); /* to who subscribed */
	else
		xe_send_virq(h, 0, XE_ABI_virq_DOM_EXC);
}

void xe_domain_crash(struct xe_host *h, struct xe_domain *d)
{
	xe_domain_shutdown(h, d, XE_SHUTDOWN_CRASH);
}

static int remote_shutdown(struct xe_host *h, const struct xe_domain *cur,
			   const struct xe_sched_remote_shutdown *op)
{
	struct xe_domain *d = xe_domain(h, op->domain_id);

	if (!d)
		return -ESRCH;
	if (!cur->privileged)
		return -EPERM;
	xe_domain_shutdown(h, d, (uint8_t)op->reason);
	return 0;
}

/* ---- watchdogs ---- */

static void watchdog_fired(struct xe_host *h, void *domain)
{
	struct xe_domain *d = domain;

	if (!d->shut_down && !d->dying)
		xe_domain_shutdown(h, d, XE_SHUTDOWN_WATCHDOG);
}

static int64_t set_watchdog(struct xe_host *h, struct xe_domain *d,
			    const struct xe_sched_watchdog *op)
{
	uint32_t i = op->id - 1;

	if (op->id > XE_WATCHDOGS)
		return -EINVAL;
	if (op->id == 0) {
		for (i = 0; i < XE_WATCHDOGS && d->watchdog_used[i]; i++)
			;
		if (i == XE_WATCHDOGS)
			return (uint32_t)-ENOSPC; /* as Xen does: its ids are unsigned */
	} else if (!d->watchdog_used[i]) {
		return -EINVAL;
	} else if (!op->timeout) {
		d->watchdog_used[i] = false;
		xe_host_timer_stop(h, &d->watchdog[i]);
		return 0;
	}
	d->watchdog_used[i] = true;
	xe_host_timer_set(h, &d->watchdog[i], h->now + op->timeout * XE_SECOND);
	return op->id ? 0 : i + 1;
}

void xe_sched_domain_init(struct xe_domain *d)
{
	for (int i = 0; i < XE_WATCHDOGS; i++)
		xe_host_timer_init(&d->watchdog[i], watchdog_fired, d);
}

void xe_sched_retire(struct xe_host *h, struct xe_domain *d)
{
	for (int i = 0; i < XE_WATCHDOGS; i++)
		xe_host_timer_stop(h, &d->watchdog[i]);
}

/* ---- block, poll ---- */

static int block(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_vcpu_info *i = xe_vcpu_info(h, v);

	if (i)
		i->upcall_mask = 0;
	if (!i || !i->upcall_pending)
		xe_vcpu_set_blocked(h, v, true);
	return 0;
}

void xe_vcpu_unblock(struct xe_host *h, struct xe_vcpu *v)
{
	if (!v->blocked)
		return;
	v->domain->polling[v->id / 64] &= ~(1ull << (v->id % 64));
	xe_host_timer_stop(h, &v->poll_timeout);
	xe_vcpu_set_blocked(h, v, false);
}

static void end_poll(struct xe_host *h, struct xe_vcpu *v)
{
	xe_vcpu_unblock(h, v);
	xe_queue_upcall(h, v->domain); /* nobody else tells the guest */
}

void xe_poll_over(struct xe_host *h, void *vcpu)
{
	struct xe_vcpu *v = vcpu;

	if (v->domain->polling[v->id / 64] >> (v->id % 64) & 1)
		end_poll(h, v);
}

void xe_wake_pollers(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	for (unsigned w = 0; w < XE_MAX_VCPUS / 64; w++) {
		uint64_t left = d->polling[w];

		while (left) {
			struct xe_vcpu *v = d->vcpu[w * 64 + (unsigned)__builtin_ctzll(left)];

			left &= left - 1;
			if (!v->poll_port || v->poll_port == port)
				end_poll(h, v);
		}
	}
}

/* 1: one of the ports is pending already. */
static int any_pending(struct xe_host *h, struct xe_vcpu *v, const struct xe_sched_poll *op,
		       uint32_t *port)
{
	int r = 0;

	for (uint32_t i = 0; i < op->nr_ports && !r; i++) {
		if (xe_copy_from(h, v, port, op->ports + i * sizeof(*port), sizeof(*port)))
			return -EFAULT;
		r = xe_evtchn_poll(h, v->domain, *port);
	}
	return r;
}

static int poll(struct xe_host *h, struct xe_vcpu *v, const struct xe_sched_poll *op)
{
	const struct xe_vcpu_info *i = xe_vcpu_info(h, v);
	uint32_t port = 0;
	int r;

	if (op->nr_ports > MAX_POLL)
		return -EINVAL;
	if (!xe_is_guest_address(op->ports))
		return -EFAULT;
	if (i && i->upcall_pending && !i->upcall_mask)
		return 0;
	r = any_pending(h, v, op, &port);
	if (r)
		return r < 0 ? r : 0;
	v->poll_port = op->nr_ports == 1 ? port : 0;
	v->domain->polling[v->id / 64] |= 1ull << (v->id % 64);
	xe_vcpu_set_blocked(h, v, true);
	if (op->timeout)
		xe_host_timer_set(h, &v->poll_timeout, xe_signed_time(op->timeout));
	return 0;
}

/* ---- the hypercall ---- */

static int pin_override(struct xe_vcpu *v, const struct xe_sched_pin_override *op)
{
	bool pin = op->pcpu >= 0;

	if (op->pcpu > 0 || (!pin && !v->pinned))
		return -EINVAL;
	if (pin && v->pinned)
		return -EBUSY;
	v->pinned = pin;
	return 0;
}

union sched_arg {
	struct xe_sched_shutdown shutdown;
	struct xe_sched_poll poll;
	struct xe_sched_remote_shutdown remote_shutdown;
	struct xe_sched_watchdog watchdog;
	struct xe_sched_pin_override pin_override;
};

static int64_t sched_op(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd,
			const union sched_arg *a)
{
	struct xe_domain *d = v->domain;

	switch (cmd) {
	case XE_ABI_sched_op_yield_:
		return 0;
	case XE_ABI_sched_op_block:
		return block(h, v);
	case XE_ABI_sched_op_shutdown:
		xe_domain_shutdown(h, d, (uint8_t)a->shutdown.reason);
		return 0;
	case XE_ABI_sched_op_poll:
		return poll(h, v, &a->poll);
	case XE_ABI_sched_op_remote_shutdown:
		return remote_shutdown(h, d, &a->remote_shutdown);
	case XE_ABI_sched_op_shutdown_code:
		if (d->shutdown_code == XE_SHUTDOWN_NONE)
			d->shutdown_code = (uint8_t)a->shutdown.reason;
		return 0;
	case XE_ABI_sched_op_watchdog:
		return set_watchdog(h, d, &a->watchdog);
	case XE_ABI_sched_op_pin_override:
		return pin_override(v, &a->pin_override);
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_sched_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	static const uint8_t size[] = {
		[XE_ABI_sched_op_shutdown] = sizeof(struct xe_sched_shutdown),
		[XE_ABI_sched_op_poll] = sizeof(struct xe_sched_poll),
		[XE_ABI_sched_op_remote_shutdown] = sizeof(struct xe_sched_remote_shutdown),
		[XE_ABI_sched_op_shutdown_code] = sizeof(struct xe_sched_shutdown),
		[XE_ABI_sched_op_watchdog] = sizeof(struct xe_sched_watchdog),
		[XE_ABI_sched_op_pin_override] = sizeof(struct xe_sched_pin_override),
	};
	uint32_t cmd = (uint32_t)arg[0];
	union sched_arg a;

	if (cmd >= sizeof(size))
		return -ENOSYS;
	if (cmd == XE_ABI_sched_op_pin_override && v->domain->id != 0)
		return -EPERM; /* before its argument is looked at */
	if (size[cmd] && xe_copy_from(h, v, &a, arg[1], size[cmd]))
		return -EFAULT;
	return sched_op(h, v, cmd, &a);
}

/* As it was before 3.2: the reason is the argument itself. */
int64_t xe_do_sched_op_compat(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	union sched_arg a = {.shutdown.reason = (uint32_t)arg[1]};
	uint32_t cmd = (uint32_t)arg[0];

	return cmd <= XE_ABI_sched_op_shutdown ? sched_op(h, v, cmd, &a) : -ENOSYS;
}
