/* Socket calls through the north-side wrapper; see socket.h.
 *
 * Owns the stack and one xe_nsw_conn per socket. A connection is known to the wrapper
 * from accept on.
 */
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int xe_sockets_init(struct xe_sockets *s, const struct xe_tcp_config *cfg)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->max_socks = cfg->max_socks ? cfg->max_socks : 1024;
	s->conn = calloc(s->max_socks, sizeof(*s->conn));
	if (!s->conn)
		return -ENOMEM;
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
	free(s->conn);
	memset(s, 0, sizeof(*s));
}

void xe_sockets_protect(struct xe_sockets *s, uint16_t port, bool on)
{
	uint8_t bit = (uint8_t)(1u << (port % 8));

	if (on)
		s->protected_port[port / 8] |= bit;
	else
		s->protected_port[port / 8] &= (uint8_t)~bit;
}

static struct xe_nsw_conn *conn_of(const struct xe_sockets *s, int sock)
{
	if (sock < 0 || (uint32_t)sock >= s->max_socks || !s->conn[sock].logged)
		return NULL;
	return &s->conn[sock];
}

int xe_sock_accept(struct xe_sockets *s, int listener)
{
	struct xe_tcp_info info;
	int sock = xe_tcp_accept(s->tcp, listener);

	if (sock < 0)
		return sock;
	memset(&s->conn[sock], 0, sizeof(s->conn[sock]));
	if (xe_tcp_info(s->tcp, sock, &info) == 0 &&
	    (s->protected_port[info.local_port / 8] >> (info.local_port % 8) & 1))
		xe_nsw_accept(&s->nsw, &s->conn[sock], info.local_addr, info.local_port,
			      info.peer_addr, info.peer_port);
	s->replaying |= s->conn[sock].replaying;
	return sock;
}

long xe_sock_recv(struct xe_sockets *s, int sock, void *buf, size_t n, xe_ns now)
{
	struct xe_nsw_conn *c = conn_of(s, sock);
	long got;

	if (!c)
		return xe_tcp_recv(s->tcp, sock, buf, n, now);
	got = xe_nsw_feed(&s->nsw, c, buf, n);
	if (got != 0)
		return got == -EBADMSG ? -ECONNRESET : got;
	got = xe_tcp_recv(s->tcp, sock, buf, n, now);
	if (n > 0)
		xe_nsw_record(&s->nsw, c, got);
	return got;
}

/* One piece: bytes taken, or TCP's error. */
static long send_piece(struct xe_sockets *s, int sock, struct xe_nsw_conn *c, const uint8_t *bytes,
		       size_t n, xe_ns now)
{
	size_t dropped = xe_nsw_drop(&s->nsw, c, bytes, n);
	long sent = 0;

	if (dropped < n && !c->diverged) {
		sent = xe_tcp_send(s->tcp, sock, bytes + dropped, n - dropped, now);
		if (sent < 0)
			return dropped > 0 ? (long)dropped : sent;
		xe_nsw_wrote(&s->nsw, c, bytes + dropped, (size_t)sent);
	}
	if (c->diverged) {
		xe_tcp_reset(s->tcp, sock, now);
		return -ECONNRESET;
	}
	return (long)dropped + sent;
}

static long send_pieces(struct xe_sockets *s, int sock, struct xe_nsw_conn *c, const void *buf,
			size_t n, xe_ns now)
{
	size_t done = 0;

	while (done < n) {
		const uint8_t *bytes;
		size_t piece =
			xe_nsw_piece(&s->nsw, c, (const uint8_t *)buf + done, n - done, &bytes);
		long sent = send_piece(s, sock, c, bytes, piece, now);

		if (sent < 0)
			return done > 0 ? (long)done : sent;
		done += (size_t)sent;
		if ((size_t)sent < piece)
			break;
	}
	return (long)done;
}

long xe_sock_send(struct xe_sockets *s, int sock, const void *buf, size_t n, xe_ns now)
{
	struct xe_nsw_conn *c = conn_of(s, sock);
	bool waited;
	long sent;

	if (!c || n == 0)
		return xe_tcp_send(s->tcp, sock, buf, n, now);
	waited = xe_nsw_source(&s->nsw, c) == XE_NOT_YET;
	sent = send_pieces(s, sock, c, buf, n, now);
	if (waited && xe_nsw_source(&s->nsw, c) != XE_NOT_YET)
		xe_tcp_poke(s->tcp, sock);
	return sent;
}

int xe_sock_shutdown(struct xe_sockets *s, int sock, xe_ns now)
{
	struct xe_nsw_conn *c = conn_of(s, sock);

	if (c)
		xe_nsw_close(&s->nsw, c, false);
	return xe_tcp_shutdown(s->tcp, sock, now);
}

int xe_sock_close(struct xe_sockets *s, int sock, xe_ns now)
{
	struct xe_nsw_conn *c = conn_of(s, sock);

	if (c) {
		xe_nsw_close(&s->nsw, c, true);
		c->logged = false;
	}
	return xe_tcp_close(s->tcp, sock, now);
}

int xe_sock_drop(struct xe_sockets *s, int sock, xe_ns now)
{
	struct xe_nsw_conn *c = conn_of(s, sock);

	if (c)
		c->logged = false;
	return xe_tcp_close(s->tcp, sock, now);
}

void xe_sockets_tick(struct xe_sockets *s, xe_ns now)
{
	if (!s->replaying || now - s->looked_at < XE_SECOND)
		return;
	s->looked_at = now;
	s->replaying = false;
	for (uint32_t i = 0; i < s->max_socks; i++) {
		struct xe_nsw_conn *c = &s->conn[i];

		if (!c->logged || !c->replaying)
			continue;
		s->replaying = true;
		if (xe_nsw_patience(&s->nsw, c, now))
			xe_tcp_poke(s->tcp, (int)i);
	}
}

unsigned xe_sock_poll(const struct xe_sockets *s, int sock)
{
	struct xe_nsw_conn *c = conn_of(s, sock);
	unsigned bits = xe_tcp_poll(s->tcp, sock);
	enum xe_nsw_source source = c ? xe_nsw_source(&s->nsw, c) : XE_FROM_TCP;

	if (source == XE_FROM_LOG)
		bits |= XE_READABLE;
	if (source == XE_NOT_YET)
		bits &= ~(unsigned)(XE_READABLE | XE_HANGUP);
	if (c && xe_nsw_can_write(c))
		bits |= XE_WRITABLE;
	return bits;
}
