/* Event channels: the answers, the bits in shared pages, several virtual CPUs, the FIFO ABI. What is
 * expected here was asked of real Xen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/evtchn.h"
#include "xen_check.h"
#include "xen_fix.h"

#define SELF 0x7ff0u
#define SELF2 (SELF << 16 | SELF)
#define EV(dom, cmd, ...) \
	ev(&f, dom, XE_ABI_evtchn_op_##cmd, memcpy(a, (uint32_t[6]){__VA_ARGS__}, 24))

static struct fix f;
static uint32_t a[6];

static struct xe_domain *dom(uint32_t d)
{
	return f.h->domain[d];
}

static struct xe_shared_info *shared(uint32_t d)
{
	return xe_shared_info(f.h, dom(d));
}

static uint32_t guest_of(uint32_t vcpus)
{
	struct xe_domain_config c = {.pages = PAGES, .max_pages = PAGES, .max_vcpus = vcpus};
	uint32_t id;

	xe_assert(xe_domain_create(f.h, &c, &id) == 0 && xe_domain_unpause(f.h, id) == 0);
	return id;
}

static void clear(uint32_t d)
{
	struct xe_shared_info *s = shared(d);
	struct xe_work w;

	memset(s->pending, 0, sizeof(s->pending));
	memset(s->mask, 0, sizeof(s->mask));
	for (int i = 0; i < 32; i++)
		s->vcpu[i].pending_sel = s->vcpu[i].upcall_pending = 0;
	while (xe_host_next_work(f.h, &w))
		;
}

static xe_mfn frame_of(uint32_t d, uint64_t gva)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f.h, d, gva, &ma) == 0);
	return ma >> 12;
}

static void test_ports(void)
{
	uint32_t d, e;

	start(&f, FRAMES, true);
	d = guest_of(1);
	e = guest_of(1);
	/* a port exists when its bucket does */
	xe_assert(EV(d, status, SELF, 63) == 0 && a[2] == 0 && a[4] == 0);
	xe_assert(EV(d, status, SELF, 64) == -EINVAL && EV(d, unmask, 64) == -EINVAL &&
		  EV(d, unmask, 63) == 0 && EV(d, unmask, UINT32_MAX) == -EINVAL);
	for (uint32_t p = 1; p < 64; p++)
		xe_assert(EV(d, alloc_unbound, SELF2) == 0 && a[1] == p);
	xe_assert(EV(d, status, SELF, 64) == -EINVAL && EV(d, alloc_unbound, SELF2) == 0 &&
		  a[1] == 64 && EV(d, status, SELF, 127) == 0 &&
		  EV(d, status, SELF, 128) == -EINVAL);
	/* the lowest free one; reset keeps the buckets */
	xe_assert(EV(d, close, 7) == 0 && EV(d, close, 5) == 0);
	xe_assert(EV(d, bind_ipi, 0) == 0 && a[1] == 5 && EV(d, bind_ipi, 0) == 0 && a[1] == 7 &&
		  EV(d, bind_ipi, 0) == 0 && a[1] == 65);
	xe_assert(EV(d, reset, SELF) == 0 && EV(d, status, SELF, 127) == 0 && a[2] == 0);
	xe_assert(EV(d, alloc_unbound, SELF2) == 0 && a[1] == 1);
	/* rights come after the port, as the port may be lacking */
	xe_assert(EV(d, alloc_unbound, SELF << 16) == -EPERM);
	xe_assert(EV(d, status, 0, 1) == -EPERM && EV(d, status, 0, 64) == -EINVAL &&
		  EV(d, status, 77, 1) == -ESRCH && EV(d, status, 0x7ff2, 1) == -ESRCH);
	xe_assert(EV(d, reset, e) == -EPERM && EV(0, reset, e) == -EINVAL &&
		  EV(d, reset_cont, SELF) == -EBUSY && EV(0, reset, 77) == -ESRCH);
	xe_assert(xe_domain_pause(f.h, e) == 0 && EV(0, reset, e) == 0 &&
		  EV(0, reset_cont, e) == -EBUSY && xe_domain_unpause(f.h, e) == 0);
	/* the limit of the domain */
	dom(e)->max_port = 70;
	for (uint32_t p = 1; p <= 70; p++)
		xe_assert(EV(0, alloc_unbound, e | d << 16) == 0 && a[1] == p);
	xe_assert(EV(0, alloc_unbound, e) == -ENOSPC && EV(d, alloc_unbound, e) == -ENOSPC &&
		  EV(e, bind_virq, 1, 0) == -ENOSPC && EV(e, bind_ipi, 0) == -ENOSPC &&
		  EV(e, bind_interdomain, 77, 0) == -ESRCH &&
		  EV(e, bind_interdomain, d, 9) == -ENOSPC && EV(0, status, e, 71) == 0);
	dom(e)->max_port = UINT32_MAX;
	xe_assert(EV(e, bind_ipi, 0) == 0 && a[1] == 71);
	/* pirqs, priorities: no such thing */
	xe_assert(EV(0, bind_pirq, 5) == -EPERM && EV(d, bind_pirq, 100000) == -EINVAL &&
		  EV(d, set_priority, 1, 0) == -ENOSYS && EV(d, set_priority, 4095) == -EINVAL &&
		  EV(d, expand_array, 1) == -EOPNOTSUPP);
	for (uint32_t c = 0; c < 15; c++)
		xe_assert(hc(&f, d, 32, c, BAD, 0, 0) == -EFAULT);
	xe_assert(hc(&f, d, 32, 15, BAD, 0, 0) == -ENOSYS &&
		  hc(&f, d, 32, 1ull << 32 | 6, BAD, 0, 0) == -EFAULT &&
		  hc(&f, d, 32, UINT32_MAX, 0, 0, 0) == -ENOSYS);
	stop(&f);
}

/* Where the answer can't be written, what was asked for is done all the same. */
static void test_copy_out(void)
{
	uint32_t d, gva_page = 9;
	uint64_t gva = XE_GUEST_BASE + gva_page * 4096;
	xe_mfn m;

	start(&f, FRAMES, true);
	d = guest_of(1);
	m = frame_of(d, gva);
	*(uint32_t *)(void *)xe_frame_ptr(f.h, m) = SELF2;
	xe_assert(hc(&f, d, 14, gva, m << 12 | 0x65, 2, 0) == 0);
	xe_assert(hc(&f, d, 32, XE_ABI_evtchn_op_alloc_unbound, gva, 0, 0) == -EFAULT &&
		  EV(d, status, SELF, 1) == 0 && a[2] == 1);
	xe_assert(hc(&f, d, 32, XE_ABI_evtchn_op_close, gva, 0, 0) == -EINVAL); /* 0x7ff07ff0 */
	/* the old hypercall: command first */
	uint32_t old[7] = {XE_ABI_evtchn_op_status, SELF, 1};
	xe_assert(xe_guest_write(f.h, d, ARG, old, 28) == 0 && hc(&f, d, 16, ARG, 0, 0, 0) == 0 &&
		  xe_guest_read(f.h, d, ARG, old, 28) == 0 && old[3] == 1);
	old[0] = XE_ABI_evtchn_op_reset;
	xe_assert(xe_guest_write(f.h, d, ARG, old, 28) == 0 &&
		  hc(&f, d, 16, ARG, 0, 0, 0) == -ENOSYS && hc(&f, d, 16, BAD, 0, 0, 0) == -EFAULT);
	stop(&f);
}

static void test_bits(void)
{
	struct xe_shared_info *s;
	struct xe_vcpu_info *v;
	struct xe_work w;
	uint32_t d, e;

	start(&f, FRAMES, true);
	d = guest_of(1);
	e = guest_of(1);
	s = shared(d);
	v = &s->vcpu[0];
	xe_assert(EV(d, alloc_unbound, SELF | e << 16) == 0 && EV(e, bind_interdomain, d, 1) == 0);
	xe_assert(shared(e)->pending[0] == 2 && shared(e)->vcpu[0].upcall_pending == 1);
	clear(d);
	xe_assert(EV(e, send, 1) == 0 && s->pending[0] == 2 && v->pending_sel == 1 &&
		  v->upcall_pending == 1);
	xe_assert(xe_host_next_work(f.h, &w) && w.kind == XE_WORK_UPCALL && w.node == d &&
		  !xe_host_next_work(f.h, &w));
	/* pending: nothing happens */
	v->pending_sel = v->upcall_pending = 0;
	xe_assert(EV(e, send, 1) == 0 && !v->pending_sel && !xe_host_next_work(f.h, &w));
	/* selected already: pending, but not told again by Xen; by us */
	s->pending[0] = 0;
	v->pending_sel = 1;
	xe_assert(EV(e, send, 1) == 0 && s->pending[0] == 2 && !v->upcall_pending &&
		  xe_host_next_work(f.h, &w));
	/* masked */
	clear(d);
	s->mask[0] = 2;
	xe_assert(EV(e, send, 1) == 0 && s->pending[0] == 2 && !v->pending_sel &&
		  !xe_host_next_work(f.h, &w));
	xe_assert(EV(d, unmask, 1) == 0 && !s->mask[0] && v->pending_sel == 1 && v->upcall_pending);
	xe_assert(EV(d, unmask, 1) == 0);
	s->mask[0] = 0x10; /* a free port keeps its mask */
	xe_assert(EV(d, unmask, 4) == 0 && s->mask[0] == 0x10);
	/* closing takes the bit away, and only that; the other end is unbound */
	clear(d);
	xe_assert(EV(e, send, 1) == 0 && EV(d, close, 1) == 0 && !s->pending[0] &&
		  v->pending_sel == 1);
	xe_assert(EV(e, status, SELF, 1) == 0 && a[2] == 1 && (uint16_t)a[4] == d &&
		  EV(e, send, 1) == 0);
	/* paused, and asleep: it is told when it wakes */
	xe_assert(EV(d, alloc_unbound, SELF | e << 16) == 0 && EV(e, bind_interdomain, d, 1) == 0 &&
		  a[2] == 2);
	clear(d);
	xe_assert(hc(&f, d, 29, 1, 0, 0, 0) == 0 && dom(d)->vcpu[0]->blocked);
	xe_assert(xe_domain_pause(f.h, d) == 0 && EV(e, send, 2) == 0 &&
		  !dom(d)->vcpu[0]->blocked && !xe_host_next_work(f.h, &w));
	xe_assert(xe_domain_unpause(f.h, d) == 0 && xe_host_next_work(f.h, &w) && w.node == d &&
		  xe_next_pending_port(f.h, d) == 1 && v->pending_sel == 1);
	xe_assert(xe_next_pending_port(f.h, d) == -1 && !v->pending_sel && !v->upcall_pending);
	/* a zombie has all its ports, closed; nothing is bound to it */
	xe_assert(EV(d, alloc_unbound, SELF | 0 << 16) == 0 &&
		  EV(0, bind_interdomain, d, a[1]) == 0);
	xe_get_domain(dom(d)); /* as a log does */
	xe_assert(xe_domain_destroy(f.h, d) == 0 && dom(d)->dying);
	xe_assert(EV(0, status, d, 1) == 0 && !a[2] && EV(0, status, d, 64) == -EINVAL &&
		  EV(0, alloc_unbound, d) == -EINVAL && EV(0, bind_interdomain, d, 1) == -EINVAL &&
		  EV(0, status, SELF, 1) == 0 && a[2] == 1);
	xe_assert(EV(0, reset, d) == -EINVAL);
	xe_put_domain(f.h, dom(d));
	xe_assert(EV(0, status, d, 1) == -ESRCH);
	stop(&f);
}

static void test_vcpus(void)
{
	struct xe_shared_info *s;
	uint32_t d, ipi;

	start(&f, FRAMES, true);
	d = guest_of(40);
	s = shared(d);
	for (uint32_t q = 0; q < 24; q++) {
		bool global = q != 0 && q != 1 && q != 7 && q != 13;

		xe_assert(EV(d, bind_virq, q, 1) == (global ? -EINVAL : 0));
		xe_assert(EV(d, bind_virq, q, 0) == 0 && EV(d, bind_virq, q, 0) == -EEXIST);
		xe_assert(EV(d, bind_virq, q, 40) == (global ? -EINVAL : -ENOENT));
		xe_assert(EV(d, reset, SELF) == 0 && !dom(d)->vcpu[1]->virq_port[q]);
	}
	xe_assert(EV(d, bind_virq, 24, 90) == -EINVAL && EV(d, bind_virq, UINT32_MAX) == -EINVAL);
	xe_assert(EV(d, bind_virq, 0, 1) == 0 && a[2] == 1 && EV(d, status, SELF, 1) == 0 &&
		  a[2] == 4 && a[3] == 1 && a[4] == 0);
	xe_assert(EV(d, bind_vcpu, 1, 2) == -EINVAL && EV(d, send, 1) == -EINVAL);
	xe_assert(EV(d, bind_ipi, 40) == -ENOENT && EV(d, bind_ipi, 3) == 0);
	ipi = a[1];
	clear(d);
	xe_assert(EV(d, send, ipi) == 0 && s->vcpu[3].upcall_pending &&
		  s->vcpu[3].pending_sel == 1 && !s->vcpu[0].upcall_pending);
	xe_assert(EV(d, bind_vcpu, ipi, 2) == -EINVAL && EV(d, bind_vcpu, 60, 99) == -ENOENT &&
		  EV(d, bind_vcpu, 60, 0) == -EINVAL);
	/* a global virq goes where it is bound, not where it was made */
	xe_assert(EV(d, bind_virq, 3, 0) == 0 && EV(d, bind_vcpu, a[2], 5) == 0);
	clear(d);
	xe_send_virq(f.h, d, 3);
	xe_assert(s->vcpu[5].upcall_pending && !s->vcpu[0].upcall_pending);
	xe_assert(EV(d, close, 3) == 0 && !dom(d)->vcpu[0]->virq_port[3]);
	/* what is free again has forgotten its vcpu; what is unbound hasn't */
	xe_assert(EV(d, alloc_unbound, SELF2) == 0 && a[1] == 3 && EV(d, status, SELF, 3) == 0 &&
		  a[3] == 0 && EV(d, bind_vcpu, 3, 6) == 0);
	xe_assert(EV(d, bind_interdomain, SELF, 3) == 0 && a[2] == 4);
	clear(d);
	xe_assert(EV(d, send, 4) == 0 && s->vcpu[6].upcall_pending && EV(d, close, 4) == 0 &&
		  EV(d, status, SELF, 3) == 0 && a[2] == 1 && a[3] == 6);
	/* beyond shared_info: pending, and nobody is told until a vcpu_info is registered */
	xe_assert(EV(d, bind_ipi, 33) == 0);
	ipi = a[1];
	clear(d);
	xe_assert(EV(d, send, ipi) == 0 && s->pending[0] == 1u << ipi);
	for (int i = 0; i < 32; i++)
		xe_assert(!s->vcpu[i].upcall_pending);
	xe_assert(xe_next_pending_port(f.h, d) == (int)ipi);
	stop(&f);
}

/* ---- FIFO ---- */

static struct xe_fifo_control *control;
static uint32_t *word;

static int64_t init_control(uint32_t d, uint64_t mfn, uint32_t offset, uint32_t vcpu)
{
	struct xe_evtchn_init_control c = {.control_gfn = mfn, .offset = offset, .vcpu = vcpu};
	int64_t r = op(&f, d, 32, XE_ABI_evtchn_op_init_control, &c, sizeof(c));

	xe_assert(r || c.link_bits == 17);
	return r;
}

static int64_t expand(uint32_t d, uint64_t mfn)
{
	return op(&f, d, 32, XE_ABI_evtchn_op_expand_array, &mfn, sizeof(mfn));
}

static void start_fifo(uint32_t d, uint32_t page)
{
	xe_mfn c = frame_of(d, XE_GUEST_BASE + page * 4096ull);
	xe_mfn w = frame_of(d, XE_GUEST_BASE + (page + 1) * 4096ull);

	memset(xe_frame_ptr(f.h, c), 0, 8192);
	memset(xe_frame_ptr(f.h, w), 0, 4096);
	control = (void *)(xe_frame_ptr(f.h, c) + 64);
	word = (void *)xe_frame_ptr(f.h, w);
	xe_assert(init_control(d, c, 64, 0) == 0 && expand(d, w) == 0);
}

static void test_fifo(void)
{
	const int order[] = {3, 1, 2, 5, 4};
	const uint32_t P = XE_FIFO_PENDING, L = XE_FIFO_LINKED, M = XE_FIFO_MASKED;
	uint64_t free_pages, table;
	uint32_t d;
	xe_mfn m;

	start(&f, FRAMES, true);
	d = guest_of(2);
	m = frame_of(d, XE_GUEST_BASE + 20 * 4096);
	table = dom(d)->vcpu[0]->cr3;
	xe_assert(init_control(d, m, 0, 2) == -ENOENT &&
		  init_control(d, m, 4096 - 71, 0) == -EINVAL &&
		  init_control(d, m, 4, 0) == -EINVAL && init_control(d, table, 0, 0) == -EINVAL &&
		  init_control(d, 1ull << 40, 0, 0) == -EINVAL && !dom(d)->fifo);
	for (uint32_t p = 1; p <= 6; p++)
		xe_assert(EV(d, bind_ipi, p == 6) == 0 && a[1] == p);
	clear(d);
	xe_assert(EV(d, send, 3) == 0); /* pending from before the words are there */
	start_fifo(d, 20);
	xe_assert(word[3] == (P | L) && control->head[7] == 3 && control->ready == 1 << 7);
	xe_assert(init_control(d, m, 0, 0) == -EINVAL && expand(d, table) == -EINVAL);
	/* links, in order, one queue a priority */
	xe_assert(EV(d, send, 1) == 0 && EV(d, send, 2) == 0 && EV(d, send, 1) == 0);
	xe_assert(word[3] == (P | L | 1) && word[1] == (P | L | 2) && word[2] == (P | L));
	xe_assert(EV(d, set_priority, 4, 15) == 0 && EV(d, set_priority, 4, 16) == -EINVAL &&
		  EV(d, set_priority, 9, 0) == -EACCES && EV(d, set_priority, 64, 0) == -EINVAL);
	xe_assert(EV(d, send, 4) == 0 && control->head[15] == 4 &&
		  control->ready == (1 | 1 << 8) << 7);
	/* no control block on that vcpu: lost; masked: pending only, until unmasked */
	xe_assert(EV(d, send, 6) == 0 && !word[6]);
	word[5] = M;
	xe_assert(EV(d, send, 5) == 0 && word[5] == (M | P));
	xe_assert(EV(d, unmask, 5) == 0 && word[5] == (P | L) && word[2] == (P | L | 5));
	/* as a guest takes them */
	for (uint32_t i = 0; i < 5; i++)
		xe_assert(xe_next_pending_port(f.h, d) == order[i]);
	xe_assert(xe_next_pending_port(f.h, d) == -1 && !control->ready && !word[3]);
	/* closed, but still on a queue: not free yet */
	xe_assert(EV(d, send, 1) == 0 && EV(d, close, 1) == 0 && word[1] == L);
	xe_assert(EV(d, bind_ipi, 0) == 0 && a[1] == 7);
	word[1] = 0;
	xe_assert(EV(d, bind_ipi, 0) == 0 && a[1] == 1);
	/* hostile words: a loop, links to nowhere */
	word[1] = word[2] = P | L | 1;
	control->head[7] = 1;
	control->head[0] = UINT32_MAX;
	control->ready = UINT32_MAX;
	xe_assert(xe_next_pending_port(f.h, d) == 1 && xe_next_pending_port(f.h, d) == -1);
	/* more ports than two levels have */
	dom(d)->max_port = UINT32_MAX;
	for (uint32_t p = 8; p < 5000; p++)
		xe_assert(EV(d, bind_ipi, 0) == 0 && a[1] == p);
	xe_assert(EV(d, send, 4999) == 0); /* it has no word */
	m = frame_of(d, XE_GUEST_BASE + 30 * 4096);
	for (int i = 0; i < 4; i++, m = frame_of(d, XE_GUEST_BASE + (30ull + (uint64_t)i) * 4096))
		xe_assert(expand(d, m) == 0);
	xe_assert(xe_next_pending_port(f.h, d) == 4999);
	/* two levels again; all frames are given back */
	xe_assert(EV(d, reset, SELF) == 0 && !dom(d)->fifo && EV(d, status, SELF, 4999) == 0);
	xe_assert((f.h->frame[m].type_info & XE_PGT_COUNT) == 1);
	clear(d);
	xe_assert(EV(d, bind_ipi, 0) == 0 && a[1] == 1 && EV(d, send, 1) == 0 &&
		  shared(d)->pending[0] == 2);
	start_fifo(d, 20);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && !dom(d));
	free_pages = xe_host_free_pages(f.h);
	xe_assert(free_pages == f.base);
	stop(&f);
}

/* A page that became part of a log is written no more: fencing its owner must be enough. */
static void test_log_frames(void)
{
	struct xe_vcpu *v;
	struct xe_register_vcpu_info r = {.offset = 64};
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest_of(1);
	v = dom(d)->vcpu[0];
	r.mfn = frame_of(d, XE_GUEST_BASE + 9 * 4096);
	f.h->frame[r.mfn].log = 1;
	xe_assert(xe_guest_write(f.h, d, ARG, &r, 16) == 0 &&
		  hc(&f, d, 24, 10, 0, ARG, 0) == -EINVAL);
	f.h->frame[r.mfn].log = 0;
	xe_assert(hc(&f, d, 24, 10, 0, ARG, 0) == 0 && xe_vcpu_info(f.h, v));
	f.h->frame[r.mfn].log = 1;
	xe_assert(!xe_vcpu_info(f.h, v) && EV(d, bind_ipi, 0) == 0 && EV(d, send, 1) == 0);
	f.h->frame[r.mfn].log = 0;
	start_fifo(d, 20);
	f.h->frame[frame_of(d, XE_GUEST_BASE + 21 * 4096)].log = 1;
	xe_assert(EV(d, bind_ipi, 0) == 0 && EV(d, send, a[1]) == 0 && !word[2]);
	f.h->frame[frame_of(d, XE_GUEST_BASE + 21 * 4096)].log = 0;
	stop(&f);
}

static void check(void)
{
	for (uint32_t id = 0; id < f.h->top; id++) {
		const struct xe_domain *d = dom(id);

		for (uint32_t p = 1; d && p < d->valid_ports; p++) {
			const struct xe_evtchn *c = &d->evtchn[p];
			const struct xe_evtchn *r;

			xe_assert(c->state != XE_CLOSED || p >= d->low_port);
			xe_assert(c->vcpu < d->nvcpus);
			if (c->state == XE_VIRQ)
				xe_assert(d->vcpu[c->virq == 3 ? 0 : c->vcpu]->virq_port[c->virq] ==
					  p);
			if (c->state != XE_INTERDOMAIN)
				continue;
			r = &dom(c->remote_dom)->evtchn[c->remote_port];
			xe_assert(r->state == XE_INTERDOMAIN && r->remote_dom == id &&
				  r->remote_port == p);
		}
	}
}

/* Random calls of three domains; the structs stay true, and nothing is left at the end. */
static void test_random(uint32_t seed)
{
	uint32_t d[3] = {0};

	start(&f, FRAMES, true);
	srand(seed);
	d[1] = guest_of(2);
	d[2] = guest_of(3);
	for (int i = 0; i < 20000; i++) {
		uint32_t who = (uint32_t)rand() % 3, other = (uint32_t)rand() % 4;
		uint32_t target = other < 3 ? d[other] : SELF, port = (uint32_t)rand() % 70;
		uint32_t v = (uint32_t)rand() % 3;

		switch (rand() % 11) {
		case 0:
			EV(d[who], alloc_unbound, target | d[rand() % 3] << 16);
			break;
		case 1:
		case 2:
			EV(d[who], bind_interdomain, target, port);
			break;
		case 3:
			EV(d[who], bind_virq, (uint32_t[]){0, 1, 3}[rand() % 3], v);
			break;
		case 4:
			EV(d[who], bind_ipi, v);
			break;
		case 5:
			EV(d[who], close, port);
			break;
		case 6:
			EV(d[who], bind_vcpu, port, v);
			break;
		case 7:
			EV(d[who], unmask, port);
			break;
		case 8:
			if (rand() % 40 == 0)
				EV(d[who], reset, SELF);
			break;
		case 9:
			if (rand() % 300 == 0 && !dom(d[who])->fifo)
				start_fifo(d[who], 20);
			xe_next_pending_port(f.h, d[who]);
			break;
		default:
			EV(d[who], send, port);
		}
		check();
		if (i % 1000 == 0)
			xen_check(f.h);
		expect_none(&f);
	}
	xe_assert(xe_domain_destroy(f.h, d[1]) == 0 && xe_domain_destroy(f.h, d[2]) == 0);
	check();
	xen_check(f.h);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

int main(void)
{
	test_ports();
	test_copy_out();
	test_bits();
	test_vcpus();
	test_fifo();
	test_log_frames();
	for (uint32_t seed = 1; seed <= 5; seed++)
		test_random(seed);
	puts("event channels: ok");
	return 0;
}
