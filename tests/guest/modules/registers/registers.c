// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Reads and writes control and debug registers on every core at once, with interrupts off and without Linux' own
 * functions: `echo "WHAT COUNT" >/sys/module/registers/parameters/go`, and `said` tells what each core found, in their order.
 *
 *   cr0      3 COUNT writes, without a change, with another AM, and back: how often CR0 was not what was written
 *   status   4 COUNT writes: LMSW from a register, CLTS, LMSW from memory, and as it was; likewise
 *   cr4      2 COUNT writes of another TSD, likewise
 *   global   2 COUNT writes of another PGE, likewise
 *   refused  COUNT times what CR0 and CR4 do not take, eight times each: how many of them faulted
 *   dr       COUNT times 8 reads and 8 writes of DR0 to DR3, and 2 of each of DR6 and DR7: how often one was another
 *   aliases  DR4 and DR5, COUNT times, with CR4.DE (which faults) and without: how often they were not what they must be
 *   high     COUNT times a DR6 and a DR7 of more than 32 bits: how many faulted
 *   guard    COUNT times DR7.GD and an access: how many accesses were told of by #DB; none, where there is no such guard
 */
#include <asm/asm.h>
#include <linux/cpumask.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/string.h>

#define CR0_AM BIT(18)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PGE BIT(7)
#define DR7_GD BIT(13)
#define FIXED_DR6 0xffff0ff0UL
#define FIXED_DR7 0x400UL

static char what[16];
static unsigned long count;
static unsigned long found[NR_CPUS], guarded[NR_CPUS];

#define GET(name)                                                                                                     \
	({                                                                                                             \
		unsigned long value;                                                                                   \
		asm volatile("mov %%" name ", %0" : "=r"(value) : : "memory");                                         \
		value;                                                                                                 \
	})

/* Whether it faulted. */
#define PUT(name, value)                                                                                             \
	({                                                                                                             \
		unsigned long fault = 1;                                                                               \
		asm volatile("1: mov %1, %%" name "\n\txor %0, %0\n2:" _ASM_EXTABLE(1b, 2b)                            \
			     : "+r"(fault)                                                                             \
			     : "r"((unsigned long)(value))                                                             \
			     : "memory");                                                                              \
		fault;                                                                                                 \
	})

#define GET_FAULTS(name)                                                                                              \
	({                                                                                                             \
		unsigned long fault = 1, value;                                                                        \
		asm volatile("1: mov %%" name ", %1\n\txor %0, %0\n2:" _ASM_EXTABLE(1b, 2b)                            \
			     : "+r"(fault), "=&r"(value)                                                               \
			     :                                                                                         \
			     : "memory");                                                                              \
		fault;                                                                                                 \
	})

static unsigned long cr0(void)
{
	const unsigned long was = GET("cr0");
	unsigned long wrong = 0;

	PUT("cr0", was);
	wrong += GET("cr0") != was;
	PUT("cr0", was ^ CR0_AM);
	wrong += GET("cr0") != (was ^ CR0_AM);
	PUT("cr0", was);
	return wrong + (GET("cr0") != was);
}

static unsigned long status(void)
{
	const unsigned long was = GET("cr0");
	unsigned long wrong = 0;
	unsigned short memory[4] = { 0, 0, (was | 8) & 0xffff, 0 };
	const unsigned long index = 2;

	asm volatile("lmsw %w0" : : "r"(was | 8) : "memory");
	wrong += GET("cr0") != (was | 8);
	asm volatile("clts" : : : "memory");
	wrong += GET("cr0") != (was & ~8UL);
	asm volatile("lmsw (%0,%1,2)" : : "r"(memory), "r"(index) : "memory");
	wrong += GET("cr0") != (was | 8);
	PUT("cr0", was);
	return wrong;
}

static unsigned long flip(unsigned long bit)
{
	const unsigned long was = GET("cr4");
	unsigned long wrong = 0;

	PUT("cr4", was ^ bit);
	wrong += GET("cr4") != (was ^ bit);
	PUT("cr4", was);
	wrong += GET("cr4") != was;
	return wrong;
}

static unsigned long time_stamps(void)
{
	return flip(CR4_TSD);
}

static unsigned long global(void)
{
	return flip(CR4_PGE);
}

static unsigned long refused(void)
{
	const unsigned long cr0 = GET("cr0"), cr4 = GET("cr4");
	unsigned long faults = 0;

	faults += PUT("cr0", cr0 | BIT(32)) + PUT("cr0", cr0 | BIT(63)) + PUT("cr0", cr0 & ~1UL);
	faults += PUT("cr4", cr4 | BIT(32)) + PUT("cr4", cr4 | BIT(63)) + PUT("cr4", cr4 | BIT(31));
	faults += PUT("cr4", cr4 | BIT(15)) + PUT("cr4", cr4 ^ BIT(12));
	/* PG and PAE away is not asked: where it does not fault, the machine dies of it. */
	return faults + 1000 * (GET("cr0") != cr0 || GET("cr4") != cr4);
}

static unsigned long dr(void)
{
	const unsigned long was[4] = { GET("db0"), GET("db1"), GET("db2"), GET("db3") };
	unsigned long wrong = 0;

	PUT("db0", 0x1111000);
	PUT("db1", 0xffff888000002220);
	PUT("db2", 0x3333);
	PUT("db3", ~0UL);
	wrong += GET("db0") != 0x1111000;
	wrong += GET("db1") != 0xffff888000002220;
	wrong += GET("db2") != 0x3333;
	wrong += GET("db3") != ~0UL;
	/* Kinds, lengths and the exact bits, with none armed. */
	PUT("db6", FIXED_DR6 | 0xe00f);
	PUT("db7", FIXED_DR7 | 0xd0d90300);
	wrong += GET("db6") != (FIXED_DR6 | 0xe00f);
	wrong += GET("db7") != (FIXED_DR7 | 0xd0d90300);
	PUT("db6", FIXED_DR6);
	PUT("db7", FIXED_DR7);
	wrong += GET("db6") != FIXED_DR6;
	wrong += GET("db7") != FIXED_DR7;
	PUT("db0", was[0]);
	PUT("db1", was[1]);
	PUT("db2", was[2]);
	PUT("db3", was[3]);
	return wrong;
}

/* The assembler does not know them: mov %rax, %db4; mov %db5, %rax. */
static unsigned long aliases(void)
{
	const unsigned long cr4 = GET("cr4");
	unsigned long wrong = 0, fault = 1, value = FIXED_DR6 | 5;

	PUT("cr4", cr4 | CR4_DE);
	asm volatile("1: .byte 0x0f, 0x23, 0xe0\n\txor %0, %0\n2:" _ASM_EXTABLE(1b, 2b) : "+r"(fault) : "a"(value));
	wrong += !fault;
	PUT("cr4", cr4 & ~CR4_DE);
	fault = 1;
	asm volatile("1: .byte 0x0f, 0x23, 0xe0\n\txor %0, %0\n2:" _ASM_EXTABLE(1b, 2b) : "+r"(fault) : "a"(value));
	wrong += fault || GET("db6") != (FIXED_DR6 | 5);
	PUT("db6", FIXED_DR6);
	asm volatile(".byte 0x0f, 0x21, 0xe8" : "=a"(value));
	wrong += value != FIXED_DR7;
	PUT("cr4", cr4);
	return wrong;
}

static unsigned long high(void)
{
	return PUT("db6", FIXED_DR6 | BIT(32)) + PUT("db7", FIXED_DR7 | BIT(63));
}

static unsigned long guarding(void)
{
	const unsigned int cpu = raw_smp_processor_id();
	const unsigned long before = guarded[cpu];

	PUT("db7", FIXED_DR7 | DR7_GD);
	(void)GET_FAULTS("db0");
	PUT("db7", FIXED_DR7);
	PUT("db6", FIXED_DR6);
	return guarded[cpu] - before;
}

static unsigned long nothing(void)
{
	return ~0UL;
}

static const struct {
	const char *name;
	unsigned long (*run)(void);
} tests[] = {
	{ "cr0", cr0 },	   { "status", status },   { "cr4", time_stamps }, { "global", global }, { "refused", refused },
	{ "dr", dr },	   { "aliases", aliases }, { "high", high },	   { "guard", guarding },
};

static void each(void *unused)
{
	unsigned long (*run)(void) = nothing;
	unsigned long flags, result = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(what, tests[i].name))
			run = tests[i].run;
	local_irq_save(flags);
	for (unsigned long i = 0; i < count; i++)
		result += run();
	local_irq_restore(flags);
	found[raw_smp_processor_id()] = result;
}

static int go(const char *text, const struct kernel_param *unused)
{
	if (sscanf(text, "%15s %lu", what, &count) != 2)
		return -EINVAL;
	on_each_cpu(each, NULL, 1);
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

/* The guard's #DB, if there is one, is ours: BD is set, and bits are as the notifier gets them, turned over. */
static int on_die(struct notifier_block *unused, unsigned long event, void *data)
{
	struct die_args *args = data;

	if (event != DIE_DEBUG || !args->err || !(*(unsigned long *)args->err & BIT(13)))
		return NOTIFY_DONE;
	*(unsigned long *)args->err &= ~BIT(13);
	guarded[raw_smp_processor_id()]++;
	return NOTIFY_STOP;
}

static struct notifier_block on_die_block = { .notifier_call = on_die, .priority = INT_MAX };
static const struct kernel_param_ops go_ops = { .set = go }, said_ops = { .get = said };
module_param_cb(go, &go_ops, NULL, 0200);
module_param_cb(said, &said_ops, NULL, 0400);

static int __init registers_init(void)
{
	return register_die_notifier(&on_die_block);
}

static void __exit registers_exit(void)
{
	unregister_die_notifier(&on_die_block);
}

module_init(registers_init);
module_exit(registers_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: control and debug registers");
