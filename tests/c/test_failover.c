/* Wrappers, log and TCP together, without a machine: an echo service whose TCP dies at any
 * event and after any store into the log, any number of times, under loss, reordering and
 * duplication; whose next incarnation comes at once or later, runs in a fresh stack, or in the
 * same one, where the old sockets still are; or answers differently; or is tried while the old
 * one waits, and is accepted or sent away; while somebody on the path sends what TCP must not
 * take, or retransmissions with other bytes. The client is an ordinary TCP; the witnesses are its
 * byte stream, and what each incarnation of the service reads.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/link.h"
#include "net/socket.h"
#include "net/ssw_internal.h"
#include "net/tcp_internal.h"
#include "plain.h"

enum { SERVER = 0x0a000001, CLIENT = 0x0a000101, PORT = 80, QUEUE = 8192, EXTENTS = 2 };

struct flight {
	xe_ns at;
	uint64_t order;
	size_t len;
	int to_server;
	uint8_t data[1536];
};

enum { NOBODY, SENDS_GARBAGE, SENDS_OTHER_BYTES };

struct service {
	int listener, conn;
	uint8_t pending[65536];
	size_t pending_at, pending_len;
	int eof, closed;
	uint64_t read_at, written;
};

struct incarnation {
	struct xe_sockets server;
	struct service service;
};

struct sim {
	xe_ns now;
	uint64_t order, events;
	struct xe_rng rng;
	struct xe_link link[2]; /* to the server, to the client */
	struct flight *flight;
	int flights;
	struct xe_sockets server;
	struct xe_tcp *client;
	struct xe_ssw *ssw;
	uint8_t *extent[EXTENTS];
	struct service service;
	uint64_t seed, rng_seed;
	/* the client */
	int sock;
	uint64_t total, sent, received;
	int client_eof, client_shut;
	uint32_t failovers;
	/* what goes wrong */
	uint32_t buffer;
	bool down, large;        /* large: windows of 512 KiB, a fast and long path */
	uint64_t up_at; /* event at which the next incarnation comes, at the latest ... */
	xe_ns up_before; /* ... at this time */
	uint64_t outage;
	int hostile;
	uint64_t attacks;
	uint8_t *read_before; /* bytes that the service has read, in any incarnation */
	uint64_t read_end;
	bool same_stack;
	uint64_t wrong_at; /* later incarnations change this byte of their output */
	bool reset; /* seen by the client */
	bool trying;
	uint64_t trial_ends, patience; /* at that event the old one goes on, at the latest */
	uint32_t accepted, rolled_back;
	struct incarnation home;
	struct xe_store_stop stop;
	jmp_buf dead;
};

struct plan {
	uint64_t seed, total;
	bool lossy, same_stack;
	int hostile;
	uint64_t outage; /* events between a fault and the next incarnation */
	uint64_t first, again; /* faults before the event `first`, then every `again` */
	uint64_t store; /* a fault after this store; 0: none */
	uint64_t wrong_at; /* UINT64_MAX: the same bytes always */
	bool trial; /* no faults: trials, of so many events at most */
	uint64_t patience;
};

static void tell(struct sim *s);

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16));
}

static void transmit(struct sim *s, int to_server, const uint8_t *data, size_t len)
{
	xe_ns arrival[2];
	int n = xe_link_send(&s->link[to_server ? 0 : 1], len, s->now, arrival);

	for (int i = 0; i < n; i++) {
		struct flight *f = &s->flight[s->flights++];

		xe_assert(s->flights < QUEUE);
		f->at = arrival[i];
		f->order = s->order++;
		f->len = len;
		f->to_server = to_server;
		memcpy(f->data, data, len);
	}
}

static void flush(struct sim *s)
{
	uint8_t buf[1536];
	enum xe_direction to;
	size_t len;
	int more = 1;

	while ((len = xe_tcp_dispatch(s->client, buf, sizeof(buf), s->now)) > 0)
		transmit(s, 1, buf, len);
	while (more) {
		more = 0;
		while (s->server.tcp &&
		       (len = xe_tcp_dispatch(s->server.tcp, buf, sizeof(buf), s->now)) > 0) {
			more = 1;
			if (xe_ssw_egress(s->ssw, buf, len, s->now) == XE_PASS)
				transmit(s, 0, buf, len);
		}
		while ((len = xe_ssw_dispatch(s->ssw, buf, sizeof(buf), &to, s->now)) > 0) {
			more = 1;
			if (to == XE_TO_GUEST && s->server.tcp)
				xe_tcp_input(s->server.tcp, buf, len, false, s->now);
			else
				transmit(s, 0, buf, len);
		}
	}
}

static void start_service(struct sim *s)
{
	s->server.nsw.stop = &s->stop;
	xe_assert(xe_nsw_attach(&s->server.nsw, s->extent, EXTENTS) == 0);
	s->service.listener = xe_tcp_listen(s->server.tcp, PORT, 4);
	xe_assert(s->service.listener >= 0);
	s->service.conn = -1;
	s->service.pending_len = s->service.pending_at = 0;
	s->service.eof = s->service.closed = 0;
	s->service.written = s->service.read_at = 0;
}

static void boot_server(struct sim *s)
{
	struct xe_tcp_config cfg = {.max_socks = 16, .seed = ++s->seed};

	cfg.snd_buf = cfg.rcv_buf = s->buffer;

	xe_assert(xe_sockets_init(&s->server, &cfg) == 0);
	xe_tcp_set_addr(s->server.tcp, SERVER);
	xe_sockets_protect(&s->server, PORT, true);
	start_service(s);
}

static void come_back(struct sim *s)
{
	if (s->same_stack)
		start_service(s);
	else
		boot_server(s);
	s->down = false;
	xe_ssw_replay(s->ssw, s->now);
	flush(s);
}

static void fail_over(struct sim *s)
{
	s->failovers++;
	xe_ssw_detach(s->ssw, s->now);
	if (s->down)
		return;
	s->down = true;
	s->up_at = s->events + s->outage;
	s->up_before = s->now + XE_SECOND / 2;
	if (s->same_stack) { /* the kernel cleans up after the dead service */
		xe_sock_drop(&s->server, s->service.listener, s->now);
		if (s->service.conn >= 0 && !s->service.closed)
			xe_sock_drop(&s->server, s->service.conn, s->now);
		flush(s);
	} else {
		xe_sockets_fini(&s->server);
	}
	if (s->outage == 0)
		come_back(s);
}

/* The old one waits; packets of its own, and for it, are not there meanwhile. */
static void try_another(struct sim *s)
{
	if (s->trying || s->down || xe_ssw_try(s->ssw, s->now))
		return;
	s->home.server = s->server;
	s->home.service = s->service;
	s->trying = true;
	s->trial_ends = s->events + s->patience;
	boot_server(s);
	xe_ssw_replay(s->ssw, s->now);
	flush(s);
}

/* A bit for each kind of event since. */
static uint32_t heard(struct sim *s)
{
	struct xe_ssw_event e;
	uint32_t kinds = 0;

	while (xe_ssw_next_event(s->ssw, &e))
		kinds |= 1u << e.kind;
	return kinds;
}

static void end_trial(struct sim *s)
{
	uint32_t kinds = heard(s);

	xe_assert(!(kinds & 1u << XE_SSW_DIVERGED) || s->wrong_at != UINT64_MAX);
	if (kinds & 1u << XE_SSW_REPLAYED) {
		xe_ssw_accept(s->ssw, s->now);
		xe_sockets_fini(&s->home.server);
		s->accepted++;
	} else if (s->events >= s->trial_ends || kinds & 1u << XE_SSW_DIVERGED) {
		xe_sockets_fini(&s->server);
		s->server = s->home.server;
		s->service = s->home.service;
		xe_ssw_roll_back(s->ssw, s->now);
		s->rolled_back++;
	} else {
		return;
	}
	s->trying = false;
	flush(s);
}

/* Each incarnation reads what the ones before have read. */
static void check_read(struct sim *s, size_t n)
{
	for (size_t i = 0; i < n; i++, s->service.read_at++) {
		xe_assert(s->service.read_at < s->total);
		if (s->service.read_at < s->read_end)
			xe_assert(s->read_before[s->service.read_at] == s->service.pending[i]);
		else
			s->read_before[s->read_end++] = s->service.pending[i];
	}
}

/* An echo that adds one to each byte; odd buffer sizes on purpose. */
static void serve(struct sim *s)
{
	if (s->service.conn < 0) {
		int sock = xe_sock_accept(&s->server, s->service.listener);

		if (sock < 0)
			return;
		s->service.conn = sock;
	}
	while (!s->service.closed) {
		long n;

		if (s->service.pending_at < s->service.pending_len) {
			n = xe_sock_send(&s->server, s->service.conn,
					 s->service.pending + s->service.pending_at,
					 s->service.pending_len - s->service.pending_at, s->now);
			if (n == -ECONNRESET && s->wrong_at != UINT64_MAX) {
				xe_sock_close(&s->server, s->service.conn, s->now);
				s->service.closed = 1;
			}
			if (n <= 0)
				return;
			s->service.pending_at += (size_t)n;
			s->service.written += (uint64_t)n;
			continue;
		}
		if (s->service.eof) {
			xe_sock_close(&s->server, s->service.conn, s->now);
			s->service.closed = 1;
			return;
		}
		n = xe_sock_recv(&s->server, s->service.conn, s->service.pending,
				 1 + xe_rng_below(&s->rng, 9000), s->now);
		if (n < 0) {
			xe_assert(n == -EAGAIN || s->wrong_at != UINT64_MAX);
			return;
		}
		s->service.eof = n == 0;
		check_read(s, (size_t)n);
		for (long i = 0; i < n; i++)
			s->service.pending[i]++;
		if ((s->failovers > 0 || s->trying || s->accepted > 0) &&
		    s->wrong_at - s->service.written < (uint64_t)n)
			s->service.pending[s->wrong_at - s->service.written] ^= 1;
		s->service.pending_at = 0;
		s->service.pending_len = (size_t)n;
	}
}

/* A changed byte may arrive only if nobody had seen that byte before. */
static void check_byte(const struct sim *s, uint64_t at, uint8_t got)
{
	uint8_t want = (uint8_t)(s->read_before[at] + 1);

	xe_assert(at < s->read_end);
	xe_assert(s->hostile == SENDS_OTHER_BYTES || s->read_before[at] == pattern(at));
	xe_assert(got == want || (at == s->wrong_at && got == (want ^ 1)));
}

static void use(struct sim *s)
{
	uint8_t buf[4096];
	long n;

	xe_assert(xe_tcp_connected(s->client, s->sock) != -ECONNREFUSED);
	while (s->sent < s->total) {
		size_t want = 1 + xe_rng_below(&s->rng, sizeof(buf));

		if (want > s->total - s->sent)
			want = s->total - s->sent;
		for (size_t i = 0; i < want; i++)
			buf[i] = pattern(s->sent + i);
		n = xe_tcp_send(s->client, s->sock, buf, want, s->now);
		s->reset |= n == -ECONNRESET && s->wrong_at != UINT64_MAX;
		if (s->reset)
			return;
		if (n <= 0) {
			xe_assert(n == -EAGAIN);
			break;
		}
		s->sent += (uint64_t)n;
	}
	if (s->sent == s->total && !s->client_shut) {
		xe_assert(xe_tcp_shutdown(s->client, s->sock, s->now) == 0);
		s->client_shut = 1;
	}
	while (!s->client_eof) {
		n = xe_tcp_recv(s->client, s->sock, buf, sizeof(buf), s->now);
		s->reset |= n == -ECONNRESET && s->wrong_at != UINT64_MAX;
		if (s->reset)
			return;
		if (n < 0) {
			if (n != -EAGAIN)
				fprintf(stderr, "client error %ld at %llu of %llu\n", n,
					(unsigned long long)s->received,
					(unsigned long long)s->total);
			if (n != -EAGAIN)
				tell(s);
			xe_assert(n == -EAGAIN);
			break;
		}
		if (n == 0) {
			s->client_eof = 1;
			break;
		}
		for (long i = 0; i < n; i++)
			check_byte(s, s->received + (uint64_t)i, buf[i]);
		s->received += (uint64_t)n;
	}
}

static int earliest(const struct sim *s)
{
	int best = -1;

	for (int i = 0; i < s->flights; i++) {
		const struct flight *f = &s->flight[i];

		if (best < 0 || f->at < s->flight[best].at ||
		    (f->at == s->flight[best].at && f->order < s->flight[best].order))
			best = i;
	}
	return best;
}

static xe_ns least(xe_ns a, xe_ns b)
{
	return a < b ? a : b;
}

static void to_server(struct sim *s, uint8_t *data, size_t len)
{
	if (s->down && s->large) /* no path to the address */
		return;
	if (xe_ssw_ingress(s->ssw, data, len, s->now) == XE_PASS && !s->down)
		xe_tcp_input(s->server.tcp, data, len, false, s->now);
}

/* What an attacker sees who reads all packets: the client's own next segment. */
static struct xe_segment as_client(const struct sim *s, const struct xe_sock *c, uint32_t seq)
{
	struct xe_segment g = {.saddr = CLIENT, .daddr = SERVER, .sport = c->lport, .dport = PORT};

	g.flags = XE_ACK;
	g.seq = seq;
	g.ack = c->rcv_nxt;
	g.window = 1000;
	g.opt.has_ts = c->ts_on;
	g.opt.tsval = xe_sock_ts(c, s->now);
	g.opt.tsecr = c->ts_recent;
	return g;
}

/* Segments that TCP must not take; each would do harm. */
static void send_garbage(struct sim *s, const struct xe_sock *c)
{
	struct xe_segment g = as_client(s, c, c->snd_max);
	uint8_t buf[1536], junk[1000];
	size_t n = 1 + xe_rng_below(&s->rng, sizeof(junk)), len;
	uint64_t what = xe_rng_below(&s->rng, 8);

	memset(junk, 0xee, sizeof(junk));
	switch (what) {
	case 0: /* ack of what was not sent */
		g.ack += 70000 + (uint32_t)xe_rng_below(&s->rng, 1u << 30);
		break;
	case 1: /* too old */
		g.opt.tsval -= 1 + (uint32_t)xe_rng_below(&s->rng, 100000) + 1000;
		break;
	case 2: /* beyond the window, and beyond any buffer */
		g.seq += 70000 + (uint32_t)xe_rng_below(&s->rng, 1u << 30);
		break;
	case 3:
		g.flags = XE_RST | XE_ACK;
		g.seq += 1 + (uint32_t)xe_rng_below(&s->rng, 60000);
		n = 0;
		break;
	case 4:
		g.flags = XE_SYN;
		g.seq = (uint32_t)xe_rng_next(&s->rng);
		n = 0;
		break;
	case 5:
		g.flags = XE_FIN | XE_ACK;
		g.seq += 70000;
		break;
	case 6:
		g.flags = 0;
		break;
	default:
		break;
	}
	len = xe_wire_build(buf, sizeof(buf), &g, junk, n);
	if (what == 7)
		buf[xe_rng_below(&s->rng, len - 20) + 20] ^= 0x10;
	to_server(s, buf, len);
}

/* A retransmission of what is in flight, cut otherwise and with other bytes; most often around
 * what came out of order. */
static void send_other_bytes(struct sim *s, const struct xe_sock *c)
{
	const struct xe_conn *conn = xe_ssw_find(s->ssw, SERVER, PORT, CLIENT, c->lport);
	uint32_t span = c->snd_max - c->snd_una, from, logged;
	uint8_t buf[1536], junk[1400];
	struct xe_segment g;
	size_t n;

	if (span < 2)
		return;
	from = (uint32_t)xe_rng_below(&s->rng, span);
	if (conn && conn->ranges > 0 && xe_rng_below(&s->rng, 4)) {
		logged = conn->peer_isn + 1 + (uint32_t)conn->range[0].from - c->snd_una;
		from = logged - (uint32_t)xe_rng_below(&s->rng, 700);
		from = from < span ? from : logged < span ? logged : 0;
	}
	n = 1 + xe_rng_below(&s->rng, sizeof(junk));
	n = n < span - from ? n : span - from;
	memset(junk, (int)xe_rng_below(&s->rng, 256), sizeof(junk));
	g = as_client(s, c, c->snd_una + from);
	to_server(s, buf, xe_wire_build(buf, sizeof(buf), &g, junk, n));
}

static void attack(struct sim *s)
{
	const struct xe_sock *c = &s->client->socks[s->sock];

	if (s->hostile == NOBODY || c->state != XE_TCP_ESTABLISHED || c->fin_queued)
		return;
	s->attacks++;
	if (s->hostile == SENDS_GARBAGE)
		send_garbage(s, c);
	else if (xe_rng_below(&s->rng, 4) == 0)
		send_other_bytes(s, c);
}

static bool step(struct sim *s)
{
	int i = earliest(s);
	xe_ns timer = least(xe_tcp_poll_at(s->client), xe_ssw_poll_at(s->ssw));
	xe_ns at = i >= 0 ? s->flight[i].at : XE_NEVER;

	bool back = s->down && (s->events >= s->up_at || least(at, timer) > s->up_before);

	if (!s->down)
		timer = least(timer, xe_tcp_poll_at(s->server.tcp));
	if (at == XE_NEVER && timer == XE_NEVER && !back && !s->trying)
		return false;
	s->events++;
	if (back) {
		come_back(s);
	} else if (timer < at) {
		s->now = timer > s->now ? timer : s->now;
		xe_tcp_timers(s->client, s->now);
		if (!s->down)
			xe_tcp_timers(s->server.tcp, s->now);
	} else {
		struct flight f = s->flight[i];

		s->flight[i] = s->flight[--s->flights];
		s->now = f.at > s->now ? f.at : s->now;
		if (!f.to_server)
			xe_tcp_input(s->client, f.data, f.len, false, s->now);
		else
			to_server(s, f.data, f.len);
	}
	attack(s);
	flush(s);
	if (setjmp(s->dead))
		fail_over(s);
	else if (!s->down)
		serve(s);
	flush(s);
	if (s->trying)
		end_trial(s);
	use(s);
	flush(s);
	return true;
}

static void die(void *ctx)
{
	struct sim *s = ctx;

	longjmp(s->dead, 1);
}

static void open_sim(struct sim *s, const struct plan *plan)
{
	uint64_t seed = plan->seed;

	struct xe_link_config link = {.bits_per_second = 100000000, .delay = 5 * XE_MS};
	struct xe_tcp_config cfg = {.max_socks = 16, .seed = seed * 7919 + 13};

	memset(s, 0, sizeof(*s));
	s->rng.state = s->rng_seed = seed;
	s->seed = seed * 1000;
	s->total = plan->total;
	s->large = plan->total > 65536;
	s->buffer = cfg.snd_buf = cfg.rcv_buf = s->large ? 1 << 19 : 65536;
	if (s->large)
		link = (struct xe_link_config){.bits_per_second = 1000000000, .delay = 10 * XE_MS};
	s->same_stack = plan->same_stack;
	s->hostile = plan->hostile;
	s->outage = plan->outage;
	s->read_before = malloc(s->total);
	s->wrong_at = plan->wrong_at;
	s->patience = plan->patience;
	s->stop = (struct xe_store_stop){.at = plan->store, .reached = die, .ctx = s};
	s->flight = malloc(QUEUE * sizeof(*s->flight));
	if (plan->lossy) {
		link.loss_ppm = plan->hostile == SENDS_OTHER_BYTES ? 50000 : 10000;
		link.reorder_ppm = 10000;
		link.duplicate_ppm = 10000;
	}
	xe_link_init(&s->link[0], &link, seed + 1);
	xe_link_init(&s->link[1], &link, seed + 2);
	for (int i = 0; i < EXTENTS; i++) {
		s->extent[i] = aligned_alloc(4096, XE_EXTENT_SIZE);
		memset(s->extent[i], 0xa5, XE_EXTENT_SIZE);
	}
	xe_assert(xe_ssw_create(&s->ssw, s->extent, EXTENTS) == 0);
	protect_plain(s->ssw, PORT);
	boot_server(s);
	if (plan->hostile) /* so that the end of the stream is not queued at once */
		cfg.snd_buf = 16384;
	xe_assert(xe_tcp_create(&s->client, &cfg) == 0);
	xe_tcp_set_addr(s->client, CLIENT);
	s->sock = xe_tcp_connect(s->client, SERVER, PORT, 0, s->now);
	xe_assert(s->sock >= 0);
	flush(s);
}

static void close_sim(struct sim *s)
{
	xe_tcp_destroy(s->client);
	xe_sockets_fini(&s->server);
	xe_ssw_destroy(s->ssw);
	for (int i = 0; i < EXTENTS; i++)
		free(s->extent[i]);
	free(s->flight);
	free(s->read_before);
}

static void tell(struct sim *s)
{
	const struct xe_ssw_counters *c = xe_ssw_counters(s->ssw);
	struct xe_tcp_info client = {0}, server = {0};
	struct xe_ssw_event e;

	while (xe_ssw_next_event(s->ssw, &e))
		fprintf(stderr, "event %u slot %u value %llu\n", e.kind, e.slot,
			(unsigned long long)e.value);

	xe_tcp_info(s->client, s->sock, &client);
	xe_tcp_info(s->server.tcp, s->service.conn, &server);
	fprintf(stderr, "seed %llu event %llu\n", (unsigned long long)s->rng_seed,
		(unsigned long long)s->events);
	fprintf(stderr,
		"sent %llu shut %d; client state %d queued %u/%u; server state %d queued %u/%u "
		"pending %zu/%zu eof %d closed %d; failovers %u\n"
		"believed not %llu, unlogged %llu, fins held %llu, rsts held %llu, beyond log "
		"%llu\n",
		(unsigned long long)s->sent, s->client_shut, client.state, client.rcv_queued,
		client.snd_queued, server.state, server.rcv_queued, server.snd_queued,
		s->service.pending_at, s->service.pending_len, s->service.eof, s->service.closed,
		s->failovers, (unsigned long long)c->not_believed,
		(unsigned long long)c->unlogged_drops, (unsigned long long)c->fins_held,
		(unsigned long long)c->rsts_held, (unsigned long long)c->acks_beyond_log);
}

static void give_up(struct sim *s, const struct plan *plan)
{
	fprintf(stderr,
		"hang: seed %llu lossy %d hostile %d outage %llu same %d first %llu again %llu "
		"store %llu wrong %lld: "
		"%llu/%llu\n",
		(unsigned long long)plan->seed, plan->lossy, plan->hostile,
		(unsigned long long)plan->outage, plan->same_stack, (unsigned long long)plan->first,
		(unsigned long long)plan->again, (unsigned long long)plan->store,
		(long long)plan->wrong_at, (unsigned long long)s->received,
		(unsigned long long)s->total);
	tell(s);
	abort();
}

struct result {
	uint64_t events, stores, failovers, old_resets, injected, accepted, rolled_back, diverged;
	bool reset;
};

/* Runs to the end of the transfer, and until all that is left has expired. */
static struct result run(const struct plan *plan)
{
	static struct sim s;
	struct xe_ssw_info info;
	uint64_t next = plan->first;
	struct result result = {0};
	uint32_t blocks;

	open_sim(&s, plan);
	xe_ssw_info(s.ssw, &info);
	blocks = info.blocks;
	while (!s.client_eof && !s.reset) {
		if (s.events == next) {
			if (plan->trial)
				try_another(&s);
			else
				fail_over(&s);
			next = plan->again ? next + plan->again : UINT64_MAX;
		}
		if (!step(&s) || s.now > 300 * XE_SECOND)
			give_up(&s, plan);
	}
	xe_assert(s.reset || s.received == s.total);
	xe_tcp_close(s.client, s.sock, s.now);
	flush(&s);
	result = (struct result){.events = s.events, .stores = s.stop.stores, .reset = s.reset};
	result.failovers = s.failovers;
	result.accepted = s.accepted;
	result.rolled_back = s.rolled_back;
	for (int i = 0; i < 100000 && s.now < 400 * XE_SECOND; i++) {
		if (!step(&s))
			break;
	}
	xe_ssw_info(s.ssw, &info);
	xe_assert(info.connections == 0);
	xe_assert(info.blocks_free == blocks);
	xe_assert(xe_ssw_counters(s.ssw)->acks_beyond_log == 0);
	xe_assert(s.reset == (!plan->trial && xe_ssw_counters(s.ssw)->diverged > 0));
	result.diverged = xe_ssw_counters(s.ssw)->diverged;
	xe_assert(!plan->hostile || s.attacks > 50);
	result.old_resets = xe_ssw_counters(s.ssw)->old_resets;
	result.injected = xe_ssw_counters(s.ssw)->injected_bytes;
	close_sim(&s);
	return result;
}

static const struct plan calm = {
	.seed = 1, .total = 65536, .first = UINT64_MAX, .wrong_at = UINT64_MAX};

static uint64_t at_events(bool lossy, uint64_t n)
{
	uint64_t events, old_resets = 0, injected = 0;
	struct plan plan = calm;
	struct result r;

	plan.lossy = lossy;
	events = run(&plan).events;
	for (uint64_t i = 0; i < n; i++) {
		plan.seed = 1 + i % 5;
		plan.first = i * events / n;
		plan.again = 0;
		plan.same_stack = false;
		run(&plan);
		plan.same_stack = true;
		plan.outage = i % 20;
		run(&plan);
		plan.seed = 1 + i % 7;
		plan.again = 37 + i % 50;
		r = run(&plan);
		old_resets += r.old_resets;
		injected += r.injected;
		plan.same_stack = false;
		run(&plan);
		plan.outage = 0;
	}
	xe_assert(old_resets > 0 && (injected > 0) == lossy);
	return 4 * n;
}

/* Windows far larger than the one that a new TCP begins with, both directions full, and what is
 * in flight lost. */
static uint64_t with_large_windows(uint64_t n)
{
	struct plan plan = calm;
	uint64_t events;

	plan.total = 1 << 20;
	events = run(&plan).events;
	for (uint64_t i = 0; i < n; i++) {
		plan.seed = 1 + i % 5;
		plan.lossy = i & 1;
		plan.first = i * events / n;
		plan.again = i & 2 ? 300 + i : 0;
		plan.outage = i & 4 ? 0 : 1000;
		run(&plan);
	}
	return n;
}

/* The kernel dies after each of its stores; the other writer survives. */
static uint64_t at_stores(bool lossy, uint64_t n)
{
	struct plan plan = calm;
	uint64_t stores, step;

	plan.lossy = lossy;
	stores = run(&plan).stores;
	step = stores / n ? stores / n : 1;
	for (plan.store = 1; plan.store <= stores; plan.store += step) {
		plan.same_stack = plan.store & 1;
		xe_assert(run(&plan).failovers == 1);
	}
	return stores / step;
}

/* A byte is another one after the fault: what was sent before is never sent otherwise. */
static uint64_t with_wrong_bytes(uint64_t n)
{
	struct plan plan = calm;
	uint64_t events = run(&plan).events, resets = 0;

	for (uint64_t i = 0; i < n; i++) {
		plan.first = events / 4 + i % (events / 2);
		plan.wrong_at = (i * 7919) % plan.total;
		resets += run(&plan).reset;
	}
	xe_assert(resets > n / 4 && resets < n);
	return resets;
}

/* Another TCP is tried at any event, and often; it is accepted when it has replayed all, or sent
 * away after a few events. */
static void with_trials(uint64_t n)
{
	struct plan plan = calm;
	uint64_t events = run(&plan).events, accepted = 0, rolled_back = 0;

	plan.trial = true;
	for (uint64_t i = 0; i < 8 * n; i++) {
		struct result r;

		plan.seed = 1 + i % 5;
		plan.lossy = i & 1;
		plan.total = i % 16 == 15 ? 1 << 20 : 65536;
		plan.first = i * events / (8 * n);
		plan.again = i & 2 ? 37 + i % 50 : 0;
		plan.patience = i & 4 ? 1 + i % 40 : 100000;
		r = run(&plan);
		accepted += r.accepted;
		rolled_back += r.rolled_back;
	}
	xe_assert(accepted > 4 * n && rolled_back > n);
	printf("%llu trials accepted, %llu rolled back\n", (unsigned long long)accepted,
	       (unsigned long long)rolled_back);
}

/* Another answer is found out before the client sees any of it. */
static void with_wrong_trials(uint64_t n)
{
	struct plan plan = calm;
	uint64_t events = run(&plan).events, diverged = 0, accepted = 0;

	plan.trial = true;
	plan.patience = 100000;
	for (uint64_t i = 0; i < 2 * n; i++) {
		struct result r;

		plan.seed = 1 + i % 5;
		plan.lossy = i & 1;
		plan.first = events / 4 + i % (events / 2);
		plan.wrong_at = (i * 7919) % plan.total;
		r = run(&plan);
		xe_assert(!r.reset && (r.rolled_back > 0) == (r.diverged > 0));
		diverged += r.rolled_back;
		accepted += r.accepted;
	}
	xe_assert(diverged > n / 2 && accepted > n / 2);
	printf("%llu of %llu other answers rolled back\n", (unsigned long long)diverged,
	       (unsigned long long)(2 * n));
}

/* Somebody interferes while faults come again and again. */
static uint64_t under_attack(int hostile, uint64_t n)
{
	struct plan plan = calm;
	uint64_t events = run(&plan).events;

	plan.hostile = hostile;
	for (uint64_t i = 0; i < n; i++) {
		plan.seed = 1 + i;
		plan.lossy = hostile == SENDS_OTHER_BYTES || (i & 1);
		plan.first = i * events / n;
		plan.again = i % 3 ? 41 + i % 50 : 0;
		plan.outage = i % 23;
		run(&plan);
	}
	return n;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 120;

	for (int lossy = 0; lossy < 2; lossy++) {
		printf("lossy %d: %llu faults at events, %llu after stores\n", lossy,
		       (unsigned long long)at_events(lossy, n),
		       (unsigned long long)at_stores(lossy, 4 * n));
	}
	with_trials(n);
	with_wrong_trials(n);
	printf("%llu faults with large windows\n", (unsigned long long)with_large_windows(n / 2));
	printf("%llu faults under garbage, %llu under other bytes\n",
	       (unsigned long long)under_attack(SENDS_GARBAGE, 2 * n),
	       (unsigned long long)under_attack(SENDS_OTHER_BYTES, 2 * n));
	printf("%llu of %llu other answers found out\n", (unsigned long long)with_wrong_bytes(n),
	       (unsigned long long)n);
	return 0;
}
