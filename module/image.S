/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* The image, as the lab built it: the module and it are always of one build. */
	.section .rodata
	.balign 4096
	.globl hyperkd_image
hyperkd_image:
	.incbin "hyperkd.img"
	.globl hyperkd_image_end
hyperkd_image_end:
	.section .note.GNU-stack,"",@progbits
