/* The FTP profile on a stand-in for the FT API, with an FTP server of a few lines.
 *
 * What must hold, at the end of each reply and for servers that differ in what RFC 959 leaves open:
 * the server, given the commands that are left, writes the replies and the data that are left,
 * and is in the state that it is in. And what a session has left behind is most of it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/rng.h"
#include "net/ftp_lines.h"
#include "net/profiles.h"
#include "profile/fake_ftapi.h"

/* What servers differ in. */
enum {
	FORGIVES = 1,     /* a refused command leaves the next transfer as it was set up */
	FORGETS_REST = 2, /* with any other command */
	FORGETS_RNFR = 4,
	ABOR_CLOSES = 8,  /* what was set up */
	EARLY = 16,       /* the data connection comes before its command */
	LATE = 32,        /* it is closed after the last reply */
	VARIANTS = 64,
};

enum { COMMANDS = 1024, TEXT = 160 };

struct server {
	int variant;
	int cwd, type, rest, address, allo, from;
};

struct command {
	char line[TEXT], reply[2][TEXT]; /* the first one: 1xx, or none */
	char data[2 * TEXT];
	bool transfers, aborted, failed_open;
	uint64_t in_from, in_to, out_from, out_to;
	int batch;
	struct wr_conn *conn;        /* came for it */
};

struct run {
	struct fake fake;
	struct xe_rng rng;
	struct server server;
	struct wr_conn *root;
	struct wr_conn *early;       /* waits for its command */
	struct command command[COMMANDS];
	int count, read, served, batches;
	size_t most;                 /* bytes of a call; 0: all */
};

/* ---- the server ---- */

static bool is(const char *line, const char *verb)
{
	size_t n = strlen(verb);

	return strncasecmp(line, verb, n) == 0 && (line[n] == ' ' || line[n] == '\0');
}

static bool is_data(const char *line)
{
	static const char *const all[] = {"RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (is(line, all[i]))
			return true;
	}
	return false;
}

static bool is_address(const char *line)
{
	return is(line, "PASV") || is(line, "EPSV") || is(line, "PORT") || is(line, "EPRT");
}

static void say(struct command *c, const char *code, const char *text, int a, int b)
{
	snprintf(c->reply[1], TEXT, "%s %s %d %d", code, text, a, b);
}

static void serve_data(struct server *s, struct command *c)
{
	bool refused = strstr(c->line, "none") || !s->address;

	c->transfers = !refused;
	if (refused) {
		say(c, s->address ? "550" : "425", "Refused.", s->address + 10 * s->type,
		    s->rest + 10 * s->allo);
	} else {
		snprintf(c->reply[0], TEXT, "150 About to %d %d.", s->type, s->rest);
		snprintf(c->data, sizeof(c->data), "%s %d %d %d %d", c->line, s->type, s->rest,
			 s->cwd, s->allo);
		say(c,
		    c->aborted       ? "426"
		    : c->failed_open ? "425"
				     : "226",
		    "Ended.", s->type, s->rest);
	}
	if (!refused || !(s->variant & FORGIVES))
		s->address = s->rest = s->allo = 0;
}

static void serve_type(struct server *s, struct command *c)
{
	int type = c->line[5];

	if (strchr("AIE", type)) {
		s->type = type;
		say(c, "200", "Type.", 0, 0);
	} else {
		say(c, "504", "No such type.", 0, 0);
	}
}

/* Its replies tell the state that such replies depend on. */
static void serve(struct server *s, struct command *c)
{
	const char *line = c->line;

	c->reply[0][0] = c->reply[1][0] = '\0';
	if (s->variant & FORGETS_REST && !is_data(line) && !is(line, "REST"))
		s->rest = 0;
	if (s->variant & FORGETS_RNFR && !is(line, "RNTO"))
		s->from = 0;
	if (is_data(line)) {
		serve_data(s, c);
	} else if (is_address(line)) {
		if (strstr(line, "none")) {
			say(c, "501", "No.", s->type, 0);
			if (!(s->variant & FORGIVES))
				s->address = 0;
			return;
		}
		s->address = 1;
		say(c,
		    is(line, "PASV")   ? "227"
		    : is(line, "EPSV") ? "229"
				       : "200",
		    "Address.", s->type, 0);
	} else if (is(line, "REST")) {
		s->rest = (int)strlen(line);
		say(c, "350", "Restarting.", s->type, s->rest);
	} else if (is(line, "ALLO")) {
		s->allo = 1;
		say(c, "200", "Allocated.", 0, 0);
	} else if (is(line, "TYPE")) {
		serve_type(s, c);
	} else if (is(line, "CWD")) {
		bool none = strstr(line, "none");

		s->cwd = none ? s->cwd : s->cwd * 31 % 1009 + line[4];
		say(c, none ? "550" : "250", "Directory.", s->cwd, 0);
	} else if (is(line, "RNFR")) {
		s->from = strstr(line, "none") ? 0 : 1;
		say(c, s->from ? "350" : "550", "From.", s->from, 0);
	} else if (is(line, "RNTO")) {
		say(c, s->from ? "250" : "503", "To.", s->from, 0);
		s->from = 0;
	} else if (is(line, "ABOR")) {
		say(c, "226", "Abort.", s->address, 0);
		if (s->variant & ABOR_CLOSES)
			s->address = s->rest = 0;
	} else if (is(line, "FEAT")) {
		snprintf(c->reply[1], TEXT, "211-Features:\r\n 211 SIZE\r\n211-\r\n2100\r\n211 %d",
			 s->type);
	} else if (is(line, "USER")) {
		s->type = s->cwd = 0;
		if (s->variant & FORGETS_REST)
			s->address = s->rest = s->allo = s->from = 0;
		say(c, "230", "Welcome.", s->cwd, 0);
	} else if (is(line, "SITE")) {
		say(c, "200", "Kept.", s->cwd, 0);
	} else if (is(line, "HUH")) {
		say(c, "500", "What?", 0, 0);
	} else {
		say(c, "200", "Done.", s->type, s->cwd);
	}
}

/* ---- calls ---- */

static size_t piece(struct run *r, size_t left)
{
	size_t n = r->most ? 1 + xe_rng_below(&r->rng, r->most) : left;

	return n < left ? n : left;
}

static void read_line(struct run *r, struct command *c)
{
	char text[TEXT + 2];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s\r\n", c->line);

	c->in_from = wr_read_so_far(r->root);
	c->in_to = c->in_from + n;
	for (size_t at = 0, run; at < n; at += run) {
		run = piece(r, n - at);
		fake_read(&r->fake, r->root, text + at, run);
	}
}

static void write_text(struct run *r, struct wr_conn *c, const char *text, bool line)
{
	char all[2 * TEXT + 2];
	size_t n = (size_t)snprintf(all, sizeof(all), "%s%s", text, line ? "\r\n" : "");

	for (size_t at = 0, run; at < n; at += run) {
		run = piece(r, n - at);
		fake_write(&r->fake, c, all + at, run);
	}
}

static struct wr_conn *open_data(struct run *r, struct wr_conn *again, bool passive)
{
	if (again)
		return fake_again(&r->fake, again, r->root);
	return fake_open(&r->fake, passive ? WR_CLIENT_SIDE : WR_SERVER_SIDE, r->root);
}

static void close_early(struct run *r)
{
	if (r->early)
		fake_close(&r->fake, r->early);
	r->early = NULL;
}

static void transfer(struct run *r, struct command *c, struct wr_conn *again)
{
	bool late = r->server.variant & LATE;

	write_text(r, r->root, c->reply[0], true);
	if (!r->early)
		c->conn = r->early = open_data(r, again, true);
	write_text(r, r->early, c->data, false);
	if (!late)
		close_early(r);
	write_text(r, r->root, c->reply[1], true);
	xe_assert(!late || !r->early->whole);
	close_early(r);
}

/* The command that was read next is served. `again`: its connection before the fault. */
static void serve_next(struct run *r, struct command *c, struct wr_conn *again)
{
	c->conn = NULL;
	c->transfers = false;
	serve(&r->server, c);
	if (is_address(c->line) || (is(c->line, "ABOR") && r->server.variant & ABOR_CLOSES))
		close_early(r);
	if (c->transfers) {
		c->out_from = wr_written_so_far(r->root);
		transfer(r, c, again);
	} else {
		c->out_from = wr_written_so_far(r->root);
		write_text(r, r->root, c->reply[1], true);
		if (is_address(c->line) && r->server.address && r->server.variant & EARLY)
			c->conn = r->early = open_data(r, again, is(c->line, "PASV"));
	}
	if (!r->server.address)
		close_early(r);
	c->out_to = c->out_from + strlen(c->reply[1]) + 2;
	if (c->transfers)
		c->out_to += strlen(c->reply[0]) + 2;
}

/* ---- what must hold ---- */

static size_t cut_bytes(const struct run *r, bool output, uint64_t from, uint64_t to)
{
	size_t n = 0;

	for (; from < to; from++)
		n += fake_cut_at(r->root, output, from, false);
	return n;
}

static bool is_gone(const struct run *r, const struct command *c)
{
	size_t in = cut_bytes(r, false, c->in_from, c->in_to);

	xe_assert(in == 0 || in == c->in_to - c->in_from);
	return in > 0;
}

static int check(const struct run *r)
{
	struct server s = {.variant = r->server.variant};
	int left = 0;

	for (int i = 0; i < r->read; i++) {
		struct command c = r->command[i];
		bool gone = is_gone(r, &c);

		if (i >= r->served) {
			xe_assert(!gone);
			continue;
		}
		xe_assert(cut_bytes(r, true, c.out_from, c.out_to) ==
			  (gone ? c.out_to - c.out_from : 0));
		if (c.conn)
			xe_assert(c.conn->whole == gone && (c.conn->closed || !gone));
		if (gone)
			continue;
		left++;
		serve(&s, &c);
		xe_assert(strcmp(c.reply[0], r->command[i].reply[0]) == 0);
		xe_assert(strcmp(c.reply[1], r->command[i].reply[1]) == 0);
		xe_assert(strcmp(c.data, r->command[i].data) == 0);
	}
	xe_assert(memcmp(&s, &r->server, sizeof(s)) == 0);
	return left;
}

/* ---- runs ---- */

static void begin(struct run *r, uint64_t seed, int variant)
{
	memset(r, 0, sizeof(*r));
	r->rng.state = seed;
	r->server.variant = variant;
	fake_begin(&r->fake, xe_profile_ftp);
	r->root = fake_open(&r->fake, WR_CLIENT_SIDE, NULL);
	write_text(r, r->root, "220-Hello\r\n 220 there\r\n220 .", true);
}

static void end(struct run *r)
{
	for (struct wr_conn *c = r->root, *next; c; c = next) {
		next = c->next;
		fake_free(c);
	}
	fake_end(&r->fake);
}

static void add(struct run *r, const char *line)
{
	xe_assert(r->count < COMMANDS);
	snprintf(r->command[r->count++].line, TEXT, "%s", line);
}

/* All that was added: read at once, then served. */
static void batch(struct run *r)
{
	for (; r->read < r->count; r->read++) {
		r->command[r->read].batch = r->batches;
		read_line(r, &r->command[r->read]);
	}
	r->batches++;
	while (r->served < r->count) {
		serve_next(r, &r->command[r->served], NULL);
		r->served++;
		check(r);
	}
}

static void one(struct run *r, const char *line)
{
	add(r, line);
	batch(r);
}

/* The service has crashed, and reads again what is left. */
static void crash(struct run *r, bool marks_lost)
{
	struct wr_conn *old = r->root, *next;
	bool gone[COMMANDS];

	for (int i = 0; i < r->served; i++)
		gone[i] = is_gone(r, &r->command[i]);
	r->server = (struct server){.variant = r->server.variant};
	r->early = NULL;
	r->root = fake_again(&r->fake, old, NULL);
	r->root->known_from = marks_lost ? old->written : 0;
	write_text(r, r->root, "220-Hello\r\n 220 there\r\n220 .", true);
	for (int i = 0, k; i < r->served; i = k) {
		for (k = i; k < r->served && r->command[k].batch == r->command[i].batch; k++) {
			if (!gone[k])
				read_line(r, &r->command[k]);
		}
		for (int m = i; m < k; m++) {
			if (!gone[m])
				serve_next(r, &r->command[m], r->command[m].conn);
			else
				r->command[m].conn = NULL;
		}
	}
	check(r);
	for (struct wr_conn *c = old; c; c = next) {
		next = c->next;
		fake_free(c);
	}
}

static const char *const LINES[] = {
	"PASV",         "PASV",      "EPSV",       "EPSV none", "PORT 1,2,3,4,5,6",
	"EPRT |1|a|1|", "RETR a",    "RETR b",     "RETR none", "STOR c",
	"LIST",         "NLST none", "MLSD",       "TYPE A",    "TYPE I",
	"type i",       "TYPE E",    "TYPE X",     "CWD a",     "CWD none",
	"NOOP",         "PWD",       "SIZE a",     "FEAT",      "REST 1",
	"REST 10",      "ALLO 5",    "DELE x",     "RNFR a",    "RNTO b",
	"RNFR none",    "USER a",    "SITE UMASK", "HUH",       "ABOR",
	"APPE d",       "RETR a",    "PASV",       "LIST",      "MKD d",
	"NOOP",         "STOR e",
};

static void random_session(uint64_t seed, int variant, int faults)
{
	static struct run r;
	int steps = 60;

	begin(&r, seed, variant);
	r.most = xe_rng_below(&r.rng, 3) ? xe_rng_below(&r.rng, 20) : 0;
	r.fake.take_at_most = xe_rng_below(&r.rng, 4) ? 0 : 3;
	r.fake.mark_fails = faults ? (int)xe_rng_below(&r.rng, 6) : 0;
	r.fake.remove_fails = faults ? (int)xe_rng_below(&r.rng, 9) : 0;
	if (r.fake.mark_fails == 1 || r.fake.remove_fails == 1)
		r.fake.mark_fails = r.fake.remove_fails = 0;
	for (int i = 0; i < steps; i++) {
		uint64_t n = xe_rng_below(&r.rng, 5) ? 1 : 1 + xe_rng_below(&r.rng, 7);

		for (uint64_t k = 0; k < n; k++) {
			add(&r, LINES[xe_rng_below(&r.rng, sizeof(LINES) / sizeof(*LINES))]);
			if (is_data(r.command[r.count - 1].line) && xe_rng_below(&r.rng, 4) == 0) {
				add(&r, "ABOR");
				r.command[r.count - 2].aborted = xe_rng_below(&r.rng, 2);
			}
		}
		batch(&r);
		if (faults && xe_rng_below(&r.rng, 12) == 0)
			crash(&r, xe_rng_below(&r.rng, 2));
	}
	end(&r);
}

/* ---- what is expected to go ---- */

static int left_of(const char *const *lines, size_t n, int times, int variant)
{
	static struct run r;
	int left;

	begin(&r, 1, variant);
	one(&r, "USER a");
	one(&r, "CWD a");
	for (int i = 0; i < times; i++) {
		for (size_t k = 0; k < n; k++)
			one(&r, lines[k]);
	}
	left = check(&r) - 2;
	end(&r);
	return left;
}

#define LEFT(times, variant, ...)                   \
	left_of((const char *const[]){__VA_ARGS__}, \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), times, variant)

static void test_what_goes(void)
{
	/* ftplib, curl, lftp, wget */
	xe_assert(LEFT(50, 0, "TYPE I", "PASV", "RETR a") == 1);
	xe_assert(LEFT(50, 0, "EPSV", "TYPE I", "SIZE a", "RETR a") == 1);
	xe_assert(LEFT(50, 0, "TYPE I", "SIZE a", "MDTM a", "PASV", "RETR a", "TYPE A", "PASV",
		       "LIST") <= 2);
	xe_assert(LEFT(50, 0, "TYPE I", "PASV", "REST 100", "RETR a") == 1);
	xe_assert(LEFT(50, LATE, "TYPE I", "EPSV", "STOR a") == 1);
	xe_assert(LEFT(50, EARLY, "PASV", "TYPE I", "PORT 1", "NLST") == 1);
	/* what needs no transfer */
	xe_assert(LEFT(9, 0, "NOOP", "PWD", "FEAT", "HUH", "DELE a", "MKD b", "CWD none", "TYPE X",
		       "RNFR a", "RNTO b", "RNFR none", "RNTO b", "ABOR", "RETR none", "EPSV none",
		       "USER a", "SITE x") == 18);
	/* refused ones wait for the next address */
	xe_assert(LEFT(50, 0, "PASV", "RETR none") == 2);
	xe_assert(LEFT(50, FORGIVES, "PASV", "RETR none", "RETR a") == 0);
	/* and what lasts */
	xe_assert(LEFT(20, 0, "CWD a") == 20);
	xe_assert(LEFT(1, 0, "PASV", "REST 9") == 2);
	xe_assert(LEFT(1, 0, "RNFR a", "NOOP", "PWD") == 3);
}

/* Only what is pending is replayed: pipelined, in the middle of a transfer, and its ABOR. */
static void test_pending(void)
{
	static struct run r;

	begin(&r, 2, 0);
	add(&r, "USER a");
	for (int i = 0; i < 4; i++) {
		add(&r, "PASV");
		add(&r, "RETR a");
	}
	batch(&r);
	xe_assert(check(&r) == 1);
	one(&r, "PASV");
	add(&r, "RETR a");
	add(&r, "ABOR");
	for (; r.read < r.count; r.read++)
		read_line(&r, &r.command[r.read]);
	r.command[r.served].aborted = true;
	serve_next(&r, &r.command[r.served++], NULL);
	xe_assert(check(&r) == 3);
	serve_next(&r, &r.command[r.served++], NULL);
	xe_assert(check(&r) == 1);
	end(&r);
}

/* What found no mark, or no room, goes with the next one. */
static void test_later(void)
{
	static struct run r;

	begin(&r, 4, 0);
	r.fake.mark_fails = 2;
	r.fake.remove_fails = 3;
	for (int i = 0; i < 40; i++)
		one(&r, "NOOP");
	r.fake.mark_fails = r.fake.remove_fails = 0;
	one(&r, "NOOP");
	xe_assert(check(&r) == 0);
	end(&r);
}

/* ---- what is not FTP ---- */

/* Whether anything is removed of a NOOP that comes after these. */
static bool goes_on(const char *command, const char *reply)
{
	struct fake fake;
	struct wr_conn *c;
	uint64_t before;

	fake_begin(&fake, xe_profile_ftp);
	c = fake_open(&fake, WR_CLIENT_SIDE, NULL);
	fake_write(&fake, c, "220 .\r\n", 7);
	fake_read(&fake, c, command, strlen(command));
	fake_write(&fake, c, reply, strlen(reply));
	before = fake.removals;
	fake_read(&fake, c, "NOOP\r\n", 6);
	fake_write(&fake, c, "200 .\r\n", 7);
	before = fake.removals - before;
	fake_free(c);
	fake_end(&fake);
	return before > 0;
}

static void test_foreign(void)
{
	xe_assert(
		goes_on("SITE x\r\n", "200-a\r\n200-200 \r\n 200 b\r\n2010\r\n201 c\r\n200 .\r\n"));
	xe_assert(goes_on("\xff\xf4\xff\xf2"
			  "abor\r\n",
			  "225 .\r\n"));
	xe_assert(goes_on("RETR a\r\nABOR\r\nPWD\r\n", "150 .\r\n426 .\r\n226 .\r\n257 .\r\n"));
	xe_assert(!goes_on("RETR a\r\nPWD\r\nABOR\r\n", "150 .\r\n426 .\r\n226 .\r\n257 .\r\n"));
	xe_assert(goes_on("AUTH TLS\r\n", "502 .\r\n"));
	xe_assert(goes_on("MODE S\r\nSTRU F\r\n", "200 .\r\n200 .\r\n"));
	xe_assert(!goes_on("AUTH TLS\r\n", "234 .\r\n"));
	xe_assert(!goes_on("MODE Z\r\n", "200 .\r\n"));
	xe_assert(!goes_on("STRU R\r\n", "200 .\r\n"));
	xe_assert(!goes_on("LPSV\r\n", "228 .\r\n"));
	xe_assert(!goes_on("PASV\r\n", "200 .\r\n"));
	xe_assert(!goes_on("NEW\r\n", "229 .\r\n"));
	xe_assert(!goes_on("RETR a\r\n", "226 .\r\n"));
	xe_assert(!goes_on("RETR a\r\n", "150 .\r\n213 status\r\n"));
	xe_assert(!goes_on("PWD\n", "257 .\r\n"));
	xe_assert(!goes_on("\r\n", "500 .\r\n"));
	xe_assert(!goes_on("PW\xff"
			   "D\r\n",
			   "500 .\r\n"));
	xe_assert(!goes_on("PWD\r\n", "257 .\n"));
	xe_assert(!goes_on("PWD\r\n", "257\r\n"));
	xe_assert(!goes_on("PWD\r\n", "257-a\r\n2570\r\n257 .\r\n"));
	xe_assert(!goes_on("PWD\r\n", "2570 .\r\n"));
	xe_assert(!goes_on("PWD\r\n", "257 .\r\n200 .\r\n"));
	xe_assert(!goes_on("PWD\r\n", "421 .\r\n"));
	xe_assert(!goes_on("PWD\r\n", "257-a\r\n257\r\n257 .\r\n"));
	xe_assert(!goes_on("REST 1\r\n", "350 .\r\n"));
	xe_assert(!goes_on("RNFR 1\r\n", "350 .\r\n"));
}

static void test_limits(void)
{
	char line[2000];

	memset(line, 'x', sizeof(line));
	memcpy(line, "SIZE ", 5);
	memcpy(line + 1000, "\r\n", 3);
	xe_assert(goes_on(line, "213 .\r\n"));
	memset(line + 1000, 'x', 900);
	memcpy(line + 1500, "\r\n", 3);
	xe_assert(!goes_on(line, "213 .\r\n"));
}

static void test_garbage(void)
{
	static const char *const words[] = {"220 ", "150 ",     "226 ", "226-", "\r\n",
					    "\r",   "\n",       "PASV", "RETR", "ABOR",
					    "227 ", "\xff\xf4", "NOOP", "550 "};
	struct xe_rng rng = {.state = 3};

	for (int run = 0; run < 500; run++) {
		struct fake fake;
		struct wr_conn *c;

		fake_begin(&fake, xe_profile_ftp);
		c = fake_open(&fake, WR_CLIENT_SIDE, NULL);
		for (int i = 0; i < 80; i++) {
			char text[8];
			const char *word =
				words[xe_rng_below(&rng, sizeof(words) / sizeof(*words))];

			if (xe_rng_below(&rng, 16) == 0) {
				text[0] = (char)xe_rng_below(&rng, 256);
				fake_write(&fake, c, text, 1);
			} else if (xe_rng_below(&rng, 2)) {
				fake_read(&fake, c, word, strlen(word));
			} else {
				fake_write(&fake, c, word, strlen(word));
			}
		}
		fake_free(c);
		fake_end(&fake);
	}
}

int main(void)
{
	test_foreign();
	test_limits();
	test_garbage();
	test_what_goes();
	test_pending();
	test_later();
	for (uint64_t seed = 0; seed < 4 * VARIANTS; seed++)
		random_session(seed, (int)(seed % VARIANTS), seed / VARIANTS % 2);
	return 0;
}
