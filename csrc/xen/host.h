/* The host half of the machine: frames, domains, memory, events, protection pairs.
 *
 * Knows no TCP and does no I/O. `struct xe_host` is embedded in the machine.
 * All calls return 0 or -errno unless said otherwise.
 */
#ifndef XE_XEN_HOST_H
#define XE_XEN_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/time.h"
#include "base/trace.h"
#include "base/work.h"

typedef uint64_t xe_mfn;

struct xe_host;

/* Machine memory is given: `memory` is `frames` * 4 KiB of zeroed sparse memory that
 * stays mapped; `release` (may be NULL) is told of runs of freed frames to punch out.
 * `trace` (may be NULL) gets a record of each hypercall. `*changed` (may be NULL) becomes true
 * when there is work or a changed domain to be taken; `settle` (may be NULL) is called at the end of
 * a hypercall that finds it so. */
struct xe_host_config {
	uint8_t *memory;
	uint64_t frames;
	void (*release)(void *ctx, xe_mfn mfn, uint64_t n);
	struct xe_trace *trace;
	bool *changed;
	void (*settle)(void *ctx);
	void *ctx; /* of both */
	uint64_t boot_epoch; /* seconds since 1970 at machine time 0: the guests' wall clock */
};

int xe_host_create(struct xe_host **out, const struct xe_host_config *cfg);
void xe_host_destroy(struct xe_host *h);

/* Domains (toolstack interface, used by the machine and domctl). */
struct xe_domain_config {
	uint64_t pages;        /* initial reservation, populated and mapped */
	uint64_t max_pages;    /* >= pages */
	uint64_t window_pages; /* prebuilt L1 tables of the log window */
	uint64_t virt_base;    /* of page 0; 0: XE_GUEST_BASE; XE_BASE_ZERO: address 0 */
	uint64_t kernel_pages; /* room for the image, below all else; 0: all that can be */
	uint32_t max_vcpus;    /* that exist, the first is up; 0: 1 */
	uint32_t max_grant_frames; /* of its grant table, up to 64; 0: those */
	bool privileged;
	bool store, console; /* ports for domain 0 to bind to; not if privileged */
	bool no_ip;          /* has no address */
	uint32_t ip;         /* its own address; 0: first free of 10.0.0.2..254 */
	const char *cmdline; /* up to 1023 bytes; NULL: none */
};
#define XE_BASE_ZERO 1ull
int xe_domain_create(struct xe_host *h, const struct xe_domain_config *cfg,
		     uint32_t *domid); /* lowest free id; paused once */
int xe_domain_destroy(struct xe_host *h,
		      uint32_t domid);  /* -ESRCH; zombie until the last reference goes */
int xe_domain_pause(struct xe_host *h, uint32_t domid);    /* nests */
int xe_domain_unpause(struct xe_host *h, uint32_t domid);  /* -EINVAL at zero */
void xe_domain_kick(struct xe_host *h, uint32_t domid);    /* upcall work if events are pending */

struct xe_domain_info {
	uint32_t domid, generation;     /* generation: unique over all domains ever created */
	uint32_t pause_count;
	bool exists, dying, runnable, crashed, privileged;
	uint64_t tot_pages, max_pages, refs;
	uint32_t ip, own_ip;            /* now / assigned at creation */
	uint64_t heartbeats;
	uint32_t max_vcpus;
	uint64_t virt_base;    /* of page 0 */
	uint64_t usable_pages; /* pages 0..usable-1 are the guest's; its tables lie above */
	uint64_t p2m_pfn;
	uint64_t start_info_gva;  /* what it would find in rsi; 0: not built */
	uint64_t shared_info_mfn;
};
int xe_domain_info(const struct xe_host *h, uint32_t domid, struct xe_domain_info *out);
/* Round robin over the run queue: a domain that is neither paused, blocked nor down; -1: none. */
int xe_sched_next(struct xe_host *h);
/* Takes up to n bytes that the domain wrote with console_io; how many. */
size_t xe_console_read(struct xe_host *h, uint32_t domid, void *buf, size_t n);
uint64_t xe_host_free_pages(const struct xe_host *h);
uint32_t xe_host_top(const struct xe_host *h); /* no domain has this id or a higher one */
/* The lowest of the domains of which it changed whether they run, or their pair; -1: none. */
int xe_host_next_changed(struct xe_host *h);
void xe_host_touch(struct xe_host *h, uint32_t domid); /* as if it had changed */

/* Guest layout. Pseudo-physical page p is mapped RW at virt_base + p * 4096, by default at
 * XE_GUEST_BASE; the log window starts at XE_LOG_WINDOW, its entries empty at first. */
#define XE_GUEST_BASE 0xffff880000000000ull
#define XE_LOG_WINDOW 0xffffc90000000000ull

/* Copies through the guest's page tables. -EFAULT where it can't (nothing is half done on a read). */
int xe_guest_read(struct xe_host *h, uint32_t domid, uint64_t gva, void *buf, size_t n);
int xe_guest_write(struct xe_host *h, uint32_t domid, uint64_t gva, const void *buf, size_t n);
/* Machine address of a guest virtual address by walking its tables; -EFAULT. */
int xe_guest_translate(struct xe_host *h, uint32_t domid, uint64_t gva, uint64_t *maddr);

/* The hypercall of a domain: result or -errno. `now` for timers. */
int64_t xe_hypercall(struct xe_host *h, uint32_t domid, uint32_t nr, const uint64_t arg[5],
		     xe_ns now); /* by its vcpu 0 */
int64_t xe_vcpu_hypercall(struct xe_host *h, uint32_t domid, uint32_t vcpu, uint32_t nr,
			  const uint64_t arg[5], xe_ns now);

/* Machine time: the host's never goes back. A hypercall brings its own. */
void xe_host_set_time(struct xe_host *h, xe_ns now);
xe_ns xe_host_next_timer(const struct xe_host *h); /* XE_NEVER: none is armed */
void xe_host_run_timers(struct xe_host *h, xe_ns now); /* all that are due */

/* Event channels towards a guest. */
void xe_send_virq(struct xe_host *h, uint32_t domid, uint32_t virq); /* pending bit + upcall work */
/* Pending and unmasked ports, cleared as they are returned; -1: none. */
int xe_next_pending_port(struct xe_host *h, uint32_t domid);

/* Work for Python and for the machine, in order; false: none. The machine drains it after each event. */
bool xe_host_next_work(struct xe_host *h, struct xe_work *w);

/* net_schedule_list: IPv4 address (host order) -> domain that gets its packets. */
int xe_path_set(struct xe_host *h, uint32_t ip, uint32_t domid);
int xe_path_clear(struct xe_host *h, uint32_t ip);
int xe_path_lookup(const struct xe_host *h, uint32_t ip); /* domid or -ENOENT */

/* The timer tick of the VMM: compares heartbeats of every domain with a registered page
 * that is runnable and armed; unchanged for two ticks: crashed, XE_WORK_VMM/XE_VMM_FAULT. */
void xe_heartbeat_check(struct xe_host *h, xe_ns now);
int xe_heartbeat_arm(struct xe_host *h, uint32_t domid, bool on);

/* The protection pair (backup-grant table entry): one primary, at most one backup. */
enum xe_pair_state {
	XE_PAIR_NONE,
	XE_PAIR_GRANTED,
	XE_PAIR_BOOTING,
	XE_PAIR_AWAKE,
	XE_PAIR_CHANGING_IP,
	XE_PAIR_SUSPENDED,
	XE_PAIR_MIGRATING,
	XE_PAIR_RECOVERING,
};
struct xe_pair_info {
	enum xe_pair_state state;
	uint32_t primary, backup; /* backup: 0 if none */
	bool backup_booted; /* it said BOOT_DONE */
	uint64_t features; /* tcp_feature bits that the primary said with BOOT_BACKUP */
	uint32_t old_primary; /* while recovering and until its references are dropped; else 0 */
	uint32_t ip; /* the shared service address */
	bool backup_has_primary_ip;
	uint32_t extents;
};
int xe_pair_info(const struct xe_host *h, uint32_t primary_or_backup,
		 struct xe_pair_info *out); /* -ENOENT */
bool xe_pair_has_ip(const struct xe_host *h, uint32_t ip); /* some pair has this address */
/* Host pointers of the registered log's extents (for the SSW); count or -ENOENT. */
int xe_pair_log_extents(struct xe_host *h, uint32_t domid, uint8_t **extent, int cap);
/* Protected ports of the pair (port | profile << 16): count or -ENOENT. The version changes with the list; 0: no pair. */
int xe_pair_ports(const struct xe_host *h, uint32_t domid, uint32_t *ports, int cap);
uint32_t xe_pair_ports_version(const struct xe_host *h, uint32_t domid);

/* VZS effects. */
int xe_vzs_signal(struct xe_host *h, uint32_t domid,
		  uint32_t bits); /* ORs zl_signal bits, sends VIRQ_ZEROLOSS */
/* The transition under way (boot, change ip, migrate) is over: next state, COMPLETE or FAILED signal to the primary. */
int xe_vzs_complete(struct xe_host *h, uint32_t primary, int status);
/* Fence: pauses the domain, clears its log mappings and its right to them; the pair is RECOVERING,
 * old_primary = primary. -ENOENT, -EBUSY. Refs on domain and log frames stay. */
int xe_vzs_fence(struct xe_host *h, uint32_t primary);
/* The service of a primary whose kernel runs is to recover in place; -EBUSY in a transition. A fence
 * ends that, RECOVERY_DONE from the primary brings back the state of before. */
int xe_vzs_restart(struct xe_host *h, uint32_t primary);
/* A quiesced primary only waits while its backup is tried. Then the backup is accepted: a fence from
 * now on; or it is fenced and forgotten, and the primary goes on: FAILED with `status`. */
int xe_vzs_try(struct xe_host *h, uint32_t primary);
int xe_vzs_accept(struct xe_host *h, uint32_t primary);
int xe_vzs_roll_back(struct xe_host *h, uint32_t primary, int status);
/* The address that GET_IP answers to this domain next. */
int xe_vzs_set_next_ip(struct xe_host *h, uint32_t domid, uint32_t ip);
/* A backup that died or is given up: pair back to GRANTED, or RECOVERING without a backup. */
int xe_vzs_forget_backup(struct xe_host *h, uint32_t primary);
/* RECOVERING: the backup is paused, loses its right to the log, and is forgotten. */
int xe_vzs_fence_backup(struct xe_host *h, uint32_t primary);
/* RECOVERING without a backup: creates one, unpaused, on behalf of the primary. */
int xe_vzs_boot_backup(struct xe_host *h, uint32_t primary, uint32_t *backup);
/* RECOVERING without a backup: the pair goes, and its log. */
int xe_vzs_give_up(struct xe_host *h, uint32_t primary);

struct xe_host_counters {
	uint64_t hypercalls, unknown_hypercalls, efaults, eperms;
};
const struct xe_host_counters *xe_host_counters(const struct xe_host *h);

/* A frame, for assertions of tests and for the toolstack. -EINVAL: there is no such frame. */
struct xe_frame_info {
	uint32_t owner; /* domid; 0xffff: nobody's */
	uint64_t count_info, type_info, m2p;
};
int xe_frame_info(const struct xe_host *h, xe_mfn mfn, struct xe_frame_info *out);
/* Its bytes, whoever owns it; -EINVAL beyond machine memory or its page. */
int xe_frame_read(const struct xe_host *h, xe_mfn mfn, size_t offset, void *buf, size_t n);

#endif
