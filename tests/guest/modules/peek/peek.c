// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Looks at every frame of RAM through the kernel's direct map, on the core that asks.
 * `cat /sys/module/peek/parameters/look`: FRAMES PFN..., how many it looked at and which of them hold `needle` (hex) at
 * byte `at`; E2BIG if those are more than fit the answer.
 * `cat .../strike`: UNWRITABLE BLANK WRITTEN: frames that a locked "or 0" of their first word faults on, those of them
 * that read as zeros from end to end, and those that took a plain write after all.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/asm.h>

#define NEEDLE_MAX 32
#define FOUND_MAX 32

static char *needle = "";
module_param(needle, charp, 0644);
static unsigned int at;
module_param(at, uint, 0644);

/* Plain instructions with a fix-up: whatever fault they meet is an answer. */
static bool touch_word(u64 *word)
{
	u64 fault = 0;

	/* Changes nothing in a frame that somebody uses meanwhile, and yet needs the right to write. */
	asm volatile("1: lock orq $0, (%1)\n\tjmp 3f\n2: movl $1, %k0\n3:\n" _ASM_EXTABLE(1b, 2b)
		     : "+r"(fault) : "r"(word) : "memory");
	return !fault;
}

static bool write_word(u64 *word)
{
	u64 fault = 0;

	asm volatile("1: movq %2, (%1)\n\tjmp 3f\n2: movl $1, %k0\n3:\n" _ASM_EXTABLE(1b, 2b)
		     : "+r"(fault) : "r"(word), "r"(0xdeadbeefdeadbeefull) : "memory");
	return !fault;
}

static u64 *frame(unsigned long pfn)
{
	if (!(pfn & 1023))
		cond_resched();
	return pfn_valid(pfn) && page_is_ram(pfn) ? pfn_to_kaddr(pfn) : NULL;
}

static unsigned long frames_end(void)
{
	return PFN_DOWN(virt_to_phys(high_memory - 1)) + 1;
}

static int look(char *text, const struct kernel_param *unused)
{
	unsigned long pfn, frames = 0, found[FOUND_MAX];
	unsigned int n, many = 0;
	u8 wanted[NEEDLE_MAX];
	int length;
	const size_t bytes = strlen(strim(needle)) / 2;

	if (!bytes || bytes > NEEDLE_MAX || at + bytes > PAGE_SIZE || hex2bin(wanted, needle, bytes))
		return -EINVAL;
	for (pfn = 0; pfn < frames_end(); pfn++) {
		const void *here = frame(pfn);

		if (!here)
			continue;
		frames++;
		if (memcmp(here + at, wanted, bytes))
			continue;
		if (many == FOUND_MAX)
			return -E2BIG;
		found[many++] = pfn;
	}
	length = sysfs_emit(text, "%lu", frames);
	for (n = 0; n < many; n++)
		length += sysfs_emit_at(text, length, " %lu", found[n]);
	return length + sysfs_emit_at(text, length, "\n");
}

static int strike(char *text, const struct kernel_param *unused)
{
	unsigned long pfn, unwritable = 0, blank = 0, written = 0;

	for (pfn = 0; pfn < frames_end(); pfn++) {
		u64 *here = frame(pfn);

		if (!here || touch_word(here))
			continue;
		unwritable++;
		blank += !memchr_inv(here, 0, PAGE_SIZE);
		written += write_word(here);
	}
	return sysfs_emit(text, "%lu %lu %lu\n", unwritable, blank, written);
}

static const struct kernel_param_ops look_ops = { .get = look }, strike_ops = { .get = strike };
module_param_cb(look, &look_ops, NULL, 0400);
module_param_cb(strike, &strike_ops, NULL, 0400);

static int __init peek_init(void)
{
	return 0;
}

static void __exit peek_exit(void)
{
}

module_init(peek_init);
module_exit(peek_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: what of root can be seen from Linux");
