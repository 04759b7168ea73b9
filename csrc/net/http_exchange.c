/* Exchanges of HTTP/1.1; see http_exchange.h.
 *
 * Invariant: requests queue[first], ... are those whose responses have not ended; only the newest
 * may not have ended itself.
 */
#include "net/http_exchange.h"

enum { ASKS_HEAD = 1, ASKS_CONNECT = 2, ASKS_LAST = 4 };

static enum xe_exchange_event stop(struct xe_exchanges *x, size_t n, size_t *taken)
{
	x->off = true;
	*taken = n;
	return XE_EXCHANGE_OFF;
}

static bool push(struct xe_exchanges *x)
{
	const struct xe_msg *r = &x->request;
	unsigned i = (x->first + x->count) % XE_EXCHANGES;

	if (x->count == XE_EXCHANGES)
		return false;
	x->count++;
	x->request_to[i] = 0;
	x->asks[i] = (uint8_t)((r->head ? ASKS_HEAD : 0) | (r->connect ? ASKS_CONNECT : 0) |
			       (r->last ? ASKS_LAST : 0));
	return true;
}

enum xe_exchange_event xe_exchange_request(struct xe_exchanges *x, uint64_t at,
					   const uint8_t *bytes, size_t n, size_t *taken)
{
	if (x->off ||
	    (x->held && n > 0)) /* who does not wait for the answer means something else */
		return stop(x, n, taken);
	switch (xe_msg_take(&x->request, bytes, n, taken)) {
	case XE_MSG_HEAD:
		return push(x) ? XE_EXCHANGE_HEAD : stop(x, n, taken);
	case XE_MSG_END:
		x->request_to[(x->first + x->count - 1u) % XE_EXCHANGES] = at + *taken;
		x->held = x->request.connect || x->request.upgrade;
		return XE_EXCHANGE_END;
	case XE_MSG_MORE:
		return XE_EXCHANGE_MORE;
	default:
		return stop(x, n, taken);
	}
}

static enum xe_exchange_event end_head(struct xe_exchanges *x, size_t n, size_t *taken)
{
	uint16_t status = x->response.status;

	if (x->asks[x->first] & ASKS_CONNECT && status / 100 == 2) {
		x->off = true;
		return XE_EXCHANGE_TUNNEL;
	}
	return status == 101 ? stop(x, n, taken) : XE_EXCHANGE_HEAD;
}

static enum xe_exchange_event end_response(struct xe_exchanges *x, size_t n, size_t *taken)
{
	if (x->response.status < 200)
		return XE_EXCHANGE_HEAD;
	if (x->request_to[x->first] == 0 || x->asks[x->first] & ASKS_LAST || x->response.last)
		return stop(x, n, taken);
	x->ended = x->request_to[x->first];
	x->first = (x->first + 1) % XE_EXCHANGES;
	if (--x->count == 0)
		x->held = false;
	return XE_EXCHANGE_END;
}

enum xe_exchange_event xe_exchange_response(struct xe_exchanges *x, const uint8_t *bytes, size_t n,
					    size_t *taken)
{
	if (x->off)
		return stop(x, n, taken);
	if (x->response.state == XE_MSG_START && n > 0) {
		if (x->count == 0)
			return stop(x, n, taken);
		x->response.type = XE_MSG_RESPONSE;
		x->response.no_body = (x->asks[x->first] & ASKS_HEAD) != 0;
	}
	switch (xe_msg_take(&x->response, bytes, n, taken)) {
	case XE_MSG_HEAD:
		return end_head(x, n, taken);
	case XE_MSG_END:
		return end_response(x, n, taken);
	case XE_MSG_MORE:
		return XE_EXCHANGE_MORE;
	default:
		return stop(x, n, taken);
	}
}

bool xe_exchange_idle(const struct xe_exchanges *x)
{
	return !x->off && x->count == 0 && x->request.state == XE_MSG_START &&
	       x->response.state == XE_MSG_START;
}
