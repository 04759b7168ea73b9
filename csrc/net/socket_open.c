/* Sockets that are opened: listen, accept, connect, within sessions or not; see socket.h.
 *
 * In a replay what the service opens is what it opened before the fault: a listener gets the port
 * that it had, accept and connect give the session's connections in their order, ghosts among
 * them; what the log knows nothing of is new.
 *
 * The log's table of ports names a session's port before it is used and until no socket has it, so
 * that the south side knows the first packet already.
 */
#include <errno.h>

#include "net/nsw_internal.h"
#include "net/socket_internal.h"
#include "net/wrapper.h"

static uint8_t profile_of_port(const struct xe_sockets *s, uint16_t port)
{
	for (int i = 0; i < XE_MAX_PROTECTED_PORTS; i++) {
		if (s->protected[i].profile && s->protected[i].port == port)
			return s->protected[i].profile;
	}
	return 0;
}

static uint16_t local_port(const struct xe_sockets *s, int sock)
{
	struct xe_tcp_info info;

	return xe_tcp_info(s->tcp, sock, &info) == 0 ? info.local_port : 0;
}

void xe_sock_release_port(struct xe_sockets *s, uint16_t port)
{
	for (uint32_t i = 0; i < s->max_socks; i++) {
		if (s->entry[i].port == port)
			return;
	}
	xe_nsw_name_port(&s->nsw, port, 0);
}

/* ---- listen ---- */

static int listen_on(struct xe_sockets *s, uint16_t port, int backlog, struct wr_conn *root)
{
	struct xe_sock_entry *e;
	int sock;

	if (root && port)
		xe_nsw_name_port(&s->nsw, port, root->profile);
	sock = xe_tcp_listen(s->tcp, port, backlog);
	if (sock < 0) {
		if (port)
			xe_sock_release_port(s, port);
		return sock;
	}
	e = &s->entry[sock];
	*e = (struct xe_sock_entry){.slot = XE_LOG_NONE, .listens = true};
	s->listener[s->listeners++] = sock;
	port = local_port(s, sock);
	if (root) {
		e->session = xe_nsw_token(root);
		e->port = port;
		xe_nsw_name_port(&s->nsw, port, root->profile);
	} else {
		xe_sock_release_port(s, port); /* a former kernel's */
	}
	return sock;
}

/* Any port, if there is one that nobody holds: two sessions that had the same port one after the other
 * would both need it in a replay. */
static int listen_anywhere(struct xe_sockets *s, int backlog, struct wr_conn *root)
{
	uint16_t low = s->passive_low ? s->passive_low : XE_TCP_PORT_FIRST;
	uint16_t high = s->passive_low ? s->passive_high : XE_TCP_PORT_LAST;
	uint32_t span = (uint32_t)high - low + 1;
	uint8_t held[XE_NSW_PORTS];

	if (s->passive_next < low || s->passive_next > high)
		s->passive_next = (uint16_t)(low + s->nsw.sequence % span);
	xe_nsw_held_ports(&s->nsw, held);
	for (uint32_t i = 0; i < 2 * span; i++) {
		uint16_t port = s->passive_next;
		int sock;

		s->passive_next = port < high ? (uint16_t)(port + 1) : low;
		if (i < span && held[port / 8] >> port % 8 & 1)
			continue;
		sock = listen_on(s, port, backlog, root);
		if (sock != -EADDRINUSE)
			return sock;
	}
	return -EADDRINUSE;
}

int xe_sock_listen(struct xe_sockets *s, uint16_t port, int backlog, uint64_t session)
{
	struct wr_conn *root = xe_nsw_session(&s->nsw, session);
	uint16_t logged = root ? xe_nsw_logged_port(&s->nsw, root) : 0;
	int sock;

	if (root && !logged && !port)
		sock = listen_anywhere(s, backlog, root);
	else
		sock = listen_on(s, logged ? logged : port, backlog, root);
	if (sock >= 0 && root && !logged)
		xe_nsw_listens(&s->nsw, root, local_port(s, sock));
	if (sock >= 0 && xe_sock_acceptable(s, sock))
		xe_tcp_poke(s->tcp, sock);
	return sock;
}

/* ---- accept ---- */

static int find_in_tcp(const struct xe_sockets *s, const struct wr_conn *c)
{
	const struct xe_log_slot *slot = xe_slot_of(&s->nsw, c);

	return xe_tcp_find(s->tcp, slot->local_addr, slot->local_port, slot->peer_addr,
			   slot->peer_port);
}

static int make_ghost(struct xe_sockets *s, const struct wr_conn *c)
{
	const struct xe_log_slot *slot = xe_slot_of(&s->nsw, c);

	s->nsw.ghosts_replayed++;
	return xe_tcp_ghost(s->tcp, slot->local_addr, slot->local_port, slot->peer_addr,
			    slot->peer_port);
}

static bool is_ghost(const struct xe_sockets *s, const struct wr_conn *c)
{
	return XE_LOG_LOAD(xe_slot_of(&s->nsw, c)->state) == XE_LOG_GHOST;
}

static void have(struct xe_sockets *s, int sock, struct wr_conn *root, uint32_t slot,
		 uint32_t order, uint8_t profile)
{
	struct wr_conn *c = &s->nsw.conn[slot];

	xe_nsw_open(&s->nsw, slot, sock, root, order);
	c->profile = profile;
	s->entry[sock].slot = slot;
	s->entry[sock].connecting = false;
	s->replaying |= c->replaying;
	xe_sock_wake(s, c);
}

/* The session that this listener accepts for, and the connection of before the fault that comes
 * next there, if one does; whether anything may be accepted now. */
static bool next_at(struct xe_sockets *s, int listener, struct wr_conn **root,
		    struct wr_conn **logged)
{
	struct xe_nsw *n = &s->nsw;
	uint64_t session = s->entry[listener].session;

	*root = xe_nsw_session(n, session);
	*logged = session && !*root ? NULL : xe_nsw_to_accept(n, *root, local_port(s, listener));
	if (!*root || xe_nsw_in_turn(n, *root, *logged))
		return true;
	(*root)->someone_waits = true;
	return false;
}

bool xe_sock_acceptable(struct xe_sockets *s, int listener)
{
	struct wr_conn *root, *c;

	if (!next_at(s, listener, &root, &c))
		return false;
	if (c)
		return is_ghost(s, c) || find_in_tcp(s, c) >= 0;
	return xe_tcp_poll(s->tcp, listener) & XE_READABLE;
}

void xe_sock_wake_listeners(struct xe_sockets *s, uint64_t session)
{
	for (uint32_t i = 0; i < s->listeners; i++) {
		int sock = s->listener[i];

		if (s->entry[sock].session == session && xe_sock_acceptable(s, sock))
			xe_tcp_poke(s->tcp, sock);
	}
}

static int accept_logged(struct xe_sockets *s, int listener, struct wr_conn *root,
			 struct wr_conn *c, uint8_t profile)
{
	int sock = is_ghost(s, c) ? make_ghost(s, c)
				  : xe_tcp_accept_this(s->tcp, listener, find_in_tcp(s, c));

	if (sock == -EBADF) /* not re-established yet */
		return -EAGAIN;
	if (sock < 0)
		return sock;
	s->entry[sock] = (struct xe_sock_entry){.slot = XE_LOG_NONE};
	have(s, sock, root ? root : c, c->slot, c->order, profile);
	return sock;
}

static void accept_new(struct xe_sockets *s, int sock, struct wr_conn *root, uint8_t profile)
{
	struct xe_nsw *n = &s->nsw;
	struct xe_tcp_info info;
	uint32_t slot = XE_LOG_NONE;

	if (xe_tcp_info(s->tcp, sock, &info) == 0)
		slot = xe_log_find(&n->log, info.local_addr, info.local_port, info.peer_addr,
				   info.peer_port);
	if (slot == XE_LOG_NONE)
		return;
	if (!root && s->wr && s->wr[profile] && s->wr[profile]->sessions)
		root = &n->conn[slot];
	have(s, sock, root, slot, root && root->slot != slot ? root->next_order : 0, profile);
}

int xe_sock_accept(struct xe_sockets *s, int listener)
{
	struct wr_conn *root, *c;
	uint8_t profile;
	int sock;

	if (listener < 0 || (uint32_t)listener >= s->max_socks)
		return -EBADF;
	if (!next_at(s, listener, &root, &c))
		return -EAGAIN;
	profile = root ? root->profile : profile_of_port(s, local_port(s, listener));
	if (c)
		return accept_logged(s, listener, root, c, profile);
	sock = xe_tcp_accept(s->tcp, listener);
	if (sock < 0)
		return sock;
	s->entry[sock] = (struct xe_sock_entry){.slot = XE_LOG_NONE};
	if (profile && s->nsw.attached)
		accept_new(s, sock, root, profile);
	return sock;
}

/* ---- connect ---- */

/* It had failed before the service was told that it could go on. */
static bool had_failed(struct xe_nsw *n, struct wr_conn *c)
{
	if (c->listed)
		xe_nsw_load_record(n, c);
	return c->loaded && c->record.kind == XE_RECORD_ERROR;
}

static int connect_logged(struct xe_sockets *s, struct wr_conn *root, uint32_t i, xe_ns now)
{
	const struct xe_log_slot *slot = xe_log_slot(&s->nsw.log, i);
	struct wr_conn *c = &s->nsw.conn[i];
	bool member = c->listed && c->root == root->slot;
	bool over = XE_LOG_LOAD(slot->state) == XE_LOG_GHOST || (member && had_failed(&s->nsw, c));
	int sock;

	c->slot = i;
	if (over) {
		sock = make_ghost(s, c);
	} else {
		xe_nsw_name_port(&s->nsw, slot->local_port, root->profile);
		xe_tcp_forget(s->tcp, slot->local_addr, slot->local_port, slot->peer_addr,
			      slot->peer_port);
		sock = xe_tcp_connect(s->tcp, slot->peer_addr, slot->peer_port, slot->local_port,
				      now);
	}
	if (sock < 0)
		return sock;
	s->nsw.claims++;
	s->entry[sock] = (struct xe_sock_entry){.slot = XE_LOG_NONE};
	if (!over)
		s->entry[sock].port = slot->local_port;
	have(s, sock, root, i, member ? c->order : root->next_order, root->profile);
	c->ghost = over;
	return sock;
}

static int connect_new(struct xe_sockets *s, struct wr_conn *root, uint32_t addr, uint16_t port,
		       uint16_t from, xe_ns now)
{
	int sock = xe_tcp_connect(s->tcp, addr, port, from, now);
	struct xe_sock_entry *e;

	if (sock < 0)
		return sock;
	e = &s->entry[sock];
	*e = (struct xe_sock_entry){.slot = XE_LOG_NONE};
	from = local_port(s, sock);
	if (!root) {
		xe_sock_release_port(s, from); /* a former kernel's */
		return sock;
	}
	e->session = xe_nsw_token(root);
	e->order = root->next_order++;
	e->port = from;
	e->connecting = true;
	xe_nsw_name_port(&s->nsw, from, root->profile);
	return sock;
}

int xe_sock_connect(struct xe_sockets *s, uint32_t addr, uint16_t port, uint16_t from,
		    uint64_t session, xe_ns now)
{
	struct wr_conn *root = xe_nsw_session(&s->nsw, session), *c = NULL;
	uint32_t slot;

	if (root)
		c = xe_nsw_to_connect(&s->nsw, root, addr, port);
	slot = c ? c->slot : root ? xe_nsw_orphan(&s->nsw, root, addr, port) : XE_LOG_NONE;
	if (slot != XE_LOG_NONE)
		return connect_logged(s, root, slot, now);
	return connect_new(s, root, addr, port, from, now);
}

/* The SYN has gone out: the log is told whose it is. */
static void name_session(struct xe_sockets *s, int sock, struct xe_sock_entry *e)
{
	struct wr_conn *root = xe_nsw_session(&s->nsw, e->session);
	struct xe_tcp_info info;
	uint32_t slot;

	if (!root || xe_tcp_info(s->tcp, sock, &info) != 0)
		return;
	slot = xe_log_find(&s->nsw.log, info.local_addr, info.local_port, info.peer_addr,
			   info.peer_port);
	if (slot != XE_LOG_NONE && xe_log_slot(&s->nsw.log, slot)->role == XE_LOG_SERVER_SIDE)
		have(s, sock, root, slot, e->order, root->profile);
}

int xe_sock_connected(struct xe_sockets *s, int sock)
{
	struct wr_conn *c;
	int rc = xe_tcp_connected(s->tcp, sock);

	if (sock >= 0 && (uint32_t)sock < s->max_socks && s->entry[sock].connecting)
		name_session(s, sock, &s->entry[sock]);
	c = xe_sock_conn(s, sock);
	if (!c || c->role != XE_LOG_SERVER_SIDE)
		return rc;
	rc = xe_nsw_connected(&s->nsw, c, rc);
	s->replaying |= c->replaying;
	xe_sock_wake(s, c);
	return rc;
}
