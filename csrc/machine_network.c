/* The machine's network: domains behind wrappers and net_schedule_list, hosts behind links.
 *
 * A packet of a host crosses its link up, then the LAN routes it: to the domain that
 * net_schedule_list names, through that address's SSW, or to another host's link down. A
 * packet of a domain leaves only with a source address that net_schedule_list gives to
 * that domain: that is what fences an old incarnation.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "machine_internal.h"

static uint32_t word(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void trace_packet(struct xe_machine *m, uint32_t kind, uint32_t node, const uint8_t *p,
			 size_t len)
{
	size_t tcp = (size_t)(p[0] & 15) * 4, head;

	if (len < tcp + 20)
		return;
	head = tcp + (size_t)(p[tcp + 12] >> 4) * 4;
	xe_machine_trace_add(m, kind, node,
			     (uint64_t)p[tcp + 13] << 32 | (len > head ? len - head : 0),
			     (uint64_t)word(p + tcp + 4) << 32 | word(p + tcp + 8),
			     (uint64_t)word(p + 16) << 32 | word(p + tcp));
}

static struct xe_guard *guard_of(struct xe_machine *m, uint32_t ip)
{
	for (int i = 0; i < XE_PAIRS; i++) {
		if (m->guard[i].used && m->guard[i].ip == ip)
			return &m->guard[i];
	}
	return NULL;
}

static struct xe_node *host_of(struct xe_machine *m, uint32_t ip)
{
	for (int i = XE_MAX_DOMAINS; i < XE_NODES; i++) {
		struct xe_node *n = &m->node[i];

		if (n->used && n->has_stack && xe_tcp_addr(n->sockets.tcp) == ip)
			return n;
	}
	return NULL;
}

/* The gateway, for an address that is not on its LAN; NULL: no route. */
static struct xe_node *way_out(struct xe_machine *m, uint32_t ip)
{
	struct xe_node *n = m->routes ? xe_node_of(m, m->gateway) : NULL;

	return n && (xe_tcp_addr(n->sockets.tcp) ^ ip) >> 16 ? n : NULL;
}

static void over_link(struct xe_machine *m, struct xe_node *n, struct xe_link *link,
		      enum xe_event_kind kind, const uint8_t *data, size_t len)
{
	xe_ns arrival[2];
	int copies = xe_link_send(link, len, m->now, arrival);

	if (copies == 0)
		xe_machine_drop(m, n->id, XE_DROP_LINK);
	for (int i = 0; i < copies; i++) {
		uint32_t packet = xe_buffer_take(m, data, len);
		struct xe_event e = {
			.time = arrival[i],
			.kind = kind,
			.node = n->id,
			.packet = packet,
		};

		if (packet == XE_NO_PACKET || xe_event_push(m, &e, XE_PRI_NORMAL)) {
			xe_machine_drop(m, n->id, XE_DROP_POOL);
			if (packet != XE_NO_PACKET)
				xe_buffer_give(m, packet);
		}
	}
}

/* `verified`: the wrapper has looked at the checksums and kept them right. */
static void input(struct xe_machine *m, struct xe_node *n, uint8_t *data, size_t len, bool verified)
{
	trace_packet(m, XE_TRACE_PACKET_IN, n->id, data, len);
	if (m->capture.data)
		xe_capture_add(m, n->id, XE_CAPTURE_RECEIVED, data, len);
	m->count.packets++;
	xe_tcp_input(n->sockets.tcp, data, len, verified, m->now);
	xe_machine_mark(m, n);
}

/* Consumes the packet. */
static void hold(struct xe_machine *m, struct xe_node *n, uint32_t packet)
{
	if (n->fault == XE_KERNEL_PANICKED || n->rx_count == XE_RX_RING) {
		xe_machine_drop(m, n->id, XE_DROP_PAUSED);
		xe_buffer_give(m, packet);
		return;
	}
	n->rx[(n->rx_head + n->rx_count++) % XE_RX_RING] = packet;
}

static void to_domain(struct xe_machine *m, uint32_t domid, uint32_t ip, uint32_t packet)
{
	struct xe_buffer *b = &m->buffer[packet];
	struct xe_node *n = xe_node_of(m, domid);
	struct xe_guard *g = guard_of(m, ip);

	if (g && xe_ssw_ingress(g->ssw, b->data, b->len, m->now) == XE_DROP) {
		xe_machine_drop(m, domid, XE_DROP_SSW_IN);
		xe_buffer_give(m, packet);
		return;
	}
	if (!n || !n->has_stack || !n->running) {
		if (n && n->has_stack)
			hold(m, n, packet);
		else
			xe_buffer_give(m, packet);
		return;
	}
	input(m, n, b->data, b->len, g != NULL);
	xe_buffer_give(m, packet);
}

/* From a domain's side of the VMM onto the LAN. */
static void onto_lan(struct xe_machine *m, const uint8_t *data, size_t len)
{
	uint32_t ip = word(data + 16), packet;
	struct xe_node *n = host_of(m, ip);
	struct xe_event e = {.time = m->now, .kind = XE_EV_ARRIVE};

	if (n) {
		over_link(m, n, &n->down, XE_EV_DELIVER, data, len);
		return;
	}
	packet = xe_buffer_take(m, data, len);
	e.packet = packet;
	if (packet == XE_NO_PACKET)
		xe_machine_drop(m, XE_NODE_HOST, XE_DROP_POOL);
	else if (xe_event_push(m, &e, XE_PRI_NORMAL))
		xe_buffer_give(m, packet);
}

static bool is_lost(const struct xe_machine *m, uint32_t ip)
{
	for (uint32_t i = 0; i < m->lost_count; i++) {
		if (m->lost[i] == ip)
			return true;
	}
	return false;
}

/* What a host without the connection answers (RFC 9293, 3.10.7.1). */
static void refuse(struct xe_machine *m, uint8_t *data, size_t len)
{
	struct xe_segment rst = {.flags = XE_RST};
	uint8_t packet[XE_PACKET_BYTES];
	struct xe_packet p;

	if (xe_wire_parse(&p, data, len, true) || p.seg.flags & XE_RST)
		return;
	rst.saddr = p.seg.daddr;
	rst.sport = p.seg.dport;
	rst.daddr = p.seg.saddr;
	rst.dport = p.seg.sport;
	if (p.seg.flags & XE_ACK) {
		rst.seq = p.seg.ack;
	} else {
		rst.flags |= XE_ACK;
		rst.ack = p.seg.seq + p.payload_len + !!(p.seg.flags & XE_SYN) +
			  !!(p.seg.flags & XE_FIN);
	}
	onto_lan(m, packet, xe_wire_build(packet, sizeof(packet), &rst, NULL, 0));
}

void xe_network_arrive(struct xe_machine *m, uint32_t packet)
{
	struct xe_buffer *b = &m->buffer[packet];
	uint32_t ip = b->len >= 20 ? word(b->data + 16) : 0;
	int domid = xe_path_lookup(m->host, ip);
	struct xe_node *n;

	if (domid >= 0) {
		to_domain(m, (uint32_t)domid, ip, packet);
		return;
	}
	n = host_of(m, ip);
	if (!n)
		n = way_out(m, ip);
	if (is_lost(m, ip))
		refuse(m, b->data, b->len);
	else if (n)
		over_link(m, n, &n->down, XE_EV_DELIVER, b->data, b->len);
	else
		xe_machine_drop(m, XE_NODE_HOST, XE_DROP_NO_ROUTE);
	xe_buffer_give(m, packet);
}

void xe_network_deliver(struct xe_machine *m, struct xe_node *n, uint32_t packet)
{
	if (n && n->has_stack)
		input(m, n, m->buffer[packet].data, m->buffer[packet].len, false);
	xe_buffer_give(m, packet);
}

static void from_domain(struct xe_machine *m, struct xe_node *n, uint8_t *data, size_t len)
{
	uint32_t ip = word(data + 12);
	struct xe_guard *g = guard_of(m, ip);

	if (xe_path_lookup(m->host, ip) != (int)n->id) {
		xe_machine_drop(m, n->id, XE_DROP_SPOOFED);
		return;
	}
	if (g && xe_ssw_egress(g->ssw, data, len, m->now) == XE_DROP) {
		xe_machine_drop(m, n->id, XE_DROP_SSW_OUT);
		return;
	}
	trace_packet(m, XE_TRACE_PACKET_OUT, n->id, data, len);
	onto_lan(m, data, len);
}

static void arm_tcp(struct xe_machine *m, struct xe_node *n)
{
	xe_ns at = xe_tcp_poll_at(n->sockets.tcp);
	struct xe_event e = {.kind = XE_EV_TCP, .node = n->id};

	if (at == XE_NEVER || at >= n->timer_at)
		return;
	e.time = at > m->now ? at : m->now;
	if (xe_event_push(m, &e, XE_PRI_NORMAL) == 0)
		n->timer_at = e.time;
}

static void post_ready(struct xe_machine *m, struct xe_node *n)
{
	if (m->driver && n->id == m->gateway) {
		unsigned mask;
		int sock;

		while ((sock = xe_tcp_next_ready(n->sockets.tcp, &mask)) >= 0)
			xe_relay_sock_event(xe_driver_relay(m->driver), sock, mask, m->now);
		return;
	}
	if (!n->posted && xe_tcp_has_ready(n->sockets.tcp)) {
		struct xe_work w = {
			.kind = XE_WORK_SOCKETS,
			.node = n->id,
			.generation = n->generation,
		};

		n->posted = true;
		xe_machine_post(m, &w);
	}
}

static void settle_node(struct xe_machine *m, struct xe_node *n)
{
	uint8_t data[XE_PACKET_BYTES];
	size_t len;

	n->dirty = false;
	if (!n->used || !n->has_stack || !n->sends)
		return;
	if (n->running)
		post_ready(m, n);
	while ((len = xe_tcp_dispatch(n->sockets.tcp, data, sizeof(data), m->now)) > 0) {
		if (m->capture.data)
			xe_capture_add(m, n->id, XE_CAPTURE_SENT, data, len);
		if (n->id & XE_NODE_HOST) {
			trace_packet(m, XE_TRACE_PACKET_OUT, n->id, data, len);
			over_link(m, n, &n->up, XE_EV_ARRIVE, data, len);
		} else {
			from_domain(m, n, data, len);
		}
	}
	if (n->running)
		arm_tcp(m, n);
}

static void settle_guard(struct xe_machine *m, struct xe_guard *g)
{
	uint8_t data[XE_PACKET_BYTES];
	enum xe_direction to;
	xe_ns at;
	size_t len;

	while ((len = xe_ssw_dispatch(g->ssw, data, sizeof(data), &to, m->now)) > 0) {
		int domid = xe_path_lookup(m->host, g->ip);
		struct xe_node *n = domid < 0 ? NULL : xe_node_of(m, (uint32_t)domid);

		trace_packet(m, XE_TRACE_FAKE, n ? n->id : 0, data, len);
		if (to == XE_TO_NETWORK) {
			onto_lan(m, data, len);
		} else if (n && n->has_stack && n->running) {
			input(m, n, data, len, true);
			settle_node(m, n);
		}
	}
	at = xe_ssw_poll_at(g->ssw);
	if (at != XE_NEVER && (g->armed_at <= m->now || at < g->armed_at)) {
		struct xe_event e = {.time = at > m->now ? at : m->now + XE_MS, .kind = XE_EV_SSW};

		if (xe_event_push(m, &e, XE_PRI_NORMAL) == 0)
			g->armed_at = e.time;
	}
}

void xe_network_wrapper_events(struct xe_machine *m)
{
	for (int i = 0; i < XE_PAIRS; i++) {
		struct xe_guard *g = &m->guard[i];
		struct xe_ssw_event e;

		while (g->used && xe_ssw_next_event(g->ssw, &e)) {
			int domid = xe_path_lookup(m->host, g->ip);
			struct xe_node *n = domid < 0 ? NULL : xe_node_of(m, (uint32_t)domid);
			struct xe_work w = {
				.kind = XE_WORK_WRAPPER,
				.node = n ? n->id : 0,
				.generation = n ? n->generation : 0,
				.arg = e.kind,
				.a = e.slot,
				.b = e.value,
			};

			xe_machine_post(m, &w);
		}
	}
}

void xe_network_settle(struct xe_machine *m)
{
	do {
		while (m->dirty_count > 0)
			settle_node(m, &m->node[m->dirty[--m->dirty_count]]);
		for (int i = 0; i < XE_PAIRS; i++) {
			if (m->guard[i].used)
				settle_guard(m, &m->guard[i]);
		}
	} while (m->dirty_count > 0);
	xe_network_wrapper_events(m);
}

void xe_network_resume(struct xe_machine *m, struct xe_node *n)
{
	if (!n->has_stack)
		return;
	xe_tcp_timers(n->sockets.tcp, m->now);
	while (n->rx_count > 0) {
		uint32_t packet = n->rx[n->rx_head];

		n->rx_head = (n->rx_head + 1) % XE_RX_RING;
		n->rx_count--;
		input(m, n, m->buffer[packet].data, m->buffer[packet].len, false);
		xe_buffer_give(m, packet);
	}
	n->timer_at = XE_NEVER;
	xe_machine_mark(m, n);
}

void xe_network_purge(struct xe_machine *m, struct xe_node *n)
{
	while (n->rx_count > 0) {
		xe_buffer_give(m, n->rx[n->rx_head]);
		n->rx_head = (n->rx_head + 1) % XE_RX_RING;
		n->rx_count--;
	}
}
