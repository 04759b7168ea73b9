/* IPv4/TCP wire format: parsing, building, and edits in place.
 *
 * Invariants: a packet that parsed has header lengths and options inside its
 * bounds; a setter leaves the TCP checksum as right or as wrong as it was.
 * A sum that covers a pseudo header is never zero, so neither the full nor the
 * incremental form produces 0xffff and both agree.
 * Left out: IP options are skipped, SACK blocks are not read, URG is ignored.
 * A known option of an unexpected length counts as unknown; the first of
 * several equal options counts.
 */
#include "net/wire.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

enum {
	IP_HEADER = 20,
	TCP_HEADER = 20,
	IP_PROTO_TCP = 6,
	OPT_EOL = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_PERMITTED = 4,
	OPT_TS = 8,
	OPT_MSS_LEN = 4,
	OPT_WSCALE_LEN = 3,
	OPT_SACK_PERMITTED_LEN = 2,
	OPT_TS_LEN = 10,
	OFF_SEQ = 4,
	OFF_ACK = 8,
	OFF_FLAGS = 13,
	OFF_WINDOW = 14,
	OFF_CHECK = 16,
	WSCALE_MAX = 14,
	FLAGS_ECN = 0xc0,
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t swap16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

/* The sums of the even and the odd 32-bit words of `n` bytes, a multiple of 64, side by
 * side: no lane can overflow. One source, for any CPU and for wider registers. */
typedef uint64_t lanes __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) uint64_t sum_lanes(const uint8_t *p, size_t n)
{
	lanes even = {0}, odd = {0}, even2 = {0}, odd2 = {0}, w, w2;

	for (; n > 0; n -= 64, p += 64) {
		memcpy(&w, p, 32);
		memcpy(&w2, p + 32, 32);
		even += w & 0xffffffffu;
		odd += w >> 32;
		even2 += w2 & 0xffffffffu;
		odd2 += w2 >> 32;
	}
	even += even2;
	odd += odd2;
	even = (even & 0xffffffffu) + (even >> 32) + (odd & 0xffffffffu) + (odd >> 32);
	return even[0] + even[1] + even[2] + even[3];
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) static uint64_t sum_lanes_avx2(const uint8_t *p, size_t n)
{
	return sum_lanes(p, n);
}

static uint64_t sum_blocks(const uint8_t *p, size_t n)
{
	return __builtin_cpu_supports("avx2") ? sum_lanes_avx2(p, n) : sum_lanes(p, n);
}

#else

static uint64_t sum_blocks(const uint8_t *p, size_t n)
{
	return sum_lanes(p, n);
}

#endif

/* Folded sum of the big-endian 16-bit words of `data`, in host order. Sums in
 * native order: the one's complement sum commutes with a byte swap. */
static uint16_t sum_words(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t sum = 0, eight;
	uint32_t four;
	uint16_t two;
	size_t blocks = n & ~(size_t)63;

	if (blocks) {
		sum = sum_blocks(p, blocks);
		p += blocks;
		n -= blocks;
	}
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&eight, p, 8);
		sum += (eight & 0xffffffffu) + (eight >> 32);
	}
	if (n & 4) {
		memcpy(&four, p, 4);
		sum += four;
		p += 4;
	}
	if (n & 2) {
		memcpy(&two, p, 2);
		sum += two;
		p += 2;
	}
	if (n & 1) {
		memcpy(&two, (uint8_t[2]){*p, 0}, 2);
		sum += two;
	}
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? swap16(fold(sum)) : fold(sum);
}

uint16_t xe_wire_checksum(const void *data, size_t n, uint32_t initial)
{
	return (uint16_t)~fold((uint64_t)initial + sum_words(data, n));
}

static uint32_t pseudo_sum(const uint8_t *ip, size_t tcp_len)
{
	return (uint32_t)sum_words(ip + 12, 8) + IP_PROTO_TCP + (uint32_t)tcp_len;
}

/* Reads one option at `o` with `left` bytes to go: its length, 0 at the end of
 * the list, -1 if malformed. */
static int option_len(const uint8_t *o, size_t left)
{
	if (left == 0 || o[0] == OPT_EOL)
		return 0;
	if (o[0] == OPT_NOP)
		return 1;
	if (left < 2 || o[1] < 2 || o[1] > left)
		return -1;
	return o[1];
}

static void read_option(struct xe_packet *p, const uint8_t *o, int len)
{
	struct xe_tcp_options *opt = &p->seg.opt;
	bool syn = p->seg.flags & XE_SYN;

	if (o[0] == OPT_TS && len == OPT_TS_LEN && !opt->has_ts) {
		opt->has_ts = true;
		opt->tsval = get32(o + 2);
		opt->tsecr = get32(o + 6);
		p->ts = (uint16_t)(o + 2 - p->data);
	} else if (!syn) {
		return;
	} else if (o[0] == OPT_MSS && len == OPT_MSS_LEN && opt->mss == 0) {
		opt->mss = get16(o + 2);
	} else if (o[0] == OPT_WSCALE && len == OPT_WSCALE_LEN && !opt->has_wscale) {
		opt->has_wscale = true;
		opt->wscale = o[2] > WSCALE_MAX ? WSCALE_MAX : o[2];
	} else if (o[0] == OPT_SACK_PERMITTED && len == OPT_SACK_PERMITTED_LEN) {
		opt->sack_permitted = true;
	}
}

static int parse_options(struct xe_packet *p)
{
	const uint8_t *o = p->data + p->tcp + TCP_HEADER;
	const uint8_t *end = p->data + p->payload;

	while (o < end) {
		int len = option_len(o, (size_t)(end - o));

		if (len < 0)
			return -EINVAL;
		if (len == 0)
			break;
		if (len > 1)
			read_option(p, o, len);
		o += len;
	}
	return 0;
}

static int parse_ip(struct xe_packet *p, const uint8_t *d, size_t len)
{
	size_t header, total;

	if (len < IP_HEADER || d[0] >> 4 != 4)
		return -EINVAL;
	header = (size_t)(d[0] & 15) * 4;
	total = get16(d + 2);
	if (header < IP_HEADER || total > len || total < header + TCP_HEADER)
		return -EINVAL;
	if (d[9] != IP_PROTO_TCP || (get16(d + 6) & 0x3fff) != 0)
		return -EINVAL;
	p->len = (uint16_t)total;
	p->tcp = (uint16_t)header;
	p->seg.saddr = get32(d + 12);
	p->seg.daddr = get32(d + 16);
	return 0;
}

int xe_wire_parse(struct xe_packet *p, uint8_t *data, size_t len, bool verify)
{
	const uint8_t *h;
	size_t header;

	memset(p, 0, sizeof(*p));
	p->data = data;
	if (parse_ip(p, data, len) < 0)
		return -EINVAL;
	h = data + p->tcp;
	header = (size_t)(h[12] >> 4) * 4;
	if (header < TCP_HEADER || p->tcp + header > p->len)
		return -EINVAL;
	p->payload = (uint16_t)(p->tcp + header);
	p->payload_len = (uint16_t)(p->len - p->payload);
	p->seg.sport = get16(h);
	p->seg.dport = get16(h + 2);
	p->seg.seq = get32(h + OFF_SEQ);
	p->seg.ack = get32(h + OFF_ACK);
	p->seg.flags = h[OFF_FLAGS];
	p->seg.window = get16(h + OFF_WINDOW);
	if (header > TCP_HEADER && parse_options(p) < 0)
		return -EINVAL;
	if (!verify)
		return 0;
	if (xe_wire_checksum(data, p->tcp, 0) != 0)
		return -EBADMSG;
	if (xe_wire_checksum(h, (size_t)(p->len - p->tcp),
			     pseudo_sum(data, (size_t)(p->len - p->tcp))) != 0)
		return -EBADMSG;
	return 0;
}

static size_t options_len(const struct xe_segment *seg)
{
	const struct xe_tcp_options *o = &seg->opt;
	size_t n = o->has_ts ? 12 : 0;

	if (!(seg->flags & XE_SYN))
		return n;
	if (o->mss)
		n += 4;
	if (o->has_wscale)
		n += 4;
	if (o->sack_permitted && !o->has_ts)
		n += 4;
	return n;
}

size_t xe_wire_header_len(const struct xe_segment *seg)
{
	return IP_HEADER + TCP_HEADER + options_len(seg);
}

static uint8_t *put_syn_options(uint8_t *o, const struct xe_tcp_options *opt)
{
	if (opt->mss) {
		o[0] = OPT_MSS;
		o[1] = OPT_MSS_LEN;
		put16(o + 2, opt->mss);
		o += 4;
	}
	if (opt->has_wscale) {
		o[0] = OPT_NOP;
		o[1] = OPT_WSCALE;
		o[2] = OPT_WSCALE_LEN;
		o[3] = opt->wscale;
		o += 4;
	}
	if (opt->sack_permitted && !opt->has_ts) {
		o[0] = o[1] = OPT_NOP;
		o[2] = OPT_SACK_PERMITTED;
		o[3] = OPT_SACK_PERMITTED_LEN;
		o += 4;
	}
	return o;
}

static void put_options(uint8_t *o, const struct xe_segment *seg)
{
	const struct xe_tcp_options *opt = &seg->opt;
	bool syn = seg->flags & XE_SYN;

	if (syn)
		o = put_syn_options(o, opt);
	if (!opt->has_ts)
		return;
	if (syn && opt->sack_permitted) {
		o[0] = OPT_SACK_PERMITTED;
		o[1] = OPT_SACK_PERMITTED_LEN;
	} else {
		o[0] = o[1] = OPT_NOP;
	}
	o[2] = OPT_TS;
	o[3] = OPT_TS_LEN;
	put32(o + 4, opt->tsval);
	put32(o + 8, opt->tsecr);
}

static void put_ip(uint8_t *d, const struct xe_segment *seg, size_t total)
{
	d[0] = 0x45;
	d[1] = 0;
	put16(d + 2, (uint16_t)total);
	put16(d + 4, 0);
	put16(d + 6, 0x4000); /* don't fragment */
	d[8] = 64;
	d[9] = IP_PROTO_TCP;
	put16(d + 10, 0);
	put32(d + 12, seg->saddr);
	put32(d + 16, seg->daddr);
	put16(d + 10, xe_wire_checksum(d, IP_HEADER, 0));
}

size_t xe_wire_build(uint8_t *buf, size_t cap, const struct xe_segment *seg, const void *payload,
		     size_t n)
{
	size_t header = xe_wire_header_len(seg), total = header + n;
	uint8_t *h = buf + IP_HEADER;

	if (n > UINT16_MAX || total > UINT16_MAX || total > cap)
		return 0;
	put_ip(buf, seg, total);
	put16(h, seg->sport);
	put16(h + 2, seg->dport);
	put32(h + OFF_SEQ, seg->seq);
	put32(h + OFF_ACK, seg->ack);
	h[12] = (uint8_t)((header - IP_HEADER) / 4 << 4);
	h[OFF_FLAGS] = seg->flags;
	put16(h + OFF_WINDOW, seg->window);
	put32(h + OFF_CHECK, 0); /* and the urgent pointer */
	put_options(h + TCP_HEADER, seg);
	if (payload && n > 0)
		memcpy(buf + header, payload, n);
	put16(h + OFF_CHECK,
	      xe_wire_checksum(h, total - IP_HEADER, pseudo_sum(buf, total - IP_HEADER)));
	return total;
}

/* Overwrites `n` bytes at offset `at` of the TCP segment; RFC 1624 equation 3
 * over a range. A range at an odd offset has its words byte-swapped. */
static void edit(struct xe_packet *p, size_t at, const void *bytes, size_t n)
{
	uint8_t *h = p->data + p->tcp;
	uint16_t before, after, sum;

	xe_assert(p->tcp + at + n <= p->len);
	before = sum_words(h + at, n);
	after = sum_words(bytes, n);
	memcpy(h + at, bytes, n);
	if (at & 1) {
		before = swap16(before);
		after = swap16(after);
	}
	sum = (uint16_t)~get16(h + OFF_CHECK);
	sum = fold((uint64_t)sum + (uint16_t)~before + after);
	put16(h + OFF_CHECK, (uint16_t)~sum);
}

static void edit32(struct xe_packet *p, size_t at, uint32_t v)
{
	uint8_t b[4];

	put32(b, v);
	edit(p, at, b, sizeof(b));
}

void xe_wire_set_seq(struct xe_packet *p, uint32_t seq)
{
	edit32(p, OFF_SEQ, seq);
	p->seg.seq = seq;
}

void xe_wire_set_ack(struct xe_packet *p, uint32_t ack)
{
	edit32(p, OFF_ACK, ack);
	p->seg.ack = ack;
}

void xe_wire_set_window(struct xe_packet *p, uint16_t window)
{
	uint8_t b[2];

	put16(b, window);
	edit(p, OFF_WINDOW, b, sizeof(b));
	p->seg.window = window;
}

void xe_wire_set_flags(struct xe_packet *p, uint8_t flags)
{
	edit(p, OFF_FLAGS, &flags, 1);
	p->seg.flags = flags;
}

void xe_wire_set_tsval(struct xe_packet *p, uint32_t tsval)
{
	if (p->ts == 0)
		return;
	edit32(p, (size_t)(p->ts - p->tcp), tsval);
	p->seg.opt.tsval = tsval;
}

void xe_wire_set_tsecr(struct xe_packet *p, uint32_t tsecr)
{
	if (p->ts == 0)
		return;
	edit32(p, (size_t)(p->ts - p->tcp) + 4, tsecr);
	p->seg.opt.tsecr = tsecr;
}

void xe_wire_set_wscale(struct xe_packet *p, uint8_t wscale)
{
	const uint8_t *h = p->data + p->tcp;
	size_t at = TCP_HEADER, end = (size_t)(p->payload - p->tcp);

	while (at < end && p->seg.opt.has_wscale) {
		int len = option_len(h + at, end - at);

		xe_assert(len >= 0); /* it parsed */
		if (len == 0)
			return;
		if (h[at] == OPT_WSCALE && len == OPT_WSCALE_LEN) {
			edit(p, at + 2, &wscale, 1);
			p->seg.opt.wscale = wscale;
		}
		at += (size_t)len;
	}
}

void xe_wire_set_payload(struct xe_packet *p, size_t at, const void *bytes, size_t n)
{
	xe_assert(at <= p->payload_len && n <= p->payload_len - at);
	edit(p, (size_t)(p->payload - p->tcp) + at, bytes, n);
}

static bool keeps_option(const uint8_t *o, int len, bool keep_sack)
{
	switch (o[0]) {
	case OPT_MSS:
		return len == OPT_MSS_LEN;
	case OPT_WSCALE:
		return len == OPT_WSCALE_LEN;
	case OPT_TS:
		return len == OPT_TS_LEN;
	case OPT_SACK_PERMITTED:
		return keep_sack && len == OPT_SACK_PERMITTED_LEN;
	default:
		return len == 1;
	}
}

void xe_wire_strip_syn_options(struct xe_packet *p, bool keep_sack)
{
	const uint8_t *h = p->data + p->tcp;
	size_t at = TCP_HEADER, end = (size_t)(p->payload - p->tcp);
	uint16_t seen = 0;
	uint8_t nops[40];

	if (!(p->seg.flags & XE_SYN))
		return;
	memset(nops, OPT_NOP, sizeof(nops));
	while (at < end) {
		int len = option_len(h + at, end - at);
		uint16_t bit = h[at] < 16 && len > 1 ? (uint16_t)(1u << h[at]) : 0;

		xe_assert(len >= 0 && len <= (int)sizeof(nops)); /* it parsed */
		if (len == 0)
			break;
		if (!keeps_option(h + at, len, keep_sack) || (seen & bit))
			edit(p, at, nops, (size_t)len);
		else
			seen |= bit;
		at += (size_t)len;
	}
	if (!keep_sack)
		p->seg.opt.sack_permitted = false;
	if (p->seg.flags & FLAGS_ECN)
		xe_wire_set_flags(p, p->seg.flags & (uint8_t)~FLAGS_ECN);
}
