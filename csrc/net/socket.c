/* Socket calls through the north-side wrapper; see socket.h.
 *
 * Owns the stack and what is known of each socket. A connection is known to the wrapper from
 * accept on, or from the moment that its SYN went out; calls on it pass the handlers of its
 * wrapper. What is opened is in socket_open.c.
 */
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/north.h"
#include "net/socket_internal.h"
#include "net/wrapper.h"

int xe_sockets_init(struct xe_sockets *s, const struct xe_tcp_config *cfg)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->max_socks = cfg->max_socks ? cfg->max_socks : 1024;
	s->entry = malloc(s->max_socks * sizeof(*s->entry));
	if (!s->entry)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->max_socks; i++)
		s->entry[i] = (struct xe_sock_entry){.slot = XE_LOG_NONE};
	rc = xe_tcp_create(&s->tcp, cfg);
	if (rc)
		xe_sockets_fini(s);
	return rc;
}

void xe_sockets_fini(struct xe_sockets *s)
{
	if (s->tcp)
		xe_tcp_destroy(s->tcp);
	xe_nsw_detach(&s->nsw);
	free(s->entry);
	memset(s, 0, sizeof(*s));
}

int xe_sockets_protect(struct xe_sockets *s, uint16_t port, uint8_t profile)
{
	struct xe_protected_port *free_place = NULL;

	for (int i = 0; i < XE_MAX_PROTECTED_PORTS; i++) {
		struct xe_protected_port *p = &s->protected[i];

		if (p->profile && p->port == port) {
			p->profile = profile;
			return 0;
		}
		if (!p->profile && !free_place)
			free_place = p;
	}
	if (!free_place && profile)
		return -ENOSPC;
	if (profile)
		*free_place = (struct xe_protected_port){port, profile};
	return 0;
}

int xe_sockets_passive_range(struct xe_sockets *s, uint16_t low, uint16_t high)
{
	if (low > high || (low == 0 && high != 0))
		return -EINVAL;
	s->passive_low = s->passive_next = low;
	s->passive_high = high;
	return 0;
}

struct wr_conn *xe_sock_conn(const struct xe_sockets *s, int sock)
{
	struct wr_conn *c;

	if (sock < 0 || (uint32_t)sock >= s->max_socks || !s->nsw.attached ||
	    s->entry[sock].slot >= s->nsw.log.slots)
		return NULL;
	c = &s->nsw.conn[s->entry[sock].slot];
	return c->logged && c->sock == sock ? c : NULL;
}

uint64_t xe_sock_session(const struct xe_sockets *s, int sock)
{
	struct wr_conn *c = xe_sock_conn(s, sock);

	if (!c || c->root >= s->nsw.log.slots)
		return 0;
	return xe_nsw_token(&s->nsw.conn[c->root]);
}

/* ---- who can go on ---- */

static bool can_go_on(struct xe_sockets *s, struct wr_conn *c)
{
	if (c->opened)
		return xe_nsw_source(&s->nsw, c) != XE_NOT_YET;
	return xe_nsw_connect_is_due(&s->nsw, c, c->ghost ? 0 : xe_tcp_connected(s->tcp, c->sock));
}

static void wake(struct xe_sockets *s, struct wr_conn *c)
{
	if (!c->waits || c->sock < 0)
		return;
	c->waits = false;
	if (can_go_on(s, c))
		xe_tcp_poke(s->tcp, c->sock);
}

void xe_sock_wake(struct xe_sockets *s, struct wr_conn *c)
{
	struct wr_conn *root = xe_nsw_root_of(&s->nsw, c);

	if (root->root == XE_LOG_NONE) {
		wake(s, c);
		return;
	}
	if (!root->someone_waits)
		return;
	root->someone_waits = false;
	for (c = root; c; c = xe_nsw_next_member(&s->nsw, c))
		wake(s, c);
	xe_sock_wake_listeners(s, xe_nsw_token(root));
}

/* ---- calls on a connection ---- */

static const struct xe_north *handler_of(const struct xe_sockets *s, const struct wr_conn *c,
					 enum wr_call_kind kind, struct xe_north *plain)
{
	enum wr_side side = wr_side_of(c);

	if (s->wr && s->wr[c->profile])
		return &s->wr[c->profile]->north[side][kind];
	plain->handler = xe_plain_north[side][kind];
	plain->context = NULL;
	return plain;
}

/* Passes the wrapper; *result stays as it is where it has no handler. */
static bool pass(struct wr_call *call, long *result)
{
	struct xe_sockets *s = call->sockets;
	struct wr_conn *c = call->conn;
	struct xe_north plain;
	const struct xe_north *h = handler_of(s, c, call->kind, &plain);

	if (!h->handler)
		return false;
	c->nsw = &s->nsw;
	*result = h->handler(call, h->context);
	if (c->root != XE_LOG_NONE)
		xe_nsw_handled(&s->nsw, c);
	xe_sock_wake(s, c);
	return true;
}

/* 0, or why nothing can be read or written. */
static int check_open(struct xe_sockets *s, const struct wr_conn *c, int sock)
{
	int rc = c->opened ? 0 : xe_sock_connected(s, sock);

	if (rc == 0)
		rc = c->error;
	return rc == -EINPROGRESS ? -EAGAIN : rc;
}

long xe_sock_recv(struct xe_sockets *s, int sock, void *buf, size_t n, xe_ns now)
{
	struct wr_conn *c = xe_sock_conn(s, sock);
	struct wr_call call = {
		.sockets = s, .conn = c, .sock = sock, .kind = WR_READ, .buf = buf, .length = n};
	long got;

	if (c) {
		got = check_open(s, c, sock);
		if (got < 0)
			return got;
		call.now = now;
		if (pass(&call, &got))
			return got;
	}
	return xe_tcp_recv(s->tcp, sock, buf, n, now);
}

long xe_sock_send(struct xe_sockets *s, int sock, const void *buf, size_t n, xe_ns now)
{
	struct wr_conn *c = xe_sock_conn(s, sock);
	struct wr_call call = {.sockets = s, .conn = c, .sock = sock, .kind = WR_WRITE};
	long sent;

	if (c && n > 0) {
		sent = check_open(s, c, sock);
		if (sent < 0)
			return sent;
		call.buf = (uint8_t *)(uintptr_t)buf; /* handlers get it as const */
		call.length = n;
		call.now = now;
		if (pass(&call, &sent))
			return sent;
	}
	return xe_tcp_send(s->tcp, sock, buf, n, now);
}

static void pass_close(struct xe_sockets *s, int sock, struct wr_conn *c, bool ends, xe_ns now)
{
	struct wr_call call = {.sockets = s, .conn = c, .sock = sock, .kind = WR_CLOSE};
	long ignored;

	call.ends = ends;
	call.now = now;
	pass(&call, &ignored);
}

int xe_sock_shutdown(struct xe_sockets *s, int sock, xe_ns now)
{
	struct wr_conn *c = xe_sock_conn(s, sock);

	if (c)
		pass_close(s, sock, c, false, now);
	return c && c->ghost ? 0 : xe_tcp_shutdown(s->tcp, sock, now);
}

static void release(struct xe_sockets *s, int sock)
{
	struct wr_conn *c = xe_sock_conn(s, sock);

	if (c)
		c->sock = -1;
	for (uint32_t i = 0; i < s->listeners; i++) {
		if (s->listener[i] == sock)
			s->listener[i--] = s->listener[--s->listeners];
	}
	if (sock >= 0 && (uint32_t)sock < s->max_socks)
		s->entry[sock] = (struct xe_sock_entry){.slot = XE_LOG_NONE};
}

int xe_sock_close(struct xe_sockets *s, int sock, xe_ns now)
{
	struct wr_conn *c = xe_sock_conn(s, sock);
	uint16_t port = sock >= 0 && (uint32_t)sock < s->max_socks ? s->entry[sock].port : 0;

	if (c)
		pass_close(s, sock, c, true, now);
	release(s, sock);
	if (port)
		xe_sock_release_port(s, port);
	return xe_tcp_close(s->tcp, sock, now);
}

/* The log goes on naming its port: whoever comes there while nobody recovers is to wait. */
int xe_sock_drop(struct xe_sockets *s, int sock, xe_ns now)
{
	struct wr_conn *c = xe_sock_conn(s, sock);

	if (c)
		c->logged = false;
	release(s, sock);
	return xe_tcp_close(s->tcp, sock, now);
}

static void look_at(struct xe_sockets *s, struct wr_conn *c, xe_ns now)
{
	if (!c->replaying && !c->waits)
		return;
	s->replaying = true;
	if (xe_nsw_patience(&s->nsw, c, now)) {
		c->waits = false;
		xe_tcp_poke(s->tcp, c->sock);
	} else {
		wake(s, c);
	}
}

void xe_sockets_tick(struct xe_sockets *s, xe_ns now)
{
	if (s->nsw.attached && s->nsw.roots != XE_LOG_NONE)
		xe_sock_wake_listeners(s, 0);
	if (!s->replaying || now - s->looked_at < XE_SECOND)
		return;
	s->looked_at = now;
	s->replaying = false;
	for (uint32_t i = 0; i < s->max_socks; i++) {
		struct wr_conn *c = xe_sock_conn(s, (int)i);

		if (c)
			look_at(s, c, now);
	}
	for (uint32_t i = 0; s->replaying && i < s->listeners; i++) {
		uint64_t session = s->entry[s->listener[i]].session;

		if (session)
			xe_sock_wake_listeners(s, session);
	}
}

unsigned xe_sock_poll(struct xe_sockets *s, int sock)
{
	struct wr_conn *c = xe_sock_conn(s, sock);
	unsigned bits = xe_tcp_poll(s->tcp, sock);
	enum xe_nsw_source source;

	if (sock >= 0 && (uint32_t)sock < s->max_socks && s->entry[sock].listens)
		return xe_sock_acceptable(s, sock) ? XE_READABLE : 0;
	if (!c)
		return bits;
	if (!c->opened)
		return can_go_on(s, c) ? XE_WRITABLE : 0;
	if (c->error)
		return XE_READABLE | XE_WRITABLE | XE_HANGUP;
	if (c->ghost)
		bits = XE_WRITABLE;
	source = xe_nsw_source(&s->nsw, c);
	if (source == XE_FROM_LOG || (c->ghost && source == XE_FROM_TCP))
		bits |= XE_READABLE;
	if (source == XE_NOT_YET)
		bits &= ~(unsigned)(XE_READABLE | XE_HANGUP);
	if (xe_nsw_can_write(c))
		bits |= XE_WRITABLE;
	return bits;
}
