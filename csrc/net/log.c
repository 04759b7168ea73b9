/* The log buffer's geometry and its untrusting readers; see log.h for the format.
 *
 * Left out on purpose: allocation. Each writer keeps its arena's free list in memory of
 * its own (stream.c for payload, nsw.c for records), where the other can't scribble.
 */
#include "net/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static void lay_out(struct xe_log *log)
{
	uint64_t bytes = (uint64_t)log->extents * XE_EXTENT_SIZE;
	uint32_t slots = 64;

	while (slots < 16384 && slots < log->extents * 64u)
		slots *= 2;
	log->slots = slots;
	log->record_blocks = (uint32_t)(bytes / 32 / XE_LOG_RECORD_BLOCK);
	log->ports_at = XE_PAGE_SIZE;
	log->buckets_at = log->ports_at + 65536;
	log->slots_at = align_up(log->buckets_at + slots * 4ull, sizeof(struct xe_log_slot));
	log->record_links_at = log->slots_at + slots * sizeof(struct xe_log_slot);
	log->block_links_at = log->record_links_at + log->record_blocks * 4ull;
	log->records_at =
		align_up(log->block_links_at + bytes / XE_LOG_BLOCK * 4, XE_LOG_RECORD_BLOCK);
	log->blocks_at = align_up(
		log->records_at + (uint64_t)log->record_blocks * XE_LOG_RECORD_BLOCK, XE_LOG_BLOCK);
	xe_assert(log->blocks_at < bytes);
	log->blocks = (uint32_t)((bytes - log->blocks_at) / XE_LOG_BLOCK);
}

int xe_log_open(struct xe_log *log, uint8_t *const *extent, uint32_t n)
{
	if (n == 0 || n > XE_MAX_EXTENTS)
		return -EINVAL;
	memset(log, 0, sizeof(*log));
	log->extent = malloc(n * sizeof(*log->extent));
	if (!log->extent)
		return -ENOMEM;
	memcpy(log->extent, extent, n * sizeof(*extent));
	log->extents = n;
	lay_out(log);
	return 0;
}

void xe_log_close(struct xe_log *log)
{
	free(log->extent);
	memset(log, 0, sizeof(*log));
}

void xe_log_format(struct xe_log *log)
{
	struct xe_log_header *head = xe_log_head(log);

	memset(xe_log_at(log, log->ports_at), 0, 65536);
	for (uint32_t i = 0; i < log->slots; i++) {
		memset(xe_log_slot(log, i), 0, sizeof(struct xe_log_slot));
		xe_log_slot(log, i)->chain[0].first = XE_LOG_NONE;
		xe_log_slot(log, i)->chain[1].first = XE_LOG_NONE;
		xe_log_slot(log, i)->root = XE_LOG_NONE;
		XE_LOG_COMMIT(*xe_log_bucket(log, i), XE_LOG_NONE);
	}
	head->version = XE_LOG_VERSION;
	head->extents = log->extents;
	atomic_init(&head->generation, 1);
	head->magic = XE_LOG_MAGIC;
}

bool xe_log_valid(const struct xe_log *log)
{
	const struct xe_log_header *head = xe_log_head(log);

	return head->magic == XE_LOG_MAGIC && head->version == XE_LOG_VERSION &&
	       head->extents == log->extents;
}

uint32_t xe_log_hash(uint32_t local_addr, uint16_t local_port, uint32_t peer_addr,
		     uint16_t peer_port)
{
	uint64_t x = ((uint64_t)local_addr << 32 | peer_addr) ^
		     ((uint64_t)local_port << 48 | (uint64_t)peer_port << 16);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)(x ^ (x >> 31));
}

uint32_t xe_log_find(const struct xe_log *log, uint32_t local_addr, uint16_t local_port,
		     uint32_t peer_addr, uint16_t peer_port)
{
	uint32_t hash = xe_log_hash(local_addr, local_port, peer_addr, peer_port);
	uint32_t i = XE_LOG_LOAD(*xe_log_bucket(log, hash & (log->slots - 1)));

	for (uint32_t steps = 0; i < log->slots && steps < log->slots; steps++) {
		const struct xe_log_slot *s = xe_log_slot(log, i);
		uint32_t state = XE_LOG_LOAD(s->state);

		if (state != XE_LOG_FREE && state != XE_LOG_GHOST && s->local_addr == local_addr &&
		    s->peer_addr == peer_addr && s->local_port == local_port &&
		    s->peer_port == peer_port)
			return i;
		i = s->hash_next;
	}
	return XE_LOG_NONE;
}
