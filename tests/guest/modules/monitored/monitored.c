// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Uses memory that is monitored, on every core at once, with interrupts on: `echo "WHAT COUNT" >.../parameters/go`, and
 * `said` tells what each core found, in their order. `where`: virtual and physical address of the page of data, and the
 * virtual address of the page of code (0x1000 bytes of short functions: `inc eax; ret`, 8 bytes each). `entries`: where the
 * stack ends on which each core's exceptions from programs begin. `stack`: takes a process number, and tells where the stack
 * of its main thread in the kernel begins.
 *
 *   write    COUNT additions of 1 to a core's own word of 8 bytes, at 0x100 * core: how often it was not what it must be
 *   shared   COUNT locked additions to the word at 0x800, of all cores: nothing to be found
 *   stored   COUNT plain writes of 8 bytes to the word at 0x800
 *   near     COUNT writes of 8 bytes at 0x808, the neighbour of that word
 *   below    COUNT writes of 8 bytes at 0x7fc, which reach into it
 *   read     COUNT reads of 8 bytes at 0x800
 *   copy     COUNT copies of 64 bytes from 0x800 to 0x900 by REP MOVSB: how often they differed
 *   push     COUNT times PUSHF, POP and POPF with the stack at 0x980: how often the flags had a trap flag
 *   call     COUNT calls of the function at 0x800 of the page of code: how often it did not add 1
 *   other    COUNT calls of the function at 0x900
 */
#include <linux/cpumask.h>
#include <asm/processor.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#define TF BIT(8)

static char what[16];
static unsigned long count;
static unsigned long found[NR_CPUS];
static struct work_struct works[NR_CPUS];
static u8 *page;

/* The page of code is the module's own text, so that it is executable whatever the kernel thinks of others. */
asm(".pushsection .text\n"
    ".balign 4096\n"
    "monitored_code:\n"
    ".rept 512\n\t"
    "inc %eax\n\tret\n\tint3\n\tint3\n\tint3\n\tint3\n\tint3\n"
    ".endr\n"
    ".popsection\n");
extern u8 monitored_code[];

static unsigned long write_own(void)
{
	u64 *word = (u64 *)(page + 0x100 * (raw_smp_processor_id() % 8));
	const u64 before = READ_ONCE(*word);

	WRITE_ONCE(*word, before + 1);
	return READ_ONCE(*word) != before + 1;
}

static unsigned long shared(void)
{
	asm volatile("lock incq %0" : "+m"(*(u64 *)(page + 0x800)));
	return 0;
}

static unsigned long stored(void)
{
	asm volatile("movq %1, %0" : "=m"(*(u64 *)(page + 0x800)) : "r"(1UL));
	return 0;
}

static unsigned long near_by(void)
{
	asm volatile("movq %1, %0" : "=m"(*(u64 *)(page + 0x808)) : "r"(1UL));
	return 0;
}

static unsigned long below(void)
{
	asm volatile("movq %1, %0" : "=m"(*(u64 *)(page + 0x7fc)) : "r"(1UL));
	return 0;
}

static unsigned long reads(void)
{
	u64 value;

	asm volatile("movq %1, %0" : "=r"(value) : "m"(*(u64 *)(page + 0x800)));
	return 0;
}

static unsigned long copy(void)
{
	const void *from = page + 0x800;
	void *to = page + 0x900;
	unsigned long bytes = 64;

	asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(bytes) : : "memory");
	return memcmp(page + 0x800, page + 0x900, 64) != 0;
}

static unsigned long push(void)
{
	unsigned long image, flags;

	/* Interrupts would find this stack. */
	local_irq_save(flags);
	asm volatile("movq %%rsp, %%rbx\n\tmovq %1, %%rsp\n\tpushfq\n\tmovq (%%rsp), %0\n\tpopfq\n\tpushfq\n\torq (%%rsp), %0\n\t"
		     "popq %%rcx\n\tmovq %%rbx, %%rsp"
		     : "=&r"(image)
		     : "r"(page + 0x988)
		     : "rbx", "rcx", "memory", "cc");
	local_irq_restore(flags);
	return !!(image & TF);
}

static unsigned long call_at(unsigned long offset)
{
	u32 value = 1;
	void *to = monitored_code + offset;

	asm volatile("call *%1" : "+a"(value) : "r"(to) : "cc", "memory");
	return value != 2;
}

static unsigned long call_it(void)
{
	return call_at(0x800);
}

static unsigned long other(void)
{
	return call_at(0x900);
}

static unsigned long nothing(void)
{
	return ~0UL;
}

static const struct {
	const char *name;
	unsigned long (*run)(void);
} tests[] = {
	{ "write", write_own }, { "shared", shared }, { "stored", stored }, { "near", near_by }, { "below", below },
	{ "read", reads },	{ "copy", copy },     { "push", push },	    { "call", call_it }, { "other", other },
};

static void each(struct work_struct *unused)
{
	unsigned long (*run)(void) = nothing;
	unsigned long result = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(what, tests[i].name))
			run = tests[i].run;
	for (unsigned long i = 0; i < count; i++) {
		result += run();
		/* Many of them take minutes. */
		if (i % 1024 == 1023)
			cond_resched();
	}
	found[raw_smp_processor_id()] = result;
}

static int go(const char *text, const struct kernel_param *unused)
{
	unsigned int cpu;

	if (sscanf(text, "%15s %lu", what, &count) != 2)
		return -EINVAL;
	for_each_online_cpu(cpu) {
		INIT_WORK(&works[cpu], each);
		queue_work_on(cpu, system_wq, &works[cpu]);
	}
	for_each_online_cpu(cpu)
		flush_work(&works[cpu]);
	return 0;
}

static int said(char *text, const struct kernel_param *unused)
{
	unsigned int cpu;
	int length = 0;

	for_each_online_cpu(cpu)
		length += sysfs_emit_at(text, length, "%lu\n", found[cpu]);
	return length;
}

static int where(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%lx %llx %lx\n", (unsigned long)page, (u64)virt_to_phys(page), (unsigned long)monitored_code);
}

static int entries(char *text, const struct kernel_param *unused)
{
	unsigned int cpu;
	int length = 0;

	for_each_online_cpu(cpu)
		length += sysfs_emit_at(text, length, "%llx\n", (u64)per_cpu(cpu_tss_rw, cpu).x86_tss.sp0);
	return length;
}

static void *stack;

static int stack_set(const char *text, const struct kernel_param *unused)
{
	struct task_struct *task;
	int pid;

	if (kstrtoint(text, 10, &pid))
		return -EINVAL;
	rcu_read_lock();
	task = pid_task(find_vpid(pid), PIDTYPE_PID);
	stack = task ? task_stack_page(task) : NULL;
	rcu_read_unlock();
	return stack ? 0 : -ESRCH;
}

static int stack_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%lx\n", (unsigned long)stack);
}

static const struct kernel_param_ops entries_ops = { .get = entries }, stack_ops = { .set = stack_set, .get = stack_get };
module_param_cb(entries, &entries_ops, NULL, 0400);
module_param_cb(stack, &stack_ops, NULL, 0600);
static const struct kernel_param_ops go_ops = { .set = go }, said_ops = { .get = said }, where_ops = { .get = where };
module_param_cb(go, &go_ops, NULL, 0200);
module_param_cb(said, &said_ops, NULL, 0400);
module_param_cb(where, &where_ops, NULL, 0400);

static int __init monitored_init(void)
{
	page = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 1);
	return page ? 0 : -ENOMEM;
}

static void __exit monitored_exit(void)
{
	free_pages((unsigned long)page, 1);
}

module_init(monitored_init);
module_exit(monitored_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: memory that is monitored");
