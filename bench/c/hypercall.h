/* What bench_hypercall.py calls. Read by cffi: declarations only, no directives.
 * Every timed call returns nanoseconds for `count` operations; 0: it failed. */
struct bench_host;

/* A machine with `domains` running domains, two of which do all the work. NULL: errno is set. */
struct bench_host *bench_host_open(int real, uint32_t domains);
void bench_host_close(struct bench_host *b);
int64_t bench_version(struct bench_host *b); /* what the call answers */
int64_t bench_can_grant(struct bench_host *b); /* 0, or the errno of grant_table_op, negative */

/* Traced, as from Python. */
uint64_t bench_machine_hypercall(struct bench_host *b, uint64_t count); /* xen_version */
uint64_t bench_event(struct bench_host *b, uint64_t count); /* sent, upcall, port taken */
uint64_t bench_grant(struct bench_host *b, uint64_t count); /* mapped and unmapped */
uint64_t bench_multicall(struct bench_host *b, uint64_t count); /* a count is one entry of 64 */
uint64_t bench_map(struct bench_host *b, uint64_t count); /* update_va_mapping */
uint64_t bench_create(struct bench_host *b, uint64_t count); /* a domain, and its end */
uint64_t bench_host_hypercall(struct bench_host *b, uint64_t count); /* xen_version, no machine */
uint64_t bench_machines(uint64_t count); /* a machine is made and destroyed */

/* Against that. */
uint64_t bench_system_call(uint64_t count); /* getppid, by syscall(2) */
uint64_t bench_call(uint64_t count); /* an empty C function through a pointer */
uint64_t bench_struct_call(uint64_t count); /* likewise, with a struct of 64 bytes by value */
uint64_t bench_filled_call(uint64_t count); /* likewise, filled each time as arguments are */
int64_t bench_nothing(uint32_t domid, uint32_t nr, uint64_t a1); /* for a call through cffi */
