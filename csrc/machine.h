/* The emulated Xen host: owns everything, knows both halves.
 *
 * Events run in the order (time, priority, sequence). C runs links, TCP, wrappers and
 * timers by itself and stops at the first instant at which Python has work. Under the
 * virtual clock time jumps to the next event; under the real clock overdue events run in
 * due order with machine time = due time, so host lag never looks like a dead kernel.
 * Not reentrant; many machines live in one process.
 */
#ifndef XE_MACHINE_H
#define XE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "base/trace.h"
#include "base/work.h"
#include "net/ftapi.h"
#include "net/link.h"
#include "net/socket.h"
#include "net/ssw.h"
#include "xen/host.h"

struct xe_machine;

struct xe_machine_config {
	uint64_t frames;         /* 4 KiB frames of machine memory */
	uint64_t seed;
	bool real;               /* the real clock */
	uint32_t trace_records;  /* power of two */
};

enum xe_kernel_fault {
	XE_KERNEL_RUNS,
	XE_KERNEL_PANICKED, /* stopped dead */
	XE_KERNEL_HANGS,    /* no interrupts and no packets in; runnable processes go on */
	XE_KERNEL_STALLS,   /* nothing at all, for a while */
};

enum xe_drop_reason {
	XE_DROP_LINK = 1,
	XE_DROP_NO_ROUTE,
	XE_DROP_SPOOFED,
	XE_DROP_SSW_IN,
	XE_DROP_SSW_OUT,
	XE_DROP_PAUSED,
	XE_DROP_POOL,
};

struct xe_machine_counters {
	uint64_t events, packets, drops[8];
};

int xe_machine_create(struct xe_machine **out, const struct xe_machine_config *cfg);
void xe_machine_destroy(struct xe_machine *m);
struct xe_host *xe_machine_host(struct xe_machine *m);
xe_ns xe_machine_now(const struct xe_machine *m);
/* What an observer's clock shows: real time under the real clock, where all work of one
 * instant has the same machine time; else machine time. */
xe_ns xe_machine_clock(const struct xe_machine *m);
const struct xe_machine_counters *xe_machine_counters(const struct xe_machine *m);
/* Stamps are as xe_machine_clock shows time. */
const struct xe_trace *xe_machine_trace(const struct xe_machine *m);

/* Packet capture, at each node's own interface; csrc/machine_capture.c has the format. */
int xe_machine_capture(struct xe_machine *m, bool on);
/* Records so far, valid until the machine is called again, and the end of them. */
size_t xe_machine_captured(const struct xe_machine *m, const uint8_t **records);
void xe_machine_capture_drain(struct xe_machine *m);
uint64_t xe_machine_capture_dropped(const struct xe_machine *m);

/* Runs up to `until`, at most max_events events (0: no limit), and fills the work of one
 * instant: its number, 0 when `until` or the limit is reached (or, earlier, when the capture
 * wants draining), -EINTR, -EBUSY if entered twice. Work of an instant that the limit cuts
 * in two comes with its end. */
int xe_machine_run(struct xe_machine *m, xe_ns until, uint64_t max_events, struct xe_work *work,
		   int cap);

/* Domains. */
int xe_machine_attach_stack(struct xe_machine *m, uint32_t domid, const struct xe_tcp_config *cfg);
int xe_machine_destroy_domain(struct xe_machine *m, uint32_t domid);
int xe_machine_pause(struct xe_machine *m, uint32_t domid, bool pause);
/* Breaks a kernel; `until`: when a stall is over. -ESRCH, -EINVAL (it is dead). */
int xe_machine_break(struct xe_machine *m, uint32_t domid, enum xe_kernel_fault fault, xe_ns until);
enum xe_kernel_fault xe_machine_kernel_fault(const struct xe_machine *m, uint32_t domid);
int64_t xe_machine_hypercall(struct xe_machine *m, uint32_t domid, uint32_t vcpu, uint32_t nr,
			     const uint64_t arg[5]);
/* After a call into the host half that made no hypercall: its work is taken over. */
void xe_machine_sync(struct xe_machine *m);
int xe_machine_fence(struct xe_machine *m, uint32_t primary);
/* The service died, its kernel did not: no TCP has its connections until it replays in place. */
int xe_machine_restart(struct xe_machine *m, uint32_t primary);
/* A quiesced primary waits while its backup is tried; -EBUSY: not with unprotected connections,
 * -EAGAIN: not while a replay is still compared.
 * Then the backup stays, or the primary goes on and the backup is fenced and forgotten. */
int xe_machine_try(struct xe_machine *m, uint32_t primary);
int xe_machine_accept(struct xe_machine *m, uint32_t primary);
int xe_machine_roll_back(struct xe_machine *m, uint32_t primary, int status);
/* The backup that recovers, or is to, failed: it is fenced like a primary and forgotten. */
int xe_machine_fence_backup(struct xe_machine *m, uint32_t primary);
/* No backup can be had: the pair and its log go, the address answers with resets. */
int xe_machine_give_up(struct xe_machine *m, uint32_t primary);
int xe_machine_path_set(struct xe_machine *m, uint32_t ip, uint32_t domid);
/* For ports that are registered with this profile, WR_PROFILE_OWN or higher: an author's wrapper,
 * which must outlive the machine. -EINVAL, -EEXIST. */
int xe_machine_add_wrapper(struct xe_machine *m, uint32_t profile, struct wr *w);
/* The wrapper that protects a domain's service address, NULL: none. */
struct xe_ssw *xe_machine_wrapper(struct xe_machine *m, uint32_t domid);
/* Where NSW's stores into the log are counted; NULL: not in this build (XE_STORE_POINTS). */
struct xe_store_stop *xe_machine_store_stop(struct xe_machine *m);
int xe_machine_nsw_attach(struct xe_machine *m, uint32_t domid, uint64_t gva, uint32_t extents);

/* Hosts and sockets. */
int xe_machine_add_host(struct xe_machine *m, uint32_t ip, const struct xe_link_config *link,
			uint64_t seed, const struct xe_tcp_config *cfg, uint32_t *node);
/* The socket layer of a node, NULL: no such node or it has no stack. */
struct xe_sockets *xe_machine_sockets(struct xe_machine *m, uint32_t node);
/* After a socket call: send what it produced. */
void xe_machine_flush(struct xe_machine *m, uint32_t node);
int xe_machine_arm_timer(struct xe_machine *m, uint32_t node, uint32_t token, xe_ns at);
int xe_machine_ready(struct xe_machine *m, uint32_t node, int *sock, unsigned *mask);

/* The real clock only; -EINVAL otherwise. */
int xe_machine_forward(struct xe_machine *m, uint32_t gateway, uint32_t host_addr,
		       uint16_t host_port, uint32_t guest_addr, uint16_t guest_port);
/* Addresses off the gateway's LAN (its first 16 bits) are reached through it. */
int xe_machine_route(struct xe_machine *m, uint32_t gateway);
int xe_machine_watch(struct xe_machine *m, int fd, int readable, int writable);

#endif
