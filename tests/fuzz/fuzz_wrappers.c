/* Both wrappers, log and TCP under hostile peers, a hostile guest and faults at any point.
 *
 * The input is a list of operations; the same input is the same run. Oracles: world.c for
 * what clients and service read, hostile.c for what rejected packets must leave alone.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "world.h"

/* Time that operations may spend: no TCP gives up before. */
#define BUDGET (30 * XE_SECOND)

enum operation {
	DELIVER,
	DELIVER_SOME,
	DROP,
	DUPLICATE,
	CORRUPT,
	TIME,
	OPEN,
	WRITE,
	COMMAND,
	READ,
	END,
	SERVE,
	SERVE_ALL,
	FAIL_OVER,
	STAGE,
	PAUSE,
	SEGMENT,
	GARBAGE,
	EGRESS,
	SCRIBBLE,
	TRY,
	END_TRIAL,
	OPERATIONS,
};

static uint32_t some_flight(struct world *w)
{
	return input8(&w->in) % w->flights;
}

static void on_flight(struct world *w, enum operation op)
{
	struct packet *f;
	uint32_t i;

	if (w->flights == 0)
		return;
	i = some_flight(w);
	f = &w->flight[w->order[i]];
	if (op == DELIVER) {
		world_deliver(w, i);
	} else if (op == DROP) {
		world_take(w, i);
	} else if (op == DUPLICATE && !f->broken) {
		world_send(w, f->to_server, f->data, f->len);
	} else if (!f->broken) { /* one bit: no checksum misses it, a second one may hide it */
		f->broken = true;
		f->data[input16(&w->in) % f->len] ^= (uint8_t)(1u << input8(&w->in) % 8);
	}
}

static void some_time(struct world *w, xe_ns *left)
{
	static const uint32_t ms[] = {1, 5, 40, 200, 1000, 3000, 0, 10};
	xe_ns by = ms[input8(&w->in) % 8] * XE_MS;

	by = by < *left ? by : *left;
	*left -= by;
	world_advance(w, by);
}

static void on_client(struct world *w, enum operation op)
{
	uint8_t arg = input8(&w->in);
	int i = arg % CLIENTS;

	if (op == OPEN)
		client_open(w, i);
	else if (op == WRITE)
		client_write(w, i, 1 + input8(&w->in) * (arg & 64 ? 16u : 1u), 0);
	else if (op == COMMAND)
		client_write(w, i, 1 + input8(&w->in) % 64, COMMAND_MORE + (arg >> 2) % 3);
	else if (op == READ)
		client_read(w, i);
	else if (arg & 64)
		client_close(w, i);
	else
		client_shut(w, i);
}

/* A failover in its steps, so that packets and calls come between them. */
static void stage(struct world *w)
{
	uint8_t arg = input8(&w->in);

	if (w->up && w->listener >= 0 && w->trying) /* the new one died */
		trial_roll_back(w, arg & 2);
	else if (w->up && w->listener >= 0)
		world_fence(w);
	else if (!w->up)
		world_boot(w, arg & 1);
	else
		world_listen(w);
}

/* Accepted when it has shown that it does, or when the old one dies meanwhile. */
static void end_trial(struct world *w)
{
	uint8_t arg = input8(&w->in);

	if (!w->trying)
		return;
	if ((w->replayed && arg & 1) || (arg & 6) == 6)
		trial_accept(w);
	else
		trial_roll_back(w, false);
}

static void operate(struct world *w, enum operation op, xe_ns *time_left)
{
	static const char *const name[OPERATIONS] = {
		[DELIVER] = "deliver",
		[DELIVER_SOME] = "deliver some",
		[DROP] = "drop",
		[DUPLICATE] = "duplicate",
		[CORRUPT] = "corrupt",
		[TIME] = "time",
		[OPEN] = "open",
		[WRITE] = "write",
		[COMMAND] = "command",
		[READ] = "read",
		[END] = "end",
		[SERVE] = "serve",
		[SERVE_ALL] = "serve all",
		[FAIL_OVER] = "fail over",
		[STAGE] = "stage",
		[PAUSE] = "pause",
		[SEGMENT] = "segment",
		[GARBAGE] = "garbage",
		[EGRESS] = "egress",
		[SCRIBBLE] = "scribble",
		[TRY] = "try",
		[END_TRIAL] = "end trial",
	};

	tell("%llu us: %s\n", (unsigned long long)(w->now / XE_US), name[op]);
	switch (op) {
	case DELIVER:
	case DROP:
	case DUPLICATE:
	case CORRUPT:
		on_flight(w, op);
		break;
	case DELIVER_SOME:
		for (uint32_t n = input8(&w->in) % 32; n > 0 && w->flights > 0; n--) {
			world_deliver(w, 0);
			world_flush(w);
		}
		break;
	case TIME:
		some_time(w, time_left);
		break;
	case OPEN:
	case WRITE:
	case COMMAND:
	case READ:
	case END:
		on_client(w, op);
		break;
	case SERVE:
		service_run(w, &w->session[input8(&w->in) % SESSIONS], 1 + input8(&w->in));
		break;
	case SERVE_ALL:
		service_accept(w);
		for (int i = 0; i < SESSIONS; i++)
			service_run(w, &w->session[i], sizeof(w->session[i].bytes));
		break;
	case FAIL_OVER:
		trial_accept(w); /* the old one died before */
		world_fence(w);
		world_boot(w, true);
		break;
	case STAGE:
		stage(w);
		break;
	case PAUSE:
		world_pause(w, input8(&w->in) & 1);
		break;
	case SEGMENT:
		hostile_segment(w);
		break;
	case GARBAGE:
		hostile_garbage(w);
		break;
	case EGRESS:
		hostile_egress(w);
		break;
	case SCRIBBLE:
		hostile_scribble(w);
		break;
	case TRY:
		trial_begin(w, input8(&w->in) & 3);
		break;
	case END_TRIAL:
		end_trial(w);
		break;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	xe_ns time_left = BUDGET;

	memset(&w, 0, offsetof(struct world, flight));
	w.in = (struct input){data, data + size};
	world_open(&w);
	while (input_left(&w.in)) {
		operate(&w, (enum operation)(input8(&w.in) % OPERATIONS), &time_left);
		world_flush(&w);
		world_compare(&w);
	}
	world_drain(&w);
	world_close(&w);
	return 0;
}
