/* HTTP/1.1 with keep-alive: an exchange is removed once its response is written.
 *
 * Requests wait in a queue for their responses. When a write ends the response of a request that
 * was read whole, both go, with all before them that could not go then. From the first thing on
 * that is not clean HTTP (http_message.h), that ends the connection, or that leaves state in it,
 * nothing is removed any more (`off`); all of that is replayed.
 * Dates are replayed in any case (http.h).
 *
 * Invariants: `request_from` and `response_from` begin an exchange, and what is kept of the
 * connection; requests queue[first], ... are those whose responses have not ended.
 * Left out on purpose: more than HTTP_QUEUE requests outstanding; responses that come before their
 * request has ended.
 */
#include <errno.h>
#include <string.h>

#include "net/http.h"
#include "net/http_message.h"
#include "net/profiles.h"

enum { HTTP_QUEUE = 16 };

enum { ASKS_HEAD = 1, ASKS_CONNECT = 2, ASKS_LAST = 4 };

struct http_conn {
	struct xe_http dates;
	struct xe_msg request, response;
	uint64_t request_from, response_from;
	uint64_t request_to[HTTP_QUEUE]; /* 0: it has not ended */
	uint8_t asks[HTTP_QUEUE];
	uint8_t first, count;
	bool reading, writing, off;
	bool held;                   /* a request may make a tunnel of it */
	size_t scanned;              /* for dates: beyond what TCP has taken */
};

_Static_assert(sizeof(struct http_conn) <= WR_STATE, "state of a connection");

/* ---- requests ---- */

static bool push_request(struct http_conn *h)
{
	const struct xe_msg *r = &h->request;
	unsigned i = (h->first + h->count) % HTTP_QUEUE;

	if (h->count == HTTP_QUEUE)
		return false;
	h->count++;
	h->request_to[i] = 0;
	h->asks[i] = (uint8_t)((r->head ? ASKS_HEAD : 0) | (r->connect ? ASKS_CONNECT : 0) |
			       (r->last ? ASKS_LAST : 0));
	return true;
}

static void take_requests(struct http_conn *h, uint64_t at, const uint8_t *bytes, size_t n)
{
	while (!h->off) {
		size_t taken;
		enum xe_msg_event event;

		if (h->held) { /* who does not wait for the answer sends something else */
			h->off = n > 0;
			break;
		}
		event = xe_msg_take(&h->request, bytes, n, &taken);
		at += taken;
		bytes += taken;
		n -= taken;
		if (event == XE_MSG_NOT || (event == XE_MSG_HEAD && !push_request(h)))
			h->off = true;
		if (event == XE_MSG_MORE)
			break;
		if (event == XE_MSG_END) {
			h->request_to[(h->first + h->count - 1u) % HTTP_QUEUE] = at;
			h->held = h->request.connect || h->request.upgrade;
		}
	}
}

static long read_request(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	struct http_conn *h = wr_state(c);
	uint64_t at = wr_read_so_far(c);
	long got = cn_read_request(call);

	(void)context;
	if (got <= 0)
		return got;
	if (!h->reading)
		h->request_from = at;
	h->reading = true;
	take_requests(h, at, wr_bytes(call), (size_t)got);
	return got;
}

/* ---- responses ---- */

/* The end of an exchange: in the bytes that are looked at, and of its request. */
struct boundary {
	size_t at;
	uint64_t request_to;
};

static bool begin_response(struct http_conn *h)
{
	if (h->count == 0)
		return false;
	h->response.type = XE_MSG_RESPONSE;
	h->response.no_body = (h->asks[h->first] & ASKS_HEAD) != 0;
	return true;
}

static bool makes_tunnel(const struct http_conn *h)
{
	uint16_t status = h->response.status;

	return status == 101 || (h->asks[h->first] & ASKS_CONNECT && status / 100 == 2);
}

/* Whether the exchange can be removed. */
static bool end_response(struct http_conn *h, uint64_t *request_to)
{
	uint64_t to = h->request_to[h->first];

	if (to == 0 || h->asks[h->first] & ASKS_LAST || h->response.last) {
		h->off = true;
		return false;
	}
	*request_to = to;
	h->first = (h->first + 1) % HTTP_QUEUE;
	if (--h->count == 0)
		h->held = false;
	return true;
}

/* The last boundary in the bytes, none: at = 0. */
static struct boundary take_responses(struct http_conn *h, const uint8_t *bytes, size_t n)
{
	struct boundary last = {0};
	size_t at = 0;

	while (!h->off) {
		enum xe_msg_event event;
		size_t taken;

		if (h->response.state == XE_MSG_START && at < n && !begin_response(h)) {
			h->off = true;
			break;
		}
		event = xe_msg_take(&h->response, bytes + at, n - at, &taken);
		at += taken;
		if (event == XE_MSG_NOT || (event == XE_MSG_HEAD && makes_tunnel(h)))
			h->off = true;
		else if (event == XE_MSG_MORE)
			break;
		else if (event == XE_MSG_END && h->response.status >= 200 &&
			 end_response(h, &last.request_to))
			last.at = at;
	}
	return last;
}

static void remove_exchanges(struct http_conn *h, struct wr_conn *c, uint64_t request_to,
			     uint64_t response_to)
{
	int rc = as_mark(c);

	if (rc < 0)
		return;
	rc = as_remove_request(c, h->request_from, request_to);
	if (rc >= 0)
		rc = as_remove_response(c, h->response_from, response_to);
	if (rc == -ENOSPC) /* with the next one */
		return;
	h->request_from = request_to;
	h->response_from = response_to;
}

/* Up to the next date, or that. What is looked at once is not looked at again, so that dates are
 * found in the same places however much TCP takes. */
static size_t next_piece(struct wr_call *call, struct http_conn *h, const uint8_t *bytes, size_t n)
{
	bool date;

	if (h->scanned == 0) {
		h->scanned = xe_http_scan(&h->dates, bytes, n, &date);
		if (h->scanned == 0) {
			as_volatile_date(call);
			h->scanned = xe_http_scan(&h->dates, bytes, XE_HTTP_DATE, NULL);
		}
	}
	return n < h->scanned ? n : h->scanned;
}

/* cn_write_response of the first `most` of n bytes, with dates. */
static long write_dated(struct wr_call *call, struct http_conn *h, const uint8_t *bytes, size_t n,
			size_t most)
{
	size_t done = 0;

	while (done < most) {
		size_t run = next_piece(call, h, bytes + done, n - done);
		long took;

		if (run > most - done)
			run = most - done;
		took = cn_write_response(call, run);
		if (took < 0)
			return done > 0 ? (long)done : took;
		h->scanned -= (size_t)took;
		done += (size_t)took;
		if ((size_t)took < run)
			break;
	}
	return (long)done;
}

/* Up to the last boundary, if there is one; then it is removed. */
static long write_some(struct wr_call *call, const uint8_t *bytes, size_t n)
{
	struct wr_conn *c = wr_connection(call);
	struct http_conn *h = wr_state(c), ahead = *h;
	size_t boundary = take_responses(&ahead, bytes, n).at;
	uint64_t at = wr_written_so_far(c);
	struct boundary end;
	long took;

	took = write_dated(call, h, bytes, n, boundary > 0 ? boundary : n);
	if (took <= 0)
		return took;
	if (!h->writing)
		h->response_from = at;
	h->writing = true;
	end = take_responses(h, bytes, (size_t)took);
	if (end.at == (size_t)took)
		remove_exchanges(h, c, end.request_to, at + end.at);
	return took;
}

static long write_response(struct wr_call *call, void *context)
{
	const uint8_t *bytes = wr_bytes(call);
	size_t n = wr_length(call), done = 0;

	(void)context;
	while (done < n) {
		long took = write_some(call, bytes + done, n - done);

		if (took < 0)
			return done > 0 ? (long)done : took;
		if (took == 0)
			break;
		done += (size_t)took;
	}
	return (long)done;
}

int xe_profile_http(struct wr *w)
{
	int rc = wr_ins_nsw(w, WR_CLIENT_SIDE, WR_READ, read_request, NULL);

	if (rc == 0)
		rc = wr_ins_nsw(w, WR_CLIENT_SIDE, WR_WRITE, write_response, NULL);
	return rc ? rc : wr_plain(w);
}
