/* Segment descriptors of 64-bit guests: which may lie in a GDT or LDT.
 *
 * Code and data segments may have any base and limit, but no more privilege than the guest's kernel:
 * theirs is lowered. Of system descriptors only call gates into the guest's own segments are let
 * through, with privilege 0, so that using one faults. */
#include "xen/internal.h"

#define SEG_PRESENT (1u << 15)
#define SEG_DPL (3u << 13)
#define SEG_NO_SYSTEM (1u << 12)
#define SEG_TYPE (15u << 8)
#define SEG_CODE (8u << 8)
#define SEG_READABLE (2u << 8) /* of code */
#define SEG_ACCESSED (1u << 8)
#define SEG_CALL_GATE (12u << 8)

enum {
	KERNEL_RPL = 3,
	FIRST_RESERVED_ENTRY = 14 * 512, /* of the GDT */
	FLAT_KERNEL_CS = 0xe033,
};

/* Corrects *desc; false: it can't be let through. */
bool xe_check_descriptor(uint64_t *desc)
{
	uint32_t a = (uint32_t)*desc, b = (uint32_t)(*desc >> 32), cs = a >> 16;

	if (!(b & SEG_PRESENT))
		return true;
	b |= KERNEL_RPL << 13;
	if (!(b & SEG_NO_SYSTEM)) {
		if (!(b & SEG_TYPE))
			return true;
		if ((b & SEG_TYPE) != SEG_CALL_GATE || b & 0xff)
			return false;
		if (cs >> 3 >= FIRST_RESERVED_ENTRY && cs != FLAT_KERNEL_CS && !(cs & 4))
			return false;
		b &= ~SEG_DPL;
		a = (a & 0xffff) | (cs | KERNEL_RPL) << 16;
	}
	*desc = (uint64_t)b << 32 | a;
	return true;
}

/* What the CPU does as a data segment register is loaded with a checked descriptor; false: it faults. */
bool xe_load_descriptor(uint64_t *desc, uint64_t *base)
{
	uint32_t a = (uint32_t)*desc, b = (uint32_t)(*desc >> 32);

	if (!(b & SEG_PRESENT) || !(b & SEG_NO_SYSTEM) ||
	    (b & (SEG_CODE | SEG_READABLE)) == SEG_CODE)
		return false;
	*desc |= (uint64_t)SEG_ACCESSED << 32;
	*base = (b & 0xff000000) | (b & 0xff) << 16 | a >> 16;
	return true;
}
