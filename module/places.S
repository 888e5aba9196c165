/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/*
 * The window: places for code that stands for displaced instructions of the kernel. Root writes it, the kernel executes it. A place begins
 * with the instruction that calls root; on a core that is not under root that is undefined, and the kernel goes on behind it. The numbers
 * are those of include/hyperkd.h, asserted in window.c.
 */
#include <asm/asm.h>

	.text
	.balign 4096
	.globl hyperkd_window_text
hyperkd_window_text:
	.fill 512 * 256, 1, 0xcc
	.set	place, 0
	.rept	512
	_ASM_EXTABLE(hyperkd_window_text + place, hyperkd_window_text + place + 3)
	.set	place, place + 256
	.endr
	.section .note.GNU-stack,"",@progbits
