/* Machine memory: sparse, mapped whole. Linux only. */
#ifndef XE_HOST_MEMORY_H
#define XE_HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xe_memory {
	uint8_t *base;
	size_t bytes;
	int fd; /* of the memfd; -1: private memory */
};

/* Shared: a memfd. Private: of this process alone, so a forked one has its own copy.
 * 0, -ENOMEM, -errno. */
int xe_memory_open(struct xe_memory *m, size_t bytes, bool shared);
void xe_memory_close(struct xe_memory *m);
/* Gives pages back to Linux; they read as zero afterwards. */
void xe_memory_punch(struct xe_memory *m, size_t offset, size_t n);
/* Faults pages in ahead of use. */
void xe_memory_prefault(struct xe_memory *m, size_t offset, size_t n);

#endif
