/* Two TCPs that probe each other's closed window at the same time. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/tcp.h"

enum { A = 0x0a000001, B = 0x0a000101, PORT = 80, BUF = 4096, TOTAL = 20000 };

struct end {
	struct xe_tcp *t;
	int sock;
	uint32_t sent, got;
};

struct held {
	int to;
	size_t len;
	uint8_t data[2048];
};

static struct end ends[2];
static xe_ns now = XE_SECOND;

static uint8_t pattern(int from, uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) + (uint32_t)from * 91);
}

static void fill(int i)
{
	uint8_t b[512];
	long n = 1;

	while (ends[i].sent < TOTAL && n > 0) {
		uint32_t want = TOTAL - ends[i].sent;

		want = want < sizeof(b) ? want : sizeof(b);
		for (uint32_t k = 0; k < want; k++)
			b[k] = pattern(i, ends[i].sent + k);
		n = xe_tcp_send(ends[i].t, ends[i].sock, b, want, now);
		ends[i].sent += n > 0 ? (uint32_t)n : 0;
	}
}

static void drain(int i)
{
	uint8_t b[512];
	long n;

	while ((n = xe_tcp_recv(ends[i].t, ends[i].sock, b, sizeof(b), now)) > 0) {
		for (long k = 0; k < n; k++)
			xe_assert(b[k] == pattern(1 - i, ends[i].got++));
	}
}

/* What both ends send now; how many packets. */
static int collect(struct held *h, int most)
{
	int n = 0;

	for (int i = 0; i < 2; i++) {
		while (n < most && (h[n].len = xe_tcp_dispatch(ends[i].t, h[n].data,
							       sizeof(h[n].data), now)) > 0)
			h[n++].to = 1 - i;
	}
	return n;
}

static void deliver(struct held *h, int n)
{
	for (int i = 0; i < n; i++)
		xe_tcp_input(ends[h[i].to].t, h[i].data, h[i].len, false, now);
}

static xe_ns next_deadline(void)
{
	xe_ns a = xe_tcp_poll_at(ends[0].t), b = xe_tcp_poll_at(ends[1].t);

	return a < b ? a : b;
}

static void advance(xe_ns to)
{
	now = to > now ? to : now;
	for (int i = 0; i < 2; i++)
		xe_tcp_timers(ends[i].t, now);
}

int main(void)
{
	static struct held h[64], probe[64], lost[64];
	struct xe_tcp_config cfg = {
		.max_socks = 4, .snd_buf = 2 * BUF, .rcv_buf = BUF, .no_timestamps = true};
	uint64_t packets = 0;
	int n, listener;

	for (int i = 0; i < 2; i++) {
		cfg.seed = (uint64_t)i + 1;
		xe_assert(xe_tcp_create(&ends[i].t, &cfg) == 0);
		xe_tcp_set_addr(ends[i].t, i ? B : A);
	}
	listener = xe_tcp_listen(ends[0].t, PORT, 1);
	ends[1].sock = xe_tcp_connect(ends[1].t, A, PORT, 0, now);
	while ((n = collect(h, 64)) > 0)
		deliver(h, n);
	ends[0].sock = xe_tcp_accept(ends[0].t, listener);
	xe_assert(ends[0].sock >= 0);
	fill(0);
	fill(1);
	while (now < 5 * XE_SECOND) { /* both windows are closed, probes do not get in */
		while ((n = collect(h, 64)) > 0)
			deliver(h, n);
		advance(next_deadline());
	}
	while ((n = collect(h, 64)) > 0)
		deliver(h, n);
	n = 0;
	while (n < 2) { /* both probe */
		advance(next_deadline());
		n += collect(probe + n, 64 - n);
	}
	xe_assert(n == 2 && probe[0].to != probe[1].to);
	drain(0);
	drain(1);
	xe_assert(collect(lost, 64) == 2); /* both windows open, and nobody hears of it */
	deliver(probe, n);
	while (ends[0].got < TOTAL || ends[1].got < TOTAL) {
		n = collect(h, 64);
		packets += (uint64_t)n;
		xe_assert(packets < 1000 && now < 100 * XE_SECOND);
		if (n > 0)
			deliver(h, n);
		else
			advance(next_deadline());
		for (int i = 0; i < 2; i++) {
			drain(i);
			fill(i);
		}
	}
	xe_tcp_destroy(ends[0].t);
	xe_tcp_destroy(ends[1].t);
	return 0;
}
