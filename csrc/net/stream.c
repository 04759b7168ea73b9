/* Payload chains; see stream.h.
 *
 * Invariant: next/prev of a block are meaningful only while it is in a chain; a block is
 * in one chain or on the free list. `at` is a cursor: the last block used, so that the
 * common append touches no other.
 */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

int xe_block_pool_init(struct xe_block_pool *pool, struct xe_log *log)
{
	memset(pool, 0, sizeof(*pool));
	pool->log = log;
	pool->free = malloc(log->blocks * sizeof(uint32_t));
	pool->next = malloc(log->blocks * sizeof(uint32_t));
	pool->prev = malloc(log->blocks * sizeof(uint32_t));
	if (!pool->free || !pool->next || !pool->prev) {
		xe_block_pool_fini(pool);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < log->blocks; i++)
		pool->free[i] = log->blocks - 1 - i;
	pool->free_count = log->blocks;
	return 0;
}

void xe_block_pool_fini(struct xe_block_pool *pool)
{
	free(pool->free);
	free(pool->next);
	free(pool->prev);
	memset(pool, 0, sizeof(*pool));
}

void xe_stream_init(struct xe_stream *s)
{
	*s = (struct xe_stream){.first = XE_LOG_NONE, .last = XE_LOG_NONE, .at = XE_LOG_NONE};
}

static void link_block(struct xe_block_pool *pool, struct xe_stream *s, uint32_t block,
		       struct xe_log_slot *slot)
{
	pool->next[block] = XE_LOG_NONE;
	pool->prev[block] = s->last;
	*xe_log_block_link(pool->log, block) = XE_LOG_NONE;
	if (s->last == XE_LOG_NONE) {
		s->first = block;
		s->at = block;
		s->at_base = s->start;
		s->cursor = xe_log_block(pool->log, block);
		if (slot)
			slot->first_block = block;
	} else {
		pool->next[s->last] = block;
		*xe_log_block_link(pool->log, s->last) = block;
	}
	s->last = block;
	s->end += XE_LOG_BLOCK;
	s->blocks++;
}

int xe_stream_extend(struct xe_block_pool *pool, struct xe_stream *s, uint64_t end,
		     struct xe_log_slot *slot)
{
	while (s->end < end) {
		if (pool->free_count == 0)
			return -ENOSPC;
		link_block(pool, s, pool->free[--pool->free_count], slot);
	}
	return 0;
}

static uint64_t base_after(const struct xe_stream *s, uint64_t base)
{
	base += XE_LOG_BLOCK;
	return base == s->hole_from && s->hole_from < s->hole_to ? s->hole_to : base;
}

static uint64_t base_before(const struct xe_stream *s, uint64_t base)
{
	base = base == s->hole_to && s->hole_from < s->hole_to ? s->hole_from : base;
	return base - XE_LOG_BLOCK;
}

static uint8_t *seek(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at)
{
	xe_assert(at >= s->start && at < s->end);
	xe_assert(at < s->hole_from || at >= s->hole_to);
	while (at >= s->at_base + XE_LOG_BLOCK) {
		s->at = pool->next[s->at];
		s->at_base = base_after(s, s->at_base);
	}
	while (at < s->at_base) {
		s->at = pool->prev[s->at];
		s->at_base = base_before(s, s->at_base);
	}
	s->cursor = xe_log_block(pool->log, s->at);
	return s->cursor + (at - s->at_base);
}

static size_t run_length(const struct xe_stream *s, uint64_t at, size_t n)
{
	uint64_t room = s->at_base + XE_LOG_BLOCK - at;

	return n < room ? n : (size_t)room;
}

static void write_blocks(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at,
			 const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		uint8_t *to = seek(pool, s, at);
		size_t run = run_length(s, at, n);

		memcpy(to, bytes, run);
		at += run;
		bytes += run;
		n -= run;
	}
}

/* A log is larger than any cache: lines of the next append but one are asked for while TCP
 * works on this one. Past a block's end they are the next block's, as a rule. */
static void fetch_ahead(uintptr_t at)
{
	enum { LINE = 64, DISTANCE = 1024, APPEND = 1472 };

	for (uintptr_t line = at + DISTANCE; line < at + DISTANCE + APPEND; line += LINE)
		__builtin_prefetch((const void *)line, 1, 2);
}

void xe_stream_write(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at,
		     const uint8_t *bytes, size_t n)
{
	uint64_t in = at - s->at_base;

	xe_assert(at + n <= s->end);
	if (in < XE_LOG_BLOCK && n <= XE_LOG_BLOCK - in) {
		memcpy(s->cursor + in, bytes, n);
		fetch_ahead((uintptr_t)s->cursor + in + n);
	} else {
		write_blocks(pool, s, at, bytes, n);
	}
}

const uint8_t *xe_stream_peek(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at,
			      size_t *n)
{
	const uint8_t *from = seek(pool, s, at);

	*n = run_length(s, at, *n);
	return from;
}

void xe_stream_read(struct xe_block_pool *pool, struct xe_stream *s, uint64_t at, uint8_t *bytes,
		    size_t n)
{
	while (n > 0) {
		size_t run = n;
		const uint8_t *from = xe_stream_peek(pool, s, at, &run);

		memcpy(bytes, from, run);
		at += run;
		bytes += run;
		n -= run;
	}
}

void xe_stream_trim(struct xe_block_pool *pool, struct xe_stream *s, uint64_t upto, uint64_t used)
{
	xe_assert(upto >= s->start && upto <= used && used <= s->end);
	if (upto == used) {
		xe_stream_free(pool, s);
		s->start = s->end = upto;
		return;
	}
	while (upto >= s->start + XE_LOG_BLOCK) {
		uint32_t next = pool->next[s->first];

		if (s->at == s->first) {
			s->at = next;
			s->at_base += XE_LOG_BLOCK;
			s->cursor = xe_log_block(pool->log, next);
		}
		pool->free[pool->free_count++] = s->first;
		pool->prev[next] = XE_LOG_NONE;
		s->first = next;
		s->start += XE_LOG_BLOCK;
		s->blocks--;
	}
}

/* The chain's block at `base`, and all that follow it below `to`, are free; not the last one. */
static void unchain(struct xe_block_pool *pool, struct xe_stream *s, uint64_t base, uint64_t to)
{
	uint32_t before, block;

	seek(pool, s, base);
	block = s->at;
	before = pool->prev[block];
	for (; base < to; base += XE_LOG_BLOCK) {
		uint32_t next = pool->next[block];

		pool->free[pool->free_count++] = block;
		pool->prev[next] = before;
		if (before != XE_LOG_NONE) {
			pool->next[before] = next;
			*xe_log_block_link(pool->log, before) = next;
		} else {
			s->first = next;
		}
		s->blocks--;
		block = next;
	}
	s->at = block;
	s->at_base = base == s->hole_from ? s->hole_to : base;
	s->cursor = xe_log_block(pool->log, block);
}

static void cut_beginning(struct xe_block_pool *pool, struct xe_stream *s, uint64_t to)
{
	bool hole = s->hole_from < s->hole_to && s->hole_from <= to;

	unchain(pool, s, s->start, hole ? s->hole_from : to);
	s->start = hole ? s->hole_to : to;
	if (!hole)
		return;
	s->hole_from = s->hole_to = 0;
	if (s->start < to)
		unchain(pool, s, s->start, to);
	s->start = s->start < to ? to : s->start;
}

static void cut_hole(struct xe_block_pool *pool, struct xe_stream *s, uint64_t from, uint64_t to)
{
	if (s->hole_from == s->hole_to) {
		unchain(pool, s, from, to);
		s->hole_from = from;
		s->hole_to = to;
		return;
	}
	if (from > s->hole_to || to < s->hole_from) /* a second one: it is kept */
		return;
	if (to > s->hole_to) {
		unchain(pool, s, s->hole_to, to);
		s->hole_to = to;
	}
	if (from < s->hole_from) {
		unchain(pool, s, from, s->hole_from);
		s->hole_from = from;
	}
}

void xe_stream_cut(struct xe_block_pool *pool, struct xe_stream *s, uint64_t from, uint64_t to,
		   struct xe_log_slot *slot)
{
	uint64_t last = s->end - XE_LOG_BLOCK;

	if (s->blocks == 0)
		return;
	xe_assert(s->start % XE_LOG_BLOCK == 0);
	from = (from + XE_LOG_BLOCK - 1) / XE_LOG_BLOCK * XE_LOG_BLOCK;
	to = to / XE_LOG_BLOCK * XE_LOG_BLOCK;
	to = to < last ? to : last;
	if (to <= s->start || from >= to)
		return;
	if (from <= s->start)
		cut_beginning(pool, s, to);
	else
		cut_hole(pool, s, from, to);
	slot->first_block = s->first;
	slot->first_base = s->start;
	slot->hole_from = s->hole_from;
	slot->hole_to = s->hole_to;
}

void xe_stream_free(struct xe_block_pool *pool, struct xe_stream *s)
{
	/* the last one first, so that they are taken again in the order of their addresses */
	for (uint32_t block = s->last; block != XE_LOG_NONE; block = pool->prev[block])
		pool->free[pool->free_count++] = block;
	xe_stream_init(s);
}
