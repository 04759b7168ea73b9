/* The HTTP profile on a stand-in for the FT API: what it removes is whole exchanges, however the
 * stream is cut into calls, and nothing where the framing is in doubt; after a fault it goes on.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/http_message.h"
#include "net/profiles.h"
#include "profile/fake_ftapi.h"

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define OK "HTTP/1.1 200 OK\r\nServer: x\r\nDate: " DATE "\r\n"

struct exchange {
	const char *request, *response;
	bool kept;
};

static const struct exchange PLAIN[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK "Content-Length: 5\r\n\r\nhello", false},
	{"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", OK "Content-Length: 500\r\n\r\n", false},
	{"POST /y HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:  3 \r\n\r\nG\r\n",
	 "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 0\r\n\r\n", false},
	{"PUT /z HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nGET \r\n0\r\nT: "
	 "u\r\n\r\n",
	 "HTTP/1.1 204 No Content\r\n\r\n", false},
	{"GET /c HTTP/1.1\r\nHost: a\r\n\r\n",
	 OK "Transfer-Encoding: chunked\r\n\r\n5\r\nHTTP/\r\n1\r\n \r\n0\r\n\r\n", false},
	{"GET /c HTTP/1.1\r\nIf-Modified-Since: " DATE "\r\n\r\n",
	 "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", false},
	{"GET / HTTP/1.1\r\nX-A-Name-Of-A-Field-That-Is-Longer-Than-What-The-Parser-Keeps: "
	 "1\r\n\r\n",
	 OK "Content-Length: 1\r\n\r\n.", false},
	{"GET /gone HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", OK "Content-Length: 2\r\n\r\n\r\n", false},
	{"OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false},
};
enum { PLAINS = sizeof(PLAIN) / sizeof(PLAIN[0]) };

/* Pieces of 1 to `most` bytes, by chance; most = 0: whole. */
static size_t piece(struct xe_rng *rng, size_t most, size_t left)
{
	size_t n = most ? 1 + xe_rng_below(rng, most) : left;

	return n < left ? n : left;
}

static void feed(struct fake *f, struct wr_conn *c, const char *text, struct xe_rng *rng,
		 size_t most)
{
	for (size_t at = 0, n = strlen(text), run; at < n; at += run) {
		run = piece(rng, most, n - at);
		fake_read(f, c, text + at, run);
	}
}

static void answer(struct fake *f, struct wr_conn *c, const char *text, struct xe_rng *rng,
		   size_t most)
{
	for (size_t at = 0, n = strlen(text), run; at < n; at += run) {
		run = piece(rng, most, n - at);
		fake_write(f, c, text + at, run);
	}
}

/* Each exchange is wholly there or wholly gone. The number of those that are gone. */
static size_t check_cuts(const struct wr_conn *c, const struct exchange *x, size_t n)
{
	uint64_t in = 0, out = 0;
	size_t gone = 0;

	for (size_t i = 0; i < n; i++) {
		size_t ins = strlen(x[i].request), outs = strlen(x[i].response), bytes = 0;

		for (size_t k = 0; k < ins; k++)
			bytes += fake_cut_at(c, false, in + k, false);
		for (size_t k = 0; k < outs; k++)
			bytes += fake_cut_at(c, true, out + k, false);
		xe_assert(bytes == 0 || bytes == ins + outs);
		gone += bytes > 0;
		in += ins;
		out += outs;
	}
	return gone;
}

/* One request after the other. */
static struct wr_conn *one_by_one(struct fake *f, const struct exchange *x, size_t n, uint64_t seed,
				  size_t most)
{
	struct xe_rng rng = {.state = seed};
	struct wr_conn *c = fake_open(f, WR_CLIENT_SIDE, NULL);

	for (size_t i = 0; i < n; i++) {
		feed(f, c, x[i].request, &rng, most);
		answer(f, c, x[i].response, &rng, most);
	}
	return c;
}

static void test_keep_alive(void)
{
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct fake f;
		struct wr_conn *c;

		fake_begin(&f, xe_profile_http);
		f.take_at_most = seed % 3 == 0 ? 1 + seed % 7 : 0;
		c = one_by_one(&f, PLAIN, PLAINS, seed, seed % 50);
		xe_assert(check_cuts(c, PLAIN, PLAINS) == PLAINS);
		xe_assert(f.removals == PLAINS);
		fake_free(c);
		fake_end(&f);
	}
}

/* Dates are named where they come whole; a call that takes nothing is no second date. */
static void test_dates(void)
{
	struct fake f;
	struct wr_conn *c;

	fake_begin(&f, xe_profile_http);
	c = one_by_one(&f, PLAIN, PLAINS, 0, 0);
	xe_assert(c->dates == 6);
	xe_assert(c->date_at[0] == strlen("HTTP/1.1 200 OK\r\nServer: x\r\nDate: "));
	fake_free(c);
	for (f.take_at_most = 1; f.take_at_most < 80; f.take_at_most++) {
		c = one_by_one(&f, PLAIN, PLAINS, 0, 0);
		xe_assert(c->dates == 6);
		fake_free(c);
	}
	fake_end(&f);
}

/* All requests at once, responses in one write, or anyhow between. */
static void test_pipelining(void)
{
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct xe_rng rng = {.state = seed};
		size_t count = 7; /* the next may change the protocol: nothing goes after it */
		char in[2000] = "", out[4000] = "";
		size_t read = 0, written = 0, may_read = 0, may_write = 0, i = 0, k = 0;
		struct fake f;
		struct wr_conn *c;

		fake_begin(&f, xe_profile_http);
		c = fake_open(&f, WR_CLIENT_SIDE, NULL);
		for (size_t x = 0; x < count; x++) {
			strcat(in, PLAIN[x].request);
			strcat(out, PLAIN[x].response);
		}
		may_read = strlen(in);
		while (k < count) {
			size_t ahead = 0, n;

			for (size_t x = 0, at = 0; x < count; x++) {
				at += strlen(PLAIN[x].request);
				ahead += at <= read;
			}
			may_write = 0;
			for (size_t x = 0; x < ahead; x++)
				may_write += strlen(PLAIN[x].response);
			if (read < may_read && (written == may_write || xe_rng_below(&rng, 2))) {
				n = piece(&rng, seed % 5 ? 40 : 0, may_read - read);
				fake_read(&f, c, in + read, n);
				read += n;
			} else if (written < may_write) {
				n = piece(&rng, seed % 7 ? 90 : 0, may_write - written);
				fake_write(&f, c, out + written, n);
				written += n;
			}
			for (k = 0, i = 0; k < count && i + strlen(PLAIN[k].response) <= written;
			     k++)
				i += strlen(PLAIN[k].response);
			xe_assert(check_cuts(c, PLAIN, count) == k);
		}
		fake_free(c);
		fake_end(&f);
	}
}

/* What must stay, and all after it. */
static const struct exchange DOUBTFUL[] = {
	{"GET / HTTP/1.0\r\n\r\n", OK "Content-Length: 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", OK "Content-Length: 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Connection: Close\r\nContent-Length: 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "\r\nup to the end", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Keep-Alive: timeout=5, max=9\r\nContent-Length: 0\r\n\r\n",
	 true},
	{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length: +1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length: 1, 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length:\r\n\r\n", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length: 1234567890123456789\r\n\r\n", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Content-Length : 1\r\n\r\n.", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Transfer-Encoding: chunked\r\n\r\n0x1\r\n.\r\n0\r\n\r\n",
	 true},
	{"GET / HTTP/1.1\r\n\r\n", OK "Transfer-Encoding: chunked\r\n\r\n1\r\n..\r\n0\r\n\r\n",
	 true},
	{"GET / HTTP/1.1\r\n\r\n",
	 "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", true},
	{"CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", true},
	{"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	 OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nContent-Length: 0\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nA: b\r\n Content-Length: 5\r\n\r\n", OK "Content-Length: 0\r\n\r\n",
	 true},
	{"GET / HTTP/1.1\r\nA: b\rContent-Length: 5\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", OK "Content-Length: 0\r\n\r\n",
	 true},
	{"GET / HTTP/1.1\r\nTransfer-Encoding:\x0b"
	 "chunked\r\n\r\n",
	 OK "Content-Length: 0\r\n\r\n", true},
	{"GET /a b HTTP/1.1\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"GET / yHTTP/1.1\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.2\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"get\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true},
	{"\r\nGET / HTTP/1.1\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"GET / HTTP/1.1\r\nAuthorization: NTLM abc\r\n\r\n", OK "Content-Length: 0\r\n\r\n", true},
	{"POST / HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
	 "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", true},
	{"", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", true},
};

static void test_doubtful(void)
{
	for (size_t i = 0; i < sizeof(DOUBTFUL) / sizeof(DOUBTFUL[0]); i++) {
		struct exchange x[4] = {PLAIN[0], DOUBTFUL[i], PLAIN[0], PLAIN[1]};

		for (uint64_t seed = 0; seed < 30; seed++) {
			struct fake f;
			struct wr_conn *c;

			fake_begin(&f, xe_profile_http);
			c = one_by_one(&f, x, 4, seed, seed);
			xe_assert(check_cuts(c, x, 4) == 1);
			xe_assert(fake_cut_at(c, true, 0, false));
			fake_free(c);
			fake_end(&f);
		}
	}
}

/* More requests than the queue holds, then nothing more goes; before it all does. */
static void test_queue(void)
{
	for (size_t n = 15; n < 19; n++) {
		struct xe_rng rng = {0};
		struct exchange x[20];
		struct fake f;
		struct wr_conn *c;

		fake_begin(&f, xe_profile_http);
		c = fake_open(&f, WR_CLIENT_SIDE, NULL);
		for (size_t i = 0; i < n; i++) {
			x[i] = PLAIN[0];
			feed(&f, c, PLAIN[0].request, &rng, 0);
		}
		for (size_t i = 0; i < n; i++)
			answer(&f, c, PLAIN[0].response, &rng, 0);
		xe_assert(check_cuts(c, x, n) == (n <= 16 ? n : 0));
		fake_free(c);
		fake_end(&f);
	}
}

/* What cannot go for lack of room goes with what comes later. */
static void test_no_room(void)
{
	for (int every = 2; every < 9; every++) {
		struct exchange x[40];
		struct fake f;
		struct wr_conn *c;
		size_t gone;

		fake_begin(&f, xe_profile_http);
		for (size_t i = 0; i < 40; i++)
			x[i] = PLAIN[i % 6];
		f.mark_fails = every;
		c = one_by_one(&f, x, 40, 1, 0);
		gone = check_cuts(c, x, 40);
		xe_assert(gone >= 39);
		fake_free(c);
		f.mark_fails = 0;
		f.remove_fails = every + 1;
		f.remove_calls = 0;
		c = one_by_one(&f, x, 40, 1, 0);
		gone = check_cuts(c, x, 40);
		xe_assert(gone >= 38);
		fake_free(c);
		fake_end(&f);
	}
}

/* A fault at any exchange, at any byte of the answer that is under way: what is kept is fed and
 * written again, and from there on all goes as before. */
static void test_replay(void)
{
	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct xe_rng rng = {.state = seed};
		struct exchange x[8];
		size_t fault = xe_rng_below(&rng, 8), most = xe_rng_below(&rng, 30), cut;
		struct fake f;
		struct wr_conn *c, *again;
		char part[400];

		fake_begin(&f, xe_profile_http);
		f.mark_fails = (int)(seed % 4);
		for (size_t i = 0; i < 8; i++)
			x[i] = PLAIN[xe_rng_below(&rng, PLAINS)];
		c = one_by_one(&f, x, fault, seed, most);
		feed(&f, c, x[fault].request, &rng, most);
		cut = xe_rng_below(&rng, strlen(x[fault].response));
		snprintf(part, sizeof(part), "%.*s", (int)cut, x[fault].response);
		answer(&f, c, part, &rng, most);

		again = fake_again(&f, c, NULL);
		again->known_from = seed % 2 ? c->written : 0;
		f.mark_fails = 0;
		cut = check_cuts(c, x, fault);
		for (size_t i = cut; i < 8; i++) { /* the first `cut` are gone */
			feed(&f, again, x[i].request, &rng, most);
			answer(&f, again, x[i].response, &rng, most);
		}
		xe_assert(check_cuts(again, x, 8) == 8);
		fake_free(again);
		fake_free(c);
		fake_end(&f);
	}
}

/* Random bytes and words, both ways: nothing but the rules of the API is asked for. */
static void test_garbage(void)
{
	static const char *const words[] = {
		"GET / HTTP/1.1\r\n",
		"\r\n",
		"\n",
		"HTTP/1.1 200 OK\r\n",
		"Content-Length: ",
		"3\r\n",
		"ffffffff",
		"0",
		"Connection: close\r\n",
		"HEAD / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 204 No\r\n\r\n",
		"chunked\r\n",
		"Transfer-Encoding: ",
	};

	for (uint64_t seed = 0; seed < 20000; seed++) {
		struct xe_rng rng = {.state = seed};
		struct fake f;
		struct wr_conn *c;

		fake_begin(&f, xe_profile_http);
		f.take_at_most = seed % 5;
		c = fake_open(&f, WR_CLIENT_SIDE, NULL);
		for (int i = 0; i < 40; i++) {
			const char *word = words[xe_rng_below(&rng, 13)];
			uint8_t byte = (uint8_t)xe_rng_next(&rng);

			if (xe_rng_below(&rng, 20) == 0)
				fake_read(&f, c, &byte, 1);
			if (xe_rng_below(&rng, 2))
				fake_read(&f, c, word, strlen(word));
			else
				fake_write(&f, c, word, strlen(word));
		}
		fake_free(c);
		fake_end(&f);
	}
}

int main(void)
{
	test_keep_alive();
	test_dates();
	test_pipelining();
	test_doubtful();
	test_queue();
	test_no_room();
	test_replay();
	test_garbage();
	return 0;
}
