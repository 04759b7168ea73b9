/* What happens at deadlines.
 *
 * Invariants: a deadline that fired is gone or has moved to the future when its
 * handler returns, so xe_tcp_timers ends.
 * Left out: keepalive.
 */
#include <errno.h>

#include "net/tcp_internal.h"

/* The peer does not answer: SYNs, data. */
static void rexmit(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	bool syn = s->state == XE_TCP_SYN_SENT || s->state == XE_TCP_SYN_RCVD;

	if (s->retries >= (syn ? XE_TCP_SYN_RETRIES : XE_TCP_RETRIES)) {
		xe_sock_finish(t, s, ETIMEDOUT);
		return;
	}
	s->retries++;
	if (syn) {
		s->syn_now = true;
		s->backoff++;
		s->rtt_active = false;
	} else {
		xe_cc_timeout(s);
		s->snd_nxt = s->snd_una;
	}
	xe_timer_set(t, s, XE_TM_REXMIT, now + xe_cc_rto(s));
	xe_sock_want_output(t, s);
}

/* The peer's window is closed. While it answers, forever, unless nobody is left
 * to care (then `retries` is not reset). */
static void persist(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (s->retries >= XE_TCP_RETRIES) {
		if (!s->user)
			xe_sock_send_rst(t, s, now);
		xe_sock_finish(t, s, ETIMEDOUT);
		return;
	}
	s->retries++;
	if (s->backoff < 32)
		s->backoff++;
	s->probe_now = true;
	xe_timer_set(t, s, XE_TM_PERSIST, now + xe_cc_rto(s));
	xe_sock_want_output(t, s);
}

static void expire(struct xe_tcp *t, struct xe_sock *s, xe_ns now)
{
	if (s->delack_at <= now) {
		xe_timer_delack(t, s, XE_NEVER);
		s->ack_now = true;
		xe_sock_want_output(t, s);
	}
	if (s->timer_at > now)
		return;
	switch (s->timer) {
	case XE_TM_REXMIT:
		rexmit(t, s, now);
		break;
	case XE_TM_PERSIST:
		persist(t, s, now);
		break;
	case XE_TM_TIMEWAIT:
	case XE_TM_FIN2:
		xe_sock_finish(t, s, 0);
		break;
	default:
		xe_assert(!"a deadline without a timer");
	}
}

xe_ns xe_tcp_poll_at(const struct xe_tcp *t)
{
	return t->heap_len > 0 ? t->heap[0].at : XE_NEVER;
}

void xe_tcp_timers(struct xe_tcp *t, xe_ns now)
{
	while (t->heap_len > 0 && t->heap[0].at <= now)
		expire(t, &t->socks[t->heap[0].sock], now);
}
