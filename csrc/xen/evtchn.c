/* Event channels: 4095 ports a domain, and their pending and mask bits in shared_info.
 *
 * shared_info is the guest's to scribble on: nothing in it is trusted, its bits only decide
 * whether the guest is told. Port 0 is never used.
 *
 * Invariants: the two ends of an interdomain channel name each other; the port of a virq is bound
 * to that virq. A domain owns its table of ports until it is destroyed.
 * Left out: pirqs, the FIFO ABI, poll, several virtual CPUs. */
#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { CLOSED, UNBOUND, INTERDOMAIN, PIRQ, VIRQ, IPI };

struct xe_shared_info *xe_shared_info(const struct xe_host *h, const struct xe_domain *d)
{
	return d->shared_mfn ? (struct xe_shared_info *)(void *)xe_frame_ptr(h, d->shared_mfn)
			     : NULL;
}

static void queue_upcall(struct xe_host *h, struct xe_domain *d)
{
	struct xe_work w = {.kind = XE_WORK_UPCALL, .node = d->id, .generation = d->generation};

	if (d->dying)
		return;
	d->vcpu[0]->blocked = false;
	xe_sched_update(h, d);
	if (!d->upcall_queued && xe_queue_work(h, &w) == 0)
		d->upcall_queued = true;
}

void xe_evtchn_kick(struct xe_host *h, struct xe_domain *d)
{
	const struct xe_shared_info *s = xe_shared_info(h, d);

	for (unsigned i = 0; s && i < 64; i++) {
		if (s->pending[i] & ~s->mask[i]) {
			queue_upcall(h, d);
			return;
		}
	}
}

static void mark(struct xe_host *h, struct xe_domain *d, struct xe_shared_info *s, uint32_t port)
{
	if (s->mask[port / 64] >> (port % 64) & 1)
		return;
	s->vcpu[0].pending_sel |= 1ull << (port / 64);
	s->vcpu[0].upcall_pending = 1;
	queue_upcall(h, d);
}

static void set_pending(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);

	if (!s || (s->pending[port / 64] >> (port % 64) & 1))
		return;
	s->pending[port / 64] |= 1ull << (port % 64);
	mark(h, d, s, port);
}

void xe_send_virq(struct xe_host *h, uint32_t domid, uint32_t virq)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	xe_assert(virq < XE_VIRQS);
	if (d && d->vcpu[0]->virq_port[virq])
		set_pending(h, d, d->vcpu[0]->virq_port[virq]);
}

int xe_next_pending_port(struct xe_host *h, uint32_t domid)
{
	struct xe_domain *d = xe_live_domain(h, domid);
	struct xe_shared_info *s = d ? xe_shared_info(h, d) : NULL;

	for (unsigned i = 0; s && i < 64; i++) {
		uint64_t ready = s->pending[i] & ~s->mask[i];

		if (ready) {
			unsigned bit = (unsigned)__builtin_ctzll(ready);

			s->pending[i] &= ~(1ull << bit);
			return (int)(i * 64 + bit);
		}
	}
	if (s) {
		s->vcpu[0].pending_sel = 0;
		s->vcpu[0].upcall_pending = 0;
	}
	return -1;
}

static struct xe_evtchn *used_port(const struct xe_domain *d, uint32_t port)
{
	if (port >= XE_EVTCHNS || d->evtchn[port].state == CLOSED)
		return NULL;
	return &d->evtchn[port];
}

static int free_port(const struct xe_domain *d)
{
	for (int p = 1; p < XE_EVTCHNS; p++)
		if (d->evtchn[p].state == CLOSED)
			return p;
	return -ENOSPC;
}

static int alloc_unbound(struct xe_host *h, struct xe_domain *cur,
			 struct xe_evtchn_alloc_unbound *op)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, op->dom);
	int port;

	if (!d || d->dying)
		return -ESRCH;
	if (d != cur && !cur->privileged)
		return -EPERM;
	port = free_port(d);
	if (port < 0)
		return port;
	d->evtchn[port] = (struct xe_evtchn){
		.state = UNBOUND,
		.remote_dom = op->remote_dom == XE_ABI_domid_SELF ? (uint16_t)cur->id
								  : op->remote_dom,
	};
	op->port = (uint32_t)port;
	return 0;
}

static int bind_interdomain(struct xe_host *h, struct xe_domain *d,
			    struct xe_evtchn_bind_interdomain *op)
{
	struct xe_domain *rd = xe_domain_or_self(h, d, op->remote_dom);
	struct xe_evtchn *r;
	int port;

	if (!rd || rd->dying)
		return -ESRCH;
	port = free_port(d);
	if (port < 0)
		return port;
	r = used_port(rd, op->remote_port);
	if (!r || r->state != UNBOUND || r->remote_dom != d->id)
		return -EINVAL;
	d->evtchn[port] = (struct xe_evtchn){
		.state = INTERDOMAIN,
		.remote_dom = (uint16_t)rd->id,
		.remote_port = op->remote_port,
	};
	r->state = INTERDOMAIN;
	r->remote_port = (uint32_t)port;
	set_pending(h, d, (uint32_t)port); /* an event may have been lost before this */
	op->local_port = (uint32_t)port;
	return 0;
}

/* TIMER, DEBUG, XENOPROF, XENPMU are per virtual CPU. */
static bool is_global(uint32_t virq)
{
	return virq != 0 && virq != 1 && virq != 7 && virq != 13;
}

static int bind_virq(struct xe_domain *d, struct xe_evtchn_bind_virq *op)
{
	int port;

	if (op->virq >= XE_VIRQS || (is_global(op->virq) && op->vcpu))
		return -EINVAL;
	if (op->vcpu)
		return -ENOENT;
	if (d->vcpu[0]->virq_port[op->virq])
		return -EEXIST;
	port = free_port(d);
	if (port < 0)
		return port;
	d->evtchn[port] = (struct xe_evtchn){.state = VIRQ, .virq = (uint8_t)op->virq};
	d->vcpu[0]->virq_port[op->virq] = (uint16_t)port;
	op->port = (uint32_t)port;
	return 0;
}

static int bind_ipi(struct xe_domain *d, struct xe_evtchn_bind_ipi *op)
{
	int port;

	if (op->vcpu)
		return -ENOENT;
	port = free_port(d);
	if (port < 0)
		return port;
	d->evtchn[port] = (struct xe_evtchn){.state = IPI};
	op->port = (uint32_t)port;
	return 0;
}

static int bind_vcpu(struct xe_domain *d, const struct xe_evtchn_bind_vcpu *op)
{
	const struct xe_evtchn *c;

	if (op->vcpu)
		return -ENOENT;
	c = used_port(d, op->port);
	if (!c || c->state == IPI || (c->state == VIRQ && !is_global(c->virq)))
		return -EINVAL;
	return 0;
}

static int close_port(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_evtchn *c = used_port(d, port);
	struct xe_shared_info *s = xe_shared_info(h, d);

	if (!c)
		return -EINVAL;
	if (c->state == INTERDOMAIN) {
		struct xe_domain *rd = h->domain[c->remote_dom];
		struct xe_evtchn *r = &rd->evtchn[c->remote_port];

		xe_assert(r->state == INTERDOMAIN && r->remote_port == port);
		r->state = UNBOUND;
		r->remote_dom = (uint16_t)d->id;
		r->remote_port = 0;
	} else if (c->state == VIRQ) {
		d->vcpu[0]->virq_port[c->virq] = 0;
	}
	c->state = CLOSED;
	if (s)
		s->pending[port / 64] &= ~(1ull << (port % 64));
	return 0;
}

static int send(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	const struct xe_evtchn *c = used_port(d, port);

	if (!c || c->state == VIRQ)
		return -EINVAL;
	if (c->state == INTERDOMAIN)
		set_pending(h, h->domain[c->remote_dom], c->remote_port);
	else if (c->state == IPI)
		set_pending(h, d, port);
	return 0; /* unbound: dropped */
}

static int port_status(struct xe_host *h, struct xe_domain *cur, struct xe_evtchn_status *op)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, op->dom);
	const struct xe_evtchn *c;

	if (!d || d->dying)
		return -ESRCH;
	if (d != cur && !cur->privileged)
		return -EPERM;
	if (op->port >= XE_EVTCHNS)
		return -EINVAL;
	c = &d->evtchn[op->port];
	op->status = c->state;
	op->vcpu = 0;
	if (c->state == UNBOUND) {
		op->u.unbound.dom = c->remote_dom;
	} else if (c->state == INTERDOMAIN) {
		op->u.interdomain.dom = c->remote_dom;
		op->u.interdomain.port = c->remote_port;
	} else if (c->state == VIRQ) {
		op->u.virq = c->virq;
	}
	return 0;
}

static int unmask(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_shared_info *s = xe_shared_info(h, d);
	bool was_masked;

	if (port >= XE_EVTCHNS)
		return -EINVAL;
	if (!s)
		return 0;
	was_masked = s->mask[port / 64] >> (port % 64) & 1;
	s->mask[port / 64] &= ~(1ull << (port % 64));
	if (was_masked && (s->pending[port / 64] >> (port % 64) & 1))
		mark(h, d, s, port);
	return 0;
}

void xe_evtchn_close_all(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t p = 1; p < XE_EVTCHNS; p++)
		if (d->evtchn[p].state != CLOSED)
			close_port(h, d, p);
}

static int reset(struct xe_host *h, struct xe_domain *cur, uint32_t domid)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, domid);

	if (!d || d->dying)
		return -ESRCH;
	if (d != cur && !cur->privileged)
		return -EPERM;
	if (d != cur && !d->pause_count)
		return -EINVAL;
	xe_evtchn_close_all(h, d);
	return 0;
}

union evtchn_arg {
	struct xe_evtchn_bind_interdomain interdomain;
	struct xe_evtchn_bind_virq virq;
	struct xe_evtchn_port port;
	struct xe_evtchn_status status;
	struct xe_evtchn_alloc_unbound unbound;
	struct xe_evtchn_bind_ipi ipi;
	struct xe_evtchn_bind_vcpu vcpu;
	uint16_t domid;
};

static int evtchn_op(struct xe_host *h, struct xe_domain *d, uint64_t cmd, union evtchn_arg *a)
{
	switch (cmd) {
	case 0:
		return bind_interdomain(h, d, &a->interdomain);
	case 1:
		return bind_virq(d, &a->virq);
	case 3:
		return close_port(h, d, a->port.port);
	case 4:
		return send(h, d, a->port.port);
	case 5:
		return port_status(h, d, &a->status);
	case 6:
		return alloc_unbound(h, d, &a->unbound);
	case 7:
		return bind_ipi(d, &a->ipi);
	case 8:
		return bind_vcpu(d, &a->vcpu);
	case 9:
		return unmask(h, d, a->port.port);
	case 10:
		return reset(h, d, a->domid);
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_event_channel_op(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	static const struct {
		uint8_t size;
		bool out;
	} shape[] = {
		[0] = {sizeof(struct xe_evtchn_bind_interdomain), true},
		[1] = {sizeof(struct xe_evtchn_bind_virq), true},
		[3] = {sizeof(struct xe_evtchn_port), false},
		[4] = {sizeof(struct xe_evtchn_port), false},
		[5] = {sizeof(struct xe_evtchn_status), true},
		[6] = {sizeof(struct xe_evtchn_alloc_unbound), true},
		[7] = {sizeof(struct xe_evtchn_bind_ipi), true},
		[8] = {sizeof(struct xe_evtchn_bind_vcpu), false},
		[9] = {sizeof(struct xe_evtchn_port), false},
		[10] = {sizeof(uint16_t), false},
	};
	union evtchn_arg a;
	int r;

	if (arg[0] >= sizeof(shape) / sizeof(shape[0]) || !shape[arg[0]].size)
		return -ENOSYS;
	r = shape[arg[0]].out ? xe_copy_arg(h, v, &a, arg[1], shape[arg[0]].size)
			      : xe_copy_from(h, v, &a, arg[1], shape[arg[0]].size);
	if (!r)
		r = evtchn_op(h, v->domain, arg[0], &a);
	if (!r && shape[arg[0]].out)
		r = xe_copy_to(h, v, arg[1], &a, shape[arg[0]].size);
	return r;
}
