/* Two endpoints in one process, with the wrappers between them or not; see protection.h.
 *
 * What the machine does per packet is done here in its order (csrc/machine_network.c), and
 * nothing else: no events, no domains, no trace. Without a link a packet goes at once from
 * one TCP into the other, time is virtual, a microsecond a turn, and what is measured is the
 * thread's CPU time. With one it waits in a ring for its arrival against CLOCK_MONOTONIC, less
 * the time in which the kernel gave the CPU to somebody else; a turn that found nothing to do
 * is not counted as busy. Each transfer has a connection of its own, opened and closed outside of
 * the clock.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "clock.h"
#include "counter.h"
#include "host/memory.h"
#include "net/link.h"
#include "net/socket.h"
#include "net/ssw.h"
#include "net/wire.h"
#include "net/wrapper.h"

#include "protection.h"

enum {
	SERVER = 0x0a000001,
	CLIENT = 0x0a000164,
	PORT = 80,
	MSS = XE_MTU - 52,    /* with timestamps */
	CHUNK = 65536,        /* what the programs read and write at a time */
	PERIOD = 65521,       /* of the bytes that they move */
	FLIGHTS = 4096,
	BURST = 256,
	LINK_DELAY = 20000,   /* ns */
	LONG_TURN = 20000,    /* ns: long enough to have lost the CPU in it */
};

enum { UP, DOWN }; /* to the server, to the client */

struct bench_flight {
	xe_ns at;
	size_t len;
	uint8_t data[1536];
};

struct bench_pipe {
	struct xe_link link;
	struct bench_flight *flight;
	uint64_t head, tail;
};

struct bench_pair {
	xe_ns now, epoch;
	xe_ns lost;  /* while another had the CPU */
	long switches;
	uint64_t rate, log_bytes;
	bool moved; /* in this turn: it was not idle */
	struct xe_tcp *client;
	struct xe_sockets server;
	int listener;
	struct wr plain;
	struct xe_ssw *ssw;
	struct bench_pipe pipe[2];
	struct bench_counter counter;
	struct xe_memory memory;
	uint8_t *extent[XE_MAX_EXTENTS];
	uint8_t *to; /* where the copying parts write */
	uint64_t sum;
	uint8_t source[PERIOD + CHUNK], sink[CHUNK];
};

struct bench_transfer {
	uint64_t bytes, sent, received, reads;
	xe_ns busy;
	int upload, check, sock, conn;
	uint16_t port;
};

/* ---- opening and closing ---- */

static int open_memory(struct bench_pair *b, uint32_t extents)
{
	uint64_t log = (uint64_t)extents * XE_EXTENT_SIZE;
	int rc = xe_memory_open(&b->memory, log + b->log_bytes, true);

	if (rc)
		return rc;
	memset(b->memory.base, 1, b->memory.bytes);
	for (uint32_t i = 0; i < extents; i++)
		b->extent[i] = b->memory.base + (uint64_t)i * XE_EXTENT_SIZE;
	b->to = b->memory.base + log;
	return 0;
}

static int open_wrappers(struct bench_pair *b, uint32_t extents)
{
	int rc = xe_ssw_create(&b->ssw, b->extent, extents);

	if (rc)
		return rc;
	rc = wr_plain(&b->plain);
	if (rc)
		return rc;
	xe_ssw_protect(b->ssw, PORT, &b->plain);
	xe_sockets_protect(&b->server, PORT, true);
	return xe_nsw_attach(&b->server.nsw, b->extent, extents);
}

static int open_pipe(struct bench_pipe *p, uint64_t rate)
{
	struct xe_link_config link = {.bits_per_second = rate, .delay = LINK_DELAY};

	xe_link_init(&p->link, &link, 1);
	p->flight = malloc(FLIGHTS * sizeof(*p->flight));
	if (!p->flight)
		return -ENOMEM;
	memset(p->flight, 0, FLIGHTS * sizeof(*p->flight));
	return 0;
}

static int open_stacks(struct bench_pair *b)
{
	struct xe_tcp_config cfg = {.max_socks = 16, .msl = XE_MS, .seed = 1};
	int rc = xe_tcp_create(&b->client, &cfg);

	if (rc)
		return rc;
	cfg.seed = 2;
	rc = xe_sockets_init(&b->server, &cfg);
	if (rc)
		return rc;
	xe_tcp_set_addr(b->client, CLIENT);
	xe_tcp_set_addr(b->server.tcp, SERVER);
	b->listener = xe_tcp_listen(b->server.tcp, PORT, 4);
	return b->listener < 0 ? b->listener : 0;
}

struct bench_pair *bench_pair_open(int protect, uint64_t log_bytes, uint64_t rate)
{
	/* the index of the log, and its read records, take a sixteenth at most */
	uint32_t extents = (uint32_t)(log_bytes / XE_EXTENT_SIZE * 17 / 16 + 2);
	struct bench_pair *b = calloc(1, sizeof(*b));
	int rc = -EINVAL;

	if (!b)
		return NULL;
	b->rate = rate;
	b->log_bytes = log_bytes;
	b->epoch = bench_now() - XE_SECOND;
	b->now = XE_SECOND;
	for (size_t i = 0; i < sizeof(b->source); i++)
		b->source[i] = (uint8_t)(i % PERIOD * 31 + i % PERIOD / 251);
	bench_counter_open(&b->counter);
	if (log_bytes >= XE_EXTENT_SIZE && extents <= XE_MAX_EXTENTS)
		rc = open_memory(b, extents);
	for (int way = 0; !rc && way < 2; way++)
		rc = open_pipe(&b->pipe[way], rate);
	if (!rc)
		rc = open_stacks(b);
	if (!rc && protect)
		rc = open_wrappers(b, extents);
	if (rc) {
		bench_pair_close(b);
		errno = -rc;
		return NULL;
	}
	return b;
}

void bench_pair_close(struct bench_pair *b)
{
	if (!b)
		return;
	if (b->client)
		xe_tcp_destroy(b->client);
	if (b->server.tcp)
		xe_sockets_fini(&b->server);
	xe_ssw_destroy(b->ssw);
	free(b->pipe[UP].flight);
	free(b->pipe[DOWN].flight);
	bench_counter_close(&b->counter);
	if (b->memory.base)
		xe_memory_close(&b->memory);
	free(b);
}

static xe_ns least(xe_ns a, xe_ns b)
{
	return a < b ? a : b;
}

/* Whether this thread was made to leave the CPU since the last call. */
static bool was_switched(struct bench_pair *b)
{
	struct rusage use;
	long before = b->switches;

	getrusage(RUSAGE_THREAD, &use);
	b->switches = use.ru_nivcsw;
	return b->switches != before;
}

static xe_ns now_of(struct bench_pair *b)
{
	xe_ns now;

	if (b->rate == 0)
		return b->now + XE_US;
	now = bench_now() - b->epoch - b->lost;
	if (now - b->now < LONG_TURN || !was_switched(b))
		return now;
	b->lost += now - b->now;
	return b->now;
}

/* ---- packets ---- */

static void to_server(struct bench_pair *b, uint8_t *data, size_t len)
{
	if (b->ssw && xe_ssw_ingress(b->ssw, data, len, b->now) == XE_DROP)
		return;
	xe_tcp_input(b->server.tcp, data, len, b->ssw != NULL, b->now);
}

static void arrive(struct bench_pair *b, int way, uint8_t *data, size_t len)
{
	if (way == UP)
		to_server(b, data, len);
	else
		xe_tcp_input(b->client, data, len, false, b->now);
}

/* Where the sender writes its next packet. */
static struct bench_flight *slot(struct bench_pair *b, int way)
{
	return &b->pipe[way].flight[b->pipe[way].head % FLIGHTS];
}

static void transmit(struct bench_pair *b, int way, struct bench_flight *f)
{
	struct bench_pipe *p = &b->pipe[way];
	xe_ns arrival[2];

	b->moved = true;
	if (b->rate == 0) {
		arrive(b, way, f->data, f->len);
	} else if (xe_link_send(&p->link, f->len, b->now, arrival) == 1) {
		f->at = arrival[0];
		if (++p->head - p->tail == FLIGHTS)
			abort();
	}
}

static void deliver(struct bench_pair *b, int way)
{
	struct bench_pipe *p = &b->pipe[way];

	while (p->tail != p->head && p->flight[p->tail % FLIGHTS].at <= b->now) {
		struct bench_flight *f = &p->flight[p->tail++ % FLIGHTS];

		b->moved = true;
		arrive(b, way, f->data, f->len);
	}
}

static void flush_client(struct bench_pair *b)
{
	struct bench_flight *f = slot(b, UP);

	while ((f->len = xe_tcp_dispatch(b->client, f->data, sizeof(f->data), b->now)) > 0) {
		transmit(b, UP, f);
		f = slot(b, UP);
	}
}

static void flush_server(struct bench_pair *b)
{
	struct bench_flight *f = slot(b, DOWN);
	enum xe_direction to;

	while ((f->len = xe_tcp_dispatch(b->server.tcp, f->data, sizeof(f->data), b->now)) > 0) {
		if (!b->ssw || xe_ssw_egress(b->ssw, f->data, f->len, b->now) == XE_PASS)
			transmit(b, DOWN, f);
		f = slot(b, DOWN);
	}
	if (!b->ssw)
		return;
	while ((f->len = xe_ssw_dispatch(b->ssw, f->data, sizeof(f->data), &to, b->now)) > 0) {
		if (to == XE_TO_GUEST)
			xe_tcp_input(b->server.tcp, f->data, f->len, false, b->now);
		else
			transmit(b, DOWN, f);
		f = slot(b, DOWN);
	}
}

/* ---- the two programs ---- */

static int take(struct bench_pair *b, struct bench_transfer *t, const uint8_t *bytes, long n)
{
	const uint8_t *want = b->source + t->received % PERIOD;

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -EPROTO;
	if (t->check && memcmp(bytes, want, (size_t)n) != 0)
		return -EIO;
	t->received += (uint64_t)n;
	b->moved = true;
	return 1;
}

static int gave(struct bench_pair *b, struct bench_transfer *t, long n)
{
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -EPROTO;
	t->sent += (uint64_t)n;
	b->moved = true;
	return 1;
}

static size_t next_chunk(const struct bench_transfer *t)
{
	return (size_t)least(t->bytes - t->sent, CHUNK);
}

static int use(struct bench_pair *b, struct bench_transfer *t)
{
	int rc = 1;

	while (rc > 0 && t->upload && t->sent < t->bytes)
		rc = gave(b, t,
			  xe_tcp_send(b->client, t->sock, b->source + t->sent % PERIOD,
				      next_chunk(t), b->now));
	while (rc > 0 && !t->upload && t->received < t->bytes)
		rc = take(b, t, b->sink, xe_tcp_recv(b->client, t->sock, b->sink, CHUNK, b->now));
	return rc < 0 ? rc : 0;
}

static int serve(struct bench_pair *b, struct bench_transfer *t)
{
	int rc = 1;

	while (rc > 0 && !t->upload && t->sent < t->bytes)
		rc = gave(b, t,
			  xe_sock_send(&b->server, t->conn, b->source + t->sent % PERIOD,
				       next_chunk(t), b->now));
	while (rc > 0 && t->upload && t->received < t->bytes) {
		rc = take(b, t, b->sink, xe_sock_recv(&b->server, t->conn, b->sink, CHUNK, b->now));
		t->reads += rc > 0;
	}
	return rc < 0 ? rc : 0;
}

/* ---- one turn ---- */

static void run_timers(struct bench_pair *b)
{
	if (b->rate == 0 && !b->moved) /* nothing but a timer can be next */
		b->now = least(least(xe_tcp_poll_at(b->client), xe_tcp_poll_at(b->server.tcp)),
			       b->now + XE_SECOND);
	if (xe_tcp_poll_at(b->client) <= b->now)
		xe_tcp_timers(b->client, b->now);
	if (xe_tcp_poll_at(b->server.tcp) <= b->now)
		xe_tcp_timers(b->server.tcp, b->now);
}

static void turn(struct bench_pair *b)
{
	run_timers(b);
	b->moved = false;
	if (b->rate) {
		deliver(b, UP);
		deliver(b, DOWN);
	}
}

static int transfer(struct bench_pair *b, struct bench_transfer *t)
{
	xe_ns before = b->now;
	int rc = 0;

	while (rc == 0 && t->received < t->bytes) {
		b->now = now_of(b);
		if (b->moved)
			t->busy += b->now - before;
		before = b->now;
		turn(b);
		rc = use(b, t);
		flush_client(b);
		if (rc == 0)
			rc = serve(b, t);
		flush_server(b);
	}
	return rc;
}

/* Turns until `done`, or for ten seconds of the pair's time. */
static bool settle(struct bench_pair *b, bool (*done)(struct bench_pair *, struct bench_transfer *),
		   struct bench_transfer *t)
{
	xe_ns end = now_of(b) + 10 * XE_SECOND;

	while (!done(b, t)) {
		b->now = now_of(b);
		if (b->now > end)
			return false;
		turn(b);
		flush_client(b);
		flush_server(b);
	}
	return true;
}

static bool accepted(struct bench_pair *b, struct bench_transfer *t)
{
	t->conn = xe_sock_accept(&b->server, b->listener);
	return t->conn >= 0 && xe_tcp_connected(b->client, t->sock) == 0;
}

static bool gone(struct bench_pair *b, struct bench_transfer *t)
{
	return xe_tcp_find(b->server.tcp, SERVER, PORT, CLIENT, t->port) < 0 &&
	       xe_tcp_find(b->client, CLIENT, t->port, SERVER, PORT) < 0;
}

static bool open_connection(struct bench_pair *b, struct bench_transfer *t)
{
	struct xe_tcp_info info;

	t->sock = xe_tcp_connect(b->client, SERVER, PORT, 0, b->now);
	if (t->sock < 0 || xe_tcp_info(b->client, t->sock, &info))
		return false;
	t->port = info.local_port;
	return settle(b, accepted, t);
}

static bool close_connection(struct bench_pair *b, struct bench_transfer *t)
{
	xe_tcp_close(b->client, t->sock, b->now);
	xe_sock_close(&b->server, t->conn, b->now);
	return settle(b, gone, t);
}

int bench_pair_run(struct bench_pair *b, int upload, uint64_t bytes, int check,
		   struct bench_cost *cost)
{
	struct bench_transfer t = {.bytes = bytes, .upload = upload, .check = check};
	struct xe_ssw_info info = {0};
	uint64_t cpu;
	xe_ns start;
	int rc;

	if (!open_connection(b, &t))
		return -EPROTO;
	bench_counter_start(&b->counter);
	cpu = bench_cpu();
	start = b->now;
	rc = transfer(b, &t);
	cpu = bench_cpu() - cpu;
	cost->instructions = bench_counter_stop(&b->counter);
	cost->link_ns = b->rate ? b->now - start : cpu;
	cost->busy_ns = b->rate ? t.busy : cpu;
	cost->bytes = bytes;
	cost->reads = t.reads;
	if (b->ssw)
		xe_ssw_info(b->ssw, &info);
	if (rc == 0 && (info.unprotected || (b->ssw && info.connections == 0)))
		rc = -ENOSPC;
	if (!close_connection(b, &t) && rc == 0)
		rc = -EPROTO;
	return rc;
}

/* ---- the parts ---- */

static uint64_t part_walk(struct bench_pair *b, enum bench_part part, uint64_t n)
{
	uint64_t at = 0, start = bench_cpu(), sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *from = b->source + i % 64;

		if (part == BENCH_COPY)
			memcpy(b->to + at, from, MSS);
		else if (part == BENCH_CRC_COPY)
			sum = xe_crc32c_copy((uint32_t)sum, b->to + at, from, MSS);
		else if (part == BENCH_CRC)
			sum = xe_crc32c((uint32_t)sum, from, MSS);
		else
			sum += xe_wire_checksum(from, MSS, 0);
		at = at + 2 * MSS <= b->log_bytes ? at + MSS : 0;
		BENCH_BARRIER();
	}
	b->sum = sum;
	return bench_cpu() - start;
}

static struct xe_segment segment(const struct xe_log_slot *log, bool in)
{
	return (struct xe_segment){
		.saddr = in ? CLIENT : SERVER,
		.daddr = in ? SERVER : CLIENT,
		.sport = in ? log->peer_port : PORT,
		.dport = in ? PORT : log->peer_port,
		.seq = (in ? log->peer_isn : log->own_isn) + 1,
		.ack = (in ? log->own_isn : log->peer_isn) + 1,
		.flags = XE_ACK,
		.window = 65535,
		.opt = {.has_ts = true,
			.tsval = in ? log->peer_tsval : log->own_tsval,
			.tsecr = in ? log->own_tsval : log->peer_tsval},
	};
}

static bool pass(struct bench_pair *b, bool in, uint8_t *packet, size_t len)
{
	return (in ? xe_ssw_ingress : xe_ssw_egress)(b->ssw, packet, len, b->now) == XE_PASS;
}

/* Packets through a wrapper: each burst is built, and the one before it acked, outside of
 * the clock. Neither TCP is told. */
static uint64_t through_wrapper(struct bench_pair *b, const struct bench_transfer *t, bool in,
				bool data, uint64_t n)
{
	struct xe_log_slot *log = xe_log_slot(&b->server.nsw.log, b->server.entry[t->conn].slot);
	struct xe_segment seg = segment(log, in), back = segment(log, !in);
	struct bench_flight *burst = b->pipe[UP].flight;
	size_t size = data ? MSS : 0;
	uint64_t spent = 0, passed = 0;

	for (uint64_t done = 0; done < n && passed == done; done += BURST) {
		uint8_t ack[XE_MTU];
		uint64_t start;

		back.ack = seg.seq;
		pass(b, !in, ack, xe_wire_build(ack, sizeof(ack), &back, NULL, 0));
		for (int i = 0; i < BURST; i++, seg.seq += (uint32_t)size)
			burst[i].len = xe_wire_build(burst[i].data, sizeof(burst[i].data), &seg,
						     b->source, size);
		start = bench_cpu();
		for (int i = 0; i < BURST; i++)
			passed += pass(b, in, burst[i].data, burst[i].len);
		spent += bench_cpu() - start;
	}
	return passed >= n && (!in || !data || log->rcv_logged == passed * MSS) ? spent : 0;
}

/* The TCPs know nothing of what went through the wrapper, so each is told by itself. */
static void reset(struct bench_pair *b, const struct bench_transfer *t)
{
	struct xe_log_slot *log = xe_log_slot(&b->server.nsw.log, b->server.entry[t->conn].slot);
	struct xe_segment rst = segment(log, true);
	uint8_t packet[XE_MTU];

	rst.seq += (uint32_t)log->rcv_logged;
	rst.flags = XE_RST;
	pass(b, true, packet, xe_wire_build(packet, sizeof(packet), &rst, NULL, 0));
	xe_tcp_abort(b->client, t->sock, b->now);
	xe_tcp_abort(b->server.tcp, t->conn, b->now);
}

static uint64_t records(struct bench_pair *b, struct bench_transfer *t, uint64_t n)
{
	uint64_t start = bench_cpu();

	for (uint64_t i = 0; i < n; i++) {
		xe_nsw_record(&b->server.nsw, &b->server.nsw.conn[b->server.entry[t->conn].slot], CHUNK);
		BENCH_BARRIER();
	}
	return bench_cpu() - start;
}

uint64_t bench_part(struct bench_pair *b, enum bench_part part, uint64_t n)
{
	bool in = part == BENCH_INGRESS || part == BENCH_ACK_IN;
	bool data = part == BENCH_INGRESS || part == BENCH_EGRESS;
	struct bench_transfer t = {0};
	uint64_t spent;

	if (n % BURST)
		return 0;
	if (part <= BENCH_CRC_COPY)
		return part_walk(b, part, n);
	if (!b->ssw || !open_connection(b, &t))
		return 0;
	spent = part == BENCH_RECORD ? records(b, &t, n) : through_wrapper(b, &t, in, data, n);
	reset(b, &t);
	return spent;
}

int bench_counts_instructions(void)
{
	struct bench_counter counter;
	bool counts = bench_counter_open(&counter);

	bench_counter_close(&counter);
	return counts;
}
