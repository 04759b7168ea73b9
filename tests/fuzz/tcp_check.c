#include "tcp_check.h"

#include <string.h>

#include "net/tcp_internal.h"

void tcp_set_isn(struct xe_tcp *t, uint32_t isn)
{
	t->test_isn_set = true;
	t->test_isn = isn;
}

bool tcp_view(const struct xe_tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
	      uint16_t rport, struct tcp_view *view)
{
	const struct xe_sock *s = xe_hash_find(t, laddr, lport, raddr, rport);

	memset(view, 0, sizeof(*view));
	if (!s)
		return false;
	view->receives = (s->user || s->parent != XE_NIL) && s->state >= XE_TCP_ESTABLISHED &&
			 s->state <= XE_TCP_CLOSE_WAIT;
	view->fin_rcvd = s->fin_rcvd;
	view->rcv_nxt = s->rcv_nxt;
	view->ranges = s->nranges;
	view->snd_una = s->snd_una;
	view->snd_wnd = s->snd_wnd;
	view->state = s->state;
	return true;
}

static void check_send(const struct xe_tcp *t, const struct xe_sock *s)
{
	uint32_t end = xe_sock_fin_end(s);

	xe_assert(xe_seq_le(s->snd_una, s->snd_nxt) && xe_seq_le(s->snd_nxt, s->snd_max));
	if (s->state == XE_TCP_SYN_SENT || s->state == XE_TCP_SYN_RCVD)
		return;
	xe_assert(xe_seq_le(s->snd_max, end));
	xe_assert(s->snd_end - s->snd_una <= t->cfg.snd_buf || s->snd_una == s->snd_end + 1);
	xe_assert(s->mss > 0 && s->cwnd > 0);
	if (s->snd_max != s->snd_una)
		xe_assert(s->timer == XE_TM_REXMIT || s->timer == XE_TM_PERSIST);
}

static void check_receive(const struct xe_tcp *t, const struct xe_sock *s)
{
	uint32_t before = s->rcv_nxt;

	if (s->state == XE_TCP_SYN_SENT)
		return;
	xe_assert(s->rcv_nxt - s->rcv_read <= t->cfg.rcv_buf + (s->fin_rcvd ? 1 : 0));
	xe_assert(s->rcv_adv - s->rcv_read <= t->cfg.rcv_buf + 1);
	xe_assert(s->nranges <= XE_TCP_RANGES);
	for (uint32_t i = 0; i < s->nranges; i++) {
		xe_assert(xe_seq_gt(s->ranges[i].from, before));
		xe_assert(xe_seq_gt(s->ranges[i].to, s->ranges[i].from));
		xe_assert(xe_seq_le(s->ranges[i].to, s->rcv_adv));
		before = s->ranges[i].to;
	}
	if (s->fin_seen)
		xe_assert(xe_seq_ge(s->fin_seq, before) || s->fin_rcvd);
}

static void check_heap(const struct xe_tcp *t)
{
	for (uint32_t i = 0; i < t->heap_len; i++) {
		const struct xe_heap_entry *e = &t->heap[i];

		xe_assert(t->socks[e->sock].used && t->socks[e->sock].heap_pos == (int32_t)i);
		xe_assert(i == 0 || t->heap[(i - 1) / 2].at <= e->at);
	}
}

static uint32_t check_list(const struct xe_tcp *t, const struct xe_list *l, enum xe_list_kind k)
{
	int32_t prev = XE_NIL;
	uint32_t n = 0;

	for (int32_t i = l->head; i != XE_NIL; i = t->socks[i].links[k].next) {
		xe_assert(t->socks[i].used && t->socks[i].links[k].prev == prev);
		xe_assert(n++ < t->cfg.max_socks);
		prev = i;
	}
	xe_assert(l->tail == prev);
	return n;
}

void tcp_check(const struct xe_tcp *t)
{
	uint32_t used = 0, hashed = 0, timed = 0, alive = 0;

	for (uint32_t i = 0; i < t->cfg.max_socks; i++) {
		const struct xe_sock *s = &t->socks[i];

		if (!s->used)
			continue;
		used++;
		alive += s->state != XE_TCP_CLOSED;
		timed += s->timer_at != XE_NEVER || s->delack_at != XE_NEVER;
		if (s->state == XE_TCP_LISTEN) {
			xe_assert(check_list(t, &s->embryos, XE_L_LISTENER) +
					  check_list(t, &s->queue, XE_L_LISTENER) ==
				  s->children);
		} else if (s->state != XE_TCP_CLOSED) {
			check_send(t, s);
			check_receive(t, s);
		}
	}
	for (uint32_t i = 0; i <= t->hash_mask; i++)
		hashed += check_list(t, &t->hash[i], XE_L_HASH);
	check_list(t, &t->out, XE_L_OUT);
	check_list(t, &t->ready, XE_L_READY);
	check_list(t, &t->timewait, XE_L_TIMEWAIT);
	check_heap(t);
	xe_assert(hashed == alive && timed == t->heap_len);
	xe_assert(used + t->nfree == t->cfg.max_socks);
}
