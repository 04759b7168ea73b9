/* console_io: the last bytes that each domain wrote, in a ring. */
#include <errno.h>

#include "xen/internal.h"

int64_t xe_do_console_io(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_domain *d = v->domain;
	uint64_t gva = arg[2], n = (uint32_t)arg[1];
	uint8_t buf[128];

	if (arg[0] != 0)
		return -ENOSYS;
	while (n) {
		uint32_t k = n < sizeof(buf) ? (uint32_t)n : sizeof(buf);

		if (xe_copy_from(h, v, buf, gva, k))
			return -EFAULT;
		for (uint32_t i = 0; i < k; i++) {
			d->console[(d->console_head + d->console_len) % XE_CONSOLE_SIZE] = buf[i];
			if (d->console_len < XE_CONSOLE_SIZE)
				d->console_len++;
			else
				d->console_head = (d->console_head + 1) % XE_CONSOLE_SIZE;
		}
		gva += k;
		n -= k;
	}
	return 0;
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
