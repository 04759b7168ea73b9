/* Structs of shared_info and what lies in it: xen/xen.h, xen/arch-x86/xen.h. */
#ifndef XE_XEN_ABI_SHARED_INFO_H
#define XE_XEN_ABI_SHARED_INFO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define XE_LEGACY_VCPUS 32u /* that have a vcpu_info in shared_info */

struct xe_vcpu_time_info {
	uint32_t version, pad0; /* odd while it is changed */
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad1[2];
};

struct xe_arch_vcpu_info {
	uint64_t cr2, pad;
};

struct xe_vcpu_info {
	uint8_t upcall_pending, upcall_mask, pad[6];
	uint64_t pending_sel;
	struct xe_arch_vcpu_info arch;
	struct xe_vcpu_time_info time;
};

/* All of it the guest's to fill in, for tools, but nmi_reason. */
struct xe_arch_shared_info {
	uint64_t max_pfn, pfn_to_mfn_frame_list_list, nmi_reason;
	uint64_t p2m_cr3, p2m_vaddr, p2m_generation;
};

struct xe_shared_info {
	struct xe_vcpu_info vcpu[XE_LEGACY_VCPUS];
	uint64_t pending[64], mask[64];
	uint32_t wc_version, wc_sec, wc_nsec, wc_sec_hi;
	struct xe_arch_shared_info arch;
};

static_assert(sizeof(struct xe_vcpu_time_info) == 32, "vcpu_time_info");
static_assert(offsetof(struct xe_vcpu_time_info, tsc_to_system_mul) == 24, "tsc_to_system_mul");
static_assert(sizeof(struct xe_vcpu_info) == 64, "vcpu_info");
static_assert(offsetof(struct xe_vcpu_info, time) == 32, "vcpu_info.time");
static_assert(sizeof(struct xe_arch_shared_info) == 48, "arch_shared_info");
static_assert(sizeof(struct xe_shared_info) == 3136, "shared_info");
static_assert(offsetof(struct xe_shared_info, pending) == 2048, "evtchn_pending");
static_assert(offsetof(struct xe_shared_info, mask) == 2560, "evtchn_mask");
static_assert(offsetof(struct xe_shared_info, wc_version) == 3072, "wc_version");
static_assert(offsetof(struct xe_shared_info, arch) == 3088, "shared_info.arch");

#endif
