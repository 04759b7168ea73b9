/* net_schedule_list: which domain gets the packets of an address. Also the choice of free addresses.
 *
 * Invariant: an entry names a domain that is not destroyed; destroying it removes its entries.
 * Left out: links and packets; the machine asks here for each packet. */
#include <errno.h>

#include "xen/internal.h"

enum { FIRST_IP = 0x0a000002, LAST_IP = 0x0a0000fe };

static struct xe_path *find(const struct xe_host *h, uint32_t ip)
{
	for (uint32_t i = 0; i < h->npaths; i++)
		if (h->path[i].ip == ip)
			return (struct xe_path *)&h->path[i];
	return NULL;
}

int xe_path_set(struct xe_host *h, uint32_t ip, uint32_t domid)
{
	struct xe_path *p = find(h, ip);

	if (!xe_live_domain(h, domid))
		return -ESRCH;
	if (!p) {
		if (h->npaths == XE_MAX_PATHS)
			return -ENOSPC;
		p = &h->path[h->npaths++];
		p->ip = ip;
	}
	p->domid = domid;
	return 0;
}

int xe_path_clear(struct xe_host *h, uint32_t ip)
{
	struct xe_path *p = find(h, ip);

	if (!p)
		return -ENOENT;
	*p = h->path[--h->npaths];
	return 0;
}

int xe_path_lookup(const struct xe_host *h, uint32_t ip)
{
	const struct xe_path *p = find(h, ip);

	return p ? (int)p->domid : -ENOENT;
}

void xe_path_clear_domain(struct xe_host *h, uint32_t domid)
{
	for (uint32_t i = h->npaths; i-- > 0;)
		if (h->path[i].domid == domid)
			h->path[i] = h->path[--h->npaths];
}

static bool ip_in_use(const struct xe_host *h, uint32_t ip)
{
	for (uint32_t i = 0; i < h->top; i++) {
		const struct xe_domain *d = h->domain[i];

		if (d && !d->dying && (d->ip == ip || d->own_ip == ip || d->next_ip == ip))
			return true;
	}
	return xe_pair_has_ip(h, ip) || find(h, ip);
}

/* First free address of 10.0.0.2..254; 0: none. */
uint32_t xe_free_ip(const struct xe_host *h)
{
	for (uint32_t ip = FIRST_IP; ip <= LAST_IP; ip++)
		if (!ip_in_use(h, ip))
			return ip;
	return 0;
}
