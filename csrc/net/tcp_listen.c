/* Ports, listeners and passive opens.
 *
 * Invariants: a child is on its listener's `embryos` list in SYN_RCVD and on
 * `queue` afterwards, until accepted or dead; `children` counts both, at most
 * `backlog`, so a handshake that was let in always fits the queue.
 * A held request has no listener; it is the caller's from the start, and of what comes
 * before it is admitted only a reset counts.
 * Left out: SYN cookies; listeners bound to one address; data on a SYN.
 */
#include <errno.h>

#include "net/tcp_internal.h"

static struct xe_sock *find_listener(const struct xe_tcp *t, uint16_t port)
{
	return xe_hash_find(t, 0, port, 0, 0);
}

int xe_tcp_choose_port(struct xe_tcp *t, uint32_t raddr, uint16_t rport)
{
	uint32_t span = XE_TCP_PORT_LAST - XE_TCP_PORT_FIRST + 1;
	uint32_t start = (uint32_t)xe_rng_below(&t->rng, span);

	for (uint32_t i = 0; i < span; i++) {
		uint16_t port = (uint16_t)(XE_TCP_PORT_FIRST + (start + i) % span);

		if (!find_listener(t, port) && !xe_hash_find(t, t->addr, port, raddr, rport))
			return port;
	}
	return -EADDRNOTAVAIL;
}

int xe_tcp_listen(struct xe_tcp *t, uint16_t port, int backlog)
{
	int chosen = port ? port : xe_tcp_choose_port(t, 0, 0);
	struct xe_sock *s;

	if (chosen < 0)
		return chosen;
	if (find_listener(t, (uint16_t)chosen))
		return -EADDRINUSE;
	s = t->nlisteners < XE_MAX_LISTENERS ? xe_sock_alloc(t) : NULL;
	if (!s)
		return -EMFILE;
	s->user = true;
	s->state = XE_TCP_LISTEN;
	s->lport = (uint16_t)chosen;
	s->backlog = backlog > 0 ? (uint32_t)backlog : 1;
	t->nlisteners++;
	xe_hash_insert(t, s);
	return xe_sock_id(t, s);
}

void xe_listener_forget(struct xe_tcp *t, struct xe_sock *s)
{
	struct xe_sock *l;

	if (s->parent == XE_NIL)
		return;
	l = &t->socks[s->parent];
	xe_list_remove(t, s->state == XE_TCP_SYN_RCVD ? &l->embryos : &l->queue, s, XE_L_LISTENER);
	xe_assert(l->children > 0);
	l->children--;
	s->parent = XE_NIL;
	xe_sock_ready(t, l);
}

/* Called on the way from SYN_RCVD to another state. */
void xe_listener_established(struct xe_tcp *t, struct xe_sock *s)
{
	struct xe_sock *l;

	if (s->parent == XE_NIL)
		return;
	l = &t->socks[s->parent];
	xe_list_remove(t, &l->embryos, s, XE_L_LISTENER);
	xe_list_push(t, &l->queue, s, XE_L_LISTENER);
	xe_sock_ready(t, l);
}

static int take_child(struct xe_tcp *t, struct xe_sock *s)
{
	xe_listener_forget(t, s);
	s->user = true;
	xe_sock_ready(t, s);
	return xe_sock_id(t, s);
}

int xe_tcp_accept(struct xe_tcp *t, int listener)
{
	struct xe_sock *l;

	if (listener < 0 || (uint32_t)listener >= t->cfg.max_socks || !t->socks[listener].user)
		return -EBADF;
	l = &t->socks[listener];
	if (l->state != XE_TCP_LISTEN)
		return -EINVAL;
	if (l->queue.head == XE_NIL)
		return -EAGAIN;
	return take_child(t, &t->socks[l->queue.head]);
}

int xe_tcp_accept_this(struct xe_tcp *t, int listener, int sock)
{
	struct xe_sock *s;

	if (sock < 0 || (uint32_t)sock >= t->cfg.max_socks || listener < 0)
		return -EBADF;
	s = &t->socks[sock];
	if (!s->used || s->user || s->parent != listener || s->state == XE_TCP_SYN_RCVD)
		return -EAGAIN;
	return take_child(t, s);
}

void xe_listener_close(struct xe_tcp *t, struct xe_sock *l, xe_ns now)
{
	while (l->embryos.head != XE_NIL || l->queue.head != XE_NIL) {
		int32_t id = l->embryos.head != XE_NIL ? l->embryos.head : l->queue.head;

		xe_sock_send_rst(t, &t->socks[id], now);
		xe_sock_finish(t, &t->socks[id], 0);
	}
	t->nlisteners--;
}

static struct xe_sock *new_passive(struct xe_tcp *t, const struct xe_packet *p, const uint32_t *isn,
				   xe_ns now)
{
	struct xe_sock *s = xe_sock_alloc(t);

	if (!s)
		return NULL;
	s->laddr = p->seg.daddr;
	s->lport = p->seg.dport;
	s->raddr = p->seg.saddr;
	s->rport = p->seg.sport;
	s->passive = true;
	s->state = XE_TCP_SYN_RCVD;
	xe_hash_insert(t, s);
	xe_sock_init_seq(t, s, isn ? *isn : xe_tcp_isn(t, s, now));
	return s;
}

static struct xe_sock *new_child(struct xe_tcp *t, struct xe_sock *l, const struct xe_packet *p,
				 const uint32_t *isn, xe_ns now)
{
	struct xe_sock *s = new_passive(t, p, isn, now);

	if (!s)
		return NULL;
	s->parent = xe_sock_id(t, l);
	l->children++;
	xe_list_push(t, &l->embryos, s, XE_L_LISTENER);
	return s;
}

void xe_listener_input(struct xe_tcp *t, struct xe_sock *l, const struct xe_packet *p,
		       const uint32_t *isn, xe_ns now)
{
	struct xe_sock *s;

	if (p->seg.flags & XE_RST)
		return;
	if (p->seg.flags & XE_ACK) {
		xe_reply_rst(t, p);
		return;
	}
	if ((p->seg.flags & (XE_SYN | XE_FIN)) != XE_SYN) {
		t->count.unacceptable++;
		return;
	}
	s = l->children < l->backlog ? new_child(t, l, p, isn, now) : NULL;
	if (!s) {
		t->count.backlog_drops++;
		return;
	}
	xe_sock_take_syn(t, s, p, now);
	xe_sock_want_output(t, s);
}

/* Held requests. */

void xe_tcp_hold_requests(struct xe_tcp *t)
{
	t->holds = true;
}

bool xe_tcp_is_held(const struct xe_tcp *t, int sock)
{
	return sock >= 0 && (uint32_t)sock < t->cfg.max_socks && t->socks[sock].user &&
	       t->socks[sock].held;
}

int xe_tcp_admit(struct xe_tcp *t, int sock)
{
	struct xe_sock *s;

	if (!xe_tcp_is_held(t, sock) || t->socks[sock].state != XE_TCP_SYN_RCVD)
		return -EINVAL;
	s = &t->socks[sock];
	s->held = false;
	s->syn_now = true;
	xe_sock_want_output(t, s);
	return 0;
}

void xe_request_input(struct xe_tcp *t, const struct xe_packet *p, const uint32_t *isn, xe_ns now)
{
	struct xe_sock *s = new_passive(t, p, isn, now);

	if (!s) {
		t->count.backlog_drops++;
		return;
	}
	xe_sock_take_syn(t, s, p, now);
	s->syn_now = false;
	s->held = s->user = s->poked = true;
	xe_sock_ready(t, s);
}

void xe_request_again(struct xe_tcp *t, struct xe_sock *s, const struct xe_packet *p)
{
	if (p->seg.flags & XE_RST && p->seg.seq == s->rcv_nxt)
		xe_sock_finish(t, s, ECONNREFUSED);
}
