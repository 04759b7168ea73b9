/* Inside of the host: its structs. The calls between the files of csrc/xen are in calls.h.
 * Nothing outside csrc/xen, csrc/hypercall.c and csrc/zeroloss.c includes this. */
#ifndef XE_XEN_INTERNAL_H
#define XE_XEN_INTERNAL_H

#include "base/abi.h"
#include "base/domset.h"
#include "xen/host.h"
#include "xen/public.h"

/* count_info and type_info of a frame, as in Xen's mm.h for x86-64. */
#define XE_PGC_ALLOCATED (1ull << 63)
#define XE_PGC_XEN_HEAP (1ull << 62) /* ours, shared with its owner; not in its tot_pages */
#define XE_PGC_COUNT ((1ull << 57) - 1)
#define XE_PGT_TYPE (7ull << 61)
#define XE_PGT_LEVEL(n) ((uint64_t)(n) << 61) /* page table of level 1..4 */
#define XE_PGT_SEG_DESC (5ull << 61)
#define XE_PGT_WRITABLE (7ull << 61)
#define XE_PGT_PINNED (1ull << 59)
#define XE_PGT_VALIDATED (1ull << 58)
#define XE_PGT_LINEAR (1ull << 40) /* one use by a table of the same level; 15 bits of them */
#define XE_PGT_LINEAR_USES (0x7fffull << 40)
#define XE_PGT_COUNT ((1ull << 40) - 1)

#define XE_PTE_PRESENT 1ull
#define XE_PTE_RW 2ull
#define XE_PTE_USER 4ull
#define XE_PTE_ACCESSED 0x20ull
#define XE_PTE_AD 0x60ull
#define XE_PTE_PWT 8ull
#define XE_PTE_PCD 0x10ull
#define XE_PTE_PAT 0x80ull
#define XE_PTE_CACHE 0x98ull /* PWT, PCD, and PAT, which is PSE above level 1 */
#define XE_PTE_GLOBAL 0x100ull
#define XE_PTE_GUEST_KERNEL (1ull << 52) /* as Xen marks entries without USER */
#define XE_PTE_NX (1ull << 63)
#define XE_PTE_MFN 0x000ffffffffff000ull
#define XE_PTE_FLAGS_RW 0x67ull
#define XE_PTE_FLAGS_RO 0x65ull
#define XE_PTES 512u
#define XE_XEN_END 0xffff880000000000ull /* of the addresses that are Xen's own */
#define XE_L4_XEN_LAST 271u /* slots 256 to 271 of a level 4 table are Xen's */

#define XE_HYPERVISOR_START 0xffff800000000000ull /* of what Xen has for itself */

enum {
	XE_NO_DOMAIN = 0xffff,
	XE_LOW_FRAMES = 256, /* the first MiB of a PC: no RAM, DOMID_IO's */
	XE_FRAME_DIRTY = 1,   /* free, and its memory may not be zero */
	XE_FRAME_GRANTED = 2, /* was mapped by grant: never part of a log */
	XE_FRAME_KEPT = 4,    /* ours beyond its last reference, until xe_free_kept */
	XE_CHUNK_FRAMES = 1 << XE_EXTENT_ORDER,
	XE_CHUNK_WORDS = XE_CHUNK_FRAMES / 64,
	XE_MAX_ORDER = 18, /* that the control domain may ask for */
	XE_TLB_SIZE = 256,
	XE_EVTCHNS = 4096,       /* of the 2-level ABI */
	XE_EVTCHN_BUCKET = 64,   /* ports come into being by so many */
	XE_GRANT_FRAMES = 64, /* as Xen's defaults, also the most that a domain may get */
	XE_MAPTRACK_FRAMES = 1024,
	XE_VIRQS = 24,
	XE_CONSOLE_SIZE = 4096,
	XE_MAX_PATHS = 256,
	XE_SHUTDOWN_NONE = 0xffff,
	XE_SHUTDOWN_POWEROFF = 0,
	XE_SHUTDOWN_SUSPEND = 2,
	XE_SHUTDOWN_CRASH = 3,
	XE_SHUTDOWN_WATCHDOG = 4,
	XE_WATCHDOGS = 2,
	XE_LDT_FRAMES = 16,
};

/* The state of a virtual CPU, as in struct xe_runstate_info. */
enum { XE_RUNNING, XE_RUNNABLE, XE_BLOCKED, XE_OFFLINE, XE_RUNSTATES };

struct xe_frame {
	uint64_t count_info;
	uint64_t type_info;
	uint32_t next, prev; /* among the owner's frames, until it is freed; 0: none */
	uint32_t m2p;
	uint16_t owner;  /* domid or XE_NO_DOMAIN */
	uint8_t log;     /* index of the pair whose log it is part of, plus 1 */
	uint8_t flags;
};

struct xe_chunk {
	uint64_t free[XE_CHUNK_WORDS]; /* bit set: frame is free */
	uint32_t nfree;
};

struct xe_tlb_entry {
	uint64_t vpn;
	uint32_t mfn, tag; /* tag: the vcpu's tlb_gen << 1, plus 1 if writable at all levels */
};

struct xe_evtchn {
	uint8_t state;       /* enum xe_evtchn_state */
	uint8_t virq;
	uint16_t remote_dom;
	uint32_t remote_port;
	uint16_t vcpu; /* that is told */
	/* evtchn_fifo.c: the queue that it goes to, that it was last on; raised before it had a word */
	uint8_t priority, last_priority;
	uint16_t last_vcpu;
	bool pending;
};

enum xe_evtchn_state { XE_CLOSED, XE_UNBOUND, XE_INTERDOMAIN, XE_PIRQ, XE_VIRQ, XE_IPI };

/* Something to be done at a machine time: `fire(h, owner)`. Its owner stops it before it goes. */
struct xe_timer {
	xe_ns at;
	uint64_t order; /* of arming, among those of the same time */
	void (*fire)(struct xe_host *h, void *owner);
	void *owner;
	uint32_t slot; /* in the heap, plus 1; 0: not armed */
};

/* cpu.c, segment.c, vcpu_context.c. Of the roots and the LDT the vcpu itself knows. */
struct xe_cpu {
	struct xe_vcpu_context c;
	uint64_t syscall32, sysenter; /* callbacks for which there is no place in it */
	bool syscall32_masks, sysenter_masks;
};

/* Fields are changed by the file that is named over them. */
struct xe_vcpu {
	struct xe_domain *domain;
	uint32_t id;
	uint64_t trace_head; /* of a hypercall that it makes, but for the number */
	/* vcpu.c, sched.c */
	bool initialised, online, blocked;
	uint8_t runstate; /* XE_RUNNING.. */
	xe_ns runstate_since, runstate_time[XE_RUNSTATES];
	uint64_t runstate_gva, time_gva; /* copies that the guest wants; 0: none */
	xe_mfn info_mfn; /* where it wants its vcpu_info, referenced; 0: in shared_info */
	uint32_t info_offset;
	bool nmi_pending;
	struct xe_timer singleshot, periodic;
	xe_ns period, last_tick; /* period 0: none */
	/* sched.c: blocked by poll, on one port, or on any (0) */
	struct xe_timer poll_timeout;
	uint32_t poll_port;
	bool pinned;
	/* grant_map.c: its free handles; UINT32_MAX: none yet */
	uint32_t maptrack_head, maptrack_tail;
	/* evtchn.c */
	uint32_t virq_port[XE_VIRQS]; /* of a global virq: that of vcpu 0 */
	/* mmuext.c, pagetable.c */
	xe_mfn cr3, user_cr3; /* roots of its page tables, referenced; 0: none */
	uint64_t ldt_base;
	uint32_t ldt_ents;
	xe_mfn ldt_frame
		[XE_LDT_FRAMES]; /* segment.c: those in use, referenced and typed; 0: not yet */
	uint32_t tlb_gen;
	struct xe_tlb_entry tlb[XE_TLB_SIZE];
	struct xe_cpu cpu;
};

struct xe_domain {
	uint32_t id, generation;
	uint64_t refs; /* 1 of its own until destroyed, 1 while it owns pages, 1 per log */
	bool privileged, dying, crashed;
	uint32_t pause_count;
	uint32_t shutdown_code; /* may be set before it is shut down */
	bool shut_down;
	struct xe_vcpu **vcpu; /* max_vcpus pointers, those that exist first */
	uint32_t max_vcpus, nvcpus;
	uint32_t online_vcpus, ready_vcpus; /* up; up and not blocked */
	/* frame.c, memory.c */
	uint64_t tot_pages, max_pages;
	uint64_t xenheap_pages; /* XE_PGC_XEN_HEAP frames of its own, also while it owns them */
	uint64_t claimed; /* pages that it may still take before others */
	uint32_t first_frame, first_xenheap; /* lists through xe_frame.next */
	/* builder.c */
	struct xe_domain_config built; /* as created: what its backup gets */
	char cmdline[XE_CMDLINE_SIZE]; /* to its end zeroes */
	uint64_t virt_base, usable_pages, p2m_pfn, start_info_pfn; /* 0 pages usable: not built */
	/* evtchn.c */
	xe_mfn shared_mfn; /* ours; 0: none any more */
	struct xe_evtchn *evtchn; /* valid_ports of them; no free one below low_port */
	uint32_t valid_ports, low_port;
	uint64_t raised; /* words of pending[] in which we may have set bits */
	struct xe_fifo *fifo; /* NULL: 2-level ABI */
	uint32_t max_port; /* highest that it may use; fixed at creation, as the next two */
	/* grant.c */
	uint32_t max_grant_frames, max_maptrack_frames;
	struct xe_grant_table *grants; /* NULL until first used */
	/* domctl.c */
	uint8_t handle[16];
	uint32_t create_flags, emulation_flags;
	uint32_t suspend_port; /* told when it has suspended, in place of domain 0; 0: none */
	int64_t time_offset_s;
	bool debugged;
	/* cpu.c */
	uint64_t vm_assist;
	/* memory_info.c: entries of XE_E820_SIZE bytes */
	uint8_t *e820;
	uint32_t n_e820;
	/* sched.c */
	bool upcall_queued, queued, runs; /* runs: as was told last */
	struct xe_domain *run_prev, *run_next;
	uint64_t polling[XE_MAX_VCPUS / 64]; /* its vcpus that do */
	struct xe_timer watchdog[XE_WATCHDOGS];
	bool watchdog_used[XE_WATCHDOGS];
	/* netsched.c, pair.c, heartbeat.c */
	uint32_t ip, own_ip, next_ip;
	uint32_t signals;
	int32_t signal_status;
	bool fault_reported;
	xe_mfn hb_mfn;
	uint64_t hb_last;
	uint32_t hb_missed;
	bool hb_armed;
	/* console.c */
	uint32_t console_head, console_len;
	uint8_t console[XE_CONSOLE_SIZE];
};

struct xe_pair {
	enum xe_pair_state state;
	uint32_t primary, backup, old_primary;
	uint32_t ip;
	bool backup_has_primary_ip;
	bool holds_old; /* a reference on the destroyed primary, so that its id stays taken */
	uint64_t features; /* tcp_feature bits of the primary: what its connections may use */
	bool backup_booted;
	bool log_granted; /* the recovering backup may map the log */
	enum xe_pair_state before; /* an in-place recovery */
	bool in_place; /* RECOVERING in the primary itself (thesis 6.3.1), which runs */
	bool trial; /* RECOVERING from a primary that only waits: it keeps the log, and may go on */
	uint32_t log_owner; /* domain that holds the references; valid if extents */
	uint32_t extents;
	xe_mfn *extent;
	uint32_t ports[XE_MAX_PROTECTED_PORTS]; /* port | profile << 16 */
	uint32_t nports, ports_version;
};

struct xe_path {
	uint32_t ip, domid;
};

struct xe_host {
	/* what every hypercall uses */
	xe_ns now; /* machine time of the call that runs */
	struct xe_vcpu *current; /* that makes the hypercall that runs; NULL */
	struct xe_trace *trace; /* or &untold */
	bool *changed; /* or &unheard */
	uint64_t run_n; /* frames freed, not yet released */
	uint64_t seen_gva; /* of the first copy that the hypercall made */
	uint32_t seen_len; /* 0: it has made none, or none runs */
	bool unheard;
	struct xe_host_counters counters;
	uint8_t *memory;
	uint64_t nframes, nfree;
	void (*release)(void *ctx, xe_mfn mfn, uint64_t n);
	void (*settle)(void *ctx);
	void *ctx;
	struct xe_frame *frame;
	struct xe_chunk *chunk;
	uint64_t nchunks;
	uint64_t low[XE_EXTENT_ORDER]; /* by order: no chunk below has such an extent free */
	uint64_t claimed; /* of nfree, by domains that may still take them */
	xe_mfn run_start; /* of those run_n */
	struct xe_domain *domain[XE_MAX_DOMAINS];
	uint32_t top; /* no domain has this id or a higher one */
	struct xe_domset domains;
	uint32_t rover; /* id that domctl gave last */
	uint32_t generations;
	struct xe_domain *run_first, *run_last;
	struct xe_trace untold;
	struct xe_trace_record untold_record;
	struct xe_domset changed_domains;
	struct xe_domset watched; /* those that the heartbeat check may concern */
	struct xe_work *work; /* ring, work_cap is a power of 2 */
	uint32_t work_cap, work_head, work_len;
	struct xe_timer **timer; /* heap of the armed ones, the earliest first */
	uint32_t ntimers, timer_cap;
	uint64_t timer_order;
	uint64_t boot_epoch; /* seconds since 1970 at machine time 0 */
	struct xe_path path[XE_MAX_PATHS];
	uint32_t npaths;
	struct xe_pair pair[XE_MAX_PAIRS];
	uint32_t ports_versions;
};

#include "xen/calls.h"

#endif
