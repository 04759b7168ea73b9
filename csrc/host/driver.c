/* The real clock's outermost wait.
 *
 * One epoll carries the relay's descriptors (edge-triggered, data.u64 has
 * XE_RELAY_TAG), those that Python watches (level-triggered, data.u64 is the
 * descriptor) and, on kernels without epoll_pwait2, one timerfd. The driver owns
 * the epoll, the timerfd and the relay; watched descriptors stay Python's, which
 * forgets them before it closes them.
 *
 * Invariants: every event that epoll returned for the relay is handled before
 * xe_driver_wait returns (edges come once); a watched descriptor that did not fit
 * is reported again by the next wait. While the relay has unfinished work, a wait
 * does not sleep. The gateway stack's output is the caller's to drain afterwards.
 * Left out: which of readable and writable it was (the caller knows what it
 * asked for, or polls); signals other than as -EINTR of a sleeping wait.
 */
#include "host/driver.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define XE_DRIVER_TIMER (1ull << 62)
#define XE_DRIVER_EVENTS 256

struct xe_driver {
	int epoll_fd;
	int timer_fd; /* -1: epoll_pwait2 works */
	xe_ns start;
	struct xe_relay *relay;
	struct epoll_event events[XE_DRIVER_EVENTS];
};

struct xe_kernel_timespec {
	int64_t sec, nsec;
};

static xe_ns xe_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (xe_ns)ts.tv_sec * XE_SECOND + (xe_ns)ts.tv_nsec;
}

xe_ns xe_driver_now(const struct xe_driver *d)
{
	return xe_clock() - d->start;
}

struct xe_relay *xe_driver_relay(struct xe_driver *d)
{
	return d->relay;
}

/* epoll_wait with a timeout in ns (XE_NEVER: none). The raw system call: the libc
 * may be older than the kernel. */
static int xe_pwait2(struct xe_driver *d, xe_ns timeout)
{
	struct xe_kernel_timespec ts = {
		.sec = (int64_t)(timeout / XE_SECOND),
		.nsec = (int64_t)(timeout % XE_SECOND),
	};

#ifdef XE_DRIVER_NO_PWAIT2 /* to test the other way */
	(void)d;
	(void)ts;
	errno = ENOSYS;
	return -1;
#else
	return (int)syscall(SYS_epoll_pwait2, d->epoll_fd, d->events, XE_DRIVER_EVENTS,
			    timeout == XE_NEVER ? NULL : &ts, NULL, (size_t)0);
#endif
}

static int xe_add(struct xe_driver *d, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	if (!epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return 0;
	if (errno == EEXIST && !epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, fd, &ev))
		return 0;
	return -errno;
}

static int xe_timer_open(struct xe_driver *d)
{
	if (xe_pwait2(d, 0) >= 0)
		return 0;
	d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (d->timer_fd < 0)
		return -errno;
	return xe_add(d, d->timer_fd, EPOLLIN | EPOLLET, XE_DRIVER_TIMER);
}

int xe_driver_create(struct xe_driver **out, struct xe_tcp *gateway, uint32_t max_connections)
{
	struct xe_driver *d = calloc(1, sizeof(*d));
	int err;

	*out = NULL;
	if (!d)
		return -ENOMEM;
	d->timer_fd = -1;
	d->start = xe_clock();
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = d->epoll_fd < 0 ? -errno : xe_timer_open(d);
	if (!err)
		err = xe_relay_create(&d->relay, gateway, d->epoll_fd, max_connections);
	if (err) {
		xe_driver_destroy(d);
		return err;
	}
	*out = d;
	return 0;
}

void xe_driver_destroy(struct xe_driver *d)
{
	if (!d)
		return;
	xe_relay_destroy(d->relay);
	if (d->timer_fd >= 0)
		close(d->timer_fd);
	if (d->epoll_fd >= 0)
		close(d->epoll_fd);
	free(d);
}

int xe_driver_watch(struct xe_driver *d, int fd, int readable, int writable)
{
	uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);

	if (fd < 0)
		return -EBADF;
	if (events)
		return xe_add(d, fd, events, (uint64_t)fd);
	/* It may be closed or unknown already: forgotten all the same. */
	epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	return 0;
}

/* As xe_pwait2, by timerfd. A stale expiry is cleared by arming again. */
static int xe_timer_wait(struct xe_driver *d, xe_ns timeout)
{
	struct itimerspec its = {0};

	if (timeout != XE_NEVER) {
		its.it_value.tv_sec = (time_t)(timeout / XE_SECOND);
		its.it_value.tv_nsec = (long)(timeout % XE_SECOND);
	}
	if (timeout)
		timerfd_settime(d->timer_fd, 0, &its, NULL); /* zeros disarm */
	return epoll_wait(d->epoll_fd, d->events, XE_DRIVER_EVENTS, timeout ? -1 : 0);
}

static xe_ns xe_timeout(const struct xe_driver *d, xe_ns until)
{
	if (xe_relay_pending(d->relay))
		return 0;
	if (until == XE_NEVER)
		return XE_NEVER;
	xe_ns now = xe_driver_now(d);

	return until > now ? until - now : 0;
}

int xe_driver_wait(struct xe_driver *d, xe_ns until, int *fds, int cap)
{
	xe_ns timeout = xe_timeout(d, until);
	int n = d->timer_fd < 0 ? xe_pwait2(d, timeout) : xe_timer_wait(d, timeout);
	int ready = 0;

	if (n < 0)
		return -errno;
	xe_ns now = xe_driver_now(d);

	for (int i = 0; i < n; i++) {
		uint64_t data = d->events[i].data.u64;

		if (data & XE_RELAY_TAG)
			xe_relay_fd_event(d->relay, data, d->events[i].events, now);
		else if (!(data & XE_DRIVER_TIMER) && ready < cap)
			fds[ready++] = (int)data;
	}
	xe_relay_run(d->relay, now);
	return ready;
}
