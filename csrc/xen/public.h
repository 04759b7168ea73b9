/* Argument structs of Xen's hypercalls, laid out as in Xen's public headers (x86-64).
 * Only what this host serves. Numbers that only one file needs stay in that file. */
#ifndef XE_XEN_PUBLIC_H
#define XE_XEN_PUBLIC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define XE_DOMCTL_VERSION 0x15u

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

struct xe_mmu_update {
	uint64_t ptr, val;
};

struct xe_multicall_entry {
	uint64_t op, result, args[6];
};

struct xe_memory_reservation {
	uint64_t extent_start, nr_extents;
	uint32_t extent_order, mem_flags;
	uint16_t domid, pad[3];
};

struct xe_evtchn_alloc_unbound {
	uint16_t dom, remote_dom;
	uint32_t port;
};

struct xe_evtchn_bind_interdomain {
	uint16_t remote_dom, pad;
	uint32_t remote_port, local_port;
};

struct xe_evtchn_bind_virq {
	uint32_t virq, vcpu, port;
};

struct xe_evtchn_bind_ipi {
	uint32_t vcpu, port;
};

struct xe_evtchn_bind_vcpu {
	uint32_t port, vcpu;
};

struct xe_evtchn_port {
	uint32_t port; /* close, send, unmask */
};

struct xe_evtchn_status {
	uint16_t dom, pad;
	uint32_t port, status, vcpu;
	union {
		struct {
			uint16_t dom;
		} unbound;
		struct {
			uint16_t dom, pad;
			uint32_t port;
		} interdomain;
		uint32_t virq;
	} u;
};

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

static_assert(sizeof(struct xe_vcpu_info) == 64, "vcpu_info");
static_assert(sizeof(struct xe_shared_info) == 3136, "shared_info");
static_assert(offsetof(struct xe_shared_info, pending) == 2048, "evtchn_pending");
static_assert(offsetof(struct xe_shared_info, mask) == 2560, "evtchn_mask");
static_assert(sizeof(struct xe_mmu_update) == 16, "mmu_update");
static_assert(sizeof(struct xe_multicall_entry) == 64, "multicall_entry");
static_assert(sizeof(struct xe_memory_reservation) == 32, "memory_reservation");
static_assert(sizeof(struct xe_evtchn_alloc_unbound) == 8, "evtchn_alloc_unbound");
static_assert(sizeof(struct xe_evtchn_bind_interdomain) == 12, "evtchn_bind_interdomain");
static_assert(sizeof(struct xe_evtchn_bind_virq) == 12, "evtchn_bind_virq");
static_assert(sizeof(struct xe_evtchn_status) == 24, "evtchn_status");
static_assert(sizeof(struct xe_domctl_info) == 112, "getdomaininfo");
static_assert(sizeof(struct xe_domctl) == 144, "domctl");

#endif
