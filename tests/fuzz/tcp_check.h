/* The invariants of a guest TCP stack (tcp_internal.h), and its tests' initial number. */
#ifndef XE_FUZZ_TCP_CHECK_H
#define XE_FUZZ_TCP_CHECK_H

#include "net/tcp.h"

struct tcp_view {
	bool receives; /* a connection, and somebody will read what comes */
	bool fin_rcvd;
	uint32_t rcv_nxt, ranges, snd_una, snd_wnd, state;
};

/* How far a connection has come; whether there is one. */
bool tcp_view(const struct xe_tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
	      uint16_t rport, struct tcp_view *view);
void tcp_check(const struct xe_tcp *t);
void tcp_set_isn(struct xe_tcp *t, uint32_t isn);

#endif
