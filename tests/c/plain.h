/* A plain wrapper for tests. */
#ifndef XE_TEST_PLAIN_H
#define XE_TEST_PLAIN_H

#include "base/assert.h"
#include "net/ssw.h"
#include "net/wrapper.h"

static inline const struct wr *plain_wrapper(void)
{
	static struct wr plain;

	xe_assert(wr_plain(&plain) == 0); /* again is no error */
	return &plain;
}

static inline void protect_plain(struct xe_ssw *s, uint16_t port)
{
	xe_assert(xe_ssw_protect(s, port, plain_wrapper()) == 0);
}

#endif
