/* Inside the south-side wrapper: its connection table. */
#ifndef XE_NET_SSW_INTERNAL_H
#define XE_NET_SSW_INTERNAL_H

#include "base/seq.h"
#include "net/ssw.h"
#include "net/stream.h"
#include "net/wire.h"
#include "net/wrapper.h"

enum {
	XE_SSW_RANGES = 16,
	XE_SSW_EVENTS = 256,
	XE_SSW_RESETS = 3,
	XE_SSW_MARKS = 16,            /* states of the output check that are remembered */
	XE_SSW_GONE = 8,              /* ranges of removed input, beyond those at its beginning */
	XE_SSW_WRAPPERS = 2 * WR_PROFILES, /* registered at once */
	XE_SSW_RETRY = 5000000,       /* ns between fake SYNs of one connection */
	XE_SSW_PACE = 256,            /* fake handshakes under way at once */
};

#define XE_SSW_TOMBSTONE (60 * XE_SECOND) /* 2 MSL */
#define XE_SSW_SILENCE \
	(240 * XE_SECOND)  /* no TCP that still wants something is silent for so long */
#define XE_SSW_LOOK (60 * XE_SECOND)      /* between two looks for those */
#define XE_SSW_LOOK_AGAIN XE_SECOND       /* ... for those that wait for a close */
#define XE_SSW_PAWS_IDLE (24 * 86400 * XE_SECOND) /* RFC 7323 5.5 */
#define XE_SSW_RESET_AGAIN XE_SECOND      /* a reset may be lost, and nothing asks for it again */
#define XE_SSW_STARVE (200 * XE_MS)       /* without a free block */
#define XE_SSW_TRIAL_LOOK XE_MS           /* between two looks whether a trial is over */
#define XE_SSW_HEAR \
	(200 * XE_MS) /* of a replay: a session whose removals await acks begins later */
#define XE_SSW_CLAIM (5 * XE_SECOND) /* of a replay: what nobody opened again by then is reset */
#define XE_SSW_TELL_AGAIN (200 * XE_MS) /* what the old TCP missed in a trial */

enum xe_conn_state {
	XE_CONN_FREE,
	XE_CONN_SYN_SEEN, /* the peer's SYN passed; TCP has not answered */
	XE_CONN_SYN_RCVD,
	XE_CONN_SYN_SENT, /* our SYN passed; the peer has not answered */
	XE_CONN_ESTABLISHED,
	XE_CONN_GHOST, /* like a tombstone, but its session needs its input for a replay */
	XE_CONN_TOMBSTONE, /* both FINs acked; answers a FIN that comes again */
};

enum xe_conn_attach {
	XE_LIVE, /* the domain's TCP knows the connection */
	XE_DETACHED, /* none does; what arrives is logged */
	XE_FAKING, /* a fake SYN is out, L is frozen */
};

/* packets to make */
enum {
	XE_DUE_ACK = 1, /* third step of the fake handshake */
	XE_DUE_FIN = 2, /* the logged FIN, to TCP */
	XE_DUE_WAKE = 4, /* the log's end, to the peer */
	XE_DUE_ANSWER = 8, /* a tombstone's ACK */
	XE_DUE_RESET = 16, /* RST to the peer */
	XE_DUE_KILL = 32, /* RST to TCP */
	XE_DUE_INJECT = 64, /* payload that was logged out of order, to TCP */
	XE_DUE_UPDATE = 128, /* a larger window, to the peer */
	XE_DUE_FIN_ACK =
		256, /* the peer's ack of our FIN, which it sent before the fault, to TCP */
	XE_DUE_HEAR = 512, /* what the peer has acked, to TCP */
	XE_DUE_SAA = 1024, /* the peer's SYN/ACK, to a TCP that opens the connection again */
	XE_DUE_REJECT = 2048, /* RST to a SYN of TCP's */
	XE_DUE_TRIM = 4096, /* no packet: a session's removals are looked at */
};

struct xe_stretch {
	uint64_t from, to;
};

/* Where the output can be cut: the check's state there, `kept` bytes being not removed. */
struct xe_mark {
	uint64_t at, kept;
	uint32_t crc;
};

struct xe_tuple {
	uint32_t local_addr, peer_addr;
	uint16_t local_port, peer_port;
};

struct xe_conn {
	uint8_t state, attach, options, fins;
	uint8_t peer_wscale, own_wscale, tcp_wscale;
	uint8_t role; /* enum xe_log_role */
	uint16_t due;
	bool unprotected, recovered, queued, has_syn, early_fin, refused;
	bool squeezed; /* was told less than its TCP's window */
	bool paced; /* its fake handshake is one of those that are counted */
	bool reset; /* a ghost: by a reset */
	bool lacking; /* TCP has not got all ranges: they were logged before it came */
	uint32_t hash_next, incarnation;
	uint32_t local_addr, peer_addr;
	uint16_t local_port, peer_port;
	const struct wr *wr; /* NULL in a free entry */

	/* Client-visible sequence space. */
	uint32_t peer_isn, own_isn;
	uint16_t mss, syn_window, peer_window;
	uint32_t max_window; /* the largest that the peer offered, in bytes */
	uint64_t rcv_logged, ack_sent, right_edge, told_edge;
	uint64_t sent_max, peer_acked, peer_fin_at, own_fin_at;
	uint64_t early_fin_at; /* a FIN that came before all data did */
	uint32_t ts_recent, own_tsval;
	xe_ns ts_recent_at;
	struct xe_stream stream;
	struct xe_stretch range[XE_SSW_RANGES];
	uint32_t ranges;
	struct xe_stretch inject; /* logged, but TCP lacks it */

	/* Output check: CRC of [0, crc_at), copy of what follows. */
	struct xe_stream out;
	uint64_t crc_at;
	uint64_t check_line, verified; /* below check_line, output must be as it was; seen so far */
	uint32_t out_crc;
	uint32_t removed; /* of a session's root: removals in effect */
	uint64_t out_kept; /* bytes that out_crc is of */
	uint64_t marks_seen; /* of NSW's */
	struct xe_mark mark[XE_SSW_MARKS]; /* by offset */
	uint32_t marks;
	uint32_t gones;
	uint64_t gone_to; /* input below it is removed, and in these ranges */
	struct xe_stretch gone[XE_SSW_GONE];

	/* A SYN that TCP has not answered yet. */
	uint32_t syn_seq;
	struct xe_tcp_options syn_opt;
	uint16_t syn_win;

	/* The new TCP after a recovery: visible = its number + delta. */
	uint32_t reset_seq, kill_seq; /* of the next RST to the peer, and to TCP */
	uint32_t resets_left;
	uint32_t delta, ts_delta, tcp_isn, tcp_ts0;
	uint64_t tcp_base; /* U: offset of its first byte */
	uint64_t tcp_sent; /* highest offset sent by it, FIN counted */
	uint64_t tcp_ack, tcp_right;
	uint64_t fake_line; /* L while faking */
	uint64_t replay_line; /* L that the service replays up to */
	xe_ns retry_at, tombstone_until;
	xe_ns spoke_at; /* our TCP */
};

struct xe_ssw {
	struct xe_log log;
	struct xe_block_pool pool;
	struct xe_conn *conn; /* conn[i] is slot i */
	uint32_t *bucket;
	uint32_t cursor;
	uint32_t generation;
	xe_ns next_fake_at; /* no fake SYN is due before */
	xe_ns look_at; /* for connections that ended in silence; XE_NEVER: there are none */
	xe_ns reset_again_at; /* of refused connections; XE_NEVER: none */
	xe_ns starved_until; /* then something is done about it; XE_NEVER: there is room */
	bool recovering; /* detached and no TCP yet, or not all re-established */
	bool replaying;
	bool first_byte; /* wanted: the first payload after a recovery */
	uint32_t to_reestablish, faking;
	uint32_t *queue; /* ring of connections with something to do */
	uint32_t queue_head, queue_count;
	uint32_t replay_cursor;
	xe_ns hear_until; /* no replay waits for acks after that */
	xe_ns claim_until; /* XE_NEVER: no replay waits for what the service opens again */
	/* ports: 0, or the wrapper that was registered, plus one; entries in the table */
	uint8_t registered[65536];
	uint16_t entries[65536];
	const struct wr *known[XE_SSW_WRAPPERS];
	uint32_t knowns;
	const struct wr *const *profile; /* of the log's ports; NULL: none */
	/* ssw_trial.c */
	struct xe_home *home; /* connections of the old TCP; NULL: no trial */
	uint32_t *home_of; /* of connection i: its place there */
	uint8_t *home_ports; /* the log's table of ports */
	struct xe_held *held; /* packets held back in a trial, until they went on */
	uint32_t held_at, held_count;
	uint32_t home_generation;
	bool tried; /* and said to be */
	xe_ns look_again_at;
	xe_ns tell_again_at; /* what the old TCP has not acked; XE_NEVER: it lacks nothing */
	struct xe_ssw_event event[XE_SSW_EVENTS];
	uint32_t event_head, event_count;
	struct xe_ssw_counters count;
};

static inline bool xe_ssw_is_protected(const struct xe_ssw *s, uint16_t port)
{
	return s->registered[port] || s->entries[port] > 0;
}
/* The wrapper of a new connection of this port; NULL: none. */
const struct wr *xe_ssw_wrapper(const struct xe_ssw *s, uint16_t port);

/* Neither side has ended it, or what ended it is not all said. */
static inline bool xe_conn_open(const struct xe_conn *c)
{
	return c->state == XE_CONN_SYN_RCVD || c->state == XE_CONN_SYN_SENT ||
	       c->state == XE_CONN_ESTABLISHED;
}
static inline bool xe_conn_ended(const struct xe_conn *c)
{
	return c->state == XE_CONN_GHOST || c->state == XE_CONN_TOMBSTONE;
}
static inline uint32_t xe_conn_index(const struct xe_ssw *s, const struct xe_conn *c)
{
	return (uint32_t)(c - s->conn);
}
static inline struct xe_log_slot *xe_conn_slot(const struct xe_ssw *s, const struct xe_conn *c)
{
	return xe_log_slot(&s->log, xe_conn_index(s, c));
}
/* Offset in the peer's stream, and in ours. */
static inline int64_t xe_conn_in_offset(const struct xe_conn *c, uint32_t seq)
{
	return xe_seq_offset(seq, c->peer_isn + 1, c->rcv_logged);
}
static inline int64_t xe_conn_out_offset(const struct xe_conn *c, uint32_t seq)
{
	return xe_seq_offset(seq, c->own_isn + 1, c->sent_max);
}

/* What the wrapper does with this packet: without a handler, nothing. */
static inline enum xe_verdict xe_ssw_handle(struct xe_ssw *s, struct xe_conn *c,
					    const struct wr *wr, enum wr_side side,
					    enum wr_packet_kind kind, struct xe_packet *p,
					    xe_ns now)
{
	const struct xe_south *south = &wr->south[side][kind];
	struct wr_packet w = {.ssw = s, .conn = c, .wr = wr, .packet = p, .now = now};

	if (south->handler)
		return (enum xe_verdict)south->handler(&w, south->context);
	return c && c->attach != XE_LIVE ? XE_DROP : XE_PASS;
}

struct xe_conn *xe_ssw_find(struct xe_ssw *s, uint32_t local_addr, uint16_t local_port,
			    uint32_t peer_addr, uint16_t peer_port);
struct xe_conn *xe_ssw_alloc(struct xe_ssw *s, const struct xe_tuple *t, const struct wr *wr,
			     xe_ns now);
/* The connection no longer waits for a TCP: re-established, or gone. */
void xe_ssw_settle(struct xe_ssw *s, struct xe_conn *c);
void xe_ssw_free(struct xe_ssw *s, struct xe_conn *c);
/* Ends a connection loudly, for the peer and for TCP: what the peer says is answered by RST. */
void xe_ssw_refuse(struct xe_ssw *s, struct xe_conn *c, xe_ns now);
void xe_ssw_reset_again(struct xe_ssw *s, xe_ns now);
/* Forgets connections that the service has closed and of which nothing more is heard: TCP has given
 * them up without a word. Buries those that it closed when they were over for the peer. */
void xe_ssw_forget_silent(struct xe_ssw *s, xe_ns now);
void xe_ssw_bury(struct xe_ssw *s, struct xe_conn *c, xe_ns now);
/* It is over: for the peer, too (both FINs acked), or by a reset. A ghost, if its session lives. */
void xe_ssw_end(struct xe_ssw *s, struct xe_conn *c, bool reset, xe_ns now);
/* The slot is (re)initialised when TCP answers a SYN, and when it sends one. */
void xe_ssw_open(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *synack, xe_ns now);
void xe_ssw_open_active(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *syn,
			xe_ns now);
/* The peer's SYN/ACK to our SYN. */
void xe_ssw_answered(struct xe_ssw *s, struct xe_conn *c, const struct xe_segment *synack,
		     xe_ns now);
/* With all of its session. */
void xe_ssw_unprotect(struct xe_ssw *s, struct xe_conn *c, int error, xe_ns now);
void xe_ssw_due(struct xe_ssw *s, struct xe_conn *c, uint16_t what);
void xe_ssw_notify(struct xe_ssw *s, uint32_t kind, uint32_t slot, uint64_t value);
/* Our SYN/ACK to a fake SYN came; whether it goes on to the peer (half-done handshake). */
enum xe_verdict xe_ssw_reestablished(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p,
				     xe_ns now);
/* The new TCP opens a connection again that was open before. */
enum xe_verdict xe_ssw_claimed(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p, xe_ns now);
/* What nobody has opened again ends loudly. */
void xe_ssw_end_unclaimed(struct xe_ssw *s, xe_ns now);
/* A SYN/ACK of the new TCP becomes the one that the peer may have seen. */
void xe_ssw_restore_synack(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p);
void xe_ssw_restore_syn(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p);
/* TCP's timestamp as the peer sees it: never before one that it can have seen (PAWS). */
void xe_ssw_stamp(struct xe_ssw *s, struct xe_conn *c, struct xe_packet *p);
/* TCP answers the fake SYN with a challenge ACK: it has an old socket of this 4-tuple, at `seq`. */
void xe_ssw_reset_old(struct xe_ssw *s, struct xe_conn *c, uint32_t seq, xe_ns now);
/* What the service asked for, in this generation of this connection: read once from memory that
 * the guest can write. */
bool xe_ssw_close_asked(const struct xe_ssw *s, const struct xe_conn *c, uint32_t flag,
			uint64_t *at);
/* The replayed output is not what the client has, from `at` on: ends loudly. */
void xe_ssw_diverged(struct xe_ssw *s, struct xe_conn *c, uint64_t at, xe_ns now);

/* ssw_output.c: the peer acked more; CRC-32C of all that was sent; TCP is gone; may this packet's
 * payload leave; it is copied (-1: no room). */
void xe_ssw_output_acked(struct xe_ssw *s, struct xe_conn *c);
uint32_t xe_ssw_output_crc(struct xe_ssw *s, struct xe_conn *c);
void xe_ssw_output_freeze(struct xe_ssw *s, struct xe_conn *c);
enum xe_verdict xe_ssw_output_check(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
				    uint64_t start, xe_ns now);
int xe_ssw_output_keep(struct xe_ssw *s, struct xe_conn *c, const struct xe_packet *p,
		       uint64_t start);

/* ssw_session.c: the root of its session, NULL: it belongs to none, as far as anybody knows; before
 * it goes for good: ghosts that nobody needs go, too; a ghost is freed; one without a session, too. */
struct xe_conn *xe_ssw_root(const struct xe_ssw *s, const struct xe_conn *c);
bool xe_ssw_others(const struct xe_ssw *s, const struct xe_conn *root, const struct xe_conn *c);
void xe_ssw_leave(struct xe_ssw *s, struct xe_conn *c, xe_ns now);
void xe_ssw_haunt(struct xe_ssw *s, struct xe_conn *c, bool reset, xe_ns now);
void xe_ssw_lay(struct xe_ssw *s, struct xe_conn *c, xe_ns now);
/* For NSW, which replays it: the lines of a ghost. */
void xe_ssw_ghost_lines(struct xe_ssw *s, struct xe_conn *c);

/* ssw_trim.c: marks of the output that have been reached, the next one (UINT64_MAX: none); removals
 * that can take effect do; perhaps there are some: a member heard an ack. */
uint64_t xe_ssw_pass_marks(struct xe_ssw *s, struct xe_conn *c);
void xe_ssw_trim(struct xe_ssw *s, struct xe_conn *root, bool any_generation, xe_ns now);
void xe_ssw_trim_all(struct xe_ssw *s, bool any_generation, xe_ns now);
void xe_ssw_trim_due(struct xe_ssw *s, const struct xe_conn *c);
/* Whether the peer's ack of what was sent before the fault decides what its session replays. */
bool xe_ssw_trim_awaits_ack(const struct xe_ssw *s, const struct xe_conn *c);

/* ssw_room.c: how far the peer may send, TCP's own right edge being `right`; something found no
 * room; time to do something about it. */
uint64_t xe_ssw_right_edge(const struct xe_ssw *s, const struct xe_conn *c, uint64_t right);
void xe_ssw_starve(struct xe_ssw *s, xe_ns now);
void xe_ssw_relieve(struct xe_ssw *s, xe_ns now);

/* ssw_trial.c: forgets a trial; holds a packet back until it is over; its TCP is gone, and what it
 * said too early never was; the next that goes on then; the right edge that the old TCP gave; is it
 * over, and when to look. */
void xe_ssw_trial_free(struct xe_ssw *s);
/* A connection diverges in a trial: refused if that is accepted nevertheless. Whether it is news. */
bool xe_ssw_trial_diverged(struct xe_ssw *s, const struct xe_conn *c);
/* After a roll back, until it has acked it: what the peer has been told that TCP has. */
void xe_ssw_tell_again(struct xe_ssw *s, xe_ns now);
void xe_ssw_hold(struct xe_ssw *s, const uint8_t *packet, size_t len, enum xe_direction to);
void xe_ssw_unsend(struct xe_ssw *s);
size_t xe_ssw_next_held(struct xe_ssw *s, uint8_t *buf, size_t cap, enum xe_direction *to,
			xe_ns now);
uint64_t xe_ssw_home_edge(const struct xe_ssw *s, const struct xe_conn *c);
xe_ns xe_ssw_trial_poll_at(const struct xe_ssw *s);
void xe_ssw_look_at_trial(struct xe_ssw *s, xe_ns now);

/* What the next kernel finds connections by, anew from VMM memory: the last one may have scribbled
 * over it. */
void xe_ssw_restore_log(struct xe_ssw *s);

/* The peer's FIN counts once all before it is logged. */
void xe_ssw_note_fin(struct xe_ssw *s, struct xe_conn *c, uint64_t at);

/* The service may still read this connection's payload from the log. */
bool xe_ssw_replays(const struct xe_ssw *s, const struct xe_conn *c);
/* NSW says so, of whatever generation. */
bool xe_ssw_has_closed(const struct xe_ssw *s, const struct xe_conn *c);
/* For the peer: both directions ended and acked. */
bool xe_ssw_over(const struct xe_conn *c);
/* ... and the service, which may have ended its output only, has closed it: a tombstone. */
void xe_ssw_check_closed(struct xe_ssw *s, struct xe_conn *c, xe_ns now);

#endif
