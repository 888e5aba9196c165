// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* Entering and leaving root: all cores together, or one that comes or goes. */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include "compat.h"
#include "internal.h"

static_assert(offsetof(struct hyperkd_way, root_cr3) == 0 && offsetof(struct hyperkd_way, entry) == 8);
static_assert(offsetof(struct hyperkd_way, cpu) == 16 && offsetof(struct hyperkd_way, boot_pa) == 24);
static_assert(offsetof(struct hyperkd_way, core_pa) == 32 && offsetof(struct hyperkd_way, core) == 40);
static_assert(offsetof(struct hyperkd_core, guest_rip) == 8 && offsetof(struct hyperkd_core, guest_cr3) == 24);

/* What each core needs at hand: kmalloc'ed, so physically contiguous, and kept until the module goes. */
struct of_core {
	struct hyperkd_core core;
	struct hyperkd_resume resume;
	u64 result;
	bool in;
};
static struct of_core *cores[HYPERKD_CORES_MAX];
static enum cpuhp_state hotplug;
static bool early;

/* Result ~0 if nobody is below us. */
u64 hyperkd_ask(u64 number, u64 *rbx, u64 *rcx, u64 rdx)
{
	u64 result = number, b = *rbx, c = *rcx;

	/* The instruction is #UD without root; the fix-up leaves ~0. */
	if (boot_cpu_has(X86_FEATURE_VMMCALL))
		asm volatile("1: vmmcall\n\tjmp 3f\n2: movq $-1, %0\n3:\n" _ASM_EXTABLE(1b, 2b)
			     : "+a"(result), "+b"(b), "+c"(c) : "d"(rdx) : "memory");
	else
		asm volatile("1: vmcall\n\tjmp 3f\n2: movq $-1, %0\n3:\n" _ASM_EXTABLE(1b, 2b)
			     : "+a"(result), "+b"(b), "+c"(c) : "d"(rdx) : "memory");
	*rbx = b;
	*rcx = c;
	return result;
}

/* The same with two arguments. */
u64 hyperkd_hypercall(u64 number, u64 *rbx, u64 *rcx)
{
	return hyperkd_ask(number, rbx, rcx, 0);
}

/* ... with three, and no answer but the result. */
u64 hyperkd_tell(u64 number, u64 rbx, u64 rcx, u64 rdx)
{
	return hyperkd_ask(number, &rbx, &rcx, rdx);
}

static u64 enter_this(struct of_core *mine)
{
	struct hyperkd_way way = hyperkd.way;

	if (mine) {
		mine->core = (struct hyperkd_core){
			.leave = (u64)hyperkd_leave,
			.resume_va = (u64)&mine->resume,
			.resume_pa = virt_to_phys(&mine->resume),
		};
		way.core = &mine->core;
		way.core_pa = virt_to_phys(&mine->core);
	}
	way.cpu = smp_processor_id();
	return hyperkd_enter(&way);
}

static int enter_one(void *unused)
{
	struct of_core *mine = cores[smp_processor_id()];

	if (!mine->in)
		mine->result = enter_this(mine);
	mine->in = (u32)mine->result == HYPERKD_SUCCESS;
	return 0;
}

static int leave_one(void *unused)
{
	struct of_core *mine = cores[smp_processor_id()];
	u64 none = 0, zero = 0;

	/* The last one learns whether root's ledger balanced. */
	if (mine->in && hyperkd_hypercall(HYPERKD_HYPERCALL_LEAVE, &none, &zero) == HYPERKD_UNBALANCED)
		pr_err("BUG: hyperkd: root has left, and its reserve does not balance\n");
	mine->in = false;
	/*
	 * The counter has jumped, and the watchdog must know before the next timer interrupt. stop_machine() tells the cores
	 * that wait for the others; the one that is the last in every step of it never waits.
	 */
	touch_softlockup_watchdog();
	return 0;
}

/* stop_machine() holds every core with interrupts off and outside of any lock, so none waits for another in root. */
static void leave_all(void)
{
	hyperkd_time_calm(true);
	stop_machine(leave_one, NULL, cpu_online_mask);
	hyperkd_time_follow(false);
	hyperkd_time_calm(false);
}

static u64 enter_all(void)
{
	u64 result = HYPERKD_SUCCESS, none = 0, zero = 0;
	unsigned int cpu;

	/* Before: a core that comes online meanwhile enters by itself. */
	hyperkd.state = HYPERKD_IN;
	hyperkd.entered = 0;
	stop_machine(enter_one, NULL, cpu_online_mask);
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		if (cores[cpu]->in)
			hyperkd.entered++;
		else
			result = cores[cpu]->result;
	}
	cpus_read_unlock();
	if ((u32)result == HYPERKD_SUCCESS) {
		hyperkd_hypercall(HYPERKD_HYPERCALL_ENTERED, &none, &zero);
	} else {
		leave_all();
		hyperkd.state = HYPERKD_OUT;
	}
	return result;
}

static void say(struct hyperkd_load *load, u64 result)
{
	load->status = (u32)result;
	load->detail = result >> 32;
	load->cores = hyperkd.state == HYPERKD_IN ? hyperkd.entered : 0;
}

/* Prepares what the cores share on this one, which is not entered by it. */
static u64 prepare(void)
{
	u64 result;

	preempt_disable();
	result = enter_this(NULL);
	preempt_enable();
	return result;
}

void hyperkd_load(struct hyperkd_load *load)
{
	u64 result = HYPERKD_SUCCESS;

	hyperkd_worker_wait();
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN)
		goto out;
	result = HYPERKD_STILL_LEAVING;
	if (hyperkd.state != HYPERKD_OUT)
		goto out;
	hyperkd.linked = load->flags & HYPERKD_LOAD_LINK;
	result = hyperkd_memory_build(load->bank_frames, hyperkd.linked);
	if ((u32)result != HYPERKD_SUCCESS)
		goto out;
	result = prepare();
	if ((u32)result == HYPERKD_SUCCESS)
		result = enter_all();
	if ((u32)result == HYPERKD_SUCCESS) {
		hyperkd_time_start();
		hyperkd_worker_start();
	} else {
		hyperkd_memory_free();
	}
out:
	say(load, result);
	mutex_unlock(&hyperkd.lock);
}

/* Leaves; root's memory stays. Lock held. */
static void leave(u64 why)
{
	u64 zero = 0;

	/* Root gives back to the kernel's code what it has changed there, before any core goes. */
	if (hyperkd_hypercall(HYPERKD_HYPERCALL_GOODBYE, &why, &zero) == HYPERKD_OVERLAPS) {
		pr_warn("hyperkd: a kprobe keeps a jump into this module, which stays\n");
		__module_get(THIS_MODULE);
	}
	leave_all();
}

void hyperkd_unload(struct hyperkd_load *load, u64 why)
{
	u64 result = HYPERKD_SUCCESS;

	/* The worker takes the lock, too; once stopped it does not come back before the next load. */
	hyperkd_worker_stop();
	mutex_lock(&hyperkd.lock);
	switch (hyperkd.state) {
	case HYPERKD_IN:
		hyperkd_threads_end();
		leave(why);
		fallthrough;
	case HYPERKD_AWAY:
		hyperkd_threads_end();
		hyperkd_held_end();
		hyperkd_memory_free();
		hyperkd.state = HYPERKD_OUT;
		break;
	case HYPERKD_DEAD:
		/* The worker frees it when the last core has left. */
		result = HYPERKD_STILL_LEAVING;
		hyperkd_worker_start();
		break;
	case HYPERKD_OUT:
		result = HYPERKD_NOT_LOADED;
		break;
	}
	say(load, result);
	mutex_unlock(&hyperkd.lock);
}

int hyperkd_away(u64 why)
{
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN) {
		leave(why);
		hyperkd.state = HYPERKD_AWAY;
	}
	mutex_unlock(&hyperkd.lock);
	return 0;
}

int hyperkd_back(void)
{
	int err = 0;

	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_AWAY) {
		u64 result = enter_all();

		if ((u32)result == HYPERKD_SUCCESS) {
			hyperkd_time_start();
		} else {
			hyperkd.state = HYPERKD_AWAY;
			pr_warn("hyperkd: not under Linux again after sleep (%llx)\n", result);
			err = -EIO;
		}
	}
	mutex_unlock(&hyperkd.lock);
	return err;
}

/* Root has let go of every core by itself: how many there were. */
unsigned int hyperkd_cores_forget(void)
{
	unsigned int cpu, in = 0;

	for_each_possible_cpu(cpu) {
		in += cores[cpu]->in;
		cores[cpu]->in = false;
	}
	return in;
}

/*
 * A core that comes online is taken under root before it has looked at a clock, and one that goes leaves after it has done so for the
 * last time: without root its counter is ahead of the others' by what halts have hidden, and Linux' time would follow it.
 * One that goes would take an INIT that root cannot survive.
 */
static int starting(unsigned int cpu)
{
	if (READ_ONCE(hyperkd.state) == HYPERKD_IN)
		enter_one(NULL);
	return 0;
}

static int dying(unsigned int cpu)
{
	return leave_one(NULL);
}

/* Nothing can be refused while a core starts or dies, but here; and a load may have begun since it started. */
static int online(unsigned int cpu)
{
	unsigned long flags;

	if (READ_ONCE(hyperkd.state) != HYPERKD_IN || cores[cpu]->in)
		return 0;
	local_irq_save(flags);
	enter_one(NULL);
	local_irq_restore(flags);
	return cores[cpu]->in ? 0 : -EIO;
}

static int offline(unsigned int cpu)
{
	/* The link's UART calls core 0. */
	return cores[cpu]->in && hyperkd.linked && cpu == 0 ? -EBUSY : 0;
}

int hyperkd_cores_init(void)
{
	unsigned int cpu;
	int err;

	if (nr_cpu_ids > HYPERKD_CORES_MAX)
		return -E2BIG;
	for_each_possible_cpu(cpu) {
		cores[cpu] = kzalloc(sizeof(*cores[cpu]), GFP_KERNEL);
		if (!cores[cpu]) {
			hyperkd_cores_exit();
			return -ENOMEM;
		}
	}
	err = cpuhp_setup_state_nocalls(HYPERKD_CPUHP_STARTING, "hyperkd:starting", starting, dying);
	if (!err) {
		early = true;
		err = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "hyperkd:online", online, offline);
	}
	if (err < 0) {
		hyperkd_cores_exit();
		return err;
	}
	hotplug = err;
	return 0;
}

void hyperkd_cores_exit(void)
{
	unsigned int cpu;

	if (hotplug)
		cpuhp_remove_state_nocalls(hotplug);
	if (early)
		cpuhp_remove_state_nocalls(HYPERKD_CPUHP_STARTING);
	for_each_possible_cpu(cpu)
		kfree(cores[cpu]);
}
