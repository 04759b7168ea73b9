/* The log append, memcpy, and FT-TCP's logger process; see logging.h.
 *
 * Append and memcpy differ in nothing but the log's own work: same source, same kind of
 * memory, same number of calls, same bytes walked. A pass of the append ends with the
 * stream given back to the pool, outside of the clock. Left out: checks of time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "host/memory.h"
#include "net/ssw.h"
#include "net/stream.h"
#include "net/wire.h"
#include "net/wrapper.h"

#include "logging.h"

enum {
	SOURCE = 65536, /* the largest message */
	CLIENT = 0x0a000164,
	SERVER = 0x0a000102,
	CLIENT_PORT = 40000,
	SERVER_PORT = 80,
	CLIENT_ISN = 1000,
	SERVER_ISN = 2000,
};

struct bench_log {
	struct xe_memory memory;
	uint8_t *extent[XE_MAX_EXTENTS];
	uint32_t extents;
	uint64_t walk;
	struct xe_log log;
	struct xe_block_pool pool;
	uint8_t *to; /* memcpy's destination */
	uint8_t source[SOURCE];
};

struct bench_logger {
	int fd;
	pid_t pid;
	size_t n;
	const uint8_t *source;
};

/* ---- the log ---- */

static int open_memory(struct bench_log *b)
{
	uint64_t log = (uint64_t)b->extents * XE_EXTENT_SIZE;
	int rc = xe_memory_open(&b->memory, log + b->walk, true);

	if (rc)
		return rc;
	memset(b->memory.base, 1, b->memory.bytes);
	for (uint32_t i = 0; i < b->extents; i++)
		b->extent[i] = b->memory.base + (uint64_t)i * XE_EXTENT_SIZE;
	b->to = b->memory.base + log;
	rc = xe_log_open(&b->log, b->extent, b->extents);
	if (rc)
		return rc;
	xe_log_format(&b->log);
	return xe_block_pool_init(&b->pool, &b->log);
}

struct bench_log *bench_log_open(uint64_t walk)
{
	struct bench_log *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return NULL;
	b->walk = walk;
	b->extents = (uint32_t)(walk / XE_EXTENT_SIZE + walk / XE_EXTENT_SIZE / 16 + 2);
	for (size_t i = 0; i < SOURCE; i++)
		b->source[i] = (uint8_t)(i * 31 + i / 251);
	rc = -EINVAL;
	if (walk >= SOURCE && walk % XE_LOG_BLOCK == 0 && b->extents <= XE_MAX_EXTENTS)
		rc = open_memory(b);
	if (!rc && (uint64_t)b->log.blocks * XE_LOG_BLOCK < walk)
		rc = -ENOSPC;
	if (rc) {
		bench_log_close(b);
		errno = -rc;
		return NULL;
	}
	return b;
}

void bench_log_close(struct bench_log *b)
{
	if (!b)
		return;
	xe_block_pool_fini(&b->pool);
	xe_log_close(&b->log);
	if (b->memory.base)
		xe_memory_close(&b->memory);
	free(b);
}

/* ---- what is compared ---- */

/* What SSW does for one in-order segment, in its order; csrc/net/ssw_ingress.c. */
static inline void append_one(struct bench_log *b, struct xe_stream *s, uint64_t at, size_t n)
{
	struct xe_log_slot *slot = xe_log_slot(&b->log, 0);

	if (xe_stream_reserve(&b->pool, s, at + n, slot))
		abort();
	xe_stream_write(&b->pool, s, at, b->source, n);
	XE_LOG_COMMIT(slot->rcv_logged, at + n);
	BENCH_BARRIER();
}

uint64_t bench_append(struct bench_log *b, size_t n, uint64_t passes)
{
	uint64_t spent = 0;

	for (uint64_t pass = 0; pass < passes; pass++) {
		struct xe_stream s;
		uint64_t start;

		xe_stream_init(&s);
		start = bench_now();
		for (uint64_t at = 0; at + n <= b->walk; at += n)
			append_one(b, &s, at, n);
		spent += bench_now() - start;
		xe_stream_free(&b->pool, &s);
	}
	return spent;
}

uint64_t bench_memcpy(struct bench_log *b, size_t n, uint64_t passes)
{
	uint64_t spent = 0;

	for (uint64_t pass = 0; pass < passes; pass++) {
		uint64_t start = bench_now();

		for (uint64_t at = 0; at + n <= b->walk; at += n) {
			memcpy(b->to + at, b->source, n);
			BENCH_BARRIER();
		}
		spent += bench_now() - start;
	}
	return spent;
}

int bench_append_check(struct bench_log *b, size_t n)
{
	struct xe_log_slot *slot = xe_log_slot(&b->log, 0);
	uint64_t end = b->walk / n * n, at = 0;
	struct xe_stream s;
	uint32_t block;

	xe_stream_init(&s);
	for (uint64_t i = 0; i < end; i += n)
		append_one(b, &s, i, n);
	for (block = slot->first_block; at < end; block = *xe_log_block_link(&b->log, block)) {
		const uint8_t *bytes = xe_log_block(&b->log, block);

		for (uint64_t i = 0; i < XE_LOG_BLOCK && at < end; i++, at++) {
			if (bytes[i] != b->source[at % n])
				return 1;
		}
	}
	xe_stream_free(&b->pool, &s);
	return XE_LOG_LOAD(slot->rcv_logged) != end || block != XE_LOG_NONE;
}

/* ---- the whole wrapper ---- */

static struct xe_segment from_client(uint32_t seq, uint8_t flags)
{
	return (struct xe_segment){.saddr = CLIENT,
				   .daddr = SERVER,
				   .sport = CLIENT_PORT,
				   .dport = SERVER_PORT,
				   .seq = seq,
				   .ack = SERVER_ISN + 1,
				   .flags = flags,
				   .window = 65535};
}

static struct xe_segment from_server(uint32_t seq, uint8_t flags)
{
	return (struct xe_segment){.saddr = SERVER,
				   .daddr = CLIENT,
				   .sport = SERVER_PORT,
				   .dport = CLIENT_PORT,
				   .seq = seq,
				   .ack = CLIENT_ISN + 1,
				   .flags = flags,
				   .window = 65535};
}

static bool to_guest(struct xe_ssw *s, const struct xe_segment *seg)
{
	uint8_t packet[XE_MTU];
	size_t len = xe_wire_build(packet, sizeof(packet), seg, NULL, 0);

	return xe_ssw_ingress(s, packet, len, 0) == XE_PASS;
}

static bool to_network(struct xe_ssw *s, const struct xe_segment *seg)
{
	uint8_t packet[XE_MTU];
	size_t len = xe_wire_build(packet, sizeof(packet), seg, NULL, 0);

	return xe_ssw_egress(s, packet, len, 0) == XE_PASS;
}

static bool handshake(struct xe_ssw *s)
{
	struct xe_segment syn = from_client(CLIENT_ISN, XE_SYN), synack, ack, open;

	syn.opt = (struct xe_tcp_options){.mss = XE_MTU - 40, .wscale = 14, .has_wscale = true};
	synack = from_server(SERVER_ISN, XE_SYN | XE_ACK);
	synack.opt = syn.opt;
	ack = from_client(CLIENT_ISN + 1, XE_ACK);
	open = from_server(SERVER_ISN + 1, XE_ACK); /* the window, scaled */
	return to_guest(s, &syn) && to_network(s, &synack) && to_guest(s, &ack) &&
	       to_network(s, &open);
}

static bool hang_up(struct xe_ssw *s, uint64_t received)
{
	struct xe_segment rst = from_client(CLIENT_ISN + 1 + (uint32_t)received, XE_RST);

	return to_guest(s, &rst);
}

uint64_t bench_ingress(struct bench_log *b, size_t n, uint64_t passes)
{
	struct xe_segment seg = from_client(CLIENT_ISN + 1, XE_ACK);
	uint64_t spent = 0, end = b->walk / n * n;
	uint8_t data[XE_MTU];
	struct xe_packet p;
	struct wr plain = {.port = SERVER_PORT};
	struct xe_ssw *s;
	bool ok = true;
	size_t len = xe_wire_build(data, sizeof(data), &seg, b->source, n);

	if (!len || wr_plain(&plain) || xe_wire_parse(&p, data, len, true) ||
	    xe_ssw_create(&s, b->extent, b->extents))
		return 0;
	xe_ssw_protect(s, SERVER_PORT, &plain);
	for (uint64_t pass = 0; ok && pass < passes; pass++) {
		uint64_t start;

		ok = handshake(s);
		start = bench_now();
		for (uint64_t at = 0; at < end; at += n) {
			xe_wire_set_seq(&p, CLIENT_ISN + 1 + (uint32_t)at);
			xe_ssw_ingress(s, data, len, 0);
			BENCH_BARRIER();
		}
		spent += bench_now() - start;
		ok = ok && hang_up(s, end);
	}
	ok = ok && xe_ssw_counters(s)->bytes_logged == passes * end;
	xe_ssw_destroy(s);
	xe_log_format(&b->log);
	return ok ? spent : 0;
}

/* ---- FT-TCP's way ---- */

static bool read_all(int fd, uint8_t *buf, size_t n)
{
	while (n > 0) {
		ssize_t got = read(fd, buf, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		buf += got;
		n -= (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const uint8_t *buf, size_t n)
{
	while (n > 0) {
		ssize_t put = send(fd, buf, n, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		buf += put;
		n -= (size_t)put;
	}
	return true;
}

/* The cheapest logger there can be: it knows each message's size and reads it straight into
 * its log, so no header and no second copy. */
static void serve(int fd, uint8_t *log, uint64_t walk, size_t n)
{
	uint64_t at = 0, logged = 0;

	while (read_all(fd, log + at, n)) {
		logged += n;
		if (!write_all(fd, (const uint8_t *)&logged, sizeof(logged)))
			break;
		at = at + 2 * n <= walk ? at + n : 0;
	}
}

static int unix_pair(int fd[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd);
}

static int tcp_pair(int fd[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int on = 1, rc = -1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[1] = -1;
	if (listener >= 0 && fd[0] >= 0 && !bind(listener, (struct sockaddr *)&at, len) &&
	    !listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&at, &len) &&
	    !connect(fd[0], (struct sockaddr *)&at, len)) {
		fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		rc = fd[1] < 0 || setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
		     setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	if (listener >= 0)
		close(listener);
	if (rc) {
		if (fd[0] >= 0)
			close(fd[0]);
		if (fd[1] >= 0)
			close(fd[1]);
	}
	return rc;
}

struct bench_logger *bench_logger_open(struct bench_log *b, int kind, size_t n)
{
	struct bench_logger *l = calloc(1, sizeof(*l));
	uint8_t ready;
	int fd[2];

	if (!l)
		return NULL;
	if (n > SOURCE || (kind == BENCH_TCP ? tcp_pair(fd) : unix_pair(fd))) {
		free(l);
		return NULL;
	}
	l->fd = fd[0];
	l->n = n;
	l->source = b->source;
	l->pid = fork();
	if (l->pid == 0) {
		uint8_t *log = malloc(b->walk);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fd[0]);
		if (!log)
			_exit(1);
		memset(log, 1, b->walk);
		if (write_all(fd[1], log, 1))
			serve(fd[1], log, b->walk, n);
		_exit(0);
	}
	close(fd[1]);
	if (l->pid < 0 || !read_all(l->fd, &ready, 1)) {
		bench_logger_close(l);
		return NULL;
	}
	return l;
}

void bench_logger_close(struct bench_logger *l)
{
	if (!l)
		return;
	close(l->fd);
	if (l->pid > 0) {
		kill(l->pid, SIGKILL); /* a later logger may hold a copy of our end */
		waitpid(l->pid, NULL, 0);
	}
	free(l);
}

uint64_t bench_logger_send(struct bench_logger *l, uint64_t count, uint64_t window)
{
	uint64_t start = bench_now(), acked = 0, ack;

	for (uint64_t sent = 1; sent <= count; sent++) {
		if (!write_all(l->fd, l->source, l->n))
			return 0;
		while (sent - acked >= window) {
			if (!read_all(l->fd, (uint8_t *)&ack, sizeof(ack)))
				return 0;
			acked++;
		}
	}
	for (; acked < count; acked++) {
		if (!read_all(l->fd, (uint8_t *)&ack, sizeof(ack)))
			return 0;
	}
	return bench_now() - start;
}
