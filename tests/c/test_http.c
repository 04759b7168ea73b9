/* Dates against libc's calendar, and the framing of responses, whole and byte by byte. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/http.h"

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static void test_dates(void)
{
	struct xe_rng rng = {.state = 7};
	char want[64];
	uint8_t got[XE_HTTP_DATE];

	for (int i = 0; i < 200000; i++) {
		int64_t seconds = (int64_t)xe_rng_below(&rng, XE_HTTP_LAST_SECOND + 1);
		time_t t = i < 1000 ? (time_t)i * 86399 : (time_t)seconds;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		xe_http_format_date(got, t);
		xe_assert(memcmp(want, got, XE_HTTP_DATE) == 0);
		xe_assert(xe_http_date(got) == t);
	}
	xe_http_format_date(got, (int64_t)XE_HTTP_LAST_SECOND);
	xe_assert(memcmp(got, "Fri, 31 Dec 9999 23:59:59 GMT", XE_HTTP_DATE) == 0);
}

static void test_not_dates(void)
{
	static const char *const bad[] = {
		"Mon, 06 Nov 1994 08:49:37 GMT", /* it was a Sunday */
		"Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:60 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun; 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1969 08:49:37 GMT", "Sun,  6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994T08:49:37 GMT", "Tue, 29 Feb 2100 00:00:00 GMT",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		xe_assert(xe_http_date((const uint8_t *)bad[i]) == -1);
	xe_assert(xe_http_date((const uint8_t *)DATE) == 784111777);
}

/* How many dates a stream has, handed over in pieces; where a whole date lies over a cut of the
 * pieces it is none. */
static int dates_of(const char *text, size_t n, size_t piece)
{
	struct xe_http h = {0};
	int dates = 0;

	for (size_t from = 0; from < n; from += piece) {
		size_t end = from + piece < n ? from + piece : n, at = from;

		while (at < end) {
			bool date;

			at += xe_http_scan(&h, (const uint8_t *)text + at, end - at, &date);
			if (!date)
				continue;
			xe_assert(memcmp(text + at, DATE, XE_HTTP_DATE) == 0);
			at += xe_http_scan(&h, (const uint8_t *)text + at, XE_HTTP_DATE, NULL);
			dates++;
		}
		xe_assert(at == end);
	}
	return dates;
}

static void expect(int dates, const char *text)
{
	size_t n = strlen(text);

	xe_assert(dates_of(text, n, n) == dates);
	for (size_t piece = 1; piece < XE_HTTP_DATE; piece++)
		xe_assert(dates_of(text, n, piece) == 0);
	for (size_t piece = XE_HTTP_DATE; piece < n; piece++)
		xe_assert(dates_of(text, n, piece) <= dates);
}

#define OK "HTTP/1.1 200 OK\r\nServer: x\r\nDate: " DATE "\r\n"

static void test_framing(void)
{
	expect(1, OK "Content-Length: 3\r\n\r\nabc");
	expect(1, OK "Content-Length: 42\r\n\r\nab\r\nDate: " DATE "\r\nx");
	expect(2, OK "content-LENGTH:42\r\n\r\nab\r\nDate: " DATE "\r\nx" OK "\r\n");
	expect(3, OK "Content-Length: 0\r\n\r\n" OK "Content-Length: 0\r\n\r\n" OK "\r\n");
	expect(2, "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\n." OK "\r\n");
	expect(2, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nDate: " DATE "\r\n\r\n" OK
		  "\r\n");
	expect(2, OK "Content-Length: 500\r\n\r\n" OK "Content-Length: 0\r\n\r\n"); /* HEAD */
	expect(2, OK "Transfer-Encoding: chunked\r\n\r\n"
		     "27\r\nab\r\nDate: " DATE "\r\na;x=1\r\n0123456789\r\n0\r\nT: x\r\n\r\n" OK
		     "\r\n");
	expect(1, OK "\r\nup to the end\r\nDate: " DATE "\r\n");
	expect(0, "220 ftp\r\nDate: " DATE "\r\n");
	expect(0, "HTTP/1.1 200 OK\r\nX-Date: " DATE "\r\n\r\n");
	expect(0, "HTTP/2.0 200 OK\r\nDate: " DATE "\r\n\r\n");
	expect(0, "\nHTTP/1.1 200 OK\r\nDate: " DATE "\r\n\r\n");
}

/* Whatever comes, all of it is taken. */
static void test_garbage(void)
{
	static const char words[][32] = {"HTTP/1.1 ",
					 "\r\n",
					 "\n",
					 "Date: ",
					 DATE,
					 "ffffffff",
					 "Content-Length: ",
					 "9",
					 "Transfer-Encoding:",
					 ":"};
	char text[600];

	for (uint64_t seed = 0; seed < 20000; seed++) {
		struct xe_rng rng = {.state = seed};
		size_t n = 0, piece = 1 + xe_rng_below(&rng, 100);

		while (n < 500) {
			const char *word = words[xe_rng_below(&rng, 10)];
			size_t len = strnlen(word, 32);

			memcpy(text + n, word, len);
			n += len;
			if (xe_rng_below(&rng, 5) == 0)
				text[n++] = (char)xe_rng_next(&rng);
		}
		dates_of(text, n, piece);
	}
}

int main(void)
{
	test_dates();
	test_not_dates();
	test_framing();
	test_garbage();
	return 0;
}
