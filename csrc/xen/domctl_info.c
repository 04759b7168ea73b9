/* domctl: what asks about a domain, and what concerns one virtual CPU or some frames of it.
 *
 * Left out: affinity, extended state, MSRs: a vcpu that does not exist answers as in Xen. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

enum { TRIGGER_NMI, TRIGGER_POWER = 3, TRIGGER_SLEEP = 4 };
enum { MAX_FRAME_INFOS = 1024, GPADDR_BITS = 40, TSC_KHZ = 1000 * 1000 };
enum { IRET = 23, CALLS = XE_PAGE_SIZE / 32 };

static uint64_t cpu_time(const struct xe_host *h, const struct xe_vcpu *v)
{
	struct xe_runstate_info r;

	xe_runstate_get(h, v, &r);
	return r.time[XE_RUNNING];
}

/* Also how many vcpus are up, and how long all of them have run. */
static uint32_t run_flags(const struct xe_host *h, const struct xe_domain *d,
			  struct xe_domctl_info *i)
{
	uint32_t flags = XE_DOMINF_BLOCKED;

	for (uint32_t n = 0; n < d->nvcpus; n++) {
		const struct xe_vcpu *v = d->vcpu[n];

		i->cpu_time += cpu_time(h, v);
		if (!v->online)
			continue;
		i->nr_online_vcpus++;
		if (!v->blocked)
			flags &= ~XE_DOMINF_BLOCKED;
		if (v == h->current)
			flags |= XE_DOMINF_RUNNING;
	}
	return i->nr_online_vcpus ? flags : 0;
}

static void get_info(const struct xe_host *h, const struct xe_domain *d, struct xe_domctl_info *i)
{
	memset(i, 0, sizeof(*i));
	i->domain = (uint16_t)d->id;
	i->flags = run_flags(h, d, i) | (d->dying ? XE_DOMINF_DYING : 0) |
		   (d->shut_down ? XE_DOMINF_SHUTDOWN : 0) |
		   (d->pause_count ? XE_DOMINF_PAUSED : 0) |
		   (d->debugged ? XE_DOMINF_DEBUGGED : 0) |
		   (d->create_flags & XE_CDF_XS_DOMAIN ? XE_DOMINF_XS_DOMAIN : 0) |
		   d->shutdown_code << XE_DOMINF_SHUTDOWN_SHIFT;
	i->tot_pages = d->tot_pages;
	i->max_pages = d->max_pages;
	i->outstanding = d->claimed;
	i->shared_info_frame = d->shared_mfn;
	i->max_vcpu_id = d->nvcpus - 1;
	memcpy(i->handle, d->handle, sizeof(i->handle));
	i->gpaddr_bits = GPADDR_BITS;
	i->arch.emulation_flags = d->emulation_flags;
}

static int vcpu_info(const struct xe_host *h, const struct xe_domain *d,
		     struct xe_domctl_vcpu_info *i)
{
	const struct xe_vcpu *v = xe_vcpu(d, i->vcpu);

	if (i->vcpu >= d->max_vcpus)
		return -EINVAL;
	if (!v)
		return -ESRCH;
	i->online = v->online;
	i->blocked = v->blocked;
	i->running = v == h->current;
	i->cpu_time = cpu_time(h, v);
	i->cpu = 0;
	return 0;
}

static int set_context(struct xe_host *h, struct xe_vcpu *cur, struct xe_domain *d,
		       const struct xe_domctl *op)
{
	struct xe_vcpu *v = xe_vcpu(d, op->u.context.vcpu);
	struct xe_vcpu_context c;

	if (d == cur->domain || !v)
		return -EINVAL;
	if (!op->u.context.gva) {
		xe_vcpu_reset(h, v);
		return 0;
	}
	if (xe_copy_from(h, cur, &c, op->u.context.gva, sizeof(c)))
		return -EFAULT;
	return d->dying ? -EINVAL : xe_vcpu_set_context(h, v, &c);
}

static int get_context(struct xe_host *h, struct xe_vcpu *cur, struct xe_domain *d,
		       const struct xe_domctl *op)
{
	const struct xe_vcpu *v = xe_vcpu(d, op->u.context.vcpu);
	struct xe_vcpu_context c;

	if (!v || v == cur)
		return -EINVAL;
	if (!v->initialised)
		return -ENODATA;
	xe_vcpu_get_context(v, &c);
	return xe_copy_to(h, cur, op->u.context.gva, &c, sizeof(c));
}

static uint64_t frame_info(struct xe_host *h, const struct xe_domain *d, xe_mfn mfn)
{
	const struct xe_frame *f;
	unsigned level;
	uint64_t info;

	if (!xe_get_page(h, mfn, d))
		return XE_PFINFO_NO_PAGE;
	f = &h->frame[mfn];
	level = xe_table_level(f);
	info = level <= 4 ? XE_PFINFO_TABLE(level) : 0;
	if (f->count_info & XE_PGC_XEN_HEAP)
		info = XE_PFINFO_NO_PAGE;
	else if (f->type_info & XE_PGT_PINNED)
		info |= XE_PFINFO_PINNED;
	else if (!(f->type_info & XE_PGT_VALIDATED))
		info = 0;
	xe_put_page(h, mfn);
	return info;
}

/* In an array of mfns, each is replaced by what it is. */
static int frame_infos(struct xe_host *h, struct xe_vcpu *cur, const struct xe_domain *d,
		       const struct xe_domctl *op)
{
	uint64_t gva = op->u.frame_info.gva;

	if (op->u.frame_info.num > MAX_FRAME_INFOS)
		return -E2BIG;
	for (uint64_t i = 0; i < op->u.frame_info.num; i++, gva += sizeof(xe_mfn)) {
		uint64_t x;

		if (xe_copy_from(h, cur, &x, gva, sizeof(x)))
			return -EFAULT;
		x = frame_info(h, d, x);
		if (xe_copy_to(h, cur, gva, &x, sizeof(x)))
			return -EFAULT;
	}
	return 0;
}

/* The page that a kernel calls into: one entry of 32 bytes a hypercall, which makes it. */
static int hypercall_page(struct xe_host *h, struct xe_domain *d, xe_mfn mfn)
{
	uint8_t *p;

	if (!xe_get_page(h, mfn, d))
		return -EINVAL;
	if ((h->frame[mfn].log && !xe_log_may_map(h, d, &h->frame[mfn])) ||
	    xe_get_page_type(h, mfn, XE_PGT_WRITABLE)) {
		xe_put_page(h, mfn);
		return -EPERM;
	}
	p = xe_frame_ptr(h, mfn);
	for (uint32_t i = 0; i < CALLS; i++, p += 32) {
		static const uint8_t save[] = {0x51, 0x41, 0x53}; /* push rcx, r11 */
		static const uint8_t leave[] = {0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
		size_t n = sizeof(save);

		memcpy(p, save, n);
		if (i == IRET)
			p[n++] = 0x50; /* push rax */
		p[n++] = 0xb8;         /* mov eax, i */
		memcpy(p + n, &i, sizeof(i));
		memcpy(p + n + sizeof(i), leave, i == IRET ? 2 : sizeof(leave));
	}
	xe_put_page_and_type(h, mfn);
	return 0;
}

static int send_trigger(const struct xe_domain *d, const struct xe_domctl *op)
{
	struct xe_vcpu *v = xe_vcpu(d, op->u.trigger.vcpu);

	if (!v)
		return -ESRCH;
	switch (op->u.trigger.trigger) {
	case TRIGGER_NMI:
		v->nmi_pending = true;
		return 0;
	case TRIGGER_POWER:
	case TRIGGER_SLEEP:
		return -EINVAL;
	default:
		return -ENOSYS;
	}
}

static int get_tsc(const struct xe_domain *d, const struct xe_domain *cur, struct xe_domctl *op)
{
	if (d == cur)
		return -EINVAL;
	memset(&op->u.tsc, 0, sizeof(op->u.tsc));
	op->u.tsc.khz = TSC_KHZ;
	op->u.tsc.incarnation = 1;
	return 0;
}

/* In these the vcpu is the first field. */
static int vcpu_state(const struct xe_domain *d, const struct xe_domctl *op)
{
	return xe_vcpu(d, op->u.context.vcpu) ? -ENOSYS : -ESRCH;
}

int xe_domctl_info(struct xe_host *h, struct xe_vcpu *v, struct xe_domain *d, struct xe_domctl *op,
		   bool *copy)
{
	switch (op->cmd) {
	case XE_ABI_domctl_getdomaininfo:
		*copy = true;
		get_info(h, d, &op->u.info);
		op->domain = op->u.info.domain;
		return 0;
	case XE_ABI_domctl_getvcpuinfo:
		*copy = true;
		return vcpu_info(h, d, &op->u.vcpu_info);
	case XE_ABI_domctl_getvcpucontext:
		return get_context(h, v, d, op);
	case XE_ABI_domctl_setvcpucontext:
		return set_context(h, v, d, op);
	case XE_ABI_domctl_get_address_size:
		*copy = true;
		op->u.address_size = 64;
		return 0;
	case XE_ABI_domctl_gettscinfo:
		*copy = true;
		return get_tsc(d, v->domain, op);
	case XE_ABI_domctl_getpageframeinfo3:
		return frame_infos(h, v, d, op);
	case XE_ABI_domctl_hypercall_init:
		return hypercall_page(h, d, op->u.gmfn);
	case XE_ABI_domctl_sendtrigger:
		return send_trigger(d, op);
	case XE_ABI_domctl_setvcpuaffinity:
	case XE_ABI_domctl_getvcpuaffinity:
	case XE_ABI_domctl_set_ext_vcpucontext:
	case XE_ABI_domctl_get_ext_vcpucontext:
	case XE_ABI_domctl_setvcpuextstate:
	case XE_ABI_domctl_getvcpuextstate:
	case XE_ABI_domctl_get_vcpu_msrs:
	case XE_ABI_domctl_set_vcpu_msrs:
		return vcpu_state(d, op);
	default:
		return -ENOSYS;
	}
}
