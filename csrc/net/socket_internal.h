/* What socket.c and socket_open.c share. */
#ifndef XE_NET_SOCKET_INTERNAL_H
#define XE_NET_SOCKET_INTERNAL_H

#include "net/socket.h"

/* socket.c: the connection that the log knows; others of its session may go on. */
struct wr_conn *xe_sock_conn(const struct xe_sockets *s, int sock);
void xe_sock_wake(struct xe_sockets *s, struct wr_conn *c);

/* socket_open.c: whether accept gives a connection; those of a session (0: of none) may accept; no
 * socket has this port any more, maybe. */
bool xe_sock_acceptable(struct xe_sockets *s, int listener);
void xe_sock_wake_listeners(struct xe_sockets *s, uint64_t session);
void xe_sock_release_port(struct xe_sockets *s, uint16_t port);

#endif
