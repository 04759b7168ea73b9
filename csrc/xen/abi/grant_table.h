/* Structs of grant_table_op and the entries of a table of version 1: xen/grant_table.h. */
#ifndef XE_XEN_ABI_GRANT_TABLE_H
#define XE_XEN_ABI_GRANT_TABLE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_grant_entry {
	uint16_t flags, domid;
	uint32_t frame;
};

struct xe_gnttab_map {
	uint64_t host_addr;
	uint32_t flags, ref;
	uint16_t dom;
	int16_t status;
	uint32_t handle;
	uint64_t dev_bus_addr;
};

struct xe_gnttab_unmap {
	uint64_t host_addr, dev_bus_addr;
	uint32_t handle;
	int16_t status, pad;
};

struct xe_gnttab_replace { /* unmap_and_replace */
	uint64_t host_addr, new_addr;
	uint32_t handle;
	int16_t status, pad;
};

struct xe_gnttab_setup {
	uint16_t dom, pad;
	uint32_t nr_frames;
	int16_t status, pad2[3];
	uint64_t frame_list;
};

struct xe_gnttab_query_size {
	uint16_t dom, pad;
	uint32_t nr_frames, max_nr_frames;
	int16_t status, pad2;
};

struct xe_gnttab_transfer {
	uint64_t mfn;
	uint16_t domid, pad;
	uint32_t ref;
	int16_t status, pad2[3];
};

struct xe_gnttab_copy_ptr {
	union {
		uint32_t ref;
		uint64_t gmfn;
	} u;
	uint16_t domid, offset, pad[2];
};

struct xe_gnttab_copy {
	struct xe_gnttab_copy_ptr source, dest;
	uint16_t len, flags;
	int16_t status, pad;
};

struct xe_gnttab_status_frames {
	uint32_t nr_frames;
	uint16_t dom;
	int16_t status;
	uint64_t frame_list;
};

struct xe_gnttab_get_version {
	uint16_t dom, pad;
	uint32_t version;
};

struct xe_gnttab_set_version {
	uint32_t version;
};

struct xe_gnttab_swap {
	uint32_t ref_a, ref_b;
	int16_t status, pad;
};

struct xe_gnttab_cache_flush {
	uint64_t dev_bus_addr;
	uint16_t offset, length;
	uint32_t op;
};

static_assert(sizeof(struct xe_grant_entry) == 8, "grant_entry_v1");
static_assert(sizeof(struct xe_gnttab_map) == 32, "gnttab_map_grant_ref");
static_assert(offsetof(struct xe_gnttab_map, status) == 18, "gnttab_map_grant_ref.status");
static_assert(sizeof(struct xe_gnttab_unmap) == 24, "gnttab_unmap_grant_ref");
static_assert(offsetof(struct xe_gnttab_unmap, status) == 20, "gnttab_unmap_grant_ref.status");
static_assert(sizeof(struct xe_gnttab_replace) == 24, "gnttab_unmap_and_replace");
static_assert(offsetof(struct xe_gnttab_replace, handle) == 16, "gnttab_unmap_and_replace.handle");
static_assert(sizeof(struct xe_gnttab_setup) == 24, "gnttab_setup_table");
static_assert(offsetof(struct xe_gnttab_setup, frame_list) == 16, "gnttab_setup_table.frame_list");
static_assert(sizeof(struct xe_gnttab_query_size) == 16, "gnttab_query_size");
static_assert(offsetof(struct xe_gnttab_query_size, status) == 12, "gnttab_query_size.status");
static_assert(sizeof(struct xe_gnttab_transfer) == 24, "gnttab_transfer");
static_assert(offsetof(struct xe_gnttab_transfer, status) == 16, "gnttab_transfer.status");
static_assert(sizeof(struct xe_gnttab_copy) == 40, "gnttab_copy");
static_assert(offsetof(struct xe_gnttab_copy, len) == 32, "gnttab_copy.len");
static_assert(sizeof(struct xe_gnttab_status_frames) == 16, "gnttab_get_status_frames");
static_assert(offsetof(struct xe_gnttab_status_frames, status) == 6, "get_status_frames.status");
static_assert(sizeof(struct xe_gnttab_get_version) == 8, "gnttab_get_version");
static_assert(offsetof(struct xe_gnttab_get_version, version) == 4, "gnttab_get_version.version");
static_assert(sizeof(struct xe_gnttab_set_version) == 4, "gnttab_set_version");
static_assert(sizeof(struct xe_gnttab_swap) == 12, "gnttab_swap_grant_ref");
static_assert(offsetof(struct xe_gnttab_swap, status) == 8, "gnttab_swap_grant_ref.status");
static_assert(sizeof(struct xe_gnttab_cache_flush) == 16, "gnttab_cache_flush");
static_assert(offsetof(struct xe_gnttab_cache_flush, op) == 12, "gnttab_cache_flush.op");

#endif
