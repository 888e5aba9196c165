// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Threads of programs under interception. One is held where it would return to its program: by work of its task, which Linux does there, and
 * in which it sleeps. So it takes no core, no signal is touched, and nothing about it is traced. Root says what is wanted by orders, and
 * remembers what is told of each thread; places for that are root's, and what is said of it here is Linux' alone.
 *
 * A thread that steps goes on to its program; at the last moment, with interrupts off, its work is queued again, an interrupt is made pending on
 * this core, and root is asked to let so many instructions pass. Then the interrupt leads back into the kernel, and the work holds it.
 *
 *     queued ──Linux──► inside ──let go──► its program            queued: the work is on its task's list
 *       ▲                  └──armed──root steps──┐                inside: it sleeps in `hold`
 *       └────────────────────────────────────────┘                armed: this core calls `on_user_return` before it returns
 *
 * A thread's record here goes when it is neither of the three and its process is let go, or it has ended.
 */
#include <linux/freezer.h>
#include <linux/hashtable.h>
#include <linux/irq_work.h>
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include "threads.h"

/* As one who sleeps and is none of the machine's load; SIGKILL ends it, and so does the freezer, for as long as the machine sleeps. */
#define TASK_IS_HELD (TASK_KILLABLE | TASK_NOLOAD | TASK_FREEZABLE)

DEFINE_SPINLOCK(hyperkd_threads_lock);
LIST_HEAD(hyperkd_processes);
static DEFINE_HASHTABLE(by_task, 12);
u64 hyperkd_threads_unplaced;
atomic_t hyperkd_threads_records = ATOMIC_INIT(0);

static void nothing(struct irq_work *unused)
{
}
static DEFINE_PER_CPU(struct irq_work, knock);

struct thread *hyperkd_thread_find(const struct task_struct *task)
{
	struct thread *thread;

	hash_for_each_possible(by_task, thread, by_task, (unsigned long)task)
		if (thread->task == task)
			return thread;
	return NULL;
}

struct process *hyperkd_process_of(u32 number)
{
	struct process *process;

	list_for_each_entry(process, &hyperkd_processes, link)
		if (process->number == number)
			return process;
	return NULL;
}

void hyperkd_threads_tell_losses(void)
{
	struct process *process;
	u64 missed = 0;

	list_for_each_entry(process, &hyperkd_processes, link)
		missed += process->missed;
	hyperkd_tell(HYPERKD_HYPERCALL_THREAD_LOSSES, hyperkd_threads_unplaced, missed, 0);
}

/* Tells root. Of one that is held: instructions that it is to step still. */
u64 hyperkd_thread_tell(const struct thread *thread, u64 state, u64 detail)
{
	u64 rbx = thread->place, rcx = state;

	if (thread->place == NO_PLACE)
		return 0;
	return hyperkd_ask(HYPERKD_HYPERCALL_THREAD_STATE, &rbx, &rcx, detail) == HYPERKD_SUCCESS ? rbx : 0;
}

/* A code. */
u64 hyperkd_thread_take_place(struct thread *thread)
{
	const struct task_struct *task = thread->task;
	u64 who = (u64)task->tgid << 32 | (u32)task->pid, rcx = (unsigned long)task;
	u64 code = hyperkd_ask(HYPERKD_HYPERCALL_THREAD_TAKE, &who, &rcx, (unsigned long)task_pt_regs(task));

	if (code == HYPERKD_SUCCESS)
		thread->place = who;
	return code;
}

void hyperkd_thread_leave_place(struct thread *thread)
{
	if (thread->place == NO_PLACE)
		hyperkd_threads_unplaced--;
	else
		hyperkd_tell(HYPERKD_HYPERCALL_THREAD_GONE, thread->place, 0, 0);
	thread->place = NO_PLACE;
}

static void drop_if_idle(struct thread *thread)
{
	if (thread->process || thread->queued || thread->inside || thread->armed)
		return;
	put_task_struct(thread->task);
	kfree(thread);
	atomic_dec(&hyperkd_threads_records);
}

static void queue(struct thread *thread)
{
	if (!thread->queued)
		thread->queued = !task_work_add(thread->task, &thread->work, TWA_RESUME);
}

void hyperkd_thread_want(struct thread *thread, enum want what)
{
	thread->want = what;
	if (what == HOLD) {
		/* It may have been about to step: that is off. */
		hyperkd_thread_tell(thread, HYPERKD_THREAD_COMING, 0);
		if (thread->inside)
			hyperkd_thread_tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(task_pt_regs(thread->task)));
		queue(thread);
	} else if (thread->inside) {
		wake_up_process(thread->task);
	}
}

/* Takes its work off its task's list; nothing, if Linux has done so already and is about to call it. */
static void cancel(struct thread *thread)
{
	struct task_struct *task = thread->task;
	struct callback_head **at, *work;
	unsigned long flags;

	/* Who adds work needs no lock; who takes it waits for this one (kernel/task_work.c). */
	raw_spin_lock_irqsave(&task->pi_lock, flags);
	for (at = &task->task_works; (work = READ_ONCE(*at)); ) {
		if (work != &thread->work) {
			at = &work->next;
		} else if (cmpxchg(at, work, work->next) == work) {
			thread->queued = false;
			break;
		}
	}
	raw_spin_unlock_irqrestore(&task->pi_lock, flags);
}

void hyperkd_thread_let_go(struct thread *thread)
{
	hash_del(&thread->by_task);
	list_del(&thread->link);
	hyperkd_thread_leave_place(thread);
	thread->process = NULL;
	hyperkd_thread_want(thread, RUN);
	if (thread->queued && !thread->inside && !thread->pinned)
		cancel(thread);
	drop_if_idle(thread);
}

void hyperkd_process_let_go(struct process *process)
{
	struct thread *thread, *next;

	list_for_each_entry_safe(thread, next, &process->threads, link)
		hyperkd_thread_let_go(thread);
	list_del(&process->link);
	put_task_struct(process->leader);
	kfree(process);
	hyperkd_threads_tell_losses();
}

static void unpin(struct thread *thread)
{
	if (thread->pinned) {
		thread->pinned = false;
		migrate_enable();
	}
}

#ifdef CONFIG_USER_RETURN_NOTIFIER
/* Interrupts are off, and nothing is looked for any more: the next is the program. It may be another thread's. */
static void on_user_return(struct user_return_notifier *notifier)
{
	struct thread *thread = container_of(notifier, struct thread, notifier);

	if (current != thread->task)
		return;
	user_return_notifier_unregister(notifier);
	/* Its affinity may have changed meanwhile; to move, it must sleep, and that is done where it is held. */
	if (cpumask_test_cpu(smp_processor_id(), &current->cpus_mask))
		unpin(thread);
	spin_lock(&hyperkd_threads_lock);
	thread->armed = false;
	if (thread->process && thread->want == STEP) {
		queue(thread);
		irq_work_queue(this_cpu_ptr(&knock));
		hyperkd_tell(HYPERKD_HYPERCALL_THREAD_STEP, thread->place, 0, 0);
	} else if (thread->pinned) {
		queue(thread);
	}
	drop_if_idle(thread);
	spin_unlock(&hyperkd_threads_lock);
}

/* It is this thread's core that calls, and so it stays on it. */
static void arm(struct thread *thread)
{
	migrate_disable();
	thread->pinned = true;
	thread->armed = true;
	thread->notifier.on_user_return = on_user_return;
	user_return_notifier_register(&thread->notifier);
}

void hyperkd_thread_disarm(struct thread *thread)
{
	unsigned long flags;

	if (!thread->armed)
		return;
	local_irq_save(flags);
	user_return_notifier_unregister(&thread->notifier);
	local_irq_restore(flags);
	thread->armed = false;
}

const bool hyperkd_threads_can_step = true;
#else
static void arm(struct thread *thread)
{
}

void hyperkd_thread_disarm(struct thread *thread)
{
}

const bool hyperkd_threads_can_step;
#endif

/* The work: where the thread would return to its program, or ends. */
static void hold(struct callback_head *work)
{
	struct thread *thread = container_of(work, struct thread, work);

	unpin(thread);
	spin_lock(&hyperkd_threads_lock);
	thread->queued = false;
	thread->inside = true;
	if (thread->process && thread->want != RUN && !(current->flags & PF_EXITING)) {
		u64 left = hyperkd_thread_tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(current_pt_regs()));

		if (thread->want == STEP && !left)
			thread->want = HOLD;
		while (thread->want == HOLD && !fatal_signal_pending(current)) {
			set_current_state(TASK_IS_HELD);
			spin_unlock(&hyperkd_threads_lock);
			schedule();
			spin_lock(&hyperkd_threads_lock);
		}
		__set_current_state(TASK_RUNNING);
	}
	thread->inside = false;
	if (thread->process && thread->want == STEP && !fatal_signal_pending(current)) {
		hyperkd_thread_tell(thread, HYPERKD_THREAD_STEPS, 0);
		arm(thread);
	} else if (thread->process) {
		hyperkd_thread_tell(thread, HYPERKD_THREAD_RUNS, 0);
	}
	drop_if_idle(thread);
	spin_unlock(&hyperkd_threads_lock);
}

/* A code. Without a place it is held all the same, if `anyway`. */
u64 hyperkd_thread_add(struct process *process, struct task_struct *task, bool anyway)
{
	struct thread *thread = kzalloc(sizeof(*thread), GFP_ATOMIC | __GFP_NOWARN);
	u64 code;

	if (!thread)
		return HYPERKD_KERNEL_OUT_OF_MEMORY;
	init_task_work(&thread->work, hold);
	thread->process = process;
	thread->task = task;
	thread->place = NO_PLACE;
	code = hyperkd_thread_take_place(thread);
	if (code != HYPERKD_SUCCESS && !anyway) {
		kfree(thread);
		return code;
	}
	atomic_inc(&hyperkd_threads_records);
	get_task_struct(task);
	hash_add(by_task, &thread->by_task, (unsigned long)task);
	list_add_tail(&thread->link, &process->threads);
	if (code != HYPERKD_SUCCESS) {
		hyperkd_threads_unplaced++;
		hyperkd_threads_tell_losses();
	}
	if (process->holding)
		hyperkd_thread_want(thread, HOLD);
	return HYPERKD_SUCCESS;
}

/*
 * Every thread that Linux has of it. One that is created meanwhile is behind those in its list, or `on_fork` sees it; the process may end
 * meanwhile. A code.
 */
u64 hyperkd_process_add_all(u32 number, struct task_struct *leader, bool anyway)
{
	struct task_struct *task;
	u64 code = HYPERKD_SUCCESS;

	rcu_read_lock();
	for_each_thread(leader, task) {
		struct process *process;

		spin_lock(&hyperkd_threads_lock);
		process = hyperkd_process_of(number);
		/* One that ends has told so, or will find itself here. */
		if (process && !hyperkd_thread_find(task) && !(READ_ONCE(task->flags) & PF_EXITING))
			code = hyperkd_thread_add(process, task, anyway);
		spin_unlock(&hyperkd_threads_lock);
		if (!process || code != HYPERKD_SUCCESS)
			break;
	}
	rcu_read_unlock();
	return code;
}

void hyperkd_threads_init(void)
{
	int cpu;

	/* Linux relocates nothing that a module has for each core. */
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(&knock, cpu) = IRQ_WORK_INIT_HARD(nothing);
}
