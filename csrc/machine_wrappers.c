/* The machine's wrappers, by profile, and which ports of a pair are under which.
 *
 * Built-in profiles are made with the machine, and owned. Those that an author brings are put there
 * before their port is registered; they are the author's.
 */
#include <errno.h>

#include "machine_internal.h"
#include "net/profiles.h"

/* What the proxy profile will do besides: nothing yet. */
static int in_sessions(struct wr *w)
{
	wr_sessions(w);
	return wr_plain(w);
}

static int make(struct wr **out, enum wr_profile profile)
{
	static int (*const install[WR_PROFILE_OWN])(struct wr *) = {
		[WR_PROFILE_PLAIN] = wr_plain,
		[WR_PROFILE_HTTP] = xe_profile_http,
		[WR_PROFILE_FTP] = xe_profile_ftp,
		[WR_PROFILE_PROXY] = in_sessions,
	};
	int rc = wr_create(out, 1); /* its ports are the pairs' */

	return rc ? rc : install[profile](*out);
}

int xe_machine_open_wrappers(struct xe_machine *m)
{
	int rc = 0;

	_Static_assert((int)WR_PROFILES == (int)XE_MAX_PROFILES, "profiles of a pair's ports");
	for (int i = WR_PROFILE_PLAIN; i < WR_PROFILE_OWN && rc == 0; i++)
		rc = make(&m->wr[i], (enum wr_profile)i);
	return rc;
}

void xe_machine_close_wrappers(struct xe_machine *m)
{
	for (int i = 0; i < WR_PROFILE_OWN; i++)
		wr_destroy(m->wr[i]);
}

int xe_machine_add_wrapper(struct xe_machine *m, uint32_t profile, struct wr *w)
{
	if (profile < WR_PROFILE_OWN || profile >= WR_PROFILES || !w)
		return -EINVAL;
	if (m->wr[profile])
		return -EEXIST;
	m->wr[profile] = w;
	return 0;
}

/* Said loudly where there is no such wrapper: the port is not protected. */
static void protect(struct xe_machine *m, struct xe_guard *g, uint32_t domid, uint32_t entry)
{
	uint32_t profile = entry >> 16 ? entry >> 16 : WR_PROFILE_PLAIN;
	const struct xe_node *n = xe_node_of(m, domid);
	int rc = m->wr[profile] ? xe_ssw_protect(g->ssw, (uint16_t)entry, m->wr[profile]) : -ENOENT;
	struct xe_work w = {.kind = XE_WORK_WRAPPER, .node = domid, .arg = XE_SSW_UNPROTECTED};

	if (rc == 0)
		return;
	w.generation = n ? n->generation : 0;
	w.a = XE_LOG_NONE;
	w.b = (uint64_t)-rc;
	xe_machine_post(m, &w);
}

void xe_machine_sync_ports(struct xe_machine *m, uint32_t domid)
{
	struct xe_guard *g = xe_guard_of_pair(m, domid);
	uint32_t port[XE_MAX_PROTECTED_PORTS];
	uint32_t version = xe_pair_ports_version(m->host, domid);
	int n;

	if (!g || g->ports_version == version)
		return;
	g->ports_version = version;
	for (uint32_t p = 0; p < 65536; p++)
		xe_ssw_protect(g->ssw, (uint16_t)p, NULL);
	n = xe_pair_ports(m->host, domid, port, XE_MAX_PROTECTED_PORTS);
	for (int i = 0; i < n; i++)
		protect(m, g, domid, port[i]);
}
