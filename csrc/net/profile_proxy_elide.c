/* The proxy's profile: bodies and tunnels that it hands on; see profile_proxy.h.
 *
 * Whenever another step of one is written, its bytes are elided on both connections. The source is
 * where the same body is read, so the same offset within the body.
 */
#include <errno.h>

#include "net/profile_proxy.h"

void xe_flow_begin(struct proxy_flow *f, uint64_t at, uint64_t from, uint64_t length)
{
	uint64_t step = length == WR_ALL ? PROXY_STEP : length / 4;

	if (step < PROXY_STEP)
		step = PROXY_STEP;
	if (step > PROXY_LONGEST_STEP)
		step = PROXY_LONGEST_STEP;
	*f = (struct proxy_flow){.on = length >= PROXY_STEP, .at = at, .from = from};
	f->length = length;
	f->step = (uint32_t)step;
}

size_t xe_flow_piece(const struct proxy_flow *f, uint64_t at, size_t n)
{
	uint64_t left;

	if (!f->on)
		return n;
	left = f->step - (at - f->at) % f->step;
	return n < left ? n : (size_t)left;
}

static int elide(const struct proxy_flow *f, struct wr_conn *c, struct wr_conn *source, uint64_t to)
{
	int (*range)(struct wr_conn *, uint64_t, uint64_t) =
		wr_side_of(c) == WR_CLIENT_SIDE ? as_elide_response : as_elide_request;
	int rc = range(c, f->at + f->done, f->at + to);

	return rc ? rc : range(source, f->from + f->done, f->from + to);
}

bool xe_flow_wrote(struct proxy_flow *f, struct wr_conn *c, struct wr_conn *source, uint64_t to)
{
	uint64_t passed = to - f->at;
	int rc = 0;

	if (!f->on)
		return false;
	if (!source || passed >= f->length) {
		f->on = false;
		return false;
	}
	if (passed % f->step != 0 || (f->marked && passed == f->done) || as_mark(c) != 0)
		return false;
	if (f->marked)
		rc = elide(f, c, source, passed);
	if (rc == -ENOSPC) /* with the next step */
		return true;
	f->done = passed;
	if (f->marked)
		return true;
	f->marked = true;
	return false;
}
