/* The FT API: what a fault-tolerant service is made of (thesis 5, tables 2 to 5).
 *
 * A wrapper is a protected port with handlers. A handler runs when a packet passes the south-side
 * wrapper (below TCP, in the VMM) or a socket call passes the north-side wrapper (above TCP, in
 * the guest kernel). It does nothing by itself: it calls the operations below, one of them or
 * several, around decisions of its own. Where no handler is installed, the packet or the call
 * passes as if there were no wrapper, and no part of it survives a fault.
 *
 * Names: cs_ client-side (a client opened the connection), ss_ server-side (the service did);
 * cn_ and sn_ are the same at the north side. `rec` is received by the service's domain, `snd` is
 * sent by it. wr_plain() installs all of them: a service that needs nothing special.
 *
 * Offsets are those of the stream, 64 bits, 0 = its first byte, whatever was removed from it.
 * Results: 0 or more, or -errno. Handlers run to completion and must not block.
 */
#ifndef XE_NET_FTAPI_H
#define XE_NET_FTAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FT_API __attribute__((visibility("default")))

struct wr;        /* a wrapper */
struct wr_packet; /* a packet that passes the south side, with its connection */
struct wr_call;   /* a socket call that passes the north side, with its connection */
struct wr_conn;   /* a connection as the north side knows it, until its session ends */

enum wr_verdict { WR_PASS, WR_DROP };
enum wr_side { WR_CLIENT_SIDE, WR_SERVER_SIDE };

enum wr_packet_kind {
	WR_REC_SYN, /* client-side only */
	WR_REC_SAA, /* SYN/ACK; server-side only */
	WR_REC_ACK, /* all without SYN, FIN, RST: with payload or without */
	WR_REC_FIN,
	WR_REC_RST,
	WR_SND_SYN, /* server-side only */
	WR_SND_SAA, /* client-side only */
	WR_SND_ACK,
	WR_SND_FIN,
	WR_SND_RST,
	WR_PACKET_KINDS,
};

enum wr_call_kind {
	WR_READ,
	WR_WRITE,
	WR_CLOSE, /* close and shutdown; after it nothing is written */
	WR_CALL_KINDS,
};

/* What is built in, and in the log's table of ports. */
enum wr_profile {
	WR_PROFILE_NONE,
	WR_PROFILE_PLAIN,
	WR_PROFILE_HTTP,
	WR_PROFILE_FTP,
	WR_PROFILE_PROXY,
	WR_PROFILE_OWN,      /* the first of those that authors bring */
	WR_PROFILES = 64,
};

typedef enum wr_verdict wr_ssw_handler(struct wr_packet *packet, void *context);
/* What the socket call answers: bytes, or -errno; of WR_CLOSE it is not looked at. */
typedef long wr_nsw_handler(struct wr_call *call, void *context);

/* ---- Table 2: registration ---- */

/* A wrapper of that port, without handlers. -ENOMEM, -EINVAL. */
FT_API int wr_create(struct wr **out, uint16_t port);
FT_API void wr_destroy(struct wr *w);
/* What the service listens to, accepts and opens on behalf of a connection of this wrapper belongs
 * to its session: it is protected with it. */
FT_API void wr_sessions(struct wr *w);
/* One handler of each kind; -EEXIST, -EINVAL. Uninstalled: -ENOENT. */
FT_API int wr_ins_ssw(struct wr *w, enum wr_side side, enum wr_packet_kind kind,
		      wr_ssw_handler *handler, void *context);
FT_API int wr_unins_ssw(struct wr *w, enum wr_side side, enum wr_packet_kind kind);
FT_API int wr_ins_nsw(struct wr *w, enum wr_side side, enum wr_call_kind kind,
		      wr_nsw_handler *handler, void *context);
FT_API int wr_unins_nsw(struct wr *w, enum wr_side side, enum wr_call_kind kind);
/* Installs each operation as the handler of its kind, both sides, where there is none yet. */
FT_API int wr_plain(struct wr *w);

/* ---- Table 4: client-side, south ---- */

FT_API enum wr_verdict cs_rec_syn(struct wr_packet *p);
FT_API enum wr_verdict cs_rec_ack(struct wr_packet *p);
FT_API enum wr_verdict cs_rec_fin(struct wr_packet *p); /* its payload and ack, too */
FT_API enum wr_verdict cs_rec_rst(struct wr_packet *p);
FT_API enum wr_verdict cs_snd_saa(struct wr_packet *p);
FT_API enum wr_verdict cs_snd_ack(struct wr_packet *p);
FT_API enum wr_verdict cs_snd_fin(struct wr_packet *p); /* its payload and ack, too */
FT_API enum wr_verdict cs_snd_rst(struct wr_packet *p);

/* ---- Table 4: client-side, north ---- */

FT_API long cn_read_request(struct wr_call *call);
/* The first `n` bytes at most of what is written: those that are taken. */
FT_API long cn_write_response(struct wr_call *call, size_t n);

/* ---- Table 5: server-side, south ---- */

FT_API enum wr_verdict ss_snd_syn(struct wr_packet *p);
FT_API enum wr_verdict ss_snd_ack(struct wr_packet *p);
FT_API enum wr_verdict ss_snd_fin(struct wr_packet *p);
FT_API enum wr_verdict ss_snd_rst(struct wr_packet *p);
FT_API enum wr_verdict ss_rec_saa(struct wr_packet *p);
FT_API enum wr_verdict ss_rec_ack(struct wr_packet *p);
FT_API enum wr_verdict ss_rec_fin(struct wr_packet *p);
FT_API enum wr_verdict ss_rec_rst(struct wr_packet *p);

/* ---- Table 5: server-side, north ---- */

FT_API long sn_read_response(struct wr_call *call);
FT_API long sn_write_request(struct wr_call *call, size_t n);

/* Both sides: the service wants FIN here (all: close). A FIN or RST without that is held back. */
FT_API void wr_close(struct wr_call *call);

/* ---- Table 3: application-specific ---- */

#define WR_ALL UINT64_MAX

/* A removable range of what the service writes may begin or end at what is written now.
 * -ENOSPC: too many wait for their ack; then this is none. */
FT_API int as_mark(struct wr_conn *c);
/* Not to be replayed: [from, to) of the requests, and of the responses. Requests are what a
 * client-side connection receives and a server-side one sends. What one handler removes in one
 * session goes together, once the peers have acked all of it; before that a fault replays it.
 * Ends of output must be marks. [0, WR_ALL) of both: the whole connection, once it is over.
 * -EINVAL, -ENOSPC (too many cuts, or removals that wait): nothing of what this handler removed goes. */
FT_API int as_remove_request(struct wr_conn *c, uint64_t from, uint64_t to);
FT_API int as_remove_response(struct wr_conn *c, uint64_t from, uint64_t to);
/* The same ranges stay in the replay, but their bytes are not kept: zeros are fed in their place,
 * and what is written is not compared. For bodies that a relay hands on unseen. */
FT_API int as_elide_request(struct wr_conn *c, uint64_t from, uint64_t to);
FT_API int as_elide_response(struct wr_conn *c, uint64_t from, uint64_t to);
/* An HTTP date (29 bytes) comes next in the output: where a replay must write the old one. */
FT_API int as_volatile_date(struct wr_call *call);

/* ---- what handlers look at ---- */

FT_API struct wr_conn *wr_connection(struct wr_call *call);
FT_API const uint8_t *wr_bytes(struct wr_call *call); /* written; or, after the read, read */
FT_API size_t wr_length(struct wr_call *call); /* of the service's buffer */
FT_API bool wr_ends(struct wr_call *call); /* WR_CLOSE: close, not only shutdown */
FT_API enum wr_side wr_side_of(const struct wr_conn *c);
FT_API uint64_t wr_read_so_far(const struct wr_conn *c);    /* offset of the next byte read */
FT_API uint64_t wr_written_so_far(const struct wr_conn *c); /* ... and written */
FT_API bool wr_closed(const struct wr_conn *c);             /* by the service */
/* Zeroed when the connection begins, the same from then on; WR_STATE bytes. */
#define WR_STATE 512
FT_API void *wr_state(struct wr_conn *c);
/* The session: its root, and the others in the order in which they came; NULL: no more. */
FT_API struct wr_conn *wr_root(struct wr_conn *c);
FT_API struct wr_conn *wr_next(struct wr_conn *c);

#endif
