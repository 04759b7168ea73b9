/* Machine memory on Linux.
 *
 * One memfd of the whole machine's size, mapped once and sparse: a frame
 * costs nothing until it is touched. Whoever opened an xe_memory owns the mapping
 * and the descriptor; other parts only hold pointers into it, which die with it.
 *
 * Invariants: base, bytes and fd are all valid or (after close) all empty; ranges
 * passed in lie inside the memory (our own callers: asserted).
 * Left out: huge pages, NUMA, growing.
 */
#include "host/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

int xe_memory_open(struct xe_memory *m, size_t bytes)
{
	int err;

	m->base = NULL;
	m->bytes = 0;
	m->fd = -1;
	if (!bytes || bytes > PTRDIFF_MAX || bytes % XE_PAGE_SIZE)
		return -EINVAL;
	int fd = memfd_create("xe-memory", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0)
		goto fail;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		goto fail;
	madvise(p, bytes, MADV_DONTDUMP);
	m->base = p;
	m->bytes = bytes;
	m->fd = fd;
	return 0;
fail:
	err = errno;
	close(fd);
	return -err;
}

void xe_memory_close(struct xe_memory *m)
{
	if (m->base) {
		munmap(m->base, m->bytes);
		close(m->fd);
	}
	m->base = NULL;
	m->bytes = 0;
	m->fd = -1;
}

static void xe_memory_check(const struct xe_memory *m, size_t offset, size_t n)
{
	xe_assert(m->base && offset <= m->bytes && n <= m->bytes - offset);
}

void xe_memory_punch(struct xe_memory *m, size_t offset, size_t n)
{
	int rc;

	xe_memory_check(m, offset, n);
	if (!n)
		return;
	do
		rc = fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			       (off_t)n);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		memset(m->base + offset, 0, n); /* zero is promised, giving back is not */
}

void xe_memory_prefault(struct xe_memory *m, size_t offset, size_t n)
{
	xe_memory_check(m, offset, n);
	if (!n)
		return;
	size_t first = offset & ~(size_t)(XE_PAGE_SIZE - 1);

	if (!madvise(m->base + first, offset + n - first, MADV_POPULATE_WRITE))
		return;
	/* An older kernel. Reading is enough to allocate a page of a memfd. */
	for (size_t at = first; at < offset + n; at += XE_PAGE_SIZE)
		(void)*(volatile uint8_t *)(m->base + at);
}
