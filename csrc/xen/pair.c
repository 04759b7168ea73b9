/* The backup-grant table: protection pairs, their states, and what each may be asked in which state.
 *
 * An entry is a grant: its domain, the primary, may have one backup. Decisions and transitions are
 * made here at once and an event is queued; the VZS performs the effects and tells us when a
 * transition that takes time (boot, change of address, migration) is over.
 *
 * Order of errors: EPERM, ESRCH, EBUSY, EEXIST/ENOENT, EINVAL, ENOMEM.
 * Invariants: a domain is in at most one pair; backup != 0 in every state but NONE, GRANTED and
 * RECOVERING; old_primary != 0 exactly while RECOVERING otherwise than in place, and then the
 * primary is paused or dying; backup_booted says that the backup there is has its service; a pair
 * with a log holds its references (log.c).
 * RECOVERING is entered from every other state but NONE, by a fence, from MIGRATING for a trial,
 * or in place; it is left by RECOVERY_DONE, when the VZS gives up, or when a trial is rolled back.
 * Backups may come and go meanwhile: the VZS fences one that fails (its right to the log ends) and
 * has another created on behalf of the primary.
 * If the backup is destroyed it is forgotten; if the primary is destroyed and no recovery runs the
 * pair goes; while one runs its struct stays, since backups are built like it. Left out: signals'
 * meaning and all policy (the VZS), the log's content (the OZS). */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "xen/internal.h"

struct xe_pair *xe_pair_of_primary(struct xe_host *h, uint32_t domid)
{
	for (unsigned i = 0; i < XE_MAX_PAIRS; i++)
		if (h->pair[i].state != XE_PAIR_NONE && h->pair[i].primary == domid)
			return &h->pair[i];
	return NULL;
}

struct xe_pair *xe_pair_of_backup(struct xe_host *h, uint32_t domid)
{
	for (unsigned i = 0; domid && i < XE_MAX_PAIRS; i++)
		if (h->pair[i].state != XE_PAIR_NONE && h->pair[i].backup == domid)
			return &h->pair[i];
	return NULL;
}

const struct xe_pair *xe_pair_of(const struct xe_host *h, uint32_t domid)
{
	struct xe_host *w = (struct xe_host *)(uintptr_t)h;
	struct xe_pair *p = xe_pair_of_primary(w, domid);

	return p ? p : xe_pair_of_backup(w, domid);
}

uint8_t xe_pair_tag(const struct xe_host *h, const struct xe_pair *p)
{
	return (uint8_t)(p - h->pair + 1);
}

static bool is_busy(const struct xe_pair *p)
{
	return p->state == XE_PAIR_BOOTING || p->state == XE_PAIR_CHANGING_IP ||
	       p->state == XE_PAIR_MIGRATING || p->state == XE_PAIR_RECOVERING;
}

static void ports_changed(struct xe_host *h, struct xe_pair *p)
{
	p->ports_version = ++h->ports_versions;
	xe_domain_changed(h, p->primary);
	if (p->backup)
		xe_domain_changed(h, p->backup);
}

/* The primary's calls on its backup: right, then busy, then whether there is one. */
static int primary_check(const struct xe_pair *p)
{
	if (!p)
		return -EPERM;
	if (is_busy(p))
		return -EBUSY;
	return p->backup ? 0 : -ENOENT;
}

static int install_grant(struct xe_host *h, struct xe_domain *cur, const struct xe_zl_arg *a)
{
	struct xe_domain *d = xe_domain_or_self(h, cur, a->domid);
	struct xe_pair *p = h->pair;

	if (!cur->privileged)
		return -EPERM;
	if (!d || d->dying)
		return -ESRCH;
	if (xe_pair_of(h, d->id))
		return -EEXIST;
	if (!d->ip) /* nothing that could be shared */
		return -EINVAL;
	while (p < h->pair + XE_MAX_PAIRS && p->state != XE_PAIR_NONE)
		p++;
	if (p == h->pair + XE_MAX_PAIRS)
		return -ENOMEM;
	*p = (struct xe_pair){.state = XE_PAIR_GRANTED, .primary = d->id, .ip = d->ip};
	ports_changed(h, p);
	xe_queue_vmm(h, d, XE_VMM_GRANT_INSTALLED, 0, 0);
	return 0;
}

/* Like the primary was built, and unpaused. */
static int create_backup(struct xe_host *h, const struct xe_domain *d, struct xe_pair *p)
{
	struct xe_domain_config cfg = d->built;
	uint32_t id;
	int r;

	cfg.max_pages = cfg.pages;
	cfg.ip = 0;
	cfg.privileged = false;
	r = xe_domain_create(h, &cfg, &id);
	if (r)
		return r;
	p->backup = id;
	p->backup_booted = p->backup_has_primary_ip = false;
	r = xe_domain_unpause(h, id);
	xe_assert(!r);
	return 0;
}

static int boot_backup(struct xe_host *h, struct xe_domain *d, struct xe_zl_arg *a)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	int r = primary_check(p);

	if (r != -ENOENT)
		return r ? r : -EEXIST;
	r = create_backup(h, d, p);
	if (r)
		return r;
	p->state = XE_PAIR_BOOTING;
	p->features = a->value;
	a->domid = p->backup;
	xe_queue_vmm(h, d, XE_VMM_BOOT_BACKUP, p->backup, 0);
	return 0;
}

static int boot_done(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	struct xe_pair *p = xe_pair_of_backup(h, d->id);

	if (!p)
		return -EPERM;
	if (p->backup_booted)
		return -EINVAL;
	p->backup_booted = true;
	xe_queue_vmm(h, d, XE_VMM_BOOT_DONE, a->value, 0);
	return 0;
}

static int change_backup_ip(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	int r = primary_check(p);

	if (r)
		return r;
	if (p->state == XE_PAIR_SUSPENDED || a->value > 1)
		return -EINVAL;
	h->domain[p->backup]->next_ip = a->value ? p->ip : h->domain[p->backup]->own_ip;
	p->state = XE_PAIR_CHANGING_IP;
	xe_queue_vmm(h, d, XE_VMM_CHANGE_IP, p->backup, 0);
	return 0;
}

/* For a backup, and for any domain that was told to take another address. */
static int get_ip(struct xe_host *h, struct xe_domain *d, struct xe_zl_arg *a)
{
	if (!d->next_ip && !xe_pair_of_backup(h, d->id))
		return -EPERM;
	a->value = d->next_ip ? d->next_ip : d->ip;
	return 0;
}

static int ip_set(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	struct xe_pair *p = xe_pair_of_backup(h, d->id);

	if (!d->next_ip && !p)
		return -EPERM;
	if (a->value != (d->next_ip ? d->next_ip : d->ip))
		return -EINVAL;
	d->ip = (uint32_t)a->value;
	d->next_ip = 0;
	if (p)
		p->backup_has_primary_ip = d->ip == p->ip;
	xe_queue_vmm(h, d, XE_VMM_IP_SET, d->ip, 0);
	return 0;
}

static int suspend_backup(struct xe_host *h, struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	int r = primary_check(p);

	if (r)
		return r;
	if (p->state == XE_PAIR_SUSPENDED)
		return -EINVAL;
	r = xe_domain_pause(h, p->backup);
	xe_assert(!r);
	p->state = XE_PAIR_SUSPENDED;
	xe_queue_vmm(h, h->domain[p->backup], XE_VMM_SUSPENDED, 0, 0);
	return 0;
}

static int wakeup_backup(struct xe_host *h, struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	int r = primary_check(p);

	if (r)
		return r;
	if (p->state != XE_PAIR_SUSPENDED)
		return -EINVAL;
	xe_domain_unpause(h, p->backup); /* may be awake already by a domctl */
	p->state = XE_PAIR_AWAKE;
	xe_queue_vmm(h, h->domain[p->backup], XE_VMM_WOKEN, 0, 0);
	return 0;
}

static int migrate(struct xe_host *h, struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	int r = primary_check(p);

	if (r)
		return r;
	if (p->state == XE_PAIR_SUSPENDED || !p->backup_has_primary_ip)
		return -EINVAL;
	p->state = XE_PAIR_MIGRATING;
	xe_queue_vmm(h, d, XE_VMM_MIGRATE, p->backup, 0);
	return 0;
}

static int quiesced(struct xe_host *h, struct xe_domain *d)
{
	const struct xe_pair *p = xe_pair_of_primary(h, d->id);

	if (!p)
		return -EPERM;
	if (p->state != XE_PAIR_MIGRATING)
		return -EINVAL;
	xe_queue_vmm(h, d, XE_VMM_QUIESCED, 0, 0);
	return 0;
}

static int report_fault(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	const struct xe_pair *p = xe_pair_of(h, d->id);

	if (!p)
		return -EPERM;
	if (a->value != XE_ABI_fault_APP && a->value != XE_ABI_fault_KERNEL)
		return -EINVAL;
	if (p->state != XE_PAIR_RECOVERING || p->in_place || p->backup == d->id)
		xe_report_fault(h, d, (uint32_t)a->value);
	return 0;
}

static int register_log(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);

	if (!p)
		return -EPERM;
	if (p->state == XE_PAIR_RECOVERING)
		return -EBUSY;
	return p->extents ? -EEXIST : xe_log_register(h, d, p, a);
}

static int find_port(const struct xe_pair *p, uint64_t port)
{
	for (uint32_t i = 0; i < p->nports; i++)
		if ((p->ports[i] & 0xffff) == port)
			return (int)i;
	return -ENOENT;
}

static int register_wrapper(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a,
			    bool add)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);
	uint64_t port = add ? a->value & 0xffff : a->value;
	int i;

	if (!p)
		return -EPERM;
	if (p->state == XE_PAIR_RECOVERING)
		return -EBUSY;
	if (!port || port > 65535 || (add && a->value >> 16 >= XE_MAX_PROFILES))
		return -EINVAL;
	i = find_port(p, port);
	if (add && i >= 0)
		return -EEXIST;
	if (!add && i < 0)
		return -ENOENT;
	if (add && p->nports == XE_MAX_PROTECTED_PORTS)
		return -ENOMEM;
	if (add)
		p->ports[p->nports++] = (uint32_t)a->value;
	else
		p->ports[i] = p->ports[--p->nports];
	ports_changed(h, p);
	return 0;
}

static struct xe_pair *recovering_backup(struct xe_host *h, const struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_backup(h, d->id);

	return p && p->state == XE_PAIR_RECOVERING && !p->in_place ? p : NULL;
}

static struct xe_pair *recovering_in_place(struct xe_host *h, const struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);

	return p && p->state == XE_PAIR_RECOVERING && p->in_place ? p : NULL;
}

static void drop_old(struct xe_host *h, struct xe_pair *p)
{
	if (p->holds_old)
		xe_put_domain(h, h->domain[p->old_primary]);
	p->holds_old = false;
	p->old_primary = 0;
}

static int recovered_in_place(struct xe_host *h, struct xe_domain *d, struct xe_pair *p)
{
	p->in_place = false;
	p->state = p->backup ? p->before : XE_PAIR_GRANTED;
	xe_queue_vmm(h, d, XE_VMM_RECOVERY_DONE, d->id, 0);
	return 0;
}

/* The backup takes over: grant, log, address. The old primary stays paused for the VZS. */
static int recovery_done(struct xe_host *h, struct xe_domain *d)
{
	struct xe_pair *p = recovering_in_place(h, d);
	uint32_t old_id;

	if (p)
		return recovered_in_place(h, d, p);
	p = recovering_backup(h, d);
	if (!p)
		return -EPERM;
	if (p->trial)
		return -EBUSY;
	old_id = p->primary;
	h->domain[old_id]->fault_reported = false;
	xe_log_transfer(h, p, d); /* a destroyed old primary goes with this */
	drop_old(h, p);
	p->primary = d->id;
	p->backup = 0;
	p->state = XE_PAIR_GRANTED;
	p->backup_booted = p->backup_has_primary_ip = false;
	p->log_granted = false;
	d->ip = p->ip;
	d->next_ip = 0;
	xe_queue_vmm(h, d, XE_VMM_RECOVERY_DONE, old_id, 0);
	return 0;
}

static int start_replay(struct xe_host *h, struct xe_domain *d, const struct xe_zl_arg *a)
{
	if (!recovering_backup(h, d) && !recovering_in_place(h, d))
		return -EPERM;
	xe_queue_vmm(h, d, XE_VMM_REPLAY_STARTED, a->value, 0);
	return 0;
}

static int get_signal(struct xe_domain *d, struct xe_zl_arg *a)
{
	a->value = d->signals;
	a->status = d->signal_status;
	d->signals = 0;
	d->signal_status = 0;
	return 0;
}

static int get_log(struct xe_host *h, struct xe_domain *d, struct xe_zl_arg *a)
{
	struct xe_pair *p = recovering_backup(h, d);

	return p ? xe_log_get(h, p, a) : -EPERM;
}

int xe_zl_op(struct xe_host *h, struct xe_domain *d, uint32_t cmd, struct xe_zl_arg *a)
{
	switch (cmd) {
	case XE_ABI_zl_INSTALL_GRANT:
		return install_grant(h, d, a);
	case XE_ABI_zl_BOOT_BACKUP:
		return boot_backup(h, d, a);
	case XE_ABI_zl_BOOT_DONE:
		return boot_done(h, d, a);
	case XE_ABI_zl_CHANGE_BACKUP_IP:
		return change_backup_ip(h, d, a);
	case XE_ABI_zl_GET_IP:
		return get_ip(h, d, a);
	case XE_ABI_zl_IP_SET:
		return ip_set(h, d, a);
	case XE_ABI_zl_SUSPEND_BACKUP:
		return suspend_backup(h, d);
	case XE_ABI_zl_WAKEUP_BACKUP:
		return wakeup_backup(h, d);
	case XE_ABI_zl_MIGRATE:
		return migrate(h, d);
	case XE_ABI_zl_QUIESCED:
		return quiesced(h, d);
	case XE_ABI_zl_REPORT_FAULT:
		return report_fault(h, d, a);
	case XE_ABI_zl_REGISTER_HEARTBEAT:
		return xe_heartbeat_register(h, d, a->value);
	case XE_ABI_zl_REGISTER_LOG:
		return register_log(h, d, a);
	case XE_ABI_zl_GET_LOG:
		return get_log(h, d, a);
	case XE_ABI_zl_REGISTER_WRAPPER:
		return register_wrapper(h, d, a, true);
	case XE_ABI_zl_UNREGISTER_WRAPPER:
		return register_wrapper(h, d, a, false);
	case XE_ABI_zl_START_REPLAY:
		return start_replay(h, d, a);
	case XE_ABI_zl_RECOVERY_DONE:
		return recovery_done(h, d);
	case XE_ABI_zl_GET_SIGNAL:
		return get_signal(d, a);
	default:
		return -ENOSYS;
	}
}

/* Queries and effects of the VZS. */

bool xe_pair_has_ip(const struct xe_host *h, uint32_t ip)
{
	for (unsigned i = 0; i < XE_MAX_PAIRS; i++)
		if (h->pair[i].state != XE_PAIR_NONE && h->pair[i].ip == ip)
			return true;
	return false;
}

int xe_pair_info(const struct xe_host *h, uint32_t domid, struct xe_pair_info *out)
{
	const struct xe_pair *p = xe_pair_of(h, domid);

	if (!p)
		return -ENOENT;
	*out = (struct xe_pair_info){
		.state = p->state,
		.primary = p->primary,
		.backup = p->backup,
		.backup_booted = p->backup_booted,
		.features = p->features,
		.old_primary = p->old_primary,
		.ip = p->ip,
		.backup_has_primary_ip = p->backup_has_primary_ip,
		.extents = p->extents,
	};
	return 0;
}

int xe_pair_log_extents(struct xe_host *h, uint32_t domid, uint8_t **extent, int cap)
{
	const struct xe_pair *p = xe_pair_of(h, domid);

	if (!p || !p->extents)
		return -ENOENT;
	for (int i = 0; i < cap && i < (int)p->extents; i++)
		extent[i] = xe_frame_ptr(h, p->extent[i]);
	return (int)p->extents;
}

int xe_pair_ports(const struct xe_host *h, uint32_t domid, uint32_t *ports, int cap)
{
	const struct xe_pair *p = xe_pair_of(h, domid);

	if (!p)
		return -ENOENT;
	for (int i = 0; i < cap && i < (int)p->nports; i++)
		ports[i] = p->ports[i];
	return (int)p->nports;
}

uint32_t xe_pair_ports_version(const struct xe_host *h, uint32_t domid)
{
	const struct xe_pair *p = xe_pair_of(h, domid);

	return p ? p->ports_version : 0;
}

int xe_vzs_signal(struct xe_host *h, uint32_t domid, uint32_t bits)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	if (!d)
		return -ESRCH;
	d->signals |= bits;
	xe_send_virq(h, domid, XE_ABI_virq_ZEROLOSS);
	return 0;
}

/* Gives the backup up: it loses its right to the log; the pair has none any more. */
static void forget_backup(struct xe_host *h, struct xe_pair *p)
{
	struct xe_domain *b = h->domain[p->backup];

	if (p->log_granted)
		xe_unmap_log(h, b, xe_pair_tag(h, p));
	b->next_ip = 0;
	p->backup = 0;
	p->backup_booted = p->backup_has_primary_ip = false;
	p->log_granted = false;
	if (p->state != XE_PAIR_RECOVERING)
		p->state = XE_PAIR_GRANTED;
	p->before = XE_PAIR_GRANTED;
}

static void free_pair(struct xe_host *h, struct xe_pair *p)
{
	xe_log_release(h, p);
	*p = (struct xe_pair){.state = XE_PAIR_NONE};
}

int xe_vzs_complete(struct xe_host *h, uint32_t primary, int status)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);
	struct xe_domain *d;

	if (!p)
		return -ENOENT;
	if (!is_busy(p) || p->state == XE_PAIR_RECOVERING)
		return -EINVAL;
	d = h->domain[primary];
	if (p->state == XE_PAIR_BOOTING && status) {
		forget_backup(h, p);
	} else {
		if (p->state == XE_PAIR_BOOTING)
			d->fault_reported = d->crashed;
		h->domain[p->backup]->next_ip = 0;
		p->state = XE_PAIR_AWAKE;
	}
	d->signal_status = status;
	return xe_vzs_signal(h, primary,
			     status ? XE_ABI_zl_signal_FAILED : XE_ABI_zl_signal_COMPLETE);
}

int xe_vzs_fence(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);
	int r;

	if (!p)
		return -ENOENT;
	if (p->state == XE_PAIR_RECOVERING && !p->in_place)
		return -EBUSY;
	p->in_place = false;
	r = xe_domain_pause(h, primary);
	xe_assert(!r);
	xe_unmap_log(h, h->domain[primary], xe_pair_tag(h, p));
	p->old_primary = primary;
	p->log_granted = false;
	p->state = XE_PAIR_RECOVERING;
	return 0;
}

static struct xe_pair *recovering_pair(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);

	return p && p->state == XE_PAIR_RECOVERING && !p->in_place ? p : NULL;
}

int xe_vzs_restart(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);

	if (!p)
		return -ENOENT;
	if (is_busy(p))
		return -EBUSY;
	p->before = p->state;
	p->in_place = true;
	p->state = XE_PAIR_RECOVERING;
	h->domain[primary]->fault_reported = false; /* the next one is another */
	return xe_vzs_signal(h, primary, XE_ABI_zl_signal_RESTART);
}

int xe_vzs_try(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);
	int r;

	if (!p)
		return -ENOENT;
	if (p->state != XE_PAIR_MIGRATING)
		return -EINVAL;
	r = xe_domain_pause(h, primary);
	xe_assert(!r);
	p->old_primary = primary;
	p->trial = true;
	p->log_granted = false;
	p->state = XE_PAIR_RECOVERING;
	return 0;
}

static struct xe_pair *trying_pair(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = recovering_pair(h, primary);

	return p && p->trial ? p : NULL;
}

int xe_vzs_accept(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = trying_pair(h, primary);

	if (!p || !p->backup)
		return -ENOENT;
	p->trial = false;
	xe_unmap_log(h, h->domain[primary], xe_pair_tag(h, p));
	return 0;
}

int xe_vzs_roll_back(struct xe_host *h, uint32_t primary, int status)
{
	struct xe_pair *p = trying_pair(h, primary);
	struct xe_domain *d = xe_live_domain(h, primary);
	int r;

	if (!p)
		return -ENOENT;
	if (!d)
		return -ESRCH;
	if (p->backup) {
		r = xe_domain_pause(h, p->backup);
		xe_assert(!r);
		forget_backup(h, p);
	}
	p->trial = false;
	p->old_primary = 0;
	p->state = XE_PAIR_GRANTED;
	xe_domain_unpause(h, primary);
	d->signal_status = status;
	return xe_vzs_signal(h, primary, XE_ABI_zl_signal_FAILED);
}

int xe_vzs_set_next_ip(struct xe_host *h, uint32_t domid, uint32_t ip)
{
	struct xe_domain *d = xe_live_domain(h, domid);

	if (!d)
		return -ESRCH;
	d->next_ip = ip;
	return 0;
}

int xe_vzs_forget_backup(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = xe_pair_of_primary(h, primary);

	if (!p || !p->backup)
		return -ENOENT;
	forget_backup(h, p);
	return 0;
}

int xe_vzs_fence_backup(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = recovering_pair(h, primary);
	int r;

	if (!p || !p->backup)
		return -ENOENT;
	r = xe_domain_pause(h, p->backup);
	xe_assert(!r);
	forget_backup(h, p);
	return 0;
}

int xe_vzs_boot_backup(struct xe_host *h, uint32_t primary, uint32_t *backup)
{
	struct xe_pair *p = recovering_pair(h, primary);
	int r;

	if (!p)
		return -ENOENT;
	if (p->backup)
		return -EEXIST;
	r = create_backup(h, h->domain[primary], p);
	*backup = p->backup;
	return r;
}

int xe_vzs_give_up(struct xe_host *h, uint32_t primary)
{
	struct xe_pair *p = recovering_pair(h, primary);

	if (!p)
		return -ENOENT;
	if (p->backup)
		return -EBUSY;
	xe_log_release(h, p);
	drop_old(h, p);
	free_pair(h, p);
	return 0;
}

/* d is dying, its mappings are still there. */
void xe_pair_domain_gone(struct xe_host *h, struct xe_domain *d)
{
	struct xe_pair *p = xe_pair_of_primary(h, d->id);

	if (p) {
		if (p->state != XE_PAIR_RECOVERING || p->in_place) {
			free_pair(h, p);
		} else if (!p->holds_old) {
			xe_get_domain(d);
			p->holds_old = true;
			p->trial = false; /* nobody to go back to */
		}
		return;
	}
	p = xe_pair_of_backup(h, d->id);
	if (!p)
		return;
	forget_backup(h, p);
	xe_queue_vmm(h, h->domain[p->primary], XE_VMM_BACKUP_GONE, d->id, 0);
}
