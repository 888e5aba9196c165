// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * The worker in passive context: looks at the doorbell and does what only Linux can - find memory, set the clock, unload.
 * It reads a page of Linux' own, so an idle look costs no exit.
 */
#include <linux/sched.h>
#include <linux/workqueue.h>
#include "internal.h"

/* A fetch at the prompt waits for the next look: 50 ms, which no person notices and no idle core either. */
#define LOOK_EVERY (HZ / 20)
/* Every so many looks root is asked to look at its UART: half a second, as long as a prompt waits before it asks again. */
#define UART_LOOKS 10
/* Every so many looks the reserve is tended, asked or not: a second. */
#define TEND_LOOKS 20
/* What Linux hands over may not lie as the reserve needs it, so a round may end in another; not for ever. */
#define TENDS_MAX 4

static void look(struct work_struct *work);
static void unload(struct work_struct *work);
static void grace(struct work_struct *work);
static DECLARE_DELAYED_WORK(looking, look);
static DECLARE_WORK(unloading, unload);
static DECLARE_WORK(gracing, grace);

static void unload(struct work_struct *work)
{
	struct hyperkd_load unused = {};

	hyperkd_unload(&unused, HYPERKD_GOODBYE_UNLOAD);
}

/* Waits for what may take a second, and is why it holds no lock meanwhile. */
static void grace(struct work_struct *work)
{
	u64 wanted = 0, zero = 0;
	bool got;

	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN)
		wanted = READ_ONCE(hyperkd.doorbell->grace_wanted);
	got = wanted == hyperkd.graced;
	mutex_unlock(&hyperkd.lock);
	/* It was asked for again while the last one was on its way. */
	if (!wanted || got)
		return;
	hyperkd_window_grace();
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN && !READ_ONCE(hyperkd.doorbell->dead)) {
		hyperkd_hypercall(HYPERKD_HYPERCALL_GRACE, &wanted, &zero);
		hyperkd.graced = wanted;
	}
	mutex_unlock(&hyperkd.lock);
}

static void fetch(u64 frames, u64 run)
{
	u64 zero = 0;

	if (hyperkd_donate(frames, run))
		frames = 0;
	hyperkd_hypercall(HYPERKD_HYPERCALL_FETCH_ENDED, &frames, &zero);
}

/* Brings the reserve to its levels: root says what it lacks for that, and what it can do without goes back. */
static void tend(void)
{
	unsigned int i;

	for (i = 0; i < TENDS_MAX; i++) {
		u64 frames = 0, run = 0;

		if (hyperkd_hypercall(HYPERKD_HYPERCALL_TEND, &frames, &run) != HYPERKD_SUCCESS || !frames)
			break;
		if (hyperkd_donate(frames, run))
			break;
	}
	hyperkd_reclaim();
}

/* Root let go after a fault: its memory is free when every core has left. */
static bool bury(void)
{
	if (hyperkd.state == HYPERKD_IN) {
		pr_err("hyperkd: root faulted and let go of the machine; its last words are on the link\n");
		hyperkd_threads_end();
		hyperkd.state = HYPERKD_DEAD;
		hyperkd.entered = hyperkd_cores_forget();
	} else if (READ_ONCE(hyperkd.doorbell->left) >= hyperkd.entered) {
		/* A round after the last core said so it has certainly jumped. */
		hyperkd_time_follow(false);
		hyperkd_held_end();
		hyperkd_memory_free();
		hyperkd.state = HYPERKD_OUT;
		return true;
	}
	return false;
}

static bool dying_now(void)
{
	bool dying;

	mutex_lock(&hyperkd.lock);
	dying = hyperkd.state == HYPERKD_DEAD || (hyperkd.state == HYPERKD_IN && READ_ONCE(hyperkd.doorbell->dead));
	mutex_unlock(&hyperkd.lock);
	return dying;
}

static void look(struct work_struct *work)
{
	static unsigned int looks;
	u64 none = 0, zero = 0;
	bool over = false;

	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN || hyperkd.state == HYPERKD_DEAD) {
		u64 frames = READ_ONCE(hyperkd.doorbell->frames_wanted);

		if (READ_ONCE(hyperkd.doorbell->dead)) {
			over = bury();
		} else {
			hyperkd_time_follow(true);
			if (frames)
				fetch(frames, READ_ONCE(hyperkd.doorbell->run_wanted));
			looks++;
			if (READ_ONCE(hyperkd.doorbell->tend_wanted) || looks % TEND_LOOKS == 0)
				tend();
			if (READ_ONCE(hyperkd.doorbell->orders_wanted))
				hyperkd_threads_tend(NULL);
			if (looks % TEND_LOOKS == 0)
				hyperkd_threads_look();
			if (READ_ONCE(hyperkd.doorbell->holds_wanted) || looks % TEND_LOOKS == 0)
				hyperkd_held_tend();
			if (hyperkd.linked && looks % UART_LOOKS == 0)
				hyperkd_hypercall(HYPERKD_HYPERCALL_LOOK, &none, &zero);
			if (READ_ONCE(hyperkd.doorbell->grace_wanted) != hyperkd.graced)
				schedule_work(&gracing);
			if (READ_ONCE(hyperkd.doorbell->unload_wanted))
				schedule_work(&unloading);
		}
	}
	mutex_unlock(&hyperkd.lock);
	if (!over)
		schedule_delayed_work(&looking, LOOK_EVERY);
}

void hyperkd_worker_start(void)
{
	schedule_delayed_work(&looking, LOOK_EVERY);
}

/* A dead root is waited for until the worker has buried it, a second at most. Not under lock: the worker takes it. */
void hyperkd_worker_wait(void)
{
	unsigned int tries = 20;

	while (dying_now() && tries--)
		schedule_timeout_uninterruptible(LOOK_EVERY);
}

void hyperkd_worker_stop(void)
{
	hyperkd_worker_wait();
	cancel_delayed_work_sync(&looking);
	cancel_work_sync(&gracing);
	/* Its own unload runs here as well as anybody's. */
	if (current_work() != &unloading)
		cancel_work_sync(&unloading);
}
