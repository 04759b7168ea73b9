/* FTP (thesis 5.1): of a session what it leaves behind is replayed, and what is under way.
 *
 * Commands wait in a queue for their replies, which a server gives in order. With the reply that ends
 * a command it is judged: it is kept, or it goes at once, or it is held until it may go:
 * - a transfer goes when its data connections are closed, with them and with what it was set up
 *   by. A data command that is refused (no 1xx) may have used that up or not; it is held until the
 *   next transfer, or until another address is set up;
 * - TYPE goes when there is another one; one that changes nothing goes at once;
 * - between RNFR and RNTO, and between REST and its transfer, nothing goes: some servers forget the
 *   former with any command that comes between.
 * Held ranges that lose an end, since no mark is kept there, are kept for good. If they were half of
 * something (`torn`), everything is kept until that has ended. From the first thing on that is not
 * clean FTP nothing is removed any more (`off`). In doubt nothing is.
 *
 * Invariants: queue[first], ... are the commands whose replies have not ended; out_at is where the
 * next reply begins; mark[] are the marks that the API still knows; held[] is in the stream's order,
 * and ready ranges are complete in themselves.
 * Left out on purpose: modes but S; servers that keep an address for several transfers; directories,
 * which are all replayed; control connections of 4 GiB.
 */
#include <errno.h>
#include <string.h>

#include "net/ftp_lines.h"
#include "net/profiles.h"

enum { FTP_QUEUE = 16, FTP_HELD = 8, FTP_MARKS = 8, FTP_TRIES = 8 };

enum { MUDDLED = XE_FTP_VERBS }; /* which reply is its own is not known */

enum { TORN_TRANSFER = 1, TORN_RENAME = 2 };

enum hold { HOLD_READY, HOLD_TRANSFER, HOLD_TYPE };

struct command {
	uint32_t from, to;
	uint8_t verb, argument;
};

/* Commands and their replies. */
struct held {
	uint32_t in_from, in_to, out_from, out_to;
	uint8_t why;                 /* enum hold */
};

struct ftp_control {
	struct xe_ftp_line line;
	struct xe_ftp_reply reply;
	uint32_t line_from, out_at;
	struct command queue[FTP_QUEUE];
	struct held held[FTP_HELD];
	uint32_t mark[FTP_MARKS];
	uint8_t marks, first, count, holds, torn, tries;
	uint8_t type;                /* enum xe_ftp_argument */
	bool greeted, off;
	bool begun;                  /* the reply that is awaited has had a 1xx */
	bool addressed, prepared;    /* PASV, PORT...; REST, ALLO: for the next transfer */
	bool renaming;
	bool transferred;            /* but a data connection is open, or ABOR comes next */
};

_Static_assert(sizeof(struct ftp_control) <= WR_STATE, "state of a control connection");

struct ftp_data {
	bool going;                  /* with what is ready */
	bool settled;                /* removed, or kept for good */
};

/* ---- data connections ---- */

static struct ftp_data *next_data(struct wr_conn **c)
{
	while ((*c = wr_next(*c))) {
		struct ftp_data *d = wr_state(*c);

		if (!d->settled)
			return d;
	}
	return NULL;
}

static void settle_data(struct wr_conn *root, bool going)
{
	struct ftp_data *d;

	for (struct wr_conn *c = root; (d = next_data(&c));)
		d->settled = d->going == going;
}

/* Those that have come go, if all are closed. */
static bool let_data_go(struct wr_conn *root)
{
	struct ftp_data *d;

	for (struct wr_conn *c = root; next_data(&c);) {
		if (!wr_closed(c))
			return false;
	}
	for (struct wr_conn *c = root; (d = next_data(&c));)
		d->going = true;
	return true;
}

/* ---- what is held ---- */

static bool is_marked(const struct ftp_control *f, uint32_t at)
{
	for (unsigned i = 0; i < f->marks; i++) {
		if (f->mark[i] == at)
			return true;
	}
	return at == 0;
}

/* A reply has ended here. */
static void mark_boundary(struct ftp_control *f, struct wr_conn *c)
{
	uint64_t at = wr_written_so_far(c);

	if (at > UINT32_MAX) {
		f->off = true;
		return;
	}
	f->out_at = (uint32_t)at;
	if (is_marked(f, f->out_at) || as_mark(c) < 0)
		return;
	if (f->marks == FTP_MARKS)
		memmove(f->mark, f->mark + 1, --f->marks * sizeof(*f->mark));
	f->mark[f->marks++] = f->out_at;
}

static void drop_held(struct ftp_control *f, enum hold why)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < f->holds; i++) {
		if (f->held[i].why != why)
			f->held[kept++] = f->held[i];
	}
	f->holds = kept;
}

/* What is half done is kept, and the rest of it, when it comes. */
static void keep_all(struct ftp_control *f, struct wr_conn *c)
{
	if ((f->addressed || f->prepared) && !f->transferred)
		f->torn |= TORN_TRANSFER;
	if (f->renaming)
		f->torn |= TORN_RENAME;
	f->addressed = f->prepared = f->renaming = f->transferred = false;
	f->type = XE_FTP_ODD;
	f->holds = f->tries = 0;
	settle_data(c, true);
	settle_data(c, false);
}

static bool joins(const struct held *a, const struct held *b)
{
	return a->why == b->why && a->in_to == b->in_from && a->out_to == b->out_from;
}

static void hold(struct ftp_control *f, struct wr_conn *c, struct held h, enum hold why)
{
	struct held *last = f->holds > 0 ? &f->held[f->holds - 1] : NULL;

	h.why = (uint8_t)why;
	if (last && joins(last, &h)) {
		last->in_to = h.in_to;
		last->out_to = h.out_to;
	} else if (f->holds < FTP_HELD) {
		f->held[f->holds++] = h;
	} else {
		keep_all(f, c);
	}
}

static void turn(struct ftp_control *f, enum hold why, enum hold into)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < f->holds; i++) {
		struct held h = f->held[i];

		if (h.why == why)
			h.why = (uint8_t)into;
		if (kept > 0 && joins(&f->held[kept - 1], &h)) {
			f->held[kept - 1].in_to = h.in_to;
			f->held[kept - 1].out_to = h.out_to;
		} else {
			f->held[kept++] = h;
		}
	}
	f->holds = kept;
}

static void removed_ready(struct ftp_control *f, struct wr_conn *c)
{
	drop_held(f, HOLD_READY);
	settle_data(c, true);
	f->tries = 0;
}

static void forget_ready(struct ftp_control *f, struct wr_conn *c)
{
	if (f->addressed) { /* it may be what this replaced */
		keep_all(f, c);
		return;
	}
	removed_ready(f, c);
	drop_held(f, HOLD_TYPE); /* what is kept may have depended on it */
}

/* 0, -EAGAIN: later perhaps, or -errno. */
static int stage(struct ftp_control *f, struct wr_conn *root)
{
	struct ftp_data *d;
	int rc = 0;

	for (uint8_t i = 0; i < f->holds; i++) {
		const struct held *h = &f->held[i];

		if (h->why != HOLD_READY)
			continue;
		if (!is_marked(f, h->out_from))
			return -EINVAL;
		if (!is_marked(f, h->out_to))
			return h->out_to == f->out_at ? -EAGAIN : -EINVAL;
	}
	for (uint8_t i = 0; i < f->holds && rc == 0; i++) {
		const struct held *h = &f->held[i];

		if (h->why != HOLD_READY)
			continue;
		rc = as_remove_request(root, h->in_from, h->in_to);
		if (rc == 0)
			rc = as_remove_response(root, h->out_from, h->out_to);
	}
	for (struct wr_conn *c = root; rc == 0 && (d = next_data(&c));) {
		if (!d->going)
			continue;
		rc = as_remove_request(c, 0, WR_ALL);
		if (rc == 0)
			rc = as_remove_response(c, 0, WR_ALL);
	}
	return rc == -ENOSPC && ++f->tries < FTP_TRIES ? -EAGAIN : rc;
}

/* Once in a handler: what it removes goes together or not at all. */
static void remove_ready(struct ftp_control *f, struct wr_conn *root)
{
	bool any = false;
	int rc;

	if (f->off || f->renaming || f->prepared)
		return;
	for (uint8_t i = 0; i < f->holds; i++)
		any |= f->held[i].why == HOLD_READY;
	rc = any ? stage(f, root) : -EAGAIN;
	if (rc == 0)
		removed_ready(f, root);
	else if (rc != -EAGAIN)
		forget_ready(f, root);
}

/* ---- transfers ---- */

static bool awaits_abor(const struct ftp_control *f)
{
	return f->count > 0 && f->queue[f->first].verb == XE_FTP_ABOR;
}

static void end_transfer(struct ftp_control *f, struct wr_conn *c)
{
	if (!f->transferred || awaits_abor(f) || !let_data_go(c))
		return;
	turn(f, HOLD_TRANSFER, HOLD_READY);
	f->transferred = f->addressed = f->prepared = false;
}

/* Whether this was the rest of a transfer. */
static bool ends_transfer(struct ftp_control *f, struct wr_conn *c, const struct held *h,
			  uint8_t verb)
{
	bool own = f->transferred && verb == XE_FTP_ABOR;

	if (!f->transferred)
		return false;
	if (own)
		hold(f, c, *h, HOLD_TRANSFER);
	end_transfer(f, c);
	if (f->transferred) { /* its connections belong to nobody else's */
		drop_held(f, HOLD_TRANSFER);
		drop_held(f, HOLD_TYPE);
		settle_data(c, false);
		f->transferred = f->addressed = f->prepared = false;
	}
	return own;
}

/* What there was for the next transfer is replaced. */
static void set_address(struct ftp_control *f, struct wr_conn *c, const struct held *h)
{
	if (f->addressed && !f->prepared && let_data_go(c))
		turn(f, HOLD_TRANSFER, HOLD_READY);
	f->addressed = true;
	hold(f, c, *h, HOLD_TRANSFER);
}

/* ---- judgement ---- */

static bool succeeds(uint16_t code)
{
	return code / 100 == 2;
}

static bool fails(uint16_t code)
{
	return code >= 400;
}

/* It did nothing, but to what there is for the next transfer, perhaps. */
static void judge_refused(struct ftp_control *f, struct wr_conn *c, const struct held *h)
{
	hold(f, c, *h, f->addressed || f->prepared ? HOLD_TRANSFER : HOLD_READY);
}

static void judge_set_up(struct ftp_control *f, struct wr_conn *c, const struct held *h,
			 uint8_t verb, uint16_t code)
{
	if (fails(code)) {
		judge_refused(f, c, h);
	} else if (verb == XE_FTP_PASV   ? code == 227
		   : verb == XE_FTP_EPSV ? code == 229
					 : verb == XE_FTP_PORT && succeeds(code)) {
		set_address(f, c, h);
	} else if (verb == XE_FTP_ALLO && code == 202) {
		hold(f, c, *h, HOLD_READY);
	} else if ((verb == XE_FTP_REST && code == 350) ||
		   (verb == XE_FTP_ALLO && succeeds(code))) {
		f->prepared = true;
		hold(f, c, *h, HOLD_TRANSFER);
	} else if (verb != XE_FTP_EPSV || code != 200) { /* EPSV ALL is kept */
		f->off = true;
	}
}

static void judge_data(struct ftp_control *f, struct wr_conn *c, const struct held *h,
		       uint16_t code)
{
	if (!f->begun && fails(code)) {
		judge_refused(f, c, h);
	} else if (f->begun && (code == 226 || code == 250 || fails(code))) {
		f->transferred = true;
		hold(f, c, *h, HOLD_TRANSFER);
		end_transfer(f, c);
	} else {
		f->off = true;
	}
}

static void judge_type(struct ftp_control *f, struct wr_conn *c, const struct held *h,
		       uint8_t argument, uint16_t code)
{
	if (fails(code) || (succeeds(code) && argument != XE_FTP_ODD && argument == f->type)) {
		hold(f, c, *h, HOLD_READY);
		return;
	}
	turn(f, HOLD_TYPE, f->addressed || f->prepared ? HOLD_TRANSFER : HOLD_READY);
	f->type = argument;
	if (argument != XE_FTP_ODD)
		hold(f, c, *h, HOLD_TYPE);
	if (!succeeds(code))
		f->off = true;
}

static void judge_rename(struct ftp_control *f, struct wr_conn *c, const struct held *h,
			 uint8_t verb, uint16_t code)
{
	if (!fails(code) && (verb == XE_FTP_RNFR ? code != 350 : !succeeds(code))) {
		f->off = true;
		return;
	}
	f->renaming = verb == XE_FTP_RNFR && (f->renaming || code == 350);
	hold(f, c, *h, HOLD_READY);
}

static void judge_other(struct ftp_control *f, struct wr_conn *c, const struct held *h,
			const struct command *cmd, uint16_t code)
{
	bool nothing = fails(code);

	if (cmd->verb == XE_FTP_PASSING)
		nothing |= succeeds(code);
	else if (cmd->verb == XE_FTP_MODE)
		nothing |= succeeds(code); /* the default */
	else if (cmd->verb == XE_FTP_UNKNOWN)
		nothing = code == 500 || code == 502;
	else if (cmd->verb != XE_FTP_DIRECTORY)
		nothing = false;
	if (nothing)
		hold(f, c, *h, HOLD_READY);
	else if (code >= 227 && code <= 229) /* an address of a kind that is not known */
		f->off = true;
}

/* Everything is kept, until what was torn has ended. */
static void judge_torn(struct ftp_control *f, struct wr_conn *c, uint8_t verb)
{
	if (verb == XE_FTP_DATA && f->begun)
		f->torn &= (uint8_t)~TORN_TRANSFER;
	else if (verb >= XE_FTP_PASV && verb <= XE_FTP_ALLO)
		f->torn |= TORN_TRANSFER;
	else if (verb == XE_FTP_RNTO)
		f->torn &= (uint8_t)~TORN_RENAME;
	else if (verb == XE_FTP_RNFR)
		f->torn |= TORN_RENAME;
	settle_data(c, false);
}

static void judge(struct ftp_control *f, struct wr_conn *c, const struct command *cmd,
		  const struct held *h, uint16_t code)
{
	bool foreign = cmd->verb == XE_FTP_FOREIGN ||
		       (cmd->verb == XE_FTP_MODE && cmd->argument != XE_FTP_DEFAULT);

	if (code == 421 || (foreign && !fails(code))) {
		f->off = true;
		return;
	}
	if (f->torn) {
		judge_torn(f, c, cmd->verb);
		return;
	}
	if (ends_transfer(f, c, h, cmd->verb))
		return;
	switch (cmd->verb) {
	case XE_FTP_PASV:
	case XE_FTP_EPSV:
	case XE_FTP_PORT:
	case XE_FTP_REST:
	case XE_FTP_ALLO:
		judge_set_up(f, c, h, cmd->verb, code);
		break;
	case XE_FTP_DATA:
		judge_data(f, c, h, code);
		break;
	case XE_FTP_TYPE:
		judge_type(f, c, h, cmd->argument, code);
		break;
	case XE_FTP_RNFR:
	case XE_FTP_RNTO:
		judge_rename(f, c, h, cmd->verb, code);
		break;
	case XE_FTP_LOGIN:
		f->type = XE_FTP_ODD; /* it may have been reset */
		break;
	case XE_FTP_ABOR:
		judge_refused(f, c, h);
		f->off = !succeeds(code) && !fails(code);
		break;
	case MUDDLED:
		break;
	default:
		judge_other(f, c, h, cmd, code);
	}
}

/* ---- commands ---- */

/* ABOR may be answered before what it came after: all of that is kept. */
static void muddle(struct ftp_control *f, struct wr_conn *c)
{
	keep_all(f, c);
	f->torn |= TORN_TRANSFER;
	for (uint8_t i = 0; i < f->count; i++) {
		struct command *cmd = &f->queue[(f->first + i) % FTP_QUEUE];

		if (cmd->verb == XE_FTP_RNFR)
			f->torn |= TORN_RENAME;
		f->off |= cmd->verb == XE_FTP_FOREIGN || cmd->verb == XE_FTP_MODE;
		cmd->verb = MUDDLED;
	}
}

static void take_command(struct ftp_control *f, struct wr_conn *c, uint32_t from, uint32_t to)
{
	struct command *cmd = &f->queue[(f->first + f->count) % FTP_QUEUE];
	enum xe_ftp_verb verb;
	enum xe_ftp_argument argument;

	if (f->count == FTP_QUEUE || xe_ftp_command(&f->line, &verb, &argument) == XE_FTP_NOT) {
		f->off = true;
		return;
	}
	*cmd = (struct command){from, to, (uint8_t)verb, (uint8_t)argument};
	f->count++;
	if (verb == XE_FTP_ABOR && f->count > 1 &&
	    (f->count > 2 || f->queue[f->first].verb != XE_FTP_DATA))
		muddle(f, c);
}

static void take_commands(struct ftp_control *f, struct wr_conn *c, uint64_t at,
			  const uint8_t *bytes, size_t n)
{
	size_t done = 0, taken;

	if (at + n > UINT32_MAX)
		f->off = true;
	while (!f->off && done < n) {
		enum xe_ftp_event event;

		if (f->line.length == 0)
			f->line_from = (uint32_t)(at + done);
		event = xe_ftp_take_line(&f->line, bytes + done, n - done, &taken);
		done += taken;
		if (event == XE_FTP_NOT)
			f->off = true;
		if (event != XE_FTP_END)
			continue;
		take_command(f, c, f->line_from, (uint32_t)(at + done));
		memset(&f->line, 0, sizeof(f->line));
	}
}

static long read_request(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	uint64_t at = wr_read_so_far(c);
	long got = cn_read_request(call);

	(void)context;
	if (got > 0 && wr_root(c) == c)
		take_commands(wr_state(c), c, at, wr_bytes(call), (size_t)got);
	return got;
}

/* ---- replies ---- */

static void take_reply(struct ftp_control *f, struct wr_conn *c, uint16_t code)
{
	const struct command cmd = f->queue[f->first];
	struct held h = {cmd.from, cmd.to, f->out_at, 0, 0};

	if (f->greeted && f->count == 0) { /* nobody asked */
		f->off = true;
		return;
	}
	if (code < 200) {
		f->begun |= f->greeted;
		return;
	}
	mark_boundary(f, c);
	if (!f->greeted) {
		f->greeted = true;
		f->off |= code != 220;
		return;
	}
	h.out_to = f->out_at;
	f->first = (uint8_t)((f->first + 1u) % FTP_QUEUE);
	f->count--;
	judge(f, c, &cmd, &h, code);
	f->begun = false;
}

/* Up to the end of a reply, if there is one. */
static long write_some(struct wr_call *call, const uint8_t *bytes, size_t n)
{
	struct wr_conn *c = wr_connection(call);
	struct ftp_control *f = wr_state(c);
	struct xe_ftp_reply ahead = f->reply;
	size_t piece = n;
	enum xe_ftp_event event = XE_FTP_MORE;
	long took;

	if (!f->off)
		event = xe_ftp_take_reply(&ahead, bytes, n, &piece);
	took = cn_write_response(call, piece);
	if (took < 0 || f->off)
		return took;
	if ((size_t)took < piece)
		event = xe_ftp_take_reply(&f->reply, bytes, (size_t)took, &piece);
	else
		f->reply = ahead;
	if (event == XE_FTP_NOT)
		f->off = true;
	else if (event == XE_FTP_END)
		take_reply(f, c, f->reply.code);
	return took;
}

static long write_response(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	const uint8_t *bytes = wr_bytes(call);
	size_t n = wr_length(call), done = 0;
	long took = 0;

	(void)context;
	if (wr_root(c) != c)
		return cn_write_response(call, n);
	while (done < n) {
		took = write_some(call, bytes + done, n - done);
		if (took <= 0)
			break;
		done += (size_t)took;
	}
	remove_ready(wr_state(c), c);
	return done > 0 || took >= 0 ? (long)done : took;
}

/* ---- ends ---- */

static long close_data(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call), *root = wr_root(c);

	(void)context;
	wr_close(call);
	if (root != c) {
		struct ftp_control *f = wr_state(root);

		end_transfer(f, root);
		remove_ready(f, root);
	}
	return 0;
}

int xe_profile_ftp(struct wr *w)
{
	int rc = wr_ins_nsw(w, WR_CLIENT_SIDE, WR_READ, read_request, NULL);

	if (rc == 0)
		rc = wr_ins_nsw(w, WR_CLIENT_SIDE, WR_WRITE, write_response, NULL);
	if (rc == 0)
		rc = wr_ins_nsw(w, WR_CLIENT_SIDE, WR_CLOSE, close_data, NULL);
	if (rc == 0)
		rc = wr_ins_nsw(w, WR_SERVER_SIDE, WR_CLOSE, close_data, NULL);
	if (rc)
		return rc;
	wr_sessions(w);
	return wr_plain(w);
}
