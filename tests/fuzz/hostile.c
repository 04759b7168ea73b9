/* What a hostile peer sends and what a hostile guest does.
 *
 * A crafted segment begins as the next one that the peer would send; the input then moves
 * its fields, so that it lies a little or far beside what TCP takes. Rule 2: what TCP must
 * reject (must_reject, from the RFCs) leaves the wrapper's connection as it was. All else may
 * have changed the stream: that client's own bytes are no oracle any more.
 */
#include <stdio.h>

#include "base/assert.h"
#include "tcp_check.h"
#include "world.h"

enum {
	FIELD_SEQ = 1,
	FIELD_ACK = 2,
	FIELD_FLAGS = 4,
	FIELD_WINDOW = 8,
	FIELD_TSVAL = 16,
	FIELD_NO_TS = 32,
	FIELD_CHECKSUM = 64,
	FIELD_SYN_OPTIONS = 128,
};

struct target {
	uint32_t addr;
	uint16_t port;
	struct client *client; /* NULL: the raw peer */
	struct xe_conn *c;     /* NULL: SSW knows none */
};

static struct target choose(struct world *w)
{
	uint8_t b = input8(&w->in);
	struct target t = {.addr = b & 16 ? RAW : CLIENT};

	t.port = (uint16_t)(CLIENT_PORT + b % CLIENTS);
	t.client = client_of(w, t.addr, t.port);
	t.c = xe_ssw_find(w->ssw, SERVER, PORT, t.addr, t.port);
	return t;
}

static uint64_t next_of(const struct xe_conn *c)
{
	return c->rcv_logged + (c->fins & XE_LOG_PEER_FIN ? 1 : 0);
}

static uint64_t top_of(const struct xe_conn *c)
{
	return c->sent_max + (c->fins & XE_LOG_OWN_FIN ? 1 : 0);
}

/* The next segment of the peer, as an honest one would be. */
static struct xe_segment plausible(const struct target *t)
{
	const struct xe_conn *c = t->c;
	struct xe_segment g = {.saddr = t->addr, .daddr = SERVER, .dport = PORT, .window = 8000};

	g.sport = t->port;
	g.flags = XE_SYN;
	g.seq = 5000;
	g.opt = (struct xe_tcp_options){.mss = 1400, .has_wscale = true, .wscale = 2};
	g.opt.has_ts = true;
	g.opt.tsval = 0xfffffff0;
	if (!c || c->state == XE_CONN_SYN_SEEN || c->state == XE_CONN_FREE)
		return g;
	g.flags = XE_ACK;
	g.seq = c->peer_isn + 1 + (uint32_t)next_of(c);
	g.ack = c->own_isn + 1 + (uint32_t)top_of(c);
	g.opt.has_ts = c->options & XE_LOG_OPT_TS;
	g.opt.tsval = c->ts_recent;
	g.opt.tsecr = c->own_tsval;
	return g;
}

static void mutate(struct world *w, struct xe_segment *g, uint8_t fields)
{
	if (fields & FIELD_SEQ)
		g->seq += input_near(&w->in);
	if (fields & FIELD_ACK)
		g->ack += input_near(&w->in);
	if (fields & FIELD_FLAGS)
		g->flags = input8(&w->in);
	if (fields & FIELD_WINDOW)
		g->window = input16(&w->in);
	if (fields & FIELD_TSVAL)
		g->opt.tsval += input_near(&w->in);
	if (fields & FIELD_NO_TS)
		g->opt.has_ts = !g->opt.has_ts;
	if (fields & FIELD_SYN_OPTIONS) {
		g->opt.mss = input16(&w->in);
		g->opt.wscale = input8(&w->in) % 15;
		g->opt.has_wscale = g->opt.wscale & 1;
	}
}

/* What no TCP takes: RFC 9293 3.10.7.4, RFC 5961, RFC 7323. */
static bool must_reject(const struct xe_conn *c, const struct xe_segment *g, uint32_t n)
{
	bool fin = g->flags & XE_FIN, ts = c->options & XE_LOG_OPT_TS;
	int64_t offset = xe_conn_in_offset(c, g->seq), last = offset + n + (fin ? 1 : 0);
	int64_t ack = xe_conn_out_offset(c, g->ack), next = (int64_t)next_of(c);

	if (g->flags & XE_RST)
		return offset != next;
	if (g->flags & XE_SYN)
		return true;
	if (!(g->flags & XE_ACK) || (ts && !g->opt.has_ts))
		return true;
	if (ts && xe_seq_lt(g->opt.tsval, c->ts_recent))
		return true;
	if (ack > (int64_t)top_of(c) || ack < (int64_t)c->peer_acked - (65535ll << 14))
		return true;
	if (offset == next) /* a closed window is no reason against its ACK */
		return false;
	if (last == offset) /* one before: the answer to a probe, tcp_input.c */
		return offset < next - 1 || offset > (int64_t)c->right_edge;
	return last <= next || offset >= (int64_t)c->right_edge;
}

/* A SYN may be remembered until TCP answers it, the payload chain has a cursor. */
static void mask(struct xe_conn *c)
{
	c->has_syn = false;
	c->syn_seq = 0;
	c->syn_win = 0;
	memset(&c->syn_opt, 0, sizeof(c->syn_opt));
	c->stream.at = 0;
	c->stream.at_base = 0;
	c->stream.cursor = NULL;
}

static bool synchronised(const struct xe_conn *c)
{
	return c && (c->state == XE_CONN_ESTABLISHED || c->state == XE_CONN_SYN_RCVD);
}

/* A finding is explained: the segment beside what the connection was. */
static void explain(const struct target *t, const struct xe_conn *c, const struct packet *p)
{
	struct xe_packet view;
	struct packet copy = *p;
	int rc = xe_wire_parse(&view, copy.data, copy.len, true);

	fprintf(stderr,
		"connection %x:%u state %u attach %u options %u fins %u recovered %d: "
		"logged %llu right edge %llu ack sent %llu ranges %u; sent %llu acked %llu\n",
		t->addr, t->port, c->state, c->attach, c->options, c->fins, c->recovered,
		(unsigned long long)c->rcv_logged, (unsigned long long)c->right_edge,
		(unsigned long long)c->ack_sent, c->ranges, (unsigned long long)c->sent_max,
		(unsigned long long)c->peer_acked);
	fprintf(stderr, "segment %d: flags %x at %lld + %u, ack %lld, ts %d (%d before)\n", rc,
		view.seg.flags, (long long)xe_conn_in_offset(c, view.seg.seq), view.payload_len,
		(long long)xe_conn_out_offset(c, view.seg.ack), view.seg.opt.has_ts,
		xe_seq_diff(c->ts_recent, view.seg.opt.tsval));
}

static void check_ingress(struct world *w, struct target *t, struct packet *p, bool reject)
{
	struct xe_conn was, before, after;
	struct xe_log_slot slot;
	struct packet sent = *p;
	struct tcp_view tcp_was = {0}, tcp_is = {0};

	if (!reject) {
		if (t->client)
			t->client->tainted = true;
		world_ingress(w, p);
		return;
	}
	memcpy(&was, t->c, sizeof(was));
	memcpy(&before, t->c, sizeof(before));
	memcpy(&slot, xe_conn_slot(w->ssw, t->c), sizeof(slot));
	tell_packet("to be rejected", p->data, p->len);
	if (xe_ssw_ingress(w->ssw, p->data, p->len, w->now) == XE_DROP)
		p->len = 0;
	memcpy(&after, t->c, sizeof(after));
	mask(&before);
	mask(&after);
	if (memcmp(&before, &after, sizeof(before)) != 0) {
		explain(t, &was, &sent);
		xe_assert(!"SSW believed what no TCP believes");
	}
	xe_assert(memcmp(&slot, xe_conn_slot(w->ssw, t->c), sizeof(slot)) == 0);
	if (p->len == 0)
		return;
	if (w->up)
		tcp_view(w->server.tcp, SERVER, PORT, t->addr, t->port, &tcp_was);
	world_to_guest(w, p);
	if (w->up)
		tcp_view(w->server.tcp, SERVER, PORT, t->addr, t->port, &tcp_is);
	if (memcmp(&tcp_was, &tcp_is, sizeof(tcp_was)) != 0) {
		explain(t, &was, &sent);
		xe_assert(!"TCP believed what no TCP believes: SSW made it so");
	}
}

void hostile_segment(struct world *w)
{
	struct target t = choose(w);
	uint8_t fields = input8(&w->in), kind = input8(&w->in), fill = input8(&w->in);
	struct xe_segment g = plausible(&t);
	uint8_t bytes[1400];
	struct packet p = {.to_server = true};
	size_t n = kind & 1 ? input16(&w->in) % sizeof(bytes) : 0;
	bool reject;

	mutate(w, &g, fields);
	memset(bytes, fill, n);
	p.len = (uint16_t)xe_wire_build(p.data, PACKET, &g, bytes, n);
	xe_assert(p.len > 0);
	reject = synchronised(t.c) && must_reject(t.c, &g, (uint32_t)n);
	if (fields & FIELD_CHECKSUM) {
		p.data[kind % p.len] ^= 0x10;
		reject = synchronised(t.c);
	}
	check_ingress(w, &t, &p, reject);
}

void hostile_garbage(struct world *w)
{
	struct packet p = {.to_server = true};

	p.len = (uint16_t)input_bytes(&w->in, p.data, input8(&w->in));
	world_ingress(w, &p);
}

/* A packet that the guest's TCP did not make; it can hurt its own connection only. */
void hostile_egress(struct world *w)
{
	struct target t = choose(w);
	uint8_t fields = input8(&w->in);
	struct xe_segment g = {.saddr = SERVER, .sport = PORT, .daddr = t.addr, .window = 8000};
	uint8_t bytes[1000];
	struct packet p = {0};
	size_t n;

	g.dport = t.port;
	g.flags = XE_ACK;
	if (t.c) {
		g.seq = t.c->own_isn + 1 + (uint32_t)top_of(t.c) - t.c->delta;
		g.ack = t.c->peer_isn + 1 + (uint32_t)next_of(t.c);
		g.opt.has_ts = t.c->options & XE_LOG_OPT_TS;
		g.opt.tsval = t.c->own_tsval;
	}
	mutate(w, &g, fields);
	n = input16(&w->in) % sizeof(bytes);
	memset(bytes, (int)n, n);
	p.len = (uint16_t)xe_wire_build(p.data, PACKET, &g, bytes, n);
	if (fields & FIELD_CHECKSUM) /* lengths, options: as broken as can be */
		p.data[input8(&w->in) % p.len] ^= input8(&w->in);
	if (!w->up)
		return;
	if (t.client)
		t.client->tainted = true;
	if (t.c)
		w->forged_slot |= 1ull << xe_conn_index(w->ssw, t.c);
	tell_packet("guest forges", p.data, p.len);
	if (xe_ssw_egress(w->ssw, p.data, p.len, w->now) == XE_PASS)
		world_send(w, false, p.data, p.len);
}

/* ---- scribbles ---- */

/* Connections whose replay this kernel has begun or will begin read what it wrote. */
static void spoil_index(struct world *w)
{
	w->index_spoiled = true;
	for (int i = 0; i < CLIENTS; i++) {
		struct xe_conn *c =
			xe_ssw_find(w->ssw, SERVER, PORT, CLIENT, (uint16_t)(CLIENT_PORT + i));

		if (c && (c->recovered || c->attach != XE_LIVE))
			w->client[i].tainted = true;
	}
}

static void spoil_slot(struct world *w, uint32_t slot)
{
	struct xe_conn *c = &w->ssw->conn[slot];
	struct client *client = client_of(w, c->peer_addr, c->peer_port);

	spoil_index(w); /* its chain of the bucket, its 4-tuple */
	w->spoiled_slot |= 1ull << slot;
	if (client)
		client->tainted = true;
}

static void spoil_block(struct world *w, uint32_t block)
{
	w->spoiled_block[block / 64] |= 1ull << (block % 64);
	for (int i = 0; i < CLIENTS; i++) {
		struct xe_conn *c =
			xe_ssw_find(w->ssw, SERVER, PORT, CLIENT, (uint16_t)(CLIENT_PORT + i));
		w->client[i].tainted |= c && (world_chain_has(w, &c->stream, block) ||
					      world_chain_has(w, &c->out, block));
	}
}

static void spoil(struct world *w, uint64_t at)
{
	const struct xe_log *log = &w->ssw->log;

	if (at >= log->blocks_at)
		spoil_block(w, (uint32_t)((at - log->blocks_at) / XE_LOG_BLOCK));
	else if (at >= log->slots_at && at < log->record_links_at)
		spoil_slot(w, (uint32_t)((at - log->slots_at) / sizeof(struct xe_log_slot)));
	else
		spoil_index(w);
}

/* Mostly where something is: the first slots, records and blocks. */
static uint64_t somewhere(struct world *w)
{
	const struct xe_log *log = &w->ssw->log;
	uint8_t where = input8(&w->in);
	uint32_t i = input16(&w->in);

	switch (where % 8) {
	case 0:
		return i % sizeof(struct xe_log_header);
	case 1:
		return log->buckets_at + i % (log->slots * 4);
	case 2:
	case 3:
		return log->slots_at + i % (8 * sizeof(struct xe_log_slot));
	case 4:
		return log->record_links_at + i % (log->record_blocks * 4);
	case 5:
		return log->block_links_at + i % (log->blocks * 4);
	case 6:
		return log->records_at + i % (4 * XE_LOG_RECORD_BLOCK);
	default:
		return log->blocks_at + i;
	}
}

void hostile_scribble(struct world *w)
{
	uint64_t at = somewhere(w);
	uint8_t how = input8(&w->in), n = 1 + how % 16;

	if (!w->attached)
		return;
	for (uint8_t k = 0; k < n && at + k < XE_EXTENT_SIZE; k++) {
		spoil(w, at + k);
		w->extent[at + k] = how & 16 ? input8(&w->in) : (uint8_t)(how >> 5) - 1;
	}
}
