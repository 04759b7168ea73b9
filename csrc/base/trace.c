/* The trace's hash, taken a batch at a time.
 *
 * Each word of a record is added to a lane of its own, which then is multiplied by 2^-32 modulo
 * MULTIPLIER * 2^32 - 1 (a multiply-with-carry generator): 32-bit products only, which vector units
 * have, and no lane waits for another. So any change of a word changes its lane.
 * Invariants: the hash depends on the seed and on the records, not on when they are settled.
 * With a clock every record is a batch: it is stamped then. */
#include "base/trace.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum { WORDS = sizeof(struct xe_trace_record) / sizeof(uint64_t) };

static const uint32_t MULTIPLIER = 0xfffffeb3;

static uint64_t spread(uint64_t hash)
{
	hash *= 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

static void mix(uint64_t *lane, const struct xe_trace_record *r)
{
	uint64_t word[WORDS];

	memcpy(word, r, sizeof(word));
	for (int i = 0; i < WORDS; i++) {
		uint64_t sum = lane[i] + word[i];

		lane[i] = (sum & UINT32_MAX) * MULTIPLIER + (sum >> 32);
	}
}

/* Two records at a time, the first of which has an even index. */
#if defined(__x86_64__)
static void mix_pairs(uint64_t *lane, const struct xe_trace_record *r, uint64_t pairs)
{
	const __m128i multiplier = _mm_set1_epi64x(MULTIPLIER);
	__m128i v[XE_TRACE_LANES / 2];

	memcpy(v, lane, sizeof(v));
	for (; pairs; pairs--, r += 2) {
#pragma GCC unroll 8 /* or the lanes are kept in memory */
		for (int i = 0; i < XE_TRACE_LANES / 2; i++) {
			__m128i word = _mm_loadu_si128((const __m128i *)r + i);
			__m128i sum = _mm_add_epi64(v[i], word);

			v[i] = _mm_add_epi64(_mm_mul_epu32(sum, multiplier),
					     _mm_srli_epi64(sum, 32));
		}
	}
	memcpy(lane, v, sizeof(v));
}
#else
static void mix_pairs(uint64_t *lane, const struct xe_trace_record *r, uint64_t pairs)
{
	for (; pairs; pairs--, r += 2) {
		mix(lane, r);
		mix(lane + WORDS, r + 1);
	}
}
#endif

/* n records, which lie one after the other; the first one's index is `first`. */
static void mix_all(uint64_t *lane, uint64_t first, const struct xe_trace_record *r, uint64_t n)
{
	if (first & 1 && n) {
		mix(lane + WORDS, r++);
		n--;
	}
	mix_pairs(lane, r, n / 2);
	if (n & 1)
		mix(lane, r + n - 1);
}

static void start(struct xe_trace *t)
{
	uint64_t batch = t->mask < XE_TRACE_BATCH ? t->mask + 1 : XE_TRACE_BATCH;

	t->next = &t->record[t->settled & t->mask];
	t->full = t->next + (t->clock ? 1 : batch);
}

void xe_trace_init(struct xe_trace *t, struct xe_trace_record *record, uint64_t records,
		   uint64_t seed)
{
	t->record = record;
	t->mask = records - 1;
	for (int i = 0; i < XE_TRACE_LANES; i++)
		t->lane[i] = seed = spread(seed + 1);
	start(t);
}

void xe_trace_settle(struct xe_trace *t)
{
	struct xe_trace_record *first = &t->record[t->settled & t->mask];
	uint64_t n = (uint64_t)(t->next - first);

	if (t->clock)
		first->time = t->clock(t->ctx); /* the only one */
	else
		mix_all(t->lane, t->settled, first, n);
	t->settled += n;
	start(t);
}

uint64_t xe_trace_hash(const struct xe_trace *t)
{
	uint64_t lane[XE_TRACE_LANES], hash = 0;

	memcpy(lane, t->lane, sizeof(lane));
	mix_all(lane, t->settled, &t->record[t->settled & t->mask], xe_trace_count(t) - t->settled);
	for (int i = 0; i < XE_TRACE_LANES; i++)
		hash = spread(hash ^ lane[i]);
	return hash;
}
