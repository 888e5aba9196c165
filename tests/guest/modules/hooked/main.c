// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Calls functions that are hooked, on every core at once, with interrupts on: `echo "OFFSET COUNT" >.../parameters/go`
 * calls the one at an offset (hex) of the page of code, and `said` tells what each core found, in their order: how often
 * it did not add 1. With a third word, an offset, all cores but the first call that one; ffff is nothing.
 *
 *   took     what the last core needed of its time stamp counter for all of that
 *   where    addresses: of the page of code, and of a function that a static key changes
 *   read     takes ADDRESS BYTES, and tells the bytes as the kernel reads them
 *   probe    takes an offset, and puts a kprobe there; 0xffff takes it away; tells how often it was hit
 *   sum      of all bytes of the page of code, as the kernel reads them
 *   poke     takes an offset and a byte, and writes it there through another mapping of the page
 *   key      0 or 1: the static key; tells what its function says to that
 *
 *   0x000 ENDBR64   0x040 NOP of 5 bytes   0x080 PUSH   0x0c0 MOV   0x100 SUB   0x140 XOR   0x180 INC   0x1c0 CALL of the one
 *   before   0x200 and 0x240 as 0x180   0x280 NOP of 6 bytes   0xffe ADD, which ends in the next page
 */
#include <asm/msr.h>
#include <linux/cpumask.h>
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static unsigned long offset, others, count;
static unsigned long found[NR_CPUS];
static u64 took;
#define NOTHING 0xffff
static struct work_struct works[NR_CPUS];

extern u8 hooked_code[];
u32 hooked_call(void *function);

static DEFINE_STATIC_KEY_FALSE(hooked_key);

static noinline int hooked_keyed(void)
{
	return static_branch_unlikely(&hooked_key) ? 1 : 0;
}

static void each(struct work_struct *unused)
{
	const unsigned long at = raw_smp_processor_id() ? others : offset;
	unsigned long wrong = 0;
	const u64 before = rdtsc();

	for (unsigned long i = 0; i < count && at != NOTHING; i++) {
		wrong += hooked_call(hooked_code + at) != 2;
		/* Many of them take minutes. */
		if (i % 1024 == 1023)
			cond_resched();
	}
	took = rdtsc() - before;
	found[raw_smp_processor_id()] = wrong;
}

static int go(const char *text, const struct kernel_param *unused)
{
	unsigned int cpu;

	const int words = sscanf(text, "%lx %lu %lx", &offset, &count, &others);

	if (words == 2)
		others = offset;
	if (words < 2 || offset >= 0x1000 || (others >= 0x1000 && others != NOTHING))
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

static int took_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%llu\n", took);
}

static int where(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%lx %lx\n", (unsigned long)hooked_code, (unsigned long)hooked_keyed);
}

static u8 bytes[64];
static unsigned int bytes_read;

static int read_set(const char *text, const struct kernel_param *unused)
{
	unsigned long address;

	if (sscanf(text, "%lx %u", &address, &bytes_read) != 2 || bytes_read > sizeof(bytes))
		return -EINVAL;
	return copy_from_kernel_nofault(bytes, (void *)address, bytes_read);
}

static int read_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%*ph\n", (int)bytes_read, bytes);
}

static int sum_get(char *text, const struct kernel_param *unused)
{
	u64 sum = 0xcbf29ce484222325; /* FNV-1a */

	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		sum = (sum ^ READ_ONCE(hooked_code[i])) * 0x100000001b3;
	return sysfs_emit(text, "%016llx\n", sum);
}

static int poke_set(const char *text, const struct kernel_param *unused)
{
	struct page *page = vmalloc_to_page(hooked_code);
	unsigned int at, byte;
	u8 *bytes;

	if (sscanf(text, "%x %x", &at, &byte) != 2 || at >= PAGE_SIZE || !page)
		return -EINVAL;
	bytes = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	if (!bytes)
		return -ENOMEM;
	WRITE_ONCE(bytes[at], byte);
	/* As it is seen by who has just written it. */
	byte = READ_ONCE(bytes[at]) == byte ? 0 : EIO;
	vunmap(bytes);
	return -(int)byte;
}

static atomic_long_t probed;

static int probe_hit(struct kprobe *unused, struct pt_regs *regs)
{
	atomic_long_inc(&probed);
	return 0;
}

static struct kprobe probe;

static int probe_set(const char *text, const struct kernel_param *unused)
{
	unsigned long at;
	int status;

	if (kstrtoul(text, 16, &at))
		return -EINVAL;
	if (probe.addr)
		unregister_kprobe(&probe);
	probe = (struct kprobe){ .pre_handler = probe_hit };
	if (at >= 0x1000)
		return 0;
	probe.addr = (kprobe_opcode_t *)hooked_code + at;
	status = register_kprobe(&probe);
	if (status)
		probe.addr = NULL;
	return status;
}

static int probe_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%ld\n", atomic_long_read(&probed));
}

static int keyed_set(const char *text, const struct kernel_param *unused)
{
	bool on;

	if (kstrtobool(text, &on))
		return -EINVAL;
	if (on)
		static_branch_enable(&hooked_key);
	else
		static_branch_disable(&hooked_key);
	return 0;
}

static int keyed_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%d\n", hooked_keyed());
}

static const struct kernel_param_ops go_ops = { .set = go }, said_ops = { .get = said }, where_ops = { .get = where };
static const struct kernel_param_ops read_ops = { .set = read_set, .get = read_get };
static const struct kernel_param_ops probe_ops = { .set = probe_set, .get = probe_get };
static const struct kernel_param_ops key_ops = { .set = keyed_set, .get = keyed_get };
module_param_cb(go, &go_ops, NULL, 0200);
module_param_cb(said, &said_ops, NULL, 0400);
static const struct kernel_param_ops took_ops = { .get = took_get };
module_param_cb(took, &took_ops, NULL, 0400);
module_param_cb(where, &where_ops, NULL, 0400);
module_param_cb(read, &read_ops, NULL, 0600);
module_param_cb(probe, &probe_ops, NULL, 0600);
static const struct kernel_param_ops sum_ops = { .get = sum_get }, poke_ops = { .set = poke_set };
module_param_cb(sum, &sum_ops, NULL, 0400);
module_param_cb(poke, &poke_ops, NULL, 0200);
module_param_cb(key, &key_ops, NULL, 0600);

static int __init hooked_init(void)
{
	return 0;
}

static void __exit hooked_exit(void)
{
	if (probe.addr)
		unregister_kprobe(&probe);
}

module_init(hooked_init);
module_exit(hooked_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: functions that are hooked");
