/* Virtual CPUs, timers, blocking, shutdown. What is expected here was asked of real Xen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/internal.h"
#include "xen_fix.h"

#define OP(name) XE_ABI_vcpu_op_##name
#define SOP(name) XE_ABI_sched_op_##name
#define SELF 0x7ff0

static struct fix f;
static uint32_t d; /* the guest of the test */
static xe_ns now;

static struct xe_domain *dom(uint32_t id)
{
	return f.h->domain[id];
}

static struct xe_vcpu *cpu(uint32_t id)
{
	return dom(d)->vcpu[id];
}

static void begin(uint32_t vcpus)
{
	struct xe_domain_config c = {.pages = PAGES, .max_pages = PAGES, .max_vcpus = vcpus};

	start(&f, FRAMES, true);
	now = 0;
	xe_assert(xe_domain_create(f.h, &c, &d) == 0 && xe_domain_unpause(f.h, d) == 0);
}

static void pass(xe_ns t)
{
	now += t;
	xe_host_run_timers(f.h, now);
}

static int64_t call(uint32_t vcpu, uint32_t nr, uint64_t x, uint64_t y, uint64_t z)
{
	const uint64_t arg[5] = {x, y, z};

	return xe_vcpu_hypercall(f.h, d, vcpu, nr, arg, now);
}

static int64_t vcpu_op(uint32_t cmd, uint32_t vcpu, const void *arg, size_t n)
{
	xe_assert(xe_guest_write(f.h, d, ARG, arg, n) == 0);
	return call(0, 24, cmd, vcpu, ARG);
}

static int64_t sched(uint32_t vcpu, uint32_t cmd, const void *arg, size_t n)
{
	xe_assert(xe_guest_write(f.h, d, ARG, arg, n) == 0);
	return call(vcpu, 29, cmd, ARG, 0);
}

static uint64_t ns(uint32_t vcpu, uint32_t cmd, uint64_t value)
{
	const uint64_t arg[2] = {value};

	return (uint64_t)vcpu_op(cmd, vcpu, arg, sizeof(arg));
}

static uint32_t bind_virq(uint32_t virq, uint32_t vcpu)
{
	uint32_t a[6] = {virq, vcpu};

	xe_assert(ev(&f, d, XE_ABI_evtchn_op_bind_virq, a) == 0);
	return a[2];
}

static uint32_t bind_ipi(uint32_t vcpu)
{
	uint32_t a[6] = {vcpu};

	xe_assert(ev(&f, d, XE_ABI_evtchn_op_bind_ipi, a) == 0);
	return a[1];
}

/* Pending bits of the first ports, taken. */
static uint64_t take(void)
{
	struct xe_shared_info *s = xe_shared_info(f.h, dom(d));
	uint64_t p = s->pending[0];
	struct xe_work w;

	s->pending[0] = 0;
	for (uint32_t i = 0; i < dom(d)->nvcpus; i++) {
		struct xe_vcpu_info *v = xe_vcpu_info(f.h, cpu(i));

		if (v)
			v->pending_sel = v->upcall_pending = 0;
	}
	while (xe_host_next_work(f.h, &w))
		;
	return p;
}

static xe_mfn frame_of(uint64_t page)
{
	uint64_t ma;

	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + page * 4096, &ma) == 0);
	return ma >> 12;
}

static struct xe_runstate_info runstate(uint32_t vcpu)
{
	struct xe_runstate_info r;

	xe_assert(call(0, 24, OP(get_runstate_info), vcpu, ARR) == 0);
	xe_assert(xe_guest_read(f.h, d, ARR, &r, sizeof(r)) == 0 && !r.pad);
	return r;
}

static void init_vcpu(uint32_t vcpu, uint64_t flags)
{
	static struct xe_vcpu_context c;

	memset(&c, 0, sizeof(c));
	c.flags = flags;
	c.ctrlreg[3] = cpu(0)->cr3 << 12;
	xe_assert(vcpu_op(OP(initialise), vcpu, &c, sizeof(c)) == 0);
}

static void test_answers(void)
{
	begin(2);
	for (uint32_t c = 0; c <= 15; c++)
		xe_assert(call(0, 24, c, 2, BAD) == -ENOENT);
	xe_assert(call(0, 24, 14, 0, 0) == -ENOSYS && call(0, 24, UINT32_MAX, 0, 0) == -ENOSYS);
	xe_assert(call(0, 24, 1ull << 32 | OP(is_up), 1ull << 32, 0) == 1 &&
		  call(0, 24, OP(is_up), 1, 0) == 0);
	xe_assert(call(0, 24, OP(initialise), 1, BAD) == -EFAULT &&
		  call(0, 24, OP(initialise), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(get_runstate_info), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(register_runstate_memory_area), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(set_periodic_timer), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(set_singleshot_timer), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(set_singleshot_timer), 1, BAD) == -EINVAL &&
		  call(0, 24, OP(stop_singleshot_timer), 1, BAD) == -EINVAL &&
		  call(0, 24, OP(stop_singleshot_timer), 0, BAD) == 0 &&
		  call(0, 24, OP(register_vcpu_info), 0, BAD) == -EFAULT &&
		  call(0, 24, OP(register_vcpu_time_memory_area), 0, BAD) == -EFAULT);
	xe_assert(ns(0, OP(set_periodic_timer), XE_MS - 1) == (uint64_t)-EINVAL &&
		  ns(0, OP(set_periodic_timer), 0) == (uint64_t)-EINVAL &&
		  ns(0, OP(set_periodic_timer), 1ull << 62) == (uint64_t)-EINVAL &&
		  ns(0, OP(set_periodic_timer), UINT64_MAX >> 2) == 0 &&
		  call(0, 24, OP(stop_periodic_timer), 1, BAD) == 0);
	xe_assert(call(0, 24, OP(send_nmi), 1, 8) == -EINVAL &&
		  call(0, 24, OP(send_nmi), 1, 0) == 0 && cpu(1)->nmi_pending);
	xe_assert(call(0, 24, OP(get_physid), 0, ARG) == -EINVAL &&
		  hc(&f, 0, 24, OP(get_physid), 0, ARG, 0) == 0 &&
		  hc(&f, 0, 24, OP(get_physid), 0, BAD, 0) == -EFAULT);
	for (uint32_t c = 2; c < 7; c++)
		xe_assert(call(0, 29, c, BAD, 0) == -EFAULT);
	xe_assert(call(0, 29, 7, BAD, 0) == -EPERM && hc(&f, 0, 29, 7, BAD, 0, 0) == -EFAULT &&
		  call(0, 29, 8, 0, 0) == -ENOSYS && call(0, 29, UINT32_MAX, 0, 0) == -ENOSYS &&
		  call(0, 29, 1ull << 32, BAD, 0) == 0);
	xe_assert(call(0, 6, 0, 0, 0) == 0 && call(0, 6, 3, 0, 0) == -ENOSYS &&
		  call(0, 6, 99, 0, 0) == -ENOSYS);
	for (int i = 0; i < 7; i++) {
		const int32_t cpus[] = {-1, 0, 0, 1, -1, -1, 5000};
		const int64_t answer[] = {-EINVAL, 0, -EBUSY, -EINVAL, 0, -EINVAL, -EINVAL};
		int32_t pcpu = cpus[i];

		xe_assert(op(&f, 0, 29, SOP(pin_override), &pcpu, 4) == answer[i]);
	}
	stop(&f);
}

static void test_context(void)
{
	static struct xe_vcpu_context c;
	const struct {
		size_t at;
		uint64_t bad;
	} wrong[] = {
		{offsetof(struct xe_vcpu_context, regs.rip), 1ull << 47},
		{offsetof(struct xe_vcpu_context, regs.rsp), 1ull << 47},
		{offsetof(struct xe_vcpu_context, kernel_sp), 1ull << 63},
		{offsetof(struct xe_vcpu_context, fs_base), 1ull << 47},
		{offsetof(struct xe_vcpu_context, syscall_callback), 1ull << 47},
		{offsetof(struct xe_vcpu_context, trap[255].address), 1ull << 47},
		{offsetof(struct xe_vcpu_context, ldt_base), 0xffff800000000000},
		{offsetof(struct xe_vcpu_context, ldt_base), 1},
		{offsetof(struct xe_vcpu_context, ldt_ents), 8193},
		{offsetof(struct xe_vcpu_context, gdt_ents), 8193},
		{offsetof(struct xe_vcpu_context, gdt_ents), 8192},
		{offsetof(struct xe_vcpu_context, gdt_ents), 600}, /* frame 0 */
		{offsetof(struct xe_vcpu_context, ctrlreg[3]), 0},
		{offsetof(struct xe_vcpu_context, ctrlreg[3]), 1ull << 60},
		{offsetof(struct xe_vcpu_context, ctrlreg[1]), 1ull << 60},
		{offsetof(struct xe_vcpu_context, flags), 0},
	};
	uint64_t root, count, keep;
	uint32_t v;

	begin(3);
	root = cpu(0)->cr3;
	count = f.h->frame[root].count_info;
	c.ctrlreg[3] = root << 12;
	c.flags = XE_VGCF_IN_KERNEL;
	c.vm_assist = UINT64_MAX; /* vcpu 0's business */
	xe_assert(vcpu_op(OP(initialise), 0, &c, sizeof(c)) == -EEXIST &&
		  call(0, 24, OP(up), 1, 0) == -EINVAL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t *field = (uint8_t *)&c + wrong[i].at;

		memcpy(&keep, field, 8);
		memcpy(field, &wrong[i].bad, 8);
		xe_assert(vcpu_op(OP(initialise), 1, &c, sizeof(c)) == -EINVAL);
		memcpy(field, &keep, 8);
	}
	c.ctrlreg[3] = frame_of(9) << 12; /* mapped writable */
	xe_assert(vcpu_op(OP(initialise), 1, &c, sizeof(c)) == -EINVAL);
	c.ctrlreg[3] = dom(0)->vcpu[0]->cr3 << 12;
	xe_assert(vcpu_op(OP(initialise), 1, &c, sizeof(c)) == -EINVAL);
	xe_assert(f.h->frame[root].count_info == count && !cpu(1)->initialised);
	c.ctrlreg[3] = root << 12;
	xe_assert(vcpu_op(OP(initialise), 1, &c, sizeof(c)) == 0 && cpu(1)->cr3 == root &&
		  f.h->frame[root].count_info == count + 1 && !cpu(1)->online);
	xe_assert(vcpu_op(OP(initialise), 1, &c, sizeof(c)) == -EEXIST);
	xe_assert(call(1, 29, 0, 0, 0) == 0 && call(0, 24, OP(up), 1, 0) == 0 &&
		  call(0, 24, OP(is_up), 1, 0) == 1 && dom(d)->online_vcpus == 2);
	/* by the control domain, on one that runs: registers only */
	c.regs.rip = 0x1234;
	xe_assert(xe_vcpu_set_context(f.h, cpu(1), &c) == 0 && cpu(1)->cpu.c.regs.rip == 0x1234 &&
		  !cpu(1)->online);
	c.ctrlreg[3] = 0;
	xe_assert(xe_vcpu_set_context(f.h, cpu(1), &c) == -EOPNOTSUPP);
	c.ctrlreg[3] = root << 12;
	xe_assert(xe_vcpu_set_context(f.h, cpu(0), &c) == -EINVAL); /* its vm_assist */
	init_vcpu(2, XE_VGCF_IN_KERNEL | XE_VGCF_ONLINE);
	xe_assert(cpu(2)->online && call(2, 24, OP(is_up), 2, 0) == 1);
	/* the last one that goes down shuts the domain down, and stays up */
	v = xe_host_top(f.h);
	xe_assert(call(0, 24, OP(down), 0, 0) == 0 && !cpu(0)->online && v > d);
	xe_assert(call(2, 24, OP(down), 2, 0) == 0 && cpu(2)->online && dom(d)->shut_down &&
		  dom(d)->shutdown_code == 0);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static void test_vcpu_info(void)
{
	struct xe_register_vcpu_info r = {.offset = 4096 - 63};
	struct xe_vcpu_info *old, *new;
	uint32_t port;

	begin(40);
	old = xe_vcpu_info(f.h, cpu(0));
	port = bind_ipi(35);
	old->arch.cr2 = 77;
	xe_assert(!xe_vcpu_info(f.h, cpu(35)) && xe_vcpu_info(f.h, cpu(31)) == old + 31);
	xe_assert(vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -ENXIO && (r.offset = 4) &&
		  vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -ENXIO);
	r.offset = 64;
	xe_assert(vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -EINVAL && (r.mfn = 1ull << 40) &&
		  vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -EINVAL && (r.mfn = cpu(0)->cr3) &&
		  vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -EINVAL);
	r.mfn = frame_of(9);
	xe_assert(vcpu_op(OP(register_vcpu_info), 0, &r, 16) == 0 &&
		  vcpu_op(OP(register_vcpu_info), 0, &r, 16) == -EINVAL);
	new = xe_vcpu_info(f.h, cpu(0));
	xe_assert(new != old && new->arch.cr2 == 77 && new->pending_sel == UINT64_MAX &&
		  new->upcall_pending == 1 && new->upcall_mask == old->upcall_mask &&
		  new->time.version == old->time.version + 4); /* a refusal counts */
	/* a vcpu that had none */
	r.offset = 128;
	xe_assert(vcpu_op(OP(initialise), 35, &r, 16) == -EINVAL);
	xe_assert(vcpu_op(OP(register_vcpu_info), 35, &r, 16) == 0);
	new = xe_vcpu_info(f.h, cpu(35));
	xe_assert(new->upcall_mask == 1 && new->upcall_pending == 1);
	take();
	xe_assert(ev(&f, d, XE_ABI_evtchn_op_send, (uint32_t[6]){port}) == 0 &&
		  new->pending_sel == 1 && new->upcall_pending == 1);
	/* another's only while it is down */
	init_vcpu(1, XE_VGCF_IN_KERNEL | XE_VGCF_ONLINE);
	xe_assert(vcpu_op(OP(register_vcpu_info), 1, &r, 16) == -EINVAL);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static void test_time(void)
{
	const uint64_t gva = XE_GUEST_BASE + 9 * 4096, xen = 0xffff800000000000,
		       none = 0x800000000000;
	struct xe_shared_info *s;
	struct xe_vcpu_time_info t, copy;

	begin(2);
	s = xe_shared_info(f.h, dom(d));
	pass(12345);
	xe_assert(ns(0, OP(register_vcpu_time_memory_area), xen) == (uint64_t)-EFAULT &&
		  ns(0, OP(register_vcpu_time_memory_area), none) == (uint64_t)-EFAULT &&
		  ns(0, OP(register_vcpu_time_memory_area), gva) == 0);
	t = s->vcpu[0].time;
	xe_assert(xe_guest_read(f.h, d, gva, &copy, sizeof(copy)) == 0 &&
		  !memcmp(&t, &copy, sizeof(t)));
	xe_assert(t.version % 2 == 0 && t.system_time == 12345 && t.tsc_timestamp == 12345);
	/* what a guest computes from it */
	for (uint64_t later = 1; later < 1ull << 60; later *= 7)
		xe_assert((uint64_t)((unsigned __int128)(later << t.tsc_shift) *
					     t.tsc_to_system_mul >>
				     32) == later);
	/* anew when it comes to run */
	pass(1000);
	xe_assert(xe_domain_pause(f.h, d) == 0 && s->vcpu[0].time.system_time == 12345);
	xe_assert(xe_domain_unpause(f.h, d) == 0 && s->vcpu[0].time.system_time == 13345 &&
		  s->vcpu[0].time.version == t.version + 2);
	s->vcpu[0].time.version = 7; /* as a hostile guest may leave it */
	xe_update_time(f.h, cpu(0));
	xe_assert(s->vcpu[0].time.version == 10 && s->wc_version % 2 == 0 && s->wc_version);
	stop(&f);
}

static void test_runstate(void)
{
	const uint64_t gva = XE_GUEST_BASE + 9 * 4096;
	struct xe_runstate_info r;
	uint32_t ipi;

	begin(2);
	ipi = bind_ipi(0);
	init_vcpu(1, XE_VGCF_IN_KERNEL);
	r = runstate(1);
	xe_assert(r.state == XE_OFFLINE && !r.time[XE_OFFLINE]);
	pass(100);
	r = runstate(0);
	xe_assert(r.state == XE_RUNNING && r.since == 0 && r.time[XE_RUNNING] == 100);
	r = runstate(1);
	xe_assert(r.state == XE_OFFLINE && r.time[XE_OFFLINE] == 100);
	xe_assert(call(0, 24, OP(up), 1, 0) == 0);
	pass(10);
	xe_assert(call(1, 29, SOP(block), 0, 0) == 0 && cpu(1)->blocked);
	pass(5);
	r = runstate(1);
	xe_assert(r.state == XE_BLOCKED && r.since == 110 && r.time[XE_RUNNING] == 10 &&
		  r.time[XE_BLOCKED] == 5 && r.time[XE_OFFLINE] == 100);
	/* paused while blocked: blocked */
	xe_assert(xe_domain_pause(f.h, d) == 0);
	pass(3);
	xe_assert(xe_domain_unpause(f.h, d) == 0);
	r = runstate(0);
	xe_assert(r.time[XE_OFFLINE] == 3 && r.time[XE_RUNNING] == 115 && r.since == 118);
	xe_assert(runstate(1).time[XE_BLOCKED] == 8);
	/* the area: written at once, then whenever the state changes */
	xe_assert(ns(0, OP(register_runstate_memory_area), 0xffff800000000000) ==
			  (uint64_t)-EFAULT &&
		  ns(0, OP(register_runstate_memory_area), BAD) == 0 &&
		  ns(0, OP(register_runstate_memory_area), gva) == 0);
	pass(2);
	xe_assert(xe_guest_read(f.h, d, gva, &r, sizeof(r)) == 0 && r.state == XE_RUNNING &&
		  r.time[XE_RUNNING] == 115);
	take();
	xe_assert(call(0, 29, SOP(block), 0, 0) == 0);
	xe_assert(xe_guest_read(f.h, d, gva, &r, sizeof(r)) == 0 && r.state == XE_BLOCKED &&
		  r.time[XE_RUNNING] == 117 && r.since == 120);
	xe_assert(xe_sched_next(f.h) == 0 && xe_sched_next(f.h) == 0); /* both are blocked */
	/* woken by an event for it, not by one for the other */
	pass(1);
	xe_assert(ev(&f, d, XE_ABI_evtchn_op_send, (uint32_t[6]){ipi}) == 0);
	xe_assert(!cpu(0)->blocked && cpu(1)->blocked && xe_sched_next(f.h) == 0 &&
		  xe_sched_next(f.h) == (int)d);
	stop(&f);
}

static void test_timers(void)
{
	uint64_t tick, tick1;

	begin(2);
	tick = 1ull << bind_virq(0, 0);
	tick1 = 1ull << bind_virq(0, 1);
	init_vcpu(1, XE_VGCF_IN_KERNEL | XE_VGCF_ONLINE);
	/* what nobody asked for: 100 Hz, while it runs */
	pass(35 * XE_MS);
	xe_assert(take() == (tick | tick1) && xe_host_next_timer(f.h) == 45 * XE_MS);
	pass(5 * XE_MS);
	xe_assert(!take());
	pass(5 * XE_MS);
	xe_assert(take() == (tick | tick1));
	xe_assert(call(0, 24, OP(stop_periodic_timer), 1, 0) == 0);
	xe_assert(call(0, 29, SOP(block), 0, 0) == 0);
	pass(50 * XE_MS);
	xe_assert(!take() && cpu(0)->blocked);
	xe_assert(call(0, 29, 0, 0, 0) == 0 && xe_host_next_timer(f.h) == now);
	pass(0); /* what it missed, once */
	xe_assert(take() == tick && xe_host_next_timer(f.h) == now + 10 * XE_MS);
	/* other periods; at once if that is longer ago */
	pass(3 * XE_MS);
	xe_assert(ns(0, OP(set_periodic_timer), 20 * XE_MS) == 0 && !take() &&
		  xe_host_next_timer(f.h) == now + 17 * XE_MS);
	xe_assert(ns(0, OP(set_periodic_timer), 2 * XE_MS) == 0 && take() == tick &&
		  xe_host_next_timer(f.h) == now + 2 * XE_MS);
	xe_assert(call(0, 24, OP(stop_periodic_timer), 0, 0) == 0 &&
		  xe_host_next_timer(f.h) == XE_NEVER);
	/* single shot */
	xe_assert(call(0, 15, now + 50, 0, 0) == 0 && !take() &&
		  xe_host_next_timer(f.h) == now + 50);
	pass(49);
	xe_assert(!take());
	pass(1);
	xe_assert(take() == tick && xe_host_next_timer(f.h) == XE_NEVER);
	xe_assert(call(0, 15, now, 0, 0) == 0 && take() == tick);
	xe_assert(call(0, 15, now + 9, 0, 0) == 0 && call(0, 15, 0, 0, 0) == 0 &&
		  xe_host_next_timer(f.h) == XE_NEVER && !take());
	xe_assert(call(0, 15, UINT64_MAX, 0, 0) == 0 && !take() &&
		  xe_host_next_timer(f.h) == now + 100 * XE_MS);
	xe_assert(call(0, 15, now + (1ull << 50), 0, 0) == 0 &&
		  xe_host_next_timer(f.h) == now + 100 * XE_MS);
	xe_assert(call(0, 15, now + (1ull << 50) - 1, 0, 0) == 0 &&
		  xe_host_next_timer(f.h) == now + (1ull << 50) - 1);
	xe_assert(ns(0, OP(set_singleshot_timer), now - 1) == 0 && take() == tick &&
		  xe_host_next_timer(f.h) == XE_NEVER);
	xe_assert(ns(0, OP(set_singleshot_timer), UINT64_MAX) == 0 && take() == tick);
	xe_assert(ns(0, OP(set_singleshot_timer), now + 7) == 0 && call(1, 15, now + 7, 0, 0) == 0);
	pass(7);
	xe_assert(take() == (tick | tick1));
	xe_assert(call(0, 15, now + 5, 0, 0) == 0 && xe_domain_destroy(f.h, d) == 0 &&
		  xe_host_next_timer(f.h) == XE_NEVER);
	stop(&f);
}

static int64_t poll(uint32_t vcpu, uint64_t gva, uint32_t n, xe_ns timeout)
{
	const struct xe_sched_poll p = {.ports = gva, .nr_ports = n, .timeout = timeout};

	return sched(vcpu, SOP(poll), &p, sizeof(p));
}

static void test_poll(void)
{
	struct xe_shared_info *s;
	uint32_t a, b, port[3], far = UINT32_MAX - 3;
	struct xe_work w;

	begin(2);
	init_vcpu(1, XE_VGCF_IN_KERNEL | XE_VGCF_ONLINE);
	s = xe_shared_info(f.h, dom(d));
	a = bind_ipi(0);
	b = bind_ipi(0);
	memcpy(port, (uint32_t[]){a, b, 60}, sizeof(port));
	xe_assert(xe_guest_write(f.h, d, ARR, port, sizeof(port)) == 0);
	xe_assert(poll(0, ARR, 129, 1) == -EINVAL && poll(0, BAD, 1, 1) == -EFAULT &&
		  poll(0, 0xffff800000000000, 0, 1) == -EFAULT && poll(0, ARR, 3, 1) == -EINVAL &&
		  poll(0, ARR + 8, 1, 1) == -EINVAL);
	xe_assert(xe_guest_write(f.h, d, ARR + 64, &far, 4) == 0 &&
		  poll(0, ARR + 64, 1, 1) == -EINVAL && !cpu(0)->blocked);
	/* what is pending is found before what is wrong */
	s->pending[0] = 1u << b;
	xe_assert(poll(0, ARR, 3, 0) == 0 && !cpu(0)->blocked);
	take();
	/* until the time */
	xe_assert(poll(0, ARR, 1, now + 100) == 0 && cpu(0)->blocked &&
		  xe_host_next_timer(f.h) == now + 100);
	pass(99);
	xe_assert(cpu(0)->blocked);
	pass(1);
	xe_assert(!cpu(0)->blocked && xe_host_next_work(f.h, &w) && w.kind == XE_WORK_UPCALL);
	xe_assert(poll(0, ARR, 1, now) == 0 && !cpu(0)->blocked);
	xe_assert(poll(0, ARR, 1, UINT64_MAX) == 0 && !cpu(0)->blocked);
	/* until its port is pending, masked or not */
	take();
	s->mask[0] = 1u << a | 1u << b;
	xe_assert(poll(0, ARR, 1, 0) == 0 && cpu(0)->blocked &&
		  xe_host_next_timer(f.h) == XE_NEVER);
	xe_vcpu_info(f.h, cpu(0))->upcall_mask = 1;
	xe_assert(call(1, 32, XE_ABI_evtchn_op_send, ARR + 4, 0) == 0 && cpu(0)->blocked);
	xe_assert(call(1, 32, XE_ABI_evtchn_op_send, ARR, 0) == 0 && !cpu(0)->blocked &&
		  !xe_vcpu_info(f.h, cpu(0))->upcall_pending);
	/* of several ports any one, also one that it did not name */
	take();
	xe_assert(poll(0, ARR, 2, now + 50) == 0 && cpu(0)->blocked);
	xe_assert(call(1, 32, XE_ABI_evtchn_op_send, ARR, 0) == 0 && !cpu(0)->blocked &&
		  xe_host_next_timer(f.h) == XE_NEVER);
	/* or by an upcall, whatever it polls */
	take();
	s->mask[0] = 0;
	xe_assert(poll(0, ARR, 1, 0) == 0 && cpu(0)->blocked);
	xe_assert(call(1, 32, XE_ABI_evtchn_op_send, ARR + 4, 0) == 0 && !cpu(0)->blocked);
	/* an upcall that is due: no waiting; if that is masked, there is */
	take();
	xe_vcpu_info(f.h, cpu(0))->upcall_pending = 1;
	xe_assert(poll(0, ARR, 1, 0) == 0 && cpu(0)->blocked);
	xe_vcpu_info(f.h, cpu(0))->upcall_mask = 0;
	xe_assert(poll(0, ARR, 1, 0) == 0 && !cpu(0)->blocked);
	/* block unmasks */
	xe_vcpu_info(f.h, cpu(0))->upcall_mask = 1;
	xe_assert(call(0, 29, SOP(block), 0, 0) == 0 && !cpu(0)->blocked &&
		  !xe_vcpu_info(f.h, cpu(0))->upcall_mask);
	take();
	xe_assert(call(0, 29, SOP(block), 0, 0) == 0 && cpu(0)->blocked &&
		  call(0, 6, 1, 0, 0) == 0 && cpu(0)->blocked);
	xe_assert(call(1, 24, OP(send_nmi), 0, 0) == 0 && !cpu(0)->blocked);
	stop(&f);
}

static int64_t watchdog(uint32_t id, uint32_t seconds)
{
	return sched(0, SOP(watchdog), (uint32_t[]){id, seconds}, 8);
}

static void test_watchdog(void)
{
	begin(1);
	xe_assert(watchdog(3, 1) == -EINVAL && watchdog(1, 0) == -EINVAL &&
		  watchdog(1, 5) == -EINVAL);
	xe_assert(watchdog(0, UINT32_MAX) == 1 && watchdog(0, 3) == 2 &&
		  watchdog(0, 3) == 0xffffffe4 && watchdog(1, 0) == 0 && watchdog(1, 0) == -EINVAL);
	for (int i = 0; i < 5; i++) {
		pass(3 * XE_SECOND - 1);
		xe_assert(!dom(d)->shut_down && watchdog(2, 3) == 0);
	}
	xe_assert(watchdog(0, 9) == 1);
	pass(3 * XE_SECOND);
	xe_assert(dom(d)->shut_down && dom(d)->shutdown_code == 4 && info(&f, d).crashed);
	expect(&f, XE_VMM_FAULT, d, XE_ABI_fault_KERNEL);
	pass(9 * XE_SECOND);
	expect_none(&f);
	xe_assert(xe_host_next_timer(f.h) == XE_NEVER);
	stop(&f);
	begin(1);
	xe_assert(watchdog(0, 0) == 1 && dom(d)->shutdown_code == 4);
	stop(&f);
}

static void test_shutdown(void)
{
	const struct xe_sched_remote_shutdown self = {.domain_id = SELF},
					      absent = {.domain_id = 77};
	struct xe_sched_remote_shutdown r = {.reason = 0x1fe};
	uint32_t a[6] = {3}, reason = 0x102, other;
	uint64_t *pending;

	begin(1);
	other = guest(&f);
	r.domain_id = (uint16_t)d;
	xe_assert(ev(&f, 0, XE_ABI_evtchn_op_bind_virq, a) == 0);
	pending = &xe_shared_info(f.h, dom(0))->pending[0];
	xe_assert(op(&f, 0, 29, SOP(remote_shutdown), (void *)&self, 8) == -ESRCH &&
		  op(&f, 0, 29, SOP(remote_shutdown), (void *)&absent, 8) == -ESRCH);
	xe_assert(op(&f, d, 29, SOP(remote_shutdown), &r, 8) == -EPERM &&
		  op(&f, other, 29, SOP(remote_shutdown), &r, 8) == -EPERM && !*pending);
	/* a code that is said beforehand is the one that counts */
	xe_assert(sched(0, SOP(shutdown_code), &reason, 4) == 0 && !dom(d)->shut_down &&
		  info(&f, d).runnable && dom(d)->shutdown_code == 2);
	xe_assert(op(&f, 0, 29, SOP(remote_shutdown), &r, 8) == 0 && dom(d)->shut_down &&
		  dom(d)->shutdown_code == 2 && !info(&f, d).runnable && *pending == 2);
	xe_assert(cpu(0)->runstate == XE_OFFLINE);
	expect_none(&f);
	*pending = 0;
	xe_assert(op(&f, 0, 29, SOP(remote_shutdown), &r, 8) == 0 && !*pending);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && *pending == 2);
	*pending = 0;
	d = other;
	xe_domain_crash(f.h, dom(d));
	xe_assert(info(&f, d).crashed && dom(d)->shutdown_code == 3 && *pending == 2);
	expect(&f, XE_VMM_FAULT, d, XE_ABI_fault_KERNEL);
	d = guest(&f);
	xe_assert(call(0, 6, 2, 5, 0) == 0 && dom(d)->shutdown_code == 5 && !info(&f, d).crashed);
	stop(&f);
}

struct probe {
	struct xe_timer t;
	xe_ns fired;
};

static void note(struct xe_host *h, void *owner)
{
	struct probe *p = owner;

	p->fired = h->now;
}

/* The heap against the obvious. */
static void test_heap(void)
{
	static struct probe p[200];

	begin(1);
	srand(3);
	for (int i = 0; i < 200; i++)
		xe_host_timer_init(&p[i].t, note, &p[i]);
	for (int i = 0; i < 20000; i++) {
		struct probe *q = &p[rand() % 200];
		xe_ns first = XE_NEVER;

		if (rand() % 3)
			xe_host_timer_arm(f.h, &q->t, now + 1 + (xe_ns)rand() % 500);
		else
			xe_host_timer_stop(f.h, &q->t);
		for (int k = 0; k < 200; k++)
			if (p[k].t.slot && p[k].t.at < first)
				first = p[k].t.at;
		xe_assert(xe_host_next_timer(f.h) == first);
		if (rand() % 5)
			continue;
		pass((xe_ns)rand() % 20);
		for (int k = 0; k < 200; k++)
			xe_assert(!p[k].t.slot || p[k].t.at > now);
	}
	for (int k = 0; k < 200; k++)
		xe_host_timer_stop(f.h, &p[k].t);
	xe_assert(xe_host_next_timer(f.h) == XE_NEVER && p[0].fired <= now);
	xe_host_set_time(f.h, 1);
	xe_assert(f.h->now == now); /* never back */
	stop(&f);
}

int main(void)
{
	test_answers();
	test_context();
	test_vcpu_info();
	test_time();
	test_runstate();
	test_timers();
	test_poll();
	test_watchdog();
	test_shutdown();
	test_heap();
	puts("scheduling: ok");
	return 0;
}
