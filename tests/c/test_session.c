/* The south-side wrapper's half of sessions: connections that the service opens, ports that the log
 * names, ghosts. What removals do is in test_trim.c.
 */
#include "ssw_fix.h"

/* ---- a connection that the service opens ---- */

static void test_opened(void)
{
	struct line l = server_line(EPHEMERAL);

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS && !f.p.seg.opt.sack_permitted);
	xe_assert(slot(&l)->state == XE_LOG_SYN_SENT && slot(&l)->role == XE_LOG_SERVER_SIDE);
	xe_assert(slot(&l)->own_isn == l.own_isn && slot(&l)->incarnation == 1);
	xe_assert(in_synack(&l) == XE_PASS && !f.p.seg.opt.sack_permitted);
	xe_assert(slot(&l)->state == XE_LOG_ESTABLISHED && slot(&l)->peer_isn == l.peer_isn);
	xe_assert(slot(&l)->options == (XE_LOG_OPT_TS | XE_LOG_OPT_WSCALE));
	xe_assert(slot(&l)->own_wscale == OWN_WSCALE && slot(&l)->peer_wscale == PEER_WSCALE);
	xe_assert(out(&l, XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(out(&l, XE_ACK, 0, 0, 100) == XE_PASS && slot(&l)->sent_max == 100);
	xe_assert(in(&l, XE_ACK, 0, 100, 50) == XE_PASS);
	xe_assert(slot(&l)->rcv_logged == 50 && slot(&l)->peer_acked == 100);
	xe_assert(out(&l, XE_ACK, 100, 51, 0) == XE_DROP); /* not in the log */
	xe_assert(out(&l, XE_ACK, 100, 50, 0) == XE_PASS);
	xe_assert(out(&l, XE_FIN | XE_ACK, 100, 50, 0) == XE_DROP); /* nobody asked for it */
	name_root(&l, &l);
	finish(&l, 50, 100);
	xe_assert(conn(&l)->state == XE_CONN_TOMBSTONE && slot(&l)->state == XE_LOG_FREE);
}

static void test_synack_believed(void)
{
	struct line l = server_line(EPHEMERAL), other = l;

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	other.own_isn++;
	xe_assert(in_synack(&other) == XE_DROP && in(&other, XE_RST | XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(in(&l, XE_RST, 0, 0, 0) == XE_PASS);
	xe_assert(slot(&l)->state == XE_LOG_SYN_SENT);
	xe_assert(out_syn(&l) == XE_PASS); /* again */
	xe_assert(slot(&l)->incarnation == 1 && in_synack(&l) == XE_PASS);
	xe_assert(slot(&l)->state == XE_LOG_ESTABLISHED);
	other = l;
	other.peer_isn += 7;
	xe_assert(in_synack(&other) != XE_DROP && slot(&l)->peer_isn == l.peer_isn);
}

static void test_refused(void)
{
	struct line root = client_line(PORT, CLIENT_PORT), l = server_line(EPHEMERAL);
	struct xe_conn *c;

	accept_line(&root);
	name_root(&root, &root);
	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	name_root(&l, &root);
	c = conn(&l);
	xe_assert(in(&l, XE_RST | XE_ACK, 0, 0, 0) == XE_PASS); /* it is an input */
	xe_assert(c->state == XE_CONN_GHOST && (slot(&l)->fins & XE_LOG_PEER_RST));
	/* tried again from the same port: another entry */
	l.guest_isn = l.own_isn += 1000;
	xe_assert(out_syn(&l) == XE_PASS && conn(&l) != c && conn(&l)->state == XE_CONN_SYN_SENT);
	xe_assert(c->state == XE_CONN_GHOST);
}

/* TCP gave it up without a packet, and takes the port again. */
static void test_given_up(void)
{
	struct line l = server_line(EPHEMERAL);

	connect_line(&l);
	l.guest_isn = l.own_isn += 1000;
	xe_assert(out_syn(&l) == XE_PASS && f.p.seg.seq == l.own_isn);
	xe_assert(slot(&l)->state == XE_LOG_SYN_SENT && slot(&l)->own_isn == l.own_isn);
}

/* ---- its re-establishment ---- */

static void fault(void)
{
	xe_ssw_detach(f.s, f.now);
	xe_ssw_replay(f.s, f.now);
}

static void new_tcp(struct line *l, uint32_t isn)
{
	l->guest_isn = isn;
	l->guest_base = conn(l)->peer_acked;
	l->own_ts = 777; /* another clock */
}

static void test_reestablished(void)
{
	struct line l = server_line(EPHEMERAL);

	connect_line(&l);
	xe_assert(out(&l, XE_ACK, 0, 0, 300) == XE_PASS);
	receive(&l, 0, 1000, 200);
	fault();
	expect_own(XE_TO_GUEST, XE_RST); /* to an old socket, if there is one */
	xe_assert(f.p.seg.seq == l.peer_isn + 1 + 1000);
	expect_quiet(); /* it waits for the service */
	xe_assert(in(&l, XE_ACK, 1000, 200, 500) == XE_DROP); /* and is logged */
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP); /* no packet reaches the end server */
	xe_assert(events(XE_SSW_REESTABLISHED, 0) == 1);
	xe_assert(slot(&l)->replay_line == 1500 && slot(&l)->drop_line == 200);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
	xe_assert(f.p.seg.seq == l.peer_isn + 1500 && f.p.seg.ack == 5001);
	xe_assert(f.p.seg.opt.has_ts && f.p.seg.opt.tsval == l.peer_ts);
	xe_assert(f.p.seg.opt.tsecr == 777 && f.p.seg.opt.mss == 1400);
	xe_assert(f.p.seg.opt.has_wscale && f.p.seg.opt.wscale == PEER_WSCALE);
	expect_quiet();
	xe_assert(out(&l, XE_ACK, 200, 1500, 0) == XE_PASS); /* as any bare ack */
	xe_assert(f.p.seg.seq == l.own_isn + 1 + 300 && f.p.seg.ack == l.peer_isn + 1501);
	xe_assert(out(&l, XE_ACK, 200, 1500, 100) == XE_PASS);
	xe_assert(f.p.seg.seq == l.own_isn + 1 + 200);
	xe_assert(in(&l, XE_ACK, 1500, 300, 10) == XE_PASS && f.p.seg.ack == 5001 + 100);
}

static void test_output_is_compared(void)
{
	struct line l = server_line(EPHEMERAL), wrong;

	connect_line(&l);
	xe_assert(out(&l, XE_ACK, 0, 0, 300) == XE_PASS);
	fault();
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	drain();
	wrong = l;
	wrong.peer_port++; /* other bytes */
	{
		struct xe_segment g = segment_of(&l, false, XE_ACK);

		g.seq = 5001;
		g.ack = l.peer_isn + 1;
		xe_assert(give(&wrong, false, &g, 0, 300) == XE_DROP);
	}
	xe_assert(events(XE_SSW_DIVERGED, 0) == 1 && conn(&l)->refused);
}

static void test_answer_again(void)
{
	struct line l = server_line(EPHEMERAL);

	connect_line(&l);
	xe_assert(in(&l, XE_FIN | XE_ACK, 0, 0, 20) == XE_PASS);
	fault();
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
	expect_own(XE_TO_GUEST, XE_FIN | XE_ACK);
	xe_assert(f.p.seg.seq == l.peer_isn + 21);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
	expect_quiet();
}

static void test_not_answered(void)
{
	struct line l = server_line(EPHEMERAL);
	uint32_t isn = l.own_isn;

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	fault();
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_PASS && f.p.seg.seq == isn); /* the peer may have had it */
	xe_assert(xe_seq_gt(f.p.seg.opt.tsval, 0xffffff00));
	expect_quiet();
	xe_assert(out_syn(&l) == XE_PASS && f.p.seg.seq == isn);
	xe_assert(in_synack(&l) == XE_PASS && f.p.seg.ack == 5001);
	xe_assert(out(&l, XE_ACK, 0, 0, 0) == XE_PASS && f.p.seg.seq == isn + 1);
	xe_assert(out(&l, XE_ACK, 0, 0, 10) == XE_PASS && f.p.seg.seq == isn + 1);
}

/* The answer came while no TCP was there. */
static void test_answered_meanwhile(void)
{
	struct line l = server_line(EPHEMERAL);

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	xe_ssw_detach(f.s, f.now);
	xe_assert(in_synack(&l) == XE_DROP && slot(&l)->state == XE_LOG_ESTABLISHED);
	xe_ssw_replay(f.s, f.now);
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
	xe_assert(f.p.seg.seq == l.peer_isn && f.p.seg.ack == 5001);
	xe_assert(out(&l, XE_ACK, 0, 0, 0) == XE_PASS && f.p.seg.seq == l.own_isn + 1);
}

static void test_unclaimed(void)
{
	struct line l = server_line(EPHEMERAL), data = client_line(30000, CLIENT_PORT + 1);
	struct line root = client_line(PORT, CLIENT_PORT);

	connect_line(&l);
	name_port(30000, WR_PROFILE_FTP);
	accept_line(&data);
	accept_line(&root);
	fault();
	drain(); /* the fake SYNs: nobody answers */
	xe_assert(xe_ssw_poll_at(f.s) <= f.now + XE_SSW_CLAIM);
	f.now += XE_SSW_CLAIM - 1;
	drain();
	xe_assert(events(XE_SSW_RESET, ENOENT) == 0);
	f.now++;
	drain();
	xe_assert(events(XE_SSW_RESET, ENOENT) == 2 && conn(&l)->refused && conn(&data)->refused);
	xe_assert(!conn(&root)->refused); /* this port's service is sure to listen */
	xe_assert(xe_ssw_counters(f.s)->unclaimed == 2 && f.s->recovering);
	/* the service comes at last: to a new connection */
	new_tcp(&l, 5000);
	l.own_isn = 5000;
	xe_assert(out_syn(&l) == XE_PASS && slot(&l)->state == XE_LOG_SYN_SENT);
}

static void test_all_are_reestablished_at_last(void)
{
	struct line l = server_line(EPHEMERAL);

	connect_line(&l);
	fault();
	xe_assert(events(XE_SSW_REESTABLISHED, 0) == 0);
	f.now += XE_SSW_CLAIM;
	expect_own(XE_TO_NETWORK, XE_ACK | XE_RST);
	xe_assert(f.p.seg.seq == l.own_isn + 1);
	xe_assert(events(XE_SSW_REESTABLISHED, 0) == 1 && !f.s->recovering);
}

/* Recovery in the same domain: the dead process's socket is still there. */
static void test_old_socket(void)
{
	struct line l = server_line(EPHEMERAL), silent = server_line(EPHEMERAL + 1), old;

	connect_line(&l);
	receive(&l, 0, 100, 0);
	name_port(EPHEMERAL + 1, WR_PROFILE_FTP);
	xe_assert(out_syn(&silent) == XE_PASS);
	fault();
	expect_own(XE_TO_GUEST, XE_RST);
	xe_assert(f.p.seg.seq == l.peer_isn + 101);
	expect_own(XE_TO_GUEST, XE_RST | XE_ACK);
	xe_assert(f.p.seg.ack == silent.own_isn + 1);
	expect_quiet();
	old = l;
	xe_assert(out(&old, XE_ACK, 0, 60, 0) == XE_DROP); /* a challenge: it is not that far */
	expect_own(XE_TO_GUEST, XE_RST);
	xe_assert(f.p.seg.seq == l.peer_isn + 61);
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
}

/* However many wait for a listener of their session, the root is not kept waiting. */
static void test_pace(void)
{
	struct line root = client_line(PORT, 1);

	name_port(30000, WR_PROFILE_FTP);
	for (uint16_t i = 0; i < XE_SSW_PACE + 10 && i < f.log.slots - 1; i++) {
		struct line l = client_line(30000, (uint16_t)(CLIENT_PORT + i));

		accept_line(&l);
	}
	accept_line(&root);
	fault();
	drain();
	xe_assert(conn(&root)->attach == XE_FAKING && f.s->faking == 1);
}

static void test_lacks_option(void)
{
	struct line l = server_line(EPHEMERAL);

	connect_line(&l);
	fault();
	new_tcp(&l, 5000);
	l.no_ts = true;
	xe_assert(out_syn(&l) == XE_DROP && events(XE_SSW_RESET, EPROTONOSUPPORT) == 1);
	expect_own(XE_TO_GUEST, XE_ACK | XE_RST);
	xe_assert(f.p.seg.ack == 5001);
	expect_own(XE_TO_NETWORK, XE_ACK | XE_RST);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_ACK | XE_RST);
}

/* What the service gave up before the fault is not waited for. */
static void test_given_up_before(void)
{
	struct line l = server_line(EPHEMERAL);

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS);
	name_root(&l, &l);
	intend(&l, XE_LOG_CLOSED | XE_LOG_ABORTED, 0);
	xe_ssw_detach(f.s, f.now);
	xe_assert(xe_ssw_replay(f.s, f.now) == 0 && !conn(&l));
}

/* ---- in a trial ---- */

static void begin_trial(void)
{
	xe_assert(xe_ssw_try(f.s, f.now) == 0);
	xe_ssw_replay(f.s, f.now);
}

static void test_tried(void)
{
	struct line l = server_line(EPHEMERAL), old, fresh = server_line(EPHEMERAL + 1);
	struct line silent = server_line(EPHEMERAL + 2);

	connect_line(&l);
	receive(&l, 0, 100, 0);
	name_port(EPHEMERAL + 2, WR_PROFILE_FTP);
	xe_assert(out_syn(&silent) == XE_PASS);
	begin_trial();
	old = l;
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	expect_own(XE_TO_GUEST, XE_SYN | XE_ACK);
	name_port(EPHEMERAL + 1, WR_PROFILE_FTP);
	xe_assert(out_syn(&fresh) == XE_DROP && !conn(&fresh)); /* held */
	xe_assert(in_synack(&silent) == XE_DROP); /* as if it were lost */
	xe_assert(in(&l, XE_ACK, 100, 0, 10) == XE_PASS);
	xe_ssw_roll_back(f.s, f.now);
	xe_assert(*xe_log_port(&f.log, EPHEMERAL + 1) == 0);
	xe_assert(!conn(&fresh) && conn(&silent)->state == XE_CONN_SYN_SENT);
	drain();
	old.own_ts += 100;
	xe_assert(in_synack(&silent) == XE_PASS && f.p.seg.ack == silent.own_isn + 1);
	xe_assert(out(&old, XE_ACK, 0, 110, 10) == XE_PASS && f.p.seg.seq == old.own_isn + 1);
}

static void test_accepted(void)
{
	struct line l = server_line(EPHEMERAL), fresh = server_line(EPHEMERAL + 1);
	enum xe_direction to;

	connect_line(&l);
	begin_trial();
	new_tcp(&l, 5000);
	xe_assert(out_syn(&l) == XE_DROP);
	name_port(EPHEMERAL + 1, WR_PROFILE_FTP);
	xe_assert(out_syn(&fresh) == XE_DROP);
	drain();
	xe_ssw_accept(f.s, f.now);
	xe_assert(own_packet(&to) > 0 && to == XE_TO_NETWORK && f.p.seg.flags == XE_SYN);
	xe_assert(conn(&fresh)->state == XE_CONN_SYN_SENT);
}

static void test_unclaimed_in_a_trial(void)
{
	struct line l = server_line(EPHEMERAL), old = l;

	connect_line(&l);
	begin_trial();
	f.now += XE_SSW_CLAIM;
	drain();
	xe_assert(events(XE_SSW_DIVERGED, 0) == 1 && !conn(&l)->refused);
	xe_ssw_roll_back(f.s, f.now);
	drain();
	old.own_ts += 100;
	xe_assert(out(&old, XE_ACK, 0, 0, 10) == XE_PASS && in(&l, XE_ACK, 0, 10, 0) == XE_PASS);
}

/* ---- ports ---- */

static void test_ports(void)
{
	struct line l = client_line(30000, CLIENT_PORT),
		    waiting = client_line(30000, CLIENT_PORT + 1);

	xe_assert(in_syn(&l) == XE_PASS && f.p.seg.opt.sack_permitted && !conn(&l));
	name_port(30000, WR_PROFILE_PLAIN); /* there is no such one */
	xe_assert(in_syn(&l) == XE_PASS && !conn(&l));
	name_port(30000, 255);
	xe_assert(in_syn(&l) == XE_PASS && !conn(&l));
	name_port(30000, WR_PROFILE_FTP);
	accept_line(&l);
	name_root(&l, &l);
	accept_line(&waiting);
	xe_assert(out(&waiting, XE_RST, 0, 0, 0) == XE_DROP);
	name_port(30000, 0); /* the listener is closed; what was taken from it lives */
	xe_assert(out(&waiting, XE_RST, 0, 0, 0) == XE_PASS && !conn(&waiting));
	xe_assert(in(&l, XE_ACK, 0, 0, 100) == XE_PASS && slot(&l)->rcv_logged == 100);
	xe_assert(out(&l, XE_RST, 0, 0, 0) == XE_DROP);
	xe_assert(in(&l, XE_RST, 100, 0, 0) == XE_PASS && !conn(&l));
	xe_assert(!xe_ssw_is_protected(f.s, 30000));
	xe_assert(out_syn(&l) == XE_PASS && !conn(&l));
}

static void test_registration(void)
{
	static struct wr many[XE_SSW_WRAPPERS + 1];
	struct line l = client_line(8000, CLIENT_PORT);
	int rc = 0;

	for (uint32_t i = 0; i <= XE_SSW_WRAPPERS && rc == 0; i++)
		rc = xe_ssw_protect(f.s, (uint16_t)(7000 + i), &many[i]);
	xe_assert(rc == -ENOSPC);
	xe_assert(xe_ssw_protect(f.s, 8000, &f.wr) == 0); /* that one is known */
	accept_line(&l);
	xe_assert(xe_ssw_protect(f.s, 8000, NULL) == 0);
	xe_assert(in(&l, XE_ACK, 0, 0, 10) == XE_PASS && slot(&l)->rcv_logged == 10);
	l.peer_port++;
	xe_assert(in_syn(&l) == XE_PASS && !conn(&l));
}

/* ---- ghosts ---- */

static void open_session(struct line *root, struct line *member)
{
	*root = client_line(PORT, CLIENT_PORT);
	*member = client_line(30000, CLIENT_PORT + 1);
	name_port(30000, WR_PROFILE_FTP);
	accept_line(root);
	accept_line(member);
	name_root(root, root);
	name_root(member, root);
}

static void test_ghost(void)
{
	struct line root, member;
	struct xe_conn *ghost;
	uint32_t blocks = f.s->pool.free_count;

	open_session(&root, &member);
	receive(&member, 0, 500, 0);
	respond(&member, 0, 300);
	ghost = conn(&member);
	finish(&member, 500, 300);
	xe_assert(ghost->state == XE_CONN_GHOST && slot(&member)->state == XE_LOG_GHOST);
	xe_assert(slot(&member)->fins == (XE_LOG_PEER_FIN | XE_LOG_OWN_FIN | XE_LOG_OWN_FIN_ACKED));
	xe_assert(ghost->stream.blocks == 1 && ghost->out.blocks == 0);
	xe_assert(xe_log_find(&f.log, SERVER, 30000, CLIENT, CLIENT_PORT + 1) == XE_LOG_NONE);
	xe_assert(in(&member, XE_RST, 501, 301, 0) == XE_DROP && ghost->state == XE_CONN_GHOST);
	/* the client's port again */
	member.peer_isn += 100000;
	member.guest_isn = member.own_isn += 100000;
	member.peer_ts += 10;
	accept_line(&member);
	xe_assert(conn(&member) != ghost && ghost->state == XE_CONN_GHOST);
	xe_assert(xe_log_find(&f.log, SERVER, 30000, CLIENT, CLIENT_PORT + 1) ==
		  conn(&member) - f.s->conn);
	name_root(&member, &root);
	finish(&root, 0, 0); /* a member lives */
	xe_assert(conn(&root)->state == XE_CONN_GHOST && ghost->state == XE_CONN_GHOST);
	finish(&member, 0, 0); /* it was the last one */
	xe_assert(conn(&root)->state == XE_CONN_TOMBSTONE);
	xe_assert(conn(&member)->state == XE_CONN_TOMBSTONE && ghost->state == XE_CONN_TOMBSTONE);
	xe_assert(f.s->pool.free_count == blocks);
}

static void test_no_ghost_alone(void)
{
	struct line root, member;

	open_session(&root, &member);
	slot(&member)->root = XE_LOG_NONE;
	finish(&member, 0, 0);
	xe_assert(conn(&member)->state == XE_CONN_TOMBSTONE);
	finish(&root, 0, 0);
	xe_assert(conn(&root)->state == XE_CONN_TOMBSTONE);
}

static void test_ghosts_of_resets(void)
{
	struct line root, member, other = client_line(30000, CLIENT_PORT + 2);
	struct xe_conn *one, *two;

	open_session(&root, &member);
	accept_line(&other);
	name_root(&other, &root);
	receive(&member, 0, 70, 0);
	one = conn(&member);
	two = conn(&other);
	xe_assert(in(&member, XE_RST, 70, 0, 0) == XE_PASS);
	xe_assert(one->state == XE_CONN_GHOST && (slot(&member)->fins & XE_LOG_PEER_RST));
	intend(&other, XE_LOG_CLOSED | XE_LOG_ABORTED, 0);
	xe_assert(out(&other, XE_RST, 0, 0, 0) == XE_PASS && two->state == XE_CONN_GHOST);
	xe_assert(!(slot(&other)->fins & XE_LOG_PEER_RST));
	xe_assert(in(&root, XE_RST, 0, 0, 0) == XE_PASS && !conn(&root));
	xe_assert(one->state == XE_CONN_FREE && two->state == XE_CONN_FREE);
}

static void test_ghost_is_replayed(void)
{
	struct line root, member;
	struct xe_log_slot *s;

	open_session(&root, &member);
	receive(&member, 0, 500, 0);
	finish(&member, 500, 0);
	s = slot(&member);
	xe_ssw_detach(f.s, f.now);
	xe_assert(xe_ssw_replay(f.s, f.now) == 1); /* the root */
	xe_assert(s->state == XE_LOG_GHOST && s->replay_line == 500 &&
		  s->first_block != XE_LOG_NONE);
	xe_assert(s->replay_generation == generation() && s->root_incarnation == 1);
	expect_own(XE_TO_GUEST, XE_SYN);
	xe_assert(f.p.seg.dport == PORT);
	/* the peer's last ACK was lost: no TCP knows any more */
	xe_assert(in(&member, XE_FIN | XE_ACK, 500, 1, 0) == XE_DROP);
	expect_own(XE_TO_NETWORK, XE_ACK);
	xe_assert(f.p.seg.ack == member.peer_isn + 502);
}

static void test_ghost_in_a_trial(void)
{
	struct line root, member;
	struct xe_log_slot *s, was;

	open_session(&root, &member);
	receive(&member, 0, 500, 0);
	finish(&member, 500, 0);
	s = slot(&member);
	was = *s;
	begin_trial();
	drain();
	s->nsw_generation = generation();
	s->root = 12345;
	xe_ssw_roll_back(f.s, f.now);
	xe_assert(memcmp(s, &was, sizeof(was)) == 0 && conn(&member)->state == XE_CONN_GHOST);
}

static void test_the_root_is_reset(void)
{
	struct line root, member;
	struct xe_conn *ghost;

	open_session(&root, &member);
	receive(&member, 0, 500, 0);
	ghost = conn(&member);
	finish(&member, 500, 0);
	xe_ssw_give_up(f.s, f.now);
	xe_assert(conn(&root)->refused && ghost->state == XE_CONN_TOMBSTONE);
	xe_assert(ghost->stream.blocks == 0);
}

/* It was opened, and is over, before NSW could say for whom: it waits, not for ever. */
/* Its TCP waits in TIME_WAIT, and the service has closed it without a packet, when the client comes
 * again from the same port. */
static void test_the_root_begins_anew(void)
{
	struct line root = client_line(PORT, CLIENT_PORT), member = server_line(EPHEMERAL);
	struct line anew = root;
	struct xe_conn *old;

	accept_line(&root);
	name_root(&root, &root);
	connect_line(&member);
	name_root(&member, &root);
	old = conn(&root);
	xe_assert(in(&root, XE_FIN | XE_ACK, 0, 0, 0) == XE_PASS);
	intend(&root, XE_LOG_CLOSED, 0);
	xe_assert(out(&root, XE_FIN | XE_ACK, 0, 1, 0) == XE_PASS);
	xe_assert(in(&root, XE_ACK, 1, 1, 0) == XE_PASS && old->state == XE_CONN_ESTABLISHED);
	anew.peer_isn += 1000000;
	anew.guest_isn = anew.own_isn += 1000000;
	accept_line(&anew);
	xe_assert(conn(&anew) != old && slot(&anew)->incarnation == 1);
	xe_assert(old->state == XE_CONN_GHOST && xe_ssw_root(f.s, conn(&member)) == old);
	name_root(&anew, &anew);
	finish(&member, 0, 0);
	xe_assert(conn(&member)->state == XE_CONN_TOMBSTONE && old->state == XE_CONN_TOMBSTONE);
	xe_assert(conn(&anew)->state == XE_CONN_ESTABLISHED);
}

static void test_unnamed_ghost(void)
{
	struct line l = server_line(EPHEMERAL);

	name_port(EPHEMERAL, WR_PROFILE_FTP);
	xe_assert(out_syn(&l) == XE_PASS && in(&l, XE_RST | XE_ACK, 0, 0, 0) == XE_PASS);
	xe_assert(conn(&l)->state == XE_CONN_GHOST);
	for (int i = 0; i < 3; i++) {
		f.now += XE_SSW_LOOK;
		drain();
	}
	xe_assert(!conn(&l));
}

static void test_unprotected_as_one(void)
{
	struct line root, member, other = client_line(30000, CLIENT_PORT + 2);
	struct xe_conn *ghost;

	open_session(&root, &member);
	accept_line(&other);
	name_root(&other, &root);
	receive(&member, 0, 500, 0);
	ghost = conn(&member);
	finish(&member, 500, 0);
	receive(&other, 0, 20000, 0); /* the largest holder */
	while (f.s->pool.free_count > 0)
		f.s->pool.free_count--;
	xe_ssw_starve(f.s, f.now);
	f.now += XE_SSW_STARVE;
	drain();
	xe_assert(conn(&root)->unprotected && conn(&other)->unprotected);
	xe_assert(ghost->state == XE_CONN_TOMBSTONE && events(XE_SSW_UNPROTECTED, ENOSPC) == 2);
	xe_ssw_detach(f.s, f.now);
	xe_assert(events(XE_SSW_RESET, ENOSPC) == 2);
}

/* ---- a guest that lies about it ---- */

static void test_lies(void)
{
	static const uint32_t root_of[] = {XE_LOG_NONE, 1u << 31, 63, 0, 1, 2};
	struct line root, member, other = client_line(PORT, CLIENT_PORT + 2);
	struct xe_rng rng = {5};

	open_session(&root, &member);
	accept_line(&other);
	name_root(&other, &other);
	for (int i = 0; i < 300; i++) {
		struct xe_log_slot *s[] = {slot(&root), slot(&member), slot(&other)};

		for (int k = 0; k < 3; k++) {
			s[k]->root = root_of[xe_rng_below(&rng, 6)];
			s[k]->root_incarnation = (uint32_t)xe_rng_below(&rng, 3);
		}
		for (uint32_t k = 0; k < f.log.slots; k++) {
			struct xe_conn *c = &f.s->conn[k], *r = xe_ssw_root(f.s, c);

			xe_assert(!r || (xe_ssw_root(f.s, r) == r && xe_conn_open(r)));
			if (c->state != XE_CONN_FREE) /* takes its time, no more */
				xe_ssw_others(f.s, c, c);
		}
	}
	/* a cycle is no session */
	slot(&root)->root = (uint32_t)(conn(&member) - f.s->conn);
	slot(&member)->root = (uint32_t)(conn(&root) - f.s->conn);
	slot(&root)->root_incarnation = slot(&member)->root_incarnation = 1;
	xe_assert(!xe_ssw_root(f.s, conn(&root)) && !xe_ssw_root(f.s, conn(&member)));
	finish(&member, 0, 0);
	xe_assert(conn(&member)->state == XE_CONN_TOMBSTONE);
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"opened", test_opened},
	{"synack_believed", test_synack_believed},
	{"refused", test_refused},
	{"given_up", test_given_up},
	{"reestablished", test_reestablished},
	{"output_is_compared", test_output_is_compared},
	{"answer_again", test_answer_again},
	{"not_answered", test_not_answered},
	{"answered_meanwhile", test_answered_meanwhile},
	{"unclaimed", test_unclaimed},
	{"all_are_reestablished_at_last", test_all_are_reestablished_at_last},
	{"old_socket", test_old_socket},
	{"pace", test_pace},
	{"lacks_option", test_lacks_option},
	{"given_up_before", test_given_up_before},
	{"tried", test_tried},
	{"accepted", test_accepted},
	{"unclaimed_in_a_trial", test_unclaimed_in_a_trial},
	{"ports", test_ports},
	{"registration", test_registration},
	{"ghost", test_ghost},
	{"no_ghost_alone", test_no_ghost_alone},
	{"ghosts_of_resets", test_ghosts_of_resets},
	{"ghost_is_replayed", test_ghost_is_replayed},
	{"ghost_in_a_trial", test_ghost_in_a_trial},
	{"the_root_is_reset", test_the_root_is_reset},
	{"the_root_begins_anew", test_the_root_begins_anew},
	{"unnamed_ghost", test_unnamed_ghost},
	{"unprotected_as_one", test_unprotected_as_one},
	{"lies", test_lies},
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
