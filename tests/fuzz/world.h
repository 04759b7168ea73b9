/* A small world without a machine: a protected service over a log of one extent, three
 * ordinary clients, a link that holds every packet until it is told what to do with it.
 *
 * The service is a function of its input stream and of nothing else: it answers each byte
 * by the next one, and obeys three commands. So what a client must read follows from what
 * it wrote. Oracles are in world.c, at the place where each can be asked.
 */
#ifndef XE_FUZZ_WORLD_H
#define XE_FUZZ_WORLD_H

#include "input.h"
#include "net/socket.h"
#include "net/ssw_internal.h"

enum {
	SERVER = 0x0a000001,
	CLIENT = 0x0a000101,
	RAW = 0x0a000102, /* a peer that has no TCP */
	PORT = 80,
	CLIENT_PORT = 5000,
	CLIENTS = 3,
	SESSIONS = 16,
	FLIGHTS = 128,
	PACKET = 2048,
	RING = 64,
	SENT = 32768,
	ECHO = 131072,
};

/* Input bytes that the service obeys. */
enum { COMMAND_MORE = 0xfd, COMMAND_SHUT = 0xfe, COMMAND_CLOSE = 0xff, MORE = 1000 };

struct packet {
	bool to_server, broken;
	uint16_t len;
	uint8_t data[PACKET];
};

struct client {
	int sock; /* -1: not opened, or closed */
	bool opened, shut, gone, eof;
	bool tainted;  /* somebody else may have written into the stream, or spoiled its log */
	bool aborted;  /* the service asked for its end */
	bool ended;    /* ... and answers nothing more after a command of this client */
	bool told;     /* packets came from the service: the highest ack, and timestamp */
	uint32_t told_ack, told_ts;
	uint32_t sent, echo, received;
	uint8_t bytes[SENT], answer[ECHO];
};

/* One connection as the service has it, in this generation. */
struct session {
	int sock; /* -1: none */
	uint32_t peer_addr, slot, incarnation;
	uint16_t peer_port;
	bool known;    /* to SSW */
	bool ended, closing; /* output is over; close when it is written */
	uint64_t at;         /* bytes read */
	uint64_t obeyed;     /* of these, answered or about to be */
	uint32_t in_at, in, out_at, out;
	uint8_t bytes[2048], answer[4096];
};

/* The guest that waits while another one is tried, and what the peers knew of it. */
struct home {
	struct xe_sockets server;
	bool attached, paused, index_spoiled, ring_lost;
	int listener;
	uint32_t ringed;
	bool aborted[CLIENTS];
	struct session session[SESSIONS];
	struct packet ring[RING];
	struct {
		uint64_t sent, right_edge;
		bool fin;
	} slot[64];
};

struct world {
	struct input in;
	xe_ns now;
	struct xe_ssw *ssw;
	uint8_t *extent;
	struct xe_sockets server;
	bool up;       /* a server TCP is there */
	bool attached; /* ... and has the log */
	bool paused;
	bool trying;   /* ... and it is tried; `home` waits */
	bool replayed; /* it has shown that it does */
	bool index_spoiled; /* in this generation */
	int listener;
	uint32_t generation;
	struct xe_tcp_config server_cfg;
	struct xe_tcp *stack;
	struct client client[CLIENTS];
	struct session session[SESSIONS];
	uint64_t spoiled_block[4]; /* bits: payload blocks that the guest scribbled over */
	uint64_t spoiled_slot;
	uint64_t forged_slot; /* ... and those in whose name it sent packets of its own */
	bool ring_lost;       /* a packet that SSW logged never came to this TCP */
	uint32_t flights;
	uint8_t order[FLIGHTS]; /* of `flight`: first those under way, then the free ones */
	uint32_t ringed;
	struct packet flight[FLIGHTS], ring[RING]; /* not cleared between runs */
	struct home home;
};

/* With FUZZ_TRACE set, what happens is told on stderr. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tell_packet(const char *where, const uint8_t *data, size_t len);

void world_open(struct world *w);
void world_close(struct world *w);
/* SSW believes what TCP believes: asked after each operation. */
void world_compare(struct world *w);
bool world_chain_has(const struct world *w, const struct xe_stream *chain, uint32_t block);
/* All that has something to send sends it. */
void world_flush(struct world *w);
/* By place in the order. */
struct packet *world_take(struct world *w, uint32_t place);
void world_deliver(struct world *w, uint32_t place);
void world_advance(struct world *w, xe_ns by);
void world_pause(struct world *w, bool on);
/* The old kernel is fenced and gone; a new one; it replays. */
void world_fence(struct world *w);
void world_boot(struct world *w, bool listen);
void world_listen(struct world *w);

/* A packet from the network, whoever sent it; edits `p`. */
void world_ingress(struct world *w, struct packet *p);
/* ... that the wrapper has let pass. */
void world_to_guest(struct world *w, struct packet *p);
void world_send(struct world *w, bool to_server, const uint8_t *data, size_t len);

void client_open(struct world *w, int i);
void client_write(struct world *w, int i, uint32_t n, int command);
void client_read(struct world *w, int i);
void client_shut(struct world *w, int i);
void client_close(struct world *w, int i);
struct client *client_of(struct world *w, uint32_t addr, uint16_t port);

void service_accept(struct world *w);
/* One read of at most `most` bytes, and what follows from it; whether there was one. */
bool service_run(struct world *w, struct session *s, size_t most);

/* One round of everybody: packets, service, clients; whether anything is left to wait for. `weary`:
 * what nobody looks at any more is lost. */
bool world_step(struct world *w, bool weary);
/* Whatever happened, what is left of the connections comes to its end. */
void world_drain(struct world *w);

/* trial.c: another guest is tried while this one waits. */
void trial_begin(struct world *w, bool listen);
/* The old one is dead, or not needed any more. */
void trial_accept(struct world *w);
/* `died`: the VMM saw that first. */
void trial_roll_back(struct world *w, bool died);
/* As the VMM ends it: the new one has shown that it does, or some time has passed. */
void trial_drain(struct world *w);
/* Events of the wrapper, and a packet that leaves for a client. */
void trial_hear(struct world *w);
void trial_leave(struct world *w, struct client *client, const struct xe_packet *p);

/* hostile.c: what peers and guests may try. */
void hostile_segment(struct world *w);
void hostile_garbage(struct world *w);
void hostile_egress(struct world *w);
void hostile_scribble(struct world *w);

#endif
