/* Real connections spliced to emulated ones: slots, pumps, forwarded ports.
 *
 * A slot is one connection: a real socket, a gateway socket and two pipes (to the
 * guest, to the host), each a bounded ring in one sparse mapping made at creation. Nothing is allocated later. The relay owns its listeners, the real
 * sockets and the gateway sockets that it opened; epoll, gateway stack and its
 * output packets are the caller's.
 *
 * Real sockets are edge-triggered: can_read and can_write remember what epoll said
 * until the kernel says EAGAIN, so a hangup cannot spin. The gateway socket is just
 * tried. A pump ends when no byte can move (an event of the blocked side will start
 * it again) or when its budget is used up; then the slot is on the work queue.
 *
 * Invariants: a slot is on the work queue at most once (the queue cannot overflow);
 * a pipe's end is handed on only when its bytes are; a slot is freed only by
 * xe_slot_free, which moves its generation on, so that events of an earlier use are
 * dropped. accepted + outward == open + closed. Where guests may open connections,
 * neither they nor the forwarded ports get more than half of the slots.
 *
 * When a side was reset or timed out, what it said before goes to the other as far
 * as that takes it at once, the rest is dropped and the other side is reset. When
 * the guest refuses (or the gateway is out of sockets), the real side is reset.
 * Left out: urgent data, address families other than IPv4, filtering by source.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/relay_internal.h"

enum xe_verdict { XE_GO_ON, XE_HOST_FAILED, XE_GUEST_FAILED };

/* A tag: XE_RELAY_TAG, 31 bits of generation, 31 bits of index, is-listener. */
static uint64_t xe_tag(uint32_t generation, uint32_t index, bool listener)
{
	return XE_RELAY_TAG | (uint64_t)(generation & 0x7fffffff) << 32 | (uint64_t)index << 1 |
	       listener;
}

static void *xe_sparse(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_DONTDUMP);
	return p;
}

/* The work queue. */

static void xe_queue(struct xe_relay *r, struct xe_slot *s)
{
	if (s->queued)
		return;
	xe_assert(r->queue_len < r->max);
	r->queue[(r->queue_head + r->queue_len++) % r->max] = (uint32_t)(s - r->slots);
	s->queued = true;
}

static struct xe_slot *xe_dequeue(struct xe_relay *r)
{
	struct xe_slot *s = &r->slots[r->queue[r->queue_head]];

	r->queue_head = (r->queue_head + 1) % r->max;
	r->queue_len--;
	s->queued = false;
	return s;
}

/* Slots. */

static void xe_pipe_reset(struct xe_pipe *p)
{
	if (p->high > XE_PIPE_KEEP)
		madvise(p->buf + XE_PIPE_KEEP, XE_PIPE_SIZE - XE_PIPE_KEEP, MADV_DONTNEED);
	*p = (struct xe_pipe){.buf = p->buf};
}

static void xe_slot_free(struct xe_relay *r, struct xe_slot *s)
{
	if (s->sock >= 0)
		r->slot_of_sock[s->sock] = 0;
	s->fd = s->sock = -1;
	s->generation++;
	xe_pipe_reset(&s->up);
	xe_pipe_reset(&s->down);
	s->next_free = r->free_slot;
	r->free_slot = (uint32_t)(s - r->slots);
	r->outward -= s->outward;
	r->counters.open--;
	r->counters.closed++;
	for (uint32_t i = 0; i < r->listener_count; i++) {
		r->listeners[i].ready |= r->listeners[i].starved;
		r->listeners[i].starved = false;
	}
}

bool xe_slot_available(const struct xe_relay *r, bool outward)
{
	uint32_t used = outward ? r->outward : (uint32_t)r->counters.open - r->outward;

	return r->free_slot < r->max && (!r->routes || used < r->max / 2);
}

struct xe_slot *xe_slot_take(struct xe_relay *r, int fd, int sock, bool outward)
{
	uint32_t index = r->free_slot;
	struct xe_slot *s = &r->slots[index];

	xe_assert(index < r->max && sock < XE_RELAY_SOCKS);
	r->free_slot = s->next_free;
	r->outward += outward;
	r->counters.open++;
	s->fd = fd;
	s->sock = sock;
	s->outward = s->connecting = outward;
	s->connected = s->can_read = s->can_write = s->host_error = s->guest_hangup = false;
	if (sock >= 0)
		r->slot_of_sock[sock] = index + 1;
	return s;
}

/* Closes a real socket. A child of fork may still share it, so epoll is told. */
static void xe_close_fd(struct xe_relay *r, int fd, bool reset)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

static void xe_slot_reset(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	xe_close_fd(r, s->fd, true);
	if (s->sock >= 0)
		xe_tcp_abort(r->gateway, s->sock, now);
	xe_slot_free(r, s);
}

static void xe_slot_close(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	xe_close_fd(r, s->fd, false);
	xe_tcp_close(r->gateway, s->sock, now);
	xe_slot_free(r, s);
}

/* Pipes. */

/* The contiguous free bytes at the tail. */
static uint32_t xe_pipe_space(struct xe_pipe *p, uint8_t **at)
{
	if (!p->len)
		p->head = 0;
	uint32_t tail = (p->head + p->len) % XE_PIPE_SIZE;
	uint32_t n = XE_PIPE_SIZE - p->len;

	*at = p->buf + tail;
	if (n > XE_PIPE_SIZE - tail)
		n = XE_PIPE_SIZE - tail;
	return n < XE_PIPE_CHUNK ? n : XE_PIPE_CHUNK;
}

static void xe_pipe_put(struct xe_pipe *p, uint32_t n)
{
	uint32_t end = (p->head + p->len) % XE_PIPE_SIZE + n;

	p->len += n;
	if (end > p->high)
		p->high = end;
}

/* The contiguous bytes at the head. */
static uint32_t xe_pipe_front(const struct xe_pipe *p)
{
	uint32_t n = XE_PIPE_SIZE - p->head;

	return n < p->len ? n : p->len;
}

static void xe_pipe_take(struct xe_pipe *p, uint32_t n)
{
	p->head = (p->head + n) % XE_PIPE_SIZE;
	p->len -= n;
}

/* The four single steps. Each: bytes moved, 0 if none could, or -errno. */

static long xe_read_host(struct xe_slot *s)
{
	uint8_t *at;
	uint32_t space = xe_pipe_space(&s->up, &at);

	if (!s->can_read || s->up.eof || !space)
		return 0;
	ssize_t n = recv(s->fd, at, space, MSG_DONTWAIT);

	if (n > 0) {
		xe_pipe_put(&s->up, (uint32_t)n);
		return n;
	}
	if (n < 0 && errno == EINTR)
		return 0; /* non-blocking: does not happen, and the pump tries again */
	s->can_read = false;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	s->up.eof = n == 0;
	return 0;
}

static long xe_write_host(struct xe_relay *r, struct xe_slot *s)
{
	if (!s->can_write || !s->down.len)
		return 0;
	ssize_t n = send(s->fd, s->down.buf + s->down.head, xe_pipe_front(&s->down),
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0) {
		xe_pipe_take(&s->down, (uint32_t)n);
		r->counters.bytes_to_host += (uint64_t)n;
		return n;
	}
	if (errno != EAGAIN)
		return -errno;
	s->can_write = false;
	return 0;
}

static long xe_read_guest(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	uint8_t *at;
	uint32_t space = xe_pipe_space(&s->down, &at);

	if (s->down.eof || !space)
		return 0;
	long n = xe_tcp_recv(r->gateway, s->sock, at, space, now);

	if (n > 0)
		xe_pipe_put(&s->down, (uint32_t)n);
	if (n == -EAGAIN)
		return 0;
	s->down.eof = n == 0;
	return n;
}

static long xe_write_guest(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	if (!s->up.len)
		return 0;
	long n = xe_tcp_send(r->gateway, s->sock, s->up.buf + s->up.head, xe_pipe_front(&s->up),
			     now);

	if (n > 0) {
		xe_pipe_take(&s->up, (uint32_t)n);
		r->counters.bytes_to_guest += (uint64_t)n;
	}
	return n == -EAGAIN ? 0 : n;
}

/* Hands a direction's end on once its bytes are. */
static enum xe_verdict xe_pass_ends(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	if (s->up.eof && !s->up.len && !s->up.shut) {
		if (xe_tcp_shutdown(r->gateway, s->sock, now) < 0)
			return XE_GUEST_FAILED;
		s->up.shut = true;
	}
	if (s->down.eof && !s->down.len && !s->down.shut) {
		if (shutdown(s->fd, SHUT_WR) < 0)
			return XE_HOST_FAILED;
		s->down.shut = true;
	}
	return XE_GO_ON;
}

/* Moves bytes until nothing moves (*more false) or the budget is gone. */
static enum xe_verdict xe_move(struct xe_relay *r, struct xe_slot *s, xe_ns now, bool *more)
{
	long budget = XE_PUMP_BUDGET;

	do {
		long up_in = xe_read_host(s);
		long up_out = xe_write_guest(r, s, now);
		long down_in = xe_read_guest(r, s, now);
		long down_out = xe_write_host(r, s);

		if (up_in < 0 || down_out < 0)
			return XE_HOST_FAILED;
		if (up_out < 0 || down_in < 0)
			return XE_GUEST_FAILED;
		/* Bytes in without bytes out are bounded by the pipes. */
		*more = up_in || up_out || down_in || down_out;
		budget -= up_out + down_out;
	} while (*more && budget > 0);
	return xe_pass_ends(r, s, now);
}

/* One side failed: what it said before still goes to the other, as far as that
 * takes it at once; then the other is reset. */
static void xe_slot_fail(struct xe_relay *r, struct xe_slot *s, enum xe_verdict verdict, xe_ns now)
{
	long in, out;

	do {
		bool host = verdict == XE_HOST_FAILED;

		in = host ? xe_read_host(s) : xe_read_guest(r, s, now);
		out = host ? xe_write_guest(r, s, now) : xe_write_host(r, s);
	} while (in > 0 || out > 0);
	if (verdict == XE_HOST_FAILED)
		r->counters.resets_from_host++;
	else
		r->counters.resets_from_guest++;
	xe_slot_reset(r, s, now);
}

void xe_slot_refuse(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	r->counters.refused++;
	xe_slot_reset(r, s, now);
}

/* Is the gateway socket connected? Fails the slot if it never will be. */
static bool xe_slot_connected(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	if (s->connected)
		return true;
	int err = xe_tcp_connected(r->gateway, s->sock);

	s->connected = err == 0;
	if (s->connected)
		return true;
	if (err != -EINPROGRESS)
		xe_slot_refuse(r, s, now);
	else if (s->host_error)
		xe_slot_fail(r, s, XE_HOST_FAILED, now);
	return false;
}

/* Does all that a slot can do now, within the budget. The slot may be free after. */
static void xe_pump(struct xe_relay *r, struct xe_slot *s, xe_ns now)
{
	bool more = false;

	if (s->connecting && !xe_out_connected(r, s, now))
		return;
	if (!xe_slot_connected(r, s, now))
		return;
	enum xe_verdict verdict = xe_move(r, s, now, &more);

	if (verdict == XE_GO_ON && s->up.shut && s->down.shut) {
		xe_slot_close(r, s, now);
		return;
	}
	/* A hangup before we ended our direction is a reset, though a read that
	 * would say so may be behind data that nobody takes. */
	if (verdict == XE_GO_ON && !more && s->host_error)
		verdict = XE_HOST_FAILED;
	else if (verdict == XE_GO_ON && !more && s->guest_hangup && !s->up.shut)
		verdict = XE_GUEST_FAILED;
	if (verdict != XE_GO_ON)
		xe_slot_fail(r, s, verdict, now);
	else if (more)
		xe_queue(r, s);
}

/* Accepting. */

static int xe_epoll_add(struct xe_relay *r, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event ev = {.events = events | EPOLLET, .data.u64 = tag};

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int xe_slot_watch(struct xe_relay *r, const struct xe_slot *s)
{
	return xe_epoll_add(r, s->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP,
			    xe_tag(s->generation, (uint32_t)(s - r->slots), false));
}

static void xe_slot_open(struct xe_relay *r, const struct xe_listener *l, int fd, xe_ns now)
{
	int one = 1, sock;
	struct xe_slot *s;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock = xe_tcp_connect(r->gateway, l->guest_addr, l->guest_port, 0, now);
	s = xe_slot_take(r, fd, sock < 0 ? -1 : sock, false);
	r->counters.accepted++;
	if (sock < 0 || xe_slot_watch(r, s))
		xe_slot_refuse(r, s, now);
}

/* What accept's failure means for its listener. */
static void xe_accept_failed(struct xe_listener *l, int err)
{
	switch (err) {
	case EAGAIN:
		l->ready = false;
		break;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM: /* until a slot is freed or the next connection arrives */
		l->ready = false;
		l->starved = true;
		break;
	default: /* that one connection's: it is off the queue */
		break;
	}
}

static void xe_accept(struct xe_relay *r, struct xe_listener *l, xe_ns now)
{
	for (int i = 0; i < XE_ACCEPT_BUDGET && l->ready && xe_slot_available(r, false); i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			xe_slot_open(r, l, fd, now);
		else
			xe_accept_failed(l, errno);
	}
}

/* The interface. */

static int xe_listen_socket(uint32_t addr, uint16_t port, struct sockaddr_in *name)
{
	socklen_t len = sizeof(*name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, err;

	if (fd < 0)
		return -errno;
	*name = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(addr),
	};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, (struct sockaddr *)name, len) && !listen(fd, SOMAXCONN) &&
	    !getsockname(fd, (struct sockaddr *)name, &len))
		return fd;
	err = errno;
	close(fd);
	return -err;
}

int xe_relay_listen(struct xe_relay *r, uint32_t host_addr, uint16_t host_port, uint32_t guest_addr,
		    uint16_t guest_port)
{
	struct sockaddr_in name;

	if (r->listener_count == XE_MAX_LISTENERS)
		return -EMFILE;
	struct xe_listener *l = &r->listeners[r->listener_count];
	int fd = xe_listen_socket(host_addr, host_port, &name);

	if (fd < 0)
		return fd;
	int err = xe_epoll_add(r, fd, EPOLLIN, xe_tag(0, r->listener_count, true));

	if (err) {
		close(fd);
		return err;
	}
	*l = (struct xe_listener){.fd = fd, .guest_addr = guest_addr, .guest_port = guest_port};
	r->listener_count++;
	return ntohs(name.sin_port);
}

void xe_relay_fd_event(struct xe_relay *r, uint64_t tag, uint32_t events, xe_ns now)
{
	uint32_t index = (uint32_t)tag >> 1;

	r->last = now;
	if (tag & 1) {
		xe_assert(index < r->listener_count);
		r->listeners[index].ready = true;
		xe_accept(r, &r->listeners[index], now);
		return;
	}
	xe_assert(index < r->max);
	struct xe_slot *s = &r->slots[index];

	if (s->fd < 0 || tag != xe_tag(s->generation, index, false))
		return; /* closed since epoll reported it */
	s->can_read |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	s->can_write |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
	s->host_error |= (events & EPOLLERR) != 0;
	xe_pump(r, s, now);
}

void xe_relay_sock_event(struct xe_relay *r, int sock, unsigned mask, xe_ns now)
{
	r->last = now;
	if (sock < 0 || sock >= XE_RELAY_SOCKS)
		return;
	if (r->routes && xe_tcp_is_held(r->gateway, sock) && !r->slot_of_sock[sock]) {
		xe_out_open(r, sock, now);
		return;
	}
	if (!r->slot_of_sock[sock])
		return; /* another user's of this stack, or closed since */
	struct xe_slot *s = &r->slots[r->slot_of_sock[sock] - 1];

	s->guest_hangup |= (mask & XE_HANGUP) != 0;
	xe_pump(r, s, now);
}

int xe_relay_pending(const struct xe_relay *r)
{
	bool acceptable = false;

	for (uint32_t i = 0; i < r->listener_count; i++)
		acceptable |= r->listeners[i].ready;
	return r->queue_len > 0 || (acceptable && xe_slot_available(r, false));
}

void xe_relay_run(struct xe_relay *r, xe_ns now)
{
	uint32_t n = r->queue_len; /* those queued meanwhile wait for the next run */

	r->last = now;
	while (n--) {
		struct xe_slot *s = xe_dequeue(r);

		if (s->fd >= 0)
			xe_pump(r, s, now);
	}
	for (uint32_t i = 0; i < r->listener_count; i++)
		xe_accept(r, &r->listeners[i], now);
}

const struct xe_relay_counters *xe_relay_counters(const struct xe_relay *r)
{
	return &r->counters;
}

static void xe_relay_slots_init(struct xe_relay *r)
{
	for (uint32_t i = 0; i < r->max; i++) {
		struct xe_slot *s = &r->slots[i];

		s->fd = s->sock = -1;
		s->next_free = i + 1;
		s->up.buf = r->arena + (size_t)i * 2 * XE_PIPE_SIZE;
		s->down.buf = s->up.buf + XE_PIPE_SIZE;
	}
}

static void xe_relay_unmap(struct xe_relay *r)
{
	if (r->arena)
		munmap(r->arena, (size_t)r->max * 2 * XE_PIPE_SIZE);
	if (r->slot_of_sock)
		munmap(r->slot_of_sock, XE_RELAY_SOCKS * sizeof(*r->slot_of_sock));
	free(r->queue);
	free(r->slots);
	free(r);
}

int xe_relay_create(struct xe_relay **out, struct xe_tcp *gateway, int epoll_fd,
		    uint32_t max_connections)
{
	*out = NULL;
	if (!max_connections || max_connections > XE_RELAY_CONNECTIONS)
		return -EINVAL;
	struct xe_relay *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->gateway = gateway;
	r->epoll_fd = epoll_fd;
	r->max = max_connections;
	r->slots = calloc(r->max, sizeof(*r->slots));
	r->queue = calloc(r->max, sizeof(*r->queue));
	r->slot_of_sock = xe_sparse(XE_RELAY_SOCKS * sizeof(*r->slot_of_sock));
	r->arena = xe_sparse((size_t)r->max * 2 * XE_PIPE_SIZE);
	if (!r->slots || !r->queue || !r->slot_of_sock || !r->arena) {
		xe_relay_unmap(r);
		return -ENOMEM;
	}
	xe_relay_slots_init(r);
	*out = r;
	return 0;
}

void xe_relay_destroy(struct xe_relay *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->max; i++)
		if (r->slots[i].fd >= 0)
			xe_slot_reset(r, &r->slots[i], r->last);
	for (uint32_t i = 0; i < r->listener_count; i++)
		xe_close_fd(r, r->listeners[i].fd, false);
	xe_relay_unmap(r);
}
