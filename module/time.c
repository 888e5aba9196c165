// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Halts are hidden from the time stamp counter, so Linux' monotonic time stands still in them, as in a sleep. The time of
 * day must not: what it missed is added here, as after a sleep. Measured, not assumed: a kernel whose clock is not the
 * time stamp counter has seen the halt and misses nothing. On leaving, the counter catches up and so does the clock; then
 * what was added is taken back.
 */
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/rcupdate.h>
#include <linux/timekeeping.h>
#include <asm/msr.h>
#include <asm/tsc.h>
#include "internal.h"

/* Exported by the kernel, declared in none of its public headers. */
extern int rcu_cpu_stall_suppress;

/* Less than this is noise of the measurement. */
#define LOST_NS_MIN (50 * NSEC_PER_MSEC)

static struct sample {
	u64 ticks;	/* the counter as it is without root */
	u64 hidden;
	ktime_t time;
} last;
static int suppressed_before;

static struct sample sample(bool in)
{
	unsigned long flags;
	unsigned int tries = 100;
	struct sample now;

	local_irq_save(flags);
	do {
		now.hidden = READ_ONCE(hyperkd.doorbell->hidden);
		now.ticks = rdtsc_ordered() + (in ? now.hidden : 0);
		now.time = ktime_get();
	} while (now.hidden != READ_ONCE(hyperkd.doorbell->hidden) && --tries);
	local_irq_restore(flags);
	return now;
}

/* Tells root the time of day: a moment by both clocks, beside the one that root may be reading. */
static void tell(void)
{
	struct hyperkd_doorbell *bell = hyperkd.doorbell;
	u64 turn = bell->clock_turn + 1, *moment = &bell->clock[turn & 1 ? 2 : 0];
	unsigned long flags;
	unsigned int tries = 100;
	u64 hidden;

	local_irq_save(flags);
	do {
		hidden = READ_ONCE(bell->hidden);
		WRITE_ONCE(moment[0], rdtsc_ordered() + hidden);
		WRITE_ONCE(moment[1], ktime_get_real_ns());
	} while (hidden != READ_ONCE(bell->hidden) && --tries);
	smp_wmb();
	WRITE_ONCE(bell->clock_turn, turn);
	local_irq_restore(flags);
}

void hyperkd_time_start(void)
{
	last = sample(true);
	tell();
}

/* Sets the time of day by what passed and the clock did not see. `in` is false when root has just left. Lock held. */
void hyperkd_time_follow(bool in)
{
	struct sample now = sample(in);
	s64 passed, lost;
	struct timespec64 day;

	passed = mul_u64_u64_div_u64(now.ticks - last.ticks, NSEC_PER_MSEC, tsc_khz);
	lost = passed - ktime_to_ns(ktime_sub(now.time, last.time));
	if ((now.hidden != last.hidden || !in) && abs(lost) > LOST_NS_MIN) {
		ktime_get_real_ts64(&day);
		day = lost > 0 ? timespec64_add(day, ns_to_timespec64(lost)) : timespec64_sub(day, ns_to_timespec64(-lost));
		do_settimeofday64(&day);
	}
	last = now;
	if (in)
		tell();
}

/*
 * Leaving lets the counter jump by all halts at once: no stall is to be reported that is none. This is about RCU; each core
 * calms its own watchdog as it leaves.
 */
void hyperkd_time_calm(bool on)
{
	if (on) {
		suppressed_before = rcu_cpu_stall_suppress;
		rcu_cpu_stall_suppress = 1;
		return;
	}
	/* The grace period that saw the jump ends; the next measures from now. */
	synchronize_rcu();
	rcu_cpu_stall_suppress = suppressed_before;
}
