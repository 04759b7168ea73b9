/* Instructions of this thread in user mode, where the host counts them. */
#ifndef BENCH_COUNTER_H
#define BENCH_COUNTER_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct bench_counter {
	int fd; /* -1: not counted */
};

static inline bool bench_counter_open(struct bench_counter *c)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_HW_INSTRUCTIONS,
				       .disabled = 1,
				       .exclude_kernel = 1,
				       .exclude_hv = 1};

	c->fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return c->fd >= 0;
}

static inline void bench_counter_close(struct bench_counter *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static inline void bench_counter_start(struct bench_counter *c)
{
	if (c->fd < 0)
		return;
	ioctl(c->fd, PERF_EVENT_IOC_RESET, 0);
	ioctl(c->fd, PERF_EVENT_IOC_ENABLE, 0);
}

static inline uint64_t bench_counter_stop(struct bench_counter *c)
{
	uint64_t n = 0;

	if (c->fd < 0)
		return 0;
	ioctl(c->fd, PERF_EVENT_IOC_DISABLE, 0);
	return read(c->fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

#endif
