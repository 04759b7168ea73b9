/* Hostile peers and a hostile guest, case by case, against SSW, NSW and TCP together.
 *
 * The peers are hand-made packets; the service is an echo. Each case runs before and after a
 * recovery, and ends with one more: what the service reads then from the log is what it read
 * before, and the peer hears the answer to exactly that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/socket.h"
#include "net/ssw_internal.h"
#include "plain.h"

enum { SERVER = 0x0a000001, PEER = 0x0a000101, PORT = 80, PEERS = 2, STREAM = 65536 };

struct peer {
	uint16_t port;
	uint32_t isn, own_isn, tsval, tsecr;
	uint32_t sent, acked;       /* honest bytes sent; what the service side acked */
	uint32_t resets;
	bool synack;
	uint32_t heard;             /* contiguous bytes of the answer */
	uint8_t answer[STREAM];
	/* the service's end, in this generation */
	int sock;
	uint32_t read;
	bool eof;
	uint32_t most_read;         /* by any generation: a replay repeats it */
	uint8_t input[STREAM];
};

struct world {
	xe_ns now;
	struct xe_ssw *ssw;
	uint8_t *extent;
	struct xe_sockets server;
	int listener;
	uint64_t seed;
	bool paused;                /* packets for the guest are lost, it sends none */
	struct peer peer[PEERS];
};

static struct world w;
static uint8_t good[STREAM], evil[STREAM];

/* ---- the world ---- */

static void boot(void)
{
	struct xe_tcp_config cfg = {
		.max_socks = 16, .seed = ++w.seed, .snd_buf = 65536, .rcv_buf = 16384};

	xe_assert(xe_sockets_init(&w.server, &cfg) == 0);
	xe_tcp_set_addr(w.server.tcp, SERVER);
	xe_sockets_protect(&w.server, PORT, true);
	xe_assert(xe_nsw_attach(&w.server.nsw, &w.extent, 1) == 0);
	w.listener = xe_tcp_listen(w.server.tcp, PORT, 8);
	xe_assert(w.listener >= 0);
	for (int i = 0; i < PEERS; i++) {
		w.peer[i].sock = -1;
		w.peer[i].read = 0;
		w.peer[i].eof = false;
	}
}

static void to_peer(uint8_t *data, size_t len)
{
	struct xe_packet p;
	struct peer *peer;
	int64_t at;

	xe_assert(xe_wire_parse(&p, data, len, true) == 0);
	peer = &w.peer[p.seg.dport - w.peer[0].port];
	peer->tsecr = p.seg.opt.tsval;
	if (p.seg.flags & XE_RST) {
		peer->resets++;
		return;
	}
	peer->acked = p.seg.ack - peer->isn - 1;
	if (p.seg.flags & XE_SYN) {
		peer->own_isn = p.seg.seq;
		peer->synack = true;
		return;
	}
	at = xe_seq_offset(p.seg.seq, peer->own_isn + 1, peer->heard);
	for (uint16_t i = 0; i < p.payload_len; i++) {
		uint8_t b = data[p.payload + i];

		if (at + i < peer->heard)
			xe_assert(peer->answer[at + i] == b);
		else if (at + i == peer->heard)
			peer->answer[peer->heard++] = b;
	}
}

static void flush(void)
{
	uint8_t buf[2048];
	enum xe_direction to;
	size_t len;
	bool more = true;

	while (more && !w.paused) {
		more = false;
		while ((len = xe_tcp_dispatch(w.server.tcp, buf, sizeof(buf), w.now)) > 0) {
			more = true;
			if (xe_ssw_egress(w.ssw, buf, len, w.now) == XE_PASS)
				to_peer(buf, len);
		}
		while ((len = xe_ssw_dispatch(w.ssw, buf, sizeof(buf), &to, w.now)) > 0) {
			more = true;
			if (to == XE_TO_GUEST)
				xe_tcp_input(w.server.tcp, buf, len, false, w.now);
			else
				to_peer(buf, len);
		}
	}
}

/* An echo; what it reads again in a replay is what it read. */
static void serve(void)
{
	int sock;

	while ((sock = xe_sock_accept(&w.server, w.listener)) >= 0) {
		struct xe_tcp_info info;

		xe_assert(xe_tcp_info(w.server.tcp, sock, &info) == 0);
		w.peer[info.peer_port - w.peer[0].port].sock = sock;
	}
	for (int i = 0; i < PEERS; i++) {
		struct peer *p = &w.peer[i];
		uint8_t buf[700];
		long n;

		while (p->sock >= 0 && !p->eof &&
		       (n = xe_sock_recv(&w.server, p->sock, buf, sizeof(buf), w.now)) >= 0) {
			p->eof = n == 0;
			for (long k = 0; k < n; k++, p->read++) {
				if (p->read < p->most_read)
					xe_assert(p->input[p->read] == buf[k]);
				else
					p->input[p->most_read++] = buf[k];
			}
			xe_assert(xe_sock_send(&w.server, p->sock, buf, (size_t)n, w.now) == n);
		}
	}
}

static void settle(void)
{
	for (int i = 0; i < 8; i++) {
		flush();
		serve();
	}
	for (int i = 0; i < 50; i++) { /* delayed acks, fake SYNs that go again */
		w.now += 10 * XE_MS;
		xe_tcp_timers(w.server.tcp, w.now);
		flush();
		serve();
	}
	flush();
}

static void recover(void)
{
	xe_ssw_detach(w.ssw, w.now);
	xe_sockets_fini(&w.server);
	boot();
	xe_ssw_replay(w.ssw, w.now);
	settle();
}

/* ---- the peers ---- */

static struct xe_segment segment(const struct peer *p, uint8_t flags, int64_t at)
{
	struct xe_segment g = {.saddr = PEER, .daddr = SERVER, .dport = PORT, .window = 8000};

	g.sport = p->port;
	g.flags = flags;
	g.seq = p->isn + 1 + (uint32_t)at;
	g.ack = flags & XE_ACK ? p->own_isn + 1 + p->heard : 0;
	g.opt.has_ts = true;
	g.opt.tsval = p->tsval;
	g.opt.tsecr = p->tsecr;
	if (flags == XE_SYN) {
		g.opt.mss = 1400;
		g.opt.has_wscale = true;
		g.opt.wscale = 2;
	}
	return g;
}

static void give(const struct xe_segment *g, const uint8_t *bytes, size_t n, int broken_at)
{
	uint8_t buf[4096];
	size_t len = xe_wire_build(buf, sizeof(buf), g, bytes, n);

	xe_assert(len > 0);
	if (broken_at >= 0)
		buf[(size_t)broken_at % len] ^= 0x20;
	if (xe_ssw_ingress(w.ssw, buf, len, w.now) == XE_PASS && !w.paused)
		xe_tcp_input(w.server.tcp, buf, len, false, w.now);
	flush();
}

static void send_at(struct peer *p, uint8_t flags, int64_t at, const uint8_t *bytes, size_t n)
{
	struct xe_segment g = segment(p, flags, at);

	give(&g, bytes, n, -1);
}

/* Honest bytes, at the end of the stream. */
static void say(struct peer *p, size_t n)
{
	send_at(p, XE_ACK, p->sent, good + p->sent, n);
	p->sent += (uint32_t)n;
	serve();
	flush();
	send_at(p, XE_ACK, p->sent, NULL, 0);
}

static void connect_peer(struct peer *p)
{
	struct xe_segment syn = segment(p, XE_SYN, -1);

	give(&syn, NULL, 0, -1);
	xe_assert(p->synack);
	send_at(p, XE_ACK, 0, NULL, 0);
	serve();
	xe_assert(p->sock >= 0);
}

static struct xe_conn *conn(const struct peer *p)
{
	return xe_ssw_find(w.ssw, SERVER, PORT, PEER, p->port);
}

/* The service read the honest stream, the peer its echo, and neither saw an end. */
static void expect_whole(struct peer *p)
{
	settle();
	for (int i = 0; i < 12 && p->most_read < p->sent;
	     i++) { /* records that were scribbled over */
		w.now += XE_SECOND;
		xe_sockets_tick(&w.server, w.now);
		settle();
	}
	xe_assert(p->most_read == p->sent && memcmp(p->input, good, p->sent) == 0);
	send_at(p, XE_ACK, p->sent, NULL, 0);
	settle();
	xe_assert(p->heard == p->sent && memcmp(p->answer, good, p->sent) == 0);
	xe_assert(p->resets == 0 && !p->eof);
}

static void open_world(bool recovered)
{
	memset(&w, 0, sizeof(w));
	w.now = XE_SECOND;
	w.extent = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
	xe_assert(w.extent);
	memset(w.extent, 0xa5, XE_EXTENT_SIZE);
	xe_assert(xe_ssw_create(&w.ssw, &w.extent, 1) == 0);
	protect_plain(w.ssw, PORT);
	boot();
	for (int i = 0; i < PEERS; i++) {
		struct peer *p = &w.peer[i];

		p->port = (uint16_t)(5000 + i);
		p->isn = 0xfffffff0 + (uint32_t)i;
		p->tsval = 0xfffffff0;
		connect_peer(p);
		say(p, 1000);
	}
	if (recovered)
		recover();
}

static void free_world(void)
{
	xe_sockets_fini(&w.server);
	xe_ssw_destroy(w.ssw);
	free(w.extent);
}

static void close_world(void)
{
	for (int i = 0; i < PEERS; i++) {
		xe_assert(conn(&w.peer[i]) && !conn(&w.peer[i])->unprotected);
		say(&w.peer[i], 500);
		expect_whole(&w.peer[i]);
	}
	recover();
	for (int i = 0; i < PEERS; i++) {
		say(&w.peer[i], 300);
		expect_whole(&w.peer[i]);
	}
	free_world();
}

/* What follows leaves SSW's connection as it is. A SYN may be remembered until answered. */
static void expect_unmoved(struct peer *p, const struct xe_segment *g, size_t n, int broken_at)
{
	struct xe_conn was, now;

	memcpy(&was, conn(p), sizeof(was));
	give(g, evil, n, broken_at);
	xe_assert(conn(p) != NULL);
	memcpy(&now, conn(p), sizeof(now));
	xe_assert(was.rcv_logged == now.rcv_logged && was.ranges == now.ranges);
	xe_assert(was.peer_acked == now.peer_acked && was.peer_window == now.peer_window);
	xe_assert(was.fins == now.fins && was.early_fin == now.early_fin);
	xe_assert(was.ts_recent == now.ts_recent && was.state == now.state);
	xe_assert(was.incarnation == now.incarnation);
}

/* ---- peers ---- */

static void test_retransmission_that_differs(void)
{
	struct peer *p = &w.peer[0];

	send_at(p, XE_ACK, p->sent, good + p->sent, 200); /* logged, not yet read */
	send_at(p, XE_ACK, p->sent, evil, 200);
	send_at(p, XE_ACK, (int64_t)p->sent - 100, evil, 350); /* the last 50 are new */
	memcpy(good + p->sent + 200, evil + 300, 50);
	p->sent += 250;
	expect_whole(p);
}

static void test_overlapping_segments(void)
{
	struct peer *p = &w.peer[0];
	int64_t at = p->sent;

	send_at(p, XE_ACK, at + 100, good + at + 100, 100);
	send_at(p, XE_ACK, at + 300, good + at + 300, 100);
	send_at(p, XE_ACK, at + 100, evil, 100);
	memcpy(evil + 100, good + at + 200, 100);
	send_at(p, XE_ACK, at + 100, evil, 300); /* fills the hole between both */
	send_at(p, XE_ACK, at, good + at, 100);
	p->sent += 400;
	expect_whole(p);
}

static void test_overlap_across_a_fault(void)
{
	struct peer *p = &w.peer[0];
	int64_t at = p->sent;

	send_at(p, XE_ACK, at, good + at, 300); /* logged, not read: the service is gone */
	xe_ssw_detach(w.ssw, w.now);
	w.paused = true;
	send_at(p, XE_ACK, at + 100, evil, 200);
	w.paused = false;
	xe_sockets_fini(&w.server);
	boot();
	xe_ssw_replay(w.ssw, w.now);
	p->sent += 300;
	expect_whole(p);
}

static void test_data_beyond_the_window(void)
{
	struct peer *p = &w.peer[0];
	struct xe_segment g;
	int64_t edge = (int64_t)conn(p)->right_edge;

	g = segment(p, XE_ACK, edge);
	expect_unmoved(p, &g, 100, -1);
	g = segment(p, XE_ACK, edge + (1 << 30));
	expect_unmoved(p, &g, 100, -1);
	send_at(p, XE_ACK, edge - 50, evil, 100); /* half of it is inside */
	xe_assert(conn(p)->ranges == 1 && conn(p)->range[0].to == (uint64_t)edge);
	memcpy(good + edge - 50, evil, 50);
	for (int64_t at = p->sent; at < edge - 50; at += 1000)
		send_at(p, XE_ACK, at, good + at,
			edge - 50 - at < 1000 ? (size_t)(edge - 50 - at) : 1000);
	p->sent = (uint32_t)edge;
	expect_whole(p);
}

/* RFC 9293: neither its first nor its last byte is in the window. */
static void test_segment_around_the_window(void)
{
	struct peer *p = &w.peer[0];
	struct xe_conn *c = conn(p);
	uint64_t edge = c->right_edge;
	struct xe_segment g = segment(p, XE_ACK, (int64_t)p->sent - 10);

	c->right_edge = p->sent + 100; /* as if that little had been advertised */
	expect_unmoved(p, &g, 200, -1);
	c->right_edge = edge;
}

static void test_reset_guesses(void)
{
	struct peer *p = &w.peer[0];

	for (int64_t at = -3; at < 4; at++) {
		struct xe_segment g = segment(p, at & 1 ? XE_RST : XE_RST | XE_ACK, p->sent + at);

		if (at != 0)
			expect_unmoved(p, &g, 0, -1);
	}
}

static void test_fin_guesses(void)
{
	struct peer *p = &w.peer[0];
	int64_t edge = (int64_t)conn(p)->right_edge;
	struct xe_segment g = segment(p, XE_ACK | XE_FIN, edge);

	expect_unmoved(p, &g, 0, -1);
	g.seq = p->isn + 1 + p->sent - 1;
	expect_unmoved(p, &g, 0, -1);
	g = segment(p, XE_FIN, p->sent);
	expect_unmoved(p, &g, 0, -1);
	g = segment(p, XE_ACK | XE_FIN, p->sent);
	g.ack += 1 << 20;
	expect_unmoved(p, &g, 0, -1);
	g.ack = p->own_isn + 1 - 64; /* before the stream, but not long ago */
	expect_unmoved(p, &g, 0, -1);
}

/* The stream has gone on behind it: TCP takes no such FIN. */
static void test_fin_before_data(void)
{
	struct peer *p = &w.peer[0];
	int64_t at = p->sent;
	struct xe_segment g = segment(p, XE_ACK | XE_FIN, at);

	send_at(p, XE_ACK, at + 200, good + at + 200, 100);
	expect_unmoved(p, &g, 0, -1);
	g = segment(p, XE_ACK | XE_FIN, at + 100);
	expect_unmoved(p, &g, 0, -1);
	send_at(p, XE_ACK, at, good + at, 200);
	p->sent += 300;
	expect_whole(p);
}

/* Nor does a new TCP, which has none of that. */
static void test_fin_before_data_of_before_a_fault(void)
{
	struct peer *p = &w.peer[0];
	int64_t at = p->sent;

	send_at(p, XE_ACK, at + 200, good + at + 200, 100);
	recover();
	send_at(p, XE_ACK | XE_FIN, at, NULL, 0);
	send_at(p, XE_ACK | XE_FIN, at + 50, NULL, 0);
	settle();
	xe_assert(!p->eof && !(conn(p)->fins & XE_LOG_PEER_FIN));
	send_at(p, XE_ACK, at, good + at, 300);
	p->sent += 300;
	expect_whole(p);
}

static void test_syn_guesses(void)
{
	struct peer *p = &w.peer[0];
	static const uint8_t flags[] = {XE_SYN, XE_SYN | XE_ACK, XE_SYN | XE_FIN,
					XE_SYN | XE_ACK | XE_FIN};

	for (size_t i = 0; i < sizeof(flags); i++) {
		for (int64_t at = -2; at < 3; at++) {
			struct xe_segment g = segment(p, flags[i], p->sent + at);

			expect_unmoved(p, &g, 0, -1);
			expect_unmoved(p, &g, 20, -1);
		}
	}
}

/* Another SYN for the same 4-tuple comes before TCP has answered the first: the answer is to
 * a SYN that SSW has forgotten. It does not go on unlogged: the peer's next SYN repairs it. */
static void test_syn_in_front_of_the_answer(void)
{
	struct peer *p = &w.peer[1];
	struct xe_segment syn, rst = segment(p, XE_RST, p->sent);
	uint8_t first[128];
	size_t len;

	give(&rst, NULL, 0, -1);
	settle();
	xe_assert(!conn(p));
	memset(p, 0, sizeof(*p));
	p->port = 5001;
	p->sock = -1;
	p->isn = 777;
	p->tsval = 5;
	syn = segment(p, XE_SYN, -1);
	len = xe_wire_build(first, sizeof(first), &syn, NULL, 0);
	xe_assert(xe_ssw_ingress(w.ssw, first, len, w.now) == XE_PASS);
	w.paused = true;
	syn.seq += 100;
	give(&syn, NULL, 0, -1);
	w.paused = false;
	xe_tcp_input(w.server.tcp, first, len, false, w.now);
	flush();
	xe_assert(!p->synack);
	connect_peer(p);
	say(p, 1000);
}

static void test_ack_of_what_was_not_sent(void)
{
	struct peer *p = &w.peer[0];
	static const uint32_t beyond[] = {1, 100, 65536, 1 << 30, 0x80000000};

	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		struct xe_segment g = segment(p, XE_ACK, p->sent);

		g.ack += beyond[i];
		expect_unmoved(p, &g, 0, -1);
		expect_unmoved(p, &g, 100, -1);
	}
}

/* RFC 5961 5.2: an ACK older than the largest window is no better than one of the future. */
static void test_ack_of_long_ago(void)
{
	struct peer *p = &w.peer[0];
	struct xe_segment g;

	for (int i = 0; i < 80; i++) {
		say(p, 500);
		settle();
	}
	g = segment(p, XE_ACK, p->sent);
	g.ack -= 4 * 8000 + 1;
	expect_unmoved(p, &g, 100, -1);
	expect_unmoved(p, &g, 0, -1);
}

/* Nor does TCP forget what the peer may still lack. */
static void test_ack_does_not_free_what_is_under_way(void)
{
	struct peer *p = &w.peer[0];
	struct xe_tcp_info info;
	struct xe_segment g;

	send_at(p, XE_ACK, p->sent, good + p->sent, 500);
	p->sent += 500;
	serve();
	flush();
	g = segment(p, XE_ACK, p->sent);
	g.ack += 1 << 20;
	expect_unmoved(p, &g, 0, -1);
	g.ack = p->own_isn + 1 - (1 << 20);
	expect_unmoved(p, &g, 0, -1);
	g = segment(p, XE_ACK, (int64_t)conn(p)->right_edge + 1000); /* a good ACK, out of window */
	expect_unmoved(p, &g, 0, -1);
	xe_assert(xe_tcp_info(w.server.tcp, p->sock, &info) == 0 && info.snd_queued == 500);
	expect_whole(p);
}

static void test_bad_checksums(void)
{
	struct peer *p = &w.peer[0];
	struct xe_segment g = segment(p, XE_ACK | XE_FIN, p->sent);

	for (int at = 0; at < 152; at++)
		expect_unmoved(p, &g, 100, at);
	g.flags = XE_RST;
	for (int at = 0; at < 52; at++)
		expect_unmoved(p, &g, 0, at);
}

/* RFC 7323 3.2: where they were agreed on, no segment is without. */
static void test_without_timestamps(void)
{
	struct peer *p = &w.peer[0];
	struct xe_segment g = segment(p, XE_ACK | XE_FIN, p->sent);

	g.opt.has_ts = false;
	expect_unmoved(p, &g, 100, -1);
	g = segment(p, XE_ACK, p->sent);
	g.opt.tsval--;
	expect_unmoved(p, &g, 100, -1);
}

/* ---- guest ---- */

static struct xe_log *log_view(void)
{
	return &w.ssw->log;
}

static void scribble(void *at, size_t n, int how)
{
	uint8_t *byte = at;

	for (size_t i = 0; i < n; i++)
		byte[i] = how == 0 ? 0 : how == 1 ? 0xff : (uint8_t)(evil[i] ^ byte[i] ^ how);
}

/* After a fault this connection is as if nothing had happened. */
static void expect_unharmed(struct peer *p)
{
	recover();
	say(p, 100);
	expect_whole(p);
}

enum { WAYS = 4, SLOT_WORDS = sizeof(struct xe_log_slot) / 4 };

/* Each word of a slot, each way: the other connection does not care, this one ends or goes
 * on, and nothing of the wrapper breaks. */
static void test_scribble_over_a_slot(void)
{
	for (int word = 0; word < SLOT_WORDS; word++) {
		for (int how = 0; how < WAYS; how++) {
			struct xe_log_slot *slot;

			slot = xe_log_slot(log_view(), xe_conn_index(w.ssw, conn(&w.peer[0])));
			scribble((uint32_t *)slot + word, 4, how);
			say(&w.peer[1], 1);
			expect_unharmed(&w.peer[1]);
			close_world();
			open_world(how & 1);
		}
	}
}

static void test_scribble_over_the_header(void)
{
	for (int how = 0; how < WAYS; how++) {
		scribble(xe_log_head(log_view()), sizeof(struct xe_log_header), how);
		expect_unharmed(&w.peer[0]);
		expect_unharmed(&w.peer[1]);
	}
}

static void test_scribble_over_buckets(void)
{
	for (int how = 0; how < WAYS; how++) {
		scribble((void *)xe_log_bucket(log_view(), 0), log_view()->slots * 4, how);
		expect_unharmed(&w.peer[0]);
		expect_unharmed(&w.peer[1]);
	}
	for (uint32_t i = 0; i < log_view()->slots; i++) /* a cycle in every chain */
		*xe_log_bucket(log_view(), i) = i % 2;
	for (uint32_t i = 0; i < 2; i++)
		xe_log_slot(log_view(), i)->hash_next = 1 - i;
	expect_unharmed(&w.peer[0]);
	expect_unharmed(&w.peer[1]);
}

static void test_scribble_over_links(void)
{
	for (int how = 0; how < WAYS; how++) {
		scribble(xe_log_block_link(log_view(), 0), log_view()->blocks * 4, how);
		scribble(xe_log_record_link(log_view(), 0), log_view()->record_blocks * 4, how);
		expect_unharmed(&w.peer[0]);
		expect_unharmed(&w.peer[1]);
	}
}

static void test_scribble_over_records(void)
{
	size_t n = (size_t)log_view()->record_blocks * XE_LOG_RECORD_BLOCK;

	for (int how = 0; how < WAYS; how++) {
		scribble(xe_log_records(log_view(), 0), n, how);
		expect_unharmed(&w.peer[0]);
		expect_unharmed(&w.peer[1]);
	}
}

/* Every record chain is a cycle of records that are no reads, and claims to have no end,
 * while the service replays from it: its reads still end. */
static void test_endless_record_chain(void)
{
	xe_ssw_detach(w.ssw, w.now);
	xe_sockets_fini(&w.server);
	boot();
	xe_ssw_replay(w.ssw, w.now);
	for (uint32_t i = 0; i < log_view()->record_blocks; i++) {
		*xe_log_record_link(log_view(), i) = i;
		memset(xe_log_records(log_view(), i), 0, XE_LOG_RECORD_BLOCK);
	}
	for (uint32_t i = 0; i < 2; i++) {
		xe_log_slot(log_view(), i)->chain[0].first = i;
		atomic_store(&xe_log_slot(log_view(), i)->chain[0].records, UINT64_MAX);
	}
	for (int i = 0; i < PEERS; i++)
		expect_whole(&w.peer[i]);
}

/* The guest sends on after its FIN, and the peer plays along: it acks one more than all that. */
static void test_output_after_the_fin(void)
{
	struct peer *p = &w.peer[0];
	struct xe_conn *c = conn(p);
	struct xe_segment g = {.saddr = SERVER, .daddr = PEER, .sport = PORT, .flags = XE_ACK};
	uint64_t fin_at;
	uint8_t buf[2048];
	size_t len;

	xe_assert(xe_sock_shutdown(&w.server, p->sock, w.now) == 0);
	flush();
	xe_assert(c->fins & XE_LOG_OWN_FIN);
	fin_at = c->own_fin_at;
	g.dport = p->port;
	g.seq = c->own_isn + 1 + (uint32_t)fin_at - 20 - c->delta;
	g.ack = c->peer_isn + 1 + (uint32_t)c->rcv_logged;
	g.opt.has_ts = true;
	g.opt.tsval = p->tsecr;
	len = xe_wire_build(buf, sizeof(buf), &g, evil, 300);
	xe_assert(xe_ssw_egress(w.ssw, buf, len, w.now) == XE_DROP);
	xe_assert(c->sent_max == fin_at);
	g = segment(p, XE_ACK, p->sent);
	g.ack = p->own_isn + 1 + (uint32_t)fin_at + 281;
	give(&g, NULL, 0, -1);
	xe_assert(c->peer_acked <= c->sent_max);
	say(&w.peer[1], 100);
	expect_unharmed(&w.peer[1]);
	free_world();
	open_world(true);
}

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(name) {#name, name}

static const struct test tests[] = {
	TEST(test_retransmission_that_differs),
	TEST(test_overlapping_segments),
	TEST(test_overlap_across_a_fault),
	TEST(test_data_beyond_the_window),
	TEST(test_segment_around_the_window),
	TEST(test_reset_guesses),
	TEST(test_fin_guesses),
	TEST(test_fin_before_data),
	TEST(test_fin_before_data_of_before_a_fault),
	TEST(test_syn_guesses),
	TEST(test_syn_in_front_of_the_answer),
	TEST(test_ack_of_what_was_not_sent),
	TEST(test_ack_of_long_ago),
	TEST(test_ack_does_not_free_what_is_under_way),
	TEST(test_bad_checksums),
	TEST(test_without_timestamps),
	TEST(test_scribble_over_a_slot),
	TEST(test_scribble_over_the_header),
	TEST(test_scribble_over_buckets),
	TEST(test_scribble_over_links),
	TEST(test_scribble_over_records),
	TEST(test_endless_record_chain),
	TEST(test_output_after_the_fin),
};

int main(int argc, char **argv)
{
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		if (argc > 1 && strcmp(argv[1], tests[t].name) != 0)
			continue;
		for (int recovered = 0; recovered < 2; recovered++) {
			for (size_t i = 0; i < STREAM; i++) {
				good[i] = (uint8_t)(i * 131 + (i >> 8) * 7);
				evil[i] = (uint8_t)(i * 29 + 200);
			}
			open_world(recovered);
			tests[t].run();
			close_world();
		}
	}
	return 0;
}
