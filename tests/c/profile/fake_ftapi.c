/* See fake_ftapi.h. */
#include "fake_ftapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct wr {
	wr_nsw_handler *nsw[2][WR_CALL_KINDS];
	bool plain;
	struct fake *fake;
};

struct wr_call {
	struct fake *fake;
	struct wr_conn *conn;
	const uint8_t *bytes;
	size_t length, taken;
	bool read;
	/* What the handler stages. */
	struct {
		struct wr_conn *conn;
		struct fake_cut cut;
	} staged[FAKE_STAGED];
	size_t stages;
	bool failed;
};

static struct wr_call *current; /* the handler that runs */

/* ---- registration ---- */

void wr_sessions(struct wr *w)
{
	w->fake->sessions = true;
}

int wr_ins_nsw(struct wr *w, enum wr_side side, enum wr_call_kind kind, wr_nsw_handler *handler,
	       void *context)
{
	(void)context;
	if (w->nsw[side][kind])
		return -EEXIST;
	w->nsw[side][kind] = handler;
	return 0;
}

static long plain_read(struct wr_call *call, void *context)
{
	(void)context;
	return call->conn->side == WR_CLIENT_SIDE ? cn_read_request(call) : sn_read_response(call);
}

static long plain_write(struct wr_call *call, void *context)
{
	(void)context;
	return call->conn->side == WR_CLIENT_SIDE ? cn_write_response(call, call->length)
						  : sn_write_request(call, call->length);
}

static long plain_close(struct wr_call *call, void *context)
{
	(void)context;
	wr_close(call);
	return 0;
}

int wr_plain(struct wr *w)
{
	static wr_nsw_handler *const all[WR_CALL_KINDS] = {plain_read, plain_write, plain_close};

	for (int side = 0; side < 2; side++) {
		for (int kind = 0; kind < WR_CALL_KINDS; kind++) {
			if (!w->nsw[side][kind])
				w->nsw[side][kind] = all[kind];
		}
	}
	w->plain = true;
	return 0;
}

/* ---- calls ---- */

/* The next byte is never one that was removed. */
static uint64_t jump(const struct wr_conn *c, bool output, uint64_t at)
{
	for (size_t i = 0; i < c->cuts;) {
		const struct fake_cut *cut = &c->cut[i++];

		if (cut->output == output && !cut->elided && cut->from <= at && at < cut->to) {
			at = cut->to;
			i = 0;
		}
	}
	return at;
}

static long read_bytes(struct wr_call *call)
{
	xe_assert(call->read && call->taken == 0);
	call->taken = call->length;
	call->conn->read_at = jump(call->conn, false, call->conn->read_at + call->length);
	return (long)call->length;
}

static long write_bytes(struct wr_call *call, size_t n)
{
	size_t room = call->fake->take_at_most;

	xe_assert(!call->read && call->taken + n <= call->length);
	if (room > 0) {
		room = room > call->taken ? room - call->taken : 0;
		if (n > room)
			n = room;
		if (n == 0)
			return -EAGAIN;
	}
	call->taken += n;
	call->conn->written = jump(call->conn, true, call->conn->written + n);
	return (long)n;
}

long cn_read_request(struct wr_call *call)
{
	xe_assert(call->conn->side == WR_CLIENT_SIDE);
	return read_bytes(call);
}

long sn_read_response(struct wr_call *call)
{
	xe_assert(call->conn->side == WR_SERVER_SIDE);
	return read_bytes(call);
}

long cn_write_response(struct wr_call *call, size_t n)
{
	xe_assert(call->conn->side == WR_CLIENT_SIDE);
	return write_bytes(call, n);
}

long sn_write_request(struct wr_call *call, size_t n)
{
	xe_assert(call->conn->side == WR_SERVER_SIDE);
	return write_bytes(call, n);
}

void wr_close(struct wr_call *call)
{
	call->conn->closed = true;
}

/* ---- what handlers do ---- */

static bool is_mark(const struct wr_conn *c, uint64_t at)
{
	if (at == 0)
		return true;
	for (uint64_t i = c->marks > FAKE_MARKS ? c->marks - FAKE_MARKS : 0; i < c->marks; i++) {
		if (c->mark[i % FAKE_MARKS] == at)
			return true;
	}
	for (size_t i = 0; i < c->cuts; i++) {
		if (c->cut[i].output && (c->cut[i].from == at || c->cut[i].to == at))
			return true;
	}
	return false;
}

int as_mark(struct wr_conn *c)
{
	struct fake *f = current->fake;

	if (f->mark_fails && ++f->mark_calls % f->mark_fails == 0)
		return -ENOSPC;
	if (c->written < c->known_from)
		return -ENOSPC;
	c->mark[c->marks++ % FAKE_MARKS] = c->written;
	return 0;
}

static int stage(struct wr_conn *c, bool output, bool elided, uint64_t from, uint64_t to)
{
	struct fake *f = current->fake;
	uint64_t end = output ? c->written : c->read_at;

	xe_assert(from < to);
	if (to != WR_ALL) {
		xe_assert(to <= end);
		if (output && (!is_mark(c, from) || !is_mark(c, to))) {
			current->failed = true;
			return -EINVAL;
		}
	} else {
		xe_assert(from == 0 && !elided);
	}
	if ((f->remove_fails && ++f->remove_calls % f->remove_fails == 0) ||
	    current->stages == FAKE_STAGED) {
		current->failed = true;
		return -ENOSPC;
	}
	current->staged[current->stages].conn = c;
	current->staged[current->stages++].cut =
		(struct fake_cut){.output = output, .elided = elided, .from = from, .to = to};
	return 0;
}

static bool requests_are_output(const struct wr_conn *c)
{
	return c->side == WR_SERVER_SIDE;
}

int as_remove_request(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return stage(c, requests_are_output(c), false, from, to);
}

int as_remove_response(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return stage(c, !requests_are_output(c), false, from, to);
}

int as_elide_request(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return stage(c, requests_are_output(c), true, from, to);
}

int as_elide_response(struct wr_conn *c, uint64_t from, uint64_t to)
{
	return stage(c, !requests_are_output(c), true, from, to);
}

int as_volatile_date(struct wr_call *call)
{
	struct wr_conn *c = call->conn;

	xe_assert(call->length - call->taken >= 29);
	if (c->dates < 64)
		c->date_at[c->dates] = c->written;
	c->dates++;
	return 0;
}

/* ---- what handlers look at ---- */

struct wr_conn *wr_connection(struct wr_call *call)
{
	return call->conn;
}

const uint8_t *wr_bytes(struct wr_call *call)
{
	return call->bytes;
}

size_t wr_length(struct wr_call *call)
{
	return call->length;
}

bool wr_ends(struct wr_call *call)
{
	(void)call;
	return true;
}

enum wr_side wr_side_of(const struct wr_conn *c)
{
	return c->side;
}

uint64_t wr_read_so_far(const struct wr_conn *c)
{
	return jump(c, false, c->read_at);
}

uint64_t wr_written_so_far(const struct wr_conn *c)
{
	return jump(c, true, c->written);
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
	return c->root;
}

struct wr_conn *wr_next(struct wr_conn *c)
{
	do
		c = c->next;
	while (c && c->whole);
	return c;
}

/* ---- the test's side ---- */

void fake_begin(struct fake *f, int (*profile)(struct wr *w))
{
	memset(f, 0, sizeof(*f));
	f->w = calloc(1, sizeof(*f->w));
	xe_assert(f->w);
	f->w->fake = f;
	xe_assert(profile(f->w) == 0);
	xe_assert(f->w->plain);
}

void fake_end(struct fake *f)
{
	free(f->w);
}

struct wr_conn *fake_open(struct fake *f, enum wr_side side, struct wr_conn *root)
{
	struct wr_conn *c = aligned_alloc(16, (sizeof(*c) + 15) / 16 * 16), *last = root;

	xe_assert(c);
	memset(c, 0, sizeof(*c));
	c->side = side;
	c->root = root ? root : f->sessions ? c : NULL;
	while (last && last->next)
		last = last->next;
	if (last)
		last->next = c;
	return c;
}

struct wr_conn *fake_again(struct fake *f, const struct wr_conn *old, struct wr_conn *root)
{
	struct wr_conn *c = fake_open(f, old->side, root);

	memcpy(c->cut, old->cut, sizeof(c->cut));
	c->cuts = old->cuts;
	c->whole = old->whole;
	memcpy(c->mark, old->mark, sizeof(c->mark));
	c->marks = old->marks;
	return c;
}

void fake_free(struct wr_conn *c)
{
	free(c);
}

static bool take_effect(struct wr_call *call)
{
	if (call->failed)
		return false;
	for (size_t i = 0; i < call->stages; i++) {
		struct wr_conn *c = call->staged[i].conn;

		xe_assert(c->cuts < FAKE_CUTS);
		c->cut[c->cuts++] = call->staged[i].cut;
		c->whole |= call->staged[i].cut.to == WR_ALL;
	}
	return call->stages > 0;
}

/* The offsets jump with what is known at the connection's begin, as in a replay. */
static long run(struct fake *f, struct wr_conn *c, enum wr_call_kind kind, struct wr_call *call)
{
	long result;

	c->read_at = jump(c, false, c->read_at);
	c->written = jump(c, true, c->written);
	call->fake = f;
	call->conn = c;
	current = call;
	result = f->w->nsw[c->side][kind](call, NULL);
	current = NULL;
	f->removals += take_effect(call);
	return result;
}

void fake_read(struct fake *f, struct wr_conn *c, const void *bytes, size_t n)
{
	struct wr_call call = {.bytes = bytes, .length = n, .read = true};

	xe_assert(run(f, c, WR_READ, &call) == (long)n);
}

void fake_write(struct fake *f, struct wr_conn *c, const void *bytes, size_t n)
{
	for (size_t at = 0; at < n;) {
		struct wr_call call = {.bytes = (const uint8_t *)bytes + at, .length = n - at};
		long took = run(f, c, WR_WRITE, &call);

		xe_assert(took == (long)call.taken && took > 0);
		at += (size_t)took;
	}
}

void fake_close(struct fake *f, struct wr_conn *c)
{
	struct wr_call call = {0};

	run(f, c, WR_CLOSE, &call);
	xe_assert(c->closed);
}

bool fake_cut_at(const struct wr_conn *c, bool output, uint64_t at, bool elided)
{
	for (size_t i = 0; i < c->cuts; i++) {
		const struct fake_cut *cut = &c->cut[i];

		if (cut->to == WR_ALL || (cut->output == output && (elided || !cut->elided) &&
					  cut->from <= at && at < cut->to))
			return true;
	}
	return false;
}
