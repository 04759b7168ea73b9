/* What bench_protection.py calls. Read by cffi: declarations only, no directives. */
struct bench_pair;

struct bench_cost {
	uint64_t bytes;
	uint64_t link_ns; /* of the link's clock; of CPU time without a link */
	uint64_t busy_ns; /* without the waiting for the link's clock */
	uint64_t instructions; /* in user mode; 0: not counted */
	uint64_t reads; /* of the service */
};

/* A client's TCP and a server's sockets in one process, with both wrappers in between if
 * `protect`, over a link of `rate` bits per second in real time, or over none (0). The log
 * holds `log_bytes`, every page touched. NULL: errno is set. */
struct bench_pair *bench_pair_open(int protect, uint64_t log_bytes, uint64_t rate);
void bench_pair_close(struct bench_pair *b);
/* One connection moves `bytes` from the client (`upload`) or to it. `check` compares them
 * with what was sent. 0, or -errno: -EIO wrong bytes, -EPROTO the connection failed,
 * -ENOSPC it was not protected to its end. */
int bench_pair_run(struct bench_pair *b, int upload, uint64_t bytes, int check,
		   struct bench_cost *cost);

/* The parts: CPU time of `n` operations (a multiple of 256) on 1448 bytes each, ns. */
enum bench_part {
	BENCH_COPY, /* memcpy to memory that is as large as the log */
	BENCH_CHECKSUM, /* the one's complement sum that verifies a packet */
	BENCH_CRC, /* CRC-32C */
	BENCH_CRC_COPY, /* both in one pass */
	BENCH_INGRESS, /* xe_ssw_ingress of a data packet: checksum and append included */
	BENCH_EGRESS, /* xe_ssw_egress of a data packet */
	BENCH_ACK_IN, /* xe_ssw_ingress of an ack */
	BENCH_ACK_OUT, /* xe_ssw_egress of an ack */
	BENCH_RECORD, /* NSW's record of one read */
};
/* 0: refused. */
uint64_t bench_part(struct bench_pair *b, enum bench_part part, uint64_t n);
/* Whether the host counts instructions of this thread. */
int bench_counts_instructions(void);
