/* Structs of mmu_update and mmuext_op: xen/xen.h. */
#ifndef XE_XEN_ABI_MMU_H
#define XE_XEN_ABI_MMU_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_mmu_update {
	uint64_t ptr, val;
};

struct xe_mmuext_op {
	uint32_t cmd, pad0;
	union {
		uint64_t mfn;
		uint64_t linear_addr;
	} arg1;
	union {
		uint32_t nr_ents;
		uint64_t vcpumask; /* guest address */
		uint64_t src_mfn;
	} arg2;
};

static_assert(sizeof(struct xe_mmu_update) == 16, "mmu_update");
static_assert(sizeof(struct xe_mmuext_op) == 24, "mmuext_op");
static_assert(offsetof(struct xe_mmuext_op, arg2) == 16, "mmuext_op.arg2");

#endif
