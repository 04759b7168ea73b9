/* Event channels towards the guest: the 2-level bits, upcalls, virqs.
 *
 * shared_info and vcpu_info are the guest's to scribble on: nothing in them is trusted, their bits
 * only decide whether the guest is told. They change as Xen changes them: a port that is pending is
 * not raised again; only an unmasked one reaches pending_sel, and only a bit that is new there
 * reaches upcall_pending, and only that wakes a blocked vcpu.
 *
 * XE_WORK_UPCALL is not Xen's: a domain's word to whoever runs its kernel that an unmasked port was
 * raised, or a poll is over. It is queued at most once a domain, whatever evtchn_upcall_mask says.
 * Left out: interrupting code that runs; the machine has none. */
#include <errno.h>

#include "base/assert.h"
#include "xen/evtchn.h"
#include "xen/trace.h"

struct xe_shared_info *xe_shared_info(const struct xe_host *h, const struct xe_domain *d)
{
	return d->shared_mfn ? (struct xe_shared_info *)(void *)xe_frame_ptr(h, d->shared_mfn)
			     : NULL;
}

void xe_queue_upcall(struct xe_host *h, struct xe_domain *d)
{
	struct xe_work w = {.kind = XE_WORK_UPCALL, .node = d->id, .generation = d->generation};

	if (!d->dying && !d->upcall_queued && xe_queue_work(h, &w) == 0)
		d->upcall_queued = true;
}

void xe_evtchn_kick(struct xe_host *h, struct xe_domain *d)
{
	const struct xe_shared_info *s = xe_shared_info(h, d);
	bool any = d->fifo && xe_fifo_any(h, d);

	for (uint64_t left = s && !d->fifo ? d->raised : 0; left && !any; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		any = s->pending[i] & ~s->mask[i];
	}
	if (any)
		xe_queue_upcall(h, d);
}

void xe_vcpu_upcall(struct xe_host *h, struct xe_vcpu *v)
{
	struct xe_vcpu_info *i = xe_vcpu_info(h, v);

	if (!i || i->upcall_pending & 1)
		return;
	i->upcall_pending |= 1;
	xe_vcpu_unblock(h, v);
}

/* ---- two levels ---- */

static void select_word(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_vcpu *v = xe_vcpu(d, d->evtchn[port].vcpu);
	struct xe_vcpu_info *i = v ? xe_vcpu_info(h, v) : NULL;
	uint64_t bit = 1ull << (port / 64);

	d->raised |= bit;
	if (i && !(i->pending_sel & bit)) {
		i->pending_sel |= bit;
		xe_vcpu_upcall(h, v);
	}
	xe_queue_upcall(h, d);
}

static void raise_2l(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);

	xe_assert(port < XE_EVTCHNS);
	if (!s || xe_bit(s->pending, port))
		return;
	s->pending[port / 64] |= 1ull << (port % 64);
	xe_trace_port(h, d, d->evtchn[port].vcpu, port);
	d->raised |= 1ull << (port / 64);
	if (!xe_bit(s->mask, port))
		select_word(h, d, port);
	xe_wake_pollers(h, d, port);
}

static void unmask_2l(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);

	xe_assert(port < XE_EVTCHNS);
	if (!s || !xe_bit(s->mask, port))
		return;
	s->mask[port / 64] &= ~(1ull << (port % 64));
	if (xe_bit(s->pending, port))
		select_word(h, d, port);
}

static int next_2l(struct xe_domain *d, struct xe_shared_info *s)
{
	for (uint64_t left = d->raised; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		uint64_t ready = s->pending[i] & ~s->mask[i];

		if (ready) {
			s->pending[i] &= ~(ready & -ready);
			return (int)(i * 64 + (unsigned)__builtin_ctzll(ready));
		}
		if (!s->pending[i])
			d->raised &= ~(1ull << i);
	}
	return -1;
}

/* ---- either ABI ---- */

void xe_port_raise(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	xe_assert(d->evtchn[port].state != XE_CLOSED);
	if (d->fifo)
		xe_fifo_raise(h, d, port);
	else
		raise_2l(h, d, port);
}

void xe_port_clear(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);
	uint32_t *word = d->fifo ? xe_fifo_word(h, d, port) : NULL;

	if (word)
		*word &= ~XE_FIFO_PENDING;
	else if (!d->fifo && s)
		s->pending[port / 64] &= ~(1ull << (port % 64));
}

void xe_port_unmask(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	uint32_t *word = d->fifo ? xe_fifo_word(h, d, port) : NULL;

	if (!d->fifo) {
		unmask_2l(h, d, port);
	} else if (word) {
		*word &= ~XE_FIFO_MASKED;
		if (*word & XE_FIFO_PENDING)
			xe_fifo_raise(h, d, port);
	}
}

bool xe_port_pending(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);
	uint32_t *word = d->fifo ? xe_fifo_word(h, d, port) : NULL;

	if (d->fifo)
		return word && *word & XE_FIFO_PENDING;
	return s && xe_bit(s->pending, port);
}

void xe_send_vcpu_virq(struct xe_host *h, struct xe_vcpu *v, uint32_t virq)
{
	xe_assert(virq < XE_VIRQS);
	if (!v->domain->dying && v->virq_port[virq])
		xe_port_raise(h, v->domain, v->virq_port[virq]);
}

void xe_send_virq(struct xe_host *h, uint32_t domid, uint32_t virq)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	if (d && d->nvcpus)
		xe_send_vcpu_virq(h, d->vcpu[0], virq);
}

/* Does what a kernel does that is told by an upcall, for all its vcpus. */
int xe_next_pending_port(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_live_domain(h, domid);
	struct xe_shared_info *s = d ? xe_shared_info(h, d) : NULL;
	int port;

	if (!s)
		return -1;
	port = d->fifo ? xe_fifo_next(h, d) : next_2l(d, s);
	for (uint32_t n = 0; port < 0 && n < d->nvcpus; n++) {
		struct xe_vcpu_info *i = xe_vcpu_info(h, d->vcpu[n]);

		if (i) {
			i->pending_sel = 0;
			i->upcall_pending = 0;
		}
	}
	return port;
}
