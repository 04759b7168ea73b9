/* The exchanges of one HTTP/1.1 connection: its requests, and the responses that answer them.
 *
 * Both streams are followed by http_message.h; requests that wait for their response are queued.
 * `off`: from here on nothing is said any more, since a stream is not clean HTTP, the connection
 * ends, a response came before its request had ended, or more wait than the queue holds.
 */
#ifndef XE_NET_HTTP_EXCHANGE_H
#define XE_NET_HTTP_EXCHANGE_H

#include "net/http_message.h"

enum { XE_EXCHANGES = 16 };

enum xe_exchange_event {
	XE_EXCHANGE_MORE,   /* all bytes are taken */
	XE_EXCHANGE_HEAD,   /* the last byte taken ends a head; a body may follow */
	XE_EXCHANGE_END, /* ... a request; a response whose exchange is over, and leaves no trace */
	XE_EXCHANGE_TUNNEL, /* ... the head of a response to CONNECT: a tunnel both ways from here; off */
	XE_EXCHANGE_OFF, /* all bytes are taken */
};

struct xe_exchanges {
	struct xe_msg request, response;
	uint64_t request_to[XE_EXCHANGES]; /* where it ended; 0: it has not */
	uint8_t asks[XE_EXCHANGES];
	uint8_t first, count;
	bool off;
	bool held; /* the newest request may make a tunnel of it: nothing may follow */
	uint64_t ended; /* where the request of the last exchange that is over ended */
};

/* Bytes of requests; `at`: the offset of the first in the stream. */
enum xe_exchange_event xe_exchange_request(struct xe_exchanges *x, uint64_t at,
					   const uint8_t *bytes, size_t n, size_t *taken);
enum xe_exchange_event xe_exchange_response(struct xe_exchanges *x, const uint8_t *bytes, size_t n,
					    size_t *taken);
/* Each request is answered, and nothing of the next has come. */
bool xe_exchange_idle(const struct xe_exchanges *x);

#endif
