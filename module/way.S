/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/*
 * The way in and the way back: one page that is mapped alike in Linux' address space and in root's, so that changing CR3
 * does not pull the ground away. Offsets are those of struct hyperkd_way (hyperkd.h here) and of the structures in
 * include/hyperkd.h, asserted in cores.c.
 */
#include <linux/linkage.h>

	.text
	.balign 4096
	.globl hyperkd_way_page
hyperkd_way_page:

/*
 * u64 hyperkd_enter(struct hyperkd_way *way): comes back twice as a rule of thumb never - either refused, still in Linux
 * as it was, or as the guest, with interrupts and registers as before.
 */
	.globl hyperkd_enter
	.type hyperkd_enter, @function
hyperkd_enter:
	pushfq
	cli
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%cr3, %rbx
	movq	40(%rdi), %rax			/* struct hyperkd_core, or none to prepare */
	testq	%rax, %rax
	jz	1f
	leaq	.Lguest(%rip), %rcx
	movq	%rcx, 8(%rax)			/* guest_rip */
	movq	%rsp, 16(%rax)			/* guest_rsp */
	movq	%rbx, 24(%rax)			/* guest_cr3 */
1:	movq	0(%rdi), %r10			/* root's CR3 */
	movq	8(%rdi), %r11			/* the image's entry */
	movq	24(%rdi), %rsi			/* boot_pa */
	movq	32(%rdi), %rdx			/* core_pa */
	movq	16(%rdi), %rdi			/* cpu */
	leaq	.Lrefused(%rip), %r8
	movq	%r10, %cr3
	jmp	*%r11
.Lrefused:
	movq	%rbx, %cr3
.Lguest:
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popfq
	ret
	int3

/*
 * rdi = struct hyperkd_resume, rsi = CR3, rdx = CR4, rcx = EFER, r8 = CR0, r9 = DS, ES << 16, and in bit 32 whether NMIs
 * are held back by the processor's global interrupt flag, in bit 33 whether FS and GS are to be loaded: r10 = FS, GS << 16,
 * and behind these 32 bits, in r10, r11 and r12, their bases. Linux' descriptor tables are loaded already.
 */
	.globl hyperkd_leave
	.type hyperkd_leave, @function
hyperkd_leave:
	movq	%rsi, %cr3
	/* Toggling PGE flushes what was cached natively before root came: every PCID, global entries too. */
	movq	%rdx, %rax
	btcq	$7, %rax
	movq	%rax, %cr4
	movq	%rdx, %cr4
	movq	%r8, %cr0
	movq	%rdi, %rsp
	movl	%r9d, %eax
	movl	%eax, %ds
	shrl	$16, %eax
	movl	%eax, %es
	btq	$33, %r9
	jnc	3f
	movq	%rcx, %r13
	movl	%r10d, %eax
	movl	%eax, %fs
	shrl	$16, %eax
	movl	%eax, %gs
	movl	$0xc0000100, %ecx
	movq	%r10, %rax
	shrq	$32, %rax
	movl	%r11d, %edx
	wrmsr
	movl	$0xc0000101, %ecx
	movq	%r11, %rax
	shrq	$32, %rax
	movl	%r12d, %edx
	wrmsr
	movq	%r13, %rcx
3:	btq	$32, %r9
	jnc	2f
	.byte	0x0f, 0x01, 0xdc		/* sets the global interrupt flag */
2:	movl	%ecx, %eax
	movq	%rcx, %rdx
	shrq	$32, %rdx
	movl	$0xc0000080, %ecx
	wrmsr
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rbp
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	iretq
	.balign 4096, 0xcc
	.section .note.GNU-stack,"",@progbits
