/* The invariants of a guest TCP stack (tcp_internal.h), and its tests' initial number. */
#ifndef XE_FUZZ_TCP_CHECK_H
#define XE_FUZZ_TCP_CHECK_H

#include "net/tcp.h"

void tcp_check(const struct xe_tcp *t);
void tcp_set_isn(struct xe_tcp *t, uint32_t isn);

#endif
