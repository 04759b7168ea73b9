/* Assertions on our own invariants. Never used on guest or peer input. */
#ifndef XE_BASE_ASSERT_H
#define XE_BASE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define xe_assert(cond)                                                                      \
	do {                                                                                 \
		if (!(cond)) {                                                               \
			fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, \
				#cond);                                                      \
			abort();                                                             \
		}                                                                            \
	} while (0)

#endif
