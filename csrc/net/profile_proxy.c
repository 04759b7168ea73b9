/* An HTTP/1.1 proxy that serves one request of a client at a time: the client's connection is the
 * root, those to end servers are of its session.
 *
 * What a response needed is a unit: the exchange with the client, and all that was done on other
 * connections for it. A unit is removed on all of them, or not at all. The last unit of an end
 * server's connection that is still open is kept, since it is what opens that connection in a
 * replay; it goes with the next one over it, or when the service closes it, and then the connection
 * goes as a whole. A unit that needed no connection that is still open goes at once.
 * Where a unit cannot end (a mark is missing, a connection is busy), the next exchange belongs to
 * it as well. Bodies: profile_proxy_elide.c.
 *
 * Invariants: one call of a handler removes or elides once, since what fails takes the rest of the
 * call with it: then it ends, and less is written. A kept unit belongs to one open connection. What stays for lack of an end (forget)
 * pins the connections that it used.
 * Left out on purpose: responses that needed several connections that are open or have answered
 * (they stay), Upgrade, bodies in chunks.
 */
#include "net/profile_proxy.h"

#include <errno.h>

#include "net/profiles.h"

typedef int remove_fn(struct wr_conn *c, uint64_t from, uint64_t to);

static bool is_root(struct wr_conn *c)
{
	return wr_side_of(c) == WR_CLIENT_SIDE;
}

/* The end servers' connections of a session, from its root on; NULL: no more. */
static struct wr_conn *next_server(struct wr_conn *c)
{
	do
		c = wr_next(c);
	while (c && is_root(c));
	return c;
}

/* ---- units ---- */

static bool is_closed(struct wr_conn *c, const struct proxy_server *s)
{
	return s->closed || wr_closed(c);
}

static bool is_used(const struct proxy_server *s)
{
	return !s->gone &&
	       (!s->known || s->unit.in_to > s->unit.in_from || s->unit.out_to > s->unit.out_from);
}

static int remove_some(remove_fn *remove, struct wr_conn *c, uint64_t from, uint64_t to)
{
	return from < to ? remove(c, from, to) : 0;
}

static int remove_range(struct wr_conn *c, const struct proxy_range *r)
{
	remove_fn *in = is_root(c) ? as_remove_request : as_remove_response;
	remove_fn *out = is_root(c) ? as_remove_response : as_remove_request;
	int rc = remove_some(in, c, r->in_from, r->in_to);

	return rc ? rc : remove_some(out, c, r->out_from, r->out_to);
}

static int remove_kept(struct wr_conn *root, struct wr_conn *c, const struct proxy_server *s)
{
	int rc;

	if (!s->has_kept)
		return 0;
	rc = remove_range(root, &s->kept_root);
	return rc ? rc : remove_range(c, &s->kept);
}

/* With its kept unit. */
static int remove_server(struct wr_conn *root, struct wr_conn *c, const struct proxy_server *s)
{
	int rc = s->has_kept ? remove_range(root, &s->kept_root) : 0;

	if (rc == 0)
		rc = as_remove_request(c, 0, WR_ALL);
	return rc ? rc : as_remove_response(c, 0, WR_ALL);
}

static void begin_unit(struct proxy_range *unit)
{
	unit->in_from = unit->in_to;
	unit->out_from = unit->out_to;
}

/* What the unit is made of. */
struct survey {
	bool busy;               /* it may go on */
	bool stays;              /* it is part of what stays */
	unsigned open, answered,
		silent; /* connections: open, or closed with or without an answer */
};

static struct survey survey(struct wr_conn *root)
{
	struct survey all = {0};

	for (struct wr_conn *c = next_server(root); c; c = next_server(c)) {
		const struct proxy_server *s = wr_state(c);

		if (!is_used(s))
			continue;
		if (is_closed(c, s)) {
			all.answered += s->unit.in_to > s->unit.in_from;
			all.silent += s->unit.in_to == s->unit.in_from;
			all.stays |= s->pinned;
		} else {
			all.open++;
			all.busy |= !xe_exchange_idle(&s->exchanges) || !s->marked;
		}
	}
	return all;
}

/* Stages what can go now that the unit is over. */
static int remove_unit(struct wr_conn *root, const struct proxy_root *r, const struct survey *all)
{
	int rc = all->open == 0 ? remove_range(root, &r->unit) : 0;

	for (struct wr_conn *c = next_server(root); c && rc == 0; c = next_server(c)) {
		const struct proxy_server *s = wr_state(c);

		if (s->gone || (!is_used(s) && (s->pinned || !is_closed(c, s))))
			continue;
		rc = is_closed(c, s) ? remove_server(root, c, s) : remove_kept(root, c, s);
	}
	return rc;
}

/* The next exchange begins another unit. `removed`: what could go has gone. */
static void next_unit(struct wr_conn *root, struct proxy_root *r, bool removed)
{
	for (struct wr_conn *c = next_server(root); c; c = next_server(c)) {
		struct proxy_server *s = wr_state(c);

		if (removed && is_closed(c, s) && !s->pinned) {
			s->gone = true;
		} else if (is_used(s)) {
			s->pinned |= !removed;
			s->has_kept = removed && !is_closed(c, s);
			s->kept = s->unit;
			s->kept_root = r->unit;
		}
		s->known = true;
		begin_unit(&s->unit);
	}
	begin_unit(&r->unit);
	r->ended = false;
	r->responses = 0;
}

/* Whether the connection that stays open, if one does, is all that the unit needs in a replay: one
 * that closed in silence before it was asked has left no trace in its response. */
static bool is_clear(const struct proxy_root *r, const struct survey *all)
{
	if (all->stays || all->open > 1)
		return false;
	return all->open == 0 || (all->answered == 0 && (all->silent == 0 || r->responses == 1));
}

/* Whether it has tried to remove something. */
static bool end_unit(struct wr_conn *root, struct proxy_root *r)
{
	struct survey all = survey(root);
	int rc;

	if (!r->ended || r->written_to != r->unit.out_to || r->exchanges.off || all.busy)
		return false;
	rc = is_clear(r, &all) ? remove_unit(root, r, &all) : -EINVAL;
	if (rc != -ENOSPC) /* else with the next one */
		next_unit(root, r, rc == 0);
	return true;
}

/* ---- the client's connection ---- */

static uint64_t body_length(const struct xe_msg *m)
{
	return m->state == XE_MSG_BODY && !m->chunked ? m->left : 0;
}

static void take_requests(struct proxy_root *r, uint64_t at, const uint8_t *bytes, size_t n)
{
	enum xe_exchange_event event;

	if (r->unit.in_from == r->read_to)
		r->unit.in_from = r->unit.in_to = at;
	r->read_to = at + n;
	do {
		size_t taken;

		event = xe_exchange_request(&r->exchanges, at, bytes, n, &taken);
		at += taken;
		bytes += taken;
		n -= taken;
		if (event == XE_EXCHANGE_HEAD) { /* else the proxy has not come to it yet */
			r->body_at = at;
			r->body_length =
				r->exchanges.count == 1 ? body_length(&r->exchanges.request) : 0;
		}
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

static bool reads_body(const struct proxy_server *s, const struct proxy_flow *f)
{
	if (f->length == WR_ALL)
		return s->tunnel;
	return is_used(s) && s->body_length == f->length && (!f->on || s->body_at == f->from);
}

/* Where the body comes from: the only connection that has one like it; NULL: none is. */
static struct wr_conn *source_of(struct wr_conn *root, const struct proxy_flow *f)
{
	struct wr_conn *source = NULL;

	for (struct wr_conn *c = next_server(root); c; c = next_server(c)) {
		if (!reads_body(wr_state(c), f))
			continue;
		if (source)
			return NULL;
		source = c;
	}
	return source;
}

static void begin_body(struct wr_conn *root, struct proxy_root *r)
{
	struct proxy_flow f = {.length = body_length(&r->exchanges.response)};
	struct wr_conn *source = f.length > 0 ? source_of(root, &f) : NULL;
	const struct proxy_server *s;

	if (!source)
		return;
	s = wr_state(source);
	xe_flow_begin(&r->flow, r->written_to, s->body_at, f.length);
	xe_flow_wrote(&r->flow, root, source, r->written_to);
}

/* The only connection on which nothing has passed yet is what the tunnel leads to. */
static void begin_tunnel(struct wr_conn *root, struct proxy_root *r)
{
	struct wr_conn *to = NULL;
	struct proxy_server *s;

	for (struct wr_conn *c = next_server(root); c; c = next_server(c)) {
		if (wr_read_so_far(c) > 0 || wr_written_so_far(c) > 0 || is_closed(c, wr_state(c)))
			continue;
		if (to)
			return;
		to = c;
	}
	if (!to)
		return;
	s = wr_state(to);
	s->tunnel = true;
	s->exchanges.off = true;
	xe_flow_begin(&r->flow, r->written_to, 0, WR_ALL);
	xe_flow_wrote(&r->flow, root, to, r->written_to);
	xe_flow_begin(&s->flow, 0, r->exchanges.request_to[r->exchanges.first], WR_ALL);
	xe_flow_wrote(&s->flow, to, root, 0);
}

/* Whether the call of the handler is to end. */
static bool took_response(struct wr_conn *root, struct proxy_root *r, const uint8_t *bytes,
			  size_t n)
{
	enum xe_exchange_event event;
	bool staged = false;

	if (r->flow.on)
		staged = xe_flow_wrote(&r->flow, root, source_of(root, &r->flow), r->written_to);
	do {
		size_t taken;

		event = xe_exchange_response(&r->exchanges, bytes, n, &taken);
		bytes += taken;
		n -= taken;
		if (event == XE_EXCHANGE_HEAD && n == 0) {
			begin_body(root, r);
		} else if (event == XE_EXCHANGE_TUNNEL && n == 0) {
			begin_tunnel(root, r);
		} else if (event == XE_EXCHANGE_END && n == 0) {
			r->unit.in_to = r->exchanges.ended;
			r->unit.out_to = r->written_to;
			r->responses++;
			r->ended = as_mark(root) == 0;
			staged |= end_unit(root, r);
		}
	} while (event != XE_EXCHANGE_MORE && event != XE_EXCHANGE_OFF);
	return staged;
}

/* Up to the end of a head or message. */
static size_t response_piece(const struct xe_exchanges *x, const uint8_t *bytes, size_t n)
{
	struct xe_exchanges ahead = *x;
	size_t taken;

	xe_exchange_response(&ahead, bytes, n, &taken);
	return taken;
}

static long write_response(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	struct proxy_root *r = wr_state(c);
	const uint8_t *bytes = wr_bytes(call);
	size_t n = wr_length(call), done = 0;

	(void)context;
	while (done < n) {
		uint64_t at = wr_written_so_far(c);
		size_t piece = response_piece(&r->exchanges, bytes + done, n - done);
		bool staged;
		long took;

		piece = xe_flow_piece(&r->flow, at, piece);
		took = cn_write_response(call, piece);
		if (took < 0)
			return done > 0 ? (long)done : took;
		if (r->unit.out_from == r->written_to)
			r->unit.out_from = at;
		r->written_to = at + (uint64_t)took;
		staged = took > 0 && took_response(c, r, bytes + done, (size_t)took);
		done += (size_t)took;
		if (staged || (size_t)took < piece)
			break;
	}
	return (long)done;
}

/* ---- connections to end servers ---- */

static void take_responses(struct proxy_server *s, uint64_t at, const uint8_t *bytes, size_t n)
{
	enum xe_exchange_event event;

	if (s->unit.in_from == s->unit.in_to)
		s->unit.in_from = at;
	s->unit.in_to = at + n;
	do {
		size_t taken;

		event = xe_exchange_response(&s->exchanges, bytes, n, &taken);
		at += taken;
		bytes += taken;
		n -= taken;
		if (event == XE_EXCHANGE_HEAD) {
			s->body_at = at;
			s->body_length = body_length(&s->exchanges.response);
		}
	} while (event != XE_EXCHANGE_MORE && event != XE_EXCHANGE_OFF);
}

static long read_response(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	uint64_t at = wr_read_so_far(c);
	long got = sn_read_response(call);

	(void)context;
	if (got > 0)
		take_responses(wr_state(c), at, wr_bytes(call), (size_t)got);
	return got;
}

static void begin_upload(struct wr_conn *c, struct proxy_server *s)
{
	struct wr_conn *root = wr_root(c);
	const struct proxy_root *r;
	uint64_t length = body_length(&s->exchanges.request);

	if (length == 0 || !root || root == c)
		return;
	r = wr_state(root);
	if (length != r->body_length)
		return;
	xe_flow_begin(&s->flow, s->unit.out_to, r->body_at, length);
	xe_flow_wrote(&s->flow, c, root, s->unit.out_to);
}

static bool took_request(struct wr_conn *c, struct proxy_server *s, const uint8_t *bytes, size_t n)
{
	uint64_t at = s->unit.out_to - n;
	enum xe_exchange_event event;
	bool staged = false;

	s->marked = false;
	if (s->flow.on)
		staged = xe_flow_wrote(&s->flow, c, wr_root(c), s->unit.out_to);
	do {
		size_t taken;

		event = xe_exchange_request(&s->exchanges, at, bytes, n, &taken);
		at += taken;
		bytes += taken;
		n -= taken;
		if (event == XE_EXCHANGE_HEAD && n == 0)
			begin_upload(c, s);
		else if (event == XE_EXCHANGE_END && n == 0)
			s->marked = as_mark(c) == 0;
	} while (event != XE_EXCHANGE_MORE && event != XE_EXCHANGE_OFF);
	return staged;
}

static size_t request_piece(const struct xe_exchanges *x, const uint8_t *bytes, size_t n)
{
	struct xe_exchanges ahead = *x;
	size_t taken;

	xe_exchange_request(&ahead, 1, bytes, n, &taken);
	return taken;
}

static long write_request(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	struct proxy_server *s = wr_state(c);
	const uint8_t *bytes = wr_bytes(call);
	size_t n = wr_length(call), done = 0;

	(void)context;
	while (done < n) {
		uint64_t at = wr_written_so_far(c);
		size_t piece = request_piece(&s->exchanges, bytes + done, n - done);
		bool staged;
		long took;

		piece = xe_flow_piece(&s->flow, at, piece);
		took = sn_write_request(call, piece);
		if (took < 0)
			return done > 0 ? (long)done : took;
		if (s->unit.out_from == s->unit.out_to)
			s->unit.out_from = at;
		s->unit.out_to = at + (uint64_t)took;
		staged = took > 0 && took_request(c, s, bytes + done, (size_t)took);
		done += (size_t)took;
		if (staged || (size_t)took < piece)
			break;
	}
	return (long)done;
}

/* Nothing is under way on it: it goes, with the unit that opened it. */
static void remove_idle(struct wr_conn *root, struct wr_conn *c, struct proxy_server *s)
{
	if (!s->pinned && remove_server(root, c, s) == 0)
		s->gone = true;
}

static long close_server(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call), *root = wr_root(c);
	struct proxy_server *s = wr_state(c);
	struct proxy_root *r;

	(void)context;
	wr_close(call);
	if (!wr_ends(call) || !root || root == c)
		return 0;
	s->closed = true;
	r = wr_state(root);
	if (r->exchanges.off)
		return 0;
	if (is_used(s) && r->exchanges.count == 0)
		end_unit(root, r);
	else if (!is_used(s) && !s->gone)
		remove_idle(root, c, s);
	return 0;
}

int xe_profile_proxy(struct wr *w)
{
	static const struct {
		enum wr_side side;
		enum wr_call_kind kind;
		wr_nsw_handler *handler;
	} all[] = {
		{WR_CLIENT_SIDE, WR_READ, read_request},
		{WR_CLIENT_SIDE, WR_WRITE, write_response},
		{WR_SERVER_SIDE, WR_READ, read_response},
		{WR_SERVER_SIDE, WR_WRITE, write_request},
		{WR_SERVER_SIDE, WR_CLOSE, close_server},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int rc = wr_ins_nsw(w, all[i].side, all[i].kind, all[i].handler, NULL);

		if (rc)
			return rc;
	}
	wr_sessions(w);
	return wr_plain(w);
}
