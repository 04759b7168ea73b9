/* Structs of callback_op, nmi_op and iret: xen/callback.h, xen/nmi.h, xen/arch-x86/xen-x86_64.h. */
#ifndef XE_XEN_ABI_CALLBACK_H
#define XE_XEN_ABI_CALLBACK_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_callback_register {
	uint16_t type, flags;
	uint32_t pad;
	uint64_t address;
};

struct xe_callback_unregister {
	uint16_t type, pad;
};

struct xe_nmi_callback {
	uint64_t handler_address, pad;
};

/* What iret finds on the guest's stack. */
struct xe_iret_context {
	uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};

static_assert(sizeof(struct xe_callback_register) == 16, "callback_register");
static_assert(offsetof(struct xe_callback_register, address) == 8, "callback_register");
static_assert(sizeof(struct xe_callback_unregister) == 4, "callback_unregister");
static_assert(offsetof(struct xe_callback_unregister, pad) == 2, "callback_unregister");
static_assert(sizeof(struct xe_nmi_callback) == 16, "xennmi_callback");
static_assert(offsetof(struct xe_nmi_callback, pad) == 8, "xennmi_callback");
static_assert(sizeof(struct xe_iret_context) == 72, "iret_context");
static_assert(offsetof(struct xe_iret_context, rflags) == 48, "iret_context");

#endif
