/* Sessions through both wrappers and real TCPs: a client, a service whose commands open a connection
 * to a back end that answers each request differently, or a port for an upload, and that back end. The
 * service dies at any packet or store into the log. The client must see one run without faults, the
 * back end one copy of each request.
 *
 * Commands are 4 bytes, a reply ends with the only '\n' in it:
 *   Nnn.  answers at once      Gnn.  asks the back end: its answer
 *   Pnn.  opens a port: its number, then, on "Unn.", accepts an upload there: its sum
 */
#ifndef XE_TEST_SESSION_SIM_H
#define XE_TEST_SESSION_SIM_H

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/socket.h"
#include "net/ssw.h"
#include "net/tcp_internal.h"
#include "net/wrapper.h"

enum {
	SERVER = 0x0a000001,
	CLIENT = 0x0a000101,
	BACK = 0x0a000102,
	CONTROL = 21,
	BACK_PORT = 9,
	QUEUE = 4096,
	UPLOAD = 40000,
	ANSWER = 3000,
	LOW = 30000,
	HIGH = 30003
};

struct flight {
	xe_ns at;
	size_t len;
	uint8_t data[1536];
};

enum step { IDLE, REPLY, CONNECT, ASK, ANSWERED, ACCEPT, DRAIN };

struct service {
	int listener, control, data_listener, data;
	enum step step;
	uint8_t command[4];
	uint32_t have;
	uint8_t out[ANSWER + 16];
	size_t out_at, out_len;
	uint64_t sum;
};

struct incarnation {
	struct xe_sockets server;
	struct service service;
};

struct client {
	int sock, upload;
	const char *script; /* one letter a command */
	uint32_t at;
	bool sent, done;
	char reply[ANSWER + 16];
	size_t len, uploaded;
	uint16_t port;
	uint32_t asked;
};

struct plan {
	const char *script;
	uint64_t event, again; /* faults: before this event, then every `again`; 0: none */
	uint64_t store; /* a fault after this store */
	uint32_t trim; /* 1: finished commands are removed; 2: all but N */
	bool same_stack, trial, refuses;
	int without; /* 1 + side * WR_CALL_KINDS + kind: no such handler; 0: all */
	uint64_t patience;
};

struct sim {
	const struct plan *plan;
	xe_ns now;
	struct flight *flight;
	int first, flights;
	struct xe_sockets server;
	struct xe_tcp *client_tcp, *back_tcp;
	struct xe_ssw *ssw;
	uint8_t *extent;
	struct wr wr;
	struct wr *table[WR_PROFILES];
	struct service service;
	struct client client;
	int back_listener, back_conn[64];
	uint32_t back_conns, back_requests;
	uint64_t seed, events, over_at, faults, commands;
	bool trying;
	uint64_t trial_ends;
	struct incarnation home;
	uint32_t accepted, rolled_back;
	struct xe_store_stop stop;
	jmp_buf dead;
};

/* ---- the wrapper: what is done needs no replay ---- */

struct progress {
	uint64_t command_at, reply_at;
	bool begun; /* a P and its U are one */
};

static long read_command(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	struct progress *p = wr_state(c);
	long got;

	if (c == wr_root(c) && !p->begun) { /* in a replay behind what is removed */
		p->command_at = wr_read_so_far(c);
		p->reply_at = wr_written_so_far(c);
	}
	got = cn_read_request(call);
	p->begun |= got > 0;
	return got;
}

/* Whether they go; else they go with the next ones: their data connections are not told apart. */
static bool remove_done(struct wr_conn *c, const struct progress *p)
{
	if (as_mark(c) != 0 || as_remove_request(c, p->command_at, wr_read_so_far(c)) != 0 ||
	    as_remove_response(c, p->reply_at, wr_written_so_far(c)) != 0)
		return false;
	for (struct wr_conn *m = wr_next(c); m; m = wr_next(m)) {
		if (!wr_closed(m))
			continue;
		as_remove_request(m, 0, WR_ALL);
		as_remove_response(m, 0, WR_ALL);
	}
	return true;
}

static long write_reply(struct wr_call *call, void *context)
{
	struct wr_conn *c = wr_connection(call);
	struct progress *p = wr_state(c);
	struct sim *s = context;
	size_t n = wr_length(call);
	uint8_t first = wr_bytes(call)[0];
	long sent = cn_write_response(call, n);

	if (sent != (long)n) /* replies are short: none of it */
		return sent;
	if (first == 'P')
		return sent;
	if (s->plan->trim == 2 && first == 'N') {
		if (as_mark(c) != 0)
			return sent;
	} else if (!remove_done(c, p)) {
		return sent;
	}
	p->begun = false;
	return sent;
}

static void make_wrapper(struct sim *s)
{
	wr_sessions(&s->wr);
	if (s->plan->trim) {
		xe_assert(wr_ins_nsw(&s->wr, WR_CLIENT_SIDE, WR_READ, read_command, s) == 0);
		xe_assert(wr_ins_nsw(&s->wr, WR_CLIENT_SIDE, WR_WRITE, write_reply, s) == 0);
	}
	xe_assert(wr_plain(&s->wr) == 0);
	if (s->plan->without)
		xe_assert(wr_unins_nsw(&s->wr, (s->plan->without - 1) / WR_CALL_KINDS,
				       (s->plan->without - 1) % WR_CALL_KINDS) == 0);
	s->table[WR_PROFILE_OWN] = &s->wr;
	s->wr.port = CONTROL;
}

/* ---- the service ---- */

static uint64_t session(struct sim *s)
{
	return xe_sock_session(&s->server, s->service.control);
}

static void reply(struct service *v, const char *text)
{
	v->out_len = strlen(text);
	memcpy(v->out, text, v->out_len);
	v->out_at = 0;
	v->step = REPLY;
}

static void begin(struct sim *s)
{
	struct service *v = &s->service;
	struct xe_tcp_info info;
	char text[32];

	s->commands++;
	v->have = 0;
	v->sum = 0;
	switch (v->command[0]) {
	case 'N':
		reply(v, "NOTHING\n");
		break;
	case 'G':
		v->data = xe_sock_connect(&s->server, BACK, BACK_PORT, 0, session(s), s->now);
		xe_assert(v->data >= 0);
		v->out_len = v->out_at = 0;
		v->step = CONNECT;
		break;
	case 'P':
		v->data_listener = xe_sock_listen(&s->server, 0, 2, session(s));
		xe_assert(v->data_listener >= 0);
		xe_assert(xe_tcp_info(s->server.tcp, v->data_listener, &info) == 0);
		xe_assert(info.local_port >= LOW && info.local_port <= HIGH);
		snprintf(text, sizeof(text), "P%u\n", info.local_port);
		reply(v, text);
		break;
	default:
		xe_assert(v->command[0] == 'U');
		v->step = ACCEPT;
	}
}

static bool read_commands(struct sim *s)
{
	struct service *v = &s->service;
	long n = xe_sock_recv(&s->server, v->control, v->command + v->have, 4 - v->have, s->now);

	if (n == -EAGAIN)
		return false;
	xe_assert(n >= 0);
	if (n == 0) {
		xe_sock_close(&s->server, v->control, s->now);
		v->control = -2;
		return false;
	}
	v->have += (uint32_t)n;
	if (v->have == 4)
		begin(s);
	return true;
}

static bool send_out(struct sim *s, int sock, enum step next)
{
	struct service *v = &s->service;
	long n = xe_sock_send(&s->server, sock, v->out + v->out_at, v->out_len - v->out_at, s->now);

	xe_assert(n >= 0 || n == -EAGAIN);
	if (n <= 0)
		return false;
	v->out_at += (size_t)n;
	if (v->out_at == v->out_len) {
		v->step = next;
		v->out_len = v->out_at = 0;
	}
	return true;
}

static bool drain(struct sim *s)
{
	struct service *v = &s->service;
	uint8_t buf[3001];
	long n = xe_sock_recv(&s->server, v->data, buf, sizeof(buf), s->now);
	char text[32];

	if (n == -EAGAIN)
		return false;
	xe_assert(n >= 0);
	for (long i = 0; i < n; i++)
		v->sum = v->sum * 31 + buf[i];
	if (v->step == ANSWERED && n > 0) {
		xe_assert(v->out_len + (size_t)n <= ANSWER);
		memcpy(v->out + v->out_len, buf, (size_t)n);
		v->out_len += (size_t)n;
	}
	if (n > 0)
		return true;
	xe_sock_close(&s->server, v->data, s->now);
	v->data = -1;
	if (v->step == ANSWERED) {
		v->out[v->out_len++] = '\n';
		v->step = REPLY;
		return true;
	}
	xe_sock_close(&s->server, v->data_listener, s->now);
	v->data_listener = -1;
	snprintf(text, sizeof(text), "S%llu\n", (unsigned long long)v->sum);
	reply(v, text);
	return true;
}

static bool connected(struct sim *s)
{
	struct service *v = &s->service;
	int rc = xe_sock_connected(&s->server, v->data);

	if (rc == -EINPROGRESS)
		return false;
	xe_assert(rc == (s->plan->refuses ? -ECONNREFUSED : 0));
	if (rc < 0) {
		xe_sock_close(&s->server, v->data, s->now);
		v->data = -1;
		reply(v, "REFUSED\n");
		return true;
	}
	memcpy(v->out, "ask.", 4);
	v->out_len = 4;
	v->out_at = 0;
	v->step = ASK;
	return true;
}

static bool serve_once(struct sim *s)
{
	struct service *v = &s->service;

	if (v->control == -1) {
		v->control = xe_sock_accept(&s->server, v->listener);
		v->control = v->control < 0 ? -1 : v->control;
		return v->control >= 0;
	}
	if (v->control < 0)
		return false;
	switch (v->step) {
	case IDLE:
		return read_commands(s);
	case REPLY:
		return send_out(s, v->control, IDLE);
	case CONNECT:
		return connected(s);
	case ASK:
		return send_out(s, v->data, ANSWERED);
	case ACCEPT:
		v->data = xe_sock_accept(&s->server, v->data_listener);
		v->step = v->data >= 0 ? DRAIN : ACCEPT;
		return v->data >= 0;
	default:
		return drain(s);
	}
}

/* ---- the others ---- */

static void serve_back(struct sim *s)
{
	uint8_t buf[ANSWER];
	int sock;

	while ((sock = xe_tcp_accept(s->back_tcp, s->back_listener)) >= 0) {
		xe_assert(s->back_conns < 64);
		s->back_conn[s->back_conns++] = sock;
	}
	for (uint32_t i = 0; i < s->back_conns; i++) {
		long n;

		if (s->back_conn[i] < 0)
			continue;
		n = xe_tcp_recv(s->back_tcp, s->back_conn[i], buf, sizeof(buf), s->now);
		if (n < 0)
			continue;
		xe_assert(n == 4 && memcmp(buf, "ask.", 4) == 0); /* one copy, and no reset */
		memset(buf, (int)('a' + s->back_requests++), sizeof(buf));
		xe_assert(xe_tcp_send(s->back_tcp, s->back_conn[i], buf, sizeof(buf), s->now) ==
			  ANSWER);
		xe_tcp_close(s->back_tcp, s->back_conn[i], s->now);
		s->back_conn[i] = -1;
	}
}

static void check_reply(struct sim *s)
{
	struct client *c = &s->client;
	char kind = c->script[c->at], text[32];
	uint64_t sum = 0;

	switch (kind) {
	case 'N':
		xe_assert(strcmp(c->reply, "NOTHING\n") == 0);
		break;
	case 'G':
		if (s->plan->refuses) {
			xe_assert(strcmp(c->reply, "REFUSED\n") == 0);
			break;
		}
		xe_assert(c->len == ANSWER + 1);
		for (size_t i = 0; i < ANSWER; i++)
			xe_assert(c->reply[i] == (char)('a' + c->asked));
		c->asked++;
		break;
	case 'P':
		c->port = (uint16_t)atoi(c->reply + 1);
		break;
	default:
		for (uint32_t i = 0; i < UPLOAD; i++)
			sum = sum * 31 + (uint8_t)(i * 7);
		snprintf(text, sizeof(text), "S%llu\n", (unsigned long long)sum);
		xe_assert(strcmp(c->reply, text) == 0);
	}
}

static void upload(struct sim *s)
{
	struct client *c = &s->client;
	uint8_t buf[2000];

	if (c->upload == -1) {
		c->upload = xe_tcp_connect(s->client_tcp, SERVER, c->port, 0, s->now);
		c->uploaded = 0;
	}
	xe_assert(c->upload >= 0);
	xe_assert(xe_tcp_connected(s->client_tcp, c->upload) != -ECONNREFUSED);
	while (c->uploaded < UPLOAD) {
		long n;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)((c->uploaded + i) * 7);
		n = xe_tcp_send(s->client_tcp, c->upload, buf, sizeof(buf), s->now);
		if (n == -EAGAIN)
			return;
		xe_assert(n > 0);
		c->uploaded += (size_t)n;
	}
	xe_tcp_close(s->client_tcp, c->upload, s->now);
	c->upload = -2;
}

static void use(struct sim *s)
{
	struct client *c = &s->client;
	char command[5];
	long n;

	if (c->done || xe_tcp_connected(s->client_tcp, c->sock) == -EINPROGRESS)
		return;
	if (!c->sent && c->script[c->at]) {
		snprintf(command, sizeof(command), "%c%02u.", c->script[c->at], c->at % 100);
		xe_assert(xe_tcp_send(s->client_tcp, c->sock, command, 4, s->now) == 4);
		c->sent = true;
		c->upload = -1;
		c->len = 0;
	} else if (!c->sent) {
		c->done = true;
		xe_tcp_shutdown(s->client_tcp, c->sock, s->now);
		return;
	}
	if (c->script[c->at] == 'U' && c->upload != -2)
		upload(s);
	n = xe_tcp_recv(s->client_tcp, c->sock, c->reply + c->len, sizeof(c->reply) - 1 - c->len,
			s->now);
	if (n == -EAGAIN)
		return;
	xe_assert(n > 0); /* no reset */
	c->len += (size_t)n;
	c->reply[c->len] = 0;
	if (c->reply[c->len - 1] != '\n')
		return;
	check_reply(s);
	c->at++;
	c->sent = false;
}

/* ---- the network and faults ---- */

static void transmit(struct sim *s, const uint8_t *data, size_t len)
{
	struct flight *f = &s->flight[(s->first + s->flights++) % QUEUE];

	xe_assert(s->flights < QUEUE);
	f->at = s->now + XE_MS;
	f->len = len;
	memcpy(f->data, data, len);
}

static void flush(struct sim *s)
{
	uint8_t buf[1536];
	enum xe_direction to;
	size_t len;
	bool more = true;

	while ((len = xe_tcp_dispatch(s->client_tcp, buf, sizeof(buf), s->now)) > 0)
		transmit(s, buf, len);
	while ((len = xe_tcp_dispatch(s->back_tcp, buf, sizeof(buf), s->now)) > 0)
		transmit(s, buf, len);
	while (more) {
		more = false;
		while ((len = xe_tcp_dispatch(s->server.tcp, buf, sizeof(buf), s->now)) > 0) {
			more = true;
			if (xe_ssw_egress(s->ssw, buf, len, s->now) == XE_PASS)
				transmit(s, buf, len);
		}
		while ((len = xe_ssw_dispatch(s->ssw, buf, sizeof(buf), &to, s->now)) > 0) {
			more = true;
			if (to == XE_TO_GUEST)
				xe_tcp_input(s->server.tcp, buf, len, false, s->now);
			else
				transmit(s, buf, len);
		}
	}
}

static void start_service(struct sim *s)
{
	s->service = (struct service){.control = -1, .data = -1, .data_listener = -1};
	s->server.nsw.stop = &s->stop;
	xe_assert(xe_nsw_attach(&s->server.nsw, &s->extent, 1) == 0);
	s->service.listener = xe_sock_listen(&s->server, CONTROL, 4, 0);
	xe_assert(s->service.listener >= 0);
}

static void boot(struct sim *s)
{
	struct xe_tcp_config cfg = {.max_socks = 128, .seed = ++s->seed};

	cfg.snd_buf = cfg.rcv_buf = 16384;
	xe_assert(xe_sockets_init(&s->server, &cfg) == 0);
	s->server.wr = s->table;
	xe_tcp_set_addr(s->server.tcp, SERVER);
	xe_assert(xe_sockets_protect(&s->server, CONTROL, WR_PROFILE_OWN) == 0);
	xe_assert(xe_sockets_passive_range(&s->server, LOW, HIGH) == 0);
	start_service(s);
}

static void drop_socks(struct sim *s)
{
	const int sock[] = {s->service.listener, s->service.control, s->service.data_listener,
			    s->service.data};

	for (int i = 0; i < 4; i++) {
		if (sock[i] >= 0)
			xe_sock_drop(&s->server, sock[i], s->now);
	}
	flush(s);
}

static void fail_over(struct sim *s)
{
	s->faults++;
	xe_ssw_detach(s->ssw, s->now);
	if (s->plan->same_stack) {
		drop_socks(s);
		start_service(s);
	} else {
		xe_sockets_fini(&s->server);
		boot(s);
	}
	xe_ssw_replay(s->ssw, s->now);
	flush(s);
}

static void try_another(struct sim *s)
{
	if (xe_ssw_try(s->ssw, s->now))
		return;
	s->home.server = s->server;
	s->home.service = s->service;
	s->trying = true;
	s->trial_ends = s->events + s->plan->patience;
	boot(s);
	xe_ssw_replay(s->ssw, s->now);
	flush(s);
}

static void end_trial(struct sim *s)
{
	struct xe_ssw_event e;
	bool replayed = false;

	while (xe_ssw_next_event(s->ssw, &e)) {
		xe_assert(e.kind != XE_SSW_DIVERGED);
		replayed |= e.kind == XE_SSW_REPLAYED;
	}
	if (replayed) {
		xe_ssw_accept(s->ssw, s->now);
		xe_sockets_fini(&s->home.server);
		s->accepted++;
	} else if (s->events >= s->trial_ends) {
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

static void died(void *ctx)
{
	struct sim *s = ctx;

	longjmp(s->dead, 1);
}

static void deliver(struct sim *s)
{
	struct flight *f = &s->flight[s->first];
	struct xe_segment seg;

	s->now = f->at > s->now ? f->at : s->now;
	s->first = (s->first + 1) % QUEUE;
	s->flights--;
	memcpy(&seg.daddr, f->data + 16, 4);
	seg.daddr = __builtin_bswap32(seg.daddr);
	if (seg.daddr == CLIENT)
		xe_tcp_input(s->client_tcp, f->data, f->len, false, s->now);
	else if (seg.daddr == BACK)
		xe_tcp_input(s->back_tcp, f->data, f->len, false, s->now);
	else if (xe_ssw_ingress(s->ssw, f->data, f->len, s->now) == XE_PASS)
		xe_tcp_input(s->server.tcp, f->data, f->len, false, s->now);
}

static xe_ns least(xe_ns a, xe_ns b)
{
	return a < b ? a : b;
}

static void next_event(struct sim *s)
{
	xe_ns at = least(least(xe_tcp_poll_at(s->client_tcp), xe_tcp_poll_at(s->back_tcp)),
			 least(xe_tcp_poll_at(s->server.tcp), xe_ssw_poll_at(s->ssw)));

	if (s->flights > 0 && s->flight[s->first].at <= at) {
		deliver(s);
	} else {
		s->now = at > s->now ? at : s->now;
		xe_tcp_timers(s->client_tcp, s->now);
		xe_tcp_timers(s->back_tcp, s->now);
		xe_tcp_timers(s->server.tcp, s->now);
	}
	xe_sockets_tick(&s->server, s->now);
}

static void open_sim(struct sim *s, const struct plan *plan)
{
	struct xe_tcp_config cfg = {.max_socks = 128, .seed = 77};

	memset(s, 0, sizeof(*s));
	s->plan = plan;
	s->now = XE_SECOND;
	s->flight = malloc(QUEUE * sizeof(*s->flight));
	s->extent = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
	xe_assert(s->flight && s->extent);
	xe_assert(xe_ssw_create(&s->ssw, &s->extent, 1) == 0);
	make_wrapper(s);
	xe_ssw_wrappers(s->ssw, (const struct wr *const *)s->table);
	xe_assert(xe_ssw_protect(s->ssw, CONTROL, &s->wr) == 0);
	xe_assert(xe_tcp_create(&s->client_tcp, &cfg) == 0);
	xe_tcp_set_addr(s->client_tcp, CLIENT);
	cfg.seed++;
	xe_assert(xe_tcp_create(&s->back_tcp, &cfg) == 0);
	xe_tcp_set_addr(s->back_tcp, BACK);
	s->back_listener = plan->refuses ? -1 : xe_tcp_listen(s->back_tcp, BACK_PORT, 16);
	s->stop.reached = died;
	s->stop.ctx = s;
	s->stop.at = plan->store;
	boot(s);
	s->client.script = plan->script;
	s->client.sock = xe_tcp_connect(s->client_tcp, SERVER, CONTROL, 0, s->now);
	flush(s);
}

static void close_sim(struct sim *s)
{
	xe_sockets_fini(&s->server);
	xe_tcp_destroy(s->client_tcp);
	xe_tcp_destroy(s->back_tcp);
	xe_ssw_destroy(s->ssw);
	free(s->flight);
	free(s->extent);
}

static void step(struct sim *s)
{
	const struct plan *p = s->plan;

	s->events++;
	if (p->event && s->events >= p->event &&
	    (s->events == p->event || (p->again && (s->events - p->event) % p->again == 0))) {
		if (!p->trial)
			fail_over(s);
		else if (!s->trying)
			try_another(s);
	}
	next_event(s);
	while (serve_once(s))
		flush(s);
	if (!p->refuses)
		serve_back(s);
	use(s);
	flush(s);
	if (s->trying)
		end_trial(s);
}

static bool finished(const struct sim *s)
{
	return s->client.done && s->service.control == -2 && !s->trying;
}

static struct sim *run(const struct plan *plan)
{
	static struct sim sim;
	struct sim *s = &sim;
	struct xe_ssw_info info;
	xe_ns end;

	open_sim(s, plan);
	if (setjmp(s->dead))
		fail_over(s);
	while (!finished(s)) {
		step(s);
		xe_assert(s->events < 200000 && s->now < 120 * XE_SECOND); /* nothing hangs */
	}
	s->over_at = s->events;
	if (!plan->refuses)
		xe_assert(s->back_requests == s->client.asked);
	end = s->now + 200 * XE_SECOND;
	while (s->now < end &&
	       (s->flights > 0 || xe_tcp_poll_at(s->server.tcp) != XE_NEVER ||
		xe_tcp_poll_at(s->client_tcp) != XE_NEVER || xe_ssw_poll_at(s->ssw) < end))
		step(s);
	xe_ssw_info(s->ssw, &info);
	xe_assert(info.connections == 0 && info.ghosts == 0 && info.blocks_free == info.blocks);
	return s;
}

#endif
