/* Structs of memory_op: xen/memory.h. */
#ifndef XE_XEN_ABI_MEMORY_H
#define XE_XEN_ABI_MEMORY_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* mem_flags */
#define XE_MEMF_ADDRESS_BITS 0xffu
#define XE_MEMF_NODE(flags) ((((flags) >> 8) - 1) & 0xffu)
#define XE_MEMF_NO_NODE 0xffu
#define XE_MEMF_ON_DEMAND (1u << 16)
#define XE_MEMF_EXACT_NODE (1u << 17)
#define XE_MEMF_VNODE (1u << 18)

/* The number of a sub-operation; above it where a broken-off call goes on. */
#define XE_MEMOP_CMD 63u
#define XE_MEMOP_EXTENT_SHIFT 6

struct xe_memory_reservation {
	uint64_t extent_start, nr_extents;
	uint32_t extent_order, mem_flags;
	uint16_t domid, pad[3];
};

struct xe_memory_exchange {
	struct xe_memory_reservation in, out;
	uint64_t nr_exchanged;
};

struct xe_machphys_mfn_list {
	uint32_t max_extents, pad0;
	uint64_t extent_start;
	uint32_t nr_extents, pad1;
};

struct xe_machphys_mapping {
	uint64_t v_start, v_end, max_mfn;
};

struct xe_add_to_physmap {
	uint16_t domid, size;
	uint32_t space;
	uint64_t idx, gpfn;
};

struct xe_add_to_physmap_batch {
	uint16_t domid, space, size, foreign_domid;
	uint64_t idxs, gpfns, errs;
};

struct xe_remove_from_physmap {
	uint16_t domid, pad[3];
	uint64_t gpfn;
};

struct xe_memory_map {
	uint32_t nr_entries, pad;
	uint64_t buffer;
};

struct xe_foreign_memory_map {
	uint16_t domid, pad[3];
	struct xe_memory_map map;
};

/* As the BIOS's: not padded, so only ever copied as XE_E820_SIZE bytes. */
enum { XE_E820_SIZE = 20, XE_E820_MAX = 1024, XE_E820_RAM = 1 };

struct xe_pod_target {
	uint64_t target_pages, tot_pages, pod_cache_pages, pod_entries;
	uint16_t domid, pad[3];
};

struct xe_mem_access_op {
	uint8_t op, access;
	uint16_t domid;
	uint32_t nr;
	uint64_t pfn, pfn_list, access_list;
};

struct xe_vnuma_topology_info {
	uint16_t domid, pad;
	uint32_t nr_vnodes, nr_vcpus, nr_vmemranges;
	uint64_t vdistance, vcpu_to_vnode, vmemrange;
};

struct xe_reserved_device_memory_map {
	uint32_t flags, nr_entries;
	uint64_t buffer;
	uint32_t dev, pad;
};

enum { XE_RESOURCE_IOREQ_SERVER = 0, XE_RESOURCE_GRANT_TABLE = 1, XE_RESOURCE_VMTRACE = 2 };

struct xe_mem_acquire_resource {
	uint16_t domid, type;
	uint32_t id, nr_frames, pad;
	uint64_t frame, frame_list;
};

static_assert(sizeof(struct xe_memory_reservation) == 32, "memory_reservation");
static_assert(offsetof(struct xe_memory_reservation, domid) == 24, "memory_reservation");
static_assert(sizeof(struct xe_memory_exchange) == 72, "memory_exchange");
static_assert(offsetof(struct xe_memory_exchange, nr_exchanged) == 64, "memory_exchange");
static_assert(sizeof(struct xe_machphys_mfn_list) == 24, "machphys_mfn_list");
static_assert(offsetof(struct xe_machphys_mfn_list, extent_start) == 8, "machphys_mfn_list");
static_assert(sizeof(struct xe_machphys_mapping) == 24, "machphys_mapping");
static_assert(offsetof(struct xe_machphys_mapping, max_mfn) == 16, "machphys_mapping");
static_assert(sizeof(struct xe_add_to_physmap) == 24, "add_to_physmap");
static_assert(offsetof(struct xe_add_to_physmap, gpfn) == 16, "add_to_physmap");
static_assert(sizeof(struct xe_add_to_physmap_batch) == 32, "add_to_physmap_batch");
static_assert(offsetof(struct xe_add_to_physmap_batch, idxs) == 8, "add_to_physmap_batch");
static_assert(sizeof(struct xe_remove_from_physmap) == 16, "remove_from_physmap");
static_assert(offsetof(struct xe_remove_from_physmap, gpfn) == 8, "remove_from_physmap");
static_assert(sizeof(struct xe_memory_map) == 16, "memory_map");
static_assert(offsetof(struct xe_memory_map, buffer) == 8, "memory_map");
static_assert(sizeof(struct xe_foreign_memory_map) == 24, "foreign_memory_map");
static_assert(offsetof(struct xe_foreign_memory_map, map) == 8, "foreign_memory_map");
static_assert(sizeof(struct xe_pod_target) == 40, "pod_target");
static_assert(offsetof(struct xe_pod_target, domid) == 32, "pod_target");
static_assert(sizeof(struct xe_mem_access_op) == 32, "mem_access_op");
static_assert(offsetof(struct xe_mem_access_op, pfn) == 8, "mem_access_op");
static_assert(sizeof(struct xe_vnuma_topology_info) == 40, "vnuma_topology_info");
static_assert(offsetof(struct xe_vnuma_topology_info, vdistance) == 16, "vnuma_topology_info");
static_assert(sizeof(struct xe_reserved_device_memory_map) == 24, "reserved_device_memory_map");
static_assert(offsetof(struct xe_reserved_device_memory_map, buffer) == 8, "buffer");
static_assert(sizeof(struct xe_mem_acquire_resource) == 32, "mem_acquire_resource");
static_assert(offsetof(struct xe_mem_acquire_resource, frame) == 16, "mem_acquire_resource");

#endif
