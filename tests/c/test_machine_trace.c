/* The trace through a machine: what a hypercall leaves, order, the ring's end, the hash; and that
 * the machine follows exactly the domains that changed. */
#include <string.h>

#include "base/abi.h"
#include "base/assert.h"
#include "base/domset.h"
#include "machine.h"

#define ARG (XE_GUEST_BASE + 0x1ff8) /* crosses a page */
#define IN_PAGE (XE_GUEST_BASE + 0x3000)

struct fix {
	struct xe_machine *m;
	struct xe_host *h;
	uint32_t control, guest;
};

static void start(struct fix *f, uint32_t records)
{
	struct xe_machine_config cfg = {.frames = 8192, .seed = 5, .trace_records = records};
	struct xe_domain_config domain = {.pages = 256, .max_pages = 512, .privileged = true};

	xe_assert(xe_machine_create(&f->m, &cfg) == 0);
	f->h = xe_machine_host(f->m);
	xe_assert(xe_domain_create(f->h, &domain, &f->control) == 0);
	domain.privileged = false;
	xe_assert(xe_domain_create(f->h, &domain, &f->guest) == 0);
	xe_assert(xe_machine_pause(f->m, f->control, false) == 0);
	xe_assert(xe_machine_pause(f->m, f->guest, false) == 0);
}

static void stop(struct fix *f)
{
	xe_machine_destroy(f->m);
}

static int64_t call(struct fix *f, uint32_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t arg[5] = {a, b, c, 4, 5};

	return xe_machine_hypercall(f->m, f->guest, 0, nr, arg);
}

static const struct xe_trace_record *record(struct fix *f, uint64_t from_end)
{
	const struct xe_trace *t = xe_machine_trace(f->m);

	xe_assert(xe_trace_count(t) > from_end);
	return &t->record[(xe_trace_count(t) - 1 - from_end) & t->mask];
}

static void expect_registers(const struct xe_trace_record *r, uint32_t domid, uint16_t nr,
			     const uint64_t a[6])
{
	xe_assert(r->kind == XE_TRACE_HYPERCALL && r->node == domid && r->vcpu == 0);
	xe_assert(r->nr == nr && r->time == 0);
	xe_assert(memcmp(r->a, a, sizeof(r->a)) == 0);
}

static void test_registers(void)
{
	struct fix f;

	start(&f, 64);
	xe_assert(call(&f, XE_ABI_hypercall_xen_version, 0, 2, 3) > 0);
	expect_registers(record(&f, 0), f.guest, XE_ABI_hypercall_xen_version,
			 (uint64_t[]){0, 2, 3, 4, 5, 4 << 16 | 17});
	call(&f, 60, 1, 2, 3);
	expect_registers(record(&f, 0), f.guest, 60, (uint64_t[]){1, 2, 3, 4, 5, (uint64_t)-38});
	call(&f, 0xffffffff, 1, 2, 3);
	expect_registers(record(&f, 0), f.guest, XE_TRACE_NR,
			 (uint64_t[]){1, 2, 3, 4, 5, (uint64_t)-38});
	/* nothing could be copied: the registers say what was tried */
	call(&f, XE_ABI_hypercall_event_channel_op, XE_ABI_evtchn_op_send, 0xdead000, 3);
	expect_registers(record(&f, 0), f.guest, XE_ABI_hypercall_event_channel_op,
			 (uint64_t[]){XE_ABI_evtchn_op_send, 0xdead000, 3, 4, 5, (uint64_t)-14});
	stop(&f);
}

/* The struct as it is after the call, no byte more of the guest's memory. */
static void alloc_unbound(struct fix *f, uint64_t gva)
{
	const struct xe_trace_record *r;
	uint8_t junk[32];
	struct {
		uint16_t dom, remote;
		uint32_t port;
	} op = {XE_ABI_domid_SELF, 0, 0};
	uint64_t word;

	memset(junk, 0xa5, sizeof(junk));
	xe_assert(xe_guest_write(f->h, f->guest, gva, junk, sizeof(junk)) == 0);
	xe_assert(xe_guest_write(f->h, f->guest, gva, &op, sizeof(op)) == 0);
	xe_assert(call(f, XE_ABI_hypercall_event_channel_op, XE_ABI_evtchn_op_alloc_unbound, gva,
		       0) == 0);
	xe_assert(xe_guest_read(f->h, f->guest, gva, &op, sizeof(op)) == 0 && op.port);
	memcpy(&word, &op, sizeof(word));
	r = record(f, 0);
	xe_assert(r->nr == (XE_ABI_hypercall_event_channel_op | XE_TRACE_STRUCT));
	xe_assert(r->a[0] == XE_ABI_evtchn_op_alloc_unbound && r->a[1] == gva);
	xe_assert(r->a[2] == word && r->a[3] == 0 && r->a[4] == 0 && r->a[5] == 0);
}

static void test_struct(void)
{
	struct fix f;

	start(&f, 64);
	alloc_unbound(&f, IN_PAGE);
	alloc_unbound(&f, IN_PAGE + 4096 - 8); /* the last bytes of a page */
	alloc_unbound(&f, ARG - 4);
	stop(&f);
}

static void test_mmu_update_has_count_and_domain(void)
{
	struct fix f;
	uint64_t update[4] = {2 | 0x5000, 7, 2, 9};
	const uint64_t arg[5] = {IN_PAGE, 2, 0, XE_ABI_domid_SELF, 0};
	const struct xe_trace_record *r;

	start(&f, 64);
	xe_assert(xe_guest_write(f.h, f.guest, IN_PAGE, update, sizeof(update)) == 0);
	xe_machine_hypercall(f.m, f.guest, 0, XE_ABI_hypercall_mmu_update, arg);
	r = record(&f, 0);
	xe_assert(r->nr == (XE_ABI_hypercall_mmu_update | XE_TRACE_STRUCT));
	xe_assert(r->a[0] == ((uint64_t)XE_ABI_domid_SELF << 32 | 2));
	xe_assert(r->a[1] == IN_PAGE && r->a[2] == update[0] && r->a[3] == update[1]);
	xe_assert(r->a[4] == 0); /* an entry has 16 bytes */
	stop(&f);
}

static void test_multicall_entries(void)
{
	struct {
		uint64_t op, result, args[6];
	} e[3] = {
		{XE_ABI_hypercall_xen_version, 0, {7}},
		{XE_ABI_hypercall_multicall, 0, {0}},
		{60, 0, {1, 2, 3}},
	};
	uint64_t before;
	struct fix f;

	start(&f, 64);
	xe_assert(xe_guest_write(f.h, f.guest, IN_PAGE, e, sizeof(e)) == 0);
	before = xe_trace_count(xe_machine_trace(f.m));
	xe_assert(call(&f, XE_ABI_hypercall_multicall, IN_PAGE, 3, 0) == 0);
	/* the nested one was not made */
	xe_assert(xe_trace_count(xe_machine_trace(f.m)) == before + 3);
	expect_registers(record(&f, 2), f.guest, XE_ABI_hypercall_xen_version,
			 (uint64_t[]){7, 0, 0, 0, 0, 4096});
	expect_registers(record(&f, 1), f.guest, 60, (uint64_t[]){1, 2, 3, 0, 0, (uint64_t)-38});
	expect_registers(record(&f, 0), f.guest, XE_ABI_hypercall_multicall,
			 (uint64_t[]){IN_PAGE, 3, 0, 4, 5, 0});
	stop(&f);
}

/* What the hypervisor writes for a vcpu that wakes up is no argument. */
static void test_unblocked_by_call(void)
{
	uint64_t area = IN_PAGE + 256;
	struct fix f;

	start(&f, 64);
	xe_assert(xe_guest_write(f.h, f.guest, IN_PAGE, &area, sizeof(area)) == 0);
	xe_assert(call(&f, XE_ABI_hypercall_vcpu_op, XE_ABI_vcpu_op_register_runstate_memory_area,
		       0, IN_PAGE) == 0);
	xe_assert(call(&f, XE_ABI_hypercall_sched_op, XE_ABI_sched_op_block, 0, 0) == 0);
	call(&f, XE_ABI_hypercall_xen_version, 0, 2, 3);
	expect_registers(record(&f, 0), f.guest, XE_ABI_hypercall_xen_version,
			 (uint64_t[]){0, 2, 3, 4, 5, 4 << 16 | 17});
	stop(&f);
}

static void test_ring_wraps(void)
{
	struct fix f;
	const struct xe_trace *t;

	start(&f, 4);
	for (uint64_t i = 0; i < 11; i++)
		call(&f, 60, i, 0, 0);
	t = xe_machine_trace(f.m);
	xe_assert(t->mask == 3);
	for (uint64_t i = 0; i < 4; i++)
		xe_assert(record(&f, i)->a[0] == 10 - i);
	stop(&f);
}

/* Of these records in a ring of that size. */
static uint64_t hash_of(const struct xe_trace_record *record, uint64_t n, uint64_t size,
			uint64_t seed)
{
	static struct xe_trace_record ring[256];
	struct xe_trace t = {0};

	xe_assert(size <= 256);
	xe_trace_init(&t, ring, size, seed);
	for (uint64_t i = 0; i < n; i++) {
		struct xe_trace_record *r = xe_trace_next(&t);

		*r = record[i];
		xe_trace_add(&t, record[i].time, r);
		xe_assert(xe_trace_count(&t) == i + 1);
		xe_assert(memcmp(&ring[i & (size - 1)], &record[i], sizeof(*record)) == 0);
	}
	return xe_trace_hash(&t);
}

/* Each bit of each word, and the order. */
static void test_hash(void)
{
	struct xe_trace_record r = {.time = 77, .head = 0x1234567, .a = {1, ~0ull, 3, 4, 0, 6}};
	struct xe_trace_record other[2] = {r, r}, turned[2];
	uint64_t words[8], hash = hash_of(&r, 1, 64, 9), seen[512];
	int n = 0;

	for (int word = 0; word < 8; word++) {
		for (int bit = 0; bit < 64; bit++) {
			memcpy(words, &r, sizeof(r));
			words[word] ^= 1ull << bit;
			memcpy(&other[1], words, sizeof(r));
			seen[n] = hash_of(&other[1], 1, 64, 9);
			xe_assert(seen[n] != hash);
			for (int i = 0; i < n; i++)
				xe_assert(seen[i] != seen[n]);
			n++;
			turned[0] = other[1];
			turned[1] = other[0];
			xe_assert(hash_of(other, 2, 64, 9) != hash_of(turned, 2, 64, 9));
		}
	}
	xe_assert(hash_of(&r, 1, 64, 10) != hash);
}

/* It is the same whenever records are settled, and records far apart have an order, too. */
static void test_hash_of_batches(void)
{
	static struct xe_trace_record record[300];
	uint64_t last = 0;

	for (uint64_t i = 0; i < 300; i++) {
		record[i] = (struct xe_trace_record){.time = i, .head = i << 60 | i};
		for (int k = 0; k < XE_TRACE_ARGS; k++)
			record[i].a[k] = (i + 1) * 0x9e3779b97f4a7c15u << k;
	}
	for (uint64_t n = 1; n <= 300; n++) {
		uint64_t hash = hash_of(record, n, 256, 5);

		xe_assert(hash != last);
		for (uint64_t size = 1; size < 256; size *= 2)
			xe_assert(hash_of(record, n, size, 5) == hash);
		last = hash;
	}
	for (uint64_t i = 1; i < 300; i++) {
		struct xe_trace_record first = record[0];

		record[0] = record[i];
		record[i] = first;
		xe_assert(hash_of(record, 300, 256, 5) != last);
		record[i] = record[0];
		record[0] = first;
	}
}

static uint64_t hash_of_run(uint64_t last)
{
	uint64_t hash;
	struct fix f;

	start(&f, 16);
	for (uint64_t i = 0; i < 40; i++)
		call(&f, 60, i, 0, 0);
	call(&f, 60, last, 0, 0);
	hash = xe_trace_hash(xe_machine_trace(f.m));
	stop(&f);
	return hash;
}

static void test_same_run_same_hash(void)
{
	xe_assert(hash_of_run(1) == hash_of_run(1));
	xe_assert(hash_of_run(1) != hash_of_run(2));
}

static void test_domset(void)
{
	static const uint32_t members[] = {0, 1, 63, 64, 127, 2048, 4032, 4095};
	struct xe_domset s = {0};
	int at = -1;

	xe_assert(xe_domset_next(&s, 0) == -1 && xe_domset_next(&s, XE_MAX_DOMAINS) == -1);
	for (int i = 7; i >= 0; i--)
		xe_domset_add(&s, members[i]);
	for (int i = 0; i < 8; i++) {
		at = xe_domset_next(&s, (uint32_t)at + 1);
		xe_assert(at == (int)members[i]);
	}
	xe_assert(xe_domset_next(&s, 4096) == -1);
	for (int i = 0; i < 8; i++) {
		xe_assert(xe_domset_next(&s, 0) == (int)members[i]);
		xe_domset_remove(&s, members[i]);
	}
	xe_assert(s.any == 0);
}

static int ticks(struct fix *f, uint32_t domid)
{
	struct xe_work work[64];
	int n = 0, got;

	for (int i = 0; i < 4; i++) {
		got = xe_machine_run(f->m, xe_machine_now(f->m) + XE_SECOND / XE_TICK_HZ, 0, work,
				     64);
		for (int k = 0; k < got; k++)
			n += work[k].kind == XE_WORK_TICK && work[k].node == domid;
	}
	return n;
}

/* Whether a domain gets its interrupts follows each way of stopping and waking it. */
static void test_follows_what_changed(void)
{
	struct xe_tcp_config tcp = {.seed = 1};
	struct fix f;

	start(&f, 64);
	xe_assert(ticks(&f, f.guest) == 0); /* no stack, no kernel */
	xe_assert(xe_machine_attach_stack(f.m, f.guest, &tcp) == 0);
	xe_assert(ticks(&f, f.guest) > 0);
	xe_assert(xe_machine_pause(f.m, f.guest, true) == 0);
	xe_assert(ticks(&f, f.guest) == 0);
	xe_assert(xe_machine_pause(f.m, f.guest, false) == 0);
	xe_assert(ticks(&f, f.guest) > 0);
	xe_assert(xe_machine_break(f.m, f.guest, XE_KERNEL_STALLS,
				   xe_machine_now(f.m) + 5 * XE_SECOND / XE_TICK_HZ) == 0);
	xe_assert(ticks(&f, f.guest) == 0);
	ticks(&f, f.guest);
	xe_assert(ticks(&f, f.guest) > 0);
	xe_assert(xe_guest_write(f.h, f.guest, IN_PAGE, &(uint32_t){0}, 4) == 0);
	xe_assert(call(&f, XE_ABI_hypercall_sched_op, XE_ABI_sched_op_shutdown, IN_PAGE, 0) == 0);
	xe_assert(ticks(&f, f.guest) == 0);
	xe_assert(xe_machine_destroy_domain(f.m, f.guest) == 0);
	xe_assert(ticks(&f, f.guest) == 0);
	stop(&f);
}

int main(void)
{
	test_registers();
	test_struct();
	test_mmu_update_has_count_and_domain();
	test_multicall_entries();
	test_unblocked_by_call();
	test_ring_wraps();
	test_hash();
	test_hash_of_batches();
	test_same_run_same_hash();
	test_domset();
	test_follows_what_changed();
	return 0;
}
