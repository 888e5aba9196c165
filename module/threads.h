/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* Threads of programs under interception, as threads.c holds them and orders.c has them held. All of it under one lock. */
#ifndef HYPERKD_THREADS_H
#define HYPERKD_THREADS_H

#include <linux/list.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/task_work.h>
#include <linux/user-return-notifier.h>
#include "internal.h"

#define NO_PLACE (~0ull)
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

/* Taken in no interrupt. */
extern spinlock_t hyperkd_threads_lock;
extern struct list_head hyperkd_processes;
/* Threads that are held without a place in root. */
extern u64 hyperkd_threads_unplaced;
/* Threads of which there is a record here still. */
extern atomic_t hyperkd_threads_records;
/* Whether this kernel tells of returns to a program. */
extern const bool hyperkd_threads_can_step;

struct thread *hyperkd_thread_find(const struct task_struct *task);
struct process *hyperkd_process_of(u32 number);
void hyperkd_threads_tell_losses(void);
u64 hyperkd_thread_tell(const struct thread *thread, u64 state, u64 detail);
u64 hyperkd_thread_take_place(struct thread *thread);
void hyperkd_thread_leave_place(struct thread *thread);
void hyperkd_thread_want(struct thread *thread, enum want what);
void hyperkd_thread_disarm(struct thread *thread);
u64 hyperkd_thread_add(struct process *process, struct task_struct *task, bool anyway);
void hyperkd_thread_let_go(struct thread *thread);
void hyperkd_process_let_go(struct process *process);
/* Takes the lock itself. */
u64 hyperkd_process_add_all(u32 number, struct task_struct *leader, bool anyway);

#endif
