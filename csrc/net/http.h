/* HTTP/1.x profile of the output stream: where a response's Date value lies.
 *
 * A service that replays its input writes the same bytes again, but for the time of day
 * that HTTP servers put into each response (RFC 9110 6.6.1). This scanner follows the
 * framing of responses (RFC 9112) so that bodies cost nothing, and names the 29 bytes of
 * each Date value; NSW records and replays them. Output that does not begin with "HTTP/1."
 * has none. A wrong guess of the framing can only hide a date, never invent one.
 */
#ifndef XE_NET_HTTP_H
#define XE_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XE_HTTP_DATE = 29, XE_HTTP_LINE = 64 };

enum xe_http_state {
	XE_HTTP_START,   /* of a response */
	XE_HTTP_HEAD,    /* in a line of the head */
	XE_HTTP_BODY,    /* `left` bytes of it to come */
	XE_HTTP_CHUNK,   /* in the line with a chunk's size */
	XE_HTTP_TRAILER, /* after the last chunk */
	XE_HTTP_OPAQUE,  /* not HTTP, or a body up to the end */
};

struct xe_http {
	uint8_t state, line_len;
	bool first_line, no_body, chunked, has_length;
	bool at_body;    /* none of the body has come yet */
	uint64_t left;
	char line[XE_HTTP_LINE]; /* beginning of the line, as far as it has come */
};

/* Takes output up to the next Date value that lies whole in it: the number of bytes taken;
 * *date says whether a value follows them. With NULL all is taken, that value itself for one. */
size_t xe_http_scan(struct xe_http *h, const uint8_t *bytes, size_t n, bool *date);

#define XE_HTTP_LAST_SECOND 253402300799ull /* of the year 9999 */

/* An IMF-fixdate as seconds since 1970, -1 if it is none in canonical form; and back. */
int64_t xe_http_date(const uint8_t text[XE_HTTP_DATE]);
void xe_http_format_date(uint8_t text[XE_HTTP_DATE], int64_t seconds);

#endif
