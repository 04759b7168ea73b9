/* Connections that guests open to real servers: an emulated client behind a gateway stack, real
 * servers on 127.0.0.1, all in one loop; and the requests that a stack holds, by themselves. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "host/driver.h"

enum {
	GATEWAY = 0x0a000101,
	GUEST = 0x0a000001,
	LOCALHOST = 0x7f000001,
	OTHER_LOCAL = 0x7f000002,
	SLOTS = 16,
	SOCKS = 256,
	CONNS = 64,
	CHUNK = 32 << 10,
	GREETING = 6 << 20,
	STEPS = 200000, /* bounds a test that hangs */
};

enum manner { ECHO, GREET, RESET, MANNERS };

struct real { /* a real server's connection */
	int fd;
	enum manner manner;
	bool eof, shut;
	uint32_t head, len;
	uint64_t sent, got;
	uint8_t buf[CHUNK];
};

struct guest { /* an emulated client's */
	int sock, err;
	bool connected, wait_eof, shut, eof;
	uint64_t send, sent, got;
};

struct world {
	struct xe_tcp *gateway, *guest;
	struct xe_driver *driver;
	int listener[MANNERS];
	uint16_t port[MANNERS];
	struct real reals[CONNS];
	int nreals;
	struct guest guests[CONNS];
	int nguests;
	uint64_t real_bytes; /* that servers got */
	uint8_t pattern[CHUNK + 251];
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

/* Real servers. */

static int listen_real(uint32_t addr, int backlog, uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(addr)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	xe_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&a, len) && !listen(fd, backlog));
	xe_assert(!getsockname(fd, (struct sockaddr *)&a, &len));
	*port = ntohs(a.sin_port);
	return fd;
}

static void real_end(struct world *w, struct real *c, bool reset)
{
	struct linger l = {1, 0};

	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(c->fd);
	c->fd = -1;
	w->real_bytes += c->got;
}

static bool real_read(struct world *w, struct real *c)
{
	ssize_t n;

	if (c->eof || c->len)
		return false;
	n = recv(c->fd, c->buf, sizeof(c->buf), 0);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0) {
		real_end(w, c, false);
		return false;
	}
	for (ssize_t i = 0; i < n; i++)
		xe_assert(c->buf[i] == (uint8_t)((c->got + (uint64_t)i) % 251));
	c->eof = n == 0;
	c->got += (uint64_t)n;
	c->head = 0;
	c->len = c->manner == ECHO ? (uint32_t)n : 0;
	if (c->manner == RESET && c->got >= 100000)
		real_end(w, c, true);
	return c->fd >= 0;
}

static bool real_write(struct world *w, struct real *c)
{
	const uint8_t *from = c->buf + c->head;
	size_t len = c->len;
	ssize_t n;

	if (c->manner == GREET && !c->shut) {
		from = w->pattern + c->sent % 251;
		len = GREETING - c->sent < CHUNK ? GREETING - c->sent : CHUNK;
	}
	if (!len)
		return false;
	n = send(c->fd, from, len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		real_end(w, c, false);
	if (n < 0)
		return false;
	c->sent += (uint64_t)n;
	if (c->manner != GREET) {
		c->head += (uint32_t)n;
		c->len -= (uint32_t)n;
	}
	return true;
}

static bool real_pump(struct world *w, struct real *c)
{
	bool any = real_read(w, c);

	if (c->fd >= 0)
		any |= real_write(w, c);
	if (c->fd < 0)
		return any;
	if (!c->shut && !c->len && (c->manner == GREET ? c->sent == GREETING : c->eof))
		c->shut = shutdown(c->fd, SHUT_WR) == 0;
	if (c->shut && c->eof)
		real_end(w, c, false);
	return any;
}

static bool reals_run(struct world *w)
{
	bool any = false;

	for (int m = 0; m < MANNERS; m++) {
		int fd = accept4(w->listener[m], NULL, NULL, SOCK_NONBLOCK);

		if (fd < 0)
			continue;
		xe_assert(w->nreals < CONNS);
		memset(&w->reals[w->nreals], 0, sizeof(w->reals[0]));
		w->reals[w->nreals].fd = fd;
		w->reals[w->nreals++].manner = (enum manner)m;
		any = true;
	}
	for (int i = 0; i < w->nreals; i++)
		if (w->reals[i].fd >= 0)
			any |= real_pump(w, &w->reals[i]);
	return any;
}

/* The emulated client. */

static struct guest *guest_open(struct world *w, uint32_t addr, uint16_t port, uint64_t send)
{
	struct guest *c = &w->guests[w->nguests++];

	xe_assert(w->nguests <= CONNS);
	*c = (struct guest){.send = send};
	c->sock = xe_tcp_connect(w->guest, addr, port, 0, xe_driver_now(w->driver));
	xe_assert(c->sock >= 0);
	return c;
}

static bool guest_failed(struct guest *c, long n)
{
	if (n < 0 && n != -EAGAIN)
		c->err = (int)-n;
	return n < 0;
}

static bool guest_send(struct world *w, struct guest *c, xe_ns now)
{
	uint64_t left = c->send - c->sent;
	long n = 0;

	if (c->shut || (c->wait_eof && !c->eof))
		return false;
	if (left)
		n = xe_tcp_send(w->guest, c->sock, w->pattern + c->sent % 251,
				left < CHUNK ? left : CHUNK, now);
	if (guest_failed(c, n))
		return false;
	c->sent += (uint64_t)n;
	if (c->sent == c->send) {
		xe_assert(!xe_tcp_shutdown(w->guest, c->sock, now));
		c->shut = true;
	}
	return n > 0;
}

static bool guest_recv(struct world *w, struct guest *c, xe_ns now)
{
	long n;

	if (c->eof)
		return false;
	n = xe_tcp_recv(w->guest, c->sock, w->scratch, sizeof(w->scratch), now);
	if (guest_failed(c, n))
		return false;
	c->eof = n == 0;
	xe_assert(!memcmp(w->scratch, w->pattern + c->got % 251, (size_t)n));
	c->got += (uint64_t)n;
	return n > 0;
}

static bool guests_run(struct world *w, xe_ns now)
{
	bool any = false;

	for (int i = 0; i < w->nguests; i++) {
		struct guest *c = &w->guests[i];
		int err = c->err ? 0 : xe_tcp_connected(w->guest, c->sock);

		if (c->err || err == -EINPROGRESS)
			continue;
		c->connected |= err == 0;
		if (err)
			c->err = -err;
		if (!c->err)
			any |= guest_send(w, c, now);
		if (!c->err)
			any |= guest_recv(w, c, now);
	}
	return any;
}

static bool guests_over(const struct world *w)
{
	for (int i = 0; i < w->nguests; i++)
		if (!w->guests[i].err && !(w->guests[i].eof && w->guests[i].shut))
			return false;
	return true;
}

/* The machine's loop. */

static bool carry(struct xe_tcp *from, struct xe_tcp *to, xe_ns now)
{
	uint8_t packet[1500];
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
	xe_tcp_timers(w->guest, now);
	while (busy) {
		busy = carry(w->guest, w->gateway, now);
		while ((s = xe_tcp_next_ready(w->gateway, &mask)) >= 0) {
			xe_relay_sock_event(xe_driver_relay(w->driver), s, mask, now);
			busy = true;
		}
		busy |= carry(w->gateway, w->guest, now);
	}
}

static void step(struct world *w)
{
	bool busy = reals_run(w) | guests_run(w, xe_driver_now(w->driver));
	xe_ns until = busy ? 0 : xe_driver_now(w->driver) + XE_MS;
	int fds[4];

	xe_driver_wait(w->driver, until, fds, 4);
	settle(w, xe_driver_now(w->driver));
}

static void run(struct world *w)
{
	for (int i = 0; !guests_over(w); i++) {
		xe_assert(i < STEPS);
		step(w);
	}
}

static const struct xe_relay_counters *counters(struct world *w)
{
	return xe_relay_counters(xe_driver_relay(w->driver));
}

/* Ends a test: all is closed on both sides. */
static void clear(struct world *w)
{
	const struct xe_relay_counters *k = counters(w);

	for (int i = 0; i < w->nguests; i++)
		xe_tcp_close(w->guest, w->guests[i].sock, xe_driver_now(w->driver));
	w->nguests = 0;
	for (int i = 0, open = 1; k->open || open; i++) {
		xe_assert(i < STEPS);
		step(w);
		open = 0;
		for (int j = 0; j < w->nreals; j++)
			open |= w->reals[j].fd >= 0;
	}
	w->nreals = 0;
	xe_assert(k->accepted + k->outward == k->closed);
}

static void world_open(struct world *w)
{
	struct xe_tcp_config cfg = {.max_socks = SOCKS, .seed = 1, .msl = XE_MS};

	memset(w, 0, sizeof(*w));
	xe_assert(!xe_tcp_create(&w->gateway, &cfg));
	cfg.seed = 2;
	xe_assert(!xe_tcp_create(&w->guest, &cfg));
	xe_tcp_set_addr(w->gateway, GATEWAY);
	xe_tcp_set_addr(w->guest, GUEST);
	xe_assert(!xe_driver_create(&w->driver, w->gateway, SLOTS));
	xe_relay_route(xe_driver_relay(w->driver));
	for (size_t i = 0; i < sizeof(w->pattern); i++)
		w->pattern[i] = (uint8_t)(i % 251);
	for (int m = 0; m < MANNERS; m++)
		w->listener[m] = listen_real(LOCALHOST, 64, &w->port[m]);
}

static void world_close(struct world *w)
{
	xe_driver_destroy(w->driver);
	xe_tcp_destroy(w->gateway);
	xe_tcp_destroy(w->guest);
	for (int i = 0; i < w->nreals; i++)
		if (w->reals[i].fd >= 0)
			close(w->reals[i].fd);
	for (int m = 0; m < MANNERS; m++)
		close(w->listener[m]);
}

/* Tests of the way out. */

static void test_echo(struct world *w)
{
	enum { N = SLOTS / 2, BYTES = 3 << 20 };
	uint64_t outward = counters(w)->outward;

	for (int i = 0; i < N; i++) /* the gateway and 127.0.0.1 are both this host */
		guest_open(w, i & 1 ? GATEWAY : LOCALHOST, w->port[ECHO],
			   BYTES + (uint64_t)i * 1237);
	run(w);
	for (int i = 0; i < N; i++)
		xe_assert(!w->guests[i].err && w->guests[i].got == w->guests[i].send);
	xe_assert(counters(w)->outward - outward == N && !counters(w)->accepted);
	clear(w);
}

/* An address is dialled as it is: nobody listens at this one's port, and then somebody does. */
static void test_address(struct world *w)
{
	struct guest *c = guest_open(w, OTHER_LOCAL, w->port[ECHO], 10);
	uint16_t port;
	int fd;

	run(w);
	xe_assert(c->err == ECONNREFUSED && !c->connected);
	clear(w);
	fd = listen_real(OTHER_LOCAL, 4, &port);
	c = guest_open(w, OTHER_LOCAL, port, 10);
	for (int i = 0; !c->connected; i++) {
		xe_assert(i < STEPS);
		step(w);
	}
	close(fd); /* never accepted: the kernel resets it */
	run(w);
	xe_assert(c->err == ECONNRESET);
	clear(w);
}

/* The server ends first; the guest's bytes come after that. */
static void test_half_close_of_server(struct world *w)
{
	uint64_t before = w->real_bytes;
	struct guest *c = guest_open(w, GATEWAY, w->port[GREET], 2 << 20);

	c->wait_eof = true;
	run(w);
	xe_assert(!c->err && c->got == GREETING && c->sent == 2 << 20);
	clear(w);
	xe_assert(w->real_bytes - before == 2 << 20);
}

/* The guest ends first; the server's bytes come after that. */
static void test_half_close_of_guest(struct world *w)
{
	struct guest *c = guest_open(w, GATEWAY, w->port[GREET], 0);

	run(w);
	xe_assert(!c->err && c->shut && c->got == GREETING);
	clear(w);
}

static void test_refused(struct world *w)
{
	uint64_t before = counters(w)->refused;
	uint16_t port;

	close(listen_real(LOCALHOST, 1, &port)); /* so nobody is there */
	for (int i = 0; i < 4; i++)
		guest_open(w, GATEWAY, port, 100);
	run(w);
	for (int i = 0; i < 4; i++)
		xe_assert(w->guests[i].err == ECONNREFUSED && !w->guests[i].connected);
	xe_assert(counters(w)->refused - before == 4);
	clear(w);
}

static void test_nowhere(struct world *w)
{
	static const uint32_t nowhere[] = {0x00000001, 0xe0000001, 0xffffffff};
	uint64_t before = counters(w)->turned_away, outward = counters(w)->outward;

	for (int i = 0; i < 3; i++)
		guest_open(w, nowhere[i], 80, 100);
	run(w);
	for (int i = 0; i < 3; i++)
		xe_assert(w->guests[i].err == ECONNREFUSED);
	xe_assert(counters(w)->turned_away - before == 3 && counters(w)->outward == outward);
	clear(w);
}

static void test_reset_by_server(struct world *w)
{
	struct guest *c = guest_open(w, GATEWAY, w->port[RESET], 8 << 20);

	run(w);
	xe_assert(c->err == ECONNRESET && c->connected);
	clear(w);
}

static void test_reset_by_guest(struct world *w)
{
	struct guest *c = guest_open(w, GATEWAY, w->port[ECHO], 1 << 30);

	for (int i = 0; c->got < 1 << 20; i++) {
		xe_assert(i < STEPS && !c->err);
		step(w);
	}
	xe_tcp_reset(w->guest, c->sock, xe_driver_now(w->driver));
	run(w);
	clear(w); /* the server's end saw it, or this would not end */
}

/* A guest that does not wait for the answer to its SYN. */
static void test_hasty(struct world *w)
{
	for (int i = 0; i < 6; i++) {
		struct guest *c = guest_open(w, GATEWAY, w->port[ECHO], 10);

		if (i & 1)
			settle(w, xe_driver_now(w->driver));
		xe_tcp_abort(w->guest, c->sock, xe_driver_now(w->driver));
		c->err = ECONNABORTED;
	}
	clear(w);
}

/* Half of the slots are for guests; who finds none is refused, at once. */
static void test_limit(struct world *w)
{
	uint64_t before = counters(w)->turned_away;
	int refused = 0;

	for (int i = 0; i < SLOTS; i++)
		guest_open(w, GATEWAY, w->port[ECHO], 1000)->wait_eof = true;
	for (int i = 0; counters(w)->turned_away - before < SLOTS / 2 || refused < SLOTS / 2; i++) {
		xe_assert(i < STEPS);
		step(w);
		refused = 0;
		for (int j = 0; j < SLOTS; j++)
			refused += w->guests[j].err == ECONNREFUSED;
	}
	xe_assert(counters(w)->open == SLOTS / 2);
	for (int i = 0; i < SLOTS; i++)
		w->guests[i].wait_eof = false;
	run(w);
	for (int i = 0; i < SLOTS / 2; i++)
		xe_assert(!w->guests[i].err && w->guests[i].got == 1000);
	clear(w);
}

/* The real server does not answer (its backlog is full): neither does the gateway. */
static void test_unanswered(struct world *w)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(LOCALHOST)};
	uint16_t port;
	int fd = listen_real(LOCALHOST, 0, &port), fill[4];
	struct guest *c;

	a.sin_port = htons(port);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	c = guest_open(w, GATEWAY, port, 10);
	for (int i = 0; i < 50; i++)
		step(w);
	xe_assert(!c->connected && !c->err && counters(w)->open == 1);
	xe_tcp_abort(w->guest, c->sock, xe_driver_now(w->driver)); /* SYN_SENT: nothing leaves */
	c->err = ECONNABORTED;
	w->nguests = 0;
	close(fd); /* resets what it has; the next SYN of the rest is refused */
	for (int i = 0; counters(w)->open; i++) {
		xe_assert(i < STEPS);
		step(w);
	}
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	clear(w);
}

static void test_destroy_while_open(struct world *w)
{
	int fds = count_fds();

	world_open(w);
	guest_open(w, GATEWAY, w->port[ECHO], 1 << 30);
	for (int i = 0; i < 50; i++)
		step(w);
	guest_open(w, GATEWAY, w->port[ECHO], 10);
	settle(w, xe_driver_now(w->driver)); /* a request whose connection nobody has seen yet */
	world_close(w);
	xe_assert(count_fds() == fds);
}

/* Tests of held requests: no host, no time. */

struct pair {
	struct xe_tcp *guest, *gateway;
	int sock; /* the guest's */
};

static void pair_open(struct pair *p)
{
	struct xe_tcp_config cfg = {.max_socks = 16, .seed = 5};

	xe_assert(!xe_tcp_create(&p->guest, &cfg) && !xe_tcp_create(&p->gateway, &cfg));
	xe_tcp_set_addr(p->guest, GUEST);
	xe_tcp_set_addr(p->gateway, GATEWAY);
}

static void pair_close(struct pair *p)
{
	xe_tcp_destroy(p->guest);
	xe_tcp_destroy(p->gateway);
}

/* Opens a connection as far as the gateway lets it; the held socket. */
static int pair_request(struct pair *p)
{
	unsigned mask;
	int sock;

	while (xe_tcp_next_ready(p->gateway, &mask) >= 0)
		continue;
	p->sock = xe_tcp_connect(p->guest, 0x08080808, 53, 0, 0);
	xe_assert(p->sock >= 0 && carry(p->guest, p->gateway, 0));
	sock = xe_tcp_next_ready(p->gateway, &mask);
	xe_assert(sock >= 0 && mask == 0 && xe_tcp_is_held(p->gateway, sock));
	xe_assert(xe_tcp_next_ready(p->gateway, &mask) < 0);
	return sock;
}

static void test_held(void)
{
	struct xe_tcp_info info;
	struct pair p;
	int sock;

	pair_open(&p);
	p.sock = xe_tcp_connect(p.guest, 0x08080808, 53, 0, 0);
	xe_assert(carry(p.guest, p.gateway, 0) && !carry(p.gateway, p.guest, 0));
	xe_tcp_abort(p.guest, p.sock, 0);

	xe_tcp_hold_requests(p.gateway);
	sock = pair_request(&p);
	xe_assert(!carry(p.gateway, p.guest, 0));
	xe_tcp_timers(p.guest, 2 * XE_SECOND); /* the SYN again */
	xe_assert(carry(p.guest, p.gateway, 2 * XE_SECOND));
	xe_assert(!carry(p.gateway, p.guest, 2 * XE_SECOND));
	xe_assert(xe_tcp_connected(p.guest, p.sock) == -EINPROGRESS);
	xe_assert(!xe_tcp_info(p.gateway, sock, &info) && info.local_addr == 0x08080808);
	xe_assert(info.local_port == 53 && info.peer_addr == GUEST);
	xe_assert(xe_tcp_admit(p.gateway, 15) == -EINVAL && !xe_tcp_admit(p.gateway, sock));
	xe_assert(xe_tcp_admit(p.gateway, sock) == -EINVAL);
	xe_assert(carry(p.gateway, p.guest, 0) && carry(p.guest, p.gateway, 0));
	xe_assert(!xe_tcp_connected(p.guest, p.sock) && !xe_tcp_connected(p.gateway, sock));

	sock = pair_request(&p);
	xe_tcp_abort(p.gateway, sock, 0);
	xe_assert(carry(p.gateway, p.guest, 0));
	xe_assert(xe_tcp_connected(p.guest, p.sock) == -ECONNREFUSED);
	pair_close(&p);
}

/* A listener's port is the listener's; what belongs to nothing is answered with a reset. */
static void test_not_held(void)
{
	struct pair p;
	unsigned mask;
	int sock;

	pair_open(&p);
	xe_tcp_hold_requests(p.gateway);
	xe_assert(xe_tcp_listen(p.gateway, 53, 4) >= 0);
	p.sock = xe_tcp_connect(p.guest, GATEWAY, 53, 0, 0);
	xe_assert(carry(p.guest, p.gateway, 0) && carry(p.gateway, p.guest, 0));
	xe_assert(!xe_tcp_connected(p.guest, p.sock) && carry(p.guest, p.gateway, 0));

	sock = pair_request(&p);
	xe_assert(!xe_tcp_admit(p.gateway, sock) && carry(p.gateway, p.guest, 0));
	xe_assert(carry(p.guest, p.gateway, 0));
	xe_tcp_abort(p.gateway, sock, 0);
	while (carry(p.gateway, p.guest, 0)) /* the reset is lost: what the guest sends is reset */
		continue;
	xe_assert(xe_tcp_recv(p.guest, p.sock, &mask, 1, 0) == -ECONNRESET);
	pair_close(&p);
}

int main(void)
{
	struct world *w = malloc(sizeof(*w));
	int base = count_fds(), open_fds;

	xe_assert(w);
	test_held();
	test_not_held();
	world_open(w);
	open_fds = count_fds();
	test_echo(w);
	test_address(w);
	test_half_close_of_server(w);
	test_half_close_of_guest(w);
	test_refused(w);
	test_nowhere(w);
	test_reset_by_server(w);
	test_reset_by_guest(w);
	test_hasty(w);
	test_limit(w);
	test_unanswered(w);
	xe_assert(count_fds() == open_fds);
	world_close(w);
	test_destroy_while_open(w);
	xe_assert(count_fds() == base);
	free(w);
	printf("test_host_outward: ok\n");
	return 0;
}
