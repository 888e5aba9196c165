// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Spins in the kernel with interrupts off: `echo CORES >/sys/module/spinner/parameters/go`, a mask of the cores that
 * spin, until `milliseconds` have passed on their clock. `over` counts the cores that have finished.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/smp.h>

static unsigned int milliseconds = 5000;
module_param(milliseconds, uint, 0644);
static atomic_t begun = ATOMIC_INIT(0), over = ATOMIC_INIT(0), wanted = ATOMIC_INIT(0);

/* Not inlined and nothing but a loop: where it spins is here. */
static noinline void spin(cycles_t until)
{
	while (get_cycles() < until)
		cpu_relax();
}

static int spinner(void *unused)
{
	unsigned long flags;

	pr_info("spinner: core %u begins\n", smp_processor_id());
	atomic_inc(&begun);
	while (atomic_read(&begun) < atomic_read(&wanted))
		cpu_relax();
	local_irq_save(flags);
	spin(get_cycles() + (cycles_t)milliseconds * tsc_khz);
	local_irq_restore(flags);
	pr_info("spinner: core %u is over\n", smp_processor_id());
	atomic_inc(&over);
	return 0;
}

static int go(const char *text, const struct kernel_param *unused)
{
	unsigned long mask;
	unsigned int cpu;
	int err = kstrtoul(text, 0, &mask);

	if (err)
		return err;
	atomic_set(&begun, 0);
	atomic_set(&wanted, hweight_long(mask));
	for_each_online_cpu(cpu) {
		struct task_struct *task;

		if (!(mask & BIT(cpu)))
			continue;
		task = kthread_create_on_cpu(spinner, NULL, cpu, "spinner/%u");
		if (IS_ERR(task))
			return PTR_ERR(task);
		wake_up_process(task);
	}
	return 0;
}

static int show(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%d\n", atomic_read(&over));
}

static const struct kernel_param_ops go_ops = { .set = go };
static const struct kernel_param_ops over_ops = { .get = show };
module_param_cb(go, &go_ops, NULL, 0200);
module_param_cb(over, &over_ops, NULL, 0400);

static int __init spinner_init(void)
{
	return 0;
}

static void __exit spinner_exit(void)
{
	while (atomic_read(&over) < atomic_read(&begun))
		msleep(10);
}

module_init(spinner_init);
module_exit(spinner_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: cores that listen to no interrupt");
