/* The machine's domains: their stacks, their ends, their kernels' faults, and the fences.
 *
 * A kernel's fault is the emulator's own: a kernel that panicked does nothing any more, one that
 * hangs gets no interrupt and no packet but sends what its runnable processes still write, one
 * that stalls does nothing until its time is over. The VMM sees none of this, only heartbeats.
 *
 * Invariants: a fence comes before the path is set, and before anything of the old domain is
 * destroyed. A wrapper lives as long as a pair has its address. */
#include <errno.h>
#include <string.h>

#include "base/abi.h"
#include "machine_internal.h"

static void close_guards(struct xe_machine *m)
{
	for (int i = 0; i < XE_PAIRS; i++) {
		struct xe_guard *g = &m->guard[i];

		if (!g->used || xe_pair_has_ip(m->host, g->ip))
			continue;
		xe_ssw_destroy(g->ssw);
		g->used = false;
		m->guards--;
	}
}

int xe_machine_attach_stack(struct xe_machine *m, uint32_t domid, const struct xe_tcp_config *cfg)
{
	struct xe_domain_info info;
	struct xe_node *n;
	int rc = xe_domain_info(m->host, domid, &info);

	if (rc)
		return rc;
	n = &m->node[domid];
	if (n->has_stack)
		xe_sockets_fini(&n->sockets);
	n->has_stack = false;
	xe_domset_remove(&m->stacks, domid);
	rc = xe_sockets_init(&n->sockets, cfg);
	if (rc)
		return rc;
	n->sockets.wr = m->wr;
	xe_network_purge(m, n);
	n->used = n->has_stack = true;
	xe_domset_add(&m->stacks, domid);
	xe_host_touch(m->host, domid);
	n->id = domid;
	n->posted = false;
	n->fault = XE_KERNEL_RUNS;
	n->generation = info.generation;
	n->running = n->sends = info.runnable;
	n->timer_at = XE_NEVER;
	xe_tcp_set_addr(n->sockets.tcp, info.ip);
	return 0;
}

int xe_machine_destroy_domain(struct xe_machine *m, uint32_t domid)
{
	struct xe_pair_info pair;
	bool replays = xe_pair_info(m->host, domid, &pair) == 0 &&
		       pair.state == XE_PAIR_RECOVERING && pair.backup == domid;
	struct xe_guard *g = xe_guard_of_pair(m, domid);
	int rc = xe_domain_destroy(m->host, domid);
	struct xe_node *n;

	if (rc)
		return rc;
	if (g && replays)
		xe_ssw_detach(g->ssw, m->now);
	else if (g && xe_ssw_trying(g->ssw)) /* nobody to go back to */
		xe_ssw_accept(g->ssw, m->now);
	n = xe_node_of(m, domid);
	if (n) {
		bool dirty = n->dirty;

		xe_network_purge(m, n);
		if (n->has_stack)
			xe_sockets_fini(&n->sockets);
		memset(n, 0, sizeof(*n));
		xe_domset_remove(&m->stacks, domid);
		n->dirty = dirty;
	}
	close_guards(m);
	xe_machine_sync(m);
	return 0;
}

int xe_machine_pause(struct xe_machine *m, uint32_t domid, bool pause)
{
	int rc = pause ? xe_domain_pause(m->host, domid) : xe_domain_unpause(m->host, domid);

	if (rc == 0)
		xe_machine_sync(m);
	return rc;
}

int xe_machine_break(struct xe_machine *m, uint32_t domid, enum xe_kernel_fault fault, xe_ns until)
{
	struct xe_node *n = xe_node_of(m, domid);
	struct xe_event over = {.time = until, .kind = XE_EV_STALL_OVER, .node = domid};
	int rc = 0;

	if (!n || domid & XE_NODE_HOST)
		return -ESRCH;
	if (fault == XE_KERNEL_RUNS || n->fault == XE_KERNEL_PANICKED)
		return -EINVAL;
	over.arg = n->generation;
	if (fault == XE_KERNEL_STALLS)
		rc = xe_event_push(m, &over, XE_PRI_NORMAL);
	if (rc)
		return rc;
	n->fault = fault;
	n->stalled_until = until;
	if (fault == XE_KERNEL_PANICKED)
		xe_network_purge(m, n);
	xe_host_touch(m->host, domid);
	xe_machine_trace_add(m, XE_TRACE_FAULT, domid, fault, until, 0);
	xe_machine_sync(m);
	return 0;
}

void xe_machine_stall_over(struct xe_machine *m, const struct xe_event *e)
{
	struct xe_node *n = xe_node_of(m, e->node);

	if (!n || n->generation != e->arg || n->fault != XE_KERNEL_STALLS ||
	    n->stalled_until != e->time)
		return;
	n->fault = XE_KERNEL_RUNS;
	xe_host_touch(m->host, e->node);
	xe_domain_kick(m->host, e->node);
	xe_machine_sync(m);
}

enum xe_kernel_fault xe_machine_kernel_fault(const struct xe_machine *m, uint32_t domid)
{
	return domid < XE_MAX_DOMAINS && m->node[domid].used ? m->node[domid].fault
							     : XE_KERNEL_RUNS;
}

int64_t xe_machine_hypercall(struct xe_machine *m, uint32_t domid, uint32_t vcpu, uint32_t nr,
			     const uint64_t arg[5])
{
	return xe_vcpu_hypercall(m->host, domid, vcpu, nr, arg, m->now);
}

/* The domain gets no packet that waits for it, and its NSW has no log. */
static void cut_off(struct xe_machine *m, uint32_t domid)
{
	struct xe_node *n = xe_node_of(m, domid);

	if (!n)
		return;
	xe_network_purge(m, n);
	if (n->has_stack)
		xe_nsw_detach(&n->sockets.nsw);
}

/* Nothing of the domain leaves for a protected connection after this, no TCP has them. */
static void silence(struct xe_machine *m, struct xe_guard *g, uint32_t domid)
{
	xe_machine_trace_add(m, XE_TRACE_FENCE, domid, 0, 0, 0);
	cut_off(m, domid);
	if (g)
		xe_ssw_detach(g->ssw, m->now);
	xe_machine_sync(m);
}

int xe_machine_fence(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	int rc = xe_vzs_fence(m->host, primary);

	if (rc == 0)
		silence(m, g, primary);
	return rc;
}

int xe_machine_restart(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	int rc = g ? xe_vzs_restart(m->host, primary) : -ENOENT;

	if (rc)
		return rc;
	xe_ssw_detach(g->ssw, m->now);
	xe_machine_sync(m);
	return 0;
}

int xe_machine_try(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	int rc = g ? xe_ssw_try(g->ssw, m->now) : -ENOENT;

	if (rc)
		return rc;
	rc = xe_vzs_try(m->host, primary);
	if (rc)
		xe_ssw_roll_back(g->ssw, m->now);
	else
		xe_machine_trace_add(m, XE_TRACE_FENCE, primary, 0, 0, 0);
	xe_machine_sync(m);
	return rc;
}

int xe_machine_accept(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	int rc = xe_vzs_accept(m->host, primary);

	if (rc)
		return rc;
	cut_off(m, primary);
	if (g)
		xe_ssw_accept(g->ssw, m->now);
	xe_machine_sync(m);
	return 0;
}

int xe_machine_roll_back(struct xe_machine *m, uint32_t primary, int status)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	struct xe_pair_info pair;
	int rc = xe_pair_info(m->host, primary, &pair);

	if (rc == 0)
		rc = xe_path_set(m->host, pair.ip, primary);
	if (rc == 0)
		rc = xe_vzs_roll_back(m->host, primary, status);
	if (rc)
		return rc;
	xe_machine_trace_add(m, XE_TRACE_PATH, primary, pair.ip, 0, 0);
	if (pair.backup)
		cut_off(m, pair.backup);
	if (g && xe_ssw_trying(g->ssw))
		xe_ssw_roll_back(g->ssw, m->now);
	xe_machine_sync(m);
	return 0;
}

int xe_machine_fence_backup(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	struct xe_pair_info pair;
	int rc = xe_pair_info(m->host, primary, &pair);

	if (rc == 0)
		rc = xe_vzs_fence_backup(m->host, primary);
	if (rc == 0)
		silence(m, g, pair.backup);
	return rc;
}

int xe_machine_give_up(struct xe_machine *m, uint32_t primary)
{
	struct xe_guard *g = xe_guard_of_pair(m, primary);
	struct xe_pair_info pair;
	int rc = xe_pair_info(m->host, primary, &pair);

	if (rc == 0 && g && pair.state == XE_PAIR_RECOVERING && !pair.backup) {
		xe_ssw_give_up(g->ssw, m->now);
		xe_network_settle(m);
	}
	if (rc == 0)
		rc = xe_vzs_give_up(m->host, primary);
	if (rc)
		return rc;
	xe_path_clear(m->host, pair.ip);
	if (m->lost_count < XE_PAIRS)
		m->lost[m->lost_count++] = pair.ip;
	close_guards(m);
	xe_machine_sync(m);
	return 0;
}

int xe_machine_path_set(struct xe_machine *m, uint32_t ip, uint32_t domid)
{
	int rc = xe_path_set(m->host, ip, domid);

	for (uint32_t i = 0; rc == 0 && i < m->lost_count; i++) {
		if (m->lost[i] == ip)
			m->lost[i--] = m->lost[--m->lost_count];
	}
	xe_machine_trace_add(m, XE_TRACE_PATH, domid, ip, 0, (uint64_t)rc);
	return rc;
}

struct xe_ssw *xe_machine_wrapper(struct xe_machine *m, uint32_t domid)
{
	struct xe_guard *g = xe_guard_of_pair(m, domid);

	return g ? g->ssw : NULL;
}

struct xe_store_stop *xe_machine_store_stop(struct xe_machine *m)
{
#ifdef XE_STORE_POINTS
	return &m->store_stop;
#else
	(void)m;
	return NULL;
#endif
}

int xe_machine_nsw_attach(struct xe_machine *m, uint32_t domid, uint64_t gva, uint32_t extents)
{
	struct xe_node *n = xe_node_of(m, domid);
	uint8_t *extent[XE_MAX_EXTENTS];
	int registered;

	if (!n || !n->has_stack)
		return -ESRCH;
	registered = xe_pair_log_extents(m->host, domid, extent, XE_MAX_EXTENTS);
	if (registered <= 0 || extents != (uint32_t)registered)
		return -EINVAL;
	/* The mapping must show the registered log: those frames are referenced. */
	for (uint32_t i = 0; i < extents; i++) {
		for (uint64_t in = 0; in < XE_EXTENT_SIZE; in += XE_PAGE_SIZE) {
			uint64_t at = gva + (uint64_t)i * XE_EXTENT_SIZE + in, maddr;

			if (xe_guest_translate(m->host, domid, at, &maddr))
				return -EFAULT;
			if (m->memory.base + maddr != extent[i] + in)
				return -EINVAL;
		}
	}
	n->sockets.nsw.stop = xe_machine_store_stop(m);
	return xe_nsw_attach(&n->sockets.nsw, extent, extents);
}
