/* North-side wrapper over a hand-made log: what it replays, records and drops, and what it
 * makes of a log that somebody scribbled over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "net/nsw.h"

enum { SERVER = 1, CLIENT = 2, PORT = 80, BYTES = 5 * XE_LOG_BLOCK };

static uint8_t *extent[1];
static struct xe_log log_view;
static struct xe_nsw nsw;
static uint32_t next_block;
static uint8_t bytes[BYTES], got[BYTES];

static void open_log(void)
{
	extent[0] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
	xe_assert(extent[0]);
	memset(extent[0], 0, XE_EXTENT_SIZE);
	xe_assert(xe_log_open(&log_view, extent, 1) == 0);
	xe_log_format(&log_view);
	memset(&nsw, 0, sizeof(nsw));
	next_block = 0;
}

static void close_log(void)
{
	xe_nsw_detach(&nsw);
	xe_log_close(&log_view);
	free(extent[0]);
}

static void attach(void)
{
	xe_assert(xe_nsw_attach(&nsw, extent, 1) == 0);
}

static struct xe_log_slot *slot(uint32_t i)
{
	return xe_log_slot(&log_view, i);
}

/* SSW's half: connection i, `n` bytes logged. */
static void open_conn(uint32_t i, size_t n)
{
	struct xe_log_slot *s = slot(i);
	uint32_t b, *link = &s->first_block;

	s->local_addr = SERVER;
	s->local_port = PORT;
	s->peer_addr = CLIENT;
	s->peer_port = (uint16_t)(1000 + i);
	b = xe_log_hash(SERVER, PORT, CLIENT, s->peer_port) & (log_view.slots - 1);
	if (s->incarnation++ == 0) {
		s->hash_next = XE_LOG_LOAD(*xe_log_bucket(&log_view, b));
		atomic_store(xe_log_bucket(&log_view, b), i);
	}
	for (size_t at = 0; at < n; at += XE_LOG_BLOCK) {
		*link = next_block;
		memcpy(xe_log_block(&log_view, next_block), bytes + at,
		       n - at < XE_LOG_BLOCK ? n - at : XE_LOG_BLOCK);
		link = xe_log_block_link(&log_view, next_block++);
		xe_assert(next_block <= log_view.blocks);
	}
	*link = XE_LOG_NONE;
	atomic_store(&s->rcv_logged, n);
	atomic_store(&s->state, XE_LOG_ESTABLISHED);
}

/* SSW's half of a fault, and a new kernel. */
static void fault(void)
{
	atomic_fetch_add(&xe_log_head(&log_view)->generation, 1);
	attach();
}

static void reestablish(uint32_t i, uint64_t line, uint64_t drop)
{
	slot(i)->drop_line = drop;
	slot(i)->sent_line = slot(i)->trial = 0;
	slot(i)->drop_crc = xe_crc32c(0, bytes, drop);
	slot(i)->replay_generation = XE_LOG_LOAD(xe_log_head(&log_view)->generation);
	atomic_store(&slot(i)->replay_line, line);
}

static void accept_conn(struct wr_conn **c, uint32_t i)
{
	*c = xe_nsw_accept(&nsw, (int)i, SERVER, PORT, CLIENT, (uint16_t)(1000 + i));
}

static void free_slot(uint32_t i)
{
	atomic_store(&slot(i)->state, XE_LOG_FREE);
}

/* ---- normal operation ---- */

static void test_not_a_log(void)
{
	xe_log_head(&log_view)->magic++;
	xe_assert(xe_nsw_attach(&nsw, extent, 1) == -EINVAL && !nsw.attached);
}

static void test_unknown_connection(void)
{
	struct wr_conn *c;

	accept_conn(&c, 3); /* no log at all */
	xe_assert(!c);
	attach();
	accept_conn(&c, 3); /* not in it */
	xe_assert(!c && nsw.free_count == log_view.record_blocks);
}

static void test_intent(void)
{
	struct wr_conn *c;

	attach();
	open_conn(0, 100);
	accept_conn(&c, 0);
	xe_assert(slot(0)->nsw_flags == XE_LOG_ACCEPTED);
	xe_assert(slot(0)->nsw_incarnation == 1 && slot(0)->nsw_generation == 1);
	xe_nsw_wrote(&nsw, c, bytes, 30);
	xe_assert(slot(0)->out_written == 30);
	xe_nsw_close(&nsw, c, false);
	xe_assert(slot(0)->nsw_flags == (XE_LOG_ACCEPTED | XE_LOG_CLOSED));
	xe_assert(slot(0)->nsw_close_at == 30);
	xe_nsw_wrote(&nsw, c, bytes, 5);
	xe_nsw_close(&nsw, c, true);
	xe_assert(slot(0)->nsw_close_at == 30); /* the first one's */
	xe_assert(slot(0)->nsw_flags == (XE_LOG_ACCEPTED | XE_LOG_CLOSED | XE_LOG_ABORTED));
	fault();
	reestablish(0, 0, 0);
	accept_conn(&c, 0);
	xe_assert(slot(0)->nsw_flags == XE_LOG_ACCEPTED && slot(0)->nsw_close_at == 0);
	xe_assert(slot(0)->nsw_generation == 2 && slot(0)->out_written == 0);
}

/* ---- replay ---- */

static void test_sizes_replayed(void)
{
	static const size_t size[] = {10, 1, 700, XE_LOG_BLOCK, 33, 20000};
	struct wr_conn *c;
	size_t at = 0, total = 0;

	open_conn(0, BYTES);
	attach();
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 10) == 0); /* TCP serves it */
	for (size_t i = 0; i < 6; i++) {
		xe_nsw_record(&nsw, c, -EAGAIN); /* no input */
		xe_nsw_record(&nsw, c, (long)size[i]);
		total += size[i];
	}
	xe_assert(slot(0)->chain[0].records == 6);
	fault();
	reestablish(0, total + 500, 0);
	accept_conn(&c, 0);
	for (size_t i = 0; i < 6; i++) {
		xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_LOG);
		xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == (long)size[i]);
		xe_assert(memcmp(got, bytes + at, size[i]) == 0);
		at += size[i];
	}
	/* beyond the records sizes are free, but no read crosses the line */
	xe_assert(xe_nsw_feed(&nsw, c, got, 200) == 200);
	xe_assert(xe_nsw_feed(&nsw, c, got + 200, BYTES) == 300);
	xe_assert(memcmp(got, bytes + at, 500) == 0);
	xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_TCP && xe_nsw_feed(&nsw, c, got, 10) == 0);
	xe_assert(slot(0)->chain[0].records == 8); /* the free ones were recorded */
}

static void test_small_buffer(void)
{
	struct wr_conn *c;

	open_conn(0, 1000);
	attach();
	accept_conn(&c, 0);
	xe_nsw_record(&nsw, c, 100);
	xe_nsw_record(&nsw, c, 50);
	fault();
	reestablish(0, 1000, 0);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 0) == 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 60) == 60);
	xe_assert(xe_nsw_feed(&nsw, c, got, 60) == 40); /* the rest of the record */
	xe_assert(xe_nsw_feed(&nsw, c, got, 60) == 50);
	xe_assert(xe_nsw_feed(&nsw, c, got, 60) == 60);
	xe_assert(memcmp(got, bytes + 150, 60) == 0);
}

static void test_eof(void)
{
	struct wr_conn *c;

	open_conn(0, 100);
	attach();
	accept_conn(&c, 0);
	xe_nsw_record(&nsw, c, 100);
	xe_nsw_record(&nsw, c, 0);
	xe_assert(slot(0)->chain[0].records == 2);
	xe_assert(xe_log_records(&log_view, slot(0)->chain[0].first)[1].kind == XE_RECORD_EOF);
	fault();
	reestablish(0, 100, 0);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 100);
	xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 0); /* TCP gives EOF: it has the FIN */
	xe_nsw_record(&nsw, c, 0);
	xe_nsw_record(&nsw, c, -ECONNRESET);
	xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_TCP);
}

/* Input is not offered before the service has written what it had written then. */
static void test_gates(void)
{
	struct wr_conn *c;

	open_conn(0, 150);
	attach();
	accept_conn(&c, 0);
	xe_nsw_record(&nsw, c, 60);
	xe_nsw_wrote(&nsw, c, bytes, 500);
	xe_nsw_record(&nsw, c, 40); /* 50 bytes were not read */
	xe_nsw_wrote(&nsw, c, bytes, 300);
	atomic_store(&slot(0)->sent_max, 700);
	for (int round = 0; round < 2; round++) {
		fault();
		reestablish(0, 150, 100);
		accept_conn(&c, 0);
		xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 60);
		xe_assert(xe_nsw_source(&nsw, c) == XE_NOT_YET);
		xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == -EAGAIN);
		xe_assert(xe_nsw_drop(&nsw, c, bytes, 500) == 100);
		xe_nsw_wrote(&nsw, c, bytes, 399);
		xe_assert(xe_nsw_source(&nsw, c) == XE_NOT_YET);
		xe_nsw_wrote(&nsw, c, bytes, 1);
		xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_LOG);
		xe_assert(xe_nsw_feed(&nsw, c, got, 30) == 30);
		xe_assert(xe_nsw_feed(&nsw, c, got, 30) == 10);
		xe_nsw_wrote(&nsw, c, bytes, 199);
		xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == -EAGAIN);
		xe_nsw_wrote(&nsw, c, bytes, 1); /* 700: more than was sent is not asked for */
	}
	xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 50);
	xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_TCP && !c->replaying);
}

/* The client's end, read before anything was written, and not read before the fault. */
static void test_gate_of_the_end(void)
{
	struct wr_conn *c;

	for (int was_read = 0; was_read < 2; was_read++) {
		open_conn(0, 100);
		attach();
		accept_conn(&c, 0);
		xe_nsw_record(&nsw, c, 100);
		if (was_read)
			xe_nsw_record(&nsw, c, 0);
		xe_nsw_wrote(&nsw, c, bytes, 300);
		atomic_store(&slot(0)->sent_max, 200);
		fault();
		reestablish(0, 100, 0);
		accept_conn(&c, 0);
		xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 100);
		xe_assert(xe_nsw_source(&nsw, c) == (was_read ? XE_FROM_TCP : XE_NOT_YET));
		if (was_read)
			xe_nsw_wrote(&nsw, c, bytes, 200);
		if (!was_read) {
			xe_assert(!xe_nsw_patience(&nsw, c, 5));
			xe_assert(!xe_nsw_patience(&nsw, c, 4 + XE_NSW_PATIENCE));
			xe_assert(xe_nsw_source(&nsw, c) == XE_NOT_YET);
			xe_assert(xe_nsw_patience(&nsw, c, 5 + XE_NSW_PATIENCE));
		}
		xe_assert(xe_nsw_source(&nsw, c) == XE_FROM_TCP);
		free_slot(0);
	}
}

static void test_drop(void)
{
	struct wr_conn *c;

	open_conn(0, 100);
	attach();
	fault();
	reestablish(0, 0, 1000);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_can_write(c));
	xe_assert(xe_nsw_drop(&nsw, c, bytes, 400) == 400);
	xe_assert(slot(0)->out_written == 400);
	xe_assert(xe_nsw_drop(&nsw, c, bytes + 400, 601) == 600); /* across the line */
	xe_assert(!xe_nsw_can_write(c) && xe_nsw_drop(&nsw, c, bytes, 50) == 0 && !c->diverged);
	xe_nsw_wrote(&nsw, c, bytes, 1);
	xe_assert(slot(0)->out_written == 1001 && nsw.bytes_dropped == 1000);
}

static void test_other_output_diverges(void)
{
	struct wr_conn *c;

	for (size_t wrong = 0; wrong < 1000; wrong += 333) {
		open_conn(0, 0);
		attach();
		fault();
		reestablish(0, 0, 1000);
		accept_conn(&c, 0);
		memcpy(got, bytes, 1000);
		got[wrong] ^= 1;
		xe_assert(xe_nsw_drop(&nsw, c, got, 999) == 999 && !c->diverged);
		xe_assert(xe_nsw_drop(&nsw, c, got + 999, 5) == 1 && c->diverged);
		xe_assert(slot(0)->nsw_flags & XE_LOG_DIVERGED);
		free_slot(0);
	}
}

/* As the plain wrapper does, over a TCP that takes seven bytes at most. */
static void piece(struct wr_conn *c, const char *text, size_t n, char *out)
{
	struct xe_http *http = (void *)c->state;
	size_t done = 0, scanned = 0;
	bool date;

	while (done < n) {
		const uint8_t *from = (const uint8_t *)text + done;
		size_t k;

		if (scanned == 0) {
			scanned = xe_http_scan(http, from, n - done, &date);
			if (scanned == 0) {
				xe_nsw_date(&nsw, c, from);
				scanned = xe_http_scan(http, from, XE_HTTP_DATE, NULL);
			}
		}
		if (c->date_left > 0)
			from = c->date + XE_HTTP_DATE - c->date_left;
		k = scanned < 7 ? scanned : 7;
		memcpy(out + done, from, k);
		xe_nsw_wrote(&nsw, c, bytes, k);
		done += k;
		scanned -= k;
	}
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 43\r\nDate: "
#define BODY "\r\n\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT 0123456"
#define FIRST HEAD "Sat, 01 Jan 2005 00:00:07 GMT" BODY HEAD "Sat, 01 Jan 2005 23:59:59 GMT" BODY
#define AGAIN HEAD "Sun, 02 Jan 2005 00:00:00 GMT" BODY HEAD "Sun, 02 Jan 2005 00:00:01 GMT" BODY

/* The dates of a replay are those of the first time; later ones are the service's own. */
static void test_dates_replayed(void)
{
	static char out[sizeof(AGAIN) * 2];
	struct wr_conn *c;
	size_t n = sizeof(FIRST) - 1;

	open_conn(0, 100);
	attach();
	accept_conn(&c, 0);
	xe_nsw_record(&nsw, c, 60);
	piece(c, FIRST, n, out);
	xe_assert(memcmp(out, FIRST, n) == 0 && slot(0)->chain[0].records == 3);
	for (int round = 0; round < 2; round++) {
		fault();
		reestablish(0, 100, 0);
		accept_conn(&c, 0);
		xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 60);
		piece(c, AGAIN, n, out);
		xe_assert(memcmp(out, FIRST, n) == 0);
	}
	xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 40);
	piece(c, AGAIN, n, out);
	xe_assert(memcmp(out, AGAIN, n) == 0 && nsw.dates_replayed == 4);
	xe_assert(slot(0)->chain[0].records == 3 + 1 + 2);
}

static void test_second_fault(void)
{
	struct wr_conn *c;
	size_t at;

	open_conn(0, BYTES);
	attach();
	accept_conn(&c, 0);
	for (int i = 1; i <= 200; i++)
		xe_nsw_record(&nsw, c, i);
	for (int round = 0; round < 3; round++) { /* each dies in mid-replay */
		fault();
		reestablish(0, 200 * 201 / 2, 0);
		accept_conn(&c, 0);
		at = 0;
		for (int i = 1; i <= 50 + 60 * round; i++) {
			xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == i);
			xe_assert(memcmp(got, bytes + at, (size_t)i) == 0);
			at += (size_t)i;
		}
		xe_assert(slot(0)->chain[0].records == 200);
	}
	fault();
	reestablish(0, 200 * 201 / 2 + 64, 0);
	accept_conn(&c, 0);
	for (int i = 1; i <= 200; i++)
		xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == i);
	xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == 64);
	for (int i = 0; i < 100; i++)
		xe_nsw_record(&nsw, c, 7);
	xe_assert(slot(0)->chain[0].records == 301);
	fault();
	reestablish(0, 200 * 201 / 2 + 64 + 700, 0);
	accept_conn(&c, 0);
	for (int i = 1; i <= 200; i++)
		xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == i);
	xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == 64);
	for (int i = 0; i < 100; i++)
		xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == 7);
}

static void test_arena_exhausted(void)
{
	struct wr_conn *c, *other;
	uint64_t room = (uint64_t)log_view.record_blocks * XE_RECORDS_PER_BLOCK;

	open_conn(0, BYTES);
	open_conn(1, 100);
	attach();
	accept_conn(&c, 0);
	for (uint64_t i = 0; i < room; i++)
		xe_nsw_record(&nsw, c, 1);
	xe_assert(nsw.free_count == 0 && !(slot(0)->nsw_flags & XE_LOG_UNRECORDED));
	xe_nsw_record(&nsw, c, 1);
	xe_assert(slot(0)->nsw_flags & XE_LOG_UNRECORDED);
	xe_assert(slot(0)->chain[0].records == room);
	accept_conn(&other, 1);
	xe_nsw_record(&nsw, other, 1);
	xe_assert(slot(1)->nsw_flags & XE_LOG_UNRECORDED);
	fault(); /* nothing is lost: sizes, then free sizes */
	reestablish(0, BYTES, 0);
	reestablish(1, 100, 0);
	accept_conn(&c, 0);
	accept_conn(&other, 1);
	for (uint64_t i = 0; i < room; i++) {
		xe_assert(xe_nsw_feed(&nsw, c, got, 100) == 1 && got[0] == bytes[i]);
	}
	xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == (long)(BYTES - room));
	xe_assert(memcmp(got, bytes + room, BYTES - room) == 0);
	xe_assert(xe_nsw_feed(&nsw, other, got, 1000) == 100);
	xe_assert(memcmp(got, bytes, 100) == 0);
	free_slot(0); /* gives all back */
	open_conn(2, 0);
	accept_conn(&c, 2);
	xe_nsw_record(&nsw, c, 1);
	xe_assert(slot(2)->chain[0].records == 1 && nsw.free_count == log_view.record_blocks - 1);
}

/* The peer has reset it: what is replayed of it is no longer there. */
static void test_reset_in_a_replay(void)
{
	struct wr_conn *c;

	open_conn(0, 100);
	attach();
	fault();
	reestablish(0, 100, 0);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 30) == 30);
	free_slot(0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 30) == -EBADMSG);
}

static void test_stale_incarnation(void)
{
	struct wr_conn *old, *c;

	open_conn(0, 100);
	attach();
	accept_conn(&old, 0);
	xe_nsw_record(&nsw, old, 10);
	free_slot(0);
	open_conn(0, 200); /* the slot is another connection's */
	xe_nsw_record(&nsw, old, 11);
	xe_nsw_wrote(&nsw, old, bytes, 12);
	xe_nsw_close(&nsw, old, true);
	xe_assert(slot(0)->chain[0].records == 1 && slot(0)->out_written == 0);
	xe_assert(!(slot(0)->nsw_flags & XE_LOG_CLOSED));
	accept_conn(&c, 0);
	xe_assert(slot(0)->chain[0].records == 0 && slot(0)->nsw_incarnation == 2);
	xe_assert(nsw.free_count == log_view.record_blocks);
	xe_assert(slot(0)->nsw_flags == XE_LOG_ACCEPTED);
	fault();
	reestablish(0, 200, 0);
	accept_conn(&c, 0);
	free_slot(0);
	open_conn(0, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 10) == -EBADMSG); /* not another's bytes */
}

static void test_never_accepted(void)
{
	struct wr_conn *c;

	open_conn(0, 100);
	attach();
	accept_conn(&c, 0);
	for (int i = 0; i < 10; i++)
		xe_nsw_record(&nsw, c, 5);
	free_slot(0);
	open_conn(0, 100); /* died before the service accepted it */
	fault();
	reestablish(0, 100, 0);
	accept_conn(&c, 0);
	xe_assert(slot(0)->chain[0].records == 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 1000) == 100); /* not the last one's sizes */
	xe_assert(nsw.free_count == log_view.record_blocks - 1);
}

/* A socket that outlives its slot must not write into blocks that others have now. */
static void test_record_after_free(void)
{
	struct wr_conn *dead, *c;
	struct xe_log_record *r;

	open_conn(0, 0);
	open_conn(1, 0);
	attach();
	accept_conn(&dead, 0);
	xe_nsw_record(&nsw, dead, 1);
	free_slot(0); /* the peer's RST */
	accept_conn(&c, 1);
	while (slot(1)->chain[0].first != slot(0)->chain[0].first &&
	       slot(1)->chain[0].records < (uint64_t)log_view.record_blocks * XE_RECORDS_PER_BLOCK)
		xe_nsw_record(&nsw, c, 7); /* until the sweep */
	xe_nsw_record(&nsw, dead, -ECONNRESET);
	xe_nsw_record(&nsw, dead, 99);
	for (uint32_t b = slot(1)->chain[0].first; b < log_view.record_blocks;
	     b = *xe_log_record_link(&log_view, b)) {
		r = xe_log_records(&log_view, b);
		for (int i = 0; i < XE_RECORDS_PER_BLOCK; i++)
			xe_assert(r[i].kind == XE_RECORD_READ && r[i].size == 7);
	}
}

/* ---- a log that somebody scribbled over ---- */

static void test_corrupt_first_block(void)
{
	struct wr_conn *c;

	open_conn(0, 100);
	slot(0)->first_block = log_view.blocks;
	attach();
	fault();
	reestablish(0, 100, 0);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 10) == -EBADMSG && nsw.corrupt == 1);
}

static void test_short_chain(void)
{
	struct wr_conn *c;

	open_conn(0, 2 * XE_LOG_BLOCK);
	*xe_log_block_link(&log_view, 0) = XE_LOG_NONE;
	attach();
	fault();
	reestablish(0, 2 * XE_LOG_BLOCK, 0);
	accept_conn(&c, 0);
	xe_assert(xe_nsw_feed(&nsw, c, got, 10) == 10);
	xe_assert(xe_nsw_feed(&nsw, c, got, BYTES) == -EBADMSG);
	xe_assert(xe_nsw_feed(&nsw, c, got, 10) == -EBADMSG); /* and stays so */
}

static void test_block_cycle(void)
{
	struct wr_conn *c;
	uint64_t fed = 0;
	long n;

	open_conn(0, 2 * XE_LOG_BLOCK);
	*xe_log_block_link(&log_view, 1) = 0;
	attach();
	fault();
	reestablish(0, UINT64_MAX / 2, 0);
	accept_conn(&c, 0);
	while ((n = xe_nsw_feed(&nsw, c, got, BYTES)) > 0) {
		fed += (uint64_t)n;
		xe_assert(fed <= XE_EXTENT_SIZE); /* no more than a log can hold */
	}
	xe_assert(n == -EBADMSG);
}

static void test_record_cycle(void)
{
	struct wr_conn *c, *d, *e;
	uint32_t block;

	open_conn(2, 100);
	open_conn(0, 100);
	open_conn(1, 100);
	attach();
	accept_conn(&c, 0);
	accept_conn(&d, 1);
	accept_conn(&e, 2);
	xe_nsw_record(&nsw, c, 1);
	xe_nsw_record(&nsw, d, 1);
	for (int i = 0; i < 200; i++)
		xe_nsw_record(&nsw, e, 1);
	block = slot(0)->chain[0].first;
	*xe_log_record_link(&log_view, block) = block;
	slot(1)->chain[0].first = block; /* and two chains that share it */
	atomic_store(&slot(0)->chain[0].records, UINT64_MAX);
	fault();
	xe_assert(nsw.free_count == log_view.record_blocks - 6);
	reestablish(0, 100, 0);
	accept_conn(&c, 0);
	for (int i = 0; i < 100; i++) {
		long n = xe_nsw_feed(&nsw, c, got, 1);

		xe_assert(n >= 0 && n <= 1);
	}
	free_slot(0);
	free_slot(1);
	open_conn(0, 0);
	open_conn(1, 0);
	accept_conn(&c, 0);
	accept_conn(&d, 1);
	xe_assert(nsw.free_count == log_view.record_blocks - 5); /* none is there twice */
	for (uint32_t i = 0; i < nsw.free_count; i++) {
		for (uint32_t k = 0; k < i; k++)
			xe_assert(nsw.free[i] != nsw.free[k]);
	}
}

static void scribble(struct xe_rng *rng)
{
	uint64_t end = xe_rng_below(rng, 3) ? log_view.records_at
					    : log_view.records_at + 8 * XE_LOG_RECORD_BLOCK;
	uint64_t from = xe_rng_below(rng, 4) ? log_view.slots_at : 0;
	uint64_t words = 1 + xe_rng_below(rng, 400), at;
	uint32_t value;

	if (xe_rng_below(rng, 2)) /* close to where the connections are */
		end = log_view.slots_at + 4 * sizeof(struct xe_log_slot);
	for (uint64_t i = 0; i < words; i++) {
		at = (from + xe_rng_below(rng, end - from)) & ~3ull;
		switch (xe_rng_below(rng, 4)) {
		case 0:
			value = (uint32_t)xe_rng_next(rng);
			break;
		case 1:
			value = (uint32_t)xe_rng_below(rng, 200);
			break;
		case 2:
			value = XE_LOG_NONE;
			break;
		default:
			value = (uint32_t)xe_rng_below(rng, log_view.record_blocks + 2);
		}
		memcpy((uint8_t *)xe_log_at(&log_view, at), &value, 4);
	}
}

static void drive(struct xe_rng *rng, struct wr_conn *c, int ops)
{
	for (int i = 0; i < ops; i++) {
		size_t n = xe_rng_below(rng, 3) ? xe_rng_below(rng, 300) : BYTES;
		long fed;

		switch (xe_rng_below(rng, 6)) {
		case 0:
			xe_nsw_record(&nsw, c, (long)n);
			break;
		case 1:
			xe_assert(xe_nsw_drop(&nsw, c, bytes, n) <= n);
			break;
		case 2:
			xe_nsw_wrote(&nsw, c, bytes, n);
			break;
		case 3:
			if (xe_rng_below(rng, 10) == 0)
				xe_nsw_close(&nsw, c, n & 1);
			break;
		default:
			fed = xe_nsw_feed(&nsw, c, got, n);
			xe_assert(fed == -EBADMSG || fed == -EAGAIN || fed == -ECONNRESET ||
				  (fed >= 0 && (size_t)fed <= n));
		}
	}
	xe_assert(nsw.free_count <= log_view.record_blocks);
}

static void test_scribbles(void)
{
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct xe_rng rng = {.state = seed};
		struct wr_conn *c[4];

		close_log();
		open_log();
		for (uint32_t i = 0; i < 4; i++)
			open_conn(i, 20000);
		attach();
		for (uint32_t i = 0; i < 4; i++) {
			accept_conn(&c[i], i);
			for (int k = 0; k < 100; k++)
				xe_nsw_record(&nsw, c[i], 50);
		}
		if (seed & 1)
			scribble(&rng);
		atomic_fetch_add(&xe_log_head(&log_view)->generation, 1);
		for (uint32_t i = 0; i < 4; i++)
			reestablish(i, 20000, 500);
		if (seed & 2)
			scribble(&rng);
		if (xe_nsw_attach(&nsw, extent, 1)) /* not a log any more */
			continue;
		for (uint32_t i = 0; i < 4; i++)
			accept_conn(&c[i], i);
		for (int round = 0; round < 10; round++) {
			if (c[round % 4]) /* else not found any more */
				drive(&rng, c[round % 4], 20);
			if (seed & 4)
				scribble(&rng);
			if (xe_rng_below(&rng, 8) == 0)
				accept_conn(&c[round % 4], (uint32_t)round % 4);
		}
	}
}

static void (*const tests[])(void) = {
	test_not_a_log,
	test_unknown_connection,
	test_intent,
	test_sizes_replayed,
	test_small_buffer,
	test_eof,
	test_reset_in_a_replay,
	test_gates,
	test_gate_of_the_end,
	test_drop,
	test_other_output_diverges,
	test_dates_replayed,
	test_second_fault,
	test_arena_exhausted,
	test_stale_incarnation,
	test_never_accepted,
	test_record_after_free,
	test_corrupt_first_block,
	test_short_chain,
	test_block_cycle,
	test_record_cycle,
	test_scribbles,
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 1);
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		if (argc > 1 && (size_t)atoi(argv[1]) != t)
			continue;
		open_log();
		tests[t]();
		close_log();
	}
	return 0;
}
