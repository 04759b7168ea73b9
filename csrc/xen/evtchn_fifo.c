/* The FIFO ABI of event channels: an event word a port in pages of the domain, and for each virtual
 * CPU a control block with the heads of sixteen queues, by priority.
 *
 * Words and control blocks are the guest's to scribble on. We read only bits and a head from them and
 * follow no link: a queue that the guest has broken is its own loss. Tails are ours.
 *
 * Invariants: d->fifo owns a writable reference on each page. A port without a word remembers in
 * `pending` that it was raised.
 * Left out: nothing that a guest can see; the BUSY bit is only ever seen by other CPUs. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "xen/evtchn.h"
#include "xen/trace.h"

uint32_t *xe_fifo_word(const struct xe_host *h, const struct xe_domain *d, uint32_t port)
{
	uint8_t *page;

	if (port / XE_FIFO_WORDS >= d->fifo->npages)
		return NULL;
	page = xe_given_page(h, d, d->fifo->page[port / XE_FIFO_WORDS]);
	return page ? (uint32_t *)(void *)page + port % XE_FIFO_WORDS : NULL;
}

static struct xe_fifo_control *control_of(const struct xe_host *h, const struct xe_domain *d,
					  uint32_t vcpu)
{
	const struct xe_fifo_vcpu *f = &d->fifo->vcpu[vcpu];
	uint8_t *page = f->mfn ? xe_given_page(h, d, f->mfn) : NULL;

	return page ? (struct xe_fifo_control *)(void *)(page + f->offset) : NULL;
}

/* Links the port behind the tail, if that is still on its queue; else it is the head. */
static void enqueue(struct xe_host *h, struct xe_domain *d, uint32_t port, struct xe_vcpu *v,
		    struct xe_fifo_control *control)
{
	struct xe_evtchn *c = &d->evtchn[port];
	uint32_t *old = &d->fifo->vcpu[c->last_vcpu].tail[c->last_priority];
	uint32_t *tail = &d->fifo->vcpu[v->id].tail[c->priority];
	uint32_t bit = 1u << c->priority;
	uint32_t *last;

	if (*old == port)
		*old = 0; /* it was a tail, so that queue is empty */
	c->last_vcpu = (uint16_t)v->id;
	c->last_priority = c->priority;
	last = *tail ? xe_fifo_word(h, d, *tail) : NULL;
	*tail = port;
	if (last && *last & XE_FIFO_LINKED) {
		*last = (*last & ~(XE_FIFO_BUSY | XE_FIFO_LINK)) | port;
		return;
	}
	control->head[c->priority] = port;
	if (!(control->ready & bit)) {
		control->ready |= bit;
		xe_vcpu_upcall(h, v);
	}
}

void xe_fifo_raise(struct xe_host *h, struct xe_domain *d, uint32_t port)
{
	struct xe_evtchn *c = &d->evtchn[port];
	struct xe_vcpu *v = xe_vcpu(d, c->vcpu);
	struct xe_fifo_control *control = v ? control_of(h, d, v->id) : NULL;
	uint32_t *word = xe_fifo_word(h, d, port);
	bool is_new;

	if (!word)
		c->pending = true;
	if (!word || !control)
		return;
	is_new = !(*word & XE_FIFO_PENDING);
	*word |= XE_FIFO_PENDING;
	if (is_new)
		xe_trace_port(h, d, v->id, port);
	if (!(*word & (XE_FIFO_MASKED | XE_FIFO_LINKED))) {
		*word |= XE_FIFO_LINKED;
		enqueue(h, d, port, v, control);
		xe_queue_upcall(h, d);
	}
	if (is_new)
		xe_wake_pollers(h, d, port);
}

/* ---- the operations ---- */

static int set_control(struct xe_host *h, struct xe_domain *d, uint32_t vcpu, uint64_t mfn,
		       uint32_t offset)
{
	struct xe_fifo_vcpu *f = &d->fifo->vcpu[vcpu];
	int r = f->mfn ? -EINVAL : xe_get_given_page(h, d, mfn);

	if (r)
		return r;
	f->mfn = mfn;
	f->offset = offset;
	return 0;
}

static void adopt_ports(struct xe_host *h, struct xe_domain *d)
{
	const struct xe_shared_info *s = xe_shared_info(h, d);

	for (uint32_t p = 1; p < d->valid_ports && p < XE_EVTCHNS; p++) {
		if (s && xe_bit(s->pending, p))
			d->evtchn[p].pending = true;
		d->evtchn[p].priority = XE_FIFO_DEFAULT_PRIORITY;
	}
}

int xe_fifo_init_control(struct xe_host *h, struct xe_domain *d, struct xe_evtchn_init_control *op)
{
	bool first = !d->fifo;
	int r;

	op->link_bits = XE_FIFO_LINK_BITS;
	if (!xe_vcpu(d, op->vcpu))
		return -ENOENT;
	if (op->offset > XE_PAGE_SIZE - sizeof(struct xe_fifo_control) || op->offset % 8)
		return -EINVAL;
	if (first) {
		d->fifo = calloc(1, sizeof(*d->fifo) + d->max_vcpus * sizeof(d->fifo->vcpu[0]));
		if (!d->fifo)
			return -ENOMEM;
	}
	r = set_control(h, d, op->vcpu, op->control_gfn, op->offset);
	if (first && r)
		xe_fifo_destroy(h, d);
	else if (first)
		adopt_ports(h, d);
	return r;
}

int xe_fifo_expand_array(struct xe_host *h, struct xe_domain *d,
			 const struct xe_evtchn_expand_array *op)
{
	uint32_t port;
	int r;

	if (!d->fifo)
		return -EOPNOTSUPP;
	if (d->fifo->npages == XE_FIFO_PAGES)
		return -ENOSPC;
	r = xe_get_given_page(h, d, op->array_gfn);
	if (r)
		return r;
	port = d->fifo->npages * XE_FIFO_WORDS;
	d->fifo->page[d->fifo->npages++] = op->array_gfn;
	for (uint32_t i = 0; i < XE_FIFO_WORDS && port < d->valid_ports; i++, port++)
		if (d->evtchn[port].pending)
			xe_fifo_raise(h, d, port);
	return 0;
}

void xe_fifo_destroy(struct xe_host *h, struct xe_domain *d)
{
	if (!d->fifo)
		return;
	for (uint32_t i = 0; i < d->fifo->npages; i++)
		xe_put_page_and_type(h, d->fifo->page[i]);
	for (uint32_t i = 0; i < d->max_vcpus; i++)
		if (d->fifo->vcpu[i].mfn)
			xe_put_page_and_type(h, d->fifo->vcpu[i].mfn);
	free(d->fifo);
	d->fifo = NULL;
}

/* ---- a guest's side, for kernels that are not in guest memory ---- */

/* Takes the head off a queue; 0: it is empty. */
static uint32_t dequeue(struct xe_host *h, struct xe_domain *d, struct xe_fifo_control *c,
			uint32_t queue)
{
	uint32_t port = c->head[queue];
	uint32_t *word = port < XE_FIFO_PORTS ? xe_fifo_word(h, d, port) : NULL;

	if (!port || !word || !(*word & XE_FIFO_LINKED)) {
		c->head[queue] = 0;
		c->ready &= ~(1u << queue);
		return 0;
	}
	c->head[queue] = *word & XE_FIFO_LINK;
	*word &= ~(XE_FIFO_LINKED | XE_FIFO_LINK);
	return port;
}

int xe_fifo_next(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t n = 0; n < d->nvcpus; n++) {
		struct xe_fifo_control *c = control_of(h, d, n);

		while (c && c->ready & ((1u << XE_FIFO_QUEUES) - 1)) {
			uint32_t q = (uint32_t)__builtin_ctz(c->ready);
			uint32_t port = dequeue(h, d, c, q);
			uint32_t *word = port ? xe_fifo_word(h, d, port) : NULL;

			if (!word || !(*word & XE_FIFO_PENDING) || *word & XE_FIFO_MASKED)
				continue;
			*word &= ~XE_FIFO_PENDING;
			return (int)port;
		}
	}
	return -1;
}

bool xe_fifo_any(struct xe_host *h, struct xe_domain *d)
{
	for (uint32_t n = 0; n < d->nvcpus; n++) {
		const struct xe_fifo_control *c = control_of(h, d, n);

		if (c && c->ready)
			return true;
	}
	return false;
}
