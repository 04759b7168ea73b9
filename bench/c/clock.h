/* Time and optimisation barriers of the benchmarks. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Memory is as the abstract machine says here: stores before it happen, in every pass. */
#define BENCH_BARRIER() __asm__ volatile("" ::: "memory")

#endif
