/* The guest TCP: two stacks over bad links, and hand-made segments to one. */
#include <errno.h>
#include <string.h>

#include "net/link.h"
#include "net/tcp_internal.h"

enum { A_ADDR = 0x0a000001, B_ADDR = 0x0a000002, HELD = 8192, PORT = 80 };

struct packet {
	xe_ns at;
	uint64_t order;
	int to, len;
	uint8_t data[1500];
};

struct net {
	struct xe_tcp *t[2];
	struct xe_link link[2];
	struct packet *pool, *heap[HELD], *free[HELD];
	int held, nfree;
	uint64_t order;
	xe_ns now;
};

static bool earlier(const struct packet *a, const struct packet *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void hold(struct net *n, int to, const uint8_t *data, size_t len, xe_ns at)
{
	struct packet *p;
	int i = n->held++;

	xe_assert(n->nfree > 0);
	p = n->free[--n->nfree];
	p->at = at;
	p->order = n->order++;
	p->to = to;
	p->len = (int)len;
	memcpy(p->data, data, len);
	for (; i > 0 && earlier(p, n->heap[(i - 1) / 2]); i = (i - 1) / 2)
		n->heap[i] = n->heap[(i - 1) / 2];
	n->heap[i] = p;
}

static struct packet *take(struct net *n)
{
	struct packet *top = n->heap[0], *last = n->heap[--n->held];
	int i = 0, c;

	while ((c = 2 * i + 1) < n->held) {
		if (c + 1 < n->held && earlier(n->heap[c + 1], n->heap[c]))
			c++;
		if (!earlier(n->heap[c], last))
			break;
		n->heap[i] = n->heap[c];
		i = c;
	}
	n->heap[i] = last;
	return top;
}

static struct net *net_new(const struct xe_tcp_config *a, const struct xe_tcp_config *b,
			   const struct xe_link_config *lc, uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));

	n->pool = calloc(HELD, sizeof(*n->pool));
	for (int i = 0; i < HELD; i++)
		n->free[n->nfree++] = &n->pool[i];
	xe_assert(xe_tcp_create(&n->t[0], a) == 0 && xe_tcp_create(&n->t[1], b) == 0);
	xe_tcp_set_addr(n->t[0], A_ADDR);
	xe_tcp_set_addr(n->t[1], B_ADDR);
	xe_link_init(&n->link[0], lc, seed);
	xe_link_init(&n->link[1], lc, seed + 1000003);
	n->now = 1000 * XE_SECOND;
	return n;
}

static void net_free(struct net *n)
{
	xe_tcp_destroy(n->t[0]);
	xe_tcp_destroy(n->t[1]);
	free(n->pool);
	free(n);
}

static void flush(struct net *n)
{
	uint8_t buf[1500];
	xe_ns at[2];
	size_t len;

	for (int i = 0; i < 2; i++) {
		while ((len = xe_tcp_dispatch(n->t[i], buf, sizeof(buf), n->now)) > 0) {
			int copies = xe_link_send(&n->link[i], len, n->now, at);

			for (int k = 0; k < copies; k++)
				hold(n, !i, buf, len, at[k]);
		}
	}
}

/* Sends what is due, then moves to the next event (at most `limit`) and does it. */
static bool step(struct net *n, xe_ns limit)
{
	xe_ns next = limit;

	flush(n);
	for (int i = 0; i < 2; i++)
		if (xe_tcp_poll_at(n->t[i]) < next)
			next = xe_tcp_poll_at(n->t[i]);
	if (n->held > 0 && n->heap[0]->at < next)
		next = n->heap[0]->at;
	if (next > n->now)
		n->now = next;
	if (next == limit)
		return false;
	while (n->held > 0 && n->heap[0]->at <= n->now) {
		struct packet *p = take(n);

		xe_tcp_input(n->t[p->to], p->data, (size_t)p->len, false, n->now);
		n->free[n->nfree++] = p;
	}
	for (int i = 0; i < 2; i++)
		xe_tcp_timers(n->t[i], n->now);
	return true;
}

static void run(struct net *n, xe_ns time)
{
	xe_ns limit = n->now + time;

	while (step(n, limit))
		;
}

static const struct xe_link_config good = {.delay = XE_MS};
static const struct xe_tcp_config small = {
	.max_socks = 16, .snd_buf = 65536, .rcv_buf = 65536, .seed = 7};

static uint8_t byte_at(int dir, uint64_t pos)
{
	return (uint8_t)((pos * 2654435761u + (uint64_t)dir * 77) >> 9);
}

struct end {
	int sock;
	uint64_t sent, got, total;
	bool shut, eof;
	size_t chunk;
};

static void pump_out(struct net *n, int side, struct end *e)
{
	uint8_t buf[4096];

	while (e->sent < e->total) {
		size_t want = e->total - e->sent < sizeof(buf) ? e->total - e->sent : sizeof(buf);
		long r;

		for (size_t i = 0; i < want; i++)
			buf[i] = byte_at(side, e->sent + i);
		r = xe_tcp_send(n->t[side], e->sock, buf, want, n->now);
		if (r == -EAGAIN)
			return;
		xe_assert(r > 0);
		e->sent += (uint64_t)r;
	}
	if (!e->shut) {
		e->shut = true;
		xe_assert(xe_tcp_shutdown(n->t[side], e->sock, n->now) == 0);
	}
}

static void pump_in(struct net *n, int side, struct end *e, uint64_t peer_total)
{
	uint8_t buf[4096];
	size_t budget = e->chunk;

	while (!e->eof && budget > 0) {
		size_t want = budget < sizeof(buf) ? budget : sizeof(buf);
		long r = xe_tcp_recv(n->t[side], e->sock, buf, want, n->now);

		if (r == -EAGAIN)
			return;
		xe_assert(r >= 0);
		if (r == 0) {
			e->eof = true;
			xe_assert(e->got == peer_total);
		}
		for (long i = 0; i < r; i++)
			xe_assert(buf[i] == byte_at(!side, e->got + (uint64_t)i));
		e->got += (uint64_t)r;
		budget -= (size_t)r;
	}
}

static int open_pair(struct net *n, int *listener)
{
	int s;

	*listener = xe_tcp_listen(n->t[1], PORT, 4);
	xe_assert(*listener >= 0);
	s = xe_tcp_connect(n->t[0], B_ADDR, PORT, 0, n->now);
	xe_assert(s >= 0);
	return s;
}

static int wait_accept(struct net *n, int listener)
{
	int b;

	while ((b = xe_tcp_accept(n->t[1], listener)) == -EAGAIN)
		xe_assert(step(n, n->now + 30 * XE_SECOND));
	xe_assert(b >= 0);
	return b;
}

/* Full duplex over `lc`; readers read `chunk` bytes every `pause` (0: always). */
static xe_ns transfer(const struct xe_tcp_config *ca, const struct xe_tcp_config *cb,
		      const struct xe_link_config *lc, uint64_t seed, uint64_t total, size_t chunk,
		      xe_ns pause, const uint32_t *isn)
{
	struct net *n = net_new(ca, cb, lc, seed);
	struct end e[2] = {{.total = total, .chunk = chunk}, {.total = total, .chunk = chunk}};
	xe_ns start = n->now, limit = n->now + 3600 * XE_SECOND, next_read = n->now, took;
	int listener;

	for (int i = 0; isn && i < 2; i++) {
		n->t[i]->test_isn_set = true;
		n->t[i]->test_isn = isn[i];
	}
	e[0].sock = open_pair(n, &listener);
	e[1].sock = wait_accept(n, listener);
	while (xe_tcp_connected(n->t[0], e[0].sock) == -EINPROGRESS)
		xe_assert(step(n, limit));
	while (!e[0].eof || !e[1].eof) {
		for (int i = 0; i < 2; i++)
			pump_out(n, i, &e[i]);
		if (n->now >= next_read) {
			for (int i = 0; i < 2; i++)
				pump_in(n, i, &e[i], total);
			if (pause)
				next_read = n->now + pause;
		}
		if (!step(n, pause && next_read < limit ? next_read : limit))
			xe_assert(n->now < limit);
	}
	took = n->now - start;
	for (int i = 0; i < 2; i++)
		xe_assert(xe_tcp_close(n->t[i], e[i].sock, n->now) == 0);
	xe_assert(xe_tcp_close(n->t[0], e[0].sock, n->now) == -EBADF);
	run(n, 1000 * XE_SECOND);
	xe_assert(n->t[0]->nfree == n->t[0]->cfg.max_socks); /* all gone but the listener */
	xe_assert(n->t[1]->nfree == n->t[1]->cfg.max_socks - 1);
	xe_assert(xe_tcp_poll_at(n->t[0]) == XE_NEVER && xe_tcp_poll_at(n->t[1]) == XE_NEVER);
	net_free(n);
	return took;
}

static void test_bad_links(void)
{
	struct xe_link_config lc = {.bits_per_second = 100000000,
				    .delay = 2 * XE_MS,
				    .loss_ppm = 30000,
				    .reorder_ppm = 20000,
				    .duplicate_ppm = 20000};

	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct xe_tcp_config a = {.max_socks = 16, .seed = seed};
		struct xe_tcp_config b = {.max_socks = 16, .seed = seed + 9999};
		uint32_t isn[2] = {0u - (uint32_t)(seed * 997), 0u - (uint32_t)(seed * 1231)};

		a.no_timestamps = seed % 5 == 1;
		b.no_wscale = seed % 7 == 1;
		if (seed % 4 == 0)
			a.rcv_buf = 16384;
		xe_assert(transfer(&a, &b, &lc, seed, 256 << 10, SIZE_MAX, 0,
				   seed % 2 ? isn : NULL) < 300 * XE_SECOND);
	}
	lc.loss_ppm = 200000; /* very bad */
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct xe_tcp_config a = {.max_socks = 16, .seed = seed};

		transfer(&a, &a, &lc, seed, 32 << 10, SIZE_MAX, 0, NULL);
	}
}

static void test_slow_reader(void)
{
	static const uint32_t sizes[] = {256, 1024, 4096, 65536, 131072};
	struct xe_link_config lc = {.bits_per_second = 1000000000, .delay = XE_MS};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct xe_tcp_config c = small;

		c.rcv_buf = sizes[i];
		lc.loss_ppm = i % 2 ? 20000 : 0;
		transfer(&c, &c, &lc, i, 64 << 10, sizes[i] / 3 + 1, 50 * XE_MS, NULL);
	}
}

static void test_zero_window(void)
{
	struct net *n = net_new(&small, &small, &good, 1);
	static uint8_t buf[65536];
	int listener, a = open_pair(n, &listener), b = wait_accept(n, listener);
	struct xe_tcp_info info;
	uint64_t tx;

	run(n, 10 * XE_MS);
	xe_assert(xe_tcp_send(n->t[0], a, buf, sizeof(buf), n->now) == sizeof(buf));
	run(n, XE_SECOND);
	xe_assert(xe_tcp_send(n->t[0], a, buf, 30000, n->now) == 30000);
	tx = n->t[0]->count.tx;
	run(n, 1000 * XE_SECOND); /* probes, answered: no time-out */
	xe_assert(n->t[0]->count.tx - tx > 10 && n->t[0]->count.tx - tx < 60);
	xe_assert(xe_tcp_info(n->t[0], a, &info) == 0 && info.state == XE_TCP_ESTABLISHED);
	xe_assert(info.snd_queued > 0);
	xe_assert(xe_tcp_recv(n->t[1], b, buf, sizeof(buf), n->now) > 60000);
	run(n, 70 * XE_SECOND);
	xe_assert(xe_tcp_info(n->t[0], a, &info) == 0 && info.snd_queued == 0);
	/* A dead peer: */
	n->link[0].cfg.loss_ppm = 1000000;
	xe_assert(xe_tcp_send(n->t[0], a, buf, 100, n->now) == 100);
	run(n, 3000 * XE_SECOND);
	xe_assert(xe_tcp_send(n->t[0], a, buf, 100, n->now) == -ETIMEDOUT);
	xe_assert(xe_tcp_poll(n->t[0], a) & XE_HANGUP);
	net_free(n);
}

static void test_ports(void)
{
	struct net *n = net_new(&small, &small, &good, 1);
	int l = xe_tcp_listen(n->t[1], PORT, 2), s[4], b;
	struct xe_tcp_info info;

	xe_assert(xe_tcp_listen(n->t[1], PORT, 2) == -EADDRINUSE);
	s[0] = xe_tcp_connect(n->t[0], B_ADDR, PORT + 1, 0, n->now);
	run(n, XE_SECOND);
	xe_assert(xe_tcp_connected(n->t[0], s[0]) == -ECONNREFUSED);
	xe_assert(xe_tcp_close(n->t[0], s[0], n->now) == 0);
	for (int i = 0; i < 3; i++)
		s[i] = xe_tcp_connect(n->t[0], B_ADDR, PORT, (uint16_t)(1000 + i), n->now);
	xe_assert(xe_tcp_connect(n->t[0], B_ADDR, PORT, 1000, n->now) == -EADDRINUSE);
	run(n, 100 * XE_MS);
	xe_assert(xe_tcp_connected(n->t[0], s[0]) == 0 && xe_tcp_connected(n->t[0], s[1]) == 0);
	xe_assert(xe_tcp_connected(n->t[0], s[2]) == -EINPROGRESS);
	xe_assert(n->t[1]->count.backlog_drops == 1);
	b = xe_tcp_accept(n->t[1], l);
	xe_assert(b >= 0);
	run(n, 5 * XE_SECOND);
	xe_assert(xe_tcp_connected(n->t[0], s[2]) == 0);
	xe_assert(xe_tcp_close(n->t[1], l, n->now) == 0); /* resets the two not accepted */
	run(n, XE_SECOND);
	xe_assert(xe_tcp_connected(n->t[0], s[0]) == 0);
	xe_assert(xe_tcp_connected(n->t[0], s[1]) == -ECONNRESET);
	xe_assert(xe_tcp_connected(n->t[0], s[2]) == -ECONNRESET);
	xe_assert(xe_tcp_abort(n->t[1], b, n->now) == 0);
	xe_assert(xe_tcp_info(n->t[1], b, &info) == -EBADF);
	run(n, XE_SECOND);
	xe_assert(xe_tcp_recv(n->t[0], s[0], &info, 1, n->now) == -ECONNRESET);
	xe_assert(n->t[1]->nfree == 16);
	/* nobody there: SYN, 6 retransmissions, time-out */
	n->link[0].cfg.loss_ppm = 1000000;
	s[3] = xe_tcp_connect(n->t[0], B_ADDR, PORT, 0, n->now);
	run(n, 122 * XE_SECOND); /* 1 + 2 + 4 + 8 + 16 + 32 + 60 s */
	xe_assert(xe_tcp_connected(n->t[0], s[3]) == -EINPROGRESS);
	run(n, 2 * XE_SECOND);
	xe_assert(xe_tcp_connected(n->t[0], s[3]) == -ETIMEDOUT);
	net_free(n);
}

static void test_simultaneous(void)
{
	struct net *n = net_new(&small, &small, &good, 1);
	struct xe_tcp_info info;
	char c = 'x';
	int s[2];

	s[0] = xe_tcp_connect(n->t[0], B_ADDR, 2000, 1000, n->now);
	s[1] = xe_tcp_connect(n->t[1], A_ADDR, 1000, 2000, n->now);
	run(n, XE_SECOND);
	for (int i = 0; i < 2; i++) {
		xe_assert(xe_tcp_connected(n->t[i], s[i]) == 0);
		xe_assert(xe_tcp_send(n->t[i], s[i], &c, 1, n->now) == 1);
	}
	run(n, XE_SECOND);
	for (int i = 0; i < 2; i++) {
		xe_assert(xe_tcp_recv(n->t[i], s[i], &c, 1, n->now) == 1);
		xe_assert(xe_tcp_shutdown(n->t[i], s[i], n->now) == 0);
	}
	run(n, XE_SECOND);
	for (int i = 0; i < 2; i++) {
		xe_assert(xe_tcp_info(n->t[i], s[i], &info) == 0);
		xe_assert(info.state == XE_TCP_TIME_WAIT);
		xe_assert(xe_tcp_recv(n->t[i], s[i], &c, 1, n->now) == 0);
		xe_assert(xe_tcp_send(n->t[i], s[i], &c, 1, n->now) == -EPIPE);
		xe_assert(xe_tcp_close(n->t[i], s[i], n->now) == 0);
	}
	run(n, 100 * XE_SECOND);
	xe_assert(n->t[0]->nfree == 16 && n->t[1]->nfree == 16);
	net_free(n);
}

/* TIME_WAIT sockets are recycled, and their 4-tuple taken again by a new SYN. */
static void test_time_wait(void)
{
	struct net *n = net_new(&small, &small, &good, 1);
	int l = xe_tcp_listen(n->t[1], PORT, 4), a, b;

	for (int i = 0; i < 100; i++) {
		a = xe_tcp_connect(n->t[0], B_ADDR, PORT, 1000, n->now);
		xe_assert(a >= 0);
		b = wait_accept(n, l);
		run(n, 10 * XE_MS);
		xe_assert(xe_tcp_close(n->t[1], b, n->now) == 0);
		run(n, 10 * XE_MS);
		xe_assert(xe_tcp_close(n->t[0], a, n->now) == 0);
		run(n, 100 * XE_MS);
	}
	xe_assert(n->t[1]->nfree == 14); /* the listener and one TIME_WAIT */
	for (int i = 0; i < 100; i++) {
		a = xe_tcp_connect(n->t[0], B_ADDR, PORT, 0, n->now);
		xe_assert(a >= 0);
		b = wait_accept(n, l);
		run(n, 10 * XE_MS);
		xe_assert(xe_tcp_close(n->t[0], a, n->now) == 0);
		run(n, 10 * XE_MS);
		xe_assert(xe_tcp_close(n->t[1], b, n->now) == 0);
		run(n, 100 * XE_MS);
	}
	net_free(n);
}

/* Segments made by hand for the stack n->t[0], from a peer that is not there. */
struct peer {
	struct net *n;
	struct xe_segment seg; /* template of the next segment */
	struct xe_packet got;  /* last segment of the stack */
	uint8_t buf[1500];
	int sock;
};

static bool peer_get(struct peer *p)
{
	size_t len = xe_tcp_dispatch(p->n->t[0], p->buf, sizeof(p->buf), p->n->now);

	if (len == 0)
		return false;
	xe_assert(xe_wire_parse(&p->got, p->buf, len, true) == 0);
	return true;
}

static bool peer_send(struct peer *p, uint8_t flags, uint32_t seq, const void *data, size_t n)
{
	uint8_t buf[1500];
	struct xe_segment seg = p->seg;
	size_t len;

	seg.flags = flags;
	seg.seq = seq;
	len = xe_wire_build(buf, sizeof(buf), &seg, data, n);
	xe_tcp_input(p->n->t[0], buf, len, false, p->n->now);
	return peer_get(p);
}

static void peer_open(struct peer *p)
{
	struct xe_tcp_config c = small;

	memset(p, 0, sizeof(*p));
	c.rcv_buf = 32768;
	p->n = net_new(&c, &c, &good, 1);
	p->sock = xe_tcp_connect(p->n->t[0], B_ADDR, PORT, 0, p->n->now);
	xe_assert(peer_get(p) && p->got.seg.flags == XE_SYN);
	xe_assert(!p->got.seg.opt.sack_permitted && p->got.seg.opt.mss == 1460);
	p->seg = (struct xe_segment){
		.saddr = B_ADDR,
		.daddr = A_ADDR,
		.sport = PORT,
		.dport = p->got.seg.sport,
		.ack = p->got.seg.seq + 1,
		.window = 60000,
		.opt = {.mss = 1460, .has_ts = true, .tsval = 1000, .tsecr = p->got.seg.opt.tsval}};
	xe_assert(peer_send(p, XE_SYN | XE_ACK, 4999, NULL, 0));
	xe_assert(p->got.seg.flags == XE_ACK && p->got.seg.ack == 5000);
	xe_assert(!peer_get(p));
}

static bool peer_is_open(struct peer *p)
{
	return xe_tcp_connected(p->n->t[0], p->sock) == 0;
}

static void test_challenges(void)
{
	struct peer p;
	const struct xe_tcp_counters *c;

	peer_open(&p);
	c = xe_tcp_counters(p.n->t[0]);
	xe_assert(peer_send(&p, XE_RST, 5001, NULL, 0) && peer_is_open(&p));
	xe_assert(p.got.seg.flags == XE_ACK && c->challenge_acks == 1);
	xe_assert(!peer_send(&p, XE_RST, 5000 + 32768, NULL, 0) && peer_is_open(&p));
	xe_assert(!peer_send(&p, XE_RST, 4999, NULL, 0) && peer_is_open(&p));
	xe_assert(peer_send(&p, XE_SYN, 5001, NULL, 0) && peer_is_open(&p));
	xe_assert(p.got.seg.flags == XE_ACK && c->challenge_acks == 2);
	xe_assert(peer_send(&p, XE_SYN, 99, NULL, 0) && peer_is_open(&p));
	p.seg.ack += 1; /* of data never sent */
	xe_assert(peer_send(&p, XE_ACK, 5000, "x", 1) && p.got.seg.ack == 5000);
	p.seg.ack -= 1;
	p.seg.opt.tsval = 999; /* PAWS */
	xe_assert(peer_send(&p, XE_ACK, 5000, "x", 1) && p.got.seg.ack == 5000);
	xe_assert(c->paws == 1);
	p.seg.opt.tsval = 1001;
	for (int i = 0; i < 100; i++)
		peer_send(&p, XE_RST, 5001, NULL, 0);
	xe_assert(c->challenge_acks == XE_TCP_CHALLENGES);
	xe_assert(!peer_send(&p, XE_RST, 5000, NULL, 0) && !peer_is_open(&p));
	xe_assert(xe_tcp_connected(p.n->t[0], p.sock) == -ECONNRESET);
	xe_assert(peer_send(&p, XE_ACK, 5000, NULL, 0)); /* no such connection now */
	xe_assert(p.got.seg.flags == XE_RST && p.got.seg.seq == p.seg.ack);
	net_free(p.n);
}

static void test_reassembly(void)
{
	struct peer p;
	char buf[64];
	static uint8_t big[1400];

	peer_open(&p);
	xe_assert(peer_send(&p, XE_ACK, 5004, "EFGH", 4) && p.got.seg.ack == 5000);
	xe_assert(peer_send(&p, XE_ACK, 5012, "MNOP", 4) && p.got.seg.ack == 5000);
	xe_assert(peer_send(&p, XE_ACK, 5002, "cdxxxxijklyy", 12) && p.got.seg.ack == 5000);
	xe_assert(peer_send(&p, XE_ACK | XE_FIN, 5016, "QR", 2) && p.got.seg.ack == 5000);
	xe_assert(peer_send(&p, XE_ACK, 5018, "beyond", 6) && p.got.seg.ack == 5000);
	xe_assert(peer_send(&p, XE_ACK, 5000, "abzz", 4) && p.got.seg.ack == 5019);
	xe_assert(xe_tcp_recv(p.n->t[0], p.sock, buf, 64, p.n->now) == 18);
	xe_assert(memcmp(buf, "abcdEFGHijklMNOPQR", 18) == 0);
	xe_assert(xe_tcp_recv(p.n->t[0], p.sock, buf, 64, p.n->now) == 0);
	net_free(p.n);

	peer_open(&p); /* more holes than ranges, then everything in order */
	for (uint32_t i = 1; i < 60; i++)
		peer_send(&p, XE_ACK, 5000 + 2 * i, "y", 1);
	for (uint32_t i = 0; i < 120; i++)
		peer_send(&p, XE_ACK, 5000 + i, "y", 1);
	xe_assert(peer_send(&p, XE_ACK, 5000, "y", 1) && p.got.seg.ack == 5120);
	xe_assert(p.n->t[0]->socks[p.sock].nranges == 0);
	/* never beyond the advertised right edge, 37768 */
	for (uint32_t at = 5120; at < 50000; at += sizeof(big))
		peer_send(&p, XE_ACK, at, big, sizeof(big));
	xe_assert(peer_send(&p, XE_ACK, 5000, "y", 1) && p.got.seg.ack == 37768);
	xe_assert(p.got.seg.window == 0);
	xe_assert(!peer_send(&p, XE_RST, 37769, NULL, 0) && peer_is_open(&p));
	xe_assert(!peer_send(&p, XE_RST, 37768, NULL, 0) && !peer_is_open(&p));
	net_free(p.n);
}

/* A SYN without options gets a SYN/ACK without; a SYN again, the same again. */
static void test_passive(void)
{
	struct peer p = {0};
	uint32_t isn;

	p.n = net_new(&small, &small, &good, 1);
	xe_assert(xe_tcp_listen(p.n->t[0], PORT, 4) >= 0);
	p.seg = (struct xe_segment){
		.saddr = B_ADDR, .daddr = A_ADDR, .sport = 9, .dport = PORT, .window = 1000};
	xe_assert(peer_send(&p, XE_SYN, 100, NULL, 0));
	xe_assert(p.got.seg.flags == (XE_SYN | XE_ACK) && p.got.seg.ack == 101);
	xe_assert(!p.got.seg.opt.has_ts && !p.got.seg.opt.has_wscale);
	isn = p.got.seg.seq;
	xe_assert(peer_send(&p, XE_SYN, 100, NULL, 0) && p.got.seg.seq == isn);
	xe_assert(p.got.seg.flags == (XE_SYN | XE_ACK));
	p.seg.ack = isn + 2;
	xe_assert(peer_send(&p, XE_ACK, 101, NULL, 0) && p.got.seg.flags == XE_RST);
	p.seg.ack = isn + 1;
	xe_assert(!peer_send(&p, XE_ACK, 101, NULL, 0));
	xe_assert(xe_tcp_find(p.n->t[0], A_ADDR, PORT, B_ADDR, 9) >= 0);
	xe_assert(xe_tcp_accept(p.n->t[0], 0) >= 0);
	p.seg.daddr = A_ADDR + 5; /* another host's */
	xe_assert(!peer_send(&p, XE_SYN, 100, NULL, 0));
	net_free(p.n);
}

static void test_readiness(void)
{
	struct net *n = net_new(&small, &small, &good, 1);
	int listener, a = open_pair(n, &listener), b;
	unsigned mask;
	char c = 'x';

	xe_assert(!xe_tcp_has_ready(n->t[0]));
	run(n, XE_SECOND);
	xe_assert(xe_tcp_next_ready(n->t[0], &mask) == a && mask == XE_WRITABLE);
	xe_assert(xe_tcp_next_ready(n->t[0], &mask) == -1);
	xe_assert(xe_tcp_next_ready(n->t[1], &mask) == listener && mask == XE_READABLE);
	b = xe_tcp_accept(n->t[1], listener);
	xe_assert(xe_tcp_next_ready(n->t[1], &mask) == b && mask == XE_WRITABLE);
	for (int i = 0; i < 3; i++) {
		xe_assert(xe_tcp_send(n->t[0], a, &c, 1, n->now) == 1);
		run(n, XE_SECOND);
		xe_assert(xe_tcp_next_ready(n->t[1], &mask) == b);
		xe_assert(mask == (XE_READABLE | XE_WRITABLE));
		xe_assert(xe_tcp_recv(n->t[1], b, &c, 1, n->now) == 1);
		xe_assert(xe_tcp_recv(n->t[1], b, &c, 1, n->now) == -EAGAIN);
	}
	xe_assert(xe_tcp_send(n->t[0], a, &c, 1, n->now) == 1);
	run(n, XE_SECOND);
	xe_assert(xe_tcp_close(n->t[1], b, n->now) == 0); /* unread: RST */
	run(n, XE_SECOND);
	xe_assert(xe_tcp_next_ready(n->t[0], &mask) == a && (mask & XE_HANGUP));
	xe_assert(xe_tcp_send(n->t[0], a, &c, 1, n->now) == -ECONNRESET);
	net_free(n);
}

int main(void)
{
	test_passive();
	test_challenges();
	test_reassembly();
	test_ports();
	test_simultaneous();
	test_readiness();
	test_zero_window();
	test_time_wait();
	test_slow_reader();
	test_bad_links();
	return 0;
}
