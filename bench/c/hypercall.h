/* What bench_hypercall.py calls. Read by cffi: declarations only, no directives.
 * Every timed call returns nanoseconds for `count` calls. */
struct bench_host;

/* A machine with one running domain. NULL: errno is set. */
struct bench_host *bench_host_open(int real);
void bench_host_close(struct bench_host *b);

uint64_t bench_machine_hypercall(struct bench_host *b, uint64_t count); /* traced, as from Python */
uint64_t bench_host_hypercall(struct bench_host *b, uint64_t count); /* the host half alone */
uint64_t bench_system_call(uint64_t count); /* getppid, by syscall(2) */
uint64_t bench_noop(struct bench_host *b, uint64_t count); /* an empty C function */
int64_t bench_version(struct bench_host *b); /* what the call answers */
