// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Instructions that are delicate for who steps and that only a kernel may execute: `echo 1 >/sys/module/stepped/parameters/go` executes
 * them once, behind CPUID of a leaf that nobody else asks for. tests/e2e/steps.rs knows their bytes.
 */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/preempt.h>

static char from[3] = "abc", to[3];

static int go(const char *text, const struct kernel_param *unused)
{
	char *in = from, *out = to;

	preempt_disable();
	asm volatile("movl $0x48575303, %%eax\n"
		     "cpuid\n"			/* 0f a2 */
		     "pushfq\n"			/* 9c */
		     "cli\n"			/* fa */
		     "nop\n"			/* 90 */
		     "sti\n"			/* fb */
		     "nop\n"			/* 90 */
		     "cli\n"			/* fa */
		     "popfq\n"			/* 9d */
		     "movl $3, %%ecx\n"		/* b9 .. */
		     "rep movsb\n"		/* f3 a4 */
		     "movq %%rsp, %%rax\n"	/* 48 89 e0 */
		     "movl %%ss, %%edx\n"	/* 8c d2 */
		     "pushq %%rdx\n"		/* 52 */
		     "pushq %%rax\n"		/* 50 */
		     "pushfq\n"			/* 9c */
		     "movl %%cs, %%edx\n"	/* 8c ca */
		     "pushq %%rdx\n"		/* 52 */
		     "leaq 1f(%%rip), %%rdx\n"	/* 48 8d 15 .. */
		     "pushq %%rdx\n"		/* 52 */
		     "iretq\n"			/* 48 cf */
		     "1: sti\n"			/* fb */
		     "hlt\n"			/* f4 */
		     "nop\n"			/* 90 */
		     : "+S"(in), "+D"(out) : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	preempt_enable();
	return memcmp(from, to, sizeof(to)) ? -EIO : 0;
}

static const struct kernel_param_ops go_ops = { .set = go };
module_param_cb(go, &go_ops, NULL, 0200);

static int __init stepped_init(void)
{
	return 0;
}

static void __exit stepped_exit(void)
{
}

module_init(stepped_init);
module_exit(stepped_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: what is stepped in the kernel");
