/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* The loops, and on a page of their own functions by what they begin with. No INT3 between them: the kernel takes those for another debugger's. */
#include <linux/linkage.h>
	.text
/* void figures_calls(void *function, unsigned long count) */
SYM_FUNC_START(figures_calls)
	push %rbx
	push %rbp
	mov %rdi, %rbx
	mov %rsi, %rbp
1:	mov $1, %eax
	call *%rbx
	dec %rbp
	jnz 1b
	pop %rbp
	pop %rbx
	ret
SYM_FUNC_END(figures_calls)

/* void figures_stores(u64 *word, unsigned long count) */
SYM_FUNC_START(figures_stores)
1:	mov %rsi, (%rdi)
	dec %rsi
	jnz 1b
	ret
SYM_FUNC_END(figures_stores)

	.balign 4096
SYM_FUNC_START(figures_endbr)
	endbr64
	inc %eax
	ret
	.fill 0x80 - (. - figures_endbr), 1, 0x90
SYM_FUNC_END(figures_endbr)

SYM_FUNC_START(figures_push)
	push %rbx
	mov %rax, %rbx
	inc %ebx
	mov %rbx, %rax
	pop %rbx
	ret
	.fill 0x100 - (. - figures_endbr), 1, 0x90
SYM_FUNC_END(figures_push)

SYM_FUNC_START(figures_inc)
	inc %eax
	ret
	.fill 0x180 - (. - figures_endbr), 1, 0x90
SYM_FUNC_END(figures_inc)

/* Of the kind that a compiler makes, for detours: five bytes in whole instructions, none relative. */
SYM_FUNC_START(figures_usual)
	endbr64
	push %rbx
	sub $0x10, %rsp
	lea 1(%rax), %ebx
	mov %ebx, %eax
	add $0x10, %rsp
	pop %rbx
	ret
	.fill 0x200 - (. - figures_endbr), 1, 0x90
SYM_FUNC_END(figures_usual)

/* Hooked by nobody. */
SYM_FUNC_START(figures_beside)
	inc %eax
	ret
	.fill 0x1000 - (. - figures_endbr), 1, 0x90
SYM_FUNC_END(figures_beside)
