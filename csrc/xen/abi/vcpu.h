/* Structs of vcpu_op: xen/vcpu.h; vcpu_guest_context: xen/arch-x86/xen.h. */
#ifndef XE_XEN_ABI_VCPU_H
#define XE_XEN_ABI_VCPU_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct xe_runstate_info {
	int32_t state;
	uint32_t pad;
	uint64_t since, time[4];
};

struct xe_vcpu_area {
	uint64_t gva; /* register_runstate_memory_area, register_vcpu_time_memory_area */
};

struct xe_vcpu_set_periodic {
	uint64_t period;
};

struct xe_vcpu_set_singleshot {
	uint64_t at;
	uint32_t flags, pad;
};

struct xe_register_vcpu_info {
	uint64_t mfn;
	uint32_t offset, rsvd;
};

struct xe_vcpu_physid {
	uint64_t phys_id;
};

struct xe_user_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint32_t error_code, entry_vector;
	uint64_t rip;
	uint16_t cs, pad0;
	uint8_t saved_upcall_mask, pad1[3];
	uint64_t rflags, rsp;
	uint64_t ss, es, ds, fs, gs; /* the low 16 bits of each */
};

struct xe_trap_info {
	uint8_t vector, flags;
	uint16_t cs;
	uint32_t pad;
	uint64_t address;
};

enum { XE_VGCF_IN_KERNEL = 1 << 2, XE_VGCF_ONLINE = 1 << 5, XE_TRAPS = 256, XE_GDT_FRAMES = 16 };

struct xe_vcpu_context {
	uint8_t fpu[512];
	uint64_t flags;
	struct xe_user_regs regs;
	struct xe_trap_info trap[XE_TRAPS];
	uint64_t ldt_base, ldt_ents;
	uint64_t gdt_frame[XE_GDT_FRAMES], gdt_ents;
	uint64_t kernel_ss, kernel_sp;
	uint64_t ctrlreg[8];
	uint64_t debugreg[8];
	uint64_t event_callback, failsafe_callback, syscall_callback;
	uint64_t vm_assist;
	uint64_t fs_base, gs_base_kernel, gs_base_user;
};

static_assert(sizeof(struct xe_runstate_info) == 48, "vcpu_runstate_info");
static_assert(offsetof(struct xe_runstate_info, time) == 16, "vcpu_runstate_info.time");
static_assert(sizeof(struct xe_vcpu_set_singleshot) == 16, "vcpu_set_singleshot_timer");
static_assert(sizeof(struct xe_register_vcpu_info) == 16, "vcpu_register_vcpu_info");
static_assert(sizeof(struct xe_user_regs) == 200, "cpu_user_regs");
static_assert(offsetof(struct xe_user_regs, rip) == 128, "cpu_user_regs.rip");
static_assert(sizeof(struct xe_trap_info) == 16, "trap_info");
static_assert(sizeof(struct xe_vcpu_context) == 5168, "vcpu_guest_context");
static_assert(offsetof(struct xe_vcpu_context, trap) == 720, "trap_ctxt");
static_assert(offsetof(struct xe_vcpu_context, gdt_frame) == 4832, "gdt_frames");
static_assert(offsetof(struct xe_vcpu_context, ctrlreg) == 4984, "ctrlreg");
static_assert(offsetof(struct xe_vcpu_context, vm_assist) == 5136, "vm_assist");

#endif
