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
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/tracepoint.h>
#include <linux/user-return-notifier.h>
#include <linux/wait.h>
#include "compat.h"
#include "internal.h"

/* As one who sleeps and is none of the machine's load; SIGKILL ends it, and so does the freezer, for as long as the machine sleeps. */
#define TASK_IS_HELD (TASK_KILLABLE | TASK_NOLOAD | TASK_FREEZABLE)
#define NO_PLACE (~0ull)
/* How long unloading waits for threads that were let go to be elsewhere, in looks of a tenth of a second. */
#define LOOKS_MAX 100

enum want { RUN, HOLD, STEP };

struct process {
	struct list_head link;
	struct list_head threads;
	struct task_struct *leader;
	u32 number;
	bool holding;		/* its new threads are held, too */
	bool at_exec;		/* ... from when it executes another program */
	u32 missed;		/* threads that found no memory here */
	const void *owner;	/* the open file of the prompt that asked, or NULL */
};

struct thread {
	struct callback_head work;
#ifdef CONFIG_USER_RETURN_NOTIFIER
	struct user_return_notifier notifier;
#endif
	struct list_head link;
	struct hlist_node by_task;
	struct process *process;	/* NULL: it is let go, or has ended */
	struct task_struct *task;
	u64 place;
	enum want want;
	bool queued, inside, armed;
	bool pinned;		/* to its core, from when it is armed */
};

/* Both under this lock, which is taken in no interrupt. */
static DEFINE_SPINLOCK(lock);
static LIST_HEAD(processes);
static DEFINE_HASHTABLE(by_task, 12);
static u64 unplaced;
static atomic_t records = ATOMIC_INIT(0);
static bool watching, used;

static void nothing(struct irq_work *unused)
{
}
static DEFINE_PER_CPU(struct irq_work, knock);

static struct thread *find(const struct task_struct *task)
{
	struct thread *thread;

	hash_for_each_possible(by_task, thread, by_task, (unsigned long)task)
		if (thread->task == task)
			return thread;
	return NULL;
}

static struct process *process_of(u32 number)
{
	struct process *process;

	list_for_each_entry(process, &processes, link)
		if (process->number == number)
			return process;
	return NULL;
}

static void tell_losses(void)
{
	struct process *process;
	u64 missed = 0;

	list_for_each_entry(process, &processes, link)
		missed += process->missed;
	hyperkd_tell(HYPERKD_HYPERCALL_THREAD_LOSSES, unplaced, missed, 0);
}

/* Tells root. Of one that is held: instructions that it is to step still. */
static u64 tell(const struct thread *thread, u64 state, u64 detail)
{
	u64 rbx = thread->place, rcx = state;

	if (thread->place == NO_PLACE)
		return 0;
	return hyperkd_ask(HYPERKD_HYPERCALL_THREAD_STATE, &rbx, &rcx, detail) == HYPERKD_SUCCESS ? rbx : 0;
}

/* A code. */
static u64 take_place(struct thread *thread)
{
	const struct task_struct *task = thread->task;
	u64 who = (u64)task->tgid << 32 | (u32)task->pid, rcx = (unsigned long)task;
	u64 code = hyperkd_ask(HYPERKD_HYPERCALL_THREAD_TAKE, &who, &rcx, (unsigned long)task_pt_regs(task));

	if (code == HYPERKD_SUCCESS)
		thread->place = who;
	return code;
}

static void leave_place(struct thread *thread)
{
	if (thread->place == NO_PLACE)
		unplaced--;
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
	atomic_dec(&records);
}

static void queue(struct thread *thread)
{
	if (!thread->queued)
		thread->queued = !task_work_add(thread->task, &thread->work, TWA_RESUME);
}

static void want(struct thread *thread, enum want what)
{
	thread->want = what;
	if (what == HOLD) {
		/* It may have been about to step: that is off. */
		tell(thread, HYPERKD_THREAD_COMING, 0);
		if (thread->inside)
			tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(task_pt_regs(thread->task)));
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

static void let_go(struct thread *thread)
{
	hash_del(&thread->by_task);
	list_del(&thread->link);
	leave_place(thread);
	thread->process = NULL;
	want(thread, RUN);
	if (thread->queued && !thread->inside && !thread->pinned)
		cancel(thread);
	drop_if_idle(thread);
}

static void let_all_go(struct process *process)
{
	struct thread *thread, *next;

	list_for_each_entry_safe(thread, next, &process->threads, link)
		let_go(thread);
	list_del(&process->link);
	put_task_struct(process->leader);
	kfree(process);
	tell_losses();
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
	spin_lock(&lock);
	thread->armed = false;
	if (thread->process && thread->want == STEP) {
		queue(thread);
		irq_work_queue(this_cpu_ptr(&knock));
		hyperkd_tell(HYPERKD_HYPERCALL_THREAD_STEP, thread->place, 0, 0);
	} else if (thread->pinned) {
		queue(thread);
	}
	drop_if_idle(thread);
	spin_unlock(&lock);
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

static void disarm(struct thread *thread)
{
	unsigned long flags;

	if (!thread->armed)
		return;
	local_irq_save(flags);
	user_return_notifier_unregister(&thread->notifier);
	local_irq_restore(flags);
	thread->armed = false;
}

static const bool can_step = true;
#else
static void arm(struct thread *thread)
{
}

static void disarm(struct thread *thread)
{
}

static const bool can_step;
#endif

/* The work: where the thread would return to its program, or ends. */
static void hold(struct callback_head *work)
{
	struct thread *thread = container_of(work, struct thread, work);

	unpin(thread);
	spin_lock(&lock);
	thread->queued = false;
	thread->inside = true;
	if (thread->process && thread->want != RUN && !(current->flags & PF_EXITING)) {
		u64 left = tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(current_pt_regs()));

		if (thread->want == STEP && !left)
			thread->want = HOLD;
		while (thread->want == HOLD && !fatal_signal_pending(current)) {
			set_current_state(TASK_IS_HELD);
			spin_unlock(&lock);
			schedule();
			spin_lock(&lock);
		}
		__set_current_state(TASK_RUNNING);
	}
	thread->inside = false;
	if (thread->process && thread->want == STEP && !fatal_signal_pending(current)) {
		tell(thread, HYPERKD_THREAD_STEPS, 0);
		arm(thread);
	} else if (thread->process) {
		tell(thread, HYPERKD_THREAD_RUNS, 0);
	}
	drop_if_idle(thread);
	spin_unlock(&lock);
}

/* A code. Without a place it is held all the same, if `anyway`. */
static u64 add(struct process *process, struct task_struct *task, bool anyway)
{
	struct thread *thread = kzalloc(sizeof(*thread), GFP_ATOMIC | __GFP_NOWARN);
	u64 code;

	if (!thread)
		return HYPERKD_KERNEL_OUT_OF_MEMORY;
	init_task_work(&thread->work, hold);
	thread->process = process;
	thread->task = task;
	thread->place = NO_PLACE;
	code = take_place(thread);
	if (code != HYPERKD_SUCCESS && !anyway) {
		kfree(thread);
		return code;
	}
	atomic_inc(&records);
	get_task_struct(task);
	hash_add(by_task, &thread->by_task, (unsigned long)task);
	list_add_tail(&thread->link, &process->threads);
	if (code != HYPERKD_SUCCESS) {
		unplaced++;
		tell_losses();
	}
	if (process->holding)
		want(thread, HOLD);
	return HYPERKD_SUCCESS;
}

/*
 * Every thread that Linux has of it. One that is created meanwhile is behind those in its list, or `on_fork` sees it; the process may end
 * meanwhile. A code.
 */
static u64 add_all(u32 number, struct task_struct *leader, bool anyway)
{
	struct task_struct *task;
	u64 code = HYPERKD_SUCCESS;

	rcu_read_lock();
	for_each_thread(leader, task) {
		struct process *process;

		spin_lock(&lock);
		process = process_of(number);
		/* One that ends has told so, or will find itself here. */
		if (process && !find(task) && !(READ_ONCE(task->flags) & PF_EXITING))
			code = add(process, task, anyway);
		spin_unlock(&lock);
		if (!process || code != HYPERKD_SUCCESS)
			break;
	}
	rcu_read_unlock();
	return code;
}

/* Before a new task runs for the first time. */
static void on_fork(void *unused, struct task_struct *parent, struct task_struct *child)
{
	struct thread *thread;

	if (!same_thread_group(parent, child))
		return;
	spin_lock(&lock);
	thread = find(parent);
	if (thread && !find(child) && add(thread->process, child, true) != HYPERKD_SUCCESS) {
		thread->process->missed++;
		tell_losses();
	}
	spin_unlock(&lock);
}

/* What executes another program goes on to that. It may be another thread by number, and is one by task. */
static void on_exec(void *unused, struct task_struct *task, pid_t before, struct linux_binprm *binary)
{
	struct thread *thread;

	spin_lock(&lock);
	thread = find(task);
	if (thread) {
		if (before != task->pid) {
			put_task_struct(thread->process->leader);
			get_task_struct(task);
			thread->process->leader = task;
			leave_place(thread);
			if (take_place(thread) != HYPERKD_SUCCESS)
				unplaced++;
			tell_losses();
		}
		if (thread->process->at_exec) {
			thread->process->at_exec = false;
			thread->process->holding = true;
			want(thread, HOLD);
		}
	}
	spin_unlock(&lock);
}

/* It never returns to its program. */
static void on_exit(void *unused, struct task_struct *task)
{
	struct process *process;
	struct thread *thread;
	bool pinned = false;

	spin_lock(&lock);
	thread = find(task);
	if (thread) {
		process = thread->process;
		pinned = thread->pinned;
		thread->pinned = false;
		disarm(thread);
		let_go(thread);
		if (list_empty(&process->threads))
			let_all_go(process);
	}
	spin_unlock(&lock);
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
	if (process_of(order->process))
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
	spin_lock(&lock);
	list_add(&process->link, &processes);
	spin_unlock(&lock);
	code = add_all(order->process, leader, false);
	spin_lock(&lock);
	/* It may have ended meanwhile. */
	process = process_of(order->process);
	if (process && (code != HYPERKD_SUCCESS || list_empty(&process->threads))) {
		let_all_go(process);
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
	spin_unlock(&lock);
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
			if (!can_step)
				return HYPERKD_THREADS_UNSUPPORTED;
			if (!thread->inside || thread->want != HOLD || thread->place == NO_PLACE)
				return HYPERKD_THREAD_NOT_HELD;
			tell(thread, HYPERKD_THREAD_STEPS, order->count);
			want(thread, STEP);
		} else if (thread->want != (order->what == HYPERKD_ORDER_HOLD ? HOLD : RUN)) {
			want(thread, order->what == HYPERKD_ORDER_HOLD ? HOLD : RUN);
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
	spin_lock(&lock);
	process = process_of(order->process);
	if (!process) {
		code = HYPERKD_NOT_ATTACHED;
	} else if (order->what == HYPERKD_ORDER_DETACH || order->what == HYPERKD_ORDER_KILL) {
		if (order->what == HYPERKD_ORDER_KILL)
			kill_pid(task_tgid(process->leader), SIGKILL, 1);
		let_all_go(process);
		code = HYPERKD_SUCCESS;
	} else {
		code = change(order, process, number);
	}
	spin_unlock(&lock);
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

	spin_lock(&lock);
	list_for_each_entry(process, &processes, link) {
		if (process->missed && !number) {
			number = process->number;
			*leader = process->leader;
			get_task_struct(*leader);
		}
	}
	spin_unlock(&lock);
	return number;
}

static void give_places(void)
{
	struct process *process;
	struct thread *thread;

	list_for_each_entry(process, &processes, link) {
		list_for_each_entry(thread, &process->threads, link) {
			if (!unplaced)
				return;
			if (thread->place != NO_PLACE)
				continue;
			if (take_place(thread) != HYPERKD_SUCCESS)
				return;
			unplaced--;
			if (thread->inside)
				tell(thread, HYPERKD_THREAD_HELD, instruction_pointer(task_pt_regs(thread->task)));
			else if (thread->want != RUN)
				tell(thread, HYPERKD_THREAD_COMING, 0);
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
		found = add_all(number, leader, true) == HYPERKD_SUCCESS;
		put_task_struct(leader);
		spin_lock(&lock);
		process = process_of(number);
		if (process && found)
			process->missed = 0;
		tell_losses();
		spin_unlock(&lock);
	}
	spin_lock(&lock);
	if (unplaced) {
		give_places();
		tell_losses();
	}
	spin_unlock(&lock);
}

/* The prompt behind a file is gone, or, with NULL, root is about to be: whom it holds is let go. */
static void end(const void *owner)
{
	struct process *process, *next;

	spin_lock(&lock);
	list_for_each_entry_safe(process, next, &processes, link)
		if (!owner || process->owner == owner)
			let_all_go(process);
	spin_unlock(&lock);
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

void hyperkd_threads_init(void)
{
	int cpu;

	/* Linux relocates nothing that a module has for each core. */
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(&knock, cpu) = IRQ_WORK_INIT_HARD(nothing);
}

/* Nothing of this file is called any more when it comes back. */
void hyperkd_threads_exit(void)
{
	unsigned int looks = LOOKS_MAX;

	hyperkd_threads_end();
	while (atomic_read(&records) && looks--)
		schedule_timeout_uninterruptible(HZ / 10);
	if (atomic_read(&records))
		pr_err("hyperkd: %d threads that were held are not elsewhere yet\n", atomic_read(&records));
	if (used)
		hyperkd_window_grace();
}
