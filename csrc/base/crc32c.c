/* CRC-32C: slicing-by-8 tables, the SSE4.2 and ARMv8 instructions.
 *
 * The table for byte i of eight is linear in that byte: an entry is the sum of the
 * entries of its bits, which are x^32 ... x^95 modulo the polynomial, so the compiler makes
 * the tables from those 64 numbers. x86-64 is asked at run time; AArch64 when compiled.
 * On x86-64 three lanes hide the instruction's latency of three cycles; a lane's CRC is
 * carried over the next lane by a carry-less product with x^(8 LANE - 33), whose 64-bit
 * result the instruction reduces. Each way is one inline function: `to` is NULL in the one
 * that does not copy.
 */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* ---- tables ---- */

#define BIT(i, b, x) ((i) >> (b) & 1 ? (x) : 0u)
#define ENTRY(i, x0, x1, x2, x3, x4, x5, x6, x7)                                         \
	(BIT(i, 0, x0) ^ BIT(i, 1, x1) ^ BIT(i, 2, x2) ^ BIT(i, 3, x3) ^ BIT(i, 4, x4) ^ \
	 BIT(i, 5, x5) ^ BIT(i, 6, x6) ^ BIT(i, 7, x7))
#define ENTRIES4(i, ...)                                                             \
	ENTRY(i, __VA_ARGS__), ENTRY(i + 1, __VA_ARGS__), ENTRY(i + 2, __VA_ARGS__), \
		ENTRY(i + 3, __VA_ARGS__)
#define ENTRIES16(i, ...)                                                                     \
	ENTRIES4(i, __VA_ARGS__), ENTRIES4(i + 4, __VA_ARGS__), ENTRIES4(i + 8, __VA_ARGS__), \
		ENTRIES4(i + 12, __VA_ARGS__)
#define ENTRIES64(i, ...)                                                                          \
	ENTRIES16(i, __VA_ARGS__), ENTRIES16(i + 16, __VA_ARGS__), ENTRIES16(i + 32, __VA_ARGS__), \
		ENTRIES16(i + 48, __VA_ARGS__)
#define TABLE(...)                                                                           \
	{ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__), ENTRIES64(128, __VA_ARGS__), \
	 ENTRIES64(192, __VA_ARGS__)}

/* table[k][i]: the CRC of byte i with k zero bytes after it. */
static const uint32_t table[8][256] = {
	TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu,
	      0x417b1dbcu, 0x82f63b78u),
	TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u,
	      0xff17c604u, 0xfbc3faf9u),
	TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u,
	      0xc76580d9u, 0x8b277743u),
	TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu,
	      0xaba65fe7u, 0x52a0c93fu),
	TABLE(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u,
	      0x37516aaeu, 0x6ea2d55cu),
	TABLE(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du,
	      0x0e045bebu, 0x1c08b7d6u),
	TABLE(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu,
	      0x7ab7077au, 0xf56e0ef4u),
	TABLE(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u,
	      0x1a00cb32u, 0x34019664u),
};

ALWAYS_INLINE uint32_t little32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

ALWAYS_INLINE uint32_t with_tables(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t low = crc ^ little32(p), high = little32(p + 4);

		if (to) {
			memcpy(to, p, 8);
			to += 8;
		}
		crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
		      table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
		      table[1][high >> 16 & 255] ^ table[0][high >> 24];
	}
	for (; n > 0; n--, p++) {
		if (to)
			*to++ = *p;
		crc = table[0][(crc ^ *p) & 255] ^ crc >> 8;
	}
	return ~crc;
}

uint32_t xe_crc32c_portable(uint32_t crc, const void *data, size_t n)
{
	return with_tables(crc, NULL, data, n);
}

uint32_t xe_crc32c_copy_portable(uint32_t crc, void *to, const void *from, size_t n)
{
	return with_tables(crc, to, from, n);
}

/* ---- instructions ---- */

#if defined(__x86_64__)

#define TARGET __attribute__((target("sse4.2,pclmul")))

enum { LANE = 160 }; /* three are a third of a full segment */

#define OVER_ONE_LANE 0x878a92a7u  /* x^(8 * 160 - 33) */
#define OVER_TWO_LANES 0xbac2fd7bu /* x^(8 * 320 - 33) */

static bool has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

TARGET ALWAYS_INLINE uint64_t word(uint64_t crc, uint8_t *to, const uint8_t *p, size_t at)
{
	uint64_t w;

	memcpy(&w, p + at, 8);
	if (to)
		memcpy(to + at, &w, 8);
	return _mm_crc32_u64(crc, w);
}

TARGET ALWAYS_INLINE uint64_t carry(uint64_t crc, uint32_t over)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
					       _mm_cvtsi64_si128((long long)over), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

TARGET ALWAYS_INLINE uint64_t three_lanes(uint64_t crc, uint8_t *to, const uint8_t *p)
{
	uint64_t a = crc, b = 0, c = 0;

	for (size_t i = 0; i < LANE; i += 8) {
		a = word(a, to, p, i);
		b = word(b, to, p, LANE + i);
		c = word(c, to, p, 2 * (size_t)LANE + i);
	}
	return carry(a, OVER_TWO_LANES) ^ carry(b, OVER_ONE_LANE) ^ c;
}

TARGET ALWAYS_INLINE uint32_t with_sse42(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	uint64_t c = ~crc;
	size_t at = 0;

	for (; n - at >= 3 * (size_t)LANE; at += 3 * (size_t)LANE)
		c = three_lanes(c, to ? to + at : NULL, p + at);
	for (; n - at >= 8; at += 8)
		c = word(c, to, p, at);
	for (; at < n; at++) {
		if (to)
			to[at] = p[at];
		c = _mm_crc32_u8((uint32_t)c, p[at]);
	}
	return ~(uint32_t)c;
}

TARGET static uint32_t instruction(uint32_t crc, const uint8_t *p, size_t n)
{
	return with_sse42(crc, NULL, p, n);
}

TARGET static uint32_t instruction_copy(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	return with_sse42(crc, to, p, n);
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

static bool has_instruction(void)
{
	return true;
}

ALWAYS_INLINE uint32_t with_armv8(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	uint64_t w;
	size_t at = 0;

	crc = ~crc;
	for (; n - at >= 8; at += 8) {
		memcpy(&w, p + at, 8);
		if (to)
			memcpy(to + at, &w, 8);
		crc = __crc32cd(crc, w);
	}
	for (; at < n; at++) {
		if (to)
			to[at] = p[at];
		crc = __crc32cb(crc, p[at]);
	}
	return ~crc;
}

static uint32_t instruction(uint32_t crc, const uint8_t *p, size_t n)
{
	return with_armv8(crc, NULL, p, n);
}

static uint32_t instruction_copy(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	return with_armv8(crc, to, p, n);
}

#else

static bool has_instruction(void)
{
	return false;
}

static uint32_t instruction(uint32_t crc, const uint8_t *p, size_t n)
{
	return xe_crc32c_portable(crc, p, n);
}

static uint32_t instruction_copy(uint32_t crc, uint8_t *to, const uint8_t *p, size_t n)
{
	return xe_crc32c_copy_portable(crc, to, p, n);
}

#endif

uint32_t xe_crc32c(uint32_t crc, const void *data, size_t n)
{
	if (!has_instruction())
		return xe_crc32c_portable(crc, data, n);
	return instruction(crc, data, n);
}

uint32_t xe_crc32c_copy(uint32_t crc, void *to, const void *from, size_t n)
{
	if (!has_instruction())
		return xe_crc32c_copy_portable(crc, to, from, n);
	return instruction_copy(crc, to, from, n);
}

/* ---- n bytes further: the product with x^(8n) modulo the polynomial ---- */

/* Bit 31 is x^0. */
static uint32_t product(uint32_t a, uint32_t b)
{
	uint32_t sum = 0;

	for (int power = 31; power >= 0; power--) {
		if (a >> power & 1)
			sum ^= b;
		b = b >> 1 ^ (b & 1 ? 0x82f63b78u : 0);
	}
	return sum;
}

uint32_t xe_crc32c_shift(uint32_t crc, uint64_t n)
{
	uint32_t square = 1u << 23; /* x^8 */

	for (; n > 0; n >>= 1) {
		if (n & 1)
			crc = product(crc, square);
		square = product(square, square);
	}
	return crc;
}
