/* TCP sequence arithmetic modulo 2^32 (RFC 9293 section 3.4). */
#ifndef XE_BASE_SEQ_H
#define XE_BASE_SEQ_H

#include <stdbool.h>
#include <stdint.h>

static inline int32_t xe_seq_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}
static inline bool xe_seq_lt(uint32_t a, uint32_t b)
{
	return xe_seq_diff(a, b) < 0;
}
static inline bool xe_seq_le(uint32_t a, uint32_t b)
{
	return xe_seq_diff(a, b) <= 0;
}
static inline bool xe_seq_gt(uint32_t a, uint32_t b)
{
	return xe_seq_diff(a, b) > 0;
}
static inline bool xe_seq_ge(uint32_t a, uint32_t b)
{
	return xe_seq_diff(a, b) >= 0;
}

/* The 64-bit stream offset nearest to `near` whose sequence number is `seq`,
 * where sequence number `base` is offset 0. */
static inline int64_t xe_seq_offset(uint32_t seq, uint32_t base, uint64_t near)
{
	return (int64_t)near + xe_seq_diff(seq, base + (uint32_t)near);
}

#endif
