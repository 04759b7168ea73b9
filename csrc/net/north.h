/* Inside a socket call that passes the north side (ftapi.h). */
#ifndef XE_NET_NORTH_H
#define XE_NET_NORTH_H

#include "net/socket.h"

struct wr_call {
	struct xe_sockets *sockets;
	struct wr_conn *conn;
	int sock;
	enum wr_call_kind kind;
	uint8_t *buf;            /* of a write: only read */
	size_t length, done;     /* done: bytes of it that operations have taken or filled */
	bool ends;
	xe_ns now;
};

#endif
