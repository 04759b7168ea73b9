/* Event channels: what evtchn.c and evtchn_op.c, evtchn_deliver.c, evtchn_fifo.c share. */
#ifndef XE_XEN_EVTCHN_H
#define XE_XEN_EVTCHN_H

#include "xen/internal.h"

/* evtchn_deliver.c: a port as the guest sees it, by the ABI that the domain has chosen */
void xe_port_raise(struct xe_host *h, struct xe_domain *d, uint32_t port);
void xe_port_clear(struct xe_host *h, struct xe_domain *d, uint32_t port);
void xe_port_unmask(struct xe_host *h, struct xe_domain *d, uint32_t port);
bool xe_port_pending(struct xe_host *h, struct xe_domain *d, uint32_t port);
/* upcall_pending, and a vcpu that waits for that goes on */
void xe_vcpu_upcall(struct xe_host *h, struct xe_vcpu *v);

/* evtchn_fifo.c */
enum {
	XE_FIFO_WORDS = XE_PAGE_SIZE / sizeof(uint32_t), /* in a page */
	XE_FIFO_PAGES = XE_FIFO_PORTS / XE_FIFO_WORDS,
};

struct xe_fifo_vcpu {
	xe_mfn mfn; /* of its control block; 0: none yet */
	uint32_t offset;
	uint32_t tail[XE_FIFO_QUEUES]; /* port, 0: none */
};

struct xe_fifo {
	xe_mfn page[XE_FIFO_PAGES];
	uint32_t npages;
	struct xe_fifo_vcpu vcpu[]; /* max_vcpus */
};

int xe_fifo_init_control(struct xe_host *h, struct xe_domain *d, struct xe_evtchn_init_control *op);
int xe_fifo_expand_array(struct xe_host *h, struct xe_domain *d,
			 const struct xe_evtchn_expand_array *op);
void xe_fifo_destroy(struct xe_host *h, struct xe_domain *d);
void xe_fifo_raise(struct xe_host *h, struct xe_domain *d, uint32_t port);
uint32_t *xe_fifo_word(const struct xe_host *h, const struct xe_domain *d,
		       uint32_t port); /* or NULL */
int xe_fifo_next(struct xe_host *h, struct xe_domain *d); /* for xe_next_pending_port */
bool xe_fifo_any(struct xe_host *h, struct xe_domain *d);

/* evtchn.c: the operations */
int xe_evtchn_op(struct xe_host *h, struct xe_domain *d, uint32_t cmd, union xe_evtchn_arg *a);

static inline bool xe_bit(const uint64_t *words, uint32_t i)
{
	return words[i / 64] >> (i % 64) & 1;
}

#endif
