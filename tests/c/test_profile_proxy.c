/* The proxy's profile on a stand-in for the FT API. The oracle is a proxy in small: whatever has been
 * removed, a replay of what is kept must find on each connection just what it needs, open no other
 * and leave none unclaimed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/profiles.h"
#include "profile/fake_ftapi.h"

enum { SERVERS = 3, MOST = 600, NONE = -1 };

/* What one exchange did on one connection. */
struct part {
	int exchange;
	bool answered;
	uint64_t in_from, in_to, out_from, out_to;
};

struct member {
	struct wr_conn *conn;
	int server, parts;
	int closed_at; /* the proxy had no use for it any more, before that exchange */
	struct part part[MOST];
};

struct exchange {
	bool closes;
	int server; /* NONE: the proxy answers itself */
	uint64_t in_from, in_to, out_from, out_to;
};

struct world {
	struct fake f;
	struct xe_rng rng;
	size_t most; /* bytes of a call; 0: all */
	struct wr_conn *root;
	struct exchange exchange[MOST];
	int exchanges, members, kept[SERVERS];
	struct member member[MOST];
};

static size_t piece(struct world *w, size_t left)
{
	size_t n = w->most ? 1 + xe_rng_below(&w->rng, w->most) : left;

	return n < left ? n : left;
}

static void say(struct world *w, struct wr_conn *c, const char *text, bool read)
{
	for (size_t at = 0, n = strlen(text), run; at < n; at += run) {
		run = piece(w, n - at);
		if (read)
			fake_read(&w->f, c, text + at, run);
		else
			fake_write(&w->f, c, text + at, run);
	}
}

static struct world *begin(uint64_t seed, size_t most)
{
	struct world *w = calloc(1, sizeof(*w));

	xe_assert(w);
	w->rng.state = seed;
	w->most = most;
	fake_begin(&w->f, xe_profile_proxy);
	w->root = fake_open(&w->f, WR_CLIENT_SIDE, NULL);
	for (int i = 0; i < SERVERS; i++)
		w->kept[i] = NONE;
	return w;
}

static void end(struct world *w)
{
	for (int i = 0; i < w->members; i++)
		fake_free(w->member[i].conn);
	fake_free(w->root);
	fake_end(&w->f);
	free(w);
}

/* ---- the proxy ---- */

static int open_server(struct world *w, int server)
{
	struct member *m = &w->member[w->members];

	m->conn = fake_open(&w->f, WR_SERVER_SIDE, w->root);
	m->server = server;
	return w->members++;
}

static void ask(struct world *w, int i, const char *request, const char *response)
{
	struct member *m = &w->member[i];
	struct part *p = &m->part[m->parts++];

	p->exchange = w->exchanges;
	p->out_from = m->conn->written;
	p->in_from = m->conn->read_at;
	say(w, m->conn, request, false);
	if (response)
		say(w, m->conn, response, true);
	p->answered = response != NULL;
	p->out_to = m->conn->written;
	p->in_to = m->conn->read_at;
}

enum how { KEEP, CLOSE, FAIL, UNANSWERED };

/* One request of the client; `retry`: the connection that was kept turns out to be closed. */
static void exchange(struct world *w, int server, enum how how, bool retry)
{
	struct exchange *x = &w->exchange[w->exchanges];
	char request[200], response[200];
	int i = server == NONE ? NONE : w->kept[server];

	snprintf(request, sizeof(request), "GET http://s%d/%d HTTP/1.1\r\nHost: x\r\n\r\n", server,
		 w->exchanges);
	snprintf(response, sizeof(response), "HTTP/1.1 200 OK\r\n%sContent-Length: 4\r\n\r\n%04d",
		 how == CLOSE ? "X: y\r\n" : "", w->exchanges);
	x->server = server;
	x->closes = how == CLOSE;
	x->in_from = w->root->read_at;
	x->out_from = w->root->written;
	say(w, w->root, request, true);
	if (i != NONE && retry) {
		ask(w, i, request, NULL);
		fake_close(&w->f, w->member[i].conn);
		i = w->kept[server] = NONE;
	}
	if (server != NONE && i == NONE)
		i = open_server(w, server);
	if (server != NONE && how == UNANSWERED) {
		ask(w, i, request, NULL);
		fake_close(&w->f, w->member[i].conn);
		w->kept[server] = NONE;
	} else if (server != NONE) {
		char from[300];

		snprintf(from, sizeof(from), "HTTP/1.1 200 OK\r\n%s%s",
			 how == CLOSE ? "Connection: close\r\n" : "", strchr(response, '\n') + 1);
		ask(w, i, request, from);
		w->kept[server] = how == KEEP ? i : NONE;
	}
	if (server == NONE || how == UNANSWERED)
		say(w, w->root, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false);
	else
		say(w, w->root, response, false);
	x->in_to = w->root->read_at;
	x->out_to = w->root->written;
	if (server != NONE && how == CLOSE)
		fake_close(&w->f, w->member[i].conn);
	w->exchanges++;
}

/* ---- the oracle ---- */

/* All of the range is cut, or none of it. */
static bool is_cut(const struct wr_conn *c, bool output, uint64_t from, uint64_t to)
{
	bool cut = fake_cut_at(c, output, from, false);

	for (uint64_t at = from; at < to; at += 17)
		xe_assert(fake_cut_at(c, output, at, false) == cut);
	xe_assert(fake_cut_at(c, output, to - 1, false) == cut);
	return cut;
}

static bool part_is_cut(const struct wr_conn *c, const struct part *p)
{
	bool cut = is_cut(c, true, p->out_from, p->out_to);

	xe_assert(p->in_from == p->in_to || is_cut(c, false, p->in_from, p->in_to) == cut);
	return cut;
}

static bool exchange_is_cut(const struct world *w, int i)
{
	const struct exchange *x = &w->exchange[i];
	bool cut = is_cut(w->root, false, x->in_from, x->in_to);

	xe_assert(is_cut(w->root, true, x->out_from, x->out_to) == cut);
	return cut;
}

struct replay {
	int at[MOST]; /* next part of a member */
	bool claimed[MOST], closed[MOST];
	int kept[SERVERS];
};

static int claim(const struct world *w, struct replay *r, int server)
{
	for (int i = 0; i < w->members; i++) {
		if (!r->claimed[i] && !w->member[i].conn->whole && w->member[i].server == server) {
			r->claimed[i] = true;
			return i;
		}
	}
	xe_assert(!"a replay would open a new connection");
	return NONE;
}

/* What the member has for this exchange; whether it answered. */
static bool next_part(const struct world *w, struct replay *r, int i, int exchange)
{
	const struct member *m = &w->member[i];

	while (r->at[i] < m->parts && part_is_cut(m->conn, &m->part[r->at[i]]))
		r->at[i]++;
	xe_assert(r->at[i] < m->parts && m->part[r->at[i]].exchange == exchange);
	return m->part[r->at[i]++].answered;
}

/* Returns the number of exchanges that are replayed. */
static int check(const struct world *w)
{
	struct replay r;
	int replayed = 0;

	memset(&r, 0, sizeof(r));
	for (int i = 0; i < SERVERS; i++)
		r.kept[i] = NONE;
	for (int x = 0; x < w->exchanges; x++) {
		int server = w->exchange[x].server, i = server == NONE ? NONE : r.kept[server];
		bool was_kept;

		if (exchange_is_cut(w, x))
			continue;
		if (i != NONE && w->member[i].closed_at > 0 && w->member[i].closed_at <= x)
			i = NONE;
		was_kept = i != NONE;
		replayed++;
		if (server == NONE)
			continue;
		if (!was_kept)
			i = claim(w, &r, server);
		r.kept[server] = w->exchange[x].closes ? NONE : i;
		if (next_part(w, &r, i, x))
			continue;
		r.kept[server] = NONE;
		if (!was_kept)
			continue; /* 502, as it was: the oracle has no bytes to compare */
		for (int k = 0; k < w->members; k++) { /* once more, on a new one */
			const struct member *m = &w->member[k];

			if (k != i && !r.claimed[k] && m->parts > 0 && m->part[0].exchange == x) {
				xe_assert(claim(w, &r, server) == k);
				r.kept[server] =
					next_part(w, &r, k, x) && !w->exchange[x].closes ? k : NONE;
			}
		}
	}
	for (int i = 0; i < w->members; i++) {
		const struct member *m = &w->member[i];

		if (m->conn->whole)
			continue;
		xe_assert(r.claimed[i]);
		while (r.at[i] < m->parts && part_is_cut(m->conn, &m->part[r.at[i]]))
			r.at[i]++;
		xe_assert(r.at[i] == m->parts);
	}
	return replayed;
}

/* ---- tests ---- */

static void test_one_server(void)
{
	for (size_t most = 0; most < 40; most += 3) {
		struct world *w = begin(most, most);

		w->f.take_at_most = most % 3;
		for (int i = 0; i < 100; i++) {
			exchange(w, 0, KEEP, false);
			if (i % 20 == 0)
				xe_assert(check(w) == 1);
		}
		xe_assert(w->members == 1 && check(w) == 1);
		fake_close(&w->f, w->member[0].conn);
		xe_assert(check(w) == 0 && w->member[0].conn->whole);
		end(w);
	}
}

static void test_alternating(void)
{
	struct world *w = begin(1, 0);

	for (int i = 0; i < 300; i++) {
		exchange(w, i % SERVERS, KEEP, false);
		xe_assert(check(w) == (i < SERVERS ? i + 1 : SERVERS));
	}
	end(w);
}

/* Nothing stays of what left no open connection. */
static void test_closing(void)
{
	struct world *w = begin(1, 7);

	for (int i = 0; i < 100; i++) {
		exchange(w, 0, CLOSE, false);
		xe_assert(check(w) == 0);
		exchange(w, 1, UNANSWERED, false);
		xe_assert(check(w) == 0);
		exchange(w, NONE, FAIL, false);
		xe_assert(check(w) == 0);
	}
	for (int i = 0; i < w->members; i++)
		xe_assert(w->member[i].conn->whole);
	end(w);
}

/* The server had closed: what it did is nobody's any more. */
static void test_retry(void)
{
	struct world *w = begin(1, 0);

	exchange(w, 0, KEEP, false);
	for (int i = 0; i < 100; i++) {
		exchange(w, 0, KEEP, true);
		xe_assert(check(w) == (i == 0 ? 1 : 2));
		exchange(w, 1, KEEP, false);
		xe_assert(check(w) == 2);
	}
	end(w);
}

/* The client has its answer, the end server's is not over: the unit is not, until it is. */
static void test_busy(void)
{
	struct world *w = begin(1, 0);
	const char *request = "GET http://a/ HTTP/1.1\r\n\r\n";
	const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
	struct wr_conn *server;

	say(w, w->root, request, true);
	server = w->member[open_server(w, 0)].conn;
	say(w, server, request, false);
	say(w, server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", true);
	say(w, w->root, answer, false);
	say(w, w->root, request, true); /* for another, that goes at once otherwise */
	say(w, w->root, answer, false);
	xe_assert(w->root->cuts == 0 && server->cuts == 0);
	say(w, server, "cd", true);
	for (int i = 0; i < 2; i++) {
		say(w, w->root, request, true);
		say(w, server, request, false);
		say(w, server, answer, true);
		say(w, w->root, answer, false);
	}
	xe_assert(fake_cut_at(w->root, false, 0, false) && fake_cut_at(server, true, 0, false));
	end(w);
}

static void test_anyhow(void)
{
	for (uint64_t seed = 0; seed < 150; seed++) {
		struct world *w = begin(seed, seed % 30);
		int n = 20 + (int)xe_rng_below(&w->rng, 60);

		w->f.mark_fails = seed % 2 ? 0 : 2 + (int)(seed % 9);
		w->f.remove_fails = seed % 3 ? 0 : 3 + (int)(seed % 11);
		for (int i = 0; i < n; i++) {
			int server = (int)xe_rng_below(&w->rng, SERVERS + 1);
			int how = (int)xe_rng_below(&w->rng, 8);

			exchange(w, server == SERVERS ? NONE : server,
				 how == 0   ? CLOSE
				 : how == 1 ? UNANSWERED
					    : KEEP,
				 xe_rng_below(&w->rng, 5) == 0);
			check(w);
			if (xe_rng_below(&w->rng, 10) == 0) {
				int s = (int)xe_rng_below(&w->rng, SERVERS);

				if (w->kept[s] != NONE) {
					w->member[w->kept[s]].closed_at = w->exchanges;
					fake_close(&w->f, w->member[w->kept[s]].conn);
				}
				w->kept[s] = NONE;
				check(w);
			}
		}
		end(w);
	}
}

/* ---- bodies and tunnels ---- */

enum { KIB = 1024, CHUNK = 10000 };

/* So many bytes go from one connection to the other. */
static void pass(struct world *w, struct wr_conn *from, struct wr_conn *to, size_t n)
{
	static const uint8_t zeros[CHUNK];

	for (size_t run; n > 0; n -= run) {
		run = n < CHUNK ? n : CHUNK;
		fake_read(&w->f, from, zeros, run);
		fake_write(&w->f, to, zeros, run);
	}
}

/* What of [at, at + n) is elided. */
static uint64_t elided(const struct wr_conn *c, bool output, uint64_t at, uint64_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->cuts; i++) {
		const struct fake_cut *cut = &c->cut[i];

		if (cut->elided && cut->output == output) {
			xe_assert(at <= cut->from && cut->to <= at + n);
			bytes += cut->to - cut->from;
		}
	}
	return bytes;
}

/* The same part of a body on both connections. */
static void check_elided(const struct wr_conn *a, bool output_a, uint64_t at_a,
			 const struct wr_conn *b, bool output_b, uint64_t at_b, uint64_t n,
			 uint64_t want)
{
	xe_assert(elided(a, output_a, at_a, n) == want);
	xe_assert(elided(b, output_b, at_b, n) == want);
	for (uint64_t i = 0; i < n; i += 997)
		xe_assert(fake_cut_at(a, output_a, at_a + i, true) ==
			  fake_cut_at(b, output_b, at_b + i, true));
}

static void test_download(void)
{
	struct world *w = begin(1, 0);
	struct wr_conn *server;
	uint64_t from, to;
	const char *head = "HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n";
	const char *sent =
		"HTTP/1.1 200 OK\r\nVia: x\r\nConnection: close\r\nContent-Length: 1100000\r\n\r\n";

	say(w, w->root, "GET http://a/ HTTP/1.1\r\n\r\n", true);
	server = w->member[open_server(w, 0)].conn;
	say(w, server, "GET / HTTP/1.1\r\n\r\n", false);
	say(w, server, head, true);
	say(w, w->root, sent, false);
	from = server->read_at;
	to = w->root->written;
	pass(w, server, w->root, 600 * KIB);
	check_elided(w->root, true, to, server, false, from, 600 * KIB, 550000);
	pass(w, server, w->root, 1100000 - 600 * KIB);
	check_elided(w->root, true, to, server, false, from, 1100000, 825000);
	end(w);
}

static void test_upload(void)
{
	struct world *w = begin(1, 0);
	struct wr_conn *server;
	uint64_t from, to;

	say(w, w->root, "PUT http://a/ HTTP/1.1\r\nContent-Length: 1100000\r\n\r\n", true);
	server = w->member[open_server(w, 0)].conn;
	say(w, server, "PUT / HTTP/1.1\r\nVia: x\r\nContent-Length: 1100000\r\n\r\n", false);
	from = w->root->read_at;
	to = server->written;
	pass(w, w->root, server, 1100000);
	check_elided(server, true, to, w->root, false, from, 1100000, 825000);
	end(w);
}

/* Other lengths, chunks, two sources that may be it: nothing is elided. */
static void test_not_elided(void)
{
	static const char *const heads[][2] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nContent-Length: 1100001\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10c8e0\r\n",
		 "HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10c8e0\r\n"},
		{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
	};

	for (size_t i = 0; i < 5; i++) {
		struct world *w = begin(1, 0);
		const char *const *head = heads[i == 4 ? 0 : i];
		struct wr_conn *server = NULL;

		say(w, w->root, "GET http://a/ HTTP/1.1\r\n\r\n", true);
		for (int k = 0; k < (i == 4 ? 2 : 1); k++) {
			server = w->member[open_server(w, 0)].conn;
			say(w, server, "GET / HTTP/1.1\r\n\r\n", false);
			say(w, server, head[0], true);
		}
		say(w, w->root, i == 4 ? head[0] : head[1], false);
		pass(w, server, w->root, 1000000);
		xe_assert(w->root->cuts == 0 && server->cuts == 0);
		end(w);
	}
}

static void test_tunnel(void)
{
	struct world *w = begin(1, 0);
	const char *request = "CONNECT a:1 HTTP/1.1\r\n\r\n", *answer = "HTTP/1.1 200 Yes\r\n\r\n";
	struct wr_conn *other, *server;

	exchange(w, 0, KEEP, false);
	other = w->member[0].conn;
	say(w, w->root, request, true);
	server = w->member[open_server(w, 1)].conn;
	say(w, w->root, answer, false);
	pass(w, server, w->root, 700 * KIB);
	pass(w, w->root, server, 300 * KIB);
	pass(w, server, w->root, 700 * KIB);
	check_elided(w->root, true, w->root->written - 1400 * KIB, server, false, 0, 1400 * KIB,
		     1280 * KIB);
	check_elided(server, true, 0, w->root, false, w->root->read_at - 300 * KIB, 300 * KIB,
		     256 * KIB);
	fake_close(&w->f, server);
	xe_assert(other->cuts == 0 && !server->whole);
	end(w);
}

static void test_garbage(void)
{
	static const char *const words[] = {
		"GET http://a/ HTTP/1.1\r\n",
		"\r\n",
		"HTTP/1.1 200 OK\r\n",
		"Content-Length: 3\r\n",
		"CONNECT a:1 HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"abc",
		"Connection: close\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 204 No\r\n\r\n",
	};

	for (uint64_t seed = 0; seed < 4000; seed++) {
		struct world *w = begin(seed, 0);

		w->f.take_at_most = seed % 5;
		for (int i = 0; i < 30; i++) {
			uint64_t who = xe_rng_below(&w->rng, 4);
			struct wr_conn *c = w->root;

			if (w->members < 3 && xe_rng_below(&w->rng, 10) == 0)
				open_server(w, 0);
			if (who > 0 && who <= (uint64_t)w->members)
				c = w->member[who - 1].conn;
			if (c != w->root && xe_rng_below(&w->rng, 20) == 0)
				fake_close(&w->f, c);
			else
				say(w, c, words[xe_rng_below(&w->rng, 10)],
				    xe_rng_below(&w->rng, 2) == 0);
		}
		end(w);
	}
}

int main(void)
{
	test_one_server();
	test_alternating();
	test_closing();
	test_retry();
	test_busy();
	test_anyhow();
	test_download();
	test_upload();
	test_not_elided();
	test_tunnel();
	test_garbage();
	return 0;
}
