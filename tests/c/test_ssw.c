/* South-side wrapper, rule by rule: each test feeds crafted packets to it and looks at the
 * verdict, the edited packet and the log. The whole list runs once per pair of initial
 * sequence numbers, so that every rule also holds across the wrap of both directions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "net/ssw_internal.h"
#include "plain.h"

enum { SERVER = 0x0a000001, CLIENT = 0x0a000101, PORT = 80, PEER_PORT = 4000, EXTENTS = 8 };
enum { BIG = 65000, OWN_WSCALE = 3, PEER_WSCALE = 2 };

struct world {
	struct xe_ssw *s;
	struct xe_log log;
	uint8_t *extent[EXTENTS];
	uint32_t extents;
	xe_ns now;
	uint32_t peer_isn, own_isn;
	/* the connection under test */
	uint16_t peer_port;
	bool ts, ws;
	uint32_t peer_ts, own_ts, peer_ecr;
	uint16_t peer_win, own_win;
	/* the guest's TCP: its numbers and its shift */
	uint32_t guest_isn;
	uint64_t guest_base;
	uint8_t guest_wscale;
	/* the last packet */
	uint8_t buf[BIG + 100];
	size_t len;
	struct xe_packet p;
};

static struct world w;
static uint32_t opt_peer_isn, opt_own_isn;
static uint8_t stream_bytes[BIG];

static void open_world(uint32_t extents)
{
	memset(&w, 0, sizeof(w));
	w.extents = extents;
	for (uint32_t i = 0; i < extents; i++) {
		w.extent[i] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
		xe_assert(w.extent[i]);
		memset(w.extent[i], 0xa5, XE_EXTENT_SIZE);
	}
	xe_assert(xe_ssw_create(&w.s, w.extent, extents) == 0);
	xe_assert(xe_log_open(&w.log, w.extent, extents) == 0);
	protect_plain(w.s, PORT);
	w.now = XE_SECOND;
	w.peer_isn = opt_peer_isn;
	w.own_isn = w.guest_isn = opt_own_isn;
	w.peer_port = PEER_PORT;
	w.ts = w.ws = true;
	w.peer_ts = 0xfffffff0;
	w.own_ts = 0xffffff00;
	w.peer_win = w.own_win = 8000;
	w.guest_wscale = OWN_WSCALE;
}

static void close_world(void)
{
	xe_ssw_destroy(w.s);
	xe_log_close(&w.log);
	for (uint32_t i = 0; i < w.extents; i++)
		free(w.extent[i]);
}

static const struct xe_ssw_counters *count(void)
{
	return xe_ssw_counters(w.s);
}

static struct xe_conn *conn(void)
{
	return xe_ssw_find(w.s, SERVER, PORT, CLIENT, w.peer_port);
}

static struct xe_log_slot *slot(void)
{
	uint32_t i = xe_log_find(&w.log, SERVER, PORT, CLIENT, w.peer_port);

	return i == XE_LOG_NONE ? NULL : xe_log_slot(&w.log, i);
}

/* ---- packets ---- */

static struct xe_segment base_segment(bool in, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct xe_segment g = {.saddr = SERVER, .daddr = CLIENT, .sport = PORT};

	g.dport = w.peer_port;
	if (in) {
		g = (struct xe_segment){.saddr = CLIENT, .daddr = SERVER, .dport = PORT};
		g.sport = w.peer_port;
	}
	g.flags = flags;
	g.seq = seq;
	g.ack = ack;
	g.window = in ? w.peer_win : w.own_win;
	g.opt.has_ts = w.ts;
	g.opt.tsval = in ? w.peer_ts : w.own_ts;
	g.opt.tsecr = in ? w.peer_ecr : w.peer_ts;
	return g;
}

static enum xe_verdict hand(bool in)
{
	enum xe_verdict v = in ? xe_ssw_ingress(w.s, w.buf, w.len, w.now)
			       : xe_ssw_egress(w.s, w.buf, w.len, w.now);

	if (v == XE_PASS) /* whatever was edited, the checksum is right */
		xe_assert(xe_wire_parse(&w.p, w.buf, w.len, true) == 0);
	return v;
}

static enum xe_verdict give(bool in, const struct xe_segment *g, const void *bytes, size_t n)
{
	w.len = xe_wire_build(w.buf, sizeof(w.buf), g, bytes, n);
	xe_assert(w.len > 0);
	return hand(in);
}

static uint32_t peer_seq(int64_t offset)
{
	return w.peer_isn + 1 + (uint32_t)offset;
}

static uint32_t own_seq(int64_t offset)
{
	return w.own_isn + 1 + (uint32_t)offset;
}

static uint32_t guest_seq(int64_t offset)
{
	return w.guest_isn + 1 + (uint32_t)(offset - (int64_t)w.guest_base);
}

/* From the client, in offsets of both streams. */
static enum xe_verdict in(uint8_t flags, int64_t seq, int64_t ack, const void *bytes, size_t n)
{
	struct xe_segment g = base_segment(true, flags, peer_seq(seq), own_seq(ack));

	return give(true, &g, bytes, n);
}

static enum xe_verdict in_data(int64_t seq, size_t n)
{
	return in(XE_ACK, seq, 0, stream_bytes + seq, n);
}

/* From the guest, in offsets of both streams, with the numbers of its TCP. */
static enum xe_verdict out(uint8_t flags, int64_t seq, int64_t ack, size_t n)
{
	struct xe_segment g = base_segment(false, flags, guest_seq(seq), peer_seq(ack));

	return give(false, &g, stream_bytes + (seq > 0 ? seq : 0), n);
}

static enum xe_verdict in_syn(uint32_t isn)
{
	struct xe_segment g = base_segment(true, XE_SYN, isn, 0);

	g.opt.mss = 1400;
	g.opt.has_wscale = w.ws;
	g.opt.wscale = PEER_WSCALE;
	g.opt.sack_permitted = true;
	return give(true, &g, NULL, 0);
}

static enum xe_verdict out_synack(uint32_t isn, uint32_t ack)
{
	struct xe_segment g = base_segment(false, XE_SYN | XE_ACK, isn, ack);

	g.opt.mss = 1460;
	g.opt.has_wscale = w.ws;
	g.opt.wscale = w.guest_wscale;
	g.opt.sack_permitted = true;
	return give(false, &g, NULL, 0);
}

static void half_open(void)
{
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	xe_assert(out_synack(w.own_isn, w.peer_isn + 1) == XE_PASS);
	xe_assert(!w.p.seg.opt.sack_permitted && w.p.seg.seq == w.own_isn);
}

static void handshake(void)
{
	half_open();
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS);
	xe_assert(conn()->state == XE_CONN_ESTABLISHED);
	xe_assert(XE_LOG_LOAD(slot()->state) == XE_LOG_ESTABLISHED);
}

/* The wrapper's next packet, 0: none. */
static size_t own_packet(enum xe_direction *to)
{
	w.len = xe_ssw_dispatch(w.s, w.buf, sizeof(w.buf), to, w.now);
	if (w.len)
		xe_assert(xe_wire_parse(&w.p, w.buf, w.len, true) == 0);
	return w.len;
}

static void expect_own(enum xe_direction to, uint8_t flags)
{
	enum xe_direction got;

	xe_assert(own_packet(&got) > 0 && got == to && w.p.seg.flags == flags);
}

static void expect_quiet(void)
{
	enum xe_direction to;

	xe_assert(own_packet(&to) == 0);
}

static bool event(uint32_t kind)
{
	struct xe_ssw_event e;
	bool seen = false;

	while (xe_ssw_next_event(w.s, &e))
		seen |= e.kind == kind;
	return seen;
}

static void fault(void)
{
	xe_ssw_detach(w.s, w.now);
	xe_ssw_replay(w.s, w.now);
}

/* The new TCP's SYN/ACK to the fake SYN, in w.p. */
static enum xe_verdict answer_fake(uint32_t isn)
{
	w.guest_isn = isn;
	w.guest_base = conn()->peer_acked;
	w.own_ts = 777; /* another clock */
	return out_synack(isn, w.p.seg.seq + 1);
}

/* A whole fault of one established connection. */
static void fail_over(uint32_t isn)
{
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(answer_fake(isn) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
	expect_own(XE_TO_NETWORK, XE_ACK);
}

static void intend(uint32_t flags, uint64_t at)
{
	struct xe_log_slot *s = slot();

	s->nsw_incarnation = s->incarnation;
	s->nsw_generation = XE_LOG_LOAD(xe_log_head(&w.log)->generation);
	s->nsw_close_at = at;
	atomic_store(&s->nsw_flags, XE_LOG_ACCEPTED | flags);
}

/* What a reader of the mapped log sees at [at, at + n). */
static void expect_logged(uint64_t at, const uint8_t *bytes, uint64_t n)
{
	uint32_t block = slot()->first_block;

	for (uint64_t base = 0; base < at + n; base += XE_LOG_BLOCK) {
		xe_assert(block < w.log.blocks);
		for (uint64_t i = 0; i < XE_LOG_BLOCK; i++) {
			if (base + i >= at && base + i < at + n)
				xe_assert(xe_log_block(&w.log, block)[i] == bytes[base + i - at]);
		}
		block = *xe_log_block_link(&w.log, block);
	}
}

/* ---- the state that rejected packets must not touch ---- */

struct snapshot {
	struct xe_log_slot slot;
	struct xe_conn conn;
	uint32_t free_blocks;
};

static struct snapshot snapshot(void)
{
	struct snapshot s;

	memcpy(&s.slot, xe_conn_slot(w.s, conn()), sizeof(s.slot));
	memcpy(&s.conn, conn(), sizeof(s.conn));
	s.free_blocks = w.s->pool.free_count;
	return s;
}

static void expect_same(const struct snapshot *was)
{
	struct snapshot before = *was;
	struct xe_conn now = *conn();

	before.conn.stream = now.stream; /* its cursor may move */
	before.conn.out = now.out;
	memcpy(&now, conn(), sizeof(now));
	xe_assert(memcmp(&before.slot, xe_conn_slot(w.s, conn()), sizeof(before.slot)) == 0);
	xe_assert(memcmp(&before.conn, &now, sizeof(now)) == 0);
	xe_assert(before.free_blocks == w.s->pool.free_count);
}

/* ---- rule 1: log before ack ---- */

static void test_log_before_ack(void)
{
	handshake();
	xe_assert(in_data(0, 100) == XE_PASS);
	xe_assert(slot()->rcv_logged == 100);
	expect_logged(0, stream_bytes, 100);
	xe_assert(out(XE_ACK, 0, 101, 0) == XE_DROP);
	xe_assert(count()->acks_beyond_log == 1 && slot()->ack_sent == 0);
	xe_assert(out(XE_ACK, 0, 100, 0) == XE_PASS);
	xe_assert(slot()->ack_sent == 100);
	xe_assert(out(XE_ACK, 0, -1, 50) == XE_DROP); /* before the stream */
	xe_assert(count()->acks_beyond_log == 2 && slot()->sent_max == 0);
}

static void test_ack_of_fin(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_FIN, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(slot()->fins == XE_LOG_PEER_FIN && slot()->peer_fin_at == 10);
	xe_assert(slot()->rcv_logged == 10); /* FINs are not counted */
	xe_assert(out(XE_ACK, 0, 12, 0) == XE_DROP);
	xe_assert(out(XE_ACK, 0, 11, 0) == XE_PASS);
}

static void test_unprotected_port(void)
{
	struct xe_segment g = base_segment(true, XE_SYN, 1, 0);

	g.dport = PORT + 1;
	g.opt.sack_permitted = true;
	xe_assert(give(true, &g, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.opt.sack_permitted); /* untouched */
	xe_assert(w.s->count.in == 1 && !conn());
}

/* ---- rule 2: only what TCP would believe ---- */

static void test_out_of_window(void)
{
	struct snapshot before;
	int64_t edge = (int64_t)(w.own_win << OWN_WSCALE);

	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS);
	xe_assert(in_data(0, 500) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 500, 0) == XE_PASS);
	before = snapshot();
	edge += 500;
	xe_assert(in(XE_ACK, edge, 100, stream_bytes, 50) == XE_PASS); /* TCP rejects it */
	expect_same(&before);
	in(XE_ACK, edge + 1, 100, NULL, 0);
	expect_same(&before);
	in(XE_ACK, 400, 100, stream_bytes, 50);
	expect_same(&before);
	in(XE_ACK, 499, 100, NULL, 0); /* a keep-alive */
	expect_same(&before);
	in(XE_ACK | XE_FIN, 300, 100, NULL, 0);
	expect_same(&before);
	in(XE_ACK | XE_FIN, edge + 1000, 100, NULL, 0);
	expect_same(&before);
	in(XE_ACK, -50000, 100, stream_bytes, 50);
	expect_same(&before);
	xe_assert(count()->not_believed == 7);
}

static void test_ack_of_unsent(void)
{
	struct snapshot before;

	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS);
	before = snapshot();
	xe_assert(in(XE_ACK, 0, 101, stream_bytes, 10) == XE_DROP); /* unlogged: not delivered */
	expect_same(&before);
	xe_assert(in(XE_ACK, 0, 101, NULL, 0) == XE_PASS);
	expect_same(&before);
	in(XE_ACK, 0, -1, NULL, 0);
	expect_same(&before);
	xe_assert(in(XE_PSH, 0, 100, stream_bytes, 10) == XE_DROP); /* no ACK flag */
	expect_same(&before);
	xe_assert(in(XE_ACK, 0, 100, stream_bytes, 10) == XE_PASS);
	xe_assert(slot()->peer_acked == 100 && slot()->rcv_logged == 10);
}

static void test_paws(void)
{
	struct snapshot before;

	handshake();
	w.peer_ts += 100; /* wraps */
	xe_assert(in_data(0, 10) == XE_PASS && slot()->peer_tsval == w.peer_ts);
	before = snapshot();
	w.peer_ts -= 1;
	xe_assert(in_data(10, 10) == XE_DROP);
	expect_same(&before);
	xe_assert(in(XE_ACK | XE_FIN, 10, 0, NULL, 0) == XE_PASS);
	expect_same(&before);
}

static void test_timestamp_only_of_what_is_due(void)
{
	uint32_t was = w.peer_ts;

	handshake();
	w.peer_ts += 50; /* beyond what TCP acked: not the one to echo (RFC 7323 4.3) */
	xe_assert(in_data(100, 10) == XE_PASS);
	xe_assert(slot()->peer_tsval == was);
	xe_assert(in_data(0, 100) == XE_PASS);
	xe_assert(slot()->peer_tsval == w.peer_ts);
}

static void test_checksum(void)
{
	struct xe_segment g;
	struct snapshot before;

	handshake();
	before = snapshot();
	for (size_t at = 0; at < 62; at++) { /* 52 bytes of header, 10 of payload */
		g = base_segment(true, XE_ACK, peer_seq(0), own_seq(0));
		w.len = xe_wire_build(w.buf, sizeof(w.buf), &g, stream_bytes, 10);
		w.buf[at] ^= 0x10;
		xe_assert(xe_ssw_ingress(w.s, w.buf, w.len, w.now) == XE_DROP);
		expect_same(&before);
	}
	for (size_t len = 0; len < 62; len++) {
		g = base_segment(true, XE_ACK, peer_seq(0), own_seq(0));
		w.len = xe_wire_build(w.buf, sizeof(w.buf), &g, stream_bytes, 10);
		xe_assert(xe_ssw_ingress(w.s, w.buf, len, w.now) == XE_DROP);
		expect_same(&before);
	}
	xe_assert(count()->malformed == 124);
}

static void test_reset_exact(void)
{
	struct snapshot before;

	handshake();
	xe_assert(in_data(0, 100) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 100, 0) == XE_PASS);
	before = snapshot();
	xe_assert(in(XE_RST, 101, 0, NULL, 0) == XE_PASS); /* TCP will challenge it */
	expect_same(&before);
	xe_assert(in(XE_RST, 99, 0, NULL, 0) == XE_PASS);
	expect_same(&before);
	xe_assert(in(XE_RST, 100, 0, NULL, 0) == XE_PASS);
	xe_assert(!conn() && !slot());
	xe_assert(w.s->pool.free_count == w.log.blocks);
}

static void test_reset_after_fin(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_FIN, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(in(XE_RST, 10, 0, NULL, 0) == XE_PASS && conn());
	xe_assert(in(XE_RST, 11, 0, NULL, 0) == XE_PASS && !conn());
}

static void test_reset_while_detached(void)
{
	struct xe_ssw_info info;

	handshake();
	fault();
	xe_assert(in(XE_RST, 1, 0, NULL, 0) == XE_DROP && conn());
	xe_assert(in(XE_RST, 0, 0, NULL, 0) == XE_DROP && !conn());
	expect_quiet();
	xe_ssw_info(w.s, &info);
	xe_assert(info.connections == 0 && event(XE_SSW_REESTABLISHED));
}

static void test_syn_in_a_connection(void)
{
	struct snapshot before;

	handshake();
	before = snapshot();
	xe_assert(in(XE_SYN | XE_ACK, 0, 0, stream_bytes, 10) == XE_DROP);
	expect_same(&before);
	in(XE_SYN | XE_ACK | XE_FIN, 0, 0, NULL, 0);
	expect_same(&before);
	in(XE_SYN | XE_ACK | XE_FIN, 10, 0, NULL, 0);
	expect_same(&before);
	xe_assert(in_data(0, 50) == XE_PASS && slot()->rcv_logged == 50);
}

static void test_syn_replaces_when_answered(void)
{
	uint32_t incarnation;
	struct snapshot before;

	handshake();
	xe_assert(in_data(0, 100) == XE_PASS);
	incarnation = slot()->incarnation;
	before = snapshot();
	xe_assert(in_syn(w.peer_isn + 5000) == XE_PASS);
	xe_assert(memcmp(&before.slot, slot(), sizeof(before.slot)) == 0);
	xe_assert(out(XE_ACK, 0, 100, 0) == XE_PASS); /* the challenge ACK */
	xe_assert(slot()->rcv_logged == 100 && slot()->incarnation == incarnation);
	/* an answer to another SYN opens nothing */
	xe_assert(out_synack(w.own_isn + 9000, w.peer_isn + 2) == XE_PASS);
	xe_assert(slot()->incarnation == incarnation);
	xe_assert(out_synack(w.own_isn + 9000, w.peer_isn + 5001) == XE_PASS);
	xe_assert(slot()->incarnation == incarnation + 1 && slot()->rcv_logged == 0);
	xe_assert(slot()->peer_isn == w.peer_isn + 5000 && slot()->own_isn == w.own_isn + 9000);
	xe_assert(w.s->pool.free_count == w.log.blocks);
}

static void test_synack_again(void)
{
	uint32_t incarnation;

	half_open();
	incarnation = slot()->incarnation;
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	xe_assert(out_synack(w.own_isn, w.peer_isn + 1) == XE_PASS);
	xe_assert(out_synack(w.own_isn, w.peer_isn + 1) == XE_PASS);
	xe_assert(slot()->incarnation == incarnation);
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS && conn()->state == XE_CONN_ESTABLISHED);
}

/* Random packets around the edges of what is acceptable change nothing that TCP's rules
 * do not allow: the log only grows, by what was sent in window. */
static void test_garbage(void)
{
	struct xe_rng rng = {.state = 5};
	uint64_t logged = 0, acked = 0;

	handshake();
	xe_assert(out(XE_ACK, 0, 0, 200) == XE_PASS);
	for (int i = 0; i < 3000 && conn(); i++) {
		int64_t edge = (int64_t)conn()->right_edge;
		int64_t seq = (int64_t)conn()->rcv_logged + (int64_t)xe_rng_below(&rng, 400) - 200;
		int64_t ack = (int64_t)xe_rng_below(&rng, 400) - 100;
		uint8_t flags = (uint8_t)xe_rng_next(&rng) & (uint8_t)~(XE_FIN | XE_RST);

		if (xe_rng_below(&rng, 4) == 0)
			seq = edge + (int64_t)xe_rng_below(&rng, 200) - 100;
		if (seq < 0)
			continue;
		in(flags, seq, ack, stream_bytes + seq, xe_rng_below(&rng, 100));
		xe_assert(conn()->rcv_logged >= logged && conn()->peer_acked >= acked);
		xe_assert(conn()->peer_acked <= 200 && conn()->right_edge == (uint64_t)edge);
		xe_assert(conn()->rcv_logged <= (uint64_t)edge && conn()->sent_max == 200);
		logged = conn()->rcv_logged;
		acked = conn()->peer_acked;
		expect_logged(0, stream_bytes, logged);
	}
	xe_assert(acked > 0 && logged > 0 && conn()->ranges <= XE_SSW_RANGES);
}

/* ---- rule 3: what was logged is what the service reads ---- */

static void payload_is(const uint8_t *bytes, size_t n)
{
	xe_assert(w.p.payload_len == n && memcmp(w.p.data + w.p.payload, bytes, n) == 0);
}

static void test_overlap(void)
{
	uint8_t other[100], want[100];

	memset(other, 0xcc, sizeof(other));
	handshake();
	xe_assert(in_data(0, 101) == XE_PASS);
	xe_assert(in(XE_ACK, 51, 0, other, 100) == XE_PASS); /* half of it is new */
	memcpy(want, stream_bytes + 51, 50);
	memset(want + 50, 0xcc, 50);
	payload_is(want, 100);
	xe_assert(slot()->rcv_logged == 151 && count()->overwritten_bytes == 50);
	expect_logged(0, stream_bytes, 101);
	expect_logged(51, want, 100);
}

/* Nothing new in it, but TCP has not acked it, so it may not have it. */
static void test_overlap_of_logged(void)
{
	uint8_t other[100];

	memset(other, 0xcc, sizeof(other));
	handshake();
	xe_assert(in_data(0, 101) == XE_PASS);
	xe_assert(in(XE_ACK, 1, 0, other, 60) == XE_PASS);
	payload_is(stream_bytes + 1, 60);
	xe_assert(in(XE_ACK, 0, 50000, other, 60) == XE_PASS); /* an ack not believed */
	payload_is(stream_bytes, 60);
	w.peer_ts -= 100; /* PAWS */
	xe_assert(in(XE_ACK, 0, 0, other, 60) == XE_PASS);
	payload_is(stream_bytes, 60);
	expect_logged(0, stream_bytes, 101);
	xe_assert(slot()->rcv_logged == 101);
}

static void test_overlap_out_of_order(void)
{
	uint8_t other[200], want[200];

	memset(other, 0xcc, sizeof(other));
	handshake();
	xe_assert(in_data(20, 30) == XE_PASS); /* [20, 50) */
	xe_assert(in_data(101, 9) == XE_PASS); /* [101, 110) */
	xe_assert(slot()->rcv_logged == 0 && conn()->ranges == 2);
	xe_assert(in(XE_ACK, 10, 0, other, 110) == XE_PASS);
	memset(want, 0xcc, sizeof(want));
	memcpy(want + 10, stream_bytes + 20, 30);
	memcpy(want + 91, stream_bytes + 101, 9);
	payload_is(want, 110);
	xe_assert(conn()->ranges == 1);
	xe_assert(in(XE_ACK, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(slot()->rcv_logged == 120 && conn()->ranges == 0);
	expect_logged(10, want, 110);
}

/* Against a model: whatever comes in whatever order, what passes equals what is logged,
 * and what is logged never changes. */
static void test_first_write_wins(void)
{
	static uint8_t model[BIG], known[BIG];
	struct xe_rng rng = {.state = opt_peer_isn + 1};
	uint8_t bytes[1400];

	memset(known, 0, sizeof(known));
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS); /* opens the window */
	for (int i = 0; i < 600; i++) {
		uint64_t seq = conn()->rcv_logged + xe_rng_below(&rng, 6000);
		size_t n = 1 + xe_rng_below(&rng, sizeof(bytes));

		seq = seq > 3000 ? seq - 3000 : 0;
		if (seq + n > conn()->right_edge)
			continue;
		memset(bytes, i, n);
		if (in(XE_ACK, (int64_t)seq, 0, bytes, n) == XE_DROP)
			continue;
		xe_assert(w.p.payload_len == n);
		for (size_t k = 0; k < n; k++) {
			uint8_t b = w.p.data[w.p.payload + k];

			xe_assert(b == (known[seq + k] ? model[seq + k] : (uint8_t)i));
			model[seq + k] = b;
			known[seq + k] = 1;
		}
		for (uint64_t k = 0; k < conn()->rcv_logged; k++)
			xe_assert(known[k]);
		if (i % 16 == 0)
			expect_logged(0, model, conn()->rcv_logged);
	}
	xe_assert(conn()->rcv_logged > 5000);
}

static void test_too_many_ranges(void)
{
	handshake();
	for (int i = 1; i <= XE_SSW_RANGES; i++)
		xe_assert(in_data(20 * i, 10) == XE_PASS);
	xe_assert(in_data(20 * (XE_SSW_RANGES + 1), 10) == XE_DROP);
	xe_assert(count()->unlogged_drops == 1 && conn()->ranges == XE_SSW_RANGES);
	xe_assert(in_data(30, 10) == XE_PASS && conn()->ranges == XE_SSW_RANGES - 1); /* joins */
	xe_assert(in_data(0, 20) == XE_PASS && slot()->rcv_logged == 50);
	expect_logged(0, stream_bytes, 50);
}

static void test_window_edge(void)
{
	int64_t edge;

	w.own_win = 100; /* SYN windows are not scaled */
	handshake();
	edge = (int64_t)conn()->right_edge;
	xe_assert(edge == 100);
	xe_assert(in_data(90, 20) == XE_PASS); /* TCP trims it, so does the log */
	xe_assert(conn()->range[0].to == 100);
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(conn()->right_edge == 100u << OWN_WSCALE);
}

static void test_huge_packet(void)
{
	uint8_t other[6000];

	memset(other, 0xcc, sizeof(other));
	handshake();
	xe_assert(in_data(0, 6000) == XE_PASS);
	xe_assert(in(XE_ACK, 1, 0, other, 6000) == XE_PASS); /* more than an MTU */
	xe_assert(slot()->rcv_logged == 6001 && w.p.payload_len == 6000);
	xe_assert(memcmp(w.p.data + w.p.payload, stream_bytes + 1, 5999) == 0);
}

static void test_fin_out_of_order(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_FIN, 50, 0, stream_bytes + 50, 50) == XE_PASS);
	xe_assert(slot()->fins == 0 && slot()->rcv_logged == 0);
	in(XE_ACK | XE_FIN, 70, 0, NULL, 0); /* another FIN: the first one holds, as in TCP */
	xe_assert(in_data(0, 50) == XE_PASS);
	xe_assert(slot()->rcv_logged == 100 && slot()->fins == XE_LOG_PEER_FIN);
	xe_assert(slot()->peer_fin_at == 100);
	xe_assert(in_data(100, 10) == XE_DROP && slot()->rcv_logged == 100); /* after the FIN */
}

static void test_bare_fin_out_of_order(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_FIN, 50, 0, NULL, 0) == XE_PASS);
	xe_assert(slot()->fins == 0);
	xe_assert(in_data(0, 60) == XE_PASS); /* its last bytes are beyond the FIN */
	xe_assert(slot()->rcv_logged == 50 && slot()->fins == XE_LOG_PEER_FIN);
}

static void test_urg(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_URG, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(w.p.seg.flags == XE_ACK && slot()->rcv_logged == 10);
}

/* ---- rule 8: SYN options ---- */

static void syn_with(bool inward, uint8_t kind)
{
	struct xe_segment g = base_segment(inward, inward ? XE_SYN : XE_SYN | XE_ACK,
					   inward ? w.peer_isn : w.own_isn, w.peer_isn + 1);
	uint32_t sum;
	uint8_t *h = w.buf + 20;

	g.opt.mss = 1400;
	g.opt.has_ts = true;
	w.len = xe_wire_build(w.buf, sizeof(w.buf), &g, NULL, 0);
	h[26] = kind; /* in place of the timestamps: ten bytes */
	h[13] |= 0xc0;
	h[16] = h[17] = 0;
	sum = (uint16_t)~xe_wire_checksum(w.buf + 12, 8, 0) + 6u + (uint32_t)w.len - 20;
	sum = xe_wire_checksum(h, w.len - 20, sum);
	h[16] = (uint8_t)(sum >> 8);
	h[17] = (uint8_t)sum;
	xe_assert(hand(inward) == XE_PASS);
	xe_assert(w.p.seg.opt.mss == 1400 && !w.p.seg.opt.has_ts);
	xe_assert(w.p.seg.flags == g.flags); /* no ECN */
	for (int i = 26; i < 36; i++)
		xe_assert(h[i] == 1);
}

static void test_syn_options(void)
{
	static const uint8_t kind[] = {5, 19, 29, 30, 34, 77, 253, 254};

	for (size_t i = 0; i < sizeof(kind); i++) {
		syn_with(true, kind[i]);
		syn_with(false, kind[i]);
		xe_assert(slot()->options == 0);
	}
}

static void test_options_agreed(void)
{
	w.ws = false;
	handshake();
	xe_assert(slot()->options == XE_LOG_OPT_TS && slot()->own_wscale == 0);
	xe_assert(slot()->mss == 1400 && slot()->syn_window == 8000);
	w.peer_port++;
	w.ws = true;
	w.ts = false;
	handshake();
	xe_assert(slot()->options == XE_LOG_OPT_WSCALE && slot()->own_wscale == OWN_WSCALE);
	xe_assert(slot()->peer_wscale == PEER_WSCALE);
}

/* ---- FIN and RST only as the service asked ---- */

static void test_fin_held(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS);
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP);
	xe_assert(count()->fins_held == 1 && slot()->fins == 0 && event(XE_SSW_HINT));
	intend(XE_LOG_CLOSED, 99);
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP);
	intend(XE_LOG_CLOSED, 100);
	slot()->nsw_generation++; /* another generation's wish */
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP);
	intend(XE_LOG_CLOSED, 100);
	slot()->nsw_incarnation--; /* the slot's last connection's */
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP);
	intend(XE_LOG_CLOSED, 100);
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_PASS);
	xe_assert(slot()->fins == XE_LOG_OWN_FIN && slot()->own_fin_at == 100);
	xe_assert(slot()->sent_max == 100);
	xe_assert(in(XE_ACK, 0, 101, NULL, 0) == XE_PASS);
	xe_assert(slot()->fins == (XE_LOG_OWN_FIN | XE_LOG_OWN_FIN_ACKED));
	xe_assert(slot()->peer_acked == 100);
}

static void test_reset_held(void)
{
	handshake();
	xe_assert(out(XE_RST, 0, 0, 0) == XE_DROP);
	intend(XE_LOG_CLOSED, 0); /* shutdown is no abort */
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_DROP);
	xe_assert(count()->rsts_held == 2 && conn() && event(XE_SSW_HINT));
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 0);
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(!conn());
}

static void test_fin_after_fault(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS);
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 100);
	fail_over(5);
	xe_assert(out(XE_RST, 0, 0, 0) == XE_DROP);
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP); /* asked before the fault */
	intend(XE_LOG_CLOSED, 100);
	xe_assert(out(XE_ACK | XE_FIN, 0, 0, 100) == XE_PASS);
	xe_assert(w.p.seg.seq == own_seq(0));
}

static void test_refused_by_tcp(void)
{
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_PASS); /* no listener */
	xe_ssw_detach(w.s, w.now);
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_DROP); /* it will be there */
	xe_ssw_replay(w.s, w.now);
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_PASS);
}

static void test_diverged(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS);
	fail_over(99);
	intend(XE_LOG_CLOSED, 60);
	xe_assert(out(XE_ACK | XE_FIN, 0, 0, 60) == XE_DROP); /* the client has seen 100 */
	xe_assert(event(XE_SSW_DIVERGED));
	expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(100));
	expect_own(XE_TO_GUEST, XE_RST);
	xe_assert(w.p.seg.seq == peer_seq(0));
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_DROP);
}

/* ---- rule 5: a full log ---- */

static void fill_log(void)
{
	uint16_t port = w.peer_port;

	for (w.peer_port = 9000; w.s->pool.free_count > 0; w.peer_port++) {
		handshake();
		xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS); /* opens the window */
		for (int64_t at = 0; at < 60000 && w.s->pool.free_count > 0; at += 1400)
			xe_assert(in_data(at, 1400) == XE_PASS);
	}
	w.peer_port = port;
}

static uint16_t largest_port(void)
{
	uint32_t most = 0;
	uint16_t port = 0;

	for (uint32_t i = 0; i < w.s->log.slots; i++) {
		const struct xe_conn *c = &w.s->conn[i];

		if (c->state == XE_CONN_ESTABLISHED && c->stream.blocks + c->out.blocks > most) {
			most = c->stream.blocks + c->out.blocks;
			port = c->peer_port;
		}
	}
	return port;
}

/* The segment is lost, not the protection; what nobody gives back the largest holder loses. */
static void test_full_log_takes_from_the_largest(void)
{
	enum xe_direction to;
	uint16_t port;

	handshake();
	fill_log();
	port = largest_port();
	xe_assert(port != PEER_PORT);
	xe_assert(in_data(0, 100) == XE_DROP && count()->starved == 1);
	xe_assert(!event(XE_SSW_UNPROTECTED) && !conn()->unprotected);
	xe_assert(xe_ssw_poll_at(w.s) == w.now + XE_SSW_STARVE);
	w.now += XE_SSW_STARVE - 1;
	expect_quiet();
	xe_assert(in_data(0, 100) == XE_DROP && !event(XE_SSW_UNPROTECTED));
	w.now++;
	own_packet(&to);
	xe_assert(event(XE_SSW_UNPROTECTED) && w.s->pool.free_count >= 4);
	xe_assert(xe_ssw_find(w.s, SERVER, PORT, CLIENT, port)->unprotected);
	xe_assert(in_data(0, 100) == XE_PASS && !conn()->unprotected);
	expect_logged(0, stream_bytes, 100);
}

static void test_full_log_emptied_in_time(void)
{
	enum xe_direction to;
	uint16_t port;

	handshake();
	fill_log();
	xe_assert(in_data(0, 100) == XE_DROP);
	port = w.peer_port;
	w.peer_port = largest_port();
	xe_assert(in(XE_RST, (int64_t)conn()->rcv_logged, 0, NULL, 0) == XE_PASS && !conn());
	w.peer_port = port;
	w.now += XE_SSW_STARVE;
	while (own_packet(&to)) /* others hear of the room */
		xe_assert(to == XE_TO_NETWORK && w.p.seg.flags == XE_ACK);
	xe_assert(!event(XE_SSW_UNPROTECTED) && xe_ssw_poll_at(w.s) > w.now + XE_SECOND);
	xe_assert(in_data(0, 100) == XE_PASS);
}

/* Output that cannot be copied does not leave: TCP sends it again. */
static void test_full_log_holds_output(void)
{
	handshake();
	fill_log();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_DROP && slot()->sent_max == 0);
	xe_assert(out(XE_ACK, 100, 0, 100) == XE_DROP); /* nor what follows it */
	xe_assert(count()->starved == 1);
	xe_ssw_free(w.s, xe_ssw_find(w.s, SERVER, PORT, CLIENT, largest_port()));
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS && slot()->sent_max == 100);
}

/* Peers are told of the room that there is, never of less than before, and of more when there is. */
static void test_full_log_shrinks_windows(void)
{
	enum xe_direction to;
	uint64_t told;

	handshake();
	xe_assert(in_data(0, 1000) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 1000, 0) == XE_PASS);
	xe_assert(w.p.seg.window == w.own_win);
	told = 1000 + ((uint64_t)w.own_win << OWN_WSCALE);
	fill_log();
	w.own_win = 60000;
	xe_assert(out(XE_ACK, 0, 1000, 0) == XE_PASS);
	xe_assert(1000 + ((uint64_t)w.p.seg.window << OWN_WSCALE) == told);
	xe_assert(conn()->squeezed && conn()->told_edge == told);
	xe_assert(in_data(1000, 1000) == XE_PASS); /* what it was told it may send */
	conn()->told_edge = 2000;
	xe_assert(out(XE_ACK, 0, 2000, 0) == XE_PASS);
	told = 2000 + ((uint64_t)w.p.seg.window << OWN_WSCALE);
	xe_assert(told <= XE_LOG_BLOCK && told > XE_LOG_BLOCK - (1 << OWN_WSCALE));
	xe_ssw_free(w.s, xe_ssw_find(w.s, SERVER, PORT, CLIENT, largest_port()));
	xe_ssw_starve(w.s, w.now);
	w.now += XE_SSW_STARVE;
	do
		xe_assert(own_packet(&to) && to == XE_TO_NETWORK);
	while (w.p.seg.dport != w.peer_port);
	xe_assert(w.p.seg.ack == peer_seq(2000) && w.p.seg.seq == own_seq(0));
	xe_assert(((uint64_t)w.p.seg.window << OWN_WSCALE) > 2 * XE_LOG_BLOCK);
}

/* An unprotected connection goes on; a fault ends it, at the number that the peer's ACK tells. */
static void test_unprotected(void)
{
	handshake();
	xe_ssw_unprotect(w.s, conn(), ENOSPC, w.now);
	xe_assert(XE_LOG_LOAD(slot()->state) == XE_LOG_UNPROTECTED && event(XE_SSW_UNPROTECTED));
	xe_assert(in_data(0, 100) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 100, 50) == XE_PASS);
	xe_assert(in(XE_ACK, 100, 30, stream_bytes, 10) == XE_PASS);
	fault();
	xe_assert(event(XE_SSW_RESET));
	expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(50));
	xe_assert(in(XE_ACK, 110, 45, NULL, 0) == XE_DROP); /* a challenge ACK */
	expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(45) && w.p.seg.dport == PEER_PORT);
	for (int64_t other = 40; other < 70; other += 20) { /* an older one, and one of a liar */
		xe_assert(in(XE_ACK, 110, other, NULL, 0) == XE_DROP);
		expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
		xe_assert(w.p.seg.seq == own_seq(45));
	}
}

/* What a service may be replaying is not taken from it; once replayed, it is. */
static void test_full_log_while_replaying(void)
{
	enum xe_direction to;

	handshake();
	xe_assert(in_data(0, XE_LOG_BLOCK / 4) == XE_PASS);
	fail_over(8);
	xe_assert(xe_ssw_replays(w.s, conn()));
	for (int64_t at = XE_LOG_BLOCK / 4; at + 1000 < BIG; at += 1000) {
		conn()->right_edge = BIG;
		xe_assert(in_data(at, 1000) == XE_PASS);
	}
	while (w.s->pool.free_count > 0) /* the rest is nobody's */
		w.s->pool.free_count--;
	xe_ssw_starve(w.s, w.now);
	for (int i = 0; i < 3; i++) {
		w.now += XE_SSW_STARVE;
		expect_quiet();
		xe_assert(!conn()->unprotected && xe_ssw_poll_at(w.s) == w.now + XE_SSW_STARVE);
	}
	intend(0, 0);
	atomic_store(&slot()->replayed, XE_LOG_BLOCK / 4);
	xe_assert(!xe_ssw_replays(w.s, conn()));
	w.now += XE_SSW_STARVE;
	own_packet(&to);
	xe_assert(conn()->unprotected && w.s->pool.free_count == 4);
}

/* No room while no TCP is there: dropped, the peer sends it again later. */
static void test_full_log_while_detached(void)
{
	handshake();
	fill_log();
	xe_ssw_detach(w.s, w.now);
	xe_assert(in_data(0, 100) == XE_DROP);
	xe_assert(!conn()->unprotected && conn()->attach == XE_DETACHED);
}

/* ---- re-establishment ---- */

static void test_fake_syn(void)
{
	handshake();
	w.peer_ts += 5;
	xe_assert(in_data(0, 300) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 200, 500) == XE_PASS);
	w.peer_win = 1234;
	xe_assert(in(XE_ACK, 300, 400, NULL, 0) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(300) - 1); /* the log's end, not the last ack */
	xe_assert(w.p.seg.window == 8000);
	xe_assert(w.p.seg.opt.mss == 1400 && w.p.seg.opt.has_wscale);
	xe_assert(w.p.seg.opt.wscale == PEER_WSCALE && !w.p.seg.opt.sack_permitted);
	xe_assert(w.p.seg.opt.has_ts && w.p.seg.opt.tsval == w.peer_ts);
	xe_assert(answer_fake(7000) == XE_DROP);
	xe_assert(slot()->replay_line == 300 && slot()->drop_line == 400);
	xe_assert(slot()->replay_generation == 2);
	expect_own(XE_TO_GUEST, XE_ACK);
	xe_assert(w.p.seg.seq == peer_seq(300) && w.p.seg.ack == 7001);
	xe_assert(w.p.seg.window == 1234 && w.p.seg.opt.tsecr == 777);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(500) && w.p.seg.ack == peer_seq(300));
	xe_assert(slot()->ack_sent == 300);
	expect_quiet();
	xe_assert(event(XE_SSW_REESTABLISHED));
}

static void test_fake_syn_without_options(void)
{
	w.ts = w.ws = false;
	handshake();
	xe_assert(in_data(0, 10) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(!w.p.seg.opt.has_ts && !w.p.seg.opt.has_wscale && w.p.seg.opt.mss == 1400);
	xe_assert(answer_fake(1) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
	xe_assert(!w.p.seg.opt.has_ts);
}

static void test_fake_syn_of_one_side(void)
{
	struct xe_segment g = base_segment(false, XE_SYN | XE_ACK, w.own_isn, w.peer_isn + 1);

	xe_assert(in_syn(w.peer_isn) == XE_PASS); /* offers both */
	g.opt.has_ts = false;
	xe_assert(give(false, &g, NULL, 0) == XE_PASS); /* takes none */
	w.ts = false;
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(!w.p.seg.opt.has_ts && !w.p.seg.opt.has_wscale);
}

static void test_delta(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 500) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 200, stream_bytes, 100) == XE_PASS);
	fail_over(0xffffffc0);
	/* outgoing: the new TCP's first byte is U = 200 */
	xe_assert(out(XE_ACK, 200, 100, 400) == XE_PASS);
	xe_assert(w.p.seg.seq == own_seq(200) && w.p.seg.ack == peer_seq(100));
	xe_assert(slot()->sent_max == 600);
	/* incoming: the ack in its numbers, seq untouched */
	xe_assert(in(XE_ACK, 100, 550, stream_bytes, 10) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(550) && w.p.seg.seq == peer_seq(100));
	/* RST: both ways */
	xe_assert(in(XE_RST | XE_ACK, 105, 550, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(550) && w.p.seg.seq == peer_seq(105));
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 0);
	xe_assert(out(XE_RST | XE_ACK, 600, 110, 0) == XE_PASS);
	xe_assert(w.p.seg.seq == own_seq(600));
}

static void test_ack_clamp(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 5000) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 1000, NULL, 0) == XE_PASS);
	fail_over(30);
	w.peer_win = 1000;
	/* above what the new TCP has sent */
	xe_assert(in(XE_ACK, 0, 5000, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(1000));
	xe_assert(w.p.seg.window == 1000 + (4000 >> PEER_WSCALE)); /* the right edge is kept */
	xe_assert(out(XE_ACK, 1000, 0, 1400) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 5000, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(2400));
	w.peer_win = 65535;
	xe_assert(in(XE_ACK, 0, 5000, NULL, 0) == XE_PASS && w.p.seg.window == 65535);
	/* below its first byte */
	w.peer_win = 1000;
	xe_assert(in(XE_ACK, 0, 900, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(1000) && w.p.seg.window == 1000);
	xe_assert(count()->acks_clamped == 4);
	/* the real one as soon as TCP gets there */
	xe_assert(out(XE_ACK, 2400, 0, 2600) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 5000, NULL, 0) == XE_PASS);
	xe_assert(w.p.seg.ack == guest_seq(5000) && w.p.seg.window == 1000);
	xe_assert(count()->acks_clamped == 4);
}

static void test_timestamps(void)
{
	uint32_t highest;

	handshake();
	w.own_ts += 0x200; /* wraps */
	highest = w.own_ts;
	xe_assert(out(XE_ACK, 0, 0, 10) == XE_PASS);
	w.own_ts -= 100;
	xe_assert(out(XE_ACK, 10, 0, 10) == XE_PASS);
	xe_assert(slot()->own_tsval == highest);
	fail_over(3);
	w.own_ts = 777; /* the clock of its SYN/ACK */
	xe_assert(out(XE_ACK, 0, 0, 10) == XE_PASS);
	xe_assert(w.p.seg.opt.tsval == highest + 1);
	w.own_ts = 780;
	xe_assert(out(XE_ACK, 10, 0, 10) == XE_PASS);
	xe_assert(w.p.seg.opt.tsval == highest + 4 && slot()->own_tsval == highest + 4);
	w.peer_ecr = highest + 4;
	xe_assert(in(XE_ACK, 0, 10, NULL, 0) == XE_PASS && w.p.seg.opt.tsecr == 780);
	w.peer_ecr = highest - 100; /* echoes the old TCP */
	xe_assert(in(XE_ACK, 0, 10, NULL, 0) == XE_PASS && w.p.seg.opt.tsecr == 777);
	fail_over(4); /* the clocks compose */
	xe_assert(out(XE_ACK, 10, 0, 10) == XE_PASS);
	xe_assert(w.p.seg.opt.tsval == highest + 5);
}

static void test_window_rescaled(void)
{
	handshake();
	w.guest_wscale = 7;
	fail_over(3);
	w.own_win = 100;
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(w.p.seg.window == 100 << (7 - OWN_WSCALE));
	xe_assert(conn()->tcp_right == 100u << 7 || conn()->tcp_right == 8000);
	w.own_win = 60000;
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS && w.p.seg.window == 65535);
	w.guest_wscale = 1;
	fail_over(4);
	w.own_win = 1001;
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(w.p.seg.window == 1001 >> 2);
}

static void test_mutual_hearing(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 3000) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 1000, stream_bytes, 100) == XE_PASS);
	w.own_win = 500;
	fail_over(3);
	/* bare segments at sent_max, payload where it belongs, until sent_max is passed */
	xe_assert(out(XE_ACK, 1000, 100, 0) == XE_PASS && w.p.seg.seq == own_seq(3000));
	xe_assert(out(XE_ACK, 1000, 100, 1400) == XE_PASS && w.p.seg.seq == own_seq(1000));
	xe_assert(out(XE_ACK, 2400, 100, 0) == XE_PASS && w.p.seg.seq == own_seq(3000));
	xe_assert(out(XE_ACK, 2400, 100, 1000) == XE_PASS && w.p.seg.seq == own_seq(2400));
	xe_assert(out(XE_ACK, 3400, 100, 0) == XE_PASS && w.p.seg.seq == own_seq(3400));
	xe_assert(out(XE_ACK, 2400, 100, 0) == XE_PASS && w.p.seg.seq == own_seq(2400));
}

static void test_beyond_the_new_window(void)
{
	uint64_t right;

	handshake(); /* the old TCP's window: 64000 once scaled */
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS);
	w.own_win = 500;
	fail_over(3);
	right = conn()->tcp_right;
	xe_assert(right == 500 && conn()->right_edge > 9000);
	xe_assert(in(XE_ACK, 9000, 0, NULL, 0) == XE_PASS); /* a lost flight before it */
	xe_assert(w.p.seg.seq == peer_seq((int64_t)right - 1));
	xe_assert(in(XE_ACK, 499, 0, NULL, 0) == XE_PASS && w.p.seg.seq == peer_seq(499));
	xe_assert(in_data(9000, 10) == XE_PASS && w.p.seg.seq == peer_seq(9000));
}

static void test_logged_while_detached(void)
{
	handshake();
	xe_ssw_detach(w.s, w.now);
	xe_assert(in_data(0, 100) == XE_DROP && slot()->rcv_logged == 100);
	xe_assert(in_data(200, 100) == XE_DROP && slot()->rcv_logged == 100);
	xe_assert(in(XE_ACK, 100, 0, stream_bytes + 100, 50) == XE_DROP);
	expect_quiet(); /* nothing to talk to yet */
	xe_assert(out(XE_ACK, 0, 0, 10) == XE_DROP); /* the old domain is not heard */
	xe_assert(slot()->sent_max == 0);
	xe_ssw_replay(w.s, w.now);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(150) - 1);
	xe_assert(in_data(150, 50) == XE_DROP && slot()->rcv_logged == 300); /* L is frozen */
	xe_assert(in(XE_RST, 300, 0, NULL, 0) == XE_DROP && conn());
	xe_assert(in(XE_ACK | XE_FIN, 300, 0, NULL, 0) == XE_DROP);
	w.now += XE_SSW_RETRY;
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(150) - 1);
	xe_assert(answer_fake(9) == XE_DROP && slot()->replay_line == 150);
	expect_own(XE_TO_GUEST, XE_ACK);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(w.p.seg.ack == peer_seq(150));
	expect_own(XE_TO_GUEST, XE_ACK); /* what came since */
	xe_assert(w.p.seg.seq == peer_seq(150));
	payload_is(stream_bytes + 150, 150);
	expect_own(XE_TO_GUEST, XE_ACK | XE_FIN);
	xe_assert(w.p.seg.seq == peer_seq(300));
	expect_quiet();
}

static void test_range_logged_while_detached(void)
{
	uint8_t other[100];

	memset(other, 0xcc, sizeof(other));
	handshake();
	xe_ssw_detach(w.s, w.now);
	xe_assert(in_data(100, 100) == XE_DROP);
	xe_ssw_replay(w.s, w.now);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(answer_fake(4) == XE_DROP);
	xe_assert(in_data(0, 100) == XE_PASS && slot()->rcv_logged == 200);
	/* the new TCP never got [100, 200): it gets it from the log, and so it is if it comes again */
	expect_own(XE_TO_GUEST, XE_ACK);
	expect_own(XE_TO_NETWORK, XE_ACK);
	expect_own(XE_TO_GUEST, XE_ACK);
	xe_assert(w.p.seg.seq == peer_seq(100) && w.p.seg.ack == 5);
	payload_is(stream_bytes + 100, 100);
	expect_quiet();
	xe_assert(in(XE_ACK, 100, 0, other, 100) == XE_PASS);
	payload_is(stream_bytes + 100, 100);
}

/* Logged out of order before the fault, in several pieces; a long one takes several packets. */
static void test_ranges_injected(void)
{
	int64_t at = 12000;

	handshake();
	w.own_win = 4000;
	xe_assert(out(XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(in_data(1000, 3000) == XE_PASS && in_data(12000, 3000) == XE_PASS);
	fail_over(40);
	xe_assert(conn()->lacking);
	xe_assert(in_data(0, 1000) == XE_PASS && slot()->rcv_logged == 4000);
	for (int64_t n = 1000; n < 4000; n += w.p.payload_len) {
		expect_own(XE_TO_GUEST, XE_ACK);
		xe_assert(w.p.seg.seq == peer_seq(n) && w.p.payload_len <= 1448);
		payload_is(stream_bytes + n, w.p.payload_len);
	}
	expect_quiet();
	xe_assert(in_data(4000, 6000) == XE_PASS && conn()->lacking);
	expect_quiet();
	xe_assert(in_data(10000, 2000) == XE_PASS && slot()->rcv_logged == 15000);
	while (own_packet(&(enum xe_direction){0})) {
		payload_is(stream_bytes + at, w.p.payload_len);
		at += w.p.payload_len;
	}
	xe_assert(at == 15000 && !conn()->lacking && count()->injected_bytes == 6000);
	xe_assert(in_data(16000, 100) == XE_PASS && in_data(15000, 1000) == XE_PASS);
	expect_quiet(); /* this TCP has them itself */
}

/* ---- output check ---- */

static uint8_t other_bytes[BIG];

/* As out(), but with byte `wrong` of the stream changed. */
static enum xe_verdict out_wrong(int64_t seq, size_t n, int64_t wrong)
{
	struct xe_segment g = base_segment(false, XE_ACK, guest_seq(seq), peer_seq(0));

	memcpy(other_bytes, stream_bytes, sizeof(other_bytes));
	other_bytes[wrong] ^= 0x40;
	return give(false, &g, other_bytes + seq, n);
}

static void test_crc_of_what_is_dropped(void)
{
	handshake();
	for (int64_t at = 0; at < 60000; at += 1200)
		xe_assert(out(XE_ACK, at, 0, 1200) == XE_PASS);
	xe_assert(out(XE_ACK, 100, 0, 500) == XE_PASS); /* a retransmission changes nothing */
	xe_assert(in(XE_ACK, 0, 777, NULL, 0) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 40001, NULL, 0) == XE_PASS);
	xe_assert(conn()->out.blocks == 2);
	fail_over(1234);
	xe_assert(slot()->drop_line == 40001);
	xe_assert(slot()->drop_crc == xe_crc32c(0, stream_bytes, 40001));
	xe_assert(out(XE_ACK, 40001, 0, 19999) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 60000, NULL, 0) == XE_PASS && conn()->out.blocks == 0);
	fail_over(99);
	xe_assert(slot()->drop_crc == xe_crc32c(0, stream_bytes, 60000));
}

/* A byte that differs anywhere in [U, sent_max): nothing of that segment leaves, nor anything new. */
static void test_output_in_flight_is_compared(void)
{
	static const int64_t wrong[] = {300, 301, 999, 1000, 1001, 1998, 1999};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		w.peer_port++;
		w.guest_isn = w.own_isn;
		w.guest_base = 0;
		handshake();
		xe_assert(out(XE_ACK, 0, 0, 2000) == XE_PASS);
		xe_assert(in(XE_ACK, 0, 300, NULL, 0) == XE_PASS);
		fail_over(77);
		event(0);
		xe_assert(out(XE_ACK, 1300, 0, 100) ==
			  XE_DROP); /* what comes before it is missing */
		if (wrong[i] >= 1000)
			xe_assert(out(XE_ACK, 300, 0, 700) == XE_PASS);
		xe_assert(out_wrong(wrong[i] < 1000 ? 300 : 1000, 1500, wrong[i]) == XE_DROP);
		xe_assert(count()->diverged == i + 1 && event(XE_SSW_DIVERGED));
		expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
		xe_assert(w.p.seg.seq == own_seq(2000));
		expect_own(XE_TO_GUEST, XE_RST);
		xe_assert(out(XE_ACK, 2000, 0, 100) == XE_DROP);
		xe_ssw_free(w.s, conn());
	}
}

static void test_new_output_is_free(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 2000) == XE_PASS);
	fail_over(77);
	xe_assert(out_wrong(0, 2500, 2000) == XE_PASS); /* the first byte that nobody has seen */
	xe_assert(conn()->verified == 2000 && slot()->sent_max == 2500);
	fail_over(78);
	xe_assert(out(XE_ACK, 0, 0, 2001) == XE_DROP && event(XE_SSW_DIVERGED));
}

/* Acks of what the old TCP sent do not spare the new one the comparison. */
static void test_acked_before_compared(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 2000) == XE_PASS);
	fail_over(77);
	xe_assert(in(XE_ACK, 0, 2000, NULL, 0) == XE_PASS); /* in flight during the switch */
	xe_assert(conn()->crc_at == 0);
	xe_assert(out(XE_ACK, 0, 0, 1000) == XE_PASS && conn()->crc_at == 1000);
	fail_over(79); /* in mid-comparison */
	xe_assert(slot()->drop_line == 2000);
	xe_assert(slot()->drop_crc == xe_crc32c(0, stream_bytes, 2000));
	xe_assert(out_wrong(2000, 10, 2000) == XE_PASS);
}

/* The new kernel found that the dropped output was another one: it resets, and so do we. */
static void test_dropped_output_diverged(void)
{
	handshake();
	xe_assert(out(XE_ACK, 0, 0, 100) == XE_PASS && in(XE_ACK, 0, 60, NULL, 0) == XE_PASS);
	fail_over(5);
	intend(XE_LOG_DIVERGED, 0);
	xe_assert(out(XE_RST | XE_ACK, 60, 0, 0) == XE_DROP && event(XE_SSW_DIVERGED));
	expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(100));
	expect_own(XE_TO_GUEST, XE_RST);
	for (int again = 1; again < XE_SSW_RESETS; again++) { /* it may have been lost */
		expect_quiet();
		xe_assert(xe_ssw_poll_at(w.s) == w.now + XE_SSW_RESET_AGAIN);
		w.now += XE_SSW_RESET_AGAIN;
		expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
		xe_assert(w.p.seg.seq == own_seq(100));
	}
	expect_quiet();
	xe_assert(xe_ssw_poll_at(w.s) > w.now + XE_SECOND);
}

static void test_given_up(void)
{
	handshake();
	xe_assert(in_data(0, 300) == XE_PASS && out(XE_ACK, 0, 300, 200) == XE_PASS);
	xe_ssw_detach(w.s, w.now);
	memset(slot(), 0xff, sizeof(struct xe_log_slot)); /* the dead kernel's last deed */
	xe_ssw_give_up(w.s, w.now);
	expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(200) && w.p.seg.ack == peer_seq(300));
	expect_quiet();
}

/* The peer is gone, TCP has given up without a word, and the service has closed. */
static void test_ends_in_silence(void)
{
	uint32_t blocks = w.s->pool.free_count;

	handshake();
	xe_assert(in_data(0, 300) == XE_PASS && out(XE_ACK, 0, 300, 200) == XE_PASS);
	for (int i = 0; i < 10; i++) { /* the service may think for as long as it likes */
		w.now += XE_SSW_LOOK;
		expect_quiet();
	}
	xe_assert(conn());
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 200);
	xe_assert(out(XE_ACK, 0, 300, 200) == XE_PASS); /* the last retransmission */
	w.now += XE_SSW_SILENCE - 1;
	expect_quiet();
	xe_assert(conn());
	w.now += XE_SSW_LOOK;
	expect_quiet();
	xe_assert(!conn() && w.s->pool.free_count == blocks && count()->forgotten == 1);
	xe_assert(xe_ssw_poll_at(w.s) == XE_NEVER);
}

/* Of several SYNs, TCP's answer tells which one it took. */
static void test_timestamp_of_the_syn_that_was_taken(void)
{
	uint32_t first = w.peer_ts;

	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	w.peer_ts += 48;
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	w.peer_ts = first;
	xe_assert(out_synack(w.own_isn, w.peer_isn + 1) == XE_PASS && conn()->ts_recent == first);
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS && conn()->state == XE_CONN_ESTABLISHED);
}

/* The service has ended its output, the peer too: `in_data(0, 300)` is unread. */
static void over_and_unread(void)
{
	intend(XE_LOG_CLOSED, 100);
	xe_assert(out(XE_ACK | XE_FIN, 0, 300, 100) == XE_PASS);
	xe_assert(in(XE_ACK | XE_FIN, 300, 101, NULL, 0) == XE_PASS);
	xe_assert(out(XE_ACK, 101, 301, 0) == XE_PASS);
	xe_assert(conn()->state == XE_CONN_ESTABLISHED && conn()->stream.blocks == 1);
	expect_logged(0, stream_bytes, 300);
}

static void expect_buried_soon(void)
{
	w.now += XE_SSW_LOOK_AGAIN;
	expect_quiet();
	xe_assert(conn()->state == XE_CONN_ESTABLISHED);
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 100); /* no packet says so */
	w.now += XE_SSW_LOOK_AGAIN;
	expect_quiet();
	xe_assert(conn()->state == XE_CONN_TOMBSTONE && !slot());
}

/* A service that has ended its output may still be reading what is replayed. */
static void test_payload_stays_while_it_is_read(void)
{
	handshake();
	xe_assert(in_data(0, 300) == XE_PASS && out(XE_ACK, 0, 300, 100) == XE_PASS);
	fail_over(9);
	over_and_unread();
	atomic_store(&slot()->replayed, 300);
	expect_buried_soon();
}

/* A new TCP in TIME_WAIT may know older time stamps only: the SYN of before is none to it. */
static void test_old_syn_after_a_recovery(void)
{
	struct snapshot was;

	handshake();
	xe_assert(in_data(0, 300) == XE_PASS && out(XE_ACK, 0, 300, 100) == XE_PASS);
	fail_over(9);
	xe_assert(in(XE_SYN, -1, 0, NULL, 0) == XE_PASS); /* TCP's to answer (RFC 5961) */
	over_and_unread();
	was = snapshot();
	xe_assert(in(XE_SYN, -1, 0, NULL, 0) == XE_DROP);
	w.peer_ts--;
	xe_assert(in(XE_SYN, 100000, 0, NULL, 0) == XE_DROP);
	expect_same(&was);
	w.peer_ts += 2;
	xe_assert(in(XE_SYN, 100000, 0, NULL, 0) == XE_PASS);
}

/* ... and without a fault what TCP has acked; a fault then finds it. */
static void test_payload_stays_until_the_service_closes(void)
{
	uint32_t blocks = w.s->pool.free_count;

	handshake();
	xe_assert(in_data(0, 300) == XE_PASS);
	over_and_unread();
	fail_over(9);
	expect_own(XE_TO_GUEST, XE_ACK | XE_FIN);
	xe_assert(in(XE_RST, 301, 0, NULL, 0) == XE_DROP); /* the peer has forgotten it */
	intend(XE_LOG_CLOSED, 100);
	expect_logged(0, stream_bytes, 300);
	expect_buried_soon();
	xe_assert(w.s->pool.free_count == blocks);
}

static void test_paws_ends_after_24_days(void)
{
	handshake();
	w.peer_ts -= 5;
	xe_assert(in_data(0, 10) == XE_DROP);
	w.now += XE_SSW_PAWS_IDLE;
	xe_assert(in_data(0, 10) == XE_PASS && conn()->ts_recent == w.peer_ts);
	w.peer_ts -= 5;
	xe_assert(in_data(10, 10) == XE_DROP);
}

/* ---- what the new TCP is ---- */

static void test_lacking_options_refused(void)
{
	handshake();
	for (int lacking = 0; lacking < 2; lacking++) {
		w.peer_port++;
		w.guest_isn = w.own_isn;
		w.guest_base = 0;
		handshake();
		fault();
		do
			expect_own(XE_TO_GUEST, XE_SYN);
		while (w.p.seg.sport != w.peer_port);
		w.ts = lacking != 0;
		w.ws = lacking == 0;
		xe_assert(answer_fake(9) == XE_DROP && event(XE_SSW_RESET));
		w.ts = w.ws = true;
		expect_own(XE_TO_NETWORK, XE_RST | XE_ACK);
		expect_own(XE_TO_GUEST, XE_RST);
		xe_assert(w.p.seg.seq == peer_seq(0));
	}
}

/* The domain still has a socket of this connection: it answers the SYN with a challenge ACK. */
static void test_old_incarnation_reset(void)
{
	handshake();
	xe_assert(in_data(0, 300) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(out(XE_ACK, 0, 200, 0) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_RST);
	xe_assert(w.p.seg.seq == peer_seq(200) && count()->old_resets == 1);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(300) - 1);
	xe_assert(answer_fake(5) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
}

/* The client may have taken the first SYN/ACK: the shift in it holds, whatever the new TCP has. */
static void test_half_done_handshake_other_shift(void)
{
	half_open();
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	w.guest_wscale = OWN_WSCALE + 3;
	xe_assert(answer_fake(123456) == XE_PASS && w.p.seg.opt.wscale == OWN_WSCALE);
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS);
	w.own_win = 100;
	xe_assert(out(XE_ACK, 0, 0, 20) == XE_PASS && w.p.seg.window == 800);
}

/* The client had acked our FIN and may be gone: who closes again is answered here. */
static void test_fin_acked_before_the_fault(void)
{
	handshake();
	intend(XE_LOG_CLOSED, 100);
	xe_assert(out(XE_ACK | XE_FIN, 0, 0, 100) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 101, NULL, 0) == XE_PASS);
	fail_over(50);
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 100);
	xe_assert(out(XE_ACK | XE_FIN, 100, 0, 0) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
	xe_assert(w.p.seg.ack == guest_seq(101) && w.p.seg.seq == peer_seq(0));
	xe_assert(in(XE_ACK | XE_FIN, 0, 101, NULL, 0) == XE_PASS);
	xe_assert(out(XE_ACK, 101, 1, 0) == XE_PASS && conn()->state == XE_CONN_TOMBSTONE);
}

static void test_synack_repeated(void)
{
	handshake();
	fail_over(50);
	expect_quiet();
	xe_assert(out_synack(50, peer_seq(0)) == XE_DROP); /* our ACK was lost */
	expect_own(XE_TO_GUEST, XE_ACK);
	xe_assert(w.p.seg.ack == 51 && w.p.seg.seq == peer_seq(0));
	expect_quiet();
}

/* The peer may have taken the last one: what the next TCP says is not older (PAWS). */
static void test_timestamp_of_a_repeated_synack(void)
{
	half_open();
	w.own_ts += 3000;
	xe_assert(out_synack(w.own_isn, peer_seq(0)) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS);
	w.own_ts -= 3000;
	fail_over(50);
	xe_assert(xe_seq_ge(w.p.seg.opt.tsval, 0xffffff00u + 3000));
	xe_assert(out(XE_ACK, 0, 0, 5) == XE_PASS);
	xe_assert(xe_seq_gt(w.p.seg.opt.tsval, 0xffffff00u + 3000));
}

static void test_synack_of_another(void)
{
	handshake();
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(out_synack(50, peer_seq(1)) == XE_DROP);
	xe_assert(conn()->attach == XE_FAKING);
	expect_quiet();
}

static void test_no_listener_yet(void)
{
	handshake();
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_DROP);
	xe_assert(conn()->attach == XE_FAKING);
	expect_quiet();
	xe_assert(xe_ssw_poll_at(w.s) == w.now + 5 * XE_MS);
	w.now += 5 * XE_MS - 1;
	expect_quiet();
	w.now += 1;
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(count()->fake_syns == 2);
	xe_assert(answer_fake(9) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(xe_ssw_poll_at(w.s) == 0 || xe_ssw_poll_at(w.s) > w.now + XE_SECOND);
}

static void test_half_done_handshake(void)
{
	uint32_t sent = w.own_ts;

	half_open();
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == w.peer_isn);
	xe_assert(answer_fake(123456) == XE_PASS); /* to the client, as the first one was */
	xe_assert(w.p.seg.seq == w.own_isn && w.p.seg.ack == w.peer_isn + 1);
	xe_assert(w.p.seg.flags == (XE_SYN | XE_ACK) && w.p.seg.opt.tsval == sent + 1);
	expect_quiet();
	xe_assert(in_syn(w.peer_isn) == XE_PASS); /* it was lost; TCP repeats it */
	xe_assert(out_synack(123456, w.peer_isn + 1) == XE_PASS && w.p.seg.seq == w.own_isn);
	xe_assert(in(XE_ACK, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(w.p.seg.ack == 123457 && conn()->state == XE_CONN_ESTABLISHED);
	xe_assert(out(XE_ACK, 0, 10, 20) == XE_PASS && w.p.seg.seq == own_seq(0));
}

static void test_syn_without_answer(void)
{
	xe_assert(in_syn(w.peer_isn) == XE_PASS);
	fault();
	xe_assert(!conn());
	expect_quiet();
	handshake(); /* the client's next SYN */
}

static void test_peer_fin_replayed(void)
{
	handshake();
	xe_assert(in(XE_ACK | XE_FIN, 0, 0, stream_bytes, 10) == XE_PASS);
	xe_assert(out(XE_ACK, 0, 11, 0) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(10) - 1);
	xe_assert(answer_fake(5) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(w.p.seg.ack == peer_seq(11)); /* an ack does not go back */
	expect_own(XE_TO_GUEST, XE_ACK | XE_FIN);
	xe_assert(w.p.seg.seq == peer_seq(10) && w.p.seg.ack == 6);
	xe_assert(out(XE_ACK, 0, 11, 0) == XE_PASS && slot()->ack_sent == 11);
}

static void test_second_fault_while_faking(void)
{
	handshake();
	xe_assert(in_data(0, 10) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_ssw_detach(w.s, w.now);
	xe_assert(out_synack(1, w.p.seg.seq + 1) == XE_DROP); /* the fenced one's answer */
	xe_assert(conn()->attach == XE_DETACHED);
	xe_assert(in_data(10, 10) == XE_DROP && slot()->rcv_logged == 20);
	xe_ssw_replay(w.s, w.now);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(w.p.seg.seq == peer_seq(20) - 1);
	xe_assert(answer_fake(2) == XE_DROP && slot()->replay_generation == 3);
}

static void test_pace(void)
{
	enum { MANY = 400 };
	enum xe_direction to;
	int syns = 0;

	for (int i = 0; i < MANY; i++, w.peer_port++)
		handshake();
	fault();
	while (own_packet(&to))
		syns++;
	xe_assert(syns == XE_SSW_PACE && w.s->faking == XE_SSW_PACE);
	w.now += 5 * XE_MS;
	for (syns = 0; own_packet(&to); syns++)
		xe_assert(w.p.seg.flags == XE_SYN);
	xe_assert(syns == XE_SSW_PACE); /* the same ones */
	for (int i = 0; i < 2 * MANY + 10 && w.s->to_reestablish; i++) {
		w.now += 5 * XE_MS;
		while (own_packet(&to)) {
			if (w.p.seg.flags != XE_SYN)
				continue;
			w.peer_port = w.p.seg.sport;
			xe_assert(conn()->attach == XE_FAKING);
			xe_assert(w.s->faking <= XE_SSW_PACE);
			xe_assert(answer_fake((uint32_t)i) == XE_DROP);
		}
	}
	xe_assert(w.s->to_reestablish == 0 && w.s->faking == 0);
	xe_assert(count()->reestablished == MANY && event(XE_SSW_REESTABLISHED));
	xe_assert(xe_ssw_poll_at(w.s) > w.now + XE_SECOND || xe_ssw_poll_at(w.s) == 0);
}

static void test_unknown_while_recovering(void)
{
	struct xe_segment g;

	handshake();
	xe_ssw_detach(w.s, w.now);
	w.peer_port = 77;
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_DROP);
	xe_assert(in(XE_ACK, 0, 0, stream_bytes, 10) == XE_DROP);
	xe_assert(count()->unknown_dropped == 2);
	g = base_segment(false, XE_RST, 1, 0);
	xe_assert(give(false, &g, NULL, 0) == XE_DROP);
	w.peer_port = PEER_PORT;
	xe_ssw_replay(w.s, w.now);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(answer_fake(1) == XE_DROP);
	w.peer_port = 77;
	xe_assert(in(XE_ACK, 0, 0, NULL, 0) == XE_PASS); /* TCP may reset it now */
	xe_assert(give(false, &g, NULL, 0) == XE_PASS);
}

/* ---- tombstones ---- */

static void close_both(void)
{
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 20);
	xe_assert(out(XE_ACK | XE_FIN, 0, 0, 20) == XE_PASS);
	xe_assert(in(XE_ACK | XE_FIN, 0, 21, stream_bytes, 10) == XE_PASS);
	xe_assert(out(XE_ACK, 21, 11, 0) == XE_PASS);
	xe_assert(conn()->state == XE_CONN_TOMBSTONE && !slot());
}

static void test_tombstone(void)
{
	struct xe_ssw_info info;

	handshake();
	close_both();
	xe_ssw_info(w.s, &info);
	xe_assert(info.connections == 0 && info.blocks_free == info.blocks);
	xe_assert(in(XE_ACK | XE_FIN, 10, 21, NULL, 0) == XE_PASS); /* TIME-WAIT answers */
	xe_assert(in(XE_RST, 11, 0, NULL, 0) == XE_DROP); /* does not end that (RFC 1337) */
	xe_assert(out(XE_RST, 0, 0, 21) == XE_DROP);      /* to a stray; it may meet a new one */
	expect_quiet();
	fault();
	xe_assert(event(XE_SSW_REESTABLISHED));
	xe_assert(in(XE_ACK, 11, 21, NULL, 0) == XE_DROP);
	expect_quiet();
	xe_assert(in(XE_ACK | XE_FIN, 10, 21, NULL, 0) == XE_DROP);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(w.p.seg.seq == own_seq(21) && w.p.seg.ack == peer_seq(11));
	expect_quiet();
	xe_assert(count()->tombstone_answers == 1);
	xe_assert(in(XE_SYN, -1, 0, NULL, 0) == XE_DROP); /* it was on its way all the time */
	w.peer_ts--;
	xe_assert(in(XE_SYN, 100000, 0, NULL, 0) == XE_DROP);
	xe_assert(conn()->state == XE_CONN_TOMBSTONE);
	w.peer_ts++;
	w.peer_isn += 100000;
	handshake(); /* it yields */
}

static void test_closed_while_detached(void)
{
	handshake();
	intend(XE_LOG_CLOSED | XE_LOG_ABORTED, 20);
	xe_assert(out(XE_ACK | XE_FIN, 0, 0, 20) == XE_PASS);
	xe_assert(in(XE_ACK | XE_FIN, 0, 0, NULL, 0) == XE_PASS);
	xe_assert(out(XE_ACK, 21, 1, 0) == XE_PASS);
	fault();
	xe_assert(in(XE_ACK, 1, 21, NULL, 0) == XE_DROP); /* the last ack: nothing is left to do */
	xe_assert(conn()->state == XE_CONN_TOMBSTONE && event(XE_SSW_REESTABLISHED));
	expect_quiet();
}

static void test_tombstone_yields_when_live(void)
{
	handshake();
	close_both();
	w.peer_isn += 100000;
	w.own_isn += 50000;
	w.guest_isn = w.own_isn;
	handshake();
	xe_assert(slot()->peer_isn == w.peer_isn);
}

/* ---- the table ---- */

static void check_chains(void)
{
	uint32_t found = 0, used = 0;

	for (uint32_t b = 0; b < w.log.slots; b++) {
		uint32_t i = w.s->bucket[b], shown = XE_LOG_LOAD(*xe_log_bucket(&w.log, b));

		for (; i != XE_LOG_NONE; i = w.s->conn[i].hash_next) {
			struct xe_conn *c = &w.s->conn[i];

			xe_assert(shown == i && c->state != XE_CONN_FREE);
			xe_assert(++found <= w.log.slots);
			shown = xe_log_slot(&w.log, i)->hash_next;
		}
		xe_assert(shown == XE_LOG_NONE);
	}
	for (uint32_t i = 0; i < w.log.slots; i++)
		used += w.s->conn[i].state != XE_CONN_FREE;
	xe_assert(used == found);
}

static void test_chains(void)
{
	struct xe_rng rng = {.state = 3};

	for (int i = 0; i < 4000; i++) {
		w.peer_port = (uint16_t)(100 + xe_rng_below(&rng, 100));
		if (!conn() || conn()->state == XE_CONN_TOMBSTONE) {
			if (xe_rng_below(&rng, 3) == 0)
				in_syn(w.peer_isn); /* never answered */
			else
				handshake();
		} else if (conn()->state != XE_CONN_ESTABLISHED) {
			xe_assert(out(XE_RST | XE_ACK, 0, 0, 0) == XE_PASS);
			xe_ssw_free(w.s, conn());
		} else if (xe_rng_below(&rng, 2)) {
			xe_assert(in(XE_RST, 0, 0, NULL, 0) == XE_PASS && !conn());
		} else {
			close_both();
		}
		if (xe_rng_below(&rng, 40) == 0)
			w.now += XE_SSW_TOMBSTONE;
		if (i % 16 == 0)
			check_chains();
	}
}

static void test_table_full(void)
{
	for (uint32_t i = 0; i < w.log.slots; i++, w.peer_port++)
		handshake();
	xe_assert(in_syn(w.peer_isn) == XE_PASS && !conn()); /* unprotected from the start */
	xe_assert(event(XE_SSW_UNPROTECTED));
	xe_assert(out_synack(w.own_isn, w.peer_isn + 1) == XE_PASS);
	xe_assert(in(XE_ACK, 0, 0, stream_bytes, 10) == XE_PASS);
	w.peer_port = PEER_PORT;
	close_both(); /* a tombstone gives way */
	w.peer_port = 30000;
	handshake();
	w.peer_port = PEER_PORT;
	xe_assert(!conn());
	check_chains();
}

static void test_table_full_of_half_open(void)
{
	for (uint32_t i = 0; i < 3 * w.log.slots; i++, w.peer_port++) {
		in_syn(w.peer_isn);
		if (i % 2)
			out_synack(w.own_isn, w.peer_isn + 1);
	}
	handshake(); /* a flood does not lock others out */
	check_chains();
}

struct test {
	const char *name;
	void (*run)(void);
	uint32_t extents;
};

#define TEST(f) {#f, f, 1}

static const struct test tests[] = {
	TEST(test_log_before_ack),
	TEST(test_ack_of_fin),
	TEST(test_unprotected_port),
	TEST(test_out_of_window),
	TEST(test_ack_of_unsent),
	TEST(test_paws),
	TEST(test_timestamp_only_of_what_is_due),
	TEST(test_checksum),
	TEST(test_reset_exact),
	TEST(test_reset_after_fin),
	TEST(test_reset_while_detached),
	TEST(test_syn_in_a_connection),
	TEST(test_syn_replaces_when_answered),
	TEST(test_synack_again),
	TEST(test_garbage),
	TEST(test_overlap),
	TEST(test_overlap_of_logged),
	TEST(test_overlap_out_of_order),
	TEST(test_first_write_wins),
	TEST(test_too_many_ranges),
	TEST(test_window_edge),
	TEST(test_huge_packet),
	TEST(test_fin_out_of_order),
	TEST(test_bare_fin_out_of_order),
	TEST(test_urg),
	TEST(test_syn_options),
	TEST(test_options_agreed),
	TEST(test_fin_held),
	TEST(test_reset_held),
	TEST(test_fin_after_fault),
	TEST(test_refused_by_tcp),
	TEST(test_diverged),
	TEST(test_full_log_takes_from_the_largest),
	TEST(test_full_log_emptied_in_time),
	TEST(test_full_log_holds_output),
	TEST(test_full_log_shrinks_windows),
	TEST(test_unprotected),
	TEST(test_full_log_while_replaying),
	TEST(test_full_log_while_detached),
	TEST(test_fake_syn),
	TEST(test_fake_syn_without_options),
	TEST(test_fake_syn_of_one_side),
	TEST(test_delta),
	TEST(test_ack_clamp),
	TEST(test_timestamps),
	TEST(test_window_rescaled),
	TEST(test_mutual_hearing),
	TEST(test_beyond_the_new_window),
	TEST(test_logged_while_detached),
	TEST(test_range_logged_while_detached),
	TEST(test_ranges_injected),
	TEST(test_crc_of_what_is_dropped),
	TEST(test_output_in_flight_is_compared),
	TEST(test_new_output_is_free),
	TEST(test_acked_before_compared),
	TEST(test_dropped_output_diverged),
	TEST(test_given_up),
	TEST(test_ends_in_silence),
	TEST(test_timestamp_of_the_syn_that_was_taken),
	TEST(test_payload_stays_while_it_is_read),
	TEST(test_old_syn_after_a_recovery),
	TEST(test_payload_stays_until_the_service_closes),
	TEST(test_paws_ends_after_24_days),
	TEST(test_lacking_options_refused),
	TEST(test_old_incarnation_reset),
	TEST(test_half_done_handshake_other_shift),
	TEST(test_fin_acked_before_the_fault),
	TEST(test_synack_repeated),
	TEST(test_timestamp_of_a_repeated_synack),
	TEST(test_synack_of_another),
	TEST(test_no_listener_yet),
	TEST(test_half_done_handshake),
	TEST(test_syn_without_answer),
	TEST(test_peer_fin_replayed),
	TEST(test_second_fault_while_faking),
	{"test_pace", test_pace, EXTENTS},
	TEST(test_unknown_while_recovering),
	TEST(test_tombstone),
	TEST(test_closed_while_detached),
	TEST(test_tombstone_yields_when_live),
	TEST(test_chains),
	TEST(test_table_full),
	TEST(test_table_full_of_half_open),
};

int main(int argc, char **argv)
{
	static const uint32_t isn[] = {1000, 0xffffffff, 0xffffffce, 0x7fffffc0, 0xfffff000};
	enum { ISNS = sizeof(isn) / sizeof(isn[0]) };

	for (size_t i = 0; i < BIG; i++)
		stream_bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 1);
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		if (argc > 1 && strcmp(argv[1], tests[t].name) != 0)
			continue;
		for (int i = 0; i < 2 * ISNS; i++) {
			opt_peer_isn = isn[i % ISNS];
			opt_own_isn = isn[i < ISNS ? ISNS - 1 - i : (2 * i) % ISNS];
			open_world(tests[t].extents);
			tests[t].run();
			close_world();
		}
	}
	return 0;
}
