/* Round-trip time (RFC 6298, 7323) and NewReno congestion control (RFC 5681,
 * 6582, 3042 limited transmit, 3465 byte counting, IW10).
 *
 * Invariants: cwnd >= one segment; a retransmitted segment is never timed but
 * by its timestamp (Karn).
 * Left out: SACK, F-RTO, ECN, pacing.
 */
#include "net/tcp_internal.h"

static uint32_t max32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

void xe_cc_init(struct xe_tcp *t, struct xe_sock *s)
{
	uint32_t own = t->cfg.mss, peer = max32(s->peer_mss, 64);

	s->mss = (uint16_t)(min32(own, peer) - (s->ts_on ? XE_TCP_TS_SPACE : 0));
	s->cwnd = 10u * s->mss;
	if (s->retransmits > 0)
		s->cwnd = s->mss; /* RFC 5681 3.1: the SYN was lost */
	s->ssthresh = UINT32_MAX;
	s->rcv_mss = min32(536, own);
}

void xe_cc_sample(struct xe_tcp *t, struct xe_sock *s, xe_ns rtt)
{
	xe_ns delta, var;

	if (!s->rtt_known) {
		s->rtt_known = true;
		s->srtt = rtt;
		s->rttvar = rtt / 2;
	} else {
		delta = rtt > s->srtt ? rtt - s->srtt : s->srtt - rtt;
		s->rttvar = (3 * s->rttvar + delta) / 4;
		s->srtt = (7 * s->srtt + rtt) / 8;
	}
	var = 4 * s->rttvar > XE_MS ? 4 * s->rttvar : XE_MS;
	s->rto = s->srtt + var;
	if (s->rto < t->cfg.rto_min)
		s->rto = t->cfg.rto_min;
	if (s->rto > XE_TCP_RTO_MAX)
		s->rto = XE_TCP_RTO_MAX;
}

xe_ns xe_cc_rto(const struct xe_sock *s)
{
	xe_ns rto = s->rto << min32(s->backoff, 16);

	return rto < XE_TCP_RTO_MAX ? rto : XE_TCP_RTO_MAX;
}

/* New data went out up to snd_max. */
void xe_cc_sent(struct xe_sock *s, xe_ns now)
{
	if (s->rtt_active)
		return;
	s->rtt_active = true;
	s->rtt_seq = s->snd_max;
	s->rtt_at = now;
}

static void measure(struct xe_tcp *t, struct xe_sock *s, uint32_t ack, const struct xe_packet *p,
		    xe_ns now)
{
	uint32_t ms;

	if (s->rtt_active) {
		if (xe_seq_lt(ack, s->rtt_seq))
			return;
		s->rtt_active = false;
		xe_cc_sample(t, s, now - s->rtt_at);
	} else if (s->ts_on && p->seg.opt.has_ts && p->seg.opt.tsecr != 0) {
		ms = xe_sock_ts(s, now) - p->seg.opt.tsecr;
		if (ms <= XE_TCP_RTO_MAX / XE_MS)
			xe_cc_sample(t, s, (xe_ns)ms * XE_MS);
	}
}

static uint32_t flight(const struct xe_sock *s)
{
	return s->snd_max - s->snd_una;
}

static void grow(struct xe_tcp *t, struct xe_sock *s, uint32_t acked)
{
	if (!s->cwnd_limited || s->cwnd >= 2 * t->cfg.snd_buf)
		return;
	if (s->cwnd < s->ssthresh) {
		s->cwnd += min32(acked, 2u * s->mss);
		return;
	}
	s->ca_acked += acked;
	if (s->ca_acked >= s->cwnd) {
		s->ca_acked -= s->cwnd;
		s->cwnd += s->mss;
	}
}

static void partial_ack(struct xe_sock *s, uint32_t acked)
{
	s->rexmit_now = true;
	s->cwnd = s->cwnd > acked ? s->cwnd - acked : 0;
	if (acked >= s->mss)
		s->cwnd += s->mss;
	s->cwnd = max32(s->cwnd, s->mss);
}

/* `ack` is new; snd_una is still the old one. */
void xe_cc_ack(struct xe_tcp *t, struct xe_sock *s, uint32_t ack, const struct xe_packet *p,
	       xe_ns now)
{
	uint32_t acked = ack - s->snd_una;

	measure(t, s, ack, p, now);
	s->dup_acks = 0;
	s->backoff = 0;
	s->retries = 0;
	if (!s->in_recovery) {
		grow(t, s, acked);
	} else if (xe_seq_ge(ack, s->recover)) {
		s->in_recovery = false;
		s->ca_acked = 0;
		s->cwnd = min32(s->ssthresh, max32(s->snd_max - ack, s->mss) + s->mss);
	} else {
		partial_ack(s, acked);
	}
}

void xe_cc_dup_ack(struct xe_tcp *t, struct xe_sock *s)
{
	t->count.dup_acks++;
	if (s->in_recovery) {
		if (s->cwnd < 2 * t->cfg.snd_buf)
			s->cwnd += s->mss;
		return;
	}
	if (s->dup_acks < UINT8_MAX)
		s->dup_acks++;
	if (s->dup_acks != 3 || xe_seq_lt(s->snd_una, s->recover))
		return;
	s->ssthresh = max32(flight(s) / 2, 2u * s->mss);
	s->cwnd = s->ssthresh + 3u * s->mss;
	s->recover = s->snd_max;
	s->in_recovery = s->first_partial = true;
	s->rexmit_now = true;
	s->rtt_active = false;
}

void xe_cc_timeout(struct xe_sock *s)
{
	if (s->backoff == 0)
		s->ssthresh = max32(flight(s) / 2, 2u * s->mss);
	s->cwnd = s->mss;
	s->ca_acked = 0;
	s->recover = s->snd_max;
	s->in_recovery = s->rexmit_now = s->rtt_active = false;
	s->dup_acks = 0;
	if (s->backoff < 32)
		s->backoff++;
}

/* What may be in flight now, with limited transmit. */
uint32_t xe_cc_window(const struct xe_sock *s)
{
	if (!s->in_recovery && s->dup_acks > 0 && s->dup_acks < 3)
		return s->cwnd + (uint32_t)s->dup_acks * s->mss;
	return s->cwnd;
}
