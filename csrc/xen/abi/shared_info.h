/* Structs of start_info, shared_info and what lies in it: xen/xen.h. */
#ifndef XE_XEN_ABI_SHARED_INFO_H
#define XE_XEN_ABI_SHARED_INFO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_vcpu_info {
	uint8_t upcall_pending, upcall_mask, pad[6];
	uint64_t pending_sel;
	uint8_t arch[16], time[32];
};

struct xe_shared_info {
	struct xe_vcpu_info vcpu[32];
	uint64_t pending[64], mask[64];
	uint8_t rest[64];
};

static_assert(sizeof(struct xe_vcpu_info) == 64, "vcpu_info");
static_assert(sizeof(struct xe_shared_info) == 3136, "shared_info");
static_assert(offsetof(struct xe_shared_info, pending) == 2048, "evtchn_pending");
static_assert(offsetof(struct xe_shared_info, mask) == 2560, "evtchn_mask");

#endif
