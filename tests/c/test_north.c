/* What is removed, in the north half: what an author says, what then is in the log, and what a replay
 * makes of it once the other half has put it into effect. The south side's part is played by the test.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "net/north.h"
#include "net/nsw_internal.h"
#include "net/socket.h"
#include "net/tcp.h"

enum { SERVER = 1, CLIENT = 2, PORT = 80, BYTES = 3 * XE_LOG_BLOCK };

static uint8_t *extent[1];
static struct xe_log log_view;
static struct xe_nsw nsw;
static uint8_t bytes[BYTES], got[BYTES];
static struct wr_conn *root, *member; /* slots 0, 1; the second was opened by the service */

static struct xe_log_slot *slot(uint32_t i)
{
	return xe_log_slot(&log_view, i);
}

/* SSW's half: all of `bytes` was received, and all that is written is acked. */
static void open_conn(uint32_t i, uint8_t role)
{
	struct xe_log_slot *s = slot(i);
	uint32_t b = xe_log_hash(SERVER, PORT, CLIENT, (uint16_t)(1000 + i)) & (log_view.slots - 1);

	s->local_addr = SERVER;
	s->local_port = PORT;
	s->peer_addr = CLIENT;
	s->peer_port = (uint16_t)(1000 + i);
	s->incarnation = 1;
	s->role = role;
	s->hash_next = XE_LOG_LOAD(*xe_log_bucket(&log_view, b));
	atomic_store(xe_log_bucket(&log_view, b), i);
	s->first_block = 3 * i;
	for (uint32_t k = 0; k < 3; k++) {
		memcpy(xe_log_block(&log_view, 3 * i + k), bytes + k * XE_LOG_BLOCK, XE_LOG_BLOCK);
		*xe_log_block_link(&log_view, 3 * i + k) = k < 2 ? 3 * i + k + 1 : XE_LOG_NONE;
	}
	atomic_store(&s->rcv_logged, BYTES);
	atomic_store(&s->state, XE_LOG_ESTABLISHED);
}

static void begin(void)
{
	extent[0] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
	xe_assert(extent[0]);
	memset(extent[0], 0, XE_EXTENT_SIZE);
	xe_assert(xe_log_open(&log_view, extent, 1) == 0);
	xe_log_format(&log_view);
	memset(&nsw, 0, sizeof(nsw));
	xe_assert(xe_nsw_attach(&nsw, extent, 1) == 0);
	open_conn(0, XE_LOG_CLIENT_SIDE);
	open_conn(1, XE_LOG_SERVER_SIDE);
	root = &nsw.conn[0];
	member = &nsw.conn[1];
	root = &nsw.conn[0]; /* the kernel may have attached again */
	xe_nsw_open(&nsw, 0, 0, root, 0);
	xe_nsw_open(&nsw, 1, 1, root, 1);
	xe_assert(xe_nsw_connected(&nsw, member, 0) == 0);
}

static void end(void)
{
	xe_nsw_detach(&nsw);
	xe_log_close(&log_view);
	free(extent[0]);
}

static void apply(void)
{
	atomic_store(&slot(0)->removed, XE_LOG_LOAD(slot(0)->removals));
}

static void read_bytes(struct wr_conn *c, long n)
{
	xe_nsw_record(&nsw, c, n);
}

static void write_bytes(struct wr_conn *c, size_t n)
{
	xe_nsw_wrote(&nsw, c, bytes + wr_written_so_far(c), n);
	atomic_store(&slot(c->slot)->peer_acked, wr_written_so_far(c));
	atomic_store(&slot(c->slot)->sent_max, wr_written_so_far(c));
}

static uint32_t crc_without(size_t from, size_t to, size_t n)
{
	return xe_crc32c(xe_crc32c(0, bytes, from), bytes + to, n - to);
}

/* A new kernel; output up to `drop` is the peer's, its CRC being that of what is kept. */
static void fail_over(uint64_t drop, uint32_t crc)
{
	atomic_fetch_add(&xe_log_head(&log_view)->generation, 1);
	xe_assert(xe_nsw_attach(&nsw, extent, 1) == 0);
	for (uint32_t i = 0; i < 2; i++) {
		slot(i)->replay_generation = XE_LOG_LOAD(xe_log_head(&log_view)->generation);
		slot(i)->drop_line = i == 0 ? drop : 0;
		slot(i)->drop_crc = i == 0 ? crc : 0;
		atomic_store(&slot(i)->replay_line, BYTES);
	}
	root = &nsw.conn[0];
	member = &nsw.conn[1];
	root = &nsw.conn[0]; /* the kernel may have attached again */
	xe_nsw_open(&nsw, 0, 0, root, 0);
}

/* ... and the service connects again. */
static void come_back(uint64_t drop, uint32_t crc)
{
	fail_over(drop, crc);
	xe_nsw_open(&nsw, 1, 1, root, 1);
	xe_assert(xe_nsw_connected(&nsw, member, 0) == 0);
}

static const struct xe_log_removal *removal(uint32_t i)
{
	return (const void *)xe_log_records(&log_view, slot(0)->removal[i % XE_LOG_REMOVALS]);
}

static void expect_cut(const struct xe_log_cut *c, uint32_t s, uint32_t kind, uint64_t from,
		       uint64_t to)
{
	xe_assert(c->slot == s && c->incarnation == 1 && c->kind == kind);
	xe_assert(c->from == from && c->to == to);
}

/* ---- tests ---- */

/* A request is what a client-side connection receives, and a server-side one sends. */
static void test_four_ways(void)
{
	read_bytes(root, 100);
	read_bytes(member, 100);
	write_bytes(root, 50);
	write_bytes(member, 60);
	xe_assert(as_mark(root) == 0 && as_mark(member) == 0);
	xe_assert(slot(0)->marks == 1 && slot(0)->mark[0] == 50 && slot(1)->mark[0] == 60);
	xe_assert(as_remove_request(root, 10, 90) == 0 && as_remove_response(root, 0, 50) == 0);
	xe_assert(as_elide_request(member, 0, 60) == 0 && as_elide_response(member, 5, 100) == 0);
	xe_assert(slot(0)->removals == 0); /* not before the handler has returned */
	xe_nsw_handled(&nsw, member);
	xe_assert(slot(0)->removals == 1 && removal(0)->cuts == 4);
	expect_cut(&removal(0)->cut[0], 0, XE_CUT_INPUT, 10, 90);
	expect_cut(&removal(0)->cut[1], 0, XE_CUT_OUTPUT, 0, 50);
	expect_cut(&removal(0)->cut[2], 1, XE_CUT_BLIND, 0, 60);
	expect_cut(&removal(0)->cut[3], 1, XE_CUT_FILLER, 5, 100);
}

static void test_wrong_ranges(void)
{
	read_bytes(root, 100);
	write_bytes(root, 50);
	as_mark(root);
	write_bytes(root, 10);
	xe_assert(as_remove_request(root, 0, 101) == -EINVAL); /* not read yet */
	xe_assert(as_remove_request(root, 20, 10) == -EINVAL);
	xe_assert(as_remove_response(root, 0, 60) == -EINVAL); /* no mark */
	xe_assert(as_remove_response(root, 1, 50) == -EINVAL);
	xe_assert(as_remove_request(root, 0, WR_ALL) == -EINVAL); /* a root stays */
	xe_assert(as_remove_request(root, 0, 100) == 0); /* but with those that went wrong ... */
	xe_nsw_handled(&nsw, root);
	xe_assert(slot(0)->removals == 0); /* ... nothing goes */
	xe_assert(as_remove_request(root, 0, 100) == 0);
	xe_nsw_handled(&nsw, root);
	xe_assert(slot(0)->removals == 1);
}

static void test_whole(void)
{
	xe_assert(as_remove_request(member, 0, WR_ALL) == 0);
	xe_nsw_handled(&nsw, root); /* half of it */
	xe_assert(slot(0)->removals == 0);
	xe_assert(as_remove_request(member, 0, WR_ALL) == 0);
	xe_assert(as_remove_response(member, 0, WR_ALL) == 0);
	xe_nsw_handled(&nsw, root);
	xe_assert(removal(0)->cuts == 1);
	expect_cut(&removal(0)->cut[0], 1, XE_CUT_WHOLE, 0, 0);
}

/* When the ring is full removals wait, and are one when there is room. */
static void test_full_ring(void)
{
	uint32_t i;

	for (i = 0; i < 100; i++) {
		read_bytes(root, 10);
		xe_assert(as_remove_request(root, 10ull * i, 10ull * i + 10) == 0);
		xe_nsw_handled(&nsw, root);
	}
	xe_assert(slot(0)->removals == XE_LOG_REMOVALS);
	apply();
	xe_nsw_handled(&nsw, root);
	xe_assert(slot(0)->removals == XE_LOG_REMOVALS + 1 && nsw.compactions == 1);
	xe_assert(removal(4)->cuts == 1);
	expect_cut(&removal(4)->cut[0], 0, XE_CUT_INPUT, 40, 1000);
	for (i = 0; i < XE_LOG_CUTS + XE_LOG_REMOVALS; i++) { /* that don't join */
		uint64_t from = wr_read_so_far(root) + 1;

		read_bytes(root, 10);
		if (as_remove_request(root, from, from + 5) != 0)
			break;
		xe_nsw_handled(&nsw, root);
	}
	xe_assert(i == XE_LOG_CUTS + XE_LOG_REMOVALS - 1);
	xe_assert(as_remove_request(root, 100, 105) == -ENOSPC);
}

/* The session in slot 0 is over, with what was in its ring, and another one begins there. */
static void begin_another(void)
{
	slot(0)->incarnation++;
	atomic_store(&slot(0)->removed, 0);
	root = &nsw.conn[0]; /* the kernel may have attached again */
	xe_nsw_open(&nsw, 0, 0, root, 0);
}

/* Sessions that are over hold no blocks, also those that nobody has looked at since a fault. */
static void test_rings_of_the_past(void)
{
	uint32_t held = log_view.record_blocks - nsw.free_count;

	for (uint32_t i = 0; i < 2 * log_view.record_blocks; i++) {
		read_bytes(root, 10);
		xe_assert(as_remove_request(root, 0, 10) == 0);
		xe_nsw_handled(&nsw, root);
		xe_assert(slot(0)->removals == 1);
		begin_another();
		xe_assert(log_view.record_blocks - nsw.free_count == held);
	}
	read_bytes(root, 10);
	xe_assert(as_remove_request(root, 0, 10) == 0);
	xe_nsw_handled(&nsw, root);
	atomic_store(&slot(0)->state, XE_LOG_FREE);
	xe_assert(xe_nsw_attach(&nsw, extent, 1) == 0);
	held = log_view.record_blocks - nsw.free_count;
	xe_assert(held == 1); /* of the member: it is alive */
	atomic_store(&slot(0)->state, XE_LOG_ESTABLISHED);
	begin_another();
	xe_assert(log_view.record_blocks - nsw.free_count == held + 1); /* none is given twice */
}

/* What is over gives its ring back when there is nothing else. */
static void test_out_of_blocks(void)
{
	read_bytes(root, 10);
	xe_assert(as_remove_request(root, 0, 10) == 0);
	xe_nsw_handled(&nsw, root);
	while (nsw.free_count > 0)
		xe_nsw_take_block(&nsw);
	xe_assert(xe_nsw_take_block(&nsw) == XE_LOG_NONE);
	atomic_store(&slot(0)->state, XE_LOG_FREE);
	xe_assert(xe_nsw_take_block(&nsw) != XE_LOG_NONE); /* its chain's, */
	xe_assert(xe_nsw_take_block(&nsw) != XE_LOG_NONE); /* its ring's */
	xe_assert(xe_nsw_take_block(&nsw) == XE_LOG_NONE);
}

static void listens(struct wr_conn *c, uint16_t port)
{
	xe_nsw_name_port(&nsw, port, WR_PROFILE_FTP);
	xe_nsw_listens(&nsw, c, port);
}

/* A port whose reply is removed is not opened again once the session has closed it, also if another
 * one has it now. */
static void test_port_of_another(void)
{
	struct wr_conn *other = &nsw.conn[2];

	open_conn(2, XE_LOG_CLIENT_SIDE);
	xe_nsw_open(&nsw, 2, 2, other, 0);
	listens(root, 2000); /* closed */
	listens(root, 2001); /* open still */
	write_bytes(root, 10);
	as_mark(root);
	listens(root, 2002);
	write_bytes(root, 10);
	xe_assert(as_remove_response(root, 0, 10) == 0);
	xe_nsw_handled(&nsw, root);
	listens(other, 2000);
	apply();
	fail_over(20, xe_crc32c(0, bytes + 10, 10));
	xe_assert(xe_nsw_logged_port(&nsw, root) == 2001);
	xe_assert(xe_nsw_logged_port(&nsw, root) == 2002);
	xe_assert(xe_nsw_logged_port(&nsw, root) == 0);
}

static uint16_t listen_anywhere(struct xe_sockets *s)
{
	struct xe_tcp_info info;
	int sock = xe_sock_listen(s, 0, 1, xe_nsw_token(root));

	xe_assert(sock >= 0 && xe_tcp_info(s->tcp, sock, &info) == 0);
	return info.local_port;
}

/* A session gets no port that another one may need in a replay, while there are others. */
static void test_held_ports(void)
{
	struct xe_tcp_config config = {.seed = 1};
	struct xe_sockets s;

	xe_assert(xe_sockets_init(&s, &config) == 0);
	s.nsw = nsw;
	xe_assert(xe_sockets_passive_range(&s, 3000, 3002) == 0);
	root->profile = WR_PROFILE_FTP;
	slot(1)->local_port = 3000; /* its listener is closed, it is not */
	xe_nsw_name_port(&s.nsw, 3001, WR_PROFILE_FTP); /* of before a fault, not yet open again */
	xe_assert(listen_anywhere(&s) == 3002);
	xe_assert(listen_anywhere(&s) == 3000); /* better than none */
	xe_assert(xe_sockets_passive_range(&s, 0, 0) == 0);
	xe_assert(listen_anywhere(&s) >= XE_TCP_PORT_FIRST);
	nsw = s.nsw;
	memset(&s.nsw, 0, sizeof(s.nsw));
	xe_sockets_fini(&s);
}

/* Marks that wait for their ack, or that a removal needs, stay. */
static void test_marks(void)
{
	for (int i = 0; i < XE_LOG_MARKS; i++) {
		write_bytes(root, 10);
		xe_assert(as_mark(root) == 0 && as_mark(root) == 0);
	}
	xe_assert(slot(0)->marks == XE_LOG_MARKS);
	atomic_store(&slot(0)->peer_acked, 9);
	xe_nsw_wrote(&nsw, root, bytes, 10);
	xe_assert(as_mark(root) == -ENOSPC);
	atomic_store(&slot(0)->peer_acked, 90);
	xe_assert(as_mark(root) == 0);
	xe_assert(as_remove_response(root, 10, 90) == -EINVAL); /* 10 is none any more */
	xe_nsw_handled(&nsw, root);
	xe_assert(as_remove_response(root, 20, 90) == 0);
	xe_nsw_handled(&nsw, root);
	write_bytes(root, 10);
	xe_assert(as_mark(root) == -ENOSPC);
	apply();
	xe_assert(as_mark(root) == 0);
}

/* Removed in the middle of reads and writes: passed over, before and after the chain shows it. */
static void test_removed(void)
{
	for (int compacted = 0; compacted < 2; compacted++) {
		read_bytes(root, 30);
		write_bytes(root, 20);
		as_mark(root);
		read_bytes(root, 30);
		write_bytes(root, 20);
		as_mark(root);
		read_bytes(root, 30);
		write_bytes(root, 20);
		xe_assert(as_remove_request(root, 20, 70) == 0);
		xe_assert(as_remove_response(root, 20, 40) == 0);
		xe_nsw_handled(&nsw, root);
		come_back(60, xe_crc32c(0, bytes, 60)); /* not in effect: all again */
		xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 30 && slot(0)->removals == 0);
		end();
		begin();
		read_bytes(root, 30);
		write_bytes(root, 20);
		as_mark(root);
		read_bytes(root, 30);
		write_bytes(root, 20);
		as_mark(root);
		read_bytes(root, 30);
		write_bytes(root, 20);
		xe_assert(as_remove_request(root, 20, 70) == 0);
		xe_assert(as_remove_response(root, 20, 40) == 0);
		xe_nsw_handled(&nsw, root);
		apply();
		if (compacted)
			xe_nsw_compact(&nsw, root);
		come_back(60, crc_without(20, 40, 60));
		xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 20); /* of 30 */
		xe_assert(memcmp(got, bytes, 20) == 0 && wr_read_so_far(root) == 70);
		xe_assert(xe_nsw_source(&nsw, root) == XE_NOT_YET);
		xe_assert(xe_nsw_drop(&nsw, root, bytes, 20) == 20);
		xe_assert(wr_written_so_far(root) == 40);
		xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 20); /* of the third */
		xe_assert(memcmp(got, bytes + 70, 20) == 0);
		xe_assert(xe_nsw_drop(&nsw, root, bytes + 40, 30) == 20 && !root->diverged);
		end();
		begin();
	}
}

static void test_other_bytes_diverge(void)
{
	write_bytes(root, 20);
	as_mark(root);
	write_bytes(root, 20);
	as_mark(root);
	as_remove_response(root, 0, 20);
	xe_nsw_handled(&nsw, root);
	apply();
	fail_over(40, crc_without(0, 20, 40));
	xe_assert(wr_written_so_far(root) == 20); /* from the start */
	xe_assert(xe_nsw_drop(&nsw, root, bytes + 21, 20) == 20 && root->diverged);
}

static void test_elided(void)
{
	static const uint8_t zeros[XE_LOG_BLOCK];

	for (int compacted = 0; compacted < 2; compacted++) {
		read_bytes(root, 100);
		for (int i = 0; i < 10; i++)
			read_bytes(root, XE_LOG_BLOCK / 5);
		as_mark(root);
		write_bytes(root, 1000);
		as_mark(root);
		write_bytes(root, 10);
		xe_assert(as_elide_request(root, 50, 2ull * XE_LOG_BLOCK) == 0);
		xe_assert(as_elide_response(root, 0, 1000) == 0);
		xe_nsw_handled(&nsw, root);
		apply();
		if (compacted) {
			xe_nsw_compact(&nsw, root);
			/* 2 cuts, OPENED, and of 11 reads the first, the last, and what is between */
			xe_assert(xe_log_chain(slot(0))->records == 2 + 1 + 3);
		}
		/* the block that is filler only need not be there any more */
		*xe_log_block_link(&log_view, 0) = 2;
		slot(0)->hole_from = XE_LOG_BLOCK;
		slot(0)->hole_to = 2ull * XE_LOG_BLOCK;
		come_back(1010, xe_crc32c(0, bytes + 1000, 10));
		xe_assert(xe_nsw_feed(&nsw, root, got, 1000) == 100);
		xe_assert(memcmp(got, bytes, 50) == 0 && memcmp(got + 50, zeros, 50) == 0);
		while (wr_read_so_far(root) < 2ull * XE_LOG_BLOCK) {
			uint64_t at = wr_read_so_far(root);
			long n = xe_nsw_feed(&nsw, root, got, 2ull * XE_LOG_BLOCK - at);

			xe_assert(n > 0 && memcmp(got, zeros,
						  (size_t)n < sizeof(zeros) ? (size_t)n
									    : sizeof(zeros)) == 0);
		}
		xe_assert(xe_nsw_feed(&nsw, root, got, 10) == 10);
		xe_assert(memcmp(got, bytes + 2ull * XE_LOG_BLOCK, 10) == 0);
		memset(got, 'x', 1000); /* what is blind may differ, what follows may not */
		xe_assert(xe_nsw_drop(&nsw, root, got, 1000) == 1000 && !root->diverged);
		xe_assert(xe_nsw_drop(&nsw, root, bytes + 1000, 10) == 10 && !root->diverged);
		xe_assert(as_elide_response(root, 0, 1000) == 0); /* it is */
		end();
		begin();
	}
}

static void test_what_handlers_see(void)
{
	struct wr_conn *c;

	xe_assert(wr_side_of(root) == WR_CLIENT_SIDE && wr_side_of(member) == WR_SERVER_SIDE);
	xe_assert(wr_root(member) == root && wr_root(root) == root);
	xe_assert(wr_next(root) == member && !wr_next(member));
	read_bytes(member, 7);
	write_bytes(member, 9);
	xe_assert(wr_read_so_far(member) == 7 && wr_written_so_far(member) == 9);
	memset(wr_state(member), 1, WR_STATE);
	xe_assert(wr_read_so_far(member) == 7 && !wr_closed(member));
	xe_nsw_close(&nsw, member, false);
	xe_assert(!wr_closed(member));
	xe_nsw_close(&nsw, member, true);
	xe_assert(wr_closed(member));
	fail_over(0, 0);
	xe_assert(!wr_next(root)); /* the service has not connected yet */
	c = xe_nsw_to_connect(&nsw, root, CLIENT, 1001);
	xe_assert(c == member && !xe_nsw_to_connect(&nsw, root, CLIENT, 1002));
	xe_nsw_open(&nsw, 1, 5, root, c->order);
	xe_assert(wr_next(root) == member && xe_nsw_connected(&nsw, c, 0) == 0);
	xe_assert(*(uint8_t *)wr_state(member) == 0);
}

/* Nothing is removed for the time being of a connection without a session. */
static void test_no_session(void)
{
	struct wr_conn *c;

	open_conn(2, XE_LOG_CLIENT_SIDE);
	c = xe_nsw_accept(&nsw, 2, SERVER, PORT, CLIENT, 1002);
	xe_nsw_record(&nsw, c, 10);
	xe_assert(as_mark(c) == -EINVAL && as_remove_request(c, 0, 10) == -EINVAL);
	xe_assert(slot(2)->root == XE_LOG_NONE && wr_root(c) == c && !wr_next(c));
}

/* A session's inputs come in the order in which they were read, wherever they are read. */
static void test_order(void)
{
	read_bytes(root, 10);
	read_bytes(member, 10);
	read_bytes(root, 10);
	read_bytes(member, 0);
	fail_over(0, 0);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == -EAGAIN); /* first it connects */
	xe_nsw_open(&nsw, 1, 1, root, 1);
	xe_assert(xe_nsw_connected(&nsw, member, -EINPROGRESS) == -EINPROGRESS);
	xe_assert(xe_nsw_connected(&nsw, member, 0) == 0);
	xe_assert(xe_nsw_feed(&nsw, member, got, 100) == -EAGAIN && member->waits);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 10);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == -EAGAIN);
	xe_assert(xe_nsw_feed(&nsw, member, got, 4) == 4);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == -EAGAIN);
	xe_assert(xe_nsw_feed(&nsw, member, got, 100) == 6);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 10);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == -EAGAIN); /* new, and an end is not read */
	xe_assert(!xe_nsw_patience(&nsw, root, 1));
	xe_assert(xe_nsw_patience(&nsw, root, 1 + XE_NSW_PATIENCE)); /* it never is: a divergence */
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 100);
}

/* What opened the member was removed: nobody waits for that, and it is claimed when it is needed. */
static void test_opened_late(void)
{
	read_bytes(root, 10);
	write_bytes(member, 10);
	read_bytes(member, 10);
	write_bytes(root, 10);
	xe_assert(as_mark(root) == 0 && as_mark(member) == 0);
	xe_assert(as_remove_request(root, 0, 10) == 0 && as_remove_response(root, 0, 10) == 0);
	xe_assert(as_remove_request(member, 0, 10) == 0 && as_remove_response(member, 0, 10) == 0);
	xe_nsw_handled(&nsw, root);
	apply();
	read_bytes(root, 10);
	read_bytes(root, 10);
	read_bytes(member, 10);
	fail_over(10, 0);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 10 && memcmp(got, bytes + 10, 10) == 0);
	xe_nsw_open(&nsw, 1, 1, root, 1);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == -EAGAIN); /* now it is waited for */
	xe_assert(xe_nsw_connected(&nsw, member, 0) == 0);
	xe_assert(xe_nsw_feed(&nsw, member, got, 100) == -EAGAIN);
	xe_assert(xe_nsw_feed(&nsw, root, got, 100) == 10);
	xe_assert(xe_nsw_feed(&nsw, member, got, 100) == 10 && memcmp(got, bytes + 10, 10) == 0);
}

static void (*const tests[])(void) = {
	test_four_ways,
	test_wrong_ranges,
	test_whole,
	test_full_ring,
	test_rings_of_the_past,
	test_out_of_blocks,
	test_port_of_another,
	test_held_ports,
	test_marks,
	test_removed,
	test_elided,
	test_other_bytes_diverge,
	test_what_handlers_see,
	test_no_session,
	test_order,
	test_opened_late,
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 1);
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		if (argc > 1 && (size_t)atoi(argv[1]) != t)
			continue;
		begin();
		tests[t]();
		end();
	}
	return 0;
}
