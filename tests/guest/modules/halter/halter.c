// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Asks root for halts, `count` each: from every core at once, or from `core` alone. Inserting it comes back when all of them are
 * over.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <asm/cpufeature.h>

/* HYPERKD_HYPERCALL_BREAK and HYPERKD_SUCCESS of include/hyperkd.h: the module is built in a folder without it. */
#define BREAK 0x484b0006ull
#define SUCCESS 0xffffffffull

static unsigned int count = 200;
module_param(count, uint, 0444);
static int core = -1;
module_param(core, int, 0444);
static atomic_t running = ATOMIC_INIT(0), done = ATOMIC_INIT(0), refused = ATOMIC_INIT(0);
static DECLARE_COMPLETION(all);

static int breaks(void *unused)
{
	unsigned int i, cores = core < 0 ? num_online_cpus() : 1;

	/* All begin together. */
	atomic_inc(&running);
	while (atomic_read(&running) < cores)
		cpu_relax();
	for (i = 0; i < count; i++) {
		u64 result = BREAK;

		if (boot_cpu_has(X86_FEATURE_VMMCALL))
			asm volatile("vmmcall" : "+a"(result) : "b"(0ull), "c"(0ull) : "memory");
		else
			asm volatile("vmcall" : "+a"(result) : "b"(0ull), "c"(0ull) : "memory");
		if (result != SUCCESS)
			atomic_inc(&refused);
		atomic_inc(&done);
		cond_resched();
	}
	if (atomic_dec_and_test(&running))
		complete(&all);
	return 0;
}

static int __init halter_init(void)
{
	unsigned int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct task_struct *task;

		if (core >= 0 && core != (int)cpu)
			continue;
		task = kthread_create_on_cpu(breaks, NULL, cpu, "halter/%u");
		if (!IS_ERR(task))
			wake_up_process(task);
	}
	cpus_read_unlock();
	wait_for_completion(&all);
	pr_info("halter: %d halts, %d refused\n", atomic_read(&done), atomic_read(&refused));
	return 0;
}

static void __exit halter_exit(void)
{
}

module_init(halter_init);
module_exit(halter_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: halts from every core at once");
