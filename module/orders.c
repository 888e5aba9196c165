// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Which threads are held, and which go: by orders of prompts, which root hands over, and by what Linux tells of threads that come, execute
 * another program, and end.
 */
#include <linux/io.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include "compat.h"
#include "threads.h"

/* How long unloading waits for threads that were let go to be elsewhere, in looks of a tenth of a second. */
#define LOOKS_MAX 100

static bool watching, used;

/* Before a new task runs for the first time. */
static void on_fork(void *unused, struct task_struct *parent, struct task_struct *child)
{
	struct thread *thread;

	if (!same_thread_group(parent, child))
		return;
	spin_lock(&hyperkd_threads_lock);
	thread = hyperkd_thread_find(parent);
	if (thread && !hyperkd_thread_find(child) && hyperkd_thread_add(thread->process, child, true) != HYPERKD_SUCCESS) {
		thread->process->missed++;
		hyperkd_threads_tell_losses();
	}
	spin_unlock(&hyperkd_threads_lock);
}

/* What executes another program goes on to that. It may be another thread by number, and is one by task. */
static void on_exec(void *unused, struct task_struct *task, pid_t before, struct linux_binprm *binary)
{
	struct thread *thread;

	spin_lock(&hyperkd_threads_lock);
	thread = hyperkd_thread_find(task);
	if (thread) {
		if (before != task->pid) {
			put_task_struct(thread->process->leader);
			get_task_struct(task);
			thread->process->leader = task;
			hyperkd_thread_leave_place(thread);
			if (hyperkd_thread_take_place(thread) != HYPERKD_SUCCESS)
				hyperkd_threads_unplaced++;
			hyperkd_threads_tell_losses();
		}
		if (thread->process->at_exec) {
			thread->process->at_exec = false;
			thread->process->holding = true;
			hyperkd_thread_want(thread, HOLD);
		}
	}
	spin_unlock(&hyperkd_threads_lock);
}

/* It never returns to its program. */
static void on_exit(void *unused, struct task_struct *task)
{
	struct process *process;
	struct thread *thread;
	bool pinned = false;

	spin_lock(&hyperkd_threads_lock);
	thread = hyperkd_thread_find(task);
	if (thread) {
		process = thread->process;
		pinned = thread->pinned;
		thread->pinned = false;
		hyperkd_thread_disarm(thread);
		hyperkd_thread_let_go(thread);
		if (list_empty(&process->threads))
			hyperkd_process_let_go(process);
	}
	spin_unlock(&hyperkd_threads_lock);
	if (pinned)
		migrate_enable();
}

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
} points[] = {
	{ "sched_process_fork", on_fork },
	{ "sched_process_exec", on_exec },
	{ "sched_process_exit", on_exit },
};

static void look_at(struct tracepoint *point, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(points); i++)
		if (!strcmp(point->name, points[i].name))
			points[i].point = point;
}

static void unwatch(unsigned int count)
{
	while (count--)
		tracepoint_probe_unregister(points[count].point, points[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

/* From the first process on until root leaves, for each change patches the kernel. */
static bool watch(void)
{
	unsigned int i;

	if (watching)
		return true;
	for_each_kernel_tracepoint(look_at, NULL);
	for (i = 0; i < ARRAY_SIZE(points); i++) {
		if (!points[i].point || tracepoint_probe_register(points[i].point, points[i].probe, NULL)) {
			unwatch(i);
			return false;
		}
	}
	watching = used = true;
	return true;
}

static u64 attach(const struct hyperkd_order *order, const void *owner, u64 *number)
{
	struct task_struct *leader;
	struct process *process;
	u64 code, zero = 0;

	if (!watch())
		return HYPERKD_THREADS_UNSUPPORTED;
	rcu_read_lock();
	leader = pid_task(find_pid_ns(order->process, &init_pid_ns), PIDTYPE_TGID);
	if (leader)
		get_task_struct(leader);
	rcu_read_unlock();
	if (!leader)
		return HYPERKD_PID_INVALID;
	code = HYPERKD_THREAD_EXEMPT;
	if (leader->flags & PF_KTHREAD || same_thread_group(leader, current))
		goto refused;
	code = HYPERKD_ATTACHED_ALREADY;
	if (hyperkd_process_of(order->process))
		goto refused;
	*number = get_nr_threads(leader);
	code = hyperkd_hypercall(HYPERKD_HYPERCALL_THREAD_ROOM, number, &zero);
	if (code != HYPERKD_SUCCESS)
		goto refused;
	code = HYPERKD_KERNEL_OUT_OF_MEMORY;
	process = kzalloc(sizeof(*process), GFP_KERNEL);
	if (!process)
		goto refused;
	*process = (struct process){ .leader = leader, .number = order->process, .owner = owner };
	process->at_exec = order->what == HYPERKD_ORDER_ATTACH_AT_EXEC;
	process->holding = !process->at_exec;
	INIT_LIST_HEAD(&process->threads);
	spin_lock(&hyperkd_threads_lock);
	list_add(&process->link, &hyperkd_processes);
	spin_unlock(&hyperkd_threads_lock);
	code = hyperkd_process_add_all(order->process, leader, false);
	spin_lock(&hyperkd_threads_lock);
	/* It may have ended meanwhile. */
	process = hyperkd_process_of(order->process);
	if (process && (code != HYPERKD_SUCCESS || list_empty(&process->threads))) {
		hyperkd_process_let_go(process);
		process = NULL;
	}
	*number = 0;
	if (process) {
		struct thread *thread;

		list_for_each_entry(thread, &process->threads, link)
			++*number;
	} else if (code == HYPERKD_SUCCESS) {
		code = HYPERKD_PID_INVALID;
	} else {
		*number = 1;
	}
	spin_unlock(&hyperkd_threads_lock);
	return code;
refused:
	put_task_struct(leader);
	return code;
}

/* Lock held. */
static u64 change(const struct hyperkd_order *order, struct process *process, u64 *number)
{
	struct thread *thread;
	u64 code = HYPERKD_NO_SUCH_THREAD;

	if (!order->thread)
		process->holding = order->what == HYPERKD_ORDER_HOLD;
	list_for_each_entry(thread, &process->threads, link) {
		if (order->thread && thread->task->pid != order->thread)
			continue;
		code = HYPERKD_SUCCESS;
		if (order->what == HYPERKD_ORDER_STEP) {
			if (!hyperkd_threads_can_step)
				return HYPERKD_THREADS_UNSUPPORTED;
			if (!thread->inside || thread->want != HOLD || thread->place == NO_PLACE)
				return HYPERKD_THREAD_NOT_HELD;
			hyperkd_thread_tell(thread, HYPERKD_THREAD_STEPS, order->count);
			hyperkd_thread_want(thread, STEP);
		} else if (thread->want != (order->what == HYPERKD_ORDER_HOLD ? HOLD : RUN)) {
			hyperkd_thread_want(thread, order->what == HYPERKD_ORDER_HOLD ? HOLD : RUN);
		}
		++*number;
	}
	return code;
}

static u64 carry_out(const struct hyperkd_order *order, const void *owner, u64 *number)
{
	struct process *process;
	u64 code;

	if (order->what == HYPERKD_ORDER_ATTACH || order->what == HYPERKD_ORDER_ATTACH_AT_EXEC)
		return attach(order, owner, number);
	spin_lock(&hyperkd_threads_lock);
	process = hyperkd_process_of(order->process);
	if (!process) {
		code = HYPERKD_NOT_ATTACHED;
	} else if (order->what == HYPERKD_ORDER_DETACH || order->what == HYPERKD_ORDER_KILL) {
		if (order->what == HYPERKD_ORDER_KILL)
			kill_pid(task_tgid(process->leader), SIGKILL, 1);
		hyperkd_process_let_go(process);
		code = HYPERKD_SUCCESS;
	} else {
		code = change(order, process, number);
	}
	spin_unlock(&hyperkd_threads_lock);
	return code;
}

/* Does what is ordered, for the prompt behind this file or, with NULL, for whoever it is. Module's lock held, root in. */
void hyperkd_threads_tend(const void *owner)
{
	struct hyperkd_order *order = (void *)get_zeroed_page(GFP_KERNEL);
	u64 pa, zero = 0, number = 0, code;

	if (!order)
		return;
	pa = virt_to_phys(order);
	if (hyperkd_hypercall(HYPERKD_HYPERCALL_ORDERS, &pa, &zero) == 1) {
		code = carry_out(order, owner, &number);
		hyperkd_tell(HYPERKD_HYPERCALL_ORDERED, order->serial, code, number);
	}
	free_page((unsigned long)order);
}

/* A process of which threads found no memory, and its leader with a reference more; 0: none. */
static u32 one_with_missed(struct task_struct **leader)
{
	struct process *process;
	u32 number = 0;

	spin_lock(&hyperkd_threads_lock);
	list_for_each_entry(process, &hyperkd_processes, link) {
		if (process->missed && !number) {
			number = process->number;
			*leader = process->leader;
			get_task_struct(*leader);
		}
	}
	spin_unlock(&hyperkd_threads_lock);
	return number;
}

static void give_places(void)
{
	struct process *process;
	struct thread *thread;

	list_for_each_entry(process, &hyperkd_processes, link) {
		list_for_each_entry(thread, &process->threads, link) {
			if (!hyperkd_threads_unplaced)
				return;
			if (thread->place != NO_PLACE)
				continue;
			if (hyperkd_thread_take_place(thread) != HYPERKD_SUCCESS)
				return;
			hyperkd_threads_unplaced--;
			if (thread->inside)
				hyperkd_thread_tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(task_pt_regs(thread->task)));
			else if (thread->want != RUN)
				hyperkd_thread_tell(thread, HYPERKD_THREAD_COMING, 0);
		}
	}
}

/* Threads that found no place, or no memory, may find it now. Module's lock held, root in. */
void hyperkd_threads_look(void)
{
	struct task_struct *leader = NULL;
	struct process *process;
	u32 number = one_with_missed(&leader);
	bool found;

	if (number) {
		found = hyperkd_process_add_all(number, leader, true) == HYPERKD_SUCCESS;
		put_task_struct(leader);
		spin_lock(&hyperkd_threads_lock);
		process = hyperkd_process_of(number);
		if (process && found)
			process->missed = 0;
		hyperkd_threads_tell_losses();
		spin_unlock(&hyperkd_threads_lock);
	}
	spin_lock(&hyperkd_threads_lock);
	if (hyperkd_threads_unplaced) {
		give_places();
		hyperkd_threads_tell_losses();
	}
	spin_unlock(&hyperkd_threads_lock);
}

/* The prompt behind a file is gone, or, with NULL, root is about to be: whom it holds is let go. */
static void end(const void *owner)
{
	struct process *process, *next;

	spin_lock(&hyperkd_threads_lock);
	list_for_each_entry_safe(process, next, &hyperkd_processes, link)
		if (!owner || process->owner == owner)
			hyperkd_process_let_go(process);
	spin_unlock(&hyperkd_threads_lock);
}

void hyperkd_threads_release(const void *owner)
{
	end(owner);
}

/* Module's lock held: root leaves, or has left. */
void hyperkd_threads_end(void)
{
	end(NULL);
	if (watching)
		unwatch(ARRAY_SIZE(points));
	watching = false;
}

/* Nothing of this file is called any more when it comes back. */
void hyperkd_threads_exit(void)
{
	unsigned int looks = LOOKS_MAX;

	hyperkd_threads_end();
	while (atomic_read(&hyperkd_threads_records) && looks--)
		schedule_timeout_uninterruptible(HZ / 10);
	if (atomic_read(&hyperkd_threads_records))
		pr_err("hyperkd: %d threads that were held are not elsewhere yet\n", atomic_read(&hyperkd_threads_records));
	if (used)
		hyperkd_window_grace();
}
