/* The hypercall table: each do_X copies its argument in, calls the typed operation, copies out.
 *
 * Numbers, structs and errno values are Xen's. An argument that is answered in place must be
 * writable before anything is done. Unknown numbers and sub-operations: ENOSYS, counted.
 * Left out: continuations; every call here is short. */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

enum { VERSION_4_17 = 4 << 16 | 17 };

typedef int64_t xe_hypercall_fn(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6]);

/* In, and certain to be writable for the way out. */
int xe_copy_arg(struct xe_host *h, struct xe_domain *d, void *buf, uint64_t gva, size_t n)
{
	if (xe_check_writable(h, d, gva, n))
		return -EFAULT;
	return xe_copy_from(h, d, buf, gva, n);
}

static int64_t do_mmu_update(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	struct xe_domain *fd = xe_domain_or_self(h, d, arg[3] & 0xffff);
	uint32_t count = (uint32_t)arg[1], done;
	int r = 0;

	if (arg[3] >> 16)
		return -EPERM;
	if (!fd || fd->dying)
		return -ESRCH;
	if (fd != d && !d->privileged)
		return -EPERM;
	for (done = 0; done < count; done++) {
		struct xe_mmu_update u;

		r = xe_copy_from(h, d, &u, arg[0] + (uint64_t)done * sizeof(u), sizeof(u));
		if (!r)
			r = xe_mmu_update_one(h, d, fd, u.ptr, u.val);
		if (r)
			break;
	}
	if (arg[2] && xe_copy_to(h, d, arg[2], &done, sizeof(done)) && !r)
		r = -EFAULT;
	return r;
}

static int64_t do_update_va_mapping(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	return xe_update_va_mapping(h, d, arg[0], arg[1]);
}

static int64_t do_memory_op(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	struct xe_memory_reservation r;
	uint16_t domid = XE_ABI_domid_SELF;

	switch (arg[0]) {
	case 0:
	case 1:
	case 6:
		if (xe_copy_from(h, d, &r, arg[1], sizeof(r)))
			return 0; /* none done, says Xen */
		return xe_memory_reservation(h, d, (uint32_t)arg[0], &r);
	case 3:
	case 4:
	case 14:
		if (xe_copy_from(h, d, &domid, arg[1], sizeof(domid)))
			return -EFAULT;
		return xe_memory_query(h, d, (uint32_t)arg[0], domid);
	case 2:
		return xe_memory_query(h, d, (uint32_t)arg[0], domid);
	default:
		return -ENOSYS;
	}
}

static int64_t do_xen_version(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	struct {
		uint32_t idx, map;
	} f;
	char extra[16] = ".7";

	switch (arg[0]) {
	case 0:
		return VERSION_4_17;
	case 1:
		return xe_copy_to(h, d, arg[1], extra, sizeof(extra));
	case 6:
		if (xe_copy_arg(h, d, &f, arg[1], sizeof(f)))
			return -EFAULT;
		if (f.idx)
			return -EINVAL;
		f.map = 1u << 5 | (d->privileged ? 1u << 11 : 0); /* preserve_ad, dom0 */
		return xe_copy_to(h, d, arg[1], &f, sizeof(f));
	case 7:
		return XE_PAGE_SIZE;
	default:
		return -ENOSYS;
	}
}

static int64_t do_console_io(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	uint64_t gva = arg[2], n = (uint32_t)arg[1];
	uint8_t buf[128];

	if (arg[0] != 0)
		return -ENOSYS;
	while (n) {
		uint32_t k = n < sizeof(buf) ? (uint32_t)n : sizeof(buf);

		if (xe_copy_from(h, d, buf, gva, k))
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

static int64_t do_sched_op(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	uint32_t reason;

	switch (arg[0]) {
	case 0:
		return 0;
	case 1:
		return xe_sched_block(h, d);
	case 2:
		if (xe_copy_from(h, d, &reason, arg[1], sizeof(reason)))
			return -EFAULT;
		return xe_sched_shutdown(h, d, reason);
	default:
		return -ENOSYS;
	}
}

union evtchn_arg {
	struct xe_evtchn_bind_interdomain interdomain;
	struct xe_evtchn_bind_virq virq;
	struct xe_evtchn_port port;
	struct xe_evtchn_status status;
	struct xe_evtchn_alloc_unbound unbound;
	struct xe_evtchn_bind_ipi ipi;
	struct xe_evtchn_bind_vcpu vcpu;
	uint16_t domid;
};

static int evtchn_op(struct xe_host *h, struct xe_domain *d, uint64_t cmd, union evtchn_arg *a)
{
	switch (cmd) {
	case 0:
		return xe_evtchn_bind_interdomain(h, d, &a->interdomain);
	case 1:
		return xe_evtchn_bind_virq(d, &a->virq);
	case 3:
		return xe_evtchn_close(h, d, a->port.port);
	case 4:
		return xe_evtchn_send(h, d, a->port.port);
	case 5:
		return xe_evtchn_status(h, d, &a->status);
	case 6:
		return xe_evtchn_alloc_unbound(h, d, &a->unbound);
	case 7:
		return xe_evtchn_bind_ipi(d, &a->ipi);
	case 8:
		return xe_evtchn_bind_vcpu(d, &a->vcpu);
	case 9:
		return xe_evtchn_unmask(h, d, a->port.port);
	case 10:
		return xe_evtchn_reset(h, d, a->domid);
	default:
		return -ENOSYS;
	}
}

static int64_t do_event_channel_op(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	static const struct {
		uint8_t size;
		bool out;
	} shape[] = {
		[0] = {sizeof(struct xe_evtchn_bind_interdomain), true},
		[1] = {sizeof(struct xe_evtchn_bind_virq), true},
		[3] = {sizeof(struct xe_evtchn_port), false},
		[4] = {sizeof(struct xe_evtchn_port), false},
		[5] = {sizeof(struct xe_evtchn_status), true},
		[6] = {sizeof(struct xe_evtchn_alloc_unbound), true},
		[7] = {sizeof(struct xe_evtchn_bind_ipi), true},
		[8] = {sizeof(struct xe_evtchn_bind_vcpu), false},
		[9] = {sizeof(struct xe_evtchn_port), false},
		[10] = {sizeof(uint16_t), false},
	};
	union evtchn_arg a;
	int r;

	if (arg[0] >= sizeof(shape) / sizeof(shape[0]) || !shape[arg[0]].size)
		return -ENOSYS;
	r = shape[arg[0]].out ? xe_copy_arg(h, d, &a, arg[1], shape[arg[0]].size)
			      : xe_copy_from(h, d, &a, arg[1], shape[arg[0]].size);
	if (!r)
		r = evtchn_op(h, d, arg[0], &a);
	if (!r && shape[arg[0]].out)
		r = xe_copy_to(h, d, arg[1], &a, shape[arg[0]].size);
	return r;
}

static int64_t do_domctl(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	struct xe_domctl op;
	int r = xe_copy_arg(h, d, &op, arg[0], sizeof(op));

	if (!r)
		r = xe_domctl(h, d, &op);
	if (!r)
		r = xe_copy_to(h, d, arg[0], &op, sizeof(op));
	return r;
}

static xe_hypercall_fn *const table[] = {
	[XE_ABI_hypercall_mmu_update] = do_mmu_update,
	[XE_ABI_hypercall_memory_op] = do_memory_op,
	[XE_ABI_hypercall_update_va_mapping] = do_update_va_mapping,
	[XE_ABI_hypercall_xen_version] = do_xen_version,
	[XE_ABI_hypercall_console_io] = do_console_io,
	[XE_ABI_hypercall_sched_op] = do_sched_op,
	[XE_ABI_hypercall_event_channel_op] = do_event_channel_op,
	[XE_ABI_hypercall_domctl] = do_domctl,
	[XE_ABI_hypercall_zeroloss_op] = xe_do_zeroloss_op,
};

static int64_t dispatch(struct xe_host *h, struct xe_domain *d, uint64_t nr, const uint64_t arg[6])
{
	int64_t r = -ENOSYS;

	h->counters.hypercalls++;
	if (nr < sizeof(table) / sizeof(table[0]) && table[nr])
		r = table[nr](h, d, arg);
	if (r == -ENOSYS)
		h->counters.unknown_hypercalls++;
	else if (r == -EFAULT)
		h->counters.efaults++;
	else if (r == -EPERM)
		h->counters.eperms++;
	return r;
}

/* Not in the table: a multicall inside one is refused, as in Xen. */
static int64_t do_multicall(struct xe_host *h, struct xe_domain *d, const uint64_t arg[6])
{
	for (uint32_t i = 0; i < (uint32_t)arg[1]; i++) {
		uint64_t gva = arg[0] + i * sizeof(struct xe_multicall_entry);
		struct xe_multicall_entry e;

		if (xe_copy_arg(h, d, &e, gva, sizeof(e)))
			return -EFAULT;
		e.result = e.op == XE_ABI_hypercall_multicall
				   ? (uint64_t)-EINVAL
				   : (uint64_t)dispatch(h, d, e.op, e.args);
		if (xe_copy_to(h, d, gva, &e, sizeof(e)))
			return -EFAULT;
	}
	return 0;
}

int64_t xe_hypercall(struct xe_host *h, uint32_t domid, uint32_t nr, const uint64_t arg[5],
		     xe_ns now)
{
	struct xe_domain *d = xe_live_domain(h, domid);
	uint64_t a[6] = {0};
	int64_t r;

	(void)now;
	if (!d)
		return -ESRCH;
	memcpy(a, arg, 5 * sizeof(a[0]));
	if (nr == XE_ABI_hypercall_multicall) {
		h->counters.hypercalls++;
		r = do_multicall(h, d, a);
		h->counters.efaults += r == -EFAULT;
	} else {
		r = dispatch(h, d, nr, a);
	}
	xe_frames_flush(h);
	return r;
}
