# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""Thin binding of csrc/machine.h: no policy."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_AS_STRING, _PyBytes_Resize
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t, uintptr_t
from libc.string cimport memset

from cpython.object cimport PyObject
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno

cdef enum:
    MAX_WORK = 256
    ESRCH = 3
    EINTR = 4
    EEXIST = 17
    EINVAL = 22
    ENOSPC = 28
    EOPNOTSUPP = 95

HOST = XE_NODE_HOST


cdef int64_t check(int64_t rc) except -1:
    """The one way to raise: a negative errno becomes its OSError."""
    global errno
    if rc >= 0:
        return rc
    from os import strerror
    raise OSError(-rc, strerror(-rc))


cdef uint64_t first_record(const xe_trace *t, uint64_t since) noexcept:
    """The first one from `since` on that is in the ring still."""
    cdef uint64_t count = xe_trace_count(t)
    cdef uint64_t oldest = count - t.mask - 1 if count > t.mask else 0
    return min(max(since, oldest), count)


cdef void store_reached(void *ctx) noexcept with gil:
    (<Machine>ctx)._store_callback()


cdef class Machine:
    cdef object _store_callback
    cdef xe_machine *_m
    cdef xe_host *_h
    cdef bint _real

    def __cinit__(self, *, uint64_t frames, uint64_t seed=0, bint real=False, uint32_t trace_records=65536):
        cdef xe_machine_config cfg
        memset(&cfg, 0, sizeof(cfg))
        cfg.frames = frames
        cfg.seed = seed
        cfg.real = real
        cfg.trace_records = trace_records
        check(xe_machine_create(&self._m, &cfg))
        self._h = xe_machine_host(self._m)
        self._real = real

    def __dealloc__(self):
        if self._m is not NULL:
            xe_machine_destroy(self._m)

    def close(self):
        if self._m is not NULL:
            xe_machine_destroy(self._m)
            self._m = NULL

    cdef int _open(self) except -1:
        if self._m is NULL:
            raise ValueError("the machine is closed")
        return 0

    cdef xe_sockets *_sockets(self, uint32_t node) except NULL:
        cdef xe_sockets *s
        self._open()
        s = xe_machine_sockets(self._m, node)
        if s is NULL:
            check(-ESRCH)
        return s

    @property
    def now(self):
        self._open()
        return xe_machine_now(self._m)

    @property
    def clock(self):
        self._open()
        return xe_machine_clock(self._m)

    @property
    def trace_hash(self):
        self._open()
        return xe_trace_hash(xe_machine_trace(self._m))

    @property
    def event_index(self):
        self._open()
        return xe_machine_counters_(self._m).events

    def run(self, uint64_t until, uint64_t max_events=0):
        cdef xe_work work[MAX_WORK]
        cdef int n, i
        self._open()
        if self._real:
            with nogil:
                n = xe_machine_run(self._m, until, max_events, work, MAX_WORK)
            if n == -EINTR:
                PyErr_CheckSignals()
                return []
        else:
            n = xe_machine_run(self._m, until, max_events, work, MAX_WORK)
        check(n)
        return [(work[i].kind, work[i].node, work[i].generation, work[i].arg, work[i].a, work[i].b)
                for i in range(n)]

    # capture

    def capture(self, bint on):
        self._open()
        check(xe_machine_capture(self._m, on))

    def captured(self):
        cdef const uint8_t *records
        cdef size_t n
        self._open()
        n = xe_machine_captured(self._m, &records)
        if n == 0:
            return b""
        data = PyBytes_FromStringAndSize(<const char *>records, n)
        xe_machine_capture_drain(self._m)
        return data

    @property
    def capture_dropped(self):
        self._open()
        return xe_machine_capture_dropped(self._m)

    # domains

    def create_domain(self, *, uint64_t pages, uint64_t max_pages, uint64_t window_pages, bint privileged,
                      uint32_t ip, uint64_t virt_base=XE_GUEST_BASE, uint64_t kernel_pages=0,
                      uint32_t max_vcpus=1, bint store=False, bint console=False, bint no_ip=False,
                      bytes cmdline=b"", uint32_t max_grant_frames=0):
        cdef xe_domain_config cfg
        cdef uint32_t domid = 0
        self._open()
        if b"\0" in cmdline:
            raise ValueError("a NUL in cmdline")
        memset(&cfg, 0, sizeof(cfg))
        cfg.pages = pages
        cfg.max_pages = max_pages
        cfg.window_pages = window_pages
        cfg.virt_base = virt_base or XE_BASE_ZERO
        cfg.kernel_pages = kernel_pages
        cfg.max_vcpus = max_vcpus
        cfg.max_grant_frames = max_grant_frames
        cfg.privileged = privileged
        cfg.store = store
        cfg.console = console
        cfg.no_ip = no_ip
        cfg.ip = ip
        cfg.cmdline = cmdline
        check(xe_domain_create(self._h, &cfg, &domid))
        return domid

    def attach_stack(self, uint32_t domid, *, uint64_t seed, uint32_t max_socks=0, uint32_t buffer=0,
                     bint timestamps=True, bint window_scale=True):
        cdef xe_tcp_config cfg
        self._open()
        memset(&cfg, 0, sizeof(cfg))
        cfg.seed = seed
        cfg.max_socks = max_socks
        cfg.snd_buf = cfg.rcv_buf = buffer
        cfg.no_timestamps = not timestamps
        cfg.no_wscale = not window_scale
        check(xe_machine_attach_stack(self._m, domid, &cfg))

    def destroy_domain(self, uint32_t domid):
        self._open()
        check(xe_machine_destroy_domain(self._m, domid))

    def pause(self, uint32_t domid):
        self._open()
        check(xe_machine_pause(self._m, domid, True))

    def unpause(self, uint32_t domid):
        self._open()
        check(xe_machine_pause(self._m, domid, False))

    def panic(self, uint32_t domid):
        self._open()
        check(xe_machine_break(self._m, domid, KERNEL_PANICKED, 0))

    def hang(self, uint32_t domid):
        self._open()
        check(xe_machine_break(self._m, domid, KERNEL_HANGS, 0))

    def stall(self, uint32_t domid, uint64_t until):
        self._open()
        check(xe_machine_break(self._m, domid, KERNEL_STALLS, until))

    def kernel_fault(self, uint32_t domid):
        self._open()
        return xe_machine_kernel_fault(self._m, domid)

    def domain_info(self, uint32_t domid):
        cdef xe_domain_info info
        self._open()
        check(xe_domain_info_(self._h, domid, &info))
        return info

    def domain_ids(self):
        cdef xe_domain_info info
        cdef uint32_t i
        self._open()
        return [i for i in range(xe_host_top(self._h)) if xe_domain_info_(self._h, i, &info) == 0]

    def console_read(self, uint32_t domid, size_t n=4096):
        cdef bytes data
        self._open()
        data = PyBytes_FromStringAndSize(NULL, n)
        return data[:xe_console_read(self._h, domid, PyBytes_AS_STRING(data), n)]

    def free_pages(self):
        self._open()
        return xe_host_free_pages(self._h)

    def hypercall(self, uint32_t domid, uint32_t nr, uint64_t a1=0, uint64_t a2=0, uint64_t a3=0,
                  uint64_t a4=0, uint64_t a5=0):
        cdef uint64_t arg[5]
        self._open()
        arg[0] = a1
        arg[1] = a2
        arg[2] = a3
        arg[3] = a4
        arg[4] = a5
        return xe_machine_hypercall(self._m, domid, 0, nr, arg)

    def hypercaller(self, uint32_t domid, error, uint32_t vcpu=0):
        return Hypercaller(self, domid, error, vcpu)

    def frame_info(self, uint64_t mfn):
        cdef xe_frame_info info
        self._open()
        check(xe_frame_info_(self._h, mfn, &info))
        return info.owner, info.count_info, info.type_info, info.m2p

    def frame_read(self, uint64_t mfn, size_t offset, size_t n):
        cdef bytes data
        self._open()
        data = PyBytes_FromStringAndSize(NULL, n)
        check(xe_frame_read(self._h, mfn, offset, PyBytes_AS_STRING(data), n))
        return data

    def guest_read(self, uint32_t domid, uint64_t gva, size_t n):
        cdef bytes data
        self._open()
        data = PyBytes_FromStringAndSize(NULL, n)
        check(xe_guest_read(self._h, domid, gva, PyBytes_AS_STRING(data), n))
        return data

    def guest_write(self, uint32_t domid, uint64_t gva, data):
        cdef Py_buffer view
        cdef int rc
        self._open()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        rc = xe_guest_write(self._h, domid, gva, view.buf, view.len)
        PyBuffer_Release(&view)
        check(rc)

    def guest_translate(self, uint32_t domid, uint64_t gva):
        cdef uint64_t maddr = 0
        self._open()
        check(xe_guest_translate(self._h, domid, gva, &maddr))
        return maddr

    def guest_add(self, uint32_t domid, uint64_t gva, uint64_t n):
        cdef uint64_t word
        self._open()
        check(xe_guest_read(self._h, domid, gva, &word, 8))
        word += n
        check(xe_guest_write(self._h, domid, gva, &word, 8))

    def next_pending_port(self, uint32_t domid):
        self._open()
        return xe_next_pending_port(self._h, domid)

    def send_virq(self, uint32_t domid, uint32_t virq):
        self._open()
        xe_send_virq(self._h, domid, virq)
        xe_machine_sync(self._m)

    # the VMM's side

    def pair_info(self, uint32_t domid):
        cdef xe_pair_info info
        self._open()
        if xe_pair_info_(self._h, domid, &info):
            return None
        return info

    def vzs_signal(self, uint32_t domid, uint32_t bits):
        self._open()
        check(xe_vzs_signal(self._h, domid, bits))
        xe_machine_sync(self._m)

    def vzs_complete(self, uint32_t primary, int status):
        self._open()
        check(xe_vzs_complete(self._h, primary, status))
        xe_machine_sync(self._m)

    def vzs_fence(self, uint32_t primary):
        self._open()
        check(xe_machine_fence(self._m, primary))

    def vzs_restart(self, uint32_t primary):
        self._open()
        check(xe_machine_restart(self._m, primary))

    def vzs_try(self, uint32_t primary):
        self._open()
        check(xe_machine_try(self._m, primary))

    def vzs_accept(self, uint32_t primary):
        self._open()
        check(xe_machine_accept(self._m, primary))

    def vzs_roll_back(self, uint32_t primary, int status):
        self._open()
        check(xe_machine_roll_back(self._m, primary, status))

    def vzs_fence_backup(self, uint32_t primary):
        self._open()
        check(xe_machine_fence_backup(self._m, primary))

    def vzs_boot_backup(self, uint32_t primary):
        cdef uint32_t backup = 0
        self._open()
        check(xe_vzs_boot_backup(self._h, primary, &backup))
        xe_machine_sync(self._m)
        return backup

    def vzs_give_up(self, uint32_t primary):
        self._open()
        check(xe_machine_give_up(self._m, primary))

    def vzs_set_next_ip(self, uint32_t domid, uint32_t ip):
        self._open()
        check(xe_vzs_set_next_ip(self._h, domid, ip))

    def vzs_forget_backup(self, uint32_t primary):
        self._open()
        check(xe_vzs_forget_backup(self._h, primary))
        xe_machine_sync(self._m)

    def heartbeat_arm(self, uint32_t domid, bint on):
        self._open()
        check(xe_heartbeat_arm(self._h, domid, on))

    def path_set(self, uint32_t ip, uint32_t domid):
        self._open()
        check(xe_machine_path_set(self._m, ip, domid))

    def path_clear(self, uint32_t ip):
        self._open()
        check(xe_path_clear(self._h, ip))

    def path_lookup(self, uint32_t ip):
        self._open()
        return check(xe_path_lookup(self._h, ip))

    def log_info(self, uint32_t domid):
        cdef xe_ssw_info info
        cdef const xe_ssw_counters *count
        cdef xe_ssw *ssw
        self._open()
        ssw = xe_machine_wrapper(self._m, domid)
        if ssw is NULL:
            check(-2)
        xe_ssw_info_(ssw, &info)
        count = xe_ssw_counters_(ssw)
        result = {}
        result.update(info)
        result.update(count[0])
        return result

    def counters(self):
        cdef const xe_machine_counters *c
        self._open()
        c = xe_machine_counters_(self._m)
        names = ("", "link", "no_route", "spoofed", "ssw_in", "ssw_out", "paused", "pool")
        result = {"events": c.events, "packets": c.packets}
        result.update({"dropped_" + names[i]: c.drops[i] for i in range(1, 8)})
        result.update(xe_host_counters_(self._h)[0])
        return result

    # wrappers

    def add_wrapper(self, uintptr_t address):
        cdef int rc
        self._open()
        for profile in range(WR_PROFILE_OWN, WR_PROFILES):
            rc = xe_machine_add_wrapper(self._m, profile, <wr *>address)
            if rc != -EEXIST:
                check(rc)
                return profile
        check(-ENOSPC)

    def nsw_attach(self, uint32_t domid, uint64_t gva, uint32_t extents):
        self._open()
        check(xe_machine_nsw_attach(self._m, domid, gva, extents))

    @property
    def stores(self):
        self._open()
        return xe_machine_store_stop(self._m).stores if xe_machine_store_stop(self._m) else 0

    def stop_at_store(self, uint64_t n, callback):
        self._open()
        cdef xe_store_stop *stop = xe_machine_store_stop(self._m)
        if not stop:
            check(-EOPNOTSUPP)
        if n <= stop.stores:
            check(-EINVAL)
        self._store_callback = callback
        stop.reached = store_reached
        stop.ctx = <void *>self
        stop.at = n

    def nsw_protect(self, uint32_t domid, uint16_t port, uint8_t profile):
        check(xe_sockets_protect(self._sockets(domid), port, profile))

    def passive_ports(self, uint32_t domid, uint16_t low, uint16_t high):
        check(xe_sockets_passive_range(self._sockets(domid), low, high))

    # network

    def add_host(self, uint32_t ip, *, uint64_t bits_per_second=0, uint64_t delay=0, uint32_t loss_ppm=0,
                 uint32_t reorder_ppm=0, uint32_t duplicate_ppm=0, uint64_t seed=0, uint32_t max_socks=0,
                 uint32_t buffer=0):
        cdef xe_link_config link
        cdef xe_tcp_config cfg
        cdef uint32_t node = 0
        self._open()
        memset(&link, 0, sizeof(link))
        memset(&cfg, 0, sizeof(cfg))
        link.bits_per_second = bits_per_second
        link.delay = delay
        link.loss_ppm = loss_ppm
        link.reorder_ppm = reorder_ppm
        link.duplicate_ppm = duplicate_ppm
        cfg.seed = seed
        cfg.max_socks = max_socks
        cfg.snd_buf = cfg.rcv_buf = buffer
        check(xe_machine_add_host(self._m, ip, &link, seed, &cfg, &node))
        return node

    def set_addr(self, uint32_t node, uint32_t ip):
        xe_tcp_set_addr(self._sockets(node).tcp, ip)

    def addr(self, uint32_t node):
        return xe_tcp_addr(self._sockets(node).tcp)

    def arm_timer(self, uint32_t node, uint32_t token, uint64_t at):
        self._open()
        check(xe_machine_arm_timer(self._m, node, token, at))

    def listen(self, uint32_t node, uint16_t port, int backlog, uint64_t session=0):
        return check(xe_sock_listen(self._sockets(node), port, backlog, session))

    def accept(self, uint32_t node, int sock):
        return check(xe_sock_accept(self._sockets(node), sock))

    def session(self, uint32_t node, int sock):
        return xe_sock_session(self._sockets(node), sock)

    def connect(self, uint32_t node, uint32_t ip, uint16_t port, uint16_t local_port=0, uint64_t session=0):
        cdef xe_sockets *s = self._sockets(node)
        cdef int rc = xe_sock_connect(s, ip, port, local_port, session, xe_machine_now(self._m))
        check(rc)
        xe_machine_flush(self._m, node)
        xe_sock_connected(s, rc)  # the SYN is out: the log is told whose it is
        return rc

    def connected(self, uint32_t node, int sock):
        return -xe_sock_connected(self._sockets(node), sock)

    def send(self, uint32_t node, int sock, data):
        cdef xe_sockets *s = self._sockets(node)
        cdef Py_buffer view
        cdef long n
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        n = xe_sock_send(s, sock, view.buf, view.len, xe_machine_now(self._m))
        PyBuffer_Release(&view)
        check(n)
        xe_machine_flush(self._m, node)
        return n

    def recv(self, uint32_t node, int sock, Py_ssize_t n):
        cdef xe_sockets *s = self._sockets(node)
        cdef bytes data
        cdef long got
        if n < 0:
            check(-EINVAL)
        data = PyBytes_FromStringAndSize(NULL, n)
        got = xe_sock_recv(s, sock, PyBytes_AS_STRING(data), n, xe_machine_now(self._m))
        check(got)
        xe_machine_flush(self._m, node)
        return data[:got]

    def recv_into(self, uint32_t node, int sock, buffer):
        cdef xe_sockets *s = self._sockets(node)
        cdef Py_buffer view
        cdef long got
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        got = xe_sock_recv(s, sock, view.buf, view.len, xe_machine_now(self._m))
        PyBuffer_Release(&view)
        check(got)
        xe_machine_flush(self._m, node)
        return got

    def shutdown(self, uint32_t node, int sock):
        check(xe_sock_shutdown(self._sockets(node), sock, xe_machine_now(self._m)))
        xe_machine_flush(self._m, node)

    def close_socket(self, uint32_t node, int sock):
        check(xe_sock_close(self._sockets(node), sock, xe_machine_now(self._m)))
        xe_machine_flush(self._m, node)

    def drop_socket(self, uint32_t node, int sock):
        check(xe_sock_drop(self._sockets(node), sock, xe_machine_now(self._m)))
        xe_machine_flush(self._m, node)

    def poll(self, uint32_t node, int sock):
        return xe_sock_poll(self._sockets(node), sock)

    def ready(self, uint32_t node):
        cdef int sock = 0
        cdef unsigned mask = 0
        self._open()
        result = []
        while check(xe_machine_ready(self._m, node, &sock, &mask)):
            result.append((sock, mask))
        return result

    def socket_names(self, uint32_t node, int sock):
        cdef xe_tcp_info info
        check(xe_tcp_info_(self._sockets(node).tcp, sock, &info))
        return info.local_addr, info.local_port, info.peer_addr, info.peer_port

    def socket_state(self, uint32_t node, int sock):
        cdef xe_tcp_info info
        check(xe_tcp_info_(self._sockets(node).tcp, sock, &info))
        return info.state

    # the real clock

    def forward(self, uint32_t gateway, uint32_t host_addr, uint16_t host_port, uint32_t guest_addr,
                uint16_t guest_port):
        self._open()
        return check(xe_machine_forward(self._m, gateway, host_addr, host_port, guest_addr, guest_port))

    def route(self, uint32_t gateway):
        self._open()
        check(xe_machine_route(self._m, gateway))

    def watch_fd(self, int fd, bint readable, bint writable):
        self._open()
        check(xe_machine_watch(self._m, fd, readable, writable))

    # trace

    @property
    def trace_index(self):
        self._open()
        return xe_trace_count(xe_machine_trace(self._m))

    def trace(self, uint64_t since=0):
        cdef const xe_trace *t
        cdef const xe_trace_record *r
        cdef uint64_t i
        self._open()
        t = xe_machine_trace(self._m)
        result = []
        for i in range(first_record(t, since), xe_trace_count(t)):
            r = &t.record[i & t.mask]
            result.append((i, r.time, r.kind, r.node, r.vcpu, r.nr,
                           (r.a[0], r.a[1], r.a[2], r.a[3], r.a[4], r.a[5])))
        return result

    def trace_records(self, uint64_t since=0, uint64_t most=65536):
        cdef const xe_trace *t
        cdef uint64_t first, last, part
        self._open()
        t = xe_machine_trace(self._m)
        first = first_record(t, since)
        last = first + min(most, xe_trace_count(t) - first)
        part = min(last - first, t.mask + 1 - (first & t.mask))
        found = (<const char *>&t.record[first & t.mask])[:part * sizeof(xe_trace_record)]
        if part < last - first:
            found += (<const char *>t.record)[:(last - first - part) * sizeof(xe_trace_record)]
        return first, last, found

    def trace_packets(self, uint64_t since=0):
        cdef const xe_trace *t
        cdef const xe_trace_record *r
        cdef uint64_t first, i
        cdef bytearray found = bytearray()
        self._open()
        t = xe_machine_trace(self._m)
        first = first_record(t, since)
        for i in range(first, xe_trace_count(t)):
            r = &t.record[i & t.mask]
            if r.node & XE_NODE_HOST and r.kind <= XE_TRACE_PACKET_OUT:
                found += (<const char *>r)[:sizeof(xe_trace_record)]
        return first, xe_trace_count(t), bytes(found)

# A Hypercaller is called by CPython's vectorcall protocol, which makes no tuple of the arguments.

cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(object, PyObject *const *, size_t, PyObject *)
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_vectorcall_offset
        unsigned long tp_flags
    unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    PyObject **PySequence_Fast_ITEMS(object o)


cdef class Hypercaller:
    """The hypercalls of one virtual CPU."""

    cdef vectorcallfunc _vectorcall
    cdef Machine _machine
    cdef object _error
    cdef uint32_t _domid
    cdef uint32_t _vcpu

    def __cinit__(self, Machine machine not None, uint32_t domid, error, uint32_t vcpu=0, *_):
        self._vectorcall = hypercall
        kind = type(self)
        (<PyTypeObject *>kind).tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL  # a subclass loses it
        self._machine = machine
        self._domid = domid
        self._error = error
        self._vcpu = vcpu

    cdef int64_t _make(self, const uint64_t *word) except? -1:
        if self._machine._m is NULL:
            self._machine._open()
        # Xen looks at all of rax: a number with upper bits is unknown.
        return xe_machine_hypercall(self._machine._m, self._domid, self._vcpu,
                                    <uint32_t>min(word[0], <uint64_t>0xffffffff), &word[1])

    def __call__(self, *args):
        return hypercall(self, PySequence_Fast_ITEMS(args), len(args), NULL)

    def raw(self, uint64_t nr, uint64_t a1=0, uint64_t a2=0, uint64_t a3=0, uint64_t a4=0,
            uint64_t a5=0, /):
        cdef uint64_t[6] word
        word[0], word[1], word[2], word[3], word[4], word[5] = nr, a1, a2, a3, a4, a5
        return self._make(word)

    @property
    def domid(self):
        return self._domid

    @property
    def vcpu(self):
        return self._vcpu


cdef object hypercall(object caller, PyObject *const *args, size_t nargsf, PyObject *names):
    cdef Hypercaller self = <Hypercaller>caller
    cdef Py_ssize_t n = PyVectorcall_NARGS(nargsf), i
    cdef uint64_t[6] word
    cdef int64_t rc
    if names is not NULL or not 1 <= n <= 6:
        raise TypeError("a hypercall has a number and up to 5 arguments, without names")
    for i in range(6):
        word[i] = <object>args[i] if i < n else 0
    rc = self._make(word)
    if rc < 0:
        raise self._error(word[0], word[1], -rc)
    return rc


cdef void enable_vectorcall():
    cdef Hypercaller nothing = None
    cdef PyTypeObject *kind = <PyTypeObject *>Hypercaller
    kind.tp_vectorcall_offset = <char *>&nothing._vectorcall - <char *><PyObject *>nothing
    kind.tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL


enable_vectorcall()
