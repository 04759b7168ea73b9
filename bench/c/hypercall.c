/* xen_version from C against a system call and an empty function; see hypercall.h. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/abi.h"
#include "clock.h"
#include "machine.h"

#include "hypercall.h"

struct bench_host {
	struct xe_machine *machine;
	uint32_t domid;
};

struct bench_host *bench_host_open(int real)
{
	struct xe_machine_config cfg = {.frames = 4096, .real = real, .trace_records = 65536};
	struct xe_domain_config domain = {.pages = 256, .max_pages = 256};
	struct bench_host *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return NULL;
	rc = xe_machine_create(&b->machine, &cfg);
	if (!rc)
		rc = xe_domain_create(xe_machine_host(b->machine), &domain, &b->domid);
	if (!rc)
		rc = xe_machine_pause(b->machine, b->domid, false);
	if (rc) {
		bench_host_close(b);
		errno = -rc;
		return NULL;
	}
	return b;
}

void bench_host_close(struct bench_host *b)
{
	if (!b)
		return;
	xe_machine_destroy(b->machine);
	free(b);
}

int64_t bench_version(struct bench_host *b)
{
	const uint64_t arg[5] = {0};

	return xe_machine_hypercall(b->machine, b->domid, 0, XE_ABI_hypercall_xen_version, arg);
}

uint64_t bench_machine_hypercall(struct bench_host *b, uint64_t count)
{
	const uint64_t arg[5] = {0};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		xe_machine_hypercall(b->machine, b->domid, 0, XE_ABI_hypercall_xen_version, arg);
	return bench_now() - start;
}

uint64_t bench_host_hypercall(struct bench_host *b, uint64_t count)
{
	struct xe_host *h = xe_machine_host(b->machine);
	const uint64_t arg[5] = {0};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		xe_hypercall(h, b->domid, 0, XE_ABI_hypercall_xen_version, arg, 0);
	return bench_now() - start;
}

uint64_t bench_system_call(uint64_t count)
{
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		syscall(SYS_getppid);
	return bench_now() - start;
}

static int64_t noop(struct xe_machine *m, uint32_t domid, uint32_t nr, const uint64_t arg[5])
{
	return nr;
}

uint64_t bench_noop(struct bench_host *b, uint64_t count)
{
	int64_t (*volatile call)(struct xe_machine *, uint32_t, uint32_t, const uint64_t[5]) = noop;
	const uint64_t arg[5] = {0};
	uint64_t start = bench_now();

	for (uint64_t i = 0; i < count; i++)
		call(b->machine, b->domid, 0, XE_ABI_hypercall_xen_version, arg);
	return bench_now() - start;
}
