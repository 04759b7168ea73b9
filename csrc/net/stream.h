/* SSW's streams of payload: chains of log blocks.
 *
 * The free list and the chains live here, in VMM memory; the log's links are a copy for
 * the reader that maps it later. A stream writes at any offset from its start on, so
 * that out-of-order payload is logged in place; its start can be moved on.
 */
#ifndef XE_NET_STREAM_H
#define XE_NET_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "net/log.h"

struct xe_block_pool {
	struct xe_log *log;
	uint32_t *free;        /* last in, first out: warm pages first */
	uint32_t free_count;
	uint32_t *next, *prev; /* of blocks in a chain */
};

struct xe_stream {
	uint32_t first, last;  /* chain; XE_LOG_NONE: empty */
	uint32_t at;           /* block that holds offset at_base ... */
	uint64_t at_base;
	uint8_t *cursor;       /* its address */
	uint64_t start;        /* offset of the first block's first byte */
	uint64_t end;          /* offset at which the chain ends */
	uint64_t hole_from, hole_to; /* blocks that are not in the chain any more */
	uint32_t blocks;
};

int xe_block_pool_init(struct xe_block_pool *pool, struct xe_log *log); /* 0, -ENOMEM */
void xe_block_pool_fini(struct xe_block_pool *pool);

void xe_stream_init(struct xe_stream *s);
/* Makes room up to offset `end`; -ENOSPC. With a slot, its first_block is kept. */
int xe_stream_extend(struct xe_block_pool *pool, struct xe_stream *s, uint64_t end,
		     struct xe_log_slot *slot);
static inline int xe_stream_reserve(struct xe_block_pool *pool, struct xe_stream *s, uint64_t end,
				    struct xe_log_slot *slot)
{
	return s->end >= end ? 0 : xe_stream_extend(pool, s, end, slot);
}
/* Copies within what was reserved. */
void xe_stream_write(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at,
		     const uint8_t *bytes, size_t n);
void xe_stream_read(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at, uint8_t *bytes,
		    size_t n);
/* The bytes at `at` that lie together: their address, and at most *n of them. */
const uint8_t *xe_stream_peek(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at,
			      size_t *n);
/* Gives back the blocks that lie below `upto`; all of them where nothing is kept from there on. */
void xe_stream_trim(struct xe_block_pool *pool, struct xe_stream *s, uint64_t upto, uint64_t used);
/* Gives back the blocks that lie in [from, to), but for the last one: those at the beginning, and of
 * others one hole. What is given back is not read any more. The stream begins at a whole block. */
void xe_stream_cut(struct xe_block_pool *pool, struct xe_stream *s, uint64_t from, uint64_t to,
		   struct xe_log_slot *slot);
void xe_stream_free(struct xe_block_pool *pool, struct xe_stream *s);

#endif
