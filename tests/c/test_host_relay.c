/* Relay, driver and memory: real clients on 127.0.0.1, an emulated server behind
 * a gateway stack, all in one loop. With an argument: bulk throughput as well, of that many MiB. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "host/driver.h"
#include "host/memory.h"

enum {
	GATEWAY = 0x0a000001,
	SERVER = 0x0a000002,
	LOCALHOST = 0x7f000001,
	SLOTS = 32,
	SOCKS = 1024,
	CLIENTS = 64,
	CHUNK = 64 << 10,
	ECHO = 7,
	SINK = 9,
	RESET = 13,
	GREET = 19,
	HOLD = 21,
	CLOSED = 81,
	GREETING = 16 << 20,
};

static const uint16_t ports[] = {ECHO, SINK, RESET, GREET, HOLD};
#define NPORTS ((int)(sizeof(ports) / sizeof(ports[0])))

struct peer { /* a socket of the emulated server */
	uint16_t port;
	bool eof, shut;
	uint32_t head, len;
	uint64_t sent, got;
	uint8_t buf[16 << 10];
};

struct client { /* a real one */
	int fd, err;
	bool early_shut; /* the end follows the last byte at once */
	bool lazy;       /* does not read */
	bool wait_eof;   /* sends only after the server's end */
	bool shut, eof;
	uint64_t send, sent, got;
	uint8_t seed;
};

struct world {
	struct xe_tcp *gateway, *server;
	struct xe_driver *driver;
	int listener[NPORTS];
	int real[NPORTS + 1]; /* real port of ports[i]; last: of CLOSED */
	struct peer *peers;
	struct client clients[CLIENTS];
	int nclients;
	uint64_t peer_resets, peer_bytes, peer_done, waits, unfinished;
	uint8_t *pattern;     /* of period 251 */
	uint8_t scratch[CHUNK];
};

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	xe_assert(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The emulated server. */

static void peer_end(struct world *w, int sock, bool reset, xe_ns now)
{
	struct peer *p = &w->peers[sock];

	w->peer_bytes += p->got;
	w->peer_resets += reset;
	w->peer_done++;
	xe_tcp_close(w->server, sock, now);
	p->port = 0;
}

static bool peer_read(struct world *w, int sock, xe_ns now)
{
	struct peer *p = &w->peers[sock];
	long n;

	if (p->eof || p->len || p->port == HOLD)
		return false;
	n = xe_tcp_recv(w->server, sock, p->buf, sizeof(p->buf), now);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		peer_end(w, sock, true, now);
		return false;
	}
	p->eof = n == 0;
	p->got += (uint64_t)n;
	p->head = 0;
	p->len = p->port == ECHO ? (uint32_t)n : 0;
	if (p->port == RESET && p->got >= 100000) {
		xe_tcp_abort(w->server, sock, now);
		p->port = 0;
		return false;
	}
	return true;
}

static bool peer_write(struct world *w, int sock, xe_ns now)
{
	struct peer *p = &w->peers[sock];
	const uint8_t *from = p->buf + p->head;
	uint32_t len = p->len;
	long n;

	if (p->port == GREET) {
		from = w->pattern + p->sent % 251;
		len = GREETING - p->sent < CHUNK ? (uint32_t)(GREETING - p->sent) : CHUNK;
	}
	if (!len)
		return false;
	n = xe_tcp_send(w->server, sock, from, len, now);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		peer_end(w, sock, true, now);
		return false;
	}
	p->sent += (uint64_t)n;
	if (p->port != GREET) {
		p->head += (uint32_t)n;
		p->len -= (uint32_t)n;
	}
	return true;
}

static void peer_pump(struct world *w, int sock, unsigned mask, xe_ns now)
{
	struct peer *p = &w->peers[sock];
	bool more = true;

	while (more && p->port) {
		more = peer_read(w, sock, now);
		if (p->port)
			more |= peer_write(w, sock, now);
	}
	if (p->port == HOLD && (mask & XE_HANGUP))
		peer_end(w, sock, true, now);
	if (!p->port)
		return;
	if (!p->shut && !p->len && (p->port == GREET ? p->sent == GREETING : p->eof))
		p->shut = xe_tcp_shutdown(w->server, sock, now) == 0;
	if (p->shut && p->eof)
		peer_end(w, sock, false, now);
}

static void server_event(struct world *w, int sock, unsigned mask, xe_ns now)
{
	if (w->peers[sock].port)
		peer_pump(w, sock, mask, now);
	for (int i = 0; i < NPORTS; i++) {
		int s;

		if (sock != w->listener[i])
			continue;
		while ((s = xe_tcp_accept(w->server, sock)) >= 0) {
			memset(&w->peers[s], 0, sizeof(w->peers[s]));
			w->peers[s].port = ports[i];
			peer_pump(w, s, xe_tcp_poll(w->server, s), now);
		}
	}
}

/* The machine's loop. */

static bool carry(struct xe_tcp *from, struct xe_tcp *to, xe_ns now)
{
	uint8_t packet[XE_MTU];
	size_t n;
	bool any = false;

	while ((n = xe_tcp_dispatch(from, packet, sizeof(packet), now)) > 0) {
		xe_tcp_input(to, packet, n, true, now);
		any = true;
	}
	return any;
}

static void settle(struct world *w, xe_ns now)
{
	bool busy = true;
	unsigned mask;
	int s;

	xe_tcp_timers(w->gateway, now);
	xe_tcp_timers(w->server, now);
	while (busy) {
		busy = carry(w->gateway, w->server, now);
		busy |= carry(w->server, w->gateway, now);
		while ((s = xe_tcp_next_ready(w->server, &mask)) >= 0) {
			server_event(w, s, mask, now);
			busy = true;
		}
		while ((s = xe_tcp_next_ready(w->gateway, &mask)) >= 0) {
			xe_relay_sock_event(xe_driver_relay(w->driver), s, mask, now);
			busy = true;
		}
	}
}

static int step(struct world *w, xe_ns most)
{
	xe_ns now = xe_driver_now(w->driver), until = now + most, at;
	int fds[4], n;

	at = xe_tcp_poll_at(w->gateway);
	until = at < until ? at : until;
	at = xe_tcp_poll_at(w->server);
	until = at < until ? at : until;
	n = xe_driver_wait(w->driver, until, fds, 4);
	w->waits++;
	w->unfinished += xe_relay_pending(xe_driver_relay(w->driver)) != 0;
	settle(w, xe_driver_now(w->driver));
	return n;
}

/* Real clients. */

static struct client *client_open(struct world *w, int real_port, uint64_t send_bytes)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)real_port),
		.sin_addr.s_addr = htonl(LOCALHOST),
	};
	struct client *c = &w->clients[w->nclients];

	xe_assert(w->nclients < CLIENTS);
	*c = (struct client){.send = send_bytes, .early_shut = true};
	c->seed = (uint8_t)(w->nclients++ * 7);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	xe_assert(c->fd >= 0);
	int rc = connect(c->fd, (struct sockaddr *)&a, sizeof(a));

	xe_assert(!rc || errno == EINPROGRESS);
	return c;
}

static bool client_failed(struct client *c, ssize_t n)
{
	if (n < 0 && errno != EAGAIN)
		c->err = errno;
	return c->err;
}

static bool client_send(struct world *w, struct client *c)
{
	uint64_t left = c->send - c->sent;
	ssize_t n;

	if (c->wait_eof && !c->eof)
		return false;
	if (!left) {
		if (!c->shut && c->early_shut)
			c->shut = !shutdown(c->fd, SHUT_WR);
		return false;
	}
	n = send(c->fd, w->pattern + (c->seed + c->sent) % 251, left < CHUNK ? left : CHUNK,
		 MSG_NOSIGNAL);
	if (client_failed(c, n) || n <= 0)
		return false;
	c->sent += (uint64_t)n;
	return true;
}

static bool client_recv(struct world *w, struct client *c)
{
	ssize_t n;

	if (c->eof || c->lazy)
		return false;
	n = recv(c->fd, w->scratch, sizeof(w->scratch), 0);
	if (client_failed(c, n) || n < 0)
		return false;
	c->eof = n == 0;
	xe_assert(!memcmp(w->scratch, w->pattern + (c->seed + c->got) % 251, (size_t)n));
	c->got += (uint64_t)n;
	return n > 0;
}

static bool clients_run(struct world *w)
{
	bool any = false;

	for (int i = 0; i < w->nclients; i++) {
		struct client *c = &w->clients[i];

		if (c->fd >= 0 && !c->err)
			any |= client_send(w, c);
		if (c->fd >= 0 && !c->err)
			any |= client_recv(w, c);
	}
	return any;
}

static bool client_over(const struct client *c)
{
	return c->fd < 0 || c->err || (c->eof && c->shut);
}

static void run_clients(struct world *w, int first, xe_ns limit)
{
	xe_ns end = xe_driver_now(w->driver) + limit;
	bool over = false;

	while (!over) {
		bool busy = clients_run(w);

		step(w, busy ? 0 : XE_MS);
		over = true;
		for (int i = first; i < w->nclients; i++)
			over &= client_over(&w->clients[i]);
		xe_assert(xe_driver_now(w->driver) < end);
	}
}

static void run_for(struct world *w, xe_ns time)
{
	xe_ns end = xe_driver_now(w->driver) + time;

	while (xe_driver_now(w->driver) < end) {
		step(w, clients_run(w) ? 0 : XE_MS);
	}
}

static void close_clients(struct world *w)
{
	for (int i = 0; i < w->nclients; i++)
		if (w->clients[i].fd >= 0)
			close(w->clients[i].fd);
	w->nclients = 0;
}

static void client_reset(struct client *c)
{
	struct linger l = {1, 0};

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(c->fd);
	c->fd = -1;
}

static const struct xe_relay_counters *counters(struct world *w)
{
	return xe_relay_counters(xe_driver_relay(w->driver));
}

static int real_port(struct world *w, uint16_t port)
{
	for (int i = 0; i < NPORTS; i++)
		if (ports[i] == port)
			return w->real[i];
	return w->real[NPORTS];
}

static void all_closed(struct world *w)
{
	const struct xe_relay_counters *k = counters(w);

	for (int i = 0; i < 1000 && k->open; i++)
		step(w, XE_MS);
	xe_assert(k->open == 0 && k->accepted == k->closed);
}

static void world_open(struct world *w, uint32_t slots, uint32_t ring)
{
	struct xe_tcp_config cfg = {
		.max_socks = SOCKS,
		.seed = 1,
		.msl = XE_MS,
		.snd_buf = ring,
		.rcv_buf = ring,
	};

	memset(w, 0, sizeof(*w));
	xe_assert(!xe_tcp_create(&w->gateway, &cfg));
	cfg.seed = 2;
	xe_assert(!xe_tcp_create(&w->server, &cfg));
	xe_tcp_set_addr(w->gateway, GATEWAY);
	xe_tcp_set_addr(w->server, SERVER);
	xe_assert(!xe_driver_create(&w->driver, w->gateway, slots));
	w->peers = calloc(SOCKS, sizeof(*w->peers));
	w->pattern = malloc(CHUNK + 512);
	xe_assert(w->peers && w->pattern);
	for (int i = 0; i < CHUNK + 512; i++)
		w->pattern[i] = (uint8_t)(i % 251);
	for (int i = 0; i <= NPORTS; i++) {
		uint16_t port = i < NPORTS ? ports[i] : CLOSED;

		if (i < NPORTS)
			w->listener[i] = xe_tcp_listen(w->server, port, 64);
		w->real[i] =
			xe_relay_listen(xe_driver_relay(w->driver), LOCALHOST, 0, SERVER, port);
		xe_assert(w->real[i] > 0);
	}
}

static void world_close(struct world *w)
{
	close_clients(w);
	xe_driver_destroy(w->driver);
	xe_tcp_destroy(w->gateway);
	xe_tcp_destroy(w->server);
	free(w->peers);
	free(w->pattern);
}

/* Tests. */

static void test_echo(struct world *w)
{
	enum { N = 20, BYTES = 4 << 20 };
	struct xe_relay_counters before = *counters(w);

	for (int i = 0; i < N; i++)
		client_open(w, real_port(w, ECHO), BYTES + (uint64_t)i * 1237);
	run_clients(w, 0, 120 * XE_SECOND);
	for (int i = 0; i < N; i++)
		xe_assert(!w->clients[i].err && w->clients[i].got == w->clients[i].send);
	all_closed(w);
	xe_assert(counters(w)->bytes_to_guest - before.bytes_to_guest ==
		  counters(w)->bytes_to_host - before.bytes_to_host);
	xe_assert(counters(w)->accepted - before.accepted == N);
	xe_assert(counters(w)->resets_from_guest == before.resets_from_guest);
	xe_assert(counters(w)->resets_from_host == before.resets_from_host);
	close_clients(w);
}

/* The server ends first; the client's bytes come after that. */
static void test_half_close_of_guest(struct world *w)
{
	uint64_t before = w->peer_bytes, done = w->peer_done;
	struct client *c = client_open(w, real_port(w, GREET), 3 << 20);

	c->wait_eof = true;
	c->seed = 0;
	run_clients(w, 0, 20 * XE_SECOND);
	xe_assert(!c->err && c->got == GREETING);
	all_closed(w);
	xe_assert(w->peer_bytes - before == 3 << 20 && w->peer_done - done == 1);
	close_clients(w);
}

/* A connection whose one half ended and nothing moves costs nothing. */
static void test_idle_half_open(struct world *w)
{
	struct client *c = client_open(w, real_port(w, GREET), 1);
	uint64_t waits;

	c->early_shut = false;
	c->seed = 0;
	run_for(w, 200 * XE_MS);
	xe_assert(c->eof && c->sent == 1 && counters(w)->open == 1);
	waits = w->waits;
	xe_ns end = xe_driver_now(w->driver) + 200 * XE_MS;

	while (xe_driver_now(w->driver) < end)
		step(w, 100 * XE_MS);
	xe_assert(w->waits - waits < 20);
	close_clients(w);
	all_closed(w);
}

static void test_refused(struct world *w)
{
	uint64_t before = counters(w)->refused;

	for (int i = 0; i < 5; i++)
		client_open(w, real_port(w, CLOSED), 1000);
	run_clients(w, 0, 10 * XE_SECOND);
	for (int i = 0; i < 5; i++)
		xe_assert(w->clients[i].err == ECONNRESET || w->clients[i].err == EPIPE);
	xe_assert(counters(w)->refused - before == 5);
	all_closed(w);
	close_clients(w);
}

static void test_reset_by_guest(struct world *w)
{
	uint64_t before = counters(w)->resets_from_guest;

	client_open(w, real_port(w, RESET), 8 << 20);
	client_open(w, real_port(w, RESET), 100000); /* over, both ways quiet, then reset */
	w->clients[1].early_shut = false;
	run_clients(w, 0, 10 * XE_SECOND);
	for (int i = 0; i < 2; i++)
		xe_assert(w->clients[i].err == ECONNRESET || w->clients[i].err == EPIPE);
	xe_assert(counters(w)->resets_from_guest - before == 2);
	all_closed(w);
	close_clients(w);
}

/* The guest resets while its bytes are stuck on a client that does not read. */
static void test_reset_behind_data(struct world *w)
{
	uint64_t before = counters(w)->resets_from_guest;
	struct client *c = client_open(w, real_port(w, GREET), 0);

	c->early_shut = false;
	c->lazy = true;
	c->seed = 0;
	run_for(w, 300 * XE_MS);
	for (int i = 0; i < SOCKS; i++) {
		if (w->peers[i].port != GREET)
			continue;
		xe_assert(w->peers[i].sent < GREETING);
		xe_tcp_abort(w->server, i, xe_driver_now(w->driver));
		w->peers[i].port = 0;
	}
	run_for(w, 20 * XE_MS);
	xe_assert(counters(w)->resets_from_guest - before == 1 && counters(w)->open == 0);
	c->lazy = false;
	run_clients(w, 0, XE_SECOND);
	xe_assert(c->err == ECONNRESET);
	close_clients(w);
}

/* Events of earlier uses of all slots (all were used before) are dropped. */
static void test_stale_events(struct world *w)
{
	client_open(w, real_port(w, ECHO), 1000)->early_shut = false;
	run_for(w, 20 * XE_MS);
	for (uint64_t i = 0; i < SLOTS; i++)
		xe_relay_fd_event(xe_driver_relay(w->driver), XE_RELAY_TAG | i << 1,
				  EPOLLERR | EPOLLHUP, xe_driver_now(w->driver));
	xe_assert(counters(w)->open == 1);
	w->clients[0].early_shut = true;
	run_clients(w, 0, XE_SECOND);
	xe_assert(w->clients[0].got == 1000);
	all_closed(w);
	close_clients(w);
}

/* With rings larger than an event's budget, the rest is done by later runs. */
static void test_budget(struct world *w)
{
	struct client *c[2];

	world_open(w, 4, 4 << 20);
	for (int i = 0; i < 2; i++) {
		c[i] = client_open(w, real_port(w, i ? ECHO : SINK), 12 << 20);
		while (client_send(w, c[i]))
			continue;
	}
	run_clients(w, 0, 20 * XE_SECOND);
	xe_assert(w->unfinished > 0);
	xe_assert(c[0]->sent == 12 << 20 && c[1]->got == 12 << 20);
	all_closed(w);
	world_close(w);
}

static void test_reset_by_host(struct world *w)
{
	uint64_t before = counters(w)->resets_from_host, resets = w->peer_resets;

	client_open(w, real_port(w, ECHO), 50000);
	client_open(w, real_port(w, HOLD), 8 << 20); /* stuck: the guest's window is shut */
	client_open(w, real_port(w, SINK), 0);
	for (int i = 0; i < 3; i++)
		w->clients[i].early_shut = false;
	for (int i = 0; i < 500 && w->clients[0].got < 50000; i++)
		run_for(w, 10 * XE_MS);
	xe_assert(w->clients[0].got == 50000 && w->clients[1].sent < 8 << 20);
	for (int i = 0; i < 3; i++)
		client_reset(&w->clients[i]);
	for (int i = 0; i < 500 && w->peer_resets - resets < 3; i++)
		run_for(w, 10 * XE_MS);
	xe_assert(counters(w)->resets_from_host - before == 3);
	xe_assert(w->peer_resets - resets == 3);
	all_closed(w);
	close_clients(w);
}

/* A client that leaves before the guest's answer to its SYN, and one that does not read. */
static void test_hasty(struct world *w)
{
	uint64_t before = counters(w)->accepted;

	for (int i = 0; i < 10; i++) {
		struct client *c = client_open(w, real_port(w, i & 1 ? ECHO : CLOSED), 0);

		if (i % 3)
			client_reset(c);
		else
			close(c->fd), c->fd = -1;
	}
	run_for(w, 100 * XE_MS);
	xe_assert(counters(w)->accepted - before == 10);
	all_closed(w);
	close_clients(w);
}

static void test_exhaustion(struct world *w)
{
	enum { N = SLOTS + 12 };
	uint64_t before = counters(w)->accepted;
	uint64_t waits;

	for (int i = 0; i < N; i++)
		client_open(w, real_port(w, ECHO), 20000)->early_shut = false;
	run_for(w, 200 * XE_MS);
	xe_assert(counters(w)->accepted - before == SLOTS && counters(w)->open == SLOTS);
	waits = w->waits;
	for (int i = 0; i < 2; i++)
		step(w, 100 * XE_MS);
	xe_assert(w->waits - waits == 2); /* and waiting did not spin */
	for (int i = 0; i < N; i++)
		w->clients[i].early_shut = true;
	run_clients(w, 0, 20 * XE_SECOND);
	for (int i = 0; i < N; i++)
		xe_assert(!w->clients[i].err && w->clients[i].got == 20000);
	xe_assert(counters(w)->accepted - before == N);
	all_closed(w);
	close_clients(w);
}

/* Out of descriptors while a connection waits; it is served when some are back. */
static void test_no_descriptors(struct world *w)
{
	struct rlimit old, low;
	struct client *c = client_open(w, real_port(w, ECHO), 1000);

	run_clients(w, 0, 5 * XE_SECOND);
	xe_assert(!getrlimit(RLIMIT_NOFILE, &old));
	c = client_open(w, real_port(w, ECHO), 1000);
	c->early_shut = false;
	run_for(w, 50 * XE_MS);
	c = client_open(w, real_port(w, ECHO), 1000);
	low = old;
	low.rlim_cur = 4;
	xe_assert(!setrlimit(RLIMIT_NOFILE, &low));
	run_for(w, 50 * XE_MS);
	xe_assert(!setrlimit(RLIMIT_NOFILE, &old));
	xe_assert(c->got == 0);
	w->clients[1].early_shut = true; /* its slot's end tries again */
	run_clients(w, 0, 5 * XE_SECOND);
	xe_assert(c->got == 1000);
	all_closed(w);
	close_clients(w);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void test_driver(void)
{
	struct xe_tcp_config cfg = {.max_socks = 16, .seed = 3};
	struct itimerval soon = {.it_value.tv_usec = 20000};
	struct sigaction act = {.sa_handler = on_alarm}, old;
	struct xe_driver *d;
	struct xe_tcp *t;
	int p[2], fds[4];

	xe_assert(!xe_tcp_create(&t, &cfg) && !xe_driver_create(&d, t, 4) && !pipe(p));
	xe_ns at = xe_driver_now(d);

	xe_assert(xe_driver_wait(d, at + 3 * XE_MS, fds, 4) == 0);
	xe_ns late = xe_driver_now(d) - at - 3 * XE_MS;

	xe_assert(late < XE_SECOND); /* that is: not before, and about then */
	xe_assert(!xe_driver_watch(d, p[0], 1, 0));
	xe_assert(xe_driver_wait(d, 0, fds, 4) == 0);
	xe_assert(write(p[1], "x", 1) == 1);
	for (int i = 0; i < 3; i++) /* level-triggered */
		xe_assert(xe_driver_wait(d, XE_NEVER, fds, 4) == 1 && fds[0] == p[0]);
	xe_assert(!xe_driver_watch(d, p[1], 0, 1));
	xe_assert(xe_driver_wait(d, XE_NEVER, fds, 4) == 2);
	xe_assert(xe_driver_wait(d, XE_NEVER, fds, 1) == 1);
	xe_assert(!xe_driver_watch(d, p[1], 0, 0) && !xe_driver_watch(d, p[0], 0, 0));
	xe_assert(!xe_driver_watch(d, p[0], 0, 0) && xe_driver_watch(d, -1, 1, 0) == -EBADF);
	xe_assert(xe_driver_wait(d, 0, fds, 4) == 0);
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	xe_assert(xe_driver_wait(d, XE_NEVER, fds, 4) == -EINTR);
	sigaction(SIGALRM, &old, NULL);
	close(p[0]);
	close(p[1]);
	xe_driver_destroy(d);
	xe_tcp_destroy(t);
}

static void test_memory(void)
{
	struct xe_memory m;
	struct stat st;
	size_t size = (size_t)8 << 30;

	xe_assert(xe_memory_open(&m, 0, true) == -EINVAL);
	xe_assert(xe_memory_open(&m, 100, false) == -EINVAL);
	xe_assert(!xe_memory_open(&m, size, true));
	m.base[0] = 1;
	m.base[size - 1] = 2;
	xe_assert(!fstat(m.fd, &st) && st.st_blocks <= 4 * 8);
	xe_memory_prefault(&m, 1 << 20, 1 << 20);
	xe_assert(!fstat(m.fd, &st) && st.st_blocks >= 1 << 11);
	memset(m.base + (1 << 20), 0xff, 1 << 20);
	xe_memory_punch(&m, 1 << 20, 1 << 20);
	xe_assert(!fstat(m.fd, &st) && st.st_blocks <= 4 * 8);
	for (size_t i = 0; i < 1 << 20; i += 511)
		xe_assert(!m.base[(1 << 20) + i]);
	xe_memory_punch(&m, 0, 0);
	xe_memory_prefault(&m, size, 0);
	xe_assert(m.base[0] == 1 && m.base[size - 1] == 2);
	xe_memory_close(&m);
	xe_memory_close(&m);
}

/* What a forked process writes or gives back is not seen here. */
static void test_private_memory(void)
{
	struct xe_memory m;
	size_t half = 1 << 20;
	int status;
	pid_t child;

	xe_assert(!xe_memory_open(&m, 2 * half, false));
	xe_assert(m.fd < 0 && !m.base[0] && !m.base[half]);
	xe_memory_prefault(&m, 0, half);
	memset(m.base, 1, 2 * half);
	child = fork();
	xe_assert(child >= 0);
	if (child == 0) {
		m.base[0] = 2;
		xe_memory_punch(&m, half, half);
		_exit(m.base[0] == 2 && m.base[1] == 1 && !m.base[half] ? 0 : 1);
	}
	xe_assert(waitpid(child, &status, 0) == child && status == 0);
	xe_assert(m.base[0] == 1 && m.base[half] == 1);
	xe_memory_punch(&m, half, half);
	xe_assert(m.base[half - 1] == 1 && !m.base[half] && !m.base[2 * half - 1]);
	xe_memory_close(&m);
}

static void test_destroy_while_open(struct world *w)
{
	world_open(w, 4, 0);
	client_open(w, real_port(w, HOLD), 1 << 20);
	client_open(w, real_port(w, ECHO), 1000)->early_shut = false;
	client_open(w, real_port(w, CLOSED), 0);
	run_for(w, 50 * XE_MS);
	xe_assert(counters(w)->open == 2);
	world_close(w);
}

static void bulk(struct world *w, uint64_t mib)
{
	struct client *c;
	xe_ns start;

	world_open(w, SLOTS, 0);
	c = client_open(w, real_port(w, SINK), mib << 20);
	start = xe_driver_now(w->driver);
	run_clients(w, 0, 600 * XE_SECOND);
	xe_assert(!c->err && counters(w)->bytes_to_guest == mib << 20);
	printf("bulk to guest: %.0f MB/s (client, relay, two stacks and server on one core)\n",
	       (double)(mib << 20) * 1e3 / (double)(xe_driver_now(w->driver) - start));
	world_close(w);
}

int main(int argc, char **argv)
{
	struct world *w = malloc(sizeof(*w));
	int base = count_fds(), open_fds;

	xe_assert(w);
	test_memory();
	test_private_memory();
	test_driver();
	world_open(w, SLOTS, 0);
	open_fds = count_fds();
	test_echo(w);
	test_half_close_of_guest(w);
	test_idle_half_open(w);
	test_refused(w);
	test_reset_by_guest(w);
	test_reset_behind_data(w);
	test_reset_by_host(w);
	test_hasty(w);
	test_exhaustion(w);
	test_stale_events(w);
	test_no_descriptors(w);
	xe_assert(count_fds() == open_fds);
	world_close(w);
	test_destroy_while_open(w);
	test_budget(w);
	if (argc > 1)
		bulk(w, strtoull(argv[1], NULL, 10));
	xe_assert(count_fds() == base);
	free(w);
	printf("test_host_relay: ok\n");
	return 0;
}
