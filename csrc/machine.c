/* The machine: time, events, work, and the calls that touch both halves. See machine.h.
 *
 * Owns memory, host half, nodes, wrappers, packets and the trace. Packets lie in a pool;
 * an event owns its packet. All is allocated at creation.
 */
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/abi.h"
#include "base/assert.h"
#include "machine_internal.h"

/* ---- packets and events ---- */

uint32_t xe_buffer_take(struct xe_machine *m, const uint8_t *data, size_t len)
{
	uint32_t i;

	if (m->free_buffers == 0 || len > sizeof(m->buffer[0].data))
		return XE_NO_PACKET;
	i = m->free_buffer[--m->free_buffers];
	m->buffer[i].len = (uint16_t)len;
	memcpy(m->buffer[i].data, data, len);
	return i;
}

void xe_buffer_give(struct xe_machine *m, uint32_t i)
{
	xe_assert(m->free_buffers < XE_PACKETS);
	m->free_buffer[m->free_buffers++] = i;
}

static bool before(const struct xe_event *a, const struct xe_event *b)
{
	return a->time != b->time ? a->time < b->time : a->order < b->order;
}

int xe_event_push(struct xe_machine *m, const struct xe_event *e, enum xe_priority priority)
{
	uint32_t i = m->heap_count;
	struct xe_event at = *e;

	if (i == XE_EVENTS)
		return -ENOSPC;
	at.order = (uint64_t)priority << 56 | m->sequence++;
	m->heap_count++;
	while (i > 0 && before(&at, &m->heap[(i - 1) / 2])) {
		m->heap[i] = m->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	m->heap[i] = at;
	return 0;
}

bool xe_event_pop(struct xe_machine *m, struct xe_event *e)
{
	struct xe_event last;
	uint32_t i = 0;

	if (m->heap_count == 0)
		return false;
	*e = m->heap[0];
	last = m->heap[--m->heap_count];
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= m->heap_count)
			break;
		if (child + 1 < m->heap_count && before(&m->heap[child + 1], &m->heap[child]))
			child++;
		if (!before(&m->heap[child], &last))
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = last;
	return true;
}

/* ---- nodes ---- */

struct xe_node *xe_node_of(struct xe_machine *m, uint32_t id)
{
	uint32_t i = id & XE_NODE_HOST ? XE_MAX_DOMAINS + (id & ~XE_NODE_HOST) : id;
	bool in_range = id & XE_NODE_HOST ? i < XE_NODES : i < XE_MAX_DOMAINS;

	return in_range && m->node[i].used ? &m->node[i] : NULL;
}

void xe_machine_mark(struct xe_machine *m, struct xe_node *n)
{
	if (n->dirty)
		return;
	n->dirty = m->unsettled = true;
	m->dirty[m->dirty_count++] = (uint32_t)(n - m->node);
}

void xe_machine_post(struct xe_machine *m, const struct xe_work *w)
{
	xe_machine_trace_add(m, XE_TRACE_WORK, w->node, (uint64_t)w->kind << 32 | w->arg, w->a,
			     w->b);
	if (m->work_count < XE_WORK)
		m->work[m->work_count++] = *w;
}

struct xe_guard *xe_guard_of_pair(struct xe_machine *m, uint32_t domid)
{
	struct xe_pair_info pair;

	if (xe_pair_info(m->host, domid, &pair))
		return NULL;
	for (int i = 0; i < XE_PAIRS; i++) {
		if (m->guard[i].used && m->guard[i].ip == pair.ip)
			return &m->guard[i];
	}
	return NULL;
}

static int open_guard(struct xe_machine *m, uint32_t domid)
{
	static const struct xe_guard none;
	uint8_t *extent[XE_MAX_EXTENTS];
	struct xe_pair_info pair;
	int n = xe_pair_log_extents(m->host, domid, extent, XE_MAX_EXTENTS), rc;

	if (n <= 0 || xe_pair_info(m->host, domid, &pair))
		return -ENOENT;
	for (int i = 0; i < XE_PAIRS; i++) {
		struct xe_guard *g = &m->guard[i];

		if (g->used)
			continue;
		*g = none;
		rc = xe_ssw_create(&g->ssw, extent, (uint32_t)n);
		if (rc)
			return rc;
		xe_ssw_wrappers(g->ssw, (const struct wr *const *)m->wr);
		g->used = m->unsettled = true;
		m->guards++;
		g->ip = pair.ip;
		return 0;
	}
	return -ENOSPC;
}

/* Said loudly where there is no wrapper: nothing of this domain is protected. */
static void guard(struct xe_machine *m, const struct xe_work *log_registered)
{
	int rc = open_guard(m, log_registered->node);
	struct xe_work w = *log_registered;

	if (rc == 0)
		return;
	w.kind = XE_WORK_WRAPPER;
	w.arg = XE_SSW_UNPROTECTED;
	w.a = XE_LOG_NONE;
	w.b = (uint64_t)-rc;
	xe_machine_post(m, &w);
}

static void take_host_work(struct xe_machine *m, const struct xe_work *w)
{
	struct xe_guard *g;

	if (w->kind == XE_WORK_UPCALL && xe_machine_kernel_fault(m, w->node))
		return; /* no interrupts */
	if (w->kind == XE_WORK_VMM && w->arg == XE_VMM_LOG_REGISTERED) {
		guard(m, w);
	} else if (w->kind == XE_WORK_VMM && w->arg == XE_VMM_REPLAY_STARTED) {
		g = xe_guard_of_pair(m, w->node);
		if (g)
			xe_ssw_replay(g->ssw, m->now);
	}
	xe_machine_post(m, w);
}

static void follow_domain(struct xe_machine *m, uint32_t domid)
{
	struct xe_node *n = &m->node[domid];
	struct xe_domain_info info;
	bool runnable, running;

	if (!n->used)
		return;
	runnable = xe_domain_info(m->host, domid, &info) == 0 && info.runnable;
	running = runnable && n->fault == XE_KERNEL_RUNS;
	n->sends = running || (runnable && n->fault == XE_KERNEL_HANGS);
	if (running && !n->running) {
		n->running = true;
		xe_network_resume(m, n);
	}
	n->running = running;
	xe_machine_sync_ports(m, domid);
}

/* The host's timers are one event, at the earliest of them. It may find nothing due: that one was
 * stopped. */
static void arm_host_timers(struct xe_machine *m)
{
	xe_ns at = xe_host_next_timer(m->host);
	struct xe_event e = {.time = at > m->now ? at : m->now, .kind = XE_EV_HOST};

	if (at != XE_NEVER && e.time < m->host_timer && !xe_event_push(m, &e, XE_PRI_NORMAL))
		m->host_timer = e.time;
}

/* Follows what a hypercall or a toolstack call changed in the host half; lower domains first. */
void xe_machine_sync(struct xe_machine *m)
{
	struct xe_work w;
	int domid;

	m->unsettled = m->guards > 0;
	while (xe_host_next_work(m->host, &w))
		take_host_work(m, &w);
	while ((domid = xe_host_next_changed(m->host)) >= 0)
		follow_domain(m, (uint32_t)domid);
	arm_host_timers(m);
	xe_network_settle(m);
}

/* ---- creation ---- */

static void release_frames(void *ctx, xe_mfn mfn, uint64_t n)
{
	struct xe_machine *m = ctx;

	xe_memory_punch(&m->memory, mfn * XE_PAGE_SIZE, n * XE_PAGE_SIZE);
}

static void settle(void *m)
{
	xe_machine_sync(m);
}

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static xe_ns trace_clock(const void *machine)
{
	return xe_machine_clock(machine);
}

static int allocate(struct xe_machine *m)
{
	struct xe_host_config host = {
		.frames = m->cfg.frames,
		.release = release_frames,
		.ctx = m,
		.trace = &m->trace,
		.changed = &m->unsettled,
		.settle = settle,
	};
	int rc = xe_memory_open(&m->memory, m->cfg.frames * XE_PAGE_SIZE, m->cfg.real);

	if (rc)
		return rc;
	host.memory = m->memory.base;
	rc = xe_host_create(&m->host, &host);
	if (rc)
		return rc;
	m->heap = reserve(XE_EVENTS * sizeof(*m->heap));
	m->buffer = reserve(XE_PACKETS * sizeof(*m->buffer));
	m->free_buffer = malloc(XE_PACKETS * sizeof(*m->free_buffer));
	m->trace.record = reserve(m->cfg.trace_records * sizeof(*m->trace.record));
	if (!m->heap || !m->buffer || !m->free_buffer || !m->trace.record)
		return -ENOMEM;
	m->trace.clock = m->cfg.real ? trace_clock : NULL;
	m->trace.ctx = m;
	xe_trace_init(&m->trace, m->trace.record, m->cfg.trace_records, m->cfg.seed);
	for (uint32_t i = 0; i < XE_PACKETS; i++)
		m->free_buffer[i] = XE_PACKETS - 1 - i;
	m->free_buffers = XE_PACKETS;
	return xe_machine_open_wrappers(m);
}

int xe_machine_create(struct xe_machine **out, const struct xe_machine_config *cfg)
{
	struct xe_machine *m;
	struct xe_event tick = {.time = XE_SECOND / XE_TICK_HZ};
	int rc;

	if (cfg->frames == 0 || cfg->trace_records == 0 ||
	    (cfg->trace_records & (cfg->trace_records - 1)))
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->cfg = *cfg;
	m->gateway = XE_NO_PACKET;
	m->host_timer = XE_NEVER;
	rc = allocate(m);
	if (rc) {
		xe_machine_destroy(m);
		return rc;
	}
	tick.kind = XE_EV_TICK;
	xe_event_push(m, &tick, XE_PRI_TICK);
	tick.kind = XE_EV_CHECK;
	xe_event_push(m, &tick, XE_PRI_CHECK);
	*out = m;
	return 0;
}

void xe_machine_destroy(struct xe_machine *m)
{
	if (!m)
		return;
	if (m->driver)
		xe_driver_destroy(m->driver);
	for (int i = 0; i < XE_PAIRS; i++) {
		if (m->guard[i].used)
			xe_ssw_destroy(m->guard[i].ssw);
	}
	xe_machine_close_wrappers(m);
	for (int i = -1; (i = xe_domset_next(&m->stacks, (uint32_t)i + 1)) >= 0;)
		xe_sockets_fini(&m->node[i].sockets);
	for (uint32_t i = XE_MAX_DOMAINS; i < XE_NODES; i++) {
		if (m->node[i].has_stack)
			xe_sockets_fini(&m->node[i].sockets);
	}
	if (m->host)
		xe_host_destroy(m->host);
	if (m->memory.base)
		xe_memory_close(&m->memory);
	if (m->heap)
		munmap(m->heap, XE_EVENTS * sizeof(*m->heap));
	if (m->buffer)
		munmap(m->buffer, XE_PACKETS * sizeof(*m->buffer));
	xe_machine_capture(m, false);
	if (m->trace.record)
		munmap(m->trace.record, m->cfg.trace_records * sizeof(*m->trace.record));
	free(m->free_buffer);
	free(m);
}

struct xe_host *xe_machine_host(struct xe_machine *m)
{
	return m->host;
}

xe_ns xe_machine_now(const struct xe_machine *m)
{
	return m->now;
}

xe_ns xe_machine_clock(const struct xe_machine *m)
{
	return m->driver ? xe_driver_now(m->driver) : m->now;
}

const struct xe_machine_counters *xe_machine_counters(const struct xe_machine *m)
{
	return &m->count;
}

/* ---- the loop ---- */

static void run_tick(struct xe_machine *m, const struct xe_event *e)
{
	struct xe_event next = {.time = e->time + XE_SECOND / XE_TICK_HZ, .kind = e->kind};

	if (e->kind == XE_EV_CHECK) {
		xe_heartbeat_check(m->host, m->now);
		xe_machine_sync(m);
		xe_event_push(m, &next, XE_PRI_CHECK);
		return;
	}
	for (int i = -1; (i = xe_domset_next(&m->stacks, (uint32_t)i + 1)) >= 0;) {
		struct xe_node *n = &m->node[i];
		struct xe_work w = {
			.kind = XE_WORK_TICK, .node = (uint32_t)i, .generation = n->generation};

		if (!n->running)
			continue;
		xe_sockets_tick(&n->sockets, m->now);
		xe_machine_mark(m, n);
		xe_machine_post(m, &w);
	}
	xe_event_push(m, &next, XE_PRI_TICK);
}

static void run_timer(struct xe_machine *m, const struct xe_event *e)
{
	struct xe_node *n = xe_node_of(m, e->node);
	struct xe_work w = {.kind = XE_WORK_TIMER, .node = e->node, .arg = e->arg};

	if (!n || n->generation != e->packet || n->fault == XE_KERNEL_PANICKED)
		return;
	if (!n->running) { /* a paused kernel finds its timers overdue when it resumes */
		struct xe_event later = *e;

		later.time = m->now + XE_SECOND / XE_TICK_HZ;
		xe_event_push(m, &later, XE_PRI_NORMAL);
		return;
	}
	w.generation = n->generation;
	xe_machine_post(m, &w);
}

static void run_host_timers(struct xe_machine *m, const struct xe_event *e)
{
	if (e->time == m->host_timer)
		m->host_timer = XE_NEVER;
	xe_host_run_timers(m->host, m->now);
	xe_machine_sync(m);
}

static void run_event(struct xe_machine *m, const struct xe_event *e)
{
	struct xe_node *n = xe_node_of(m, e->node);

	m->count.events++;
	switch ((enum xe_event_kind)e->kind) {
	case XE_EV_ARRIVE:
		xe_network_arrive(m, e->packet);
		break;
	case XE_EV_DELIVER:
		xe_network_deliver(m, n, e->packet);
		break;
	case XE_EV_TCP:
		if (!n || !n->has_stack || n->timer_at != e->time)
			break;
		n->timer_at = XE_NEVER;
		if (n->running) {
			xe_tcp_timers(n->sockets.tcp, m->now);
			xe_machine_mark(m, n);
		}
		break;
	case XE_EV_TIMER:
		run_timer(m, e);
		break;
	case XE_EV_TICK:
	case XE_EV_CHECK:
		run_tick(m, e);
		break;
	case XE_EV_STALL_OVER:
		xe_machine_stall_over(m, e);
		break;
	case XE_EV_HOST:
		run_host_timers(m, e);
		break;
	case XE_EV_SSW:
		break;
	}
	xe_network_settle(m);
}

static int hand_over(struct xe_machine *m, struct xe_work *work, int cap)
{
	uint32_t n = m->work_count < (uint32_t)cap ? m->work_count : (uint32_t)cap;

	memcpy(work, m->work, n * sizeof(*work));
	memmove(m->work, m->work + n, (m->work_count - n) * sizeof(*work));
	m->work_count -= n;
	for (uint32_t i = 0; i < n; i++) {
		struct xe_node *node = xe_node_of(m, work[i].node);

		if (work[i].kind == XE_WORK_SOCKETS && node)
			node->posted = false;
	}
	return (int)n;
}

static void set_time(struct xe_machine *m, xe_ns now)
{
	m->now = now;
	xe_host_set_time(m->host, now);
}

/* Runs due events until the instant that made work is over; true: the event limit was
 * reached, or the capture wants draining. A stop in the middle of an instant changes nothing:
 * the next call goes on there. */
static bool run_due(struct xe_machine *m, xe_ns until, uint64_t stop_at)
{
	struct xe_event e;

	while (m->heap_count > 0 && m->heap[0].time <= until) {
		if (m->work_count > 0 && (m->heap[0].time != m->instant ||
					  m->heap[0].order >> 56 != m->instant_priority))
			return false;
		if (m->count.events >= stop_at)
			return true;
		if (m->heap[0].time > m->now && xe_capture_wants_draining(m))
			return true;
		xe_event_pop(m, &e);
		if (e.time > m->now)
			set_time(m, e.time);
		m->instant = e.time;
		m->instant_priority = e.order >> 56;
		run_event(m, &e);
	}
	return false;
}

static int wait_real(struct xe_machine *m, xe_ns until)
{
	xe_ns next = m->heap_count > 0 ? m->heap[0].time : XE_NEVER;
	int fds[XE_FDS];
	int n = xe_driver_wait(m->driver, next < until ? next : until, fds, XE_FDS);
	struct xe_node *gateway = xe_node_of(m, m->gateway);
	xe_ns now = xe_driver_now(m->driver);

	if (now > m->now && (m->heap_count == 0 || m->heap[0].time >= now))
		set_time(m, now);
	for (int i = 0; i < n; i++) {
		struct xe_work w = {.kind = XE_WORK_FD, .arg = (uint32_t)fds[i]};

		xe_machine_post(m, &w);
	}
	if (gateway)
		xe_machine_mark(m, gateway);
	xe_network_settle(m);
	return n < 0 ? n : 0;
}

static int run(struct xe_machine *m, xe_ns until, uint64_t max_events)
{
	uint64_t stop_at = max_events ? m->count.events + max_events : UINT64_MAX;
	int rc;

	xe_network_settle(m);
	while (m->work_count == 0 || m->stopped) {
		xe_ns due = m->driver ? xe_driver_now(m->driver) : until;

		m->stopped = run_due(m, due < until ? due : until, stop_at);
		if (m->stopped || m->work_count > 0)
			return 0;
		if (!m->driver || due >= until) {
			if (m->now < until && until != XE_NEVER)
				set_time(m, until);
			return 0;
		}
		rc = wait_real(m, until);
		if (rc)
			return rc;
	}
	return 0;
}

int xe_machine_run(struct xe_machine *m, xe_ns until, uint64_t max_events, struct xe_work *work,
		   int cap)
{
	int rc;

	if (m->running)
		return -EBUSY;
	if (m->cfg.real && !m->driver)
		return -EINVAL;
	m->running = true;
	rc = run(m, until, max_events);
	m->running = false;
	if (rc || m->stopped)
		return rc;
	return hand_over(m, work, cap);
}

/* ---- hosts and sockets ---- */

int xe_machine_add_host(struct xe_machine *m, uint32_t ip, const struct xe_link_config *link,
			uint64_t seed, const struct xe_tcp_config *cfg, uint32_t *node)
{
	for (uint32_t i = 0; i < XE_MAX_HOSTS; i++) {
		struct xe_node *n = &m->node[XE_MAX_DOMAINS + i];
		int rc;

		if (n->used)
			continue;
		rc = xe_sockets_init(&n->sockets, cfg);
		if (rc)
			return rc;
		n->used = n->has_stack = n->running = n->sends = true;
		n->id = XE_NODE_HOST | i;
		n->timer_at = XE_NEVER;
		xe_link_init(&n->up, link, seed * 2 + 1);
		xe_link_init(&n->down, link, seed * 2 + 2);
		xe_tcp_set_addr(n->sockets.tcp, ip);
		*node = n->id;
		return 0;
	}
	return -ENOSPC;
}

struct xe_sockets *xe_machine_sockets(struct xe_machine *m, uint32_t node)
{
	struct xe_node *n = xe_node_of(m, node);

	return n && n->has_stack ? &n->sockets : NULL;
}

void xe_machine_flush(struct xe_machine *m, uint32_t node)
{
	struct xe_node *n = xe_node_of(m, node);

	if (!n)
		return;
	xe_machine_mark(m, n);
	xe_network_settle(m);
}

int xe_machine_arm_timer(struct xe_machine *m, uint32_t node, uint32_t token, xe_ns at)
{
	struct xe_node *n = xe_node_of(m, node);
	struct xe_event e = {
		.time = at > m->now ? at : m->now, .kind = XE_EV_TIMER, .node = node, .arg = token};

	if (!n)
		return -ESRCH;
	e.packet = n->generation; /* the next domain of this id has timers of its own */
	return xe_event_push(m, &e, XE_PRI_NORMAL);
}

int xe_machine_ready(struct xe_machine *m, uint32_t node, int *sock, unsigned *mask)
{
	struct xe_sockets *s = xe_machine_sockets(m, node);

	if (!s)
		return -ESRCH;
	*sock = xe_tcp_next_ready(s->tcp, mask);
	return *sock >= 0;
}

static int open_driver(struct xe_machine *m, uint32_t gateway)
{
	struct xe_sockets *s = xe_machine_sockets(m, gateway);

	if (m->driver)
		return m->gateway == gateway ? 0 : -EBUSY;
	if (!m->cfg.real || !s || !(gateway & XE_NODE_HOST))
		return -EINVAL;
	m->gateway = gateway;
	return xe_driver_create(&m->driver, s->tcp, s->max_socks / 2);
}

int xe_machine_forward(struct xe_machine *m, uint32_t gateway, uint32_t host_addr,
		       uint16_t host_port, uint32_t guest_addr, uint16_t guest_port)
{
	int rc = open_driver(m, gateway);

	return rc ? rc
		  : xe_relay_listen(xe_driver_relay(m->driver), host_addr, host_port, guest_addr,
				    guest_port);
}

int xe_machine_route(struct xe_machine *m, uint32_t gateway)
{
	int rc = open_driver(m, gateway);

	if (rc)
		return rc;
	m->routes = true;
	xe_relay_route(xe_driver_relay(m->driver));
	return 0;
}

int xe_machine_watch(struct xe_machine *m, int fd, int readable, int writable)
{
	return m->driver ? xe_driver_watch(m->driver, fd, readable, writable) : -EINVAL;
}
