/* The argument of a traced hypercall: what the guest's memory has where the call copied first.
 *
 * It is read when the call is over, so answers are in it. A caller that is gone by then, or has
 * unmapped it, leaves the registers. Left out: further entries of a list. */
#include <string.h>

#include "xen/trace.h"

/* Which registers hold the two small arguments. Others have their operation in the first one. */
enum { NONE = 5 };

static const struct {
	uint8_t known, low, high;
} shapes[] = {
	[XE_ABI_hypercall_set_trap_table] = {1, NONE, NONE},
	[XE_ABI_hypercall_mmu_update] = {1, 1, 3},
	[XE_ABI_hypercall_set_gdt] = {1, 1, NONE},
	[XE_ABI_hypercall_platform_op] = {1, NONE, NONE},
	[XE_ABI_hypercall_console_io] = {1, 0, 1},
	[XE_ABI_hypercall_grant_table_op] = {1, 0, 2},
	[XE_ABI_hypercall_vcpu_op] = {1, 0, 1},
	[XE_ABI_hypercall_mmuext_op] = {1, 1, 3},
	[XE_ABI_hypercall_sysctl] = {1, NONE, NONE},
	[XE_ABI_hypercall_domctl] = {1, NONE, NONE},
};

static uint64_t small_arguments(uint16_t nr, const uint64_t *arg)
{
	uint64_t low = arg[0], high = 0;

	if (nr < sizeof(shapes) / sizeof(shapes[0]) && shapes[nr].known) {
		low = shapes[nr].low == NONE ? 0 : arg[shapes[nr].low];
		high = shapes[nr].high == NONE ? 0 : arg[shapes[nr].high];
	}
	return (uint32_t)low | high << 32;
}

static inline uint64_t first_bytes(const uint8_t *p, int n)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return n >= 8 ? word : n <= 0 ? 0 : word & ((1ull << n * 8) - 1);
}

void xe_trace_argument(struct xe_host *h, struct xe_trace_record *r, const uint64_t *arg)
{
	uint8_t copy[XE_TRACE_SEEN] = {0};
	const uint8_t *p;
	int n = (int)h->seen_len;

	if (!h->current)
		return;
	p = xe_peek(h, h->current, h->seen_gva, sizeof(copy));
	if (!p && xe_copy_from(h, h->current, copy, h->seen_gva, h->seen_len))
		return;
	p = p ? p : copy;
	r->a[0] = small_arguments(r->nr, arg);
	r->a[1] = h->seen_gva;
	r->a[2] = first_bytes(p, n);
	r->a[3] = first_bytes(p + 8, n - 8);
	r->a[4] = first_bytes(p + 16, n - 16);
	r->head |= (uint64_t)XE_TRACE_STRUCT << 48;
}
