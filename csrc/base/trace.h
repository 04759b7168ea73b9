/* The trace: a ring of records of what happened, and a hash over all of them.
 *
 * A record is one cache line; its index is its place, counted from the first one. Whoever owns the
 * ring chooses its size, a power of 2, and overwrites the oldest record. With a clock the stamps are
 * the clock's, for people, and there is no hash: two such runs never agree.
 * Left out: locks; a ring has one writer. */
#ifndef XE_BASE_TRACE_H
#define XE_BASE_TRACE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"

enum xe_trace_kind {
	/* node; a = flags << 32 | payload, seq << 32 | ack,
	 * destination << 32 | source port << 16 | destination port */
	XE_TRACE_PACKET_IN = 1,
	XE_TRACE_PACKET_OUT,
	XE_TRACE_HYPERCALL,      /* domain, vcpu, nr; a as below */
	XE_TRACE_WORK,           /* node; a = kind << 32 | arg, a, b as in xe_work */
	XE_TRACE_FENCE,
	XE_TRACE_FAULT,          /* domain; a = enum xe_kernel_fault, when a stall ends */
	XE_TRACE_PATH,           /* domain; a = address, 0, result */
	XE_TRACE_DROP,           /* node; a = enum xe_drop_reason */
	XE_TRACE_FAKE,           /* SSW's own packet; node, a as for packets */
	XE_TRACE_EVENT,          /* domain, vcpu; a = port that became pending */
};

/* Of a hypercall: a[0..4] are its five arguments, a[5] is its result. One that has copied its
 * argument has XE_TRACE_STRUCT: a[0] = its two small arguments, the first one low, a[1] = address,
 * a[2..4] = the first 24 bytes there after the call, or what it has copied of them. */
enum {
	XE_TRACE_STRUCT = 1 << 15,
	XE_TRACE_NR = (1 << 15) - 1, /* a higher number is shown as this */
	XE_TRACE_ARGS = 6,
	XE_TRACE_SEEN = 24,
};

struct xe_trace_record {
	xe_ns time;
	union {
		struct {
			uint32_t node;
			uint8_t kind, vcpu;
			uint16_t nr;
		};
		uint64_t head; /* stored at once, it can be loaded at once */
	};
	uint64_t a[XE_TRACE_ARGS];
};

static_assert(sizeof(struct xe_trace_record) == 64, "a cache line; read by Python");
static_assert(offsetof(struct xe_trace_record, a) == 16, "read by Python");

enum {
	XE_TRACE_BATCH = 64, /* records that are settled at once, of a ring that has them */
	XE_TRACE_LANES = 16, /* two for each word of a record: records take turns */
};

/* The records from `settled` on are in the ring, but not in the hash yet. */
struct xe_trace {
	struct xe_trace_record *next; /* where the next one goes */
	struct xe_trace_record *full; /* once that is here, they are settled */
	struct xe_trace_record *record;
	uint64_t mask;    /* records - 1 */
	uint64_t settled; /* records ever, up to the last batch */
	uint64_t lane[XE_TRACE_LANES];
	xe_ns (*clock)(const void *ctx); /* NULL: stamps are the callers' `now` */
	const void *ctx;
};

/* `records` are zeroed. */
void xe_trace_init(struct xe_trace *t, struct xe_trace_record *record, uint64_t records,
		   uint64_t seed);
void xe_trace_settle(struct xe_trace *t);
uint64_t xe_trace_hash(const struct xe_trace *t);

static inline uint64_t xe_trace_count(const struct xe_trace *t)
{
	return t->settled + (uint64_t)(t->next - &t->record[t->settled & t->mask]);
}

static inline uint64_t xe_trace_head(uint32_t node, enum xe_trace_kind kind, uint32_t vcpu,
				     uint32_t nr)
{
	return (uint64_t)(nr << 16 | vcpu << 8 | kind) << 32 | node;
}

/* Where the next record goes: every field but the time is to be set, then it is added. Built in
 * its place, since a copy would wait for the stores of what it copies. */
static inline struct xe_trace_record *xe_trace_next(struct xe_trace *t)
{
	return t->next;
}

static inline bool xe_trace_full(const struct xe_trace *t)
{
	return t->next == t->full;
}

static inline void xe_trace_add(struct xe_trace *t, xe_ns now, struct xe_trace_record *r)
{
	r->time = now;
	t->next = r + 1;
	if (xe_trace_full(t))
		xe_trace_settle(t);
}

#endif
