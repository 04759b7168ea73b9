/* Seeded random numbers (splitmix64): the only randomness below Python. */
#ifndef XE_BASE_RNG_H
#define XE_BASE_RNG_H

#include <stdint.h>

struct xe_rng {
	uint64_t state;
};

static inline uint64_t xe_rng_next(struct xe_rng *rng)
{
	uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* A number in [0, bound); bound > 0. */
static inline uint64_t xe_rng_below(struct xe_rng *rng, uint64_t bound)
{
	return xe_rng_next(rng) % bound;
}

#endif
