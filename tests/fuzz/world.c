#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "plain.h"
#include "tcp_check.h"

/* The log between two pages that nobody may touch. Mapped once; each world finds zeros. */
static uint8_t *clean_extent(void)
{
	static uint8_t *extent;

	if (!extent) {
		uint8_t *p = mmap(NULL, XE_EXTENT_SIZE + 2 * XE_PAGE_SIZE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		xe_assert(p != MAP_FAILED);
		extent = p + XE_PAGE_SIZE;
		xe_assert(mprotect(extent, XE_EXTENT_SIZE, PROT_READ | PROT_WRITE) == 0);
	}
	xe_assert(madvise(extent, XE_EXTENT_SIZE, MADV_DONTNEED) == 0);
	return extent;
}

void world_open(struct world *w)
{
	static const uint32_t isn[] = {1000, 0xffffffff, 0xfffff000, 0x7fffffc0};
	uint8_t shape = input8(&w->in), sizes = input8(&w->in);
	struct xe_tcp_config cfg = {.max_socks = 16, .seed = 7};

	for (uint8_t i = 0; i < FLIGHTS; i++)
		w->order[i] = i;
	w->now = XE_SECOND;
	w->extent = clean_extent();
	xe_assert(xe_ssw_create(&w->ssw, &w->extent, 1) == 0);
	protect_plain(w->ssw, PORT);
	cfg.no_timestamps = shape & 1;
	cfg.no_wscale = shape & 2;
	cfg.rcv_buf = 1024u << (sizes & 7);
	cfg.snd_buf = 1024u << (sizes >> 3 & 7);
	cfg.mss = shape & 4 ? 1460 : 536;
	xe_assert(xe_tcp_create(&w->stack, &cfg) == 0);
	tcp_set_isn(w->stack, isn[shape >> 4 & 3]);
	xe_tcp_set_addr(w->stack, CLIENT);
	w->server_cfg = cfg;
	w->server_cfg.rcv_buf = 1024u << (sizes >> 5 & 7);
	w->server_cfg.snd_buf = w->server_cfg.rcv_buf;
	w->server_cfg.no_timestamps = shape & 8;
	for (int i = 0; i < CLIENTS; i++)
		w->client[i].sock = -1;
	for (int i = 0; i < SESSIONS; i++)
		w->session[i].sock = -1;
	world_boot(w, true);
}

void world_close(struct world *w)
{
	struct xe_ssw_info info;

	xe_ssw_info(w->ssw, &info);
	xe_assert(info.blocks_free <= info.blocks);
	if (w->up)
		xe_sockets_fini(&w->server);
	xe_tcp_destroy(w->stack);
	xe_ssw_destroy(w->ssw);
}

static bool telling(void)
{
	static int on = -1;

	if (on < 0)
		on = getenv("FUZZ_TRACE") != NULL;
	return on;
}

void tell(const char *format, ...)
{
	va_list args;

	if (!telling())
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

void tell_packet(const char *where, const uint8_t *data, size_t len)
{
	struct xe_packet p;
	uint8_t copy[PACKET];

	if (!telling())
		return;
	memcpy(copy, data, len);
	if (xe_wire_parse(&p, copy, len, true))
		tell("  %s: malformed, %zu bytes\n", where, len);
	else
		tell("  %s: %u > %u flags %x seq %u + %u ack %u window %u ts %u %u\n", where,
		     p.seg.sport, p.seg.dport, p.seg.flags, p.seg.seq, p.payload_len, p.seg.ack,
		     p.seg.window, p.seg.opt.tsval, p.seg.opt.tsecr);
}

/* ---- packets ---- */

struct client *client_of(struct world *w, uint32_t addr, uint16_t port)
{
	if (addr != CLIENT || port < CLIENT_PORT || port >= CLIENT_PORT + CLIENTS)
		return NULL;
	return &w->client[port - CLIENT_PORT];
}

void world_send(struct world *w, bool to_server, const uint8_t *data, size_t len)
{
	struct packet *f;

	xe_assert(len <= PACKET);
	if (w->flights == FLIGHTS)
		return;
	f = &w->flight[w->order[w->flights++]];
	f->to_server = to_server;
	f->broken = false;
	f->len = (uint16_t)len;
	memcpy(f->data, data, len);
}

/* Its TCP is through, or waits for stray segments: a reset is nothing to it. */
static bool finished(const struct world *w, const struct client *c)
{
	struct xe_tcp_info info;

	return xe_tcp_info(w->stack, c->sock, &info) < 0 || info.state == XE_TCP_TIME_WAIT ||
	       info.state == XE_TCP_CLOSED;
}

/* What leaves for a client is a packet of its connection, whole, and no reset unless the
 * service asked for one. */
static void leave(struct world *w, uint8_t *data, size_t len)
{
	struct xe_packet p;
	struct client *c;

	tell_packet("leaves", data, len);
	if (xe_wire_parse(&p, data, len, true)) {
		xe_assert(w->forged_slot); /* and held back until now */
		world_send(w, false, data, len);
		return;
	}
	c = client_of(w, p.seg.daddr, p.seg.dport);
	if (c && (p.seg.flags & XE_RST)) {
		c->aborted |= w->listener < 0 && c->sent == 0; /* nobody listens yet */
		xe_assert(c->tainted || c->aborted || c->gone || finished(w, c));
	} else if (c) {
		trial_leave(w, c, &p);
	}
	world_send(w, false, data, len);
}

void world_to_guest(struct world *w, struct packet *p)
{
	if (!w->up)
		return;
	tell_packet("to guest", p->data, p->len);
	if (!w->paused)
		xe_tcp_input(w->server.tcp, p->data, p->len, false, w->now);
	else if (w->ringed < RING)
		w->ring[w->ringed++] = *p;
	else
		w->ring_lost = true;
}

void world_flush(struct world *w)
{
	struct packet p;
	enum xe_direction to;
	size_t len;
	bool more = true;

	while ((len = xe_tcp_dispatch(w->stack, p.data, PACKET, w->now)) > 0)
		world_send(w, true, p.data, len);
	while (more) {
		more = false;
		while (w->up && !w->paused &&
		       (len = xe_tcp_dispatch(w->server.tcp, p.data, PACKET, w->now)) > 0) {
			more = true;
			tell_packet("guest sends", p.data, len);
			if (xe_ssw_egress(w->ssw, p.data, len, w->now) == XE_PASS)
				leave(w, p.data, len);
		}
		while ((len = xe_ssw_dispatch(w->ssw, p.data, PACKET, &to, w->now)) > 0) {
			more = true;
			p.len = (uint16_t)len;
			if (to == XE_TO_NETWORK)
				leave(w, p.data, len);
			else if (!w->paused) /* the VMM keeps none of these */
				world_to_guest(w, &p);
		}
	}
	trial_hear(w);
}

void world_ingress(struct world *w, struct packet *p)
{
	tell_packet("arrives", p->data, p->len);
	if (xe_ssw_ingress(w->ssw, p->data, p->len, w->now) == XE_PASS)
		world_to_guest(w, p);
}

struct packet *world_take(struct world *w, uint32_t place)
{
	uint8_t slot = w->order[place];

	xe_assert(place < w->flights--);
	memmove(&w->order[place], &w->order[place + 1], w->flights - place);
	w->order[w->flights] = slot;
	return &w->flight[slot];
}

void world_deliver(struct world *w, uint32_t place)
{
	struct packet *p = world_take(w, place); /* its slot is used again by the next send */

	if (p->to_server)
		world_ingress(w, p);
	else
		xe_tcp_input(w->stack, p->data, p->len, false, w->now);
}

void world_advance(struct world *w, xe_ns by)
{
	w->now += by;
	xe_tcp_timers(w->stack, w->now);
	if (w->up && !w->paused) {
		xe_tcp_timers(w->server.tcp, w->now);
		xe_sockets_tick(&w->server, w->now);
	}
}

void world_pause(struct world *w, bool on)
{
	w->paused = on;
	for (uint32_t i = 0; !on && w->up && i < w->ringed; i++)
		xe_tcp_input(w->server.tcp, w->ring[i].data, w->ring[i].len, false, w->now);
	if (!on)
		w->ringed = 0;
}

bool world_chain_has(const struct world *w, const struct xe_stream *chain, uint32_t block)
{
	uint32_t b = chain->first;

	while (b != XE_LOG_NONE && b != block)
		b = w->ssw->pool.next[b];
	return b == block;
}

/* A TCP that took over has a window of its own and may still lack what was logged. */
static void compare(struct world *w, const struct xe_conn *c)
{
	int64_t next = (int64_t)c->rcv_logged + (c->fins & XE_LOG_PEER_FIN ? 1 : 0);
	struct tcp_view view;
	int64_t at;

	if (c->state != XE_CONN_ESTABLISHED || c->attach != XE_LIVE || c->unprotected)
		return;
	if (!tcp_view(w->server.tcp, c->local_addr, c->local_port, c->peer_addr, c->peer_port,
		      &view) ||
	    !view.receives)
		return;
	at = xe_conn_in_offset(c, view.rcv_nxt);
	xe_assert(at <= next);
	if (!c->recovered && !w->ring_lost) {
		xe_assert(at == next);
		xe_assert(view.fin_rcvd == !!(c->fins & XE_LOG_PEER_FIN));
	}
}

void world_compare(struct world *w)
{
	tcp_check(w->stack);
	if (!w->up)
		return;
	tcp_check(w->server.tcp);
	for (uint32_t i = 0; i < w->ssw->log.slots && !w->paused; i++) {
		if (!(w->forged_slot >> i & 1))
			compare(w, &w->ssw->conn[i]);
	}
}

/* ---- failover ---- */

void world_fence(struct world *w)
{
	if (w->up)
		xe_sockets_fini(&w->server);
	w->up = w->attached = w->paused = w->index_spoiled = w->ring_lost = false;
	w->ringed = 0;
	for (int i = 0; i < SESSIONS; i++)
		w->session[i].sock = -1;
	xe_ssw_detach(w->ssw, w->now);
}

void world_listen(struct world *w)
{
	if (w->up && w->listener < 0)
		w->listener = xe_tcp_listen(w->server.tcp, PORT, 8);
}

void world_boot(struct world *w, bool listen)
{
	w->server_cfg.seed = ++w->generation * 1000;
	xe_assert(xe_sockets_init(&w->server, &w->server_cfg) == 0);
	w->up = true;
	w->listener = -1;
	xe_tcp_set_addr(w->server.tcp, SERVER);
	xe_sockets_protect(&w->server, PORT, true);
	xe_assert(xe_nsw_attach(&w->server.nsw, &w->extent, 1) == 0);
	w->attached = true;
	if (listen)
		world_listen(w);
	if (w->generation > 1)
		xe_ssw_replay(w->ssw, w->now);
}

/* ---- the service ---- */

/* The answer to input byte `b` at stream offset `at`. */
static uint32_t respond(uint8_t b, uint64_t at, uint8_t *out)
{
	if (b == COMMAND_SHUT || b == COMMAND_CLOSE)
		return 0;
	out[0] = (uint8_t)(b + 1);
	if (b != COMMAND_MORE)
		return 1;
	for (uint32_t i = 1; i < MORE; i++)
		out[i] = (uint8_t)(at * 31 + i);
	return MORE;
}

void service_accept(struct world *w)
{
	struct client *client;
	struct xe_tcp_info info;
	struct session *s = NULL;
	struct xe_conn *c;
	int sock;

	if (!w->up || w->paused || w->listener < 0)
		return;
	for (int i = 0; i < SESSIONS && !s; i++) {
		if (w->session[i].sock < 0)
			s = &w->session[i];
	}
	sock = s ? xe_sock_accept(&w->server, w->listener) : -1;
	if (sock < 0)
		return;
	memset(s, 0, offsetof(struct session, bytes));
	s->sock = sock;
	xe_assert(xe_tcp_info(w->server.tcp, sock, &info) == 0);
	s->peer_addr = info.peer_addr;
	s->peer_port = info.peer_port;
	c = xe_ssw_find(w->ssw, SERVER, PORT, s->peer_addr, s->peer_port);
	client = client_of(w, s->peer_addr, s->peer_port);
	if (client && w->index_spoiled)
		client->tainted = true;
	if (client && !client->tainted && !client->gone)
		xe_assert(c && c->state >= XE_CONN_SYN_RCVD && !c->unprotected);
	if (c) {
		s->known = true;
		s->slot = xe_conn_index(w->ssw, c);
		s->incarnation = c->incarnation;
	}
}

/* SSW's connection if the guest has not scribbled over what the service reads of it. */
static struct xe_conn *logged_conn(struct world *w, const struct session *s)
{
	struct xe_conn *c = xe_ssw_find(w->ssw, SERVER, PORT, s->peer_addr, s->peer_port);

	if (!s->known || w->index_spoiled || (w->spoiled_slot >> s->slot & 1))
		return NULL;
	if (!c || xe_conn_index(w->ssw, c) != s->slot || c->incarnation != s->incarnation)
		return NULL;
	if (c->unprotected || c->state != XE_CONN_ESTABLISHED)
		return NULL;
	for (uint32_t b = c->stream.first; b != XE_LOG_NONE; b = w->ssw->pool.next[b]) {
		if (w->spoiled_block[b / 64] >> (b % 64) & 1)
			return NULL;
	}
	return c;
}

/* The log equals what the service reads, and has it first (rules 1 and 3). */
static void check_read(struct world *w, struct session *s, size_t n)
{
	struct client *client = client_of(w, s->peer_addr, s->peer_port);
	struct xe_conn *c = logged_conn(w, s);
	uint8_t logged[sizeof(s->bytes)];

	if (client && !client->tainted) {
		xe_assert(s->at + n <= client->sent);
		xe_assert(memcmp(s->bytes, client->bytes + s->at, n) == 0);
	}
	if (!c)
		return;
	xe_assert(s->at + n <= c->rcv_logged);
	xe_stream_read(&w->ssw->pool, &c->stream, s->at, logged, n);
	xe_assert(memcmp(s->bytes, logged, n) == 0);
}

static void service_close(struct world *w, struct session *s, bool hard)
{
	struct client *client = client_of(w, s->peer_addr, s->peer_port);

	tell("  service closes %u after %llu bytes\n", s->peer_port, (unsigned long long)s->at);
	if (client && hard)
		client->aborted = true;
	xe_assert(xe_sock_close(&w->server, s->sock, w->now) == 0);
	s->sock = -1;
}

/* 1: all is written, 0: TCP takes no more, -1: the connection is gone. */
static int service_write(struct world *w, struct session *s)
{
	while (s->out_at < s->out) {
		long n = xe_sock_send(&w->server, s->sock, s->answer + s->out_at,
				      s->out - s->out_at, w->now);

		if (w->server.entry[s->sock].slot != XE_LOG_NONE &&
		    w->server.nsw.conn[w->server.entry[s->sock].slot].diverged &&
		    client_of(w, s->peer_addr, s->peer_port))
			xe_assert(client_of(w, s->peer_addr, s->peer_port)->tainted);
		if (n <= 0)
			return n == 0 || n == -EAGAIN ? 0 : -1;
		s->out_at += (uint32_t)n;
	}
	s->out_at = s->out = 0;
	return 1;
}

static void service_obey(struct world *w, struct session *s)
{
	while (s->in_at < s->in && s->out + MORE <= sizeof(s->answer) && !s->closing) {
		uint8_t b = s->bytes[s->in_at++];

		if (!s->ended)
			s->out += respond(b, s->obeyed, s->answer + s->out);
		s->obeyed++;
		s->closing = b == COMMAND_CLOSE;
		if (b == COMMAND_SHUT && !s->ended) {
			s->ended = true;
			return;
		}
	}
}

/* 1: read something, 0: nothing there, -1: the connection is over for the service. */
static int service_read(struct world *w, struct session *s, size_t most)
{
	struct client *client = client_of(w, s->peer_addr, s->peer_port);
	long n = xe_sock_recv(&w->server, s->sock, s->bytes, most, w->now);

	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		service_close(w, s, true);
		return -1;
	}
	if (n == 0) {
		if (client && !client->tainted && !client->gone)
			xe_assert(client->shut && s->at == client->sent);
		service_close(w, s, false);
		return -1;
	}
	check_read(w, s, (size_t)n);
	s->at += (uint64_t)n;
	s->in_at = 0;
	s->in = (uint32_t)n;
	return 1;
}

bool service_run(struct world *w, struct session *s, size_t most)
{
	bool was_ended, read = false;
	int rc;

	while (s->sock >= 0 && w->up && !w->paused) {
		was_ended = s->ended;
		if (s->in_at < s->in && s->out == 0)
			service_obey(w, s);
		rc = service_write(w, s);
		if (rc < 0) {
			service_close(w, s, true);
			return false;
		}
		if (rc == 0)
			return read;
		if (s->closing) {
			service_close(w, s, true);
			return false;
		}
		if (s->ended && !was_ended)
			xe_sock_shutdown(&w->server, s->sock, w->now);
		if (s->in_at < s->in)
			continue;
		if (read || service_read(w, s, most) <= 0)
			return read;
		read = true;
	}
	return false;
}

/* ---- the clients ---- */

void client_open(struct world *w, int i)
{
	struct client *c = &w->client[i];

	if (c->opened)
		return;
	c->sock = xe_tcp_connect(w->stack, SERVER, PORT, (uint16_t)(CLIENT_PORT + i), w->now);
	xe_assert(c->sock >= 0);
	c->opened = true;
}

void client_write(struct world *w, int i, uint32_t n, int command)
{
	struct client *c = &w->client[i];
	uint8_t bytes[4096];
	long took;

	if (c->sock < 0 || c->shut)
		return;
	n = n < sizeof(bytes) ? n : sizeof(bytes);
	n = n < SENT - c->sent ? n : SENT - c->sent;
	if (ECHO - c->echo < n + MORE) /* no room for the answer */
		return;
	for (uint32_t k = 0; k < n; k++)
		bytes[k] = (uint8_t)(((c->sent + k) * 131 + (uint32_t)i * 17) & 0x7f);
	if (n > 0 && command)
		bytes[n - 1] = (uint8_t)command;
	took = xe_tcp_send(w->stack, c->sock, bytes, n, w->now);
	for (long k = 0; k < took; k++) {
		if (!c->ended)
			c->echo += respond(bytes[k], c->sent, c->answer + c->echo);
		c->ended |= bytes[k] == COMMAND_SHUT || bytes[k] == COMMAND_CLOSE;
		c->bytes[c->sent++] = bytes[k];
	}
}

/* A client sees the answer to what it wrote, to the end, and no reset that was not asked
 * for. Its TCP may give up by itself (ETIMEDOUT). */
void client_read(struct world *w, int i)
{
	struct client *c = &w->client[i];
	uint8_t bytes[4096];
	long n;

	while (c->sock >= 0 && !c->eof) {
		n = xe_tcp_recv(w->stack, c->sock, bytes, sizeof(bytes), w->now);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			int why = xe_tcp_connected(w->stack, c->sock);

			xe_assert(c->tainted || c->aborted || n == -ETIMEDOUT || why == -ETIMEDOUT);
			client_close(w, i);
			return;
		}
		c->eof = n == 0;
		if (c->tainted)
			continue;
		xe_assert(c->received + (uint64_t)n <= c->echo);
		xe_assert(memcmp(bytes, c->answer + c->received, (size_t)n) == 0);
		c->received += (uint32_t)n;
		if (c->eof)
			xe_assert((c->shut || c->ended) && c->received == c->echo);
	}
}

void client_shut(struct world *w, int i)
{
	struct client *c = &w->client[i];

	if (c->sock >= 0 && !c->shut && xe_tcp_shutdown(w->stack, c->sock, w->now) == 0)
		c->shut = true;
}

void client_close(struct world *w, int i)
{
	struct client *c = &w->client[i];

	if (c->sock < 0)
		return;
	xe_assert(xe_tcp_close(w->stack, c->sock, w->now) == 0);
	c->sock = -1;
	c->gone = true;
}

/* ---- the end ---- */

static void serve_all(struct world *w)
{
	for (int i = 0; i < SESSIONS; i++)
		service_accept(w);
	for (int i = 0; i < SESSIONS; i++) {
		while (service_run(w, &w->session[i], sizeof(w->session[i].bytes)))
			;
	}
	for (int i = 0; i < CLIENTS; i++)
		client_read(w, i);
	world_flush(w);
}

static xe_ns next_deadline(const struct world *w)
{
	xe_ns at = xe_tcp_poll_at(w->stack), server = xe_tcp_poll_at(w->server.tcp);
	xe_ns ssw = xe_ssw_poll_at(w->ssw);

	at = server < at ? server : at;
	at = ssw < at ? ssw : at;
	return w->server.replaying && at > w->now + XE_SECOND ? w->now + XE_SECOND : at;
}

static bool over(const struct client *c)
{
	return c->sock < 0 || c->tainted || c->aborted || c->eof;
}

/* Of a client that is no oracle any more: its stream may never come to rest. */
static bool idle_talk(struct world *w)
{
	struct packet *p = &w->flight[w->order[0]];
	struct xe_packet view;
	const struct client *c;

	if (xe_wire_parse(&view, p->data, p->len, false))
		return true;
	c = p->to_server ? client_of(w, view.seg.saddr, view.seg.sport)
			 : client_of(w, view.seg.daddr, view.seg.dport);
	return !c || c->tainted;
}

bool world_step(struct world *w, bool weary)
{
	xe_ns next;

	serve_all(w);
	if (w->flights > 0 && weary && idle_talk(w)) {
		world_take(w, 0);
	} else if (w->flights > 0) {
		world_deliver(w, 0);
	} else {
		next = next_deadline(w);
		if (next == XE_NEVER)
			return false;
		world_advance(w, next > w->now ? next - w->now : 0);
	}
	world_flush(w);
	return true;
}

void world_drain(struct world *w)
{
	xe_ns limit;
	bool done = false;

	if (!w->up)
		world_boot(w, true);
	world_listen(w);
	world_pause(w, false);
	if (w->trying) {
		trial_drain(w);
		world_listen(w);
		world_pause(w, false);
	}
	limit = w->now + 400 * XE_SECOND;
	for (int step = 0; step < 20000 && w->now < limit && !done; step++) {
		done = true;
		for (int i = 0; i < CLIENTS; i++) {
			client_shut(w, i);
			done &= over(&w->client[i]);
		}
		if (!world_step(w, step > 2000))
			break;
	}
	for (int i = 0; i < CLIENTS; i++)
		xe_assert(over(&w->client[i]));
}
