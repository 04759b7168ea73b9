/* IPv4/TCP wire format: bytes into checked values and back.
 *
 * A packet is an IPv4 packet without link-layer header in a caller's buffer.
 * Addresses, ports and sequence numbers are in host order in the view.
 * Fragments, non-TCP and malformed packets do not parse. Setters edit the
 * packet in place and keep the checksum right (RFC 1624).
 */
#ifndef XE_NET_WIRE_H
#define XE_NET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	XE_FIN = 0x01,
	XE_SYN = 0x02,
	XE_RST = 0x04,
	XE_PSH = 0x08,
	XE_ACK = 0x10,
	XE_URG = 0x20,
};

struct xe_tcp_options {
	uint16_t mss;        /* 0: absent */
	uint8_t wscale;      /* valid if has_wscale; at most 14 */
	bool has_wscale;
	bool has_ts;
	bool sack_permitted;
	uint32_t tsval, tsecr;
};

/* Addressing and header values of a segment; what a builder needs. */
struct xe_segment {
	uint32_t saddr, daddr;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window; /* as on the wire, unscaled */
	struct xe_tcp_options opt;
};

struct xe_packet {
	uint8_t *data;     /* whole IPv4 packet, not owned */
	uint16_t len;      /* the IP total length */
	uint16_t tcp;      /* offset of the TCP header */
	uint16_t payload;  /* offset of the payload */
	uint16_t payload_len;
	uint16_t ts;       /* offset of the TSval field, 0 if absent */
	struct xe_segment seg;
};

/* 0, -EINVAL (not a well-formed unfragmented IPv4 TCP packet) or -EBADMSG
 * (a checksum is wrong; looked at only if `verify`). */
int xe_wire_parse(struct xe_packet *p, uint8_t *data, size_t len, bool verify);

/* Writes headers, `n` payload bytes and checksums to `buf`; the packet's length.
 * payload may be NULL with n > 0 if the caller has already placed the bytes at
 * buf + xe_wire_header_len(seg). MSS, wscale and sack-permitted go out with SYN only. */
size_t xe_wire_build(uint8_t *buf, size_t cap, const struct xe_segment *seg, const void *payload,
		     size_t n);
size_t xe_wire_header_len(const struct xe_segment *seg); /* IP + TCP + options */

void xe_wire_set_seq(struct xe_packet *p, uint32_t seq);
void xe_wire_set_ack(struct xe_packet *p, uint32_t ack);
void xe_wire_set_window(struct xe_packet *p, uint16_t window);
void xe_wire_set_flags(struct xe_packet *p, uint8_t flags);
void xe_wire_set_tsval(struct xe_packet *p, uint32_t tsval); /* no-op without timestamps */
void xe_wire_set_tsecr(struct xe_packet *p, uint32_t tsecr);
void xe_wire_set_wscale(struct xe_packet *p, uint8_t wscale); /* no-op without the option */
/* Overwrites payload bytes [at, at + n) and the checksum. */
void xe_wire_set_payload(struct xe_packet *p, size_t at, const void *bytes, size_t n);
/* SYN packets: replaces every option kind that the wrappers cannot carry over
 * (all but MSS, wscale, timestamps, NOP, EOL; also SACK-permitted if !keep_sack)
 * by NOPs and clears ECE/CWR. */
void xe_wire_strip_syn_options(struct xe_packet *p, bool keep_sack);

/* One's complement sum helpers, shared with tests and the relay. */
uint16_t xe_wire_checksum(const void *data, size_t n, uint32_t initial);

#endif
