/* Structs of domctl: xen/domctl.h. */
#ifndef XE_XEN_ABI_DOMCTL_H
#define XE_XEN_ABI_DOMCTL_H

#include <assert.h>
#include <stdint.h>

#define XE_DOMCTL_VERSION 0x15u

struct xe_domctl_info {
	uint16_t domain, pad1;
	uint32_t flags;
	uint64_t tot_pages, max_pages, outstanding, shr, paged, shared_info_frame, cpu_time;
	uint32_t nr_online_vcpus, max_vcpu_id, ssidref;
	uint8_t handle[16];
	uint32_t cpupool;
	uint8_t gpaddr_bits, pad2[7];
	uint32_t arch[2];
};

struct xe_domctl {
	uint32_t cmd, version;
	uint16_t domain, pad[3];
	union {
		struct xe_domctl_info info;
		uint64_t max_memkb;
		uint32_t max_vcpus;
		uint8_t pad[128];
	} u;
};

static_assert(sizeof(struct xe_domctl_info) == 112, "getdomaininfo");
static_assert(sizeof(struct xe_domctl) == 144, "domctl");

#endif
