/* Wrappers: registration, which handler a packet goes to, and that each operation of the south side
 * is needed: without its handler something is lost that is there with it.
 */
#include "ssw_fix.h"

/* ---- registration ---- */

static enum wr_verdict nothing(struct wr_packet *p, void *context)
{
	++*(unsigned *)context;
	return WR_PASS;
}

static long no_call(struct wr_call *call, void *context)
{
	return 0;
}

static void test_registration(void)
{
	unsigned calls = 0;
	struct wr *w;

	xe_assert(wr_create(&w, 0) == -EINVAL && wr_create(NULL, 80) == -EINVAL);
	xe_assert(wr_create(&w, 80) == 0 && w->port == 80 && !w->sessions);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_ACK, NULL, NULL) == -EINVAL);
	xe_assert(wr_ins_ssw(w, 2, WR_REC_ACK, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_PACKET_KINDS, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_SAA, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_SND_SYN, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_SERVER_SIDE, WR_REC_SYN, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_SERVER_SIDE, WR_SND_SAA, nothing, &calls) == -EINVAL);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_ACK, nothing, &calls) == 0);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_ACK, nothing, &calls) == -EEXIST);
	xe_assert(wr_unins_ssw(w, WR_CLIENT_SIDE, WR_REC_ACK) == 0);
	xe_assert(wr_unins_ssw(w, WR_CLIENT_SIDE, WR_REC_ACK) == -ENOENT);
	xe_assert(wr_unins_ssw(w, WR_CLIENT_SIDE, WR_REC_SAA) == -EINVAL);
	xe_assert(wr_ins_nsw(w, WR_SERVER_SIDE, WR_CALL_KINDS, no_call, NULL) == -EINVAL);
	xe_assert(wr_ins_nsw(w, WR_SERVER_SIDE, WR_READ, NULL, NULL) == -EINVAL);
	xe_assert(wr_ins_nsw(w, WR_SERVER_SIDE, WR_READ, no_call, NULL) == 0);
	xe_assert(wr_ins_nsw(w, WR_SERVER_SIDE, WR_READ, no_call, NULL) == -EEXIST);
	xe_assert(wr_unins_nsw(w, WR_SERVER_SIDE, WR_READ) == 0);
	xe_assert(wr_unins_nsw(w, WR_SERVER_SIDE, WR_READ) == -ENOENT);
	xe_assert(wr_unins_nsw(w, 2, WR_READ) == -EINVAL);
	wr_sessions(w);
	xe_assert(w->sessions);
	wr_destroy(w);
}

/* What an author has installed stays. */
static void test_plain(void)
{
	unsigned calls = 0, installed = 0;
	struct wr *w;

	xe_assert(wr_create(&w, 80) == 0);
	xe_assert(wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_FIN, nothing, &calls) == 0);
	xe_assert(wr_plain(w) == 0 && wr_plain(w) == 0);
	xe_assert(w->south[WR_CLIENT_SIDE][WR_REC_FIN].handler == nothing);
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned kind = 0; kind < WR_PACKET_KINDS; kind++)
			installed += w->south[side][kind].handler != NULL;
	}
	xe_assert(installed == 16);
	wr_destroy(w);
}

/* ---- which handler ---- */

struct seen {
	unsigned of[2][WR_PACKET_KINDS];
	unsigned all;
	struct xe_conn *conn;
};

static struct seen seen;
static struct wr plain;

struct at {
	enum wr_side side;
	enum wr_packet_kind kind;
};

static struct at at[2 * WR_PACKET_KINDS];

static enum wr_verdict count_it(struct wr_packet *p, void *context)
{
	const struct at *a = context;
	const struct xe_south *operation = &plain.south[a->side][a->kind];

	seen.of[a->side][a->kind]++;
	seen.all++;
	seen.conn = p->conn;
	return operation->handler(p, operation->context);
}

static void install_counters(void)
{
	memset(&seen, 0, sizeof(seen));
	memset(&plain, 0, sizeof(plain));
	xe_assert(wr_plain(&plain) == 0);
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned kind = 0; kind < WR_PACKET_KINDS; kind++) {
			struct at *a = &at[side * WR_PACKET_KINDS + kind];

			*a = (struct at){side, kind};
			if (wr_unins_ssw(&f.wr, side, kind) == 0)
				xe_assert(wr_ins_ssw(&f.wr, side, kind, count_it, a) == 0);
		}
	}
}

/* One more, of this kind. */
static void expect(enum wr_side side, enum wr_packet_kind kind)
{
	xe_assert(seen.all == 1 && seen.of[side][kind] == 1);
	memset(&seen, 0, sizeof(seen));
}

static void test_client_side_kinds(void)
{
	struct line l = client_line(PORT, CLIENT_PORT);

	install_counters();
	xe_assert(in_syn(&l) == XE_PASS && !seen.conn);
	expect(WR_CLIENT_SIDE, WR_REC_SYN);
	xe_assert(out_synack(&l, l.peer_isn + 1) == XE_PASS && seen.conn == conn(&l));
	expect(WR_CLIENT_SIDE, WR_SND_SAA);
	xe_assert(in(&l, XE_ACK, 0, 0, 0) == XE_PASS);
	expect(WR_CLIENT_SIDE, WR_REC_ACK);
	xe_assert(in(&l, XE_ACK | XE_PSH, 0, 0, 10) == XE_PASS);
	expect(WR_CLIENT_SIDE, WR_REC_ACK);
	xe_assert(out(&l, XE_ACK, 0, 10, 10) == XE_PASS);
	expect(WR_CLIENT_SIDE, WR_SND_ACK);
	in(&l, XE_SYN | XE_ACK, 10, 10, 0); /* what a client never sends */
	expect(WR_CLIENT_SIDE, WR_REC_ACK);
	in(&l, XE_SYN | XE_RST | XE_FIN, 5, 0, 0);
	expect(WR_CLIENT_SIDE, WR_REC_RST);
	xe_assert(in(&l, XE_FIN | XE_ACK, 10, 10, 10) == XE_PASS);
	expect(WR_CLIENT_SIDE, WR_REC_FIN);
	out(&l, XE_FIN | XE_ACK, 10, 21, 0);
	expect(WR_CLIENT_SIDE, WR_SND_FIN);
	out(&l, XE_RST | XE_ACK, 10, 21, 0);
	expect(WR_CLIENT_SIDE, WR_SND_RST);
}

static void test_server_side_kinds(void)
{
	struct line l = server_line(EPHEMERAL);

	install_counters();
	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS && !seen.conn);
	expect(WR_SERVER_SIDE, WR_SND_SYN);
	xe_assert(in_synack(&l) == XE_PASS && seen.conn == conn(&l));
	expect(WR_SERVER_SIDE, WR_REC_SAA);
	xe_assert(out(&l, XE_ACK, 0, 0, 10) == XE_PASS);
	expect(WR_SERVER_SIDE, WR_SND_ACK);
	xe_assert(in(&l, XE_ACK, 0, 10, 10) == XE_PASS);
	expect(WR_SERVER_SIDE, WR_REC_ACK);
	in(&l, XE_SYN, 10, 10, 0); /* not a client */
	expect(WR_SERVER_SIDE, WR_REC_ACK);
	xe_assert(in(&l, XE_FIN | XE_ACK, 10, 10, 10) == XE_PASS);
	expect(WR_SERVER_SIDE, WR_REC_FIN);
	out(&l, XE_FIN | XE_ACK, 10, 21, 0);
	expect(WR_SERVER_SIDE, WR_SND_FIN);
	out(&l, XE_RST | XE_ACK, 10, 21, 0);
	expect(WR_SERVER_SIDE, WR_SND_RST);
	in(&l, XE_RST, 5, 0, 0);
	expect(WR_SERVER_SIDE, WR_REC_RST);
}

/* A handler's own decision counts. */
static enum wr_verdict drop(struct wr_packet *p, void *context)
{
	return WR_DROP;
}

static void test_dropped(void)
{
	struct line l = client_line(PORT, CLIENT_PORT);

	accept_line(&l);
	xe_assert(wr_unins_ssw(&f.wr, WR_CLIENT_SIDE, WR_REC_ACK) == 0);
	xe_assert(wr_ins_ssw(&f.wr, WR_CLIENT_SIDE, WR_REC_ACK, drop, NULL) == 0);
	xe_assert(in(&l, XE_ACK, 0, 0, 10) == XE_DROP && slot(&l)->rcv_logged == 0);
}

/* An operation in a handler of the wrong kind does no harm. */
static void test_no_connection(void)
{
	struct wr_packet p = {.ssw = f.s};
	enum wr_verdict (*const operations[])(struct wr_packet *) = {
		cs_rec_ack, cs_rec_fin, cs_rec_rst, cs_snd_saa, cs_snd_ack, cs_snd_fin, cs_snd_rst,
		ss_rec_saa, ss_rec_ack, ss_rec_fin, ss_rec_rst, ss_snd_ack, ss_snd_fin, ss_snd_rst,
	};

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		xe_assert(operations[i](&p) == WR_PASS);
}

/* ---- each operation is needed ---- */

/* What is left of a session without one handler: the first of these that is not as it should be. */
enum part {
	WHOLE,
	NOT_OPENED,
	NOT_ANSWERED,
	NOT_ESTABLISHED,
	INPUT_LOST,
	OUTPUT_LOST,
	FIN_LOST,
	FIN_LEAKED,
	RESET_LEAKED,
	RESET_LOST,
};

static enum part check_output(const struct line *l)
{
	int64_t received = (int64_t)conn(l)->rcv_logged;

	xe_assert(out(l, XE_ACK, 0, received, 200) == XE_PASS);
	if (slot(l)->sent_max != 200 || conn(l)->out.blocks == 0)
		return OUTPUT_LOST;
	if (out(l, XE_FIN | XE_ACK, 200, received, 0) == XE_PASS)
		return FIN_LEAKED; /* of a dying kernel */
	return out(l, XE_RST, 200, 0, 0) == XE_PASS ? RESET_LEAKED : WHOLE;
}

static enum part check_input(const struct line *l)
{
	xe_assert(in(l, XE_ACK, 0, 0, 100) == XE_PASS);
	if (slot(l)->rcv_logged != 100)
		return INPUT_LOST;
	xe_assert(in(l, XE_FIN | XE_ACK, 100, 0, 50) == XE_PASS);
	return slot(l)->rcv_logged == 150 && (slot(l)->fins & XE_LOG_PEER_FIN) ? WHOLE : FIN_LOST;
}

static enum part check_reset(const struct line *l)
{
	int64_t next = (int64_t)conn(l)->rcv_logged + 1;

	in(l, XE_RST, next, 0, 0);
	return conn(l) ? RESET_LOST : WHOLE;
}

static enum part check_stream(const struct line *l)
{
	enum part part = check_input(l);

	part = part == WHOLE ? check_output(l) : part;
	return part == WHOLE ? check_reset(l) : part;
}

static enum part check_client_side(void)
{
	struct line l = client_line(PORT, CLIENT_PORT);

	xe_assert(in_syn(&l) == XE_PASS);
	if (!conn(&l))
		return NOT_OPENED;
	xe_assert(out_synack(&l, l.peer_isn + 1) == XE_PASS);
	if (slot(&l)->state != XE_LOG_SYN_RCVD)
		return NOT_ANSWERED;
	xe_assert(in(&l, XE_ACK, 0, 0, 0) == XE_PASS);
	if (slot(&l)->state != XE_LOG_ESTABLISHED)
		return NOT_ESTABLISHED;
	return check_stream(&l);
}

static enum part check_server_side(void)
{
	struct line l = server_line(EPHEMERAL);

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	if (!conn(&l))
		return NOT_OPENED;
	xe_assert(in_synack(&l) == XE_PASS);
	return slot(&l)->state == XE_LOG_ESTABLISHED ? check_stream(&l) : NOT_ANSWERED;
}

static void test_each_is_needed(void)
{
	static const struct {
		enum wr_side side;
		enum wr_packet_kind kind;
		enum part lost;
	} needed[] = {
		{WR_CLIENT_SIDE, WR_REC_SYN, NOT_OPENED},
		{WR_CLIENT_SIDE, WR_SND_SAA, NOT_ANSWERED},
		{WR_CLIENT_SIDE, WR_REC_ACK, NOT_ESTABLISHED},
		{WR_CLIENT_SIDE, WR_REC_FIN, FIN_LOST},
		{WR_CLIENT_SIDE, WR_REC_RST, RESET_LOST},
		{WR_CLIENT_SIDE, WR_SND_ACK, OUTPUT_LOST},
		{WR_CLIENT_SIDE, WR_SND_FIN, FIN_LEAKED},
		{WR_CLIENT_SIDE, WR_SND_RST, RESET_LEAKED},
		{WR_SERVER_SIDE, WR_SND_SYN, NOT_OPENED},
		{WR_SERVER_SIDE, WR_REC_SAA, NOT_ANSWERED},
		{WR_SERVER_SIDE, WR_REC_ACK, INPUT_LOST},
		{WR_SERVER_SIDE, WR_REC_FIN, FIN_LOST},
		{WR_SERVER_SIDE, WR_REC_RST, RESET_LOST},
		{WR_SERVER_SIDE, WR_SND_ACK, OUTPUT_LOST},
		{WR_SERVER_SIDE, WR_SND_FIN, FIN_LEAKED},
		{WR_SERVER_SIDE, WR_SND_RST, RESET_LEAKED},
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		bool client = needed[i].side == WR_CLIENT_SIDE;

		for (int with = 0; with < 2; with++) {
			enum part part;

			close_fix();
			open_fix();
			if (!with)
				xe_assert(!wr_unins_ssw(&f.wr, needed[i].side, needed[i].kind));
			part = client ? check_client_side() : check_server_side();
			xe_assert(part == (with ? WHOLE : needed[i].lost));
		}
	}
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"registration", test_registration},
	{"plain", test_plain},
	{"client_side_kinds", test_client_side_kinds},
	{"server_side_kinds", test_server_side_kinds},
	{"dropped", test_dropped},
	{"no_connection", test_no_connection},
	{"each_is_needed", test_each_is_needed},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		fprintf(stderr, "%s\n", tests[i].name);
		open_fix();
		tests[i].run();
		close_fix();
	}
	return 0;
}
