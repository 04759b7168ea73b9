/* The wire format: round trips, malformed packets, edits in place. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/wire.h"

static struct xe_rng rng = {1};

static size_t make(uint8_t *buf, struct xe_segment *seg, size_t n)
{
	uint8_t payload[1460];

	memset(seg, 0, sizeof(*seg));
	for (size_t i = 0; i < n; i++)
		payload[i] = (uint8_t)xe_rng_next(&rng);
	seg->saddr = (uint32_t)xe_rng_next(&rng);
	seg->daddr = (uint32_t)xe_rng_next(&rng);
	seg->sport = (uint16_t)xe_rng_next(&rng);
	seg->dport = (uint16_t)xe_rng_next(&rng);
	seg->seq = (uint32_t)xe_rng_next(&rng);
	seg->ack = (uint32_t)xe_rng_next(&rng);
	seg->window = (uint16_t)xe_rng_next(&rng);
	seg->flags = (uint8_t)(xe_rng_next(&rng) & 0xff);
	seg->opt.has_ts = xe_rng_below(&rng, 2);
	if (seg->opt.has_ts) {
		seg->opt.tsval = (uint32_t)xe_rng_next(&rng);
		seg->opt.tsecr = (uint32_t)xe_rng_next(&rng);
	}
	if (seg->flags & XE_SYN) {
		seg->opt.mss = (uint16_t)xe_rng_below(&rng, 2000);
		seg->opt.has_wscale = xe_rng_below(&rng, 2);
		seg->opt.wscale = seg->opt.has_wscale ? (uint8_t)xe_rng_below(&rng, 15) : 0;
		seg->opt.sack_permitted = xe_rng_below(&rng, 2);
	}
	return xe_wire_build(buf, 1600, seg, payload, n);
}

static void same(const struct xe_segment *a, const struct xe_segment *b)
{
	xe_assert(a->saddr == b->saddr && a->daddr == b->daddr && a->sport == b->sport);
	xe_assert(a->dport == b->dport && a->seq == b->seq && a->ack == b->ack);
	xe_assert(a->flags == b->flags && a->window == b->window);
	xe_assert(a->opt.mss == b->opt.mss && a->opt.has_wscale == b->opt.has_wscale);
	xe_assert(a->opt.wscale == b->opt.wscale && a->opt.has_ts == b->opt.has_ts);
	xe_assert(a->opt.sack_permitted == b->opt.sack_permitted);
	xe_assert(a->opt.tsval == b->opt.tsval && a->opt.tsecr == b->opt.tsecr);
}

static void recheck(const struct xe_packet *p)
{
	uint8_t copy[1600];
	struct xe_packet q;

	memcpy(copy, p->data, p->len);
	xe_assert(xe_wire_parse(&q, copy, p->len, true) == 0);
	same(&q.seg, &p->seg);
}

/* The checksum as RFC 793 says it, a word at a time. */
static uint16_t slow_sum(const uint8_t *d, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint32_t)d[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void edits(struct xe_packet *p)
{
	uint8_t bytes[64];

	xe_wire_set_seq(p, (uint32_t)xe_rng_next(&rng));
	xe_wire_set_ack(p, (uint32_t)xe_rng_next(&rng));
	xe_wire_set_window(p, (uint16_t)xe_rng_next(&rng));
	xe_wire_set_tsval(p, (uint32_t)xe_rng_next(&rng));
	xe_wire_set_tsecr(p, (uint32_t)xe_rng_next(&rng));
	recheck(p);
	xe_wire_set_seq(p, 0);
	xe_wire_set_ack(p, 0xffffffff);
	recheck(p);
	xe_wire_set_flags(p, p->seg.flags ^ (XE_PSH | XE_FIN));
	recheck(p);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)xe_rng_next(&rng);
	if (p->payload_len > 0) {
		size_t at = xe_rng_below(&rng, p->payload_len);
		size_t n = xe_rng_below(&rng, sizeof(bytes) + 1);

		if (n > p->payload_len - at)
			n = p->payload_len - at;
		xe_wire_set_payload(p, at, bytes, n);
		recheck(p);
		xe_assert(memcmp(p->data + p->payload + at, bytes, n) == 0);
	}
}

static void test_round_trip(void)
{
	uint8_t buf[1600];
	struct xe_segment seg;
	struct xe_packet p;

	for (int i = 0; i < 20000; i++) {
		size_t n = xe_rng_below(&rng, 1449), len = make(buf, &seg, n);

		xe_assert(len == xe_wire_header_len(&seg) + n);
		xe_assert(slow_sum(buf, len) == xe_wire_checksum(buf, len, 0));
		xe_assert(xe_wire_parse(&p, buf, len, true) == 0);
		same(&p.seg, &seg);
		xe_assert(p.payload_len == n);
		edits(&p);
	}
	xe_assert(xe_wire_build(buf, 39, &seg, NULL, 0) == 0);
}

static void test_truncated(void)
{
	struct xe_segment seg;
	struct xe_packet p;

	for (int i = 0; i < 50; i++) {
		uint8_t buf[1600];
		size_t len = make(buf, &seg, 10);

		for (size_t n = 0; n < len; n++) {
			uint8_t *exact = malloc(n + 1); /* so that ASan sees an overrun */

			memcpy(exact, buf, n);
			xe_assert(xe_wire_parse(&p, exact, n, true) == -EINVAL);
			free(exact);
		}
	}
}

static void test_bad(void)
{
	uint8_t buf[1600], copy[1600];
	struct xe_segment seg;
	struct xe_packet p;
	size_t len = make(buf, &seg, 100);

	for (size_t i = 0; i < len; i++) { /* every single-bit error is found */
		memcpy(copy, buf, len);
		copy[i] ^= (uint8_t)(1u << xe_rng_below(&rng, 8));
		xe_assert(xe_wire_parse(&p, copy, len, true) != 0);
	}
	memcpy(copy, buf, len);
	copy[len - 1] ^= 1;
	xe_assert(xe_wire_parse(&p, copy, len, true) == -EBADMSG);
	xe_assert(xe_wire_parse(&p, copy, len, false) == 0);
	buf[6] = 0x20;
	xe_assert(xe_wire_parse(&p, buf, len, false) == -EINVAL);
	buf[6] = 0x40;
	buf[7] = 1;
	xe_assert(xe_wire_parse(&p, buf, len, false) == -EINVAL);
	buf[7] = 0;
	buf[9] = 17;
	xe_assert(xe_wire_parse(&p, buf, len, false) == -EINVAL);
}

static void test_random_bytes(void)
{
	uint8_t buf[200];
	struct xe_packet p;

	for (int i = 0; i < 200000; i++) {
		for (size_t k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)xe_rng_next(&rng);
		buf[0] = 0x45;
		buf[2] = 0;
		buf[3] = (uint8_t)(40 + xe_rng_below(&rng, 160));
		buf[6] = buf[7] = 0;
		buf[9] = 6;
		buf[33] = 2;
		if (xe_wire_parse(&p, buf, sizeof(buf), false) == 0) {
			xe_wire_strip_syn_options(&p, false);
			xe_assert(p.payload <= p.len);
		}
	}
}

/* A SYN with these options, padded; its checksum right. */
static int with_options(uint8_t *buf, struct xe_packet *p, const uint8_t *opts, size_t n)
{
	struct xe_segment seg = {.saddr = 1,
				 .daddr = 2,
				 .sport = 3,
				 .dport = 4,
				 .flags = XE_SYN | 0xc0,
				 .opt = {.mss = 1460}};
	size_t room = (n + 3) / 4 * 4;
	uint32_t sum;

	xe_wire_build(buf, 100, &seg, NULL, 0);
	memset(buf + 40, 0, room);
	memcpy(buf + 40, opts, n);
	buf[32] = (uint8_t)((20 + room) / 4 << 4);
	buf[3] = (uint8_t)(40 + room);
	buf[10] = buf[11] = buf[36] = buf[37] = 0;
	sum = xe_wire_checksum(buf, 20, 0);
	buf[10] = (uint8_t)(sum >> 8);
	buf[11] = (uint8_t)sum;
	sum = xe_wire_checksum(buf + 20, 20 + room, 1 + 2 + 6 + 20 + (uint32_t)room);
	buf[36] = (uint8_t)(sum >> 8);
	buf[37] = (uint8_t)sum;
	return xe_wire_parse(p, buf, 40 + room, true);
}

static void test_options(void)
{
	static const uint8_t zero[] = {99, 0, 1, 1}, over[] = {8, 10, 1, 1};
	static const uint8_t cut[] = {1, 1, 1, 2}, one[] = {5, 1, 1, 1};
	static const uint8_t scale[] = {3, 3, 200, 0};
	uint8_t buf[100];
	struct xe_packet p;

	xe_assert(with_options(buf, &p, zero, 4) == -EINVAL);
	xe_assert(with_options(buf, &p, over, 4) == -EINVAL);
	xe_assert(with_options(buf, &p, cut, 4) == -EINVAL);
	xe_assert(with_options(buf, &p, one, 4) == -EINVAL);
	xe_assert(with_options(buf, &p, scale, 4) == 0 && p.seg.opt.wscale == 14);
}

static void test_strip(void)
{
	/* unknown 34 at an odd offset, SACK permitted, timestamps at an odd offset */
	static const uint8_t opts[] = {2, 4,  5, 180, 1, 34, 5, 7, 7, 7, 4, 2, 1,
				       8, 10, 1, 2,   3, 4,  5, 6, 7, 8, 3, 3, 7};
	uint8_t buf[100];
	struct xe_packet p;

	for (int keep = 0; keep < 2; keep++) {
		xe_assert(with_options(buf, &p, opts, sizeof(opts)) == 0);
		xe_assert(p.seg.opt.sack_permitted && p.seg.opt.has_ts && p.seg.opt.mss == 1460);
		xe_wire_strip_syn_options(&p, keep);
		xe_assert(p.seg.opt.sack_permitted == (bool)keep);
		xe_assert(p.seg.flags == XE_SYN);
		for (int i = 5; i < 10; i++)
			xe_assert(buf[40 + i] == 1);
		xe_assert(buf[50] == (keep ? 4 : 1));
		recheck(&p);
		xe_wire_set_tsval(&p, 0xdeadbeef);
		xe_wire_set_tsecr(&p, 0x12345678);
		recheck(&p);
	}
}

int main(void)
{
	test_round_trip();
	test_truncated();
	test_bad();
	test_random_bytes();
	test_options();
	test_strip();
	return 0;
}
