/* South-side wrapper, output check: what a replaying service writes is what the client has.
 *
 * Of the output that the client acked a CRC-32C is kept, of what is under way a copy, in
 * blocks of the log. After a recovery NSW compares the CRC of what it drops with ours; here
 * the new TCP's bytes are compared with the copy, and nothing newer leaves before all of it
 * was seen again. So a service that answers differently costs its connection, never a wrong
 * byte. What was removed is not in the CRC (ssw_trim.c). Invariant: the copy holds [crc_at, sent_max), crc_at <= peer_acked; while bytes wait
 * for their comparison, crc_at <= verified.
 */
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "net/ssw_internal.h"

static void fold(struct xe_ssw *s, struct xe_conn *c, uint64_t upto)
{
	while (c->crc_at < upto) {
		size_t n = (size_t)(upto - c->crc_at);
		const uint8_t *bytes = xe_stream_peek(&s->pool, &c->out, c->crc_at, &n);

		c->out_crc = xe_crc32c(c->out_crc, bytes, n);
		c->crc_at += n;
		c->out_kept += n;
	}
}

static void advance(struct xe_ssw *s, struct xe_conn *c, uint64_t upto)
{
	uint64_t mark;

	while (c->wr->sessions && (mark = xe_ssw_pass_marks(s, c)) < upto)
		fold(s, c, mark);
	fold(s, c, upto);
	xe_stream_trim(&s->pool, &c->out, c->crc_at, c->sent_max);
}

void xe_ssw_output_acked(struct xe_ssw *s, struct xe_conn *c)
{
	uint64_t upto = c->peer_acked;

	if (c->unprotected)
		return;
	if (c->verified < c->check_line && upto > c->verified)
		upto = c->verified;
	if (upto > c->crc_at)
		advance(s, c, upto);
}

uint32_t xe_ssw_output_crc(struct xe_ssw *s, struct xe_conn *c)
{
	uint32_t crc = c->out_crc;
	uint64_t at = c->crc_at;

	while (at < c->sent_max) {
		size_t n = (size_t)(c->sent_max - at);
		const uint8_t *bytes = xe_stream_peek(&s->pool, &c->out, at, &n);

		crc = xe_crc32c(crc, bytes, n);
		at += n;
	}
	return crc;
}

void xe_ssw_output_freeze(struct xe_ssw *s, struct xe_conn *c)
{
	c->verified = c->check_line = 0;
	xe_ssw_output_acked(s, c);
}

/* The first offset of [from, to) at which the payload that begins at `start` differs from the copy;
 * `to` if none does. */
static uint64_t first_difference(struct xe_ssw *s, struct xe_conn *c, const uint8_t *payload,
				 uint64_t start, uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t n = (size_t)(to - from);
		const uint8_t *copy = xe_stream_peek(&s->pool, &c->out, from, &n);
		const uint8_t *now = payload + (from - start);

		if (memcmp(copy, now, n) != 0) {
			while (*copy++ == *now++)
				from++;
			return from;
		}
		from += n;
	}
	return to;
}

enum xe_verdict xe_ssw_output_check(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
				    uint64_t start, xe_ns now)
{
	uint64_t end = start + p->payload_len;
	uint64_t from = start > c->crc_at ? start : c->crc_at;
	uint64_t to = end < c->check_line ? end : c->check_line;

	if (c->verified >= c->check_line)
		return XE_PASS;
	if (start > c->verified) /* a packet before it did not pass: TCP sends that again */
		return p->payload_len || (p->seg.flags & XE_FIN) ? XE_DROP : XE_PASS;
	if (from < to) {
		uint64_t at = first_difference(s, c, p->data + p->payload, start, from, to);

		if (at < to) {
			xe_ssw_diverged(s, c, at, now);
			return XE_DROP;
		}
	}
	if (to > c->verified) {
		c->verified = to;
		xe_ssw_output_acked(s, c);
	}
	return XE_PASS;
}

int xe_ssw_output_keep(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
		       uint64_t start)
{
	uint64_t end = start + p->payload_len;

	xe_assert(start <= c->sent_max && end > c->sent_max);
	if (xe_stream_reserve(&s->pool, &c->out, end, NULL))
		return -1;
	xe_stream_write(&s->pool, &c->out, c->sent_max,
			p->data + p->payload + (c->sent_max - start), (size_t)(end - c->sent_max));
	return 0;
}
