/* Machine memory: one sparse memfd, mapped whole. Linux only. */
#ifndef XE_HOST_MEMORY_H
#define XE_HOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct xe_memory {
	uint8_t *base;
	size_t bytes;
	int fd;
};

int xe_memory_open(struct xe_memory *m, size_t bytes); /* 0, -ENOMEM, -errno */
void xe_memory_close(struct xe_memory *m);
/* Gives pages back to Linux; they read as zero afterwards. */
void xe_memory_punch(struct xe_memory *m, size_t offset, size_t n);
/* Faults pages in ahead of use. */
void xe_memory_prefault(struct xe_memory *m, size_t offset, size_t n);

#endif
