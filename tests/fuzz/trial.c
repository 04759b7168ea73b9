/* A guest is tried while another one waits as a paused kernel: with its sockets, its wrapper and
 * what is in its ring. Meanwhile its peers see nothing that it could not go on from, and after a
 * roll back it goes on as if it had only been paused.
 */
#include <errno.h>

#include "base/assert.h"
#include "world.h"

static void note_slots(struct world *w)
{
	xe_assert(w->ssw->log.slots <= 64);
	for (uint32_t i = 0; i < w->ssw->log.slots; i++) {
		const struct xe_conn *c = &w->ssw->conn[i];

		w->home.slot[i].sent = c->sent_max;
		w->home.slot[i].right_edge = c->right_edge;
		w->home.slot[i].fin = c->fins & XE_LOG_OWN_FIN;
	}
}

static void keep(struct world *w)
{
	struct home *h = &w->home;

	h->server = w->server;
	h->attached = w->attached;
	h->paused = w->paused;
	h->index_spoiled = w->index_spoiled;
	h->ring_lost = w->ring_lost;
	h->listener = w->listener;
	h->ringed = w->ringed;
	memcpy(h->session, w->session, sizeof(h->session));
	memcpy(h->ring, w->ring, w->ringed * sizeof(w->ring[0]));
	for (int i = 0; i < CLIENTS; i++)
		h->aborted[i] = w->client[i].aborted;
	w->up = w->attached = w->paused = w->index_spoiled = w->ring_lost = w->replayed = false;
	w->ringed = 0;
	for (int i = 0; i < SESSIONS; i++)
		w->session[i].sock = -1;
}

static void restore(struct world *w)
{
	const struct home *h = &w->home;

	w->server = h->server;
	w->up = true;
	w->attached = h->attached;
	w->paused = h->paused;
	w->index_spoiled = h->index_spoiled;
	w->ring_lost = h->ring_lost;
	w->listener = h->listener;
	w->ringed = h->ringed;
	memcpy(w->session, h->session, sizeof(h->session));
	memcpy(w->ring, h->ring, h->ringed * sizeof(h->ring[0]));
	for (int i = 0; i < CLIENTS; i++)
		w->client[i].aborted = h->aborted[i];
}

void trial_begin(struct world *w, bool listen)
{
	int rc;

	if (!w->up || w->trying)
		return;
	rc = xe_ssw_try(w->ssw, w->now);
	if (rc) {
		xe_assert(rc == -EBUSY || rc == -EAGAIN);
		return;
	}
	tell("  the trial begins\n");
	note_slots(w);
	keep(w);
	w->trying = true;
	world_boot(w, listen);
}

void trial_accept(struct world *w)
{
	if (!w->trying)
		return;
	tell("  accepted\n");
	w->trying = false;
	xe_sockets_fini(&w->home.server);
	xe_ssw_accept(w->ssw, w->now);
}

void trial_roll_back(struct world *w, bool died)
{
	tell("  rolled back\n");
	w->trying = false;
	if (died)
		xe_ssw_detach(w->ssw, w->now);
	if (w->up)
		xe_sockets_fini(&w->server);
	restore(w);
	xe_ssw_roll_back(w->ssw, w->now);
}

/* Nobody has spoiled anything, and everybody is there to answer. */
static bool honest(const struct world *w)
{
	for (uint32_t i = 0; i < w->ssw->log.slots; i++) {
		const struct xe_conn *c = &w->ssw->conn[i];

		if (c->state != XE_CONN_FREE && c->peer_addr == RAW)
			return false;
	}
	for (int i = 0; i < CLIENTS; i++) {
		if (w->client[i].tainted || w->client[i].gone)
			return false;
	}
	return !w->index_spoiled;
}

void trial_drain(struct world *w)
{
	bool patient = w->generation % 4 > 0;
	xe_ns limit = w->now + 60 * XE_SECOND;

	for (int step = 0; patient && !w->replayed && step < 20000 && w->now < limit; step++)
		patient = world_step(w, step > 2000);
	if (w->replayed) {
		trial_accept(w);
		return;
	}
	xe_assert(w->generation % 4 == 0 || !honest(w));
	trial_roll_back(w, false);
}

/* Honest services say the same again. */
void trial_hear(struct world *w)
{
	struct xe_ssw_event e;

	while (xe_ssw_next_event(w->ssw, &e)) {
		const struct xe_conn *c = &w->ssw->conn[e.slot < 64 ? e.slot : 0];
		const struct client *client = client_of(w, c->peer_addr, c->peer_port);

		w->replayed |= e.kind == XE_SSW_REPLAYED;
		if (e.kind != XE_SSW_DIVERGED)
			continue;
		tell("  slot %u diverges at %llu\n", e.slot, (unsigned long long)e.value);
		xe_assert(!client || client->tainted || client->aborted || client->gone ||
			  w->forged_slot >> e.slot & 1);
	}
}

/* Acks and timestamps never go back; in a trial nothing new leaves. */
void trial_leave(struct world *w, struct client *client, const struct xe_packet *p)
{
	const struct xe_conn *c = xe_ssw_find(w->ssw, SERVER, PORT, p->seg.daddr, p->seg.dport);
	uint32_t i = c ? xe_conn_index(w->ssw, c) : 0;
	uint8_t shift = c && !(p->seg.flags & XE_SYN) ? c->own_wscale : 0;
	uint64_t end, edge;

	if (client->tainted || !c || c->unprotected || c->state == XE_CONN_SYN_SEEN ||
	    w->forged_slot >> i & 1)
		return;
	if (client->told) {
		xe_assert(xe_seq_ge(p->seg.ack, client->told_ack));
		xe_assert(!p->seg.opt.has_ts || xe_seq_ge(p->seg.opt.tsval, client->told_ts));
	}
	client->told = true;
	client->told_ack = p->seg.ack;
	client->told_ts = p->seg.opt.tsval;
	if (!w->trying || c->state == XE_CONN_TOMBSTONE)
		return;
	end = (uint64_t)xe_conn_out_offset(c, p->seg.seq) + p->payload_len;
	edge = (uint64_t)xe_conn_in_offset(c, p->seg.ack) + ((uint64_t)p->seg.window << shift);
	xe_assert(p->payload_len == 0 || end <= w->home.slot[i].sent);
	xe_assert(!(p->seg.flags & XE_FIN) || w->home.slot[i].fin);
	xe_assert(p->seg.flags & XE_SYN || edge <= w->home.slot[i].right_edge);
}
