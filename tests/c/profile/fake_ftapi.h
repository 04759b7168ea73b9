/* The FT API as a profile sees it, without TCP, log or faults: for tests of profiles alone.
 *
 * A test makes connections, calls what a service would call, and looks at the cuts. The rules of
 * the API are checked here: ends of output are marks, cuts lie in what exists, what one handler
 * stages goes together or not at all. A "fault" is a second connection with the first one's cuts.
 */
#ifndef XE_FAKE_FTAPI_H
#define XE_FAKE_FTAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/ftapi.h"

enum { FAKE_MARKS = 8, FAKE_CUTS = 4096, FAKE_STAGED = 31, FAKE_MEMBERS = 64 };

struct fake_cut {
	bool output, elided;
	uint64_t from, to;
};

struct wr_conn {
	_Alignas(16) uint8_t state[WR_STATE];
	enum wr_side side;
	struct wr_conn *root, *next;
	uint64_t read_at, written;
	bool closed, whole;          /* whole: the connection was removed */
	uint64_t mark[FAKE_MARKS], marks;
	uint64_t known_from;         /* marks before it cannot be made any more: a replay */
	struct fake_cut cut[FAKE_CUTS];
	size_t cuts;
	uint64_t dates, date_at[64];
};

struct fake {
	struct wr *w;
	bool sessions;
	size_t take_at_most;         /* by one write; 0: all */
	int mark_fails, remove_fails; /* every so many calls; 0: never */
	int mark_calls, remove_calls;
	uint64_t removals;           /* handlers that removed something */
};

void fake_begin(struct fake *f, int (*profile)(struct wr *w));
void fake_end(struct fake *f);
struct wr_conn *fake_open(struct fake *f, enum wr_side side, struct wr_conn *root);
/* The same connection after a fault: nothing but its cuts is left. */
struct wr_conn *fake_again(struct fake *f, const struct wr_conn *old, struct wr_conn *root);
void fake_free(struct wr_conn *c);

/* What the service does. Read gives it these bytes; write is repeated until all is taken. */
void fake_read(struct fake *f, struct wr_conn *c, const void *bytes, size_t n);
void fake_write(struct fake *f, struct wr_conn *c, const void *bytes, size_t n);
void fake_close(struct fake *f, struct wr_conn *c);

/* Whether that byte was removed (elided: or elided). */
bool fake_cut_at(const struct wr_conn *c, bool output, uint64_t at, bool elided);

#endif
