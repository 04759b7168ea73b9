/* A fuzz input as a stream of small numbers; beyond its end there are zeros. */
#ifndef XE_FUZZ_INPUT_H
#define XE_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
	const uint8_t *at, *end;
};

static inline bool input_left(const struct input *in)
{
	return in->at < in->end;
}
static inline uint8_t input8(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}
static inline uint16_t input16(struct input *in)
{
	uint16_t low = input8(in);

	return (uint16_t)(low | input8(in) << 8);
}
static inline uint32_t input32(struct input *in)
{
	uint32_t low = input16(in);

	return low | (uint32_t)input16(in) << 16;
}
/* Up to `n` bytes; how many there were. */
static inline size_t input_bytes(struct input *in, uint8_t *to, size_t n)
{
	size_t left = (size_t)(in->end - in->at);

	if (n > left)
		n = left;
	if (n > 0)
		memcpy(to, in->at, n);
	in->at += n;
	return n;
}

/* A distance from a limit: mostly a few steps, sometimes half the number space. */
static inline uint32_t input_near(struct input *in)
{
	uint8_t b = input8(in);

	if (b < 128)
		return (uint32_t)(b - 64);
	if (b < 192)
		return (uint32_t)(b - 160) * 509u;
	if (b < 248)
		return (uint32_t)(b - 220) << 11;
	return b < 252 ? (uint32_t)b << 29 : input32(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
