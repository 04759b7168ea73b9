/* Connections that the service opens, over real TCPs, without a machine: a client of an end server
 * whose TCP dies at any event, any number of times, under loss, reordering and duplication; is
 * replaced by a fresh one, or by itself with the old socket still in it; or is only tried. What the
 * north side does is done here by hand: it names the port, binds the logged one, reads the log up to
 * the line, drops what the peer has. Witnesses: the end server's stream, the connections it saw, and
 * what each incarnation of the service reads.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/link.h"
#include "net/ssw_internal.h"
#include "net/tcp.h"

enum { SERVER = 0x0a000001, END = 0x0a000201, PORT = 40000, END_PORT = 8080 };
enum { QUEUE = 8192, EXTENTS = 2, REQUEST = 30000, RESPONSE = 40000 };

struct flight {
	xe_ns at;
	uint64_t order;
	size_t len;
	bool to_end;
	uint8_t data[1536];
};

struct service {
	struct xe_tcp *tcp;
	int sock;
	uint64_t read_at, written, line, drop; /* below them: from the log, to nobody */
	bool shut, eof, done;
};

struct sim {
	xe_ns now;
	uint64_t order, events, seed;
	struct xe_rng rng;
	struct xe_link link[2];
	struct flight flight[QUEUE];
	int flights;
	struct xe_ssw *ssw;
	struct xe_log log;
	uint8_t *extent[EXTENTS];
	struct service service, home;
	bool trying;
	uint64_t trial_ends;
	uint32_t accepted, rolled_back;
	/* the end server */
	struct xe_tcp *end;
	int listener, sock;
	uint64_t heard, answered;
	bool end_eof, end_done;
	uint32_t connections;
};

struct plan {
	uint64_t seed, first, again; /* faults at the event `first`, then every `again` */
	bool lossy, same_stack, trial;
	uint64_t patience;
};

static struct sim s;
static struct wr plain;

static uint8_t request(uint64_t at)
{
	return (uint8_t)(at * 131 + (at >> 8) * 7);
}

static uint8_t response(uint64_t at)
{
	return (uint8_t)(at * 37 + (at >> 8) * 11 + 5);
}

static void transmit(bool to_end, const uint8_t *data, size_t len)
{
	xe_ns arrival[2];
	int n = xe_link_send(&s.link[to_end], len, s.now, arrival);

	for (int i = 0; i < n; i++) {
		struct flight *f = &s.flight[s.flights++];

		xe_assert(s.flights < QUEUE);
		*f = (struct flight){
			.at = arrival[i], .order = s.order++, .len = len, .to_end = to_end};
		memcpy(f->data, data, len);
	}
}

static void flush(void)
{
	uint8_t buf[1536];
	enum xe_direction to;
	size_t len;
	bool more = true;

	while ((len = xe_tcp_dispatch(s.end, buf, sizeof(buf), s.now)) > 0)
		transmit(false, buf, len);
	while (more) {
		more = false;
		while ((len = xe_tcp_dispatch(s.service.tcp, buf, sizeof(buf), s.now)) > 0) {
			more = true;
			if (xe_ssw_egress(s.ssw, buf, len, s.now) == XE_PASS)
				transmit(true, buf, len);
		}
		while ((len = xe_ssw_dispatch(s.ssw, buf, sizeof(buf), &to, s.now)) > 0) {
			more = true;
			if (to == XE_TO_GUEST)
				xe_tcp_input(s.service.tcp, buf, len, false, s.now);
			else
				transmit(true, buf, len);
		}
	}
}

/* ---- the service, and its north side ---- */

static struct xe_tcp *stack(uint32_t addr)
{
	struct xe_tcp_config cfg = {
		.max_socks = 16, .seed = ++s.seed, .snd_buf = 8192, .rcv_buf = 8192};
	struct xe_tcp *t;

	xe_assert(xe_tcp_create(&t, &cfg) == 0);
	xe_tcp_set_addr(t, addr);
	return t;
}

static struct xe_log_slot *slot(void)
{
	uint32_t i = xe_log_find(&s.log, SERVER, PORT, END, END_PORT);

	return i == XE_LOG_NONE ? NULL : xe_log_slot(&s.log, i);
}

static void connect_service(void)
{
	struct service *v = &s.service;

	v->sock = xe_tcp_connect(v->tcp, END, END_PORT, PORT, s.now);
	xe_assert(v->sock >= 0);
}

/* The SYN went out: NSW can tell which connection it is. */
static bool take_slot(void)
{
	struct xe_log_slot *at = slot();
	uint32_t generation = XE_LOG_LOAD(xe_log_head(&s.log)->generation);

	if (!at)
		return false;
	if (at->nsw_incarnation == at->incarnation && at->nsw_generation == generation)
		return true;
	if (at->replay_generation == generation) {
		s.service.line = XE_LOG_LOAD(at->replay_line);
		s.service.drop = at->drop_line;
	}
	at->root = (uint32_t)(at - xe_log_slot(&s.log, 0));
	at->root_incarnation = at->nsw_incarnation = at->incarnation;
	at->nsw_generation = generation;
	atomic_store(&at->nsw_flags, XE_LOG_ACCEPTED);
	return true;
}

static void say(uint32_t flags)
{
	struct xe_log_slot *at = slot();

	if (!at)
		return;
	at->nsw_close_at = s.service.written;
	atomic_fetch_or(&at->nsw_flags, flags);
}

static uint8_t logged(uint64_t at)
{
	uint32_t block = slot()->first_block;

	for (; at >= XE_LOG_BLOCK; at -= XE_LOG_BLOCK)
		block = *xe_log_block_link(&s.log, block);
	return xe_log_block(&s.log, block)[at];
}

static long read_some(uint8_t *buf, size_t n)
{
	struct service *v = &s.service;

	if (v->read_at >= v->line)
		return xe_tcp_recv(v->tcp, v->sock, buf, n, s.now);
	n = v->line - v->read_at < n ? (size_t)(v->line - v->read_at) : n;
	for (size_t i = 0; i < n; i++)
		buf[i] = logged(v->read_at + i);
	return (long)n;
}

static long write_some(const uint8_t *buf, size_t n)
{
	struct service *v = &s.service;

	if (v->written >= v->drop)
		return xe_tcp_send(v->tcp, v->sock, buf, n, s.now);
	return (long)(v->drop - v->written < n ? v->drop - v->written : n);
}

static void write_request(void)
{
	struct service *v = &s.service;
	uint8_t buf[3000];

	while (v->written < REQUEST) {
		size_t n = 1 + xe_rng_below(&s.rng, sizeof(buf));
		long sent;

		n = REQUEST - v->written < n ? (size_t)(REQUEST - v->written) : n;
		for (size_t i = 0; i < n; i++)
			buf[i] = request(v->written + i);
		sent = write_some(buf, n);
		if (sent <= 0)
			return;
		v->written += (uint64_t)sent;
	}
	if (!v->shut) {
		say(XE_LOG_CLOSED);
		xe_tcp_shutdown(v->tcp, v->sock, s.now);
	}
	v->shut = true;
}

static void serve(void)
{
	struct service *v = &s.service;
	uint8_t buf[3000];
	long n;

	if (v->done || v->sock < 0 || !take_slot())
		return;
	if (xe_tcp_connected(v->tcp, v->sock) == -EINPROGRESS)
		return;
	xe_assert(xe_tcp_connected(v->tcp, v->sock) == 0);
	write_request();
	while (!v->eof && (n = read_some(buf, 1 + xe_rng_below(&s.rng, sizeof(buf)))) >= 0) {
		for (long i = 0; i < n; i++)
			xe_assert(buf[i] == response(v->read_at + (uint64_t)i));
		v->read_at += (uint64_t)n;
		v->eof = n == 0;
	}
	if (slot() && v->read_at >= v->line && v->written >= slot()->sent_max)
		say(XE_LOG_REPLAYED);
	if (!v->eof || !v->shut)
		return;
	xe_assert(v->read_at == RESPONSE);
	say(XE_LOG_CLOSED | XE_LOG_ABORTED);
	xe_tcp_close(v->tcp, v->sock, s.now);
	v->done = true;
}

/* ---- the end server ---- */

static void answer(void)
{
	uint8_t buf[3000];
	long n;

	while (s.sock < 0 || s.connections == 0) {
		s.sock = xe_tcp_accept(s.end, s.listener);
		if (s.sock < 0)
			return;
		s.connections++;
	}
	xe_assert(xe_tcp_accept(s.end, s.listener) < 0); /* one connection is all it sees */
	while (!s.end_eof && (n = xe_tcp_recv(s.end, s.sock, buf, sizeof(buf), s.now)) >= 0) {
		for (long i = 0; i < n; i++)
			xe_assert(buf[i] == request(s.heard + (uint64_t)i));
		s.heard += (uint64_t)n;
		s.end_eof = n == 0;
	}
	while (s.answered < RESPONSE && s.answered < 2 * s.heard + 1) {
		for (size_t i = 0; i < 700; i++)
			buf[i] = response(s.answered + i);
		n = RESPONSE - s.answered < 700 ? (long)(RESPONSE - s.answered) : 700;
		n = xe_tcp_send(s.end, s.sock, buf, (size_t)n, s.now);
		if (n <= 0)
			return;
		s.answered += (uint64_t)n;
	}
	if (s.end_eof && !s.end_done && s.answered == RESPONSE) {
		xe_assert(s.heard == REQUEST);
		xe_tcp_close(s.end, s.sock, s.now);
		s.end_done = true;
	}
}

/* ---- faults and trials ---- */

static bool ended(void)
{
	return s.service.done && !slot();
}

static void fail_over(bool same_stack)
{
	struct service *v = &s.service;

	xe_ssw_detach(s.ssw, s.now);
	if (same_stack && v->sock >= 0 && !v->done)
		xe_tcp_close(v->tcp, v->sock, s.now); /* the kernel, after the dead process */
	flush();
	if (!same_stack) {
		xe_tcp_destroy(v->tcp);
		v->tcp = stack(SERVER);
	}
	*v = (struct service){.tcp = v->tcp, .sock = -1, .done = v->done && !slot()};
	xe_ssw_replay(s.ssw, s.now);
	flush();
	if (!v->done)
		connect_service();
	flush();
}

static void begin_trial(uint64_t patience)
{
	if (s.trying || xe_ssw_try(s.ssw, s.now))
		return;
	s.home = s.service;
	s.service =
		(struct service){.tcp = stack(SERVER), .sock = -1, .done = s.home.done && !slot()};
	s.trying = true;
	s.trial_ends = s.events + patience;
	xe_ssw_replay(s.ssw, s.now);
	if (!s.service.done)
		connect_service();
	flush();
}

static void end_trial(void)
{
	struct xe_ssw_event e;
	bool replayed = false;

	if (!s.trying)
		return;
	while (xe_ssw_next_event(s.ssw, &e)) {
		xe_assert(e.kind != XE_SSW_DIVERGED);
		replayed |= e.kind == XE_SSW_REPLAYED;
	}
	if (replayed) {
		xe_ssw_accept(s.ssw, s.now);
		xe_tcp_destroy(s.home.tcp);
		s.accepted++;
	} else if (s.events >= s.trial_ends) {
		xe_tcp_destroy(s.service.tcp);
		s.service = s.home;
		xe_ssw_roll_back(s.ssw, s.now);
		s.rolled_back++;
	} else {
		return;
	}
	s.trying = false;
	flush();
}

/* ---- one run ---- */

static int next_flight(void)
{
	int next = -1;

	for (int i = 0; i < s.flights; i++) {
		if (next < 0 || s.flight[i].at < s.flight[next].at ||
		    (s.flight[i].at == s.flight[next].at &&
		     s.flight[i].order < s.flight[next].order))
			next = i;
	}
	return next;
}

static xe_ns least(xe_ns a, xe_ns b)
{
	return a < b ? a : b;
}

static bool step(void)
{
	int next = next_flight();
	xe_ns at = least(xe_tcp_poll_at(s.service.tcp), xe_tcp_poll_at(s.end));
	struct flight f;

	at = least(at, xe_ssw_poll_at(s.ssw));
	if (next >= 0 && s.flight[next].at <= at) {
		f = s.flight[next];
		s.flight[next] = s.flight[--s.flights];
		s.now = f.at > s.now ? f.at : s.now;
		if (f.to_end)
			xe_tcp_input(s.end, f.data, f.len, true, s.now);
		else if (xe_ssw_ingress(s.ssw, f.data, f.len, s.now) == XE_PASS)
			xe_tcp_input(s.service.tcp, f.data, f.len, true, s.now);
	} else if (at != XE_NEVER) {
		s.now = at > s.now ? at : s.now;
		xe_tcp_timers(s.service.tcp, s.now);
		xe_tcp_timers(s.end, s.now);
	} else {
		return false;
	}
	flush();
	serve();
	answer();
	flush();
	return true;
}

static void open_sim(const struct plan *plan)
{
	struct xe_link_config link = {.bits_per_second = 50000000, .delay = 2 * XE_MS};

	memset(&s, 0, sizeof(s));
	s.now = XE_SECOND;
	s.seed = plan->seed * 1000;
	s.rng.state = plan->seed;
	s.sock = -1;
	if (plan->lossy)
		link.loss_ppm = link.reorder_ppm = link.duplicate_ppm = 15000;
	xe_link_init(&s.link[0], &link, plan->seed + 1);
	xe_link_init(&s.link[1], &link, plan->seed + 2);
	for (int i = 0; i < EXTENTS; i++) {
		s.extent[i] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
		xe_assert(s.extent[i]);
		memset(s.extent[i], 0xa5, XE_EXTENT_SIZE);
	}
	xe_assert(xe_ssw_create(&s.ssw, s.extent, EXTENTS) == 0);
	xe_assert(xe_log_open(&s.log, s.extent, EXTENTS) == 0);
	xe_assert(xe_ssw_protect(s.ssw, PORT, &plain) == 0);
	s.end = stack(END);
	s.listener = xe_tcp_listen(s.end, END_PORT, 5);
	s.service.tcp = stack(SERVER);
	connect_service();
	flush();
}

static void close_sim(void)
{
	struct xe_ssw_info info;

	xe_ssw_info(s.ssw, &info);
	xe_assert(info.connections == 0 && info.ghosts == 0 && info.blocks_free == info.blocks);
	xe_tcp_destroy(s.end);
	xe_tcp_destroy(s.service.tcp);
	xe_ssw_destroy(s.ssw);
	xe_log_close(&s.log);
	for (int i = 0; i < EXTENTS; i++)
		free(s.extent[i]);
}

/* The number of events. */
static uint64_t run(const struct plan *plan)
{
	uint64_t next = plan->first;

	open_sim(plan);
	while (!ended() || !s.end_done || s.trying) {
		if (++s.events == next) {
			next += plan->again;
			if (plan->trial)
				begin_trial(plan->patience);
			else
				fail_over(plan->same_stack);
		}
		if (plan->trial)
			end_trial();
		if (!step() || s.events > 200000 || s.now > 600 * XE_SECOND) {
			fprintf(stderr, "hangs: seed %lu first %lu again %lu at %lu\n", plan->seed,
				plan->first, plan->again, s.events);
			abort();
		}
	}
	xe_assert(s.connections == 1 && s.heard == REQUEST);
	close_sim();
	return s.events;
}

static void sweep(struct plan plan, const char *what)
{
	uint32_t runs = 0, accepted = 0, rolled_back = 0;
	uint64_t events;

	plan.first = 0;
	events = run(&plan);
	for (uint64_t at = 1; at < events; at += 1 + events / 150) {
		plan.first = at;
		run(&plan);
		accepted += s.accepted;
		rolled_back += s.rolled_back;
		runs++;
	}
	printf("%s: %u runs, trials %u accepted, %u rolled back\n", what, runs, accepted,
	       rolled_back);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;

	xe_assert(wr_plain(&plain) == 0);
	for (int lossy = 0; lossy < 2; lossy++) {
		for (int same = 0; same < 2; same++) {
			struct plan plan = {.seed = seed + 3, .lossy = lossy, .same_stack = same};

			sweep(plan, same ? "same stack" : "fresh stack");
			plan.again = 40;
			plan.seed = seed + 4;
			sweep(plan, "again and again");
		}
		for (uint64_t patience = 4; patience < 500; patience *= 5) {
			struct plan plan = {.seed = seed + 5, .lossy = lossy, .trial = true};

			plan.again = 60;
			plan.patience = patience;
			sweep(plan, "trials");
		}
	}
	return 0;
}
