/* The log buffer: what outlives a domain. This header is the format.
 *
 * Memory of the primary, in 2 MiB extents that need not be contiguous; everything is
 * named by offsets and indices, no pointers, since it is remapped at another address.
 *
 *   header | ports | buckets | slots | record links | block links | record blocks | payload blocks
 *
 * The geometry is a function of the number of extents alone, so a reader believes
 * nothing that it finds there. A slot holds one connection. Each word has one writer:
 * the south-side wrapper (SSW, in the VMM) or the north-side wrapper (NSW, in the guest
 * kernel); the two write other cache lines and other arenas. There is no lock, and
 * either may die at any instruction: what makes data visible is stored last, with release.
 *
 * Stream offsets are 64 bits, 0 = first payload byte; SYN and FIN are never counted.
 *
 * A session is a connection that a client opened, its root, and those that the service opened or
 * accepted on its behalf. Of a session, NSW may have parts removed that need no replay: it
 * writes a list of cuts into a record block of its own, and SSW, once the peers have acked what
 * is to go, commits it with one store (`removed`). Both halves go by that word.
 */
#ifndef XE_NET_LOG_H
#define XE_NET_LOG_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

enum {
	XE_LOG_MAGIC = 0x5a4c4f47, /* "ZLOG" */
	XE_LOG_VERSION = 3,
	XE_LOG_BLOCK = 16384,      /* bytes of a payload block */
	XE_LOG_RECORD_BLOCK = 1024,
	XE_LOG_NONE = 0xffffffff,
};

enum xe_log_state {
	XE_LOG_FREE,
	XE_LOG_SYN_RCVD,    /* our SYN/ACK went out */
	XE_LOG_ESTABLISHED,
	XE_LOG_UNPROTECTED, /* goes on, but a fault ends it */
	XE_LOG_SYN_SENT,    /* the service's connect went out, and is not answered */
	XE_LOG_GHOST,       /* over for the peer, but its session still needs it for a replay */
};

enum xe_log_role {
	XE_LOG_CLIENT_SIDE, /* a client opened it */
	XE_LOG_SERVER_SIDE, /* the service did */
};

/* xe_log_slot.options: what both ends agreed on */
enum {
	XE_LOG_OPT_WSCALE = 1,
	XE_LOG_OPT_TS = 2,
};

/* xe_log_slot.fins */
enum {
	XE_LOG_PEER_FIN = 1,
	XE_LOG_OWN_FIN = 2,
	XE_LOG_OWN_FIN_ACKED = 4,
	XE_LOG_PEER_RST = 8, /* a ghost that its peer has reset */
};

/* xe_log_slot.nsw_flags */
enum {
	XE_LOG_ACCEPTED = 1,
	XE_LOG_CLOSED = 2,  /* the service asked for FIN at nsw_close_at */
	XE_LOG_ABORTED = 4, /* the service's close may answer RST */
	XE_LOG_UNRECORDED = 8, /* no room for records: sizes and dates are not replayed */
	XE_LOG_DIVERGED = 16,  /* the replayed output is not what the client has */
	XE_LOG_REPLAYED =
		32,  /* all that was read before is read again, and what was sent is written */
};

struct xe_log_header {
	uint32_t magic, version;
	uint32_t extents;
	_Atomic uint32_t generation; /* failovers so far */
};

enum { XE_LOG_REMOVALS = 4, XE_LOG_MARKS = 8, XE_LOG_CUTS = 31 };

/* What is cut out of one direction of a connection: [from, to). */
struct xe_log_cut {
	uint32_t slot, incarnation;
	uint32_t kind;             /* enum xe_log_cut_kind */
	uint32_t reserved;
	uint64_t from, to;
};

enum xe_log_cut_kind {
	XE_CUT_INPUT = 1, /* not to be fed again */
	XE_CUT_OUTPUT,    /* not to be written again; from and to are marks */
	XE_CUT_FILLER,    /* input, to be fed as that many zeros: nobody looks at them */
	XE_CUT_BLIND,     /* output, to be written again, but not compared; marks */
	XE_CUT_WHOLE,     /* the connection, once it is over */
};

/* In a record block: cuts that come together or not at all. */
struct xe_log_removal {
	uint32_t cuts, reserved;
	struct xe_log_cut cut[XE_LOG_CUTS];
};

/* A connection's records. There are two: the next one is built beside the one in use. */
struct xe_log_chain {
	uint32_t first;            /* record block */
	uint32_t compacted;        /* removals of the session that it already shows (root only) */
	_Atomic uint64_t records;
};

struct xe_log_slot {
	/* --- written by SSW --- */
	alignas(64) _Atomic uint32_t state;
	uint32_t incarnation;      /* of this slot: tells reuse */
	uint32_t local_addr, peer_addr;
	uint16_t local_port, peer_port;
	uint32_t hash_next;        /* chain of the bucket */
	uint32_t peer_isn, own_isn;
	uint16_t mss, syn_window;
	uint8_t peer_wscale, own_wscale, options, fins;
	uint32_t peer_tsval, own_tsval;
	uint32_t first_block;
	uint32_t replay_generation; /* the two lines below hold for this generation */
	uint8_t role;
	uint8_t reserved3[3];
	_Atomic uint32_t removed;   /* of a root: that many of its removals are in effect */

	alignas(64) _Atomic uint64_t rcv_logged; /* contiguous bytes received */
	_Atomic uint64_t ack_sent;
	_Atomic uint64_t sent_max;
	_Atomic uint64_t peer_acked;
	uint64_t peer_fin_at, own_fin_at;
	uint32_t peer_window;
	uint32_t reserved0;
	_Atomic uint64_t replay_line; /* reads below it are served from the log */

	alignas(64) uint64_t drop_line; /* output below it is dropped: the client has it */
	uint32_t drop_crc;         /* CRC-32C of that output */
	uint32_t sent_crc;         /* CRC-32C of the output below sent_line; only in a trial */
	uint64_t sent_line;        /* 0: not to be compared */
	uint32_t trial;            /* 1: somebody waits for XE_LOG_REPLAYED */
	uint32_t reserved1;
	uint64_t first_base;       /* offset of first_block's first byte */
	uint64_t hole_from, hole_to; /* bounds of blocks that are not in the chain: filler */
	uint64_t reserved5;

	/* --- written by NSW --- */
	alignas(64) _Atomic uint32_t nsw_flags;
	uint32_t nsw_incarnation;  /* the incarnation that this half speaks of */
	uint32_t nsw_generation;
	_Atomic uint32_t active;   /* chain in use */
	uint64_t nsw_close_at;
	_Atomic uint64_t out_written;
	_Atomic uint64_t replayed; /* input fed from the log in this generation */
	struct xe_log_chain chain[2];
	uint32_t root,
		root_incarnation; /* the session's slot, itself for a root; XE_LOG_NONE: none */
	uint32_t order; /* among those that the service opened or accepted in the session */
	uint32_t reserved2;

	alignas(64) uint64_t mark[XE_LOG_MARKS]; /* offsets of the output, a ring */
	_Atomic uint64_t marks; /* so far; those of this generation */
	uint32_t removal[XE_LOG_REMOVALS]; /* record blocks, a ring; of a root */
	_Atomic uint32_t removals; /* so far */
	uint32_t reserved4[25];
};

_Static_assert(sizeof(struct xe_log_slot) == 512, "log format: none lies in two extents");
_Static_assert(sizeof(struct xe_log_removal) <= XE_LOG_RECORD_BLOCK, "log format");

enum xe_log_record_kind {
	XE_RECORD_READ = 1,
	XE_RECORD_EOF,
	XE_RECORD_ERROR,
	XE_RECORD_DATE,
	XE_RECORD_OPENED, /* accept, or the end of a connect: the first of a session's connection */
	XE_RECORD_LISTEN, /* of a root: size = the port */
	XE_RECORD_CUT, /* compacted: size = enum xe_log_cut_kind, sequence = from, out_written = to */
};

struct xe_log_record {
	uint32_t size; /* bytes read, or the errno */
	uint32_t kind;
	uint64_t sequence; /* order within the session; of a date: seconds since 1970 */
	uint64_t out_written; /* bytes written by then */
};

enum { XE_RECORDS_PER_BLOCK = XE_LOG_RECORD_BLOCK / sizeof(struct xe_log_record) };

/* Stores into the log. What makes data visible is stored last, with release. */
#define XE_LOG_COMMIT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define XE_LOG_LOAD(field) atomic_load_explicit(&(field), memory_order_acquire)

/* A view of the mapped log. */
struct xe_log {
	uint8_t **extent;
	uint32_t extents, slots, record_blocks, blocks;
	uint64_t ports_at, buckets_at, slots_at, record_links_at, block_links_at, records_at,
		blocks_at;
};

/* The view of `n` mapped extents; 0, -EINVAL (none or too many), -ENOMEM. */
int xe_log_open(struct xe_log *log, uint8_t *const *extent, uint32_t n);
void xe_log_close(struct xe_log *log);
/* Writes an empty log. */
void xe_log_format(struct xe_log *log);
bool xe_log_valid(const struct xe_log *log);

static inline void *xe_log_at(const struct xe_log *log, uint64_t at)
{
	return log->extent[at / XE_EXTENT_SIZE] + at % XE_EXTENT_SIZE;
}
static inline struct xe_log_header *xe_log_head(const struct xe_log *log)
{
	return xe_log_at(log, 0);
}
static inline struct xe_log_slot *xe_log_slot(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->slots_at + (uint64_t)i * sizeof(struct xe_log_slot));
}
static inline uint8_t *xe_log_block(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->blocks_at + (uint64_t)i * XE_LOG_BLOCK);
}
static inline uint32_t *xe_log_block_link(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->block_links_at + (uint64_t)i * 4);
}
static inline struct xe_log_record *xe_log_records(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->records_at + (uint64_t)i * XE_LOG_RECORD_BLOCK);
}
static inline uint32_t *xe_log_record_link(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->record_links_at + (uint64_t)i * 4);
}
static inline _Atomic uint32_t *xe_log_bucket(const struct xe_log *log, uint32_t i)
{
	return xe_log_at(log, log->buckets_at + (uint64_t)i * 4);
}

/* By local port, written by NSW before the port is used: 0, or the wrapper (enum wr_profile) of the
 * session that its next connections belong to. */
static inline _Atomic uint8_t *xe_log_port(const struct xe_log *log, uint16_t port)
{
	return xe_log_at(log, log->ports_at + port);
}

uint32_t xe_log_hash(uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		     uint16_t peer_port);
/* The slot of a 4-tuple, no ghost's, or XE_LOG_NONE; follows chains of a log it does not trust. */
uint32_t xe_log_find(const struct xe_log *log, uint32_t local_addr, uint16_t local_port,
		     uint32_t peer_addr, uint16_t peer_port);

static inline struct xe_log_chain *xe_log_chain(struct xe_log_slot *slot)
{
	return &slot->chain[XE_LOG_LOAD(slot->active) & 1];
}

#endif
