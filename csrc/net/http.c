/* HTTP/1.x output framing and dates; see http.h.
 *
 * Invariant: only the beginning of a line is kept, `line_len` stops at XE_HTTP_LINE.
 * Left out: obs-fold, trailers' fields, the request's method (the answer to HEAD has no
 * body: recognised by the next response that begins where the body should).
 */
#include "net/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"

enum { DAY_SECONDS = 86400 };

static const char DAYS[] = "MonTueWedThuFriSatSun",
		  MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* ---- dates ---- */

static int64_t days_before_year(int64_t year)
{
	int64_t y = year - 1;

	return 365 * y + y / 4 - y / 100 + y / 400;
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int month_days(int64_t year, int month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month] + (month == 1 && is_leap(year) ? 1 : 0);
}

static int number(const uint8_t *text, int digits)
{
	int value = 0;

	for (int i = 0; i < digits; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

int64_t xe_http_date(const uint8_t text[XE_HTTP_DATE])
{
	int day = number(text + 5, 2), year = number(text + 12, 4), hour = number(text + 17, 2);
	int minute = number(text + 20, 2), second = number(text + 23, 2), month = 0;
	uint8_t again[XE_HTTP_DATE];
	int64_t days;

	while (month < 12 && memcmp(MONTHS + month * 3, text + 8, 3) != 0)
		month++;
	if (month == 12 || day < 1 || year < 1970 || hour < 0 || hour > 23 || minute < 0 ||
	    minute > 59 || second < 0 || second > 59 || day > month_days(year, month))
		return -1;
	days = days_before_year(year) - days_before_year(1970) + day - 1;
	for (int m = 0; m < month; m++)
		days += month_days(year, m);
	days = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
	xe_http_format_date(again, days);
	return memcmp(again, text, XE_HTTP_DATE) == 0 ? days : -1;
}

void xe_http_format_date(uint8_t text[XE_HTTP_DATE], int64_t seconds)
{
	int64_t days = seconds / DAY_SECONDS, rest = seconds % DAY_SECONDS, year = 1970;
	int weekday = (int)((days + 3) % 7), month = 0;
	char out[64];

	xe_assert(seconds >= 0 && seconds <= (int64_t)XE_HTTP_LAST_SECOND);
	year += days / 366;
	while (days >= days_before_year(year + 1) - days_before_year(1970))
		year++;
	days -= days_before_year(year) - days_before_year(1970);
	while (days >= month_days(year, month))
		days -= month_days(year, month++);
	snprintf(out, sizeof(out), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", DAYS + weekday * 3,
		 (int)days + 1, MONTHS + month * 3, (int)year, (int)(rest / 3600),
		 (int)(rest / 60 % 60), (int)(rest % 60));
	memcpy(text, out, XE_HTTP_DATE);
}

/* ---- framing ---- */

static bool line_is(const struct xe_http *h, const char *name, size_t n)
{
	return h->line_len >= n && strncasecmp(h->line, name, n) == 0;
}

/* The number at the end of a complete line; UINT64_MAX if there is none. */
static uint64_t line_number(const struct xe_http *h, size_t from, unsigned base)
{
	uint64_t value = 0;
	bool any = false;

	while (from < h->line_len && (h->line[from] == ' ' || h->line[from] == '\t'))
		from++;
	for (; from < h->line_len; from++) {
		unsigned c = (unsigned char)h->line[from];
		unsigned digit = c - 48u < 10u ? c - 48u : (c | 32u) - 'a' + 10u;

		if (digit >= base || value > UINT64_MAX / 16 - 16)
			break;
		value = value * base + digit;
		any = true;
	}
	return any ? value : UINT64_MAX;
}

static void begin_response(struct xe_http *h)
{
	memset(h, 0, sizeof(*h));
	h->first_line = true;
}

static void end_head(struct xe_http *h)
{
	if (h->no_body)
		begin_response(h);
	else if (h->chunked)
		h->state = XE_HTTP_CHUNK;
	else if (!h->has_length)
		h->state = XE_HTTP_OPAQUE;
	else if (h->left == 0)
		begin_response(h);
	else
		h->state = XE_HTTP_BODY;
	h->at_body = h->state == XE_HTTP_BODY;
}

static void head_line(struct xe_http *h)
{
	uint64_t value;

	if (h->first_line && h->line_len < 7) {
		h->state = XE_HTTP_OPAQUE;
	} else if (h->first_line) {
		value = line_number(h, 9, 10);
		h->no_body = value / 100 == 1 || value == 204 || value == 304;
		h->first_line = false;
	} else if (h->line_len == 0) {
		end_head(h);
	} else if (line_is(h, "content-length:", 15)) {
		value = line_number(h, 15, 10);
		h->has_length = value != UINT64_MAX;
		h->left = h->has_length ? value : 0;
	} else if (line_is(h, "transfer-encoding:", 18)) {
		h->chunked = true;
	}
}

static void end_line(struct xe_http *h)
{
	uint64_t size;

	if (h->line_len > 0 && h->line[h->line_len - 1] == '\r')
		h->line_len--;
	if (h->state == XE_HTTP_HEAD) {
		head_line(h);
	} else if (h->state == XE_HTTP_TRAILER) {
		if (h->line_len == 0)
			begin_response(h);
	} else if (h->line_len > 0) { /* the line after a chunk's data is empty */
		size = line_number(h, 0, 16);
		h->state = size == UINT64_MAX ? XE_HTTP_OPAQUE
			   : size == 0        ? XE_HTTP_TRAILER
					      : XE_HTTP_BODY;
		h->left = size;
	}
	h->line_len = 0;
}

/* A response may only begin here; also where the answer to HEAD leaves its body out. */
static bool begins_response(const uint8_t *bytes, size_t n)
{
	static const char version[] = "HTTP/1.";

	return n >= sizeof(version) - 1 && memcmp(bytes, version, sizeof(version) - 1) == 0;
}

static bool date_follows(const struct xe_http *h, const uint8_t *bytes, size_t n)
{
	return h->state == XE_HTTP_HEAD && !h->first_line && h->line_len == 6 &&
	       line_is(h, "date: ", 6) && n >= XE_HTTP_DATE && xe_http_date(bytes) >= 0;
}

/* A response has a status line; what does not begin like one is not looked into any more. */
static void check_version(struct xe_http *h)
{
	if (h->first_line && h->line_len == 7 && !begins_response((const uint8_t *)h->line, 7))
		h->state = XE_HTTP_OPAQUE;
}

static void take_byte(struct xe_http *h, uint8_t byte)
{
	if (byte == '\n')
		end_line(h);
	else if (h->line_len < XE_HTTP_LINE)
		h->line[h->line_len++] = (char)byte;
	check_version(h);
}

static size_t take_body(struct xe_http *h, size_t n)
{
	size_t run = n < h->left ? n : (size_t)h->left;

	h->left -= run;
	if (h->left == 0 && h->chunked)
		h->state = XE_HTTP_CHUNK;
	else if (h->left == 0)
		begin_response(h);
	return run;
}

size_t xe_http_scan(struct xe_http *h, const uint8_t *bytes, size_t n, bool *date)
{
	size_t at = 0;

	if (date)
		*date = false;
	while (at < n) {
		if (h->state == XE_HTTP_OPAQUE)
			return n;
		if (h->at_body && begins_response(bytes + at, n - at))
			begin_response(h);
		h->at_body = false;
		if (h->state == XE_HTTP_START) {
			begin_response(h);
			h->state = XE_HTTP_HEAD;
		}
		if (h->state == XE_HTTP_BODY) {
			at += take_body(h, n - at);
		} else if (date && date_follows(h, bytes + at, n - at)) {
			*date = true;
			return at;
		} else {
			take_byte(h, bytes[at++]);
		}
	}
	return at;
}
