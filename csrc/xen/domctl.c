/* domctl: the control domain's calls on domains.
 *
 * Checked in this order: version (EACCES), right (EPERM), domain (ESRCH), the call itself.
 * A domain made here has no memory and no virtual CPU, like Xen's; the machine's own builder is
 * xe_domain_create. Left out: everything else of domctl (ENOSYS). */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

enum { CREATE = 1, DESTROY = 2, PAUSE = 3, UNPAUSE = 4, GETINFO = 5, MAX_MEM = 11, MAX_VCPUS = 15 };

static int create(struct xe_host *h, struct xe_domctl *op)
{
	struct xe_domain *d;
	int r = xe_domain_alloc(h, op->domain, 1, &d);

	if (!r)
		op->domain = (uint16_t)d->id;
	return r;
}

static bool is_blocked(const struct xe_domain *d)
{
	for (uint32_t i = 0; i < d->nvcpus; i++)
		if (d->vcpu[i]->online && !d->vcpu[i]->blocked)
			return false;
	return d->nvcpus && d->vcpu[0]->online;
}

static void get_info(struct xe_host *h, const struct xe_domain *cur, const struct xe_domain *d,
		     struct xe_domctl_info *i)
{
	(void)h;
	memset(i, 0, sizeof(*i));
	i->domain = (uint16_t)d->id;
	i->flags = d->shutdown_code << 16 | (d->dying ? 1u : 0) | (d->shut_down ? 4u : 0) |
		   (d->pause_count ? 8u : 0) | (is_blocked(d) ? 0x10u : 0) | (d == cur ? 0x20u : 0);
	i->tot_pages = d->tot_pages;
	i->max_pages = d->max_pages;
	i->shared_info_frame = d->shared_mfn;
	for (uint32_t n = 0; n < d->nvcpus; n++)
		i->nr_online_vcpus += d->vcpu[n]->online;
	i->max_vcpu_id = d->nvcpus - 1;
}

static int set_vcpus(struct xe_host *h, struct xe_domain *d, uint32_t max)
{
	int r = max && max == d->max_vcpus ? 0 : -EINVAL;

	while (!r && d->nvcpus < max)
		r = xe_vcpu_create(h, d);
	return r;
}

static int domctl(struct xe_host *h, struct xe_domain *cur, struct xe_domctl *op)
{
	struct xe_domain *d;

	if (op->version != XE_DOMCTL_VERSION)
		return -EACCES;
	if (!cur->privileged)
		return -EPERM;
	if (op->cmd == CREATE)
		return create(h, op);
	d = xe_domain(h, op->domain);
	if (!d)
		return -ESRCH;
	if (d == cur && op->cmd >= DESTROY && op->cmd <= UNPAUSE)
		return -EINVAL;
	switch (op->cmd) {
	case DESTROY:
		return xe_domain_destroy(h, d->id);
	case PAUSE:
		return xe_domain_pause(h, d->id);
	case UNPAUSE:
		return xe_domain_unpause(h, d->id);
	case GETINFO:
		get_info(h, cur, d, &op->u.info);
		return 0;
	case MAX_MEM:
		d->max_pages = op->u.max_memkb >> 2;
		return 0;
	case MAX_VCPUS:
		return set_vcpus(h, d, op->u.max_vcpus);
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_domctl(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	struct xe_domctl op;
	int r = xe_copy_arg(h, v, &op, arg[0], sizeof(op));

	if (!r)
		r = domctl(h, v->domain, &op);
	if (!r)
		r = xe_copy_to(h, v, arg[0], &op, sizeof(op));
	return r;
}
