/* A set of domain ids that is walked upwards, at a cost in proportion to its members. */
#ifndef XE_BASE_DOMSET_H
#define XE_BASE_DOMSET_H

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"

struct xe_domset {
	uint64_t any; /* bit w: word w is not 0 */
	uint64_t word[XE_MAX_DOMAINS / 64];
};

static_assert(XE_MAX_DOMAINS == 64 * 64, "one word for all words");

static inline void xe_domset_add(struct xe_domset *s, uint32_t id)
{
	s->word[id / 64] |= 1ull << id % 64;
	s->any |= 1ull << id / 64;
}

static inline void xe_domset_remove(struct xe_domset *s, uint32_t id)
{
	s->word[id / 64] &= ~(1ull << id % 64);
	if (!s->word[id / 64])
		s->any &= ~(1ull << id / 64);
}

/* The lowest member that is `from` or higher, -1: none. */
static inline int xe_domset_next(const struct xe_domset *s, uint32_t from)
{
	uint32_t w = from / 64;
	uint64_t bits;

	if (from >= XE_MAX_DOMAINS)
		return -1;
	bits = s->word[w] >> from % 64;
	if (bits)
		return (int)from + __builtin_ctzll(bits);
	bits = w == 63 ? 0 : s->any >> (w + 1);
	if (!bits)
		return -1;
	w += 1 + (uint32_t)__builtin_ctzll(bits);
	return (int)(w * 64) + __builtin_ctzll(s->word[w]);
}

/* The lowest id from `from` on that is no member, XE_MAX_DOMAINS: none. */
static inline uint32_t xe_domset_free(const struct xe_domset *s, uint32_t from)
{
	while (from < XE_MAX_DOMAINS) {
		uint64_t bits = ~s->word[from / 64] >> from % 64;

		if (bits)
			return from + (uint32_t)__builtin_ctzll(bits);
		from = (from / 64 + 1) * 64;
	}
	return XE_MAX_DOMAINS;
}

#endif
