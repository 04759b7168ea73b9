/* Trials, rule by rule: a TCP is tried while the old one waits, and is accepted or sent away. Crafted
 * packets, the south-side wrapper, and where it matters the north-side wrapper of the new kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/nsw.h"
#include "net/ssw_internal.h"
#include "plain.h"

enum { SERVER = 0x0a000001, CLIENT = 0x0a000101, PORT = 80, PEER_PORT = 4000, BYTES = 4096 };
enum { WINDOW = 8000, SMALL = 2000 };

/* The numbers of one TCP of the guest. */
struct tcp {
	uint32_t isn, ts;
	uint64_t base; /* offset of its first byte */
	uint16_t window;
};

struct world {
	struct xe_ssw *s;
	struct xe_log log;
	uint8_t *extent;
	xe_ns now;
	uint32_t peer_isn, own_isn, peer_ts;
	uint16_t peer_port;
	struct tcp old, new;
	struct tcp *tcp; /* who speaks */
	uint8_t buf[2048];
	size_t len;
	struct xe_packet p;
	struct xe_nsw nsw;
	struct wr_conn *c;
};

static struct world w;
static uint32_t opt_isn;
static uint8_t bytes[BYTES];

static void open_world(void)
{
	memset(&w, 0, sizeof(w));
	w.extent = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
	xe_assert(w.extent && xe_ssw_create(&w.s, &w.extent, 1) == 0);
	xe_assert(xe_log_open(&w.log, &w.extent, 1) == 0);
	protect_plain(w.s, PORT);
	w.now = XE_SECOND;
	w.peer_isn = opt_isn + 77;
	w.own_isn = opt_isn;
	w.peer_ts = 0xfffffff0;
	w.peer_port = PEER_PORT;
	w.old = (struct tcp){.isn = w.own_isn, .ts = 0xffffff00, .window = SMALL};
	w.new = (struct tcp){.isn = 123456, .ts = 777, .window = WINDOW};
	w.tcp = &w.old;
}

static void close_world(void)
{
	xe_nsw_detach(&w.nsw);
	xe_ssw_destroy(w.s);
	xe_log_close(&w.log);
	free(w.extent);
}

static struct xe_conn *conn(void)
{
	return xe_ssw_find(w.s, SERVER, PORT, CLIENT, w.peer_port);
}

static struct xe_log_slot *slot(void)
{
	return xe_conn_slot(w.s, conn());
}

/* ---- packets ---- */

static enum xe_verdict send(bool in, uint8_t flags, uint32_t seq, uint32_t ack, size_t from,
			    size_t n)
{
	struct xe_segment g = {.saddr = CLIENT, .daddr = SERVER, .sport = w.peer_port};
	enum xe_verdict v;

	g.dport = PORT;
	g.opt.tsval = w.peer_ts;
	g.window = WINDOW;
	if (!in) {
		g = (struct xe_segment){.saddr = SERVER, .daddr = CLIENT, .sport = PORT};
		g.dport = w.peer_port;
		g.opt.tsval = w.tcp->ts;
		g.opt.tsecr = w.peer_ts;
		g.window = w.tcp->window;
	}
	g.flags = flags;
	g.seq = seq;
	g.ack = ack;
	g.opt.has_ts = true;
	g.opt.mss = flags & XE_SYN ? 1460 : 0;
	w.len = xe_wire_build(w.buf, sizeof(w.buf), &g, bytes + from, n);
	v = in ? xe_ssw_ingress(w.s, w.buf, w.len, w.now) : xe_ssw_egress(w.s, w.buf, w.len, w.now);
	if (v == XE_PASS)
		xe_assert(xe_wire_parse(&w.p, w.buf, w.len, true) == 0);
	return v;
}

/* In offsets of both streams. */
static enum xe_verdict in(uint8_t flags, uint64_t seq, uint64_t ack, size_t n)
{
	return send(true, flags, w.peer_isn + 1 + (uint32_t)seq, w.own_isn + 1 + (uint32_t)ack, seq,
		    n);
}

static uint32_t guest_seq(const struct tcp *t, uint64_t offset)
{
	return t->isn + 1 + (uint32_t)(offset - t->base);
}

static enum xe_verdict out(uint8_t flags, uint64_t seq, uint64_t ack, size_t n)
{
	return send(false, flags, guest_seq(w.tcp, seq), w.peer_isn + 1 + (uint32_t)ack, seq, n);
}

static void expect_out(uint64_t seq, uint64_t ack)
{
	xe_assert(w.p.seg.seq == w.own_isn + 1 + (uint32_t)seq);
	xe_assert(w.p.seg.ack == w.peer_isn + 1 + (uint32_t)ack);
}

/* What the guest's TCP gets: of the peer's stream from `seq`, with its own numbers acked. */
static void expect_in(const struct tcp *t, uint64_t seq, uint64_t ack)
{
	xe_assert(w.p.seg.seq == w.peer_isn + 1 + (uint32_t)seq);
	xe_assert(w.p.seg.ack == guest_seq(t, ack));
}

static bool next(enum xe_direction *to)
{
	w.len = xe_ssw_dispatch(w.s, w.buf, sizeof(w.buf), to, w.now);
	return w.len > 0 && xe_wire_parse(&w.p, w.buf, w.len, true) == 0;
}

static void expect(enum xe_direction to, uint8_t flags, size_t n)
{
	enum xe_direction got;

	xe_assert(next(&got) && got == to && w.p.seg.flags == flags && w.p.payload_len == n);
}

static void expect_quiet(void)
{
	enum xe_direction to;

	xe_assert(!next(&to));
}

/* A bit for each kind of event. */
static uint32_t events(void)
{
	struct xe_ssw_event e;
	uint32_t kinds = 0;

	while (xe_ssw_next_event(w.s, &e))
		kinds |= 1u << e.kind;
	return kinds;
}

/* ---- the old TCP, and the new one ---- */

static void half_open(void)
{
	xe_assert(send(true, XE_SYN, w.peer_isn, 0, 0, 0) == XE_PASS);
	xe_assert(send(false, XE_SYN | XE_ACK, w.own_isn, w.peer_isn + 1, 0, 0) == XE_PASS);
}

/* The peer has sent and got `n` bytes, and acked all but the last 100. */
static void transfer(uint64_t n)
{
	for (uint64_t at = 0; at < n; at += 1000) {
		size_t run = n - at < 1000 ? (size_t)(n - at) : 1000;

		xe_assert(in(XE_ACK, at, at < 100 ? 0 : at - 100, run) == XE_PASS);
		xe_assert(out(XE_ACK, at, at + run, run) == XE_PASS);
	}
	xe_assert(in(XE_ACK, n, n - 100, 0) == XE_PASS);
}

static void serve(uint32_t flags)
{
	slot()->nsw_incarnation = slot()->incarnation;
	slot()->nsw_generation = XE_LOG_LOAD(xe_log_head(&w.log)->generation);
	slot()->nsw_close_at = conn()->sent_max;
	atomic_store(&slot()->nsw_flags, XE_LOG_ACCEPTED | flags);
}

static void begin(uint64_t n)
{
	half_open();
	xe_assert(in(XE_ACK, 0, 0, 0) == XE_PASS);
	transfer(n);
	serve(0);
}

/* The new TCP answers the fake SYN; the wrapper's own packets follow. */
static void answer(void)
{
	w.tcp = &w.new;
	w.new.base = conn()->peer_acked;
	expect(XE_TO_GUEST, XE_SYN, 0);
	xe_assert(send(false, XE_SYN | XE_ACK, w.new.isn, w.p.seg.seq + 1, 0, 0) == XE_DROP);
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect(XE_TO_NETWORK, XE_ACK, 0);
}

static void try(void)
{
	xe_assert(xe_ssw_try(w.s, w.now) == 0 && xe_ssw_trying(w.s));
	xe_ssw_replay(w.s, w.now);
	answer();
}

static void roll_back(void)
{
	xe_ssw_roll_back(w.s, w.now);
	xe_assert(!xe_ssw_trying(w.s));
	w.tcp = &w.old;
}

static void accept(void)
{
	xe_ssw_accept(w.s, w.now);
	xe_assert(!xe_ssw_trying(w.s));
}

/* ---- when there is none ---- */

static void test_refused(void)
{
	begin(500);
	try();
	xe_assert(xe_ssw_try(w.s, w.now) == -EBUSY);
	accept();
	xe_assert(xe_ssw_try(w.s, w.now) == -EAGAIN); /* what is in flight is not compared yet */
	serve(XE_LOG_REPLAYED); /* ... but it is, by the service */
	xe_assert(xe_ssw_try(w.s, w.now) == 0);
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	xe_ssw_detach(w.s, w.now);
	xe_assert(xe_ssw_try(w.s, w.now) == -EBUSY);
	xe_ssw_replay(w.s, w.now);
	xe_assert(xe_ssw_try(w.s, w.now) == -EBUSY);
	w.new.isn += 5000;
	answer();
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	xe_ssw_unprotect(w.s, conn(), ENOSPC, w.now);
	xe_assert(xe_ssw_try(w.s, w.now) == -EBUSY && !xe_ssw_trying(w.s));
	xe_assert(events() & 1u << XE_SSW_UNPROTECTED);
}

/* ---- what the peers see meanwhile ---- */

static void syn_held(void)
{
	w.peer_port = PEER_PORT + 1;
	xe_assert(send(true, XE_SYN, 5, 0, 0, 0) == XE_DROP && !conn());
	w.peer_port = PEER_PORT;
	expect_quiet();
}

static void syn_goes_on(void)
{
	expect(XE_TO_GUEST, XE_SYN, 0);
	xe_assert(w.p.seg.sport == PEER_PORT + 1 && w.p.seg.seq == 5);
	expect_quiet();
	xe_assert(xe_ssw_poll_at(w.s) > w.now);
}

static void test_syn_held(void)
{
	begin(500);
	try();
	syn_held();
	accept();
	expect(XE_TO_NETWORK, XE_ACK, 0);
	syn_goes_on();
}

static void test_syn_held_roll_back(void)
{
	begin(500);
	try();
	syn_held();
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	syn_goes_on();
}

static void test_nothing_new_leaves(void)
{
	begin(500);
	try();
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS); /* that was sent before */
	expect_out(400, 500);
	xe_assert(out(XE_ACK, 500, 500, 50) == XE_DROP);
	serve(XE_LOG_CLOSED);
	slot()->nsw_close_at = 550;
	xe_assert(out(XE_ACK | XE_FIN, 550, 500, 0) == XE_DROP);
	xe_assert(conn()->sent_max == 500 && !(conn()->fins & XE_LOG_OWN_FIN));
	expect_quiet();
	accept();
	w.now += XE_MS;
	w.new.ts++;
	xe_assert(out(XE_ACK, 500, 500, 0) == XE_PASS);
	expect(XE_TO_NETWORK, XE_ACK, 0); /* the window that was not told */
	expect(XE_TO_NETWORK, XE_ACK, 50);
	expect_out(500, 500);
	xe_assert(w.p.seg.opt.tsval == conn()->own_tsval); /* not before what left meanwhile */
	expect(XE_TO_NETWORK, XE_ACK | XE_FIN, 0);
	expect_quiet();
	xe_assert(conn()->sent_max == 550 && conn()->fins & XE_LOG_OWN_FIN);
}

static void test_output_never_was(void)
{
	begin(500);
	try();
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	xe_assert(out(XE_ACK, 500, 500, 50) == XE_DROP);
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect_quiet();
	xe_assert(conn()->sent_max == 500);
	xe_assert(out(XE_ACK, 500, 500, 70) == XE_PASS);
	expect_out(500, 500);
}

/* It would be taken for the next TCP's, whose numbers are others. */
static void test_output_of_one_that_died(void)
{
	begin(500);
	try();
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	xe_assert(out(XE_ACK, 500, 500, 50) == XE_DROP);
	accept();
	xe_ssw_detach(w.s, w.now);
	xe_ssw_replay(w.s, w.now);
	expect(XE_TO_GUEST, XE_SYN, 0);
	expect_quiet();
	xe_assert(w.s->count.old_resets == 0);
}

static void test_window_not_enlarged(void)
{
	begin(500);
	xe_assert(conn()->told_edge == 500 + SMALL);
	xe_assert(xe_ssw_try(w.s, w.now) == 0);
	xe_ssw_replay(w.s, w.now);
	answer();
	xe_assert(w.p.seg.window == SMALL);
	xe_assert(in(XE_ACK, 500, 500, 300) == XE_PASS);
	xe_assert(out(XE_ACK, 500, 800, 0) == XE_PASS);
	expect_out(500, 800);
	xe_assert(w.p.seg.window == SMALL - 300);
	/* ... and what goes beyond could not be given to the old TCP */
	xe_assert(in(XE_ACK, 800, 500, SMALL - 300 + 1 > 1000 ? 1000 : 1) == XE_PASS);
	xe_assert(in(XE_ACK, 1800, 500, 701) == XE_DROP && conn()->rcv_logged == 1800);
	accept();
	expect(XE_TO_NETWORK, XE_ACK, 0);
	xe_assert(w.p.seg.window > SMALL);
	expect_quiet();
	xe_assert(in(XE_ACK, 1800, 500, 701) == XE_PASS && conn()->rcv_logged == 2501);
}

static void test_window_of_a_synack(void)
{
	half_open();
	xe_assert(xe_ssw_try(w.s, w.now) == 0);
	xe_ssw_replay(w.s, w.now);
	w.tcp = &w.new;
	expect(XE_TO_GUEST, XE_SYN, 0);
	xe_assert(send(false, XE_SYN | XE_ACK, w.new.isn, w.p.seg.seq + 1, 0, 0) == XE_PASS);
	xe_assert(w.p.seg.window == SMALL && w.p.seg.seq == w.own_isn);
	roll_back();
	expect_quiet(); /* the old TCP waits for the peer's ack as well */
}

static void test_resets_ignored(void)
{
	struct xe_segment unprotected = {.saddr = SERVER,
					 .daddr = CLIENT,
					 .sport = PORT + 1,
					 .dport = PEER_PORT,
					 .flags = XE_RST};

	begin(500);
	try();
	xe_assert(in(XE_RST, 500, 500, 0) == XE_DROP && conn()->state == XE_CONN_ESTABLISHED);
	w.peer_port++;
	xe_assert(out(XE_RST, 0, 0, 0) == XE_DROP); /* the new TCP knows fewer than the old one */
	w.peer_port--;
	w.len = xe_wire_build(w.buf, sizeof(w.buf), &unprotected, NULL, 0);
	xe_assert(xe_ssw_egress(w.s, w.buf, w.len, w.now) == XE_DROP);
	xe_assert(!(events() & 1u << XE_SSW_DIVERGED));
	roll_back();
	xe_assert(in(XE_RST, 500, 500, 0) == XE_PASS && !conn());
}

/* ---- the old TCP goes on ---- */

static void test_told_what_it_missed(void)
{
	begin(3000);
	try();
	xe_assert(in(XE_ACK, 3000, 3000, 700) == XE_PASS);
	xe_assert(out(XE_ACK, 3000, 3700, 0) == XE_PASS);
	xe_assert(in(XE_ACK | XE_FIN, 3700, 3000, 0) == XE_PASS);
	xe_assert(out(XE_ACK, 3000, 3701, 0) == XE_PASS);
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 700);
	expect_in(&w.old, 3000, 3000);
	expect(XE_TO_GUEST, XE_ACK | XE_FIN, 0);
	expect_in(&w.old, 3700, 3000); /* an ack too old is not taken (RFC 5961) */
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect_in(&w.old, 3701, 3000);
	expect_quiet();
	w.now = xe_ssw_poll_at(w.s); /* it was not heard, and the peer does not send it again */
	expect(XE_TO_GUEST, XE_ACK, 700);
	expect(XE_TO_GUEST, XE_ACK | XE_FIN, 0);
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect_quiet();
	xe_assert(out(XE_ACK, 3000, 3000, 0) == XE_PASS);
	expect_out(3000, 3701); /* acks do not go back */
	xe_assert(out(XE_ACK, 3000, 3701, 0) == XE_PASS);
	w.now += XE_SSW_TELL_AGAIN;
	expect_quiet();
	xe_assert(w.s->tell_again_at == XE_NEVER);
}

static void test_numbers(void)
{
	uint32_t told;

	begin(500);
	try();
	w.new.ts += 5;
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	told = w.p.seg.opt.tsval;
	xe_assert(xe_seq_gt(told, w.old.ts));
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	w.old.ts += 2; /* its clock went on, a little less */
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	expect_out(400, 500);
	xe_assert(w.p.seg.opt.tsval == told);
	w.old.ts += 100;
	xe_assert(out(XE_ACK, 500, 500, 60) == XE_PASS);
	expect_out(500, 500);
	xe_assert(xe_seq_gt(w.p.seg.opt.tsval, told));
	xe_assert(in(XE_ACK, 500, 560, 40) == XE_PASS);
	expect_in(&w.old, 500, 560);
	xe_assert(conn()->right_edge == 500 + SMALL && conn()->recovered);
}

/* A SYN that the old TCP has in its ring is answered when it goes on. */
static void test_syn_not_yet_answered(void)
{
	w.peer_port++;
	xe_assert(send(true, XE_SYN, w.peer_isn, 0, 0, 0) == XE_PASS);
	w.peer_port--;
	half_open();
	w.peer_isn += 1000;
	xe_assert(send(true, XE_SYN, w.peer_isn, 0, 0, 0) == XE_PASS); /* begins anew */
	xe_assert(xe_ssw_try(w.s, w.now) == 0);
	roll_back();
	w.old.isn = w.own_isn += 1000;
	xe_assert(send(false, XE_SYN | XE_ACK, w.own_isn, w.peer_isn + 1, 0, 0) == XE_PASS);
	xe_assert(conn()->peer_isn == w.peer_isn && conn()->own_isn == w.own_isn);
	w.peer_port++;
	xe_assert(send(false, XE_SYN | XE_ACK, w.own_isn, w.peer_isn - 999, 0, 0) == XE_PASS);
	xe_assert(conn()->state == XE_CONN_SYN_RCVD);
}

/* Its NSW has its own idea of what is free, and finds connections through the log. */
static void test_log_as_it_was(void)
{
	struct xe_log_slot *spare, was;

	begin(500);
	spare = xe_log_slot(&w.log, 60);
	spare->chain[0].first = 3; /* of a connection that has ended */
	slot()->chain[0].first = 2;
	atomic_store(&slot()->chain[0].records, 7);
	try();
	was = *slot();
	xe_assert(xe_nsw_attach(&w.nsw, &w.extent, 1) == 0 && spare->chain[0].first == XE_LOG_NONE);
	w.c = xe_nsw_accept(&w.nsw, 0, SERVER, PORT, CLIENT, PEER_PORT);
	xe_nsw_detach(&w.nsw);
	memset(slot(), 0xee, offsetof(struct xe_log_slot, peer_isn));
	xe_log_head(&w.log)->magic = 0;
	for (uint32_t b = 0; b < w.log.slots; b++)
		atomic_store(xe_log_bucket(&w.log, b), 63);
	roll_back();
	xe_assert(spare->chain[0].first == 3 && slot()->chain[0].first == 2);
	xe_assert(XE_LOG_LOAD(slot()->chain[0].records) == 7 &&
		  slot()->incarnation == was.incarnation);
	xe_assert(slot()->nsw_generation == 1 && xe_log_valid(&w.log));
	xe_assert(xe_log_find(&w.log, SERVER, PORT, CLIENT, PEER_PORT) ==
		  xe_conn_index(w.s, conn()));
}

static void test_of_one_that_took_over(void)
{
	begin(500);
	xe_ssw_detach(w.s, w.now);
	xe_ssw_replay(w.s, w.now);
	answer();
	serve(0);
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_PASS);
	w.old = w.new; /* the primary now */
	w.new = (struct tcp){.isn = 0xfffffff0, .ts = 99, .window = WINDOW};
	xe_assert(in(XE_ACK, 500, 500, 20) == XE_PASS);
	try();
	xe_assert(in(XE_ACK, 520, 500, 30) == XE_PASS);
	expect_in(&w.new, 520, 500);
	xe_assert(out(XE_ACK, 500, 550, 0) == XE_PASS);
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 50);
	expect_in(&w.old, 500, 500);
	expect(XE_TO_GUEST, XE_ACK, 0);
	xe_assert(out(XE_ACK, 500, 550, 10) == XE_PASS);
	expect_out(500, 550);
}

static void test_second_trial(void)
{
	begin(500);
	for (int i = 0; i < 3; i++) {
		try();
		xe_assert(in(XE_ACK, 500 + 10 * (uint64_t)i, 500, 10) == XE_PASS);
		xe_assert(out(XE_ACK, 500, 510 + 10 * (uint64_t)i, 0) == XE_PASS);
		roll_back();
		/* it has acked nothing of that yet */
		expect(XE_TO_GUEST, XE_ACK, 10 * ((size_t)i + 1));
		expect_in(&w.old, 500, 500);
		expect(XE_TO_GUEST, XE_ACK, 0);
		expect_quiet();
		w.new.isn += 0x12345678;
	}
	try();
	accept();
	xe_assert(out(XE_ACK, 500, 530, 10) == XE_PASS);
	expect_out(500, 530);
}

/* ---- what the new one says ---- */

static void accept_service(void)
{
	xe_assert(xe_nsw_attach(&w.nsw, &w.extent, 1) == 0);
	w.c = xe_nsw_accept(&w.nsw, 0, SERVER, PORT, CLIENT, PEER_PORT);
	xe_assert(w.c->logged && w.c->drop_line == 400 && w.c->sent_line == 500);
}

static void read_again(void)
{
	uint8_t got[BYTES];
	uint64_t at = 0;

	while (at < 500) {
		long n = xe_nsw_feed(&w.nsw, w.c, got, sizeof(got));

		xe_assert(n > 0 && memcmp(got, bytes + at, (size_t)n) == 0);
		at += (uint64_t)n;
	}
}

/* The input was recorded as read by the old service. */
static void record(uint32_t n)
{
	struct xe_log_record *r = xe_log_records(&w.log, 0);

	*r = (struct xe_log_record){.size = n, .kind = XE_RECORD_READ};
	*xe_log_record_link(&w.log, 0) = XE_LOG_NONE;
	slot()->chain[0].first = 0;
	atomic_store(&slot()->chain[0].records, 1);
}

static bool is_replayed(void)
{
	w.now += XE_SSW_TRIAL_LOOK;
	expect_quiet();
	return events() & 1u << XE_SSW_REPLAYED;
}

static void test_replayed(void)
{
	begin(500);
	record(500);
	try();
	xe_assert(!is_replayed());
	accept_service();
	read_again();
	xe_assert(xe_nsw_drop(&w.nsw, w.c, bytes, 500) == 400 && !is_replayed());
	xe_nsw_wrote(&w.nsw, w.c, bytes + 400, 99);
	xe_assert(!is_replayed());
	xe_nsw_wrote(&w.nsw, w.c, bytes + 499, 20);
	xe_assert(is_replayed() && !w.c->diverged);
	xe_assert(xe_ssw_poll_at(w.s) == XE_NEVER);
}

/* What is under way is another one: no byte of it has left when the service has written it. */
static void test_diverges_in_the_service(void)
{
	uint8_t other = (uint8_t)(bytes[499] ^ 1);

	begin(500);
	record(500);
	try();
	accept_service();
	read_again();
	xe_assert(xe_nsw_drop(&w.nsw, w.c, bytes, 500) == 400);
	xe_nsw_wrote(&w.nsw, w.c, bytes + 400, 99);
	xe_nsw_wrote(&w.nsw, w.c, &other, 1);
	xe_assert(w.c->diverged && !is_replayed());
	xe_assert(out(XE_RST | XE_ACK, 500, 500, 0) == XE_DROP);
	xe_assert(events() & 1u << XE_SSW_DIVERGED);
	xe_assert(out(XE_RST | XE_ACK, 500, 500, 0) == XE_DROP && !events()); /* once */
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect_quiet();
	xe_assert(out(XE_ACK, 500, 500, 50) == XE_PASS);
}

static void test_diverges_in_flight(void)
{
	begin(500);
	try();
	bytes[450] ^= 1;
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_DROP);
	bytes[450] ^= 1;
	xe_assert(events() & 1u << XE_SSW_DIVERGED && conn()->state == XE_CONN_ESTABLISHED);
	roll_back();
	expect(XE_TO_GUEST, XE_ACK, 0);
	expect_quiet();
}

/* Nobody is left to go back to: then it ends as without a trial, and the peer hears of it. */
static void test_diverges_and_is_accepted(void)
{
	begin(500);
	try();
	bytes[450] ^= 1;
	xe_assert(out(XE_ACK, 400, 500, 100) == XE_DROP);
	bytes[450] ^= 1;
	accept();
	expect(XE_TO_NETWORK, XE_ACK | XE_RST, 0);
	expect(XE_TO_GUEST, XE_RST, 0);
	expect_quiet();
	xe_assert(conn()->state == XE_CONN_TOMBSTONE);
}

/* TCP has no socket any more, and answers what comes late. */
static void test_stray_of_what_is_over(void)
{
	begin(500);
	serve(XE_LOG_CLOSED | XE_LOG_ABORTED);
	xe_assert(out(XE_ACK | XE_FIN, 500, 500, 0) == XE_PASS);
	try();
	serve(XE_LOG_CLOSED | XE_LOG_ABORTED);
	xe_assert(in(XE_ACK | XE_FIN, 500, 501, 0) == XE_PASS);
	xe_assert(out(XE_ACK, 400, 501, 100) == XE_PASS);
	xe_assert(out(XE_ACK | XE_FIN, 500, 501, 0) == XE_DROP); /* the peer has it */
	expect(XE_TO_GUEST, XE_ACK, 0);
	xe_assert(in(XE_ACK, 501, 501, 0) == XE_PASS);
	xe_assert(out(XE_RST, 501, 501, 0) == XE_DROP);
	xe_assert(!(events() & 1u << XE_SSW_DIVERGED));
	accept();
	xe_assert(conn()->state == XE_CONN_TOMBSTONE);
}

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(f) {#f, f}

static const struct test tests[] = {
	TEST(test_refused),
	TEST(test_syn_held),
	TEST(test_syn_held_roll_back),
	TEST(test_nothing_new_leaves),
	TEST(test_output_never_was),
	TEST(test_output_of_one_that_died),
	TEST(test_window_not_enlarged),
	TEST(test_window_of_a_synack),
	TEST(test_resets_ignored),
	TEST(test_told_what_it_missed),
	TEST(test_numbers),
	TEST(test_syn_not_yet_answered),
	TEST(test_log_as_it_was),
	TEST(test_of_one_that_took_over),
	TEST(test_second_trial),
	TEST(test_replayed),
	TEST(test_diverges_in_the_service),
	TEST(test_diverges_in_flight),
	TEST(test_diverges_and_is_accepted),
	TEST(test_stray_of_what_is_over),
};

int main(int argc, char **argv)
{
	static const uint32_t isn[] = {1000, 0xffffffff, 0xfffffe00, 0x7fffffc0};

	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 1);
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		if (argc > 1 && strcmp(argv[1], tests[t].name) != 0)
			continue;
		for (size_t i = 0; i < sizeof(isn) / sizeof(isn[0]); i++) {
			opt_isn = isn[i];
			open_world();
			tests[t].run();
			close_world();
		}
	}
	return 0;
}
