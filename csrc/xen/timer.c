/* Timers on machine time: a binary heap of those that are armed, the earliest first.
 *
 * Invariants: heap[i] is armed and knows its slot; nobody's child is earlier than its parent. Of the
 * same time the one armed first fires first. A timer belongs to the struct that it lies in, which
 * stops it before it goes; the heap is the host's, grows and never shrinks.
 * Left out: slack, CPUs. Time jumps: what is overdue fires once, at the time that it is then. */
#include <stdlib.h>

#include "base/assert.h"
#include "xen/internal.h"

static bool earlier(const struct xe_timer *a, const struct xe_timer *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct xe_host *h, uint32_t slot, struct xe_timer *t)
{
	h->timer[slot] = t;
	t->slot = slot + 1;
}

static void sift_up(struct xe_host *h, uint32_t i, struct xe_timer *t)
{
	while (i > 0 && earlier(t, h->timer[(i - 1) / 2])) {
		put(h, i, h->timer[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(h, i, t);
}

static void sift_down(struct xe_host *h, uint32_t i, struct xe_timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= h->ntimers)
			break;
		if (child + 1 < h->ntimers && earlier(h->timer[child + 1], h->timer[child]))
			child++;
		if (!earlier(h->timer[child], t))
			break;
		put(h, i, h->timer[child]);
		i = child;
	}
	put(h, i, t);
}

/* A lost timer would wedge a guest, so running out of memory here ends the program. */
static void make_room(struct xe_host *h)
{
	uint32_t cap = h->timer_cap ? h->timer_cap * 2 : 64;
	struct xe_timer **t;

	if (h->ntimers < h->timer_cap)
		return;
	t = realloc(h->timer, cap * sizeof(struct xe_timer *));
	xe_assert(t);
	h->timer = t;
	h->timer_cap = cap;
}

void xe_host_timer_init(struct xe_timer *t, void (*fire)(struct xe_host *h, void *owner),
			void *owner)
{
	*t = (struct xe_timer){.fire = fire, .owner = owner};
}

void xe_host_timer_stop(struct xe_host *h, struct xe_timer *t)
{
	uint32_t i = t->slot - 1;
	struct xe_timer *last;

	if (!t->slot)
		return;
	xe_assert(i < h->ntimers && h->timer[i] == t);
	t->slot = 0;
	last = h->timer[--h->ntimers];
	if (last == t)
		return;
	if (i > 0 && earlier(last, h->timer[(i - 1) / 2]))
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

void xe_host_timer_arm(struct xe_host *h, struct xe_timer *t, xe_ns at)
{
	xe_assert(t->fire);
	xe_host_timer_stop(h, t);
	make_room(h);
	t->at = at;
	t->order = h->timer_order++;
	sift_up(h, h->ntimers++, t);
	if (h->timer[0] == t)
		*h->changed = true;
}

void xe_host_timer_set(struct xe_host *h, struct xe_timer *t, xe_ns at)
{
	if (at > h->now) {
		xe_host_timer_arm(h, t, at);
		return;
	}
	xe_host_timer_stop(h, t);
	t->fire(h, t->owner);
}

xe_ns xe_host_next_timer(const struct xe_host *h)
{
	return h->ntimers ? h->timer[0]->at : XE_NEVER;
}

void xe_host_run_timers(struct xe_host *h, xe_ns now)
{
	xe_host_set_time(h, now);
	while (h->ntimers && h->timer[0]->at <= h->now) {
		struct xe_timer *t = h->timer[0];

		xe_host_timer_stop(h, t);
		t->fire(h, t->owner);
	}
}

void xe_host_set_time(struct xe_host *h, xe_ns now)
{
	if (now > h->now)
		h->now = now;
}
