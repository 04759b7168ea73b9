/* The guest TCP alone, against arbitrary packets and calls.
 *
 * One stack listens and connects; nobody answers but the input. After each operation the
 * stack's invariants hold, everything that it sends parses, and dispatch comes to an end.
 * Crafted segments begin as the next one of some socket's peer, so that they get far.
 */
#include <errno.h>

#include "input.h"
#include "net/tcp_internal.h"
#include "tcp_check.h"

enum { OWN = 0x0a000001, PEER = 0x0a000101, PORT = 80, SOCKS = 16, MAX_PACKET = 2048 };
enum { QUIET = 4096 }; /* packets that one event may set free */

enum operation {
	SEGMENT,
	SYN,
	GARBAGE,
	TIME,
	TIMEOUTS,
	LISTEN,
	ACCEPT,
	CONNECT,
	SEND,
	RECV,
	SHUTDOWN,
	CLOSE,
	ABORT,
	READY,
	OPERATIONS,
};

struct run {
	struct input in;
	struct xe_tcp *t;
	xe_ns now;
	uint8_t packet[MAX_PACKET];
};

static void input_packet(struct run *r, size_t len)
{
	xe_tcp_input(r->t, r->packet, len, input8(&r->in) & 1, r->now);
}

/* A segment beside what the peer of a socket would send next. */
static void segment(struct run *r)
{
	const struct xe_sock *s = &r->t->socks[input8(&r->in) % SOCKS];
	uint8_t fields = input8(&r->in);
	size_t n = fields & 1 ? input16(&r->in) % 1400 : 0;
	struct xe_segment g = {.saddr = s->raddr, .daddr = s->laddr, .sport = s->rport};
	uint8_t bytes[1400];

	g.dport = s->lport;
	g.flags = XE_ACK;
	g.seq = s->rcv_nxt;
	g.ack = s->snd_max;
	g.window = 4000;
	g.opt.has_ts = s->ts_on;
	g.opt.tsval = s->ts_recent;
	if (s->state == XE_TCP_SYN_SENT) {
		g.flags |= XE_SYN;
		g.opt = (struct xe_tcp_options){.mss = 1000, .has_wscale = true, .wscale = 3};
		g.opt.has_ts = fields & 128;
	}
	if (fields & 2)
		g.seq += input_near(&r->in);
	if (fields & 4)
		g.ack += input_near(&r->in);
	if (fields & 8)
		g.flags = input8(&r->in);
	if (fields & 16)
		g.window = input16(&r->in);
	if (fields & 32)
		g.opt.tsval += input_near(&r->in);
	if (fields & 64)
		g.opt.has_ts = !g.opt.has_ts;
	memset(bytes, (int)n, n);
	input_packet(r, xe_wire_build(r->packet, MAX_PACKET, &g, bytes, n));
}

static void syn(struct run *r)
{
	uint8_t shape = input8(&r->in);
	struct xe_segment g = {.saddr = PEER, .daddr = OWN, .dport = PORT, .flags = XE_SYN};

	g.sport = (uint16_t)(5000 + shape % 24);
	g.seq = shape & 32 ? 0xfffffff0 : input16(&r->in);
	g.window = input16(&r->in);
	g.opt.mss = shape & 64 ? input16(&r->in) : 1400;
	g.opt.has_wscale = g.opt.has_ts = shape & 128;
	g.opt.wscale = input8(&r->in) % 15;
	input_packet(r, xe_wire_build(r->packet, MAX_PACKET, &g, NULL, 0));
}

static void garbage(struct run *r)
{
	size_t n = input_bytes(&r->in, r->packet, input8(&r->in));

	input_packet(r, n);
}

static void some_time(struct run *r)
{
	static const uint32_t ms[] = {1, 40, 200, 1000, 7000, 60000, 600000, 90000000};

	r->now += ms[input8(&r->in) % 8] * XE_MS;
	xe_tcp_timers(r->t, r->now);
}

/* Deadlines one after the other, as a machine does it. */
static void timeouts(struct run *r)
{
	for (int n = input8(&r->in) % 32; n > 0; n--) {
		xe_ns at = xe_tcp_poll_at(r->t);

		if (at == XE_NEVER)
			return;
		r->now = at > r->now ? at : r->now;
		xe_tcp_timers(r->t, r->now);
		xe_assert(xe_tcp_poll_at(r->t) > r->now);
	}
}

static void receive(struct run *r, int sock)
{
	uint8_t bytes[4096];
	size_t most = input16(&r->in) % sizeof(bytes);
	struct xe_tcp_info info;
	bool known = xe_tcp_info(r->t, sock, &info) == 0;
	long n = xe_tcp_recv(r->t, sock, bytes, most, r->now);

	if (n > 0)
		xe_assert((size_t)n <= most && known && (uint32_t)n <= info.rcv_queued);
	if (n == -EAGAIN)
		xe_assert(!(xe_tcp_poll(r->t, sock) & XE_READABLE));
}

static void send_some(struct run *r, int sock)
{
	uint8_t bytes[4096];
	size_t n = input16(&r->in) % sizeof(bytes);
	long took;

	memset(bytes, (int)n, n);
	took = xe_tcp_send(r->t, sock, bytes, n, r->now);
	xe_assert(took <= (long)n);
	if (took == -EAGAIN)
		xe_assert(!(xe_tcp_poll(r->t, sock) & XE_WRITABLE));
}

static void ready(struct run *r)
{
	unsigned mask;
	int sock;

	while ((sock = xe_tcp_next_ready(r->t, &mask)) >= 0)
		xe_assert(sock < SOCKS && mask == xe_tcp_poll(r->t, sock));
}

static void operate(struct run *r, enum operation op)
{
	int sock = op < LISTEN ? -1 : input8(&r->in) % (SOCKS + 2) - 1;

	switch (op) {
	case SEGMENT:
		segment(r);
		break;
	case SYN:
		syn(r);
		break;
	case GARBAGE:
		garbage(r);
		break;
	case TIME:
		some_time(r);
		break;
	case TIMEOUTS:
		timeouts(r);
		break;
	case LISTEN:
		xe_tcp_listen(r->t, sock & 1 ? PORT : 0, sock);
		break;
	case ACCEPT:
		xe_tcp_accept(r->t, sock);
		break;
	case CONNECT:
		xe_tcp_connect(r->t, PEER, (uint16_t)(7000 + sock), 0, r->now);
		break;
	case SEND:
		send_some(r, sock);
		break;
	case RECV:
		receive(r, sock);
		break;
	case SHUTDOWN:
		xe_tcp_shutdown(r->t, sock, r->now);
		break;
	case CLOSE:
		xe_tcp_close(r->t, sock, r->now);
		break;
	case ABORT:
		xe_tcp_abort(r->t, sock, r->now);
		break;
	default:
		ready(r);
	}
}

static void output(struct run *r)
{
	struct xe_packet p;
	size_t len;
	int n = 0;

	while ((len = xe_tcp_dispatch(r->t, r->packet, MAX_PACKET, r->now)) > 0) {
		xe_assert(xe_wire_parse(&p, r->packet, len, true) == 0 && p.len == len);
		xe_assert(p.seg.saddr == OWN && p.payload_len <= r->t->cfg.mss);
		xe_assert(n++ < QUIET);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = {.in = {data, data + size}, .now = XE_SECOND};
	uint8_t shape = input8(&r.in);
	struct xe_tcp_config cfg = {.max_socks = SOCKS, .seed = 3, .mss = 1460};

	cfg.no_timestamps = shape & 1;
	cfg.no_wscale = shape & 2;
	cfg.rcv_buf = 256u << (shape >> 2 & 7) * 2;
	cfg.snd_buf = 256u << (shape >> 5 & 7) * 2;
	xe_assert(xe_tcp_create(&r.t, &cfg) == 0);
	xe_tcp_set_addr(r.t, OWN);
	tcp_set_isn(r.t, shape & 128 ? 0xffffff00 : 1000);
	xe_assert(xe_tcp_listen(r.t, PORT, 5) >= 0);
	while (input_left(&r.in)) {
		operate(&r, (enum operation)(input8(&r.in) % OPERATIONS));
		tcp_check(r.t);
		output(&r);
		tcp_check(r.t);
	}
	xe_tcp_destroy(r.t);
	return 0;
}
