// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * What hooks and monitors at linear addresses need of Linux. Their frames are held by a reference each, so that Linux neither
 * gives them to anybody else nor moves what is in them; and Linux tells what becomes of the addresses: by a notifier of each
 * address space, and one of modules. Root says which addresses those are; what it does about what it is told is its business.
 *
 * Held: pages of programs, and what the kernel maps page by page. What it maps for ever root does not ask for.
 */
#include <linux/io.h>
#include <linux/list.h>
#include <linux/memory_hotplug.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "internal.h"
#include "compat.h"

/* How often what root wants may change while it is asked. */
#define ROUNDS_MAX 4
#define LEVEL_SHIFT 9

/* An address space that a hook is in. In `spaces` as long as root asks for it. */
struct space {
	struct mmu_notifier notifier;
	struct list_head link;
	struct mm_struct *mm;
	u64 tables;	/* as root names it */
	u64 round;	/* the last one in which root asked for it */
	bool ended;
	bool ours;	/* it is us who end the notifier */
};

/* Both under the module's lock. */
static LIST_HEAD(spaces);
/* By frame number: the round in which root last asked for it. */
static DEFINE_XARRAY(frames);
static u64 rounds;

/* May be called from wherever memory is unmapped: root answers without waiting for Linux. */
static void range_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	const struct space *space = container_of(notifier, struct space, notifier);
	const u64 what = range->event == MMU_NOTIFY_UNMAP ? HYPERKD_MAPPING_UNMAPPED : HYPERKD_MAPPING_CHANGED;

	hyperkd_tell(HYPERKD_HYPERCALL_MAPPING, space->tables | what, range->start, range->end);
}

static void released(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct space *space = container_of(notifier, struct space, notifier);

	if (READ_ONCE(space->ours))
		return;
	WRITE_ONCE(space->ended, true);
	hyperkd_tell(HYPERKD_HYPERCALL_MAPPING, space->tables | HYPERKD_MAPPING_ENDED, 0, 0);
}

static const struct mmu_notifier_ops notifier_ops = { .release = released, .invalidate_range_end = range_end };

/* The address space with these tables, with a user more; NULL if there is none. */
static struct mm_struct *space_of(u64 tables)
{
	struct task_struct *process, *thread;
	struct mm_struct *mm = NULL;

	rcu_read_lock();
	for_each_process_thread(process, thread) {
		if (thread->flags & PF_KTHREAD)
			continue;
		task_lock(thread);
		if (hyperkd_compat_is_tables(thread->mm, tables) && mmget_not_zero(thread->mm))
			mm = thread->mm;
		task_unlock(thread);
		if (mm)
			goto found;
	}
found:
	rcu_read_unlock();
	return mm;
}

/* Has Linux tell what becomes of an address space; whether it does. One that is none any more is told at once. */
static bool watch(u64 tables)
{
	struct space *space;
	struct mm_struct *mm;
	int err = -EAGAIN;

	list_for_each_entry(space, &spaces, link) {
		if (space->tables != tables)
			continue;
		space->round = rounds;
		/* Root was asleep when it was told. */
		if (READ_ONCE(space->ended))
			goto ended;
		return true;
	}
	mm = space_of(tables);
	if (!mm)
		goto ended;
	space = kzalloc(sizeof(*space), GFP_KERNEL);
	/* Whoever has its memory locked now may have it for long: the next look tries again. */
	if (space && mmap_write_trylock(mm)) {
		*space = (struct space){ .notifier.ops = &notifier_ops, .mm = mm, .tables = tables, .round = rounds };
		err = __mmu_notifier_register(&space->notifier, mm);
		mmap_write_unlock(mm);
	}
	mmput(mm);
	if (err) {
		kfree(space);
		return false;
	}
	list_add(&space->link, &spaces);
	return true;
ended:
	hyperkd_tell(HYPERKD_HYPERCALL_MAPPING, tables | HYPERKD_MAPPING_ENDED, 0, 0);
	return false;
}

/* Whether nobody else gets this frame as long as root asks for it. */
static bool hold(u64 pfn)
{
	void *round = xa_mk_value(rounds);
	struct page *page = pfn_to_online_page(pfn);
	struct folio *folio;

	if (xa_load(&frames, pfn))
		return !xa_is_err(xa_store(&frames, pfn, round, GFP_KERNEL));
	/* No memory of Linux' allocator: nobody gets it anyway. */
	if (!page || PageReserved(page))
		return true;
	folio = page_folio(page);
	/* It is free, or part of what is not counted page by page. */
	if (!folio_try_get(folio))
		return false;
	if (page_folio(page) == folio && !xa_is_err(xa_store(&frames, pfn, round, GFP_KERNEL)))
		return true;
	folio_put(folio);
	return false;
}

static bool hold_all(const struct hyperkd_hold *hold_it)
{
	u64 pfn, behind = hold_it->pfn + (1ull << LEVEL_SHIFT * hold_it->level);
	bool all = true;

	if (hold_it->tables && !watch(hold_it->tables))
		return false;
	for (pfn = hold_it->pfn; pfn < behind; pfn++) {
		all &= hold(pfn);
		cond_resched();
	}
	return all;
}

static void let_go(void)
{
	struct space *space, *next;
	unsigned long pfn;
	void *round;

	xa_for_each(&frames, pfn, round) {
		if (xa_to_value(round) == rounds)
			continue;
		xa_erase(&frames, pfn);
		put_page(pfn_to_page(pfn));
		cond_resched();
	}
	list_for_each_entry_safe(space, next, &spaces, link) {
		if (space->round == rounds)
			continue;
		list_del(&space->link);
		WRITE_ONCE(space->ours, true);
		mmu_notifier_unregister(&space->notifier, space->mm);
		kfree(space);
	}
}

/* Holds what root wants held, and nothing else. Lock held, root in. */
void hyperkd_held_tend(void)
{
	struct hyperkd_hold *page = (void *)get_zeroed_page(GFP_KERNEL);
	unsigned int tries = ROUNDS_MAX;
	bool any = false;

	/* Nobody to ask any more: what is held goes with root's memory. */
	if (!page || READ_ONCE(hyperkd.doorbell->dead))
		goto out;
	do {
		u64 from = 0;

		rounds++;
		do {
			u64 pa = virt_to_phys(page);
			u64 i, count = hyperkd_hypercall(HYPERKD_HYPERCALL_HOLDS, &pa, &from);

			if (count > HYPERKD_HOLDS)
				goto out;
			from = pa;
			any |= count;
			for (i = 0; i < count; i++)
				page[i].held = hold_all(&page[i]);
			hyperkd_tell(HYPERKD_HYPERCALL_HELD, virt_to_phys(page), count, 0);
		} while (from);
		/* What came while it was asked may have been missed. */
	} while (READ_ONCE(hyperkd.doorbell->holds_wanted) && --tries);
	if (tries)
		let_go();
	/* Once they are held: whether they are what they were asked for, still. */
	if (any)
		hyperkd_tell(HYPERKD_HYPERCALL_MAPPING, HYPERKD_MAPPING_ANY, 0, 0);
out:
	free_page((unsigned long)page);
}

/* Root has left: nothing is wanted any more. Lock held. */
void hyperkd_held_end(void)
{
	rounds++;
	let_go();
}

static int on_module(struct notifier_block *block, unsigned long state, void *data)
{
	const struct module *module = data;
	u64 first, behind;
	int nth;

	for (nth = 0; state == MODULE_STATE_GOING && nth < HYPERKD_COMPAT_MODULE_PARTS; nth++) {
		hyperkd_compat_module_part(module, nth, &first, &behind);
		if (first != behind)
			hyperkd_tell(HYPERKD_HYPERCALL_UNLOADED, first, behind, (unsigned long)module->name);
	}
	return NOTIFY_DONE;
}

static struct notifier_block module_notifier = { .notifier_call = on_module };

int hyperkd_held_init(void)
{
	return register_module_notifier(&module_notifier);
}

/* When no core is in root any more. */
void hyperkd_held_exit(void)
{
	unregister_module_notifier(&module_notifier);
	hyperkd_held_end();
}
