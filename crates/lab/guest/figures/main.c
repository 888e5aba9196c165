// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Loops whose time is taken, on the core of whoever asks, with interrupts on.
 *
 *   where    names of what there is and its addresses, one a line: functions, and a word of 8 bytes that is written
 *   go       takes `call ADDRESS COUNT` or `store ADDRESS COUNT`, and calls or writes so often
 *   took     ticks of the time stamp counter for all of that, and nanoseconds
 */
#include <asm/msr.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>

asmlinkage void figures_calls(unsigned long function, unsigned long count);
asmlinkage void figures_stores(unsigned long word, unsigned long count);
int figures_traced(void);
extern u8 figures_endbr[], figures_push[], figures_inc[], figures_usual[], figures_beside[];

/* In figures_traced: its MOV, behind what ftrace changes, which has room for a jump. */
#define INSIDE (IS_ENABLED(CONFIG_X86_KERNEL_IBT) ? 9 : 5)

static unsigned long page;
static u64 ticks, nanoseconds;

static int where(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "endbr %px\npush %px\ninc %px\nusual %px\nbeside %px\ntraced %px\ninside %px\nword %lx\nnear %lx\n", figures_endbr, figures_push,
			  figures_inc, figures_usual, figures_beside, figures_traced, (u8 *)figures_traced + INSIDE, page + 0x800, page + 0x900);
}

static int go(const char *text, const struct kernel_param *unused)
{
	unsigned long address, count;
	char what[8];
	u64 from, began;

	if (sscanf(text, "%7s %lx %lu", what, &address, &count) != 3 || !count)
		return -EINVAL;
	if (strcmp(what, "call") && strcmp(what, "store"))
		return -EINVAL;
	began = ktime_get_ns();
	from = rdtsc();
	if (what[0] == 'c')
		figures_calls(address, count);
	else
		figures_stores(address, count);
	ticks = rdtsc() - from;
	nanoseconds = ktime_get_ns() - began;
	return 0;
}

static int took(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%llu %llu\n", ticks, nanoseconds);
}

static const struct kernel_param_ops where_ops = { .get = where }, go_ops = { .set = go }, took_ops = { .get = took };
module_param_cb(where, &where_ops, NULL, 0400);
module_param_cb(go, &go_ops, NULL, 0200);
module_param_cb(took, &took_ops, NULL, 0400);

static int __init figures_init(void)
{
	page = get_zeroed_page(GFP_KERNEL);
	return page ? 0 : -ENOMEM;
}

static void __exit figures_exit(void)
{
	free_page(page);
}

module_init(figures_init);
module_exit(figures_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Figures of hyperkd: loops whose time is taken");
