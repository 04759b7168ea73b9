/* Wire format under arbitrary bytes: what parses lies inside its bounds, every edit keeps the
 * checksum as right as it was and is what the next parse reads, and what was built from a
 * parsed header parses to the same values. The packet ends at the end of its allocation.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "input.h"
#include "net/wire.h"

enum edit {
	SET_SEQ,
	SET_ACK,
	SET_WINDOW,
	SET_FLAGS,
	SET_TSVAL,
	SET_TSECR,
	SET_PAYLOAD,
	STRIP,
	EDITS,
};

/* Makes both checksums right; the headers parsed without a look at them. */
static void seal(uint8_t *data, const struct xe_packet *p)
{
	size_t n = (size_t)(p->len - p->tcp);
	uint8_t pseudo[12] = {[9] = 6, [10] = (uint8_t)(n >> 8), [11] = (uint8_t)n};
	uint16_t sum;

	data[10] = data[11] = 0;
	sum = xe_wire_checksum(data, p->tcp, 0);
	data[10] = (uint8_t)(sum >> 8);
	data[11] = (uint8_t)sum;
	memcpy(pseudo, data + 12, 8);
	data[p->tcp + 16] = data[p->tcp + 17] = 0;
	sum = (uint16_t)~xe_wire_checksum(pseudo, sizeof(pseudo), 0);
	sum = xe_wire_checksum(data + p->tcp, n, sum);
	data[p->tcp + 16] = (uint8_t)(sum >> 8);
	data[p->tcp + 17] = (uint8_t)sum;
}

static void expect_bounds(const struct xe_packet *p, size_t len)
{
	xe_assert(p->len <= len && p->tcp >= 20 && p->payload >= p->tcp + 20);
	xe_assert(p->payload + p->payload_len == p->len);
	if (p->seg.opt.has_ts)
		xe_assert(p->ts >= p->tcp + 22 && p->ts + 8 <= p->payload);
	else
		xe_assert(p->ts == 0);
	xe_assert(p->seg.opt.wscale <= 14);
}

static void expect_same(const struct xe_packet *a, const struct xe_packet *b)
{
	const struct xe_tcp_options *x = &a->seg.opt, *y = &b->seg.opt;

	xe_assert(a->len == b->len && a->payload == b->payload && a->ts == b->ts);
	xe_assert(a->seg.saddr == b->seg.saddr && a->seg.daddr == b->seg.daddr);
	xe_assert(a->seg.sport == b->seg.sport && a->seg.dport == b->seg.dport);
	xe_assert(a->seg.seq == b->seg.seq && a->seg.ack == b->seg.ack);
	xe_assert(a->seg.flags == b->seg.flags && a->seg.window == b->seg.window);
	xe_assert(x->has_ts == y->has_ts && x->tsval == y->tsval && x->tsecr == y->tsecr);
}

static void edit(struct input *in, struct xe_packet *p, enum edit what)
{
	uint32_t value = input32(in);
	uint8_t bytes[64];
	size_t at, n;

	switch (what) {
	case SET_SEQ:
		xe_wire_set_seq(p, value);
		break;
	case SET_ACK:
		xe_wire_set_ack(p, value);
		break;
	case SET_WINDOW:
		xe_wire_set_window(p, (uint16_t)value);
		break;
	case SET_FLAGS: /* SYN decides which options are read: it stays */
		xe_wire_set_flags(p,
				  (uint8_t)((value & ~(uint32_t)XE_SYN) | (p->seg.flags & XE_SYN)));
		break;
	case SET_TSVAL:
		xe_wire_set_tsval(p, value);
		break;
	case SET_TSECR:
		xe_wire_set_tsecr(p, value);
		break;
	case SET_PAYLOAD:
		at = p->payload_len ? value % p->payload_len : 0;
		n = (value >> 16) % (sizeof(bytes) + 1);
		n = n < p->payload_len - at ? n : p->payload_len - at;
		memset(bytes, (int)(value >> 8), sizeof(bytes));
		xe_wire_set_payload(p, at, bytes, n);
		xe_assert(n == 0 || memcmp(p->data + p->payload + at, bytes, n) == 0);
		break;
	default:
		xe_wire_strip_syn_options(p, value & 1);
		if (p->seg.flags & XE_SYN)
			xe_assert((p->seg.flags & 0xc0) == 0);
	}
}

/* One parse and all edits; `right`: the checksum was, and has to stay so. */
static void exercise(struct input edits, uint8_t *data, size_t len, bool right)
{
	struct xe_packet p, again;

	xe_assert(xe_wire_parse(&p, data, len, right) == 0);
	expect_bounds(&p, len);
	for (int i = 0; i < 4; i++) {
		edit(&edits, &p, (enum edit)(input8(&edits) % EDITS));
		xe_assert(xe_wire_parse(&again, data, len, right) == 0);
		expect_bounds(&again, len);
		expect_same(&p, &again);
	}
}

/* What was read from a header is written and read again. */
static void rebuild(const struct xe_packet *p)
{
	size_t want = xe_wire_header_len(&p->seg) + p->payload_len, len;
	uint8_t *buf = malloc(want);
	struct xe_packet again;

	xe_assert(buf && xe_wire_build(buf, want - 1, &p->seg, NULL, p->payload_len) == 0);
	len = xe_wire_build(buf, want, &p->seg, p->data + p->payload, p->payload_len);
	if (want > UINT16_MAX) {
		xe_assert(len == 0);
		free(buf);
		return;
	}
	xe_assert(len == want && xe_wire_parse(&again, buf, len, true) == 0);
	xe_assert(again.seg.seq == p->seg.seq && again.seg.ack == p->seg.ack);
	xe_assert(again.seg.flags == p->seg.flags && again.seg.window == p->seg.window);
	xe_assert(memcmp(&again.seg.opt, &p->seg.opt, sizeof(again.seg.opt)) == 0);
	xe_assert(again.payload_len == p->payload_len);
	if (p->payload_len)
		xe_assert(memcmp(buf + again.payload, p->data + p->payload, p->payload_len) == 0);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = {bytes, bytes + size}, edits;
	uint8_t header[16] = {0}, *data;
	size_t len, n = input_bytes(&in, header, sizeof(header));
	struct xe_packet p;

	edits = (struct input){header, header + n};
	len = (size_t)(in.end - in.at);
	data = malloc(len ? len : 1);
	xe_assert(data);
	if (len > 0)
		memcpy(data, in.at, len);
	if (xe_wire_parse(&p, data, len, false) == 0) {
		bool right = xe_wire_parse(&p, data, len, true) == 0;

		expect_bounds(&p, len);
		rebuild(&p);
		exercise(edits, data, len, right);
		xe_assert(xe_wire_parse(&p, data, len, false) == 0);
		seal(data, &p);
		exercise(edits, data, len, true);
	} else {
		xe_assert(xe_wire_parse(&p, data, len, true) == -EINVAL);
	}
	free(data);
	return 0;
}
