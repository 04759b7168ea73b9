/* HTTP/1.1 with keep-alive: an exchange is removed once its response is written.
 *
 * When a write ends the response of a request that was read whole, both go, with all before them
 * that could not go then. From the first thing on that http_exchange.h stops at, nothing is removed
 * any more; all of that is replayed. Dates are replayed in any case (http.h).
 *
 * Invariant: `request_from` and `response_from` begin an exchange, and what was not removed yet.
 */
#include <errno.h>

#include "net/http.h"
#include "net/http_exchange.h"
#include "net/profiles.h"

struct http_conn {
	struct xe_http dates;
	struct xe_exchanges exchanges;
	uint64_t request_from, response_from;
	uint64_t read_to, written_to; /* what has been removed before may follow */
	size_t scanned;               /* for dates: beyond what TCP has taken */
};

_Static_assert(sizeof(struct http_conn) <= WR_STATE, "state of a connection");

/* ---- requests ---- */

static void take_requests(struct http_conn *h, uint64_t at, const uint8_t *bytes, size_t n)
{
	enum xe_exchange_event event;

	if (h->request_from == h->read_to)
		h->request_from = at;
	h->read_to = at + n;
	do {
		size_t taken;

		event = xe_exchange_request(&h->exchanges, at, bytes, n, &taken);
		at += taken;
		bytes += taken;
		n -= taken;
	} while (event != XE_EXCHANGE_MORE && event != XE_EXCHANGE_OFF);
}

static long read_request(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	uint64_t at = wr_read_so_far(c);
	long got = cn_read_request(call);

	(void)context;
	if (got > 0)
		take_requests(wr_state(c), at, wr_bytes(call), (size_t)got);
	return got;
}

/* ---- responses ---- */

/* Where the last exchange ends that ends in these bytes; 0: none does. */
static size_t take_responses(struct xe_exchanges *x, const uint8_t *bytes, size_t n)
{
	size_t at = 0, last = 0;
	enum xe_exchange_event event;

	do {
		size_t taken;

		event = xe_exchange_response(x, bytes + at, n - at, &taken);
		at += taken;
		if (event == XE_EXCHANGE_END)
			last = at;
	} while (event != XE_EXCHANGE_MORE && event != XE_EXCHANGE_OFF);
	return last;
}

static void remove_exchanges(struct http_conn *h, struct wr_conn *c, uint64_t response_to)
{
	uint64_t request_to = h->exchanges.ended;
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

/* Up to the last end of an exchange, if there is one; then it is removed, and the call is to end:
 * what failed would take what follows with it. */
static long write_some(struct wr_call *call, const uint8_t *bytes, size_t n, bool *removed)
{
	struct wr_conn *c = wr_connection(call);
	struct http_conn *h = wr_state(c);
	struct xe_exchanges ahead = h->exchanges;
	size_t end = take_responses(&ahead, bytes, n);
	uint64_t at = wr_written_so_far(c);
	long took = write_dated(call, h, bytes, n, end > 0 ? end : n);

	if (took <= 0)
		return took;
	if (h->response_from == h->written_to)
		h->response_from = at;
	h->written_to = at + (uint64_t)took;
	*removed = take_responses(&h->exchanges, bytes, (size_t)took) == (size_t)took;
	if (*removed)
		remove_exchanges(h, c, h->written_to);
	return took;
}

static long write_response(struct wr_call *call, void *context)
{
	const uint8_t *bytes = wr_bytes(call);
	size_t n = wr_length(call), done = 0;
	bool removed = false;

	(void)context;
	while (done < n && !removed) {
		long took = write_some(call, bytes + done, n - done, &removed);

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
	wr_sessions(w); /* what is removed is a session's */
	return rc ? rc : wr_plain(w);
}
