/* console_io: the last bytes that each domain wrote, in a ring.
 *
 * Any domain may write, as where Xen is built to be verbose; a release build lets only the control
 * domain. Only that may read, and nobody types: it reads nothing.
 *
 * Invariants: console_len <= XE_CONSOLE_SIZE. Left out: Xen's filter of control characters. */
#include <errno.h>

#include "xen/internal.h"

static void put(struct xe_domain *d, const uint8_t *buf, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		d->console[(d->console_head + d->console_len) % XE_CONSOLE_SIZE] = buf[i];
		if (d->console_len < XE_CONSOLE_SIZE)
			d->console_len++;
		else
			d->console_head = (d->console_head + 1) % XE_CONSOLE_SIZE;
	}
}

/* What came before an address that can't be read is written. */
static int64_t write(struct xe_host *h, struct xe_vcpu *v, uint32_t n, uint64_t gva)
{
	uint8_t buf[127];

	while (n) {
		uint32_t k = n < sizeof(buf) ? n : sizeof(buf);

		if (xe_copy_from(h, v, buf, gva, k))
			return -EFAULT;
		put(v->domain, buf, k);
		gva += k;
		n -= k;
	}
	return 0;
}

int64_t xe_do_console_io(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0], n = (uint32_t)arg[1];

	if (cmd == XE_ABI_console_op_write)
		return write(h, v, n, arg[2]);
	if (!v->domain->privileged)
		return -EPERM;
	if (cmd != XE_ABI_console_op_read)
		return -ENOSYS;
	return n > INT32_MAX ? -E2BIG : 0;
}

size_t xe_console_read(struct xe_host *h, uint32_t domid, void *buf, size_t n)
{
	struct xe_domain *d = xe_domain(h, domid);
	size_t i;

	for (i = 0; d && i < n && d->console_len; i++) {
		((uint8_t *)buf)[i] = d->console[d->console_head];
		d->console_head = (d->console_head + 1) % XE_CONSOLE_SIZE;
		d->console_len--;
	}
	return i;
}
