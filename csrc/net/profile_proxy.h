/* What the parts of the proxy's profile share; see profile_proxy.c. */
#ifndef XE_NET_PROFILE_PROXY_H
#define XE_NET_PROFILE_PROXY_H

#include "net/ftapi.h"
#include "net/http_exchange.h"

/* A body or tunnel that passes from one connection to another, as the one that writes it sees it. */
struct proxy_flow {
	bool on, marked;         /* marked: `done` is a mark */
	uint64_t at;             /* offset of the body's first byte */
	uint64_t from;           /* the same where it is read */
	uint64_t length;         /* WR_ALL: a tunnel */
	uint64_t done;           /* bytes of it that need no more looking at */
	uint32_t step;
};

/* What a connection has done for a part of the session, of both streams. */
struct proxy_range {
	uint64_t in_from, in_to, out_from, out_to;
};

/* Of the client's connection. */
struct proxy_root {
	struct xe_exchanges exchanges;
	struct proxy_range unit; /* exchanges that are not over on all connections */
	bool ended;              /* they are on this one: at out_to, a mark */
	uint32_t responses;      /* in it */
	uint64_t read_to, written_to;
	uint64_t body_at, body_length; /* of the request that is answered next; 0: has none */
	struct proxy_flow flow;
};

/* Of one to an end server. */
struct proxy_server {
	struct xe_exchanges exchanges;
	struct proxy_range unit; /* what it did for the root's unit */
	uint64_t body_at, body_length; /* of the newest response */
	struct proxy_flow flow;
	bool known;              /* it was there before the unit */
	bool closed, gone, marked; /* marked: the last request's end */
	bool tunnel;
	bool pinned;             /* what it did once is never removed, so it stays */
	bool has_kept;
	/* The last unit before, which opens it in a replay. */
	struct proxy_range kept, kept_root;
};

_Static_assert(sizeof(struct proxy_root) <= WR_STATE, "state of a connection");
_Static_assert(sizeof(struct proxy_server) <= WR_STATE, "state of a connection");

/* Of a body: what is elided at once. Not much less than the body, as marks are few. */
enum { PROXY_STEP = 256 * 1024, PROXY_LONGEST_STEP = 512 * 1024 };

/* ---- profile_proxy_elide.c ---- */

/* A body begins at offset `at` of what c writes, whose source has it at `from`. */
void xe_flow_begin(struct proxy_flow *f, uint64_t at, uint64_t from, uint64_t length);
/* How many of the n bytes written next go together. */
size_t xe_flow_piece(const struct proxy_flow *f, uint64_t at, size_t n);
/* c has written up to `to`; `source` has read it. Whether something was elided, or tried to be. */
bool xe_flow_wrote(struct proxy_flow *f, struct wr_conn *c, struct wr_conn *source, uint64_t to);

#endif
