/* The plain wrapper's north half: each operation as the handler of its kind.
 *
 * A plain service may be one of HTTP: where its output is, the dates in it are written as they were
 * the first time.
 */
#include <errno.h>

#include "net/http.h"
#include "net/wrapper.h"

struct dates {
	struct xe_http http;     /* output up to what is written + `scanned` */
	size_t scanned;          /* of which TCP has not taken yet */
};

_Static_assert(sizeof(struct dates) <= WR_STATE, "state of a plain connection");

static size_t next_piece(struct wr_call *call, struct dates *d, size_t done)
{
	const uint8_t *bytes = wr_bytes(call) + done;
	size_t left = wr_length(call) - done;
	bool date;

	if (d->scanned == 0) {
		d->scanned = xe_http_scan(&d->http, bytes, left, &date);
		if (d->scanned == 0) {
			as_volatile_date(call);
			d->scanned = xe_http_scan(&d->http, bytes, XE_HTTP_DATE, NULL);
		}
	}
	return left < d->scanned ? left : d->scanned;
}

static long write_response(struct wr_call *call, void *context)
{
	struct dates *d = wr_state(wr_connection(call));
	size_t done = 0;

	(void)context;
	while (done < wr_length(call)) {
		size_t piece = next_piece(call, d, done);
		long sent = cn_write_response(call, piece);

		if (sent < 0)
			return done > 0 ? (long)done : sent;
		done += (size_t)sent;
		d->scanned -= (size_t)sent;
		if ((size_t)sent < piece)
			break;
	}
	return (long)done;
}

static long write_request(struct wr_call *call, void *context)
{
	(void)context;
	return sn_write_request(call, wr_length(call));
}

static long read_request(struct wr_call *call, void *context)
{
	(void)context;
	return cn_read_request(call);
}

static long read_response(struct wr_call *call, void *context)
{
	(void)context;
	return sn_read_response(call);
}

static long close_either(struct wr_call *call, void *context)
{
	(void)context;
	wr_close(call);
	return 0;
}

wr_nsw_handler *const xe_plain_north[2][WR_CALL_KINDS] = {
	[WR_CLIENT_SIDE] = {read_request, write_response, close_either},
	[WR_SERVER_SIDE] = {read_response, write_request, close_either},
};

int wr_plain_north(struct wr *w)
{
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned kind = 0; kind < WR_CALL_KINDS; kind++) {
			int rc = wr_ins_nsw(w, side, kind, xe_plain_north[side][kind], NULL);

			if (rc && rc != -EEXIST)
				return rc;
		}
	}
	return 0;
}
