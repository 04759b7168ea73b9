/* Packet capture: what the TCP of each node sends and is given, in order.
 *
 * A record is a header of 16 bytes, little-endian, and the IPv4 packet:
 *
 *     time ns (8) | node (4) | direction (2; 0 received, 1 sent) | length (2)
 *
 * The buffer is reserved when the capture is switched on; whoever switched it on drains it.
 * xe_machine_run returns between two instants when it is half full. A full buffer drops,
 * and counts: a capture never changes what the machine does.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "machine_internal.h"

enum { CAPTURE_BYTES = 64 << 20, HEADER = 16 };

int xe_machine_capture(struct xe_machine *m, bool on)
{
	static const struct xe_capture off;
	void *p;

	if (on == (m->capture.data != NULL))
		return 0;
	if (!on) {
		munmap(m->capture.data, CAPTURE_BYTES);
		m->capture = off;
		return 0;
	}
	p = mmap(NULL, CAPTURE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	m->capture.data = p;
	return 0;
}

static uint8_t *put(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*p++ = (uint8_t)(v >> 8 * i);
	return p;
}

void xe_capture_add(struct xe_machine *m, uint32_t node, enum xe_capture_direction direction,
		    const uint8_t *packet, size_t len)
{
	struct xe_capture *c = &m->capture;
	uint8_t *p = c->data + c->used;

	if (len > UINT16_MAX || c->used + HEADER + len > CAPTURE_BYTES) {
		c->dropped++;
		return;
	}
	p = put(p, xe_machine_clock(m), 8);
	p = put(p, node, 4);
	p = put(p, direction, 2);
	p = put(p, len, 2);
	memcpy(p, packet, len);
	c->used += HEADER + len;
}

bool xe_capture_wants_draining(struct xe_machine *m)
{
	struct xe_capture *c = &m->capture;

	if (c->asked || c->used < CAPTURE_BYTES / 2)
		return false;
	c->asked = true; /* once: a machine that nobody drains must run on */
	return true;
}

size_t xe_machine_captured(const struct xe_machine *m, const uint8_t **records)
{
	*records = m->capture.data;
	return m->capture.used;
}

uint64_t xe_machine_capture_dropped(const struct xe_machine *m)
{
	return m->capture.dropped;
}

void xe_machine_capture_drain(struct xe_machine *m)
{
	m->capture.used = 0;
	m->capture.asked = false;
}
