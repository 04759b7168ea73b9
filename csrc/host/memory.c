/* Machine memory on Linux.
 *
 * One mapping of the whole machine's size, sparse: a frame costs nothing until it is
 * touched. Shared memory is a memfd; private memory is anonymous, and a forked process
 * has a copy of its own. Whoever opened an xe_memory owns the mapping and the descriptor;
 * other parts only hold pointers into it, which die with it.
 *
 * Invariants: base and bytes are both valid or (after close) both empty, fd is valid in
 * shared memory only; ranges passed in lie inside the memory (our own callers: asserted).
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

static int open_memfd(size_t bytes, int *fd)
{
	int err;

	*fd = memfd_create("xe-memory", MFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (ftruncate(*fd, (off_t)bytes) == 0)
		return 0;
	err = -errno;
	close(*fd);
	return err;
}

int xe_memory_open(struct xe_memory *m, size_t bytes, bool shared)
{
	int flags = MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	int fd = -1, err = 0;

	m->base = NULL;
	m->bytes = 0;
	m->fd = -1;
	if (!bytes || bytes > PTRDIFF_MAX || bytes % XE_PAGE_SIZE)
		return -EINVAL;
	if (shared)
		err = open_memfd(bytes, &fd);
	if (err)
		return err;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED) {
		err = -errno;
		if (shared)
			close(fd);
		return err;
	}
	madvise(p, bytes, MADV_DONTDUMP);
	m->base = p;
	m->bytes = bytes;
	m->fd = fd;
	return 0;
}

void xe_memory_close(struct xe_memory *m)
{
	if (m->base)
		munmap(m->base, m->bytes);
	if (m->fd >= 0)
		close(m->fd);
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
		rc = m->fd < 0 ? madvise(m->base + offset, n, MADV_DONTNEED)
			       : fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (off_t)offset, (off_t)n);
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
	/* An older kernel: a page is allocated when it is written. */
	for (size_t at = first; at < offset + n; at += XE_PAGE_SIZE) {
		volatile uint8_t *byte = m->base + at;

		*byte = *byte;
	}
}
