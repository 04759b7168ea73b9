/* The calls between the files of csrc/xen, by file. Included at the end of internal.h. */
#ifndef XE_XEN_CALLS_H
#define XE_XEN_CALLS_H

#include <errno.h>

#include "base/assert.h"
#include "xen/internal.h"

/* A hypercall: `v` makes it. Its result, or -errno. */
typedef int64_t xe_hypercall_fn(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6]);

/* host.c */
int xe_queue_work(struct xe_host *h, const struct xe_work *w);
void xe_queue_vmm(struct xe_host *h, const struct xe_domain *d, enum xe_vmm_event ev, uint64_t a,
		  uint64_t b);

/* Its run state or its pair is not what the machine knows. */
static inline void xe_domain_changed(struct xe_host *h, uint32_t domid)
{
	xe_domset_add(&h->changed_domains, domid);
	*h->changed = true;
}

/* frame.c */
int xe_frames_create(struct xe_host *h);
void xe_frames_destroy(struct xe_host *h);
void xe_frames_flush(struct xe_host *h); /* tell `release` what was freed */
int xe_alloc_frames(struct xe_host *h, struct xe_domain *d, uint64_t n, xe_mfn *mfn);
/* 1 << order contiguous frames below mfn `limit`; from the reservation of d, whose limits the caller
 * has checked. In two steps: taken, then given or untaken. */
int xe_alloc_pages(struct xe_host *h, struct xe_domain *d, unsigned order, uint64_t limit,
		   xe_mfn *mfn);
int xe_take_pages(struct xe_host *h, const struct xe_domain *d, unsigned order, uint64_t limit,
		  xe_mfn *mfn);
void xe_give_pages(struct xe_host *h, struct xe_domain *d, xe_mfn mfn, unsigned order);
void xe_untake_pages(struct xe_host *h, xe_mfn mfn, unsigned order);
/* A frame without references but that of its allocation: stolen, then returned or freed. */
int xe_steal_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn);
void xe_return_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn);
void xe_free_stolen(struct xe_host *h, struct xe_domain *d, xe_mfn mfn);
/* A frame of ours, shared writable with d; it is d's until xe_drop_allocated. */
int xe_alloc_xenheap(struct xe_host *h, struct xe_domain *d, xe_mfn *mfn);
void xe_free_frame(struct xe_host *h, xe_mfn mfn); /* that has lost its last reference */
bool xe_drop_allocated(struct xe_host *h, xe_mfn mfn);
void xe_assign_frame(struct xe_host *h, xe_mfn mfn, struct xe_domain *to);
void xe_free_kept(struct xe_host *h, xe_mfn mfn); /* an XE_FRAME_KEPT one without references */

static inline uint8_t *xe_frame_ptr(const struct xe_host *h, xe_mfn mfn)
{
	return h->memory + (mfn << XE_PAGE_SHIFT);
}

static inline bool xe_get_any_page(struct xe_host *h, xe_mfn mfn) /* whoever owns it */
{
	uint64_t n;

	if (mfn >= h->nframes)
		return false;
	n = h->frame[mfn].count_info & XE_PGC_COUNT;
	if (!n || n >= XE_PGC_COUNT - 1)
		return false;
	h->frame[mfn].count_info++;
	return true;
}

static inline void xe_put_page(struct xe_host *h, xe_mfn mfn)
{
	xe_assert(mfn < h->nframes && (h->frame[mfn].count_info & XE_PGC_COUNT));
	if (!(--h->frame[mfn].count_info & XE_PGC_COUNT))
		xe_free_frame(h, mfn);
}

/* Takes a reference if the frame is d's: the reference first, then the check, as Xen does. */
static inline bool xe_get_page(struct xe_host *h, xe_mfn mfn, const struct xe_domain *d)
{
	if (!xe_get_any_page(h, mfn))
		return false;
	if (h->frame[mfn].owner == d->id)
		return true;
	xe_put_page(h, mfn);
	return false;
}

static inline uint64_t *xe_entries(const struct xe_host *h, xe_mfn mfn)
{
	return (uint64_t *)(void *)xe_frame_ptr(h, mfn);
}

static inline xe_mfn xe_pte_mfn(uint64_t pte)
{
	return (pte & XE_PTE_MFN) >> XE_PAGE_SHIFT;
}

/* Level of the page table that a frame is, or was last. */
static inline unsigned xe_table_level(const struct xe_frame *f)
{
	return (unsigned)(f->type_info >> 61);
}

/* An address that a guest may name: neither Xen's own nor, nearly, non-canonical. */
static inline bool xe_addr_ok(uint64_t gva)
{
	return gva < 1ull << 47 || gva >= 0xffff880000000000ull;
}

/* domain.c */
struct xe_domain *xe_domain(const struct xe_host *h, uint32_t domid); /* zombies too; NULL */
struct xe_domain *xe_live_domain(const struct xe_host *h, uint32_t domid); /* NULL if dying */
struct xe_domain *xe_domain_or_self(const struct xe_host *h, struct xe_domain *cur, uint32_t domid);
void xe_get_domain(struct xe_domain *d);
void xe_put_domain(struct xe_host *h, struct xe_domain *d);
int xe_domain_alloc(struct xe_host *h, uint32_t id, uint32_t max_vcpus, struct xe_domain **out);
bool xe_domain_runnable(const struct xe_domain *d);
int xe_domain_resume(struct xe_host *h, struct xe_domain *d); /* after a shutdown */
void xe_domain_free(struct xe_domain *d);
void xe_domain_do_destroy(struct xe_host *h, struct xe_domain *d);

/* builder.c */
int xe_build(struct xe_host *h, struct xe_domain *d, const struct xe_domain_config *cfg);

/* pagetype.c. A type is taken by somebody who has a reference on the page. 0, or -EINVAL and what
 * the entries of a table are refused with. */
int xe_get_new_type(struct xe_host *h, xe_mfn mfn, uint64_t type); /* at type count 0 */
void xe_put_last_type(struct xe_host *h, xe_mfn mfn); /* at type count 1 */

static inline int xe_get_page_type(struct xe_host *h, xe_mfn mfn, uint64_t type)
{
	struct xe_frame *f = &h->frame[mfn];

	if (!(f->type_info & XE_PGT_COUNT))
		return xe_get_new_type(h, mfn, type);
	if ((f->type_info & XE_PGT_TYPE) != type)
		return -EINVAL;
	f->type_info++;
	return 0;
}

static inline void xe_put_page_type(struct xe_host *h, xe_mfn mfn)
{
	struct xe_frame *f = &h->frame[mfn];

	xe_assert(f->type_info & XE_PGT_COUNT);
	if ((f->type_info & XE_PGT_COUNT) == 1)
		xe_put_last_type(h, mfn);
	else
		f->type_info--;
}

static inline void xe_put_page_and_type(struct xe_host *h, xe_mfn mfn)
{
	xe_put_page_type(h, mfn);
	xe_put_page(h, mfn);
}

int xe_get_page_and_type(struct xe_host *h, xe_mfn mfn, const struct xe_domain *d, uint64_t type);
/* What an entry of a level 2 to 4 table in frame `table` holds. */
int xe_get_table_entry(struct xe_host *h, xe_mfn table, uint64_t pte);
void xe_put_table_entry(struct xe_host *h, xe_mfn table, uint64_t pte);
void xe_fill_xen_slots(struct xe_host *h, xe_mfn table); /* of a table of level 4 */
void xe_set_m2p_slot(struct xe_host *h, xe_mfn table, bool there);

/* pte.c. `owner`: whose frames may be mapped, a domid or DOMID_IO; d: whose table it is. */
int xe_get_l1_entry(struct xe_host *h, const struct xe_domain *d, uint32_t owner, uint64_t pte);
void xe_put_l1_entry(struct xe_host *h, uint64_t pte);

static inline bool xe_is_xen_slot(unsigned level, size_t slot)
{
	return level == 4 && slot >= XE_PTES / 2 && slot <= XE_L4_XEN_LAST;
}

/* A present entry as Xen completes a guest's. */
static inline uint64_t xe_adjust_entry(unsigned level, uint64_t pte)
{
	if (level == 1 && !(pte & XE_PTE_USER))
		return pte | XE_PTE_GUEST_KERNEL | XE_PTE_USER;
	if (level == 1)
		return pte & XE_PTE_GUEST_KERNEL ? pte : pte | XE_PTE_GLOBAL;
	return pte | XE_PTE_USER | (level == 4 ? XE_PTE_ACCESSED : 0);
}

/* A level 1 entry that was checked: what is no RAM is never cached. */
static inline uint64_t xe_uncache_io(uint64_t pte)
{
	bool cached = !(pte & XE_PTE_PCD) && (pte & XE_PTE_CACHE) != XE_PTE_PAT;

	return xe_pte_mfn(pte) < XE_LOW_FRAMES && cached ? pte | XE_PTE_PCD | XE_PTE_PWT : pte;
}

/* The level 1 entry at a guest address, or at a machine address, becomes `pte` or `new`, whose
 * references are the caller's. -EINVAL where there is no such entry. */
int xe_grant_pte_set(struct xe_host *h, struct xe_vcpu *v, uint64_t addr, bool is_machine_addr,
		     uint64_t pte, uint64_t *old); /* those of the old entry are dropped */
/* The entry must have the frame, PRESENT and RW of `want`; its references are the caller's then. */
int xe_grant_pte_clear(struct xe_host *h, struct xe_vcpu *v, uint64_t addr, bool is_machine_addr,
		       uint64_t want, uint64_t new);
/* The entry at guest address `from` moves to gva, with its references, as in clear. */
int xe_grant_pte_move(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, uint64_t want,
		      uint64_t from);

/* descriptor.c */
bool xe_check_descriptor(uint64_t *desc);
bool xe_load_descriptor(uint64_t *desc, uint64_t *base);

static inline bool xe_canonical(uint64_t gva)
{
	return gva >> 47 == 0 || gva >> 47 == 0x1ffff;
}

/* pagetable.c */
int xe_walk(struct xe_host *h, const struct xe_vcpu *v, uint64_t gva, uint64_t **l1e, bool *rw);
void xe_tlb_flush(struct xe_vcpu *v);
void xe_tlb_flush_all(struct xe_domain *d); /* of all its vcpus */
/* Copies through the tables of v. -EFAULT; nothing is moved unless everything can be. */
int xe_copy_from(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n);
int xe_copy_to(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, const void *buf, size_t n);
/* Where they lie in machine memory; NULL if they can't be read or cross a page's end. */
const uint8_t *xe_peek(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n);
int xe_check_writable(struct xe_host *h, struct xe_vcpu *v, uint64_t gva, size_t n);

/* mmu.c, mmuext.c */
xe_hypercall_fn xe_do_mmu_update, xe_do_update_va_mapping, xe_do_update_va_mapping_otherdomain;
xe_hypercall_fn xe_do_mmuext_op;
void xe_unmap_log(struct xe_host *h, struct xe_domain *d, uint8_t log);
void xe_drop_base_pointers(struct xe_host *h, struct xe_vcpu *v);
int xe_get_root(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn, bool user);
/* The domid that a call names as owner of the frames: of a domain, or DOMID_IO or DOMID_XEN. */
int xe_page_owner(const struct xe_host *h, const struct xe_domain *cur, uint16_t domid,
		  uint32_t *owner);
int xe_check_vcpumask(struct xe_host *h, struct xe_vcpu *v, uint64_t gva); /* -EFAULT */
/* The requests of mmu_update and mmuext_op, from their common arguments. */
struct xe_mmu_batch {
	uint64_t gva, done_gva;
	uint32_t count, done; /* done: in all, earlier calls too */
};
int xe_mmu_batch_begin(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6],
		       struct xe_mmu_batch *b);
bool xe_mmu_batch_is_rest(const uint64_t arg[6]);
void xe_mmu_batch_end(struct xe_host *h, struct xe_vcpu *v, const struct xe_mmu_batch *b);

/* timer.c */
void xe_host_timer_init(struct xe_timer *t, void (*fire)(struct xe_host *h, void *owner),
			void *owner);
void xe_host_timer_arm(struct xe_host *h, struct xe_timer *t, xe_ns at); /* again: anew */
void xe_host_timer_stop(struct xe_host *h, struct xe_timer *t);
void xe_host_timer_set(struct xe_host *h, struct xe_timer *t,
		       xe_ns at); /* fires now if that is past */

/* vcpu.c */
int xe_vcpu_create(struct xe_host *h, struct xe_domain *d); /* the next one */
void xe_vcpus_retire(struct xe_host *h, struct xe_domain *d); /* no timers, no frames any more */
void xe_vcpus_free(struct xe_domain *d);
struct xe_vcpu *xe_vcpu(const struct xe_domain *d, uint32_t id); /* NULL: there is none */
/* Pages that a domain lets us write to: referenced; -EINVAL; NULL while that must not be used. */
int xe_get_given_page(struct xe_host *h, const struct xe_domain *d, uint64_t mfn);
uint8_t *xe_given_page(const struct xe_host *h, const struct xe_domain *d, xe_mfn mfn);
struct xe_vcpu_info *xe_vcpu_info(const struct xe_host *h, const struct xe_vcpu *v); /* or NULL */
void xe_vcpu_set_online(struct xe_host *h, struct xe_vcpu *v, bool online);
void xe_vcpu_set_blocked(struct xe_host *h, struct xe_vcpu *v, bool blocked);
void xe_vcpu_tick(struct xe_host *h, struct xe_vcpu *v); /* periodic timer: if due; then the next */
void xe_vcpu_hears_ticks(struct xe_host *h, struct xe_vcpu *v); /* from now on */
void xe_runstate_update(struct xe_host *h, struct xe_vcpu *v);
/* With the time in the present state; h NULL: without, as when that was entered. */
void xe_runstate_get(const struct xe_host *h, const struct xe_vcpu *v, struct xe_runstate_info *r);
/* vcpu_time_info anew: a TSC of 1 GHz that is machine time. */
void xe_update_time(struct xe_host *h, struct xe_vcpu *v);
void xe_update_wallclock(struct xe_host *h, struct xe_domain *d);

/* vcpu_op.c */
xe_hypercall_fn xe_do_vcpu_op, xe_do_set_timer_op;

/* evtchn.c: the ports; evtchn_deliver.c: their bits in the guest; evtchn_op.c */
xe_hypercall_fn xe_do_event_channel_op, xe_do_event_channel_op_compat;
int xe_evtchn_init(struct xe_domain *d);
void xe_evtchn_close_all(struct xe_host *h, struct xe_domain *d);
void xe_evtchn_retire(struct xe_host *h, struct xe_domain *d); /* likewise; no frames any more */
int xe_evtchn_alloc_for(struct xe_host *h, struct xe_domain *d, uint16_t remote, uint32_t *port);
struct xe_shared_info *xe_shared_info(const struct xe_host *h, const struct xe_domain *d);
int xe_evtchn_send(struct xe_host *h, struct xe_domain *d, uint32_t port);
int xe_evtchn_poll(struct xe_host *h, struct xe_domain *d, uint32_t port); /* 1: pending; -EINVAL */
void xe_send_vcpu_virq(struct xe_host *h, struct xe_vcpu *v, uint32_t virq);
void xe_queue_upcall(struct xe_host *h, struct xe_domain *d);
void xe_evtchn_kick(struct xe_host *h,
		    struct xe_domain *d); /* upcall work if something is pending */

/* sched.c */
xe_hypercall_fn xe_do_sched_op, xe_do_sched_op_compat;
void xe_sched_update(struct xe_host *h, struct xe_domain *d); /* its run state, its vcpus' */
void xe_sched_queue(struct xe_host *h, struct xe_domain *d); /* only its place on the queue */
void xe_sched_domain_init(struct xe_domain *d);
void xe_sched_retire(struct xe_host *h, struct xe_domain *d);
void xe_domain_shutdown(struct xe_host *h, struct xe_domain *d, uint8_t reason);
void xe_domain_crash(struct xe_host *h, struct xe_domain *d);
void xe_vcpu_unblock(struct xe_host *h, struct xe_vcpu *v);
void xe_poll_over(struct xe_host *h, void *vcpu);
void xe_wake_pollers(struct xe_host *h, struct xe_domain *d, uint32_t port);

/* memory.c, memory_exchange.c, memory_info.c */
xe_hypercall_fn xe_do_memory_op;
uint32_t xe_max_order(const struct xe_domain *d);
int xe_memory_flags(const struct xe_host *h, const struct xe_domain *cur, uint32_t flags,
		    uint64_t *limit, bool *no_such_node);
void xe_unclaim(struct xe_host *h, struct xe_domain *d);
int64_t xe_memory_exchange(struct xe_host *h, struct xe_vcpu *v, uint64_t gva);
int64_t xe_memory_info(struct xe_host *h, struct xe_vcpu *v, uint32_t cmd, uint64_t first,
		       uint64_t gva);

/* domctl.c, domctl_info.c */
xe_hypercall_fn xe_do_domctl;
int xe_domctl_info(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d, struct xe_domctl *op,
		   bool *copy);

/* cpu.c */
xe_hypercall_fn xe_do_set_trap_table, xe_do_callback_op, xe_do_set_callbacks, xe_do_nmi_op;
xe_hypercall_fn xe_do_stack_switch, xe_do_fpu_taskswitch, xe_do_set_debugreg, xe_do_get_debugreg;
xe_hypercall_fn xe_do_set_segment_base, xe_do_vm_assist, xe_do_iret;
void xe_cpu_init_debug(struct xe_vcpu *v);
uint64_t xe_guest_cr4(uint64_t cr4);
int xe_set_debugreg(struct xe_vcpu *v, uint32_t reg, uint64_t value);
uint16_t xe_guest_selector(uint64_t selector);
uint64_t xe_vm_assists(void); /* that there are, as bits */
bool xe_is_m2p_strict(const struct xe_domain *d); /* only the kernel's tables have M2P */

/* segment.c */
xe_hypercall_fn xe_do_set_gdt, xe_do_update_descriptor;
int xe_set_gdt(struct xe_host *h, struct xe_vcpu *v, const xe_mfn *mfn, uint64_t entries);
void xe_drop_gdt(struct xe_host *h, struct xe_vcpu *v);
void xe_drop_ldt(struct xe_host *h, struct xe_vcpu *v);
bool xe_load_selector(struct xe_host *h, struct xe_vcpu *v, uint16_t selector, uint64_t *base);

/* vcpu_context.c */
void xe_cpu_init(struct xe_vcpu *v);
int xe_vcpu_set_context(struct xe_host *h, struct xe_vcpu *v, const struct xe_vcpu_context *c);
void xe_vcpu_get_context(const struct xe_vcpu *v, struct xe_vcpu_context *c);
void xe_vcpu_put_context(struct xe_host *h, struct xe_vcpu *v); /* the frames that it references */
void xe_vcpu_reset(struct xe_host *h, struct xe_vcpu *v);

/* version.c, console.c, unserved.c */
xe_hypercall_fn xe_do_xen_version, xe_do_console_io;
xe_hypercall_fn xe_do_platform_op, xe_do_sysctl, xe_do_mca, xe_do_kexec_op, xe_do_hypfs_op;
xe_hypercall_fn xe_do_xenpmu_op, xe_do_xenoprof_op, xe_do_physdev_op, xe_do_physdev_op_compat;
xe_hypercall_fn xe_do_hvm_op, xe_do_dm_op, xe_do_paging_domctl_cont;

/* grant.c, grant_map.c */
xe_hypercall_fn xe_do_grant_table_op;
void xe_grant_domain_release(struct xe_host *h, struct xe_domain *d); /* its mappings */
void xe_grant_free_frames(struct xe_host *h, struct xe_domain *d); /* of its own table */
void xe_grant_domain_free(struct xe_domain *d);
/* n frames of its table from `first` on, as many as that takes. */
int xe_grant_table_frames(struct xe_host *h, struct xe_domain *d, uint64_t first, uint32_t n,
			  xe_mfn *mfn);

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

/* Where a guest may have its memory: not where Xen is, and canonical from below. */
static inline bool xe_is_guest_address(uint64_t gva)
{
	return gva < 1ull << 47 || gva >= XE_XEN_END;
}

/* A time that Xen takes for signed: one before machine time 0 is past. */
static inline xe_ns xe_signed_time(uint64_t t)
{
	return t >> 63 ? 0 : t;
}

/* csrc/zeroloss.c, csrc/hypercall.c */
xe_hypercall_fn xe_do_zeroloss_op;
int xe_copy_arg(struct xe_host *h, struct xe_vcpu *v, void *buf, uint64_t gva, size_t n);

#endif
