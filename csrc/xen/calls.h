/* The calls between the files of csrc/xen, by file. Included at the end of internal.h. */
#ifndef XE_XEN_CALLS_H
#define XE_XEN_CALLS_H

#include "xen/internal.h"

/* A hypercall: `v` makes it. Its result, or -errno. */
typedef int64_t xe_hypercall_fn(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6]);

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
/* A frame of ours, shared writable with d; it is d's until xe_drop_allocated. */
int xe_alloc_xenheap(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn);
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
int xe_domain_alloc(struct xe_host *h, uint32_t want, uint32_t max_vcpus,
		    struct xe_domain **out); /* want 0: lowest free */
bool xe_domain_runnable(const struct xe_domain *d);
void xe_domain_free(struct xe_domain *d);
void xe_domain_do_destroy(struct xe_host *h, struct xe_domain *d);

/* builder.c */
int xe_build(struct xe_host *h, struct xe_domain *d, const struct xe_domain_config *cfg);

/* pagetable.c */
int xe_walk(struct xe_host *h, const struct xe_vcpu *v, uint64_t gva, uint64_t **l1e, bool *rw);
void xe_tlb_flush(struct xe_vcpu *v);
void xe_tlb_flush_all(struct xe_domain *d); /* of all its vcpus */
void xe_tlb_invalidate(struct xe_domain *d, uint64_t gva); /* likewise, one page */
/* Copies through the tables of v. -EFAULT; nothing is moved unless everything can be. */
int xe_copy_from(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n);
int xe_copy_to(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, const void *buf, size_t n);
int xe_check_writable(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n);

/* mmu.c */
xe_hypercall_fn xe_do_mmu_update, xe_do_update_va_mapping;
void xe_unmap_log(struct xe_host *h, struct xe_domain *d, uint8_t log);
void xe_unmap_all(struct xe_host *h, struct xe_domain *d);

/* vcpu.c */
int xe_vcpu_create(struct xe_host *h, struct xe_domain *d); /* the next one */
void xe_vcpus_free(struct xe_domain *d);
struct xe_vcpu *xe_vcpu(const struct xe_domain *d, uint32_t id); /* NULL: there is none */

/* evtchn.c */
xe_hypercall_fn xe_do_event_channel_op;
struct xe_shared_info *xe_shared_info(const struct xe_host *h, const struct xe_domain *d);
void xe_evtchn_close_all(struct xe_host *h, struct xe_domain *d);
void xe_evtchn_kick(struct xe_host *h,
		    struct xe_domain *d); /* upcall work if something is pending */

/* sched.c */
xe_hypercall_fn xe_do_sched_op;
void xe_sched_update(struct xe_host *h, struct xe_domain *d);

/* memory.c, domctl.c, version.c, console.c */
xe_hypercall_fn xe_do_memory_op, xe_do_domctl, xe_do_xen_version, xe_do_console_io;

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
int xe_log_get(struct xe_host *h, struct xe_pair *p, struct xe_zl_arg *a);
void xe_log_transfer(struct xe_host *h, struct xe_pair *p, struct xe_domain *to);
void xe_log_release(struct xe_host *h, struct xe_pair *p);
bool xe_log_may_map(struct xe_host *h, const struct xe_domain *d, const struct xe_frame *f);

/* csrc/zeroloss.c, csrc/hypercall.c */
xe_hypercall_fn xe_do_zeroloss_op;
int xe_copy_arg(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n);

#endif
