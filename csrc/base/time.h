/* Machine time in nanoseconds. It is an argument everywhere; nothing reads a clock. */
#ifndef XE_BASE_TIME_H
#define XE_BASE_TIME_H

#include <stdint.h>

typedef uint64_t xe_ns;

#define XE_NEVER UINT64_MAX
#define XE_US ((xe_ns)1000)
#define XE_MS ((xe_ns)1000000)
#define XE_SECOND ((xe_ns)1000000000)

#endif
