/* Enums and structs of the hypercall ABI that is ours; see abi.def. */
#ifndef XE_BASE_ABI_H
#define XE_BASE_ABI_H

#include <assert.h>
#include <stdint.h>

enum xe_abi {
#define XE_ABI(group, name, value, comment) XE_ABI_##group##_##name = (value),
#include "base/abi.def"
#undef XE_ABI
};

/* Argument of zeroloss_op, in and out. */
struct xe_zl_arg {
	uint32_t domid;
	int32_t status;
	uint64_t value;
	uint64_t addr;  /* guest address of an array of count uint64 mfns */
	uint32_t count;
	uint32_t pad;
};

static_assert(sizeof(struct xe_zl_arg) == 32, "zeroloss_op ABI");

/* The heartbeat page, shared by guest and VMM. */
struct xe_heartbeat_page {
	uint64_t beats; /* the guest adds one at each timer interrupt */
};

#endif
