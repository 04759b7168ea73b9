/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), alone and along with a copy.
 *
 * `crc` is that of the bytes before, 0 at the beginning, so a stream can be given in
 * pieces: crc(ab) = crc(crc(0, a), b). The CPU's instruction where there is one, else
 * tables; both give the same values. No alignment is asked for.
 */
#ifndef XE_BASE_CRC32C_H
#define XE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t xe_crc32c(uint32_t crc, const void *data, size_t n);
/* Copies n bytes too, in the same pass. The two must not overlap. */
uint32_t xe_crc32c_copy(uint32_t crc, void *to, const void *from, size_t n);

/* That of bytes followed by n others is xe_crc32c_shift(crc of the former, n) ^ crc of the latter. */
uint32_t xe_crc32c_shift(uint32_t crc, uint64_t n);

/* The tables, whatever the CPU has. */
uint32_t xe_crc32c_portable(uint32_t crc, const void *data, size_t n);
uint32_t xe_crc32c_copy_portable(uint32_t crc, void *to, const void *from, size_t n);

#endif
