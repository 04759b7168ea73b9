/* HTTP/1.1 framing, strictly: where requests and responses end (RFC 9112).
 *
 * For who cuts messages out of a stream: what is not clean HTTP/1.1 is refused (XE_MSG_NOT, for
 * ever), also what many servers would let pass, since two readers of it may see two framings.
 * net/http.h is the lenient one, for dates.
 */
#ifndef XE_NET_HTTP_MESSAGE_H
#define XE_NET_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XE_MSG_LINE = 40 };

enum xe_msg_type { XE_MSG_REQUEST, XE_MSG_RESPONSE };

enum xe_msg_event {
	XE_MSG_MORE, /* all bytes are taken */
	XE_MSG_HEAD, /* the last byte taken ends the head */
	XE_MSG_END,  /* ... the message; the next may follow */
	XE_MSG_NOT,
};

enum xe_msg_state {
	XE_MSG_START, /* no byte of a message has come */
	XE_MSG_FIRST_LINE,
	XE_MSG_FIELD,
	XE_MSG_BODY,      /* `left` bytes to come */
	XE_MSG_CHUNK,     /* in the line with a chunk's size */
	XE_MSG_CHUNK_END, /* the line end after a chunk's data */
	XE_MSG_TRAILER,
	XE_MSG_TO_END,    /* body or tunnel up to the end of the stream */
	XE_MSG_OPAQUE,
};

struct xe_msg {
	uint8_t type, state;     /* type: set once, before the first byte */
	bool no_body;            /* set at XE_MSG_START: the response answers HEAD */
	/* Of the message, from XE_MSG_HEAD on. */
	bool last;               /* it ends the connection, or may */
	bool head, connect, upgrade; /* request: what it asks for */
	bool chunked, has_length, old; /* old: HTTP/1.0 */
	uint16_t status;
	uint64_t length;
	/* Of the line that is coming. */
	bool cr, in_name, cut_off;
	uint8_t line_len, spaces, since_space;
	uint64_t left;
	uint64_t tail;           /* its last 8 bytes */
	char line[XE_MSG_LINE];  /* its beginning */
};

/* Takes bytes up to the next event. A message without body has two events at its last byte: the
 * second comes with no byte taken. */
enum xe_msg_event xe_msg_take(struct xe_msg *m, const uint8_t *bytes, size_t n, size_t *taken);

/* At XE_MSG_HEAD: what follows the head is no body but a tunnel. */
static inline void xe_msg_tunnel(struct xe_msg *m)
{
	m->state = XE_MSG_TO_END;
}

#endif
