/* Structs of memory_op: xen/memory.h. */
#ifndef XE_XEN_ABI_MEMORY_H
#define XE_XEN_ABI_MEMORY_H

#include <assert.h>
#include <stdint.h>

struct xe_memory_reservation {
	uint64_t extent_start, nr_extents;
	uint32_t extent_order, mem_flags;
	uint16_t domid, pad[3];
};

static_assert(sizeof(struct xe_memory_reservation) == 32, "memory_reservation");

#endif
