/* Structs of multicall: xen/xen.h. */
#ifndef XE_XEN_ABI_MULTICALL_H
#define XE_XEN_ABI_MULTICALL_H

#include <assert.h>
#include <stdint.h>

struct xe_multicall_entry {
	uint64_t op, result, args[6];
};

static_assert(sizeof(struct xe_multicall_entry) == 64, "multicall_entry");

#endif
