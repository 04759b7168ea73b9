/* Structs of sched_op: xen/sched.h. */
#ifndef XE_XEN_ABI_SCHED_H
#define XE_XEN_ABI_SCHED_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_sched_shutdown {
	uint32_t reason; /* shutdown, shutdown_code */
};

struct xe_sched_poll {
	uint64_t ports; /* guest address of nr_ports uint32_t */
	uint32_t nr_ports, pad;
	uint64_t timeout; /* system time, ns; 0: none */
};

struct xe_sched_remote_shutdown {
	uint16_t domain_id, pad;
	uint32_t reason;
};

struct xe_sched_watchdog {
	uint32_t id;      /* 0: a new one */
	uint32_t timeout; /* seconds */
};

struct xe_sched_pin_override {
	int32_t pcpu; /* negative: no longer */
};

static_assert(sizeof(struct xe_sched_poll) == 24, "sched_poll");
static_assert(offsetof(struct xe_sched_poll, timeout) == 16, "sched_poll.timeout");
static_assert(sizeof(struct xe_sched_remote_shutdown) == 8, "sched_remote_shutdown");
static_assert(offsetof(struct xe_sched_remote_shutdown, reason) == 4, "remote_shutdown.reason");
static_assert(sizeof(struct xe_sched_watchdog) == 8, "sched_watchdog");

#endif
