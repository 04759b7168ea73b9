/* Wrappers: a port and its handlers (thesis 5, table 2); see ftapi.h.
 *
 * Left out on purpose: what the stock handlers do (wrapper_south.c, wrapper_north.c) and who
 * calls them (ssw.c for packets, socket.c for calls).
 */
#include "net/wrapper.h"

#include <errno.h>
#include <stdlib.h>

int wr_create(struct wr **out, uint16_t port)
{
	struct wr *w;

	if (!out || port == 0)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->port = port;
	*out = w;
	return 0;
}

void wr_destroy(struct wr *w)
{
	free(w);
}

void wr_sessions(struct wr *w)
{
	w->sessions = true;
}

static struct xe_south *south(struct wr *w, unsigned side, unsigned kind)
{
	bool wrong_side = kind == WR_REC_SYN || kind == WR_SND_SAA   ? side != WR_CLIENT_SIDE
			  : kind == WR_REC_SAA || kind == WR_SND_SYN ? side != WR_SERVER_SIDE
								     : false;

	if (!w || side > WR_SERVER_SIDE || kind >= WR_PACKET_KINDS || wrong_side)
		return NULL;
	return &w->south[side][kind];
}

static struct xe_north *north(struct wr *w, unsigned side, unsigned kind)
{
	if (!w || side > WR_SERVER_SIDE || kind >= WR_CALL_KINDS)
		return NULL;
	return &w->north[side][kind];
}

int wr_ins_ssw(struct wr *w, enum wr_side side, enum wr_packet_kind kind, wr_ssw_handler *handler,
	       void *context)
{
	struct xe_south *at = south(w, side, kind);

	if (!at || !handler)
		return -EINVAL;
	if (at->handler)
		return -EEXIST;
	*at = (struct xe_south){handler, context};
	return 0;
}

int wr_unins_ssw(struct wr *w, enum wr_side side, enum wr_packet_kind kind)
{
	struct xe_south *at = south(w, side, kind);

	if (!at)
		return -EINVAL;
	if (!at->handler)
		return -ENOENT;
	*at = (struct xe_south){NULL, NULL};
	return 0;
}

int wr_ins_nsw(struct wr *w, enum wr_side side, enum wr_call_kind kind, wr_nsw_handler *handler,
	       void *context)
{
	struct xe_north *at = north(w, side, kind);

	if (!at || !handler)
		return -EINVAL;
	if (at->handler)
		return -EEXIST;
	*at = (struct xe_north){handler, context};
	return 0;
}

int wr_unins_nsw(struct wr *w, enum wr_side side, enum wr_call_kind kind)
{
	struct xe_north *at = north(w, side, kind);

	if (!at)
		return -EINVAL;
	if (!at->handler)
		return -ENOENT;
	*at = (struct xe_north){NULL, NULL};
	return 0;
}

int wr_plain(struct wr *w)
{
	int rc = wr_plain_south(w);

	return rc ? rc : wr_plain_north(w);
}
