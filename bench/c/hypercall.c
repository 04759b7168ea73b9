/* Hypercalls from C, on a machine whose trace is on; see hypercall.h. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/abi.h"
#include "clock.h"
#include "machine.h"
#include "xen/abi/grant_table.h"
#include "xen/public.h"

#include "hypercall.h"

enum {
	PAGES = 64,
	SMALL = 24, /* of the other domains */
	ENTRIES = 64,
	WORK = 16,
	REF = 8,
};

/* Pages of the two domains that work. */
#define ARG XE_GUEST_BASE
#define LIST (XE_GUEST_BASE + 0x1000)
#define GRANTED 2
#define SPARE (XE_GUEST_BASE + 0x3000) /* where others' pages are mapped */
#define TABLE (XE_GUEST_BASE + 0x4000)

struct bench_host {
	struct xe_machine *machine;
	struct xe_host *host;
	uint32_t domid, peer;
	uint32_t port, peer_port;
	uint64_t spare; /* the entry that maps SPARE */
	uint64_t other; /* one that maps another page there */
	int64_t grants; /* 0: they work */
};

static int64_t call(struct bench_host *b, uint32_t domid, uint32_t nr, uint64_t a0, uint64_t a1,
		    uint64_t a2)
{
	const uint64_t arg[5] = {a0, a1, a2, 0, 0};

	return xe_machine_hypercall(b->machine, domid, 0, nr, arg);
}

static int add_domain(struct bench_host *b, bool privileged, uint64_t pages, uint32_t *domid)
{
	struct xe_domain_config cfg = {
		.pages = pages, .max_pages = pages, .privileged = privileged, .no_ip = true};
	int rc = xe_domain_create(b->host, &cfg, domid);

	return rc ? rc : xe_machine_pause(b->machine, *domid, false);
}

static int event_op(struct bench_host *b, uint32_t domid, uint32_t op, void *arg, size_t n)
{
	int64_t rc = xe_guest_write(b->host, domid, ARG, arg, n);

	if (!rc)
		rc = call(b, domid, XE_ABI_hypercall_event_channel_op, op, ARG, 0);
	return rc ? (int)rc : xe_guest_read(b->host, domid, ARG, arg, n);
}

static int connect(struct bench_host *b)
{
	struct xe_evtchn_alloc_unbound a = {.dom = XE_ABI_domid_SELF,
					    .remote_dom = (uint16_t)b->domid};
	struct xe_evtchn_bind_interdomain i = {.remote_dom = (uint16_t)b->peer};
	int rc = event_op(b, b->peer, XE_ABI_evtchn_op_alloc_unbound, &a, sizeof(a));

	b->peer_port = i.remote_port = a.port;
	if (!rc)
		rc = event_op(b, b->domid, XE_ABI_evtchn_op_bind_interdomain, &i, sizeof(i));
	b->port = i.local_port;
	return rc;
}

/* The peer grants a page: in its own table, which it maps. */
static int64_t grant(struct bench_host *b)
{
	struct xe_gnttab_setup setup = {
		.dom = XE_ABI_domid_SELF, .nr_frames = 1, .frame_list = LIST};
	struct xe_grant_entry entry = {.flags = 1, .domid = (uint16_t)b->domid};
	uint64_t frame, maddr;
	int64_t rc = xe_guest_write(b->host, b->peer, ARG, &setup, sizeof(setup));

	if (!rc)
		rc = call(b, b->peer, XE_ABI_hypercall_grant_table_op, XE_ABI_grant_op_setup_table,
			  ARG, 1);
	if (!rc)
		rc = xe_guest_read(b->host, b->peer, LIST, &frame, sizeof(frame));
	if (!rc)
		rc = call(b, b->peer, XE_ABI_hypercall_update_va_mapping, TABLE,
			  frame << XE_PAGE_SHIFT | 0x67, 0);
	if (!rc)
		rc = xe_guest_translate(b->host, b->peer,
					XE_GUEST_BASE + GRANTED * (uint64_t)XE_PAGE_SIZE, &maddr);
	entry.frame = (uint32_t)(maddr >> XE_PAGE_SHIFT);
	return rc ? rc
		  : xe_guest_write(b->host, b->peer, TABLE + REF * sizeof(entry), &entry,
				   sizeof(entry));
}

static int prepare(struct bench_host *b)
{
	struct xe_multicall_entry e = {.op = XE_ABI_hypercall_xen_version};
	uint64_t maddr = 0;
	int rc = connect(b);

	for (uint64_t i = 0; rc == 0 && i < ENTRIES; i++)
		rc = xe_guest_write(b->host, b->domid, LIST + i * sizeof(e), &e, sizeof(e));
	if (!rc)
		rc = xe_guest_translate(b->host, b->domid, SPARE, &maddr);
	b->spare = maddr | 0x67;
	b->other = maddr + XE_PAGE_SIZE; /* a frame that the domain has, too */
	if (!rc)
		rc = xe_guest_translate(b->host, b->domid, SPARE + XE_PAGE_SIZE, &b->other);
	b->other |= 0x67;
	if (!rc)
		b->grants = grant(b);
	return rc;
}

struct bench_host *bench_host_open(int real, uint32_t domains)
{
	struct xe_machine_config cfg = {.frames = 4096 + domains * (uint64_t)(SMALL + 8),
					.real = real,
					.trace_records = 65536};
	struct bench_host *b = calloc(1, sizeof(*b));
	uint32_t domid;
	int rc;

	if (!b)
		return NULL;
	rc = xe_machine_create(&b->machine, &cfg);
	if (!rc) {
		b->host = xe_machine_host(b->machine);
		rc = add_domain(b, true, PAGES, &domid);
	}
	for (uint32_t i = 3; rc == 0 && i < domains; i++)
		rc = add_domain(b, false, SMALL, &domid);
	if (!rc)
		rc = add_domain(b, false, PAGES, &b->domid);
	if (!rc)
		rc = add_domain(b, false, PAGES, &b->peer);
	if (!rc)
		rc = prepare(b);
	if (rc) {
		bench_host_close(b);
		errno = -rc;
		return NULL;
	}
	return b;
}

void bench_host_close(struct bench_host *b)
{
	if (!b)
		return;
	xe_machine_destroy(b->machine);
	free(b);
}

int64_t bench_version(struct bench_host *b)
{
	return call(b, b->domid, XE_ABI_hypercall_xen_version, 0, 0, 0);
}

int64_t bench_can_grant(struct bench_host *b)
{
	return b->grants;
}

uint64_t bench_machine_hypercall(struct bench_host *b, uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		call(b, b->domid, XE_ABI_hypercall_xen_version, 0, i, 0);
	return bench_now() - start;
}

uint64_t bench_host_hypercall(struct bench_host *b, uint64_t count)
{
	const uint64_t arg[5] = {0};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		xe_hypercall(b->host, b->domid, XE_ABI_hypercall_xen_version, arg, 0);
	return bench_now() - start;
}

uint64_t bench_event(struct bench_host *b, uint64_t count)
{
	struct xe_work work[WORK];
	uint64_t start;

	if (xe_guest_write(b->host, b->domid, ARG, &b->port, sizeof(b->port)))
		return 0;
	xe_machine_run(b->machine, xe_machine_now(b->machine), 0, work, WORK);
	while (xe_next_pending_port(b->host, b->peer) >= 0)
		;
	start = bench_now();
	for (uint64_t i = 0; i < count; i++) {
		int64_t rc = call(b, b->domid, XE_ABI_hypercall_event_channel_op,
				  XE_ABI_evtchn_op_send, ARG, 0);
		int n = xe_machine_run(b->machine, xe_machine_now(b->machine), 0, work, WORK);

		if (rc || n != 1 || work[0].kind != XE_WORK_UPCALL || work[0].node != b->peer ||
		    xe_next_pending_port(b->host, b->peer) != (int)b->peer_port ||
		    xe_next_pending_port(b->host, b->peer) >= 0)
			return 0;
	}
	return bench_now() - start;
}

static bool map_and_unmap(struct bench_host *b)
{
	struct xe_gnttab_map map = {
		.host_addr = SPARE, .flags = 2, .ref = REF, .dom = (uint16_t)b->peer};
	struct xe_gnttab_unmap unmap = {.host_addr = SPARE};

	xe_guest_write(b->host, b->domid, ARG, &map, sizeof(map));
	if (call(b, b->domid, XE_ABI_hypercall_grant_table_op, XE_ABI_grant_op_map_grant_ref, ARG,
		 1))
		return false;
	xe_guest_read(b->host, b->domid, ARG, &map, sizeof(map));
	if (map.status)
		return false;
	unmap.handle = map.handle;
	xe_guest_write(b->host, b->domid, ARG, &unmap, sizeof(unmap));
	if (call(b, b->domid, XE_ABI_hypercall_grant_table_op, XE_ABI_grant_op_unmap_grant_ref, ARG,
		 1))
		return false;
	xe_guest_read(b->host, b->domid, ARG, &unmap, sizeof(unmap));
	return unmap.status == 0;
}

uint64_t bench_grant(struct bench_host *b, uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		if (!map_and_unmap(b))
			return 0;
	return bench_now() - start;
}

uint64_t bench_multicall(struct bench_host *b, uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i += ENTRIES)
		if (call(b, b->domid, XE_ABI_hypercall_multicall, LIST, ENTRIES, 0))
			return 0;
	return bench_now() - start;
}

uint64_t bench_map(struct bench_host *b, uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		if (call(b, b->domid, XE_ABI_hypercall_update_va_mapping, SPARE,
			 i & 1 ? b->other : b->spare, 0))
			return 0;
	return bench_now() - start;
}

uint64_t bench_create(struct bench_host *b, uint64_t count)
{
	uint64_t start = bench_now();
	uint32_t domid;

	for (uint64_t i = 0; i < count; i++)
		if (add_domain(b, false, SMALL, &domid) ||
		    xe_machine_destroy_domain(b->machine, domid))
			return 0;
	return bench_now() - start;
}

uint64_t bench_machines(uint64_t count)
{
	struct xe_machine_config cfg = {.frames = 65536, .trace_records = 65536};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++) {
		struct xe_machine *m;

		if (xe_machine_create(&m, &cfg))
			return 0;
		xe_machine_destroy(m);
	}
	return bench_now() - start;
}

uint64_t bench_system_call(uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		syscall(SYS_getppid);
	return bench_now() - start;
}

static int64_t noop(void *m, uint32_t domid, uint32_t nr, const uint64_t arg[5])
{
	return nr;
}

uint64_t bench_call(uint64_t count)
{
	int64_t (*volatile function)(void *, uint32_t, uint32_t, const uint64_t[5]) = noop;
	const uint64_t arg[5] = {0};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		function(NULL, 1, XE_ABI_hypercall_xen_version, arg);
	return bench_now() - start;
}

struct words {
	uint64_t word[8];
};

static int64_t sum(struct words w)
{
	return (int64_t)(w.word[0] + w.word[7]);
}

uint64_t bench_struct_call(uint64_t count)
{
	int64_t (*volatile function)(struct words) = sum;
	struct words w = {{1}};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++) {
		function(w);
		BENCH_BARRIER();
	}
	return bench_now() - start;
}

uint64_t bench_filled_call(uint64_t count)
{
	int64_t (*volatile function)(struct words) = sum;
	struct words w;
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++) {
		for (int k = 0; k < 8; k++)
			w.word[k] = i + (uint64_t)k;
		BENCH_BARRIER();
		function(w);
	}
	return bench_now() - start;
}

int64_t bench_nothing(uint32_t domid, uint32_t nr, uint64_t a1)
{
	return (int64_t)(domid + nr + a1);
}
