/* North-side wrapper: what a connection's service writes, and its end; see nsw.h.
 *
 * In a replay, output below drop_line is not written again, since the client has it, but compared:
 * its CRC-32C must be SSW's. So is, in a trial, all that was sent. Output that is removed is passed
 * over, what is blind is written but not compared.
 */
#include <string.h>

#include "base/crc32c.h"
#include "net/nsw_internal.h"

static void compare(struct xe_nsw *n, struct wr_conn *c, uint64_t line, uint32_t crc)
{
	if (c->ghost || c->diverged || c->written != line || c->crc == crc || !xe_still_ours(n, c))
		return;
	c->diverged = true;
	xe_nsw_raise_flag(n, c, XE_LOG_DIVERGED);
}

/* Output that is removed counts as written as soon as what lies before it is. */
void xe_nsw_pass_over(struct xe_nsw *n, struct wr_conn *c)
{
	uint64_t at = xe_cut_skip(&c->cuts.set[XE_CUT_OUTPUT], c->written);

	if (at == c->written)
		return;
	c->written = at;
	compare(n, c, c->drop_line, c->drop_crc);
	compare(n, c, c->sent_line, c->sent_crc);
}

/* The date that the service wrote here before the fault, or, the first time, its own, recorded
 * before anybody sees it. */
void xe_nsw_date(struct xe_nsw *n, struct wr_conn *c, const uint8_t text[XE_HTTP_DATE])
{
	struct xe_log_record r;

	memcpy(c->date, text, XE_HTTP_DATE);
	c->date_left = XE_HTTP_DATE;
	if (!xe_may_record(n, c))
		return;
	while (xe_nsw_next_record(n, xe_slot_of(n, c), &c->dates, 1u << XE_RECORD_DATE, &r)) {
		if (r.out_written == c->written && r.sequence <= XE_HTTP_LAST_SECOND) {
			xe_http_format_date(c->date, (int64_t)r.sequence);
			n->dates_replayed++;
			return;
		}
	}
	r = (struct xe_log_record){.kind = XE_RECORD_DATE, .out_written = c->written};
	r.sequence = (uint64_t)xe_http_date(text);
	xe_nsw_append(n, c, &r);
	xe_nsw_cursor_to_end(n, c, &c->dates);
}

/* The next offset at which the output is compared; UINT64_MAX: it is not any more. */
static uint64_t next_line(const struct wr_conn *c)
{
	if (c->written < c->drop_line)
		return c->drop_line;
	return c->written < c->sent_line ? c->sent_line : UINT64_MAX;
}

/* Output up to the next offset that means something; how much of it. */
static size_t step(struct xe_nsw *n, struct wr_conn *c, const uint8_t *bytes, size_t n_bytes)
{
	const struct xe_cut_range *gone = xe_cut_at(&c->cuts.set[XE_CUT_OUTPUT], c->written);
	const struct xe_cut_range *blind = xe_cut_at(&c->cuts.set[XE_CUT_BLIND], c->written);
	bool within = blind && blind->from <= c->written;
	uint64_t end = c->written + n_bytes, line = next_line(c);
	size_t run;

	if (line < end)
		end = line;
	if (gone && gone->from < end)
		end = gone->from;
	if (blind && (within ? blind->to : blind->from) < end)
		end = within ? blind->to : blind->from;
	run = (size_t)(end - c->written);
	if (!within && line != UINT64_MAX)
		c->crc = xe_crc32c(c->crc, bytes, run);
	c->written = end;
	c->date_left -= run < c->date_left ? (uint8_t)run : c->date_left;
	compare(n, c, c->drop_line, c->drop_crc);
	compare(n, c, c->sent_line, c->sent_crc);
	xe_nsw_pass_over(n, c);
	return run;
}

static void say_written(struct xe_nsw *n, struct wr_conn *c)
{
	if (xe_still_ours(n, c))
		COMMIT(n, xe_slot_of(n, c)->out_written, c->written);
	xe_nsw_check_replayed(n, c);
}

size_t xe_nsw_drop(struct xe_nsw *n, struct wr_conn *c, const uint8_t *bytes, size_t n_bytes)
{
	size_t done = 0;

	if (!xe_nsw_can_write(c))
		return 0;
	while (done < n_bytes && c->written < c->drop_line)
		done += step(n, c, bytes + done, n_bytes - done);
	n->writes_dropped++;
	n->bytes_dropped += done;
	say_written(n, c);
	return done;
}

void xe_nsw_wrote(struct xe_nsw *n, struct wr_conn *c, const uint8_t *bytes, size_t n_bytes)
{
	size_t done = 0;

	while (done < n_bytes)
		done += step(n, c, bytes + done, n_bytes - done);
	say_written(n, c);
}

void xe_nsw_close(struct xe_nsw *n, struct wr_conn *c, bool all)
{
	struct xe_log_slot *slot;
	uint32_t flags;

	c->closed |= all;
	if (!xe_still_ours(n, c))
		return;
	slot = xe_slot_of(n, c);
	flags = XE_LOG_LOAD(slot->nsw_flags);
	if (!(flags & XE_LOG_CLOSED))
		PUT(n, slot->nsw_close_at, c->written);
	COMMIT(n, slot->nsw_flags, flags | XE_LOG_CLOSED | (all ? XE_LOG_ABORTED : 0));
}
