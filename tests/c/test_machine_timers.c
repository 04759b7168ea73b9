/* The host's timers in the machine: they fire at their time, in order, and cost nothing when there
 * are none. */
#include <stdio.h>
#include <string.h>

#include "base/abi.h"
#include "base/assert.h"
#include "machine.h"
#include "xen/public.h"

#define ARG (XE_GUEST_BASE + 0x1000)

static struct xe_machine *m;
static struct xe_host *h;

static uint32_t create(bool privileged)
{
	const struct xe_domain_config c = {
		.pages = 256, .max_pages = 256, .privileged = privileged};
	uint32_t id;

	xe_assert(xe_domain_create(h, &c, &id) == 0 && xe_machine_pause(m, id, false) == 0);
	return id;
}

static int64_t call(uint32_t d, uint32_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return xe_machine_hypercall(m, d, 0, nr, (const uint64_t[5]){a, b, c});
}

static uint32_t bind_timer(uint32_t d)
{
	struct xe_evtchn_bind_virq v = {.virq = XE_ABI_virq_TIMER};

	xe_assert(xe_guest_write(h, d, ARG, &v, sizeof(v)) == 0 &&
		  call(d, 32, XE_ABI_evtchn_op_bind_virq, ARG, 0) == 0 &&
		  xe_guest_read(h, d, ARG, &v, sizeof(v)) == 0);
	return v.port;
}

/* The upcalls until a time; their instants. */
static int upcalls(xe_ns until, xe_ns *at, uint32_t *node, int cap)
{
	struct xe_work w[16];
	int n = 0;

	while (xe_machine_now(m) < until) {
		int k = xe_machine_run(m, until, 0, w, 16);

		for (int i = 0; i < k; i++) {
			if (w[i].kind != XE_WORK_UPCALL)
				continue;
			xe_assert(n < cap);
			at[n] = xe_machine_now(m);
			node[n++] = w[i].node;
			while (xe_next_pending_port(h, w[i].node) >= 0)
				;
		}
	}
	return n;
}

static uint64_t run_all(void)
{
	const struct xe_machine_config cfg = {.frames = 4096, .seed = 1, .trace_records = 1 << 12};
	uint32_t node[16], d, e, watchdog[2] = {0, 2};
	uint64_t events, hash;
	xe_ns at[16];

	xe_assert(xe_machine_create(&m, &cfg) == 0);
	h = xe_machine_host(m);
	create(true);
	d = create(false);
	e = create(false);
	xe_assert(upcalls(XE_SECOND, at, node, 16) == 0);
	events = xe_machine_counters(m)->events;
	/* single shots; the machine's own ticks and checks go on */
	bind_timer(d);
	bind_timer(e);
	xe_assert(call(d, 24, XE_ABI_vcpu_op_stop_periodic_timer, 0, 0) == 0 &&
		  call(e, 24, XE_ABI_vcpu_op_stop_periodic_timer, 0, 0) == 0);
	xe_assert(call(d, 15, XE_SECOND + 700, 0, 0) == 0 &&
		  call(e, 15, XE_SECOND + 300, 0, 0) == 0);
	xe_assert(upcalls(XE_SECOND + 5000, at, node, 16) == 2 && at[0] == XE_SECOND + 300 &&
		  node[0] == e && at[1] == XE_SECOND + 700 && node[1] == d);
	xe_assert(xe_machine_counters(m)->events <= events + 4);
	xe_assert(call(d, 15, xe_machine_now(m) + 300, 0, 0) == 0 && call(d, 15, 0, 0, 0) == 0 &&
		  upcalls(XE_SECOND + 10000, at, node, 16) == 0);
	/* 100 Hz for who asks for it */
	xe_assert(xe_guest_write(h, d, ARG, &(uint64_t){20 * XE_MS}, 8) == 0 &&
		  call(d, 24, XE_ABI_vcpu_op_set_periodic_timer, 0, ARG) == 0);
	xe_assert(upcalls(XE_SECOND + 90 * XE_MS, at, node, 16) == 4 &&
		  at[0] == XE_SECOND + 20 * XE_MS && at[3] - at[0] == 60 * XE_MS);
	/* a watchdog ends its domain */
	xe_assert(xe_guest_write(h, e, ARG, watchdog, 8) == 0 &&
		  call(e, 29, XE_ABI_sched_op_watchdog, ARG, 0) == 1 &&
		  call(d, 24, XE_ABI_vcpu_op_stop_periodic_timer, 0, 0) == 0);
	struct xe_domain_info i;
	upcalls(3 * XE_SECOND, at, node, 16);
	xe_assert(xe_domain_info(h, e, &i) == 0 && i.runnable);
	upcalls(4 * XE_SECOND, at, node, 16);
	xe_assert(xe_domain_info(h, e, &i) == 0 && !i.runnable && i.crashed);
	hash = xe_trace_hash(xe_machine_trace(m));
	xe_machine_destroy(m);
	return hash;
}

int main(void)
{
	uint64_t first = run_all();

	xe_assert(first == run_all()); /* the same again */
	puts("timers of the machine: ok");
	return 0;
}
