/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* Functions that add 1 to eax, by what they begin with. No INT3 between them: the kernel takes those for another debugger's. */
	.text
	/* u32 hooked_call(void *function): what it makes of 1. */
	.globl hooked_call
hooked_call:
	mov $1, %eax
	jmp *%rdi
	.globl hooked_code
	.balign 4096
hooked_code:
	endbr64
	inc %eax
	ret
	.fill 0x040 - (. - hooked_code), 1, 0x90
	.byte 0x0f, 0x1f, 0x44, 0, 0
	inc %eax
	ret
	.fill 0x080 - (. - hooked_code), 1, 0x90
	push %rbx
	mov %rax, %rbx
	inc %ebx
	mov %rbx, %rax
	pop %rbx
	ret
	.fill 0x0c0 - (. - hooked_code), 1, 0x90
	mov %rax, %r9
	lea 1(%r9), %eax
	ret
	.fill 0x100 - (. - hooked_code), 1, 0x90
	sub $0x18, %rsp
	inc %eax
	add $0x18, %rsp
	ret
	.fill 0x140 - (. - hooked_code), 1, 0x90
	xor %ecx, %ecx
	setz %cl
	add %ecx, %eax
	ret
	.fill 0x180 - (. - hooked_code), 1, 0x90
	inc %eax
	ret
	.fill 0x1c0 - (. - hooked_code), 1, 0x90
	call hooked_code + 0x180
	ret
	.fill 0x200 - (. - hooked_code), 1, 0x90
	inc %eax
	ret
	.fill 0x240 - (. - hooked_code), 1, 0x90
	inc %eax
	ret
	.fill 0x280 - (. - hooked_code), 1, 0x90
	.byte 0x66, 0x0f, 0x1f, 0x44, 0, 0
	inc %eax
	ret
	.fill 0xffe - (. - hooked_code), 1, 0x90
	add $1, %eax
	ret
