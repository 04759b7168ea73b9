/* The FT API's north side: what handlers of socket calls are made of; see ftapi.h.
 *
 * Client side and server side differ in what they are called: received is a request here, a
 * response there. Both read and write through the same wrapper.
 */
#include "net/north.h"

#include <errno.h>

/* ---- operations ---- */

static long read_some(struct wr_call *call)
{
	struct xe_nsw *n = &call->sockets->nsw;
	uint8_t *buf = call->buf + call->done;
	size_t room = call->length - call->done;
	long got = xe_nsw_feed(n, call->conn, buf, room);

	if (got == 0) {
		if (!call->conn->ghost)
			got = xe_tcp_recv(call->sockets->tcp, call->sock, buf, room, call->now);
		if (room > 0)
			xe_nsw_record(n, call->conn, got);
	}
	if (got > 0)
		call->done += (size_t)got;
	return got == -EBADMSG ? -ECONNRESET : got;
}

/* Bytes that go together: how many are taken, or TCP's error. */
static long write_piece(struct wr_call *call, const uint8_t *bytes, size_t n)
{
	struct xe_nsw *nsw = &call->sockets->nsw;
	struct xe_tcp *tcp = call->sockets->tcp;
	struct wr_conn *c = call->conn;
	size_t dropped = xe_nsw_drop(nsw, c, bytes, n);
	long sent = 0;

	if (dropped < n && !c->diverged) {
		sent = xe_tcp_send(tcp, call->sock, bytes + dropped, n - dropped, call->now);
		if (sent < 0)
			return dropped > 0 ? (long)dropped : sent;
		xe_nsw_wrote(nsw, c, bytes + dropped, (size_t)sent);
	}
	if (c->diverged) {
		xe_tcp_reset(tcp, call->sock, call->now);
		return -ECONNRESET;
	}
	return (long)dropped + sent;
}

static long write_some(struct wr_call *call, size_t n)
{
	struct wr_conn *c = call->conn;
	size_t done = 0;

	if (n > call->length - call->done)
		n = call->length - call->done;
	while (done < n) {
		const uint8_t *bytes = call->buf + call->done;
		size_t piece = n - done;
		long sent;

		if (c->date_left > 0) {
			bytes = c->date + XE_HTTP_DATE - c->date_left;
			piece = piece < c->date_left ? piece : c->date_left;
		}
		sent = write_piece(call, bytes, piece);
		if (sent < 0)
			return done > 0 ? (long)done : sent;
		done += (size_t)sent;
		call->done += (size_t)sent;
		if ((size_t)sent < piece)
			break;
	}
	return (long)done;
}

long cn_read_request(struct wr_call *call)
{
	return call->kind == WR_READ ? read_some(call) : -EINVAL;
}

long sn_read_response(struct wr_call *call)
{
	return call->kind == WR_READ ? read_some(call) : -EINVAL;
}

long cn_write_response(struct wr_call *call, size_t n)
{
	return call->kind == WR_WRITE ? write_some(call, n) : -EINVAL;
}

long sn_write_request(struct wr_call *call, size_t n)
{
	return call->kind == WR_WRITE ? write_some(call, n) : -EINVAL;
}

void wr_close(struct wr_call *call)
{
	if (call->kind == WR_CLOSE)
		xe_nsw_close(&call->sockets->nsw, call->conn, call->ends);
}

int as_volatile_date(struct wr_call *call)
{
	if (call->kind != WR_WRITE || call->length - call->done < XE_HTTP_DATE ||
	    call->conn->date_left > 0)
		return -EINVAL;
	xe_nsw_date(&call->sockets->nsw, call->conn, call->buf + call->done);
	return 0;
}

/* ---- removal ---- */

int as_mark(struct wr_conn *c)
{
	return xe_nsw_mark(c->nsw, c);
}

static bool is_received(const struct wr_conn *c, bool request)
{
	return request == (c->role == XE_LOG_CLIENT_SIDE);
}

static int remove_range(struct wr_conn *c, bool request, uint64_t from, uint64_t to)
{
	return xe_nsw_cut(c->nsw, c, is_received(c, request) ? XE_CUT_INPUT : XE_CUT_OUTPUT, from,
			  to);
}

static int elide_range(struct wr_conn *c, bool request, uint64_t from, uint64_t to)
{
	return xe_nsw_cut(c->nsw, c, is_received(c, request) ? XE_CUT_FILLER : XE_CUT_BLIND, from,
			  to);
}

int as_remove_request(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return remove_range(c, true, from, to);
}

int as_remove_response(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return remove_range(c, false, from, to);
}

int as_elide_request(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return elide_range(c, true, from, to);
}

int as_elide_response(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return elide_range(c, false, from, to);
}

/* ---- what handlers look at ---- */

struct wr_conn *wr_connection(struct wr_call *call)
{
	return call->conn;
}

const uint8_t *wr_bytes(struct wr_call *call)
{
	return call->buf;
}

size_t wr_length(struct wr_call *call)
{
	return call->length;
}

bool wr_ends(struct wr_call *call)
{
	return call->ends;
}

enum wr_side wr_side_of(const struct wr_conn *c)
{
	return c->role == XE_LOG_CLIENT_SIDE ? WR_CLIENT_SIDE : WR_SERVER_SIDE;
}

uint64_t wr_read_so_far(const struct wr_conn *c)
{
	return c->read_at;
}

uint64_t wr_written_so_far(const struct wr_conn *c)
{
	return c->written;
}

bool wr_closed(const struct wr_conn *c)
{
	return c->closed;
}

void *wr_state(struct wr_conn *c)
{
	return c->state;
}

struct wr_conn *wr_root(struct wr_conn *c)
{
	struct wr_conn *root = xe_nsw_root_of(c->nsw, c);

	root->nsw = c->nsw;
	return root;
}

struct wr_conn *wr_next(struct wr_conn *c)
{
	struct wr_conn *next = c;

	do
		next = xe_nsw_next_member(c->nsw, next);
	while (next && !next->claimed); /* the service does not know it yet */
	if (next)
		next->nsw = c->nsw;
	return next;
}
