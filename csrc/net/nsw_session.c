/* North-side wrapper: sessions; see nsw.h and log.h.
 *
 * A session's members are on a list that begins with its root, in the order in which they came. At
 * attach the lists are made from the log: what the service then accepts or opens on behalf of a root
 * is matched with the members that it has not claimed yet.
 *
 * Invariants: an input is served when no other member has a record of before the fault with a smaller
 * sequence that was not served; what is new, when nobody has any. `next` links are kernel memory;
 * a member whose slot has gone to another connection is passed over, and leaves when it is reused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/nsw_internal.h"

/* ---- members ---- */

struct wr_conn *xe_nsw_root(struct xe_nsw *n, const struct wr_conn *c)
{
	struct wr_conn *root;

	if (!n->attached || c->root >= n->log.slots)
		return NULL;
	root = &n->conn[c->root];
	return root->logged && root->root == c->root && root->incarnation == c->root_incarnation
		       ? root
		       : NULL;
}

struct wr_conn *xe_nsw_root_of(struct xe_nsw *n, struct wr_conn *c)
{
	struct wr_conn *root = xe_nsw_root(n, c);

	return root ? root : c;
}

struct wr_conn *xe_nsw_next_member(struct xe_nsw *n, const struct wr_conn *c)
{
	for (uint32_t i = c->next; i != XE_LOG_NONE; i = n->conn[i].next) {
		if (xe_may_record(n, &n->conn[i]))
			return &n->conn[i];
	}
	return NULL;
}

/* Also those that are over leave. */
static void unlink_from(struct xe_nsw *n, struct wr_conn *root, const struct wr_conn *c)
{
	struct wr_conn *before = root;

	while (before->next != XE_LOG_NONE) {
		struct wr_conn *m = &n->conn[before->next];

		if (m == c || !xe_may_record(n, m)) {
			before->next = m->next;
			m->next = m->root = XE_LOG_NONE;
			m->listed = false;
		} else {
			before = m;
		}
	}
	root->last = before->slot;
}

void xe_nsw_leave(struct xe_nsw *n, struct wr_conn *c)
{
	struct wr_conn *root = c->listed ? xe_nsw_root(n, c) : NULL;

	if (root && root != c)
		unlink_from(n, root, c);
	c->listed = false;
}

void xe_nsw_join(struct xe_nsw *n, struct wr_conn *root, struct wr_conn *c)
{
	unlink_from(n, root, NULL);
	c->root = root->slot;
	c->root_incarnation = root->incarnation;
	c->next = XE_LOG_NONE;
	c->listed = true;
	n->conn[root->last].next = c->slot;
	root->last = c->slot;
	if (root->next_order <= c->order && c->order < UINT32_MAX)
		root->next_order = c->order + 1;
}

uint64_t xe_nsw_token(const struct wr_conn *root)
{
	return (uint64_t)root->incarnation << 32 | (root->slot + 1);
}

struct wr_conn *xe_nsw_session(struct xe_nsw *n, uint64_t token)
{
	uint32_t i = (uint32_t)token - 1;
	struct wr_conn *root;

	if (!n->attached || i >= n->log.slots)
		return NULL;
	root = &n->conn[i];
	if (root->root != i || !root->claimed || root->incarnation != (uint32_t)(token >> 32) ||
	    !xe_may_record(n, root) ||
	    XE_LOG_LOAD(xe_slot_of(n, root)->state) == XE_LOG_UNPROTECTED)
		return NULL;
	return root;
}

/* ---- at attach ---- */

struct found {
	uint32_t root, order, slot;
};

static int by_session(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	if (a->root != b->root)
		return a->root < b->root ? -1 : 1;
	if ((a->slot == a->root) != (b->slot == b->root))
		return a->slot == a->root ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static bool is_member(const struct xe_nsw *n, const struct xe_log_slot *slot)
{
	const struct xe_log_slot *root;

	if (!xe_slot_bound(slot) || slot->root >= n->log.slots)
		return false;
	root = xe_log_slot(&n->log, slot->root);
	return xe_slot_bound(root) && root->root == slot->root &&
	       root->incarnation == slot->root_incarnation;
}

static bool is_orphan(const struct xe_log_slot *slot)
{
	uint32_t state = XE_LOG_LOAD(slot->state);

	return slot->role == XE_LOG_SERVER_SIDE &&
	       (state == XE_LOG_SYN_SENT || state == XE_LOG_ESTABLISHED) && !xe_slot_bound(slot);
}

static void list_member(struct xe_nsw *n, const struct found *f)
{
	const struct xe_log_slot *slot = xe_log_slot(&n->log, f->slot);
	struct wr_conn *c = &n->conn[f->slot], *root = &n->conn[f->root];

	*c = (struct wr_conn){.nsw = n, .logged = true, .listed = true, .sock = -1};
	c->slot = f->slot;
	c->incarnation = slot->incarnation;
	c->root = f->root;
	c->root_incarnation = slot->root_incarnation;
	c->order = f->order;
	c->role = slot->role;
	c->next = XE_LOG_NONE;
	c->last = c->slot;
	if (c == root) {
		c->next_order = 1;
		n->next_root[c->slot] = n->roots;
		n->roots = c->slot;
		return;
	}
	n->conn[root->last].next = c->slot;
	root->last = c->slot;
	if (root->next_order <= c->order && c->order < UINT32_MAX)
		root->next_order = c->order + 1;
}

int xe_nsw_list_sessions(struct xe_nsw *n)
{
	struct found *found = malloc(n->log.slots * sizeof(*found));
	uint32_t count = 0;

	n->conn = calloc(n->log.slots, sizeof(*n->conn));
	n->next_root = malloc(n->log.slots * sizeof(*n->next_root));
	if (!found || !n->conn || !n->next_root) {
		free(found);
		return -ENOMEM;
	}
	n->roots = XE_LOG_NONE;
	n->orphans = false;
	for (uint32_t i = 0; i < n->log.slots; i++) {
		const struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		n->orphans |= is_orphan(slot);
		if (is_member(n, slot))
			found[count++] = (struct found){slot->root, slot->order, i};
	}
	qsort(found, count, sizeof(*found), by_session);
	for (uint32_t i = 0; i < count; i++)
		list_member(n, &found[i]);
	free(found);
	return 0;
}

void xe_nsw_begin_session(struct xe_nsw *n, struct wr_conn *root)
{
	uint32_t *at = &n->roots;

	while (*at != XE_LOG_NONE && *at != root->slot)
		at = &n->next_root[*at];
	if (*at == root->slot)
		*at = n->next_root[root->slot];
	root->in_order = true;
	for (struct wr_conn *c = root; c; c = xe_nsw_next_member(n, c))
		xe_nsw_prepare(n, c, xe_slot_of(n, root));
}

/* ---- order ---- */

/* What made the service open it was removed: now it is opened when something later needs it. */
static bool is_opened_late(const struct wr_conn *c)
{
	return !c->claimed && c->role == XE_LOG_SERVER_SIDE &&
	       xe_cut_covers(&c->cuts.set[XE_CUT_OUTPUT], 0, 1);
}

/* Of the next input that was served before the fault; UINT64_MAX: there is none. */
static uint64_t next_sequence(struct xe_nsw *n, struct wr_conn *c)
{
	if (c->closed || is_opened_late(c) || !c->replaying || c->diverged ||
	    !xe_may_record(n, c) || XE_LOG_LOAD(xe_slot_of(n, c)->nsw_flags) & XE_LOG_UNRECORDED)
		return UINT64_MAX;
	xe_nsw_load_record(n, c);
	return c->loaded ? c->record.sequence : UINT64_MAX;
}

bool xe_nsw_in_turn(struct xe_nsw *n, struct wr_conn *root, struct wr_conn *c)
{
	uint64_t mine;
	bool ahead;

	if (!root || !root->in_order)
		return true;
	mine = c ? next_sequence(n, c) : UINT64_MAX;
	ahead = mine != UINT64_MAX;
	for (struct wr_conn *m = root; m; m = xe_nsw_next_member(n, m)) {
		uint64_t other = m == c ? UINT64_MAX : next_sequence(n, m);

		if (other < mine)
			return false;
		ahead |= other != UINT64_MAX;
	}
	root->in_order = ahead;
	return true;
}

/* ---- what is claimed ---- */

static struct wr_conn *ghost_root(struct xe_nsw *n, uint16_t port)
{
	for (uint32_t i = n->roots; i != XE_LOG_NONE; i = n->next_root[i]) {
		const struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (XE_LOG_LOAD(slot->state) == XE_LOG_GHOST && slot->local_port == port &&
		    slot->replay_generation == n->generation && xe_still_ours(n, &n->conn[i]))
			return &n->conn[i];
	}
	return NULL;
}

struct wr_conn *xe_nsw_to_accept(struct xe_nsw *n, struct wr_conn *root, uint16_t port)
{
	if (!n->attached)
		return NULL;
	if (!root)
		return ghost_root(n, port);
	for (struct wr_conn *c = xe_nsw_next_member(n, root); c; c = xe_nsw_next_member(n, c)) {
		if (!c->claimed && c->role == XE_LOG_CLIENT_SIDE &&
		    xe_slot_of(n, c)->local_port == port)
			return c;
	}
	return NULL;
}

static bool leads_to(const struct xe_log_slot *slot, uint32_t addr, uint16_t port)
{
	return slot->peer_addr == addr && slot->peer_port == port;
}

struct wr_conn *xe_nsw_to_connect(struct xe_nsw *n, struct wr_conn *root, uint32_t addr,
				  uint16_t port)
{
	for (struct wr_conn *c = xe_nsw_next_member(n, root); c; c = xe_nsw_next_member(n, c)) {
		if (!c->claimed && c->role == XE_LOG_SERVER_SIDE &&
		    leads_to(xe_slot_of(n, c), addr, port))
			return c;
	}
	return NULL;
}

/* Nothing has passed on such a connection: any session may have it. */
uint32_t xe_nsw_orphan(struct xe_nsw *n, const struct wr_conn *root, uint32_t addr, uint16_t port)
{
	for (uint32_t i = 0; n->orphans && root->in_order && i < n->log.slots; i++) {
		const struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (is_orphan(slot) && leads_to(slot, addr, port) && !xe_still_ours(n, &n->conn[i]))
			return i;
	}
	return XE_LOG_NONE;
}

/* ---- connects ---- */

static int result_of(struct xe_nsw *n, struct wr_conn *c, int result)
{
	if (c->replaying)
		xe_nsw_load_record(n, c);
	if (c->loaded && c->record.kind == XE_RECORD_ERROR)
		return xe_nsw_logged_error(c);
	if (c->ghost && !c->loaded && xe_slot_of(n, c)->fins & XE_LOG_PEER_RST)
		return -ECONNREFUSED; /* before anybody noticed that it was open, if it ever was */
	return result;
}

bool xe_nsw_connect_is_due(struct xe_nsw *n, struct wr_conn *c, int result)
{
	struct wr_conn *root = xe_nsw_root(n, c);

	if (c->opened || !xe_may_record(n, c))
		return true;
	if (result_of(n, c, result) == -EINPROGRESS)
		return false;
	if (xe_nsw_in_turn(n, root, c))
		return true;
	c->waits = root->someone_waits = true;
	return false;
}

int xe_nsw_connected(struct xe_nsw *n, struct wr_conn *c, int result)
{
	uint32_t kind;

	if (c->opened)
		return c->error ? c->error : result;
	if (!xe_may_record(n, c)) { /* gone: what TCP says of it */
		c->opened = result != -EINPROGRESS;
		return result;
	}
	if (!xe_nsw_connect_is_due(n, c, result))
		return -EINPROGRESS;
	c->error = result = result_of(n, c, result);
	c->opened = true;
	if (!c->ghost && xe_slot_of(n, c)->replay_generation == n->generation)
		xe_nsw_begin_replay(n, c);
	xe_nsw_keep_marks(n, c);
	kind = result == 0 ? XE_RECORD_OPENED : XE_RECORD_ERROR;
	if (c->loaded && c->record.kind == kind)
		c->loaded = false;
	else
		xe_nsw_note_input(n, c, kind, (uint32_t)-result);
	xe_nsw_check_replayed(n, c);
	return result;
}

/* ---- ports ---- */

/* Another listener has had the port since: this one was closed before. */
static bool listened_later(const struct xe_nsw *n, const struct xe_log_record *listen)
{
	for (uint32_t i = 0; i < n->log.slots; i++) {
		struct xe_log_slot *slot = xe_log_slot(&n->log, i);
		struct xe_record_cursor at = {.block = XE_LOG_NONE};
		struct xe_log_record r;

		if (!xe_slot_bound(slot) || slot->root != i)
			continue;
		while (xe_nsw_next_record(n, slot, &at, 1u << XE_RECORD_LISTEN, &r)) {
			if (r.size == listen->size && r.sequence > listen->sequence)
				return true;
		}
	}
	return false;
}

uint16_t xe_nsw_logged_port(struct xe_nsw *n, struct wr_conn *root)
{
	struct xe_log_slot *slot = xe_slot_of(n, root);
	struct xe_log_record r;

	while (xe_nsw_next_record(n, slot, &root->listens, 1u << XE_RECORD_LISTEN, &r)) {
		bool gone = xe_cut_covers(&root->cuts.set[XE_CUT_OUTPUT], r.out_written,
					  r.out_written + 1);

		if (r.size == 0 || r.size > UINT16_MAX ||
		    (gone && (XE_LOG_LOAD(*xe_log_port(&n->log, (uint16_t)r.size)) == 0 ||
			      listened_later(n, &r))))
			continue;
		return (uint16_t)r.size;
	}
	return 0;
}

void xe_nsw_listens(struct xe_nsw *n, struct wr_conn *root, uint16_t port)
{
	struct xe_log_record r = {.size = port,
				  .kind = XE_RECORD_LISTEN,
				  .sequence = n->sequence++,
				  .out_written = root->written};

	if (!xe_may_record(n, root))
		return;
	xe_nsw_append(n, root, &r);
	xe_nsw_cursor_to_end(n, root, &root->listens);
}

void xe_nsw_held_ports(const struct xe_nsw *n, uint8_t held[XE_NSW_PORTS])
{
	memset(held, 0, XE_NSW_PORTS);
	if (!n->attached)
		return;
	for (uint32_t port = 0; port < 65536; port++) {
		if (XE_LOG_LOAD(*xe_log_port(&n->log, (uint16_t)port)))
			held[port / 8] |= (uint8_t)(1 << port % 8);
	}
	for (uint32_t i = 0; i < n->log.slots; i++) {
		const struct xe_log_slot *slot = xe_log_slot(&n->log, i);

		if (XE_LOG_LOAD(slot->state) != XE_LOG_FREE)
			held[slot->local_port / 8] |= (uint8_t)(1 << slot->local_port % 8);
	}
}

void xe_nsw_name_port(struct xe_nsw *n, uint16_t port, uint8_t profile)
{
	if (n->attached && XE_LOG_LOAD(*xe_log_port(&n->log, port)) != profile)
		COMMIT(n, *xe_log_port(&n->log, port), profile);
}
