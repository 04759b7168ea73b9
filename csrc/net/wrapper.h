/* Inside a wrapper (ftapi.h): its handlers, and what the south side's are given.
 *
 * A wrapper is immutable while connections use it, but for its handlers: each is looked up when it
 * is called. struct wr_call is the north side's (socket.h).
 */
#ifndef XE_NET_WRAPPER_H
#define XE_NET_WRAPPER_H

#include "base/time.h"
#include "net/ftapi.h"

struct xe_ssw;
struct xe_conn;
struct xe_packet;

struct xe_south {
	wr_ssw_handler *handler; /* NULL: none */
	void *context;
};

struct xe_north {
	wr_nsw_handler *handler;
	void *context;
};

struct wr {
	uint16_t port;
	bool sessions;
	struct xe_south south[2][WR_PACKET_KINDS]; /* by enum wr_side */
	struct xe_north north[2][WR_CALL_KINDS];
};

struct wr_packet {
	struct xe_ssw *ssw;
	struct xe_conn *conn;    /* of rec_syn and snd_syn: NULL, if there is no entry yet */
	const struct wr *wr;
	struct xe_packet *packet;
	xe_ns now;
};

/* The halves of wr_plain: wrapper_south.c, wrapper_north.c. */
int wr_plain_south(struct wr *w);
int wr_plain_north(struct wr *w);
extern wr_nsw_handler *const xe_plain_north[2][WR_CALL_KINDS];

#endif
