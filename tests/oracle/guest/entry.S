/* Entry, traps and the two things that C cannot say. Notes: xen/elfnote.h. */
#define NOTE(type, desc) \
	.pushsection .note.Xen, "a", @note; .p2align 2; .long 4, 2f - 1f, type; .asciz "Xen"; \
	1: desc; 2: .p2align 2; .popsection

NOTE(1, .quad start)              /* ENTRY */
NOTE(2, .quad hypercalls)         /* HYPERCALL_PAGE */
NOTE(3, .quad VIRT_BASE)          /* VIRT_BASE */
NOTE(4, .quad 0)                  /* PADDR_OFFSET */
NOTE(5, .asciz "xen-3.0")         /* XEN_VERSION */
NOTE(6, .asciz "interpreter")     /* GUEST_OS */
NOTE(8, .asciz "generic")         /* LOADER */

	.section .text.start, "ax"
	.globl start
start:	cld
	lea stack_end(%rip), %rsp
	mov %rsi, %rdi
	call interpret
1:	jmp 1b

/* Not by the page: a number may lie beyond its 128 entries. */
	.text
	.globl hypercall
hypercall: /* (nr, a1..a5) */
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	mov %r8, %r10
	mov %r9, %r8
	syscall
	ret

/* (to, from, n): 0, or 1 where a page fault or a protection fault ended it. */
	.globl try_copy
try_copy:
	mov %rsp, try_stack(%rip)
	mov %rdx, %rcx
	rep movsb
	xor %eax, %eax
	jmp 1f
	.globl fault
fault:	mov try_stack(%rip), %rsp
	test %rsp, %rsp
	jz 2f
	cld
	mov $1, %eax
1:	movq $0, try_stack(%rip)
	ret
2:	lea stack_end(%rip), %rsp
	call lost

	.section .hypercalls, "ax"
	.p2align 12
hypercalls:
	.skip 4096, 0xcc

	.bss
	.p2align 12
	.skip 16384
stack_end:
try_stack:
	.skip 8
	.section .note.GNU-stack, "", @progbits
