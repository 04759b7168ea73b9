/* Inside of the host: the structs and the calls between the files of csrc/xen.
 * Nothing outside csrc/xen, csrc/hypercall.c and csrc/zeroloss.c includes this. */
#ifndef XE_XEN_INTERNAL_H
#define XE_XEN_INTERNAL_H

#include "base/abi.h"
#include "xen/host.h"
#include "xen/public.h"

#define XE_PGC_ALLOCATED (1ull << 63)
#define XE_PGC_COUNT ((1ull << 57) - 1)
#define XE_PGT_TYPE (7ull << 61)
#define XE_PGT_VALIDATED (1ull << 58)
#define XE_PGT_COUNT ((1ull << 57) - 1)
#define XE_PGT_LEVEL(n) ((uint64_t)(n) << 61) /* page table of level 1..4 */
#define XE_PGT_WRITABLE (7ull << 61)

#define XE_PTE_PRESENT 1ull
#define XE_PTE_RW 2ull
#define XE_PTE_AD 0x60ull
#define XE_PTE_MFN 0x000ffffffffff000ull
#define XE_PTE_FLAGS_RW 0x67ull
#define XE_PTE_FLAGS_RO 0x65ull
#define XE_PTES 512u

enum {
	XE_NO_DOMAIN = 0xffff,
	XE_FRAME_DIRTY = 1,   /* free, and its memory may not be zero */
	XE_FRAME_SYSTEM = 2,  /* page table or shared_info: never part of a log */
	XE_CHUNK_FRAMES = 1 << XE_EXTENT_ORDER,
	XE_CHUNK_WORDS = XE_CHUNK_FRAMES / 64,
	XE_TLB_SIZE = 256,
	XE_EVTCHNS = 4096,
	XE_VIRQS = 24,
	XE_CONSOLE_SIZE = 4096,
	XE_MAX_PATHS = 256,
	XE_SHUTDOWN_NONE = 0xffff,
	XE_SHUTDOWN_CRASH = 3,
};

struct xe_frame {
	uint64_t count_info;
	uint64_t type_info;
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
	uint64_t vpn, pte; /* pte's RW bit: writable at all levels */
};

struct xe_evtchn {
	uint8_t state;       /* EVTCHNSTAT_* */
	uint8_t virq;
	uint16_t remote_dom;
	uint32_t remote_port;
};

struct xe_domain {
	uint32_t id, generation;
	uint64_t refs; /* 1 of its own until destroyed, 1 while it owns pages, 1 per log */
	uint64_t tot_pages, max_pages;
	uint64_t init_pages, window_pages; /* as created: what its backup gets */
	uint64_t usable_pages, shared_pfn, p2m_pfn;
	xe_mfn shared_mfn, l4; /* 0: none */
	xe_mfn *tables; /* its page tables, the n_l1 tables of level 1 first */
	uint64_t n_tables, n_l1;
	uint32_t pause_count;
	uint32_t shutdown_code;
	uint32_t vcpus; /* 0 or 1 */
	uint32_t ip, own_ip, next_ip;
	bool privileged, dying, blocked, crashed, vcpu_online;
	bool fault_reported, upcall_queued, queued;
	uint32_t signals;
	int32_t signal_status;
	xe_mfn hb_mfn;
	uint64_t hb_last;
	uint32_t hb_missed;
	bool hb_armed;
	struct xe_evtchn *evtchn;
	uint16_t virq_port[XE_VIRQS];
	uint32_t console_head, console_len;
	uint8_t console[XE_CONSOLE_SIZE];
	struct xe_tlb_entry tlb[XE_TLB_SIZE];
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
	bool in_place;    /* RECOVERING in the primary itself (thesis 6.3.1), which runs */
	bool trial; /* RECOVERING from a primary that only waits: it keeps the log, and may go on */
	uint32_t log_owner; /* domain that holds the references; valid if extents */
	uint32_t extents;
	xe_mfn *extent;
	uint16_t ports[XE_MAX_PROTECTED_PORTS];
	uint32_t nports, ports_version;
};

struct xe_path {
	uint32_t ip, domid;
};

struct xe_host {
	uint8_t *memory;
	uint64_t nframes, nfree;
	void (*release)(void *ctx, xe_mfn mfn, uint64_t n);
	void *release_ctx;
	struct xe_frame *frame;
	struct xe_chunk *chunk;
	uint64_t nchunks, low_chunk; /* no free frame below low_chunk */
	xe_mfn run_start; /* freed, not yet released */
	uint64_t run_n;
	struct xe_domain *domain[XE_MAX_DOMAINS];
	uint32_t generations;
	uint32_t runq[XE_MAX_DOMAINS], nrunq;
	struct xe_work *work; /* ring, work_cap is a power of 2 */
	uint32_t work_cap, work_head, work_len;
	struct xe_path path[XE_MAX_PATHS];
	uint32_t npaths;
	struct xe_pair pair[XE_MAX_DOMAINS];
	uint32_t ports_versions;
	struct xe_host_counters counters;
};

/* host.c */
int xe_queue_work(struct xe_host *h, const struct xe_work *w);
void xe_queue_vmm(struct xe_host *h, const struct xe_domain *d, enum xe_vmm_event ev, uint64_t a,
		  uint64_t b);

/* frame.c */
int xe_frames_create(struct xe_host *h);
void xe_frames_destroy(struct xe_host *h);
void xe_frames_flush(struct xe_host *h); /* tell `release` what was freed */
int xe_alloc_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn);
int xe_alloc_extent(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn);
bool xe_get_page(struct xe_host *h, xe_mfn mfn, const struct xe_domain *d);
void xe_put_page(struct xe_host *h, xe_mfn mfn);
bool xe_drop_allocated(struct xe_host *h, xe_mfn mfn);
int xe_get_page_type(struct xe_frame *f, uint64_t type);
void xe_put_page_type(struct xe_frame *f);
void xe_assign_frame(struct xe_host *h, xe_mfn mfn, struct xe_domain *to);

static inline uint8_t *xe_frame_ptr(const struct xe_host *h, xe_mfn mfn)
{
	return h->memory + (mfn << XE_PAGE_SHIFT);
}

/* domain.c */
struct xe_domain *xe_domain(const struct xe_host *h, uint32_t domid); /* zombies too; NULL */
struct xe_domain *xe_live_domain(const struct xe_host *h, uint32_t domid); /* NULL if dying */
struct xe_domain *xe_domain_or_self(const struct xe_host *h, struct xe_domain *cur, uint32_t domid);
void xe_get_domain(struct xe_domain *d);
void xe_put_domain(struct xe_host *h, struct xe_domain *d);
int xe_domain_alloc(struct xe_host *h, uint32_t want,
		    struct xe_domain **out); /* want 0: lowest free */
bool xe_domain_runnable(const struct xe_domain *d);
void xe_domain_do_destroy(struct xe_host *h, struct xe_domain *d);

/* builder.c */
int xe_build(struct xe_host *h, struct xe_domain *d, uint64_t pages, uint64_t window);

/* pagetable.c */
int xe_walk(struct xe_host *h, struct xe_domain *d, uint64_t gva, uint64_t **l1e, bool *rw);
void xe_tlb_flush(struct xe_domain *d);
void xe_tlb_invalidate(struct xe_domain *d, uint64_t gva);
int xe_copy_from(struct xe_host *h, struct xe_domain *d, void *buf, uint64_t gva, size_t n);
int xe_copy_to(struct xe_host *h, struct xe_domain *d, uint64_t gva, const void *buf, size_t n);
int xe_check_writable(struct xe_host *h, struct xe_domain *d, uint64_t gva, size_t n);

/* mmu.c */
int xe_update_va_mapping(struct xe_host *h, struct xe_domain *d, uint64_t va, uint64_t val);
int xe_mmu_update_one(struct xe_host *h, struct xe_domain *d, struct xe_domain *fd, uint64_t ptr,
		      uint64_t val);
void xe_unmap_log(struct xe_host *h, struct xe_domain *d, uint8_t log);
void xe_unmap_all(struct xe_host *h, struct xe_domain *d);

/* evtchn.c */
struct xe_shared_info *xe_shared_info(const struct xe_host *h, const struct xe_domain *d);
int xe_evtchn_alloc_unbound(struct xe_host *h, struct xe_domain *d,
			    struct xe_evtchn_alloc_unbound *op);
int xe_evtchn_bind_interdomain(struct xe_host *h, struct xe_domain *d,
			       struct xe_evtchn_bind_interdomain *op);
int xe_evtchn_bind_virq(struct xe_domain *d, struct xe_evtchn_bind_virq *op);
int xe_evtchn_bind_ipi(struct xe_domain *d, struct xe_evtchn_bind_ipi *op);
int xe_evtchn_bind_vcpu(struct xe_domain *d, const struct xe_evtchn_bind_vcpu *op);
int xe_evtchn_close(struct xe_host *h, struct xe_domain *d, uint32_t port);
int xe_evtchn_send(struct xe_host *h, struct xe_domain *d, uint32_t port);
int xe_evtchn_status(struct xe_host *h, struct xe_domain *d, struct xe_evtchn_status *op);
int xe_evtchn_unmask(struct xe_host *h, struct xe_domain *d, uint32_t port);
int xe_evtchn_reset(struct xe_host *h, struct xe_domain *d, uint32_t domid);
void xe_evtchn_close_all(struct xe_host *h, struct xe_domain *d);
void xe_evtchn_kick(struct xe_host *h,
		    struct xe_domain *d); /* upcall work if something is pending */

/* sched.c */
void xe_sched_update(struct xe_host *h, struct xe_domain *d);
int xe_sched_block(struct xe_host *h, struct xe_domain *d);
int xe_sched_shutdown(struct xe_host *h, struct xe_domain *d, uint32_t reason);

/* memory.c */
int64_t xe_memory_reservation(struct xe_host *h, struct xe_domain *d, uint32_t cmd,
			      const struct xe_memory_reservation *r);
int64_t xe_memory_query(struct xe_host *h, struct xe_domain *d, uint32_t cmd, uint32_t domid);

/* domctl.c */
int xe_domctl(struct xe_host *h, struct xe_domain *d, struct xe_domctl *op);

/* heartbeat.c */
int xe_heartbeat_register(struct xe_host *h, struct xe_domain *d, uint64_t mfn);
void xe_heartbeat_unregister(struct xe_host *h, struct xe_domain *d);
void xe_heartbeat_restart(struct xe_host *h, struct xe_domain *d);
uint64_t xe_heartbeat_count(const struct xe_host *h, const struct xe_domain *d);
void xe_report_fault(struct xe_host *h, struct xe_domain *d, uint32_t kind);

/* netsched.c */
void xe_path_clear_domain(struct xe_host *h, uint32_t domid);
uint32_t xe_free_ip(const struct xe_host *h);

/* pair.c: the decisions; log.c: the log's frames */
struct xe_pair *xe_pair_of_primary(struct xe_host *h, uint32_t domid);
struct xe_pair *xe_pair_of_backup(struct xe_host *h, uint32_t domid);
const struct xe_pair *xe_pair_of(const struct xe_host *h, uint32_t domid);
uint8_t xe_pair_tag(const struct xe_host *h, const struct xe_pair *p);
void xe_pair_domain_gone(struct xe_host *h, struct xe_domain *d);
int xe_zl_op(struct xe_host *h, struct xe_domain *d, uint32_t cmd, struct xe_zl_arg *a);
int xe_log_register(struct xe_host *h, struct xe_domain *d, struct xe_pair *p,
		    const struct xe_zl_arg *a);
int xe_log_get(struct xe_host *h, struct xe_domain *d, struct xe_pair *p, struct xe_zl_arg *a);
void xe_log_transfer(struct xe_host *h, struct xe_pair *p, struct xe_domain *to);
void xe_log_release(struct xe_host *h, struct xe_pair *p);
bool xe_log_may_map(struct xe_host *h, const struct xe_domain *d, const struct xe_frame *f);

/* csrc/zeroloss.c, csrc/hypercall.c */
int64_t xe_do_zeroloss_op(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6]);
int xe_copy_arg(struct xe_host *h, struct xe_domain *d, void *buf, uint64_t gva, size_t n);

#endif
