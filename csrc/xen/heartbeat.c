/* The heartbeat checker: a counter that the guest raises on a page shared with us, seen each tick.
 *
 * Invariants: hb_mfn is 0 or a frame on which we hold a reference. A domain that is paused is not
 * checked and starts afresh when it is woken. A domain is found crashed once.
 * Left out: what is done about it; the VZS decides. */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

enum { MISSED_TICKS = 2 };

uint64_t xe_heartbeat_count(const struct xe_host *h, const struct xe_domain *d)
{
	struct xe_heartbeat_page p = {0};

	if (d->hb_mfn)
		memcpy(&p, xe_frame_ptr(h, d->hb_mfn), sizeof(p));
	return p.beats;
}

void xe_heartbeat_restart(struct xe_host *h, struct xe_domain *d)
{
	d->hb_last = xe_heartbeat_count(h, d);
	d->hb_missed = 0;
}

int xe_heartbeat_register(struct xe_host *h, struct xe_domain *d, uint64_t mfn)
{
	if (!mfn || !xe_get_page(h, mfn, d))
		return -EPERM;
	xe_heartbeat_unregister(h, d);
	d->hb_mfn = mfn;
	xe_domset_add(&h->watched, d->id);
	xe_heartbeat_restart(h, d);
	return 0;
}

void xe_heartbeat_unregister(struct xe_host *h, struct xe_domain *d)
{
	if (d->hb_mfn)
		xe_put_page(h, d->hb_mfn);
	d->hb_mfn = 0;
	xe_domset_remove(&h->watched, d->id);
}

int xe_heartbeat_arm(struct xe_host *h, uint32_t domid, bool on)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	if (!d)
		return -ESRCH;
	d->hb_armed = on;
	xe_heartbeat_restart(h, d);
	return 0;
}

/* An application fault is told once until recovery; a crash once, and it ends the domain's running. */
void xe_report_fault(struct xe_host *h, struct xe_domain *d, uint32_t kind)
{
	if (d->crashed || (kind == XE_ABI_fault_APP && d->fault_reported))
		return;
	d->fault_reported = true;
	if (kind == XE_ABI_fault_KERNEL) {
		d->crashed = true;
		xe_sched_update(h, d);
	}
	xe_queue_vmm(h, d, XE_VMM_FAULT, kind, 0);
}

void xe_heartbeat_check(struct xe_host *h, xe_ns now)
{
	(void)now;
	for (int i = -1; (i = xe_domset_next(&h->watched, (uint32_t)i + 1)) >= 0;) {
		struct xe_domain *d = h->domain[i];
		uint64_t beats;

		if (!d->hb_armed || !xe_domain_runnable(d))
			continue;
		beats = xe_heartbeat_count(h, d);
		if (beats != d->hb_last) {
			d->hb_last = beats;
			d->hb_missed = 0;
		} else if (++d->hb_missed >= MISSED_TICKS) {
			xe_report_fault(h, d, XE_ABI_fault_KERNEL);
		}
	}
}
