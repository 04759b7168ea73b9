/* Event channels: the ports of a domain, and what each is bound to.
 *
 * Ports come into being 64 at a time, up to the one that is first needed: one beyond answers EINVAL,
 * as in Xen. The lowest free port is taken, before anything else is checked. Port 0 is never free.
 *
 * Invariants: the two ends of an interdomain channel name each other; the port of a virq is bound
 * to that virq. No port below low_port is closed. A domain owns its table, which stays, all closed,
 * while it is a zombie.
 * Left out: pirqs: no domain has one to bind; ports that Xen itself listens on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "xen/evtchn.h"

enum { PIRQS = 256 };

int xe_evtchn_init(struct xe_domain *d)
{
	d->evtchn = calloc(XE_EVTCHN_BUCKET, sizeof(*d->evtchn));
	d->valid_ports = XE_EVTCHN_BUCKET;
	d->low_port = 1;
	return d->evtchn ? 0 : -ENOMEM;
}

static int grow(struct xe_domain *d)
{
	uint32_t n = d->valid_ports;
	struct xe_evtchn *e = realloc(d->evtchn, (n + XE_EVTCHN_BUCKET) * sizeof(*e));

	if (!e)
		return -ENOMEM;
	memset(&e[n], 0, XE_EVTCHN_BUCKET * sizeof(*e));
	d->evtchn = e;
	d->valid_ports += XE_EVTCHN_BUCKET;
	return 0;
}

/* Still on a queue of the guest's. */
static bool is_busy(const struct xe_host *h, const struct xe_domain *d, uint32_t port)
{
	const uint32_t *word = d->fifo ? xe_fifo_word(h, d, port) : NULL;

	return word && *word & XE_FIFO_LINKED;
}

static int free_port(const struct xe_host *h, struct xe_domain *d)
{
	uint32_t limit = d->fifo ? XE_FIFO_PORTS : XE_EVTCHNS, p = d->low_port;

	if (d->dying)
		return -EINVAL;
	if (limit > d->max_port)
		limit = d->max_port + 1;
	while (p < d->valid_ports && d->evtchn[p].state != XE_CLOSED)
		p++;
	d->low_port = p;
	while (p < d->valid_ports && (d->evtchn[p].state != XE_CLOSED || is_busy(h, d, p)))
		p++;
	if (p >= limit)
		return -ENOSPC;
	if (p == d->valid_ports && grow(d))
		return -ENOMEM;
	return (int)p;
}

static struct xe_evtchn *bind(struct xe_domain *d, int port, enum xe_evtchn_state state)
{
	struct xe_evtchn *c = &d->evtchn[port];

	xe_assert(c->state == XE_CLOSED);
	c->state = (uint8_t)state;
	c->priority = XE_FIFO_DEFAULT_PRIORITY;
	return c;
}

static struct xe_evtchn *used_port(const struct xe_domain *d, uint32_t port)
{
	if (port >= d->valid_ports || d->evtchn[port].state == XE_CLOSED)
		return NULL;
	return &d->evtchn[port];
}

int xe_evtchn_alloc_for(struct xe_host *h, struct xe_domain *d, uint16_t remote, uint32_t *port)
{
	int p = free_port(h, d);

	if (p < 0)
		return p;
	bind(d, p, XE_UNBOUND)->remote_dom = remote;
	*port = (uint32_t)p;
	return 0;
}

static int alloc_unbound(struct xe_host *h, struct xe_domain *cur,
			 struct xe_evtchn_alloc_unbound *op)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, op->dom);
	uint16_t remote = op->remote_dom == XE_ABI_domid_SELF ? (uint16_t)cur->id : op->remote_dom;
	int port;

	if (!d)
		return -ESRCH;
	port = free_port(h, d);
	if (port < 0)
		return port;
	if (d != cur && !cur->privileged)
		return -EPERM;
	return xe_evtchn_alloc_for(h, d, remote, &op->port);
}

static int bind_interdomain(struct xe_host *h, struct xe_domain *d,
			    struct xe_evtchn_bind_interdomain *op)
{
	struct xe_domain *rd = xe_domain_or_self(h, d, op->remote_dom);
	struct xe_evtchn *l, *r;
	int port;

	if (!rd)
		return -ESRCH;
	port = free_port(h, d);
	if (port < 0)
		return port;
	r = used_port(rd, op->remote_port);
	if (!r || r->state != XE_UNBOUND || r->remote_dom != d->id)
		return -EINVAL;
	l = bind(d, port, XE_INTERDOMAIN);
	l->remote_dom = (uint16_t)rd->id;
	l->remote_port = op->remote_port;
	r->state = XE_INTERDOMAIN;
	r->remote_port = (uint32_t)port;
	xe_port_raise(h, d, (uint32_t)port); /* an event may have been lost before this */
	op->local_port = (uint32_t)port;
	return 0;
}

/* TIMER, DEBUG, XENOPROF, XENPMU are per virtual CPU. */
static bool is_global(uint32_t virq)
{
	return virq != 0 && virq != 1 && virq != 7 && virq != 13;
}

static int bind_virq(struct xe_host *h, struct xe_domain *d, struct xe_evtchn_bind_virq *op)
{
	struct xe_vcpu *v = xe_vcpu(d, op->vcpu);
	struct xe_evtchn *c;
	int port;

	if (op->virq >= XE_VIRQS || (is_global(op->virq) && op->vcpu))
		return -EINVAL;
	if (!v)
		return -ENOENT;
	if (v->virq_port[op->virq])
		return -EEXIST;
	port = free_port(h, d);
	if (port < 0)
		return port;
	c = bind(d, port, XE_VIRQ);
	c->virq = (uint8_t)op->virq;
	c->vcpu = (uint16_t)op->vcpu;
	v->virq_port[op->virq] = (uint32_t)port;
	if (op->virq == XE_ABI_virq_TIMER)
		xe_vcpu_hears_ticks(h, v);
	op->port = (uint32_t)port;
	return 0;
}

static int bind_ipi(struct xe_host *h, struct xe_domain *d, struct xe_evtchn_bind_ipi *op)
{
	int port;

	if (!xe_vcpu(d, op->vcpu))
		return -ENOENT;
	port = free_port(h, d);
	if (port < 0)
		return port;
	bind(d, port, XE_IPI)->vcpu = (uint16_t)op->vcpu;
	op->port = (uint32_t)port;
	return 0;
}

static int bind_vcpu(struct xe_domain *d, const struct xe_evtchn_bind_vcpu *op)
{
	struct xe_evtchn *c = used_port(d, op->port);

	if (!xe_vcpu(d, op->vcpu))
		return -ENOENT;
	if (!c || c->state == XE_IPI || (c->state == XE_VIRQ && !is_global(c->virq)))
		return -EINVAL;
	c->vcpu = (uint16_t)op->vcpu;
	return 0;
}

static void release_peer(struct xe_host *h, const struct xe_domain *d, uint32_t port)
{
	const struct xe_evtchn *c = &d->evtchn[port];
	struct xe_evtchn *r = &h->domain[c->remote_dom]->evtchn[c->remote_port];

	xe_assert(r->state == XE_INTERDOMAIN && r->remote_port == port);
	r->state = XE_UNBOUND;
	r->remote_dom = (uint16_t)d->id;
	r->remote_port = 0;
}

static int close_port(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_evtchn *c = used_port(d, port);

	if (!c)
		return -EINVAL;
	if (c->state == XE_INTERDOMAIN)
		release_peer(h, d, port);
	else if (c->state == XE_VIRQ)
		d->vcpu[is_global(c->virq) ? 0 : c->vcpu]->virq_port[c->virq] = 0;
	xe_port_clear(h, d, port);
	c->state = XE_CLOSED;
	c->vcpu = 0;
	if (port < d->low_port)
		d->low_port = port;
	return 0;
}

int xe_evtchn_send(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	const struct xe_evtchn *c = used_port(d, port);

	if (!c || c->state == XE_VIRQ)
		return -EINVAL;
	if (c->state == XE_INTERDOMAIN)
		xe_port_raise(h, h->domain[c->remote_dom], c->remote_port);
	else if (c->state == XE_IPI)
		xe_port_raise(h, d, port);
	return 0; /* unbound: dropped */
}

static int port_status(struct xe_host *h, struct xe_domain *cur, struct xe_evtchn_status *op)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, op->dom);
	const struct xe_evtchn *c;

	if (!d)
		return -ESRCH;
	if (op->port >= d->valid_ports)
		return -EINVAL;
	if (d != cur && !cur->privileged)
		return -EPERM;
	c = &d->evtchn[op->port];
	op->status = c->state;
	op->vcpu = c->vcpu;
	if (c->state == XE_UNBOUND) {
		op->u.unbound.dom = c->remote_dom;
	} else if (c->state == XE_INTERDOMAIN) {
		op->u.interdomain.dom = c->remote_dom;
		op->u.interdomain.port = c->remote_port;
	} else if (c->state == XE_VIRQ) {
		op->u.virq = c->virq;
	}
	return 0;
}

static int unmask(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	if (port >= d->valid_ports)
		return -EINVAL;
	if (used_port(d, port))
		xe_port_unmask(h, d, port);
	return 0;
}

int xe_evtchn_poll(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	return used_port(d, port) ? xe_port_pending(h, d, port) : -EINVAL;
}

void xe_evtchn_close_all(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t p = 1; p < d->valid_ports; p++)
		if (d->evtchn[p].state != XE_CLOSED)
			close_port(h, d, p);
}

void xe_evtchn_retire(struct xe_host *h, struct xe_domain *d)
{
	xe_evtchn_close_all(h, d);
	xe_fifo_destroy(h, d);
}

static int reset(struct xe_host *h, struct xe_domain *cur, uint32_t domid, bool resume)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, domid);

	if (!d)
		return -ESRCH;
	if (d != cur && !cur->privileged)
		return -EPERM;
	if (d != cur && !d->pause_count)
		return -EINVAL;
	if (resume)
		return -EBUSY; /* none is ever left half done */
	xe_evtchn_retire(h, d);
	return 0;
}

static int set_priority(const struct xe_domain *d, const struct xe_evtchn_set_priority *op)
{
	struct xe_evtchn *c = used_port(d, op->port);

	if (op->port >= d->valid_ports)
		return -EINVAL;
	if (!d->fifo)
		return -ENOSYS;
	if (!c)
		return -EACCES;
	if (op->priority >= XE_FIFO_QUEUES)
		return -EINVAL;
	c->priority = (uint8_t)op->priority;
	return 0;
}

int xe_evtchn_op(struct xe_host *h, struct xe_domain *d, uint32_t cmd, union xe_evtchn_arg *a)
{
	switch (cmd) {
	case XE_ABI_evtchn_op_bind_interdomain:
		return bind_interdomain(h, d, &a->bind_interdomain);
	case XE_ABI_evtchn_op_bind_virq:
		return bind_virq(h, d, &a->bind_virq);
	case XE_ABI_evtchn_op_bind_pirq:
		return a->bind_pirq.pirq >= PIRQS ? -EINVAL : -EPERM;
	case XE_ABI_evtchn_op_close:
		return close_port(h, d, a->port.port);
	case XE_ABI_evtchn_op_send:
		return xe_evtchn_send(h, d, a->port.port);
	case XE_ABI_evtchn_op_status:
		return port_status(h, d, &a->status);
	case XE_ABI_evtchn_op_alloc_unbound:
		return alloc_unbound(h, d, &a->alloc_unbound);
	case XE_ABI_evtchn_op_bind_ipi:
		return bind_ipi(h, d, &a->bind_ipi);
	case XE_ABI_evtchn_op_bind_vcpu:
		return bind_vcpu(d, &a->bind_vcpu);
	case XE_ABI_evtchn_op_unmask:
		return unmask(h, d, a->port.port);
	case XE_ABI_evtchn_op_reset:
	case XE_ABI_evtchn_op_reset_cont:
		return reset(h, d, a->reset.dom, cmd == XE_ABI_evtchn_op_reset_cont);
	case XE_ABI_evtchn_op_init_control:
		return xe_fifo_init_control(h, d, &a->init_control);
	case XE_ABI_evtchn_op_expand_array:
		return xe_fifo_expand_array(h, d, &a->expand_array);
	case XE_ABI_evtchn_op_set_priority:
		return set_priority(d, &a->set_priority);
	default:
		return -ENOSYS;
	}
}
