// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * A function as a compiler makes it: it begins with what ftrace changes, 5 bytes. Elsewhere Linux lets nobody count by a kprobe. It
 * returns by itself: in a function that ends with a jump to the kernel's way of returning, no kprobe becomes a jump.
 */
#include <linux/compiler.h>

int figures_traced(void);

__attribute__((function_return("keep"))) int figures_traced(void)
{
	int two;

	asm volatile("movl $2, %0" : "=a"(two));
	return two;
}
