/* CRC-32C: RFC 3720's vectors; every alignment and length against one bit at a time. */
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/rng.h"

enum { LONGEST = 1600, ALIGNMENTS = 16, GUARD = 0xa5 };

typedef uint32_t crc_fn(uint32_t, const void *, size_t);
typedef uint32_t copy_fn(uint32_t, void *, const void *, size_t);

static const struct {
	crc_fn *crc;
	copy_fn *copy;
} ways[] = {
	{xe_crc32c, xe_crc32c_copy},
	{xe_crc32c_portable, xe_crc32c_copy_portable},
};

static uint32_t one_bit_at_a_time(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

/* RFC 3720, B.4; the RFC prints the bytes as they go on the wire, least significant first. */
static void vectors(crc_fn *crc)
{
	static const uint8_t read_pdu[48] = {
		0x01,        0xc0,        [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};
	uint8_t b[32];

	memset(b, 0, sizeof(b));
	xe_assert(crc(0, b, 32) == 0x8a9136aau);
	memset(b, 0xff, sizeof(b));
	xe_assert(crc(0, b, 32) == 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	xe_assert(crc(0, b, 32) == 0x46dd794eu);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	xe_assert(crc(0, b, 32) == 0x113fdb5cu);
	xe_assert(crc(0, read_pdu, 48) == 0xd9963a56u);
	xe_assert(crc(0, "123456789", 9) == 0xe3069283u);
	xe_assert(crc(0, b, 0) == 0 && crc(0x12345678u, b, 0) == 0x12345678u);
}

/* Each length at each alignment, the copy to another one, nothing written around it. */
static void lengths(crc_fn *crc, copy_fn *copy)
{
	uint8_t from[LONGEST + ALIGNMENTS], to[LONGEST + 3 * ALIGNMENTS];
	struct xe_rng rng = {3720};

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)xe_rng_next(&rng);
	for (size_t n = 0; n <= LONGEST; n++) {
		uint32_t before = (uint32_t)xe_rng_next(&rng);

		for (size_t align = 0; align < ALIGNMENTS;
		     align += n < 600 || n % 97 == 0 ? 1 : 5) {
			size_t at = ALIGNMENTS + (align * 7 + n) % ALIGNMENTS;
			uint32_t want = one_bit_at_a_time(before, from + align, n);

			xe_assert(crc(before, from + align, n) == want);
			memset(to, GUARD, sizeof(to));
			xe_assert(copy(before, to + at, from + align, n) == want);
			xe_assert(memcmp(to + at, from + align, n) == 0);
			for (size_t i = 0; i < ALIGNMENTS; i++)
				xe_assert(to[at - 1 - i] == GUARD && to[at + n + i] == GUARD);
		}
	}
}

/* A stream in pieces has the CRC of the whole. */
static void pieces(crc_fn *crc, copy_fn *copy)
{
	static uint8_t from[1 << 16], to[1 << 16];
	struct xe_rng rng = {1};
	uint32_t whole, read = 0, copied = 0;

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)xe_rng_next(&rng);
	whole = one_bit_at_a_time(0, from, sizeof(from));
	xe_assert(crc(0, from, sizeof(from)) == whole);
	for (size_t at = 0, n; at < sizeof(from); at += n) {
		n = xe_rng_below(&rng, 3000);
		if (n > sizeof(from) - at)
			n = sizeof(from) - at;
		read = crc(read, from + at, n);
		copied = copy(copied, to + at, from + at, n);
	}
	xe_assert(read == whole && copied == whole && memcmp(from, to, sizeof(to)) == 0);
}

/* crc(ab) from crc(a), crc(b) and the length of b alone. */
static void shift(void)
{
	uint8_t bytes[3000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i + 7);
	for (size_t b = 0; b < sizeof(bytes); b = b * 2 + 1) {
		size_t a = sizeof(bytes) - b;
		uint32_t crc = xe_crc32c_shift(xe_crc32c(0, bytes, a), b);

		xe_assert((crc ^ xe_crc32c(0, bytes + a, b)) == xe_crc32c(0, bytes, sizeof(bytes)));
	}
	/* far beyond any length that could be gone through */
	xe_assert(xe_crc32c_shift(xe_crc32c_shift(12345, 1ull << 40), 1ull << 40) ==
		  xe_crc32c_shift(12345, 1ull << 41));
	xe_assert(xe_crc32c_shift(12345, 0) == 12345);
}

int main(void)
{
	shift();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		vectors(ways[i].crc);
		lengths(ways[i].crc, ways[i].copy);
		pieces(ways[i].crc, ways[i].copy);
	}
	return 0;
}
