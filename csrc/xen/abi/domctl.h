/* Structs of domctl: xen/domctl.h, xen/arch-x86/xen.h. */
#ifndef XE_XEN_ABI_DOMCTL_H
#define XE_XEN_ABI_DOMCTL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define XE_DOMCTL_VERSION 0x15u

/* createdomain.flags */
#define XE_CDF_HVM 1u
#define XE_CDF_OOS_OFF 8u
#define XE_CDF_XS_DOMAIN 16u

#define XE_EMU_PIT 0x100u
#define XE_EMU_ALL 0x7ffu
#define XE_MSR_RELAXED 1u

/* getdomaininfo.flags */
#define XE_DOMINF_DYING 1u
#define XE_DOMINF_SHUTDOWN 4u
#define XE_DOMINF_PAUSED 8u
#define XE_DOMINF_BLOCKED 16u
#define XE_DOMINF_RUNNING 32u
#define XE_DOMINF_DEBUGGED 64u
#define XE_DOMINF_XS_DOMAIN 128u
#define XE_DOMINF_SHUTDOWN_SHIFT 16

/* getpageframeinfo3: a page table of level n, and whether it is pinned; no page of the domain */
#define XE_PFINFO_TABLE(n) ((uint64_t)(n) << 28)
#define XE_PFINFO_PINNED (1ull << 31)
#define XE_PFINFO_NO_PAGE (15ull << 28)

struct xe_arch_domainconfig {
	uint32_t emulation_flags, misc_flags;
};

struct xe_domctl_create {
	uint32_t ssidref;
	uint8_t handle[16];
	uint32_t flags, iommu_opts, max_vcpus, max_evtchn_port;
	int32_t max_grant_frames, max_maptrack_frames;
	uint32_t grant_opts, vmtrace_size, cpupool_id;
	struct xe_arch_domainconfig arch;
};

struct xe_domctl_info {
	uint16_t domain, pad1;
	uint32_t flags;
	uint64_t tot_pages, max_pages, outstanding, shr, paged, shared_info_frame, cpu_time;
	uint32_t nr_online_vcpus, max_vcpu_id, ssidref;
	uint8_t handle[16];
	uint32_t cpupool;
	uint8_t gpaddr_bits, pad2[7];
	struct xe_arch_domainconfig arch;
};

struct xe_domctl_vcpu_info {
	uint32_t vcpu;
	uint8_t online, blocked, running, pad;
	uint64_t cpu_time;
	uint32_t cpu, pad2;
};

struct xe_domctl {
	uint32_t cmd, version;
	uint16_t domain, pad[3];
	union {
		struct xe_domctl_create create;
		struct xe_domctl_info info;
		struct xe_domctl_vcpu_info vcpu_info;
		struct {
			uint32_t vcpu, pad;
			uint64_t gva;
		} context;
		struct {
			uint64_t num, gva;
		} frame_info;
		struct {
			uint32_t trigger, vcpu;
		} trigger;
		struct {
			uint32_t mode, khz, incarnation, pad;
			uint64_t elapsed_ns;
		} tsc;
		struct {
			uint64_t first_gfn, first_mfn, nr_mfns;
		} memory_mapping;
		uint64_t gmfn; /* hypercall_init */
		uint64_t max_memkb;
		int64_t time_offset_s;
		uint32_t max_vcpus;
		uint32_t address_size;
		uint32_t virq;
		uint32_t port; /* subscribe */
		uint16_t target;
		uint8_t handle[16];
		uint8_t debug;
		uint8_t pad[128];
	} u;
};

static_assert(sizeof(struct xe_domctl_create) == 64, "createdomain");
static_assert(offsetof(struct xe_domctl_create, max_vcpus) == 28, "createdomain");
static_assert(sizeof(struct xe_domctl_info) == 112, "getdomaininfo");
static_assert(offsetof(struct xe_domctl_info, handle) == 76, "getdomaininfo");
static_assert(sizeof(struct xe_domctl_vcpu_info) == 24, "getvcpuinfo");
static_assert(offsetof(struct xe_domctl_vcpu_info, cpu_time) == 8, "getvcpuinfo");
static_assert(sizeof(struct xe_domctl) == 144, "domctl");
static_assert(offsetof(struct xe_domctl, u) == 16, "domctl");

#endif
