/* HTTP/1.1 framing; see http_message.h.
 *
 * Invariants: `line` holds the first `line_len` bytes of the line, `cut_off` says that there were
 * more; a refused stream stays refused. All that a peer can send is a refusal at worst.
 * Left out on purpose: obs-fold, bare LF, empty lines before a request, transfer codings other
 * than chunked, several lengths: all refused.
 */
#include "net/http_message.h"

#include <string.h>
#include <strings.h>

static enum xe_msg_event refuse(struct xe_msg *m)
{
	m->state = XE_MSG_OPAQUE;
	return XE_MSG_NOT;
}

static void begin_line(struct xe_msg *m, enum xe_msg_state state)
{
	m->state = (uint8_t)state;
	m->cr = m->cut_off = false;
	m->in_name = true;
	m->line_len = m->spaces = m->since_space = 0;
	m->tail = 0;
}

static void begin_message(struct xe_msg *m)
{
	uint8_t type = m->type;
	bool no_body = m->no_body;

	memset(m, 0, sizeof(*m));
	m->type = type;
	m->no_body = no_body;
	begin_line(m, XE_MSG_FIRST_LINE);
}

static bool is_token(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ---- first lines ---- */

#define TAIL(a, b, c, d, e, f, g, h)                                                             \
	((uint64_t)(a) << 56 | (uint64_t)(b) << 48 | (uint64_t)(c) << 40 | (uint64_t)(d) << 32 | \
	 (uint64_t)(e) << 24 | (uint64_t)(f) << 16 | (g) << 8 | (h))

static bool begins(const struct xe_msg *m, const char *text)
{
	size_t n = strlen(text);

	return m->line_len >= n && memcmp(m->line, text, n) == 0;
}

static enum xe_msg_event request_line(struct xe_msg *m)
{
	if (m->spaces != 2 || m->since_space != 8 || m->line[0] < 'A' || m->line[0] > 'Z')
		return refuse(m);
	if (m->tail == TAIL('H', 'T', 'T', 'P', '/', '1', '.', '0'))
		m->last = m->old = true;
	else if (m->tail != TAIL('H', 'T', 'T', 'P', '/', '1', '.', '1'))
		return refuse(m);
	m->head = begins(m, "HEAD ");
	m->connect = begins(m, "CONNECT ");
	begin_line(m, XE_MSG_FIELD);
	return XE_MSG_MORE;
}

static enum xe_msg_event status_line(struct xe_msg *m)
{
	const char *l = m->line;

	if (m->line_len < 12 || !begins(m, "HTTP/1.") || (l[7] != '0' && l[7] != '1') ||
	    l[8] != ' ' || l[9] < '1' || l[9] > '5' || !is_digit(l[10]) || !is_digit(l[11]) ||
	    (m->line_len > 12 && l[12] != ' '))
		return refuse(m);
	m->last = m->old = l[7] == '0';
	m->status = (uint16_t)((l[9] - '0') * 100 + (l[10] - '0') * 10 + (l[11] - '0'));
	begin_line(m, XE_MSG_FIELD);
	return XE_MSG_MORE;
}

/* ---- fields ---- */

/* The value of the field if that is its name: without white space around it. */
static bool field(const struct xe_msg *m, const char *name, const char **value, size_t *n)
{
	size_t from = strlen(name) + 1, to = m->line_len;

	if (to < from || m->line[from - 1] != ':' || strncasecmp(m->line, name, from - 1) != 0)
		return false;
	while (from < to && (m->line[from] == ' ' || m->line[from] == '\t'))
		from++;
	while (to > from && (m->line[to - 1] == ' ' || m->line[to - 1] == '\t'))
		to--;
	*value = m->line + from;
	*n = to - from;
	return true;
}

static bool contains(const char *value, size_t n, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= n; i++) {
		if (strncasecmp(value + i, word, len) == 0)
			return true;
	}
	return false;
}

static enum xe_msg_event length_field(struct xe_msg *m, const char *value, size_t n)
{
	if (m->cut_off || m->has_length || m->chunked || n == 0 || n > 18)
		return refuse(m);
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(value[i]))
			return refuse(m);
		m->length = m->length * 10 + (uint64_t)(value[i] - '0');
	}
	m->has_length = true;
	return XE_MSG_MORE;
}

static enum xe_msg_event coding_field(struct xe_msg *m, const char *value, size_t n)
{
	if (m->cut_off || m->has_length || m->chunked || n != 7 ||
	    strncasecmp(value, "chunked", n) != 0)
		return refuse(m);
	m->chunked = true;
	return XE_MSG_MORE;
}

/* Whether the connection itself, not each request, is authenticated. */
static bool is_stateful(const char *value, size_t n)
{
	return (n >= 4 && strncasecmp(value, "NTLM", 4) == 0) ||
	       (n >= 9 && strncasecmp(value, "Negotiate", 9) == 0);
}

static enum xe_msg_event field_line(struct xe_msg *m)
{
	const char *value;
	size_t n;

	if (field(m, "content-length", &value, &n))
		return length_field(m, value, n);
	if (field(m, "transfer-encoding", &value, &n))
		return coding_field(m, value, n);
	if (field(m, "connection", &value, &n) || field(m, "proxy-connection", &value, &n))
		m->last |= m->cut_off || contains(value, n, "close");
	else if (field(m, "keep-alive", &value, &n)) /* a count is state of the connection */
		m->last |= m->cut_off || contains(value, n, "max");
	else if (field(m, "upgrade", &value, &n))
		m->upgrade = true;
	else if ((field(m, "authorization", &value, &n) ||
		  field(m, "proxy-authorization", &value, &n) ||
		  field(m, "www-authenticate", &value, &n) ||
		  field(m, "proxy-authenticate", &value, &n)) &&
		 is_stateful(value, n))
		return refuse(m);
	return XE_MSG_MORE;
}

static enum xe_msg_event begin_body(struct xe_msg *m, uint64_t n)
{
	m->left = n;
	m->state = XE_MSG_BODY;
	return XE_MSG_HEAD;
}

static enum xe_msg_event end_head(struct xe_msg *m)
{
	bool interim = m->type == XE_MSG_RESPONSE && m->status < 200;
	bool bare = interim || m->status == 204;

	if (bare && (m->chunked || m->length > 0))
		return refuse(m);
	if (m->chunked && m->old)
		return refuse(m);
	if (bare || m->status == 304 || m->no_body) {
		m->chunked = false;
		return begin_body(m, 0);
	}
	if (m->chunked) {
		begin_line(m, XE_MSG_CHUNK);
		return XE_MSG_HEAD;
	}
	if (m->has_length || m->type == XE_MSG_REQUEST)
		return begin_body(m, m->length);
	m->last = true;
	m->state = XE_MSG_TO_END;
	return XE_MSG_HEAD;
}

/* ---- chunks ---- */

static enum xe_msg_event chunk_line(struct xe_msg *m)
{
	uint64_t size = 0;
	size_t i = 0;

	for (; i < m->line_len && m->line[i] != ';'; i++) {
		unsigned c = (unsigned char)m->line[i];
		unsigned digit = c - '0' < 10u ? c - '0' : (c | 32u) - 'a' + 10u;

		if (digit >= 16 || i == 15)
			return refuse(m);
		size = size * 16 + digit;
	}
	if (i == 0)
		return refuse(m);
	begin_line(m, XE_MSG_TRAILER);
	if (size > 0) {
		m->left = size;
		m->state = XE_MSG_BODY;
	}
	return XE_MSG_MORE;
}

static enum xe_msg_event trailer_line(struct xe_msg *m)
{
	const char *value;
	size_t n;

	if (field(m, "content-length", &value, &n) || field(m, "transfer-encoding", &value, &n))
		return refuse(m);
	return XE_MSG_MORE;
}

/* ---- bytes ---- */

static enum xe_msg_event end_message(struct xe_msg *m)
{
	m->state = XE_MSG_START;
	m->no_body = false;
	return XE_MSG_END;
}

static enum xe_msg_event end_field(struct xe_msg *m)
{
	enum xe_msg_state state = m->state;
	enum xe_msg_event event;

	if (m->line_len == 0)
		return state == XE_MSG_FIELD ? end_head(m) : end_message(m);
	if (m->in_name)
		return refuse(m);
	event = state == XE_MSG_FIELD ? field_line(m) : trailer_line(m);
	if (event == XE_MSG_MORE)
		begin_line(m, state);
	return event;
}

static enum xe_msg_event end_line(struct xe_msg *m)
{
	switch (m->state) {
	case XE_MSG_FIRST_LINE:
		return m->type == XE_MSG_REQUEST ? request_line(m) : status_line(m);
	case XE_MSG_CHUNK:
		return chunk_line(m);
	case XE_MSG_CHUNK_END:
		begin_line(m, XE_MSG_CHUNK);
		return XE_MSG_MORE;
	default:
		return end_field(m);
	}
}

static enum xe_msg_event line_byte(struct xe_msg *m, uint8_t byte)
{
	bool fields = m->state == XE_MSG_FIELD || m->state == XE_MSG_TRAILER;

	if (m->cr || m->state == XE_MSG_CHUNK_END || (byte < ' ' && byte != '\t') || byte == 127)
		return refuse(m);
	if (fields && m->in_name && byte == ':' && m->line_len > 0)
		m->in_name = false;
	else if (fields && m->in_name && !is_token(byte))
		return refuse(m);
	if (m->line_len < XE_MSG_LINE)
		m->line[m->line_len++] = (char)byte;
	else
		m->cut_off = true;
	m->tail = m->tail << 8 | byte;
	m->since_space += m->since_space < UINT8_MAX;
	if (byte == ' ') {
		m->spaces += m->spaces < UINT8_MAX;
		m->since_space = 0;
	}
	return XE_MSG_MORE;
}

static enum xe_msg_event take_byte(struct xe_msg *m, uint8_t byte)
{
	if (m->state == XE_MSG_START)
		begin_message(m);
	if (byte == '\n')
		return m->cr ? end_line(m) : refuse(m);
	if (byte != '\r')
		return line_byte(m, byte);
	if (m->cr)
		return refuse(m);
	m->cr = true;
	return XE_MSG_MORE;
}

static enum xe_msg_event end_data(struct xe_msg *m)
{
	if (!m->chunked)
		return end_message(m);
	begin_line(m, XE_MSG_CHUNK_END);
	return XE_MSG_MORE;
}

static size_t take_body(struct xe_msg *m, size_t n)
{
	size_t run = n < m->left ? n : (size_t)m->left;

	m->left -= run;
	return run;
}

enum xe_msg_event xe_msg_take(struct xe_msg *m, const uint8_t *bytes, size_t n, size_t *taken)
{
	enum xe_msg_event event = XE_MSG_MORE;
	size_t at = 0;

	while (event == XE_MSG_MORE && m->state != XE_MSG_OPAQUE && m->state != XE_MSG_TO_END) {
		if (m->state == XE_MSG_BODY) {
			at += take_body(m, n - at);
			if (m->left > 0)
				break;
			event = end_data(m);
		} else if (at < n) {
			event = take_byte(m, bytes[at++]);
		} else {
			break;
		}
	}
	if (m->state == XE_MSG_OPAQUE)
		event = XE_MSG_NOT;
	*taken = event == XE_MSG_NOT || (event == XE_MSG_MORE && m->state == XE_MSG_TO_END) ? n
											    : at;
	return event;
}
