/* Structs of mmu_update and mmuext_op: xen/xen.h. */
#ifndef XE_XEN_ABI_MMU_H
#define XE_XEN_ABI_MMU_H

#include <assert.h>
#include <stdint.h>

struct xe_mmu_update {
	uint64_t ptr, val;
};

static_assert(sizeof(struct xe_mmu_update) == 16, "mmu_update");

#endif
