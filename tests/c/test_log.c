/* The log's geometry and finder, and SSW's payload chains against a plain array. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/log.h"
#include "net/stream.h"

enum { MODELS = 4, MODEL_BYTES = 40 * XE_LOG_BLOCK };

static uint8_t *extent[8];

static void map(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		extent[i] = aligned_alloc(XE_PAGE_SIZE, XE_EXTENT_SIZE);
		xe_assert(extent[i]);
		memset(extent[i], 0x5a, XE_EXTENT_SIZE);
	}
}

static void unmap(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(extent[i]);
}

/* ---- geometry ---- */

static void one_extent_only(uint64_t at, uint64_t n)
{
	xe_assert(at / XE_EXTENT_SIZE == (at + n - 1) / XE_EXTENT_SIZE);
}

static void test_geometry(void)
{
	static uint8_t *none[XE_MAX_EXTENTS];
	uint32_t slots = 0;

	for (uint32_t n = 1; n <= 300; n++) {
		uint64_t bytes = (uint64_t)n * XE_EXTENT_SIZE;
		struct xe_log log;

		xe_assert(xe_log_open(&log, none, n) == 0);
		xe_assert(log.extents == n && log.slots >= 64);
		xe_assert((log.slots & (log.slots - 1)) == 0);
		xe_assert(log.slots >= slots);
		slots = log.slots;
		xe_assert(sizeof(struct xe_log_header) <= log.buckets_at);
		xe_assert(log.buckets_at + log.slots * 4ull <= log.slots_at);
		xe_assert(log.slots_at + log.slots * sizeof(struct xe_log_slot) <=
			  log.record_links_at);
		xe_assert(log.record_links_at + log.record_blocks * 4ull <= log.block_links_at);
		xe_assert(log.block_links_at + log.blocks * 4ull <= log.records_at);
		xe_assert(log.records_at + (uint64_t)log.record_blocks * XE_LOG_RECORD_BLOCK <=
			  log.blocks_at);
		xe_assert(log.blocks_at + (uint64_t)log.blocks * XE_LOG_BLOCK <= bytes);
		xe_assert(bytes - log.blocks_at - (uint64_t)log.blocks * XE_LOG_BLOCK <
			  XE_LOG_BLOCK);
		/* Nothing that is addressed as a whole lies on both sides of an extent's end. */
		for (uint32_t i = 0; i < log.slots; i++)
			one_extent_only(log.slots_at + i * 256ull, 256);
		for (uint32_t i = 0; i < log.record_blocks; i++)
			one_extent_only(log.records_at + i * (uint64_t)XE_LOG_RECORD_BLOCK,
					XE_LOG_RECORD_BLOCK);
		for (uint32_t i = 0; i < log.blocks; i++)
			one_extent_only(log.blocks_at + i * (uint64_t)XE_LOG_BLOCK, XE_LOG_BLOCK);
		xe_assert(log.buckets_at % 4 == 0 && log.record_links_at % 4 == 0 &&
			  log.block_links_at % 4 == 0 && log.slots_at % 64 == 0);
		xe_log_close(&log);
	}
}

static void test_open_limits(void)
{
	static uint8_t *none[XE_MAX_EXTENTS];
	struct xe_log log;

	xe_assert(xe_log_open(&log, none, 0) == -EINVAL);
	xe_assert(xe_log_open(&log, none, XE_MAX_EXTENTS + 1) == -EINVAL);
	xe_assert(xe_log_open(&log, none, XE_MAX_EXTENTS) == 0);
	xe_log_close(&log);
}

static void test_valid(void)
{
	struct xe_log log, more;

	map(2);
	xe_assert(xe_log_open(&log, extent, 1) == 0);
	xe_assert(!xe_log_valid(&log));
	xe_log_format(&log);
	xe_assert(xe_log_valid(&log));
	xe_assert(xe_log_open(&more, extent, 2) == 0);
	xe_assert(!xe_log_valid(&more)); /* another size */
	xe_log_head(&log)->version++;
	xe_assert(!xe_log_valid(&log));
	xe_log_close(&more);
	xe_log_close(&log);
	unmap(2);
}

/* ---- find ---- */

static uint32_t bucket_of(const struct xe_log *log, uint32_t i)
{
	return xe_log_hash(1, 80, 2 + i, (uint16_t)(7 * i)) & (log->slots - 1);
}

static uint32_t find(const struct xe_log *log, uint32_t i)
{
	return xe_log_find(log, 1, 80, 2 + i, (uint16_t)(7 * i));
}

static void fill_slots(struct xe_log *log)
{
	xe_log_format(log);
	for (uint32_t i = 0; i < log->slots; i++) {
		struct xe_log_slot *s = xe_log_slot(log, i);
		uint32_t b = bucket_of(log, i);

		s->local_addr = 1;
		s->local_port = 80;
		s->peer_addr = 2 + i;
		s->peer_port = (uint16_t)(7 * i);
		s->hash_next = XE_LOG_LOAD(*xe_log_bucket(log, b));
		atomic_store(&s->state, XE_LOG_ESTABLISHED);
		atomic_store(xe_log_bucket(log, b), i);
	}
}

static void test_find(void)
{
	struct xe_log log;

	map(1);
	xe_assert(xe_log_open(&log, extent, 1) == 0);
	fill_slots(&log);
	for (uint32_t i = 0; i < log.slots; i++)
		xe_assert(find(&log, i) == i);
	xe_assert(find(&log, log.slots) == XE_LOG_NONE);
	atomic_store(&xe_log_slot(&log, 3)->state, XE_LOG_FREE);
	xe_assert(find(&log, 3) == XE_LOG_NONE);
	xe_log_close(&log);
	unmap(1);
}

static void test_find_corrupt(void)
{
	struct xe_rng rng = {.state = 4711};
	struct xe_log log;

	map(1);
	xe_assert(xe_log_open(&log, extent, 1) == 0);
	fill_slots(&log);
	for (uint32_t i = 0; i < log.slots; i++) { /* all chains are cycles */
		xe_log_slot(&log, i)->hash_next = i;
		atomic_store(xe_log_bucket(&log, i), i);
	}
	xe_assert(find(&log, log.slots + 5) == XE_LOG_NONE);
	for (int round = 0; round < 2000; round++) {
		for (uint32_t i = 0; i < log.slots; i++) {
			uint32_t wild = (uint32_t)xe_rng_next(&rng);
			uint32_t near = (uint32_t)xe_rng_below(&rng, log.slots + 3);

			xe_log_slot(&log, i)->hash_next = round & 1 ? wild : near;
			atomic_store(xe_log_bucket(&log, i), wild & 16 ? near : wild);
		}
		for (uint32_t i = 0; i < log.slots + 10; i++) {
			uint32_t got = find(&log, i);

			xe_assert(got == XE_LOG_NONE || got == i);
		}
	}
	xe_log_close(&log);
	unmap(1);
}

/* ---- streams ---- */

struct model {
	struct xe_stream stream;
	struct xe_log_slot slot;
	uint8_t bytes[MODEL_BYTES];
	uint64_t end;
};

/* What a reader of the mapped log sees, and that the chain has no block too many. */
static void check_chain(const struct xe_log *log, struct model *m)
{
	uint32_t block = m->end ? m->slot.first_block : XE_LOG_NONE;
	uint64_t at = 0;

	for (; at < m->stream.end; at += XE_LOG_BLOCK) {
		uint64_t n = m->end - at < XE_LOG_BLOCK ? m->end - at : XE_LOG_BLOCK;

		xe_assert(block < log->blocks);
		xe_assert(memcmp(xe_log_block(log, block), m->bytes + at, n) == 0);
		block = *xe_log_block_link(log, block);
	}
	xe_assert(block == XE_LOG_NONE && at == m->stream.end);
	xe_assert(m->stream.end < m->end + XE_LOG_BLOCK);
}

static void grow(struct xe_block_pool *pool, struct model *m, uint64_t end)
{
	static const uint8_t zero[XE_LOG_BLOCK];
	uint64_t had = m->stream.end;
	int rc = xe_stream_reserve(pool, &m->stream, end, &m->slot);

	if (rc) { /* the pool is empty; what it got stays in the chain */
		xe_assert(rc == -ENOSPC && pool->free_count == 0);
		end = m->stream.end;
	}
	for (uint64_t at = had; at < m->stream.end; at += XE_LOG_BLOCK)
		xe_stream_write(pool, &m->stream, at, zero, XE_LOG_BLOCK);
	memset(m->bytes + had, 0, m->stream.end - had);
	m->end = m->end > end ? m->end : end;
}

static void test_stream_model(void)
{
	static struct model m[MODELS];
	static uint8_t buf[MODEL_BYTES];
	struct xe_rng rng = {.state = 99};
	struct xe_block_pool pool;
	struct xe_log log;
	uint64_t full = 0;

	map(1);
	xe_assert(xe_log_open(&log, extent, 1) == 0);
	xe_log_format(&log);
	xe_assert(xe_block_pool_init(&pool, &log) == 0);
	for (int i = 0; i < MODELS; i++)
		xe_stream_init(&m[i].stream);
	for (int op = 0; op < 40000; op++) {
		struct model *x = &m[xe_rng_below(&rng, MODELS)];
		uint64_t at = x->end ? xe_rng_below(&rng, x->end) : 0, n;
		uint64_t most = op & 4 ? 3 * XE_LOG_BLOCK : 2000;

		n = x->end - at < most ? x->end - at : most;
		n = n ? xe_rng_below(&rng, n + 1) : 0;
		switch (xe_rng_below(&rng, 400)) {
		case 0:
			xe_stream_free(&pool, &x->stream);
			x->end = 0;
			break;
		case 1 ... 40:
			at = x->end + xe_rng_below(&rng, 2 * XE_LOG_BLOCK);
			grow(&pool, x, at < MODEL_BYTES ? at : MODEL_BYTES);
			full += pool.free_count == 0;
			break;
		case 41 ... 60:
			check_chain(&log, x);
			break;
		case 61 ... 200:
			memset(buf, 0xee, n);
			xe_stream_read(&pool, &x->stream, at, buf, n);
			xe_assert(memcmp(buf, x->bytes + at, n) == 0);
			break;
		default:
			if (n == 0)
				break;
			for (uint64_t i = 0; i < n; i++)
				buf[i] = (uint8_t)xe_rng_next(&rng);
			xe_stream_write(&pool, &x->stream, at, buf, n);
			memcpy(x->bytes + at, buf, n);
		}
	}
	xe_assert(full > 0);
	for (int i = 0; i < MODELS; i++) {
		check_chain(&log, &m[i]);
		xe_stream_free(&pool, &m[i].stream);
	}
	xe_assert(pool.free_count == log.blocks);
	memset(buf, 0, log.blocks);
	for (uint32_t i = 0; i < log.blocks; i++) {
		xe_assert(pool.free[i] < log.blocks && !buf[pool.free[i]]);
		buf[pool.free[i]] = 1;
	}
	xe_block_pool_fini(&pool);
	xe_log_close(&log);
	unmap(1);
}

int main(void)
{
	test_geometry();
	test_open_limits();
	test_valid();
	test_find();
	test_find_corrupt();
	test_stream_model();
	return 0;
}
