/* What bench_logging.py calls. Read by cffi: declarations only, no directives.
 * Every timed call returns nanoseconds. */
struct bench_log;

/* A log whose payload blocks hold `walk` bytes, and a destination for memcpy of equal size,
 * both in one memfd mapping as in the machine, every page touched. NULL: errno is set. */
struct bench_log *bench_log_open(uint64_t walk);
void bench_log_close(struct bench_log *b);

/* `passes` times: walk / n appends, or copies, of the same n bytes. */
uint64_t bench_append(struct bench_log *b, size_t n, uint64_t passes);
uint64_t bench_memcpy(struct bench_log *b, size_t n, uint64_t passes);
/* The same through the whole of xe_ssw_ingress: packets of n payload bytes, in order. 0: refused. */
uint64_t bench_ingress(struct bench_log *b, size_t n, uint64_t passes);
/* The appended bytes are in the log, read through its links as a recovery does; 0 or 1. */
int bench_append_check(struct bench_log *b, size_t n);

struct bench_logger;
enum { BENCH_UNIX = 0, BENCH_TCP = 1 };

/* A process that reads messages of n bytes and acknowledges each. NULL: errno is set. */
struct bench_logger *bench_logger_open(struct bench_log *b, int kind, size_t n);
void bench_logger_close(struct bench_logger *l);
/* Logs `count` messages, at most `window` of them unacknowledged. 0: the logger is gone. */
uint64_t bench_logger_send(struct bench_logger *l, uint64_t count, uint64_t window);
