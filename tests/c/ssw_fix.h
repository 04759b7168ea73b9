/* The south-side wrapper alone, with connections either way: a line is one connection with both ends'
 * numbers. Payload is a function of the line and the offset. NSW's half of a slot is written here. */
#ifndef XE_TEST_SSW_FIX_H
#define XE_TEST_SSW_FIX_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "net/ssw_internal.h"

#define UNUSED __attribute__((unused))

enum { SERVER = 0x0a000001, CLIENT = 0x0a000101, END = 0x0a000201 };
enum { PORT = 21, EPHEMERAL = 40000, END_PORT = 8080, CLIENT_PORT = 4000 };
enum { EXTENTS = 2, OWN_WSCALE = 3, PEER_WSCALE = 2, WINDOW = 60000, PACKET = 70000 };

struct line {
	uint32_t peer;
	uint16_t local_port, peer_port;
	uint32_t peer_isn, own_isn;
	uint32_t guest_isn; /* of the TCP that has it now; its first byte is at guest_base */
	uint64_t guest_base;
	uint32_t peer_ts, own_ts;
	bool no_ts, no_wscale; /* of the TCP that has it now */
};

struct fix {
	struct xe_ssw *s;
	struct xe_log log;
	uint8_t *extent[EXTENTS];
	xe_ns now;
	struct wr wr; /* with sessions */
	const struct wr *profile[WR_PROFILES];
	uint8_t buf[PACKET];
	size_t len;
	struct xe_packet p;
};

static struct fix f;

static UNUSED void open_fix(void)
{
	memset(&f, 0, sizeof(f));
	for (int i = 0; i < EXTENTS; i++) {
		f.extent[i] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
		xe_assert(f.extent[i]);
		memset(f.extent[i], 0xa5, XE_EXTENT_SIZE);
	}
	xe_assert(xe_ssw_create(&f.s, f.extent, EXTENTS) == 0);
	xe_assert(xe_log_open(&f.log, f.extent, EXTENTS) == 0);
	wr_sessions(&f.wr);
	xe_assert(wr_plain(&f.wr) == 0);
	f.profile[WR_PROFILE_FTP] = &f.wr;
	xe_assert(xe_ssw_protect(f.s, PORT, &f.wr) == 0);
	xe_ssw_wrappers(f.s, f.profile);
	f.now = XE_SECOND;
}

static UNUSED void close_fix(void)
{
	xe_ssw_destroy(f.s);
	xe_log_close(&f.log);
	for (int i = 0; i < EXTENTS; i++)
		free(f.extent[i]);
}

/* ---- lines ---- */

static UNUSED struct line client_line(uint16_t local_port, uint16_t peer_port)
{
	return (struct line){.peer = CLIENT,
			     .local_port = local_port,
			     .peer_port = peer_port,
			     .peer_isn = 0xfffffff0u + peer_port,
			     .own_isn = 0xffffff80u + local_port,
			     .guest_isn = 0xffffff80u + local_port,
			     .peer_ts = 0xfffffff0,
			     .own_ts = 0xffffff00};
}

static UNUSED struct line server_line(uint16_t local_port)
{
	struct line l = client_line(local_port, END_PORT);

	l.peer = END;
	return l;
}

static UNUSED struct xe_conn *conn(const struct line *l)
{
	return xe_ssw_find(f.s, SERVER, l->local_port, l->peer, l->peer_port);
}

static UNUSED struct xe_log_slot *slot(const struct line *l)
{
	return xe_log_slot(&f.log, (uint32_t)(conn(l) - f.s->conn));
}

static UNUSED uint8_t byte_of(const struct line *l, uint64_t at)
{
	uint64_t x = (at + l->local_port * 31u + l->peer_port * 7919u) * 0x9e3779b97f4a7c15u;

	return (uint8_t)(x >> 56);
}

static UNUSED void fill(const struct line *l, uint64_t at, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = byte_of(l, at + i);
}

/* ---- packets ---- */

static UNUSED struct xe_segment segment_of(const struct line *l, bool in, uint8_t flags)
{
	struct xe_segment g = {.saddr = SERVER,
			       .daddr = l->peer,
			       .sport = l->local_port,
			       .dport = l->peer_port,
			       .flags = flags,
			       .window = WINDOW};

	if (in) {
		g.saddr = l->peer;
		g.daddr = SERVER;
		g.sport = l->peer_port;
		g.dport = l->local_port;
	}
	g.opt.has_ts = in || !l->no_ts;
	g.opt.tsval = in ? l->peer_ts : l->own_ts;
	g.opt.tsecr = in ? l->own_ts : l->peer_ts;
	return g;
}

static UNUSED enum xe_verdict give(const struct line *l, bool in, const struct xe_segment *g,
				   uint64_t at, size_t n)
{
	size_t head = xe_wire_header_len(g);
	enum xe_verdict v;

	fill(l, at, f.buf + head, n);
	f.len = xe_wire_build(f.buf, sizeof(f.buf), g, NULL, n);
	xe_assert(f.len > 0);
	v = in ? xe_ssw_ingress(f.s, f.buf, f.len, f.now) : xe_ssw_egress(f.s, f.buf, f.len, f.now);
	if (v == XE_PASS)
		xe_assert(xe_wire_parse(&f.p, f.buf, f.len, true) == 0);
	return v;
}

/* In offsets of both streams. */
static UNUSED enum xe_verdict in(const struct line *l, uint8_t flags, int64_t seq, int64_t ack,
				 size_t n)
{
	struct xe_segment g = segment_of(l, true, flags);

	g.seq = l->peer_isn + 1 + (uint32_t)seq;
	g.ack = l->own_isn + 1 + (uint32_t)ack;
	return give(l, true, &g, (uint64_t)seq, n);
}

static UNUSED enum xe_verdict out(const struct line *l, uint8_t flags, int64_t seq, int64_t ack,
				  size_t n)
{
	struct xe_segment g = segment_of(l, false, flags);

	g.seq = l->guest_isn + 1 + (uint32_t)(seq - (int64_t)l->guest_base);
	g.ack = l->peer_isn + 1 + (uint32_t)ack;
	return give(l, false, &g, (uint64_t)seq, n);
}

static UNUSED struct xe_segment syn_of(const struct line *l, bool in, uint8_t flags)
{
	struct xe_segment g = segment_of(l, in, flags);

	g.opt.mss = 1400;
	g.opt.has_wscale = in || !l->no_wscale;
	g.opt.wscale = in ? PEER_WSCALE : OWN_WSCALE;
	g.opt.sack_permitted = true;
	g.seq = in ? l->peer_isn : l->guest_isn;
	return g;
}

static UNUSED enum xe_verdict in_syn(const struct line *l)
{
	struct xe_segment g = syn_of(l, true, XE_SYN);

	return give(l, true, &g, 0, 0);
}

static UNUSED enum xe_verdict out_syn(const struct line *l)
{
	struct xe_segment g = syn_of(l, false, XE_SYN);

	return give(l, false, &g, 0, 0);
}

static UNUSED enum xe_verdict in_synack(const struct line *l)
{
	struct xe_segment g = syn_of(l, true, XE_SYN | XE_ACK);

	g.ack = l->own_isn + 1;
	return give(l, true, &g, 0, 0);
}

static UNUSED enum xe_verdict out_synack(const struct line *l, uint32_t ack)
{
	struct xe_segment g = syn_of(l, false, XE_SYN | XE_ACK);

	g.ack = ack;
	return give(l, false, &g, 0, 0);
}

static UNUSED void accept_line(const struct line *l)
{
	xe_assert(in_syn(l) == XE_PASS && out_synack(l, l->peer_isn + 1) == XE_PASS);
	xe_assert(in(l, XE_ACK, 0, 0, 0) == XE_PASS && conn(l)->state == XE_CONN_ESTABLISHED);
}

/* NSW names the port before the SYN. */
static UNUSED void name_port(uint16_t port, uint8_t profile)
{
	XE_LOG_COMMIT(*xe_log_port(&f.log, port), profile);
}

static UNUSED void connect_line(const struct line *l)
{
	name_port(l->local_port, WR_PROFILE_FTP);
	xe_assert(out_syn(l) == XE_PASS && in_synack(l) == XE_PASS);
	xe_assert(out(l, XE_ACK, 0, 0, 0) == XE_PASS && conn(l)->state == XE_CONN_ESTABLISHED);
}

static UNUSED size_t own_packet(enum xe_direction *to)
{
	f.len = xe_ssw_dispatch(f.s, f.buf, sizeof(f.buf), to, f.now);
	if (f.len)
		xe_assert(xe_wire_parse(&f.p, f.buf, f.len, true) == 0);
	return f.len;
}

static UNUSED void expect_own(enum xe_direction to, uint8_t flags)
{
	enum xe_direction got;

	xe_assert(own_packet(&got) > 0 && got == to && f.p.seg.flags == flags);
}

static UNUSED void expect_quiet(void)
{
	enum xe_direction to;

	xe_assert(own_packet(&to) == 0);
}

static UNUSED void drain(void)
{
	enum xe_direction to;

	while (own_packet(&to) > 0)
		;
}

/* How many of this kind there are, with this value if it is not 0; all are taken. */
static UNUSED unsigned events(uint32_t kind, uint64_t value)
{
	struct xe_ssw_event e;
	unsigned n = 0;

	while (xe_ssw_next_event(f.s, &e))
		n += e.kind == kind && (!value || e.value == value);
	return n;
}

/* ---- NSW's half ---- */

static UNUSED uint32_t generation(void)
{
	return XE_LOG_LOAD(xe_log_head(&f.log)->generation);
}

static UNUSED void name_root(const struct line *l, const struct line *root)
{
	struct xe_log_slot *s = slot(l);

	s->root = (uint32_t)(conn(root) - f.s->conn);
	s->root_incarnation = slot(root)->incarnation;
	s->nsw_incarnation = s->incarnation;
	s->nsw_generation = generation();
	atomic_store(&s->removals, XE_LOG_LOAD(s->removed));
	atomic_store(&s->marks, 0);
	atomic_store(&s->nsw_flags, XE_LOG_ACCEPTED);
}

static UNUSED void intend(const struct line *l, uint32_t flags, uint64_t at)
{
	slot(l)->nsw_close_at = at;
	atomic_store(&slot(l)->nsw_flags, XE_LOG_ACCEPTED | flags);
}

/* Both FINs, acked, the service having closed: `received` and `sent` bytes are in the streams. */
static UNUSED void finish(const struct line *l, int64_t received, int64_t sent)
{
	xe_assert(in(l, XE_FIN | XE_ACK, received, sent, 0) == XE_PASS);
	intend(l, XE_LOG_CLOSED | XE_LOG_ABORTED, (uint64_t)sent);
	xe_assert(out(l, XE_FIN | XE_ACK, sent, received + 1, 0) == XE_PASS);
	xe_assert(in(l, XE_ACK, received + 1, sent + 1, 0) == XE_PASS);
}

/* The server has got, and acked, n bytes at `at`; the other way. */
static UNUSED void receive(const struct line *l, uint64_t at, size_t n, uint64_t acked)
{
	xe_assert(in(l, XE_ACK, (int64_t)at, (int64_t)acked, n) == XE_PASS);
	xe_assert(out(l, XE_ACK, (int64_t)conn(l)->sent_max, (int64_t)(at + n), 0) == XE_PASS);
}

static UNUSED void respond(const struct line *l, uint64_t at, size_t n)
{
	int64_t received = (int64_t)conn(l)->rcv_logged;

	xe_assert(out(l, XE_ACK, (int64_t)at, received, n) == XE_PASS);
	xe_assert(in(l, XE_ACK, received, (int64_t)(at + n), 0) == XE_PASS);
}

#endif
