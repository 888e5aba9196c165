// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * The window, from Linux' side: where it is, what a core does there that is not under root, and when nobody can be where code was that root
 * has changed.
 */
#include <linux/cpu.h>
#include <linux/kdebug.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/rcupdate_wait.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include "internal.h"

extern const char hyperkd_window_text[];
/* places.S */
static_assert(HYPERKD_WINDOW_PLACES == 512 && HYPERKD_WINDOW_PLACE_BYTES == 256 && HYPERKD_WINDOW_PLACE_COPY == 3);

/* The cells, and words that scripts share: written by the kernel's code in the window and by root. */
static struct {
	struct hyperkd_cell cells[HYPERKD_WINDOW_PLACES];
	u64 shared[PAGE_SIZE / sizeof(u64)];
} data __aligned(PAGE_SIZE);
static_assert(sizeof(data) == (HYPERKD_WINDOW_CELL_FRAMES + 1) * PAGE_SIZE);

static DEFINE_PER_CPU(struct work_struct, elsewhere);

/* Tells root of a new load where it is, as nobody has used it. */
void hyperkd_window_tell(struct hyperkd_window *window)
{
	unsigned int at, frame = 0;

	memset(&data, 0, sizeof(data));
	window->text = (u64)hyperkd_window_text;
	window->data = (u64)&data;
	for (at = 0; at < HYPERKD_WINDOW_TEXT_FRAMES; at++)
		window->frames[frame++] = vmalloc_to_pfn(hyperkd_window_text + at * PAGE_SIZE);
	for (at = 0; at <= HYPERKD_WINDOW_CELL_FRAMES; at++)
		window->frames[frame++] = vmalloc_to_pfn((u8 *)&data + at * PAGE_SIZE);
}

/* A breakpoint that stands for a jump into the window is root's to see, but for a core that is not under root. */
static int breakpoint(struct notifier_block *unused, unsigned long event, void *args)
{
	struct pt_regs *regs = ((struct die_args *)args)->regs;
	unsigned int place;

	if (event != DIE_INT3 || user_mode(regs))
		return NOTIFY_DONE;
	for (place = 0; place < HYPERKD_WINDOW_PLACES; place++) {
		if (READ_ONCE(data.cells[place].address) == regs->ip - 1) {
			regs->ip = READ_ONCE(data.cells[place].entry);
			return NOTIFY_STOP;
		}
	}
	return NOTIFY_DONE;
}
static struct notifier_block breakpoints = { .notifier_call = breakpoint, .priority = INT_MAX };

static void be_elsewhere(struct work_struct *unused)
{
}

/* Half of what Linux takes for a thread that hangs. */
#define LOOK_SECONDS 60

/*
 * synchronize_rcu_tasks(), which on a busy machine lasts for minutes: that is no thread that hangs, so it wakes up meanwhile. What is called at
 * its end is the kernel's own, so that nothing of this module's is left to be called.
 */
static void threads_be_elsewhere(void)
{
	struct rcu_synchronize wait;

	init_rcu_head_on_stack(&wait.head);
	init_completion(&wait.completion);
	call_rcu_tasks(&wait.head, wakeme_after_rcu);
	while (!wait_for_completion_timeout(&wait.completion, LOOK_SECONDS * HZ))
		;
	destroy_rcu_head_on_stack(&wait.head);
}

/*
 * Comes back when each thread and each core has been elsewhere: threads have gone to sleep of their own or to a program, and each core has
 * been given to another thread, which ends what interrupted an idle one.
 */
void hyperkd_window_grace(void)
{
	int cpu;

	threads_be_elsewhere();
	cpus_read_lock();
	for_each_online_cpu(cpu)
		queue_work_on(cpu, system_highpri_wq, per_cpu_ptr(&elsewhere, cpu));
	for_each_online_cpu(cpu)
		flush_work(per_cpu_ptr(&elsewhere, cpu));
	cpus_read_unlock();
}

/* Root has left, and led nobody here when it did: comes back when nobody is here. Under lock, or at the end. */
void hyperkd_window_vacate(void)
{
	if (hyperkd.detoured)
		hyperkd_window_grace();
	hyperkd.detoured = false;
}

int hyperkd_window_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		INIT_WORK(per_cpu_ptr(&elsewhere, cpu), be_elsewhere);
	return register_die_notifier(&breakpoints);
}

void hyperkd_window_exit(void)
{
	hyperkd_window_vacate();
	unregister_die_notifier(&breakpoints);
}
