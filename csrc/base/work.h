/* What C hands to Python: work found at one instant, in order. */
#ifndef XE_BASE_WORK_H
#define XE_BASE_WORK_H

#include <stdint.h>

enum xe_work_kind {
	XE_WORK_NONE,
	XE_WORK_SOCKETS,   /* stack `node` has sockets whose readiness changed */
	XE_WORK_TIMER,     /* a timer armed by Python is due; arg = its token */
	XE_WORK_TICK,      /* domain `node`: timer interrupt (100 Hz) */
	XE_WORK_UPCALL,    /* domain `node` has pending event channels */
	XE_WORK_VMM,       /* the VZS has something to do; arg = enum xe_vmm_event, a, b */
	XE_WORK_WRAPPER,   /* event of a wrapper; arg = enum xe_ssw_event_kind, a, b */
	XE_WORK_FD, /* real clock: a file descriptor watched for Python is ready; arg = fd */
};

enum xe_vmm_event {
	XE_VMM_BOOT_BACKUP = 1, /* node = primary, a = backup domid: build and start its kernel */
	XE_VMM_BOOT_DONE, /* node = backup, a = its tcp_feature bits */
	XE_VMM_CHANGE_IP, /* node = primary, a = backup: signal the backup */
	XE_VMM_IP_SET, /* node = backup, a = address */
	XE_VMM_SUSPENDED, /* node = backup */
	XE_VMM_WOKEN, /* node = backup */
	XE_VMM_MIGRATE, /* node = primary */
	XE_VMM_QUIESCED, /* node = primary */
	XE_VMM_FAULT, /* node = faulty domain, a = fault kind */
	XE_VMM_REPLAY_STARTED, /* node = backup, a = connections to re-establish */
	XE_VMM_RECOVERY_DONE, /* node = new primary, a = old primary */
	XE_VMM_LOG_REGISTERED, /* node = primary, a = extents */
	XE_VMM_GRANT_INSTALLED, /* node = primary */
	XE_VMM_BACKUP_GONE, /* node = primary, a = backup: it was destroyed while it was one */
};

struct xe_work {
	uint32_t kind; /* enum xe_work_kind */
	uint32_t node; /* domain id, or XE_NODE_HOST | host index */
	uint32_t generation; /* of the domain: stale work is dropped */
	uint32_t arg;
	uint64_t a, b;
};

#define XE_NODE_HOST 0x10000u

#endif
