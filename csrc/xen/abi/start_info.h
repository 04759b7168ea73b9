/* start_info, what a PV kernel is told when it starts: xen/xen.h. */
#ifndef XE_XEN_ABI_START_INFO_H
#define XE_XEN_ABI_START_INFO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
	XE_CMDLINE_SIZE = 1024,
	XE_SIF_PRIVILEGED = 1,
	XE_SIF_INITDOMAIN = 2,
	XE_SIF_VIRT_P2M_4TOOLS = 16, /* tools would follow p2m_vaddr */
};

struct xe_start_info {
	char magic[32];
	uint64_t nr_pages;
	uint64_t shared_info; /* machine address */
	uint32_t flags, pad0;
	uint64_t store_mfn;
	uint32_t store_evtchn, pad1;
	union {
		struct {
			uint64_t mfn;
			uint32_t evtchn, pad;
		} domu;
		struct {
			uint32_t info_off, info_size;
		} dom0;
	} console;
	uint64_t pt_base, nr_pt_frames; /* virtual address of the root, the first of so many */
	uint64_t mfn_list;              /* virtual */
	uint64_t mod_start, mod_len;
	char cmd_line[XE_CMDLINE_SIZE];
	uint64_t first_p2m_pfn, nr_p2m_frames; /* of a P2M outside the initial mapping */
};

static_assert(sizeof(struct xe_start_info) == 1168, "start_info");
static_assert(offsetof(struct xe_start_info, store_mfn) == 56, "store_mfn");
static_assert(offsetof(struct xe_start_info, console) == 72, "console");
static_assert(offsetof(struct xe_start_info, pt_base) == 88, "pt_base");
static_assert(offsetof(struct xe_start_info, cmd_line) == 128, "cmd_line");
static_assert(offsetof(struct xe_start_info, nr_p2m_frames) == 1160, "nr_p2m_frames");

#endif
