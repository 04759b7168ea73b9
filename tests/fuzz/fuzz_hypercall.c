/* The hypercall dispatcher under hostile domains: any number, any register, any memory.
 *
 * The input is a list of steps: a domain makes a call, with registers and an argument in its memory
 * that are often nearly right; memory changes, time passes, the toolstack pauses, destroys and makes
 * domains. Oracles: all references to frames recomputed from scratch (tests/c/xen_check.h), and that
 * nothing is in use when every domain is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "input.h"
#include "world.h"
#include "xen/grant.h"
#include "xen/host.h"
#include "xen/internal.h"

/* The oracle is no place to find new ways in, and would take most of the time if it were. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage", "address"))), \
			     apply_to = function)
#include "xen_check.h"
#pragma clang attribute pop

enum {
	FRAMES = 2048,
	DOMAINS = 4, /* the last one has no memory */
	PAGES = 64,
	MAX_PAGES = PAGES + 1200,
	WINDOW = 512,
	ARGUMENT = 8, /* page */
	WORDS = 24,
	CHECK_EVERY = 32, /* steps */
	MAX_STEPS = 256,
};

enum operation {
	CALL,
	CALL_TYPED,
	CALL_AGAIN,
	POKE,
	POKE_GRANT,
	CONNECT,
	GRANT,
	PROTECT,
	TIME,
	PAUSE,
	UNPAUSE,
	DESTROY,
	CREATE,
	VIRQ,
	UPCALL,
	VZS,
	TICK,
	OPERATIONS,
};

/* How a hypercall takes its arguments. */
enum form { REGISTERS, OP_ARG, ARG, OP_ID_ARG, OP_ARG_COUNT, LIST };

static const struct {
	uint8_t nr, form, ops, words; /* ops: numbers of its operations; words of an entry */
} calls[] = {
	{XE_ABI_hypercall_event_channel_op, OP_ARG, 16, 3},
	{XE_ABI_hypercall_grant_table_op, OP_ARG_COUNT, 14, 5},
	{XE_ABI_hypercall_memory_op, OP_ARG, 30, 9},
	{XE_ABI_hypercall_mmu_update, LIST, 0, 2},
	{XE_ABI_hypercall_mmuext_op, LIST, 0, 3},
	{XE_ABI_hypercall_update_va_mapping, REGISTERS, 0, 0},
	{XE_ABI_hypercall_update_va_mapping_otherdomain, REGISTERS, 0, 0},
	{XE_ABI_hypercall_domctl, ARG, 0, 18},
	{XE_ABI_hypercall_sched_op, OP_ARG, 9, 3},
	{XE_ABI_hypercall_vcpu_op, OP_ID_ARG, 15, 4},
	{XE_ABI_hypercall_multicall, LIST, 0, 8},
	{XE_ABI_hypercall_zeroloss_op, OP_ARG, 20, 4},
	{XE_ABI_hypercall_xen_version, OP_ARG, 12, 2},
	{XE_ABI_hypercall_console_io, OP_ID_ARG, 3, 4},
	{XE_ABI_hypercall_set_timer_op, REGISTERS, 0, 0},
	{XE_ABI_hypercall_set_trap_table, ARG, 0, 6},
	{XE_ABI_hypercall_set_gdt, LIST, 0, 2},
	{XE_ABI_hypercall_update_descriptor, REGISTERS, 0, 0},
	{XE_ABI_hypercall_callback_op, OP_ARG, 3, 3},
	{XE_ABI_hypercall_set_callbacks, REGISTERS, 0, 0},
	{XE_ABI_hypercall_vm_assist, REGISTERS, 0, 0},
	{XE_ABI_hypercall_set_debugreg, REGISTERS, 0, 0},
	{XE_ABI_hypercall_stack_switch, REGISTERS, 0, 0},
	{XE_ABI_hypercall_set_segment_base, REGISTERS, 0, 0},
	{XE_ABI_hypercall_nmi_op, OP_ARG, 2, 2},
	{XE_ABI_hypercall_physdev_op, OP_ARG, 32, 3},
	{XE_ABI_hypercall_sysctl, ARG, 0, 8},
	{XE_ABI_hypercall_platform_op, ARG, 0, 8},
};

struct fuzz {
	struct input in;
	struct xe_host *h;
	uint8_t *memory;
	uint64_t at_first; /* free frames without domains */
	xe_mfn page[DOMAINS][PAGES]; /* as they were at first */
	xe_ns now;
	uint32_t nr; /* of the last call, with its arguments */
	uint64_t arg[5];
	int64_t result;
};

/* ---- what an input means ---- */

static xe_mfn some_frame(struct fuzz *f)
{
	uint8_t b = input8(&f->in);

	if (b < 224)
		return f->page[b % (DOMAINS - 1)][input8(&f->in) % PAGES];
	return input16(&f->in) % (FRAMES + 8);
}

static uint64_t some_address(struct fuzz *f)
{
	uint8_t b = input8(&f->in), page = input8(&f->in) % PAGES;
	uint64_t gva = XE_GUEST_BASE + page * 4096ull;

	switch (b % 8) {
	case 0:
	case 1:
		return gva;
	case 2:
		return gva + (b >> 3) * 8u;
	case 3:
		return gva + 4096 - (b >> 3); /* the end of a page is near */
	case 4:
		return XE_GUEST_BASE + (PAGES - 1) * 4096ull + 4096 - (b >> 3);
	case 5:
		return XE_LOG_WINDOW + page * 4096ull;
	case 6:
		return 0xffff800000000000ull + (uint64_t)page * 4096; /* Xen's own */
	default:
		return page & 1 ? 0x0000800000000000ull + b : 0xffff7ffffffff000ull + b;
	}
}

static uint64_t some_value(struct fuzz *f)
{
	static const uint16_t flags[] = {0x67, 0x65, 0x63, 0x61, 0x60, 0xe7, 0x167, 0x27};
	static const uint32_t domids[] = {0x7ff0, 0, 1, 2, 3, 4, 0x7ff1, 0x7ff2, 0x7ff4, 0xffff};
	uint8_t b = input8(&f->in);

	if (b < 104)
		return b;
	switch (b % 16) {
	case 0:
	case 1:
	case 2:
		return some_address(f);
	case 3:
	case 4:
		return some_frame(f);
	case 5:
	case 6:
		return some_frame(f) << 12 | flags[input8(&f->in) % 8];
	case 7:
	case 8:
		return some_frame(f) << 12 | input8(&f->in) * 8u | (b >> 4 & 3);
	case 9:
		return domids[input8(&f->in) % 10];
	case 10:
		return (1ull << (input8(&f->in) % 64)) - (b >> 4 & 1);
	case 11:
		return (uint64_t)0 - input8(&f->in);
	case 12:
		return f->now + ((uint64_t)input8(&f->in) << (b >> 3 & 31));
	case 13:
		return (uint64_t)f->result;
	case 14:
		return input32(&f->in);
	default:
		return input32(&f->in) | (uint64_t)input32(&f->in) << 32;
	}
}

static uint64_t some_word(struct fuzz *f)
{
	uint8_t b = input8(&f->in);
	uint64_t low;

	if (b < 128)
		return some_value(f);
	low = some_value(f);
	if (b < 224)
		return (uint32_t)low | some_value(f) << 32;
	return (low & 0xffff) | (some_value(f) & 0xffff) << 16 | some_value(f) << 32;
}

static uint64_t some_argument_address(struct fuzz *f)
{
	uint8_t b = input8(&f->in);

	if (b < 192)
		return XE_GUEST_BASE + ARGUMENT * 4096;
	return b < 224 ? XE_GUEST_BASE + (ARGUMENT + 1) * 4096 - (b & 31) : some_address(f);
}

/* ---- steps ---- */

static void call(struct fuzz *f, uint32_t domid, uint32_t vcpu)
{
	tell("  d%u v%u: %u (%llx, %llx, %llx, %llx, %llx)", domid, vcpu, f->nr,
	     (unsigned long long)f->arg[0], (unsigned long long)f->arg[1],
	     (unsigned long long)f->arg[2], (unsigned long long)f->arg[3],
	     (unsigned long long)f->arg[4]);
	f->result = xe_vcpu_hypercall(f->h, domid, vcpu, f->nr, f->arg, f->now);
	tell(" = %lld\n", (long long)f->result);
}

static void who(struct fuzz *f, uint32_t *domid, uint32_t *vcpu)
{
	uint8_t b = input8(&f->in);

	*domid = b % 8 < 6 ? b % 3 : b % 8 - 3u;
	*vcpu = b >> 3 & 3;
	*vcpu = *vcpu == 3 ? 0 : *vcpu;
}

static void any_call(struct fuzz *f)
{
	uint32_t domid, vcpu;

	who(f, &domid, &vcpu);
	f->nr = input8(&f->in) % 64;
	for (int i = 0; i < 5; i++)
		f->arg[i] = some_value(f);
	call(f, domid, vcpu);
}

static void put_words(struct fuzz *f, uint32_t domid, uint64_t gva, uint32_t n)
{
	uint64_t word[WORDS];

	n = n < WORDS ? n : WORDS;
	for (uint32_t i = 0; i < n; i++)
		word[i] = some_word(f);
	xe_guest_write(f->h, domid, gva, word, n * sizeof(word[0]));
}

/* Arguments where the call looks for them. */
static void typed_call(struct fuzz *f)
{
	uint8_t which = input8(&f->in) % (sizeof(calls) / sizeof(calls[0])), op, entries;
	uint64_t gva = some_argument_address(f);
	uint32_t domid, vcpu;

	who(f, &domid, &vcpu);
	op = input8(&f->in);
	entries = 1 + (op >> 6);
	op = calls[which].ops ? op % calls[which].ops : 0;
	f->nr = calls[which].nr;
	if (f->nr == XE_ABI_hypercall_domctl) {
		uint32_t head[4] = {input8(&f->in) % 90, XE_DOMCTL_VERSION};

		head[2] = input8(&f->in) % 6;
		put_words(f, domid, gva + 16, 6);
		xe_guest_write(f->h, domid, gva, head, sizeof(head));
	} else {
		put_words(f, domid, gva, (uint32_t)calls[which].words * entries);
	}
	for (int i = 0; i < 5; i++)
		f->arg[i] = i < 4 && calls[which].form == REGISTERS ? some_value(f) : 0;
	switch ((enum form)calls[which].form) {
	case REGISTERS:
		break;
	case OP_ARG:
		f->arg[0] = op;
		f->arg[1] = gva;
		break;
	case ARG:
		f->arg[0] = gva;
		break;
	case OP_ID_ARG:
		f->arg[0] = op;
		f->arg[1] = input8(&f->in) % 5;
		f->arg[2] = gva;
		break;
	case OP_ARG_COUNT:
		f->arg[0] = op;
		f->arg[1] = gva;
		f->arg[2] = entries;
		break;
	case LIST:
		f->arg[0] = gva;
		f->arg[1] = entries;
		f->arg[2] = input8(&f->in) & 1 ? some_address(f) : 0;
		f->arg[3] = input8(&f->in) < 192 ? 0x7ff0 : some_value(f);
		break;
	}
	call(f, domid, vcpu);
}

static void poke(struct fuzz *f)
{
	uint32_t domid = input8(&f->in) % DOMAINS;
	uint64_t gva = some_address(f), word = some_word(f);

	xe_guest_write(f->h, domid, gva, &word, 1u << (input8(&f->in) & 3));
}

/* An entry of a grant table, wherever that is: the frames that are the hypervisor's own. */
static void poke_grant(struct fuzz *f)
{
	const struct xe_domain *d = f->h->domain[input8(&f->in) % DOMAINS];
	uint32_t ref = input8(&f->in) % 32;
	struct xe_grant_entry e = {.flags = input8(&f->in),
				   .domid = input8(&f->in) % 4,
				   .frame = (uint32_t)some_frame(f)};

	if (d && d->grants && d->grants->nframes && !d->dying)
		memcpy(xe_frame_ptr(f->h, d->grants->frame[0]) + ref * sizeof(e), &e, sizeof(e));
}

/* One call as a guest means it: the argument is where all expect it. */
static int64_t proper(struct fuzz *f, uint32_t domid, uint32_t nr, uint64_t op, void *arg, size_t n)
{
	uint64_t gva = XE_GUEST_BASE + ARGUMENT * 4096;

	if (xe_guest_write(f->h, domid, gva, arg, n))
		return -1;
	f->nr = nr;
	memcpy(f->arg, (uint64_t[5]){op, gva, 1}, sizeof(f->arg));
	call(f, domid, 0);
	return xe_guest_read(f->h, domid, gva, arg, n) ? -1 : f->result;
}

/* What takes several steps that belong together, so that what comes after finds it done. */

static void connect_ports(struct fuzz *f)
{
	uint8_t b = input8(&f->in);
	uint32_t one = b % 3, other = b / 3 % 3;
	struct xe_evtchn_alloc_unbound a = {.dom = XE_ABI_domid_SELF,
					    .remote_dom = (uint16_t)other};
	struct xe_evtchn_bind_interdomain i = {.remote_dom = (uint16_t)one};

	if (proper(f, one, XE_ABI_hypercall_event_channel_op, XE_ABI_evtchn_op_alloc_unbound, &a,
		   sizeof(a)))
		return;
	i.remote_port = a.port;
	proper(f, other, XE_ABI_hypercall_event_channel_op, XE_ABI_evtchn_op_bind_interdomain, &i,
	       sizeof(i));
	if (b & 128)
		proper(f, other, XE_ABI_hypercall_event_channel_op, XE_ABI_evtchn_op_send,
		       &i.local_port, sizeof(i.local_port));
}

static void grant_page(struct fuzz *f)
{
	uint8_t b = input8(&f->in), page = input8(&f->in) % PAGES, ref = b >> 4;
	uint32_t one = b % 3, other = b / 3 % 3;
	const struct xe_domain *d;
	struct xe_gnttab_setup setup = {.dom = XE_ABI_domid_SELF,
					.nr_frames = 1,
					.frame_list = XE_GUEST_BASE + (ARGUMENT + 1) * 4096};
	struct xe_gnttab_map map = {
		.host_addr = XE_GUEST_BASE + input8(&f->in) % PAGES * 4096ull,
		.flags = 1 + input8(&f->in) % 7,
		.ref = ref,
		.dom = (uint16_t)one,
	};
	struct xe_grant_entry e = {.flags = b & 128 ? 5 : 1,
				   .domid = (uint16_t)other,
				   .frame = (uint32_t)f->page[one][page]};

	if (proper(f, one, XE_ABI_hypercall_grant_table_op, XE_ABI_grant_op_setup_table, &setup,
		   sizeof(setup)))
		return;
	d = f->h->domain[one];
	if (d->grants && d->grants->nframes)
		memcpy(xe_frame_ptr(f->h, d->grants->frame[0]) + ref * sizeof(e), &e, sizeof(e));
	proper(f, other, XE_ABI_hypercall_grant_table_op, XE_ABI_grant_op_map_grant_ref, &map,
	       sizeof(map));
}

/* A protected primary with a log of one extent, and perhaps a backup. */
static void protect(struct fuzz *f)
{
	uint8_t b = input8(&f->in);
	uint32_t primary = 1 + b % 2;
	uint64_t list = XE_GUEST_BASE + (ARGUMENT + 1) * 4096;
	struct xe_memory_reservation r = {.extent_start = list,
					  .nr_extents = 1,
					  .extent_order = XE_EXTENT_ORDER,
					  .domid = XE_ABI_domid_SELF};
	struct xe_zl_arg a = {.domid = primary};
	struct xe_zl_arg log = {.domid = XE_ABI_domid_SELF, .addr = list, .count = 1};

	proper(f, 0, XE_ABI_hypercall_zeroloss_op, XE_ABI_zl_INSTALL_GRANT, &a, sizeof(a));
	proper(f, primary, XE_ABI_hypercall_memory_op, XE_ABI_memory_op_increase_reservation, &r,
	       sizeof(r));
	proper(f, primary, XE_ABI_hypercall_zeroloss_op, XE_ABI_zl_REGISTER_LOG, &log, sizeof(log));
	if (b & 4)
		proper(f, primary, XE_ABI_hypercall_zeroloss_op, XE_ABI_zl_BOOT_BACKUP, &log,
		       sizeof(log));
}

static void pass_time(struct fuzz *f)
{
	f->now += (xe_ns)(1 + input8(&f->in)) << (input8(&f->in) % 40);
	xe_host_run_timers(f->h, f->now);
}

static void find_pages(struct fuzz *f, uint32_t domid)
{
	for (uint32_t i = 0; domid < DOMAINS && i < PAGES; i++) {
		uint64_t maddr;

		if (!xe_guest_translate(f->h, domid, XE_GUEST_BASE + i * 4096ull, &maddr))
			f->page[domid][i] = maddr >> XE_PAGE_SHIFT;
	}
}

static void create(struct fuzz *f, bool privileged, uint64_t pages)
{
	struct xe_domain_config cfg = {
		.pages = pages,
		.max_pages = MAX_PAGES,
		.window_pages = pages ? WINDOW : 0,
		.max_vcpus = 2,
		.privileged = privileged,
	};
	uint32_t domid;

	if (xe_domain_create(f->h, &cfg, &domid))
		return;
	find_pages(f, domid);
	if (pages)
		xe_domain_unpause(f->h, domid);
}

static void vzs(struct fuzz *f)
{
	uint32_t domid = input8(&f->in) % DOMAINS, backup;
	uint8_t op = input8(&f->in);

	tell("  vzs %u of d%u\n", op % 12, domid);
	switch (op % 12) {
	case 0:
		xe_vzs_signal(f->h, domid, op);
		break;
	case 1:
		xe_vzs_complete(f->h, domid, op & 16 ? -5 : 0);
		break;
	case 2:
		xe_vzs_fence(f->h, domid);
		break;
	case 3:
		xe_vzs_restart(f->h, domid);
		break;
	case 4:
		xe_vzs_try(f->h, domid);
		break;
	case 5:
		xe_vzs_accept(f->h, domid);
		break;
	case 6:
		xe_vzs_roll_back(f->h, domid, -5);
		break;
	case 7:
		xe_vzs_forget_backup(f->h, domid);
		break;
	case 8:
		xe_vzs_fence_backup(f->h, domid);
		break;
	case 9:
		if (!xe_vzs_boot_backup(f->h, domid, &backup))
			find_pages(f, backup);
		break;
	case 10:
		xe_vzs_give_up(f->h, domid);
		break;
	default:
		xe_path_set(f->h, 0x0a000001, domid);
	}
}

static void drain(struct fuzz *f)
{
	struct xe_work w;
	int domid;

	while (xe_host_next_work(f->h, &w))
		xe_assert(w.kind == XE_WORK_UPCALL || w.kind == XE_WORK_VMM);
	while ((domid = xe_host_next_changed(f->h)) >= 0)
		xe_assert(domid < XE_MAX_DOMAINS);
}

static void operate(struct fuzz *f, enum operation op)
{
	uint32_t domid, vcpu;

	switch (op) {
	case CALL:
		any_call(f);
		break;
	case CALL_TYPED:
		typed_call(f);
		break;
	case CALL_AGAIN:
		who(f, &domid, &vcpu);
		call(f, domid, vcpu);
		break;
	case POKE:
		poke(f);
		break;
	case POKE_GRANT:
		poke_grant(f);
		break;
	case CONNECT:
		connect_ports(f);
		break;
	case GRANT:
		grant_page(f);
		break;
	case PROTECT:
		protect(f);
		break;
	case TIME:
		pass_time(f);
		break;
	case PAUSE:
		xe_domain_pause(f->h, input8(&f->in) % DOMAINS);
		break;
	case UNPAUSE:
		xe_domain_unpause(f->h, input8(&f->in) % DOMAINS);
		break;
	case DESTROY:
		domid = input8(&f->in);
		if (domid < 64) /* seldom */
			xe_domain_destroy(f->h, domid % DOMAINS);
		break;
	case CREATE:
		create(f, false, input8(&f->in) & 1 ? PAGES : 0);
		break;
	case VIRQ:
		domid = input8(&f->in);
		xe_send_virq(f->h, domid % DOMAINS, domid / DOMAINS % 24);
		break;
	case UPCALL:
		domid = input8(&f->in) % DOMAINS;
		xe_domain_kick(f->h, domid);
		for (int i = 0; i < 8 && xe_next_pending_port(f->h, domid) >= 0;)
			i++;
		break;
	case VZS:
		vzs(f);
		break;
	case TICK:
		xe_heartbeat_arm(f->h, input8(&f->in) % DOMAINS, true);
		xe_heartbeat_check(f->h, f->now);
		break;
	default:
		abort();
	}
	drain(f);
}

/* ---- beginning and end ---- */

static void start(struct fuzz *f)
{
	struct xe_host_config cfg = {.frames = FRAMES};

	f->memory = mmap(NULL, FRAMES * 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	xe_assert(f->memory != MAP_FAILED);
	cfg.memory = f->memory;
	xe_assert(xe_host_create(&f->h, &cfg) == 0);
	f->at_first = xe_host_free_pages(f->h);
	create(f, true, PAGES);
	create(f, false, PAGES);
	create(f, false, PAGES);
	create(f, false, 0);
}

/* Whatever the domains have done to each other: when all are gone, so is all that they had. */
static void finish(struct fuzz *f)
{
	xen_check(f->h);
	for (uint32_t i = 0; i < xe_host_top(f->h); i++)
		xe_domain_destroy(f->h, i);
	for (uint32_t i = 0; i < XE_MAX_PAIRS; i++)
		if (f->h->pair[i].state != XE_PAIR_NONE)
			xe_vzs_give_up(f->h, f->h->pair[i].primary);
	drain(f);
	xe_host_run_timers(f->h, XE_NEVER - 1);
	xen_check(f->h);
	xe_assert(xe_host_top(f->h) == 0 && xe_host_next_timer(f->h) == XE_NEVER);
	xe_assert(xe_host_free_pages(f->h) == f->at_first);
	xe_host_destroy(f->h);
	munmap(f->memory, FRAMES * 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = {data, data + size}, .now = XE_SECOND};

	start(&f);
	for (int step = 0; input_left(&f.in) && step < MAX_STEPS; step++) {
		operate(&f, (enum operation)(input8(&f.in) % OPERATIONS));
		if (step % CHECK_EVERY == CHECK_EVERY - 1)
			xen_check(f.h);
	}
	finish(&f);
	return 0;
}
