/* The outermost loop's I/O under the real clock: one epoll for the relay and for
 * descriptors that Python watches, and the monotonic clock. Linux only. */
#ifndef XE_HOST_DRIVER_H
#define XE_HOST_DRIVER_H

#include <stdint.h>

#include "base/time.h"
#include "host/relay.h"

struct xe_driver;

int xe_driver_create(struct xe_driver **out, struct xe_tcp *gateway, uint32_t max_connections);
void xe_driver_destroy(struct xe_driver *d);
struct xe_relay *xe_driver_relay(struct xe_driver *d);
xe_ns xe_driver_now(const struct xe_driver *d);          /* ns since creation */
int xe_driver_watch(struct xe_driver *d, int fd, int readable, int writable); /* 0,0: forget */
/* Waits until `until` (XE_NEVER: for ever) or I/O; relay events are handled inside.
 * Fills fds that Python watches and are ready; their number (0: time or relay only), or -EINTR. */
int xe_driver_wait(struct xe_driver *d, xe_ns until, int *fds, int cap);

#endif
