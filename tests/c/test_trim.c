/* The south-side wrapper's half of removals: when they take effect, what they free, and that the
 * output check goes on without what was removed.
 */
#include "ssw_fix.h"

static uint32_t next_block;

static struct xe_log_cut cut(const struct line *l, uint32_t kind, uint64_t from, uint64_t to)
{
	struct xe_log_slot *s = slot(l);

	return (struct xe_log_cut){.slot = (uint32_t)(conn(l) - f.s->conn),
				   .incarnation = s->incarnation,
				   .kind = kind,
				   .from = from,
				   .to = to};
}

/* As NSW does it: the block, its index, then the count. */
static struct xe_log_removal *removal(const struct line *root, const struct xe_log_cut *cuts,
				      uint32_t n)
{
	struct xe_log_slot *s = slot(root);
	uint32_t removals = XE_LOG_LOAD(s->removals);
	uint32_t block = next_block++ % f.log.record_blocks;
	struct xe_log_removal *r = (void *)xe_log_records(&f.log, block);

	memset(r, 0, sizeof(*r));
	r->cuts = n;
	memcpy(r->cut, cuts, n * sizeof(*cuts));
	s->removal[removals % XE_LOG_REMOVALS] = block;
	XE_LOG_COMMIT(s->removals, removals + 1);
	return r;
}

static void remove_one(const struct line *root, struct xe_log_cut c)
{
	removal(root, &c, 1);
}

static void mark(const struct line *l, uint64_t at)
{
	struct xe_log_slot *s = slot(l);
	uint64_t marks = XE_LOG_LOAD(s->marks);

	s->mark[marks % XE_LOG_MARKS] = at;
	XE_LOG_COMMIT(s->marks, marks + 1);
}

static uint32_t removed(const struct line *root)
{
	xe_assert(conn(root)->removed == XE_LOG_LOAD(slot(root)->removed));
	return conn(root)->removed;
}

static struct line open_root(void)
{
	struct line root = client_line(PORT, CLIENT_PORT);

	accept_line(&root);
	name_root(&root, &root);
	return root;
}

/* The CRC of the line's bytes of [from, to). */
static uint32_t crc_of(const struct line *l, uint32_t crc, uint64_t from, uint64_t to)
{
	for (; from < to; from++) {
		uint8_t b = byte_of(l, from);

		crc = xe_crc32c(crc, &b, 1);
	}
	return crc;
}

/* ---- output ---- */

static void test_output(void)
{
	struct line l = open_root();

	receive(&l, 0, 100, 0);
	mark(&l, 0);
	xe_assert(out(&l, XE_ACK, 0, 100, 300) == XE_PASS);
	mark(&l, 300);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 0, 300));
	xe_assert(in(&l, XE_ACK, 100, 299, 0) == XE_PASS); /* not all of it */
	drain();
	xe_assert(removed(&l) == 0 && conn(&l)->out_kept == 299);
	xe_assert(in(&l, XE_ACK, 100, 300, 0) == XE_PASS);
	drain();
	xe_assert(removed(&l) == 1 && conn(&l)->out_kept == 0 && conn(&l)->out_crc == 0);
	respond(&l, 300, 200);
	xe_ssw_detach(f.s, f.now);
	xe_ssw_replay(f.s, f.now);
	drain();
	l.guest_isn = 5000;
	l.guest_base = 500;
	xe_assert(out_synack(&l, l.peer_isn + 101) == XE_DROP);
	xe_assert(slot(&l)->drop_line == 500 && slot(&l)->drop_crc == crc_of(&l, 0, 300, 500));
}

/* A cut that begins and ends at marks that have other cuts behind them, and between them. */
static void test_cuts_in_any_order(void)
{
	struct line l = open_root();

	for (uint64_t at = 0; at < 700; at += 100) {
		mark(&l, at);
		respond(&l, at, 100);
	}
	mark(&l, 700);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 500, 600));
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 100, 200));
	remove_one(&l, cut(&l, XE_CUT_BLIND, 300, 400));
	respond(&l, 700, 1);
	drain();
	xe_assert(removed(&l) == 3 && conn(&l)->out_kept == 401);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 200, 600)); /* around two that are gone */
	respond(&l, 701, 1);
	drain();
	xe_assert(removed(&l) == 4 && conn(&l)->out_kept == 202);
	xe_assert(conn(&l)->out_crc == crc_of(&l, crc_of(&l, 0, 0, 100), 600, 702));
}

/* Against the CRC of what a list of bytes keeps. */
static void test_random_output(void)
{
	enum { MOST = 6000 };
	static bool gone[MOST];
	struct line l = open_root();
	struct xe_rng rng = {11};
	uint64_t marks[XE_SSW_MARKS + 1] = {0}, at = 0;
	uint32_t n = 1, cuts = 0;

	memset(gone, 0, sizeof(gone));
	while (at + 200 < MOST) {
		size_t bytes = 1 + xe_rng_below(&rng, 120);
		uint32_t crc = 0;

		respond(&l, at, bytes);
		at += bytes;
		mark(&l, at);
		memmove(marks + (n > 5), marks + 2 * (n > 5), sizeof(*marks) * (n - 1 - (n > 5)));
		n -= n > 5;
		marks[n++] = at;
		if (n > 2 && xe_rng_below(&rng, 2)) {
			uint32_t a = (uint32_t)xe_rng_below(&rng, n - 1);
			uint32_t b = a + 1 + (uint32_t)xe_rng_below(&rng, n - 1 - a);

			remove_one(&l, cut(&l, XE_CUT_OUTPUT, marks[a], marks[b]));
			memset(gone + marks[a], 1, marks[b] - marks[a]);
			for (uint32_t i = b - 1; i > a; i--, n--) /* marks inside are none now */
				memmove(marks + i, marks + i + 1, sizeof(*marks) * (n - 1 - i));
			cuts++;
		}
		respond(&l, at, 1);
		at++;
		drain();
		xe_assert(removed(&l) == cuts);
		for (uint64_t i = 0; i < at; i++)
			crc = gone[i] ? crc : crc_of(&l, crc, i, i + 1);
		xe_assert(conn(&l)->out_crc == crc);
	}
	xe_assert(cuts > 20);
}

/* ---- input ---- */

/* What a reader of the mapped log finds at `at`; false: no block has it. */
static bool logged(const struct line *l, uint64_t at)
{
	const struct xe_log_slot *s = slot(l);
	uint64_t base = s->first_base;

	for (uint32_t b = s->first_block; b != XE_LOG_NONE; b = *xe_log_block_link(&f.log, b)) {
		xe_assert(b < f.log.blocks);
		if (at >= base && at < base + XE_LOG_BLOCK) {
			xe_assert(xe_log_block(&f.log, b)[at - base] == byte_of(l, at));
			return true;
		}
		base += XE_LOG_BLOCK;
		if (base == s->hole_from && s->hole_to > base)
			base = s->hole_to;
	}
	return false;
}

static void receive_many(const struct line *l, uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t n = to - from < 1000 ? (size_t)(to - from) : 1000;

		receive(l, from, n, conn(l)->peer_acked);
		from += n;
	}
}

/* A keep-alive connection: a request, its answer, and both go. */
static void test_pairs(void)
{
	struct line l = open_root();
	uint64_t in_at = 0, out_at = 0;

	for (int i = 0; i < 1000; i++) {
		struct xe_log_cut cuts[2];

		receive(&l, in_at, 700, out_at);
		mark(&l, out_at);
		respond(&l, out_at, 90);
		mark(&l, out_at + 90);
		cuts[0] = cut(&l, XE_CUT_INPUT, in_at, in_at + 700);
		cuts[1] = cut(&l, XE_CUT_OUTPUT, out_at, out_at + 90);
		removal(&l, cuts, 2);
		drain();
		in_at += 700;
		out_at += 90;
	}
	respond(&l, out_at, 5);
	drain();
	xe_assert(removed(&l) == 1000 && conn(&l)->stream.blocks <= 2);
	xe_assert(conn(&l)->out_crc == crc_of(&l, 0, out_at, out_at + 5));
	receive(&l, in_at, 600, out_at + 5);
	for (uint64_t at = in_at; at < in_at + 600; at++)
		xe_assert(logged(&l, at));
}

/* Input is gone from the beginning on as soon as all before it is, whatever came first. */
static void test_beginning_last(void)
{
	enum { PIECE = 20000 };
	struct line l = open_root();

	receive_many(&l, 0, 5 * PIECE);
	for (int i = 3; i > 0; i--)
		remove_one(&l,
			   cut(&l, XE_CUT_INPUT, (uint64_t)i * PIECE, (uint64_t)(i + 1) * PIECE));
	respond(&l, 0, 1);
	drain();
	xe_assert(removed(&l) == 3 && logged(&l, PIECE - 1) && logged(&l, 4 * PIECE));
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, PIECE));
	respond(&l, 1, 1);
	drain();
	xe_assert(removed(&l) == 4 && !logged(&l, 0) && logged(&l, 4 * PIECE));
	xe_assert(slot(&l)->first_base == 4 * PIECE / XE_LOG_BLOCK * XE_LOG_BLOCK);
	xe_assert(slot(&l)->hole_from == slot(&l)->hole_to);
}

/* The head of a response is kept, its body is not, until it is removed as a whole. */
static void test_filler(void)
{
	enum { HEAD = 500, BODY = 300000 };
	struct line l = open_root();
	uint32_t most = 0;

	receive_many(&l, 0, HEAD);
	for (uint64_t at = HEAD; at < BODY; at += 15000) {
		receive_many(&l, at, at + 15000);
		remove_one(&l, cut(&l, XE_CUT_FILLER, at, at + 15000));
		respond(&l, conn(&l)->sent_max, 10);
		drain();
		most = conn(&l)->stream.blocks > most ? conn(&l)->stream.blocks : most;
	}
	xe_assert(most <= 4);
	receive_many(&l, BODY + HEAD, BODY + HEAD + 40000);
	for (uint64_t at = 0; at < HEAD; at++)
		xe_assert(logged(&l, at));
	for (uint64_t at = BODY + HEAD; at < BODY + HEAD + 40000; at++)
		xe_assert(logged(&l, at));
	xe_assert(!logged(&l, 100000) && slot(&l)->hole_to > slot(&l)->hole_from);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, BODY + HEAD + 20000));
	respond(&l, conn(&l)->sent_max, 10);
	drain();
	xe_assert(!logged(&l, 0) && logged(&l, BODY + HEAD + 20000));
	xe_assert(slot(&l)->hole_from == slot(&l)->hole_to && conn(&l)->stream.blocks <= 3);
	/* what the next kernel finds is from the VMM's memory */
	memset(&slot(&l)->first_base, 0xee, 24);
	xe_ssw_detach(f.s, f.now);
	xe_assert(logged(&l, BODY + HEAD + 30000));
}

/* What TCP has not acked may come again, and is then read from the log. */
static void test_not_acked(void)
{
	struct line l = open_root();

	receive_many(&l, 0, 40000);
	xe_assert(in(&l, XE_ACK, 40000, 0, 1000) == XE_PASS); /* TCP keeps its ack back */
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 41000));
	respond(&l, 0, 1); /* acks it, but too late for that ack */
	drain();
	xe_assert(removed(&l) == 1 && conn(&l)->ack_sent == 41000);
	xe_assert(in(&l, XE_ACK, 41000, 1, 1000) == XE_PASS);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 41000, 42000));
	xe_assert(in(&l, XE_ACK, 41000, 1, 1000) == XE_PASS);
	xe_ssw_due(f.s, conn(&l), XE_DUE_TRIM);
	drain();
	xe_assert(removed(&l) == 1);
	xe_assert(in(&l, XE_ACK, 40000, 1, 2000) == XE_PASS); /* across what is gone */
}

/* ---- when ---- */

static void test_all_or_nothing(void)
{
	struct line l = open_root();
	struct xe_log_cut cuts[2];

	receive_many(&l, 0, 40000);
	cuts[0] = cut(&l, XE_CUT_INPUT, 0, 40000);
	cuts[1] = cut(&l, XE_CUT_OUTPUT, 0, 100);
	xe_assert(out(&l, XE_ACK, 0, 40000, 100) == XE_PASS);
	mark(&l, 100);
	removal(&l, cuts, 2);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 1)); /* in turn */
	xe_assert(in(&l, XE_ACK, 40000, 50, 0) == XE_PASS);
	drain();
	xe_assert(removed(&l) == 0 && conn(&l)->stream.blocks == 3);
	xe_assert(in(&l, XE_ACK, 40000, 100, 0) == XE_PASS);
	drain();
	xe_assert(removed(&l) == 2 && conn(&l)->stream.blocks == 1);
}

static void test_whole(void)
{
	struct line root = open_root(), data = client_line(30000, CLIENT_PORT + 1);
	struct xe_conn *ghost;

	name_port(30000, WR_PROFILE_FTP);
	accept_line(&data);
	name_root(&data, &root);
	receive_many(&data, 0, 50000);
	ghost = conn(&data);
	remove_one(&root, cut(&data, XE_CUT_WHOLE, 0, 0));
	respond(&root, 0, 10);
	drain();
	xe_assert(removed(&root) == 0 && ghost->state == XE_CONN_ESTABLISHED);
	finish(&data, 50000, 0); /* no further ack is needed */
	xe_assert(ghost->state == XE_CONN_GHOST);
	drain();
	xe_assert(removed(&root) == 1 && ghost->state == XE_CONN_TOMBSTONE);
	xe_assert(ghost->stream.blocks == 0 && slot(&data)->state == XE_LOG_FREE);
	/* of one that is no more, nothing is to be removed: that is no obstacle */
	remove_one(&root, cut(&data, XE_CUT_WHOLE, 0, 0));
	respond(&root, 10, 10);
	drain();
	xe_assert(removed(&root) == 2);
}

static void fake(struct line *l, uint32_t isn)
{
	drain();
	l->guest_isn = isn;
	l->guest_base = conn(l)->peer_acked;
	l->own_ts += 1000;
	xe_assert(out_synack(l, l->peer_isn + 1 + (uint32_t)conn(l)->fake_line) == XE_DROP);
	drain();
}

static void test_at_the_fault(void)
{
	struct line l = open_root();

	receive_many(&l, 0, 40000);
	xe_assert(out(&l, XE_ACK, 0, 40000, 100) == XE_PASS);
	mark(&l, 100);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 0, 100));
	xe_ssw_detach(f.s, f.now);
	xe_assert(in(&l, XE_ACK, 40000, 100, 0) == XE_DROP); /* heard during the switch */
	drain();
	xe_assert(removed(&l) == 0); /* the new kernel has not been told to go by it */
	xe_ssw_replay(f.s, f.now);
	xe_assert(removed(&l) == 1);
	xe_ssw_detach(f.s, f.now);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 40000));
	xe_ssw_replay(f.s, f.now);
	xe_assert(removed(&l) == 2 && conn(&l)->stream.blocks == 1);
	fake(&l, 5000);
	xe_assert(slot(&l)->drop_line == 100 && slot(&l)->drop_crc == 0);
	/* what the old kernel wanted is not done any more */
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 40000));
	respond(&l, 100, 10);
	drain();
	xe_assert(removed(&l) == 2);
	name_root(&l, &l);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 40000));
	respond(&l, 110, 10);
	drain();
	xe_assert(removed(&l) == 3);
}

/* What the peer acks right after the fault was done: it is waited for, but not for ever. */
static void under_way_at_the_fault(bool acked)
{
	struct line l = open_root();
	uint64_t fakes;

	receive_many(&l, 0, 40000);
	xe_assert(out(&l, XE_ACK, 0, 40000, 100) == XE_PASS);
	mark(&l, 100);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 0, 100));
	xe_ssw_detach(f.s, f.now);
	xe_ssw_replay(f.s, f.now);
	fakes = xe_ssw_counters(f.s)->fake_syns;
	drain();
	xe_assert(removed(&l) == 0 && xe_ssw_counters(f.s)->fake_syns == fakes);
	xe_assert(xe_ssw_poll_at(f.s) <= f.now + XE_SSW_RETRY);
	if (acked)
		xe_assert(in(&l, XE_ACK, 40000, 100, 0) == XE_DROP);
	f.now += acked ? XE_SSW_RETRY : XE_SSW_HEAR;
	drain();
	xe_assert(removed(&l) == acked && xe_ssw_counters(f.s)->fake_syns == fakes + 1);
	fake(&l, 5000);
	xe_assert(slot(&l)->drop_line == (acked ? 100 : 0));
}

static void test_acked_late(void)
{
	under_way_at_the_fault(true);
}

static void test_never_acked(void)
{
	under_way_at_the_fault(false);
}

/* A replay sets the marks again: those that were passed before the fault are known. */
static void test_marks_again(void)
{
	struct line l = open_root();

	for (uint64_t at = 0; at < 400; at += 100) {
		mark(&l, at);
		respond(&l, at, 100);
	}
	respond(&l, 400, 50);
	xe_ssw_detach(f.s, f.now);
	xe_ssw_replay(f.s, f.now);
	fake(&l, 5000);
	name_root(&l, &l);
	for (uint64_t at = 0; at <= 400; at += 100)
		mark(&l, at);
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 100, 300));
	respond(&l, 450, 50);
	drain();
	xe_assert(removed(&l) == 1);
	xe_assert(conn(&l)->out_crc == crc_of(&l, crc_of(&l, 0, 0, 100), 300, 500));
	remove_one(&l, cut(&l, XE_CUT_OUTPUT, 0, 450)); /* that is no mark */
	respond(&l, 500, 50);
	drain();
	xe_assert(removed(&l) == 1 && xe_ssw_counters(f.s)->removals_refused > 0);
}

static void test_not_in_a_trial(void)
{
	struct line l = open_root(), old;

	receive_many(&l, 0, 40000);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 40000));
	xe_assert(xe_ssw_try(f.s, f.now) == 0);
	xe_ssw_replay(f.s, f.now);
	old = l;
	fake(&l, 5000);
	xe_assert(removed(&l) == 0);
	slot(&l)->nsw_generation = generation();
	xe_ssw_due(f.s, conn(&l), XE_DUE_TRIM);
	drain();
	xe_assert(removed(&l) == 0 && conn(&l)->stream.blocks == 3);
	xe_ssw_roll_back(f.s, f.now);
	drain();
	xe_assert(out(&old, XE_ACK, 0, 40000, 10) == XE_PASS);
	xe_assert(in(&l, XE_ACK, 40000, 10, 0) == XE_PASS);
	drain();
	xe_assert(removed(&l) == 1 && conn(&l)->stream.blocks == 1);
}

/* A full log: what may go does, before anybody loses its protection. */
static void test_relief(void)
{
	struct line l = open_root();

	receive_many(&l, 0, 100000);
	remove_one(&l, cut(&l, XE_CUT_INPUT, 0, 90000));
	f.s->pool.free_count = 0;
	xe_ssw_starve(f.s, f.now);
	f.now += XE_SSW_STARVE;
	drain();
	xe_assert(removed(&l) == 1 && f.s->pool.free_count == 5 && !conn(&l)->unprotected);
}

/* ---- a guest that lies about it ---- */

/* Not done, and nothing after it. */
static void expect_stuck(const struct line *root)
{
	uint64_t before = xe_ssw_counters(f.s)->removals_refused;
	struct xe_conn *c = conn(root), was;

	remove_one(root, cut(root, XE_CUT_INPUT, 0, 10));
	was = *c;
	xe_ssw_trim_all(f.s, false, f.now);
	xe_assert(memcmp(&was, c, sizeof(was)) == 0);
	xe_assert(xe_ssw_counters(f.s)->removals_refused > before);
	XE_LOG_COMMIT(slot(root)->removals, c->removed); /* as the next kernel does */
}

static void test_refused(void)
{
	struct line root = open_root(), other = client_line(PORT, CLIENT_PORT + 1);
	struct xe_log_cut c;

	accept_line(&other);
	name_root(&other, &other);
	receive_many(&root, 0, 40000);
	receive_many(&other, 0, 40000);
	respond(&root, 0, 100);
	remove_one(&root, cut(&other, XE_CUT_INPUT, 0, 10)); /* of another session */
	expect_stuck(&root);
	remove_one(&root, cut(&root, XE_CUT_WHOLE, 0, UINT64_MAX));
	expect_stuck(&root);
	remove_one(&root, cut(&root, XE_CUT_INPUT, 10, 10));
	expect_stuck(&root);
	remove_one(&root, cut(&root, 6, 0, 10));
	expect_stuck(&root);
	remove_one(&root, cut(&root, XE_CUT_OUTPUT, 10, 20)); /* no marks */
	expect_stuck(&root);
	c = cut(&root, XE_CUT_INPUT, 0, 10);
	c.slot = f.log.slots;
	remove_one(&root, c);
	expect_stuck(&root);
	removal(&root, &c, 1)->cuts = XE_LOG_CUTS + 1;
	expect_stuck(&root);
	remove_one(&root, c);
	slot(&root)->removal[conn(&root)->removed % XE_LOG_REMOVALS] = f.log.record_blocks;
	expect_stuck(&root);
	XE_LOG_COMMIT(slot(&root)->removals, conn(&root)->removed + XE_LOG_REMOVALS + 1);
	xe_ssw_trim_all(f.s, false, f.now);
	xe_assert(removed(&root) == 0);
}

/* Anything at all in NSW's half: SSW goes on, and its own state stays in order. */
static void test_garbage(void)
{
	struct line root = open_root(), data = client_line(30000, CLIENT_PORT + 1);
	struct xe_rng rng = {23};
	uint64_t in_at = 0, out_at = 0;

	name_port(30000, WR_PROFILE_FTP);
	accept_line(&data);
	name_root(&data, &root);
	for (int i = 0; i < 20000; i++) {
		struct line *l = xe_rng_below(&rng, 2) ? &root : &data;
		struct xe_log_cut cuts[XE_LOG_CUTS];
		uint32_t n = (uint32_t)xe_rng_below(&rng, 4);

		if (l == &root) {
			receive(l, in_at, 300, out_at);
			in_at += 300;
			respond(l, out_at, 50);
			out_at += 50;
		}
		for (int k = 0; k < 3; k++)
			mark(&root,
			     xe_rng_below(&rng, 3) ? out_at + 50 * (uint64_t)k : xe_rng_next(&rng));
		for (uint32_t k = 0; k < n; k++) {
			uint64_t top = xe_rng_below(&rng, 20) ? in_at + 100 : UINT64_MAX;

			cuts[k] = cut(l, (uint32_t)xe_rng_below(&rng, 7), xe_rng_below(&rng, top),
				      xe_rng_below(&rng, top));
			if (cuts[k].kind == XE_CUT_OUTPUT || cuts[k].kind == XE_CUT_BLIND) {
				cuts[k].from = out_at - 50 * xe_rng_below(&rng, out_at / 50 + 1);
				cuts[k].to = out_at + 50 * xe_rng_below(&rng, 2);
			}
			if (cuts[k].kind == XE_CUT_WHOLE && xe_rng_below(&rng, 50))
				cuts[k].kind = XE_CUT_INPUT;
			if (!xe_rng_below(&rng, 30))
				cuts[k].slot = (uint32_t)xe_rng_next(&rng);
		}
		removal(&root, cuts, n);
		if (xe_rng_below(&rng, 3) == 0) /* what is stuck is taken back */
			XE_LOG_COMMIT(slot(&root)->removals, conn(&root)->removed);
		drain();
		xe_assert(conn(&root)->out_kept <= conn(&root)->crc_at);
		xe_assert(conn(&root)->marks <= XE_SSW_MARKS && conn(&root)->gones <= XE_SSW_GONE);
		if (in_at > 1000000) { /* the log is not that large */
			struct xe_log_cut all = cut(&root, XE_CUT_INPUT, 0, in_at);

			XE_LOG_COMMIT(slot(&root)->removals, conn(&root)->removed);
			removal(&root, &all, 1);
			receive(&root, in_at, 1, out_at);
			in_at++;
			respond(&root, out_at, 50);
			out_at += 50;
			drain();
			xe_assert(conn(&root)->stream.blocks <= 2);
		}
	}
	xe_assert(xe_ssw_counters(f.s)->removals > 1000);
	xe_assert(xe_ssw_counters(f.s)->removals_refused > 100);
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"output", test_output},
	{"cuts_in_any_order", test_cuts_in_any_order},
	{"random_output", test_random_output},
	{"pairs", test_pairs},
	{"beginning_last", test_beginning_last},
	{"filler", test_filler},
	{"not_acked", test_not_acked},
	{"all_or_nothing", test_all_or_nothing},
	{"whole", test_whole},
	{"at_the_fault", test_at_the_fault},
	{"acked_late", test_acked_late},
	{"never_acked", test_never_acked},
	{"marks_again", test_marks_again},
	{"not_in_a_trial", test_not_in_a_trial},
	{"relief", test_relief},
	{"refused", test_refused},
	{"garbage", test_garbage},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		fprintf(stderr, "%s\n", tests[i].name);
		next_block = 0;
		open_fix();
		tests[i].run();
		close_fix();
	}
	return 0;
}
