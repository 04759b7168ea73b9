# cython: language_level=3
"""What the binding takes from csrc/machine.h and csrc/xen/host.h."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from "machine.h" nogil:
    ctypedef uint64_t xe_ns
    enum: XE_NODE_HOST
    enum: KERNEL_PANICKED "XE_KERNEL_PANICKED"
    enum: KERNEL_HANGS "XE_KERNEL_HANGS"
    enum: KERNEL_STALLS "XE_KERNEL_STALLS"
    enum: XE_TRACE_PACKET_OUT
    struct xe_machine:
        pass
    struct xe_host:
        pass
    struct xe_tcp:
        pass
    struct xe_ssw:
        pass
    struct xe_sockets:
        xe_tcp *tcp
    struct xe_machine_config:
        uint64_t frames
        uint64_t seed
        bint real
        uint32_t trace_records
    struct xe_trace_record:
        xe_ns time
        uint32_t node
        uint8_t kind
        uint8_t vcpu
        uint16_t nr
        uint64_t a[6]
    struct xe_trace:
        const xe_trace_record *record
        uint64_t mask
    struct xe_machine_counters:
        uint64_t events
        uint64_t packets
        uint64_t drops[8]
    struct xe_work:
        uint32_t kind
        uint32_t node
        uint32_t generation
        uint32_t arg
        uint64_t a
        uint64_t b
    struct xe_store_stop:
        uint64_t stores
        uint64_t at
        void (*reached)(void *) noexcept
        void *ctx
    struct xe_tcp_config:
        uint32_t max_socks
        uint32_t snd_buf
        uint32_t rcv_buf
        bint no_timestamps
        bint no_wscale
        uint64_t seed
    struct xe_tcp_info:
        int state
        uint32_t local_addr
        uint32_t peer_addr
        uint16_t local_port
        uint16_t peer_port
    struct xe_link_config:
        uint64_t bits_per_second
        xe_ns delay
        uint32_t loss_ppm
        uint32_t reorder_ppm
        uint32_t duplicate_ppm
    struct xe_domain_config:
        uint64_t pages
        uint64_t max_pages
        uint64_t window_pages
        uint64_t virt_base
        uint64_t kernel_pages
        uint32_t max_vcpus
        uint32_t max_grant_frames
        bint privileged
        bint store
        bint console
        bint no_ip
        uint32_t ip
        const char *cmdline
    uint64_t XE_GUEST_BASE
    uint64_t XE_BASE_ZERO
    struct xe_domain_info:
        uint32_t domid
        uint32_t generation
        uint32_t pause_count
        bint exists
        bint dying
        bint runnable
        bint crashed
        bint privileged
        uint64_t tot_pages
        uint64_t max_pages
        uint64_t refs
        uint32_t ip
        uint32_t own_ip
        uint64_t heartbeats
        uint32_t max_vcpus
        uint64_t virt_base
        uint64_t usable_pages
        uint64_t p2m_pfn
        uint64_t start_info_gva
        uint64_t shared_info_mfn
    struct xe_frame_info:
        uint32_t owner
        uint64_t count_info
        uint64_t type_info
        uint64_t m2p
    struct xe_pair_info:
        int state
        uint32_t primary
        uint32_t backup
        bint backup_booted
        uint64_t features
        uint32_t old_primary
        uint32_t ip
        bint backup_has_primary_ip
        uint32_t extents
    struct xe_ssw_info:
        uint32_t connections
        uint32_t unprotected
        uint32_t detached
        uint32_t blocks
        uint32_t blocks_free
        uint32_t generation
        uint32_t ghosts
    struct xe_ssw_counters:
        uint64_t malformed
        uint64_t not_believed
        uint64_t unlogged_drops
        uint64_t overwritten_bytes
        uint64_t bytes_logged
        uint64_t fins_held
        uint64_t rsts_held
        uint64_t acks_beyond_log
        uint64_t acks_clamped
        uint64_t fake_syns
        uint64_t reestablished
        uint64_t tombstone_answers
        uint64_t unknown_dropped
        uint64_t unclaimed
        uint64_t removals
        uint64_t removals_refused
    struct xe_host_counters:
        uint64_t hypercalls
        uint64_t unknown_hypercalls
        uint64_t efaults
        uint64_t eperms

    int xe_machine_create(xe_machine **out, const xe_machine_config *cfg)
    void xe_machine_destroy(xe_machine *m)
    xe_host *xe_machine_host(xe_machine *m)
    xe_ns xe_machine_now(const xe_machine *m)
    xe_ns xe_machine_clock(const xe_machine *m)
    const xe_machine_counters *xe_machine_counters_ "xe_machine_counters"(const xe_machine *m)
    uint64_t xe_trace_count(const xe_trace *t)
    uint64_t xe_trace_hash(const xe_trace *t)
    const xe_trace *xe_machine_trace(const xe_machine *m)
    int xe_machine_capture(xe_machine *m, bint on)
    size_t xe_machine_captured(const xe_machine *m, const uint8_t **records)
    void xe_machine_capture_drain(xe_machine *m)
    uint64_t xe_machine_capture_dropped(const xe_machine *m)
    int xe_machine_run(xe_machine *m, xe_ns until, uint64_t max_events, xe_work *work, int cap)
    int xe_machine_attach_stack(xe_machine *m, uint32_t domid, const xe_tcp_config *cfg)
    int xe_machine_destroy_domain(xe_machine *m, uint32_t domid)
    int xe_machine_pause(xe_machine *m, uint32_t domid, bint pause)
    int xe_machine_break(xe_machine *m, uint32_t domid, int fault, xe_ns until)
    int xe_machine_kernel_fault(const xe_machine *m, uint32_t domid)
    int64_t xe_machine_hypercall(xe_machine *m, uint32_t domid, uint32_t vcpu, uint32_t nr,
                                 const uint64_t *arg)
    void xe_machine_sync(xe_machine *m)
    int xe_machine_fence(xe_machine *m, uint32_t primary)
    int xe_machine_restart(xe_machine *m, uint32_t primary)
    int xe_machine_try(xe_machine *m, uint32_t primary)
    int xe_machine_accept(xe_machine *m, uint32_t primary)
    int xe_machine_roll_back(xe_machine *m, uint32_t primary, int status)
    int xe_machine_fence_backup(xe_machine *m, uint32_t primary)
    int xe_machine_give_up(xe_machine *m, uint32_t primary)
    int xe_machine_path_set(xe_machine *m, uint32_t ip, uint32_t domid)
    xe_ssw *xe_machine_wrapper(xe_machine *m, uint32_t domid)
    xe_store_stop *xe_machine_store_stop(xe_machine *m)
    struct wr:
        pass
    enum:
        WR_PROFILE_OWN
        WR_PROFILES
    int xe_machine_add_wrapper(xe_machine *m, uint32_t profile, wr *w)
    int xe_machine_nsw_attach(xe_machine *m, uint32_t domid, uint64_t gva, uint32_t extents)
    int xe_machine_add_host(xe_machine *m, uint32_t ip, const xe_link_config *link, uint64_t seed,
                            const xe_tcp_config *cfg, uint32_t *node)
    xe_sockets *xe_machine_sockets(xe_machine *m, uint32_t node)
    void xe_machine_flush(xe_machine *m, uint32_t node)
    int xe_machine_arm_timer(xe_machine *m, uint32_t node, uint32_t token, xe_ns at)
    int xe_machine_ready(xe_machine *m, uint32_t node, int *sock, unsigned *mask)
    int xe_machine_forward(xe_machine *m, uint32_t gateway, uint32_t host_addr, uint16_t host_port,
                           uint32_t guest_addr, uint16_t guest_port)
    int xe_machine_route(xe_machine *m, uint32_t gateway)
    int xe_machine_watch(xe_machine *m, int fd, int readable, int writable)

    int xe_domain_create(xe_host *h, const xe_domain_config *cfg, uint32_t *domid)
    int xe_domain_info_ "xe_domain_info"(const xe_host *h, uint32_t domid, xe_domain_info *out)
    uint64_t xe_host_free_pages(const xe_host *h)
    uint32_t xe_host_top(const xe_host *h)
    size_t xe_console_read(xe_host *h, uint32_t domid, void *buf, size_t n)
    int xe_frame_info_ "xe_frame_info"(const xe_host *h, uint64_t mfn, xe_frame_info *out)
    int xe_frame_read(const xe_host *h, uint64_t mfn, size_t offset, void *buf, size_t n)
    int xe_guest_read(xe_host *h, uint32_t domid, uint64_t gva, void *buf, size_t n)
    int xe_guest_write(xe_host *h, uint32_t domid, uint64_t gva, const void *buf, size_t n)
    int xe_guest_translate(xe_host *h, uint32_t domid, uint64_t gva, uint64_t *maddr)
    void xe_send_virq(xe_host *h, uint32_t domid, uint32_t virq)
    int xe_next_pending_port(xe_host *h, uint32_t domid)
    int xe_path_clear(xe_host *h, uint32_t ip)
    int xe_path_lookup(const xe_host *h, uint32_t ip)
    int xe_heartbeat_arm(xe_host *h, uint32_t domid, bint on)
    int xe_pair_info_ "xe_pair_info"(const xe_host *h, uint32_t domid, xe_pair_info *out)
    int xe_vzs_signal(xe_host *h, uint32_t domid, uint32_t bits)
    int xe_vzs_complete(xe_host *h, uint32_t primary, int status)
    int xe_vzs_set_next_ip(xe_host *h, uint32_t domid, uint32_t ip)
    int xe_vzs_forget_backup(xe_host *h, uint32_t primary)
    int xe_vzs_boot_backup(xe_host *h, uint32_t primary, uint32_t *backup)
    const xe_host_counters *xe_host_counters_ "xe_host_counters"(const xe_host *h)

    void xe_ssw_info_ "xe_ssw_info"(const xe_ssw *s, xe_ssw_info *info)
    const xe_ssw_counters *xe_ssw_counters_ "xe_ssw_counters"(const xe_ssw *s)

    int xe_sockets_protect(xe_sockets *s, uint16_t port, uint8_t profile)
    int xe_sockets_passive_range(xe_sockets *s, uint16_t low, uint16_t high)
    uint64_t xe_sock_session(const xe_sockets *s, int sock)
    int xe_sock_listen(xe_sockets *s, uint16_t port, int backlog, uint64_t session)
    int xe_sock_connect(xe_sockets *s, uint32_t addr, uint16_t port, uint16_t local_port,
                        uint64_t session, xe_ns now)
    int xe_sock_connected(xe_sockets *s, int sock)
    int xe_sock_accept(xe_sockets *s, int listener)
    long xe_sock_send(xe_sockets *s, int sock, const void *buf, size_t n, xe_ns now)
    long xe_sock_recv(xe_sockets *s, int sock, void *buf, size_t n, xe_ns now)
    int xe_sock_shutdown(xe_sockets *s, int sock, xe_ns now)
    int xe_sock_close(xe_sockets *s, int sock, xe_ns now)
    int xe_sock_drop(xe_sockets *s, int sock, xe_ns now)
    unsigned xe_sock_poll(xe_sockets *s, int sock)
    int xe_tcp_info_ "xe_tcp_info"(const xe_tcp *t, int sock, xe_tcp_info *info)
    void xe_tcp_set_addr(xe_tcp *t, uint32_t addr)
    uint32_t xe_tcp_addr(const xe_tcp *t)
